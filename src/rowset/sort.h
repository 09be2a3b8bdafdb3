/*
 * rowset_sort.h
 *		A sorter of items by their leading attributes, in bounded memory: what
 *		does not fit goes to a spill file in sorted runs, which are merged.
 *
 * Private to rowset_*.c.  Pure but for read, write and close on the descriptor
 * that the caller's open_spill gives.
 */
#ifndef CLARI_ROWSET_SORT_H
#define CLARI_ROWSET_SORT_H

#include "rowset/item.h"
#include "rowset/rowset.h"

typedef struct ClariSorter ClariSorter;

/*
 * A sorter of a list's items by their first nkeys attributes (1 or 2), bytewise,
 * items of equal keys in order of arrival.  memory bounds its buffers; an item
 * larger than that still passes.  NULL when memory is out.  The caller's until
 * clari_sorter_close(), which takes NULL.
 */
extern ClariSorter *clari_sorter_open(const ClariRowsetOutput *output, ClariList list, int nkeys, size_t memory);

/* Takes a copy of an item, whose keys are not NULL.  False: out of memory, or CLARI_ERROR_IO. */
extern bool clari_sorter_add(ClariSorter *sorter, const ClariCell *cells, ClariError *error);

/* Ends adding.  False as above. */
extern bool clari_sorter_sort(ClariSorter *sorter, ClariError *error);

/*
 * The next item's record of *size bytes, valid until the next call; NULL in
 * *record after the last.  False as above.
 */
extern bool clari_sorter_next(ClariSorter *sorter, const char **record, size_t *size, ClariError *error);

/* Frees the buffers and closes the spill file. */
extern void clari_sorter_close(ClariSorter *sorter);

#endif /* CLARI_ROWSET_SORT_H */
