/*
 * cache.h
 *		The entry table: which rowsets there are, and which are on their way.
 *
 * Cache and queue are one fixed array of entries in a control segment, under
 * one LWLock.  Find-or-insert under that lock is the single flight; one
 * condition variable wakes whoever waits.  Both sides are here: what sessions
 * ask, and what workers take and give back.
 */
#ifndef CLARI_CACHE_H
#define CLARI_CACHE_H

#include "postgres.h"

#include "storage/dsm.h"
#include "utils/timestamp.h"

#include "error.h"
#include "job.h"
#include "request.h"
#include "rowset.h"

/* GUCs, defined in clari_fdw.c. */
extern int clari_shared_cache_size; /* kB */
extern int clari_max_workers;
extern int clari_worker_idle_timeout; /* ms */

/* ------- life cycle ------- */

/* _PG_init's part: asks for shared memory when preloaded. */
extern void clari_cache_init(void);

/* ------- sessions ------- */

/* How fresh a rowset must be to serve (all in microseconds, as TimestampTz). */
typedef struct ClariFreshness
{
	TimestampTz since;       /* the statement's start */
	int64 cache_ttl;         /* a rowset serves if its POST was sent after since - ttl */
	int64 closed_period_ttl; /* instead, for a quarter that was over when it was exported */
	int64 max_age;           /* of a quarter that is not closed; negative: its TTL decides */
	bool anew;               /* whatever is cached, and even if it failed a moment ago */
} ClariFreshness;

/* One version of a rowset, and where it is. */
typedef struct ClariVersion
{
	ClariRowsetMeta meta;
	uint64 bytes;
	dsm_handle segment; /* DSM_HANDLE_INVALID: read the file */
} ClariVersion;

typedef enum ClariLookup
{
	CLARI_LOOKUP_READY,  /* *version serves */
	CLARI_LOOKUP_FLYING, /* an export is under way or queued: *flight tells which */
	CLARI_LOOKUP_FAILED, /* *error says why, now or within the last ten seconds */
	CLARI_LOOKUP_ABSENT, /* nothing serves, and nothing was queued because that was not wanted */
	CLARI_LOOKUP_FULL    /* no room in the queue: ask again later */
} ClariLookup;

/*
 * Looks the key up.  flight is in and out: 0, or the flight that the caller has
 * waited for, which serves (or fails) whatever its age.  With a transport, an
 * export is queued where nothing serves (CLARI_LOOKUP_FLYING); without one, the
 * answer is CLARI_LOOKUP_ABSENT then.  Takes and releases the lock.
 */
extern ClariLookup
clari_cache_lookup(const ClariKey *key, const ClariRequest *request, const ClariTransport *transport,
				   const ClariFreshness *freshness, uint64 *flight, ClariVersion *version, ClariError *error);

/*
 * What the cache holds for the key, however old: for estimates and EXPLAIN.
 * Counts no hit, queues nothing.  False: nothing.
 */
extern bool clari_cache_peek(const ClariKey *key, ClariVersion *version);

/*
 * Sees to it that workers run, and are awake, for what is queued.  False with
 * CLARI_ERROR_RESOURCES when no worker slot could be had: keep asking.
 */
extern bool clari_cache_start_workers(ClariError *error);

/*
 * Prepares to sleep; then, after looking again, clari_cache_sleep() sleeps until
 * something changes or timeout_ms are over, acting on interrupts.  Between
 * begin and end the flights count as waited for.  Call clari_cache_wait_end()
 * also on the way out of an error.
 */
extern void clari_cache_wait_begin(void);
extern void clari_cache_sleep(long timeout_ms);
extern void clari_cache_wait_end(void);

/* Counts the session as waiting for the flight, or not any more. */
extern void clari_cache_count_waiter(uint64 flight, int change);

/* The version turned out to be unreadable: forgets it, unless a newer one has come. */
extern void clari_cache_forget(const ClariKey *key, uint64 generation);

/* Forgets rowset and remembered failure of the key, or of every key (NULL); returns how many had one. */
extern int64 clari_cache_invalidate(const ClariKey *key);

/* A row of the view clari_cache. */
typedef struct ClariEntryInfo
{
	char base_url[CLARI_URL_SIZE];
	char forecast[CLARI_NAME_SIZE];
	char period[CLARI_PERIOD_TEXT_SIZE]; /* requested; empty: current */
	const char *state;                   /* queued, exporting, downloading, ready, failed */
	bool has_rowset;
	ClariVersion version;
	TimestampTz expires_at;
	int64 hits;
	ClariError error;
} ClariEntryInfo;

/* A row of the view clari_exports. */
typedef struct ClariFlightInfo
{
	uint64 flight;
	char base_url[CLARI_URL_SIZE];
	char forecast[CLARI_NAME_SIZE];
	char period[CLARI_PERIOD_TEXT_SIZE];
	const char *phase; /* queued, posting, waiting, polling, ready, downloading */
	char job_id[64];
	TimestampTz started_at;
	int64 bytes; /* decoded, so far */
	int64 entries;
	int32 polls;
	int32 retries;
	int32 waiters;
	TimestampTz next_try_at; /* 0: none */
} ClariFlightInfo;

/* Copies of all entries or flights, palloc'd in the current context; their number in *count. */
extern ClariEntryInfo *clari_cache_entries_copy(int *count);
extern ClariFlightInfo *clari_cache_flights(int *count);

/* ------- workers ------- */

/* A claimed flight: the worker's own copy, secret included. */
typedef struct ClariOrder
{
	int index; /* of the flight */
	ClariKey key;
	uint64 generation; /* the version that it will make */
	ClariRequest request;
	ClariTransport transport;
} ClariOrder;

/* What a worker tells about a flight. */
typedef struct ClariProgress
{
	ClariJobState state;
	char job_id[64];
	int64 bytes;
	int64 entries;
	int32 polls;
	int32 retries;
	TimestampTz next_try_at;
} ClariProgress;

/* Takes the worker slot that the session reserved; false: somebody else has it, go away. */
extern bool clari_cache_worker_begin(int slot);

/* Gives the slot back if nothing is queued that this worker could take; else false. */
extern bool clari_cache_worker_end(void);

/*
 * Takes the next queued flight whose account has fewer exports under way than
 * its max_concurrent_exports, unless another worker has less to do.
 */
extern bool clari_cache_claim(ClariOrder *order);

extern void clari_cache_progress(int index, const ClariProgress *progress);

/*
 * Room for a segment of so many bytes, by dropping the least recently used
 * ones; counted from now on.  False: it is larger than the shared cache may be.
 */
extern bool clari_cache_reserve(Size bytes);
extern void clari_cache_unreserve(Size bytes);

/*
 * The flight's rowset is there: wakes the waiting.  The version's segment, if it
 * has one, was reserved and is pinned; the cache owns it from now on.
 */
extern void clari_cache_publish(int index, const ClariVersion *version);

/* The flight failed: remembered for ten seconds, the waiting are woken. */
extern void clari_cache_fail(int index, const ClariError *error);

#endif /* CLARI_CACHE_H */
