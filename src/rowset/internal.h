/*
 * internal.h
 *		How a rowset is written: items, the sorter, and the groups of rows.
 *
 * For the files of room rowset only.  Pure: malloc, the caller's callbacks,
 * and read, write and close on the descriptor returned by open_spill.
 */
#ifndef CLARI_ROWSET_INTERNAL_H
#define CLARI_ROWSET_INTERNAL_H

#include <string.h>

#include "rowset/rowset.h"

/* ------- items (item.c) ------- */

/*
 * A value: the bytes of a text, the text of a number, or (bool, date,
 * timestamptz) an int64_t of any alignment.  If the file has a value of
 * another type instead of the last, the cell contains a text that describes
 * it, a note, which is longer than an int64_t.  NULL is represented by bytes
 * being NULL.
 */
typedef struct ClariCell
{
	const char *bytes;
	uint32_t length;
} ClariCell;

#define CLARI_NOTE_SIZE 96 /* maximum size of such a note in bytes */

/* The cells of an item.  Those of fixed width point into fixed or notes; texts point into the source of the item. */
typedef struct ClariItem
{
	ClariCell cells[CLARI_MAX_ATTRIBUTES];
	int64_t fixed[CLARI_MAX_ATTRIBUTES];
	char notes[CLARI_MAX_ATTRIBUTES][CLARI_NOTE_SIZE];
} ClariItem;

/* Returns the largest number of bytes up to most that does not cut a character of the text. */
extern int clari_item_clip(const char *text, size_t length, size_t most);

/*
 * Converts values from room json to cells.  Returns false with
 * CLARI_ERROR_DATA, naming the key and the value, if a value is not valid for
 * its attribute; nothing is rounded, truncated or guessed.
 */
extern bool clari_item_read(ClariItem *item, ClariList list, const ClariValue *values, ClariError *error);

/* Does the cell contain a note instead of a value?  It must be of a type of fixed width, and not NULL. */
static inline bool
clari_cell_is_note(const ClariCell *cell)
{
	return cell->length > sizeof(int64_t);
}

/* Returns the cell's value.  The cell must not be NULL or contain a note. */
extern int64_t clari_cell_fixed(const ClariCell *cell);
extern bool clari_cell_equal(const ClariCell *a, const ClariCell *b);

/* Compares like memcmp(), with a prefix being less.  Neither may be NULL. */
extern int clari_cell_compare(const ClariCell *a, const ClariCell *b);

/* The head of a packed item: its size including the head, and one bit for each cell that is not NULL. */
#define CLARI_ITEM_HEAD (2 * sizeof(uint32_t))

extern size_t clari_item_size(const ClariCell *cells, int ncells);
extern void clari_item_pack(const ClariCell *cells, int ncells, size_t size, char *packed);

/*
 * Unpacks the first ncells cells of a packed item of size bytes.  The cells
 * point into packed.  Returns false if the bytes are not a packed item.
 */
extern bool clari_item_unpack(const char *packed, size_t size, int ncells, ClariCell *cells);

/* ------- which quarter a file with ids is of (answer.c) ------- */

/* A period that entries have, or that is in list timePeriods. */
typedef struct ClariFilePeriod
{
	ClariCell id;
	ClariPeriodType type;
	ClariPeriodName name; /* from its id or else its label */
	int32_t first;        /* days from 2000-01-01, or CLARI_DATE_NONE */
	int32_t last;
	bool has_entries;
} ClariFilePeriod;

/*
 * Sets these members of meta: answered, the days of that quarter, the
 * numbering of months and years, and the flag CLARI_ROWSET_WRONG_PERIOD if
 * nothing is of the requested quarter.  Returns false with CLARI_ERROR_DATA if
 * the periods do not show the quarter, or show several.
 */
extern bool clari_answer_find(const ClariFilePeriod *periods, size_t count, const char *requested,
							  const ClariCalendar *calendar, ClariRowsetMeta *meta, ClariError *error);

/* ------- the sorter (sort.c): what does not fit into memory goes to a spill file in sorted runs, which are merged ------- */

typedef struct ClariSorter ClariSorter;

/*
 * Opens a sorter of the list's items by their first nkeys attributes (1 to 3),
 * bytewise.  Items with equal keys keep their order.  memory limits its buffers
 * in bytes; a larger item is possible nevertheless.  Returns NULL if out of
 * memory.  The caller must call clari_sorter_close(), which accepts NULL.
 */
extern ClariSorter *clari_sorter_open(const ClariRowsetOutput *output, ClariList list, int nkeys, size_t memory);

