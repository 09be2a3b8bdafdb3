/*
 * worker.c
 *		The process that makes exports: wires flight → job → http → json → rowset
 *		→ cache.
 *
 * Started by sessions (cache_flight.c), gone when idle.  One loop drives any
 * number of jobs: claim what is queued, tick what is due, wait for the latch and
 * the sockets.  Everything it learns goes to the cache; it talks to no session.
 * It never touches a database, a plan or a tuple.
 */
#include "postgres.h"

#include "worker.h"

#include "cache.h"
#include "compat.h"
#include "digest.h"
#include "download.h"
#include "http.h"
#include "job.h"
#include "json.h"
#include "store.h"

#include "lib/ilist.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"

#include <time.h>

/* Turns of the loop end by themselves so often: to claim what was out of turn, and to tell of progress. */
#define LONGEST_TURN 1000
#define PROGRESS_INTERVAL 100 /* ms */

/* One claimed export. */
typedef struct Flight
{
	dlist_node node;
	ClariOrder order; /* holds the secret: wiped when the flight ends */
	ClariJob job;
	ClariTransfer *transfer; /* under way, or NULL */
	ClariDownload *download; /* under way or complete, or NULL */
	TimestampTz posted_at;
	TimestampTz done_at; /* when it was seen DONE */
} Flight;

static ClariHttp *http = NULL;
static dlist_head flights = DLIST_STATIC_INIT(flights);
static int nflights = 0;
static MemoryContext turn_context = NULL;

static void step(Flight *flight, const ClariJobEvent *event);

/* Milliseconds of a clock that nobody sets. */
static int64
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ------- telling ------- */

static void
tell_progress(const Flight *flight)
{
	ClariProgress progress = {0};
	const ClariJob *job = &flight->job;

	progress.state = job->state;
	strlcpy(progress.job_id, job->job_id, sizeof(progress.job_id));
	progress.polls = job->polls;
	progress.retries = job->total_retries;
	if (flight->download != NULL)
	{
		progress.bytes = clari_download_bytes(flight->download);
		progress.entries = clari_download_entries(flight->download);
	}
	if (flight->transfer == NULL && job->next_at != PG_INT64_MAX)
		progress.next_try_at = GetCurrentTimestamp() + (job->next_at - now_ms()) * 1000;
	clari_cache_progress(flight->order.index, &progress);
}

static void
tell_activity(void)
{
	if (nflights == 0)
		pgstat_report_activity(STATE_IDLE, NULL);
	else
		pgstat_report_activity(STATE_RUNNING, nflights == 1 ? "1 export" : psprintf("%d exports", nflights));
}

/* Facts that every failure has in common, behind its own detail. */
static void
add_place(ClariError *error, const Flight *flight)
{
	const ClariRequest *request = &flight->order.request;
	char detail[sizeof(error->detail)];

	memcpy(detail, error->detail, sizeof(detail));
	clari_error_detail(error, "%s%sForecast \"%s\", %s%s%s%s.", detail, detail[0] != '\0' ? " " : "", request->forecast,
					   request->period[0] != '\0' ? "period " : "the current quarter", request->period,
					   flight->job.job_id[0] != '\0' ? ", job " : "", flight->job.job_id);
}

/* ------- the end of a flight ------- */

static void
end_flight(Flight *flight)
{
	if (flight->transfer != NULL)
		clari_http_cancel(flight->transfer);
	clari_download_close(flight->download);
	dlist_delete(&flight->node);
	nflights--;
	clari_wipe(flight, sizeof(*flight));
	pfree(flight);
	tell_activity();
}

static void
fail(Flight *flight)
{
	ClariError error = flight->job.error;

	add_place(&error, flight);
	clari_cache_fail(flight->order.index, &error);
	end_flight(flight);
}

static void
fill_meta(const Flight *flight, ClariRowsetMeta *meta)
{
	const ClariJob *job = &flight->job;

	memset(meta, 0, sizeof(*meta));
	meta->key = flight->order.key;
	meta->generation = flight->order.generation;
	strlcpy(meta->forecast, flight->order.request.forecast, sizeof(meta->forecast));
	strlcpy(meta->requested, flight->order.request.period, sizeof(meta->requested));
	strlcpy(meta->job_id, job->job_id, sizeof(meta->job_id));
	meta->posted_at = flight->posted_at;
	/* Clari's endTime is epoch milliseconds. */
	if (job->end_time > 0)
		meta->exported_at =
			(job->end_time - INT64CONST(1000) * SECS_PER_DAY * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)) * 1000;
	else
		meta->exported_at = flight->done_at;
	if (job->truncated)
		meta->flags |= CLARI_ROWSET_TRUNCATED;
}

