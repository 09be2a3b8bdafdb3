/*
 * merge.c
 *		The one MERGE of clari_merge() and clari_sync(): see merge.h.
 *
 * Runs in sessions.  Reads catalogs, writes a few statements, and has them carried
 * out (command.c).  They stay within what Citus runs on colocated tables: plain
 * equalities in ON, nothing volatile, no distribution column updated.
 */
#include "postgres.h"

#include "merge.h"

#include "compat.h"
#include "functions.h"
#include "version.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/genam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

CLARI_FUNCTION(clari_merge);

/* The columns of both tables, and which of Clari's types fills them (0: each). */
typedef struct Column
{
	const char *name;
	const char *type;
	uint32 export_type;
} Column;

static const Column columns[] = {
	{"time_period", "text", 0},
	{"forecast_name", "text", 0},
	{"owner_email", "text", 0},
	{"owner_name", "text", 0},
	{"forecast_amount", "numeric", CLARI_TYPE_FORECAST},
	{"quota_amount", "numeric", CLARI_TYPE_QUOTA},
	{"crm_total", "numeric", CLARI_TYPE_CRM_TOTAL},
	{"crm_closed", "numeric", CLARI_TYPE_CRM_CLOSED},
	{"adjustment_amount", "numeric", CLARI_TYPE_ADJUSTMENT},
	{"exported_at", "timestamptz", 0},
	{"user_id", "text", 0}, /* only where it is part of the key, in place of owner_email */
};

#define KEY_COLUMNS 3
#define EXPORTED_AT 9
#define USER_ID 10

/* ------- which tables ------- */

char *
clari_merge_name(Oid relid)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), get_rel_name(relid));
}

static Oid
owner_of(int cache, Oid object)
{
	HeapTuple tuple = SearchSysCache1(cache, ObjectIdGetDatum(object));
	Oid owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
		owner = cache == RELOID ? ((Form_pg_class) GETSTRUCT(tuple))->relowner
								: ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return owner;
}

Oid
clari_merge_owner(Oid relid)
{
	return owner_of(RELOID, relid);
}

/* In so many words: to a superuser every role would do, and he would run whosever triggers lie in his path. */
bool
clari_merge_is_own(Oid owner)
{
	return owner == GetUserId() || is_member_of_role_nosuper(GetUserId(), owner);
}

/* By the search_path, if it is nobody else's. */
static Oid
find_own_table(const char *name)
{
	Oid found = RelnameGetRelid(name);
	Oid owner = owner_of(RELOID, found);
	Oid schema_owner = owner_of(NAMESPACEOID, get_rel_namespace(found));
	bool own = clari_merge_is_own(owner);

	if (!OidIsValid(found))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table \"%s\" is not in the search_path", name),
						errhint("SELECT clari_create_tables();")));
	if (!own || !(clari_merge_is_own(schema_owner) || superuser_arg(schema_owner)))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("%s \"%s\" is not owned by \"%s\"", own ? "the schema of table" : "table", name,
							   GetUserNameFromId(GetUserId(), false)),
						errdetail("It is owned by \"%s\".", GetUserNameFromId(own ? schema_owner : owner, false)),
						errhint("Name the table in the call where it takes one, or put a schema of your own first in "
								"search_path and SELECT clari_create_tables().")));
	return found;
}

Oid
clari_merge_table(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Oid table = PG_ARGISNULL(argument) ? find_own_table(name) : PG_GETARG_OID(argument);

	if (get_rel_relkind(table) == '\0')
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", table)));
	return table;
}

/* Does Citus have the table?  Its catalog is in pg_catalog. */
static bool
is_distributed(Oid target)
{
	Oid catalog = OidIsValid(get_extension_oid("citus", true))
					  ? get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE)
					  : InvalidOid;
	ClariCommand command = {
		.text = psprintf("SELECT 1 FROM pg_catalog.pg_dist_partition WHERE logicalrelid = %u::oid", target),
		.tables = {catalog}};

	return OidIsValid(catalog) && clari_command_run(&command).nrows > 0;
}

/* Statements that Citus carries out on all of its nodes, which locks of our own would not reach. */
static void
execute_everywhere(const char *text, int expected)
{
	SPI_connect();
	if (SPI_execute(text, false, 0) != expected)
		elog(ERROR, "unexpected result of \"%s\"", text);
	SPI_finish();
}

/* Whoever puts another table in its place wants that to be taken. */
static void
check_replaced(Oid table, const char *name)
{
	if (get_rel_name(table) == NULL || strcmp(clari_merge_name(table), name) != 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table %s was replaced during the call", name)));
}

void
clari_merge_lock(Oid target, const char *name, bool deletes)
{
	const AclMode needed[] = {ACL_SELECT, ACL_INSERT, ACL_UPDATE, deletes ? ACL_DELETE : ACL_SELECT};
	char kind = get_rel_relkind(target);

	if (kind != '\0' && kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("cannot merge into %s: it is not a table", name)));
	for (int i = 0; i < (int) lengthof(needed) && kind != '\0'; i++)
		if (pg_class_aclcheck(target, GetUserId(), needed[i]) != ACLCHECK_OK)
			aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(target));
	if (kind != '\0' && is_distributed(target))
		execute_everywhere(psprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", name), SPI_OK_UTILITY);
	LockRelationOid(target, ShareRowExclusiveLock);
	check_replaced(target, name);
}

