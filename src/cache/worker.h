/*
 * worker.h
 *		The entry table for workers: claiming flights, reporting their progress,
 *		making room, and publishing results.
 *
 * Only for the worker and the code that runs in it; sessions use cache.h.
 */
#ifndef CLARI_CACHE_WORKER_H
#define CLARI_CACHE_WORKER_H

#include "cache/cache.h"
#include "job/job.h"

/* ------- flights ------- */

/* A claimed flight: the worker's own copy, including the API key. */
typedef struct ClariOrder
{
	int index; /* of the flight */
	ClariKey key;
	ClariKey account;
	uint64 generation; /* generation of the version that it will make */
	ClariRequest request;
	ClariTransport transport;
	TimestampTz fresh_since;   /* a job that has ended serves only if it was POSTed after this */
	TimestampTz running_since; /* a job that may still be running serves only if it was POSTed after this */
	int64 cache_ttl;
	int64 closed_period_ttl;
	ClariRowsetMeta known;        /* metadata of the last rowset; job_id is empty if there was none */
	char left_job[CLARI_ID_SIZE]; /* job for which the last flight stopped waiting; or empty */
} ClariOrder;

/* What a worker reports about a flight. */
typedef struct ClariProgress
{
	ClariJobState state;
	char job_id[CLARI_ID_SIZE];
	int64 bytes;
	int64 entries;
	int32 polls;
	int32 retries;
	TimestampTz next_try_at;
	TimestampTz posted_at; /* of the POST that its job comes from, or may come from; 0: not POSTed yet */
} ClariProgress;

/*
 * Takes the seat that a session has reserved.  Returns false if the worker must
 * exit, because the seat is no longer reserved or the session runs another
 * version of the library.
 */
extern bool clari_cache_worker_begin(int seat);

/* Returns the seat, so that the worker can exit.  False if anything is queued; the worker then keeps its seat. */
extern bool clari_cache_worker_end(void);

/*
 * Claims the next queued flight whose account has fewer than
 * max_concurrent_exports exports under way.  Roles take turns.  Returns false if
 * there is none, or if another worker has less left to decode than this one.
 */
extern bool clari_cache_claim(ClariOrder *order);

extern void clari_cache_progress(int index, const ClariProgress *progress);

/* At most this many cancellations are reported by one call of clari_cache_cancels(). */
#define CLARI_CANCELS_MAX 16

typedef struct ClariCancel
{
	int index;
	ClariError error; /* for the sessions that wait; names the role that canceled */
} ClariCancel;

extern int clari_cache_cancels(ClariCancel cancels[CLARI_CANCELS_MAX]);

/* Called before the POST: if nobody wants the flight any more, ends it and returns true. */
extern bool clari_cache_end_unwanted(int index);

/* Stores facts of the account; user_id must be set.  An empty fact does not overwrite a known one. */
extern void clari_cache_note_account(const ClariKey *account, const ClariAccountFacts *facts);

/*
 * clari_cache_note_crm_refused() remembers that Clari has refused to export
 * crm_total and crm_closed for the account's forecast;
 * clari_cache_is_crm_refused() returns whether it has.  This is forgotten after a
 * day, because Clari may export them by then.
 */
extern void clari_cache_note_crm_refused(const ClariKey *account, const char *forecast);
extern bool clari_cache_is_crm_refused(const ClariKey *account, const char *forecast);

/* Was the flight's export invalidated at or after the time? */
extern bool clari_cache_is_invalidated(int index, TimestampTz posted_at);

/* Does another slot or another flight already have this job? */
extern bool clari_cache_claims_job(int index, const char *job_id);

/*
 * Has another flight of the same account, forecast and quarter sent a POST whose
 * job is not known yet?  If so, a new job may come from either POST.
 */
extern bool clari_cache_is_contested(int index);

/* ------- the tiers ------- */

extern int clari_shared_cache_size; /* setting, kB */

/*
 * A rowset gets a segment if it is at most this fraction (1/8) of the shared
 * cache, so that it cannot displace all others.
 */
#define CLARI_SEGMENT_SHARE 8

/*
 * clari_cache_make_segment() returns a pinned segment with a copy of the bytes,
 * for which other segments may be evicted.  It belongs to the caller, who passes
 * it to clari_cache_publish() or clari_cache_discard_segment().  Returns
 * DSM_HANDLE_INVALID if there is no room: with an empty error if the bytes exceed
 * what can be freed in the shared cache; with CLARI_ERROR_IO if /dev/shm is full,
 * part of which is left to parallel queries, or the segment cannot be created.
 */
extern dsm_handle clari_cache_make_segment(const void *bytes, Size length, ClariError *error);
extern void clari_cache_discard_segment(dsm_handle segment, Size length);

/*
 * clari_cache_reserve_disk() reserves room for the flight's file, and removes
 * other files if necessary.  Returns false with CLARI_ERROR_IO if the file does
 * not fit into disk_cache_size.  clari_cache_release_disk() gives back what is
 * not needed.
 */
extern bool clari_cache_reserve_disk(int index, uint64 bytes, ClariError *error);
extern void clari_cache_release_disk(int index, uint64 bytes);

/* Sets the size on disk of the record of the flight's job. */
extern void clari_cache_count_record(int index, uint32 bytes);

/* ------- the end of a flight ------- */

/*
 * Ends the flight with a rowset, and wakes the sessions that wait.  of_ended_job:
 * it was downloaded from a job that had already ended, so that it may be too old
 * for some of them.  The version's segment and the room reserved for its file
 * belong to the cache from now on.  The warning, if it has a code, is given to
 * the sessions that wait.
 */
extern void
clari_cache_publish(int index, const ClariVersion *version, bool in_file, bool of_ended_job, const ClariError *warning);

/*
 * Ends the flight with an error, which is remembered for ten seconds, and wakes
 * the sessions that wait.  left_job is the id of its job if that may still be
 * running at Clari, else empty.
 */
extern void clari_cache_fail(int index, const char *left_job, const ClariError *error);

#endif /* CLARI_CACHE_WORKER_H */
