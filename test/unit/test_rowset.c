/*
 * test_rowset.c
 *		What the rowset's writer and reader promise: rowset.h.
 *
 * Rowsets are made in memory and read back as text, one line per row, so that
 * a promise is a comparison of two texts.
 */
#include "rowset/rowset.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#define PLENTY ((size_t) 8 * 1024 * 1024)

/* ------- where a rowset goes, and what can go wrong there ------- */

typedef struct Target
{
	char *bytes;
	size_t length;
	size_t capacity;
	bool discard;      /* keep the length only */
	int fail_append;   /* the n-th call fails, 0: none */
	bool fail_spill;   /* there is no spill file … */
	bool closed_spill; /* … or one that cannot be written */
	int appends;
	int spills;
	int spill; /* the descriptor given last: the writer's */
} Target;

static bool
target_append(void *arg, const void *bytes, size_t length, ClariError *error)
{
	Target *target = arg;

	if (++target->appends == target->fail_append)
		return clari_error_set(error, CLARI_ERROR_IO, "the disk is full");
	if (!target->discard)
	{
		if (target->length + length > target->capacity)
		{
			target->capacity = (target->length + length) * 2;
			target->bytes = realloc(target->bytes, target->capacity);
		}
		memcpy(target->bytes + target->length, bytes, length);
	}
	target->length += length;
	return true;
}

static int
target_open_spill(void *arg, ClariError *error)
{
	Target *target = arg;
	char name[] = "/tmp/clari_spill_XXXXXX";

	target->spills++;
	if (target->fail_spill)
	{
		clari_error_set(error, CLARI_ERROR_IO, "no spill file today");
		return -1;
	}
	if (target->closed_spill)
		return open("/dev/null", O_RDONLY);
	target->spill = mkstemp(name);
	unlink(name);
	return target->spill;
}

/* A "numeric" for tests: the text in a varlena. */
typedef struct Encoder
{
	_Alignas(8) char bytes[256];
	int calls;
	bool fail;
} Encoder;

static bool
encode(void *arg, const char *text, size_t length, const void **datum, size_t *size, ClariError *error)
{
	Encoder *encoder = arg;
	uint32_t header = (uint32_t) (length + 4) << 2;

	encoder->calls++;
	if (encoder->fail)
		return clari_error_set(error, CLARI_ERROR_DATA, "no number");
	memcpy(encoder->bytes, &header, 4);
	memcpy(encoder->bytes + 4, text, length);
	*datum = encoder->bytes;
	*size = length + 4;
	return true;
}

/* ------- items ------- */

typedef struct Item
{
	ClariList list;
	ClariValue values[CLARI_MAX_ATTRIBUTES];
} Item;

static ClariValue
text(const char *data)
{
	return (ClariValue){.kind = CLARI_VALUE_STRING, .length = (uint32_t) strlen(data), .data = data};
}

static ClariValue
number(const char *data)
{
	return (ClariValue){.kind = CLARI_VALUE_NUMBER, .length = (uint32_t) strlen(data), .data = data};
}

static ClariValue
boolean(bool value)
{
	return (ClariValue){.kind = CLARI_VALUE_BOOL, .boolean = value};
}

static Item
entry(const char *user, const char *frame, const char *field, const char *forecast)
{
	Item item = {.list = CLARI_ENTRIES};

	item.values[CLARI_ENTRY_USER_ID] = text(user);
	item.values[CLARI_ENTRY_TIME_FRAME_ID] = text(frame);
	item.values[CLARI_ENTRY_FIELD_ID] = text(field);
	item.values[CLARI_ENTRY_TIME_PERIOD_ID] = text("2026_Q1");
	if (forecast != NULL)
		item.values[CLARI_ENTRY_FORECAST_VALUE] = number(forecast);
	return item;
}

static Item
flat(const char *owner, const char *amount, const char *period)
{
	Item item = {.list = CLARI_ENTRIES};

	item.values[CLARI_ENTRY_OWNER_NAME] = text(owner);
	item.values[CLARI_ENTRY_FORECAST_VALUE] = number(amount);
	item.values[CLARI_ENTRY_TIME_PERIOD_ID] = text(period);
	return item;
}

static Item
user(const char *id, const char *name)
{
	Item item = {.list = CLARI_USERS};

	item.values[CLARI_USER_USER_ID] = text(id);
	item.values[CLARI_USER_NAME] = text(name);
	return item;
}

static Item
field(const char *id, const char *name)
{
	Item item = {.list = CLARI_FIELDS};

	item.values[CLARI_FIELD_FIELD_ID] = text(id);
	item.values[CLARI_FIELD_FIELD_NAME] = text(name);
	return item;
}

static Item
frame(const char *id, const char *start, const char *end)
{
	Item item = {.list = CLARI_TIME_FRAMES};

	item.values[CLARI_TIME_FRAME_ID] = text(id);
	item.values[CLARI_TIME_FRAME_START_DATE] = text(start);
	item.values[CLARI_TIME_FRAME_END_DATE] = text(end);
	return item;
}

static Item
period(const char *id, const char *end)
{
	Item item = {.list = CLARI_TIME_PERIODS};

	item.values[CLARI_TIME_PERIOD_ID] = text(id);
	item.values[CLARI_TIME_PERIOD_YEAR] = number("2026");
	item.values[CLARI_TIME_PERIOD_END_DATE] = text(end);
	return item;
}

/* ------- writing ------- */

typedef struct Made
{
	Target target;
	Encoder encoder;
	ClariRowsetMeta meta;
	ClariError error;
	bool done;
} Made;

static ClariCalendar known_calendar;

static ClariRowsetWriter *
open_writer(Made *made, const char *requested, size_t memory)
{
	ClariRowsetOutput output = {&made->target, target_append, target_open_spill};
	ClariRowsetWriter *writer = clari_rowset_writer_open(&output, encode, &made->encoder, requested, memory);

	clari_rowset_writer_set_calendar(writer, &known_calendar);
	return writer;
}

static void
make_meta(ClariRowsetMeta *meta, const char *requested)
{
	memset(meta, 0, sizeof(*meta));
	meta->key.bytes[0] = 7;
	meta->generation = 3;
	snprintf(meta->base_url, sizeof(meta->base_url), "https://api.clari.com/v4");
	snprintf(meta->forecast, sizeof(meta->forecast), "net_arr");
	snprintf(meta->requested, sizeof(meta->requested), "%s", requested);
	snprintf(meta->job_id, sizeof(meta->job_id), "6073683781a6da229df71e00");
	meta->posted_at = 1;
	meta->exported_at = 2;
	meta->cache_ttl = 3;
	meta->closed_period_ttl = 4;
}

/* Writes the items; made may be set up to fail. */
static bool
make(Made *made, const char *requested, size_t memory, const Item *items, size_t count)
{
	ClariRowsetWriter *writer = open_writer(made, requested, memory);

	made->done = true;
	for (size_t i = 0; i < count && made->done; i++)
		made->done = clari_rowset_writer_add(writer, items[i].list, items[i].values, &made->error);
	make_meta(&made->meta, requested);
	if (made->done)
		made->done = clari_rowset_writer_finish(writer, &made->meta, &made->error);
	clari_rowset_writer_close(writer);
	return made->done;
}

static void
drop(Made *made)
{
	free(made->target.bytes);
	memset(made, 0, sizeof(*made));
}

/* ------- reading ------- */

typedef struct Rowset
{
	ClariRowsetTrailer trailer;
	ClariGroupIndex *index;
	const char *bytes; /* 8-aligned */
} Rowset;

static bool
load(Rowset *rowset, const char *bytes, size_t length, ClariError *error)
{
	size_t index_length;

	memset(rowset, 0, sizeof(*rowset));
	if (length < sizeof(rowset->trailer))
		return clari_error_set(error, CLARI_ERROR_CORRUPT, "short");
	memcpy(&rowset->trailer, bytes + length - sizeof(rowset->trailer), sizeof(rowset->trailer));
	if (!clari_rowset_check_trailer(&rowset->trailer, length, error))
		return false;
	index_length = rowset->trailer.ngroups * sizeof(ClariGroupIndex);
	rowset->index = malloc(index_length + 1);
	memcpy(rowset->index, bytes + rowset->trailer.index_offset, index_length);
	rowset->bytes = bytes;
	return clari_rowset_check_index(&rowset->trailer, rowset->index, error);
}

static void
print_cell(FILE *out, ClariList list, int position, const ClariChunk *chunk, uint32_t row)
{
	ClariType type = clari_lists[list].attributes[position].type;

	if (type == CLARI_TEXT || type == CLARI_NUMERIC)
	{
		const char *varlena = clari_chunk_varlena(chunk, row);
		uint32_t header;

		if (varlena == NULL)
		{
			fputs("|", out);
			return;
		}
		memcpy(&header, varlena, sizeof(header));
		fprintf(out, "|'%.*s'", (int) (header >> 2) - 4, varlena + 4);
	}
	else if (clari_chunk_fixed(chunk, row) == CLARI_FIXED_NULL)
		fputs("|", out);
	else
		fprintf(out, "|%lld", (long long) clari_chunk_fixed(chunk, row));
}

static bool
print_group(FILE *out, const Rowset *rowset, const ClariGroupIndex *group, ClariError *error)
{
	ClariChunk chunks[CLARI_CHUNK_COUNT];
	uint32_t run = 0;

	for (int i = 0; i < CLARI_CHUNK_COUNT; i++)
		if (!clari_chunk_open(group, i, rowset->bytes + group->offset + group->chunks[i].offset, true, &chunks[i],
							  error))
			return false;
	for (uint32_t row = 0; row < group->nrows; row++)
	{
		fputs(clari_lists[group->list].key, out);
		if (run < group->nruns && chunks[CLARI_RUNS_CHUNK].offsets[run] == row)
		{
			fputs("*", out);
			run++;
		}
		for (int i = 0; i < clari_lists[group->list].nattributes; i++)
			print_cell(out, group->list, i, &chunks[i], row);
		fputs("\n", out);
	}
	return true;
}

/* All rows of a list (-1: of all, list by list) as text; malloc'd; NULL when a check fails. */
static char *
print_rows(const char *bytes, size_t length, int only, ClariError *error)
{
	Rowset rowset;
	char *result = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&result, &size);
	bool valid = load(&rowset, bytes, length, error);

	for (int list = 0; list < CLARI_LIST_COUNT && valid; list++)
		for (uint32_t i = 0; i < rowset.trailer.ngroups && valid; i++)
			if ((int) rowset.index[i].list == list && (only < 0 || only == list))
				valid = print_group(out, &rowset, &rowset.index[i], error);
	free(rowset.index);
	fclose(out);
	if (!valid)
	{
		free(result);
		return NULL;
	}
	return result;
}

