/*
 * test_job.c
 *		What job.h promises, one promise a function: the export as a state machine.
 */
#include "unit.h"

#include "job.h"

#define START INT64_C(1000000) /* the clock when a job begins; any other would do */
#define TIMEOUT 900000

static ClariRequest request;
static ClariTransport transport;

static void
set_defaults(void)
{
	memset(&request, 0, sizeof(request));
	memset(&transport, 0, sizeof(transport));
	strcpy(request.forecast, "net_arr");
	strcpy(request.period, "2026_Q1");
	strcpy(transport.api_key, "very-secret-key");
	transport.max_retries = 5;
	transport.export_timeout = TIMEOUT;
	transport.poll_interval = 250;
	transport.max_poll_interval = 5000;
}

static ClariJob
new_job(void)
{
	ClariJob job;

	clari_job_begin(&job, &request, &transport, 4711, START);
	return job;
}

static ClariJobAction
tick(ClariJob *job, int64_t now)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_TICK, .retry_after = -1};

	return clari_job_step(job, &event, now);
}

static ClariJobAction
answer_after(ClariJob *job, int status, const ClariReply *reply, int64_t retry_after, int64_t now)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_REPLY, .status = status, .reply = reply, .retry_after = retry_after};

	return clari_job_step(job, &event, now);
}

static ClariJobAction
answer(ClariJob *job, int status, const ClariReply *reply, int64_t now)
{
	return answer_after(job, status, reply, -1, now);
}

/* A refusal with code and message. */
static ClariJobAction
refuse(ClariJob *job, int status, const char *code, const char *message, int64_t now)
{
	ClariReply reply = {.is_json = true};

	strcpy(reply.code, code);
	strcpy(reply.message, message);
	return answer(job, status, &reply, now);
}

/* A job object in that state. */
static ClariJobAction
report(ClariJob *job, ClariJobStatus status, const char *text, int64_t now)
{
	ClariReply reply = {.is_json = true, .status = status};

	strcpy(reply.status_text, text);
	return answer(job, 200, &reply, now);
}

static ClariJobAction
accept_post(ClariJob *job, int64_t now)
{
	ClariReply reply = {.is_json = true};

	strcpy(reply.job_id, "6073683781a6da229df71e00");
	return answer(job, 200, &reply, now);
}

static ClariJobAction
break_call(ClariJob *job, bool never_sent, bool may_pass, int64_t now)
{
	ClariError error;
	ClariJobEvent event = {.kind = CLARI_EVENT_BROKEN, .retry_after = -1, .error = &error};

	clari_error_set(&error, CLARI_ERROR_CONNECTION, "could not connect to Clari");
	event.never_sent = never_sent;
	event.may_pass = may_pass;
	return clari_job_step(job, &event, now);
}

static ClariJobAction
refuse_file(ClariJob *job, ClariErrorCode code, int64_t now)
{
	ClariError error;
	ClariJobEvent event = {.kind = CLARI_EVENT_REFUSED, .retry_after = -1, .error = &error};

	clari_error_set(&error, code, "no good file");
	return clari_job_step(job, &event, now);
}

static ClariJobAction
decoded(ClariJob *job, int64_t now)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_DECODED, .retry_after = -1};

	return clari_job_step(job, &event, now);
}

/* Jobs that have come as far as the name says; accepted at START. */
static ClariJob
posting_job(void)
{
	ClariJob job = new_job();

	tick(&job, START);
	return job;
}

static ClariJob
polling_job(void)
{
	ClariJob job = posting_job();

	accept_post(&job, START);
	tick(&job, START + 250);
	return job;
}

static ClariJob
downloading_job(void)
{
	ClariJob job = polling_job();

	report(&job, CLARI_STATUS_DONE, "DONE", START + 300);
	return job;
}

static bool
failed(const ClariJob *job, ClariJobAction action, ClariErrorCode code)
{
	return action == CLARI_ACTION_FAIL && job->state == CLARI_JOB_FAILED && job->error.code == code &&
		   job->error.message[0] != '\0' && job->next_at == INT64_MAX;
}

