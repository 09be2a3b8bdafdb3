/*
 * cells.c
 *		Forming rows of a rowset as Datums in a slot: see internal.h.
 *
 * Runs in sessions.  If the declared type is the stored one, nothing is copied: a
 * text or numeric Datum is a pointer into the chunk.  For another declared type,
 * the value passes through the output function of the stored type and the input
 * function of the declared one.  If the database's encoding is not UTF-8, texts
 * are converted.
 */
#include "postgres.h"

#include "scan/internal.h"

#include "base/report.h"
#include "options/columns.h"
#include "compat.h"

#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* One needed column of the table. */
typedef struct Cell
{
	int index; /* of the column in the slot, starting at 0 */
	const char *name;
	ClariColumn column;
	bool convert; /* the declared type is not the stored one */
	FmgrInfo output;
	FmgrInfo input;
	Oid ioparam;
	int32 typmod;
} Cell;

/* An open rowset, and what was prepared for it. */
typedef struct Rowset
{
	ClariReader *reader;
	MemoryContext context; /* owns the following members */
	Datum *constants;      /* by cell: the value, if it is the same for all rows and not from an attribute */
	ClariPivot *pivot;     /* NULL: each stored row is a row of the table */
	/* of "forecasts": there are entries of other period types than the table's, which are not shown */
	bool mixed;
	ClariChunk *hashes; /* by group and hashed attribute: hashes that are kept; NULL: none */
	struct Rowset *next;
} Rowset;

/* How a column gets its values from the open group. */
typedef enum FillWay
{
	FILL_BY_CODE,  /* each row has a code in the chunk's dictionary; code 0 is NULL */
	FILL_BY_ROW,   /* each row has a value of its own, at an offset in the chunk; offset 0 is NULL */
	FILL_FIXED,    /* each row has a number, which is the Datum */
	FILL_CONSTANT, /* all entries have the same value; an owner without such an entry gets NULL */
	FILL_CONVERTED /* the value is converted to the declared type or the database's encoding; for all kinds of chunks */
} FillWay;

/*
 * A column whose values differ between the rows of the open group.  Everything
 * that the inner loop needs is copied into one place, so that it reads little
 * memory per row.
 */
typedef struct Filler
{
	FillWay way;
	int index;         /* of the column in the slot, starting at 0 */
	const int32 *rows; /* with a pivot, by run: the row with the value, or -1; without one NULL */
	const char *bytes; /* this and the next three: members of the chunk */
	const uint16 *codes;
	const uint32 *offsets;
	const int64 *fixed;
	Cell *cell;
} Filler;

struct ClariCells
{
	const ClariOptions *options;
	ClariFilter *filter;
	MemoryContext context;
	MemoryContext row_context; /* owns the converted values of one row */
	bool recode;               /* texts are converted, because the database's encoding is not UTF-8 */
	bool keeps;                /* what was prepared for a rowset is kept until it is opened again */
	Size kept;                 /* size of the hashes that are kept */
	int ncells;
	Cell *cells;
	bool needed[CLARI_MAX_ATTRIBUTES]; /* by attribute: its chunk is needed to form rows */
	bool shared[CLARI_MAX_ATTRIBUTES]; /* by attribute: all entries of an owner must agree on it */
	ClariChunkBuffer buffers[CLARI_CHUNK_COUNT];
	ClariChunk chunks[CLARI_CHUNK_COUNT];
	Rowset *rowsets;   /* all that are kept, or only the last one */
	Rowset *rowset;    /* the open one; pivot, reader and mixed are copied from it */
	ClariPivot *pivot; /* NULL: each stored row is a row of the table */
	ClariReader *reader;
	ClariList list;
	bool mixed; /* the rowset also has entries of other period types, which are not shown */

