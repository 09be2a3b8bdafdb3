/*
 * lookup.c
 *		Looking exports up in the entry table: deciding whether a fresh or stale
 *		version serves, whether to wait for a flight, or whether to queue one.
 *
 * Runs in sessions.  All this is done in one hold of the cache's lock, so that
 * there is never more than one flight for an identity.
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

/* The arguments of a look-up, and its results besides the returned ClariLookup. */
typedef struct Question
{
	const ClariInquiry *inquiry;
	const ClariFreshness *freshness;
	ClariRequest current; /* the inquiry's request, but without a period */
	ClariKey current_key; /* the key of current */
	ClariKey account;
	Oid role;
	uint64 *flight;        /* in and out: see clari_cache_lookup() */
	ClariVersion *version; /* out */
	ClariError *error;     /* out */
	bool queued;           /* an export was queued, so workers must be started */
	ClariDropped dropped;  /* what was dropped, to be released after the lock */
} Question;

/*
 * Does the caller set a limit to the age of the rows?  Such a caller cannot use
 * an export under way that was POSTed before that limit.
 */
static bool
is_strict(const ClariFreshness *freshness)
{
	return freshness->anew || freshness->max_age >= 0;
}

static void
fill_flight_locked(ClariFlightShared *flight, const ClariSlotShared *slot, const ClariRequest *request,
				   const Question *question)
{
	const ClariFreshness *freshness = question->freshness;
	const ClariTransport *transport = question->inquiry->transport;
	int64 age = clari_freshness_age(&slot->version.meta, freshness);
	TimestampTz invalidated_at = clari_slot_invalidated_at(slot);

	memset(flight, 0, sizeof(*flight));
	flight->generation = clari_control->next_generation++;
	flight->slot = (int) (slot - clari_control->slots);
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
	flight->request = *request;
	flight->transport = *transport;
	flight->used = true;
}

/*
 * Queues the request's export.  If slot is NULL, a slot for the inquiry's key is
 * made.  Returns NULL if there is no room for the flight or the slot.
 */
static ClariFlightShared *
queue_locked(ClariSlotShared *slot, const ClariRequest *request, Question *question)
{
	ClariFlightShared *flight = free_flight_locked();

	if (flight == NULL && clari_flight_displace_locked(question->role, &question->account))
		flight = free_flight_locked();
	if (flight == NULL)
		return NULL;
	if (slot == NULL && (slot = clari_slot_insert_locked(question->inquiry->key, &question->dropped)) == NULL)
		return NULL;
	clari_slot_describe_locked(slot, request->endpoint, request->base_url, request->forecast, request->period);
	fill_flight_locked(flight, slot, request, question);
	slot->flight = (int) (flight - clari_control->flights);
	slot->role = question->role;
	slot->used_at = ++clari_control->clock;
	clari_control->stats.counts[CLARI_COUNT_MISSES]++;
	question->queued = true;
	return flight;
}

static ClariLookup
serve_locked(ClariSlotShared *slot, const Question *question, ClariLookup how)
{
	const ClariFreshness *freshness = question->freshness;

	if (!OidIsValid(slot->role))
		slot->role = question->role;
	slot->file_reads += slot->version.segment == DSM_HANDLE_INVALID;
	slot->ttl = clari_rowset_ttl(&slot->version.meta, freshness->cache_ttl, freshness->closed_period_ttl);
	slot->used_at = ++clari_control->clock;
	slot->hits++;
	if (how == CLARI_LOOKUP_STALE)
		clari_control->stats.counts[CLARI_COUNT_STALE_HITS]++;
	*question->version = slot->version;
	return how;
}

/* May the slot's rowset serve by RFC 5861, being too old by at most window (µs)?  Not if the caller limits the age. */
static bool
serves_stale_locked(const ClariSlotShared *slot, const ClariFreshness *freshness, int64 window)
{
	if (window <= 0 || is_strict(freshness))
		return false;
	return clari_slot_is_younger(slot, freshness, clari_freshness_age(&slot->version.meta, freshness) + window);
}

/*
 * May stale rows be shown instead of an error with this code?  Not if the error
 * says that the caller may not see the rows or that the request is wrong, nor if
 * the export was canceled.
 */
static bool
is_masked(ClariErrorCode code)
{
	return code != CLARI_ERROR_AUTH && code != CLARI_ERROR_NOT_FOUND && code != CLARI_ERROR_OPTION &&
		   !clari_error_is_cancel(code);
}

/* May the slot's stale rows be shown instead of its error? */
static bool
masks_failure_locked(const ClariSlotShared *slot, const ClariFreshness *freshness)
{
	return is_masked(slot->error.code) && serves_stale_locked(slot, freshness, freshness->stale_if_error);
}

