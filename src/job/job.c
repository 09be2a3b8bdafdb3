/*
 * job.c
 *		One export at Clari as a pure state machine: see job.h.
 *
 * Runs in the worker and in unit tests.  Takes no lock, allocates nothing, and
 * uses no clock, HTTP or JSON.
 *
 * Exports use a monthly quota.  If the outcome of a POST is unknown, Clari's
 * list is therefore searched for its job before the POST is repeated, provided
 * that the job can be recognized there (ClariJob.adoptable, and a list from
 * before the POST).  A POST that was answered with 2xx is never repeated.  A
 * file that can be downloaded again from the same job is not exported again.
 */
#include "job/job.h"

#include <string.h>

#include "job/internal.h"

#define LIST_PATIENCE 5000    /* ms for the list before the POST; it must not make the export fail */
#define CANCEL_PATIENCE 10000 /* ms for the PATCH that cancels the job */
#define REPLACE_PATIENCE 5000 /* ms for the PATCH that cancels the replaced job */
#define REPLACE_TRIES 3       /* how often that PATCH is sent */
#define LOSS_PATIENCE 3       /* how often Clari may deny that a job exists before it is believed */
#define LINK_PATIENCE 2       /* how many links to a file on another host may be refused */
#define RETRY_DELAY 500       /* ms, doubled by each retry of the step */
#define RETRY_LIMIT 30000     /* ms */
#define REFUSAL_DELAY 1000    /* ms, doubled by each refusal while no slot is free */
#define REFUSAL_LIMIT 10000   /* ms */
#define POLL_SHARE 10         /* a job is polled each time it has become a tenth older */
#define LIMITS_PATIENCE 5000  /* ms for the answer about the limits; then the refusal's own words decide */

typedef ClariJobAction (*StateFunction)(ClariJob *job, const ClariJobEvent *event, int64_t now);

static const ClariReply empty_reply;

static bool
is_success(const ClariJobEvent *event)
{
	return clari_is_success(event->status);
}

/* Was the call answered with 2xx? */
static bool
has_succeeded(const ClariJobEvent *event)
{
	return event->kind == CLARI_EVENT_REPLY && is_success(event);
}

/* ---- time ---- */

/* The time from which export_timeout is counted. */
static int64_t
deadline_begins(const ClariJob *job)
{
	return job->accepted_at != 0 ? job->accepted_at : job->started_at;
}

static int64_t
deadline(const ClariJob *job)
{
	return deadline_begins(job) + job->export_timeout;
}

/*
 * Changes the state; nothing else does.  next_at is used by the states that
 * wait.  In most states a TICK comes at the deadline at the latest.
 * Exceptions are a download, which may go on as long as bytes arrive
 * (request_timeout), and a PATCH, which has a time limit of its own.
 */
static void
enter(ClariJob *job, ClariJobState state, int64_t next_at)
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
		case CLARI_JOB_CANCELING:
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

/* Has export_timeout passed? */
static bool
is_late(const ClariJob *job, int64_t now)
{
	return now >= deadline(job);
}

/* The time until the next poll in ms, which grows with the job's age. */
static int64_t
poll_delay(const ClariJob *job, int64_t now)
{
	int64_t delay = (now - job->accepted_at) / POLL_SHARE;

	if (delay < job->poll_interval)
		delay = job->poll_interval;
	return delay < job->max_poll_interval ? delay : job->max_poll_interval;
}

/* Marsaglia's xorshift.  It only prevents clients that failed at the same time from trying again at the same time. */
static uint32_t
next_random(ClariJob *job)
{
	job->jitter ^= job->jitter << 13;
	job->jitter ^= job->jitter >> 17;
	job->jitter ^= job->jitter << 5;
	return job->jitter;
}

/*
 * Returns a delay in ms: first, doubled the given number of times, at most
 * limit, and finally changed at random by up to a quarter.
 */
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

/* Raises the doubt.  It is not lowered until there is a job with an id, or a new job is started. */
static void
raise_doubt(ClariJob *job, ClariDoubt doubt)
{
	if (doubt > job->doubt)
		job->doubt = doubt;
}

/* ---- ending ---- */

/*
 * Ends the job with the error that it has.  If no POST can have made a job at
 * Clari, the next request cannot take one up.
 */
static ClariJobAction
end(ClariJob *job)
{
	if (job->job_id[0] == '\0' && job->doubt == CLARI_DOUBT_NONE)
		job->useless = true;
	enter(job, CLARI_JOB_FAILED, 0);
	return CLARI_ACTION_FAIL;
}

/* Ends the job with the error that it has, to which the doubt is added. */
static ClariJobAction
fail(ClariJob *job)
{
	clari_job_error_add_doubt(job);
	return end(job);
}

