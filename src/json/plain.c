/*
 * plain.c
 *		Reads items in the usual notation, without json-c: see internal.h.
 *
 * Nearly all items of a large file are objects of strings, numbers, Boolean values
 * and nulls, with the same keys as other items.  json-c would allocate and free
 * memory for each of their members.  The framing has checked the grammar, so
 * every token is complete, and every escape is valid.  Everything else is left
 * to json-c, including errors.
 *
 * Runs in the worker, in unit tests and in fuzzers.  Raises nothing, takes no
 * lock, allocates nothing.
 */
#include "json/internal.h"

#include <string.h>

/* Values of ClariPlainKey.attribute for keys that are not those of one attribute. */
#define UNKNOWN (-1)
#define OF_PARTS (-2) /* the first part of a key such as "currency.code" */

/* The position in an item that is being read. */
typedef struct Reader
{
	const char *next;
	const char *end;
	char *space; /* where to write the next string with escapes; NULL if there is none in the item */
} Reader;

/* ------- keys ------- */

/* Returns the attribute with that key, or else that alias, in the same order as document.c does. */
static int
find_attribute(const ClariListInfo *list, const char *key, size_t length)
{
	for (int pass = 0; pass < 2; pass++)
		for (int i = 0; i < list->nattributes; i++)
		{
			const char *text = pass == 0 ? list->attributes[i].key : list->attributes[i].alias;

			if (text != NULL && strcspn(text, ".") == length && strncmp(text, key, length) == 0)
				return text[length] == '.' ? OF_PARTS : i;
		}
	return UNKNOWN;
}

static bool
is_key(const ClariPlainKey *key, const char *text, size_t left)
{
	return key->length < left && memcmp(key->text, text, key->length) == 0 && text[key->length] == '"';
}

static const ClariPlainKey *
add_key(ClariPlain *plain, ClariList list, const char *text, size_t left)
{
	const char *quote = memchr(text, '"', left);
	ClariPlainKey *key = &plain->keys[plain->nkeys];

	if (quote == NULL || (size_t) (quote - text) > sizeof(key->text) || plain->nkeys == CLARI_PLAIN_KEYS ||
		memchr(text, '\\', (size_t) (quote - text)) != NULL)
		return NULL;
	key->length = (uint32_t) (quote - text);
	memcpy(key->text, text, key->length);
	key->attribute = find_attribute(&clari_lists[list], text, key->length);
	plain->nkeys++;
	return key;
}

/*
 * Reads a key, whose first quote has been read.  Returns NULL if there are too
 * many keys, or it cannot be remembered.  guess is the key to try first,
 * because items usually have their keys in the same order.
 */
static const ClariPlainKey *
read_key(ClariPlain *plain, ClariList list, Reader *reader, int guess)
{
	size_t left = (size_t) (reader->end - reader->next);
	const ClariPlainKey *key = &plain->keys[guess];

	if (guess >= plain->nkeys || !is_key(key, reader->next, left))
	{
		int i = 0;

		while (i < plain->nkeys && !is_key(&plain->keys[i], reader->next, left))
			i++;
		key = i < plain->nkeys ? &plain->keys[i] : add_key(plain, list, reader->next, left);
	}
	if (key != NULL)
		reader->next += key->length + 1;
	return key;
}

/* ------- values ------- */

static void
skip_space(Reader *reader)
{
	while (reader->next < reader->end &&
		   (*reader->next == ' ' || *reader->next == '\n' || *reader->next == '\r' || *reader->next == '\t'))
		reader->next++;
}

/* Returns the first byte of the next token, or NUL at the end. */
static char
peek(Reader *reader)
{
	skip_space(reader);
	return reader->next < reader->end ? *reader->next : '\0';
}

static uint32_t
read_hex(const char *digits)
{
	uint32_t code = 0;

	for (int i = 0; i < 4; i++)
		code = code << 4 | (uint32_t) ((digits[i] & 0xF) + (digits[i] >= 'A' ? 9 : 0));
	return code;
}

static char *
put_character(char *to, uint32_t code)
{
	int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
	static const unsigned char lead[] = {0, 0xC0, 0xE0, 0xF0};

	*to++ = (char) (lead[more] | code >> 6 * more);
	while (more-- > 0)
		*to++ = (char) (0x80 | (code >> 6 * more & 0x3F));
	return to;
}

/*
 * Reads what follows a backslash, and writes the character to *to, which is
 * advanced.  The character is never longer than its escape.
 */
static void
read_escape(Reader *reader, char **to)
{
	static const char named[] = "b\bf\fn\nr\rt\t";
	char name = *reader->next++;
	uint32_t code;

	if (name != 'u')
	{
		const char *pair = strchr(named, name);

		*(*to)++ = pair != NULL ? pair[1] : name;
		return;
	}
	code = read_hex(reader->next);
	reader->next += 4;
	if (code >= 0xD800 && code < 0xE000) /* the second half of the pair follows */
	{
		code = 0x10000 + ((code - 0xD800) << 10) + (read_hex(reader->next + 2) - 0xDC00);
		reader->next += 6;
	}
	*to = put_character(*to, code);
}

/* Reads a string with escapes, whose first quote has been read, into reader->space. */
static bool
read_escaped(Reader *reader, ClariValue *value)
{
	char *to = reader->space;

	value->data = to;
	while (*reader->next != '"')
		if (*reader->next != '\\')
			*to++ = *reader->next++;
		else
		{
			reader->next++;
			read_escape(reader, &to);
		}
	reader->next++;
	value->kind = CLARI_VALUE_STRING;
	value->length = (uint32_t) (to - value->data);
	reader->space = to;
	return true;
}