static char *
print_made(Made *made, int only)
{
	char *result = NULL;

	if (made->done)
		result = print_rows(made->target.bytes, made->target.length, only, &made->error);
	if (result == NULL)
		printf("# %s: %s\n", made->error.message, made->error.detail);
	return result;
}

/* The rows that the items give must be these. */
static void
gives(const char *name, const Item *items, size_t count, int list, const char *expected)
{
	Made made = {0};
	char *rows;

	make(&made, "", PLENTY, items, count);
	rows = print_made(&made, list);
	is(rows, expected, name);
	free(rows);
	drop(&made);
}

/* The items must be refused with this message, and the detail must name what it is about. */
static void
refuses(const char *name, const Item *items, size_t count, const char *message, const char *detail)
{
	Made made = {0};

	make(&made, "", PLENTY, items, count);
	ok(!made.done && made.error.code == CLARI_ERROR_DATA && strstr(made.error.message, message) != NULL &&
		   strstr(made.error.detail, detail) != NULL,
	   "%s", name);
	if (made.done || strstr(made.error.message, message) == NULL || strstr(made.error.detail, detail) == NULL)
		printf("# %s: %s\n", made.error.message, made.error.detail);
	drop(&made);
}

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ------- shapes ------- */

static const char *const small_rows =
	"entries*|'u1'|'w1'|'2026_Q1'|'f1'|'Ann'|||||'Amount'||9496|9502|'10.50'|||||1||837820800000000|||||'quarter'\n"
	"entries|'u1'|'w1'|'2026_Q1'|'f2'|'Ann'|||||'Quota'||9496|9502||'99'|||||||||||'quarter'\n"
	"entries*|'u1'|'w2'|'2026_Q1'|'f1'|'Ann'|||||'Amount'||9503|9509|'7'||||||||||||'quarter'\n"
	"entries*|'u2'|'w1'|'2026_Q1'|'f1'|'Bob'|||||'Amount'||9496|9502|'10.50'||||||||||||'quarter'\n"
	"users|'u1'|'Ann'|||||||\n"
	"users|'u2'|'Bob'|||||||\n"
	"users|'u3'|'Cy'|||||||\n"
	"fields|'f1'|'Amount'||1|0\n"
	"fields|'f2'|'Quota'||0|1\n"
	"fields|'f3'|'Unused'||0|0\n"
	"timePeriods|'2026_Q1'|||'2026'||9586|\n"
	"timeFrames|'w1'|9496|9502\n"
	"timeFrames|'w2'|9503|9509\n";

static size_t
small_items(Item *items)
{
	Item list[] = {entry("u1", "w2", "f1", "7"),
				   entry("u2", "w1", "f1", "10.50"),
				   entry("u1", "w1", "f1", "10.50"),
				   entry("u1", "w1", "f2", NULL),
				   user("u3", "Cy"),
				   user("u1", "Ann"),
				   user("u2", "Bob"),
				   field("f1", "Amount"),
				   field("f2", "Quota"),
				   field("f3", "Unused"),
				   period("2026_Q1", "2026-03-31"),
				   frame("w1", "2025-12-31", "2026-01-06"),
				   frame("w2", "2026-01-07", "2026-01-13")};

	list[2].values[CLARI_ENTRY_IS_UPDATED] = boolean(true);
	list[2].values[CLARI_ENTRY_UPDATED_ON] = number("1784505600000");
	list[3].values[CLARI_ENTRY_QUOTA_VALUE] = number("99");
	memcpy(items, list, sizeof(list));
	return COUNT(list);
}

/* The index-th permutation of the five lists. */
static void
order_lists(int index, int *order)
{
	int left[CLARI_FILE_LISTS] = {0, 1, 2, 3, 4};

	for (int n = CLARI_FILE_LISTS; n > 0; n--)
	{
		int pick = index % n;

		index /= n;
		order[CLARI_FILE_LISTS - n] = left[pick];
		memmove(left + pick, left + pick + 1, (size_t) (n - pick - 1) * sizeof(int));
	}
}

static void
test_list_orders(void)
{
	Item items[32];
	Item ordered[32];
	size_t count = small_items(items);
	int same = 0;

	for (int i = 0; i < 120; i++)
	{
		Made made = {0};
		int order[CLARI_FILE_LISTS];
		size_t n = 0;
		char *rows;

		order_lists(i, order);
		for (int list = 0; list < CLARI_FILE_LISTS; list++)
			for (size_t k = 0; k < count; k++)
				if ((int) items[k].list == order[list])
					ordered[n++] = items[k];
		make(&made, "2026_Q1", PLENTY, ordered, n);
		rows = print_made(&made, -1);
		if (rows != NULL && strcmp(rows, small_rows) == 0)
			same++;
		else if (same == i)
			is(rows, small_rows, "the rows of the first order that differs");
		free(rows);
		drop(&made);
	}
	ok(same == 120, "a v4 file gives the same joined, grouped rows in each of 120 orders of its lists (%d)", same);
}

static void
test_meta(void)
{
	Item items[32];
	size_t count = small_items(items);
	Made made = {0};
	Rowset rowset;

	make(&made, "2026_Q1", PLENTY, items, count);
	ok(made.done && load(&rowset, made.target.bytes, made.target.length, &made.error), "a rowset loads");
	ok(clari_rowset_check(made.target.bytes, made.target.length, &made.error), "and passes as a whole");
	ok(memcmp(&rowset.trailer.meta, &made.meta, sizeof(made.meta)) == 0, "the trailer holds the completed metadata");
	is(made.meta.answered, "2026_Q1", "the answered quarter is that of the first time period");
	ok(made.meta.period_end == 9586 && made.meta.period_start == CLARI_DATE_NONE && made.meta.flags == 0,
	   "its end date is known");
	ok(made.meta.rows[CLARI_ENTRIES] == 4 && made.meta.rows[CLARI_USERS] == 3 && clari_rowset_owners(&made.meta) == 3,
	   "rows and owners are counted");
	ok(made.target.spills == 0, "what fits in memory makes no spill file");
	ok(memcmp(made.target.bytes, CLARI_ROWSET_MAGIC, 8) == 0, "the file begins with the magic");
	free(rowset.index);
	drop(&made);
}

static void
test_flat(void)
{
	Item items[] = {flat("Zoe", "3", "2026_Q1"), flat("Ann", "1", "2026_Q1"), flat("Zoe", "2", "2026_Q1"),
					user("u1", "Ann")};
	Made made = {0};
	char *rows;

	make(&made, "2026_Q1", PLENTY, items, COUNT(items));
	rows = print_made(&made, -1);
	is(rows,
	   "entries*|||'2026_Q1'||'Zoe'|||||||||'3'||||||||||||'quarter'\n"
	   "entries*|||'2026_Q1'||'Ann'|||||||||'1'||||||||||||'quarter'\n"
	   "entries*|||'2026_Q1'||'Zoe'|||||||||'2'||||||||||||'quarter'\n"
	   "users|'u1'|'Ann'|||||||\n",
	   "a flat file's entries keep their order, each a run of its own; other lists are kept");
	ok(made.meta.flags == CLARI_ROWSET_FLAT && clari_rowset_owners(&made.meta) == 3 &&
		   made.meta.period_end == CLARI_DATE_NONE,
	   "the metadata says that it is flat");
	free(rows);
	drop(&made);
}

/* ------- lines ------- */

static Item
line(const char *owner, const char *week, const char *start, const char *end, const char *name)
{
	Item item = {.list = CLARI_LINES};

	item.values[CLARI_LINE_USER] = text(owner);
	item.values[CLARI_LINE_EMAIL] = text("ann@x");
	item.values[CLARI_LINE_TIMEFRAME] = text("Q1 FY 2026");
	item.values[CLARI_LINE_FIELD] = text(name);
	item.values[CLARI_LINE_WEEK] = text(week);
	item.values[CLARI_LINE_START_DAY] = text(start);
	item.values[CLARI_LINE_END_DAY] = text(end);
	return item;
}

static Item
with(Item item, int position, ClariValue value)
{
	item.values[position] = value;
	return item;
}

/* 2026_Q1 is from 9497 to 9586 here, the calendar year's. */
static void
know_calendar(void)
{
	known_calendar = (ClariCalendar){.count = 1, .quarters = {{.first = 9497, .last = 9586}}};
	clari_period_parse("2026_Q1", &known_calendar.quarters[0].period);
}

static void
test_lines(void)
{
	Item ann = line("Ann", "2", "2026-01-07", "2026-01-13", "Commit");
	Item bob = line("Bob", "2", "2026-01-07", "2026-01-13", "Commit");
	Item quota = line("Ann", "2", "2026-01-07", "2026-01-13", "Plan");
	Item first = line("Ann", "1", "2025-12-31", "2026-01-06", "Commit");
	/* values of one entry apart, in no order */
	Item items[] = {
		with(bob, CLARI_LINE_FORECAST_VALUE, number("3")),   with(ann, CLARI_LINE_FORECAST_VALUE, number("10.50")),
		with(quota, CLARI_LINE_QUOTA_VALUE, number("99")),   with(first, CLARI_LINE_CRM_TOTAL, number("1")),
		with(ann, CLARI_LINE_IS_UPDATED, boolean(true)),     with(bob, CLARI_LINE_FORECAST_VALUE, number("3")),
		with(ann, CLARI_LINE_ADJUSTMENT_VALUE, number("-2"))};
	static const char *const rows =
		"entries*|||'Q1 FY 2026'|'Commit'|'Ann'|'ann@x'||||'Commit'||9496|9502||||'1'|||||||||'quarter'\n"
		"entries*|||'Q1 FY 2026'|'Commit'|'Ann'|'ann@x'||||'Commit'||9503|9509|'10.50'||'-2'|||1|||||||'quarter'\n"
		"entries|||'Q1 FY 2026'|'Plan'|'Ann'|'ann@x'||||'Plan'||9503|9509||'99'|||||||||||'quarter'\n"
		"entries*|||'Q1 FY 2026'|'Commit'|'Bob'|'ann@x'||||'Commit'||9503|9509|'3'||||||||||||'quarter'\n"
		"users||'Ann'|'ann@x'||||||\n"
		"users||'Bob'|'ann@x'||||||\n"
		"fields|'Commit'|'Commit'||1|0\n"
		"fields|'Plan'|'Plan'||0|1\n";
	size_t memories[] = {PLENTY, 1000};

	know_calendar();
	for (size_t i = 0; i < COUNT(memories); i++)
	{
		Made made = {0};
		char *got;

		make(&made, "2026_Q1", memories[i], items, COUNT(items));
		got = print_made(&made, -1);
		is(got, rows, "lines become entries, grouped by user and week");
		is(made.meta.answered, "2026_Q1", "… of the quarter asked for");
		ok(made.meta.period_start == 9497 && made.meta.period_end == 9586 && made.meta.flags == 0 &&
			   clari_rowset_owners(&made.meta) == 3,
		   "… whose days are known");
		ok(clari_rowset_check(made.target.bytes, made.target.length, &made.error), "… and pass as a whole");
		free(got);
		drop(&made);
	}
	items[4] = with(ann, CLARI_LINE_FORECAST_VALUE, number("10.51"));
	refuses("a value twice, and not the same", items, COUNT(items), "gives a value of an entry twice",
			"different \"forecast_value\" are of user \"Ann\", field \"Commit\"");
	known_calendar.count = 0;
}

