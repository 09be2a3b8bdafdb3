/*
 * prune.c
 *		Which quarters can satisfy a scan's quals: see prune.h.
 *
 * Runs in sessions.
 */
#include "postgres.h"

#include "prune.h"

#include "access/transam.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

struct ClariPrune
{
	TupleTableSlot *slot; /* one row of NULLs but for the period, and the forecast's name */
	List *periods;        /* numbers of the columns that show the one … */
	List *names;          /* … and the other */
	Datum name;
	ExprState *qual; /* NULL: nothing to check */
	List *asked;     /* ExprState of each right-hand side of = and IN */
};

/* ------- selecting clauses ------- */

/* A text that is the same for a whole rowset, shown as it is and compared byte by byte. */
static bool
shows_text(Form_pg_attribute attribute, int longest)
{
	int32 typmod = attribute->atttypmod;
	Oid type = getBaseTypeAndTypmod(attribute->atttypid, &typmod);

	return (type == TEXTOID || type == VARCHAROID) && (typmod == -1 || typmod - VARHDRSZ >= longest) &&
		   OidIsValid(attribute->attcollation) && get_collation_isdeterministic(attribute->attcollation);
}

/* Numbers of the columns that show the period, or the forecast's name. */
static List *
columns_from(ClariColumnSource source, TupleDesc tupdesc, const ClariColumn *columns)
{
	int longest = source == CLARI_FROM_TIME_PERIOD ? CLARI_PERIOD_TEXT_SIZE - 1 : CLARI_NAME_SIZE;
	List *attnums = NIL;

	for (int i = 0; i < tupdesc->natts; i++)
		if (!TupleDescAttr(tupdesc, i)->attisdropped && columns[i].source == source &&
			shows_text(TupleDescAttr(tupdesc, i), longest))
			attnums = lappend_int(attnums, i + 1);
	return attnums;
}

typedef struct SelectContext
{
	Index relid;
	List *attnums;
	bool found; /* a Var of one of them */
} SelectContext;

/* A text of some kind, or an array of them. */
static bool
is_string(Oid type)
{
	Oid element = get_element_type(type);
	char category;
	bool preferred;

	get_type_category_preferred(OidIsValid(element) ? element : type, &category, &preferred);
	return category == TYPCATEGORY_STRING;
}

static bool
takes_string(Oid function)
{
	Oid *types;
	int count;

	(void) get_func_signature(function, &types, &count);
	for (int i = 0; i < count; i++)
		if (is_string(types[i]))
			return true;
	return false;
}

/*
 * May the function not be called for quarters of which there may be no row?
 * Other people's may have their own mind about that.  PostgreSQL's own raise no
 * error, if they are leakproof, or hardly any, if they make of texts no more than
 * texts, numbers of characters and truth: not so divisions and casts.
 */
static bool
is_for_rows_only(Oid function, void *context pg_attribute_unused())
{
	Oid result = get_func_rettype(function);

	if (function >= FirstUnpinnedObjectId)
		return true;
	return !get_func_leakproof(function) &&
		   !(takes_string(function) && (result == BOOLOID || result == INT4OID || is_string(result)));
}

/* True when the expression holds something that cannot be evaluated for a quarter alone. */
static bool
cannot_prune(Node *node, SelectContext *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var *var = (Var *) node;

		if (var->varlevelsup != 0)
			return true;
		if (var->varno != (int) context->relid)
			return false;
		context->found = true;
		return !list_member_int(context->attnums, var->varattno);
	}
	switch (nodeTag(node))
	{
		case T_Const:
		case T_RelabelType:
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_FuncExpr:
		case T_ArrayExpr:
		case T_RowExpr:
		case T_RowCompareExpr:
		case T_CaseExpr:
		case T_CaseWhen:
		case T_CaseTestExpr:
		case T_CoalesceExpr:
		case T_MinMaxExpr:
		case T_SQLValueFunction:
		case T_List:
			break;
		case T_Param:
			if (((Param *) node)->paramkind != PARAM_EXTERN && ((Param *) node)->paramkind != PARAM_EXEC)
				return true;
			break;
		default:
			return true;
	}
	if (check_functions_in_node(node, is_for_rows_only, NULL))
		return true;
	return expression_tree_walker(node, cannot_prune, (void *) context);
}

/* Can the expression be evaluated for a quarter, and does it depend on which? */
static bool
is_decidable(Node *node, SelectContext *context)
{
	context->found = false;
	return !cannot_prune(node, context) && context->found && !contain_volatile_functions(node);
}

