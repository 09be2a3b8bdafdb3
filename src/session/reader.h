/*
 * reader.h
 *		One version of a rowset, opened in a session: in memory or as a file.
 *
 * A reader keeps its version whatever becomes of the cache: the segment lives
 * until its last mapping goes, the file until its last descriptor.  Nothing of
 * a file is used before its checksum held.
 */
#ifndef CLARI_READER_H
#define CLARI_READER_H

#include "postgres.h"

#include "cache/cache.h"
#include "rowset/rowset.h"

/* A file of at most so many bytes is kept in memory as long as its reader is there. */
#define CLARI_READER_KEEPS (1024 * 1024)

typedef struct ClariReader
{
	ClariVersion version;
	const char *base; /* the rowset's bytes, in a shared segment or kept from its file; or NULL */
	bool attached;    /* base is in a shared segment, to which this process is attached */
	int fd;           /* the file's descriptor, if it is read chunk by chunk; or -1 */
	bool counted;     /* fd counts among PostgreSQL's external descriptors, also while it is being opened */
	int ngroups;
	const ClariGroupIndex *groups;
} ClariReader;

/* Bytes of one chunk, when they have to be read: the caller's, used again and again. */
typedef struct ClariChunkBuffer
{
	char *bytes; /* in the context that was current at the first use, or NULL */
	Size size;
} ClariChunkBuffer;

/*
 * Opens the version; the reader is palloc'd in context, as the bytes of a file
 * that is read whole are, and closes itself when the context is reset or
 * deleted, also on an error.  NULL when neither segment nor file can be read,
 * with the cause in *error:
 *
 *		CLARI_ERROR_GONE		evicted meanwhile: look again
 *		CLARI_ERROR_CORRUPT		damaged: warn, drop the version, and look again
 *		CLARI_ERROR_IO			unreadable, perhaps for now only
 *		CLARI_ERROR_RESOURCES	too many open files in this process
 *
 * Raises only what running out of memory does, and dsm_attach().  A failed
 * reader stays in context, closed.
 */
extern ClariReader *clari_reader_open(const ClariVersion *version, MemoryContext context, ClariError *error);

/*
 * One chunk of one group.  Its bytes are in memory already, or are read into
 * *buffer, where they stay until the buffer is used again.  Raises the error of
 * a large file that is unreadable or damaged there, after the cache has dropped
 * the version; and ERRCODE_DATA_EXCEPTION for a chunk of
 * CLARI_ENCODING_UNEXPECTED.
 */
extern void
clari_reader_chunk(ClariReader *reader, int group, int position, ClariChunkBuffer *buffer, ClariChunk *chunk);

#endif /* CLARI_READER_H */