static ClariLookup
failed_locked(ClariSlotShared *slot, const Question *question)
{
	*question->error = slot->error;
	if (!masks_failure_locked(slot, question->freshness))
		return CLARI_LOOKUP_FAILED;
	return serve_locked(slot, question, CLARI_LOOKUP_STALE);
}

/*
 * Does the rowset that a flight has made serve a caller that waited for it?
 * Usually it does, whatever its age, because its POST was sent, or its job was
 * running, while the caller waited.  There are three exceptions.  If the flight
 * downloaded a job that had already ended before, the rows can be as old as the
 * session that queued the flight allowed.  Rows POSTed before an invalidation do
 * not serve statements that began after it.  And a caller that limits the age
 * applies its limit to these rows, too.
 *
 * If the clock was set back while such a caller waited, the time of the POST means
 * nothing, and no rows might ever serve.  It is therefore enough that the flight
 * was queued with a limit that is at least as strict.
 */
static bool
serves_waiting_locked(const ClariSlotShared *slot, const ClariFreshness *freshness)
{
	const ClariRowsetMeta *meta = &slot->version.meta;
	int64 age = clari_freshness_age(meta, freshness);
	bool strict = is_strict(freshness);

	if (slot->of_ended_job || strict)
		return clari_slot_is_younger(slot, freshness, age) || (strict && slot->posted_since >= freshness->since - age &&
															   meta->posted_at > clari_slot_invalidated_at(slot));
	return meta->posted_at > clari_slot_invalidated_at(slot) || freshness->since <= clari_slot_invalidated_at(slot);
}

/* Returns the outcome of the flight that the caller waited for; ABSENT: it is not known any more, or does not serve. */
static ClariLookup
waited_for_locked(ClariSlotShared *slot, const Question *question)
{
	uint64 flight = *question->flight;

	if (clari_slot_has_rowset(slot) && slot->version.meta.generation >= flight)
	{
		if (!serves_waiting_locked(slot, question->freshness))
			return CLARI_LOOKUP_ABSENT;
		if (slot->warned_flight == slot->version.meta.generation)
			*question->error = slot->error;
		return serve_locked(slot, question, CLARI_LOOKUP_READY);
	}
	if (slot->flight != CLARI_NO_INDEX && clari_control->flights[slot->flight].generation == flight)
		return CLARI_LOOKUP_FLYING;
	if (slot->failed_flight >= flight)
		return failed_locked(slot, question);
	return CLARI_LOOKUP_ABSENT;
}

/* Did the export fail in the last ten seconds, so that it must not be tried again yet?  A canceled one can be. */
static bool
failed_just_now_locked(const ClariSlotShared *slot)
{
	TimestampTz now = GetCurrentTimestamp();

	/*
	 * For want of a calendar, no request was sent, and once the user has followed the hint, the export works at once.
	 * A failure in the future does not count: the clock was set back.
	 */
	return slot->failed_flight != 0 && !clari_error_is_cancel(slot->error.code) &&
		   slot->error.code != CLARI_ERROR_CALENDAR && slot->failed_at > now - CLARI_FAILURE_MEMORY &&
		   slot->failed_at <= now;
}

/*
 * Will the rowset of the slot's flight serve the caller?  If the caller limits the
 * age, only if the POST is still to be sent, or was sent late enough, and not in
 * the future.
 */
static bool
flight_serves_locked(const ClariSlotShared *slot, const ClariFreshness *freshness)
{
	TimestampTz posted_at = clari_control->flights[slot->flight].progress.posted_at;

	return !is_strict(freshness) || posted_at == 0 ||
		   (posted_at > freshness->since - clari_freshness_age(&slot->version.meta, freshness) &&
			posted_at <= GetCurrentTimestamp());
}

/* Makes the caller wait for the flight, and counts it as waiter, if requested, until clari_cache_leave(). */
static ClariLookup
join_locked(ClariFlightShared *flight, const Question *question, ClariLookup how)
{
	uint64 *joined = question->inquiry->joined;

	*question->flight = flight->generation;
	if (joined != NULL)
	{
		*joined = flight->generation;
		flight->waiters++;
	}
	return how;
}

/* Queues an export to renew stale rows, unless one is queued or under way, or has just failed. */
static void
renew_locked(ClariSlotShared *slot, const ClariRequest *request, Question *question)
{
	ClariFlightShared *flight;

	if (question->inquiry->transport == NULL || slot->flight != CLARI_NO_INDEX || failed_just_now_locked(slot))
		return;
	flight = queue_locked(slot, request, question);
	if (flight != NULL)
		flight->kept = true;
}

