/*
 * claim.c
 *		Flights: the order in which they are claimed, and the ways in which they end.
 *
 * Workers take and leave seats, claim flights, and publish or fail them; sessions
 * leave, displace and cancel them.
 */
#include "postgres.h"

#include "cache/internal.h"
#include "clari/digest.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/proc.h"

/* How long (µs) other workers leave flights to a worker that is starting. */
#define STARTING_GRACE (1 * USECS_PER_SEC)

/* A flight counts as at least so many entries, because its calls and its file take as long as decoding these. */
#define LEAST_ENTRIES 1000

static int my_seat = CLARI_NO_INDEX;

static bool
same_account(const ClariFlightShared *a, const ClariFlightShared *b)
{
	return memcmp(&a->account, &b->account, sizeof(ClariKey)) == 0;
}

/* ------- the end of a flight ------- */

static void
end_flight_locked(ClariFlightShared *flight)
{
	clari_control->slots[flight->slot].flight = CLARI_NO_INDEX;
	clari_wipe(flight, sizeof(*flight)); /* it contains the API key; a zeroed flight is unused */
	clari_workers_wake_locked();
}

void
clari_cache_publish(int index, const ClariVersion *version, bool in_file, bool of_ended_job, const ClariError *warning)
{
	ClariFlightShared *flight = &clari_control->flights[index];
	ClariDropped dropped;
	ClariSlotShared *slot;

	clari_dropped_init(&dropped);
	clari_cache_lock(LW_EXCLUSIVE);
	slot = &clari_control->slots[flight->slot];
	clari_slot_drop_segment_locked(slot, &dropped);
	clari_slot_drop_file_locked(slot, &dropped);
	slot->version = *version;
	slot->in_file = in_file && !flight->moved;
	slot->file_reads = 0;
	slot->of_ended_job = of_ended_job;
	slot->posted_since = flight->running_since;
	slot->ttl = clari_rowset_ttl(&version->meta, version->meta.cache_ttl, version->meta.closed_period_ttl);
	slot->failed_flight = 0;
	slot->left_job[0] = '\0';
	if (warning->code != CLARI_ERROR_NONE)
	{
		slot->error = *warning;
		slot->warned_flight = version->meta.generation;
	}
	slot->used_at = ++clari_control->clock;
	end_flight_locked(flight);
	clari_cache_unlock();
	clari_cache_wake_sessions();
	clari_dropped_release(&dropped);
}

static void
fail_locked(ClariFlightShared *flight, const ClariError *error)
{
	ClariSlotShared *slot = &clari_control->slots[flight->slot];

	slot->failed_flight = flight->generation;
	slot->failed_at = GetCurrentTimestamp();
	slot->error = *error;
	clari_control->stats
		.counts[clari_error_is_cancel(error->code) ? CLARI_COUNT_CANCELLATIONS : CLARI_COUNT_FAILURES]++;
	end_flight_locked(flight);
}

void
clari_cache_fail(int index, const char *left_job, const ClariError *error)
{
	ClariFlightShared *flight = &clari_control->flights[index];
	ClariSlotShared *slot;

	clari_cache_lock(LW_EXCLUSIVE);
	slot = &clari_control->slots[flight->slot];
	strlcpy(slot->left_job, left_job, sizeof(slot->left_job));
	fail_locked(flight, error);
	clari_cache_unlock();
	clari_cache_wake_sessions();
}

bool
clari_cache_failure(const ClariKey *key, uint64 flight, ClariError *error)
{
	const ClariSlotShared *slot;
	bool failed;

	clari_cache_lock(LW_SHARED);
	slot = clari_slot_find_locked(key);
	failed = slot != NULL && slot->failed_flight == flight;
	if (failed)
		*error = slot->error;
	clari_cache_unlock();
	return failed;
}

/* ------- unwanted flights ------- */

