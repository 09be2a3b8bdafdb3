/*
 * internal.h
 *		The bytes of an export file, cut into its elements or lines; private to json.
 *
 * A strict reading of RFC 8259 over bytes that arrive in any pieces: it refuses
 * what json-c would let through, and hands out each top-level key and each
 * element of a list as one stretch of text, so that json-c sees one element at
 * a time.  It knows neither json-c nor which lists there are.
 */
#ifndef CLARI_JSON_INTERNAL_H
#define CLARI_JSON_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "json/json.h"

#define CLARI_ELEMENT_DEPTH 16 /* how deep objects and arrays may be nested in an element, itself counted */
#define CLARI_MEMBER_DEPTH 64  /* the same in the value of a member that is no list */
#define CLARI_KEY_LIMIT 1024   /* most bytes of a top-level key, with its quotes */
#define CLARI_SAFE_DIGITS 18   /* integers of so many always fit into json-c's 64 bits */

typedef enum ClariFrame
{
	CLARI_FRAME_MORE,      /* every byte fed is used up */
	CLARI_FRAME_KEY,       /* text is a top-level key in its quotes */
	CLARI_FRAME_ELEMENT,   /* text is an element of a list: an object, or a string where the document is a list */
	CLARI_FRAME_BROKEN,    /* problem says how, offset where */
	CLARI_FRAME_TOO_LARGE, /* a key or element over its limit */
	CLARI_FRAME_NO_MEMORY
} ClariFrame;

/* Bytes that are put one behind the other; all zero: none.  The room is malloc'd, and used again once used is 0. */
typedef struct ClariBuffer
{
	char *bytes;
	size_t used;
	size_t size;
} ClariBuffer;

/* False if memory is out. */
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

/* Set up and read by the functions below; document.c reads, or sets, the fields marked so. */
typedef struct ClariFraming
{
	/* the grammar: what may come next */
	uint8_t state;
	uint8_t number;                       /* the state within a number's grammar */
	bool in_key;                          /* the string being read is a key */
	bool may_be_array;                    /* the document may be a list in place of an object (set) */
	bool is_array;                        /* it is one (read) */
	bool is_list;                         /* the top-level member being read is a list (read) */
	bool is_item;                         /* that list is not an array, but its one item itself */
	bool is_needed;                       /* the list must not be null */
	int depth;                            /* how many objects and arrays are open */
	char closing[CLARI_MEMBER_DEPTH + 2]; /* the bracket that closes each of them */
	const char *literal;                  /* what of true, false, null is still to come */
	uint8_t hex_digits;                   /* how many digits of a \u escape were read */
	uint16_t hex_value;                   /* the value of these digits */
	bool want_low;                        /* a low surrogate must be next */
	uint8_t utf8_left;                    /* how many continuation bytes are to come */
	unsigned char utf8_low;               /* the bounds of the next of these, this and the field below */
	unsigned char utf8_high;
	uint8_t bom;             /* how many bytes of a byte order mark were read */
	uint32_t integer_digits; /* how many digits the number being read has before any '.' */
	const char *problem;     /* a noun phrase without full stop (read) */

	/* the bytes fed */
	const char *chunk;
	const char *next; /* first byte not yet read */
	const char *stop; /* where reading pauses: end, or the limit of what is gathered */
	const char *end;
	uint64_t base; /* the chunk's offset in the file */

	/* what is gathered: a key or an element */
	bool gathering;
	const char *run;    /* its bytes in this chunk that are not in the buffer yet */
	ClariBuffer buffer; /* its bytes from earlier chunks */
	uint64_t begun;     /* its offset in the file (read) */
	uint64_t limit;     /* the offset it must not reach beyond */
	uint32_t members;   /* colons in it, which is how many members all its objects have (read) */
	uint32_t inner;     /* objects and arrays in it, itself not counted (read) */
	uint64_t elements;  /* how many elements of the list are complete (read) */
	const char *text;   /* of the last key or element, valid until the next call (read) */
	size_t length;      /* of text, in bytes (read) */
} ClariFraming;

/* Begins a document.  Allocates nothing. */
extern void clari_framing_open(ClariFraming *framing);

