/*
 * fetch.c
 *		Fetching the rowsets of scans: see fetch.h.
 *
 * Runs in sessions.  A ClariStatement is found by its per-query memory context, and
 * is allocated there.
 */
#include "postgres.h"

#include "session/fetch.h"

#include "base/report.h"
#include "session/internal.h"

#include "access/xact.h"
#include "nodes/pg_list.h"
#include "lib/stringinfo.h"
#include "portability/instr_time.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static int wait_notice_delay = 10000; /* ms, the setting clari_fdw.wait_notice_delay; -1: no notice */

/* An export that at least one scan of the statement wants. */
typedef struct FetchItem
{
	ClariExport export;
	bool chosen;              /* a scan has chosen it; otherwise it is only likely to be chosen */
	ClariFreshness freshness; /* the strictest of the scans that want it */
	ClariReader *reader;      /* of the version that the whole statement uses; NULL: not opened yet */
	bool warned;              /* it was checked, and reported if it is truncated */
	const ClariFetch *first;  /* the first scan that wanted it */
	struct FetchItem *next;
} FetchItem;

struct ClariStatement
{
	MemoryContext context;
	ClariInterest *interest;
	FetchItem *items;
	ClariFetch *fetches;
	const char *warned_of_types; /* the forecast last reported to lack amounts, or NULL */
	char *warned;                /* the last warning, so that it is not repeated for each period; or NULL */
	bool noticed;                /* the user was notified that the statement waits */
	TimestampTz waiting_since;   /* when it first began to wait; 0: it has not waited yet */
	instr_time waited;           /* how long all of its scans have waited */
	ClariStatement *next;        /* in the list of the session's statements */
};

struct ClariFetch
{
	ClariStatement *statement;
	const ClariOptions *options;
	ClariFreshness freshness;
	bool eager;
	ClariChooser choose;
	void *arg;
	FetchItem *current; /* for a relative extent, the export that says which quarter is current; or NULL */
	List *likely;       /* the items that are likely to be chosen, until the current quarter is known */
	bool guessed;       /* guess() was called */
	bool chosen;        /* items are those of the chosen periods */
	int nitems;
	int capacity;      /* of the two arrays, which rescans reuse */
	FetchItem **items; /* ascending by period */
	bool *returned;    /* for each item, whether its reader was returned since the last rescan */
	List *read;        /* the items that were ever returned */
	bool handed;       /* the items are rowsets that were handed over: nothing is chosen or looked up */
	instr_time waited;
	ClariFetch *next;
};

static ClariStatement *statements = NULL;

void
clari_fetch_init(void)
{
	DefineCustomIntVariable("clari_fdw.wait_notice_delay",
							"Sets the time after which a query that waits for exports reports this.",
							"-1 turns the notice off.", &wait_notice_delay, 10000, -1, PG_INT32_MAX, PGC_USERSET,
							GUC_UNIT_MS, NULL, NULL, NULL);
}

/* ------- statements ------- */

static void
leave_session(void *arg)
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
	statement->interest = clari_interest_make(context);
	statement->next = statements;
	statements = statement;
	callback->func = leave_session;
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
	fetch->freshness = clari_export_freshness(options, GetCurrentStatementStartTimestamp());
	fetch->eager = eager;
	fetch->choose = choose;
	fetch->arg = arg;
	fetch->next = statement->fetches;
	statement->fetches = fetch;
	return fetch;
}

ClariFetch *
clari_fetch_begin_handed(ClariStatement *statement, ClariReader **readers, int count)
{
	ClariFetch *fetch = MemoryContextAllocZero(statement->context, sizeof(ClariFetch));

	fetch->statement = statement;
	fetch->handed = fetch->chosen = true;
	fetch->items = MemoryContextAlloc(statement->context, sizeof(FetchItem *) * Max(count, 1));
	fetch->returned = MemoryContextAllocZero(statement->context, sizeof(bool) * Max(count, 1));
	fetch->nitems = count;
	for (int i = 0; i < count; i++)
	{
		fetch->items[i] = MemoryContextAllocZero(statement->context, sizeof(FetchItem));
		fetch->items[i]->export.version = readers[i]->version;
		fetch->items[i]->export.state = CLARI_LOOKUP_READY;
		fetch->items[i]->reader = readers[i];
	}
	fetch->next = statement->fetches;
	statement->fetches = fetch;
	return fetch;
}

