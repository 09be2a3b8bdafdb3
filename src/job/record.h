/*
 * record.h
 *		What is known, across crashes, of the job that an export's POST made.
 *
 * Quota is money: a job that was paid for is found again after a crash.  What
 * that takes is a record of about a kilobyte; store.h keeps it as a file.
 *
 * Layout of its bytes (host byte order, every part 8-aligned, none undefined,
 * so that equal records have equal bytes):
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
	char period[CLARI_PERIOD_TEXT_SIZE];   /* requested; empty: the current quarter */
	char expected[CLARI_PERIOD_TEXT_SIZE]; /* the quarter to look for in Clari's list of jobs; empty: none */
	char job_id[CLARI_ID_SIZE];            /* empty: the POST was about to be sent, its outcome is not known */
	char user_id[CLARI_ID_SIZE];           /* whose job it is, as Clari names the user; empty: not known */
	char currency[CLARI_CURRENCY_SIZE];    /* the account's own, as Clari lists it; empty: not known */
	int64_t posted_at;                     /* µs from 2000-01-01 UTC */
	uint32_t attempts;                     /* decodings of its file that began and did not end in an orderly way */
	bool without_crm;     /* its POST left crm_total and crm_closed out, since Clari had refused them */
	bool renewed;         /* it was made since Clari had lost, or forbidden, another one */
	bool ended;           /* the job has come into the cache before, or failed */
	ClariKnownJobs known; /* while job_id is empty: what was listed before the POST */
} ClariRecord;

#define CLARI_RECORD_MIN_SIZE 1032 /* without known jobs */
#define CLARI_RECORD_MAX_SIZE (CLARI_RECORD_MIN_SIZE + 8 * CLARI_KNOWN_MAX)

/* How many bytes the record takes. */
extern size_t clari_record_length(const ClariRecord *record);

/*
 * Writes the record to bytes, where CLARI_RECORD_MAX_SIZE have room, and returns
 * how many it took.  known.count must be in range.
 */
extern size_t clari_record_encode(const ClariRecord *record, char *bytes);

/*
 * Reads what clari_record_encode() wrote; the bytes need no alignment.  False
 * with CLARI_ERROR_CORRUPT, and *record undefined, unless magic, length and
 * checksum hold, every text ends, and known.count is in range.
 */
extern bool clari_record_decode(const char *bytes, size_t length, ClariRecord *record, ClariError *error);

#endif /* CLARI_RECORD_H */
