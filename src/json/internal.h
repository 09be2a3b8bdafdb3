/*
 * internal.h
 *		The bytes of an export file, cut into its elements; private to json.
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

#define CLARI_ELEMENT_DEPTH 16 /* how deep objects and arrays may be nested in an element, itself counted */
#define CLARI_MEMBER_DEPTH 64  /* the same in the value of a member that is no list */
#define CLARI_KEY_LIMIT 1024   /* most bytes of a top-level key, with its quotes */
#define CLARI_SAFE_DIGITS 18   /* integers of so many always fit into json-c's 64 bits */

typedef enum ClariFrame
{
	CLARI_FRAME_MORE,      /* every byte fed is used up */
	CLARI_FRAME_KEY,       /* text is a top-level key in its quotes */
	CLARI_FRAME_ELEMENT,   /* text is an element of a list, an object */
	CLARI_FRAME_BROKEN,    /* problem says how, offset where */
	CLARI_FRAME_TOO_LARGE, /* a key or element over its limit */
	CLARI_FRAME_NO_MEMORY
} ClariFrame;

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
	const char *run; /* its bytes in this chunk that are not in the buffer yet */
	char *buffer;    /* its bytes from earlier chunks; malloc'd, reused */
	size_t used;
	size_t size;
	uint64_t begun;    /* its offset in the file (read) */
	uint64_t limit;    /* the offset it must not reach beyond */
	uint32_t members;  /* colons in it, which is how many members all its objects have (read) */
	uint32_t inner;    /* objects and arrays in it, itself not counted (read) */
	uint64_t elements; /* how many elements of the list are complete (read) */
	const char *text;  /* of the last key or element, valid until the next call (read) */
	size_t length;     /* of text, in bytes (read) */
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

#endif /* CLARI_JSON_INTERNAL_H */
