/*
 * item.c
 *		Items as cells, and packed items: see internal.h.
 *
 * Runs wherever the rowset writer runs; takes no locks, allocates nothing.  An
 * amount is never converted to a binary float; numbers remain text.
 */
#include "rowset/internal.h"

#include <stdio.h>
#include <string.h>

#include "clari/calendar.h"

#define SHOWN 60         /* how many bytes of an invalid value a message shows */
#define LONG_LENGTH 0xFF /* as the length byte in a packed item: a length of four bytes follows */

#define EPOCH_MS INT64_C(946684800000) /* 2000-01-01 in ms from 1970-01-01 */
/* PostgreSQL's MIN_TIMESTAMP and END_TIMESTAMP (datatype/timestamp.h), in ms */
#define MIN_TIMESTAMP_MS INT64_C(-211813488000000)
#define END_TIMESTAMP_MS INT64_C(9223371331200000)

/* ------- values ------- */

static bool
reject(ClariError *error, const ClariAttribute *attribute, const ClariValue *value, const char *expected)
{
	static const char *const kinds[] = {"null", "string", "number", "boolean", "value"};

	clari_error_set(error, CLARI_ERROR_DATA, "the export file holds a value that cannot be kept exactly");
	if (value->kind == CLARI_VALUE_STRING || value->kind == CLARI_VALUE_NUMBER)
		clari_error_detail(error, "\"%s\" must be %s, but is the %s \"%.*s\".", attribute->key, expected,
						   kinds[value->kind], value->length > 200 ? 200 : (int) value->length, value->data);
	else
		clari_error_detail(error, "\"%s\" must be %s, but is a %s.", attribute->key, expected, kinds[value->kind]);
	return false;
}

/* Reads an integer of at most 18 digits, which may have a minus. */
static bool
read_integer(const char *text, size_t length, int64_t *result)
{
	size_t i = length > 0 && text[0] == '-' ? 1 : 0;

	*result = 0;
	if (i == length || length > 18)
		return false;
	for (; i < length; i++)
	{
		if (text[i] < '0' || text[i] > '9')
			return false;
		*result = *result * 10 + (text[i] - '0');
	}
	*result = text[0] == '-' ? -*result : *result;
	return true;
}

/* Reads an integer of epoch milliseconds as µs from 2000-01-01, within timestamptz's range. */
static bool
read_timestamp(const char *text, size_t length, int64_t *result)
{
	int64_t ms;

	if (!read_integer(text, length, &ms))
		return false;
	ms -= EPOCH_MS;
	if (ms < MIN_TIMESTAMP_MS || ms >= END_TIMESTAMP_MS)
		return false;
	*result = ms * 1000;
	return true;
}

static size_t
skip_digits(const char *text, size_t length, size_t i)
{
	while (i < length && text[i] >= '0' && text[i] <= '9')
		i++;
	return i;
}

/*
 * Is a string a plain decimal number?  Some serializers write amounts as
 * strings.  Other texts that numeric_in() accepts ("NaN", white space) are not
 * amounts.
 */
static bool
is_decimal(const char *text, size_t length)
{
	size_t start = length > 0 && text[0] == '-' ? 1 : 0;
	size_t i = skip_digits(text, length, start);

	if (i == start)
		return false;
	if (i < length && text[i] == '.')
	{
		start = i + 1;
		i = skip_digits(text, length, start);
		if (i == start)
			return false;
	}
	return i == length;
}

static bool
read_bool(const ClariValue *value, int64_t *result)
{
	if (value->kind == CLARI_VALUE_BOOL)
		*result = value->boolean ? 1 : 0;
	else if (value->kind == CLARI_VALUE_STRING && value->length == 4 && memcmp(value->data, "true", 4) == 0)
		*result = 1;
	else if (value->kind == CLARI_VALUE_STRING && value->length == 5 && memcmp(value->data, "false", 5) == 0)
		*result = 0;
	else
		return false;
	return true;
}

/* Reads a text or a number, whose bytes are not changed. */
static bool
read_bytes(const ClariAttribute *attribute, const ClariValue *value, ClariCell *cell, ClariError *error)
{
	if (value->kind == CLARI_VALUE_BOOL || value->kind == CLARI_VALUE_UNEXPECTED)
		return reject(error, attribute, value, attribute->type == CLARI_NUMERIC ? "a number" : "a text");
	if (attribute->type == CLARI_NUMERIC && value->kind == CLARI_VALUE_STRING &&
		!is_decimal(value->data, value->length))
		return reject(error, attribute, value, "a number");
	cell->bytes = value->length > 0 ? value->data : "";
	cell->length = value->length;
	return true;
}

int
clari_item_clip(const char *text, size_t length, size_t most)
{
	if (length <= most)
		return (int) length;
	while (most > 0 && ((unsigned char) text[most] & 0xC0) == 0x80)
		most--;
	return (int) most;
}

/* Returns the words for a JSON value that begins with this character. */
static const char *
kind_of_json(char first)
{
	switch (first)
	{
		case '"':
			return "string";
		case '{':
			return "object";
		case '[':
			return "array";
		case 't':
		case 'f':
			return "boolean";
		default:
			return "number";
	}
}

