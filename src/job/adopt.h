/*
 * adopt.h
 *		Which job of Clari's list, if any, is certainly the one that a POST of
 *		unknown outcome made.
 *
 * Clari knows no idempotency key, so a POST that timed out leaves one question:
 * is there a job now, and which?  Two lists answer it, one read before the POST
 * and one after.  Exactness beats quota: a job is taken up only if nothing else
 * could have made it.  Pure: no allocation, no clock, no PostgreSQL.
 */
#ifndef CLARI_ADOPT_H
#define CLARI_ADOPT_H

#include <stdbool.h>
#include <stdint.h>

#include "clari/reply.h"
#include "clari/request.h"

#define CLARI_KNOWN_MAX 256

/* The jobs that were listed before the POST and could be taken for its own; plain bytes, as all here. */
typedef struct ClariKnownJobs
{
	bool complete; /* a whole list was read, and all that matter fitted */
	uint32_t count;
	uint64_t ids[CLARI_KNOWN_MAX]; /* FNV-1a of each job's id */
} ClariKnownJobs;

typedef enum ClariVerdict
{
	CLARI_VERDICT_NONE,   /* no listed job can be shown to be ours, now or later: POST again */
	CLARI_VERDICT_OURS,   /* exactly one, certainly */
	CLARI_VERDICT_UNCLEAR /* cannot be told now, but may become clear: look again */
} ClariVerdict;

/* What is looked for; what it points to must outlive the adoption. */
typedef struct ClariSought
{
	const ClariRequest *request;
	const char *period;                                /* the quarter, or empty: see clari_adopt_is_possible() */
	const char *user_id;                               /* ours, or empty: not known */
	const char *currency;                              /* the account's own, or empty: not known, or not listed */
	const ClariKnownJobs *known;                       /* NULL: this is the list before the POST */
	bool contested;                                    /* see clari_adopt_begin() */
	bool (*is_claimed)(void *arg, const char *job_id); /* does the job belong to another export?  NULL: none does */
	void *arg;
} ClariSought;

/* One list being gone through. */
typedef struct ClariAdoption
{
	ClariSought sought;
	bool possible;
	bool nameless;            /* a new job that could be ours has no file name (yet) */
	int32_t candidates;       /* new jobs that could be ours by all that they say; 2: two or more */
	ClariListedJob candidate; /* the first of them */
	ClariKnownJobs listed;    /* of a list before the POST: what clari_adopt_known() gives */
} ClariAdoption;

/*
 * Could a job that this request makes be told from others at all?  A listed job
 * shows forecast, period, user and currency, but not its types, its scope or
 * whether it is historical: those must be what everybody's exports have by
 * default.  period is the quarter to look for: the request's own, or for one
 * without a period the quarter that is known to be the current one, or empty.
 */
extern bool clari_adopt_is_possible(const ClariRequest *request, const char *period);

/*
 * Begins to go through a list. contested: since the list before this POST
 * another export of the same forecast and quarter (whatever its types and
 * scope) has been POSTed, or may have been, whose job id is not known here.  A
 * candidate may then be that one's, so the verdict is UNCLEAR where there is
 * one.
 */
extern void clari_adopt_begin(ClariAdoption *adoption, const ClariSought *sought);

/* Takes one job of the list; fits ClariListedJobSink, with the adoption as arg.  Always true. */
extern bool clari_adopt_add(void *adoption, const ClariListedJob *job);

/*
 * After the list before the POST, and only if clari_json_read_jobs() said true:
 * the jobs that will be known.  Where the list did not come, a ClariKnownJobs
 * of zeros stands for it.
 */
extern void clari_adopt_known(const ClariAdoption *adoption, ClariKnownJobs *known);

/*
 * When a list after the POST has been gone through, and only if
 * clari_json_read_jobs() said true: which job is ours. job_id is filled for
 * OURS, empty otherwise.
 */
extern ClariVerdict clari_adopt_verdict(const ClariAdoption *adoption, char job_id[CLARI_ID_SIZE]);

#endif /* CLARI_ADOPT_H */