/* Whatever column two lines differ in, they are of two entries; if they do in none, of one. */
static void
test_keys_of_lines(void)
{
	static const char *const names[] = {"User",    "Email", "CRM User ID", "Role",      "Parent Role", "Start Day",
										"End Day", "Week",  "Timeframe",   "other one", "Field",       "nothing"};
	Item ann = line("Ann", "2", "2026-01-07", "2026-01-13", "Commit");

	know_calendar();
	for (int i = 0; i <= CLARI_LINE_KEYS; i++)
	{
		bool is_day = i == CLARI_LINE_START_DAY || i == CLARI_LINE_END_DAY;
		bool differ = i < CLARI_LINE_KEYS;
		Item other = differ ? with(ann, i, text(is_day ? "2026-01-08" : "3")) : ann;
		/* one's values on both sides of the other's */
		Item items[] = {with(ann, CLARI_LINE_FORECAST_VALUE, number("1")),
						with(other, CLARI_LINE_ADJUSTMENT_VALUE, number("2")),
						with(ann, CLARI_LINE_QUOTA_VALUE, number("3"))};
		Made made = {0};

		make(&made, "2026_Q1", PLENTY, items, COUNT(items));
		ok(made.done && made.meta.rows[CLARI_ENTRIES] == (differ ? 2 : 1), "lines that differ in %s", names[i]);
		drop(&made);
	}
	known_calendar.count = 0;
}

/* A line of these days, asked for: what it is taken to answer, or the error. */
static void
line_answers(const char *requested, const char *week, const char *start, const char *end, const char *expected)
{
	Item item = line("Ann", week, start, end, "Commit");
	Made made = {0};

	if (*start == '\0')
		item.values[CLARI_LINE_START_DAY].kind = CLARI_VALUE_NULL;
	make(&made, requested, PLENTY, &item, 1);
	ok(made.done ? strcmp(made.meta.answered, expected) == 0 &&
					   made.meta.flags ==
						   (*requested == '\0' || strcmp(requested, expected) == 0 ? 0 : CLARI_ROWSET_WRONG_PERIOD) &&
					   (made.meta.rows[CLARI_ENTRIES] == 0) == (made.meta.flags != 0)
				 : strstr(made.error.message, expected) != NULL,
	   "asked for \"%s\", week \"%s\" from %s to %s: %s", requested, week, start, end, expected);
	if (!made.done)
		printf("# %s: %s\n", made.error.message, made.error.detail);
	drop(&made);
}

static void
test_quarter_of_lines(void)
{
	Item weeks[] = {line("Ann", "1", "2026-01-01", "2026-01-06", "Commit"),
					line("Ann", "1", "2026-04-01", "2026-04-06", "Commit")};
	Made made = {0};

	line_answers("2026_Q1", "2", "2026-01-07", "2026-01-13",
				 "calendar that gives the quarter of a CSV export is not known");
	line_answers("", "2", "2026-01-07", "2026-01-13", "calendar that gives the quarter of a CSV export is not known");
	know_calendar();
	line_answers("2026_Q1", "2", "2026-01-07", "2026-01-13", "2026_Q1");
	line_answers("", "2", "2026-01-07", "2026-01-13", "2026_Q1");
	line_answers("2026_Q1", "2", "2026-04-07", "2026-04-13", "2026_Q2");
	line_answers("2027_Q3", "2", "2026-01-07", "2026-01-13", "2026_Q1");
	/* what lies over the border is of the quarter that its number tells */
	line_answers("2026_Q1", "1", "2025-12-31", "2026-01-06", "2026_Q1");
	line_answers("2026_Q1", "14", "2026-03-28", "2026-04-03", "2026_Q1");
	line_answers("2026_Q1", "1", "2026-03-28", "2026-04-03", "2026_Q2");
	line_answers("2026_Q1", "14", "2025-12-31", "2026-01-06", "2025_Q4");
	line_answers("2026_Q1", "0", "2025-12-31", "2025-12-31", "2026_Q1");
	line_answers("2026_Q1", "0", "2026-03-31", "2026-03-31", "2026_Q2");
	/* without a number, both days are needed */
	line_answers("2026_Q1", "", "2026-01-01", "2026-03-31", "2026_Q1");
	line_answers("2026_Q1", "W2", "2026-01-07", "2026-01-13", "2026_Q1");
	line_answers("2026_Q1", "", "2025-12-31", "2026-01-06", "does not show which fiscal quarter");
	line_answers("2026_Q1", "2", "", "2026-01-13", "does not show which fiscal quarter");

	make(&made, "2026_Q2", PLENTY, weeks, COUNT(weeks));
	ok(made.done && made.meta.flags == 0 && made.meta.rows[CLARI_ENTRIES] == 2,
	   "a file of which anything is of the quarter is of it");
	drop(&made);
	make(&made, "", PLENTY, weeks, COUNT(weeks));
	ok(!made.done && strstr(made.error.detail, "both \"2026_Q1\" and \"2026_Q2\"") != NULL,
	   "but which is the current one does not follow from two");
	drop(&made);
	known_calendar.count = 0;
}

static void
test_empty(void)
{
	Made made = {0};
	char *rows;

	make(&made, "", PLENTY, NULL, 0);
	rows = print_made(&made, -1);
	is(rows, "", "a file without items is a rowset without groups");
	ok(made.target.length == 8 + sizeof(ClariRowsetTrailer) && made.meta.answered[0] == '\0',
	   "magic and trailer alone");
	free(rows);
	drop(&made);
}

/* Own values win over joined ones. */
static void
test_own_values(void)
{
	Item items[] = {entry("u1", "w1", "f1", "1"), user("u1", "Ann"), field("f1", "Amount"),
					frame("w1", "2026-01-01", "2026-01-07")};

	items[0].values[CLARI_ENTRY_OWNER_NAME] = text("Own");
	items[1].values[CLARI_USER_EMAIL] = text("a@x");
	items[1].values[CLARI_USER_HIERARCHY_NAME] = text("");
	gives("an entry's own values win over its user's; empty texts are not NULL", items, COUNT(items), CLARI_ENTRIES,
		  "entries*|'u1'|'w1'|'2026_Q1'|'f1'|'Own'|'a@x'||''||'Amount'||9497|9503|'1'||||||||||||'quarter'\n");
}

/* ------- size ------- */

typedef struct Ids
{
	char user[32];
	char frame[16];
	char field[32];
	char amount[32];
} Ids;

/* n entries of nusers users in shuffled order, with their lists, into the writer. */
static bool
add_many(ClariRowsetWriter *writer, uint32_t n, uint32_t nusers, uint32_t nfields, bool shuffled, ClariError *error)
{
	bool done = true;
	Item item;
	Ids ids;

	for (uint32_t i = 0; i < n && done; i++)
	{
		/* a prime: every index once */
		uint32_t k = shuffled ? (uint32_t) ((uint64_t) i * 611953 % n) : i;

		snprintf(ids.user, sizeof(ids.user), "60736%08x", (k / nfields) % nusers);
		snprintf(ids.frame, sizeof(ids.frame), "w%u", k / nfields / nusers);
		snprintf(ids.field, sizeof(ids.field), "field-%u", k % nfields);
		snprintf(ids.amount, sizeof(ids.amount), "%u.%02u", k * 7 % 100003, k % 100);
		item = entry(ids.user, ids.frame, ids.field, ids.amount);
		item.values[CLARI_ENTRY_CRM_TOTAL] = number(ids.amount);
		item.values[CLARI_ENTRY_IS_UPDATED] = boolean(k % 3 == 0);
		item.values[CLARI_ENTRY_UPDATED_ON] = number("1784505600000");
		item.values[CLARI_ENTRY_CURRENCY] = text("USD");
		done = clari_rowset_writer_add(writer, CLARI_ENTRIES, item.values, error);
	}
	for (uint32_t i = 0; i < nusers && done; i++)
	{
		char email[64];

		snprintf(ids.user, sizeof(ids.user), "60736%08x", (uint32_t) ((uint64_t) i * 611953 % nusers));
		snprintf(email, sizeof(email), "%s@example.com", ids.user);
		item = user(ids.user, ids.user);
		item.values[CLARI_USER_EMAIL] = text(email);
		item.values[CLARI_USER_HIERARCHY_NAME] = text(i % 2 ? "East" : "West");
		done = clari_rowset_writer_add(writer, CLARI_USERS, item.values, error);
	}
	for (uint32_t i = 0; i < nfields && done; i++)
	{
		snprintf(ids.field, sizeof(ids.field), "field-%u", i);
		item = field(ids.field, "Field");
		done = clari_rowset_writer_add(writer, CLARI_FIELDS, item.values, error);
	}
	for (uint32_t i = 0; i <= n / nfields / nusers && done; i++)
	{
		snprintf(ids.frame, sizeof(ids.frame), "w%u", i);
		item = frame(ids.frame, "2026-01-01", "2026-01-07");
		done = clari_rowset_writer_add(writer, CLARI_TIME_FRAMES, item.values, error);
	}
	return done;
}

