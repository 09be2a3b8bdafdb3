/*
 * worker.h
 *		The background worker that makes exports.
 */
#ifndef CLARI_WORKER_H
#define CLARI_WORKER_H

#include "compat.h"

/* Defines clari_fdw.worker_idle_timeout.  Called by _PG_init(). */
extern void clari_worker_init(void);

/*
 * Entry point of the process.  The argument is the number of the seat that a
 * session has reserved.  The worker connects to no database, so it does not
 * block DROP DATABASE, holds no snapshot, and runs on a standby too.  It exits
 * after having been idle for clari_fdw.worker_idle_timeout.
 */
extern PGDLLEXPORT void clari_fdw_worker_main(Datum seat);

#endif /* CLARI_WORKER_H */
