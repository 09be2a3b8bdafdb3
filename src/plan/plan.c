/*
 * plan.c
 *		Planning a scan: which clauses prune, how many rows there are, what it costs.
 *
 * Runs in sessions.  Only looks into the cache; never uses the network.  Puts no
 * secret into a plan, since plans are kept and can be printed.
 */
#include "postgres.h"

#include "plan/plan.h"

#include "options/columns.h"
#include "plan/estimate.h"
#include "plan/filter.h"
#include "plan/internal.h"
#include "plan/prune.h"
#include "session/fetch.h"
#include "compat.h"

#include "access/relation.h"
#include "access/xact.h"
#include "access/sysattr.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "parser/parsetree.h"
#include "utils/rel.h"

/*
 * The cost of exporting all periods of a scan.  An export takes seconds, so this
 * must outweigh any local plan.  Yet it is no work for this machine, so it must not
 * make the planner use JIT compilation (jit_above_cost is 100000 by default).
 */
#define EXPORTS_COST 90000.0
#define SCAN_STARTUP_COST 5.0

/*
 * The startup cost of a parameterized scan that reads whole periods.  For each
 * outer row it looks a period up, opens it and prepares its columns anew.  The cost
 * is high enough that cached exports are read in one scan instead, unless that scan
 * would be very large.
 */
#define RESCAN_STARTUP_COST 1000.0

/*
 * The costs of a parameterized scan that looks up a value.  For each outer row it
 * compares hashes, many at a time, and opens the few row groups that may have the
 * value.  They were measured by test/bench/scan.sh joins, in the planner's units, in
 * which a row of a cached scan costs 0.005.
 */
#define SEARCH_STARTUP_COST 0.5
#define SEARCH_HASH_COST 0.00001
#define SEARCH_GROUP_COST 1.5
#define SEARCH_CHECKED_GROUP_COST 4.0

/* ------- how many rows ------- */

/* Can the expression be evaluated while planning?  Stable functions are for the execution. */
static bool
is_known_while_planning(Node *expression)
{
	return !clari_prune_has_params(expression, false) && !contain_mutable_functions(expression) &&
		   clari_prune_is_safe(expression);
}

/*
 * Prunes by the expressions that are known while planning.  Writes the quarters
 * that are left to periods and returns how many; -1 if the extent is relative to
 * the current quarter and that is not known.
 */
static int
surviving_periods(const ClariOptions *options, List *pruning, const ClariPlanInfo *info, bool authenticated,
				  ClariPeriod *periods)
{
	ClariPeriod current = CLARI_PERIOD_NONE;
	List *expressions = NIL;
	EState *estate;
	ListCell *cell;
	int count;

	if (clari_extent_is_relative(&options->extent))
	{
		if (authenticated)
			current = clari_export_known_current(options);
		if (current == CLARI_PERIOD_NONE)
			return -1;
	}
	foreach (cell, pruning)
		if (is_known_while_planning(lfirst(cell)))
			expressions = lappend(expressions, copyObject(lfirst(cell)));
	/* The Vars have the relation's range table index, which the executor takes for the scan tuple. */
	estate = CreateExecutorState();
	count = clari_extent_expand(&options->extent, current, periods);
	count = clari_prune_periods(clari_prune_begin(expressions, NULL, options, info->tupdesc, info->columns),
								GetPerTupleExprContext(estate), periods, count);
	FreeExecutorState(estate);
	return count;
}

/* The fraction of quarters left by expressions not known while planning.  They are assumed to choose one quarter. */
static double
unknown_selectivity(List *pruning, int count)
{
	ListCell *cell;

	foreach (cell, pruning)
		if (!is_known_while_planning(lfirst(cell)))
			return 1.0 / Max(count, 1);
	return 1.0;
}

