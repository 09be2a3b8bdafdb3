/*
 * internal.h
 *		The parts of pruning, filters and estimates that only planning uses.
 */
#ifndef CLARI_PLAN_INTERNAL_H
#define CLARI_PLAN_INTERNAL_H

#include "postgres.h"

#include "nodes/pathnodes.h"

#include "clari/attribute.h"
#include "plan/estimate.h"

/* Clauses by how they are used.  One that prunes but is not exact is also in filters or checked. */
typedef struct ClariClauses
{
	List *pruning; /* expressions that choose the quarters */
	List *exact;   /* RestrictInfos that are decided by the choice of quarters */
	List *filters; /* RestrictInfos that are tested before a row is formed */
	List *checked; /* RestrictInfos that the executor checks for each row */
} ClariClauses;

/* RelOptInfo.fdw_private of a foreign table, which the planner's callbacks share. */
typedef struct ClariPlanInfo
{
	ClariEstimate estimate; /* first, for clari_estimate_init() */
	const ClariOptions *options;
	TupleDesc tupdesc;
	ClariColumn *columns; /* by attribute number - 1 */
	ClariClauses clauses; /* the relation's restriction clauses, without join clauses */
	bool safe;            /* clari_prune_is_safe() is true for all pruning clauses */
} ClariPlanInfo;

/* ------- prune.c ------- */

/*
 * Selects the expressions that prune from the relation's clauses (RestrictInfos).
 * columns is indexed by attribute number - 1.  A pruning expression depends only on
 * columns that show the period or the forecast's name, and on expressions that are
 * the same for all rows of the scan: constants, parameters, and columns of other
 * relations, which become parameters.  It is not volatile, and what it computes
 * from the columns uses only built-in functions that hardly ever raise an error.
 * A clause with AND or OR that tests more is replaced by what it implies, if that
 * prunes.  *exact gets the clauses that are decided by pruning and need not be
 * checked for each row.  There are none if an export may have rows of several
 * periods.
 */
extern List *clari_prune_select(List *restrictinfos, Index relid, const ClariOptions *options, TupleDesc tupdesc,
								const ClariColumn *columns, List **exact);

/* Does the expression depend only on the relation's period, so that an equality with it prunes? */
extern bool clari_prune_is_of_period(Node *expression, Index relid, const ClariOptions *options, TupleDesc tupdesc,
									 const ClariColumn *columns);

/* ------- filter.c ------- */

/*
 * Selects those of the relation's clauses (RestrictInfos) that a filter can decide.
 * The other side of a comparison may be anything that is the same for all rows of
 * the scan: constants, parameters, columns of outer relations.
 */
extern List *clari_filter_select(List *restrictinfos, Index relid, TupleDesc tupdesc, const ClariColumn *columns);

/* Is the expression a column of the relation that a filter can test, so that an equality with it is a filter? */
extern bool clari_filter_is_of_column(Node *expression, Index relid, TupleDesc tupdesc, const ClariColumn *columns);

/* The column that a filter clause compares with "="; InvalidAttrNumber if the clause is IN or IS [NOT] NULL. */
extern AttrNumber clari_filter_compared_column(const RestrictInfo *filter, Index relid);

/* ------- estimate.c ------- */

/* Replaces the planner's default widths of the relation's columns by those of cached rowsets. */
extern void clari_estimate_widths(const ClariEstimate *estimate, RelOptInfo *rel);

/* What must be read in the cached rowsets to find the rows that have a certain value. */
typedef struct ClariSearch
{
	double hashes; /* how many hashes are compared; 0 if the column has none */
	double groups; /* how many row groups are opened */
	bool checked;  /* groups of a large rowset are read from its file and verified each time */
} ClariSearch;

/* Estimates a search for a value of the column; with InvalidAttrNumber, of a column without hashes. */
extern ClariSearch clari_estimate_search(const ClariEstimate *estimate, AttrNumber attnum);

/* ------- count.c ------- */

/* Of a path that counts: the counted relation, the expressions of HAVING, and its tuples' columns (see plan.h). */
extern RelOptInfo *clari_count_relation(const ForeignPath *path);
extern List *clari_count_having(const ForeignPath *path);
extern List *clari_count_columns(const ForeignPath *path);

#endif /* CLARI_PLAN_INTERNAL_H */
