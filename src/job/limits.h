/*
 * job_limits.h
 *		A POST that a limit of Clari refused: which limit, and what follows.
 *
 * Inside of room job.  Pure.
 */
#ifndef CLARI_JOB_LIMITS_H
#define CLARI_JOB_LIMITS_H

#include "job/job.h"

/*
 * The POST was refused by 400.  Does it speak of a limit?  Then the limits are to
 * be asked for (*action).
 */
extern bool clari_job_refused_by_limit(ClariJob *job, const ClariReply *reply, int64_t now, ClariJobAction *action);

/* The steps of BLOCKED and ASKING.  job->error stays the POST's meanwhile: that is what was refused. */
extern ClariJobAction clari_job_step_blocked(ClariJob *job, const ClariJobEvent *event, int64_t now);
extern ClariJobAction clari_job_step_asking(ClariJob *job, const ClariJobEvent *event, int64_t now);

#endif /* CLARI_JOB_LIMITS_H */
