/*
 * scan.c
 *		Executing a scan: begin, iterate, rescan, end.
 *
 * Runs in sessions.  Rowsets come from fetch.c, Datums from cells.c.  Memory is
 * freed with the executor's memory context, also after an error.
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
	int ncolumns; /* of the foreign table; in a scan that counts, the counts follow them */
	ClariPrune *prune;
	ClariFilter *filter; /* NULL: no filter */
	bool authenticated;  /* the user mapping has an API key */
	bool depends;        /* the periods depend on values that are set during execution */
	bool filter_depends; /* the filter depends on values that are set during execution */
	bool safe;           /* choosing the periods cannot raise an error */
	bool noticed;        /* the notices about constants outside of the extent were issued, or must not be */
	bool evaluated;      /* the filter was evaluated with the current parameters */
	ClariFetch *fetch;   /* NULL for EXPLAIN without ANALYZE, and in a parallel worker */
	ClariCells *cells;   /* NULL for EXPLAIN without ANALYZE, and in a scan that counts */
	bool reading;        /* a rowset is open, or in a parallel scan a group of one */
	bool done;

	/* The chosen periods, unless they depend on values set during execution. */
	ClariPeriod *chosen; /* NULL: not chosen yet */
	int nchosen;

	/* Only in a parallel scan. */
	ClariParallel *parallel; /* NULL: not parallel, or finished */
	ClariReader **readers;   /* of the rowsets offered; NULL for those not yet opened by this process */
	int nreaders;
	int rowset;            /* number of the open rowset, or -1 */
	ClariCellsUse counted; /* the part of this process's use that was added to the shared counters */
	ClariCellsUse total;   /* the use of all participants, after the end */
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

/* ClariChooser: removes the periods that do not satisfy the scan's quals. */
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

/* The range table entry of the foreign table that is scanned, or whose rows are counted. */
static RangeTblEntry *
scanned_table(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	Index relid = plan->scan.scanrelid;

	if (clari_scan_counts(node))
		relid = (Index) bms_singleton_member(clari_scan_relids(plan));
	return exec_rt_fetch(relid, node->ss.ps.state);
}

/* The columns of that table.  The tuples of a scan that counts have others after them. */
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

/* The role whose user mapping is used: a view's owner, or the current user. */
static Oid
scan_user(ForeignScanState *node)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	RangeTblEntry *rte = scanned_table(node);

	Oid user = clari_scan_check_as_user(plan, rte);

	return OidIsValid(user) ? user : GetUserId();
}

/*
 * The memory context of the statement to which the scan belongs.  If EvalPlanQual
 * executes a part of the plan again, it does so in a state of its own, but must
 * read the same versions as the statement.
 */
static MemoryContext
statement_context(ForeignScanState *node)
{
	EState *estate = node->ss.ps.state;

	while (estate->es_epq_active != NULL)
		estate = estate->es_epq_active->parentestate;
	return estate->es_query_cxt;
}

/* Splits fdw_exprs, in which clariGetForeignPlan() has put expressions that prune before those that filter. */
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

/* Begins to fetch the versions that are handed over to the statement, or else those that the cache finds. */
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

/* The rowset, opened by this process, in the version that the leader opened.  Raises an error if that is gone. */
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

static void
count_use(ClariScanState *state)
{
	ClariCellsUse use = *clari_cells_use(state->cells);
	ClariCellsUse more = {use.bytes - state->counted.bytes, use.skipped - state->counted.skipped};

	clari_parallel_count(state->parallel, &more);
	state->counted = use;
}

/* Opens the next group that this participant can claim; false if there is none. */
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
 * Returns the single row of a scan that counts.  It opens the same versions, and
 * issues the same warnings, as a scan that reads the rows.
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
 * Called by EvalPlanQual when a row has changed under a lock.  For a scan without
 * scanrelid, such as one that counts in a subquery, the executor then calls
 * nothing else, so that this function must also store the row in the slot.
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
	/* The state shared by participants is reset by clariReInitializeDSMForeignScan(). */
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
 * Waits for all rowsets, and opens them.  It starts with a rescan, because it may
 * be called again if there is a LIMIT above.
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

/*
 * The number of rowsets for which there must be room.  A rescan may choose other
 * periods, but not more than an extent has.
 */
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
	/* Files are opened at once, before they can be evicted.  Segments stay, because the leader is attached to them. */
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
	/* Copied, because the shared memory no longer exists when EXPLAIN needs the numbers. */
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
	 * Values that are set during execution are not known here.  And a condition
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
