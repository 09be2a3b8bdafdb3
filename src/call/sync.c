/*
 * sync.c
 *		CALL clari_sync(…): refresh, wait, stage, merge.
 *
 * Runs in a session, with the caller's rights.  Outside of a transaction block
 * it commits before it waits, so that a slow export holds no snapshot and no
 * transaction ID back, and once more when the good periods are merged; inside
 * of one it is all or nothing.
 */
#include "postgres.h"

#include "base/report.h"
#include "call/functions.h"
#include "call/version.h"
#include "scan/scan.h"
#include "session/fetch.h"
#include "compat.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

CLARI_FUNCTION(clari_sync);

/* A notice about each export that is still open, so often. */
#define PROGRESS_INTERVAL 5000 /* ms */

#define FORECAST_COLUMNS                                                                                               \
	"owner_name, owner_email, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount, "               \
	"time_period, exported_at, forecast_name"

/* What clari_merge() returns. */
enum
{
	COUNT_INSERTED,
	COUNT_UPDATED,
	COUNT_UNCHANGED,
	COUNT_DELETED,
	COUNT_SKIPPED,
	COUNTS
};

typedef struct Sync
{
	bool atomic;  /* in a transaction block: cannot commit */
	char *schema; /* the extension's, quoted; as the next two, qualified */
	char *relation;
	char *staging;
	Oid relation_id;
	Oid target;
	Oid staging_id;
	bool delete_missing;
	ClariSelection *selection;
	int64 counts[COUNTS];
} Sync;

/* ------- statements ------- */

static void
execute(const char *statement, int nargs, Oid *types, Datum *values, int expected)
{
	int result = SPI_execute_with_args(statement, nargs, types, values, NULL, false, 0);

	if (result != expected)
		elog(ERROR, "unexpected result of \"%s\": %s", statement, SPI_result_code_string(result));
}

static char *
qualified_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

/* Finds target and staging as clari_merge() would, before anything is exported. */
static void
resolve_tables(Sync *sync, MemoryContext context)
{
	Oid types[] = {REGCLASSOID};
	Datum values[] = {ObjectIdGetDatum(sync->target)};
	char null_target[] = {OidIsValid(sync->target) ? ' ' : 'n'};
	MemoryContext previous;
	bool isnull;
	char *statement = psprintf("SELECT %s.clari_merge_table($1, 'clari_forecasts'::pg_catalog.text), "
							   "%s.clari_merge_table(NULL::pg_catalog.regclass, 'staging_clari'::pg_catalog.text)",
							   sync->schema, sync->schema);

	if (SPI_execute_with_args(statement, 1, types, values, null_target, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not find the tables to merge");
	sync->target = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	sync->staging_id = DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull));
	previous = MemoryContextSwitchTo(context);
	sync->staging = qualified_name(sync->staging_id);
	MemoryContextSwitchTo(previous);
}

/* How the good periods, $1, are staged. */
static char *
stage_statement(const Sync *sync)
{
	return psprintf("INSERT INTO %s (" FORECAST_COLUMNS ") SELECT " FORECAST_COLUMNS
					" FROM %s WHERE time_period OPERATOR(pg_catalog.=) ANY ($1) AND owner_email IS NOT NULL",
					sync->staging, sync->relation);
}

/* How many rows of them are not, since a staging table with a key, or distributed by it, could not hold them. */
static char *
skipped_statement(const Sync *sync)
{
	return psprintf("SELECT pg_catalog.count(*) FROM %s"
					" WHERE time_period OPERATOR(pg_catalog.=) ANY ($1) AND owner_email IS NULL",
					sync->relation);
}

/* A right of the caller's: by PostgreSQL's function for it, of the object (an OID or a name) and the privilege. */
static bool
has_right(const char *function, Oid type, Datum object, const char *privilege)
{
	bool isnull;

	execute(psprintf("SELECT pg_catalog.%s($1, '%s')", function, privilege), 1, &type, &object, SPI_OK_SELECT);
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

static void
check_is_table(Oid relid, const char *direction)
{
	char kind = get_rel_relkind(relid);

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("cannot merge %s %s: it is not a table", direction, qualified_name(relid))));
}

