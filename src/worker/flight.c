/*
 * flight.c
 *		One claimed export in the worker's hands: see flight.h.
 *
 * Runs in the worker.  Takes no lock but within the cache's calls.
 */
#include "postgres.h"

#include "worker/flight_shared.h"

#include "base/clock.h"
#include "clari/digest.h"
#include "json/json.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/memutils.h"

static void step(ClariFlight *flight, const ClariJobEvent *event);

/* ------- telling ------- */

void
clari_flight_tell(const ClariFlight *flight)
{
	ClariProgress progress = {0};
	const ClariJob *job = &flight->job;

	progress.state = job->state;
	strlcpy(progress.job_id, job->job_id, sizeof(progress.job_id));
	progress.posted_at = flight->record.posted_at;
	progress.polls = job->polls;
	progress.retries = job->total_retries;
	if (flight->download != NULL)
	{
		progress.bytes = clari_download_bytes(flight->download);
		progress.entries = clari_download_entries(flight->download);
	}
	if (flight->transfer == NULL && job->next_at != PG_INT64_MAX)
		progress.next_try_at = GetCurrentTimestamp() + (job->next_at - clari_clock_now()) * 1000;
	clari_cache_progress(flight->order.index, &progress);
}

/* ------- the end of a flight ------- */

static void
abandon_calls(ClariFlight *flight)
{
	if (flight->transfer != NULL)
		clari_http_cancel(flight->transfer);
	flight->transfer = NULL;
	clari_download_close(flight->download);
	flight->download = NULL;
}

static void
fail_with(ClariFlight *flight, const ClariError *reason)
{
	const ClariJob *job = &flight->job;
	bool left = job->job_id[0] != '\0' && !job->forget && !job->done;
	ClariError error = *reason;

	clari_flight_add_place(&error, flight);
	clari_cache_fail(flight->order.index, left ? job->job_id : job->replaced_id, &error);
	flight->over = true;
}

static void
fail(ClariFlight *flight)
{
	const ClariJob *job = &flight->job;

	abandon_calls(flight);
	if (job->forget)
		clari_flight_restore_record(flight);
	else
		clari_flight_record_end(flight, false);
	fail_with(flight, &job->error);
}

static void
publish(ClariFlight *flight)
{
	const ClariProduct *product = &flight->product;

	clari_flight_warn(flight, &product->warning);
	clari_flight_record_end(flight, true);
	clari_cache_count(CLARI_COUNT_BYTES, product->bytes);
	clari_cache_count(CLARI_COUNT_ENTRIES, (int64) product->version.meta.rows[CLARI_ENTRIES]);
	if (flight->warning.code != CLARI_ERROR_NONE)
	{
		clari_flight_add_place(&flight->warning, flight);
		clari_flight_add_detail(&flight->warning, "Its rows are complete; only the cache suffers.");
	}
	clari_cache_publish(flight->order.index, &product->version, product->in_file, flight->taken_up, &flight->warning);
	flight->product.version.segment = DSM_HANDLE_INVALID;
	flight->over = true;
}

/* ------- calls ------- */

static void
broken(ClariFlight *flight, const ClariHttpResult *result)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_BROKEN, .retry_after = -1, .error = &result->error};

	event.status = result->status;
	event.elsewhere = result->elsewhere;
	event.never_sent = result->never_sent;
	event.may_pass = result->may_pass;
	step(flight, &event);
}

/* What stands between us and Clari may send our own key back, and what it says is shown. */
static void
read_reply(const ClariFlight *flight, const ClariHttpResult *result, ClariReply *reply)
{
	const char *key = flight->order.transport.api_key;
	char *body = MemoryContextAllocHuge(CurrentMemoryContext, result->length + 1);

	memcpy(body, result->body, result->length);
	body[result->length] = '\0';
	clari_wipe_text(body, result->length, key);
	clari_json_read_reply(body, result->length, key, reply); /* where it may have been written in escapes */
	pfree(body);
}