	/* The open group, or the last one that was examined. */
	int group;
	int end;         /* number of the first group that is not to be read */
	uint32 position; /* of the next row, from 0 to count */
	uint32 count;    /* number of rows to be formed; with a pivot, one per run */
	bool picking;    /* only rows (or runs) in picked are shown */
	uint32 *picked;  /* numbers of these rows or, with a pivot, of runs */
	uint32 npicked;  /* allocated elements of picked */
	bool prepared;   /* the slot has the values that are the same for all rows of the group */
	bool check_runs; /* each run is checked when it becomes a row: do its entries make one row? */
	bool converts;   /* one of the fillers is FILL_CONVERTED */
	int nfillers;
	Filler *fillers; /* has room for all cells */

	ClariCellsUse use;
};

/* ------- preparing ------- */

static void
prepare_conversion(Cell *cell, Form_pg_attribute attribute)
{
	Oid function;
	bool is_varlena;

	getTypeOutputInfo(clari_columns_type(cell->column.type), &function, &is_varlena);
	fmgr_info(function, &cell->output);
	getTypeInputInfo(attribute->atttypid, &function, &cell->ioparam);
	fmgr_info(function, &cell->input);
	cell->typmod = attribute->atttypmod;
}

static void
prepare_cell(ClariCells *cells, Cell *cell, Form_pg_attribute attribute, const ClariColumn *column)
{
	cell->index = attribute->attnum - 1;
	cell->name = pstrdup(NameStr(attribute->attname));
	cell->column = *column;
	cell->convert = !clari_columns_same_type(column->type, attribute);
	if (cell->convert)
		prepare_conversion(cell, attribute);
	if (column->attribute >= 0)
		cells->needed[column->attribute] = true;
	if (column->source == CLARI_FROM_ATTRIBUTE)
		cells->shared[column->attribute] = true;
}

/* The attributes that the filter tests must be the same for all entries of an owner as well. */
static void
share_filtered(ClariCells *cells)
{
	for (int i = 0; cells->filter != NULL && i < CLARI_MAX_ATTRIBUTES; i++)
		cells->shared[i] = cells->shared[i] || clari_filter_needs(cells->filter, i);
}

ClariCells *
clari_cells_begin(const ClariOptions *options, TupleDesc tupdesc, List *needed, ClariFilter *filter, bool keep)
{
	ClariCells *cells = palloc0(sizeof(ClariCells));
	ClariColumn *columns = clari_columns_map(options, tupdesc);
	ListCell *lc;

	cells->options = options;
	cells->filter = filter;
	cells->keeps = keep;
	cells->context = CurrentMemoryContext;
	cells->row_context = AllocSetContextCreate(CurrentMemoryContext, "clari_fdw row", ALLOCSET_SMALL_SIZES);
	cells->recode = GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
	cells->list = clari_object_list(options->object);
	cells->cells = palloc0(sizeof(Cell) * Max(list_length(needed), 1));
	cells->fillers = palloc(sizeof(Filler) * Max(list_length(needed), 1));
	foreach (lc, needed)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, lfirst_int(lc) - 1);

		if (!attribute->attisdropped)
			prepare_cell(cells, &cells->cells[cells->ncells++], attribute, &columns[lfirst_int(lc) - 1]);
	}
	share_filtered(cells);
	return cells;
}

/* ------- values ------- */

/* The stored text in the database's encoding; raises an error if that lacks a character. */
static Datum
recode_text(const char *varlena)
{
	char *text = pg_any_to_server(VARDATA_ANY(varlena), VARSIZE_ANY_EXHDR(varlena), PG_UTF8);

	if (text == VARDATA_ANY(varlena))
		return PointerGetDatum(varlena);
	return CStringGetTextDatum(text);
}

static void
conversion_error_callback(void *arg)
{
	errcontext("column \"%s\" of a clari_fdw foreign table", ((const Cell *) arg)->name);
}

/*
 * Calls the declared type's input function with the text, in the current context.
 * NULL for the text matters only to domains; the call then raises an error or
 * does nothing.  The context of an error names the column.
 */
