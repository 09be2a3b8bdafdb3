/*
 * sync.c
 *		CALL clari_sync(…): refresh, wait, merge.
 *
 * Runs in a session, with the caller's rights.  Outside of a transaction block it
 * commits before it waits, so that it holds no snapshot and no transaction ID
 * during a slow export, and commits again after the good quarters are merged.  In
 * a transaction block it merges all quarters or none.
 */
#include "postgres.h"

#include "call/internal.h"

#include "base/report.h"
#include "compat.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

CLARI_FUNCTION(clari_sync);

/* How often a notice tells which exports are not finished. */
#define PROGRESS_INTERVAL 5000 /* ms */

/* Argument "max_deleted" applies to parts with at least this many rows; of smaller ones all rows may be deleted. */
#define MAX_DELETED_FROM 10

/* The export of a selected quarter, and what becomes of it. */
typedef struct Quarter
{
	ClariReader *reader; /* NULL: it is not merged */
	const char *period;  /* its name in messages */
	int nparts;
	ClariPart *parts;  /* its parts: the quarter, or its months or year */
	bool truncated;    /* Clari has truncated the export, so that a missing row is no reason to delete one */
	bool merged;       /* its rows are in the target, and stay there if the commit succeeds */
	bool others;       /* rows of it come from another source, whose record in clari_syncs is left alone */
	const char *error; /* why it could not be synced, or NULL */
} Quarter;

typedef struct Sync
{
	MemoryContext context; /* survives the commits; deleted at the end of the call, or with its portal */
	bool atomic;           /* it is called in a transaction block, and cannot commit */
	Oid relation;
	Oid target;
	const char *target_name; /* name at the beginning */
	Oid syncs;
	const char *source;
	bool delete_missing;
	double max_deleted;
	ClariPatience patience;
	ClariQuota quota;
	ClariSelection *selection;
	ClariMerge *foreign; /* the merge from the foreign table, which also counts its rows */
	ClariMerge *merge;   /* the same; or the merge from the staging table, if Citus distributes the target */
	int count;
	Quarter *quarters; /* count of them, in the order of the selection */
} Sync;

/* ------- before anything is exported ------- */

static int64
interval_microseconds(const Interval *interval)
{
	/* An interval longer than the range of timestamps has no more effect than that range. */
	double days = Min((double) interval->month * DAYS_PER_MONTH + interval->day, 100000.0 * DAYS_PER_YEAR);
	double result =
		Min(days * (double) USECS_PER_DAY + (double) interval->time, 100000.0 * DAYS_PER_YEAR * USECS_PER_DAY);

	if (interval->month < 0 || result < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"max_age\" must not be negative")));
	return (int64) result;
}

static void
refuse_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be null", name)));
}

/* Checks that the relation shows forecasts, and has the columns of the week if it has a row per week. */
static void
check_relation(Oid relation, const ClariOptions *options)
{
	char *name = clari_table_name(relation);

	if (options->object != CLARI_OBJECT_FORECASTS)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("foreign table %s does not show forecasts", name),
						errhint("clari_sync takes a foreign table with object 'forecasts'.")));
	if (options->request.include_historical && (get_attnum(relation, "week_start") == InvalidAttrNumber ||
												get_attnum(relation, "week_end") == InvalidAttrNumber))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("foreign table %s lacks the columns \"week_start\" and \"week_end\"", name),
				 errdetail("With option \"include_historical\" it has a row per week, of which the latest is merged."),
				 errhint("ALTER FOREIGN TABLE %s ADD COLUMN week_start date, ADD COLUMN week_end date;", name)));
}

/* Reads and checks the arguments.  The result is palloc'd in the current context. */
static Sync *
begin_sync(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"relation", NULL, NULL, "delete_missing", "max_age", "max_deleted"};
	Sync *sync = palloc0(sizeof(Sync));

	for (int i = 0; i < (int) lengthof(names); i++)
		if (names[i] != NULL)
			refuse_null(fcinfo, i, names[i]);
	sync->context = CurrentMemoryContext;
	sync->relation = PG_GETARG_OID(0);
	sync->atomic = !(fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
					 !castNode(CallContext, fcinfo->context)->atomic);
	sync->delete_missing = PG_GETARG_BOOL(3);
	sync->max_deleted = PG_GETARG_FLOAT8(5);
	if (!(sync->max_deleted >= 0 && sync->max_deleted <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"max_deleted\" must be between 0 and 1")));
	sync->selection = clari_selection_make(sync->relation, PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1));
	check_relation(sync->relation, sync->selection->options);
	sync->target = clari_table_argument(fcinfo, 2, "clari_forecasts");
	sync->target_name = clari_table_name(sync->target);
	return sync;
}

