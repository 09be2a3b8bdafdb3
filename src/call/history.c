/*
 * history.c
 *		The history of a table of forecasts: see internal.h.
 *
 * Runs in sessions, with the rights of the user who calls or writes.  The tables,
 * the function and the view that it creates are ordinary ones, and can be read
 * without the extension.
 *
 * A statement that writes to the target locks first the target, as usual, and
 * then the history, before it touches a row.  Writers therefore follow one
 * another, they cannot deadlock over the history, and a later commit has a later
 * time.
 */
#include "postgres.h"

#include "call/internal.h"

#include "compat.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_proc.h"
#include "commands/defrem.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

CLARI_FUNCTION(clari_track_history);
CLARI_FUNCTION(clari_untrack_history);
CLARI_FUNCTION(clari_prune_history);
CLARI_FUNCTION(clari_record_history);

#define RECORD_FUNCTION "clari_record_history"
#define SUFFIX "_history"

/*
 * The columns in the order of clari_forecasts, so that INSERT … SELECT * works;
 * user_id is used only if it is in the key.
 */
static const char *const columns[] = {
	"owner_name",        "owner_email", "forecast_amount", "quota_amount",  "crm_total", "crm_closed",
	"adjustment_amount", "time_period", "exported_at",     "forecast_name", "user_id"};
static const char *const amounts[] = {"forecast_amount", "quota_amount", "crm_total", "crm_closed",
									  "adjustment_amount"};

#define FORECAST 0 /* index of the forecast in amounts */

/* Not "=", for which the planner expects few rows before there are statistics. */
#define IS_OPEN "t.valid_to >= 'infinity'"

typedef struct History
{
	ClariMerge *rows; /* prepared for the target: its key, and how its rows differ from their versions */
	Oid table;
	const char *name; /* name of the history, qualified and quoted */
} History;

static int
column_count(const History *history)
{
	return history->rows->by_user ? (int) lengthof(columns) : (int) lengthof(columns) - 1;
}

/* ------- finding the history ------- */

/* Is it the trigger function of this extension, in whatever schema? */
static bool
is_record_function(Oid function)
{
	const char *name = get_func_name(function);

	return name != NULL && strcmp(name, RECORD_FUNCTION) == 0 &&
		   getExtensionOfObject(ProcedureRelationId, function) == get_extension_oid("clari_fdw", true);
}

/*
 * Returns the name of the target's history, in the same schema, from the argument
 * of its triggers; NULL: no history is kept.
 */
static char *
tracked_name(Relation target)
{
	const TriggerDesc *triggers = target->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (triggers->triggers[i].tgnargs == 1 && is_record_function(triggers->triggers[i].tgfoid))
			return pstrdup(triggers->triggers[i].tgargs[0]);
	return NULL;
}

static void
refuse_row_security(Oid table, Oid target)
{
	if (check_enable_rls(table, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot keep the history of %s: row security hides rows of %s", clari_table_name(target),
							   clari_table_name(table)),
						errhint("Write as a role to which its policies do not apply, such as its owner.")));
}

/* Locks the history against all other writers, and checks that it exists and has a trusted owner. */
static Oid
lock_history(Oid target, const char *name)
{
	Oid table = get_relname_relid(name, get_rel_namespace(target));

	if (OidIsValid(table))
		LockRelationOid(table, ShareRowExclusiveLock);
	if (get_rel_relkind(table) == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("the history of %s is missing: there is no table \"%s\" in its schema",
						clari_table_name(target), name),
				 errhint("Use clari_track_history(%s) to begin a new history, or clari_untrack_history(%s) to "
						 "keep none.",
						 quote_literal_cstr(clari_table_name(target)), quote_literal_cstr(clari_table_name(target)))));
	clari_table_check_beside(table, name, target);
	refuse_row_security(target, target);
	refuse_row_security(table, target);
	return table;
}

