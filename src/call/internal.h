/*
 * internal.h
 *		What the files of the room call share: the check that SQL objects fit the
 *		library, selections of exports, statements that the code writes, the
 *		MERGE of clari_merge() and clari_sync(), and the table clari_syncs.
 */
#ifndef CLARI_CALL_INTERNAL_H
#define CLARI_CALL_INTERNAL_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/snapshot.h"

#include "options/options.h"
#include "session/fetch.h"
#include "session/handed.h"

/*
 * ------- version.c -------
 *
 * Compares the library's version with that of the extension's SQL objects.  A
 * package brings both, but they do not change together: objects are updated by
 * ALTER EXTENSION UPDATE in each database, and a session (or, if the library is
 * preloaded, the server) keeps the library that it has loaded.  A newer library
 * therefore works with older objects: a C function keeps its parameters and
 * columns, and a change of these gets a function with a new name.  If the two do
 * not fit, an error says which of them is older; memory is never read wrongly.
 */

/*
 * Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE unless the SQL function has
 * this number of parameters.
 */
extern void clari_version_check_call(FunctionCallInfo fcinfo, int parameters);

/*
 * Raises the same error unless the row has these column types, a letter each: t
 * text, b bigint, i integer, z timestamptz.
 */
extern void clari_version_check_row(FunctionCallInfo fcinfo, TupleDesc row, const char *types);

/*
 * ------- selection.c -------
 *
 * Translates a relation and periods, the arguments of SQL functions and
 * clari_sync, into a selection of exports.
 */

/* Exports of one foreign table, by period. */
typedef struct ClariSelection
{
	ClariOptions *options; /* with the API key of the current user */
	ClariInterest *interest;
	ClariExtent asked;    /* the periods argument, or the table's extent */
	ClariPeriod current;  /* CLARI_PERIOD_NONE: not needed, or not known yet */
	ClariExport learning; /* the export without a period, whose answer tells the current quarter */
	/* the nlikely exports that are probably selected, while current is not known; NULL: not determined yet */
	ClariExport *likely;
	int nlikely;
	bool anew; /* if current is not known, make a new export to learn it, even if one failed a moment ago */
	int count;
	/* count exports, ascending by period, that of the current quarter without a period; followed by learning */
	ClariExport *exports;
	ClariPeriod *periods; /* count; CLARI_PERIOD_NONE while current is not known */
} ClariSelection;

/*
 * Checks the caller's right to select from the relation and the user mapping, and
 * reads the periods (in the form of option "periods", within the table's extent;
 * NULL: all of the extent).  The current quarter is taken from the cache if it is
 * known there.  If not, a relative selection consists only of the current
 * quarter's export until clari_selection_learn_current().  The result is palloc'd
 * in the current context.  Raises ERRCODE_INSUFFICIENT_PRIVILEGE,
 * ERRCODE_INVALID_PARAMETER_VALUE, and the errors of clari_options_get() and
 * clari_options_authenticate().
 */
extern ClariSelection *clari_selection_make(Oid relid, ArrayType *periods);

/*
 * Must the current quarter be known to determine the selected periods, or to
 * check that they are within the table's extent?
 */
extern bool clari_selection_needs_current(const ClariSelection *selection);

/*
 * If the selection or the table's extent needs the current quarter, waits until
 * it is known, and completes the selection.  Returns false after timeout_ms (-1:
 * no limit).  An export is made for this only if no cached one would serve the
 * table; meanwhile the exports that are probably selected are queued, as fresh as
 * wanted says (NULL: none is queued).  Raises the export's error, and that of
 * clari_export_wait() when the patience ends.
 */
extern bool clari_selection_learn_current(ClariSelection *selection, const ClariFreshness *wanted, long timeout_ms,
										  ClariPatience *patience);

/*
 * To be called after waiting: if the current quarter has changed, so that the
 * export without a period is not of the quarter selected, selects again and
 * returns true; the caller then waits for the exports that this adds.
 */
extern bool clari_selection_roll_over(ClariSelection *selection);

/*
 * ------- quota.c -------
 *
 * How many exports Clari's quota leaves, and what a sync does if they are too
 * few.
 */

typedef struct ClariQuota
{
	int64 left;    /* exports that may still be queued; -1: not known, and so not limited */
	int64 before;  /* left as Clari told it; this and monthly are for messages */
	int64 monthly; /* exports in 30 days; -1: not known */
	bool told;     /* the user has been warned which quarters are left out */
	bool is_short; /* less is left than seems to be needed */
} ClariQuota;

