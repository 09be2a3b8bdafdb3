/*
 * prune.c
 *		Which quarters can satisfy a scan's quals: see prune.h.
 *
 * Runs in sessions.
 */
#include "postgres.h"

#include "plan/prune.h"

#include "options/columns.h"
#include "plan/internal.h"
#include "session/export.h"

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
#include "utils/guc.h"
#include "utils/lsyscache.h"

static bool enable_pruning = true; /* the setting clari_fdw.enable_pruning */

struct ClariPrune
{
	const ClariOptions *options;
	TupleTableSlot *slot; /* a row with the period and the forecast's name; all other columns are NULL */
	List *periods;        /* attribute numbers of the columns that show the period */
	List *names;          /* attribute numbers of the columns that show the forecast's name */
	Datum name;           /* the forecast's name, a text */
	ExprState *qual;      /* all expressions together; NULL if there are none */
	List *asked; /* ExprStates of the constants and statement parameters to which = or IN compares the period */
};

void
clari_prune_init(void)
{
	DefineCustomBoolVariable("clari_fdw.enable_pruning", "Reads only the quarters that a query's conditions leave.",
							 "Off, every quarter of a foreign table is exported, and its rows are checked one by one.",
							 &enable_pruning, true, PGC_USERSET, GUC_EXPLAIN, NULL, NULL, NULL);
}

/* ------- selecting clauses ------- */

/* Does the column show a text of up to this many bytes unchanged, and compare it byte by byte? */
static bool
shows_text(Form_pg_attribute attribute, int longest)
{
	int32 typmod = attribute->atttypmod;
	Oid type = getBaseTypeAndTypmod(attribute->atttypid, &typmod);

	return (type == TEXTOID || type == VARCHAROID) && (typmod == -1 || typmod - VARHDRSZ >= longest) &&
		   clari_columns_is_bytewise(attribute->attcollation);
}

/* The attribute numbers of the columns that show the period. */
static List *
period_columns(const ClariOptions *options, TupleDesc tupdesc, const ClariColumn *columns)
{
	int longest = clari_columns_by_quarter(options) ? CLARI_PERIOD_TEXT_SIZE - 1 : CLARI_PERIOD_ID_SIZE - 1;
	List *attnums = NIL;

	for (int i = 0; i < tupdesc->natts; i++)
		if (!TupleDescAttr(tupdesc, i)->attisdropped && clari_columns_is_period(options, &columns[i]) &&
			shows_text(TupleDescAttr(tupdesc, i), longest))
			attnums = lappend_int(attnums, i + 1);
	return attnums;
}

/* The attribute numbers of the columns that show the forecast's name. */
static List *
name_columns(TupleDesc tupdesc, const ClariColumn *columns)
{
	List *attnums = NIL;

	for (int i = 0; i < tupdesc->natts; i++)
		if (!TupleDescAttr(tupdesc, i)->attisdropped && columns[i].source == CLARI_FROM_FORECAST_NAME &&
			shows_text(TupleDescAttr(tupdesc, i), CLARI_NAME_SIZE))
			attnums = lappend_int(attnums, i + 1);
	return attnums;
}

typedef struct SelectContext
{
	Index relid;
	List *attnums;
	bool found; /* the expression refers to a column of the relation */
} SelectContext;

/* Is the type a string type, or an array of one? */
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
 * Must this function be called only for actual rows?  Pruning calls a condition's
 * functions for every quarter of the extent, including those without rows.
 * Functions that are not built in are ruled out, since they may have side effects
 * or raise any error.  Built-in functions that are leakproof raise no error, and
 * those that turn strings into a string, an integer or a boolean hardly ever do.
 * Others, such as divisions and casts, may raise errors that no row would cause.
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

