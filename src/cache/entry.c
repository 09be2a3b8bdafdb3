/*
 * entry.c
 *		The entries of the table: finding, adding, what they hold and how old it may
 *		be, and which of them gives something up.
 *
 * Runs in sessions and workers, with the cache's lock held; waits for nothing, and
 * touches neither files nor segments.  All times are microseconds.
 */
#include "postgres.h"

#include "cache/internal.h"

static int *
bucket_of(const ClariKey *key)
{
	uint32 hash;

	memcpy(&hash, key->bytes, sizeof(hash)); /* a digest is as good as its own hash */
	return &clari_control->buckets[hash % CLARI_BUCKETS];
}

ClariEntryShared *
clari_entry_find_locked(const ClariKey *key)
{
	for (int i = *bucket_of(key); i != CLARI_NO_INDEX; i = clari_control->entries[i].next)
		if (memcmp(&clari_control->entries[i].key, key, sizeof(*key)) == 0)
			return &clari_control->entries[i];
	return NULL;
}

void
clari_entry_describe_locked(ClariEntryShared *entry, const char *base_url, const char *forecast, const char *period)
{
	ClariRowsetMeta *meta = &entry->version.meta;

	strlcpy(meta->base_url, base_url, sizeof(meta->base_url));
	strlcpy(meta->forecast, forecast, sizeof(meta->forecast));
	strlcpy(meta->requested, period, sizeof(meta->requested));
}

/* ------- freshness ------- */

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

/* ------- dropping ------- */

static void
note_file(ClariDropped *dropped, const ClariKey *key, uint64 generation, uint64 bytes)
{
	Assert(dropped->nfiles < CLARI_DROP_MAX);
	dropped->files[dropped->nfiles].key = *key;
	dropped->files[dropped->nfiles++].generation = generation;
	dropped->file_bytes += bytes;
}

void
clari_entry_drop_segment_locked(ClariEntryShared *entry, ClariDropped *dropped)
{

	if (entry->version.segment == DSM_HANDLE_INVALID)
		return;
	Assert(dropped->nsegments < CLARI_DROP_MAX);
	Assert(clari_control->segment_bytes >= entry->version.bytes);
	dropped->segments[dropped->nsegments++] = (ClariSegmentShared){entry->version.segment, entry->version.bytes};
	entry->version.segment = DSM_HANDLE_INVALID;
	entry->read_at = 0;
	clari_control->segment_bytes -= entry->version.bytes;
	clari_control->nsegments--;
}

void
clari_entry_drop_file_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	if (!entry->in_file)
		return;
	entry->in_file = false;
	note_file(dropped, &entry->key, entry->version.meta.generation, entry->version.bytes);
}

void
clari_entry_drop_record_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	/* Known or not: the directory may not have been readable when it was loaded. */
	note_file(dropped, &entry->key, 0, entry->record_bytes);
	entry->record_bytes = 0;
}

/* The entry goes with all that it has. */
static void
remove_entry_locked(ClariEntryShared *entry, ClariDropped *dropped)
{
	int index = (int) (entry - clari_control->entries);
	int *link = bucket_of(&entry->key);

	while (*link != index)
		link = &clari_control->entries[*link].next;
	*link = entry->next;
	clari_entry_drop_segment_locked(entry, dropped);
	clari_entry_drop_file_locked(entry, dropped);
	clari_entry_drop_record_locked(entry, dropped);
	memset(entry, 0, sizeof(*entry));
	entry->next = clari_control->free_entry;
	clari_control->free_entry = index;
}

/* ------- choosing what goes ------- */

typedef struct RoleWeight
{
	Oid role;
	uint64 weight;
} RoleWeight;

/* The role that has most of what is weighed; false: nobody has any. */
static bool
heaviest_role_locked(ClariWeight weigh, Oid *heaviest)
{
	RoleWeight roles[CLARI_MAX_ENTRIES];
	int nroles = 0;
	int most = 0;

	for (int i = 0; i < clari_control->nentries; i++)
	{
		const ClariEntryShared *entry = &clari_control->entries[i];
		uint64 weight = entry->used ? weigh(entry) : 0;
		int at = 0;

		if (weight == 0)
			continue;
		while (at < nroles && roles[at].role != entry->role)
			at++;
		if (at == nroles)
			roles[nroles++] = (RoleWeight){entry->role, 0};
		roles[at].weight += weight;
		if (roles[at].weight > roles[most].weight)
			most = at;
	}
	*heaviest = nroles > 0 ? roles[most].role : InvalidOid;
	return nroles > 0;
}

ClariEntryShared *
clari_entry_victim_locked(ClariWeight weigh)
{
	TimestampTz now = GetCurrentTimestamp();
	ClariEntryShared *victim = NULL;
	bool victim_expired = false;
	Oid role;

	if (!heaviest_role_locked(weigh, &role))
		return NULL;
	for (int i = 0; i < clari_control->nentries; i++)
	{
		ClariEntryShared *entry = &clari_control->entries[i];
		bool expired;

		if (!entry->used || entry->role != role || weigh(entry) == 0)
			continue;
		expired = entry->version.meta.posted_at + entry->ttl <= now;
		if (victim == NULL || expired > victim_expired ||
			(expired == victim_expired && entry->used_at < victim->used_at))
		{
			victim = entry;
			victim_expired = expired;
		}
	}
	return victim;
}

/* ClariWeight: entries that hold nothing but a failure, say. */
static uint64
is_empty(const ClariEntryShared *entry)
{
	return entry->flight == CLARI_NO_INDEX && entry->record_bytes == 0 && !clari_entry_has_rowset(entry);
}

/* ClariWeight */
static uint64
is_idle(const ClariEntryShared *entry)
{
	return entry->flight == CLARI_NO_INDEX;
}

/* ------- new entries ------- */

ClariEntryShared *
clari_entry_insert_locked(const ClariKey *key, ClariDropped *dropped)
{
	ClariEntryShared *entry;
	int *bucket = bucket_of(key);

	if (clari_control->free_entry == CLARI_NO_INDEX && clari_control->nentries == CLARI_MAX_ENTRIES)
	{
		entry = clari_entry_victim_locked(is_empty);
		if (entry == NULL)
			entry = clari_entry_victim_locked(is_idle);
		if (entry == NULL)
			return NULL;
		remove_entry_locked(entry, dropped);
	}
	if (clari_control->free_entry == CLARI_NO_INDEX)
		entry = &clari_control->entries[clari_control->nentries++];
	else
	{
		entry = &clari_control->entries[clari_control->free_entry];
		clari_control->free_entry = entry->next;
	}
	memset(entry, 0, sizeof(*entry));
	entry->used = true;
	entry->key = *key;
	entry->flight = CLARI_NO_INDEX;
	entry->version.segment = DSM_HANDLE_INVALID;
	entry->next = *bucket;
	*bucket = (int) (entry - clari_control->entries);
	return entry;
}
