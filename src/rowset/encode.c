/*
 * encode.c
 *		Encodes rows as column chunks: see internal.h.
 *
 * For each text or numeric column, a heap contains its distinct values as
 * varlenas, and each row has a code.  The encodings other than FIXED then
 * differ only in what is written before the heap.  Numbers are distinguished
 * by their text, so the numeric encoder is called once for each distinct text.
 *
 * Runs in the worker; takes no locks; never calls palloc or raises.  postgres.h
 * is included for varlena headers and CRC-32C.  Never writes a byte that was
 * not set.
 */
#include "compat.h"

#include "port/pg_crc32c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rowset/internal.h"

#define FIRST_ROWS 256
#define FIRST_BUCKETS 128
#define MAX_DICTIONARY 65535
#define SHOWN 60         /* how many bytes of an id a message shows */
#define HASHED_VALUES 64 /* a chunk with fewer values has no hashes, because it is as fast to compare its values */
#define JUDGE_ROWS 1024  /* after this many rows, a column most of whose values are distinct is no longer hashed */

typedef struct Buffer
{
	char *data;
	size_t used;
	size_t capacity;
} Buffer;

typedef struct Value
{
	uint32_t offset;     /* of the varlena in heap */
	uint32_t key;        /* where the bytes begin that identify the value: in heap (text) or texts (numeric) */
	uint32_t key_length; /* in bytes */
} Value;

typedef struct Bucket
{
	uint32_t hash;
	uint32_t code; /* 0: free */
} Bucket;

typedef struct Column
{
	ClariType type;
	uint32_t *codes;  /* for each row the number of its value from 1, or 0 for NULL */
	int64_t *fixed;   /* for types of fixed width: the row's value */
	bool unexpected;  /* some row has a value of another type; heap then contains only a sentence that says so */
	uint32_t nfilled; /* rows that are not NULL */
	Value *values;
	uint32_t nvalues;
	uint32_t values_capacity;
	Buffer heap;
	Buffer texts;  /* of a numeric column: the texts of the numbers */
	uint32_t last; /* the code of the last value that was not NULL */
	bool hashing;
	Bucket *buckets;
	uint32_t nbuckets; /* a power of two, or 0 */
} Column;

struct ClariGroup
{
	ClariSink *sink;
	ClariList list;
	int ncolumns;
	Column columns[CLARI_MAX_ATTRIBUTES];
	uint32_t nrows;
	uint32_t row_capacity;
	uint32_t *runs; /* of entries: the first row of each run */
	uint32_t nruns;
	size_t length; /* upper bound of the group's size in bytes */
	char *scratch; /* room for row_capacity offsets */
};

/* ------- bytes ------- */

static bool
reserve(Buffer *buffer, size_t more, ClariError *error)
{
	size_t capacity = buffer->capacity == 0 ? 4096 : buffer->capacity * 2;
	char *data;

	if (buffer->used + more <= buffer->capacity)
		return true;
	while (capacity < buffer->used + more)
		capacity *= 2;
	data = realloc(buffer->data, capacity);
	if (data == NULL)
		return clari_error_out_of_memory(error);
	buffer->data = data;
	buffer->capacity = capacity;
	return true;
}

bool
clari_sink_flush(ClariSink *sink, ClariError *error)
{
	size_t used = sink->used;

	sink->used = 0;
	return used == 0 || sink->output->append(sink->output->arg, sink->buffer, used, error);
}

bool
clari_sink_put(ClariSink *sink, const void *bytes, size_t length, ClariError *error)
{
	if (sink->position == 0)
	{
		memcpy(sink->buffer, CLARI_ROWSET_MAGIC, 8);
		sink->used = 8;
		sink->position = 8;
	}
	sink->position += length;
	if (length > CLARI_SINK_BUFFER - sink->used && !clari_sink_flush(sink, error))
		return false;
	if (length > CLARI_SINK_BUFFER)
		return sink->output->append(sink->output->arg, bytes, length, error);
	if (length > 0)
		memcpy(sink->buffer + sink->used, bytes, length);
	sink->used += length;
	return true;
}

/* ------- opening and closing ------- */

ClariGroup *
clari_group_open(ClariSink *sink, ClariList list)
{
	ClariGroup *group = calloc(1, sizeof(*group));

	if (group == NULL)
		return NULL;
	group->sink = sink;
	group->list = list;
	group->ncolumns = clari_lists[list].nattributes;
	for (int i = 0; i < group->ncolumns; i++)
	{
		group->columns[i].type = clari_lists[list].attributes[i].type;
		group->columns[i].hashing = true;
	}
	return group;
}

