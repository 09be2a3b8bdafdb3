/*
 * writer.c
 *		Items into a rowset: see rowset.h.
 *
 * Items come list by list in any order.  The small lists stay in memory; users
 * and the entries of a v4 file go through sorters and are joined at the end, in
 * one pass over both; a flat file's entries become rows as they come, and so does what the account has.
 *
 * Runs in the worker, in unit tests and fuzzers; takes no locks; never raises,
 * because json-c's frames are below it.
 */
#include "compat.h"

#include "port/pg_crc32c.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "rowset/internal.h"

#define SMALL_LISTS_LIMIT ((size_t) 8 * 1024 * 1024)

#define SMALL_CELLS CLARI_TIME_PERIOD_COUNT /* the most attributes of a small list */

typedef struct SmallItem
{
	ClariCell cells[SMALL_CELLS]; /* point into packed */
	char *packed;
	bool carries_forecast; /* of fields: what their entries have shown */
	bool carries_quota;
	bool repeated; /* it is the same as an earlier item */
} SmallItem;

/* A list that is all zero is empty. */
typedef struct SmallList
{
	SmallItem *items; /* in the file's order */
	size_t count;
	size_t capacity;
	size_t bytes;       /* that the items take */
	SmallItem **sorted; /* the distinct items, by id */
	size_t nsorted;
	SmallItem *last; /* the one that was found last */
} SmallList;

typedef enum FileShape
{
	SHAPE_UNKNOWN, /* no entry yet */
	SHAPE_V4,
	SHAPE_FLAT
} FileShape;

struct ClariRowsetWriter
{
	char requested[CLARI_PERIOD_TEXT_SIZE];
	size_t sort_memory;
	FileShape shape;
	char entry_period[CLARI_PERIOD_TEXT_SIZE]; /* that of all entries; empty before the first */
	bool wrong_period;                         /* the entries are of another quarter than requested */
	ClariItem item;
	SmallList small[CLARI_LIST_COUNT]; /* of fields, timePeriods and timeFrames */
	ClariSorter *entries;              /* of a v4 file */
	ClariLineWriter *lines;            /* of a file that has no ids; then nothing else is in it */
	ClariCalendar calendar;
	ClariSorter *users;
	ClariGroup *entry_rows;
	ClariGroup *user_rows;
	ClariGroup *account_rows; /* the limits, or the jobs; then nothing else is in it */

	/* These say where the join is among the users. */
	const char *pending_user; /* the sorter's next user, or NULL */
	size_t pending_size;
	char *user; /* the user that entries are compared with */
	size_t user_capacity;
	ClariCell user_cells[CLARI_USER_COUNT];
	bool have_user;

	ClariRowsetOutput output;
	ClariSink sink;
};

/* ------- lists that stay in memory whole: fields, time periods, time frames ------- */

/* Keeps a copy of an item, whose first cell is its id and not NULL.  False: out of memory. */
static bool
add_small(SmallList *small, ClariList list, const ClariCell *cells, ClariError *error)
{
	int ncells = clari_lists[list].nattributes;
	size_t size = clari_item_size(cells, ncells);
	SmallItem *item;

	if (small->count == small->capacity)
	{
		size_t capacity = small->capacity == 0 ? 16 : small->capacity * 2;
		SmallItem *items = realloc(small->items, capacity * sizeof(*items));

		if (items == NULL)
			return clari_error_out_of_memory(error);
		small->items = items;
		small->capacity = capacity;
	}
	item = &small->items[small->count];
	memset(item, 0, sizeof(*item));
	item->packed = malloc(size);
	if (item->packed == NULL)
		return clari_error_out_of_memory(error);
	small->count++;
	small->bytes += size + sizeof(SmallItem) + sizeof(SmallItem *);
	clari_item_pack(cells, ncells, size, item->packed);
	clari_item_unpack(item->packed, size, ncells, item->cells);
	return true;
}

