/*
 * internal.h
 *		What lies in shared memory, and what the files of room cache do with it.
 *
 * A small struct in PostgreSQL's main segment (ClariCacheRoot) leads to the
 * control segment (ClariControl), made by whoever comes first.  Every field is
 * guarded by root->lock, but where its comment says otherwise.
 */
#ifndef CLARI_CACHE_INTERNAL_H
#define CLARI_CACHE_INTERNAL_H

#include "cache/worker.h"

#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Changes with every change of the structs below: two versions of the library never share them. */
#define CLARI_CACHE_LAYOUT "clari_fdw cache 7."

#define CLARI_MAX_SLOTS 1024
#define CLARI_MAX_FLIGHTS 256
#define CLARI_MAX_WORKERS 32
#define CLARI_MAX_SEGMENTS 128
#define CLARI_MAX_ACCOUNTS 64
#define CLARI_MAX_REFUSALS 64
#define CLARI_BUCKETS 1024
#define CLARI_NO_INDEX (-1) /* of a slot, a flight or a worker: none */

/* How long a failure is remembered, so that a dashboard does not hammer Clari. */
#define CLARI_FAILURE_MEMORY (10 * USECS_PER_SEC)

typedef struct ClariSlotShared
{
	bool used;
	int next; /* the next slot of its bucket, or of the free ones; or CLARI_NO_INDEX */
	ClariKey key;
	bool of_ended_job;        /* the version is of a job that an earlier flight had brought to its end */
	TimestampTz posted_since; /* the flight that brought the version took no job that was POSTed before this */
	bool in_file;             /* the version has a file */
	ClariVersion version;     /* with neither file nor segment: what export it was of, and which job has its rows */
	uint32 record_bytes;      /* of its job's record on disk, 0: none */
	int64 ttl;                /* µs: for how long the version is fresh, as the last look-up counted it */
	int64 hits;
	int file_reads;       /* how often the version was looked up while it had no segment */
	Oid role;             /* who asked for the export, or first used what an earlier life left; eviction is by role */
	TimestampTz read_at;  /* when its segment was last found to be read: then it is no victim for a while */
	uint64 used_at;       /* of clari_control->clock: least recently used goes first */
	int flight;           /* index, or CLARI_NO_INDEX */
	uint64 failed_flight; /* generation of the last failure, 0: none since the last rowset */
	uint64 warned_flight; /* generation of the last rowset that could not be kept as it should; error says why */
	TimestampTz failed_at;
	char left_job[CLARI_ID_SIZE]; /* of the last flight, which failed while it was running at Clari; or empty */
	TimestampTz invalidated_at;   /* a flight POSTed before that serves only those who wait for it */
	ClariError error;
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
	bool kept;   /* goes on although no statement wants it: a prefetch, or the renewal of what is stale */
	bool posted; /* a worker that has gone had POSTed it: its job can be taken up */
	Oid role;    /* who asked first */
	ClariKey account;
	char organization[CLARI_ID_SIZE]; /* Clari's, of the account; empty: not known */
	TimestampTz queued_at;
	TimestampTz fresh_since;   /* a job that was POSTed before this does not serve who asked, if it has ended */
	TimestampTz running_since; /* a job that was POSTed before this does not, even if it may still be running */
	int64 cache_ttl;           /* µs, these two: those of who asked, for the rowset's metadata */
	int64 closed_period_ttl;
	char canceled_by[NAMEDATALEN]; /* role, or empty */
	bool cancel_told;              /* the worker has been told so */
	bool moved;                    /* another directory was set meanwhile, where its file would not be found */
	uint64 disk_bytes;             /* reserved for its file */
	ClariProgress progress;
	ClariRequest request;
	ClariTransport transport; /* wiped when the flight ends */
} ClariFlightShared;

/* Whom Clari takes a key for; known once a job of it has been seen. */
typedef struct ClariAccountShared
{
	ClariKey account;
	ClariAccountFacts facts; /* without user_id this place is unused */
} ClariAccountShared;

