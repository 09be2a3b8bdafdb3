/*
 * origin.h
 *		Origins of URLs: which of them may see the API key, and what of a URL may
 *		be shown.
 *
 * URLs are taken apart by libcurl's own parser, so that what is compared here
 * is what libcurl will connect to.  Pure: no transfer, no clock.
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

/* What may be done about a step from one URL to the next. */
typedef enum ClariHop
{
	CLARI_HOP_REFUSED,
	CLARI_HOP_KEYED,  /* the transfer may go there, with the key */
	CLARI_HOP_KEYLESS /* the transfer may go there, without the key */
} ClariHop;

/*
 * The URL's origin.  False for anything but http and https with a host, and for
 * URLs with a user name, a password or an IPv6 zone.
 */
extern bool clari_origin_parse(const char *url, ClariOrigin *origin);

/*
 * The URL that a Location header names, which may be relative to the URL that
 * it was the answer to; a user name and a password in it are kept.  A header
 * that is no URL comes back as it is.  The caller frees it with free(); NULL if
 * out of memory.
 */
extern char *clari_origin_resolve(const char *url, const char *location);

/*
 * May a transfer go to target? base is the origin that may see the key; from is
 * where the transfer is now (NULL: nowhere yet); keyed says whether it still
 * carries the key: one that has left base never gets it back, lest a foreign
 * host chooses what is asked in our name. foreign: other https origins will do.
 */
extern ClariHop
clari_origin_hop(const ClariOrigin *base, const ClariOrigin *from, const ClariOrigin *target, bool keyed, bool foreign);

/* "https://host", with the port unless it is the scheme's own. */
extern void clari_origin_text(const ClariOrigin *origin, char *text, size_t size);

/*
 * The URL's origin and path alone, for messages: the query of a pre-signed URL
 * is a secret.  "(unreadable URL)" for what clari_origin_parse() refuses.
 */
extern void clari_origin_redact(const char *url, char *text, size_t size);

/* "http://host:port" of a proxy as the option has it, without credentials, should there be any. */
extern void clari_origin_proxy_text(const char *proxy, char *text, size_t size);

#endif /* CLARI_HTTP_ORIGIN_H */
