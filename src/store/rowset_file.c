/*
 * rowset_file.c
 *		Writes, reads and removes rowsets: see store.h.
 *
 * Workers write; sessions and workers read and remove.  The only lock is that
 * on a temporary file; store.c explains how processes are kept apart.
 */
#include "store/internal.h"

#include <fcntl.h>
#include <unistd.h>

#include "storage/fd.h"

#define WRITE_BUFFER (128 * 1024)

struct ClariStoreFile
{
	int fd;                    /* -1: the disk is not used */
	char temporary[MAXPGPATH]; /* a copy, since the setting may change meanwhile */
	char path[MAXPGPATH];      /* the final name; a copy for the same reason */
	char *buffer;              /* WRITE_BUFFER bytes, of which the first "buffered" bytes are still to be written */
	size_t buffered;
	ClariError error; /* why the file cannot be completed */
	uint64 length;
	size_t memory_limit; /* 0 once it was exceeded */
	char *memory;        /* all bytes so far; NULL if there are none, or more than memory_limit */
	size_t memory_size;
};

/* ------- writing ------- */

static void
free_file(ClariStoreFile *file)
{
	free(file->buffer);
	free(file->memory);
	free(file);
}

static bool
create_on_disk(ClariStoreFile *file, const ClariKey *key, uint64 generation, ClariError *error)
{
	file->buffer = malloc(WRITE_BUFFER);
	if (file->buffer == NULL)
		return clari_error_out_of_memory(error);
	if (clari_store_rowset_path(key, generation, file->path))
		file->fd = clari_store_create_temporary(file->temporary);
	if (file->fd >= 0)
		return true;
	return clari_store_io_error(error, "create a file in",
								file->temporary[0] != '\0' ? file->temporary : clari_store_directory());
}

ClariStoreFile *
clari_store_create(const ClariKey *key, uint64_t generation, size_t memory_limit, bool on_disk, ClariError *error)
{
	ClariStoreFile *file = calloc(1, sizeof(ClariStoreFile));

	if (file == NULL)
	{
		clari_error_out_of_memory(error);
		return NULL;
	}
	file->memory_limit = memory_limit;
	file->fd = -1;
	if (on_disk && !create_on_disk(file, key, generation, error))
	{
		free_file(file);
		return NULL;
	}
	return file;
}

static bool
no_disk(ClariError *error)
{
	clari_error_set(error, CLARI_ERROR_LIMIT, "the export is larger than the shared cache, and cannot be kept on disk");
	clari_error_hint(error, "Raise clari_fdw.shared_cache_size, or make sure that files can be written in "
							"clari_fdw.cache_directory.");
	return false;
}

/* Frees the bytes in memory, which are from now on only on disk. */
static void
forget(ClariStoreFile *file)
{
	free(file->memory);
	file->memory = NULL;
	file->memory_limit = 0;
}

/*
 * Keeps the bytes in memory as well, up to memory_limit.  If memory runs out,
 * the bytes on disk suffice, unless there is no disk.
 */
static void
remember(ClariStoreFile *file, const void *bytes, size_t length)
{
	size_t wanted = file->length + length;
	size_t size = Max(file->memory_size, 8192);
	char *memory;

	if (wanted > file->memory_limit)
	{
		forget(file);
		if (file->fd < 0)
			no_disk(&file->error);
		return;
	}
	while (size < wanted)
		size *= 2;
	memory = size == file->memory_size ? file->memory : realloc(file->memory, size);
	if (memory == NULL)
	{
		forget(file);
		if (file->fd < 0)
			clari_error_out_of_memory(&file->error);
		return;
	}
	file->memory = memory;
	file->memory_size = size;
	memcpy(file->memory + file->length, bytes, length);
}

/* Writes the buffer to the file.  A failure is final, because the bytes of the buffer are lost. */
static bool
flush(ClariStoreFile *file)
{
	size_t length = file->buffered;

	file->buffered = 0;
	return clari_store_write(file->fd, file->temporary, file->buffer, length, &file->error);
}

