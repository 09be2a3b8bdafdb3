/*
 * internal.h
 *		How the bytes of an export file are split into elements, lines and
 *		cells; for the files of room json only.
 *
 * A strict implementation of RFC 8259 for bytes that are pushed in pieces of
 * any size.  It refuses what json-c would accept, and hands out each top-level
 * key and each element of a list as one text, so that json-c parses one
 * element at a time.  It knows neither json-c nor which lists there are.
 */
#ifndef CLARI_JSON_INTERNAL_H
#define CLARI_JSON_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"

#define CLARI_ELEMENT_DEPTH 16 /* how deep objects and arrays may be nested in an element, including the element */
#define CLARI_MEMBER_DEPTH 64  /* the same for the value of a member that is not a list */
#define CLARI_KEY_LIMIT 1024   /* largest size in bytes of a top-level key with its quotes */
#define CLARI_SAFE_DIGITS 18   /* integers of at most this many digits fit into json-c's 64 bits */

typedef enum ClariFrame
{
	CLARI_FRAME_MORE,      /* all bytes that were fed have been read */
	CLARI_FRAME_KEY,       /* text is a top-level key in its quotes */
	CLARI_FRAME_ELEMENT,   /* text is an element of a list: an object, or a string where the document is a list */
	CLARI_FRAME_BROKEN,    /* problem says why, and clari_framing_offset() where */
	CLARI_FRAME_TOO_LARGE, /* a key or element exceeds its limit */
	CLARI_FRAME_NO_MEMORY
} ClariFrame;

/* Bytes appended to each other; all zero means empty.  The malloc'd memory is reused after used was set to 0. */
typedef struct ClariBuffer
{
	char *bytes;
	size_t used;
	size_t size;
} ClariBuffer;

/* Appends bytes.  Returns false if out of memory. */
static inline bool
clari_buffer_append(ClariBuffer *buffer, const char *bytes, size_t length)
{
	if (length > buffer->size - buffer->used)
	{
		size_t size = buffer->size == 0 ? 4096 : buffer->size;
		char *larger;

		while (size - buffer->used < length)
			size *= 2;
		larger = realloc(buffer->bytes, size);
		if (larger == NULL)
			return false;
		buffer->bytes = larger;
		buffer->size = size;
	}
	memcpy(buffer->bytes + buffer->used, bytes, length);
	buffer->used += length;
	return true;
}

static inline void
clari_buffer_free(ClariBuffer *buffer)
{
	free(buffer->bytes);
	*buffer = (ClariBuffer){.bytes = NULL};
}

/* Set up and read by the functions below.  document.c reads fields marked (read), and sets those marked (set). */
typedef struct ClariFraming
{
	/* the grammar: what may follow */
	uint8_t state;
	uint8_t number;                       /* state within a number's grammar */
	bool in_key;                          /* the current string is a key */
	bool may_be_array;                    /* the document may be an array instead of an object (set) */
	bool is_array;                        /* it is an array (read) */
	bool is_list;                         /* the current top-level member is a list (read) */
	bool is_item;                         /* that list is given by its only item, without an array */
	bool is_needed;                       /* that list must not be null */
	int depth;                            /* number of open objects and arrays */
	char closing[CLARI_MEMBER_DEPTH + 2]; /* the closing brackets of these */
	const char *literal;                  /* what must still follow of true, false or null */
	uint8_t hex_digits;                   /* number of digits of a \u escape read so far */
	uint16_t hex_value;                   /* the value of these digits */
	bool want_low;                        /* a low surrogate must follow */
	uint8_t utf8_left;                    /* number of continuation bytes that must follow */
	unsigned char utf8_low;               /* bounds of the next of them, in this field and the one below */
	unsigned char utf8_high;
	uint8_t bom;             /* number of bytes of a byte order mark read so far */
	uint32_t integer_digits; /* number of digits of the current number before any '.' */
	const char *problem;     /* a noun phrase without full stop (read) */

	/* the bytes that were fed */
	const char *chunk;
	const char *next; /* first byte not yet read */
	const char *stop; /* where reading pauses: end, or at the limit of what is gathered */
	const char *end;
	uint64_t base; /* the chunk's offset in the file */

	/* what is being gathered: a key or an element */
	bool gathering;
	const char *run;    /* where its bytes in this chunk begin that are not in buffer yet */
	ClariBuffer buffer; /* its bytes from earlier chunks */
	uint64_t begun;     /* its offset in the file (read) */
	uint64_t limit;     /* offset in the file that it must not exceed */
	uint32_t members;   /* number of colons, which is that of the members of all its objects (read) */
	uint32_t inner;     /* number of objects and arrays in it, without itself (read) */
	uint64_t elements;  /* number of complete elements of the list (read) */
	const char *text;   /* of the last key or element, valid until the next call (read) */
	size_t length;      /* of text, in bytes (read) */
} ClariFraming;

