/*
 * test_period_type.c
 *		What period_type.h promises: what an id or a label means, and how months and
 *		years are numbered.
 */
#include "unit.h"

#include "clari/period_type.h"

static void
label_is(const char *label, ClariPeriodType type, int year, int number)
{
	ClariPeriodName name;

	clari_period_name_of_label(label, strlen(label), &name);
	ok(name.type == type && name.year == year && name.number == number, "\"%s\" is %s %d of %d", label,
	   clari_period_type_names[type], number, year);
	if (name.type != type || name.year != year || name.number != number)
		printf("# %s %d of %d\n", clari_period_type_names[name.type], name.number, name.year);
}

static void
test_names(void)
{
	static const char *const no_ids[] = {"",         "202",      "20266",    "2026_",    "2026_Q0",
										 "2026_Q5",  "2026_Q11", "2026_M00", "2026_M13", "2026_M1",
										 "2026_m01", "2026-Q1",  "1899_Q1",  "Q1 2026",  "0000"};
	ClariPeriodName name;

	ok(clari_period_type_read("month", 5) == CLARI_MONTHS && clari_period_type_read("QUARTER", 7) == CLARI_QUARTERS &&
		   clari_period_type_read("Year", 4) == CLARI_YEARS &&
		   clari_period_type_read("week", 4) == CLARI_OTHER_PERIODS &&
		   clari_period_type_read("", 0) == CLARI_OTHER_PERIODS,
	   "types are told by their words");
	ok(clari_period_name_of_id("2026_M11", 8, &name) && name.type == CLARI_MONTHS && name.year == 2026 &&
		   name.number == 11,
	   "an id of a month");
	for (size_t i = 0; i < sizeof(no_ids) / sizeof(no_ids[0]); i++)
		ok(!clari_period_name_of_id(no_ids[i], strlen(no_ids[i]), &name), "\"%s\" is no id", no_ids[i]);
	label_is("2026_Q1", CLARI_QUARTERS, 2026, 1);
	label_is("2026_M01", CLARI_MONTHS, 2026, 1);
	label_is("2026", CLARI_YEARS, 2026, 0);
	label_is("Q1 FY 2026", CLARI_QUARTERS, 2026, 1);
	label_is("Q3 FY2026", CLARI_QUARTERS, 2026, 3);
	label_is("FY26 Q4", CLARI_QUARTERS, 2026, 4);
	label_is("FY 26 Q4", CLARI_QUARTERS, 2026, 4);
	label_is("July FY 2023", CLARI_MONTHS, 2023, 0);
	label_is("jul 2023", CLARI_MONTHS, 2023, 0);
	label_is("2023 M07", CLARI_MONTHS, 2023, 7);
	label_is("FY 2023", CLARI_YEARS, 2023, 0);
	label_is("FY23", CLARI_YEARS, 2023, 0);
	label_is("Fiscal Year 2023", CLARI_YEARS, 2023, 0);
	label_is("This Quarter", CLARI_QUARTERS, 0, 0);
	label_is("Month 7, 2023", CLARI_MONTHS, 2023, 0);
	label_is("H1 2023", CLARI_OTHER_PERIODS, 2023, 0);
	label_is("2023 H1", CLARI_OTHER_PERIODS, 2023, 0);
	label_is("Week 3", CLARI_OTHER_PERIODS, 0, 0);
	label_is("", CLARI_OTHER_PERIODS, 0, 0);
	label_is("Q1", CLARI_QUARTERS, 0, 1);
	label_is("Market", CLARI_OTHER_PERIODS, 0, 0);
	label_is("Feb - Q1 FY26", CLARI_MONTHS, 2026, 0);
	label_is("Q1 FY26: Feb", CLARI_MONTHS, 2026, 0);
	label_is("Jul 1 - Jul 31, 2023", CLARI_MONTHS, 2023, 0);
	label_is("July 2023 (M06)", CLARI_MONTHS, 2023, 6);
	label_is("Q1 FY26 (Feb - Apr)", CLARI_QUARTERS, 2026, 1);
	label_is("Feb - Apr FY26", CLARI_OTHER_PERIODS, 2026, 0);
	label_is("M01 - M03 2026", CLARI_OTHER_PERIODS, 2026, 0);
}

/* ------- numbering ------- */

