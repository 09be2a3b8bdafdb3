/*
 * http.c
 *		The loop that drives all transfers: see http.h.
 *
 * Runs in the worker process alone, on its one thread; libcurl starts threads
 * of its own to resolve names, with all signals blocked.  It takes no lock and
 * touches no shared memory but the process latch.  libcurl says which sockets
 * and which timer it waits for (on_socket, on_timer), clari_http_wait() waits
 * for them together with the latch and tells libcurl what happened.
 *
 * Nothing here raises inside a callback of libcurl.  Callbacks "done" are
 * called from the loop, outside of libcurl: they may start and cancel
 * transfers, and even raise.  A sink is called inside of it and may do neither.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"

#include "http/http.h"
#include "http/internal.h"
#include "compat.h"

#define READY_EVENTS 32
#define IDLE_CONNECTIONS 16L
#define WAIT_MAX INT64CONST(600000) /* ms: no deadline is further off than this to WaitEventSetWait() */
#define FRESH_SECONDS 3             /* libcurl counts the age of connections in whole seconds */

/* A transfer that is canceled after so many ms without a byte blames its connection. */
#define SILENCE INT64CONST(3000)

typedef struct ClariSocket
{
	curl_socket_t fd;
	int wanted; /* CURL_POLL_… */
} ClariSocket;

struct ClariHttp
{
	CURLM *multi;
	CURLSH *share; /* TLS sessions: a POST has a connection of its own, but no whole handshake */
	char user_agent[64];
	ClariTransfer *transfers; /* the transfers that are under way */
	int64_t timer_at;         /* when libcurl wants to be called; INT64_MAX: it need not be */
	int64_t trouble_at;       /* when a connection last failed, 0: never; older connections are not used again */
	ClariSocket *sockets;     /* the sockets that libcurl waits for */
	int nsockets;
	int sockets_size;
	bool dirty;            /* the wait set is not what sockets says */
	WaitEventSet *waits;   /* latch, postmaster, sockets; NULL before the first wait */
	MemoryContext context; /* in which the wait set lies */
};

static ClariHttp *the_http; /* there is one in the process */

/* ------- what libcurl waits for ------- */

/*
 * CURLMOPT_SOCKETFUNCTION.  Any call makes the wait set dirty, since a
 * descriptor may have been closed and have come back as another socket.  Where
 * there is no memory to note a socket, its transfer hears nothing and ends by
 * request_timeout; to return an error would end all transfers, and the multi
 * handle.
 */
static int
on_socket(CURL *easy, curl_socket_t fd, int wanted, void *arg, void *socket_arg)
{
	ClariHttp *http = arg;
	ClariSocket *sockets;
	int position = 0;

	(void) easy;
	(void) socket_arg;
	http->dirty = true;
	while (position < http->nsockets && http->sockets[position].fd != fd)
		position++;
	if (wanted == CURL_POLL_REMOVE)
	{
		if (position < http->nsockets)
			http->sockets[position] = http->sockets[--http->nsockets];
		return 0;
	}
	if (position == http->sockets_size)
	{
		sockets = realloc(http->sockets, sizeof(ClariSocket) * (http->sockets_size + 32));
		if (sockets == NULL)
			return 0;
		http->sockets = sockets;
		http->sockets_size += 32;
	}
	if (position == http->nsockets)
		http->nsockets++;
	http->sockets[position].fd = fd;
	http->sockets[position].wanted = wanted;
	return 0;
}

/* CURLMOPT_TIMERFUNCTION: libcurl must not be called from here, not even for 0. */
static int
on_timer(CURLM *multi, long timeout_ms, void *arg)
{
	ClariHttp *http = arg;

	(void) multi;
	http->timer_at = timeout_ms < 0 ? INT64_MAX : clari_clock_now() + timeout_ms;
	return 0;
}

