/*
 * merge_table.c
 *		The tables of a merge: finding and locking them, translating their columns
 *		and the target's key into parts of statements, and checking what would
 *		make the merge fail; see internal.h.
 *
 * Runs in sessions.  Reads catalogs and takes the locks.
 */
#include "postgres.h"

#include "compat.h"

#include "call/internal.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
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
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

/* A column of both tables, and the export type that fills it (0: it does not depend on the types). */
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
	{"user_id", "text", 0}, /* used only if it is in the key, instead of owner_email */
};

#define KEY_COLUMNS 3
#define EXPORTED_AT 9
#define USER_ID 10

/* ------- finding and locking the tables ------- */

char *
clari_table_name(Oid relid)
{
	const char *name = get_rel_name(relid);
	const char *schema = name != NULL ? get_namespace_name(get_rel_namespace(relid)) : NULL;

	/* A trigger in the caller's own transaction may drop a table in spite of the lock. */
	if (schema == NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("table with OID %u was dropped during the call", relid)));
	return quote_qualified_identifier(schema, name);
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
clari_table_owner(Oid relid)
{
	return owner_of(RELOID, relid);
}

/*
 * Membership must have been granted: a superuser counts as a member of every
 * role, and would run the triggers of anybody who puts a table into the
 * superuser's path.
 */
bool
clari_role_is_own(Oid owner)
{
	return owner == GetUserId() ||
		   (is_member_of_role_nosuper(GetUserId(), owner) && clari_may_set_role(GetUserId(), owner));
}

/* Finds the table in the search_path; raises an error if somebody else owns it or its schema. */
static Oid
find_own_table(const char *name)
{
	Oid found = RelnameGetRelid(name);
	Oid owner = owner_of(RELOID, found);
	Oid schema_owner = owner_of(NAMESPACEOID, get_rel_namespace(found));
	bool own = clari_role_is_own(owner);

	if (!OidIsValid(found))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("table \"%s\" is not in the search_path", name),
						errhint("SELECT clari_create_tables();")));
	if (!own || !(clari_role_is_own(schema_owner) || superuser_arg(schema_owner)))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("%s \"%s\" is not owned by \"%s\"", own ? "the schema of table" : "table", name,
							   GetUserNameFromId(GetUserId(), false)),
						errdetail("It is owned by \"%s\".", GetUserNameFromId(own ? schema_owner : owner, false)),
						errhint("Specify the table in the call if the function takes one, or put a schema of your own "
								"first in search_path and use clari_create_tables().")));
	return found;
}

Oid
clari_table_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	Oid table = PG_ARGISNULL(argument) ? find_own_table(name) : PG_GETARG_OID(argument);

	if (get_rel_relkind(table) == '\0')
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", table)));
	return table;
}

/* Is the table distributed by Citus?  Citus has its catalog in pg_catalog. */
bool
clari_table_is_distributed(Oid target)
{
	Oid catalog = OidIsValid(get_extension_oid("citus", true))
					  ? get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE)
					  : InvalidOid;
	ClariCommand command = {
		.text = psprintf("SELECT 1 FROM pg_catalog.pg_dist_partition WHERE logicalrelid = %u::oid", target),
		.tables = {catalog}};

	return OidIsValid(catalog) && clari_command_run(&command).nrows > 0;
}

void
clari_table_check_beside(Oid table, const char *name, Oid target)
{
	Oid owner;

	if (get_rel_relkind(table) != RELKIND_RELATION)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
						errmsg("there is no table \"%s\" in the schema of %s", name, clari_table_name(target))));
	owner = clari_table_owner(table);
	if (!clari_role_is_own(owner) && owner != clari_table_owner(target) && !superuser_arg(owner))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("table %s is not owned by \"%s\", nor by the owner of %s", clari_table_name(table),
							   GetUserNameFromId(GetUserId(), false), clari_table_name(target))));
}

/* Calls SPI_execute(), so that Citus carries it out on all nodes.  Locks that the code takes itself are local. */
void
clari_merge_execute(const char *text, int expected)
{
	SPI_connect();
	if (SPI_execute(text, false, 0) != expected)
		elog(ERROR, "unexpected result of \"%s\"", text);
	SPI_finish();
}