/* Serves the slot's rowset if it is fresh, or if it may be served stale; in that case, queues the request to renew it. */
static ClariLookup
find_rowset_locked(ClariSlotShared *slot, const ClariRequest *request, Question *question)
{
	const ClariFreshness *freshness = question->freshness;

	if (clari_slot_is_younger(slot, freshness, clari_freshness_age(&slot->version.meta, freshness)))
	{
		clari_control->stats.counts[CLARI_COUNT_HITS]++;
		return serve_locked(slot, question, CLARI_LOOKUP_READY);
	}
	if (!serves_stale_locked(slot, freshness, freshness->stale_while_revalidate) ||
		(slot->failed_flight != 0 && !is_masked(slot->error.code)))
		return CLARI_LOOKUP_ABSENT;
	if (slot->failed_flight != 0)
		*question->error = slot->error; /* why the last renewal failed */
	(void) serve_locked(slot, question, CLARI_LOOKUP_STALE);
	renew_locked(slot, request, question);
	return CLARI_LOOKUP_STALE;
}

/* What the export's own slot has for the caller; ABSENT: nothing. */
static ClariLookup
find_own_locked(ClariSlotShared *slot, Question *question)
{
	const ClariFreshness *freshness = question->freshness;
	ClariLookup result;

	if (*question->flight != 0)
	{
		result = waited_for_locked(slot, question);
		if (result != CLARI_LOOKUP_ABSENT)
			return result;
		*question->flight = 0;
	}
	result = find_rowset_locked(slot, question->inquiry->request, question);
	if (result != CLARI_LOOKUP_ABSENT)
		return result;
	if (slot->flight != CLARI_NO_INDEX)
		return flight_serves_locked(slot, freshness)
				   ? join_locked(&clari_control->flights[slot->flight], question, CLARI_LOOKUP_FLYING)
				   : CLARI_LOOKUP_ABSENT;
	if (!freshness->anew && failed_just_now_locked(slot))
		return failed_locked(slot, question);
	return CLARI_LOOKUP_ABSENT;
}

/* A quarter without rows of its own may be the current one, exported without a period.  ABSENT: it is not. */
static ClariLookup
find_as_current_locked(Question *question)
{
	const char *period = question->inquiry->request->period;
	ClariSlotShared *slot = period[0] != '\0' ? clari_slot_find_locked(&question->current_key) : NULL;
	ClariLookup result;

	if (slot == NULL || strcmp(slot->version.meta.answered, period) != 0)
		return CLARI_LOOKUP_ABSENT;
	result = find_rowset_locked(slot, &question->current, question);
	if (result == CLARI_LOOKUP_ABSENT && slot->flight == CLARI_NO_INDEX && failed_just_now_locked(slot) &&
		masks_failure_locked(slot, question->freshness))
		return failed_locked(slot, question);
	return result;
}

static ClariLookup
answer_locked(Question *question)
{
	const ClariInquiry *inquiry = question->inquiry;
	ClariSlotShared *slot = clari_slot_find_locked(inquiry->key);
	ClariLookup result = slot != NULL ? find_own_locked(slot, question) : CLARI_LOOKUP_ABSENT;
	ClariFlightShared *flight;

	if (result == CLARI_LOOKUP_ABSENT)
		result = find_as_current_locked(question);
	if (result != CLARI_LOOKUP_ABSENT || inquiry->transport == NULL || (slot != NULL && slot->flight != CLARI_NO_INDEX))
		return result;
	flight = queue_locked(slot, inquiry->request, question);
	return flight != NULL ? join_locked(flight, question, CLARI_LOOKUP_QUEUED) : CLARI_LOOKUP_ABSENT;
}

ClariLookup
clari_cache_lookup(const ClariInquiry *inquiry, const ClariFreshness *freshness, uint64 *flight, ClariVersion *version,
				   ClariError *error)
{
	Question question;
	ClariLookup result;
	ClariError refused;

	error->code = CLARI_ERROR_NONE;
	question.current = *inquiry->request;
	question.current.period[0] = '\0';
	if (!clari_request_key(&question.current, &question.current_key, error) ||
		!clari_request_account(inquiry->request, &question.account, error))
		return CLARI_LOOKUP_FAILED;
	question.inquiry = inquiry;
	question.freshness = freshness;
	question.role = GetUserId();
	question.flight = flight;
	question.version = version;
	question.error = error;
	question.queued = false;
	clari_dropped_init(&question.dropped);
	clari_cache_load();
	clari_cache_lock(LW_EXCLUSIVE);
	clari_evict_excess_locked(&question.dropped);
	result = answer_locked(&question);
	clari_cache_unlock();
	clari_dropped_release(&question.dropped);
	/* Start them at once, since the scan may read other rowsets first.  If this fails, sessions that wait try again. */
	if (question.queued)
		(void) clari_cache_start_workers(&refused);
	return result;
}

bool
clari_cache_peek(const ClariKey *key, ClariVersion *version)
{
	ClariSlotShared *slot;
	bool found;

	clari_cache_load();
	clari_cache_lock(LW_SHARED);
	slot = clari_slot_find_locked(key);
	found = slot != NULL && clari_slot_has_rowset(slot);
	if (found)
		*version = slot->version;
	clari_cache_unlock();
	return found;
}