static History *
open_history(Relation target, const char *name)
{
	History *history = palloc0(sizeof(History));

	history->table = lock_history(RelationGetRelid(target), name);
	history->name = clari_table_name(history->table);
	history->rows = clari_merge_of_target(target, CLARI_TYPES_ALL);
	return history;
}

/* ------- recording ------- */

static ClariCommand
command_of(const History *history, const TriggerData *trigger, Snapshot snapshot)
{
	return (ClariCommand){.tables = {history->rows->target, history->table}, .trigger = trigger, .snapshot = snapshot};
}

static int64
count_touched(const TriggerData *trigger)
{
	return (trigger->tg_oldtable != NULL ? tuplestore_tuple_count(trigger->tg_oldtable) : 0) +
		   (trigger->tg_newtable != NULL ? tuplestore_tuple_count(trigger->tg_newtable) : 0);
}

/* About how many rows a page of the history has; and how many rows can be read in the time of one look-up. */
#define ROWS_OF_PAGE 64
#define ROWS_OF_LOOK_UP 16

/* Did the statement touch so few rows that looking each of them up is faster than reading the history? */
static bool
are_few(const History *history, const TriggerData *trigger)
{
	Relation table = table_open(history->table, NoLock);
	BlockNumber pages = RelationGetNumberOfBlocks(table);

	table_close(table, NoLock);
	return trigger != NULL && !TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) &&
		   count_touched(trigger) < (int64) pages * ROWS_OF_PAGE / ROWS_OF_LOOK_UP;
}

/*
 * The condition that row t has a key that the statement has touched; "true"
 * without transition tables, as for TRUNCATE.
 */
static char *
touched_condition(const History *history, const TriggerData *trigger)
{
	const char *keys =
		history->rows->by_user ? "time_period, forecast_name, user_id" : "time_period, forecast_name, owner_email";
	bool old = trigger != NULL && trigger->tg_oldtable != NULL;
	bool new = trigger != NULL && trigger->tg_newtable != NULL;

	if (!old && !new)
		return "true";
	return psprintf("EXISTS (SELECT FROM (%s%s%s%s%s) AS s WHERE %s)", old ? "SELECT " : "",
					old ? psprintf("%s FROM " CLARI_OLD_ROWS, keys) : "", old && new ? " UNION ALL " : "",
					new ? "SELECT " : "", new ? psprintf("%s FROM " CLARI_NEW_ROWS, keys) : "",
					history->rows->same_key);
}

/*
 * Closes the versions that differ from the target's rows.  A merge never changes
 * exported_at alone, but other statements may.
 */
static char *
close_text(const History *history, const char *touched, const char *time)
{
	return psprintf(
		"UPDATE %s AS t SET valid_to = %s WHERE " IS_OPEN " AND %s AND NOT EXISTS "
		"(SELECT FROM %s AS s WHERE %s AND (%s OR t.exported_at IS DISTINCT FROM s.exported_at) IS NOT TRUE)",
		history->name, time, touched, history->rows->target_name, history->rows->same_key, history->rows->differs);
}

/* Opens versions of the target's rows that have none after close_text(). */
static char *
open_text(const History *history, const char *touched, const char *time)
{
	return psprintf("INSERT INTO %s (%s, valid_from, valid_to) SELECT %s, %s, 'infinity' FROM "
					"(SELECT t.* FROM %s AS t WHERE %s) AS s WHERE NOT EXISTS "
					"(SELECT FROM %s AS t WHERE " IS_OPEN " AND %s)",
					history->name, history->rows->columns, history->rows->columns, time, history->rows->target_name,
					touched, history->name, history->rows->same_key);
}

/*
 * Returns the time of a change: the current time, but later than all times in the
 * history, even if the clock was set back.  No version is empty therefore, and no
 * two versions of a key overlap.
 */
