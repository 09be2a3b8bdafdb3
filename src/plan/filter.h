/*
 * filter.h
 *		Quals on text columns, tested on the dictionaries of a row group before
 *		rows are formed.
 *
 * Filters are "=", IN and IS [NOT] NULL on text columns whose declared type is the
 * stored one.  Texts are equal if their bytes are, so a qual is decided once for
 * each distinct value of a group.  The executor need not check it again.
 */
#ifndef CLARI_FILTER_H
#define CLARI_FILTER_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"

#include "clari/attribute.h"
#include "rowset/rowset.h"

typedef struct ClariFilter ClariFilter;

/*
 * Prepares the filter clauses of a plan; parent is the scan's node.  Returns NULL
 * if there are no clauses.
 */
extern ClariFilter *clari_filter_begin(List *clauses, PlanState *parent, const ClariColumn *columns);

/* Evaluates what the columns are compared with.  Must be called before the first group, and after parameters change. */
extern void clari_filter_evaluate(ClariFilter *filter, ExprContext *econtext);

/* Does the filter test the attribute, so that its chunk must be open when a group is tested? */
extern bool clari_filter_needs(const ClariFilter *filter, int attribute);

/*
 * Do the hashes of an attribute's values in a group leave it possible that a row
 * of the group passes the tests of the attribute?
 */
extern bool clari_filter_can_pass(const ClariFilter *filter, int attribute, const ClariChunk *hashes);

/*
 * Tests the nrows rows of a group; chunks is indexed by position.  Writes the
 * numbers of the rows that pass to picked (room for nrows), ascending, and returns
 * how many there are.
 */
extern uint32 clari_filter_group(ClariFilter *filter, const ClariChunk *chunks, uint32 nrows, uint32 *picked);

#endif /* CLARI_FILTER_H */
