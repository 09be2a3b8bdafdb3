/*
 * framing.c
 *		Splits the bytes of an export file into elements: see internal.h.
 *
 * This is a pushdown automaton, whose whole state is in ClariFraming, so the
 * bytes may be pushed in pieces of any size, cut even inside an escape, a
 * UTF-8 character or a number.  Each scan_… function takes the first unread
 * byte and returns the next unread one, after having read as much as its state
 * allows, up to framing->stop.  Long runs of plain characters in strings,
 * which are most of a file, are skipped eight bytes at a time.  An element is
 * copied only if it begins in an earlier piece.
 */
#include "json/internal.h"

#include <stdlib.h>
#include <string.h>

enum
{
	AT_START, /* before the document's object */
	AT_KEY_OR_END,
	AT_KEY,
	AT_COLON,
	AT_VALUE_OR_END,
	AT_VALUE,
	AFTER_VALUE,
	AT_END,    /* after the document's object */
	IN_STRING, /* the states from here on are inside a token */
	IN_ESCAPE,
	IN_HEX,
	AT_LOW_BACKSLASH, /* the escape of a low surrogate must follow */
	AT_LOW_U,
	IN_UTF8,
	IN_LITERAL,
	IN_NUMBER
};

/* The grammar of numbers: the next state for each class of byte. */
enum
{
	NUMBER_BAD,
	NUMBER_DONE,
	NUMBER_MINUS,
	NUMBER_ZERO,
	NUMBER_INTEGER,
	NUMBER_POINT,
	NUMBER_FRACTION,
	NUMBER_E,
	NUMBER_SIGN,
	NUMBER_EXPONENT
};

enum
{
	CLASS_OTHER,
	CLASS_ZERO,
	CLASS_DIGIT, /* 1 to 9 */
	CLASS_POINT,
	CLASS_E,
	CLASS_PLUS,
	CLASS_MINUS,
	CLASS_COUNT
};

static const uint8_t number_class[256] = {
	['0'] = CLASS_ZERO,  ['1'] = CLASS_DIGIT, ['2'] = CLASS_DIGIT, ['3'] = CLASS_DIGIT, ['4'] = CLASS_DIGIT,
	['5'] = CLASS_DIGIT, ['6'] = CLASS_DIGIT, ['7'] = CLASS_DIGIT, ['8'] = CLASS_DIGIT, ['9'] = CLASS_DIGIT,
	['.'] = CLASS_POINT, ['e'] = CLASS_E,     ['E'] = CLASS_E,     ['+'] = CLASS_PLUS,  ['-'] = CLASS_MINUS,
};

/* clang-format off */
static const uint8_t number_next[][CLASS_COUNT] = {
	/*                    other        0                1-9              .             e         +            - */
	[NUMBER_MINUS]    = {NUMBER_BAD,  NUMBER_ZERO,     NUMBER_INTEGER,  NUMBER_BAD,   NUMBER_BAD, NUMBER_BAD,  NUMBER_BAD},
	[NUMBER_ZERO]     = {NUMBER_DONE, NUMBER_BAD,      NUMBER_BAD,      NUMBER_POINT, NUMBER_E,   NUMBER_BAD,  NUMBER_BAD},
	[NUMBER_INTEGER]  = {NUMBER_DONE, NUMBER_INTEGER,  NUMBER_INTEGER,  NUMBER_POINT, NUMBER_E,   NUMBER_BAD,  NUMBER_BAD},
	[NUMBER_POINT]    = {NUMBER_BAD,  NUMBER_FRACTION, NUMBER_FRACTION, NUMBER_BAD,   NUMBER_BAD, NUMBER_BAD,  NUMBER_BAD},
	[NUMBER_FRACTION] = {NUMBER_DONE, NUMBER_FRACTION, NUMBER_FRACTION, NUMBER_BAD,   NUMBER_E,   NUMBER_BAD,  NUMBER_BAD},
	[NUMBER_E]        = {NUMBER_BAD,  NUMBER_EXPONENT, NUMBER_EXPONENT, NUMBER_BAD,   NUMBER_BAD, NUMBER_SIGN, NUMBER_SIGN},
	[NUMBER_SIGN]     = {NUMBER_BAD,  NUMBER_EXPONENT, NUMBER_EXPONENT, NUMBER_BAD,   NUMBER_BAD, NUMBER_BAD,  NUMBER_BAD},
	[NUMBER_EXPONENT] = {NUMBER_DONE, NUMBER_EXPONENT, NUMBER_EXPONENT, NUMBER_BAD,   NUMBER_BAD, NUMBER_BAD,  NUMBER_BAD},
};
/* clang-format on */

