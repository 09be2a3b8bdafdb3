/*
 * line.c
 *		Converts the entries of a CSV file, which has no ids, to rows: see
 *		internal.h.
 *
 * The key of an entry consists of all columns but the data type and value.
 * The values of one entry may come in several pieces from anywhere in the
 * file.  The pieces are therefore sorted by user, then by week and field.
 * After that the pieces of an entry are neighbors and are joined, and the
 * entries of a user and week are a run, as in other files.
 *
 * Runs in the worker, in unit tests and fuzzers; takes no locks; never raises.
 */
#include "rowset/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* A forecast has few fields, so a linear search finds the field of each line. */
#define MAX_FIELDS 1000

#define REMEMBERED 16 /* more bytes than a day or the number of a week has */

/* The numbers of parts of the two sort keys.  The parts are separated by NULs, which no text contains. */
#define USER_PARTS (CLARI_LINE_PARENT_ROLE + 1)
#define FRAME_PARTS (CLARI_LINE_KEYS - USER_PARTS)
#define PART(position) ((position) -USER_PARTS) /* in the second key */

/* The attribute of an entry for each value of a line. */
static const int value_attributes[CLARI_LINE_VALUES] = {
	[CLARI_LINE_FORECAST_VALUE - CLARI_LINE_KEYS] = CLARI_ENTRY_FORECAST_VALUE,
	[CLARI_LINE_QUOTA_VALUE - CLARI_LINE_KEYS] = CLARI_ENTRY_QUOTA_VALUE,
	[CLARI_LINE_ADJUSTMENT_VALUE - CLARI_LINE_KEYS] = CLARI_ENTRY_ADJUSTMENT_VALUE,
	[CLARI_LINE_CRM_TOTAL - CLARI_LINE_KEYS] = CLARI_ENTRY_CRM_TOTAL,
	[CLARI_LINE_CRM_CLOSED - CLARI_LINE_KEYS] = CLARI_ENTRY_CRM_CLOSED,
	[CLARI_LINE_IS_UPDATED - CLARI_LINE_KEYS] = CLARI_ENTRY_IS_UPDATED,
};

typedef struct LineField
{
	char *name;
	uint32_t length;
	uint64_t carries_forecast; /* bits 1 << ClariPeriodType: types of the periods of entries that have such a value */
	uint64_t carries_quota;
} LineField;

/* A copy of an item from the sorter, whose bytes are valid only until the next one. */
typedef struct KeptItem
{
	char *packed;
	size_t capacity;
	ClariCell cells[CLARI_ENTRY_COUNT];
} KeptItem;

struct ClariLineWriter
{
	ClariSorter *sorter;
	char *keys; /* of the current line; malloc'd, reused */
	size_t keys_used;
	size_t keys_size;
	LineField *fields; /* in the order of the file; room for MAX_FIELDS */
	int nfields;
	int last_field;

	/* which quarter the file is of */
	char requested[CLARI_PERIOD_TEXT_SIZE];
	ClariCalendar calendar;
	ClariQuarter wanted; /* the days of the requested quarter, if one was requested and they are known */
	bool is_known;       /* wanted is known; or none was requested, and some quarters are known */
	bool has_wanted;     /* a line is of the wanted quarter */
	ClariQuarter other;  /* the quarter of the last line that was of another one */
	bool has_other;
	ClariPeriod another;           /* another one before, or CLARI_PERIOD_NONE */
	char last_days[3][REMEMBERED]; /* of the last line; most lines have the same as the line before */

	/* writing */
	KeptItem kept; /* the entry that is being joined */
	KeptItem spare;
	bool has_kept;
	KeptItem before; /* the last entry written, to see where a run begins */
	bool has_before;
	uint64_t owners[CLARI_PERIOD_TYPES];
	ClariGroup *entry_rows;
	ClariGroup *user_rows;
};