static Node *implied_by(Node *node, SelectContext *context);

/* What the arms imply: of an AND as many as do, of an OR all or nothing. */
static Node *
implied_by_arms(BoolExpr *expression, SelectContext *context)
{
	List *implied = NIL;
	ListCell *cell;

	foreach (cell, expression->args)
	{
		Node *node = implied_by(lfirst(cell), context);

		if (node != NULL)
			implied = lappend(implied, node);
		else if (expression->boolop == OR_EXPR)
			return NULL;
	}
	if (list_length(implied) <= 1)
		return implied == NIL ? NULL : linitial(implied);
	return (Node *) makeBoolExpr(expression->boolop, implied, -1);
}

/* What the expression, when true, says of the quarter alone; NULL: nothing. */
static Node *
implied_by(Node *node, SelectContext *context)
{
	if (is_decidable(node, context))
		return node;
	if (is_orclause(node) || is_andclause(node))
		return implied_by_arms((BoolExpr *) node, context);
	return NULL;
}

List *
clari_prune_select(List *restrictinfos, Index relid, TupleDesc tupdesc, const ClariColumn *columns, List **exact)
{
	SelectContext context = {relid, NIL, false};
	List *selected = NIL;
	ListCell *cell;

	*exact = NIL;
	if (!clari_enable_pruning)
		return NIL;
	context.attnums = list_concat(columns_from(CLARI_FROM_TIME_PERIOD, tupdesc, columns),
								  columns_from(CLARI_FROM_FORECAST_NAME, tupdesc, columns));
	foreach (cell, restrictinfos)
	{
		RestrictInfo *restrictinfo = lfirst_node(RestrictInfo, cell);
		Node *implied = implied_by((Node *) restrictinfo->clause, &context);

		if (restrictinfo->pseudoconstant || implied == NULL)
			continue;
		selected = lappend(selected, implied);
		if (implied == (Node *) restrictinfo->clause)
			*exact = lappend(*exact, restrictinfo);
	}
	return selected;
}

bool
clari_prune_is_period(Node *expression, Index relid, TupleDesc tupdesc, const ClariColumn *columns)
{
	Var *var = (Var *) strip_implicit_coercions(expression);

	return IsA(var, Var) && var->varno == (int) relid && var->varlevelsup == 0 &&
		   list_member_int(columns_from(CLARI_FROM_TIME_PERIOD, tupdesc, columns), var->varattno);
}

static bool
param_walker(Node *node, bool *executor_only)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param) && (!*executor_only || ((Param *) node)->paramkind == PARAM_EXEC))
		return true;
	return expression_tree_walker(node, param_walker, (void *) executor_only);
}

bool
clari_prune_has_params(Node *expression, bool executor_only)
{
	return param_walker(expression, &executor_only);
}

/* ------- evaluating ------- */

/* Is one side the period itself, and the other what whoever wrote the statement asks for? */
static bool
is_asked_for(Node *column, Node *value, const ClariPrune *prune)
{
	column = strip_implicit_coercions(column);
	value = strip_implicit_coercions(value);
	return IsA(column, Var) && list_member_int(prune->periods, ((Var *) column)->varattno) &&
		   (IsA(value, Const) || (IsA(value, Param) && ((Param *) value)->paramkind == PARAM_EXTERN));
}

/* What a comparison of the period for equality compares it with, if that is a constant or a parameter; or NULL. */
static Expr *
asked_argument(Node *node, const ClariPrune *prune)
{
	Oid equality = InvalidOid;
	List *args = NIL;

	if (IsA(node, OpExpr))
	{
		equality = ((OpExpr *) node)->opno;
		args = ((OpExpr *) node)->args;
	}
	else if (IsA(node, ScalarArrayOpExpr) && ((ScalarArrayOpExpr *) node)->useOr)
	{
		equality = ((ScalarArrayOpExpr *) node)->opno;
		args = ((ScalarArrayOpExpr *) node)->args;
	}
	/* Where the comparison's collation is not byte by byte, what looks like another text may be a quarter. */
	if (equality != TextEqualOperator || !get_collation_isdeterministic(exprInputCollation(node)))
		return NULL;
	if (is_asked_for(linitial(args), lsecond(args), prune))
		return lsecond(args);
	if (is_asked_for(lsecond(args), linitial(args), prune))
		return linitial(args);
	return NULL;
}

