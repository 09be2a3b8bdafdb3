/*
 * worker.c
 *		The main loop of the background worker, which drives any number of
 *		flights.
 *
 * Sessions start the worker (cache/launch.c); it exits when it is idle.  Each
 * turn of the loop claims queued flights, passes on cancellations, ticks the
 * flights that are due, and waits for the latch and the sockets.  The worker
 * does not talk to sessions directly, and never uses a database, a plan or a
 * tuple.
 */
#include "postgres.h"

#include <limits.h>

#include "worker/worker.h"

#include "base/clock.h"
#include "cache/worker.h"
#include "clari/digest.h"
#include "http/http.h"
#include "worker/internal.h"
#include "compat.h"

#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/*
 * Longest turn of the loop in ms.  At least this often, flights that were not
 * claimed before are considered again, and progress is shown.
 */
#define LONGEST_TURN 1000
#define PROGRESS_INTERVAL 100 /* ms */

typedef struct Claimed
{
	dlist_node node;
	ClariFlight *flight;
} Claimed;

static int idle_timeout = 60 * 1000; /* GUC, in ms */
static ClariHttp *http = NULL;
static dlist_head flights = DLIST_STATIC_INIT(flights);
static MemoryContext turn_context = NULL;

/* ------- progress ------- */

/* Shows the current exports in pg_stat_activity, which truncates a long list. */
static void
tell_activity(void)
{
	StringInfoData text;
	dlist_iter iter;

	if (dlist_is_empty(&flights))
	{
		pgstat_report_activity(STATE_IDLE, NULL);
		return;
	}
	initStringInfo(&text);
	dlist_foreach(iter, &flights) appendStringInfo(&text, "%s%s", text.len > 0 ? ", " : "exporting ",
												   clari_flight_name(dlist_container(Claimed, node, iter.cur)->flight));
	pgstat_report_activity(STATE_RUNNING, text.data);
}

static void
tell_all_progress(void)
{
	static int64 told_at = 0;
	dlist_iter iter;

	if (clari_clock_now() - told_at < PROGRESS_INTERVAL)
		return;
	told_at = clari_clock_now();
	dlist_foreach(iter, &flights) clari_flight_tell(dlist_container(Claimed, node, iter.cur)->flight);
}

/* before_shmem_exit callback.  Closes all downloads, so that no file is left behind. */
static void
quit_flights(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	dlist_iter iter;

	dlist_foreach(iter, &flights) clari_flight_quit(dlist_container(Claimed, node, iter.cur)->flight);
}

/* ------- the loop ------- */

static void
claim_flights(void)
{
	ClariOrder order;
	bool claimed = false;

	while (clari_cache_claim(&order))
	{
		Claimed *one = MemoryContextAlloc(TopMemoryContext, sizeof(Claimed));

		one->flight = clari_flight_begin(&order, http);
		dlist_push_tail(&flights, &one->node);
		claimed = true;
	}
	clari_wipe(&order, sizeof(order));
	if (claimed)
		tell_activity();
}

static void
pass_cancels_on(void)
{
	ClariCancel *cancels = palloc(sizeof(ClariCancel) * CLARI_CANCELS_MAX);
	int count = clari_cache_cancels(cancels);
	dlist_iter iter;

	for (int i = 0; i < count; i++)
		dlist_foreach(iter, &flights)
		{
			ClariFlight *flight = dlist_container(Claimed, node, iter.cur)->flight;

			if (clari_flight_index(flight) == cancels[i].index && !clari_flight_is_over(flight))
				clari_flight_cancel(flight, &cancels[i].error);
		}
}

static void
tick_flights(void)
{
	dlist_iter iter;

	dlist_foreach(iter, &flights) clari_flight_tick(dlist_container(Claimed, node, iter.cur)->flight);
}

static void
end_flights(void)
{
	dlist_mutable_iter iter;
	bool ended = false;

	dlist_foreach_modify(iter, &flights)
	{
		Claimed *one = dlist_container(Claimed, node, iter.cur);

		if (!clari_flight_is_over(one->flight))
			continue;
		clari_flight_end(one->flight);
		dlist_delete(&one->node);
		pfree(one);
		ended = true;
	}
	if (ended)
		tell_activity();
}

/* Milliseconds until the next tick is due. */
static long
turn_length(void)
{
	int64 next = clari_clock_now() + LONGEST_TURN;
	dlist_iter iter;

	dlist_foreach(iter, &flights) next =
		Min(next, clari_flight_next_at(dlist_container(Claimed, node, iter.cur)->flight));
	return (long) Max(next - clari_clock_now(), 0);
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
	pass_cancels_on();
	tick_flights();
	end_flights();
	clari_http_wait(http, turn_length(), clari_wait_event_worker());
	end_flights();
	tell_all_progress();
}

void
clari_worker_init(void)
{
	DefineCustomIntVariable("clari_fdw.worker_idle_timeout",
							"Sets the time after which an idle background worker exits.", NULL, &idle_timeout,
							60 * 1000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
}

PGDLLEXPORT void
clari_fdw_worker_main(Datum seat)
{
	int64 busy_at;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	/*
	 * The worker runs no query that could be canceled, so pg_cancel_backend()
	 * must have no effect.  It would otherwise end the worker in the middle of
	 * its work.
	 */
	pqsignal(SIGINT, PG_SIG_IGN);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	if (!clari_cache_worker_begin(DatumGetInt32(seat)))
		return;
	before_shmem_exit(quit_flights, (Datum) 0);
	turn_context = AllocSetContextCreate(TopMemoryContext, "clari_fdw turn", ALLOCSET_DEFAULT_SIZES);
	http = clari_http_open();
	busy_at = clari_clock_now();
	while (!ShutdownRequestPending)
	{
		turn();
		if (!dlist_is_empty(&flights))
			busy_at = clari_clock_now();
		else if (clari_clock_now() - busy_at >= idle_timeout && clari_cache_worker_end())
			return;
	}
	proc_exit(0);
}