ClariLineWriter *
clari_line_writer_open(const ClariRowsetOutput *output, const char *requested, const ClariCalendar *calendar,
					   size_t memory)
{
	ClariLineWriter *writer = calloc(1, sizeof(*writer));
	ClariPeriod period;

	if (writer == NULL)
		return NULL;
	writer->another = CLARI_PERIOD_NONE;
	clari_text_copy(writer->requested, requested, sizeof(writer->requested));
	writer->calendar = *calendar;
	writer->is_known = requested[0] == '\0' ? calendar->count > 0
											: clari_period_parse(requested, &period) &&
												  clari_calendar_quarter(calendar, period, &writer->wanted);
	writer->fields = calloc(MAX_FIELDS, sizeof(*writer->fields));
	writer->sorter = clari_sorter_open(output, CLARI_ENTRIES, 2, memory);
	if (writer->fields != NULL && writer->sorter != NULL)
		return writer;
	clari_line_writer_close(writer);
	return NULL;
}

void
clari_line_writer_close(ClariLineWriter *writer)
{
	if (writer == NULL)
		return;
	for (int i = 0; i < writer->nfields; i++)
		free(writer->fields[i].name);
	free(writer->fields);
	free(writer->keys);
	free(writer->kept.packed);
	free(writer->spare.packed);
	free(writer->before.packed);
	clari_sorter_close(writer->sorter);
	clari_group_close(writer->entry_rows);
	clari_group_close(writer->user_rows);
	free(writer);
}

/* ------- which quarter a line is of ------- */

/* Returns the number of a week, or -1. */
static int
read_week(const ClariValue *week)
{
	int number = 0;

	if (week->kind == CLARI_VALUE_NULL || week->length == 0 || week->length > 3)
		return -1;
	for (uint32_t i = 0; i < week->length; i++)
	{
		if (week->data[i] < '0' || week->data[i] > '9')
			return -1;
		number = number * 10 + (week->data[i] - '0');
	}
	return number;
}

/*
 * Finds a day that is certainly in the quarter, and returns it as *first and
 * *last.  Weeks may extend beyond quarters and months.  The first week of a
 * period may begin before it, and week 0 is the day before it (in Clari's
 * example, June 30 before July).  Any other week may end after its period.
 * Without a number, the start day and the end day are returned, which must
 * then be in the same quarter.  Returns false if the line has no days.
 */
static bool
find_days(const ClariValue *values, int32_t *first, int32_t *last)
{
	const ClariValue *start = &values[CLARI_LINE_START_DAY];
	const ClariValue *end = &values[CLARI_LINE_END_DAY];
	int week = read_week(&values[CLARI_LINE_WEEK]);
	int64_t start_day;
	int64_t end_day;

	if (start->kind == CLARI_VALUE_NULL || end->kind == CLARI_VALUE_NULL ||
		!clari_date_read(start->data, start->length, &start_day) || !clari_date_read(end->data, end->length, &end_day))
		return false;
	*first = (int32_t) (week == 0 ? end_day + 1 : week == 1 ? end_day : start_day);
	*last = (int32_t) (week < 0 ? end_day : *first);
	return true;
}

/* Are the days the same as those of the last line?  Remembers them, unless they are longer than any day. */
static bool
same_days(ClariLineWriter *writer, const ClariValue *values)
{
	static const int positions[] = {CLARI_LINE_START_DAY, CLARI_LINE_END_DAY, CLARI_LINE_WEEK};
	bool same = true;

	for (int i = 0; i < 3; i++)
	{
		const ClariValue *value = &values[positions[i]];
		char *last = writer->last_days[i];
		uint32_t length = value->kind == CLARI_VALUE_NULL ? 0 : value->length;

		if (length >= REMEMBERED)
		{
			memset(writer->last_days, 0, sizeof(writer->last_days));
			return false;
		}
		same = same && (length == 0 || memcmp(last, value->data, length) == 0) && last[length] == '\0';
		if (length > 0)
			memmove(last, value->data, length);
		last[length] = '\0';
	}
	return same;
}