static void
put(ClariStoreFile *file, const void *bytes, size_t length)
{
	if (file->buffered + length > WRITE_BUFFER && !flush(file))
		return;
	if (length >= WRITE_BUFFER)
	{
		(void) clari_store_write(file->fd, file->temporary, bytes, length, &file->error);
		return;
	}
	memcpy(file->buffer + file->buffered, bytes, length);
	file->buffered += length;
}

bool
clari_store_append(void *arg, const void *bytes, size_t length, ClariError *error)
{
	ClariStoreFile *file = arg;

	if (length == 0)
		return true;
	remember(file, bytes, length);
	file->length += length;
	if (file->fd >= 0 && file->error.code == CLARI_ERROR_NONE)
		put(file, bytes, length);
	if (file->error.code == CLARI_ERROR_NONE || file->memory != NULL)
		return true;
	*error = file->error;
	return false;
}

int
clari_store_open_spill(void *arg, ClariError *error)
{
	const ClariStoreFile *file = arg;
	char path[MAXPGPATH];
	int fd;

	if (file->fd < 0)
	{
		no_disk(error);
		return -1;
	}
	fd = clari_store_create_nameless(path);
	if (fd < 0)
		clari_store_io_error(error, "create a temporary file in", path);
	return fd;
}

const void *
clari_store_bytes(const ClariStoreFile *file, size_t *length)
{
	*length = file->length;
	return file->memory;
}

bool
clari_store_commit(ClariStoreFile *file, ClariError *error)
{
	bool done;

	if (file->fd >= 0 && file->error.code == CLARI_ERROR_NONE)
		(void) flush(file);
	done = file->error.code == CLARI_ERROR_NONE;
	if (!done)
	{
		*error = file->error;
		clari_store_abandon(file);
		return false;
	}
	if (file->fd >= 0)
		done = clari_store_install(file->fd, file->temporary, file->path, true, error);
	/* The rename need not be durable: if a crash undoes it, that costs only an export.  So a failure is ignored. */
	if (file->fd >= 0 && done)
		(void) clari_store_sync_directory(file->path);
	free_file(file);
	return done;
}

void
clari_store_abandon(ClariStoreFile *file)
{
	if (file->fd >= 0)
		clari_store_discard(file->fd, file->temporary);
	free_file(file);
}

/* ------- reading and removing ------- */

int
clari_store_open(const ClariKey *key, uint64_t generation)
{
	char path[MAXPGPATH];

	if (!clari_store_rowset_path(key, generation, path))
		return -1;
	return BasicOpenFile(path, O_RDONLY | O_CLOEXEC | PG_BINARY);
}

bool
clari_store_read(int fd, uint64_t offset, void *bytes, size_t length, ClariError *error)
{
	char *target = bytes;

	while (length > 0)
	{
		ssize_t got = pread(fd, target, length, (off_t) offset);

		if (got > 0)
		{
			target += got;
			offset += got;
			length -= got;
		}
		else if (got == 0)
		{
			clari_error_set(error, CLARI_ERROR_CORRUPT, "a file of the rowset cache is shorter than it should be");
			clari_error_detail(error, "It has no data at byte %llu.", (unsigned long long) offset);
			return false;
		}
		else if (errno != EINTR)
			return clari_error_set(error, CLARI_ERROR_IO, "could not read from the rowset cache: %s", strerror(errno));
	}
	return true;
}

void
clari_store_name_file(const ClariKey *key, uint64_t generation, ClariError *error)
{
	char path[MAXPGPATH];

	if (clari_store_rowset_path(key, generation, path))
		clari_store_add_path(error, path);
}

bool
clari_store_remove(const ClariKey *key, uint64_t generation)
{
	char path[MAXPGPATH];

	return !clari_store_rowset_path(key, generation, path) || clari_store_unlink(path);
}
