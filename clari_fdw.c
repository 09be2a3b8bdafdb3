/*
 * clari_fdw.c
 *		The roof: module magic, handler, validator, and what loading does.
 *
 * Knows who does what, and how nothing works.
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
#include "scan/analyze.h"
#include "scan/scan.h"
#include "store/store.h"
#include "compat.h"

CLARI_MODULE_MAGIC;

CLARI_FUNCTION(clari_fdw_handler);
CLARI_FUNCTION(clari_fdw_validator);

int clari_shared_cache_size = 32 * 1024;
int clari_disk_cache_size = 1024 * 1024;
int clari_max_workers = 2;
int clari_worker_idle_timeout = 60 * 1000;
char *clari_cache_directory = NULL;
bool clari_enable_pruning = true;

static void
define_settings(void)
{
	DefineCustomIntVariable("clari_fdw.shared_cache_size", "Shared memory for cached exports.",
							"What does not fit is read from files.", &clari_shared_cache_size, 32 * 1024, 1024,
							1024 * 1024 * 1024, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("clari_fdw.disk_cache_size", "Disk space for cached exports.", NULL, &clari_disk_cache_size,
							1024 * 1024, 1024, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomStringVariable(
		"clari_fdw.cache_directory", "Directory of cached exports.",
		"Relative to the data directory; a name that begins with pgsql_tmp is skipped by base backups.",
		&clari_cache_directory, "pgsql_tmp_clari_fdw", PGC_SIGHUP, GUC_SUPERUSER_ONLY, NULL, NULL, NULL);
	DefineCustomIntVariable("clari_fdw.max_workers", "Background workers that make exports.", NULL, &clari_max_workers,
							2, 1, 32, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("clari_fdw.worker_idle_timeout", "How long a background worker waits for more to do.", NULL,
							&clari_worker_idle_timeout, 60 * 1000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL,
							NULL);
	DefineCustomBoolVariable("clari_fdw.enable_pruning", "Reads only the quarters that a query's conditions leave.",
							 "Off, every quarter of a foreign table is exported, and its rows are checked one by one.",
							 &clari_enable_pruning, true, PGC_USERSET, GUC_EXPLAIN, NULL, NULL, NULL);
	MarkGUCPrefixReserved("clari_fdw");
}

void
_PG_init(void)
{
	define_settings();
	clari_cache_init();
	clari_estimate_init(clariGetForeignRelSize);
}

Datum
clari_fdw_handler(PG_FUNCTION_ARGS)
{
	FdwRoutine *routine = makeNode(FdwRoutine);

	routine->GetForeignRelSize = clariGetForeignRelSize;
	routine->GetForeignPaths = clariGetForeignPaths;
	routine->GetForeignPlan = clariGetForeignPlan;
	routine->BeginForeignScan = clariBeginForeignScan;
	routine->IterateForeignScan = clariIterateForeignScan;
	routine->ReScanForeignScan = clariReScanForeignScan;
	routine->EndForeignScan = clariEndForeignScan;
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