static const char *
forecast_name(const Sync *sync)
{
	const char *name = sync->selection->options->forecast_name;

	return pg_any_to_server(name, (int) strlen(name), PG_UTF8);
}

/* The period of the i-th selected quarter, palloc'd; empty for the current quarter while it is not known. */
static char *
period_text(const Sync *sync, int i)
{
	char *text = palloc0(CLARI_PERIOD_TEXT_SIZE);

	if (sync->selection->periods[i] != CLARI_PERIOD_NONE)
		clari_period_format(sync->selection->periods[i], text);
	return text;
}

static bool
is_same_text(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/*
 * Raises an error if the options have changed since the beginning, because
 * exports and checks were made by the old ones.
 */
static void
check_options(const Sync *sync)
{
	const ClariOptions *then = sync->selection->options;
	const ClariOptions *now = clari_options_get(sync->relation);
	const ClariRequest *a = &then->request;
	const ClariRequest *b = &now->request;

	if (then->serverid != now->serverid || then->object != now->object ||
		!is_same_text(then->forecast_name, now->forecast_name) ||
		!is_same_text(then->forecast_field, now->forecast_field) ||
		!is_same_text(then->quota_field, now->quota_field) || then->period_type != now->period_type ||
		strcmp(a->base_url, b->base_url) != 0 || strcmp(a->forecast, b->forecast) != 0 ||
		strcmp(a->currency, b->currency) != 0 || strcmp(a->scope_id, b->scope_id) != 0 || a->types != b->types ||
		a->include_historical != b->include_historical || a->format != b->format || a->endpoint != b->endpoint)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("options of foreign table %s were changed during the call", clari_table_name(sync->relation)),
				 errhint("Call clari_sync again.")));
}

/* Locks the tables and prepares the merge.  The target is locked first, so that concurrent calls follow one another. */
static void
open_merge(Sync *sync)
{
	const ClariOptions *options = sync->selection->options;

	clari_merge_lock(sync->target, sync->target_name, sync->delete_missing);
	LockRelationOid(sync->relation, AccessShareLock);
	if (get_rel_relkind(sync->relation) != RELKIND_FOREIGN_TABLE)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("the foreign table was replaced during the call")));
	check_options(sync);
	sync->foreign = sync->merge = clari_merge_open(sync->target, sync->relation, options, sync->delete_missing);
	sync->syncs = clari_syncs_open(sync->target);
	if (!sync->merge->distributed)
		return;
	/* Citus merges only from a table that is colocated with the target, and not from a foreign table. */
	sync->merge = clari_merge_open_staged(sync->foreign, options, sync->delete_missing);
}

static void
check_source(Sync *sync, const char *period, const char *source)
{
	ClariPart part = {.time_period = period, .forecast_name = forecast_name(sync)};
	bool newer;
	const char *why = clari_syncs_check(sync->syncs, sync->target, &part, source, 0, &newer);

	if (why == NULL)
		return;
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("cannot sync %s into %s", sync->foreign->source_name, sync->foreign->target_name),
					errdetail("In period %s, %s.", period, why),
					errhint("Set option \"forecast_name\" of the foreign table to a name of its own. If it is the "
							"same source under another name, update column \"source\" of %s; if its rows are to "
							"replace the others, delete the others and their row of that table.",
							clari_table_name(sync->syncs))));
}

/* Raises an error if the target has rows of another source in one of the periods, as far as they are known. */
static void
check_sources(Sync *sync)
{
	const char *source = clari_syncs_source(sync->selection->options);

	for (int i = 0; i < sync->selection->count; i++)
	{
		char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE];
		int count = clari_parts_expected(sync->selection->options, sync->selection->periods[i], ids);

		for (int k = 0; k < count; k++)
			check_source(sync, ids[k], source);
	}
}