/* Is a node of this type fully described by its arguments and functions, so that checking these is enough? */
static bool
is_transparent(Node *node)
{
	switch (nodeTag(node))
	{
		case T_Const:
		case T_Param:
		case T_RelabelType:
		case T_CoerceViaIO:
		case T_ArrayCoerceExpr:
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
		case T_PlaceHolderVar:
		case T_List:
			return true;
		case T_SubscriptingRef:
			/* Fetching an array's element never raises an error: a subscript out of range gives NULL. */
			return OidIsValid(get_element_type(((SubscriptingRef *) node)->refcontainertype)) &&
				   ((SubscriptingRef *) node)->refassgnexpr == NULL;
		default:
			return false;
	}
}

typedef struct VaryContext
{
	Index relid;
	bool tests; /* a CaseTestExpr stands for an expression that is checked elsewhere */
} VaryContext;

static bool varies(Node *node, VaryContext *context);

/*
 * Like varies(), for a node in which a CaseTestExpr stands for an argument that
 * the caller checks: a condition of a CASE with an argument, or the cast of an
 * array's elements.
 */
static bool
tests_vary(Node *node, const VaryContext *context)
{
	VaryContext within = {context->relid, true};

	return varies(node, &within);
}

static bool
case_varies(CaseExpr *expression, VaryContext *context)
{
	ListCell *cell;

	if (varies((Node *) expression->arg, context) || varies((Node *) expression->defresult, context))
		return true;
	foreach (cell, expression->args)
	{
		CaseWhen *when = lfirst_node(CaseWhen, cell);
		Node *test = (Node *) when->expr;

		if (varies((Node *) when->result, context) ||
			(expression->arg != NULL ? tests_vary(test, context) : varies(test, context)))
			return true;
	}
	return false;
}

/*
 * May the expression's value differ between the rows of one scan, or can the scan
 * not compute it without a row?  A SubPlan always counts as varying, since the
 * node does not tell whether its query is volatile.
 */
static bool
varies(Node *node, VaryContext *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_Var:
			return ((Var *) node)->varlevelsup != 0 || ((Var *) node)->varno == (int) context->relid;
		case T_Param:
			return ((Param *) node)->paramkind != PARAM_EXTERN && ((Param *) node)->paramkind != PARAM_EXEC;
		case T_CaseTestExpr:
			return !context->tests;
		case T_CaseExpr:
			return case_varies((CaseExpr *) node, context);
		case T_ArrayCoerceExpr:
			return varies((Node *) ((ArrayCoerceExpr *) node)->arg, context) ||
				   tests_vary((Node *) ((ArrayCoerceExpr *) node)->elemexpr, context);
		case T_SubLink:
		case T_SubPlan:
		case T_AlternativeSubPlan:
		case T_Aggref:
		case T_GroupingFunc:
		case T_WindowFunc:
		case T_CurrentOfExpr:
		case T_CoerceToDomainValue:
		case T_SetToDefault:
			return true;
		default:
			return expression_tree_walker(node, varies, (void *) context);
	}
}

/*
 * Must the expression be evaluated for actual rows?  This is so if it depends on
 * more of a row than the period and the forecast's name, or if something that it
 * computes from these may raise an error.
 */
static bool
cannot_prune(Node *node, SelectContext *context)
{
	VaryContext rows = {context->relid, false};

	if (!varies(node, &rows))
		return false;
	if (IsA(node, Var))
	{
		context->found = true;
		return ((Var *) node)->varlevelsup != 0 || !list_member_int(context->attnums, ((Var *) node)->varattno);
	}
	/* The expression that a CaseTestExpr stands for is checked where it is the argument. */
	if (IsA(node, CaseTestExpr))
		return false;
	/* A Param that varies is of a kind that no scan can evaluate. */
	return IsA(node, Param) || !is_transparent(node) || check_functions_in_node(node, is_for_rows_only, NULL) ||
		   expression_tree_walker(node, cannot_prune, (void *) context);
}

static bool
has_collation(Node *node, void *context)
{
	if (node == NULL || IsA(node, List))
		return expression_tree_walker(node, has_collation, context);
	return OidIsValid(exprCollation(node));
}

