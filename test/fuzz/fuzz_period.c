/*
 * fuzz_period.c
 *		Any text whatever as option "periods", or as a period's id or label: parsed
 *		or refused, never worse.
 *
 *		clang -std=gnu11 -g -fsanitize=fuzzer,address,undefined -Isrc \
 *			test/fuzz/fuzz_period.c src/clari/period.c src/clari/period_type.c src/clari/calendar.c \
 *			src/base/error.c -o build/fuzz_period
 *		build/fuzz_period test/fuzz/corpus/period
 */
#include <stdlib.h>
#include <string.h>

#include "clari/period.h"
#include "clari/period_type.h"

/* Promises hold, or the fuzzer stops here. */
static void
require(bool holds)
{
	if (!holds)
		abort();
}

static void
check_periods(const ClariExtent *extent, ClariPeriod current)
{
	ClariPeriod periods[CLARI_EXTENT_MAX_PERIODS];
	int count = clari_extent_expand(extent, current, periods);

	require(count >= 0 && count <= CLARI_EXTENT_MAX_PERIODS);
	for (int i = 0; i < count; i++)
	{
		char text[CLARI_PERIOD_TEXT_SIZE];
		ClariPeriod again;

		require(i == 0 || periods[i - 1] < periods[i]);
		clari_period_format(periods[i], text);
		require(clari_period_parse(text, &again) && again == periods[i]);
	}
}

/* The text is not NUL-terminated here, so that AddressSanitizer sees its end. */
static void
check_name(const uint8_t *data, size_t size)
{
	char *text = malloc(size);
	ClariPeriodName by_id;
	ClariPeriodName by_label;

	if (text == NULL && size > 0)
		return;
	memcpy(text, data, size);
	clari_period_name_of_label(text, size, &by_label);
	require(by_label.number >= 0 && by_label.number <= 12 && by_label.year >= 0 && by_label.year <= 9999);
	if (clari_period_name_of_id(text, size, &by_id))
		require(by_id.type == by_label.type && by_id.year == by_label.year && by_id.number == by_label.number);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);
	ClariExtent extent;
	ClariError error = {0};

	if (text == NULL)
		return 0;
	check_name(data, size);
	memcpy(text, data, size);
	text[size] = '\0';
	if (!clari_extent_parse(text, &extent, &error))
		require(error.code == CLARI_ERROR_OPTION && error.message[0] != '\0' && error.hint[0] != '\0');
	else
	{
		require(extent.nranges >= 1 && extent.nranges <= CLARI_EXTENT_MAX_RANGES);
		if (!clari_extent_is_relative(&extent))
			check_periods(&extent, CLARI_PERIOD_NONE);
		check_periods(&extent, 1900 * 4);
		check_periods(&extent, 2026 * 4);
		check_periods(&extent, 9999 * 4 + 3);
	}
	free(text);
	return 0;
}
