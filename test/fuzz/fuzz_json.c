/*
 * fuzz_json.c
 *		Any bytes whatever as an export file, as the limits, and as the jobs that become
 *		rows: the same items or the same error however they are cut, and nothing in them
 *		that could not be kept; and as an entry's members: the same by json-c as by
 *		plain.c.  With -DCLARI_FUZZ_REPLY: any bytes as a reply, and as a list of jobs
 *		from which one may be taken up.  With -DCLARI_FUZZ_CSV: any bytes behind the header of a
 *		CSV file, or as a list of its lines.
 *
 *		make build/fuzz/json FUZZ_CC=clang
 *		build/fuzz/json -dict=test/fuzz/json.dict test/fuzz/corpus/json
 */
#include <stdlib.h>
#include <string.h>

#include "clari/calendar.h"
#include "job/adopt.h"
#include "json/json.h"

/* Promises hold, or the fuzzer stops here. */
static void
require(bool holds)
{
	if (!holds)
		abort();
}

/* UTF-8 without NUL, by decoding rather than by table 3-7, as json does it. */
static void
require_text(const char *text, size_t length)
{
	const unsigned char *byte = (const unsigned char *) text;

	for (size_t i = 0; i < length;)
	{
		static const uint32_t least[] = {1, 0x80, 0x800, 0x10000};
		unsigned int follow = byte[i] < 0x80 ? 0 : byte[i] < 0xE0 ? 1 : byte[i] < 0xF0 ? 2 : 3;
		uint32_t character = follow == 0 ? byte[i] : byte[i] & (0x3Fu >> follow);

		require(byte[i] < 0xF8 && (byte[i] & 0xC0) != 0x80 && follow < length - i);
		for (unsigned int k = 1; k <= follow; k++)
		{
			require((byte[i + k] & 0xC0) == 0x80);
			character = character << 6 | (byte[i + k] & 0x3F);
		}
		require(character >= least[follow] && character <= 0x10FFFF && (character & 0xFFFFF800) != 0xD800);
		i += follow + 1;
	}
}

#ifndef CLARI_FUZZ_REPLY

/* FNV-1a: what the sink was given, and the seed of the cuts. */
static uint64_t
add_hash(uint64_t hash, const void *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++)
		hash = (hash ^ ((const unsigned char *) bytes)[i]) * UINT64_C(0x100000001B3);
	return hash;
}

static size_t
skip_digits(const char *text, size_t length, size_t at)
{
	require(at < length && text[at] >= '0' && text[at] <= '9');
	while (at < length && text[at] >= '0' && text[at] <= '9')
		at++;
	return at;
}

static void
require_number(const char *text, size_t length)
{
	size_t at = length > 0 && text[0] == '-';

	require(at < length && (text[at] != '0' || at + 1 == length || text[at + 1] < '0' || text[at + 1] > '9'));
	at = skip_digits(text, length, at);
	if (at < length && text[at] == '.')
		at = skip_digits(text, length, at + 1);
	if (at < length && (text[at] == 'e' || text[at] == 'E'))
		at = skip_digits(text, length, at + 1 + (at + 1 < length && (text[at + 1] == '+' || text[at + 1] == '-')));
	require(at == length);
}

static bool
ignore_item(void *arg, ClariList list, const ClariValue *values, ClariError *error)
{
	(void) arg, (void) list, (void) values, (void) error;
	return true;
}

/* Compact JSON, which the framing takes in an item's place of what it was read from. */
static void
require_json(const char *text, size_t length)
{
	static const char head[] = "{\"entries\":[{\"a\":";
	ClariDocument *document = clari_document_open(CLARI_ENDPOINT_EXPORT, ignore_item, NULL);

	require(document != NULL && length > 0);
	require_text(text, length);
	require(clari_document_push(document, head, sizeof(head) - 1, NULL) &&
			clari_document_push(document, text, length, NULL) && clari_document_push(document, "}]}", 3, NULL) &&
			clari_document_finish(document, NULL) && clari_document_entries(document) == 1);
	clari_document_close(document);
}

/* Digits, perhaps with a point between: what an amount is read to; or a number of JSON's. */
static void
require_amount(const char *text, size_t length)
{
	size_t at = length > 0 && text[0] == '-';

	for (; at < length && text[at] == '0' && at + 1 < length && text[at + 1] >= '0' && text[at + 1] <= '9'; at++)
		; /* people may write 007, JSON may not */
	require_number(text + at, length - at);
}