static void
socket_action(ClariHttp *http, curl_socket_t fd, int ready)
{
	int running;

	clari_libcurl_enter();
	/* An error concerns the whole multi handle: transfers that hang by it end by request_timeout. */
	(void) curl_multi_socket_action(http->multi, fd, ready, &running);
	clari_libcurl_leave();
}

/* ------- which connections are used ------- */

/*
 * Notes that a connection has failed with a request on it.  Connections that
 * are kept seldom die alone: what lies between (a firewall, a balancer) forgets
 * all of them, and to find that out would cost a request_timeout for each.  So
 * what is begun from now on goes over connections that are younger than this
 * failure.  That a host cannot be reached at all says nothing about the
 * connections that are open.
 */
static void
note_trouble(ClariHttp *http, const ClariTransfer *transfer)
{
	if (clari_transfer_was_sent(transfer))
		http->trouble_at = clari_clock_now();
}

/*
 * Sets how old a connection may be for this transfer.  When libcurl looks for
 * one, it closes those that are older, which is good for other transfers as
 * well.
 */
static void
choose_connection(const ClariHttp *http, ClariTransfer *transfer)
{
	int64_t seconds = (clari_clock_now() - http->trouble_at) / 1000;

	if (http->trouble_at == 0)
		return;
	if (seconds < FRESH_SECONDS)
		curl_easy_setopt(transfer->easy, CURLOPT_FRESH_CONNECT, 1L);
	else
		curl_easy_setopt(transfer->easy, CURLOPT_MAXLIFETIME_CONN, (long) Min(seconds - FRESH_SECONDS + 1, INT_MAX));
}

static bool
add_to_multi(ClariHttp *http, ClariTransfer *transfer, ClariError *error)
{
	CURLMcode code;

	choose_connection(http, transfer);
	clari_libcurl_enter();
	code = curl_multi_add_handle(http->multi, transfer->easy);
	clari_libcurl_leave();
	if (code == CURLM_OK)
		return true;
	if (code == CURLM_OUT_OF_MEMORY)
		return clari_error_out_of_memory(error);
	return clari_error_set(error, CLARI_ERROR_CONNECTION, "libcurl cannot take up a transfer: %s",
						   curl_multi_strerror(code));
}

/* ------- opening ------- */

static void
check_libcurl(void)
{
	curl_version_info_data *version = curl_version_info(CURLVERSION_NOW);

	/* The library at run time may be another one than that of the build. */
	if (version->version_num < 0x075700)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("clari_fdw needs libcurl 7.87.0 or later, this one is %s", version->version)));
	if ((version->features & CURL_VERSION_SSL) == 0 || (version->features & CURL_VERSION_ASYNCHDNS) == 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("clari_fdw needs a libcurl with TLS and an asynchronous resolver")));
}

