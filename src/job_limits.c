/*
 * job_limits.c
 *		A POST that a limit of Clari refused: see job_limits.h.
 *
 * Runs in the worker and in unit tests.  Takes no lock, allocates nothing, knows
 * no clock.  Clari refuses by 400 what exceeds a limit: the number of exports at a
 * time, which passes, and the monthly quota, which does not.  Which it was, GET
 * /admin/limits tells.
 */
#include "job_limits.h"

#include "job_error.h"
#include "job_turn.h"

#define LIMITS_PATIENCE 5000 /* ms: then the refusal's own words have to do */

bool
clari_job_text_contains(const char *text, const char *word)
{
	for (; *text != '\0'; text++)
	{
		size_t i = 0;

		while (word[i] != '\0' && (text[i] >= 'A' && text[i] <= 'Z' ? text[i] - 'A' + 'a' : text[i]) == word[i])
			i++;
		if (word[i] == '\0')
			return true;
	}
	return false;
}

static bool
reply_contains(const ClariReply *reply, const char *word)
{
	return clari_job_text_contains(reply->code, word) || clari_job_text_contains(reply->message, word);
}

static bool
speaks_of_limits(const ClariReply *reply)
{
	return reply_contains(reply, "limit") || reply_contains(reply, "concurrent") || reply_contains(reply, "quota") ||
		   reply_contains(reply, "monthly") || reply_contains(reply, "too many");
}

static ClariJobAction
ask_limits(ClariJob *job, int64_t now)
{
	clari_job_enter(job, CLARI_JOB_ASKING, now + LIMITS_PATIENCE);
	return CLARI_ACTION_LIMITS;
}

bool
clari_job_refused_by_limit(ClariJob *job, const ClariReply *reply, int64_t now, ClariJobAction *action)
{
	if (!speaks_of_limits(reply))
		return false;
	job->blocked = false;
	job->slot_words = reply_contains(reply, "concurrent") || reply_contains(reply, "too many");
	job->quota_words = !job->slot_words && (reply_contains(reply, "quota") || reply_contains(reply, "monthly"));
	*action = ask_limits(job, now);
	return true;
}

/* The limits did not come, or say nothing: the refusal's own words have to do. */
static ClariJobAction
limits_unknown(ClariJob *job, int64_t now)
{
	static const ClariReply nothing;

	if (job->slot_words)
		return clari_job_wait_for_slot(job, CLARI_JOB_NEW, now);
	if (!job->quota_words)
		return clari_job_post_again(job, now);
	clari_job_error_quota(job, &nothing);
	return clari_job_fail(job);
}

static ClariJobAction
limits_reported(ClariJob *job, const ClariReply *limits, int64_t now)
{
	if (limits->available_monthly == 0)
	{
		clari_job_error_quota(job, limits);
		return clari_job_fail(job);
	}
	if (limits->available_concurrent == 0)
	{
		job->blocked = true;
		return clari_job_wait_for_slot(job, CLARI_JOB_BLOCKED, now);
	}
	if (limits->available_concurrent < 0)
		return limits_unknown(job, now);
	if (job->blocked)
	{
		/* What was waited for. */
		clari_job_enter(job, CLARI_JOB_NEW, now);
		return CLARI_ACTION_NONE;
	}
	/* There is room again already; but where the refusal may have meant something else, not for ever. */
	return job->slot_words ? clari_job_wait_for_slot(job, CLARI_JOB_NEW, now) : clari_job_post_again(job, now);
}

ClariJobAction
clari_job_step_blocked(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	if (event->kind != CLARI_EVENT_TICK || now < job->next_at)
		return CLARI_ACTION_NONE;
	return clari_job_is_late(job, now) ? clari_job_fail_time_out(job, 0, now) : ask_limits(job, now);
}

ClariJobAction
clari_job_step_asking(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	switch (event->kind)
	{
		case CLARI_EVENT_REPLY:
			if (event->status < 200 || event->status > 299 || event->reply == NULL)
				return limits_unknown(job, now);
			return limits_reported(job, event->reply, now);
		case CLARI_EVENT_BROKEN:
			return limits_unknown(job, now);
		case CLARI_EVENT_TICK:
			if (clari_job_is_late(job, now))
				return clari_job_fail_time_out(job, 0, now);
			return now < job->next_at ? CLARI_ACTION_NONE : limits_unknown(job, now);
		default:
			return CLARI_ACTION_NONE;
	}
}