void
clari_group_close(ClariGroup *group)
{
	if (group == NULL)
		return;
	for (int i = 0; i < group->ncolumns; i++)
	{
		Column *column = &group->columns[i];

		free(column->codes);
		free(column->fixed);
		free(column->values);
		free(column->heap.data);
		free(column->texts.data);
		free(column->buckets);
	}
	free(group->runs);
	free(group->scratch);
	free(group);
}

/* Prepares for the next group.  Frees heaps that one large group has made large. */
static void
reset_group(ClariGroup *group)
{
	size_t kept = 0;

	for (int i = 0; i < group->ncolumns; i++)
	{
		Column *column = &group->columns[i];

		kept += column->heap.capacity + column->texts.capacity;
		column->nfilled = column->nvalues = column->last = 0;
		column->heap.used = column->texts.used = 0;
		column->hashing = true;
		column->unexpected = false;
		if (column->nbuckets > 0)
			memset(column->buckets, 0, column->nbuckets * sizeof(Bucket));
	}
	for (int i = 0; i < group->ncolumns && kept > 2 * CLARI_GROUP_BYTES; i++)
	{
		free(group->columns[i].heap.data);
		free(group->columns[i].texts.data);
		memset(&group->columns[i].heap, 0, sizeof(Buffer));
		memset(&group->columns[i].texts, 0, sizeof(Buffer));
	}
	group->nrows = group->nruns = 0;
	group->length = 0;
}

static bool
is_fixed(const Column *column)
{
	return column->type != CLARI_TEXT && column->type != CLARI_NUMERIC;
}

/* Reallocates an array.  The argument array is the address of the pointer to it. */
static bool
grow_array(void *array, size_t count, size_t width)
{
	void *grown;

	memcpy(&grown, array, sizeof(grown));
	grown = realloc(grown, count * width);
	if (grown != NULL)
		memcpy(array, &grown, sizeof(grown));
	return grown != NULL;
}

static bool
grow_rows(ClariGroup *group, ClariError *error)
{
	uint32_t capacity = group->row_capacity == 0 ? FIRST_ROWS : group->row_capacity * 2;

	for (int i = 0; i < group->ncolumns; i++)
	{
		Column *column = &group->columns[i];

		if (is_fixed(column) ? !grow_array(&column->fixed, capacity, sizeof(int64_t))
							 : !grow_array(&column->codes, capacity, sizeof(uint32_t)))
			return clari_error_out_of_memory(error);
	}
	if (!grow_array(&group->scratch, capacity, sizeof(uint32_t)) ||
		(group->list == CLARI_ENTRIES && !grow_array(&group->runs, capacity, sizeof(uint32_t))))
		return clari_error_out_of_memory(error);
	group->row_capacity = capacity;
	return true;
}

/* ------- values ------- */

static uint32_t
hash_bytes(const char *bytes, size_t length)
{
	uint64_t hash = length * UINT64_C(0x9E3779B97F4A7C15);
	uint64_t word;

	for (; length >= sizeof(word); length -= sizeof(word), bytes += sizeof(word))
	{
		memcpy(&word, bytes, sizeof(word));
		hash = (hash ^ word) * UINT64_C(0xD6E8FEB86659FD93);
		hash ^= hash >> 32;
	}
	word = 0;
	memcpy(&word, bytes, length);
	hash = (hash ^ word) * UINT64_C(0xD6E8FEB86659FD93);
	return (uint32_t) (hash >> 32);
}

static bool
is_value(const Column *column, uint32_t code, const ClariCell *cell)
{
	const Value *value = &column->values[code - 1];
	const char *keys = column->type == CLARI_TEXT ? column->heap.data : column->texts.data;

	return value->key_length == cell->length && memcmp(keys + value->key, cell->bytes, cell->length) == 0;
}

/* Returns the bucket of the value, or the free one to which it belongs. */
static Bucket *
find_bucket(const Column *column, const ClariCell *cell, uint32_t hash)
{
	uint32_t at = hash & (column->nbuckets - 1);

	while (column->buckets[at].code != 0 &&
		   (column->buckets[at].hash != hash || !is_value(column, column->buckets[at].code, cell)))
		at = (at + 1) & (column->nbuckets - 1);
	return &column->buckets[at];
}

