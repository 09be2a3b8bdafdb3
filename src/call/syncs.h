/*
 * syncs.h
 *		The table clari_syncs in a target's schema: what was synced into it, from
 *		where, and when that was last found right.
 */
#ifndef CLARI_SYNCS_H
#define CLARI_SYNCS_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "call/merge.h"

/* One of its rows. */
typedef struct ClariSyncsRow
{
	ClariPart *part;
	const char *job_id; /* of the export that was merged; NULL: none was */
	TimestampTz exported_at;
	const char *error; /* NULL: none, and the target is right */
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
 * May rows of the source be merged as this part?  NULL, or why not: they are
 * another source's.  *newer: there was an export after exported_at (as of which it
 * is).
 */
extern char *clari_syncs_check(Oid syncs, Oid target, const ClariPart *part, const char *source,
							   TimestampTz exported_at, bool *newer);

/* Notes what has come of it. */
extern void clari_syncs_note(Oid syncs, Oid target, const char *source, const ClariSyncsRow *row);

#endif /* CLARI_SYNCS_H */
