/*
 * download.c
 *		A download on its way into the cache: see download.h.
 *
 * Runs in the worker.  Takes no lock but within the cache's calls.
 */
#include "postgres.h"

#include "download.h"

#include "digest.h"
#include "json.h"
#include "report.h"
#include "rowset.h"
#include "store.h"

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

/* The sort's buffer: what an export costs in memory, about. */
#define SORT_MEMORY (8 * 1024 * 1024)

/* Rowsets up to this share of the shared cache get a segment, so that one does not turn out all others. */
#define SEGMENT_SHARE 8

struct ClariDownload
{
	ClariDocument *document;
	ClariRowsetWriter *writer;
	ClariStoreFile *file;
	ClariRowsetMeta meta;          /* once finished */
	MemoryContext numeric_context; /* of one encoded number */
};

/* ------- numbers ------- */

/* numeric_in() without its error: it must not longjmp through libcurl and json-c. */
static bool
call_numeric_in(const char *text, Datum *datum)
{
	volatile bool done = false;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		*datum =
			DirectFunctionCall3(numeric_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
		done = true;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return done;
}

/* ClariNumericEncoder */
static bool
encode_numeric(void *arg, const char *text, size_t length, const void **datum, size_t *size, ClariError *error)
{
	ClariDownload *download = arg;
	MemoryContext previous;
	char *copy;
	Datum number;
	bool done;

	MemoryContextReset(download->numeric_context);
	previous = MemoryContextSwitchTo(download->numeric_context);
	copy = palloc_extended(length + 1, MCXT_ALLOC_NO_OOM);
	if (copy != NULL)
	{
		memcpy(copy, text, length);
		copy[length] = '\0';
	}
	done = copy != NULL && call_numeric_in(copy, &number);
	MemoryContextSwitchTo(previous);
	if (!done)
	{
		clari_error_set(error, CLARI_ERROR_DATA, "the export file holds a number that numeric cannot keep");
		clari_error_detail(error, "It is \"%.*s\".", (int) Min(length, 100), text);
		return false;
	}
	*datum = DatumGetPointer(number);
	*size = VARSIZE_ANY(DatumGetPointer(number));
	return true;
}

/* ------- life ------- */

/* ClariRowsetOutput.append: also where a shutdown is noticed while a large rowset is being finished. */
static bool
append_bytes(void *arg, const void *bytes, size_t length, ClariError *error)
{
	if (ShutdownRequestPending)
		return clari_error_set(error, CLARI_ERROR_CANCELLED, "the background worker was told to stop");
	return clari_store_append(arg, bytes, length, error);
}

ClariDownload *
clari_download_open(const ClariOrder *order, ClariError *error)
{
	ClariDownload *download = calloc(1, sizeof(ClariDownload));
	ClariRowsetOutput output = {NULL, append_bytes, clari_store_open_spill};
	Size memory_limit = (Size) clari_shared_cache_size * 1024 / SEGMENT_SHARE;

	if (download == NULL)
	{
		clari_error_out_of_memory(error);
		return NULL;
	}
	download->numeric_context = AllocSetContextCreate(TopMemoryContext, "clari_fdw numeric", ALLOCSET_SMALL_SIZES);
	download->file = clari_store_create(&order->key, order->generation, memory_limit, error);
	if (download->file == NULL)
	{
		clari_download_close(download);
		return NULL;
	}
	output.arg = download->file;
	download->writer = clari_rowset_writer_open(&output, encode_numeric, download, order->request.period, SORT_MEMORY);
	if (download->writer != NULL)
		download->document = clari_document_open(clari_rowset_writer_add, download->writer);
	if (download->document == NULL)
	{
		clari_error_out_of_memory(error);
		clari_download_close(download);
		return NULL;
	}
	return download;
}

void
clari_download_close(ClariDownload *download)
{
	if (download == NULL)
		return;
	if (download->document != NULL)
		clari_document_close(download->document);
	if (download->writer != NULL)
		clari_rowset_writer_close(download->writer);
	if (download->file != NULL)
		clari_store_abandon(download->file);
	MemoryContextDelete(download->numeric_context);
	free(download);
}

/* ------- bytes ------- */

bool
clari_download_sink(void *download, const char *bytes, size_t length, ClariError *error)
{
	return clari_document_push(((ClariDownload *) download)->document, bytes, length, error);
}

int64
clari_download_bytes(const ClariDownload *download)
{
	return (int64) clari_document_bytes(download->document);
}

int64
clari_download_entries(const ClariDownload *download)
{
	return (int64) clari_document_entries(download->document);
}

bool
clari_download_finish(ClariDownload *download, const ClariRowsetMeta *meta, ClariError *error)
{
	download->meta = *meta;
	return clari_document_finish(download->document, error) &&
		   clari_rowset_writer_finish(download->writer, &download->meta, error);
}

/* ------- publishing ------- */

/* A pinned segment with the bytes, or DSM_HANDLE_INVALID: /dev/shm is full, and the memory tier does without. */
static dsm_handle
make_segment(const void *bytes, size_t length)
{
	volatile dsm_handle handle = DSM_HANDLE_INVALID;
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		dsm_segment *segment = dsm_create(length, DSM_CREATE_NULL_IF_MAXSEGMENTS);

		if (segment != NULL)
		{
			memcpy(dsm_segment_address(segment), bytes, length);
			dsm_pin_segment(segment);
			handle = dsm_segment_handle(segment);
			dsm_detach(segment);
		}
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return handle;
}

bool
clari_download_publish(ClariDownload *download, ClariVersion *version, ClariError *error)
{
	size_t length;
	const void *bytes = clari_store_bytes(download->file, &length);
	ClariStoreFile *file = download->file;

	memset(version, 0, sizeof(*version));
	version->meta = download->meta;
	version->bytes = length;
	version->segment = DSM_HANDLE_INVALID;
	if (bytes != NULL && clari_cache_reserve(length))
	{
		version->segment = make_segment(bytes, length);
		if (version->segment == DSM_HANDLE_INVALID)
			clari_cache_unreserve(length);
	}
	download->file = NULL; /* commit takes it */
	if (clari_store_commit(file, error))
		return true;
	if (version->segment == DSM_HANDLE_INVALID)
		return false;
	clari_error_hint(error, "The rows are served from memory, and exported again when they are dropped from there.");
	clari_error_report(LOG, error);
	return true;
}
