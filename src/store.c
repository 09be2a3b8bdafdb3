/*
 * store.c
 *		The directory of rowsets: see store.h.
 *
 * Who runs what: workers write (create, append, commit, abandon) and remove;
 * sessions and workers read.  The sweep is for the one process that has just
 * made the entry table anew, before any other can see it: at that time nobody
 * writes.  Should one write all the same, its rename fails and costs an export.
 *
 * None of it takes a lock, and none may be called under one: all of it waits
 * for disks.  Only rename makes a rowset visible, so readers need no lock
 * either; a descriptor keeps the version that it was opened on.
 *
 * Raises nothing, so descriptors are plain ones rather than fd.c's (whose
 * owners are transactions and whose limits raise); knows nothing of columns,
 * and never removes a file whose name it would not have given.
 */
#include "postgres.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "storage/fd.h"

#include "store.h"

#define DEFAULT_DIRECTORY "pgsql_tmp_clari_fdw"
#define ROWSET_SUFFIX ".rowset"
#define TEMPORARY_PREFIX "pgsql_tmp_"
#define TEMPORARY_SUFFIX ".tmp"
#define KEY_DIGITS (2 * CLARI_DIGEST_SIZE)
#define GENERATION_DIGITS 16
#define HEX_DIGITS "0123456789abcdef"
#define WRITE_BUFFER (128 * 1024)
#define NAME_ATTEMPTS 100 /* leftovers of a crashed process with our id */

struct ClariStoreFile
{
	int fd;
	bool failed;               /* a write did: what is there is no prefix any more */
	char temporary[MAXPGPATH]; /* these two are kept, since the GUC may change meanwhile */
	char path[MAXPGPATH];
	char *buffer; /* WRITE_BUFFER bytes, of which the first buffered are not written yet */
	size_t buffered;
	uint64 length;
	size_t memory_limit;
	char *memory; /* all bytes so far, or NULL: none, or more than memory_limit */
	size_t memory_size;
};

/* ------- names ------- */

static const char *
directory(void)
{
	if (clari_cache_directory == NULL || clari_cache_directory[0] == '\0')
		return DEFAULT_DIRECTORY;
	return clari_cache_directory;
}

/* False with errno when the path is too long. */
static bool
key_path(const ClariKey *key, uint64 generation, char path[MAXPGPATH])
{
	char name[KEY_DIGITS + 1];

	for (int i = 0; i < CLARI_DIGEST_SIZE; i++)
	{
		name[2 * i] = HEX_DIGITS[key->bytes[i] >> 4];
		name[2 * i + 1] = HEX_DIGITS[key->bytes[i] & 15];
	}
	name[KEY_DIGITS] = '\0';
	if (snprintf(path, MAXPGPATH, "%s/%s_%016" INT64_MODIFIER "x%s", directory(), name, generation, ROWSET_SUFFIX) <
		MAXPGPATH)
		return true;
	errno = ENAMETOOLONG;
	return false;
}

/* A name that no living process uses.  False with errno when the path is too long. */
static bool
temporary_path(char path[MAXPGPATH])
{
	static uint32 counter = 0;

	if (snprintf(path, MAXPGPATH, "%s/%s%d_%u%s", directory(), TEMPORARY_PREFIX, MyProcPid, counter++,
				 TEMPORARY_SUFFIX) < MAXPGPATH)
		return true;
	errno = ENAMETOOLONG;
	return false;
}

/* Whether the name is one that key_path() or temporary_path() gives. */
static bool
is_ours(const char *name)
{
	size_t digits;

	if (strspn(name, HEX_DIGITS) == KEY_DIGITS && name[KEY_DIGITS] == '_')
	{
		name += KEY_DIGITS + 1;
		return strspn(name, HEX_DIGITS) == GENERATION_DIGITS && strcmp(name + GENERATION_DIGITS, ROWSET_SUFFIX) == 0;
	}
	if (strncmp(name, TEMPORARY_PREFIX, strlen(TEMPORARY_PREFIX)) != 0)
		return false;
	name += strlen(TEMPORARY_PREFIX);
	digits = strspn(name, "0123456789");
	if (digits == 0 || name[digits] != '_')
		return false;
	name += digits + 1;
	digits = strspn(name, "0123456789");
	return digits > 0 && strcmp(name + digits, TEMPORARY_SUFFIX) == 0;
}

