/*
 * recover.c
 *		What outlives a worker: the record of an export's job, and Clari's
 *		list of jobs: see internal.h.
 *
 * Runs in the worker.  It takes no lock itself; the functions of the cache
 * that it calls do.
 */
#include "postgres.h"

#include "worker/internal.h"

#include "base/report.h"
#include "json/json.h"
#include "store/store.h"

#include "utils/memutils.h"

/* ------- the record ------- */

/*
 * Fills in the quarter that Clari's list will show for the job.  An export
 * without a period is of the current quarter.  That is known if an earlier
 * answer named it and it has not yet ended in any time zone.
 */
static void
fill_expected(const ClariOrder *order, ClariRecord *record)
{
	const ClariRowsetMeta *known = &order->known;

	if (order->request.period[0] != '\0')
		strlcpy(record->expected, order->request.period, sizeof(record->expected));
	else if (known->job_id[0] != '\0' && known->period_end != CLARI_DATE_NONE &&
			 GetCurrentTimestamp() < (known->period_end - 1) * USECS_PER_DAY)
		strlcpy(record->expected, known->answered, sizeof(record->expected));
}

static void
init_record(const ClariOrder *order, ClariRecord *record)
{
	ClariAccountFacts facts;

	memset(record, 0, sizeof(*record));
	record->key = order->key;
	record->account = order->account;
	strlcpy(record->base_url, order->request.base_url, sizeof(record->base_url));
	strlcpy(record->forecast, order->request.forecast, sizeof(record->forecast));
	strlcpy(record->period, order->request.period, sizeof(record->period));
	clari_cache_account(&order->account, &facts);
	strlcpy(record->user_id, facts.user_id, sizeof(record->user_id));
	strlcpy(record->currency, facts.currency, sizeof(record->currency));
	fill_expected(order, record);
}

/* Fills the record from the metadata of the last rowset, for a job whose record could not be written to disk. */
static void
fill_from_rowset(const ClariOrder *order, ClariRecord *record)
{
	strlcpy(record->job_id, order->known.job_id, sizeof(record->job_id));
	record->posted_at = order->known.posted_at;
	record->ended = true;
	record->without_crm = (order->known.flags & CLARI_ROWSET_WITHOUT_CRM) != 0;
}

/*
 * Is the record's job young enough to be taken up for the order?  A job that
 * has been published before, or has failed, must be as fresh as a rowset must
 * be.  Any other may still be running, and may be older.
 */
static bool
is_young_enough(const ClariOrder *order, const ClariRecord *record)
{
	bool over = record->ended || record->attempts >= CLARI_MOST_ATTEMPTS;
	TimestampTz since = over ? order->fresh_since : order->running_since;

	return record->posted_at > since && record->posted_at <= GetCurrentTimestamp();
}

/*
 * Fills in the job that a new one replaces.  There is only one record for each
 * export, so the older job cannot be taken up once there is a newer one.  It
 * may still be running at Clari unless it was published, decoding of its file
 * has begun, or it is more than a day old.
 */
static void
fill_older(const ClariOrder *order, const ClariRecord *record, ClariRecord *older)
{
	TimestampTz day_ago = GetCurrentTimestamp() - USECS_PER_DAY;

	if (!record->ended && record->attempts == 0 && record->posted_at > day_ago)
		*older = *record;
	/* After an invalidation there is no record, but the cache knows which job the last flight left running. */
	if (older->job_id[0] == '\0')
		strlcpy(older->job_id, order->left_job, sizeof(older->job_id));
}

/*
 * Reads the key's record, or makes a new one if there is none.  If the last
 * rowset is of a newer job than the record, that job is taken instead, because
 * its record may have failed to be written.
 */
static void
read_record(const ClariOrder *order, ClariRecord *record)
{
	ClariError error;

	if (!clari_store_get_record(&order->key, record, &error))
	{
		init_record(order, record);
		if (error.code != CLARI_ERROR_NONE)
			clari_error_report(WARNING, &error);
	}
	if (order->known.job_id[0] != '\0' && order->known.posted_at > record->posted_at)
	{
		init_record(order, record);
		fill_from_rowset(order, record);
	}
}

ClariRecovery
clari_recover_job(const ClariOrder *order, ClariRecord *record, ClariRecord *older, ClariError *error)
{
	memset(older, 0, sizeof(*older));
	read_record(order, record);
	if (!is_young_enough(order, record))
	{
		fill_older(order, record, older);
		init_record(order, record);
		return CLARI_RECOVERY_NONE;
	}
	if (record->job_id[0] == '\0')
		return CLARI_RECOVERY_UNSURE;
	if (record->attempts < CLARI_MOST_ATTEMPTS)
		return CLARI_RECOVERY_JOB;
	clari_error_set(error, CLARI_ERROR_DATA, "gave up on the file of job %s", record->job_id);
	clari_error_detail(error, "The server died %u times while it was being downloaded and decoded.",
					   (unsigned) record->attempts);
	clari_error_hint(error, "Report this as a bug. Use clari_refresh() to start a new export.");
	return CLARI_RECOVERY_GIVE_UP;
}

bool
clari_recover_save(const ClariOrder *order, const ClariRecord *record, bool durable, ClariError *error)
{
	if (!clari_store_put_record(record, durable, error))
		return false;
	clari_cache_count_record(order->index, (uint32) clari_record_length(record));
	return true;
}