static ClariPlanInfo *
make_info(const ClariOptions *options)
{
	ClariPlanInfo *info = palloc0(sizeof(ClariPlanInfo));
	Relation relation = relation_open(options->relid, NoLock);

	info->options = options;
	info->tupdesc = CreateTupleDescCopy(RelationGetDescr(relation));
	info->columns = clari_columns_map(options, info->tupdesc);
	info->estimate.object = options->object;
	info->estimate.period_type = options->period_type;
	info->estimate.columns = info->columns;
	relation_close(relation, NoLock);
	return info;
}

static ClariClauses
split_clauses(const ClariPlanInfo *info, Index relid, List *restrictinfos)
{
	ClariClauses clauses;

	clauses.pruning =
		clari_prune_select(restrictinfos, relid, info->options, info->tupdesc, info->columns, &clauses.exact);
	restrictinfos = list_difference_ptr(restrictinfos, clauses.exact);
	clauses.filters = clari_filter_select(restrictinfos, relid, info->tupdesc, info->columns);
	clauses.checked = list_difference_ptr(restrictinfos, clauses.filters);
	return clauses;
}

void
clariGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	ClariOptions *options = clari_options_get(foreigntableid);
	bool authenticated =
		clari_options_authenticate(options, OidIsValid(baserel->userid) ? baserel->userid : GetUserId(), true);
	ClariPlanInfo *info = make_info(options);
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	List *pruning;
	int count;

	info->clauses = split_clauses(info, baserel->relid, baserel->baserestrictinfo);
	pruning = info->clauses.pruning;
	info->safe = clari_prune_is_safe((Node *) pruning);
	count = surviving_periods(options, pruning, info, authenticated, periods);
	clari_estimate_scan(&info->estimate, options, authenticated, periods, count);
	baserel->fdw_private = info;
	baserel->tuples = info->estimate.tuples * unknown_selectivity(pruning, info->estimate.periods);
	baserel->rows = clamp_row_est(
		baserel->tuples * clauselist_selectivity(root, list_concat_copy(info->clauses.filters, info->clauses.checked),
												 0, JOIN_INNER, NULL));
	baserel->pages = (BlockNumber) (info->estimate.bytes / BLCKSZ);
	clari_estimate_widths(&info->estimate, baserel);
}

/* ------- paths ------- */

/* The cost of testing this many rows for the clauses, and of forming those that pass the filters. */
static Cost
tuples_cost(PlannerInfo *root, const ClariClauses *clauses, double tested, double formed)
{
	QualCost checks;

	cost_qual_eval(&checks, clauses->checked, root);
	/* Values are not copied, which is cheaper than forming heap tuples.  A filter reads two bytes per row. */
	return checks.startup + tested * list_length(clauses->filters) * cpu_operator_cost / 10 +
		   formed * (cpu_tuple_cost / 2 + checks.per_tuple);
}

/* The same for a scan that reads this many of the relation's rows. */
static Cost
scan_cost(PlannerInfo *root, const RelOptInfo *baserel, double tuples)
{
	const ClariClauses *clauses = &((const ClariPlanInfo *) baserel->fdw_private)->clauses;

	return tuples_cost(root, clauses, tuples,
					   tuples * clauselist_selectivity(root, clauses->filters, 0, JOIN_INNER, NULL));
}

static Cost
exports_cost(const ClariPlanInfo *info)
{
	return EXPORTS_COST * info->estimate.exports / Max(info->estimate.periods, 1);
}

/*
 * Adds a partial path, by which each participant reads a share of the rows.  The
 * caller makes sure that all periods are cached.
 */
static void
add_shared_path(PlannerInfo *root, RelOptInfo *baserel, int workers)
{
	/* As in get_parallel_divisor(): the leader reads less, since it also gathers the rows of the workers. */
	double leader = parallel_leader_participation ? Max(1.0 - 0.3 * workers, 0) : 0;
	double share = 1.0 / (workers + leader);
	Cost cost = SCAN_STARTUP_COST + scan_cost(root, baserel, baserel->tuples * share);
	ForeignPath *path =
		clari_create_path(root, baserel, clamp_row_est(baserel->rows * share), SCAN_STARTUP_COST, cost, NULL);

	path->path.parallel_aware = true;
	path->path.parallel_workers = workers;
	add_partial_path(baserel, (Path *) path);
}