/* Prepares to read a document.  Allocates nothing. */
extern void clari_framing_open(ClariFraming *framing);

/* Feeds the next bytes, which must remain valid until clari_framing_next() returns CLARI_FRAME_MORE. */
extern void clari_framing_feed(ClariFraming *framing, const char *bytes, size_t length);

/*
 * Reads to the end of the next key or element, or of the bytes that were fed.
 * In the text of an element, "e0" is appended to an integer of more than
 * CLARI_SAFE_DIGITS digits.  json-c would clamp such an integer, but keeps the
 * text of a number with an exponent.  After a key, clari_framing_expect() must
 * be called.  After BROKEN, TOO_LARGE or NO_MEMORY the function must not be
 * called again.
 */
extern ClariFrame clari_framing_next(ClariFraming *framing);

/*
 * Says whether the value of the key just read must be a list of objects, and
 * whether that is needed; if not, it may be null.
 */
extern void clari_framing_expect(ClariFraming *framing, bool is_list, bool is_needed);

/* Says that the value of the key just read must be an object.  It is handed out like the only item of a list. */
extern void clari_framing_expect_item(ClariFraming *framing);

/* Has the end of the document's object or array been read? */
extern bool clari_framing_complete(const ClariFraming *framing);

/* The offset in the file of the first byte not read, or of the one that caused an error. */
extern uint64_t clari_framing_offset(const ClariFraming *framing);

extern void clari_framing_close(ClariFraming *framing);

/* ------- single values (value.c) ------- */

struct json_object;
struct lh_entry;

#define CLARI_INTEGER_SIZE 24 /* bytes of an int64 as text */

/*
 * Returns the first member of an object, or NULL.  json-c's own macro declares
 * variables after statements, for which PGXS makes the compiler warn.
 */
extern struct lh_entry *clari_first_member(struct json_object *object);

/* Sets the value to the number, whose text is stored in space, of CLARI_INTEGER_SIZE bytes. */
extern void clari_value_set_integer(ClariValue *value, char *space, int64_t number);

/*
 * Returns the original text of a number that json-c has made a double, or NULL
 * if out of memory.  If it is one of the integers to which the framing has
 * appended "e0", *length is that without "e0", and *is_integer is set to true.
 */
extern const char *clari_value_text_of_double(struct json_object *object, size_t *length, bool *is_integer);

/* Are the two values equal?  Neither may be a NULL or a BOOL; no attribute with two names has the type BOOL. */
extern bool clari_value_is_same(const ClariValue *a, const ClariValue *b);

/*
 * Writes the value as JSON, in no more bytes than it was read from.  Returns
 * the end of the text, or NULL if out of memory.
 */
extern char *clari_value_write(char *to, struct json_object *value);

/* ------- files that are not Clari's (foreign.c) ------- */

#define CLARI_NOT_VALID_JSON "the export file is not valid JSON"

/* Sets the error for a file that is not one of Clari's, because it begins with these bytes.  Returns false. */
extern bool clari_foreign_describe(const unsigned char *head, size_t length, ClariError *error);

/* Does the file's first line look like CSV? */
extern bool clari_foreign_is_csv(const unsigned char *head, size_t length);

/* ------- plain items (plain.c): what nearly all of a large file are, read without json-c ------- */

#define CLARI_PLAIN_KEYS 64 /* as many as there are bits to tell which have been seen */

/* A key of items of the list. */
typedef struct ClariPlainKey
{
	char text[48];
	uint32_t length;
	int attribute; /* the attribute's position, or UNKNOWN or OF_PARTS */
} ClariPlainKey;

/* The keys of a list's items so far; all zero means none. */
typedef struct ClariPlain
{
	ClariPlainKey keys[CLARI_PLAIN_KEYS]; /* in the order in which they first occurred */
	int nkeys;
	ClariList list;
} ClariPlain;

/*
 * Reads the element that the framing has handed out, if it is an object in the
 * usual notation.  values is filled as for ClariItemSink, and points into the
 * element's text or, for strings with escapes, into space, which must be as
 * long as the text.  space may be NULL if there is no backslash.  Returns false
 * if json-c must read the element: because it contains objects or arrays, more
 * keys than are remembered, a key with escapes, or something that is or may be
 * an error.
 */
extern bool
clari_plain_read(ClariPlain *plain, ClariList list, const ClariFraming *framing, char *space, ClariValue *values);

/* ------- CSV (csv.c): RFC 4180 over bytes that arrive in any pieces ------- */

#define CLARI_CSV_COLUMNS 64

typedef struct ClariText
{
	const char *data;
	uint32_t length;
} ClariText;

