/*
 * quota.h
 *		What is left of Clari's quota, as a sentence of an error's detail.
 */
#ifndef CLARI_QUOTA_H
#define CLARI_QUOTA_H

#include <stddef.h>
#include <stdint.h>

/* The size of a text that every such sentence fits into. */
#define CLARI_QUOTA_TEXT_SIZE 128

/* Writes "0 of 1,000 exports remain in the 30-day quota."; without the quota, if it is negative: Clari has not told it. */
extern void clari_quota_text(int64_t left, int64_t quota, char text[CLARI_QUOTA_TEXT_SIZE]);

#endif /* CLARI_QUOTA_H */
