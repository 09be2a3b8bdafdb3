/*
 * rowset_small.h
 *		A list that stays in memory whole: fields, time periods, time frames.
 *
 * Private to rowset_*.c.  Pure: malloc only.
 */
#ifndef CLARI_ROWSET_SMALL_H
#define CLARI_ROWSET_SMALL_H

#include <stddef.h>

#include "rowset/item.h"

#define CLARI_SMALL_CELLS CLARI_TIME_PERIOD_COUNT /* the most attributes of a small list */

typedef struct ClariSmallItem
{
	ClariCell cells[CLARI_SMALL_CELLS]; /* into record */
	char *record;
	bool carries_forecast; /* fields: what the entries have shown; the writer's */
	bool carries_quota;
	bool repeated; /* the same as an item before */
} ClariSmallItem;

/* All zero is an empty list. */
typedef struct ClariSmallList
{
	ClariSmallItem *items; /* in the file's order */
	size_t count;
	size_t capacity;
	size_t bytes;            /* that the items take */
	ClariSmallItem **sorted; /* distinct, by id */
	size_t nsorted;
	ClariSmallItem *last; /* found */
} ClariSmallList;

/* Keeps a copy of an item, whose first cell is its id and not NULL.  False: out of memory. */
extern bool clari_small_add(ClariSmallList *small, ClariList list, const ClariCell *cells, ClariError *error);

/*
 * Ends adding.  False: out of memory, or CLARI_ERROR_DATA for two different
 * items of one id; the same item twice counts once.
 */
extern bool clari_small_index(ClariSmallList *small, ClariList list, ClariError *error);

/* The item of an id, or NULL.  Cheap when it is the one that was found last. */
extern ClariSmallItem *clari_small_find(ClariSmallList *small, const ClariCell *id);

/* The error of two different items of one id, for any list; returns false. */
extern bool clari_small_conflict(ClariList list, const ClariCell *id, ClariError *error);

extern void clari_small_free(ClariSmallList *small);

#endif /* CLARI_ROWSET_SMALL_H */
