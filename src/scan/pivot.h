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

#include "options/options.h"
#include "session/reader.h"

typedef struct ClariPivot ClariPivot;

/* Which of an owner's entries a column shows. */
typedef enum ClariPivotEntry
{
	CLARI_PIVOT_FIRST, /* any: they agree */
	CLARI_PIVOT_FORECAST,
	CLARI_PIVOT_QUOTA
} ClariPivotEntry;

#define CLARI_PIVOT_ENTRIES (CLARI_PIVOT_QUOTA + 1)

/*
 * Finds out which fields the rowset's amounts come from: those that the options
 * name, else the only ones that carry such values.  columns are the needed ones;
 * only for those a choice must be possible.  shared are the attributes that all
 * of an owner's entries must agree on.  Raises
 * ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION, listing the fields, when it
 * is not.  Lives in the current context.
 */
extern ClariPivot *clari_pivot_open(const ClariOptions *options, ClariReader *reader, const ClariColumn *columns,
									int ncolumns, const bool *shared);

/*
 * From now on runs of this group; chunks by position, those of field_id, runs
 * and the shared attributes open.
 */
extern void clari_pivot_group(ClariPivot *pivot, const ClariGroupIndex *group, const ClariChunk *chunks);

/* Finds the entries of these runs of the open group, the last included. */
extern void clari_pivot_find(ClariPivot *pivot, uint32 first, uint32 last);

/* By run, if it was among those: the row of that entry, or -1 where the owner has none.  Valid until the next group. */
extern const int32 *clari_pivot_rows(const ClariPivot *pivot, ClariPivotEntry entry);

/* Whether every run of the open group makes one row, as far as they were found: quicker than to check each. */
extern bool clari_pivot_is_sound(ClariPivot *pivot);

/*
 * Raises ERRCODE_CARDINALITY_VIOLATION when the entries of a run do not make one
 * row: two entries of one field, or an attribute that differs among them.
 */
extern void clari_pivot_check(const ClariPivot *pivot, uint32 run);

/* Of rows of the group, ascending, the runs that they belong to, in place; returns how many. */
extern uint32 clari_pivot_runs(const ClariPivot *pivot, uint32 *rows, uint32 count);

#endif /* CLARI_PIVOT_H */