/* The search by the filter for which the fewest row groups must be opened. */
static ClariSearch
cheapest_search(const ClariPlanInfo *info, Index relid, List *filters)
{
	ClariSearch cheapest = clari_estimate_search(&info->estimate, InvalidAttrNumber);
	ListCell *cell;

	foreach (cell, filters)
	{
		AttrNumber attnum = clari_filter_compared_column(lfirst_node(RestrictInfo, cell), relid);
		ClariSearch search = clari_estimate_search(&info->estimate, attnum);

		if (search.groups < cheapest.groups)
			cheapest = search;
	}
	return cheapest;
}

/* The cost of a scan that looks up values of an outer row by the filters, in this fraction of the periods. */
static Cost
search_cost(PlannerInfo *root, RelOptInfo *baserel, List *filters, double share)
{
	ClariPlanInfo *info = baserel->fdw_private;
	ClariSearch search = cheapest_search(info, baserel->relid, filters);
	ClariClauses all = info->clauses;
	double tuples = baserel->tuples * share;

	all.filters = list_concat_copy(all.filters, filters);
	return share * (search.hashes * SEARCH_HASH_COST +
					search.groups * (search.checked ? SEARCH_CHECKED_GROUP_COST : SEARCH_GROUP_COST)) +
		   tuples_cost(root, &all, Min(tuples, share * search.groups * CLARI_GROUP_ROWS),
					   tuples * clauselist_selectivity(root, all.filters, (int) baserel->relid, JOIN_INNER, NULL));
}

/*
 * Could Memoize give wrong results for this clause?  Memoize compares its keys,
 * which are expressions of outer rows, by their own collations.  If such a
 * collation is not bytewise and not the clause's, it may treat texts as equal that
 * the clause distinguishes.
 */
static bool
is_confused_by_memoize(const RestrictInfo *restrictinfo)
{
	const OpExpr *comparison = (const OpExpr *) restrictinfo->clause;
	ListCell *cell;

	if (!IsA(comparison, OpExpr))
		return false;
	foreach (cell, comparison->args)
	{
		Oid collation = exprCollation(lfirst(cell));

		if (OidIsValid(collation) && collation != comparison->inputcollid && !clari_columns_is_bytewise(collation))
			return true;
	}
	return false;
}

static bool
are_confused_by_memoize(List *restrictinfos)
{
	ListCell *cell;

	foreach (cell, restrictinfos)
		if (is_confused_by_memoize(lfirst_node(RestrictInfo, cell)))
			return true;
	return false;
}

/* Adds a path for a scan per row of outer relations, whose values choose periods or are looked up in dictionaries. */
static void
add_parameterized_path(PlannerInfo *root, RelOptInfo *baserel, Relids outer)
{
	ClariPlanInfo *info = baserel->fdw_private;
	ParamPathInfo *parameters = get_baserel_parampathinfo(root, baserel, outer);
	ClariClauses clauses = split_clauses(info, baserel->relid, parameters->ppi_clauses);
	double share = clauses.pruning != NIL ? 1.0 / Max(info->estimate.periods, 1) : 1.0;
	Cost startup = exports_cost(info) * share;
	Cost run;
	ForeignPath *path;

	/* A path cannot prevent Memoize from being put above it, so there must be none. */
	if (are_confused_by_memoize(parameters->ppi_clauses))
		return;
	if (clauses.filters != NIL)
	{
		startup += SEARCH_STARTUP_COST;
		run = search_cost(root, baserel, clauses.filters, share);
	}
	else
	{
		parameters->ppi_rows = clamp_row_est(baserel->rows * share);
		startup += RESCAN_STARTUP_COST;
		run = scan_cost(root, baserel, baserel->tuples * share);
	}
	path = clari_create_path(root, baserel, parameters->ppi_rows, startup, startup + run, outer);
	path->path.parallel_safe = false;
	add_path(baserel, (Path *) path);
}

