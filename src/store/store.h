/*
 * store.h
 *		The directory of rowsets and of the records of jobs.
 *
 * This room knows names and bytes, not columns.  A file is written completely
 * or not at all: under a temporary name, synced, and renamed.  A rowset's name
 * consists of its key and its generation in hex, so that removing an old
 * version cannot remove a newer one.  A record's name is its key.  A file can
 * be read as long as it is open, even if it was removed.
 *
 * No function raises an error, takes a PostgreSQL lock, or (except
 * clari_store_sweep()) reports anything.  All but clari_store_set_directory()
 * wait for the disk, and must not be called while an LWLock is held.  Any
 * process may call any of them.  The comment at the top of store.c describes
 * how processes are kept apart.
 */
#ifndef CLARI_STORE_H
#define CLARI_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/request.h"
#include "job/record.h"
#include "rowset/rowset.h"

/* ------- the directory ------- */

/*
 * Sets the directory that this process uses from now on.  The path is copied;
 * a relative one is relative to the data directory, the working directory of
 * all server processes.  NULL or empty means the default, which is also used
 * before the first call.  Files that are being written stay where they are.
 */
extern void clari_store_set_directory(const char *directory);
extern const char *clari_store_directory(void);

/*
 * Removes temporary files whose writer does not exist any more, and no others.
 * Finally reports at level LOG if some could not be removed.
 */
extern void clari_store_sweep(void);

/* ------- writing a rowset ------- */

typedef struct ClariStoreFile ClariStoreFile;

/*
 * Begins to write the rowset of the key's version, as a temporary file.
 * Creates the directory if it is missing.  Up to memory_limit bytes are also
 * kept in memory.  Without on_disk they are kept only there, and only a lack of
 * memory can make this call fail.  Returns NULL with CLARI_ERROR_IO or
 * CLARI_ERROR_OUT_OF_MEMORY.  The result is malloc'd and must be passed to
 * clari_store_commit() or clari_store_abandon().
 */
extern ClariStoreFile *
clari_store_create(const ClariKey *key, uint64_t generation, size_t memory_limit, bool on_disk, ClariError *error);

/*
 * The two callbacks of ClariRowsetOutput, whose arg is the file.  They fail
 * with CLARI_ERROR_IO if the disk fails.  As long as all bytes are in memory
 * too, clari_store_append() succeeds nevertheless, and clari_store_commit()
 * returns the error.  Without a disk they fail with CLARI_ERROR_LIMIT, without
 * a detail, for bytes beyond memory_limit and for a spill file.
 */
extern bool clari_store_append(void *file, const void *bytes, size_t length, ClariError *error);
extern int clari_store_open_spill(void *file, ClariError *error);

/*
 * Returns the bytes so far, which belong to the file, or NULL if there are
 * none or more than memory_limit.  Sets *length to their number in any case.
 */
extern const void *clari_store_bytes(const ClariStoreFile *file, size_t *length);

/*
 * Gives the file its final name, durably.  Without a disk there is nothing to
 * do, and the result is true.  Returns false with CLARI_ERROR_IO, after
 * removing the file.  In any case frees the handle and the bytes in memory,
 * like clari_store_abandon(), so copy these before.
 */
extern bool clari_store_commit(ClariStoreFile *file, ClariError *error);
extern void clari_store_abandon(ClariStoreFile *file);

/* ------- reading and removing a rowset ------- */

/*
 * Opens the rowset of the version for reading.  The descriptor belongs to the
 * caller, not to fd.c, and remains valid if the file is removed.  Returns -1
 * with errno; ENOENT means that the rowset was evicted.
 */
extern int clari_store_open(const ClariKey *key, uint64_t generation);

/*
 * Reads exactly length bytes at offset.  Returns false with CLARI_ERROR_IO, or
 * with CLARI_ERROR_CORRUPT if the file ends before.
 */
extern bool clari_store_read(int fd, uint64_t offset, void *bytes, size_t length, ClariError *error);

/* Adds the path of the version's file to the error's detail. */
extern void clari_store_name_file(const ClariKey *key, uint64_t generation, ClariError *error);

/* Removes the version's file.  Returns false with errno if it still exists. */
extern bool clari_store_remove(const ClariKey *key, uint64_t generation);

/* ------- records of jobs ------- */

/*
 * Writes the record, in place of an earlier one of its key.  If durable, it
 * survives a crash of the machine once this has returned; otherwise only a
 * crash of the server.  Returns false with CLARI_ERROR_IO; the earlier record
 * may then still exist.
 */
extern bool clari_store_put_record(const ClariRecord *record, bool durable, ClariError *error);

/*
 * Reads the key's record.  Returns false with CLARI_ERROR_NONE if there is
 * none, CLARI_ERROR_IO if it cannot be read, or CLARI_ERROR_CORRUPT if it was
 * damaged; a damaged record is removed.
 */
extern bool clari_store_get_record(const ClariKey *key, ClariRecord *record, ClariError *error);

/*
 * Removes the key's record unless its job was POSTed after posted_until (µs
 * from 2000-01-01 UTC).  Returns false with errno if it still exists.  The
 * removal is not durable: after a crash of the machine the record may exist
 * again.
 */
extern bool clari_store_remove_record(const ClariKey *key, int64_t posted_until);

/* ------- walking through all files ------- */

typedef struct ClariStoreWalk ClariStoreWalk;

typedef struct ClariStoreFound
{
	bool is_record;
	ClariKey key;
	uint64_t generation;  /* of a rowset */
	uint64_t bytes;       /* of the file */
	bool good;            /* true: the contents are in meta or record; false: error says why not */
	ClariError error;     /* CLARI_ERROR_CORRUPT, or CLARI_ERROR_IO if it could not be read; names the file */
	ClariRowsetMeta meta; /* of a rowset: its trailer, which is valid and agrees with the name; the rest was not read */
	ClariRecord record;   /* of a record */
} ClariStoreFound;

/*
 * Walks through the rowsets and records in the directory, in no particular
 * order.  Files may appear and disappear meanwhile, and the caller may remove
 * them.  clari_store_walk_begin() returns a malloc'd walk, or NULL if there is
 * no directory, or with an error code if it cannot be read.
 * clari_store_walk_next() returns false after the last file.  It skips files
 * that have disappeared, and names that the store would not give.
 * clari_store_walk_end() accepts NULL.
 */
extern ClariStoreWalk *clari_store_walk_begin(ClariError *error);
extern bool clari_store_walk_next(ClariStoreWalk *walk, ClariStoreFound *found);
extern void clari_store_walk_end(ClariStoreWalk *walk);

#endif /* CLARI_STORE_H */
