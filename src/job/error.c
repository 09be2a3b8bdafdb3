/*
 * error.c
 *		The errors of an export's failed steps: see internal.h.
 *
 * Runs in the worker and in unit tests.  Takes no lock, allocates nothing.
 * Text that is too long for a field of the error is cut at a character's end.
 */
#include "job/internal.h"

#include "clari/quota.h"

#include <stdio.h>
#include <string.h>

/* Adds what Clari said to the detail, as a sentence. */
static void
add_reply(ClariError *error, const ClariReply *reply)
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
		clari_error_add_detail(error, "Clari's answer has %s.", facts);
	else if (reply->first_line[0] != '\0')
		clari_error_add_detail(error, "The answer begins with \"%s\".", reply->first_line);
	else
		clari_error_add_detail(error, "The answer is empty.");
}

/* Does the error say anything? */
static bool
is_set(const ClariError *error)
{
	return error != NULL && error->code != CLARI_ERROR_NONE;
}

/* ---- calls ---- */

void
clari_job_error_broken(ClariJob *job, const ClariError *error)
{
	if (is_set(error))
		job->error = *error;
	else
		clari_error_set(&job->error, CLARI_ERROR_CONNECTION, "the connection to Clari broke");
}

void
clari_job_error_refused(ClariJob *job, int status, const ClariReply *reply)
{
	if (status == 407)
	{
		clari_error_set(&job->error, CLARI_ERROR_CONNECTION, "the proxy refused %s with HTTP status %d", job->subject,
						status);
		clari_error_hint(&job->error,
						 "Option \"proxy\" accepts no credentials. Specify a proxy that does not require any.");
		return;
	}
	clari_error_set(&job->error, CLARI_ERROR_REQUEST, "Clari %s %s with HTTP status %d",
					status >= 500 ? "answered" : "refused", job->subject, status);
	add_reply(&job->error, reply);
	if (status == 429)
		clari_error_hint(&job->error,
						 "Clari limits the number of requests per second of all clients together. Lower option "
						 "\"max_concurrent_exports\", or raise \"poll_interval\" or \"max_retries\".");
	else if (status >= 500)
		clari_error_hint(&job->error,
						 "Clari, or a proxy in front of it, is not working. Try again later, or raise option "
						 "\"max_retries\".");
}

void
clari_job_error_unauthorized(ClariJob *job, int status, bool no_optin)
{
	job->error.code = CLARI_ERROR_AUTH;
	if (no_optin)
		clari_error_hint(&job->error, "The API key is valid, but its user may not see forecast \"%s\" at Clari.",
						 job->forecast);
	else if (status == 403)
		clari_error_hint(&job->error, "The API key is valid, but its user may not do this at Clari; or something "
									  "in between, such as a proxy, refuses it.");
	else
		clari_error_hint(&job->error,
						 "Check option \"api_key\" of the user mapping. A key that was revoked, or whose user was "
						 "deactivated, is refused in every request.");
}

void
clari_job_error_no_forecast(ClariJob *job, int status, const ClariReply *reply)
{
	clari_error_set(&job->error, CLARI_ERROR_NOT_FOUND, "Clari knows no forecast \"%s\"", job->forecast);
	clari_error_add_detail(&job->error, "It answered with HTTP status %d.", status);
	add_reply(&job->error, reply);
	clari_error_hint(&job->error, "Check option \"forecast\" of the foreign table, and \"base_url\" of the server.");
}

void
clari_job_error_quota(ClariJob *job, const ClariReply *limits)
{
	char text[CLARI_QUOTA_TEXT_SIZE];

	job->error.code = CLARI_ERROR_QUOTA;
	if (limits->monthly_quota > 0)
	{
		clari_quota_text(limits->available_monthly, limits->monthly_quota, text);
		clari_error_add_detail(&job->error, "%s", text);
	}
	clari_error_hint(&job->error,
					 "Clari counts the exports of the last 30 days. Raise option \"cache_ttl\" to use less "
					 "of the quota, wait until older exports no longer count, or ask Clari for a larger "
					 "quota.");
}

void
clari_job_error_no_endpoint(ClariJob *job)
{
	if (job->endpoint == CLARI_ENDPOINT_FORECAST)
		clari_error_hint(&job->error,
						 "This account does not seem to have the Forecast API: set option \"endpoint\" of the "
						 "foreign table to export. Or it has no forecast \"%s\".",
						 job->forecast);
	else
		clari_error_hint(&job->error,
						 "This account's API does not seem to have it. If it should, check option \"base_url\" of "
						 "the server.");
}

