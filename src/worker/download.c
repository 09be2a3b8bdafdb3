/*
 * download.c
 *		Writes a file of Clari's into the cache as a rowset while the file
 *		is being received: see internal.h.
 *
 * Runs in the worker.  It takes no lock itself; the functions of the cache
 * that it calls do.
 */
#include "postgres.h"

#include "worker/internal.h"

#include "clari/digest.h"
#include "json/json.h"
#include "rowset/rowset.h"
#include "store/store.h"

#include "compat.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

/* The size of the sort's buffer in bytes, which is about what an export costs in memory. */
#define SORT_MEMORY (8 * 1024 * 1024)

/* Disk space is reserved in steps of this many bytes, so that the cache's lock is taken seldom. */
#define DISK_STEP (128 * 1024)

struct ClariDownload
{
	ClariDocument *document;
	ClariRowsetWriter *writer;
	ClariStoreFile *file;
	bool on_disk;
	bool is_csv;                   /* the request asks for CSV */
	uint64 length;                 /* bytes appended to the file */
	uint64 reserved;               /* bytes reserved on disk */
	int index;                     /* the flight's index in the cache */
	MemoryContext numeric_context; /* reset for each number that is encoded */
};

/* ------- numbers ------- */

/* Calls numeric_in() without raising its error, which must not longjmp through libcurl and json-c. */
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

/* ------- opening and closing ------- */

/*
 * Fails once the worker is to shut down.  Called for each piece of the file
 * that is received, and for each piece of the rowset that is written, so that
 * a shutdown need not wait until a large rowset is finished.
 */
static bool
keep_on(ClariError *error)
{
	return !ShutdownRequestPending ||
		   clari_error_set(error, CLARI_ERROR_CANCELED, "the background worker was told to stop");
}

static bool
reserve_disk(ClariDownload *download, size_t length, ClariError *error)
{
	uint64 missing;

	if (!download->on_disk || download->length + length <= download->reserved)
		return true;
	missing = download->length + length - download->reserved;
	missing = Max(missing, Min(DISK_STEP, download->reserved)); /* a small rowset reserves no more than it needs */
	if (!clari_cache_reserve_disk(download->index, missing, error))
		return false;
	download->reserved += missing;
	return true;
}

/* ClariRowsetOutput.append */
static bool
append_bytes(void *arg, const void *bytes, size_t length, ClariError *error)
{
	ClariDownload *download = arg;

	if (!keep_on(error) || !reserve_disk(download, length, error))
		return false;
	download->length += length;
	return clari_store_append(download->file, bytes, length, error);
}

/* ClariRowsetOutput.open_spill */
static int
open_spill(void *arg, ClariError *error)
{
	return clari_store_open_spill(((ClariDownload *) arg)->file, error);
}

/*
 * Opens the file, the writer and the document.  If the disk cannot be used,
 * the rowset may take the whole shared cache, and the sort buffer is so large
 * that the sort never spills.
 */
static bool
open_parts(ClariDownload *download, const ClariOrder *order, ClariError *error)
{
	ClariRowsetOutput output = {download, append_bytes, open_spill};
	Size shared = (Size) clari_shared_cache_size * 1024;
	Size memory_limit = download->on_disk ? shared / CLARI_SEGMENT_SHARE : shared;
	Size sort_memory = download->on_disk ? SORT_MEMORY : Max(SORT_MEMORY, 2 * shared);
	ClariCalendar calendar;

	download->file = clari_store_create(&order->key, order->generation, memory_limit, download->on_disk, error);
	if (download->file == NULL)
		return false;
	download->writer = clari_rowset_writer_open(&output, encode_numeric, download, order->request.period, sort_memory);
	if (download->writer == NULL)
		return clari_error_out_of_memory(error);
	clari_cache_calendar(&order->account, &calendar);
	clari_rowset_writer_set_calendar(download->writer, &calendar);
	download->document = clari_document_open(order->request.endpoint, clari_rowset_writer_add, download->writer);
	return download->document != NULL || clari_error_out_of_memory(error);
}

ClariDownload *
clari_download_open(const ClariOrder *order, bool on_disk, ClariError *error)
{
	ClariDownload *download = calloc(1, sizeof(ClariDownload));

	if (download == NULL)
	{
		clari_error_out_of_memory(error);
		return NULL;
	}
	download->numeric_context = AllocSetContextCreate(TopMemoryContext, "clari_fdw numeric", ALLOCSET_SMALL_SIZES);
	download->on_disk = on_disk;
	download->index = order->index;
	download->is_csv = order->request.format == CLARI_FORMAT_CSV;
	if (!open_parts(download, order, error))
	{
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
	if (download->reserved > 0)
		clari_cache_release_disk(download->index, download->reserved);
	MemoryContextDelete(download->numeric_context);
	free(download);
}

/* ------- bytes ------- */

bool
clari_download_sink(void *download, const char *bytes, size_t length, ClariError *error)
{
	return keep_on(error) && clari_document_push(((ClariDownload *) download)->document, bytes, length, error);
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

/* ------- finishing ------- */

/*
 * Gives the file its final name.  From then on the space that it takes, to the
 * byte, belongs to the cache, and the rest of what was reserved is released.
 */
static bool
keep_on_disk(ClariDownload *download, ClariError *error)
{
	ClariStoreFile *file = download->file;

	download->file = NULL; /* clari_store_commit() frees it in any case */
	if (!clari_store_commit(file, error))
		return false;
	if (!download->on_disk)
		return true;
	clari_cache_release_disk(download->index, download->reserved - download->length);
	download->reserved = 0;
	return true;
}

/* Keeps the rowset on disk and, if it is small, in memory.  It suffices if one of the two succeeds. */
static bool
keep(ClariDownload *download, ClariProduct *product, ClariError *error)
{
	ClariVersion *version = &product->version;
	size_t length;
	const void *bytes = clari_store_bytes(download->file, &length);

	version->bytes = length;
	version->segment = bytes != NULL ? clari_cache_make_segment(bytes, length, &product->warning) : DSM_HANDLE_INVALID;
	if (version->segment == DSM_HANDLE_INVALID && !download->on_disk)
	{
		*error = product->warning;
		if (error->code == CLARI_ERROR_NONE)
			clari_error_set(error, CLARI_ERROR_LIMIT,
							"the export is larger than the shared cache, and cannot be kept on disk");
		return false;
	}
	if (keep_on_disk(download, error))
	{
		product->in_file = download->on_disk;
		return true;
	}
	product->warning = *error;
	return version->segment != DSM_HANDLE_INVALID;
}

bool
clari_download_finish(ClariDownload *download, const ClariHttpResult *result, const ClariRowsetMeta *meta,
					  ClariProduct *product, ClariError *error)
{
	memset(product, 0, sizeof(*product));
	product->version.meta = *meta;
	product->bytes = clari_download_bytes(download);
	if (result->may_be_cut || result->was_packed)
		clari_document_may_be_cut(download->document, !result->may_be_cut);
	if (!clari_document_finish(download->document, error) ||
		!clari_rowset_writer_finish(download->writer, &product->version.meta, error))
		return false;
	/* Months have no numbers in CSV, so such a file shows nothing about the numbering in JSON's ids. */
	if (download->is_csv)
		clari_numbering_init(&product->version.meta.numbering);
	return keep(download, product, error);
}
