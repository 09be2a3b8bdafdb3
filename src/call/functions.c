/*
 * functions.c
 *		SQL-callable functions: prefetch, refresh, invalidate, cancel, and the rows
 *		of the views.
 *
 * Runs in sessions, with the caller's rights.  Nothing here deals with HTTP or
 * the bytes of a rowset.
 */
#include "postgres.h"

#include "call/internal.h"

#include "base/report.h"
#include "compat.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/tuplestore.h"

CLARI_FUNCTION(clari_prefetch);
CLARI_FUNCTION(clari_refresh);
CLARI_FUNCTION(clari_invalidate);
CLARI_FUNCTION(clari_cancel);
CLARI_FUNCTION(clari_cancel_export);
CLARI_FUNCTION(clari_stats_counters);
CLARI_FUNCTION(clari_stats_reset);
CLARI_FUNCTION(clari_cache_entries);
CLARI_FUNCTION(clari_export_flights);

/* ------- prefetch, refresh, invalidate ------- */

static Oid
relation_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"relation\" must not be null")));
	return PG_GETARG_OID(0);
}

static ArrayType *
periods_argument(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1);
}

/* Makes the selection from a function's parameters (relation regclass, periods text[]). */
static ClariSelection *
selection_of_arguments(FunctionCallInfo fcinfo)
{
	clari_version_check_call(fcinfo, 2);
	return clari_selection_make(relation_argument(fcinfo), periods_argument(fcinfo));
}

/* Raises the error of the first export that failed, if there is one. */
static void
raise_failure(const ClariSelection *selection)
{
	for (int i = 0; i < selection->count; i++)
		if (selection->exports[i].state == CLARI_LOOKUP_FAILED)
			clari_error_report(ERROR, &selection->exports[i].error);
}

/*
 * SQL clari_prefetch(relation, periods): queues the exports that are not fresh,
 * and returns how many are queued or under way.  If the selection depends on a
 * current quarter that is not known, queues only the current quarter's export.
 */
Datum
clari_prefetch(PG_FUNCTION_ARGS)
{
	ClariSelection *selection = selection_of_arguments(fcinfo);
	ClariFreshness freshness = clari_export_freshness(selection->options, GetCurrentTimestamp());
	ClariError error;
	int64 flying = 0;

	/* Exports that may turn out to be outside of the extent are not made. */
	if (selection->current == CLARI_PERIOD_NONE && clari_selection_needs_current(selection))
	{
		selection->exports[0] = selection->learning;
		selection->count = 1;
	}
	freshness.stale_while_revalidate = freshness.stale_if_error = 0; /* a prefetch is to renew stale rows */
	(void) clari_export_poll(selection->options, &freshness, selection->exports, selection->count);
	for (int i = 0; i < selection->count; i++)
		flying += selection->exports[i].state == CLARI_LOOKUP_FLYING;
	clari_interest_keep(selection->interest);
	if (flying > 0 && !clari_cache_start_workers(&error))
		clari_error_report(ERROR, &error);
	raise_failure(selection);
	PG_RETURN_INT64(flying);
}

/*
 * SQL clari_refresh(relation, periods): makes new exports, waits for them, and
 * raises the first error.  Returns how many there are.
 */
Datum
clari_refresh(PG_FUNCTION_ARGS)
{
	ClariSelection *selection = selection_of_arguments(fcinfo);
	ClariFreshness freshness = clari_export_freshness(selection->options, GetCurrentTimestamp());

	freshness.anew = selection->anew = true;
	(void) clari_selection_learn_current(selection, &freshness, -1, NULL);
	do
		(void) clari_export_wait(selection->options, &freshness, selection->exports, selection->count, -1, NULL);
	while (clari_selection_roll_over(selection));
	raise_failure(selection);
	for (int i = 0; i < selection->count; i++)
		clari_export_warn(&selection->exports[i]);
	PG_RETURN_INT64(selection->count);
}

static int64
invalidate_selection(const ClariSelection *selection)
{
	ClariPeriod current = clari_export_known_current(selection->options);
	ClariExport alias;
	int64 count = 0;

	for (int i = 0; i < selection->count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		count += clari_cache_invalidate(&selection->exports[i].key);
		/* The current quarter may be cached twice: exported with its name, and without. */
		if (selection->periods[i] != current || current == CLARI_PERIOD_NONE)
			continue;
		clari_period_format(current, text);
		clari_export_init(selection->options, selection->exports[i].request.period[0] != '\0' ? "" : text, NULL,
						  &alias);
		count += clari_cache_invalidate(&alias.key);
	}
	return count;
}

/*
 * SQL clari_invalidate(relation, periods): invalidates exports.  Returns how many
 * rowsets or remembered failures there were.
 */
