/*
 * calendar.h
 *		Days, and the fiscal quarters that they are in.
 *
 * A file without ids of periods shows its quarter only by days.  On which days
 * quarters begin and end is known from exports that name their quarters,
 * because fiscal calendars differ.  Pure.
 */
#ifndef CLARI_CALENDAR_H
#define CLARI_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/period.h"

/*
 * Reads "YYYY-MM-DD", which may be followed by a 'T' and a time, as days from
 * 2000-01-01.  Returns false if it is not a valid day.
 */
extern bool clari_date_read(const char *text, size_t length, int64_t *days);

#define CLARI_DATE_NONE INT32_MIN /* the day is not known */

#define CLARI_CALENDAR_MAX 128 /* quarters: 32 years */

typedef struct ClariQuarter
{
	ClariPeriod period;
	int32_t first; /* days from 2000-01-01; the last day is included */
	int32_t last;
} ClariQuarter;

/* The known quarters of an account.  All zero means none. */
typedef struct ClariCalendar
{
	int count;
	ClariQuarter quarters[CLARI_CALENDAR_MAX]; /* without duplicates, in no particular order */
} ClariCalendar;

/* Adds a quarter, unless it is known already or there is no room. */
extern void clari_calendar_add(ClariCalendar *calendar, const ClariQuarter *quarter);

/*
 * Returns the days of the quarter: those that were added; or those between its
 * two neighbors, if both are known; or, if a known quarter consists of three
 * whole months, three months for each quarter between them.  The last is not
 * done if known quarters of months contradict each other, as after the fiscal
 * year was moved.  In a calendar of weeks no quarter follows from others but
 * its neighbors.  Returns false if the days are not known.
 */
extern bool clari_calendar_quarter(const ClariCalendar *calendar, ClariPeriod period, ClariQuarter *quarter);

/* Returns the quarter that contains the day, by the same rules. */
extern bool clari_calendar_find(const ClariCalendar *calendar, int32_t day, ClariQuarter *quarter);

/*
 * Sets the error that the calendar is not known, with a hint how to make it
 * known.  period is the requested one, or empty.  Returns false.
 */
extern bool clari_calendar_unknown(const char *period, ClariError *error);

#endif /* CLARI_CALENDAR_H */
