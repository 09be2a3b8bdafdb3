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

/* "2026_Q1 (memory, 500 entries)" to one list, or the period to the other. */
static void
describe_period(const ClariOptions *options, ClariPeriod period, bool authenticated, StringInfo cached,
				StringInfo missing)
{
	char text[CLARI_PERIOD_TEXT_SIZE];
	ClariVersion version;

	clari_period_format(period, text);
	if (!authenticated || !clari_wanted_peek(options, text, &version))
	{
		append_item(missing, text);
		return;
	}
	append_item(cached,
				psprintf("%s (%s, " UINT64_FORMAT " entries)", text,
						 version.segment != DSM_HANDLE_INVALID ? "memory" : "disk", version.meta.rows[CLARI_ENTRIES]));
}

void
clariExplainForeignScan(ForeignScanState *node, ExplainState *es)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	StringInfoData all;
	StringInfoData cached;
	StringInfoData missing;
	const ClariOptions *options;
	bool authenticated;
	char *forecast;
	int count;

	initStringInfo(&all);
	initStringInfo(&cached);
	initStringInfo(&missing);
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
		describe_period(options, periods[i], authenticated, &cached, &missing);
	}
	ExplainPropertyText("Periods", count > 0 ? all.data : "none", es);
	if (cached.len > 0)
		ExplainPropertyText("Cached", cached.data, es);
	if (missing.len > 0)
		ExplainPropertyText("Not Cached", missing.data, es);
}
