/*
 * estimate.h
 *		What the cache tells the planner about a foreign table: rows, widths,
 *		distinct values, and how many exports a scan would need.
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
	double exports;             /* how many of these are not cached, or cached but too old */
	double tuples;
	double bytes;           /* total size of the cached rowsets, fresh or not */
	int nversions;          /* how many rowsets are cached, fresh or not */
	ClariVersion *versions; /* the cached rowsets; NULL before clari_estimate_scan() */
} ClariEstimate;

/*
 * Installs the hook that gives the planner statistics; called once in a process.
 * Relations whose GetForeignRelSize is size_function are those of this wrapper:
 * their fdw_private begins with a ClariEstimate, or is NULL.
 */
extern void clari_estimate_init(GetForeignRelSize_function size_function);

/*
 * Estimates a scan of these quarters; a count of -1 means that they are not known
 * yet.  The caller has set the estimate's object, period_type and columns.  Without
 * authentication, nothing counts as cached.  Opens no rowset.
 */
extern void clari_estimate_scan(ClariEstimate *estimate, const ClariOptions *options, bool authenticated,
								const ClariPeriod *periods, int count);

/* The number of rows that a cached rowset has for the estimate's object. */
extern double clari_estimate_rows(const ClariEstimate *estimate, const ClariRowsetMeta *meta);

#endif /* CLARI_ESTIMATE_H */
