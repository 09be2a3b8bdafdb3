/*
 * quota.c
 *		What a sync may use of Clari's quota: see internal.h.
 *
 * Runs in a session, with the caller's rights and API key.  The limits are read
 * as foreign table "limits" reads them, but not from the cache.  If they cannot
 * be read, nothing is refused here: Clari itself refuses exports beyond the
 * quota.
 */
#include "postgres.h"

#include "call/internal.h"
#include "clari/quota.h"

#include "session/reader.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

/* How long to wait for the limits.  The sync continues without them. */
#define LIMITS_PATIENCE 10000 /* ms */

#define QUOTA_HINT                                                                                                     \
	"Clari counts the exports of the last 30 days. Raise option \"closed_period_ttl\", sync less often or fewer "      \
	"periods, wait until older exports no longer count, or ask Clari for a larger quota."

/* ------- what is left ------- */

/* Reads a number of the limits; -1 if it is missing or not a number. */
static int64
read_limit(ClariReader *reader, int attribute)
{
	ClariChunkBuffer buffer = {0};
	ClariChunk chunk;

	for (int i = 0; i < reader->ngroups; i++)
	{
		if (reader->groups[i].list != CLARI_LIMITS ||
			reader->groups[i].chunks[attribute].encoding != CLARI_ENCODING_FIXED)
			continue;
		clari_reader_chunk(reader, i, attribute, &buffer, &chunk);
		if (clari_chunk_fixed(&chunk, 0) != CLARI_FIXED_NULL)
			return Max(clari_chunk_fixed(&chunk, 0), 0); /* it is negative after the quota was lowered */
	}
	return -1;
}

static void
read_limits(const ClariVersion *version, ClariQuota *quota)
{
	/* The reader closes when this context is deleted. */
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "clari_fdw limits", ALLOCSET_SMALL_SIZES);
	MemoryContext previous = MemoryContextSwitchTo(context);
	ClariError error;
	ClariReader *reader = clari_reader_open(version, context, &error);

	if (reader != NULL)
	{
		quota->left = read_limit(reader, CLARI_LIMITS_AVAILABLE_MONTHLY);
		quota->monthly = read_limit(reader, CLARI_LIMITS_MONTHLY_QUOTA);
	}
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
}

/* Requests the limits, because cached ones do not include the latest exports, and waits for them. */
static void
ask_limits(const ClariSelection *selection, ClariPatience *patience, ClariQuota *quota)
{
	const ClariOptions *options = clari_options_of_account(selection->options, CLARI_OBJECT_LIMITS);
	ClariFreshness freshness = clari_export_freshness(options, GetCurrentTimestamp());
	ClariExport limits;

	freshness.max_age = 0;
	clari_export_init(options, "", selection->interest, &limits);
	if (clari_export_wait(options, &freshness, &limits, 1, LIMITS_PATIENCE, patience) &&
		limits.state == CLARI_LOOKUP_READY)
		read_limits(&limits.version, quota);
}

/* ------- what is needed ------- */

/* Is a new export needed?  Not if it is cached or under way, or failed a moment ago. */
static bool
is_needed(const ClariFreshness *freshness, ClariExport *export)
{
	/* A version that could not be opened is usually downloaded again from its job. */
	if (export->state != CLARI_LOOKUP_ABSENT || export->failed_openings > 0)
		return false;
	return !clari_export_find(freshness, export) && export->state == CLARI_LOOKUP_ABSENT;
}

/* Is a new export needed for a quarter that is only assumed to be selected, and therefore is not looked up? */
static bool
is_supposed_to_be_needed(const ClariSelection *selection, const ClariFreshness *freshness, ClariPeriod period)
{
	char text[CLARI_PERIOD_TEXT_SIZE];
	ClariVersion version;

	clari_period_format(period, text);
	return !clari_export_peek(selection->options, text, &version) ||
		   version.meta.posted_at <= freshness->since - clari_freshness_age(&version.meta, freshness);
}