#define EVERY_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Stops reading at byte.  problem is a noun phrase for the error's detail. */
static const char *
broken(ClariFraming *framing, const char *byte, const char *problem)
{
	framing->problem = problem;
	return byte;
}

/* ------- gathering ------- */

/*
 * Sets where reading pauses: at the end of the piece, or at the limit of what
 * is gathered, so that errors do not depend on how the bytes were divided.
 */
static void
set_stop(ClariFraming *framing)
{
	uint64_t end = framing->base + (uint64_t) (framing->end - framing->chunk);

	framing->stop = framing->end;
	if (framing->gathering && framing->limit < end)
		framing->stop = framing->chunk + (framing->limit - framing->base);
}

static void
begin_gathering(ClariFraming *framing, const char *from, size_t limit)
{
	framing->gathering = true;
	framing->run = from;
	framing->buffer.used = 0;
	framing->begun = framing->base + (uint64_t) (from - framing->chunk);
	framing->limit = framing->begun + limit;
	framing->members = 0;
	framing->inner = 0;
	set_stop(framing);
}

/* Sets text to what was gathered, up to framing->next.  Returns false if out of memory. */
static bool
end_gathering(ClariFraming *framing)
{
	size_t length = (size_t) (framing->next - framing->run);

	framing->gathering = false;
	set_stop(framing);
	framing->text = framing->run;
	framing->length = length;
	if (framing->buffer.used == 0)
		return true;
	if (!clari_buffer_append(&framing->buffer, framing->run, length))
		return false;
	framing->text = framing->buffer.bytes;
	framing->length = framing->buffer.used;
	return true;
}

/* ------- inside tokens ------- */

/*
 * Returns the first byte that is not a plain character of a string: a quote, a
 * backslash, a control character, or a byte that is not ASCII.
 */
static inline const char *
skip_plain(const char *byte, const char *stop)
{
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	/*
	 * The top bit of each special byte is set in found.  A borrow may set that
	 * of other bytes too, but only above a special one, and only the lowest is
	 * used.
	 */
	while (stop - byte >= 8)
	{
		uint64_t word;
		uint64_t quote;
		uint64_t backslash;
		uint64_t found;

		memcpy(&word, byte, sizeof(word));
		quote = word ^ EVERY_BYTE('"');
		backslash = word ^ EVERY_BYTE('\\');
		found = ((quote - EVERY_BYTE(1)) & ~quote) | ((backslash - EVERY_BYTE(1)) & ~backslash) |
				((word - EVERY_BYTE(0x20)) & ~word) | word;
		found &= EVERY_BYTE(0x80);
		if (found != 0)
			return byte + (__builtin_ctzll(found) >> 3);
		byte += 8;
	}
#endif
	while (byte < stop && (unsigned char) *byte >= 0x20 && (unsigned char) *byte < 0x80 && *byte != '"' &&
		   *byte != '\\')
		byte++;
	return byte;
}

/* The first byte of a character tells how many follow, and the bounds of the second (Unicode, table 3-7). */
static const char *
begin_utf8(ClariFraming *framing, const char *byte)
{
	unsigned char lead = (unsigned char) *byte;

	if (lead < 0xC2 || lead > 0xF4)
		return broken(framing, byte, "A byte that is not valid UTF-8");
	framing->utf8_left = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
	framing->utf8_low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
	framing->utf8_high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
	framing->state = IN_UTF8;
	return byte + 1;
}

static const char *
scan_utf8(ClariFraming *framing, const char *byte)
{
	for (; byte < framing->stop; byte++)
	{
		if (framing->utf8_left == 0)
		{
			framing->state = IN_STRING;
			break;
		}
		if ((unsigned char) *byte < framing->utf8_low || (unsigned char) *byte > framing->utf8_high)
			return broken(framing, byte, "A byte that is not valid UTF-8");
		framing->utf8_left--;
		framing->utf8_low = 0x80;
		framing->utf8_high = 0xBF;
	}
	return byte;
}