static bool
mentions(const char *text, const char *what)
{
	bool found = strstr(text, what) != NULL;

	if (!found)
		printf("# \"%s\" does not mention \"%s\"\n", text, what);
	return found;
}

/* Waits in the state for base ms, a quarter more or less. */
static bool
backs_off(const ClariJob *job, ClariJobState state, int64_t base, int64_t now)
{
	return job->state == state && job->next_at >= now + base - base / 4 && job->next_at <= now + base + base / 4 + 1;
}

static void
test_straight_path(void)
{
	ClariJob job = new_job();
	ClariReply done = {.is_json = true, .status = CLARI_STATUS_DONE, .end_time = 1767225600000};

	strcpy(done.download_url, "https://files.example.com/x");
	ok(job.state == CLARI_JOB_NEW && job.next_at == START, "a job begins with a tick wanted at once");
	ok(tick(&job, START) == CLARI_ACTION_POST && job.state == CLARI_JOB_POSTING, "the first tick posts");
	ok(tick(&job, START + 1) == CLARI_ACTION_NONE, "a tick while the POST is under way does nothing");
	ok(accept_post(&job, START + 100) == CLARI_ACTION_NONE && job.state == CLARI_JOB_WAITING &&
		   job.accepted_at == START + 100 && job.next_at == START + 350,
	   "an accepted job is polled after poll_interval");
	is(job.job_id, "6073683781a6da229df71e00", "and its id kept");
	ok(tick(&job, START + 349) == CLARI_ACTION_NONE && job.state == CLARI_JOB_WAITING, "not before");
	ok(tick(&job, START + 350) == CLARI_ACTION_POLL && job.state == CLARI_JOB_POLLING && job.polls == 1, "but then");
	ok(report(&job, CLARI_STATUS_STARTED, "STARTED", START + 400) == CLARI_ACTION_NONE &&
		   job.state == CLARI_JOB_WAITING,
	   "a job that runs is polled on");
	is(job.status_text, "STARTED", "and Clari's word on it kept");
	tick(&job, job.next_at);
	ok(answer(&job, 200, &done, START + 900) == CLARI_ACTION_DOWNLOAD && job.state == CLARI_JOB_DOWNLOADING,
	   "a job that is done is downloaded at once");
	ok(job.end_time == 1767225600000, "its endTime is kept");
	is(job.download_url, "https://files.example.com/x", "and its downloadUrl");
	ok(decoded(&job, START + 999) == CLARI_ACTION_PUBLISH && job.state == CLARI_JOB_DONE && job.next_at == INT64_MAX,
	   "a good file is published");
	ok(job.polls == 2 && job.total_retries == 0, "polls are counted");
}

static void
test_post_already_done(void)
{
	ClariJob job = posting_job();
	ClariReply reply = {.is_json = true, .status = CLARI_STATUS_DONE};

	strcpy(reply.job_id, "j");
	ok(answer(&job, 201, &reply, START) == CLARI_ACTION_DOWNLOAD && job.polls == 0, "a job done at once is not polled");
	job = posting_job();
	reply.status = CLARI_STATUS_FAILED;
	ok(failed(&job, answer(&job, 202, &reply, START), CLARI_ERROR_JOB), "one that failed at once fails");
	job = posting_job();
	reply.job_id[0] = '\0';
	ok(failed(&job, answer(&job, 200, &reply, START), CLARI_ERROR_REPLY), "an answer without a job id is an error");
	job = posting_job();
	ok(failed(&job, answer(&job, 200, NULL, START), CLARI_ERROR_REPLY), "no answer at all is one too");
}

static void
test_poll_delay(void)
{
	static const struct
	{
		int64_t age;
		int64_t delay;
	} cases[] = {{300, 250}, {2500, 250}, {5000, 500}, {20000, 2000}, {50000, 5000}, {400000, 5000}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		ClariJob job = polling_job();
		int64_t now = START + cases[i].age;

		report(&job, CLARI_STATUS_SCHEDULED, "SCHEDULED", now);
		ok(job.next_at == now + cases[i].delay, "a job %d ms old is polled after %d ms", (int) cases[i].age,
		   (int) cases[i].delay);
	}
}

