/*
 * launch.c
 *		Starting and waking background workers.
 *
 * Sessions reserve seats and start workers, which then take these seats.  Sessions
 * and workers wake workers.
 */
#include "postgres.h"

#include "cache/internal.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"

/* A worker that does not run after this time (µs) is given up; usually it runs within 5 ms. */
#define STARTING_LIMIT (5 * USECS_PER_SEC)

void
clari_workers_wake_locked(void)
{
	for (int i = 0; i < CLARI_MAX_WORKERS; i++)
		if (clari_control->workers[i].state == CLARI_WORKER_RUNNING && clari_control->workers[i].latch != MyLatch)
			SetLatch(clari_control->workers[i].latch);
}

static int
count_flights_locked(void)
{
	int count = 0;

	for (int i = 0; i < clari_control->nflights; i++)
		count += clari_control->flights[i].used;
	return count;
}

bool
clari_flights_have_queued_locked(void)
{
	for (int i = 0; i < clari_control->nflights; i++)
		if (clari_flight_is_queued(&clari_control->flights[i]))
			return true;
	return false;
}

/* Counts the workers that are running or starting.  *vacant is the first free seat, or CLARI_NO_INDEX. */
static int
count_workers_locked(int *vacant)
{
	TimestampTz now = GetCurrentTimestamp();
	int count = 0;

	*vacant = CLARI_NO_INDEX;
	for (int i = CLARI_MAX_WORKERS - 1; i >= 0; i--)
	{
		ClariWorkerShared *worker = &clari_control->workers[i];

		if (worker->state == CLARI_WORKER_STARTING && (worker->since < now - STARTING_LIMIT || worker->since > now))
			worker->state = CLARI_WORKER_FREE;
		if (worker->state == CLARI_WORKER_FREE)
			*vacant = i;
		else
			count++;
	}
	return count;
}

/* Has a flight been queued so long ago that a worker should be running by now, but none is? */
static bool
is_stuck_locked(void)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz long_ago = now - STARTING_LIMIT;
	bool waiting = false;

	if (clari_control->worker_at > long_ago && clari_control->worker_at <= now)
		return false;
	for (int i = 0; i < CLARI_MAX_WORKERS; i++)
		if (clari_control->workers[i].state == CLARI_WORKER_RUNNING)
			return false;
	for (int i = 0; i < clari_control->nflights; i++)
		waiting = waiting || (clari_control->flights[i].used && clari_control->flights[i].queued_at < long_ago);
	return waiting;
}

/*
 * Reserves a seat for one more worker; CLARI_NO_INDEX: there are enough workers.
 * *running is the number of the others, including those that are starting.  *stuck
 * says that workers do not come up.
 */
static int
reserve_worker(int *running, bool *stuck)
{
	int vacant;

	clari_cache_lock(LW_EXCLUSIVE);
	if (clari_flights_have_queued_locked())
		clari_workers_wake_locked();
	*running = count_workers_locked(&vacant);
	*stuck = is_stuck_locked();
	if (*running >= Min(clari_max_workers, count_flights_locked()))
		vacant = CLARI_NO_INDEX;
	if (vacant != CLARI_NO_INDEX)
	{
		clari_control->workers[vacant].state = CLARI_WORKER_STARTING;
		clari_control->workers[vacant].since = GetCurrentTimestamp();
		clari_control->workers[vacant].latch = NULL;
	}
	clari_cache_unlock();
	return vacant;
}

static bool
register_worker(int seat)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState; /* so that it also starts on a hot standby */
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "clari_fdw", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "clari_fdw_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "clari_fdw worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "clari_fdw worker", BGW_MAXLEN);
	strlcpy(worker.bgw_extra, CLARI_CACHE_LAYOUT, BGW_EXTRALEN);
	worker.bgw_main_arg = Int32GetDatum(seat);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

bool
clari_cache_start_workers(ClariError *error)
{
	int running;
	int seat;
	bool stuck;

	if (!IsUnderPostmaster)
	{
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("clari_fdw cannot export in single-user mode"),
						errdetail("Exports are made by background workers.")));
	}
	while ((seat = reserve_worker(&running, &stuck)) != CLARI_NO_INDEX)
	{
		if (register_worker(seat))
			continue;
		clari_cache_lock(LW_EXCLUSIVE);
		clari_control->workers[seat].state = CLARI_WORKER_FREE;
		clari_cache_unlock();
		if (running > 0)
			return true; /* the other workers will make the export, only later */
		clari_error_set(error, CLARI_ERROR_RESOURCES, "no background worker slot is free for the export");
		clari_error_detail(error, "All background worker slots (max_worker_processes = %d) are in use.",
						   max_worker_processes);
		clari_error_hint(error, "Raise \"max_worker_processes\", or try again later.");
		return false;
	}
	if (stuck)
	{
		clari_error_set(error, CLARI_ERROR_RESOURCES, "the background workers for exports do not start");
		clari_error_hint(error,
						 "See the server log for details. If clari_fdw has just been updated, start a new session.");
	}
	return !stuck;
}