static void
make_many(Made *made, size_t memory, uint32_t n, uint32_t nusers, uint32_t nfields, bool shuffled)
{
	ClariRowsetWriter *writer = open_writer(made, "", memory);

	make_meta(&made->meta, "");
	made->done = add_many(writer, n, nusers, nfields, shuffled, &made->error) &&
				 clari_rowset_writer_finish(writer, &made->meta, &made->error);
	clari_rowset_writer_close(writer);
}

static void
test_spill(void)
{
	static const size_t memories[] = {1, 1000, 20000, 100000, 400000};
	Made whole = {0};
	Made ordered = {0};
	char *rows;
	char *ordered_rows;

	make_many(&whole, PLENTY, 20000, 1000, 5, true);
	make_many(&ordered, PLENTY, 20000, 1000, 5, false);
	rows = print_made(&whole, CLARI_USERS);
	ordered_rows = print_made(&ordered, CLARI_USERS);
	ok(rows != NULL && whole.target.spills == 0 && clari_rowset_owners(&whole.meta) == 4000,
	   "20000 shuffled entries without spilling");
	is(rows, ordered_rows, "and users are the same as in order");
	for (size_t i = 0; i < COUNT(memories); i++)
	{
		Made spilled = {0};

		make_many(&spilled, memories[i], 20000, 1000, 5, true);
		ok(spilled.done && spilled.target.spills > 0 && spilled.target.length == whole.target.length &&
			   memcmp(spilled.target.bytes, whole.target.bytes, whole.target.length) == 0,
		   "sorting with %zu bytes of memory spills and gives the very same bytes", memories[i]);
		drop(&spilled);
	}
	free(rows);
	free(ordered_rows);
	drop(&whole);
	drop(&ordered);
}

/* Are all rows of a run, and of one user and frame, in one group? */
static void
test_groups(void)
{
	Made made = {0};
	Rowset rowset;
	const uint32_t full = (CLARI_GROUP_ROWS + 4) / 5 * 5;
	uint32_t entries = 0;
	bool whole = true;

	make_many(&made, PLENTY, 30000, 6000, 5, true);
	ok(load(&rowset, made.target.bytes, made.target.length, &made.error), "30000 entries in runs of five load");
	for (uint32_t i = 0; i < rowset.trailer.ngroups; i++)
	{
		const ClariGroupIndex *group = &rowset.index[i];

		if (group->list != CLARI_ENTRIES)
			continue;
		entries++;
		whole = whole && group->nrows % 5 == 0 && group->nruns == group->nrows / 5 && group->offset % 8 == 0;
		whole = whole && (group->nrows == full || group->nrows == 30000 % full);
	}
	ok(entries == 30000 / full + 1 && whole,
	   "a group is closed at the first end of a run from %d rows on: no run straddles", CLARI_GROUP_ROWS);
	free(rowset.index);
	drop(&made);
}

/* A group of wide rows is closed early. */
static void
test_wide_rows(void)
{
	static char wide[200000];
	ClariRowsetWriter *writer;
	Made made = {0};
	Rowset rowset;

	memset(wide, 'x', sizeof(wide) - 1);
	writer = open_writer(&made, "", PLENTY);
	made.done = true;
	for (int i = 0; i < 100 && made.done; i++)
	{
		Item item = flat(wide, "1", "2026_Q1");

		snprintf(wide, 16, "%015d", i);
		wide[15] = 'x';
		made.done = clari_rowset_writer_add(writer, CLARI_ENTRIES, item.values, &made.error);
	}
	make_meta(&made.meta, "");
	ok(made.done && clari_rowset_writer_finish(writer, &made.meta, &made.error) &&
		   load(&rowset, made.target.bytes, made.target.length, &made.error),
	   "rows of 200 kB are kept");
	ok(rowset.trailer.ngroups == 5 && rowset.index[0].nrows == 21, "in groups of about 4 MB");
	free(rowset.index);
	clari_rowset_writer_close(writer);
	drop(&made);
}

/* One run that is too long. */
static void
test_long_run(void)
{
	static char wide[1000000];
	ClariRowsetWriter *writer;
	Made made = {.target.discard = true};
	Item list[] = {user("u", "U"), field("f", "F"), frame("w", "2026-01-01", "2026-01-07")};

	memset(wide, 'x', sizeof(wide) - 1);
	writer = open_writer(&made, "", PLENTY);
	made.done = true;
	for (size_t i = 0; i < COUNT(list); i++)
		made.done = made.done && clari_rowset_writer_add(writer, list[i].list, list[i].values, &made.error);
	for (int i = 0; i < 70 && made.done; i++)
	{
		Item item = entry("u", "w", "f", "1");

		snprintf(wide, 16, "%015d", i);
		wide[15] = 'x';
		item.values[CLARI_ENTRY_UPDATED_BY] = text(wide);
		made.done = clari_rowset_writer_add(writer, CLARI_ENTRIES, item.values, &made.error);
	}
	make_meta(&made.meta, "");
	ok(made.done && !clari_rowset_writer_finish(writer, &made.meta, &made.error) &&
		   made.error.code == CLARI_ERROR_LIMIT && strstr(made.error.detail, "\"u\"") != NULL,
	   "a run that no group can hold is refused");
	clari_rowset_writer_close(writer);
	drop(&made);
}

/* ------- encodings ------- */

static void
test_encodings(void)
{
	Made made = {0};
	Rowset rowset;
	const ClariGroupIndex *group;

	make_many(&made, PLENTY, 4000, 2000, 2, true);
	ok(load(&rowset, made.target.bytes, made.target.length, &made.error), "4000 entries load");
	group = &rowset.index[0];
	if (group->list != CLARI_ENTRIES)
		group = &rowset.index[1];
	ok(group->chunks[CLARI_ENTRY_CURRENCY].encoding == CLARI_ENCODING_CONSTANT &&
		   group->chunks[CLARI_ENTRY_TIME_PERIOD_ID].encoding == CLARI_ENCODING_CONSTANT,
	   "one value in all rows is a constant");
	ok(group->chunks[CLARI_ENTRY_FIELD_ID].encoding == CLARI_ENCODING_DICTIONARY &&
		   group->chunks[CLARI_ENTRY_FIELD_ID].ndistinct == 2,
	   "two values alternating are a dictionary of two");
	ok(group->chunks[CLARI_ENTRY_FORECAST_VALUE].encoding == CLARI_ENCODING_PLAIN, "distinct values are plain");
	ok(group->chunks[CLARI_ENTRY_QUOTA_VALUE].encoding == CLARI_ENCODING_NULL &&
		   group->chunks[CLARI_ENTRY_QUOTA_VALUE].length == 0,
	   "no value at all takes no bytes");
	ok(group->chunks[CLARI_ENTRY_IS_UPDATED].encoding == CLARI_ENCODING_FIXED &&
		   group->chunks[CLARI_ENTRY_UPDATED_ON].encoding == CLARI_ENCODING_FIXED,
	   "booleans and times are of fixed width");
	ok(group->chunks[CLARI_RUNS_CHUNK].encoding == CLARI_ENCODING_RUNS && group->nruns == group->nrows / 2,
	   "entries have runs");
	free(rowset.index);
	drop(&made);
}

/* Opens a chunk, checked. */
static ClariChunk
open_checked(const Rowset *rowset, const ClariGroupIndex *group, int position)
{
	ClariChunk chunk;
	ClariError error;

	if (!clari_chunk_open(group, position, rowset->bytes + group->offset + group->chunks[position].offset, true, &chunk,
						  &error))
		ok(false, "a chunk opens: %s", error.message);
	return chunk;
}

/* A value without its hash would never be found. */
static void
test_hashes(void)
{
	Made made = {0};
	Rowset rowset;
	int missing = 0;
	int hashed = 0;

	make_many(&made, PLENTY, 4000, 2000, 2, true);
	ok(load(&rowset, made.target.bytes, made.target.length, &made.error), "4000 entries load");
	for (uint32_t g = 0; g < rowset.trailer.ngroups; g++)
	{
		const ClariGroupIndex *group = &rowset.index[g];

		for (int i = 0; i < CLARI_HASHED_ATTRIBUTES; i++)
		{
			ClariChunk values;
			ClariChunk hashes;

			if (group->chunks[CLARI_HASHES_CHUNK + i].encoding == CLARI_ENCODING_NULL)
				continue;
			values = open_checked(&rowset, group, clari_hashed_attributes[i]);
			hashes = open_checked(&rowset, group, CLARI_HASHES_CHUNK + i);
			for (uint32_t row = 0; row < group->nrows; row++)
			{
				const char *value = clari_chunk_varlena(&values, row);
				uint32_t header;
				uint32_t k = 0;

				if (value == NULL)
					continue;
				memcpy(&header, value, sizeof(header));
				while (k < hashes.ndistinct && hashes.codes[k] != clari_rowset_hash(value + 4, (header >> 2) - 4))
					k++;
				hashed++;
				missing += k == hashes.ndistinct;
			}
		}
	}
	ok(hashed >= 4000 && missing == 0, "each of %d values has its hash beside it (%d missing)", hashed, missing);
	free(rowset.index);
	drop(&made);
}

/* NULLs in each encoding, and that the encoder is asked once per text. */
static void
test_nulls(void)
{
	Item items[300];
	Made made = {0};
	char *rows;
	char *expected = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&expected, &size);
	static char amounts[300][16];

	for (int i = 0; i < 300; i++)
	{
		snprintf(amounts[i], sizeof(amounts[i]), "%d", i);
		items[i] = flat("o", "1", "2026_Q1");
		items[i].values[CLARI_ENTRY_OWNER_NAME] = i % 2 ? text("odd") : (ClariValue){0};
		items[i].values[CLARI_ENTRY_FORECAST_VALUE] = i % 3 ? number(amounts[i]) : (ClariValue){0};
		items[i].values[CLARI_ENTRY_QUOTA_VALUE] = number(i % 2 ? "1.00" : "1.0");
		items[i].values[CLARI_ENTRY_IS_UPDATED] = i % 5 ? boolean(i % 5 == 1) : (ClariValue){0};
		fprintf(out, "entries*|||'2026_Q1'||%s|||||||||", i % 2 ? "'odd'" : "");
		fprintf(out, i % 3 ? "'%d'" : "", i);
		fprintf(out, "|'%s'||||", i % 2 ? "1.00" : "1.0");
		fprintf(out, "%s|||||||'quarter'\n", i % 5 == 0 ? "" : i % 5 == 1 ? "1" : "0");
	}
	fclose(out);
	make(&made, "", PLENTY, items, 300);
	rows = print_made(&made, CLARI_ENTRIES);
	is(rows, expected, "NULLs stay NULL in dictionaries, plain and fixed columns");
	ok(made.encoder.calls == 202, "the encoder sees each text of a column once (%d)", made.encoder.calls);
	free(rows);
	free(expected);
	drop(&made);
}

