/*
 * handed.h
 *		Handing rowsets over to a statement, so that its scans do not look them up.
 */
#ifndef CLARI_HANDED_H
#define CLARI_HANDED_H

#include "postgres.h"

#include "utils/queryenvironment.h"

#include "session/reader.h"

/*
 * The rowsets that scans of one foreign table read, all of them and no others.
 * Such scans choose no periods, look nothing up, and make no exports.  The
 * rowsets are attached to the statement's query environment, so that neither
 * statements of triggers nor other processes see them.
 */
typedef struct ClariHanded
{
	Oid relid;
	int count;
	ClariReader **readers; /* must be open as long as the statement runs */
	bool read;             /* set when a scan in this process reads them */
} ClariHanded;

/* Returns what is handed over to the statement for this table, or NULL. */
extern ClariHanded *clari_handed_find(QueryEnvironment *environment, Oid relid);

/* Makes a query environment with what is handed over, palloc'd in the current context. */
extern QueryEnvironment *clari_handed_environment(ClariHanded *handed);

#endif /* CLARI_HANDED_H */
