/*
 * takeup.h
 *		What a worker knows of an export's job beyond its own life: the record on
 *		disk, and Clari's list of jobs.
 *
 * Runs in the worker.  An intent is recorded before the POST, the job's id when
 * it is known, each decoding before it begins; so whoever claims the export
 * next, after whatever death, takes the job up instead of paying for another.
 */
#ifndef CLARI_TAKEUP_H
#define CLARI_TAKEUP_H

#include "postgres.h"

#include "cache/worker.h"
#include "job/adopt.h"
#include "job/record.h"

/* A file whose decoding ended with the process's death so often is given up. */
#define CLARI_MOST_ATTEMPTS 2

typedef enum ClariTakeup
{
	CLARI_TAKEUP_NOTHING, /* POST */
	CLARI_TAKEUP_JOB,     /* record->job_id serves the order */
	CLARI_TAKEUP_UNSURE,  /* a POST was sent, perhaps: Clari's list may tell its job */
	CLARI_TAKEUP_GIVE_UP  /* the job's file has killed its decoder before; *error says so */
} ClariTakeup;

/*
 * What is to be taken up for the order.  *record is filled either way: with what
 * was found, or ready for a new job.  That one then replaces the job of *older
 * (without a job_id: none that may be running), which keeps it for as long as there
 * is no new one; without posted_at it cannot be taken up any more.  Reads a file.
 */
extern ClariTakeup
clari_takeup_find(const ClariOrder *order, ClariRecord *record, ClariRecord *older, ClariError *error);

/*
 * Writes the record, with fsync if durable.  False with CLARI_ERROR_IO: the
 * export goes on without, and its job is lost if the server is.
 */
extern bool clari_takeup_save(const ClariOrder *order, const ClariRecord *record, bool durable, ClariError *error);

/* The job is of no use any more: removes the record. */
extern void clari_takeup_forget(const ClariOrder *order);

/* Whether Clari's list can tell the order's job at all. */
extern bool clari_takeup_is_listable(const ClariRecord *record, const ClariOrder *order);

/* The list before the POST: what it holds is known from now on.  NULL: it did not come. */
extern void clari_takeup_note_list(const ClariOrder *order, ClariRecord *record, const char *body, size_t length);

/* The list after a POST of unknown outcome: which job is ours.  Reads the other records. */
extern ClariVerdict clari_takeup_judge_list(const ClariOrder *order, const ClariRecord *record, const char *body,
											size_t length, char job_id[CLARI_ID_SIZE]);

#endif /* CLARI_TAKEUP_H */
