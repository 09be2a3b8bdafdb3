/*
 * flight.c
 *		The worker's side of one claimed export: see internal.h.
 *
 * Runs in the worker.  It takes no lock itself; the functions of the cache
 * that it calls do.
 */
#include "postgres.h"

#include "worker/internal.h"

#include "base/clock.h"
#include "base/report.h"
#include "clari/digest.h"
#include "job/job.h"
#include "json/json.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/memutils.h"

/* Least time between two log entries of warn(): while the disk is full, every export would log the same. */
#define LOG_INTERVAL 60000 /* ms */

struct ClariFlight
{
	ClariOrder order; /* holds the secret: wiped when the flight ends */
	ClariHttp *http;
	ClariJob job;
	ClariRecord record;
	ClariRecord older;       /* record of the job that this flight replaces; all zero if there is none */
	ClariDoubt doubt;        /* job.doubt before the current step */
	uint32 killed;           /* how often a process has died while decoding this job's file, before this flight */
	ClariTransfer *transfer; /* in progress, or NULL */
	ClariDownload *download; /* in progress, or NULL */
	ClariProduct product;    /* result of the complete download */
	ClariError warning;      /* shown to waiting sessions: what could not be written to disk, and why */
	TimestampTz posted_at;   /* when this flight last sent a POST */
	TimestampTz done_at;     /* when Clari reported the job as DONE */
	bool of_ended_job;       /* the rows are from a job that an earlier flight had already finished */
	bool noted;              /* the user, and the currency if needed, have been stored for the account */
	bool over;
};

static void step(ClariFlight *flight, const ClariJobEvent *event);

/* ------- errors and warnings ------- */

/* Adds to the detail which forecast, period and job the error is about. */
static void
add_place(ClariError *error, const ClariFlight *flight)
{
	const ClariRequest *request = &flight->order.request;

	/* The message of a request for the account names what was requested already. */
	if (clari_endpoint_is_of_account(request->endpoint))
		return;
	clari_error_add_detail(error, "Forecast \"%s\", %s%s%s%s.", request->forecast, CLARI_PERIOD_WORDS(request->period),
						   flight->job.job_id[0] != '\0' ? ", job " : "", flight->job.job_id);
}

/*
 * Remembers that something could not be stored, for the waiting sessions,
 * which get the first such error of a flight.  The server's log gets one a
 * minute.  An error without a code is ignored.
 */
static void
warn(ClariFlight *flight, const ClariError *error)
{
	static int64 logged_at = 0;

	if (error->code == CLARI_ERROR_NONE || flight->warning.code != CLARI_ERROR_NONE)
		return;
	flight->warning = *error;
	if (logged_at != 0 && clari_clock_now() - logged_at < LOG_INTERVAL)
		return;
	logged_at = clari_clock_now();
	clari_error_report(LOG, error);
}

/* ------- the record ------- */

static void
save_record(ClariFlight *flight, bool durable)
{
	ClariError error;

	/* A request that creates no job needs no record. */
	if (!clari_job_is_read(&flight->job) && !clari_recover_save(&flight->order, &flight->record, durable, &error))
		warn(flight, &error);
}

/*
 * Records that a POST is about to be sent.  While it is in doubt whether an
 * earlier POST made a job, the record keeps the time of that POST, so that its
 * job can still be recognized.
 */
static void
record_intent(ClariFlight *flight)
{
	ClariRecord *record = &flight->record;

	flight->posted_at = GetCurrentTimestamp();
	flight->killed = 0;
	flight->of_ended_job = false;
	record->job_id[0] = '\0';
	record->attempts = 0;
	record->ended = false;
	record->without_crm = flight->job.without_crm;
	record->renewed = flight->job.renewed;
	if (flight->doubt == CLARI_DOUBT_NONE || record->posted_at == 0)
		record->posted_at = flight->posted_at;
	save_record(flight, true);
}

/*
 * Stores, for the account and in the record, the user that Clari takes the API
 * key for, and the account's own currency, which is that of a job that
 * requested none.
 */
