/*
 * estimate.h
 *		What the cache tells the planner of a foreign table: rows, widths,
 *		distinct values, and how many exports it would take.
 */
#ifndef CLARI_ESTIMATE_H
#define CLARI_ESTIMATE_H

#include "postgres.h"

#include "foreign/fdwapi.h"
#include "nodes/pathnodes.h"

#include "cache/cache.h"
#include "options/options.h"

typedef struct ClariEstimate
{
	ClariObject object;
	ClariPeriodType period_type;
	const ClariColumn *columns; /* by attribute number - 1 */
	int periods;                /* how many periods are read */
	double exports;             /* how many of these are not cached, or are too old */
	double tuples;
	double bytes;           /* bytes of the rowsets that are cached */
	int nversions;          /* how many rowsets are cached */
	ClariVersion *versions; /* NULL before they are known */
} ClariEstimate;

/*
 * _PG_init's part: the planner asks for statistics through a hook.  size_function
 * tells the relations that are ours; their fdw_private begins with a ClariEstimate,
 * or is NULL.
 */
extern void clari_estimate_init(GetForeignRelSize_function size_function);

/*
 * Estimates a scan of these quarters (count -1: it is not known yet which).
 * The estimate's object, period_type and columns are given.  Without authentication nothing
 * counts as cached.  Opens no rowset.
 */
extern void clari_estimate_scan(ClariEstimate *estimate, const ClariOptions *options, bool authenticated,
								const ClariPeriod *periods, int count);

/* How many rows a cached rowset has for the estimate's object. */
extern double clari_estimate_rows(const ClariEstimate *estimate, const ClariRowsetMeta *meta);

#endif /* CLARI_ESTIMATE_H */
