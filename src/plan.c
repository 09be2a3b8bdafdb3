/*
 * plan.c
 *		Planning a scan: what prunes, how many rows, at what cost.
 *
 * Runs in sessions.  Knows the cache only by what it holds; no network, and no
 * secret goes into a plan, which is cached and printable.
 */
#include "postgres.h"

#include "plan.h"

#include "columns.h"
#include "compat.h"
#include "fetch.h"
#include "prune.h"

#include "access/relation.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_class.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/rel.h"

/* What is assumed of a period that the cache does not know. */
#define DEFAULT_OWNERS 500
#define DEFAULT_ENTRIES 1000
#define DEFAULT_OTHERS 20
#define DEFAULT_PERIODS 4

/* An export takes seconds: so much dearer than any local plan that these costs only order plans. */
#define EXPORT_COST 100000.0
#define SCAN_STARTUP_COST 5.0

/* RelOptInfo.fdw_private: what one callback finds out for the next. */
typedef struct PlanInfo
{
	List *pruning;      /* RestrictInfos that prune */
	List *remaining;    /* and those that do not */
	double exports;     /* periods that are not cached */
	Bitmapset *columns; /* attribute numbers needed, offset by FirstLowInvalidHeapAttributeNumber */
} PlanInfo;

/* ------- how many rows ------- */

static double
cached_rows(ClariObject object, const ClariRowsetMeta *meta)
{
	if (object == CLARI_OBJECT_FORECASTS)
		return (double) meta->owners;
	return (double) meta->rows[clari_object_list(object)];
}

static double
default_rows(ClariObject object)
{
	switch (object)
	{
		case CLARI_OBJECT_FORECASTS:
		case CLARI_OBJECT_USERS:
			return DEFAULT_OWNERS;
		case CLARI_OBJECT_ENTRIES:
			return DEFAULT_ENTRIES;
		default:
			return DEFAULT_OTHERS;
	}
}

/* The quarters that the clauses without parameters leave; -1 when only Clari knows. */
static int
surviving_periods(const ClariOptions *options, List *pruning, TupleDesc tupdesc, const ClariColumn *columns,
				  bool authenticated, ClariPeriod *periods)
{
	ClariPeriod current = CLARI_PERIOD_NONE;
	List *expressions = NIL;
	EState *estate;
	ListCell *cell;
	int count;

	if (clari_extent_is_relative(&options->extent))
	{
		if (authenticated)
			current = clari_wanted_current(options);
		if (current == CLARI_PERIOD_NONE)
			return -1;
	}
	foreach (cell, pruning)
	{
		Node *clause = (Node *) lfirst_node(RestrictInfo, cell)->clause;

		if (!clari_prune_has_params(clause, false) && !contain_mutable_functions(clause))
			expressions = lappend(expressions, copyObject(clause));
	}
	/* The planner's Vars carry this relation's range table index; the executor takes them as the scan tuple's. */
	estate = CreateExecutorState();
	count = clari_extent_expand(&options->extent, current, periods);
	count = clari_prune_periods(clari_prune_begin(expressions, NULL, tupdesc, columns), GetPerTupleExprContext(estate),
								periods, count);
	FreeExecutorState(estate);
	return count;
}

/* Sums what the cache knows of the periods; *exports counts those it does not. */
static double
estimate_tuples(ClariOptions *options, bool authenticated, const ClariPeriod *periods, int count, double *exports)
{
	double tuples = 0;

	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];
		ClariVersion version;

		clari_period_format(periods[i], text);
		if (authenticated && clari_wanted_peek(options, text, &version))
			tuples += cached_rows(options->object, &version.meta);
		else
		{
			tuples += default_rows(options->object);
			*exports += 1;
		}
	}
	return tuples;
}

static void
split_clauses(PlanInfo *info, RelOptInfo *baserel, TupleDesc tupdesc, const ClariColumn *columns)
{
	info->pruning = clari_prune_select(baserel->baserestrictinfo, baserel->relid, tupdesc, columns);
	info->remaining = list_difference_ptr(baserel->baserestrictinfo, info->pruning);
}

/* With a parameter for the period, one of them is read, whichever it will be. */
static double
parameter_selectivity(const PlanInfo *info, int count)
{
	ListCell *cell;

	foreach (cell, info->pruning)
		if (clari_prune_has_params((Node *) lfirst_node(RestrictInfo, cell)->clause, false))
			return 1.0 / Max(count, 1);
	return 1.0;
}

void
clariGetForeignRelSize(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid)
{
	PlanInfo *info = palloc0(sizeof(PlanInfo));
	ClariOptions *options = clari_options_get(foreigntableid);
	bool authenticated =
		clari_options_authenticate(options, OidIsValid(baserel->userid) ? baserel->userid : GetUserId(), true);
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	Relation relation = relation_open(foreigntableid, NoLock);
	ClariColumn *columns = clari_columns_map(foreigntableid, options->object, RelationGetDescr(relation));
	int count;

	split_clauses(info, baserel, RelationGetDescr(relation), columns);
	count = surviving_periods(options, info->pruning, RelationGetDescr(relation), columns, authenticated, periods);
	if (count < 0)
	{
		count = DEFAULT_PERIODS;
		info->exports = count;
		baserel->tuples = count * default_rows(options->object);
	}
	else
		baserel->tuples = estimate_tuples(options, authenticated, periods, count, &info->exports);
	baserel->rows = clamp_row_est(baserel->tuples * parameter_selectivity(info, count) *
								  clauselist_selectivity(root, info->remaining, 0, JOIN_INNER, NULL));
	baserel->fdw_private = info;
	relation_close(relation, NoLock);
}

/* ------- paths and plan ------- */

void
clariGetForeignPaths(PlannerInfo *root, RelOptInfo *baserel, Oid foreigntableid pg_attribute_unused())
{
	PlanInfo *info = baserel->fdw_private;
	Cost startup = SCAN_STARTUP_COST + info->exports * EXPORT_COST + baserel->baserestrictcost.startup;
	/* Values are pointed at, not formed: cheaper than a heap's tuples. */
	Cost per_tuple = cpu_tuple_cost / 2 + baserel->baserestrictcost.per_tuple;

	add_path(baserel,
			 (Path *) clari_create_path(root, baserel, baserel->rows, startup, startup + per_tuple * baserel->tuples));
}

/*
 * Attribute numbers that the query or a qual refers to; all of them for a whole
 * row.  The plan's target list does not tell: where that spares a projection,
 * the planner lists every column in it ("physical" target list).
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

ForeignScan *
clariGetForeignPlan(PlannerInfo *root pg_attribute_unused(), RelOptInfo *baserel,
					Oid foreigntableid pg_attribute_unused(), ForeignPath *best_path pg_attribute_unused(), List *tlist,
					List *scan_clauses, Plan *outer_plan)
{
	PlanInfo *info = baserel->fdw_private;
	List *pruning = extract_actual_clauses(info->pruning, false);
	List *private;

	scan_clauses = extract_actual_clauses(scan_clauses, false);
	private = list_make1(needed_attributes(baserel, scan_clauses));
	/* Pruning clauses stay among the quals: what they keep is checked like any row. */
	return make_foreignscan(tlist, scan_clauses, baserel->relid, pruning, private, NIL, NIL, outer_plan);
}
