/*
 * flight.h
 *		One claimed export in the worker's hands: carries out what its job asks
 *		for, and tells the cache.
 *
 * Runs in the worker.  Wires job → http → json → rowset → cache; knows nothing
 * of the loop that drives it.
 */
#ifndef CLARI_FLIGHT_H
#define CLARI_FLIGHT_H

#include "postgres.h"

#include "cache/worker.h"
#include "http/http.h"

typedef struct ClariFlight ClariFlight;

/*
 * A flight for the order, which is copied with its secret: takes up the job that
 * an earlier one has left, or begins a new one.  In TopMemoryContext, the
 * caller's until clari_flight_end().
 */
extern ClariFlight *clari_flight_begin(const ClariOrder *order, ClariHttp *http);

/* Has it been published, or failed?  Then it is to be ended, and nothing else. */
extern bool clari_flight_is_over(const ClariFlight *flight);

/* When it wants a tick, in milliseconds of clari_clock_now(). */
extern int64 clari_flight_next_at(const ClariFlight *flight);
extern void clari_flight_tick(ClariFlight *flight);

/* The index of the cache's flight, and "net_arr 2026_Q1" for pg_stat_activity. */
extern int clari_flight_index(const ClariFlight *flight);
extern const char *clari_flight_name(const ClariFlight *flight);

/* Somebody cancels the export; the error says who. */
extern void clari_flight_cancel(ClariFlight *flight, const ClariError *error);

/* Tells the cache how far it is. */
extern void clari_flight_tell(const ClariFlight *flight);

/* The worker stops: what was being downloaded leaves no file behind, and does not count against its decoder. */
extern void clari_flight_quit(ClariFlight *flight);

/* Frees it, and wipes the secret. */
extern void clari_flight_end(ClariFlight *flight);

#endif /* CLARI_FLIGHT_H */
