/*
 * line.c
 *		The lines of a CSV export, or of a list of JSON objects that are
 *		such lines: see internal.h.
 *
 * A line has the value of one data type of an entry.  The lines of an entry
 * usually follow each other, and are gathered.  If they do not, the entry is
 * passed on in pieces, which the rowset's writer joins.  Values are formatted
 * for people.  A value that might be read as different numbers is an error,
 * whose message shows it.
 *
 * Pure: malloc only.
 */
#include "json/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clari/calendar.h"

#define SHOWN 100 /* bytes shown of a text that cannot be read */
#define DAY_SIZE 10

struct ClariLines
{
	ClariItemSink sink;
	void *arg;
	uint64_t entries;

	/* the current line; the cells belong to the caller */
	ClariText cells[CLARI_COLUMN_COUNT];
	bool is_number; /* its value is a JSON number, not formatted */
	char *others;   /* its unknown columns; malloc'd, reused */
	size_t others_used;
	size_t others_size;

	/* a list that consists of cells only */
	int order[CLARI_KNOWN_COLUMNS]; /* the column of each cell of a line */
	int norder;                     /* how many of these have been read from the header */
	char *row;                      /* the line's cells, one after the other; malloc'd, reused */
	size_t row_used;
	size_t row_size;
	size_t ends[CLARI_KNOWN_COLUMNS]; /* where each cell ends in row */
	int ncells;

	/* the entry that is being gathered */
	bool has_entry;
	char *texts; /* its keys, then its numbers; malloc'd, reused */
	size_t texts_used;
	size_t texts_size;
	uint32_t key_lengths[CLARI_LINE_KEYS];
	char days[2][DAY_SIZE];
	ClariValue values[CLARI_LINE_COUNT];
	size_t numbers[CLARI_LINE_COUNT]; /* offsets in texts, which may be reallocated */
};

/* ------- names ------- */

typedef struct Name
{
	const char *name;
	int position;
} Name;

static const Name columns[] = {
	{"User", CLARI_LINE_USER},
	{"Email", CLARI_LINE_EMAIL},
	{"CRM User ID", CLARI_LINE_CRM_USER_ID},
	{"Role", CLARI_LINE_ROLE},
	{"Parent Role", CLARI_LINE_PARENT_ROLE},
	{"Timeframe", CLARI_LINE_TIMEFRAME},
	{"Field", CLARI_LINE_FIELD},
	{"Week", CLARI_LINE_WEEK},
	{"Start Day", CLARI_LINE_START_DAY},
	{"End Day", CLARI_LINE_END_DAY},
	{"Data Type", CLARI_COLUMN_DATA_TYPE},
	{"Data Value", CLARI_COLUMN_DATA_VALUE},
};

/* The first two are Clari's names; the others are derived from the names of the types in the same way. */
static const Name data_types[] = {
	{"Forecast Value", CLARI_LINE_FORECAST_VALUE},
	{"Forecast Updated", CLARI_LINE_IS_UPDATED},
	{"Quota Value", CLARI_LINE_QUOTA_VALUE},
	{"Adjustment Value", CLARI_LINE_ADJUSTMENT_VALUE},
	{"CRM Total", CLARI_LINE_CRM_TOTAL},
	{"CRM Closed", CLARI_LINE_CRM_CLOSED},
	{"Forecast", CLARI_LINE_FORECAST_VALUE},
	{"Is Updated", CLARI_LINE_IS_UPDATED},
	{"Updated", CLARI_LINE_IS_UPDATED},
	{"Quota", CLARI_LINE_QUOTA_VALUE},
	{"Adjustment", CLARI_LINE_ADJUSTMENT_VALUE},
	{"CRM Total Value", CLARI_LINE_CRM_TOTAL},
	{"CRM Closed Value", CLARI_LINE_CRM_CLOSED},
	{"Aggregation Total", CLARI_LINE_CRM_TOTAL},
	{"Aggregation Closed", CLARI_LINE_CRM_CLOSED},
};

