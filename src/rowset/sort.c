/*
 * sort.c
 *		External merge sort of items: see internal.h.
 *
 * Packed items are collected in one block.  When it is full, they are sorted
 * and written as a run to the spill file, a file without a name.  At the end
 * the runs are merged, in several passes if the memory does not suffice for a
 * buffer for each run.  If all items fit into the block, there is no file.
 *
 * Runs in the worker; takes no locks; never calls palloc or raises.
 */
#include "rowset/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_BLOCK (64 * 1024)
#define MAX_MEMORY ((size_t) 1 << 30) /* offsets in the block have 32 bits */
#define WRITE_BUFFER (64 * 1024)
#define MAX_READ_BUFFER (64 * 1024) /* bytes, for each run that is merged … */
#define MIN_READ_BUFFER (8 * 1024)
#define MAX_COMMON 64
#define MAX_KEYS 3

/* A packed item in the block, with the eight bytes of its first key that follow the beginning common to all keys. */
typedef struct SortItem
{
	uint64_t prefix;
	uint32_t offset;
} SortItem;

/* The memory that a packed item needs for sorting: a SortItem, and half of one for merging. */
#define ITEM_COST (sizeof(SortItem) + sizeof(SortItem) / 2)

typedef struct SortRun
{
	uint64_t offset; /* in the spill file */
	uint64_t length;
} SortRun;

typedef struct RunReader
{
	uint64_t offset; /* in the spill file, of the bytes to read next */
	uint64_t end;
	char *buffer;
	size_t capacity;
	size_t filled;
	size_t at; /* of the packed item in buffer */
	uint32_t size;
	uint32_t number; /* of the run: among equal keys, that of the run with the lower number is first */
	uint64_t prefix;
	ClariCell keys[MAX_KEYS];
} RunReader;

struct ClariSorter
{
	const ClariRowsetOutput *output;
	int ncells;
	int nkeys;
	size_t memory;

	/* The beginning that all first keys have in common; the prefixes follow it. */
	char common[MAX_COMMON];
	uint32_t ncommon;
	uint32_t largest; /* size in bytes of the largest packed item */

	char *block;
	size_t capacity;
	size_t used;
	uint32_t count;  /* number of packed items in the block */
	SortItem *items; /* after the packed items, once the block is sorted */
	uint32_t next;

	int spill; /* descriptor, or -1 */
	uint64_t spill_end;
	char *write_buffer;
	size_t write_used;
	SortRun *runs;
	size_t nruns;
	size_t runs_capacity;

	/* For merging: a heap of readers, with the least item at its top. */
	RunReader *readers;
	size_t nreaders;
	RunReader **heap;
	size_t nheap;
	bool begun; /* the top's item has been returned, so the reader must advance */
};

ClariSorter *
clari_sorter_open(const ClariRowsetOutput *output, ClariList list, int nkeys, size_t memory)
{
	ClariSorter *sorter = calloc(1, sizeof(*sorter));

	if (sorter == NULL)
		return NULL;
	sorter->output = output;
	sorter->ncells = clari_lists[list].nattributes;
	sorter->nkeys = nkeys;
	sorter->memory = memory < MAX_MEMORY ? memory : MAX_MEMORY;
	sorter->spill = -1;
	return sorter;
}

static void
close_readers(ClariSorter *sorter)
{
	for (size_t i = 0; i < sorter->nreaders; i++)
		free(sorter->readers[i].buffer);
	free(sorter->readers);
	free(sorter->heap);
	sorter->readers = NULL;
	sorter->heap = NULL;
	sorter->nreaders = sorter->nheap = 0;
	sorter->begun = false;
}

void
clari_sorter_close(ClariSorter *sorter)
{
	if (sorter == NULL)
		return;
	close_readers(sorter);
	if (sorter->spill >= 0)
		close(sorter->spill);
	free(sorter->block);
	free(sorter->write_buffer);
	free(sorter->runs);
	free(sorter);
}

/* ------- order ------- */

/*
 * Returns the prefix of a key: the bytes after the common beginning as an
 * integer, so that most comparisons are of integers.
 */
