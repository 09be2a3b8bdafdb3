/*
 * internal.h
 *		How a rowset is written: items, the sorter that orders them, and the
 *		groups of rows that they become.
 *
 * For the files of room rowset alone.  Pure: malloc, the caller's callbacks, and
 * read, write and close on the descriptor that open_spill gives.
 */
#ifndef CLARI_ROWSET_INTERNAL_H
#define CLARI_ROWSET_INTERNAL_H

#include <string.h>

#include "rowset/rowset.h"

/* ------- items (item.c) ------- */

/*
 * A value: a text's bytes, a number's text, or (bool, date, timestamptz) an
 * int64_t in any alignment.  Where what came is no value of such a type, words
 * that say so are in its place, which are more bytes.  With bytes NULL it is a
 * NULL.
 */
typedef struct ClariCell
{
	const char *bytes;
	uint32_t length;
} ClariCell;

#define CLARI_NOTE_SIZE 96 /* bytes of such words */

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

/* Are there words in place of the value?  The cell is of a type of fixed width, and not NULL. */
static inline bool
clari_cell_is_note(const ClariCell *cell)
{
	return cell->length > sizeof(int64_t);
}

/* The cell's value; it must not be NULL or such words. */
extern int64_t clari_cell_fixed(const ClariCell *cell);
extern bool clari_cell_equal(const ClariCell *a, const ClariCell *b);

/* Compares as memcmp does, the shorter first; neither is NULL. */
extern int clari_cell_compare(const ClariCell *a, const ClariCell *b);

/* A packed item's head: its size with the head, and a bit per cell that is not NULL. */
#define CLARI_ITEM_HEAD (2 * sizeof(uint32_t))

extern size_t clari_item_size(const ClariCell *cells, int ncells);
extern void clari_item_pack(const ClariCell *cells, int ncells, size_t size, char *packed);

/*
 * The first ncells cells of a packed item of size bytes; they point into it.  False
 * when the bytes are no packed item.
 */
extern bool clari_item_unpack(const char *packed, size_t size, int ncells, ClariCell *cells);

/* ------- which quarter a file with ids is of (answer.c) ------- */

/* A period that entries are of, or that list timePeriods has. */
typedef struct ClariFilePeriod
{
	ClariCell id;
	ClariPeriodType type;
	ClariPeriodName name; /* by its id, or else its label */
	int32_t first;        /* days from 2000-01-01, or CLARI_DATE_NONE */
	int32_t last;
	bool has_entries;
} ClariFilePeriod;

/*
 * Of meta, sets answered, its days, CLARI_ROWSET_WRONG_PERIOD if nothing is of what
 * was requested, and the numbering of months and years.  False with
 * CLARI_ERROR_DATA where the periods do not tell, or tell of several quarters.
 */
extern bool clari_answer_find(const ClariFilePeriod *periods, size_t count, const char *requested,
							  const ClariCalendar *calendar, ClariRowsetMeta *meta, ClariError *error);

/* ------- the sorter (sort.c): what does not fit into memory goes to a spill file in sorted runs, which are merged ------- */

typedef struct ClariSorter ClariSorter;

/*
 * A sorter of a list's items by their first nkeys attributes (1 to 3), bytewise,
 * items of equal keys in order of arrival.  memory bounds its buffers; an item
 * larger than that still passes.  NULL when memory is out.  The caller's until
 * clari_sorter_close(), which takes NULL.
 */
extern ClariSorter *clari_sorter_open(const ClariRowsetOutput *output, ClariList list, int nkeys, size_t memory);

/* Takes a copy of an item, whose keys are not NULL.  False: out of memory, or CLARI_ERROR_IO. */
extern bool clari_sorter_add(ClariSorter *sorter, const ClariCell *cells, ClariError *error);

/* Ends adding.  False: out of memory, or CLARI_ERROR_IO. */
extern bool clari_sorter_sort(ClariSorter *sorter, ClariError *error);