void
clari_job_error_either_limit(ClariJob *job)
{
	clari_error_add_detail(&job->error,
						   "Either the limit of concurrent exports or the 30-day quota is reached; /admin/limits, "
						   "which shows which of them, could not be read.");
}

void
clari_job_error_add_types(ClariJob *job)
{
	if ((job->types & CLARI_TYPES_CRM) == 0 || job->without_crm)
		clari_error_hint(&job->error, "Check option \"types\" of the foreign table.");
	else
		clari_error_hint(&job->error,
						 "Name other types in option \"types\" of the foreign table. Clari's Forecast API has "
						 "crm_total and crm_closed, if the account has that API: see option \"endpoint\".");
}

void
clari_job_error_link(ClariJob *job, int status, const ClariReply *reply)
{
	clari_error_set(&job->error, CLARI_ERROR_REQUEST, "the host of the file refused %s with HTTP status %d",
					job->subject, status);
	add_reply(&job->error, reply);
	clari_error_hint(&job->error, "Clari's link or redirect leads to that host, and such links expire. Try again.");
}

void
clari_job_error_lost(ClariJob *job, int status, const ClariReply *reply)
{
	clari_error_set(&job->error, CLARI_ERROR_JOB, "Clari no longer knows the job of %s", job->subject);
	clari_error_add_detail(&job->error, "Clari answered with HTTP status %d.", status);
	add_reply(&job->error, reply);
	clari_error_hint(&job->error,
					 "Run the query again to start a new export. Clari keeps finished jobs for about 30 days.");
}

/* ---- answers ---- */

void
clari_job_error_no_job(ClariJob *job, int status, const ClariReply *reply)
{
	clari_error_set(&job->error, CLARI_ERROR_REPLY, "Clari's answer to %s names no job", job->subject);
	clari_error_add_detail(&job->error, "It has HTTP status %d.", status);
	add_reply(&job->error, reply);
	clari_error_hint(&job->error,
					 "Something in between may have answered in Clari's place: check options \"base_url\" and "
					 "\"proxy\" of the server.");
}

void
clari_job_error_no_state(ClariJob *job, int status, const ClariReply *reply)
{
	clari_error_set(&job->error, CLARI_ERROR_REPLY, "Clari's answer about %s cannot be understood", job->subject);
	clari_error_add_detail(&job->error, "It has HTTP status %d.", status);
	add_reply(&job->error, reply);
}

void
clari_job_error_truncated(ClariJob *job, const ClariReply *reply)
{
	clari_error_set(&job->error, CLARI_ERROR_LIMIT, "Clari truncated %s", job->subject);
	clari_error_detail(&job->error, "The job has %s.",
					   reply->rows_truncated && reply->cells_truncated ? "rowsTruncated and cellsTruncated"
					   : reply->rows_truncated                         ? "rowsTruncated"
																	   : "cellsTruncated");
	clari_error_hint(&job->error, "Export less with a narrower option \"scope_id\" or fewer \"types\", or set option "
								  "\"allow_truncated\" to accept truncated exports.");
}

static const char *const state_names[] = {
	[CLARI_JOB_NEW] = "new",
	[CLARI_JOB_BLOCKED] = "waiting for a slot",
	[CLARI_JOB_ASKING] = "waiting for a slot",
	[CLARI_JOB_LISTING] = "listing",
	[CLARI_JOB_POSTING] = "posting",
	[CLARI_JOB_UNSURE] = "looking",
	[CLARI_JOB_LOOKING] = "looking",
	[CLARI_JOB_REPLACING] = "waiting",
	[CLARI_JOB_WAITING] = "waiting",
	[CLARI_JOB_POLLING] = "polling",
	[CLARI_JOB_READY] = "ready",
	[CLARI_JOB_DOWNLOADING] = "downloading",
	[CLARI_JOB_CANCELING] = "canceling",
	[CLARI_JOB_DONE] = "done",
	[CLARI_JOB_FAILED] = "failed",
};

const char *
clari_job_state_name(ClariJobState state)
{
	return state <= CLARI_JOB_FAILED ? state_names[state] : "unknown";
}

/* Returns the job's state as last reported by Clari, or else our own. */
static const char *
last_state(const ClariJob *job)
{
	return job->status_text[0] != '\0' ? job->status_text : clari_job_state_name(job->state);
}

