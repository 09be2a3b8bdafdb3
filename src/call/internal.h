/*
 * internal.h
 *		What the files of room call share: whether a call fits the library, which
 *		exports it means, statements of our own, the one merge, and the table
 *		clari_syncs.
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
 * The library's version against that of the extension's SQL objects.  A package brings
 * both, but they do not change together: objects wait for ALTER EXTENSION UPDATE in
 * each database, and a session (or, preloaded, the server) keeps the library that it
 * has loaded.  So a newer library serves older objects as they are: a C function
 * keeps its parameters and its columns, and what needs others gets another name,
 * beside it.  What does not fit is an error that says which of the two is older,
 * never a wrong read of memory.
 */

/*
 * Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE unless the SQL function was
 * made with so many parameters.
 */
extern void clari_version_check_call(FunctionCallInfo fcinfo, int parameters);

/* Raises the same unless the row has these types: for each column t text, b bigint, i integer, z timestamptz. */
extern void clari_version_check_row(FunctionCallInfo fcinfo, TupleDesc row, const char *types);

/*
 * ------- selection.c -------
 *
 * A relation and periods, as SQL functions and clari_sync take them, as a selection of
 * exports.
 */

/* Exports of one foreign table, by period. */
typedef struct ClariSelection
{
	ClariOptions *options; /* with the API key of the current user */
	ClariInterest *interest;
	ClariExtent asked;    /* the periods argument, or the table's extent */
	ClariPeriod current;  /* CLARI_PERIOD_NONE: not needed, or not known yet */
	ClariExport learning; /* the export that tells it */
	ClariExport *likely;  /* nlikely that it probably means, until that is known; NULL: not guessed yet */
	int nlikely;
	bool anew; /* if it is not known, a new export shall tell it, even if one failed a moment ago */
	int count;
	ClariExport *exports; /* count, ascending by period, the current quarter without one; and then learning */
	ClariPeriod *periods; /* count; CLARI_PERIOD_NONE while only Clari knows */
} ClariSelection;

/*
 * Checks the caller's right to select from the relation and the user mapping,
 * and reads the periods (NULL: the table's extent; elements as option "periods"
 * takes them, within the extent).  The current quarter is taken from the cache
 * if it is there; else a relative selection holds its export alone, until
 * clari_selection_learn_current().  palloc'd in the current context.  Raises
 * ERRCODE_INSUFFICIENT_PRIVILEGE, ERRCODE_INVALID_PARAMETER_VALUE, and what
 * clari_options_get() and clari_options_authenticate() raise.
 */
extern ClariSelection *clari_selection_make(Oid relid, ArrayType *periods);

/* Does it take the current quarter to tell what the selection means, or whether the table shows that? */
extern bool clari_selection_needs_current(const ClariSelection *selection);

/*
 * Waits until the current quarter is known, if the selection or the table's
 * extent needs it, at most timeout_ms (-1: no bound; false when they were
 * over), and completes the selection.  An export is made for it only if none is
 * cached that the table would take; then those that the selection is likely to
 * mean are queued beside it, as fresh as wanted (NULL: none are).  Raises the export's error, and as
 * clari_export_wait() does when the patience is over.
 */
extern bool clari_selection_learn_current(ClariSelection *selection, const ClariFreshness *wanted, long timeout_ms,
										  ClariPatience *patience);

/*
 * After waiting: has the current quarter changed, so that what was exported
 * without a period is another quarter than selected?  Then selects anew, and the
 * caller waits for what that adds.
 */
extern bool clari_selection_roll_over(ClariSelection *selection);

/*
 * ------- quota.c -------
 *
 * How many exports Clari's quota leaves, and what a sync does where that is too few.
 */

typedef struct ClariQuota
{
	int64 left;    /* exports that may still be queued; -1: as many as are wanted, as it is not known */
	int64 before;  /* of them, when Clari told; this and the next for messages */
	int64 monthly; /* exports in 30 days; -1: not known */
	bool told;     /* the user has been told which quarters are left out */
	bool is_short; /* there is less left than seems to be needed */
} ClariQuota;

