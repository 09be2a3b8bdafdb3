/*
 * worker.h
 *		The interface of the entry table for workers: claiming flights, reporting
 *		their progress, making room for rowsets, and publishing them.
 *
 * Only for code that runs in workers; the interface for sessions is cache.h.
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
	uint64 generation; /* the version that it will make */
	ClariRequest request;
	ClariTransport transport;
	TimestampTz fresh_since;   /* a job that has ended does not serve if it was POSTed before this */
	TimestampTz running_since; /* a job that may still be running does not serve if it was POSTed before this */
	int64 cache_ttl;           /* µs, like the next */
	int64 closed_period_ttl;
	ClariRowsetMeta known;        /* of the last rowset; job_id is empty if there is none or it was invalidated */
	char left_job[CLARI_ID_SIZE]; /* job of the last flight if that failed while the job was running; or empty */
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
	TimestampTz posted_at; /* when the POST was sent that made its job, or may have; 0: none was */
} ClariProgress;

/* Takes the seat that a session has reserved; false: the seat is not reserved any more, and the worker must exit. */
extern bool clari_cache_worker_begin(int seat);

/* Gives the seat back; false: a flight is queued, so the worker must go on. */
extern bool clari_cache_worker_end(void);

/*
 * Claims the next queued flight of those whose account has fewer exports under
 * way than their max_concurrent_exports.  Roles take turns.  False: there is none,
 * or another worker has less left to decode than this one and should claim it.
 */
extern bool clari_cache_claim(ClariOrder *order);

extern void clari_cache_progress(int index, const ClariProgress *progress);

#define CLARI_CANCELS_MAX 16

typedef struct ClariCancel
{
	int index;
	ClariError error; /* for waiting sessions; names the role that canceled the flight */
} ClariCancel;

/* Finds this worker's flights that were canceled, each of them once, and at most CLARI_CANCELS_MAX; returns their number. */
extern int clari_cache_cancels(ClariCancel cancels[CLARI_CANCELS_MAX]);

/* To be called before the POST: ends the flight and returns true if nobody wants it any more. */
extern bool clari_cache_end_unwanted(int index);

/* Notes facts about the account.  Of these, user_id must be set; an empty one leaves what was known before. */
extern void clari_cache_note_account(const ClariKey *account, const ClariAccountFacts *facts);

/*
 * The first function notes that Clari has refused to export crm_total and
 * crm_closed of the account's forecast; the other tells whether this was noted.
 * It is forgotten after a day, because Clari may export them by then.
 */
extern void clari_cache_note_crm_refused(const ClariKey *account, const char *forecast);
extern bool clari_cache_is_crm_refused(const ClariKey *account, const char *forecast);

/* Was the flight's export invalidated at this time or later? */
extern bool clari_cache_is_invalidated(int index, TimestampTz posted_at);

/* Does the job belong to the last rowset of any slot, or to another flight? */
extern bool clari_cache_claims_job(int index, const char *job_id);

/*
 * Has another flight of the same account, forecast and quarter sent a POST, and is
 * its job not known yet?  Any new job may be that flight's.
 */
extern bool clari_cache_is_contested(int index);

/* ------- the tiers ------- */

extern int clari_shared_cache_size; /* setting, kB */

/* A rowset gets a segment if it is at most this fraction (1/8) of the shared cache, lest it evict all others. */
#define CLARI_SEGMENT_SHARE 8

/*
 * Makes a pinned segment with a copy of the bytes, evicting others if needed.  The
 * caller must publish it, which hands it over to the cache, or discard it.
 * Returns DSM_HANDLE_INVALID without an error if the shared cache has no room for
 * it; with CLARI_ERROR_IO if /dev/shm has none besides the part that is reserved
 * for parallel queries, or if the segment could not be created.
 */
extern dsm_handle clari_cache_make_segment(const void *bytes, Size length, ClariError *error);
extern void clari_cache_discard_segment(dsm_handle segment, Size length);

/*
 * Reserves room for so many bytes more of the flight's file, evicting other files
 * if needed; this removes them.  False with CLARI_ERROR_IO: they do not fit into
 * disk_cache_size even so.
 */
extern bool clari_cache_reserve_disk(int index, uint64 bytes, ClariError *error);
extern void clari_cache_release_disk(int index, uint64 bytes);

/* Notes how many bytes the record of the flight's job now has on disk. */
extern void clari_cache_count_record(int index, uint32 bytes);

/* ------- the end of a flight ------- */

/*
 * Publishes the flight's rowset, ends the flight, and wakes waiting sessions.  The
 * cache takes over the version's segment and file, for which room was reserved.
 * of_ended_job says that the rows come from a job that had already ended in an
 * earlier flight, so that they may be too old for some sessions.  The warning, if
 * it has a code, is shown by sessions that wait.
 */
extern void
clari_cache_publish(int index, const ClariVersion *version, bool in_file, bool of_ended_job, const ClariError *warning);

/*
 * Ends the flight with an error, which is remembered for ten seconds, and wakes
 * waiting sessions.  left_job is the id of its job if that may still be running at
 * Clari, and empty otherwise.
 */
extern void clari_cache_fail(int index, const char *left_job, const ClariError *error);

#endif /* CLARI_CACHE_WORKER_H */