static Datum
input_value(Cell *cell, char *text)
{
	ErrorContextCallback callback = {error_context_stack, conversion_error_callback, cell};
	Datum value;

	error_context_stack = &callback;
	value = InputFunctionCall(&cell->input, text, cell->ioparam, cell->typmod);
	error_context_stack = callback.previous;
	return value;
}

/* Converts a value of the stored type to the declared type. */
static Datum
convert_value(Cell *cell, Datum value)
{
	return input_value(cell, OutputFunctionCall(&cell->output, value));
}

/* The input function of a domain is also called for NULL, because it checks NOT NULL. */
static void
fill_null(Cell *cell, bool *isnull)
{
	*isnull = true;
	if (cell->convert && !cell->input.fn_strict)
		(void) input_value(cell, NULL);
}

static void
fill_value(Cell *cell, Datum stored, Datum *value, bool *isnull)
{
	*value = cell->convert ? convert_value(cell, stored) : stored;
	*isnull = false;
}

/* Fills a cell from a row of its chunk, which may have any encoding, and converts the value if necessary. */
static void
convert_row(const ClariCells *cells, Cell *cell, uint32 row, Datum *value, bool *isnull)
{
	const ClariChunk *chunk = &cells->chunks[cell->column.attribute];

	if (cell->column.type == CLARI_TEXT || cell->column.type == CLARI_NUMERIC)
	{
		const char *varlena = clari_chunk_varlena(chunk, row);

		if (varlena == NULL)
			fill_null(cell, isnull);
		else if (cells->recode && cell->column.type == CLARI_TEXT)
			fill_value(cell, recode_text(varlena), value, isnull);
		else
			fill_value(cell, PointerGetDatum(varlena), value, isnull);
	}
	else
	{
		int64 fixed = clari_chunk_fixed(chunk, row);

		if (fixed == CLARI_FIXED_NULL)
			fill_null(cell, isnull);
		else if (cell->column.type == CLARI_TIMESTAMP || cell->column.type == CLARI_INTEGER)
			fill_value(cell, Int64GetDatum(fixed), value, isnull);
		else if (cell->column.type == CLARI_DATE)
			fill_value(cell, Int32GetDatum((int32) fixed), value, isnull);
		else
			fill_value(cell, BoolGetDatum(fixed != 0), value, isnull);
	}
}

/*
 * Fills a cell and converts the value, in row_context, where the value is valid
 * until the next row.  A negative row means that there is no value.  Not inlined,
 * for the same reason as next_group().
 */
static pg_noinline void
fill_converted(const ClariCells *cells, Cell *cell, int32 row, Datum *value, bool *isnull)
{
	MemoryContext previous = MemoryContextSwitchTo(cells->row_context);

	if (row < 0)
		fill_null(cell, isnull);
	else
		convert_row(cells, cell, (uint32) row, value, isnull);
	MemoryContextSwitchTo(previous);
}

/* ------- rowsets ------- */

static Datum
rowset_constant(const ClariCells *cells, const Cell *cell, const ClariRowsetMeta *meta)
{
	switch (cell->column.source)
	{
		case CLARI_FROM_TIME_PERIOD:
			return CStringGetTextDatum(meta->answered);
		case CLARI_FROM_FORECAST_NAME:
			return recode_text(DatumGetPointer(CStringGetTextDatum(cells->options->forecast_name)));
		default:
			return Int64GetDatum(meta->exported_at);
	}
}

static ClariPivot *
open_pivot(ClariCells *cells, ClariReader *reader)
{
	ClariColumn *columns = palloc(sizeof(ClariColumn) * Max(cells->ncells, 1));
	int ncolumns = 0;

	for (int i = 0; i < cells->ncells; i++)
		if (cells->cells[i].column.attribute >= 0)
			columns[ncolumns++] = cells->cells[i].column;
	return clari_pivot_open(cells->options, reader, columns, ncolumns, cells->shared);
}

#define MOST_LISTED 6