/*
 * To be called before anything is exported.  If the selection needs a new export,
 * as far as is known by now, requests the limits from Clari, and waits at most ten
 * seconds for them.  Raises ERRCODE_CONFIGURATION_LIMIT_EXCEEDED if all_or_nothing
 * is set and the quota does not cover all exports, or if none is left to learn the
 * current quarter; and the error of clari_export_wait() when the patience ends.
 */
extern void clari_quota_begin(ClariSelection *selection, const ClariFreshness *freshness, bool all_or_nothing,
							  ClariPatience *patience, ClariQuota *quota);

/*
 * To be called when the selected quarters are known, and again whenever they
 * change.  If more exports are needed than are left, those of the oldest quarters
 * are marked as failed, and a warning names them.
 */
extern void clari_quota_ration(ClariSelection *selection, const ClariFreshness *freshness, ClariQuota *quota);

/*
 * ------- command.c -------
 *
 * Executes statements that the code writes, on tables that are known by OID, and
 * hands over to them the versions that they read.  Unqualified names in the text
 * are looked up in pg_catalog.  If a name leads to a table other than the one
 * that was checked, for example because a schema was renamed, the statement is
 * not executed.  Triggers run under the caller's own search_path.
 */

/* The names of a trigger's transition tables in its statements. */
#define CLARI_OLD_ROWS "clari_old_rows"
#define CLARI_NEW_ROWS "clari_new_rows"

typedef struct ClariCommand
{
	const char *text;
	Oid tables[3];       /* the only tables that it may name; unused elements are InvalidOid */
	ClariHanded *handed; /* versions that are handed over to it; NULL: none */
	/* if nothing is handed over: the trigger whose transition tables it may name; NULL: none */
	const TriggerData *trigger;
	Snapshot snapshot; /* registered snapshot that it uses; NULL: a new one */
	bool as_it_was;    /* it does not see what this transaction wrote after the snapshot was taken */
	bool few;          /* it concerns so few rows that a nested loop with index look-ups may pay */
	/* hash and merge joins are disabled: the planner does not know that the rows are few */
	bool look_up;
	bool only_check; /* it is parsed, checked and planned, but not executed */
} ClariCommand;

typedef struct ClariCommandResult
{
	int64 written;     /* rows that INSERT, UPDATE, DELETE or MERGE has written */
	CommandId command; /* the cmin of these rows */
	/* the next three are of an INSERT, or of a MERGE that no other extension has planned; else 0 */
	int64 inserted;
	int64 updated;
	int64 offered; /* source rows of a MERGE */
	int nrows;     /* rows that a query has returned */
	char ***rows;  /* these rows: the values of each as text, NULL for a null */
} ClariCommandResult;

/*
 * Executes the command.  The result is palloc'd in the current context.  Raises
 * the statement's errors, without its text and without a position in it, and
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if a name leads to an unchecked table.
 */
extern ClariCommandResult clari_command_run(const ClariCommand *command);

/* A number in the first row of the result; 0 if it is null or there is no row. */
extern int64 clari_command_number(const ClariCommandResult *result, int column);

/*
 * Makes unqualified names mean pg_catalog's.  Returns a level; the setting lasts
 * until AtEOXact_GUC(true, level) or the end of the (sub)transaction.
 */
extern int clari_command_enter_catalog(void);

/* A timestamp as an SQL literal, palloc'd. */
extern char *clari_command_time(TimestampTz time);

/*
 * ------- merge.c and merge_table.c -------
 *
 * The MERGE of clari_merge() and clari_sync(), which writes rows of forecasts
 * into a target table, and counts its effects.  It runs with the caller's rights.
 * The caller has locked the target against all other writers.
 */

/* The effects of a merge.  Each row of the source is counted exactly once; deleted counts rows of the target. */
typedef struct ClariCounts
{
	int64 inserted;
	int64 updated;
	int64 unchanged;
	int64 deleted;
	/* rows without a key, with a key that another row has, older than the target's, or skipped by a trigger */
	int64 skipped;
} ClariCounts;

/* The rows of one period and forecast.  Texts are in the database's encoding. */
typedef struct ClariPart
{
	const char *time_period;
	const char *forecast_name;
	const char *newest; /* exported_at of the newest row; NULL: not known */
	const char *oldest; /* exported_at of the oldest row; NULL: not known of all rows */
	int64 rows;         /* rows of the source */
	int64 usable;       /* rows of the source that have a key */
	int64 keys;         /* different keys of these rows */
	int64 before;       /* rows of the target before the MERGE, if counted */
	int64 present;      /* rows of the target after the MERGE; -1: not counted */
	int64 written;      /* rows that the MERGE has written, if counted */
	const char *error;  /* set by clari_sync if it has a complaint although the part was merged; else NULL */
	ClariCounts counts;
} ClariPart;

