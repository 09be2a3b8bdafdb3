/*
 * calendar.c
 *		Days and fiscal quarters: see calendar.h.
 *
 * Runs in the worker, in unit tests and fuzzers; allocates nothing.
 */
#include "clari/calendar.h"

#define EPOCH_DAYS 730119 /* days from 0001-01-01 to 2000-01-01 */

/* ------- days ------- */

static bool
is_leap(int year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* month is 1 to 12 */
static int
days_of_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return days[month - 1] + (month == 2 && is_leap(year) ? 1 : 0);
}

static int64_t
count_days(int year, int month, int day)
{
	int before = year - 1;
	int64_t days = INT64_C(365) * before + before / 4 - before / 100 + before / 400 + day - 1 - EPOCH_DAYS;

	for (int i = 1; i < month; i++)
		days += days_of_month(year, i);
	return days;
}

/* Reads exactly ndigits decimal digits. */
static bool
read_digits(const char *text, int ndigits, int *number)
{
	*number = 0;
	for (int i = 0; i < ndigits; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		*number = *number * 10 + (text[i] - '0');
	}
	return true;
}

bool
clari_date_read(const char *text, size_t length, int64_t *days)
{
	int year;
	int month;
	int day;

	if (length < 10 || (length > 10 && text[10] != 'T') || text[4] != '-' || text[7] != '-' ||
		!read_digits(text, 4, &year) || !read_digits(text + 5, 2, &month) || !read_digits(text + 8, 2, &day))
		return false;
	if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_of_month(year, month))
		return false;
	*days = count_days(year, month, day);
	return true;
}

/* ------- months ------- */

/* Returns the month of the day, as the number of months since 0000-01, and the first day of that month. */
static int32_t
month_of_day(int32_t day, int32_t *first)
{
	/* 400 years have 146097 days, so this is the right year or next to it. */
	int year = (int) (((int64_t) day + EPOCH_DAYS) * 400 / 146097) + 1;
	int month = 12;

	while (count_days(year, 1, 1) > day)
		year--;
	while (count_days(year + 1, 1, 1) <= day)
		year++;
	while (count_days(year, month, 1) > day)
		month--;
	*first = (int32_t) count_days(year, month, 1);
	return year * 12 + month - 1;
}

static int32_t
first_of_month(int32_t month)
{
	return (int32_t) count_days(month / 12, month % 12 + 1, 1);
}

/* Does the quarter consist of three whole months?  If so, returns the first of them. */
static bool
has_months(const ClariQuarter *quarter, int32_t *month)
{
	int32_t first;

	*month = month_of_day(quarter->first, &first);
	return first == quarter->first && first_of_month(*month + 3) == quarter->last + 1;
}

/* ------- quarters ------- */

static const ClariQuarter *
find_known(const ClariCalendar *calendar, ClariPeriod period)
{
	for (int i = 0; i < calendar->count; i++)
		if (calendar->quarters[i].period == period)
			return &calendar->quarters[i];
	return NULL;
}

void
clari_calendar_add(ClariCalendar *calendar, const ClariQuarter *quarter)
{
	if (calendar->count < CLARI_CALENDAR_MAX && quarter->first <= quarter->last &&
		find_known(calendar, quarter->period) == NULL)
		calendar->quarters[calendar->count++] = *quarter;
}

/* Sets the quarter to the days between its two neighbors, if both are known. */
static bool
find_between(const ClariCalendar *calendar, ClariPeriod period, ClariQuarter *quarter)
{
	const ClariQuarter *before = find_known(calendar, period - 1);
	const ClariQuarter *after = find_known(calendar, period + 1);

	if (before == NULL || after == NULL || before->last >= after->first - 1)
		return false;
	*quarter = (ClariQuarter){period, before->last + 1, after->first - 1};
	return true;
}

/* Returns the month in which quarter 0 would begin, if all known quarters that consist of whole months agree on it. */
static bool
find_month(const ClariCalendar *calendar, int32_t *origin)
{
	bool found = false;

	for (int i = 0; i < calendar->count; i++)
	{
		int32_t month;

		if (!has_months(&calendar->quarters[i], &month))
			continue;
		month -= 3 * calendar->quarters[i].period;
		if (found && *origin != month)
			return false;
		*origin = month;
		found = true;
	}
	return found;
}

static bool
set_months(ClariPeriod period, int32_t month, ClariQuarter *quarter)
{
	if (month < 12 || month > 12 * 9999)
		return false;
	*quarter = (ClariQuarter){period, first_of_month(month), first_of_month(month + 3) - 1};
	return true;
}

bool
clari_calendar_quarter(const ClariCalendar *calendar, ClariPeriod period, ClariQuarter *quarter)
{
	const ClariQuarter *known = find_known(calendar, period);
	int32_t origin;

	if (known != NULL)
	{
		*quarter = *known;
		return true;
	}
	return find_between(calendar, period, quarter) ||
		   (find_month(calendar, &origin) && set_months(period, origin + 3 * period, quarter));
}

static bool
holds(const ClariQuarter *quarter, int32_t day)
{
	return quarter->first <= day && day <= quarter->last;
}

bool
clari_calendar_find(const ClariCalendar *calendar, int32_t day, ClariQuarter *quarter)
{
	int32_t origin;
	int32_t first;
	int32_t months;

	for (int i = 0; i < calendar->count; i++)
	{
		*quarter = calendar->quarters[i];
		if (holds(quarter, day) || (find_between(calendar, quarter->period + 1, quarter) && holds(quarter, day)))
			return true;
	}
	if (!find_month(calendar, &origin))
		return false;
	months = month_of_day(day, &first) - origin;
	return clari_calendar_quarter(calendar, months >= 0 ? months / 3 : -((2 - months) / 3), quarter) &&
		   holds(quarter, day);
}

bool
clari_calendar_unknown(const char *period, ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_DATA, "the fiscal calendar that gives the quarter of a CSV export is not known");
	clari_error_detail(error,
					   "CSV has no period ids, and no cached export of this user's API key shows on which days "
					   "%s%s begins and ends.",
					   CLARI_PERIOD_WORDS(period));
	clari_error_hint(error,
					 "Query a foreign table of the same server with option \"format\" 'json' once, for %s of "
					 "any forecast, and then this one again.",
					 period[0] != '\0' ? "the same period" : "the current quarter");
	return false;
}
