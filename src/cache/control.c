/*
 * cache.c
 *		The entry table: its shared memory, its entries, waiting and forgetting.
 *
 * Runs in sessions, and its small helpers in workers.  Everything in shared
 * memory is read and written under root->lock (an LWLock), which is never held
 * across I/O or sleeping; the one exception is the making of the control
 * segment, once in a server's life.  The workers' side is cache_flight.c.
 */
#include "postgres.h"

#include "cache/shared.h"
#include "store/store.h"
#include "compat.h"

#include "miscadmin.h"
#include "storage/shmem.h"

static ClariCacheRoot *root = NULL;
static ClariControl *control = NULL;
static bool preloaded = false;
static uint64 directory_generation = 0; /* of the directory that the store was told */
static shmem_request_hook_type previous_shmem_request_hook = NULL;

static void
request_shared_memory(void)
{
	if (previous_shmem_request_hook)
		previous_shmem_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(ClariCacheRoot)) + MAXALIGN(sizeof(ClariControl)));
}

void
clari_cache_init(void)
{
	/* Not preloaded, the root comes out of shared memory's slack: it is small. */
	if (!process_shared_preload_libraries_in_progress)
		return;
	preloaded = true;
	previous_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shared_memory;
}

/* ------- the control segment ------- */

static void
init_control(ClariControl *fresh)
{
	memset(fresh, 0, offsetof(ClariControl, flights)); /* the rest when it is used: a first query waits for this */
	fresh->clock = fresh->next_generation = (uint64) GetCurrentTimestamp();
	fresh->stats.since = GetCurrentTimestamp();
	ConditionVariableInit(&fresh->changed);
	for (int i = 0; i < CLARI_BUCKETS; i++)
		fresh->buckets[i] = CLARI_NOBODY;
	fresh->free_entry = CLARI_NOBODY;
}

/* Preloaded, the control segment lies in the main one: a full /dev/shm cannot prevent it. */
static void
attach_root(void)
{
	ClariControl *main_control = NULL;
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	root = ShmemInitStruct(CLARI_CACHE_LAYOUT, sizeof(ClariCacheRoot), &found);
	if (!found)
	{
		LWLockInitialize(&root->lock, LWLockNewTrancheId());
		root->control = DSM_HANDLE_INVALID;
	}
	if (preloaded)
	{
		main_control = ShmemInitStruct(CLARI_CACHE_LAYOUT " control", sizeof(ClariControl), &found);
		if (!found)
			init_control(main_control);
	}
	LWLockRelease(AddinShmemInitLock);
	LWLockRegisterTranche(root->lock.tranche, "clari_fdw");
	control = main_control;
}

/* dsm_create(), with a hint where /dev/shm is full. */
static dsm_segment *
create_segment(Size size)
{
	MemoryContext context = CurrentMemoryContext;
	dsm_segment *segment = NULL;

	PG_TRY();
	{
		segment = dsm_create(size, 0);
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		if (error->hint == NULL)
			error->hint =
				pstrdup("clari_fdw needs this much shared memory for its table of exports.  Free space in /dev/shm, "
						"or put clari_fdw into shared_preload_libraries.");
		ReThrowError(error);
	}
	PG_END_TRY();
	return segment;
}

static dsm_segment *
make_control(void)
{
	dsm_segment *segment = create_segment(sizeof(ClariControl));

	init_control(dsm_segment_address(segment));
	dsm_pin_segment(segment);
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
	if (control != NULL)
		return control;
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
	if (control->directory_generation != directory_generation)
	{
		directory_generation = control->directory_generation;
		clari_store_set_directory(control->directory);
	}
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

ClariEntryShared *
clari_entry_find_locked(const ClariKey *key)
{
	for (int i = *bucket_of(key); i != CLARI_NOBODY; i = control->entries[i].next)
		if (memcmp(&control->entries[i].key, key, sizeof(*key)) == 0)
			return &control->entries[i];
	return NULL;
}

void
clari_entry_describe_locked(ClariEntryShared *entry, const char *base_url, const char *forecast, const char *period)
{
	ClariRowsetMeta *meta = &entry->version.meta;

	strlcpy(meta->base_url, base_url, sizeof(meta->base_url));
	strlcpy(meta->forecast, forecast, sizeof(meta->forecast));
	strlcpy(meta->requested, period, sizeof(meta->requested));
}

/* The entry goes with all that it has. */
static void
remove_entry_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	int index = (int) (entry - control->entries);
	int *link = bucket_of(&entry->key);

	while (*link != index)
		link = &control->entries[*link].next;
	*link = entry->next;
	clari_tier_drop_segment_locked(entry, dropped);
	clari_tier_drop_file_locked(entry, dropped);
	clari_tier_drop_record_locked(entry, dropped);
	memset(entry, 0, sizeof(*entry));
	entry->next = control->free_entry;
	control->free_entry = index;
}