typedef struct ClariMerge
{
	Oid target;
	Oid source;
	const char *target_name; /* qualified, quoted */
	const char *source_name;
	bool by_user; /* the target's key has user_id instead of owner_email */
	/* the target is distributed by Citus, whose MERGE does not report what it has written */
	bool distributed;
	bool swallows;      /* the target has triggers that may skip rows */
	bool composed;      /* the target has partitions or child tables */
	int64 pages;        /* the target's size, in pages */
	ClariHanded handed; /* versions that are handed over for the source; used if it has readers */
	Snapshot snapshot;  /* used by all statements; NULL: the merge has not begun */

	/* Parts of the statements, in which t is the target and s the source. */
	const char *from;
	const char *usable;
	const char *keys; /* key columns of s, cast to the types that t's key compares */
	const char *hash; /* hash of s's owner_email or user_id; equal keys have equal hashes */
	const char *same_key;
	const char *differs;
	const char *columns;
	const char *insert;
	const char *update;
	const char *period; /* "t.time_period = ", to be followed by a text with the cast period_type */
	const char *period_type;
	const char *name;
	const char *name_type;
	const char *owner_type; /* cast of the key's third column */
} ClariMerge;

/*
 * Returns the table that an argument gives or, if it is NULL, the table with this
 * name in the search_path.  In the second case the table must belong to the
 * caller or to a role of which the caller is a member, and so must its schema,
 * which may also be a superuser's.  Raises ERRCODE_INSUFFICIENT_PRIVILEGE,
 * ERRCODE_UNDEFINED_TABLE.
 */
extern Oid clari_table_argument(FunctionCallInfo fcinfo, int argument, const char *name);

/*
 * Locks a target, after checking that the caller may write to it (with deletes,
 * also that rows may be deleted).  Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if its name is no longer the given
 * one.
 */
extern void clari_merge_lock(Oid target, const char *name, bool deletes);

/* Locks a source, to which others may still write.  Raises the same errors as clari_merge_lock(). */
extern void clari_merge_lock_source(Oid source, const char *name);

/*
 * Prepares the parts of the statements that concern only the target, which the
 * caller has opened: its key, and how its rows differ from newer ones.  Raises an
 * error if its columns or key are not suitable.
 */
extern ClariMerge *clari_merge_of_target(Relation target, uint32 types);

/*
 * Prepares a merge of the source into the target, both locked.  If the source is
 * a foreign table, options are its options, and the target's columns of types
 * that were not exported are left alone; otherwise options is NULL.  The result is
 * palloc'd in the current context.  Raises an error for every reason known in
 * advance that would make the merge fail.
 */
extern ClariMerge *clari_merge_open(Oid target, Oid source, const ClariOptions *options, bool deletes);

/* Sets which columns are compared and written: not those of types that were not exported. */
extern void clari_merge_set_types(ClariMerge *merge, uint32 types);

/* Has the statements parsed, checked and planned, as EXPLAIN does, so that their errors appear in advance. */
extern void clari_merge_check(const ClariMerge *merge, bool deletes);

/* Takes and releases the snapshot of a merge.  Nothing else may write to the target in between. */
extern void clari_merge_begin(ClariMerge *merge);
extern void clari_merge_end(ClariMerge *merge);

/* Sets rows, usable and keys of the parts, which must be all parts that the source has or is handed. */
extern void clari_merge_count_source(ClariMerge *merge, ClariPart *parts, int count);

/* Merges the parts, which must be all that the source has, and sets counts of each. */
extern void clari_merge_run(ClariMerge *merge, ClariPart *parts, int count);

/* Deletes the target's rows of these parts that the source does not have, unless they are newer.  Returns how many. */
extern int64 clari_merge_delete(ClariMerge *merge, const ClariPart *parts, int count);

/* Returns how many rows clari_merge_delete() would delete.  Also sets part->present. */
extern int64 clari_merge_count_missing(ClariMerge *merge, ClariPart *part);

/* Lists at most five e-mail addresses that several owners in the source share, for an error's detail. */
extern char *clari_merge_shared_emails(ClariMerge *merge);

/*
 * For a target that Citus distributes, rows are merged by way of a staging table.
 * clari_merge_open_staged() prepares the merge from the staging table, which it
 * locks; it raises an error if that is not colocated with the target, or not
 * empty.  clari_merge_stage() copies what is handed over for the foreign table;
 * it raises an error if another process has read the rows instead of this one.
 * clari_merge_unstage() empties the staging table.
 */