/* Ends the job because export_timeout has passed (wait is 0), or would pass during the wait ms that Clari asks for. */
static ClariJobAction
fail_time_out(ClariJob *job, int64_t wait, int64_t now)
{
	clari_job_error_timeout(job, now - deadline_begins(job), wait);
	return end(job);
}

/* Ends the job, and marks it as one that cannot be taken up by the next request. */
static ClariJobAction
fail_for_good(ClariJob *job)
{
	job->useless = true;
	return fail(job);
}

/* ---- a job with an id ---- */

static void
step_succeeded(ClariJob *job)
{
	job->retries = 0;
	memset(&job->error, 0, sizeof(job->error));
}

/* Notes the id of the job at Clari.  export_timeout is counted from now on. */
static void
accepted(ClariJob *job, const char *job_id, int64_t now)
{
	step_succeeded(job);
	memcpy(job->job_id, job_id, strlen(job_id) + 1);
	job->accepted_at = now;
	job->doubt = CLARI_DOUBT_NONE;
}

/* Waits for the next poll, because Clari has not finished the job. */
static ClariJobAction
poll_later(ClariJob *job, int64_t now)
{
	if (is_late(job, now))
		return fail_time_out(job, 0, now);
	enter(job, CLARI_JOB_WAITING, now + poll_delay(job, now));
	return CLARI_ACTION_NONE;
}

/* Starts a new job because the one at Clari cannot be used.  export_timeout begins anew. */
static ClariJobAction
start_over(ClariJob *job, int64_t now)
{
	job->renewed = true;
	job->origin = CLARI_ORIGIN_OWN;
	job->list_before = CLARI_LIST_BEFORE_UNASKED;
	job->doubt = CLARI_DOUBT_NONE;
	job->truncated = job->linkless = job->done = false;
	job->job_id[0] = job->status_text[0] = job->download_url[0] = '\0';
	job->retries = job->refusals = job->losses = job->link_losses = 0;
	job->end_time = job->post_at = job->accepted_at = 0;
	job->started_at = now;
	memset(&job->error, 0, sizeof(job->error));
	enter(job, CLARI_JOB_NEW, now);
	return CLARI_ACTION_NONE;
}

/* ---- trying again ---- */

/* Returns the state from which the current call is repeated. */
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

/* Enters the state, to stay there for delay ms, or for retry_after ms if Clari asks for that. */
static ClariJobAction
back_off(ClariJob *job, ClariJobState state, int64_t delay, int64_t retry_after, int64_t now)
{
	if (retry_after > 0)
	{
		if (retry_after > deadline(job) - now)
			return fail_time_out(job, retry_after, now);
		delay = retry_after + next_random(job) % (RETRY_DELAY / 4);
	}
	enter(job, state, now + delay);
	return CLARI_ACTION_NONE;
}

/* Returns to the state for another attempt, unless there were max_retries already. */
static ClariJobAction
retry_from(ClariJob *job, ClariJobState state, int64_t retry_after, int64_t now)
{
	if (job->retries >= job->max_retries)
	{
		clari_job_error_add_tries(job);
		return fail(job);
	}
	job->total_retries++;
	return back_off(job, state, back_off_delay(job, RETRY_DELAY, RETRY_LIMIT, job->retries++), retry_after, now);
}

/*
 * Repeats the current call after a growing delay, or after retry_after ms if
 * that is above 0; at most max_retries times.
 */
static ClariJobAction
retry(ClariJob *job, int64_t retry_after, int64_t now)
{
	return retry_from(job, before_call(job->state), retry_after, now);
}

/*
 * Polls again after a delay that grows with times, which counts from 0 how
 * often Clari has not known the job or its file.
 */
static ClariJobAction
ask_again(ClariJob *job, int32_t times, int64_t now)
{
	job->total_retries++;
	return back_off(job, CLARI_JOB_WAITING, back_off_delay(job, RETRY_DELAY, RETRY_LIMIT, times), -1, now);
}

/*
 * Waits in NEW or BLOCKED because other exports use all that Clari's limit
 * allows.  That is no failure, so there is no limit on the number of times.
 */
static ClariJobAction
wait_for_room(ClariJob *job, ClariJobState state, int64_t now)
{
	return back_off(job, state, back_off_delay(job, REFUSAL_DELAY, REFUSAL_LIMIT, job->refusals++), -1, now);
}

/* ---- a POST of unknown outcome ---- */

static ClariJobAction
post_again(ClariJob *job, int64_t now)
{
	if (job->doubt == CLARI_DOUBT_SPENT)
		return fail(job); /* the first POST was counted, and so would be another one */
	if (!job->posted)
	{
		/* Only an earlier flight has sent a POST, so all retries are left. */
		enter(job, CLARI_JOB_NEW, now);
		return CLARI_ACTION_NONE;
	}
	return retry_from(job, CLARI_JOB_NEW, job->post_at - now, now);
}

