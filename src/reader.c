/*
 * reader.c
 *		One version of a rowset, opened in a session: see reader.h.
 *
 * Runs in sessions.  Takes no lock.  Segments and descriptors hang on a reset
 * callback of the reader's memory context, because an error does not call
 * EndForeignScan.
 */
#include "postgres.h"

#include "reader.h"

#include "report.h"
#include "store.h"

#include "storage/fd.h"
#include "utils/memutils.h"

#include <unistd.h>

/* A segment can be mapped once a process; readers of several statements share the mapping. */
typedef struct Mapping
{
	dsm_segment *segment;
	int readers;
	struct Mapping *next;
} Mapping;

static Mapping *mappings = NULL;

/* ------- segments ------- */

static dsm_segment *
attach_segment(dsm_handle handle)
{
	Mapping *mapping;
	dsm_segment *segment = dsm_find_mapping(handle);

	for (mapping = mappings; mapping != NULL; mapping = mapping->next)
		if (mapping->segment == segment && segment != NULL)
		{
			mapping->readers++;
			return segment;
		}
	mapping = MemoryContextAlloc(TopMemoryContext, sizeof(Mapping));
	segment = dsm_attach(handle);
	if (segment == NULL)
	{
		pfree(mapping); /* evicted, and nobody reads it any more */
		return NULL;
	}
	dsm_pin_mapping(segment);
	*mapping = (Mapping){segment, 1, mappings};
	mappings = mapping;
	return segment;
}

static void
detach_segment(dsm_handle handle)
{
	for (Mapping **link = &mappings; *link != NULL; link = &(*link)->next)
	{
		Mapping *mapping = *link;

		if (dsm_segment_handle(mapping->segment) != handle)
			continue;
		if (--mapping->readers == 0)
		{
			*link = mapping->next;
			dsm_detach(mapping->segment);
			pfree(mapping);
		}
		return;
	}
}

/* ------- life ------- */

static void
close_reader(void *arg)
{
	ClariReader *reader = arg;

	if (reader->base != NULL)
		detach_segment(reader->version.segment);
	if (reader->fd >= 0)
	{
		close(reader->fd);
		ReleaseExternalFD();
	}
	reader->base = NULL;
	reader->fd = -1;
}

static ClariReader *
make_reader(const ClariVersion *version, MemoryContext context)
{
	ClariReader *reader = MemoryContextAllocZero(context, sizeof(ClariReader));
	MemoryContextCallback *callback = MemoryContextAllocZero(context, sizeof(MemoryContextCallback));

	reader->version = *version;
	reader->fd = -1;
	callback->func = close_reader;
	callback->arg = reader;
	MemoryContextRegisterResetCallback(context, callback);
	return reader;
}

/* Bytes that a worker checked before it published them: no need to look again. */
static bool
open_segment(ClariReader *reader)
{
	dsm_segment *segment;
	const ClariRowsetTrailer *trailer;

	if (reader->version.segment == DSM_HANDLE_INVALID)
		return false;
	segment = attach_segment(reader->version.segment);
	if (segment == NULL)
		return false;
	reader->base = dsm_segment_address(segment);
	trailer = (const ClariRowsetTrailer *) (reader->base + reader->version.bytes - sizeof(ClariRowsetTrailer));
	Assert(trailer->meta.generation == reader->version.meta.generation);
	reader->ngroups = (int) trailer->ngroups;
	reader->groups = (const ClariGroupIndex *) (reader->base + trailer->index_offset);
	return true;
}

static bool
read_index(ClariReader *reader, const ClariRowsetTrailer *trailer, MemoryContext context, ClariError *error)
{
	Size size = sizeof(ClariGroupIndex) * trailer->ngroups;
	ClariGroupIndex *groups = MemoryContextAllocHuge(context, Max(size, 1));

	if (!clari_store_read(reader->fd, trailer->index_offset, groups, size, error) ||
		!clari_rowset_check_index(trailer, groups, error))
		return false;
	reader->ngroups = (int) trailer->ngroups;
	reader->groups = groups;
	return true;
}

static bool
open_file(ClariReader *reader, MemoryContext context, ClariError *error)
{
	ClariVersion *version = &reader->version;
	ClariRowsetTrailer trailer;

	/* Where descriptors are short, this raises rather than fails later in an odd place. */
	if (!AcquireExternalFD())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES), errmsg("too many open files for a scan of clari_fdw")));
	reader->fd = clari_store_open(&version->meta.key, version->meta.generation);
	if (reader->fd < 0)
	{
		ReleaseExternalFD();
		/* Gone is as good as corrupt: not to be asked for again.  Anything else may pass. */
		return clari_error_set(error, errno == ENOENT ? CLARI_ERROR_CORRUPT : CLARI_ERROR_IO,
							   "could not open the cached export of period %s: %s", version->meta.answered,
							   strerror(errno));
	}
	if (version->bytes < sizeof(trailer))
		return clari_error_set(error, CLARI_ERROR_CORRUPT, "the cached export is too short");
	return clari_store_read(reader->fd, version->bytes - sizeof(trailer), &trailer, sizeof(trailer), error) &&
		   clari_rowset_check_trailer(&trailer, version->bytes, error) && read_index(reader, &trailer, context, error);
}

ClariReader *
clari_reader_open(const ClariVersion *version, MemoryContext context, ClariError *error)
{
	ClariReader *reader = make_reader(version, context);

	if (open_segment(reader) || open_file(reader, context, error))
		return reader;
	close_reader(reader);
	return NULL;
}

/* ------- chunks ------- */

static const char *
read_chunk(ClariReader *reader, const ClariGroupIndex *group, const ClariChunkIndex *chunk, ClariChunkBuffer *buffer,
		   ClariError *error)
{
	if (buffer->size < chunk->length)
	{
		buffer->size = Max(chunk->length, 64 * 1024);
		if (buffer->bytes == NULL)
			buffer->bytes = palloc_extended(buffer->size, MCXT_ALLOC_HUGE);
		else
			buffer->bytes = repalloc_huge(buffer->bytes, buffer->size);
	}
	if (!clari_store_read(reader->fd, group->offset + chunk->offset, buffer->bytes, chunk->length, error))
		return NULL;
	return buffer->bytes;
}

void
clari_reader_chunk(ClariReader *reader, int group_number, int position, ClariChunkBuffer *buffer, ClariChunk *chunk)
{
	const ClariGroupIndex *group = &reader->groups[group_number];
	const ClariChunkIndex *index = &group->chunks[position];
	const char *bytes = NULL;
	ClariError error;

	if (reader->base != NULL)
		bytes = reader->base + group->offset + index->offset;
	else if (index->length > 0)
		bytes = read_chunk(reader, group, index, buffer, &error);
	if ((bytes != NULL || index->length == 0) &&
		clari_chunk_open(group, position, bytes, reader->base == NULL, chunk, &error))
		return;
	clari_cache_forget(&reader->version.meta.key, reader->version.meta.generation);
	clari_error_hint(&error, "The export is forgotten: run the query again.");
	clari_error_report(ERROR, &error);
}