static void
note_account(ClariFlight *flight)
{
	ClariRecord *record = &flight->record;
	const ClariJob *job = &flight->job;
	ClariAccountFacts facts = {.user_id = ""};

	strlcpy(facts.user_id, job->user_id, sizeof(facts.user_id));
	strlcpy(facts.organization, job->organization, sizeof(facts.organization));
	if (flight->order.request.currency[0] == '\0')
		strlcpy(facts.currency, job->currency, sizeof(facts.currency));
	clari_cache_note_account(&flight->order.account, &facts);
	clari_cache_account(&flight->order.account, &facts);
	strlcpy(record->user_id, facts.user_id, sizeof(record->user_id));
	strlcpy(record->currency, facts.currency, sizeof(record->currency));
}

/* Stores the account's user, and records the job's id, as soon as they are known.  Any step may bring them. */
static void
record_job(ClariFlight *flight)
{
	ClariRecord *record = &flight->record;
	const ClariJob *job = &flight->job;

	if (job->user_id[0] != '\0' && !flight->noted)
	{
		note_account(flight);
		/* If the currency is still missing, a later answer may contain it. */
		flight->noted = job->currency[0] != '\0' || flight->order.request.currency[0] != '\0';
	}
	if (job->job_id[0] == '\0' || strcmp(job->job_id, record->job_id) == 0)
		return;
	strlcpy(record->job_id, job->job_id, sizeof(record->job_id));
	if (job->origin != CLARI_ORIGIN_ADOPTED)
		record->posted_at = flight->posted_at;
	memset(&record->known, 0, sizeof(record->known));
	save_record(flight, true);
	clari_cache_count(job->origin == CLARI_ORIGIN_ADOPTED ? CLARI_COUNT_TAKEN_UP : CLARI_COUNT_EXPORTS, 1);
}

/*
 * Records that decoding begins.  If the process dies meanwhile, the next
 * flight sees that this attempt has not ended.
 */
static void
record_attempt(ClariFlight *flight)
{
	if (flight->record.attempts == flight->killed + 1)
		return;
	flight->record.attempts = flight->killed + 1;
	save_record(flight, true);
}

/* Our job is of no use: removes its record, or puts back the record of the older job that ours was to replace. */
static void
restore_record(ClariFlight *flight)
{
	const ClariRecord *older = &flight->older;

	if (clari_job_is_read(&flight->job))
		return;
	if (flight->job.replaced_id[0] == '\0' || older->posted_at == 0 ||
		clari_cache_is_invalidated(flight->order.index, older->posted_at))
	{
		clari_recover_remove(&flight->order);
		return;
	}
	flight->record = *older;
	save_record(flight, true);
}

/* Records that the flight has ended in an orderly way, and whether its job may be taken up again. */
static void
record_end(ClariFlight *flight, bool published)
{
	ClariRecord *record = &flight->record;

	if (record->posted_at == 0 || clari_job_is_read(&flight->job))
		return;
	if (clari_cache_is_invalidated(flight->order.index, record->posted_at))
	{
		clari_recover_remove(&flight->order);
		return;
	}
	/* A bad file remains bad, but a file that could not be downloaded or stored may be had at the next attempt. */
	record->ended = published || flight->job.error.code == CLARI_ERROR_DATA;
	record->attempts = published ? 0 : flight->killed;
	record->renewed &= !published;
	save_record(flight, !published);
}

/* ------- the rowset ------- */

static void
fill_meta(const ClariFlight *flight, ClariRowsetMeta *meta)
{
	const ClariOrder *order = &flight->order;
	const ClariJob *job = &flight->job;

	memset(meta, 0, sizeof(*meta));
	meta->key = order->key;
	meta->account = order->account;
	meta->generation = order->generation;
	strlcpy(meta->base_url, order->request.base_url, sizeof(meta->base_url));
	strlcpy(meta->forecast, order->request.forecast, sizeof(meta->forecast));
	meta->endpoint = order->request.endpoint;
	strlcpy(meta->requested, order->request.period, sizeof(meta->requested));
	strlcpy(meta->job_id, job->job_id, sizeof(meta->job_id));
	meta->posted_at = flight->record.posted_at;
	/* An invalidated export is only for the sessions that wait for it.  After a restart it must not count as fresh. */
	if (clari_cache_is_invalidated(order->index, meta->posted_at))
		meta->posted_at = 0;
	meta->cache_ttl = order->cache_ttl;
	meta->closed_period_ttl = order->closed_period_ttl;
	/* Clari's endTime is epoch milliseconds. */
	if (job->end_time > 0)
		meta->exported_at =
			(job->end_time - INT64CONST(1000) * SECS_PER_DAY * (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)) * 1000;
	else
		meta->exported_at = flight->done_at;
	if (job->truncated)
		meta->flags |= CLARI_ROWSET_TRUNCATED;
	if (job->without_crm)
		meta->flags |= CLARI_ROWSET_WITHOUT_CRM;
}