static int32_t
day(const char *text)
{
	int64_t days = INT32_MIN;

	clari_date_read(text, strlen(text), &days);
	return (int32_t) days;
}

static ClariNumbering
learn(const char *id, ClariPeriodType type, const char *first, const char *last, const char *quarter,
	  const char *q_first, const char *q_last)
{
	ClariQuarter days = {.first = day(q_first), .last = day(q_last)};
	ClariNumbering numbering;

	clari_period_parse(quarter, &days.period);
	clari_numbering_init(&numbering);
	clari_numbering_learn(&numbering, id, strlen(id), type, *first ? day(first) : CLARI_DATE_NONE,
						  *last ? day(last) : CLARI_DATE_NONE, &days);
	return numbering;
}

static void
has_ids(const char *name, const ClariNumbering *numbering, ClariPeriodType type, const char *quarter,
		const char *expected)
{
	char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE];
	char list[80] = "";
	ClariPeriod period;
	int count;

	clari_period_parse(quarter, &period);
	count = clari_numbering_ids(numbering, type, period, ids);
	for (int i = 0; i < count; i++)
		snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i > 0 ? " " : "", ids[i]);
	is(list, expected, name);
}

static void
test_numbering(void)
{
	ClariNumbering fiscal =
		learn("2026_M05", CLARI_MONTHS, "2025-06-01", "2025-06-30", "2026_Q2", "2025-05-01", "2025-07-31");
	ClariNumbering calendar =
		learn("2025_M06", CLARI_MONTHS, "2025-06-01", "2025-06-30", "2026_Q2", "2025-05-01", "2025-07-31");
	ClariNumbering weeks =
		learn("2026_M06", CLARI_MONTHS, "2025-06-29", "2025-08-02", "2026_Q2", "2025-05-04", "2025-08-02");
	ClariNumbering year = learn("FY26", CLARI_YEARS, "2025-02-01", "2026-01-31", "2026_Q2", "2025-05-01", "2025-07-31");
	ClariNumbering both;

	has_ids("months that are numbered as the fiscal year's", &fiscal, CLARI_MONTHS, "2025_Q4",
			"2025_M10 2025_M11 2025_M12");
	has_ids("… as the calendar year's", &calendar, CLARI_MONTHS, "2026_Q4", "2025_M11 2025_M12 2026_M01");
	has_ids("… of a calendar of weeks", &weeks, CLARI_MONTHS, "2027_Q1", "2027_M01 2027_M02 2027_M03");
	has_ids("of years nothing is known from months", &fiscal, CLARI_YEARS, "2026_Q1", "");
	has_ids("a year whose id has no number is irregular", &year, CLARI_YEARS, "2026_Q1", "");
	year = learn("2025", CLARI_YEARS, "2025-02-01", "2026-01-31", "2026_Q2", "2025-05-01", "2025-07-31");
	has_ids("a year that is named for the one it begins in", &year, CLARI_YEARS, "2027_Q3", "2026");
	both = fiscal;
	clari_numbering_add(&both, &weeks);
	clari_numbering_add(&both, &year);
	has_ids("what agrees stays known", &both, CLARI_MONTHS, "2026_Q1", "2026_M01 2026_M02 2026_M03");
	has_ids("… and is added to", &both, CLARI_YEARS, "2026_Q1", "2025");
	clari_numbering_add(&both, &calendar);
	has_ids("what contradicts it makes it unknown", &both, CLARI_MONTHS, "2026_Q1", "");
	clari_numbering_add(&both, &fiscal);
	has_ids("… for good", &both, CLARI_MONTHS, "2026_Q1", "");
	both = learn("2026_M05", CLARI_MONTHS, "", "", "2026_Q2", "2025-05-01", "2025-07-31");
	clari_numbering_add(&both, &fiscal);
	has_ids("a month without days tells that there is no rule", &both, CLARI_MONTHS, "2026_Q1", "");
	both = learn("2026_M08", CLARI_MONTHS, "2025-09-01", "2025-09-30", "2026_Q2", "2025-05-01", "2025-07-31");
	clari_numbering_add(&both, &fiscal);
	has_ids("so does one of another quarter", &both, CLARI_MONTHS, "2026_Q1", "");
}

int
main(void)
{
	test_names();
	test_numbering();
	return done_testing();
}
