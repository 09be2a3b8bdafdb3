/*
 * rowset.h
 *		The rows of an export, or of the account, as immutable,
 *		position-independent bytes.
 *
 * Layout, in file order (host byte order; every part 8-aligned):
 *
 *		magic | row group … row group | index | trailer
 *
 * A row group contains up to about CLARI_GROUP_ROWS rows of one list as column
 * chunks.  The index contains the place, the encoding and the CRC-32C of each
 * chunk.  The trailer, at a fixed distance from the end, contains the metadata
 * and the place of the index.  Text and numeric values are stored as Datums
 * (varlena with a four-byte header, 4-aligned), so that a scan can point to
 * them.  Bytes are written and read in order; nothing is changed later.
 *
 * Entries of a v4 file are stored in runs of the same user, time frame and
 * period, and joined with the other lists.  No run extends over two groups, so
 * the pivot of "forecasts" can loop over the runs of one group.
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
#define CLARI_GROUP_ROWS 2048                     /* a group of this many rows ends with the current run */
#define CLARI_GROUP_BYTES (4 * 1024 * 1024)       /* so does a group of about this many bytes */
#define CLARI_GROUP_MAX_BYTES (64 << 20)          /* the maximum size of a group, for which readers need memory */
#define CLARI_RUNS_CHUNK CLARI_MAX_ATTRIBUTES     /* the chunk after those of the attributes */
#define CLARI_HASHES_CHUNK (CLARI_RUNS_CHUNK + 1) /* the first of the chunks of clari_hashed_attributes */
#define CLARI_HASHED_ATTRIBUTES 4
#define CLARI_CHUNK_COUNT (CLARI_HASHES_CHUNK + CLARI_HASHED_ATTRIBUTES)
#define CLARI_FIXED_NULL INT64_MIN

typedef enum ClariEncoding
{
	CLARI_ENCODING_NULL,       /* every row is NULL: no bytes */
	CLARI_ENCODING_CONSTANT,   /* all rows have the varlena at the beginning of the chunk */
	CLARI_ENCODING_DICTIONARY, /* uint16 code[nrows] (0 is NULL, k the k-th value), padding to 4,
								 * uint32 offset[ndistinct], then varlenas */
	CLARI_ENCODING_PLAIN,      /* uint32 offset[nrows] (0 is NULL; several rows may have the same), then varlenas */
	CLARI_ENCODING_FIXED,      /* int64 value[nrows], CLARI_FIXED_NULL is NULL: bool, date (days from
								 * 2000-01-01) and timestamptz (µs from 2000-01-01 UTC) */
	CLARI_ENCODING_RUNS,       /* uint32 first_row[nruns] (entries only) */
	CLARI_ENCODING_HASHES,     /* uint16 hash[]: of each value in another chunk (entries only) */
	CLARI_ENCODING_UNEXPECTED  /* instead of FIXED, if a row has a value of another type: a varlena with a sentence
								 * that shows it and its item, which is the error of queries that read the column */
} ClariEncoding;

/* Offsets are relative to the beginning of the chunk.  0 is not the offset of a value. */
typedef struct ClariChunkIndex
{
	uint32_t offset; /* from the beginning of the group */
	uint32_t length;
	uint32_t crc;       /* CRC-32C of the chunk's bytes */
	uint32_t ndistinct; /* number of values of a dictionary */
	uint32_t encoding;  /* ClariEncoding */
} ClariChunkIndex;

typedef struct ClariGroupIndex
{
	uint32_t list; /* ClariList */
	uint32_t nrows;
	uint32_t nruns;  /* of entries: number of runs of one user, frame and period; in a flat file each row is a run */
	uint32_t length; /* of the group in bytes */
	uint64_t offset; /* of the group from the beginning of the rowset */
	ClariChunkIndex chunks[CLARI_CHUNK_COUNT];
} ClariGroupIndex;

#define CLARI_ROWSET_FLAT 0x01         /* the file had the flat shape */
#define CLARI_ROWSET_WRONG_PERIOD 0x02 /* the file was of another quarter than requested; its rows were not kept */
#define CLARI_ROWSET_TRUNCATED 0x04    /* Clari has truncated the file, and the table allows that */
#define CLARI_ROWSET_WITHOUT_CRM 0x08  /* crm_total and crm_closed were requested, but Clari does not export them */
#define CLARI_ROWSET_GIVEN_FLAGS (CLARI_ROWSET_TRUNCATED | CLARI_ROWSET_WITHOUT_CRM)

