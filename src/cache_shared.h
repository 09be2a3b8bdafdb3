/*
 * cache_shared.h
 *		What lies in shared memory: for the cache's own files only.
 *
 * A small struct in PostgreSQL's main segment (ClariCacheRoot) leads to the
 * control segment (ClariControl), made by whoever comes first.  Every field is
 * guarded by root->lock, but where its comment says otherwise.
 */
#ifndef CLARI_CACHE_SHARED_H
#define CLARI_CACHE_SHARED_H

#include "cache.h"

#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

/* Changes with every change of the structs below: two versions of the library never share them. */
#define CLARI_CACHE_LAYOUT "clari_fdw cache 1"

#define CLARI_MAX_ENTRIES 1024
#define CLARI_MAX_FLIGHTS 256
#define CLARI_MAX_WORKERS 32
#define CLARI_MAX_SEGMENTS 128
#define CLARI_BUCKETS 1024
#define CLARI_NOBODY (-1)

/* How long a failure is remembered, so that a dashboard does not hammer Clari. */
#define CLARI_FAILURE_MEMORY (10 * USECS_PER_SEC)

typedef struct ClariEntryShared
{
	bool used;
	int next; /* in the bucket's or the free list, or CLARI_NOBODY */
	ClariKey key;
	char base_url[CLARI_URL_SIZE]; /* these three for the view */
	char forecast[CLARI_NAME_SIZE];
	char period[CLARI_PERIOD_TEXT_SIZE];
	bool has_rowset;
	ClariVersion version;
	int64 ttl; /* as the last look-up counted it, for expires_at */
	int64 hits;
	uint64 used_at;       /* of control->clock: least recently used goes first */
	int flight;           /* index, or CLARI_NOBODY */
	uint64 failed_flight; /* generation of the last failure, 0: none since the last rowset */
	TimestampTz failed_at;
	TimestampTz invalidated_at; /* a flight POSTed before that serves only those who wait for it */
	ClariError error;
} ClariEntryShared;

typedef struct ClariFlightShared
{
	bool used;
	uint64 generation; /* also its place in the queue */
	int entry;
	int worker; /* slot, or CLARI_NOBODY: queued */
	int waiters;
	ClariKey account;
	TimestampTz queued_at;
	ClariProgress progress;
	ClariRequest request;
	ClariTransport transport; /* wiped when the flight ends */
} ClariFlightShared;

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
	int flights;  /* claimed by it */
} ClariWorkerShared;

typedef struct ClariControl
{
	uint64 clock;           /* counts uses, for LRU */
	uint64 next_generation; /* begins with the time, so that no two servers' lives share one */
	int buckets[CLARI_BUCKETS];
	int free_entry;
	int nsegments;
	Size segment_bytes;
	TimestampTz worker_at;     /* when a worker last came up or went */
	ConditionVariable changed; /* broadcast without the lock */
	ClariWorkerShared workers[CLARI_MAX_WORKERS];
	ClariFlightShared flights[CLARI_MAX_FLIGHTS];
	ClariEntryShared entries[CLARI_MAX_ENTRIES];
} ClariControl;

typedef struct ClariCacheRoot
{
	LWLock lock;
	dsm_handle control; /* DSM_HANDLE_INVALID: not made yet */
} ClariCacheRoot;

/*
 * Segments that were dropped under the lock, to be unpinned after it: that can
 * unlink a file, and raise.
 */
typedef struct ClariDropped
{
	int count;
	dsm_handle segments[CLARI_MAX_SEGMENTS];
} ClariDropped;

/* The process's own view of both, attached at the first call. */
extern ClariControl *clari_cache_control(void);
extern void clari_cache_lock(LWLockMode mode);
extern void clari_cache_unlock(void);

/* These are called with the lock held exclusively. */
extern void clari_cache_drop_segment_locked(ClariEntryShared *entry, ClariDropped *dropped);

/* Without the lock: lets dropped segments go with their last reader; wakes waiting sessions. */
extern void clari_cache_unpin(const ClariDropped *dropped);
extern void clari_cache_wake_sessions(void);

#endif /* CLARI_CACHE_SHARED_H */