/* Keeps the hash table at most half full. */
static bool
grow_buckets(Column *column, ClariError *error)
{
	uint32_t nbuckets = column->nbuckets == 0 ? FIRST_BUCKETS : column->nbuckets * 2;
	Bucket *buckets;

	if ((column->nvalues + 1) * 2 <= column->nbuckets)
		return true;
	buckets = calloc(nbuckets, sizeof(*buckets));
	if (buckets == NULL)
		return clari_error_out_of_memory(error);
	for (uint32_t i = 0; i < column->nbuckets; i++)
	{
		uint32_t at = column->buckets[i].hash & (nbuckets - 1);

		if (column->buckets[i].code == 0)
			continue;
		while (buckets[at].code != 0)
			at = (at + 1) & (nbuckets - 1);
		buckets[at] = column->buckets[i];
	}
	free(column->buckets);
	column->buckets = buckets;
	column->nbuckets = nbuckets;
	return true;
}

/*
 * Appends a varlena of size bytes to the heap, 4-aligned and padded with
 * zeros.  bytes are those of the varlena from offset "from" on.
 */
static bool
append_varlena(Column *column, const void *bytes, size_t from, size_t size, ClariError *error)
{
	size_t padded = (size + 3) & ~(size_t) 3;
	char *to;

	if (!reserve(&column->heap, padded, error))
		return false;
	to = column->heap.data + column->heap.used;
	if (from > 0)
		SET_VARSIZE(to, size);
	memcpy(to + from, bytes, size - from);
	memset(to + size, 0, padded - size);
	column->heap.used += padded;
	return true;
}

static bool
append_numeric(ClariSink *sink, Column *column, const ClariCell *cell, ClariError *error)
{
	const void *datum;
	size_t size;

	if (!reserve(&column->texts, cell->length, error) ||
		!sink->encode(sink->encode_arg, cell->bytes, cell->length, &datum, &size, error))
		return false;
	if (size < VARHDRSZ || !VARATT_IS_4B_U(datum) || VARSIZE_4B(datum) != size)
		return clari_error_set(error, CLARI_ERROR_DATA, "a number was encoded as no plain numeric");
	memcpy(column->texts.data + column->texts.used, cell->bytes, cell->length);
	column->texts.used += cell->length;
	return append_varlena(column, datum, 0, size, error);
}

/* Adds a value that the column does not contain, or in which it is no longer searched for. */
static bool
append_value(ClariSink *sink, Column *column, const ClariCell *cell, ClariError *error)
{
	Value value = {(uint32_t) column->heap.used, (uint32_t) column->texts.used, cell->length};

	if (column->nvalues == column->values_capacity)
	{
		uint32_t capacity = column->values_capacity == 0 ? 64 : column->values_capacity * 2;

		if (!grow_array(&column->values, capacity, sizeof(Value)))
			return clari_error_out_of_memory(error);
		column->values_capacity = capacity;
	}
	if (column->type == CLARI_NUMERIC)
	{
		if (!append_numeric(sink, column, cell, error))
			return false;
	}
	else
	{
		value.key = value.offset + VARHDRSZ;
		if (!append_varlena(column, cell->bytes, VARHDRSZ, VARHDRSZ + (size_t) cell->length, error))
			return false;
	}
	column->values[column->nvalues++] = value;
	return true;
}

/* Sets column->last to the code of a text or numeric that is not NULL, adding the value if needed. */
static bool
find_code(ClariSink *sink, Column *column, const ClariCell *cell, ClariError *error)
{
	uint32_t hash;
	Bucket *bucket;

	column->nfilled++;
	if (column->last != 0 && is_value(column, column->last, cell))
		return true;
	if (column->hashing && column->nfilled >= JUDGE_ROWS && column->nvalues > column->nfilled / 2)
		column->hashing = false;
	if (!column->hashing)
	{
		column->last = column->nvalues + 1;
		return append_value(sink, column, cell, error);
	}
	if (!grow_buckets(column, error))
		return false;
	hash = hash_bytes(cell->bytes, cell->length);
	bucket = find_bucket(column, cell, hash);
	if (bucket->code == 0)
	{
		if (!append_value(sink, column, cell, error))
			return false;
		bucket->hash = hash;
		bucket->code = column->nvalues;
	}
	column->last = bucket->code;
	return true;
}

