/*
 * estimate.c
 *		What the cache tells the planner of a foreign table: see estimate.h.
 *
 * Runs in sessions.  Never asks Clari.
 */
#include "postgres.h"

#include "plan/estimate.h"

#include "plan/statistics.h"
#include "session/export.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_statistic.h"
#include "foreign/fdwapi.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"

/* What is assumed of a period that the cache does not know. */
#define DEFAULT_OWNERS 500
#define DEFAULT_ENTRIES 1000
#define DEFAULT_OTHERS 20
#define DEFAULT_PERIODS 4

static GetForeignRelSize_function our_size_function = NULL;
static get_relation_stats_hook_type next_hook = NULL;

/* ------- rows ------- */

double
clari_estimate_rows(ClariObject object, const ClariRowsetMeta *meta)
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

static void
add_period(ClariEstimate *estimate, const ClariOptions *options, bool authenticated, ClariPeriod period)
{
	ClariVersion *version = &estimate->versions[estimate->nversions];
	char text[CLARI_PERIOD_TEXT_SIZE];

	clari_period_format(period, text);
	if (!authenticated || !clari_wanted_peek(options, text, version))
	{
		estimate->tuples += default_rows(estimate->object);
		estimate->exports += 1;
		return;
	}
	estimate->nversions++;
	estimate->tuples += clari_estimate_rows(estimate->object, &version->meta);
	estimate->bytes += version->bytes;
	if (!clari_wanted_is_fresh(options, version, GetCurrentStatementStartTimestamp()))
		estimate->exports += 1;
}

void
clari_estimate_scan(ClariEstimate *estimate, const ClariOptions *options, bool authenticated,
					const ClariPeriod *periods, int count)
{
	estimate->periods = count < 0 ? DEFAULT_PERIODS : count;
	estimate->versions = palloc(sizeof(ClariVersion) * Max(estimate->periods, 1));
	for (int i = 0; i < count; i++)
		add_period(estimate, options, authenticated, periods[i]);
	if (count < 0)
	{
		estimate->exports = estimate->periods;
		estimate->tuples = estimate->periods * default_rows(estimate->object);
	}
}

/* ------- columns ------- */

/* The rowset with the most rows tells best; NULL: none can. */
static const ClariVersion *
largest_version(const ClariEstimate *estimate)
{
	const ClariVersion *largest = NULL;

	for (int i = 0; i < estimate->nversions; i++)
		if (largest == NULL || clari_estimate_rows(estimate->object, &estimate->versions[i].meta) >
								   clari_estimate_rows(estimate->object, &largest->meta))
			largest = &estimate->versions[i];
	return largest;
}

/* Of an owner's entries in the export, "forecasts" shows the amount of one field: he lacks it if none of them has it. */
static double
owners_without(const ClariVersion *version, double nulls)
{
	double filled = (1 - nulls) * (double) version->meta.rows[CLARI_ENTRIES];

	return Max(1 - filled / Max((double) version->meta.owners, 1), 0);
}

/* What is known of a column; false: nothing. */
static bool
column_statistics(const ClariEstimate *estimate, AttrNumber attnum, ClariColumnStatistics *statistics)
{
	const ClariColumn *column = &estimate->columns[attnum - 1];
	const ClariVersion *version = largest_version(estimate);
	const ClariColumnStatistics *known;

	if (attnum <= 0 || version == NULL)
		return false;
	if (column->attribute < 0)
	{
		bool by_period = column->source != CLARI_FROM_FORECAST_NAME;

		*statistics = (ClariColumnStatistics){.distinct = by_period ? estimate->periods : 1};
		return true;
	}
	known = clari_statistics_get(version, clari_object_list(estimate->object));
	if (known == NULL)
		return false;
	*statistics = known[column->attribute];
	if (estimate->object == CLARI_OBJECT_FORECASTS && column->type == CLARI_NUMERIC)
		statistics->nulls = owners_without(version, statistics->nulls);
	return statistics->distinct > 0 || statistics->nulls > 0;
}

void
clari_estimate_widths(const ClariEstimate *estimate, RelOptInfo *rel)
{
	ListCell *cell;

	foreach (cell, rel->reltarget->exprs)
	{
		Var *var = lfirst(cell);
		ClariColumnStatistics statistics;
		int32 *width;

		if (!IsA(var, Var) || var->varattno <= 0 || get_typlen(var->vartype) > 0 ||
			!column_statistics(estimate, var->varattno, &statistics) || statistics.width == 0)
			continue;
		width = &rel->attr_widths[var->varattno - rel->min_attr];
		rel->reltarget->width += statistics.width - *width;
		*width = statistics.width;
	}
}

/* ------- the planner's question for statistics ------- */

