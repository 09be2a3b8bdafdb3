/*
 * cache.h
 *		The entry table: which rowsets are cached, and which are being exported.
 *
 * Cache and queue are fixed arrays of slots and flights in a control segment,
 * protected by one LWLock.  An export is found or queued in one hold of that
 * lock, so that there is never more than one flight for an identity.  One
 * condition variable wakes all sessions that wait.  This is the interface for
 * sessions; that for workers is in worker.h.
 */
#ifndef CLARI_CACHE_H
#define CLARI_CACHE_H

#include "postgres.h"

#include "storage/dsm.h"
#include "utils/timestamp.h"

#include "base/error.h"
#include "clari/calendar.h"
#include "clari/reply.h"
#include "clari/request.h"
#include "rowset/rowset.h"

/* ------- life cycle ------- */

/* Called by _PG_init(): defines the settings, and requests shared memory if the library is preloaded. */
extern void clari_cache_init(void);

/* ------- sessions ------- */

/* How fresh a rowset must be to serve.  All times are in microseconds, like TimestampTz. */
typedef struct ClariFreshness
{
	TimestampTz since;            /* the statement's start */
	int64 cache_ttl;              /* a rowset serves if its POST was sent after since - cache_ttl */
	int64 closed_period_ttl;      /* used instead of cache_ttl for a quarter that was over when it was exported */
	int64 stale_while_revalidate; /* a rowset too old by at most this serves while it is renewed (RFC 5861) */
	int64 stale_if_error;         /* a rowset too old by at most this serves if its export fails (RFC 5861) */
	int64 max_age;                /* used instead of cache_ttl for a quarter that was not over; negative: not given */
	bool anew;                    /* only rows POSTed after since serve, and remembered failures are ignored */
} ClariFreshness;

/* Returns how old a rowset with these metadata may be when the statement starts. */
extern int64 clari_freshness_age(const ClariRowsetMeta *meta, const ClariFreshness *freshness);

/* One version of a rowset, and where its bytes are. */
typedef struct ClariVersion
{
	ClariRowsetMeta meta;
	uint64 bytes;
	dsm_handle segment; /* DSM_HANDLE_INVALID: read the file */
} ClariVersion;

typedef enum ClariLookup
{
	CLARI_LOOKUP_READY,  /* *version serves; if *error has a code, it is a warning from the export */
	CLARI_LOOKUP_STALE,  /* *version serves as RFC 5861 allows; if *error has a code, it says why the renewal failed */
	CLARI_LOOKUP_FLYING, /* an export is queued or under way: *flight is its flight */
	CLARI_LOOKUP_QUEUED, /* this look-up has queued an export: *flight is its flight */
	CLARI_LOOKUP_FAILED, /* the export that the caller waited for, or one in the last ten seconds, failed with *error */
	CLARI_LOOKUP_ABSENT  /* nothing serves yet; a caller that gave a transport must look it up again later */
} ClariLookup;

/* What is looked up. */
typedef struct ClariInquiry
{
	const ClariRequest *request;
	const ClariKey *key;             /* of the request, from clari_request_key() */
	const ClariTransport *transport; /* for an export that is queued; NULL: do not queue any */
	uint64 *joined;                  /* out: the flight that counts the caller as waiter; NULL: do not count it */
} ClariInquiry;

/*
 * Looks an export up.  If a quarter has no rows of its own, the rows of the export
 * without a period serve, provided that Clari answered that one with this quarter.
 *
 * *flight is 0, or the flight that the caller has waited for; the result of that
 * flight usually serves whatever its age, unless the caller sets a limit to the
 * age (anew, max_age).  On return it is the flight to wait for.
 *
 * If a transport is given and nothing serves, or only stale rows, an export is
 * queued and workers are started.  This is not done if the queue is full, or if
 * the export under way was POSTed too early for a caller that limits the age.
 *
 * If joined is not NULL, a flight that the caller has not waited for yet counts it
 * as a waiter, and *joined is set to that flight, even if an error is raised
 * later.  Otherwise *joined is left alone.  The first look-up after a start loads
 * what is on disk; this can be interrupted.
 */
extern ClariLookup clari_cache_lookup(const ClariInquiry *inquiry, const ClariFreshness *freshness, uint64 *flight,
									  ClariVersion *version, ClariError *error);

/*
 * clari_cache_leave() says that a caller that had joined the flight does not want
 * it any more.  The flight ends if it is still queued and nobody else wants it.
 * After clari_cache_keep(), it continues even if nobody wants it.
 */
extern void clari_cache_leave(uint64 flight);
extern void clari_cache_keep(uint64 flight);

/*
 * clari_cache_is_popular() tells whether the version's file has been read so often
 * that its rows belong in shared memory again, and whether there is room for them.
 * If so, the caller passes the rows to clari_cache_promote(), which puts them there.
 */
extern bool clari_cache_is_popular(const ClariVersion *version);
extern void clari_cache_promote(const ClariVersion *version, const void *bytes);

/* Returns the key's version, regardless of its age; false: there is none.  Counts no hit and queues nothing. */
extern bool clari_cache_peek(const ClariKey *key, ClariVersion *version);

/*
 * Starts the workers that the flights need, and wakes those that run.  Returns
 * false with CLARI_ERROR_RESOURCES if no worker could be started, or if those
 * that were started do not come up; the caller should try again.
 */
extern bool clari_cache_start_workers(ClariError *error);