/* The same of each expression, and of the arms of an OR. */
static List *
asked_expressions(List *expressions, const ClariPrune *prune, PlanState *parent)
{
	List *asked = NIL;
	ListCell *cell;

	foreach (cell, expressions)
	{
		Node *node = lfirst(cell);
		Expr *argument = asked_argument(node, prune);

		if (is_orclause(node) || is_andclause(node))
			asked = list_concat(asked, asked_expressions(((BoolExpr *) node)->args, prune, parent));
		if (argument != NULL)
			asked = lappend(asked, ExecInitExpr(argument, parent));
	}
	return asked;
}

static Datum
name_datum(const ClariOptions *options)
{
	const char *forecast = options->request.forecast;

	return CStringGetTextDatum(pg_any_to_server(forecast, strlen(forecast), PG_UTF8));
}

ClariPrune *
clari_prune_begin(List *expressions, PlanState *parent, const ClariOptions *options, TupleDesc tupdesc,
				  const ClariColumn *columns)
{
	ClariPrune *prune = palloc0(sizeof(ClariPrune));

	if (expressions == NIL)
		return prune;
	prune->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(tupdesc), &TTSOpsVirtual);
	prune->periods = columns_from(CLARI_FROM_TIME_PERIOD, tupdesc, columns);
	prune->names = columns_from(CLARI_FROM_FORECAST_NAME, tupdesc, columns);
	prune->name = name_datum(options);
	prune->qual = ExecInitQual(expressions, parent);
	if (parent != NULL)
		prune->asked = asked_expressions(expressions, prune, parent);
	return prune;
}

static void
show_in(TupleTableSlot *slot, List *attnums, Datum value)
{
	ListCell *cell;

	foreach (cell, attnums)
	{
		slot->tts_values[lfirst_int(cell) - 1] = value;
		slot->tts_isnull[lfirst_int(cell) - 1] = false;
	}
}

static void
show_period(ClariPrune *prune, ClariPeriod period)
{
	TupleTableSlot *slot = prune->slot;
	char text[CLARI_PERIOD_TEXT_SIZE];

	clari_period_format(period, text);
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	show_in(slot, prune->periods, CStringGetTextDatum(text));
	show_in(slot, prune->names, prune->name);
	ExecStoreVirtualTuple(slot);
}

int
clari_prune_periods(ClariPrune *prune, ExprContext *econtext, ClariPeriod *periods, int count)
{
	TupleTableSlot *saved = econtext->ecxt_scantuple;
	MemoryContext previous;
	int kept = 0;

	if (prune->qual == NULL)
		return count;
	previous = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	econtext->ecxt_scantuple = prune->slot;
	for (int i = 0; i < count; i++)
	{
		show_period(prune, periods[i]);
		if (ExecQual(prune->qual, econtext))
			periods[kept++] = periods[i];
	}
	ExecClearTuple(prune->slot);
	econtext->ecxt_scantuple = saved;
	MemoryContextSwitchTo(previous);
	return kept;
}

/* ------- notices ------- */

static void
notice_outside(const char *asked, const ClariOptions *options, const ClariPeriod *extent, int count)
{
	ClariPeriod period;
	bool is_quarter = clari_period_parse(asked, &period);

	for (int i = 0; is_quarter && i < count; i++)
		if (extent[i] == period)
			return;
	ereport(NOTICE, (errmsg("period \"%s\" is outside of option \"periods\" of foreign table \"%s\"", asked,
							get_rel_name(options->relid)),
					 errdetail("The table shows \"%s\" and nothing else.", options->periods),
					 is_quarter ? errhint("ALTER FOREIGN TABLE ... OPTIONS (SET periods '...') widens it.")
								: errhint("Rows have a fiscal quarter such as 2026_Q1 in time_period.")));
}

static void
notice_value(Datum value, Oid type, const ClariOptions *options, const ClariPeriod *extent, int count)
{
	Datum *elements;
	bool *nulls;
	int n;

	if (!OidIsValid(get_element_type(type)))
	{
		notice_outside(TextDatumGetCString(value), options, extent, count);
		return;
	}
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			notice_outside(TextDatumGetCString(elements[i]), options, extent, count);
}

void
clari_prune_notice(ClariPrune *prune, ExprContext *econtext, const ClariOptions *options, const ClariPeriod *extent,
				   int count)
{
	MemoryContext previous = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	ListCell *cell;

	foreach (cell, prune->asked)
	{
		ExprState *state = lfirst(cell);
		bool isnull;
		Datum value = ExecEvalExpr(state, econtext, &isnull);

		if (!isnull)
			notice_value(value, exprType((Node *) state->expr), options, extent, count);
	}
	MemoryContextSwitchTo(previous);
}