static bool
check_line(uint64_t *hash, const ClariValue *values)
{
	require(values[CLARI_LINE_FIELD].kind == CLARI_VALUE_STRING && values[CLARI_LINE_FIELD].length > 0);
	for (int i = 0; i < CLARI_LINE_COUNT; i++)
	{
		const ClariValue *value = &values[i];
		int64_t days;

		*hash = add_hash(*hash, &value->kind, sizeof(value->kind));
		if (value->kind == CLARI_VALUE_NULL)
			continue;
		if (value->kind == CLARI_VALUE_BOOL)
		{
			require(i == CLARI_LINE_IS_UPDATED);
			*hash = add_hash(*hash, &value->boolean, sizeof(value->boolean));
			continue;
		}
		*hash = add_hash(*hash, value->data, value->length);
		if (i >= CLARI_LINE_KEYS)
		{
			require(value->kind == CLARI_VALUE_NUMBER && i != CLARI_LINE_IS_UPDATED);
			require_amount(value->data, value->length);
			continue;
		}
		require(value->kind == CLARI_VALUE_STRING && value->length > 0);
		require_text(value->data, value->length);
		require((i != CLARI_LINE_START_DAY && i != CLARI_LINE_END_DAY) ||
				clari_date_read(value->data, value->length, &days));
	}
	return true;
}

/* arg is the hash of all that was given. */
static bool
check_item(void *arg, ClariList list, const ClariValue *values, ClariError *error)
{
	uint64_t *hash = arg;
	const ClariListInfo *info = &clari_lists[list];

	(void) error;
	*hash = add_hash(*hash, &list, sizeof(list));
	if (list == CLARI_LINES)
		return check_line(hash, values);
	for (int i = 0; i < info->nattributes; i++)
	{
		const ClariValue *value = &values[i];
		ClariType type = info->attributes[i].type;

		*hash = add_hash(*hash, &value->kind, sizeof(value->kind));
		if (value->kind == CLARI_VALUE_BOOL)
			*hash = add_hash(*hash, &value->boolean, sizeof(value->boolean));
		else if (value->kind != CLARI_VALUE_NULL)
			*hash = add_hash(*hash, value->data, value->length);
		if (value->kind == CLARI_VALUE_STRING)
			require_text(value->data, value->length);
		else if (value->kind == CLARI_VALUE_NUMBER)
			require_number(value->data, value->length);
		else if (value->kind == CLARI_VALUE_UNEXPECTED)
			require_json(value->data, value->length);
		require(value->kind != CLARI_VALUE_UNEXPECTED || type == CLARI_BOOL || type == CLARI_DATE ||
				type == CLARI_TIMESTAMP || type == CLARI_INTEGER);
		require(value->kind != CLARI_VALUE_STRING || type == CLARI_TEXT || type == CLARI_DATE);
		require(value->kind != CLARI_VALUE_NUMBER || type == CLARI_NUMERIC || type == CLARI_TIMESTAMP ||
				type == CLARI_INTEGER);
		require(value->kind != CLARI_VALUE_BOOL || type == CLARI_BOOL);
		require(value->kind == CLARI_VALUE_NULL || info->attributes[i].key != NULL);
	}
	return true;
}

/* Pushes the bytes in pieces of up to most bytes, each a copy that ends where it ends. */
static uint64_t
read_document(ClariEndpoint endpoint, const uint8_t *data, size_t size, size_t most, ClariError *error)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325);
	uint64_t random = add_hash(hash, data, size);
	ClariDocument *document = clari_document_open(endpoint, check_item, &hash);
	bool passed = true;
	uint64_t entries;

	require(document != NULL);
	memset(error, 0, sizeof(*error));
	for (size_t at = 0, piece; at < size && passed; at += piece)
	{
		char *copy;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
		piece = most >= size ? size : 1 + (random >> 33) % most;
		piece = piece > size - at ? size - at : piece;
		copy = malloc(piece);
		require(copy != NULL);
		memcpy(copy, data + at, piece);
		passed = clari_document_push(document, copy, piece, error);
		free(copy);
	}
	passed = passed && clari_document_finish(document, error);
	require(passed == (error->code == CLARI_ERROR_NONE));
	if (!passed)
	{
		require((error->code == CLARI_ERROR_DATA || error->code == CLARI_ERROR_LIMIT) && error->message[0] != '\0');
		require(strlen(error->detail) > 1 && error->detail[strlen(error->detail) - 1] == '.');
		/* the framing leaves nothing for json-c to refuse */
		require(strncmp(error->detail, "Something json-c refuses", 24) != 0);
		require(!clari_document_push(document, "{", 1, NULL) && !clari_document_finish(document, NULL));
	}
	entries = clari_document_entries(document);
	clari_document_close(document);
	return add_hash(hash, &entries, sizeof(entries));
}

