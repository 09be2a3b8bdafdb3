/*
 * version.c
 *		Comparing the library's version with that of the extension's SQL objects:
 *		see internal.h.
 *
 * Runs in sessions.  It reads the catalog only before raising an error, or when
 * the version is requested.
 */
#include "postgres.h"

#include "call/internal.h"

#include "compat.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/indexing.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

CLARI_FUNCTION(clari_check_library);
CLARI_FUNCTION(clari_version);

/* The version of the extension's objects in this database; "unknown" where it is not installed. */
static char *
objects_version(void)
{
	Relation catalog = table_open(ExtensionRelationId, AccessShareLock);
	char *version = "unknown";
	Datum values[Natts_pg_extension];
	bool nulls[Natts_pg_extension];
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum("clari_fdw"));
	scan = systable_beginscan(catalog, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		/* Not heap_getattr(): since 15.20 it is an inline function that calls a function older servers do not have. */
		heap_deform_tuple(tuple, RelationGetDescr(catalog), values, nulls);
		version = TextDatumGetCString(values[Anum_pg_extension_extversion - 1]);
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return version;
}

/* Compares versions such as "1.10".  The result is negative, 0 or positive, as for strcmp(). */
static int
compare_versions(const char *a, const char *b)
{
	while (*a != '\0' || *b != '\0')
	{
		char *a_end;
		char *b_end;
		unsigned long a_number = strtoul(a, &a_end, 10);
		unsigned long b_number = strtoul(b, &b_end, 10);

		if (a_number != b_number)
			return a_number < b_number ? -1 : 1;
		if ((a_end == a && *a != '\0') || (b_end == b && *b != '\0'))
			return strcmp(a, b); /* not a number; no release has such a version */
		a = *a_end == '.' ? a_end + 1 : a_end;
		b = *b_end == '.' ? b_end + 1 : b_end;
	}
	return 0;
}

static int
hint_at_library(const char *needed)
{
	return errhint("Install version %s, and then start a new session or, if shared_preload_libraries "
				   "contains clari_fdw, restart the server.",
				   needed);
}

static void
raise_mismatch(FunctionCallInfo fcinfo)
{
	const char *objects = objects_version();
	int order = compare_versions(objects, CLARI_VERSION);

	ereport(
		ERROR,
		(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
		 errmsg("function %s() is not compatible with the library of clari_fdw", get_func_name(fcinfo->flinfo->fn_oid)),
		 errdetail("The library that this session runs is version %s, the extension in this database is version "
				   "%s.",
				   CLARI_VERSION, objects),
		 order < 0 ? errhint("ALTER EXTENSION clari_fdw UPDATE;") : (order > 0 ? hint_at_library(objects) : 0)));
}

void
clari_version_check_call(FunctionCallInfo fcinfo, int parameters)
{
	if (PG_NARGS() != parameters)
		raise_mismatch(fcinfo);
}

static Oid
type_of_letter(char letter)
{
	switch (letter)
	{
		case 't':
			return TEXTOID;
		case 'b':
			return INT8OID;
		case 'i':
			return INT4OID;
		default:
			Assert(letter == 'z');
			return TIMESTAMPTZOID;
	}
}

void
clari_version_check_row(FunctionCallInfo fcinfo, TupleDesc row, const char *types)
{
	if (row->natts != (int) strlen(types))
		raise_mismatch(fcinfo);
	for (int i = 0; i < row->natts; i++)
		if (TupleDescAttr(row, i)->atttypid != type_of_letter(types[i]))
			raise_mismatch(fcinfo);
}

/*
 * SQL clari_check_library(version): raises an error if the library is older.
 * Install and update scripts call it first.
 */
Datum
clari_check_library(PG_FUNCTION_ARGS)
{
	const char *needed = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (compare_versions(CLARI_VERSION, needed) < 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("version %s of extension clari_fdw needs a newer library", needed),
						errdetail("The library that this session runs is version %s.", CLARI_VERSION),
						hint_at_library(needed)));
	PG_RETURN_VOID();
}

/*
 * SQL clari_version(): one row, with the versions of the library and of the
 * extension in this database, which may differ.
 */
Datum
clari_version(PG_FUNCTION_ARGS)
{
	TupleDesc row;
	Datum values[2] = {CStringGetTextDatum(CLARI_VERSION), CStringGetTextDatum(objects_version())};
	bool nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &row) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	clari_version_check_row(fcinfo, row, "tt");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(row), values, nulls)));
}
