/*
 * pivot.c
 *		The pivot of "forecasts": see internal.h.
 *
 * Runs in sessions.
 */
#include "postgres.h"

#include "scan/internal.h"

#include "base/report.h"

#include "compat.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"

/* The field of the forecast or of the quota. */
typedef struct Field
{
	const char *id; /* a text Datum in the pivot's context; NULL: the file has no such field */
	bool needed;    /* a needed column shows the field's amounts */
} Field;

struct ClariPivot
{
	MemoryContext context;
	Field forecast;
	Field quota;
	int nshared; /* number of attributes on which all entries of an owner must agree */
	int shared[CLARI_MAX_ATTRIBUTES];
	const ClariRowsetMeta *meta;

	/* The open group. */
	const ClariGroupIndex *group;
	const ClariChunk *chunks;
	const uint32 *begins;             /* by run: its first row */
	int32 *rows[CLARI_PIVOT_ENTRIES]; /* by run: the row of that entry, or -1; unused for CLARI_PIVOT_FIRST */
	bool has_several;                 /* a run has several entries of one field */
	uint32 *list;                     /* work space for lists of rows */
	uint32 room;                      /* allocated elements of list and of each array in rows */
};

/* ------- choosing the fields ------- */

typedef struct FieldChunks
{
	ClariChunkBuffer buffers[CLARI_FIELD_COUNT];
	ClariChunk chunks[CLARI_FIELD_COUNT];
} FieldChunks;

static bool
text_is(const char *varlena, const char *text)
{
	return varlena != NULL && VARSIZE_ANY_EXHDR(varlena) == strlen(text) &&
		   memcmp(VARDATA_ANY(varlena), text, strlen(text)) == 0;
}

static const char *
copy_varlena(const char *varlena)
{
	char *copy = palloc(VARSIZE_ANY(varlena));

	memcpy(copy, varlena, VARSIZE_ANY(varlena));
	return copy;
}

/* A stored text in the form for messages. */
static char *
message_text(const char *varlena)
{
	return clari_report_text(TextDatumGetCString(PointerGetDatum(varlena)));
}

/* Is this row of the list of fields the field that the option names or, without an option, one with such amounts? */
static bool
is_candidate(const FieldChunks *fields, uint32 row, const ClariOptions *options, const char *option, int carries)
{
	if (option == NULL)
		return (clari_chunk_fixed(&fields->chunks[carries], row) & INT64CONST(1) << options->period_type) != 0;
	return text_is(clari_chunk_varlena(&fields->chunks[CLARI_FIELD_FIELD_ID], row), option) ||
		   text_is(clari_chunk_varlena(&fields->chunks[CLARI_FIELD_FIELD_NAME], row), option);
}

/* Takes the row's field if it is the first candidate, and adds it to names in any case. */
static void
add_candidate(Field *field, const FieldChunks *fields, uint32 row, StringInfo names, int *count)
{
	const char *id = clari_chunk_varlena(&fields->chunks[CLARI_FIELD_FIELD_ID], row);
	const char *name = clari_chunk_varlena(&fields->chunks[CLARI_FIELD_FIELD_NAME], row);

	appendStringInfo(names, "%s\"%s\"", *count > 0 ? ", " : "", message_text(id));
	if (name != NULL)
		appendStringInfo(names, " (%s)", message_text(name));
	if ((*count)++ == 0)
		field->id = copy_varlena(id);
}

static void
choose_field(Field *field, ClariReader *reader, const ClariOptions *options, const char *option, int carries,
			 const char *option_name)
{
	FieldChunks fields = {0};
	StringInfoData names;
	int count = 0;

	initStringInfo(&names);
	for (int g = 0; g < reader->ngroups; g++)
	{
		if (reader->groups[g].list != CLARI_FIELDS)
			continue;
		for (int i = 0; i < CLARI_FIELD_COUNT; i++)
			clari_reader_chunk(reader, g, i, &fields.buffers[i], &fields.chunks[i]);
		for (uint32 row = 0; row < reader->groups[g].nrows; row++)
			if (is_candidate(&fields, row, options, option, carries))
				add_candidate(field, &fields, row, &names, &count);
	}
	if (count > 1)
		ereport(ERROR, (errcode(ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION),
						errmsg(option == NULL ? "several fields of forecast \"%s\" carry such amounts"
											  : "several fields of forecast \"%s\" match the option",
							   clari_report_text(reader->version.meta.forecast)),
						errdetail("Period %s has: %s.", reader->version.meta.answered, names.data),
						errhint("Specify one of them in option \"%s\" of the foreign table.", option_name)));
}

static bool
needs_source(const ClariColumn *columns, int ncolumns, ClariColumnSource source)
{
	for (int i = 0; i < ncolumns; i++)
		if (columns[i].source == source)
			return true;
	return false;
}