static bool
is_within(const ClariQuarter *quarter, int32_t first, int32_t last)
{
	return quarter->first <= first && last <= quarter->last;
}

/* Notes which quarter the line is of.  Returns false if the fiscal calendar, which is needed for this, is not known. */
static bool
note_quarter(ClariLineWriter *writer, const ClariValue *values, ClariError *error)
{
	bool asked = writer->requested[0] != '\0';
	ClariQuarter quarter;
	int32_t first;
	int32_t last;

	if (!writer->is_known)
		return clari_calendar_unknown(writer->requested, error);
	if (same_days(writer, values) || !find_days(values, &first, &last))
		return true;
	if (asked && is_within(&writer->wanted, first, last))
		writer->has_wanted = true;
	else if (writer->has_other && is_within(&writer->other, first, last))
		return true; /* most lines end here: this is faster than a search of the calendar */
	else if (clari_calendar_find(&writer->calendar, first, &quarter) && last <= quarter.last)
	{
		if (writer->has_other && writer->other.period != quarter.period)
			writer->another = writer->other.period;
		writer->other = quarter;
		writer->has_other = true;
	}
	else if (!asked && last == first)
		return clari_calendar_unknown("", error);
	return true;
}

static bool
not_told(ClariError *error)
{
	return clari_error_set(error, CLARI_ERROR_DATA, "the export file does not show which fiscal quarter it is for");
}

bool
clari_line_writer_answer(const ClariLineWriter *writer, ClariRowsetMeta *meta, ClariError *error)
{
	const ClariQuarter *quarter = writer->has_wanted ? &writer->wanted : &writer->other;
	char one[CLARI_PERIOD_TEXT_SIZE];
	char other[CLARI_PERIOD_TEXT_SIZE];

	if (!writer->has_wanted && !writer->has_other)
	{
		not_told(error);
		clari_error_detail(error, "No line has a Start Day and an End Day of a quarter that is known.");
		return false;
	}
	if (writer->requested[0] == '\0' && writer->another != CLARI_PERIOD_NONE)
	{
		clari_period_format(writer->another, one);
		clari_period_format(writer->other.period, other);
		not_told(error);
		clari_error_detail(error, "It has weeks of both \"%s\" and \"%s\".", one, other);
		return false;
	}
	memset(meta->answered, 0, sizeof(meta->answered));
	clari_period_format(quarter->period, meta->answered);
	meta->period_start = quarter->first;
	meta->period_end = quarter->last;
	if (writer->requested[0] != '\0' && !writer->has_wanted)
		meta->flags |= CLARI_ROWSET_WRONG_PERIOD;
	return true;
}

/* ------- adding ------- */

/* Returns the line's field, which is added if it is new; or NULL with *error set. */
static LineField *
find_field(ClariLineWriter *writer, const ClariValue *name, ClariError *error)
{
	LineField *field;

	for (int i = 0; i <= writer->nfields; i++)
	{
		/* the last one that was found comes first */
		int at = i == 0 ? writer->last_field : i - 1;

		field = &writer->fields[at];
		if (at < writer->nfields && field->length == name->length && memcmp(field->name, name->data, name->length) == 0)
		{
			writer->last_field = at;
			return field;
		}
	}
	if (writer->nfields == MAX_FIELDS)
	{
		clari_error_set(error, CLARI_ERROR_LIMIT, "the export file has more than %d fields", MAX_FIELDS);
		return NULL;
	}
	field = &writer->fields[writer->nfields];
	field->name = malloc(name->length);
	if (field->name == NULL)
	{
		clari_error_out_of_memory(error);
		return NULL;
	}
	memcpy(field->name, name->data, name->length);
	field->length = name->length;
	writer->last_field = writer->nfields++;
	return field;
}

/*
 * Returns the type of the period by what column Timeframe calls it.  If the
 * column is empty, the period is the quarter that was requested.
 */