/* ClariHttpDone */
static void
answered(void *arg, const ClariHttpResult *result)
{
	ClariFlight *flight = arg;
	ClariReply reply;
	ClariJobEvent event = {.kind = CLARI_EVENT_REPLY,
						   .retry_after = result->retry_after,
						   .status = result->status,
						   .elsewhere = result->elsewhere};

	flight->transfer = NULL;
	if (!result->answered)
	{
		broken(flight, result);
		return;
	}
	read_reply(flight, result, &reply);
	event.reply = &reply;
	if (reply.status == CLARI_STATUS_DONE)
		flight->done_at = GetCurrentTimestamp();
	step(flight, &event);
}

static void
call(ClariFlight *flight, ClariHttpRequest *request, ClariHttpSink sink, ClariHttpDone done)
{
	ClariHttpResult result = {.never_sent = true};

	request->base_url = flight->order.request.base_url;
	request->transport = &flight->order.transport;
	/* The key goes in with the transport; a sink's argument is the flight, as done's. */
	flight->transfer = clari_http_start(flight->http, request, sink, done, flight, &result.error);
	if (flight->transfer == NULL)
		broken(flight, &result);
}

/* A segment of a URL's path, palloc'd. */
static char *
escaped(const char *segment)
{
	char *text = clari_http_escape(segment);
	char *copy;

	if (text == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	copy = pstrdup(text);
	free(text);
	return copy;
}

static char *
job_url(const ClariFlight *flight, const char *job_id, const char *rest)
{
	return psprintf("%s/export/jobs/%s%s", flight->order.request.base_url, escaped(job_id), rest);
}

/* ClariHttpDone of a list: before the POST it is kept in mind, after one it is judged. */
static void
listed(void *arg, const ClariHttpResult *result)
{
	ClariFlight *flight = arg;
	bool looking = flight->job.state == CLARI_JOB_LOOKING;
	ClariJobEvent event = {.kind = CLARI_EVENT_LISTED, .retry_after = -1};
	char job_id[sizeof(flight->job.job_id)];

	if (!result->answered || result->status < 200 || result->status > 299)
	{
		if (!looking)
			clari_takeup_note_list(&flight->order, &flight->record, NULL, 0);
		answered(arg, result);
		return;
	}
	flight->transfer = NULL;
	event.job_id = job_id;
	if (looking)
		event.verdict = clari_takeup_judge_list(&flight->order, &flight->record, result->body, result->length, job_id);
	else
		clari_takeup_note_list(&flight->order, &flight->record, result->body, result->length);
	step(flight, &event);
}

static void
list_jobs(ClariFlight *flight)
{
	ClariHttpRequest request = {.method = CLARI_HTTP_GET, .max_body = CLARI_HTTP_MAX_LIST};

	request.url = psprintf("%s/export/jobs", flight->order.request.base_url);
	call(flight, &request, NULL, listed);
}

static void
post(ClariFlight *flight)
{
	ClariRequest wanted = flight->order.request;
	ClariHttpRequest request = {.method = CLARI_HTTP_POST};
	char *body;

	if (clari_cache_drop_unwanted(flight->order.index))
	{
		flight->over = true;
		return;
	}
	if (flight->job.without_crm)
		wanted.types &= ~(uint32) CLARI_TYPES_CRM;
	body = clari_json_export_body(&wanted, flight->order.transport.schedule);
	if (body == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	request.url = psprintf("%s/export/forecast/%s", wanted.base_url, escaped(wanted.forecast));
	request.body = body;
	clari_flight_record_intent(flight, flight->in_doubt);
	clari_flight_tell(flight);              /* who asks from now on for what is not older may not take this */
	call(flight, &request, NULL, answered); /* copies the body */
	free(body);
}

static void
ask_limits(ClariFlight *flight)
{
	ClariHttpRequest request = {.method = CLARI_HTTP_GET};

	request.url = psprintf("%s/admin/limits", flight->order.request.base_url);
	call(flight, &request, NULL, answered);
}

static void
poll_job(ClariFlight *flight)
{
	ClariHttpRequest request = {.method = CLARI_HTTP_GET};

	request.url = job_url(flight, flight->job.job_id, "");
	call(flight, &request, NULL, answered);
}

static void
cancel_job(ClariFlight *flight, const char *job_id)
{
	/* Clari's OpenAPI document: PATCH with this body frees the quota. */
	ClariHttpRequest request = {.method = CLARI_HTTP_PATCH, .body = "{\"type\":\"CANCEL\"}"};

	request.url = job_url(flight, job_id, "");
	call(flight, &request, NULL, answered);
}

/* ------- the download ------- */

/* ClariHttpSink, with the flight as arg. */
static bool
sink(void *arg, const char *bytes, size_t length, ClariError *error)
{
	return clari_download_sink(((ClariFlight *) arg)->download, bytes, length, error);
}

/* It was too large for shared memory, but would not have been for the disk. */
static void
blame_disk(const ClariFlight *flight, const ClariError *error, ClariError *blamed)
{
	const ClariError *disk = &flight->warning;

	*blamed = *error;
	clari_error_detail(blamed, "clari_fdw.shared_cache_size is %d kB, and the disk cannot be used: %s. %s",
					   clari_shared_cache_size, disk->message, disk->detail);
	if (disk->hint[0] != '\0')
		clari_error_hint(blamed, "%s", disk->hint);
}

static void
refuse_download(ClariFlight *flight, const ClariError *error)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_REFUSED, .retry_after = -1, .error = error};
	ClariError blamed;

	clari_download_close(flight->download);
	flight->download = NULL;
	if (error->code == CLARI_ERROR_IO)
		clari_flight_warn(flight, error);
	if (error->code == CLARI_ERROR_LIMIT && flight->job.io_failed)
	{
		blame_disk(flight, error, &blamed);
		event.error = &blamed;
	}
	step(flight, &event);
}

