/*
 * rowset_small.c
 *		Lists that stay in memory whole: see rowset_small.h.
 *
 * Runs wherever the rowset writer runs; takes no locks; never raises.
 */
#include "rowset/small.h"

#include <stdlib.h>
#include <string.h>

bool
clari_small_add(ClariSmallList *small, ClariList list, const ClariCell *cells, ClariError *error)
{
	int ncells = clari_lists[list].nattributes;
	size_t size = clari_record_size(cells, ncells);
	ClariSmallItem *item;

	if (small->count == small->capacity)
	{
		size_t capacity = small->capacity == 0 ? 16 : small->capacity * 2;
		ClariSmallItem *items = realloc(small->items, capacity * sizeof(*items));

		if (items == NULL)
			return clari_error_out_of_memory(error);
		small->items = items;
		small->capacity = capacity;
	}
	item = &small->items[small->count];
	memset(item, 0, sizeof(*item));
	item->record = malloc(size);
	if (item->record == NULL)
		return clari_error_out_of_memory(error);
	small->count++;
	small->bytes += size + sizeof(ClariSmallItem) + sizeof(ClariSmallItem *);
	clari_record_pack(cells, ncells, size, item->record);
	clari_record_unpack(item->record, size, ncells, item->cells);
	return true;
}

void
clari_small_free(ClariSmallList *small)
{
	for (size_t i = 0; i < small->count; i++)
		free(small->items[i].record);
	free(small->items);
	free(small->sorted);
	memset(small, 0, sizeof(*small));
}

bool
clari_small_conflict(ClariList list, const ClariCell *id, ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_DATA, "the export file holds different items with the same id in list \"%s\"",
					clari_lists[list].key);
	clari_error_detail(error, "The id is \"%.*s\".", (int) id->length, id->bytes);
	return false;
}

/* By id, and those of one id in the file's order. */
static int
compare_small(const void *a, const void *b)
{
	const ClariSmallItem *one = *(ClariSmallItem *const *) a;
	const ClariSmallItem *other = *(ClariSmallItem *const *) b;
	int order = clari_cell_compare(&one->cells[0], &other->cells[0]);

	return order != 0 ? order : (one > other) - (one < other);
}

bool
clari_small_index(ClariSmallList *small, ClariList list, ClariError *error)
{
	if (small->count == 0)
		return true;
	small->sorted = malloc(small->count * sizeof(ClariSmallItem *));
	if (small->sorted == NULL)
		return clari_error_out_of_memory(error);
	for (size_t i = 0; i < small->count; i++)
		small->sorted[i] = &small->items[i];
	qsort(small->sorted, small->count, sizeof(ClariSmallItem *), compare_small);
	for (size_t i = 0; i < small->count; i++)
	{
		ClariSmallItem *item = small->sorted[i];
		ClariSmallItem *before = small->nsorted > 0 ? small->sorted[small->nsorted - 1] : NULL;

		if (before == NULL || !clari_cell_equal(&before->cells[0], &item->cells[0]))
		{
			small->sorted[small->nsorted++] = item;
			continue;
		}
		for (int cell = 0; cell < clari_lists[list].nattributes; cell++)
			if (!clari_cell_equal(&before->cells[cell], &item->cells[cell]))
				return clari_small_conflict(list, &item->cells[0], error);
		item->repeated = true;
	}
	return true;
}

ClariSmallItem *
clari_small_find(ClariSmallList *small, const ClariCell *id)
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
