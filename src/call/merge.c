/*
 * merge.c
 *		The MERGE of clari_merge() and clari_sync(): see internal.h.
 *
 * Runs in sessions.  Writes a few statements, and executes them by command.c.
 * They are limited to what Citus supports on colocated tables: plain equalities
 * in ON, nothing volatile, no update of the distribution column.
 */
#include "postgres.h"

#include "call/internal.h"

#include "compat.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

CLARI_FUNCTION(clari_merge);

/* ------- the statements ------- */

static ClariCommand
command_of(ClariMerge *merge, const char *text)
{
	return (ClariCommand){.text = text,
						  .tables = {merge->target, merge->source},
						  .handed = merge->handed.readers != NULL ? &merge->handed : NULL,
						  .snapshot = merge->snapshot};
}

/*
 * "t.time_period = ANY (…)", and the same for the name.  It is true for every row
 * that can match a row of the parts, and so does not change the result; but it
 * lets the target's index find the parts.
 */
static char *
parts_condition(const ClariMerge *merge, const ClariPart *parts, int count)
{
	StringInfoData list;

	if (count == 0)
		return "true";
	initStringInfo(&list);
	for (int column = 0; column < 2; column++)
	{
		appendStringInfo(&list, "%s%s ANY (ARRAY[", column > 0 ? " AND " : "",
						 column == 0 ? merge->period : merge->name);
		for (int i = 0; i < count; i++)
		{
			const char *text = column == 0 ? parts[i].time_period : parts[i].forecast_name;

			/* Rows of one source usually have one name, and each name in the list is compared with each row. */
			if (column == 0 || i == 0 || strcmp(text, parts[i - 1].forecast_name) != 0)
				appendStringInfo(&list, "%s%s%s", i > 0 ? ", " : "", quote_literal_cstr(text),
								 column == 0 ? merge->period_type : merge->name_type);
		}
		appendStringInfoString(&list, "])");
	}
	return list.data;
}

/* Turns "a, b" into "s.a, s.b". */
static char *
of_alias(char alias, const char *names)
{
	StringInfoData list;

	initStringInfo(&list);
	appendStringInfo(&list, "%c.", alias);
	for (const char *c = names; *c != '\0'; c++)
	{
		appendStringInfoChar(&list, *c);
		if (*c == ' ')
			appendStringInfo(&list, "%c.", alias);
	}
	return list.data;
}

/*
 * The query for the rows to merge.  If keys recur, the newest row of each key;
 * the rest of the order makes the choice deterministic.
 */
static char *
source_rows(const ClariMerge *merge, bool recur, const ClariPart *parts, int count)
{
	const char *list = of_alias('s', merge->columns);
	StringInfoData expected;

	initStringInfo(&expected);
	/* The planner has no statistics of what is handed over, but of quarters.  The condition is true for all rows. */
	for (int i = 0; i < count && merge->handed.readers != NULL; i++)
		appendStringInfo(&expected, "%s%s%s", i == 0 ? " AND s.time_period = ANY (ARRAY[" : ", ",
						 quote_literal_cstr(parts[i].time_period), i == count - 1 ? "])" : "");
	if (!recur)
		return psprintf("SELECT %s FROM %s WHERE %s%s", list, merge->from, merge->usable, expected.data);
	return psprintf("SELECT DISTINCT ON (%s) %s FROM %s WHERE %s ORDER BY %s, s.exported_at DESC NULLS LAST, "
					"s.owner_name, s.owner_email, s.forecast_amount, s.quota_amount, s.crm_total, s.crm_closed, "
					"s.adjustment_amount",
					merge->keys, list, merge->from, merge->usable, merge->keys);
}

/* About how many rows a page of the target has, and at most how many. */
#define ROWS_OF_PAGE 50
#define MOST_ROWS_OF_PAGE 400

/* Rows of unknown age never replace rows of known age. */
#define IS_NOT_OLDER "(t.exported_at IS NULL OR s.exported_at >= t.exported_at)"

/*
 * The MERGE for comparing all rows: a full join finds the rows that differ, and
 * only these reach the MERGE, which finds their old versions by ctid.  An
 * unchanged row costs no more than the join.  A full join cannot become a nested
 * loop, even if the planner expects few rows of a quarter that is not in its
 * statistics; and the planner assumes that "CASE … = 1" is rarely true, which it
 * is.
 */
