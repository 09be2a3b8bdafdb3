/*
 * cache.c
 *		The entry table as sessions see it: look-ups, the single flight, views.
 *
 * Runs in sessions, and its small helpers in workers.  Everything in shared
 * memory is read and written under root->lock (an LWLock), which is never held
 * across I/O or sleeping; the one exception is the making of the control
 * segment, once in a server's life.  The workers' side is cache_flight.c.
 */
#include "postgres.h"

#include "cache_shared.h"
#include "compat.h"
#include "digest.h"
#include "store.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

static ClariCacheRoot *root = NULL;
static ClariControl *control = NULL;
static shmem_request_hook_type previous_shmem_request_hook = NULL;

static void
request_shared_memory(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(ClariCacheRoot)));
}

void
clari_cache_init(void)
{
	/* Not preloaded, the root comes out of shared memory's slack: it is small. */
	if (!process_shared_preload_libraries_in_progress)
		return;
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
}

/* ------- the control segment ------- */

static void
attach_root(void)
{
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	root = ShmemInitStruct(CLARI_CACHE_LAYOUT, sizeof(ClariCacheRoot), &found);
	if (!found)
	{
		LWLockInitialize(&root->lock, LWLockNewTrancheId());
		root->control = DSM_HANDLE_INVALID;
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(root->lock.tranche, "clari_fdw");
}

static void
init_control(ClariControl *fresh)
{
	memset(fresh, 0, sizeof(*fresh));
	fresh->next_generation = (uint64) GetCurrentTimestamp();
	ConditionVariableInit(&fresh->changed);
	for (int i = 0; i < CLARI_BUCKETS; i++)
		fresh->buckets[i] = CLARI_NOBODY;
	for (int i = 0; i < CLARI_MAX_ENTRIES; i++)
		fresh->entries[i].next = i + 1 < CLARI_MAX_ENTRIES ? i + 1 : CLARI_NOBODY;
	fresh->free_entry = 0;
}

/* With the lock held: nobody can use the cache before this is done, so the files may go too. */
static dsm_segment *
make_control(void)
{
	dsm_segment *segment = dsm_create(sizeof(ClariControl), 0);

	init_control(dsm_segment_address(segment));
	dsm_pin_segment(segment);
	clari_store_sweep();
	root->control = dsm_segment_handle(segment);
	return segment;
}

ClariControl *
clari_cache_control(void)
{
	dsm_segment *segment;

	if (control != NULL)
		return control;
	if (root == NULL)
		attach_root();
	LWLockAcquire(&root->lock, LW_EXCLUSIVE);
	if (root->control == DSM_HANDLE_INVALID)
		segment = make_control();
	else if ((segment = dsm_find_mapping(root->control)) == NULL)
		segment = dsm_attach(root->control);
	if (segment == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("could not attach to the shared memory of clari_fdw")));
	dsm_pin_mapping(segment);
	LWLockRelease(&root->lock);
	control = dsm_segment_address(segment);
	return control;
}

void
clari_cache_lock(LWLockMode mode)
{
	clari_cache_control();
	LWLockAcquire(&root->lock, mode);
}

void
clari_cache_unlock(void)
{
	LWLockRelease(&root->lock);
}

/* ------- entries ------- */

static int *
bucket_of(const ClariKey *key)
{
	uint32 hash;

	memcpy(&hash, key->bytes, sizeof(hash)); /* a digest is as good as its own hash */
	return &control->buckets[hash % CLARI_BUCKETS];
}

static ClariEntryShared *
find_locked(const ClariKey *key)
{
	for (int i = *bucket_of(key); i != CLARI_NOBODY; i = control->entries[i].next)
		if (memcmp(&control->entries[i].key, key, sizeof(*key)) == 0)
			return &control->entries[i];
	return NULL;
}

void
clari_cache_drop_segment_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	if (entry->version.segment == DSM_HANDLE_INVALID)
		return;
	dropped->segments[dropped->count++] = entry->version.segment;
	entry->version.segment = DSM_HANDLE_INVALID;
	control->segment_bytes -= entry->version.bytes;
	control->nsegments--;
}

void
clari_cache_unpin(const ClariDropped *dropped)
{
	for (int i = 0; i < dropped->count; i++)
		dsm_unpin_segment(dropped->segments[i]);
}

static void
remove_entry_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	int index = (int) (entry - control->entries);
	int *link = bucket_of(&entry->key);

	while (*link != index)
		link = &control->entries[*link].next;
	*link = entry->next;
	clari_cache_drop_segment_locked(entry, dropped);
	memset(entry, 0, sizeof(*entry));
	entry->next = control->free_entry;
	control->free_entry = index;
}

