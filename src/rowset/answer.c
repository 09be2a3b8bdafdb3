/*
 * answer.c
 *		Finds out which quarter a file with ids is of: see internal.h.
 *
 * If Clari does not know the requested period, it answers with the current
 * quarter.  A file may also contain months or years instead of the quarter.
 * Therefore a file is accepted if any of its periods is of the requested
 * quarter, according to its id, its type and label, or its days.
 *
 * Runs in the worker, in unit tests and fuzzers; allocates nothing, never
 * raises.
 */
#include "rowset/internal.h"

#include <stdio.h>
#include <string.h>

#define LISTED 5 /* how many periods an error shows */

typedef struct Question
{
	const ClariFilePeriod *periods;
	size_t count;
	bool has_entries;      /* some period has entries; then months and years without entries are ignored */
	const char *requested; /* empty: the current quarter */
	ClariPeriod wanted;    /* the same, or CLARI_PERIOD_NONE if none was requested */
	const ClariCalendar *calendar;
} Question;

/* ------- errors ------- */

/* Fails with an error that lists the periods of the file, because these help the user to understand it. */
static bool
not_told(const Question *question, ClariError *error)
{
	char list[300];
	size_t used = 0;
	size_t shown = 0;

	list[0] = '\0';
	for (size_t i = 0; i < question->count && shown < LISTED; i++)
	{
		const ClariFilePeriod *period = &question->periods[i];

		if (question->has_entries && !period->has_entries)
			continue;
		used += (size_t) snprintf(list + used, sizeof(list) - used, "%s\"%.*s\" (%s)", shown > 0 ? ", " : "",
								  clari_item_clip(period->id.bytes, period->id.length, 30), period->id.bytes,
								  clari_period_type_names[period->type]);
		shown++;
	}
	clari_error_set(error, CLARI_ERROR_DATA, "the export file does not show which fiscal quarter it is for");
	clari_error_detail(error, "It has %s%s.", list, shown == LISTED ? ", …" : "");
	clari_error_hint(error,
					 "An export of the same quarter by quarters, of any forecast and with the same API key, "
					 "shows the fiscal calendar: query that once, and then %s.",
					 question->requested[0] != '\0' ? "this one again"
													: "name quarters in option \"periods\" where this has years");
	return false;
}

static bool
both(const Question *question, ClariPeriod one, ClariPeriod other, ClariError *error)
{
	char texts[2][CLARI_PERIOD_TEXT_SIZE];

	clari_period_format(one, texts[0]);
	clari_period_format(other, texts[1]);
	if (question->has_entries)
		clari_error_set(error, CLARI_ERROR_DATA, "the export file holds entries of several periods");
	else
		clari_error_set(error, CLARI_ERROR_DATA, "the export file does not show which fiscal quarter it is for");
	clari_error_detail(error,
					   question->has_entries ? "It holds \"%s\" and \"%s\"."
											 : "It has no entries, and both \"%s\" and \"%s\" in list \"timePeriods\".",
					   texts[0], texts[1]);
	return false;
}

/* ------- one period ------- */

/*
 * Returns a day in the middle of the period, which is certainly in the
 * quarter.  Returns false if the period's days are not known.
 */
static bool
middle_day(const ClariFilePeriod *period, int32_t *day)
{
	if (period->first == CLARI_DATE_NONE || period->last == CLARI_DATE_NONE || period->last < period->first)
		return false;
	*day = period->first + (period->last - period->first) / 2;
	return true;
}

/*
 * Returns the quarter that the period is, by its id, label or days, or
 * CLARI_PERIOD_NONE if it is not a quarter or not known which.
 */
static ClariPeriod
quarter_itself(const Question *question, const ClariFilePeriod *period)
{
	ClariQuarter quarter;
	int32_t day;

	if (period->type != CLARI_QUARTERS)
		return CLARI_PERIOD_NONE;
	if (period->name.type == CLARI_QUARTERS && period->name.year > 0 && period->name.number > 0)
		return period->name.year * 4 + period->name.number - 1;
	if (middle_day(period, &day) && clari_calendar_find(question->calendar, day, &quarter))
		return quarter.period;
	return CLARI_PERIOD_NONE;
}

/*
 * Returns the quarter of a month by its number, assuming that months are
 * numbered by the fiscal year, as quarters are.
 */
static ClariPeriod
quarter_by_number(const ClariFilePeriod *period)
{
	if (period->type != CLARI_MONTHS || period->name.type != CLARI_MONTHS || period->name.year == 0 ||
		period->name.number == 0)
		return CLARI_PERIOD_NONE;
	return period->name.year * 4 + (period->name.number - 1) / CLARI_MONTHS_OF_QUARTER;
}