static char *
joined_text(const ClariMerge *merge, bool recur, const ClariPart *parts, int count, bool hinted)
{
	return psprintf("MERGE INTO %s AS m USING (SELECT s.*, t.old, " IS_NOT_OLDER " AS allowed FROM (%s) AS s FULL JOIN "
					"(SELECT t.ctid AS old, %s FROM %s AS t WHERE %s) AS t ON %s WHERE CASE WHEN s.time_period IS NULL "
					"THEN 0 WHEN t.time_period IS NULL OR %s THEN 1 ELSE 0 END = 1) AS s ON m.ctid = s.old "
					"WHEN MATCHED AND s.allowed THEN UPDATE SET %s WHEN NOT MATCHED THEN INSERT (%s) VALUES (%s)",
					merge->target_name, source_rows(merge, recur, parts, count), of_alias('t', merge->columns),
					merge->target_name, parts_condition(merge, parts, hinted ? count : 0), merge->same_key,
					merge->differs, merge->update, merge->insert, of_alias('s', merge->insert));
}

/* The plain MERGE, for few rows, and for targets of several tables, in which a ctid does not identify a row. */
static char *
merge_text(const ClariMerge *merge, bool recur, const ClariPart *parts, int count, bool hinted)
{
	return psprintf("MERGE INTO %s AS t USING (%s) AS s ON %s AND %s "
					"WHEN MATCHED AND (%s) AND " IS_NOT_OLDER " THEN UPDATE SET %s "
					"WHEN NOT MATCHED THEN INSERT (%s) VALUES (%s)",
					merge->target_name, source_rows(merge, recur, parts, count), merge->same_key,
					parts_condition(merge, parts, hinted ? count : 0), merge->differs, merge->update, merge->insert,
					of_alias('s', merge->insert));
}

/* The statement that deletes or counts the missing rows; it begins with verb, such as "DELETE". */
static char *
missing_text(const ClariMerge *merge, const char *verb, const ClariPart *parts, int count)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s FROM %s AS t WHERE (false", verb, merge->target_name);
	for (int i = 0; i < count; i++)
		appendStringInfo(&text, " OR (%s AND (t.exported_at IS NULL OR t.exported_at <= %s))",
						 parts_condition(merge, &parts[i], 1),
						 parts[i].newest != NULL ? psprintf("'%s'::timestamptz", parts[i].newest) : "NULL");
	appendStringInfo(&text, ") AND NOT EXISTS (SELECT FROM %s WHERE %s AND %s)", merge->from, merge->usable,
					 merge->same_key);
	return text.data;
}

void
clari_merge_check(const ClariMerge *merge, bool deletes)
{
	ClariMerge copy = *merge;
	ClariCommand command = command_of(&copy, merge_text(merge, false, NULL, 0, false));

	command.only_check = true;
	(void) clari_command_run(&command);
	command.text = merge_text(merge, true, NULL, 0, false);
	(void) clari_command_run(&command);
	command.text = joined_text(merge, true, NULL, 0, false);
	if (!merge->composed && !merge->distributed)
		(void) clari_command_run(&command);
	command.text = missing_text(merge, "DELETE", NULL, 0);
	if (deletes)
		(void) clari_command_run(&command);
	clari_history_check(merge->target);
}

/* ------- counting the effects ------- */

void
clari_merge_begin(ClariMerge *merge)
{
	merge->snapshot = RegisterSnapshot(GetTransactionSnapshot());
}

void
clari_merge_end(ClariMerge *merge)
{
	UnregisterSnapshot(merge->snapshot);
	merge->snapshot = NULL;
}

/*
 * Counts the source's rows, those that have a key, and different hashes of their
 * keys.  If there are as many hashes as rows with a key, no key recurs.  OFFSET
 * keeps Citus from approximating the count.
 */
static int64
count_keys(ClariMerge *merge, const char *hash, int64 *rows, int64 *usable)
{
	ClariCommand command = command_of(
		merge,
		psprintf("SELECT count(*), count(h), count(DISTINCT h) FROM (SELECT CASE WHEN %s THEN %s END AS h FROM %s "
				 "OFFSET 0) AS s",
				 merge->usable, hash, merge->from));
	ClariCommandResult result = clari_command_run(&command);

	*rows = clari_command_number(&result, 0);
	*usable = clari_command_number(&result, 1);
	return clari_command_number(&result, 2);
}