/* Returns the statement's item for the period, making it if no scan has wanted it yet. */
static FetchItem *
find_item(ClariFetch *fetch, const char *period)
{
	ClariStatement *statement = fetch->statement;
	ClariExport export;
	FetchItem *item;

	clari_export_init(fetch->options, period, statement->interest, &export);
	for (item = statement->items; item != NULL; item = item->next)
		if (memcmp(&item->export.key, &export.key, sizeof(ClariKey)) == 0)
		{
			item->freshness.cache_ttl = Min(item->freshness.cache_ttl, fetch->freshness.cache_ttl);
			item->freshness.closed_period_ttl =
				Min(item->freshness.closed_period_ttl, fetch->freshness.closed_period_ttl);
			item->freshness.stale_while_revalidate =
				Min(item->freshness.stale_while_revalidate, fetch->freshness.stale_while_revalidate);
			item->freshness.stale_if_error = Min(item->freshness.stale_if_error, fetch->freshness.stale_if_error);
			return item;
		}
	item = MemoryContextAllocZero(statement->context, sizeof(FetchItem));
	item->export = export;
	item->first = fetch;
	item->freshness = fetch->freshness;
	item->next = statement->items;
	statement->items = item;
	return item;
}

static void
poll_item(ClariFetch *fetch, FetchItem *item)
{
	(void) clari_export_poll(fetch->options, &item->freshness, &item->export, 1);
}

/* ------- choosing ------- */

static void
set_items(ClariFetch *fetch, const ClariPeriod *periods, int count, ClariPeriod current)
{
	MemoryContext context = fetch->statement->context;

	if (count > fetch->capacity)
	{
		fetch->items = MemoryContextAlloc(context, sizeof(FetchItem *) * count);
		fetch->returned = MemoryContextAlloc(context, sizeof(bool) * count);
		fetch->capacity = count;
	}
	fetch->nitems = count;
	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		clari_period_format(periods[i], text);
		fetch->returned[i] = false;
		fetch->items[i] = fetch->current != NULL && periods[i] == current ? fetch->current : find_item(fetch, text);
		fetch->items[i]->chosen = true;
	}
	fetch->chosen = true;
	fetch->likely = NIL;
}

/* Adds the items that are likely to be chosen, to be exported while the current quarter is still being determined. */
static void
guess(ClariFetch *fetch)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	ClariPeriod likely = clari_export_likely_current(fetch->options);
	MemoryContext previous;
	int count;

	fetch->guessed = true;
	if (likely == CLARI_PERIOD_NONE)
		return;
	count = clari_extent_expand(&fetch->options->extent, likely, periods);
	count = fetch->choose(fetch->arg, periods, count, true);
	previous = MemoryContextSwitchTo(fetch->statement->context);
	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		clari_period_format(periods[i], text);
		if (periods[i] != likely)
			fetch->likely = lappend(fetch->likely, find_item(fetch, text));
	}
	MemoryContextSwitchTo(previous);
}

/* Chooses the scan's periods.  If the current quarter is needed and not known yet, queues its export instead. */
static void
try_to_choose(ClariFetch *fetch)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	ClariPeriod current = CLARI_PERIOD_NONE;
	int count;

	if (fetch->current != NULL)
	{
		poll_item(fetch, fetch->current);
		if (fetch->current->export.state != CLARI_LOOKUP_READY)
		{
			if (!fetch->guessed)
				guess(fetch);
			return;
		}
		current = clari_export_told_current(&fetch->current->export);
	}
	count = clari_extent_expand(&fetch->options->extent, current, periods);
	count = fetch->choose(fetch->arg, periods, count, false);
	set_items(fetch, periods, count, current);
}