void
clari_job_error_ended(ClariJob *job, const ClariReply *reply)
{
	clari_error_set(&job->error, CLARI_ERROR_JOB, "%s ended in state %s at Clari", job->subject, last_state(job));
	if (reply->code[0] != '\0' || reply->message[0] != '\0')
		add_reply(&job->error, reply);
	if (reply->status == CLARI_STATUS_FAILED)
		clari_error_hint(&job->error,
						 "Run the query again to start a new export. With option \"schedule\" Clari itself tries "
						 "again. Clari's support can look up the job.");
	else
		clari_error_hint(&job->error, "Somebody canceled it at Clari. Run the query again to start a new export.");
}

void
clari_job_error_file(ClariJob *job, const ClariError *error)
{
	if (is_set(error))
		job->error = *error;
	else
		clari_error_set(&job->error, CLARI_ERROR_DATA, "the file of %s is broken", job->subject);
}

void
clari_job_error_earlier(ClariJob *job)
{
	clari_error_set(&job->error, CLARI_ERROR_CONNECTION, "the outcome of an earlier request for %s is not known",
					job->subject);
}

/* ---- time-outs and retries ---- */

/* Adds why the last attempt of the current step failed. */
static void
add_last(ClariError *error, const ClariError *last)
{
	if (!is_set(last))
		return;
	clari_error_add_detail(error, "The last attempt failed: %s.", last->message);
	clari_error_add_detail(error, "%s", last->detail);
}

void
clari_job_error_timeout(ClariJob *job, int64_t taken, int64_t wait)
{
	ClariError last = job->error;

	clari_error_set(&job->error, CLARI_ERROR_TIMEOUT, "%s did not finish in time", job->subject);
	if (job->job_id[0] != '\0')
		clari_error_add_detail(&job->error, "The job has taken %.1f s and was last seen in state %s.",
							   (double) taken / 1000, last_state(job));
	else if (clari_job_is_read(job))
		clari_error_add_detail(&job->error, "It has taken %.1f s.", (double) taken / 1000);
	else
		clari_error_add_detail(&job->error, "Clari has not accepted it within %.1f s.", (double) taken / 1000);
	if (wait > 0)
		clari_error_add_detail(&job->error, "Clari asks to wait %.1f s more.", (double) wait / 1000);
	/* This is more important than the last error's detail, which may be long, so it comes first. */
	clari_job_error_add_doubt(job);
	add_last(&job->error, &last);
	if (job->limit == CLARI_LIMIT_EITHER && job->job_id[0] == '\0')
		clari_error_hint(&job->error,
						 "If it is the limit of concurrent exports, raise option \"export_timeout\", which is "
						 "%.1f s. If it is the quota, wait until older exports no longer count.",
						 (double) job->export_timeout / 1000);
	else
		clari_error_hint(&job->error, "Raise option \"export_timeout\", which is %.1f s.",
						 (double) job->export_timeout / 1000);
}

void
clari_job_error_add_tries(ClariJob *job)
{
	if (job->retries > 0)
		clari_error_add_detail(&job->error, "It was tried %d times.", (int) job->retries + 1);
	if (job->error.code == CLARI_ERROR_CONNECTION && job->error.hint[0] == '\0')
		clari_error_hint(&job->error, "Check options \"base_url\" and \"proxy\" of the server.");
}

void
clari_job_error_add_doubt(ClariJob *job)
{
	if (job->doubt != CLARI_DOUBT_NONE && job->job_id[0] == '\0')
		clari_error_add_detail(&job->error, "Clari may have started an export nevertheless.");
}

/* ---- canceling ---- */

void
clari_job_error_canceled(const ClariJob *job, const ClariError *error, ClariError *canceled)
{
	if (is_set(error))
		*canceled = *error;
	else
		clari_error_set(canceled, CLARI_ERROR_CANCELED, "%s was canceled", job->subject);
	add_last(canceled, &job->error);
}

void
clari_job_error_add_uncanceled(ClariJob *job, int status, const ClariReply *reply, const ClariError *broken)
{
	job->error.code = CLARI_ERROR_UNCANCELED;
	if (reply != NULL && reply->successful == CLARI_FLAG_NO)
		clari_error_add_detail(&job->error,
							   "Clari did not cancel the job: it reported that the request was not successful.");
	else if (reply != NULL)
	{
		clari_error_add_detail(&job->error, "Clari did not cancel the job: it answered with HTTP status %d.", status);
		add_reply(&job->error, reply);
	}
	else
		clari_error_add_detail(&job->error, "Clari did not cancel the job: %s.",
							   is_set(broken) ? broken->message : "it has not answered");
	clari_error_hint(&job->error, "The job continues at Clari, and the next query takes it up.");
}