static const char *
skip_blanks(const char *at, const char *end)
{
	while (at < end && (*at == ' ' || *at == '_'))
		at++;
	return at;
}

static char
lower(char byte)
{
	return byte >= 'A' && byte <= 'Z' ? (char) (byte - 'A' + 'a') : byte;
}

/* Are the names equal, regardless of case, spaces and underscores? */
static bool
same_name(const char *name, const ClariText *text)
{
	const char *at = text->data;
	const char *end = at + text->length;

	for (; *name != '\0'; name++)
	{
		if (*name == ' ')
			continue;
		at = skip_blanks(at, end);
		if (at == end || lower(*at++) != lower(*name))
			return false;
	}
	return skip_blanks(at, end) == end;
}

/* Returns the position of the name, or -1. */
static int
find_name(const Name *names, size_t count, const ClariText *text)
{
	for (size_t i = 0; i < count; i++)
		if (same_name(names[i].name, text))
			return names[i].position;
	return -1;
}

int
clari_lines_find_column(const ClariText *name)
{
	int position = find_name(columns, sizeof(columns) / sizeof(columns[0]), name);

	return position < 0 ? CLARI_LINE_OTHERS : position;
}

const char *
clari_lines_column_name(int column)
{
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		if (columns[i].position == column)
			return columns[i].name;
	return "";
}

/* ------- values ------- */

/*
 * Returns the length in bytes of the currency sign at "at" ($, ¢, £, ¤, ¥, or
 * one of Unicode's block of them), or 0 if there is none.
 */
static size_t
sign_length(const unsigned char *at, const unsigned char *end)
{
	if (at < end && *at == '$')
		return 1;
	if (end - at >= 2 && at[0] == 0xC2 && at[1] >= 0xA2 && at[1] <= 0xA5)
		return 2;
	if (end - at >= 3 && at[0] == 0xE2 && ((at[1] == 0x82 && at[2] >= 0xA0) || (at[1] == 0x83 && at[2] <= 0x8F)))
		return 3;
	return 0;
}

static bool
is_digit(const char *at, const char *end)
{
	return at < end && *at >= '0' && *at <= '9';
}

static const char *
copy_digits(const char *at, const char *end, char **to)
{
	while (is_digit(at, end))
		*(*to)++ = *at++;
	return at;
}

/*
 * Copies a number of digits, which may have commas between groups of exactly
 * three, and a point with digits after it.  Refuses a point before exactly
 * three digits if it could be a separator of thousands ("1.234").
 */
static bool
copy_number(const char *at, const char *end, char **to)
{
	const char *stop = copy_digits(at, end, to);
	size_t digits = (size_t) (stop - at);
	bool grouped = stop < end && *stop == ',';
	bool unsure = !grouped && digits <= 3 && *at != '0';
	const char *fraction;

	if (digits == 0 || (grouped && digits > 3))
		return false;
	while (stop < end && *stop == ',')
	{
		const char *group = stop + 1;

		stop = copy_digits(group, end, to);
		if (stop - group != 3)
			return false;
	}
	if (stop == end)
		return true;
	if (*stop != '.')
		return false;
	*(*to)++ = '.';
	fraction = stop + 1;
	stop = copy_digits(fraction, end, to);
	return stop == end && stop > fraction && !(unsure && stop - fraction == 3);
}

/*
 * Reads an amount formatted for people.  Writes the number's text to number,
 * which must have room for length bytes, and returns its length, or 0 if the
 * text is not an amount.
 */
