/*
 * scan.h
 *		The executor's callbacks, and what EXPLAIN asks of a scan.
 */
#ifndef CLARI_SCAN_H
#define CLARI_SCAN_H

#include "postgres.h"

#include "foreign/fdwapi.h"

#include "cells.h"
#include "fetch.h"
#include "options.h"

/* FdwRoutine's callbacks, as PostgreSQL describes them. */
extern void clariBeginForeignScan(ForeignScanState *node, int eflags);
extern TupleTableSlot *clariIterateForeignScan(ForeignScanState *node);
extern void clariReScanForeignScan(ForeignScanState *node);
extern void clariEndForeignScan(ForeignScanState *node);
extern void clariExplainForeignScan(ForeignScanState *node, struct ExplainState *es);
extern Size clariEstimateDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt);
extern void clariInitializeDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt, void *coordinate);
extern void clariReInitializeDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt, void *coordinate);
extern void clariInitializeWorkerForeignScan(ForeignScanState *node, shm_toc *toc, void *coordinate);
extern void clariShutdownForeignScan(ForeignScanState *node);

/* ------- for EXPLAIN ------- */

/* The options of a begun scan; *authenticated: is there an API key? */
extern const ClariOptions *clari_scan_options(ForeignScanState *node, bool *authenticated);

/*
 * The quarters that it would read, as far as they are known without asking
 * Clari: ascending in periods (room for CLARI_EXTENT_MAX_PERIODS).  Returns how
 * many; -1 when the current quarter is not known.
 */
extern int clari_scan_periods(ForeignScanState *node, ClariPeriod *periods);

/* Where it has got its rows from, or NULL before it is executed; what was done with them, by all participants. */
extern const ClariFetch *clari_scan_fetch(ForeignScanState *node);
extern ClariCellsUse clari_scan_use(ForeignScanState *node);

#endif /* CLARI_SCAN_H */
