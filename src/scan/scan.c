/*
 * scan.c
 *		Executing a scan: begin, iterate, rescan, end.
 *
 * Runs in sessions and parallel workers.  Rowsets come from session/fetch.h, Datums
 * from cells.c.  Whatever is allocated here is freed with the executor's memory
 * context, even after an error.
 */
#include "postgres.h"

#include "scan/scan.h"

#include "base/report.h"
#include "options/columns.h"
#include "plan/plan.h"
#include "plan/prune.h"
#include "scan/internal.h"
#include "session/fetch.h"
#include "session/handed.h"
#include "compat.h"

#include "access/parallel.h"
#include "access/relation.h"
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
	int ncolumns; /* number of columns of the foreign table, which a counting scan's counts follow */
	ClariPrune *prune;
	ClariFilter *filter; /* NULL if the plan has no filters */
	bool authenticated;  /* the user mapping has an API key */
	bool depends;        /* the choice of periods depends on parameters that are set during execution */
	bool filter_depends; /* the values that the filter looks for depend on such parameters */
	bool safe;           /* clari_prune_is_safe() is true for the pruning expressions */
	bool noticed;        /* notices of periods outside of the extent were raised, or must not be */
	bool evaluated;      /* the filter was evaluated since the last rescan */
	ClariFetch *fetch;   /* NULL under EXPLAIN, and in a parallel worker */
	ClariCells *cells;   /* NULL under EXPLAIN, and in a counting scan */
	bool reading;        /* a rowset is open, or in a parallel scan a group of one */
	bool done;

	/* The chosen periods, unless they depend on parameters that are set during execution. */
	ClariPeriod *chosen; /* NULL if none were chosen yet */
	int nchosen;

	/* These are used in a parallel scan. */
	ClariParallel *parallel; /* NULL if the scan is not parallel, or was shut down */
	ClariReader **readers;   /* by offered rowset: its reader; NULL if this process has not opened it */
	int nreaders;            /* in the leader: how many rowsets are offered */
	int rowset;              /* the index of the open rowset, or -1 */
	ClariCellsUse counted;   /* the part of this process's use that is already in the shared counters */
	ClariCellsUse total;     /* the use of all participants, after shutdown */
} ClariScanState;

/* Keeps the periods for EXPLAIN ANALYZE, which must not evaluate conditions after the query has ended. */
static void
remember_chosen(ClariScanState *state, const ClariPeriod *periods, int count)
{
	if (state->chosen == NULL)
		state->chosen =
			MemoryContextAlloc(state->node->ss.ps.state->es_query_cxt, sizeof(ClariPeriod) * CLARI_EXTENT_MAX_PERIODS);
	memcpy(state->chosen, periods, sizeof(ClariPeriod) * count);
	state->nchosen = count;
}

/* ClariChooser: prunes the extent by the scan's quals. */
static int
choose_periods(void *arg, ClariPeriod *periods, int count, bool trial)
{
	ClariScanState *state = arg;
	ExprContext *econtext = state->node->ss.ps.ps_ExprContext;

	if (trial)
		return clari_prune_periods(state->prune, econtext, periods, count);
	if (!state->noticed)
		clari_prune_notice(state->prune, econtext, state->options, periods, count);
	state->noticed = true;
	count = clari_prune_periods(state->prune, econtext, periods, count);
	if (!state->depends)
		remember_chosen(state, periods, count);
	return count;
}

bool
clari_scan_counts(ForeignScanState *node)
{
	return ((ForeignScan *) node->ss.ps.plan)->scan.scanrelid == 0;
}

/* The foreign table that is scanned, or whose rows are counted. */
static RangeTblEntry *
scanned_table(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	Index relid = plan->scan.scanrelid;

	if (clari_scan_counts(node))
		relid = (Index) bms_singleton_member(clari_scan_relids(plan));
	return exec_rt_fetch(relid, node->ss.ps.state);
}

/* The columns of the scanned or counted table. */
static TupleDesc
table_columns(ForeignScanState *node)
{
	TupleDesc columns;
	Relation relation;

	if (!clari_scan_counts(node))
		return RelationGetDescr(node->ss.ss_currentRelation);
	relation = relation_open(scanned_table(node)->relid, NoLock); /* the executor has the lock */
	columns = CreateTupleDescCopy(RelationGetDescr(relation));
	relation_close(relation, NoLock);
	return columns;
}