static size_t
read_amount(const char *text, size_t length, char *number)
{
	const char *at = text;
	const char *end = text + length;
	bool in_parentheses = length >= 2 && *at == '(' && end[-1] == ')';
	bool negative;
	size_t sign;
	char *to = number;

	if (in_parentheses)
	{
		at++;
		end--;
	}
	negative = !in_parentheses && at < end && *at == '-';
	at += negative;
	sign = sign_length((const unsigned char *) at, (const unsigned char *) end);
	at += sign;
	/* "$-5" means the same as "-$5" */
	if (sign > 0 && !in_parentheses && !negative && at < end && *at == '-')
	{
		negative = true;
		at++;
	}
	if (negative || in_parentheses)
		*to++ = '-';
	return at < end && copy_number(at, end, &to) ? (size_t) (to - number) : 0;
}

/* Reads a day written MM/DD/YYYY or YYYY-MM-DD, and writes it as YYYY-MM-DD.  Returns false if it is not a day. */
static bool
read_day(const char *text, size_t length, char day[DAY_SIZE])
{
	int64_t days;

	if (length != DAY_SIZE)
		return false;
	if (text[2] == '/' && text[5] == '/')
	{
		memcpy(day, text + 6, 4);
		day[4] = day[7] = '-';
		memcpy(day + 5, text, 2);
		memcpy(day + 8, text + 3, 2);
	}
	else
		memcpy(day, text, DAY_SIZE);
	return clari_date_read(day, DAY_SIZE, &days);
}

static bool
same_word(const ClariText *text, const char *word)
{
	if (text->length != strlen(word))
		return false;
	for (uint32_t i = 0; i < text->length; i++)
		if (lower(text->data[i]) != word[i])
			return false;
	return true;
}

static bool
is_yes(const ClariText *text)
{
	return same_word(text, "yes") || same_word(text, "true");
}

static bool
is_no(const ClariText *text)
{
	return same_word(text, "no") || same_word(text, "false");
}

/* ------- errors ------- */

/* Returns how many of the text's bytes to show in a message, without cutting a character. */
static int
shown(const ClariText *text)
{
	uint32_t length = text->length;

	if (length <= SHOWN)
		return (int) length;
	length = SHOWN;
	while (length > 0 && ((unsigned char) text->data[length] & 0xC0) == 0x80)
		length--;
	return (int) length;
}

static bool
refuse(ClariError *error, const char *message, int column, const ClariText *text)
{
	clari_error_set(error, CLARI_ERROR_DATA, "%s", message);
	if (text->length == 0)
		clari_error_detail(error, "A line lacks its \"%s\".", clari_lines_column_name(column));
	else
		clari_error_detail(error, "The \"%s\" of a line is \"%.*s\"%s.", clari_lines_column_name(column), shown(text),
						   text->data, text->length > SHOWN ? " and so on" : "");
	return false;
}

static bool
refuse_value(const ClariLines *lines, ClariError *error, const char *expected)
{
	const ClariText *type = &lines->cells[CLARI_COLUMN_DATA_TYPE];
	const ClariText *value = &lines->cells[CLARI_COLUMN_DATA_VALUE];

	clari_error_set(error, CLARI_ERROR_DATA, "the export file holds a value that cannot be read exactly");
	clari_error_detail(error, "The \"%.*s\" of a line is \"%.*s\"%s, which is not %s.", shown(type), type->data,
					   shown(value), value->data, value->length > SHOWN ? " and so on" : "", expected);
	return false;
}

/* ------- an entry ------- */

ClariLines *
clari_lines_open(ClariItemSink sink, void *arg)
{
	ClariLines *lines = calloc(1, sizeof(*lines));

	if (lines != NULL)
	{
		lines->sink = sink;
		lines->arg = arg;
	}
	return lines;
}

void
clari_lines_close(ClariLines *lines)
{
	if (lines == NULL)
		return;
	free(lines->others);
	free(lines->row);
	free(lines->texts);
	free(lines);
}

uint64_t
clari_lines_entries(const ClariLines *lines)
{
	return lines->entries;
}

static bool
reserve(char **buffer, size_t *size, size_t needed)
{
	char *larger;

	if (needed <= *size)
		return true;
	larger = realloc(*buffer, 2 * needed);
	if (larger == NULL)
		return false;
	*buffer = larger;
	*size = 2 * needed;
	return true;
}

