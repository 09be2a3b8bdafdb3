/*
 * export.h
 *		One export as a session wants it: looked up, queued, waited for.
 *
 * Scans (fetch.c), functions and clari_sync all come through here.  Waits
 * interruptibly; knows no scan, no HTTP, no rowset's bytes.
 */
#ifndef CLARI_EXPORT_H
#define CLARI_EXPORT_H

#include "postgres.h"

#include "cache/cache.h"
#include "clari/period.h"
#include "options/options.h"

/*
 * The flights that a statement, or a function's call, wants until its memory
 * context is reset: by its end, or by an error.
 */
typedef struct ClariInterest ClariInterest;

extern ClariInterest *clari_interest_make(MemoryContext context);

/* From now on these flights go on although nobody wants them any more. */
extern void clari_interest_keep(const ClariInterest *interest);

/* The flight is not wanted any more: as clari_cache_leave() says.  Nothing if it is none of these. */
extern void clari_interest_leave(ClariInterest *interest, uint64 flight);

/* One export as a session wants it. */
typedef struct ClariExport
{
	ClariRequest request;
	ClariKey key;
	ClariInterest *interest; /* counts its flight as wanted; NULL: nobody waits for it */
	uint64 flight;           /* the flight that is waited for, or was last; 0: none */
	bool flew;               /* it was not there at once: a flight was waited for */
	TimestampTz queued_at;   /* when this session queued it; 0: others did, or nobody */
	ClariLookup state;       /* after clari_export_poll(): ready (also when stale), failed, or still open */
	ClariVersion version;    /* when ready */
	ClariError error;        /* why it failed; when ready, what is to be warned of, if it has a code */
	bool stale;              /* it is ready with stale rows; the error says why they could not be renewed */
	int failed_openings;     /* how many versions were gone or damaged when they were to be opened */
} ClariExport;

/*
 * Describes the export of a period of the options' table (text; empty: the current
 * quarter).  Raises only if OpenSSL fails.
 */
extern void
clari_export_init(const ClariOptions *options, const char *period, ClariInterest *interest, ClariExport *export);

/* Looks up each of the exports that is not ready or failed yet, and queues what is missing; true if none is left open. */
extern bool
clari_export_poll(const ClariOptions *options, const ClariFreshness *freshness, ClariExport *exports, int count);

/*
 * Since when no worker can be had, in milliseconds of clari_clock_now(); 0: one
 * can.  Whoever waits in several calls passes the same variable to all of them,
 * beginning with 0, so that they have one time-out together.
 */
typedef int64 ClariPatience;

/*
 * Polls until none is left open, or for at most timeout_ms (-1: no bound);
 * false when time was up.  Acts on interrupts; holds no lock, needs no snapshot.
 * Raises an error when no worker can be had for ten seconds: of this call, or of
 * all those that share the patience.
 */
extern bool clari_export_wait(const ClariOptions *options, const ClariFreshness *freshness, ClariExport *exports,
							  int count, long timeout_ms, ClariPatience *patience);

/*
 * What the cache holds for a quarter (text), however old, under its own name or
 * as the current one: for estimates and EXPLAIN.  Queues nothing.
 */
extern bool clari_export_peek(const ClariOptions *options, const char *period, ClariVersion *version);

/*
 * The version that it has could not be opened, for that error: the cache drops the
 * version, and the export is to be looked up again.  It comes from its job once
 * more; or from a new export, if Clari has that no longer.  False, and nothing is
 * done, where that would not help: the process has too many files open, or the
 * version was evicted ten times in a row, which is no chance any more, but a cache
 * too small for what the statement reads at a time.
 */
extern bool clari_export_look_again(ClariExport *export, const ClariError *error);

/* What the table's options say, for a statement that began at since. */
extern ClariFreshness clari_export_freshness(const ClariOptions *options, TimestampTz since);

/* Would the version serve a statement that began at since, without an export? */
extern bool clari_export_is_fresh(const ClariOptions *options, const ClariVersion *version, TimestampTz since);

/* Looks one export up without queuing anything: is there a rowset that serves? */
extern bool clari_export_find(const ClariFreshness *freshness, ClariExport *export);

/*
 * The current quarter as a rowset cached for these options tells it, however
 * old, without exporting; CLARI_PERIOD_NONE when none is cached.
 */
extern ClariPeriod clari_export_known_current(const ClariOptions *options);

/*
 * The quarter that is likely to be the current one: the one that Clari called so last,
 * or the next if by the account's calendar a quarter has ended since.  Where Clari has
 * called none so, the one that today is in, if exports have told of it or of one beside
 * it.  CLARI_PERIOD_NONE: nothing tells, or more than one quarter seems to have ended,
 * as when the clock was set or the calendar is wrong.
 */
extern ClariPeriod clari_export_likely_current(const ClariOptions *options);

/*
 * How the months and years of the options' forecast are numbered, as far as
 * exports that are cached for the same account tell.  Without authentication nothing
 * is known.  Raises only if OpenSSL fails.
 */
extern void clari_export_numbering(const ClariOptions *options, ClariNumbering *numbering);

/*
 * The quarter that a ready export without a period was answered with: the
 * current one.  Raises ERRCODE_FDW_UNABLE_TO_CREATE_REPLY if it does not tell.
 */
extern ClariPeriod clari_export_told_current(const ClariExport *export);

/* Warns of a ready export that its rows are stale, how old and why; or that it could not be cached as it should. */
extern void clari_export_warn(const ClariExport *export);

/* Raises an error that Clari has truncated the export; or where that is allowed, warns of it. */
extern void clari_export_report_truncated(const ClariRowsetMeta *meta, bool allowed);

/* Warns of amounts that are null since Clari does not export them, which the rows do not tell. */
extern void clari_export_report_missing_types(const ClariRowsetMeta *meta);

/* What a session waits for: has it come?  May queue more, may raise. */
typedef bool (*ClariCondition)(void *arg);

/*
 * Sleeps until condition(arg) holds; false when timeout_ms (-1: no bound) were over
 * first.  Acts on interrupts; raises when the patience (NULL: the call's own) is over.
 */
extern bool clari_export_sleep(ClariCondition condition, void *arg, long timeout_ms, ClariPatience *patience);

#endif /* CLARI_EXPORT_H */