/* Raises an error if the exports could not be merged, before they use quota. */
static void
check_beforehand(Sync *sync)
{
	ClariPart nothing = {.forecast_name = ""};
	ClariSyncsRow row = {.part = &nothing};

	open_merge(sync);
	clari_merge_check(sync->merge, sync->delete_missing);
	clari_syncs_note(sync->syncs, sync->target, "", &row); /* without a period, this is only a check */
	check_sources(sync);
}

/* ------- waiting ------- */

/* Tells in one line which exports are not finished. */
static void
notice_progress(const ClariExport *exports, int count, TimestampTz since)
{
	int nflights;
	ClariFlightInfo *flights = clari_cache_flights(&nflights);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < count; i++)
		for (int j = 0; j < nflights; j++)
			if (exports[i].state == CLARI_LOOKUP_FLYING && exports[i].flight == flights[j].flight)
				appendStringInfo(&list, "%s%s %s (" INT64_FORMAT " %s)", list.len > 0 ? ", " : "",
								 clari_period_or_current(flights[j].period), flights[j].phase, flights[j].entries,
								 flights[j].entries == 1 ? "entry" : "entries");
	if (list.len > 0)
		ereport(NOTICE, (errmsg("waiting for exports after " INT64_FORMAT " s: %s",
								(GetCurrentTimestamp() - since) / USECS_PER_SEC, list.data)));
	pfree(flights);
}

/* Waits for all exports.  Outside of a transaction block, no snapshot and no transaction ID is held. */
static void
wait_for_exports(Sync *sync, const ClariFreshness *freshness)
{
	ClariSelection *selection = sync->selection;

	/* If the quota is short, exports that are only probably selected are not made. */
	while (!clari_selection_learn_current(selection, sync->quota.is_short ? NULL : freshness, PROGRESS_INTERVAL,
										  &sync->patience))
		notice_progress(&selection->learning, 1, freshness->since);
	do
	{
		clari_quota_ration(selection, freshness, &sync->quota);
		while (!clari_export_wait(selection->options, freshness, selection->exports, selection->count,
								  PROGRESS_INTERVAL, &sync->patience))
			notice_progress(selection->exports, selection->count, freshness->since);
	} while (clari_selection_roll_over(selection));
}

/* ------- checking the exports ------- */

/* Does the error concern the whole call, and not only a quarter? */
static bool
ends_the_call(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED || error->sqlerrcode == ERRCODE_ADMIN_SHUTDOWN ||
		   error->sqlerrcode == ERRCODE_CRASH_SHUTDOWN || error->sqlerrcode == ERRCODE_OUT_OF_MEMORY;
}

/* Copies the current error into the sync's context, which survives the rollback, and clears the error state. */
static ErrorData *
take_error(const Sync *sync)
{
	ErrorData *error;

	MemoryContextSwitchTo(sync->context);
	error = CopyErrorData();
	FlushErrorState();
	return error;
}

static const char *
failure_text(const ErrorData *error)
{
	return psprintf("%s.%s%s", error->message, error->detail != NULL ? " " : "",
					error->detail != NULL ? error->detail : "");
}

static const char *
error_text(const ClariError *error)
{
	return psprintf("%s. %s", clari_report_text(error->message), clari_report_text(error->detail));
}

/* Sets quarter->error if the export cannot be merged.  The texts live as long as the sync. */
static void
judge(const Sync *sync, const ClariExport *export, Quarter *quarter)
{
	const ClariRowsetMeta *meta = &export->version.meta;
	ClariPeriodType type = sync->selection->options->period_type;

	quarter->truncated = (meta->flags & CLARI_ROWSET_TRUNCATED) != 0;
	quarter->period = pstrdup(meta->answered);
	if (export->state != CLARI_LOOKUP_READY)
		quarter->error = error_text(&export->error);
	else if (meta->flags & CLARI_ROWSET_WRONG_PERIOD)
		quarter->error = psprintf("Clari answered with period %s.", meta->answered);
	else if (quarter->truncated && !sync->selection->options->transport.allow_truncated)
		quarter->error = "Clari truncated the export.";
	else if (meta->owners[type] == 0 && clari_rowset_owners(meta) > 0)
		quarter->error = psprintf("The export has no entries of type %s.", clari_period_type_names[type]);
}

