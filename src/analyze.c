/*
 * analyze.c
 *		ANALYZE of a foreign table: see analyze.h.
 *
 * Runs in sessions and autovacuum workers.  Reads what the cache holds of the
 * table's extent, however old, with the owner's user mapping.
 */
#include "postgres.h"

#include "analyze.h"

#include "cells.h"
#include "estimate.h"
#include "reader.h"
#include "report.h"
#include "wanted.h"

#include "commands/vacuum.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/sampling.h"

/* ------- what is cached ------- */

/* The table's cached rowsets; *options are its. */
static ClariEstimate
find_cached(Relation relation, ClariOptions **options)
{
	ClariEstimate estimate = {0};
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	ClariPeriod current = CLARI_PERIOD_NONE;
	int count = 0;

	*options = clari_options_get(RelationGetRelid(relation));
	estimate.object = (*options)->object;
	if (!clari_options_authenticate(*options, relation->rd_rel->relowner, true))
		return estimate;
	if (clari_extent_is_relative(&(*options)->extent))
		current = clari_wanted_current(*options);
	if (!clari_extent_is_relative(&(*options)->extent) || current != CLARI_PERIOD_NONE)
		count = clari_extent_expand(&(*options)->extent, current, periods);
	clari_estimate_scan(&estimate, *options, true, periods, count);
	return estimate;
}

/* ------- sampling ------- */

/* All rows of the cached rowsets, one after the other. */
typedef struct Rows
{
	const ClariEstimate *cached;
	int next; /* rowset to be opened */
	ClariCells *cells;
	MemoryContext context; /* of the readers */
} Rows;

static bool
open_next(Rows *rows)
{
	ClariReader *reader;
	ClariError error;

	if (rows->next == rows->cached->nversions)
		return false;
	MemoryContextReset(rows->context);
	reader = clari_reader_open(&rows->cached->versions[rows->next++], rows->context, &error);
	if (reader == NULL)
		clari_error_report(ERROR, &error);
	clari_cells_open(rows->cells, reader);
	return true;
}

/* Passes over so many rows, and stores the next one in the slot; false: there is none. */
static bool
take_row(Rows *rows, double skip, TupleTableSlot *slot)
{
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (rows->next > 0)
		{
			skip = clari_cells_skip(rows->cells, skip);
			if (skip == 0 && clari_cells_next(rows->cells, slot))
				return true;
		}
		if (!open_next(rows))
			return false;
	}
}

static List *
all_attributes(TupleDesc tupdesc)
{
	List *attributes = NIL;

	for (int i = 0; i < tupdesc->natts; i++)
		if (!TupleDescAttr(tupdesc, i)->attisdropped)
			attributes = lappend_int(attributes, i + 1);
	return attributes;
}

/* Vitter's algorithm, as PostgreSQL samples: each row is as likely as any other to be among the wanted ones. */
static int
sample_rows(Rows *rows, TupleTableSlot *slot, HeapTuple *sample, int wanted)
{
	ReservoirStateData reservoir;
	double seen = 0;
	double skip = 0;
	int count = 0;

	reservoir_init_selection_state(&reservoir, wanted);
	while (take_row(rows, skip, slot))
	{
		seen += skip + 1;
		if (count < wanted)
			sample[count++] = ExecCopySlotHeapTuple(slot);
		else
		{
			int replaced = (int) (wanted * sampler_random_fract(&reservoir.randstate));

			heap_freetuple(sample[replaced]);
			sample[replaced] = ExecCopySlotHeapTuple(slot);
		}
		skip = count < wanted ? 0 : reservoir_get_next_S(&reservoir, seen, wanted);
	}
	return count;
}

/* AcquireSampleRowsFunc */
static int
acquire_sample_rows(Relation relation, int elevel, HeapTuple *sample, int wanted, double *totalrows,
					double *totaldeadrows)
{
	TupleDesc tupdesc = RelationGetDescr(relation);
	ClariOptions *options;
	ClariEstimate cached = find_cached(relation, &options);
	Rows rows = {.cached = &cached};
	TupleTableSlot *slot = MakeSingleTupleTableSlot(tupdesc, &TTSOpsVirtual);
	int count;

	memset(slot->tts_isnull, true, sizeof(bool) * tupdesc->natts);
	rows.cells = clari_cells_begin(options, tupdesc, all_attributes(tupdesc), NULL);
	rows.context = AllocSetContextCreate(CurrentMemoryContext, "clari_fdw sample", ALLOCSET_DEFAULT_SIZES);
	count = sample_rows(&rows, slot, sample, wanted);
	ExecDropSingleTupleTableSlot(slot);
	MemoryContextDelete(rows.context);
	*totalrows = 0;
	for (int i = 0; i < cached.nversions; i++)
		*totalrows += clari_estimate_rows(cached.object, &cached.versions[i].meta);
	*totaldeadrows = 0;
	ereport(elevel, (errmsg("\"%s\": %d periods are cached, with %.0f rows; %d rows in sample",
							RelationGetRelationName(relation), cached.nversions, *totalrows, count)));
	return count;
}

bool
clariAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *sample, BlockNumber *pages)
{
	ClariOptions *options;
	ClariEstimate cached = find_cached(relation, &options);

	if (cached.nversions == 0)
	{
		if (MyBackendType != B_AUTOVAC_WORKER)
			ereport(WARNING, (errcode(ERRCODE_WARNING),
							  errmsg("nothing of foreign table \"%s\" is cached", RelationGetRelationName(relation)),
							  errdetail("ANALYZE samples cached exports, and makes none."),
							  errhint("Select from the table first, or call clari_prefetch().")));
		return false;
	}
	*sample = acquire_sample_rows;
	*pages = (BlockNumber) Max(cached.bytes / BLCKSZ, 1);
	return true;
}
