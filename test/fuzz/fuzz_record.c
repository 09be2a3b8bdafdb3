/*
 * fuzz_record.c
 *		A job's record from arbitrary bytes: what is taken for one gives the very
 *		same bytes again.
 *
 * Random bytes never pass a checksum, so the input is tried as it is, and again
 * with magic, length and checksum made to fit.
 */
#include "postgres.h"

#include "port/pg_crc32c.h"

#include <stdlib.h>
#include <string.h>

#include "job/record.h"

#define HEAD_SIZE 16 /* magic, length, checksum */

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
repair(char *bytes, size_t size)
{
	uint32_t length = (uint32_t) size;
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes + HEAD_SIZE, size - HEAD_SIZE);
	FIN_CRC32C(crc);
	memcpy(bytes, CLARI_RECORD_MAGIC, 8);
	memcpy(bytes + 8, &length, sizeof(length));
	memcpy(bytes + 12, &crc, sizeof(crc));
}

static void
try_record(const char *bytes, size_t size)
{
	char again[CLARI_RECORD_MAX_SIZE];
	ClariRecord record;
	ClariError error;

	if (!clari_record_decode(bytes, size, &record, &error))
	{
		if (error.code != CLARI_ERROR_CORRUPT)
			abort();
		return;
	}
	/* each text ends within its field, or AddressSanitizer tells */
	if (strlen(record.base_url) >= sizeof(record.base_url) || strlen(record.forecast) >= sizeof(record.forecast) ||
		strlen(record.period) >= sizeof(record.period) || strlen(record.expected) >= sizeof(record.expected) ||
		strlen(record.job_id) >= sizeof(record.job_id) || strlen(record.user_id) >= sizeof(record.user_id))
		abort();
	if (clari_record_encode(&record, again) != size || memcmp(again, bytes, size) != 0)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = malloc(size > 0 ? size : 1);

	memcpy(bytes, data, size);
	try_record(bytes, size);
	if (size >= HEAD_SIZE)
	{
		repair(bytes, size);
		try_record(bytes, size);
	}
	free(bytes);
	return 0;
}