static TimestampTz
time_of_change(const History *history, Snapshot snapshot)
{
	ClariCommand command = command_of(history, NULL, snapshot);
	ClariCommandResult result;

	command.text =
		psprintf("SELECT greatest(clock_timestamp(), interval '1 us' + greatest((SELECT max(valid_from) FROM %s), "
				 "(SELECT max(valid_to) FROM %s WHERE valid_to < 'infinity')))",
				 history->name, history->name);
	result = clari_command_run(&command);
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(result.rows[0][0]),
												   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

/*
 * If one statement fires several triggers (MERGE, INSERT … ON CONFLICT), the
 * first sets the time for all of them.  The BEFORE trigger of each statement
 * resets timed_history, so that no time is left from an enclosing statement, or
 * from one that failed.
 */
static Oid timed_history = InvalidOid;
static TimestampTz statement_time;

/*
 * Brings the open versions of the history up to date with the target: for the
 * keys that the trigger's statement touched, or for all.
 */
static void
record(const History *history, const TriggerData *trigger)
{
	/*
	 * A latest snapshot at any isolation level: nobody else writes to the history
	 * now, and what others wrote must be visible.
	 */
	Snapshot snapshot = RegisterSnapshot(GetLatestSnapshot());
	ClariCommand command = command_of(history, trigger, snapshot);
	char *touched = touched_condition(history, trigger);
	char *time;

	command.few = command.look_up = are_few(history, trigger);
	if (trigger == NULL || timed_history != history->table)
	{
		statement_time = time_of_change(history, snapshot);
		timed_history = history->table;
	}
	time = clari_command_time(statement_time);
	command.text = close_text(history, touched, time);
	(void) clari_command_run(&command);
	command.text = open_text(history, touched, time);
	(void) clari_command_run(&command);
	UnregisterSnapshot(snapshot);
}

/* The function of the triggers.  It locks the history before a statement, and records the changes after it. */
Datum
clari_record_history(PG_FUNCTION_ARGS)
{
	const TriggerData *trigger = (const TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 1)
		elog(ERROR, "clari_record_history() can be called only by the triggers of clari_track_history()");
	if (TRIGGER_FIRED_BEFORE(trigger->tg_event))
	{
		(void) lock_history(RelationGetRelid(trigger->tg_relation), trigger->tg_trigger->tgargs[0]);
		timed_history = InvalidOid;
	}
	else if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event) || count_touched(trigger) > 0)
		record(open_history(trigger->tg_relation, trigger->tg_trigger->tgargs[0]), trigger);
	return PointerGetDatum(NULL);
}

void
clari_history_check(Oid target)
{
	Relation relation = table_open(target, NoLock);
	char *name = tracked_name(relation);
	History *history = name != NULL ? open_history(relation, name) : NULL;

	table_close(relation, NoLock);
	if (history != NULL)
	{
		ClariCommand command = command_of(history, NULL, NULL);

		command.only_check = true;
		command.text = close_text(history, "true", "'infinity'");
		(void) clari_command_run(&command);
		command.text = open_text(history, "true", "'infinity'");
		(void) clari_command_run(&command);
	}
}

/* ------- creating the objects ------- */

static void
execute(const char *text)
{
	if (SPI_execute(text, false, 0) < 0)
		elog(ERROR, "could not execute \"%s\"", text);
}

/* "s.owner_name AS owner_name, …", with the key columns cast to what the target's index compares. */
static char *
column_list(const History *history)
{
	const ClariMerge *rows = history->rows;
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < column_count(history); i++)
	{
		const char *cast = strcmp(columns[i], "time_period") == 0                               ? rows->period_type
						   : strcmp(columns[i], "forecast_name") == 0                           ? rows->name_type
						   : strcmp(columns[i], rows->by_user ? "user_id" : "owner_email") == 0 ? rows->owner_type
																								: "";

		appendStringInfo(&list, "%ss.%s%s AS %s", i > 0 ? ", " : "", columns[i], cast, columns[i]);
	}
	return list.data;
}

