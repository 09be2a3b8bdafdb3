/*
 * internal.h
 *		One transfer: its easy handle, from the request to the result.
 *
 * For the files of room http alone: http.c drives the transfers, transfer.c knows
 * what one of them sends, takes in, and makes of how it ended.
 */
#ifndef CLARI_HTTP_INTERNAL_H
#define CLARI_HTTP_INTERNAL_H

#include <curl/curl.h>

#include "base/clock.h"
#include "http/http.h"
#include "http/origin.h"

#if LIBCURL_VERSION_NUM < 0x075700
#error "clari_fdw needs libcurl 7.87.0 or later (CURLOPT_QUICK_EXIT)"
#endif

#define CLARI_HTTP_MAX_HOPS 5

struct ClariTransfer
{
	/* these three belong to http.c */
	ClariTransfer *previous;
	ClariTransfer *next;
	ClariHttp *http;
	bool finished; /* done is being called: there is nothing left to cancel */

	ClariHttpSink sink;
	ClariHttpDone done;
	void *arg;
	const ClariTransport *transport;
	ClariHttpMethod method;
	bool foreign_redirects;
	bool plain; /* without compression */

	CURL *easy;
	struct curl_slist *headers; /* holds the key: wiped before it is freed */
	char *url;                  /* of the hop under way */
	char *request_body;         /* or NULL */
	ClariOrigin base;           /* the origin that may see the key */
	ClariOrigin here;           /* where the hop under way goes */
	bool keyed;                 /* whether it carries the key */
	int hops;                   /* redirects followed */

	int64_t begun_at;    /* by clari_clock_now() */
	int64_t progress_at; /* when a byte last moved, by the same clock */
	curl_off_t moved;    /* bytes of body either way, as they are on the wire */
	uint64_t decoded;    /* bytes of body, decoded */

	char *reply; /* a body that no sink takes; NUL-terminated once there is any */
	size_t reply_length;
	size_t reply_size;
	size_t max_body;   /* what of it is kept */
	bool reply_cut;    /* there was more than max_body bytes */
	bool sink_refused; /* broken is the sink's own */
	ClariError broken; /* why a callback broke the transfer off */
	char cause[CURL_ERROR_SIZE];
};

typedef enum ClariFollow
{
	CLARI_FOLLOW_NONE, /* not a redirect: the answer itself */
	CLARI_FOLLOW_NEXT, /* the transfer is set up for the next hop */
	CLARI_FOLLOW_ERROR /* must not, or cannot: the error says why */
} ClariFollow;

/*
 * A transfer whose handle is ready for the multi handle.  NULL with the error
 * filled; the caller's until clari_transfer_close().
 */
extern ClariTransfer *clari_transfer_open(const ClariHttpRequest *request, ClariHttpSink sink, void *arg,
										  const char *user_agent, ClariError *error);
extern void clari_transfer_close(ClariTransfer *transfer);

/*
 * What to do about an answer that may be a redirect.  The handle must be out of
 * the multi handle.
 */
extern ClariFollow clari_transfer_follow(ClariTransfer *transfer, ClariError *error);

/* Fills in how the transfer ended, by libcurl's code; what the result points to is the transfer's. */
extern void clari_transfer_result(ClariTransfer *transfer, CURLcode code, ClariHttpResult *result);

/* Fills in the result of a transfer that had no byte for request_timeout. */
extern void clari_transfer_stalled(ClariTransfer *transfer, ClariHttpResult *result);

/* Fills in the result of a transfer that must not go on, for the reason given. */
extern void clari_transfer_refused(ClariTransfer *transfer, const ClariError *error, ClariHttpResult *result);

/*
 * Has the request of the hop under way, or a part of it, been handed to a
 * connection to where it is to go (or to a proxy that passes it on)?
 */
extern bool clari_transfer_was_sent(const ClariTransfer *transfer);

/* Has nothing of the request been handed to a connection, in no hop? */
extern bool clari_transfer_was_never_sent(const ClariTransfer *transfer);

/*
 * Does a transfer that libcurl is done with say that something is wrong with
 * its connection: that it broke, or that the server calls it the wrong one?
 */
extern bool clari_transfer_blames_connection(const ClariTransfer *transfer, CURLcode code);

/* When the transfer will count as stalled; INT64_MAX: never. */
extern int64_t clari_transfer_deadline(const ClariTransfer *transfer);

/* Around each call of libcurl that may start a thread or call a sink: all signals are blocked meanwhile. */
extern void clari_libcurl_enter(void);
extern void clari_libcurl_leave(void);

/* "GET", for messages. */
extern const char *clari_transfer_method(const ClariTransfer *transfer);

/* Replaces what is not printable ASCII, as texts from the network end up in logs. */
extern void clari_origin_clean(char *text);

#endif /* CLARI_HTTP_INTERNAL_H */