ClariHttp *
clari_http_open(void)
{
	ClariHttp *http;

	if (the_http != NULL)
		return the_http;
	check_libcurl();
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR), errmsg("could not initialize libcurl")));
	http = MemoryContextAllocZero(TopMemoryContext, sizeof(ClariHttp));
	http->context = AllocSetContextCreate(TopMemoryContext, "clari_fdw wait set", ALLOCSET_SMALL_SIZES);
	snprintf(http->user_agent, sizeof(http->user_agent), "clari_fdw/" CLARI_VERSION " libcurl/%s",
			 curl_version_info(CURLVERSION_NOW)->version);
	http->timer_at = INT64_MAX;
	http->dirty = true;
	http->multi = curl_multi_init();
	if (http->multi == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OUT_OF_MEMORY), errmsg("out of memory")));
	http->share = curl_share_init();
	if (http->share == NULL ||
		curl_share_setopt(http->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK)
		ereport(ERROR, (errcode(ERRCODE_FDW_OUT_OF_MEMORY), errmsg("out of memory")));
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	/* Idle connections that are kept; libcurl's own bound is four times as many as ever ran at once. */
	curl_multi_setopt(http->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
	the_http = http;
	return http;
}

/* ------- beginning and ending transfers ------- */

ClariTransfer *
clari_http_start(ClariHttp *http, const ClariHttpRequest *request, ClariHttpSink sink, ClariHttpDone done, void *arg,
				 ClariError *error)
{
	ClariTransfer *transfer = clari_transfer_open(request, sink, arg, http->user_agent, error);

	if (transfer == NULL)
		return NULL;
	transfer->http = http;
	transfer->done = done;
	curl_easy_setopt(transfer->easy, CURLOPT_SHARE, http->share);
	if (!add_to_multi(http, transfer, error))
	{
		clari_transfer_close(transfer);
		return NULL;
	}
	transfer->next = http->transfers;
	if (transfer->next != NULL)
		transfer->next->previous = transfer;
	http->transfers = transfer;
	return transfer;
}

/* Takes the transfer out of the loop: libcurl calls back no more. */
static void
detach(ClariTransfer *transfer)
{
	ClariHttp *http = transfer->http;

	curl_multi_remove_handle(http->multi, transfer->easy);
	if (transfer->previous != NULL)
		transfer->previous->next = transfer->next;
	else
		http->transfers = transfer->next;
	if (transfer->next != NULL)
		transfer->next->previous = transfer->previous;
	transfer->finished = true;
}

bool
clari_http_was_sent(const ClariTransfer *transfer)
{
	return !clari_transfer_was_never_sent(transfer);
}

void
clari_http_cancel(ClariTransfer *transfer)
{
	if (transfer->finished)
		return;
	if (clari_clock_now() - transfer->progress_at >= SILENCE)
		note_trouble(transfer->http, transfer);
	detach(transfer);
	clari_transfer_close(transfer);
}

static void
log_transfer(ClariTransfer *transfer, const ClariHttpResult *result)
{
	char url[256];

	clari_origin_redact(transfer->url, url, sizeof(url));
	elog(DEBUG2, "clari_fdw: %s %s: status %d, " UINT64_FORMAT " bytes, %d ms%s", clari_transfer_method(transfer), url,
		 result->status, transfer->decoded, (int) (clari_clock_now() - transfer->begun_at),
		 result->answered ? "" : ", broken off");
}

/* Calls done, with the transfer already out of the loop, and frees it even if done raises. */
static void
finish(ClariTransfer *transfer, const ClariHttpResult *result)
{
	PG_TRY();
	{
		log_transfer(transfer, result);
		transfer->done(transfer->arg, result);
	}
	PG_CATCH();
	{
		clari_transfer_close(transfer);
		PG_RE_THROW();
	}
	PG_END_TRY();
	clari_transfer_close(transfer);
}

/* A transfer that libcurl is done with: the next hop, or the end. */
static void
complete(ClariHttp *http, ClariTransfer *transfer, CURLcode code)
{
	ClariHttpResult result;
	ClariError error;
	ClariFollow follow = CLARI_FOLLOW_NONE;

	if (clari_transfer_blames_connection(transfer, code))
		note_trouble(http, transfer);
	curl_multi_remove_handle(http->multi, transfer->easy);
	if (code == CURLE_OK)
		follow = clari_transfer_follow(transfer, &error);
	if (follow == CLARI_FOLLOW_NEXT)
	{
		if (add_to_multi(http, transfer, &error))
			return;
		follow = CLARI_FOLLOW_ERROR;
	}
	detach(transfer);
	if (follow == CLARI_FOLLOW_ERROR)
		clari_transfer_refused(transfer, &error, &result);
	else
		clari_transfer_result(transfer, code, &result);
	finish(transfer, &result);
}

/* Completes whatever libcurl has finished.  Canceling a transfer takes its message out of libcurl's queue. */
static void
reap(ClariHttp *http)
{
	CURLMsg *message;
	ClariTransfer *transfer;
	int left;

	while ((message = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
		complete(http, transfer, message->data.result);
	}
}

/* Ends the transfers that have stalled.  It begins again after each, since done may change the list. */
static void
expire(ClariHttp *http)
{
	ClariTransfer *transfer = http->transfers;
	ClariHttpResult result;
	int64_t now = clari_clock_now();

	while (transfer != NULL)
	{
		if (clari_transfer_deadline(transfer) > now)
		{
			transfer = transfer->next;
			continue;
		}
		note_trouble(http, transfer);
		detach(transfer); /* by this libcurl closes the connection */
		clari_transfer_stalled(transfer, &result);
		finish(transfer, &result);
		transfer = http->transfers;
	}
}

/* ------- waiting ------- */

/*
 * Makes the wait set anew.  An error leaves the set dirty, and what there is of
 * it to the next attempt: the descriptor is freed first, the memory with its
 * context.
 */
static void
build_waits(ClariHttp *http)
{
	WaitEventSet *old = http->waits;

	http->waits = NULL;
	if (old != NULL)
		FreeWaitEventSet(old);
	MemoryContextReset(http->context);
#ifdef CLARI_WAIT_SET_HAS_OWNER
	http->waits = CreateWaitEventSet(NULL, http->nsockets + 2);
#else
	http->waits = CreateWaitEventSet(http->context, http->nsockets + 2);
#endif
	AddWaitEventToSet(http->waits, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(http->waits, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	for (int i = 0; i < http->nsockets; i++)
	{
		int wanted = http->sockets[i].wanted;
		uint32 events = 0;

		if (wanted & CURL_POLL_IN)
			events |= WL_SOCKET_READABLE;
		if (wanted & CURL_POLL_OUT)
			events |= WL_SOCKET_WRITEABLE;
		if (events != 0)
			AddWaitEventToSet(http->waits, events, http->sockets[i].fd, NULL, NULL);
	}
	http->dirty = false;
}

/* How long to wait at most, in ms; -1: for ever. */
static long
shortest_wait(const ClariHttp *http, long timeout_ms)
{
	int64_t now = clari_clock_now();
	int64_t until = timeout_ms < 0 ? INT64_MAX : now + timeout_ms;

	until = Min(until, http->timer_at);
	for (ClariTransfer *transfer = http->transfers; transfer != NULL; transfer = transfer->next)
		until = Min(until, clari_transfer_deadline(transfer));
	if (until == INT64_MAX)
		return -1;
	return (long) Min(Max(until - now, 0), WAIT_MAX);
}

void
clari_http_wait(ClariHttp *http, long timeout_ms, uint32_t wait_event_info)
{
	WaitEvent events[READY_EVENTS];
	bool looked; /* whether all sockets were looked at */
	int count;

	if (http->dirty)
		build_waits(http);
	count = WaitEventSetWait(http->waits, shortest_wait(http, timeout_ms), events, READY_EVENTS, wait_event_info);
	looked = count < READY_EVENTS;
	for (int i = 0; i < count; i++)
	{
		int ready = 0;

		if (events[i].events & WL_LATCH_SET)
		{
			ResetLatch(MyLatch);
			looked = false; /* for a latch WaitEventSetWait() returns without a look at the sockets */
		}
		if (events[i].events & WL_SOCKET_READABLE)
			ready |= CURL_CSELECT_IN;
		if (events[i].events & WL_SOCKET_WRITEABLE)
			ready |= CURL_CSELECT_OUT;
		if (ready != 0)
			socket_action(http, events[i].fd, ready);
	}
	if (http->timer_at <= clari_clock_now())
	{
		http->timer_at = INT64_MAX;
		socket_action(http, CURL_SOCKET_TIMEOUT, 0);
	}
	reap(http);
	if (looked) /* otherwise a byte may have come while this process was busy elsewhere */
		expire(http);
}

char *
clari_http_escape(const char *segment)
{
	char *escaped = curl_easy_escape(NULL, segment, 0);
	char *copy = escaped != NULL ? strdup(escaped) : NULL;

	curl_free(escaped);
	return copy;
}
