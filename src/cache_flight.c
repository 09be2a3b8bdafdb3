/*
 * cache_flight.c
 *		The entry table as workers see it: starting, claiming, publishing,
 *		cancelling.
 *
 * Sessions start workers here, reserve their slots, and cancel; the rest runs in
 * workers.  Locks as in cache.c.
 */
#include "postgres.h"

#include "cache_shared.h"
#include "compat.h"
#include "digest.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/proc.h"

/* A worker that has not come up by then never will; one is up in 5 ms. */
#define STARTING_LIMIT (5 * USECS_PER_SEC)

/* So long others leave work to a worker that is starting. */
#define STARTING_GRACE (1 * USECS_PER_SEC)

static int my_slot = CLARI_NOBODY;

static void fail_locked(int index, const ClariError *error);
static void end_flight_locked(int index);
static bool is_unwanted(const ClariFlightShared *flight);
static void cancelled_error(const ClariFlightShared *flight, ClariError *error);

/* All but this process, if it is one. */
static void
wake_workers_locked(void)
{
	ClariControl *control = clari_cache_control();

	for (int i = 0; i < CLARI_MAX_WORKERS; i++)
		if (control->workers[i].state == CLARI_WORKER_RUNNING && i != my_slot)
			SetLatch(control->workers[i].latch);
}

/* ------- starting workers ------- */

static int
count_flights_locked(ClariControl *control)
{
	int count = 0;

	for (int i = 0; i < control->nflights; i++)
		count += control->flights[i].used;
	return count;
}

static bool
is_queued(const ClariFlightShared *flight)
{
	return flight->used && flight->worker == CLARI_NOBODY;
}

static bool
has_queued_locked(const ClariControl *control)
{
	for (int i = 0; i < control->nflights; i++)
		if (is_queued(&control->flights[i]))
			return true;
	return false;
}

/* Counts the workers that run or will; *vacant is a free slot or CLARI_NOBODY. */
static int
count_workers_locked(ClariControl *control, int *vacant)
{
	TimestampTz now = GetCurrentTimestamp();
	int count = 0;

	*vacant = CLARI_NOBODY;
	for (int i = CLARI_MAX_WORKERS - 1; i >= 0; i--)
	{
		ClariWorkerShared *worker = &control->workers[i];

		if (worker->state == CLARI_WORKER_STARTING && (worker->since < now - STARTING_LIMIT || worker->since > now))
			worker->state = CLARI_WORKER_FREE;
		if (worker->state == CLARI_WORKER_FREE)
			*vacant = i;
		else
			count++;
	}
	return count;
}

/* Has a flight been queued for so long that a worker should have come up, and there is none? */
static bool
is_stuck_locked(ClariControl *control)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz long_ago = now - STARTING_LIMIT;
	bool waiting = false;

	if (control->worker_at > long_ago && control->worker_at <= now)
		return false;
	for (int i = 0; i < CLARI_MAX_WORKERS; i++)
		if (control->workers[i].state == CLARI_WORKER_RUNNING)
			return false;
	for (int i = 0; i < control->nflights; i++)
		waiting = waiting || (control->flights[i].used && control->flights[i].queued_at < long_ago);
	return waiting;
}

/*
 * The slot for one more worker, reserved, or CLARI_NOBODY if there are enough;
 * *running counts the others, *stuck tells that none of them comes up.
 */
static int
reserve_worker(int *running, bool *stuck)
{
	ClariControl *control = clari_cache_control();
	int vacant;

	clari_cache_lock(LW_EXCLUSIVE);
	if (has_queued_locked(control))
		wake_workers_locked();
	*running = count_workers_locked(control, &vacant);
	*stuck = is_stuck_locked(control);
	if (*running >= Min(clari_max_workers, count_flights_locked(control)))
		vacant = CLARI_NOBODY;
	if (vacant != CLARI_NOBODY)
	{
		control->workers[vacant].state = CLARI_WORKER_STARTING;
		control->workers[vacant].since = GetCurrentTimestamp();
		control->workers[vacant].latch = NULL;
		control->workers[vacant].flights = 0;
	}
	clari_cache_unlock();
	return vacant;
}

static bool
register_worker(int slot)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_ConsistentState; /* also on a standby */
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "clari_fdw", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "clari_fdw_worker_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "clari_fdw worker", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "clari_fdw worker", BGW_MAXLEN);
	strlcpy(worker.bgw_extra, CLARI_CACHE_LAYOUT, BGW_EXTRALEN);
	worker.bgw_main_arg = Int32GetDatum(slot);
	return RegisterDynamicBackgroundWorker(&worker, NULL);
}

