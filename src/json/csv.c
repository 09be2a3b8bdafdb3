/*
 * csv.c
 *		Splits the bytes of a CSV file into lines and cells: see internal.h.
 *
 * RFC 4180: cells are separated by commas.  A cell in quotes may contain line
 * ends, and quotes, which are doubled.  Lines end with LF or CRLF.  The whole
 * state is in ClariCsv, so the bytes may be pushed in pieces of any size.  A
 * line is copied only if it begins in an earlier piece, and a cell only if it
 * contains doubled quotes.
 *
 * Pure: malloc only.
 */
#include "json/internal.h"

#include <stdlib.h>
#include <string.h>

enum
{
	AT_FILE, /* a byte order mark may follow */
	AT_LINE,
	AT_CELL,
	IN_CELL,
	IN_QUOTES,
	AFTER_QUOTE, /* another quote would be one of the cell; otherwise the cell ends here */
	AFTER_CR
};

void
clari_csv_open(ClariCsv *csv)
{
	memset(csv, 0, sizeof(*csv));
	csv->state = AT_FILE;
	csv->line = csv->next_line = 1;
}

void
clari_csv_close(ClariCsv *csv)
{
	clari_buffer_free(&csv->buffer);
	free(csv->quoted);
	csv->quoted = NULL;
}

void
clari_csv_feed(ClariCsv *csv, const char *bytes, size_t length)
{
	csv->base += (uint64_t) (csv->end - csv->chunk);
	csv->chunk = csv->next = csv->run = bytes;
	csv->end = bytes + length;
}

/* The offset in the file of the first byte that was not read. */
static uint64_t
offset_of_next(const ClariCsv *csv)
{
	return csv->base + (uint64_t) (csv->next - csv->chunk);
}

/* Stops reading at byte.  problem is a noun phrase for the error's detail. */
static const char *
broken(ClariCsv *csv, const char *byte, const char *problem)
{
	csv->problem = problem;
	return byte;
}

/* ------- the line's bytes ------- */

/* The offset of byte in its line. */
static uint32_t
place_of(const ClariCsv *csv, const char *byte)
{
	return (uint32_t) (csv->base + (uint64_t) (byte - csv->chunk) - csv->begun);
}

static void
begin_line(ClariCsv *csv, const char *byte)
{
	csv->run = byte;
	csv->buffer.used = 0;
	csv->begun = csv->base + (uint64_t) (byte - csv->chunk);
	csv->line = csv->next_line;
	csv->ncells = 0;
}

static const char *
begin_cell(ClariCsv *csv, const char *byte)
{
	if (csv->ncells == CLARI_CSV_COLUMNS)
		return broken(csv, byte, "A line of more than 64 cells");
	csv->places[csv->ncells].is_doubled = false;
	csv->places[csv->ncells].begin = place_of(csv, byte) + (*byte == '"' ? 1 : 0);
	csv->state = *byte == '"' ? IN_QUOTES : IN_CELL;
	return byte + (*byte == '"' ? 1 : 0);
}

/* Ends the cell, whose bytes end before at, because of the comma or line end at byte. */
static const char *
end_cell(ClariCsv *csv, const char *byte, uint32_t at, ClariFrame *frame)
{
	csv->places[csv->ncells++].end = at;
	if (*byte == ',')
		csv->state = AT_CELL;
	else if (*byte == '\r')
		csv->state = AFTER_CR;
	else
	{
		csv->state = AT_LINE;
		csv->next_line++;
		*frame = CLARI_FRAME_ELEMENT;
	}
	return byte + 1;
}

/* ------- scanning: each takes the first unread byte and returns the next ------- */

static const char *
scan_cell(ClariCsv *csv, const char *byte, ClariFrame *frame)
{
	while (byte < csv->end && *byte != ',' && *byte != '\n' && *byte != '\r' && *byte != '"')
		byte++;
	if (byte == csv->end)
		return byte;
	if (*byte == '"')
		return broken(csv, byte, "A quote inside a cell that does not begin with one");
	return end_cell(csv, byte, place_of(csv, byte), frame);
}

