/*
 * fetch.c
 *		A session's one door: see fetch.h.
 *
 * Runs in sessions.  Takes the cache's lock only within the cache's calls, and
 * sleeps on its condition variable.  A statement is found by its per-query
 * memory context and lives in it.
 */
#include "postgres.h"

#include "fetch.h"

#include "report.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/memutils.h"

/* How long to keep asking for a worker slot. */
#define WORKER_PATIENCE (10 * USECS_PER_SEC)

/* Sleeps end by themselves so often, to see whether a worker must be started again. */
#define LONGEST_SLEEP 1000L /* ms */

/* One export that the statement wants, however many of its scans do. */
typedef struct Item
{
	ClariWanted wanted;
	const ClariOptions *options; /* of the first scan that wanted it: they differ in nothing that is in the key */
	ClariReader *reader;         /* the version that the whole statement uses, once it is needed */
	bool lost;                   /* a version that could not be opened was exported again */
	struct Item *next;
} Item;

struct ClariStatement
{
	MemoryContext context;
	Item *items;
	ClariFetch *fetches;
	ClariStatement *next; /* of the session's statements */
};

struct ClariFetch
{
	ClariStatement *statement;
	const ClariOptions *options;
	ClariFreshness freshness;
	bool eager;
	ClariChooser choose;
	void *arg;
	Item *current; /* a relative extent's current quarter */
	bool chosen;
	int nitems;
	int capacity;   /* of the two arrays, which rescans use again */
	Item **items;   /* ascending by period */
	bool *returned; /* of each item */
	ClariFetch *next;
};

static ClariStatement *statements = NULL;
static const ClariWanted *pinned = NULL;
static int npinned = 0;

/* ------- single exports ------- */

void
clari_fetch_want(const ClariOptions *options, const char *period, ClariWanted *wanted)
{
	ClariError error;

	memset(wanted, 0, sizeof(*wanted));
	wanted->request = options->request;
	strlcpy(wanted->request.period, period, sizeof(wanted->request.period));
	wanted->state = CLARI_LOOKUP_ABSENT;
	if (!clari_request_key(&wanted->request, &wanted->key, &error))
		clari_error_report(ERROR, &error);
}

static const ClariWanted *
find_pinned(const ClariKey *key)
{
	for (int i = 0; i < npinned; i++)
		if (pinned[i].state == CLARI_LOOKUP_READY && memcmp(&pinned[i].key, key, sizeof(*key)) == 0)
			return &pinned[i];
	return NULL;
}

/* A quarter that has no rowset of its own may be the current one, exported without a period. */
static bool
serve_by_alias(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted)
{
	ClariWanted current;
	uint64 no_flight = 0;

	if (wanted->request.period[0] == '\0')
		return false;
	clari_fetch_want(options, "", &current);
	if (clari_cache_lookup(&current.key, &current.request, NULL, freshness, &no_flight, &current.version,
						   &current.error) != CLARI_LOOKUP_READY)
		return false;
	if (strcmp(current.version.meta.answered, wanted->request.period) != 0)
		return false;
	wanted->version = current.version;
	wanted->state = CLARI_LOOKUP_READY;
	return true;
}

static void
poll_one(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted)
{
	const ClariWanted *pin = find_pinned(&wanted->key);
	ClariError refused;

	if (pin != NULL)
	{
		wanted->version = pin->version;
		wanted->state = CLARI_LOOKUP_READY;
		return;
	}
	wanted->state = clari_cache_lookup(&wanted->key, &wanted->request, NULL, freshness, &wanted->flight,
									   &wanted->version, &wanted->error);
	if (wanted->state != CLARI_LOOKUP_ABSENT || serve_by_alias(options, freshness, wanted))
		return;
	wanted->state = clari_cache_lookup(&wanted->key, &wanted->request, &options->transport, freshness, &wanted->flight,
									   &wanted->version, &wanted->error);
	/* At once: the scan may have other rowsets to read first.  Who waits keeps asking if this fails. */
	if (wanted->state == CLARI_LOOKUP_FLYING)
		(void) clari_cache_start_workers(&refused);
}

static bool
is_open(const ClariWanted *wanted)
{
	return wanted->state != CLARI_LOOKUP_READY && wanted->state != CLARI_LOOKUP_FAILED;
}

