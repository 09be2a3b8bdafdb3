/*
 * fuzz_rowset.c
 *		The rowset's reader on arbitrary bytes: whatever passes its checks can be
 *		read, every cell, without leaving the chunk.
 *
 * Random bytes never pass a checksum, so the input is tried as it is, and again
 * with lengths, counts and checksums made to fit.  Each chunk is read from an
 * allocation of its own, for AddressSanitizer to see its end.
 *
 *		clang -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined -Isrc \
 *			-isystem `pg_config --includedir-server` test/fuzz/fuzz_rowset.c \
 *			src/rowset/check.c src/clari/attribute.c src/base/error.c -L`pg_config --pkglibdir` -lpgcommon -lpgport
 */
#include "postgres.h"

#include "port/pg_crc32c.h"

#include <stdlib.h>
#include <string.h>

#include "rowset/rowset.h"
#include "compat.h" /* varatt.h, where that is a header of its own */

extern int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint32_t
checksum(const void *bytes, size_t length)
{
	pg_crc32c crc;

	INIT_CRC32C(crc);
	COMP_CRC32C(crc, bytes, length);
	FIN_CRC32C(crc);
	return crc;
}

/* Makes fit what a mutation cannot hit by chance. */
static void
repair(char *bytes, size_t size)
{
	ClariRowsetTrailer *trailer = (ClariRowsetTrailer *) (bytes + size - sizeof(*trailer));
	size_t index_length;
	ClariGroupIndex *index;

	trailer->ngroups %= (size - sizeof(*trailer)) / sizeof(*index) + 1;
	index_length = trailer->ngroups * sizeof(*index);
	index = (ClariGroupIndex *) (bytes + size - sizeof(*trailer) - index_length);
	memset(trailer->meta.rows, 0, sizeof(trailer->meta.rows));
	memset(trailer->meta.owners, 0, sizeof(trailer->meta.owners));
	for (uint32_t i = 0; i < trailer->ngroups; i++)
	{
		ClariGroupIndex *group = &index[i];

		if (group->list < CLARI_LIST_COUNT)
			trailer->meta.rows[group->list] += group->nrows;
		trailer->meta.owners[CLARI_QUARTERS] += group->nruns;
		for (int k = 0; k < CLARI_CHUNK_COUNT && group->offset < size; k++)
			if (group->chunks[k].offset <= size - group->offset &&
				group->chunks[k].length <= size - group->offset - group->chunks[k].offset)
				group->chunks[k].crc =
					checksum(bytes + group->offset + group->chunks[k].offset, group->chunks[k].length);
	}
	memcpy(bytes, CLARI_ROWSET_MAGIC, sizeof(trailer->magic));
	trailer->total_length = size;
	trailer->index_offset = size - sizeof(*trailer) - index_length;
	trailer->index_crc = checksum(index, index_length);
	trailer->trailer_crc = checksum(trailer, offsetof(ClariRowsetTrailer, trailer_crc));
	memcpy(trailer->magic, CLARI_ROWSET_MAGIC, sizeof(trailer->magic));
}

/* Touches every byte of every cell. */
static unsigned
read_chunk(const ClariChunk *chunk, uint32_t nruns)
{
	unsigned sum = 0;

	if (chunk->encoding == CLARI_ENCODING_HASHES)
	{
		for (uint32_t i = 0; i < chunk->ndistinct; i++)
			sum += chunk->codes[i];
		return sum;
	}
	if (chunk->encoding == CLARI_ENCODING_UNEXPECTED)
	{
		for (size_t i = 0; i < VARSIZE_4B(chunk->bytes) && i < 1000; i++)
			sum += (unsigned char) chunk->bytes[i];
		return sum;
	}
	if (chunk->encoding == CLARI_ENCODING_RUNS)
	{
		for (uint32_t run = 0; run < nruns; run++)
			sum += chunk->offsets[run];
		return sum;
	}
	for (uint32_t row = 0; row < chunk->nrows; row++)
	{
		const char *varlena = clari_chunk_varlena(chunk, row);

		sum += (unsigned) clari_chunk_fixed(chunk, row);
		if (varlena == NULL)
			continue;
		if (!VARATT_IS_4B_U(varlena))
			abort();
		/* ends of long values, so that a dictionary of them does not take for ever */
		for (size_t i = 0; i < VARSIZE_4B(varlena) && i < 16; i++)
			sum += (unsigned char) varlena[i];
		sum += (unsigned char) varlena[VARSIZE_4B(varlena) - 1];
	}
	return sum;
}

static volatile unsigned read_so_far; /* what is read must not be optimized away */

static void
read_group(const char *bytes, const ClariGroupIndex *group)
{
	for (int position = 0; position < CLARI_CHUNK_COUNT; position++)
	{
		const ClariChunkIndex *index = &group->chunks[position];
		char *copy = malloc(index->length);
		ClariError error;
		ClariChunk chunk;

		memcpy(copy, bytes + group->offset + index->offset, index->length);
		/* a chunk without bytes can have any number of rows: a few will do */
		if (clari_chunk_open(group, position, copy, true, &chunk, &error) && group->nrows < 100000)
			read_so_far += read_chunk(&chunk, group->nruns);
		free(copy);
	}
}

/* What passes as a whole is read where it is, without further checks. */
static void
read_whole(const char *bytes, size_t size)
{
	const ClariRowsetTrailer *trailer = (const ClariRowsetTrailer *) (bytes + size - sizeof(*trailer));
	const ClariGroupIndex *index;
	ClariError error;
	ClariChunk chunk;

	if (!clari_rowset_check(bytes, size, &error))
		return;
	index = (const ClariGroupIndex *) (bytes + trailer->index_offset);
	for (uint32_t i = 0; i < trailer->ngroups; i++)
		for (int position = 0; position < CLARI_CHUNK_COUNT; position++)
			if (clari_chunk_open(&index[i], position, bytes + index[i].offset + index[i].chunks[position].offset, false,
								 &chunk, &error) &&
				index[i].nrows < 100000)
				read_so_far += read_chunk(&chunk, index[i].nruns);
}

static void
read_rowset(const char *bytes, size_t size)
{
	ClariRowsetTrailer trailer;
	ClariError error;
	ClariGroupIndex *index;
	size_t index_length;

	memcpy(&trailer, bytes + size - sizeof(trailer), sizeof(trailer));
	if (!clari_rowset_check_trailer(&trailer, size, &error))
		return;
	index_length = trailer.ngroups * sizeof(*index);
	index = malloc(index_length);
	memcpy(index, bytes + trailer.index_offset, index_length);
	if (clari_rowset_check_index(&trailer, index, &error))
		for (uint32_t i = 0; i < trailer.ngroups; i++)
			read_group(bytes, &index[i]);
	free(index);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes;

	size &= ~(size_t) 7;
	if (size < sizeof(ClariRowsetTrailer))
		return 0;
	bytes = malloc(size);
	memcpy(bytes, data, size);
	read_rowset(bytes, size);
	read_whole(bytes, size);
	repair(bytes, size);
	read_rowset(bytes, size);
	read_whole(bytes, size);
	free(bytes);
	return 0;
}