/* Can the flight end because nobody wants it?  Not if an earlier worker sent its POST, since its job can be taken up. */
static bool
is_unwanted(const ClariFlightShared *flight)
{
	return flight->waiters <= 0 && !flight->kept && !flight->posted;
}

static ClariFlightShared *
find_flight_locked(uint64 generation)
{
	for (int i = 0; i < clari_control->nflights; i++)
		if (clari_control->flights[i].used && clari_control->flights[i].generation == generation)
			return &clari_control->flights[i];
	return NULL;
}

bool
clari_cache_is_flying(uint64 generation)
{
	bool flying;

	clari_cache_lock(LW_SHARED);
	flying = find_flight_locked(generation) != NULL;
	clari_cache_unlock();
	return flying;
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
		if (clari_flight_is_queued(flight) && is_unwanted(flight))
			end_flight_locked(flight);
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
clari_cache_end_unwanted(int index)
{
	bool unwanted;

	clari_cache_lock(LW_EXCLUSIVE);
	unwanted = is_unwanted(&clari_control->flights[index]);
	if (unwanted)
		end_flight_locked(&clari_control->flights[index]);
	clari_cache_unlock();
	return unwanted;
}

/* ------- canceling ------- */

static void
canceled_error(const ClariFlightShared *flight, ClariError *error)
{
	char subject[CLARI_SUBJECT_SIZE];

	clari_request_subject(&flight->request, subject);
	clari_error_set(error, CLARI_ERROR_CANCELED, "%s was canceled by role \"%s\"", subject, flight->canceled_by);
	clari_error_hint(error, "Run the query again to start a new export.");
}

/*
 * If a worker has claimed the flight, the worker cancels it and its job at Clari.
 * A queued flight fails here, since there is nothing to cancel at Clari.  However,
 * if a worker that has exited had sent its POST, the job continues, and the next
 * query takes it up.
 */
static void
cancel_locked(ClariFlightShared *flight, const char *role)
{
	ClariError error;

	if (flight->canceled_by[0] == '\0')
		strlcpy(flight->canceled_by, role, sizeof(flight->canceled_by));
	canceled_error(flight, &error);
	if (flight->worker == CLARI_NO_INDEX)
		fail_locked(flight, &error);
	else
		clari_workers_wake_locked();
}

uint64
clari_cache_cancel(const ClariKey *key, const char *role)
{
	ClariSlotShared *slot;
	uint64 generation = 0;

	clari_cache_lock(LW_EXCLUSIVE);
	slot = clari_slot_find_locked(key);
	if (slot != NULL && slot->flight != CLARI_NO_INDEX)
	{
		generation = clari_control->flights[slot->flight].generation;
		cancel_locked(&clari_control->flights[slot->flight], role);
	}
	clari_cache_unlock();
	clari_cache_wake_sessions();
	return generation;
}

bool
clari_cache_cancel_flight(uint64 generation, const char *role, ClariKey *key)
{
	ClariFlightShared *flight;

	clari_cache_lock(LW_EXCLUSIVE);
	flight = find_flight_locked(generation);
	if (flight != NULL)
	{
		*key = clari_control->slots[flight->slot].key;
		cancel_locked(flight, role);
	}
	clari_cache_unlock();
	clari_cache_wake_sessions();
	return flight != NULL;
}

int
clari_cache_cancels(ClariCancel cancels[CLARI_CANCELS_MAX])
{
	int count = 0;

	clari_cache_lock(LW_EXCLUSIVE);
	for (int i = 0; i < clari_control->nflights && count < CLARI_CANCELS_MAX; i++)
	{
		ClariFlightShared *flight = &clari_control->flights[i];

		if (!flight->used || flight->worker != my_seat || flight->canceled_by[0] == '\0' || flight->cancel_told)
			continue;
		cancels[count].index = i;
		canceled_error(flight, &cancels[count++].error);
		flight->cancel_told = true;
	}
	clari_cache_unlock();
	return count;
}

/* ------- a worker's life ------- */

/* Puts a flight of a worker that exits back into the queue, or ends it if it was canceled or nobody wants it. */
static void
requeue_locked(ClariFlightShared *flight)
{
	ClariError error;

	if (flight->canceled_by[0] != '\0')
	{
		canceled_error(flight, &error);
		fail_locked(flight, &error);
		return;
	}
	flight->worker = CLARI_NO_INDEX;
	flight->posted = flight->posted || flight->progress.posted_at != 0;
	memset(&flight->progress, 0, sizeof(flight->progress));
	if (is_unwanted(flight))
		end_flight_locked(flight);
}

/* before_shmem_exit callback: puts this worker's flights back into the queue, so that others take their jobs up. */
static void
leave_seat(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	if (my_seat == CLARI_NO_INDEX)
		return;
	clari_cache_lock(LW_EXCLUSIVE);
	for (int i = 0; i < clari_control->nflights; i++)
		if (clari_control->flights[i].used && clari_control->flights[i].worker == my_seat)
			requeue_locked(&clari_control->flights[i]);
	clari_control->workers[my_seat].state = CLARI_WORKER_FREE;
	clari_control->worker_at = GetCurrentTimestamp();
	my_seat = CLARI_NO_INDEX;
	clari_workers_wake_locked();
	clari_cache_unlock();
	clari_cache_wake_sessions(); /* waiting sessions start another worker */
}

bool
clari_cache_worker_begin(int seat)
{
	bool mine;

	/* If the session has loaded another version of the library, it uses shared memory that this process does not know. */
	if (strcmp(MyBgworkerEntry->bgw_extra, CLARI_CACHE_LAYOUT) != 0)
	{
		ereport(WARNING, (errmsg("a session that runs another version of clari_fdw asked for a background worker"),
						  errdetail("The library has been replaced since that session loaded it."),
						  errhint("Start a new session.")));
		return false;
	}
	clari_cache_lock(LW_EXCLUSIVE);
	mine = clari_control->workers[seat].state == CLARI_WORKER_STARTING;
	if (mine)
	{
		clari_control->workers[seat].state = CLARI_WORKER_RUNNING;
		clari_control->workers[seat].since = clari_control->worker_at = GetCurrentTimestamp();
		clari_control->workers[seat].latch = MyLatch;
		my_seat = seat;
	}
	clari_cache_unlock();
	if (mine)
		before_shmem_exit(leave_seat, (Datum) 0);
	return mine;
}

bool
clari_cache_worker_end(void)
{
	bool queued;

	clari_cache_lock(LW_EXCLUSIVE);
	queued = clari_flights_have_queued_locked();
	if (!queued)
	{
		clari_control->workers[my_seat].state = CLARI_WORKER_FREE;
		clari_control->worker_at = GetCurrentTimestamp();
		my_seat = CLARI_NO_INDEX;
	}
	clari_cache_unlock();
	return !queued;
}

/* ------- turns ------- */

/*
 * Roles take turns: the queued flights of a role have consecutive turns, which
 * start after the turn that was claimed last.  So if one role has queued many
 * flights and another role then queues its first, that one is claimed early.
 * Turns are counted per account, because flights wait for room among the exports
 * of their account.  All flights of an account hold its last claimed turn.
 */
void
clari_flight_take_turn_locked(ClariFlightShared *flight)
{
	uint64 claimed = 0;
	uint64 mine = 0;

	for (int i = 0; i < clari_control->nflights; i++)
	{
		const ClariFlightShared *other = &clari_control->flights[i];

		if (!other->used || !same_account(other, flight))
			continue;
		claimed = Max(claimed, other->last_turn);
		if (clari_flight_is_queued(other) && other->role == flight->role)
			mine = Max(mine, other->turn);
	}
	flight->last_turn = claimed != 0 ? claimed : clari_control->turn;
	flight->turn = Max(mine, flight->last_turn) + 1;
}

/* Notes that the flight's turn and role were the last to be claimed. */
static void
end_turn_locked(ClariFlightShared *flight)
{
	clari_control->turn = Max(clari_control->turn, flight->turn);
	clari_control->last_role = flight->role;
	for (int i = 0; i < clari_control->nflights; i++)
		if (clari_control->flights[i].used && same_account(&clari_control->flights[i], flight))
			clari_control->flights[i].last_turn = Max(clari_control->flights[i].last_turn, flight->turn);
}

/* Is flight a to be claimed before flight b?  In the same turn, the role that was not the last to be served is first. */
static bool
is_before_locked(const ClariFlightShared *a, const ClariFlightShared *b)
{
	if (a->turn != b->turn)
		return a->turn < b->turn;
	if ((a->role == clari_control->last_role) != (b->role == clari_control->last_role))
		return b->role == clari_control->last_role;
	return a->generation < b->generation;
}

/*
 * May the account have one more export under way?  Requests about the account
 * itself are not limited, and do not count.
 */
static bool
account_has_room_locked(const ClariFlightShared *flight)
{
	int active = 0;

	if (clari_endpoint_is_of_account(flight->request.endpoint))
		return true;
	for (int i = 0; i < clari_control->nflights; i++)
	{
		const ClariFlightShared *other = &clari_control->flights[i];

		if (other->used && other->worker != CLARI_NO_INDEX && same_account(other, flight) &&
			!clari_endpoint_is_of_account(other->request.endpoint))
			active++;
	}
	return active < flight->transport.max_concurrent_exports;
}

/* Returns the flight to be claimed next, of those whose accounts have room for it; NULL: there is none. */
static ClariFlightShared *
next_flight_locked(void)
{
	ClariFlightShared *next = NULL;

	for (int i = 0; i < clari_control->nflights; i++)
	{
		ClariFlightShared *flight = &clari_control->flights[i];

		if (clari_flight_is_queued(flight) && (next == NULL || is_before_locked(flight, next)) &&
			account_has_room_locked(flight))
			next = flight;
	}
	return next;
}

/* ------- claiming ------- */

/*
 * Estimates how many entries of the flight are left to decode.  The total is
 * assumed to be that of the export's last rowset.  If there was no rowset, or
 * more entries than that have been decoded already, the flight is assumed to be
 * half done.
 */
static int64
entries_left_locked(const ClariFlightShared *flight)
{
	int64 last = (int64) clari_control->slots[flight->slot].version.meta.rows[CLARI_ENTRIES];
	int64 decoded = flight->progress.entries;

	return Max(LEAST_ENTRIES, last > decoded ? last - decoded : decoded);
}

static int64
worker_entries_left_locked(int seat)
{
	int64 left = 0;

	for (int i = 0; i < clari_control->nflights; i++)
		if (clari_control->flights[i].used && clari_control->flights[i].worker == seat)
			left += entries_left_locked(&clari_control->flights[i]);
	return left;
}

/* Has another worker, running or about to run, less left to decode than this one?  If so, it should claim the next flight. */
static bool
another_has_less_locked(void)
{
	TimestampTz now = GetCurrentTimestamp();
	int64 mine = worker_entries_left_locked(my_seat);

	for (int i = 0; i < CLARI_MAX_WORKERS; i++)
	{
		ClariWorkerShared *worker = &clari_control->workers[i];
		bool alive = worker->state == CLARI_WORKER_RUNNING ||
					 (worker->state == CLARI_WORKER_STARTING && worker->since > now - STARTING_GRACE);

		if (alive && worker_entries_left_locked(i) < mine)
			return true;
	}
	return false;
}

bool
clari_cache_claim(ClariOrder *order)
{
	ClariFlightShared *flight = NULL;

	clari_cache_lock(LW_EXCLUSIVE);
	if (!another_has_less_locked())
		flight = next_flight_locked();
	if (flight != NULL)
	{
		flight->worker = my_seat;
		end_turn_locked(flight);
		order->index = (int) (flight - clari_control->flights);
		order->key = clari_control->slots[flight->slot].key;
		order->account = flight->account;
		order->generation = flight->generation;
		order->fresh_since = flight->fresh_since;
		order->running_since = flight->running_since;
		order->cache_ttl = flight->cache_ttl;
		order->closed_period_ttl = flight->closed_period_ttl;
		order->known = clari_control->slots[flight->slot].version.meta;
		memcpy(order->left_job, clari_control->slots[flight->slot].left_job, sizeof(order->left_job));
		order->request = flight->request;
		order->transport = flight->transport;
		clari_workers_wake_locked();
	}
	clari_cache_unlock();
	return flight != NULL;
}

void
clari_cache_progress(int index, const ClariProgress *progress)
{
	clari_cache_lock(LW_EXCLUSIVE);
	clari_control->flights[index].progress = *progress;
	clari_cache_unlock();
}

/* ------- owners of jobs ------- */

bool
clari_cache_is_invalidated(int index, TimestampTz posted_at)
{
	bool invalidated;

	clari_cache_lock(LW_SHARED);
	invalidated = posted_at <= clari_slot_invalidated_at(&clari_control->slots[clari_control->flights[index].slot]);
	clari_cache_unlock();
	return invalidated;
}

bool
clari_cache_claims_job(int index, const char *job_id)
{
	bool claimed = false;

	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < clari_control->nslots; i++)
		claimed = claimed ||
				  (clari_control->slots[i].used && strcmp(clari_control->slots[i].version.meta.job_id, job_id) == 0);
	for (int i = 0; i < clari_control->nflights; i++)
		claimed = claimed || (i != index && clari_control->flights[i].used &&
							  strcmp(clari_control->flights[i].progress.job_id, job_id) == 0);
	clari_cache_unlock();
	return claimed;
}

