/*
 * internal.h
 *		The structs in shared memory, and the functions that the files of the
 *		room cache share.
 *
 * A small struct in PostgreSQL's main segment (ClariCacheRoot) leads to the
 * control segment (ClariControl), which the first process that needs it creates.
 * Every field is guarded by root->lock unless its comment says otherwise.
 */
#ifndef CLARI_CACHE_INTERNAL_H
#define CLARI_CACHE_INTERNAL_H

#include "cache/worker.h"

#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Increase this with every change of the structs below, so that two versions of the library never share them. */
#define CLARI_CACHE_LAYOUT "clari_fdw cache 7."

#define CLARI_MAX_SLOTS 1024
#define CLARI_MAX_FLIGHTS 256
#define CLARI_MAX_WORKERS 32
#define CLARI_MAX_SEGMENTS 128
#define CLARI_MAX_ACCOUNTS 64
#define CLARI_MAX_REFUSALS 64
#define CLARI_BUCKETS 1024
#define CLARI_NO_INDEX (-1) /* index of a slot, flight or worker: none */

/* How long a failure is remembered, so that a dashboard does not repeat the request all the time. */
#define CLARI_FAILURE_MEMORY (10 * USECS_PER_SEC)

typedef struct ClariSlotShared
{
	bool used;
	int next; /* the next slot in its bucket or in the free list, or CLARI_NO_INDEX */
	ClariKey key;
	bool of_ended_job;        /* the version was downloaded from a job that had already ended */
	TimestampTz posted_since; /* running_since of the flight that brought the version */
	bool in_file;             /* the version has a file */
	ClariVersion version;     /* without file and segment, its metadata still describe the export and name its job */
	uint32 record_bytes;      /* size of the job's record on disk; 0: none */
	int64 ttl;                /* how long (µs) the version is fresh, by the TTLs of the last look-up */
	int64 hits;
	int file_reads; /* how often the version was looked up while it had no segment */
	/* who requested the export, or first used a version loaded from disk; eviction is by role */
	Oid role;
	TimestampTz read_at;  /* when its segment was last found to have a reader; evict.c spares it for a while */
	uint64 used_at;       /* value of clari_control->clock; the least recently used goes first */
	int flight;           /* index, or CLARI_NO_INDEX */
	uint64 failed_flight; /* generation of the last failure, 0: none since the last rowset */
	uint64 warned_flight; /* generation of the last version that was published with a warning, which is in error */
	TimestampTz failed_at;
	char left_job[CLARI_ID_SIZE]; /* job that may still run, although the last flight failed; or empty */
	/* a version POSTed before this serves only statements that were already waiting for it */
	TimestampTz invalidated_at;
	ClariError error;
} ClariSlotShared;

typedef struct ClariFlightShared
{
	bool used;
	uint64 generation;
	uint64 turn;      /* place in the queue, see clari_flight_take_turn_locked() */
	uint64 last_turn; /* the last turn claimed of all flights of the same account */
	int slot;
	int worker;  /* seat of the worker that has claimed it; CLARI_NO_INDEX: it is queued */
	int waiters; /* statements that want it */
	bool kept;   /* continues although no statement wants it: a prefetch, or the renewal of a stale rowset */
	bool posted; /* was POSTed by a worker that has exited, so that its job can be taken up */
	Oid role;    /* of the statement that queued it */
	ClariKey account;
	char organization[CLARI_ID_SIZE]; /* of the account at Clari; empty: not known */
	TimestampTz queued_at;
	TimestampTz fresh_since;   /* a job that has ended serves only if it was POSTed after this */
	TimestampTz running_since; /* a job that may still be running serves only if it was POSTed after this */
	int64 cache_ttl;           /* µs, as the next field: of the statement that queued it, for the rowset's metadata */
	int64 closed_period_ttl;
	char canceled_by[NAMEDATALEN]; /* role, or empty */
	bool cancel_told;              /* clari_cache_cancels() has reported the cancellation to the worker */
	bool moved;                    /* another directory was set since, so that its file will not be found */
	uint64 disk_bytes;             /* reserved for its file */
	ClariProgress progress;
	ClariRequest request;
	ClariTransport transport; /* wiped when the flight ends */
} ClariFlightShared;

/* An account and what is known of it; used once one of its jobs has been seen. */
typedef struct ClariAccountShared
{
	ClariKey account;
	ClariAccountFacts facts; /* if user_id is empty, this element is unused */
} ClariAccountShared;

