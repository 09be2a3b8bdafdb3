/*
 * fetch.h
 *		A session's one door: from a scan's periods to opened rowsets.
 *
 * All clari scans of a statement share one ClariStatement: exports are queued
 * for all of them at the first fetch of any, and each identity has one version
 * throughout.  Waits interruptibly.  Knows no HTTP and no plan nodes.
 */
#ifndef CLARI_FETCH_H
#define CLARI_FETCH_H

#include "postgres.h"

#include "cache.h"
#include "options.h"
#include "period.h"
#include "reader.h"

typedef struct ClariStatement ClariStatement;
typedef struct ClariFetch ClariFetch;

/*
 * Narrows the extent's quarters (ascending, in periods) down to those that the
 * scan can need, in place; returns how many are left.  May raise.
 */
typedef int (*ClariChooser)(void *arg, ClariPeriod *periods, int count);

/*
 * The statement that context (the executor's per-query context) belongs to;
 * made at the first call, gone with the context.
 */
extern ClariStatement *clari_fetch_statement(MemoryContext context);

/*
 * Joins a scan to the statement.  options must be authenticated and outlive the
 * context.  With eager, the scan's periods can be chosen as soon as any scan of
 * the statement fetches; without, only when it fetches itself (they depend on
 * values that come with execution).
 */
extern ClariFetch *
clari_fetch_begin(ClariStatement *statement, const ClariOptions *options, bool eager, ClariChooser choose, void *arg);

/*
 * The next rowset of the scan, whichever is ready first; NULL when all were
 * returned.  Queues what is missing, waits for it, acts on interrupts.  Raises
 * the error of a failed export; warns of one that answered another quarter,
 * which has no rows.  The reader is the statement's.
 */
extern ClariReader *clari_fetch_next(ClariFetch *fetch);

/* From the first rowset again; with choose_again, after choosing the periods anew. */
extern void clari_fetch_rescan(ClariFetch *fetch, bool choose_again);

/* ------- without a scan: functions and procedures ------- */

/* One period's export as asked for by clari_prefetch() and its like. */
typedef struct ClariWanted
{
	ClariRequest request;
	ClariKey key;
	uint64 flight;        /* what it waits for, 0: nothing */
	ClariLookup state;    /* after clari_fetch_poll() */
	ClariVersion version; /* when ready */
	ClariError error;     /* when failed */
} ClariWanted;

/*
 * Fills in wanted for a period of the options' table (text; empty: the current
 * quarter).  Raises only if OpenSSL fails.
 */
extern void clari_fetch_want(const ClariOptions *options, const char *period, ClariWanted *wanted);

/* Looks each of count up that is not yet ready or failed, queueing what is missing; true if none is left open. */
extern bool
clari_fetch_poll(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted, int count);

/*
 * Polls until none is left open, or for at most timeout_ms (-1: no bound);
 * false when time was up.  Acts on interrupts; holds no lock, needs no snapshot.
 * Raises an error when no worker can be had for ten seconds.
 */
extern bool clari_fetch_wait(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted,
							 int count, long timeout_ms);

/*
 * What the cache holds for a quarter (text), however old, under its own name or
 * as the current one: for estimates and EXPLAIN.  Queues nothing.
 */
extern bool clari_fetch_peek(const ClariOptions *options, const char *period, ClariVersion *version);

/*
 * The current quarter as a rowset cached for these options tells it, without
 * exporting; CLARI_PERIOD_NONE when none is cached (fresh or, with any_age, at all).
 */
extern ClariPeriod clari_fetch_current(const ClariOptions *options, bool any_age);

/*
 * Until clari_fetch_unpin(): statements of this session use these versions,
 * whatever their age.  For clari_sync, which stages what it has just waited for.
 * The array stays the caller's.
 */
extern void clari_fetch_pin(const ClariWanted *wanted, int count);
extern void clari_fetch_unpin(void);

#endif /* CLARI_FETCH_H */