static void
free_small(SmallList *small)
{
	for (size_t i = 0; i < small->count; i++)
		free(small->items[i].packed);
	free(small->items);
	free(small->sorted);
	memset(small, 0, sizeof(*small));
}

/* The error of two different items of one id, for any list; returns false. */
static bool
same_id(ClariList list, const ClariCell *id, ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_DATA, "the export file holds different items with the same id in list \"%s\"",
					clari_lists[list].key);
	clari_error_detail(error, "The id is \"%.*s\".", (int) id->length, id->bytes);
	return false;
}

/* Orders by id, and items of one id as they stand in the file. */
static int
compare_small(const void *a, const void *b)
{
	const SmallItem *one = *(SmallItem *const *) a;
	const SmallItem *other = *(SmallItem *const *) b;
	int order = clari_cell_compare(&one->cells[0], &other->cells[0]);

	return order != 0 ? order : (one > other) - (one < other);
}

/*
 * Ends adding.  False: out of memory, or CLARI_ERROR_DATA for two different
 * items of one id; the same item twice counts once.
 */
static bool
index_small(SmallList *small, ClariList list, ClariError *error)
{
	if (small->count == 0)
		return true;
	small->sorted = malloc(small->count * sizeof(SmallItem *));
	if (small->sorted == NULL)
		return clari_error_out_of_memory(error);
	for (size_t i = 0; i < small->count; i++)
		small->sorted[i] = &small->items[i];
	qsort(small->sorted, small->count, sizeof(SmallItem *), compare_small);
	for (size_t i = 0; i < small->count; i++)
	{
		SmallItem *item = small->sorted[i];
		SmallItem *before = small->nsorted > 0 ? small->sorted[small->nsorted - 1] : NULL;

		if (before == NULL || !clari_cell_equal(&before->cells[0], &item->cells[0]))
		{
			small->sorted[small->nsorted++] = item;
			continue;
		}
		for (int cell = 0; cell < clari_lists[list].nattributes; cell++)
			if (!clari_cell_equal(&before->cells[cell], &item->cells[cell]))
				return same_id(list, &item->cells[0], error);
		item->repeated = true;
	}
	return true;
}