static ClariPeriodType
type_of_timeframe(const char *text, uint32_t length)
{
	ClariPeriodName name = {CLARI_QUARTERS, 0, 0};

	if (length > 0)
		clari_period_name_of_label(text, length, &name);
	return name.type;
}

static bool
note_field(ClariLineWriter *writer, const ClariValue *values, ClariError *error)
{
	LineField *field = find_field(writer, &values[CLARI_LINE_FIELD], error);
	const ClariValue *timeframe = &values[CLARI_LINE_TIMEFRAME];
	uint64_t bit =
		UINT64_C(1) << type_of_timeframe(timeframe->data, timeframe->kind == CLARI_VALUE_NULL ? 0 : timeframe->length);

	if (field == NULL)
		return false;
	if (values[CLARI_LINE_QUOTA_VALUE].kind != CLARI_VALUE_NULL)
		field->carries_quota |= bit;
	if (values[CLARI_LINE_FORECAST_VALUE].kind != CLARI_VALUE_NULL ||
		values[CLARI_LINE_ADJUSTMENT_VALUE].kind != CLARI_VALUE_NULL ||
		values[CLARI_LINE_CRM_TOTAL].kind != CLARI_VALUE_NULL || values[CLARI_LINE_CRM_CLOSED].kind != CLARI_VALUE_NULL)
		field->carries_forecast |= bit;
	return true;
}

/* Appends the parts of a sort key, separated by NULs, to writer->keys. */
static void
put_parts(ClariLineWriter *writer, const ClariValue *values, int nparts, ClariCell *key)
{
	char *to = writer->keys + writer->keys_used;

	key->bytes = to;
	for (int i = 0; i < nparts; i++)
	{
		if (i > 0)
			*to++ = '\0';
		if (values[i].kind == CLARI_VALUE_NULL || values[i].length == 0)
			continue;
		memcpy(to, values[i].data, values[i].length);
		to += values[i].length;
	}
	key->length = (uint32_t) (to - key->bytes);
	writer->keys_used += key->length;
}

static bool
put_keys(ClariLineWriter *writer, const ClariValue *values, ClariCell *cells, ClariError *error)
{
	size_t size = CLARI_LINE_KEYS;

	for (int i = 0; i < CLARI_LINE_KEYS; i++)
		size += values[i].kind == CLARI_VALUE_NULL ? 0 : values[i].length;
	if (size > writer->keys_size)
	{
		free(writer->keys);
		writer->keys = malloc(2 * size);
		writer->keys_size = writer->keys == NULL ? 0 : 2 * size;
	}
	if (writer->keys == NULL)
		return clari_error_out_of_memory(error);
	writer->keys_used = 0;
	put_parts(writer, values, USER_PARTS, &cells[CLARI_ENTRY_USER_ID]);
	put_parts(writer, values + USER_PARTS, FRAME_PARTS, &cells[CLARI_ENTRY_TIME_FRAME_ID]);
	return true;
}

bool
clari_line_writer_add(ClariLineWriter *writer, const ClariValue *values, ClariError *error)
{
	ClariCell cells[CLARI_ENTRY_COUNT] = {{NULL, 0}};
	int64_t is_updated;

	if (!note_quarter(writer, values, error) || !note_field(writer, values, error) ||
		!put_keys(writer, values, cells, error))
		return false;
	for (int i = 0; i < CLARI_LINE_VALUES; i++)
	{
		const ClariValue *value = &values[CLARI_LINE_KEYS + i];
		ClariCell *cell = &cells[value_attributes[i]];

		if (value->kind == CLARI_VALUE_NULL)
			continue;
		if (value->kind == CLARI_VALUE_BOOL)
		{
			is_updated = value->boolean ? 1 : 0;
			*cell = (ClariCell){(const char *) &is_updated, sizeof(is_updated)};
		}
		else
			*cell = (ClariCell){value->data, value->length};
	}
	return clari_sorter_add(writer->sorter, cells, error);
}

/* ------- joining ------- */

static bool
damaged(ClariError *error)
{
	return clari_error_set(error, CLARI_ERROR_IO, "a temporary file does not hold what was written to it");
}