typedef enum Verdict
{
	IS_OF,
	IS_NOT_OF,
	IS_UNSURE
} Verdict;

/*
 * Is the month or year one of the requested quarter?  By its days, if these
 * are known.  Otherwise its number may say yes; but if it does not, months may
 * be numbered in another way.
 */
static Verdict
is_of_wanted(const Question *question, const ClariFilePeriod *period)
{
	ClariQuarter wanted;
	int32_t day;

	if (middle_day(period, &day) && clari_calendar_quarter(question->calendar, question->wanted, &wanted))
	{
		int32_t middle = wanted.first + (wanted.last - wanted.first) / 2;
		bool month_within = wanted.first <= day && day <= wanted.last;
		bool around = period->first <= middle && middle <= period->last;

		return month_within || around ? IS_OF : IS_NOT_OF;
	}
	if (quarter_by_number(period) == question->wanted ||
		(period->type == CLARI_YEARS && period->name.year == question->wanted / 4))
		return IS_OF;
	return IS_UNSURE;
}

static bool
counts(const Question *question, const ClariFilePeriod *period)
{
	return period->type != CLARI_QUARTERS && (period->has_entries || !question->has_entries);
}

/* ------- the file ------- */

/*
 * Finds the quarter of the file among its periods that are quarters and,
 * depending on with_entries, have entries or have none.  The requested quarter
 * is preferred.  Sets *answered to CLARI_PERIOD_NONE if there is no such
 * period.  Returns false with *error set if there are several and the file
 * must be of one.
 */
static bool
by_quarters(const Question *question, bool with_entries, ClariPeriod *answered, ClariError *error)
{
	bool several_will_do = !with_entries && question->wanted != CLARI_PERIOD_NONE;

	*answered = CLARI_PERIOD_NONE;
	for (size_t i = 0; i < question->count; i++)
	{
		ClariPeriod quarter = quarter_itself(question, &question->periods[i]);

		if (quarter == CLARI_PERIOD_NONE || question->periods[i].has_entries != with_entries)
			continue;
		if (*answered != CLARI_PERIOD_NONE && *answered != quarter && !several_will_do)
			return both(question, *answered, quarter, error);
		if (*answered == CLARI_PERIOD_NONE || quarter == question->wanted)
			*answered = quarter;
	}
	return true;
}

/*
 * Is any month or year one of the requested quarter, or is certainly none?
 * Sets *another to another quarter that one of them is of.
 */
static Verdict
by_others(const Question *question, ClariPeriod *another)
{
	Verdict verdict = IS_NOT_OF;

	*another = CLARI_PERIOD_NONE;
	for (size_t i = 0; i < question->count; i++)
	{
		const ClariFilePeriod *period = &question->periods[i];
		ClariQuarter quarter;
		Verdict one;

		if (!counts(question, period))
			continue;
		one = is_of_wanted(question, period);
		if (one == IS_OF)
			return one;
		if (one == IS_UNSURE || !clari_calendar_find(question->calendar, period->first, &quarter))
			verdict = IS_UNSURE;
		else if (*another == CLARI_PERIOD_NONE)
			*another = quarter.period;
	}
	return *another == CLARI_PERIOD_NONE ? IS_UNSURE : verdict;
}

/*
 * Finds the current quarter by its months: by their days or, if these are not
 * known, by their numbers, provided that there are three of them and all mean
 * the same quarter.
 */
static bool
current_by_months(const Question *question, ClariPeriod *answered, ClariError *error)
{
	int numbered = 0;
	bool guessed = false;

	*answered = CLARI_PERIOD_NONE;
	for (size_t i = 0; i < question->count; i++)
	{
		const ClariFilePeriod *period = &question->periods[i];
		ClariQuarter quarter = {.period = quarter_by_number(period)};
		int32_t day;

		if (!counts(question, period) || period->type != CLARI_MONTHS)
			continue;
		numbered++;
		if (!middle_day(period, &day) || !clari_calendar_find(question->calendar, day, &quarter))
			guessed = true;
		if (quarter.period == CLARI_PERIOD_NONE || (*answered != CLARI_PERIOD_NONE && *answered != quarter.period))
			return not_told(question, error);
		*answered = quarter.period;
	}
	return (numbered > 0 && (!guessed || numbered == CLARI_MONTHS_OF_QUARTER)) || not_told(question, error);
}