/* The role whose user mapping is used: the owner of the view that the scan is in, or the current user. */
static Oid
scan_user(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	RangeTblEntry *rte = scanned_table(node);

	Oid user = clari_scan_check_as_user(plan, rte);

	return OidIsValid(user) ? user : GetUserId();
}

/*
 * The context of the statement that the scan belongs to.  EvalPlanQual runs the plan
 * again in a state of its own, but must read the versions that the statement reads.
 */
static MemoryContext
statement_context(ForeignScanState *node)
{
	EState *estate = node->ss.ps.state;

	while (estate->es_epq_active != NULL)
		estate = estate->es_epq_active->parentestate;
	return estate->es_query_cxt;
}

/* Splits fdw_exprs, in which clariGetForeignPlan() has put the pruning expressions before the filters. */
static void
begin_quals(ClariScanState *state, TupleDesc tupdesc)
{
	ForeignScan *plan = (ForeignScan *) state->node->ss.ps.plan;
	PlanState *parent = &state->node->ss.ps;
	int npruning = intVal(list_nth(plan->fdw_private, CLARI_PLAN_PRUNING));
	List *pruning = list_truncate(list_copy(plan->fdw_exprs), npruning);
	ClariColumn *columns = clari_columns_map(state->options, tupdesc);

	state->prune = clari_prune_begin(pruning, parent, state->options, tupdesc, columns);
	state->depends = clari_prune_has_params((Node *) pruning, true);
	state->safe = clari_prune_is_safe((Node *) pruning);
	state->noticed = intVal(list_nth(plan->fdw_private, CLARI_PLAN_CHILD)) != 0;
	state->filter = clari_filter_begin(list_copy_tail(plan->fdw_exprs, npruning), parent, columns);
	state->filter_depends = clari_prune_has_params((Node *) list_copy_tail(plan->fdw_exprs, npruning), true);
}

/* Begins to fetch the versions that were handed over to the statement, or else those that the cache has. */
static ClariFetch *
begin_fetch(ClariScanState *state)
{
	EState *estate = state->node->ss.ps.state;
	ClariStatement *statement = clari_fetch_statement(statement_context(state->node));
	ClariHanded *handed = clari_handed_find(estate->es_queryEnv, state->options->relid);

	if (handed == NULL)
		return clari_fetch_begin(statement, state->options, !state->depends && state->safe, choose_periods, state);
	handed->read = true;
	return clari_fetch_begin_handed(statement, handed->readers, handed->count);
}

static void
begin_cells(ClariScanState *state, TupleDesc tupdesc)
{
	ForeignScan *plan = (ForeignScan *) state->node->ss.ps.plan;

	state->cells = clari_cells_begin(state->options, tupdesc, list_nth(plan->fdw_private, CLARI_PLAN_NEEDED),
									 state->filter, state->depends || state->filter_depends);
}

void
clariBeginForeignScan(ForeignScanState *node, int eflags)
{
	TupleDesc tupdesc = table_columns(node);
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;
	ClariScanState *state = palloc0(sizeof(ClariScanState));
	bool explain_only = (eflags & EXEC_FLAG_EXPLAIN_ONLY) != 0;

	node->fdw_state = state;
	state->node = node;
	state->rowset = -1;
	state->ncolumns = tupdesc->natts;
	state->options = clari_options_get(scanned_table(node)->relid);
	if (!IsParallelWorker())
		state->authenticated = clari_options_authenticate(state->options, scan_user(node), explain_only);
	begin_quals(state, tupdesc);
	if (explain_only)
		return;
	if (!clari_scan_counts(node))
		begin_cells(state, tupdesc);
	memset(slot->tts_isnull, true, sizeof(bool) * slot->tts_tupleDescriptor->natts);
	if (!IsParallelWorker())
		state->fetch = begin_fetch(state);
}

/* ------- rows ------- */

/* This process's reader of an offered rowset.  Raises an error if the leader's version no longer exists. */
static ClariReader *
participant_reader(ClariScanState *state, int rowset)
{
	ClariError error;

	if (state->readers[rowset] == NULL)
		state->readers[rowset] = clari_reader_open(clari_parallel_version(state->parallel, rowset),
												   state->node->ss.ps.state->es_query_cxt, &error);
	if (state->readers[rowset] == NULL)
	{
		clari_error_hint(&error, "Run the query again.");
		clari_error_report(ERROR, &error);
	}
	return state->readers[rowset];
}