/* The outcome of the POST is unknown: reads Clari's list if that can help; otherwise sends the POST again. */
static ClariJobAction
outcome_unknown(ClariJob *job, int64_t retry_after, int64_t now)
{
	raise_doubt(job, CLARI_DOUBT_OPEN);
	job->looks = 0;
	job->post_at = retry_after <= 0 ? 0 : retry_after < INT64_MAX - now ? now + retry_after : INT64_MAX;
	if (!job->adoptable || job->list_before != CLARI_LIST_BEFORE_KNOWN)
		return post_again(job, now);
	enter(job, CLARI_JOB_UNSURE, now + RETRY_DELAY);
	return CLARI_ACTION_NONE;
}

/* Reads the list after the POST once more, because it could not be read, or did not show our job. */
static ClariJobAction
look_again(ClariJob *job, int64_t retry_after, int64_t now)
{
	if (job->looks >= job->max_retries) /* the first look is always allowed */
		return post_again(job, now);
	return back_off(job, CLARI_JOB_UNSURE, back_off_delay(job, RETRY_DELAY, RETRY_LIMIT, job->looks), retry_after, now);
}

/* ---- a POST that a limit refused ---- */

/* Does the text contain the word, regardless of case?  The word is in lower case. */
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

/*
 * Returns the limit that the words of a refusal suggest.  Only used if there
 * is no code, because words may mean anything.
 */
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
 * Returns the limit that the refusal's code means.  The words are ignored,
 * because a message may repeat the request, or name a forecast called
 * "monthly".  Clari's OpenAPI document has one code for both limits.
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

/* Has the refusal a code?  A number is not one; it repeats the HTTP status. */
static bool
is_coded(const ClariReply *reply)
{
	return reply->code[0] != '\0' && (reply->code[0] < '0' || reply->code[0] > '9');
}

static ClariJobAction
ask_limits(ClariJob *job, int64_t now)
{
	enter(job, CLARI_JOB_ASKING, now + LIMITS_PATIENCE);
	return CLARI_ACTION_LIMITS;
}

/* Returns the limit because of which a POST was refused with 400. */
static ClariLimit
limit_of_refusal(const ClariReply *reply)
{
	return is_coded(reply) ? limit_of_code(reply->code) : limit_of_words(reply->message);
}

/* The request for the limits failed, or its answer does not contain them.  Decides by the refusal of the POST alone. */
static ClariJobAction
limits_unknown(ClariJob *job, int64_t now)
{
	if (job->limit == CLARI_LIMIT_QUOTA)
	{
		clari_job_error_quota(job, &empty_reply);
		return fail(job);
	}
	if (job->limit == CLARI_LIMIT_VAGUE)
		return post_again(job, now);
	if (job->limit == CLARI_LIMIT_EITHER)
		clari_job_error_either_limit(job);
	return wait_for_room(job, CLARI_JOB_NEW, now);
}

static ClariJobAction
limits_reported(ClariJob *job, const ClariReply *limits, int64_t now)
{
	if (limits->available_monthly == 0)
	{
		clari_job_error_quota(job, limits);
		return fail(job);
	}
	if (limits->available_concurrent == 0)
	{
		job->blocked = true;
		return wait_for_room(job, CLARI_JOB_BLOCKED, now);
	}
	if (limits->available_concurrent < 0)
		return limits_unknown(job, now);
	if (job->blocked)
	{
		/* Others have finished meanwhile. */
		enter(job, CLARI_JOB_NEW, now);
		return CLARI_ACTION_NONE;
	}
	/* There is room already.  Attempts are unlimited only if the refusal may have been about concurrent exports. */
	if (job->limit == CLARI_LIMIT_CONCURRENT || job->limit == CLARI_LIMIT_EITHER)
		return wait_for_room(job, CLARI_JOB_NEW, now);
	if (job->retries == 0)
		return post_again(job, now);
	clari_job_error_add_tries(job); /* the refusal was not about a limit after all */
	return fail(job);
}

/* In BLOCKED and ASKING, job->error remains the error of the POST that was refused. */
static ClariJobAction
step_blocked(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	if (event->kind != CLARI_EVENT_TICK || now < job->next_at)
		return CLARI_ACTION_NONE;
	return is_late(job, now) ? fail_time_out(job, 0, now) : ask_limits(job, now);
}

static ClariJobAction
step_asking(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	switch (event->kind)
	{
		case CLARI_EVENT_REPLY:
			if (!is_success(event) || event->reply == NULL)
				return limits_unknown(job, now);
			return limits_reported(job, event->reply, now);
		case CLARI_EVENT_BROKEN:
			return limits_unknown(job, now);
		case CLARI_EVENT_TICK:
			if (is_late(job, now))
				return fail_time_out(job, 0, now);
			return now < job->next_at ? CLARI_ACTION_NONE : limits_unknown(job, now);
		default:
			return CLARI_ACTION_NONE;
	}
}