/* Adds a copy of an item.  Its keys must not be NULL.  Returns false if out of memory or with CLARI_ERROR_IO. */
extern bool clari_sorter_add(ClariSorter *sorter, const ClariCell *cells, ClariError *error);

/* To be called after the last item was added.  Returns false if out of memory or with CLARI_ERROR_IO. */
extern bool clari_sorter_sort(ClariSorter *sorter, ClariError *error);

/*
 * Returns the next item, packed, in *packed and its size in *size, valid until
 * the next call.  *packed is NULL after the last item.  Returns false if out of
 * memory or with CLARI_ERROR_IO.
 */
extern bool clari_sorter_next(ClariSorter *sorter, const char **packed, size_t *size, ClariError *error);

/* Frees the buffers and closes the spill file. */
extern void clari_sorter_close(ClariSorter *sorter);

/* ------- groups of rows (encode.c) ------- */

#define CLARI_SINK_BUFFER (64 * 1024)

/* Where the groups of a rowset are written to, and the index of those written so far. */
typedef struct ClariSink
{
	const ClariRowsetOutput *output;
	ClariNumericEncoder encode;
	void *encode_arg;
	uint64_t position; /* number of bytes written, including buffered ones */
	ClariGroupIndex *groups;
	uint32_t ngroups;
	uint32_t groups_capacity;
	uint64_t rows[CLARI_LIST_COUNT];
	size_t used;
	char buffer[CLARI_SINK_BUFFER];
} ClariSink;

/* Appends bytes, after the magic if these are the first.  Returns false with the error of the output. */
extern bool clari_sink_put(ClariSink *sink, const void *bytes, size_t length, ClariError *error);
extern bool clari_sink_flush(ClariSink *sink, ClariError *error);

typedef struct ClariGroup ClariGroup;

/* Opens a builder of groups of the list.  Returns NULL if out of memory.  The caller must call clari_group_close(). */
extern ClariGroup *clari_group_open(ClariSink *sink, ClariList list);

/*
 * Adds a row, with one cell for each attribute.  begins_run says that the row
 * belongs to another run than the row before, so that a full group may be
 * closed before it.  Returns false with the error of the encoder or the
 * output, if out of memory, or with CLARI_ERROR_LIMIT for a run that is too
 * large for a group.
 */
extern bool clari_group_put_row(ClariGroup *group, const ClariCell *cells, bool begins_run, ClariError *error);

/*
 * Writes the rows added so far as a group, if there are any.  Returns false
 * with the errors of clari_group_put_row().
 */
extern bool clari_group_flush(ClariGroup *group, ClariError *error);
extern void clari_group_close(ClariGroup *group);

/* The name of a type of period, as it is stored in rows. */
static inline ClariCell
clari_cell_of_type(ClariPeriodType type)
{
	const char *name = clari_period_type_names[type];

	return (ClariCell){name, (uint32_t) strlen(name)};
}

/* ------- lines (line.c): entries of a file that has no ids ------- */

typedef struct ClariLineWriter ClariLineWriter;

/*
 * See clari_rowset_writer_open() and clari_rowset_writer_set_calendar().
 * Returns NULL if out of memory.  The caller must call
 * clari_line_writer_close(), which accepts NULL.
 */
extern ClariLineWriter *clari_line_writer_open(const ClariRowsetOutput *output, const char *requested,
											   const ClariCalendar *calendar, size_t memory);

/*
 * Adds an entry, or some of its values.  values are in the order of
 * CLARI_LINE_…; the field must not be NULL, and days and numbers must be
 * valid.  Returns false if the fiscal calendar is not known, without which the
 * quarter cannot be found; with CLARI_ERROR_LIMIT for too many fields; or with
 * the errors of clari_sorter_add().
 */
extern bool clari_line_writer_add(ClariLineWriter *writer, const ClariValue *values, ClariError *error);

/*
 * Finds the quarter that the lines are of; to be called after the last line.
 * Sets these members of meta: answered, the days of that quarter, and the flag
 * CLARI_ROWSET_WRONG_PERIOD if no line is of the requested quarter.  Returns
 * false with CLARI_ERROR_DATA if the lines do not show the quarter.
 */
extern bool clari_line_writer_answer(const ClariLineWriter *writer, ClariRowsetMeta *meta, ClariError *error);

/*
 * Writes the rows, and sets owners and numbering in meta.  Returns false with
 * CLARI_ERROR_DATA for an entry that has two different values of one type, or
 * with the errors of the sorter and the groups.
 */
extern bool clari_line_writer_write(ClariLineWriter *writer, ClariSink *sink, ClariRowsetMeta *meta, ClariError *error);
extern void clari_line_writer_close(ClariLineWriter *writer);

#endif /* CLARI_ROWSET_INTERNAL_H */