static void
test_job_states(void)
{
	static const struct
	{
		ClariJobStatus status;
		const char *text;
	} bad[] = {
		{CLARI_STATUS_FAILED, "FAILED"}, {CLARI_STATUS_ABORTED, "ABORTED"}, {CLARI_STATUS_CANCELLED, "CANCELLED"}};
	ClariJob job;
	ClariReply html = {.is_json = false, .message = "<html>Sign in</html>"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		job = polling_job();
		ok(failed(&job, report(&job, bad[i].status, bad[i].text, START + 300), CLARI_ERROR_JOB) &&
			   mentions(job.error.message, bad[i].text) && mentions(job.error.message, "period 2026_Q1") &&
			   mentions(job.error.detail, "6073683781a6da229df71e00"),
		   "%s fails, naming job, state and period", bad[i].text);
	}
	job = polling_job();
	ok(report(&job, CLARI_STATUS_UNKNOWN, "PAUSED", START + 300) == CLARI_ACTION_NONE && job.state == CLARI_JOB_WAITING,
	   "a state not heard of is polled on");
	job = polling_job();
	ok(report(&job, CLARI_STATUS_ABSENT, "", START + 300) == CLARI_ACTION_NONE && job.state == CLARI_JOB_WAITING,
	   "and so is none");
	job = polling_job();
	ok(answer(&job, 200, &html, START + 300) == CLARI_ACTION_NONE && job.retries == 1 && job.state == CLARI_JOB_WAITING,
	   "an answer that is not JSON is a failed poll");
}

static void
test_truncation(void)
{
	for (int i = 1; i < 4; i++)
	{
		ClariReply reply = {.is_json = true, .status = CLARI_STATUS_DONE};
		ClariJob job = polling_job();

		reply.rows_truncated = (i & 1) != 0;
		reply.cells_truncated = (i & 2) != 0;
		ok(failed(&job, answer(&job, 200, &reply, START), CLARI_ERROR_LIMIT) &&
			   mentions(job.error.message, "truncated the export of period 2026_Q1") &&
			   mentions(job.error.hint, "allow_truncated") && mentions(job.error.hint, "scope_id"),
		   "a truncated file (%d) is an error that says what to do", i);
		transport.allow_truncated = true;
		job = polling_job();
		ok(answer(&job, 200, &reply, START) == CLARI_ACTION_DOWNLOAD && job.truncated, "unless that is allowed");
		set_defaults();
	}
}

static void
test_retries(void)
{
	ClariJob job = polling_job();
	int64_t now = START + 300;
	int64_t base = 500;

	for (int i = 1; i <= 5; i++, base *= 2)
	{
		ok(refuse(&job, 502, "", "", now) == CLARI_ACTION_NONE && backs_off(&job, CLARI_JOB_WAITING, base, now) &&
			   job.retries == i,
		   "retry %d waits about %d ms", i, (int) base);
		now = job.next_at;
		ok(tick(&job, now) == CLARI_ACTION_POLL, "and then polls");
	}
	ok(failed(&job, refuse(&job, 502, "", "", now), CLARI_ERROR_REQUEST) && mentions(job.error.message, "502") &&
		   mentions(job.error.detail, "6 times"),
	   "one more than max_retries is the last error");
	ok(job.total_retries == 5, "retries are counted");

	job = polling_job();
	for (int i = 0; i < 4; i++)
	{
		refuse(&job, 500, "", "", START + 300);
		tick(&job, job.next_at);
	}
	report(&job, CLARI_STATUS_STARTED, "STARTED", START + 9000);
	ok(job.retries == 0 && job.error.code == CLARI_ERROR_NONE && job.total_retries == 4,
	   "a step that succeeds forgets its retries");

	transport.max_retries = 20;
	job = polling_job();
	job.retries = 19;
	refuse(&job, 503, "", "", START + 300);
	ok(backs_off(&job, CLARI_JOB_WAITING, 30000, START + 300), "no retry waits longer than about 30 s");
	transport.max_retries = 0;
	job = polling_job();
	ok(failed(&job, refuse(&job, 503, "", "", START), CLARI_ERROR_REQUEST), "max_retries 0 tries once");
	set_defaults();
}