/* ---- calls that fail ---- */

static const ClariReply *
reply_of(const ClariJobEvent *event)
{
	return event->reply != NULL ? event->reply : &empty_reply;
}

static ClariJobAction
start_download(ClariJob *job)
{
	enter(job, CLARI_JOB_DOWNLOADING, 0);
	return CLARI_ACTION_DOWNLOAD;
}

/* Downloads the job's own results from now on, instead of following a link. */
static ClariJobAction
download_without_link(ClariJob *job)
{
	job->linkless = true;
	job->download_url[0] = '\0';
	job->link_losses = job->retries = 0;
	return start_download(job);
}

/* The call was not answered. */
static ClariJobAction
call_broken(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	bool unknown = job->state == CLARI_JOB_POSTING && !event->never_sent;

	if (job->state == CLARI_JOB_DOWNLOADING && job->download_url[0] != '\0' && event->elsewhere && event->status == 0)
		return download_without_link(job); /* the host of the link cannot be reached */
	clari_job_error_broken(job, event->error);
	if (unknown)
		raise_doubt(job, is_success(event) ? CLARI_DOUBT_SPENT : CLARI_DOUBT_OPEN);
	if (!event->may_pass && job->doubt != CLARI_DOUBT_SPENT)
		return fail(job);
	if (!unknown)
		return retry(job, -1, now);
	return outcome_unknown(job, -1, now);
}

/*
 * Cancels the job that this one replaces.  It cannot be taken up any more, and
 * canceling frees its place and its quota.
 */
static ClariJobAction
cancel_replaced(ClariJob *job, int64_t now)
{
	enter(job, CLARI_JOB_REPLACING, now + REPLACE_PATIENCE);
	return CLARI_ACTION_REPLACE;
}

static bool
has_code(const ClariReply *reply, const char *code)
{
	return strcmp(reply->code, code) == 0;
}

/*
 * Sends the POST again without crm_total and crm_closed, which not all
 * accounts can export according to Clari's OpenAPI document.
 */
static ClariJobAction
post_without_crm(ClariJob *job, int64_t now)
{
	if (job->without_crm || (job->types & CLARI_TYPES_CRM) == 0 || (job->types & ~(uint32_t) CLARI_TYPES_CRM) == 0)
	{
		clari_job_error_add_types(job);
		return fail(job);
	}
	job->without_crm = true;
	enter(job, CLARI_JOB_NEW, now);
	return CLARI_ACTION_NONE;
}

/* Handles a POST refused permanently, but not by 401 or 403.  The codes are those of Clari's OpenAPI document. */
static ClariJobAction
post_refused(ClariJob *job, int status, const ClariReply *reply, int64_t now)
{
	if (status == 404 || has_code(reply, "no_such_forecast_config"))
		clari_job_error_no_forecast(job, status, reply);
	else if (status == 400 && has_code(reply, "type_not_supported"))
		return post_without_crm(job, now);
	else if (status == 400 && (job->limit = limit_of_refusal(reply)) != CLARI_LIMIT_NONE)
	{
		job->blocked = false;
		/* The older job may use the place that the new one needs. */
		return job->replaced_id[0] != '\0' ? cancel_replaced(job, now) : ask_limits(job, now);
	}
	return fail(job);
}

/* Is the status one that may pass, so that the call can be repeated? */
static bool
is_passing(int status)
{
	return status >= 500 || status == 408 || status == 421 || status == 425 || status == 429;
}

/*
 * Does the status mean that Clari does not know the job or file? 400 and 403
 * are in Clari's document, 404 in other sources.
 */
static bool
says_unknown(int status)
{
	return status == 400 || status == 403 || status == 404 || status == 410;
}

/*
 * Clari does not know the job, or does not have its file.  Shortly after a job
 * was accepted, this passes; and Clari's code SWW ("something went wrong") may
 * mean any failure.  It is therefore believed only after several times.
 */
static ClariJobAction
job_lost(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	bool resumed = job->origin == CLARI_ORIGIN_RESUMED;

	if (job->losses < LOSS_PATIENCE)
		return ask_again(job, job->losses++, now);
	if (event->status == 403 && (!resumed || job->renewed))
		return fail(job);
	if (event->status == 403) /* the job may still be running */
		memcpy(job->replaced_id, job->job_id, sizeof(job->replaced_id));
	if (resumed || !job->renewed)
		return start_over(job, now);
	clari_job_error_lost(job, event->status, reply_of(event));
	return fail_for_good(job);
}