static bool
reserve_item(KeptItem *item, size_t size, ClariError *error)
{
	char *packed;

	if (size <= item->capacity)
		return true;
	packed = realloc(item->packed, size);
	if (packed == NULL)
		return clari_error_out_of_memory(error);
	item->packed = packed;
	item->capacity = size;
	return true;
}

/* Makes a copy of the cells.  They must not point into the same kept item. */
static bool
keep_cells(KeptItem *item, const ClariCell *cells, ClariError *error)
{
	size_t size = clari_item_size(cells, CLARI_ENTRY_COUNT);

	if (!reserve_item(item, size, error))
		return false;
	clari_item_pack(cells, CLARI_ENTRY_COUNT, size, item->packed);
	return clari_item_unpack(item->packed, size, CLARI_ENTRY_COUNT, item->cells) || damaged(error);
}

/* Splits a key into its parts; an empty part becomes a NULL.  Returns false if there are fewer parts. */
static bool
split_key(const ClariCell *key, int nparts, ClariCell *parts)
{
	const char *at = key->bytes;
	const char *end = key->bytes + key->length;

	for (int i = 0; i < nparts; i++)
	{
		const char *stop = i + 1 < nparts ? memchr(at, '\0', (size_t) (end - at)) : end;

		if (stop == NULL)
			return false;
		parts[i] = (ClariCell){stop > at ? at : NULL, (uint32_t) (stop - at)};
		at = stop + 1;
	}
	return true;
}

static bool
given_twice(const ClariCell *user, const ClariCell *field, int attribute, ClariError *error)
{
	const ClariAttribute *info = &clari_lists[CLARI_ENTRIES].attributes[attribute];

	clari_error_set(error, CLARI_ERROR_DATA, "the export file gives a value of an entry twice");
	clari_error_detail(error, "Two lines with different \"%s\" are of user \"%.*s\", field \"%.*s\" and the same week.",
					   info->name, (int) user->length, user->length > 0 ? user->bytes : "", (int) field->length,
					   field->length > 0 ? field->bytes : "");
	return false;
}

/* Adds the values of another piece of the entry that is being joined. */
static bool
join_values(ClariLineWriter *writer, const ClariCell *cells, ClariError *error)
{
	ClariCell joined[CLARI_ENTRY_COUNT];
	ClariCell users[USER_PARTS];
	ClariCell frames[FRAME_PARTS];
	KeptItem swap;

	memcpy(joined, writer->kept.cells, sizeof(joined));
	for (int i = 0; i < CLARI_LINE_VALUES; i++)
	{
		int attribute = value_attributes[i];

		if (cells[attribute].bytes == NULL)
			continue;
		if (joined[attribute].bytes != NULL && !clari_cell_equal(&joined[attribute], &cells[attribute]))
			return split_key(&cells[CLARI_ENTRY_USER_ID], USER_PARTS, users) &&
						   split_key(&cells[CLARI_ENTRY_TIME_FRAME_ID], FRAME_PARTS, frames)
					   ? given_twice(&users[CLARI_LINE_USER], &frames[PART(CLARI_LINE_FIELD)], attribute, error)
					   : damaged(error);
		joined[attribute] = cells[attribute];
	}
	if (!keep_cells(&writer->spare, joined, error))
		return false;
	swap = writer->kept;
	writer->kept = writer->spare;
	writer->spare = swap;
	return true;
}

/* ------- writing ------- */

/*
 * Returns the length of the part of the second key that identifies the week:
 * all parts but the last, which is the field.
 */
static uint32_t
frame_length(const ClariCell *key)
{
	uint32_t length = key->length;

	while (length > 0 && key->bytes[length - 1] != '\0')
		length--;
	return length;
}