/* Raises an error if the option names no field of the file; without it, amounts of money would silently be NULL. */
static void
check_found(const Field *field, const ClariRowsetMeta *meta, const char *option, const char *option_name)
{
	if (field->id == NULL && option != NULL && meta->rows[CLARI_FIELDS] > 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION),
			 errmsg("forecast \"%s\" has no field \"%s\" in period %s", clari_report_text(meta->forecast),
					clari_report_text(option), meta->answered),
			 errhint("Option \"%s\" takes a field's id or name, as a foreign table with object 'fields' lists them.",
					 option_name)));
}

ClariPivot *
clari_pivot_open(const ClariOptions *options, ClariReader *reader, const ClariColumn *columns, int ncolumns,
				 const bool *shared)
{
	ClariPivot *pivot = palloc0(sizeof(ClariPivot));
	const ClariRowsetMeta *meta = &reader->version.meta;

	pivot->meta = meta;
	pivot->context = CurrentMemoryContext;
	pivot->forecast.needed = needs_source(columns, ncolumns, CLARI_FROM_FORECAST_FIELD);
	pivot->quota.needed = needs_source(columns, ncolumns, CLARI_FROM_QUOTA_FIELD);
	for (int attribute = 0; attribute < CLARI_MAX_ATTRIBUTES; attribute++)
		if (shared[attribute])
			pivot->shared[pivot->nshared++] = attribute;
	if (pivot->forecast.needed)
	{
		choose_field(&pivot->forecast, reader, options, options->forecast_field, CLARI_FIELD_CARRIES_FORECAST,
					 "forecast_field");
		check_found(&pivot->forecast, meta, options->forecast_field, "forecast_field");
	}
	if (pivot->quota.needed)
	{
		choose_field(&pivot->quota, reader, options, options->quota_field, CLARI_FIELD_CARRIES_QUOTA, "quota_field");
		check_found(&pivot->quota, meta, options->quota_field, "quota_field");
	}
	return pivot;
}

/* ------- groups ------- */

static bool
same_varlena(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return a == b || (VARSIZE_ANY(a) == VARSIZE_ANY(b) && memcmp(a, b, VARSIZE_ANY(a)) == 0);
}

static inline uint32
run_end(const ClariPivot *pivot, uint32 run)
{
	return run + 1 < pivot->group->nruns ? pivot->begins[run + 1] : pivot->group->nrows;
}

/* The field's code in the dictionary; 0, which is the code of NULL, if it is not there. */
static uint16
find_code(const Field *field, const ClariChunk *ids)
{
	for (uint32 i = 0; i < ids->ndistinct; i++)
		if (same_varlena(ids->bytes + ids->offsets[i], field->id))
			return i + 1;
	return 0;
}

/* Lists, ascending, the rows from begin up to but not including end that are entries of the field; returns how many. */
static uint32
list_entries(const Field *field, const ClariChunk *ids, uint32 begin, uint32 end, uint32 *list)
{
	uint32 count = 0;
	uint16 code;

	if (field->id == NULL)
		return 0;
	switch (ids->encoding)
	{
		case CLARI_ENCODING_DICTIONARY:
			code = find_code(field, ids);
			for (uint32 row = begin; row < end && code != 0; row++)
			{
				list[count] = row;
				count += ids->codes[row] == code;
			}
			break;
		default:
			for (uint32 row = begin; row < end; row++)
				if (same_varlena(clari_chunk_varlena(ids, row), field->id))
					list[count++] = row;
	}
	return count;
}

/* For the runs from first to last, sets rows[run] to the row of the run's entry of the field, or to -1. */
static void
assign_entries(ClariPivot *pivot, const Field *field, uint32 first, uint32 last, int32 *rows)
{
	const ClariChunk *ids = &pivot->chunks[CLARI_ENTRY_FIELD_ID];
	const uint32 *begins = pivot->begins;
	uint32 last_end = run_end(pivot, last);
	uint32 *list = pivot->list;

	if (!field->needed)
		return;
	list[list_entries(field, ids, begins[first], last_end, list)] = PG_UINT32_MAX;
	for (uint32 run = first; run <= last; run++)
	{
		uint32 end = run < last ? begins[run + 1] : last_end;

		rows[run] = -1;
		/*
		 * This is a branch because the processor predicts it well.  With arithmetic
		 * instead, each iteration would wait until the previous one has advanced list.
		 */
		if (*list < end)
			rows[run] = (int32) *list++;
		for (; *list < end; list++)
			pivot->has_several = true;
	}
}

/* Ensures that list and rows have room for nrows + 1 elements. */
static void
make_room(ClariPivot *pivot, uint32 nrows)
{
	if (nrows < pivot->room)
		return;
	pivot->room = nrows + 1;
	pivot->list = MemoryContextAllocHuge(pivot->context, sizeof(uint32) * pivot->room);
	for (int entry = CLARI_PIVOT_FORECAST; entry < CLARI_PIVOT_ENTRIES; entry++)
		pivot->rows[entry] = MemoryContextAllocHuge(pivot->context, sizeof(int32) * pivot->room);
}

void
clari_pivot_open_group(ClariPivot *pivot, const ClariGroupIndex *group, const ClariChunk *chunks)
{
	pivot->group = group;
	pivot->chunks = chunks;
	pivot->begins = chunks[CLARI_RUNS_CHUNK].offsets;
	make_room(pivot, group->nrows);
}

