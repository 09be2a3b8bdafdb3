/*
 * export.c
 *		Exports in a session: see export.h.
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

/* How long a session keeps trying to start a worker. */
#define WORKER_PATIENCE 10000 /* ms */

/* No sleep is longer than this, so that a session soon notices if it must start another worker. */
#define LONGEST_SLEEP 1000L /* ms */

/* How many times an export is looked up again because its version could not be opened. */
#define MOST_FAILED_OPENINGS 10

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
leave_flights(void *arg)
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
	callback->func = leave_flights;
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

void
clari_interest_leave(ClariInterest *interest, uint64 flight)
{
	for (int i = 0; i < interest->count; i++)
		if (interest->flights[i] == flight)
		{
			interest->flights[i] = interest->flights[--interest->count];
			clari_cache_leave(flight);
			return;
		}
}

/*
 * Adds a place for a flight, which is 0 until a look-up has joined one.  It is added
 * before, because the look-up can raise an error after it has joined.
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
clari_export_init(const ClariOptions *options, const char *period, ClariInterest *interest, ClariExport *export)
{
	ClariError error;

	memset(export, 0, sizeof(*export));
	export->interest = interest;
	export->request = options->request;
	strlcpy(export->request.period, period, sizeof(export->request.period));
	export->state = CLARI_LOOKUP_ABSENT;
	if (!clari_request_key(&export->request, &export->key, &error))
		clari_error_report(ERROR, &error);
}

ClariFreshness
clari_export_freshness(const ClariOptions *options, TimestampTz since)
{
	return (ClariFreshness){.since = since,
							.cache_ttl = options->cache_ttl,
							.closed_period_ttl = options->closed_period_ttl,
							.stale_while_revalidate = options->stale_while_revalidate,
							.stale_if_error = options->stale_if_error,
							.max_age = -1};
}

bool
clari_export_is_fresh(const ClariOptions *options, const ClariVersion *version, TimestampTz since)
{
	ClariFreshness freshness = clari_export_freshness(options, since);

	return version->meta.posted_at > since - clari_freshness_age(&version->meta, &freshness);
}

/* Looks the export up; without a transport, does not queue it. */
static void
look_up(const ClariTransport *transport, const ClariFreshness *freshness, ClariExport *export)
{
	ClariInterest *interest = export->interest;
	ClariInquiry inquiry = {&export->request, &export->key, transport, NULL};
	TimestampTz asked_at = GetCurrentTimestamp(); /* before a worker can send a POST for it */

	if (interest != NULL)
		inquiry.joined = add_interest(interest);
	export->state = clari_cache_lookup(&inquiry, freshness, &export->flight, &export->version, &export->error);
	if (interest != NULL && *inquiry.joined == 0)
		interest->count--;
	export->stale = export->state == CLARI_LOOKUP_STALE;
	if (export->stale)
		export->state = CLARI_LOOKUP_READY;
	else if (export->state == CLARI_LOOKUP_QUEUED)
	{
		export->queued_at = asked_at;
		export->state = CLARI_LOOKUP_FLYING;
	}
	export->flew = export->flew || export->state == CLARI_LOOKUP_FLYING;
}

bool
clari_export_find(const ClariFreshness *freshness, ClariExport *export)
{
	look_up(NULL, freshness, export);
	return export->state == CLARI_LOOKUP_READY;
}

/* Is the export neither ready nor failed? */
static bool
is_open(const ClariExport *export)
{
	return export->state != CLARI_LOOKUP_READY && export->state != CLARI_LOOKUP_FAILED;
}

bool
clari_export_poll(const ClariOptions *options, const ClariFreshness *freshness, ClariExport *exports, int count)
{
	bool open = false;

	for (int i = 0; i < count; i++)
	{
		if (is_open(&exports[i]))
			look_up(&options->transport, freshness, &exports[i]);
		open = open || is_open(&exports[i]);
	}
	return !open;
}

ClariPeriod
clari_export_known_current(const ClariOptions *options)
{
	ClariExport current;
	ClariPeriod period;

	clari_export_init(options, "", NULL, &current);
	if (!clari_cache_peek(&current.key, &current.version) ||
		!clari_period_parse(current.version.meta.answered, &period))
		return CLARI_PERIOD_NONE;
	return period;
}

