/*
 * internal.h
 *		What the files of room worker share: a flight, its download, and what is
 *		known of its job beyond the worker's life.
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

/* A file whose decoding ended with the process's death so often is given up. */
#define CLARI_MOST_ATTEMPTS 2

typedef enum ClariRecovery
{
	CLARI_RECOVERY_NONE,   /* POST */
	CLARI_RECOVERY_JOB,    /* the job of record->job_id is taken up */
	CLARI_RECOVERY_UNSURE, /* a POST was sent, perhaps: Clari's list of jobs may tell */
	CLARI_RECOVERY_GIVE_UP /* the job's file has killed its decoder before; *error says so */
} ClariRecovery;

/*
 * What is to be taken up for the order. *record is filled either way: with what
 * was found, or ready for a new job.  A new job replaces the one of *older
 * (without a job_id there is none that may be running), which is kept until
 * then; without posted_at the older one cannot be taken up any more.  Reads a
 * file.
 */
extern ClariRecovery
clari_recover_job(const ClariOrder *order, ClariRecord *record, ClariRecord *older, ClariError *error);

/*
 * Writes the record, with fsync if durable.  False with CLARI_ERROR_IO: the
 * export goes on without, and its job is lost if the server is.
 */
extern bool clari_recover_save(const ClariOrder *order, const ClariRecord *record, bool durable, ClariError *error);

/* The job is of no use any more: removes the record. */
extern void clari_recover_remove(const ClariOrder *order);

/* Whether Clari's list can tell the order's job at all. */
extern bool clari_recover_is_listable(const ClariOrder *order, const ClariRecord *record);

/* Reads the list before the POST into the record: its jobs are known from now on.  NULL: it did not come. */
extern void clari_recover_note_list(const ClariOrder *order, ClariRecord *record, const char *body, size_t length);

/* Judges the list after a POST of unknown outcome: which job is ours?  Reads the other records. */
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

/* What a complete download comes to; the cache's, once it is published. */
typedef struct ClariProduct
{
	ClariVersion version; /* if it has a segment, that is reserved and pinned */
	bool in_file;         /* it has a file, whose bytes are reserved */
	int64 bytes;          /* decoded */
	ClariError warning;   /* why it has no file, or no segment though it is small; of code NONE: all is well */
} ClariProduct;

/*
 * A download for the order, malloc'd; NULL with the error filled.  Without
 * on_disk the rowset is made in shared memory alone.
 */
extern ClariDownload *clari_download_open(const ClariOrder *order, bool on_disk, ClariError *error);

/*
 * Takes decoded bytes of the file; fits ClariHttpSink, with the download as arg.
 * False with CLARI_ERROR_CANCELED when the worker is to stop.
 */
extern bool clari_download_sink(void *download, const char *bytes, size_t length, ClariError *error);

/* How much has come so far. */
extern int64 clari_download_bytes(const ClariDownload *download);
extern int64 clari_download_entries(const ClariDownload *download);

/*
 * All bytes are there: checks that the document is complete, writes the rest of
 * the rowset, names the file and makes the segment.  result is the
 * transfer's, and meta has what
 * clari_rowset_writer_finish() is given.  False with the error filled, of code
 * CLARI_ERROR_IO if it is the disk alone that failed: then another download can
 * do without.
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

#endif /* CLARI_WORKER_INTERNAL_H */