/* ------- rows ------- */

/* The words for a value of the type, in the message about one of another type. */
static const char *
name_of_type(ClariType type)
{
	switch (type)
	{
		case CLARI_BOOL:
			return "true or false";
		case CLARI_DATE:
			return "a text with a date";
		case CLARI_INTEGER:
			return "an integer";
		default:
			return "milliseconds since 1970 as an integer";
	}
}

/* Stores a sentence that shows the value of another type, and which item has it, in place of the column's values. */
static bool
put_unexpected(ClariGroup *group, Column *column, const ClariCell *cells, const ClariCell *note, ClariError *error)
{
	static const int of_entry[] = {CLARI_ENTRY_USER_ID, CLARI_ENTRY_TIME_FRAME_ID, CLARI_ENTRY_FIELD_ID};
	static const int of_flat[] = {CLARI_ENTRY_OWNER_NAME, CLARI_ENTRY_OWNER_EMAIL, CLARI_ENTRY_TIME_PERIOD_ID};
	static const int first[] = {0};
	bool is_entry = group->list == CLARI_ENTRIES;
	const int *ids = !is_entry ? first : cells[CLARI_ENTRY_USER_ID].bytes != NULL ? of_entry : of_flat;
	const ClariListInfo *list = &clari_lists[group->list];
	char text[640];
	size_t used;

	used = (size_t) snprintf(text, sizeof(text), "It is %.*s instead of %s, in an item of list \"%s\"",
							 (int) note->length, note->bytes, name_of_type(column->type), list->key);
	for (int i = 0; i < (is_entry ? 3 : 1); i++)
		if (cells[ids[i]].bytes != NULL)
			used += (size_t) snprintf(text + used, sizeof(text) - used, "%s %s \"%.*s\"", i == 0 ? " with" : ",",
									  list->attributes[ids[i]].key,
									  clari_item_clip(cells[ids[i]].bytes, cells[ids[i]].length, SHOWN),
									  cells[ids[i]].bytes);
	used += (size_t) snprintf(text + used, sizeof(text) - used, ".");
	column->unexpected = true;
	return append_varlena(column, text, VARHDRSZ, VARHDRSZ + used, error);
}

/* Stores the row's value of a column of fixed width, or that it is of another type. */
static bool
put_fixed(ClariGroup *group, Column *column, const ClariCell *cells, const ClariCell *cell, ClariError *error)
{
	group->length += sizeof(int64_t);
	column->fixed[group->nrows] = CLARI_FIXED_NULL;
	if (cell->bytes == NULL)
		return true;
	if (clari_cell_is_note(cell) && cell->length < CLARI_NOTE_SIZE)
		return column->unexpected || put_unexpected(group, column, cells, cell, error);
	if (cell->length != sizeof(int64_t))
		return clari_error_set(error, CLARI_ERROR_IO, "a temporary file does not hold what was written to it");
	column->fixed[group->nrows] = clari_cell_fixed(cell);
	column->nfilled++;
	return true;
}

static bool
put_cell(ClariGroup *group, Column *column, const ClariCell *cells, const ClariCell *cell, ClariError *error)
{
	size_t heap_used = column->heap.used;

	if (is_fixed(column))
	{
		if (!put_fixed(group, column, cells, cell, error))
			return false;
		group->length += column->heap.used - heap_used;
		return true;
	}
	group->length += sizeof(uint32_t);
	column->codes[group->nrows] = 0;
	if (cell->bytes == NULL)
		return true;
	if (!find_code(group->sink, column, cell, error))
		return false;
	column->codes[group->nrows] = column->last;
	group->length += column->heap.used - heap_used;
	return true;
}

