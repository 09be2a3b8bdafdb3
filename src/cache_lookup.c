/*
 * cache_lookup.c
 *		The entry table as sessions ask it: what serves, what is stale, what is
 *		queued.
 *
 * Runs in sessions.  Find-or-insert under the cache's lock is the single flight.
 */
#include "postgres.h"

#include "cache_shared.h"

static ClariFlightShared *
free_flight_locked(void)
{
	ClariControl *control = clari_cache_control();

	for (int i = 0; i < control->nflights; i++)
		if (!control->flights[i].used)
			return &control->flights[i];
	return control->nflights < CLARI_MAX_FLIGHTS ? &control->flights[control->nflights++] : NULL;
}

static bool
queue_flight_locked(ClariEntryShared *entry, const ClariRequest *request, const ClariTransport *transport,
					const ClariFreshness *freshness, const ClariKey *account)
{
	ClariControl *control = clari_cache_control();
	ClariFlightShared *flight = free_flight_locked();
	int64 age = clari_freshness_age(&entry->version.meta, freshness);
	TimestampTz invalidated_at = clari_entry_invalidated_at(entry);

	if (flight == NULL)
		return false;
	memset(flight, 0, sizeof(*flight));
	flight->used = true;
	flight->generation = control->next_generation++;
	flight->entry = (int) (entry - control->entries);
	flight->worker = CLARI_NOBODY;
	flight->account = *account;
	flight->queued_at = GetCurrentTimestamp();
	flight->fresh_since = Max(freshness->since - age, invalidated_at);
	flight->running_since =
		Max(Min(flight->fresh_since, freshness->since - (int64) transport->export_timeout * 1000), invalidated_at);
	flight->cache_ttl = freshness->cache_ttl;
	flight->closed_period_ttl = freshness->closed_period_ttl;
	flight->request = *request;
	flight->transport = *transport;
	entry->flight = (int) (flight - control->flights);
	entry->used_at = ++control->clock;
	control->stats.counts[CLARI_COUNT_MISSES]++;
	return true;
}

static ClariLookup
serve_locked(ClariEntryShared *entry, const ClariFreshness *freshness, bool waited, ClariVersion *version,
			 ClariLookup how)
{
	ClariControl *control = clari_cache_control();

	entry->ttl = clari_rowset_ttl(&entry->version.meta, freshness->cache_ttl, freshness->closed_period_ttl);
	entry->used_at = ++control->clock;
	entry->hits += how != CLARI_LOOKUP_STALE; /* which is looked up once more, to be renewed */
	if (how == CLARI_LOOKUP_READY && !waited)
		control->stats.counts[CLARI_COUNT_HITS]++;
	else if (how == CLARI_LOOKUP_STALE_ERROR)
		control->stats.counts[CLARI_COUNT_STALE_HITS]++;
	*version = entry->version;
	return how;
}

/* Within a window of RFC 5861: for who takes what is cached as its TTL says. */
static bool
serves_stale_locked(const ClariEntryShared *entry, const ClariFreshness *freshness, int64 window)
{
	if (window <= 0 || freshness->anew || freshness->max_age >= 0)
		return false;
	return clari_entry_is_younger(entry, freshness, clari_freshness_age(&entry->version.meta, freshness) + window);
}

/* What says that the caller may not see the rows, or has asked for them wrongly, is not masked; nor is a cancellation. */
static bool
is_masked(ClariErrorCode code)
{
	return code != CLARI_ERROR_AUTH && code != CLARI_ERROR_NOT_FOUND && code != CLARI_ERROR_OPTION &&
		   !clari_error_is_cancel(code);
}

static ClariLookup
failed_locked(ClariEntryShared *entry, const ClariFreshness *freshness, ClariVersion *version, ClariError *error)
{
	*error = entry->error;
	if (!is_masked(entry->error.code) || !serves_stale_locked(entry, freshness, freshness->stale_if_error))
		return CLARI_LOOKUP_FAILED;
	return serve_locked(entry, freshness, false, version, CLARI_LOOKUP_STALE_ERROR);
}

/*
 * Who waits for a flight takes what it brings, as the POST was sent, or the job
 * was running, while he waited.  But a flight that downloads a finished job again
 * brings what is as old as the first who asked allows; and one that was POSTed
 * before an invalidation is not for a statement that began after it.
 */
static bool
serves_waiting_locked(const ClariEntryShared *entry, const ClariFreshness *freshness)
{
	const ClariRowsetMeta *meta = &entry->version.meta;

	if (entry->taken_up)
		return clari_entry_is_younger(entry, freshness, clari_freshness_age(meta, freshness));
	return meta->posted_at > clari_entry_invalidated_at(entry) || freshness->since <= clari_entry_invalidated_at(entry);
}

/* What became of the flight that the caller waited for; ABSENT: nobody knows any more. */
static ClariLookup
waited_for_locked(ClariEntryShared *entry, const ClariFreshness *freshness, uint64 flight, ClariVersion *version,
				  ClariError *error)
{
	ClariControl *control = clari_cache_control();

	if (clari_entry_has_rowset(entry) && entry->version.meta.generation >= flight)
	{
		if (!serves_waiting_locked(entry, freshness))
			return CLARI_LOOKUP_ABSENT;
		if (entry->warned_flight == entry->version.meta.generation)
			*error = entry->error;
		return serve_locked(entry, freshness, true, version, CLARI_LOOKUP_READY);
	}
	if (entry->flight != CLARI_NOBODY && control->flights[entry->flight].generation == flight)
		return CLARI_LOOKUP_FLYING;
	if (entry->failed_flight >= flight)
		return failed_locked(entry, freshness, version, error);
	return CLARI_LOOKUP_ABSENT;
}