/* What an entry leaves behind that had to go for a new one: file and segment. */
typedef struct ClariEvicted
{
	ClariKey key;
	uint64 generation; /* 0: no file */
	ClariDropped dropped;
} ClariEvicted;

/* The least recently used entry without a flight, or NULL. */
static ClariEntryShared *
oldest_entry_locked(void)
{
	ClariEntryShared *oldest = NULL;

	for (int i = 0; i < CLARI_MAX_ENTRIES; i++)
	{
		ClariEntryShared *entry = &control->entries[i];

		if (entry->used && entry->flight == CLARI_NOBODY && (oldest == NULL || entry->used_at < oldest->used_at))
			oldest = entry;
	}
	return oldest;
}

/* NULL: every entry has a flight.  The file of an entry that had to go is left to the caller in *evicted. */
static ClariEntryShared *
insert_locked(const ClariKey *key, const ClariRequest *request, ClariEvicted *evicted)
{
	ClariEntryShared *entry;
	int *bucket = bucket_of(key);

	if (control->free_entry == CLARI_NOBODY)
	{
		entry = oldest_entry_locked();
		if (entry == NULL)
			return NULL;
		evicted->generation = entry->has_rowset ? entry->version.meta.generation : 0;
		evicted->key = entry->key;
		remove_entry_locked(entry, &evicted->dropped);
	}
	entry = &control->entries[control->free_entry];
	control->free_entry = entry->next;
	memset(entry, 0, sizeof(*entry));
	entry->used = true;
	entry->key = *key;
	entry->flight = CLARI_NOBODY;
	strlcpy(entry->base_url, request->base_url, sizeof(entry->base_url));
	strlcpy(entry->forecast, request->forecast, sizeof(entry->forecast));
	strlcpy(entry->period, request->period, sizeof(entry->period));
	entry->next = *bucket;
	*bucket = (int) (entry - control->entries);
	return entry;
}

/* ------- freshness ------- */

/* Closed: the quarter's last day had passed when it was exported. */
static bool
is_closed(const ClariRowsetMeta *meta)
{
	return meta->period_end != CLARI_DATE_NONE && meta->exported_at >= ((int64) meta->period_end + 1) * USECS_PER_DAY;
}

static int64
ttl_of(const ClariRowsetMeta *meta, const ClariFreshness *freshness)
{
	return is_closed(meta) ? freshness->closed_period_ttl : freshness->cache_ttl;
}

/* How old it may be at the statement's start. */
static int64
oldest_age(const ClariRowsetMeta *meta, const ClariFreshness *freshness)
{
	if (freshness->anew)
		return 0;
	if (freshness->max_age >= 0 && !is_closed(meta))
		return freshness->max_age;
	return ttl_of(meta, freshness);
}

/* Its POST was sent after (since - its oldest age).  One from the future (the clock was set back) does not count. */
static bool
is_fresh(const ClariEntryShared *entry, const ClariFreshness *freshness)
{
	if (!entry->has_rowset)
		return false;
	return entry->version.meta.posted_at > freshness->since - oldest_age(&entry->version.meta, freshness) &&
		   entry->version.meta.posted_at > entry->invalidated_at &&
		   entry->version.meta.posted_at <= GetCurrentTimestamp();
}

static ClariLookup
ready_locked(ClariEntryShared *entry, const ClariFreshness *freshness, ClariVersion *version)
{
	entry->ttl = ttl_of(&entry->version.meta, freshness);
	entry->used_at = ++control->clock;
	entry->hits++;
	*version = entry->version;
	return CLARI_LOOKUP_READY;
}

/* ------- look-ups ------- */

static ClariFlightShared *
free_flight_locked(void)
{
	for (int i = 0; i < CLARI_MAX_FLIGHTS; i++)
		if (!control->flights[i].used)
			return &control->flights[i];
	return NULL;
}

static bool
queue_flight_locked(ClariEntryShared *entry, const ClariRequest *request, const ClariTransport *transport,
					const ClariKey *account)
{
	ClariFlightShared *flight = free_flight_locked();

	if (flight == NULL)
		return false;
	memset(flight, 0, sizeof(*flight));
	flight->used = true;
	flight->generation = control->next_generation++;
	flight->entry = (int) (entry - control->entries);
	flight->worker = CLARI_NOBODY;
	flight->account = *account;
	flight->queued_at = GetCurrentTimestamp();
	flight->request = *request;
	flight->transport = *transport;
	entry->flight = (int) (flight - control->flights);
	entry->used_at = ++control->clock;
	return true;
}

