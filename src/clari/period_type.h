/*
 * period_type.h
 *		Periods beside the quarter: months and years, how Clari writes them, and
 *		which quarter they are of.
 *
 * An export is always asked for by quarter.  A Forecast Tab may be by month or
 * year, and then the file has entries of these, beside the quarter's or instead
 * of them.  How months are numbered (by the fiscal year or the calendar's) only
 * files tell, which have the days of both.  Pure.
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
	CLARI_OTHER_PERIODS /* anything else that Clari may have */
} ClariPeriodType;

#define CLARI_PERIOD_TYPES 4

/* "quarter", "month", "year": the words of option "period_type" and of rowsets; "other". */
extern const char *const clari_period_type_names[CLARI_PERIOD_TYPES];

/* A period as its id or label says. */
typedef struct ClariPeriodName
{
	ClariPeriodType type;
	int year;   /* 0: it does not say */
	int number; /* of the quarter or month, from 1; 0: it does not say */
} ClariPeriodName;

/* What list timePeriods calls the type, such as "month"; CLARI_OTHER_PERIODS for any other word. */
extern ClariPeriodType clari_period_type_read(const char *text, size_t length);

/* Reads "2026_Q1", "2026_M01" and "2026"; false for anything else. */
extern bool clari_period_name_of_id(const char *text, size_t length, ClariPeriodName *name);

/*
 * Reads a label, or what CSV has in Timeframe: "Q1 FY 2026", "July FY 2023",
 * "FY26", and ids.  The type is CLARI_OTHER_PERIODS where nothing tells it.
 */
extern void clari_period_name_of_label(const char *text, size_t length, ClariPeriodName *name);

/* ------- how months and years are numbered ------- */

#define CLARI_SHIFT_UNKNOWN INT32_MIN   /* nothing tells */
#define CLARI_SHIFT_IRREGULAR INT32_MAX /* there is no rule */

/*
 * By how much the numbers of months and years in ids lag behind those of the fiscal
 * year.  All zero: the first month of 2026_Q1 is 2026_M01, and its year 2026.
 */
typedef struct ClariNumbering
{
	int32_t months;
	int32_t years;
} ClariNumbering;

extern void clari_numbering_init(ClariNumbering *numbering);

/*
 * Learns from a month or year (its id, and its days, which may be CLARI_DATE_NONE)
 * in the export of the quarter, whose days are known; or NULL.
 */
extern void clari_numbering_learn(ClariNumbering *numbering, const char *id, size_t length, ClariPeriodType type,
								  int32_t first, int32_t last, const ClariQuarter *quarter);

/* What both tell together; where they contradict each other there is no rule. */
extern void clari_numbering_add(ClariNumbering *numbering, const ClariNumbering *other);

#define CLARI_MONTHS_OF_QUARTER 3
#define CLARI_PERIOD_ID_SIZE 16

/*
 * The ids of the type that an export of the quarter can hold; returns how many, or 0:
 * that is not known.
 */
extern int clari_numbering_ids(const ClariNumbering *numbering, ClariPeriodType type, ClariPeriod quarter,
							   char ids[CLARI_MONTHS_OF_QUARTER][CLARI_PERIOD_ID_SIZE]);

#endif /* CLARI_PERIOD_TYPE_H */