static ClariPart *
find_part(ClariPart *parts, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (strcmp(parts[i].time_period, names[0]) == 0 && strcmp(parts[i].forecast_name, names[1]) == 0)
			return &parts[i];
	elog(ERROR, "the source has rows of a period that it did not have before");
}

static int64
number(const char *text)
{
	return strtoll(text, NULL, 10);
}

/* Does for each part what count_keys() does for all. */
static void
count_keys_by_part(ClariMerge *merge, ClariPart *parts, int count)
{
	ClariCommand command = command_of(
		merge, psprintf("SELECT s.time_period::text, s.forecast_name::text, count(*), count(h), count(DISTINCT h) FROM "
						"(SELECT s.time_period, s.forecast_name, CASE WHEN %s THEN %s END AS h FROM %s OFFSET 0) AS s "
						"GROUP BY 1, 2",
						merge->usable, merge->hash, merge->from));
	ClariCommandResult result = clari_command_run(&command);

	for (int i = 0; i < result.nrows; i++)
	{
		ClariPart *part = find_part(parts, count, result.rows[i]);

		part->rows = number(result.rows[i][2]);
		part->usable = number(result.rows[i][3]);
		part->keys = number(result.rows[i][4]);
	}
}

void
clari_merge_count_source(ClariMerge *merge, ClariPart *parts, int count)
{
	ClariCommand command = command_of(merge, NULL);
	ClariCommandResult result;
	bool recur = false;

	if (count == 1)
		parts->keys = count_keys(merge, merge->hash, &parts->rows, &parts->usable);
	else
		count_keys_by_part(merge, parts, count);
	for (int i = 0; i < count; i++)
		recur = recur || parts[i].keys != parts[i].usable;
	if (!recur)
		return;
	command.text = psprintf("SELECT s.time_period::text, s.forecast_name::text, count(*) FROM (%s) AS s GROUP BY 1, 2",
							source_rows(merge, true, NULL, 0));
	result = clari_command_run(&command);
	for (int i = 0; i < result.nrows; i++)
		find_part(parts, count, result.rows[i])->keys = number(result.rows[i][2]);
}

/*
 * Counts the source's rows, by part, that are missing in the target, would be
 * updated, or are too old for that.  Without written, to be called before the
 * MERGE, these are its future effects.  With written, a condition that excludes
 * the rows of t that the MERGE has written, these are the rows that it has
 * skipped.
 */
static void
count_left(ClariMerge *merge, ClariPart *parts, int count, const char *written)
{
	const char *text =
		psprintf("SELECT s.time_period::text, s.forecast_name::text, count(*) FILTER (WHERE t.time_period IS NULL), "
				 "count(*) FILTER (WHERE t.time_period IS NOT NULL AND " IS_NOT_OLDER " AND (%s)), "
				 "count(*) FILTER (WHERE " IS_NOT_OLDER " IS NOT TRUE AND (%s)) "
				 "FROM (%s) AS s LEFT JOIN %s AS t ON %s AND %s WHERE (%s) IS NOT TRUE GROUP BY 1, 2",
				 merge->differs, merge->differs, source_rows(merge, true, NULL, 0), merge->target_name, merge->same_key,
				 parts_condition(merge, parts, count), written != NULL ? written : "false");
	ClariCommand command = command_of(merge, text);
	ClariCommandResult result = clari_command_run(&command);

	for (int i = 0; i < result.nrows; i++)
	{
		ClariCounts *counts = &find_part(parts, count, result.rows[i])->counts;
		int64 missing = number(result.rows[i][2]);
		int64 changed = number(result.rows[i][3]);

		counts->skipped = number(result.rows[i][4]);
		if (written != NULL)
			counts->skipped += missing + changed;
		else
		{
			counts->inserted = missing;
			counts->updated = changed;
		}
	}
}

/*
 * Were rows skipped because they are older than the target's?  If only differing
 * rows reached the MERGE, its counts tell; otherwise the answer is whether the
 * target has rows newer than the oldest of the source.
 */
