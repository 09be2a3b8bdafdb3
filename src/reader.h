/*
 * reader.h
 *		One version of a rowset, opened in a session: in memory or as a file.
 *
 * A reader keeps its version whatever becomes of the cache: the segment lives
 * until its last mapping goes, the file until its last descriptor.
 */
#ifndef CLARI_READER_H
#define CLARI_READER_H

#include "postgres.h"

#include "cache.h"
#include "rowset.h"

typedef struct ClariReader
{
	ClariVersion version;
	const char *base; /* the rowset's bytes in a shared segment, or NULL */
	int fd;           /* of its file, or -1 */
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
 * Opens the version; the reader is palloc'd in context and closes itself when
 * the context is reset or deleted, also on an error.  NULL when neither segment
 * nor file can be read, with the cause in *error: with CLARI_ERROR_CORRUPT, or
 * when the file is gone, the caller forgets the version and looks again.
 */
extern ClariReader *clari_reader_open(const ClariVersion *version, MemoryContext context, ClariError *error);

/*
 * One chunk of one group.  Its bytes are the segment's, or are read into
 * *buffer, where they stay until the buffer is used again.  Raises the error of
 * an unreadable or corrupt file, after telling the cache to forget the version.
 */
extern void
clari_reader_chunk(ClariReader *reader, int group, int position, ClariChunkBuffer *buffer, ClariChunk *chunk);

#endif /* CLARI_READER_H */