static void
check_right(Oid table, const char *name, const char *privilege)
{
	if (!has_right("has_table_privilege", OIDOID, ObjectIdGetDatum(table), privilege))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, name);
}

/*
 * Is the staging statement one that can be executed?  Preparing it locks the
 * table, and of two syncs in transaction blocks each would wait for the other to
 * let go: so it is prepared in a subtransaction, which is rolled back.
 */
static void
try_staging(const Sync *sync)
{
	Oid text_array = TEXTARRAYOID;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	(void) SPI_prepare(stage_statement(sync), 1, &text_array);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/* What would fail after the exports fails before they are paid for. */
static void
check_beforehand(const Sync *sync)
{
	Datum merge_name = CStringGetTextDatum(
		psprintf("%s.clari_merge(pg_catalog.regclass, pg_catalog.regclass, boolean)", sync->schema));
	Oid types[] = {REGCLASSOID, TEXTOID, REGCLASSOID, TEXTOID};
	Datum values[] = {ObjectIdGetDatum(sync->target), CStringGetTextDatum(qualified_name(sync->target)),
					  ObjectIdGetDatum(sync->staging_id), CStringGetTextDatum(sync->staging)};

	if (!has_right("has_function_privilege", TEXTOID, merge_name, "EXECUTE"))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied for function clari_merge"),
						errdetail("clari_sync() merges by it."),
						errhint("GRANT EXECUTE ON FUNCTION %s.clari_merge TO ...", sync->schema)));
	if (sync->target == sync->staging_id)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("cannot sync into the staging table %s", sync->staging)));
	check_is_table(sync->target, "into");
	check_is_table(sync->staging_id, "from");
	check_right(sync->target, get_rel_name(sync->target), "SELECT");
	check_right(sync->target, get_rel_name(sync->target), "INSERT");
	check_right(sync->target, get_rel_name(sync->target), "UPDATE");
	if (sync->delete_missing)
		check_right(sync->target, get_rel_name(sync->target), "DELETE");
	execute(psprintf("SELECT %s.clari_merge_check_columns($1, $2), %s.clari_merge_check_key($1, $2), "
					 "%s.clari_merge_check_columns($3, $4)",
					 sync->schema, sync->schema, sync->schema),
			4, types, values, SPI_OK_SELECT);
	try_staging(sync);
}

/* ------- waiting ------- */

static void
notice_progress(const ClariWanted *wanted, int count)
{
	int nflights;
	ClariFlightInfo *flights = clari_cache_flights(&nflights);
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < count; i++)
		for (int j = 0; j < nflights; j++)
		{
			const ClariFlightInfo *flight = &flights[j];

			if (wanted[i].state != CLARI_LOOKUP_FLYING || wanted[i].flight != flight->flight)
				continue;
			ereport(NOTICE, (errmsg("period %s: %s, " INT64_FORMAT " entries after " INT64_FORMAT " s",
									flight->period[0] != '\0' ? flight->period : "current", flight->phase,
									flight->entries, (now - flight->started_at) / USECS_PER_SEC)));
		}
	pfree(flights);
}

/* Holding no snapshot, where the caller allows to commit. */
static void
wait_for_exports(Sync *sync, const ClariFreshness *freshness)
{
	ClariSelection *selection = sync->selection;

	while (!clari_select_learn(selection, PROGRESS_INTERVAL))
		notice_progress(&selection->learning, 1);
	do
	{
		while (
			!clari_wanted_wait(selection->options, freshness, selection->wanted, selection->count, PROGRESS_INTERVAL))
			notice_progress(selection->wanted, selection->count);
	} while (clari_select_roll_over(selection));
}

