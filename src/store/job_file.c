/*
 * job_file.c
 *		The store's records of jobs, and the walk through all of its files:
 *		see store.h.
 *
 * Workers write and remove records.  The process that loads the cache at its
 * first use after a start, a session or a worker, walks through the files.
 * The only lock is that on a temporary file; store.c explains how processes
 * are kept apart.
 */
#include "store/internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage/fd.h"

struct ClariStoreWalk
{
	DIR *dir;
	char directory[MAXPGPATH]; /* a copy, since the setting may change during the walk */
};

/* ------- records ------- */

bool
clari_store_put_record(const ClariRecord *record, bool durable, ClariError *error)
{
	char bytes[CLARI_RECORD_MAX_SIZE];
	char path[MAXPGPATH];
	char temporary[MAXPGPATH];
	size_t length = clari_record_encode(record, bytes);
	int fd;

	if (!clari_store_record_path(&record->key, path))
		return clari_store_io_error(error, "create a file in", clari_store_directory());
	fd = clari_store_create_temporary(temporary);
	if (fd < 0)
		return clari_store_io_error(error, "create a file in", temporary);
	if (!clari_store_write(fd, temporary, bytes, length, error))
	{
		clari_store_discard(fd, temporary);
		return false;
	}
	if (!clari_store_install(fd, temporary, path, durable, error))
		return false;
	return !durable || clari_store_sync_directory(path) || clari_store_io_error(error, "sync the directory of", path);
}

/*
 * Reads the record of the key from a file of the given size in bytes.  Returns
 * false with CLARI_ERROR_CORRUPT or CLARI_ERROR_IO.
 */
static bool
read_record(int fd, uint64 size, const ClariKey *key, ClariRecord *record, ClariError *error)
{
	char bytes[CLARI_RECORD_MAX_SIZE];
	const char *damage = NULL;

	if (size > sizeof(bytes))
		damage = "It is too long.";
	else if (!clari_store_read(fd, 0, bytes, (size_t) size, error) ||
			 !clari_record_decode(bytes, (size_t) size, record, error))
		return false;
	else if (memcmp(&record->key, key, sizeof(*key)) != 0)
		damage = "The file's name is that of another export.";
	if (damage == NULL)
		return true;
	clari_error_set(error, CLARI_ERROR_CORRUPT, "the record of an export is damaged");
	clari_error_detail(error, "%s", damage);
	return false;
}

bool
clari_store_get_record(const ClariKey *key, ClariRecord *record, ClariError *error)
{
	char path[MAXPGPATH];
	struct stat status;
	bool good = false;
	int fd;

	error->code = CLARI_ERROR_NONE;
	if (!clari_store_record_path(key, path))
		return false;
	fd = BasicOpenFile(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | PG_BINARY);
	if (fd < 0 && errno == ENOENT)
		return false;
	if (fd < 0)
		clari_store_io_error(error, "open a file of", path);
	else if (fstat(fd, &status) != 0)
		clari_store_io_error(error, "read from", path);
	else
	{
		good = read_record(fd, (uint64) status.st_size, key, record, error);
		if (!good)
			clari_store_add_path(error, path);
	}
	if (fd >= 0)
		(void) close(fd);
	if (!good && error->code == CLARI_ERROR_CORRUPT)
		(void) clari_store_unlink(path);
	return good;
}

bool
clari_store_remove_record(const ClariKey *key, int64 posted_until)
{
	char path[MAXPGPATH];
	ClariRecord record;
	ClariError error;

	if (!clari_store_record_path(key, path))
		return true;
	if (posted_until < PG_INT64_MAX && clari_store_get_record(key, &record, &error) && record.posted_at > posted_until)
		return true;
	return clari_store_unlink(path);
}

/* ------- the walk ------- */

ClariStoreWalk *
clari_store_walk_begin(ClariError *error)
{
	ClariStoreWalk *walk = malloc(sizeof(ClariStoreWalk));

	if (walk == NULL)
	{
		clari_error_out_of_memory(error);
		return NULL;
	}
	error->code = CLARI_ERROR_NONE;
	strlcpy(walk->directory, clari_store_directory(), sizeof(walk->directory));
	walk->dir = opendir(walk->directory);
	if (walk->dir != NULL)
		return walk;
	if (errno != ENOENT)
		clari_store_io_error(error, "read the directory of", walk->directory);
	free(walk);
	return NULL;
}

/* Reads only the rowset's trailer.  The rest is checked when the rowset is read. */
static bool
read_rowset(int fd, ClariStoreFound *found)
{
	ClariRowsetTrailer trailer;

	if (found->bytes < sizeof(trailer))
	{
		clari_error_set(&found->error, CLARI_ERROR_CORRUPT, "cached rows are damaged");
		clari_error_detail(&found->error, "The file is too short for a trailer.");
		return false;
	}
	if (!clari_store_read(fd, found->bytes - sizeof(trailer), &trailer, sizeof(trailer), &found->error) ||
		!clari_rowset_check_trailer(&trailer, found->bytes, &found->error))
		return false;
	if (memcmp(&trailer.meta.key, &found->key, sizeof(found->key)) != 0 || trailer.meta.generation != found->generation)
	{
		clari_error_set(&found->error, CLARI_ERROR_CORRUPT, "cached rows are damaged");
		clari_error_detail(&found->error, "The file's name is that of other rows.");
		return false;
	}
	found->meta = trailer.meta;
	return true;
}

/* Reads the file of that name.  Returns false if it does not exist any more. */
static bool
read_found(const char *path, ClariStoreFound *found)
{
	struct stat status;
	int fd = BasicOpenFile(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | PG_BINARY);

	if (fd < 0)
	{
		clari_store_io_error(&found->error, "open a file of", path);
		return errno != ENOENT;
	}
	if (fstat(fd, &status) != 0)
		clari_store_io_error(&found->error, "read from", path);
	else
	{
		found->bytes = (uint64) status.st_size;
		found->good = found->is_record ? read_record(fd, found->bytes, &found->key, &found->record, &found->error)
									   : read_rowset(fd, found);
		if (!found->good)
			clari_store_add_path(&found->error, path);
	}
	(void) close(fd);
	return true;
}

bool
clari_store_walk_next(ClariStoreWalk *walk, ClariStoreFound *found)
{
	char path[MAXPGPATH];
	struct dirent *entry;

	while ((entry = readdir(walk->dir)) != NULL)
	{
		memset(found, 0, sizeof(*found));
		if (clari_store_parse_name(entry->d_name, &found->is_record, &found->key, &found->generation) &&
			snprintf(path, MAXPGPATH, "%s/%s", walk->directory, entry->d_name) < MAXPGPATH && read_found(path, found))
			return true;
	}
	return false;
}

void
clari_store_walk_end(ClariStoreWalk *walk)
{
	if (walk == NULL)
		return;
	(void) closedir(walk->dir);
	free(walk);
}
