/*
 * statistics.h
 *		What a rowset's dictionaries tell of its columns, for the planner.
 */
#ifndef CLARI_STATISTICS_H
#define CLARI_STATISTICS_H

#include "postgres.h"

#include "cache/cache.h"
#include "clari/attribute.h"

typedef struct ClariColumnStatistics
{
	double distinct; /* values; 0: not known */
	double nulls;    /* the share of rows that are NULL, 0 to 1 */
	int32 width;     /* of a value, in bytes; 0: not known */
} ClariColumnStatistics;

/*
 * Of each attribute of the list in this version: CLARI_MAX_ATTRIBUTES elements,
 * which stay this module's, until it is called again.  The first time in a
 * session the rowset is opened for it.  NULL when that fails; raises what
 * clari_reader_chunk() raises.
 */
extern const ClariColumnStatistics *clari_statistics_get(const ClariVersion *version, ClariList list);

#endif /* CLARI_STATISTICS_H */
