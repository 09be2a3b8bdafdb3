/*
 * version.h
 *		The library's version against that of the extension's SQL objects.
 *
 * A package brings both, but they do not change together: objects wait for ALTER
 * EXTENSION UPDATE in each database, and a session (or, preloaded, the server)
 * keeps the library that it has loaded.  So a newer library serves older objects
 * as they are: a C function keeps its parameters and its columns, and what needs
 * others gets another name, beside it.  What does not fit is an error that says
 * which of the two is older, never a wrong read of memory.
 */
#ifndef CLARI_VERSION_H
#define CLARI_VERSION_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "fmgr.h"

/*
 * Raises ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE unless the SQL function was
 * made with so many parameters.
 */
extern void clari_version_check_call(FunctionCallInfo fcinfo, int parameters);

/*
 * The same, unless the row has the types, one letter for each column: t text, b
 * bigint, i integer, z timestamptz.
 */
extern void clari_version_check_row(FunctionCallInfo fcinfo, TupleDesc row, const char *types);

#endif /* CLARI_VERSION_H */