static void
create_table(History *history, const char *schema, const char *name)
{
	history->name = quote_qualified_identifier(schema, name);
	execute(psprintf("CREATE TABLE %s AS SELECT %s, NULL::timestamptz AS valid_from, NULL::timestamptz AS valid_to "
					 "FROM %s AS s WITH NO DATA",
					 history->name, column_list(history), history->rows->target_name));
	CommandCounterIncrement();
	history->table = get_relname_relid(name, get_namespace_oid(schema, false));
	clari_table_check_beside(history->table, name, history->rows->target);
}

/* Creates the indexes.  The table was filled before, which is faster. */
static void
index_table(const History *history)
{
	const char *owner = history->rows->by_user ? "user_id" : "owner_email";

	execute(psprintf("ALTER TABLE %s ADD PRIMARY KEY (%s, time_period, forecast_name, valid_from), "
					 "ALTER valid_to SET NOT NULL, ADD CHECK (valid_from < valid_to)",
					 history->name, owner));
	execute(psprintf("CREATE UNIQUE INDEX ON %s (time_period, forecast_name, %s) WHERE valid_to >= 'infinity'",
					 history->name, owner));
	execute(psprintf("CREATE INDEX ON %s (valid_from)", history->name));
	execute(psprintf("CREATE INDEX ON %s (valid_to) WHERE valid_to < 'infinity'", history->name));
}

/*
 * Raises an error if somebody else owns the function or view.  OR REPLACE by a
 * superuser leaves the owner unchanged, who could replace it again.
 */
static void
check_owner(const History *history, Oid owner, const char *what, const char *name)
{
	Oid target = history->rows->target;

	if (!clari_role_is_own(owner) && owner != clari_table_owner(target) && !superuser_arg(owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("%s %s is not owned by \"%s\", nor by the owner of %s", what, name,
							   GetUserNameFromId(GetUserId(), false), clari_table_name(target)),
						errdetail("It is owned by \"%s\".", GetUserNameFromId(owner, false)),
						errhint("Drop or rename it: clari_track_history() creates one with that name.")));
}