/* ------- carrying out ------- */

static void
answered(void *arg, const ClariHttpResult *result)
{
	Flight *flight = arg;
	ClariReply reply;
	ClariJobEvent event = {.retry_after = result->retry_after};

	flight->transfer = NULL;
	event.kind = result->answered ? CLARI_EVENT_REPLY : CLARI_EVENT_BROKEN;
	event.status = result->status;
	event.never_sent = result->never_sent;
	event.may_pass = result->may_pass;
	event.error = &result->error;
	if (result->answered)
	{
		clari_json_read_reply(result->body, result->length, &reply);
		event.reply = &reply;
		if (reply.status == CLARI_STATUS_DONE)
			flight->done_at = GetCurrentTimestamp();
	}
	step(flight, &event);
}

static void
call(Flight *flight, ClariHttpRequest *request, ClariHttpSink sink, ClariHttpDone done)
{
	ClariError error;

	request->base_url = flight->order.request.base_url;
	request->transport = &flight->order.transport;
	/* The key goes in with the transport; a sink's argument is the flight, as done's. */
	flight->transfer = clari_http_start(http, request, sink, done, flight, &error);
	if (flight->transfer == NULL)
	{
		ClariJobEvent event = {.kind = CLARI_EVENT_BROKEN, .retry_after = -1, .never_sent = true, .error = &error};

		step(flight, &event);
	}
}

/* A segment of a URL's path, palloc'd. */
static char *
escaped(const char *segment)
{
	char *text = clari_http_escape(segment);
	char *copy;

	if (text == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	copy = pstrdup(text);
	free(text);
	return copy;
}

static void
post(Flight *flight)
{
	const ClariRequest *wanted = &flight->order.request;
	ClariHttpRequest request = {.method = CLARI_HTTP_POST};
	char *body;
	ClariError error;

	/* What could not be kept is not paid for. */
	if (!clari_store_is_writable(&flight->order.key, &error))
	{
		ClariJobEvent event = {.kind = CLARI_EVENT_BROKEN, .retry_after = -1, .never_sent = true, .error = &error};

		step(flight, &event);
		return;
	}
	body = clari_json_export_body(wanted, flight->order.transport.schedule);
	if (body == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	request.url = psprintf("%s/export/forecast/%s", wanted->base_url, escaped(wanted->forecast));
	request.body = body;
	flight->posted_at = GetCurrentTimestamp();
	call(flight, &request, NULL, answered); /* copies the body */
	free(body);
}

static void
poll_job(Flight *flight)
{
	ClariHttpRequest request = {.method = CLARI_HTTP_GET};

	request.url = psprintf("%s/export/jobs/%s", flight->order.request.base_url, escaped(flight->job.job_id));
	call(flight, &request, NULL, answered);
}

/* ClariHttpSink, with the flight as arg. */
static bool
sink(void *arg, const char *bytes, size_t length, ClariError *error)
{
	return clari_download_sink(((Flight *) arg)->download, bytes, length, error);
}

static void
downloaded(void *arg, const ClariHttpResult *result)
{
	Flight *flight = arg;
	ClariJobEvent event = {.retry_after = -1};
	ClariError error = result->error;
	ClariRowsetMeta meta;

	if (!result->sink_refused && (!result->answered || result->status < 200 || result->status > 299))
	{
		clari_download_close(flight->download);
		flight->download = NULL;
		answered(arg, result);
		return;
	}
	flight->transfer = NULL;
	fill_meta(flight, &meta);
	event.error = &error;
	event.kind = CLARI_EVENT_DECODED;
	if (result->sink_refused || !clari_download_finish(flight->download, &meta, &error))
	{
		event.kind = CLARI_EVENT_REFUSED;
		clari_download_close(flight->download);
		flight->download = NULL;
	}
	step(flight, &event);
}

static void
refuse_download(Flight *flight, const ClariError *error)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_REFUSED, .retry_after = -1, .error = error};

	step(flight, &event);
}

