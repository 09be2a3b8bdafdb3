/*
 * selection.c
 *		The exports that a call selects: see internal.h.
 *
 * Runs in sessions, with the caller's rights.  It reads the cache, and waits for
 * an export only to learn the current quarter.
 */
#include "postgres.h"

#include "call/internal.h"

#include "base/report.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

static void
check_select(Oid relid)
{
	AclResult result = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, get_relkind_objtype(get_rel_relkind(relid)), get_rel_name(relid));
}

/* Joins the elements of a text[] with commas, which is the form of option "periods". */
static char *
join_elements(ArrayType *array)
{
	StringInfoData list;
	Datum *elements;
	bool *nulls;
	int count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	initStringInfo(&list);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("argument \"periods\" must not contain nulls")));
		appendStringInfo(&list, "%s%s", i > 0 ? "," : "", TextDatumGetCString(elements[i]));
	}
	return list.data;
}

/* Raises an error if a selected period is outside of the table's extent: nobody could see its rows. */
static void
check_within_extent(const ClariSelection *selection)
{
	ClariPeriod extent[CLARI_EXTENT_MAX_PERIODS];
	int nextent = clari_extent_expand(&selection->options->extent, selection->current, extent);

	for (int i = 0; i < selection->count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];
		int j = 0;

		while (j < nextent && extent[j] != selection->periods[i])
			j++;
		if (j < nextent)
			continue;
		clari_period_format(selection->periods[i], text);
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("period \"%s\" is outside option \"periods\" of foreign table \"%s\"", text,
							   get_rel_name(selection->options->relid)),
						errdetail("The option is \"%s\".", selection->options->periods)));
	}
}

bool
clari_selection_needs_current(const ClariSelection *selection)
{
	return clari_extent_is_relative(&selection->asked) || clari_extent_is_relative(&selection->options->extent);
}

/*
 * Lists the selected exports, as far as they are known.  A relative selection has
 * only the current quarter's export while the current quarter is not known.
 */
static void
list_exports(ClariSelection *selection)
{
	ClariPeriod current = selection->current;
	bool known = current != CLARI_PERIOD_NONE;

	selection->periods[0] = CLARI_PERIOD_NONE;
	selection->count = 1;
	if (known || !clari_extent_is_relative(&selection->asked))
		selection->count = clari_extent_expand(&selection->asked, current, selection->periods);
	if (known || !clari_selection_needs_current(selection))
		check_within_extent(selection);
	selection->exports = palloc(sizeof(ClariExport) * (selection->count + 1));
	selection->exports[selection->count] = selection->learning;
	for (int i = 0; i < selection->count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE] = "";

		if (selection->periods[i] != current)
			clari_period_format(selection->periods[i], text);
		clari_export_init(selection->options, text, selection->interest, &selection->exports[i]);
	}
}

ClariSelection *
clari_selection_make(Oid relid, ArrayType *periods)
{
	ClariSelection *selection = palloc0(sizeof(ClariSelection));
	ClariFreshness freshness;
	ClariError error;

	check_select(relid);
	selection->options = clari_options_get(relid);
	(void) clari_options_authenticate(selection->options, GetUserId(), false);
	selection->asked = selection->options->extent;
	if (periods != NULL && clari_object_is_of_account(selection->options->object))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("foreign table \"%s\" has no periods", get_rel_name(relid)),
						errdetail("It shows what the account has."), errhint("Omit argument \"periods\".")));
	if (periods != NULL && !clari_extent_parse(join_elements(periods), &selection->asked, &error))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", error.message),
						errdetail("It is part of argument \"periods\"."), errhint("%s", error.hint)));
	selection->periods = palloc(sizeof(ClariPeriod) * CLARI_EXTENT_MAX_PERIODS);
	selection->current = CLARI_PERIOD_NONE;
	selection->interest = clari_interest_make(CurrentMemoryContext);
	clari_export_init(selection->options, "", NULL, &selection->learning); /* without interest: nobody waits for it */
	freshness = clari_export_freshness(selection->options, GetCurrentTimestamp());
	if (clari_selection_needs_current(selection) && clari_export_find(&freshness, &selection->learning))
		selection->current = clari_export_told_current(&selection->learning);
	else
		/* Forget a flight or failure that was found: clari_refresh() must not use it. */
		clari_export_init(selection->options, "", NULL, &selection->learning);
	selection->learning.interest = selection->interest;
	list_exports(selection);
	return selection;
}

/*
 * Takes the current quarter from the export without a period, which also serves
 * as the quarter's export, whatever its age.
 */
static void
take_current(ClariSelection *selection)
{
	selection->current = clari_export_told_current(&selection->learning);
	list_exports(selection);
	for (int i = 0; i < selection->count; i++)
		if (selection->periods[i] == selection->current)
			selection->exports[i] = selection->learning;
}

/* Queues the exports that are probably selected, while Clari is asked for the current quarter. */
static void
queue_likely(ClariSelection *selection, const ClariFreshness *wanted)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	ClariPeriod current = clari_export_likely_current(selection->options);
	int count = 0;

	if (current != CLARI_PERIOD_NONE && clari_extent_is_relative(&selection->asked))
		count = clari_extent_expand(&selection->asked, current, periods);
	selection->likely = palloc(sizeof(ClariExport) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];

		if (periods[i] == current)
			continue;
		clari_period_format(periods[i], text);
		clari_export_init(selection->options, text, selection->interest, &selection->likely[selection->nlikely++]);
	}
	(void) clari_export_poll(selection->options, wanted, selection->likely, selection->nlikely);
}

/*
 * Takes over the likely exports that are selected.  The others end if they are
 * still queued and nobody else wants them.
 */
static void
take_likely(ClariSelection *selection)
{
	for (int i = 0; i < selection->nlikely; i++)
	{
		const ClariExport *likely = &selection->likely[i];
		int j = 0;

		while (j < selection->count && memcmp(&selection->exports[j].key, &likely->key, sizeof(ClariKey)) != 0)
			j++;
		if (j < selection->count)
			selection->exports[j] = *likely;
		else
			clari_interest_leave(selection->interest, likely->flight);
	}
	selection->nlikely = 0;
}

bool
clari_selection_learn_current(ClariSelection *selection, const ClariFreshness *wanted, long timeout_ms,
							  ClariPatience *patience)
{
	ClariExport *learning = &selection->learning;
	ClariFreshness freshness = clari_export_freshness(selection->options, GetCurrentTimestamp());

	freshness.anew = selection->anew;
	if (selection->current != CLARI_PERIOD_NONE || !clari_selection_needs_current(selection))
		return true;
	if (!clari_export_poll(selection->options, &freshness, learning, 1) && selection->likely == NULL && wanted != NULL)
		queue_likely(selection, wanted);
	if (!clari_export_wait(selection->options, &freshness, learning, 1, timeout_ms, patience))
		return false;
	if (learning->state != CLARI_LOOKUP_READY)
		clari_error_report(ERROR, &learning->error);
	take_current(selection);
	take_likely(selection);
	return true;
}

bool
clari_selection_roll_over(ClariSelection *selection)
{
	for (int i = 0; i < selection->count; i++)
	{
		const ClariExport *export = &selection->exports[i];

		if (clari_object_is_of_account(selection->options->object) || export->request.period[0] != '\0' ||
			export->state != CLARI_LOOKUP_READY || clari_export_told_current(export) == selection->periods[i])
			continue;
		selection->learning = *export;
		take_current(selection);
		return true;
	}
	return false;
}
