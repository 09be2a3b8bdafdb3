/*
 * quota.h
 *		The remaining part of Clari's quota, as a sentence for an error's
 *		detail.
 */
#ifndef CLARI_QUOTA_H
#define CLARI_QUOTA_H

#include <stddef.h>
#include <stdint.h>

/* Size of any such sentence with its NUL. */
#define CLARI_QUOTA_TEXT_SIZE 128

/*
 * Writes "0 of 1,000 exports remain in the 30-day quota.".  If quota is
 * negative, which means that Clari has not told it, the sentence omits it.
 */
extern void clari_quota_text(int64_t left, int64_t quota, char text[CLARI_QUOTA_TEXT_SIZE]);

#endif /* CLARI_QUOTA_H */