static bool
io_error(ClariError *error, const char *what, const char *path)
{
	int saved = errno;

	clari_error_set(error, CLARI_ERROR_IO, "could not %s the rowset cache: %s", what, strerror(saved));
	clari_error_detail(error, "The file is \"%s\".", path);
	if (saved == ENOSPC || saved == EDQUOT)
		clari_error_hint(error, "Free space there, or let clari_fdw.cache_directory name another place.");
	errno = saved;
	return false;
}

/* ------- writing ------- */

/*
 * Opens a path in the directory that must not exist; makes the directory when
 * it is not there, as it may have been deleted under a running server.
 */
static int
open_in_directory(const char *path, int flags)
{
	int fd = BasicOpenFilePerm(path, flags | O_RDWR | O_CLOEXEC | PG_BINARY, pg_file_create_mode);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (MakePGDirectory(directory()) < 0 && errno != EEXIST)
		return -1;
	return BasicOpenFilePerm(path, flags | O_RDWR | O_CLOEXEC | PG_BINARY, pg_file_create_mode);
}

/* A new file by a temporary name, which is left in path.  -1 with errno. */
static int
create_temporary(char path[MAXPGPATH])
{
	int fd = -1;

	for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++)
	{
		if (!temporary_path(path))
			return -1;
		fd = open_in_directory(path, O_CREAT | O_EXCL);
		if (fd >= 0 || errno != EEXIST)
			break;
	}
	return fd;
}

static void
free_file(ClariStoreFile *file)
{
	free(file->buffer);
	free(file->memory);
	free(file);
}

ClariStoreFile *
clari_store_create(const ClariKey *key, uint64_t generation, size_t memory_limit, ClariError *error)
{
	ClariStoreFile *file = calloc(1, sizeof(ClariStoreFile));

	if (file != NULL)
		file->buffer = malloc(WRITE_BUFFER);
	if (file == NULL || file->buffer == NULL)
	{
		free(file);
		clari_error_out_of_memory(error);
		return NULL;
	}
	file->memory_limit = memory_limit;
	file->fd = -1;
	if (key_path(key, generation, file->path))
		file->fd = create_temporary(file->temporary);
	if (file->fd < 0)
	{
		io_error(error, "create a file in", file->temporary[0] != '\0' ? file->temporary : directory());
		free_file(file);
		return NULL;
	}
	return file;
}

bool
clari_store_is_writable(const ClariKey *key, ClariError *error)
{
	ClariStoreFile *file = clari_store_create(key, 0, 0, error);

	if (file != NULL)
		clari_store_abandon(file);
	return file != NULL;
}

/* Writes all of it, or fails for good. */
static bool
write_out(ClariStoreFile *file, const char *bytes, size_t length, ClariError *error)
{
	while (length > 0)
	{
		ssize_t written;

		errno = 0;
		written = write(file->fd, bytes, length);
		if (written > 0)
		{
			bytes += written;
			length -= written;
		}
		else if (written == 0 || errno != EINTR)
		{
			if (errno == 0)
				errno = ENOSPC; /* as PostgreSQL assumes of a write that stops short */
			file->failed = true;
			return io_error(error, "write to", file->temporary);
		}
	}
	return true;
}

static bool
flush(ClariStoreFile *file, ClariError *error)
{
	size_t length = file->buffered;

	file->buffered = 0;
	return write_out(file, file->buffer, length, error);
}

/* Keeps the bytes in memory too.  Out of memory is as good as over the limit: the file has them. */
static void
remember(ClariStoreFile *file, const void *bytes, size_t length)
{
	size_t wanted = file->length + length;
	size_t size = Max(file->memory_size, 8192);
	char *memory;

	if (file->memory_limit == 0)
		return;
	if (wanted > file->memory_limit)
		memory = NULL;
	else
	{
		while (size < wanted)
			size *= 2;
		memory = size == file->memory_size ? file->memory : realloc(file->memory, size);
	}
	if (memory == NULL)
	{
		free(file->memory);
		file->memory = NULL;
		file->memory_limit = 0; /* from here on */
		return;
	}
	file->memory = memory;
	file->memory_size = size;
	memcpy(file->memory + file->length, bytes, length);
}