/* The item of an id, or NULL; found quickly when it is the one that was found last. */
static SmallItem *
find_small(SmallList *small, const ClariCell *id)
{
	size_t low = 0;
	size_t high = small->nsorted;

	if (small->last != NULL && clari_cell_equal(&small->last->cells[0], id))
		return small->last;
	while (low < high)
	{
		size_t middle = low + (high - low) / 2;
		int order = clari_cell_compare(&small->sorted[middle]->cells[0], id);

		if (order == 0)
			return small->last = small->sorted[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ------- life ------- */

ClariRowsetWriter *
clari_rowset_writer_open(const ClariRowsetOutput *output, ClariNumericEncoder encode, void *encode_arg,
						 const char *requested, size_t sort_memory)
{
	ClariRowsetWriter *writer = calloc(1, sizeof(*writer));

	if (writer == NULL)
		return NULL;
	writer->output = *output;
	writer->sink.output = &writer->output;
	writer->sink.encode = encode;
	writer->sink.encode_arg = encode_arg;
	clari_text_copy(writer->requested, requested, sizeof(writer->requested));
	writer->sort_memory = sort_memory;
	return writer;
}

void
clari_rowset_writer_close(ClariRowsetWriter *writer)
{
	if (writer == NULL)
		return;
	for (int list = 0; list < CLARI_LIST_COUNT; list++)
		free_small(&writer->small[list]);
	clari_line_writer_close(writer->lines);
	clari_sorter_close(writer->entries);
	clari_sorter_close(writer->users);
	clari_group_close(writer->entry_rows);
	clari_group_close(writer->user_rows);
	clari_group_close(writer->account_rows);
	free(writer->user);
	free(writer->sink.groups);
	free(writer);
}

void
clari_rowset_writer_set_calendar(ClariRowsetWriter *writer, const ClariCalendar *calendar)
{
	writer->calendar = *calendar;
}

/* ------- adding ------- */

static bool
lacks_key(ClariList list, const char *key, ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_DATA, "an item of the export file lacks its \"%s\"", key);
	clari_error_detail(error, "The item is in the list \"%s\".", clari_lists[list].key);
	return false;
}

static bool
unknown_id(ClariList list, const ClariCell *id, ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_DATA, "an entry of the export file refers to an item that is not in list \"%s\"",
					clari_lists[list].key);
	clari_error_detail(error, "Its \"%s\" is \"%.*s\".", clari_lists[list].attributes[0].key, (int) id->length,
					   id->bytes);
	return false;
}

/* Does the cell hold a quarter?  Then period gets it as text. */
static bool
is_quarter(const ClariCell *cell, char *period)
{
	ClariPeriod parsed;

	memset(period, 0, CLARI_PERIOD_TEXT_SIZE);
	if (cell->length != CLARI_PERIOD_TEXT_SIZE - 1)
		return false;
	memcpy(period, cell->bytes, cell->length);
	return strlen(period) == cell->length && clari_period_parse(period, &parsed);
}

/* Reads the quarter of a cell that must hold one. */
static bool
read_period(const ClariCell *cell, char *period, ClariError *error)
{
	if (is_quarter(cell, period))
		return true;
	clari_error_set(error, CLARI_ERROR_DATA, "the export file is of a period that is not a fiscal quarter");
	clari_error_detail(error, "The period is \"%.*s\".", (int) cell->length, cell->bytes);
	return false;
}

static bool
several_periods(const char *first, const ClariCell *other, ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_DATA, "the export file holds entries of several periods");
	clari_error_detail(error, "It holds \"%s\" and \"%.*s\".", first, (int) other->length, other->bytes);
	return false;
}

/* All entries are of one period; the first decides whether the rows are kept. */
static bool
check_entry_period(ClariRowsetWriter *writer, const ClariCell *period, ClariError *error)
{
	if (writer->entry_period[0] != '\0')
		return (period->length == CLARI_PERIOD_TEXT_SIZE - 1 &&
				memcmp(writer->entry_period, period->bytes, period->length) == 0) ||
			   several_periods(writer->entry_period, period, error);
	if (!read_period(period, writer->entry_period, error))
		return false;
	writer->wrong_period = writer->requested[0] != '\0' && strcmp(writer->requested, writer->entry_period) != 0;
	return true;
}

/* The first entry decides on the file's shape; the others must be of the same. */
static bool
check_shape(ClariRowsetWriter *writer, const ClariCell *cells, ClariError *error)
{
	bool flat = cells[CLARI_ENTRY_USER_ID].bytes == NULL && cells[CLARI_ENTRY_FIELD_ID].bytes == NULL;
	FileShape shape = flat ? SHAPE_FLAT : SHAPE_V4;

	if (writer->shape == SHAPE_UNKNOWN)
		writer->shape = shape;
	if (writer->shape == shape)
		return true;
	clari_error_set(error, CLARI_ERROR_DATA, "the export file mixes entries of two shapes");
	clari_error_detail(error, "Some entries have \"userId\" and \"fieldId\", others have neither.");
	return false;
}