static const char *
scan_string(ClariFraming *framing, const char *byte, ClariFrame *frame)
{
	byte = skip_plain(byte, framing->stop);
	if (byte == framing->stop)
		return byte;
	if (*byte == '"')
	{
		framing->state = framing->in_key ? AT_COLON : AFTER_VALUE;
		if (framing->in_key && framing->depth == 1)
			*frame = CLARI_FRAME_KEY;
		else if (framing->is_list && framing->depth == 2)
			*frame = CLARI_FRAME_ELEMENT;
		return byte + 1;
	}
	if (*byte == '\\')
	{
		framing->state = IN_ESCAPE;
		return byte + 1;
	}
	if ((unsigned char) *byte < 0x20)
		return broken(framing, byte, "A control character inside a string");
	return begin_utf8(framing, byte);
}

static int
hex_digit(char byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	if (byte >= 'a' && byte <= 'f')
		return byte - 'a' + 10;
	if (byte >= 'A' && byte <= 'F')
		return byte - 'A' + 10;
	return -1;
}

/* Reads one digit of \uXXXX.  After the fourth, checks that text can contain the character. */
static const char *
scan_hex(ClariFraming *framing, const char *byte)
{
	int digit = hex_digit(*byte);
	bool is_low;

	if (digit < 0)
		return broken(framing, byte, "An escape that JSON does not know");
	framing->hex_value = (uint16_t) (framing->hex_value << 4 | digit);
	if (++framing->hex_digits < 4)
		return byte + 1;
	is_low = (framing->hex_value & 0xFC00) == 0xDC00;
	if (framing->hex_value == 0)
		return broken(framing, byte, "An escaped NUL character");
	if (is_low != framing->want_low)
		return broken(framing, byte, "Half of a surrogate pair");
	framing->want_low = (framing->hex_value & 0xFC00) == 0xD800;
	framing->state = framing->want_low ? AT_LOW_BACKSLASH : IN_STRING;
	return byte + 1;
}

/* Reads the byte after a backslash, or the escape that must follow a high surrogate. */
static const char *
scan_escape(ClariFraming *framing, const char *byte)
{
	if (framing->state == AT_LOW_BACKSLASH)
	{
		if (*byte != '\\')
			return broken(framing, byte, "Half of a surrogate pair");
		framing->state = AT_LOW_U;
	}
	else if (*byte == 'u')
	{
		framing->hex_digits = 0;
		framing->hex_value = 0;
		framing->state = IN_HEX;
	}
	else if (framing->state == AT_LOW_U)
		return broken(framing, byte, "Half of a surrogate pair");
	else if (*byte != '\0' && strchr("\"\\/bfnrt", *byte) != NULL)
		framing->state = IN_STRING;
	else
		return broken(framing, byte, "An escape that JSON does not know");
	return byte + 1;
}

static const char *
scan_literal(ClariFraming *framing, const char *byte)
{
	for (; byte < framing->stop && *framing->literal != '\0'; byte++)
		if (*byte != *framing->literal++)
			return broken(framing, byte, "A word that is not true, false or null");
	if (*framing->literal == '\0')
		framing->state = AFTER_VALUE;
	return byte;
}

/* Reads up to the byte after the number, since only that shows where it ends. */
static const char *
scan_number(ClariFraming *framing, const char *byte, ClariFrame *frame)
{
	for (; byte < framing->stop; byte++)
	{
		uint8_t next = number_next[framing->number][number_class[(unsigned char) *byte]];

		if (next == NUMBER_BAD)
			return broken(framing, byte, "A number that JSON does not allow");
		if (next == NUMBER_DONE)
			break;
		framing->integer_digits += next == NUMBER_INTEGER;
		framing->number = next;
	}
	if (byte == framing->stop)
		return byte;
	framing->state = AFTER_VALUE;
	if (framing->gathering && framing->number == NUMBER_INTEGER && framing->integer_digits > CLARI_SAFE_DIGITS)
	{
		if (!clari_buffer_append(&framing->buffer, framing->run, (size_t) (byte - framing->run)) ||
			!clari_buffer_append(&framing->buffer, "e0", 2))
			*frame = CLARI_FRAME_NO_MEMORY;
		framing->run = byte;
	}
	return byte;
}

/* ------- between tokens ------- */