/* Can the expression be compared with this collation?  InvalidOid will do only if its type has no collation. */
static bool
compares_with(Oid collation, Node *node)
{
	return OidIsValid(collation) || !has_collation(node, NULL);
}

/* Do the collations of the node's arguments conflict, so that it has no collation to compare them with? */
static bool
is_collation_conflict(Node *node)
{
	switch (nodeTag(node))
	{
		case T_OpExpr:
		case T_DistinctExpr:
		case T_NullIfExpr:
		case T_ScalarArrayOpExpr:
		case T_FuncExpr:
		case T_MinMaxExpr:
			return !OidIsValid(exprInputCollation(node)) && expression_tree_walker(node, has_collation, NULL);
		case T_RowCompareExpr:
		{
			RowCompareExpr *row = (RowCompareExpr *) node;

			for (int i = 0; i < list_length(row->largs); i++)
				if (!compares_with(list_nth_oid(row->inputcollids, i), list_nth(row->largs, i)))
					return true;
			return false;
		}
		default:
			return false;
	}
}

/*
 * Is there a collation conflict in the node or anywhere below it?  Most functions
 * raise an error if they are called without the collation that they need, which
 * must not happen unless there is a row.
 */
static bool
has_collation_conflict(Node *node, void *context)
{
	if (node == NULL)
		return false;
	return is_collation_conflict(node) || expression_tree_walker(node, has_collation_conflict, context);
}

/*
 * Can the expression be evaluated for a quarter, without a row?  Sets
 * context->found if it refers to the period or the forecast's name.
 */
static bool
is_decidable(Node *node, SelectContext *context)
{
	context->found = false;
	return !cannot_prune(node, context) && !contain_volatile_functions(node) && !has_collation_conflict(node, NULL);
}

static Node *implied_by(Node *node, SelectContext *context);

/*
 * The condition that the arms of an AND or OR imply, or NULL.  Arms of an AND that
 * imply nothing are left out; in an OR, every arm must imply something.
 */
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

/* A condition on only the period and the forecast's name that is true whenever the expression is, or NULL. */
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
clari_prune_select(List *restrictinfos, Index relid, const ClariOptions *options, TupleDesc tupdesc,
				   const ClariColumn *columns, List **exact)
{
	SelectContext context = {relid, NIL, false};
	List *selected = NIL;
	ListCell *cell;

	*exact = NIL;
	if (!enable_pruning)
		return NIL;
	context.attnums = list_concat(period_columns(options, tupdesc, columns), name_columns(tupdesc, columns));
	foreach (cell, restrictinfos)
	{
		RestrictInfo *restrictinfo = lfirst_node(RestrictInfo, cell);
		Node *implied = implied_by((Node *) restrictinfo->clause, &context);

		if (restrictinfo->pseudoconstant || implied == NULL || !is_decidable(implied, &context) || !context.found)
			continue;
		selected = lappend(selected, implied);
		if (implied == (Node *) restrictinfo->clause && clari_columns_by_quarter(options))
			*exact = lappend(*exact, restrictinfo);
	}
	return selected;
}