/* ec_matches_callback_type: can an equality with the member choose periods, or be looked up in dictionaries? */
static bool
is_useful_member(PlannerInfo *root pg_attribute_unused(), RelOptInfo *rel, EquivalenceClass *ec pg_attribute_unused(),
				 EquivalenceMember *member, void *arg)
{
	const ClariPlanInfo *info = arg;
	Node *expression = (Node *) member->em_expr;

	return clari_prune_is_of_period(expression, rel->relid, info->options, info->tupdesc, info->columns) ||
		   clari_filter_is_of_column(expression, rel->relid, info->tupdesc, info->columns);
}

static bool
has_relids(List *sets, Relids relids)
{
	ListCell *cell;

	foreach (cell, sets)
		if (bms_equal(lfirst(cell), relids))
			return true;
	return false;
}

/* Adds a path for each set of outer relations that occurs in a clause that prunes or filters. */
static void
add_parameterized_paths(PlannerInfo *root, RelOptInfo *baserel)
{
	ClariPlanInfo *info = baserel->fdw_private;
	List *restrictinfos = NIL;
	List *seen = NIL;
	ListCell *cell;

	if (baserel->has_eclass_joins)
		restrictinfos =
			generate_implied_equalities_for_column(root, baserel, is_useful_member, info, baserel->lateral_referencers);
	foreach (cell, list_concat_copy(restrictinfos, baserel->joininfo))
	{
		RestrictInfo *clause = lfirst_node(RestrictInfo, cell);
		ClariClauses split = split_clauses(info, baserel->relid, list_make1(clause));
		Relids outer = bms_union(bms_difference(clause->clause_relids, baserel->relids), baserel->lateral_relids);

		if (!join_clause_is_movable_to(clause, baserel) || (split.pruning == NIL && split.filters == NIL) ||
			bms_is_subset(outer, baserel->lateral_relids) || has_relids(seen, outer))
			continue;
		seen = lappend(seen, outer);
		add_parameterized_path(root, baserel, outer);
	}
}

void
clariGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid pg_attribute_unused())
{
	ClariPlanInfo *info = baserel->fdw_private;
	Cost startup = SCAN_STARTUP_COST + exports_cost(info);
	ForeignPath *path = clari_create_path(root, baserel, baserel->rows, startup,
										  startup + scan_cost(root, baserel, baserel->tuples), baserel->lateral_relids);
	int workers;

	/* A worker would look up versions of its own.  Only the shared path, which reads the leader's, may run in one. */
	path->path.parallel_safe = false;
	add_path(baserel, (Path *) path);
	add_parameterized_paths(root, baserel);
	if (!baserel->consider_parallel || info->estimate.exports > 0 || !bms_is_empty(baserel->lateral_relids))
		return;
	/* The leader chooses and opens the periods before one-time filters are checked, so this must not raise an error. */
	if (!info->safe && root->hasPseudoConstantQuals)
		return;
	workers = compute_parallel_worker(baserel, baserel->pages, -1, max_parallel_workers_per_gather);
	if (workers > 0)
		add_shared_path(root, baserel, workers);
}

bool
clariIsForeignScanParallelSafe(PlannerInfo *root pg_attribute_unused(), RelOptInfo *rel pg_attribute_unused(),
							   RangeTblEntry *rte pg_attribute_unused())
{
	return true;
}

/* ------- the plan ------- */

/*
 * The attribute numbers that the query or a qual refers to; all of them for a
 * whole-row reference.  The plan's target list is of no use here, since the planner
 * may list every column in it to avoid a projection (a "physical" target list).
 */
static List *
needed_attributes(RelOptInfo *baserel, List *clauses)
{
	Bitmapset *used = NULL;
	List *needed = NIL;
	bool whole_row;

	pull_varattnos((Node *) baserel->reltarget->exprs, baserel->relid, &used);
	pull_varattnos((Node *) clauses, baserel->relid, &used);
	whole_row = bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber, used);
	for (int attnum = 1; attnum <= baserel->max_attr; attnum++)
		if (whole_row || bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, used))
			needed = lappend_int(needed, attnum);
	return needed;
}

