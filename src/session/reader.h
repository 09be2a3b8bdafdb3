/*
 * reader.h
 *		Opening a version of a rowset in a session, in memory or as a file.
 *
 * A reader can use its version whatever happens in the cache: a segment exists
 * until its last mapping is removed, a file until its last descriptor is closed.
 * Nothing in a file is used before its checksum was verified.
 */
#ifndef CLARI_READER_H
#define CLARI_READER_H

#include "postgres.h"

#include "cache/cache.h"
#include "rowset/rowset.h"

/* A file of at most this size is kept in memory as long as its reader exists. */
#define CLARI_READER_KEEPS (1024 * 1024)

typedef struct ClariReader
{
	ClariVersion version;
	const char *base; /* the rowset's bytes, in a shared segment or in memory; NULL: they are read chunk by chunk */
	bool attached;    /* base is in a shared segment, to which this process is attached */
	int fd;           /* descriptor of the file if it is read chunk by chunk; or -1 */
	bool counted;     /* fd is reserved among PostgreSQL's external descriptors, also while it is being opened */
	int ngroups;
	const ClariGroupIndex *groups;
} ClariReader;

/* Memory for the bytes of chunks that are read from a file.  It belongs to the caller, and can be reused. */
typedef struct ClariChunkBuffer
{
	char *bytes; /* palloc'd in the context that was current at the first use, or NULL */
	Size size;
} ClariChunkBuffer;

/*
 * Opens the version.  The reader, and the bytes of a file that is kept in memory,
 * are palloc'd in context; the reader is closed when the context is reset or
 * deleted, also after an error.  Returns NULL with the reason in *error if
 * neither a segment nor a file can be read:
 *
 *		CLARI_ERROR_GONE		evicted meanwhile: look the export up again
 *		CLARI_ERROR_CORRUPT		damaged: warn, drop the version, and look up again
 *		CLARI_ERROR_IO			not readable, perhaps only temporarily
 *		CLARI_ERROR_RESOURCES	too many open files in this process
 *
 * Raises only the errors of dsm_attach() and of running out of memory.  A reader
 * that could not be opened stays in context, closed.
 */
extern ClariReader *clari_reader_open(const ClariVersion *version, MemoryContext context, ClariError *error);

/*
 * Opens a chunk of a group.  Its bytes are in memory already, or are read into
 * *buffer, where they are valid until the buffer is used again.  If a large file
 * cannot be read or is damaged there, drops the version from the cache and raises
 * an error.  Raises ERRCODE_DATA_EXCEPTION for a chunk of
 * CLARI_ENCODING_UNEXPECTED.
 */
extern void
clari_reader_chunk(ClariReader *reader, int group, int position, ClariChunkBuffer *buffer, ClariChunk *chunk);

#endif /* CLARI_READER_H */
