/*
 * clock.h
 *		A clock that nobody sets, for whatever is waited for.
 *
 * The wall clock (GetCurrentTimestamp()) dates exports and their ages; it can
 * jump, and nothing may hang or hurry because of that.
 */
#ifndef CLARI_CLOCK_H
#define CLARI_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds that never go backwards, from no particular time on. */
static inline int64_t
clari_clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif /* CLARI_CLOCK_H */
