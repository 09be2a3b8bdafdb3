/*
 * explain.c
 *		What EXPLAIN shows of a scan: forecast, periods, what the cache holds.
 *
 * Runs in sessions.  Never asks Clari, never shows a secret.
 */
#include "postgres.h"

#include "scan.h"

#include "fetch.h"

#include "commands/explain.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

static void
append_item(StringInfo list, const char *item)
{
	appendStringInfo(list, "%s%s", list->len > 0 ? ", " : "", item);
}

/* What the cache has of the periods. */
typedef struct Lists
{
	StringInfoData cached;
	StringInfoData stale; /* older than the table takes it: the scan exports anew */
	StringInfoData missing;
} Lists;

/* "2026_Q1 (memory, 500 entries)" to one of the lists. */
static void
describe_period(const ClariOptions *options, ClariPeriod period, bool authenticated, Lists *lists)
{
	ClariFreshness freshness = clari_wanted_freshness(options, GetCurrentTimestamp());
	char text[CLARI_PERIOD_TEXT_SIZE];
	ClariVersion version;
	bool fresh;

	clari_period_format(period, text);
	if (!authenticated || !clari_wanted_peek(options, text, &version))
	{
		append_item(&lists->missing, text);
		return;
	}
	fresh = version.meta.posted_at > freshness.since - clari_freshness_age(&version.meta, &freshness);
	append_item(fresh ? &lists->cached : &lists->stale,
				psprintf("%s (%s, " UINT64_FORMAT " entries)", text,
						 version.segment != DSM_HANDLE_INVALID ? "memory" : "disk", version.meta.rows[CLARI_ENTRIES]));
}

void
clariExplainForeignScan(ForeignScanState *node, ExplainState *es)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	StringInfoData all;
	Lists lists;
	const ClariOptions *options;
	bool authenticated;
	char *forecast;
	int count;

	initStringInfo(&all);
	initStringInfo(&lists.cached);
	initStringInfo(&lists.stale);
	initStringInfo(&lists.missing);
	options = clari_scan_describe(node, periods, &count, &authenticated);
	forecast = pg_any_to_server(options->request.forecast, strlen(options->request.forecast), PG_UTF8);
	ExplainPropertyText("Forecast", forecast, es);
	if (count < 0)
	{
		ExplainPropertyText("Periods", psprintf("%s (the current quarter is not known yet)", options->periods), es);
		return;
	}
	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		clari_period_format(periods[i], text);
		append_item(&all, text);
		describe_period(options, periods[i], authenticated, &lists);
	}
	ExplainPropertyText("Periods", count > 0 ? all.data : "none", es);
	if (lists.cached.len > 0)
		ExplainPropertyText("Cached", lists.cached.data, es);
	if (lists.stale.len > 0)
		ExplainPropertyText("Stale", lists.stale.data, es);
	if (lists.missing.len > 0)
		ExplainPropertyText("Not Cached", lists.missing.data, es);
}