/* Feeds the next bytes, which must stay until clari_framing_next() says MORE. */
extern void clari_framing_feed(ClariFraming *framing, const char *bytes, size_t length);

/*
 * Reads on to the next key or element, or to the end of what was fed.  In an
 * element's text an integer of more than CLARI_SAFE_DIGITS digits has "e0"
 * behind it, so that json-c, which would clamp it, keeps its text.  After a key,
 * clari_framing_expect() must be called.  After BROKEN, TOO_LARGE or NO_MEMORY
 * it must not be called again.
 */
extern ClariFrame clari_framing_next(ClariFraming *framing);

/* Says of the key just read whether its value must be a list of objects; one that is not needed may be null. */
extern void clari_framing_expect(ClariFraming *framing, bool is_list, bool is_needed);

/* Says of the key just read that its value must be an object: it is handed out as if it were the one item of a list. */
extern void clari_framing_expect_item(ClariFraming *framing);

/* Is the document's object, or list, closed? */
extern bool clari_framing_complete(const ClariFraming *framing);

/* The first byte not read, or the one that broke it, counted from the file's first. */
extern uint64_t clari_framing_offset(const ClariFraming *framing);

extern void clari_framing_close(ClariFraming *framing);

/* ------- single values (value.c) ------- */

struct json_object;
struct lh_entry;

#define CLARI_INTEGER_SIZE 24 /* bytes of an int64 as text */

/* The first member of an object, or NULL.  json-c's own loop declares variables in mid-block, which PGXS warns of. */
extern struct lh_entry *clari_first_member(struct json_object *object);

/* Makes the value that number, whose text is in the space of CLARI_INTEGER_SIZE. */
extern void clari_value_set_integer(ClariValue *value, char *space, int64_t number);

/*
 * The text that json-c kept of a number it made a double of; NULL: out of memory.
 * Where that is an integer of the framing's (too long for json-c, with "e0"
 * behind it), the length is without "e0", and *is_integer true.
 */
extern const char *clari_value_text_of_double(struct json_object *object, size_t *length, bool *is_integer);

/* Are the two values the same?  Neither is a NULL or a BOOL, as no attribute with two names is one. */
extern bool clari_value_is_same(const ClariValue *a, const ClariValue *b);

/* Writes the value as JSON, in no more bytes than it was read from; returns where its text ends; NULL: out of memory. */
extern char *clari_value_write(char *to, struct json_object *value);

/* ------- files of others (foreign.c) ------- */

#define CLARI_NOT_VALID_JSON "the export file is not valid JSON"

/* The error of a file that begins with these bytes, and so is none of Clari's.  Returns false. */
extern bool clari_foreign_describe(const unsigned char *head, size_t length, ClariError *error);

/* Is it CSV after all, as by its first line? */
extern bool clari_foreign_is_csv(const unsigned char *head, size_t length);

/* ------- plain items (plain.c): what nearly all of a large file are, read without json-c ------- */

#define CLARI_PLAIN_KEYS 64 /* as many as there are bits to tell which have been seen */

/* A key that an item of the list has had. */
typedef struct ClariPlainKey
{
	char text[48];
	uint32_t length;
	int attribute; /* or that it is none, or several */
} ClariPlainKey;

/* What is known of a list's keys; all zero: nothing. */
typedef struct ClariPlain
{
	ClariPlainKey keys[CLARI_PLAIN_KEYS]; /* in the order in which they have come */
	int nkeys;
	ClariList list;
} ClariPlain;

/*
 * Reads the list's item that the framing has handed out, if it is plain; values
 * is as the sink has it, and points into its text, or into the space, which is as
 * long, or NULL where there is no backslash.  False: json-c must read it, as it
 * holds objects or arrays, more keys than are remembered, a key with escapes, or
 * what is or may be an error.
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

/* Where a cell is in its line's bytes. */
typedef struct ClariCsvCell
{
	uint32_t begin;
	uint32_t end;
	bool is_doubled; /* it holds quotes, which are doubled */
} ClariCsvCell;

