/*
 * internal.h
 *		The structs in shared memory, and the functions that the files of room cache
 *		share.
 *
 * A small struct in PostgreSQL's main segment (ClariCacheRoot) leads to the
 * control segment (ClariControl), which the first process that needs it creates.
 * root->lock guards every field unless its comment says otherwise.
 */
#ifndef CLARI_CACHE_INTERNAL_H
#define CLARI_CACHE_INTERNAL_H

#include "cache/worker.h"

#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Must change with every change of the structs below, so that two versions of the library never share them. */
#define CLARI_CACHE_LAYOUT "clari_fdw cache 7."

#define CLARI_MAX_SLOTS 1024
#define CLARI_MAX_FLIGHTS 256
#define CLARI_MAX_WORKERS 32
#define CLARI_MAX_SEGMENTS 128
#define CLARI_MAX_ACCOUNTS 64
#define CLARI_MAX_REFUSALS 64
#define CLARI_BUCKETS 1024
#define CLARI_NO_INDEX (-1) /* stands for no slot, flight or worker */

/* How long (µs) a failure is remembered, so that a dashboard does not flood Clari with requests. */
#define CLARI_FAILURE_MEMORY (10 * USECS_PER_SEC)

typedef struct ClariSlotShared
{
	bool used;
	int next; /* the next slot of its bucket or of the list of free slots; or CLARI_NO_INDEX */
	ClariKey key;
	bool of_ended_job;        /* the version comes from a job that had already ended in an earlier flight */
	TimestampTz posted_since; /* the flight that made the version used no job POSTed before this */
	bool in_file;             /* the version has a file */
	ClariVersion version;     /* without file and segment: which export it was, and which job has its rows */
	uint32 record_bytes;      /* size of the job's record on disk; 0: none */
	int64 ttl;                /* µs: how long the version is fresh, according to the last look-up */
	int64 hits;
	int file_reads;       /* how often the version was looked up while it had no segment */
	Oid role;             /* that queued the export, or first used what was loaded from disk; eviction is by role */
	TimestampTz read_at;  /* when an eviction last found its segment in use: it is not tried again for a while */
	uint64 used_at;       /* value of clari_control->clock: the least recently used is evicted first */
	int flight;           /* index, or CLARI_NO_INDEX */
	uint64 failed_flight; /* generation of the last failure; 0: none since the last rowset */
	uint64 warned_flight; /* generation of the last rowset published with a warning, which is in error */
	TimestampTz failed_at;
	char left_job[CLARI_ID_SIZE]; /* job of the last flight if that failed while the job was running; or empty */
	TimestampTz invalidated_at;   /* rows POSTed before this serve only statements that already waited for them */
	ClariError error;             /* of failed_flight or warned_flight */
} ClariSlotShared;

typedef struct ClariFlightShared
{
	bool used;
	uint64 generation;
	uint64 turn;      /* its place in the queue: see clari_flight_take_turn_locked() */
	uint64 last_turn; /* the last turn of its account that was claimed */
	int slot;
	int worker;  /* seat, or CLARI_NO_INDEX: queued */
	int waiters; /* statements that want it */
	bool kept;   /* continues even if no statement wants it, such as a prefetch or the renewal of stale rows */
	bool posted; /* a worker that has exited had sent the POST: the job can be taken up */
	Oid role;    /* that queued it */
	ClariKey account;
	char organization[CLARI_ID_SIZE]; /* of the account at Clari; empty: not known */
	TimestampTz queued_at;
	TimestampTz fresh_since;   /* a job that has ended does not serve if it was POSTed before this */
	TimestampTz running_since; /* a job that may still be running does not serve if it was POSTed before this */
	int64 cache_ttl;           /* µs, like the next: the TTLs of the session that queued it, for the metadata */
	int64 closed_period_ttl;
	char canceled_by[NAMEDATALEN]; /* role, or empty */
	bool cancel_told;              /* the worker has been told */
	bool moved;                    /* the directory was changed since, so its file will not be found there */
	uint64 disk_bytes;             /* reserved for its file */
	ClariProgress progress;
	ClariRequest request;
	ClariTransport transport; /* wiped when the flight ends */
} ClariFlightShared;

/* What is known about an account once one of its jobs has been seen. */
typedef struct ClariAccountShared
{
	ClariKey account;
	ClariAccountFacts facts; /* if user_id is empty, this entry is unused */
} ClariAccountShared;