/* A forecast whose crm_total and crm_closed Clari has refused to export for an account. */
typedef struct ClariRefusalShared
{
	ClariKey account;
	char forecast[CLARI_NAME_SIZE];
	TimestampTz refused_at; /* 0: unused */
} ClariRefusalShared;

/* A segment that no slot refers to any more. */
typedef struct ClariSegmentShared
{
	dsm_handle handle;
	Size bytes;
} ClariSegmentShared;

typedef enum ClariWorkerState
{
	CLARI_WORKER_FREE,
	CLARI_WORKER_STARTING, /* registered by a session, but not running yet */
	CLARI_WORKER_RUNNING
} ClariWorkerState;

typedef struct ClariWorkerShared
{
	ClariWorkerState state;
	TimestampTz since;
	Latch *latch; /* of the running worker */
} ClariWorkerShared;

typedef enum ClariLoading
{
	CLARI_LOADING_NEEDED,
	CLARI_LOADING_UNDER_WAY, /* by one process, for which the others wait */
	CLARI_LOADING_DONE
} ClariLoading;

typedef struct ClariControl
{
	uint64 clock;                /* counts uses, for LRU; starts at the current time */
	uint64 next_generation;      /* starts at the current time, so that generations increase across restarts */
	ClariLoading loading;        /* whether the contents of the directory have been loaded */
	TimestampTz load_at;         /* when to try again, after the directory could not be read */
	char directory[MAXPGPATH];   /* the one in effect; during a reload it can differ from a process's GUC */
	TimestampTz directory_at;    /* configuration reload that set it */
	uint64 directory_generation; /* incremented when directory changes */
	int buckets[CLARI_BUCKETS];
	int nslots;    /* elements of slots that have been used; the rest is not initialized */
	int nflights;  /* elements of flights that have been used; the rest is not initialized */
	int free_slot; /* head of the list of free slots, or CLARI_NO_INDEX */
	uint64 turn;   /* the highest turn claimed so far, of all accounts */
	Oid last_role; /* role of the flight that was claimed last */
	int nsegments;
	Size segment_bytes;
	int nghosts; /* dropped segments that still have readers; their bytes count against the bound */
	Size ghost_bytes;
	/* of rowsets and records, including those being written, but not of temporary files of a sort */
	uint64 disk_bytes;
	TimestampTz worker_at;     /* when a worker last started or exited */
	ConditionVariable changed; /* broadcast without the lock */
	ClariStats stats;
	int next_account; /* the element of accounts that is replaced next, when all are used */
	ClariAccountShared accounts[CLARI_MAX_ACCOUNTS];
	int next_refusal; /* the element of refusals that is replaced next, when all are used */
	ClariRefusalShared refusals[CLARI_MAX_REFUSALS];
	ClariSegmentShared ghosts[CLARI_MAX_SEGMENTS];
	ClariWorkerShared workers[CLARI_MAX_WORKERS];
	ClariFlightShared flights[CLARI_MAX_FLIGHTS];
	ClariSlotShared slots[CLARI_MAX_SLOTS];
} ClariControl;

typedef struct ClariCacheRoot
{
	LWLock lock;
	dsm_handle control; /* DSM_HANDLE_INVALID: not created yet, or in the main segment because of preloading */
} ClariCacheRoot;

/*
 * How many segments, and files, can be dropped while the lock is held: one batch
 * for the bounds, and those of a slot.
 */
#define CLARI_DROP_BATCH CLARI_MAX_SEGMENTS
#define CLARI_DROP_MAX (CLARI_DROP_BATCH + 4)

/*
 * Segments and files that were dropped, that is, removed from their slots under
 * the lock.  They are released after the lock, because unpinning a segment can
 * unlink a file and raise an error, and removing a file waits for the disk.
 * Bytes on disk remain counted until the files are removed.
 */
typedef struct ClariDropped
{
	int nsegments;
	int nfiles;
	uint64 file_bytes;
	TimestampTz at; /* when it was dropped; a newer record is not removed */
	ClariSegmentShared segments[CLARI_DROP_MAX];
	struct
	{
		ClariKey key;
		uint64 generation; /* 0: the record is removed, not a rowset */
	} files[CLARI_DROP_MAX];
} ClariDropped;

static inline bool
clari_slot_has_rowset(const ClariSlotShared *slot)
{
	return slot->in_file || slot->version.segment != DSM_HANDLE_INVALID;
}

/* Initializes an empty list.  An initializer would clear all of the arrays, which are large. */
static inline void
clari_dropped_init(ClariDropped *dropped)
{
	dropped->nsegments = dropped->nfiles = 0;
	dropped->file_bytes = 0;
	dropped->at = GetCurrentTimestamp();
}

