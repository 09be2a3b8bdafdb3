/*
 * reader.c
 *		Reading one version of a rowset in a session: see reader.h.
 *
 * Runs in sessions.  Takes the cache's lock only within the cache's calls.
 * Segments and descriptors are released by a reset callback of the reader's memory
 * context, because EndForeignScan is not called after an error.
 */
#include "postgres.h"

#include "session/reader.h"

#include "base/report.h"
#include "compat.h"
#include "store/store.h"

#include "storage/fd.h"
#include "utils/memutils.h"

#include <sys/stat.h>
#include <unistd.h>

/* A file of at most this size is read and checked as a whole when a session first opens it. */
#define READ_WHOLE (8 * 1024 * 1024)

/* A process can map a segment only once, so all readers of a segment share the mapping. */
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
	segment = dsm_attach(handle);
	if (segment == NULL)
		return NULL; /* it was dropped, and nobody else reads it any more */
	mapping = MemoryContextAlloc(TopMemoryContext, sizeof(Mapping));
	dsm_pin_mapping(segment); /* otherwise the mapping would end with the resource owner */
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
close_file(ClariReader *reader)
{
	if (reader->fd >= 0)
		(void) close(reader->fd);
	if (reader->counted)
		ReleaseExternalFD();
	reader->fd = -1;
	reader->counted = false;
}

