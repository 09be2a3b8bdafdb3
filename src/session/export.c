/*
 * export.c
 *		One export as a session wants it: see export.h.
 *
 * Runs in sessions.  Takes the cache's lock only within the cache's calls, and
 * sleeps on its condition variable.
 */
#include "postgres.h"

#include "session/export.h"

#include "base/clock.h"
#include "base/report.h"
#include "session/internal.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* How long to keep asking for a worker slot. */
#define WORKER_PATIENCE 10000 /* ms */

/* Sleeps end by themselves so often, to see whether a worker must be started again. */
#define LONGEST_SLEEP 1000L /* ms */

/* ------- interest ------- */

struct ClariInterest
{
	MemoryContext context;
	int count;
	int capacity;
	uint64 *flights;
};

/* MemoryContextCallbackFunction */
static void
lose_interest(void *arg)
{
	ClariInterest *interest = arg;

	while (interest->count > 0)
		clari_cache_leave(interest->flights[--interest->count]);
}

ClariInterest *
clari_interest_make(MemoryContext context)
{
	ClariInterest *interest = MemoryContextAllocZero(context, sizeof(ClariInterest));
	MemoryContextCallback *callback = MemoryContextAllocZero(context, sizeof(MemoryContextCallback));

	interest->context = context;
	interest->capacity = 8;
	interest->flights = MemoryContextAlloc(context, sizeof(uint64) * interest->capacity);
	callback->func = lose_interest;
	callback->arg = interest;
	MemoryContextRegisterResetCallback(context, callback);
	return interest;
}

void
clari_interest_keep(const ClariInterest *interest)
{
	for (int i = 0; i < interest->count; i++)
		clari_cache_keep(interest->flights[i]);
}

/*
 * A place for one more, as there must be before a flight is joined; 0 until then.
 * It is counted before, since a look-up can raise after it has joined.
 */
static uint64 *
add_interest(ClariInterest *interest)
{
	if (interest->count == interest->capacity)
	{
		interest->flights = repalloc_huge(interest->flights, sizeof(uint64) * interest->capacity * 2);
		interest->capacity *= 2;
	}
	interest->flights[interest->count] = 0;
	return &interest->flights[interest->count++];
}

/* ------- single exports ------- */

void
clari_wanted_init(const ClariOptions *options, const char *period, ClariInterest *interest, ClariWanted *wanted)
{
	ClariError error;

	memset(wanted, 0, sizeof(*wanted));
	wanted->interest = interest;
	wanted->request = options->request;
	strlcpy(wanted->request.period, period, sizeof(wanted->request.period));
	wanted->state = CLARI_LOOKUP_ABSENT;
	if (!clari_request_key(&wanted->request, &wanted->key, &error))
		clari_error_report(ERROR, &error);
}

ClariFreshness
clari_wanted_freshness(const ClariOptions *options, TimestampTz since)
{
	return (ClariFreshness){.since = since,
							.cache_ttl = options->cache_ttl,
							.closed_period_ttl = options->closed_period_ttl,
							.stale_while_revalidate = options->stale_while_revalidate,
							.stale_if_error = options->stale_if_error,
							.max_age = -1};
}

bool
clari_wanted_is_fresh(const ClariOptions *options, const ClariVersion *version, TimestampTz since)
{
	ClariFreshness freshness = clari_wanted_freshness(options, since);

	return version->meta.posted_at > since - clari_freshness_age(&version->meta, &freshness);
}

/* Looks it up, without a transport without queueing anything. */
static void
look_up(const ClariTransport *transport, const ClariFreshness *freshness, ClariWanted *wanted)
{
	ClariInterest *interest = wanted->interest;
	ClariInquiry inquiry = {&wanted->key, &wanted->request, transport, NULL};
	TimestampTz asked_at = GetCurrentTimestamp(); /* before any worker can POST for it */

	if (interest != NULL)
		inquiry.joined = add_interest(interest);
	wanted->state = clari_cache_lookup(&inquiry, freshness, &wanted->flight, &wanted->version, &wanted->error);
	if (interest != NULL && *inquiry.joined == 0)
		interest->count--;
	wanted->stale_if_error = wanted->state == CLARI_LOOKUP_STALE_ERROR || wanted->state == CLARI_LOOKUP_STALE;
	if (wanted->state == CLARI_LOOKUP_QUEUED)
	{
		wanted->queued_at = asked_at;
		wanted->state = CLARI_LOOKUP_FLYING;
	}
	wanted->flew = wanted->flew || wanted->state == CLARI_LOOKUP_FLYING;
}