static void
check_document(ClariEndpoint endpoint, const uint8_t *data, size_t size)
{
	ClariError whole;
	ClariError cut;
	uint64_t hash = read_document(endpoint, data, size, size, &whole);

	for (size_t most = 1; most <= 64; most *= 8)
	{
		require(read_document(endpoint, data, size, most, &cut) == hash);
		require(memcmp(&whole, &cut, sizeof(whole)) == 0);
	}
}

#ifndef CLARI_FUZZ_CSV
static uint64_t
read_members(const char *before, const uint8_t *data, size_t size, ClariError *error)
{
	static const char after[] = "}]}";
	size_t length = strlen(before);
	uint8_t *file = malloc(length + size + sizeof(after));
	uint64_t hash;

	require(file != NULL);
	memcpy(file, before, length);
	memcpy(file + length, data, size);
	memcpy(file + length + size, after, sizeof(after) - 1);
	hash = read_document(CLARI_ENDPOINT_EXPORT, file, length + size + sizeof(after) - 1, length + size, error);
	free(file);
	return hash;
}

/* As an entry's members the bytes give the same where json-c reads it, since there is a list in it, as where plain.c may. */
static void
check_both_readers(const uint8_t *data, size_t size)
{
	ClariError plain;
	ClariError by_json_c;

	/* The list's key must not be there a second time, also not as an escape. */
	for (size_t i = 0; i < size; i++)
		if (data[i] == '~' || (data[i] == '\\' && i + 4 < size && memcmp(data + i + 1, "u007", 4) == 0))
			return;
	require(read_members("{\"entries\":[{\"fieldId\":\"f\",", data, size, &plain) ==
			read_members("{\"entries\":[{\"fieldId\":\"f\",\"~\":[],", data, size, &by_json_c));
	require(plain.code == by_json_c.code && strcmp(plain.message, by_json_c.message) == 0);
}
#endif

static void
check(const uint8_t *data, size_t size)
{
#ifdef CLARI_FUZZ_CSV
	static const char header[] =
		"User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week,Start Day,End Day,Data Type,Data Value,Team\r\n";
	uint8_t *file = malloc(sizeof(header) + size);

	require(file != NULL);
	memcpy(file, header, sizeof(header) - 1);
	memcpy(file + sizeof(header) - 1, data, size);
	check_document(CLARI_ENDPOINT_EXPORT, file, sizeof(header) - 1 + size);
	*file = '[';
	memcpy(file + 1, data, size);
	check_document(CLARI_ENDPOINT_EXPORT, file, 1 + size);
	free(file);
#else
	check_both_readers(data, size);
	check_document(CLARI_ENDPOINT_LIMITS, data, size);
	check_document(CLARI_ENDPOINT_JOBS, data, size);
#endif
	check_document(CLARI_ENDPOINT_EXPORT, data, size);
}

#else

/* Valid UTF-8, as ids and links are. */
static void
require_word(const char *text, size_t size)
{
	size_t length = strnlen(text, size);

	require(length < size);
	require_text(text, length);
}

/* One line of it, as what is shown to people. */
static void
require_line(const char *text, size_t size)
{
	require_word(text, size);
	for (; *text != '\0'; text++)
		require((unsigned char) *text >= ' ' && *text != 0x7F);
}

/* What the adoption makes of a list, and what was in it. */
typedef struct Gone
{
	ClariAdoption adoption;
	char last_id[CLARI_ID_SIZE];
	uint32_t jobs;
} Gone;