/* Returns the calendar's quarter that a time is in; CLARI_PERIOD_NONE: it is not known. */
static ClariPeriod
quarter_of_time(const ClariCalendar *calendar, TimestampTz time)
{
	ClariQuarter quarter;

	return clari_calendar_find(calendar, (int32_t) (time / USECS_PER_DAY), &quarter) ? quarter.period
																					 : CLARI_PERIOD_NONE;
}

/* Does the calendar have this quarter, or one next to it? */
static bool
is_near(const ClariCalendar *calendar, ClariPeriod period)
{
	for (int i = 0; i < calendar->count; i++)
		if (abs(calendar->quarters[i].period - period) <= 1)
			return true;
	return false;
}

ClariPeriod
clari_export_likely_current(const ClariOptions *options)
{
	ClariExport current;
	ClariKey account;
	ClariCalendar calendar;
	ClariPeriod told;
	ClariPeriod today;
	bool was_told;
	int ended; /* quarters that have ended since Clari answered */

	clari_export_init(options, "", NULL, &current);
	if (!clari_request_account(&current.request, &account, &current.error))
		clari_error_report(ERROR, &current.error);
	was_told =
		clari_cache_peek(&current.key, &current.version) && clari_period_parse(current.version.meta.answered, &told);
	clari_cache_calendar(&account, &calendar);
	today = quarter_of_time(&calendar, GetCurrentTimestamp());
	if (!was_told)
		return is_near(&calendar, today) ? today : CLARI_PERIOD_NONE;
	ended = today - quarter_of_time(&calendar, current.version.meta.posted_at);
	return ended == 0 || ended == 1 ? told + ended : CLARI_PERIOD_NONE;
}

void
clari_export_numbering(const ClariOptions *options, ClariNumbering *numbering)
{
	ClariKey account;
	ClariError error;

	clari_numbering_init(numbering);
	/* CSV files do not number months. */
	if (options->request.format != CLARI_FORMAT_JSON)
		return;
	if (!clari_request_account(&options->request, &account, &error))
		clari_error_report(ERROR, &error);
	clari_cache_numbering(&account, options->request.forecast, numbering);
}

ClariPeriod
clari_export_told_current(const ClariExport *export)
{
	ClariPeriod period;

	if (!clari_period_parse(export->version.meta.answered, &period))
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
						errmsg("Clari did not say which fiscal quarter is the current one"),
						errdetail("The export of forecast \"%s\" without a period holds no entry and no time period.",
								  clari_report_text(export->request.forecast)),
						errhint("Specify quarters such as 2026_Q1 in option \"periods\".")));
	return period;
}

bool
clari_export_peek(const ClariOptions *options, const char *period, ClariVersion *version)
{
	ClariExport export;

	clari_export_init(options, period, NULL, &export);
	if (clari_cache_peek(&export.key, version))
		return true;
	clari_export_init(options, "", NULL, &export);
	return clari_cache_peek(&export.key, version) && strcmp(version->meta.answered, period) == 0;
}

bool
clari_export_look_again(ClariExport *export, const ClariError *error)
{
	if (error->code == CLARI_ERROR_RESOURCES || export->failed_openings >= MOST_FAILED_OPENINGS)
		return false;
	clari_cache_drop_version(&export->version.meta.key, export->version.meta.generation);
	export->state = CLARI_LOOKUP_ABSENT;
	export->flight = 0;
	export->failed_openings++;
	return true;
}

/* ------- warnings ------- */

/* A remark that the session has already received about a version. */
typedef struct Remark
{
	ClariKey key;
	int32 remark;
	uint64 generation;
} Remark;

/* When this number is reached, all are forgotten, so that the session is warned once more. */
#define MOST_REMARKS 4096

int
clari_export_warning_level(const ClariRowsetMeta *meta, int remark)
{
	static HTAB *remarks = NULL;
	HASHCTL control = {.keysize = sizeof(Remark), .entrysize = sizeof(Remark)};
	Remark said;
	bool found;

	if (remarks != NULL && hash_get_num_entries(remarks) >= MOST_REMARKS)
	{
		hash_destroy(remarks);
		remarks = NULL;
	}
	if (remarks == NULL)
		remarks = hash_create("clari_fdw warnings", 64, &control, HASH_ELEM | HASH_BLOBS);
	memset(&said, 0, sizeof(said)); /* its bytes are compared, padding included */
	said.key = meta->key;
	said.generation = meta->generation;
	said.remark = remark;
	(void) hash_search(remarks, &said, HASH_ENTER, &found);
	return found ? NOTICE : WARNING;
}