static uint64_t
key_prefix(const ClariSorter *sorter, const ClariCell *key)
{
	unsigned char bytes[8] = {0};
	uint32_t left = key->length > sorter->ncommon ? key->length - sorter->ncommon : 0;
	uint64_t prefix;

	memcpy(bytes, key->bytes + (left > 0 ? sorter->ncommon : 0), left < 8 ? left : 8);
	memcpy(&prefix, bytes, sizeof(prefix));
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	prefix = __builtin_bswap64(prefix);
#endif
	return prefix;
}

static int
compare_keys(const ClariCell *a, const ClariCell *b, int nkeys)
{
	int order = clari_cell_compare(&a[0], &b[0]);

	for (int i = 1; i < nkeys && order == 0; i++)
		order = clari_cell_compare(&a[i], &b[i]);
	return order;
}

/* Reads the size and keys of a packed item.  Returns false if the bytes are not a packed item. */
static bool
read_keys(const ClariSorter *sorter, const char *packed, uint32_t size, ClariCell *keys)
{
	if (!clari_item_unpack(packed, size, sorter->nkeys, keys))
		return false;
	for (int i = 0; i < sorter->nkeys; i++)
		if (keys[i].bytes == NULL)
			return false;
	return true;
}

static uint32_t
packed_size(const char *packed)
{
	uint32_t size;

	memcpy(&size, packed, sizeof(size));
	return size;
}

static bool
item_before(const ClariSorter *sorter, const SortItem *a, const SortItem *b)
{
	ClariCell a_keys[MAX_KEYS];
	ClariCell b_keys[MAX_KEYS];

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix;
	read_keys(sorter, sorter->block + a->offset, packed_size(sorter->block + a->offset), a_keys);
	read_keys(sorter, sorter->block + b->offset, packed_size(sorter->block + b->offset), b_keys);
	return compare_keys(a_keys, b_keys, sorter->nkeys) < 0;
}

/*
 * Sorts the items by a stable merge sort, which is linear if they are in order
 * already.  temp has room for count / 2 items.
 */
static void
sort_items(const ClariSorter *sorter, SortItem *items, SortItem *temp, size_t count)
{
	size_t half = count / 2;
	size_t left = 0;
	size_t right = half;
	size_t to = 0;

	if (count <= 8)
	{
		for (size_t i = 1; i < count; i++)
		{
			SortItem item = items[i];
			size_t at = i;

			for (; at > 0 && item_before(sorter, &item, &items[at - 1]); at--)
				items[at] = items[at - 1];
			items[at] = item;
		}
		return;
	}
	sort_items(sorter, items, temp, half);
	sort_items(sorter, items + half, temp, count - half);
	if (!item_before(sorter, &items[half], &items[half - 1]))
		return;
	memcpy(temp, items, half * sizeof(*items));
	while (left < half && right < count)
		items[to++] = item_before(sorter, &items[right], &temp[left]) ? items[right++] : temp[left++];
	memcpy(items + to, temp + left, (half - left) * sizeof(*items));
}

static size_t
items_offset(size_t used)
{
	return (used + sizeof(uint64_t) - 1) & ~(sizeof(uint64_t) - 1);
}

/* Sorts the items in the block: creates their SortItems after them, and sorts these. */
static void
sort_block(ClariSorter *sorter)
{
	size_t offset = 0;

	sorter->items = (SortItem *) (sorter->block + items_offset(sorter->used));
	for (uint32_t i = 0; i < sorter->count; i++)
	{
		const char *packed = sorter->block + offset;
		ClariCell keys[MAX_KEYS];

		read_keys(sorter, packed, packed_size(packed), keys);
		sorter->items[i].prefix = key_prefix(sorter, &keys[0]);
		sorter->items[i].offset = (uint32_t) offset;
		offset += packed_size(packed);
	}
	sort_items(sorter, sorter->items, sorter->items + sorter->count, sorter->count);
}

/* ------- runs ------- */

