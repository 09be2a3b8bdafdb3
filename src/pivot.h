/*
 * pivot.h
 *		The pivot of "forecasts": an owner's entries, one per field, become one row.
 *
 * Entries lie grouped by user and time frame, so this is a choice among
 * neighbours: for each run, which entry is the forecast field's and which the
 * quota field's.
 */
#ifndef CLARI_PIVOT_H
#define CLARI_PIVOT_H

#include "postgres.h"

#include "options.h"
#include "reader.h"

typedef struct ClariPivot ClariPivot;

/* Rows of the group, or -1 where the owner has no such entry. */
typedef struct ClariPivotRow
{
	int64 first;
	int64 forecast;
	int64 quota;
} ClariPivotRow;

/*
 * Finds out which fields the rowset's amounts come from: those that the options
 * name, else the only ones that carry such values.  columns are the needed ones;
 * only for those a choice must be possible.  Raises
 * ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION, listing the fields, when it
 * is not.  Lives in the current context.
 */
extern ClariPivot *
clari_pivot_open(const ClariOptions *options, ClariReader *reader, const ClariColumn *columns, int ncolumns);

/* From now on rows of this group; chunks by position, those of field_id, runs and the needed columns open. */
extern void clari_pivot_group(ClariPivot *pivot, const ClariGroupIndex *group, const ClariChunk *chunks);

/*
 * The entries of a run.  Raises ERRCODE_CARDINALITY_VIOLATION when they do not
 * make one row: two entries of one field, or a column that differs among them.
 */
extern ClariPivotRow clari_pivot_row(ClariPivot *pivot, uint32 run);

#endif /* CLARI_PIVOT_H */
