/*
 * cells.h
 *		Rows of a rowset as Datums in a slot: which chunk, which conversion, and
 *		the pivot of "forecasts".
 */
#ifndef CLARI_CELLS_H
#define CLARI_CELLS_H

#include "postgres.h"

#include "executor/tuptable.h"

#include "options/options.h"
#include "plan/filter.h"
#include "session/reader.h"

typedef struct ClariCells ClariCells;

/* What was done so far, for EXPLAIN. */
typedef struct ClariCellsUse
{
	uint64 bytes;   /* of the chunks that were opened */
	uint64 skipped; /* rows that the filter kept from being formed */
} ClariCellsUse;

/*
 * Prepares to fill the needed columns (attribute numbers) of slots of this
 * tupdesc from the rows that pass the filter (NULL: all).  Lives in the current
 * context, as do the chunks that it reads from files.
 */
extern ClariCells *clari_cells_begin(const ClariOptions *options, TupleDesc tupdesc, List *needed, ClariFilter *filter);

/*
 * From now on rows of this rowset, from its first.  Raises
 * ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION where a needed amount could
 * come from several fields and no option says from which.
 */
extern void clari_cells_open(ClariCells *cells, ClariReader *reader);

/* From now on rows of this one of the open rowset's groups; it may be of another list, and have none. */
extern void clari_cells_limit(ClariCells *cells, int group);

/*
 * Stores the next row in the slot, always the same one (a virtual tuple whose
 * values point into the rowset, valid until the next call), or returns false at
 * the end.  Raises what the input function of a declared type raises, and names
 * the column.
 */
extern bool clari_cells_next(ClariCells *cells, TupleTableSlot *slot);

extern const ClariCellsUse *clari_cells_use(const ClariCells *cells);

#endif /* CLARI_CELLS_H */