/*
 * Lists the periods of the entries, for an error's detail.  The first rows
 * suffice, because an owner has entries of each.
 */
static char *
list_periods(ClariReader *reader)
{
	ClariChunkBuffer buffer = {0};
	ClariChunk ids;
	StringInfoData list;
	const char *seen[MOST_LISTED];
	int count = 0;
	int group = 0;

	initStringInfo(&list);
	while (group < reader->ngroups && reader->groups[group].list != CLARI_ENTRIES)
		group++;
	if (group == reader->ngroups)
		return list.data;
	clari_reader_chunk(reader, group, CLARI_ENTRY_TIME_PERIOD_ID, &buffer, &ids);
	for (uint32 row = 0; row < ids.nrows && count < MOST_LISTED; row++)
	{
		const char *id = clari_chunk_varlena(&ids, row);
		int i = 0;

		while (i < count && id != NULL && (VARSIZE(seen[i]) != VARSIZE(id) || memcmp(seen[i], id, VARSIZE(id)) != 0))
			i++;
		if (id == NULL || i < count)
			continue;
		appendStringInfo(&list, "%s\"%s\"", count > 0 ? ", " : "",
						 clari_report_text(TextDatumGetCString(PointerGetDatum(id))));
		seen[count++] = id;
	}
	return list.data;
}

/* Raises an error about an export without entries of the table's type; otherwise it would seem to have no rows. */
static void
raise_other_types(const ClariCells *cells, ClariReader *reader)
{
	const ClariRowsetMeta *meta = &reader->version.meta;
	StringInfoData types;

	initStringInfo(&types);
	for (int type = 0; type < CLARI_PERIOD_TYPES; type++)
		if (meta->owners[type] > 0)
			appendStringInfo(&types, "%s%s", types.len > 0 ? ", " : "", clari_period_type_names[type]);
	ereport(
		ERROR,
		(errcode(ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION),
		 errmsg("the export of period %s of forecast \"%s\" has no entries of type %s", meta->answered,
				clari_report_text(meta->forecast), clari_period_type_names[cells->options->period_type]),
		 errdetail("It has entries of type %s: %s.", types.data, list_periods(reader)),
		 errhint(
			 "Option \"period_type\" of the foreign table says which are shown; one with object 'entries' shows all.")));
}

/*
 * Are there entries of other period types than the table's?  Raises an error if
 * there are no entries of the table's type.
 */
static bool
has_other_types(const ClariCells *cells, ClariReader *reader)
{
	const ClariRowsetMeta *meta = &reader->version.meta;
	uint64 ours = meta->owners[cells->options->period_type];
	uint64 all = clari_rowset_owners(meta);

	if (ours == 0 && all > 0)
		raise_other_types(cells, reader);
	return ours < all;
}

/* Returns an empty Rowset: a new one if they are kept, otherwise the same one again. */
static Rowset *
empty_rowset(ClariCells *cells)
{
	Rowset *rowset = cells->rowsets;
	MemoryContext context;

	if (rowset != NULL && !cells->keeps)
	{
		context = rowset->context;
		MemoryContextReset(context);
	}
	else
	{
		rowset = MemoryContextAlloc(cells->context, sizeof(Rowset));
		context = AllocSetContextCreate(cells->context, "clari_fdw rowset", ALLOCSET_SMALL_SIZES);
	}
	*rowset = (Rowset){.context = context};
	return rowset;
}

