/*
 * prune.h
 *		Pruning: finding the quarters whose rows can satisfy a scan's quals.
 *
 * A table's extent is a finite list of quarters, so that conditions need not be
 * derived from operators: each clause that depends only on time_period is
 * evaluated for each quarter, by the executor, with the clause's own collation.
 * The result is exact for =, IN, ANY, BETWEEN, <, LIKE, OR and any other
 * condition.
 */
#ifndef CLARI_PRUNE_H
#define CLARI_PRUNE_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"

#include "clari/attribute.h"
#include "clari/period.h"
#include "options/options.h"

/*
 * Called by _PG_init(): defines the setting clari_fdw.enable_pruning.  If it is
 * off, all quarters of the extent are read.
 */
extern void clari_prune_init(void);

/*
 * Does a pruning expression contain parameters, or, with executor_only,
 * parameters that are set only during execution?
 */
extern bool clari_prune_has_params(Node *expression, bool executor_only);

/*
 * Can a pruning expression be evaluated for a scan that may never be executed
 * (for EXPLAIN), or in advance?  It cannot if it may raise an error for some
 * values of its parameters, or calls functions that are not PostgreSQL's own.
 */
extern bool clari_prune_is_safe(Node *expression);

typedef struct ClariPrune ClariPrune;

/*
 * Prepares pruning by the expressions.  parent is the scan's node; during planning
 * it is NULL, and the expressions must not contain parameters.  The result is
 * palloc'd in the current context.
 */
extern ClariPrune *clari_prune_begin(List *expressions, PlanState *parent, const ClariOptions *options,
									 TupleDesc tupdesc, const ClariColumn *columns);

/*
 * Removes from periods the quarters that do not satisfy all expressions, and
 * returns how many remain.  The order is kept.
 */
extern int clari_prune_periods(ClariPrune *prune, ExprContext *econtext, ClariPeriod *periods, int count);

/*
 * Issues a notice for each constant or statement parameter to which an expression
 * compares the period by = or IN, and that is not within the extent.
 */
extern void clari_prune_notice(ClariPrune *prune, ExprContext *econtext, const ClariOptions *options,
							   const ClariPeriod *extent, int count);

#endif /* CLARI_PRUNE_H */