/* What became of the flight that the caller waited for; ABSENT: nobody knows any more. */
static ClariLookup
waited_for_locked(ClariEntryShared *entry, const ClariFreshness *freshness, uint64 flight, ClariVersion *version,
				  ClariError *error)
{
	if (entry->has_rowset && entry->version.meta.generation >= flight)
		return ready_locked(entry, freshness, version);
	if (entry->flight != CLARI_NOBODY && control->flights[entry->flight].generation == flight)
		return CLARI_LOOKUP_FLYING;
	if (entry->failed_flight >= flight)
	{
		*error = entry->error;
		return CLARI_LOOKUP_FAILED;
	}
	return CLARI_LOOKUP_ABSENT;
}

static ClariLookup
lookup_locked(ClariEntryShared *entry, const ClariFreshness *freshness, uint64 *flight, ClariVersion *version,
			  ClariError *error)
{
	if (*flight != 0)
	{
		ClariLookup waited = waited_for_locked(entry, freshness, *flight, version, error);

		if (waited != CLARI_LOOKUP_ABSENT)
			return waited;
		*flight = 0;
	}
	if (is_fresh(entry, freshness))
		return ready_locked(entry, freshness, version);
	if (entry->flight != CLARI_NOBODY)
	{
		*flight = control->flights[entry->flight].generation;
		return CLARI_LOOKUP_FLYING;
	}
	/* What somebody broke off on purpose may be tried again at once. */
	if (entry->failed_flight != 0 && !freshness->anew && entry->error.code != CLARI_ERROR_CANCELLED &&
		entry->failed_at > GetCurrentTimestamp() - CLARI_FAILURE_MEMORY)
	{
		*error = entry->error;
		return CLARI_LOOKUP_FAILED;
	}
	return CLARI_LOOKUP_ABSENT;
}

/* Nothing serves: queues an export, in a new entry if there is none yet. */
static ClariLookup
queue_locked(ClariEntryShared *entry, const ClariKey *key, const ClariRequest *request, const ClariTransport *transport,
			 const ClariKey *account, uint64 *flight, ClariEvicted *evicted)
{
	if (entry == NULL)
		entry = insert_locked(key, request, evicted);
	if (entry == NULL || !queue_flight_locked(entry, request, transport, account))
		return CLARI_LOOKUP_FULL;
	*flight = control->flights[entry->flight].generation;
	return CLARI_LOOKUP_FLYING;
}

ClariLookup
clari_cache_lookup(const ClariKey *key, const ClariRequest *request, const ClariTransport *transport,
				   const ClariFreshness *freshness, uint64 *flight, ClariVersion *version, ClariError *error)
{
	ClariLookup result = CLARI_LOOKUP_ABSENT;
	ClariEvicted evicted;
	ClariEntryShared *entry;
	ClariKey account;

	evicted.generation = 0;
	evicted.dropped.count = 0;
	if (transport != NULL && !clari_request_account(request, &account, error))
		return CLARI_LOOKUP_FAILED;
	clari_cache_lock(LW_EXCLUSIVE);
	entry = find_locked(key);
	if (entry != NULL)
		result = lookup_locked(entry, freshness, flight, version, error);
	if (result == CLARI_LOOKUP_ABSENT && transport != NULL)
		result = queue_locked(entry, key, request, transport, &account, flight, &evicted);
	clari_cache_unlock();
	clari_cache_unpin(&evicted.dropped);
	if (evicted.generation != 0)
		clari_store_remove(&evicted.key, evicted.generation);
	return result;
}

bool
clari_cache_peek(const ClariKey *key, ClariVersion *version)
{
	ClariEntryShared *entry;
	bool found;

	clari_cache_lock(LW_SHARED);
	entry = find_locked(key);
	found = entry != NULL && entry->has_rowset;
	if (found)
		*version = entry->version;
	clari_cache_unlock();
	return found;
}

/* ------- waiting ------- */

void
clari_cache_wait_begin(void)
{
	ConditionVariablePrepareToSleep(&clari_cache_control()->changed);
}

void
clari_cache_sleep(long timeout_ms)
{
	ConditionVariableTimedSleep(&control->changed, timeout_ms, PG_WAIT_EXTENSION);
}

void
clari_cache_wait_end(void)
{
	ConditionVariableCancelSleep();
}

void
clari_cache_wake_sessions(void)
{
	ConditionVariableBroadcast(&clari_cache_control()->changed);
}

void
clari_cache_count_waiter(uint64 flight, int change)
{
	clari_cache_lock(LW_EXCLUSIVE);
	for (int i = 0; i < CLARI_MAX_FLIGHTS; i++)
		if (control->flights[i].used && control->flights[i].generation == flight)
			control->flights[i].waiters += change;
	clari_cache_unlock();
}

/* ------- forgetting ------- */

