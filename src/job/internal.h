/*
 * internal.h
 *		The error messages of room job, for its own files: job.c decides
 *		what happens, and error.c describes it.
 *
 * Each function sets job->error, replacing the previous error, unless it says
 * that it adds to the error.  None changes anything else.  Pure.
 */
#ifndef CLARI_JOB_INTERNAL_H
#define CLARI_JOB_INTERNAL_H

#include "job/job.h"

/*
 * The call was not answered.  error is the caller's; if it is NULL or of code
 * CLARI_ERROR_NONE, a general one is used.
 */
extern void clari_job_error_broken(ClariJob *job, const ClariError *error);

/* The call was answered with this status, which is not 2xx.  407 is from the proxy. */
extern void clari_job_error_refused(ClariJob *job, int status, const ClariReply *reply);

/* These three add to the error of clari_job_error_refused(), or replace it, if the refusal has a specific meaning. */
extern void clari_job_error_unauthorized(ClariJob *job, int status,
										 bool no_optin); /* the API key's user may not see the forecast */
extern void clari_job_error_no_forecast(ClariJob *job, int status, const ClariReply *reply);
extern void clari_job_error_quota(ClariJob *job, const ClariReply *limits);

/* Adds that Clari's API may not have the requested resource at all. */
extern void clari_job_error_no_endpoint(ClariJob *job);

/*
 * These two add to the error of clari_job_error_refused(): the first, that it
 * could not be found out which limit was reached; the second, that Clari does
 * not export crm_total and crm_closed.
 */
extern void clari_job_error_either_limit(ClariJob *job);
extern void clari_job_error_add_types(ClariJob *job);

/* The host of the file refused the link that Clari gave. */
extern void clari_job_error_link(ClariJob *job, int status, const ClariReply *reply);

/* Clari does not know the job any more. */
extern void clari_job_error_lost(ClariJob *job, int status, const ClariReply *reply);

/* A POST was answered with 2xx, but the answer contains no job id.  It may not be from Clari. */
extern void clari_job_error_no_job(ClariJob *job, int status, const ClariReply *reply);

/* A poll was answered with 2xx, but the answer does not contain the job's state. */
extern void clari_job_error_no_state(ClariJob *job, int status, const ClariReply *reply);

/* The job is done, but its file is incomplete. */
extern void clari_job_error_truncated(ClariJob *job, const ClariReply *reply);

/* The job ended in another state than DONE. */
extern void clari_job_error_ended(ClariJob *job, const ClariReply *reply);

/* The download failed.  error is the caller's; if there is none, a general one is used. */
extern void clari_job_error_file(ClariJob *job, const ClariError *error);

/* An earlier flight sent a POST whose outcome is unknown, and nothing else has happened yet. */
extern void clari_job_error_earlier(ClariJob *job);

/*
 * export_timeout has passed, taken ms after the beginning; or it would pass
 * before the wait ms that Clari asks for (0: none).  The message and detail of
 * the previous error are added to the detail.
 */
extern void clari_job_error_timeout(ClariJob *job, int64_t taken, int64_t wait);

/* Adds the number of attempts, after the last retry. */
extern void clari_job_error_add_tries(ClariJob *job);

/* Adds that a POST may have made an export, if that is so. */
extern void clari_job_error_add_doubt(ClariJob *job);

/*
 * Sets *canceled to the error of a canceled job: the given error, or a general
 * one if there is none.  The message and detail of job->error are added to the
 * detail.
 */
extern void clari_job_error_canceled(const ClariJob *job, const ClariError *error, ClariError *canceled);

/*
 * Adds that the job was not canceled at Clari: the request was answered with
 * this status and reply, or failed with the error broken, or timed out (both
 * NULL).
 */
extern void
clari_job_error_add_uncanceled(ClariJob *job, int status, const ClariReply *reply, const ClariError *broken);

#endif /* CLARI_JOB_INTERNAL_H */