bool
clari_fetch_poll(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted, int count)
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
clari_fetch_current(const ClariOptions *options, bool any_age)
{
	ClariFreshness freshness = {GetCurrentStatementStartTimestamp(), options->cache_ttl, options->closed_period_ttl,
								false};
	ClariWanted current;
	ClariPeriod period;
	uint64 no_flight = 0;
	bool found;

	clari_fetch_want(options, "", &current);
	if (any_age)
		found = clari_cache_peek(&current.key, &current.version);
	else
		found = clari_cache_lookup(&current.key, &current.request, NULL, &freshness, &no_flight, &current.version,
								   &current.error) == CLARI_LOOKUP_READY;
	if (!found || !clari_period_parse(current.version.meta.answered, &period))
		return CLARI_PERIOD_NONE;
	return period;
}

bool
clari_fetch_peek(const ClariOptions *options, const char *period, ClariVersion *version)
{
	ClariWanted wanted;

	clari_fetch_want(options, period, &wanted);
	if (clari_cache_peek(&wanted.key, version))
		return true;
	clari_fetch_want(options, "", &wanted);
	return clari_cache_peek(&wanted.key, version) && strcmp(version->meta.answered, period) == 0;
}

void
clari_fetch_pin(const ClariWanted *wanted, int count)
{
	pinned = wanted;
	npinned = count;
}

void
clari_fetch_unpin(void)
{
	pinned = NULL;
	npinned = 0;
}

/* ------- waiting ------- */

/* What a waiting session waits for: is it there?  May queue more, may raise. */
typedef bool (*Settled)(void *arg);

typedef struct Waiters
{
	int count;
	uint64 *flights;
} Waiters;

static void
count_waiters(const Waiters *waiters, int change)
{
	for (int i = 0; i < waiters->count; i++)
		clari_cache_count_waiter(waiters->flights[i], change);
}

static void
stop_waiting(int code pg_attribute_unused(), Datum arg)
{
	count_waiters((const Waiters *) DatumGetPointer(arg), -1);
	clari_cache_wait_end();
}

/* Raises once no worker could be had for so long; *refused_at is when that began. */
static void
keep_workers_running(TimestampTz *refused_at)
{
	ClariError error;

	if (clari_cache_start_workers(&error))
		*refused_at = 0;
	else if (*refused_at == 0)
		*refused_at = GetCurrentTimestamp();
	else if (GetCurrentTimestamp() - *refused_at > WORKER_PATIENCE)
		clari_error_report(ERROR, &error);
}

/* Sleeps until settled() holds; false when timeout_ms (-1: no bound) were over first. */
static bool
sleep_until(Settled settled, void *arg, long timeout_ms)
{
	TimestampTz deadline = timeout_ms < 0 ? PG_INT64_MAX : GetCurrentTimestamp() + timeout_ms * 1000;
	TimestampTz refused_at = 0;

	clari_cache_wait_begin();
	while (!settled(arg))
	{
		long left = timeout_ms < 0 ? LONGEST_SLEEP : (long) ((deadline - GetCurrentTimestamp()) / 1000);

		CHECK_FOR_INTERRUPTS();
		if (left <= 0)
			return false;
		keep_workers_running(&refused_at);
		clari_cache_sleep(Min(left, refused_at != 0 ? 100 : LONGEST_SLEEP));
	}
	return true;
}

/* The same, counted as waiting for the flights meanwhile, whichever way it ends. */
static bool
wait_until(Settled settled, void *arg, Waiters *waiters, long timeout_ms)
{
	bool result;

	count_waiters(waiters, 1);
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(waiters));
	{
		result = sleep_until(settled, arg, timeout_ms);
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(waiters));
	stop_waiting(0, PointerGetDatum(waiters));
	return result;
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

	return clari_fetch_poll(poll->options, poll->freshness, poll->wanted, poll->count);
}

bool
clari_fetch_wait(const ClariOptions *options, const ClariFreshness *freshness, ClariWanted *wanted, int count,
				 long timeout_ms)
{
	PollArguments poll = {options, freshness, wanted, count};
	Waiters waiters = {0, palloc(sizeof(uint64) * Max(count, 1))};
	bool result;

	if (poll_settled(&poll))
		return true;
	for (int i = 0; i < count; i++)
		if (is_open(&wanted[i]) && wanted[i].flight != 0)
			waiters.flights[waiters.count++] = wanted[i].flight;
	result = wait_until(poll_settled, &poll, &waiters, timeout_ms);
	pfree(waiters.flights);
	return result;
}

/* ------- statements ------- */

static void
forget_statement(void *arg)
{
	for (ClariStatement **link = &statements; *link != NULL; link = &(*link)->next)
		if (*link == arg)
		{
			*link = (*link)->next;
			return;
		}
}

