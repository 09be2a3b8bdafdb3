/*
 * slot.c
 *		The slots of the table: finding and adding slots, how fresh their rowsets
 *		are, dropping what they hold, and choosing the slot to drop it from.
 *
 * Runs in sessions and workers.  Functions that read or change slots must be called
 * with the cache's lock held.  They wait for nothing, and touch neither files nor
 * segments.  All times are in microseconds.
 */
#include "postgres.h"

#include "cache/internal.h"

static int *
bucket_of(const ClariKey *key)
{
	uint32 hash;

	memcpy(&hash, key->bytes, sizeof(hash)); /* the key is a digest, so any part of it serves as a hash */
	return &clari_control->buckets[hash % CLARI_BUCKETS];
}

ClariSlotShared *
clari_slot_find_locked(const ClariKey *key)
{
	for (int i = *bucket_of(key); i != CLARI_NO_INDEX; i = clari_control->slots[i].next)
		if (memcmp(&clari_control->slots[i].key, key, sizeof(*key)) == 0)
			return &clari_control->slots[i];
	return NULL;
}

void
clari_slot_describe_locked(ClariSlotShared *slot, ClariEndpoint endpoint, const char *base_url, const char *forecast,
						   const char *period)
{
	ClariRowsetMeta *meta = &slot->version.meta;

	strlcpy(meta->base_url, base_url, sizeof(meta->base_url));
	meta->endpoint = endpoint;
	strlcpy(meta->forecast, forecast, sizeof(meta->forecast));
	strlcpy(meta->requested, period, sizeof(meta->requested));
}

/* ------- freshness ------- */

/* Is the quarter closed?  That is, had its last day passed when it was exported? */
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
clari_slot_invalidated_at(const ClariSlotShared *slot)
{
	/* If it is in the future, the clock was set back.  Nothing could serve until the clock gets there again. */
	return slot->invalidated_at <= GetCurrentTimestamp() ? slot->invalidated_at : 0;
}