/* Is the item likely to be chosen by a scan that has not chosen yet? */
static bool
is_likely(const ClariStatement *statement, FetchItem *item)
{
	for (const ClariFetch *fetch = statement->fetches; fetch != NULL; fetch = fetch->next)
		if (list_member_ptr(fetch->likely, item))
			return true;
	return false;
}

/* Removes items that seemed likely to be chosen, but were not.  Their flights end if they are still queued. */
static void
drop_unlikely(ClariStatement *statement)
{
	for (FetchItem **link = &statement->items; *link != NULL;)
	{
		FetchItem *item = *link;

		if (item->chosen || is_likely(statement, item))
			link = &item->next;
		else
		{
			*link = item->next;
			clari_interest_leave(statement->interest, item->export.flight);
			pfree(item);
		}
	}
}

/* Are this scan's periods to be chosen, if at all possible, while wanting fetches? */
static bool
takes_part(const ClariFetch *fetch, const ClariFetch *wanting)
{
	return !fetch->handed && (fetch == wanting || fetch->eager);
}

/*
 * Queues the exports that the statement's scans lack, as far as their periods are
 * known.  All scans choose before anything is looked up, so that an export that two
 * scans want is as fresh as the stricter one requires, whichever comes first.
 */
static void
advance_statement(ClariFetch *wanting)
{
	ClariFetch *first = wanting->statement->fetches;
	ListCell *cell;

	for (ClariFetch *fetch = first; fetch != NULL; fetch = fetch->next)
		if (takes_part(fetch, wanting) && fetch->current == NULL && clari_extent_is_relative(&fetch->options->extent))
		{
			fetch->current = find_item(fetch, "");
			fetch->current->chosen = true;
		}
	for (ClariFetch *fetch = first; fetch != NULL; fetch = fetch->next)
		if (takes_part(fetch, wanting) && !fetch->chosen)
			try_to_choose(fetch);
	for (ClariFetch *fetch = first; fetch != NULL; fetch = fetch->next)
		for (int i = 0; takes_part(fetch, wanting) && i < fetch->nitems; i++)
			if (!fetch->returned[i])
				poll_item(fetch, fetch->items[i]);
	for (ClariFetch *fetch = first; fetch != NULL; fetch = fetch->next)
		foreach (cell, fetch->likely)
			poll_item(fetch, lfirst(cell));
	drop_unlikely(wanting->statement);
}

/* ------- fetching ------- */

static void
check_truncated(const ClariFetch *fetch, FetchItem *item)
{
	const ClariRowsetMeta *meta = &item->export.version.meta;

	/* Of rowsets handed over, it was reported before; of others, report it once in a statement, not in each rescan. */
	if ((meta->flags & CLARI_ROWSET_TRUNCATED) && !fetch->handed && !item->warned)
		clari_export_report_truncated(meta, fetch->options->transport.allow_truncated);
	item->warned = true;
}

/* Warns of amounts that Clari does not export, once in a statement for each forecast. */
static void
warn_of_missing_types(ClariStatement *statement, const ClariRowsetMeta *meta)
{
	if (!(meta->flags & CLARI_ROWSET_WITHOUT_CRM))
		return;
	if (statement->warned_of_types != NULL && strcmp(statement->warned_of_types, meta->forecast) == 0)
		return;
	statement->warned_of_types = MemoryContextStrdup(statement->context, meta->forecast);
	clari_export_report_missing_types(meta);
}

static void
warn_of_wrong_period(const ClariRowsetMeta *meta)
{
	int level;

	if (!(meta->flags & CLARI_ROWSET_WRONG_PERIOD))
		return;
	level = clari_export_warning_level(meta, CLARI_REMARK_WRONG_PERIOD);
	ereport(level, (errcode(ERRCODE_NO_DATA),
					errmsg("Clari answered period %s with period %s: no rows", meta->requested, meta->answered),
					errdetail("Forecast \"%s\" has no data for period %s, or does not know it.",
							  clari_report_text(meta->forecast), meta->requested)));
}