ClariStatement *
clari_fetch_statement(MemoryContext context)
{
	ClariStatement *statement;
	MemoryContextCallback *callback;

	for (statement = statements; statement != NULL; statement = statement->next)
		if (statement->context == context)
			return statement;
	statement = MemoryContextAllocZero(context, sizeof(ClariStatement));
	callback = MemoryContextAllocZero(context, sizeof(MemoryContextCallback));
	statement->context = context;
	statement->next = statements;
	statements = statement;
	callback->func = forget_statement;
	callback->arg = statement;
	MemoryContextRegisterResetCallback(context, callback);
	return statement;
}

ClariFetch *
clari_fetch_begin(ClariStatement *statement, const ClariOptions *options, bool eager, ClariChooser choose, void *arg)
{
	ClariFetch *fetch = MemoryContextAllocZero(statement->context, sizeof(ClariFetch));

	fetch->statement = statement;
	fetch->options = options;
	fetch->freshness.since = GetCurrentStatementStartTimestamp();
	fetch->freshness.cache_ttl = options->cache_ttl;
	fetch->freshness.closed_period_ttl = options->closed_period_ttl;
	fetch->eager = eager;
	fetch->choose = choose;
	fetch->arg = arg;
	fetch->next = statement->fetches;
	statement->fetches = fetch;
	return fetch;
}

/* The statement's item for the period, made if no scan has wanted it yet. */
static Item *
find_item(ClariFetch *fetch, const char *period)
{
	ClariStatement *statement = fetch->statement;
	ClariWanted wanted;
	Item *item;

	clari_fetch_want(fetch->options, period, &wanted);
	for (item = statement->items; item != NULL; item = item->next)
		if (memcmp(&item->wanted.key, &wanted.key, sizeof(ClariKey)) == 0)
			return item;
	item = MemoryContextAllocZero(statement->context, sizeof(Item));
	item->wanted = wanted;
	item->options = fetch->options;
	item->next = statement->items;
	statement->items = item;
	return item;
}

static void
poll_item(ClariFetch *fetch, Item *item)
{
	if (is_open(&item->wanted))
		poll_one(fetch->options, &fetch->freshness, &item->wanted);
}

/* ------- choosing ------- */

/* The current quarter, if it is known by now; raises if it cannot be learned. */
static ClariPeriod
learned_current(ClariFetch *fetch)
{
	ClariWanted *wanted = &fetch->current->wanted;
	ClariPeriod period;

	if (wanted->state != CLARI_LOOKUP_READY)
		return CLARI_PERIOD_NONE;
	if (!clari_period_parse(wanted->version.meta.answered, &period))
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_CREATE_REPLY),
						errmsg("Clari did not say which fiscal quarter is the current one"),
						errdetail("The export of forecast \"%s\" without a period holds no entry and no time period.",
								  wanted->request.forecast),
						errhint("Name quarters such as 2026_Q1 in option \"periods\".")));
	return period;
}

static void
set_items(ClariFetch *fetch, const ClariPeriod *periods, int count, ClariPeriod current)
{
	MemoryContext context = fetch->statement->context;

	if (count > fetch->capacity)
	{
		fetch->items = MemoryContextAlloc(context, sizeof(Item *) * count);
		fetch->returned = MemoryContextAlloc(context, sizeof(bool) * count);
		fetch->capacity = count;
	}
	fetch->nitems = count;
	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		clari_period_format(periods[i], text);
		fetch->returned[i] = false;
		fetch->items[i] = periods[i] == current ? fetch->current : find_item(fetch, text);
	}
	fetch->chosen = true;
}

/* Chooses the scan's periods, or asks which quarter is the current one and leaves it for later. */
static void
try_to_choose(ClariFetch *fetch)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	ClariPeriod current = CLARI_PERIOD_NONE;
	int count;

	if (clari_extent_is_relative(&fetch->options->extent))
	{
		if (fetch->current == NULL)
			fetch->current = find_item(fetch, "");
		poll_item(fetch, fetch->current);
		current = learned_current(fetch);
		if (current == CLARI_PERIOD_NONE)
			return;
	}
	count = clari_extent_expand(&fetch->options->extent, current, periods);
	count = fetch->choose(fetch->arg, periods, count);
	set_items(fetch, periods, count, current);
}

/* Queues what the statement's scans lack, as far as it is known. */
static void
advance_statement(ClariFetch *wanting)
{
	for (ClariFetch *fetch = wanting->statement->fetches; fetch != NULL; fetch = fetch->next)
	{
		if (fetch != wanting && !fetch->eager)
			continue;
		if (!fetch->chosen)
			try_to_choose(fetch);
		for (int i = 0; i < fetch->nitems; i++)
			if (!fetch->returned[i])
				poll_item(fetch, fetch->items[i]);
	}
}