static const char *
scan_quotes(ClariCsv *csv, const char *byte)
{
	const char *quote = memchr(byte, '"', (size_t) (csv->end - byte));
	const char *stop = quote == NULL ? csv->end : quote;

	for (; (byte = memchr(byte, '\n', (size_t) (stop - byte))) != NULL; byte++)
		csv->next_line++;
	if (quote == NULL)
		return stop;
	csv->state = AFTER_QUOTE;
	return quote + 1;
}

static const char *
scan_after_quote(ClariCsv *csv, const char *byte, ClariFrame *frame)
{
	if (*byte == '"')
	{
		csv->places[csv->ncells].is_doubled = true;
		csv->state = IN_QUOTES;
		return byte + 1;
	}
	if (*byte != ',' && *byte != '\n' && *byte != '\r')
		return broken(csv, byte, "Something behind a cell's closing quote");
	return end_cell(csv, byte, place_of(csv, byte) - 1, frame);
}

static const char *
scan_after_cr(ClariCsv *csv, const char *byte, ClariFrame *frame)
{
	if (*byte != '\n')
		return broken(csv, byte, "A carriage return without a line feed");
	csv->state = AT_LINE;
	csv->next_line++;
	*frame = CLARI_FRAME_ELEMENT;
	return byte + 1;
}

static const char *
scan_bom(ClariCsv *csv, const char *byte)
{
	if (csv->bom < 3 && *byte == "\xEF\xBB\xBF"[csv->bom])
	{
		csv->bom++;
		return byte + 1;
	}
	if (csv->bom % 3 != 0)
		return broken(csv, byte, "A byte that is not valid UTF-8");
	csv->state = AT_LINE;
	return byte;
}

/* Reads to the end of a line, or of the bytes that were fed. */
static ClariFrame
scan(ClariCsv *csv)
{
	const char *byte = csv->next;
	ClariFrame frame = CLARI_FRAME_MORE;

	while (byte < csv->end && frame == CLARI_FRAME_MORE && csv->problem == NULL)
	{
		switch (csv->state)
		{
			case AT_FILE:
				byte = scan_bom(csv, byte);
				break;
			case AT_LINE:
				begin_line(csv, byte);
				byte = begin_cell(csv, byte);
				break;
			case AT_CELL:
				byte = begin_cell(csv, byte);
				break;
			case IN_CELL:
				byte = scan_cell(csv, byte, &frame);
				break;
			case IN_QUOTES:
				byte = scan_quotes(csv, byte);
				break;
			case AFTER_QUOTE:
				byte = scan_after_quote(csv, byte, &frame);
				break;
			default:
				byte = scan_after_cr(csv, byte, &frame);
				break;
		}
	}
	csv->next = byte;
	return csv->problem == NULL ? frame : CLARI_FRAME_BROKEN;
}

/* ------- complete lines ------- */

#define EVERY_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Returns the length of the UTF-8 character at "at" (Unicode, table 3-7), or 0 if it is not valid. */
static size_t
character_length(const unsigned char *at, size_t left)
{
	size_t length = *at < 0xC2 ? 0 : *at < 0xE0 ? 2 : *at < 0xF0 ? 3 : *at < 0xF5 ? 4 : 0;

	if (*at < 0x80)
		return *at != '\0';
	if (length == 0 || length > left)
		return 0;
	if ((*at == 0xE0 && at[1] < 0xA0) || (*at == 0xED && at[1] > 0x9F) || (*at == 0xF0 && at[1] < 0x90) ||
		(*at == 0xF4 && at[1] > 0x8F))
		return 0;
	for (size_t i = 1; i < length; i++)
		if ((at[i] & 0xC0) != 0x80)
			return 0;
	return length;
}

/* Returns the first byte that is NUL or not part of valid UTF-8, or NULL if there is none. */
static const char *
find_invalid(const char *text, size_t length)
{
	for (size_t at = 0; at < length;)
	{
		size_t character;

		while (length - at >= sizeof(uint64_t))
		{
			uint64_t word;

			memcpy(&word, text + at, sizeof(word));
			/*
			 * true if no byte has its top bit set, and none is 0; of ASCII
			 * bytes, the subtraction borrows only from a 0
			 */
			if (((word | (word - EVERY_BYTE(1))) & EVERY_BYTE(0x80)) != 0)
				break;
			at += sizeof(word);
		}
		if (at == length)
			break;
		character = character_length((const unsigned char *) text + at, length - at);
		if (character == 0)
			return text + at;
		at += character;
	}
	return NULL;
}

