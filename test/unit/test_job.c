/*
 * test_job.c
 *		What job.h promises, one promise a function: the export as a state machine,
 *		its ways past a POST of unknown outcome, an earlier life, and a cancel.
 */
#include "unit.h"

#include "job/job.h"

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

static ClariJobAction
listed(ClariJob *job, ClariVerdict verdict, const char *job_id, int64_t now)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_LISTED, .retry_after = -1, .verdict = verdict, .job_id = job_id};

	return clari_job_step(job, &event, now);
}

static ClariJobAction
cancel(ClariJob *job, int64_t now)
{
	ClariError error;
	ClariJobEvent event = {.kind = CLARI_EVENT_CANCEL, .retry_after = -1, .error = &error};

	clari_error_set(&error, CLARI_ERROR_CANCELED, "the export was canceled by alice");
	return clari_job_step(job, &event, now);
}

/* Refusals until something comes of them; a job whose file is refused is done at each poll between. */
static ClariJobAction
refuse_often(ClariJob *job, int status, const char *code, int64_t now)
{
	bool late = job->state == CLARI_JOB_DOWNLOADING;
	ClariJobAction action = refuse(job, status, code, "", now);

	while (action == CLARI_ACTION_NONE && job->state == CLARI_JOB_WAITING)
	{
		tick(job, job->next_at);
		if (late)
			report(job, CLARI_STATUS_DONE, "DONE", now);
		action = refuse(job, status, code, "", now);
	}
	return action;
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

/* The same on the way of a job that can be told in a list. */
static ClariJob
listing_job(void)
{
	ClariJob job = new_job();

	job.adoptable = true;
	tick(&job, START);
	return job;
}

static ClariJob
listed_job(void)
{
	ClariJob job = listing_job();

	listed(&job, CLARI_VERDICT_NONE, NULL, START);
	return job;
}

static ClariJob
unsure_job(void)
{
	ClariJob job = listed_job();

	refuse(&job, 502, "", "", START);
	return job;
}

static ClariJob
looking_job(void)
{
	ClariJob job = unsure_job();

	tick(&job, job.next_at);
	return job;
}

static ClariJob
resumed_job(void)
{
	ClariJob job = new_job();

	job.adoptable = true;
	clari_job_resume(&job, "6073683781a6da229df71e00", START);
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
	ok(failed(&job, answer(&job, 200, &reply, START), CLARI_ERROR_REPLY) && !job.useless &&
		   mentions(job.error.detail, "may have started an export"),
	   "an answer without a job id has spent an export: no other is made, where no list can tell");
	job = posting_job();
	ok(failed(&job, answer(&job, 204, NULL, START), CLARI_ERROR_REPLY) && !job.useless, "nor is after an empty one");
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
		{CLARI_STATUS_FAILED, "FAILED"}, {CLARI_STATUS_ABORTED, "ABORTED"}, {CLARI_STATUS_CANCELED, "CANCELLED"}};
	ClariJob job;
	ClariReply html = {.is_json = false, .first_line = "<html>Sign in</html>"};
	ClariReply other = {.is_json = true, .status = CLARI_STATUS_DONE, .job_id = "another"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
	{
		job = polling_job();
		ok(failed(&job, report(&job, bad[i].status, bad[i].text, START + 300), CLARI_ERROR_JOB) &&
			   mentions(job.error.message, bad[i].text) && mentions(job.error.message, "period 2026_Q1") &&
			   mentions(job.error.hint, i == 0 ? "\"schedule\"" : "canceled"),
		   "%s fails, naming state and period, and what to do", bad[i].text);
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
	job = polling_job();
	ok(answer(&job, 200, &other, START + 300) == CLARI_ACTION_NONE && job.retries == 1 &&
		   job.state == CLARI_JOB_WAITING,
	   "and so is one about another job");
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
	ok(break_call(&job, false, true, START) == CLARI_ACTION_NONE && backs_off(&job, CLARI_JOB_NEW, 500, START),
	   "so is one that may have been received, where no list can tell");
	job = posting_job();
	ok(failed(&job, break_call(&job, false, false, START), CLARI_ERROR_CONNECTION) &&
		   mentions(job.error.detail, "may have started"),
	   "what cannot pass fails at once, also with the outcome unknown");
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
	static const int statuses[] = {408, 421, 425, 429, 500, 502, 503, 504, 520};

	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
	{
		int status = statuses[i];
		ClariJob job = posting_job();

		refuse(&job, status, "", "", START);
		ok(backs_off(&job, CLARI_JOB_NEW, 500, START), "a POST answered %d is repeated", status);
		job = listed_job();
		refuse(&job, status, "", "", START);
		ok(status < 500 ? backs_off(&job, CLARI_JOB_NEW, 500, START)
						: job.state == CLARI_JOB_UNSURE && job.next_at == START + 500,
		   "but where a list can tell what it made, that is looked at first, unless it certainly made nothing");
		job = polling_job();
		refuse(&job, status, "", "", START);
		ok(backs_off(&job, CLARI_JOB_WAITING, 500, START), "a poll is repeated");
		job = downloading_job();
		refuse(&job, status, "", "", START);
		ok(backs_off(&job, CLARI_JOB_READY, 500, START), "and a download");
	}
}

/* What GET /admin/limits says; -1: nothing of that. */
static ClariJobAction
tell_limits(ClariJob *job, int concurrent, int monthly, int64_t now)
{
	ClariReply reply = {.is_json = true, .concurrent_limit = 3, .monthly_quota = 1000};

	reply.available_concurrent = concurrent;
	reply.available_monthly = monthly;
	return answer(job, 200, &reply, now);
}

/* A refusal by a limit asks which. */
static ClariJob
asking_job(const char *code, const char *message)
{
	ClariJob job = posting_job();

	ok(refuse(&job, 400, code, message, START) == CLARI_ACTION_LIMITS && job.state == CLARI_JOB_ASKING &&
		   job.next_at == START + 5000,
	   "\"%s%s\" asks for the limits", code, message);
	return job;
}

static void
test_slots(void)
{
	ClariJob job = asking_job("CONCURRENT_LIMIT", "");
	int64_t now = START;
	int64_t base = 1000;

	for (int i = 0; i < 8; i++)
	{
		ok(tell_limits(&job, 0, 10, now) == CLARI_ACTION_NONE && backs_off(&job, CLARI_JOB_BLOCKED, base, now) &&
			   job.retries == 0,
		   "without a slot, question %d waits about %d ms, and is no retry", i + 1, (int) base);
		base = base * 2 < 10000 ? base * 2 : 10000;
		now = job.next_at;
		ok(tick(&job, now) == CLARI_ACTION_LIMITS, "and asks again");
	}
	ok(tell_limits(&job, 1, 10, now) == CLARI_ACTION_NONE && tick(&job, now) == CLARI_ACTION_POST,
	   "with a slot it POSTs at once");
	refuse(&job, 400, "", "concurrent", START + TIMEOUT - 1);
	tell_limits(&job, 0, 10, START + TIMEOUT - 1);
	ok(job.next_at == START + TIMEOUT && failed(&job, tick(&job, job.next_at), CLARI_ERROR_TIMEOUT) &&
		   mentions(job.error.detail, "has not accepted") && mentions(job.error.detail, "concurrent"),
	   "until export_timeout is over, and the error says why");

	job = asking_job("", "Too many jobs");
	tell_limits(&job, 2, 10, START);
	ok(backs_off(&job, CLARI_JOB_NEW, 1000, START) && job.retries == 0, "a slot that was free again already is tried");
	job = asking_job("", "concurrent");
	break_call(&job, true, true, START);
	ok(backs_off(&job, CLARI_JOB_NEW, 1000, START), "where the limits do not come, its words tell that it can pass");
	job = asking_job("", "concurrent");
	ok(tick(&job, START + 4999) == CLARI_ACTION_NONE && tick(&job, START + 5000) == CLARI_ACTION_NONE &&
		   backs_off(&job, CLARI_JOB_NEW, 1000, START + 5000),
	   "nor are they waited for long");
	job = asking_job("", "too many");
	tell_limits(&job, -1, -1, START);
	ok(backs_off(&job, CLARI_JOB_NEW, 1000, START), "or they say nothing");
	job = asking_job("", "limit");
	tell_limits(&job, -1, -1, START);
	ok(backs_off(&job, CLARI_JOB_NEW, 500, START) && job.retries == 1, "where nothing tells, tries are counted");
	job = asking_job("", "a name over the limit of 40 characters");
	tell_limits(&job, 2, 10, START);
	tick(&job, job.next_at);
	refuse(&job, 400, "", "a name over the limit of 40 characters", START);
	ok(failed(&job, tell_limits(&job, 2, 10, START), CLARI_ERROR_REQUEST) && job.useless,
	   "a refusal whose words mean something else is tried once more");
	job = asking_job("", "concurrent");
	ok(failed(&job, cancel(&job, START), CLARI_ERROR_CANCELED) && job.useless, "a cancel ends the questions");
	job = asking_job("", "concurrent");
	tell_limits(&job, 0, 10, START);
	ok(failed(&job, cancel(&job, START), CLARI_ERROR_CANCELED) && job.useless, "and the wait");
}

static void
test_limits(void)
{
	ClariJob job =
		asking_job("export_monthly_quota_reached", "The monthly quota limit of 30 or concurrent limit of 1.");

	ok(failed(&job, tell_limits(&job, 3, 0, START), CLARI_ERROR_QUOTA) && job.useless &&
		   mentions(job.error.hint, "30 days") && mentions(job.error.hint, "cache_ttl") &&
		   mentions(job.error.detail, "0 of 1,000 exports remain in the 30-day quota."),
	   "the monthly quota does not pass by waiting");
	job = asking_job("", "limit reached");
	ok(failed(&job, tell_limits(&job, 0, 0, START), CLARI_ERROR_QUOTA), "whatever the refusal says, and slots too");
	job = asking_job("QUOTA_EXCEEDED", "");
	ok(failed(&job, refuse(&job, 500, "", "", START), CLARI_ERROR_QUOTA) && !mentions(job.error.detail, "remain"),
	   "where the limits do not come, its words tell");
	job = posting_job();
	ok(failed(&job, refuse(&job, 400, "bad_request", "no such type", START), CLARI_ERROR_REQUEST),
	   "any other 400 is a refusal");
	job = asking_job("export_monthly_quota_reached", "The monthly quota limit of 30 or concurrent limit of 1.");
	refuse(&job, 403, "", "", START);
	ok(backs_off(&job, CLARI_JOB_NEW, 1000, START) && job.retries == 0,
	   "where the limits cannot be read, Clari's one code for both is waited for as the one that passes");
	ok(failed(&job, tick(&job, START + TIMEOUT), CLARI_ERROR_TIMEOUT) &&
		   mentions(job.error.detail, "Either the limit of concurrent exports or the 30-day quota") &&
		   mentions(job.error.detail, "export_monthly_quota_reached"),
	   "until export_timeout is over, and the error names both");
	job = asking_job("export_monthly_quota_reached", "");
	tell_limits(&job, 2, 10, START);
	ok(backs_off(&job, CLARI_JOB_NEW, 1000, START) && job.retries == 0,
	   "and so is one where there is room for both by now");
}

/* What the code says, the words do not undo. */
static void
test_codes(void)
{
	static const struct
	{
		const char *code;
		ClariErrorCode error;
	} codes[] = {{"bad_request", CLARI_ERROR_REQUEST},
				 {"no_such_forecast_config", CLARI_ERROR_NOT_FOUND},
				 {"missing_forecast_id", CLARI_ERROR_REQUEST},
				 {"invalid_quota_limit", CLARI_ERROR_REQUEST},
				 {"something_new", CLARI_ERROR_REQUEST}};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
	{
		ClariJob job = posting_job();

		ok(failed(&job, refuse(&job, 400, codes[i].code, "too many concurrent: the monthly_quota limit", START),
				  codes[i].error) &&
			   job.useless,
		   "%s is no limit, whatever its message says", codes[i].code);
	}
}

static void
test_types_not_supported(void)
{
	ClariJob job;

	request.types = CLARI_TYPES_ALL;
	job = listed_job();
	ok(refuse(&job, 400, "type_not_supported", "Not supported", START) == CLARI_ACTION_NONE && job.without_crm &&
		   job.state == CLARI_JOB_NEW && tick(&job, START) == CLARI_ACTION_POST && job.retries == 0,
	   "crm_total and crm_closed, where Clari does not export them, are left out of another POST");
	ok(failed(&job, refuse(&job, 400, "type_not_supported", "Not supported", START), CLARI_ERROR_REQUEST) &&
		   mentions(job.error.hint, "\"types\""),
	   "once");
	request.types = CLARI_TYPES_CRM;
	job = posting_job();
	ok(failed(&job, refuse(&job, 400, "type_not_supported", "Not supported", START), CLARI_ERROR_REQUEST),
	   "not if nothing else was asked for");
	request.types = CLARI_TYPES_ALL & ~(uint32_t) CLARI_TYPES_CRM;
	job = posting_job();
	ok(failed(&job, refuse(&job, 400, "type_not_supported", "Not supported", START), CLARI_ERROR_REQUEST),
	   "nor if they were not");
	set_defaults();
}

static void
test_refusals(void)
{
	ClariJob job = posting_job();
	ClariReply html = {.is_json = false, .first_line = "<!DOCTYPE html>"};
	ClariReply full = {.is_json = true, .code = "bad_type", .message = "No such type", .error_id = "e-17"};

	ok(failed(&job, refuse(&job, 401, "unauthorized", "", START), CLARI_ERROR_AUTH) &&
		   mentions(job.error.hint, "api_key") && mentions(job.error.hint, "revoked"),
	   "401 hints at the key");
	job = posting_job();
	ok(failed(&job, refuse(&job, 401, "no_optin", "", START), CLARI_ERROR_AUTH) &&
		   mentions(job.error.hint, "may not see forecast \"net_arr\"") && strstr(job.error.hint, "revoked") == NULL,
	   "unless the key's user may not see the forecast");
	job = posting_job();
	ok(failed(&job, refuse(&job, 403, "", "", START), CLARI_ERROR_AUTH), "403 too");
	job = posting_job();
	ok(failed(&job, refuse(&job, 407, "", "", START), CLARI_ERROR_CONNECTION) && job.useless &&
		   mentions(job.error.message, "the proxy refused") && mentions(job.error.hint, "\"proxy\"") &&
		   strstr(job.error.detail, "may have started") == NULL,
	   "407 is the proxy's, and no export may have been started");
	job = posting_job();
	ok(failed(&job, refuse(&job, 404, "", "", START), CLARI_ERROR_NOT_FOUND) &&
		   mentions(job.error.message, "net_arr") && mentions(job.error.hint, "option \"forecast\""),
	   "404 names the forecast");
	job = posting_job();
	ok(failed(&job, answer(&job, 418, &full, START), CLARI_ERROR_REQUEST), "any other 4xx is a refusal");
	is(job.error.message, "Clari refused the export of period 2026_Q1 with HTTP status 418", "that says what");
	is(job.error.detail, "Clari's answer has code \"bad_type\", message \"No such type\", errorId \"e-17\".",
	   "and why");
	job = posting_job();
	answer(&job, 413, &html, START);
	is(job.error.detail, "The answer begins with \"<!DOCTYPE html>\".", "a proxy's page is shown by its first line");
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
	ClariJob job;

	transport.max_retries = 0;
	job = posting_job();
	memset(reply.code, 'c', sizeof(reply.code) - 1);
	memset(reply.message, 'm', sizeof(reply.message) - 1);
	memset(reply.error_id, 'e', sizeof(reply.error_id) - 1);
	ok(failed(&job, answer(&job, 502, &reply, START), CLARI_ERROR_REQUEST) &&
		   mentions(job.error.detail, "eee\". Clari may"),
	   "the longest reply fits the detail");
	set_defaults();
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
	is(job.error.detail, "The job has taken 900.0 s and was last seen in state STARTED.",
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
	refuse(&job, 400, "", "not done", START + TIMEOUT);
	ok(failed(&job, tick(&job, job.next_at), CLARI_ERROR_TIMEOUT) && mentions(job.error.detail, "not done"),
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
	static const ClariErrorCode hopeless[] = {CLARI_ERROR_LIMIT, CLARI_ERROR_OUT_OF_MEMORY, CLARI_ERROR_RESOURCES,
											  CLARI_ERROR_CANCELED};
	static const ClariErrorCode passing[] = {CLARI_ERROR_CONNECTION, CLARI_ERROR_TIMEOUT, CLARI_ERROR_DATA,
											 CLARI_ERROR_REPLY};
	ClariJob job;

	for (size_t k = 0; k < sizeof(passing) / sizeof(passing[0]); k++)
	{
		job = downloading_job();
		for (int i = 0; i < 5; i++)
		{
			ok(refuse_file(&job, passing[k], START) == CLARI_ACTION_NONE &&
				   backs_off(&job, CLARI_JOB_READY, INT64_C(500) << i, START),
			   "a file that broke off or is broken is downloaded again (%d)", i + 1);
			ok(tick(&job, job.next_at) == CLARI_ACTION_DOWNLOAD, "after a while");
		}
		ok(failed(&job, refuse_file(&job, passing[k], START), passing[k]) && !job.useless,
		   "max_retries times, and the job at Clari is not forgotten");
		is(job.error.message, "no good file", "and the decoder's error is the job's");
	}
	for (size_t i = 0; i < sizeof(hopeless) / sizeof(hopeless[0]); i++)
	{
		job = downloading_job();
		ok(failed(&job, refuse_file(&job, hopeless[i], START), hopeless[i]), "what another download cannot help fails");
	}
}

static void
test_disk(void)
{
	ClariJob job = downloading_job();

	ok(refuse_file(&job, CLARI_ERROR_IO, START + 300) == CLARI_ACTION_NONE && job.state == CLARI_JOB_READY &&
		   job.next_at == START + 300 && job.io_failed && job.retries == 0 && job.total_retries == 0,
	   "a disk that fails costs no retry: the download comes again at once, without the disk");
	ok(tick(&job, START + 300) == CLARI_ACTION_DOWNLOAD, "from the same job");
	ok(refuse_file(&job, CLARI_ERROR_DATA, START + 400) == CLARI_ACTION_NONE && job.retries == 1 && job.io_failed,
	   "other failures are retried as ever");
	tick(&job, job.next_at);
	ok(failed(&job, refuse_file(&job, CLARI_ERROR_IO, START + 5000), CLARI_ERROR_IO) && !job.useless,
	   "a disk that fails a second time in the job's life is an error");
	transport.max_retries = 0;
	job = downloading_job();
	ok(refuse_file(&job, CLARI_ERROR_IO, START) == CLARI_ACTION_NONE && job.state == CLARI_JOB_READY,
	   "also where nothing is retried");
	set_defaults();
}

/* ---- lists ---- */

static void
test_list_before(void)
{
	ClariJob job = new_job();
	ClariJob posting;

	job.adoptable = true;
	ok(tick(&job, START) == CLARI_ACTION_LIST && job.state == CLARI_JOB_LISTING && job.next_at == START + 5000,
	   "where a job can be told in a list, one is read before the POST");
	ok(tick(&job, START + 4999) == CLARI_ACTION_NONE && job.state == CLARI_JOB_LISTING, "and waited for");
	posting = job;
	ok(tick(&posting, START + 5000) == CLARI_ACTION_POST && posting.state == CLARI_JOB_POSTING &&
		   posting.list_before != CLARI_LIST_BEFORE_KNOWN,
	   "but not for ever: the POST goes ahead of a list that does not come");
	posting = job;
	ok(break_call(&posting, true, false, START + 1) == CLARI_ACTION_POST &&
		   posting.list_before != CLARI_LIST_BEFORE_KNOWN && posting.error.code == CLARI_ERROR_NONE,
	   "or that broke, for whatever reason");
	posting = job;
	ok(refuse(&posting, 401, "", "", START + 1) == CLARI_ACTION_POST &&
		   posting.list_before != CLARI_LIST_BEFORE_KNOWN && posting.error.code == CLARI_ERROR_NONE,
	   "or that was refused: that tells on the POST, too");
	for (int verdict = CLARI_VERDICT_NONE; verdict <= CLARI_VERDICT_UNCLEAR; verdict++)
	{
		posting = job;
		ok(listed(&posting, (ClariVerdict) verdict, "x", START + 1) == CLARI_ACTION_POST &&
			   posting.list_before == CLARI_LIST_BEFORE_KNOWN && posting.state == CLARI_JOB_POSTING &&
			   posting.job_id[0] == '\0' && posting.retries == 0,
		   "after the list comes the POST, whatever the verdict (%d)", verdict);
	}
	refuse(&posting, 429, "", "", START + 2);
	ok(posting.state == CLARI_JOB_NEW && tick(&posting, posting.next_at) == CLARI_ACTION_POST,
	   "one list serves all the job's POSTs");
	posting = job;
	ok(failed(&posting, listed(&posting, CLARI_VERDICT_NONE, NULL, START + TIMEOUT), CLARI_ERROR_TIMEOUT) &&
		   posting.useless,
	   "a list that comes after export_timeout is followed by nothing");
	job = new_job();
	ok(tick(&job, START) == CLARI_ACTION_POST, "where no job can be told, no list is read");
	transport.export_timeout = 3000;
	job = listing_job();
	ok(job.next_at == START + 3000 && failed(&job, tick(&job, START + 3000), CLARI_ERROR_TIMEOUT),
	   "the deadline brings a tick also to a list");
	set_defaults();
}

static void
test_unknown_outcome(void)
{
	ClariReply nothing = {.is_json = true};
	ClariReply page = {.message = "<html>"};
	ClariJob jobs[] = {listed_job(), listed_job(), listed_job(), listed_job(), listed_job()};
	ClariJob job;

	break_call(&jobs[0], false, true, START);
	refuse(&jobs[1], 503, "", "", START);
	answer(&jobs[2], 200, &nothing, START);
	answer(&jobs[3], 202, &page, START);
	answer(&jobs[4], 204, NULL, START);
	for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
	{
		ok(jobs[i].state == CLARI_JOB_UNSURE && jobs[i].next_at == START + 500 && jobs[i].doubt != CLARI_DOUBT_NONE &&
			   jobs[i].error.code != CLARI_ERROR_NONE,
		   "a POST of unknown outcome (%d) is followed by a look", (int) i);
		ok(tick(&jobs[i], START + 499) == CLARI_ACTION_NONE && tick(&jobs[i], START + 500) == CLARI_ACTION_LIST &&
			   jobs[i].state == CLARI_JOB_LOOKING && jobs[i].next_at == START + TIMEOUT,
		   "in its time");
		ok(listed(&jobs[i], CLARI_VERDICT_OURS, "6073683781a6da229df71e77", START + 600) == CLARI_ACTION_NONE &&
			   jobs[i].state == CLARI_JOB_WAITING && jobs[i].next_at == START + 600 &&
			   jobs[i].origin == CLARI_ORIGIN_ADOPTED && jobs[i].doubt == CLARI_DOUBT_NONE &&
			   jobs[i].origin != CLARI_ORIGIN_RESUMED && jobs[i].accepted_at == START + 600 &&
			   jobs[i].error.code == CLARI_ERROR_NONE && jobs[i].retries == 0,
		   "the job that it made is taken up");
		is(jobs[i].job_id, "6073683781a6da229df71e77", "by its id");
		ok(tick(&jobs[i], START + 600) == CLARI_ACTION_POLL, "and polled at once");
	}
	ok(failed(&jobs[0], report(&jobs[0], CLARI_STATUS_ABORTED, "ABORTED", START + 700), CLARI_ERROR_JOB) &&
		   jobs[0].useless,
	   "a job taken up that ends badly fails like any other");
	job = listed_job();
	ok(break_call(&job, true, true, START) == CLARI_ACTION_NONE && backs_off(&job, CLARI_JOB_NEW, 500, START) &&
		   job.doubt == CLARI_DOUBT_NONE,
	   "a POST that was never sent needs no look");
	job = listed_job();
	ok(failed(&job, break_call(&job, false, false, START), CLARI_ERROR_CONNECTION) && !job.useless &&
		   mentions(job.error.detail, "may have started"),
	   "what cannot pass fails at once, in doubt");
	job = listing_job();
	tick(&job, START + 5000);
	refuse(&job, 502, "", "", START + 6000);
	ok(backs_off(&job, CLARI_JOB_NEW, 500, START + 6000) && tick(&job, job.next_at) == CLARI_ACTION_POST,
	   "without the list before the POST, one after it could not tell: the POST is repeated");
}

static void
test_post_again(void)
{
	ClariReply reply = {.is_json = true};
	ClariJob job = looking_job();
	int64_t now = START + 600;

	for (int i = 1; i <= 5; i++)
	{
		ok(listed(&job, CLARI_VERDICT_NONE, NULL, now) == CLARI_ACTION_NONE &&
			   backs_off(&job, CLARI_JOB_NEW, INT64_C(500) << (i - 1), now) && job.retries == i &&
			   job.total_retries == i,
		   "a POST that made no job is repeated, as a retry (%d)", i);
		now = job.next_at;
		ok(tick(&job, now) == CLARI_ACTION_POST, "without another list before it");
		refuse(&job, 500 + i, "", "", now);
		now = job.next_at;
		ok(job.state == CLARI_JOB_UNSURE && job.looks == 0 && tick(&job, now) == CLARI_ACTION_LIST, "and looked for");
	}
	ok(failed(&job, listed(&job, CLARI_VERDICT_NONE, NULL, now), CLARI_ERROR_REQUEST) &&
		   mentions(job.error.message, "505") && mentions(job.error.detail, "6 times") &&
		   mentions(job.error.detail, "may have started an export nevertheless") && !job.useless,
	   "when the retries are used up, the last POST's error is the job's, with the doubt");
	job = looking_job();
	listed(&job, CLARI_VERDICT_NONE, NULL, START + 600);
	tick(&job, job.next_at);
	accept_post(&job, START + 2000);
	ok(job.state == CLARI_JOB_WAITING && job.retries == 0 && job.doubt == CLARI_DOUBT_NONE &&
		   job.accepted_at == START + 2000 && job.origin != CLARI_ORIGIN_ADOPTED,
	   "a repeated POST that is accepted makes an ordinary job");
	job = looking_job();
	listed(&job, CLARI_VERDICT_NONE, NULL, START + 600);
	tick(&job, job.next_at);
	ok(failed(&job, refuse(&job, 400, "", "no such type", START + 2000), CLARI_ERROR_REQUEST) &&
		   mentions(job.error.detail, "may have started") && !job.useless,
	   "one that is refused leaves the first one's outcome open");

	job = listed_job();
	answer_after(&job, 503, &reply, 60000, START);
	ok(job.state == CLARI_JOB_UNSURE && job.next_at == START + 500, "Retry-After of a 503 is no reason not to look");
	tick(&job, START + 500);
	listed(&job, CLARI_VERDICT_NONE, NULL, START + 600);
	ok(job.state == CLARI_JOB_NEW && job.next_at >= START + 60000 && job.next_at <= START + 60125,
	   "but not to POST again before");
	job = listed_job();
	answer_after(&job, 503, &reply, TIMEOUT + 1000, START);
	tick(&job, START + 500);
	ok(failed(&job, listed(&job, CLARI_VERDICT_NONE, NULL, START + 1000), CLARI_ERROR_TIMEOUT) &&
		   mentions(job.error.detail, "900.0 s more") && mentions(job.error.detail, "may have started"),
	   "nor at all, beyond the deadline");
	job = posting_job();
	ok(failed(&job, answer_after(&job, 503, &reply, INT64_MAX, START), CLARI_ERROR_TIMEOUT), "however far");
}

/* What comes of a look that does not tell. */
static ClariJobAction
look_in_vain(ClariJob *job, int how, int64_t now)
{
	switch (how)
	{
		case 0:
			return listed(job, CLARI_VERDICT_UNCLEAR, NULL, now);
		case 1:
			return refuse(job, 500, "", "", now);
		case 2:
			return break_call(job, false, false, now);
		case 3:
			return listed(job, CLARI_VERDICT_OURS, "", now);
		default:
			return answer(job, 200, NULL, now);
	}
}

/* A POST answered 2xx is never repeated, however it was answered. */
static void
test_spent(void)
{
	ClariReply nothing = {.is_json = true};
	ClariError error;
	ClariJobEvent event = {
		.kind = CLARI_EVENT_BROKEN, .retry_after = -1, .status = 200, .error = &error, .may_pass = true};
	ClariJob job;

	clari_error_set(&error, CLARI_ERROR_CONNECTION, "the answer broke off");
	for (int broken = 0; broken < 2; broken++)
	{
		job = listed_job();
		if (broken == 1)
			clari_job_step(&job, &event, START);
		else
			answer(&job, 200, &nothing, START);
		ok(job.state == CLARI_JOB_UNSURE && job.doubt == CLARI_DOUBT_SPENT &&
			   tick(&job, job.next_at) == CLARI_ACTION_LIST,
		   "where a list can tell, the job is looked for");
		ok(failed(&job, listed(&job, CLARI_VERDICT_NONE, NULL, START + 600),
				  broken == 1 ? CLARI_ERROR_CONNECTION : CLARI_ERROR_REPLY) &&
			   !job.useless && mentions(job.error.detail, "may have started"),
		   "if it does not, there is no other POST");
	}
	job = posting_job();
	ok(failed(&job, clari_job_step(&job, &event, START), CLARI_ERROR_CONNECTION) && !job.useless,
	   "also where none can");
	transport.max_retries = 2;
	job = listed_job();
	answer(&job, 200, &nothing, START);
	for (int i = 0; i < 2; i++)
	{
		tick(&job, job.next_at);
		ok(look_in_vain(&job, 0, START + 600) == CLARI_ACTION_NONE || i == 1, "looks that do not tell are repeated");
	}
	ok(job.state == CLARI_JOB_FAILED && job.posted && !job.useless, "and then it is an error");
	set_defaults();
}

static void
test_looks(void)
{
	ClariReply reply = {.is_json = true};
	ClariJob job;

	for (int how = 0; how < 5; how++)
	{
		int64_t now = START + 600;

		job = looking_job();
		for (int i = 1; i < 5; i++)
		{
			ok(look_in_vain(&job, how, now) == CLARI_ACTION_NONE &&
				   backs_off(&job, CLARI_JOB_UNSURE, INT64_C(500) << i, now) && job.retries == 0 &&
				   mentions(job.error.message, "502"),
			   "a look that does not tell (%d) is repeated (%d)", how, i);
			now = job.next_at;
			ok(tick(&job, now) == CLARI_ACTION_LIST && job.looks == i + 1, "after a while");
		}
		ok(look_in_vain(&job, how, now) == CLARI_ACTION_NONE && backs_off(&job, CLARI_JOB_NEW, 500, now) &&
			   job.retries == 1,
		   "max_retries times; then the POST is");
		transport.max_retries = 0;
		job = looking_job();
		ok(failed(&job, look_in_vain(&job, how, START + 600), CLARI_ERROR_REQUEST) &&
			   mentions(job.error.message, "502"),
		   "one look is had in any case");
		set_defaults();
	}
	job = looking_job();
	answer_after(&job, 429, &reply, 7000, START + 600);
	ok(job.state == CLARI_JOB_UNSURE && job.next_at >= START + 7600 && job.next_at <= START + 7725,
	   "Retry-After is obeyed");
	job = looking_job();
	ok(tick(&job, START + TIMEOUT - 1) == CLARI_ACTION_NONE &&
		   failed(&job, tick(&job, START + TIMEOUT), CLARI_ERROR_TIMEOUT) && !job.useless &&
		   mentions(job.error.detail, "may have started"),
	   "the deadline ends a look");
	job = unsure_job();
	ok(failed(&job, tick(&job, START + TIMEOUT), CLARI_ERROR_TIMEOUT) && !job.useless, "and the wait for one");
	job = looking_job();
	ok(listed(&job, CLARI_VERDICT_OURS, "6073683781a6da229df71e77", START + 2 * TIMEOUT) == CLARI_ACTION_NONE &&
		   job.next_at == START + 2 * TIMEOUT && tick(&job, job.next_at) == CLARI_ACTION_POLL,
	   "a job that is found is never too late");
}

/* ---- an earlier life ---- */

static void
test_resumed(void)
{
	static const struct
	{
		ClariJobStatus status;
		const char *text;
	} bad[] = {
		{CLARI_STATUS_FAILED, "FAILED"}, {CLARI_STATUS_ABORTED, "ABORTED"}, {CLARI_STATUS_CANCELED, "CANCELLED"}};
	ClariJob job = resumed_job();
	char long_id[CLARI_ID_SIZE + 1];

	ok(job.state == CLARI_JOB_WAITING && job.next_at == START && job.accepted_at == START &&
		   job.origin == CLARI_ORIGIN_RESUMED && job.origin != CLARI_ORIGIN_ADOPTED,
	   "a job of an earlier life is taken up");
	ok(tick(&job, START) == CLARI_ACTION_POLL, "and polled at once");
	ok(report(&job, CLARI_STATUS_STARTED, "STARTED", START + 100) == CLARI_ACTION_NONE && job.next_at == START + 350,
	   "polled on while it runs");
	tick(&job, job.next_at);
	ok(report(&job, CLARI_STATUS_DONE, "DONE", START + 400) == CLARI_ACTION_DOWNLOAD &&
		   decoded(&job, START + 500) == CLARI_ACTION_PUBLISH,
	   "downloaded and published");
	job = resumed_job();
	ok(failed(&job, tick(&job, START + TIMEOUT), CLARI_ERROR_TIMEOUT) && !job.useless,
	   "export_timeout counts from the take-up");

	for (size_t i = 0; i < 5; i++)
	{
		ClariJobAction action;

		job = resumed_job();
		tick(&job, START);
		refuse(&job, 502, "", "", START);
		tick(&job, job.next_at);
		if (i == 4)
			report(&job, CLARI_STATUS_DONE, "DONE", START + 900);
		job.losses = 3;
		action =
			i < 3 ? report(&job, bad[i].status, bad[i].text, START + 1000) : refuse(&job, 404, "", "", START + 1000);
		ok(action == CLARI_ACTION_NONE && job.state == CLARI_JOB_NEW && job.next_at == START + 1000 &&
			   job.origin != CLARI_ORIGIN_RESUMED && job.job_id[0] == '\0' && job.status_text[0] == '\0' &&
			   job.download_url[0] == '\0' && job.accepted_at == 0 && job.retries == 0 &&
			   job.error.code == CLARI_ERROR_NONE && !job.useless,
		   "a job of an earlier life that is of no use (%d) is started over", (int) i);
		ok(tick(&job, START + 1000) == CLARI_ACTION_LIST &&
			   listed(&job, CLARI_VERDICT_NONE, NULL, START + 1001) == CLARI_ACTION_POST &&
			   job.next_at == START + 1000 + TIMEOUT,
		   "with a list of its own, and all its time");
		accept_post(&job, START + 2000);
		tick(&job, job.next_at);
		ok(failed(&job, refuse_often(&job, 404, "", START + 3000), CLARI_ERROR_JOB) && job.useless, "once");
	}
	job = resumed_job();
	job.adoptable = false;
	tick(&job, START);
	refuse_often(&job, 400, "SWW", START);
	ok(tick(&job, job.next_at) == CLARI_ACTION_POST, "without a list where no job could be told in it");
	ok(failed(&job, refuse(&job, 401, "", "", START), CLARI_ERROR_AUTH) && job.useless,
	   "after that nothing is left of the earlier job");
	job = resumed_job();
	tick(&job, START);
	ok(failed(&job, refuse(&job, 401, "", "", START), CLARI_ERROR_AUTH) && !job.useless,
	   "a key that is refused says nothing about the job");

	memset(long_id, 'x', CLARI_ID_SIZE);
	long_id[CLARI_ID_SIZE] = '\0';
	job = new_job();
	clari_job_resume(&job, long_id, START);
	ok(job.state == CLARI_JOB_NEW && job.origin != CLARI_ORIGIN_RESUMED && job.job_id[0] == '\0',
	   "what is no id is not taken up");
	clari_job_resume(&job, "", START);
	ok(job.state == CLARI_JOB_NEW && job.origin != CLARI_ORIGIN_RESUMED, "nor is none");
}

static void
test_begun_unsure(void)
{
	ClariJob job = new_job();

	job.adoptable = true;
	clari_job_begin_unsure(&job, START);
	ok(job.state == CLARI_JOB_UNSURE && job.next_at == START && tick(&job, START) == CLARI_ACTION_LIST &&
		   job.state == CLARI_JOB_LOOKING,
	   "a POST of an earlier life whose outcome is not known is looked for at once");
	ok(listed(&job, CLARI_VERDICT_OURS, "j", START) == CLARI_ACTION_NONE && job.origin == CLARI_ORIGIN_ADOPTED &&
		   tick(&job, START) == CLARI_ACTION_POLL,
	   "and its job taken up");
	for (int adoptable = 0; adoptable < 2; adoptable++)
	{
		transport.max_retries = adoptable * 5;
		job = new_job();
		job.adoptable = adoptable == 1;
		clari_job_begin_unsure(&job, START);
		tick(&job, START);
		if (adoptable == 1)
			listed(&job, CLARI_VERDICT_NONE, NULL, START);
		ok(job.state == CLARI_JOB_NEW && job.next_at == START && job.retries == 0 &&
			   tick(&job, START) == CLARI_ACTION_POST,
		   "where it has none, or none that can be told, this life's first POST follows at once, and is no retry");
		ok(mentions(job.error.message, "the outcome of an earlier request for the export of period 2026_Q1"),
		   "until then there is an error to tell");
		ok(failed(&job, tick(&job, START + TIMEOUT), CLARI_ERROR_TIMEOUT) && !job.useless &&
			   mentions(job.error.detail, "may have started"),
		   "and the doubt remains");
		set_defaults();
	}
	job = new_job();
	job.adoptable = true;
	clari_job_begin_unsure(&job, START);
	ok(failed(&job, cancel(&job, START), CLARI_ERROR_CANCELED) && !job.useless, "a cancel does not resolve it either");
}

/* ---- canceling ---- */

static void
test_cancel_without_a_job(void)
{
	ClariJob jobs[] = {new_job(), listing_job(), unsure_job(), looking_job()};
	bool in_doubt[] = {false, false, true, true};

	for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
	{
		const char *state = clari_job_state_name(jobs[i].state);

		ok(failed(&jobs[i], cancel(&jobs[i], START + 1), CLARI_ERROR_CANCELED) && jobs[i].useless == !in_doubt[i] &&
			   (strstr(jobs[i].error.detail, "may have started") != NULL) == in_doubt[i],
		   "canceled while %s it ends at once", state);
		is(jobs[i].error.message, "the export was canceled by alice", "and says who did it");
	}
}

static void
test_cancel_while_posting(void)
{
	ClariReply reply = {.is_json = true};
	ClariJob job = posting_job();
	ClariJob copy;

	ok(cancel(&job, START + 1) == CLARI_ACTION_NONE && job.state == CLARI_JOB_POSTING && job.next_at == START + TIMEOUT,
	   "canceled while posting, the POST is waited for: its answer names the job");
	ok(cancel(&job, START + 2) == CLARI_ACTION_NONE && tick(&job, START + 3) == CLARI_ACTION_NONE, "as often as it is");
	copy = job;
	ok(accept_post(&copy, START + 100) == CLARI_ACTION_CANCEL && copy.state == CLARI_JOB_CANCELING &&
		   copy.job_id[0] != '\0' && copy.next_at == START + 10100,
	   "that one is canceled");
	copy = job;
	ok(failed(&copy, refuse(&copy, 400, "", "concurrent", START + 100), CLARI_ERROR_CANCELED) && copy.useless,
	   "a POST that is refused is not repeated");
	copy = job;
	ok(failed(&copy, refuse(&copy, 429, "", "", START + 100), CLARI_ERROR_CANCELED) && copy.useless, "for no reason");
	copy = job;
	ok(failed(&copy, break_call(&copy, true, true, START + 100), CLARI_ERROR_CANCELED) && copy.useless,
	   "nor is one that was never sent");
	for (int i = 0; i < 4; i++)
	{
		ClariJobAction action;

		copy = job;
		action = i == 0   ? break_call(&copy, false, true, START + 100)
				 : i == 1 ? refuse(&copy, 502, "", "", START + 100)
				 : i == 2 ? answer(&copy, 200, &reply, START + 100)
						  : tick(&copy, START + TIMEOUT);
		ok(failed(&copy, action, CLARI_ERROR_CANCELED) && !copy.useless &&
			   mentions(copy.error.detail, "may have started an export"),
		   "one of unknown outcome (%d) leaves a doubt", i);
		is(copy.error.message, "the export was canceled by alice", "but the cancel is the error");
	}
}

static void
test_cancel_at_clari(void)
{
	ClariJob job = polling_job();
	ClariJob copy;
	ClariJobEvent plain = {.kind = CLARI_EVENT_BROKEN, .retry_after = -1};
	ClariReply unsuccessful = {.is_json = true, .status = CLARI_STATUS_CANCELED, .successful = CLARI_FLAG_NO};

	report(&job, CLARI_STATUS_STARTED, "STARTED", START + 300);
	ok(cancel(&job, START + 400) == CLARI_ACTION_CANCEL && job.state == CLARI_JOB_CANCELING &&
		   job.next_at == START + 10400,
	   "canceled while waiting, the job is canceled at Clari");
	job = polling_job();
	ok(cancel(&job, START + 400) == CLARI_ACTION_CANCEL && job.state == CLARI_JOB_CANCELING, "while polling, too");
	ok(cancel(&job, START + 401) == CLARI_ACTION_NONE && tick(&job, START + 10399) == CLARI_ACTION_NONE &&
		   job.state == CLARI_JOB_CANCELING,
	   "once");
	copy = job;
	ok(failed(&copy, report(&copy, CLARI_STATUS_CANCELED, "CANCELLED", START + 500), CLARI_ERROR_CANCELED) &&
		   copy.useless,
	   "a job that Clari canceled is forgotten");
	is(copy.error.message, "the export was canceled by alice", "the error says who did it");
	is(copy.error.detail, "", "and no more");
	copy = job;
	ok(failed(&copy, refuse(&copy, 400, "export_failed_to_cancel", "The job is finished.", START + 500),
			  CLARI_ERROR_UNCANCELED) &&
		   !copy.useless,
	   "a job that could not be canceled is not: it may be of use");
	is(copy.error.detail,
	   "Clari did not cancel the job: it answered with HTTP status 400. Clari's answer has code "
	   "\"export_failed_to_cancel\", message \"The job is finished.\".",
	   "the error says why");
	copy = job;
	ok(failed(&copy, refuse(&copy, 404, "", "", START + 500), CLARI_ERROR_CANCELED) && copy.useless,
	   "a job that Clari does not know any more is forgotten");
	copy = job;
	ok(failed(&copy, refuse(&copy, 400, "SWW", "Something went wrong", START + 500), CLARI_ERROR_CANCELED) &&
		   copy.useless,
	   "by whichever status");
	copy = job;
	ok(failed(&copy, answer(&copy, 200, &unsuccessful, START + 500), CLARI_ERROR_UNCANCELED) && !copy.useless &&
		   mentions(copy.error.detail, "not successful"),
	   "\"successful\": false is no cancellation");
	copy = job;
	ok(failed(&copy, break_call(&copy, false, true, START + 500), CLARI_ERROR_UNCANCELED) && !copy.useless &&
		   mentions(copy.error.detail, "did not cancel the job: could not connect to Clari."),
	   "a call that broke is not repeated");
	copy = job;
	ok(failed(&copy, clari_job_step(&copy, &plain, START + 500), CLARI_ERROR_UNCANCELED), "with or without an error");
	copy = job;
	ok(failed(&copy, tick(&copy, START + 10400), CLARI_ERROR_UNCANCELED) && !copy.useless &&
		   mentions(copy.error.detail, "it has not answered"),
	   "and one that does not end is not waited for");

	job = downloading_job();
	ok(failed(&job, cancel(&job, START + 400), CLARI_ERROR_CANCELED) && !job.useless,
	   "a download that is canceled ends, and the job stays as it is");
	job = downloading_job();
	break_call(&job, false, true, START + 400);
	ok(job.state == CLARI_JOB_READY && failed(&job, cancel(&job, START + 500), CLARI_ERROR_CANCELED) && !job.useless,
	   "and so does one that was to be repeated");
	job = polling_job();
	plain.kind = CLARI_EVENT_CANCEL;
	clari_job_step(&job, &plain, START + 400);
	report(&job, CLARI_STATUS_CANCELED, "CANCELLED", START + 500);
	is(job.error.message, "the export of period 2026_Q1 was canceled", "a cancel without a name is one, too");
	job = asking_job("", "Too many concurrent exports");
	tell_limits(&job, 0, 10, START);
	ok(failed(&job, cancel(&job, START + 400), CLARI_ERROR_CANCELED) &&
		   mentions(job.error.detail, "Too many concurrent exports"),
	   "what Clari had said stays in the error that ends a wait");
}

/* ---- what is kept ---- */

static void
test_forget(void)
{
	static const ClariReply truncated = {.is_json = true, .status = CLARI_STATUS_DONE, .rows_truncated = true};
	ClariJob job = polling_job();

	report(&job, CLARI_STATUS_FAILED, "FAILED", START);
	ok(job.useless, "a job that failed at Clari is forgotten");
	job = polling_job();
	job.renewed = true;
	job.state = CLARI_JOB_POLLING;
	refuse_often(&job, 404, "", START);
	ok(job.state == CLARI_JOB_FAILED && job.useless, "and one that Clari does not know");
	job = polling_job();
	answer(&job, 200, &truncated, START);
	ok(job.state == CLARI_JOB_FAILED && job.useless, "and one whose file is not whole");
	job = posting_job();
	refuse(&job, 400, "", "no such type", START);
	ok(job.useless, "and a POST that was refused");
	job = posting_job();
	break_call(&job, true, false, START);
	ok(job.state == CLARI_JOB_FAILED && job.useless, "or never sent");
	job = polling_job();
	tick(&job, START + TIMEOUT);
	ok(job.state == CLARI_JOB_FAILED && !job.useless, "a job that takes too long is not forgotten");
	job = posting_job();
	tick(&job, START + TIMEOUT);
	ok(job.state == CLARI_JOB_FAILED && !job.useless, "nor a POST that does");
	job = downloading_job();
	refuse_file(&job, CLARI_ERROR_LIMIT, START);
	ok(job.state == CLARI_JOB_FAILED && !job.useless, "nor a job whose download failed");
	job = polling_job();
	break_call(&job, false, false, START);
	ok(job.state == CLARI_JOB_FAILED && !job.useless, "nor one that could not be asked about");
}

static void
test_user(void)
{
	ClariReply reply = {.is_json = true, .job_id = "j", .user_id = "u-1"};
	ClariJob job = posting_job();

	ok(job.user_id[0] == '\0', "at first it is not known who we are");
	answer(&job, 200, &reply, START);
	is(job.user_id, "u-1", "the POST's answer may tell");
	job = polling_job();
	answer(&job, 200, &reply, START);
	is(job.user_id, "", "a poll's that is about another job does not");
	reply.status = CLARI_STATUS_STARTED;
	strcpy(reply.job_id, "6073683781a6da229df71e00");
	job = polling_job();
	answer(&job, 200, &reply, START);
	is(job.user_id, "u-1", "one about this job does");
	tick(&job, job.next_at);
	report(&job, CLARI_STATUS_STARTED, "STARTED", START + 600);
	is(job.user_id, "u-1", "and then it stays known");
	strcpy(reply.user_id, "u-2");
	tick(&job, job.next_at);
	answer(&job, 403, &reply, START + 900);
	is(job.user_id, "u-1", "a refusal does not tell");
}

static void
test_download_refusals(void)
{
	ClariReply done = {.is_json = true, .status = CLARI_STATUS_DONE, .download_url = "https://files.example.com/x"};
	ClariJob job = downloading_job();

	ok(refuse(&job, 400, "", "not done", START + 5000) == CLARI_ACTION_NONE &&
		   backs_off(&job, CLARI_JOB_WAITING, 500, START + 5000),
	   "a job that is not done after all is polled on");
	ok(tick(&job, job.next_at) == CLARI_ACTION_POLL, "in its time");
	ok(answer(&job, 200, &done, START + 6000) == CLARI_ACTION_DOWNLOAD, "until it is done again");
	for (int i = 0; i < 2; i++)
	{
		ok(refuse(&job, 403, "", "", START + 6000) == CLARI_ACTION_NONE &&
			   backs_off(&job, CLARI_JOB_WAITING, INT64_C(500) << i, START + 6000),
		   "a link that is refused says nothing about the key: the next poll tells a new one");
		tick(&job, job.next_at);
		answer(&job, 200, &done, START + 6000);
	}
	ok(refuse(&job, 403, "", "", START + 6000) == CLARI_ACTION_DOWNLOAD && job.download_url[0] == '\0',
	   "if they all are, the job's own results are taken");
	for (int i = 0; i < 2; i++)
	{
		ok(refuse(&job, 403, "", "", START + 6000) == CLARI_ACTION_NONE, "which may not be there yet");
		tick(&job, job.next_at);
		ok(answer(&job, 200, &done, START + 6000) == CLARI_ACTION_DOWNLOAD && job.download_url[0] == '\0',
		   "and not the link again");
	}
	ok(failed(&job, refuse(&job, 403, "", "", START + 6000), CLARI_ERROR_AUTH), "but they may be refused too");
}

/* Another host's word is not Clari's. */
static void
test_elsewhere(void)
{
	ClariReply done = {.is_json = true, .status = CLARI_STATUS_DONE};
	ClariReply expired = {.is_json = true, .message = "Request has expired"};
	ClariJobEvent event = {
		.kind = CLARI_EVENT_REPLY, .retry_after = -1, .status = 401, .reply = &expired, .elsewhere = true};
	ClariJobEvent unreachable = {.kind = CLARI_EVENT_BROKEN, .retry_after = -1, .never_sent = true};
	ClariJob job = downloading_job();

	for (int i = 0; i < 2; i++)
	{
		ok(clari_job_step(&job, &event, START + 400) == CLARI_ACTION_NONE && job.state == CLARI_JOB_WAITING,
		   "where Clari redirected to a host that refuses, it is asked again");
		tick(&job, job.next_at);
		ok(answer(&job, 200, &done, START + 500) == CLARI_ACTION_DOWNLOAD, "for a new link");
	}
	ok(failed(&job, clari_job_step(&job, &event, START + 600), CLARI_ERROR_REQUEST) && !job.useless &&
		   mentions(job.error.message, "the host of the file refused") && mentions(job.error.detail, "has expired"),
	   "some times; and the error is that host's, not Clari's");
	strcpy(done.download_url, "https://files.example.com/x");
	job = polling_job();
	answer(&job, 200, &done, START + 300);
	unreachable.elsewhere = true;
	ok(clari_job_step(&job, &unreachable, START + 400) == CLARI_ACTION_DOWNLOAD && job.download_url[0] == '\0',
	   "a link's host that cannot be reached is done without, whatever the reason");
	ok(failed(&job, break_call(&job, true, false, START + 500), CLARI_ERROR_CONNECTION), "as Clari cannot be");
	job = polling_job();
	answer(&job, 200, &done, START + 300);
	ok(failed(&job, break_call(&job, true, false, START + 400), CLARI_ERROR_CONNECTION),
	   "one that may not be followed is an error");
	job = polling_job();
	answer(&job, 200, &done, START + 300);
	event.kind = CLARI_EVENT_BROKEN;
	event.status = 200;
	event.may_pass = true;
	ok(clari_job_step(&job, &event, START + 400) == CLARI_ACTION_NONE && job.state == CLARI_JOB_READY &&
		   job.download_url[0] != '\0',
	   "one that broke off in the midst is tried again");
}

/* A job that Clari does not know, or whose file it does not have, is given up for one new export. */
static void
test_lost(void)
{
	static const struct
	{
		int status;
		const char *code;
	} ways[] = {{400, "SWW"}, {400, "invalid_jobId"}, {404, ""}, {410, ""}};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		for (int late = 0; late < 2; late++)
		{
			ClariJob job = late == 1 ? downloading_job() : polling_job();

			for (int times = 0; times < 3; times++)
			{
				ok(refuse(&job, ways[i].status, ways[i].code, "", START + 400) == CLARI_ACTION_NONE &&
					   backs_off(&job, CLARI_JOB_WAITING, INT64_C(500) << times, START + 400) && job.job_id[0] != '\0',
				   "a job that is not known (%d %s) is asked for again", ways[i].status, ways[i].code);
				tick(&job, job.next_at);
				if (late == 1)
					report(&job, CLARI_STATUS_DONE, "DONE", START + 500);
			}
			ok(refuse(&job, ways[i].status, ways[i].code, "", START + 600) == CLARI_ACTION_NONE &&
				   job.state == CLARI_JOB_NEW && job.job_id[0] == '\0' && tick(&job, START + 600) == CLARI_ACTION_POST,
			   "then it is given up for a new export");
			accept_post(&job, START + 700);
			tick(&job, job.next_at);
			if (late == 1)
				report(&job, CLARI_STATUS_DONE, "DONE", START + 1000);
			ok(failed(&job, refuse_often(&job, ways[i].status, ways[i].code, START + 1000), CLARI_ERROR_JOB) &&
				   job.useless && mentions(job.error.message, "no longer knows"),
			   "which is the last");
		}
}

static void
test_lost_for_a_moment(void)
{
	ClariJob job = polling_job();

	for (int i = 0; i < 10; i++)
	{
		ok(refuse(&job, 404, "", "", START + 300) == CLARI_ACTION_NONE && job.state == CLARI_JOB_WAITING,
		   "a job that is not known for a moment");
		tick(&job, job.next_at);
		report(&job, CLARI_STATUS_STARTED, "STARTED", START + 400);
		tick(&job, job.next_at);
	}
	ok(job.losses == 0 && job.job_id[0] != '\0', "is not given up, however often that happens");
	job = polling_job();
	ok(failed(&job, refuse_often(&job, 403, "", START), CLARI_ERROR_AUTH) && !job.useless,
	   "one that may not be seen is an error, which another export would not help");
	job = resumed_job();
	tick(&job, START);
	ok(refuse_often(&job, 403, "", START) == CLARI_ACTION_NONE && job.state == CLARI_JOB_NEW,
	   "but a job of an earlier life, which may have been another user's, is given up");
}

/* A job that nobody can take up any more, once there is a newer one, is canceled. */
static void
test_replaced(void)
{
	ClariJob job = new_job();
	ClariJob copy;

	strcpy(job.replaced_id, "old");
	ok(tick(&job, START) == CLARI_ACTION_POST, "the newer one is POSTed first");
	copy = job;
	ok(failed(&copy, refuse(&copy, 401, "", "", START + 1), CLARI_ERROR_AUTH) && copy.useless &&
		   strcmp(copy.replaced_id, "old") == 0,
	   "where it is refused, the older one is left alone");
	copy = job;
	ok(refuse(&copy, 400, "export_monthly_quota_reached", "", START + 1) == CLARI_ACTION_REPLACE &&
		   report(&copy, CLARI_STATUS_ABORTED, "ABORTED", START + 2) == CLARI_ACTION_NONE &&
		   tick(&copy, copy.next_at) == CLARI_ACTION_POST,
	   "but not where a limit refuses the newer one, of which the older one is a part");
	ok(accept_post(&job, START + 100) == CLARI_ACTION_REPLACE && job.state == CLARI_JOB_REPLACING &&
		   job.next_at == START + 5100 && job.accepted_at == START + 100,
	   "when the newer one is accepted, the older one is canceled");
	ok(tick(&job, START + 5099) == CLARI_ACTION_NONE && job.state == CLARI_JOB_REPLACING, "and waited for");
	for (int i = 0; i < 4; i++)
	{
		copy = job;
		if (i == 0)
			report(&copy, CLARI_STATUS_ABORTED, "ABORTED", START + 200);
		else if (i == 1)
			refuse(&copy, 400, "export_failed_to_cancel", "", START + 200);
		else if (i == 2)
			break_call(&copy, false, false, START + 200);
		else
			tick(&copy, START + 5100);
		ok(copy.state == CLARI_JOB_WAITING &&
			   tick(&copy, copy.next_at) == (i < 2 ? CLARI_ACTION_POLL : CLARI_ACTION_REPLACE),
		   "whatever comes of it (%d), the newer one goes on", i);
	}
	for (int i = 0; i < 2; i++)
	{
		refuse(&copy, 503, "", "", START + 6000);
		ok(tick(&copy, copy.next_at) == (i == 0 ? CLARI_ACTION_REPLACE : CLARI_ACTION_POLL),
		   "what passes is tried again, some times");
	}
	copy = job;
	ok(cancel(&copy, START + 200) == CLARI_ACTION_CANCEL && copy.state == CLARI_JOB_CANCELING,
	   "a cancel of the newer one cancels that");
	job = looking_job();
	strcpy(job.replaced_id, "old");
	ok(listed(&job, CLARI_VERDICT_OURS, "new", START + 600) == CLARI_ACTION_REPLACE,
	   "also when it was found in a list");
}

/* No event in any state reads beyond itself, leaves the states, or wakes the dead. */
static void
test_senseless_events(void)
{
	ClariJob jobs[] = {new_job(),     posting_job(), polling_job(), downloading_job(), posting_job(), downloading_job(),
					   listing_job(), unsure_job(),  looking_job(), resumed_job(),     polling_job(), posting_job()};

	accept_post(&jobs[4], START);
	refuse_file(&jobs[5], CLARI_ERROR_DATA, START);
	cancel(&jobs[10], START);
	cancel(&jobs[11], START);
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
	ok(decoded(&jobs[6], START) == CLARI_ACTION_NONE && jobs[6].state == CLARI_JOB_LISTING, "LISTING ignores a file");
	ok(listed(&jobs[7], CLARI_VERDICT_OURS, "j", START) == CLARI_ACTION_NONE && jobs[7].state == CLARI_JOB_UNSURE,
	   "UNSURE ignores a list");
	ok(refuse_file(&jobs[8], CLARI_ERROR_DATA, START) == CLARI_ACTION_NONE && jobs[8].state == CLARI_JOB_LOOKING,
	   "LOOKING ignores a file");
	ok(listed(&jobs[9], CLARI_VERDICT_OURS, "j", START) == CLARI_ACTION_NONE && jobs[9].state == CLARI_JOB_WAITING,
	   "WAITING ignores a list");
	ok(decoded(&jobs[10], START) == CLARI_ACTION_NONE && jobs[10].state == CLARI_JOB_CANCELING,
	   "CANCELING ignores a file");
	ok(listed(&jobs[11], CLARI_VERDICT_OURS, "j", START) == CLARI_ACTION_NONE && jobs[11].state == CLARI_JOB_POSTING,
	   "POSTING ignores a list, canceled or not");
	for (int kind = CLARI_EVENT_TICK; kind <= CLARI_EVENT_CANCEL; kind++)
	{
		ClariJobEvent event = {.kind = (ClariJobEventKind) kind, .status = 200, .retry_after = -1};
		ClariJob done = downloading_job();
		ClariJob dead = polling_job();

		decoded(&done, START);
		refuse(&dead, 401, "", "", START);
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
	is(clari_job_state_name(CLARI_JOB_UNSURE), clari_job_state_name(CLARI_JOB_LOOKING), "looking is one thing");
	is(clari_job_state_name(CLARI_JOB_FAILED), "failed", "and the last");
	refuse(&job, 401, "", "", START);
	for (size_t i = 0; i + 15 <= sizeof(job); i++)
		found = found || memcmp(bytes + i, "very-secret-key", 15) == 0;
	ok(!found, "a job never holds the API key");
}

/* ---- what takes no job ---- */

static ClariJob
new_read(ClariEndpoint endpoint)
{
	ClariJob job;

	request.endpoint = endpoint;
	request.period[0] = '\0';
	job = new_job();
	set_defaults();
	ok(tick(&job, START) == CLARI_ACTION_DOWNLOAD && job.state == CLARI_JOB_DOWNLOADING,
	   "one GET is all that it takes, at once");
	return job;
}

static void
test_reads(void)
{
	static const int final[] = {400, 401, 403, 404, 410, 418};
	ClariJob job = new_read(CLARI_ENDPOINT_LIMITS);

	ok(decoded(&job, START + 9) == CLARI_ACTION_PUBLISH && job.state == CLARI_JOB_DONE, "what comes is published");

	for (size_t i = 0; i < sizeof(final) / sizeof(final[0]); i++)
	{
		job = new_read(CLARI_ENDPOINT_JOBS);
		ok(refuse(&job, final[i], "SWW", "no", START + 1) == CLARI_ACTION_FAIL && job.useless && !job.posted,
		   "%d is final: there is no job to ask for, and no POST", final[i]);
		ok(mentions(job.error.message, "refused the request for the list of jobs with HTTP status"), "it says what");
		ok(mentions(job.error.hint, "This account's API does not seem to have it") ==
			   (final[i] == 404 || final[i] == 410),
		   "and whether there may be none");
		ok(job.error.code == (final[i] == 401 || final[i] == 403 ? CLARI_ERROR_AUTH : CLARI_ERROR_REQUEST), "as what");
	}

	job = new_read(CLARI_ENDPOINT_LIMITS);
	for (int i = 0; i < 5; i++)
	{
		ok(refuse(&job, 503, "", "", START + 1) == CLARI_ACTION_NONE && job.state == CLARI_JOB_READY,
		   "503 is tried again");
		ok(tick(&job, job.next_at) == CLARI_ACTION_DOWNLOAD, "after a while");
	}
	ok(refuse(&job, 503, "", "", START + 1) == CLARI_ACTION_FAIL && mentions(job.error.detail, "tried 6 times"),
	   "but not for ever");

	job = new_read(CLARI_ENDPOINT_LIMITS);
	ok(break_call(&job, true, true, START + 1) == CLARI_ACTION_NONE && job.state == CLARI_JOB_READY,
	   "so is what is not answered");
	ok(tick(&job, START + TIMEOUT) == CLARI_ACTION_FAIL && job.error.code == CLARI_ERROR_TIMEOUT &&
		   mentions(job.error.detail, "It has taken 900.0 s"),
	   "until export_timeout is over");

	job = new_read(CLARI_ENDPOINT_LIMITS);
	ok(refuse_file(&job, CLARI_ERROR_DATA, START + 1) == CLARI_ACTION_NONE && job.state == CLARI_JOB_READY,
	   "and what cannot be read");

	job = new_read(CLARI_ENDPOINT_FORECAST);
	ok(refuse(&job, 404, "", "", START + 1) == CLARI_ACTION_FAIL &&
		   mentions(job.error.message, "refused the read of the current quarter with HTTP status 404") &&
		   mentions(job.error.hint, "does not seem to have the Forecast API") &&
		   mentions(job.error.hint, "no forecast \"net_arr\""),
	   "where there is no Forecast API, it says so");
	job = new_read(CLARI_ENDPOINT_FORECAST);
	ok(refuse(&job, 400, "no_such_forecast_config", "", START + 1) == CLARI_ACTION_FAIL &&
		   job.error.code == CLARI_ERROR_NOT_FOUND,
	   "an unknown forecast is one by its code");
	job = new_read(CLARI_ENDPOINT_FORECAST);
	ok(refuse(&job, 400, "export_monthly_quota_reached", "quota", START + 1) == CLARI_ACTION_FAIL &&
		   job.error.code == CLARI_ERROR_REQUEST,
	   "no quota is waited for");

	job = new_read(CLARI_ENDPOINT_LIMITS);
	ok(cancel(&job, START + 1) == CLARI_ACTION_FAIL && job.error.code == CLARI_ERROR_CANCELED,
	   "to cancel it asks nothing of Clari");
}

int
main(void)
{
	set_defaults();
	test_straight_path();
	test_post_already_done();
	test_spent();
	test_poll_delay();
	test_job_states();
	test_truncation();
	test_retries();
	test_jitter();
	test_retry_after();
	test_broken_calls();
	test_server_errors();
	test_slots();
	test_limits();
	test_codes();
	test_types_not_supported();
	test_refusals();
	test_longest_reply();
	test_timeout();
	test_files();
	test_disk();
	test_list_before();
	test_unknown_outcome();
	test_post_again();
	test_looks();
	test_resumed();
	test_begun_unsure();
	test_cancel_without_a_job();
	test_cancel_while_posting();
	test_cancel_at_clari();
	test_forget();
	test_user();
	test_download_refusals();
	test_elsewhere();
	test_lost();
	test_lost_for_a_moment();
	test_replaced();
	test_senseless_events();
	test_names_and_secrets();
	test_reads();
	return done_testing();
}