extern ClariMerge *clari_merge_open_staged(const ClariMerge *foreign, const ClariOptions *options, bool deletes);
extern void clari_merge_stage(ClariMerge *foreign, const ClariMerge *merge);
extern void clari_merge_unstage(const ClariMerge *merge);
extern void clari_merge_execute(const char *text, int expected);
extern void clari_merge_check_colocated(Oid target, Oid staging, const char *key);

/*
 * clari_table_owner() returns the relation's owner.  clari_role_is_own() returns
 * whether a role is the caller, or a role that was granted to the caller.
 */
extern Oid clari_table_owner(Oid relid);
extern bool clari_role_is_own(Oid owner);

/* The relation's name, quoted and with its schema, palloc'd.  Raises an error if the relation has been dropped. */
extern char *clari_table_name(Oid relid);

/* Is the table distributed by Citus? */
extern bool clari_table_is_distributed(Oid target);

/*
 * Checks a table that belongs to the target and is in its schema; the caller has
 * locked it, or found none (InvalidOid).  Raises an error if it does not exist,
 * or if its owner is neither the caller, the target's owner nor a superuser,
 * because the owner's triggers would run.
 */
extern void clari_table_check_beside(Oid table, const char *name, Oid target);

/*
 * ------- history.c -------
 *
 * The history of a target is a table beside it, with each version that a row has
 * had and the time for which it was valid.  Statement-level triggers on the
 * target maintain it: for all keys that a statement has touched, the target's
 * rows are compared with the open versions in the history; versions that differ
 * are closed, and new ones opened.  The order of triggers and what they write
 * therefore does not matter, and processing all keys brings a history up to date.
 */

/* If the target has a history, raises an error for every reason known in advance that would make writing to it fail. */
extern void clari_history_check(Oid target);

/*
 * ------- parts.c -------
 *
 * The parts of an export: its quarter, or its months, or its year.
 */

/*
 * Returns the parts of the open export, of the table's period type, palloc'd in
 * the current context; *count is set to their number.  An export without entries
 * has its quarter, but no months and no year.  Raises the errors of
 * clari_reader_chunk().
 */
extern ClariPart *
clari_parts_find(ClariReader *reader, const ClariOptions *options, const char *forecast_name, int *count);

/*
 * Sets ids to the ids of the parts that a quarter's export will have, as far as
 * they are known in advance; returns how many.
 */
extern int clari_parts_expected(const ClariOptions *options, ClariPeriod quarter,
								char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE]);

/*
 * ------- syncs.c -------
 *
 * The table clari_syncs in a target's schema: which export of which source was
 * merged into each part, and when the part was last confirmed to be up to date.
 */

/* One of its rows. */
typedef struct ClariSyncsRow
{
	ClariPart *part;
	const char *job_id; /* of the export that was merged, empty if it has no job; NULL: none was merged */
	TimestampTz exported_at;
	const char *error; /* NULL: none, and the target is up to date */
	bool stands_in;    /* the part is the requested quarter, because its months (or year) are not known */
} ClariSyncsRow;

/*
 * Describes the source of a foreign table's rows: server, forecast, and all
 * options that influence the rows; at the end the account, if it is known by now.
 */
extern char *clari_syncs_source(const ClariOptions *options);

/*
 * Returns clari_syncs of the target's schema, and creates it if necessary.
 * Raises ERRCODE_INSUFFICIENT_PRIVILEGE, also if it is owned by somebody whose
 * triggers must not run.
 */
extern Oid clari_syncs_open(Oid target);

/*
 * May rows of the source be merged into this part?  Returns NULL if so; otherwise
 * the reason, which is that the part's rows come from another source.  *newer is
 * set to whether an export newer than exported_at has been merged.
 */
extern char *clari_syncs_check(Oid syncs, Oid target, const ClariPart *part, const char *source,
							   TimestampTz exported_at, bool *newer);

/* Records in clari_syncs what happened to a part.  If its time_period is NULL, only checks that this is possible. */
extern void clari_syncs_note(Oid syncs, Oid target, const char *source, const ClariSyncsRow *row);

/*
 * Removes the failure that was recorded for a quarter while its months (or year)
 * were not known, after they were merged.
 */
extern void clari_syncs_clear(Oid syncs, Oid target, const ClariPart *stand_in);

#endif /* CLARI_CALL_INTERNAL_H */