/* Finds the export's parts.  If the file is damaged, sets quarter->error. */
static void
find_parts(const Sync *sync, Quarter *quarter)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		quarter->parts =
			clari_parts_find(quarter->reader, sync->selection->options, forecast_name(sync), &quarter->nparts);
	}
	PG_CATCH();
	{
		error = take_error(sync);
	}
	PG_END_TRY();
	if (error == NULL)
		return;
	if (ends_the_call(error))
		ReThrowError(error);
	quarter->reader = NULL;
	quarter->error = failure_text(error);
}

/*
 * Checks the exports, and opens those that can be merged, which keeps them
 * available.  Returns false if one was replaced or evicted meanwhile; the caller
 * then waits again.
 */
static bool
open_exports(Sync *sync)
{
	const ClariSelection *selection = sync->selection;
	bool complete = true;

	sync->count = selection->count;
	sync->quarters = palloc0(sizeof(Quarter) * Max(sync->count, 1));
	for (int i = 0; i < sync->count; i++)
	{
		ClariExport *export = &selection->exports[i];
		Quarter *quarter = &sync->quarters[i];
		ClariError error;

		judge(sync, export, quarter);
		if (quarter->error == NULL)
			quarter->reader = clari_reader_open(&export->version, sync->context, &error);
		if (quarter->reader != NULL)
			find_parts(sync, quarter);
		if (quarter->error != NULL || quarter->reader != NULL)
			continue;
		quarter->error = error_text(&error);
		complete = !clari_export_look_again(export, &error) && complete;
	}
	return complete;
}

/* Issues the warnings of the exports that will be merged, and sets the names of the others for messages. */
static void
report_exports(Sync *sync)
{
	bool told = false;

	for (int i = 0; i < sync->count; i++)
	{
		const ClariExport *export = &sync->selection->exports[i];
		Quarter *quarter = &sync->quarters[i];

		if (quarter->error == NULL)
			clari_export_warn(export);
		if (quarter->error == NULL && quarter->truncated)
			clari_export_report_truncated(&export->version.meta, true);
		if (quarter->error == NULL && export->version.meta.flags & CLARI_ROWSET_WITHOUT_CRM && !told)
		{
			clari_export_report_missing_types(&export->version.meta);
			told = true;
		}
		if (quarter->error != NULL)
			quarter->period = clari_period_or_current(period_text(sync, i));
	}
}

/* Raises an error that lists the quarters that could not be synced, if there are any. */
static void
raise_failures(const Sync *sync)
{
	StringInfoData list;
	int bad = 0;

	initStringInfo(&list);
	for (int i = 0; i < sync->count; i++)
		if (sync->quarters[i].error != NULL)
			appendStringInfo(&list, "%sPeriod %s: %s", bad++ > 0 ? "\n" : "", sync->quarters[i].period,
							 sync->quarters[i].error);
	if (bad > 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg_plural("could not sync %d of %d period of forecast \"%s\"",
									  "could not sync %d of %d periods of forecast \"%s\"", sync->count, bad,
									  sync->count, clari_report_text(sync->selection->options->request.forecast)),
						errdetail("%s", list.data)));
}

/* ------- merging ------- */

/* Leaves the quarter out if one of its parts has rows of another source, or of a newer export. */
static void
check_quarter(Sync *sync, Quarter *quarter)
{
	TimestampTz exported_at = quarter->reader->version.meta.exported_at;

	for (int i = 0; i < quarter->nparts && quarter->reader != NULL; i++)
	{
		bool newer;
		const char *why =
			clari_syncs_check(sync->syncs, sync->target, &quarter->parts[i], sync->source, exported_at, &newer);

		if (why == NULL && !newer)
			continue;
		quarter->reader = NULL;
		quarter->error = why;
		quarter->others = why != NULL;
		if (why == NULL)
			ereport(NOTICE, (errmsg("period %s: a newer export has already been merged", quarter->period)));
	}
}