static void
check_columns(Oid relid, bool by_user)
{
	StringInfoData missing;
	StringInfoData additions;

	initStringInfo(&missing);
	initStringInfo(&additions);
	for (int i = 0; i < (by_user ? USER_ID + 1 : USER_ID); i++)
		if (get_attnum(relid, columns[i].name) == InvalidAttrNumber)
		{
			appendStringInfo(&missing, "%s%s", missing.len > 0 ? ", " : "", columns[i].name);
			appendStringInfo(&additions, "%sADD COLUMN %s %s", additions.len > 0 ? ", " : "", columns[i].name,
							 columns[i].type);
		}
	if (missing.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table %s lacks columns: %s", clari_merge_name(relid), missing.data),
				 errhint("ALTER %s %s %s;", get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ? "FOREIGN TABLE" : "TABLE",
						 clari_merge_name(relid), additions.data)));
}

/* ------- the target's key ------- */

/* The position of the key's i-th column (the third is owner_email or user_id) in the index; -1: it has another. */
static int
position_in(Relation index, Oid target, const char *name)
{
	AttrNumber attribute = get_attnum(target, name);

	for (int i = 0; i < KEY_COLUMNS; i++)
		if (attribute != InvalidAttrNumber && index->rd_index->indkey.values[i] == attribute)
			return i;
	return -1;
}

static bool
is_key(Relation index, Oid target, const char *owner)
{
	return index->rd_index->indisunique && index->rd_index->indisvalid && index->rd_index->indnkeyatts == KEY_COLUMNS &&
		   heap_attisnull(index->rd_indextuple, Anum_pg_index_indpred, NULL) &&
		   position_in(index, target, columns[0].name) >= 0 && position_in(index, target, columns[1].name) >= 0 &&
		   position_in(index, target, owner) >= 0;
}

/* The unique index that is the key, opened; with owner_email, if there are both. */
static Relation
open_key(Relation target, bool *by_user)
{
	const char *owners[] = {columns[2].name, columns[USER_ID].name};
	ListCell *cell;

	for (int i = 0; i < 2; i++)
		foreach (cell, RelationGetIndexList(target))
		{
			Relation index = index_open(lfirst_oid(cell), AccessShareLock);

			*by_user = i == 1;
			if (is_key(index, RelationGetRelid(target), owners[i]))
				return index;
			index_close(index, AccessShareLock);
		}
	ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
					errmsg("table %s has no unique index on (time_period, forecast_name, owner_email)",
						   clari_merge_name(RelationGetRelid(target))),
					errdetail("One on (time_period, forecast_name, user_id) would do, too."),
					errhint("CREATE UNIQUE INDEX ON %s (time_period, forecast_name, owner_email);",
							clari_merge_name(RelationGetRelid(target)))));
}

/* Qualified, whether it is in the search_path or not: the statement is parsed under another. */
static char *
collation_name(Oid collation)
{
	HeapTuple tuple = SearchSysCache1(COLLOID, ObjectIdGetDatum(collation));
	Oid schema;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for collation %u", collation);
	schema = ((Form_pg_collation) GETSTRUCT(tuple))->collnamespace;
	ReleaseSysCache(tuple);
	return quote_qualified_identifier(get_namespace_name(schema), get_collation_name(collation));
}

/* What is compared with the index's column: "::pg_catalog.text COLLATE …", of which the first is the type. */
static char *
cast_to_key(Relation index, int position, Oid column_type, const char **type)
{
	Oid input = index->rd_opcintype[position];
	Oid collation = index->rd_indcollation[position];

	if (get_typtype(input) == TYPTYPE_PSEUDO)
		input = getBaseType(column_type);
	*type = format_type_extended(input, -1, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
	return psprintf("::%s%s%s", *type, OidIsValid(collation) ? " COLLATE " : "",
					OidIsValid(collation) ? collation_name(collation) : "");
}

/* Adds a column of the key: t's equality, by the operator and the collation of its unique index. */
static void
add_key(ClariMerge *merge, Relation index, int i, StringInfo same, StringInfo keys, StringInfo usable)
{
	const char *name = columns[i == 2 && merge->by_user ? USER_ID : i].name;
	int position = position_in(index, merge->target, name);
	Oid column_type = get_atttype(merge->target, get_attnum(merge->target, name));
	Oid input = index->rd_opcintype[position];
	Oid equal = get_opfamily_member(index->rd_opfamily[position], input, input, BTEqualStrategyNumber);
	const char *type;
	char *cast = cast_to_key(index, position, column_type, &type);

	if (!OidIsValid(equal))
		elog(ERROR, "no equality for column \"%s\"", name);
	appendStringInfoString(same, i > 0 ? " AND " : "");
	generate_operator_clause(same, psprintf("t.%s", name), column_type, equal, psprintf("s.%s%s", name, cast), input);
	appendStringInfo(keys, "%ss.%s%s", i > 0 ? ", " : "", name, cast);
	appendStringInfo(usable, "%ss.%s IS NOT NULL", i > 0 ? " AND " : "", name);
	if (i < 2)
	{
		StringInfoData left;

		initStringInfo(&left);
		generate_operator_clause(&left, psprintf("t.%s", name), column_type, equal, "", input);
		*(i == 0 ? &merge->period : &merge->name) = left.data;
		*(i == 0 ? &merge->period_type : &merge->name_type) = cast;
	}
}

/* "hash(s.owner_email)", by the type's own function and the index's collation: as many as there are rows differ. */
static char *
hash_of(Relation index, const ClariMerge *merge)
{
	const char *name = columns[merge->by_user ? USER_ID : 2].name;
	int position = position_in(index, merge->target, name);
	const char *type;
	char *cast = cast_to_key(index, position, get_atttype(merge->target, get_attnum(merge->target, name)), &type);
	Oid hash = lookup_type_cache(index->rd_opcintype[position], TYPECACHE_HASH_EXTENDED_PROC)->hash_extended_proc;

	if (!OidIsValid(hash))
		return psprintf("hash_record_extended(ROW(s.%s%s), 0)", name, cast);
	return psprintf("%s(s.%s%s, 0)",
					quote_qualified_identifier(get_namespace_name(get_func_namespace(hash)), get_func_name(hash)), name,
					cast);
}

/* ------- the other columns ------- */

/* Text by its bytes, whatever its collation; else by the type's equality, of what the target can keep. */
static void
add_difference(StringInfo list, Oid target, const char *name)
{
	AttrNumber attribute = get_attnum(target, name);
	int32 typmod;
	Oid type;
	Oid collation;
	Oid equal;
	bool is_text;
	char *cast;

	get_atttypetypmodcoll(target, attribute, &type, &typmod, &collation);
	type = getBaseTypeAndTypmod(type, &typmod);
	is_text = TypeCategory(type) == TYPCATEGORY_STRING && type != BPCHAROID;
	cast = format_type_extended(type, is_text ? -1 : typmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY);
	equal = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
	if (!OidIsValid(equal))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("column \"%s\" of table %s has a type without equality", name, clari_merge_name(target))));
	appendStringInfoString(list, list->len > 0 ? " OR " : "");
	if (is_text)
		appendStringInfo(list, "t.%s::text IS DISTINCT FROM s.%s::%s::text COLLATE \"C\"", name, name, cast);
	else if (get_func_namespace(get_opcode(equal)) == PG_CATALOG_NAMESPACE)
		appendStringInfo(list, "t.%s IS DISTINCT FROM s.%s::%s", name, name, cast);
	else /* which IS DISTINCT FROM would not find */
	{
		appendStringInfoString(list, "NOT ");
		generate_operator_clause(list, psprintf("t.%s", name), type, equal, psprintf("s.%s::%s", name, cast), type);
		appendStringInfo(list, " OR (t.%s IS NULL) <> (s.%s IS NULL)", name, name);
	}
}