static bool
add_entry(ClariRowsetWriter *writer, const ClariCell *cells, ClariError *error)
{
	static const int ids[] = {CLARI_ENTRY_USER_ID, CLARI_ENTRY_FIELD_ID, CLARI_ENTRY_TIME_PERIOD,
							  CLARI_ENTRY_TIME_FRAME_ID};
	const ClariAttribute *attributes = clari_lists[CLARI_ENTRIES].attributes;

	if (!check_shape(writer, cells, error))
		return false;
	if (writer->shape == SHAPE_FLAT)
	{
		if (cells[CLARI_ENTRY_TIME_PERIOD].bytes == NULL)
			return lacks_key(CLARI_ENTRIES, attributes[CLARI_ENTRY_TIME_PERIOD].alias, error);
		if (!check_entry_period(writer, &cells[CLARI_ENTRY_TIME_PERIOD], error))
			return false;
		if (writer->wrong_period)
			return true;
		if (writer->entry_rows == NULL)
			writer->entry_rows = clari_group_open(&writer->sink, CLARI_ENTRIES);
		return writer->entry_rows != NULL ? clari_group_put_row(writer->entry_rows, cells, true, error)
										  : clari_error_out_of_memory(error);
	}
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (cells[ids[i]].bytes == NULL)
			return lacks_key(CLARI_ENTRIES, attributes[ids[i]].key, error);
	if (!check_entry_period(writer, &cells[CLARI_ENTRY_TIME_PERIOD], error))
		return false;
	if (writer->wrong_period)
		return true;
	if (writer->entries == NULL)
		writer->entries = clari_sorter_open(&writer->output, CLARI_ENTRIES, 2, writer->sort_memory);
	return writer->entries != NULL ? clari_sorter_add(writer->entries, cells, error) : clari_error_out_of_memory(error);
}

static bool
add_line(ClariRowsetWriter *writer, const ClariValue *values, ClariError *error)
{
	if (writer->lines == NULL)
		writer->lines =
			clari_line_writer_open(&writer->output, writer->requested, &writer->calendar, writer->sort_memory);
	return writer->lines != NULL ? clari_line_writer_add(writer->lines, values, error)
								 : clari_error_out_of_memory(error);
}

static bool
add_user(ClariRowsetWriter *writer, const ClariCell *cells, ClariError *error)
{
	if (writer->users == NULL)
		writer->users = clari_sorter_open(&writer->output, CLARI_USERS, 1, writer->sort_memory / 4);
	return writer->users != NULL ? clari_sorter_add(writer->users, cells, error) : clari_error_out_of_memory(error);
}

/* Clari leaves lists of jobs out where they are empty: what counts them is 0 then. */
static void
count_absent(ClariCell *cells)
{
	static const int64_t none = 0;
	static const int counts[] = {CLARI_LIMITS_RUNNING, CLARI_LIMITS_SUBMITTED};

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
		if (cells[counts[i]].bytes == NULL)
			cells[counts[i]] = (ClariCell){(const char *) &none, sizeof(none)};
}

static bool
add_account_row(ClariRowsetWriter *writer, ClariList list, ClariError *error)
{
	if (list == CLARI_LIMITS)
		count_absent(writer->item.cells);
	if (writer->account_rows == NULL)
		writer->account_rows = clari_group_open(&writer->sink, list);
	return writer->account_rows != NULL ? clari_group_put_row(writer->account_rows, writer->item.cells, true, error)
										: clari_error_out_of_memory(error);
}

static bool
check_small_limit(const ClariRowsetWriter *writer, ClariError *error)
{
	size_t bytes = 0;

	for (int list = 0; list < CLARI_LIST_COUNT; list++)
		bytes += writer->small[list].bytes;
	if (bytes <= SMALL_LISTS_LIMIT)
		return true;
	return clari_error_set(error, CLARI_ERROR_LIMIT,
						   "fields, time periods and time frames of the export file take more than %zu MB",
						   SMALL_LISTS_LIMIT >> 20);
}

bool
clari_rowset_writer_add(void *arg, ClariList list, const ClariValue *values, ClariError *error)
{
	ClariRowsetWriter *writer = arg;
	const ClariCell *cells = writer->item.cells;

	if (list == CLARI_LINES)
		return add_line(writer, values, error);
	if (!clari_item_read(&writer->item, list, values, error))
		return false;
	if (list == CLARI_ENTRIES)
		return add_entry(writer, cells, error);
	if (list >= CLARI_FILE_LISTS)
		return add_account_row(writer, list, error);
	/* In every other list the id comes first. */
	if (cells[0].bytes == NULL)
		return lacks_key(list, clari_lists[list].attributes[0].key, error);
	if (list == CLARI_USERS)
		return add_user(writer, cells, error);
	return add_small(&writer->small[list], list, cells, error) && check_small_limit(writer, error);
}

