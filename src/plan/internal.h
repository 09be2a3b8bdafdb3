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

/* Clauses by what is done with them.  One that prunes in part only is among the others, too. */
typedef struct ClariClauses
{
	List *pruning; /* expressions that choose the quarters */
	List *exact;   /* RestrictInfos that are wholly decided by the quarter */
	List *filters; /* those that are tested before a row is formed */
	List *checked; /* those that the executor checks */
} ClariClauses;

/* RelOptInfo.fdw_private of a foreign table: what one callback of the planner finds out for the next. */
typedef struct ClariPlanInfo
{
	ClariEstimate estimate; /* first, for clari_estimate_init() */
	const ClariOptions *options;
	TupleDesc tupdesc;
	ClariColumn *columns; /* by attribute number - 1 */
	ClariClauses clauses; /* that are about this relation alone */
	bool safe;            /* what prunes can be evaluated even if the scan never takes place */
} ClariPlanInfo;

/* ------- prune.c ------- */

/*
 * Of the relation's clauses (RestrictInfos), those that prune, as expressions.
 * They compute from columns that show the period or the forecast's name
 * (columns, by attribute number - 1), through PostgreSQL's own functions that
 * raise hardly any error, and from any non-volatile expressions that are the
 * same for all rows of the scan: over constants, parameters, and columns of
 * other relations (which will be parameters).  Of an OR whose arms say more
 * than that, it is what they imply. *exact gets the clauses that are wholly
 * decided by pruning, and need not be checked by row: none where an export may
 * have rows of several periods.
 */
extern List *clari_prune_select(List *restrictinfos, Index relid, const ClariOptions *options, TupleDesc tupdesc,
								const ClariColumn *columns, List **exact);

/* Does the expression compute from the relation's period alone, so that what equals it prunes? */
extern bool clari_prune_is_of_period(Node *expression, Index relid, const ClariOptions *options, TupleDesc tupdesc,
									 const ClariColumn *columns);

/* ------- filter.c ------- */

/*
 * Of the relation's clauses (RestrictInfos), those that a filter can decide.
 * The other side of a comparison may be anything that is the same for all of
 * the scan's rows: constants, parameters, columns of outer relations.
 */
extern List *clari_filter_select(List *restrictinfos, Index relid, TupleDesc tupdesc, const ClariColumn *columns);

/* Is the expression a column of the relation that a filter can test, so that what equals it is a filter? */
extern bool clari_filter_is_of_column(Node *expression, Index relid, TupleDesc tupdesc, const ClariColumn *columns);

/* The column whose values a filter of the relation compares with one other; InvalidAttrNumber: it does something else. */
extern AttrNumber clari_filter_compared_column(const RestrictInfo *filter, Index relid);

/* ------- estimate.c ------- */

/* Corrects the widths of the relation's columns. */
extern void clari_estimate_widths(const ClariEstimate *estimate, RelOptInfo *rel);

/* What is looked at to find the rows that have a certain value. */
typedef struct ClariSearch
{
	double hashes; /* how many values' hashes; 0: there are none of the column */
	double groups; /* how many row groups are opened */
	bool checked;  /* their bytes come from files, and are checked each time */
} ClariSearch;

/* By a value of the column; with InvalidAttrNumber, by one that no hash is of. */
extern ClariSearch clari_estimate_search(const ClariEstimate *estimate, AttrNumber attnum);

/* ------- count.c ------- */

/* Of a path that counts: the relation whose rows it counts, what HAVING says, and its tuples' columns as plan.h has them. */
extern RelOptInfo *clari_count_relation(const ForeignPath *path);
extern List *clari_count_having(const ForeignPath *path);
extern List *clari_count_columns(const ForeignPath *path);

#endif /* CLARI_PLAN_INTERNAL_H */