static void
close_reader(void *arg)
{
	ClariReader *reader = arg;

	if (reader->attached)
		detach_segment(reader->version.segment);
	close_file(reader);
	reader->base = NULL; /* palloc'd bytes are freed with the context */
	reader->attached = false;
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

/* Makes the reader use these bytes, which were checked here or by the process that put them into a segment. */
static void
read_from(ClariReader *reader, const char *bytes)
{
	const ClariRowsetTrailer *trailer =
		(const ClariRowsetTrailer *) (bytes + reader->version.bytes - sizeof(ClariRowsetTrailer));

	reader->base = bytes;
	reader->ngroups = (int) trailer->ngroups;
	reader->groups = (const ClariGroupIndex *) (bytes + trailer->index_offset);
}

/* Does the segment contain the version?  It may have been dropped since the look-up, and its handle used for another. */
static bool
is_the_version(const ClariReader *reader, dsm_segment *segment)
{
	const ClariVersion *version = &reader->version;
	const ClariRowsetTrailer *trailer;

	if (dsm_segment_map_length(segment) < version->bytes)
		return false;
	trailer = (const ClariRowsetTrailer *) ((const char *) dsm_segment_address(segment) + version->bytes) - 1;
	return trailer->meta.generation == version->meta.generation &&
		   memcmp(&trailer->meta.key, &version->meta.key, sizeof(ClariKey)) == 0;
}

static bool
open_segment(ClariReader *reader)
{
	dsm_segment *segment;

	if (reader->version.segment == DSM_HANDLE_INVALID)
		return false;
	segment = attach_segment(reader->version.segment);
	if (segment == NULL)
		return false;
	reader->attached = true;
	if (is_the_version(reader, segment))
	{
		read_from(reader, dsm_segment_address(segment));
		return true;
	}
	detach_segment(reader->version.segment);
	reader->attached = false;
	return false;
}

static bool
damaged(ClariError *error, const char *what)
{
	clari_error_set(error, CLARI_ERROR_CORRUPT, "cached rows are damaged");
	clari_error_detail(error, "%s", what);
	return false;
}

/* Does the file contain the reader's version? */
static bool
check_identity(const ClariReader *reader, const ClariRowsetTrailer *trailer, ClariError *error)
{
	const ClariRowsetMeta *asked = &reader->version.meta;

	if (memcmp(&trailer->meta.key, &asked->key, sizeof(asked->key)) == 0 &&
		trailer->meta.generation == asked->generation)
		return true;
	return damaged(error, "The rows are those of another export.");
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
read_tail(ClariReader *reader, MemoryContext context, ClariError *error)
{
	uint64 length = reader->version.bytes;
	ClariRowsetTrailer trailer;

	return clari_store_read(reader->fd, length - sizeof(trailer), &trailer, sizeof(trailer), error) &&
		   clari_rowset_check_trailer(&trailer, length, error) && check_identity(reader, &trailer, error) &&
		   read_index(reader, &trailer, context, error);
}

/* A file that this session has read as a whole and found good.  If it is changed, so is its modification time. */
typedef struct CheckedFile
{
	ClariKey key;
	uint64 generation; /* 0: none */
	ino_t inode;
	struct timespec modified;
} CheckedFile;

static CheckedFile checked_files[256];
static int next_checked = 0; /* the entry to be replaced next */

static CheckedFile
describe_file(const ClariReader *reader)
{
	const ClariRowsetMeta *meta = &reader->version.meta;
	CheckedFile file = {.key = meta->key};
	struct stat status;

	if (fstat(reader->fd, &status) == 0)
	{
		file.generation = meta->generation;
		file.inode = status.st_ino;
		file.modified = status.st_mtim;
	}
	return file;
}

static bool
was_checked(const CheckedFile *file)
{
	for (size_t i = 0; i < lengthof(checked_files); i++)
		if (checked_files[i].generation == file->generation && checked_files[i].inode == file->inode &&
			checked_files[i].modified.tv_sec == file->modified.tv_sec &&
			checked_files[i].modified.tv_nsec == file->modified.tv_nsec &&
			memcmp(&checked_files[i].key, &file->key, sizeof(file->key)) == 0)
			return file->generation != 0;
	return false;
}

/*
 * Reads the whole file, so that damage is found before the first row is returned.
 * Since a statement may read hundreds of rowsets, only the bytes of small files are
 * kept.  Others are read chunk by chunk after this; and if this session has checked
 * such a file before, it is not read as a whole again, unless it is popular.
 */
static bool
read_whole(ClariReader *reader, MemoryContext context, ClariError *error)
{
	uint64 length = reader->version.bytes;
	CheckedFile file = describe_file(reader);
	bool popular = clari_cache_is_popular(&reader->version);
	char *bytes;
	bool good;

	if (length > CLARI_READER_KEEPS && !popular && was_checked(&file))
		return read_tail(reader, context, error);
	bytes = MemoryContextAlloc(context, length);
	good = clari_store_read(reader->fd, 0, bytes, length, error) && clari_rowset_check(bytes, length, error) &&
		   check_identity(reader, (const ClariRowsetTrailer *) (bytes + length - sizeof(ClariRowsetTrailer)), error);
	if (good && popular)
		clari_cache_promote(&reader->version, bytes);
	if (good && length <= CLARI_READER_KEEPS)
	{
		close_file(reader);
		read_from(reader, bytes);
		return true;
	}
	pfree(bytes);
	if (!good)
		return false;
	checked_files[next_checked] = file;
	next_checked = (next_checked + 1) % lengthof(checked_files);
	return read_tail(reader, context, error);
}

/* Opens the file and sets the reader's fd. */
static bool
open_descriptor(ClariReader *reader, ClariError *error)
{
	const ClariRowsetMeta *meta = &reader->version.meta;
	int cause;

	if (!AcquireExternalFD())
	{
		clari_error_set(error, CLARI_ERROR_RESOURCES, "too many open files for a scan of clari_fdw");
		clari_error_hint(error, "Raise max_files_per_process, or scan fewer periods in a statement.");
		return false;
	}
	reader->counted = true; /* set this first, because opening can raise an error: it logs if descriptors run out */
	reader->fd = clari_store_open(&meta->key, meta->generation);
	if (reader->fd >= 0)
		return true;
	cause = errno;
	close_file(reader);
	return clari_error_set(error, cause == ENOENT ? CLARI_ERROR_GONE : CLARI_ERROR_IO,
						   "could not open the cached export of period %s: %s", meta->answered, strerror(cause));
}

static bool
open_file(ClariReader *reader, MemoryContext context, ClariError *error)
{
	const ClariVersion *version = &reader->version;
	bool done = open_descriptor(reader, error);

	if (done && version->bytes < sizeof(ClariRowsetTrailer))
		done = damaged(error, "The file is too short for a trailer.");
	else if (done)
		done = version->bytes <= READ_WHOLE ? read_whole(reader, context, error) : read_tail(reader, context, error);
	if (!done && error->code != CLARI_ERROR_RESOURCES)
		clari_store_name_file(&version->meta.key, version->meta.generation, error);
	return done;
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

/* Raises an error for a value that is not of the column's type, because a NULL instead of it would be wrong. */
static void
raise_unexpected(const ClariReader *reader, const ClariGroupIndex *group, int position, const ClariChunk *chunk)
{
	const ClariRowsetMeta *meta = &reader->version.meta;
	const char *column = clari_lists[group->list].attributes[position].name;

	ereport(
		ERROR,
		(errcode(ERRCODE_DATA_EXCEPTION),
		 clari_endpoint_is_of_account(meta->endpoint)
			 ? errmsg("Clari's answer holds a value of the wrong type for column \"%s\"", column)
			 : errmsg("the export of period %s of forecast \"%s\" holds a value of the wrong type for column \"%s\"",
					  meta->answered, clari_report_text(meta->forecast), column),
		 errdetail_internal("%s",
							clari_report_text(pnstrdup(VARDATA_ANY(chunk->bytes), VARSIZE_ANY_EXHDR(chunk->bytes)))),
		 errhint("Queries that do not use the column still work.")));
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
	{
		if (chunk->encoding == CLARI_ENCODING_UNEXPECTED)
			raise_unexpected(reader, group, position, chunk);
		return;
	}
	clari_store_name_file(&reader->version.meta.key, reader->version.meta.generation, &error);
	clari_cache_drop_version(&reader->version.meta.key, reader->version.meta.generation);
	clari_error_hint(&error, "Its file has been removed. Run the query again to download it from its job.");
	clari_error_report(ERROR, &error);
}