static bool
has_refused(ClariMerge *merge, const ClariPart *parts, int count, int64 keys, const ClariCommandResult *merged)
{
	StringInfoData text;
	ClariCommand command;
	ClariCommandResult result;

	if (merged->offered < keys || merged->inserted + merged->updated == keys)
		return merged->offered > merged->inserted + merged->updated;
	initStringInfo(&text);
	appendStringInfo(&text, "SELECT EXISTS (SELECT FROM %s AS t WHERE t.exported_at > LEAST('infinity'",
					 merge->target_name);
	for (int i = 0; i < count; i++)
		appendStringInfo(&text, ", '%s'::timestamptz", parts[i].oldest != NULL ? parts[i].oldest : "-infinity");
	appendStringInfoString(&text, ") AND (false");
	for (int i = 0; i < count; i++)
		appendStringInfo(&text, " OR (%s AND t.exported_at > '%s'::timestamptz)", parts_condition(merge, &parts[i], 1),
						 parts[i].oldest != NULL ? parts[i].oldest : "-infinity");
	appendStringInfoString(&text, "))::int");
	command = command_of(merge, text.data);
	result = clari_command_run(&command);
	return clari_command_number(&result, 0) != 0;
}

/*
 * Counts the target's rows by part, before the MERGE or after it; and after it,
 * those that fulfill condition written.
 */
static void
count_present(ClariMerge *merge, ClariPart *parts, int count, const char *written, bool before)
{
	StringInfoData values;
	ClariCommand command;
	ClariCommandResult result;

	initStringInfo(&values);
	for (int i = 0; i < count; i++)
	{
		appendStringInfo(&values, "%s(%d, %s, %s)", i > 0 ? ", " : "", i, quote_literal_cstr(parts[i].time_period),
						 quote_literal_cstr(parts[i].forecast_name));
		*(before ? &parts[i].before : &parts[i].present) = 0;
	}
	command = command_of(
		merge,
		psprintf("SELECT p.i, t.present, t.written FROM (SELECT t.time_period, t.forecast_name, count(*) AS present, "
				 "count(*) FILTER (WHERE %s) AS written FROM %s AS t WHERE %s GROUP BY 1, 2) AS t "
				 "JOIN (VALUES %s) AS p (i, period, name) ON %s p.period%s AND %s p.name%s",
				 written, merge->target_name, parts_condition(merge, parts, count), values.data, merge->period,
				 merge->period_type, merge->name, merge->name_type));
	command.as_it_was = before;
	result = clari_command_run(&command);
	for (int i = 0; i < result.nrows; i++)
	{
		ClariPart *part = &parts[number(result.rows[i][0])];

		*(before ? &part->before : &part->present) = number(result.rows[i][1]);
		if (!before)
			part->written = number(result.rows[i][2]);
	}
}

/* Determines inserted and updated of each part from the totals of the MERGE. */
static void
share_out(ClariMerge *merge, ClariPart *parts, int count, const ClariCommandResult *merged, const char *written)
{
	int64 sum = 0;

	if (count == 1 && !merge->swallows)
		parts[0].written = merged->inserted + merged->updated;
	else if (merged->inserted + merged->updated > 0)
		count_present(merge, parts, count, written, false);
	for (int i = 0; i < count; i++)
		sum += parts[i].written;
	if (count > 1 && merged->updated > 0 && merged->updated < sum)
		count_present(merge, parts, count, "false", true);
	for (int i = 0; i < count; i++)
	{
		ClariPart *part = &parts[i];

		if (count == 1)
			part->counts.updated = Min(merged->updated, part->written);
		else if (merged->updated >= sum)
			part->counts.updated = part->written;
		else if (merged->updated > 0)
			part->counts.updated = Max(part->written - Max(part->present - part->before, 0), 0);
		part->counts.inserted = part->written - part->counts.updated;
	}
}

/*
 * Chooses the statement and planner settings by the number of rows and the pages
 * of the target.  If the target is empty, an INSERT suffices.  Few rows are
 * looked up one by one.  The full join pays if the source has whole quarters, or
 * about as many rows as the target, unless nearly all rows are new.  If a small
 * part of the target is concerned, parts_condition() finds it by index or among
 * the partitions.
 */
static void
set_merge(const ClariMerge *merge, ClariCommand *command, const ClariPart *parts, int count, int64 keys, bool recur)
{
	bool few = keys * 4 < merge->pages;
	bool part = keys < merge->pages * ROWS_OF_PAGE / 2;
	bool most_are_new = keys > merge->pages * MOST_ROWS_OF_PAGE;
	bool whole = merge->handed.readers != NULL || !part;

	command->few = true;
	if (merge->pages == 0 && !merge->distributed)
		command->text = psprintf("INSERT INTO %s (%s) SELECT %s FROM (%s) AS s", merge->target_name, merge->insert,
								 of_alias('s', merge->insert), source_rows(merge, recur, parts, count));
	else if (!few && whole && !most_are_new && !merge->composed && !merge->distributed)
		command->text = joined_text(merge, recur, parts, count, part);
	else
	{
		command->few = few;
		command->text = merge_text(merge, recur, parts, count, part && !few);
	}
}

