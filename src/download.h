/*
 * download.h
 *		A download on its way into the cache: bytes → document → rowset → file
 *		and, when it is small, a shared segment.
 *
 * Runs in the worker.  The sink is called from within libcurl: nothing here
 * raises before clari_download_publish().
 */
#ifndef CLARI_DOWNLOAD_H
#define CLARI_DOWNLOAD_H

#include "postgres.h"

#include "cache.h"
#include "error.h"

typedef struct ClariDownload ClariDownload;

/* A download for the order, malloc'd; NULL with the error filled. */
extern ClariDownload *clari_download_open(const ClariOrder *order, ClariError *error);

/* Takes decoded bytes of the file; fits ClariHttpSink, with the download as arg. */
extern bool clari_download_sink(void *download, const char *bytes, size_t length, ClariError *error);

/* So far. */
extern int64 clari_download_bytes(const ClariDownload *download);
extern int64 clari_download_entries(const ClariDownload *download);

/*
 * All bytes are there: checks that the document is complete, writes the rest of
 * the rowset.  meta has key, generation, forecast, requested, times, job id and
 * whether it is truncated; the rest is found.  False with the error filled.
 */
extern bool clari_download_finish(ClariDownload *download, const ClariRowsetMeta *meta, ClariError *error);

/*
 * Names the file and makes the segment.  If the file cannot be named, a rowset
 * with a segment is served from memory alone, with a line in the server's log;
 * another is an error: false with CLARI_ERROR_IO.
 */
extern bool clari_download_publish(ClariDownload *download, ClariVersion *version, ClariError *error);

extern void clari_download_close(ClariDownload *download);

#endif /* CLARI_DOWNLOAD_H */
