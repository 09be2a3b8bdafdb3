/*
 * internal.h
 *		A single transfer: its easy handle, from the request to the result.
 *
 * For the files of room http only.  http.c drives all transfers; transfer.c
 * knows what a transfer sends and receives, and how it ended.
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
	/* these three are used by http.c only */
	ClariTransfer *previous;
	ClariTransfer *next;
	ClariHttp *http;
	bool finished; /* done is being called, so the transfer cannot be canceled any more */

	ClariHttpSink sink;
	ClariHttpDone done;
	void *arg;
	const ClariTransport *transport;
	ClariHttpMethod method;
	bool foreign_redirects;
	bool plain; /* request no compression */

	CURL *easy;
	struct curl_slist *headers; /* contain the key, and are wiped before they are freed */
	char *url;                  /* of the current hop */
	char *request_body;         /* or NULL */
	ClariOrigin base;           /* the only origin that gets the key */
	ClariOrigin here;           /* origin of the current hop */
	bool keyed;                 /* is the key sent to it? */
	int hops;                   /* number of redirects followed */

	int64_t begun_at;    /* in ms of clari_clock_now() */
	int64_t progress_at; /* when the last byte was sent or received, by the same clock */
	curl_off_t moved;    /* bytes of bodies in both directions, as transferred */
	uint64_t decoded;    /* bytes of body, decompressed */

	char *reply; /* the body if there is no sink; NUL-terminated unless NULL */
	size_t reply_length;
	size_t reply_size;
	size_t max_body;   /* how many bytes of it are kept */
	bool reply_cut;    /* it had more than max_body bytes */
	bool sink_refused; /* the sink returned false; broken is its error */
	ClariError broken; /* why a callback has ended the transfer */
	char cause[CURL_ERROR_SIZE];
};

typedef enum ClariFollow
{
	CLARI_FOLLOW_NONE, /* not a redirect: the answer is the result */
	CLARI_FOLLOW_NEXT, /* the transfer is set up for the next hop */
	CLARI_FOLLOW_ERROR /* a redirect that must not or cannot be followed: the error says why */
} ClariFollow;

/*
 * Makes a transfer whose easy handle can be added to the multi handle.
 * Returns NULL with *error set if that fails.  The caller must call
 * clari_transfer_close().
 */
extern ClariTransfer *clari_transfer_open(const ClariHttpRequest *request, ClariHttpSink sink, void *arg,
										  const char *user_agent, ClariError *error);
extern void clari_transfer_close(ClariTransfer *transfer);

/* Follows the answer's redirect if it is one.  The easy handle must not be in the multi handle. */
extern ClariFollow clari_transfer_follow(ClariTransfer *transfer, ClariError *error);

/*
 * Fills in the result of a transfer that libcurl has ended with the code.
 * What the result points to belongs to the transfer.
 */
extern void clari_transfer_result(ClariTransfer *transfer, CURLcode code, ClariHttpResult *result);

/* Fills in the result of a transfer that has received no byte for request_timeout. */
extern void clari_transfer_stalled(ClariTransfer *transfer, ClariHttpResult *result);

/* Fills in the result of a transfer that must not go on, for the given reason. */
extern void clari_transfer_refused(ClariTransfer *transfer, const ClariError *error, ClariHttpResult *result);

/*
 * Has any part of the current hop's request been sent over a connection to its
 * host, or to a proxy that passes it on?
 */
extern bool clari_transfer_was_sent(const ClariTransfer *transfer);

/* Has no part of a request been sent over a connection, in any hop? */
extern bool clari_transfer_was_never_sent(const ClariTransfer *transfer);

/*
 * Does the result of a finished transfer show that its connection is at fault:
 * that it broke, or that the server says that it is the wrong one?
 */
extern bool clari_transfer_blames_connection(const ClariTransfer *transfer, CURLcode code);

/* When the transfer will count as stalled; INT64_MAX: never. */
extern int64_t clari_transfer_deadline(const ClariTransfer *transfer);

/*
 * To be called before and after each call of libcurl that may start a thread
 * or call a sink.  All signals are blocked in between.
 */
extern void clari_libcurl_enter(void);
extern void clari_libcurl_leave(void);

/* The name of the request's method, such as "GET", for messages. */
extern const char *clari_transfer_method(const ClariTransfer *transfer);

/* Replaces all but printable ASCII characters in a text from the network, which may get into logs. */
extern void clari_origin_clean(char *text);

#endif /* CLARI_HTTP_INTERNAL_H */
