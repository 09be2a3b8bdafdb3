/*
 * job.c
 *		One export at Clari as a pure state machine: see job.h.
 *
 * Runs in the worker and in unit tests.  Takes no lock, allocates nothing,
 * knows neither clock nor HTTP nor JSON.  Exports are paid for from a monthly
 * quota, so a POST that may have reached the service is never repeated, and a
 * file that can be had again from the same job is not exported again.
 */
#include "job.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RETRY_DELAY 500 /* ms, doubled by each retry of the step */
#define RETRY_LIMIT 30000
#define REFUSAL_DELAY 1000 /* the same while too many exports are running */
#define REFUSAL_LIMIT 10000
#define POLL_SHARE 10 /* a poll each time that the job is a tenth older */

typedef ClariJobAction (*StateFunction)(ClariJob *job, const ClariJobEvent *event, int64_t now);

static const ClariReply empty_reply;

static const char *const state_names[] = {"new",   "posting",     "waiting", "polling",
										  "ready", "downloading", "done",    "failed"};

const char *
clari_job_state_name(ClariJobState state)
{
	return state <= CLARI_JOB_FAILED ? state_names[state] : "unknown";
}

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

/*
 * The one place where the state changes.  next_at matters where something is
 * waited for; the deadline always brings a TICK, except to a download, which
 * may take as long as bytes keep coming (request_timeout).
 */
