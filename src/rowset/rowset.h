/*
 * rowset.h
 *		The rows of one export, or of the account, as immutable, position-independent bytes.
 *
 * Layout, in file order (host byte order; every part 8-aligned):
 *
 *		magic | row group … row group | index | trailer
 *
 * A row group holds up to about CLARI_GROUP_ROWS rows of one list as column
 * chunks; the index says where each chunk is, how it is encoded and its
 * CRC-32C; the trailer, at a fixed distance from the end, holds the metadata
 * and the index's place.  Text and numeric values are stored as ready-made
 * Datum bytes (varlena with a four-byte header, 4-aligned), so that a scan
 * points into them.  Bytes come and go in order: nothing is ever patched.
 *
 * Entries of a v4 file are kept grouped by user, time frame and period, joined
 * with the other lists; the runs of one of each never straddle row groups, so the
 * pivot of "forecasts" is a loop over the runs of a group.
 *
 * Pure: malloc and the caller's callbacks only.
 */
#ifndef CLARI_ROWSET_H
#define CLARI_ROWSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/attribute.h"
#include "clari/calendar.h"
#include "clari/period_type.h"
#include "clari/request.h"

#define CLARI_ROWSET_MAGIC "CLARIRS5"             /* the digit is the format's version */
#define CLARI_GROUP_ROWS 2048                     /* a group of so many rows is closed at the next end of a run */
#define CLARI_GROUP_BYTES (4 * 1024 * 1024)       /* so is a group of about so many bytes */
#define CLARI_GROUP_MAX_BYTES (64 << 20)          /* no group is longer: what a reader must have room for */
#define CLARI_RUNS_CHUNK CLARI_MAX_ATTRIBUTES     /* the chunk behind the attributes' */
#define CLARI_HASHES_CHUNK (CLARI_RUNS_CHUNK + 1) /* the first of those of clari_hashed_attributes */
#define CLARI_HASHED_ATTRIBUTES 4
#define CLARI_CHUNK_COUNT (CLARI_HASHES_CHUNK + CLARI_HASHED_ATTRIBUTES)
#define CLARI_FIXED_NULL INT64_MIN

typedef enum ClariEncoding
{
	CLARI_ENCODING_NULL,       /* every row is NULL: no bytes */
	CLARI_ENCODING_CONSTANT,   /* every row is the one varlena at the chunk's start */
	CLARI_ENCODING_DICTIONARY, /* uint16 code[nrows] (0 is NULL, k the k-th), padding to 4,
								 * uint32 offset[ndistinct], then varlenas */
	CLARI_ENCODING_PLAIN,      /* uint32 offset[nrows] (0 is NULL; rows may share one), then varlenas */
	CLARI_ENCODING_FIXED,      /* int64 value[nrows], CLARI_FIXED_NULL is NULL: bool, date (days from
								 * 2000-01-01) and timestamptz (µs from 2000-01-01 UTC) */
	CLARI_ENCODING_RUNS,       /* uint32 first_row[nruns] (entries only) */
	CLARI_ENCODING_HASHES,     /* uint16 hash[]: one of each value in another chunk (entries only) */
	CLARI_ENCODING_UNEXPECTED  /* instead of FIXED, where a row's value is none of the type: a varlena, the sentence
								 * that says what it is and where; who wants the column gets it as an error */
} ClariEncoding;

/* Offsets count from the chunk's first byte; offset 0 is never a value's. */
typedef struct ClariChunkIndex
{
	uint32_t offset; /* from the group's first byte */
	uint32_t length;
	uint32_t crc;       /* CRC-32C of the chunk's bytes */
	uint32_t ndistinct; /* how many values a dictionary has */
	uint32_t encoding;  /* ClariEncoding */
} ClariChunkIndex;

typedef struct ClariGroupIndex
{
	uint32_t list; /* ClariList */
	uint32_t nrows;
	uint32_t nruns;  /* of entries: how many runs of one user, frame and period; in a flat file each row is a run */
	uint32_t length; /* of the group's bytes */
	uint64_t offset; /* of the group from the rowset's first byte */
	ClariChunkIndex chunks[CLARI_CHUNK_COUNT];
} ClariGroupIndex;

#define CLARI_ROWSET_FLAT 0x01         /* the file had the flat shape */
#define CLARI_ROWSET_WRONG_PERIOD 0x02 /* answered another quarter than requested: kept empty */
#define CLARI_ROWSET_TRUNCATED 0x04    /* Clari cut the file, and the table allows it */
#define CLARI_ROWSET_WITHOUT_CRM 0x08  /* crm_total and crm_closed were wanted, but Clari does not export them */
#define CLARI_ROWSET_GIVEN_FLAGS (CLARI_ROWSET_TRUNCATED | CLARI_ROWSET_WITHOUT_CRM)

