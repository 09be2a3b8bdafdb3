/*
 * prune.h
 *		Which quarters can satisfy a scan's quals.
 *
 * A table's extent is a finite list of quarters, so nothing has to be derived
 * from operators: every clause that depends on time_period alone is evaluated
 * for each quarter, by the executor, with the clause's own collation.  That is
 * exact for =, IN, ANY, BETWEEN, <, LIKE, OR and whatever else.
 */
#ifndef CLARI_PRUNE_H
#define CLARI_PRUNE_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"

#include "clari/attribute.h"
#include "clari/period.h"
#include "options/options.h"

/* _PG_init's part: defines the setting by which every quarter of the extent is read, and the rows are checked one by one. */
extern void clari_prune_init(void);

/* Does a pruning expression depend on parameters; or with executor_only, on those that only the execution sets? */
extern bool clari_prune_has_params(Node *expression, bool executor_only);

/*
 * Can a pruning expression be evaluated for a scan that may never be executed,
 * as for EXPLAIN, or beforehand?  Not one that may raise an error for one value
 * of a parameter and not for another, nor one that calls other functions than
 * PostgreSQL's own.
 */
extern bool clari_prune_is_safe(Node *expression);

typedef struct ClariPrune ClariPrune;

/*
 * Prepares pruning by the expressions.  parent is the scan's node, or NULL while
 * planning: then the expressions must be free of parameters.  Lives in the
 * current context.
 */
extern ClariPrune *clari_prune_begin(List *expressions, PlanState *parent, const ClariOptions *options,
									 TupleDesc tupdesc, const ClariColumn *columns);

/* Keeps those quarters, in place and in order, that satisfy all expressions; returns how many. */
extern int clari_prune_periods(ClariPrune *prune, ExprContext *econtext, ClariPeriod *periods, int count);

/*
 * A notice for each constant or statement parameter that an expression asks for
 * by = or IN and that is none of the extent's quarters.
 */
extern void clari_prune_notice(ClariPrune *prune, ExprContext *econtext, const ClariOptions *options,
							   const ClariPeriod *extent, int count);

#endif /* CLARI_PRUNE_H */