/*
 * Finds another quarter whose export also has the part, and is newer (or has the
 * same time and is later in the list); NULL: none.
 */
static const Quarter *
find_newer(const Sync *sync, const Quarter *quarter, const ClariPart *part)
{
	for (int i = 0; i < sync->count; i++)
	{
		const Quarter *other = &sync->quarters[i];
		TimestampTz at = quarter->reader->version.meta.exported_at;

		if (other == quarter || other->reader == NULL || other->reader->version.meta.exported_at < at ||
			(other->reader->version.meta.exported_at == at && other < quarter))
			continue;
		for (int k = 0; k < other->nparts; k++)
			if (strcmp(other->parts[k].time_period, part->time_period) == 0)
				return other;
	}
	return NULL;
}

/*
 * Leaves out exports whose parts are also in a newer one.  A year, for example,
 * is in the exports of all of its quarters.
 */
static void
leave_out_repeated(Sync *sync)
{
	bool *leave = palloc0(sizeof(bool) * Max(sync->count, 1));

	for (int i = 0; i < sync->count; i++)
	{
		Quarter *quarter = &sync->quarters[i];
		const Quarter *newer = NULL;
		int repeated = 0;

		for (int k = 0; k < quarter->nparts && quarter->reader != NULL; k++)
		{
			const Quarter *found = find_newer(sync, quarter, &quarter->parts[k]);

			newer = found != NULL ? found : newer;
			repeated += found != NULL;
		}
		if (repeated == 0)
			continue;
		leave[i] = true;
		if (repeated == quarter->nparts)
			ereport(NOTICE, (errmsg("period %s: the export of %s has the same periods, and is merged instead",
									quarter->period, newer->period)));
		else
			quarter->error = psprintf("It shares some of its periods with the export of %s.", newer->period);
	}
	for (int i = 0; i < sync->count; i++)
		if (leave[i])
			sync->quarters[i].reader = NULL;
}

/* Leaves out what must not be merged.  The lock on the target must be held. */
static void
check_quarters(Sync *sync)
{
	sync->source = clari_syncs_source(sync->selection->options);
	for (int i = 0; i < sync->count; i++)
		if (sync->quarters[i].reader != NULL)
			check_quarter(sync, &sync->quarters[i]);
	leave_out_repeated(sync);
}

static void
hand_over(ClariMerge *merge, Quarter **quarters, int count)
{
	ClariReader **readers = palloc(sizeof(ClariReader *) * Max(count, 1));

	for (int i = 0; i < count; i++)
		readers[i] = quarters[i]->reader;
	merge->handed.readers = readers;
	merge->handed.count = count;
}

/* Counts the quarter's rows, and warns once of those that are left out because they share a key. */
static void
count_rows(Sync *sync, Quarter *quarter)
{
	bool told = false;
	int64 left_out = 0;

	for (int i = 0; i < quarter->nparts; i++)
		told = told || quarter->parts[i].usable > 0;
	hand_over(sync->foreign, &quarter, 1);
	clari_merge_count_source(sync->foreign, quarter->parts, quarter->nparts);
	for (int i = 0; i < quarter->nparts; i++)
		left_out += quarter->parts[i].usable - quarter->parts[i].keys;
	if (left_out == 0 || told)
		return;
	ereport(WARNING, (errcode(ERRCODE_WARNING),
					  errmsg_plural("period %s: owners share e-mails, and " INT64_FORMAT " row is left out",
									"period %s: owners share e-mails, and " INT64_FORMAT " rows are left out", left_out,
									quarter->period, left_out),
					  errdetail("Shared e-mails, with the number of their owners: %s.",
								clari_merge_shared_emails(sync->foreign)),
					  errhint("Tables created by clari_create_tables(key => 'user_id') can hold all of them.")));
}