typedef struct ClariRowsetMeta
{
	/* These are given by the caller of clari_rowset_writer_finish(). */
	ClariKey key;
	ClariKey account;    /* whose calendar the quarter's days are of */
	uint64_t generation; /* tells versions of the same key apart */
	char base_url[CLARI_URL_SIZE];
	char forecast[CLARI_NAME_SIZE];
	char requested[CLARI_PERIOD_TEXT_SIZE]; /* empty: the current quarter */
	char job_id[CLARI_ID_SIZE];
	int64_t posted_at;         /* µs from 2000-01-01 UTC */
	int64_t exported_at;       /* µs from 2000-01-01 UTC */
	int64_t cache_ttl;         /* µs: how long it is fresh to whoever exported it */
	int64_t closed_period_ttl; /* µs: how long, if its quarter was over */
	/* These are found by the writer, but for CLARI_ROWSET_GIVEN_FLAGS. */
	uint32_t flags;
	uint32_t endpoint;                     /* ClariEndpoint; given, too */
	int32_t period_start;                  /* days from 2000-01-01, or CLARI_DATE_NONE: the file does not say */
	int32_t period_end;                    /* the same */
	char answered[CLARI_PERIOD_TEXT_SIZE]; /* the quarter of the rows; empty if the file does not say */
	ClariNumbering numbering;              /* of the months and years that have entries */
	uint64_t rows[CLARI_LIST_COUNT];
	uint64_t owners[CLARI_PERIOD_TYPES]; /* by type of period, how many runs there are: the rows of "forecasts" */
} ClariRowsetMeta;

/* How many entries it has, or rows of the one list that is of the account. */
static inline uint64_t
clari_rowset_entries(const ClariRowsetMeta *meta)
{
	return meta->rows[CLARI_ENTRIES] + meta->rows[CLARI_LIMITS] + meta->rows[CLARI_JOBS];
}

typedef struct ClariRowsetTrailer
{
	ClariRowsetMeta meta;
	uint64_t total_length; /* of the rowset, this trailer included */
	uint64_t index_offset;
	uint32_t ngroups; /* the index is an array of as many ClariGroupIndex */
	uint32_t index_crc;
	uint32_t unused;      /* 0: no byte of the trailer is padding */
	uint32_t trailer_crc; /* CRC-32C of all bytes of the trailer before it */
	char magic[8];
} ClariRowsetTrailer;

/*
 * Attributes of entries that have many values, and are asked for by value: beside
 * their dictionary or plain chunks lie their values' hashes, so that a group that
 * does not have a value is passed over for two bytes each.
 */
extern const int clari_hashed_attributes[CLARI_HASHED_ATTRIBUTES];

/* The hash of a text's bytes. */
extern uint16_t clari_rowset_hash(const char *bytes, size_t length);

/* ------- writing ------- */

/* Where a rowset's bytes go. */
typedef struct ClariRowsetOutput
{
	void *arg;
	/* appends bytes in file order */
	bool (*append)(void *arg, const void *bytes, size_t length, ClariError *error);
	/* a read-write descriptor of a temporary file that has no name any more; the writer closes it; -1 on error */
	int (*open_spill)(void *arg, ClariError *error);
} ClariRowsetOutput;

/*
 * Turns a number's text into the bytes of a numeric Datum.  They stay the
 * encoder's, valid until its next call, 4-aligned.
 */
typedef bool (*ClariNumericEncoder)(void *arg, const char *text, size_t length, const void **datum, size_t *size,
									ClariError *error);

typedef struct ClariRowsetWriter ClariRowsetWriter;

/*
 * A writer whose items are yet to come.  requested is the period asked for
 * (empty: the current quarter), so that a flat file of another quarter is not
 * kept.  sort_memory bounds the bytes of the sort's buffer (8 MB is right).
 * NULL when memory is out; the caller's until clari_rowset_writer_close().
 */
extern ClariRowsetWriter *clari_rowset_writer_open(const ClariRowsetOutput *output, ClariNumericEncoder encode,
												   void *encode_arg, const char *requested, size_t sort_memory);

/*
 * What is known of the account's quarters, for a file that tells its own by days
 * alone; before the first item.
 */
extern void clari_rowset_writer_set_calendar(ClariRowsetWriter *writer, const ClariCalendar *calendar);