static bool
serves(ClariLookup state)
{
	return state == CLARI_LOOKUP_READY || state == CLARI_LOOKUP_STALE || state == CLARI_LOOKUP_STALE_ERROR;
}

bool
clari_wanted_find(const ClariFreshness *freshness, ClariWanted *wanted)
{
	look_up(NULL, freshness, wanted);
	return serves(wanted->state);
}

/* A quarter that has no rowset of its own may be the current one, exported without a period. */
static bool
serve_by_alias(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted)
{
	ClariWanted current;

	if (wanted->request.period[0] == '\0')
		return false;
	clari_wanted_init(options, "", NULL, &current);
	if (!clari_wanted_find(freshness, &current) || strcmp(current.version.meta.answered, wanted->request.period) != 0)
		return false;
	if (current.state == CLARI_LOOKUP_STALE)
		look_up(&options->transport, freshness, &current); /* to be renewed behind */
	wanted->version = current.version;
	wanted->error = current.error;
	wanted->stale_if_error = current.stale_if_error;
	return serves(current.state);
}

static void
poll_one(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted)
{
	(void) clari_wanted_find(freshness, wanted);
	if (wanted->state == CLARI_LOOKUP_ABSENT && serve_by_alias(options, freshness, wanted))
		wanted->state = CLARI_LOOKUP_READY;
	if (wanted->state == CLARI_LOOKUP_ABSENT || wanted->state == CLARI_LOOKUP_STALE)
		look_up(&options->transport, freshness, wanted);
	if (serves(wanted->state))
		wanted->state = CLARI_LOOKUP_READY;
}

/* Neither ready nor failed. */
static bool
is_open(const ClariWanted *wanted)
{
	return wanted->state != CLARI_LOOKUP_READY && wanted->state != CLARI_LOOKUP_FAILED;
}

bool
clari_wanted_poll(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted, int count)
{
	bool open = false;

	for (int i = 0; i < count; i++)
	{
		if (is_open(&wanted[i]))
			poll_one(options, freshness, &wanted[i]);
		open = open || is_open(&wanted[i]);
	}
	return !open;
}

ClariPeriod
clari_wanted_current(const ClariOptions *options)
{
	ClariWanted current;
	ClariPeriod period;

	clari_wanted_init(options, "", NULL, &current);
	if (!clari_cache_peek(&current.key, &current.version) ||
		!clari_period_parse(current.version.meta.answered, &period))
		return CLARI_PERIOD_NONE;
	return period;
}

ClariPeriod
clari_wanted_answered(const ClariWanted *wanted)
{
	ClariPeriod period;

	if (!clari_period_parse(wanted->version.meta.answered, &period))
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
						errmsg("Clari did not say which fiscal quarter is the current one"),
						errdetail("The export of forecast \"%s\" without a period holds no entry and no time period.",
								  clari_report_text(wanted->request.forecast)),
						errhint("Name quarters such as 2026_Q1 in option \"periods\".")));
	return period;
}

bool
clari_wanted_peek(const ClariOptions *options, const char *period, ClariVersion *version)
{
	ClariWanted wanted;

	clari_wanted_init(options, period, NULL, &wanted);
	if (clari_cache_peek(&wanted.key, version))
		return true;
	clari_wanted_init(options, "", NULL, &wanted);
	return clari_cache_peek(&wanted.key, version) && strcmp(version->meta.answered, period) == 0;
}

void
clari_wanted_lose(ClariWanted *wanted)
{
	clari_cache_forget(&wanted->version.meta.key, wanted->version.meta.generation);
	wanted->state = CLARI_LOOKUP_ABSENT;
	wanted->flight = 0;
	wanted->lost++;
}

/* ------- warnings ------- */

/* What the session was warned of. */
typedef struct Remark
{
	ClariKey key;
	int32 remark;
	uint64 generation;
} Remark;

/* Beyond so many, all are forgotten, and said once more. */
#define MOST_REMARKS 4096