/* Deletes the rows of the part that Clari no longer has, unless their share exceeds max_deleted. */
static void
delete_missing_of_part(Sync *sync, ClariPart *part)
{
	int64 missing;
	int64 before;

	if (part->keys == 0)
		return;
	missing = clari_merge_count_missing(sync->merge, part);
	before = part->present - part->counts.inserted;
	if (missing == 0)
		return;
	if (before >= MAX_DELETED_FROM && (double) missing > sync->max_deleted * (double) before)
		part->error =
			psprintf(INT64_FORMAT " of its " INT64_FORMAT " rows %s no longer at Clari, which is a larger share than "
								  "argument \"max_deleted\" allows (%g); nothing is deleted.",
					 missing, before, missing == 1 ? "is" : "are", sync->max_deleted);
	else
		part->counts.deleted = clari_merge_delete(sync->merge, part, 1);
}

static void
delete_missing(Sync *sync, Quarter *quarter)
{
	if (!sync->delete_missing || quarter->truncated)
		return;
	if (clari_rowset_owners(&quarter->reader->version.meta) == 0)
		ereport(NOTICE, (errmsg("period %s: the export is empty; nothing is deleted for it", quarter->period)));
	for (int i = 0; i < quarter->nparts; i++)
	{
		ClariPart *part = &quarter->parts[i];

		delete_missing_of_part(sync, part);
		if (part->error != NULL)
			quarter->error = strcmp(part->time_period, quarter->period) == 0
								 ? part->error
								 : psprintf("In %s: %s", part->time_period, part->error);
	}
}

/* Records what became of the quarter's parts; or of the quarter itself, if its months (or year) are not known. */
static void
note_quarter(Sync *sync, const Quarter *quarter)
{
	ClariPart stand_in = {.time_period = quarter->period, .forecast_name = forecast_name(sync)};
	bool by_quarter = sync->selection->options->period_type == CLARI_QUARTERS;
	ClariSyncsRow row = {.part = &stand_in, .error = quarter->error, .stands_in = !by_quarter};

	for (int i = 0; i < quarter->nparts; i++)
	{
		ClariPart *part = &quarter->parts[i];
		ClariSyncsRow of_part = {.part = part, .error = quarter->merged ? part->error : quarter->error};

		if (quarter->merged)
		{
			of_part.job_id = quarter->reader->version.meta.job_id;
			of_part.exported_at = quarter->reader->version.meta.exported_at;
		}
		clari_syncs_note(sync->syncs, sync->target, sync->source, &of_part);
	}
	if (quarter->nparts == 0 && quarter->error != NULL)
		clari_syncs_note(sync->syncs, sync->target, sync->source, &row);
	if (!by_quarter && quarter->merged)
		clari_syncs_clear(sync->syncs, sync->target, &stand_in);
}

/* Merges quarters with the same exported types, in one MERGE. */
static void
merge_alike(Sync *sync, Quarter **quarters, int count)
{
	ConstraintsSetStmt immediate = {.type = T_ConstraintsSetStmt, .deferred = false};
	ClariPart *parts;
	int nparts = 0;

	for (int i = 0; i < count; i++)
		nparts += quarters[i]->nparts;
	parts = palloc(sizeof(ClariPart) * Max(nparts, 1));
	clari_merge_begin(sync->foreign);
	sync->merge->snapshot = sync->foreign->snapshot;
	nparts = 0;
	for (int i = 0; i < count; i++)
	{
		count_rows(sync, quarters[i]);
		for (int k = 0; k < quarters[i]->nparts; k++)
			parts[nparts++] = quarters[i]->parts[k];
	}
	hand_over(sync->foreign, quarters, count);
	if (sync->merge != sync->foreign)
		clari_merge_stage(sync->foreign, sync->merge);
	if (nparts > 0)
		clari_merge_run(sync->merge, parts, nparts);
	nparts = 0;
	for (int i = 0; i < count; i++)
	{
		for (int k = 0; k < quarters[i]->nparts; k++)
			quarters[i]->parts[k] = parts[nparts++];
		hand_over(sync->foreign, &quarters[i], 1);
		delete_missing(sync, quarters[i]);
		quarters[i]->merged = true;
		note_quarter(sync, quarters[i]);
	}
	if (sync->merge != sync->foreign)
		clari_merge_unstage(sync->merge);
	clari_merge_end(sync->foreign);
	/* Deferred constraints are checked here, while it is known which quarter violates them. */
	if (!sync->atomic)
		AfterTriggerSetState(&immediate);
}

