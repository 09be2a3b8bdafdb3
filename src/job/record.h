/*
 * record.h
 *		What is remembered across crashes of the job that an export's POST
 *		has made.
 *
 * Jobs use quota, so a job must be found again after a crash.  A record of
 * about a kilobyte suffices for that; room store keeps it in a file.
 *
 * Its bytes are in host byte order; every part is 8-aligned, and no byte is
 * undefined, so that equal records have equal bytes:
 *
 *		magic | length | CRC-32C | the fields | the ids of the known jobs
 *
 * Pure.
 */
#ifndef CLARI_RECORD_H
#define CLARI_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/request.h"
#include "job/adopt.h"

#define CLARI_RECORD_MAGIC "CLARIJB2" /* the digit is the format's version */

typedef struct ClariRecord
{
	ClariKey key;
	ClariKey account; /* clari_request_account() */
	char base_url[CLARI_URL_SIZE];
	char forecast[CLARI_NAME_SIZE];
	char period[CLARI_PERIOD_TEXT_SIZE];   /* as requested; empty: the current quarter */
	char expected[CLARI_PERIOD_TEXT_SIZE]; /* the quarter to look for in Clari's list of jobs; empty if not known */
	char job_id[CLARI_ID_SIZE];            /* empty: a POST was about to be sent, and its outcome is not known */
	char user_id[CLARI_ID_SIZE];           /* the job's user, as Clari names it; empty if not known */
	char currency[CLARI_CURRENCY_SIZE];    /* the account's own, as Clari lists it; empty if not known */
	int64_t posted_at;                     /* µs from 2000-01-01 UTC */
	uint32_t attempts;                     /* how often decoding its file began and did not end in an orderly way */
	bool without_crm;     /* the POST did not request crm_total and crm_closed, because Clari had refused them */
	bool renewed;         /* it was started because Clari had lost, or refused access to, an earlier job */
	bool ended;           /* the job has been published, or its file was bad */
	ClariKnownJobs known; /* while job_id is empty: the jobs that were listed before the POST */
} ClariRecord;

#define CLARI_RECORD_MIN_SIZE 1032 /* without known jobs */
#define CLARI_RECORD_MAX_SIZE (CLARI_RECORD_MIN_SIZE + 8 * CLARI_KNOWN_MAX)

/* The size of the encoded record in bytes. */
extern size_t clari_record_length(const ClariRecord *record);

/*
 * Encodes the record into bytes, which must have room for
 * CLARI_RECORD_MAX_SIZE, and returns the size.  known.count must be in range.
 */
extern size_t clari_record_encode(const ClariRecord *record, char *bytes);

/*
 * Decodes a record; the bytes need not be aligned.  Returns false with
 * CLARI_ERROR_CORRUPT, and *record undefined, if magic, length or checksum are
 * wrong, a text has no end, or known.count is out of range.
 */
extern bool clari_record_decode(const char *bytes, size_t length, ClariRecord *record, ClariError *error);

#endif /* CLARI_RECORD_H */