/*
 * Takes one item; fits ClariItemSink, with the writer as arg.  False with the
 * error filled: CLARI_ERROR_DATA for an item that cannot be kept exactly or
 * lacks an id, for entries of several quarters or both shapes; for a line where
 * the calendar is not known;
 * CLARI_ERROR_LIMIT for lists of fields, periods and frames over 8 MB, for entries
 * of more than 1000 periods, or a run over CLARI_GROUP_MAX_BYTES; CLARI_ERROR_IO, CLARI_ERROR_OUT_OF_MEMORY; the
 * encoder's own.  After a false the writer can only be closed.
 */
extern bool clari_rowset_writer_add(void *writer, ClariList list, const ClariValue *values, ClariError *error);

/*
 * Sorts, joins, and writes the rest.  Completes meta; of meta->flags only
 * CLARI_ROWSET_GIVEN_FLAGS are heeded.  False with the errors of
 * clari_rowset_writer_add(); for an entry whose user, field or time frame is in
 * no list, or whose period is not in a list that there is; for two different
 * items of one id; and for a file that does not tell whether anything in it is of
 * the quarter that was asked for.
 */
extern bool clari_rowset_writer_finish(ClariRowsetWriter *writer, ClariRowsetMeta *meta, ClariError *error);
extern void clari_rowset_writer_close(ClariRowsetWriter *writer);

/* How many runs there are, whatever their period. */
extern uint64_t clari_rowset_owners(const ClariRowsetMeta *meta);

/* ------- reading; what is damaged is an error of code CLARI_ERROR_CORRUPT, and false ------- */

/*
 * Checks magic, version, checksum and sizes of a trailer (the last
 * sizeof(ClariRowsetTrailer) bytes of a rowset of total_length bytes), and that
 * its texts end.
 */
extern bool clari_rowset_check_trailer(const ClariRowsetTrailer *trailer, uint64_t total_length, ClariError *error);

/*
 * Checks the index that a checked trailer points to: checksum, that the groups
 * fill the rowset and the chunks their group without gap or overlap, that each
 * chunk's encoding befits its attribute and is long enough for its rows, and
 * that the rows are as many as the trailer says.
 */
extern bool
clari_rowset_check_index(const ClariRowsetTrailer *trailer, const ClariGroupIndex *index, ClariError *error);

/*
 * Checks a whole rowset in memory, 8-aligned: its head, trailer, index, every
 * chunk, and that nothing but zeros lies between them.  Whatever passes is what
 * the writer wrote, and can be read without further checks.
 */
extern bool clari_rowset_check(const void *bytes, uint64_t length, ClariError *error);

/* One column of one row group, ready to be read. */
typedef struct ClariChunk
{
	ClariEncoding encoding;
	uint32_t nrows;
	uint32_t ndistinct;      /* how many values a dictionary has; or how many hashes there are */
	const char *bytes;       /* the chunk's bytes: the caller's, 8-aligned, must outlive this */
	const uint16_t *codes;   /* of a dictionary the codes by row; or the hashes */
	const uint32_t *offsets; /* of a dictionary by code - 1, of a plain chunk by row; of runs their first rows */
	const int64_t *fixed;
} ClariChunk;

/*
 * Sets *chunk up over bytes, the chunk's own, of a group whose index was
 * checked.  With verify, its checksum and every code, offset and varlena length
 * are checked, so that no later access leaves it; without (bytes that this server
 * wrote into its own shared memory, or that clari_rowset_check() has passed) it
 * costs nothing.
 */
extern bool clari_chunk_open(const ClariGroupIndex *group, int position, const void *bytes, bool verify,
							 ClariChunk *chunk, ClariError *error);

/* The row's varlena, or NULL for a NULL: text and numeric. */
static inline const char *
clari_chunk_varlena(const ClariChunk *chunk, uint32_t row)
{
	switch (chunk->encoding)
	{
		case CLARI_ENCODING_DICTIONARY:
			return chunk->codes[row] == 0 ? NULL : chunk->bytes + chunk->offsets[chunk->codes[row] - 1];
		case CLARI_ENCODING_PLAIN:
			return chunk->offsets[row] == 0 ? NULL : chunk->bytes + chunk->offsets[row];
		case CLARI_ENCODING_CONSTANT:
			return chunk->bytes;
		default:
			return NULL;
	}
}

/* The row's fixed-width value, or CLARI_FIXED_NULL: bool, date, timestamptz; the encoding is not UNEXPECTED. */
static inline int64_t
clari_chunk_fixed(const ClariChunk *chunk, uint32_t row)
{
	return chunk->encoding == CLARI_ENCODING_FIXED ? chunk->fixed[row] : CLARI_FIXED_NULL;
}

#endif /* CLARI_ROWSET_H */
