/*
 * job_turn.c
 *		What a job does next: see job_turn.h.
 *
 * Runs in the worker and in unit tests.  Takes no lock, allocates nothing, knows
 * no clock.
 */
#include "job/turn.h"

#include <string.h>

#include "job/error.h"

#define RETRY_DELAY 500 /* ms, doubled by each retry of the step */
#define RETRY_LIMIT 30000
#define REFUSAL_DELAY 1000 /* the same while no slot is free */
#define REFUSAL_LIMIT 10000
#define POLL_SHARE 10 /* a poll each time that the job is a tenth older */

/* ---- time ---- */

/* What export_timeout is counted from. */
static int64_t
origin(const ClariJob *job)
{
	return job->accepted_at != 0 ? job->accepted_at : job->started_at;
}

static int64_t
deadline(const ClariJob *job)
{
	return origin(job) + job->export_timeout;
}

void
clari_job_enter(ClariJob *job, ClariJobState state, int64_t next_at)
{
	switch (state)
	{
		case CLARI_JOB_NEW:
		case CLARI_JOB_BLOCKED:
		case CLARI_JOB_ASKING:
		case CLARI_JOB_LISTING:
		case CLARI_JOB_UNSURE:
		case CLARI_JOB_WAITING:
		case CLARI_JOB_READY:
			job->next_at = next_at < deadline(job) ? next_at : deadline(job);
			break;
		case CLARI_JOB_POSTING:
		case CLARI_JOB_LOOKING:
		case CLARI_JOB_POLLING:
			job->next_at = deadline(job);
			break;
		case CLARI_JOB_CANCELLING:
		case CLARI_JOB_REPLACING:
			job->next_at = next_at;
			break;
		case CLARI_JOB_DOWNLOADING:
		case CLARI_JOB_DONE:
		case CLARI_JOB_FAILED:
			job->next_at = INT64_MAX;
			break;
	}
	job->state = state;
}

bool
clari_job_is_late(const ClariJob *job, int64_t now)
{
	return now >= deadline(job);
}

/* How long until the next poll, for a job of this age. */
static int64_t
poll_delay(const ClariJob *job, int64_t now)
{
	int64_t delay = (now - job->accepted_at) / POLL_SHARE;

	if (delay < job->poll_interval)
		delay = job->poll_interval;
	return delay < job->max_poll_interval ? delay : job->max_poll_interval;
}

/* Marsaglia's xorshift: only so that clients that failed together do not come back together. */
static uint32_t
next_random(ClariJob *job)
{
	job->jitter ^= job->jitter << 13;
	job->jitter ^= job->jitter >> 17;
	job->jitter ^= job->jitter << 5;
	return job->jitter;
}

/* first, doubled times times, at most limit; then a quarter more or less. */
static int64_t
back_off_delay(ClariJob *job, int64_t first, int64_t limit, int32_t times)
{
	int64_t delay = first;

	while (times-- > 0 && delay < limit)
		delay *= 2;
	if (delay > limit)
		delay = limit;
	return delay - delay / 4 + next_random(job) % (delay / 2 + 1);
}

/* ---- the ends ---- */

/* Where no POST can have made a job there is none to come back to. */
static ClariJobAction
end(ClariJob *job)
{
	if (job->job_id[0] == '\0' && !job->in_doubt)
		job->forget = true;
	clari_job_enter(job, CLARI_JOB_FAILED, 0);
	return CLARI_ACTION_FAIL;
}

ClariJobAction
clari_job_fail(ClariJob *job)
{
	clari_job_error_add_doubt(job);
	return end(job);
}

ClariJobAction
clari_job_fail_time_out(ClariJob *job, int64_t wait, int64_t now)
{
	clari_job_error_timeout(job, now - origin(job), wait);
	return end(job);
}

ClariJobAction
clari_job_fail_for_good(ClariJob *job)
{
	job->forget = true;
	return clari_job_fail(job);
}

/* ---- the job has its id ---- */

void
clari_job_step_succeeded(ClariJob *job)
{
	job->retries = 0;
	memset(&job->error, 0, sizeof(job->error));
}

void
clari_job_accepted(ClariJob *job, const char *job_id, int64_t now)
{
	clari_job_step_succeeded(job);
	memcpy(job->job_id, job_id, strlen(job_id) + 1);
	job->accepted_at = now;
	job->in_doubt = false;
}