/* Returns the reader of another item that has the rowset, as the current quarter can be wanted with and without its name. */
static ClariReader *
find_opened(const ClariStatement *statement, const ClariKey *rowset)
{
	for (const FetchItem *item = statement->items; item != NULL; item = item->next)
		if (item->reader != NULL && memcmp(&item->reader->version.meta.key, rowset, sizeof(*rowset)) == 0)
			return item->reader;
	return NULL;
}

/* Makes sure that the item, whose version could not be opened, is looked up again; raises the error if that is no use. */
static void
look_again(FetchItem *item, ClariError *error)
{
	if (!clari_export_look_again(&item->export, error))
		clari_error_report(ERROR, error);
	if (error->code != CLARI_ERROR_GONE)
	{
		clari_error_hint(error, "The file is removed, and the export is downloaded again.");
		clari_error_report(WARNING, error);
	}
}

static void
warn_once(ClariStatement *statement, const ClariExport *export)
{
	const char *message = export->error.message;

	if (export->error.code == CLARI_ERROR_NONE)
		return;
	if (!export->stale)
	{
		if (statement->warned != NULL && strcmp(statement->warned, message) == 0)
			return;
		statement->warned = MemoryContextStrdup(statement->context, message);
	}
	clari_export_warn(export);
}

/* Opens the item's version; false: it could not be opened, and the item must be looked up again. */
static bool
open_item(ClariFetch *fetch, FetchItem *item)
{
	ClariVersion *version = &item->export.version;
	ClariError error;

	if (item->reader != NULL)
		return true;
	item->reader = find_opened(fetch->statement, &version->meta.key);
	if (item->reader != NULL)
	{
		*version = item->reader->version;
		return true;
	}
	item->reader = clari_reader_open(version, fetch->statement->context, &error);
	if (item->reader == NULL)
	{
		look_again(item, &error);
		return false;
	}
	warn_once(fetch->statement, &item->export);
	warn_of_wrong_period(&version->meta);
	warn_of_missing_types(fetch->statement, &version->meta);
	return true;
}

static void
raise_failure(const FetchItem *item)
{
	if (item != NULL && item->export.state == CLARI_LOOKUP_FAILED)
		clari_error_report(ERROR, &item->export.error);
}

static void
note_read(ClariFetch *fetch, FetchItem *item)
{
	MemoryContext previous = MemoryContextSwitchTo(fetch->statement->context);

	fetch->read = list_append_unique_ptr(fetch->read, item);
	MemoryContextSwitchTo(previous);
}