/* Passes the gathered entry to the sink. */
static bool
give_entry(ClariLines *lines, ClariError *error)
{
	const char *text = lines->texts;

	if (!lines->has_entry)
		return true;
	lines->has_entry = false;
	for (int i = 0; i < CLARI_LINE_KEYS; i++)
	{
		ClariValue *value = &lines->values[i];

		value->kind = lines->key_lengths[i] > 0 ? CLARI_VALUE_STRING : CLARI_VALUE_NULL;
		value->data = text;
		value->length = lines->key_lengths[i];
		text += lines->key_lengths[i];
	}
	for (int i = CLARI_LINE_START_DAY; i <= CLARI_LINE_END_DAY; i++)
		if (lines->key_lengths[i] > 0)
		{
			lines->values[i].data = lines->days[i - CLARI_LINE_START_DAY];
			lines->values[i].length = DAY_SIZE;
		}
	for (int i = CLARI_LINE_KEYS; i < CLARI_LINE_COUNT; i++)
		if (lines->values[i].kind == CLARI_VALUE_NUMBER)
			lines->values[i].data = lines->texts + lines->numbers[i];
	lines->entries++;
	return lines->sink(lines->arg, CLARI_LINES, lines->values, error);
}

/* Does the current line belong to the entry that is being gathered? */
static bool
same_entry(const ClariLines *lines)
{
	const char *text = lines->texts;

	if (!lines->has_entry)
		return false;
	for (int i = 0; i < CLARI_LINE_KEYS; i++)
	{
		const ClariText *cell = &lines->cells[i];

		if (cell->length != lines->key_lengths[i] || (cell->length > 0 && memcmp(cell->data, text, cell->length) != 0))
			return false;
		text += cell->length;
	}
	return true;
}

/* Begins an entry with the current line. */
static bool
begin_entry(ClariLines *lines, ClariError *error)
{
	size_t needed = 0;

	if (lines->cells[CLARI_LINE_FIELD].length == 0)
		return refuse(error, "a line of the export file has no field", CLARI_LINE_FIELD,
					  &lines->cells[CLARI_LINE_FIELD]);
	for (int i = CLARI_LINE_START_DAY; i <= CLARI_LINE_END_DAY; i++)
		if (lines->cells[i].length > 0 &&
			!read_day(lines->cells[i].data, lines->cells[i].length, lines->days[i - CLARI_LINE_START_DAY]))
			return refuse(error, "the export file holds a day that is not written MM/DD/YYYY", i, &lines->cells[i]);
	for (int i = 0; i < CLARI_LINE_KEYS; i++)
		needed += lines->cells[i].length;
	if (!reserve(&lines->texts, &lines->texts_size, needed))
		return clari_error_out_of_memory(error);
	lines->texts_used = 0;
	for (int i = 0; i < CLARI_LINE_KEYS; i++)
	{
		if (lines->cells[i].length > 0)
			memcpy(lines->texts + lines->texts_used, lines->cells[i].data, lines->cells[i].length);
		lines->texts_used += lines->cells[i].length;
		lines->key_lengths[i] = lines->cells[i].length;
	}
	for (int i = CLARI_LINE_KEYS; i < CLARI_LINE_COUNT; i++)
		lines->values[i].kind = CLARI_VALUE_NULL;
	lines->has_entry = true;
	return true;
}

/* ------- a line ------- */

void
clari_lines_begin(ClariLines *lines)
{
	for (int i = 0; i < CLARI_COLUMN_COUNT; i++)
		lines->cells[i] = (ClariText){"", 0};
	lines->others_used = 0;
	lines->is_number = false;
}

void
clari_lines_is_number(ClariLines *lines)
{
	lines->is_number = true;
}