typedef struct ClariRowsetMeta
{
	/* Set by the caller of clari_rowset_writer_finish(). */
	ClariKey key;
	ClariKey account;    /* the account to which the quarter's days apply */
	uint64_t generation; /* distinguishes versions of the same key */
	char base_url[CLARI_URL_SIZE];
	char forecast[CLARI_NAME_SIZE];
	char requested[CLARI_PERIOD_TEXT_SIZE]; /* empty: the current quarter */
	char job_id[CLARI_ID_SIZE];
	int64_t posted_at;         /* µs from 2000-01-01 UTC */
	int64_t exported_at;       /* µs from 2000-01-01 UTC */
	int64_t cache_ttl;         /* µs: how long the rowset is fresh for the table that it was exported for */
	int64_t closed_period_ttl; /* µs: the same, if its quarter was over */
	/* Set by the writer, except CLARI_ROWSET_GIVEN_FLAGS of flags. */
	uint32_t flags;
	uint32_t endpoint;                     /* ClariEndpoint; set by the caller */
	int32_t period_start;                  /* days from 2000-01-01, or CLARI_DATE_NONE if the file does not show it */
	int32_t period_end;                    /* the same */
	char answered[CLARI_PERIOD_TEXT_SIZE]; /* the quarter of the rows; empty if the file does not show it */
	ClariNumbering numbering;              /* of the months and years of entries */
	uint64_t rows[CLARI_LIST_COUNT];
	uint64_t owners[CLARI_PERIOD_TYPES]; /* number of runs, which are the rows of "forecasts", by type of period */
} ClariRowsetMeta;

/* The number of entries, or of rows of a list of the account. */
static inline uint64_t
clari_rowset_entries(const ClariRowsetMeta *meta)
{
	return meta->rows[CLARI_ENTRIES] + meta->rows[CLARI_LIMITS] + meta->rows[CLARI_JOBS];
}

typedef struct ClariRowsetTrailer
{
	ClariRowsetMeta meta;
	uint64_t total_length; /* of the rowset, including this trailer */
	uint64_t index_offset;
	uint32_t ngroups; /* number of elements of the index, which is an array of ClariGroupIndex */
	uint32_t index_crc;
	uint32_t unused;      /* 0; without it there would be padding */
	uint32_t trailer_crc; /* CRC-32C of all bytes of the trailer before this one */
	char magic[8];
} ClariRowsetTrailer;

/*
 * Attributes of entries that have many values, and on which queries have
 * conditions of equality.  Next to their dictionary or plain chunk there is
 * one with the hashes of its values, so that groups without a value can be
 * skipped after reading two bytes for each of theirs.
 */
extern const int clari_hashed_attributes[CLARI_HASHED_ATTRIBUTES];

/* The hash of a text's bytes. */
extern uint16_t clari_rowset_hash(const char *bytes, size_t length);

/* ------- writing ------- */

/* Where the bytes of a rowset are written to. */
typedef struct ClariRowsetOutput
{
	void *arg;
	/* appends bytes in file order */
	bool (*append)(void *arg, const void *bytes, size_t length, ClariError *error);
	/* returns a read-write descriptor of a temporary file without a name, which the writer closes; -1 on error */
	int (*open_spill)(void *arg, ClariError *error);
} ClariRowsetOutput;

/*
 * Converts the text of a number to the bytes of a numeric Datum.  These belong
 * to the encoder, are 4-aligned, and are valid until its next call.
 */
typedef bool (*ClariNumericEncoder)(void *arg, const char *text, size_t length, const void **datum, size_t *size,
									ClariError *error);

typedef struct ClariRowsetWriter ClariRowsetWriter;

/*
 * Opens a writer.  requested is the requested period (empty: the current
 * quarter); the rows of a flat file of another quarter are not kept.
 * sort_memory limits the sort buffer in bytes (8 MB is a good value).  Returns
 * NULL if out of memory.  The caller must call clari_rowset_writer_close().
 */
extern ClariRowsetWriter *clari_rowset_writer_open(const ClariRowsetOutput *output, ClariNumericEncoder encode,
												   void *encode_arg, const char *requested, size_t sort_memory);

/*
 * Sets what is known of the account's quarters, for files that show their
 * quarter only by days.  To be called before the first item.
 */
extern void clari_rowset_writer_set_calendar(ClariRowsetWriter *writer, const ClariCalendar *calendar);