/* ------- values ------- */

static void
test_dates(void)
{
	static const struct
	{
		const char *date;
		long days; /* LONG_MIN-like 1 << 30: refused */
	} dates[] = {{"2000-01-01", 0},
				 {"1999-12-31", -1},
				 {"2000-02-29", 59},
				 {"2024-02-29", 8825},
				 {"2024-03-01", 8826},
				 {"0001-01-01", -730119},
				 {"9999-12-31", 2921939},
				 {"2026-01-01T00:00:00Z", 9497},
				 {"2023-02-29", 1 << 30},
				 {"1900-02-29", 1 << 30},
				 {"0000-01-01", 1 << 30},
				 {"2026-13-01", 1 << 30},
				 {"2026-00-01", 1 << 30},
				 {"2026-04-31", 1 << 30},
				 {"2026-01-00", 1 << 30},
				 {"2026-1-01", 1 << 30},
				 {"2026-01-01 ", 1 << 30},
				 {"2026/01/01", 1 << 30},
				 {"", 1 << 30}};

	for (size_t i = 0; i < COUNT(dates); i++)
	{
		Item item = frame("w", dates[i].date, "2026-01-01");
		char expected[64];

		snprintf(expected, sizeof(expected), "timeFrames|'w'|%ld|9497\n", dates[i].days);
		if (dates[i].days == 1 << 30)
			refuses("what is no calendar date is refused", &item, 1, "cannot be kept", dates[i].date);
		else
			gives(dates[i].date, &item, 1, CLARI_TIME_FRAMES, expected);
	}
}

static void
test_timestamps(void)
{
	static const struct
	{
		const char *ms;
		const char *us; /* NULL: refused */
	} times[] = {{"946684800000", "0"},
				 {"0", "-946684800000000"},
				 {"-1", "-946684800001000"},
				 {"1784505600000", "837820800000000"},
				 {"9224318015999999", "9223371331199999000"},
				 {"-210866803200000", "-211813488000000000"},
				 {"9224318016000000", NULL},
				 {"-210866803200001", NULL},
				 {"99999999999999999999999", NULL},
				 {"1.5", NULL},
				 {"1e12", NULL},
				 {"-", NULL}};

	for (size_t i = 0; i < COUNT(times); i++)
	{
		Item item = flat("o", "1", "2026_Q1");
		char expected[128];

		item.values[CLARI_ENTRY_UPDATED_ON] = number(times[i].ms);
		snprintf(expected, sizeof(expected), "entries*|||'2026_Q1'||'o'|||||||||'1'|||||||%s|||||'quarter'\n",
				 times[i].us == NULL ? "" : times[i].us);
		if (times[i].us == NULL)
			refuses("what is no time of PostgreSQL's is refused", &item, 1, "cannot be kept", times[i].ms);
		else
			gives(times[i].ms, &item, 1, CLARI_ENTRIES, expected);
	}
}

static void
test_kinds(void)
{
	Item item = flat("o", "1", "2026_Q1");

	item.values[CLARI_ENTRY_OWNER_NAME] = number("17");
	item.values[CLARI_ENTRY_FORECAST_VALUE] = text("-12.50");
	item.values[CLARI_ENTRY_IS_UPDATED] = text("false");
	gives("a number as a text, a quoted decimal and a quoted boolean are taken", &item, 1, CLARI_ENTRIES,
		  "entries*|||'2026_Q1'||'17'|||||||||'-12.50'|||||0|||||||'quarter'\n");
	item.values[CLARI_ENTRY_FORECAST_VALUE] = text("NaN");
	refuses("what is quoted and no decimal is refused", &item, 1, "cannot be kept", "NaN");
	item.values[CLARI_ENTRY_FORECAST_VALUE] = boolean(true);
	refuses("a boolean is no amount", &item, 1, "cannot be kept", "forecastValue");
	item.values[CLARI_ENTRY_FORECAST_VALUE] = number("1");
	item.values[CLARI_ENTRY_IS_UPDATED] = text("No");
	refuses("a word is no boolean", &item, 1, "cannot be kept", "isUpdated");
}

/* ------- what is refused ------- */

static void
test_wrong_period(void)
{
	Item items[32];
	size_t count = small_items(items);
	Item flats[] = {flat("Ann", "1", "2026_Q1"), flat("Bob", "2", "2026_Q1"), user("u1", "Ann")};
	Item alone = period("2026_Q1", "2026-03-31");
	Made made = {0};

	make(&made, "2020_Q4", PLENTY, items, count);
	ok(made.done && made.meta.flags == CLARI_ROWSET_WRONG_PERIOD && made.meta.rows[CLARI_ENTRIES] == 0 &&
		   made.meta.rows[CLARI_FIELDS] == 0 && clari_rowset_owners(&made.meta) == 0,
	   "a v4 file of another quarter is kept as empty");
	is(made.meta.answered, "2026_Q1", "and the other quarter is known");
	ok(made.target.length == 8 + sizeof(ClariRowsetTrailer), "it has no groups");
	drop(&made);
	make(&made, "2020_Q4", PLENTY, flats, COUNT(flats));
	ok(made.done && made.meta.flags == (CLARI_ROWSET_WRONG_PERIOD | CLARI_ROWSET_FLAT) &&
		   made.meta.rows[CLARI_ENTRIES] == 0 && made.meta.rows[CLARI_USERS] == 0,
	   "so is a flat one");
	drop(&made);
	make(&made, "2020_Q4", PLENTY, &alone, 1);
	ok(made.done && made.meta.flags == CLARI_ROWSET_WRONG_PERIOD && made.meta.rows[CLARI_TIME_PERIODS] == 0,
	   "so is one whose period says so, without entries");
	drop(&made);
}

static void
test_several_periods(void)
{
	Item items[32];
	size_t count = small_items(items);
	Item flats[] = {flat("Ann", "1", "2026_Q1"), flat("Bob", "2", "2026_Q2")};
	Item bad = flat("Ann", "1", "Q1 2026");
	Item longer = flat("Ann", "1", "2026_Q11");

	items[1].values[CLARI_ENTRY_TIME_PERIOD_ID] = text("2025_Q4");
	refuses("a v4 file of several periods is refused", items, count, "several periods", "2025_Q4");
	refuses("a flat file of several periods is refused", flats, 2, "several periods", "2026_Q2");
	count = small_items(items);
	items[10] = period("2025_Q4", "2025-12-31");
	refuses("entries of a period that is not in the list are refused", items, count, "not in list \"timePeriods\"",
			"2026_Q1");
	refuses("a period that is no quarter is refused", &bad, 1, "not a fiscal quarter", "Q1 2026");
	refuses("so is one that is too long", &longer, 1, "not a fiscal quarter", "2026_Q11");
}

static Item
period_alone(const char *id)
{
	Item item = {.list = CLARI_TIME_PERIODS};

	item.values[CLARI_TIME_PERIOD_ID] = text(id);
	return item;
}

/* The file is kept, as that of the quarter; with another than was asked for, as empty. */
static void
answers(const char *name, const char *requested, const Item *items, size_t count, const char *answered)
{
	Made made = {0};

	make(&made, requested, PLENTY, items, count);
	ok(made.done && strcmp(made.meta.answered, answered) == 0 &&
		   made.meta.flags == (*requested == '\0' || strcmp(requested, answered) == 0 ? 0 : CLARI_ROWSET_WRONG_PERIOD),
	   "%s", name);
	if (!made.done || strcmp(made.meta.answered, answered) != 0)
		printf("# answered \"%s\", %s: %s\n", made.meta.answered, made.error.message, made.error.detail);
	drop(&made);
}

/* The entries decide of which quarter a file is; the list where there are none. */
static void
test_more_periods(void)
{
	static const char *const asked[] = {"2026_Q1", ""};
	Item items[32];
	size_t count = small_items(items);
	Item listed[3];
	Made made = {0};

	items[count] = items[10];
	for (int before = 0; before < 2; before++)
	{
		items[before ? 10 : count] = period("2026_Q2", "2026-06-30");
		items[before ? count : 10] = period("2026_Q1", "2026-03-31");
		for (size_t i = 0; i < COUNT(asked); i++)
			answers("a further quarter in the list is no error and no wrong quarter", asked[i], items, count + 1,
					"2026_Q1");
		make(&made, "2026_Q1", PLENTY, items, count + 1);
		ok(made.meta.period_end == 9586 && made.meta.rows[CLARI_TIME_PERIODS] == 2 &&
			   made.meta.rows[CLARI_ENTRIES] == 4,
		   "the quarter's own end counts, and all rows are kept");
		drop(&made);
		answers("entries of another quarter are the wrong one, whatever the list has", "2026_Q2", items, count + 1,
				"2026_Q1");
	}
	items[10] = period("2026_Q1", "2026-03-31");
	items[count] = period_alone("2026_M01");
	answers("a month in the list is no error either", "2026_Q1", items, count + 1, "2026_Q1");
	listed[0] = period_alone("2026_Q2");
	listed[1] = period_alone("2026_M01");
	listed[2] = period_alone("2026_Q1");
	answers("without entries the list tells the quarter that was asked for", "2026_Q1", listed, 3, "2026_Q1");
	answers("… or that it is another", "2025_Q4", listed, 3, "2026_Q2");
	answers("… or which the current one is", "", listed, 2, "2026_Q2");
	answers("nothing at all tells nothing", "", NULL, 0, "");
	refuses("which of several is the current one it does not tell", listed, 3, "does not show which fiscal quarter",
			"\"2026_Q2\" and \"2026_Q1\"");
	refuses("and one month tells of none", &listed[1], 1, "does not show which fiscal quarter", "\"2026_M01\" (month)");
}

/* An entry of a period, and the period with its type and days. */
static Item
entry_of(const char *user, const char *frame, const char *period)
{
	Item item = entry(user, frame, "f1", "1");

	item.values[CLARI_ENTRY_TIME_PERIOD_ID] = text(period);
	return item;
}

static Item
listed_period(const char *id, const char *type, const char *label, const char *first, const char *last)
{
	Item item = {.list = CLARI_TIME_PERIODS};

	item.values[CLARI_TIME_PERIOD_ID] = text(id);
	item.values[CLARI_TIME_PERIOD_TYPE] = text(type);
	if (label != NULL)
		item.values[CLARI_TIME_PERIOD_LABEL] = text(label);
	if (first != NULL)
	{
		item.values[CLARI_TIME_PERIOD_START_DATE] = text(first);
		item.values[CLARI_TIME_PERIOD_END_DATE] = text(last);
	}
	return item;
}