void
clari_merge_run(ClariMerge *merge, ClariPart *parts, int count)
{
	int64 keys = 0;
	int64 recurring = 0;
	ClariCommand command;
	ClariCommandResult result;
	char *written;

	for (int i = 0; i < count; i++)
	{
		keys += parts[i].keys;
		recurring += parts[i].usable - parts[i].keys;
		parts[i].counts = (ClariCounts){0};
		parts[i].present = -1;
		parts[i].written = 0;
	}
	if (merge->distributed)
		count_left(merge, parts, count, NULL);
	command = command_of(merge, NULL);
	set_merge(merge, &command, parts, count, keys, recurring > 0);
	result = clari_command_run(&command);
	if (!merge->distributed)
	{
		/* The condition that is true for the rows that this MERGE has written. */
		written = psprintf("t.xmin = '%u'::xid AND t.cmin = '%u'::cid", GetCurrentTransactionIdIfAny(), result.command);
		share_out(merge, parts, count, &result, written);
		if (merge->swallows || has_refused(merge, parts, count, keys, &result))
			count_left(merge, parts, count, written);
	}
	for (int i = 0; i < count; i++)
	{
		ClariCounts *counts = &parts[i].counts;

		/* Triggers may have done anything, but a count is never negative. */
		counts->unchanged = Max(parts[i].keys - counts->inserted - counts->updated - counts->skipped, 0);
		counts->skipped += parts[i].rows - parts[i].keys;
	}
}

int64
clari_merge_delete(ClariMerge *merge, const ClariPart *parts, int count)
{
	ClariCommand command = command_of(merge, missing_text(merge, "DELETE", parts, count));

	return count > 0 ? clari_command_run(&command).written : 0;
}

int64
clari_merge_count_missing(ClariMerge *merge, ClariPart *part)
{
	ClariCommand command = command_of(merge, missing_text(merge, "SELECT count(*)", part, 1));
	ClariCommandResult result;

	if (part->present < 0)
		count_present(merge, part, 1, "false", false);
	/*
	 * Now the target has all of the source's keys, unless a trigger has prevented
	 * that, and as many rows; so it has no others.
	 */
	if (!merge->swallows && part->present == part->keys)
		return 0;
	result = clari_command_run(&command);
	return clari_command_number(&result, 0);
}

char *
clari_merge_shared_emails(ClariMerge *merge)
{
	ClariCommand command = command_of(
		merge, psprintf("SELECT min(s.owner_email::text), count(*), count(*) OVER () FROM %s WHERE %s GROUP BY "
						"%s HAVING count(*) > 1 ORDER BY 1 LIMIT 5",
						merge->from, merge->usable, merge->keys));
	ClariCommandResult result = clari_command_run(&command);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < result.nrows; i++)
		appendStringInfo(&list, "%s\"%s\" (%s)", i > 0 ? ", " : "", result.rows[i][0], result.rows[i][1]);
	if (result.nrows > 0 && number(result.rows[0][2]) > result.nrows)
		appendStringInfo(&list, ", and " INT64_FORMAT " more", number(result.rows[0][2]) - result.nrows);
	return list.data;
}

/* ------- merging from a staging table, for Citus ------- */

void
clari_merge_stage(ClariMerge *foreign, const ClariMerge *merge)
{
	ClariCommand command =
		command_of(foreign, psprintf("INSERT INTO %s (%s) SELECT %s FROM %s WHERE %s", merge->source_name,
									 merge->insert, of_alias('s', merge->insert), foreign->from, foreign->usable));

	command.tables[2] = merge->source;
	foreign->handed.read = false;
	(void) clari_command_run(&command);
	if (!foreign->handed.read)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot stage the rows of %s: they were read by another process", foreign->source_name)));
}

void
clari_merge_unstage(const ClariMerge *merge)
{
	clari_merge_execute(psprintf("DELETE FROM %s", merge->source_name), SPI_OK_DELETE);
}

/* ------- clari_merge() ------- */

