/*
 * view.c
 *		What the views show: slots, flights and counters.
 *
 * Runs in sessions.  The functions copy under the lock and leave the formatting to
 * their callers.
 */
#include "postgres.h"

#include "cache/internal.h"

/* ------- views ------- */

static const char *
flight_phase(const ClariFlightShared *flight)
{
	return flight->worker == CLARI_NO_INDEX ? "queued" : clari_job_state_name(flight->progress.state);
}

static const char *
slot_state(const ClariSlotShared *slot)
{
	if (slot->flight != CLARI_NO_INDEX)
	{
		const ClariFlightShared *flight = &clari_control->flights[slot->flight];

		if (flight->worker == CLARI_NO_INDEX)
			return "queued";
		return flight->progress.state == CLARI_JOB_DOWNLOADING ? "downloading" : "exporting";
	}
	return slot->failed_flight != 0 ? "failed" : "ready";
}

/* Did the last export fail, or was its rowset published with a warning? */
static bool
has_error(const ClariSlotShared *slot)
{
	return slot->failed_flight != 0 ||
		   (clari_slot_has_rowset(slot) && slot->warned_flight == slot->version.meta.generation);
}

static void
describe_slot(const ClariSlotShared *slot, ClariEntryInfo *info)
{
	info->key = slot->key;
	info->state = slot_state(slot);
	info->has_rowset = clari_slot_has_rowset(slot);
	info->version = slot->version;
	info->expires_at = slot->version.meta.posted_at + slot->ttl;
	info->hits = slot->hits;
	info->error.code = CLARI_ERROR_NONE;
	if (has_error(slot))
		info->error = slot->error;
}

/* Is the slot worth showing?  Not if its rows were dropped, even if its job still has them. */
static bool
is_shown(const ClariSlotShared *slot)
{
	return slot->used && (clari_slot_has_rowset(slot) || slot->flight != CLARI_NO_INDEX || slot->failed_flight != 0);
}

ClariEntryInfo *
clari_cache_entries_copy(int *count)
{
	ClariEntryInfo *infos = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ClariEntryInfo) * CLARI_MAX_SLOTS);
	ClariDropped dropped;

	*count = 0;
	clari_dropped_init(&dropped);
	clari_cache_load();
	clari_cache_lock(LW_EXCLUSIVE);
	clari_evict_excess_locked(&dropped); /* in case the bounds were lowered */
	for (int i = 0; i < clari_control->nslots; i++)
		if (is_shown(&clari_control->slots[i]))
			describe_slot(&clari_control->slots[i], &infos[(*count)++]);
	clari_cache_unlock();
	clari_dropped_release(&dropped);
	return infos;
}

static void
describe_flight(const ClariFlightShared *flight, ClariFlightInfo *info)
{
	info->flight = flight->generation;
	info->key = clari_control->slots[flight->slot].key;
	memcpy(info->base_url, flight->request.base_url, sizeof(info->base_url));
	memcpy(info->forecast, flight->request.forecast, sizeof(info->forecast));
	info->endpoint = flight->request.endpoint;
	memcpy(info->period, flight->request.period, sizeof(info->period));
	memcpy(info->job_id, flight->progress.job_id, sizeof(info->job_id));
	info->phase = flight_phase(flight);
	info->started_at = flight->queued_at;
	info->bytes = flight->progress.bytes;
	info->entries = flight->progress.entries;
	info->polls = flight->progress.polls;
	info->retries = flight->progress.retries;
	info->waiters = flight->waiters;
	info->next_try_at = flight->progress.next_try_at;
}

ClariFlightInfo *
clari_cache_flights(int *count)
{
	ClariFlightInfo *infos = palloc(sizeof(ClariFlightInfo) * CLARI_MAX_FLIGHTS);

	*count = 0;
	clari_cache_lock(LW_SHARED);
	for (int i = 0; i < clari_control->nflights; i++)
		if (clari_control->flights[i].used)
			describe_flight(&clari_control->flights[i], &infos[(*count)++]);
	clari_cache_unlock();
	return infos;
}

/* ------- counters ------- */

void
clari_cache_stats(ClariStats *stats)
{
	clari_cache_lock(LW_SHARED);
	*stats = clari_control->stats;
	clari_cache_unlock();
}

void
clari_cache_stats_reset(void)
{
	clari_cache_lock(LW_EXCLUSIVE);
	memset(&clari_control->stats, 0, sizeof(ClariStats));
	clari_control->stats.since = GetCurrentTimestamp();
	clari_cache_unlock();
}