/* ------- the small lists ------- */

static bool
write_small(ClariRowsetWriter *writer, ClariList list, ClariError *error)
{
	static const int64_t truth[2] = {0, 1};
	SmallList *small = &writer->small[list];
	ClariGroup *rows;
	bool done = true;

	if (small->count == 0)
		return true;
	rows = clari_group_open(&writer->sink, list);
	if (rows == NULL)
		return clari_error_out_of_memory(error);
	for (size_t i = 0; i < small->count && done; i++)
	{
		SmallItem *item = &small->items[i];

		if (item->repeated)
			continue;
		if (list == CLARI_FIELDS)
		{
			item->cells[CLARI_FIELD_CARRIES_FORECAST] =
				(ClariCell){(const char *) &truth[item->carries_forecast], sizeof(int64_t)};
			item->cells[CLARI_FIELD_CARRIES_QUOTA] =
				(ClariCell){(const char *) &truth[item->carries_quota], sizeof(int64_t)};
		}
		done = clari_group_put_row(rows, item->cells, true, error);
	}
	done = done && clari_group_flush(rows, error);
	clari_group_close(rows);
	return done;
}

/* ------- the join ------- */

static bool
damaged(ClariError *error)
{
	return clari_error_set(error, CLARI_ERROR_IO, "a temporary file does not hold what was written to it");
}

/* Makes the sorter's pending user the current one. */
static bool
take_user(ClariRowsetWriter *writer, ClariError *error)
{
	if (writer->pending_size > writer->user_capacity)
	{
		char *user = realloc(writer->user, writer->pending_size);

		if (user == NULL)
			return clari_error_out_of_memory(error);
		writer->user = user;
		writer->user_capacity = writer->pending_size;
	}
	memcpy(writer->user, writer->pending_user, writer->pending_size);
	return clari_item_unpack(writer->user, writer->pending_size, CLARI_USER_COUNT, writer->user_cells) ||
		   damaged(error);
}

/* Moves on to the next user and writes its row; repeated users are passed over. */
static bool
next_user(ClariRowsetWriter *writer, ClariError *error)
{
	size_t size = writer->pending_size;
	ClariCell id;

	writer->have_user = writer->pending_user != NULL;
	if (!writer->have_user)
		return true;
	if (!take_user(writer, error))
		return false;
	for (;;)
	{
		if (!clari_sorter_next(writer->users, &writer->pending_user, &writer->pending_size, error))
			return false;
		if (writer->pending_user == NULL)
			break;
		if (!clari_item_unpack(writer->pending_user, writer->pending_size, 1, &id))
			return damaged(error);
		if (!clari_cell_equal(&id, &writer->user_cells[0]))
			break;
		if (writer->pending_size != size || memcmp(writer->pending_user, writer->user, size) != 0)
			return same_id(CLARI_USERS, &id, error);
	}
	return clari_group_put_row(writer->user_rows, writer->user_cells, true, error);
}

static bool
begin_users(ClariRowsetWriter *writer, ClariError *error)
{
	if (writer->users == NULL)
		return true;
	writer->user_rows = clari_group_open(&writer->sink, CLARI_USERS);
	if (writer->user_rows == NULL)
		return clari_error_out_of_memory(error);
	return clari_sorter_sort(writer->users, error) &&
		   clari_sorter_next(writer->users, &writer->pending_user, &writer->pending_size, error) &&
		   next_user(writer, error);
}