/* ------- progress ------- */

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

/* Describes in UTF-8, for the server's log, why the event changed the job's state. */
static const char *
reason(const ClariJobEvent *event)
{
	switch (event->kind)
	{
		case CLARI_EVENT_TICK:
			return "it is time";
		case CLARI_EVENT_REPLY:
			return psprintf("answered with HTTP status %d", event->status);
		case CLARI_EVENT_LISTED:
			return "the list of jobs came";
		case CLARI_EVENT_DECODED:
			return "the file is good";
		case CLARI_EVENT_BROKEN:
		case CLARI_EVENT_REFUSED:
		case CLARI_EVENT_CANCEL:
			return event->error->message;
	}
	return "unknown";
}

static void
log_transition(const ClariFlight *flight, ClariJobState before, const ClariJobEvent *event)
{
	ClariJobState after = flight->job.state;

	if (after != before)
		ereport(DEBUG1, (errmsg_internal("export %s: from %s to %s (%s)", clari_report_text(clari_flight_name(flight)),
										 clari_job_state_name(before), clari_job_state_name(after),
										 clari_report_text(reason(event)))));
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
	bool left = job->job_id[0] != '\0' && !job->useless && !job->done;
	ClariError error = *reason;

	add_place(&error, flight);
	clari_cache_fail(flight->order.index, left ? job->job_id : job->replaced_id, &error);
	flight->over = true;
}

static void
fail(ClariFlight *flight)
{
	const ClariJob *job = &flight->job;

	abandon_calls(flight);
	if (job->useless)
		restore_record(flight);
	else
		record_end(flight, false);
	fail_with(flight, &job->error);
}

static void
publish(ClariFlight *flight)
{
	const ClariProduct *product = &flight->product;

	warn(flight, &product->warning);
	record_end(flight, true);
	clari_cache_count(CLARI_COUNT_BYTES, product->bytes);
	clari_cache_count(CLARI_COUNT_ENTRIES, (int64) product->version.meta.rows[CLARI_ENTRIES]);
	if (flight->warning.code != CLARI_ERROR_NONE)
	{
		add_place(&flight->warning, flight);
		clari_error_add_detail(&flight->warning, "Its rows are complete; only caching failed.");
	}
	clari_cache_publish(flight->order.index, &product->version, product->in_file, flight->of_ended_job,
						&flight->warning);
	flight->product.version.segment = DSM_HANDLE_INVALID;
	flight->over = true;
}

/* ------- calls ------- */

static void
not_answered(ClariFlight *flight, const ClariHttpResult *result)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_BROKEN, .retry_after = -1, .error = &result->error};

	event.status = result->status;
	event.elsewhere = result->elsewhere;
	event.never_sent = result->never_sent;
	event.may_pass = result->may_pass;
	step(flight, &event);
}

/*
 * Parses a small reply.  A proxy or another server between us and Clari may
 * echo our API key, and users see what the reply says, so the key is
 * overwritten first.
 */
static void
read_reply(const ClariFlight *flight, const ClariHttpResult *result, ClariReply *reply)
{
	const char *key = flight->order.transport.api_key;
	char *body = MemoryContextAllocHuge(CurrentMemoryContext, result->length + 1);

	memcpy(body, result->body, result->length);
	body[result->length] = '\0';
	clari_wipe_text(body, result->length, key);
	clari_json_read_reply(body, result->length, key,
						  reply); /* overwrites the key again where it is written in escapes */
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
		not_answered(flight, result);
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
	/* The transport contains the API key; the flight is the argument of both callbacks. */
	flight->transfer = clari_http_start(flight->http, request, sink, done, flight, &result.error);
	if (flight->transfer == NULL)
		not_answered(flight, &result);
}

/* Escapes one segment of a URL's path.  The result is palloc'd. */
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

/*
 * ClariHttpDone of a list of jobs.  The list before the POST is stored in the
 * record, the one after it is searched for our job.
 */