/*
 * Before anything is exported: reads the limits, which are fresh to ten seconds, if the
 * selection takes a new export as far as it is known by now.  Raises
 * ERRCODE_CONFIGURATION_LIMIT_EXCEEDED where all_or_nothing takes more than there are,
 * or where there is none to learn which quarter is the current one; what
 * clari_export_wait() does when the patience is over.
 */
extern void clari_quota_begin(ClariSelection *selection, const ClariFreshness *freshness, bool all_or_nothing,
							  ClariPatience *patience, ClariQuota *quota);

/*
 * Once it is known which quarters are selected, and whenever that has changed: where
 * more exports are needed than are left, the older ones fail, and a warning names them.
 */
extern void clari_quota_ration(ClariSelection *selection, const ClariFreshness *freshness, ClariQuota *quota);

/*
 * ------- command.c -------
 *
 * Carries out a statement that we have written ourselves, on tables that are known by
 * OID, and hands over with it which versions it is to read.  Names in the text are
 * looked up in pg_catalog, but for qualified ones; and where such a name leads to
 * another table than the one that was checked, as after a schema was renamed, the
 * statement is not carried out.  Triggers run under the caller's own search_path.
 */

/* What a trigger's transition tables are called in its statements. */
#define CLARI_OLD_ROWS "clari_old_rows"
#define CLARI_NEW_ROWS "clari_new_rows"

typedef struct ClariCommand
{
	const char *text;
	Oid tables[3];              /* the only tables that it may name; unused ones are InvalidOid */
	ClariHanded *handed;        /* the versions that are handed over with it; NULL: none are */
	const TriggerData *trigger; /* whose transition tables it may name, if nothing is handed over; NULL: none */
	Snapshot snapshot;          /* what it reads by, registered; NULL: a new one */
	bool as_it_was;             /* it does not see what this transaction has written since the snapshot */
	bool few;                   /* it is about so few rows that an index look-up for each may pay */
	bool look_up;               /* they are, and the planner, who does not know that, is not to choose */
	bool only_check;            /* it is parsed, checked and planned, and not carried out */
} ClariCommand;

typedef struct ClariCommandResult
{
	int64 written;     /* how many rows INSERT, UPDATE, DELETE or MERGE has written */
	CommandId command; /* the cmin of these rows */
	int64 inserted;    /* these three: of an INSERT, or of a MERGE that no other extension has planned; else 0 */
	int64 updated;
	int64 offered; /* how many rows a MERGE had to decide on */
	int nrows;     /* how many rows a query has returned */
	char ***rows;  /* these rows: of each its values as text, NULL for a null */
} ClariCommandResult;

/*
 * The result lives in the current context.  Raises what the statement does, with
 * neither its text nor a position in it, and
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE where a name leads elsewhere.
 */
extern ClariCommandResult clari_command_run(const ClariCommand *command);

/* A number of the first row; 0 where it is null. */
extern int64 clari_command_number(const ClariCommandResult *result, int column);

/*
 * From here on names that are not qualified are pg_catalog's, until AtEOXact_GUC(true,
 * level) of the level that it returns, or the end of the (sub)transaction.
 */
extern int clari_command_enter_catalog(void);

/* A time as a statement has it. */
extern char *clari_command_time(TimestampTz time);

/*
 * ------- merge.c and merge_table.c -------
 *
 * The one MERGE of clari_merge() and clari_sync(): rows of forecasts into a table of
 * forecasts, and what became of them.  It runs with the caller's rights.  The caller
 * has locked the target against every other writer.
 */

/* Of the rows of a source, every one is in one of these, but for the deleted, which are the target's. */
typedef struct ClariCounts
{
	int64 inserted;
	int64 updated;
	int64 unchanged;
	int64 deleted;
	int64 skipped; /* without a key, for another row of its key, as older than the target's, or by a trigger */
} ClariCounts;

