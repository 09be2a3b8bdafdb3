/*
 * cache.h
 *		The entry table: which rowsets there are, and which are on their way.
 *
 * Cache and queue are one fixed array of slots in a control segment, under
 * one LWLock.  Find-or-insert under that lock is the single flight; one
 * condition variable wakes whoever waits.  This is what sessions ask; what
 * workers take and give back is in worker.h.
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

/* _PG_init's part: defines the settings, and asks for shared memory when preloaded. */
extern void clari_cache_init(void);

/* ------- sessions ------- */

/* How fresh a rowset must be to serve (all in microseconds, as TimestampTz). */
typedef struct ClariFreshness
{
	TimestampTz since;            /* the statement's start */
	int64 cache_ttl;              /* a rowset serves if its POST was sent after since - cache_ttl */
	int64 closed_period_ttl;      /* in its place, for a quarter that was over when it was exported */
	int64 stale_while_revalidate; /* a rowset too old by up to this serves, while it is renewed (RFC 5861) */
	int64 stale_if_error;         /* a rowset too old by up to this serves, if its export fails (RFC 5861) */
	int64 max_age;                /* in place of cache_ttl, for a quarter that was not over; negative: not given */
	bool anew; /* only what is POSTed after since serves, and a failure of a moment ago does not count */
} ClariFreshness;

/* How old a rowset with these metadata may be at the statement's start. */
extern int64 clari_freshness_age(const ClariRowsetMeta *meta, const ClariFreshness *freshness);

/* One version of a rowset, and where it is. */
typedef struct ClariVersion
{
	ClariRowsetMeta meta;
	uint64 bytes;
	dsm_handle segment; /* DSM_HANDLE_INVALID: read the file */
} ClariVersion;

typedef enum ClariLookup
{
	CLARI_LOOKUP_READY,  /* *version serves; with an error code, *error is a warning from its export */
	CLARI_LOOKUP_STALE,  /* *version serves as RFC 5861 allows; *error says why its renewal failed, if it has a code */
	CLARI_LOOKUP_FLYING, /* an export is under way or queued: *flight tells which */
	CLARI_LOOKUP_QUEUED, /* this look-up has queued an export: *flight tells which */
	CLARI_LOOKUP_FAILED, /* *error says why, now or within the last ten seconds */
	CLARI_LOOKUP_ABSENT  /* nothing serves yet; where a transport was given, the caller asks again later */
} ClariLookup;

/* What is looked up. */
typedef struct ClariInquiry
{
	const ClariRequest *request;
	const ClariKey *key;             /* the request's: clari_request_key() */
	const ClariTransport *transport; /* of an export to be queued; NULL: none is to be queued */
	uint64 *joined;                  /* the flight is wanted until clari_cache_leave(); NULL: it is not */
} ClariInquiry;

/*
 * Looks an export up.  A quarter that has no rows of its own is served by those of
 * the export without a period, if Clari answered that with this very quarter.
 * flight is in and out: 0, or the flight that the caller has waited for, which
 * serves (or fails) whatever its age, unless the caller is strict (anew, max_age).
 * With a transport, an export is queued where nothing serves (CLARI_LOOKUP_QUEUED)
 * or something stale does, and workers are started for it; but not if the queue is
 * full, or what is under way was POSTed too early for a strict caller.
 * Who joins is counted as wanting the flight that it gets: once, when *flight
 * changes to it; *joined is that flight then, even if this raises, and else stays
 * as it is.  The first look-up after a start loads what is on disk, acting on
 * interrupts.
 */
extern ClariLookup clari_cache_lookup(const ClariInquiry *inquiry, const ClariFreshness *freshness, uint64 *flight,
									  ClariVersion *version, ClariError *error);

/*
 * Who had joined the flight does not want it any more: a flight that is still
 * queued, and that nobody else wants, ends.  A flight that is kept goes on
 * although nobody wants it.
 */
extern void clari_cache_leave(uint64 flight);
extern void clari_cache_keep(uint64 flight);

/*
 * Has the version's file been read so often that its rows should be in shared
 * memory again, and is there room for them?  Then clari_cache_promote() puts its
 * bytes there.
 */
extern bool clari_cache_is_popular(const ClariVersion *version);
extern void clari_cache_promote(const ClariVersion *version, const void *bytes);

/* What the cache holds for the key, however old; false: nothing.  Counts no hit, queues nothing. */
extern bool clari_cache_peek(const ClariKey *key, ClariVersion *version);

