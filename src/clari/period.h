/*
 * period.h
 *		Fiscal quarters, and the extent of a foreign table in quarters.
 *
 * Pure: no allocation, no clock, no PostgreSQL.  Which quarter is the current
 * one is Clari's knowledge (fiscal calendars differ) and comes from the caller.
 */
#ifndef CLARI_PERIOD_H
#define CLARI_PERIOD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* A fiscal quarter counted from year 0: year * 4 + (quarter - 1). */
typedef int32_t ClariPeriod;

#define CLARI_PERIOD_NONE (-1)
#define CLARI_PERIOD_TEXT_SIZE 8 /* "2026_Q1" and its NUL */

#define CLARI_EXTENT_MAX_RANGES 64
#define CLARI_EXTENT_MAX_PERIODS 400 /* a century of quarters */

typedef struct ClariPeriodBound
{
	bool relative; /* value counts from the current quarter */
	int32_t value; /* a ClariPeriod, or quarters from the current one (at most 400 either way) */
} ClariPeriodBound;

typedef struct ClariPeriodRange
{
	ClariPeriodBound first; /* both inclusive */
	ClariPeriodBound last;
} ClariPeriodRange;

/* The value of option "periods": a comma-separated list of ranges.  Without any, it is of what has no periods. */
typedef struct ClariExtent
{
	int nranges;
	ClariPeriodRange ranges[CLARI_EXTENT_MAX_RANGES];
} ClariExtent;

/* "2026_Q1", exactly (1900..9999, Q1..Q4); false for anything else. */
extern bool clari_period_parse(const char *text, ClariPeriod *period);

/* A period (as text; empty: none was asked for) in a message: two arguments for "%s%s". */
#define CLARI_PERIOD_WORDS(period) ((period)[0] != '\0' ? "period " : "the current quarter"), (period)

/* A period in views and lists: its text, or "current". */
static inline const char *
clari_period_or_current(const char *period)
{
	return period[0] != '\0' ? period : "current";
}

/* Writes "2026_Q1" and its NUL to text, CLARI_PERIOD_TEXT_SIZE bytes; empty text for CLARI_PERIOD_NONE. */
extern void clari_period_format(ClariPeriod period, char *text);

/*
 * Parses "2026_Q1", "2025_Q1..2025_Q4", "2025_Q1..current", "current",
 * "current-1", "current+1", "current-3..current" and comma-separated lists of them, with
 * white space around the parts.  False with CLARI_ERROR_OPTION, whose message
 * names the part that is wrong and whose hint says what would do: an empty
 * list, more than CLARI_EXTENT_MAX_RANGES parts, a range that runs backwards,
 * or one of more than CLARI_EXTENT_MAX_PERIODS quarters.
 */
extern bool clari_extent_parse(const char *text, ClariExtent *extent, ClariError *error);

/* Does what the extent covers depend on the current quarter? */
extern bool clari_extent_is_relative(const ClariExtent *extent);

/*
 * The quarters of the extent, ascending and distinct, into periods (room for
 * CLARI_EXTENT_MAX_PERIODS); returns how many.  current may be
 * CLARI_PERIOD_NONE only if the extent is not relative.  An extent that covers
 * more (a range from long ago to the current quarter) keeps the newest.  One without
 * ranges is one part without a period, CLARI_PERIOD_NONE.  A range
 * such as "2030_Q1..current" is empty until the current quarter gets there.
 */
extern int clari_extent_expand(const ClariExtent *extent, ClariPeriod current, ClariPeriod *periods);

#endif /* CLARI_PERIOD_H */