/* A request that creates no job was refused permanently. */
static ClariJobAction
read_refused(ClariJob *job, int status, const ClariReply *reply)
{
	if (has_code(reply, "no_such_forecast_config"))
		clari_job_error_no_forecast(job, status, reply);
	else if (status == 404 || status == 410)
		clari_job_error_no_endpoint(job);
	else if (status == 400 && has_code(reply, "type_not_supported"))
		clari_job_error_add_types(job);
	return fail(job);
}

/* The POST, poll or download was answered with a status other than 2xx. */
static ClariJobAction
call_refused(ClariJob *job, const ClariJobEvent *event, const ClariReply *reply, int64_t now)
{
	int status = event->status;
	bool posting = job->state == CLARI_JOB_POSTING;

	clari_job_error_refused(job, status, reply);
	if (status >= 500 && posting)
		return outcome_unknown(job, event->retry_after, now);
	if (is_passing(status))
		return retry(job, event->retry_after, now);
	if (status == 401 || status == 403)
		clari_job_error_unauthorized(job, status, has_code(reply, "no_optin"));
	if (posting && status != 401 && status != 403)
		return post_refused(job, status, reply, now);
	if (clari_job_is_read(job))
		return read_refused(job, status, reply);
	if (!posting && says_unknown(status))
		return job_lost(job, event, now);
	return fail(job);
}

/* ---- answers to polls ---- */

/* The job is done at Clari.  A truncated file is an error unless the table allows it. */
static ClariJobAction
job_finished(ClariJob *job, const ClariReply *reply)
{
	job->done = true;
	job->end_time = reply->end_time;
	if (!job->linkless)
		memcpy(job->download_url, reply->download_url, sizeof(job->download_url));
	job->truncated = reply->rows_truncated || reply->cells_truncated;
	if (job->truncated && !job->allow_truncated)
	{
		clari_job_error_truncated(job, reply);
		return fail_for_good(job);
	}
	return start_download(job);
}

/* Notes the user, organization and currency that a job object shows, if it certainly is that of our job. */
static void
learn_account(ClariJob *job, const ClariReply *reply)
{
	if (strcmp(reply->job_id, job->job_id) != 0 || reply->user_id[0] == '\0')
		return;
	memcpy(job->user_id, reply->user_id, sizeof(job->user_id));
	memcpy(job->organization, reply->organization, sizeof(job->organization));
	memcpy(job->currency, reply->currency, sizeof(job->currency));
}

/* Handles a job object, which shows the state of the export. */
static ClariJobAction
job_reported(ClariJob *job, const ClariReply *reply, int64_t now)
{
	learn_account(job, reply);
	if (reply->status_text[0] != '\0')
		memcpy(job->status_text, reply->status_text, sizeof(job->status_text));
	switch (reply->status)
	{
		case CLARI_STATUS_DONE:
			return job_finished(job, reply);
		case CLARI_STATUS_FAILED:
		case CLARI_STATUS_CANCELED:
		case CLARI_STATUS_ABORTED:
			if (job->origin == CLARI_ORIGIN_RESUMED)
				return start_over(job, now);
			clari_job_error_ended(job, reply);
			return fail_for_good(job);
		case CLARI_STATUS_ABSENT:
		case CLARI_STATUS_SCHEDULED:
		case CLARI_STATUS_STARTED:
		case CLARI_STATUS_UNKNOWN:
			break;
	}
	job->losses = 0;
	return poll_later(job, now);
}

/* ---- calls and their answers ---- */

/* In a waiting state (UNSURE, WAITING, READY), enters state and returns action if it is time for that. */
static ClariJobAction
call_when_due(ClariJob *job, const ClariJobEvent *event, int64_t now, ClariJobState state, ClariJobAction action)
{
	if (event->kind != CLARI_EVENT_TICK)
		return CLARI_ACTION_NONE;
	if (is_late(job, now))
		return fail_time_out(job, 0, now);
	if (now < job->next_at)
		return CLARI_ACTION_NONE;
	enter(job, state, 0);
	return action;
}

/* Handles all events in POSTING and POLLING other than an answer of 2xx. */
static ClariJobAction
call_failed(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	switch (event->kind)
	{
		case CLARI_EVENT_TICK:
			if (!is_late(job, now))
				return CLARI_ACTION_NONE;
			if (job->state == CLARI_JOB_POSTING && !event->never_sent)
				raise_doubt(job, CLARI_DOUBT_OPEN);
			return fail_time_out(job, 0, now);
		case CLARI_EVENT_BROKEN:
			return call_broken(job, event, now);
		case CLARI_EVENT_REPLY:
			return call_refused(job, event, reply_of(event), now);
		default:
			return CLARI_ACTION_NONE;
	}
}

/* ---- canceling ---- */

static ClariJobAction
fail_canceled(ClariJob *job)
{
	job->error = job->canceled;
	return fail(job);
}

static ClariJobAction
cancel_at_clari(ClariJob *job, int64_t now)
{
	enter(job, CLARI_JOB_CANCELING, now + CANCEL_PATIENCE);
	return CLARI_ACTION_CANCEL;
}