void
clari_recover_remove(const ClariOrder *order)
{
	bool removed = clari_store_remove_record(&order->key, PG_INT64_MAX);
	int cause = errno;

	clari_cache_count_record(order->index, 0);
	if (!removed)
		ereport(LOG,
				(errcode(ERRCODE_IO_ERROR), errmsg("could not remove the record of an export: %s", strerror(cause))));
}

/* ------- Clari's list ------- */

bool
clari_recover_is_listable(const ClariOrder *order, const ClariRecord *record)
{
	return clari_adopt_is_possible(&order->request, record->expected);
}

void
clari_recover_note_list(const ClariOrder *order, ClariRecord *record, const char *body, size_t length)
{
	ClariSought sought = {.request = &order->request,
						  .period = record->expected,
						  .user_id = record->user_id,
						  .currency = record->currency};
	ClariAdoption *adoption = palloc(sizeof(ClariAdoption));

	memset(&record->known, 0, sizeof(record->known));
	clari_adopt_begin(adoption, &sought);
	if (body != NULL && clari_json_read_jobs(body, length, clari_adopt_add, adoption))
		clari_adopt_known(adoption, &record->known);
	pfree(adoption);
}

/* What the records of all exports say about jobs. */
typedef struct Survey
{
	const ClariOrder *order;
	bool contested;
	ClariAccountFacts facts; /* of our account, according to its records; or empty */
	char (*claimed)[CLARI_ID_SIZE];
	int nclaimed;
} Survey;

#define MAX_CLAIMED 1024 /* as many as the cache has entries */

/* If another export was POSTed at most this long (µs) before ours, its job may be missing from our first list. */
#define CONTEST_MARGIN (10 * SECS_PER_MINUTE * USECS_PER_SEC)

static void
survey_one(Survey *survey, const ClariRecord *mine, const ClariRecord *other)
{
	if (other->user_id[0] != '\0' && memcmp(&other->account, &mine->account, sizeof(ClariKey)) == 0)
	{
		strlcpy(survey->facts.user_id, other->user_id, sizeof(survey->facts.user_id));
		if (other->currency[0] != '\0')
			strlcpy(survey->facts.currency, other->currency, sizeof(survey->facts.currency));
	}
	if (memcmp(&other->key, &mine->key, sizeof(ClariKey)) == 0)
		return;
	if (other->job_id[0] != '\0')
	{
		if (survey->nclaimed < MAX_CLAIMED)
			strlcpy(survey->claimed[survey->nclaimed++], other->job_id, CLARI_ID_SIZE);
		else
			survey->contested = true;
	}
	else if (other->posted_at > mine->posted_at - CONTEST_MARGIN && strcmp(other->forecast, mine->forecast) == 0 &&
			 (other->expected[0] == '\0' || mine->expected[0] == '\0' || strcmp(other->expected, mine->expected) == 0))
		survey->contested = true;
}

/* Reads all records.  Returns false if the directory cannot be read. */
static bool
survey_records(Survey *survey, const ClariRecord *mine)
{
	ClariStoreFound *found = palloc(sizeof(ClariStoreFound));
	ClariError error;
	ClariStoreWalk *walk = clari_store_walk_begin(&error);
	bool readable = walk != NULL;

	survey->claimed = palloc(MAX_CLAIMED * sizeof(*survey->claimed));
	while (walk != NULL && clari_store_walk_next(walk, found))
		if (found->is_record && found->good)
			survey_one(survey, mine, &found->record);
	clari_store_walk_end(walk);
	pfree(found);
	return readable;
}

/* ClariSought.is_claimed */
static bool
is_claimed(void *arg, const char *job_id)
{
	const Survey *survey = arg;

	for (int i = 0; i < survey->nclaimed; i++)
		if (strcmp(survey->claimed[i], job_id) == 0)
			return true;
	return clari_cache_claims_job(survey->order->index, job_id);
}

ClariVerdict
clari_recover_judge_list(const ClariOrder *order, const ClariRecord *record, const char *body, size_t length,
						 char job_id[CLARI_ID_SIZE])
{
	Survey survey = {.order = order};
	ClariAdoption *adoption = palloc(sizeof(ClariAdoption));
	ClariSought sought = {.request = &order->request, .period = record->expected, .known = &record->known};
	ClariVerdict verdict = CLARI_VERDICT_UNCLEAR;
	ClariAccountFacts facts;

	job_id[0] = '\0';
	if (!survey_records(&survey, record))
		return CLARI_VERDICT_UNCLEAR;
	clari_cache_account(&order->account, &facts);
	/* The cache stores this for a limited number of accounts only, so it may lack ours. */
	sought.user_id = facts.user_id[0] != '\0' ? facts.user_id : survey.facts.user_id;
	sought.currency = facts.currency[0] != '\0' ? facts.currency : survey.facts.currency;
	sought.contested = survey.contested || clari_cache_is_contested(order->index);
	sought.is_claimed = is_claimed;
	sought.arg = &survey;
	clari_adopt_begin(adoption, &sought);
	if (clari_json_read_jobs(body, length, clari_adopt_add, adoption))
		verdict = clari_adopt_verdict(adoption, job_id);
	pfree(survey.claimed);
	pfree(adoption);
	return verdict;
}