int
clari_wanted_level(const ClariRowsetMeta *meta, int remark)
{
	static HTAB *remarks = NULL;
	HASHCTL control = {.keysize = sizeof(Remark), .entrysize = sizeof(Remark)};
	Remark wanted;
	bool found;

	if (remarks != NULL && hash_get_num_entries(remarks) >= MOST_REMARKS)
	{
		hash_destroy(remarks);
		remarks = NULL;
	}
	if (remarks == NULL)
		remarks = hash_create("clari_fdw warnings", 64, &control, HASH_ELEM | HASH_BLOBS);
	memset(&wanted, 0, sizeof(wanted)); /* its bytes are compared */
	wanted.key = meta->key;
	wanted.generation = meta->generation;
	wanted.remark = remark;
	(void) hash_search(remarks, &wanted, HASH_ENTER, &found);
	return found ? NOTICE : WARNING;
}

/* "12 minutes", of microseconds. */
static const char *
age_text(int64 age)
{
	int64 seconds = Max(age, 0) / USECS_PER_SEC;

	if (seconds < 2 * SECS_PER_MINUTE)
		return psprintf(INT64_FORMAT " seconds", seconds);
	if (seconds < 2 * SECS_PER_HOUR)
		return psprintf(INT64_FORMAT " minutes", seconds / SECS_PER_MINUTE);
	return psprintf(INT64_FORMAT " hours", seconds / SECS_PER_HOUR);
}

void
clari_wanted_warn(const ClariWanted *wanted)
{
	const ClariRowsetMeta *meta = &wanted->version.meta;
	int level;

	if (wanted->error.code == CLARI_ERROR_NONE)
		return;
	if (!wanted->stale_if_error)
	{
		clari_error_report(WARNING, &wanted->error);
		return;
	}
	level = clari_wanted_level(meta, CLARI_REMARK_STALE + (int) wanted->error.code);
	ereport(level, (errcode(ERRCODE_WARNING),
					errmsg("period %s of forecast \"%s\" is stale: it was exported %s ago", meta->answered,
						   clari_report_text(meta->forecast), age_text(GetCurrentTimestamp() - meta->posted_at)),
					errdetail("The export failed: %s. %s", clari_report_text(wanted->error.message),
							  clari_report_text(wanted->error.detail)),
					errhint("Option \"stale_if_error\" says how long stale rows are shown instead of the error.")));
}

void
clari_wanted_report_truncated(const ClariRowsetMeta *meta, bool allowed)
{
	int level = allowed ? clari_wanted_level(meta, CLARI_REMARK_TRUNCATED) : ERROR;

	ereport(level,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("Clari truncated the export of period %s", meta->answered),
			 errdetail("Forecast \"%s\", job %s.", clari_report_text(meta->forecast), meta->job_id),
			 allowed ? 0 : errhint("Narrow option \"scope_id\" or \"types\", or set \"allow_truncated\".")));
}

/* ------- waiting ------- */

/* Raises once no worker could be had for so long; *refused_at is when that began, or 0. */
static void
keep_workers_running(ClariPatience *refused_at)
{
	ClariError error;

	if (clari_cache_start_workers(&error))
		*refused_at = 0;
	else if (*refused_at == 0)
		*refused_at = clari_clock_now();
	else if (clari_clock_now() - *refused_at > WORKER_PATIENCE)
		clari_error_report(ERROR, &error);
}

bool
clari_wanted_sleep(ClariSettled settled, void *arg, long timeout_ms, ClariPatience *patience)
{
	int64 deadline = clari_clock_now() + timeout_ms;
	ClariPatience own = 0;
	ClariPatience *refused_at = patience != NULL ? patience : &own;
	bool done;

	clari_cache_wait_begin();
	while (!(done = settled(arg)))
	{
		long left = timeout_ms < 0 ? LONGEST_SLEEP : (long) (deadline - clari_clock_now());

		CHECK_FOR_INTERRUPTS();
		if (left <= 0)
			break;
		keep_workers_running(refused_at);
		clari_cache_sleep(Min(left, *refused_at != 0 ? 100 : LONGEST_SLEEP));
	}
	clari_cache_wait_end();
	return done;
}

typedef struct PollArguments
{
	const ClariOptions *options;
	const ClariFreshness *freshness;
	ClariWanted *wanted;
	int count;
} PollArguments;

static bool
poll_settled(void *arg)
{
	PollArguments *poll = arg;

	return clari_wanted_poll(poll->options, poll->freshness, poll->wanted, poll->count);
}

bool
clari_wanted_wait(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted, int count,
				  long timeout_ms, ClariPatience *patience)
{
	PollArguments poll = {options, freshness, wanted, count};

	return poll_settled(&poll) || clari_wanted_sleep(poll_settled, &poll, timeout_ms, patience);
}
