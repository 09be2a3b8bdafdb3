/*
 * clari_fdw.c
 *		Module magic, _PG_init(), the handler and the validator.
 *
 * Lists which functions implement the foreign data wrapper's callbacks, and calls
 * each room's initialization.  It contains no logic of its own.
 */
#include "postgres.h"

#include "access/reloptions.h"
#include "fmgr.h"
#include "foreign/fdwapi.h"
#include "utils/guc.h"

#include "cache/cache.h"
#include "call/import.h"
#include "options/options.h"
#include "plan/estimate.h"
#include "plan/plan.h"
#include "plan/prune.h"
#include "scan/scan.h"
#include "session/fetch.h"
#include "worker/worker.h"
#include "compat.h"

CLARI_MODULE_MAGIC;

CLARI_FUNCTION(clari_fdw_handler);
CLARI_FUNCTION(clari_fdw_validator);

void
_PG_init(void)
{
	clari_cache_init();
	clari_worker_init();
	clari_fetch_init();
	clari_prune_init();
	clari_estimate_init(clariGetForeignRelSize);
	MarkGUCPrefixReserved("clari_fdw");
}

Datum
clari_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = clariGetForeignRelSize;
	routine->GetForeignPaths = clariGetForeignPaths;
	routine->GetForeignUpperPaths = clariGetForeignUpperPaths;
	routine->GetForeignPlan = clariGetForeignPlan;
	routine->BeginForeignScan = clariBeginForeignScan;
	routine->IterateForeignScan = clariIterateForeignScan;
	routine->ReScanForeignScan = clariReScanForeignScan;
	routine->EndForeignScan = clariEndForeignScan;
	routine->RecheckForeignScan = clariRecheckForeignScan;
	routine->AnalyzeForeignTable = clariAnalyzeForeignTable;
	routine->ExplainForeignScan = clariExplainForeignScan;
	routine->IsForeignScanParallelSafe = clariIsForeignScanParallelSafe;
	routine->EstimateDSMForeignScan = clariEstimateDSMForeignScan;
	routine->InitializeDSMForeignScan = clariInitializeDSMForeignScan;
	routine->ReInitializeDSMForeignScan = clariReInitializeDSMForeignScan;
	routine->InitializeWorkerForeignScan = clariInitializeWorkerForeignScan;
	routine->ShutdownForeignScan = clariShutdownForeignScan;
	routine->ImportForeignSchema = clariImportForeignSchema;
	PG_RETURN_POINTER(routine);
}

Datum
clari_fdw_validator(PG_FUNCTION_ARGS)
{
	clari_options_validate(untransformRelOptions(PG_GETARG_DATUM(0)), PG_GETARG_OID(1));
	PG_RETURN_VOID();
}