/*
 * Does the scan read only a part of the relation that a condition was written for:
 * a partition or another child, or a branch of UNION ALL?  A scan in a subquery
 * that was not pulled up counts as one if any query above has such branches, since
 * nothing tells whether the subquery is one of them.
 */
static bool
is_child(PlannerInfo *root, RelOptInfo *baserel)
{
	ListCell *cell;

	if (IS_OTHER_REL(baserel))
		return true;
	while ((root = root->parent_root) != NULL)
	{
		if (root->parse->setOperations != NULL)
			return true;
		foreach (cell, root->append_rel_list)
			if (planner_rt_fetch(lfirst_node(AppendRelInfo, cell)->child_relid, root)->rtekind == RTE_SUBQUERY)
				return true;
	}
	return false;
}

/* Is the node a parameter that is set from an outer row, and not by an uncorrelated subquery (InitPlan)? */
static bool
is_outer_param(Node *node, PlannerInfo *root)
{
	Param *param = (Param *) node;
	ListCell *cell;

	if (!IsA(node, Param) || param->paramkind != PARAM_EXEC)
		return false;
	for (; root != NULL; root = root->parent_root)
		foreach (cell, root->init_plans)
			if (list_member_int(lfirst_node(SubPlan, cell)->setParam, param->paramid))
				return false;
	return true;
}

static bool
has_outer_param(Node *node, PlannerInfo *root)
{
	if (node == NULL)
		return false;
	return is_outer_param(node, root) || expression_tree_walker(node, has_outer_param, (void *) root);
}

/* Do rows of other relations choose the periods, one row at a time? */
static bool
is_chosen_by_rows(PlannerInfo *root, Index relid, List *pruning)
{
	Relids relids = pull_varnos(root, (Node *) pruning);

	return !bms_is_subset(relids, bms_make_singleton((int) relid)) || has_outer_param((Node *) pruning, root);
}

/* Makes ForeignScan.fdw_private for a scan of the relation: see plan.h. */
static List *
make_private(PlannerInfo *root, RelOptInfo *rel, List *needed, List *pruning)
{
	return list_make4(needed, makeInteger(list_length(pruning)), makeInteger(is_child(root, rel)),
					  makeInteger(is_chosen_by_rows(root, rel->relid, pruning)));
}

/* Makes the plan of a path of count.c. */
static ForeignScan *
make_count(PlannerInfo *root, const ForeignPath *path, List *tlist, Plan *outer_plan)
{
	RelOptInfo *counted = clari_count_relation(path);
	List *pruning = ((ClariPlanInfo *) counted->fdw_private)->clauses.pruning;

	return make_foreignscan(tlist, clari_count_having(path), 0, pruning, make_private(root, counted, NIL, pruning),
							clari_count_columns(path), NIL, outer_plan);
}

ForeignScan *
clariGetForeignPlan(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid pg_attribute_unused(),
					ForeignPath *best_path, List *tlist, List *scan_clauses, Plan *outer_plan)
{
	ClariPlanInfo *info = baserel->fdw_private;
	ClariClauses clauses;
	List *filters;
	List *checked;
	List *unchecked;

	if (IS_UPPER_REL(baserel))
		return make_count(root, best_path, tlist, outer_plan);
	clauses = split_clauses(info, baserel->relid, scan_clauses);
	filters = extract_actual_clauses(clauses.filters, false);
	checked = extract_actual_clauses(clauses.checked, false);
	/* EvalPlanQual checks these clauses, which the scan decides itself, again for a row that was updated meanwhile. */
	unchecked = list_concat_copy(extract_actual_clauses(clauses.exact, false), filters);
	return make_foreignscan(tlist, checked, baserel->relid, list_concat_copy(clauses.pruning, filters),
							make_private(root, baserel, needed_attributes(baserel, checked), clauses.pruning), NIL,
							unchecked, outer_plan);
}
