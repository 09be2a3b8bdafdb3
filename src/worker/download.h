/*
 * download.h
 *		A download on its way into the cache: bytes → document → rowset → file
 *		and, when it is small, a shared segment.
 *
 * Runs in the worker.  The sink is called from within libcurl: nothing here
 * raises before clari_download_finish().
 */
#ifndef CLARI_DOWNLOAD_H
#define CLARI_DOWNLOAD_H

#include "postgres.h"

#include "base/error.h"
#include "cache/worker.h"

typedef struct ClariDownload ClariDownload;

/* What a complete download comes to; the cache's, once it is published. */
typedef struct ClariProduct
{
	ClariVersion version; /* its segment, if it has one, is reserved and pinned */
	bool in_file;         /* it has a file, whose bytes are reserved */
	int64 bytes;          /* decoded */
	ClariError warning;   /* one of the two could not be had; NONE: all is well */
} ClariProduct;

/*
 * A download for the order, malloc'd; NULL with the error filled.  Without
 * on_disk the rowset is made in shared memory alone.
 */
extern ClariDownload *clari_download_open(const ClariOrder *order, bool on_disk, ClariError *error);

/*
 * Takes decoded bytes of the file; fits ClariHttpSink, with the download as arg.
 * False with CLARI_ERROR_CANCELLED when the worker is to stop.
 */
extern bool clari_download_sink(void *download, const char *bytes, size_t length, ClariError *error);

/* So far. */
extern int64 clari_download_bytes(const ClariDownload *download);
extern int64 clari_download_entries(const ClariDownload *download);

/*
 * All bytes are there: checks that the document is complete, writes the rest of
 * the rowset, names the file and makes the segment.  meta has what
 * clari_rowset_writer_finish() is given.  False with the error filled, of code
 * CLARI_ERROR_IO if it is the disk alone that failed: then another download can
 * do without.
 */
extern bool
clari_download_finish(ClariDownload *download, const ClariRowsetMeta *meta, ClariProduct *product, ClariError *error);

extern void clari_download_close(ClariDownload *download);

#endif /* CLARI_DOWNLOAD_H */
