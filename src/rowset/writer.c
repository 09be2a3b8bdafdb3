/*
 * writer.c
 *		Writes items as a rowset: see rowset.h.
 *
 * Items come list by list, in any order.  The small lists are kept in memory.
 * Users, and the entries of a v4 file, are sorted and finally joined in one
 * pass over both.  The entries of a flat file, and the items of the account,
 * become rows immediately.
 *
 * Runs in the worker, in unit tests and fuzzers; takes no locks; never raises,
 * because a longjmp would leave json-c and libcurl in the middle of their work.
 */
#include "compat.h"

#include "port/pg_crc32c.h"

#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "rowset/internal.h"

#define SMALL_LISTS_LIMIT ((size_t) 8 * 1024 * 1024)

#define SMALL_CELLS CLARI_TIME_PERIOD_COUNT /* the largest number of attributes of a small list */

typedef struct SmallItem
{
	ClariCell cells[SMALL_CELLS]; /* point into packed */
	char *packed;
	uint64_t carries_forecast; /* of fields: in which types of period (bits 1 << ClariPeriodType) entries have it */
	uint64_t carries_quota;
	bool repeated; /* it equals an earlier item */
} SmallItem;

/* All zero means empty. */
typedef struct SmallList
{
	SmallItem *items; /* in the order of the file */
	size_t count;
	size_t capacity;
	size_t bytes;       /* size of the packed items */
	SmallItem **sorted; /* the distinct items, by id */
	size_t nsorted;
	SmallItem *last; /* result of the last search */
} SmallList;

/* Entries are of few different periods, so a linear search finds the one of each entry. */
#define MAX_PERIODS 1000

/* The periods of the entries.  All zero means none. */
typedef struct EntryPeriods
{
	ClariFilePeriod *items; /* their ids are malloc'd */
	size_t count;
	size_t capacity;
	size_t last; /* result of the last search */
} EntryPeriods;

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
	char entry_period[CLARI_PERIOD_TEXT_SIZE]; /* the quarter of the entries; empty before the first that shows it */
	bool wrong_period;                         /* it is not the requested one */
	EntryPeriods periods;
	ClariItem item;
	SmallList small[CLARI_LIST_COUNT]; /* of fields, timePeriods and timeFrames */
	ClariSorter *entries;              /* of a v4 file */
	ClariLineWriter *lines;            /* of a file without ids; then there are no other lists */
	ClariCalendar calendar;
	ClariSorter *users;
	ClariGroup *entry_rows;
	ClariGroup *user_rows;
	ClariGroup *account_rows; /* the limits, or the jobs; then there are no other lists */

	/* The state of the join. */
	const char *pending_user; /* the sorter's next user, or NULL */
	size_t pending_size;
	char *user; /* packed copy of the user that entries are compared with */
	size_t user_capacity;
	ClariCell user_cells[CLARI_USER_COUNT];
	bool have_user;

	size_t run_period; /* index in periods of the period of the last entry */
	uint64_t owners[CLARI_PERIOD_TYPES];

	ClariRowsetOutput output;
	ClariSink sink;
};

/* ------- lists that stay in memory whole: fields, time periods, time frames ------- */

/* Adds a copy of an item, whose first cell is its id and not NULL.  Returns false if out of memory. */
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

/* Fails because two different items have the same id. */
static bool
same_id(ClariList list, const ClariCell *id, ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_DATA, "the export file holds different items with the same id in list \"%s\"",
					clari_lists[list].key);
	clari_error_detail(error, "The id is \"%.*s\".", (int) id->length, id->bytes);
	return false;
}

/* Orders by id, and items with the same id as in the file. */
static int
compare_small(const void *a, const void *b)
{
	const SmallItem *one = *(SmallItem *const *) a;
	const SmallItem *other = *(SmallItem *const *) b;
	int order = clari_cell_compare(&one->cells[0], &other->cells[0]);

	return order != 0 ? order : (one > other) - (one < other);
}

/*
 * Sorts the items by id; to be called after the last was added.  Equal items
 * count as one.  Returns false if out of memory, or with CLARI_ERROR_DATA for
 * two different items with the same id.
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

/* Returns the item with the id, or NULL.  Fast if the last search had the same result. */
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

/* ------- opening and closing ------- */

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
	for (size_t i = 0; i < writer->periods.count; i++)
		free(unconstify(char *, writer->periods.items[i].id.bytes));
	free(writer->periods.items);
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

static bool
several_periods(const char *first, const ClariCell *other, ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_DATA, "the export file holds entries of several periods");
	clari_error_detail(error, "It holds \"%s\" and \"%.*s\".", first, (int) other->length, other->bytes);
	return false;
}