bool
clari_cache_start_workers(ClariError *error)
{
	int running;
	int slot;
	bool stuck;

	if (!IsUnderPostmaster)
	{
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("clari_fdw cannot export in single-user mode"),
						errdetail("Exports are made by background workers.")));
	}
	while ((slot = reserve_worker(&running, &stuck)) != CLARI_NOBODY)
	{
		if (register_worker(slot))
			continue;
		clari_cache_lock(LW_EXCLUSIVE);
		clari_cache_control()->workers[slot].state = CLARI_WORKER_FREE;
		clari_cache_unlock();
		if (running > 0)
			return true; /* slower, but it will come */
		clari_error_set(error, CLARI_ERROR_RESOURCES, "no background worker slot is free for the export");
		clari_error_detail(error, "All %d of max_worker_processes are in use.", max_worker_processes);
		clari_error_hint(error, "Raise \"max_worker_processes\", or try again later.");
		return false;
	}
	if (stuck)
	{
		clari_error_set(error, CLARI_ERROR_RESOURCES, "the background workers for exports do not come up");
		clari_error_hint(error,
						 "The server's log tells why.  If clari_fdw was updated a moment ago, start a new session.");
	}
	return !stuck;
}

/* ------- a worker's life ------- */

/* Cancelled ones end here. */
static void
requeue_locked(ClariFlightShared *flight)
{
	ClariError error;

	if (flight->cancelled_by[0] != '\0')
	{
		cancelled_error(flight, &error);
		fail_locked((int) (flight - clari_cache_control()->flights), &error);
		return;
	}
	flight->worker = CLARI_NOBODY;
	flight->posted = flight->posted || flight->progress.posted_at != 0;
	memset(&flight->progress, 0, sizeof(flight->progress));
	if (is_unwanted(flight))
		end_flight_locked((int) (flight - clari_cache_control()->flights));
}

/* The worker goes with flights in hand: whoever claims them next takes their jobs up. */
static void
leave_slot(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	ClariControl *control = clari_cache_control();

	if (my_slot == CLARI_NOBODY)
		return;
	clari_cache_lock(LW_EXCLUSIVE);
	for (int i = 0; i < control->nflights; i++)
		if (control->flights[i].used && control->flights[i].worker == my_slot)
			requeue_locked(&control->flights[i]);
	control->workers[my_slot].state = CLARI_WORKER_FREE;
	control->worker_at = GetCurrentTimestamp();
	my_slot = CLARI_NOBODY;
	wake_workers_locked();
	clari_cache_unlock();
	clari_cache_wake_sessions(); /* they start another worker */
}

bool
clari_cache_worker_begin(int slot)
{
	ClariControl *control;
	bool mine;

	/* The slot is another version's: the library was replaced after the session had loaded it. */
	if (strcmp(MyBgworkerEntry->bgw_extra, CLARI_CACHE_LAYOUT) != 0)
	{
		ereport(WARNING, (errmsg("a session that runs another version of clari_fdw asked for a background worker"),
						  errdetail("The library has been replaced since that session loaded it."),
						  errhint("Start the session anew.")));
		return false;
	}
	control = clari_cache_control();
	clari_cache_lock(LW_EXCLUSIVE);
	mine = control->workers[slot].state == CLARI_WORKER_STARTING;
	if (mine)
	{
		control->workers[slot].state = CLARI_WORKER_RUNNING;
		control->workers[slot].since = control->worker_at = GetCurrentTimestamp();
		control->workers[slot].latch = MyLatch;
		control->workers[slot].flights = 0;
		my_slot = slot;
	}
	clari_cache_unlock();
	if (mine)
		before_shmem_exit(leave_slot, (Datum) 0);
	return mine;
}

bool
clari_cache_worker_end(void)
{
	ClariControl *control = clari_cache_control();
	bool queued;

	clari_cache_lock(LW_EXCLUSIVE);
	queued = has_queued_locked(control);
	if (!queued)
	{
		control->workers[my_slot].state = CLARI_WORKER_FREE;
		control->worker_at = GetCurrentTimestamp();
		my_slot = CLARI_NOBODY;
	}
	clari_cache_unlock();
	return !queued;
}

/* ------- claiming ------- */