/* Formats an age in microseconds, as in "12 minutes". */
static const char *
age_text(int64 age)
{
	int64 seconds = Max(age, 0) / USECS_PER_SEC;

	if (seconds < 2 * SECS_PER_MINUTE)
		return psprintf(INT64_FORMAT " %s", seconds, seconds == 1 ? "second" : "seconds");
	if (seconds < 2 * SECS_PER_HOUR)
		return psprintf(INT64_FORMAT " minutes", seconds / SECS_PER_MINUTE);
	return psprintf(INT64_FORMAT " hours", seconds / SECS_PER_HOUR);
}

void
clari_export_warn(const ClariExport *export)
{
	const ClariRowsetMeta *meta = &export->version.meta;
	const char *age;
	int level;

	if (export->error.code == CLARI_ERROR_NONE)
		return;
	if (!export->stale)
	{
		clari_error_report(WARNING, &export->error);
		return;
	}
	level = clari_export_warning_level(meta, CLARI_REMARK_STALE + (int) export->error.code);
	age = age_text(GetCurrentTimestamp() - meta->posted_at);
	ereport(level,
			(errcode(ERRCODE_WARNING),
			 clari_endpoint_is_of_account(meta->endpoint)
				 ? errmsg("what \"%s\" shows is stale: it was read %s ago", meta->forecast, age)
				 : errmsg("period %s of forecast \"%s\" is stale: it was exported %s ago", meta->answered,
						  clari_report_text(meta->forecast), age),
			 errdetail("%s failed: %s. %s", clari_endpoint_is_of_account(meta->endpoint) ? "The request" : "The export",
					   clari_report_text(export->error.message), clari_report_text(export->error.detail)),
			 errhint("Option \"stale_if_error\" sets how long stale rows are shown instead of the error.")));
}

void
clari_export_report_truncated(const ClariRowsetMeta *meta, bool allowed)
{
	int level = allowed ? clari_export_warning_level(meta, CLARI_REMARK_TRUNCATED) : ERROR;

	ereport(level,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("Clari truncated the export of period %s", meta->answered),
			 errdetail("Forecast \"%s\", job %s.", clari_report_text(meta->forecast), meta->job_id),
			 allowed ? 0 : errhint("Narrow option \"scope_id\" or \"types\", or set \"allow_truncated\".")));
}

void
clari_export_report_missing_types(const ClariRowsetMeta *meta)
{
	int level = clari_export_warning_level(meta, CLARI_REMARK_WITHOUT_CRM);

	ereport(level, (errcode(ERRCODE_WARNING),
					errmsg("Clari does not export crm_total and crm_closed of forecast \"%s\" in this account",
						   clari_report_text(meta->forecast)),
					errdetail("They are null in all of its rows."),
					errhint("Omit them from option \"types\" of the foreign table. Clari's Forecast API has these "
							"amounts, if the account has that API: see option \"endpoint\".")));
}

/* ------- waiting ------- */

/* Starts workers.  Raises an error once this has failed for WORKER_PATIENCE; *refused_at is when it first failed, or 0. */
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
clari_export_sleep(ClariCondition condition, void *arg, long timeout_ms, ClariPatience *patience)
{
	int64 deadline = clari_clock_now() + timeout_ms;
	ClariPatience own = 0;
	ClariPatience *refused_at = patience != NULL ? patience : &own;
	bool done;

	clari_cache_wait_begin();
	while (!(done = condition(arg)))
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
	ClariExport *exports;
	int count;
} PollArguments;

static bool
poll_all(void *arg)
{
	PollArguments *poll = arg;

	return clari_export_poll(poll->options, poll->freshness, poll->exports, poll->count);
}

bool
clari_export_wait(const ClariOptions *options, const ClariFreshness *freshness, ClariExport *exports, int count,
				  long timeout_ms, ClariPatience *patience)
{
	PollArguments poll = {options, freshness, exports, count};

	return poll_all(&poll) || clari_export_sleep(poll_all, &poll, timeout_ms, patience);
}
