/*
 * invalidate.c
 *		Dropping what must not be used any more: damaged versions, and invalidated
 *		exports.
 *
 * Runs in sessions.
 */
#include "postgres.h"

#include "cache/internal.h"
#include "store/store.h"

void
clari_cache_drop_version(const ClariKey *key, uint64 generation)
{
	ClariDropped dropped;
	ClariSlotShared *slot;

	clari_dropped_init(&dropped);
	clari_cache_lock(LW_EXCLUSIVE);
	slot = clari_slot_find_locked(key);
	if (slot != NULL && clari_slot_has_rowset(slot) && slot->version.meta.generation == generation)
	{
		clari_slot_drop_segment_locked(slot, &dropped);
		clari_slot_drop_file_locked(slot, &dropped);
		clari_control->stats.counts[CLARI_COUNT_DAMAGED_FILES]++;
	}
	clari_cache_unlock();
	clari_dropped_release(&dropped);
}

/* ------- invalidation ------- */

/*
 * Drops what the slot has; true: it had a rowset or a failure.  The slot remains,
 * because its invalidated_at says that rows POSTed before now do not serve later
 * requests.  If there is a flight, the record is left to its worker.
 */
static bool
invalidate_locked(ClariSlotShared *slot, ClariDropped *dropped)
{
	bool had = clari_slot_has_rowset(slot) || slot->failed_flight != 0;

	clari_slot_drop_segment_locked(slot, dropped);
	clari_slot_drop_file_locked(slot, dropped);
	if (slot->flight == CLARI_NO_INDEX)
		clari_slot_drop_record_locked(slot, dropped);
	slot->version.meta.job_id[0] = '\0';
	slot->failed_flight = 0;
	slot->invalidated_at = GetCurrentTimestamp();
	return had;
}

/*
 * Removes files that belong to no slot, because the directory could not be read
 * when they should have been loaded.  Files of exports POSTed after until stay.
 * Returns how many could not be removed.
 */
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

static void
warn_of_files_left(int left)
{
	if (left > 0)
		ereport(WARNING,
				(errcode(ERRCODE_IO_ERROR),
				 errmsg_plural("could not remove %d file of the rowset cache",
							   "could not remove %d files of the rowset cache", left, left),
				 errdetail("The directory is \"%s\". See the server log for the reasons.", clari_store_directory()),
				 errhint("Remove what is left before the next restart, which would load it again.")));
}

static int64
invalidate_one(const ClariKey *key)
{
	ClariDropped dropped;
	ClariSlotShared *slot;
	bool had = false;

	clari_dropped_init(&dropped);
	clari_cache_lock(LW_EXCLUSIVE);
	slot = clari_slot_find_locked(key);
	/* An export without a slot may have a record that could not be loaded; and the slot notes the invalidation. */
	if (slot == NULL)
		slot = clari_slot_insert_locked(key, &dropped);
	if (slot != NULL)
		had = invalidate_locked(slot, &dropped);
	clari_cache_unlock();
	warn_of_files_left(clari_dropped_release(&dropped));
	return had ? 1 : 0;
}

static int64
invalidate_all(TimestampTz until)
{
	ClariDropped dropped;
	int64 count = 0;
	int next = 0; /* index of a slot */
	bool more = true;
	int left = 0;

	while (more)
	{
		clari_dropped_init(&dropped);
		clari_cache_lock(LW_EXCLUSIVE);
		/* A slot can have two files, a rowset and a record, so the last one may exceed the batch. */
		for (; next < clari_control->nslots && dropped.nfiles < CLARI_DROP_BATCH; next++)
			if (clari_control->slots[next].used)
				count += invalidate_locked(&clari_control->slots[next], &dropped);
		more = next < clari_control->nslots;
		clari_cache_unlock();
		left += clari_dropped_release(&dropped);
	}
	warn_of_files_left(left + remove_strays(until));
	return count;
}

int64
clari_cache_invalidate(const ClariKey *key)
{
	TimestampTz until = GetCurrentTimestamp(); /* newer files belong to exports that were requested later */

	clari_cache_load();
	return key != NULL ? invalidate_one(key) : invalidate_all(until);
}
