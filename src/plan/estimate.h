/*
 * estimate.h
 *		Estimates for the planner from what is cached of a foreign table: rows,
 *		widths, distinct values, and the number of exports that a scan needs.
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
	int periods;                /* number of periods to be read */
	double exports;             /* number of these that are not cached, or are too old */
	double tuples;
	double bytes;           /* size of the cached rowsets */
	int nversions;          /* number of cached rowsets */
	ClariVersion *versions; /* the cached rowsets; NULL before clari_estimate_scan() */
} ClariEstimate;

/*
 * Called by _PG_init(): installs the hook by which the planner requests
 * statistics.  size_function identifies the relations of this wrapper, whose
 * fdw_private is NULL or begins with a ClariEstimate.
 */
extern void clari_estimate_init(GetForeignRelSize_function size_function);

/*
 * Estimates a scan of these quarters (count -1: not known yet).  The caller has
 * set object, period_type and columns; the other members are filled in, palloc'd
 * in the current context.  Without authentication nothing counts as cached.  No
 * rowset is opened.
 */
extern void clari_estimate_scan(ClariEstimate *estimate, const ClariOptions *options, bool authenticated,
								const ClariPeriod *periods, int count);

/* The number of rows that a cached rowset has for the estimate's object. */
extern double clari_estimate_rows(const ClariEstimate *estimate, const ClariRowsetMeta *meta);

#endif /* CLARI_ESTIMATE_H */