static Oid
function_owner(const char *name, Oid schema)
{
	Oid argument = TIMESTAMPTZOID;
	HeapTuple tuple = SearchSysCache3(PROCNAMEARGSNSP, CStringGetDatum(name),
									  PointerGetDatum(buildoidvector(&argument, 1)), ObjectIdGetDatum(schema));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %s", name);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Creates the function without any option that would keep it from being inlined. */
static void
create_as_of(const History *history, const char *function)
{
	StringInfoData types;
	StringInfoData list;

	initStringInfo(&types);
	initStringInfo(&list);
	for (int i = 0; i < column_count(history); i++)
	{
		Oid type = get_atttype(history->table, get_attnum(history->table, columns[i]));

		appendStringInfo(&types, "%s%s %s", i > 0 ? ", " : "", columns[i],
						 format_type_extended(type, -1, FORMAT_TYPE_FORCE_QUALIFY));
		appendStringInfo(&list, "%ss.%s", i > 0 ? ", " : "", columns[i]);
	}
	execute(psprintf("CREATE OR REPLACE FUNCTION %s(at timestamptz) RETURNS TABLE (%s) LANGUAGE SQL STABLE "
					 "PARALLEL SAFE BEGIN ATOMIC SELECT %s FROM %s AS s WHERE s.valid_from <= $1 AND s.valid_to > $1; "
					 "END",
					 function, types.data, list.data, history->name));
}

/* Creates the view: the versions s with their predecessors t, and the versions without a successor. */
static void
create_changes(const History *history, const char *view)
{
	const char *owner = history->rows->by_user ? ", s.user_id" : "";
	StringInfoData changed;
	StringInfoData removed;

	initStringInfo(&changed);
	initStringInfo(&removed);
	for (int i = 0; i < (int) lengthof(amounts); i++)
	{
		const char *amount = amounts[i];

		appendStringInfo(&changed, ", t.%s AS old_%s, s.%s AS new_%s", amount, amount, amount, amount);
		appendStringInfo(&removed, ", s.%s, NULL", amount);
		if (i != FORECAST)
			continue;
		appendStringInfo(&changed, ", coalesce(s.%s::numeric, 0) - coalesce(t.%s::numeric, 0) AS forecast_difference",
						 amount, amount);
		appendStringInfo(&removed, ", - coalesce(s.%s::numeric, 0)", amount);
	}
	execute(psprintf("CREATE OR REPLACE VIEW %s AS SELECT s.valid_from AS changed_at, "
					 "CASE WHEN t.valid_from IS NULL THEN 'added' ELSE 'changed' END AS kind, s.owner_name, "
					 "s.owner_email, s.time_period, s.forecast_name%s%s, s.exported_at "
					 "FROM %s AS s LEFT JOIN %s AS t ON t.valid_to = s.valid_from AND %s "
					 "UNION ALL SELECT s.valid_to, 'removed', s.owner_name, s.owner_email, s.time_period, "
					 "s.forecast_name%s%s, NULL FROM %s AS s WHERE s.valid_to < 'infinity' AND NOT EXISTS "
					 "(SELECT FROM %s AS t WHERE t.valid_from = s.valid_to AND %s)",
					 view, owner, changed.data, history->name, history->name, history->rows->same_key, owner,
					 removed.data, history->name, history->name, history->rows->same_key));
}

static void
create_triggers(const History *history, Oid caller, const char *name)
{
	static const char *const triggers[][2] = {
		{"before", "BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s"},
		{"insert", "AFTER INSERT ON %s REFERENCING NEW TABLE AS " CLARI_NEW_ROWS},
		{"update", "AFTER UPDATE ON %s REFERENCING OLD TABLE AS " CLARI_OLD_ROWS " NEW TABLE AS " CLARI_NEW_ROWS},
		{"delete", "AFTER DELETE ON %s REFERENCING OLD TABLE AS " CLARI_OLD_ROWS},
		{"truncate", "AFTER TRUNCATE ON %s"}};
	const char *function = quote_qualified_identifier(get_namespace_name(get_func_namespace(caller)), RECORD_FUNCTION);

	for (int i = 0; i < (int) lengthof(triggers); i++)
	{
		StringInfoData text;

		initStringInfo(&text);
		appendStringInfo(&text, "CREATE OR REPLACE TRIGGER clari_history_%s ", triggers[i][0]);
		appendStringInfo(&text, triggers[i][1], history->rows->target_name);
		appendStringInfo(&text, " FOR EACH STATEMENT EXECUTE FUNCTION %s(%s)", function, quote_literal_cstr(name));
		execute(text.data);
	}
}

/*
 * Makes a name from that of the history without "_history", so that all three
 * names are alike, however long the target's name is.
 */
static char *
name_beside(const char *history_name, const char *suffix)
{
	char *stem = pstrdup(history_name);
	size_t length = strlen(stem);

	if (length > strlen(SUFFIX) && strcmp(stem + length - strlen(SUFFIX), SUFFIX) == 0)
		stem[length - strlen(SUFFIX)] = '\0';
	return makeObjectName(stem, NULL, suffix);
}

/* ------- checks ------- */

static void
check_target(Relation target)
{
	const char *name = clari_table_name(RelationGetRelid(target));
	const char *why = NULL;

	if (target->rd_rel->relkind != RELKIND_RELATION && target->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		why = "it is not a table";
	else if (target->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
		why = "its rows do not outlive a session or a crash";
	else if (target->rd_rel->relispartition)
		why = "it is a partition, and writes through its parent would not be recorded";
	if (why != NULL)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("cannot keep the history of %s: %s", name, why)));
	if (clari_table_is_distributed(RelationGetRelid(target)))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot keep the history of %s: Citus distributes it", name),
						errdetail("Citus does not run triggers on distributed tables.")));
}

