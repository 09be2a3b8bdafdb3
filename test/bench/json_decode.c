/*
 * json_decode.c
 *		MB/s of bare json-c and of clari_document on an export's file: json_decode FILE
 *
 * Bare json-c is given each item of the file's lists whole, as someone who knew
 * where it begins would; it parses, each attribute is read out, and the item is
 * freed.  clari_document is given the file in pieces, as libcurl hands them out.
 * They take turns; the median of each counts, and of the turns' ratios.  It is
 * CPU time, so that others on the machine disturb it less.
 *
 * run.sh builds it.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json/json.h"

#define ROUNDS 15
#define CHUNK 16384 /* as libcurl hands it out */

typedef struct Item
{
	const char *text;
	int length;
} Item;

/* An export's file, and where the items of its lists are. */
static char *file;
static size_t used;
static Item *items;
static size_t items_count;

static uint64_t sum; /* of what was read out, so that it is */

static double
now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
	return (double) time.tv_sec + (double) time.tv_nsec / 1e9;
}

static void
fail(const char *what)
{
	fprintf(stderr, "json_decode: %s\n", what);
	exit(1);
}

static void
load_file(const char *name)
{
	FILE *stream = fopen(name, "rb");
	long size;

	if (stream == NULL || fseek(stream, 0, SEEK_END) != 0 || (size = ftell(stream)) <= 0)
		fail(name);
	rewind(stream);
	file = calloc(1, (size_t) size + 1);
	used = fread(file, 1, (size_t) size, stream);
	fclose(stream);
}

/* Finds the items of {"list":[{…},{…}],"list":[…]}: objects within lists only, without white space, as the simulator writes them. */
static void
find_items(void)
{
	json_tokener *tokener = json_tokener_new();

	items = malloc(used / 2 * sizeof(*items));
	for (const char *at = file; (at = strchr(at, '[')) != NULL;)
	{
		for (at++; *at == '{' || *at == ',';)
		{
			json_tokener_reset(tokener);
			at += *at == ',';
			json_object_put(
				json_tokener_parse_ex(tokener, at, (int) (file + used - at > 65536 ? 65536 : file + used - at)));
			if (json_tokener_get_error(tokener) != json_tokener_success)
				fail("an item that json-c does not take");
			items[items_count++] = (Item){at, (int) json_tokener_get_parse_end(tokener)};
			at += json_tokener_get_parse_end(tokener);
		}
	}
	json_tokener_free(tokener);
	if (items_count == 0)
		fail("no items");
}

/* Reads out each attribute: texts and decimals as text, decimals as they were written. */
static void
read_out(json_object *item)
{
	json_object_object_foreach(item, name, value)
	{
		sum += (unsigned char) *name;
		switch (json_object_get_type(value))
		{
			case json_type_string:
				sum += (uint64_t) json_object_get_string_len(value) + (unsigned char) *json_object_get_string(value);
				break;
			case json_type_double:
				sum += (unsigned char) *json_object_get_string(value);
				break;
			case json_type_int:
				sum += (uint64_t) json_object_get_int64(value);
				break;
			case json_type_boolean:
				sum += (uint64_t) json_object_get_boolean(value);
				break;
			case json_type_object:
				read_out(value);
				break;
			default:
				break;
		}
	}
}

static void
run_bare(bool reading)
{
	json_tokener *tokener = json_tokener_new();

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	for (size_t i = 0; i < items_count; i++)
	{
		json_object *item = json_tokener_parse_ex(tokener, items[i].text, items[i].length);

		if (item == NULL)
			fail("an item that json-c does not take");
		if (reading)
			read_out(item);
		json_object_put(item);
	}
	json_tokener_free(tokener);
}

static bool
take(void *arg, ClariList list, const ClariValue *values, ClariError *error)
{
	(void) list, (void) error;
	*(uint64_t *) arg += values[0].length;
	return true;
}

static void
run_document(void)
{
	ClariDocument *document = clari_document_open(CLARI_ENDPOINT_EXPORT, take, &sum);
	ClariError error;

	for (size_t at = 0; at < used; at += CHUNK)
		if (!clari_document_push(document, file + at, used - at < CHUNK ? used - at : CHUNK, &error))
			fail(error.message);
	if (!clari_document_finish(document, &error))
		fail(error.message);
	clari_document_close(document);
}

static int
compare(const void *a, const void *b)
{
	return (*(const double *) a > *(const double *) b) - (*(const double *) a < *(const double *) b);
}

int
main(int count, char **arguments)
{
	double times[3][ROUNDS];
	double ratios[ROUNDS];
	double rates[3];

	if (count != 2)
		fail("usage: json_decode FILE");
	load_file(arguments[1]);
	find_items();
	for (int round = 0; round < ROUNDS; round++)
	{
		for (int way = 0; way < 3; way++)
		{
			double start = now();

			way == 2 ? run_document() : run_bare(way == 1);
			times[way][round] = now() - start;
		}
		ratios[round] = times[1][round] / times[2][round];
	}
	qsort(ratios, ROUNDS, sizeof(double), compare);
	for (int way = 0; way < 3; way++)
	{
		qsort(times[way], ROUNDS, sizeof(double), compare);
		rates[way] = (double) used / times[way][ROUNDS / 2] / 1e6;
	}
	printf("%.1f MB: json-c %.1f MB/s, json-c read out %.1f MB/s, clari_document %.1f MB/s, %.3f x\n",
		   (double) used / 1e6, rates[0], rates[1], rates[2], ratios[ROUNDS / 2]);
	return sum == 0;
}