/* ------- choosing what goes ------- */

typedef struct RoleWeight
{
	Oid role;
	uint64 weight;
} RoleWeight;

/* The role that has most of what is weighed; false: nobody has any. */
static bool
heaviest_role_locked(ClariWeight weigh, Oid *heaviest)
{
	RoleWeight roles[CLARI_MAX_ENTRIES];
	int nroles = 0;
	int most = 0;

	for (int i = 0; i < control->nentries; i++)
	{
		const ClariEntryShared *entry = &control->entries[i];
		uint64 weight = entry->used ? weigh(entry) : 0;
		int at = 0;

		if (weight == 0)
			continue;
		while (at < nroles && roles[at].role != entry->role)
			at++;
		if (at == nroles)
			roles[nroles++] = (RoleWeight){entry->role, 0};
		roles[at].weight += weight;
		if (roles[at].weight > roles[most].weight)
			most = at;
	}
	*heaviest = nroles > 0 ? roles[most].role : InvalidOid;
	return nroles > 0;
}

ClariEntryShared *
clari_entry_victim_locked(ClariWeight weigh)
{
	TimestampTz now = GetCurrentTimestamp();
	ClariEntryShared *victim = NULL;
	bool victim_expired = false;
	Oid role;

	if (!heaviest_role_locked(weigh, &role))
		return NULL;
	for (int i = 0; i < control->nentries; i++)
	{
		ClariEntryShared *entry = &control->entries[i];
		bool expired;

		if (!entry->used || entry->role != role || weigh(entry) == 0)
			continue;
		expired = entry->version.meta.posted_at + entry->ttl <= now;
		if (victim == NULL || expired > victim_expired ||
			(expired == victim_expired && entry->used_at < victim->used_at))
		{
			victim = entry;
			victim_expired = expired;
		}
	}
	return victim;
}

/* ClariWeight: entries that hold nothing but a failure, say. */
static uint64
is_empty(const ClariEntryShared *entry)
{
	return entry->flight == CLARI_NOBODY && entry->record_bytes == 0 && !clari_entry_has_rowset(entry);
}

/* ClariWeight */
static uint64
is_idle(const ClariEntryShared *entry)
{
	return entry->flight == CLARI_NOBODY;
}

/* ------- new entries ------- */

ClariEntryShared *
clari_entry_insert_locked(const ClariKey *key, ClariDropped *dropped)
{
	ClariEntryShared *entry;
	int *bucket = bucket_of(key);

	if (control->free_entry == CLARI_NOBODY && control->nentries == CLARI_MAX_ENTRIES)
	{
		entry = clari_entry_victim_locked(is_empty);
		if (entry == NULL)
			entry = clari_entry_victim_locked(is_idle);
		if (entry == NULL)
			return NULL;
		remove_entry_locked(entry, dropped);
	}
	if (control->free_entry == CLARI_NOBODY)
		entry = &control->entries[control->nentries++];
	else
	{
		entry = &control->entries[control->free_entry];
		control->free_entry = entry->next;
	}
	memset(entry, 0, sizeof(*entry));
	entry->used = true;
	entry->key = *key;
	entry->flight = CLARI_NOBODY;
	entry->version.segment = DSM_HANDLE_INVALID;
	entry->next = *bucket;
	*bucket = (int) (entry - control->entries);
	return entry;
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
	ConditionVariableTimedSleep(&control->changed, timeout_ms, clari_wait_event_export());
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

bool
clari_cache_is_flying(uint64 flight)
{
	bool flying = false;

	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < control->nflights; i++)
		flying = flying || (control->flights[i].used && control->flights[i].generation == flight);
	clari_cache_unlock();
	return flying;
}