/* Raises an error if a key column may be null, because rows without a key cannot have versions. */
static void
check_key(Relation target, const ClariMerge *rows)
{
	const char *keys[] = {"time_period", "forecast_name", rows->by_user ? "user_id" : "owner_email"};

	for (int i = 0; i < (int) lengthof(keys); i++)
		if (!TupleDescAttr(RelationGetDescr(target), get_attnum(rows->target, keys[i]) - 1)->attnotnull)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					 errmsg("cannot keep the history of %s: its column \"%s\" may be null", rows->target_name, keys[i]),
					 errhint("ALTER TABLE %s ALTER COLUMN %s SET NOT NULL;", rows->target_name, keys[i])));
}

/* Checks that an existing table with the history's name was made by clari_track_history(), before it is used again. */
static void
check_history(const History *history)
{
	StringInfoData missing;

	initStringInfo(&missing);
	for (int i = 0; i < column_count(history); i++)
		if (get_attnum(history->table, columns[i]) == InvalidAttrNumber)
			appendStringInfo(&missing, "%s%s", missing.len > 0 ? ", " : "", columns[i]);
	for (int i = 0; i < 2; i++)
		if (get_atttype(history->table, get_attnum(history->table, i == 0 ? "valid_from" : "valid_to")) !=
			TIMESTAMPTZOID)
			appendStringInfo(&missing, "%s%s", missing.len > 0 ? ", " : "", i == 0 ? "valid_from" : "valid_to");
	if (missing.len > 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("table %s already exists, but is not a history of %s", history->name,
							   history->rows->target_name),
						errdetail("Missing columns: %s.", missing.data)));
}

/* ------- the functions ------- */

static void
check_right(Oid table, AclMode mode)
{
	if (pg_class_aclcheck(table, GetUserId(), mode) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(table));
}

/* The name of the history that is kept, or would be created by clari_track_history(). */
static char *
history_name(Relation target)
{
	char *name = tracked_name(target);

	return name != NULL ? name : makeObjectName(RelationGetRelationName(target), NULL, &SUFFIX[1]);
}

/* Creates or updates the history.  The caller has called clari_command_enter_catalog() and SPI_connect(). */
static Oid
track(Relation target, Oid caller)
{
	char *name = history_name(target);
	Oid namespace = RelationGetNamespace(target);
	const char *schema = get_namespace_name(namespace);
	Oid owner = target->rd_rel->relowner;
	History *history = palloc0(sizeof(History));
	bool is_new = !OidIsValid(get_relname_relid(name, namespace));
	const char *as_of_name = name_beside(name, "as_of");
	const char *changes_name = name_beside(name, "changes");
	const char *as_of = quote_qualified_identifier(schema, as_of_name);
	const char *changes = quote_qualified_identifier(schema, changes_name);

	if (is_new)
	{
		history->rows = clari_merge_of_target(target, CLARI_TYPES_ALL);
		check_key(target, history->rows);
		create_table(history, schema, name);
		record(history, NULL);
		index_table(history);
	}
	else
	{
		history = open_history(target, name);
		check_key(target, history->rows);
		check_history(history);
		record(history, NULL);
	}
	create_as_of(history, as_of);
	create_changes(history, changes);
	CommandCounterIncrement();
	check_owner(history, function_owner(as_of_name, namespace), "function", as_of);
	check_owner(history, clari_table_owner(get_relname_relid(changes_name, namespace)), "view", changes);
	create_triggers(history, caller, name);
	if (is_new && owner != GetUserId())
	{
		const char *role = quote_identifier(GetUserNameFromId(owner, false));

		execute(psprintf("ALTER FUNCTION %s(timestamptz) OWNER TO %s", as_of, role));
		execute(psprintf("ALTER VIEW %s OWNER TO %s", changes, role));
		execute(psprintf("ALTER TABLE %s OWNER TO %s", history->name, role));
	}
	return history->table;
}

