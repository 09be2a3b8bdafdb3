/*
 * job_turn.h
 *		What a job does next: waits, tries again, looks for what a POST made, ends.
 *
 * Inside of room job: job.c has the states and what answers mean, this what
 * follows from that in any of them.  All but the first three return the action
 * to be carried out.  Pure.
 */
#ifndef CLARI_JOB_TURN_H
#define CLARI_JOB_TURN_H

#include "job/job.h"

/*
 * The one place where the state changes.  next_at matters where something is
 * waited for; the deadline always brings a TICK, except to a download, which may
 * take as long as bytes keep coming (request_timeout), and to a PATCH, which has
 * an end of its own.
 */
extern void clari_job_enter(ClariJob *job, ClariJobState state, int64_t next_at);

/* Is export_timeout over? */
extern bool clari_job_is_late(const ClariJob *job, int64_t now);

/* What was tried has succeeded: no retries, no error. */
extern void clari_job_step_succeeded(ClariJob *job);

/* ---- the job has its id ---- */

/* This one; export_timeout counts from now. */
extern void clari_job_accepted(ClariJob *job, const char *job_id, int64_t now);

/* Clari works on it: the next poll comes when it is a tenth older. */
extern ClariJobAction clari_job_poll_later(ClariJob *job, int64_t now);

/* It, or its file, was not there: polled again after a growing delay, for the n-th time (from 0); job->error says why. */
extern ClariJobAction clari_job_ask_again(ClariJob *job, int32_t times, int64_t now);

/* The job is of no use: there is a new one, with all the time for it. */
extern ClariJobAction clari_job_start_over(ClariJob *job, int64_t now);

/* ---- trying again; job->error says why ---- */

/* Repeats the call under way, at most max_retries times, after a growing delay or retry_after (ms, if above 0). */
extern ClariJobAction clari_job_retry(ClariJob *job, int64_t retry_after, int64_t now);

/* Somebody's exports are running, which is nobody's failure: waits in the state (NEW, BLOCKED), however often. */
extern ClariJobAction clari_job_wait_for_slot(ClariJob *job, ClariJobState state, int64_t now);

/* The POST under way may have made a job: a list may tell, or else it is sent again. */
extern ClariJobAction clari_job_outcome_unknown(ClariJob *job, int64_t retry_after, int64_t now);

/* The list after it did not come, or did not tell. */
extern ClariJobAction clari_job_look_again(ClariJob *job, int64_t retry_after, int64_t now);

/* No job of the last POST is to be had, whether there is one or not. */
extern ClariJobAction clari_job_post_again(ClariJob *job, int64_t now);

/* ---- the ends ---- */

/* With the error that the job holds. */
extern ClariJobAction clari_job_fail(ClariJob *job);

/* The same, and nobody can come back to the job: Clari has no use for it any more. */
extern ClariJobAction clari_job_fail_for_good(ClariJob *job);

/* export_timeout is over, or would be before wait ms (0: it is over now) have passed. */
extern ClariJobAction clari_job_fail_time_out(ClariJob *job, int64_t wait, int64_t now);

#endif /* CLARI_JOB_TURN_H */
