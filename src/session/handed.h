/*
 * handed.h
 *		Rowsets that are handed over with a statement, instead of being looked up.
 */
#ifndef CLARI_HANDED_H
#define CLARI_HANDED_H

#include "postgres.h"

#include "utils/queryenvironment.h"

#include "session/reader.h"

/*
 * The rowsets that scans of one foreign table are to read, whole and nothing else:
 * they choose no period, look nothing up, and export nothing.  They lie in the
 * statement's query environment, so that neither what a trigger runs nor another
 * process sees them.
 */
typedef struct ClariHanded
{
	Oid relid;
	int count;
	ClariReader **readers; /* open as long as the statement runs */
	bool read;             /* a scan in this process has read them */
} ClariHanded;

/* What a scan of the table is handed, if its statement has it for that table; else NULL. */
extern ClariHanded *clari_handed_find(QueryEnvironment *environment, Oid relid);

/* A query environment that holds what is handed over, in the current context. */
extern QueryEnvironment *clari_handed_environment(ClariHanded *handed);

#endif /* CLARI_HANDED_H */