static bool
read_string(Reader *reader, ClariValue *value)
{
	const char *quote;

	value->data = ++reader->next;
	quote = memchr(value->data, '"', (size_t) (reader->end - value->data));
	if (quote == NULL)
		return false;
	if (reader->space != NULL && memchr(value->data, '\\', (size_t) (quote - value->data)) != NULL)
		return read_escaped(reader, value);
	value->kind = CLARI_VALUE_STRING;
	value->length = (uint32_t) (quote - value->data);
	reader->next = quote + 1;
	return true;
}

static inline bool
is_of_number(char byte)
{
	return (byte >= '0' && byte <= '9') || byte == '.' || byte == 'e' || byte == 'E' || byte == '+' || byte == '-';
}

/*
 * Reads a number as it is written, except in two cases in which json-c gives
 * another text: "-0" becomes "0", and the "e0" that the framing has appended
 * to a long integer is removed.
 */
static bool
read_number(Reader *reader, ClariValue *value, bool *is_integer)
{
	const char *begin = reader->next;
	const char *byte = begin + (*begin == '-');
	size_t digits;

	while (byte < reader->end && *byte >= '0' && *byte <= '9')
		byte++;
	digits = (size_t) (byte - begin) - (*begin == '-');
	*is_integer = byte < reader->end && *byte != '.' && *byte != 'e' && *byte != 'E';
	value->kind = CLARI_VALUE_NUMBER;
	value->data = begin;
	value->length = (uint32_t) (byte - begin);
	if (*is_integer && digits == 1 && memcmp(begin, "-0", 2) == 0)
	{
		value->data++;
		value->length--;
	}
	while (byte < reader->end && is_of_number(*byte))
		byte++;
	reader->next = byte;
	if (!*is_integer &&
		!(digits > CLARI_SAFE_DIGITS && byte - begin == value->length + 2 && byte[-2] == 'e' && byte[-1] == '0'))
		value->length = (uint32_t) (byte - begin);
	return digits > 0;
}

/* Reads a value.  Returns false if json-c must read it. */
static bool
read_value(Reader *reader, ClariValue *value, bool *is_integer)
{
	*is_integer = false;
	switch (peek(reader))
	{
		case '"':
			return read_string(reader, value);
		case 'n':
			value->kind = CLARI_VALUE_NULL;
			reader->next += strlen("null");
			return true;
		case 't':
		case 'f':
			value->kind = CLARI_VALUE_BOOL;
			value->boolean = *reader->next == 't';
			reader->next += value->boolean ? strlen("true") : strlen("false");
			return true;
		default:
			return read_number(reader, value, is_integer);
	}
}

/* Is the value of the kind that the attribute's type requires? */
static bool
is_of_type(const ClariValue *value, ClariType type, bool is_integer)
{
	switch (type)
	{
		case CLARI_TEXT:
		case CLARI_DATE:
			return value->kind == CLARI_VALUE_STRING;
		case CLARI_NUMERIC:
			return value->kind == CLARI_VALUE_NUMBER;
		case CLARI_BOOL:
			return value->kind == CLARI_VALUE_BOOL;
		case CLARI_TIMESTAMP:
			return is_integer;
		case CLARI_INTEGER: /* not in export files */
		case CLARI_BITS:
			break;
	}
	return false;
}

/*
 * Reads a member's value, and stores it as that of its attribute.  Returns
 * false if json-c must read it, or if the attribute already has a value.
 */
static bool
read_member(Reader *reader, const ClariAttribute *attributes, int attribute, ClariValue *values)
{
	ClariValue value = {.kind = CLARI_VALUE_NULL};
	bool is_integer;

	if (!read_value(reader, &value, &is_integer))
		return false;
	if (value.kind == CLARI_VALUE_NULL || attribute == UNKNOWN)
		return true;
	if (attribute == OF_PARTS || !is_of_type(&value, attributes[attribute].type, is_integer) ||
		values[attribute].kind != CLARI_VALUE_NULL)
		return false;
	values[attribute] = value;
	return true;
}

/* ------- items ------- */

bool
clari_plain_read(ClariPlain *plain, ClariList list, const ClariFraming *framing, char *space, ClariValue *values)
{
	const ClariListInfo *info = &clari_lists[list];
	Reader reader = {framing->text, framing->text + framing->length, space};
	uint64_t seen = 0;
	int guess = 0;

	if (framing->inner > 0 || framing->length == 0 || *framing->text != '{')
		return false;
	if (plain->list != list)
		plain->nkeys = 0;
	plain->list = list;
	memset(values, 0, sizeof(ClariValue) * (size_t) info->nattributes);
	do
	{
		const ClariPlainKey *key;

		reader.next++; /* skip the brace or comma */
		if (peek(&reader) != '"')
			return false;
		reader.next++;
		key = read_key(plain, list, &reader, guess);
		if (key == NULL)
			return false;
		guess = (int) (key - plain->keys) + 1;
		if ((seen & UINT64_C(1) << (guess - 1)) != 0 || peek(&reader) != ':')
			return false;
		seen |= UINT64_C(1) << (guess - 1);
		reader.next++;
		if (!read_member(&reader, info->attributes, key->attribute, values))
			return false;
	} while (peek(&reader) == ',');
	return peek(&reader) == '}';
}
