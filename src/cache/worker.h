/*
 * worker.h
 *		The entry table as workers see it: claiming flights, telling of them,
 *		making room, and giving back what came of them.
 *
 * For the worker and what runs in it alone; sessions have cache.h.
 */
#ifndef CLARI_CACHE_WORKER_H
#define CLARI_CACHE_WORKER_H

#include "cache/cache.h"
#include "job/job.h"

/* ------- flights ------- */

/* A claimed flight: the worker's own copy, secret included. */
typedef struct ClariOrder
{
	int index; /* of the flight */
	ClariKey key;
	ClariKey account;
	uint64 generation; /* the version that it will make */
	ClariRequest request;
	ClariTransport transport;
	TimestampTz fresh_since;   /* a job that was POSTed before this does not serve, if it has ended */
	TimestampTz running_since; /* a job that was POSTed before this does not, even if it may still be running */
	int64 cache_ttl;
	int64 closed_period_ttl;
	ClariRowsetMeta known;        /* of the last rowset: job_id is empty if there was none */
	char left_job[CLARI_ID_SIZE]; /* of the last flight, which gave up waiting for it; or empty */
} ClariOrder;

/* What a worker tells about a flight. */
typedef struct ClariProgress
{
	ClariJobState state;
	char job_id[CLARI_ID_SIZE];
	int64 bytes;
	int64 entries;
	int32 polls;
	int32 retries;
	TimestampTz next_try_at;
	TimestampTz posted_at; /* of the POST that its job is of, or may be; 0: not POSTed yet */
} ClariProgress;

/* Takes the seat that a session has reserved; false: another worker has it, and this one must go. */
extern bool clari_cache_worker_begin(int seat);

/* Gives the seat back, if nothing is queued that this worker could take; else false. */
extern bool clari_cache_worker_end(void);

/*
 * Takes the next queued flight whose account has fewer exports under way than
 * its max_concurrent_exports, unless another worker has less left to decode.  The
 * roles that have asked take turns.
 */
extern bool clari_cache_claim(ClariOrder *order);

extern void clari_cache_progress(int index, const ClariProgress *progress);

/* Which of this worker's flights somebody has canceled: each is told once, at most so many at a time. */
#define CLARI_CANCELS_MAX 16

typedef struct ClariCancel
{
	int index;
	ClariError error; /* for the waiting: says who */
} ClariCancel;

extern int clari_cache_cancels(ClariCancel cancels[CLARI_CANCELS_MAX]);

/* Before the POST: ends the flight, and is true, if nobody wants it any more. */
extern bool clari_cache_end_unwanted(int index);

/* Notes what is known of the account; user_id must be. */
extern void clari_cache_note_account(const ClariKey *account, const ClariAccountFacts *facts);

/*
 * Notes that Clari has refused to export crm_total and crm_closed of the
 * account's forecast; and asks for that.  It is forgotten after a day, as Clari
 * may export them by then.
 */
extern void clari_cache_note_crm_refused(const ClariKey *account, const char *forecast);
extern bool clari_cache_is_crm_refused(const ClariKey *account, const char *forecast);

/* Was the flight's export invalidated at or after the time? */
extern bool clari_cache_is_invalidated(int index, TimestampTz posted_at);

/* Is the job that of another slot, or of another flight? */
extern bool clari_cache_claims_job(int index, const char *job_id);

/* Has another flight of the same account, forecast and quarter POSTed whose job is not known?  It may have made any new one. */
extern bool clari_cache_is_contested(int index);

/* ------- the tiers ------- */

extern int clari_shared_cache_size; /* setting, kB */

/* Rowsets up to this share of the shared cache get a segment, so that one does not turn out all others. */
#define CLARI_SEGMENT_SHARE 8

/*
 * A pinned segment with the bytes, for which others may be dropped; counted until
 * it is published, which makes it the cache's, or discarded.  DSM_HANDLE_INVALID
 * with the error empty: it is larger than what the shared cache has left; or with
 * CLARI_ERROR_IO: /dev/shm is full, of which a part is left to parallel queries.
 */
extern dsm_handle clari_cache_make_segment(const void *bytes, Size length, ClariError *error);
extern void clari_cache_discard_segment(dsm_handle segment, Size length);

/* Reserves room for the flight's file by dropping others; false with CLARI_ERROR_IO: it is larger than disk_cache_size.  Removes files. */
extern bool clari_cache_reserve_disk(int index, uint64 bytes, ClariError *error);
extern void clari_cache_release_disk(int index, uint64 bytes);

/* How many bytes the record of the flight's job has on disk now. */
extern void clari_cache_count_record(int index, uint32 bytes);

/* ------- the end of a flight ------- */

/*
 * The flight's rowset is there: wakes the waiting.  of_ended_job: of a job that
 * an earlier flight had brought to its end, so that it is not for all of them.  What
 * it has of segment and file was reserved, and is the cache's from now on.  The
 * warning, if it has a code, is for those who wait.
 */
extern void
clari_cache_publish(int index, const ClariVersion *version, bool in_file, bool of_ended_job, const ClariError *warning);

/*
 * The flight failed: remembered for ten seconds, the waiting are woken.  left_job:
 * its job's id, where that may be running at Clari; else empty.
 */
extern void clari_cache_fail(int index, const char *left_job, const ClariError *error);

#endif /* CLARI_CACHE_WORKER_H */
