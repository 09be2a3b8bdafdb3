/*
 * import.c
 *		IMPORT FOREIGN SCHEMA: see import.h.
 *
 * Runs in sessions.  It only makes statements, and uses neither the network nor
 * the cache, because the tables and their columns are the same for every forecast
 * and every account.
 */
#include "postgres.h"

#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "nodes/parsenodes.h"
#include "utils/builtins.h"

#include "call/import.h"
#include "clari/attribute.h"
#include "options/options.h"

static const char *
sql_type(ClariType type)
{
	switch (type)
	{
		case CLARI_TEXT:
			return "pg_catalog.text";
		case CLARI_NUMERIC:
			return "pg_catalog.numeric";
		case CLARI_BOOL:
			return "pg_catalog.bool";
		case CLARI_DATE:
			return "pg_catalog.date";
		case CLARI_TIMESTAMP:
			return "pg_catalog.timestamptz";
		case CLARI_INTEGER:
			return "pg_catalog.int8";
		case CLARI_BITS:
			break;
	}
	elog(ERROR, "unrecognized clari_fdw type: %d", (int) type);
}

/*
 * Do the options request a row per week?  Then the table needs the columns of the
 * week, which tell an owner's rows apart.
 */
static bool
is_historical(const ImportForeignSchemaStmt *stmt)
{
	bool result = false;
	ListCell *cell;

	foreach (cell, stmt->options)
		if (strcmp(lfirst_node(DefElem, cell)->defname, "include_historical") == 0)
			(void) parse_bool(defGetString(lfirst_node(DefElem, cell)), &result);
	return result;
}

static void
append_option(StringInfo sql, const char *name, const char *value)
{
	appendStringInfo(sql, ", %s %s", quote_identifier(name), quote_literal_cstr(value));
}

/*
 * Makes the statement that creates a table.  Types are qualified, because the
 * statement is parsed under the importing user's search_path, which may contain
 * other types with these names.
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
	if (object == CLARI_OBJECT_FORECASTS && is_historical(stmt))
		appendStringInfoString(&sql, ",\n\tweek_start pg_catalog.date,\n\tweek_end pg_catalog.date");
	appendStringInfo(&sql, "\n) SERVER %s OPTIONS (object %s", quote_identifier(stmt->server_name),
					 quote_literal_cstr(clari_object_names[object]));
	if (!clari_object_is_of_account(object))
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

/* Warns that nothing was imported.  The usual reason is a table name that is misspelled, or lacks its prefix. */
static void
warn_of_nothing(bool of_account, const char *prefix, const ImportForeignSchemaStmt *stmt)
{
	StringInfoData names;

	initStringInfo(&names);
	for (int object = 0; object < CLARI_OBJECT_COUNT; object++)
		if (clari_object_is_of_account(object) == of_account)
			appendStringInfo(&names, "%s%s%s", names.len > 0 ? ", " : "", prefix, clari_object_names[object]);
	ereport(WARNING,
			(errcode(ERRCODE_WARNING), errmsg("no table of remote schema \"%s\" was imported", stmt->remote_schema),
			 errdetail("Available tables: %s.", names.data)));
}

List *
clariImportForeignSchema(ImportForeignSchemaStmt *stmt, Oid serverOid)
{
	bool of_account = strcmp(stmt->remote_schema, CLARI_ACCOUNT_SCHEMA) == 0;
	const char *prefix = "";
	List *statements = NIL;
	ListCell *cell;

	clari_options_check_import(serverOid, of_account, stmt->options);
	foreach (cell, stmt->options)
	{
		DefElem *given = lfirst_node(DefElem, cell);

		if (strcmp(given->defname, "table_prefix") == 0)
			prefix = defGetString(given);
	}
	for (int object = 0; object < CLARI_OBJECT_COUNT; object++)
	{
		char *table = psprintf("%s%s", prefix, clari_object_names[object]);

		if (clari_object_is_of_account(object) == of_account && IsImportableForeignTable(table, stmt))
			statements = lappend(statements, create_statement(table, object, stmt));
	}
	if (statements == NIL)
		warn_of_nothing(of_account, prefix, stmt);
	return statements;
}
