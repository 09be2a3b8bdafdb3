/*
 * handed.h
 *		Rowsets that are handed over to a statement, instead of being looked up.
 */
#ifndef CLARI_HANDED_H
#define CLARI_HANDED_H

#include "postgres.h"

#include "utils/queryenvironment.h"

#include "session/reader.h"

/*
 * The rowsets that scans of one foreign table are to read completely.  Such scans
 * choose no periods, look nothing up, and export nothing.  The rowsets are in the
 * statement's query environment, so they are seen neither by queries that triggers
 * run nor by other processes.
 */
typedef struct ClariHanded
{
	Oid relid;
	int count;
	ClariReader **readers; /* open as long as the statement runs */
	bool read;             /* a scan in this process has read them */
} ClariHanded;

/* Returns what is handed over for scans of the table; NULL: nothing. */
extern ClariHanded *clari_handed_find(QueryEnvironment *environment, Oid relid);

/* Makes a query environment that contains what is handed over, in the current context. */
extern QueryEnvironment *clari_handed_environment(ClariHanded *handed);

#endif /* CLARI_HANDED_H */