/* SQL clari_track_history(target): see doc/clari_fdw.md. */
Datum
clari_track_history(PG_FUNCTION_ARGS)
{
	Oid target = clari_table_argument(fcinfo, 0, "clari_forecasts");
	const char *name = clari_table_name(target);
	Relation relation;
	Oid history;
	int level;

	clari_version_check_call(fcinfo, 1);
	PreventCommandIfReadOnly("clari_track_history()");
	PreventCommandDuringRecovery("clari_track_history()");
	check_right(target, ACL_SELECT);
	check_right(target, ACL_TRIGGER);
	relation = table_open(target, ShareRowExclusiveLock);
	if (strcmp(clari_table_name(target), name) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s was replaced during the call", name)));
	check_target(relation);
	refuse_row_security(target, target);
	level = clari_command_enter_catalog();
	SPI_connect();
	history = track(relation, fcinfo->flinfo->fn_oid);
	SPI_finish();
	AtEOXact_GUC(true, level);
	table_close(relation, NoLock);
	PG_RETURN_OID(history);
}

static void
raise_untracked(Oid target)
{
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("no history of %s is kept", clari_table_name(target)),
					errhint("SELECT clari_track_history(%s);", quote_literal_cstr(clari_table_name(target)))));
}

/* SQL clari_untrack_history(target): see doc/clari_fdw.md. */
Datum
clari_untrack_history(PG_FUNCTION_ARGS)
{
	Oid target = clari_table_argument(fcinfo, 0, "clari_forecasts");
	StringInfoData list;
	Relation relation;

	clari_version_check_call(fcinfo, 1);
	relation = table_open(target, AccessShareLock);
	initStringInfo(&list);
	for (int i = 0; relation->trigdesc != NULL && i < relation->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &relation->trigdesc->triggers[i];

		if (is_record_function(trigger->tgfoid))
			appendStringInfo(&list, "DROP TRIGGER %s ON %s;", quote_identifier(trigger->tgname),
							 clari_table_name(target));
	}
	/* The lock is released, because DROP TRIGGER takes a stronger one, for which two such calls would deadlock. */
	table_close(relation, AccessShareLock);
	if (list.len == 0)
		raise_untracked(target);
	SPI_connect();
	execute(list.data);
	SPI_finish();
	PG_RETURN_VOID();
}

/* SQL clari_prune_history(target, older_than): see doc/clari_fdw.md. */
Datum
clari_prune_history(PG_FUNCTION_ARGS)
{
	Oid target = clari_table_argument(fcinfo, 0, "clari_forecasts");
	ClariCommand command = {.few = true};
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz horizon;
	Relation relation;
	char *name;

	clari_version_check_call(fcinfo, 2);
	PreventCommandIfReadOnly("clari_prune_history()");
	PreventCommandDuringRecovery("clari_prune_history()");
	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"older_than\" must not be null")));
	horizon =
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(now), PG_GETARG_DATUM(1)));
	if (horizon > now)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("argument \"older_than\" must not be negative")));
	relation = table_open(target, AccessShareLock);
	name = history_name(relation);
	table_close(relation, NoLock);
	command.tables[0] = get_relname_relid(name, get_rel_namespace(target));
	if (!OidIsValid(command.tables[0]))
		raise_untracked(target);
	check_right(command.tables[0], ACL_DELETE);
	/* The same order of locks as in statements that write to the target. */
	LockRelationOid(target, RowExclusiveLock);
	command.tables[0] = lock_history(target, name);
	command.text = psprintf("DELETE FROM %s AS t WHERE t.valid_to <= %s", clari_table_name(command.tables[0]),
							clari_command_time(horizon));
	PG_RETURN_INT64(clari_command_run(&command).written);
}