/* Rows of one period and forecast; texts are in the database's encoding. */
typedef struct ClariPart
{
	const char *time_period;
	const char *forecast_name;
	const char *newest; /* exported_at of the newest row; NULL: none is known */
	const char *oldest; /* of the oldest; NULL: one is not known */
	int64 rows;         /* how many rows the source has */
	int64 usable;       /* how many of these have a key */
	int64 keys;         /* how many different keys these have */
	int64 before;       /* how many rows the target had before the MERGE, if it was counted */
	int64 present;      /* how many it has after the MERGE; -1: not counted */
	int64 written;      /* how many of these the MERGE has written, if it was counted */
	const char *error;  /* of clari_sync: why it is bad although it was merged, or NULL */
	ClariCounts counts;
} ClariPart;

typedef struct ClariMerge
{
	Oid target;
	Oid source;
	const char *target_name; /* qualified, quoted */
	const char *source_name;
	bool by_user;       /* the target's key has user_id in place of owner_email */
	bool distributed;   /* the target is distributed by Citus, whose MERGE does not tell what it has written */
	bool swallows;      /* triggers of the target may keep rows from being written */
	bool composed;      /* the target consists of partitions or other children */
	int64 pages;        /* the target's size, in pages */
	ClariHanded handed; /* the versions that are handed over for the source, if it has readers */
	Snapshot snapshot;  /* what all statements read by; NULL: the merge has not begun */

	/* Parts of the statements, in which t is the target and s the source. */
	const char *from;
	const char *usable;
	const char *keys; /* the key's columns of s, cast to what t compares */
	const char *hash; /* a hash of s's owner_email or user_id, the same for what the target's key takes for equal */
	const char *same_key;
	const char *differs;
	const char *columns;
	const char *insert;
	const char *update;
	const char *period; /* "t.time_period = ", and below it the cast that a text needs behind that */
	const char *period_type;
	const char *name;
	const char *name_type;
	const char *owner_type; /* the cast of the key's third column */
} ClariMerge;

/*
 * The table that an argument means: the one given or, for NULL, the one of that
 * name in the search_path, if it and its schema are the caller's, or of a role that
 * he is a member of, or (the schema) a superuser's.  Raises
 * ERRCODE_INSUFFICIENT_PRIVILEGE, ERRCODE_UNDEFINED_TABLE.
 */
extern Oid clari_table_argument(FunctionCallInfo fcinfo, int argument, const char *name);

/*
 * Locks a target, as far as the caller has the rights to write to it.  Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if it has not the name that it had.
 */
extern void clari_merge_lock(Oid target, const char *name, bool deletes);

/* Locks a source, which others may go on writing to.  Raises as clari_merge_lock() does. */
extern void clari_merge_lock_source(Oid source, const char *name);

/*
 * What tells the target's rows apart, and from their newer versions, as far as that
 * needs no source.  The target is open.  Raises whatever is wrong with its columns and
 * its key.
 */
extern ClariMerge *clari_merge_of_target(Relation target, uint32 types);

/*
 * What it takes to merge the source into the target, both locked; options are
 * those of a foreign table whose columns of types that were not exported leave the
 * target's alone, or NULL.  palloc'd in the current context.  Raises whatever is
 * known to make the merge fail.
 */
extern ClariMerge *clari_merge_open(Oid target, Oid source, const ClariOptions *options, bool deletes);

/* What is written, and by which difference: columns of types that were not exported are not. */
extern void clari_merge_set_types(ClariMerge *merge, uint32 types);

/* Has the statements planned and checked, as EXPLAIN would. */
extern void clari_merge_check(const ClariMerge *merge, bool deletes);

/* Between these two nothing else may write to the target. */
extern void clari_merge_begin(ClariMerge *merge);
extern void clari_merge_end(ClariMerge *merge);

/* Counts the parts' rows in the source, which holds no others, or is handed none. */
extern void clari_merge_count_source(ClariMerge *merge, ClariPart *parts, int count);

/* Merges the parts, which are all that the source holds, and counts what became of each. */
extern void clari_merge_run(ClariMerge *merge, ClariPart *parts, int count);

/* Deletes what the target has of the parts and the source has not, unless it is newer; returns how many. */
extern int64 clari_merge_delete(ClariMerge *merge, const ClariPart *parts, int count);

/* How many rows clari_merge_delete() would delete; also tells in part->present how many the target has by now. */
extern int64 clari_merge_count_missing(ClariMerge *merge, ClariPart *part);

