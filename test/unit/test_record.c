/*
 * test_record.c
 *		What a job's record promises: record.h.
 */
#include "job/record.h"
#include "unit.h"

#include <stdlib.h>

static ClariRecord
make_record(uint32_t nknown)
{
	ClariRecord record;

	memset(&record, 0, sizeof(record));
	for (int i = 0; i < CLARI_DIGEST_SIZE; i++)
	{
		record.key.bytes[i] = (uint8_t) (i * 7);
		record.account.bytes[i] = (uint8_t) (i * 11);
	}
	snprintf(record.base_url, sizeof(record.base_url), "https://api.clari.com/v4");
	snprintf(record.forecast, sizeof(record.forecast), "net_arr");
	snprintf(record.period, sizeof(record.period), "2026_Q1");
	snprintf(record.expected, sizeof(record.expected), "2026_Q1");
	record.posted_at = INT64_C(837820800000000);
	record.attempts = 1;
	record.known.complete = nknown % 2 == 0;
	record.known.count = nknown;
	for (uint32_t i = 0; i < nknown; i++)
		record.known.ids[i] = UINT64_C(0x9E3779B97F4A7C15) * (i + 1);
	return record;
}

/* Of two records made by make_record() or read: no byte of them is undefined. */
static bool
equal(const ClariRecord *a, const ClariRecord *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static void
test_round_trip(void)
{
	static const uint32_t counts[] = {0, 1, 2, 255, CLARI_KNOWN_MAX};
	char bytes[CLARI_RECORD_MAX_SIZE + 1];
	ClariError error;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
	{
		ClariRecord record = make_record(counts[i]);
		ClariRecord read;
		/* bytes need no alignment */
		size_t length = clari_record_encode(&record, bytes + 1);

		memset(&read, 0xA5, sizeof(read));
		ok(length == CLARI_RECORD_MIN_SIZE + 8 * counts[i] && length == clari_record_length(&record) &&
			   clari_record_decode(bytes + 1, length, &read, &error) && equal(&record, &read),
		   "an intent that knows %u jobs is read as it was written, in %zu bytes", counts[i], length);
	}
}

static void
test_job(void)
{
	char bytes[CLARI_RECORD_MAX_SIZE];
	ClariRecord record = make_record(0);
	ClariRecord read;
	ClariError error;
	size_t length;

	memset(record.job_id, 'j', sizeof(record.job_id) - 1);
	memset(record.user_id, 'u', sizeof(record.user_id) - 1);
	memset(record.currency, 'c', sizeof(record.currency) - 1);
	memset(record.base_url, 'b', sizeof(record.base_url) - 1);
	memset(record.forecast, 'f', sizeof(record.forecast) - 1);
	memset(record.period, 0, sizeof(record.period));
	record.posted_at = INT64_MIN;
	record.attempts = UINT32_MAX;
	record.ended = record.without_crm = record.renewed = true;
	length = clari_record_encode(&record, bytes);
	ok(clari_record_decode(bytes, length, &read, &error) && equal(&record, &read), "texts may fill their fields");
}

static void
test_same_bytes(void)
{
	char one[CLARI_RECORD_MAX_SIZE];
	char two[CLARI_RECORD_MAX_SIZE];
	ClariRecord record = make_record(3);
	ClariRecord dirty;
	size_t length;

	memset(&dirty, 0xA5, sizeof(dirty));
	dirty.key = record.key;
	dirty.account = record.account;
	strcpy(dirty.base_url, record.base_url);
	strcpy(dirty.forecast, record.forecast);
	strcpy(dirty.period, record.period);
	strcpy(dirty.expected, record.expected);
	dirty.job_id[0] = '\0';
	dirty.user_id[0] = '\0';
	dirty.currency[0] = '\0';
	dirty.posted_at = record.posted_at;
	dirty.attempts = record.attempts;
	dirty.ended = record.ended;
	dirty.without_crm = record.without_crm;
	dirty.renewed = record.renewed;
	dirty.known.complete = record.known.complete;
	dirty.known.count = record.known.count;
	memcpy(dirty.known.ids, record.known.ids, 3 * sizeof(uint64_t));
	length = clari_record_encode(&record, one);
	ok(length == clari_record_encode(&dirty, two) && memcmp(one, two, length) == 0,
	   "what lies behind the ends of texts and jobs does not get into the bytes");
}

static bool
is_refused(const char *bytes, size_t length)
{
	ClariRecord record;
	ClariError error = {0};

	return !clari_record_decode(bytes, length, &record, &error) && error.code == CLARI_ERROR_CORRUPT &&
		   error.message[0] != '\0' && error.detail[0] != '\0';
}

static void
test_damage(void)
{
	static const uint32_t counts[] = {0, 3, CLARI_KNOWN_MAX};
	char bytes[CLARI_RECORD_MAX_SIZE + 8] = {0};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
	{
		ClariRecord record = make_record(counts[i]);
		size_t length = clari_record_encode(&record, bytes);
		size_t refused = 0;
		size_t short_refused = 0;

		for (size_t bit = 0; bit < length * 8; bit++)
		{
			bytes[bit / 8] ^= (char) (1 << bit % 8);
			refused += is_refused(bytes, length);
			bytes[bit / 8] ^= (char) (1 << bit % 8);
		}
		for (size_t shorter = 0; shorter < length; shorter++)
		{
			char *copy = malloc(shorter > 0 ? shorter : 1); /* its own, for AddressSanitizer to see its end */

			memcpy(copy, bytes, shorter);
			short_refused += is_refused(copy, shorter);
			free(copy);
		}
		ok(refused == length * 8, "each of %zu flipped bits is refused", length * 8);
		ok(short_refused == length, "each of %zu truncations is refused", length);
		memset(bytes + length, 0, 8);
		ok(is_refused(bytes, length + 1) && is_refused(bytes, length + 8), "bytes behind the end are refused");
	}
}

int
main(void)
{
	test_round_trip();
	test_job();
	test_same_bytes();
	test_damage();
	return done_testing();
}