static bool
end_users(ClariRowsetWriter *writer, ClariError *error)
{
	while (writer->have_user)
		if (!next_user(writer, error))
			return false;
	return writer->user_rows == NULL || clari_group_flush(writer->user_rows, error);
}

/* Finds the items that an entry refers to: the cells that joined attributes are taken from, by list. */
static bool
find_joined(ClariRowsetWriter *writer, const ClariCell *cells, const ClariCell **from, ClariError *error)
{
	const ClariCell *user = &cells[CLARI_ENTRY_USER_ID];
	SmallItem *field = find_small(&writer->small[CLARI_FIELDS], &cells[CLARI_ENTRY_FIELD_ID]);
	SmallItem *frame = find_small(&writer->small[CLARI_TIME_FRAMES], &cells[CLARI_ENTRY_TIME_FRAME_ID]);
	int order = -1;

	while (writer->have_user && (order = clari_cell_compare(&writer->user_cells[0], user)) < 0)
		if (!next_user(writer, error))
			return false;
	if (!writer->have_user || order != 0)
		return unknown_id(CLARI_USERS, user, error);
	if (field == NULL)
		return unknown_id(CLARI_FIELDS, &cells[CLARI_ENTRY_FIELD_ID], error);
	if (frame == NULL)
		return unknown_id(CLARI_TIME_FRAMES, &cells[CLARI_ENTRY_TIME_FRAME_ID], error);
	if (cells[CLARI_ENTRY_FORECAST_VALUE].bytes != NULL || cells[CLARI_ENTRY_ADJUSTMENT_VALUE].bytes != NULL ||
		cells[CLARI_ENTRY_CRM_TOTAL].bytes != NULL || cells[CLARI_ENTRY_CRM_CLOSED].bytes != NULL)
		field->carries_forecast = true;
	if (cells[CLARI_ENTRY_QUOTA_VALUE].bytes != NULL)
		field->carries_quota = true;
	from[CLARI_USERS] = writer->user_cells;
	from[CLARI_FIELDS] = field->cells;
	from[CLARI_TIME_FRAMES] = frame->cells;
	return true;
}

/* An entry becomes a row: what the item lacks comes from the items it refers to. */
static bool
join_entry(ClariRowsetWriter *writer, const char *packed, size_t size, ClariError *error)
{
	const ClariAttribute *attributes = clari_lists[CLARI_ENTRIES].attributes;
	const ClariCell *from[CLARI_LIST_COUNT];
	ClariCell cells[CLARI_ENTRY_COUNT];
	bool begins_run;

	if (!clari_item_unpack(packed, size, CLARI_ENTRY_COUNT, cells) || cells[CLARI_ENTRY_FIELD_ID].bytes == NULL)
		return damaged(error);
	/* What was found last is the user and frame of the entry before. */
	begins_run = writer->small[CLARI_TIME_FRAMES].last == NULL || !writer->have_user ||
				 !clari_cell_equal(&writer->user_cells[0], &cells[CLARI_ENTRY_USER_ID]) ||
				 !clari_cell_equal(&writer->small[CLARI_TIME_FRAMES].last->cells[0], &cells[CLARI_ENTRY_TIME_FRAME_ID]);
	if (!find_joined(writer, cells, from, error))
		return false;
	for (int i = 0; i < CLARI_ENTRY_COUNT; i++)
		if (attributes[i].from_list != CLARI_NO_LIST && cells[i].bytes == NULL)
			cells[i] = from[attributes[i].from_list][attributes[i].from_attribute];
	return clari_group_put_row(writer->entry_rows, cells, begins_run, error);
}

static bool
join_entries(ClariRowsetWriter *writer, ClariError *error)
{
	const char *packed;
	size_t size = 0;

	writer->entry_rows = clari_group_open(&writer->sink, CLARI_ENTRIES);
	if (writer->entry_rows == NULL)
		return clari_error_out_of_memory(error);
	if (!clari_sorter_sort(writer->entries, error))
		return false;
	for (;;)
	{
		if (!clari_sorter_next(writer->entries, &packed, &size, error))
			return false;
		if (packed == NULL)
			return true;
		if (!join_entry(writer, packed, size, error))
			return false;
	}
}