/*
 * Sees to it that workers run, and are awake, for what is queued.  False with
 * CLARI_ERROR_RESOURCES when no background worker could be had: keep asking.
 */
extern bool clari_cache_start_workers(ClariError *error);

/*
 * Prepares to sleep; then, after looking again, clari_cache_sleep() sleeps until
 * something changes or timeout_ms are over, acting on interrupts.  An error's
 * clean-up calls clari_cache_wait_end() by itself.
 */
extern void clari_cache_wait_begin(void);
extern void clari_cache_sleep(long timeout_ms);
extern void clari_cache_wait_end(void);

/*
 * Drops the version of this generation, which turned out to be damaged or not to
 * be there; a newer one stays.  It can be had again from its job.
 */
extern void clari_cache_drop_version(const ClariKey *key, uint64 generation);

/* Drops rowset, job and remembered failure of the key, or of every key (NULL); returns how many keys had any. */
extern int64 clari_cache_invalidate(const ClariKey *key);

/*
 * Cancels the key's export in the name of the role, if it is queued or under way:
 * returns its flight, or 0 if there is none.  The waiting get the error once the
 * worker has told Clari.
 */
extern uint64 clari_cache_cancel(const ClariKey *key, const char *role);

/* Cancels a flight, whoever it is for, and tells its export's key; false: there is no such flight any more. */
extern bool clari_cache_cancel_flight(uint64 flight, const char *role, ClariKey *key);

/* Was this the key's last flight, and did it fail?  Then *error says why. */
extern bool clari_cache_failure(const ClariKey *key, uint64 flight, ClariError *error);

/* What the account's jobs have told of it; a fact that is not known is empty. */
typedef struct ClariAccountFacts
{
	char user_id[CLARI_ID_SIZE]; /* whom Clari takes its key for */
	char organization[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE]; /* of exports that ask for none */
} ClariAccountFacts;

extern void clari_cache_account(const ClariKey *account, ClariAccountFacts *facts);

/* The quarters that cached exports of the account tell of. */
extern void clari_cache_calendar(const ClariKey *account, ClariCalendar *calendar);

/* How the account's cached exports of the forecast number months and years; the caller has initialized it. */
extern void clari_cache_numbering(const ClariKey *account, const char *forecast, ClariNumbering *numbering);

/* Is the flight still queued or under way? */
extern bool clari_cache_is_flying(uint64 flight);

/* A row of the view clari_cache. */
typedef struct ClariEntryInfo
{
	ClariKey key;
	const char *state; /* queued, exporting, downloading, ready, failed */
	bool has_rowset;
	ClariVersion version; /* without a rowset, the metadata's base_url, forecast and requested hold */
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

/* What is counted; the order of the columns of clari_stats. */
typedef enum ClariCounter
{
	CLARI_COUNT_HITS,             /* look-ups that a fresh rowset served at once */
	CLARI_COUNT_STALE_HITS,       /* look-ups that a stale rowset served */
	CLARI_COUNT_MISSES,           /* look-ups that queued an export */
	CLARI_COUNT_EXPORTS,          /* POSTs that Clari accepted: quota */
	CLARI_COUNT_TAKEN_UP,         /* jobs that were taken up in place of a POST */
	CLARI_COUNT_DOWNLOADS,        /* downloads that have begun */
	CLARI_COUNT_RETRIES,          /* retries of any step */
	CLARI_COUNT_FAILURES,         /* exports that ended with an error */
	CLARI_COUNT_CANCELLATIONS,    /* exports that somebody canceled */
	CLARI_COUNT_BYTES,            /* decoded bytes of downloads that came into the cache */
	CLARI_COUNT_ENTRIES,          /* entries of these downloads */
	CLARI_COUNT_MEMORY_EVICTIONS, /* rowsets that had to leave shared memory */
	CLARI_COUNT_DISK_EVICTIONS,   /* rowsets that had to leave the disk */
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

/* Adds to a counter, under the cache's lock, which the caller does not hold. */
extern void clari_cache_count(ClariCounter counter, int64 change);

/* Copies of all slots or flights, palloc'd in the current context; their number in *count. */
extern ClariEntryInfo *clari_cache_entries_copy(int *count);
extern ClariFlightInfo *clari_cache_flights(int *count);

#endif /* CLARI_CACHE_H */