/* The offsets of a cell in its line. */
typedef struct ClariCsvCell
{
	uint32_t begin;
	uint32_t end;
	bool is_doubled; /* it contains doubled quotes */
} ClariCsvCell;

/* Set up and read by the functions below.  document.c reads the fields marked (read). */
typedef struct ClariCsv
{
	uint8_t state;
	uint8_t bom; /* number of bytes of a byte order mark read so far */
	ClariCsvCell places[CLARI_CSV_COLUMNS];
	ClariText cells[CLARI_CSV_COLUMNS]; /* of the last line, valid until the next call (read) */
	int ncells;                         /* (read) */
	uint64_t line;                      /* number of the line where the last one begins, from 1 (read) */
	uint64_t next_line;
	const char *problem; /* a noun phrase without full stop (read) */

	/* the bytes that were fed */
	const char *chunk;
	const char *next; /* first byte not yet read */
	const char *end;
	uint64_t base; /* the chunk's offset in the file */

	/* the current line */
	const char *run;    /* where its bytes in this chunk begin that are not in buffer yet */
	uint64_t begun;     /* its offset in the file */
	ClariBuffer buffer; /* its bytes from earlier chunks */
	char *quoted;       /* its cells that contained doubled quotes; malloc'd, reused */
	size_t quoted_size;
} ClariCsv;

/* Prepares to read a file.  Allocates nothing. */
extern void clari_csv_open(ClariCsv *csv);

/* Feeds the next bytes, which must remain valid until clari_csv_next() returns CLARI_FRAME_MORE. */
extern void clari_csv_feed(ClariCsv *csv, const char *bytes, size_t length);

/*
 * Reads to the end of the next line that is not empty.  Returns
 * CLARI_FRAME_ELEMENT when cells contains its cells, which are valid UTF-8
 * without NUL; CLARI_FRAME_MORE at the end of the bytes that were fed; or
 * BROKEN, TOO_LARGE (for a line over CLARI_MAX_ELEMENT_SIZE) or NO_MEMORY,
 * after which it must not be called again.
 */
extern ClariFrame clari_csv_next(ClariCsv *csv);

/* The same at the end of the file, where the last line need not have a line end. */
extern ClariFrame clari_csv_end(ClariCsv *csv);

extern void clari_csv_close(ClariCsv *csv);

/* ------- lines (line.c): an entry's data types, one a line, gathered ------- */

/* The columns of a line. */
enum
{
	CLARI_COLUMN_DATA_TYPE = CLARI_LINE_KEYS, /* the columns before are the keys of an entry */
	CLARI_COLUMN_DATA_VALUE,
	CLARI_COLUMN_COUNT
};

#define CLARI_KNOWN_COLUMNS (CLARI_COLUMN_COUNT - 1) /* all but CLARI_LINE_OTHERS */

typedef struct ClariLines ClariLines;

/* Returns NULL if out of memory.  The caller must call clari_lines_close(), which accepts NULL. */
extern ClariLines *clari_lines_open(ClariItemSink sink, void *arg);

/*
 * Returns the column of that name, regardless of case, spaces and underscores,
 * or CLARI_LINE_OTHERS if it is unknown.
 */
extern int clari_lines_find_column(const ClariText *name);

/* The column's name as Clari writes it. */
extern const char *clari_lines_column_name(int column);

/*
 * Begin a line, and add a cell to it.  The cell must remain valid until
 * clari_lines_take().  name is used for unknown columns only.
 */
extern void clari_lines_begin(ClariLines *lines);
extern bool clari_lines_put(ClariLines *lines, int column, const ClariText *name, const ClariText *cell);

/* Says that the line's Data Value is the text of a JSON number, and not formatted for people. */
extern void clari_lines_is_number(ClariLines *lines);

/*
 * Ends the line.  Consecutive lines of one entry are gathered; when another
 * entry begins, the gathered one is passed to the sink, as an item of
 * CLARI_LINES.  Returns false with CLARI_ERROR_DATA for a value that cannot be
 * read exactly, if out of memory, or with the sink's error.
 */
extern bool clari_lines_take(ClariLines *lines, ClariError *error);

/*
 * Takes a cell of a list that consists of cells only, beginning with those of
 * the header, like the results in Clari's OpenAPI document.  Returns false as
 * above, or if the cells do not make up lines.
 */
extern bool clari_lines_take_cell(ClariLines *lines, const ClariText *cell, ClariError *error);

/* Says that no more lines follow, and passes the last entry to the sink.  Returns false as above. */
extern bool clari_lines_finish(ClariLines *lines, ClariError *error);

/* The number of entries passed to the sink so far. */
extern uint64_t clari_lines_entries(const ClariLines *lines);
extern void clari_lines_close(ClariLines *lines);

#endif /* CLARI_JSON_INTERNAL_H */
