/*
 * cells.c
 *		Rows of a rowset as Datums in a slot: see cells.h.
 *
 * Runs in sessions.  Where the declared type is the stored one nothing is
 * copied: a text or numeric Datum is a pointer into the chunk.  Other types go
 * through the output function of the stored type and the input function of the
 * declared one; a database that is not UTF-8 gets its texts converted.
 */
#include "postgres.h"

#include "cells.h"

#include "columns.h"
#include "pivot.h"

#include "executor/tuptable.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* One needed column of the table. */
typedef struct Cell
{
	int index; /* in the slot */
	const char *name;
	ClariColumn column;
	bool convert; /* to the declared type */
	FmgrInfo output;
	FmgrInfo input;
	Oid ioparam;
	int32 typmod;
	Datum constant; /* of a column that is the same for the whole rowset */
	ClariChunk *chunk;
} Cell;

struct ClariCells
{
	const ClariOptions *options;
	MemoryContext context;
	MemoryContext rowset_context; /* constants of the open rowset */
	MemoryContext row_context;    /* converted values of one row */
	bool recode;                  /* the database is not UTF-8 */
	bool pivots;                  /* object forecasts */
	int ncells;
	Cell *cells;
	bool wanted[CLARI_MAX_ATTRIBUTES]; /* attributes whose chunks are needed */
	ClariChunkBuffer buffers[CLARI_CHUNK_COUNT];
	ClariChunk chunks[CLARI_CHUNK_COUNT];
	ClariPivot *pivot;
	ClariReader *reader;
	ClariList list;
	int group; /* open group, or the next one to look at */
	uint32 row;
	uint32 nrows; /* of the open group: runs for forecasts */
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
	{
		cells->wanted[column->attribute] = true;
		cell->chunk = &cells->chunks[column->attribute];
	}
}

ClariCells *
clari_cells_begin(const ClariOptions *options, TupleDesc tupdesc, List *needed)
{
	ClariCells *cells = palloc0(sizeof(ClariCells));
	ClariColumn *columns = clari_columns_map(options->relid, options->object, tupdesc);
	ListCell *lc;

	cells->options = options;
	cells->context = CurrentMemoryContext;
	cells->rowset_context = AllocSetContextCreate(CurrentMemoryContext, "clari_fdw rowset", ALLOCSET_SMALL_SIZES);
	cells->row_context = AllocSetContextCreate(CurrentMemoryContext, "clari_fdw row", ALLOCSET_SMALL_SIZES);
	cells->recode = GetDatabaseEncoding() != PG_UTF8 && GetDatabaseEncoding() != PG_SQL_ASCII;
	cells->pivots = options->object == CLARI_OBJECT_FORECASTS;
	cells->list = clari_object_list(options->object);
	cells->cells = palloc0(sizeof(Cell) * Max(list_length(needed), 1));
	foreach (lc, needed)
	{
		Form_pg_attribute attribute = TupleDescAttr(tupdesc, lfirst_int(lc) - 1);

		if (!attribute->attisdropped)
			prepare_cell(cells, &cells->cells[cells->ncells++], attribute, &columns[lfirst_int(lc) - 1]);
	}
	return cells;
}

/* ------- values ------- */

/* The stored text as the database's encoding has it; raises if that lacks a character. */
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

/* The declared type's value of the text, or its say on NULL, in the current context; an error names the column. */
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

/* A value of the stored type as one of the declared type. */
static Datum
convert_value(Cell *cell, Datum value)
{
	return input_value(cell, OutputFunctionCall(&cell->output, value));
}

/* A domain must see its NULLs too: its input function checks NOT NULL. */
static void
fill_null(Cell *cell, TupleTableSlot *slot)
{
	slot->tts_isnull[cell->index] = true;
	if (cell->convert && !cell->input.fn_strict)
		(void) input_value(cell, NULL);
}

static void
fill_value(Cell *cell, Datum value, TupleTableSlot *slot)
{
	if (cell->convert)
		value = convert_value(cell, value);
	slot->tts_values[cell->index] = value;
	slot->tts_isnull[cell->index] = false;
}

static void
fill_attribute(const ClariCells *cells, Cell *cell, uint32 row, TupleTableSlot *slot)
{
	if (cell->column.type == CLARI_TEXT || cell->column.type == CLARI_NUMERIC)
	{
		const char *varlena = clari_chunk_varlena(cell->chunk, row);

		if (varlena == NULL)
			fill_null(cell, slot);
		else if (cells->recode && cell->column.type == CLARI_TEXT)
			fill_value(cell, recode_text(varlena), slot);
		else
			fill_value(cell, PointerGetDatum(varlena), slot);
	}
	else
	{
		int64 fixed = clari_chunk_fixed(cell->chunk, row);

		if (fixed == CLARI_FIXED_NULL)
			fill_null(cell, slot);
		else if (cell->column.type == CLARI_TIMESTAMP)
			fill_value(cell, Int64GetDatum(fixed), slot);
		else if (cell->column.type == CLARI_DATE)
			fill_value(cell, Int32GetDatum((int32) fixed), slot);
		else
			fill_value(cell, BoolGetDatum(fixed != 0), slot);
	}
}