/* ------- forgetting ------- */

void
clari_cache_forget(const ClariKey *key, uint64 generation)
{
	ClariDropped dropped;
	ClariEntryShared *entry;

	clari_dropped_init(&dropped);
	clari_cache_lock(LW_EXCLUSIVE);
	entry = clari_entry_find_locked(key);
	if (entry != NULL && clari_entry_has_rowset(entry) && entry->version.meta.generation == generation)
	{
		clari_tier_drop_segment_locked(entry, &dropped);
		clari_tier_drop_file_locked(entry, &dropped);
		control->stats.counts[CLARI_COUNT_DAMAGED_FILES]++;
	}
	clari_cache_unlock();
	clari_tier_dispose(&dropped);
}

/*
 * True if there was something to forget.  The entry stays: it tells that what was
 * POSTed before now does not serve who asks from now on.  The record of a flight
 * is its worker's.
 */
static bool
invalidate_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	bool had = clari_entry_has_rowset(entry) || entry->failed_flight != 0;

	clari_tier_drop_segment_locked(entry, dropped);
	clari_tier_drop_file_locked(entry, dropped);
	if (entry->flight == CLARI_NOBODY)
		clari_tier_drop_record_locked(entry, dropped);
	entry->version.meta.job_id[0] = '\0';
	entry->failed_flight = 0;
	entry->invalidated_at = GetCurrentTimestamp();
	return had;
}

/* The next entry from *index on that the key means. */
static ClariEntryShared *
next_meant_locked(const ClariKey *key, int *index)
{
	while (*index < control->nentries)
	{
		ClariEntryShared *entry = &control->entries[(*index)++];

		if (entry->used && (key == NULL || memcmp(&entry->key, key, sizeof(*key)) == 0))
			return entry;
	}
	return NULL;
}

/* Files that no entry knows of, as the directory could not be read when they should have been loaded. */
static int
remove_strays(TimestampTz until)
{
	ClariStoreFound *found = palloc(sizeof(ClariStoreFound));
	ClariError error;
	ClariStoreWalk *walk = clari_store_walk_begin(&error);
	volatile int left = 0;

	PG_TRY();
	{
		while (walk != NULL && clari_store_walk_next(walk, found))
		{
			if (found->is_record)
				left += !clari_store_remove_record(&found->key, until);
			else if (!found->good || found->meta.posted_at <= until)
				left += !clari_store_remove(&found->key, found->generation);
		}
	}
	PG_FINALLY();
	{
		clari_store_walk_end(walk);
	}
	PG_END_TRY();
	pfree(found);
	return left;
}

int64
clari_cache_invalidate(const ClariKey *key)
{
	TimestampTz until = GetCurrentTimestamp();
	ClariEntryShared *entry = NULL;
	ClariDropped dropped;
	int64 count = 0;
	int index = 0;
	int left = 0;

	clari_cache_open();
	do
	{
		clari_dropped_init(&dropped);
		clari_cache_lock(LW_EXCLUSIVE);
		/* what has no entry may have files, if they could not be read */
		if (key != NULL && clari_entry_find_locked(key) == NULL)
			(void) clari_entry_insert_locked(key, &dropped);
		/* an entry can have two files, a rowset and a record */
		while (dropped.nfiles < CLARI_DROP_BATCH && (entry = next_meant_locked(key, &index)) != NULL)
			count += invalidate_locked(entry, &dropped);
		clari_cache_unlock();
		left += clari_tier_dispose(&dropped);
	} while (entry != NULL);
	if (key == NULL)
		left += remove_strays(until);
	if (left > 0)
		ereport(WARNING,
				(errcode(ERRCODE_IO_ERROR), errmsg("could not remove %d files of the rowset cache", left),
				 errdetail("They are in directory \"%s\"; the server's log tells why.", clari_store_directory()),
				 errhint("Remove them before the next restart, which would find them.")));
	return count;
}