/* A forecast whose crm_total and crm_closed Clari refuses to export for an account. */
typedef struct ClariRefusalShared
{
	ClariKey account;
	char forecast[CLARI_NAME_SIZE];
	TimestampTz refused_at; /* 0: unused */
} ClariRefusalShared;

/* A segment that was dropped from its slot. */
typedef struct ClariSegmentShared
{
	dsm_handle handle;
	Size bytes;
} ClariSegmentShared;

typedef enum ClariWorkerState
{
	CLARI_WORKER_FREE,
	CLARI_WORKER_STARTING, /* a session has reserved the seat, and the worker does not run yet */
	CLARI_WORKER_RUNNING
} ClariWorkerState;

typedef struct ClariWorkerShared
{
	ClariWorkerState state;
	TimestampTz since; /* when it got this state, unless it is free */
	Latch *latch;      /* of the running worker */
} ClariWorkerShared;

typedef enum ClariLoading
{
	CLARI_LOADING_NEEDED,
	CLARI_LOADING_UNDER_WAY, /* one process loads, and the others wait */
	CLARI_LOADING_DONE
} ClariLoading;

typedef struct ClariControl
{
	uint64 clock;                /* counts uses, for LRU; starts at the current time */
	uint64 next_generation;      /* starts at the current time, so that generations do not repeat after a restart */
	ClariLoading loading;        /* whether the files of the directory have been loaded */
	TimestampTz load_at;         /* when to try again, after the directory could not be read */
	char directory[MAXPGPATH];   /* the one in effect; during a reload, the GUCs of some processes differ from it */
	TimestampTz directory_at;    /* PgReloadTime of the process that set it */
	uint64 directory_generation; /* how often it was set; 0: not yet */
	int buckets[CLARI_BUCKETS];
	int nslots;    /* slots before this index have been used; the others are not initialized */
	int nflights;  /* flights before this index have been used; the others are not initialized */
	int free_slot; /* head of the list of free slots, or CLARI_NO_INDEX */
	uint64 turn;   /* the highest turn that was claimed, of all accounts */
	Oid last_role; /* the role of the flight that was claimed last */
	int nsegments;
	Size segment_bytes;
	int nghosts; /* dropped segments that are still being read; their bytes count against the bound */
	Size ghost_bytes;
	uint64 disk_bytes;         /* of rowsets and records, including files being written, but not what sorts spill */
	TimestampTz worker_at;     /* when a worker last started or exited */
	ConditionVariable changed; /* broadcast without the lock */
	ClariStats stats;
	int next_account; /* the entry of accounts that a new account gets, even if it is in use */
	ClariAccountShared accounts[CLARI_MAX_ACCOUNTS];
	int next_refusal; /* the same for refusals */
	ClariRefusalShared refusals[CLARI_MAX_REFUSALS];
	ClariSegmentShared ghosts[CLARI_MAX_SEGMENTS];
	ClariWorkerShared workers[CLARI_MAX_WORKERS];
	ClariFlightShared flights[CLARI_MAX_FLIGHTS];
	ClariSlotShared slots[CLARI_MAX_SLOTS];
} ClariControl;

typedef struct ClariCacheRoot
{
	LWLock lock;
	dsm_handle control; /* DSM_HANDLE_INVALID: not created yet, or in the main segment since the library is preloaded */
} ClariCacheRoot;

/* How many segments and files can be dropped in one hold of the lock: a batch to stay in bounds, and those of slots. */
#define CLARI_DROP_BATCH CLARI_MAX_SEGMENTS
#define CLARI_DROP_MAX (CLARI_DROP_BATCH + 4)

/*
 * What was dropped from slots under the lock, and is to be released after the
 * lock: unpinning a segment can unlink a file and raise an error, and removing a
 * file waits for the disk.  Bytes on disk count until their file was removed.
 */
typedef struct ClariDropped
{
	int nsegments;
	int nfiles;
	uint64 file_bytes;
	TimestampTz at; /* when it was dropped; records written later are not removed */
	ClariSegmentShared segments[CLARI_DROP_MAX];
	struct
	{
		ClariKey key;
		uint64 generation; /* of the rowset; 0: the file is a record */
	} files[CLARI_DROP_MAX];
} ClariDropped;

