/*
 * http.h
 *		HTTP transfers by libcurl, all of it: one multi handle that drives any
 *		number of requests, waiting on the process latch and the sockets together.
 *
 * Runs in the worker process alone.  Never raises an error from within a
 * callback, never logs a header or a body, sends the API key to one origin only.
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
	const char *url;                 /* copied, as body; must begin with base_url unless foreign */
	const char *body;                /* JSON, or NULL */
	bool foreign;                    /* url may be of another https origin (downloadUrl): sent without the key */
	bool foreign_redirects;          /* a redirect may lead to another https origin: followed without the key */
	const char *base_url;            /* the origin that may see the key */
	const ClariTransport *transport; /* key, proxy, ca_file, time-outs, max_export_size; must outlive the transfer */
	bool plain;                      /* do not ask for compression */
	size_t max_body;                 /* at most so many bytes of an answer that no sink takes; 0: CLARI_HTTP_MAX_BODY */
} ClariHttpRequest;

/* Takes decoded bytes of a 2xx body; false with the error filled breaks the transfer off. */
typedef bool (*ClariHttpSink)(void *arg, const char *bytes, size_t length, ClariError *error);

typedef struct ClariHttpResult
{
	bool answered;    /* a whole HTTP answer came; otherwise error says what happened */
	int status;       /* HTTP status, 0 if none came */
	const char *body; /* NUL-terminated, cut at max_body (a 2xx is not answered then); empty where a sink took it */
	size_t length;
	int64_t retry_after; /* ms from now, -1: no such header (or not understood) */
	bool never_sent;     /* not answered: the request certainly never reached the service */
	bool may_pass;       /* not answered: trying again can help */
	bool sink_refused;   /* not answered: the sink said no, error is its own */

	/*
	 * The hop that answered or failed went without the key, to where a link or a
	 * redirect led, so that its word is not Clari's.  False where Clari redirects to
	 * where no transfer may go.
	 */
	bool elsewhere;

	/*
	 * The answer has neither a length nor chunks, so that its body ends where the
	 * connection does: whether it is all of it, nobody knows.
	 */
	bool may_be_cut;
	bool
		was_packed; /* the body was compressed: libcurl 7.88 takes it for whole wherever the compressed bytes break off */
	ClariError error;
} ClariHttpResult;

#define CLARI_HTTP_MAX_BODY (256 * 1024)
#define CLARI_HTTP_MAX_LIST (8 * 1024 * 1024) /* bytes of GET /export/jobs: enough for a month of jobs */

/* Called once a transfer is over, from clari_http_wait(); the transfer is gone when it returns. */
typedef void (*ClariHttpDone)(void *arg, const ClariHttpResult *result);

/* Initializes libcurl, once in a process.  Raises an error when libcurl is too old or cannot start. */
extern ClariHttp *clari_http_open(void);

/*
 * Begins a transfer.  sink may be NULL: then the body is collected.  The
 * transfer is http's; the pointer serves clari_http_cancel() until done is
 * called.  NULL with the error filled when it cannot begin (done is not called).
 */
extern ClariTransfer *clari_http_start(ClariHttp *http, const ClariHttpRequest *request, ClariHttpSink sink,
									   ClariHttpDone done, void *arg, ClariError *error);

/* May anything of the transfer's request have reached the service? */
extern bool clari_http_was_sent(const ClariTransfer *transfer);

/* Breaks a transfer off; done is not called. */
extern void clari_http_cancel(ClariTransfer *transfer);

/*
 * Waits until the latch is set, a socket is ready, timeout_ms are over (-1:
 * libcurl's own timers alone) or the postmaster dies (then exits the process),
 * and lets libcurl work; calls the done callbacks.  Resets the latch.  Raises
 * nothing but what WaitEventSetWait raises.
 */
extern void clari_http_wait(ClariHttp *http, long timeout_ms, uint32_t wait_event_info);

/* URL-encodes one path segment; malloc'd, the caller's; NULL when memory is out. */
extern char *clari_http_escape(const char *segment);

#endif /* CLARI_HTTP_H */