static const char *
open_level(ClariFraming *framing, const char *byte)
{
	int most = framing->is_list ? CLARI_ELEMENT_DEPTH + 2 : CLARI_MEMBER_DEPTH + 1;

	if (framing->depth == most)
		return broken(framing, byte, "Objects or arrays nested too deeply");
	if (framing->is_list && framing->depth == 1)
		framing->elements = 0;
	else if (framing->is_list && framing->depth == 2)
		begin_gathering(framing, byte, CLARI_MAX_ELEMENT_SIZE);
	else
		framing->inner++;
	framing->closing[framing->depth++] = *byte == '{' ? '}' : ']';
	framing->state = *byte == '{' ? AT_KEY_OR_END : AT_VALUE_OR_END;
	return byte + 1;
}

static const char *
close_level(ClariFraming *framing, const char *byte, ClariFrame *frame)
{
	if (*byte != framing->closing[framing->depth - 1])
		return broken(framing, byte, "A missing comma or closing bracket");
	framing->depth--;
	framing->state = framing->depth == (framing->is_array ? 1 : 0) ? AT_END : AFTER_VALUE;
	if (!framing->gathering || framing->depth > 2)
		return byte + 1;
	*frame = CLARI_FRAME_ELEMENT;
	framing->depth -= framing->is_item;
	return byte + 1;
}

static const char *
begin_literal(ClariFraming *framing, const char *byte, const char *rest)
{
	framing->literal = rest;
	framing->state = IN_LITERAL;
	return byte + 1;
}

/* An object in place of a list is read as if it were the only element of an array. */
static const char *
begin_item(ClariFraming *framing, const char *byte)
{
	if (*byte != '{')
		return broken(framing, byte, "A value that is not an object");
	framing->elements = 0;
	framing->closing[framing->depth++] = '\0';
	return open_level(framing, byte);
}

static const char *
begin_value(ClariFraming *framing, const char *byte)
{
	if (framing->is_item && framing->depth == 1)
		return begin_item(framing, byte);
	if (framing->is_list && framing->depth == 1 && *byte != '[' && (*byte != 'n' || framing->is_needed))
		return broken(framing, byte, "A list that is not an array");
	if (framing->is_list && framing->depth == 2 && *byte != '{' && !(framing->is_array && *byte == '"'))
		return broken(framing, byte, "An item that is not an object");
	switch (*byte)
	{
		case '"':
			if (framing->is_list && framing->depth == 2)
				begin_gathering(framing, byte, CLARI_MAX_ELEMENT_SIZE);
			framing->in_key = false;
			framing->state = IN_STRING;
			return byte + 1;
		case '{':
		case '[':
			return open_level(framing, byte);
		case 't':
			return begin_literal(framing, byte, "rue");
		case 'f':
			return begin_literal(framing, byte, "alse");
		case 'n':
			return begin_literal(framing, byte, "ull");
		case '-':
			framing->number = NUMBER_MINUS;
			framing->integer_digits = 0;
			break;
		default:
			if (*byte < '0' || *byte > '9')
				return broken(framing, byte, "A missing value, or one that JSON does not know");
			framing->number = *byte == '0' ? NUMBER_ZERO : NUMBER_INTEGER;
			framing->integer_digits = 1;
	}
	framing->state = IN_NUMBER;
	return byte + 1;
}

static const char *
begin_key(ClariFraming *framing, const char *byte)
{
	if (*byte != '"')
		return broken(framing, byte, "A missing key, or one without double quotes");
	framing->in_key = true;
	framing->state = IN_STRING;
	if (framing->depth == 1)
	{
		framing->is_list = framing->is_item = false;
		begin_gathering(framing, byte, CLARI_KEY_LIMIT);
	}
	return byte + 1;
}

/* A document that is an array is read as if it were the value of an object's only member; that object has no end. */
static const char *
begin_array(ClariFraming *framing, const char *byte)
{
	framing->is_array = framing->is_list = framing->is_needed = true;
	framing->closing[framing->depth++] = '\0';
	return open_level(framing, byte);
}

/* Skips a byte order mark; then the document must begin. */
static const char *
begin_document(ClariFraming *framing, const char *byte)
{
	if (framing->bom < 3 && *byte == "\xEF\xBB\xBF"[framing->bom] &&
		framing->base + (uint64_t) (byte - framing->chunk) == framing->bom)
	{
		framing->bom++;
		return byte + 1;
	}
	if (framing->may_be_array && *byte == '[' && framing->bom % 3 == 0)
		return begin_array(framing, byte);
	if (*byte != '{' || framing->bom % 3 != 0)
		return broken(framing, byte, "A document that is not an object");
	return open_level(framing, byte);
}

