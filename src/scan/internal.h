/*
 * internal.h
 *		What the files of room scan share: rows as Datums, the pivot of "forecasts",
 *		the distribution of rowsets among participants, and what EXPLAIN needs to
 *		know about a scan.
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
 * The entries of an owner, one per field, become one row.  They are adjacent in the
 * rowset and form a run of one user, time frame and period.  So the pivot only has
 * to find, in each run, the entries of the forecast field and of the quota field.
 */

typedef struct ClariPivot ClariPivot;

/* Which of an owner's entries a column shows. */
typedef enum ClariPivotEntry
{
	CLARI_PIVOT_FIRST, /* the first entry of the run; all of them have the same value */
	CLARI_PIVOT_FORECAST,
	CLARI_PIVOT_QUOTA
} ClariPivotEntry;

#define CLARI_PIVOT_ENTRIES (CLARI_PIVOT_QUOTA + 1)

/*
 * Determines which fields the amounts come from: those that the options name, else
 * the only ones that carry such values.  It does so only for the needed columns,
 * which are given, and raises ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION if
 * several fields qualify or an option's field does not exist.  shared tells, by
 * attribute, whether all entries of an owner must agree on it.  The pivot is
 * allocated in the current context.
 */
extern ClariPivot *clari_pivot_open(const ClariOptions *options, ClariReader *reader, const ClariColumn *columns,
									int ncolumns, const bool *shared);

/*
 * Continues with the runs of this group.  chunks is indexed by position; those of
 * field_id, runs and the shared attributes must be open.
 */
extern void clari_pivot_open_group(ClariPivot *pivot, const ClariGroupIndex *group, const ClariChunk *chunks);

/* Finds the entries of the runs from first to last, inclusive, of the open group. */
extern void clari_pivot_find_entries(ClariPivot *pivot, uint32 first, uint32 last);

/*
 * The rows of the entries that were found, indexed by run; -1 if the owner has no
 * such entry.  Valid until the next group is opened.
 */
extern const int32 *clari_pivot_rows(const ClariPivot *pivot, ClariPivotEntry entry);

/*
 * Does every run of the open group make one row?  Several entries of one field are
 * noticed only in runs for which clari_pivot_find_entries() was called.  This is
 * faster than checking each run.
 */
extern bool clari_pivot_all_make_rows(ClariPivot *pivot);

/*
 * Raises ERRCODE_CARDINALITY_VIOLATION if the entries of a run do not make one row:
 * two are of the forecast field or of the quota field, or a shared attribute differs.
 */
extern void clari_pivot_check_run(const ClariPivot *pivot, uint32 run);

/* Replaces ascending row numbers of the group by the numbers of their runs, in place; returns the number of runs. */
extern uint32 clari_pivot_runs_of_rows(const ClariPivot *pivot, uint32 *rows, uint32 count);

/*
 * ------- cells.c -------
 *
 * Fills slots with the rows of a rowset, as Datums of the declared types.
 */

typedef struct ClariCells ClariCells;

/* What was read so far, for EXPLAIN. */
typedef struct ClariCellsUse
{
	uint64 bytes;   /* total size of the chunks that were opened */
	uint64 skipped; /* rows that were not formed: the filter or the table's type of period excludes them */
} ClariCellsUse;

/*
 * Prepares to fill the needed columns (attribute numbers) of slots of this tupdesc
 * from the rows that pass the filter (all rows if it is NULL).  keep says that rowsets
 * are likely to be opened again, so that what was computed for them is kept.
 * Everything is allocated in the current context, even chunks read from files.
 */
extern ClariCells *
clari_cells_begin(const ClariOptions *options, TupleDesc tupdesc, List *needed, ClariFilter *filter, bool keep);

/*
 * Continues with the first row of this rowset.  For "forecasts", raises
 * ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION as clari_pivot_open() does, and if
 * the rowset has only entries of other types of periods than the table's.
 */
extern void clari_cells_open(ClariCells *cells, ClariReader *reader);

/* Continues with the rows of only this group of the open rowset.  A group of another list has no rows. */
extern void clari_cells_open_group(ClariCells *cells, int group);

/*
 * Stores the next row in the slot, or returns false at the end.  All calls must pass
 * the same slot.  The row is a virtual tuple whose values point into the rowset and
 * are valid until the next call.  Raises what the input function of a declared type
 * raises, with the column's name as context, and what clari_pivot_check_run() raises.
 */
extern bool clari_cells_next(ClariCells *cells, TupleTableSlot *slot);

extern const ClariCellsUse *clari_cells_use(const ClariCells *cells);

/*
 * ------- parallel.c -------
 *
 * The versions that the leader reads are in the query's shared memory, and each
 * participant claims one row group at a time.  This takes no lock, but increments an
 * atomic counter.
 */

typedef struct ClariParallel ClariParallel;

/* The size in bytes for a scan of at most this many rowsets. */
extern Size clari_parallel_size(int capacity);

/* Initializes the memory as a ClariParallel without rowsets; called by the leader. */
extern void clari_parallel_init(ClariParallel *parallel, int capacity);

/* Offers the rowsets, with all groups unclaimed; called by the leader before workers are launched. */
extern void clari_parallel_offer(ClariParallel *parallel, ClariReader *const *readers, int count);

/* Claims a group for the caller; returns the rowset and the group's number in it, or false if all are claimed. */
extern bool clari_parallel_claim(ClariParallel *parallel, int *rowset, int *group);

/* The number of offered rowsets, and the version of one of them that the leader has opened. */
extern int clari_parallel_rowsets(const ClariParallel *parallel);
extern const ClariVersion *clari_parallel_version(const ClariParallel *parallel, int rowset);

/* Adds to the use of all participants, and returns it. */
extern void clari_parallel_count(ClariParallel *parallel, const ClariCellsUse *use);
extern ClariCellsUse clari_parallel_use(ClariParallel *parallel);

/* ------- scan.c, for EXPLAIN ------- */

/* Does the scan count rows without reading them? */
extern bool clari_scan_counts(ForeignScanState *node);

/* The options of a scan that has begun; *authenticated tells whether the user mapping has an API key. */
extern const ClariOptions *clari_scan_options(ForeignScanState *node, bool *authenticated);

/*
 * Writes the quarters that the scan reads, as far as this is known without a request
 * to Clari, to periods (room for CLARI_EXTENT_MAX_PERIODS), ascending.  Returns how
 * many there are, or -1 if they depend on the current quarter and that is not known.
 */
extern int clari_scan_periods(ForeignScanState *node, ClariPeriod *periods);

/* The scan's fetch, which knows where rows came from; NULL if the scan is not executed, or in a parallel worker. */
extern const ClariFetch *clari_scan_fetch(ForeignScanState *node);

/* The use of all participants so far; in a parallel scan, after shutdown. */
extern ClariCellsUse clari_scan_use(ForeignScanState *node);

#endif /* CLARI_SCAN_INTERNAL_H */