static void
listed(void *arg, const ClariHttpResult *result)
{
	ClariFlight *flight = arg;
	bool looking = flight->job.state == CLARI_JOB_LOOKING;
	ClariJobEvent event = {.kind = CLARI_EVENT_LISTED, .retry_after = -1};
	char job_id[sizeof(flight->job.job_id)];

	if (!result->answered || !clari_is_success(result->status))
	{
		if (!looking)
			clari_recover_note_list(&flight->order, &flight->record, NULL, 0);
		answered(arg, result);
		return;
	}
	flight->transfer = NULL;
	event.job_id = job_id;
	if (looking)
		event.verdict = clari_recover_judge_list(&flight->order, &flight->record, result->body, result->length, job_id);
	else
		clari_recover_note_list(&flight->order, &flight->record, result->body, result->length);
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

	if (clari_cache_end_unwanted(flight->order.index))
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
	record_intent(flight);
	clari_flight_tell(flight);              /* requests for newer rows that come later must not join this flight */
	call(flight, &request, NULL, answered); /* the body is copied */
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

/*
 * Explains that the rowset is too large for shared memory, and that the disk,
 * for which it is not too large, cannot be used.
 */
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
		warn(flight, error);
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

	if (!result->sink_refused && (!result->answered || !clari_is_success(result->status)))
	{
		clari_download_close(flight->download);
		flight->download = NULL;
		answered(arg, result);
		return;
	}
	flight->transfer = NULL;
	fill_meta(flight, &meta);
	if (result->sink_refused || !clari_download_finish(flight->download, result, &meta, &flight->product, &error))
	{
		if (!ShutdownRequestPending) /* at shutdown the job is left to the next worker */
			refuse_download(flight, &error);
		return;
	}
	clari_download_close(flight->download);
	flight->download = NULL;
	step(flight, &event);
}

static void
add_parameter(StringInfo url, const char *name, const char *value)
{
	if (value[0] != '\0')
		appendStringInfo(url, "%c%s=%s", strchr(url->data, '?') == NULL ? '?' : '&', name, escaped(value));
}

/* The URL of a GET from the Forecast API, whose query contains what the body of an export's POST contains. */
static const char *
forecast_url(const ClariRequest *request)
{
	StringInfoData url;

	initStringInfo(&url);
	appendStringInfo(&url, "%s/forecast/%s", request->base_url, escaped(request->forecast));
	add_parameter(&url, "timePeriod", request->period);
	for (int i = 0; i < CLARI_TYPES_COUNT; i++)
		if (request->types & (UINT32_C(1) << i))
			add_parameter(&url, "typesToExport", clari_type_names[i]);
	add_parameter(&url, "currency", request->currency);
	add_parameter(&url, "scopeId", request->scope_id);
	return url.data;
}

/*
 * The URL of a request that creates no job.  Its rows are as old as this
 * request, which is therefore announced as POSTed now: requests for newer rows
 * that come later must not join this flight.
 */
static const char *
read_url(ClariFlight *flight)
{
	const ClariRequest *request = &flight->order.request;

	flight->record.posted_at = flight->posted_at = flight->done_at = GetCurrentTimestamp();
	clari_flight_tell(flight);
	if (request->endpoint == CLARI_ENDPOINT_FORECAST)
		return forecast_url(request);
	return psprintf("%s/%s", request->base_url,
					request->endpoint == CLARI_ENDPOINT_LIMITS ? "admin/limits" : "export/jobs");
}

/* Sets the URL of the file, and which hosts the download may lead to. */
static void
find_file(const ClariFlight *flight, ClariHttpRequest *request)
{
	request->foreign_redirects = true;
	/* A cut CSV file looks complete, and libcurl does not notice where compressed data was cut. */
	request->plain = flight->order.request.format == CLARI_FORMAT_CSV;
	request->foreign = flight->job.download_url[0] != '\0';
	request->url = request->foreign ? flight->job.download_url : job_url(flight, flight->job.job_id, "/results");
}

static void
download(ClariFlight *flight)
{
	ClariHttpRequest request = {.method = CLARI_HTTP_GET};
	ClariError error;

	record_attempt(flight);
	clari_cache_count(CLARI_COUNT_DOWNLOADS, 1);
	flight->download = clari_download_open(&flight->order, !flight->job.io_failed, &error);
	if (flight->download == NULL)
	{
		refuse_download(flight, &error);
		return;
	}
	if (clari_job_is_read(&flight->job))
		request.url = read_url(flight);
	else
		find_file(flight, &request);
	call(flight, &request, sink, downloaded);
}

