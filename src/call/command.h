/*
 * command.h
 *		Carries out a statement that we have written ourselves, on tables that are
 *		known by OID, and hands over with it which versions it is to read.
 *
 * Names in the text are looked up in pg_catalog, but for qualified ones; and where
 * such a name leads to another table than the one that was checked, as after a
 * schema was renamed, the statement is not carried out.  Triggers run under the
 * caller's own search_path.
 */
#ifndef CLARI_COMMAND_H
#define CLARI_COMMAND_H

#include "postgres.h"

#include "utils/snapshot.h"

#include "session/handed.h"

typedef struct ClariCommand
{
	const char *text;
	Oid tables[3];       /* all that it may name; InvalidOid: none */
	ClariHanded *handed; /* or NULL */
	Snapshot snapshot; /* a registered one to read by, with what this transaction has written since; NULL: a new one */
	bool as_it_was;    /* without what it has written since */
	bool few;          /* as rows go: an index look-up for each may pay */
	bool only_check;   /* do all but carry it out, as EXPLAIN does */
} ClariCommand;

typedef struct ClariAnswer
{
	int64 written;     /* by INSERT, UPDATE, DELETE, MERGE */
	CommandId command; /* what these rows have for cmin */
	bool counted;      /* the next two hold: a MERGE that was not planned by another extension */
	int64 inserted;
	int64 updated;
	int64 offered; /* rows that it was to decide on */
	int nrows;     /* these two of a query: its rows, as text */
	char ***rows;
} ClariAnswer;

/*
 * The answer lives in the current context.  Raises what the statement does, with
 * neither its text nor a position in it, and
 * ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE where a name leads elsewhere.
 */
extern ClariAnswer clari_command_run(const ClariCommand *command);

/* A number of the answer's first row; 0 where it is null. */
extern int64 clari_answer_number(const ClariAnswer *answer, int column);

#endif /* CLARI_COMMAND_H */
