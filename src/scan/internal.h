/*
 * internal.h
 *		What the files of room scan share: rows as Datums, the pivot of "forecasts",
 *		the sharing of rowsets among participants, and what EXPLAIN asks of a scan.
 */
#ifndef CLARI_SCAN_INTERNAL_H
#define CLARI_SCAN_INTERNAL_H

#include "postgres.h"

#include "executor/tuptable.h"
#include "nodes/execnodes.h"

#include "options/options.h"
#include "plan/filter.h"
#include "session/fetch.h"
#include "session/reader.h"

/*
 * ------- pivot.c -------
 *
 * An owner's entries, one per field, become one row.  They lie grouped by user and
 * time frame, so this is a choice among neighbors: for each run, which entry is the
 * forecast field's and which the quota field's.
 */

typedef struct ClariPivot ClariPivot;

/* Which of an owner's entries a column shows. */
typedef enum ClariPivotEntry
{
	CLARI_PIVOT_FIRST, /* any entry, as all of them agree */
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
extern void clari_pivot_open_group(ClariPivot *pivot, const ClariGroupIndex *group, const ClariChunk *chunks);

/* Finds the entries of these runs of the open group, the last included. */
extern void clari_pivot_find_entries(ClariPivot *pivot, uint32 first, uint32 last);

/* By run, if it was among those: the row of that entry, or -1: the owner has none.  Valid until the next group. */
extern const int32 *clari_pivot_rows(const ClariPivot *pivot, ClariPivotEntry entry);

/* Does every run of the open group, as far as entries were found, make one row?  Quicker than to check each. */
extern bool clari_pivot_all_make_rows(ClariPivot *pivot);

/*
 * Raises ERRCODE_CARDINALITY_VIOLATION when the entries of a run do not make one
 * row: two entries of one field, or an attribute that differs among them.
 */
extern void clari_pivot_check_run(const ClariPivot *pivot, uint32 run);

/* Replaces rows of the group, ascending, by the runs that they belong to, in place; returns how many these are. */
extern uint32 clari_pivot_runs_of_rows(const ClariPivot *pivot, uint32 *rows, uint32 count);

/*
 * ------- cells.c -------
 *
 * Rows of a rowset as Datums in a slot: which chunk, which conversion.
 */

typedef struct ClariCells ClariCells;

/* What was done so far, for EXPLAIN. */
typedef struct ClariCellsUse
{
	uint64 bytes;   /* of the chunks that were opened */
	uint64 skipped; /* rows that the filter kept from being formed */
} ClariCellsUse;

/*
 * Prepares to fill the needed columns (attribute numbers) of slots of this
 * tupdesc from the rows that pass the filter (NULL: all).  With keep, rowsets are
 * likely to be opened again, and what can be used again is kept.  Lives in the
 * current context, as do the chunks that it reads from files.
 */
extern ClariCells *
clari_cells_begin(const ClariOptions *options, TupleDesc tupdesc, List *needed, ClariFilter *filter, bool keep);

/*
 * From now on rows of this rowset, from its first.  Raises
 * ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION where a needed amount could
 * come from several fields and no option says from which.
 */
extern void clari_cells_open(ClariCells *cells, ClariReader *reader);

/* From now on rows of this one of the open rowset's groups; it may be one of another list, and have no rows. */
extern void clari_cells_open_group(ClariCells *cells, int group);

/*
 * Stores the next row in the slot, always the same one (a virtual tuple whose
 * values point into the rowset, valid until the next call), or returns false at
 * the end.  Raises what the input function of a declared type raises, and names
 * the column.
 */
extern bool clari_cells_next(ClariCells *cells, TupleTableSlot *slot);

extern const ClariCellsUse *clari_cells_use(const ClariCells *cells);

/*
 * ------- parallel.c -------
 *
 * The leader's versions lie in the query's shared memory; each participant claims a
 * row group at a time.  No lock: a counter.
 */

typedef struct ClariParallel ClariParallel;

/* Bytes for a scan of at most so many rowsets. */
extern Size clari_parallel_size(int capacity);

/* Makes the memory a ClariParallel without rowsets.  For the leader. */
extern void clari_parallel_init(ClariParallel *parallel, int capacity);

/* Offers the rowsets, with all groups unclaimed; before participants begin.  For the leader. */
extern void clari_parallel_offer(ClariParallel *parallel, ClariReader *const *readers, int count);

/* Claims a group for the caller: of which rowset, and its number there.  False when all are claimed. */
extern bool clari_parallel_claim(ClariParallel *parallel, int *rowset, int *group);

/* How many rowsets are offered, and the version of one: that which the leader opened. */
extern int clari_parallel_rowsets(const ClariParallel *parallel);
extern const ClariVersion *clari_parallel_version(const ClariParallel *parallel, int rowset);

/* Adds to what all participants have done; and tells what that is so far. */
extern void clari_parallel_count(ClariParallel *parallel, const ClariCellsUse *use);
extern ClariCellsUse clari_parallel_use(ClariParallel *parallel);

/* ------- scan.c, for EXPLAIN ------- */

/* Does it count rows, without reading them? */
extern bool clari_scan_counts(ForeignScanState *node);

/* The options of a begun scan; *authenticated: is there an API key? */
extern const ClariOptions *clari_scan_options(ForeignScanState *node, bool *authenticated);

/*
 * The quarters that the scan would read, as far as they are known without
 * asking Clari: ascending in periods (room for CLARI_EXTENT_MAX_PERIODS).
 * Returns how many; -1 when the current quarter is not known.
 */
extern int clari_scan_periods(ForeignScanState *node, ClariPeriod *periods);

/* Where the scan's rows came from, or NULL before it is executed; and what all participants did with them. */
extern const ClariFetch *clari_scan_fetch(ForeignScanState *node);
extern ClariCellsUse clari_scan_use(ForeignScanState *node);

#endif /* CLARI_SCAN_INTERNAL_H */