/* Unknown columns distinguish entries too, so each is kept with its name. */
static bool
put_other(ClariLines *lines, const ClariText *text)
{
	char head[16];
	int length = snprintf(head, sizeof(head), "%u:", (unsigned) text->length);

	if (!reserve(&lines->others, &lines->others_size, lines->others_used + (size_t) length + text->length))
		return false;
	memcpy(lines->others + lines->others_used, head, (size_t) length);
	if (text->length > 0)
		memcpy(lines->others + lines->others_used + length, text->data, text->length);
	lines->others_used += (size_t) length + text->length;
	lines->cells[CLARI_LINE_OTHERS] = (ClariText){lines->others, (uint32_t) lines->others_used};
	return true;
}

bool
clari_lines_put(ClariLines *lines, int column, const ClariText *name, const ClariText *cell)
{
	if (column == CLARI_LINE_OTHERS)
		return put_other(lines, name) && put_other(lines, cell);
	lines->cells[column] = *cell;
	return true;
}

static bool
set_number(ClariLines *lines, int position, ClariError *error)
{
	const ClariText *cell = &lines->cells[CLARI_COLUMN_DATA_VALUE];
	ClariValue *value = &lines->values[position];
	char *number;
	size_t length;

	/* A number is not longer than its text: what "(5)" gains by its minus, it loses by its parentheses. */
	if (!reserve(&lines->texts, &lines->texts_size, lines->texts_used + cell->length))
		return clari_error_out_of_memory(error);
	number = lines->texts + lines->texts_used;
	length = cell->length;
	if (lines->is_number)
		memcpy(number, cell->data, length);
	else
		length = read_amount(cell->data, cell->length, number);
	if (length == 0)
		return refuse_value(lines, error, "an amount such as $3,000,190.00");
	if (value->kind == CLARI_VALUE_NULL)
	{
		value->kind = CLARI_VALUE_NUMBER;
		value->length = (uint32_t) length;
		lines->numbers[position] = lines->texts_used;
		lines->texts_used += length;
		return true;
	}
	return (value->length == length && memcmp(lines->texts + lines->numbers[position], number, length) == 0) ||
		   refuse_value(lines, error, "what an earlier line of the same entry says");
}

static bool
set_boolean(ClariLines *lines, int position, ClariError *error)
{
	const ClariText *cell = &lines->cells[CLARI_COLUMN_DATA_VALUE];
	ClariValue *value = &lines->values[position];
	bool boolean = is_yes(cell);

	if (!boolean && !is_no(cell))
		return refuse_value(lines, error, "Yes or No");
	if (value->kind != CLARI_VALUE_NULL && value->boolean != boolean)
		return refuse_value(lines, error, "what an earlier line of the same entry says");
	value->kind = CLARI_VALUE_BOOL;
	value->boolean = boolean;
	return true;
}

bool
clari_lines_take(ClariLines *lines, ClariError *error)
{
	const ClariText *type = &lines->cells[CLARI_COLUMN_DATA_TYPE];
	int position = find_name(data_types, sizeof(data_types) / sizeof(data_types[0]), type);

	if (position < 0)
		return refuse(error, "the export file holds a data type that is not known", CLARI_COLUMN_DATA_TYPE, type);
	if (!same_entry(lines) && (!give_entry(lines, error) || !begin_entry(lines, error)))
		return false;
	if (lines->cells[CLARI_COLUMN_DATA_VALUE].length == 0)
		return true;
	return position == CLARI_LINE_IS_UPDATED ? set_boolean(lines, position, error) : set_number(lines, position, error);
}

/* ------- a list of cells ------- */

static bool
take_column(ClariLines *lines, const ClariText *name, ClariError *error)
{
	int column = clari_lines_find_column(name);

	for (int i = 0; i < lines->norder; i++)
		if (lines->order[i] == column)
			column = CLARI_LINE_OTHERS;
	if (column != CLARI_LINE_OTHERS)
	{
		lines->order[lines->norder++] = column;
		return true;
	}
	clari_error_set(error, CLARI_ERROR_DATA,
					"the export file is a list of texts that does not begin with Clari's columns");
	clari_error_detail(error, "It has \"%.*s\" among the first %d.", shown(name), name->data, CLARI_KNOWN_COLUMNS);
	return false;
}

