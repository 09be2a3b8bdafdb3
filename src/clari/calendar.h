/*
 * calendar.h
 *		Days, and which of them make a fiscal quarter.
 *
 * A file without ids of periods tells its quarter by days alone.  What quarters
 * begin and end with is Clari's knowledge (fiscal calendars differ): it comes
 * from exports that name them.  Pure.
 */
#ifndef CLARI_CALENDAR_H
#define CLARI_CALENDAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/period.h"

/* "YYYY-MM-DD", perhaps with a time behind a 'T', to days from 2000-01-01; false: no such day. */
extern bool clari_date_read(const char *text, size_t length, int64_t *days);

#define CLARI_DATE_NONE INT32_MIN /* no day is known */

#define CLARI_CALENDAR_MAX 128 /* quarters: 32 years */

typedef struct ClariQuarter
{
	ClariPeriod period;
	int32_t first; /* days from 2000-01-01, both inclusive */
	int32_t last;
} ClariQuarter;

/* What is known of one account's quarters; all zero: nothing. */
typedef struct ClariCalendar
{
	int count;
	ClariQuarter quarters[CLARI_CALENDAR_MAX]; /* distinct, in no order */
} ClariCalendar;

/* Adds a quarter that is not there yet, as long as there is room. */
extern void clari_calendar_add(ClariCalendar *calendar, const ClariQuarter *quarter);

/*
 * The quarter's days: as they were added; or, where one was added that is made of
 * three whole months, three months for each quarter between the two.  In a calendar
 * of weeks no quarter tells of another, but for those on both of its sides.  Where
 * the fiscal year was moved, so that quarters of months do not tell the same, none
 * is believed.  False: not known.
 */
extern bool clari_calendar_quarter(const ClariCalendar *calendar, ClariPeriod period, ClariQuarter *quarter);

/* The quarter that the day is in, by the same rules. */
extern bool clari_calendar_find(const ClariCalendar *calendar, int32_t day, ClariQuarter *quarter);

/* The error of not knowing, with what makes it known; period is what was asked for, or empty.  Returns false. */
extern bool clari_calendar_unknown(const char *period, ClariError *error);

#endif /* CLARI_CALENDAR_H */