static void
test_jitter(void)
{
	int64_t least = INT64_MAX;
	int64_t most = 0;
	bool within = true;

	for (uint32_t seed = 0; seed < 1000; seed++)
	{
		ClariJob job;

		clari_job_begin(&job, &request, &transport, seed, START);
		tick(&job, START);
		for (int i = 0; i < 3; i++)
		{
			refuse(&job, 429, "", "", START);
			if (i < 2)
				tick(&job, job.next_at);
		}
		within = within && backs_off(&job, CLARI_JOB_NEW, 2000, START);
		least = job.next_at < least ? job.next_at : least;
		most = job.next_at > most ? job.next_at : most;
	}
	ok(within, "no seed leaves the quarter more or less");
	ok(most - least > 500, "jobs that failed together do not come back together");
}

static void
test_retry_after(void)
{
	ClariReply reply = {.is_json = true};
	ClariJob job = posting_job();

	answer_after(&job, 429, &reply, 7000, START);
	ok(job.state == CLARI_JOB_NEW && job.next_at >= START + 7000 && job.next_at <= START + 7125,
	   "Retry-After is obeyed");
	job = polling_job();
	answer_after(&job, 503, &reply, 0, START);
	ok(backs_off(&job, CLARI_JOB_WAITING, 500, START), "Retry-After 0 is no reason to hammer");
	job = polling_job();
	answer_after(&job, 429, &reply, TIMEOUT, START);
	ok(job.state == CLARI_JOB_WAITING && job.next_at == START + TIMEOUT, "up to the deadline");
	job = polling_job();
	ok(failed(&job, answer_after(&job, 429, &reply, TIMEOUT + 1, START), CLARI_ERROR_TIMEOUT) &&
		   mentions(job.error.detail, "900.0 s more") && mentions(job.error.detail, "HTTP status 429"),
	   "beyond it the job fails at once, with the facts");
	job = downloading_job();
	ok(failed(&job, answer_after(&job, 429, &reply, INT64_MAX, START), CLARI_ERROR_TIMEOUT), "however far");
}

static void
test_broken_calls(void)
{
	ClariJob job = posting_job();

	ok(break_call(&job, true, true, START) == CLARI_ACTION_NONE && backs_off(&job, CLARI_JOB_NEW, 500, START),
	   "a POST that was never sent is sent again");
	ok(tick(&job, job.next_at) == CLARI_ACTION_POST, "after a while");
	job = posting_job();
	ok(failed(&job, break_call(&job, false, true, START), CLARI_ERROR_CONNECTION) &&
		   mentions(job.error.detail, "may have started an export"),
	   "one that may have been received is not");
	job = posting_job();
	ok(failed(&job, break_call(&job, true, false, START), CLARI_ERROR_CONNECTION) &&
		   strstr(job.error.detail, "may have started") == NULL,
	   "what cannot pass fails at once");
	job = polling_job();
	ok(break_call(&job, false, true, START) == CLARI_ACTION_NONE && backs_off(&job, CLARI_JOB_WAITING, 500, START),
	   "a broken poll is repeated");
	job = polling_job();
	ok(failed(&job, break_call(&job, false, false, START), CLARI_ERROR_CONNECTION), "unless that cannot help");
	job = downloading_job();
	ok(break_call(&job, false, true, START) == CLARI_ACTION_NONE && backs_off(&job, CLARI_JOB_READY, 500, START),
	   "a broken download is repeated");
	ok(tick(&job, job.next_at) == CLARI_ACTION_DOWNLOAD && job.state == CLARI_JOB_DOWNLOADING, "from the same job");
	job = downloading_job();
	ok(failed(&job, break_call(&job, true, false, START), CLARI_ERROR_CONNECTION), "unless that cannot help either");
}

