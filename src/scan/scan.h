/*
 * scan.h
 *		The executor's callbacks.
 */
#ifndef CLARI_SCAN_H
#define CLARI_SCAN_H

#include "postgres.h"

#include "foreign/fdwapi.h"

/* FdwRoutine's callbacks, as PostgreSQL describes them. */
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
 * FdwRoutine's callback, as PostgreSQL describes it.  It never starts an export.  If
 * nothing is cached, it returns false with a WARNING, but without one in autovacuum,
 * which analyzes foreign tables as children of an inheritance parent.
 */
extern bool clariAnalyzeForeignTable(Relation relation, AcquireSampleRowsFunc *sample, BlockNumber *pages);

#endif /* CLARI_SCAN_H */
