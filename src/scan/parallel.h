/*
 * parallel.h
 *		One scan's rowsets among the participants of a parallel query.
 *
 * The leader's versions lie in the query's shared memory; each participant
 * claims a row group at a time.  No lock: a counter.
 */
#ifndef CLARI_PARALLEL_H
#define CLARI_PARALLEL_H

#include "postgres.h"

#include "scan/cells.h"
#include "session/reader.h"

typedef struct ClariParallel ClariParallel;

/* Bytes for a scan of at most so many rowsets. */
extern Size clari_parallel_size(int capacity);

/* Makes the memory one of these, without rowsets.  The leader's. */
extern void clari_parallel_init(ClariParallel *parallel, int capacity);

/* Offers the rowsets, all groups unclaimed; before participants begin.  The leader's. */
extern void clari_parallel_offer(ClariParallel *parallel, ClariReader *const *readers, int count);

/* Claims a group for the caller: of which rowset, and its number there.  False when all are claimed. */
extern bool clari_parallel_claim(ClariParallel *parallel, int *rowset, int *group);

/* How many rowsets are offered, and the version of one: that which the leader opened. */
extern int clari_parallel_rowsets(const ClariParallel *parallel);
extern const ClariVersion *clari_parallel_version(const ClariParallel *parallel, int rowset);

/* Adds to what all participants have done, and what that is so far. */
extern void clari_parallel_count(ClariParallel *parallel, const ClariCellsUse *use);
extern ClariCellsUse clari_parallel_use(ClariParallel *parallel);

#endif /* CLARI_PARALLEL_H */
