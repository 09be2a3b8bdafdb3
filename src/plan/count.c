/*
 * count.c
 *		Paths that compute count(*) of a whole table, or of some of its quarters,
 *		from the number of rows that each rowset records.
 *
 * Runs in sessions, while planning.  The scan opens the same versions as one that
 * reads the rows, and raises the same warnings; see scan.c.  Tables of object
 * "forecasts" are not counted this way, since only reading the entries tells
 * whether those of an owner make one row.
 */
#include "postgres.h"

#include "plan/plan.h"

#include "options/columns.h"
#include "plan/internal.h"
#include "compat.h"

#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "utils/fmgroids.h"

/* Elements of ForeignPath.fdw_private. */
enum
{
	COUNT_RELATION, /* RelOptInfo */
	COUNT_HAVING,   /* List of expressions */
	COUNT_COLUMNS   /* List of TargetEntry */
};

/* ------- what can be counted ------- */

/* Is it a column that is the same in all rows of a rowset, is never NULL, and needs no conversion that may fail? */
static bool
is_of_rowset(const Var *var, const RelOptInfo *rel)
{
	const ClariPlanInfo *info = rel->fdw_private;
	const ClariColumn *column;

	if (!IsA(var, Var) || var->varno != (int) rel->relid || var->varlevelsup != 0 || var->varattno <= 0)
		return false;
	column = &info->columns[var->varattno - 1];
	return column->attribute < 0 &&
		   clari_columns_same_type(column->type, TupleDescAttr(info->tupdesc, var->varattno - 1));
}

/* Does the aggregate count each row? */
static bool
counts_rows(const Aggref *aggregate, const RelOptInfo *rel)
{
	const Node *counted;

	if (aggregate->aggfilter != NULL || aggregate->aggdistinct != NIL || aggregate->aggorder != NIL ||
		aggregate->agglevelsup != 0)
		return false;
	if (aggregate->aggfnoid == F_COUNT_)
		return true;
	if (aggregate->aggfnoid != F_COUNT_ANY)
		return false;
	counted = (const Node *) linitial_node(TargetEntry, aggregate->args)->expr;
	return IsA(counted, Const) ? !((const Const *) counted)->constisnull : is_of_rowset((const Var *) counted, rel);
}

/* The distinct aggregates, if all of them count each row and the expressions use nothing else of a row; else NIL. */
static List *
collect_counts(const RelOptInfo *rel, List *expressions)
{
	List *counts = NIL;
	ListCell *cell;

	foreach (cell, pull_var_clause((Node *) expressions, PVC_INCLUDE_AGGREGATES | PVC_RECURSE_PLACEHOLDERS))
	{
		if (!IsA(lfirst(cell), Aggref) || !counts_rows(lfirst(cell), rel))
			return NIL;
		counts = list_append_unique(counts, lfirst(cell));
	}
	return counts;
}

/* Does the relation consist of all rows of some quarters of a single foreign table? */
static bool
is_countable(PlannerInfo *root, const RelOptInfo *rel)
{
	const ClariPlanInfo *info = rel->fdw_private;

	/* An inheritance parent has no plan info of its own. */
	return rel->reloptkind == RELOPT_BASEREL && info != NULL && !planner_rt_fetch(rel->relid, root)->inh &&
		   bms_equal(root->all_baserels, rel->relids) && info->estimate.object != CLARI_OBJECT_FORECASTS &&
		   info->clauses.filters == NIL && info->clauses.checked == NIL;
}

/* ------- the path ------- */

/* The columns that plan.h describes: those of the relation, by their numbers, then the counts. */
static List *
make_columns(const RelOptInfo *rel, List *counts)
{
	TupleDesc tupdesc = ((const ClariPlanInfo *) rel->fdw_private)->tupdesc;
	List *columns = NIL;
	ListCell *cell;

	for (int i = 0; i < tupdesc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, i);
		Expr *expression = attribute->attisdropped
							   ? (Expr *) makeNullConst(INT4OID, -1, InvalidOid)
							   : (Expr *) makeVar((int) rel->relid, attribute->attnum, attribute->atttypid,
												  attribute->atttypmod, attribute->attcollation, 0);

		columns = lappend(columns, makeTargetEntry(expression, (AttrNumber) (i + 1), NULL, false));
	}
	foreach (cell, counts)
		columns = lappend(columns, makeTargetEntry(lfirst(cell), (AttrNumber) (list_length(columns) + 1), NULL, false));
	return columns;
}

void
clariGetForeignUpperPaths(PlannerInfo *root, UpperRelationKind stage, RelOptInfo *input_rel, RelOptInfo *output_rel,
						  void *extra)
{
	const Query *query = root->parse;
	List *having;
	List *counts;
	Cost startup;
	Cost total;
	ForeignPath *path;

	if (stage != UPPERREL_GROUP_AGG || query->groupClause != NIL || query->groupingSets != NIL ||
		!is_countable(root, input_rel))
		return;
	having = (List *) ((GroupPathExtraData *) extra)->havingQual;
	counts = collect_counts(input_rel, list_concat_copy(output_rel->reltarget->exprs, having));
	if (counts == NIL)
		return;
	/* It opens the rowsets of a scan, which may have to be exported, but reads no rows. */
	startup = input_rel->cheapest_startup_path->startup_cost;
	total = startup + output_rel->reltarget->cost.startup + output_rel->reltarget->cost.per_tuple;
	path = clari_create_upper_path(root, output_rel, output_rel->reltarget, 1, startup, total,
								   list_make3(input_rel, having, make_columns(input_rel, counts)));
	/* As for any scan that is not shared, a worker would look up versions of its own. */
	path->path.parallel_safe = false;
	add_path(output_rel, (Path *) path);
}

RelOptInfo *
clari_count_relation(const ForeignPath *path)
{
	return list_nth(path->fdw_private, COUNT_RELATION);
}

List *
clari_count_having(const ForeignPath *path)
{
	return list_nth(path->fdw_private, COUNT_HAVING);
}

List *
clari_count_columns(const ForeignPath *path)
{
	return list_nth(path->fdw_private, COUNT_COLUMNS);
}