/* ------- rowsets and groups ------- */

static Datum
rowset_constant(const ClariCells *cells, const Cell *cell, const ClariRowsetMeta *meta)
{
	switch (cell->column.source)
	{
		case CLARI_FROM_TIME_PERIOD:
			return CStringGetTextDatum(meta->answered);
		case CLARI_FROM_FORECAST_NAME:
			return recode_text(DatumGetPointer(CStringGetTextDatum(cells->options->request.forecast)));
		default:
			return Int64GetDatum(meta->exported_at);
	}
}

void
clari_cells_open(ClariCells *cells, ClariReader *reader)
{
	MemoryContext previous;

	MemoryContextReset(cells->rowset_context);
	previous = MemoryContextSwitchTo(cells->rowset_context);
	cells->reader = reader;
	cells->group = -1;
	cells->row = cells->nrows = 0;
	cells->pivot = NULL;
	for (int i = 0; i < cells->ncells; i++)
	{
		Cell *cell = &cells->cells[i];

		if (cell->column.attribute < 0)
		{
			cell->constant = rowset_constant(cells, cell, &reader->version.meta);
			if (cell->convert)
				cell->constant = convert_value(cell, cell->constant);
		}
	}
	if (cells->pivots)
	{
		ClariColumn *columns = palloc(sizeof(ClariColumn) * Max(cells->ncells, 1));
		int ncolumns = 0;

		for (int i = 0; i < cells->ncells; i++)
			if (cells->cells[i].column.attribute >= 0)
				columns[ncolumns++] = cells->cells[i].column;
		cells->pivot = clari_pivot_open(cells->options, reader, columns, ncolumns);
	}
	MemoryContextSwitchTo(previous);
}

static void
open_chunk(ClariCells *cells, int position)
{
	clari_reader_chunk(cells->reader, cells->group, position, &cells->buffers[position], &cells->chunks[position]);
}

/* The next group of the object's list; false after the last. */
static bool
next_group(ClariCells *cells)
{
	const ClariGroupIndex *group;
	MemoryContext previous;

	do
	{
		if (++cells->group >= cells->reader->ngroups)
			return false;
		group = &cells->reader->groups[cells->group];
	} while (group->list != (uint32) cells->list);

	previous = MemoryContextSwitchTo(cells->context);
	for (int i = 0; i < CLARI_MAX_ATTRIBUTES; i++)
		if (cells->wanted[i])
			open_chunk(cells, i);
	if (cells->pivots)
	{
		open_chunk(cells, CLARI_ENTRY_FIELD_ID);
		open_chunk(cells, CLARI_RUNS_CHUNK);
		clari_pivot_group(cells->pivot, group, cells->chunks);
	}
	MemoryContextSwitchTo(previous);
	cells->row = 0;
	cells->nrows = cells->pivots ? group->nruns : group->nrows;
	return true;
}

/* ------- rows ------- */

static void
fill_row(ClariCells *cells, uint32 row, TupleTableSlot *slot)
{
	for (int i = 0; i < cells->ncells; i++)
	{
		Cell *cell = &cells->cells[i];

		if (cell->column.attribute < 0)
		{
			slot->tts_values[cell->index] = cell->constant;
			slot->tts_isnull[cell->index] = false;
		}
		else
			fill_attribute(cells, cell, row, slot);
	}
}

/* An owner's row: each column from the entry that the pivot says, NULL where there is none. */
static void
fill_owner(ClariCells *cells, uint32 run, TupleTableSlot *slot)
{
	ClariPivotRow rows = clari_pivot_row(cells->pivot, run);

	for (int i = 0; i < cells->ncells; i++)
	{
		Cell *cell = &cells->cells[i];
		int64 row = rows.first;

		if (cell->column.source == CLARI_FROM_FORECAST_FIELD)
			row = rows.forecast;
		else if (cell->column.source == CLARI_FROM_QUOTA_FIELD)
			row = rows.quota;
		if (cell->column.attribute < 0)
		{
			slot->tts_values[cell->index] = cell->constant;
			slot->tts_isnull[cell->index] = false;
		}
		else if (row < 0)
			fill_null(cell, slot);
		else
			fill_attribute(cells, cell, (uint32) row, slot);
	}
}

bool
clari_cells_next(ClariCells *cells, TupleTableSlot *slot)
{
	MemoryContext previous;

	while (cells->row >= cells->nrows)
		if (!next_group(cells))
			return false;
	ExecClearTuple(slot);
	MemoryContextReset(cells->row_context);
	previous = MemoryContextSwitchTo(cells->row_context);
	if (cells->pivots)
		fill_owner(cells, cells->row++, slot);
	else
		fill_row(cells, cells->row++, slot);
	MemoryContextSwitchTo(previous);
	ExecStoreVirtualTuple(slot);
	return true;
}