/* What is written, and by which difference; columns that were not exported are not. */
static void
add_columns(ClariMerge *merge, uint32 types)
{
	StringInfoData lists[4]; /* of s, to be inserted, to be set, that differ */

	for (int i = 0; i < (int) lengthof(lists); i++)
		initStringInfo(&lists[i]);
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		const char *name = columns[i].name;
		bool is_key = i < 2 || i == (merge->by_user ? USER_ID : 2);

		if (i == USER_ID && !merge->by_user)
			continue;
		appendStringInfo(&lists[0], "%s%s", i > 0 ? ", " : "", name);
		if (columns[i].export_type != 0 && (columns[i].export_type & types) == 0)
			continue;
		appendStringInfo(&lists[1], "%s%s", i > 0 ? ", " : "", name);
		if (!is_key)
			appendStringInfo(&lists[2], "%s%s = s.%s", lists[2].len > 0 ? ", " : "", name, name);
		if (!is_key && i != EXPORTED_AT)
			add_difference(&lists[3], merge->target, name);
	}
	merge->columns = lists[0].data;
	merge->insert = lists[1].data;
	merge->update = lists[2].data;
	merge->differs = lists[3].data;
}

/* ------- what is known to fail ------- */

/* Does the type, a domain, refuse null? */
static bool
refuses_null(Oid type)
{
	bool refuses = false;

	while (!refuses && get_typtype(type) == TYPTYPE_DOMAIN)
	{
		HeapTuple tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(type));

		if (!HeapTupleIsValid(tuple))
			break;
		refuses = ((Form_pg_type) GETSTRUCT(tuple))->typnotnull;
		type = ((Form_pg_type) GETSTRUCT(tuple))->typbasetype;
		ReleaseSysCache(tuple);
	}
	return refuses;
}

/* A column that no INSERT of ours fills, and that must not stay empty. */
static void
check_attribute(Relation target, Form_pg_attribute attribute, bool by_user)
{
	bool filled = attribute->attisdropped || attribute->atthasdef || attribute->attidentity != '\0' ||
				  get_typdefault(attribute->atttypid) != NULL ||
				  !(attribute->attnotnull || refuses_null(attribute->atttypid));

	for (int i = 0; i < (by_user ? USER_ID + 1 : USER_ID); i++)
		filled = filled || strcmp(columns[i].name, NameStr(attribute->attname)) == 0;
	if (!filled)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("column \"%s\" of table %s must not be null, and has no default",
							   NameStr(attribute->attname), clari_merge_name(RelationGetRelid(target))),
						errdetail("A merge fills the columns of forecasts and no other.")));
}

/* The target and its partitions: can they be written to, and will triggers interfere? */
static void
check_members(ClariMerge *merge, bool deletes)
{
	List *members = find_all_inheritors(merge->target, RowExclusiveLock, NULL);
	ListCell *cell;

	merge->composed = list_length(members) > 1 || get_rel_relkind(merge->target) == RELKIND_PARTITIONED_TABLE;
	foreach (cell, members)
	{
		Relation member = table_open(lfirst_oid(cell), NoLock);
		const TriggerDesc *triggers = member->trigdesc;

		if (member->rd_rel->relkind == RELKIND_RELATION)
		{
			merge->pages += RelationGetNumberOfBlocks(member);
			CheckCmdReplicaIdentity(member, CMD_UPDATE);
			if (deletes)
				CheckCmdReplicaIdentity(member, CMD_DELETE);
		}
		if (triggers != NULL && (triggers->trig_insert_before_row || triggers->trig_update_before_row))
			merge->swallows = true;
		table_close(member, NoLock);
	}
}

