/*
 * fetch.h
 *		From a scan's periods to opened rowsets.
 *
 * All scans of a statement share one ClariStatement: the first fetch of any scan
 * queues the exports for all of them, and each identity has one version
 * throughout the statement.  Waits can be interrupted.  Nothing here deals with
 * HTTP or plan nodes.
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

/* Defines the setting clari_fdw.wait_notice_delay.  Called by _PG_init(). */
extern void clari_fetch_init(void);

/*
 * Removes from the quarters of the extent (ascending, in periods) those that the
 * scan does not need, in place; returns how many are left.  With trial, the
 * current quarter is only assumed, and the user must not be notified of anything.
 * May raise errors.
 */
typedef int (*ClariChooser)(void *arg, ClariPeriod *periods, int count, bool trial);

/*
 * The statement to which context (the executor's per-query context) belongs.  It
 * is created by the first call, and freed with the context.
 */
extern ClariStatement *clari_fetch_statement(MemoryContext context);

/*
 * Adds a scan to the statement.  options must be authenticated, and live at least
 * as long as the context.  With eager, the scan's periods can be chosen as soon
 * as any scan of the statement fetches; otherwise only when it fetches itself,
 * because they depend on values that are set during execution.
 */
extern ClariFetch *
clari_fetch_begin(ClariStatement *statement, const ClariOptions *options, bool eager, ClariChooser choose, void *arg);

/* Adds a scan of exactly these rowsets to the statement.  The array and the readers remain the caller's. */
extern ClariFetch *clari_fetch_begin_handed(ClariStatement *statement, ClariReader **readers, int count);

/*
 * Returns the next rowset of the scan, in the order in which they become ready;
 * NULL after the last.  Queues exports that are missing and waits for them, which
 * can be interrupted; a notice tells the user once in a statement, after
 * clari_fdw.wait_notice_delay.  Raises the error of an export that failed.  Warns
 * about an export that was answered with another quarter; it has no rows.  The
 * reader belongs to the statement.
 */
extern ClariReader *clari_fetch_next(ClariFetch *fetch);

/* Starts again with the first rowset; with choose_again, chooses the periods again. */
extern void clari_fetch_rescan(ClariFetch *fetch, bool choose_again);

/* Removes the scan from the statement, so that it is no longer asked for its periods. */
extern void clari_fetch_end(ClariFetch *fetch);

/* ------- for EXPLAIN ANALYZE ------- */

/* A rowset that the scan has read. */
typedef struct ClariSource
{
	char period[CLARI_PERIOD_TEXT_SIZE];
	const char *from; /* memory, disk, export, stale */
} ClariSource;

/*
 * The rowsets that the scan has read so far, ascending by period, palloc'd in the
 * current context; *count is set to their number.
 */
extern ClariSource *clari_fetch_sources(const ClariFetch *fetch, int *count);

/*
 * The number of exports that this scan, as the first of the statement to want
 * them, has queued; Clari makes a job for each.  An export that took up an older
 * job is not counted.
 */
extern int clari_fetch_jobs(const ClariFetch *fetch);

/* The time in milliseconds that the scan has waited for exports. */
extern double clari_fetch_waited(const ClariFetch *fetch);

#endif /* CLARI_FETCH_H */
