/*
 * control.c
 *		The shared memory of the cache: creating and attaching to it, its lock, and
 *		waiting for changes.
 *
 * Runs in sessions and workers.  The control segment is read and written under
 * root->lock (an LWLock), which is never held during I/O, while sleeping, or while
 * calling anything that may raise an error.  The only exception is attach(): once
 * in each process, it creates or maps the control segment under the lock, and may
 * raise an error.
 */
#include "postgres.h"

#include "cache/internal.h"
#include "store/store.h"
#include "compat.h"

#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#define CLARI_TRANCHE "clari_fdw"

int clari_shared_cache_size = 32 * 1024;
int clari_disk_cache_size = 1024 * 1024;
int clari_max_workers = 2;
char *clari_cache_directory = NULL;

static ClariCacheRoot *root = NULL;
ClariControl *clari_control = NULL;
static bool preloaded = false;
static uint64 directory_generation = 0; /* of the directory that the store of this process uses */
static shmem_request_hook_type previous_shmem_request_hook = NULL;

/* ------- settings ------- */

static void
define_settings(void)
{
	DefineCustomIntVariable("clari_fdw.shared_cache_size", "Sets the amount of shared memory for cached exports.",
							"What does not fit is read from files.", &clari_shared_cache_size, 32 * 1024, 1024,
							1024 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("clari_fdw.disk_cache_size", "Sets the amount of disk space for cached exports.", NULL,
							&clari_disk_cache_size, 1024 * 1024, 1024, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL,
							NULL);
	DefineCustomStringVariable(
		"clari_fdw.cache_directory", "Sets the directory of cached exports.",
		"Relative to the data directory; a name that begins with pgsql_tmp is skipped by base backups.",
		&clari_cache_directory, "pgsql_tmp_clari_fdw", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomIntVariable("clari_fdw.max_workers", "Sets the maximum number of background workers for exports.", NULL,
							&clari_max_workers, 2, 1, 32, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

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
	define_settings();
	/* If the library is not preloaded, the root, which is small, comes from PostgreSQL's spare shared memory. */
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
	memset(fresh, 0,
		   offsetof(ClariControl, flights)); /* the rest is cleared when it is used, to save the first query's time */
	fresh->clock = fresh->next_generation = (uint64) GetCurrentTimestamp();
	fresh->stats.since = GetCurrentTimestamp();
	ConditionVariableInit(&fresh->changed);
	for (int i = 0; i < CLARI_BUCKETS; i++)
		fresh->buckets[i] = CLARI_NO_INDEX;
	fresh->free_slot = CLARI_NO_INDEX;
}

/* If the library is preloaded, ClariControl is in the main segment, so that it does not depend on room in /dev/shm. */
static void
attach_root(void)
{
	ClariControl *main_control = NULL;
	bool found;

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	root = ShmemInitStruct(CLARI_CACHE_LAYOUT, sizeof(ClariCacheRoot), &found);
	if (!found)
	{
		LWLockInitialize(&root->lock, clari_new_tranche(CLARI_TRANCHE));
		root->control = DSM_HANDLE_INVALID;
	}
	if (preloaded)
	{
		main_control = ShmemInitStruct(CLARI_CACHE_LAYOUT " control", sizeof(ClariControl), &found);
		if (!found)
			init_control(main_control);
	}
	LWLockRelease(AddinShmemInitLock);
	clari_name_tranche(root->lock.tranche, CLARI_TRANCHE);
	clari_control = main_control;
}

/* Calls dsm_create() and adds a hint to its error, which usually means that /dev/shm is full. */
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

/* Attaches this process to the root and the control segment, creating what does not exist yet. */
static void
attach(void)
{
	dsm_segment *segment;

	if (root == NULL)
		attach_root();
	if (clari_control != NULL)
		return;
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
	clari_control = dsm_segment_address(segment);
}

void
clari_cache_lock(LWLockMode mode)
{
	if (clari_control == NULL)
		attach();
	LWLockAcquire(&root->lock, mode);
	if (clari_control->directory_generation != directory_generation)
	{
		directory_generation = clari_control->directory_generation;
		clari_store_set_directory(clari_control->directory);
	}
}

void
clari_cache_unlock(void)
{
	LWLockRelease(&root->lock);
}

/* ------- waiting ------- */

void
clari_cache_wait_begin(void)
{
	if (clari_control == NULL)
		attach();
	ConditionVariablePrepareToSleep(&clari_control->changed);
}

void
clari_cache_sleep(long timeout_ms)
{
	ConditionVariableTimedSleep(&clari_control->changed, timeout_ms, clari_wait_event_export());
}

void
clari_cache_wait_end(void)
{
	ConditionVariableCancelSleep();
}

void
clari_cache_wake_sessions(void)
{
	ConditionVariableBroadcast(&clari_control->changed);
}

/* ------- counting ------- */

void
clari_cache_count(ClariCounter counter, int64 change)
{
	clari_cache_lock(LW_EXCLUSIVE);
	clari_control->stats.counts[counter] += change;
	clari_cache_unlock();
}
