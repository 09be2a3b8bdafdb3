/*
 * analyze.c
 *		ANALYZE of a foreign table: see scan.h.
 *
 * Runs in sessions and autovacuum workers.  It uses what is cached of the table's
 * extent, however old, with the user mapping of the table's owner.
 */
#include "postgres.h"

#include "scan/scan.h"

#include "plan/estimate.h"
#include "session/export.h"

#include "miscadmin.h"
#include "utils/rel.h"

static ClariEstimate
find_cached(Relation relation)
{
	ClariOptions *options = clari_options_get(RelationGetRelid(relation));
	ClariEstimate estimate = {0};
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	ClariPeriod current = CLARI_PERIOD_NONE;
	int count = 0;

	estimate.object = options->object;
	estimate.period_type = options->period_type;
	if (!clari_options_authenticate(options, relation->rd_rel->relowner, true))
		return estimate;
	if (clari_extent_is_relative(&options->extent))
		current = clari_export_known_current(options);
	if (!clari_extent_is_relative(&options->extent) || current != CLARI_PERIOD_NONE)
		count = clari_extent_expand(&options->extent, current, periods);
	clari_estimate_scan(&estimate, options, true, periods, count);
	return estimate;
}

/*
 * AcquireSampleRowsFunc: counts rows, and samples none.  A sample would be
 * visible in pg_stats to everybody who may select from the table, whatever their
 * API keys allow.  The planner gets statistics of what is cached for the reader's
 * own key instead (estimate.c).
 */
static int
count_rows(Relation relation, int elevel, HeapTuple *sample pg_attribute_unused(), int wanted pg_attribute_unused(),
		   double *totalrows, double *totaldeadrows)
{
	ClariEstimate cached = find_cached(relation);

	*totalrows = *totaldeadrows = 0;
	for (int i = 0; i < cached.nversions; i++)
		*totalrows += clari_estimate_rows(&cached, &cached.versions[i].meta);
	ereport(elevel, (errmsg("\"%s\": periods cached: %d, rows: %.0f; no row is sampled",
							RelationGetRelationName(relation), cached.nversions, *totalrows)));
	return 0;
}

bool
clariAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *sample, BlockNumber *pages)
{
	ClariEstimate cached = find_cached(relation);

	if (cached.nversions == 0)
	{
		if (MyBackendType != B_AUTOVAC_WORKER)
			ereport(WARNING, (errcode(ERRCODE_WARNING),
							  errmsg("nothing of foreign table \"%s\" is cached", RelationGetRelationName(relation)),
							  errdetail("ANALYZE counts the rows of cached exports, and starts no export."),
							  errhint("Select from the table first, or call clari_prefetch().")));
		return false;
	}
	*sample = count_rows;
	*pages = (BlockNumber) Max(cached.bytes / BLCKSZ, 1);
	return true;
}
