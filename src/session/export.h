/*
 * export.h
 *		Exports in a session: looking them up, queuing them, and waiting for them.
 *
 * Scans (fetch.c), functions and clari_sync all use this.  Waits can be
 * interrupted.  It knows nothing of scans, HTTP or the bytes of rowsets.
 */
#ifndef CLARI_EXPORT_H
#define CLARI_EXPORT_H

#include "postgres.h"

#include "cache/cache.h"
#include "clari/period.h"
#include "options/options.h"

/*
 * The flights that a statement, or the call of a function, wants.  They are left
 * when its memory context is reset, at its end or after an error.
 */
typedef struct ClariInterest ClariInterest;

extern ClariInterest *clari_interest_make(MemoryContext context);

/* Makes these flights continue even if nobody wants them any more. */
extern void clari_interest_keep(const ClariInterest *interest);

/* Calls clari_cache_leave() for the flight, if it is one of these. */
extern void clari_interest_leave(ClariInterest *interest, uint64 flight);

/* An export that a session wants. */
typedef struct ClariExport
{
	ClariRequest request;
	ClariKey key;
	ClariInterest *interest; /* keeps its flight wanted; NULL: the session is not counted as waiter */
	uint64 flight;           /* the flight that the session waits for or has waited for last; 0: none */
	bool flew;               /* the cache could not serve it at once, so there was a flight to wait for */
	TimestampTz queued_at;   /* when this session queued it; 0: it has not */
	ClariLookup state;       /* after clari_export_poll(): ready (also if stale), failed, or anything else if open */
	ClariVersion version;    /* if ready */
	ClariError error;        /* why it failed; or if ready, a warning if it has a code */
	bool stale;              /* it is ready with stale rows; if error has a code, it says why the renewal failed */
	int failed_openings;     /* how often opening its version has failed */
} ClariExport;

/*
 * Initializes the export of a period (text; empty: the current quarter) with these
 * options.  Raises an error only if OpenSSL fails.
 */
extern void
clari_export_init(const ClariOptions *options, const char *period, ClariInterest *interest, ClariExport *export);

/* Looks up those of the exports that are open (neither ready nor failed), and queues missing ones; true: none is open. */
extern bool
clari_export_poll(const ClariOptions *options, const ClariFreshness *freshness, ClariExport *exports, int count);

/*
 * The time (clari_clock_now(), ms) since which workers could not be started; 0:
 * they could.  A caller that waits in several calls passes the same variable,
 * initially 0, to all of them, so that they share one time-out.
 */
typedef int64 ClariPatience;

/*
 * Polls until no export is open, or for at most timeout_ms (-1: no limit); false:
 * time was up.  Processes interrupts, holds no lock, and needs no snapshot.  Raises
 * an error if no worker could be started for ten seconds of this call, or of all
 * calls that share the patience.
 */
extern bool clari_export_wait(const ClariOptions *options, const ClariFreshness *freshness, ClariExport *exports,
							  int count, long timeout_ms, ClariPatience *patience);

/*
 * Finds the cached version of a quarter (text), regardless of its age, exported by
 * its name or as the current one; false: there is none.  For estimates and
 * EXPLAIN.  Queues nothing.
 */
extern bool clari_export_peek(const ClariOptions *options, const char *period, ClariVersion *version);

/*
 * To be called when the export's version could not be opened because of the error.
 * Drops the version from the cache and makes the export open, so that the next
 * look-up gets the rows from the job again, or from a new export if Clari does not
 * have the job any more.  Returns false and does nothing if that would not help:
 * if the process has too many open files, or if opening has failed ten times
 * before, usually because the cache is too small for what the statement reads at a
 * time.
 */
extern bool clari_export_look_again(ClariExport *export, const ClariError *error);

/* Returns the freshness that the options require in a statement that began at since. */
extern ClariFreshness clari_export_freshness(const ClariOptions *options, TimestampTz since);

/* Would the version serve a statement that began at since, without an export? */
extern bool clari_export_is_fresh(const ClariOptions *options, const ClariVersion *version, TimestampTz since);

/* Looks one export up without queuing anything; true: it is ready. */
extern bool clari_export_find(const ClariFreshness *freshness, ClariExport *export);

/*
 * Returns the current quarter according to the cached export without a period,
 * regardless of its age; CLARI_PERIOD_NONE: none is cached.
 */
extern ClariPeriod clari_export_known_current(const ClariOptions *options);

/*
 * Returns the quarter that is likely to be the current one.  That is the last one with
 * which Clari answered an export without a period, or the next one if, by the account's
 * calendar, a quarter has ended since.  If no such answer is cached, it is the quarter
 * that today is in, if the calendar has that quarter or one next to it.
 * CLARI_PERIOD_NONE: it is not known, or more than one quarter seems to have ended, for
 * example because the clock was set or the calendar is wrong.
 */
extern ClariPeriod clari_export_likely_current(const ClariOptions *options);

/*
 * Determines how the months and years of the options' forecast are numbered, from the
 * cached exports of the account.  Without authentication nothing is known.  Raises an
 * error only if OpenSSL fails.
 */
extern void clari_export_numbering(const ClariOptions *options, ClariNumbering *numbering);

/*
 * Returns the quarter with which Clari answered a ready export without a period,
 * which is the current one.  Raises ERRCODE_FDW_UNABLE_TO_CREATE_REPLY if the
 * export does not say which it is.
 */
extern ClariPeriod clari_export_told_current(const ClariExport *export);

/* Reports the warning of a ready export, if it has one; of stale rows, with their age and why they were not renewed. */
extern void clari_export_warn(const ClariExport *export);

/* Reports that Clari has truncated the export: as a warning if that is allowed, else as an error. */
extern void clari_export_report_truncated(const ClariRowsetMeta *meta, bool allowed);

/* Warns of amounts that are null because Clari does not export them, which the rows do not show. */
extern void clari_export_report_missing_types(const ClariRowsetMeta *meta);

/* Returns whether what a session waits for has happened.  It may queue exports, and may raise an error. */
typedef bool (*ClariCondition)(void *arg);

/*
 * Sleeps until condition(arg) holds; false: it did not within timeout_ms (-1: no
 * limit).  Processes interrupts.  Raises an error if no worker could be started for ten
 * seconds, as clari_export_wait() does; without a patience (NULL), this call has its own.
 */
extern bool clari_export_sleep(ClariCondition condition, void *arg, long timeout_ms, ClariPatience *patience);

#endif /* CLARI_EXPORT_H */
