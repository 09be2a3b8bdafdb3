/*
 * parallel.c
 *		Sharing a scan's rowsets among the participants of a parallel scan: see
 *		internal.h.
 *
 * Runs in the leader and its workers.  The leader writes the list of rowsets
 * before there are other participants; afterwards only the counters change.
 */
#include "postgres.h"

#include "scan/internal.h"

#include "port/atomics.h"

typedef struct Offer
{
	ClariVersion version;
	int first; /* number of its first group, if the groups of all rowsets are numbered from 0 */
} Offer;

struct ClariParallel
{
	int capacity;
	int count;             /* number of rowsets offered */
	int ngroups;           /* number of their groups */
	pg_atomic_uint32 next; /* number of the group to be claimed next */
	pg_atomic_uint64 bytes;
	pg_atomic_uint64 skipped;
	Offer offers[FLEXIBLE_ARRAY_MEMBER];
};

Size
clari_parallel_size(int capacity)
{
	return offsetof(ClariParallel, offers) + sizeof(Offer) * capacity;
}

void
clari_parallel_init(ClariParallel *parallel, int capacity)
{
	parallel->capacity = capacity;
	parallel->count = parallel->ngroups = 0;
	pg_atomic_init_u32(&parallel->next, 0);
	pg_atomic_init_u64(&parallel->bytes, 0);
	pg_atomic_init_u64(&parallel->skipped, 0);
}

void
clari_parallel_offer(ClariParallel *parallel, ClariReader *const *readers, int count)
{
	if (count > parallel->capacity)
		elog(ERROR, "too many rowsets for a parallel scan: %d, at most %d", count, parallel->capacity);
	parallel->count = count;
	parallel->ngroups = 0;
	for (int i = 0; i < count; i++)
	{
		parallel->offers[i] = (Offer){readers[i]->version, parallel->ngroups};
		parallel->ngroups += readers[i]->ngroups;
	}
	pg_atomic_write_u32(&parallel->next, 0);
}

bool
clari_parallel_claim(ClariParallel *parallel, int *rowset, int *group)
{
	uint32 claimed;

	/* Participants may call this any number of times after the last group, so the counter must not wrap around. */
	if (pg_atomic_read_u32(&parallel->next) >= (uint32) parallel->ngroups)
		return false;
	claimed = pg_atomic_fetch_add_u32(&parallel->next, 1);
	if (claimed >= (uint32) parallel->ngroups)
		return false;
	*rowset = 0;
	while (*rowset + 1 < parallel->count && parallel->offers[*rowset + 1].first <= (int) claimed)
		(*rowset)++;
	*group = (int) claimed - parallel->offers[*rowset].first;
	return true;
}

int
clari_parallel_rowsets(const ClariParallel *parallel)
{
	return parallel->count;
}

const ClariVersion *
clari_parallel_version(const ClariParallel *parallel, int rowset)
{
	return &parallel->offers[rowset].version;
}

void
clari_parallel_count(ClariParallel *parallel, const ClariCellsUse *use)
{
	pg_atomic_fetch_add_u64(&parallel->bytes, use->bytes);
	pg_atomic_fetch_add_u64(&parallel->skipped, use->skipped);
}

ClariCellsUse
clari_parallel_use(ClariParallel *parallel)
{
	return (ClariCellsUse){pg_atomic_read_u64(&parallel->bytes), pg_atomic_read_u64(&parallel->skipped)};
}
