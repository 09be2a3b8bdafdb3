/*
 * export.h
 *		A single export in a session: looking it up, queuing it, waiting for it.
 *
 * Used by scans (fetch.c), functions and clari_sync.  Waits can be interrupted.
 * Nothing here deals with scans, HTTP or the bytes of rowsets.
 */
#ifndef CLARI_EXPORT_H
#define CLARI_EXPORT_H

#include "postgres.h"

#include "cache/cache.h"
#include "clari/period.h"
#include "options/options.h"

/*
 * The flights that a statement or function call wants.  It stops wanting them
 * when its memory context is reset, at its end or after an error.
 */
typedef struct ClariInterest ClariInterest;

extern ClariInterest *clari_interest_make(MemoryContext context);

/* Makes these flights continue although nobody wants them any more. */
extern void clari_interest_keep(const ClariInterest *interest);

/* Stops wanting the flight, see clari_cache_leave().  Does nothing if it is not one of these. */
extern void clari_interest_leave(ClariInterest *interest, uint64 flight);

/* A single export in a session. */
typedef struct ClariExport
{
	ClariRequest request;
	ClariKey key;
	ClariInterest *interest; /* counts its flight as wanted; NULL: it is not */
	uint64 flight;           /* the flight waited for, now or last; 0: none */
	bool flew;               /* it was not available at once, so that a flight was waited for */
	TimestampTz queued_at;   /* when this session queued it; 0: it did not */
	ClariLookup state;       /* after clari_export_poll(): READY (also if stale), FAILED, or another ("open") */
	ClariVersion version;    /* if ready */
	ClariError error;        /* why it failed; if ready, a warning if it has a code */
	bool stale;              /* it is ready with stale rows; the error says why they were not renewed */
	int failed_openings;     /* number of versions that were gone or damaged when opened */
} ClariExport;

/*
 * Initializes the export of a period of the options' table (as text; empty: the
 * current quarter).  Raises an error only if OpenSSL fails.
 */
extern void
clari_export_init(const ClariOptions *options, const char *period, ClariInterest *interest, ClariExport *export);

/*
 * Looks up each export that is still open (neither ready nor failed), and queues
 * those that are missing.  Returns true if none is left open.
 */
extern bool
clari_export_poll(const ClariOptions *options, const ClariFreshness *freshness, ClariExport *exports, int count);

/*
 * The time, in milliseconds of clari_clock_now(), since which no worker could be
 * started; 0: workers are available.  A caller that waits in several calls passes
 * the same variable, initialized with 0, to all of them, so that they share one
 * time limit.
 */
typedef int64 ClariPatience;

/*
 * Polls until no export is open, or timeout_ms (-1: no limit) have passed; in the
 * second case it returns false.  It can be interrupted, holds no lock and needs
 * no snapshot.  Raises an error if no worker could be started for ten seconds,
 * which are counted in this call, or with patience in all calls that share it.
 */
extern bool clari_export_wait(const ClariOptions *options, const ClariFreshness *freshness, ClariExport *exports,
							  int count, long timeout_ms, ClariPatience *patience);

/*
 * Finds the cached version of a quarter (as text), however old, under its own
 * name or as the current quarter; false if there is none.  For estimates and
 * EXPLAIN. Queues nothing.
 */
extern bool clari_export_peek(const ClariOptions *options, const char *period, ClariVersion *version);

/*
 * To be called if the export's version could not be opened because of *error.
 * Drops the version from the cache and opens the export again (see
 * clari_export_poll()), so that it is downloaded from its job once more, or
 * exported if Clari no longer has the job's rows.  Returns false and does nothing
 * if that would not help: if the process has too many open files, or if it has
 * happened ten times in a row, which means that the cache is too small for what
 * the statement reads at a time.
 */
extern bool clari_export_look_again(ClariExport *export, const ClariError *error);

/* The freshness that the table's options require, for a statement that began at since. */
extern ClariFreshness clari_export_freshness(const ClariOptions *options, TimestampTz since);

/* Is the version fresh enough for a statement that began at since? */
extern bool clari_export_is_fresh(const ClariOptions *options, const ClariVersion *version, TimestampTz since);

/* Looks one export up without queuing anything.  Returns whether there is a rowset that serves. */
extern bool clari_export_find(const ClariFreshness *freshness, ClariExport *export);

/*
 * The current quarter according to a cached rowset for these options, however
 * old; CLARI_PERIOD_NONE if there is none.  Makes no export.
 */
extern ClariPeriod clari_export_known_current(const ClariOptions *options);

/*
 * The quarter that is probably the current one: the one in Clari's last answer,
 * or the one after it if a quarter has ended since, according to the account's
 * calendar.  Without such an answer, the quarter in which today is, if exports
 * have shown its days or those of a neighbor.  CLARI_PERIOD_NONE if nothing is
 * known, or more than one quarter seems to have ended, for example because the
 * clock was set or the calendar is wrong.
 */
extern ClariPeriod clari_export_likely_current(const ClariOptions *options);

/*
 * Sets *numbering to how the months and years of the options' forecast are
 * numbered, as far as it is known from cached exports of the account.  Without
 * authentication nothing is known.  Raises an error only if OpenSSL fails.
 */
extern void clari_export_numbering(const ClariOptions *options, ClariNumbering *numbering);

/*
 * The quarter with which a ready export without a period was answered, which is
 * the current one.  Raises ERRCODE_FDW_UNABLE_TO_CREATE_REPLY if the answer has
 * none.
 */
extern ClariPeriod clari_export_told_current(const ClariExport *export);

/*
 * Warns about a ready export if its rows are stale, with their age and the
 * reason, or if it could not be cached as it should.
 */
extern void clari_export_warn(const ClariExport *export);

/* Reports that Clari has truncated the export: as a warning if that is allowed, else as an error. */
extern void clari_export_report_truncated(const ClariRowsetMeta *meta, bool allowed);

/* Warns that amounts are null because Clari does not export them, which the rows do not show. */
extern void clari_export_report_missing_types(const ClariRowsetMeta *meta);

/* The condition for which a session waits.  May queue exports, and may raise errors. */
typedef bool (*ClariCondition)(void *arg);

/*
 * Sleeps until condition(arg) is true, or timeout_ms (-1: no limit) have passed;
 * in the second case it returns false.  It can be interrupted, and raises an
 * error when the patience (NULL: the call's own) has ended, as
 * clari_export_wait() does.
 */
extern bool clari_export_sleep(ClariCondition condition, void *arg, long timeout_ms, ClariPatience *patience);

#endif /* CLARI_EXPORT_H */
