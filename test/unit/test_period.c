/*
 * test_period.c
 *		What period.h promises: quarters, extents, and their errors.
 */
#include "unit.h"

#include "clari/period.h"

static ClariPeriod
quarter(const char *text)
{
	ClariPeriod period = CLARI_PERIOD_NONE;

	clari_period_parse(text, &period);
	return period;
}

/* The extent's quarters as "2026_Q1 2026_Q2", or the error's message. */
static const char *
expand(const char *text, const char *current, char *result, size_t size)
{
	ClariExtent extent;
	ClariError error = {0};
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	int count;

	result[0] = '\0';
	if (!clari_extent_parse(text, &extent, &error))
		return strncat(result, error.message, size - 1);
	count = clari_extent_expand(&extent, current != NULL ? quarter(current) : CLARI_PERIOD_NONE, periods);
	for (int i = 0; i < count && strlen(result) + CLARI_PERIOD_TEXT_SIZE + 1 < size; i++)
	{
		if (i > 0)
			strcat(result, " ");
		clari_period_format(periods[i], result + strlen(result));
	}
	return result;
}

static void
expands(const char *text, const char *current, const char *expected)
{
	char result[600];
	char name[200];

	snprintf(name, sizeof(name), "\"%.60s\" with current quarter %s", text, current != NULL ? current : "unknown");
	is(expand(text, current, result, sizeof(result)), expected, name);
}

static void
refuses(const char *text, const char *message)
{
	ClariExtent extent;
	ClariError error = {0};
	bool parsed = clari_extent_parse(text, &extent, &error);

	ok(!parsed && error.code == CLARI_ERROR_OPTION && error.hint[0] != '\0' &&
		   strstr(error.detail, "ption \"periods\""),
	   "\"%.60s\" is refused with detail and hint", text);
	is(error.message, message, "and the message names the part");
}

static void
test_quarters(void)
{
	static const char *const bad[] = {"",         "2026",     "2026Q1",   "2026_q1",  "2026_Q0",
									  "2026_Q5",  "1899_Q4",  "26_Q1",    "2026_Q1 ", " 2026_Q1",
									  "2026_Q11", "12026_Q1", "+026_Q1",  "2026-Q1",  "20 6_Q1",
									  "current",  "2026_Q",   "2026_Q1x", "0x26_Q1",  "\302\262026_Q"};
	char text[CLARI_PERIOD_TEXT_SIZE];
	ClariPeriod period = 12345;
	int wrong = 0;

	ok(clari_period_parse("2026_Q1", &period) && period == 2026 * 4, "2026_Q1 is quarter 0 of year 2026");
	ok(quarter("2026_Q4") + 1 == quarter("2027_Q1"), "the quarter after Q4 is Q1 of the next year");
	ok(quarter("1900_Q1") == 7600 && quarter("9999_Q4") == 39999, "the first and the last quarter there are");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!clari_period_parse(bad[i], &period), "\"%s\" is no quarter", bad[i]);
	for (period = quarter("1900_Q1"); period <= quarter("9999_Q4"); period++)
	{
		clari_period_format(period, text);
		wrong += quarter(text) != period;
	}
	ok(wrong == 0, "every quarter is read back as it was written");
	clari_period_format(CLARI_PERIOD_NONE, text);
	is(text, "", "no quarter is the empty text");
	clari_period_format(quarter("9999_Q4") + 1, text);
	is(text, "", "neither is one beyond the years there are");
}

static void
test_extents(void)
{
	expands("2026_Q1", NULL, "2026_Q1");
	expands("2025_Q3..2026_Q2", NULL, "2025_Q3 2025_Q4 2026_Q1 2026_Q2");
	expands("2025_Q3 ..\t2025_Q4 ,\n 2024_Q1", NULL, "2024_Q1 2025_Q3 2025_Q4");
	expands("2026_Q2,2026_Q1,2026_Q2,2026_Q1..2026_Q3", NULL, "2026_Q1 2026_Q2 2026_Q3");
	expands("current", "2026_Q1", "2026_Q1");
	expands("current-1", "2026_Q1", "2025_Q4");
	expands("current+2", "2026_Q3", "2027_Q1");
	expands("current-0,current+0", "2026_Q3", "2026_Q3");
	expands("current-3..current", "2026_Q2", "2025_Q3 2025_Q4 2026_Q1 2026_Q2");
	expands("current-1..current+1", "2026_Q1", "2025_Q4 2026_Q1 2026_Q2");
	expands("2025_Q4..current", "2026_Q2", "2025_Q4 2026_Q1 2026_Q2");
	expands("current..2026_Q2", "2026_Q1", "2026_Q1 2026_Q2");
	expands("2030_Q1..current", "2026_Q1", "");
	expands("current..2020_Q1,2019_Q1", "2026_Q1", "2019_Q1");
	expands("current-400..current-399", "1901_Q1", "");
	expands("current+1", "9999_Q4", "");
	expands("current..current+9", "9999_Q3", "9999_Q3 9999_Q4");
}

