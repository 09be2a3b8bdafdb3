/*
 * value.c
 *		Single values of json-c: their text, that text as JSON, and whether
 *		two values are equal: see internal.h.
 *
 * Runs in the worker, in unit tests and in fuzzers.  Raises nothing, takes no
 * lock, allocates nothing itself.
 */
#include "json/internal.h"

#include <json-c/json.h>

struct lh_entry *
clari_first_member(json_object *object)
{
	return json_object_get_object(object)->head;
}

/* Not done by snprintf(), which would take longer than json-c does for the whole member. */
void
clari_value_set_integer(ClariValue *value, char *space, int64_t number)
{
	uint64_t rest = number < 0 ? -(uint64_t) number : (uint64_t) number;
	char *digit = space + CLARI_INTEGER_SIZE;

	do
		*--digit = (char) ('0' + rest % 10);
	while ((rest /= 10) != 0);
	if (number < 0)
		*--digit = '-';
	value->kind = CLARI_VALUE_NUMBER;
	value->data = digit;
	value->length = (uint32_t) (space + CLARI_INTEGER_SIZE - digit);
}

const char *
clari_value_text_of_double(json_object *object, size_t *length, bool *is_integer)
{
	const char *text = json_object_get_userdata(object);
	size_t digits;

	if (text == NULL) /* a version of json-c that stores the text elsewhere */
		text = json_object_to_json_string(object);
	if (text == NULL)
		return NULL;
	*length = strlen(text);
	digits = strspn(text + (*text == '-'), "0123456789") + (*text == '-');
	*is_integer = digits > CLARI_SAFE_DIGITS + (size_t) (*text == '-') && strcmp(text + digits, "e0") == 0;
	if (*is_integer)
		*length = digits;
	return text;
}

/* ------- comparing numbers ------- */

/* The digits of a number, beginning with the first that is not 0. */
typedef struct Digits
{
	const char *next; /* a "." is skipped */
	const char *end;
	int64_t exponent; /* the number is 0.digits * 10 ^ exponent */
	bool negative;
} Digits;

/* Reads the exponent that follows a mantissa.  Returns false if it is too large to be compared. */
static bool
read_exponent(const char *text, const char *end, int64_t *exponent)
{
	bool negative = text < end && *text == '-';
	size_t digits = 0;

	*exponent = 0;
	for (text += text < end && (*text == '-' || *text == '+'); text < end; text++)
	{
		*exponent = *exponent * 10 + (*text - '0');
		if (*exponent > 0 && ++digits > 15)
			return false;
	}
	if (negative)
		*exponent = -*exponent;
	return true;
}

/* Begins to read the digits of a number.  Returns false if its exponent is too large. */
static bool
begin_digits(const ClariValue *value, Digits *digits)
{
	const char *end = value->data + value->length;

	digits->negative = *value->data == '-';
	digits->next = value->data + digits->negative;
	digits->end = digits->next;
	while (digits->end < end && *digits->end != 'e' && *digits->end != 'E')
		digits->end++;
	if (!read_exponent(digits->end + (digits->end < end), end, &digits->exponent))
		return false;
	for (const char *byte = digits->next; byte < digits->end && *byte != '.'; byte++)
		digits->exponent++;
	for (; digits->next < digits->end && (*digits->next == '0' || *digits->next == '.'); digits->next++)
		digits->exponent -= *digits->next == '0';
	return true;
}

static char
next_digit(Digits *digits)
{
	if (digits->next < digits->end && *digits->next == '.')
		digits->next++;
	return digits->next < digits->end ? *digits->next++ : '0';
}

static bool
same_number(const ClariValue *a, const ClariValue *b)
{
	Digits left;
	Digits right;

	if (!begin_digits(a, &left) || !begin_digits(b, &right))
		return false;
	if (left.next == left.end || right.next == right.end) /* one of them is 0 */
		return left.next == left.end && right.next == right.end;
	if (left.negative != right.negative || left.exponent != right.exponent)
		return false;
	while (left.next < left.end || right.next < right.end)
		if (next_digit(&left) != next_digit(&right))
			return false;
	return true;
}

bool
clari_value_is_same(const ClariValue *a, const ClariValue *b)
{
	if (a->length == b->length && memcmp(a->data, b->data, a->length) == 0)
		return true;
	return a->kind == CLARI_VALUE_NUMBER && b->kind == CLARI_VALUE_NUMBER && same_number(a, b);
}

/* ------- writing values as JSON ------- */

/*
 * These functions write values as JSON.  Those of json-c would silently omit
 * something if memory is short.  These need no memory, because the text is
 * never longer than the one it was read from.
 */

static char *
put_bytes(char *to, const char *bytes, size_t length)
{
	memcpy(to, bytes, length);
	return to + length;
}

static char *
put_string(char *to, const char *string, size_t length)
{
	static const char named[] = "\bb\ff\nn\rr\tt\"\"\\\\";

	*to++ = '"';
	for (size_t i = 0; i < length; i++)
	{
		const char *name = NULL;

		for (const char *pair = named; *pair != '\0' && name == NULL; pair += 2)
			if (*pair == string[i])
				name = pair + 1;
		if (name == NULL && (unsigned char) string[i] >= 0x20)
			*to++ = string[i];
		else
		{
			*to++ = '\\';
			*to++ = name != NULL ? *name : 'u';
			if (name == NULL)
			{
				to = put_bytes(to, string[i] < 0x10 ? "000" : "001", 3);
				*to++ = "0123456789abcdef"[string[i] & 0xF];
			}
		}
	}
	*to++ = '"';
	return to;
}

static char *
put_members(char *to, json_object *object)
{
	*to++ = '{';
	for (struct lh_entry *member = clari_first_member(object); member != NULL && to != NULL; member = member->next)
	{
		const char *key = lh_entry_k(member);

		if (member != clari_first_member(object))
			*to++ = ',';
		to = put_string(to, key, strlen(key));
		*to++ = ':';
		to = clari_value_write(to, lh_entry_v(member));
	}
	if (to != NULL)
		*to++ = '}';
	return to;
}

static char *
put_elements(char *to, json_object *array)
{
	*to++ = '[';
	for (size_t i = 0; i < json_object_array_length(array) && to != NULL; i++)
	{
		if (i > 0)
			*to++ = ',';
		to = clari_value_write(to, json_object_array_get_idx(array, i));
	}
	if (to != NULL)
		*to++ = ']';
	return to;
}

char *
clari_value_write(char *to, json_object *value)
{
	ClariValue number;
	char space[CLARI_INTEGER_SIZE];
	bool is_integer;
	const char *text;
	size_t length;

	switch (json_object_get_type(value))
	{
		case json_type_object:
			return put_members(to, value);
		case json_type_array:
			return put_elements(to, value);
		case json_type_string:
			return put_string(to, json_object_get_string(value), (size_t) json_object_get_string_len(value));
		case json_type_boolean:
			return json_object_get_boolean(value) ? put_bytes(to, "true", 4) : put_bytes(to, "false", 5);
		case json_type_int:
			clari_value_set_integer(&number, space, json_object_get_int64(value));
			return put_bytes(to, number.data, number.length);
		case json_type_double:
			text = clari_value_text_of_double(value, &length, &is_integer);
			return text == NULL ? NULL : put_bytes(to, text, length);
		default:
			return put_bytes(to, "null", 4);
	}
}