/* ------- finishing ------- */

/* The period's item in list timePeriods, or NULL. */
static const SmallItem *
find_period(const ClariRowsetWriter *writer, const char *period)
{
	const SmallList *periods = &writer->small[CLARI_TIME_PERIODS];
	ClariCell id = {period, (uint32_t) strlen(period)};

	for (size_t i = 0; i < periods->count && id.length > 0; i++)
		if (clari_cell_equal(&periods->items[i].cells[CLARI_TIME_PERIOD_ID], &id))
			return &periods->items[i];
	return NULL;
}

/*
 * Which quarter does list timePeriods tell of a file without entries?  The one
 * asked for, if it has that.  Else its first; but where none was asked for that
 * must be the only one, as no other can be told to be the current one.
 */
static bool
read_listed_period(const ClariRowsetWriter *writer, char *answered, ClariError *error)
{
	const SmallList *periods = &writer->small[CLARI_TIME_PERIODS];
	char period[CLARI_PERIOD_TEXT_SIZE];

	memset(answered, 0, CLARI_PERIOD_TEXT_SIZE);
	if (periods->count == 0)
		return true;
	if (find_period(writer, writer->requested) != NULL)
		memcpy(answered, writer->requested, CLARI_PERIOD_TEXT_SIZE);
	for (size_t i = 0; i < periods->count; i++)
	{
		if (!is_quarter(&periods->items[i].cells[CLARI_TIME_PERIOD_ID], period))
			continue;
		if (answered[0] == '\0')
			memcpy(answered, period, CLARI_PERIOD_TEXT_SIZE);
		else if (writer->requested[0] == '\0' && strcmp(answered, period) != 0)
		{
			clari_error_set(error, CLARI_ERROR_DATA, "the export file does not tell which fiscal quarter it is of");
			clari_error_detail(error, "It has no entries, and both \"%s\" and \"%s\" in list \"%s\".", answered, period,
							   clari_lists[CLARI_TIME_PERIODS].key);
			return false;
		}
	}
	return answered[0] != '\0' || read_period(&periods->items[0].cells[CLARI_TIME_PERIOD_ID], period, error);
}

static int32_t
read_day(const ClariCell *cell)
{
	return cell->bytes != NULL && !clari_cell_is_note(cell) ? (int32_t) clari_cell_fixed(cell) : CLARI_DATE_NONE;
}

/*
 * Which quarter the file answers with, and its days.  The entries decide;
 * list timePeriods may have others beside theirs.
 */
static bool
find_answered(ClariRowsetWriter *writer, ClariRowsetMeta *meta, ClariError *error)
{
	const SmallItem *item;

	if (writer->lines != NULL)
		return clari_line_writer_answer(writer->lines, meta, error);
	memcpy(meta->answered, writer->entry_period, sizeof(meta->answered));
	if (meta->answered[0] == '\0' && !read_listed_period(writer, meta->answered, error))
		return false;
	item = find_period(writer, meta->answered);
	if (item == NULL && writer->small[CLARI_TIME_PERIODS].count > 0)
	{
		ClariCell id = {meta->answered, (uint32_t) strlen(meta->answered)};

		return unknown_id(CLARI_TIME_PERIODS, &id, error);
	}
	if (item != NULL)
	{
		meta->period_start = read_day(&item->cells[CLARI_TIME_PERIOD_START_DATE]);
		meta->period_end = read_day(&item->cells[CLARI_TIME_PERIOD_END_DATE]);
	}
	if (writer->requested[0] != '\0' && meta->answered[0] != '\0' && strcmp(writer->requested, meta->answered) != 0)
		meta->flags |= CLARI_ROWSET_WRONG_PERIOD;
	return true;
}