/* Adds this process's use since the last call to the shared counters. */
static void
count_use(ClariScanState *state)
{
	ClariCellsUse use = *clari_cells_use(state->cells);
	ClariCellsUse more = {use.bytes - state->counted.bytes, use.skipped - state->counted.skipped};

	clari_parallel_count(state->parallel, &more);
	state->counted = use;
}

/* Claims and opens a group for this participant; false if none is left. */
static bool
open_claimed(ClariScanState *state)
{
	int rowset;
	int group;

	count_use(state);
	if (!clari_parallel_claim(state->parallel, &rowset, &group))
		return false;
	if (rowset != state->rowset)
		clari_cells_open(state->cells, participant_reader(state, rowset));
	state->rowset = rowset;
	clari_cells_open_group(state->cells, group);
	return true;
}

static bool
open_next(ClariScanState *state)
{
	ClariReader *reader;

	if (state->parallel != NULL)
		return open_claimed(state);
	reader = clari_fetch_next(state->fetch);
	if (reader != NULL)
		clari_cells_open(state->cells, reader);
	return reader != NULL;
}

/*
 * Returns the only row of a counting scan.  It opens the same versions as a scan that
 * reads the rows, so the same warnings are raised.
 */
static TupleTableSlot *
count_rows(ClariScanState *state, TupleTableSlot *slot)
{
	ClariList list = clari_object_list(state->options->object);
	int natts = slot->tts_tupleDescriptor->natts;
	int64 count = 0;
	ClariReader *reader;

	ExecClearTuple(slot);
	if (state->done)
		return slot;
	while ((reader = clari_fetch_next(state->fetch)) != NULL)
		count += (int64) reader->version.meta.rows[list];
	state->done = true;
	for (int i = 0; i < natts; i++)
	{
		slot->tts_isnull[i] = i < state->ncolumns;
		slot->tts_values[i] = Int64GetDatum(count);
	}
	return ExecStoreVirtualTuple(slot);
}

TupleTableSlot *
clariIterateForeignScan(ForeignScanState *node)
{
	ClariScanState *state = node->fdw_state;
	TupleTableSlot *slot = node->ss.ss_ScanTupleSlot;

	if (clari_scan_counts(node))
		return count_rows(state, slot);
	if (!state->evaluated && state->filter != NULL)
		clari_filter_evaluate(state->filter, node->ss.ps.ps_ExprContext);
	state->evaluated = true;
	while (!state->done)
	{
		if (state->reading && clari_cells_next(state->cells, slot))
			return slot;
		state->reading = open_next(state);
		state->done = !state->reading;
	}
	return ExecClearTuple(slot);
}

/*
 * During EvalPlanQual, the executor calls only this function, and not
 * clariIterateForeignScan(), for a scan with scanrelid 0.  So it is where a counting
 * scan, in a subquery that is computed again, makes its row.
 */
bool
clariRecheckForeignScan(ForeignScanState *node, TupleTableSlot *slot)
{
	return !clari_scan_counts(node) || !TupIsNull(count_rows(node->fdw_state, slot));
}

void
clariReScanForeignScan(ForeignScanState *node)
{
	ClariScanState *state = node->fdw_state;

	state->reading = state->done = state->evaluated = false;
	state->rowset = -1;
	/* In a parallel scan, clariReInitializeDSMForeignScan() does this. */
	if (state->parallel == NULL)
		clari_fetch_rescan(state->fetch, state->depends);
}

void
clariEndForeignScan(ForeignScanState *node)
{
	ClariScanState *state = node->fdw_state;

	/* Readers and memory belong to the statement's context, which is deleted next. */
	if (state->fetch != NULL)
		clari_fetch_end(state->fetch);
}

/* ------- parallel scans ------- */

/*
 * Waits for all rowsets and opens them.  It begins with a rescan, since it may be
 * called repeatedly, for example below a LIMIT that is rescanned.
 */
