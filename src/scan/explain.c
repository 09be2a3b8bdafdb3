/*
 * explain.c
 *		What EXPLAIN shows of a scan: what it reads, its conditions, and what is
 *		cached; with ANALYZE, from where it has read.
 *
 * Runs in sessions.  It never uses the network, and never shows a secret.
 */
#include "postgres.h"

#include "plan/plan.h"
#include "scan/internal.h"
#include "scan/scan.h"

#include "commands/explain.h"
#include "compat.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"

#ifdef CLARI_EXPLAIN_HAS_HEADERS
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif

/*
 * Shows texts as a list, in formats that have lists.  An empty list is omitted
 * unless empty is given, the word for it in the text format.
 */
static void
show_list(const char *label, List *texts, const char *empty, ExplainState *es)
{
	if (texts != NIL || (empty != NULL && es->format != EXPLAIN_FORMAT_TEXT))
		ExplainPropertyList(label, texts, es);
	else if (empty != NULL)
		ExplainPropertyText(label, empty, es);
}

/* ------- conditions ------- */

/* The plans whose rows the plan reads, in a new list. */
static List *
child_plans(const Plan *plan)
{
	List *children = NIL;

	if (plan->lefttree != NULL)
		children = lappend(children, plan->lefttree);
	if (plan->righttree != NULL)
		children = lappend(children, plan->righttree);
	if (IsA(plan, Append))
		children = list_concat(children, ((const Append *) plan)->appendplans);
	else if (IsA(plan, MergeAppend))
		children = list_concat(children, ((const MergeAppend *) plan)->mergeplans);
	else if (IsA(plan, SubqueryScan))
		children = lappend(children, ((const SubqueryScan *) plan)->subplan);
	else if (IsA(plan, CustomScan))
		children = list_concat(children, ((const CustomScan *) plan)->custom_plans);
	return children;
}

/* The expressions of a plan node that may contain a subquery.  Some are left out, such as the conditions of an index scan. */
static List *
plan_expressions(const Plan *plan)
{
	List *expressions = list_make3(plan->targetlist, plan->qual, plan->initPlan);

	if (IsA(plan, NestLoop) || IsA(plan, HashJoin) || IsA(plan, MergeJoin))
		expressions = lappend(expressions, ((const Join *) plan)->joinqual);
	else if (IsA(plan, Result))
		expressions = lappend(expressions, ((const Result *) plan)->resconstantqual);
	return expressions;
}

/* What find_ancestors() searches a statement's plans for: a scan, or the expression that contains a subquery. */
typedef struct Sought
{
	const Plan *scan;  /* or NULL */
	int plan_id;       /* the number of the subquery's plan, or 0 */
	SubPlan *subquery; /* the result, if plan_id is set */
} Sought;

static bool
find_subquery(Node *node, Sought *sought)
{
	if (node == NULL)
		return false;
	if (!IsA(node, SubPlan) || ((SubPlan *) node)->plan_id != sought->plan_id)
		return expression_tree_walker(node, find_subquery, (void *) sought);
	sought->subquery = (SubPlan *) node;
	return true;
}

/*
 * Returns whether what is sought is the plan, in one of its expressions, or below it.
 * If so, appends the subquery, if that was sought, the plan whose expression contains
 * it, and the plans from there up to this plan.
 */
static bool
find_ancestors(Plan *plan, Sought *sought, List **ancestors)
{
	ListCell *cell;

	if (plan == sought->scan)
		return true;
	if (sought->plan_id != 0 && find_subquery((Node *) plan_expressions(plan), sought))
	{
		*ancestors = lappend(lappend(*ancestors, sought->subquery), plan);
		return true;
	}
	foreach (cell, child_plans(plan))
	{
		if (find_ancestors(lfirst(cell), sought, ancestors))
		{
			*ancestors = lappend(*ancestors, plan);
			return true;
		}
	}
	return false;
}

/*
 * Looks for what is sought in the other plans of the statement.  Returns the number
 * of the subquery that contains it, or 0.
 */