static void
test_relative(void)
{
	ClariExtent extent;

	ok(clari_extent_parse("2025_Q1..2025_Q4,2024_Q1", &extent, NULL) && !clari_extent_is_relative(&extent),
	   "quarters do not depend on the current one");
	ok(clari_extent_parse("2024_Q1,2025_Q1..current", &extent, NULL) && clari_extent_is_relative(&extent),
	   "a range until the current quarter does");
	ok(clari_extent_parse("current-1..2030_Q1", &extent, NULL) && clari_extent_is_relative(&extent), "and one from it");
}

static void
test_bounds(void)
{
	ClariExtent extent;
	ClariError error = {0};
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	char text[CLARI_EXTENT_MAX_RANGES * 8 + 8] = "2026_Q1";
	int count;
	bool ascending = true;

	ok(clari_extent_parse("1900_Q1..current", &extent, NULL), "a range from long ago to now");
	count = clari_extent_expand(&extent, quarter("2026_Q1"), periods);
	for (int i = 1; i < count; i++)
		ascending = ascending && periods[i] == periods[i - 1] + 1;
	ok(count == CLARI_EXTENT_MAX_PERIODS && periods[count - 1] == quarter("2026_Q1") && ascending,
	   "keeps the newest 400, ascending");
	ok(clari_extent_parse("1900_Q1..1999_Q4", &extent, NULL) &&
		   clari_extent_expand(&extent, CLARI_PERIOD_NONE, periods) == 400,
	   "400 quarters are a range");
	ok(clari_extent_parse("1900_Q1..1999_Q4,2026_Q1", &extent, NULL) &&
		   clari_extent_expand(&extent, CLARI_PERIOD_NONE, periods) == 400 && periods[399] == quarter("2026_Q1") &&
		   periods[0] == quarter("1900_Q2"),
	   "parts that come to more keep the newest");
	for (int i = 1; i < CLARI_EXTENT_MAX_RANGES; i++)
		strcat(text, ",2026_Q1");
	ok(clari_extent_parse(text, &extent, &error) && extent.nranges == CLARI_EXTENT_MAX_RANGES, "64 parts are a list");
	strcat(text, ",");
	refuses(text, "too many periods");
}

static void
test_refusals(void)
{
	char long_part[400];
	ClariError error = {0};
	ClariExtent extent;

	refuses("", "invalid period \"\"");
	refuses(" \t ", "invalid period \"\"");
	refuses("2026_Q1,", "invalid period \"\"");
	refuses(",2026_Q1", "invalid period \"\"");
	refuses("2026_Q1, 2026Q1 ,2026_Q3", "invalid period \"2026Q1\"");
	refuses("2026_Q1..", "invalid period \"2026_Q1..\"");
	refuses("..2026_Q1", "invalid period \"..2026_Q1\"");
	refuses("2026_Q1...2026_Q2", "invalid period \"2026_Q1...2026_Q2\"");
	refuses("2026_Q1..2026_Q2..2026_Q3", "invalid period \"2026_Q1..2026_Q2..2026_Q3\"");
	refuses("2026_Q1.2026_Q2", "invalid period \"2026_Q1.2026_Q2\"");
	refuses("2026_Q1 2026_Q2", "invalid period \"2026_Q1 2026_Q2\"");
	refuses("Current", "invalid period \"Current\"");
	refuses("currently", "invalid period \"currently\"");
	refuses("current-", "invalid period \"current-\"");
	refuses("current--1", "invalid period \"current--1\"");
	refuses("current -1", "invalid period \"current -1\"");
	refuses("current-401", "invalid period \"current-401\"");
	refuses("current+4294967297", "invalid period \"current+4294967297\"");
	refuses("2026_Q2..2026_Q1", "range of periods \"2026_Q2..2026_Q1\" runs backwards");
	refuses("current..current-1", "range of periods \"current..current-1\" runs backwards");
	refuses("1900_Q1..2000_Q1", "range of periods \"1900_Q1..2000_Q1\" is too long");
	refuses("current-200..current+200", "range of periods \"current-200..current+200\" is too long");

	for (size_t i = 0; i + 2 < sizeof(long_part); i += 2)
		memcpy(long_part + i, "\xC3\xA9", 3);
	ok(!clari_extent_parse(long_part, &extent, &error) && strlen(error.message) < sizeof(error.message) &&
		   ((unsigned char) error.message[strlen(error.message) - 1] & 0xC0) == 0x80,
	   "a long part is cut between characters");
	ok(!clari_extent_parse("x", &extent, NULL), "nobody has to want the error");
}

static void
test_without_ranges(void)
{
	ClariExtent extent = {.nranges = 0};
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];

	ok(!clari_extent_is_relative(&extent), "what has no periods does not depend on the current one");
	ok(clari_extent_expand(&extent, CLARI_PERIOD_NONE, periods) == 1 && periods[0] == CLARI_PERIOD_NONE,
	   "it is one part without a period");
}

int
main(void)
{
	test_quarters();
	test_extents();
	test_relative();
	test_bounds();
	test_refusals();
	test_without_ranges();
	return done_testing();
}
