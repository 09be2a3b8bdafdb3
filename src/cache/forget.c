/*
 * forget.c
 *		What is cached and is not to be used any more: damaged, or invalidated.
 *
 * Runs in sessions.
 */
#include "postgres.h"

#include "cache/internal.h"
#include "store/store.h"

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
		clari_entry_drop_segment_locked(entry, &dropped);
		clari_entry_drop_file_locked(entry, &dropped);
		clari_control->stats.counts[CLARI_COUNT_DAMAGED_FILES]++;
	}
	clari_cache_unlock();
	clari_dropped_release(&dropped);
}

/* ------- invalidation ------- */

/*
 * True if there was something to forget.  The entry stays: it tells that what was
 * POSTed before now does not serve who asks from now on.  The record of a flight
 * is its worker's.
 */
static bool
invalidate_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	bool had = clari_entry_has_rowset(entry) || entry->failed_flight != 0;

	clari_entry_drop_segment_locked(entry, dropped);
	clari_entry_drop_file_locked(entry, dropped);
	if (entry->flight == CLARI_NO_INDEX)
		clari_entry_drop_record_locked(entry, dropped);
	entry->version.meta.job_id[0] = '\0';
	entry->failed_flight = 0;
	entry->invalidated_at = GetCurrentTimestamp();
	return had;
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

static void
warn_of_files_left(int left)
{
	if (left > 0)
		ereport(WARNING,
				(errcode(ERRCODE_IO_ERROR), errmsg("could not remove %d files of the rowset cache", left),
				 errdetail("They are in directory \"%s\"; the server's log tells why.", clari_store_directory()),
				 errhint("Remove them before the next restart, which would find them.")));
}

static int64
invalidate_one(const ClariKey *key)
{
	ClariDropped dropped;
	ClariEntryShared *entry;
	bool had = false;

	clari_dropped_init(&dropped);
	clari_cache_lock(LW_EXCLUSIVE);
	entry = clari_entry_find_locked(key);
	/* what has no entry may have files, if they could not be read */
	if (entry == NULL)
		entry = clari_entry_insert_locked(key, &dropped);
	if (entry != NULL)
		had = invalidate_locked(entry, &dropped);
	clari_cache_unlock();
	warn_of_files_left(clari_dropped_release(&dropped));
	return had ? 1 : 0;
}

static int64
invalidate_all(TimestampTz until)
{
	ClariDropped dropped;
	int64 count = 0;
	int next = 0; /* entry */
	bool more = true;
	int left = 0;

	while (more)
	{
		clari_dropped_init(&dropped);
		clari_cache_lock(LW_EXCLUSIVE);
		/* an entry can have two files, a rowset and a record */
		for (; next < clari_control->nentries && dropped.nfiles < CLARI_DROP_BATCH; next++)
			if (clari_control->entries[next].used)
				count += invalidate_locked(&clari_control->entries[next], &dropped);
		more = next < clari_control->nentries;
		clari_cache_unlock();
		left += clari_dropped_release(&dropped);
	}
	warn_of_files_left(left + remove_strays(until));
	return count;
}

int64
clari_cache_invalidate(const ClariKey *key)
{
	TimestampTz until = GetCurrentTimestamp(); /* files that are newer are of exports that were asked for since */

	clari_cache_load();
	return key != NULL ? invalidate_one(key) : invalidate_all(until);
}
