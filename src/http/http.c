/*
 * http.c
 *		The loop that drives all transfers: see http.h.
 *
 * Runs in the worker process only, on its single thread.  libcurl starts
 * threads of its own to resolve names; these block all signals.  The file
 * takes no lock, and of shared memory uses only the process latch.  libcurl
 * tells which sockets and which timer it waits for (on_socket, on_timer);
 * clari_http_wait() waits for them and the latch together, and then tells
 * libcurl what has happened.
 *
 * No callback of libcurl raises an error.  The callbacks "done" are called
 * from the loop, outside of libcurl: they may start and cancel transfers, and
 * may raise.  A sink is called by libcurl, and may do neither.
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
#define WAIT_MAX INT64CONST(600000) /* in ms: the longest time that is passed to WaitEventSetWait() */
#define FRESH_SECONDS 3             /* libcurl counts the age of connections in whole seconds */

/* If a transfer is canceled after this many ms without a byte, its connection is taken for broken. */
#define SILENCE INT64CONST(3000)

typedef struct ClariSocket
{
	curl_socket_t fd;
	int wanted; /* CURL_POLL_… */
} ClariSocket;

struct ClariHttp
{
	CURLM *multi;
	CURLSH *share; /* shared TLS sessions: a POST uses a new connection, but need not do a complete handshake */
	char user_agent[64];
	ClariTransfer *transfers; /* transfers in progress */
	int64_t timer_at;         /* when libcurl must be called; INT64_MAX: not until something happens */
	int64_t trouble_at;   /* when a connection last failed, or 0; connections that were open then are not used again */
	ClariSocket *sockets; /* the sockets that libcurl waits for */
	int nsockets;
	int sockets_size;
	bool dirty;            /* the wait set is out of date */
	WaitEventSet *waits;   /* latch, postmaster, sockets; NULL before the first wait */
	MemoryContext context; /* in which the wait set lies */
};

static ClariHttp *the_http; /* the only one of the process */

/* ------- what libcurl waits for ------- */

/*
 * CURLMOPT_SOCKETFUNCTION.  Every call makes the wait set out of date, because
 * the descriptor may have been closed and reused for another socket.  If there
 * is no memory for a new socket, the transfer is not told of its events and
 * ends by request_timeout.  Returning an error would end all transfers, and
 * make the multi handle unusable.
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

/* CURLMOPT_TIMERFUNCTION.  It must not call libcurl, not even for a timeout of 0. */
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
	/*
	 * An error concerns the whole multi handle.  It is ignored: transfers that
	 * make no progress end by request_timeout.
	 */
	(void) curl_multi_socket_action(http->multi, fd, ready, &running);
	clari_libcurl_leave();
}

/* ------- the choice of a connection ------- */

/*
 * Notes that a connection has failed while it had a request.  Idle connections
 * seldom fail singly: usually a firewall or load balancer between us and the
 * host has forgotten all of them, and to find that out would take a
 * request_timeout for each.  Transfers that begin after such a failure
 * therefore do not use connections that are older than it.  A connection that
 * could not be opened at all says nothing about those that are open.
 */
static void
note_trouble(ClariHttp *http, const ClariTransfer *transfer)
{
	if (clari_transfer_was_sent(transfer))
		http->trouble_at = clari_clock_now();
}

/*
 * Sets how old a connection may be for this transfer.  When libcurl looks for
 * a connection, it closes those that are older, which helps other transfers as
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

	/* The library loaded may be older than the one that we were compiled with. */
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
	/* The number of idle connections kept.  By default libcurl keeps four times as many as were ever in use at once. */
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

/* Takes the transfer out of the loop.  libcurl calls none of its callbacks after this. */
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

/* Calls done of a transfer that is out of the loop already, and frees it even if done raises an error. */
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

/* Handles a transfer that libcurl has finished: goes on to the next hop, or ends it. */
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

/*
 * Completes all transfers that libcurl has finished.  This is safe although
 * done may cancel other transfers, because that removes their messages from
 * libcurl's queue.
 */
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

/*
 * Ends the transfers that have stalled.  Starts again from the beginning after
 * each, because done may change the list.
 */
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
		detach(transfer); /* this makes libcurl close the connection */
		clari_transfer_stalled(transfer, &result);
		finish(transfer, &result);
		transfer = http->transfers;
	}
}

/* ------- waiting ------- */

/*
 * Builds a new wait set.  If that raises an error, the set remains out of
 * date, and the next call frees what exists of it: first the descriptor, then
 * the memory with its context.
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

/* Returns how long to wait at most, in ms; -1: without limit. */
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
	bool looked; /* were all sockets examined? */
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
			looked = false; /* with a latch event, WaitEventSetWait() may return without having looked at the sockets */
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
	if (looked) /* otherwise bytes may have arrived that were not read yet */
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