static bool
same_run(const ClariCell *a, const ClariCell *b)
{
	const ClariCell *one = &a[CLARI_ENTRY_TIME_FRAME_ID];
	const ClariCell *other = &b[CLARI_ENTRY_TIME_FRAME_ID];
	uint32_t length = frame_length(one);

	return clari_cell_equal(&a[CLARI_ENTRY_USER_ID], &b[CLARI_ENTRY_USER_ID]) && frame_length(other) == length &&
		   memcmp(one->bytes, other->bytes, length) == 0;
}

static bool
write_user(ClariLineWriter *writer, const ClariCell *parts, ClariError *error)
{
	ClariCell cells[CLARI_USER_COUNT] = {{NULL, 0}};

	cells[CLARI_USER_NAME] = parts[CLARI_LINE_USER];
	cells[CLARI_USER_EMAIL] = parts[CLARI_LINE_EMAIL];
	cells[CLARI_USER_CRM_ID] = parts[CLARI_LINE_CRM_USER_ID];
	cells[CLARI_USER_HIERARCHY_NAME] = parts[CLARI_LINE_ROLE];
	cells[CLARI_USER_PARENT_HIERARCHY_NAME] = parts[CLARI_LINE_PARENT_ROLE];
	return clari_group_put_row(writer->user_rows, cells, true, error);
}

static bool
set_day(ClariCell *cell, const ClariCell *part, int64_t *day, ClariError *error)
{
	if (part->bytes == NULL)
		return true;
	if (!clari_date_read(part->bytes, part->length, day))
		return damaged(error);
	*cell = (ClariCell){(const char *) day, sizeof(*day)};
	return true;
}

/* Writes the entry that was being joined, after its user if this is the user's first entry. */
static bool
write_kept(ClariLineWriter *writer, ClariError *error)
{
	const ClariCell *kept = writer->kept.cells;
	bool same_user =
		writer->has_before && clari_cell_equal(&writer->before.cells[CLARI_ENTRY_USER_ID], &kept[CLARI_ENTRY_USER_ID]);
	bool begins_run = !same_user || !same_run(writer->before.cells, kept);
	ClariCell cells[CLARI_ENTRY_COUNT];
	ClariCell users[USER_PARTS];
	ClariCell frames[FRAME_PARTS];
	ClariPeriodType type;
	int64_t days[2];
	KeptItem swap;

	memcpy(cells, kept, sizeof(cells));
	if (!split_key(&cells[CLARI_ENTRY_USER_ID], USER_PARTS, users) ||
		!split_key(&cells[CLARI_ENTRY_TIME_FRAME_ID], FRAME_PARTS, frames))
		return damaged(error);
	type = type_of_timeframe(frames[PART(CLARI_LINE_TIMEFRAME)].bytes, frames[PART(CLARI_LINE_TIMEFRAME)].length);
	writer->owners[type] += begins_run;
	cells[CLARI_ENTRY_USER_ID] = cells[CLARI_ENTRY_TIME_FRAME_ID] = (ClariCell){NULL, 0};
	cells[CLARI_ENTRY_OWNER_NAME] = users[CLARI_LINE_USER];
	cells[CLARI_ENTRY_OWNER_EMAIL] = users[CLARI_LINE_EMAIL];
	cells[CLARI_ENTRY_CRM_USER_ID] = users[CLARI_LINE_CRM_USER_ID];
	cells[CLARI_ENTRY_ROLE] = users[CLARI_LINE_ROLE];
	cells[CLARI_ENTRY_PARENT_ROLE] = users[CLARI_LINE_PARENT_ROLE];
	cells[CLARI_ENTRY_TIME_PERIOD_ID] = frames[PART(CLARI_LINE_TIMEFRAME)];
	cells[CLARI_ENTRY_PERIOD_TYPE] = clari_cell_of_type(type);
	cells[CLARI_ENTRY_FIELD_ID] = cells[CLARI_ENTRY_FIELD_NAME] = frames[PART(CLARI_LINE_FIELD)];
	if (!set_day(&cells[CLARI_ENTRY_WEEK_START], &frames[PART(CLARI_LINE_START_DAY)], &days[0], error) ||
		!set_day(&cells[CLARI_ENTRY_WEEK_END], &frames[PART(CLARI_LINE_END_DAY)], &days[1], error) ||
		(!same_user && !write_user(writer, users, error)) ||
		!clari_group_put_row(writer->entry_rows, cells, begins_run, error))
		return false;
	swap = writer->before;
	writer->before = writer->kept;
	writer->kept = swap;
	writer->has_before = true;
	return true;
}

