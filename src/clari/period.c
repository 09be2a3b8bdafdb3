/*
 * period.c
 *		Fiscal quarters and extents: see period.h.
 *
 * Runs in backends, unit tests and the fuzzer.  Strict: a text that is not
 * understood completely is refused, because another quarter than intended
 * would mean wrong amounts.  Allocates nothing and never reads the clock.
 */
#include "clari/period.h"

#include "base/text.h"

#include <string.h>

#define FIRST_YEAR 1900
#define LAST_YEAR 9999
#define FIRST_PERIOD (FIRST_YEAR * 4)
#define LAST_PERIOD (LAST_YEAR * 4 + 3)

#define QUARTER_LENGTH (CLARI_PERIOD_TEXT_SIZE - 1)
#define MAX_OFFSET CLARI_EXTENT_MAX_PERIODS /* in quarters from the current one */

/* A part of the option's text, not NUL-terminated. */
typedef struct Slice
{
	const char *start;
	const char *end;
} Slice;

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static Slice
trim(Slice slice)
{
	while (slice.start < slice.end && clari_is_space(slice.start[0]))
		slice.start++;
	while (slice.end > slice.start && clari_is_space(slice.end[-1]))
		slice.end--;
	return slice;
}

static bool
parse_quarter(Slice text, ClariPeriod *period)
{
	int32_t year = 0;

	if (text.end - text.start != QUARTER_LENGTH)
		return false;
	for (int i = 0; i < 4; i++)
	{
		if (!is_digit(text.start[i]))
			return false;
		year = year * 10 + (text.start[i] - '0');
	}
	if (year < FIRST_YEAR || text.start[4] != '_' || text.start[5] != 'Q' || text.start[6] < '1' || text.start[6] > '4')
		return false;
	*period = year * 4 + (text.start[6] - '1');
	return true;
}

bool
clari_period_parse(const char *text, ClariPeriod *period)
{
	Slice slice = {text, text + strnlen(text, QUARTER_LENGTH + 1)};

	return parse_quarter(slice, period);
}

void
clari_period_format(ClariPeriod period, char *text)
{
	int32_t year = period / 4;

	if (period < FIRST_PERIOD || period > LAST_PERIOD)
	{
		text[0] = '\0';
		return;
	}
	for (int i = 3; i >= 0; i--)
	{
		text[i] = (char) ('0' + year % 10);
		year /= 10;
	}
	text[4] = '_';
	text[5] = 'Q';
	text[6] = (char) ('1' + period % 4);
	text[7] = '\0';
}

/* Parses what follows "current": nothing, or a sign and up to MAX_OFFSET quarters. */
static bool
parse_offset(Slice text, int32_t *offset)
{
	int32_t value = 0;
	char sign;

	*offset = 0;
	if (text.start == text.end)
		return true;
	sign = *text.start++;
	if ((sign != '+' && sign != '-') || text.start == text.end)
		return false;
	for (; text.start < text.end; text.start++)
	{
		if (!is_digit(*text.start))
			return false;
		value = value * 10 + (*text.start - '0');
		if (value > MAX_OFFSET)
			return false;
	}
	*offset = sign == '-' ? -value : value;
	return true;
}

static bool
parse_bound(Slice text, ClariPeriodBound *bound)
{
	static const char current[] = "current";
	const size_t length = sizeof(current) - 1;

	bound->relative = (size_t) (text.end - text.start) >= length && memcmp(text.start, current, length) == 0;
	if (!bound->relative)
		return parse_quarter(text, &bound->value);
	text.start += length;
	return parse_offset(text, &bound->value);
}

/* Sets an error about the part, in quotes between the texts before and after, with a hint on valid values. */
static bool
refuse_part(ClariError *error, Slice part, const char *before, const char *after)
{
	const ptrdiff_t longest = sizeof(((ClariError *) NULL)->message); /* more would be truncated anyway */
	ptrdiff_t length = part.end - part.start;

	clari_error_set(error, CLARI_ERROR_OPTION, "%s \"%.*s\"%s", before, (int) (length < longest ? length : longest),
					part.start, after);
	clari_error_detail(error, "The value is part of option \"periods\".");
	clari_error_hint(error, "Use fiscal quarters such as 2026_Q1, ranges such as 2025_Q1..current, \"current\", "
							"\"current-1\", separated by commas.");
	return false;
}