static void
test_server_errors(void)
{
	static const int unknown[] = {500, 502, 504, 520};
	static const int passing[] = {429, 503};
	ClariJob job;

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
	{
		job = posting_job();
		ok(failed(&job, refuse(&job, unknown[i], "", "", START), CLARI_ERROR_REQUEST) &&
			   mentions(job.error.detail, "may have started an export"),
		   "a POST answered %d is not repeated", unknown[i]);
		job = polling_job();
		refuse(&job, unknown[i], "", "", START);
		ok(backs_off(&job, CLARI_JOB_WAITING, 500, START), "a poll is");
		job = downloading_job();
		refuse(&job, unknown[i], "", "", START);
		ok(backs_off(&job, CLARI_JOB_READY, 500, START), "and a download");
	}
	for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++)
	{
		job = posting_job();
		refuse(&job, passing[i], "", "", START);
		ok(backs_off(&job, CLARI_JOB_NEW, 500, START), "a POST answered %d is repeated", passing[i]);
		job = downloading_job();
		refuse(&job, passing[i], "", "", START);
		ok(backs_off(&job, CLARI_JOB_READY, 500, START), "and a download");
	}
}

static void
test_limits(void)
{
	ClariJob job = posting_job();
	int64_t now = START;
	int64_t base = 1000;

	for (int i = 0; i < 8; i++)
	{
		ok(refuse(&job, 400, i % 2 ? "CONCURRENT_LIMIT" : "limit", "Max Concurrent exports running", now) ==
				   CLARI_ACTION_NONE &&
			   backs_off(&job, CLARI_JOB_NEW, base, now) && job.retries == 0,
		   "refusal %d for concurrency waits about %d ms, and is no retry", i + 1, (int) base);
		base = base * 2 < 10000 ? base * 2 : 10000;
		now = job.next_at;
		tick(&job, now);
	}
	refuse(&job, 400, "", "concurrent", START + TIMEOUT - 1);
	ok(job.next_at == START + TIMEOUT && failed(&job, tick(&job, job.next_at), CLARI_ERROR_TIMEOUT) &&
		   mentions(job.error.detail, "has not accepted") && mentions(job.error.detail, "concurrent"),
	   "until export_timeout is over, and the error says why");

	job = posting_job();
	ok(failed(&job, refuse(&job, 400, "export_limit", "Monthly limit reached", START), CLARI_ERROR_QUOTA) &&
		   mentions(job.error.hint, "30 days") && mentions(job.error.hint, "cache_ttl"),
	   "the monthly quota does not pass by waiting");
	job = posting_job();
	ok(failed(&job, refuse(&job, 400, "QUOTA_EXCEEDED", "", START), CLARI_ERROR_QUOTA), "whichever word tells");
	job = posting_job();
	ok(failed(&job, refuse(&job, 400, "bad_request", "no such type", START), CLARI_ERROR_REQUEST),
	   "any other 400 is a refusal");
	job = polling_job();
	ok(failed(&job, refuse(&job, 400, "", "concurrent", START), CLARI_ERROR_REQUEST), "and of a poll any 400 is");
}