static void
check_target(ClariMerge *merge, Relation target)
{
	if (target->rd_rules != NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot merge into %s: it has rules", merge->target_name)));
	if (check_enable_rls(merge->target, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot merge into %s: row security hides rows of it", merge->target_name),
						errhint("Merge as a role that its policies are not for, such as its owner.")));
	for (int i = 0; i < RelationGetNumberOfAttributes(target); i++)
		check_attribute(target, TupleDescAttr(RelationGetDescr(target), i), merge->by_user);
	check_members(merge, false);
}

/* ------- the statements ------- */

ClariMerge *
clari_merge_open(Oid target, Oid source, const ClariOptions *options)
{
	ClariMerge *merge = palloc0(sizeof(ClariMerge));
	Relation relation = table_open(target, NoLock);
	StringInfoData texts[3];
	Relation index;

	merge->target = target;
	merge->source = source;
	merge->target_name = clari_merge_name(target);
	merge->source_name = clari_merge_name(source);
	merge->handed.relid = source;
	check_columns(target, false);
	index = open_key(relation, &merge->by_user);
	check_columns(source, merge->by_user);
	for (int i = 0; i < (int) lengthof(texts); i++)
		initStringInfo(&texts[i]);
	for (int i = 0; i < KEY_COLUMNS; i++)
		add_key(merge, index, i, &texts[0], &texts[1], &texts[2]);
	merge->same_key = texts[0].data;
	merge->keys = texts[1].data;
	merge->usable = texts[2].data;
	merge->hash = hash_of(index, merge);
	add_columns(merge, options != NULL ? options->request.types : CLARI_TYPES_ALL);
	merge->from = psprintf("%s AS s", merge->source_name);
	if (options != NULL && options->request.include_historical)
		/* An owner's rows differ in their week; a file without weeks has none to tell apart. */
		merge->from =
			psprintf("%s AS s JOIN (SELECT w.time_period, max(w.week_start) AS week_start FROM %s AS w GROUP BY 1) "
					 "AS w ON w.time_period = s.time_period AND (w.week_start = s.week_start OR w.week_start IS NULL)",
					 merge->source_name, merge->source_name);
	check_target(merge, relation);
	merge->distributed = is_distributed(target);
	index_close(index, NoLock);
	table_close(relation, NoLock);
	return merge;
}

static ClariCommand
command_of(ClariMerge *merge, const char *text)
{
	return (ClariCommand){.text = text,
						  .tables = {merge->target, merge->source},
						  .handed = merge->handed.readers != NULL ? &merge->handed : NULL,
						  .snapshot = merge->snapshot};
}

/*
 * "t.time_period = ANY (…)" and the same of the name: true of whatever meets a row
 * of the parts, so that it decides nothing, but finds a quarter by the target's index.
 */
static char *
hint(const ClariMerge *merge, const ClariPart *parts, int count)
{
	StringInfoData list;

	if (count == 0)
		return "true";
	initStringInfo(&list);
	for (int column = 0; column < 2; column++)
	{
		appendStringInfo(&list, "%s%s ANY (ARRAY[", column > 0 ? " AND " : "",
						 column == 0 ? merge->period : merge->name);
		for (int i = 0; i < count; i++)
		{
			const char *text = column == 0 ? parts[i].time_period : parts[i].forecast_name;

			/* Of one source all have one name, and each that is listed is compared with each row. */
			if (column == 0 || i == 0 || strcmp(text, parts[i - 1].forecast_name) != 0)
				appendStringInfo(&list, "%s%s%s", i > 0 ? ", " : "", quote_literal_cstr(text),
								 column == 0 ? merge->period_type : merge->name_type);
		}
		appendStringInfoString(&list, "])");
	}
	return list.data;
}

/* "s.a, s.b" of "a, b". */
static char *
of_alias(char alias, const char *names)
{
	StringInfoData list;

	initStringInfo(&list);
	appendStringInfo(&list, "%c.", alias);
	for (const char *c = names; *c != '\0'; c++)
	{
		appendStringInfoChar(&list, *c);
		if (*c == ' ')
			appendStringInfo(&list, "%c.", alias);
	}
	return list.data;
}

/* The rows that are merged: of those with one key the newest; the rest of the order only makes the choice the same each time. */
static char *
rows_of(const ClariMerge *merge, bool recur, const ClariPart *parts, int count)
{
	const char *list = of_alias('s', merge->columns);
	StringInfoData expected;

	initStringInfo(&expected);
	/* The planner does not know what is handed over; but it knows the quarters, of which these are all. */
	for (int i = 0; i < count && merge->handed.readers != NULL; i++)
		appendStringInfo(&expected, "%s%s%s", i == 0 ? " AND s.time_period = ANY (ARRAY[" : ", ",
						 quote_literal_cstr(parts[i].time_period), i == count - 1 ? "])" : "");
	if (!recur)
		return psprintf("SELECT %s FROM %s WHERE %s%s", list, merge->from, merge->usable, expected.data);
	return psprintf("SELECT DISTINCT ON (%s) %s FROM %s WHERE %s ORDER BY %s, s.exported_at DESC NULLS LAST, "
					"s.owner_name, s.owner_email, s.forecast_amount, s.quota_amount, s.crm_total, s.crm_closed, "
					"s.adjustment_amount",
					merge->keys, list, merge->from, merge->usable, merge->keys);
}

/* A target's rows of a page, by and large. */
#define ROWS_OF_PAGE 50
#define MOST_ROWS_OF_PAGE 400

/* What is of unknown age never replaces what is of known age. */
#define IS_NOT_OLDER "(t.exported_at IS NULL OR s.exported_at >= t.exported_at)"

/*
 * Where all rows are compared, only those that differ take the way into the MERGE,
 * and find their old versions by ctid: what is unchanged costs no more than the
 * join.  A full join cannot be a nested loop, however few rows the planner expects of
 * a quarter that its statistics do not know; and it takes "CASE … = 1" to be rare.
 */
static char *
joined_text(const ClariMerge *merge, bool recur, const ClariPart *parts, int count, bool hinted)
{
	return psprintf("MERGE INTO %s AS m USING (SELECT s.*, t.old, " IS_NOT_OLDER " AS allowed FROM (%s) AS s FULL JOIN "
					"(SELECT t.ctid AS old, %s FROM %s AS t WHERE %s) AS t ON %s WHERE CASE WHEN s.time_period IS NULL "
					"THEN 0 WHEN t.time_period IS NULL OR %s THEN 1 ELSE 0 END = 1) AS s ON m.ctid = s.old "
					"WHEN MATCHED AND s.allowed THEN UPDATE SET %s WHEN NOT MATCHED THEN INSERT (%s) VALUES (%s)",
					merge->target_name, rows_of(merge, recur, parts, count), of_alias('t', merge->columns),
					merge->target_name, hint(merge, parts, hinted ? count : 0), merge->same_key, merge->differs,
					merge->update, merge->insert, of_alias('s', merge->insert));
}

/* The plain one, for few rows, and where a ctid does not tell a row, since there are several tables. */
static char *
merge_text(const ClariMerge *merge, bool recur, const ClariPart *parts, int count)
{
	return psprintf("MERGE INTO %s AS t USING (%s) AS s ON %s "
					"WHEN MATCHED AND (%s) AND " IS_NOT_OLDER " THEN UPDATE SET %s "
					"WHEN NOT MATCHED THEN INSERT (%s) VALUES (%s)",
					merge->target_name, rows_of(merge, recur, parts, count), merge->same_key, merge->differs,
					merge->update, merge->insert, of_alias('s', merge->insert));
}

/* What is deleted, behind "DELETE FROM" or the like. */
static char *
missing_text(const ClariMerge *merge, const char *verb, const ClariPart *parts, int count)
{
	StringInfoData text;

	initStringInfo(&text);
	appendStringInfo(&text, "%s FROM %s AS t WHERE (false", verb, merge->target_name);
	for (int i = 0; i < count; i++)
		appendStringInfo(&text, " OR (%s AND (t.exported_at IS NULL OR t.exported_at <= %s))",
						 hint(merge, &parts[i], 1),
						 parts[i].newest != NULL ? psprintf("'%s'::timestamptz", parts[i].newest) : "NULL");
	appendStringInfo(&text, ") AND NOT EXISTS (SELECT FROM %s WHERE %s AND %s)", merge->from, merge->usable,
					 merge->same_key);
	return text.data;
}

void
clari_merge_check(const ClariMerge *merge, bool deletes)
{
	ClariMerge copy = *merge;
	ClariCommand command = command_of(&copy, merge_text(merge, false, NULL, 0));

	command.only_check = true;
	(void) clari_command_run(&command);
	check_members(&copy, deletes);
	command.text = missing_text(merge, "DELETE", NULL, 0);
	if (deletes)
		(void) clari_command_run(&command);
}

/* ------- what became of the rows ------- */

void
clari_merge_begin(ClariMerge *merge)
{
	merge->snapshot = RegisterSnapshot(GetTransactionSnapshot());
}

void
clari_merge_end(ClariMerge *merge)
{
	UnregisterSnapshot(merge->snapshot);
	merge->snapshot = NULL;
}

/* As many hashes as rows: no key is there twice.  OFFSET keeps Citus from counting them roughly. */
static int64
count_keys(ClariMerge *merge, const char *hash, int64 *rows, int64 *usable)
{
	ClariCommand command = command_of(
		merge,
		psprintf("SELECT count(*), count(h), count(DISTINCT h) FROM (SELECT CASE WHEN %s THEN %s END AS h FROM %s "
				 "OFFSET 0) AS s",
				 merge->usable, hash, merge->from));
	ClariAnswer answer = clari_command_run(&command);

	*rows = clari_answer_number(&answer, 0);
	*usable = clari_answer_number(&answer, 1);
	return clari_answer_number(&answer, 2);
}

void
clari_merge_look(ClariMerge *merge, ClariPart *part)
{
	ClariCommand command = command_of(merge, NULL);
	ClariAnswer answer;

	part->keys = count_keys(merge, merge->hash, &part->rows, &part->usable);
	if (part->keys == part->usable)
		return;
	command.text = psprintf("SELECT count(*) FROM (%s) AS s", rows_of(merge, true, NULL, 0));
	answer = clari_command_run(&command);
	part->keys = clari_answer_number(&answer, 0);
}

static ClariPart *
find_part(ClariPart *parts, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (strcmp(parts[i].time_period, names[0]) == 0 && strcmp(parts[i].forecast_name, names[1]) == 0)
			return &parts[i];
	elog(ERROR, "the source has rows of a period that it did not have before");
}

static int64
number(const char *text)
{
	return strtoll(text, NULL, 10);
}

/*
 * How many of the source's rows, by part, are not in the target, would be written
 * over it, or are too old for that.  Before the MERGE: what it is about to do.
 * After it: what it has left undone, but for rows that it wrote and a trigger changed.
 */
static void
join(ClariMerge *merge, ClariPart *parts, int count, const char *written)
{
	const char *text =
		psprintf("SELECT s.time_period::text, s.forecast_name::text, count(*) FILTER (WHERE t.time_period IS NULL), "
				 "count(*) FILTER (WHERE t.time_period IS NOT NULL AND " IS_NOT_OLDER " AND (%s)), "
				 "count(*) FILTER (WHERE " IS_NOT_OLDER " IS NOT TRUE AND (%s)) "
				 "FROM (%s) AS s LEFT JOIN %s AS t ON %s AND %s WHERE (%s) IS NOT TRUE GROUP BY 1, 2",
				 merge->differs, merge->differs, rows_of(merge, true, NULL, 0), merge->target_name, merge->same_key,
				 hint(merge, parts, count), written != NULL ? written : "false");
	ClariCommand command = command_of(merge, text);
	ClariAnswer answer = clari_command_run(&command);

	for (int i = 0; i < answer.nrows; i++)
	{
		ClariCounts *counts = &find_part(parts, count, answer.rows[i])->counts;
		int64 missing = number(answer.rows[i][2]);
		int64 changed = number(answer.rows[i][3]);

		counts->skipped = number(answer.rows[i][4]);
		if (written != NULL)
			counts->skipped += missing + changed;
		else
		{
			counts->inserted = missing;
			counts->updated = changed;
		}
	}
}

/*
 * Were rows refused, as older than the target's?  Of those that differ and no
 * others, the MERGE tells; else some may be if the target has any that are newer.
 */
static bool
refused(ClariMerge *merge, const ClariPart *parts, int count, int64 keys, const ClariAnswer *merged)
{
	StringInfoData text;
	ClariCommand command;
	ClariAnswer answer;

	if (merged->offered < keys || merged->inserted + merged->updated == keys)
		return merged->offered > merged->inserted + merged->updated;
	initStringInfo(&text);
	appendStringInfo(&text, "SELECT EXISTS (SELECT FROM %s AS t WHERE t.exported_at > LEAST('infinity'",
					 merge->target_name);
	for (int i = 0; i < count; i++)
		appendStringInfo(&text, ", '%s'::timestamptz", parts[i].oldest != NULL ? parts[i].oldest : "-infinity");
	appendStringInfoString(&text, ") AND (false");
	for (int i = 0; i < count; i++)
		appendStringInfo(&text, " OR (%s AND t.exported_at > '%s'::timestamptz)", hint(merge, &parts[i], 1),
						 parts[i].oldest != NULL ? parts[i].oldest : "-infinity");
	appendStringInfoString(&text, "))::int");
	command = command_of(merge, text.data);
	answer = clari_command_run(&command);
	return clari_answer_number(&answer, 0) != 0;
}

/* Counts the target's rows by part, and in *total those that are written. */
static void
count_present(ClariMerge *merge, ClariPart *parts, int count, const char *written, bool before)
{
	StringInfoData values;
	ClariCommand command;
	ClariAnswer answer;

	initStringInfo(&values);
	for (int i = 0; i < count; i++)
	{
		appendStringInfo(&values, "%s(%d, %s, %s)", i > 0 ? ", " : "", i, quote_literal_cstr(parts[i].time_period),
						 quote_literal_cstr(parts[i].forecast_name));
		*(before ? &parts[i].before : &parts[i].present) = 0;
	}
	command = command_of(
		merge,
		psprintf("SELECT p.i, t.present, t.written FROM (SELECT t.time_period, t.forecast_name, count(*) AS present, "
				 "count(*) FILTER (WHERE %s) AS written FROM %s AS t WHERE %s GROUP BY 1, 2) AS t "
				 "JOIN (VALUES %s) AS p (i, period, name) ON %s p.period%s AND %s p.name%s",
				 written, merge->target_name, hint(merge, parts, count), values.data, merge->period, merge->period_type,
				 merge->name, merge->name_type));
	command.as_it_was = before;
	answer = clari_command_run(&command);
	for (int i = 0; i < answer.nrows; i++)
	{
		ClariPart *part = &parts[number(answer.rows[i][0])];

		*(before ? &part->before : &part->present) = number(answer.rows[i][1]);
		if (!before)
			part->written = number(answer.rows[i][2]);
	}
}

/* Shares out among the parts what the MERGE has written, which says of all together how much that is. */
static void
share_out(ClariMerge *merge, ClariPart *parts, int count, const ClariAnswer *merged, const char *written)
{
	int64 sum = 0;

	if (count == 1 && !merge->swallows)
		parts[0].written = merged->inserted + merged->updated;
	else if (merged->inserted + merged->updated > 0)
		count_present(merge, parts, count, written, false);
	for (int i = 0; i < count; i++)
		sum += parts[i].written;
	if (count > 1 && merged->updated > 0 && merged->updated < sum)
		count_present(merge, parts, count, "false", true);
	for (int i = 0; i < count; i++)
	{
		ClariPart *part = &parts[i];

		if (count == 1)
			part->counts.updated = Min(merged->updated, part->written);
		else if (merged->updated >= sum)
			part->counts.updated = part->written;
		else if (merged->updated > 0)
			part->counts.updated = Max(part->written - Max(part->present - part->before, 0), 0);
		part->counts.inserted = part->written - part->counts.updated;
	}
}

/*
 * How the MERGE is written and planned, by the rows that it has and the pages of the
 * target: few rows are looked up one by one, and where most are new there is little
 * to compare.
 */
static void
set_merge(const ClariMerge *merge, ClariCommand *command, const ClariPart *parts, int count, int64 keys, bool recur)
{
	bool few = keys * 4 < merge->pages;
	bool most_are_new = keys > merge->pages * MOST_ROWS_OF_PAGE;
	bool empty = merge->pages == 0 && !merge->distributed;

	command->few = true;
	if (empty)
		command->text = psprintf("INSERT INTO %s (%s) SELECT %s FROM (%s) AS s", merge->target_name, merge->insert,
								 of_alias('s', merge->insert), rows_of(merge, recur, parts, count));
	else if (few || most_are_new || merge->composed || merge->distributed)
	{
		command->few = few;
		command->text = merge_text(merge, recur, parts, count);
	}
	else /* a part of the target is found by index, if it is no large one */
		command->text = joined_text(merge, recur, parts, count, keys < merge->pages * ROWS_OF_PAGE / 2);
}

void
clari_merge_run(ClariMerge *merge, ClariPart *parts, int count)
{
	int64 keys = 0;
	int64 recurring = 0;
	ClariCommand command;
	ClariAnswer answer;
	char *written;

	for (int i = 0; i < count; i++)
	{
		keys += parts[i].keys;
		recurring += parts[i].usable - parts[i].keys;
		parts[i].counts = (ClariCounts){0};
		parts[i].present = -1;
		parts[i].written = 0;
	}
	if (merge->distributed)
		join(merge, parts, count, NULL);
	command = command_of(merge, NULL);
	set_merge(merge, &command, parts, count, keys, recurring > 0);
	answer = clari_command_run(&command);
	if (!merge->distributed)
	{
		/* What tells the rows that it has written from all others. */
		written = psprintf("t.xmin = '%u'::xid AND t.cmin = '%u'::cid", GetCurrentTransactionIdIfAny(), answer.command);
		share_out(merge, parts, count, &answer, written);
		if (merge->swallows || refused(merge, parts, count, keys, &answer))
			join(merge, parts, count, written);
	}
	for (int i = 0; i < count; i++)
	{
		ClariCounts *counts = &parts[i].counts;

		counts->unchanged = parts[i].keys - counts->inserted - counts->updated - counts->skipped;
		counts->skipped += parts[i].rows - parts[i].keys;
	}
}

int64
clari_merge_delete(ClariMerge *merge, const ClariPart *parts, int count)
{
	ClariCommand command = command_of(merge, missing_text(merge, "DELETE", parts, count));

	return count > 0 ? clari_command_run(&command).written : 0;
}

int64
clari_merge_missing(ClariMerge *merge, ClariPart *part)
{
	ClariCommand command = command_of(merge, missing_text(merge, "SELECT count(*)", part, 1));
	ClariAnswer answer;

	if (part->present < 0)
		count_present(merge, part, 1, "false", false);
	/* All of the source's keys are there by now, unless a trigger did not let them in. */
	if (!merge->swallows)
		return Max(part->present - part->keys, 0);
	answer = clari_command_run(&command);
	return clari_answer_number(&answer, 0);
}

char *
clari_merge_shared(ClariMerge *merge)
{
	ClariCommand command = command_of(
		merge, psprintf("SELECT min(s.owner_email::text), count(*), count(*) OVER () FROM %s WHERE %s GROUP BY "
						"%s HAVING count(*) > 1 ORDER BY 1 LIMIT 5",
						merge->from, merge->usable, merge->keys));
	ClariAnswer answer = clari_command_run(&command);
	StringInfoData list;

	initStringInfo(&list);
	for (int i = 0; i < answer.nrows; i++)
		appendStringInfo(&list, "%s\"%s\" (%s)", i > 0 ? ", " : "", answer.rows[i][0], answer.rows[i][1]);
	if (answer.nrows > 0 && number(answer.rows[0][2]) > answer.nrows)
		appendStringInfo(&list, ", and " INT64_FORMAT " more", number(answer.rows[0][2]) - answer.nrows);
	return list.data;
}

/* ------- by way of a staging table, for Citus ------- */

/* Whether Citus keeps the two tables' rows of one key together. */
static bool
are_colocated(Oid target, Oid staging, const char *key)
{
	Oid catalog = get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE);
	ClariCommand command = {
		.text = psprintf(
			"SELECT 1 FROM pg_dist_partition AS a JOIN pg_dist_partition AS b ON a.colocationid = b.colocationid "
			"WHERE a.logicalrelid = %u::oid AND b.logicalrelid = %u::oid AND a.partmethod = 'h' AND "
			"b.partmethod = 'h' AND column_to_column_name(a.logicalrelid, a.partkey) = %s AND "
			"column_to_column_name(b.logicalrelid, b.partkey) = %s",
			target, staging, quote_literal_cstr(key), quote_literal_cstr(key)),
		.tables = {catalog}};

	return clari_command_run(&command).nrows > 0;
}