void
clari_pivot_find_entries(ClariPivot *pivot, uint32 first, uint32 last)
{
	pivot->has_several = false;
	assign_entries(pivot, &pivot->forecast, first, last, pivot->rows[CLARI_PIVOT_FORECAST]);
	assign_entries(pivot, &pivot->quota, first, last, pivot->rows[CLARI_PIVOT_QUOTA]);
}

const int32 *
clari_pivot_rows(const ClariPivot *pivot, ClariPivotEntry entry)
{
	return entry == CLARI_PIVOT_FIRST ? (const int32 *) pivot->begins : pivot->rows[entry];
}

/* ------- checking that runs make one row ------- */

static bool
same_cell(const ClariChunk *chunk, uint32 a, uint32 b)
{
	if (chunk->encoding == CLARI_ENCODING_FIXED)
		return chunk->fixed[a] == chunk->fixed[b];
	return same_varlena(clari_chunk_varlena(chunk, a), clari_chunk_varlena(chunk, b));
}

static void
raise_ambiguous(const ClariPivot *pivot, uint32 row, const char *what)
{
	const char *field = clari_chunk_varlena(&pivot->chunks[CLARI_ENTRY_FIELD_ID], row);

	ereport(ERROR, (errcode(ERRCODE_CARDINALITY_VIOLATION), errmsg("an owner's entries do not make one row: %s", what),
					errdetail("Forecast \"%s\", period %s, an entry of field \"%s\".",
							  clari_report_text(pivot->meta->forecast), pivot->meta->answered, message_text(field)),
					errhint("A foreign table with object 'entries' shows them as they are.")));
}

static void
check_several(const ClariPivot *pivot, const Field *field, uint32 run, const char *what)
{
	const ClariChunk *ids = &pivot->chunks[CLARI_ENTRY_FIELD_ID];
	bool found = false;

	for (uint32 row = pivot->begins[run]; row < run_end(pivot, run) && field->needed && field->id != NULL; row++)
	{
		bool another = same_varlena(clari_chunk_varlena(ids, row), field->id);

		if (found && another)
			raise_ambiguous(pivot, row, what);
		found = found || another;
	}
}

static void
check_shared(const ClariPivot *pivot, int attribute, uint32 run)
{
	for (uint32 row = pivot->begins[run] + 1; row < run_end(pivot, run); row++)
		if (!same_cell(&pivot->chunks[attribute], row - 1, row))
			raise_ambiguous(
				pivot, row,
				psprintf("column \"%s\" differs among them", clari_lists[CLARI_ENTRIES].attributes[attribute].name));
}

void
clari_pivot_check_run(const ClariPivot *pivot, uint32 run)
{
	check_several(pivot, &pivot->forecast, run, "several are of the forecast field");
	check_several(pivot, &pivot->quota, run, "several are of the quota field");
	for (int i = 0; i < pivot->nshared; i++)
		check_shared(pivot, pivot->shared[i], run);
}

/* Lists the rows that are not the first of their run; returns how many. */
static uint32
list_followers(ClariPivot *pivot)
{
	uint32 count = 0;

	for (uint32 run = 0; run < pivot->group->nruns; run++)
		for (uint32 row = pivot->begins[run] + 1; row < run_end(pivot, run); row++)
			pivot->list[count++] = row;
	return count;
}

/* Does each of the rows have the same value as the row before it? */
static bool
all_as_before(const ClariChunk *chunk, const uint32 *rows, uint32 count)
{
	bool differ = false;

	if (chunk->encoding == CLARI_ENCODING_CONSTANT || chunk->encoding == CLARI_ENCODING_NULL)
		return true;
	if (chunk->encoding == CLARI_ENCODING_DICTIONARY)
	{
		/* The loop does not stop at the first difference: a branch for each row would cost more than that saves. */
		for (uint32 i = 0; i < count; i++)
			differ |= chunk->codes[rows[i]] != chunk->codes[rows[i] - 1];
		return !differ;
	}
	for (uint32 i = 0; i < count && !differ; i++)
		differ = !same_cell(chunk, rows[i] - 1, rows[i]);
	return !differ;
}

bool
clari_pivot_all_make_rows(ClariPivot *pivot)
{
	uint32 count;

	if (pivot->has_several)
		return false;
	if (pivot->nshared == 0)
		return true;
	count = list_followers(pivot);
	for (int i = 0; i < pivot->nshared; i++)
		if (!all_as_before(&pivot->chunks[pivot->shared[i]], pivot->list, count))
			return false;
	return true;
}

/* ------- with a filter ------- */

uint32
clari_pivot_runs_of_rows(const ClariPivot *pivot, uint32 *rows, uint32 count)
{
	uint32 nruns = 0;
	uint32 run = 0;

	for (uint32 i = 0; i < count; i++)
	{
		if (nruns > 0 && rows[i] < run_end(pivot, rows[nruns - 1]))
			continue;
		while (rows[i] >= run_end(pivot, run))
			run++;
		rows[nruns++] = run;
	}
	return nruns;
}