/* Makes a note of a value of another type, for a column of fixed width.  The note is longer than a value. */
static void
note_unexpected(const ClariValue *value, char *note, ClariCell *cell)
{
	int shown = clari_item_clip(value->data, value->length, SHOWN);

	cell->bytes = note;
	cell->length = (uint32_t) snprintf(note, CLARI_NOTE_SIZE, "the %s %.*s%s", kind_of_json(*value->data), shown,
									   value->data, (uint32_t) shown < value->length ? "…" : "");
}

bool
clari_item_read(ClariItem *item, ClariList list, const ClariValue *values, ClariError *error)
{
	const ClariListInfo *info = &clari_lists[list];

	for (int i = 0; i < info->nattributes; i++)
	{
		const ClariAttribute *attribute = &info->attributes[i];
		const ClariValue *value = &values[i];
		ClariCell *cell = &item->cells[i];
		bool textual = value->kind == CLARI_VALUE_STRING || value->kind == CLARI_VALUE_NUMBER;

		cell->bytes = NULL;
		cell->length = 0;
		if (value->kind == CLARI_VALUE_NULL || attribute->key == NULL)
			continue;
		if (attribute->type == CLARI_TEXT || attribute->type == CLARI_NUMERIC)
		{
			if (!read_bytes(attribute, value, cell, error))
				return false;
			continue;
		}
		if (value->kind == CLARI_VALUE_UNEXPECTED)
		{
			note_unexpected(value, item->notes[i], cell);
			continue;
		}
		cell->bytes = (const char *) &item->fixed[i];
		cell->length = sizeof(int64_t);
		if (attribute->type == CLARI_BOOL && !read_bool(value, &item->fixed[i]))
			return reject(error, attribute, value, "true or false");
		if (attribute->type == CLARI_DATE &&
			(value->kind != CLARI_VALUE_STRING || !clari_date_read(value->data, value->length, &item->fixed[i])))
			return reject(error, attribute, value, "a date YYYY-MM-DD");
		if (attribute->type == CLARI_TIMESTAMP &&
			(!textual || !read_timestamp(value->data, value->length, &item->fixed[i])))
			return reject(error, attribute, value, "a time in whole milliseconds");
		if (attribute->type == CLARI_INTEGER &&
			(!textual || !read_integer(value->data, value->length, &item->fixed[i])))
			return reject(error, attribute, value, "an integer of at most 18 digits");
	}
	return true;
}

int64_t
clari_cell_fixed(const ClariCell *cell)
{
	int64_t value;

	memcpy(&value, cell->bytes, sizeof(value));
	return value;
}

bool
clari_cell_equal(const ClariCell *a, const ClariCell *b)
{
	if (a->bytes == NULL || b->bytes == NULL)
		return a->bytes == b->bytes;
	return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

int
clari_cell_compare(const ClariCell *a, const ClariCell *b)
{
	int order = memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);

	return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

/* ------- packed items ------- */

size_t
clari_item_size(const ClariCell *cells, int ncells)
{
	size_t size = CLARI_ITEM_HEAD;

	for (int i = 0; i < ncells; i++)
		if (cells[i].bytes != NULL)
			size += cells[i].length + (cells[i].length < LONG_LENGTH ? 1 : 1 + sizeof(uint32_t));
	return size;
}

void
clari_item_pack(const ClariCell *cells, int ncells, size_t size, char *packed)
{
	uint32_t head[2] = {(uint32_t) size, 0};
	char *to = packed + CLARI_ITEM_HEAD;

	for (int i = 0; i < ncells; i++)
	{
		if (cells[i].bytes == NULL)
			continue;
		head[1] |= UINT32_C(1) << i;
		if (cells[i].length < LONG_LENGTH)
			*to++ = (char) cells[i].length;
		else
		{
			*to++ = (char) LONG_LENGTH;
			memcpy(to, &cells[i].length, sizeof(uint32_t));
			to += sizeof(uint32_t);
		}
		memcpy(to, cells[i].bytes, cells[i].length);
		to += cells[i].length;
	}
	memcpy(packed, head, sizeof(head));
}

bool
clari_item_unpack(const char *packed, size_t size, int ncells, ClariCell *cells)
{
	uint32_t present;
	size_t at = CLARI_ITEM_HEAD;

	memcpy(&present, packed + sizeof(uint32_t), sizeof(present));
	for (int i = 0; i < ncells; i++)
	{
		uint32_t length;

		cells[i].bytes = NULL;
		cells[i].length = 0;
		if ((present & (UINT32_C(1) << i)) == 0)
			continue;
		if (at >= size)
			return false;
		length = (unsigned char) packed[at++];
		if (length == LONG_LENGTH)
		{
			if (size - at < sizeof(uint32_t))
				return false;
			memcpy(&length, packed + at, sizeof(uint32_t));
			at += sizeof(uint32_t);
		}
		if (size - at < length)
			return false;
		cells[i].bytes = packed + at;
		cells[i].length = length;
		at += length;
	}
	return true;
}
