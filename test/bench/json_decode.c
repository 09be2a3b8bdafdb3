/*
 * json_decode.c
 *		MB/s of json-c alone, given each element, and of clari_document.
 *
 * cc -O2 -Isrc test/bench/json_decode.c src/json*.c src/error.c src/attribute.c src/request.c src/digest.c -ljson-c -lcrypto
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "json.h"

#define ITEMS 100000
#define ROUNDS 7
#define CHUNK 16384 /* as libcurl hands it out */

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

static bool
ignore(void *arg, ClariList list, const ClariValue *values, ClariError *error)
{
	(void) list, (void) error;
	*(uint64_t *) arg += values[CLARI_ENTRY_FORECAST_VALUE].length;
	return true;
}

int
main(void)
{
	char *file = malloc(ITEMS * 400 + 64);
	size_t *begins = malloc((ITEMS + 1) * sizeof(*begins));
	double best[2] = {1e9, 1e9};
	uint64_t sum = 0;
	size_t used = (size_t) sprintf(file, "{\"entries\":[");

	for (int i = 0; i < ITEMS; i++, used += (size_t) sprintf(file + used, i < ITEMS ? "," : "]}"))
	{
		begins[i] = used;
		used += (size_t) sprintf(
			file + used,
			"{\"fieldId\":\"new_logo_%d\",\"userId\":\"60736837%08d\",\"timePeriodId\":\"2026_Q1\","
			"\"timeFrameId\":\"TF:2026-01-%02d\",\"forecastValue\":%d.%02d,\"quotaValue\":%d,\"isUpdated\":%s,"
			"\"updatedBy\":\"60736837%08d\",\"updatedOn\":17%011d,\"crmTotal\":%d.5,\"crmClosed\":null,"
			"\"currency\":{\"code\":\"USD\",\"symbol\":\"$\"}}",
			i % 5, i, i % 28 + 1, i * 37, i % 100, i * 100, i % 2 ? "true" : "false", i, i, i * 3);
	}
	begins[ITEMS] = used - 1;
	for (int round = 0; round < ROUNDS; round++)
	{
		json_tokener *tokener = json_tokener_new();
		ClariDocument *document = clari_document_open(ignore, &sum);
		ClariError error;
		double start = now();

		json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
		for (int i = 0; i < ITEMS; i++)
			json_object_put(json_tokener_parse_ex(tokener, file + begins[i], (int) (begins[i + 1] - begins[i] - 1)));
		best[0] = now() - start < best[0] ? now() - start : best[0];
		start = now();
		for (size_t at = 0; at < used; at += CHUNK)
			if (!clari_document_push(document, file + at, used - at < CHUNK ? used - at : CHUNK, &error))
				return printf("%s: %s\n", error.message, error.detail), 1;
		best[1] = now() - start < best[1] ? now() - start : best[1];
		if (!clari_document_finish(document, &error))
			return printf("%s: %s\n", error.message, error.detail), 1;
		clari_document_close(document);
		json_tokener_free(tokener);
	}
	printf("json-c %.0f MB/s, document %.0f MB/s, ratio %.2f\n", (double) used / best[0] / 1e6,
		   (double) used / best[1] / 1e6, best[0] / best[1]);
	return sum == 0;
}
