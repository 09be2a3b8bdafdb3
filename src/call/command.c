/*
 * command.c
 *		Executing statements that the code writes: see internal.h.
 *
 * Runs in sessions.  It parses, checks and plans a statement once, and executes
 * that plan, so that no name is looked up again after the check.
 */
#include "postgres.h"

#include "call/internal.h"

#include "compat.h"

#include "access/xact.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

/* ------- from text to plan ------- */

/* tree_walker: raises an error if the statement names a table that was not checked. */
static bool
check_names(Node *node, void *context)
{
	const ClariCommand *command = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;
		bool known = entry->rtekind != RTE_RELATION;

		for (int i = 0; i < (int) lengthof(command->tables); i++)
			known = known || entry->relid == command->tables[i];
		if (!known)
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("table %s was replaced during the call",
								   quote_qualified_identifier(get_namespace_name(get_rel_namespace(entry->relid)),
															  get_rel_name(entry->relid)))));
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_names, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, check_names, context);
}

static void
set_off(const char *setting)
{
	(void) set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

int
clari_command_enter_catalog(void)
{
	int level = NewGUCNestLevel();

	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
	return level;
}

/* Plans the statement under settings that are in effect only meanwhile. */
static PlannedStmt *
make_plan(const ClariCommand *command, QueryEnvironment *environment)
{
	int level = clari_command_enter_catalog();
	List *parsed;
	Query *query;
	List *rewritten;
	PlannedStmt *plan;

	if (!command->few)
		set_off("enable_nestloop");
	if (command->look_up)
	{
		set_off("enable_hashjoin");
		set_off("enable_mergejoin");
	}
	parsed = pg_parse_query(command->text);
	query = parse_analyze_fixedparams(linitial_node(RawStmt, parsed), command->text, NULL, 0, environment);
	(void) check_names((Node *) query, unconstify(ClariCommand *, command));
	rewritten = pg_rewrite_query(query);
	if (list_length(rewritten) != 1)
		elog(ERROR, "the statement has become %d", list_length(rewritten));
	plan = clari_plan_query(linitial_node(Query, rewritten), command->text, CURSOR_OPT_PARALLEL_OK);
	AtEOXact_GUC(true, level);
	return plan;
}

char *
clari_command_time(TimestampTz time)
{
	return psprintf("'%s'::timestamptz", timestamptz_to_str(time));
}

/* ------- tables that exist for the statement only ------- */

static void
add_rows(QueryEnvironment *environment, char *name, Oid relid, Tuplestorestate *rows)
{
	EphemeralNamedRelation relation = palloc0(sizeof(EphemeralNamedRelationData));

	if (rows == NULL)
		return;
	relation->md.name = name;
	relation->md.reliddesc = relid;
	relation->md.enrtype = ENR_NAMED_TUPLESTORE;
	relation->md.enrtuples = (double) tuplestore_tuple_count(rows);
	relation->reldata = rows;
	register_ENR(environment, relation);
}

static QueryEnvironment *
make_environment(const ClariCommand *command)
{
	const TriggerData *trigger = command->trigger;
	QueryEnvironment *environment;

	if (command->handed != NULL)
		return clari_handed_environment(command->handed);
	if (trigger == NULL)
		return NULL;
	environment = create_queryEnv();
	add_rows(environment, CLARI_OLD_ROWS, RelationGetRelid(trigger->tg_relation), trigger->tg_oldtable);
	add_rows(environment, CLARI_NEW_ROWS, RelationGetRelid(trigger->tg_relation), trigger->tg_newtable);
	return environment;
}

/* ------- execution ------- */

/* DestReceiver that collects the rows of a query, which are few. */
typedef struct Receiver
{
	DestReceiver head;
	ClariCommandResult *result;
	MemoryContext context;
} Receiver;

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	ClariCommandResult *result = ((Receiver *) self)->result;
	MemoryContext previous = MemoryContextSwitchTo(((Receiver *) self)->context);
	int level = NewGUCNestLevel();
	char **values = palloc0(sizeof(char *) * Max(slot->tts_tupleDescriptor->natts, 1));

	/* In ISO format, times can be read again under any setting. */
	(void) set_config_option("datestyle", "ISO", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	slot_getallattrs(slot);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		Oid function;
		bool is_varlena;

		getTypeOutputInfo(TupleDescAttr(slot->tts_tupleDescriptor, i)->atttypid, &function, &is_varlena);
		if (!slot->tts_isnull[i])
			values[i] = OidOutputFunctionCall(function, slot->tts_values[i]);
	}
	result->rows =
		result->rows == NULL ? palloc(sizeof(char **)) : repalloc(result->rows, sizeof(char **) * (result->nrows + 1));
	result->rows[result->nrows++] = values;
	AtEOXact_GUC(true, level);
	MemoryContextSwitchTo(previous);
	return true;
}

static void
receiver_startup(DestReceiver *self pg_attribute_unused(), int operation pg_attribute_unused(),
				 TupleDesc description pg_attribute_unused())
{
}

static void
receiver_end(DestReceiver *self pg_attribute_unused())
{
}

static void
execute(QueryDesc *description, ClariCommandResult *result)
{
	clari_executor_run(description);
	result->written = (int64) description->estate->es_processed;
	result->command = description->estate->es_output_cid;
	if (description->operation == CMD_INSERT)
		result->inserted = result->offered = result->written;
	else if (description->operation == CMD_MERGE && IsA(description->planstate, ModifyTableState))
	{
		const ModifyTableState *state = (const ModifyTableState *) description->planstate;

		result->inserted = (int64) state->mt_merge_inserted;
		result->updated = (int64) state->mt_merge_updated;
		InstrEndLoop(outerPlanState(state)->instrument);
		result->offered = (int64) outerPlanState(state)->instrument->ntuples;
	}
	ExecutorFinish(description);
}

/* ErrorContextCallback: removes an error's position, which refers to a text that the caller does not know. */
static void
hide_position(void *arg pg_attribute_unused())
{
	if (geterrposition() > 0)
		errposition(0);
}

ClariCommandResult
clari_command_run(const ClariCommand *command)
{
	ClariCommandResult result = {0};
	Receiver receiver = {
		.head = {receive_row, receiver_startup, receiver_end, receiver_end, DestNone}, &result, CurrentMemoryContext};
	QueryEnvironment *environment = make_environment(command);
	ErrorContextCallback callback = {error_context_stack, hide_position, NULL};
	QueryDesc *description;

	error_context_stack = &callback;
	CommandCounterIncrement();
	PushCopiedSnapshot(command->snapshot != NULL ? command->snapshot : GetTransactionSnapshot());
	if (!command->as_it_was)
		UpdateActiveSnapshotCommandId();
	description = CreateQueryDesc(make_plan(command, environment), command->text, GetActiveSnapshot(), InvalidSnapshot,
								  &receiver.head, NULL, environment, INSTRUMENT_ROWS);
	ExecutorStart(description, command->only_check ? EXEC_FLAG_EXPLAIN_ONLY : 0);
	if (!command->only_check)
		execute(description, &result);
	ExecutorEnd(description);
	FreeQueryDesc(description);
	PopActiveSnapshot();
	error_context_stack = callback.previous;
	return result;
}

int64
clari_command_number(const ClariCommandResult *result, int column)
{
	const char *text = result->nrows > 0 ? result->rows[0][column] : NULL;

	return text != NULL ? strtoll(text, NULL, 10) : 0;
}