/* Returns the first rowset that is ready and was not returned yet, and marks it as returned; NULL: there is none. */
static ClariReader *
take_ready(ClariFetch *fetch)
{
	for (int i = 0; i < fetch->nitems; i++)
	{
		FetchItem *item = fetch->items[i];

		if (fetch->returned[i] || item->export.state != CLARI_LOOKUP_READY || !open_item(fetch, item))
			continue;
		fetch->returned[i] = true;
		note_read(fetch, item);
		check_truncated(fetch, item);
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
advance_to_next(void *arg)
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
append_awaited(StringInfo list, const FetchItem *item)
{
	const char *period = item->export.request.period;

	if (item->export.state == CLARI_LOOKUP_READY)
		return;
	appendStringInfo(list, "%s%s", list->len > 0 ? ", " : "", period[0] != '\0' ? period : "the current quarter");
}

/* Notifies the user what the statement waits for, and when it first began to wait. */
static void
notice_waiting(ClariFetch *fetch)
{
	const ClariRequest *request = &fetch->options->request;
	const char *begun = timestamptz_to_str(fetch->statement->waiting_since);
	StringInfoData periods;

	initStringInfo(&periods);
	for (int i = 0; i < fetch->nitems; i++)
		append_awaited(&periods, fetch->items[i]);
	if (periods.len == 0 && fetch->current != NULL)
		append_awaited(&periods, fetch->current);
	fetch->statement->noticed = true;
	ereport(NOTICE, (clari_endpoint_is_of_account(request->endpoint)
						 ? errmsg("waiting for \"%s\"", request->forecast)
						 : errmsg("waiting for exports of \"%s\"", clari_report_text(request->forecast)),
					 clari_endpoint_is_of_account(request->endpoint)
						 ? errdetail("The query began to wait at %s.", begun)
						 : errdetail("The query began to wait at %s, and is now waiting for %s.", begun, periods.data),
					 errhint("Set clari_fdw.wait_notice_delay to -1 to turn this notice off.")));
	pfree(periods.data);
}

/* Waits for the next rowset.  The delay of the notice includes earlier waits, since each wait may be short. */
static void
wait_for_next(NextArguments *next)
{
	ClariStatement *statement = next->fetch->statement;
	ClariPatience patience = 0;

	if (statement->waiting_since == 0)
		statement->waiting_since = GetCurrentTimestamp();
	if (wait_notice_delay >= 0 && !statement->noticed)
	{
		long left = wait_notice_delay - (long) INSTR_TIME_GET_MILLISEC(statement->waited);

		if (clari_export_sleep(advance_to_next, next, Max(left, 0), &patience))
			return;
		notice_waiting(next->fetch);
	}
	(void) clari_export_sleep(advance_to_next, next, -1, &patience);
}

ClariReader *
clari_fetch_next(ClariFetch *fetch)
{
	NextArguments next = {fetch, NULL};
	instr_time begun;
	instr_time ended;

	if (advance_to_next(&next))
		return next.reader;
	INSTR_TIME_SET_CURRENT(begun);
	wait_for_next(&next);
	INSTR_TIME_SET_CURRENT(ended);
	INSTR_TIME_ACCUM_DIFF(fetch->waited, ended, begun);
	INSTR_TIME_ACCUM_DIFF(fetch->statement->waited, ended, begun);
	return next.reader;
}

void
clari_fetch_end(ClariFetch *fetch)
{
	for (ClariFetch **link = &fetch->statement->fetches; *link != NULL; link = &(*link)->next)
		if (*link == fetch)
		{
			*link = fetch->next;
			return;
		}
}

void
clari_fetch_rescan(ClariFetch *fetch, bool choose_again)
{
	if (choose_again && !fetch->handed)
		fetch->chosen = false;
	if (!fetch->chosen)
		fetch->nitems = 0;
	for (int i = 0; i < fetch->nitems; i++)
		fetch->returned[i] = false;
}

/* ------- for EXPLAIN ANALYZE ------- */

static const char *
source_of(const FetchItem *item)
{
	if (item->export.stale)
		return "stale";
	if (item->export.flew)
		return "export";
	return item->reader->attached ? "memory" : "disk";
}

static int
compare_sources(const void *a, const void *b)
{
	return strcmp(((const ClariSource *) a)->period, ((const ClariSource *) b)->period);
}

ClariSource *
clari_fetch_sources(const ClariFetch *fetch, int *count)
{
	ClariSource *sources = palloc0(sizeof(ClariSource) * Max(list_length(fetch->read), 1));
	ListCell *cell;

	*count = 0;
	foreach (cell, fetch->read)
	{
		const FetchItem *item = lfirst(cell);
		const ClariRequest *request = &item->export.request;
		ClariSource *source = &sources[(*count)++];

		strlcpy(source->period, request->period[0] != '\0' ? request->period : item->export.version.meta.answered,
				sizeof(source->period)); /* empty if the endpoint has no periods */
		source->from = source_of(item);
	}
	qsort(sources, *count, sizeof(ClariSource), compare_sources);
	return sources;
}

int
clari_fetch_jobs(const ClariFetch *fetch)
{
	int jobs = 0;

	for (const FetchItem *item = fetch->statement->items; item != NULL; item = item->next)
		/* If rows are ready that were POSTed before the export was queued, an older job was taken up. */
		if (item->first == fetch && item->export.request.endpoint == CLARI_ENDPOINT_EXPORT &&
			item->export.queued_at != 0 &&
			(item->export.state != CLARI_LOOKUP_READY || item->export.version.meta.posted_at >= item->export.queued_at))
			jobs++;
	return jobs;
}

double
clari_fetch_waited(const ClariFetch *fetch)
{
	return INSTR_TIME_GET_MILLISEC(fetch->waited);
}
