/*
 * fetch.h
 *		Fetching the rowsets of scans: from periods to opened rowsets.
 *
 * All scans of a statement share one ClariStatement.  When any of them fetches for
 * the first time, exports are queued for all scans whose periods can be chosen by
 * then, and all of them read the same version of an export.  Waits can be
 * interrupted.  It knows nothing of HTTP and plan nodes.
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

/* Defines the setting clari_fdw.wait_notice_delay; to be called once in a process. */
extern void clari_fetch_init(void);

/*
 * Reduces periods, the extent's quarters in ascending order, to those that the scan
 * may need, in place; returns how many are left.  If trial, the current quarter is
 * only assumed, and nothing is to be reported to the user.  May raise an error.
 */
typedef int (*ClariChooser)(void *arg, ClariPeriod *periods, int count, bool trial);

/*
 * Returns the statement of context, the executor's per-query context.  It is made at
 * the first call and ends with the context.
 */
extern ClariStatement *clari_fetch_statement(MemoryContext context);

/*
 * Adds a scan to the statement.  options must be authenticated, and must live as
 * long as the statement.  If eager, the scan's periods are chosen as soon as any
 * scan of the statement fetches; otherwise only when the scan itself fetches,
 * because they depend on values that are not known before.
 */
extern ClariFetch *
clari_fetch_begin(ClariStatement *statement, const ClariOptions *options, bool eager, ClariChooser choose, void *arg);

/* Adds a scan of rowsets that are handed over to the statement.  The caller still owns the array and the readers. */
extern ClariFetch *clari_fetch_begin_handed(ClariStatement *statement, ClariReader **readers, int count);

/*
 * Returns the next rowset of the scan, whichever is ready first; NULL: all have been
 * returned.  Queues missing exports and waits for them, processing interrupts.
 * After clari_fdw.wait_notice_delay, notifies the user, once in a statement.  Raises
 * the error of a failed export; warns of one that Clari answered with another
 * quarter, which has no rows.  The statement owns the reader.
 */
extern ClariReader *clari_fetch_next(ClariFetch *fetch);

/* Makes the scan start again from its first rowset; if choose_again, after choosing its periods again. */
extern void clari_fetch_rescan(ClariFetch *fetch, bool choose_again);

/* Removes the scan from the statement, so that its chooser is not called any more. */
extern void clari_fetch_end(ClariFetch *fetch);

/* ------- for EXPLAIN ANALYZE ------- */

/* One rowset that the scan has read. */
typedef struct ClariSource
{
	char period[CLARI_PERIOD_TEXT_SIZE];
	const char *from; /* memory, disk, export, stale */
} ClariSource;

/* Returns what the scan has read so far, ascending by period, palloc'd; *count is their number. */
extern ClariSource *clari_fetch_sources(const ClariFetch *fetch, int *count);

/*
 * Returns for how many exports this scan has caused a job.  If several scans of the
 * statement want an export, it counts for the first of them.
 */
extern int clari_fetch_jobs(const ClariFetch *fetch);

/* Returns how long (ms) the scan has waited for exports. */
extern double clari_fetch_waited(const ClariFetch *fetch);

#endif /* CLARI_FETCH_H */
