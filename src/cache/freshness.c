/*
 * cache_freshness.c
 *		How old a rowset may be.
 *
 * Pure arithmetic on metadata and times; runs in sessions and workers, and
 * reads an entry under the cache's lock.  All times are microseconds.
 */
#include "postgres.h"

#include "cache/shared.h"

/* Closed: the quarter's last day had passed when it was exported. */
static bool
is_closed(const ClariRowsetMeta *meta)
{
	return meta->period_end != CLARI_DATE_NONE && meta->exported_at >= ((int64) meta->period_end + 1) * USECS_PER_DAY;
}

int64
clari_rowset_ttl(const ClariRowsetMeta *meta, int64 cache_ttl, int64 closed_period_ttl)
{
	return is_closed(meta) ? closed_period_ttl : cache_ttl;
}

int64
clari_freshness_age(const ClariRowsetMeta *meta, const ClariFreshness *freshness)
{
	if (freshness->anew)
		return 0;
	if (freshness->max_age >= 0 && !is_closed(meta))
		return freshness->max_age;
	return clari_rowset_ttl(meta, freshness->cache_ttl, freshness->closed_period_ttl);
}

TimestampTz
clari_entry_invalidated_at(const ClariEntryShared *entry)
{
	/* One in the future tells of a clock that was set back, and would hold for as long as that. */
	return entry->invalidated_at <= GetCurrentTimestamp() ? entry->invalidated_at : 0;
}

bool
clari_entry_is_younger(const ClariEntryShared *entry, const ClariFreshness *freshness, int64 age)
{
	TimestampTz posted_at = entry->version.meta.posted_at;

	/* One from the future (the clock was set back) does not count: rather a needless export than none for years. */
	return clari_entry_has_rowset(entry) && posted_at > freshness->since - age &&
		   posted_at > clari_entry_invalidated_at(entry) && posted_at <= GetCurrentTimestamp();
}