ClariJobAction
clari_job_poll_later(ClariJob *job, int64_t now)
{
	if (clari_job_is_late(job, now))
		return clari_job_fail_time_out(job, 0, now);
	clari_job_enter(job, CLARI_JOB_WAITING, now + poll_delay(job, now));
	return CLARI_ACTION_NONE;
}

ClariJobAction
clari_job_start_over(ClariJob *job, int64_t now)
{
	job->renewed = true;
	job->resumed = job->listed = job->can_look = job->in_doubt = job->spent = job->adopted = false;
	job->truncated = job->linkless = job->done = false;
	job->job_id[0] = job->status_text[0] = job->download_url[0] = '\0';
	job->retries = job->refusals = job->losses = job->link_losses = 0;
	job->end_time = job->post_at = job->accepted_at = 0;
	job->started_at = now;
	memset(&job->error, 0, sizeof(job->error));
	clari_job_enter(job, CLARI_JOB_NEW, now);
	return CLARI_ACTION_NONE;
}

/* ---- trying again ---- */

/* Back to where the call under way is to be repeated from, for which job->error says why. */
static ClariJobState
before_call(ClariJobState state)
{
	switch (state)
	{
		case CLARI_JOB_POSTING:
			return CLARI_JOB_NEW;
		case CLARI_JOB_POLLING:
			return CLARI_JOB_WAITING;
		default:
			return CLARI_JOB_READY;
	}
}

/* Goes (back) to the state and stays there for the delay, or as long as Clari asks. */
static ClariJobAction
back_off(ClariJob *job, ClariJobState state, int64_t delay, int64_t retry_after, int64_t now)
{
	if (retry_after > 0)
	{
		if (retry_after > deadline(job) - now)
			return clari_job_fail_time_out(job, retry_after, now);
		delay = retry_after + next_random(job) % (RETRY_DELAY / 4);
	}
	clari_job_enter(job, state, now + delay);
	return CLARI_ACTION_NONE;
}

/* The same, counted against max_retries. */
static ClariJobAction
retry_from(ClariJob *job, ClariJobState state, int64_t retry_after, int64_t now)
{
	if (job->retries >= job->max_retries)
	{
		clari_job_error_add_tries(job);
		return clari_job_fail(job);
	}
	job->total_retries++;
	return back_off(job, state, back_off_delay(job, RETRY_DELAY, RETRY_LIMIT, job->retries++), retry_after, now);
}

ClariJobAction
clari_job_retry(ClariJob *job, int64_t retry_after, int64_t now)
{
	return retry_from(job, before_call(job->state), retry_after, now);
}

ClariJobAction
clari_job_ask_again(ClariJob *job, int32_t times, int64_t now)
{
	job->total_retries++;
	return back_off(job, CLARI_JOB_WAITING, back_off_delay(job, RETRY_DELAY, RETRY_LIMIT, times), -1, now);
}

ClariJobAction
clari_job_wait_for_slot(ClariJob *job, ClariJobState state, int64_t now)
{
	return back_off(job, state, back_off_delay(job, REFUSAL_DELAY, REFUSAL_LIMIT, job->refusals++), -1, now);
}

/* ---- a POST of unknown outcome ---- */

ClariJobAction
clari_job_post_again(ClariJob *job, int64_t now)
{
	if (job->spent)
		return clari_job_fail(job); /* another would be paid for, too */
	if (!job->posted)
	{
		/* That POST was an earlier life's; this one has all its tries before it. */
		clari_job_enter(job, CLARI_JOB_NEW, now);
		return CLARI_ACTION_NONE;
	}
	return retry_from(job, CLARI_JOB_NEW, job->post_at - now, now);
}

ClariJobAction
clari_job_outcome_unknown(ClariJob *job, int64_t retry_after, int64_t now)
{
	job->in_doubt = true;
	job->looks = 0;
	job->post_at = retry_after <= 0 ? 0 : retry_after < INT64_MAX - now ? now + retry_after : INT64_MAX;
	if (!job->adoptable || !job->can_look)
		return clari_job_post_again(job, now);
	clari_job_enter(job, CLARI_JOB_UNSURE, now + RETRY_DELAY);
	return CLARI_ACTION_NONE;
}

ClariJobAction
clari_job_look_again(ClariJob *job, int64_t retry_after, int64_t now)
{
	if (job->looks >= job->max_retries) /* one look was had in any case */
		return clari_job_post_again(job, now);
	return back_off(job, CLARI_JOB_UNSURE, back_off_delay(job, RETRY_DELAY, RETRY_LIMIT, job->looks), retry_after, now);
}
