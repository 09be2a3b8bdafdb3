/*
 * analyze.h
 *		ANALYZE of a foreign table: how many rows are cached.
 */
#ifndef CLARI_ANALYZE_H
#define CLARI_ANALYZE_H

#include "postgres.h"

#include "foreign/fdwapi.h"

/*
 * FdwRoutine's callback, as PostgreSQL describes it.  Never exports: with nothing
 * cached, false and a WARNING (none from autovacuum, which comes by for the sake
 * of an inheritance parent).
 */
extern bool clariAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *sample, BlockNumber *pages);

#endif /* CLARI_ANALYZE_H */