static void
download(Flight *flight)
{
	ClariHttpRequest request = {.method = CLARI_HTTP_GET, .foreign_redirects = true};
	ClariError error;

	flight->download = clari_download_open(&flight->order, &error);
	if (flight->download == NULL)
	{
		refuse_download(flight, &error);
		return;
	}
	request.foreign = flight->job.download_url[0] != '\0';
	request.url = request.foreign ? flight->job.download_url
								  : psprintf("%s/export/jobs/%s/results", flight->order.request.base_url,
											 escaped(flight->job.job_id));
	call(flight, &request, sink, downloaded);
}

static void
publish(Flight *flight)
{
	ClariVersion version;
	ClariError error;

	if (!clari_download_publish(flight->download, &version, &error))
	{
		flight->job.error = error;
		fail(flight);
		return;
	}
	clari_cache_publish(flight->order.index, &version);
	end_flight(flight);
}

static void
step(Flight *flight, const ClariJobEvent *event)
{
	switch (clari_job_step(&flight->job, event, now_ms()))
	{
		case CLARI_ACTION_POST:
			post(flight);
			break;
		case CLARI_ACTION_POLL:
			poll_job(flight);
			break;
		case CLARI_ACTION_DOWNLOAD:
			download(flight);
			break;
		case CLARI_ACTION_PUBLISH:
			publish(flight);
			return; /* the flight is gone, as after the next */
		case CLARI_ACTION_FAIL:
			fail(flight);
			return;
		case CLARI_ACTION_NONE:
			tell_progress(flight);
			break;
	}
}

/* On the way out, also of an error: what was being downloaded leaves no file behind. */
static void
abandon_downloads(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	dlist_iter iter;

	dlist_foreach(iter, &flights)
	{
		Flight *flight = dlist_container(Flight, node, iter.cur);

		clari_download_close(flight->download);
		flight->download = NULL;
	}
}

/* ------- the loop ------- */

static void
claim_flights(void)
{
	ClariOrder order;
	bool claimed = false;

	while (clari_cache_claim(&order))
	{
		Flight *flight = MemoryContextAllocZero(TopMemoryContext, sizeof(Flight));

		flight->order = order;
		clari_job_begin(&flight->job, &order.request, &order.transport, (uint32) order.generation ^ (uint32) MyProcPid,
						now_ms());
		dlist_push_tail(&flights, &flight->node);
		nflights++;
		claimed = true;
	}
	clari_wipe(&order, sizeof(order));
	if (claimed)
		tell_activity();
}

static void
tick_flights(void)
{
	ClariJobEvent tick = {.kind = CLARI_EVENT_TICK, .retry_after = -1};
	dlist_mutable_iter iter;
	int64 now = now_ms();

	dlist_foreach_modify(iter, &flights)
	{
		Flight *flight = dlist_container(Flight, node, iter.cur);

		if (flight->job.next_at <= now)
			step(flight, &tick);
	}
}

static void
tell_all_progress(void)
{
	static int64 told_at = 0;
	dlist_iter iter;

	if (now_ms() - told_at < PROGRESS_INTERVAL)
		return;
	told_at = now_ms();
	dlist_foreach(iter, &flights) tell_progress(dlist_container(Flight, node, iter.cur));
}

/* Milliseconds until the next tick is due. */
static long
turn_length(void)
{
	int64 next = now_ms() + LONGEST_TURN;
	dlist_iter iter;

	dlist_foreach(iter, &flights) next = Min(next, dlist_container(Flight, node, iter.cur)->job.next_at);
	return (long) Max(next - now_ms(), 0);
}

static void
turn(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	MemoryContextReset(turn_context);
	MemoryContextSwitchTo(turn_context);
	claim_flights();
	tick_flights();
	clari_http_wait(http, turn_length(), PG_WAIT_EXTENSION);
	tell_all_progress();
}

PGDLLEXPORT void
clari_fdw_worker_main(Datum slot)
{
	int64 busy_at;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	if (!clari_cache_worker_begin(DatumGetInt32(slot)))
		return;
	before_shmem_exit(abandon_downloads, (Datum) 0);
	turn_context = AllocSetContextCreate(TopMemoryContext, "clari_fdw turn", ALLOCSET_DEFAULT_SIZES);
	http = clari_http_open();
	busy_at = now_ms();
	while (!ShutdownRequestPending)
	{
		turn();
		if (nflights > 0)
			busy_at = now_ms();
		else if (now_ms() - busy_at >= clari_worker_idle_timeout && clari_cache_worker_end())
			return;
	}
	proc_exit(0);
}
