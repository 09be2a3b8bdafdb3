/*
 * store.c
 *		The directory of the store, its names and its temporary files: see store.h.
 *
 * Many processes share the directory: sessions and workers of all databases,
 * different binary versions of this library, even several servers.  They do not
 * communicate.  The following rules keep them apart:
 *
 * - A rowset or a record becomes visible only by rename(), after it was written
 *   and synced completely.  Readers therefore need no lock, and a descriptor
 *   keeps the file that it was opened on.  What is read is used only if its
 *   name, version and checksum are right.
 * - Rowsets are removed by the cache, which knows which it needs
 *   (clari_store_remove()).  Records are removed by the cache, by the worker that
 *   makes the export (clari_store_remove_record()), and here if they are damaged.
 * - Temporary files are removed by the process that wrote them and, after a crash,
 *   by clari_store_sweep(), which any process may call at any time.  They are
 *   kept apart by flock() on the temporary file.  The writer takes the lock when
 *   it has created the file, and holds it until the file has its final name.  The
 *   lock belongs to the descriptor, so a crash releases it at once.  A sweep
 *   removes only files whose lock it can take, and holds the lock meanwhile.
 * - A sweep may come between the creation of a file and its locking.  The writer
 *   then fails to get the lock, or gets it on a file to which the name does not
 *   lead any more, and tries another name.  A sweep also checks that the name
 *   still leads to the file it has locked, because the writer may have renamed
 *   the file in between.  While the lock is held, this cannot change any more.
 * - If the file system has no locks, a sweep removes files that have not been
 *   written to for a day.  If one of them was in use after all, the writer's
 *   rename fails, which costs an export.
 *
 * This file takes no PostgreSQL lock, and none may be held when it is called,
 * since all functions wait for the disk.  It raises no errors.  Nothing is
 * reported but files that a sweep could not remove, because a report can raise.
 * Plain descriptors are used instead of fd.c's, which belong to transactions and
 * raise when a limit is reached.  A file with a name that the store would not
 * give is never removed.
 */
#include "store/internal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/file_perm.h"
#include "miscadmin.h"
#include "port.h"
#include "storage/fd.h"

#define DEFAULT_DIRECTORY "pgsql_tmp_clari_fdw" /* base backups skip such a name */
#define ROWSET_SUFFIX ".rowset"
#define RECORD_SUFFIX ".job"
#define TEMPORARY_PREFIX "pgsql_tmp_"
#define TEMPORARY_SUFFIX ".tmp"
#define KEY_DIGITS (2 * CLARI_DIGEST_SIZE)
#define GENERATION_DIGITS 16
#define HEX_DIGITS "0123456789abcdef"
#define NAME_ATTEMPTS                                                                                                  \
	100 /* names to try: a process that had our id may have left files, and a sweep may remove ours before we lock it */
#define UNLOCKED_AGE                                                                                                   \
	(24 * 60 * 60) /* seconds: without locks, a file not written to for this long counts as left over */

static char current_directory[MAXPGPATH] = DEFAULT_DIRECTORY;

/* ------- the directory ------- */

void
clari_store_set_directory(const char *directory)
{
	if (directory == NULL || directory[0] == '\0')
		directory = DEFAULT_DIRECTORY;
	/* If the path is truncated, there is no room for file names, so it is never used. */
	strlcpy(current_directory, directory, sizeof(current_directory));
	canonicalize_path(current_directory);
}

const char *
clari_store_directory(void)
{
	return current_directory;
}

bool
clari_store_sync_directory(const char *path)
{
	char parent[MAXPGPATH];
	char *slash;
	int fd;
	int result;
	int saved;

	strlcpy(parent, path, sizeof(parent));
	slash = strrchr(parent, '/');
	if (slash == NULL)
		strlcpy(parent, ".", sizeof(parent));
	else
		slash[slash == parent ? 1 : 0] = '\0';
	fd = BasicOpenFile(parent, O_RDONLY | O_CLOEXEC | PG_BINARY);
	if (fd < 0)
		return false;
	result = pg_fsync(fd);
	saved = errno;
	(void) close(fd);
	errno = saved;
	/* Some systems cannot sync directories, and need not.  fsync_fname() takes these errors for success, too. */
	return result == 0 || saved == EBADF || saved == EINVAL;
}

/*
 * Opens the directory, or creates a file in it that must not exist yet.  If
 * the directory is missing, which may have been deleted under a running
 * server, creates it first.
 */