static inline bool
clari_slot_has_rowset(const ClariSlotShared *slot)
{
	return slot->in_file || slot->version.segment != DSM_HANDLE_INVALID;
}

/* Initializes it as empty.  (A struct initializer would clear the large arrays, too.) */
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
extern char *clari_cache_directory; /* may differ from the directory in effect, clari_control->directory */

/* The address of the control segment in this process; set by the first clari_cache_lock() or clari_cache_wait_begin(). */
extern ClariControl *clari_control;

extern void clari_cache_lock(LWLockMode mode);
extern void clari_cache_unlock(void);
extern void clari_cache_wake_sessions(void);

/* ------- slots (slot.c); with the lock held, exclusively to change anything ------- */

extern ClariSlotShared *clari_slot_find_locked(const ClariKey *key);

/* Notes what the views show of a slot without a rowset. */
extern void clari_slot_describe_locked(ClariSlotShared *slot, ClariEndpoint endpoint, const char *base_url,
									   const char *forecast, const char *period);

/* Returns how much a slot has of something; 0: nothing. */
typedef uint64 (*ClariWeight)(const ClariSlotShared *slot);

/*
 * Chooses the slot from which to drop what is weighed; NULL: no slot has any.  It
 * is one of the role that has most of it, so that a role with many exports does
 * not evict those of others: an expired one if there is any, and among these the
 * least recently used.
 */
extern ClariSlotShared *clari_slot_victim_locked(ClariWeight weigh);

/* Makes a slot with nothing but its key, dropping another if the table is full; NULL: all slots have flights. */
extern ClariSlotShared *clari_slot_insert_locked(const ClariKey *key, ClariDropped *dropped);

/* Move the slot's segment, file or record to *dropped.  Nothing happens if it has no segment or file. */
extern void clari_slot_drop_segment_locked(ClariSlotShared *slot, ClariDropped *dropped);
extern void clari_slot_drop_file_locked(ClariSlotShared *slot, ClariDropped *dropped);
extern void clari_slot_drop_record_locked(ClariSlotShared *slot, ClariDropped *dropped);

/* Returns how long (µs) a rowset is fresh, given these TTLs (µs). */
extern int64 clari_rowset_ttl(const ClariRowsetMeta *meta, int64 cache_ttl, int64 closed_period_ttl);

/* Returns when the slot was last invalidated; 0: never, or in the future, because the clock was set back. */
extern TimestampTz clari_slot_invalidated_at(const ClariSlotShared *slot);

/* Has the slot a rowset POSTed after freshness->since - age and after any invalidation, but not in the future? */
extern bool clari_slot_is_younger(const ClariSlotShared *slot, const ClariFreshness *freshness, int64 age);

/* ------- accounts (account.c); with the lock held exclusively ------- */

/* Like clari_cache_note_account(). */
extern void clari_account_note_locked(const ClariKey *account, const ClariAccountFacts *facts);

/* Returns the account's organization; empty: not known. */
extern const char *clari_account_organization_locked(const ClariKey *account);

/* ------- eviction (evict.c) ------- */

/* With the lock held exclusively: drops what exceeds the bounds, as far as *dropped has room for it. */
extern void clari_evict_excess_locked(ClariDropped *dropped);

/*
 * Without the lock: releases what was dropped.  A segment that is being read
 * becomes a ghost.  Returns how many files could not be removed.  This is logged
 * at the end, since any report can raise an error.
 */
extern int clari_dropped_release(const ClariDropped *dropped);

/* ------- workers (launch.c); with the lock held exclusively ------- */

/* Wakes all workers except this process. */
extern void clari_workers_wake_locked(void);
extern bool clari_flights_have_queued_locked(void);

/* ------- flights (claim.c); with the lock held exclusively ------- */

/*
 * Ends a queued flight to make room for one of this role and account, if another
 * role, or another organization of the same role, has at least two more queued.
 * False: there is none.
 */
extern bool clari_flight_displace_locked(Oid role, const ClariKey *account);

/* Gives a new flight its turn.  Its role and account must be set; it must not be marked as used yet. */
extern void clari_flight_take_turn_locked(ClariFlightShared *flight);

/* ------- loading (load.c) ------- */

/* Makes sure that the directory's files are loaded, or waits for a process that does it; follows its changes. */
extern void clari_cache_load(void);

#endif /* CLARI_CACHE_INTERNAL_H */