static void
test_refusals(void)
{
	ClariJob job = posting_job();
	ClariReply html = {.is_json = false, .message = "<!DOCTYPE html>"};
	ClariReply full = {.is_json = true, .code = "bad_type", .message = "No such type", .error_id = "e-17"};

	ok(failed(&job, refuse(&job, 401, "unauthorized", "", START), CLARI_ERROR_AUTH) &&
		   mentions(job.error.hint, "api_key") && mentions(job.error.hint, "revoked"),
	   "401 hints at the key");
	job = posting_job();
	ok(failed(&job, refuse(&job, 401, "no_optin", "", START), CLARI_ERROR_AUTH) &&
		   mentions(job.error.hint, "may not see forecast \"net_arr\"") && strstr(job.error.hint, "revoked") == NULL,
	   "unless the key's user may not see the forecast");
	job = polling_job();
	ok(failed(&job, refuse(&job, 403, "", "", START), CLARI_ERROR_AUTH), "403 too, on any step");
	job = posting_job();
	ok(failed(&job, refuse(&job, 404, "", "", START), CLARI_ERROR_NOT_FOUND) &&
		   mentions(job.error.message, "net_arr") && mentions(job.error.hint, "option \"forecast\""),
	   "404 names the forecast");
	job = polling_job();
	ok(failed(&job, refuse(&job, 404, "", "", START), CLARI_ERROR_JOB) &&
		   mentions(job.error.message, "no longer knows") && mentions(job.error.detail, "6073683781a6da229df71e00"),
	   "404 of a poll names the job");
	job = downloading_job();
	ok(failed(&job, refuse(&job, 404, "", "", START), CLARI_ERROR_JOB), "and of a download");
	job = posting_job();
	ok(failed(&job, answer(&job, 418, &full, START), CLARI_ERROR_REQUEST), "any other 4xx is a refusal");
	is(job.error.message, "Clari refused the export of period 2026_Q1 with HTTP status 418", "that says what");
	is(job.error.detail, "Clari's answer has code \"bad_type\", message \"No such type\", errorId \"e-17\".",
	   "and why");
	job = posting_job();
	answer(&job, 413, &html, START);
	is(job.error.detail, "The answer begins \"<!DOCTYPE html>\".", "a proxy's page is shown by its first line");
	request.period[0] = '\0';
	job = posting_job();
	answer(&job, 302, NULL, START);
	is(job.error.message, "Clari refused the export of the current quarter with HTTP status 302",
	   "an export without a period is of the current quarter");
	set_defaults();
}

static void
test_longest_reply(void)
{
	ClariReply reply = {.is_json = true};
	ClariJob job = posting_job();

	memset(reply.code, 'c', sizeof(reply.code) - 1);
	memset(reply.message, 'm', sizeof(reply.message) - 1);
	memset(reply.error_id, 'e', sizeof(reply.error_id) - 1);
	ok(failed(&job, answer(&job, 502, &reply, START), CLARI_ERROR_REQUEST) &&
		   mentions(job.error.detail, "eee\". Clari may"),
	   "the longest reply fits the detail");
}

static void
test_timeout(void)
{
	ClariJob job = new_job();

	ok(failed(&job, tick(&job, START + TIMEOUT), CLARI_ERROR_TIMEOUT), "a job that could not begin fails in time");
	job = posting_job();
	ok(job.next_at == START + TIMEOUT && tick(&job, job.next_at - 1) == CLARI_ACTION_NONE,
	   "a POST may take until then");
	ok(failed(&job, tick(&job, job.next_at), CLARI_ERROR_TIMEOUT) && mentions(job.error.detail, "may have started"),
	   "and no longer");
	job = posting_job();
	accept_post(&job, START + 5000);
	tick(&job, START + 6000);
	ok(job.next_at == START + 5000 + TIMEOUT, "export_timeout counts from the accepted POST");
	ok(report(&job, CLARI_STATUS_STARTED, "STARTED", START + 4999 + TIMEOUT) == CLARI_ACTION_NONE &&
		   job.next_at == START + 5000 + TIMEOUT,
	   "no poll is planned beyond the deadline");
	ok(failed(&job, tick(&job, job.next_at), CLARI_ERROR_TIMEOUT), "where the job fails");
	is(job.error.message, "the export of period 2026_Q1 did not finish in time", "with what is late");
	is(job.error.detail, "Job 6073683781a6da229df71e00 has taken 900.0 s and was last seen in state STARTED.",
	   "how long it took and how it stood");
	ok(mentions(job.error.hint, "export_timeout"), "and what to do");

	job = polling_job();
	ok(failed(&job, tick(&job, START + TIMEOUT), CLARI_ERROR_TIMEOUT), "a poll may not take longer either");
	job = polling_job();
	ok(report(&job, CLARI_STATUS_DONE, "DONE", START + TIMEOUT + 1) == CLARI_ACTION_DOWNLOAD,
	   "but an export that is done is never too late");
	ok(job.next_at == INT64_MAX && tick(&job, START + 2 * TIMEOUT) == CLARI_ACTION_NONE,
	   "and a download takes as long as it takes");
	ok(decoded(&job, START + 2 * TIMEOUT) == CLARI_ACTION_PUBLISH, "to its end");
	job = polling_job();
	ok(failed(&job, report(&job, CLARI_STATUS_STARTED, "STARTED", START + TIMEOUT), CLARI_ERROR_TIMEOUT),
	   "a poll that comes back too late with nothing done is the last");
	job = downloading_job();
	ok(failed(&job, refuse(&job, 400, "", "not done", START + TIMEOUT), CLARI_ERROR_TIMEOUT),
	   "and so is a download that finds the job not done");
	job = downloading_job();
	break_call(&job, false, true, START + TIMEOUT - 1);
	ok(job.next_at == START + TIMEOUT && failed(&job, tick(&job, job.next_at), CLARI_ERROR_TIMEOUT) &&
		   mentions(job.error.detail, "could not connect to Clari"),
	   "one that broke is not tried again after the deadline");
}