bool
clari_prune_is_of_period(Node *expression, Index relid, const ClariOptions *options, TupleDesc tupdesc,
						 const ClariColumn *columns)
{
	SelectContext context = {relid, period_columns(options, tupdesc, columns), false};

	return is_decidable(expression, &context) && context.found;
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

/* What a function takes as arguments. */
typedef struct Takes
{
	bool text; /* an argument is a string, or of a type that accepts one */
	bool time; /* an argument is a date, time, timestamp or interval; or there are no arguments, as for now() */
} Takes;

static Oid
result_of(Oid function, Takes *takes)
{
	bool preferred;
	char category;
	Oid *types;
	int count;
	Oid result = get_func_signature(function, &types, &count);

	*takes = (Takes){false, count == 0};
	for (int i = 0; i < count; i++)
	{
		get_type_category_preferred(types[i], &category, &preferred);
		takes->text |= types[i] == CSTRINGOID || types[i] == ANYOID || is_string(types[i]);
		takes->time |= category == TYPCATEGORY_DATETIME || category == TYPCATEGORY_TIMESPAN;
	}
	return result;
}

/*
 * May the call raise an error for some parameter values?  Output functions,
 * comparisons, now() and computations from dates do not, unless a parameter names
 * the field or the time zone of such a computation.  Functions that parse text,
 * and arithmetic on parameters, may: it may divide by zero or overflow.
 */
static bool
may_fail(Oid function, void *call)
{
	bool preferred;
	char category;
	Takes takes;
	Oid result;

	if (function >= FirstUnpinnedObjectId)
		return true;
	result = result_of(function, &takes);
	if (result == CSTRINGOID || result == BOOLOID || !is_for_rows_only(function, NULL))
		return false;
	if (takes.time)
		return takes.text && is_funcclause(call) && clari_prune_has_params(linitial(((FuncExpr *) call)->args), false);
	if (is_string(result))
		return !takes.text;
	get_type_category_preferred(result, &category, &preferred);
	return category != TYPCATEGORY_NUMERIC || takes.text || clari_prune_has_params(call, false);
}

static bool
safety_walker(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (!IsA(node, Var) && !is_transparent(node))
		return true;
	return check_functions_in_node(node, may_fail, node) || expression_tree_walker(node, safety_walker, context);
}

bool
clari_prune_is_safe(Node *expression)
{
	return !safety_walker(expression, NULL);
}

/* ------- evaluating ------- */

/* Is column a column that shows the period, and value a constant or a parameter of the statement? */
static bool
is_asked_for(Node *column, Node *value, const ClariPrune *prune)
{
	column = strip_implicit_coercions(column);
	value = strip_implicit_coercions(value);
	return IsA(column, Var) && list_member_int(prune->periods, ((Var *) column)->varattno) &&
		   (IsA(value, Const) || (IsA(value, Param) && ((Param *) value)->paramkind == PARAM_EXTERN));
}

/* The constant or statement parameter to which a condition compares the period with = or IN; NULL if it does not. */
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
	/* Unless texts are compared byte by byte, a text that is no period, such as "2026_q1", may equal one. */
	if (equality != TextEqualOperator || !clari_columns_is_bytewise(exprInputCollation(node)))
		return NULL;
	if (is_asked_for(linitial(args), lsecond(args), prune))
		return lsecond(args);
	if (is_asked_for(lsecond(args), linitial(args), prune))
		return linitial(args);
	return NULL;
}

/* ExprStates of the asked_argument() of each expression, and of the arms of AND and OR. */
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

/*
 * Replaces PlaceHolderVars by their expressions.  The executor cannot evaluate
 * them; in a finished plan, the planner has replaced them already.
 */
static Node *
without_placeholders(Node *node, void *context)
{
	if (node != NULL && IsA(node, PlaceHolderVar))
		return without_placeholders((Node *) ((PlaceHolderVar *) node)->phexpr, context);
	return expression_tree_mutator(node, without_placeholders, context);
}

static Datum
name_datum(const ClariOptions *options)
{
	const char *name = options->forecast_name;

	return CStringGetTextDatum(pg_any_to_server(name, strlen(name), PG_UTF8));
}

ClariPrune *
clari_prune_begin(List *expressions, PlanState *parent, const ClariOptions *options, TupleDesc tupdesc,
				  const ClariColumn *columns)
{
	ClariPrune *prune = palloc0(sizeof(ClariPrune));

	if (expressions == NIL)
		return prune;
	prune->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(tupdesc), &TTSOpsVirtual);
	prune->options = options;
	prune->periods = period_columns(options, tupdesc, columns);
	prune->names = name_columns(tupdesc, columns);
	prune->name = name_datum(options);
	if (parent == NULL)
		expressions = (List *) without_placeholders((Node *) expressions, NULL);
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
show_period(ClariPrune *prune, const char *text)
{
	TupleTableSlot *slot = prune->slot;

	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	show_in(slot, prune->periods, CStringGetTextDatum(text));
	show_in(slot, prune->names, prune->name);
	ExecStoreVirtualTuple(slot);
}

