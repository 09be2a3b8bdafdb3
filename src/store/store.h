/*
 * store.h
 *		Files: the directory of rowsets and of running jobs' records.
 *
 * Knows names and bytes, not columns.  A file is written whole or not at all:
 * under a temporary name, synced, renamed.  A rowset's is named by its key and
 * its generation in hex, so that removing an old version can never hit a new
 * one; a record's by its key.  Who has a file open keeps it.
 *
 * Nothing here raises, takes a PostgreSQL lock, or (but for clari_store_sweep())
 * reports.  All of it but clari_store_set_directory() waits for disks, and must not
 * be called with an LWLock held.  Any process may call any of it; the protocol
 * between processes is at the top of store.c.
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
 * Where this process's files are from now on; relative to the data directory,
 * which is every server process's cwd.  Copied; NULL or empty means the default,
 * which is also what holds before the first call.  Files that are being written
 * stay where they are.
 */
extern void clari_store_set_directory(const char *directory);
extern const char *clari_store_directory(void);

/* Removes the temporary files that nobody writes any more, and no others.  LOG, at its end, if some could not be removed. */
extern void clari_store_sweep(void);

/* ------- writing a rowset ------- */

typedef struct ClariStoreFile ClariStoreFile;

/*
 * A file to be written for the key's version: a temporary one in the directory,
 * which is made if it is not there.  Up to memory_limit bytes are also kept in
 * memory; without on_disk, there alone, and nothing here can fail but for want
 * of memory.  NULL with CLARI_ERROR_IO or CLARI_ERROR_OUT_OF_MEMORY; malloc'd,
 * the caller's until clari_store_commit() or clari_store_abandon().
 */
extern ClariStoreFile *
clari_store_create(const ClariKey *key, uint64_t generation, size_t memory_limit, bool on_disk, ClariError *error);

/*
 * Both fit ClariRowsetOutput, with the file as arg.  CLARI_ERROR_IO where the
 * disk fails; but as long as memory has all the bytes, appending goes on there,
 * and clari_store_commit() tells of the disk.  CLARI_ERROR_LIMIT, without a
 * detail, for a file without a disk: beyond its limit, or to be spilled.
 */
extern bool clari_store_append(void *file, const void *bytes, size_t length, ClariError *error);
extern int clari_store_open_spill(void *file, ClariError *error);

/* The bytes so far, or NULL if they are more than memory_limit (or none); the file's.  *length counts them in any case. */
extern const void *clari_store_bytes(const ClariStoreFile *file, size_t *length);

/*
 * Gives the file its name, durably; true at once for one without a disk.  False
 * with CLARI_ERROR_IO, and no file.  The handle is gone either way, as after
 * clari_store_abandon(): take the bytes before.
 */
extern bool clari_store_commit(ClariStoreFile *file, ClariError *error);
extern void clari_store_abandon(ClariStoreFile *file);

/* ------- reading and removing a rowset ------- */

/*
 * Opens the version's rowset for reading.  The descriptor is the caller's, not
 * fd.c's, and survives unlinking.  -1 with errno; ENOENT: evicted.
 */
extern int clari_store_open(const ClariKey *key, uint64_t generation);

/* Reads exactly length bytes at offset.  False with CLARI_ERROR_IO, or CLARI_ERROR_CORRUPT at the end of the file. */
extern bool clari_store_read(int fd, uint64_t offset, void *bytes, size_t length, ClariError *error);

/* Adds to the error's detail which file the version is in. */
extern void clari_store_name_file(const ClariKey *key, uint64_t generation, ClariError *error);

/* Removes the version's file.  False with errno if it is still there. */
extern bool clari_store_remove(const ClariKey *key, uint64_t generation);

/* ------- records of running jobs ------- */

/*
 * Writes the record in place of its key's last one.  If durable, it survives a
 * crash of the machine once this returns true; if not, only one of the server.
 * False with CLARI_ERROR_IO: the last one may still be there.
 */
extern bool clari_store_put_record(const ClariRecord *record, bool durable, ClariError *error);

/*
 * Reads the key's record.  False with CLARI_ERROR_NONE: there is none.  With
 * CLARI_ERROR_IO it cannot be read; with CLARI_ERROR_CORRUPT it was damaged,
 * and has been removed.
 */
extern bool clari_store_get_record(const ClariKey *key, ClariRecord *record, ClariError *error);

/*
 * Removes the key's record, unless it is of a job that was POSTed after the
 * time (µs from 2000-01-01 UTC).  False with errno if it is still there.  It is
 * not durable: after a crash of the machine it may be there again.
 */
extern bool clari_store_remove_record(const ClariKey *key, int64_t posted_until);

/* ------- what there is ------- */

typedef struct ClariStoreWalk ClariStoreWalk;

typedef struct ClariStoreFound
{
	bool is_record;
	ClariKey key;
	uint64_t generation;  /* of a rowset */
	uint64_t bytes;       /* of the file */
	bool good;            /* true: what it holds is below; false: error */
	ClariError error;     /* CLARI_ERROR_CORRUPT, or CLARI_ERROR_IO if it could not be read; names the file */
	ClariRowsetMeta meta; /* of a rowset: its trailer holds and is its name's; nothing else was read */
	ClariRecord record;   /* of a record */
} ClariStoreFound;

/*
 * A walk through the directory's rowsets and records, in no order; malloc'd.
 * NULL when there is no directory, or with an error code when it cannot be read.
 * Files may come and go meanwhile, and the caller may remove them.
 * clari_store_walk_next() is false after the last; it passes over files that
 * vanish and over names that the store would not give.  clari_store_walk_end()
 * takes NULL too.
 */
extern ClariStoreWalk *clari_store_walk_begin(ClariError *error);
extern bool clari_store_walk_next(ClariStoreWalk *walk, ClariStoreFound *found);
extern void clari_store_walk_end(ClariStoreWalk *walk);

#endif /* CLARI_STORE_H */
