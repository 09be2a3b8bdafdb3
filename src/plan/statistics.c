/*
 * statistics.c
 *		What a rowset's dictionaries tell of its columns: see statistics.h.
 *
 * Runs in sessions, while planning.  The answers for the last versions asked for
 * are kept: planning must not open a rowset each time.
 */
#include "postgres.h"

#include "plan/statistics.h"

#include "session/reader.h"

#include "utils/memutils.h"

#define KEPT 64          /* answers, of about 600 bytes */
#define SORTED_ROWS 512U /* a session's first plan must not take long */

typedef struct Answer
{
	ClariKey key;
	uint64 generation; /* 0: none */
	ClariList list;
	ClariColumnStatistics columns[CLARI_MAX_ATTRIBUTES];
} Answer;

static Answer *answers = NULL; /* KEPT of them, once the first is asked for */
static int next_answer = 0;    /* to be replaced */

/*
 * Rows are sorted by user, so two groups have hardly one in common; of anything
 * else, such as fields or weeks, they have the same few values.
 */
static bool
is_of_user(ClariList list, int attribute)
{
	if (list != CLARI_ENTRIES)
		return true; /* an item each */
	return attribute == CLARI_ENTRY_USER_ID || attribute == CLARI_ENTRY_OWNER_NAME ||
		   attribute == CLARI_ENTRY_OWNER_EMAIL || attribute == CLARI_ENTRY_CRM_USER_ID ||
		   clari_lists[list].attributes[attribute].type == CLARI_NUMERIC;
}

/* How many hashes lie beside the attribute's chunk: one for each value that is stored; 0: none do. */
static double
hashed_values(const ClariGroupIndex *group, int attribute)
{
	for (int i = 0; i < CLARI_HASHED_ATTRIBUTES; i++)
		if (clari_hashed_attributes[i] == attribute && group->list == CLARI_ENTRIES)
			return group->chunks[CLARI_HASHES_CHUNK + i].length / sizeof(uint16_t);
	return 0;
}

/* Distinct values of a chunk, and the bytes that they take. */
static double
chunk_distinct(const ClariGroupIndex *group, int attribute, double *bytes)
{
	const ClariChunkIndex *chunk = &group->chunks[attribute];
	double hashed = hashed_values(group, attribute);

	*bytes = chunk->length;
	switch (chunk->encoding)
	{
		case CLARI_ENCODING_CONSTANT:
			return 1;
		case CLARI_ENCODING_DICTIONARY:
			*bytes -= group->nrows * 2.0 + chunk->ndistinct * 4.0;
			return chunk->ndistinct;
		case CLARI_ENCODING_PLAIN:
			*bytes -= group->nrows * 4.0;
			return hashed > 0 ? hashed : group->nrows;
		default:
			return 0;
	}
}

/* What the index tells of a column. */
static void
look_at(const ClariReader *reader, ClariList list, int attribute, ClariColumnStatistics *column)
{
	double values = 0;
	double bytes = 0;

	for (int i = 0; i < reader->ngroups; i++)
	{
		const ClariGroupIndex *group = &reader->groups[i];
		double chunk_bytes;
		double distinct;

		if (group->list != (uint32) list)
			continue;
		distinct = chunk_distinct(group, attribute, &chunk_bytes);
		values += distinct;
		bytes += distinct > 0 ? chunk_bytes : 0;
		column->distinct = is_of_user(list, attribute) ? values : Max(column->distinct, distinct);
	}
	column->width = values > 0 ? (int32) (bytes / values) : 0;
}

static double
share_of_nulls(const ClariChunk *chunk, ClariType type)
{
	bool varlena = type == CLARI_TEXT || type == CLARI_NUMERIC;
	uint32 nulls = 0;

	for (uint32 row = 0; row < chunk->nrows; row++)
		nulls += varlena ? clari_chunk_varlena(chunk, row) == NULL : clari_chunk_fixed(chunk, row) == CLARI_FIXED_NULL;
	return (double) nulls / Max(chunk->nrows, 1);
}

static int
compare_fixed(const void *a, const void *b)
{
	int64 left = *(const int64_t *) a;
	int64 right = *(const int64_t *) b;

	return (left > right) - (left < right);
}