/* ------- what came of it ------- */

static bool
is_good(const ClariSelection *selection, int i)
{
	const ClariWanted *wanted = &selection->wanted[i];

	if (wanted->state != CLARI_LOOKUP_READY)
		return false;
	if (wanted->version.meta.flags & CLARI_ROWSET_WRONG_PERIOD)
		return false;
	return !(wanted->version.meta.flags & CLARI_ROWSET_TRUNCATED) || selection->options->transport.allow_truncated;
}

static void
append_failure(StringInfo list, const ClariWanted *wanted)
{
	const ClariRowsetMeta *meta = &wanted->version.meta;
	const char *period = wanted->request.period[0] != '\0' ? wanted->request.period : "current";

	if (list->len > 0)
		appendStringInfoChar(list, '\n');
	if (wanted->state != CLARI_LOOKUP_READY)
		appendStringInfo(list, "Period %s: %s. %s", period, clari_report_text(wanted->error.message),
						 clari_report_text(wanted->error.detail));
	else if (meta->flags & CLARI_ROWSET_WRONG_PERIOD)
		appendStringInfo(list, "Period %s: Clari answered with period %s.", period, meta->answered);
	else
		appendStringInfo(list, "Period %s: Clari truncated the export.", period);
}

static void
raise_failures(const ClariSelection *selection)
{
	StringInfoData list;
	int bad = 0;

	initStringInfo(&list);
	for (int i = 0; i < selection->count; i++)
		if (!is_good(selection, i))
		{
			append_failure(&list, &selection->wanted[i]);
			bad++;
		}
	if (bad > 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("could not sync %d of %d periods of forecast \"%s\"", bad, selection->count,
							   clari_report_text(selection->options->request.forecast)),
						errdetail("%s", list.data)));
}

/* ------- staging and merging ------- */