static int
find_in_subqueries(const PlannedStmt *statement, Sought *sought, List **ancestors)
{
	ListCell *cell;

	foreach (cell, statement->subplans)
		if (lfirst(cell) != NULL && find_ancestors(lfirst(cell), sought, ancestors))
			return foreach_current_index(cell) + 1;
	return 0;
}

/*
 * The plans above the scan.  They are needed to show its parameters, and are not
 * passed to the callback.  For a scan in a subquery, these are the plans above it in
 * the subquery, the subquery's expression, and the plans above that.
 */
static List *
scan_ancestors(const Plan *scan, const PlannedStmt *statement)
{
	Sought sought = {scan, 0, NULL};
	List *ancestors = NIL;

	while (!find_ancestors(statement->planTree, &sought, &ancestors))
	{
		sought.plan_id = find_in_subqueries(statement, &sought, &ancestors);
		sought.scan = NULL;
		if (sought.plan_id == 0)
			break;
	}
	return ancestors;
}

static void
show_condition(const char *label, List *expressions, ForeignScanState *node, ExplainState *es)
{
	List *context;

	if (expressions == NIL)
		return;
	context = set_deparse_context_plan(es->deparse_cxt, node->ss.ps.plan, scan_ancestors(node->ss.ps.plan, es->pstmt));
	ExplainPropertyText(label,
						deparse_expression((Node *) make_ands_explicit(expressions), context,
										   list_length(es->rtable) > 1 || es->verbose, false),
						es);
}

static void
show_conditions(ForeignScanState *node, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;
	int npruning = intVal(list_nth(plan->fdw_private, CLARI_PLAN_PRUNING));

	show_condition("Period Cond", list_truncate(list_copy(plan->fdw_exprs), npruning), node, es);
	show_condition("Dictionary Cond", list_copy_tail(plan->fdw_exprs, npruning), node, es);
}

/* ------- what is cached ------- */

/* The periods by their state in the cache; lists of texts. */
typedef struct Lists
{
	List *cached;
	List *stale; /* cached, but too old for the table, so that the scan exports them again */
	List *missing;
	List *identities;
	int exports; /* number of stale and missing periods */
} Lists;

/*
 * Adds the identity, as in the view clari_cache, of the export whose rows are
 * read.  It tells which that is if the current quarter is cached twice, exported
 * with its name and without.
 */
static void
append_identity(List **list, const char *period, const ClariKey *key)
{
	char identity[CLARI_IDENTITY_SIZE];

	clari_key_identity(key, identity);
	*list = lappend(*list, psprintf("%s (%s)", period, identity));
}

/* The name of a part of the scan: its period or, for a table of the account, the object. */
static const char *
part_name(const ClariOptions *options, const char *period)
{
	return clari_object_is_of_account(options->object) ? clari_object_names[options->object] : period;
}

/* Adds the period, such as "2026_Q1 (memory, 500 entries)", to the list for its state. */
static void
describe_period(const ClariOptions *options, const char *period, bool authenticated, Lists *lists)
{
	char *name = pstrdup(part_name(options, period));
	ClariVersion version;
	ClariExport export;
	uint64 entries;
	List **list;
	bool fresh;

	lists->exports++;
	if (!authenticated)
	{
		lists->missing = lappend(lists->missing, name);
		return;
	}
	if (!clari_export_peek(options, period, &version))
	{
		clari_export_init(options, period, NULL, &export);
		append_identity(&lists->identities, name, &export.key);
		lists->missing = lappend(lists->missing, name);
		return;
	}
	append_identity(&lists->identities, name, &version.meta.key);
	fresh = clari_export_is_fresh(options, &version, GetCurrentTimestamp());
	lists->exports -= fresh;
	list = fresh ? &lists->cached : &lists->stale;
	entries = clari_rowset_entries(&version.meta);
	*list = lappend(*list, psprintf("%s (%s, " UINT64_FORMAT " %s)", name,
									version.segment != DSM_HANDLE_INVALID ? "memory" : "disk", entries,
									entries == 1 ? "entry" : "entries"));
}

/*
 * Shows that exports are made one at a time if the periods depend on rows of
 * other relations: a row must wait for the export of the row before it.
 */