/* Raises an error if the table no longer has this name, because another table may have been put in its place. */
static void
check_replaced(Oid table, const char *name)
{
	if (get_rel_name(table) == NULL || strcmp(clari_table_name(table), name) != 0)
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
	if (kind != '\0' && clari_table_is_distributed(target))
		clari_merge_execute(psprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", name), SPI_OK_UTILITY);
	LockRelationOid(target, ShareRowExclusiveLock);
	check_replaced(target, name);
}

void
clari_merge_lock_source(Oid source, const char *name)
{
	if (pg_class_aclcheck(source, GetUserId(), ACL_SELECT) == ACLCHECK_OK)
		LockRelationOid(source, AccessShareLock);
	check_replaced(source, name);
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
				 errmsg("table %s lacks columns: %s", clari_table_name(relid), missing.data),
				 errhint("ALTER %s %s %s;", get_rel_relkind(relid) == RELKIND_FOREIGN_TABLE ? "FOREIGN TABLE" : "TABLE",
						 clari_table_name(relid), additions.data)));
}

/* ------- the target's key ------- */

/* The position in the index of the key's column with this name; -1 if the index does not have it. */
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

/* Opens the unique index that is the key.  If there are two, that with owner_email is used. */
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
						   clari_table_name(RelationGetRelid(target))),
					errdetail("One on (time_period, forecast_name, user_id) is also accepted."),
					errhint("CREATE UNIQUE INDEX ON %s (time_period, forecast_name, owner_email);",
							clari_table_name(RelationGetRelid(target)))));
}

/* The collation's name, always qualified, because the statement is parsed under another search_path. */
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

/*
 * The cast for values that are compared with the index's column,
 * "::pg_catalog.text COLLATE …"; *type is set to the type's name.
 */
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

/* Adds a column of the key, with the equality operator and collation of its unique index. */
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
	if (i == 2)
		merge->owner_type = cast;
	else
	{
		StringInfoData left;

		initStringInfo(&left);
		generate_operator_clause(&left, psprintf("t.%s", name), column_type, equal, "", input);
		*(i == 0 ? &merge->period : &merge->name) = left.data;
		*(i == 0 ? &merge->period_type : &merge->name_type) = cast;
	}
}

/*
 * An expression that hashes s.owner_email or s.user_id by the type's own function
 * and the index's collation; see count_keys().
 */
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

/*
 * Adds the comparison of a column.  Text is compared by its bytes, whatever its
 * collation; other types by their equality operator, after a cast to the type and
 * precision of the target's column.
 */
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
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
						errmsg("column \"%s\" of table %s has a type without an equality operator", name,
							   clari_table_name(target))));
	appendStringInfoString(list, list->len > 0 ? " OR " : "");
	if (is_text)
		appendStringInfo(list, "t.%s::text IS DISTINCT FROM s.%s::%s::text COLLATE \"C\"", name, name, cast);
	else if (get_func_namespace(get_opcode(equal)) == PG_CATALOG_NAMESPACE)
		appendStringInfo(list, "t.%s IS DISTINCT FROM s.%s::%s", name, name, cast);
	else /* IS DISTINCT FROM would not find the operator of a type outside of pg_catalog */
	{
		appendStringInfoString(list, "NOT ");
		generate_operator_clause(list, psprintf("t.%s", name), type, equal, psprintf("s.%s::%s", name, cast), type);
		appendStringInfo(list, " OR (t.%s IS NULL) <> (s.%s IS NULL)", name, name);
	}
}

void
clari_merge_set_types(ClariMerge *merge, uint32 types)
{
	StringInfoData lists[4]; /* columns of s, to insert, to set, comparisons */

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

/* ------- what would make the merge fail ------- */

/* Is the type a domain that does not allow null? */
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

/* Raises an error if the column must not be null, has no default, and is not filled by the merge. */
static void
check_attribute(Relation target, Form_pg_attribute attribute, bool by_user, uint32 types)
{
	bool filled = attribute->attisdropped || attribute->atthasdef || attribute->attidentity != '\0' ||
				  get_typdefault(attribute->atttypid) != NULL ||
				  !(attribute->attnotnull || refuses_null(attribute->atttypid));

	for (int i = 0; i < (by_user ? USER_ID + 1 : USER_ID); i++)
		filled = filled || ((columns[i].export_type == 0 || (columns[i].export_type & types) != 0) &&
							strcmp(columns[i].name, NameStr(attribute->attname)) == 0);
	if (!filled)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TABLE_DEFINITION),
				 errmsg("column \"%s\" of table %s must not be null, and has no default", NameStr(attribute->attname),
						clari_table_name(RelationGetRelid(target))),
				 errdetail("A merge fills only the columns of forecasts, and only those of the exported types.")));
}

