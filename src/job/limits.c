/*
 * job_limits.c
 *		A POST that a limit of Clari refused: see job_limits.h.
 *
 * Runs in the worker and in unit tests.  Takes no lock, allocates nothing, knows
 * no clock.  Clari refuses by 400 what exceeds a limit: the number of exports at a
 * time, which passes, and the monthly quota, which does not.  Which it was, GET
 * /admin/limits tells: the code is the same.
 */
#include "job/limits.h"

#include "job/error.h"
#include "job/turn.h"

#define LIMITS_PATIENCE 5000 /* ms: then the refusal's own words have to do */

/* Does the text contain the word, which is in lower case, in whichever case? */
static bool
contains(const char *text, const char *word)
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

/* By its words, which may be those of anything: only where there is no code. */
static ClariLimit
limit_of_words(const char *text)
{
	bool concurrent = contains(text, "concurrent") || contains(text, "too many") || contains(text, "too_many");
	bool quota = contains(text, "quota") || contains(text, "monthly");

	if (concurrent && quota)
		return CLARI_LIMIT_EITHER;
	if (concurrent || quota)
		return concurrent ? CLARI_LIMIT_CONCURRENT : CLARI_LIMIT_QUOTA;
	return contains(text, "limit") ? CLARI_LIMIT_VAGUE : CLARI_LIMIT_NONE;
}

/*
 * By its code, whatever its words: a message can repeat the request, or name a
 * forecast "monthly".  Clari's OpenAPI document has one code for both limits.
 */
static ClariLimit
limit_of_code(const char *code)
{
	if (contains(code, "export_monthly_quota_reached"))
		return CLARI_LIMIT_EITHER;
	if (contains(code, "invalid") || contains(code, "no_such") || contains(code, "not_supported"))
		return CLARI_LIMIT_NONE;
	return limit_of_words(code);
}

/* A number is an HTTP status once more, and no code. */
static bool
has_code(const ClariReply *reply)
{
	return reply->code[0] != '\0' && (reply->code[0] < '0' || reply->code[0] > '9');
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
	job->limit = has_code(reply) ? limit_of_code(reply->code) : limit_of_words(reply->message);
	if (job->limit == CLARI_LIMIT_NONE)
		return false;
	job->blocked = false;
	*action = ask_limits(job, now);
	return true;
}

/* The limits did not come, or say nothing: the refusal itself has to do. */
static ClariJobAction
limits_unknown(ClariJob *job, int64_t now)
{
	static const ClariReply nothing;

	if (job->limit == CLARI_LIMIT_QUOTA)
	{
		clari_job_error_quota(job, &nothing);
		return clari_job_fail(job);
	}
	if (job->limit == CLARI_LIMIT_VAGUE)
		return clari_job_post_again(job, now);
	if (job->limit == CLARI_LIMIT_EITHER)
		clari_job_error_either_limit(job);
	return clari_job_wait_for_slot(job, CLARI_JOB_NEW, now);
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
	if (job->limit == CLARI_LIMIT_CONCURRENT || job->limit == CLARI_LIMIT_EITHER)
		return clari_job_wait_for_slot(job, CLARI_JOB_NEW, now);
	if (job->retries == 0)
		return clari_job_post_again(job, now);
	clari_job_error_add_tries(job); /* words alone, that mean something else */
	return clari_job_fail(job);
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
