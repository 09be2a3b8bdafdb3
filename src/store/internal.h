/*
 * internal.h
 *		Names, temporary files and errors, for the files of room store only.
 *
 * As in the whole room, nothing here raises an error.  Arguments "path" point
 * to MAXPGPATH bytes.
 */
#ifndef CLARI_STORE_INTERNAL_H
#define CLARI_STORE_INTERNAL_H

#include "postgres.h"

#include <dirent.h>

#include "store/store.h"

/* ------- names ------- */

/* Make the path of a rowset or record.  Both return false with errno if it is too long. */
extern bool clari_store_rowset_path(const ClariKey *key, uint64 generation, char *path);
extern bool clari_store_record_path(const ClariKey *key, char *path);

/* Parses the name of a file in the directory.  Returns false unless it is such as the two functions above make. */
extern bool clari_store_parse_name(const char *name, bool *is_record, ClariKey *key, uint64 *generation);

/* ------- temporary files ------- */

/* Creates a file of a temporary name, which is stored in path, and locks it against sweeps.  Returns -1 with errno. */
extern int clari_store_create_temporary(char *path);

/* Creates a file without a name.  Returns -1 with errno; path contains the name that was tried. */
extern int clari_store_create_nameless(char *path);

/* Writes all bytes.  Returns false with CLARI_ERROR_IO.  path is only for the message. */
extern bool clari_store_write(int fd, const char *path, const void *bytes, size_t length, ClariError *error);

/*
 * Renames the temporary file to path, after syncing its bytes if durable.
 * Returns false with CLARI_ERROR_IO, after removing the file.  Closes the
 * descriptor in any case.
 */
extern bool clari_store_install(int fd, const char *temporary, const char *path, bool durable, ClariError *error);

/* Makes the names in the path's directory durable.  Returns false with errno. */
extern bool clari_store_sync_directory(const char *path);

/* Closes and removes a temporary file. */
extern void clari_store_discard(int fd, const char *temporary);

/* ------- removing, and errors ------- */

/* Removes a file.  Returns false with errno if it still exists. */
extern bool clari_store_unlink(const char *path);

/* Sets the error "could not … the rowset cache" from errno, which is preserved.  Returns false. */
extern bool clari_store_io_error(ClariError *error, const char *what, const char *path);

/* Adds the path to the error's detail. */
extern void clari_store_add_path(ClariError *error, const char *path);

#endif /* CLARI_STORE_INTERNAL_H */