static bool
write_fully(ClariSorter *sorter, ClariError *error)
{
	size_t done = 0;

	while (done < sorter->write_used)
	{
		ssize_t n = pwrite(sorter->spill, sorter->write_buffer + done, sorter->write_used - done,
						   (off_t) (sorter->spill_end + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
		{
			clari_error_set(error, CLARI_ERROR_IO, "could not write to a temporary file");
			clari_error_detail(error, "%s.", strerror(n < 0 ? errno : ENOSPC));
			return false;
		}
		done += (size_t) n;
	}
	sorter->spill_end += done;
	sorter->write_used = 0;
	return true;
}

static bool
write_packed(ClariSorter *sorter, const char *packed, size_t size, ClariError *error)
{
	while (size > 0)
	{
		size_t room = WRITE_BUFFER - sorter->write_used;
		size_t part = size < room ? size : room;

		memcpy(sorter->write_buffer + sorter->write_used, packed, part);
		sorter->write_used += part;
		packed += part;
		size -= part;
		if (sorter->write_used == WRITE_BUFFER && !write_fully(sorter, error))
			return false;
	}
	return true;
}

/* Prepares to write a run: opens the spill file if it is the first, and makes room for it in the array. */
static bool
begin_run(ClariSorter *sorter, ClariError *error)
{
	if (sorter->write_buffer == NULL && (sorter->write_buffer = malloc(WRITE_BUFFER)) == NULL)
		return clari_error_out_of_memory(error);
	if (sorter->spill < 0)
		sorter->spill = sorter->output->open_spill(sorter->output->arg, error);
	if (sorter->spill < 0)
		return false;
	if (sorter->nruns == sorter->runs_capacity)
	{
		size_t capacity = sorter->runs_capacity == 0 ? 64 : sorter->runs_capacity * 2;
		SortRun *runs = realloc(sorter->runs, capacity * sizeof(*runs));

		if (runs == NULL)
			return clari_error_out_of_memory(error);
		sorter->runs = runs;
		sorter->runs_capacity = capacity;
	}
	return true;
}

static bool
spill_block(ClariSorter *sorter, ClariError *error)
{
	SortRun run;

	if (!begin_run(sorter, error))
		return false;
	run.offset = sorter->spill_end;
	sort_block(sorter);
	for (uint32_t i = 0; i < sorter->count; i++)
	{
		const char *packed = sorter->block + sorter->items[i].offset;

		if (!write_packed(sorter, packed, packed_size(packed), error))
			return false;
	}
	if (!write_fully(sorter, error))
		return false;
	run.length = sorter->spill_end - run.offset;
	sorter->runs[sorter->nruns++] = run;
	sorter->used = 0;
	sorter->count = 0;
	return true;
}

/* ------- adding ------- */

/* Makes room for a packed item in the block, by enlarging the block or else by spilling its items. */
static bool
make_room(ClariSorter *sorter, size_t size, ClariError *error)
{
	size_t needed = items_offset(sorter->used + size) + (sorter->count + 1) * ITEM_COST;
	size_t capacity;
	char *block;

	if (needed <= sorter->capacity)
		return true;
	if (needed > sorter->memory && sorter->count > 0)
		return spill_block(sorter, error) && make_room(sorter, size, error);
	capacity = sorter->capacity == 0 ? FIRST_BLOCK : sorter->capacity * 2;
	if (capacity > sorter->memory)
		capacity = sorter->memory;
	if (capacity < needed)
		capacity = needed;
	block = realloc(sorter->block, capacity);
	if (block == NULL)
		return clari_error_out_of_memory(error);
	sorter->block = block;
	sorter->capacity = capacity;
	return true;
}

static void
learn_common(ClariSorter *sorter, const ClariCell *key)
{
	uint32_t same = 0;

	if (sorter->largest == 0)
	{
		sorter->ncommon = key->length < MAX_COMMON ? key->length : MAX_COMMON;
		memcpy(sorter->common, key->bytes, sorter->ncommon);
	}
	while (same < sorter->ncommon && same < key->length && key->bytes[same] == sorter->common[same])
		same++;
	sorter->ncommon = same;
}

bool
clari_sorter_add(ClariSorter *sorter, const ClariCell *cells, ClariError *error)
{
	size_t size = clari_item_size(cells, sorter->ncells);

	learn_common(sorter, &cells[0]);
	if (size > sorter->largest)
		sorter->largest = (uint32_t) size;
	if (!make_room(sorter, size, error))
		return false;
	clari_item_pack(cells, sorter->ncells, size, sorter->block + sorter->used);
	sorter->used += size;
	sorter->count++;
	return true;
}

/* ------- merging ------- */

static bool
damaged(ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_IO, "could not read from a temporary file");
	clari_error_detail(error, "The file does not hold what was written to it.");
	return false;
}

/* Ensures that the reader's buffer contains at least needed bytes from reader->at on. */
static bool
fill_reader(ClariSorter *sorter, RunReader *reader, size_t needed, ClariError *error)
{
	reader->filled -= reader->at;
	memmove(reader->buffer, reader->buffer + reader->at, reader->filled);
	reader->at = 0;
	if (needed > reader->capacity)
	{
		char *buffer = realloc(reader->buffer, needed);

		if (buffer == NULL)
			return clari_error_out_of_memory(error);
		reader->buffer = buffer;
		reader->capacity = needed;
	}
	while (reader->filled < needed)
	{
		uint64_t left = reader->end - reader->offset;
		size_t room = reader->capacity - reader->filled;
		ssize_t n = pread(sorter->spill, reader->buffer + reader->filled, left < room ? (size_t) left : room,
						  (off_t) reader->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			clari_error_set(error, CLARI_ERROR_IO, "could not read from a temporary file");
			clari_error_detail(error, "%s.", strerror(errno));
			return false;
		}
		if (n == 0)
			return damaged(error);
		reader->filled += (size_t) n;
		reader->offset += (uint64_t) n;
	}
	return true;
}

/* Advances to the run's next item; its size is 0 after the last. */
static bool
advance_reader(ClariSorter *sorter, RunReader *reader, ClariError *error)
{
	reader->at += reader->size;
	reader->size = 0;
	if (reader->at == reader->filled && reader->offset == reader->end)
		return true;
	if (reader->filled - reader->at < CLARI_ITEM_HEAD && !fill_reader(sorter, reader, CLARI_ITEM_HEAD, error))
		return false;
	reader->size = packed_size(reader->buffer + reader->at);
	if (reader->size < CLARI_ITEM_HEAD || reader->size > sorter->largest)
		return damaged(error);
	if (reader->filled - reader->at < reader->size && !fill_reader(sorter, reader, reader->size, error))
		return false;
	if (!read_keys(sorter, reader->buffer + reader->at, reader->size, reader->keys))
		return damaged(error);
	reader->prefix = key_prefix(sorter, &reader->keys[0]);
	return true;
}

static bool
reader_before(const ClariSorter *sorter, const RunReader *a, const RunReader *b)
{
	int order;

	if (a->prefix != b->prefix)
		return a->prefix < b->prefix;
	order = compare_keys(a->keys, b->keys, sorter->nkeys);
	return order != 0 ? order < 0 : a->number < b->number;
}

/* Restores the heap's order after the reader at position "at" has advanced. */
static void
sift_down(ClariSorter *sorter, size_t at)
{
	RunReader *reader = sorter->heap[at];

	for (;;)
	{
		size_t child = 2 * at + 1;

		if (child >= sorter->nheap)
			break;
		if (child + 1 < sorter->nheap && reader_before(sorter, sorter->heap[child + 1], sorter->heap[child]))
			child++;
		if (!reader_before(sorter, sorter->heap[child], reader))
			break;
		sorter->heap[at] = sorter->heap[child];
		at = child;
	}
	sorter->heap[at] = reader;
}

static bool
begin_merge(ClariSorter *sorter, size_t first, size_t nruns, ClariError *error)
{
	size_t buffer = sorter->memory / nruns;

	buffer = buffer > MAX_READ_BUFFER ? MAX_READ_BUFFER : buffer;
	buffer = buffer < MIN_READ_BUFFER ? MIN_READ_BUFFER : buffer;
	sorter->readers = calloc(nruns, sizeof(*sorter->readers));
	sorter->heap = calloc(nruns, sizeof(RunReader *));
	if (sorter->readers == NULL || sorter->heap == NULL)
		return clari_error_out_of_memory(error);
	for (size_t i = 0; i < nruns; i++)
	{
		RunReader *reader = &sorter->readers[i];

		reader->offset = sorter->runs[first + i].offset;
		reader->end = reader->offset + sorter->runs[first + i].length;
		reader->number = (uint32_t) i;
		reader->capacity = buffer;
		reader->buffer = malloc(buffer);
		sorter->nreaders++;
		if (reader->buffer == NULL)
			return clari_error_out_of_memory(error);
		if (!advance_reader(sorter, reader, error))
			return false;
		sorter->heap[sorter->nheap++] = reader;
	}
	for (size_t i = nruns / 2; i-- > 0;)
		sift_down(sorter, i);
	return true;
}

/* Returns the next item of the merge, or NULL after the last. */
static bool
next_merged(ClariSorter *sorter, const char **packed, size_t *size, ClariError *error)
{
	*packed = NULL;
	if (sorter->begun && sorter->nheap > 0)
	{
		if (!advance_reader(sorter, sorter->heap[0], error))
			return false;
		if (sorter->heap[0]->size == 0)
			sorter->heap[0] = sorter->heap[--sorter->nheap];
		if (sorter->nheap > 0)
			sift_down(sorter, 0);
	}
	sorter->begun = true;
	if (sorter->nheap == 0)
		return true;
	*packed = sorter->heap[0]->buffer + sorter->heap[0]->at;
	*size = sorter->heap[0]->size;
	return true;
}

/* Merges neighboring runs into one. */
static bool
merge_runs(ClariSorter *sorter, size_t first, size_t nruns, SortRun *merged, ClariError *error)
{
	const char *packed;
	size_t size = 0;

	merged->offset = sorter->spill_end;
	if (!begin_merge(sorter, first, nruns, error))
		return false;
	for (;;)
	{
		if (!next_merged(sorter, &packed, &size, error))
			return false;
		if (packed == NULL)
			break;
		if (!write_packed(sorter, packed, size, error))
			return false;
	}
	close_readers(sorter);
	if (!write_fully(sorter, error))
		return false;
	merged->length = sorter->spill_end - merged->offset;
	return true;
}

/* Merges runs until the memory suffices for a buffer for each remaining run. */
static bool
reduce_runs(ClariSorter *sorter, ClariError *error)
{
	size_t fan_in = sorter->memory / MIN_READ_BUFFER;

	if (fan_in < 2)
		fan_in = 2;
	while (sorter->nruns > fan_in)
	{
		size_t kept = 0;

		for (size_t first = 0; first < sorter->nruns; first += fan_in)
		{
			size_t count = sorter->nruns - first < fan_in ? sorter->nruns - first : fan_in;
			SortRun merged = sorter->runs[first];

			if (count > 1 && !merge_runs(sorter, first, count, &merged, error))
				return false;
			sorter->runs[kept++] = merged;
		}
		sorter->nruns = kept;
	}
	return true;
}

bool
clari_sorter_sort(ClariSorter *sorter, ClariError *error)
{
	if (sorter->nruns == 0)
	{
		if (sorter->count > 0)
			sort_block(sorter);
		return true;
	}
	if (sorter->count > 0 && !spill_block(sorter, error))
		return false;
	free(sorter->block);
	sorter->block = NULL;
	sorter->capacity = 0;
	return reduce_runs(sorter, error) && begin_merge(sorter, 0, sorter->nruns, error);
}

bool
clari_sorter_next(ClariSorter *sorter, const char **packed, size_t *size, ClariError *error)
{
	if (sorter->nruns > 0)
		return next_merged(sorter, packed, size, error);
	*packed = NULL;
	if (sorter->next == sorter->count)
		return true;
	*packed = sorter->block + sorter->items[sorter->next++].offset;
	*size = packed_size(*packed);
	return true;
}
