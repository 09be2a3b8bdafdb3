/*
 * scan.c
 *		Executing a scan: begin, iterate, rescan, end.
 *
 * Runs in sessions.  Rowsets come from fetch, Datums from cells; what is freed
 * here is freed by the executor's memory context, also after an error.
 */
#include "postgres.h"

#include "scan.h"

#include "cells.h"
#include "columns.h"
#include "compat.h"
#include "fetch.h"
#include "plan.h"
#include "prune.h"

#include "executor/executor.h"
#include "miscadmin.h"
#include "parser/parsetree.h"
#include "utils/memutils.h"
#include "utils/rel.h"

/* ForeignScanState.fdw_state */
typedef struct ClariScanState
{
	ForeignScanState *node;
	ClariOptions *options;
	ClariPrune *prune;
	bool authenticated;
	bool depends;      /* the periods depend on values that execution sets */
	bool noticed;      /* constants outside of the extent were reported */
	ClariFetch *fetch; /* NULL under EXPLAIN */
	ClariCells *cells;
	ClariReader *reader; /* being read, or NULL */
	bool done;
} ClariScanState;

/* ClariChooser: narrows the extent down by the scan's quals. */
static int
choose_periods(void *arg, ClariPeriod *periods, int count)
{
	ClariScanState *state = arg;
	ExprContext *econtext = state->node->ss.ps.ps_ExprContext;

	if (!state->noticed)
		clari_prune_notice(state->prune, econtext, state->options, periods, count);
	state->noticed = true;
	return clari_prune_periods(state->prune, econtext, periods, count);
}

/* The role whose user mapping is used: a view's owner, or the current user. */
static Oid
scan_user(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	RangeTblEntry *rte = exec_rt_fetch(plan->scan.scanrelid, node->ss.ps.state);

	Oid user = clari_scan_check_as_user(plan, rte);

	return OidIsValid(user) ? user : GetUserId();
}

void
clariBeginForeignScan(ForeignScanState *node, int eflags)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	TupleDesc tupdesc = RelationGetDescr(node->ss.ss_currentRelation);
	ClariScanState *state = palloc0(sizeof(ClariScanState));
	bool explain_only = (eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0;
	ClariColumn *columns;

	node->fdw_state = state;
	state->node = node;
	state->options = clari_options_get(RelationGetRelid(node->ss.ss_currentRelation));
	state->authenticated = clari_options_authenticate(state->options, scan_user(node), explain_only);
	columns = clari_columns_map(state->options->relid, state->options->object, tupdesc);
	state->prune = clari_prune_begin(plan->fdw_exprs, &node->ss.ps, tupdesc, columns);
	state->depends = clari_prune_has_params((Node *) plan->fdw_exprs, true);
	if (explain_only)
		return;
	state->cells = clari_cells_begin(state->options, tupdesc, list_nth(plan->fdw_private, CLARI_PLAN_NEEDED));
	memset(node->ss.ss_ScanTupleSlot->tts_isnull, true, sizeof(bool) * tupdesc->natts);
	state->fetch = clari_fetch_begin(clari_fetch_statement(node->ss.ps.state->es_query_cxt), state->options,
									 !state->depends, choose_periods, state);
}

TupleTableSlot *
clariIterateForeignScan(ForeignScanState *node)
{
	ClariScanState *state = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	while (!state->done)
	{
		if (state->reader != NULL && clari_cells_next(state->cells, slot))
			return slot;
		state->reader = clari_fetch_next(state->fetch);
		if (state->reader == NULL)
			state->done = true;
		else
			clari_cells_open(state->cells, state->reader);
	}
	return ExecClearTuple(slot);
}

void
clariReScanForeignScan(ForeignScanState *node)
{
	ClariScanState *state = node->fdw_state;

	state->reader = NULL;
	state->done = false;
	clari_fetch_rescan(state->fetch, state->depends);
}

void
clariEndForeignScan(ForeignScanState *node pg_attribute_unused())
{
	/* Readers and memory belong to the statement's context, which goes next. */
}

const ClariOptions *
clari_scan_describe(ForeignScanState *node, ClariPeriod *periods, int *count, bool *authenticated)
{
	ClariScanState *state = node->fdw_state;
	ClariPeriod current = CLARI_PERIOD_NONE;

	*authenticated = state->authenticated;
	*count = -1;
	if (clari_extent_is_relative(&state->options->extent))
	{
		if (state->authenticated)
			current = clari_wanted_current(state->options);
		if (current == CLARI_PERIOD_NONE)
			return state->options;
	}
	*count = clari_extent_expand(&state->options->extent, current, periods);
	/* Values that execution sets are not there to be asked for. */
	if (!state->depends)
		*count = clari_prune_periods(state->prune, node->ss.ps.ps_ExprContext, periods, *count);
	return state->options;
}