/* Returns the index of the period, or their count if it is not among them. */
static size_t
find_entry_period(EntryPeriods *periods, const ClariCell *id)
{
	for (size_t i = 0; i <= periods->count; i++)
	{
		/* try the result of the last search first */
		size_t at = i == 0 ? periods->last : i - 1;

		if (at < periods->count && clari_cell_equal(&periods->items[at].id, id))
			return periods->last = at;
	}
	return periods->count;
}

static bool
add_entry_period(EntryPeriods *periods, const ClariCell *id, ClariError *error)
{
	ClariFilePeriod period = {.first = CLARI_DATE_NONE, .last = CLARI_DATE_NONE, .has_entries = true};
	char *copy;

	if (periods->count == MAX_PERIODS)
		return clari_error_set(error, CLARI_ERROR_LIMIT, "the export file has entries of more than %d periods",
							   MAX_PERIODS);
	if (periods->count == periods->capacity)
	{
		size_t capacity = periods->capacity == 0 ? 8 : periods->capacity * 2;
		ClariFilePeriod *items = realloc(periods->items, capacity * sizeof(*items));

		if (items == NULL)
			return clari_error_out_of_memory(error);
		periods->items = items;
		periods->capacity = capacity;
	}
	copy = malloc(id->length + 1);
	if (copy == NULL)
		return clari_error_out_of_memory(error);
	memcpy(copy, id->bytes, id->length);
	period.id = (ClariCell){copy, id->length};
	(void) clari_period_name_of_id(copy, id->length, &period.name);
	period.type = period.name.type;
	periods->last = periods->count;
	periods->items[periods->count++] = period;
	return true;
}

/*
 * Finds the quarter of a period by its number only, because no list of a flat
 * file contains the days of periods, and its rows are written before all
 * periods are known.
 */
static bool
flat_quarter(const ClariRowsetWriter *writer, const ClariFilePeriod *period, ClariPeriod *quarter, ClariError *error)
{
	const ClariPeriodName *name = &period->name;

	if (name->type == CLARI_QUARTERS)
		*quarter = name->year * 4 + name->number - 1;
	else if (name->type == CLARI_MONTHS)
		*quarter = name->year * 4 + (name->number - 1) / CLARI_MONTHS_OF_QUARTER;
	else if (name->type == CLARI_YEARS && clari_period_parse(writer->requested, quarter) && *quarter / 4 == name->year)
		return true;
	else
	{
		clari_error_set(error, CLARI_ERROR_DATA, "the export file is of a period that is not a fiscal quarter");
		clari_error_detail(error, "The period is \"%.*s\".", (int) period->id.length, period->id.bytes);
		return false;
	}
	return true;
}

/*
 * All entries, except those of months and years, must be of the same quarter.
 * The first decides whether the rows are kept.
 */
static bool
check_entry_period(ClariRowsetWriter *writer, const ClariCell *id, ClariError *error)
{
	EntryPeriods *periods = &writer->periods;
	const ClariFilePeriod *period;
	char text[CLARI_PERIOD_TEXT_SIZE];
	ClariPeriod quarter;

	if (find_entry_period(periods, id) < periods->count)
		return true;
	if (!add_entry_period(periods, id, error))
		return false;
	period = &periods->items[periods->last];
	/* In a v4 file, list timePeriods describes other periods; it may come later. */
	if (writer->shape == SHAPE_V4 && period->name.type != CLARI_QUARTERS)
		return true;
	if (!flat_quarter(writer, period, &quarter, error))
		return false;
	clari_period_format(quarter, text);
	if (writer->entry_period[0] != '\0')
		return strcmp(writer->entry_period, text) == 0 || several_periods(writer->entry_period, id, error);
	memcpy(writer->entry_period, text, sizeof(text));
	writer->wrong_period = writer->requested[0] != '\0' && strcmp(writer->requested, text) != 0;
	return true;
}

/* The first entry determines the shape of the file.  All others must have the same. */
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

/* Writes an entry of a flat file as a row. */
static bool
add_flat_row(ClariRowsetWriter *writer, ClariError *error)
{
	ClariPeriodType type = writer->periods.items[writer->periods.last].type;

	if (writer->entry_rows == NULL)
		writer->entry_rows = clari_group_open(&writer->sink, CLARI_ENTRIES);
	if (writer->entry_rows == NULL)
		return clari_error_out_of_memory(error);
	writer->item.cells[CLARI_ENTRY_PERIOD_TYPE] = clari_cell_of_type(type);
	writer->owners[type]++;
	return clari_group_put_row(writer->entry_rows, writer->item.cells, true, error);
}

