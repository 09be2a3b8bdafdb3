/*
 * internal.h
 *		What the files of room worker share: flights, their downloads, and
 *		the records of jobs.
 */
#ifndef CLARI_WORKER_INTERNAL_H
#define CLARI_WORKER_INTERNAL_H

#include "postgres.h"

#include "cache/worker.h"
#include "http/http.h"
#include "job/adopt.h"
#include "job/record.h"

/*
 * ------- recover.c -------
 *
 * The record on disk, and Clari's list of jobs.  An intent is recorded before the
 * POST, the job's id when it is known, each decoding before it begins; so whoever
 * claims the export next, after whatever death, takes the job up instead of paying
 * for another.
 */

/* A file is given up when a process has died this often while decoding it. */
#define CLARI_MOST_ATTEMPTS 2

typedef enum ClariRecovery
{
	CLARI_RECOVERY_NONE,   /* start a new job by a POST */
	CLARI_RECOVERY_JOB,    /* take up the job record->job_id */
	CLARI_RECOVERY_UNSURE, /* a POST may have been sent: its job may be found in Clari's list */
	CLARI_RECOVERY_GIVE_UP /* give up, as *error says: decoding the job's file has killed too many processes */
} ClariRecovery;

/*
 * Decides what the order's flight begins with, by the export's record on disk.
 * In any case fills *record: with what was found, or with what a new job
 * begins with.  In the case of a new job, *older is the job that it replaces.
 * If its job_id is empty, there is none that may still be running; if its
 * posted_at is 0, it cannot be taken up any more.  *error is set with
 * CLARI_RECOVERY_GIVE_UP only.
 */
extern ClariRecovery
clari_recover_job(const ClariOrder *order, ClariRecord *record, ClariRecord *older, ClariError *error);

/*
 * Writes the record to disk, with fsync if durable.  Returns false with
 * CLARI_ERROR_IO; the export can go on nevertheless, but its job is lost if
 * the server crashes.
 */
extern bool clari_recover_save(const ClariOrder *order, const ClariRecord *record, bool durable, ClariError *error);

/* Removes the export's record, because its job cannot be used any more. */
extern void clari_recover_remove(const ClariOrder *order);

/* Can the order's job be recognized in Clari's list at all? */
extern bool clari_recover_is_listable(const ClariOrder *order, const ClariRecord *record);

/*
 * Stores the jobs of the list that was read before the POST in the record, as
 * those that are not ours.  With body NULL: the list could not be read, so
 * nothing is known.
 */
extern void clari_recover_note_list(const ClariOrder *order, ClariRecord *record, const char *body, size_t length);

/*
 * Searches the list that was read after a POST of unknown outcome for its job,
 * and sets job_id for CLARI_VERDICT_OURS.  Reads all other records.
 */
extern ClariVerdict clari_recover_judge_list(const ClariOrder *order, const ClariRecord *record, const char *body,
											 size_t length, char job_id[CLARI_ID_SIZE]);

/*
 * ------- download.c -------
 *
 * A download on its way into the cache: bytes, document, rowset, file and, when it
 * is small, a shared segment.  The sink is called from within libcurl: nothing
 * raises before clari_download_finish().
 */

typedef struct ClariDownload ClariDownload;

/* The result of a complete download.  Once it is published, it belongs to the cache. */
typedef struct ClariProduct
{
	ClariVersion version; /* its segment, if any, is reserved and pinned */
	bool in_file;         /* it has a file too, whose disk space is reserved */
	int64 bytes;          /* of the file, decompressed */
	ClariError warning;   /* why there is no file, or no segment though it is small; CLARI_ERROR_NONE if all is well */
} ClariProduct;

/*
 * Opens a download for the order.  Returns NULL with *error set if that fails.
 * The result is malloc'd and must be closed with clari_download_close().
 * Without on_disk the rowset is kept in shared memory only.
 */
extern ClariDownload *clari_download_open(const ClariOrder *order, bool on_disk, ClariError *error);

/*
 * Takes decompressed bytes of the file.  This is a ClariHttpSink, whose arg is
 * the download.  Returns false with CLARI_ERROR_CANCELED if the worker is to
 * stop.
 */
extern bool clari_download_sink(void *download, const char *bytes, size_t length, ClariError *error);

/* How many bytes and entries have been received so far. */
extern int64 clari_download_bytes(const ClariDownload *download);
extern int64 clari_download_entries(const ClariDownload *download);

/*
 * Call this when all bytes were received.  Checks that the document is
 * complete, writes the rest of the rowset, and makes its file and segment.
 * result is that of the transfer; meta contains the members that
 * clari_rowset_writer_finish() requires.  Returns false with *error set: with
 * CLARI_ERROR_IO if only the disk failed, so that another download can do
 * without it.
 */
extern bool clari_download_finish(ClariDownload *download, const ClariHttpResult *result, const ClariRowsetMeta *meta,
								  ClariProduct *product, ClariError *error);

extern void clari_download_close(ClariDownload *download);

/*
 * ------- flight.c -------
 *
 * One claimed export in the worker's hands: carries out what its job asks for, and
 * tells the cache.  Knows nothing of the loop that drives it.
 */

typedef struct ClariFlight ClariFlight;

/*
 * Begins a flight for the order, which is copied, including its API key.
 * Takes up the job that an earlier flight has left, or starts a new one.  The
 * result is allocated in TopMemoryContext, and must be freed with
 * clari_flight_end().
 */
extern ClariFlight *clari_flight_begin(const ClariOrder *order, ClariHttp *http);

/* Has the export been published, or failed?  Then nothing but clari_flight_end() may be called. */
extern bool clari_flight_is_over(const ClariFlight *flight);

/* When clari_flight_tick() is to be called, in milliseconds of clari_clock_now(). */
extern int64 clari_flight_next_at(const ClariFlight *flight);
extern void clari_flight_tick(ClariFlight *flight);

/* The flight's index in the cache, and its name for pg_stat_activity, such as "net_arr 2026_Q1", palloc'd. */
extern int clari_flight_index(const ClariFlight *flight);
extern const char *clari_flight_name(const ClariFlight *flight);

/* Cancels the export.  The error says who does so. */
extern void clari_flight_cancel(ClariFlight *flight, const ClariError *error);

/* Writes the flight's progress to the cache, where views show it. */
extern void clari_flight_tell(const ClariFlight *flight);

/*
 * Call this when the worker exits.  Removes the file of a download in
 * progress, and does not count its attempt as one that killed the process.
 */
extern void clari_flight_quit(ClariFlight *flight);

/* Ends all calls in progress, wipes the API key, and frees the flight. */
extern void clari_flight_end(ClariFlight *flight);

#endif /* CLARI_WORKER_INTERNAL_H */
