/*
 * rowset_item.h
 *		One item of a list on its way into a rowset: its values as cells, and
 *		the compact record in which sorting and spilling keep it.
 *
 * Private to rowset_*.c.  Pure.
 */
#ifndef CLARI_ROWSET_ITEM_H
#define CLARI_ROWSET_ITEM_H

#include <stddef.h>

#include "base/error.h"
#include "clari/attribute.h"

/*
 * A value: a text's bytes, a number's text, or (bool, date, timestamptz) an
 * int64_t in any alignment; instead of that, what came that is none, as words of
 * more bytes.  bytes NULL is a NULL.
 */
typedef struct ClariCell
{
	const char *bytes;
	uint32_t length;
} ClariCell;

#define CLARI_NOTE_SIZE 96 /* of such words */

/* An item's cells; those of fixed width point into fixed or notes, texts into the item's source. */
typedef struct ClariItem
{
	ClariCell cells[CLARI_MAX_ATTRIBUTES];
	int64_t fixed[CLARI_MAX_ATTRIBUTES];
	char notes[CLARI_MAX_ATTRIBUTES][CLARI_NOTE_SIZE];
} ClariItem;

/* As many of a text's bytes as are whole characters within most bytes. */
extern int clari_item_clip(const char *text, size_t length, size_t most);

/*
 * Converts what json gave.  False with CLARI_ERROR_DATA, naming the key and the
 * value, when a value is not what its attribute must be: nothing is rounded,
 * cut or guessed.
 */
extern bool clari_item_read(ClariItem *item, ClariList list, const ClariValue *values, ClariError *error);

/* Is the cell, of a type of fixed width and not NULL, such words? */
static inline bool
clari_cell_is_note(const ClariCell *cell)
{
	return cell->length > sizeof(int64_t);
}

/* The cell's value; it must not be NULL or such words. */
extern int64_t clari_cell_fixed(const ClariCell *cell);
extern bool clari_cell_equal(const ClariCell *a, const ClariCell *b);

/* As memcmp on the bytes, the shorter first; neither is NULL. */
extern int clari_cell_compare(const ClariCell *a, const ClariCell *b);

/* A record's head: its size with the head, and a bit per cell that is not NULL. */
#define CLARI_RECORD_HEAD (2 * sizeof(uint32_t))

extern size_t clari_record_size(const ClariCell *cells, int ncells);
extern void clari_record_pack(const ClariCell *cells, int ncells, size_t size, char *record);

/*
 * The first ncells cells of a record of size bytes; they point into it.  False
 * when the bytes are no such record.
 */
extern bool clari_record_unpack(const char *record, size_t size, int ncells, ClariCell *cells);

#endif /* CLARI_ROWSET_ITEM_H */
