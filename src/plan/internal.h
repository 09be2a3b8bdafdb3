/*
 * internal.h
 *		What planning alone asks of pruning, filters and estimates.
 */
#ifndef CLARI_PLAN_INTERNAL_H
#define CLARI_PLAN_INTERNAL_H

#include "postgres.h"

#include "nodes/pathnodes.h"

#include "clari/attribute.h"
#include "plan/estimate.h"

/*
 * Of the relation's clauses (RestrictInfos), those that prune, as expressions.
 * They compute from columns that show the period or the forecast's name
 * (columns, by attribute number - 1), through PostgreSQL's own functions that
 * raise hardly any error, and from any non-volatile expressions that are the
 * same for all rows of the scan: over constants, parameters, and columns of
 * other relations (which will be parameters).  Of an OR whose arms say more
 * than that, it is what they imply. *exact gets the clauses that are wholly
 * decided by pruning, and need not be checked by row.
 */
extern List *
clari_prune_select(List *restrictinfos, Index relid, TupleDesc tupdesc, const ClariColumn *columns, List **exact);

/* Does the expression compute from the relation's period alone, so that what equals it prunes? */
extern bool clari_prune_is_of_period(Node *expression, Index relid, TupleDesc tupdesc, const ClariColumn *columns);

/*
 * Of the relation's clauses (RestrictInfos), those that a filter can decide.
 * The other side of a comparison may be anything that is the same for all of
 * the scan's rows: constants, parameters, columns of outer relations.
 */
extern List *clari_filter_select(List *restrictinfos, Index relid, TupleDesc tupdesc, const ClariColumn *columns);

/* Corrects the widths of the relation's columns. */
extern void clari_estimate_widths(const ClariEstimate *estimate, RelOptInfo *rel);

#endif /* CLARI_PLAN_INTERNAL_H */
