/*
 * period.h
 *		Fiscal quarters, and the extent of a foreign table in quarters.
 *
 * Pure: no allocation, no clock, no PostgreSQL.  Fiscal calendars differ, so
 * the current quarter must be told by Clari, and is passed by the caller.
 */
#ifndef CLARI_PERIOD_H
#define CLARI_PERIOD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* A fiscal quarter, as a number from the first quarter of year 0: year * 4 + (quarter - 1). */
typedef int32_t ClariPeriod;

#define CLARI_PERIOD_NONE (-1)
#define CLARI_PERIOD_TEXT_SIZE 8 /* "2026_Q1" and its NUL */

#define CLARI_EXTENT_MAX_RANGES 64
#define CLARI_EXTENT_MAX_PERIODS 400 /* a century of quarters */

typedef struct ClariPeriodBound
{
	bool relative; /* value is relative to the current quarter */
	int32_t value; /* a ClariPeriod, or quarters from the current one (-400 to 400) */
} ClariPeriodBound;

typedef struct ClariPeriodRange
{
	ClariPeriodBound first; /* both are included */
	ClariPeriodBound last;
} ClariPeriodRange;

/*
 * The value of option "periods", a comma-separated list of ranges.  Without
 * ranges, it is the extent of an object that has no periods.
 */
typedef struct ClariExtent
{
	int nranges;
	ClariPeriodRange ranges[CLARI_EXTENT_MAX_RANGES];
} ClariExtent;

/* Parses "2026_Q1" (1900 to 9999, Q1 to Q4).  Returns false for any other text. */
extern bool clari_period_parse(const char *text, ClariPeriod *period);

/* For messages: the period, a text that is empty if none was requested, as two arguments for "%s%s". */
#define CLARI_PERIOD_WORDS(period) ((period)[0] != '\0' ? "period " : "the current quarter"), (period)

/* For views and lists: the period's text, or "current" if it is empty. */
static inline const char *
clari_period_or_current(const char *period)
{
	return period[0] != '\0' ? period : "current";
}

/* Writes "2026_Q1" with its NUL, or an empty text for CLARI_PERIOD_NONE, to text, of CLARI_PERIOD_TEXT_SIZE bytes. */
extern void clari_period_format(ClariPeriod period, char *text);

/*
 * Parses "2026_Q1", "2025_Q1..2025_Q4", "2025_Q1..current", "current",
 * "current-1", "current+1", "current-3..current", and comma-separated lists of
 * these, with white space around the parts.  Returns false with
 * CLARI_ERROR_OPTION, whose message names the wrong part and whose hint says
 * what is valid, for an empty list, more than CLARI_EXTENT_MAX_RANGES parts, a
 * range that runs backwards, or one of more than CLARI_EXTENT_MAX_PERIODS
 * quarters.
 */
extern bool clari_extent_parse(const char *text, ClariExtent *extent, ClariError *error);

/* Does the extent depend on the current quarter? */
extern bool clari_extent_is_relative(const ClariExtent *extent);

/*
 * Writes the quarters of the extent, ascending and without duplicates, to
 * periods, which must have room for CLARI_EXTENT_MAX_PERIODS; returns their
 * number.  current may be CLARI_PERIOD_NONE only if the extent is not relative.
 * If the extent covers more quarters than there is room for (a range from long
 * ago to the current quarter), the newest are returned.  For an extent without
 * ranges, the result is a single CLARI_PERIOD_NONE.  A range such as
 * "2030_Q1..current" is empty until that quarter is reached.
 */
extern int clari_extent_expand(const ClariExtent *extent, ClariPeriod current, ClariPeriod *periods);

#endif /* CLARI_PERIOD_H */
