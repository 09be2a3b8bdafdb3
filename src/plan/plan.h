/*
 * plan.h
 *		The planner's callbacks, and what a plan passes to its scan.
 */
#ifndef CLARI_PLAN_H
#define CLARI_PLAN_H

#include "postgres.h"

#include "foreign/fdwapi.h"
#include "nodes/pathnodes.h"

/*
 * Elements of ForeignScan.fdw_private.  fdw_exprs has the pruning expressions first,
 * then the filters.
 *
 * A scan with scanrelid 0 counts the rows of the only relation in fs_relids.  Its
 * tuples begin with the columns of that relation, so that pruning expressions can
 * refer to these by their usual numbers.  They end with the counts, which are the
 * only columns that are not NULL.
 */
enum
{
	CLARI_PLAN_NEEDED,  /* List of int: attribute numbers that the scan must fill */
	CLARI_PLAN_PRUNING, /* Integer: how many expressions prune */
	CLARI_PLAN_CHILD,   /* Integer: 1 if the scan is of a child or a branch, whose siblings may have other periods */
	CLARI_PLAN_BY_ROWS  /* Integer: 1 if rows of other relations choose the periods, one row at a time */
};

/* FdwRoutine's callbacks, as PostgreSQL describes them.  None uses the network. */
extern void clariGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid);
extern void clariGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid);
extern void clariGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel,
									  RelOptInfo *output_rel, void *extra);
extern ForeignScan *clariGetForeignPlan(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid,
										ForeignPath *best_path, List *tlist, List *scan_clauses, Plan *outer_plan);

/* Always true.  clariGetForeignPaths() decides which paths are parallel safe. */
extern bool clariIsForeignScanParallelSafe(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte);

#endif /* CLARI_PLAN_H */
