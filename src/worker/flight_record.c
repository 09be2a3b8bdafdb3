/*
 * flight_record.c
 *		What a flight leaves behind: the record of its job, the metadata of its
 *		rowset, and what is said of both.
 *
 * Runs in the worker.  Takes no lock but within the cache's calls.
 */
#include "postgres.h"

#include "worker/flight_shared.h"

#include "base/clock.h"
#include "base/report.h"

/* A disk that is full is so for each export. */
#define LOG_INTERVAL 60000 /* ms */

/* ------- what is said ------- */

void
clari_flight_add_detail(ClariError *error, const char *sentence)
{
	char detail[sizeof(error->detail)];

	memcpy(detail, error->detail, sizeof(detail));
	clari_error_detail(error, "%s%s%s", detail, detail[0] != '\0' ? " " : "", sentence);
}

void
clari_flight_add_place(ClariError *error, const ClariFlight *flight)
{
	const ClariRequest *request = &flight->order.request;

	clari_flight_add_detail(error,
							psprintf("Forecast \"%s\", %s%s%s%s.", request->forecast,
									 request->period[0] != '\0' ? "period " : "the current quarter", request->period,
									 flight->job.job_id[0] != '\0' ? ", job " : "", flight->job.job_id));
}

void
clari_flight_warn(ClariFlight *flight, const ClariError *error)
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

void
clari_flight_save_record(ClariFlight *flight, bool durable)
{
	ClariError error;

	if (!clari_takeup_save(&flight->order, &flight->record, durable, &error))
		clari_flight_warn(flight, &error);
}

void
clari_flight_record_intent(ClariFlight *flight, bool in_doubt)
{
	ClariRecord *record = &flight->record;

	flight->posted_at = GetCurrentTimestamp();
	flight->killed = 0;
	flight->taken_up = false;
	record->job_id[0] = '\0';
	record->attempts = 0;
	record->settled = false;
	record->without_crm = flight->job.without_crm;
	record->renewed = flight->job.renewed;
	if (!in_doubt || record->posted_at == 0)
		record->posted_at = flight->posted_at;
	clari_flight_save_record(flight, true);
}

/* Whom Clari takes the account's key for; and its own currency, which is that of a job that asked for none. */
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

void
clari_flight_record_job(ClariFlight *flight)
{
	ClariRecord *record = &flight->record;
	const ClariJob *job = &flight->job;

	if (job->user_id[0] != '\0' && !flight->noted)
	{
		note_account(flight);
		/* the currency may be told later */
		flight->noted = job->currency[0] != '\0' || flight->order.request.currency[0] != '\0';
	}
	if (job->job_id[0] == '\0' || strcmp(job->job_id, record->job_id) == 0)
		return;
	strlcpy(record->job_id, job->job_id, sizeof(record->job_id));
	if (!job->adopted)
		record->posted_at = flight->posted_at;
	memset(&record->known, 0, sizeof(record->known));
	clari_flight_save_record(flight, true);
	clari_cache_count(job->adopted ? CLARI_COUNT_TAKEN_UP : CLARI_COUNT_EXPORTS, 1);
}

void
clari_flight_record_attempt(ClariFlight *flight)
{
	if (flight->record.attempts == flight->killed + 1)
		return;
	flight->record.attempts = flight->killed + 1;
	clari_flight_save_record(flight, true);
}

void
clari_flight_restore_record(ClariFlight *flight)
{
	const ClariRecord *older = &flight->older;

	if (flight->job.replaced_id[0] == '\0' || older->posted_at == 0 ||
		clari_cache_is_invalidated(flight->order.index, older->posted_at))
	{
		clari_takeup_forget(&flight->order);
		return;
	}
	flight->record = *older;
	clari_flight_save_record(flight, true);
}

void
clari_flight_record_end(ClariFlight *flight, bool published)
{
	ClariRecord *record = &flight->record;

	if (record->posted_at == 0)
		return;
	if (clari_cache_is_invalidated(flight->order.index, record->posted_at))
	{
		clari_takeup_forget(&flight->order);
		return;
	}
	/* A file that is bad stays so; but one that could not be fetched, or kept, may be had yet. */
	record->settled = published || flight->job.error.code == CLARI_ERROR_DATA;
	record->attempts = published ? 0 : flight->killed;
	record->renewed &= !published;
	clari_flight_save_record(flight, !published);
}

/* ------- the rowset ------- */

void
clari_flight_fill_meta(const ClariFlight *flight, ClariRowsetMeta *meta)
{
	const ClariOrder *order = &flight->order;
	const ClariJob *job = &flight->job;

	memset(meta, 0, sizeof(*meta));
	meta->key = order->key;
	meta->generation = order->generation;
	strlcpy(meta->base_url, order->request.base_url, sizeof(meta->base_url));
	strlcpy(meta->forecast, order->request.forecast, sizeof(meta->forecast));
	strlcpy(meta->requested, order->request.period, sizeof(meta->requested));
	strlcpy(meta->job_id, job->job_id, sizeof(meta->job_id));
	meta->posted_at = flight->record.posted_at;
	/* Only for those who waited before, and not for a later life of the server. */
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
