/*
 * filter.h
 *		Filters: quals on texts that are tested on a row group's dictionaries,
 *		before rows are formed.
 *
 * Filters are "=", IN and IS [NOT] NULL on texts that are stored in the form that
 * the table declares.  Equality is then that of bytes, and a qual is decided once
 * for each distinct value of a group.  The result is exact, and is not checked
 * again by the executor.
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
 * if there are none.  The result is palloc'd in the current context.
 */
extern ClariFilter *clari_filter_begin(List *clauses, PlanState *parent, const ClariColumn *columns);

/*
 * Evaluates the values with which columns are compared.  To be called before the
 * first row, and again after parameters have changed.
 */
extern void clari_filter_evaluate(ClariFilter *filter, ExprContext *econtext);

/* Must the attribute's chunk be open to test a group? */
extern bool clari_filter_needs(const ClariFilter *filter, int attribute);

/*
 * Can any row of a group pass the tests of the attribute, judging only by the
 * hashes of the attribute's values? hashes is the chunk beside the attribute's,
 * see clari_hashed_attributes.
 */
extern bool clari_filter_can_pass(const ClariFilter *filter, int attribute, const ClariChunk *hashes);

/*
 * Tests a group of nrows rows; chunks are indexed by position.  Stores the
 * numbers of the rows that pass in picked (room for nrows), ascending, and
 * returns how many they are.
 */
extern uint32 clari_filter_group(ClariFilter *filter, const ClariChunk *chunks, uint32 nrows, uint32 *picked);

#endif /* CLARI_FILTER_H */
