/*
 * fuzz_json.c
 *		Any bytes whatever as an export file: the same items or the same error
 *		however they are cut, and nothing in them that could not be kept.  With
 *		-DCLARI_FUZZ_REPLY: any bytes as a reply.
 *
 *		clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -Isrc test/fuzz/fuzz_json.c src/json*.c \
 *			src/error.c src/attribute.c src/request.c src/digest.c -ljson-c -lcrypto -o build/fuzz_json
 *		build/fuzz_json -dict=test/fuzz/json.dict test/fuzz/corpus/json
 */
#include <stdlib.h>
#include <string.h>

#include "json.h"

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

/* arg is the hash of all that was given. */
static bool
check_item(void *arg, ClariList list, const ClariValue *values, ClariError *error)
{
	uint64_t *hash = arg;
	const ClariListInfo *info = &clari_lists[list];

	(void) error;
	*hash = add_hash(*hash, &list, sizeof(list));
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
		require(value->kind != CLARI_VALUE_STRING || type == CLARI_TEXT || type == CLARI_DATE);
		require(value->kind != CLARI_VALUE_NUMBER || type == CLARI_NUMERIC || type == CLARI_TIMESTAMP);
		require(value->kind != CLARI_VALUE_BOOL || type == CLARI_BOOL);
		require(value->kind == CLARI_VALUE_NULL || info->attributes[i].key != NULL);
	}
	return true;
}

/* Pushes the bytes in pieces of up to most bytes, each a copy that ends where it ends. */
static uint64_t
read_document(const uint8_t *data, size_t size, size_t most, ClariError *error)
{
	uint64_t hash = UINT64_C(0xCBF29CE484222325);
	uint64_t random = add_hash(hash, data, size);
	ClariDocument *document = clari_document_open(check_item, &hash);
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
		require(strstr(error->detail, "json-c") == NULL);
		require(!clari_document_push(document, "{", 1, NULL) && !clari_document_finish(document, NULL));
	}
	entries = clari_document_entries(document);
	clari_document_close(document);
	return add_hash(hash, &entries, sizeof(entries));
}

static void
check(const uint8_t *data, size_t size)
{
	ClariError whole;
	ClariError cut;
	uint64_t hash = read_document(data, size, size, &whole);

	for (size_t most = 1; most <= 64; most *= 8)
	{
		require(read_document(data, size, most, &cut) == hash);
		require(memcmp(&whole, &cut, sizeof(whole)) == 0);
	}
}

#else

/* One line of valid UTF-8; a word has no blanks either. */
static void
require_line(const char *text, size_t size, bool word)
{
	size_t length = strnlen(text, size);

	require(length < size);
	require_text(text, length);
	for (size_t i = 0; i < length; i++)
		require((unsigned char) text[i] >= (word ? '!' : ' ') && text[i] != 0x7F);
}

static void
check(const uint8_t *data, size_t size)
{
	ClariReply reply;
	char *copy = malloc(size > 0 ? size : 1);

	require(copy != NULL);
	memcpy(copy, data, size);
	memset(&reply, 0xA5, sizeof(reply));
	clari_json_read_reply(copy, size, &reply);
	free(copy);
	require_line(reply.job_id, sizeof(reply.job_id), true);
	require_line(reply.download_url, sizeof(reply.download_url), true);
	require_line(reply.status_text, sizeof(reply.status_text), false);
	require_line(reply.code, sizeof(reply.code), false);
	require_line(reply.error_id, sizeof(reply.error_id), false);
	require_line(reply.message, sizeof(reply.message), false);
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