/* With the lock held; true if there was something to forget. */
static bool
forget_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	bool had = entry->has_rowset || entry->failed_flight != 0;

	clari_cache_drop_segment_locked(entry, dropped);
	entry->has_rowset = false;
	entry->failed_flight = 0;
	if (entry->flight == CLARI_NOBODY)
		remove_entry_locked(entry, dropped);
	return had;
}

void
clari_cache_forget(const ClariKey *key, uint64 generation)
{
	ClariDropped dropped = {0};
	ClariEntryShared *entry;
	bool found;

	clari_cache_lock(LW_EXCLUSIVE);
	entry = find_locked(key);
	found = entry != NULL && entry->has_rowset && entry->version.meta.generation == generation;
	if (found)
		forget_locked(entry, &dropped);
	clari_cache_unlock();
	clari_cache_unpin(&dropped);
	if (found)
		clari_store_remove(key, generation);
}

int64
clari_cache_invalidate(const ClariKey *key)
{
	ClariRowsetMeta *gone = palloc(sizeof(ClariRowsetMeta) * CLARI_MAX_ENTRIES);
	ClariDropped dropped = {0};
	int ngone = 0;
	int64 count = 0;

	clari_cache_lock(LW_EXCLUSIVE);
	for (int i = 0; i < CLARI_MAX_ENTRIES; i++)
	{
		ClariEntryShared *entry = &control->entries[i];

		if (!entry->used || (key != NULL && memcmp(&entry->key, key, sizeof(*key)) != 0))
			continue;
		if (entry->has_rowset)
			gone[ngone++] = entry->version.meta;
		entry->invalidated_at = GetCurrentTimestamp();
		count += forget_locked(entry, &dropped);
	}
	clari_cache_unlock();
	clari_cache_unpin(&dropped);
	for (int i = 0; i < ngone; i++)
		clari_store_remove(&gone[i].key, gone[i].generation);
	pfree(gone);
	return count;
}

/* ------- views ------- */

static const char *
flight_phase(const ClariFlightShared *flight)
{
	return flight->worker == CLARI_NOBODY ? "queued" : clari_job_state_name(flight->progress.state);
}

static const char *
entry_state(const ClariEntryShared *entry)
{
	if (entry->flight != CLARI_NOBODY)
	{
		const ClariFlightShared *flight = &control->flights[entry->flight];

		if (flight->worker == CLARI_NOBODY)
			return "queued";
		return flight->progress.state == CLARI_JOB_DOWNLOADING ? "downloading" : "exporting";
	}
	return entry->failed_flight != 0 ? "failed" : "ready";
}

static void
describe_entry(const ClariEntryShared *entry, ClariEntryInfo *info)
{
	memcpy(info->base_url, entry->base_url, sizeof(info->base_url));
	memcpy(info->forecast, entry->forecast, sizeof(info->forecast));
	memcpy(info->period, entry->period, sizeof(info->period));
	info->state = entry_state(entry);
	info->has_rowset = entry->has_rowset;
	info->version = entry->version;
	info->expires_at = entry->version.meta.posted_at + entry->ttl;
	info->hits = entry->hits;
	info->error = entry->error;
	if (entry->failed_flight == 0)
		info->error.code = CLARI_ERROR_NONE;
}

ClariEntryInfo *
clari_cache_entries_copy(int *count)
{
	ClariEntryInfo *infos = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ClariEntryInfo) * CLARI_MAX_ENTRIES);

	*count = 0;
	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < CLARI_MAX_ENTRIES; i++)
		if (control->entries[i].used)
			describe_entry(&control->entries[i], &infos[(*count)++]);
	clari_cache_unlock();
	return infos;
}

static void
describe_flight(const ClariFlightShared *flight, ClariFlightInfo *info)
{
	info->flight = flight->generation;
	memcpy(info->base_url, flight->request.base_url, sizeof(info->base_url));
	memcpy(info->forecast, flight->request.forecast, sizeof(info->forecast));
	memcpy(info->period, flight->request.period, sizeof(info->period));
	memcpy(info->job_id, flight->progress.job_id, sizeof(info->job_id));
	info->phase = flight_phase(flight);
	info->started_at = flight->queued_at;
	info->bytes = flight->progress.bytes;
	info->entries = flight->progress.entries;
	info->polls = flight->progress.polls;
	info->retries = flight->progress.retries;
	info->waiters = flight->waiters;
	info->next_try_at = flight->progress.next_try_at;
}

ClariFlightInfo *
clari_cache_flights(int *count)
{
	ClariFlightInfo *infos = palloc(sizeof(ClariFlightInfo) * CLARI_MAX_FLIGHTS);

	*count = 0;
	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < CLARI_MAX_FLIGHTS; i++)
		if (control->flights[i].used)
			describe_flight(&control->flights[i], &infos[(*count)++]);
	clari_cache_unlock();
	return infos;
}
