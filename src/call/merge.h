/*
 * merge.h
 *		The one MERGE of clari_merge() and clari_sync(): rows of forecasts into a
 *		table of forecasts, and what became of them.
 *
 * Runs in sessions, with the caller's rights.  The caller has locked the target
 * against every other writer.
 */
#ifndef CLARI_MERGE_H
#define CLARI_MERGE_H

#include "postgres.h"

#include "fmgr.h"

#include "call/command.h"
#include "options/options.h"

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
	int64 rows;         /* of the source … */
	int64 usable;       /* … that have a key … */
	int64 keys;         /* … of which so many differ */
	int64 before;  /* rows of the target, before and after the MERGE, and that it wrote; as far as they were counted */
	int64 present; /* -1: not counted */
	int64 written;
	ClariCounts counts;
} ClariPart;

typedef struct ClariMerge
{
	Oid target;
	Oid source;
	const char *target_name; /* qualified, quoted */
	const char *source_name;
	bool by_user;       /* the key has user_id in place of owner_email */
	bool distributed;   /* by Citus, which counts nothing */
	bool swallows;      /* triggers may keep rows from being written */
	bool composed;      /* of partitions or other children */
	int64 pages;        /* of the target */
	ClariHanded handed; /* for the source, if that has readers */
	Snapshot snapshot;  /* all is read by it; NULL: not begun */

	/* parts of the statements, in which t is the target and s the source */
	const char *from;
	const char *usable;
	const char *keys; /* those of s as t compares them */
	const char *hash; /* of s's owner as t compares it */
	const char *same_key;
	const char *differs;
	const char *columns;
	const char *insert;
	const char *update;
	const char *period; /* "t.time_period = ", and what a text must be cast to */
	const char *period_type;
	const char *name;
	const char *name_type;
} ClariMerge;

/*
 * The table that an argument means: the one given or, for NULL, the one of that
 * name in the search_path, if it and its schema are the caller's, or of a role that
 * he is a member of, or (the schema) a superuser's.  Raises
 * ERRCODE_INSUFFICIENT_PRIVILEGE, ERRCODE_UNDEFINED_TABLE.
 */
extern Oid clari_merge_table(FunctionCallInfo fcinfo, int argument, const char *name);

/*
 * Locks a target, as far as the caller has the rights to write to it.  Raises
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE if it has not the name that it had.
 */
extern void clari_merge_lock(Oid target, const char *name, bool deletes);

/* The same of a source, which others may go on writing to. */
extern void clari_merge_lock_source(Oid source, const char *name);

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

/* Counts the part's rows in the source, which holds no others, or is handed none. */
extern void clari_merge_look(ClariMerge *merge, ClariPart *part);

/* Merges the parts, which are all that the source holds, and counts what became of each. */
extern void clari_merge_run(ClariMerge *merge, ClariPart *parts, int count);

/* Deletes what the target has of the parts and the source has not, unless it is newer; returns how many. */
extern int64 clari_merge_delete(ClariMerge *merge, const ClariPart *parts, int count);

/* How many rows that would be; also tells in part->present how many the target has by now. */
extern int64 clari_merge_missing(ClariMerge *merge, ClariPart *part);

/* Owners of the source who share an e-mail, at most five of them, as an error's detail has them. */
extern char *clari_merge_shared(ClariMerge *merge);

/*
 * For a target that Citus distributes: the same merge from the staging table, which
 * is locked, colocated with the target, and empty, or else that is raised; to stage
 * what the source is handed, in this process or not at all; and to empty it again.
 */
extern ClariMerge *clari_merge_open_staged(const ClariMerge *rows, const ClariOptions *options, bool deletes);
extern void clari_merge_stage(ClariMerge *rows, const ClariMerge *merge);
extern void clari_merge_unstage(const ClariMerge *merge);
extern void clari_merge_execute(const char *text, int expected);
extern void clari_merge_check_colocated(Oid target, Oid staging, const char *key);

/* Who owns the relation; and is the owner the caller, or a role that he is a member of? */
extern Oid clari_merge_owner(Oid relid);
extern bool clari_merge_is_own(Oid owner);

/* A name with its schema, quoted. */
extern char *clari_merge_name(Oid relid);

#endif /* CLARI_MERGE_H */