/*
 * Adds an item.  This is a ClariItemSink, whose arg is the writer.  Returns
 * false with CLARI_ERROR_DATA for an item that cannot be stored exactly or
 * lacks an id, or for entries of several quarters or of both shapes; with the
 * error of clari_calendar_unknown() for a line if the calendar is not known;
 * with CLARI_ERROR_LIMIT for lists of fields, periods and frames over 8 MB,
 * entries of more than 1000 periods, or a run over CLARI_GROUP_MAX_BYTES; with
 * CLARI_ERROR_IO or CLARI_ERROR_OUT_OF_MEMORY; or with an error of the numeric
 * encoder.  After that only clari_rowset_writer_close() may be called.
 */
extern bool clari_rowset_writer_add(void *writer, ClariList list, const ClariValue *values, ClariError *error);

/*
 * Sorts and joins the items, and writes what was not written yet.  Completes
 * meta; of meta->flags it keeps only CLARI_ROWSET_GIVEN_FLAGS.  Returns false
 * with the errors of clari_rowset_writer_add(), and with CLARI_ERROR_DATA for
 * an entry whose user, field or time frame is in no list, or whose period is
 * missing in a list timePeriods; for two different items with the same id; and
 * for a file that does not show whether anything in it is of the requested
 * quarter.
 */
extern bool clari_rowset_writer_finish(ClariRowsetWriter *writer, ClariRowsetMeta *meta, ClariError *error);
extern void clari_rowset_writer_close(ClariRowsetWriter *writer);

/* The number of runs of all types of period. */
extern uint64_t clari_rowset_owners(const ClariRowsetMeta *meta);

/* ------- reading; for damaged bytes, the functions return false with CLARI_ERROR_CORRUPT ------- */

/*
 * Checks magic, version, checksum and sizes of a trailer (the last
 * sizeof(ClariRowsetTrailer) bytes of a rowset of total_length bytes), and
 * that its texts are NUL-terminated.
 */
extern bool clari_rowset_check_trailer(const ClariRowsetTrailer *trailer, uint64_t total_length, ClariError *error);

/*
 * Checks the index that belongs to a checked trailer: its checksum; that
 * groups fill the rowset, and chunks their group, without gaps or overlaps;
 * that each chunk has an encoding that its attribute may have, and is long
 * enough for its rows; and that the number of rows is that of the trailer.
 */
extern bool
clari_rowset_check_index(const ClariRowsetTrailer *trailer, const ClariGroupIndex *index, ClariError *error);

/*
 * Checks a complete rowset in memory, 8-aligned: magic, trailer, index, every
 * chunk, and that there are only zeros between them.  Bytes that pass are such
 * as the writer writes, and can be read without further checks.
 */
extern bool clari_rowset_check(const void *bytes, uint64_t length, ClariError *error);

/* A column of a row group, ready to be read. */
typedef struct ClariChunk
{
	ClariEncoding encoding;
	uint32_t nrows;
	uint32_t ndistinct;      /* number of values of a dictionary, or number of hashes */
	const char *bytes;       /* the caller's, 8-aligned; must remain valid as long as the chunk is used */
	const uint16_t *codes;   /* of a dictionary: the code of each row; or the hashes */
	const uint32_t *offsets; /* of a dictionary: by code - 1; of a plain chunk: by row; of runs: their first rows */
	const int64_t *fixed;
} ClariChunk;

/*
 * Prepares a chunk for reading.  bytes are those of the chunk, whose group's
 * index was checked.  With verify, checks its checksum and every code, offset
 * and varlena length, so that no later access is outside of it.  Without
 * verify it costs nothing; the bytes must have been written by this server
 * into its own shared memory, or have passed clari_rowset_check().
 */
extern bool clari_chunk_open(const ClariGroupIndex *group, int position, const void *bytes, bool verify,
							 ClariChunk *chunk, ClariError *error);

/* Returns the row's varlena, or NULL: for text and numeric. */
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

/*
 * Returns the row's value of fixed width, or CLARI_FIXED_NULL: for bool, date
 * and timestamptz.  The encoding must not be CLARI_ENCODING_UNEXPECTED.
 */
static inline int64_t
clari_chunk_fixed(const ClariChunk *chunk, uint32_t row)
{
	return chunk->encoding == CLARI_ENCODING_FIXED ? chunk->fixed[row] : CLARI_FIXED_NULL;
}

#endif /* CLARI_ROWSET_H */
