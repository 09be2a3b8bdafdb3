/*
 * fetch.h
 *		A session's one door: from a scan's periods to opened rowsets.
 *
 * All scans of a statement share one ClariStatement: exports are queued
 * for all of them at the first fetch of any, and each identity has one version
 * throughout.  Waits interruptibly.  Knows no HTTP and no plan nodes.
 */
#ifndef CLARI_FETCH_H
#define CLARI_FETCH_H

#include "postgres.h"

#include "clari/period.h"
#include "options/options.h"
#include "session/export.h"
#include "session/reader.h"

typedef struct ClariStatement ClariStatement;
typedef struct ClariFetch ClariFetch;

/* Defines the setting clari_fdw.wait_notice_delay; called once in a process. */
extern void clari_fetch_init(void);

/*
 * Narrows the extent's quarters (ascending, in periods) down to those that the
 * scan can need, in place; returns how many are left.  Of a likely extent, before
 * the current quarter is known, this is a trial, of which nobody is to be told.
 * May raise.
 */
typedef int (*ClariChooser)(void *arg, ClariPeriod *periods, int count, bool trial);

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

/* Joins a scan of exactly these rowsets to the statement.  The array and the readers stay the caller's. */
extern ClariFetch *clari_fetch_begin_handed(ClariStatement *statement, ClariReader **readers, int count);

/*
 * The next rowset of the scan, whichever is ready first; NULL when all were
 * returned.  Queues what is missing, waits for it, acts on interrupts; says so,
 * once in a statement, after clari_fdw.wait_notice_delay.  Raises
 * the error of a failed export; warns of one that answered another quarter,
 * which has no rows.  The reader is the statement's.
 */
extern ClariReader *clari_fetch_next(ClariFetch *fetch);

/* Begins again from the first rowset; with choose_again, after choosing the periods anew. */
extern void clari_fetch_rescan(ClariFetch *fetch, bool choose_again);

/* The scan leaves the statement: it is not to be asked any more what it wants. */
extern void clari_fetch_end(ClariFetch *fetch);

/* ------- for EXPLAIN ANALYZE ------- */

/* One rowset that the scan has read. */
typedef struct ClariSource
{
	char period[CLARI_PERIOD_TEXT_SIZE];
	const char *from; /* memory, disk, export, stale */
} ClariSource;

/* What the scan has read so far, ascending by period, palloc'd in the current context; their number in *count. */
extern ClariSource *clari_fetch_sources(const ClariFetch *fetch, int *count);

/* How many exports this scan has queued, before any other of the statement wanted them: Clari makes a job for each. */
extern int clari_fetch_jobs(const ClariFetch *fetch);

/* For how many ms the scan has waited for exports. */
extern double clari_fetch_waited(const ClariFetch *fetch);

#endif /* CLARI_FETCH_H */