static bool
add_entry(ClariRowsetWriter *writer, const ClariCell *cells, ClariError *error)
{
	static const int ids[] = {CLARI_ENTRY_USER_ID, CLARI_ENTRY_FIELD_ID, CLARI_ENTRY_TIME_PERIOD_ID,
							  CLARI_ENTRY_TIME_FRAME_ID};
	const ClariAttribute *attributes = clari_lists[CLARI_ENTRIES].attributes;

	if (!check_shape(writer, cells, error))
		return false;
	if (writer->shape == SHAPE_FLAT)
	{
		if (cells[CLARI_ENTRY_TIME_PERIOD_ID].bytes == NULL)
			return lacks_key(CLARI_ENTRIES, attributes[CLARI_ENTRY_TIME_PERIOD_ID].alias, error);
		if (!check_entry_period(writer, &cells[CLARI_ENTRY_TIME_PERIOD_ID], error))
			return false;
		if (writer->wrong_period)
			return true;
		return add_flat_row(writer, error);
	}
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++)
		if (cells[ids[i]].bytes == NULL)
			return lacks_key(CLARI_ENTRIES, attributes[ids[i]].key, error);
	if (!check_entry_period(writer, &cells[CLARI_ENTRY_TIME_PERIOD_ID], error))
		return false;
	if (writer->wrong_period)
		return true;
	if (writer->entries == NULL)
		writer->entries = clari_sorter_open(&writer->output, CLARI_ENTRIES, 3, writer->sort_memory);
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

/* Clari omits empty lists of a job, so the numbers of their elements are 0. */
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
	/* In all other lists, the id is the first attribute. */
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
				(ClariCell){(const char *) &item->carries_forecast, sizeof(int64_t)};
			item->cells[CLARI_FIELD_CARRIES_QUOTA] = (ClariCell){(const char *) &item->carries_quota, sizeof(int64_t)};
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

/* Makes the next user of the sorter, writer->pending_user, the current one. */
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

/* Advances to the next user and writes its row.  Skips repeated users. */
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

/* Finds the items to which an entry refers, and returns their cells by list in from. */
static bool
find_joined(ClariRowsetWriter *writer, const ClariCell *cells, ClariPeriodType type, const ClariCell **from,
			ClariError *error)
{
	uint64_t bit = UINT64_C(1) << type;
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
		field->carries_forecast |= bit;
	if (cells[CLARI_ENTRY_QUOTA_VALUE].bytes != NULL)
		field->carries_quota |= bit;
	from[CLARI_USERS] = writer->user_cells;
	from[CLARI_FIELDS] = field->cells;
	from[CLARI_TIME_FRAMES] = frame->cells;
	return true;
}