/* What somebody broke off on purpose may be tried again at once. */
static bool
failed_just_now_locked(const ClariEntryShared *entry)
{
	TimestampTz now = GetCurrentTimestamp();

	/* not from the future: the clock may have been set back */
	return entry->failed_flight != 0 && !clari_error_is_cancel(entry->error.code) &&
		   entry->failed_at > now - CLARI_FAILURE_MEMORY && entry->failed_at <= now;
}

static ClariLookup
lookup_locked(ClariEntryShared *entry, const ClariFreshness *freshness, uint64 *flight, ClariVersion *version,
			  ClariError *error)
{
	ClariControl *control = clari_cache_control();

	if (*flight != 0)
	{
		ClariLookup waited = waited_for_locked(entry, freshness, *flight, version, error);

		if (waited != CLARI_LOOKUP_ABSENT)
			return waited;
		*flight = 0;
	}
	if (clari_entry_is_younger(entry, freshness, clari_freshness_age(&entry->version.meta, freshness)))
		return serve_locked(entry, freshness, false, version, CLARI_LOOKUP_READY);
	if (serves_stale_locked(entry, freshness, freshness->stale_while_revalidate) &&
		(entry->failed_flight == 0 || is_masked(entry->error.code)))
	{
		if (entry->failed_flight != 0)
			*error = entry->error; /* the export behind failed: as good as stale-if-error, and told */
		return serve_locked(entry, freshness, false, version, CLARI_LOOKUP_STALE);
	}
	if (entry->flight != CLARI_NOBODY)
	{
		*flight = control->flights[entry->flight].generation;
		return CLARI_LOOKUP_FLYING;
	}
	if (!freshness->anew && failed_just_now_locked(entry))
		return failed_locked(entry, freshness, version, error);
	return CLARI_LOOKUP_ABSENT;
}

/* What a look-up asks for. */
typedef struct Question
{
	const ClariKey *key;
	const ClariRequest *request;
	const ClariTransport *transport;
	const ClariFreshness *freshness;
	ClariKey account;
} Question;

/* Queues an export, in a new entry if there is none yet; false: no room. */
static bool
queue_locked(ClariEntryShared *entry, const Question *question, ClariDropped *dropped)
{
	const ClariRequest *request = question->request;

	if (entry == NULL && (entry = clari_entry_insert_locked(question->key, dropped)) == NULL)
		return false;
	clari_entry_describe_locked(entry, request->base_url, request->forecast, request->period);
	return queue_flight_locked(entry, request, question->transport, question->freshness, &question->account);
}

static ClariLookup
answer_locked(const Question *question, uint64 *flight, ClariVersion *version, ClariError *error, ClariDropped *dropped)
{
	ClariControl *control = clari_cache_control();
	ClariEntryShared *entry = clari_entry_find_locked(question->key);
	ClariLookup result = CLARI_LOOKUP_ABSENT;

	if (entry != NULL)
		result = lookup_locked(entry, question->freshness, flight, version, error);
	if (question->transport == NULL)
		return result;
	if (result == CLARI_LOOKUP_STALE)
	{
		entry->hits++;
		control->stats.counts[CLARI_COUNT_STALE_HITS]++;
		/* Behind it one export is enough, and a failure is not tried again at once. */
		if (entry->flight == CLARI_NOBODY && !failed_just_now_locked(entry))
			(void) queue_locked(entry, question, dropped);
	}
	else if (result == CLARI_LOOKUP_ABSENT)
	{
		if (!queue_locked(entry, question, dropped))
			return CLARI_LOOKUP_FULL;
		entry = clari_entry_find_locked(question->key);
		*flight = control->flights[entry->flight].generation;
		return CLARI_LOOKUP_QUEUED;
	}
	return result;
}

ClariLookup
clari_cache_lookup(const ClariKey *key, const ClariRequest *request, const ClariTransport *transport,
				   const ClariFreshness *freshness, uint64 *flight, ClariVersion *version, ClariError *error)
{
	Question question = {.key = key, .request = request, .transport = transport, .freshness = freshness};
	ClariDropped dropped;
	ClariLookup result;

	error->code = CLARI_ERROR_NONE;
	if (transport != NULL && !clari_request_account(request, &question.account, error))
		return CLARI_LOOKUP_FAILED;
	clari_dropped_init(&dropped);
	clari_cache_open();
	clari_cache_lock(LW_EXCLUSIVE);
	clari_tier_trim_locked(&dropped);
	result = answer_locked(&question, flight, version, error, &dropped);
	clari_cache_unlock();
	clari_tier_dispose(&dropped);
	return result;
}

bool
clari_cache_peek(const ClariKey *key, ClariVersion *version)
{
	ClariEntryShared *entry;
	bool found;

	clari_cache_open();
	clari_cache_lock(LW_SHARED);
	entry = clari_entry_find_locked(key);
	found = entry != NULL && clari_entry_has_rowset(entry);
	if (found)
		*version = entry->version;
	clari_cache_unlock();
	return found;
}
