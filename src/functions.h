/*
 * functions.h
 *		What the SQL-callable functions and the sync procedure share: a relation
 *		and periods as a selection of exports.
 */
#ifndef CLARI_FUNCTIONS_H
#define CLARI_FUNCTIONS_H

#include "postgres.h"

#include "utils/array.h"

#include "fetch.h"

/* Exports of one foreign table, by period. */
typedef struct ClariSelection
{
	ClariOptions *options; /* authenticated as the current user */
	ClariExtent asked;     /* the periods argument, or the table's extent */
	bool is_complete;      /* false: which quarters it means is not known before the current one is */
	int count;
	ClariWanted *wanted;  /* count, ascending by period; while not complete the current quarter's alone */
	ClariPeriod *periods; /* count; CLARI_PERIOD_NONE while not complete */
} ClariSelection;

/*
 * Checks the caller's right to select from the relation and the user mapping,
 * and reads the periods (NULL: the table's extent; elements as option "periods"
 * takes them, within the extent).  palloc'd in the current context.  Raises
 * ERRCODE_INSUFFICIENT_PRIVILEGE, ERRCODE_INVALID_PARAMETER_VALUE, and what
 * clari_options_get() and clari_options_authenticate() raise.
 */
extern ClariSelection *clari_select(Oid relid, ArrayType *periods);

/*
 * Fills in the exports, given the current quarter (CLARI_PERIOD_NONE: not known).
 * Its element is exported without a period where the selection is relative.
 */
extern void clari_select_periods(ClariSelection *selection, ClariPeriod current);

/*
 * Waits until the current quarter is known, if the selection needs it, and
 * completes it; false if its export failed (wanted[0] says why).
 */
extern bool clari_select_complete(ClariSelection *selection, const ClariFreshness *freshness);

#endif /* CLARI_FUNCTIONS_H */