bool
clari_slot_is_younger(const ClariSlotShared *slot, const ClariFreshness *freshness, int64 age)
{
	TimestampTz posted_at = slot->version.meta.posted_at;

	/* If the POST is in the future, the clock was set back.  A needless export is better than none. */
	return clari_slot_has_rowset(slot) && posted_at > freshness->since - age &&
		   posted_at > clari_slot_invalidated_at(slot) && posted_at <= GetCurrentTimestamp();
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
clari_slot_drop_segment_locked(ClariSlotShared *slot, ClariDropped *dropped)
{
	if (slot->version.segment == DSM_HANDLE_INVALID)
		return;
	Assert(dropped->nsegments < CLARI_DROP_MAX);
	Assert(clari_control->segment_bytes >= slot->version.bytes);
	dropped->segments[dropped->nsegments++] = (ClariSegmentShared){slot->version.segment, slot->version.bytes};
	slot->version.segment = DSM_HANDLE_INVALID;
	slot->read_at = 0;
	clari_control->segment_bytes -= slot->version.bytes;
	clari_control->nsegments--;
}

void
clari_slot_drop_file_locked(ClariSlotShared *slot, ClariDropped *dropped)
{
	if (!slot->in_file)
		return;
	slot->in_file = false;
	note_file(dropped, &slot->key, slot->version.meta.generation, slot->version.bytes);
}

void
clari_slot_drop_record_locked(ClariSlotShared *slot, ClariDropped *dropped)
{
	/* Even if none is counted, there may be one, because the directory could not be read when it should have been loaded. */
	note_file(dropped, &slot->key, 0, slot->record_bytes);
	slot->record_bytes = 0;
}

/* Drops all that the slot has, and frees the slot. */
static void
remove_slot_locked(ClariSlotShared *slot, ClariDropped *dropped)
{
	int index = (int) (slot - clari_control->slots);
	int *link = bucket_of(&slot->key);

	while (*link != index)
		link = &clari_control->slots[*link].next;
	*link = slot->next;
	clari_slot_drop_segment_locked(slot, dropped);
	clari_slot_drop_file_locked(slot, dropped);
	clari_slot_drop_record_locked(slot, dropped);
	memset(slot, 0, sizeof(*slot));
	slot->next = clari_control->free_slot;
	clari_control->free_slot = index;
}

/* ------- choosing victims ------- */

typedef struct RoleWeight
{
	Oid role;
	uint64 weight;
} RoleWeight;

/* Finds the role whose slots have most of what is weighed; false: no slot has any. */
static bool
heaviest_role_locked(ClariWeight weigh, Oid *heaviest)
{
	RoleWeight roles[CLARI_MAX_SLOTS];
	int nroles = 0;
	int most = 0;

	for (int i = 0; i < clari_control->nslots; i++)
	{
		const ClariSlotShared *slot = &clari_control->slots[i];
		uint64 weight = slot->used ? weigh(slot) : 0;
		int at = 0;

		if (weight == 0)
			continue;
		while (at < nroles && roles[at].role != slot->role)
			at++;
		if (at == nroles)
			roles[nroles++] = (RoleWeight){slot->role, 0};
		roles[at].weight += weight;
		if (roles[at].weight > roles[most].weight)
			most = at;
	}
	*heaviest = nroles > 0 ? roles[most].role : InvalidOid;
	return nroles > 0;
}

ClariSlotShared *
clari_slot_victim_locked(ClariWeight weigh)
{
	TimestampTz now = GetCurrentTimestamp();
	ClariSlotShared *victim = NULL;
	bool victim_expired = false;
	Oid role;

	if (!heaviest_role_locked(weigh, &role))
		return NULL;
	for (int i = 0; i < clari_control->nslots; i++)
	{
		ClariSlotShared *slot = &clari_control->slots[i];
		bool expired;

		if (!slot->used || slot->role != role || weigh(slot) == 0)
			continue;
		expired = slot->version.meta.posted_at + slot->ttl <= now;
		if (victim == NULL || expired > victim_expired ||
			(expired == victim_expired && slot->used_at < victim->used_at))
		{
			victim = slot;
			victim_expired = expired;
		}
	}
	return victim;
}

/* ClariWeight: 1 for slots without flight, record and rowset, which hold at most a failure. */
static uint64
is_empty(const ClariSlotShared *slot)
{
	return slot->flight == CLARI_NO_INDEX && slot->record_bytes == 0 && !clari_slot_has_rowset(slot);
}

/* ClariWeight: 1 for slots without a flight. */
static uint64
is_idle(const ClariSlotShared *slot)
{
	return slot->flight == CLARI_NO_INDEX;
}

/* ------- new slots ------- */

ClariSlotShared *
clari_slot_insert_locked(const ClariKey *key, ClariDropped *dropped)
{
	ClariSlotShared *slot;
	int *bucket = bucket_of(key);

	if (clari_control->free_slot == CLARI_NO_INDEX && clari_control->nslots == CLARI_MAX_SLOTS)
	{
		slot = clari_slot_victim_locked(is_empty);
		if (slot == NULL)
			slot = clari_slot_victim_locked(is_idle);
		if (slot == NULL)
			return NULL;
		remove_slot_locked(slot, dropped);
	}
	if (clari_control->free_slot == CLARI_NO_INDEX)
		slot = &clari_control->slots[clari_control->nslots++];
	else
	{
		slot = &clari_control->slots[clari_control->free_slot];
		clari_control->free_slot = slot->next;
	}
	memset(slot, 0, sizeof(*slot));
	slot->used = true;
	slot->key = *key;
	slot->flight = CLARI_NO_INDEX;
	slot->version.segment = DSM_HANDLE_INVALID;
	slot->next = *bucket;
	*bucket = (int) (slot - clari_control->slots);
	return slot;
}