/* A forecast of which an account cannot export crm_total and crm_closed. */
typedef struct ClariRefusalShared
{
	ClariKey account;
	char forecast[CLARI_NAME_SIZE];
	TimestampTz refused_at; /* 0: unused */
} ClariRefusalShared;

/* A segment that no slot has any more. */
typedef struct ClariSegmentShared
{
	dsm_handle handle;
	Size bytes;
} ClariSegmentShared;

typedef enum ClariWorkerState
{
	CLARI_WORKER_FREE,
	CLARI_WORKER_STARTING, /* registered by a session, not yet up */
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
	CLARI_LOADING_UNDER_WAY, /* by one process; the others wait */
	CLARI_LOADING_DONE
} ClariLoading;

typedef struct ClariControl
{
	uint64 clock;                /* counts uses, for LRU; begins with the time */
	uint64 next_generation;      /* begins with the time: no two servers' lives share one */
	ClariLoading loading;        /* of what the directory holds */
	TimestampTz load_at;         /* when it is tried again, after it could not be read */
	char directory[MAXPGPATH];   /* the one in effect, which is not every process's GUC during a reload */
	TimestampTz directory_at;    /* of the reload that set it */
	uint64 directory_generation; /* counts its changes */
	int buckets[CLARI_BUCKETS];
	int nslots;    /* so many of slots have been used; those behind them are not initialized */
	int nflights;  /* so many of flights have been used; those behind them are not initialized */
	int free_slot; /* the first that was given back, or CLARI_NO_INDEX */
	uint64 turn;   /* the last that was claimed, of all accounts */
	Oid last_role; /* who had asked for that one */
	int nsegments;
	Size segment_bytes;
	int nghosts; /* segments that were dropped, and are still read: their bytes count against the bound */
	Size ghost_bytes;
	uint64 disk_bytes;         /* of rowsets and records, those being written included; not what a sort spills */
	TimestampTz worker_at;     /* when a worker last came up or went */
	ConditionVariable changed; /* broadcast without the lock */
	ClariStats stats;
	int next_account; /* which of accounts is replaced next, when all are used */
	ClariAccountShared accounts[CLARI_MAX_ACCOUNTS];
	int next_refusal; /* which of refusals is replaced next, when all are used */
	ClariRefusalShared refusals[CLARI_MAX_REFUSALS];
	ClariSegmentShared ghosts[CLARI_MAX_SEGMENTS];
	ClariWorkerShared workers[CLARI_MAX_WORKERS];
	ClariFlightShared flights[CLARI_MAX_FLIGHTS];
	ClariSlotShared slots[CLARI_MAX_SLOTS];
} ClariControl;

typedef struct ClariCacheRoot
{
	LWLock lock;
	dsm_handle control; /* DSM_HANDLE_INVALID: not made yet, or preloaded: then it is in the main segment */
} ClariCacheRoot;

/* How many segments, and files, can be dropped in one hold of the lock: a batch for the bounds, and a slot's. */
#define CLARI_DROP_BATCH CLARI_MAX_SEGMENTS
#define CLARI_DROP_MAX (CLARI_DROP_BATCH + 4)

/*
 * What was dropped, which is to say taken from its slot under the lock, and is
 * released after that: to unpin a segment can unlink a file, and raise; to
 * remove a file waits for the disk.  Bytes on disk are counted until they are
 * gone.
 */
typedef struct ClariDropped
{
	int nsegments;
	int nfiles;
	uint64 file_bytes;
	TimestampTz at; /* when it was dropped: a record that is newer stays */
	ClariSegmentShared segments[CLARI_DROP_MAX];
	struct
	{
		ClariKey key;
		uint64 generation; /* 0: it is the record that goes */
	} files[CLARI_DROP_MAX];
} ClariDropped;

static inline bool
clari_slot_has_rowset(const ClariSlotShared *slot)
{
	return slot->in_file || slot->version.segment != DSM_HANDLE_INVALID;
}