/* ClariHttpDone */
static void
downloaded(void *arg, const ClariHttpResult *result)
{
	ClariFlight *flight = arg;
	ClariJobEvent event = {.kind = CLARI_EVENT_DECODED, .retry_after = -1};
	ClariError error = result->error;
	ClariRowsetMeta meta;

	if (!result->sink_refused && (!result->answered || result->status < 200 || result->status > 299))
	{
		clari_download_close(flight->download);
		flight->download = NULL;
		answered(arg, result);
		return;
	}
	flight->transfer = NULL;
	clari_flight_fill_meta(flight, &meta);
	if (result->sink_refused || !clari_download_finish(flight->download, &meta, &flight->product, &error))
	{
		if (!ShutdownRequestPending) /* else the next worker takes the job up */
			refuse_download(flight, &error);
		return;
	}
	clari_download_close(flight->download);
	flight->download = NULL;
	step(flight, &event);
}

static void
download(ClariFlight *flight)
{
	ClariHttpRequest request = {.method = CLARI_HTTP_GET, .foreign_redirects = true};
	ClariError error;

	clari_flight_record_attempt(flight);
	clari_cache_count(CLARI_COUNT_DOWNLOADS, 1);
	flight->download = clari_download_open(&flight->order, !flight->job.io_failed, &error);
	if (flight->download == NULL)
	{
		refuse_download(flight, &error);
		return;
	}
	request.foreign = flight->job.download_url[0] != '\0';
	request.url = request.foreign ? flight->job.download_url : job_url(flight, flight->job.job_id, "/results");
	call(flight, &request, sink, downloaded);
}

/* ------- carrying out ------- */

static void
carry_out(ClariFlight *flight, ClariJobAction action)
{
	switch (action)
	{
		case CLARI_ACTION_LIST:
			list_jobs(flight);
			break;
		case CLARI_ACTION_POST:
			post(flight);
			break;
		case CLARI_ACTION_LIMITS:
			ask_limits(flight);
			break;
		case CLARI_ACTION_POLL:
			poll_job(flight);
			break;
		case CLARI_ACTION_DOWNLOAD:
			download(flight);
			break;
		case CLARI_ACTION_CANCEL:
			cancel_job(flight, flight->job.job_id);
			break;
		case CLARI_ACTION_REPLACE:
			cancel_job(flight, flight->job.replaced_id);
			break;
		case CLARI_ACTION_PUBLISH:
			publish(flight);
			break;
		case CLARI_ACTION_FAIL:
			fail(flight);
			break;
		case CLARI_ACTION_NONE:
			break;
	}
}

