/*
 * prune.c
 *		Which quarters can satisfy a scan's quals: see prune.h.
 *
 * Runs in sessions.  Decides nothing about rows: every qual is checked again by
 * the executor.
 */
#include "postgres.h"

#include "prune.h"

#include "access/transam.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

struct ClariPrune
{
	TupleTableSlot *slot; /* one row of NULLs but for the period */
	List *attnums;        /* of the columns that show it */
	ExprState *qual;      /* NULL: nothing to check */
	List *asked;          /* ExprState of each right-hand side of = and IN */
};

/* ------- selecting clauses ------- */

/* A column that shows the period as it is, and compares it byte by byte. */
static bool
shows_period(Form_pg_attribute attribute, const ClariColumn *column)
{
	int32 typmod = attribute->atttypmod;
	Oid type;

	if (attribute->attisdropped || column->source != CLARI_FROM_TIME_PERIOD)
		return false;
	type = getBaseTypeAndTypmod(attribute->atttypid, &typmod);
	return (type == TEXTOID || type == VARCHAROID) &&
		   (typmod == -1 || typmod - VARHDRSZ >= CLARI_PERIOD_TEXT_SIZE - 1) && OidIsValid(attribute->attcollation) &&
		   get_collation_isdeterministic(attribute->attcollation);
}

static List *
period_attnums(TupleDesc tupdesc, const ClariColumn *columns)
{
	List *attnums = NIL;

	for (int i = 0; i < tupdesc->natts; i++)
		if (shows_period(TupleDescAttr(tupdesc, i), &columns[i]))
			attnums = lappend_int(attnums, i + 1);
	return attnums;
}

typedef struct SelectContext
{
	Index relid;
	List *attnums;
	bool found; /* a Var of the period */
} SelectContext;

/* Other people's functions may have their own mind about being called for quarters of the extent. */
static bool
is_foreign_function(Oid function, void *context pg_attribute_unused())
{
	return function >= FirstUnpinnedObjectId;
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

		if (var->varno != (int) context->relid || var->varlevelsup != 0 ||
			!list_member_int(context->attnums, var->varattno))
			return true;
		context->found = true;
		return false;
	}
	switch (nodeTag(node))
	{
		case T_Const:
		case T_RelabelType:
		case T_OpExpr:
		case T_ScalarArrayOpExpr:
		case T_BoolExpr:
		case T_NullTest:
		case T_BooleanTest:
		case T_FuncExpr:
		case T_ArrayExpr:
		case T_List:
			break;
		case T_Param:
			if (((Param *) node)->paramkind != PARAM_EXTERN && ((Param *) node)->paramkind != PARAM_EXEC)
				return true;
			break;
		default:
			return true;
	}
	if (check_functions_in_node(node, is_foreign_function, NULL))
		return true;
	return expression_tree_walker(node, cannot_prune, (void *) context);
}

List *
clari_prune_select(List *restrictinfos, Index relid, TupleDesc tupdesc, const ClariColumn *columns)
{
	SelectContext context = {relid, period_attnums(tupdesc, columns), false};
	List *selected = NIL;
	ListCell *cell;

	if (context.attnums == NIL)
		return NIL;
	foreach (cell, restrictinfos)
	{
		RestrictInfo *restrictinfo = lfirst_node(RestrictInfo, cell);

		context.found = false;
		if (!restrictinfo->pseudoconstant && !cannot_prune((Node *) restrictinfo->clause, &context) && context.found &&
			!contain_volatile_functions((Node *) restrictinfo->clause))
			selected = lappend(selected, restrictinfo);
	}
	return selected;
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

/* What a comparison of the period itself for equality compares it with, if that is a constant or a parameter; or NULL. */
static Expr *
asked_argument(Node *node)
{
	Oid equality = InvalidOid;
	List *args = NIL;
	Node *left;
	Node *right;

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
	left = strip_implicit_coercions(linitial(args));
	right = strip_implicit_coercions(lsecond(args));
	if (IsA(left, Var) && (IsA(right, Const) || IsA(right, Param)))
		return lsecond(args);
	if (IsA(right, Var) && (IsA(left, Const) || IsA(left, Param)))
		return linitial(args);
	return NULL;
}

/* The same of each expression, and of the arms of an OR. */
static List *
asked_expressions(List *expressions, PlanState *parent)
{
	List *asked = NIL;
	ListCell *cell;

	foreach (cell, expressions)
	{
		Node *node = lfirst(cell);
		Expr *argument = asked_argument(node);

		if (is_orclause(node) || is_andclause(node))
			asked = list_concat(asked, asked_expressions(((BoolExpr *) node)->args, parent));
		if (argument != NULL)
			asked = lappend(asked, ExecInitExpr(argument, parent));
	}
	return asked;
}

ClariPrune *
clari_prune_begin(List *expressions, PlanState *parent, TupleDesc tupdesc, const ClariColumn *columns)
{
	ClariPrune *prune = palloc0(sizeof(ClariPrune));

	if (expressions == NIL)
		return prune;
	prune->slot = MakeSingleTupleTableSlot(CreateTupleDescCopy(tupdesc), &TTSOpsVirtual);
	prune->attnums = period_attnums(tupdesc, columns);
	prune->qual = ExecInitQual(expressions, parent);
	if (parent != NULL)
		prune->asked = asked_expressions(expressions, parent);
	return prune;
}

static void
show_period(ClariPrune *prune, ClariPeriod period)
{
	TupleTableSlot *slot = prune->slot;
	char text[CLARI_PERIOD_TEXT_SIZE];
	ListCell *cell;

	clari_period_format(period, text);
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	foreach (cell, prune->attnums)
	{
		slot->tts_values[lfirst_int(cell) - 1] = CStringGetTextDatum(text);
		slot->tts_isnull[lfirst_int(cell) - 1] = false;
	}
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