static void
set_state(ClariJob *job, ClariJobState state, int64_t next_at)
{
	switch (state)
	{
		case CLARI_JOB_NEW:
		case CLARI_JOB_WAITING:
		case CLARI_JOB_READY:
			job->next_at = next_at < deadline(job) ? next_at : deadline(job);
			break;
		case CLARI_JOB_POSTING:
		case CLARI_JOB_POLLING:
			job->next_at = deadline(job);
			break;
		case CLARI_JOB_DOWNLOADING:
		case CLARI_JOB_DONE:
		case CLARI_JOB_FAILED:
			job->next_at = INT64_MAX;
			break;
	}
	job->state = state;
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

/* ---- errors ---- */

/* "the export of period 2026_Q1", two arguments for "%s%s". */
#define SUBJECT(job)                                                                                                   \
	((job)->period[0] != '\0' ? "the export of period " : "the export of the current quarter"), (job)->period

#define UNKNOWN_OUTCOME "Clari may have started an export nevertheless, so the request is not repeated blindly."

static void add_detail(ClariError *error, const char *format, ...) CLARI_PRINTF(2, 3);

/* Adds a sentence to the detail. */
static void
add_detail(ClariError *error, const char *format, ...)
{
	char before[sizeof(error->detail)];
	char sentence[sizeof(error->detail)];
	va_list args;

	memcpy(before, error->detail, sizeof(before));
	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	clari_error_detail(error, "%s%s%s", before, before[0] != '\0' && sentence[0] != '\0' ? " " : "", sentence);
}

/* What Clari said, as a sentence of facts in the detail. */
static void
add_reply_detail(ClariError *error, const ClariReply *reply)
{
	const char *const names[] = {"code", "message", "errorId"};
	const char *const values[] = {reply->code, reply->message, reply->error_id};
	char facts[sizeof(reply->code) + sizeof(reply->message) + sizeof(reply->error_id) + 64];
	size_t length = 0;

	for (int i = 0; i < 3 && reply->is_json; i++)
	{
		if (values[i][0] != '\0')
			length += (size_t) snprintf(facts + length, sizeof(facts) - length, "%s%s \"%s\"", length > 0 ? ", " : "",
										names[i], values[i]);
	}
	if (length > 0)
		add_detail(error, "Clari's answer has %s.", facts);
	else if (reply->message[0] != '\0')
		add_detail(error, "The answer begins \"%s\".", reply->message);
}

/* Clari's last word on the job, or else our own. */
static const char *
last_state(const ClariJob *job)
{
	return job->status_text[0] != '\0' ? job->status_text : clari_job_state_name(job->state);
}

/* The job fails with the error that it holds. */
static ClariJobAction
fail(ClariJob *job)
{
	set_state(job, CLARI_JOB_FAILED, 0);
	return CLARI_ACTION_FAIL;
}

/* export_timeout is over, or would be before wait ms (0: it is over now) have passed. */
static ClariJobAction
fail_time_out(ClariJob *job, int64_t wait, int64_t now)
{
	ClariError last = job->error;
	double taken = (double) (now - origin(job)) / 1000;
	double allowed = (double) job->export_timeout / 1000;

	clari_error_set(&job->error, CLARI_ERROR_TIMEOUT, "%s%s did not finish in time", SUBJECT(job));
	if (job->job_id[0] != '\0')
		add_detail(&job->error, "Job %s has taken %.1f s and was last seen in state %s.", job->job_id, taken,
				   last_state(job));
	else
		add_detail(&job->error, "Clari has not accepted it within %.1f s.", taken);
	if (wait > 0)
		add_detail(&job->error, "Clari asks to wait %.1f s more.", (double) wait / 1000);
	if (last.code != CLARI_ERROR_NONE)
	{
		add_detail(&job->error, "The last attempt failed: %s.", last.message);
		add_detail(&job->error, "%s", last.detail);
	}
	clari_error_hint(&job->error, "Raise option \"export_timeout\", which is %.1f s.", allowed);
	return fail(job);
}

/* ---- trying again ---- */

/* Repeats the call under way, for which job->error says why, after the delay or what Clari asks for. */
static ClariJobAction
back_off(ClariJob *job, int64_t delay, int64_t retry_after, int64_t now)
{
	ClariJobState state = job->state == CLARI_JOB_POSTING   ? CLARI_JOB_NEW
						  : job->state == CLARI_JOB_POLLING ? CLARI_JOB_WAITING
															: CLARI_JOB_READY;

	if (retry_after > 0)
	{
		if (retry_after > deadline(job) - now)
			return fail_time_out(job, retry_after, now);
		delay = retry_after + next_random(job) % (RETRY_DELAY / 4);
	}
	set_state(job, state, now + delay);
	return CLARI_ACTION_NONE;
}

/* The same, counted against max_retries. */
static ClariJobAction
retry(ClariJob *job, int64_t retry_after, int64_t now)
{
	if (job->retries >= job->max_retries)
	{
		if (job->retries > 0)
			add_detail(&job->error, "It was tried %d times.", (int) job->retries + 1);
		if (job->error.code == CLARI_ERROR_CONNECTION && job->error.hint[0] == '\0')
			clari_error_hint(&job->error, "Check options \"base_url\" and \"proxy\" of the server.");
		return fail(job);
	}
	job->total_retries++;
	return back_off(job, back_off_delay(job, RETRY_DELAY, RETRY_LIMIT, job->retries++), retry_after, now);
}

static void
step_succeeded(ClariJob *job)
{
	job->retries = 0;
	memset(&job->error, 0, sizeof(job->error));
}

/* The call under way was not answered. */
static ClariJobAction
call_broken(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	bool unknown = job->state == CLARI_JOB_POSTING && !event->never_sent;

	if (event->error != NULL && event->error->code != CLARI_ERROR_NONE)
		job->error = *event->error;
	else
		clari_error_set(&job->error, CLARI_ERROR_CONNECTION, "the connection to Clari broke");
	if (unknown && event->may_pass)
		job->error.code = CLARI_ERROR_CONNECTION;
	if (unknown)
		add_detail(&job->error, UNKNOWN_OUTCOME);
	return unknown || !event->may_pass ? fail(job) : retry(job, -1, now);
}

/* ---- refusals ---- */

/* Does the text contain the word, which is in lower case? */
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

static bool
reply_contains(const ClariReply *reply, const char *word)
{
	return contains(reply->code, word) || contains(reply->message, word);
}

static ClariJobAction
fail_unauthorized(ClariJob *job, const ClariReply *reply)
{
	job->error.code = CLARI_ERROR_AUTH;
	if (contains(reply->code, "no_optin"))
		clari_error_hint(&job->error, "The API key is good, but its user may not see forecast \"%s\" at Clari.",
						 job->forecast);
	else
		clari_error_hint(&job->error, "Check option \"api_key\" of the user mapping. A key that was revoked, or whose "
									  "user was deactivated, is refused by every call.");
	return fail(job);
}

/* 400 and 404 mean something of their own for a POST. */
static ClariJobAction
post_refused(ClariJob *job, int status, const ClariReply *reply, int64_t retry_after, int64_t now)
{
	if (status == 404)
	{
		clari_error_set(&job->error, CLARI_ERROR_NOT_FOUND, "Clari knows no forecast \"%s\"", job->forecast);
		add_detail(&job->error, "It answered with HTTP status %d.", status);
		add_reply_detail(&job->error, reply);
		clari_error_hint(&job->error,
						 "Check option \"forecast\" of the foreign table, and \"base_url\" of the server.");
	}
	else if (status == 400 && reply_contains(reply, "concurrent"))
	{
		/* Somebody's exports are running: passes by waiting, and is nobody's failure. */
		return back_off(job, back_off_delay(job, REFUSAL_DELAY, REFUSAL_LIMIT, job->refusals++), retry_after, now);
	}
	else if (status == 400 && (reply_contains(reply, "quota") || reply_contains(reply, "monthly")))
	{
		job->error.code = CLARI_ERROR_QUOTA;
		clari_error_hint(&job->error, "Clari counts the exports of the last 30 days, so the quota frees as they grow "
									  "older than that. Raise option \"cache_ttl\" to spend less of it, or ask Clari "
									  "for more.");
	}
	return fail(job);
}

/* The call under way was answered, but not with 2xx. */
static ClariJobAction
call_refused(ClariJob *job, const ClariJobEvent *event, const ClariReply *reply, int64_t now)
{
	int status = event->status;
	bool posting = job->state == CLARI_JOB_POSTING;

	clari_error_set(&job->error, CLARI_ERROR_REQUEST, "Clari %s %s%s with HTTP status %d",
					status >= 500 ? "answered" : "refused", SUBJECT(job), status);
	add_reply_detail(&job->error, reply);
	if (status == 429 || status == 503)
		return retry(job, event->retry_after, now);
	if (status == 401 || status == 403)
		return fail_unauthorized(job, reply);
	if (status >= 500 && !posting)
		return retry(job, event->retry_after, now);
	if (status >= 500)
	{
		add_detail(&job->error, UNKNOWN_OUTCOME);
		return fail(job);
	}
	if (posting)
		return post_refused(job, status, reply, event->retry_after, now);
	if (status == 404)
	{
		clari_error_set(&job->error, CLARI_ERROR_JOB, "Clari no longer knows the job of %s%s", SUBJECT(job));
		add_detail(&job->error, "The job is %s.", job->job_id);
		add_detail(&job->error, "Clari answered with HTTP status %d.", status);
		add_reply_detail(&job->error, reply);
	}
	return fail(job);
}

/* ---- what a poll says ---- */

static ClariJobAction
start_download(ClariJob *job)
{
	set_state(job, CLARI_JOB_DOWNLOADING, 0);
	return CLARI_ACTION_DOWNLOAD;
}

/* Done at Clari; but a truncated file is not what was asked for. */
static ClariJobAction
job_finished(ClariJob *job, const ClariReply *reply)
{
	job->end_time = reply->end_time;
	memcpy(job->download_url, reply->download_url, sizeof(job->download_url));
	job->truncated = reply->rows_truncated || reply->cells_truncated;
	if (job->truncated && !job->allow_truncated)
	{
		clari_error_set(&job->error, CLARI_ERROR_LIMIT, "Clari truncated %s%s", SUBJECT(job));
		clari_error_detail(&job->error, "Job %s has %s.", job->job_id,
						   reply->rows_truncated && reply->cells_truncated ? "rowsTruncated and cellsTruncated"
						   : reply->rows_truncated                         ? "rowsTruncated"
																		   : "cellsTruncated");
		clari_error_hint(&job->error, "Ask for less with a narrower option \"scope_id\" or fewer \"types\", or set "
									  "option \"allow_truncated\" to take what there is.");
		return fail(job);
	}
	return start_download(job);
}

/* A job object: how the export stands. */
static ClariJobAction
job_reported(ClariJob *job, const ClariReply *reply, int64_t now)
{
	if (reply->status_text[0] != '\0')
		memcpy(job->status_text, reply->status_text, sizeof(job->status_text));
	switch (reply->status)
	{
		case CLARI_STATUS_DONE:
			return job_finished(job, reply);
		case CLARI_STATUS_FAILED:
		case CLARI_STATUS_CANCELLED:
		case CLARI_STATUS_ABORTED:
			clari_error_set(&job->error, CLARI_ERROR_JOB, "%s%s ended in state %s at Clari", SUBJECT(job),
							last_state(job));
			add_detail(&job->error, "The job is %s.", job->job_id);
			add_reply_detail(&job->error, reply);
			return fail(job);
		case CLARI_STATUS_ABSENT:
		case CLARI_STATUS_SCHEDULED:
		case CLARI_STATUS_STARTED:
		case CLARI_STATUS_UNKNOWN:
			break;
	}
	if (now >= deadline(job))
		return fail_time_out(job, 0, now);
	set_state(job, CLARI_JOB_WAITING, now + poll_delay(job, now));
	return CLARI_ACTION_NONE;
}

/* ---- one function per state ---- */

static bool
is_success(const ClariJobEvent *event)
{
	return event->status >= 200 && event->status < 300;
}

static const ClariReply *
reply_of(const ClariJobEvent *event)
{
	return event->reply != NULL ? event->reply : &empty_reply;
}

/* NEW, WAITING, READY: makes the call once its time has come. */
static ClariJobAction
call_when_due(ClariJob *job, const ClariJobEvent *event, int64_t now, ClariJobState state, ClariJobAction action)
{
	if (event->kind != CLARI_EVENT_TICK)
		return CLARI_ACTION_NONE;
	if (now >= deadline(job))
		return fail_time_out(job, 0, now);
	if (now < job->next_at)
		return CLARI_ACTION_NONE;
	set_state(job, state, 0);
	return action;
}

/* POSTING, POLLING: was the call answered with 2xx?  If not, *action is what to do. */
static bool
call_succeeded(ClariJob *job, const ClariJobEvent *event, int64_t now, ClariJobAction *action)
{
	bool posting = job->state == CLARI_JOB_POSTING;

	*action = CLARI_ACTION_NONE;
	if (event->kind == CLARI_EVENT_TICK && now >= deadline(job))
	{
		*action = fail_time_out(job, 0, now);
		if (posting)
			add_detail(&job->error, UNKNOWN_OUTCOME);
	}
	else if (event->kind == CLARI_EVENT_BROKEN)
		*action = call_broken(job, event, now);
	else if (event->kind == CLARI_EVENT_REPLY && !is_success(event))
		*action = call_refused(job, event, reply_of(event), now);
	return event->kind == CLARI_EVENT_REPLY && is_success(event);
}

static ClariJobAction
step_new(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	return call_when_due(job, event, now, CLARI_JOB_POSTING, CLARI_ACTION_POST);
}

static ClariJobAction
step_posting(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	const ClariReply *reply = reply_of(event);
	ClariJobAction action;

	if (!call_succeeded(job, event, now, &action))
		return action;
	if (reply->job_id[0] == '\0')
	{
		clari_error_set(&job->error, CLARI_ERROR_REPLY, "Clari's answer to %s%s names no job", SUBJECT(job));
		add_reply_detail(&job->error, reply);
		return fail(job);
	}
	step_succeeded(job);
	memcpy(job->job_id, reply->job_id, sizeof(job->job_id));
	job->accepted_at = now;
	return job_reported(job, reply, now);
}

static ClariJobAction
step_waiting(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	ClariJobAction action = call_when_due(job, event, now, CLARI_JOB_POLLING, CLARI_ACTION_POLL);

	if (action == CLARI_ACTION_POLL)
		job->polls++;
	return action;
}

static ClariJobAction
step_polling(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	const ClariReply *reply = reply_of(event);
	ClariJobAction action;

	if (!call_succeeded(job, event, now, &action))
		return action;
	if (!reply->is_json)
	{
		/* Not Clari but something between: it may go away. */
		clari_error_set(&job->error, CLARI_ERROR_REPLY, "Clari's answer about %s%s cannot be understood", SUBJECT(job));
		add_reply_detail(&job->error, reply);
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

/* The download was answered with an HTTP status that is not 2xx. */
static ClariJobAction
download_refused(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	if (event->status == 400)
	{
		/* Not DONE after all, or a link that has expired: the next poll tells. */
		step_succeeded(job);
		if (now >= deadline(job))
			return fail_time_out(job, 0, now);
		set_state(job, CLARI_JOB_WAITING, now + poll_delay(job, now));
		return CLARI_ACTION_NONE;
	}
	if (job->download_url[0] != '\0' && event->status < 500 && event->status != 429)
	{
		/* The link's host, not Clari, refuses: that says nothing about the key or the job. */
		job->download_url[0] = '\0';
		return start_download(job);
	}
	return call_refused(job, event, reply_of(event), now);
}

/* The file is bad, or broke off. */
static ClariJobAction
file_refused(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	if (event->error != NULL && event->error->code != CLARI_ERROR_NONE)
		job->error = *event->error;
	else
		clari_error_set(&job->error, CLARI_ERROR_DATA, "the file of %s%s is broken", SUBJECT(job));
	switch (job->error.code)
	{
		case CLARI_ERROR_CONNECTION:
		case CLARI_ERROR_TIMEOUT:
			return retry(job, -1, now);
		case CLARI_ERROR_DATA:
		case CLARI_ERROR_REPLY:
			/* A transfer can be damaged; a document that is bad twice is bad at Clari. */
			return ++job->bad_files == 1 ? retry(job, -1, now) : fail(job);
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
			set_state(job, CLARI_JOB_DONE, 0);
			return CLARI_ACTION_PUBLISH;
		case CLARI_EVENT_REFUSED:
			return file_refused(job, event, now);
		case CLARI_EVENT_BROKEN:
			return call_broken(job, event, now);
		case CLARI_EVENT_REPLY:
			return is_success(event) ? CLARI_ACTION_NONE : download_refused(job, event, now);
		case CLARI_EVENT_TICK:
			break;
	}
	return CLARI_ACTION_NONE;
}

void
clari_job_begin(ClariJob *job, const ClariRequest *request, const ClariTransport *transport, uint32_t jitter,
				int64_t now)
{
	memset(job, 0, sizeof(*job));
	memcpy(job->period, request->period, sizeof(job->period));
	memcpy(job->forecast, request->forecast, sizeof(job->forecast));
	job->allow_truncated = transport->allow_truncated;
	job->max_retries = transport->max_retries;
	job->export_timeout = transport->export_timeout;
	job->poll_interval = transport->poll_interval;
	job->max_poll_interval = transport->max_poll_interval;
	job->started_at = now;
	job->jitter = jitter != 0 ? jitter : 1; /* xorshift never leaves 0 */
	set_state(job, CLARI_JOB_NEW, now);
}

ClariJobAction
clari_job_step(ClariJob *job, const ClariJobEvent *event, int64_t now)
{
	static const StateFunction steps[] = {
		[CLARI_JOB_NEW] = step_new,         [CLARI_JOB_POSTING] = step_posting,
		[CLARI_JOB_WAITING] = step_waiting, [CLARI_JOB_POLLING] = step_polling,
		[CLARI_JOB_READY] = step_ready,     [CLARI_JOB_DOWNLOADING] = step_downloading,
		[CLARI_JOB_FAILED] = NULL, /* like DONE: nothing can happen any more */
	};

	return steps[job->state] != NULL ? steps[job->state](job, event, now) : CLARI_ACTION_NONE;
}