static int
open_in_directory(const char *path, int flags)
{
	int fd = BasicOpenFilePerm(path, flags | O_RDWR | O_CLOEXEC | PG_BINARY, pg_file_create_mode);

	if (fd >= 0 || errno != ENOENT)
		return fd;
	if (MakePGDirectory(current_directory) == 0)
		(void) clari_store_sync_directory(
			current_directory); /* if this fails, a crash can lose the directory, which is then created again */
	else if (errno != EEXIST)
		return -1;
	return BasicOpenFilePerm(path, flags | O_RDWR | O_CLOEXEC | PG_BINARY, pg_file_create_mode);
}

/* ------- names ------- */

static bool
fits(int length)
{
	if (length < MAXPGPATH)
		return true;
	errno = ENAMETOOLONG;
	return false;
}

static void
key_digits(const ClariKey *key, char digits[KEY_DIGITS + 1])
{
	for (int i = 0; i < CLARI_DIGEST_SIZE; i++)
	{
		digits[2 * i] = HEX_DIGITS[key->bytes[i] >> 4];
		digits[2 * i + 1] = HEX_DIGITS[key->bytes[i] & 15];
	}
	digits[KEY_DIGITS] = '\0';
}

bool
clari_store_rowset_path(const ClariKey *key, uint64 generation, char *path)
{
	char digits[KEY_DIGITS + 1];

	key_digits(key, digits);
	return fits(snprintf(path, MAXPGPATH, "%s/%s_%016llx%s", current_directory, digits, (unsigned long long) generation,
						 ROWSET_SUFFIX));
}

bool
clari_store_record_path(const ClariKey *key, char *path)
{
	char digits[KEY_DIGITS + 1];

	key_digits(key, digits);
	return fits(snprintf(path, MAXPGPATH, "%s/%s%s", current_directory, digits, RECORD_SUFFIX));
}

/* Makes a name that has not been used yet.  Returns false with errno if the path is too long. */
static bool
temporary_path(char *path)
{
	static uint32 counter = 0;

	return fits(snprintf(path, MAXPGPATH, "%s/%s%d_%u%s", current_directory, TEMPORARY_PREFIX, MyProcPid, counter++,
						 TEMPORARY_SUFFIX));
}

static int
hex_value(char digit)
{
	return digit <= '9' ? digit - '0' : digit - 'a' + 10;
}

bool
clari_store_parse_name(const char *name, bool *is_record, ClariKey *key, uint64 *generation)
{
	if (strspn(name, HEX_DIGITS) != KEY_DIGITS)
		return false;
	for (int i = 0; i < CLARI_DIGEST_SIZE; i++)
		key->bytes[i] = (uint8) (hex_value(name[2 * i]) << 4 | hex_value(name[2 * i + 1]));
	name += KEY_DIGITS;
	*generation = 0;
	*is_record = strcmp(name, RECORD_SUFFIX) == 0;
	if (*is_record)
		return true;
	if (*name++ != '_' || strspn(name, HEX_DIGITS) != GENERATION_DIGITS)
		return false;
	for (int i = 0; i < GENERATION_DIGITS; i++)
		*generation = *generation << 4 | (uint64) hex_value(*name++);
	return strcmp(name, ROWSET_SUFFIX) == 0;
}

