/*
 * http.h
 *		All use of libcurl: one multi handle, which drives any number of
 *		HTTP transfers, and waits for the process latch and the sockets
 *		together.
 *
 * Runs in the worker process only.  It never raises an error inside a
 * callback, never logs a header or a body, and sends the API key to one origin
 * only.
 */
#ifndef CLARI_HTTP_H
#define CLARI_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/request.h"

typedef struct ClariHttp ClariHttp;
typedef struct ClariTransfer ClariTransfer;

typedef enum ClariHttpMethod
{
	CLARI_HTTP_GET,
	CLARI_HTTP_POST,
	CLARI_HTTP_PATCH
} ClariHttpMethod;

typedef struct ClariHttpRequest
{
	ClariHttpMethod method;
	const char *url;        /* copied, like body; must begin with base_url unless foreign */
	const char *body;       /* JSON, or NULL */
	bool foreign;           /* url may have another https origin (downloadUrl), and is requested without the key */
	bool foreign_redirects; /* a redirect may lead to another https origin, and is followed without the key */
	const char *base_url;   /* the only origin that gets the key */
	const ClariTransport *transport; /* key, proxy, ca_file, time-outs, max_export_size; must outlive the transfer */
	bool plain;                      /* do not request compression */
	size_t max_body;                 /* how many bytes to keep of a body that goes to no sink; 0: CLARI_HTTP_MAX_BODY */
} ClariHttpRequest;

/* Takes decompressed bytes of the body of a 2xx answer.  If it returns false with *error set, the transfer is ended. */
typedef bool (*ClariHttpSink)(void *arg, const char *bytes, size_t length, ClariError *error);

typedef struct ClariHttpResult
{
	bool answered;    /* a complete HTTP answer was received; otherwise error says what happened */
	int status;       /* HTTP status, or 0 if none was received */
	const char *body; /* NUL-terminated, cut at max_body (a 2xx answer is then an error); empty if a sink took it */
	size_t length;
	int64_t retry_after; /* ms from now; -1: there is no such header, or it was not understood */
	bool never_sent;     /* not answered: the request has certainly not reached the service */
	bool may_pass;       /* not answered: trying again may help */
	bool sink_refused;   /* not answered: the sink returned false, and error is its error */

	/*
	 * The hop that answered or failed was one without the key, to which a link
	 * or a redirect of Clari's led, so the answer is not Clari's own.  False
	 * if a redirect of Clari's led to where the transfer must not go.
	 */
	bool elsewhere;

	/*
	 * The answer has neither a length nor chunks.  Its body ends with the
	 * connection, so it is not known whether it is complete.
	 */
	bool may_be_cut;
	bool was_packed; /* the body was compressed: libcurl 7.88 does not notice if its end is missing */
	ClariError error;
} ClariHttpResult;

#define CLARI_HTTP_MAX_BODY (256 * 1024)
#define CLARI_HTTP_MAX_LIST (8 * 1024 * 1024) /* bytes of GET /export/jobs: enough for the jobs of a month */

/* Called by clari_http_wait() when a transfer is over.  The transfer is freed after it returns. */
typedef void (*ClariHttpDone)(void *arg, const ClariHttpResult *result);

/*
 * Initializes libcurl; to be called once in a process.  Raises an error if
 * libcurl is too old or cannot be initialized.
 */
extern ClariHttp *clari_http_open(void);

/*
 * Begins a transfer.  If sink is NULL, the body is collected.  The transfer
 * belongs to http; the returned pointer is for clari_http_cancel() and
 * clari_http_was_sent(), and is valid until done is called.  Returns NULL with
 * *error set if the transfer cannot begin; done is then not called.
 */
extern ClariTransfer *clari_http_start(ClariHttp *http, const ClariHttpRequest *request, ClariHttpSink sink,
									   ClariHttpDone done, void *arg, ClariError *error);

/* May any byte of the transfer's request have reached the service? */
extern bool clari_http_was_sent(const ClariTransfer *transfer);

/* Ends a transfer without calling done. */
extern void clari_http_cancel(ClariTransfer *transfer);

/*
 * Waits until the latch is set, a socket is ready, or timeout_ms have passed
 * (-1: no limit but that of libcurl's timers), and exits the process if the
 * postmaster dies.  Then lets libcurl work, and calls done of the transfers
 * that are over.  Resets the latch.  Raises the errors of WaitEventSetWait()
 * and of the done callbacks.
 */
extern void clari_http_wait(ClariHttp *http, long timeout_ms, uint32_t wait_event_info);

/* URL-encodes one path segment.  The result is malloc'd and belongs to the caller; NULL if out of memory. */
extern char *clari_http_escape(const char *segment);

#endif /* CLARI_HTTP_H */