/* Set up and read by the functions below; document.c reads the fields marked so. */
typedef struct ClariCsv
{
	uint8_t state;
	uint8_t bom; /* bytes of a byte order mark seen */
	ClariCsvCell places[CLARI_CSV_COLUMNS];
	ClariText cells[CLARI_CSV_COLUMNS]; /* of the last line, valid until the next call (read) */
	int ncells;                         /* (read) */
	uint64_t line;                      /* where the last one begins, counted from 1 (read) */
	uint64_t next_line;
	const char *problem; /* a noun phrase without full stop (read) */

	/* the bytes fed */
	const char *chunk;
	const char *next; /* first byte not yet read */
	const char *end;
	uint64_t base; /* the chunk's offset in the file */

	/* the line being read */
	const char *run;    /* its bytes in this chunk that are not in the buffer yet */
	uint64_t begun;     /* its offset in the file */
	ClariBuffer buffer; /* its bytes from earlier chunks */
	char *quoted;       /* its cells that held doubled quotes; malloc'd, reused */
	size_t quoted_size;
} ClariCsv;

/* Nothing fed yet.  Allocates nothing. */
extern void clari_csv_open(ClariCsv *csv);

/* The next bytes; they must stay until clari_csv_next() says MORE. */
extern void clari_csv_feed(ClariCsv *csv, const char *bytes, size_t length);

/*
 * Reads on to the end of the next line that is not empty: CLARI_FRAME_ELEMENT,
 * its cells are then in cells; they are valid UTF-8 without NUL.  Or MORE, BROKEN,
 * TOO_LARGE (a line over CLARI_MAX_ELEMENT_SIZE), NO_MEMORY, after which it must
 * not be called again.
 */
extern ClariFrame clari_csv_next(ClariCsv *csv);

/* The same where no bytes follow: the last line need not end. */
extern ClariFrame clari_csv_end(ClariCsv *csv);

extern void clari_csv_close(ClariCsv *csv);

/* ------- lines (line.c): an entry's data types, one a line, gathered ------- */

/* The columns of a line. */
enum
{
	CLARI_COLUMN_DATA_TYPE = CLARI_LINE_KEYS, /* behind those that are an entry's key */
	CLARI_COLUMN_DATA_VALUE,
	CLARI_COLUMN_COUNT
};

#define CLARI_KNOWN_COLUMNS (CLARI_COLUMN_COUNT - 1) /* all but CLARI_LINE_OTHERS */

typedef struct ClariLines ClariLines;

/* NULL when memory is out.  The caller's until clari_lines_close(), which takes NULL. */
extern ClariLines *clari_lines_open(ClariItemSink sink, void *arg);

/* The column of that name, whatever its case, spaces and underscores; CLARI_LINE_OTHERS: one that nobody knows. */
extern int clari_lines_find_column(const ClariText *name);

/* The column's name as Clari writes it. */
extern const char *clari_lines_column_name(int column);

/* A line begins; puts a cell into it, which must stay until clari_lines_take(); name is for columns that nobody knows. */
extern void clari_lines_begin(ClariLines *lines);
extern bool clari_lines_put(ClariLines *lines, int column, const ClariText *name, const ClariText *cell);

/* Says that the line's Data Value is the text of a JSON number, and not formatted for people. */
extern void clari_lines_is_number(ClariLines *lines);

/*
 * The line is complete.  Lines of one entry that follow each other are gathered,
 * and the entry goes to the sink, as of CLARI_LINES, when another begins.  False
 * with CLARI_ERROR_DATA and what is wrong, for a value that cannot be read
 * exactly; out of memory; or the sink's own error.
 */
extern bool clari_lines_take(ClariLines *lines, ClariError *error);

/*
 * Takes a cell of a list that has nothing but cells, the header's first, as the
 * results in Clari's OpenAPI document.  False as above; also where they do not
 * make lines.
 */
extern bool clari_lines_take_cell(ClariLines *lines, const ClariText *cell, ClariError *error);

/* There are no more of them.  False as above. */
extern bool clari_lines_finish(ClariLines *lines, ClariError *error);

/* Entries that went to the sink so far. */
extern uint64_t clari_lines_entries(const ClariLines *lines);
extern void clari_lines_close(ClariLines *lines);

#endif /* CLARI_JSON_INTERNAL_H */
