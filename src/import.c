/*
 * import.c
 *		IMPORT FOREIGN SCHEMA: see import.h.
 *
 * Runs in sessions.  Makes statements and nothing else: asks neither the
 * network nor the cache, since what tables there are, and their columns, is the
 * same for every forecast.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

#include "attribute.h"
#include "import.h"
#include "options.h"

static const char *
sql_type(ClariType type)
{
	switch (type)
	{
		case CLARI_TEXT:
			return "text";
		case CLARI_NUMERIC:
			return "numeric";
		case CLARI_BOOL:
			return "boolean";
		case CLARI_DATE:
			return "date";
		case CLARI_TIMESTAMP:
			return "timestamp with time zone";
	}
	elog(ERROR, "unrecognized clari_fdw type: %d", (int) type);
}

static void
append_option(StringInfo sql, const char *name, const char *value)
{
	appendStringInfo(sql, ", %s %s", quote_identifier(name), quote_literal_cstr(value));
}

/*
 * Types are named without their schema, as people would: the statement is
 * parsed under the importing user's search_path and is his to run.
 */
static char *
create_statement(const char *table, ClariObject object, const ImportForeignSchemaStmt *stmt)
{
	StringInfoData sql;
	ClariColumn column;
	ListCell *cell;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE FOREIGN TABLE %s (", quote_identifier(table));
	for (int i = 0; clari_object_column(object, i, &column); i++)
		appendStringInfo(&sql, "%s\n\t%s %s", i > 0 ? "," : "", quote_identifier(column.name), sql_type(column.type));
	appendStringInfo(&sql, "\n) SERVER %s OPTIONS (object %s", quote_identifier(stmt->server_name),
					 quote_literal_cstr(clari_object_names[object]));
	append_option(&sql, "forecast", stmt->remote_schema);
	foreach (cell, stmt->options)
	{
		DefElem *given = lfirst_node(DefElem, cell);

		if (strcmp(given->defname, "table_prefix") != 0)
			append_option(&sql, given->defname, defGetString(given));
	}
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

List *
clariImportForeignSchema(ImportForeignSchemaStmt *stmt, Oid serverOid)
{
	const char *prefix = "";
	List *statements = NIL;
	ListCell *cell;

	clari_options_check_import(serverOid, stmt->options);
	foreach (cell, stmt->options)
	{
		DefElem *given = lfirst_node(DefElem, cell);

		if (strcmp(given->defname, "table_prefix") == 0)
			prefix = defGetString(given);
	}
	for (int object = 0; object < CLARI_OBJECT_COUNT; object++)
	{
		char *table = psprintf("%s%s", prefix, clari_object_names[object]);

		if (IsImportableForeignTable(table, stmt))
			statements = lappend(statements, create_statement(table, object, stmt));
	}
	return statements;
}
