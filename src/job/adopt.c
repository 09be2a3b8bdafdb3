/*
 * adopt.c
 *		Finds the listed job that a POST of unknown outcome has made: see
 *		adopt.h.
 *
 * Runs in the worker, in unit tests and in the fuzzer of replies.  In case of
 * doubt, the answer is "not ours": one job too many costs one export of the
 * quota, whereas a job of somebody else would give wrong amounts.
 */
#include "job/adopt.h"

#include <string.h>

/*
 * FNV-1a, 64 bits.  This cannot fail, and nobody can choose the ids so that
 * they collide, because Clari makes them.  If two collide nevertheless (among
 * 256 known ids, once in 2^56 jobs), a new job is taken for a known one, and
 * is not adopted.
 */
static uint64_t
hash_id(const char *job_id)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325);

	for (; *job_id != '\0'; job_id++)
		hash = (hash ^ (unsigned char) *job_id) * UINT64_C(0x100000001B3);
	return hash;
}

/* ------- file names ------- */

/* Does the text at *at begin with this one?  If so, moves *at behind it. */
static bool
skip_text(const char **at, const char *text)
{
	size_t length = strlen(text);

	if (strncmp(*at, text, length) != 0)
		return false;
	*at += length;
	return true;
}

static int
skip_digits(const char **at)
{
	int count = 0;

	for (; **at >= '0' && **at <= '9'; (*at)++)
		count++;
	return count;
}

/*
 * Is it "clari_export_<forecast>_<period><n>_<yyyymmdd>_<hhmmss>.json", or
 * .csv?  Compares every character, so that "net" is not taken for "net_arr",
 * and only Clari's own number can follow the quarter's digit.
 */
static bool
names_export(const char *file_name, const char *forecast, const char *period, ClariFormat format)
{
	const char *at = file_name;

	if (!skip_text(&at, "clari_export_") || !skip_text(&at, forecast) || !skip_text(&at, "_") ||
		!skip_text(&at, period))
		return false;
	skip_digits(&at);
	return skip_text(&at, "_") && skip_digits(&at) == 8 && skip_text(&at, "_") && skip_digits(&at) == 6 &&
		   skip_text(&at, ".") && strcmp(at, clari_format_names[format]) == 0;
}

bool
clari_adopt_is_possible(const ClariRequest *request, const char *period)
{
	ClariPeriod quarter;

	return request->types == CLARI_TYPES_ALL && request->scope_id[0] == '\0' && !request->include_historical &&
		   request->forecast[0] != '\0' && clari_period_parse(period, &quarter) &&
		   (request->period[0] == '\0' || strcmp(request->period, period) == 0);
}

/* ------- going through a list ------- */

void
clari_adopt_begin(ClariAdoption *adoption, const ClariSought *sought)
{
	memset(adoption, 0, sizeof(*adoption));
	adoption->sought = *sought;
	adoption->possible = clari_adopt_is_possible(sought->request, sought->period);
	adoption->listed.complete = adoption->possible;
}

/* Remembers a listed job, whoever made it, because before the POST our user may not be known. */
static void
remember(ClariKnownJobs *listed, const char *job_id)
{
	if (listed->count < CLARI_KNOWN_MAX)
		listed->ids[listed->count++] = hash_id(job_id);
	else
		listed->complete = false;
}

static bool
is_known(const ClariKnownJobs *known, const char *job_id)
{
	uint64_t hash = hash_id(job_id);

	for (uint32_t i = 0; i < known->count && i < CLARI_KNOWN_MAX; i++)
		if (known->ids[i] == hash)
			return true;
	return false;
}

/*
 * Do the job's user or currency show that it is not ours?  A job that has no
 * file name yet may lack these too; with a file name, the currency must be the
 * same.  An export that requested no currency is listed with the account's
 * own, which earlier jobs have shown.  A job that requested this currency
 * explicitly has the same amounts, so it need not be distinguished.
 */
static bool
is_ruled_out(const ClariSought *sought, const ClariListedJob *job)
{
	const char *currency = sought->request->currency[0] != '\0' ? sought->request->currency : sought->currency;
	bool named = job->file_name[0] != '\0';

	if (sought->user_id[0] != '\0' && job->user_id[0] != '\0' && strcmp(sought->user_id, job->user_id) != 0)
		return true;
	return (named || job->currency[0] != '\0') && strcmp(currency, job->currency) != 0;
}

bool
clari_adopt_add(void *arg, const ClariListedJob *job)
{
	ClariAdoption *adoption = arg;
	const ClariSought *sought = &adoption->sought;
	bool named = job->file_name[0] != '\0';

	if (!adoption->possible ||
		(named && !names_export(job->file_name, sought->request->forecast, sought->period, sought->request->format)))
		return true;
	if (sought->known == NULL)
	{
		remember(&adoption->listed, job->job_id);
		return true;
	}
	if (is_known(sought->known, job->job_id) || is_ruled_out(sought, job) ||
		(sought->is_claimed != NULL && sought->is_claimed(sought->arg, job->job_id)))
		return true;
	if (!named)
		adoption->nameless = true;
	else if (adoption->candidates == 0)
	{
		adoption->candidate = *job;
		adoption->candidates = 1;
	}
	else if (strcmp(adoption->candidate.job_id, job->job_id) != 0)
		adoption->candidates = 2;
	return true;
}

void
clari_adopt_known(const ClariAdoption *adoption, ClariKnownJobs *known)
{
	*known = adoption->listed;
}

/* ------- the verdict ------- */

/*
 * Is the only candidate a job of our user?  This cannot be known before a job
 * of ours has been seen, or if the job names no user, because it will not name
 * one later.
 */
static bool
is_of_our_user(const ClariAdoption *adoption)
{
	return adoption->sought.user_id[0] != '\0' && adoption->candidate.user_id[0] != '\0';
}

/* Has the job ended without rows?  It counts as a candidate like any other, but there is nothing to download. */
static bool
ended_badly(ClariJobStatus status)
{
	return status == CLARI_STATUS_FAILED || status == CLARI_STATUS_CANCELED || status == CLARI_STATUS_ABORTED;
}

ClariVerdict
clari_adopt_verdict(const ClariAdoption *adoption, char job_id[CLARI_ID_SIZE])
{
	const ClariKnownJobs *known = adoption->sought.known;

	job_id[0] = '\0';
	if (!adoption->possible || known == NULL || !known->complete)
		return CLARI_VERDICT_NONE;
	if (adoption->candidates > 0 && adoption->sought.contested)
		return CLARI_VERDICT_UNCLEAR;
	if (adoption->candidates > 1 || (adoption->candidates == 1 && !is_of_our_user(adoption)))
		return CLARI_VERDICT_NONE;
	if (adoption->nameless)
		return CLARI_VERDICT_UNCLEAR;
	if (adoption->candidates == 0)
		return CLARI_VERDICT_NONE;
	if (ended_badly(adoption->candidate.status))
		return CLARI_VERDICT_NONE;
	memcpy(job_id, adoption->candidate.job_id, sizeof(adoption->candidate.job_id));
	return CLARI_VERDICT_OURS;
}