/*
 * How many new exports are needed while the current quarter is not known: one to
 * learn it, and those of the other quarters, assuming that an older answer is
 * still right.
 */
static int
count_supposed(const ClariSelection *selection, const ClariFreshness *freshness)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	ClariPeriod current = clari_export_known_current(selection->options);
	bool known = current != CLARI_PERIOD_NONE;
	int needed = 1;
	int count;

	if (!known)
		(void) clari_period_parse("2000_Q1", &current); /* for counting, any quarter will do */
	count = clari_extent_expand(&selection->asked, current, periods);
	for (int i = 0; i < count; i++)
		if (periods[i] != current)
			needed += !known || is_supposed_to_be_needed(selection, freshness, periods[i]);
	return needed;
}

static int
count_needed(ClariSelection *selection, const ClariFreshness *freshness)
{
	int needed = 0;

	for (int i = 0; i < selection->count; i++)
		needed += is_needed(freshness, &selection->exports[i]);
	return needed;
}

/* ------- refusing exports ------- */

static const char *
figures(const ClariQuota *quota)
{
	char *text = palloc(CLARI_QUOTA_TEXT_SIZE);

	clari_quota_text(quota->before, quota->monthly, text);
	return text;
}

__attribute__((noreturn)) static void
refuse_all(const ClariQuota *quota, int needed)
{
	ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					errmsg_plural("Clari's quota covers " INT64_FORMAT " of the %d export needed",
								  "Clari's quota covers " INT64_FORMAT " of the %d exports needed", needed,
								  quota->before, needed),
					errdetail("%s Nothing was exported.", figures(quota)), errhint(QUOTA_HINT)));
}

void
clari_quota_begin(ClariSelection *selection, const ClariFreshness *freshness, bool all_or_nothing,
				  ClariPatience *patience, ClariQuota *quota)
{
	bool costs = selection->options->request.endpoint == CLARI_ENDPOINT_EXPORT;
	bool learns = selection->current == CLARI_PERIOD_NONE && clari_selection_needs_current(selection);
	int needed = 0;

	*quota = (ClariQuota){.left = -1, .monthly = -1};
	if (costs)
		needed = learns ? count_supposed(selection, freshness) : count_needed(selection, freshness);
	if (needed == 0)
		return;
	ask_limits(selection, patience, quota);
	quota->before = quota->left;
	if (quota->left < 0)
		return;
	if (quota->left < needed && (all_or_nothing || (learns && quota->left == 0)))
		refuse_all(quota, needed);
	quota->is_short = quota->left < needed;
	quota->left -= learns;
}

/* Marks the export as failed, before it is queued. */
static void
refuse(ClariExport *export, const ClariQuota *quota)
{
	export->state = CLARI_LOOKUP_FAILED;
	clari_error_set(&export->error, CLARI_ERROR_QUOTA, "Clari's quota does not cover this export");
	clari_error_detail(&export->error, "%s", figures(quota));
}

void
clari_quota_ration(ClariSelection *selection, const ClariFreshness *freshness, ClariQuota *quota)
{
	StringInfoData refused;

	if (quota->left < 0)
		return;
	initStringInfo(&refused);
	/* Quarters ascend.  The latest ones, which are still open, get what is left. */
	for (int i = selection->count - 1; i >= 0; i--)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		if (!is_needed(freshness, &selection->exports[i]))
			continue;
		if (quota->left > 0)
		{
			quota->left--;
			continue;
		}
		refuse(&selection->exports[i], quota);
		clari_period_format(selection->periods[i], text);
		appendStringInfo(&refused, "%s%s", refused.len > 0 ? ", " : "", clari_period_or_current(text));
	}
	if (refused.len > 0 && !quota->told)
		ereport(WARNING, (errcode(ERRCODE_WARNING), errmsg("Clari's quota does not cover all of the exports needed"),
						  errdetail("%s Not exported: %s.", figures(quota), refused.data), errhint(QUOTA_HINT)));
	quota->told = quota->told || refused.len > 0;
}