/* Cancels the export, whatever its state. */
static ClariJobAction
cancel(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	if (job->state == CLARI_JOB_DONE || job->state == CLARI_JOB_FAILED || job->canceled.code != CLARI_ERROR_NONE)
		return CLARI_ACTION_NONE; /* it is over, or was canceled before; the error names who was first */
	clari_job_error_canceled(job, event->error, &job->canceled);
	if (job->state == CLARI_JOB_POSTING)
		return CLARI_ACTION_NONE; /* the answer to the POST contains the id of the job that is to be canceled */
	if (job->state == CLARI_JOB_WAITING || job->state == CLARI_JOB_POLLING ||
		(job->state == CLARI_JOB_REPLACING && job->job_id[0] != '\0'))
		return cancel_at_clari(job, now);
	return fail_canceled(job);
}

/* The export was canceled while its POST was in progress.  Cancels the job as soon as it is known that there is one. */
static ClariJobAction
canceled_while_posting(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	switch (event->kind)
	{
		case CLARI_EVENT_REPLY:
			if (is_success(event) && reply_of(event)->job_id[0] != '\0')
			{
				accepted(job, event->reply->job_id, now);
				return cancel_at_clari(job, now);
			}
			if (is_success(event) || event->status >= 500)
				raise_doubt(job, CLARI_DOUBT_OPEN);
			return fail_canceled(job);
		case CLARI_EVENT_BROKEN:
			if (!event->never_sent)
				raise_doubt(job, CLARI_DOUBT_OPEN);
			return fail_canceled(job);
		case CLARI_EVENT_TICK:
			if (!is_late(job, now))
				return CLARI_ACTION_NONE;
			if (!event->never_sent)
				raise_doubt(job, CLARI_DOUBT_OPEN);
			return fail_canceled(job);
		default:
			return CLARI_ACTION_NONE;
	}
}

/* ---- states before the job has its id ---- */

static ClariJobAction
send_post(ClariJob *job, int64_t now)
{
	if (is_late(job, now))
		return fail_time_out(job, 0, now);
	job->posted = true;
	enter(job, CLARI_JOB_POSTING, 0);
	return CLARI_ACTION_POST;
}

static ClariJobAction
step_new(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	if (event->kind != CLARI_EVENT_TICK || now < job->next_at)
		return CLARI_ACTION_NONE;
	if (!job->adoptable || job->list_before != CLARI_LIST_BEFORE_UNASKED || is_late(job, now))
		return send_post(job, now);
	job->list_before = CLARI_LIST_BEFORE_ASKED;
	enter(job, CLARI_JOB_LISTING, now + LIST_PATIENCE);
	return CLARI_ACTION_LIST;
}

/* The list before the POST was read or not; in either case the POST follows. */
static ClariJobAction
step_listing(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	switch (event->kind)
	{
		case CLARI_EVENT_LISTED:
			job->list_before = CLARI_LIST_BEFORE_KNOWN;
			return send_post(job, now);
		case CLARI_EVENT_REPLY:
		case CLARI_EVENT_BROKEN:
			return send_post(job, now);
		case CLARI_EVENT_TICK:
			return now < job->next_at ? CLARI_ACTION_NONE : send_post(job, now);
		default:
			return CLARI_ACTION_NONE;
	}
}

static ClariJobAction
step_posting(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	const ClariReply *reply = reply_of(event);

	if (job->canceled.code != CLARI_ERROR_NONE)
		return canceled_while_posting(job, event, now);
	if (!has_succeeded(event))
		return call_failed(job, event, now);
	if (reply->job_id[0] == '\0')
	{
		raise_doubt(job, CLARI_DOUBT_SPENT);
		clari_job_error_no_job(job, event->status, reply);
		return outcome_unknown(job, event->retry_after, now);
	}
	accepted(job, reply->job_id, now);
	return job->replaced_id[0] != '\0' ? cancel_replaced(job, now) : job_reported(job, reply, now);
}

static ClariJobAction
step_unsure(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	ClariJobAction action;

	if (event->kind == CLARI_EVENT_TICK && !is_late(job, now) && !job->adoptable)
		return post_again(job, now); /* the POST was an earlier flight's, and its job cannot be recognized in a list */
	action = call_when_due(job, event, now, CLARI_JOB_LOOKING, CLARI_ACTION_LIST);
	if (action == CLARI_ACTION_LIST)
		job->looks++;
	return action;
}

