/*
 * store.h
 *		Files: the directory of rowsets, written whole or not at all.
 *
 * Knows names and bytes, not columns.  Functions of the writing side run in the
 * worker and raise nothing; clari_store_open() runs in sessions and workers.
 * A rowset's file is named by its key and its generation in hex, so that
 * removing an old version can never hit a new one; who has it open keeps it.
 */
#ifndef CLARI_STORE_H
#define CLARI_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "request.h"
#include "rowset.h"

typedef struct ClariStoreFile ClariStoreFile;

/*
 * GUC clari_fdw.cache_directory, defined by _PG_init; a relative path is
 * relative to the data directory, which is every server process's cwd.
 */
extern char *clari_cache_directory;

/*
 * A file to be written for the key's version: a temporary one in the directory, which is
 * made if it is not there (clari_fdw.cache_directory, relative to the data
 * directory).  Up to memory_limit bytes are also kept in memory.  NULL with
 * CLARI_ERROR_IO or CLARI_ERROR_OUT_OF_MEMORY; the caller's until
 * clari_store_commit() or clari_store_abandon().
 */
extern ClariStoreFile *
clari_store_create(const ClariKey *key, uint64_t generation, size_t memory_limit, ClariError *error);

/* Can files be made in the directory at all?  False with CLARI_ERROR_IO. */
extern bool clari_store_is_writable(const ClariKey *key, ClariError *error);

/* These two fit ClariRowsetOutput, with the file as arg. */
extern bool clari_store_append(void *file, const void *bytes, size_t length, ClariError *error);
extern int clari_store_open_spill(void *file, ClariError *error);

/* The bytes so far, if they are not more than memory_limit, else NULL; the file's.  *length counts them in any case. */
extern const void *clari_store_bytes(const ClariStoreFile *file, size_t *length);

/* Gives the file its name, durably.  False with CLARI_ERROR_IO.  The file handle is gone either way. */
extern bool clari_store_commit(ClariStoreFile *file, ClariError *error);
extern void clari_store_abandon(ClariStoreFile *file);

/*
 * Opens the version's rowset for reading.  The descriptor is the caller's and
 * survives unlinking.  -1 with errno when there is none.
 */
extern int clari_store_open(const ClariKey *key, uint64_t generation);

/* Reads exactly length bytes at offset.  False with CLARI_ERROR_IO, or CLARI_ERROR_CORRUPT at the end of the file. */
extern bool clari_store_read(int fd, uint64_t offset, void *bytes, size_t length, ClariError *error);

/* Removes the version's file; no error if there is none. */
extern void clari_store_remove(const ClariKey *key, uint64_t generation);

/* Removes everything in the directory that is ours: for a cache that starts with no entries. */
extern void clari_store_sweep(void);

#endif /* CLARI_STORE_H */
