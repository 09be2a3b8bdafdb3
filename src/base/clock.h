/*
 * clock.h
 *		A monotonic clock, for everything that is waited for.
 *
 * The wall clock (GetCurrentTimestamp()) is used for the times and ages of
 * exports.  It may be changed, which must neither delay nor hasten anything
 * else.
 */
#ifndef CLARI_CLOCK_H
#define CLARI_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Returns milliseconds since some fixed time, which never go backwards. */
static inline int64_t
clari_clock_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif /* CLARI_CLOCK_H */
