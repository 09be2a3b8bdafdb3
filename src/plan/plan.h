/*
 * plan.h
 *		The planner's callbacks, and what a plan hands to its scan.
 */
#ifndef CLARI_PLAN_H
#define CLARI_PLAN_H

#include "postgres.h"

#include "foreign/fdwapi.h"
#include "nodes/pathnodes.h"

/*
 * Elements of ForeignScan.fdw_private.  fdw_exprs holds first the expressions that prune, then those that filter.
 *
 * A scan without scanrelid counts the rows of the one relation that it is of.  Its
 * tuples have the columns of that relation, so that expressions know them by their
 * numbers, and behind them so many counts, which are all that is filled in.
 */
enum
{
	CLARI_PLAN_NEEDED,  /* List of int: attribute numbers that the scan must fill */
	CLARI_PLAN_PRUNING, /* Integer: how many expressions prune */
	CLARI_PLAN_CHILD,   /* Integer, 1: other relations have rows of what the scan is a part of */
	CLARI_PLAN_BY_ROWS  /* Integer, 1: rows of other relations choose the periods, one row at a time */
};

/* FdwRoutine's callbacks, as PostgreSQL describes them.  None touches the network. */
extern void clariGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid);
extern void clariGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid);
extern void clariGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel,
									  RelOptInfo *output_rel, void *extra);
extern ForeignScan *clariGetForeignPlan(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid,
										ForeignPath *best_path, List *tlist, List *scan_clauses, Plan *outer_plan);

/* Always true: a parallel worker can scan. clariGetForeignPaths() decides when one may. */
extern bool clariIsForeignScanParallelSafe(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte);

#endif /* CLARI_PLAN_H */
