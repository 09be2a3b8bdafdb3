/*
 * cache.h
 *		The entry table: which rowsets exist, and which are being made.
 *
 * Cache and queue are one fixed array of slots in a control segment, protected by
 * one LWLock.  Because a slot is found or inserted under that lock, an export is
 * never queued twice.  One condition variable wakes all sessions that wait.  This
 * header is for sessions; worker.h has what workers claim and publish.
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

/* Called by _PG_init().  Defines the settings, and requests shared memory if the library is being preloaded. */
extern void clari_cache_init(void);

/* ------- sessions ------- */

/* What makes a rowset fresh enough to serve.  All times are microseconds, as in TimestampTz. */
typedef struct ClariFreshness
{
	TimestampTz since;            /* the statement's start */
	int64 cache_ttl;              /* a rowset serves if its POST was sent after since - cache_ttl */
	int64 closed_period_ttl;      /* replaces cache_ttl for a quarter that had ended when it was exported */
	int64 stale_while_revalidate; /* a rowset that is at most this much too old serves while it is renewed (RFC 5861) */
	int64 stale_if_error;         /* a rowset that is at most this much too old serves if its export fails (RFC 5861) */
	int64 max_age;                /* replaces cache_ttl for a quarter that had not ended; negative: not given */
	/* only an export that is POSTed after since serves, and a recent failure is not repeated */
	bool anew;
} ClariFreshness;

/* The age (µs) up to which a rowset with these metadata is fresh at the statement's start. */
extern int64 clari_freshness_age(const ClariRowsetMeta *meta, const ClariFreshness *freshness);

/* One version of a rowset, and where its bytes are. */
typedef struct ClariVersion
{
	ClariRowsetMeta meta;
	uint64 bytes;
	dsm_handle segment; /* if DSM_HANDLE_INVALID, the version is read from its file */
} ClariVersion;

typedef enum ClariLookup
{
	CLARI_LOOKUP_READY,  /* *version serves; if *error has a code, it is a warning from its export */
	CLARI_LOOKUP_STALE,  /* *version serves as RFC 5861 allows; if *error has a code, it says why the renewal failed */
	CLARI_LOOKUP_FLYING, /* an export is queued or under way; *flight is its number */
	CLARI_LOOKUP_QUEUED, /* this look-up has queued an export; *flight is its number */
	CLARI_LOOKUP_FAILED, /* the export failed, now or within the last ten seconds; *error says why */
	CLARI_LOOKUP_ABSENT  /* nothing serves yet; a caller that gave a transport tries again later */
} ClariLookup;

/* What is looked up. */
typedef struct ClariInquiry
{
	const ClariRequest *request;
	const ClariKey *key;             /* of the request, by clari_request_key() */
	const ClariTransport *transport; /* used by an export that is queued; NULL: queue none */
	/* receives the flight that is wanted until clari_cache_leave(); NULL: the caller does not count as wanting it */
	uint64 *joined;
} ClariInquiry;

/*
 * Looks an export up.  If a quarter has no rowset of its own, the rowset of the
 * export without a period serves, provided that Clari answered it with this
 * quarter.
 *
 * *flight is in and out.  On entry it is 0, or the flight that the caller has
 * waited for.  The result of that flight is returned whatever its age, unless the
 * caller is strict (anew, max_age).
 *
 * If inquiry->transport is given, an export is queued when nothing serves
 * (CLARI_LOOKUP_QUEUED) or only something stale does, and workers are started for
 * it.  Nothing is queued if the queue is full, or if the export under way was
 * POSTed too early for a strict caller; the result is then CLARI_LOOKUP_ABSENT.
 *
 * If inquiry->joined is given, the caller is counted as wanting the flight, once,
 * when *flight becomes that flight.  *joined is set to the flight in the same
 * step, so that it is right even if this function raises an error later;
 * otherwise it is unchanged.
 *
 * The first look-up after a start loads what is on disk, and can be interrupted.
 */
extern ClariLookup clari_cache_lookup(const ClariInquiry *inquiry, const ClariFreshness *freshness, uint64 *flight,
									  ClariVersion *version, ClariError *error);

/*
 * clari_cache_leave() withdraws the interest of a caller that had joined the
 * flight.  A flight that is still queued ends if nobody else wants it.
 * clari_cache_keep() makes the flight continue although nobody wants it.
 */
extern void clari_cache_leave(uint64 flight);
extern void clari_cache_keep(uint64 flight);

/*
 * clari_cache_is_popular() is true if the version's file has been read so often
 * that the rows should be in shared memory again, and there is room for them.
 * The caller then passes its bytes (version->bytes many) to
 * clari_cache_promote(), which copies them into a segment.
 */
extern bool clari_cache_is_popular(const ClariVersion *version);
extern void clari_cache_promote(const ClariVersion *version, const void *bytes);

