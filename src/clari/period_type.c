/*
 * period_type.c
 *		Months and years, which some forecasts have besides quarters: see
 *		period_type.h.
 *
 * Runs in the worker, in sessions, unit tests and fuzzers; allocates nothing.
 */
#include "clari/period_type.h"

#include <stdio.h>
#include <string.h>

#define FIRST_YEAR 1900 /* the same as for quarters */

const char *const clari_period_type_names[CLARI_PERIOD_TYPES] = {
	[CLARI_QUARTERS] = "quarter", [CLARI_MONTHS] = "month", [CLARI_YEARS] = "year", [CLARI_OTHER_PERIODS] = "other"};

/* ------- words ------- */

/* Converts ASCII letters only, whatever the locale. */
static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

static bool
is_letter(char c)
{
	return lower(c) >= 'a' && lower(c) <= 'z';
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Is the text the word, regardless of case? */
static bool
is_word(const char *text, size_t length, const char *word)
{
	if (length != strlen(word))
		return false;
	for (size_t i = 0; i < length; i++)
		if (lower(text[i]) != word[i])
			return false;
	return true;
}

ClariPeriodType
clari_period_type_read(const char *text, size_t length)
{
	for (int type = 0; type < CLARI_OTHER_PERIODS; type++)
		if (is_word(text, length, clari_period_type_names[type]))
			return (ClariPeriodType) type;
	return CLARI_OTHER_PERIODS;
}

/* ------- ids ------- */

/* Reads up to four digits as a number. */
static int
read_number(const char *text, size_t length)
{
	int number = 0;

	if (length == 0 || length > 4)
		return -1;
	for (size_t i = 0; i < length; i++)
	{
		if (!is_digit(text[i]))
			return -1;
		number = number * 10 + (text[i] - '0');
	}
	return number;
}

bool
clari_period_name_of_id(const char *text, size_t length, ClariPeriodName *name)
{
	int year = length >= 4 ? read_number(text, 4) : -1;

	*name = (ClariPeriodName){CLARI_OTHER_PERIODS, 0, 0};
	if (year < FIRST_YEAR)
		return false;
	if (length == 4)
		*name = (ClariPeriodName){CLARI_YEARS, year, 0};
	else if (length == 7 && text[4] == '_' && text[5] == 'Q' && text[6] >= '1' && text[6] <= '4')
		*name = (ClariPeriodName){CLARI_QUARTERS, year, text[6] - '0'};
	else if (length == 8 && text[4] == '_' && text[5] == 'M' && read_number(text + 6, 2) >= 1 &&
			 read_number(text + 6, 2) <= 12)
		*name = (ClariPeriodName){CLARI_MONTHS, year, read_number(text + 6, 2)};
	return name->type != CLARI_OTHER_PERIODS;
}

/* ------- labels ------- */

/* Returns the month (from 1) that the word names, in full or by at least three letters, or 0. */
static int
month_of_word(const char *word, size_t length)
{
	static const char *const months[] = {"january", "february", "march",     "april",   "may",      "june",
										 "july",    "august",   "september", "october", "november", "december"};

	for (int i = 0; i < 12; i++)
	{
		size_t at = 0;

		while (at < length && months[i][at] != '\0' && lower(word[at]) == months[i][at])
			at++;
		if (length >= 3 && at == length)
			return i + 1;
	}
	return 0;
}

/* What was read of a label so far. */
typedef struct Label
{
	ClariPeriodName *name;
	int quarter;    /* number of the quarter, or 0 */
	int month;      /* the number of "M02", or 0 */
	int named;      /* the last month given by its name, or 0 */
	bool has_month; /* a month was given by name or number */
	bool several;   /* different months were given, so the label is not that of one month */
	bool fiscal;    /* the last word was "FY" or similar, so that two digits are a year */
	bool others;    /* there are unknown words, so that the period may be smaller than its year */
} Label;

static void
take_month(Label *label, int *kept, int month)
{
	label->several = label->several || (*kept != 0 && *kept != month);
	label->has_month = true;
	*kept = month;
}

/* Handles one word of letters and digits after it, such as "Q1", "FY", "2026", "July", "M02". */
static void
take_word(Label *label, const char *word, size_t letters, size_t digits)
{
	ClariPeriodName *name = label->name;
	bool fiscal = is_word(word, letters, "fy") || is_word(word, letters, "fiscal") || is_word(word, letters, "year");
	int number = digits > 0 ? read_number(word + letters, digits) : -1;

	if (letters == 1 && lower(word[0]) == 'q' && number >= 1 && number <= 4)
		label->quarter = number;
	else if (letters == 1 && lower(word[0]) == 'm' && number >= 1 && number <= 12)
		take_month(label, &label->month, number);
	else if (month_of_word(word, letters) > 0)
	{
		take_month(label, &label->named, month_of_word(word, letters));
		name->year = digits == 4 ? number : name->year;
	}
	else if (is_word(word, letters, "quarter") || is_word(word, letters, "month"))
		name->type = name->type == CLARI_OTHER_PERIODS ? clari_period_type_read(word, letters) : name->type;
	else if (letters > 0 && !fiscal)
		label->others = true;
	else if (digits == 4 && number >= FIRST_YEAR)
		name->year = number;
	else if (digits == 2 && (label->fiscal || fiscal))
		name->year = 2000 + number;
	label->fiscal = fiscal;
}

/*
 * Decides what the label means.  If there is one month, it is that month, even
 * if the quarter is there too ("Feb, Q1 FY26").  Several months are those of
 * the quarter that is named; if none is named, the label is not understood.
 */
static void
conclude(const Label *label)
{
	ClariPeriodName *name = label->name;

	if (label->has_month && !label->several)
		*name = (ClariPeriodName){CLARI_MONTHS, name->year, label->month};
	else if (label->quarter > 0)
		*name = (ClariPeriodName){CLARI_QUARTERS, name->year, label->quarter};
	/* There is a year, and nothing that is smaller. */
	else if (name->type == CLARI_OTHER_PERIODS && name->year != 0 && !label->others && !label->has_month)
		name->type = CLARI_YEARS;
}

void
clari_period_name_of_label(const char *text, size_t length, ClariPeriodName *name)
{
	Label label = {.name = name};
	size_t at = 0;

	if (clari_period_name_of_id(text, length, name))
		return;
	while (at < length)
	{
		size_t letters = 0;
		size_t digits = 0;

		while (at + letters < length && is_letter(text[at + letters]))
			letters++;
		while (at + letters + digits < length && is_digit(text[at + letters + digits]))
			digits++;
		if (letters + digits > 0)
			take_word(&label, text + at, letters, digits);
		at += letters + digits > 0 ? letters + digits : 1;
	}
	conclude(&label);
}

/* ------- how months and years are numbered ------- */

void
clari_numbering_init(ClariNumbering *numbering)
{
	numbering->months = numbering->years = CLARI_SHIFT_UNKNOWN;
}

static void
add_shift(int32_t *shift, int32_t other)
{
	if (other == CLARI_SHIFT_UNKNOWN)
		return;
	if (*shift == CLARI_SHIFT_UNKNOWN)
		*shift = other;
	else if (*shift != other)
		*shift = CLARI_SHIFT_IRREGULAR;
}

void
clari_numbering_add(ClariNumbering *numbering, const ClariNumbering *other)
{
	add_shift(&numbering->months, other->months);
	add_shift(&numbering->years, other->years);
}

void
clari_numbering_learn(ClariNumbering *numbering, const char *id, size_t length, ClariPeriodType type, int32_t first,
					  int32_t last, const ClariQuarter *quarter)
{
	int32_t *shift = type == CLARI_MONTHS ? &numbering->months : &numbering->years;
	ClariPeriodName name;
	int32_t middle;

	if (type != CLARI_MONTHS && type != CLARI_YEARS)
		return;
	if (clari_period_name_of_id(id, length, &name) && name.type == type && quarter == NULL)
		return;
	if (name.type != type || first == CLARI_DATE_NONE || last < first)
	{
		*shift = CLARI_SHIFT_IRREGULAR;
		return;
	}
	middle = first + (last - first) / 2;
	if (type == CLARI_MONTHS && quarter->first <= middle && middle <= quarter->last)
	{
		int64_t place =
			(int64_t) (middle - quarter->first) * CLARI_MONTHS_OF_QUARTER / (quarter->last - quarter->first + 1);

		add_shift(shift,
				  quarter->period * CLARI_MONTHS_OF_QUARTER + (int32_t) place - (name.year * 12 + name.number - 1));
	}
	else if (type == CLARI_YEARS && first <= quarter->first && quarter->last <= last)
		add_shift(shift, quarter->period / 4 - name.year);
	else
		*shift = CLARI_SHIFT_IRREGULAR;
}

int
clari_numbering_ids(const ClariNumbering *numbering, ClariPeriodType type, ClariPeriod quarter,
					char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE])
{
	int32_t shift = type == CLARI_MONTHS ? numbering->months : numbering->years;

	if (shift == CLARI_SHIFT_UNKNOWN || shift == CLARI_SHIFT_IRREGULAR || (type != CLARI_MONTHS && type != CLARI_YEARS))
		return 0;
	if (type == CLARI_YEARS)
	{
		snprintf(ids[0], CLARI_PERIOD_ID_SIZE, "%04d", quarter / 4 - shift);
		return 1;
	}
	for (int i = 0; i < CLARI_MONTHS_OF_QUARTER; i++)
	{
		int month = quarter * CLARI_MONTHS_OF_QUARTER - shift + i;

		snprintf(ids[i], CLARI_PERIOD_ID_SIZE, "%04d_M%02d", month / 12, month % 12 + 1);
	}
	return CLARI_MONTHS_OF_QUARTER;
}