static Rowset *
make_rowset(ClariCells *cells, ClariReader *reader)
{
	Rowset *rowset = empty_rowset(cells);
	MemoryContext previous = MemoryContextSwitchTo(rowset->context);
	const ClariRowsetMeta *meta = &reader->version.meta;

	rowset->constants = palloc(sizeof(Datum) * Max(cells->ncells, 1));
	for (int i = 0; i < cells->ncells; i++)
	{
		Cell *cell = &cells->cells[i];

		if (cell->column.attribute >= 0)
			continue;
		rowset->constants[i] = rowset_constant(cells, cell, meta);
		if (cell->convert)
			rowset->constants[i] = convert_value(cell, rowset->constants[i]);
	}
	rowset->mixed = cells->options->object == CLARI_OBJECT_FORECASTS && has_other_types(cells, reader);
	if (cells->options->object == CLARI_OBJECT_FORECASTS && !(meta->flags & CLARI_ROWSET_FLAT))
		rowset->pivot = open_pivot(cells, reader);
	MemoryContextSwitchTo(previous);
	rowset->reader = reader;
	rowset->next = cells->keeps ? cells->rowsets : NULL;
	cells->rowsets = rowset;
	return rowset;
}

/* Returns the rowset if it was opened before and kept; else NULL. */
static Rowset *
find_rowset(const ClariCells *cells, const ClariReader *reader)
{
	for (Rowset *rowset = cells->rowsets; rowset != NULL && cells->keeps; rowset = rowset->next)
		if (rowset->reader == reader)
			return rowset;
	return NULL;
}

void
clari_cells_open(ClariCells *cells, ClariReader *reader)
{
	Rowset *rowset = find_rowset(cells, reader);

	if (rowset == NULL)
		rowset = make_rowset(cells, reader);
	cells->rowset = rowset;
	cells->pivot = rowset->pivot;
	cells->reader = reader;
	cells->group = -1;
	cells->end = reader->ngroups;
	cells->position = cells->count = 0;
	cells->check_runs = false;
	cells->mixed = rowset->mixed;
}

void
clari_cells_open_group(ClariCells *cells, int group)
{
	cells->group = group - 1;
	cells->end = group + 1;
	cells->position = cells->count = 0;
}

/* ------- groups ------- */

static void
open_chunk(ClariCells *cells, int position)
{
	clari_reader_chunk(cells->reader, cells->group, position, &cells->buffers[position], &cells->chunks[position]);
	cells->use.bytes += cells->reader->groups[cells->group].chunks[position].length;
}

/*
 * Copies the hashes that were just read, within the limit of work_mem.  Returns
 * the copy or, beyond the limit, the original.
 */