/* Decides by the verdict on the list after the POST. */
static ClariJobAction
list_read(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	bool named = event->job_id != NULL && event->job_id[0] != '\0' && strlen(event->job_id) < sizeof(job->job_id);

	if (event->verdict == CLARI_VERDICT_NONE)
		return post_again(job, now);
	if (event->verdict != CLARI_VERDICT_OURS || !named)
		return look_again(job, -1, now);
	accepted(job, event->job_id, now);
	job->origin = CLARI_ORIGIN_ADOPTED;
	if (job->replaced_id[0] != '\0')
		return cancel_replaced(job, now);
	enter(job, CLARI_JOB_WAITING, now);
	return CLARI_ACTION_NONE;
}

/* In LOOKING, job->error remains the error of the POST. */
static ClariJobAction
step_looking(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	switch (event->kind)
	{
		case CLARI_EVENT_LISTED:
			return list_read(job, event, now);
		case CLARI_EVENT_REPLY:
			return look_again(job, event->retry_after, now);
		case CLARI_EVENT_BROKEN:
			return look_again(job, -1, now);
		case CLARI_EVENT_TICK:
			return !is_late(job, now) ? CLARI_ACTION_NONE : fail_time_out(job, 0, now);
		default:
			return CLARI_ACTION_NONE;
	}
}

/* ---- states after the job has its id ---- */

/* Goes on whether the older job was canceled or not: polls the new job, or sends its POST if a limit had refused it. */
static ClariJobAction
step_replacing(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	bool passing = event->kind == CLARI_EVENT_TICK || event->kind == CLARI_EVENT_BROKEN || is_passing(event->status);

	if (event->kind == CLARI_EVENT_TICK && now < job->next_at)
		return CLARI_ACTION_NONE;
	if (!passing || ++job->replace_tries >= REPLACE_TRIES)
		job->replaced_id[0] = '\0';
	if (job->job_id[0] != '\0')
		return poll_later(job, now);
	enter(job, CLARI_JOB_NEW, now);
	return CLARI_ACTION_NONE;
}

static ClariJobAction
step_waiting(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	ClariJobAction action = call_when_due(job, event, now, CLARI_JOB_POLLING, CLARI_ACTION_POLL);

	if (action == CLARI_ACTION_POLL && job->replaced_id[0] != '\0')
		return cancel_replaced(job, now); /* the older job could not be canceled before */
	if (action == CLARI_ACTION_POLL)
		job->polls++;
	return action;
}

static ClariJobAction
step_polling(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	const ClariReply *reply = reply_of(event);

	if (!has_succeeded(event))
		return call_failed(job, event, now);
	if (!reply->is_json || reply->status == CLARI_STATUS_ABSENT ||
		(reply->job_id[0] != '\0' && strcmp(reply->job_id, job->job_id) != 0))
	{
		/*
		 * The answer may be from something between us and Clari, or about
		 * another job, or Clari may have a problem.  All of these may pass.
		 */
		clari_job_error_no_state(job, event->status, reply);
		return retry(job, event->retry_after, now);
	}
	step_succeeded(job);
	return job_reported(job, reply, now);
}

static ClariJobAction
step_ready(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	return call_when_due(job, event, now, CLARI_JOB_DOWNLOADING, CLARI_ACTION_DOWNLOAD);
}

/*
 * The host of the file refused a link that Clari gave, for example because it
 * has expired.  That says nothing about the API key or the job.  Clari can
 * give another link, by the next poll or by a redirect from the results.
 */
static ClariJobAction
link_refused(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	bool passing = is_passing(event->status);

	clari_job_error_link(job, event->status, reply_of(event));
	if (passing && job->retries < job->max_retries)
		return retry(job, event->retry_after, now);
	if (!passing && job->link_losses < LINK_PATIENCE)
		return ask_again(job, job->link_losses++, now);
	if (job->download_url[0] != '\0')
		return download_without_link(job);
	return fail(job);
}

/* The download was answered with a status other than 2xx. */
static ClariJobAction
download_refused(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	if (job->download_url[0] != '\0' || (event->elsewhere && !clari_job_is_read(job)))
		return link_refused(job, event, now);
	return call_refused(job, event, reply_of(event), now);
}

/* The file is bad or incomplete, or could not be stored. */
static ClariJobAction
file_refused(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	clari_job_error_file(job, event->error);
	switch (job->error.code)
	{
		case CLARI_ERROR_CONNECTION:
		case CLARI_ERROR_TIMEOUT:
		case CLARI_ERROR_DATA:
		case CLARI_ERROR_REPLY:
			/*
			 * The transfer may have been damaged on the way.  The job is still
			 * there, so another download costs no quota.
			 */
			return retry(job, -1, now);
		case CLARI_ERROR_IO:
			if (job->io_failed)
				return fail(job);
			job->io_failed = true;
			enter(job, CLARI_JOB_READY, now);
			return CLARI_ACTION_NONE;
		default:
			return fail(job);
	}
}