bool
clari_cache_is_contested(int index)
{
	const ClariFlightShared *mine = &clari_control->flights[index];
	bool contested = false;

	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < clari_control->nflights; i++)
	{
		const ClariFlightShared *other = &clari_control->flights[i];

		contested =
			contested || (i != index && other->used && other->worker != CLARI_NO_INDEX &&
						  other->request.endpoint == CLARI_ENDPOINT_EXPORT && other->progress.job_id[0] == '\0' &&
						  other->progress.state >= CLARI_JOB_POSTING && same_account(other, mine) &&
						  strcmp(other->request.forecast, mine->request.forecast) == 0 &&
						  (other->request.period[0] == '\0' || mine->request.period[0] == '\0' ||
						   strcmp(other->request.period, mine->request.period) == 0));
	}
	clari_cache_unlock();
	return contested;
}

/* ------- displacing flights ------- */

/* The queued flights of a role, or of an organization at Clari within a role. */
typedef struct Share
{
	ClariFlightShared *newest;
	int queued;
} Share;

/* Are two flights for the same organization?  If that of either is not known, their accounts are compared. */
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

/*
 * Divides the flights that may be displaced into shares, by role, or if
 * within_role, those of the role of *like by organization.  Returns the largest
 * share.  *mine is the number of flights in the share that *like belongs to.
 */
static Share
largest_share_locked(const ClariFlightShared *like, bool within_role, int *mine)
{
	Share shares[CLARI_MAX_FLIGHTS];
	Share largest = {NULL, 0};
	int count = 0;

	*mine = 0;
	for (int i = 0; i < clari_control->nflights; i++)
	{
		ClariFlightShared *flight = &clari_control->flights[i];
		int at = 0;

		if (!clari_flight_is_queued(flight) || flight->posted || (within_role && flight->role != like->role))
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
	/* Sessions that wait for it look it up again, and then wait for room in the queue. */
	end_flight_locked(largest.newest);
	return true;
}