/* Has another worker less to do?  Then the next flight is for it. */
static bool
is_busiest_locked(ClariControl *control)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < CLARI_MAX_WORKERS; i++)
	{
		ClariWorkerShared *worker = &control->workers[i];
		bool alive = worker->state == CLARI_WORKER_RUNNING ||
					 (worker->state == CLARI_WORKER_STARTING && worker->since > now - STARTING_GRACE);

		if (alive && worker->flights < control->workers[my_slot].flights)
			return true;
	}
	return false;
}

static bool
same_account(const ClariFlightShared *a, const ClariFlightShared *b)
{
	return memcmp(&a->account, &b->account, sizeof(ClariKey)) == 0;
}

/*
 * Roles take turns: the flights that one has queued have turns one after the
 * other, from the turn on that was claimed last.  So one flight of another role,
 * queued behind many of theirs, comes next.  It is an account's places that are
 * waited for, so its turns are counted apart from those of others, which may be
 * many more: its flights know which was the last.
 */
void
clari_flight_take_turn_locked(ClariFlightShared *flight)
{
	ClariControl *control = clari_cache_control();
	uint64 claimed = 0;
	uint64 mine = 0;

	for (int i = 0; i < control->nflights; i++)
	{
		const ClariFlightShared *other = &control->flights[i];

		if (!other->used || !same_account(other, flight))
			continue;
		claimed = Max(claimed, other->last_turn);
		if (is_queued(other) && other->role == flight->role)
			mine = Max(mine, other->turn);
	}
	flight->last_turn = claimed != 0 ? claimed : control->turn;
	flight->turn = Max(mine, flight->last_turn) + 1;
}

/* The flight has had its turn. */
static void
end_turn_locked(ClariFlightShared *flight)
{
	ClariControl *control = clari_cache_control();

	control->turn = Max(control->turn, flight->turn);
	control->last_role = flight->role;
	for (int i = 0; i < control->nflights; i++)
		if (control->flights[i].used && same_account(&control->flights[i], flight))
			control->flights[i].last_turn = Max(control->flights[i].last_turn, flight->turn);
}

/* Of the same turn, first who did not have the last one. */
static bool
is_before_locked(const ClariControl *control, const ClariFlightShared *a, const ClariFlightShared *b)
{
	if (a->turn != b->turn)
		return a->turn < b->turn;
	if ((a->role == control->last_role) != (b->role == control->last_role))
		return b->role == control->last_role;
	return a->generation < b->generation;
}

static bool
account_has_room_locked(ClariControl *control, const ClariFlightShared *flight)
{
	int active = 0;

	for (int i = 0; i < control->nflights; i++)
	{
		const ClariFlightShared *other = &control->flights[i];

		if (other->used && other->worker != CLARI_NOBODY && same_account(other, flight))
			active++;
	}
	return active < flight->transport.max_concurrent_exports;
}

/* The flight whose turn it is of those that may go, or NULL. */
static ClariFlightShared *
next_flight_locked(ClariControl *control)
{
	ClariFlightShared *next = NULL;

	for (int i = 0; i < control->nflights; i++)
	{
		ClariFlightShared *flight = &control->flights[i];

		if (is_queued(flight) && (next == NULL || is_before_locked(control, flight, next)) &&
			account_has_room_locked(control, flight))
			next = flight;
	}
	return next;
}

bool
clari_cache_claim(ClariOrder *order)
{
	ClariControl *control = clari_cache_control();
	ClariFlightShared *flight = NULL;

	clari_cache_lock(LW_EXCLUSIVE);
	if (!is_busiest_locked(control))
		flight = next_flight_locked(control);
	if (flight != NULL)
	{
		flight->worker = my_slot;
		end_turn_locked(flight);
		control->workers[my_slot].flights++;
		order->index = (int) (flight - control->flights);
		order->key = control->entries[flight->entry].key;
		order->account = flight->account;
		order->generation = flight->generation;
		order->fresh_since = flight->fresh_since;
		order->running_since = flight->running_since;
		order->cache_ttl = flight->cache_ttl;
		order->closed_period_ttl = flight->closed_period_ttl;
		order->known = control->entries[flight->entry].version.meta;
		order->request = flight->request;
		order->transport = flight->transport;
		wake_workers_locked();
	}
	clari_cache_unlock();
	return flight != NULL;
}

void
clari_cache_progress(int index, const ClariProgress *progress)
{
	clari_cache_lock(LW_EXCLUSIVE);
	clari_cache_control()->flights[index].progress = *progress;
	clari_cache_unlock();
}