/* A quarter and its months: each owner's runs are by period, and told by type. */
static void
test_period_types(void)
{
	Item items[] = {entry_of("u1", "w1", "2026_Q1"),
					entry_of("u2", "w1", "2026_M01"),
					entry_of("u1", "w1", "2026_M01"),
					entry_of("u1", "w1", "2026"),
					user("u1", "Ann"),
					user("u2", "Bob"),
					field("f1", "Amount"),
					frame("w1", "2026-01-01", "2026-01-06"),
					listed_period("2026_Q1", "quarter", NULL, "2026-01-01", "2026-03-31"),
					listed_period("2026_M01", "Month", NULL, "2026-01-01", "2026-01-31"),
					listed_period("2026_M02", "month", NULL, "2026-02-01", "2026-02-28"),
					listed_period("2026", "1", NULL, "2026-01-01", "2026-12-31")};
	size_t memories[] = {PLENTY, 1000};

	for (size_t i = 0; i < COUNT(memories); i++)
	{
		Made made = {0};
		char *got;

		make(&made, "2026_Q1", memories[i], items, COUNT(items));
		got = print_made(&made, CLARI_ENTRIES);
		is(got,
		   "entries*|'u1'|'w1'|'2026'|'f1'|'Ann'|||||'Amount'||9497|9502|'1'||||||||||||'year'\n"
		   "entries*|'u1'|'w1'|'2026_M01'|'f1'|'Ann'|||||'Amount'||9497|9502|'1'||||||||||||'month'\n"
		   "entries*|'u1'|'w1'|'2026_Q1'|'f1'|'Ann'|||||'Amount'||9497|9502|'1'||||||||||||'quarter'\n"
		   "entries*|'u2'|'w1'|'2026_M01'|'f1'|'Bob'|||||'Amount'||9497|9502|'1'||||||||||||'month'\n",
		   "entries of several types of periods are all kept, a run for each period");
		free(got);
		got = print_made(&made, CLARI_FIELDS);
		is(got, "fields|'f1'|'Amount'||7|0\n", "of a field it is known in which types it has amounts");
		free(got);
		ok(made.meta.owners[CLARI_QUARTERS] == 1 && made.meta.owners[CLARI_MONTHS] == 2 &&
			   made.meta.owners[CLARI_YEARS] == 1 && made.meta.owners[CLARI_OTHER_PERIODS] == 0,
		   "owners are counted by type");
		ok(made.meta.numbering.months == 0 && made.meta.numbering.years == 0,
		   "and it is known how months are numbered");
		ok(made.meta.period_start == 9497 && made.meta.period_end == 9586, "the days are the quarter's");
		ok(clari_rowset_check(made.target.bytes, made.target.length, &made.error), "and it passes as a whole");
		drop(&made);
	}
}

/* A file of these periods, asked for the quarter: answers with that one, or is refused. */
static void
months_answer(const char *name, const char *requested, const Item *periods, size_t count, const char *expected)
{
	Item items[16] = {user("u1", "Ann"), field("f1", "Amount"), frame("w1", "2026-01-01", "2026-01-06")};
	static char ids[8][16];
	Made made = {0};
	size_t n = 3;

	for (size_t i = 0; i < count; i++)
	{
		const ClariValue *id = &periods[i].values[CLARI_TIME_PERIOD_ID];

		snprintf(ids[i], sizeof(ids[i]), "%.*s", (int) id->length, id->data);
		items[n++] = entry_of("u1", "w1", ids[i]);
		items[n++] = periods[i];
	}
	make(&made, requested, PLENTY, items, n);
	ok(made.done ? strcmp(made.meta.answered, expected) == 0 &&
					   (made.meta.flags != 0) == (*requested != '\0' && strcmp(requested, expected) != 0)
				 : strstr(made.error.message, expected) != NULL || strstr(made.error.detail, expected) != NULL,
	   "%s", name);
	if (!made.done || strcmp(made.meta.answered, expected) != 0)
		printf("# answered \"%s\", %s: %s\n", made.meta.answered, made.error.message, made.error.detail);
	drop(&made);
}

static void
test_quarter_of_months(void)
{
	Item months[] = {listed_period("2026_M01", "month", NULL, "2026-01-01", "2026-01-31"),
					 listed_period("2026_M02", "month", NULL, "2026-02-01", "2026-02-28"),
					 listed_period("2026_M03", "month", NULL, "2026-03-01", "2026-03-31")};
	Item other = listed_period("2026_M04", "month", NULL, "2026-04-01", "2026-04-30");
	Item year = listed_period("2026", "year", NULL, "2026-01-01", "2026-12-31");
	Item label = listed_period("TP:7", "quarter", "Q1 FY2026", NULL, NULL);
	Item week = listed_period("W1", "week", "Week 1", "2026-01-01", "2026-01-07");
	Item called = listed_period("2026_Q1", "month", NULL, "2026-04-01", "2026-04-30");
	Item strange = listed_period("2025_M12", "month", NULL, "2026-01-01", "2026-01-31");

	months_answer("a month is of the quarter that its number tells", "2026_Q1", months, 1, "2026_Q1");
	months_answer("of the current one three of them tell", "", months, 3, "2026_Q1");
	months_answer("… and fewer do not", "", months, 2, "\"2026_M01\" (month), \"2026_M02\" (month)");
	months_answer("another number may be one of another way to count", "2026_Q2", months, 1,
				  "does not show which fiscal quarter");
	months_answer("a year is that of the quarter, if it is called so", "2026_Q3", &year, 1, "2026_Q3");
	months_answer("… and else tells nothing", "2025_Q3", &year, 1, "\"2026\" (year)");
	months_answer("nor does it tell the current one", "", &year, 1, "does not show which fiscal quarter");
	months_answer("a quarter of another id is told by its label", "2026_Q1", &label, 1, "2026_Q1");
	months_answer("… of the current one, too", "", &label, 1, "2026_Q1");
	months_answer("… or that it is another", "2025_Q1", &label, 1, "2026_Q1");
	months_answer("what is neither tells nothing", "2026_Q1", &week, 1, "\"W1\" (other)");
	know_calendar();
	months_answer("with a calendar, months are told by their days", "2026_Q1", &strange, 1, "2026_Q1");
	months_answer("… as the current quarter's", "", &strange, 1, "2026_Q1");
	months_answer("… or another's than was asked for", "2026_Q1", &other, 1, "2026_Q2");
	months_answer("a year has the quarter's days", "2026_Q2", &year, 1, "2026_Q2");
	months_answer("… or not", "2025_Q2", &year, 1, "2026_Q1");
	months_answer("an id that is a quarter's is no month, whatever the list calls it", "2026_Q2", &called, 1,
				  "2026_Q1");
	months_answer("even a week tells", "2026_Q1", &week, 1, "2026_Q1");
	known_calendar.count = 0;
	{
		Item items[] = {user("u1", "Ann"),
						field("f1", "Amount"),
						frame("w1", "2026-01-01", "2026-01-06"),
						entry_of("u1", "w1", "2026_M01"),
						months[2],
						months[0],
						months[1]};
		Item two[] = {entry_of("u1", "w1", "2026_Q1"), entry_of("u1", "w1", "2026_Q2")};
		Item flats[] = {flat("Ann", "1", "2026_M02"), flat("Ann", "1", "2026_Q1"), flat("Ann", "1", "2026")};
		Item apart[] = {flat("Ann", "1", "2026_M02"), flat("Ann", "1", "2026_Q2")};
		Made made = {0};

		make(&made, "2026_Q1", PLENTY, items, COUNT(items));
		ok(made.done && made.meta.period_start == 9497 && made.meta.period_end == 9586 &&
			   made.meta.numbering.months == 0,
		   "three months tell the days of their quarter");
		drop(&made);
		refuses("two quarters are refused as ever", two, COUNT(two), "several periods", "2026_Q2");
		make(&made, "2026_Q1", PLENTY, flats, COUNT(flats));
		ok(made.done && made.meta.owners[CLARI_QUARTERS] == 1 && made.meta.owners[CLARI_MONTHS] == 1 &&
			   made.meta.owners[CLARI_YEARS] == 1 && strcmp(made.meta.answered, "2026_Q1") == 0,
		   "a flat file may have all types, too");
		drop(&made);
		refuses("but of one quarter", apart, COUNT(apart), "several periods", "2026_Q2");
	}
}

static size_t refused_flips(Made *made, size_t n, ClariError *error);

static ClariValue
unexpected(const char *json)
{
	return (ClariValue){.kind = CLARI_VALUE_UNEXPECTED, .length = (uint32_t) strlen(json), .data = json};
}

/* The sentence instead of a chunk, or "" where there is none. */
static const char *
sentence_of(const Rowset *rowset, ClariList list, int position)
{
	static char sentence[1024];

	for (uint32_t i = 0; i < rowset->trailer.ngroups; i++)
	{
		const ClariGroupIndex *group = &rowset->index[i];
		ClariChunk chunk;
		uint32_t header;

		if (group->list != list || group->chunks[position].encoding != CLARI_ENCODING_UNEXPECTED)
			continue;
		chunk = open_checked(rowset, group, position);
		memcpy(&header, chunk.bytes, sizeof(header));
		snprintf(sentence, sizeof(sentence), "%.*s", (int) (header >> 2) - 4, chunk.bytes + 4);
		return sentence;
	}
	return "";
}