/*
 * To wait for a change: call clari_cache_wait_begin(), look again, and then call
 * clari_cache_sleep(), which returns when something has changed since or after
 * timeout_ms, and processes interrupts.  clari_cache_wait_end() ends the wait; it is
 * not needed after an error, since aborting the transaction has the same effect.
 */
extern void clari_cache_wait_begin(void);
extern void clari_cache_sleep(long timeout_ms);
extern void clari_cache_wait_end(void);

/*
 * Drops the version of this generation, because it turned out to be damaged or
 * missing.  A newer version stays.  The slot keeps the job's id, so that the rows
 * can be downloaded again.
 */
extern void clari_cache_drop_version(const ClariKey *key, uint64 generation);

/*
 * Drops rowset, job and remembered failure of the key, or of all keys (NULL).
 * Returns how many keys had a rowset or a failure.
 */
extern int64 clari_cache_invalidate(const ClariKey *key);

/*
 * Cancels the key's export on behalf of the role, if it is queued or under way.
 * Returns its flight, or 0 if there is none.  If a worker has claimed the flight,
 * waiting sessions get the error after the worker has canceled the job at Clari.
 */
extern uint64 clari_cache_cancel(const ClariKey *key, const char *role);

/* Cancels a flight, whoever waits for it, and returns the key of its export; false: the flight has ended. */
extern bool clari_cache_cancel_flight(uint64 flight, const char *role, ClariKey *key);

/* Was this the last flight of the key, and did it fail?  If so, *error says why. */
extern bool clari_cache_failure(const ClariKey *key, uint64 flight, ClariError *error);

/* What is known about an account from its jobs.  Facts that are not known are empty. */
typedef struct ClariAccountFacts
{
	char user_id[CLARI_ID_SIZE]; /* the user that the API key belongs to */
	char organization[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE]; /* of exports that do not specify one */
} ClariAccountFacts;

extern void clari_cache_account(const ClariKey *account, ClariAccountFacts *facts);

/* Collects the days of quarters from the account's exports, as far as the cache knows them. */
extern void clari_cache_calendar(const ClariKey *account, ClariCalendar *calendar);

/* Adds what the account's cached exports of the forecast say about the numbering, which the caller has initialized. */
extern void clari_cache_numbering(const ClariKey *account, const char *forecast, ClariNumbering *numbering);

/* Is the flight still queued or under way? */
extern bool clari_cache_is_flying(uint64 flight);

/* A row of the view clari_cache. */
typedef struct ClariEntryInfo
{
	ClariKey key;
	const char *state; /* queued, exporting, downloading, ready, failed */
	bool has_rowset;
	ClariVersion
		version; /* without a rowset, only base_url, endpoint, forecast and requested of its metadata are valid */
	TimestampTz expires_at;
	int64 hits;
	ClariError error;
} ClariEntryInfo;

/* A row of the view clari_exports. */
typedef struct ClariFlightInfo
{
	uint64 flight;
	ClariKey key;
	char base_url[CLARI_URL_SIZE];
	char forecast[CLARI_NAME_SIZE];
	ClariEndpoint endpoint;
	char period[CLARI_PERIOD_TEXT_SIZE];
	const char *phase; /* as clari_exports shows it */
	char job_id[CLARI_ID_SIZE];
	TimestampTz started_at;
	int64 bytes; /* decoded, so far */
	int64 entries;
	int32 polls;
	int32 retries;
	int32 waiters;
	TimestampTz next_try_at; /* 0: none */
} ClariFlightInfo;

/* What is counted, in the order of the columns of clari_stats. */
typedef enum ClariCounter
{
	CLARI_COUNT_HITS,             /* look-ups served at once by a fresh rowset */
	CLARI_COUNT_STALE_HITS,       /* look-ups served by a stale rowset */
	CLARI_COUNT_MISSES,           /* look-ups that queued an export */
	CLARI_COUNT_EXPORTS,          /* POSTs that Clari accepted, each of which costs quota */
	CLARI_COUNT_TAKEN_UP,         /* jobs that were taken up instead of sending a POST */
	CLARI_COUNT_DOWNLOADS,        /* downloads that have begun */
	CLARI_COUNT_RETRIES,          /* retries of any step */
	CLARI_COUNT_FAILURES,         /* exports that failed, except canceled ones */
	CLARI_COUNT_CANCELLATIONS,    /* exports that were canceled */
	CLARI_COUNT_BYTES,            /* decoded bytes of downloads that were cached */
	CLARI_COUNT_ENTRIES,          /* entries of these downloads */
	CLARI_COUNT_MEMORY_EVICTIONS, /* rowsets evicted from shared memory */
	CLARI_COUNT_DISK_EVICTIONS,   /* rowsets evicted from disk */
	CLARI_COUNT_DAMAGED_FILES     /* damaged files that were removed */
} ClariCounter;

#define CLARI_COUNTERS (CLARI_COUNT_DAMAGED_FILES + 1)

typedef struct ClariStats
{
	int64 counts[CLARI_COUNTERS];
	TimestampTz since;
} ClariStats;

extern void clari_cache_stats(ClariStats *stats);
extern void clari_cache_stats_reset(void);

/* Adds to a counter.  Takes the cache's lock, so the caller must not hold it. */
extern void clari_cache_count(ClariCounter counter, int64 change);

/* Return copies of all slots that are worth showing, or all flights, palloc'd; *count is their number. */
extern ClariEntryInfo *clari_cache_entries_copy(int *count);
extern ClariFlightInfo *clari_cache_flights(int *count);

#endif /* CLARI_CACHE_H */