bool
clari_cache_failure(const ClariKey *key, uint64 flight, ClariError *error)
{
	const ClariEntryShared *entry;
	bool failed;

	clari_cache_lock(LW_SHARED);
	entry = clari_entry_find_locked(key);
	failed = entry != NULL && entry->failed_flight == flight;
	if (failed)
		*error = entry->error;
	clari_cache_unlock();
	return failed;
}

/* ------- whose is a job? ------- */

static ClariAccountShared *
find_account_locked(const ClariKey *account)
{
	ClariControl *control = clari_cache_control();

	for (int i = 0; i < CLARI_MAX_ACCOUNTS; i++)
		if (control->accounts[i].user_id[0] != '\0' &&
			memcmp(&control->accounts[i].account, account, sizeof(*account)) == 0)
			return &control->accounts[i];
	return NULL;
}

const char *
clari_account_organization_locked(const ClariKey *account)
{
	const ClariAccountShared *place = find_account_locked(account);

	return place != NULL ? place->organization : "";
}

void
clari_account_note_locked(const ClariKey *account, const char *user_id, const char *organization)
{
	ClariControl *control = clari_cache_control();
	ClariAccountShared *place = find_account_locked(account);

	if (place == NULL)
	{
		place = &control->accounts[control->next_account];
		control->next_account = (control->next_account + 1) % CLARI_MAX_ACCOUNTS;
		memset(place, 0, sizeof(*place));
	}
	place->account = *account;
	strlcpy(place->user_id, user_id, sizeof(place->user_id));
	if (organization[0] != '\0')
		strlcpy(place->organization, organization, sizeof(place->organization));
}

void
clari_cache_note_user(const ClariKey *account, const char *user_id, const char *organization)
{
	clari_cache_lock(LW_EXCLUSIVE);
	clari_account_note_locked(account, user_id, organization);
	clari_cache_unlock();
}

void
clari_cache_user(const ClariKey *account, char user_id[64])
{
	const ClariAccountShared *place;

	clari_cache_lock(LW_SHARED);
	place = find_account_locked(account);
	strlcpy(user_id, place != NULL ? place->user_id : "", 64);
	clari_cache_unlock();
}

void
clari_cache_account(const ClariKey *account, char user_id[64], char organization[64])
{
	const ClariAccountShared *place;

	clari_cache_lock(LW_SHARED);
	place = find_account_locked(account);
	strlcpy(user_id, place != NULL ? place->user_id : "", 64);
	strlcpy(organization, place != NULL ? place->organization : "", 64);
	clari_cache_unlock();
}

bool
clari_cache_is_invalidated(int index, TimestampTz posted_at)
{
	ClariControl *control = clari_cache_control();
	bool invalidated;

	clari_cache_lock(LW_SHARED);
	invalidated = posted_at <= clari_entry_invalidated_at(&control->entries[control->flights[index].entry]);
	clari_cache_unlock();
	return invalidated;
}

bool
clari_cache_claims_job(int index, const char *job_id)
{
	ClariControl *control = clari_cache_control();
	bool claimed = false;

	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < control->nentries; i++)
		claimed = claimed || (control->entries[i].used && strcmp(control->entries[i].version.meta.job_id, job_id) == 0);
	for (int i = 0; i < control->nflights; i++)
		claimed = claimed ||
				  (i != index && control->flights[i].used && strcmp(control->flights[i].progress.job_id, job_id) == 0);
	clari_cache_unlock();
	return claimed;
}

bool
clari_cache_is_contested(int index)
{
	ClariControl *control = clari_cache_control();
	const ClariFlightShared *mine = &control->flights[index];
	bool contested = false;

	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < control->nflights; i++)
	{
		const ClariFlightShared *other = &control->flights[i];

		contested =
			contested || (i != index && other->used && other->worker != CLARI_NOBODY &&
						  other->progress.job_id[0] == '\0' && other->progress.state >= CLARI_JOB_POSTING &&
						  same_account(other, mine) && strcmp(other->request.forecast, mine->request.forecast) == 0 &&
						  (other->request.period[0] == '\0' || mine->request.period[0] == '\0' ||
						   strcmp(other->request.period, mine->request.period) == 0));
	}
	clari_cache_unlock();
	return contested;
}

/* ------- the end of a flight ------- */