/* Nothing is dropped yet.  An initializer would clear all of the arrays. */
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
extern char *clari_cache_directory; /* the setting; but the store goes by clari_store_set_directory() alone */

/* The process's own view of the control segment, which it has from its first clari_cache_lock() on. */
extern ClariControl *clari_control;

extern void clari_cache_lock(LWLockMode mode);
extern void clari_cache_unlock(void);
extern void clari_cache_wake_sessions(void);

/* ------- slots (slot.c); with the lock held exclusively ------- */

extern ClariSlotShared *clari_slot_find_locked(const ClariKey *key);

/* What the views show of a slot that has no rowset. */
extern void clari_slot_describe_locked(ClariSlotShared *slot, ClariEndpoint endpoint, const char *base_url,
									   const char *forecast, const char *period);

/* How much a slot has of something; 0: nothing. */
typedef uint64 (*ClariWeight)(const ClariSlotShared *slot);

/*
 * Which slot gives up what is weighed, or NULL if none has any: of the role
 * that has most of it, so that nobody's wishes turn out what others use; there
 * an expired one, then the least recently used.
 */
extern ClariSlotShared *clari_slot_victim_locked(ClariWeight weigh);

/* A new slot, all zero but its key; NULL: every slot has a flight.  What had to go for it is in *dropped. */
extern ClariSlotShared *clari_slot_insert_locked(const ClariKey *key, ClariDropped *dropped);

/* Drops what the slot has of these; from then on it is in *dropped. */
extern void clari_slot_drop_segment_locked(ClariSlotShared *slot, ClariDropped *dropped);
extern void clari_slot_drop_file_locked(ClariSlotShared *slot, ClariDropped *dropped);
extern void clari_slot_drop_record_locked(ClariSlotShared *slot, ClariDropped *dropped);

/* For how long (µs) the rowset is fresh to somebody with these TTLs (µs). */
extern int64 clari_rowset_ttl(const ClariRowsetMeta *meta, int64 cache_ttl, int64 closed_period_ttl);

/* When the slot was last invalidated; 0: never, or at a time that is yet to come, as the clock was set back. */
extern TimestampTz clari_slot_invalidated_at(const ClariSlotShared *slot);

/* Has it a rowset whose POST was sent after since - age, and after any invalidation, and not in the future? */
extern bool clari_slot_is_younger(const ClariSlotShared *slot, const ClariFreshness *freshness, int64 age);

/* ------- accounts (account.c); with the lock held exclusively ------- */

/* As clari_cache_note_account(). */
extern void clari_account_note_locked(const ClariKey *account, const ClariAccountFacts *facts);

/* The organization, or empty. */
extern const char *clari_account_organization_locked(const ClariKey *account);

/* ------- eviction (evict.c) ------- */

/* With the lock held exclusively: drops what exceeds the bounds, as far as there is room in *dropped. */
extern void clari_evict_excess_locked(ClariDropped *dropped);

/*
 * Without the lock: releases what was dropped.  A segment that somebody reads is
 * a ghost from then on.  Returns how many files are still there; the server's
 * log is told why, at the end, since any report can raise.
 */
extern int clari_dropped_release(const ClariDropped *dropped);

/* ------- workers (launch.c); with the lock held exclusively ------- */

/* Wakes all workers; not this process, if it is one. */
extern void clari_workers_wake_locked(void);
extern bool clari_flights_have_queued_locked(void);

/* ------- flights (claim.c); with the lock held exclusively ------- */

/* Makes room for one more flight of the role and the account, if another role or account has more queued. */
extern bool clari_flight_displace_locked(Oid role, const ClariKey *account);

/* The flight, which is not in use yet, but has its role and account, gets its turn. */
extern void clari_flight_take_turn_locked(ClariFlightShared *flight);

/* ------- loading (load.c) ------- */

/* Loads what the directory holds, or waits until it is loaded; follows a change of the directory. */
extern void clari_cache_load(void);

#endif /* CLARI_CACHE_INTERNAL_H */