bool
clari_group_put_row(ClariGroup *group, const ClariCell *cells, bool begins_run, ClariError *error)
{
	if (begins_run && (group->nrows >= CLARI_GROUP_ROWS || group->length >= CLARI_GROUP_BYTES) &&
		!clari_group_flush(group, error))
		return false;
	if (group->nrows == group->row_capacity && !grow_rows(group, error))
		return false;
	for (int i = 0; i < group->ncolumns; i++)
		if (!put_cell(group, &group->columns[i], cells, &cells[i], error))
			return false;
	if (group->list == CLARI_ENTRIES && begins_run)
	{
		group->runs[group->nruns++] = group->nrows;
		group->length += sizeof(uint32_t);
	}
	group->nrows++;
	/* The padding of the chunks is not included in group->length, nor are the hashes, of two bytes for each value. */
	if (group->length + 8 * CLARI_CHUNK_COUNT + group->nrows * 2 * CLARI_HASHED_ATTRIBUTES > CLARI_GROUP_MAX_BYTES)
	{
		clari_error_set(error, CLARI_ERROR_LIMIT, "the entries of one user and time frame take more than %d MB",
						CLARI_GROUP_MAX_BYTES >> 20);
		clari_error_detail(error, "It is user \"%.*s\".", (int) cells[0].length,
						   cells[0].bytes == NULL ? "" : cells[0].bytes);
		return false;
	}
	return true;
}

/* ------- chunks ------- */

/* Appends bytes to the chunk, and updates its checksum and length. */
static bool
put_bytes(ClariGroup *group, ClariChunkIndex *chunk, const void *bytes, size_t length, ClariError *error)
{
	COMP_CRC32C(chunk->crc, bytes, length);
	chunk->length += (uint32_t) length;
	return clari_sink_put(group->sink, bytes, length, error);
}

static bool
put_padding(ClariSink *sink, size_t length, ClariError *error)
{
	static const char zeros[8];

	return clari_sink_put(sink, zeros, (8 - length % 8) % 8, error);
}

/* Writes a dictionary: uint16 codes, offsets, heap. */
static bool
put_dictionary(ClariGroup *group, const Column *column, ClariChunkIndex *chunk, ClariError *error)
{
	uint16_t *codes = (uint16_t *) group->scratch;
	uint32_t head = (group->nrows * 2 + 3) & ~UINT32_C(3);
	uint32_t base = head + column->nvalues * 4;

	codes[head / 2 - 1] = 0;
	for (uint32_t row = 0; row < group->nrows; row++)
		codes[row] = (uint16_t) column->codes[row];
	if (!put_bytes(group, chunk, codes, head, error))
		return false;
	/* There are at most half as many values as rows, so scratch is large enough. */
	for (uint32_t i = 0; i < column->nvalues; i++)
		((uint32_t *) group->scratch)[i] = base + column->values[i].offset;
	chunk->ndistinct = column->nvalues;
	return put_bytes(group, chunk, group->scratch, column->nvalues * sizeof(uint32_t), error) &&
		   put_bytes(group, chunk, column->heap.data, column->heap.used, error);
}

/* Writes a plain chunk: offsets, heap. */
static bool
put_plain(ClariGroup *group, const Column *column, ClariChunkIndex *chunk, ClariError *error)
{
	uint32_t *offsets = (uint32_t *) group->scratch;
	uint32_t base = group->nrows * 4;

	for (uint32_t row = 0; row < group->nrows; row++)
		offsets[row] = column->codes[row] == 0 ? 0 : base + column->values[column->codes[row] - 1].offset;
	return put_bytes(group, chunk, offsets, group->nrows * sizeof(uint32_t), error) &&
		   put_bytes(group, chunk, column->heap.data, column->heap.used, error);
}

/* Writes the hashes of a text column's values, which are the varlenas in heap. */
static bool
put_hashes(ClariGroup *group, const Column *column, ClariChunkIndex *chunk, ClariError *error)
{
	uint16_t *hashes = (uint16_t *) group->scratch;

	for (uint32_t i = 0; i < column->nvalues; i++)
	{
		const char *value = column->heap.data + column->values[i].offset;

		hashes[i] = clari_rowset_hash(VARDATA(value), VARSIZE(value) - VARHDRSZ);
	}
	return put_bytes(group, chunk, hashes, column->nvalues * sizeof(uint16_t), error);
}

static ClariEncoding
choose_encoding(const ClariGroup *group, const Column *column)
{
	if (column->unexpected)
		return CLARI_ENCODING_UNEXPECTED;
	if (column->nfilled == 0)
		return CLARI_ENCODING_NULL;
	if (is_fixed(column))
		return CLARI_ENCODING_FIXED;
	if (column->nvalues == 1 && column->nfilled == group->nrows)
		return CLARI_ENCODING_CONSTANT;
	/* The heap is the same for both encodings. */
	if (column->nvalues <= MAX_DICTIONARY &&
		((group->nrows * 2 + 3) & ~UINT32_C(3)) + column->nvalues * 4 < group->nrows * 4)
		return CLARI_ENCODING_DICTIONARY;
	return CLARI_ENCODING_PLAIN;
}