/* Is the name such as temporary_path() makes? */
static bool
is_temporary(const char *name)
{
	size_t digits;

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

/* ------- errors ------- */

bool
clari_store_io_error(ClariError *error, const char *what, const char *path)
{
	int saved = errno;

	clari_error_set(error, CLARI_ERROR_IO, "could not %s the rowset cache: %s", what, strerror(saved));
	clari_error_detail(error, "The file is \"%s\".", path);
	if (saved == ENOSPC || saved == EDQUOT)
		clari_error_hint(error, "Free some space there, or set clari_fdw.cache_directory to another directory.");
	else if (saved == EACCES || saved == EPERM || saved == EROFS)
		clari_error_hint(error, "Allow the server's user to read and write there, or set clari_fdw.cache_directory to "
								"another directory.");
	errno = saved;
	return false;
}

void
clari_store_add_path(ClariError *error, const char *path)
{
	clari_error_add_detail(error, "The file is \"%s\".", path);
}

/* ------- temporary files ------- */

/* Locks the file without waiting.  Returns false with errno; EWOULDBLOCK means that another process has locked it. */
static bool
lock_file(int fd)
{
	int result;

	do
		result = flock(fd, LOCK_EX | LOCK_NB);
	while (result != 0 && errno == EINTR);
	return result == 0;
}

/*
 * Does the path lead to the open file?  The link count would not tell, since
 * NFS renames an open file instead of unlinking it.
 */
static bool
leads_to(const char *path, int fd)
{
	struct stat named;
	struct stat opened;

	return fstat(fd, &opened) == 0 && lstat(path, &named) == 0 && opened.st_dev == named.st_dev &&
		   opened.st_ino == named.st_ino;
}

int
clari_store_create_temporary(char *path)
{
	for (int attempt = 0; attempt < NAME_ATTEMPTS; attempt++)
	{
		int fd = -1;

		if (!temporary_path(path))
			return -1;
		fd = open_in_directory(path, O_CREAT | O_EXCL);
		if (fd < 0 && errno != EEXIST)
			return -1;
		if (fd < 0)
			continue;
		if (lock_file(fd) ? leads_to(path, fd) : errno != EWOULDBLOCK)
			return fd;
		(void) close(fd); /* a sweep has removed the file */
		errno = EAGAIN;
	}
	return -1;
}

int
clari_store_create_nameless(char *path)
{
	int fd;

#ifdef O_TMPFILE
	strlcpy(path, current_directory, MAXPGPATH);
	fd = open_in_directory(path, O_TMPFILE | O_EXCL);
	if (fd >= 0)
		return fd;
#endif
	/* Not every file system supports O_TMPFILE.  Any other failure occurs here again. */
	fd = clari_store_create_temporary(path);
	if (fd >= 0)
		(void) unlink(path); /* if this fails, a sweep removes the file */
	return fd;
}

bool
clari_store_write(int fd, const char *path, const void *bytes, size_t length, ClariError *error)
{
	const char *from = bytes;

	while (length > 0)
	{
		ssize_t written;

		errno = 0;
		written = write(fd, from, length);
		if (written > 0)
		{
			from += written;
			length -= written;
		}
		else if (written == 0 || errno != EINTR)
		{
			if (errno == 0)
				errno = ENOSPC; /* PostgreSQL, too, takes a short write for a full disk */
			return clari_store_io_error(error, "write to", path);
		}
	}
	return true;
}

/* Like durable_rename(), but returns the cause in the error, and leaves syncing the directory to the caller. */
bool
clari_store_install(int fd, const char *temporary, const char *path, bool durable, ClariError *error)
{
	bool done = true;

	if (durable && pg_fsync(fd) != 0)
		done = clari_store_io_error(error, "sync a file of", temporary);
	if (done && rename(temporary, path) != 0)
		done = clari_store_io_error(error, "rename a file of", temporary);
	if (!done)
		(void) unlink(temporary);
	(void) close(fd); /* must not be closed earlier: without its lock, a sweep may remove the file */
	return done;
}

void
clari_store_discard(int fd, const char *temporary)
{
	(void) unlink(temporary);
	(void) close(fd);
}

/* ------- removing ------- */

bool
clari_store_unlink(const char *path)
{
	return unlink(path) == 0 || errno == ENOENT;
}

/* Is the open file left over by a process that has died?  If it is, we hold its lock now if there are locks. */
static bool
is_leftover(int fd)
{
	struct stat status;

	if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
		return false;
	if (lock_file(fd))
		return true;
	return errno != EWOULDBLOCK && time(NULL) - status.st_mtime > UNLOCKED_AGE;
}

/* Removes the file if it is a leftover.  Returns false with errno if that fails. */
static bool
sweep_file(const char *path)
{
	/*
	 * Opened for writing, because NFS requires that for an exclusive lock.
	 * O_NONBLOCK prevents waiting whatever kind of file it is.
	 */
	int fd = BasicOpenFile(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | PG_BINARY);
	bool done = true;
	int saved;

	if (fd < 0)
		return errno == ENOENT || errno == ELOOP; /* a symbolic link is not a temporary file */
	if (is_leftover(fd) && leads_to(path, fd))
		done = unlink(path) == 0 || errno == ENOENT;
	saved = errno;
	(void) close(fd);
	errno = saved;
	return done;
}

void
clari_store_sweep(void)
{
	DIR *dir = opendir(current_directory);
	char path[MAXPGPATH];
	struct dirent *entry;
	int failures = 0;
	int cause = 0;

	if (dir == NULL)
		return; /* the walk that follows reports why the directory cannot be read */
	while ((entry = readdir(dir)) != NULL)
	{
		if (!is_temporary(entry->d_name))
			continue;
		if (!fits(snprintf(path, MAXPGPATH, "%s/%s", current_directory, entry->d_name)) || !sweep_file(path))
		{
			failures++;
			cause = errno;
		}
	}
	(void) closedir(dir);
	if (failures > 0)
	{
		errno = cause;
		ereport(LOG, (errcode_for_file_access(), errmsg_plural("could not remove %d file in directory \"%s\": %m",
															   "could not remove %d files in directory \"%s\": %m",
															   failures, failures, current_directory)));
	}
}