void
clari_merge_check_colocated(Oid target, Oid staging, const char *key)
{
	if (!are_colocated(target, staging, key))
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("tables %s and %s are not distributed by %s and colocated", clari_merge_name(target),
							   clari_merge_name(staging), key),
						errhint("SELECT create_distributed_table(..., colocate_with => ...);")));
}

ClariMerge *
clari_merge_open_staged(const ClariMerge *rows, const ClariOptions *options)
{
	Oid staging = find_own_table("staging_clari");
	ClariOptions staged = *options;
	ClariMerge *merge;
	ClariCommand command;

	staged.request.include_historical = false; /* the latest week is what is staged */
	execute_everywhere(psprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", clari_merge_name(staging)),
					   SPI_OK_UTILITY);
	merge = clari_merge_open(rows->target, staging, &staged);
	clari_merge_check_colocated(rows->target, staging, columns[rows->by_user ? USER_ID : 2].name);
	command = command_of(merge, psprintf("SELECT FROM %s AS s LIMIT 1", merge->source_name));
	if (clari_command_run(&command).nrows > 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("staging table %s is not empty", merge->source_name),
						errdetail("Rows that others have staged there would be merged, too."),
						errhint("Merge them by clari_merge(), and TRUNCATE %s.", merge->source_name)));
	return merge;
}