static const ClariChunk *
keep_hashes(ClariCells *cells, int index)
{
	Rowset *rowset = cells->rowset;
	const ClariChunk *read = &cells->chunks[CLARI_HASHES_CHUNK + index];
	Size length = cells->reader->groups[cells->group].chunks[CLARI_HASHES_CHUNK + index].length;
	ClariChunk *chunk;
	char *bytes;

	if (cells->kept + length + sizeof(ClariChunk) > work_mem * (Size) 1024)
		return read;
	cells->kept += length + sizeof(ClariChunk);
	if (rowset->hashes == NULL)
		rowset->hashes = MemoryContextAllocExtended(
			rowset->context, sizeof(ClariChunk) * CLARI_HASHED_ATTRIBUTES * cells->reader->ngroups,
			MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	bytes = MemoryContextAlloc(rowset->context, length);
	memcpy(bytes, read->bytes, length);
	chunk = &rowset->hashes[cells->group * CLARI_HASHED_ATTRIBUTES + index];
	*chunk = *read;
	chunk->codes = (const uint16 *) (bytes + ((const char *) read->codes - read->bytes));
	chunk->bytes = bytes;
	return chunk;
}

/* Returns the hashes of clari_hashed_attributes[index], in the open group. */
static const ClariChunk *
open_hashes(ClariCells *cells, int index)
{
	const ClariChunk *kept = cells->rowset->hashes;

	if (kept != NULL && kept[cells->group * CLARI_HASHED_ATTRIBUTES + index].bytes != NULL)
		return &kept[cells->group * CLARI_HASHED_ATTRIBUTES + index];
	open_chunk(cells, CLARI_HASHES_CHUNK + index);
	/* Hashes that are in memory anyway cost nothing to open again. */
	if (cells->reader->base != NULL || !cells->keeps)
		return &cells->chunks[CLARI_HASHES_CHUNK + index];
	return keep_hashes(cells, index);
}

/* Do the hashes beside the chunks show that no row of the group passes the filter? */
static bool
is_ruled_out(ClariCells *cells, const ClariGroupIndex *group)
{
	for (int i = 0; i < CLARI_HASHED_ATTRIBUTES; i++)
	{
		int attribute = clari_hashed_attributes[i];

		if (cells->list != CLARI_ENTRIES || group->chunks[CLARI_HASHES_CHUNK + i].encoding == CLARI_ENCODING_NULL ||
			!clari_filter_needs(cells->filter, attribute))
			continue;
		if (!clari_filter_can_pass(cells->filter, attribute, open_hashes(cells, i)))
			return true;
	}
	return false;
}

static void
make_room_for_picked(ClariCells *cells, uint32 nrows)
{
	if (cells->npicked >= nrows)
		return;
	cells->npicked = nrows;
	cells->picked = cells->picked == NULL ? palloc_extended(sizeof(uint32) * nrows, MCXT_ALLOC_HUGE)
										  : repalloc_huge(cells->picked, sizeof(uint32) * nrows);
}

/*
 * Picks, from the rows picked so far or from all, those whose period is of the
 * table's type; false if there are none.
 */
static bool
pick_type(ClariCells *cells, const ClariGroupIndex *group)
{
	const char *name = clari_period_type_names[cells->options->period_type];
	const ClariChunk *types = &cells->chunks[CLARI_ENTRY_PERIOD_TYPE];
	Size length = strlen(name);
	uint32 nrows = cells->picking ? cells->count : group->nrows;
	uint32 count = 0;

	open_chunk(cells, CLARI_ENTRY_PERIOD_TYPE);
	make_room_for_picked(cells, group->nrows);
	for (uint32 i = 0; i < nrows; i++)
	{
		uint32 row = cells->picking ? cells->picked[i] : i;
		const char *type = clari_chunk_varlena(types, row);

		if (type != NULL && VARSIZE(type) - VARHDRSZ == length && memcmp(VARDATA(type), name, length) == 0)
			cells->picked[count++] = row;
	}
	cells->picking = true;
	cells->count = count;
	return count > 0;
}

/* Picks the rows that pass the filter; false if none does. */
static bool
filter_group(ClariCells *cells, const ClariGroupIndex *group)
{
	if (is_ruled_out(cells, group))
		return false;
	for (int i = 0; i < CLARI_MAX_ATTRIBUTES; i++)
		if (clari_filter_needs(cells->filter, i))
			open_chunk(cells, i);
	make_room_for_picked(cells, group->nrows);
	cells->count = clari_filter_group(cells->filter, cells->chunks, group->nrows, cells->picked);
	return cells->count > 0;
}

static void
open_columns(ClariCells *cells)
{
	for (int i = 0; i < CLARI_MAX_ATTRIBUTES; i++)
		if (cells->needed[i] && (cells->filter == NULL || !clari_filter_needs(cells->filter, i)))
			open_chunk(cells, i);
	if (cells->pivot == NULL)
		return;
	if (!cells->needed[CLARI_ENTRY_FIELD_ID])
		open_chunk(cells, CLARI_ENTRY_FIELD_ID);
	open_chunk(cells, CLARI_RUNS_CHUNK);
}

/* With a pivot, an array indexed by run: the row of the entry that the column shows, or -1.  Without one NULL. */
static const int32 *
entry_rows(const ClariCells *cells, const Cell *cell)
{
	if (cells->pivot == NULL)
		return NULL;
	switch (cell->column.source)
	{
		case CLARI_FROM_FORECAST_FIELD:
			return clari_pivot_rows(cells->pivot, CLARI_PIVOT_FORECAST);
		case CLARI_FROM_QUOTA_FIELD:
			return clari_pivot_rows(cells->pivot, CLARI_PIVOT_QUOTA);
		default:
			return clari_pivot_rows(cells->pivot, CLARI_PIVOT_FIRST);
	}
}

/*
 * The stored row from which a row of the table takes a column's value.  Without a
 * pivot it has the same number; with one, row is the number of a run, and -1
 * means that the owner has no such entry.
 */
static inline int32
row_of(const int32 *rows, uint32 row)
{
	return rows == NULL ? (int32) row : rows[row];
}

/*
 * Determines how the cell is filled for each row of the open group; false if this
 * is not necessary, because all rows have the same value or NULL.
 */
static bool
choose_way(const ClariCells *cells, const Cell *cell, const ClariChunk *chunk, FillWay *way)
{
	if (cell->convert || (cells->recode && cell->column.type == CLARI_TEXT))
	{
		*way = FILL_CONVERTED;
		return true;
	}
	switch (chunk->encoding)
	{
		case CLARI_ENCODING_DICTIONARY:
			*way = FILL_BY_CODE;
			return true;
		case CLARI_ENCODING_PLAIN:
			*way = FILL_BY_ROW;
			return true;
		case CLARI_ENCODING_FIXED:
			*way = FILL_FIXED;
			return true;
		case CLARI_ENCODING_CONSTANT:
			*way = FILL_CONSTANT;
			return cell->column.source != CLARI_FROM_ATTRIBUTE;
		default:
			return false;
	}
}

static void
choose_fillers(ClariCells *cells)
{
	cells->nfillers = 0;
	cells->converts = false;
	for (int i = 0; i < cells->ncells; i++)
	{
		Cell *cell = &cells->cells[i];
		const ClariChunk *chunk = &cells->chunks[Max(cell->column.attribute, 0)];
		FillWay way;

		if (cell->column.attribute < 0 || !choose_way(cells, cell, chunk, &way))
			continue;
		cells->converts = cells->converts || way == FILL_CONVERTED;
		cells->fillers[cells->nfillers++] = (Filler){
			way, cell->index, entry_rows(cells, cell), chunk->bytes, chunk->codes, chunk->offsets, chunk->fixed, cell};
	}
}

/* With a pivot, replaces the rows that were picked, or all, by runs, and finds the entries of each run. */
static void
open_runs(ClariCells *cells, const ClariGroupIndex *group)
{
	uint32 *picked = cells->picked;

	clari_pivot_open_group(cells->pivot, group, cells->chunks);
	if (cells->picking)
	{
		cells->count = clari_pivot_runs_of_rows(cells->pivot, picked, cells->count);
		clari_pivot_find_entries(cells->pivot, picked[0], picked[cells->count - 1]);
	}
	else
		clari_pivot_find_entries(cells->pivot, 0, group->nruns - 1);
	/* Checking the whole group pays only if much of it is read; a few runs are checked one by one. */
	cells->check_runs = cells->count < group->nruns / 8 || !clari_pivot_all_make_rows(cells->pivot);
}

/* Opens the group if it belongs to the object's list and has a row that can pass. */
static bool
open_group(ClariCells *cells)
{
	const ClariGroupIndex *group = &cells->reader->groups[cells->group];
	uint32 all;

	cells->position = cells->count = 0;
	if (group->list != (uint32) cells->list)
		return false;
	all = cells->pivot != NULL ? group->nruns : group->nrows;
	cells->count = all;
	cells->picking = cells->filter != NULL;
	if ((cells->filter != NULL && !filter_group(cells, group)) || (cells->mixed && !pick_type(cells, group)))
	{
		cells->count = 0;
		cells->use.skipped += all;
		return false;
	}
	open_columns(cells);
	if (cells->pivot != NULL)
		open_runs(cells, group);
	cells->use.skipped += all - cells->count;
	choose_fillers(cells);
	cells->prepared = false;
	return true;
}

/*
 * Opens the next group that has rows; false after the last.  Not inlined, so that
 * forming a row does not need its stack frame.
 */
static pg_noinline bool
next_group(ClariCells *cells)
{
	MemoryContext previous = MemoryContextSwitchTo(cells->context);
	bool found = false;

	while (!found && ++cells->group < cells->end)
		found = open_group(cells);
	MemoryContextSwitchTo(previous);
	return found;
}

/* ------- rows ------- */

/* Fills in the values that are the same for all rows of the group; they stay in the slot from row to row. */
static void
prepare_slot(ClariCells *cells, TupleTableSlot *slot)
{
	for (int i = 0; i < cells->ncells; i++)
	{
		const Cell *cell = &cells->cells[i];
		const ClariChunk *chunk = &cells->chunks[Max(cell->column.attribute, 0)];

		if (cell->column.attribute < 0)
			slot->tts_values[cell->index] = cells->rowset->constants[i];
		else if (chunk->encoding == CLARI_ENCODING_CONSTANT)
			slot->tts_values[cell->index] = PointerGetDatum(chunk->bytes);
		slot->tts_isnull[cell->index] = cell->column.attribute >= 0 && chunk->encoding == CLARI_ENCODING_NULL;
	}
	cells->prepared = true;
}

/* Fills a column from a row of the open group; a negative row means that the owner has no such entry. */
static inline void
fill_column(const ClariCells *cells, const Filler *filler, int32 row, Datum *value, bool *isnull)
{
	switch (filler->way)
	{
		case FILL_BY_CODE:
		{
			uint16 code = row < 0 ? 0 : filler->codes[row];

			*isnull = code == 0;
			if (code != 0)
				*value = PointerGetDatum(filler->bytes + filler->offsets[code - 1]);
			break;
		}
		case FILL_BY_ROW:
		{
			uint32 offset = row < 0 ? 0 : filler->offsets[row];

			*isnull = offset == 0;
			*value = PointerGetDatum(filler->bytes + offset);
			break;
		}
		case FILL_FIXED:
		{
			int64 fixed = row < 0 ? CLARI_FIXED_NULL : filler->fixed[row];

			*isnull = fixed == CLARI_FIXED_NULL;
			*value = Int64GetDatum(fixed); /* the Datum of a date or boolean equals that of its number */
			break;
		}
		case FILL_CONSTANT:
			*isnull = row < 0;
			break;
		case FILL_CONVERTED:
			fill_converted(cells, filler->cell, row, value, isnull);
			break;
	}
}

static void
fill_columns(ClariCells *cells, uint32 position, TupleTableSlot *slot)
{
	const Filler *end = cells->fillers + cells->nfillers;
	Datum *values = slot->tts_values; /* a local copy; the compiler would load it from the slot for each column */
	bool *nulls = slot->tts_isnull;

	if (cells->converts)
		MemoryContextReset(cells->row_context);
	for (const Filler *filler = cells->fillers; filler < end; filler++)
		fill_column(cells, filler, row_of(filler->rows, position), &values[filler->index], &nulls[filler->index]);
}

bool
clari_cells_next(ClariCells *cells, TupleTableSlot *slot)
{
	uint32 row;

	while (cells->position >= cells->count)
		if (!next_group(cells))
			return false;
	/*
	 * If the slot was materialized, it contains a copy of the row instead of the
	 * prepared values.  Otherwise these are still there, and only the other values
	 * are overwritten.
	 */
	if (TTS_SHOULDFREE(slot))
	{
		cells->prepared = false;
		ExecClearTuple(slot);
	}
	row = cells->picking ? cells->picked[cells->position] : cells->position;
	cells->position++;
	if (cells->check_runs)
		clari_pivot_check_run(cells->pivot, row);
	if (!cells->prepared)
		prepare_slot(cells, slot);
	fill_columns(cells, row, slot);
	if (TTS_EMPTY(slot))
		ExecStoreVirtualTuple(slot);
	return true;
}

const ClariCellsUse *
clari_cells_use(const ClariCells *cells)
{
	return &cells->use;
}