/* Owners of the source who share an e-mail, at most five of them, as an error's detail has them. */
extern char *clari_merge_shared_emails(ClariMerge *merge);

/*
 * For a target that Citus distributes: the same merge from the staging table, which
 * is locked, colocated with the target, and empty, or else that is raised; to stage
 * what the source is handed, in this process or not at all; and to empty it again.
 */
extern ClariMerge *clari_merge_open_staged(const ClariMerge *foreign, const ClariOptions *options, bool deletes);
extern void clari_merge_stage(ClariMerge *foreign, const ClariMerge *merge);
extern void clari_merge_unstage(const ClariMerge *merge);
extern void clari_merge_execute(const char *text, int expected);
extern void clari_merge_check_colocated(Oid target, Oid staging, const char *key);

/* Who owns the relation; and is such an owner the caller, or a role that he is a member of? */
extern Oid clari_table_owner(Oid relid);
extern bool clari_role_is_own(Oid owner);

/* A name with its schema, quoted. */
extern char *clari_table_name(Oid relid);

/* Does Citus have the table? */
extern bool clari_table_is_distributed(Oid target);

/*
 * A table of that name in the target's schema, locked or InvalidOid: raises unless it
 * is there, and no stranger's, whose triggers would run.
 */
extern void clari_table_check_beside(Oid table, const char *name, Oid target);

/*
 * ------- history.c -------
 *
 * The history of a target, which is a table beside it: each version that a row has
 * had, from when to when.  Triggers on the target keep it, by statement: whatever keys a
 * statement has touched, their rows in the target are compared with their open versions
 * in the history, and what differs is closed and opened anew.  So neither the order of
 * triggers nor what these write matters, and to do it for all keys is to catch up.
 */

/* If a history of the target is kept, raises what is known to make that fail for who writes to it. */
extern void clari_history_check(Oid target);

/*
 * ------- parts.c -------
 *
 * Which parts an export has: its quarter, or its months or its year.
 */

/*
 * The parts of the open export, of the table's type, in the current context.  One
 * without any entries has its quarter, but no months.  Raises what
 * clari_reader_chunk() does.
 */
extern ClariPart *
clari_parts_find(ClariReader *reader, const ClariOptions *options, const char *forecast_name, int *count);

/* Which parts a quarter's export will have, by their ids, as far as that is known beforehand; returns how many. */
extern int clari_parts_expected(const ClariOptions *options, ClariPeriod quarter,
								char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE]);

/*
 * ------- syncs.c -------
 *
 * The table clari_syncs in a target's schema: what was synced into it, from where, and
 * when that was last found right.
 */

/* One of its rows. */
typedef struct ClariSyncsRow
{
	ClariPart *part;
	const char *job_id; /* of the export that was merged, empty if that takes no job; NULL: none was */
	TimestampTz exported_at;
	const char *error; /* NULL: none, and the target is right */
	bool stands_in;    /* the part is the quarter asked for, in place of months that nobody knows */
} ClariSyncsRow;

/*
 * What the rows of a foreign table are: server, forecast, and whatever else makes
 * them what they are; last the account, as far as it is known by now.
 */
extern char *clari_syncs_source(const ClariOptions *options);

/*
 * The table of the target's schema, made if it is not there.  Raises
 * ERRCODE_INSUFFICIENT_PRIVILEGE, also where it is a stranger's, whose triggers
 * would run.
 */
extern Oid clari_syncs_open(Oid target);

/*
 * May rows of the source be merged as this part?  NULL: they may; else why not:
 * there are another source's. *newer: the target has had an export that is
 * newer than exported_at.
 */
extern char *clari_syncs_check(Oid syncs, Oid target, const ClariPart *part, const char *source,
							   TimestampTz exported_at, bool *newer);

/* Notes in clari_syncs what has come of a part. */
extern void clari_syncs_note(Oid syncs, Oid target, const char *source, const ClariSyncsRow *row);

/* The months of a quarter are right: whatever failure was noted in their place is over. */
extern void clari_syncs_clear(Oid syncs, Oid target, const ClariPart *stand_in);

#endif /* CLARI_CALL_INTERNAL_H */