static bool
by_months_and_years(const Question *question, ClariPeriod listed, ClariPeriod *answered, ClariError *error)
{
	Verdict verdict;

	if (question->wanted == CLARI_PERIOD_NONE)
		return current_by_months(question, answered, error);
	verdict = by_others(question, answered);
	if (verdict == IS_OF)
		*answered = question->wanted;
	else if (listed != CLARI_PERIOD_NONE)
		*answered = listed;
	else if (verdict == IS_UNSURE)
		return not_told(question, error);
	return true;
}

static bool
find_answer(const Question *question, ClariPeriod *answered, ClariError *error)
{
	ClariPeriod listed;

	if (!by_quarters(question, true, answered, error))
		return false;
	if (*answered != CLARI_PERIOD_NONE)
		return true;
	if (!by_quarters(question, false, &listed, error))
		return false;
	*answered = listed;
	if (listed != CLARI_PERIOD_NONE && (listed == question->wanted || question->wanted == CLARI_PERIOD_NONE))
		return true;
	return by_months_and_years(question, listed, answered, error);
}

/* ------- the quarter's days ------- */

/*
 * Sets the quarter's days to those of its months.  Returns false unless there
 * are exactly three, without gap or overlap.
 */
static bool
days_of_months(const Question *question, ClariQuarter *quarter)
{
	int64_t days = 0;
	int months = 0;

	*quarter = (ClariQuarter){CLARI_PERIOD_NONE, INT32_MAX, INT32_MIN};
	for (size_t i = 0; i < question->count; i++)
	{
		const ClariFilePeriod *period = &question->periods[i];
		int32_t day;

		if (period->type != CLARI_MONTHS)
			continue;
		if (!middle_day(period, &day) || ++months > CLARI_MONTHS_OF_QUARTER)
			return false;
		days += period->last - (int64_t) period->first + 1;
		quarter->first = period->first < quarter->first ? period->first : quarter->first;
		quarter->last = period->last > quarter->last ? period->last : quarter->last;
	}
	return months == CLARI_MONTHS_OF_QUARTER && days == quarter->last - (int64_t) quarter->first + 1;
}

/* Sets the days of the quarter: as listed in the file, as known from the calendar, or as those of its months. */
static void
find_days(const Question *question, ClariPeriod answered, ClariRowsetMeta *meta)
{
	ClariQuarter quarter;
	bool has_quarters = false;

	for (size_t i = 0; i < question->count; i++)
	{
		const ClariFilePeriod *period = &question->periods[i];

		has_quarters = has_quarters || period->type == CLARI_QUARTERS;
		if (quarter_itself(question, period) != answered)
			continue;
		meta->period_start = period->first;
		meta->period_end = period->last;
		return;
	}
	if (has_quarters ||
		(!clari_calendar_quarter(question->calendar, answered, &quarter) && !days_of_months(question, &quarter)))
		return;
	meta->period_start = quarter.first;
	meta->period_end = quarter.last;
}

static void
learn_numbering(const Question *question, ClariPeriod answered, ClariRowsetMeta *meta)
{
	ClariQuarter quarter = {answered, meta->period_start, meta->period_end};
	bool known = quarter.first != CLARI_DATE_NONE && quarter.last != CLARI_DATE_NONE;

	for (size_t i = 0; i < question->count; i++)
	{
		const ClariFilePeriod *period = &question->periods[i];

		if (period->has_entries)
			clari_numbering_learn(&meta->numbering, period->id.bytes, period->id.length, period->type, period->first,
								  period->last, known ? &quarter : NULL);
	}
}

bool
clari_answer_find(const ClariFilePeriod *periods, size_t count, const char *requested, const ClariCalendar *calendar,
				  ClariRowsetMeta *meta, ClariError *error)
{
	Question question = {periods, count, false, requested, CLARI_PERIOD_NONE, calendar};
	ClariPeriod answered;

	for (size_t i = 0; i < count; i++)
		question.has_entries = question.has_entries || periods[i].has_entries;
	if (!clari_period_parse(requested, &question.wanted))
		question.wanted = CLARI_PERIOD_NONE;
	memset(meta->answered, 0, sizeof(meta->answered));
	if (count == 0)
		return true;
	if (!find_answer(&question, &answered, error))
		return false;
	clari_period_format(answered, meta->answered);
	find_days(&question, answered, meta);
	if (question.wanted != CLARI_PERIOD_NONE && question.wanted != answered)
		meta->flags |= CLARI_ROWSET_WRONG_PERIOD;
	else
		learn_numbering(&question, answered, meta);
	return true;
}
