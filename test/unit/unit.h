/*
 * unit.h
 *		A few lines of TAP for unit tests of the pure rooms: no server needed.
 */
#ifndef CLARI_UNIT_H
#define CLARI_UNIT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static int unit_count;
static int unit_failures;

/* One test; the name says what must hold. */
static inline bool
ok(bool passed, const char *format, ...)
{
	va_list args;

	printf("%sok %d - ", passed ? "" : "not ", ++unit_count);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	if (!passed)
		unit_failures++;
	return passed;
}

/* Two strings that must be equal. */
static inline bool
is(const char *got, const char *expected, const char *name)
{
	bool equal = got != NULL && expected != NULL ? strcmp(got, expected) == 0 : got == expected;

	ok(equal, "%s", name);
	if (!equal)
		printf("# got      \"%s\"\n# expected \"%s\"\n", got ? got : "(null)", expected ? expected : "(null)");
	return equal;
}

/* The plan and the exit status. */
static inline int
done_testing(void)
{
	printf("1..%d\n", unit_count);
	return unit_failures == 0 ? 0 : 1;
}

#endif /* CLARI_UNIT_H */