static ClariJobAction
step_downloading(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	switch (event->kind)
	{
		case CLARI_EVENT_DECODED:
			step_succeeded(job);
			enter(job, CLARI_JOB_DONE, 0);
			return CLARI_ACTION_PUBLISH;
		case CLARI_EVENT_REFUSED:
			return file_refused(job, event, now);
		case CLARI_EVENT_BROKEN:
			return call_broken(job, event, now);
		case CLARI_EVENT_REPLY:
			return is_success(event) ? CLARI_ACTION_NONE : download_refused(job, event, now);
		default:
			return CLARI_ACTION_NONE;
	}
}

/* Does Clari not know the job that is to be canceled?  Then there is nothing left to cancel. */
static bool
is_gone(const ClariJobEvent *event)
{
	return event->status == 404 || event->status == 410 ||
		   (event->status == 400 && (has_code(reply_of(event), "SWW") || has_code(reply_of(event), "invalid_jobId")));
}

/*
 * Does the answer to the PATCH say that the job is canceled?  Clari's document
 * shows a flag and the job object; other sources show only the job object.
 */
static bool
is_canceled(const ClariReply *reply)
{
	if (reply->successful != CLARI_FLAG_ABSENT)
		return reply->successful == CLARI_FLAG_YES;
	return reply->status == CLARI_STATUS_CANCELED || reply->status == CLARI_STATUS_ABORTED;
}

static ClariJobAction
step_canceling(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	job->error = job->canceled;
	switch (event->kind)
	{
		case CLARI_EVENT_REPLY:
			if (is_success(event) ? is_canceled(reply_of(event)) : is_gone(event))
				return fail_for_good(job);
			clari_job_error_add_uncanceled(job, event->status, reply_of(event), NULL);
			return fail(job);
		case CLARI_EVENT_BROKEN:
			clari_job_error_add_uncanceled(job, 0, NULL, event->error);
			return fail(job);
		case CLARI_EVENT_TICK:
			if (now < job->next_at)
				return CLARI_ACTION_NONE;
			clari_job_error_add_uncanceled(job, 0, NULL, NULL);
			return fail(job);
		default:
			return CLARI_ACTION_NONE;
	}
}

void
clari_job_begin(ClariJob *job, const ClariRequest *request, const ClariTransport *transport, uint32_t jitter,
				int64_t now)
{
	memset(job, 0, sizeof(*job));
	clari_request_subject(request, job->subject);
	job->endpoint = request->endpoint;
	memcpy(job->forecast, request->forecast, sizeof(job->forecast));
	job->types = request->types;
	job->allow_truncated = transport->allow_truncated;
	job->max_retries = transport->max_retries;
	job->export_timeout = transport->export_timeout;
	job->poll_interval = transport->poll_interval;
	job->max_poll_interval = transport->max_poll_interval;
	job->started_at = now;
	job->jitter = jitter != 0 ? jitter : 1; /* xorshift would stay at 0 */
	enter(job, clari_job_is_read(job) ? CLARI_JOB_READY : CLARI_JOB_NEW, now);
}

void
clari_job_resume(ClariJob *job, const char *job_id, int64_t now)
{
	if (job_id[0] == '\0' || strlen(job_id) >= sizeof(job->job_id))
		return; /* Clari makes no such id */
	accepted(job, job_id, now);
	job->origin = CLARI_ORIGIN_RESUMED;
	enter(job, CLARI_JOB_WAITING, now);
}

void
clari_job_begin_unsure(ClariJob *job, int64_t now)
{
	clari_job_error_earlier(job);
	raise_doubt(job, CLARI_DOUBT_OPEN);
	job->list_before = CLARI_LIST_BEFORE_KNOWN; /* of the list before that POST; one read now would contain its job */
	enter(job, CLARI_JOB_UNSURE, now);
}

ClariJobAction
clari_job_step(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	static const StateFunction steps[] = {
		[CLARI_JOB_NEW] = step_new,
		[CLARI_JOB_BLOCKED] = step_blocked,
		[CLARI_JOB_ASKING] = step_asking,
		[CLARI_JOB_LISTING] = step_listing,
		[CLARI_JOB_POSTING] = step_posting,
		[CLARI_JOB_UNSURE] = step_unsure,
		[CLARI_JOB_LOOKING] = step_looking,
		[CLARI_JOB_REPLACING] = step_replacing,
		[CLARI_JOB_WAITING] = step_waiting,
		[CLARI_JOB_POLLING] = step_polling,
		[CLARI_JOB_READY] = step_ready,
		[CLARI_JOB_DOWNLOADING] = step_downloading,
		[CLARI_JOB_CANCELING] = step_canceling,
		[CLARI_JOB_FAILED] = NULL, /* like DONE: no event matters any more */
	};

	if (event->kind == CLARI_EVENT_CANCEL)
		return cancel(job, event, now);
	return steps[job->state] != NULL ? steps[job->state](job, event, now) : CLARI_ACTION_NONE;
}
