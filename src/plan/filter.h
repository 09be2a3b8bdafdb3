/*
 * filter.h
 *		Quals on texts, tested on a row group's dictionaries before a row is formed.
 *
 * For "=", IN and IS [NOT] NULL on text that is stored as the table declares
 * it, equality is that of bytes, so a qual is decided once for each distinct
 * value of a group.  It is exact: the executor does not check it again.
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
 * Prepares the clauses of a plan, or returns NULL if there is nothing to test;
 * parent is the scan's node.
 */
extern ClariFilter *clari_filter_begin(List *clauses, PlanState *parent, const ClariColumn *columns);

/* Evaluates what the columns are compared with: before the first row, and again after parameters have changed. */
extern void clari_filter_evaluate(ClariFilter *filter, ExprContext *econtext);

/* Whether the attribute's chunk must be open when a group is tested. */
extern bool clari_filter_needs(const ClariFilter *filter, int attribute);

/*
 * Can a row of a group pass the tests of the attribute, by the hashes of the
 * attribute's values alone?  The chunk is that of clari_hashed_attributes.
 */
extern bool clari_filter_can_pass(const ClariFilter *filter, int attribute, const ClariChunk *hashes);

/*
 * Tests a group of nrows rows; chunks by position.  The rows that pass are
 * returned in picked (room for nrows), ascending; their number is the result.
 */
extern uint32 clari_filter_group(ClariFilter *filter, const ClariChunk *chunks, uint32 nrows, uint32 *picked);

#endif /* CLARI_FILTER_H */
