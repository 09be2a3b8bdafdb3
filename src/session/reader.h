/*
 * reader.h
 *		Reading one version of a rowset in a session, from memory or from a file.
 *
 * A reader keeps its version, whatever happens in the cache: the segment exists
 * until its last reader detaches, and the file until its last descriptor is closed.
 * No part of a file is used before its checksum was verified.
 */
#ifndef CLARI_READER_H
#define CLARI_READER_H

#include "postgres.h"

#include "cache/cache.h"
#include "rowset/rowset.h"

/* The bytes of a file of at most this size are kept in memory as long as its reader exists. */
#define CLARI_READER_KEEPS (1024 * 1024)

typedef struct ClariReader
{
	ClariVersion version;
	const char *base; /* the rowset's bytes in a segment or, read from the file, in memory; NULL: read from fd */
	bool attached;    /* base is in a segment, to which this process is attached */
	int fd;           /* the file's descriptor, if it is read chunk by chunk; or -1 */
	bool counted;     /* fd was counted by AcquireExternalFD(), which is done before it is opened */
	int ngroups;
	const ClariGroupIndex *groups;
} ClariReader;

/* A buffer of the caller for chunks that must be read from a file.  It is used again for the next chunk. */
typedef struct ClariChunkBuffer
{
	char *bytes; /* palloc'd in the context that was current at the first use; NULL: not used yet */
	Size size;
} ClariChunkBuffer;

/*
 * Opens the version.  The reader, and the bytes of a file that is read whole, are
 * palloc'd in context.  The reader closes itself when the context is reset or
 * deleted, also after an error.  Returns NULL if neither segment nor file can be
 * read, with the cause in *error:
 *
 *		CLARI_ERROR_GONE		evicted meanwhile: look it up again
 *		CLARI_ERROR_CORRUPT		damaged: warn, drop the version, and look it up again
 *		CLARI_ERROR_IO			unreadable, perhaps only temporarily
 *		CLARI_ERROR_RESOURCES	too many open files in this process
 *
 * Raises no errors but those of dsm_attach(), and for lack of memory.  A reader
 * that could not be opened remains in context, closed.
 */
extern ClariReader *clari_reader_open(const ClariVersion *version, MemoryContext context, ClariError *error);

/*
 * Gets one chunk of one group.  If its bytes are not in memory, they are read into
 * *buffer, and are valid until the buffer is used again.  If a chunk is unreadable
 * or damaged, drops the version from the cache and raises an error.  Raises
 * ERRCODE_DATA_EXCEPTION for a chunk of CLARI_ENCODING_UNEXPECTED.
 */
extern void
clari_reader_chunk(ClariReader *reader, int group, int position, ClariChunkBuffer *buffer, ClariChunk *chunk);

#endif /* CLARI_READER_H */