static bool
take_item(ClariLineWriter *writer, const char *packed, size_t size, ClariError *error)
{
	ClariCell cells[CLARI_ENTRY_COUNT];

	if (!clari_item_unpack(packed, size, CLARI_ENTRY_COUNT, cells))
		return damaged(error);
	if (writer->has_kept && clari_cell_equal(&cells[CLARI_ENTRY_USER_ID], &writer->kept.cells[CLARI_ENTRY_USER_ID]) &&
		clari_cell_equal(&cells[CLARI_ENTRY_TIME_FRAME_ID], &writer->kept.cells[CLARI_ENTRY_TIME_FRAME_ID]))
		return join_values(writer, cells, error);
	if (writer->has_kept && !write_kept(writer, error))
		return false;
	writer->has_kept = true;
	return keep_cells(&writer->kept, cells, error);
}

static bool
write_fields(const ClariLineWriter *writer, ClariSink *sink, ClariError *error)
{
	ClariGroup *rows = clari_group_open(sink, CLARI_FIELDS);
	bool done = true;

	if (rows == NULL)
		return clari_error_out_of_memory(error);
	for (int i = 0; i < writer->nfields && done; i++)
	{
		const LineField *field = &writer->fields[i];
		ClariCell cells[CLARI_FIELD_COUNT] = {{NULL, 0}};

		cells[CLARI_FIELD_FIELD_ID] = cells[CLARI_FIELD_FIELD_NAME] = (ClariCell){field->name, field->length};
		cells[CLARI_FIELD_CARRIES_FORECAST] = (ClariCell){(const char *) &field->carries_forecast, sizeof(int64_t)};
		cells[CLARI_FIELD_CARRIES_QUOTA] = (ClariCell){(const char *) &field->carries_quota, sizeof(int64_t)};
		done = clari_group_put_row(rows, cells, true, error);
	}
	done = done && clari_group_flush(rows, error);
	clari_group_close(rows);
	return done;
}

/* Labels contain no numbers of months and years, so for any number of them this export must be read. */
static void
count_owners(const ClariLineWriter *writer, ClariRowsetMeta *meta)
{
	memcpy(meta->owners, writer->owners, sizeof(meta->owners));
	if (meta->owners[CLARI_MONTHS] > 0)
		meta->numbering.months = CLARI_SHIFT_IRREGULAR;
	if (meta->owners[CLARI_YEARS] > 0)
		meta->numbering.years = CLARI_SHIFT_IRREGULAR;
}

bool
clari_line_writer_write(ClariLineWriter *writer, ClariSink *sink, ClariRowsetMeta *meta, ClariError *error)
{
	const char *packed;
	size_t size = 0;

	writer->entry_rows = clari_group_open(sink, CLARI_ENTRIES);
	writer->user_rows = clari_group_open(sink, CLARI_USERS);
	if (writer->entry_rows == NULL || writer->user_rows == NULL)
		return clari_error_out_of_memory(error);
	if (!clari_sorter_sort(writer->sorter, error))
		return false;
	for (;;)
	{
		if (!clari_sorter_next(writer->sorter, &packed, &size, error))
			return false;
		if (packed == NULL)
			break;
		if (!take_item(writer, packed, size, error))
			return false;
	}
	if (writer->has_kept && !write_kept(writer, error))
		return false;
	count_owners(writer, meta);
	return clari_group_flush(writer->entry_rows, error) && clari_group_flush(writer->user_rows, error) &&
		   write_fields(writer, sink, error);
}