/* Parses one part of the list, without white space around it. */
static bool
parse_range(Slice part, ClariPeriodRange *range, ClariError *error)
{
	Slice first = part;
	Slice last = part;

	for (const char *at = part.start; at + 1 < part.end; at++)
	{
		if (at[0] == '.' && at[1] == '.')
		{
			first.end = at;
			last.start = at + 2;
			break;
		}
	}
	if (!parse_bound(trim(first), &range->first) || !parse_bound(trim(last), &range->last))
		return refuse_part(error, part, "invalid period", "");

	/* If only one bound is relative, the order depends on the current quarter: see clari_extent_expand(). */
	if (range->first.relative != range->last.relative)
		return true;
	if (range->first.value > range->last.value)
		return refuse_part(error, part, "range of periods", " runs backwards");
	if (range->last.value - range->first.value >= CLARI_EXTENT_MAX_PERIODS)
	{
		refuse_part(error, part, "range of periods", " is too long");
		clari_error_detail(error, "A range in option \"periods\" may cover %d quarters.", CLARI_EXTENT_MAX_PERIODS);
		return false;
	}
	return true;
}

bool
clari_extent_parse(const char *text, ClariExtent *extent, ClariError *error)
{
	bool more = true;

	extent->nranges = 0;
	while (more)
	{
		Slice part = {text, text + strcspn(text, ",")};

		more = *part.end == ',';
		text = part.end + 1;
		if (extent->nranges == CLARI_EXTENT_MAX_RANGES)
		{
			clari_error_set(error, CLARI_ERROR_OPTION, "too many periods");
			clari_error_detail(error, "Option \"periods\" may have %d parts.", CLARI_EXTENT_MAX_RANGES);
			clari_error_hint(error, "Join adjacent quarters into ranges such as 2025_Q1..2025_Q4.");
			return false;
		}
		if (!parse_range(trim(part), &extent->ranges[extent->nranges], error))
			return false;
		extent->nranges++;
	}
	return true;
}

bool
clari_extent_is_relative(const ClariExtent *extent)
{
	for (int i = 0; i < extent->nranges; i++)
	{
		if (extent->ranges[i].first.relative || extent->ranges[i].last.relative)
			return true;
	}
	return false;
}

/*
 * Converts the bounds to quarters.  Returns false if the range is empty:
 * because it runs backwards at present, is outside of the valid years, or (by
 * a mistake of the caller) the current quarter is not known.
 */
static bool
resolve_range(const ClariPeriodRange *range, ClariPeriod current, ClariPeriod *first, ClariPeriod *last)
{
	if ((range->first.relative || range->last.relative) && (current < FIRST_PERIOD || current > LAST_PERIOD))
		return false;
	*first = range->first.value + (range->first.relative ? current : 0);
	*last = range->last.value + (range->last.relative ? current : 0);
	if (*first < FIRST_PERIOD)
		*first = FIRST_PERIOD;
	if (*last > LAST_PERIOD)
		*last = LAST_PERIOD;
	return *first <= *last;
}

/* Returns the newest quarter of the extent that is not after limit, or CLARI_PERIOD_NONE. */
static ClariPeriod
newest_until(const ClariExtent *extent, ClariPeriod current, ClariPeriod limit)
{
	ClariPeriod newest = CLARI_PERIOD_NONE;

	for (int i = 0; i < extent->nranges; i++)
	{
		ClariPeriod first;
		ClariPeriod last;

		if (!resolve_range(&extent->ranges[i], current, &first, &last) || first > limit)
			continue;
		if (last > limit)
			last = limit;
		if (last > newest)
			newest = last;
	}
	return newest;
}

int
clari_extent_expand(const ClariExtent *extent, ClariPeriod current, ClariPeriod *periods)
{
	ClariPeriod period = newest_until(extent, current, LAST_PERIOD);
	int count = 0;

	if (extent->nranges == 0)
		periods[count++] = CLARI_PERIOD_NONE;
	while (period != CLARI_PERIOD_NONE && count < CLARI_EXTENT_MAX_PERIODS)
	{
		periods[count++] = period;
		period = newest_until(extent, current, period - 1);
	}
	for (int i = 0; i < count / 2; i++)
	{
		ClariPeriod swap = periods[i];

		periods[i] = periods[count - 1 - i];
		periods[count - 1 - i] = swap;
	}
	return count;
}