bool
clari_store_append(void *arg, const void *bytes, size_t length, ClariError *error)
{
	ClariStoreFile *file = arg;

	if (file->failed)
		return clari_error_set(error, CLARI_ERROR_IO, "could not write to the rowset cache before");
	if (length == 0)
		return true;
	remember(file, bytes, length);
	file->length += length;
	if (file->buffered + length > WRITE_BUFFER && !flush(file, error))
		return false;
	if (length >= WRITE_BUFFER)
		return write_out(file, bytes, length, error);
	memcpy(file->buffer + file->buffered, bytes, length);
	file->buffered += length;
	return true;
}

int
clari_store_open_spill(void *arg, ClariError *error)
{
	char path[MAXPGPATH];
	int fd = -1;

	(void) arg;
#ifdef O_TMPFILE
	fd = open_in_directory(directory(), O_TMPFILE | O_EXCL);
	if (fd >= 0)
		return fd;
#endif
	/* not every file system has it; any other reason will come up again here */
	fd = create_temporary(path);
	if (fd < 0)
		io_error(error, "create a temporary file in", path);
	else
		(void) unlink(path); /* the sweep's, if this fails */
	return fd;
}

const void *
clari_store_bytes(const ClariStoreFile *file, size_t *length)
{
	*length = file->length;
	if (file->memory == NULL && (file->length > 0 || file->memory_limit == 0))
		return NULL;
	return file->memory != NULL ? file->memory : file->buffer;
}

/*
 * Makes the rename durable.  That this fails is nobody's concern: the rowset is
 * there to be read, and a crash that loses it costs an export.
 */
static void
sync_directory(const char *path)
{
	char parent[MAXPGPATH];
	int fd;

	strlcpy(parent, path, sizeof(parent));
	*strrchr(parent, '/') = '\0';
	fd = BasicOpenFile(parent[0] == '\0' ? "/" : parent, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void) pg_fsync(fd);
	(void) close(fd);
}

/*
 * As durable_rename(), with the cause in the error rather than in the log.  The
 * bytes must be on disk before the name points to them.
 */
bool
clari_store_commit(ClariStoreFile *file, ClariError *error)
{
	bool done = !file->failed;

	if (!done)
		clari_error_set(error, CLARI_ERROR_IO, "could not write to the rowset cache before");
	done = done && flush(file, error);
	if (done && pg_fsync(file->fd) != 0)
		done = io_error(error, "sync a file of", file->temporary);
	if (close(file->fd) != 0 && done)
		done = io_error(error, "close a file of", file->temporary);
	if (done && rename(file->temporary, file->path) != 0)
		done = io_error(error, "rename a file of", file->temporary);
	if (done)
		sync_directory(file->path);
	else
		(void) unlink(file->temporary);
	free_file(file);
	return done;
}

void
clari_store_abandon(ClariStoreFile *file)
{
	(void) close(file->fd);
	(void) unlink(file->temporary);
	free_file(file);
}

/* ------- reading and removing ------- */

int
clari_store_open(const ClariKey *key, uint64_t generation)
{
	char path[MAXPGPATH];

	if (!key_path(key, generation, path))
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
			clari_error_set(error, CLARI_ERROR_CORRUPT, "a file of the rowset cache is shorter than it says");
			clari_error_detail(error, "It is in \"%s\", and ends at byte %llu.", directory(),
							   (unsigned long long) offset);
			return false;
		}
		else if (errno != EINTR)
			return io_error(error, "read from", directory());
	}
	return true;
}

void
clari_store_remove(const ClariKey *key, uint64_t generation)
{
	char path[MAXPGPATH];

	if (key_path(key, generation, path) && unlink(path) != 0 && errno != ENOENT)
		ereport(LOG, (errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", path)));
}

void
clari_store_sweep(void)
{
	DIR *dir = opendir(directory());
	struct dirent *entry;
	int failures = 0;
	int cause = errno;

	if (dir == NULL)
	{
		if (cause != ENOENT)
			ereport(LOG, (errcode_for_file_access(), errmsg("could not open directory \"%s\": %m", directory())));
		return;
	}
	while ((entry = readdir(dir)) != NULL)
	{
		if (is_ours(entry->d_name) && unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT)
		{
			failures++;
			cause = errno;
		}
	}
	(void) closedir(dir);
	if (failures > 0)
	{
		errno = cause;
		ereport(LOG, (errcode_for_file_access(),
					  errmsg("could not remove %d files in directory \"%s\": %m", failures, directory())));
	}
}
