/*
 * import.h
 *		IMPORT FOREIGN SCHEMA: the remote schema is a forecast's id, or clari_account.
 */
#ifndef CLARI_IMPORT_H
#define CLARI_IMPORT_H

#include "postgres.h"

#include "foreign/fdwapi.h"

/* FdwRoutine's ImportForeignSchema.  Returns CREATE FOREIGN TABLE statements, palloc'd. */
extern List *clariImportForeignSchema(ImportForeignSchemaStmt *stmt, Oid serverOid);

#endif /* CLARI_IMPORT_H */