/*
 * The next item, packed, of *size bytes, valid until the next call; NULL in
 * *packed after the last.  False: out of memory, or CLARI_ERROR_IO.
 */
extern bool clari_sorter_next(ClariSorter *sorter, const char **packed, size_t *size, ClariError *error);

/* Frees the buffers and closes the spill file. */
extern void clari_sorter_close(ClariSorter *sorter);

/* ------- groups of rows (encode.c) ------- */

#define CLARI_SINK_BUFFER (64 * 1024)

/* Where the groups of one rowset go, and what is known of those that went. */
typedef struct ClariSink
{
	const ClariRowsetOutput *output;
	ClariNumericEncoder encode;
	void *encode_arg;
	uint64_t position; /* bytes put so far, buffered ones included */
	ClariGroupIndex *groups;
	uint32_t ngroups;
	uint32_t groups_capacity;
	uint64_t rows[CLARI_LIST_COUNT];
	size_t used;
	char buffer[CLARI_SINK_BUFFER];
} ClariSink;

/* Appends bytes; the very first go behind the magic.  False with the output's error. */
extern bool clari_sink_put(ClariSink *sink, const void *bytes, size_t length, ClariError *error);
extern bool clari_sink_flush(ClariSink *sink, ClariError *error);

typedef struct ClariGroup ClariGroup;

/* A builder of a list's groups.  NULL when memory is out.  The caller's until clari_group_close(). */
extern ClariGroup *clari_group_open(ClariSink *sink, ClariList list);

/*
 * Takes a row's cells, one per attribute; begins_run says that the row is not
 * of the run of the row before, so that a full group may be closed first.
 * False: the encoder's or the output's error, out of memory, or
 * CLARI_ERROR_LIMIT for a run that no group can hold.
 */
extern bool clari_group_put_row(ClariGroup *group, const ClariCell *cells, bool begins_run, ClariError *error);

/* Writes the rows that there are, if any, as a group.  False with the errors of clari_group_put_row(). */
extern bool clari_group_flush(ClariGroup *group, ClariError *error);
extern void clari_group_close(ClariGroup *group);

/* The name of a type of period, as the rows have it. */
static inline ClariCell
clari_cell_of_type(ClariPeriodType type)
{
	const char *name = clari_period_type_names[type];

	return (ClariCell){name, (uint32_t) strlen(name)};
}

/* ------- lines (line.c): entries of a file that has no ids ------- */

typedef struct ClariLineWriter ClariLineWriter;

/* As clari_rowset_writer_open() and …_set_calendar() say.  NULL when memory is out.  The caller's until close, which takes NULL. */
extern ClariLineWriter *clari_line_writer_open(const ClariRowsetOutput *output, const char *requested,
											   const ClariCalendar *calendar, size_t memory);

/*
 * Takes an entry, or some of its values: values by CLARI_LINE_…, of which the
 * field is not NULL, days are days and numbers are numbers.  False: the fiscal
 * calendar, which tells the quarter, is not known; CLARI_ERROR_LIMIT for too many
 * fields; as clari_sorter_add().
 */
extern bool clari_line_writer_add(ClariLineWriter *writer, const ClariValue *values, ClariError *error);

/*
 * Which quarter the lines are of, after the last: of meta, sets answered, its days
 * and CLARI_ROWSET_WRONG_PERIOD if nothing is of what was requested.  False with
 * CLARI_ERROR_DATA where the lines do not tell.
 */
extern bool clari_line_writer_answer(const ClariLineWriter *writer, ClariRowsetMeta *meta, ClariError *error);

/*
 * Writes the rows, and counts in meta the owners and how their periods are numbered.
 * False with CLARI_ERROR_DATA for an entry that has a value twice, and not the same;
 * as the sorter and groups.
 */
extern bool clari_line_writer_write(ClariLineWriter *writer, ClariSink *sink, ClariRowsetMeta *meta, ClariError *error);
extern void clari_line_writer_close(ClariLineWriter *writer);

#endif /* CLARI_ROWSET_INTERNAL_H */
