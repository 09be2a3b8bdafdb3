/*
 * internal.h
 *		What the files of the room scan share: forming rows, the pivot of
 *		"forecasts", parallel scans, and what EXPLAIN needs to know of a scan.
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
 * Makes one row of an owner's entries, of which there is one per field.  They are
 * stored together, grouped by user and time frame; such a group is called a run.
 * For each run, the pivot finds the entry of the forecast field and that of the
 * quota field.
 */

typedef struct ClariPivot ClariPivot;

/* The entry of a run from which a column takes its value. */
typedef enum ClariPivotEntry
{
	CLARI_PIVOT_FIRST, /* any entry; all of them have the same value */
	CLARI_PIVOT_FORECAST,
	CLARI_PIVOT_QUOTA
} ClariPivotEntry;

#define CLARI_PIVOT_ENTRIES (CLARI_PIVOT_QUOTA + 1)

/*
 * Determines from which fields the rowset's amounts are taken: those that the
 * options name, or else the only fields with such amounts.  columns are the needed
 * columns; only for their amounts a field must be found.  shared tells for each
 * attribute whether all entries of an owner must have the same value.  The result
 * is palloc'd in the current context.  Raises
 * ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION, with a list of the fields, if
 * there are several, or if the field that an option names does not exist.
 */
extern ClariPivot *clari_pivot_open(const ClariOptions *options, ClariReader *reader, const ClariColumn *columns,
									int ncolumns, const bool *shared);

/*
 * Switches to the runs of this group.  chunks is indexed by position; those of
 * field_id, of the runs and of the shared attributes must be open.
 */
extern void clari_pivot_open_group(ClariPivot *pivot, const ClariGroupIndex *group, const ClariChunk *chunks);

/* Finds the entries of the runs from first to last (inclusive) of the open group. */
extern void clari_pivot_find_entries(ClariPivot *pivot, uint32 first, uint32 last);

/*
 * An array indexed by run, for the runs searched: the row of that entry, or -1 if
 * there is none.  Valid until the next group.
 */
extern const int32 *clari_pivot_rows(const ClariPivot *pivot, ClariPivotEntry entry);

/* Do the entries of every run of the open group make one row?  Faster than checking each run. */
extern bool clari_pivot_all_make_rows(ClariPivot *pivot);

/*
 * Raises ERRCODE_CARDINALITY_VIOLATION if the entries of a run do not make one
 * row: there are two entries of a field, or a shared attribute differs among
 * them.
 */
extern void clari_pivot_check_run(const ClariPivot *pivot, uint32 run);

/*
 * Replaces row numbers of the group, ascending, by the runs to which they belong,
 * in place.  Returns how many runs these are.
 */
extern uint32 clari_pivot_runs_of_rows(const ClariPivot *pivot, uint32 *rows, uint32 count);

/*
 * ------- cells.c -------
 *
 * Forms rows of a rowset as Datums in a slot: which chunk and which conversion a
 * column needs.
 */

typedef struct ClariCells ClariCells;

/* What was done so far, for EXPLAIN. */
typedef struct ClariCellsUse
{
	uint64 bytes;   /* size of the chunks that were opened */
	uint64 skipped; /* rows that were not formed because of the filter */
} ClariCellsUse;

/*
 * Prepares to fill the needed columns (attribute numbers) in slots of this
 * tupdesc with the rows that pass the filter (NULL: all).  With keep, rowsets
 * will probably be opened again, and what can be reused is kept.  The result, and
 * chunks that are read from files, are palloc'd in the current context.
 */
extern ClariCells *
clari_cells_begin(const ClariOptions *options, TupleDesc tupdesc, List *needed, ClariFilter *filter, bool keep);

/*
 * Switches to the rows of this rowset, beginning with the first.  Raises
 * ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION if a needed amount could come
 * from several fields and no option chooses one, or if the rowset has no entries
 * of the table's period type.
 */
extern void clari_cells_open(ClariCells *cells, ClariReader *reader);

/* Switches to the rows of this group of the open rowset.  If the group belongs to another list, it has no rows. */
extern void clari_cells_open_group(ClariCells *cells, int group);

/*
 * Stores the next row in the slot, or returns false after the last.  All calls
 * must use the same slot.  The row is a virtual tuple, whose values may point
 * into the rowset and are valid until the next call.  Raises the errors of the
 * input functions of the declared types, with the column's name in the context.
 */
extern bool clari_cells_next(ClariCells *cells, TupleTableSlot *slot);

extern const ClariCellsUse *clari_cells_use(const ClariCells *cells);

/*
 * ------- parallel.c -------
 *
 * The versions that the leader opened are listed in the query's shared memory,
 * and each participant claims one row group at a time.  There is no lock, only an
 * atomic counter.
 */

typedef struct ClariParallel ClariParallel;

/* The size in bytes for a scan of at most capacity rowsets. */
extern Size clari_parallel_size(int capacity);

/* Initializes the memory, without rowsets.  Called by the leader. */
extern void clari_parallel_init(ClariParallel *parallel, int capacity);

/* Offers the rowsets, with all groups unclaimed.  Called by the leader before participants begin. */
extern void clari_parallel_offer(ClariParallel *parallel, ClariReader *const *readers, int count);

/* Claims a group for the caller, and sets its rowset and its number there.  Returns false if all are claimed. */
extern bool clari_parallel_claim(ClariParallel *parallel, int *rowset, int *group);

/* The number of rowsets offered, and the version of one of them, as opened by the leader. */
extern int clari_parallel_rowsets(const ClariParallel *parallel);
extern const ClariVersion *clari_parallel_version(const ClariParallel *parallel, int rowset);

/* Adds use to the counters of all participants; and returns these counters. */
extern void clari_parallel_count(ClariParallel *parallel, const ClariCellsUse *use);
extern ClariCellsUse clari_parallel_use(ClariParallel *parallel);

/* ------- scan.c, for EXPLAIN ------- */

/* Does the scan only count rows, without reading them? */
extern bool clari_scan_counts(ForeignScanState *node);

/* The options of a scan that has begun; *authenticated is set to whether there is an API key. */
extern const ClariOptions *clari_scan_options(ForeignScanState *node, bool *authenticated);

/*
 * Sets periods (room for CLARI_EXTENT_MAX_PERIODS) to the quarters that the scan
 * would read, ascending, as far as they are known without asking Clari.  Returns
 * how many they are, or -1 if the current quarter is needed and not known.
 */
extern int clari_scan_periods(ForeignScanState *node, ClariPeriod *periods);

/* The fetch of the scan, NULL before execution; and the use of all participants. */
extern const ClariFetch *clari_scan_fetch(ForeignScanState *node);
extern ClariCellsUse clari_scan_use(ForeignScanState *node);

#endif /* CLARI_SCAN_INTERNAL_H */