static bool
put_encoded(ClariGroup *group, const Column *column, ClariChunkIndex *chunk, ClariError *error)
{
	switch (chunk->encoding)
	{
		case CLARI_ENCODING_CONSTANT:
		case CLARI_ENCODING_UNEXPECTED:
			return put_bytes(group, chunk, column->heap.data, column->heap.used, error);
		case CLARI_ENCODING_DICTIONARY:
			return put_dictionary(group, column, chunk, error);
		case CLARI_ENCODING_PLAIN:
			return put_plain(group, column, chunk, error);
		case CLARI_ENCODING_FIXED:
			return put_bytes(group, chunk, column->fixed, group->nrows * sizeof(int64_t), error);
		case CLARI_ENCODING_HASHES:
			return put_hashes(group, column, chunk, error);
		default:
			return put_bytes(group, chunk, group->runs, group->nruns * sizeof(uint32_t), error);
	}
}

/* Returns the column of a chunk, or NULL for the chunk of the runs. */
static const Column *
chunk_column(const ClariGroup *group, int position)
{
	if (position >= CLARI_HASHES_CHUNK)
		return &group->columns[clari_hashed_attributes[position - CLARI_HASHES_CHUNK]];
	return position == CLARI_RUNS_CHUNK ? NULL : &group->columns[position];
}

static ClariEncoding
choose_chunk_encoding(const ClariGroup *group, const Column *column, int position)
{
	ClariEncoding encoding;

	if (column == NULL)
		return group->nruns > 0 ? CLARI_ENCODING_RUNS : CLARI_ENCODING_NULL;
	if (position >= CLARI_HASHES_CHUNK && group->list != CLARI_ENTRIES)
		return CLARI_ENCODING_NULL;
	if (position < CLARI_HASHES_CHUNK && position >= group->ncolumns)
		return CLARI_ENCODING_NULL;
	encoding = choose_encoding(group, column);
	if (position < CLARI_HASHES_CHUNK)
		return encoding;
	return column->nvalues >= HASHED_VALUES &&
				   (encoding == CLARI_ENCODING_DICTIONARY || encoding == CLARI_ENCODING_PLAIN)
			   ? CLARI_ENCODING_HASHES
			   : CLARI_ENCODING_NULL;
}

static bool
put_chunk(ClariGroup *group, ClariGroupIndex *index, int position, ClariError *error)
{
	ClariChunkIndex *chunk = &index->chunks[position];
	const Column *column = chunk_column(group, position);

	chunk->encoding = choose_chunk_encoding(group, column, position);
	if (chunk->encoding == CLARI_ENCODING_NULL)
		return true;
	chunk->offset = (uint32_t) (group->sink->position - index->offset);
	INIT_CRC32C(chunk->crc);
	if (!put_encoded(group, column, chunk, error))
		return false;
	FIN_CRC32C(chunk->crc);
	return put_padding(group->sink, chunk->length, error);
}

static bool
grow_index(ClariSink *sink, ClariError *error)
{
	uint32_t capacity = sink->groups_capacity == 0 ? 16 : sink->groups_capacity * 2;

	if (sink->ngroups < sink->groups_capacity)
		return true;
	if (!grow_array(&sink->groups, capacity, sizeof(ClariGroupIndex)))
		return clari_error_out_of_memory(error);
	sink->groups_capacity = capacity;
	return true;
}

bool
clari_group_flush(ClariGroup *group, ClariError *error)
{
	ClariSink *sink = group->sink;
	ClariGroupIndex *index;

	if (group->nrows == 0)
		return true;
	/* Writes no bytes of its own, but the magic if this is the first group. */
	if (!grow_index(sink, error) || !clari_sink_put(sink, NULL, 0, error))
		return false;
	index = &sink->groups[sink->ngroups];
	memset(index, 0, sizeof(*index));
	index->list = group->list;
	index->nrows = group->nrows;
	index->nruns = group->nruns;
	index->offset = sink->position;
	for (int position = 0; position < CLARI_CHUNK_COUNT; position++)
		if (!put_chunk(group, index, position, error))
			return false;
	index->length = (uint32_t) (sink->position - index->offset);
	sink->ngroups++;
	sink->rows[group->list] += group->nrows;
	reset_group(group);
	return true;
}
