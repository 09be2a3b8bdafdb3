/*
 * test_quota.c
 *		What is left of the quota: a sentence whose figures can be read at a glance.
 */
#include "clari/quota.h"

#include "unit.h"

int
main(void)
{
	static const struct
	{
		int64_t left;
		int64_t quota;
		const char *text;
	} cases[] = {
		{0, 1000, "0 of 1,000 exports remain in the 30-day quota."},
		{1, 1000, "1 of 1,000 exports remains in the 30-day quota."},
		{999, 999, "999 of 999 exports remain in the 30-day quota."},
		{123456, 1234567, "123,456 of 1,234,567 exports remain in the 30-day quota."},
		{12, -1, "12 exports remain in the 30-day quota."},
		{1, -1, "1 export remains in the 30-day quota."},
		{-100, 100, "-100 of 100 exports remain in the 30-day quota."},
		{INT64_MIN, INT64_MAX,
		 "-9,223,372,036,854,775,808 of 9,223,372,036,854,775,807 exports remain in the 30-day quota."},
	};
	char text[CLARI_QUOTA_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
	{
		clari_quota_text(cases[i].left, cases[i].quota, text);
		is(text, cases[i].text, cases[i].text);
	}
	return done_testing();
}
