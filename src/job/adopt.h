/*
 * adopt.h
 *		Finds the job of Clari's list that was certainly made by a POST of
 *		unknown outcome, if there is one.
 *
 * Clari has no idempotency key.  After a POST that timed out, it is therefore
 * not known whether there is a job, and which.  This is decided from two lists
 * of jobs, one read before the POST and one after it.  Exactness is more
 * important than quota: a job is adopted only if nothing else can have made
 * it.  Pure: no allocation, no clock, no PostgreSQL.
 */
#ifndef CLARI_ADOPT_H
#define CLARI_ADOPT_H

#include <stdbool.h>
#include <stdint.h>

#include "clari/reply.h"
#include "clari/request.h"

#define CLARI_KNOWN_MAX 256

/*
 * The jobs that were listed before the POST, and could be confused with the
 * one that it makes.  Plain bytes without pointers.
 */
typedef struct ClariKnownJobs
{
	bool complete; /* a complete list was read, and ids had room for all of these jobs */
	uint32_t count;
	uint64_t ids[CLARI_KNOWN_MAX]; /* FNV-1a of each job's id */
} ClariKnownJobs;

typedef enum ClariVerdict
{
	CLARI_VERDICT_NONE,   /* no listed job is certainly ours, nor will one be later: send the POST again */
	CLARI_VERDICT_OURS,   /* exactly one job is certainly ours */
	CLARI_VERDICT_UNCLEAR /* not known yet: read the list again */
} ClariVerdict;

/* What is searched for.  The pointers must remain valid as long as the adoption is used. */
typedef struct ClariSought
{
	const ClariRequest *request;
	const char *period;                                /* the quarter, or empty: see clari_adopt_is_possible() */
	const char *user_id;                               /* our user, or empty if not known */
	const char *currency;                              /* the account's own, or empty if not known or not listed */
	const ClariKnownJobs *known;                       /* NULL: this is the list before the POST */
	bool contested;                                    /* see clari_adopt_begin() */
	bool (*is_claimed)(void *arg, const char *job_id); /* does the job belong to another export?  NULL: no job does */
	void *arg;
} ClariSought;

/* The search of one list. */
typedef struct ClariAdoption
{
	ClariSought sought;
	bool possible;
	bool nameless;            /* a new job that could be ours has no file name (yet) */
	int32_t candidates;       /* number of new jobs that could be ours by what is listed; 2 means two or more */
	ClariListedJob candidate; /* the first of them */
	ClariKnownJobs listed;    /* of a list before the POST: the result of clari_adopt_known() */
} ClariAdoption;

/*
 * Could a job made by this request be recognized in a list at all?  A listed
 * job shows forecast, period, user and currency, but not types, scope or
 * whether it is historical, so these must be the defaults that all exports
 * have.  period is the quarter to look for: the request's own; or for a request
 * without one, the quarter that is known to be the current one, or empty.
 */
extern bool clari_adopt_is_possible(const ClariRequest *request, const char *period);

/*
 * Begins to search a list.  contested means that another export of the same
 * forecast and quarter (whatever its types and scope) has been POSTed, or may
 * have been, since the list before this POST, and that its job is not known.
 * A candidate may then be its job, so if there is one, the verdict is
 * CLARI_VERDICT_UNCLEAR.
 */
extern void clari_adopt_begin(ClariAdoption *adoption, const ClariSought *sought);

/* Takes one job of the list.  This is a ClariListedJobSink, whose arg is the adoption.  Returns true. */
extern bool clari_adopt_add(void *adoption, const ClariListedJob *job);

/*
 * Returns the jobs of the list before the POST.  To be called after it, and
 * only if clari_json_read_jobs() returned true.  If the list could not be
 * read, use a ClariKnownJobs of zeros instead.
 */
extern void clari_adopt_known(const ClariAdoption *adoption, ClariKnownJobs *known);

/*
 * Returns the verdict on the list after the POST.  To be called after it, and
 * only if clari_json_read_jobs() returned true.  Sets job_id for
 * CLARI_VERDICT_OURS, and to empty otherwise.
 */
extern ClariVerdict clari_adopt_verdict(const ClariAdoption *adoption, char job_id[CLARI_ID_SIZE]);

#endif /* CLARI_ADOPT_H */