/* Whoever may drop a table while the exports were waited for may have put something of his own in its place. */
static void
lock_as_before(Oid relid, const char *name, LOCKMODE mode)
{
	LockRelationOid(relid, mode);
	if (get_rel_name(relid) == NULL || strcmp(qualified_name(relid), name) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s was replaced during the call", name)));
}

/*
 * One writer of the staging table at a time: what is merged is then exactly what
 * is deleted.  Others may hold the target, and want the staging table next: so the
 * target is not waited for with the staging table in hand, where this transaction
 * can be given up for it.
 */
static void
lock_tables(const Sync *sync)
{
	for (;;)
	{
		lock_as_before(sync->relation_id, sync->relation, AccessShareLock);
		lock_as_before(sync->staging_id, sync->staging, ShareRowExclusiveLock);
		if (sync->atomic || ConditionalLockRelationOid(sync->target, ShareRowExclusiveLock))
			return;
		SPI_rollback();
		LockRelationOid(sync->target, ShareRowExclusiveLock);
		SPI_rollback();
	}
}

/*
 * The good periods, as text[]: those of which everything is known, or those that
 * Clari has truncated, which are no reason to delete.
 */
static Datum
good_periods(const ClariSelection *selection, bool truncated, int *count)
{
	Datum *texts = palloc(sizeof(Datum) * Max(selection->count, 1));

	*count = 0;
	for (int i = 0; i < selection->count; i++)
	{
		const ClariRowsetMeta *meta = &selection->wanted[i].version.meta;

		if (is_good(selection, i) && ((meta->flags & CLARI_ROWSET_TRUNCATED) != 0) == truncated)
			texts[(*count)++] = CStringGetTextDatum(meta->answered);
	}
	return PointerGetDatum(construct_array(texts, *count, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
stage(Sync *sync, Datum periods)
{
	Oid types[] = {TEXTARRAYOID};
	Datum values[] = {periods};
	bool isnull;

	clari_wanted_pin(sync->selection->wanted, sync->selection->count + 1);
	clari_scan_latest_week = true;
	PG_TRY();
	{
		execute(stage_statement(sync), 1, types, values, SPI_OK_INSERT);
		clari_fetch_has_warned = true;
		execute(skipped_statement(sync), 1, types, values, SPI_OK_SELECT);
		sync->counts[COUNT_SKIPPED] +=
			DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	PG_FINALLY();
	{
		clari_scan_latest_week = clari_fetch_has_warned = false;
		clari_wanted_unpin();
	}
	PG_END_TRY();
}

/* By TRUNCATE, unless somebody reads it at the moment (waiting for him could be a deadlock) or refers to it. */
static void
empty_staging(const Sync *sync)
{
	Oid type = OIDOID;
	Datum staging = ObjectIdGetDatum(sync->staging_id);
	bool isnull;

	execute("SELECT EXISTS (SELECT FROM pg_catalog.pg_constraint AS c WHERE c.confrelid OPERATOR(pg_catalog.=) $1)", 1,
			&type, &staging, SPI_OK_SELECT);
	if (!DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) &&
		ConditionalLockRelationOid(sync->staging_id, AccessExclusiveLock))
		execute(psprintf("TRUNCATE %s", sync->staging), 0, NULL, NULL, SPI_OK_UTILITY);
	else
		execute(psprintf("DELETE FROM %s", sync->staging), 0, NULL, NULL, SPI_OK_DELETE);
}

/* Stages the periods, merges what is staged, and empties the staging table. */
static void
merge(Sync *sync, Datum periods, bool delete_missing)
{
	Oid types[] = {REGCLASSOID, REGCLASSOID, BOOLOID};
	Datum values[] = {ObjectIdGetDatum(sync->target), ObjectIdGetDatum(sync->staging_id), BoolGetDatum(delete_missing)};

	stage(sync, periods);
	execute(
		psprintf("SELECT inserted, updated, unchanged, deleted, skipped FROM %s.clari_merge($1, $2, $3)", sync->schema),
		3, types, values, SPI_OK_SELECT);
	for (int i = 0; i < COUNTS; i++)
	{
		bool isnull;

		sync->counts[i] += DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, i + 1, &isnull));
	}
	empty_staging(sync);
}

/* An export without an entry tells of nobody who is missing. */
static void
notice_empty(const Sync *sync)
{
	for (int i = 0; i < sync->selection->count; i++)
	{
		const ClariWanted *wanted = &sync->selection->wanted[i];

		if (sync->delete_missing && is_good(sync->selection, i) && wanted->version.meta.owners == 0)
			ereport(NOTICE, (errmsg("period %s: the export is empty, and nothing is deleted for it",
									wanted->request.period[0] != '\0' ? wanted->request.period : "current")));
	}
}

/* Merges the good periods, if there are any; in the sync's own context. */
static void
merge_all(Sync *sync, MemoryContext context)
{
	int nwhole;
	int ntruncated;
	Datum whole = good_periods(sync->selection, false, &nwhole);
	Datum truncated = good_periods(sync->selection, true, &ntruncated);

	if (nwhole + ntruncated == 0)
		return;
	lock_tables(sync);
	MemoryContextSwitchTo(context); /* a rollback leaves it */
	if (nwhole > 0)
		merge(sync, whole, sync->delete_missing);
	if (ntruncated > 0)
		merge(sync, truncated, false);
	notice_empty(sync);
	ereport(NOTICE, (errmsg("%d %s synced: " INT64_FORMAT " inserted, " INT64_FORMAT " updated, " INT64_FORMAT
							" unchanged, " INT64_FORMAT " deleted, " INT64_FORMAT " skipped",
							nwhole + ntruncated, nwhole + ntruncated == 1 ? "period" : "periods",
							sync->counts[COUNT_INSERTED], sync->counts[COUNT_UPDATED], sync->counts[COUNT_UNCHANGED],
							sync->counts[COUNT_DELETED], sync->counts[COUNT_SKIPPED])));
	if (!sync->atomic)
		SPI_commit();
}

/* ------- the procedure ------- */

static int64
interval_microseconds(const Interval *interval)
{
	int64 days = (int64) interval->month * DAYS_PER_MONTH + interval->day;
	int64 result = days * USECS_PER_DAY + interval->time;

	if (interval->month < 0 || result < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"max_age\" must not be negative")));
	return result;
}