static void
end_flight_locked(int index)
{
	ClariControl *control = clari_cache_control();
	ClariFlightShared *flight = &control->flights[index];

	control->entries[flight->entry].flight = CLARI_NOBODY;
	if (flight->worker != CLARI_NOBODY)
		control->workers[flight->worker].flights--;
	clari_wipe(flight, sizeof(*flight)); /* the key was in it; all zero is unused */
	wake_workers_locked();
}

void
clari_cache_publish(int index, const ClariVersion *version, bool in_file, bool taken_up, const ClariError *warning)
{
	ClariControl *control = clari_cache_control();
	ClariDropped dropped;
	ClariEntryShared *entry;

	clari_dropped_init(&dropped);
	clari_cache_lock(LW_EXCLUSIVE);
	entry = &control->entries[control->flights[index].entry];
	clari_tier_drop_segment_locked(entry, &dropped);
	clari_tier_drop_file_locked(entry, &dropped);
	entry->version = *version;
	entry->in_file = in_file && !control->flights[index].moved;
	entry->file_reads = 0;
	entry->taken_up = taken_up;
	entry->posted_since = control->flights[index].running_since;
	entry->ttl = clari_rowset_ttl(&version->meta, version->meta.cache_ttl, version->meta.closed_period_ttl);
	entry->failed_flight = 0;
	if (warning->code != CLARI_ERROR_NONE)
	{
		entry->error = *warning;
		entry->warned_flight = version->meta.generation;
	}
	entry->used_at = ++control->clock;
	end_flight_locked(index);
	clari_cache_unlock();
	clari_cache_wake_sessions();
	clari_tier_dispose(&dropped);
}

static void
fail_locked(int index, const ClariError *error)
{
	ClariControl *control = clari_cache_control();
	ClariEntryShared *entry = &control->entries[control->flights[index].entry];

	entry->failed_flight = control->flights[index].generation;
	entry->failed_at = GetCurrentTimestamp();
	entry->error = *error;
	control->stats.counts[clari_error_is_cancel(error->code) ? CLARI_COUNT_CANCELLATIONS : CLARI_COUNT_FAILURES]++;
	end_flight_locked(index);
}

void
clari_cache_fail(int index, const ClariError *error)
{
	clari_cache_lock(LW_EXCLUSIVE);
	fail_locked(index, error);
	clari_cache_unlock();
	clari_cache_wake_sessions();
}

/* ------- what nobody wants ------- */

/* A job that a worker has POSTed is there to be taken up. */
static bool
is_unwanted(const ClariFlightShared *flight)
{
	return flight->waiters <= 0 && !flight->kept && !flight->posted;
}

static ClariFlightShared *
find_flight_locked(uint64 generation)
{
	ClariControl *control = clari_cache_control();

	for (int i = 0; i < control->nflights; i++)
		if (control->flights[i].used && control->flights[i].generation == generation)
			return &control->flights[i];
	return NULL;
}

void
clari_cache_leave(uint64 generation)
{
	ClariFlightShared *flight;

	clari_cache_lock(LW_EXCLUSIVE);
	flight = find_flight_locked(generation);
	if (flight != NULL)
	{
		flight->waiters--;
		if (is_queued(flight) && is_unwanted(flight))
			end_flight_locked((int) (flight - clari_cache_control()->flights));
	}
	clari_cache_unlock();
}

void
clari_cache_keep(uint64 generation)
{
	ClariFlightShared *flight;

	clari_cache_lock(LW_EXCLUSIVE);
	flight = find_flight_locked(generation);
	if (flight != NULL)
		flight->kept = true;
	clari_cache_unlock();
}

bool
clari_cache_drop_unwanted(int index)
{
	bool unwanted;

	clari_cache_lock(LW_EXCLUSIVE);
	unwanted = is_unwanted(&clari_cache_control()->flights[index]);
	if (unwanted)
		end_flight_locked(index);
	clari_cache_unlock();
	return unwanted;
}

/* ------- whose place is it? ------- */

/* Who has queued how much: a role; or within one, an organization of Clari's, or an account. */
typedef struct Share
{
	const ClariFlightShared *newest;
	int queued;
} Share;

/* Whether two flights of a role are for the same organization, or account where one's is not known. */
static bool
same_organization(const ClariFlightShared *a, const ClariFlightShared *b)
{
	if (a->organization[0] != '\0' && b->organization[0] != '\0')
		return strcmp(a->organization, b->organization) == 0;
	return same_account(a, b);
}

static bool
same_share(const ClariFlightShared *a, const ClariFlightShared *b, bool within_role)
{
	return a->role == b->role && (!within_role || same_organization(a, b));
}

