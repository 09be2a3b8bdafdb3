/*
 * record.c
 *		The bytes of a job's record: see record.h.
 *
 * Runs in workers, and in the process that loads the cache's files.  Takes no
 * locks, allocates nothing, never raises.  postgres.h is included only for
 * CRC-32C.
 */
#include "compat.h"

#include "port/pg_crc32c.h"

#include <string.h>

#include "base/text.h"
#include "job/record.h"

#define MAGIC_SIZE 8

/* The layout of the file.  Of known, only the first nknown ids are written. */
typedef struct Packed
{
	char magic[MAGIC_SIZE];
	uint32_t length; /* of the whole record, in bytes */
	uint32_t crc;    /* CRC-32C of all that follows; the bytes before it are checked by their fixed values */
	ClariKey key;
	ClariKey account;
	char base_url[CLARI_URL_SIZE];
	char forecast[CLARI_NAME_SIZE];
	char period[CLARI_PERIOD_TEXT_SIZE];
	char expected[CLARI_PERIOD_TEXT_SIZE];
	char job_id[sizeof(((ClariRecord *) NULL)->job_id)];
	char user_id[sizeof(((ClariRecord *) NULL)->user_id)];
	char currency[CLARI_CURRENCY_SIZE];
	int64_t posted_at;
	uint32_t attempts;
	uint32_t nknown;
	uint32_t complete;    /* 0 or 1 */
	uint32_t ended;       /* 0 or 1 */
	uint32_t without_crm; /* 0 or 1 */
	uint32_t renewed;     /* 0 or 1 */
	uint64_t known[CLARI_KNOWN_MAX];
} Packed;

#define CHECKED_FROM offsetof(Packed, key)

StaticAssertDecl(CHECKED_FROM == MAGIC_SIZE + 2 * sizeof(uint32_t), "a record must not have padding");
StaticAssertDecl(offsetof(Packed, known) == offsetof(Packed, renewed) + sizeof(uint32_t),
				 "a record must not have padding before its known jobs");
StaticAssertDecl(offsetof(Packed, known) == CLARI_RECORD_MIN_SIZE && sizeof(Packed) == CLARI_RECORD_MAX_SIZE,
				 "the sizes are part of the format");

static uint32_t
checksum(const Packed *packed, size_t length)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, (const char *) packed + CHECKED_FROM, length - CHECKED_FROM);
	FIN_CRC32C(crc);
	return crc;
}

size_t
clari_record_length(const ClariRecord *record)
{
	return CLARI_RECORD_MIN_SIZE + record->known.count * sizeof(uint64_t);
}

size_t
clari_record_encode(const ClariRecord *record, char *bytes)
{
	size_t length = clari_record_length(record);
	Packed packed;

	memset(&packed, 0, sizeof(packed));
	memcpy(packed.magic, CLARI_RECORD_MAGIC, MAGIC_SIZE);
	packed.length = (uint32_t) length;
	packed.key = record->key;
	packed.account = record->account;
	clari_text_copy(packed.base_url, record->base_url, sizeof(packed.base_url));
	clari_text_copy(packed.forecast, record->forecast, sizeof(packed.forecast));
	clari_text_copy(packed.period, record->period, sizeof(packed.period));
	clari_text_copy(packed.expected, record->expected, sizeof(packed.expected));
	clari_text_copy(packed.job_id, record->job_id, sizeof(packed.job_id));
	clari_text_copy(packed.user_id, record->user_id, sizeof(packed.user_id));
	clari_text_copy(packed.currency, record->currency, sizeof(packed.currency));
	packed.posted_at = record->posted_at;
	packed.attempts = record->attempts;
	packed.nknown = record->known.count;
	packed.complete = record->known.complete;
	packed.ended = record->ended;
	packed.without_crm = record->without_crm;
	packed.renewed = record->renewed;
	memcpy(packed.known, record->known.ids, length - CLARI_RECORD_MIN_SIZE);
	packed.crc = checksum(&packed, length);
	memcpy(bytes, &packed, length);
	return length;
}

static bool
corrupt(ClariError *error, const char *what)
{
	clari_error_set(error, CLARI_ERROR_CORRUPT, "the record of an export is damaged");
	clari_error_detail(error, "%s", what);
	return false;
}

/* Has the text a NUL, and only zero bytes after it? */
static bool
is_text(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	if (length == size)
		return false;
	while (length < size)
		if (text[length++] != '\0')
			return false;
	return true;
}

static bool
check(const Packed *packed, size_t length, ClariError *error)
{
	if (memcmp(packed->magic, CLARI_RECORD_MAGIC, MAGIC_SIZE) != 0)
		return corrupt(error, "It is not a record, or another version of clari_fdw wrote it.");
	if (packed->length != length)
		return corrupt(error, "It is not as long as it says.");
	if (packed->crc != checksum(packed, length))
		return corrupt(error, "Its checksum does not match.");
	if (packed->nknown > CLARI_KNOWN_MAX || length != CLARI_RECORD_MIN_SIZE + packed->nknown * sizeof(uint64_t))
		return corrupt(error, "Its known jobs are not as many as it says.");
	if (packed->complete > 1 || packed->ended > 1 || packed->without_crm > 1 || packed->renewed > 1)
		return corrupt(error, "It has unknown flags.");
	if (!is_text(packed->base_url, sizeof(packed->base_url)) || !is_text(packed->forecast, sizeof(packed->forecast)) ||
		!is_text(packed->period, sizeof(packed->period)) || !is_text(packed->expected, sizeof(packed->expected)) ||
		!is_text(packed->job_id, sizeof(packed->job_id)) || !is_text(packed->user_id, sizeof(packed->user_id)) ||
		!is_text(packed->currency, sizeof(packed->currency)))
		return corrupt(error, "One of its texts has no end.");
	return true;
}

bool
clari_record_decode(const char *bytes, size_t length, ClariRecord *record, ClariError *error)
{
	Packed packed;

	if (length < CLARI_RECORD_MIN_SIZE || length > CLARI_RECORD_MAX_SIZE)
		return corrupt(error, "Its length is not possible.");
	memset(&packed, 0, sizeof(packed));
	memcpy(&packed, bytes, length);
	if (!check(&packed, length, error))
		return false;
	memset(record, 0, sizeof(*record));
	record->key = packed.key;
	record->account = packed.account;
	memcpy(record->base_url, packed.base_url, sizeof(packed.base_url));
	memcpy(record->forecast, packed.forecast, sizeof(packed.forecast));
	memcpy(record->period, packed.period, sizeof(packed.period));
	memcpy(record->expected, packed.expected, sizeof(packed.expected));
	memcpy(record->job_id, packed.job_id, sizeof(packed.job_id));
	memcpy(record->user_id, packed.user_id, sizeof(packed.user_id));
	memcpy(record->currency, packed.currency, sizeof(packed.currency));
	record->posted_at = packed.posted_at;
	record->attempts = packed.attempts;
	record->ended = packed.ended != 0;
	record->without_crm = packed.without_crm != 0;
	record->renewed = packed.renewed != 0;
	record->known.complete = packed.complete != 0;
	record->known.count = packed.nknown;
	memcpy(record->known.ids, packed.known, packed.nknown * sizeof(uint64_t));
	return true;
}