/*
 * Checks that updates (and deletes) of the target and its partitions can be
 * replicated; sets composed, pages and swallows.
 */
static void
check_members(ClariMerge *merge, bool deletes)
{
	List *members = find_all_inheritors(merge->target, ShareRowExclusiveLock, NULL);
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
check_target(ClariMerge *merge, Relation target, uint32 types, bool deletes)
{
	if (target->rd_rules != NULL)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot merge into %s: it has rules", merge->target_name)));
	if (check_enable_rls(merge->target, InvalidOid, true) == RLS_ENABLED)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot merge into %s: row security hides rows of it", merge->target_name),
						errhint("Merge as a role to which its policies do not apply, such as its owner.")));
	for (int i = 0; i < RelationGetNumberOfAttributes(target); i++)
		check_attribute(target, TupleDescAttr(RelationGetDescr(target), i), merge->by_user, types);
	check_members(merge, deletes);
}

/* ------- preparing a merge ------- */

ClariMerge *
clari_merge_of_target(Relation target, uint32 types)
{
	ClariMerge *merge = palloc0(sizeof(ClariMerge));
	StringInfoData texts[3];
	Relation index;

	merge->target = RelationGetRelid(target);
	merge->target_name = clari_table_name(merge->target);
	check_columns(merge->target, false);
	index = open_key(target, &merge->by_user);
	for (int i = 0; i < (int) lengthof(texts); i++)
		initStringInfo(&texts[i]);
	for (int i = 0; i < KEY_COLUMNS; i++)
		add_key(merge, index, i, &texts[0], &texts[1], &texts[2]);
	merge->same_key = texts[0].data;
	merge->keys = texts[1].data;
	merge->usable = texts[2].data;
	merge->hash = hash_of(index, merge);
	clari_merge_set_types(merge, types);
	index_close(index, NoLock);
	return merge;
}

ClariMerge *
clari_merge_open(Oid target, Oid source, const ClariOptions *options, bool deletes)
{
	uint32 types = options != NULL ? options->request.types : CLARI_TYPES_ALL;
	const char *only = options != NULL ? "ONLY " : "";
	Relation relation = table_open(target, NoLock);
	ClariMerge *merge = clari_merge_of_target(relation, types);

	merge->source = source;
	merge->source_name = clari_table_name(source);
	merge->handed.relid = source;
	check_columns(source, merge->by_user);
	/* Only rows of the foreign table itself are handed over, not those of its children. */
	merge->from = psprintf("%s%s AS s", only, merge->source_name);
	if (options != NULL && options->request.include_historical)
		/* An owner has a row per week, of which the latest is merged.  A file without weeks has one row per owner. */
		merge->from =
			psprintf("%s%s AS s JOIN (SELECT w.time_period, max(w.week_start) AS week_start FROM %s%s AS w GROUP BY 1) "
					 "AS w ON w.time_period = s.time_period AND (w.week_start = s.week_start OR w.week_start IS NULL)",
					 only, merge->source_name, only, merge->source_name);
	check_target(merge, relation, types, deletes);
	merge->distributed = clari_table_is_distributed(target);
	table_close(relation, NoLock);
	return merge;
}

/* ------- distributed by Citus ------- */

/* Does Citus keep the two tables' rows of one key on the same node? */
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
						errmsg("tables %s and %s are not distributed by %s and colocated", clari_table_name(target),
							   clari_table_name(staging), key),
						errhint("SELECT create_distributed_table(..., colocate_with => ...);")));
}

ClariMerge *
clari_merge_open_staged(const ClariMerge *foreign, const ClariOptions *options, bool deletes)
{
	Oid staging = find_own_table("staging_clari");
	ClariOptions staged = *options;
	ClariMerge *merge;
	ClariCommand command;

	staged.request.include_historical = false; /* only the latest week is staged */
	clari_merge_execute(psprintf("LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", clari_table_name(staging)),
						SPI_OK_UTILITY);
	merge = clari_merge_open(foreign->target, staging, &staged, deletes);
	clari_merge_check_colocated(foreign->target, staging, columns[foreign->by_user ? USER_ID : 2].name);
	command = (ClariCommand){.text = psprintf("SELECT FROM %s AS s LIMIT 1", merge->source_name), .tables = {staging}};
	if (clari_command_run(&command).nrows > 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("staging table %s is not empty", merge->source_name),
						errdetail("Rows that others have staged there would also be merged."),
						errhint("Merge them with clari_merge(), and then TRUNCATE %s.", merge->source_name)));
	return merge;
}