/* Takes the cells collected so far as a line. */
static bool
take_row(ClariLines *lines, ClariError *error)
{
	size_t begin = 0;

	clari_lines_begin(lines);
	for (int i = 0; i < lines->ncells; i++)
	{
		lines->cells[lines->order[i]] = (ClariText){lines->row + begin, (uint32_t) (lines->ends[i] - begin)};
		begin = lines->ends[i];
	}
	lines->ncells = 0;
	lines->row_used = 0;
	return clari_lines_take(lines, error);
}

/* Has the line all cells but that of its value, which is the last column? */
static bool
lacks_value(const ClariLines *lines)
{
	return lines->ncells == CLARI_KNOWN_COLUMNS - 1 && lines->order[lines->ncells] == CLARI_COLUMN_DATA_VALUE;
}

/* Can the cell be a value of the data type of the current line?  If not, returns false with CLARI_ERROR_NONE. */
static bool
is_value(ClariLines *lines, const ClariText *cell, ClariError *error)
{
	ClariText type = {lines->row, 0};
	int position;

	error->code = CLARI_ERROR_NONE;
	for (int i = 0; i < lines->ncells; i++)
		if (lines->order[i] == CLARI_COLUMN_DATA_TYPE)
		{
			size_t begin = i == 0 ? 0 : lines->ends[i - 1];

			type = (ClariText){lines->row + begin, (uint32_t) (lines->ends[i] - begin)};
		}
	position = find_name(data_types, sizeof(data_types) / sizeof(data_types[0]), &type);
	if (cell->length == 0)
		return true;
	if (position == CLARI_LINE_IS_UPDATED)
		return is_yes(cell) || is_no(cell);
	if (!reserve(&lines->texts, &lines->texts_size, lines->texts_used + cell->length))
		return clari_error_out_of_memory(error);
	return read_amount(cell->data, cell->length, lines->texts + lines->texts_used) > 0;
}

/*
 * The cell of the value may be missing if the line has no value; Clari's own
 * example contains such a line, followed by a complete one.  If the cell does
 * not begin the next line after all, its days or its data type will turn out
 * to be invalid, which is an error.
 */
bool
clari_lines_take_cell(ClariLines *lines, const ClariText *cell, ClariError *error)
{
	if (lines->norder < CLARI_KNOWN_COLUMNS)
		return take_column(lines, cell, error);
	if (lacks_value(lines) && !is_value(lines, cell, error) &&
		(error->code != CLARI_ERROR_NONE || !take_row(lines, error)))
		return false;
	if (!reserve(&lines->row, &lines->row_size, lines->row_used + cell->length + 1))
		return clari_error_out_of_memory(error);
	if (cell->length > 0)
		memcpy(lines->row + lines->row_used, cell->data, cell->length);
	lines->row_used += cell->length;
	lines->ends[lines->ncells++] = lines->row_used;
	return lines->ncells < CLARI_KNOWN_COLUMNS || take_row(lines, error);
}

bool
clari_lines_finish(ClariLines *lines, ClariError *error)
{
	if (lacks_value(lines) && !take_row(lines, error))
		return false;
	if (lines->ncells > 0 || (lines->norder > 0 && lines->norder < CLARI_KNOWN_COLUMNS))
	{
		int ncells = lines->ncells > 0 ? lines->ncells : lines->norder;

		clari_error_set(error, CLARI_ERROR_DATA, "the export file ends too early");
		clari_error_detail(error, "Its last line has %d %s instead of %d.", ncells, ncells == 1 ? "cell" : "cells",
						   CLARI_KNOWN_COLUMNS);
		return false;
	}
	return give_entry(lines, error);
}
