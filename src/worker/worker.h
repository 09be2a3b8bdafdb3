/*
 * worker.h
 *		The background worker that makes exports.
 */
#ifndef CLARI_WORKER_H
#define CLARI_WORKER_H

#include "compat.h"

/* _PG_init's part: defines the setting. */
extern void clari_worker_init(void);

/*
 * The process's entry point; argument: the worker seat that a session has
 * reserved.  Connects to no database, so it blocks no DROP DATABASE, holds no
 * snapshot, and runs on a standby; is gone when it was idle for
 * clari_fdw.worker_idle_timeout.
 */
extern PGDLLEXPORT void clari_fdw_worker_main(Datum seat);

#endif /* CLARI_WORKER_H */