/* What is no value of its column's type is told to who wants the column, and nobody else. */
static void
test_unexpected(void)
{
	static const size_t memories[] = {PLENTY, 1};
	char wide[300];
	Item items[32];
	size_t count = small_items(items);
	Rowset rowset;

	memset(wide, 'x', sizeof(wide));
	wide[59] = '\xC3';
	wide[60] = '\xA9';
	wide[sizeof(wide) - 1] = '\0';
	items[0].values[CLARI_ENTRY_UPDATED_ON] = unexpected("\"today\"");
	items[1].values[CLARI_ENTRY_UPDATED_ON] = number("1784505600000");
	items[2].values[CLARI_ENTRY_ADJUSTED_ON] = unexpected("true");
	items[1].values[CLARI_ENTRY_IS_UPDATED] = unexpected("0.0");
	items[10].values[CLARI_TIME_PERIOD_END_DATE] = unexpected(wide);
	items[11].values[CLARI_TIME_FRAME_START_DATE] = unexpected("[1]");
	items[count++] = items[10];
	items[count++] = items[11];
	for (size_t i = 0; i < COUNT(memories); i++)
	{
		Made made = {0};
		bool others = true;

		make(&made, "2026_Q1", memories[i], items, count);
		ok(made.done && load(&rowset, made.target.bytes, made.target.length, &made.error) &&
			   clari_rowset_check(made.target.bytes, made.target.length, &made.error),
		   "a file with values of unexpected types is kept, with %zu bytes of memory", memories[i]);
		is(sentence_of(&rowset, CLARI_ENTRIES, CLARI_ENTRY_UPDATED_ON),
		   "It is the string \"today\" instead of milliseconds since 1970 as an integer, in an item of list \"entries\" "
		   "with userId \"u1\", timeFrameId \"w2\", fieldId \"f1\".",
		   "a time that is none");
		is(sentence_of(&rowset, CLARI_ENTRIES, CLARI_ENTRY_ADJUSTED_ON),
		   "It is the boolean true instead of milliseconds since 1970 as an integer, in an item of list \"entries\" "
		   "with userId \"u1\", timeFrameId \"w1\", fieldId \"f1\".",
		   "… or a boolean");
		is(sentence_of(&rowset, CLARI_ENTRIES, CLARI_ENTRY_IS_UPDATED),
		   "It is the number 0.0 instead of true or false, in an item of list \"entries\" "
		   "with userId \"u2\", timeFrameId \"w1\", fieldId \"f1\".",
		   "a boolean that is a number");
		is(sentence_of(&rowset, CLARI_TIME_FRAMES, CLARI_TIME_FRAME_START_DATE),
		   "It is the array [1] instead of a text with a date, in an item of list \"timeFrames\" with timeFrameId "
		   "\"w1\".",
		   "a week's day that is an array");
		is(sentence_of(&rowset, CLARI_ENTRIES, CLARI_ENTRY_WEEK_START),
		   "It is the array [1] instead of a text with a date, in an item of list \"entries\" "
		   "with userId \"u1\", timeFrameId \"w1\", fieldId \"f1\".",
		   "… also where it is joined");
		wide[59] = '\0';
		ok(strstr(sentence_of(&rowset, CLARI_TIME_PERIODS, CLARI_TIME_PERIOD_END_DATE), wide) != NULL &&
			   strstr(sentence_of(&rowset, CLARI_TIME_PERIODS, CLARI_TIME_PERIOD_END_DATE), "x… instead of a text") !=
				   NULL,
		   "a long value is cut at a character");
		wide[59] = '\xC3';
		ok(made.meta.period_end == CLARI_DATE_NONE && made.meta.rows[CLARI_ENTRIES] == 4 &&
			   made.meta.rows[CLARI_TIME_PERIODS] == 1 && made.meta.rows[CLARI_TIME_FRAMES] == 2,
		   "a quarter's end that is none is not known, and the same twice is there once");
		for (uint32_t g = 0; g < rowset.trailer.ngroups; g++)
			for (int position = 0; position < CLARI_CHUNK_COUNT; position++)
				others = others && (rowset.index[g].chunks[position].encoding != CLARI_ENCODING_UNEXPECTED ||
									position == CLARI_ENTRY_UPDATED_ON || position == CLARI_ENTRY_ADJUSTED_ON ||
									position == CLARI_ENTRY_IS_UPDATED || position == CLARI_ENTRY_WEEK_START ||
									rowset.index[g].list != CLARI_ENTRIES);
		ok(others && sentence_of(&rowset, CLARI_ENTRIES, CLARI_ENTRY_WEEK_END)[0] == '\0',
		   "no other column is touched");
		if (i == 0)
			ok(refused_flips(&made, 0, &made.error) == made.target.length * 8, "each flipped bit of it is refused");
		free(rowset.index);
		drop(&made);
	}
}

static void
test_references(void)
{
	Item items[32];
	size_t count = small_items(items);

	items[5] = user("u9", "Nine");
	refuses("an entry of an unknown user is refused", items, count, "\"users\"", "\"u1\"");
	count = small_items(items);
	items[1] = entry("u99", "w1", "f1", "1");
	refuses("also behind the last user", items, count, "\"users\"", "\"u99\"");
	count = small_items(items);
	items[8] = field("f9", "Nine");
	refuses("an entry of an unknown field is refused", items, count, "\"fields\"", "\"f2\"");
	count = small_items(items);
	items[12] = frame("w9", "2026-01-01", "2026-01-02");
	refuses("an entry of an unknown time frame is refused", items, count, "\"timeFrames\"", "\"w2\"");
	count = small_items(items);
	refuses("entries without users are refused", items, 4, "\"users\"", "\"u1\"");
}

static void
test_duplicates(void)
{
	Item items[32];
	size_t count = small_items(items);
	size_t more = count;

	items[more++] = user("u1", "Ann");
	items[more++] = user("u1", "Ann");
	items[more++] = field("f1", "Amount");
	items[more++] = frame("w1", "2025-12-31", "2026-01-06");
	items[more++] = period("2026_Q1", "2026-03-31");
	gives("items that are there twice are kept once", items, more, -1, small_rows);
	items[count] = user("u1", "Anna");
	refuses("two different users of one id are refused", items, count + 1, "list \"users\"", "\"u1\"");
	items[count] = user("u3", "Cyrus");
	refuses("also if no entry refers to them", items, count + 1, "list \"users\"", "\"u3\"");
	items[count] = field("f1", "Other");
	refuses("two different fields of one id are refused", items, count + 1, "list \"fields\"", "\"f1\"");
	items[count] = frame("w1", "2025-12-31", "2026-01-07");
	refuses("two different time frames of one id are refused", items, count + 1, "list \"timeFrames\"", "\"w1\"");
}

static void
test_required(void)
{
	Item items[32];
	size_t count = small_items(items);
	static const int ids[] = {CLARI_ENTRY_USER_ID, CLARI_ENTRY_FIELD_ID, CLARI_ENTRY_TIME_PERIOD_ID,
							  CLARI_ENTRY_TIME_FRAME_ID};
	Item mixed[2] = {flat("Ann", "1", "2026_Q1"), entry("u1", "w1", "f1", "1")};
	Item without = flat("Ann", "1", "2026_Q1");

	for (size_t i = 0; i < COUNT(ids); i++)
	{
		const char *key = clari_lists[CLARI_ENTRIES].attributes[ids[i]].key;

		small_items(items);
		items[1].values[ids[i]].kind = CLARI_VALUE_NULL;
		refuses("a v4 entry without one of its ids is refused", items, count, key, "\"entries\"");
	}
	without.values[CLARI_ENTRY_TIME_PERIOD_ID].kind = CLARI_VALUE_NULL;
	refuses("a flat entry without its period is refused", &without, 1, "timePeriod", "\"entries\"");
	without = user("u", "U");
	without.values[0].kind = CLARI_VALUE_NULL;
	refuses("a user without its id is refused", &without, 1, "userId", "\"users\"");
	refuses("a file of both shapes is refused", mixed, 2, "two shapes", "userId");
}

static void
test_small_limit(void)
{
	static char wide[900000];
	Made made = {0};
	ClariRowsetWriter *writer = open_writer(&made, "", PLENTY);
	Item item = field("f", wide);
	int kept = 0;

	memset(wide, 'x', sizeof(wide) - 1);
	item.values[CLARI_FIELD_FIELD_NAME] = text(wide);
	while (kept < 20 && clari_rowset_writer_add(writer, CLARI_FIELDS, item.values, &made.error))
		kept++;
	ok(kept == 9 && made.error.code == CLARI_ERROR_LIMIT, "small lists that are not small are refused");
	clari_rowset_writer_close(writer);
	drop(&made);
}

/* ------- failures ------- */

static void
test_failures(void)
{
	Made made = {0};
	int calls;
	int failed = 0;

	make_many(&made, PLENTY, 20000, 1000, 5, true);
	calls = made.target.appends;
	drop(&made);
	for (int i = 1; i <= calls; i++)
	{
		made.target.fail_append = i;
		make_many(&made, 50000, 20000, 1000, 5, true);
		failed +=
			!made.done && made.error.code == CLARI_ERROR_IO && strcmp(made.error.message, "the disk is full") == 0;
		drop(&made);
	}
	ok(calls > 5 && failed == calls, "whichever of %d appends fails, the writer fails with its error", calls);
	made.target.fail_spill = true;
	make_many(&made, 50000, 20000, 1000, 5, true);
	ok(!made.done && strcmp(made.error.message, "no spill file today") == 0, "no spill file: its error");
	drop(&made);
	made.target.closed_spill = true;
	make_many(&made, 50000, 20000, 1000, 5, true);
	ok(!made.done && made.error.code == CLARI_ERROR_IO && made.error.detail[0] != '\0',
	   "a spill file that cannot be written: an error with its reason");
	drop(&made);
	made.encoder.fail = true;
	make_many(&made, PLENTY, 20, 10, 2, true);
	ok(!made.done && strcmp(made.error.message, "no number") == 0, "the encoder's error is passed on");
	drop(&made);
}

/* Somebody writes over the spill file, or cuts it. */
static void
test_damaged_spill(void)
{
	int survived = 0;
	int failed = 0;

	for (unsigned i = 0; i < 300; i++)
	{
		Made made = {0};
		ClariRowsetWriter *writer = open_writer(&made, "", 20000);
		char byte = (char) (i * 37 + 1);

		make_meta(&made.meta, "");
		made.done = add_many(writer, 2000, 200, 5, true, &made.error);
		/* the users' file came last */
		if (i % 10 == 9 && ftruncate(made.target.spill, (off_t) i * 31) != 0)
			abort();
		if (pwrite(made.target.spill, &byte, 1, (off_t) i * 31) != 1)
			abort();
		if (made.done && clari_rowset_writer_finish(writer, &made.meta, &made.error))
			survived++;
		else if (made.error.code == CLARI_ERROR_IO || made.error.code == CLARI_ERROR_DATA)
			failed++;
		clari_rowset_writer_close(writer);
		drop(&made);
	}
	ok(survived + failed == 300 && failed > 30, "a damaged spill file is an error or other values, never a crash");
}

