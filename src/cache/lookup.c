/*
 * lookup.c
 *		The entry table as sessions ask it: what serves, what is stale, what is
 *		queued.
 *
 * Runs in sessions.  Find-or-insert under the cache's lock is the single flight.
 */
#include "postgres.h"

#include "cache/internal.h"

#include "miscadmin.h"

static ClariFlightShared *
free_flight_locked(void)
{

	for (int i = 0; i < clari_control->nflights; i++)
		if (!clari_control->flights[i].used)
			return &clari_control->flights[i];
	return clari_control->nflights < CLARI_MAX_FLIGHTS ? &clari_control->flights[clari_control->nflights++] : NULL;
}

/* What a look-up asks for, and what came of it besides its answer. */
typedef struct Question
{
	const ClariInquiry *inquiry;
	const ClariFreshness *freshness;
	ClariKey account;
	Oid role;
	bool queued; /* an export, which workers are to make */
} Question;

/* For who asks for what is of now, or no older than so much, only a POST that was sent since then will do. */
static bool
is_strict(const ClariFreshness *freshness)
{
	return freshness->anew || freshness->max_age >= 0;
}

static void
fill_flight_locked(ClariFlightShared *flight, ClariEntryShared *entry, const Question *question)
{
	const ClariFreshness *freshness = question->freshness;
	const ClariTransport *transport = question->inquiry->transport;
	int64 age = clari_freshness_age(&entry->version.meta, freshness);
	TimestampTz invalidated_at = clari_entry_invalidated_at(entry);

	memset(flight, 0, sizeof(*flight));
	flight->generation = clari_control->next_generation++;
	flight->entry = (int) (entry - clari_control->entries);
	flight->worker = CLARI_NO_INDEX;
	flight->role = question->role;
	flight->account = question->account;
	clari_flight_take_turn_locked(flight);
	strlcpy(flight->organization, clari_account_organization_locked(&question->account), sizeof(flight->organization));
	flight->queued_at = GetCurrentTimestamp();
	flight->fresh_since = Max(freshness->since - age, invalidated_at);
	flight->running_since = flight->fresh_since;
	if (!is_strict(freshness))
		flight->running_since =
			Max(Min(flight->fresh_since, freshness->since - (int64) transport->export_timeout * 1000), invalidated_at);
	flight->cache_ttl = freshness->cache_ttl;
	flight->closed_period_ttl = freshness->closed_period_ttl;
	flight->request = *question->inquiry->request;
	flight->transport = *transport;
	flight->used = true;
}

/*
 * Queues an export, in a new entry if there is none yet; NULL: no room, and
 * nothing was dropped for it.
 */
static ClariFlightShared *
queue_locked(ClariEntryShared *entry, Question *question, ClariDropped *dropped)
{
	const ClariRequest *request = question->inquiry->request;
	ClariFlightShared *flight = free_flight_locked();

	if (flight == NULL && clari_flight_displace_locked(question->role, &question->account))
		flight = free_flight_locked();
	if (flight == NULL)
		return NULL;
	if (entry == NULL && (entry = clari_entry_insert_locked(question->inquiry->key, dropped)) == NULL)
		return NULL;
	clari_entry_describe_locked(entry, request->base_url, request->forecast, request->period);
	fill_flight_locked(flight, entry, question);
	entry->flight = (int) (flight - clari_control->flights);
	entry->role = question->role;
	entry->used_at = ++clari_control->clock;
	clari_control->stats.counts[CLARI_COUNT_MISSES]++;
	question->queued = true;
	return flight;
}