/* ------- steps ------- */

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
	ClariJobState before = flight->job.state;
	ClariJobAction action;

	flight->doubt = flight->job.doubt;
	action = clari_job_step(&flight->job, event, clari_clock_now());
	clari_cache_count(CLARI_COUNT_RETRIES, flight->job.total_retries - retries);
	record_job(flight);
	if (flight->job.without_crm && !without_crm)
		clari_cache_note_crm_refused(&flight->order.account, flight->order.request.forecast);
	/* An event, such as a time-out, can precede the answer to a call in progress, which is then canceled. */
	if (action != CLARI_ACTION_NONE)
		abandon_calls(flight);
	if (action != CLARI_ACTION_PUBLISH && action != CLARI_ACTION_FAIL)
		clari_flight_tell(flight);
	log_transition(flight, before, event);
	carry_out(flight, action);
}

/* ------- beginning and ending ------- */

/*
 * A CSV file shows its days but not its quarter.  Without the fiscal calendar
 * it would be of no use, so it is not exported, which would use quota.
 */
static bool
can_tell_quarter(const ClariOrder *order, ClariError *error)
{
	const char *period = order->request.period;
	ClariCalendar calendar;
	ClariQuarter quarter;
	ClariPeriod asked;

	if (order->request.format != CLARI_FORMAT_CSV)
		return true;
	clari_cache_calendar(&order->account, &calendar);
	if (clari_period_parse(period, &asked) ? clari_calendar_quarter(&calendar, asked, &quarter) : calendar.count > 0)
		return true;
	(void) clari_calendar_unknown(period, error);
	error->code = CLARI_ERROR_CALENDAR;
	return false;
}

ClariFlight *
clari_flight_begin(const ClariOrder *order, ClariHttp *http)
{
	ClariFlight *flight = MemoryContextAllocZero(TopMemoryContext, sizeof(ClariFlight));
	ClariJob *job = &flight->job;
	ClariRecovery recovery;
	ClariError error;

	flight->order = *order;
	flight->product.version.segment = DSM_HANDLE_INVALID;
	flight->http = http;
	clari_job_begin(job, &order->request, &order->transport, (uint32) order->generation ^ (uint32) MyProcPid,
					clari_clock_now());
	if (clari_job_is_read(job))
		return flight;
	recovery = clari_recover_job(order, &flight->record, &flight->older, &error);
	strlcpy(job->replaced_id, flight->older.job_id, sizeof(job->replaced_id));
	flight->killed = flight->record.attempts;
	job->without_crm = (job->types & CLARI_TYPES_CRM) != 0 && (job->types & ~(uint32) CLARI_TYPES_CRM) != 0 &&
					   clari_cache_is_crm_refused(&order->account, order->request.forecast);
	job->adoptable = clari_recover_is_listable(order, &flight->record);
	if (recovery == CLARI_RECOVERY_JOB)
	{
		job->without_crm = flight->record.without_crm;
		job->renewed = flight->record.renewed;
		clari_job_resume(job, flight->record.job_id, clari_clock_now());
		flight->of_ended_job = flight->record.ended;
		clari_cache_count(CLARI_COUNT_TAKEN_UP, 1);
	}
	else if (recovery == CLARI_RECOVERY_UNSURE)
		clari_job_begin_unsure(job, clari_clock_now());
	else if (recovery == CLARI_RECOVERY_GIVE_UP || !can_tell_quarter(order, &error))
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

	if (clari_endpoint_is_of_account(request->endpoint))
		return pstrdup(request->forecast);
	return psprintf("%s %s", request->forecast, clari_period_or_current(request->period));
}

void
clari_flight_cancel(ClariFlight *flight, const ClariError *error)
{
	ClariJobEvent event = {.kind = CLARI_EVENT_CANCEL, .retry_after = -1, .error = error};

	if (!flight->over)
		step(flight, &event);
}

/* Frees the segment of a product that was not published. */
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
	save_record(flight, false);
}

void
clari_flight_end(ClariFlight *flight)
{
	abandon_calls(flight);
	discard_product(flight);
	clari_wipe(flight, sizeof(*flight));
	pfree(flight);
}
