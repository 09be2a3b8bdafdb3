/*
 * flight_shared.h
 *		What flight.c, which acts, and flight_record.c, which notes, both know.
 *
 * Inside of room flight.
 */
#ifndef CLARI_FLIGHT_SHARED_H
#define CLARI_FLIGHT_SHARED_H

#include "worker/flight.h"

#include "job/job.h"
#include "worker/download.h"
#include "worker/recover.h"

struct ClariFlight
{
	ClariOrder order; /* holds the secret: wiped when the flight ends */
	ClariHttp *http;
	ClariJob job;
	ClariRecord record;
	ClariRecord older;       /* of the job that this one is to replace; empty: none */
	bool in_doubt;           /* job.in_doubt before the step under way */
	uint32 killed;           /* decodings of the job's file that ended with the process, in earlier lives */
	ClariTransfer *transfer; /* under way, or NULL */
	ClariDownload *download; /* under way, or NULL */
	ClariProduct product;    /* of the download that is complete */
	ClariError warning;      /* for the waiting: what could not be kept on disk, and why */
	TimestampTz posted_at;   /* when this flight last POSTed */
	TimestampTz done_at;     /* when the job was seen DONE */
	bool taken_up;           /* the job's, which an earlier flight had brought to its end */
	bool noted;              /* whose job it is, for the account */
	bool over;
};

/* ------- what is said ------- */

/* Adds a sentence to the error's detail; the second: facts that every failure has in common. */
extern void clari_flight_add_detail(ClariError *error, const char *sentence);
extern void clari_flight_add_place(ClariError *error, const ClariFlight *flight);

/*
 * Something could not be kept as it should.  The first reason counts, for those
 * who wait; the server's log has it once a minute.  An error without a code is
 * none.
 */
extern void clari_flight_warn(ClariFlight *flight, const ClariError *error);

/* ------- the record; a disk that fails is warned of ------- */

extern void clari_flight_save_record(ClariFlight *flight, bool durable);

/*
 * Before the POST.  While one is in doubt whose job may yet be found, the record
 * is as old as that.
 */
extern void clari_flight_record_intent(ClariFlight *flight, bool in_doubt);

/* After each step: as soon as the job's id is known. */
extern void clari_flight_record_job(ClariFlight *flight);

/* Before decoding: should that kill the process, whoever comes next knows. */
extern void clari_flight_record_attempt(ClariFlight *flight);

/*
 * There is no job of ours: its record goes; or the one of the older job, which it
 * was to replace, comes back.
 */
extern void clari_flight_restore_record(ClariFlight *flight);

/* The job has ended, for us: nobody died of it. */
extern void clari_flight_record_end(ClariFlight *flight, bool published);

/* ------- the rowset ------- */

/* What clari_rowset_writer_finish() is given. */
extern void clari_flight_fill_meta(const ClariFlight *flight, ClariRowsetMeta *meta);

#endif /* CLARI_FLIGHT_SHARED_H */
