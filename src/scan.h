/*
 * scan.h
 *		The executor's callbacks, and what EXPLAIN asks of a scan.
 */
#ifndef CLARI_SCAN_H
#define CLARI_SCAN_H

#include "postgres.h"

#include "foreign/fdwapi.h"

#include "options.h"

/* FdwRoutine's callbacks, as PostgreSQL describes them. */
extern void clariBeginForeignScan(ForeignScanState *node, int eflags);
extern TupleTableSlot *clariIterateForeignScan(ForeignScanState *node);
extern void clariReScanForeignScan(ForeignScanState *node);
extern void clariEndForeignScan(ForeignScanState *node);
extern void clariExplainForeignScan(ForeignScanState *node, struct ExplainState *es);

/*
 * The options of a begun scan, and the quarters that it would read, as far as
 * they are known without asking Clari: ascending in periods (room for
 * CLARI_EXTENT_MAX_PERIODS), how many in *count; -1 when the current quarter is
 * not known.  *authenticated: is there an API key?
 */
extern const ClariOptions *
clari_scan_describe(ForeignScanState *node, ClariPeriod *periods, int *count, bool *authenticated);

#endif /* CLARI_SCAN_H */