/* Every byte of a small rowset, with several bits flipped. */
static void
test_flips(void)
{
	static const unsigned char flips[] = {0x01, 0x80, 0xFF};
	Item items[32];
	size_t count = small_items(items);
	Made made = {0};
	char *bytes;
	char *rows;
	long undetected = 0;
	long harmless = 0;

	make(&made, "2026_Q1", PLENTY, items, count);
	bytes = made.target.bytes;
	for (size_t i = 0; i < made.target.length; i++)
		for (size_t k = 0; k < COUNT(flips); k++)
		{
			ClariRowsetTrailer trailer;

			bytes[i] = (char) (bytes[i] ^ flips[k]);
			rows = print_rows(bytes, made.target.length, -1, &made.error);
			memcpy(&trailer, bytes + made.target.length - sizeof(trailer), sizeof(trailer));
			if (rows != NULL &&
				(strcmp(rows, small_rows) != 0 || memcmp(&trailer.meta, &made.meta, sizeof(made.meta)) != 0))
				undetected++;
			else if (rows != NULL)
				harmless++;
			else if (made.error.code != CLARI_ERROR_CORRUPT)
				undetected++;
			free(rows);
			bytes[i] = (char) (bytes[i] ^ flips[k]);
		}
	ok(undetected == 0, "no flipped byte of %zu changes what is read without an error", made.target.length);
	ok(harmless < 400, "only padding and the head's magic may be flipped (%ld)", harmless);
	for (size_t length = 0; length < made.target.length; length++)
	{
		rows = print_rows(bytes, length, -1, &made.error);
		undetected += rows != NULL;
		free(rows);
	}
	ok(undetected == 0, "no shorter rowset passes");
	drop(&made);
}

/* How many of n flipped bits, each alone, clari_rowset_check() refuses: n random ones, or with n of 0 each in turn. */
static size_t
refused_flips(Made *made, size_t n, ClariError *error)
{
	size_t bits = made->target.length * 8;
	uint64_t random = UINT64_C(20260331);
	size_t refused = 0;

	for (size_t i = 0; i < (n == 0 ? bits : n); i++)
	{
		size_t bit = i;
		char *byte;

		random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		if (n != 0)
			bit = (size_t) (random >> 16) % bits;
		byte = &made->target.bytes[bit / 8];
		*byte ^= (char) (1 << bit % 8);
		if (!clari_rowset_check(made->target.bytes, made->target.length, error) && error->code == CLARI_ERROR_CORRUPT)
			refused++;
		else
			printf("# bit %zu of %zu\n", bit, bits);
		*byte ^= (char) (1 << bit % 8);
	}
	return refused;
}

static void
make_many_flat(Made *made, uint32_t n)
{
	ClariRowsetWriter *writer = open_writer(made, "", PLENTY);
	char owner[64];
	char amount[32];

	made->done = true;
	for (uint32_t i = 0; i < n && made->done; i++)
	{
		Item item = flat(owner, amount, "2026_Q1");

		snprintf(owner, sizeof(owner), "Owner %u", i);
		snprintf(amount, sizeof(amount), "%u.%02u", i * 7 % 100003, i % 100);
		item.values[CLARI_ENTRY_OWNER_NAME] = text(owner);
		item.values[CLARI_ENTRY_FORECAST_VALUE] = number(amount);
		made->done = clari_rowset_writer_add(writer, CLARI_ENTRIES, item.values, &made->error);
	}
	make_meta(&made->meta, "");
	made->done = made->done && clari_rowset_writer_finish(writer, &made->meta, &made->error);
	clari_rowset_writer_close(writer);
}

/* What clari_rowset_check() passes is what was written, to the last bit. */
static void
test_whole_check(void)
{
	Item items[32];
	size_t count = small_items(items);
	Made made = {0};
	size_t refused = 0;

	make(&made, "2026_Q1", PLENTY, items, count);
	ok(refused_flips(&made, 0, &made.error) == made.target.length * 8, "each flipped bit of a small rowset is refused");
	for (size_t length = 0; length < made.target.length; length++)
		refused += !clari_rowset_check(made.target.bytes, length, &made.error);
	ok(refused == made.target.length, "each truncation is refused");
	drop(&made);
	make_many(&made, PLENTY, 20000, 1000, 5, true);
	ok(clari_rowset_check(made.target.bytes, made.target.length, &made.error), "a v4 rowset passes");
	ok(refused_flips(&made, 1000, &made.error) == 1000, "1000 flipped bits of its %zu bytes are refused",
	   made.target.length);
	drop(&made);
	make_many_flat(&made, 20000);
	ok(clari_rowset_check(made.target.bytes, made.target.length, &made.error), "a flat rowset passes");
	ok(refused_flips(&made, 1000, &made.error) == 1000, "1000 flipped bits of its %zu bytes are refused",
	   made.target.length);
	drop(&made);
	make(&made, "", PLENTY, NULL, 0);
	ok(clari_rowset_check(made.target.bytes, made.target.length, &made.error) &&
		   refused_flips(&made, 0, &made.error) == made.target.length * 8,
	   "so does a rowset without rows");
	drop(&made);
}

/* ------- speed and memory: without sanitizers only ------- */

#ifndef SANITIZED
static double
seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double) now.tv_sec + (double) now.tv_nsec / 1e9;
}

/* The process's largest resident size since the last reset, in kB. */
static long
high_water(void)
{
	FILE *status = fopen("/proc/self/status", "r");
	char line[256];
	long result = -1;

	while (status != NULL && fgets(line, sizeof(line), status) != NULL)
		sscanf(line, "VmHWM: %ld kB", &result);
	if (status != NULL)
		fclose(status);
	return result;
}

/* Forgets the high water; returns what there is now. */
static long
reset_high_water(void)
{
	FILE *file = fopen("/proc/self/clear_refs", "w");

	malloc_trim(0);
	if (file != NULL)
	{
		fputs("5", file);
		fclose(file);
	}
	return high_water();
}

static void
measure(const char *what, uint32_t n, uint32_t nusers, uint32_t nfields, bool shuffled)
{
	Made made = {.target.discard = true};
	double begin = seconds();
	double taken;
	long before;

	before = reset_high_water();
	make_many(&made, PLENTY, n, nusers, nfields, shuffled);
	taken = seconds() - begin;
	printf("# %s: %.2f s, %zu bytes, %ld kB more than before\n", what, taken, made.target.length,
		   high_water() - before);
	ok(made.done && high_water() - before < 30 * 1024, "%s stay below 30 MB", what);
	ok(taken < 5, "and take far less than 5 s");
	drop(&made);
}

static void
measure_flat(uint32_t n)
{
	Made made = {.target.discard = true};
	double begin = seconds();
	long before;

	before = reset_high_water();
	make_many_flat(&made, n);
	printf("# flat: %.2f s, %zu bytes, %ld kB more than before\n", seconds() - begin, made.target.length,
		   high_water() - before);
	ok(made.done && high_water() - before < 30 * 1024, "%u flat entries stay below 30 MB", n);
	drop(&made);
}
#endif

static void
test_account_rows(void)
{
	Item limits = {.list = CLARI_LIMITS};
	Item job = {.list = CLARI_JOBS};
	Item jobs[5000];
	Made made = {0};
	char *rows;

	limits.values[CLARI_LIMITS_MONTHLY_QUOTA] = number("1000");
	limits.values[CLARI_LIMITS_AVAILABLE_MONTHLY] = number("-3");
	ok(make(&made, "", PLENTY, &limits, 1) && made.meta.rows[CLARI_LIMITS] == 1 &&
		   clari_rowset_owners(&made.meta) == 0 && made.meta.answered[0] == '\0' &&
		   made.meta.period_end == CLARI_DATE_NONE && made.meta.flags == 0,
	   "the limits are one row, of no quarter");
	rows = print_made(&made, CLARI_LIMITS);
	is(rows, "jobs||1000|0|0||-3\n", "lists that Clari leaves out are empty; what is not there is NULL");
	free(rows);
	drop(&made);

	limits.values[CLARI_LIMITS_MONTHLY_QUOTA] =
		(ClariValue){.kind = CLARI_VALUE_UNEXPECTED, .length = 6, .data = "\"many\""};
	ok(make(&made, "", PLENTY, &limits, 1), "what is no integer is for those who ask");
	drop(&made);

	for (size_t i = 0; i < 5000; i++)
	{
		jobs[i] = job;
		jobs[i].values[CLARI_JOBS_STATUS] = text(i % 2 == 0 ? "DONE" : "STARTED");
		jobs[i].values[CLARI_JOBS_DOWNLOADS] = number("999999999999999999");
	}
	ok(make(&made, "", PLENTY, jobs, 5000) && made.meta.rows[CLARI_JOBS] == 5000, "jobs are rows as they come");
	rows = print_made(&made, CLARI_JOBS);
	ok(rows != NULL && strncmp(rows, "jobs||||||'DONE'||||||||999999999999999999||||\njobs||||||'STARTED'|", 65) == 0,
	   "in their order");
	free(rows);
	drop(&made);
	ok(make(&made, "", PLENTY, NULL, 0) && made.meta.rows[CLARI_JOBS] == 0, "none are none");
	drop(&made);

	job.values[CLARI_JOBS_VERSION] = number("1234567890123456789");
	ok(!make(&made, "", PLENTY, &job, 1) && made.error.code == CLARI_ERROR_DATA,
	   "an integer that is too long is refused");
	drop(&made);
}

int
main(void)
{
#ifndef SANITIZED
	measure_flat(1000000);
	measure("1M entries of 500k users, shuffled", 1000000, 500000, 2, true);
	measure("1M entries of 500k users, in order", 1000000, 500000, 2, false);
	measure("1M entries of 250k users, in order", 1000000, 250000, 4, false);
	measure("1M entries of 250k users, shuffled", 1000000, 250000, 4, true);
#endif
	test_list_orders();
	test_meta();
	test_flat();
	test_lines();
	test_keys_of_lines();
	test_quarter_of_lines();
	test_empty();
	test_own_values();
	test_spill();
	test_groups();
	test_wide_rows();
	test_long_run();
	test_encodings();
	test_hashes();
	test_nulls();
	test_dates();
	test_timestamps();
	test_kinds();
	test_wrong_period();
	test_several_periods();
	test_more_periods();
	test_period_types();
	test_quarter_of_months();
	test_unexpected();
	test_references();
	test_duplicates();
	test_required();
	test_small_limit();
	test_failures();
	test_damaged_spill();
	test_flips();
	test_whole_check();
	test_account_rows();
	return done_testing();
}