/* Finds the source's parts.  The number of rows in parts without any usable row is added to *skipped. */
static ClariPart *
parts_of_source(ClariMerge *merge, int *count, int64 *skipped)
{
	ClariCommand command = command_of(
		merge, psprintf("SELECT s.time_period::text, s.forecast_name::text, count(*), count(*) FILTER (WHERE %s), "
						"max(s.exported_at) FILTER (WHERE %s), CASE WHEN count(*) = count(s.exported_at) THEN "
						"min(s.exported_at) END FROM %s GROUP BY 1, 2",
						merge->usable, merge->usable, merge->from));
	ClariCommandResult result = clari_command_run(&command);
	ClariPart *parts = palloc0(sizeof(ClariPart) * Max(result.nrows, 1));
	int64 rows;
	int64 usable;

	*count = 0;
	for (int i = 0; i < result.nrows; i++)
	{
		char **row = result.rows[i];

		if (number(row[3]) == 0)
			*skipped += number(row[2]);
		else
			parts[(*count)++] = (ClariPart){.time_period = row[0],
											.forecast_name = row[1],
											.rows = number(row[2]),
											.usable = number(row[3]),
											.keys = number(row[3]),
											.newest = row[4],
											.oldest = row[5]};
	}
	if (count_keys(merge, psprintf("hash_record_extended(ROW(%s), 0)", merge->keys), &rows, &usable) == usable)
		return parts;
	command.text = psprintf("SELECT s.time_period::text, s.forecast_name::text, count(*) FROM (%s) AS s GROUP BY 1, 2",
							source_rows(merge, true, NULL, 0));
	result = clari_command_run(&command);
	for (int i = 0; i < result.nrows; i++)
		find_part(parts, *count, result.rows[i])->keys = number(result.rows[i][2]);
	return parts;
}

static void
merge_by_hand(ClariMerge *merge, bool deletes, ClariCounts *total)
{
	int64 recurring = 0;
	ClariPart *parts;
	int count;

	clari_merge_begin(merge);
	parts = parts_of_source(merge, &count, &total->skipped);
	for (int i = 0; i < count; i++)
		recurring += parts[i].usable - parts[i].keys;
	if (recurring > 0)
		ereport(NOTICE, (errmsg_plural(INT64_FORMAT " row of %s is left out because a newer row has the same key",
									   INT64_FORMAT " rows of %s are left out because newer rows have the same key",
									   recurring, recurring, merge->source_name)));
	if (count > 0)
		clari_merge_run(merge, parts, count);
	for (int i = 0; i < count; i++)
	{
		total->inserted += parts[i].counts.inserted;
		total->updated += parts[i].counts.updated;
		total->unchanged += parts[i].counts.unchanged;
		total->skipped += parts[i].counts.skipped;
	}
	if (deletes)
		total->deleted = clari_merge_delete(merge, parts, count);
	clari_merge_end(merge);
}

/* SQL clari_merge(target, source, delete_missing): see doc/clari_fdw.md. */
Datum
clari_merge(PG_FUNCTION_ARGS)
{
	Oid target = clari_table_argument(fcinfo, 0, "clari_forecasts");
	Oid source = clari_table_argument(fcinfo, 1, "staging_clari");
	bool deletes = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	ClariCounts total = {0};
	const char *source_name;
	bool nulls[5] = {false};
	TupleDesc description;
	Datum values[5];

	clari_version_check_call(fcinfo, 3);
	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "clari_merge() does not return a row");
	clari_version_check_row(fcinfo, description, "bbbbb");
	/*
	 * Checked here and not at the first write, because before that, a foreign table
	 * as source would have been exported.
	 */
	if (get_rel_persistence(target) != RELPERSISTENCE_TEMP)
		PreventCommandIfReadOnly("clari_merge()");
	PreventCommandDuringRecovery("clari_merge()");
	if (PG_ARGISNULL(1) && get_rel_relkind(source) != RELKIND_RELATION &&
		get_rel_relkind(source) != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("cannot merge from %s: it is not a table", clari_table_name(source)),
						errhint("Specify it in the call if it is intended.")));
	source_name = clari_table_name(source);
	clari_merge_lock(target, clari_table_name(target), deletes);
	clari_merge_lock_source(source, source_name);
	merge_by_hand(clari_merge_open(target, source, NULL, deletes), deletes, &total);
	values[0] = Int64GetDatum(total.inserted);
	values[1] = Int64GetDatum(total.updated);
	values[2] = Int64GetDatum(total.unchanged);
	values[3] = Int64GetDatum(total.deleted);
	values[4] = Int64GetDatum(total.skipped);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls)));
}