static void
refuse_null(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"%s\" must not be null", name)));
}

/* It must show forecasts, in all ten columns. */
static void
check_relation(const Sync *sync, Oid relid)
{
	ClariColumn column;

	if (sync->selection->options->object != CLARI_OBJECT_FORECASTS)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("foreign table %s does not show forecasts", sync->relation),
				 errhint("clari_sync takes a foreign table with object 'forecasts'.")));
	for (int i = 0; clari_object_column(CLARI_OBJECT_FORECASTS, i, &column); i++)
		if (get_attnum(relid, column.name) == InvalidAttrNumber)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("foreign table %s lacks column \"%s\"", sync->relation, column.name),
							errdetail("clari_sync needs the ten columns of object 'forecasts' that IMPORT makes.")));
}

/* Reads and checks the arguments; everything lives in the current context. */
static Sync *
begin_sync(FunctionCallInfo fcinfo)
{
	Sync *sync = palloc0(sizeof(Sync));
	Oid relid;

	refuse_null(fcinfo, 0, "relation");
	refuse_null(fcinfo, 3, "delete_missing");
	refuse_null(fcinfo, 4, "max_age");
	relid = PG_GETARG_OID(0);
	sync->atomic = !(fcinfo->context != NULL && IsA(fcinfo->context, CallContext) &&
					 !castNode(CallContext, fcinfo->context)->atomic);
	sync->schema = pstrdup(quote_identifier(get_namespace_name(get_func_namespace(fcinfo->flinfo->fn_oid))));
	sync->target = PG_ARGISNULL(2) ? InvalidOid : PG_GETARG_OID(2);
	sync->delete_missing = PG_GETARG_BOOL(3);
	sync->selection = clari_select(relid, PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1));
	sync->relation_id = relid;
	sync->relation = qualified_name(relid);
	check_relation(sync, relid);
	return sync;
}

/* SQL clari_sync(relation, periods, target, delete_missing, max_age): see doc/clari_fdw.md. */
Datum
clari_sync(PG_FUNCTION_ARGS)
{
	/* Survives the commits; goes with the call's portal. */
	MemoryContext context = AllocSetContextCreate(PortalContext != NULL ? PortalContext : CurrentMemoryContext,
												  "clari_sync", ALLOCSET_DEFAULT_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	ClariFreshness freshness;
	Sync *sync;

	clari_version_check_call(fcinfo, 5);
	/* Refused before anything is exported. */
	PreventCommandIfReadOnly("CALL clari_sync()");
	PreventCommandDuringRecovery("CALL clari_sync()");
	sync = begin_sync(fcinfo);
	freshness = clari_wanted_freshness(sync->selection->options, GetCurrentTimestamp());
	freshness.max_age = interval_microseconds(PG_GETARG_INTERVAL_P(4));
	SPI_connect_ext(sync->atomic ? 0 : SPI_OPT_NONATOMIC);
	resolve_tables(sync, context);
	check_beforehand(sync);
	if (!sync->atomic)
		SPI_commit();
	MemoryContextSwitchTo(context);
	wait_for_exports(sync, &freshness);
	if (sync->atomic)
		raise_failures(sync->selection);
	for (int i = 0; i < sync->selection->count; i++)
		if (is_good(sync->selection, i))
			clari_wanted_warn(&sync->selection->wanted[i]);
	merge_all(sync, context);
	MemoryContextSwitchTo(context);
	raise_failures(sync->selection);
	SPI_finish();
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
	PG_RETURN_VOID();
}