static void
collect_readers(ClariScanState *state)
{
	ClariReader *reader;

	clari_fetch_rescan(state->fetch, state->depends);
	state->nreaders = 0;
	while ((reader = clari_fetch_next(state->fetch)) != NULL)
	{
		if (state->nreaders == CLARI_EXTENT_MAX_PERIODS)
			elog(ERROR, "more rowsets than an extent has periods");
		state->readers[state->nreaders++] = reader;
	}
}

static void
make_readers(ClariScanState *state)
{
	if (state->readers == NULL)
		state->readers = MemoryContextAllocZero(state->node->ss.ps.state->es_query_cxt,
												sizeof(ClariReader *) * CLARI_EXTENT_MAX_PERIODS);
}

/* The maximum number of rowsets.  If a rescan may choose other periods, it is that of an extent's periods. */
static int
parallel_capacity(const ClariScanState *state)
{
	return state->depends ? CLARI_EXTENT_MAX_PERIODS : state->nreaders;
}

Size
clariEstimateDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt pg_attribute_unused())
{
	ClariScanState *state = node->fdw_state;

	make_readers(state);
	collect_readers(state);
	return clari_parallel_size(parallel_capacity(state));
}

void
clariInitializeDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt pg_attribute_unused(), void *coordinate)
{
	ClariScanState *state = node->fdw_state;

	state->parallel = coordinate;
	clari_parallel_init(state->parallel, parallel_capacity(state));
	clari_parallel_offer(state->parallel, state->readers, state->nreaders);
}

void
clariReInitializeDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt pg_attribute_unused(), void *coordinate)
{
	ClariScanState *state = node->fdw_state;

	collect_readers(state);
	clari_parallel_offer(coordinate, state->readers, state->nreaders);
}

void
clariInitializeWorkerForeignScan(ForeignScanState *node, shm_toc *toc pg_attribute_unused(), void *coordinate)
{
	ClariScanState *state = node->fdw_state;

	state->parallel = coordinate;
	make_readers(state);
	/* Open files now, before they can be evicted.  Segments stay, since the leader is attached to them. */
	for (int i = 0; i < clari_parallel_rowsets(state->parallel); i++)
		if (clari_parallel_version(state->parallel, i)->segment == DSM_HANDLE_INVALID)
			(void) participant_reader(state, i);
}

void
clariShutdownForeignScan(ForeignScanState *node)
{
	ClariScanState *state = node->fdw_state;
	ClariCellsUse use;

	if (state->parallel == NULL)
		return;
	count_use(state);
	/* Copy the counters, since the shared memory is gone by the time EXPLAIN needs them. */
	use = clari_parallel_use(state->parallel);
	state->total.bytes += use.bytes;
	state->total.skipped += use.skipped;
	state->parallel = NULL;
}

/* ------- for EXPLAIN ------- */

const ClariOptions *
clari_scan_options(ForeignScanState *node, bool *authenticated)
{
	ClariScanState *state = node->fdw_state;

	*authenticated = state->authenticated;
	return state->options;
}

int
clari_scan_periods(ForeignScanState *node, ClariPeriod *periods)
{
	ClariScanState *state = node->fdw_state;
	ClariPeriod current = CLARI_PERIOD_NONE;
	int count;

	if (state->chosen != NULL)
	{
		memcpy(periods, state->chosen, sizeof(ClariPeriod) * state->nchosen);
		return state->nchosen;
	}
	if (clari_extent_is_relative(&state->options->extent))
	{
		if (state->authenticated)
			current = clari_export_known_current(state->options);
		if (current == CLARI_PERIOD_NONE)
			return -1;
	}
	count = clari_extent_expand(&state->options->extent, current, periods);
	/*
	 * Parameters that are set during execution are not known here, and a condition
	 * that may raise an error must do so only if the scan is executed.
	 */
	if (!state->depends && state->safe)
		count = clari_prune_periods(state->prune, node->ss.ps.ps_ExprContext, periods, count);
	return count;
}

const ClariFetch *
clari_scan_fetch(ForeignScanState *node)
{
	return ((ClariScanState *) node->fdw_state)->fetch;
}

ClariCellsUse
clari_scan_use(ForeignScanState *node)
{
	const ClariScanState *state = node->fdw_state;

	if (state->nreaders > 0 || state->cells == NULL)
		return state->total;
	return *clari_cells_use(state->cells);
}
