/*
 * columns.c
 *		What the columns of a foreign table mean: see columns.h.
 *
 * Runs in sessions, during planning and when a scan begins.
 */
#include "postgres.h"

#include "options/columns.h"

#include "options/internal.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/lsyscache.h"

/* Returns the columns that a table of this object can have, as in "owner_name, owner_email, …", for a hint. */
static char *
column_names(ClariObject object)
{
	const ClariListInfo *list = &clari_lists[clari_object_list(object)];
	StringInfoData names;
	ClariColumn column;

	initStringInfo(&names);
	for (int i = 0; clari_object_column(object, i, &column); i++)
		appendStringInfo(&names, "%s%s", i > 0 ? ", " : "", column.name);
	if (object == CLARI_OBJECT_FORECASTS)
		for (int i = 0; i < list->nattributes; i++)
			if (clari_object_find_column(object, list->attributes[i].name, &column) &&
				column.source == CLARI_FROM_ATTRIBUTE && column.attribute > CLARI_ENTRY_OWNER_EMAIL)
				appendStringInfo(&names, ", %s", list->attributes[i].name);
	return names.data;
}

static void
find_column(Oid relid, ClariObject object, Form_pg_attribute attribute, ClariColumn *column)
{
	char *key = clari_options_column_key(relid, attribute->attnum);
	const char *name = NameStr(attribute->attname);

	if (key != NULL)
	{
		if (clari_object_find_key(object, key, column) || clari_object_find_column(object, key, column))
			return;
		ereport(ERROR,
				(errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
				 errmsg("option \"key\" of column \"%s\" matches no attribute of Clari's %s", name,
						clari_object_names[object]),
				 errdetail("Its value is \"%s\".", key), errhint("Available columns: %s.", column_names(object))));
	}
	if (!clari_object_find_column(object, name, column))
		ereport(ERROR, (errcode(ERRCODE_FDW_COLUMN_NAME_NOT_FOUND),
						errmsg("object \"%s\" has no column \"%s\"", clari_object_names[object], name),
						errhint("Available columns: %s. Column option \"key\" maps a column of another name to one of "
								"them.",
								column_names(object))));
}

bool
clari_columns_by_quarter(const ClariOptions *options)
{
	return options->object != CLARI_OBJECT_FORECASTS || options->period_type == CLARI_QUARTERS;
}

bool
clari_columns_is_period(const ClariOptions *options, const ClariColumn *column)
{
	if (!clari_columns_by_quarter(options))
		return column->source == CLARI_FROM_ATTRIBUTE && column->attribute == CLARI_ENTRY_TIME_PERIOD_ID;
	return column->source == CLARI_FROM_TIME_PERIOD;
}

ClariColumn *
clari_columns_map(const ClariOptions *options, TupleDesc tupdesc)
{
	ClariColumn *columns = palloc0(sizeof(ClariColumn) * Max(tupdesc->natts, 1));

	for (int i = 0; i < tupdesc->natts; i++)
	{
		ClariColumn *column = &columns[i];

		if (TupleDescAttr(tupdesc, i)->attisdropped)
			continue;
		find_column(options->relid, options->object, TupleDescAttr(tupdesc, i), column);
		if (column->source == CLARI_FROM_TIME_PERIOD && !clari_columns_by_quarter(options))
			*column = (ClariColumn){column->name, CLARI_FROM_ATTRIBUTE, CLARI_ENTRY_TIME_PERIOD_ID, column->type};
	}
	return columns;
}

Oid
clari_columns_type(ClariType type)
{
	switch (type)
	{
		case CLARI_TEXT:
			return TEXTOID;
		case CLARI_NUMERIC:
			return NUMERICOID;
		case CLARI_BOOL:
			return BOOLOID;
		case CLARI_DATE:
			return DATEOID;
		case CLARI_TIMESTAMP:
			return TIMESTAMPTZOID;
		case CLARI_INTEGER:
			return INT8OID;
		case CLARI_BITS:
			break;
	}
	elog(ERROR, "unrecognized stored type: %d", (int) type);
}

bool
clari_columns_same_type(ClariType type, Form_pg_attribute attribute)
{
	/* A type modifier may require that values are rounded, truncated or refused, which only the input function does. */
	if (attribute->atttypmod != -1)
		return false;
	return attribute->atttypid == clari_columns_type(type) || (type == CLARI_TEXT && attribute->atttypid == VARCHAROID);
}

bool
clari_columns_is_bytewise(Oid collation)
{
	return OidIsValid(collation) && get_collation_isdeterministic(collation);
}
