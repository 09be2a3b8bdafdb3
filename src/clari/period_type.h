/*
 * period_type.h
 *		Months and years: how Clari writes them, and which quarter they
 *		belong to.
 *
 * An export is always requested by quarter.  A Forecast Tab may be by month or
 * year; then the file has entries of these, besides or instead of those of the
 * quarter.  Months may be numbered by the fiscal or by the calendar year,
 * which only files with the days of months and of their quarter can show.
 * Pure.
 */
#ifndef CLARI_PERIOD_TYPE_H
#define CLARI_PERIOD_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "clari/calendar.h"
#include "clari/period.h"

typedef enum ClariPeriodType
{
	CLARI_QUARTERS,
	CLARI_MONTHS,
	CLARI_YEARS,
	CLARI_OTHER_PERIODS /* any other type that Clari may have */
} ClariPeriodType;

#define CLARI_PERIOD_TYPES 4

/* "quarter", "month" and "year", as in option "period_type" and in rowsets, and "other". */
extern const char *const clari_period_type_names[CLARI_PERIOD_TYPES];

/* A period as described by its id or label. */
typedef struct ClariPeriodName
{
	ClariPeriodType type;
	int year;   /* 0: not given */
	int number; /* of the quarter or month, from 1; 0: not given */
} ClariPeriodName;

/* Returns the type for the word in list timePeriods, such as "month", or CLARI_OTHER_PERIODS for any other word. */
extern ClariPeriodType clari_period_type_read(const char *text, size_t length);

/* Parses "2026_Q1", "2026_M01" and "2026".  Returns false for any other text. */
extern bool clari_period_name_of_id(const char *text, size_t length, ClariPeriodName *name);

/*
 * Parses a label, or the value of column Timeframe of CSV, such as "Q1 FY
 * 2026", "July FY 2023", "FY26", or an id.  The type is CLARI_OTHER_PERIODS if
 * the text does not show it.
 */
extern void clari_period_name_of_label(const char *text, size_t length, ClariPeriodName *name);

/* ------- how months and years are numbered ------- */

#define CLARI_SHIFT_UNKNOWN INT32_MIN   /* no file has shown it */
#define CLARI_SHIFT_IRREGULAR INT32_MAX /* there is no rule */

/*
 * By how much the numbers of months and years in ids lag behind those of the
 * fiscal year.  If both are 0, the first month of 2026_Q1 is 2026_M01, and its
 * year is 2026.
 */
typedef struct ClariNumbering
{
	int32_t months;
	int32_t years;
} ClariNumbering;

extern void clari_numbering_init(ClariNumbering *numbering);

/*
 * Learns from the id and the days (which may be CLARI_DATE_NONE) of a month or
 * year in the export of a quarter.  quarter is NULL if the days of that quarter
 * are not known.
 */
extern void clari_numbering_learn(ClariNumbering *numbering, const char *id, size_t length, ClariPeriodType type,
								  int32_t first, int32_t last, const ClariQuarter *quarter);

/* Adds what other shows.  If the two contradict each other, there is no rule. */
extern void clari_numbering_add(ClariNumbering *numbering, const ClariNumbering *other);

#define CLARI_MONTHS_OF_QUARTER 3
#define CLARI_PERIOD_ID_SIZE 16

/*
 * Writes the ids that periods of the type can have in an export of the
 * quarter.  Returns their number, or 0 if they are not known.
 */
extern int clari_numbering_ids(const ClariNumbering *numbering, ClariPeriodType type, ClariPeriod quarter,
							   char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE]);

#endif /* CLARI_PERIOD_TYPE_H */