static bool
check_job(void *arg, const ClariListedJob *job)
{
	Gone *gone = arg;

	require_word(job->job_id, sizeof(job->job_id));
	require_word(job->user_id, sizeof(job->user_id));
	require_word(job->currency, sizeof(job->currency));
	require(strnlen(job->file_name, sizeof(job->file_name)) < sizeof(job->file_name));
	/* a name is compared and never shown: json-c's idea of UTF-8, which lets overlong forms pass, will do */
	require(job->job_id[0] != '\0' && job->status <= CLARI_STATUS_UNKNOWN);
	memcpy(gone->last_id, job->job_id, sizeof(gone->last_id));
	gone->jobs++;
	return clari_adopt_add(&gone->adoption, job);
}

static bool
stop_at_once(void *arg, const ClariListedJob *job)
{
	(void) job;
	++*(int *) arg;
	return false;
}

static ClariVerdict
go_through(const char *body, size_t size, const ClariSought *sought, Gone *gone, char job_id[CLARI_ID_SIZE])
{
	memset(gone, 0, sizeof(*gone));
	memset(job_id, 0xA5, 64);
	clari_adopt_begin(&gone->adoption, sought);
	if (!clari_json_read_jobs(body, size, check_job, gone))
	{
		require(gone->jobs == 0);
		job_id[0] = '\0';
		return CLARI_VERDICT_NONE;
	}
	return clari_adopt_verdict(&gone->adoption, job_id);
}

/* A list after the POST, beside an empty one before it and beside itself. */
static void
check_list(const char *body, size_t size)
{
	ClariRequest request = {.forecast = "net_arr", .types = CLARI_TYPES_ALL};
	ClariKnownJobs known = {.complete = true};
	ClariSought sought = {.request = &request, .period = "2026_Q1", .user_id = "5d1f", .currency = "", .known = &known};
	Gone gone;
	char job_id[CLARI_ID_SIZE];
	int stopped = 0;
	ClariVerdict verdict = go_through(body, size, &sought, &gone, job_id);

	require((verdict == CLARI_VERDICT_OURS) == (job_id[0] != '\0'));
	if (verdict == CLARI_VERDICT_OURS)
	{
		require_word(job_id, sizeof(job_id));
		require(gone.jobs > 1 || strcmp(job_id, gone.last_id) == 0);
		/* it is nobody else's, or in another currency, only because it was asked for so */
		sought.user_id = "somebody else";
		require(go_through(body, size, &sought, &gone, job_id) != CLARI_VERDICT_OURS);
		sought.user_id = "";
		require(go_through(body, size, &sought, &gone, job_id) != CLARI_VERDICT_OURS);
		sought.user_id = "5d1f";
		strcpy(request.currency, "XXX");
		require(go_through(body, size, &sought, &gone, job_id) != CLARI_VERDICT_OURS);
		request.currency[0] = '\0';
	}
	sought.known = NULL;
	require(go_through(body, size, &sought, &gone, job_id) == CLARI_VERDICT_NONE);
	clari_adopt_known(&gone.adoption, &known);
	require(known.count <= CLARI_KNOWN_MAX && known.count <= gone.jobs);
	sought.known = &known;
	require(go_through(body, size, &sought, &gone, job_id) == CLARI_VERDICT_NONE && job_id[0] == '\0');
	require(clari_json_read_jobs(body, size, stop_at_once, &stopped) ? stopped == (gone.jobs > 0) : stopped == 0);
}

static void
check(const uint8_t *data, size_t size)
{
	ClariReply reply;
	char *copy = malloc(size > 0 ? size : 1);

	require(copy != NULL);
	memcpy(copy, data, size);
	check_list(copy, size);
	memset(&reply, 0xA5, sizeof(reply));
	clari_json_read_reply(copy, size, "sEcret", &reply);
	free(copy);
	require_word(reply.job_id, sizeof(reply.job_id));
	require_word(reply.user_id, sizeof(reply.user_id));
	require_word(reply.download_url, sizeof(reply.download_url));
	require_line(reply.status_text, sizeof(reply.status_text));
	require_line(reply.code, sizeof(reply.code));
	require_line(reply.error_id, sizeof(reply.error_id));
	require_line(reply.message, sizeof(reply.message));
	require_line(reply.first_line, sizeof(reply.first_line));
	require(reply.is_json || (reply.job_id[0] == '\0' && reply.status == CLARI_STATUS_ABSENT));
}

#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check(data, size);
	return 0;
}