static void
step(ClariFlight *flight, const ClariJobEvent *event)
{
	int32 retries = flight->job.total_retries;
	bool without_crm = flight->job.without_crm;
	ClariJobAction action;

	flight->in_doubt = flight->job.in_doubt;
	action = clari_job_step(&flight->job, event, clari_clock_now());
	clari_cache_count(CLARI_COUNT_RETRIES, flight->job.total_retries - retries);
	clari_flight_record_job(flight);
	if (flight->job.without_crm && !without_crm)
		clari_cache_note_crm_refused(&flight->order.account, flight->order.request.forecast);
	/* An event can overtake a call. */
	if (action != CLARI_ACTION_NONE)
		abandon_calls(flight);
	if (action != CLARI_ACTION_PUBLISH && action != CLARI_ACTION_FAIL)
		clari_flight_tell(flight);
	carry_out(flight, action);
}

/* ------- life ------- */

ClariFlight *
clari_flight_begin(const ClariOrder *order, ClariHttp *http)
{
	ClariFlight *flight = MemoryContextAllocZero(TopMemoryContext, sizeof(ClariFlight));
	ClariJob *job = &flight->job;
	ClariTakeup takeup;
	ClariError error;

	flight->order = *order;
	flight->product.version.segment = DSM_HANDLE_INVALID;
	flight->http = http;
	clari_job_begin(job, &order->request, &order->transport, (uint32) order->generation ^ (uint32) MyProcPid,
					clari_clock_now());
	takeup = clari_takeup_find(order, &flight->record, &flight->older, &error);
	strlcpy(job->replaced_id, flight->older.job_id, sizeof(job->replaced_id));
	flight->killed = flight->record.attempts;
	job->without_crm = (job->types & CLARI_TYPES_CRM) != 0 && (job->types & ~(uint32) CLARI_TYPES_CRM) != 0 &&
					   clari_cache_is_crm_refused(&order->account, order->request.forecast);
	job->adoptable = clari_takeup_is_listable(&flight->record, order);
	if (takeup == CLARI_TAKEUP_JOB)
	{
		job->without_crm = flight->record.without_crm;
		job->renewed = flight->record.renewed;
		clari_job_resume(job, flight->record.job_id, clari_clock_now());
		flight->taken_up = flight->record.settled;
		clari_cache_count(CLARI_COUNT_TAKEN_UP, 1);
	}
	else if (takeup == CLARI_TAKEUP_UNSURE)
		clari_job_resume_unsure(job, clari_clock_now());
	else if (takeup == CLARI_TAKEUP_GIVE_UP)
		fail_with(flight, &error);
	return flight;
}

bool
clari_flight_is_over(const ClariFlight *flight)
{
	return flight->over;
}

int64
clari_flight_next_at(const ClariFlight *flight)
{
	return flight->over ? 0 : flight->job.next_at;
}

void
clari_flight_tick(ClariFlight *flight)
{
	ClariJobEvent tick = {.kind = CLARI_EVENT_TICK, .retry_after = -1};

	tick.never_sent = flight->transfer != NULL && !clari_http_was_sent(flight->transfer);
	if (!flight->over && flight->job.next_at <= clari_clock_now())
		step(flight, &tick);
}

int
clari_flight_index(const ClariFlight *flight)
{
	return flight->order.index;
}

const char *
clari_flight_name(const ClariFlight *flight)
{
	const ClariRequest *request = &flight->order.request;

	return psprintf("%s %s", request->forecast, request->period[0] != '\0' ? request->period : "current");
}

void
clari_flight_cancel(ClariFlight *flight, const ClariError *error)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_CANCEL, .retry_after = -1, .error = error};

	if (!flight->over)
		step(flight, &event);
}

/* What was kept in memory, and not published. */
static void
discard_product(ClariFlight *flight)
{
	ClariVersion *version = &flight->product.version;
	dsm_handle segment = version->segment;

	version->segment = DSM_HANDLE_INVALID;
	if (segment != DSM_HANDLE_INVALID)
		clari_cache_discard_segment(segment, version->bytes);
}

void
clari_flight_quit(ClariFlight *flight)
{
	discard_product(flight);
	if (flight->over || flight->record.attempts == flight->killed)
		return;
	clari_download_close(flight->download);
	flight->download = NULL;
	flight->record.attempts = flight->killed;
	clari_flight_save_record(flight, false);
}

void
clari_flight_end(ClariFlight *flight)
{
	abandon_calls(flight);
	discard_product(flight);
	clari_wipe(flight, sizeof(*flight));
	pfree(flight);
}