void
clari_merge_stage(ClariMerge *rows, const ClariMerge *merge)
{
	ClariCommand command =
		command_of(rows, psprintf("INSERT INTO %s (%s) SELECT %s FROM %s WHERE %s", merge->source_name, merge->insert,
								  of_alias('s', merge->insert), rows->from, rows->usable));

	command.tables[2] = merge->source;
	rows->handed.read = false;
	(void) clari_command_run(&command);
	if (!rows->handed.read)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot stage the rows of %s: they were read by another process", rows->source_name)));
}

void
clari_merge_unstage(const ClariMerge *merge)
{
	execute_everywhere(psprintf("DELETE FROM %s", merge->source_name), SPI_OK_DELETE);
}

/* ------- clari_merge() ------- */

/* What the source holds, by period and forecast; its rows without any in *skipped. */
static ClariPart *
parts_of_source(ClariMerge *merge, int *count, int64 *skipped)
{
	ClariCommand command = command_of(
		merge, psprintf("SELECT s.time_period::text, s.forecast_name::text, count(*), count(*) FILTER (WHERE %s), "
						"max(s.exported_at) FILTER (WHERE %s), CASE WHEN count(*) = count(s.exported_at) THEN "
						"min(s.exported_at) END FROM %s GROUP BY 1, 2",
						merge->usable, merge->usable, merge->from));
	ClariAnswer answer = clari_command_run(&command);
	ClariPart *parts = palloc0(sizeof(ClariPart) * Max(answer.nrows, 1));
	int64 rows;
	int64 usable;

	*count = 0;
	for (int i = 0; i < answer.nrows; i++)
	{
		char **row = answer.rows[i];

		if (number(row[3]) == 0)
			*skipped += number(row[2]);
		else
			parts[(*count)++] = (ClariPart){.time_period = row[0],
											.forecast_name = row[1],
											.rows = number(row[2]),
											.usable = number(row[3]),
											.keys = number(row[3]),
											.newest = row[4],
											.oldest = row[5]};
	}
	if (count_keys(merge, psprintf("hash_record_extended(ROW(%s), 0)", merge->keys), &rows, &usable) == usable)
		return parts;
	command.text = psprintf("SELECT s.time_period::text, s.forecast_name::text, count(*) FROM (%s) AS s GROUP BY 1, 2",
							rows_of(merge, true, NULL, 0));
	answer = clari_command_run(&command);
	for (int i = 0; i < answer.nrows; i++)
		find_part(parts, *count, answer.rows[i])->keys = number(answer.rows[i][2]);
	return parts;
}

