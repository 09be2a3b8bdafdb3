/*
 * quota.c
 *		The remaining part of Clari's quota: see quota.h. Raises nothing,
 *		allocates nothing.
 */
#include "clari/quota.h"

#include <stdio.h>

/* Room for the digits of any number, its sign and its separators. */
#define NUMBER_SIZE 32

/* Writes the number with a comma before each group of three digits, because quotas have up to six digits. */
static const char *
grouped(int64_t number, char text[NUMBER_SIZE])
{
	char digits[NUMBER_SIZE];
	int length = snprintf(digits, sizeof(digits), "%lld", (long long) number);
	char *to = text;

	for (int i = 0; i < length; i++)
	{
		if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
			*to++ = ',';
		*to++ = digits[i];
	}
	*to = '\0';
	return text;
}

void
clari_quota_text(int64_t left, int64_t quota, char text[CLARI_QUOTA_TEXT_SIZE])
{
	char numbers[2][NUMBER_SIZE];
	const char *verb = left == 1 ? "remains" : "remain";

	grouped(left, numbers[0]);
	if (quota >= 0)
		snprintf(text, CLARI_QUOTA_TEXT_SIZE, "%s of %s exports %s in the 30-day quota.", numbers[0],
				 grouped(quota, numbers[1]), verb);
	else
		snprintf(text, CLARI_QUOTA_TEXT_SIZE, "%s %s %s in the 30-day quota.", numbers[0],
				 left == 1 ? "export" : "exports", verb);
}