static void
test_files(void)
{
	static const ClariErrorCode hopeless[] = {CLARI_ERROR_LIMIT, CLARI_ERROR_OUT_OF_MEMORY, CLARI_ERROR_IO,
											  CLARI_ERROR_RESOURCES, CLARI_ERROR_CANCELLED};
	ClariJob job = downloading_job();

	for (int i = 0; i < 5; i++)
	{
		ok(refuse_file(&job, CLARI_ERROR_CONNECTION, START) == CLARI_ACTION_NONE &&
			   backs_off(&job, CLARI_JOB_READY, INT64_C(500) << i, START),
		   "a file that broke off is downloaded again (%d)", i + 1);
		ok(tick(&job, job.next_at) == CLARI_ACTION_DOWNLOAD, "after a while");
	}
	ok(failed(&job, refuse_file(&job, CLARI_ERROR_CONNECTION, START), CLARI_ERROR_CONNECTION), "max_retries times");

	job = downloading_job();
	ok(refuse_file(&job, CLARI_ERROR_DATA, START) == CLARI_ACTION_NONE && job.state == CLARI_JOB_READY,
	   "a broken document is downloaded again");
	tick(&job, job.next_at);
	ok(failed(&job, refuse_file(&job, CLARI_ERROR_DATA, START), CLARI_ERROR_DATA), "once");
	is(job.error.message, "no good file", "and the decoder's error is the job's");
	for (size_t i = 0; i < sizeof(hopeless) / sizeof(hopeless[0]); i++)
	{
		job = downloading_job();
		ok(failed(&job, refuse_file(&job, hopeless[i], START), hopeless[i]), "what another download cannot help fails");
	}
}

static void
test_download_refusals(void)
{
	ClariReply done = {.is_json = true, .status = CLARI_STATUS_DONE, .download_url = "https://files.example.com/x"};
	ClariJob job = downloading_job();

	ok(refuse(&job, 400, "", "not done", START + 5000) == CLARI_ACTION_NONE && job.state == CLARI_JOB_WAITING &&
		   job.next_at == START + 5500,
	   "a job that is not done after all is polled on");
	ok(tick(&job, job.next_at) == CLARI_ACTION_POLL, "in its time");
	ok(answer(&job, 200, &done, START + 6000) == CLARI_ACTION_DOWNLOAD, "until it is done again");
	ok(refuse(&job, 403, "", "", START + 6000) == CLARI_ACTION_DOWNLOAD && job.download_url[0] == '\0',
	   "a link that is refused says nothing about the key: the job's own results are taken");
	ok(failed(&job, refuse(&job, 403, "", "", START + 6000), CLARI_ERROR_AUTH), "but they may be refused too");
}

