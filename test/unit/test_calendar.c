/*
 * test_calendar.c
 *		What calendar.h promises: days, and the quarters that they are in.
 */
#include "unit.h"

#include "clari/calendar.h"

static int32_t
day(const char *text)
{
	int64_t days = INT32_MIN;

	ok(clari_date_read(text, strlen(text), &days), "%s is a day", text);
	return (int32_t) days;
}

static void
add(ClariCalendar *calendar, const char *period, const char *first, const char *last)
{
	ClariQuarter quarter = {.first = day(first), .last = day(last)};

	clari_period_parse(period, &quarter.period);
	clari_calendar_add(calendar, &quarter);
}

/* The quarter has these days, and none beside them; or, without first, is not known. */
static void
has(const ClariCalendar *calendar, const char *period, const char *first, const char *last)
{
	ClariQuarter quarter;
	ClariQuarter found;
	ClariPeriod asked = CLARI_PERIOD_NONE;
	bool known;

	clari_period_parse(period, &asked);
	known = clari_calendar_quarter(calendar, asked, &quarter);
	if (first == NULL)
	{
		ok(!known, "%s is not known", period);
		return;
	}
	ok(known && quarter.period == asked && quarter.first == day(first) && quarter.last == day(last),
	   "%s is from %s to %s", period, first, last);
	ok(clari_calendar_find(calendar, day(first), &found) && found.period == asked, "… is where its first day is");
	ok(clari_calendar_find(calendar, day(last), &found) && found.period == asked && found.first == quarter.first,
	   "… and its last");
}

static void
test_days(void)
{
	int64_t days;
	static const char *const none[] = {"2026-02-29", "2026-13-01", "2026-00-10", "2026-01-00",  "2026-04-31",
									   "0000-01-01", "2026-1-01",  "26-01-01",   "2026-01-01 ", "2026/01/01"};

	ok(day("2000-01-01") == 0 && day("1999-12-31") == -1 && day("2026-03-31") == 9586 &&
		   day("2024-02-29T00:00") == 8825,
	   "days count from 2000-01-01");
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ok(!clari_date_read(none[i], strlen(none[i]), &days), "\"%s\" is none", none[i]);
}

static void
test_months(void)
{
	ClariCalendar calendar = {0};

	has(&calendar, "2026_Q1", NULL, NULL);
	add(&calendar, "2026_Q1", "2025-02-01", "2025-04-30");
	has(&calendar, "2026_Q1", "2025-02-01", "2025-04-30");
	has(&calendar, "2026_Q2", "2025-05-01", "2025-07-31");
	has(&calendar, "2026_Q4", "2025-11-01", "2026-01-31");
	has(&calendar, "2025_Q4", "2024-11-01", "2025-01-31");
	has(&calendar, "2024_Q1", "2023-02-01", "2023-04-30");
	has(&calendar, "2040_Q4", "2039-11-01", "2040-01-31");
	has(&calendar, "1950_Q1", "1949-02-01", "1949-04-30");
}

/* Years of 52 or 53 weeks. */
static void
test_weeks(void)
{
	ClariCalendar calendar = {0};
	ClariQuarter quarter;

	add(&calendar, "2026_Q1", "2025-02-02", "2025-05-03");
	has(&calendar, "2026_Q1", "2025-02-02", "2025-05-03");
	has(&calendar, "2026_Q2", NULL, NULL);
	has(&calendar, "2025_Q4", NULL, NULL);
	ok(!clari_calendar_find(&calendar, day("2025-05-04"), &quarter), "a day behind it is of no quarter that is known");
	add(&calendar, "2026_Q3", "2025-08-03", "2025-11-01");
	has(&calendar, "2026_Q2", "2025-05-04", "2025-08-02");
	has(&calendar, "2026_Q4", NULL, NULL);
}

/* A fiscal year that was moved: what is known stays, and nothing is guessed on either side of it. */
static void
test_moved_year(void)
{
	ClariCalendar calendar = {0};
	ClariQuarter quarter;

	add(&calendar, "2024_Q4", "2023-11-01", "2024-01-31");
	add(&calendar, "2026_Q1", "2026-01-01", "2026-03-31");
	has(&calendar, "2024_Q4", "2023-11-01", "2024-01-31");
	has(&calendar, "2026_Q1", "2026-01-01", "2026-03-31");
	has(&calendar, "2026_Q2", NULL, NULL);
	has(&calendar, "2025_Q2", NULL, NULL);
	ok(!clari_calendar_find(&calendar, day("2026-04-01"), &quarter), "nor is the quarter of a day");
	add(&calendar, "2026_Q3", "2026-07-01", "2026-09-30");
	has(&calendar, "2026_Q2", "2026-04-01", "2026-06-30");
}

static void
test_bounds(void)
{
	ClariCalendar calendar = {0};
	ClariQuarter quarter = {.first = 10, .last = 9};
	ClariError error = {0};

	clari_calendar_add(&calendar, &quarter);
	ok(calendar.count == 0, "a quarter that ends before it begins is none");
	for (quarter.period = 8000, quarter.last = 100; quarter.period < 8200; quarter.period++)
		clari_calendar_add(&calendar, &quarter);
	clari_calendar_add(&calendar, &calendar.quarters[0]);
	ok(calendar.count == CLARI_CALENDAR_MAX, "there is room for so many");
	ok(!clari_calendar_unknown("2026_Q1", &error) && strstr(error.detail, "period 2026_Q1") != NULL &&
		   strstr(error.hint, "'json'") != NULL,
	   "not to know is an error that says how to");
	ok(!clari_calendar_unknown("", &error) && strstr(error.detail, "the current quarter") != NULL,
	   "… of the current one");
}

int
main(void)
{
	test_days();
	test_months();
	test_weeks();
	test_moved_year();
	test_bounds();
	return done_testing();
}
