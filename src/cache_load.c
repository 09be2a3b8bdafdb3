/*
 * cache_load.c
 *		What earlier lives of the server left on disk, brought into the entry
 *		table.
 *
 * Runs in the first session that uses the cache after a start or a crash, or
 * after another directory was set.  It holds no lock while it reads, and acts on
 * interrupts; others wait until it is done, or take over if it was interrupted.
 * What is damaged is warned about and removed.
 */
#include "postgres.h"

#include "cache_shared.h"
#include "compat.h"
#include "report.h"
#include "store.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"

/* A directory that could not be read is tried again so much later. */
#define LOAD_AGAIN (10 * USECS_PER_SEC)

/* ------- one file ------- */

static void
remove_found(const ClariStoreFound *found)
{
	if (found->is_record)
		(void) clari_store_remove_record(&found->key, PG_INT64_MAX);
	else
		(void) clari_store_remove(&found->key, found->generation);
}

static void
warn_of_damage(const ClariStoreFound *found)
{
	ClariError error = found->error;

	if (error.code == CLARI_ERROR_CORRUPT)
	{
		clari_error_hint(&error,
						 "The file is removed.  What it held is downloaded or exported again when it is asked for.");
		clari_cache_count(CLARI_COUNT_DAMAGED_FILES, 1);
	}
	clari_error_report(WARNING, &error);
}

static void
insert_rowset_locked(ClariEntryShared *entry, const ClariStoreFound *found, ClariDropped *dropped)
{
	const ClariRowsetMeta *meta = &found->meta;

	clari_tier_drop_file_locked(entry, dropped); /* an older version that a crash left behind */
	entry->in_file = true;
	entry->version.meta = *meta;
	entry->version.bytes = found->bytes;
	entry->ttl = clari_rowset_ttl(meta, meta->cache_ttl, meta->closed_period_ttl);
	entry->used_at = Max((uint64) meta->posted_at, entry->used_at);
}

static void
insert_record_locked(ClariEntryShared *entry, const ClariStoreFound *found)
{
	const ClariRecord *record = &found->record;

	if (record->user_id[0] != '\0')
		clari_account_note_locked(&record->account, record->user_id);
	entry->record_bytes = (uint32) found->bytes;
	entry->used_at = Max((uint64) record->posted_at, entry->used_at);
	clari_entry_describe_locked(entry, record->base_url, record->forecast, record->period);
}

/* False: it is not wanted, and to be removed. */
static bool
insert_locked(const ClariStoreFound *found, ClariDropped *dropped)
{
	ClariControl *control = clari_cache_control();
	ClariEntryShared *entry = clari_entry_find_locked(&found->key);

	if (entry == NULL && (control->free_entry != CLARI_NOBODY || control->nentries < CLARI_MAX_ENTRIES))
		entry = clari_entry_insert_locked(&found->key, dropped);
	if (entry == NULL)
		return false;
	if (found->is_record && entry->record_bytes > 0)
		return true; /* written since the walk began */
	if (!found->is_record && clari_entry_has_rowset(entry) && entry->version.meta.generation >= found->generation)
		return entry->version.meta.generation == found->generation;
	if (found->is_record)
		insert_record_locked(entry, found);
	else
		insert_rowset_locked(entry, found, dropped);
	control->disk_bytes += found->bytes;
	if (!found->is_record)
		control->next_generation = Max(control->next_generation, found->generation + 1);
	return true;
}

static void
load_one(const ClariStoreFound *found)
{
	ClariDropped dropped;
	/* One that cannot be read just now stays for the next start: it may hold what was paid for. */
	bool wanted = found->error.code != CLARI_ERROR_CORRUPT;

	clari_dropped_init(&dropped);
	if (found->good)
	{
		clari_cache_lock(LW_EXCLUSIVE);
		wanted = insert_locked(found, &dropped);
		clari_cache_unlock();
	}
	else
		warn_of_damage(found);
	if (!wanted)
		remove_found(found);
	clari_tier_dispose(&dropped);
}

/* ------- all of them ------- */

static ClariStoreWalk *walk = NULL;