/* No event in any state reads beyond itself, leaves the states, or wakes the dead. */
static void
test_senseless_events(void)
{
	ClariJob jobs[] = {new_job(), posting_job(), polling_job(), downloading_job(), posting_job(), downloading_job()};

	accept_post(&jobs[4], START);
	refuse_file(&jobs[5], CLARI_ERROR_DATA, START);
	ok(decoded(&jobs[0], START) == CLARI_ACTION_NONE && jobs[0].state == CLARI_JOB_NEW, "NEW ignores a file");
	ok(accept_post(&jobs[0], START) == CLARI_ACTION_NONE && jobs[0].state == CLARI_JOB_NEW, "and a reply");
	ok(decoded(&jobs[1], START) == CLARI_ACTION_NONE && jobs[1].state == CLARI_JOB_POSTING, "POSTING ignores a file");
	ok(refuse_file(&jobs[2], CLARI_ERROR_DATA, START) == CLARI_ACTION_NONE && jobs[2].state == CLARI_JOB_POLLING,
	   "POLLING ignores one");
	ok(answer(&jobs[3], 200, NULL, START) == CLARI_ACTION_NONE && jobs[3].state == CLARI_JOB_DOWNLOADING,
	   "DOWNLOADING waits for the file after a 200");
	ok(break_call(&jobs[4], true, true, START) == CLARI_ACTION_NONE && jobs[4].state == CLARI_JOB_WAITING,
	   "WAITING ignores what broke");
	ok(decoded(&jobs[5], START) == CLARI_ACTION_NONE && jobs[5].state == CLARI_JOB_READY, "READY ignores a file");
	for (int kind = CLARI_EVENT_TICK; kind <= CLARI_EVENT_REFUSED; kind++)
	{
		ClariJobEvent event = {.kind = (ClariJobEventKind) kind, .status = 200, .retry_after = -1};
		ClariJob done = downloading_job();
		ClariJob dead = polling_job();

		decoded(&done, START);
		refuse(&dead, 404, "", "", START);
		ok(clari_job_step(&done, &event, START + 2 * TIMEOUT) == CLARI_ACTION_NONE && done.state == CLARI_JOB_DONE &&
			   clari_job_step(&dead, &event, START + 2 * TIMEOUT) == CLARI_ACTION_NONE &&
			   dead.state == CLARI_JOB_FAILED,
		   "what has ended stays so (event %d)", kind);
		for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
		{
			ClariJob copy = jobs[i];

			clari_job_step(&copy, &event, START + 1);
			ok(copy.state <= CLARI_JOB_FAILED &&
				   (copy.state != CLARI_JOB_FAILED || copy.error.code != CLARI_ERROR_NONE),
			   "an event without error or reply (%d) is survived in state %s", kind,
			   clari_job_state_name(jobs[i].state));
		}
	}
}

static void
test_names_and_secrets(void)
{
	ClariJob job = posting_job();
	const char *bytes = (const char *) &job;
	bool found = false;

	is(clari_job_state_name(CLARI_JOB_NEW), "new", "the first state has its name");
	is(clari_job_state_name(CLARI_JOB_DOWNLOADING), "downloading", "a state in the midst too");
	is(clari_job_state_name(CLARI_JOB_FAILED), "failed", "and the last");
	refuse(&job, 401, "", "", START);
	for (size_t i = 0; i + 15 <= sizeof(job); i++)
		found = found || memcmp(bytes + i, "very-secret-key", 15) == 0;
	ok(!found, "a job never holds the API key");
}

int
main(void)
{
	set_defaults();
	test_straight_path();
	test_post_already_done();
	test_poll_delay();
	test_job_states();
	test_truncation();
	test_retries();
	test_jitter();
	test_retry_after();
	test_broken_calls();
	test_server_errors();
	test_limits();
	test_refusals();
	test_longest_reply();
	test_timeout();
	test_files();
	test_download_refusals();
	test_senseless_events();
	test_names_and_secrets();
	return done_testing();
}
