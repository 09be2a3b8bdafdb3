/*
 * internal.h
 *		Functions of pruning, filters and estimates that only the planner's
 *		callbacks use.
 */
#ifndef CLARI_PLAN_INTERNAL_H
#define CLARI_PLAN_INTERNAL_H

#include "postgres.h"

#include "nodes/pathnodes.h"

#include "clari/attribute.h"
#include "plan/estimate.h"

/*
 * Clauses by their treatment.  A clause that prunes but does not depend on the
 * quarter alone is also in one of the other lists.
 */
typedef struct ClariClauses
{
	List *pruning; /* expressions that choose the quarters */
	List *exact;   /* RestrictInfos that the quarter decides completely */
	List *filters; /* RestrictInfos that are tested before a row is formed */
	List *checked; /* RestrictInfos that the executor checks */
} ClariClauses;

/* RelOptInfo.fdw_private of a foreign table, which one planner callback fills in for the next. */
typedef struct ClariPlanInfo
{
	ClariEstimate estimate; /* must be first, see clari_estimate_init() */
	const ClariOptions *options;
	TupleDesc tupdesc;
	ClariColumn *columns; /* by attribute number - 1 */
	ClariClauses clauses; /* clauses that refer only to this relation */
	bool safe;            /* see clari_prune_is_safe(), of all pruning expressions */
} ClariPlanInfo;

/* ------- prune.c ------- */

/*
 * Selects from the relation's clauses (RestrictInfos) those that prune, and
 * returns them as expressions.  They may contain columns that show the period or
 * the forecast's name (columns is indexed by attribute number - 1), functions of
 * PostgreSQL that hardly ever raise an error, and any non-volatile expressions
 * with the same value for all rows of the scan: constants, parameters, and
 * columns of other relations, which become parameters.  Of an AND or OR that
 * refers to more than that, the condition that it implies is returned.  *exact is
 * set to the clauses that pruning decides completely, so that rows need not be
 * checked; it is empty if an export may have rows of several periods.
 */
extern List *clari_prune_select(List *restrictinfos, Index relid, const ClariOptions *options, TupleDesc tupdesc,
								const ClariColumn *columns, List **exact);

/* Does the expression depend on the relation's period alone, so that a clause "expression = value" prunes? */
extern bool clari_prune_is_of_period(Node *expression, Index relid, const ClariOptions *options, TupleDesc tupdesc,
									 const ClariColumn *columns);

/* ------- filter.c ------- */

/*
 * Selects from the relation's clauses (RestrictInfos) those that a filter can
 * decide.  The other side of a comparison may be any expression with the same
 * value for all rows of the scan: constants, parameters, columns of outer
 * relations.
 */
extern List *clari_filter_select(List *restrictinfos, Index relid, TupleDesc tupdesc, const ClariColumn *columns);

/*
 * Is the expression a column of the relation that a filter can test, so that a
 * clause "expression = value" is a filter?
 */
extern bool clari_filter_is_of_column(Node *expression, Index relid, TupleDesc tupdesc, const ClariColumn *columns);

/* The column that the filter compares with a single value by "="; InvalidAttrNumber if it is another kind of filter. */
extern AttrNumber clari_filter_compared_column(const RestrictInfo *filter, Index relid);

/* ------- estimate.c ------- */

/* Sets the widths of the relation's columns, as far as statistics are known. */
extern void clari_estimate_widths(const ClariEstimate *estimate, RelOptInfo *rel);

/* The work that it takes to find the rows with a certain value. */
typedef struct ClariSearch
{
	double hashes; /* number of hashes compared; 0: the column has none */
	double groups; /* number of row groups opened */
	bool checked;  /* groups are read from files, and their checksums verified each time */
} ClariSearch;

/* Estimates the work to find a value of the column; with InvalidAttrNumber, of a column without hashes. */
extern ClariSearch clari_estimate_search(const ClariEstimate *estimate, AttrNumber attnum);

/* ------- count.c ------- */

/*
 * Members of a path that counts: the relation whose rows are counted, the HAVING
 * conditions, and the columns of its tuples (see plan.h).
 */
extern RelOptInfo *clari_count_relation(const ForeignPath *path);
extern List *clari_count_having(const ForeignPath *path);
extern List *clari_count_columns(const ForeignPath *path);

#endif /* CLARI_PLAN_INTERNAL_H */
