/*
 * internal.h
 *		What a failed step of an export says: the messages of room job.
 *
 * Inside of room job: job.c decides what happens, this puts it into words.
 * Each fills job->error anew unless it says that it adds; none changes anything
 * else.  Pure.
 */
#ifndef CLARI_JOB_INTERNAL_H
#define CLARI_JOB_INTERNAL_H

#include "job/job.h"

/* The call under way was not answered: the caller's error, or our own without one (NULL, or of code NONE). */
extern void clari_job_error_broken(ClariJob *job, const ClariError *error);

/* The call under way was answered with this status, which is not 2xx; 407 is the proxy's. */
extern void clari_job_error_refused(ClariJob *job, int status, const ClariReply *reply);

/* These three add to clari_job_error_refused(), or replace it, where the refusal has a meaning of its own. */
extern void
clari_job_error_unauthorized(ClariJob *job, int status, bool no_optin); /* the key's user may not see the forecast */
extern void clari_job_error_no_forecast(ClariJob *job, int status, const ClariReply *reply);
extern void clari_job_error_quota(ClariJob *job, const ClariReply *limits);

/* Adds that Clari's API may not have what was asked for at all. */
extern void clari_job_error_no_endpoint(ClariJob *job);

/*
 * These two add to clari_job_error_refused(): that it could not be asked which
 * limit was meant; and that Clari does not export crm_total and crm_closed.
 */
extern void clari_job_error_either_limit(ClariJob *job);
extern void clari_job_error_add_types(ClariJob *job);

/* A file's host refused the link that Clari gave. */
extern void clari_job_error_link(ClariJob *job, int status, const ClariReply *reply);

/* Clari has forgotten the job. */
extern void clari_job_error_lost(ClariJob *job, int status, const ClariReply *reply);

/* A POST was answered 2xx, but the answer names no job; it may not be Clari's. */
extern void clari_job_error_no_job(ClariJob *job, int status, const ClariReply *reply);

/* A poll was answered 2xx, but the answer does not tell the job's state. */
extern void clari_job_error_no_state(ClariJob *job, int status, const ClariReply *reply);

/* The job is done, but its file is not whole. */
extern void clari_job_error_truncated(ClariJob *job, const ClariReply *reply);

/* The job ended in another state than DONE. */
extern void clari_job_error_ended(ClariJob *job, const ClariReply *reply);

/* The download failed, by the caller's error, or by our own where there is none. */
extern void clari_job_error_file(ClariJob *job, const ClariError *error);

/* An earlier life of the server left a POST without an outcome, and nothing else has happened yet. */
extern void clari_job_error_earlier(ClariJob *job);

/*
 * export_timeout is over after taken ms, or would be over before Clari wants to be
 * asked again in wait ms (0: it is over now).  The error that the job held becomes
 * a part of the detail.
 */
extern void clari_job_error_timeout(ClariJob *job, int64_t taken, int64_t wait);

/* Adds that the last retry was used up. */
extern void clari_job_error_add_tries(ClariJob *job);

/* Adds that a POST may have made an export, if that is so. */
extern void clari_job_error_add_doubt(ClariJob *job);

/*
 * Fills in what becomes the error of a job that somebody canceled: the event's
 * error, or our own without one.  The error that the job holds becomes a part
 * of the detail.
 */
extern void clari_job_error_canceled(const ClariJob *job, const ClariError *error, ClariError *canceled);

/* Adds that Clari refused to cancel the job, did not answer (broken), or did not in time (neither). */
extern void
clari_job_error_add_uncanceled(ClariJob *job, int status, const ClariReply *reply, const ClariError *broken);

#endif /* CLARI_JOB_INTERNAL_H */
