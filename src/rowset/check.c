/*
 * check.c
 *		Checks and reads rowsets: see rowset.h.
 *
 * There are three checks, from the outside to the inside, of the trailer, the
 * index and a chunk, and one check of everything.  None relies on anything
 * that was not checked before, so damaged bytes cause an error and never an
 * access outside of them.
 *
 * Runs in every backend and in the worker; takes no locks, allocates nothing,
 * never raises.  postgres.h is included for varlena headers and CRC-32C.
 */
#include "compat.h"

#include "port/pg_crc32c.h"

#include <string.h>

#include "rowset/rowset.h"

#define MAGIC_SIZE 8
#define MAX_DICTIONARY 65535

#define ALL_FLAGS (CLARI_ROWSET_FLAT | CLARI_ROWSET_WRONG_PERIOD | CLARI_ROWSET_GIVEN_FLAGS)

/* The ranges of PostgreSQL (datatype/timestamp.h) in the units of chunks: days, and µs. */
#define MIN_DATE (-2451545)
#define END_DATE INT64_C(2145031949)
#define MIN_TIME INT64_C(-211813488000000000)
#define END_TIME INT64_C(9223371331200000000)

StaticAssertDecl(sizeof(ClariGroupIndex) % 8 == 0, "the index must keep the trailer aligned");
StaticAssertDecl(sizeof(ClariRowsetMeta) == offsetof(ClariRowsetMeta, owners) + CLARI_PERIOD_TYPES * sizeof(uint64_t) &&
					 offsetof(ClariRowsetMeta, posted_at) == offsetof(ClariRowsetMeta, job_id) + CLARI_ID_SIZE,
				 "the metadata must not have padding, neither at their end nor before their first number");
StaticAssertDecl(sizeof(ClariRowsetTrailer) == offsetof(ClariRowsetTrailer, magic) + MAGIC_SIZE,
				 "the trailer must not have padding");

const int clari_hashed_attributes[CLARI_HASHED_ATTRIBUTES] = {CLARI_ENTRY_USER_ID, CLARI_ENTRY_OWNER_NAME,
															  CLARI_ENTRY_OWNER_EMAIL, CLARI_ENTRY_CRM_USER_ID};

static bool
corrupt(ClariError *error, const char *what)
{
	clari_error_set(error, CLARI_ERROR_CORRUPT, "cached rows are damaged");
	clari_error_detail(error, "%s", what);
	return false;
}

static uint32_t
checksum(const void *bytes, size_t length)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, length);
	FIN_CRC32C(crc);
	return crc;
}

uint16_t
clari_rowset_hash(const char *bytes, size_t length)
{
	uint32_t sum = checksum(bytes, length);

	return (uint16_t) (sum ^ sum >> 16);
}

static uint64_t
align8(uint64_t length)
{
	return (length + 7) & ~UINT64_C(7);
}

/* The offset in its chunk at which a dictionary's offsets begin. */
static uint64_t
codes_length(uint32_t nrows)
{
	return ((uint64_t) nrows * sizeof(uint16_t) + 3) & ~UINT64_C(3);
}

/* ------- trailer ------- */

uint64_t
clari_rowset_owners(const ClariRowsetMeta *meta)
{
	uint64_t owners = 0;

	for (int type = 0; type < CLARI_PERIOD_TYPES; type++)
		owners += meta->owners[type];
	return owners;
}

