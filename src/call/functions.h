/*
 * functions.h
 *		What the SQL-callable functions and the sync procedure share: a relation
 *		and periods as a selection of exports.
 */
#ifndef CLARI_FUNCTIONS_H
#define CLARI_FUNCTIONS_H

#include "postgres.h"

#include "utils/array.h"

#include "session/fetch.h"

/* Exports of one foreign table, by period. */
typedef struct ClariSelection
{
	ClariOptions *options; /* authenticated as the current user */
	ClariInterest *interest;
	ClariExtent asked;    /* the periods argument, or the table's extent */
	ClariPeriod current;  /* CLARI_PERIOD_NONE: not needed, or not known yet */
	ClariWanted learning; /* the export that tells it */
	bool anew;            /* if it is not known, a new export shall tell it, even if one failed a moment ago */
	int count;
	ClariWanted *wanted;  /* count, ascending by period, the current quarter without one; and then learning */
	ClariPeriod *periods; /* count; CLARI_PERIOD_NONE while only Clari knows */
} ClariSelection;

/*
 * Checks the caller's right to select from the relation and the user mapping,
 * and reads the periods (NULL: the table's extent; elements as option "periods"
 * takes them, within the extent).  The current quarter is taken from the cache
 * if it is there; else a relative selection holds its export alone, until
 * clari_select_learn().  palloc'd in the current context.  Raises
 * ERRCODE_INSUFFICIENT_PRIVILEGE, ERRCODE_INVALID_PARAMETER_VALUE, and what
 * clari_options_get() and clari_options_authenticate() raise.
 */
extern ClariSelection *clari_select(Oid relid, ArrayType *periods);

/*
 * Waits until the current quarter is known, if the selection or the table's
 * extent needs it, at most timeout_ms (-1: no bound; false when they were
 * over), and completes the selection.  An export is made for it only if none is
 * cached that the table would take.  Raises the export's error, and as
 * clari_wanted_wait() does when the patience is over.
 */
extern bool clari_select_learn(ClariSelection *selection, long timeout_ms, ClariPatience *patience);

/*
 * After waiting: has the current quarter changed, so that what was exported
 * without a period is another quarter than selected?  Then selects anew, and the
 * caller waits for what that adds.
 */
extern bool clari_select_roll_over(ClariSelection *selection);

#endif /* CLARI_FUNCTIONS_H */