static bool
write_rows(ClariRowsetWriter *writer, ClariError *error)
{
	static const ClariList small[] = {CLARI_FIELDS, CLARI_TIME_PERIODS, CLARI_TIME_FRAMES};

	if (writer->lines != NULL)
		return clari_line_writer_write(writer->lines, &writer->sink, error);
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++)
		if (!index_small(&writer->small[small[i]], small[i], error))
			return false;
	if (writer->account_rows != NULL && !clari_group_flush(writer->account_rows, error))
		return false;
	if (!begin_users(writer, error) || (writer->entries != NULL && !join_entries(writer, error)))
		return false;
	if (writer->entry_rows != NULL && !clari_group_flush(writer->entry_rows, error))
		return false;
	if (!end_users(writer, error))
		return false;
	for (size_t i = 0; i < sizeof(small) / sizeof(small[0]); i++)
		if (!write_small(writer, small[i], error))
			return false;
	return true;
}

/* Writes index and trailer.  The trailer's bytes are all set, also behind the ends of its texts. */
static bool
write_tail(ClariSink *sink, const ClariRowsetMeta *meta, ClariError *error)
{
	size_t index_length = sink->ngroups * sizeof(ClariGroupIndex);
	ClariRowsetTrailer trailer;

	/* If there is no group, this writes the magic. */
	if (!clari_sink_put(sink, NULL, 0, error))
		return false;
	memset(&trailer, 0, sizeof(trailer));
	trailer.meta = *meta;
	memset(trailer.meta.base_url, 0, sizeof(meta->base_url));
	memset(trailer.meta.forecast, 0, sizeof(meta->forecast));
	memset(trailer.meta.requested, 0, sizeof(meta->requested));
	memset(trailer.meta.job_id, 0, sizeof(meta->job_id));
	clari_text_copy(trailer.meta.base_url, meta->base_url, sizeof(meta->base_url));
	clari_text_copy(trailer.meta.forecast, meta->forecast, sizeof(meta->forecast));
	clari_text_copy(trailer.meta.requested, meta->requested, sizeof(meta->requested));
	clari_text_copy(trailer.meta.job_id, meta->job_id, sizeof(meta->job_id));
	trailer.index_offset = sink->position;
	trailer.total_length = sink->position + index_length + sizeof(trailer);
	trailer.ngroups = sink->ngroups;
	INIT_CRC32C(trailer.index_crc);
	COMP_CRC32C(trailer.index_crc, sink->groups, index_length);
	FIN_CRC32C(trailer.index_crc);
	INIT_CRC32C(trailer.trailer_crc);
	COMP_CRC32C(trailer.trailer_crc, &trailer, offsetof(ClariRowsetTrailer, trailer_crc));
	FIN_CRC32C(trailer.trailer_crc);
	memcpy(trailer.magic, CLARI_ROWSET_MAGIC, sizeof(trailer.magic));
	return clari_sink_put(sink, sink->groups, index_length, error) &&
		   clari_sink_put(sink, &trailer, sizeof(trailer), error) && clari_sink_flush(sink, error);
}

bool
clari_rowset_writer_finish(ClariRowsetWriter *writer, ClariRowsetMeta *meta, ClariError *error)
{
	meta->flags &= CLARI_ROWSET_GIVEN_FLAGS;
	if (writer->shape == SHAPE_FLAT)
		meta->flags |= CLARI_ROWSET_FLAT;
	meta->period_start = meta->period_end = CLARI_DATE_NONE;
	if (!find_answered(writer, meta, error))
		return false;
	if ((meta->flags & CLARI_ROWSET_WRONG_PERIOD) == 0 && !write_rows(writer, error))
		return false;
	memcpy(meta->rows, writer->sink.rows, sizeof(meta->rows));
	meta->owners = writer->sink.runs;
	return write_tail(&writer->sink, meta, error);
}
