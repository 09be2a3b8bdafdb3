/*
 * prune.h
 *		Which quarters can satisfy a scan's quals.
 *
 * A table's extent is a finite list of quarters, so pruning needs no knowledge of
 * operators.  The executor evaluates each clause that depends only on the period
 * and the forecast's name for every quarter, with the clause's own collation.
 * That works for =, IN, ANY, BETWEEN, <, LIKE, OR and any other operator.
 */
#ifndef CLARI_PRUNE_H
#define CLARI_PRUNE_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"

#include "clari/attribute.h"
#include "clari/period.h"
#include "options/options.h"

/* Defines the setting clari_fdw.enable_pruning; called once in a process. */
extern void clari_prune_init(void);

/* Does a pruning expression have parameters?  With executor_only, only those set by the executor (PARAM_EXEC) count. */
extern bool clari_prune_has_params(Node *expression, bool executor_only);

/*
 * Can a pruning expression be evaluated before the scan is executed, or for a scan
 * that never is, as for EXPLAIN?  False if it may raise an error for some values
 * of its parameters, or calls functions that are not built in.
 */
extern bool clari_prune_is_safe(Node *expression);

typedef struct ClariPrune ClariPrune;

/*
 * Prepares pruning by the expressions, in the current context.  parent is the
 * scan's node, or NULL while planning; then the expressions must have no
 * parameters.
 */
extern ClariPrune *clari_prune_begin(List *expressions, PlanState *parent, const ClariOptions *options,
									 TupleDesc tupdesc, const ClariColumn *columns);

/*
 * Removes the quarters whose exports have no row that satisfies all expressions,
 * in place and preserving the order.  Returns how many are left.
 */
extern int clari_prune_periods(ClariPrune *prune, ExprContext *econtext, ClariPeriod *periods, int count);

/*
 * Raises a NOTICE for each constant or statement parameter to which an expression
 * compares the period with = or IN, if the table cannot show such a period.
 */
extern void clari_prune_notice(ClariPrune *prune, ExprContext *econtext, const ClariOptions *options,
							   const ClariPeriod *extent, int count);

#endif /* CLARI_PRUNE_H */