static void
show_way(ForeignScanState *node, int exports, ExplainState *es)
{
	ForeignScan *plan = (ForeignScan *) node->ss.ps.plan;

	if (exports > 1 && intVal(list_nth(plan->fdw_private, CLARI_PLAN_BY_ROWS)) != 0)
		ExplainPropertyText("Exports", "one at a time, as rows come; = ANY (ARRAY(SELECT ...)) makes them at once", es);
}

static void
show_cached(ForeignScanState *node, const ClariPeriod *periods, int count, ExplainState *es)
{
	Lists lists = {0};
	bool authenticated;
	const ClariOptions *options = clari_scan_options(node, &authenticated);

	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		clari_period_format(periods[i], text);
		describe_period(options, text, authenticated, &lists);
	}
	if (es->verbose)
		show_list("Identities", lists.identities, NULL, es);
	/* After a scan, "Sources" is more informative. */
	if (es->analyze)
		return;
	show_list("Cached", lists.cached, NULL, es);
	show_list("Stale", lists.stale, NULL, es);
	show_list("Not Cached", lists.missing, NULL, es);
	show_way(node, lists.exports, es);
}

static void
show_periods(ForeignScanState *node, ExplainState *es)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	int count = clari_scan_periods(node, periods);
	List *all = NIL;
	bool authenticated;

	if (count < 0)
	{
		const char *extent = clari_scan_options(node, &authenticated)->periods;

		show_list("Periods", list_make1(psprintf("%s (the current quarter is not known yet)", extent)), NULL, es);
		if (!es->analyze)
			show_way(node, CLARI_EXTENT_MAX_PERIODS, es);
		return;
	}
	if (clari_object_is_of_account(clari_scan_options(node, &authenticated)->object))
	{
		show_cached(node, periods, count, es);
		return;
	}
	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		clari_period_format(periods[i], text);
		all = lappend(all, pstrdup(text));
	}
	show_list("Periods", all, "none", es);
	show_cached(node, periods, count, es);
}

/* ------- what was read ------- */

static void
show_reading(ForeignScanState *node, ExplainState *es)
{
	const ClariFetch *fetch = clari_scan_fetch(node);
	ClariCellsUse use = clari_scan_use(node);
	List *list = NIL;
	ClariSource *sources;
	bool authenticated;
	const ClariOptions *options = clari_scan_options(node, &authenticated);
	int count;

	sources = clari_fetch_sources(fetch, &count);
	for (int i = 0; i < count; i++)
		list = lappend(list, psprintf("%s (%s)", part_name(options, sources[i].period), sources[i].from));
	show_list("Sources", list, "none", es);
	ExplainPropertyInteger("Jobs Created", NULL, clari_fetch_jobs(fetch), es);
	show_way(node, clari_fetch_jobs(fetch), es);
	if (es->timing)
		ExplainPropertyFloat("Time Waiting", "ms", clari_fetch_waited(fetch), 3, es);
	ExplainPropertyInteger("Bytes Read", "B", (int64) use.bytes, es);
	ExplainPropertyInteger("Rows Skipped", NULL, (int64) use.skipped, es);
}

/* Shows the relation that is counted; PostgreSQL shows only relations that are scanned. */
static void
show_counted(Oid relid, ExplainState *es)
{
	char *schema = es->verbose ? get_namespace_name(get_rel_namespace(relid)) : NULL;

	ExplainPropertyText("Count Of", quote_qualified_identifier(schema, get_rel_name(relid)), es);
}

void
clariExplainForeignScan(ForeignScanState *node, ExplainState *es)
{
	bool authenticated;
	const ClariOptions *options = clari_scan_options(node, &authenticated);
	const char *forecast = options->request.forecast;

	if (clari_scan_counts(node))
		show_counted(options->relid, es);
	if (clari_object_is_of_account(options->object))
		ExplainPropertyText("Account", clari_object_names[options->object], es);
	else
		ExplainPropertyText("Forecast", pg_any_to_server(forecast, strlen(forecast), PG_UTF8), es);
	show_conditions(node, es);
	show_periods(node, es);
	if (es->analyze && clari_scan_fetch(node) != NULL)
		show_reading(node, es);
}