/* Copies a cell's text to *to, with one quote for each two, and moves *to behind the copy. */
static ClariText
undouble(const char *from, const char *end, char **to)
{
	ClariText text = {*to, 0};

	for (; from < end; from++)
	{
		*(*to)++ = *from;
		from += *from == '"'; /* skip the second quote */
	}
	text.length = (uint32_t) (*to - text.data);
	return text;
}

/* Sets cells for the line whose text and length in bytes are given. */
static ClariFrame
set_cells(ClariCsv *csv, const char *text, size_t length)
{
	char *to;

	for (int i = 0; i < csv->ncells; i++)
		if (csv->places[i].is_doubled && csv->quoted_size < length)
		{
			free(csv->quoted);
			csv->quoted = malloc(length);
			csv->quoted_size = csv->quoted == NULL ? 0 : length;
			if (csv->quoted == NULL)
				return CLARI_FRAME_NO_MEMORY;
		}
	to = csv->quoted;
	for (int i = 0; i < csv->ncells; i++)
	{
		const ClariCsvCell *place = &csv->places[i];

		if (place->is_doubled)
			csv->cells[i] = undouble(text + place->begin, text + place->end, &to);
		else
			csv->cells[i] = (ClariText){text + place->begin, place->end - place->begin};
	}
	return CLARI_FRAME_ELEMENT;
}

static ClariFrame
finish_line(ClariCsv *csv)
{
	const char *text = csv->run;
	size_t length = (size_t) (csv->next - csv->run);
	const char *invalid;

	if (csv->buffer.used > 0)
	{
		if (!clari_buffer_append(&csv->buffer, csv->run, length))
			return CLARI_FRAME_NO_MEMORY;
		text = csv->buffer.bytes;
		length = csv->buffer.used;
	}
	csv->run = csv->next;
	csv->buffer.used = 0;
	csv->begun = offset_of_next(csv);
	invalid = find_invalid(text, length);
	if (invalid != NULL)
	{
		csv->problem = *invalid == '\0' ? "A NUL character" : "A byte that is not valid UTF-8";
		return CLARI_FRAME_BROKEN;
	}
	return set_cells(csv, text, length);
}

/* Is the line empty, as the last one of a file may be? */
static bool
is_empty(const ClariCsv *csv)
{
	return csv->ncells == 1 && csv->places[0].begin == 0 && csv->places[0].end == 0;
}

ClariFrame
clari_csv_next(ClariCsv *csv)
{
	ClariFrame frame;

	do
	{
		frame = scan(csv);
		/* Checked whether the line has ended or not, so that the error does not depend on the pieces. */
		if (csv->state != AT_FILE && offset_of_next(csv) - csv->begun > CLARI_MAX_ELEMENT_SIZE)
			return CLARI_FRAME_TOO_LARGE;
		if (frame == CLARI_FRAME_ELEMENT)
			frame = finish_line(csv);
	} while (frame == CLARI_FRAME_ELEMENT && is_empty(csv));
	/* The line continues in the next piece. */
	if (frame == CLARI_FRAME_MORE && csv->state != AT_LINE && csv->state != AT_FILE)
	{
		if (!clari_buffer_append(&csv->buffer, csv->run, (size_t) (csv->end - csv->run)))
			return CLARI_FRAME_NO_MEMORY;
		csv->run = csv->end;
	}
	return frame;
}

ClariFrame
clari_csv_end(ClariCsv *csv)
{
	if (csv->state == IN_QUOTES || csv->state == AFTER_CR)
	{
		csv->problem =
			csv->state == IN_QUOTES ? "A cell whose quotes do not end" : "A carriage return without a line feed";
		return CLARI_FRAME_BROKEN;
	}
	if (csv->state == AT_FILE || csv->state == AT_LINE)
		return CLARI_FRAME_MORE;
	/*
	 * Pretend that a line end follows.  If the last cell is empty, it has no
	 * bytes, so nothing points to that line end.
	 */
	clari_csv_feed(csv, "\n", 1);
	return clari_csv_next(csv);
}