/*
 * Merges the quarters; if this raises an error, the caller rolls all of them
 * back.  For some quarters Clari may not have exported crm_total and crm_closed;
 * these columns then stay as they are.
 */
static void
merge_quarters(Sync *sync, Quarter **quarters, int count)
{
	uint32 types = sync->selection->options->request.types;

	for (uint32 missing = 0; missing <= CLARI_ROWSET_WITHOUT_CRM; missing += CLARI_ROWSET_WITHOUT_CRM)
	{
		Quarter **alike = palloc(sizeof(Quarter *) * count);
		int n = 0;

		for (int i = 0; i < count; i++)
			if ((quarters[i]->reader->version.meta.flags & CLARI_ROWSET_WITHOUT_CRM) == missing)
				alike[n++] = quarters[i];
		clari_merge_set_types(sync->merge, missing != 0 ? types & ~(uint32) CLARI_TYPES_CRM : types);
		if (sync->merge != sync->foreign)
			clari_merge_set_types(sync->foreign, missing != 0 ? types & ~(uint32) CLARI_TYPES_CRM : types);
		if (n > 0)
			merge_alike(sync, alike, n);
	}
}

/* A function to be run in a subtransaction, with these quarters, or with all of the sync's. */
typedef void Trial(Sync *sync, Quarter **quarters, int count);

/*
 * Calls trial in a subtransaction.  Returns the error that it raised, or NULL.
 * Any error between the begin and the end of the subtransaction is caught;
 * otherwise later work of the session would be rolled back with it.
 */
static ErrorData *
try_in_subtransaction(Sync *sync, Trial *trial, Quarter **quarters, int count)
{
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		MemoryContextSwitchTo(sync->context);
		trial(sync, quarters, count);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		error = take_error(sync);
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(sync->context);
	CurrentResourceOwner = owner;
	return error;
}

/* Tries to merge the quarters.  Returns the reason if that failed, or NULL. */
static const char *
try_to_merge(Sync *sync, Quarter **quarters, int count)
{
	ErrorData *error = try_in_subtransaction(sync, merge_quarters, quarters, count);

	if (error == NULL)
		return NULL;
	for (int i = 0; i < count; i++)
	{
		quarters[i]->merged = false;
		quarters[i]->error = NULL;
		for (int k = 0; k < quarters[i]->nparts; k++)
			quarters[i]->parts[k].error = NULL;
	}
	if (ends_the_call(error))
		ReThrowError(error);
	return failure_text(error);
}

/* Merges all quarters at once.  If that fails, merges them one by one, so that only the bad ones are left out. */
static void
merge_all(Sync *sync)
{
	Quarter **quarters = palloc(sizeof(Quarter *) * Max(sync->count, 1));
	int count = 0;
	const char *failure;

	open_merge(sync);
	check_quarters(sync);
	for (int i = 0; i < sync->count; i++)
		if (sync->quarters[i].reader != NULL)
			quarters[count++] = &sync->quarters[i];
	if (count == 0)
		return;
	if (sync->atomic)
	{
		raise_failures(sync);
		merge_quarters(sync, quarters, count);
		return;
	}
	failure = try_to_merge(sync, quarters, count);
	if (failure == NULL)
		return;
	for (int i = 0; i < count; i++)
	{
		if (count > 1)
			failure = try_to_merge(sync, &quarters[i], 1);
		if (failure != NULL)
			quarters[i]->error = failure;
	}
}

/* Commits what was merged.  If that fails, its quarters get the error. */
static void
commit_merged(Sync *sync)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		SPI_commit();
	}
	PG_CATCH();
	{
		error = take_error(sync);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(sync->context);
	if (error != NULL && ends_the_call(error))
		ReThrowError(error);
	for (int i = 0; i < sync->count && error != NULL; i++)
		if (sync->quarters[i].merged)
		{
			sync->quarters[i].merged = false;
			sync->quarters[i].error = failure_text(error);
		}
}

