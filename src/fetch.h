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

#include "options.h"
#include "period.h"
#include "reader.h"
#include "wanted.h"

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

#endif /* CLARI_FETCH_H */
