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
 * Elements of ForeignScan.fdw_private.  fdw_exprs has the expressions that prune,
 * followed by those that filter.
 *
 * A scan without scanrelid counts the rows of a single relation.  Its tuples have
 * that relation's columns, so that expressions can refer to them by number,
 * followed by the counts; only the counts are filled in.
 */
enum
{
	CLARI_PLAN_NEEDED,  /* List of int: attribute numbers that the scan must fill */
	CLARI_PLAN_PRUNING, /* Integer: how many expressions prune */
	CLARI_PLAN_CHILD,   /* Integer, 1: a child or branch of UNION ALL, so that other relations have rows as well */
	CLARI_PLAN_BY_ROWS  /* Integer, 1: the periods depend on a row of another relation, so that each row chooses anew */
};

/* FdwRoutine's callbacks, as described by PostgreSQL. None of them uses the network. */
extern void clariGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid);
extern void clariGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid);
extern void clariGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel,
									  RelOptInfo *output_rel, void *extra);
extern ForeignScan *clariGetForeignPlan(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid,
										ForeignPath *best_path, List *tlist, List *scan_clauses, Plan *outer_plan);

/* Always true: a parallel worker can execute a scan.  clariGetForeignPaths() decides which paths are parallel-safe. */
extern bool clariIsForeignScanParallelSafe(PlannerInfo *root, RelOptInfo *rel, RangeTblEntry *rte);

#endif /* CLARI_PLAN_H */