/* Writes an entry of a v4 file as a row.  Attributes that it lacks are taken from the items to which it refers. */
static bool
join_entry(ClariRowsetWriter *writer, const char *packed, size_t size, ClariError *error)
{
	const ClariAttribute *attributes = clari_lists[CLARI_ENTRIES].attributes;
	const ClariCell *from[CLARI_LIST_COUNT];
	ClariCell cells[CLARI_ENTRY_COUNT];
	size_t period;
	ClariPeriodType type;
	bool begins_run;

	if (!clari_item_unpack(packed, size, CLARI_ENTRY_COUNT, cells) || cells[CLARI_ENTRY_FIELD_ID].bytes == NULL)
		return damaged(error);
	period = find_entry_period(&writer->periods, &cells[CLARI_ENTRY_TIME_PERIOD_ID]);
	if (period == writer->periods.count)
		return damaged(error);
	type = writer->periods.items[period].type;
	/* The results of the last searches are the user and the frame of the last entry. */
	begins_run = period != writer->run_period || writer->small[CLARI_TIME_FRAMES].last == NULL || !writer->have_user ||
				 !clari_cell_equal(&writer->user_cells[0], &cells[CLARI_ENTRY_USER_ID]) ||
				 !clari_cell_equal(&writer->small[CLARI_TIME_FRAMES].last->cells[0], &cells[CLARI_ENTRY_TIME_FRAME_ID]);
	if (!find_joined(writer, cells, type, from, error))
		return false;
	writer->run_period = period;
	writer->owners[type] += begins_run;
	cells[CLARI_ENTRY_PERIOD_TYPE] = clari_cell_of_type(type);
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

static int32_t
read_day(const ClariCell *cell)
{
	return cell->bytes != NULL && !clari_cell_is_note(cell) ? (int32_t) clari_cell_fixed(cell) : CLARI_DATE_NONE;
}

/*
 * Describes a period by its item in the list.  Its type is that of its id if
 * that can be parsed; otherwise, that of the item's type or else its label.
 */
static void
describe_period(const SmallItem *item, ClariFilePeriod *period)
{
	const ClariCell *type = &item->cells[CLARI_TIME_PERIOD_TYPE];
	const ClariCell *label = &item->cells[CLARI_TIME_PERIOD_LABEL];
	const ClariCell *year = &item->cells[CLARI_TIME_PERIOD_YEAR];
	bool told = clari_period_name_of_id(period->id.bytes, period->id.length, &period->name);
	ClariPeriodName of_year = {.year = 0};

	if (!told && label->bytes != NULL)
		clari_period_name_of_label(label->bytes, label->length, &period->name);
	if (year->bytes != NULL)
		clari_period_name_of_label(year->bytes, year->length, &of_year);
	if (period->name.year == 0)
		period->name.year = of_year.year;
	period->type = !told && type->bytes != NULL ? clari_period_type_read(type->bytes, type->length) : period->name.type;
	if (period->type == CLARI_OTHER_PERIODS)
		period->type = period->name.type;
	period->first = read_day(&item->cells[CLARI_TIME_PERIOD_START_DATE]);
	period->last = read_day(&item->cells[CLARI_TIME_PERIOD_END_DATE]);
}

/*
 * Describes all periods: those of entries, and then the others of the list.
 * Entries' periods must be in the list if there is one.
 */
static bool
describe_periods(ClariRowsetWriter *writer, ClariFilePeriod *periods, size_t *count, ClariError *error)
{
	SmallList *small = &writer->small[CLARI_TIME_PERIODS];
	EntryPeriods *entries = &writer->periods;

	*count = 0;
	for (size_t i = 0; i < entries->count; i++)
	{
		SmallItem *item = find_small(small, &entries->items[i].id);

		if (item == NULL && small->count > 0)
			return unknown_id(CLARI_TIME_PERIODS, &entries->items[i].id, error);
		if (item != NULL)
			describe_period(item, &entries->items[i]);
		periods[(*count)++] = entries->items[i];
	}
	for (size_t i = 0; i < small->count; i++)
	{
		const SmallItem *item = &small->items[i];
		ClariFilePeriod *period = &periods[*count];

		if (item->repeated || find_entry_period(entries, &item->cells[CLARI_TIME_PERIOD_ID]) < entries->count)
			continue;
		*period = (ClariFilePeriod){.id = item->cells[CLARI_TIME_PERIOD_ID]};
		describe_period(item, period);
		(*count)++;
	}
	return true;
}

/*
 * Finds the quarter that the file is of, and its days.  Periods with entries
 * decide before others of list timePeriods.
 */
static bool
find_answered(ClariRowsetWriter *writer, ClariRowsetMeta *meta, ClariError *error)
{
	SmallList *small = &writer->small[CLARI_TIME_PERIODS];
	ClariFilePeriod *periods;
	size_t count;
	bool done;

	if (writer->lines != NULL)
		return clari_line_writer_answer(writer->lines, meta, error);
	if (!index_small(small, CLARI_TIME_PERIODS, error))
		return false;
	periods = malloc((writer->periods.count + small->nsorted + 1) * sizeof(*periods));
	if (periods == NULL)
		return clari_error_out_of_memory(error);
	done = describe_periods(writer, periods, &count, error) &&
		   clari_answer_find(periods, count, writer->requested, &writer->calendar, meta, error);
	free(periods);
	return done;
}

static bool
write_rows(ClariRowsetWriter *writer, ClariRowsetMeta *meta, ClariError *error)
{
	static const ClariList small[] = {CLARI_FIELDS, CLARI_TIME_PERIODS, CLARI_TIME_FRAMES};

	if (writer->lines != NULL)
		return clari_line_writer_write(writer->lines, &writer->sink, meta, error);
	if (!index_small(&writer->small[CLARI_FIELDS], CLARI_FIELDS, error) ||
		!index_small(&writer->small[CLARI_TIME_FRAMES], CLARI_TIME_FRAMES, error))
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
	memcpy(meta->owners, writer->owners, sizeof(meta->owners));
	return true;
}

/* Writes the index and the trailer.  All bytes of the trailer are set, including those after the ends of its texts. */
static bool
write_tail(ClariSink *sink, const ClariRowsetMeta *meta, ClariError *error)
{
	size_t index_length = sink->ngroups * sizeof(ClariGroupIndex);
	ClariRowsetTrailer trailer;

	/* Writes the magic if there is no group. */
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
	clari_numbering_init(&meta->numbering);
	memset(meta->owners, 0, sizeof(meta->owners));
	if (!find_answered(writer, meta, error))
		return false;
	if ((meta->flags & CLARI_ROWSET_WRONG_PERIOD) == 0 && !write_rows(writer, meta, error))
		return false;
	memcpy(meta->rows, writer->sink.rows, sizeof(meta->rows));
	return write_tail(&writer->sink, meta, error);
}