static ClariLookup
serve_locked(ClariEntryShared *entry, const Question *question, bool waited, ClariVersion *version, ClariLookup how)
{
	const ClariFreshness *freshness = question->freshness;

	if (!OidIsValid(entry->role))
		entry->role = question->role;
	entry->file_reads += entry->version.segment == DSM_HANDLE_INVALID;
	entry->ttl = clari_rowset_ttl(&entry->version.meta, freshness->cache_ttl, freshness->closed_period_ttl);
	entry->used_at = ++clari_control->clock;
	entry->hits += how != CLARI_LOOKUP_STALE; /* which is looked up once more, to be renewed */
	if (how == CLARI_LOOKUP_READY && !waited)
		clari_control->stats.counts[CLARI_COUNT_HITS]++;
	else if (how == CLARI_LOOKUP_STALE_ERROR)
		clari_control->stats.counts[CLARI_COUNT_STALE_HITS]++;
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
failed_locked(ClariEntryShared *entry, const Question *question, ClariVersion *version, ClariError *error)
{
	const ClariFreshness *freshness = question->freshness;

	*error = entry->error;
	if (!is_masked(entry->error.code) || !serves_stale_locked(entry, freshness, freshness->stale_if_error))
		return CLARI_LOOKUP_FAILED;
	return serve_locked(entry, question, false, version, CLARI_LOOKUP_STALE_ERROR);
}

/*
 * Who waits for a flight takes what it brings, as the POST was sent, or the job
 * was running, while he waited.  But a flight that downloads a finished job again
 * brings what is as old as the first who asked allows; one that was POSTed
 * before an invalidation is not for a statement that began after it; and who is
 * strict about the POST's time is so about this one.  If the clock was set back
 * meanwhile, that time says nothing, and would ask for one POST after the other:
 * then it is enough that the flight was queued for one who is as strict.
 */
static bool
serves_waiting_locked(const ClariEntryShared *entry, const ClariFreshness *freshness)
{
	const ClariRowsetMeta *meta = &entry->version.meta;
	int64 age = clari_freshness_age(meta, freshness);
	bool strict = is_strict(freshness);

	if (entry->of_ended_job || strict)
		return clari_entry_is_younger(entry, freshness, age) ||
			   (strict && entry->posted_since >= freshness->since - age &&
				meta->posted_at > clari_entry_invalidated_at(entry));
	return meta->posted_at > clari_entry_invalidated_at(entry) || freshness->since <= clari_entry_invalidated_at(entry);
}

/* What became of the flight that the caller waited for; ABSENT: nobody knows any more. */
static ClariLookup
waited_for_locked(ClariEntryShared *entry, const Question *question, uint64 flight, ClariVersion *version,
				  ClariError *error)
{

	if (clari_entry_has_rowset(entry) && entry->version.meta.generation >= flight)
	{
		if (!serves_waiting_locked(entry, question->freshness))
			return CLARI_LOOKUP_ABSENT;
		if (entry->warned_flight == entry->version.meta.generation)
			*error = entry->error;
		return serve_locked(entry, question, true, version, CLARI_LOOKUP_READY);
	}
	if (entry->flight != CLARI_NO_INDEX && clari_control->flights[entry->flight].generation == flight)
		return CLARI_LOOKUP_FLYING;
	if (entry->failed_flight >= flight)
		return failed_locked(entry, question, version, error);
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

/* A flight serves who is strict if it is not POSTed yet, or was since the time that counts, and not in the future. */
static bool
flight_serves_locked(const ClariEntryShared *entry, const ClariFreshness *freshness)
{
	TimestampTz posted_at = clari_control->flights[entry->flight].progress.posted_at;

	return !is_strict(freshness) || posted_at == 0 ||
		   (posted_at > freshness->since - clari_freshness_age(&entry->version.meta, freshness) &&
			posted_at <= GetCurrentTimestamp());
}

/* Joins the flight, as one who wants it until clari_cache_leave(). */
static ClariLookup
join_locked(ClariFlightShared *flight, const Question *question, uint64 *generation, ClariLookup how)
{
	uint64 *joined = question->inquiry->joined;

	*generation = flight->generation;
	if (joined != NULL)
	{
		*joined = flight->generation;
		flight->waiters++;
	}
	return how;
}

static ClariLookup
lookup_locked(ClariEntryShared *entry, const Question *question, uint64 *flight, ClariVersion *version,
			  ClariError *error)
{
	const ClariFreshness *freshness = question->freshness;

	if (*flight != 0)
	{
		ClariLookup waited = waited_for_locked(entry, question, *flight, version, error);

		if (waited != CLARI_LOOKUP_ABSENT)
			return waited;
		*flight = 0;
	}
	if (clari_entry_is_younger(entry, freshness, clari_freshness_age(&entry->version.meta, freshness)))
		return serve_locked(entry, question, false, version, CLARI_LOOKUP_READY);
	if (serves_stale_locked(entry, freshness, freshness->stale_while_revalidate) &&
		(entry->failed_flight == 0 || is_masked(entry->error.code)))
	{
		if (entry->failed_flight != 0)
			*error = entry->error; /* the export behind failed: as good as stale-if-error, and told */
		return serve_locked(entry, question, false, version, CLARI_LOOKUP_STALE);
	}
	if (entry->flight != CLARI_NO_INDEX)
	{
		if (!flight_serves_locked(entry, freshness))
			return CLARI_LOOKUP_LATER;
		return join_locked(&clari_control->flights[entry->flight], question, flight, CLARI_LOOKUP_FLYING);
	}
	if (!freshness->anew && failed_just_now_locked(entry))
		return failed_locked(entry, question, version, error);
	return CLARI_LOOKUP_ABSENT;
}

/* Behind what is stale one export is enough, and a failure is not tried again at once. */
static void
revalidate_locked(ClariEntryShared *entry, Question *question, ClariDropped *dropped)
{
	ClariFlightShared *flight;

	entry->hits++;
	clari_control->stats.counts[CLARI_COUNT_STALE_HITS]++;
	if (entry->flight != CLARI_NO_INDEX || failed_just_now_locked(entry))
		return;
	flight = queue_locked(entry, question, dropped);
	if (flight != NULL)
		flight->kept = true;
}

static ClariLookup
answer_locked(Question *question, uint64 *generation, ClariVersion *version, ClariError *error, ClariDropped *dropped)
{
	ClariEntryShared *entry = clari_entry_find_locked(question->inquiry->key);
	ClariLookup result = CLARI_LOOKUP_ABSENT;
	ClariFlightShared *flight;

	if (entry != NULL)
		result = lookup_locked(entry, question, generation, version, error);
	if (question->inquiry->transport == NULL)
		return result;
	if (result == CLARI_LOOKUP_STALE)
		revalidate_locked(entry, question, dropped);
	if (result != CLARI_LOOKUP_ABSENT)
		return result;
	flight = queue_locked(entry, question, dropped);
	if (flight == NULL)
		return CLARI_LOOKUP_LATER;
	return join_locked(flight, question, generation, CLARI_LOOKUP_QUEUED);
}

ClariLookup
clari_cache_lookup(const ClariInquiry *inquiry, const ClariFreshness *freshness, uint64 *flight, ClariVersion *version,
				   ClariError *error)
{
	Question question = {.inquiry = inquiry, .freshness = freshness, .role = GetUserId()};
	ClariDropped dropped;
	ClariLookup result;
	ClariError refused;

	error->code = CLARI_ERROR_NONE;
	if (inquiry->transport != NULL && !clari_request_account(inquiry->request, &question.account, error))
		return CLARI_LOOKUP_FAILED;
	clari_dropped_init(&dropped);
	clari_cache_load();
	clari_cache_lock(LW_EXCLUSIVE);
	clari_evict_excess_locked(&dropped);
	result = answer_locked(&question, flight, version, error, &dropped);
	clari_cache_unlock();
	clari_dropped_release(&dropped);
	/* At once: the scan may have other rowsets to read first.  Who waits keeps asking if this fails. */
	if (question.queued)
		(void) clari_cache_start_workers(&refused);
	return result;
}

bool
clari_cache_peek(const ClariKey *key, ClariVersion *version)
{
	ClariEntryShared *entry;
	bool found;

	clari_cache_load();
	clari_cache_lock(LW_SHARED);
	entry = clari_entry_find_locked(key);
	found = entry != NULL && clari_entry_has_rowset(entry);
	if (found)
		*version = entry->version;
	clari_cache_unlock();
	return found;
}
