/*
 * estimate.c
 *		What the cache tells the planner of a foreign table: see estimate.h.
 *
 * Runs in sessions.  Sends no request to Clari.  Opens a rowset only for
 * statistics of a version that are not among those kept from earlier plans.
 */
#include "postgres.h"

#include "plan/estimate.h"

#include "plan/internal.h"
#include "session/export.h"
#include "session/reader.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_statistic.h"
#include "foreign/fdwapi.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/selfuncs.h"

/* Assumptions about a period that is not cached. */
#define DEFAULT_OWNERS 500
#define DEFAULT_ENTRIES 1000
#define DEFAULT_OTHERS 20
#define DEFAULT_PERIODS 4

#define MOST_KEPT 64     /* how many RowsetStatistics are kept, of about 600 bytes each */
#define SORTED_ROWS 512U /* how many values are sorted per column; a session's first plan must not take long */

static GetForeignRelSize_function our_size_function = NULL;
static get_relation_stats_hook_type next_hook = NULL;

/* ------- rows ------- */

double
clari_estimate_rows(const ClariEstimate *estimate, const ClariRowsetMeta *meta)
{
	if (estimate->object == CLARI_OBJECT_FORECASTS)
		return (double) meta->owners[estimate->period_type];
	return (double) meta->rows[clari_object_list(estimate->object)];
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
	if (!authenticated || !clari_export_peek(options, text, version))
	{
		estimate->tuples += default_rows(estimate->object);
		estimate->exports += 1;
		return;
	}
	estimate->nversions++;
	estimate->tuples += clari_estimate_rows(estimate, &version->meta);
	estimate->bytes += version->bytes;
	if (!clari_export_is_fresh(options, version, GetCurrentStatementStartTimestamp()))
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

/* ------- statistics of a rowset's columns ------- */

typedef struct ColumnStatistics
{
	double distinct; /* number of distinct values; 0 if it is not known */
	double nulls;    /* the fraction of rows that are NULL, 0 to 1 */
	int32 width;     /* average size of a value in bytes; 0 if it is not known */
} ColumnStatistics;

typedef struct RowsetStatistics
{
	ClariKey key;
	uint64 generation; /* 0 in an unused element */
	ClariList list;
	ColumnStatistics columns[CLARI_MAX_ATTRIBUTES];
} RowsetStatistics;

/* The last statistics that were read, so that planning need not open a rowset each time. */
static RowsetStatistics *kept = NULL; /* MOST_KEPT elements, allocated for the first statistics */
static int next_kept = 0;             /* the element that will be replaced next */

/*
 * Does each row group have its own values of the attribute?  Entries are sorted
 * by user, so groups hardly share the values of user attributes.  They do share
 * the few values of others, such as fields or weeks.
 */
static bool
is_of_user(ClariList list, int attribute)
{
	if (list != CLARI_ENTRIES)
		return true; /* each item has its own row */
	return attribute == CLARI_ENTRY_USER_ID || attribute == CLARI_ENTRY_OWNER_NAME ||
		   attribute == CLARI_ENTRY_OWNER_EMAIL || attribute == CLARI_ENTRY_CRM_USER_ID ||
		   clari_lists[list].attributes[attribute].type == CLARI_NUMERIC;
}

/* The number of hashes stored for the attribute, one per stored value; 0 if it has no hashes. */
static double
hashed_values(const ClariGroupIndex *group, int attribute)
{
	for (int i = 0; i < CLARI_HASHED_ATTRIBUTES; i++)
		if (clari_hashed_attributes[i] == attribute && group->list == CLARI_ENTRIES)
			return group->chunks[CLARI_HASHES_CHUNK + i].length / sizeof(uint16_t);
	return 0;
}

/* The number of distinct values of a chunk, 0 if it is not known; *bytes gets the size of these values. */
static double
chunk_distinct(const ClariGroupIndex *group, int attribute, double *bytes)
{
	const ClariChunkIndex *chunk = &group->chunks[attribute];
	double hashed = hashed_values(group, attribute);

	*bytes = chunk->length;
	switch (chunk->encoding)
	{
		case CLARI_ENCODING_CONSTANT:
			return 1;
		case CLARI_ENCODING_DICTIONARY:
			*bytes -= group->nrows * 2.0 + chunk->ndistinct * 4.0;
			return chunk->ndistinct;
		case CLARI_ENCODING_PLAIN:
			*bytes -= group->nrows * 4.0;
			return hashed > 0 ? hashed : group->nrows;
		default:
			return 0;
	}
}

/* Fills in what the index of the rowset tells about a column. */
static void
read_index(const ClariReader *reader, ClariList list, int attribute, ColumnStatistics *column)
{
	double values = 0;
	double bytes = 0;

	for (int i = 0; i < reader->ngroups; i++)
	{
		const ClariGroupIndex *group = &reader->groups[i];
		double chunk_bytes;
		double distinct;

		if (group->list != (uint32) list)
			continue;
		distinct = chunk_distinct(group, attribute, &chunk_bytes);
		values += distinct;
		bytes += distinct > 0 ? chunk_bytes : 0;
		column->distinct = is_of_user(list, attribute) ? values : Max(column->distinct, distinct);
	}
	column->width = values > 0 ? (int32) (bytes / values) : 0;
}

static double
share_of_nulls(const ClariChunk *chunk, ClariType type)
{
	bool varlena = type == CLARI_TEXT || type == CLARI_NUMERIC;
	uint32 nulls = 0;

	for (uint32 row = 0; row < chunk->nrows; row++)
		nulls += varlena ? clari_chunk_varlena(chunk, row) == NULL : clari_chunk_fixed(chunk, row) == CLARI_FIXED_NULL;
	return (double) nulls / Max(chunk->nrows, 1);
}

static int
compare_fixed(const void *a, const void *b)
{
	int64 left = *(const int64_t *) a;
	int64 right = *(const int64_t *) b;

	return (left > right) - (left < right);
}

/*
 * Estimates the number of distinct values that a column of fixed width has in all
 * rows.  It has no dictionary that would tell, so the chunk's first rows are
 * taken as a sample.
 */
static double
fixed_distinct(const ClariChunk *chunk, double all_rows)
{
	uint32 nrows = Min(chunk->nrows, SORTED_ROWS);
	int64_t values[SORTED_ROWS];
	uint32 count = 0;
	uint32 distinct = 0;

	for (uint32 row = 0; row < nrows; row++)
		if (chunk->fixed[row] != CLARI_FIXED_NULL)
			values[count++] = chunk->fixed[row];
	qsort(values, count, sizeof(int64_t), compare_fixed);
	for (uint32 i = 0; i < count; i++)
		distinct += i == 0 || values[i] != values[i - 1];
	/* If nearly all values of the sample differ, those of the other rows probably do, too. */
	return distinct > count * 0.9 ? distinct * all_rows / nrows : distinct;
}

/* The index of the middle group of the list; -1 if the list has none. */
static int
middle_group(const ClariReader *reader, ClariList list)
{
	int first = -1;
	int last = -1;

	/* The groups of a list are adjacent. */
	for (int i = 0; i < reader->ngroups; i++)
		if (reader->groups[i].list == (uint32) list)
		{
			first = first < 0 ? i : first;
			last = i;
		}
	return (first + last) / 2;
}

/* Estimates what the index does not tell from the rows of the middle group. */
static void
read_middle(ClariReader *reader, ClariList list, ColumnStatistics *columns)
{
	int group = middle_group(reader, list);
	ClariChunkBuffer buffer = {0};

	for (int i = 0; group >= 0 && i < clari_lists[list].nattributes; i++)
	{
		ClariChunk chunk;

		/* Opening such a chunk raises an error, which only queries that need the column should get. */
		if (reader->groups[group].chunks[i].encoding == CLARI_ENCODING_UNEXPECTED)
			continue;
		clari_reader_chunk(reader, group, i, &buffer, &chunk);
		columns[i].nulls = share_of_nulls(&chunk, clari_lists[list].attributes[i].type);
		if (chunk.encoding == CLARI_ENCODING_FIXED)
			columns[i].distinct = fixed_distinct(&chunk, (double) reader->version.meta.rows[list]);
	}
}

static const RowsetStatistics *
find_kept(const ClariVersion *version, ClariList list)
{
	for (int i = 0; kept != NULL && i < MOST_KEPT; i++)
		if (kept[i].generation == version->meta.generation && kept[i].list == list &&
			memcmp(&kept[i].key, &version->meta.key, sizeof(ClariKey)) == 0)
			return &kept[i];
	return NULL;
}

static RowsetStatistics *
keep_new(const ClariVersion *version, ClariList list)
{
	RowsetStatistics *statistics;

	if (kept == NULL)
		kept = MemoryContextAllocZero(TopMemoryContext, sizeof(RowsetStatistics) * MOST_KEPT);
	statistics = &kept[next_kept];
	next_kept = (next_kept + 1) % MOST_KEPT;
	*statistics = (RowsetStatistics){.key = version->meta.key, .generation = version->meta.generation, .list = list};
	return statistics;
}

/*
 * The statistics of each attribute of the list in this version, as an array of
 * CLARI_MAX_ATTRIBUTES elements that is valid until the next call.  Opens the
 * rowset unless its statistics are kept.  Returns NULL if it cannot be opened;
 * raises what clari_reader_chunk() raises.
 */
static const ColumnStatistics *
rowset_statistics(const ClariVersion *version, ClariList list)
{
	const RowsetStatistics *known = find_kept(version, list);
	ColumnStatistics columns[CLARI_MAX_ATTRIBUTES] = {0};
	MemoryContext context;
	MemoryContext previous;
	ClariReader *reader;
	ClariError error;
	RowsetStatistics *statistics;

	if (known != NULL)
		return known->columns;
	/* The reader closes when this context is deleted. */
	context = AllocSetContextCreate(CurrentMemoryContext, "clari_fdw statistics", ALLOCSET_DEFAULT_SIZES);
	previous = MemoryContextSwitchTo(context);
	reader = clari_reader_open(version, context, &error);
	for (int i = 0; reader != NULL && i < clari_lists[list].nattributes; i++)
		read_index(reader, list, i, &columns[i]);
	if (reader != NULL)
		read_middle(reader, list, columns);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
	if (reader == NULL)
		return NULL;
	statistics = keep_new(version, list);
	memcpy(statistics->columns, columns, sizeof(columns));
	return statistics->columns;
}

/* ------- columns ------- */

/* The cached rowset with the most rows, whose statistics are the most reliable; NULL if nothing is cached. */
static const ClariVersion *
largest_version(const ClariEstimate *estimate)
{
	const ClariVersion *largest = NULL;

	for (int i = 0; i < estimate->nversions; i++)
		if (largest == NULL ||
			clari_estimate_rows(estimate, &estimate->versions[i].meta) > clari_estimate_rows(estimate, &largest->meta))
			largest = &estimate->versions[i];
	return largest;
}

/*
 * Estimates the fraction of owners without an amount.  A column of "forecasts"
 * shows the amount of one entry of an owner, so it is assumed that each entry with
 * an amount gives one to another owner.  nulls is the fraction of entries without.
 */
static double
owners_without(const ClariVersion *version, double nulls)
{
	double filled = (1 - nulls) * (double) version->meta.rows[CLARI_ENTRIES];

	return Max(1 - filled / Max((double) clari_rowset_owners(&version->meta), 1), 0);
}

/* Fills in the statistics of a column; false if nothing is known about it. */
static bool
column_statistics(const ClariEstimate *estimate, AttrNumber attnum, ColumnStatistics *statistics)
{
	const ClariColumn *column = &estimate->columns[attnum - 1];
	const ClariVersion *version = largest_version(estimate);
	const ColumnStatistics *known;

	if (attnum <= 0 || version == NULL)
		return false;
	if (column->attribute < 0)
	{
		bool by_period = column->source != CLARI_FROM_FORECAST_NAME;

		*statistics = (ColumnStatistics){.distinct = by_period ? estimate->periods : 1};
		return true;
	}
	known = rowset_statistics(version, clari_object_list(estimate->object));
	if (known == NULL)
		return false;
	*statistics = known[column->attribute];
	if (estimate->object == CLARI_OBJECT_FORECASTS && column->type == CLARI_NUMERIC)
		statistics->nulls = owners_without(version, statistics->nulls);
	return statistics->distinct > 0 || statistics->nulls > 0;
}

static bool
is_hashed(const ClariEstimate *estimate, AttrNumber attnum)
{
	for (int i = 0; i < CLARI_HASHED_ATTRIBUTES && attnum > 0; i++)
		if (clari_object_list(estimate->object) == CLARI_ENTRIES &&
			estimate->columns[attnum - 1].attribute == clari_hashed_attributes[i])
			return true;
	return false;
}

ClariSearch
clari_estimate_search(const ClariEstimate *estimate, AttrNumber attnum)
{
	ClariList list = clari_object_list(estimate->object);
	const ClariVersion *largest = largest_version(estimate);
	ColumnStatistics statistics;
	ClariSearch search = {0};
	double rows = 0;

	for (int i = 0; i < estimate->nversions; i++)
	{
		const ClariVersion *version = &estimate->versions[i];

		rows += (double) version->meta.rows[list];
		search.checked |= version->segment == DSM_HANDLE_INVALID && version->bytes > CLARI_READER_KEEPS;
	}
	search.groups = estimate->nversions + rows / CLARI_GROUP_ROWS;
	if (!is_hashed(estimate, attnum) || !column_statistics(estimate, attnum, &statistics))
		return search;
	search.hashes = statistics.distinct * rows / Max((double) largest->meta.rows[list], 1);
	/* One group of each rowset has the value, and others have another value with the same hash by chance. */
	search.groups = Min(search.groups, estimate->nversions + search.hashes / (PG_UINT16_MAX + 1));
	return search;
}

void
clari_estimate_widths(const ClariEstimate *estimate, RelOptInfo *rel)
{
	ListCell *cell;

	foreach (cell, rel->reltarget->exprs)
	{
		Var *var = lfirst(cell);
		ColumnStatistics statistics;
		int32 *width;

		if (!IsA(var, Var) || var->varattno <= 0 || get_typlen(var->vartype) > 0 ||
			!column_statistics(estimate, var->varattno, &statistics) || statistics.width == 0)
			continue;
		width = &rel->attr_widths[var->varattno - rel->min_attr];
		rel->reltarget->width += statistics.width - *width;
		*width = statistics.width;
	}
}

/* ------- the planner's hook ------- */

/* Makes a row of pg_statistic that has only these statistics. */
static HeapTuple
statistic_tuple(Oid relid, AttrNumber attnum, const ColumnStatistics *statistics, double tuples)
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

/* The estimate of a foreign table of this wrapper; NULL if it has none, or the relation is no such table. */
static const ClariEstimate *
estimate_of(const RelOptInfo *rel)
{
	bool ours = rel->fdwroutine != NULL && rel->fdwroutine->GetForeignRelSize == our_size_function;

	return ours ? rel->fdw_private : NULL;
}

/*
 * Adds a child's statistics to those of its parent.  Children have different
 * values of what belongs to a rowset, such as quarters, but mostly the same values
 * of what belongs to rows, such as owners and fields.
 */
static void
add_child(const ColumnStatistics *child, double child_tuples, bool of_rowset, ColumnStatistics *statistics,
		  double *tuples)
{
	double all = *tuples + child_tuples;

	statistics->distinct =
		of_rowset ? statistics->distinct + child->distinct : Max(statistics->distinct, child->distinct);
	statistics->nulls = (statistics->nulls * *tuples + child->nulls * child_tuples) / Max(all, 1);
	statistics->width = Max(statistics->width, child->width);
	*tuples = all;
}

/*
 * Fills in the statistics of a partitioned table or inheritance parent.  Returns
 * false if a child is not a foreign table of this wrapper, or nothing is known.
 */
static bool
parent_statistics(PlannerInfo *root, const RelOptInfo *parent, AttrNumber attnum, ColumnStatistics *statistics,
				  double *tuples)
{
	ListCell *cell;

	foreach (cell, root->append_rel_list)
	{
		AppendRelInfo *link = lfirst_node(AppendRelInfo, cell);
		RelOptInfo *rel = root->simple_rel_array[link->child_relid];
		const ClariEstimate *estimate;
		ColumnStatistics child;
		Var *var;

		/* An inheritance parent is one of its own children, and usually empty. */
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
	ColumnStatistics statistics = {0};
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
	variable->acl_ok = true; /* the statistics contain no value of the column */
	return true;
}

void
clari_estimate_init(GetForeignRelSize_function size_function)
{
	our_size_function = size_function;
	next_hook = get_relation_stats_hook;
	get_relation_stats_hook = relation_statistics;
}