Datum
clari_invalidate(PG_FUNCTION_ARGS)
{
	clari_version_check_call(fcinfo, 2);
	if (!PG_ARGISNULL(0))
		PG_RETURN_INT64(invalidate_selection(clari_selection_make(PG_GETARG_OID(0), periods_argument(fcinfo))));
	if (!PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"periods\" requires argument \"relation\"")));
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be superuser to invalidate the whole cache"),
				 errhint("Specify a foreign table.")));
	PG_RETURN_INT64(clari_cache_invalidate(NULL));
}

typedef struct Canceled
{
	int count;
	uint64 *flights; /* count flights that were canceled */
	ClariKey *keys;  /* keys of these flights */
} Canceled;

/* Warns the user who canceled of jobs that Clari did not cancel. */
static void
warn_of_uncanceled(const Canceled *canceled)
{
	for (int i = 0; i < canceled->count; i++)
	{
		ClariError error;

		if (clari_cache_failure(&canceled->keys[i], canceled->flights[i], &error) &&
			error.code == CLARI_ERROR_UNCANCELED)
		{
			clari_error_hint(&error, "The job is taken up by the next query for it.");
			clari_error_report(WARNING, &error);
		}
	}
}

static bool
have_canceled_ended(void *arg)
{
	const Canceled *canceled = arg;

	for (int i = 0; i < canceled->count; i++)
		if (clari_cache_is_flying(canceled->flights[i]))
			return false;
	return true;
}

/*
 * Has the flight been canceled under another name?  The current quarter has two
 * names, and learning may be a selected export.
 */
static bool
is_among(const Canceled *canceled, uint64 flight)
{
	for (int i = 0; i < canceled->count; i++)
		if (canceled->flights[i] == flight)
			return true;
	return false;
}

/* Waits until the canceled flights have ended; returns how many there are. */
static int64
await_canceled(Canceled *canceled)
{
	(void) clari_export_sleep(have_canceled_ended, canceled, -1, NULL);
	warn_of_uncanceled(canceled);
	return canceled->count;
}

/*
 * SQL clari_cancel(relation, periods): cancels the exports that are queued or
 * under way, also at Clari, and waits until they have ended.  Returns how many.
 * Sessions that wait for them get ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION, with
 * the caller's role in the message.
 */
Datum
clari_cancel(PG_FUNCTION_ARGS)
{
	ClariSelection *selection = selection_of_arguments(fcinfo);
	const char *role = GetUserNameFromId(GetUserId(), false);
	Canceled canceled = {0, palloc(sizeof(uint64) * (selection->count + 1)),
						 palloc(sizeof(ClariKey) * (selection->count + 1))};

	for (int i = 0; i <= selection->count; i++) /* the last element is learning */
	{
		uint64 flight = clari_cache_cancel(&selection->exports[i].key, role);

		if (flight == 0 || is_among(&canceled, flight))
			continue;
		canceled.keys[canceled.count] = selection->exports[i].key;
		canceled.flights[canceled.count++] = flight;
	}
	PG_RETURN_INT64(await_canceled(&canceled));
}

/* SQL clari_cancel_export(flight): cancels the flight with this number in clari_exports.  Only for superusers. */
Datum
clari_cancel_export(PG_FUNCTION_ARGS)
{
	uint64 flight = (uint64) PG_GETARG_INT64(0);
	ClariKey key;
	Canceled canceled = {0, &flight, &key};

	clari_version_check_call(fcinfo, 1);
	if (!superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("must be superuser to cancel an export by its number"),
				 errhint("Use clari_cancel() to cancel the exports of a foreign table.")));
	canceled.count = clari_cache_cancel_flight(flight, GetUserNameFromId(GetUserId(), false), &key);
	PG_RETURN_INT64(await_canceled(&canceled));
}

/* ------- views ------- */

/* A row under construction; values are added in the order of the columns. */
typedef struct Row
{
	Datum values[16];
	bool nulls[16];
	int count;
} Row;

static void
add_text(Row *row, const char *utf8)
{
	row->nulls[row->count] = utf8 == NULL || utf8[0] == '\0';
	if (!row->nulls[row->count])
		row->values[row->count] = CStringGetTextDatum(clari_report_text(utf8));
	row->count++;
}

static void
add_value(Row *row, Datum value, bool isnull)
{
	row->values[row->count] = value;
	row->nulls[row->count++] = isnull;
}

/* Adds the period; null for tables of the account, which have none. */
static void
add_period(Row *row, ClariEndpoint endpoint, const char *period)
{
	add_text(row, clari_endpoint_is_of_account(endpoint) ? NULL : clari_period_or_current(period));
}

