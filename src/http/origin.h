/*
 * origin.h
 *		Origins of URLs: which may see the API key, and which part of a URL
 *		may be shown.
 *
 * URLs are parsed by libcurl's own parser, so that what is compared here is
 * where libcurl will connect to.  Pure: no transfer, no clock.
 */
#ifndef CLARI_HTTP_ORIGIN_H
#define CLARI_HTTP_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ClariOrigin
{
	char scheme[8]; /* "http" or "https" */
	char host[256]; /* an IPv6 address in its brackets */
	int port;       /* never 0 */
} ClariOrigin;

/* Whether a transfer may go to a URL, and with the key. */
typedef enum ClariHop
{
	CLARI_HOP_REFUSED,
	CLARI_HOP_KEYED,  /* the transfer may go there, with the key */
	CLARI_HOP_KEYLESS /* the transfer may go there, without the key */
} ClariHop;

/*
 * Finds the URL's origin.  Returns false unless the scheme is http or https
 * and there is a host, and for URLs with a user name, a password or an IPv6
 * zone.
 */
extern bool clari_origin_parse(const char *url, ClariOrigin *origin);

/*
 * Returns the URL that a Location header means, which may be relative to the
 * URL of the request.  A user name and a password in it are kept.  A header
 * that is no URL is returned unchanged.  The caller frees the result with
 * free(); NULL if out of memory.
 */
extern char *clari_origin_resolve(const char *url, const char *location);

/*
 * May a transfer go to target, and with the key? base is the origin that gets
 * the key.  from is where the transfer is now, or NULL at its beginning.  keyed
 * says whether it still has the key: once it has left base, it never gets the
 * key back, because a foreign host could otherwise choose what is requested in
 * our name.  foreign says whether other https origins are allowed.
 */
extern ClariHop
clari_origin_hop(const ClariOrigin *base, const ClariOrigin *from, const ClariOrigin *target, bool keyed, bool foreign);

/* Writes "https://host", with the port unless it is the default of the scheme. */
extern void clari_origin_text(const ClariOrigin *origin, char *text, size_t size);

/*
 * Writes the URL's origin and path, for messages.  The query is omitted
 * because that of a pre-signed URL is a secret.  Writes "(unreadable URL)" if
 * clari_origin_parse() refuses the URL.
 */
extern void clari_origin_redact(const char *url, char *text, size_t size);

/* Writes "http://host:port" for a value of option "proxy", without any credentials. */
extern void clari_origin_proxy_text(const char *proxy, char *text, size_t size);

#endif /* CLARI_HTTP_ORIGIN_H */