/* The largest share of those that can be displaced, of all or within the role of *like; *mine is how large that of *like is. */
static Share
largest_share_locked(const ClariFlightShared *like, bool within_role, int *mine)
{
	ClariControl *control = clari_cache_control();
	Share shares[CLARI_MAX_FLIGHTS];
	Share largest = {NULL, 0};
	int count = 0;

	*mine = 0;
	for (int i = 0; i < control->nflights; i++)
	{
		const ClariFlightShared *flight = &control->flights[i];
		int at = 0;

		if (!is_queued(flight) || flight->posted || (within_role && flight->role != like->role))
			continue;
		*mine += same_share(flight, like, within_role);
		while (at < count && !same_share(shares[at].newest, flight, within_role))
			at++;
		if (at == count)
			shares[count++] = (Share){flight, 0};
		shares[at].queued++;
		if (flight->turn >= shares[at].newest->turn)
			shares[at].newest = flight;
		if (shares[at].queued >= largest.queued)
			largest = shares[at];
	}
	return largest;
}

bool
clari_flight_displace_locked(Oid role, const ClariKey *account)
{
	ClariFlightShared like = {.role = role, .account = *account};
	int mine;
	Share largest;

	strlcpy(like.organization, clari_account_organization_locked(account), sizeof(like.organization));
	largest = largest_share_locked(&like, false, &mine);
	if (largest.queued <= mine + 1)
		largest = largest_share_locked(&like, true, &mine);
	if (largest.queued <= mine + 1)
		return false;
	/* Who waits for it asks again, and is told to wait. */
	end_flight_locked((int) (largest.newest - clari_cache_control()->flights));
	return true;
}

/* ------- cancelling ------- */

static void
cancelled_error(const ClariFlightShared *flight, ClariError *error)
{
	const char *period = flight->request.period;

	clari_error_set(error, CLARI_ERROR_CANCELLED, "the export of %s%s was cancelled by role \"%s\"",
					period[0] != '\0' ? "period " : "the current quarter", period, flight->cancelled_by);
	clari_error_hint(error, "Run the query again to export anew.");
}

/*
 * A worker tells Clari.  Queued, there is nothing to tell, but for the job of a
 * worker that has died: that runs on, for the next query to take up.
 */
static void
cancel_locked(int index, const char *role)
{
	ClariFlightShared *flight = &clari_cache_control()->flights[index];
	ClariError error;

	if (flight->cancelled_by[0] == '\0')
		strlcpy(flight->cancelled_by, role, sizeof(flight->cancelled_by));
	cancelled_error(flight, &error);
	if (flight->worker == CLARI_NOBODY)
		fail_locked(index, &error);
	else
		wake_workers_locked();
}

uint64
clari_cache_cancel(const ClariKey *key, const char *role)
{
	ClariEntryShared *entry;
	uint64 generation = 0;

	clari_cache_lock(LW_EXCLUSIVE);
	entry = clari_entry_find_locked(key);
	if (entry != NULL && entry->flight != CLARI_NOBODY)
	{
		generation = clari_cache_control()->flights[entry->flight].generation;
		cancel_locked(entry->flight, role);
	}
	clari_cache_unlock();
	clari_cache_wake_sessions();
	return generation;
}

bool
clari_cache_cancel_flight(uint64 flight, const char *role, ClariKey *key)
{
	ClariControl *control = clari_cache_control();
	int index = 0;
	bool found;

	clari_cache_lock(LW_EXCLUSIVE);
	while (index < control->nflights && !(control->flights[index].used && control->flights[index].generation == flight))
		index++;
	found = index < control->nflights;
	if (found)
	{
		*key = control->entries[control->flights[index].entry].key;
		cancel_locked(index, role);
	}
	clari_cache_unlock();
	clari_cache_wake_sessions();
	return found;
}

int
clari_cache_cancels(ClariCancel cancels[CLARI_CANCELS_MAX])
{
	ClariControl *control = clari_cache_control();
	int count = 0;

	clari_cache_lock(LW_EXCLUSIVE);
	for (int i = 0; i < control->nflights && count < CLARI_CANCELS_MAX; i++)
	{
		ClariFlightShared *flight = &control->flights[i];

		if (!flight->used || flight->worker != my_slot || flight->cancelled_by[0] == '\0' || flight->cancel_told)
			continue;
		cancels[count].index = i;
		cancelled_error(flight, &cancels[count++].error);
		flight->cancel_told = true;
	}
	clari_cache_unlock();
	return count;
}