static void
add_identity(Row *row, const ClariKey *key)
{
	char identity[CLARI_IDENTITY_SIZE];

	clari_key_identity(key, identity);
	add_text(row, identity);
}

static void
put_row(FunctionCallInfo fcinfo, Row *row)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	tuplestore_putvalues(result->setResult, result->setDesc, row->values, row->nulls);
}

static void
check_row(FunctionCallInfo fcinfo, const char *types)
{
	clari_version_check_row(fcinfo, ((ReturnSetInfo *) fcinfo->resultinfo)->setDesc, types);
}

static const char *
tier_name(const ClariEntryInfo *entry)
{
	if (!entry->has_rowset)
		return NULL;
	return entry->version.segment != DSM_HANDLE_INVALID ? "memory" : "disk";
}

/* SQL clari_cache_entries(): a row per entry.  No API key is shown. */
Datum
clari_cache_entries(PG_FUNCTION_ARGS)
{
	ClariEntryInfo *entries;
	int count;

	InitMaterializedSRF(fcinfo, 0);
	check_row(fcinfo, "ttttttbbzzbtt");
	entries = clari_cache_entries_copy(&count);
	for (int i = 0; i < count; i++)
	{
		const ClariEntryInfo *entry = &entries[i];
		const ClariRowsetMeta *meta = &entry->version.meta;
		Row row = {.count = 0};

		add_identity(&row, &entry->key);
		add_text(&row, meta->base_url);
		add_text(&row, meta->forecast);
		add_period(&row, meta->endpoint, meta->requested);
		add_text(&row, entry->state);
		add_text(&row, tier_name(entry));
		add_value(&row, Int64GetDatum(clari_rowset_entries(meta)), !entry->has_rowset);
		add_value(&row, Int64GetDatum(entry->version.bytes), !entry->has_rowset);
		add_value(&row, TimestampTzGetDatum(meta->exported_at), !entry->has_rowset);
		add_value(&row, TimestampTzGetDatum(entry->expires_at), !entry->has_rowset);
		add_value(&row, Int64GetDatum(entry->hits), false);
		add_text(&row, entry->has_rowset ? meta->job_id : NULL);
		add_text(&row, entry->error.code != CLARI_ERROR_NONE ? entry->error.message : NULL);
		put_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* SQL clari_export_flights(): a row per export that is queued or under way. */
Datum
clari_export_flights(PG_FUNCTION_ARGS)
{
	ClariFlightInfo *flights;
	int count;

	InitMaterializedSRF(fcinfo, 0);
	check_row(fcinfo, "bttttttzbbiiiz");
	flights = clari_cache_flights(&count);
	for (int i = 0; i < count; i++)
	{
		const ClariFlightInfo *flight = &flights[i];
		Row row = {.count = 0};

		add_value(&row, Int64GetDatum((int64) flight->flight), false);
		add_identity(&row, &flight->key);
		add_text(&row, flight->base_url);
		add_text(&row, flight->forecast);
		add_period(&row, flight->endpoint, flight->period);
		add_text(&row, flight->phase);
		add_text(&row, flight->job_id);
		add_value(&row, TimestampTzGetDatum(flight->started_at), false);
		add_value(&row, Int64GetDatum(flight->bytes), false);
		add_value(&row, Int64GetDatum(flight->entries), false);
		add_value(&row, Int32GetDatum(flight->polls), false);
		add_value(&row, Int32GetDatum(flight->retries), false);
		add_value(&row, Int32GetDatum(flight->waiters), false);
		add_value(&row, TimestampTzGetDatum(flight->next_try_at), flight->next_try_at == 0);
		put_row(fcinfo, &row);
	}
	return (Datum) 0;
}

/* SQL clari_stats_counters(): one row, with a column per ClariCounter and the time when counting began. */
Datum
clari_stats_counters(PG_FUNCTION_ARGS)
{
	static const char types[] = "bbbbbbbbbbbbbbz";
	Datum values[CLARI_COUNTERS + 1];
	bool nulls[CLARI_COUNTERS + 1] = {false};
	TupleDesc description;
	ClariStats stats;

	StaticAssertStmt(sizeof(types) == CLARI_COUNTERS + 2, "a bigint for each counter, and since when");
	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "clari_stats_counters() does not return a row");
	clari_version_check_row(fcinfo, description, types);
	clari_cache_stats(&stats);
	for (int i = 0; i < CLARI_COUNTERS; i++)
		values[i] = Int64GetDatum(stats.counts[i]);
	values[CLARI_COUNTERS] = TimestampTzGetDatum(stats.since);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls)));
}

/* SQL clari_stats_reset(): sets the counters to zero. */
Datum
clari_stats_reset(PG_FUNCTION_ARGS)
{
	clari_cache_stats_reset();
	PG_RETURN_VOID();
}