static void
end_walk(ClariLoading loading)
{
	clari_store_walk_end(walk);
	walk = NULL;
	clari_cache_lock(LW_EXCLUSIVE);
	clari_cache_control()->loading = loading;
	clari_cache_unlock();
	clari_cache_wake_sessions();
}

/* The next process begins again. */
static void
stop_loading(int code pg_attribute_unused(), Datum arg pg_attribute_unused())
{
	end_walk(CLARI_LOADING_NEEDED);
}

/* The directory cannot be read: the cache begins without it, and somebody tries again later. */
static void
put_off(const ClariError *error)
{
	clari_error_report(WARNING, error);
	clari_cache_lock(LW_EXCLUSIVE);
	clari_cache_control()->load_at = GetCurrentTimestamp() + LOAD_AGAIN;
	clari_cache_unlock();
	end_walk(CLARI_LOADING_NEEDED);
}

static void
load(void)
{
	ClariStoreFound *found = palloc(sizeof(ClariStoreFound));
	ClariError error;

	PG_ENSURE_ERROR_CLEANUP(stop_loading, (Datum) 0);
	{
		clari_store_sweep();
		walk = clari_store_walk_begin(&error);
		while (walk != NULL && clari_store_walk_next(walk, found))
		{
			CHECK_FOR_INTERRUPTS();
			load_one(found);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_loading, (Datum) 0);
	if (error.code == CLARI_ERROR_NONE)
		end_walk(CLARI_LOADING_DONE);
	else
		put_off(&error);
	pfree(found);
}

/* ------- the directory in effect ------- */

/* Segments stay; what was in files of the other directory is not there any more. */
static void
leave_directory_locked(ClariControl *control)
{
	for (int i = 0; i < control->nentries; i++)
	{
		control->entries[i].in_file = false;
		control->entries[i].record_bytes = 0;
	}
	for (int i = 0; i < control->nflights; i++)
	{
		control->flights[i].moved = control->flights[i].used;
		control->flights[i].disk_bytes = 0;
	}
	control->disk_bytes = 0;
}

/*
 * A reload reaches the processes one by one.  The setting of who reloaded last
 * counts, so that those that are behind do not set the old one again.
 */
static bool
is_to_follow(const ClariControl *control)
{
	return control->directory_generation == 0 ||
		   (PgReloadTime > control->directory_at && strcmp(control->directory, clari_cache_directory) != 0);
}

static void
follow_directory_locked(ClariControl *control)
{
	if (control->directory_generation != 0)
		leave_directory_locked(control);
	strlcpy(control->directory, clari_cache_directory, sizeof(control->directory));
	control->directory_at = PgReloadTime;
	control->directory_generation++;
	control->loading = CLARI_LOADING_NEEDED;
	control->load_at = 0;
}

/* True: this process is to load, and nobody else does. */
static bool
begin_loading_locked(ClariControl *control)
{
	if (is_to_follow(control))
		follow_directory_locked(control);
	if (control->loading != CLARI_LOADING_NEEDED)
		return false;
	control->loading = CLARI_LOADING_UNDER_WAY;
	/* the lock that took this in has not told the store yet */
	clari_store_set_directory(control->directory);
	return true;
}

static bool
is_put_off(const ClariControl *control)
{
	TimestampTz now = GetCurrentTimestamp();

	return control->loading == CLARI_LOADING_NEEDED && control->load_at > now && control->load_at <= now + LOAD_AGAIN;
}

static bool
is_loaded(ClariControl *control)
{
	bool loaded;

	clari_cache_lock(LW_SHARED);
	loaded = !is_to_follow(control) && (control->loading == CLARI_LOADING_DONE || is_put_off(control));
	clari_cache_unlock();
	return loaded;
}

void
clari_cache_open(void)
{
	ClariControl *control = clari_cache_control();
	bool slept = false;
	bool mine = false;

	while (!mine && !is_loaded(control))
	{
		clari_cache_lock(LW_EXCLUSIVE);
		mine = begin_loading_locked(control);
		clari_cache_unlock();
		if (mine)
			break;
		(void) ConditionVariableTimedSleep(&control->changed, 100, clari_wait_event_export());
		slept = true;
	}
	if (slept)
		ConditionVariableCancelSleep();
	if (mine)
		load();
}