/* ------- fetching ------- */

static void
check_truncated(const ClariFetch *fetch, const ClariRowsetMeta *meta)
{
	bool allowed = fetch->options->transport.allow_truncated;

	if (meta->flags & CLARI_ROWSET_TRUNCATED)
		ereport(allowed ? WARNING : ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("Clari truncated the export of period %s", meta->answered),
				 errdetail("Forecast \"%s\", job %s.", meta->forecast, meta->job_id),
				 allowed ? 0 : errhint("Narrow option \"scope_id\" or \"types\", or set \"allow_truncated\".")));
}

static void
warn_of_wrong_period(const ClariRowsetMeta *meta)
{
	if (meta->flags & CLARI_ROWSET_WRONG_PERIOD)
		ereport(WARNING, (errcode(ERRCODE_NO_DATA),
						  errmsg("Clari answered period %s with period %s: no rows", meta->requested, meta->answered),
						  errdetail("Forecast \"%s\" has no data for period %s, or does not know it.", meta->forecast,
									meta->requested)));
}

/* Opens the item's version; false if it is gone by now, and the item is to be looked up again. */
static bool
open_item(ClariFetch *fetch, Item *item)
{
	ClariVersion *version = &item->wanted.version;
	ClariError error;

	if (item->reader == NULL)
	{
		item->reader = clari_reader_open(version, fetch->statement->context, &error);
		if (item->reader != NULL)
			warn_of_wrong_period(&version->meta);
	}
	if (item->reader == NULL)
	{
		clari_cache_forget(&version->meta.key, version->meta.generation);
		if (item->lost) /* once is bad luck, twice would spend quota for ever */
			clari_error_report(ERROR, &error);
		item->lost = true;
		item->wanted.state = CLARI_LOOKUP_ABSENT;
		item->wanted.flight = 0;
		return false;
	}
	check_truncated(fetch, &version->meta);
	return true;
}

static void
raise_failure(const Item *item)
{
	if (item != NULL && item->wanted.state == CLARI_LOOKUP_FAILED)
		clari_error_report(ERROR, &item->wanted.error);
}

/* Marks the first rowset that is ready as returned; NULL if none is. */
static ClariReader *
take_ready(ClariFetch *fetch)
{
	for (int i = 0; i < fetch->nitems; i++)
	{
		Item *item = fetch->items[i];

		if (fetch->returned[i] || item->wanted.state != CLARI_LOOKUP_READY || !open_item(fetch, item))
			continue;
		fetch->returned[i] = true;
		return item->reader;
	}
	return NULL;
}

static bool
is_exhausted(const ClariFetch *fetch)
{
	for (int i = 0; i < fetch->nitems; i++)
		if (!fetch->returned[i])
			return false;
	return fetch->chosen;
}

typedef struct NextArguments
{
	ClariFetch *fetch;
	ClariReader *reader;
} NextArguments;

static bool
next_settled(void *arg)
{
	NextArguments *next = arg;
	ClariFetch *fetch = next->fetch;

	if (is_exhausted(fetch))
		return true;
	advance_statement(fetch);
	raise_failure(fetch->current);
	for (int i = 0; i < fetch->nitems; i++)
		raise_failure(fetch->items[i]);
	next->reader = take_ready(fetch);
	return next->reader != NULL || is_exhausted(fetch);
}

static void
note_flight(Waiters *waiters, const Item *item)
{
	if (item != NULL && is_open(&item->wanted) && item->wanted.flight != 0)
		waiters->flights[waiters->count++] = item->wanted.flight;
}

ClariReader *
clari_fetch_next(ClariFetch *fetch)
{
	NextArguments next = {fetch, NULL};
	Waiters waiters = {0, NULL};

	if (next_settled(&next))
		return next.reader;
	waiters.flights = palloc(sizeof(uint64) * (fetch->nitems + 1));
	note_flight(&waiters, fetch->current);
	for (int i = 0; i < fetch->nitems; i++)
		if (fetch->items[i] != fetch->current)
			note_flight(&waiters, fetch->items[i]);
	(void) wait_until(next_settled, &next, &waiters, -1);
	pfree(waiters.flights);
	return next.reader;
}

void
clari_fetch_rescan(ClariFetch *fetch, bool choose_again)
{
	if (choose_again)
		fetch->chosen = false;
	if (!fetch->chosen)
		fetch->nitems = 0;
	for (int i = 0; i < fetch->nitems; i++)
		fetch->returned[i] = false;
}