/* Finds the key's version, however old it is.  Returns false if there is none.  Counts no hit and queues nothing. */
extern bool clari_cache_peek(const ClariKey *key, ClariVersion *version);

/*
 * Makes sure that workers are running and awake for what is queued.  Returns
 * false with CLARI_ERROR_RESOURCES if no background worker can be started; the
 * caller should try again.  Raises an error in single-user mode.
 */
extern bool clari_cache_start_workers(ClariError *error);

/*
 * To wait for a change: call clari_cache_wait_begin(), look again, then call
 * clari_cache_sleep(), which returns when something has changed or timeout_ms
 * have passed, and can be interrupted.  clari_cache_wait_end() ends the waiting;
 * after an error this happens by itself.
 */
extern void clari_cache_wait_begin(void);
extern void clari_cache_sleep(long timeout_ms);
extern void clari_cache_wait_end(void);

/*
 * Drops the version with this generation, which was found to be damaged or
 * missing; a newer version stays.  The rows can be downloaded again from the
 * version's job.
 */
extern void clari_cache_drop_version(const ClariKey *key, uint64 generation);

/*
 * Drops the rowset, record and remembered failure of the key, or of every key
 * (NULL).  Returns how many keys had a rowset or a failure.
 */
extern int64 clari_cache_invalidate(const ClariKey *key);

/*
 * Cancels the key's export on behalf of the role, if it is queued or under way.
 * Returns its flight, or 0 if there is none.  Sessions that wait for it get the
 * error as soon as the worker has told Clari.
 */
extern uint64 clari_cache_cancel(const ClariKey *key, const char *role);

/*
 * Cancels a flight, whoever wants it, and sets *key to its export's key.  Returns
 * false if the flight no longer exists.
 */
extern bool clari_cache_cancel_flight(uint64 flight, const char *role, ClariKey *key);

/* If this was the key's last flight, and it failed, returns true and sets *error to the reason. */
extern bool clari_cache_failure(const ClariKey *key, uint64 flight, ClariError *error);

/* What is known of an account from its jobs.  A fact that is not known is empty. */
typedef struct ClariAccountFacts
{
	char user_id[CLARI_ID_SIZE]; /* the user to whom the API key belongs */
	char organization[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE]; /* of exports that request none */
} ClariAccountFacts;

extern void clari_cache_account(const ClariKey *account, ClariAccountFacts *facts);

/* Fills *calendar with the quarters whose days are known from the account's cached exports. */
extern void clari_cache_calendar(const ClariKey *account, ClariCalendar *calendar);

/*
 * Adds to *numbering, which the caller has initialized, how the account's cached
 * exports of the forecast number months and years.
 */
extern void clari_cache_numbering(const ClariKey *account, const char *forecast, ClariNumbering *numbering);

/* Is the flight still queued or under way? */
extern bool clari_cache_is_flying(uint64 flight);

/* A row of the view clari_cache. */
typedef struct ClariEntryInfo
{
	ClariKey key;
	const char *state; /* queued, exporting, downloading, ready, failed */
	bool has_rowset;
	ClariVersion version; /* without a rowset, only base_url, endpoint, forecast and requested are valid */
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
	TimestampTz next_try_at; /* 0: no retry is scheduled */
} ClariFlightInfo;

/* The counters, in the order of the columns of clari_stats. */
typedef enum ClariCounter
{
	CLARI_COUNT_HITS,             /* look-ups that a fresh rowset served at once */
	CLARI_COUNT_STALE_HITS,       /* look-ups that a stale rowset served */
	CLARI_COUNT_MISSES,           /* look-ups that queued an export */
	CLARI_COUNT_EXPORTS,          /* POSTs that Clari accepted, each of which uses quota */
	CLARI_COUNT_TAKEN_UP,         /* jobs that were taken up instead of sending a POST */
	CLARI_COUNT_DOWNLOADS,        /* downloads that have begun */
	CLARI_COUNT_RETRIES,          /* retries of any step */
	CLARI_COUNT_FAILURES,         /* exports that ended with an error */
	CLARI_COUNT_CANCELLATIONS,    /* exports that somebody canceled */
	CLARI_COUNT_BYTES,            /* decoded bytes of the downloads that were published */
	CLARI_COUNT_ENTRIES,          /* entries of these downloads */
	CLARI_COUNT_MEMORY_EVICTIONS, /* rowsets that were evicted from shared memory */
	CLARI_COUNT_DISK_EVICTIONS,   /* rowsets that were evicted from disk */
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

/* Adds to a counter.  Takes the cache's lock, which the caller must not hold. */
extern void clari_cache_count(ClariCounter counter, int64 change);

/*
 * Copies of all slots that the view shows, and of all flights, palloc'd in the
 * current context; *count is set to their number.
 */
extern ClariEntryInfo *clari_cache_entries_copy(int *count);
extern ClariFlightInfo *clari_cache_flights(int *count);

#endif /* CLARI_CACHE_H */
