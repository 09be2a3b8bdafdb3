/*
 * internal.h
 *		Names, temporary files and errors: for the store's own files only.
 *
 * As in all of the store, nothing raises; path arguments have MAXPGPATH bytes.
 */
#ifndef CLARI_STORE_INTERNAL_H
#define CLARI_STORE_INTERNAL_H

#include "postgres.h"

#include <dirent.h>

#include "store/store.h"

/* ------- names ------- */

/* Both are false, with errno, when the path is too long. */
extern bool clari_store_rowset_path(const ClariKey *key, uint64 generation, char *path);
extern bool clari_store_record_path(const ClariKey *key, char *path);

/* What a name in the directory is of; false for one that the two above do not give. */
extern bool clari_store_parse_name(const char *name, bool *is_record, ClariKey *key, uint64 *generation);

/* ------- temporary files ------- */

/* A new file, locked against sweeps, by a temporary name that is left in path.  -1 with errno. */
extern int clari_store_create_temporary(char *path);

/* A new file, as above, but without a name. -1 with errno; the name that was tried is left in path. */
extern int clari_store_create_nameless(char *path);

/* Writes all of it.  False with CLARI_ERROR_IO; path is for the message. */
extern bool clari_store_write(int fd, const char *path, const void *bytes, size_t length, ClariError *error);

/*
 * Gives the temporary file its name, after its bytes are on disk if durable.
 * False with CLARI_ERROR_IO, and the file removed.  The descriptor is gone.
 */
extern bool clari_store_install(int fd, const char *temporary, const char *path, bool durable, ClariError *error);

/* Makes the names beside path durable.  False with errno. */
extern bool clari_store_sync_directory(const char *path);

/* Closes and removes a temporary file that is not needed. */
extern void clari_store_discard(int fd, const char *temporary);

/* ------- the rest ------- */

/* Removes a file.  False with errno if it is still there. */
extern bool clari_store_unlink(const char *path);

/* "could not … the rowset cache", by errno, which is left as it was.  Returns false. */
extern bool clari_store_io_error(ClariError *error, const char *what, const char *path);

/* Adds the path to the error's detail. */
extern void clari_store_add_path(ClariError *error, const char *path);

#endif /* CLARI_STORE_INTERNAL_H */