/* Values of fixed width have no dictionary to tell how many differ in all the rows: the chunk's first ones do. */
static double
fixed_distinct(const ClariChunk *chunk, double all_rows)
{
	uint32 nrows = Min(chunk->nrows, SORTED_ROWS);
	int64_t values[SORTED_ROWS];
	uint32 count = 0;
	uint32 distinct = 0;

	for (uint32 row = 0; row < nrows; row++)
		if (chunk->fixed[row] != CLARI_FIXED_NULL)
			values[count++] = chunk->fixed[row];
	qsort(values, count, sizeof(int64_t), compare_fixed);
	for (uint32 i = 0; i < count; i++)
		distinct += i == 0 || values[i] != values[i - 1];
	/* Where nearly all of them differ, others will. */
	return distinct > count * 0.9 ? distinct * all_rows / nrows : distinct;
}

/* The middle one of the list's groups; -1: it has none. */
static int
middle_group(const ClariReader *reader, ClariList list)
{
	int first = -1;
	int last = -1;

	/* Each list's groups lie together. */
	for (int i = 0; i < reader->ngroups; i++)
		if (reader->groups[i].list == (uint32) list)
		{
			first = first < 0 ? i : first;
			last = i;
		}
	return (first + last) / 2;
}

/* What rows from the middle tell, which the index does not. */
static void
look_into(ClariReader *reader, ClariList list, ClariColumnStatistics *columns)
{
	int group = middle_group(reader, list);
	ClariChunkBuffer buffer = {0};

	for (int i = 0; group >= 0 && i < clari_lists[list].nattributes; i++)
	{
		ClariChunk chunk;

		/* Which is an error for those who read it. */
		if (reader->groups[group].chunks[i].encoding == CLARI_ENCODING_UNEXPECTED)
			continue;
		clari_reader_chunk(reader, group, i, &buffer, &chunk);
		columns[i].nulls = share_of_nulls(&chunk, clari_lists[list].attributes[i].type);
		if (chunk.encoding == CLARI_ENCODING_FIXED)
			columns[i].distinct = fixed_distinct(&chunk, (double) reader->version.meta.rows[list]);
	}
}

static const Answer *
find_answer(const ClariVersion *version, ClariList list)
{
	for (int i = 0; answers != NULL && i < KEPT; i++)
		if (answers[i].generation == version->meta.generation && answers[i].list == list &&
			memcmp(&answers[i].key, &version->meta.key, sizeof(ClariKey)) == 0)
			return &answers[i];
	return NULL;
}

static Answer *
new_answer(const ClariVersion *version, ClariList list)
{
	Answer *answer;

	if (answers == NULL)
		answers = MemoryContextAllocZero(TopMemoryContext, sizeof(Answer) * KEPT);
	answer = &answers[next_answer];
	next_answer = (next_answer + 1) % KEPT;
	*answer = (Answer){.key = version->meta.key, .generation = version->meta.generation, .list = list};
	return answer;
}

const ClariColumnStatistics *
clari_statistics_get(const ClariVersion *version, ClariList list)
{
	const Answer *known = find_answer(version, list);
	ClariColumnStatistics columns[CLARI_MAX_ATTRIBUTES] = {0};
	MemoryContext context;
	MemoryContext previous;
	ClariReader *reader;
	ClariError error;
	Answer *answer;

	if (known != NULL)
		return known->columns;
	/* The reader closes with it. */
	context = AllocSetContextCreate(CurrentMemoryContext, "clari_fdw statistics", ALLOCSET_DEFAULT_SIZES);
	previous = MemoryContextSwitchTo(context);
	reader = clari_reader_open(version, context, &error);
	for (int i = 0; reader != NULL && i < clari_lists[list].nattributes; i++)
		look_at(reader, list, i, &columns[i]);
	if (reader != NULL)
		look_into(reader, list, columns);
	MemoryContextSwitchTo(previous);
	MemoryContextDelete(context);
	if (reader == NULL)
		return NULL;
	answer = new_answer(version, list);
	memcpy(answer->columns, columns, sizeof(columns));
	return answer->columns;
}
