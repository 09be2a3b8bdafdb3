/*
 * load.c
 *		Loading the files that are on disk when the server starts into the entry
 *		table.
 *
 * Runs in the first session that uses the cache after a start or a crash, or
 * after the directory was changed.  It holds no lock while it reads, and can be
 * interrupted; other sessions wait until it is done, or load instead if it was
 * interrupted.  Damaged files are removed with a warning.
 */
#include "postgres.h"

#include "base/report.h"
#include "cache/internal.h"
#include "store/store.h"
#include "compat.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/guc.h"

/* How long (µs) after a failure to read the directory it is tried again. */
#define LOAD_AGAIN (10 * USECS_PER_SEC)

/* ------- one file ------- */

static void
remove_found(const ClariStoreFound *found)
{
	bool removed = found->is_record ? clari_store_remove_record(&found->key, PG_INT64_MAX)
									: clari_store_remove(&found->key, found->generation);
	int cause = errno;

	if (!removed)
		ereport(LOG,
				(errcode(ERRCODE_IO_ERROR), errmsg("could not remove a file of the rowset cache: %s", strerror(cause)),
				 errdetail("It is in directory \"%s\".", clari_store_directory())));
}

static void
warn_of_damage(const ClariStoreFound *found)
{
	ClariError error = found->error;

	if (error.code == CLARI_ERROR_CORRUPT)
	{
		clari_error_hint(&error,
						 "The file has been removed. Its contents are downloaded or exported again when they are "
						 "needed.");
		clari_cache_count(CLARI_COUNT_DAMAGED_FILES, 1);
	}
	clari_error_report(WARNING, &error);
}

static void
insert_rowset_locked(ClariSlotShared *slot, const ClariStoreFound *found, ClariDropped *dropped)
{
	const ClariRowsetMeta *meta = &found->meta;

	/* The slot may have an older version: in another file left by a crash, or in memory since before the directory changed. */
	clari_slot_drop_segment_locked(slot, dropped);
	clari_slot_drop_file_locked(slot, dropped);
	slot->in_file = true;
	slot->posted_since = 0;
	slot->version.meta = *meta;
	slot->version.bytes = found->bytes;
	slot->ttl = clari_rowset_ttl(meta, meta->cache_ttl, meta->closed_period_ttl);
	slot->used_at = Max((uint64) meta->posted_at, slot->used_at);
}

static void
insert_record_locked(ClariSlotShared *slot, const ClariStoreFound *found)
{
	const ClariRecord *record = &found->record;
	ClariAccountFacts facts = {.user_id = ""};

	strlcpy(facts.user_id, record->user_id, sizeof(facts.user_id));
	strlcpy(facts.currency, record->currency, sizeof(facts.currency));
	if (record->user_id[0] != '\0')
		clari_account_note_locked(&record->account, &facts);
	slot->record_bytes = (uint32) found->bytes;
	slot->used_at = Max((uint64) record->posted_at, slot->used_at);
	clari_slot_describe_locked(slot, CLARI_ENDPOINT_EXPORT, record->base_url, record->forecast, record->period);
}

/* Is it the file of the version in memory, which was kept when the directory was changed? */
static bool
is_version_in_memory(const ClariSlotShared *slot, const ClariStoreFound *found)
{
	return !found->is_record && !slot->in_file && slot->version.segment != DSM_HANDLE_INVALID &&
		   slot->version.meta.generation == found->generation;
}

/* Enters the file into the table; false: there is no room or no use for it, and it is to be removed. */
static bool
insert_locked(const ClariStoreFound *found, ClariDropped *dropped)
{
	ClariSlotShared *slot = clari_slot_find_locked(&found->key);

	if (slot == NULL && (clari_control->free_slot != CLARI_NO_INDEX || clari_control->nslots < CLARI_MAX_SLOTS))
		slot = clari_slot_insert_locked(&found->key, dropped);
	if (slot == NULL)
		return false;
	if (found->is_record && slot->record_bytes > 0)
		return true; /* this record was written after the walk began, and has been counted */
	if (is_version_in_memory(slot, found))
		slot->in_file = true;
	else if (!found->is_record && clari_slot_has_rowset(slot) && slot->version.meta.generation >= found->generation)
		return slot->version.meta.generation == found->generation;
	else if (found->is_record)
		insert_record_locked(slot, found);
	else
		insert_rowset_locked(slot, found, dropped);
	clari_control->disk_bytes += found->bytes;
	if (!found->is_record)
		clari_control->next_generation = Max(clari_control->next_generation, found->generation + 1);
	return true;
}

/* Logs what was loaded. */
static void
log_loaded(const ClariStoreFound *found)
{
	const char *forecast = found->is_record ? found->record.forecast : found->meta.forecast;
	const char *period = found->is_record ? found->record.period : found->meta.answered;

	ereport(DEBUG1, (errmsg_internal("rowset cache: loaded the %s of %s %s, " UINT64_FORMAT " bytes",
									 found->is_record ? "job's record" : "file", clari_report_text(forecast),
									 clari_period_or_current(period), found->bytes)));
}

static void
load_one(const ClariStoreFound *found)
{
	ClariDropped dropped;
	/* A file that cannot be read now is kept for the next start, because its rows have cost quota. */
	bool wanted = found->error.code != CLARI_ERROR_CORRUPT;

	clari_dropped_init(&dropped);
	if (found->good)
	{
		clari_cache_lock(LW_EXCLUSIVE);
		wanted = insert_locked(found, &dropped);
		clari_cache_unlock();
	}
	if (!wanted)
		remove_found(found);
	clari_dropped_release(&dropped);
	if (found->good && wanted)
		log_loaded(found);
	if (!found->good)
		warn_of_damage(found);
}