/* A row of pg_statistic that says no more than that. */
static HeapTuple
statistic_tuple(Oid relid, AttrNumber attnum, const ClariColumnStatistics *statistics, double tuples)
{
	Relation catalog = table_open(StatisticRelationId, AccessShareLock);
	Datum values[Natts_pg_statistic] = {0};
	bool nulls[Natts_pg_statistic] = {0};
	double filled = 1 - statistics->nulls;
	bool unique = statistics->distinct >= tuples * filled * 0.9;
	HeapTuple tuple;

	memset(&nulls[Anum_pg_statistic_stanumbers1 - 1], true, sizeof(bool) * 2 * STATISTIC_NUM_SLOTS);
	values[Anum_pg_statistic_starelid - 1] = ObjectIdGetDatum(relid);
	values[Anum_pg_statistic_staattnum - 1] = Int16GetDatum(attnum);
	values[Anum_pg_statistic_stanullfrac - 1] = Float4GetDatum((float4) statistics->nulls);
	values[Anum_pg_statistic_stawidth - 1] = Int32GetDatum(statistics->width);
	values[Anum_pg_statistic_stadistinct - 1] = Float4GetDatum((float4) (unique ? -filled : statistics->distinct));
	tuple = heap_form_tuple(RelationGetDescr(catalog), values, nulls);
	table_close(catalog, AccessShareLock);
	return tuple;
}

/* What the planner has found out of the relation, if it is ours; or NULL. */
static const ClariEstimate *
estimate_of(const RelOptInfo *rel)
{
	bool ours = rel->fdwroutine != NULL && rel->fdwroutine->GetForeignRelSize == our_size_function;

	return ours ? rel->fdw_private : NULL;
}

/* Quarters differ from table to table; owners and fields are mostly the same. */
static void
add_child(const ClariColumnStatistics *child, double child_tuples, bool of_rowset, ClariColumnStatistics *statistics,
		  double *tuples)
{
	double all = *tuples + child_tuples;

	statistics->distinct =
		of_rowset ? statistics->distinct + child->distinct : Max(statistics->distinct, child->distinct);
	statistics->nulls = (statistics->nulls * *tuples + child->nulls * child_tuples) / Max(all, 1);
	statistics->width = Max(statistics->width, child->width);
	*tuples = all;
}

/* Of a partitioned table or an inheritance parent whose children are all ours; false: not, or nothing is known. */
static bool
parent_statistics(PlannerInfo *root, const RelOptInfo *parent, AttrNumber attnum, ClariColumnStatistics *statistics,
				  double *tuples)
{
	ListCell *cell;

	foreach (cell, root->append_rel_list)
	{
		AppendRelInfo *link = lfirst_node(AppendRelInfo, cell);
		RelOptInfo *rel = root->simple_rel_array[link->child_relid];
		const ClariEstimate *estimate;
		ClariColumnStatistics child;
		Var *var;

		/* The parent of inheritance is among them, and mostly empty. */
		if (link->parent_relid != parent->relid || rel == NULL || IS_DUMMY_REL(rel) || rel->tuples <= 0)
			continue;
		var = list_nth(link->translated_vars, attnum - 1);
		if (var == NULL || !IsA(var, Var))
			return false;
		estimate = estimate_of(rel);
		if (estimate != NULL && column_statistics(estimate, var->varattno, &child))
			add_child(&child, estimate->tuples, estimate->columns[var->varattno - 1].attribute < 0, statistics, tuples);
		else if (!parent_statistics(root, rel, var->varattno, statistics, tuples))
			return false;
	}
	return *tuples > 0;
}

/* get_relation_stats_hook_type */
static bool
relation_statistics(PlannerInfo *root, RangeTblEntry *rte, AttrNumber attnum, VariableStatData *variable)
{
	ClariColumnStatistics statistics = {0};
	const ClariEstimate *estimate;
	double tuples = 0;
	bool known;

	if (next_hook != NULL && next_hook(root, rte, attnum, variable))
		return true;
	if (variable->rel == NULL || attnum <= 0)
		return false;
	estimate = estimate_of(variable->rel);
	if (estimate != NULL)
	{
		tuples = estimate->tuples;
		known = column_statistics(estimate, attnum, &statistics);
	}
	else
		known = rte->inh && parent_statistics(root, variable->rel, attnum, &statistics, &tuples);
	if (!known)
		return false;
	variable->statsTuple = statistic_tuple(rte->relid, attnum, &statistics, tuples);
	variable->freefunc = heap_freetuple;
	variable->acl_ok = true; /* it holds no value of the column */
	return true;
}

void
clari_estimate_init(GetForeignRelSize_function size_function)
{
	our_size_function = size_function;
	next_hook = get_relation_stats_hook;
	get_relation_stats_hook = relation_statistics;
}