/* May a row of the quarter's export satisfy the conditions?  True if the ids of its months or years are not known. */
static bool
may_have_rows(ClariPrune *prune, ExprContext *econtext, ClariPeriod quarter, const ClariNumbering *numbering)
{
	char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE];
	int count;

	if (clari_columns_by_quarter(prune->options))
	{
		clari_period_format(quarter, ids[0]);
		count = 1;
	}
	else
		count = clari_numbering_ids(numbering, prune->options->period_type, quarter, ids);
	for (int i = 0; i < count; i++)
	{
		show_period(prune, ids[i]);
		if (ExecQual(prune->qual, econtext))
			return true;
	}
	return count == 0;
}

int
clari_prune_periods(ClariPrune *prune, ExprContext *econtext, ClariPeriod *periods, int count)
{
	TupleTableSlot *saved = econtext->ecxt_scantuple;
	ClariNumbering numbering;
	MemoryContext previous;
	int kept = 0;

	if (prune->qual == NULL)
		return count;
	if (!clari_columns_by_quarter(prune->options))
		clari_export_numbering(prune->options, &numbering);
	previous = MemoryContextSwitchTo(econtext->ecxt_per_tuple_memory);
	econtext->ecxt_scantuple = prune->slot;
	for (int i = 0; i < count; i++)
		if (may_have_rows(prune, econtext, periods[i], &numbering))
			periods[kept++] = periods[i];
	ExecClearTuple(prune->slot);
	econtext->ecxt_scantuple = saved;
	MemoryContextSwitchTo(previous);
	return kept;
}

/* ------- notices ------- */

/* Can the table show rows of the period?  True if the ids of the months or years of its quarters are not known. */
static bool
may_show(const ClariOptions *options, const char *asked, const ClariPeriod *extent, int count)
{
	ClariNumbering numbering;
	ClariPeriod period;
	bool is_quarter = clari_period_parse(asked, &period);

	if (!clari_columns_by_quarter(options))
		clari_export_numbering(options, &numbering);
	for (int i = 0; i < count; i++)
	{
		char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE];
		int nids;

		if (clari_columns_by_quarter(options))
		{
			if (is_quarter && extent[i] == period)
				return true;
			continue;
		}
		nids = clari_numbering_ids(&numbering, options->period_type, extent[i], ids);
		if (nids == 0)
			return true;
		for (int k = 0; k < nids; k++)
			if (strcmp(ids[k], asked) == 0)
				return true;
	}
	return false;
}

static void
notice_outside(const char *asked, const ClariOptions *options, const ClariPeriod *extent, int count)
{
	ClariPeriodType type = clari_columns_by_quarter(options) ? CLARI_QUARTERS : options->period_type;
	ClariPeriodName name;

	if (may_show(options, asked, extent, count))
		return;
	(void) clari_period_name_of_id(asked, strlen(asked), &name);
	ereport(NOTICE, (errmsg("period \"%s\" is outside option \"periods\" of foreign table \"%s\"", asked,
							get_rel_name(options->relid)),
					 errdetail("The table shows only \"%s\".", options->periods),
					 name.type == type ? errhint("Use ALTER FOREIGN TABLE ... OPTIONS (%s periods '...') to extend it.",
												 options->has_periods ? "SET" : "ADD")
					 : type == CLARI_QUARTERS
						 ? errhint("Rows have a fiscal quarter such as 2026_Q1 in time_period.")
						 : errhint("Rows have a %s such as %s in time_period.", clari_period_type_names[type],
								   type == CLARI_MONTHS ? "2026_M01" : "2026")));
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