static void
merge_by_hand(ClariMerge *merge, bool deletes, ClariCounts *total)
{
	int64 recurring = 0;
	ClariPart *parts;
	int count;

	clari_merge_begin(merge);
	parts = parts_of_source(merge, &count, &total->skipped);
	for (int i = 0; i < count; i++)
		recurring += parts[i].usable - parts[i].keys;
	if (recurring > 0)
		ereport(NOTICE, (errmsg(INT64_FORMAT " rows of %s are left out for newer ones with the same key", recurring,
								merge->source_name)));
	if (count > 0)
		clari_merge_run(merge, parts, count);
	for (int i = 0; i < count; i++)
	{
		total->inserted += parts[i].counts.inserted;
		total->updated += parts[i].counts.updated;
		total->unchanged += parts[i].counts.unchanged;
		total->skipped += parts[i].counts.skipped;
	}
	if (deletes)
		total->deleted = clari_merge_delete(merge, parts, count);
	clari_merge_end(merge);
}

/* SQL clari_merge(target, source, delete_missing): see doc/clari_fdw.md. */
Datum
clari_merge(PG_FUNCTION_ARGS)
{
	Oid target = clari_merge_table(fcinfo, 0, "clari_forecasts");
	Oid source = clari_merge_table(fcinfo, 1, "staging_clari");
	bool deletes = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	ClariCounts total = {0};
	const char *source_name;
	bool nulls[5] = {false};
	TupleDesc description;
	Datum values[5];

	clari_version_check_call(fcinfo, 3);
	if (get_call_result_type(fcinfo, NULL, &description) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "clari_merge() does not return a row");
	clari_version_check_row(fcinfo, description, "bbbbb");
	/* Not only at the first write: until then a source that is a foreign table would have been exported. */
	if (get_rel_persistence(target) != RELPERSISTENCE_TEMP)
		PreventCommandIfReadOnly("clari_merge()");
	PreventCommandDuringRecovery("clari_merge()");
	if (PG_ARGISNULL(1) && get_rel_relkind(source) != RELKIND_RELATION &&
		get_rel_relkind(source) != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("cannot merge from %s: it is not a table", clari_merge_name(source)),
						errhint("Name it in the call if you mean it.")));
	source_name = clari_merge_name(source);
	clari_merge_lock(target, clari_merge_name(target), deletes);
	if (pg_class_aclcheck(source, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		LockRelationOid(source, AccessShareLock);
	check_replaced(source, source_name);
	merge_by_hand(clari_merge_open(target, source, NULL), deletes, &total);
	values[0] = Int64GetDatum(total.inserted);
	values[1] = Int64GetDatum(total.updated);
	values[2] = Int64GetDatum(total.unchanged);
	values[3] = Int64GetDatum(total.deleted);
	values[4] = Int64GetDatum(total.skipped);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(description), values, nulls)));
}