/* ------- the directory in effect ------- */

/* Forgets the files and records of the directory that was in effect.  Segments stay. */
static void
leave_directory_locked(void)
{
	for (int i = 0; i < clari_control->nslots; i++)
	{
		clari_control->slots[i].in_file = false;
		clari_control->slots[i].record_bytes = 0;
	}
	for (int i = 0; i < clari_control->nflights; i++)
	{
		clari_control->flights[i].moved = clari_control->flights[i].used;
		clari_control->flights[i].disk_bytes = 0;
	}
	clari_control->disk_bytes = 0;
}

/*
 * Should this process's setting of the directory take effect?  Processes reload
 * the configuration one after another.  The setting that was reloaded last counts,
 * so that processes that have not reloaded yet do not restore the old one.
 */
static bool
is_to_follow(void)
{
	return clari_control->directory_generation == 0 ||
		   (PgReloadTime > clari_control->directory_at && strcmp(clari_control->directory, clari_cache_directory) != 0);
}

static void
follow_directory_locked(void)
{
	if (clari_control->directory_generation != 0)
		leave_directory_locked();
	strlcpy(clari_control->directory, clari_cache_directory, sizeof(clari_control->directory));
	clari_control->directory_at = PgReloadTime;
	clari_control->directory_generation++;
	clari_control->loading = CLARI_LOADING_NEEDED;
	clari_control->load_at = 0;
}

/* Makes this process the one that loads; false: everything is loaded, or another process is loading it. */
static bool
begin_loading_locked(void)
{
	if (is_to_follow())
		follow_directory_locked();
	if (clari_control->loading != CLARI_LOADING_NEEDED)
		return false;
	clari_control->loading = CLARI_LOADING_UNDER_WAY;
	/* clari_cache_lock() tells the store about a new directory, but this process has set it after taking the lock. */
	clari_store_set_directory(clari_control->directory);
	return true;
}

/* ------- the whole directory ------- */

typedef struct Loading
{
	bool mine; /* this process loads */
	ClariStoreWalk *walk;
	ClariStoreFound found;
	ClariError error; /* why the directory cannot be read */
} Loading;

static void
end_loading(Loading *loading, ClariLoading how)
{
	clari_store_walk_end(loading->walk);
	loading->walk = NULL;
	clari_cache_lock(LW_EXCLUSIVE);
	clari_control->loading = how;
	/* If the directory could not be read, the cache works without it, and a later look-up tries again. */
	if (loading->error.code != CLARI_ERROR_NONE)
		clari_control->load_at = GetCurrentTimestamp() + LOAD_AGAIN;
	clari_cache_unlock();
	clari_cache_wake_sessions();
}

/* before_shmem_exit callback, and clean-up after an error: lets another process load from the beginning. */
static void
give_up_loading(int code pg_attribute_unused(), Datum arg)
{
	Loading *loading = (Loading *) DatumGetPointer(arg);

	if (loading->mine)
		end_loading(loading, CLARI_LOADING_NEEDED);
}

static void
load_all(Loading *loading)
{
	clari_cache_lock(LW_EXCLUSIVE);
	loading->mine = begin_loading_locked();
	clari_cache_unlock();
	if (!loading->mine)
		return;
	clari_store_sweep();
	loading->walk = clari_store_walk_begin(&loading->error);
	while (loading->walk != NULL && clari_store_walk_next(loading->walk, &loading->found))
	{
		CHECK_FOR_INTERRUPTS();
		load_one(&loading->found);
	}
}

/*
 * Loads the directory; false: another process is loading it, or has loaded it.  If
 * an error is raised, give_up_loading() lets another process load, since others
 * wait for that.  Any report can raise an error, so the last one is made after the
 * loading has ended.
 */
static bool
load(void)
{
	Loading *loading = palloc0(sizeof(Loading));
	bool mine;

	PG_ENSURE_ERROR_CLEANUP(give_up_loading, PointerGetDatum(loading));
	{
		load_all(loading);
	}
	PG_END_ENSURE_ERROR_CLEANUP(give_up_loading, PointerGetDatum(loading));
	mine = loading->mine;
	if (mine)
		end_loading(loading, loading->error.code == CLARI_ERROR_NONE ? CLARI_LOADING_DONE : CLARI_LOADING_NEEDED);
	if (loading->error.code != CLARI_ERROR_NONE)
		clari_error_report(WARNING, &loading->error);
	pfree(loading);
	return mine;
}

static bool
is_put_off(void)
{
	TimestampTz now = GetCurrentTimestamp();

	return clari_control->loading == CLARI_LOADING_NEEDED && clari_control->load_at > now &&
		   clari_control->load_at <= now + LOAD_AGAIN;
}

static bool
is_loaded(void)
{
	bool loaded;

	clari_cache_lock(LW_SHARED);
	loaded = !is_to_follow() && (clari_control->loading == CLARI_LOADING_DONE || is_put_off());
	clari_cache_unlock();
	return loaded;
}

void
clari_cache_load(void)
{
	bool slept = false;

	while (!is_loaded() && !load())
	{
		(void) ConditionVariableTimedSleep(&clari_control->changed, 100, clari_wait_event_export());
		slept = true;
	}
	if (slept)
		ConditionVariableCancelSleep();
}