static void
notice_counts(const Sync *sync)
{
	ClariCounts sum = {0};
	int merged = 0;
	bool any_bad = false;

	for (int i = 0; i < sync->count; i++)
	{
		const Quarter *quarter = &sync->quarters[i];

		any_bad = any_bad || quarter->error != NULL;
		merged += quarter->merged ? quarter->nparts : 0;
		for (int k = 0; k < quarter->nparts && quarter->merged; k++)
		{
			const ClariCounts *counts = &quarter->parts[k].counts;

			sum.inserted += counts->inserted;
			sum.updated += counts->updated;
			sum.unchanged += counts->unchanged;
			sum.deleted += counts->deleted;
			sum.skipped += counts->skipped;
		}
	}
	if (merged == 0 && any_bad)
		return;
	ereport(NOTICE, (errmsg("%d %s synced: " INT64_FORMAT " inserted, " INT64_FORMAT " updated, " INT64_FORMAT
							" unchanged, " INT64_FORMAT " deleted, " INT64_FORMAT " skipped",
							merged, merged == 1 ? "period" : "periods", sum.inserted, sum.updated, sum.unchanged,
							sum.deleted, sum.skipped)));
}

/* Trial: records in clari_syncs which quarters could not be synced, and why. */
static void
write_failures(Sync *sync, Quarter **quarters pg_attribute_unused(), int count pg_attribute_unused())
{
	for (int i = 0; i < sync->count; i++)
	{
		const Quarter *quarter = &sync->quarters[i];

		if (quarter->error == NULL || quarter->merged || quarter->others ||
			sync->selection->periods[i] == CLARI_PERIOD_NONE)
			continue;
		if (sync->source == NULL)
			sync->source = clari_syncs_source(sync->selection->options);
		note_quarter(sync, quarter);
	}
}

/*
 * Records the failures in a transaction of its own.  An error of this is only a
 * warning, so that it does not hide the failures.
 */
static void
note_failures(Sync *sync)
{
	ErrorData *error = try_in_subtransaction(sync, write_failures, NULL, 0);

	if (error != NULL && ends_the_call(error))
		ReThrowError(error);
	if (error != NULL)
		ereport(WARNING, (errcode(error->sqlerrcode), errmsg("could not record the failures in clari_syncs"),
						  errdetail("%s", failure_text(error))));
	SPI_commit();
	MemoryContextSwitchTo(sync->context);
}

/* ------- the procedure ------- */

/* Runs the call in its memory context. */
static void
run_sync(FunctionCallInfo fcinfo, MemoryContext context)
{
	Sync *sync = begin_sync(fcinfo);
	ClariFreshness freshness = clari_export_freshness(sync->selection->options, GetCurrentTimestamp());

	freshness.max_age = interval_microseconds(PG_GETARG_INTERVAL_P(4));
	SPI_connect_ext(sync->atomic ? 0 : SPI_OPT_NONATOMIC);
	MemoryContextSwitchTo(context);
	check_beforehand(sync);
	if (!sync->atomic)
		SPI_commit();
	MemoryContextSwitchTo(context);
	clari_quota_begin(sync->selection, &freshness, sync->atomic, &sync->patience, &sync->quota);
	do
		wait_for_exports(sync, &freshness);
	while (!open_exports(sync));
	report_exports(sync);
	if (sync->atomic)
		raise_failures(sync);
	merge_all(sync);
	if (!sync->atomic)
		commit_merged(sync);
	else
		raise_failures(sync);
	notice_counts(sync);
	if (!sync->atomic)
		note_failures(sync);
	raise_failures(sync);
	SPI_finish();
}

/* SQL clari_sync(relation, periods, target, delete_missing, max_age, max_deleted): see doc/clari_fdw.md. */
Datum
clari_sync(PG_FUNCTION_ARGS)
{
	MemoryContext context = AllocSetContextCreate(PortalContext != NULL ? PortalContext : CurrentMemoryContext,
												  "clari_sync", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);

	clari_version_check_call(fcinfo, 6);
	/* Checked before anything is exported. */
	PreventCommandIfReadOnly("CALL clari_sync()");
	PreventCommandDuringRecovery("CALL clari_sync()");
	PG_TRY();
	{
		run_sync(fcinfo, context);
	}
	PG_FINALLY();
	{
		/* This also runs after an error, because the open files are closed with the context. */
		MemoryContextSwitchTo(previous);
		MemoryContextDelete(context);
	}
	PG_END_TRY();
	PG_RETURN_VOID();
}
