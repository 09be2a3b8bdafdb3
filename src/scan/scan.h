/*
 * scan.h
 *		The executor's callbacks.
 */
#ifndef CLARI_SCAN_H
#define CLARI_SCAN_H

#include "postgres.h"

#include "foreign/fdwapi.h"

/* FdwRoutine's callbacks, as described by PostgreSQL. */
extern void clariBeginForeignScan(ForeignScanState *node, int eflags);
extern TupleTableSlot *clariIterateForeignScan(ForeignScanState *node);
extern bool clariRecheckForeignScan(ForeignScanState *node, TupleTableSlot *slot);
extern void clariReScanForeignScan(ForeignScanState *node);
extern void clariEndForeignScan(ForeignScanState *node);
extern void clariExplainForeignScan(ForeignScanState *node, struct ExplainState *es);
extern Size clariEstimateDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt);
extern void clariInitializeDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt, void *coordinate);
extern void clariReInitializeDSMForeignScan(ForeignScanState *node, ParallelContext *pcxt, void *coordinate);
extern void clariInitializeWorkerForeignScan(ForeignScanState *node, shm_toc *toc, void *coordinate);
extern void clariShutdownForeignScan(ForeignScanState *node);

/*
 * FdwRoutine's callback, as described by PostgreSQL. It never makes an export: if
 * nothing is cached, it returns false with a WARNING (without one in autovacuum,
 * which may analyze the table as an inheritance child).
 */
extern bool clariAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *sample, BlockNumber *pages);

#endif /* CLARI_SCAN_H */