static inline bool
is_json_space(char byte)
{
	return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t';
}

static const char *
scan_structure(ClariFraming *framing, const char *byte, ClariFrame *frame)
{
	while (is_json_space(*byte))
		if (++byte == framing->stop)
			return byte;
	switch (framing->state)
	{
		case AT_KEY_OR_END:
			return *byte == '}' ? close_level(framing, byte, frame) : begin_key(framing, byte);
		case AT_KEY:
			return begin_key(framing, byte);
		case AT_COLON:
			if (*byte != ':')
				return broken(framing, byte, "A missing colon");
			framing->members++;
			framing->state = AT_VALUE;
			return byte + 1;
		case AT_VALUE_OR_END:
			return *byte == ']' ? close_level(framing, byte, frame) : begin_value(framing, byte);
		case AT_VALUE:
			return begin_value(framing, byte);
		case AFTER_VALUE:
			if (*byte != ',')
				return close_level(framing, byte, frame);
			framing->state = framing->closing[framing->depth - 1] == '}' ? AT_KEY : AT_VALUE;
			return byte + 1;
		case AT_START:
			return begin_document(framing, byte);
		default:
			return broken(framing, byte, "Something after the end of the document");
	}
}

/* ------- the interface ------- */

/* Reads until there is a key or element to hand out, or all bytes are used up. */
static ClariFrame
scan(ClariFraming *framing)
{
	const char *byte = framing->next;
	ClariFrame frame = CLARI_FRAME_MORE;

	while (byte < framing->stop && frame == CLARI_FRAME_MORE && framing->problem == NULL)
	{
		if (framing->state < IN_STRING)
			byte = scan_structure(framing, byte, &frame);
		else if (framing->state == IN_STRING)
			byte = scan_string(framing, byte, &frame);
		else if (framing->state == IN_NUMBER)
			byte = scan_number(framing, byte, &frame);
		else if (framing->state == IN_LITERAL)
			byte = scan_literal(framing, byte);
		else if (framing->state == IN_UTF8)
			byte = scan_utf8(framing, byte);
		else if (framing->state == IN_HEX)
			byte = scan_hex(framing, byte);
		else
			byte = scan_escape(framing, byte);
	}
	framing->next = byte;
	return framing->problem == NULL ? frame : CLARI_FRAME_BROKEN;
}

void
clari_framing_open(ClariFraming *framing)
{
	memset(framing, 0, sizeof(*framing));
	framing->state = AT_START;
}

void
clari_framing_feed(ClariFraming *framing, const char *bytes, size_t length)
{
	framing->base += (uint64_t) (framing->end - framing->chunk);
	framing->chunk = framing->next = framing->run = bytes;
	framing->end = bytes + length;
	set_stop(framing);
}

ClariFrame
clari_framing_next(ClariFraming *framing)
{
	ClariFrame frame = scan(framing);

	switch (frame)
	{
		case CLARI_FRAME_ELEMENT:
		case CLARI_FRAME_KEY:
			framing->elements += frame == CLARI_FRAME_ELEMENT;
			return end_gathering(framing) ? frame : CLARI_FRAME_NO_MEMORY;
		case CLARI_FRAME_MORE:
			if (framing->next < framing->end)
				return CLARI_FRAME_TOO_LARGE;
			if (framing->gathering &&
				!clari_buffer_append(&framing->buffer, framing->run, (size_t) (framing->end - framing->run)))
				return CLARI_FRAME_NO_MEMORY;
			return CLARI_FRAME_MORE;
		default:
			return frame;
	}
}

void
clari_framing_expect(ClariFraming *framing, bool is_list, bool is_needed)
{
	framing->is_list = is_list;
	framing->is_needed = is_needed;
}

void
clari_framing_expect_item(ClariFraming *framing)
{
	framing->is_list = framing->is_item = true;
}

bool
clari_framing_complete(const ClariFraming *framing)
{
	return framing->state == AT_END;
}

uint64_t
clari_framing_offset(const ClariFraming *framing)
{
	return framing->base + (uint64_t) (framing->next - framing->chunk);
}

void
clari_framing_close(ClariFraming *framing)
{
	clari_buffer_free(&framing->buffer);
}