static bool
has_end(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

static bool
check_meta(const ClariRowsetMeta *meta, ClariError *error)
{
	if (!has_end(meta->base_url, sizeof(meta->base_url)) || !has_end(meta->forecast, sizeof(meta->forecast)) ||
		!has_end(meta->requested, sizeof(meta->requested)) || !has_end(meta->job_id, sizeof(meta->job_id)) ||
		!has_end(meta->answered, sizeof(meta->answered)))
		return corrupt(error, "A text of the trailer has no end.");
	if ((meta->flags & ~(uint32_t) ALL_FLAGS) != 0)
		return corrupt(error, "The trailer has unknown flags.");
	if (meta->endpoint > CLARI_ENDPOINT_JOBS)
		return corrupt(error, "The trailer is of an unknown endpoint.");
	return true;
}

bool
clari_rowset_check_trailer(const ClariRowsetTrailer *trailer, uint64_t total_length, ClariError *error)
{
	uint64_t index_length = (uint64_t) trailer->ngroups * sizeof(ClariGroupIndex);

	if (memcmp(trailer->magic, CLARI_ROWSET_MAGIC, MAGIC_SIZE) != 0)
		return corrupt(error, "The file does not end with a trailer, or another version of clari_fdw wrote it.");
	if (trailer->trailer_crc != checksum(trailer, offsetof(ClariRowsetTrailer, trailer_crc)))
		return corrupt(error, "The trailer's checksum does not match.");
	if (trailer->total_length != total_length)
		return corrupt(error, "The length is not that of the trailer.");
	/* index_length is below 2^42, so it cannot overflow; nor can the subtractions, in this order */
	if (total_length < MAGIC_SIZE + sizeof(*trailer) || total_length - MAGIC_SIZE - sizeof(*trailer) < index_length ||
		trailer->index_offset % 8 != 0 || trailer->index_offset != total_length - sizeof(*trailer) - index_length ||
		trailer->unused != 0)
		return corrupt(error, "The trailer's sizes do not fit together.");
	return check_meta(&trailer->meta, error);
}

/* ------- index ------- */

/* May the chunk, of an attribute or of the runs, have this encoding? */
static bool
is_legal(const ClariGroupIndex *group, int position, uint32_t encoding)
{
	const ClariListInfo *list = &clari_lists[group->list];

	if (position >= CLARI_HASHES_CHUNK)
		return encoding == CLARI_ENCODING_NULL || (encoding == CLARI_ENCODING_HASHES && group->list == CLARI_ENTRIES);
	if (position == CLARI_RUNS_CHUNK)
		return encoding == (group->list == CLARI_ENTRIES ? CLARI_ENCODING_RUNS : CLARI_ENCODING_NULL);
	if (encoding == CLARI_ENCODING_NULL)
		return true;
	if (position >= list->nattributes)
		return false;
	if (list->attributes[position].type == CLARI_TEXT || list->attributes[position].type == CLARI_NUMERIC)
		return encoding == CLARI_ENCODING_CONSTANT || encoding == CLARI_ENCODING_DICTIONARY ||
			   encoding == CLARI_ENCODING_PLAIN;
	return encoding == CLARI_ENCODING_FIXED || encoding == CLARI_ENCODING_UNEXPECTED;
}

/* Has the chunk a valid encoding, and a length that this encoding can have? */
static bool
check_shape(const ClariGroupIndex *group, int position, ClariError *error)
{
	const ClariChunkIndex *chunk = &group->chunks[position];
	bool fits;

	if (!is_legal(group, position, chunk->encoding))
		return corrupt(error, "A chunk's encoding is not one for its attribute.");
	if (chunk->ndistinct > (chunk->encoding == CLARI_ENCODING_DICTIONARY ? MAX_DICTIONARY : 0))
		return corrupt(error, "A chunk has more distinct values than it can.");
	switch (chunk->encoding)
	{
		case CLARI_ENCODING_CONSTANT:
		case CLARI_ENCODING_UNEXPECTED:
			fits = chunk->length >= VARHDRSZ;
			break;
		case CLARI_ENCODING_DICTIONARY:
			fits = chunk->ndistinct > 0 &&
				   chunk->length >= codes_length(group->nrows) + (uint64_t) chunk->ndistinct * sizeof(uint32_t);
			break;
		case CLARI_ENCODING_PLAIN:
			fits = chunk->length >= (uint64_t) group->nrows * sizeof(uint32_t);
			break;
		case CLARI_ENCODING_FIXED:
			fits = chunk->length == (uint64_t) group->nrows * sizeof(int64_t);
			break;
		case CLARI_ENCODING_HASHES:
			fits = chunk->length > 0 && chunk->length % sizeof(uint16_t) == 0 &&
				   chunk->length <= (uint64_t) group->nrows * sizeof(uint16_t);
			break;
		case CLARI_ENCODING_RUNS:
			fits = chunk->length == (uint64_t) group->nruns * sizeof(uint32_t);
			break;
		default:
			fits = chunk->length == 0 && chunk->offset == 0 && chunk->crc == 0;
			break;
	}
	return fits || corrupt(error, "A chunk's length does not fit its rows.");
}

/* Checks a group's counts, and that its chunks follow each other without gaps. */
static bool
check_group(const ClariGroupIndex *group, ClariError *error)
{
	uint64_t end = 0;

	if (group->list >= CLARI_LIST_COUNT)
		return corrupt(error, "A row group is of an unknown list.");
	if (group->length > CLARI_GROUP_MAX_BYTES || group->nrows == 0 ||
		group->nrows > CLARI_GROUP_MAX_BYTES / sizeof(uint32_t) || group->nruns > group->nrows ||
		(group->nruns > 0) != (group->list == CLARI_ENTRIES))
		return corrupt(error, "A row group's sizes are not possible.");
	for (int position = 0; position < CLARI_CHUNK_COUNT; position++)
	{
		const ClariChunkIndex *chunk = &group->chunks[position];

		if (!check_shape(group, position, error))
			return false;
		if (chunk->encoding == CLARI_ENCODING_NULL)
			continue;
		if (chunk->offset != end)
			return corrupt(error, "A chunk is not where the one before it ends.");
		end = align8(end + chunk->length);
	}
	return group->length == end || corrupt(error, "A row group is not as long as its chunks.");
}

bool
clari_rowset_check_index(const ClariRowsetTrailer *trailer, const ClariGroupIndex *index, ClariError *error)
{
	const ClariRowsetMeta *meta = &trailer->meta;
	uint64_t rows[CLARI_LIST_COUNT] = {0};
	uint64_t runs = 0;
	uint64_t end = MAGIC_SIZE;

	if (trailer->index_crc != checksum(index, (size_t) trailer->ngroups * sizeof(*index)))
		return corrupt(error, "The index's checksum does not match.");
	for (uint32_t i = 0; i < trailer->ngroups; i++)
	{
		if (!check_group(&index[i], error))
			return false;
		if (index[i].offset != end)
			return corrupt(error, "A row group is not where the one before it ends.");
		end += index[i].length;
		rows[index[i].list] += index[i].nrows;
		runs += index[i].nruns;
	}
	if (trailer->index_offset != end)
		return corrupt(error, "The index is not where the last row group ends.");
	if (memcmp(rows, meta->rows, sizeof(rows)) != 0 || runs != clari_rowset_owners(meta))
		return corrupt(error, "The rows are not as many as the trailer says.");
	if ((meta->flags & CLARI_ROWSET_WRONG_PERIOD) != 0 && trailer->ngroups != 0)
		return corrupt(error, "There are rows of a quarter that was not requested.");
	return true;
}

/* ------- chunks ------- */

/*
 * Is there a plain varlena at the offset, which is at least first and ends
 * within the chunk?  This and the loops that call it run for each value that
 * is read from a file, so they contain as few branches as possible.
 */
static inline bool
check_varlena(const char *bytes, uint32_t length, uint64_t first, uint32_t offset)
{
	if (offset % 4 != 0 || offset < first || offset > length || length - offset < VARHDRSZ)
		return false;
	return VARATT_IS_4B_U(bytes + offset) && VARSIZE_4B(bytes + offset) >= VARHDRSZ &&
		   VARSIZE_4B(bytes + offset) <= length - offset;
}

static bool
check_dictionary(const ClariChunk *chunk, uint32_t length)
{
	uint64_t first = codes_length(chunk->nrows) + (uint64_t) chunk->ndistinct * sizeof(uint32_t);
	bool good = true;

	for (uint32_t row = 0; row < chunk->nrows; row++)
		good &= chunk->codes[row] <= chunk->ndistinct;
	for (uint32_t i = 0; i < chunk->ndistinct; i++)
		if (!check_varlena(chunk->bytes, length, first, chunk->offsets[i]))
			return false;
	return good;
}

static bool
check_plain(const ClariChunk *chunk, uint32_t length)
{
	uint64_t first = (uint64_t) chunk->nrows * sizeof(uint32_t);

	for (uint32_t row = 0; row < chunk->nrows; row++)
		if (chunk->offsets[row] != 0 && !check_varlena(chunk->bytes, length, first, chunk->offsets[row]))
			return false;
	return true;
}

/* Are all values valid for the type? */
static bool
check_fixed(const ClariChunk *chunk, ClariType type)
{
	static const int64_t min_of[] = {
		[CLARI_BOOL] = 0, [CLARI_DATE] = MIN_DATE, [CLARI_TIMESTAMP] = MIN_TIME, [CLARI_BITS] = 0};
	static const int64_t end_of[] = {[CLARI_BOOL] = 2,
									 [CLARI_DATE] = END_DATE,
									 [CLARI_TIMESTAMP] = END_TIME,
									 [CLARI_BITS] = 1 << CLARI_PERIOD_TYPES};
	int64_t min = min_of[type];
	int64_t end = end_of[type];

	if (type == CLARI_INTEGER)
		return true;

	for (uint32_t row = 0; row < chunk->nrows; row++)
		if (chunk->fixed[row] != CLARI_FIXED_NULL && (chunk->fixed[row] < min || chunk->fixed[row] >= end))
			return false;
	return true;
}

/* Do the first rows of the runs ascend, beginning with row 0? */
static bool
check_runs(const ClariChunk *chunk, uint32_t nruns)
{
	if (chunk->offsets[0] != 0)
		return false;
	for (uint32_t run = 1; run < nruns; run++)
		if (chunk->offsets[run] <= chunk->offsets[run - 1])
			return false;
	return chunk->offsets[nruns - 1] < chunk->nrows;
}

static bool
check_values(const ClariGroupIndex *group, int position, const ClariChunk *chunk)
{
	uint32_t length = group->chunks[position].length;

	switch (chunk->encoding)
	{
		case CLARI_ENCODING_CONSTANT:
		case CLARI_ENCODING_UNEXPECTED:
			return check_varlena(chunk->bytes, length, 0, 0);
		case CLARI_ENCODING_DICTIONARY:
			return check_dictionary(chunk, length);
		case CLARI_ENCODING_PLAIN:
			return check_plain(chunk, length);
		case CLARI_ENCODING_FIXED:
			return check_fixed(chunk, clari_lists[group->list].attributes[position].type);
		case CLARI_ENCODING_RUNS:
			return check_runs(chunk, group->nruns);
		default:
			return true;
	}
}

static void
set_up(const ClariGroupIndex *group, int position, const void *bytes, ClariChunk *chunk)
{
	const ClariChunkIndex *index = &group->chunks[position];

	chunk->encoding = (ClariEncoding) index->encoding;
	chunk->nrows = group->nrows;
	chunk->ndistinct = index->ndistinct;
	chunk->bytes = bytes;
	chunk->codes = NULL;
	chunk->offsets = NULL;
	chunk->fixed = NULL;
	if (chunk->encoding == CLARI_ENCODING_DICTIONARY)
	{
		chunk->codes = bytes;
		chunk->offsets = (const uint32_t *) (chunk->bytes + codes_length(group->nrows));
	}
	else if (chunk->encoding == CLARI_ENCODING_PLAIN || chunk->encoding == CLARI_ENCODING_RUNS)
		chunk->offsets = bytes;
	else if (chunk->encoding == CLARI_ENCODING_FIXED)
		chunk->fixed = bytes;
	else if (chunk->encoding == CLARI_ENCODING_HASHES)
	{
		chunk->codes = bytes;
		chunk->ndistinct = index->length / sizeof(uint16_t);
	}
}

/* Does the checks of clari_chunk_open() with verify. */
static bool
check_chunk(const ClariGroupIndex *group, int position, const void *bytes, ClariChunk *chunk, ClariError *error)
{
	if (group->chunks[position].crc != checksum(bytes, group->chunks[position].length))
		return corrupt(error, "A chunk's checksum does not match.");
	set_up(group, position, bytes, chunk);
	return check_values(group, position, chunk) || corrupt(error, "A chunk holds a value that is not in it.");
}

bool
clari_chunk_open(const ClariGroupIndex *group, int position, const void *bytes, bool verify, ClariChunk *chunk,
				 ClariError *error)
{
	if (verify)
		return check_chunk(group, position, bytes, chunk, error);
	set_up(group, position, bytes, chunk);
	return true;
}

/* ------- complete rowsets ------- */

/* Checks the chunks of a checked group, and that the padding after each is zero. */
static bool
check_chunks(const ClariGroupIndex *group, const char *bytes, ClariError *error)
{
	for (int position = 0; position < CLARI_CHUNK_COUNT; position++)
	{
		const ClariChunkIndex *index = &group->chunks[position];
		uint64_t end = (uint64_t) index->offset + index->length;
		ClariChunk chunk;

		if (index->encoding == CLARI_ENCODING_NULL)
			continue;
		if (!check_chunk(group, position, bytes + index->offset, &chunk, error))
			return false;
		for (uint64_t i = end; i < align8(end); i++)
			if (bytes[i] != 0)
				return corrupt(error, "There is something between two chunks.");
	}
	return true;
}

bool
clari_rowset_check(const void *rowset, uint64_t length, ClariError *error)
{
	const char *bytes = rowset;
	const ClariRowsetTrailer *trailer;
	const ClariGroupIndex *index;

	if (length % 8 != 0 || length < MAGIC_SIZE + sizeof(*trailer))
		return corrupt(error, "The length is not possible.");
	trailer = (const ClariRowsetTrailer *) (bytes + length - sizeof(*trailer));
	if (!clari_rowset_check_trailer(trailer, length, error))
		return false;
	index = (const ClariGroupIndex *) (bytes + trailer->index_offset);
	if (!clari_rowset_check_index(trailer, index, error))
		return false;
	if (memcmp(bytes, CLARI_ROWSET_MAGIC, MAGIC_SIZE) != 0)
		return corrupt(error, "The file does not begin as it should, or another version of clari_fdw wrote it.");
	for (uint32_t i = 0; i < trailer->ngroups; i++)
		if (!check_chunks(&index[i], bytes + index[i].offset, error))
			return false;
	return true;
}