static inline bool
clari_flight_is_queued(const ClariFlightShared *flight)
{
	return flight->used && flight->worker == CLARI_NO_INDEX;
}

/* ------- control.c ------- */

/* Settings. */
extern int clari_disk_cache_size; /* kB */
extern int clari_max_workers;
extern char *clari_cache_directory; /* the setting; the store uses only what clari_store_set_directory() was given */

/* This process's mapping of the control segment, valid from its first clari_cache_lock() on. */
extern ClariControl *clari_control;

extern void clari_cache_lock(LWLockMode mode);
extern void clari_cache_unlock(void);
extern void clari_cache_wake_sessions(void);

/* ------- slots (slot.c); with the lock held exclusively ------- */

extern ClariSlotShared *clari_slot_find_locked(const ClariKey *key);

/* Sets what the views show of a slot that has no rowset. */
extern void clari_slot_describe_locked(ClariSlotShared *slot, ClariEndpoint endpoint, const char *base_url,
									   const char *forecast, const char *period);

/* Returns how much a slot has of something that can be dropped; 0: nothing. */
typedef uint64 (*ClariWeight)(const ClariSlotShared *slot);

/*
 * Chooses the slot that gives up what is weighed; NULL if no slot has any.  It
 * belongs to the role that has most, so that no role can displace what others
 * use.  Expired slots come first, then the least recently used one.
 */
extern ClariSlotShared *clari_slot_victim_locked(ClariWeight weigh);

/*
 * Returns a new slot, zeroed except for its key.  If the table is full, another
 * slot is removed, and what it had is added to *dropped.  Returns NULL if every
 * slot has a flight.
 */
extern ClariSlotShared *clari_slot_insert_locked(const ClariKey *key, ClariDropped *dropped);

/* Each drops the slot's segment, file or record, if there is one, and adds it to *dropped. */
extern void clari_slot_drop_segment_locked(ClariSlotShared *slot, ClariDropped *dropped);
extern void clari_slot_drop_file_locked(ClariSlotShared *slot, ClariDropped *dropped);
extern void clari_slot_drop_record_locked(ClariSlotShared *slot, ClariDropped *dropped);

/* How long (µs) the rowset is fresh for a statement with these TTLs (µs). */
extern int64 clari_rowset_ttl(const ClariRowsetMeta *meta, int64 cache_ttl, int64 closed_period_ttl);

/* When the slot was last invalidated. 0 if never, or if that time is in the future because the clock was set back. */
extern TimestampTz clari_slot_invalidated_at(const ClariSlotShared *slot);

/* Does the slot have a rowset that was POSTed after since - age and after any invalidation, and not in the future? */
extern bool clari_slot_is_younger(const ClariSlotShared *slot, const ClariFreshness *freshness, int64 age);

/* ------- accounts (account.c); with the lock held exclusively ------- */

/* Does the work of clari_cache_note_account(). */
extern void clari_account_note_locked(const ClariKey *account, const ClariAccountFacts *facts);

/* The account's organization, or an empty string.  It points into shared memory. */
extern const char *clari_account_organization_locked(const ClariKey *account);

/* ------- eviction (evict.c) ------- */

/* With the lock held exclusively: drops what exceeds the bounds, as far as *dropped has room. */
extern void clari_evict_excess_locked(ClariDropped *dropped);

/*
 * Releases what was dropped.  The caller must not hold the lock.  A segment that
 * still has readers becomes a ghost.  Returns how many files could not be
 * removed; the reason is logged at the end, because any report can raise an
 * error.
 */
extern int clari_dropped_release(const ClariDropped *dropped);

/* ------- workers (launch.c); with the lock held exclusively ------- */

/* Wakes all workers other than this process. */
extern void clari_workers_wake_locked(void);
extern bool clari_flights_have_queued_locked(void);

/* ------- flights (claim.c); with the lock held exclusively ------- */

/*
 * Makes room for one more flight of the role and account: ends a queued flight of
 * a role or account that has at least two more queued.  Returns false if there is
 * none.
 */
extern bool clari_flight_displace_locked(Oid role, const ClariKey *account);

/* Gives a new flight its turn.  Its role and account must be set, and it must not be marked as used yet. */
extern void clari_flight_take_turn_locked(ClariFlightShared *flight);

/* ------- loading (load.c) ------- */

/*
 * Loads the contents of the directory, or waits until another process has.  Also
 * puts a changed setting of the directory into effect.
 */
extern void clari_cache_load(void);

#endif /* CLARI_CACHE_INTERNAL_H */
