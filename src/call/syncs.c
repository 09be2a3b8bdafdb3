/*
 * syncs.c
 *		The tables that clari_create_tables() makes, and the records of clari_sync
 *		in clari_syncs: see internal.h.
 *
 * Runs in sessions, with the caller's rights.  Rows of clari_syncs are written
 * under the lock on their target.
 */
#include "postgres.h"

#include "call/internal.h"

#include "base/report.h"
#include "compat.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

CLARI_FUNCTION(clari_create_tables);

#define ACCOUNT ", account "

/* ------- sources ------- */

static void
add_named(StringInfo text, const char *what, const char *value)
{
	if (value != NULL && value[0] != '\0')
		appendStringInfo(text, "%s%s %s", text->len > 0 ? ", " : "", what, quote_identifier(clari_report_text(value)));
}

char *
clari_syncs_source(const ClariOptions *options)
{
	const ClariRequest *request = &options->request;
	ClariAccountFacts facts;
	StringInfoData text;
	ClariKey account;
	ClariError error;

	initStringInfo(&text);
	add_named(&text, "server", GetForeignServer(options->serverid)->servername);
	add_named(&text, "forecast", request->forecast);
	add_named(&text, "currency", request->currency);
	add_named(&text, "scope", request->scope_id);
	add_named(&text, "endpoint", request->endpoint == CLARI_ENDPOINT_FORECAST ? "forecast" : NULL);
	add_named(&text, "forecast field", options->forecast_field);
	add_named(&text, "quota field", options->quota_field);
	if (options->period_type != CLARI_QUARTERS)
		add_named(&text, "period type", clari_period_type_names[options->period_type]);
	for (int i = 0; i < CLARI_TYPES_COUNT && request->types != CLARI_TYPES_ALL; i++)
		if (request->types & (1U << i))
			add_named(&text, "type", clari_type_names[i]);
	if (!clari_request_account(request, &account, &error))
		clari_error_report(ERROR, &error);
	clari_cache_account(&account, &facts);
	if (facts.user_id[0] != '\0')
		appendStringInfo(&text, ACCOUNT "%s",
						 clari_report_text(psprintf("%s of %s", facts.user_id, facts.organization)));
	return text.data;
}

/* Are the two sources the same?  If the account of one is not known, it is not compared. */
static bool
is_same(const char *a, const char *b)
{
	const char *a_account = strstr(a, ACCOUNT);
	const char *b_account = strstr(b, ACCOUNT);
	size_t a_length = a_account != NULL ? (size_t) (a_account - a) : strlen(a);
	size_t b_length = b_account != NULL ? (size_t) (b_account - b) : strlen(b);

	return a_length == b_length && strncmp(a, b, a_length) == 0 &&
		   (a_account == NULL || b_account == NULL || strcmp(a_account, b_account) == 0);
}

/* ------- the table ------- */

/*
 * Locks the creation of tables in the schema.  A session that creates them at the
 * same time waits, and then finds them.
 */
static void
lock_schema(const char *schema)
{
	LockDatabaseObject(NamespaceRelationId, get_namespace_oid(schema, false), 0, ShareUpdateExclusiveLock);
}

/*
 * Creates a table.  Types in the definition must be qualified: the search_path
 * may contain others with the same names.
 */
static void
create_table(const char *persistence, const char *schema, const char *name, const char *definition)
{
	char *text = psprintf("CREATE %sTABLE IF NOT EXISTS %s (%s)", persistence, quote_qualified_identifier(schema, name),
						  definition);

	if (SPI_execute(text, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "could not create table %s", name);
	CommandCounterIncrement();
}

static void
create_syncs(const char *schema)
{
	create_table("", schema, "clari_syncs",
				 "target pg_catalog.regclass, forecast_name pg_catalog.text, time_period pg_catalog.text, "
				 "source pg_catalog.text NOT NULL, job_id pg_catalog.text, exported_at pg_catalog.timestamptz, "
				 "confirmed_at pg_catalog.timestamptz, inserted pg_catalog.int8, updated pg_catalog.int8, "
				 "unchanged pg_catalog.int8, deleted pg_catalog.int8, skipped pg_catalog.int8, "
				 "error pg_catalog.text, failed_at pg_catalog.timestamptz, "
				 "PRIMARY KEY (target, forecast_name, time_period)");
}

Oid
clari_syncs_open(Oid target)
{
	Oid schema = get_rel_namespace(target);
	Oid syncs = get_relname_relid("clari_syncs", schema);

	if (!OidIsValid(syncs))
	{
		lock_schema(get_namespace_name(schema));
		create_syncs(get_namespace_name(schema));
		syncs = get_relname_relid("clari_syncs", schema);
	}
	/*
	 * With the lock, only triggers in this transaction can drop the table; an event
	 * trigger may already have moved it.
	 */
	if (OidIsValid(syncs))
		LockRelationOid(syncs, RowExclusiveLock);
	clari_table_check_beside(syncs, "clari_syncs", target);
	return syncs;
}

static char *
literal(const char *text)
{
	return text != NULL ? quote_literal_cstr(text) : "NULL";
}

char *
clari_syncs_check(Oid syncs, Oid target, const ClariPart *part, const char *source, TimestampTz exported_at,
				  bool *newer)
{
	ClariCommand command = {
		.text = psprintf("SELECT source, (exported_at > %s)::int FROM %s "
						 "WHERE exported_at IS NOT NULL AND target = %u AND forecast_name = %s AND time_period = %s",
						 clari_command_time(exported_at), clari_table_name(syncs), target, literal(part->forecast_name),
						 literal(part->time_period)),
		.tables = {syncs},
		.few = true};
	ClariCommandResult result = clari_command_run(&command);

	*newer = clari_command_number(&result, 1) != 0;
	if (result.nrows == 0 || is_same(result.rows[0][0], source))
		return NULL;
	return psprintf("the rows of forecast_name \"%s\" come from another source (%s; not %s)", part->forecast_name,
					result.rows[0][0], source);
}

/* For a merged export (job_id is set), sets all columns; for a failure, only source, error and failed_at. */
void
clari_syncs_note(Oid syncs, Oid target, const char *source, const ClariSyncsRow *row)
{
	const ClariCounts *counts = &row->part->counts;
	/* An export of the Forecast API has no job. */
	const char *job_id = row->job_id != NULL && row->job_id[0] != '\0' ? row->job_id : NULL;
	char *now = clari_command_time(GetCurrentTimestamp());
	StringInfoData text;
	ClariCommand command = {.tables = {syncs}, .few = true};

	initStringInfo(&text);
	appendStringInfo(
		&text,
		"INSERT INTO %s AS c (target, forecast_name, time_period, source, error, failed_at, job_id, "
		"exported_at, confirmed_at, inserted, updated, unchanged, deleted, skipped) VALUES (%u, %s, %s, %s, "
		"%s, %s, %s",
		clari_table_name(syncs), target, literal(row->part->forecast_name), literal(row->part->time_period),
		literal(source), literal(row->error), row->error != NULL ? now : "NULL", literal(job_id));
	if (row->job_id != NULL)
		appendStringInfo(&text,
						 ", %s, %s, " INT64_FORMAT ", " INT64_FORMAT ", " INT64_FORMAT ", " INT64_FORMAT
						 ", " INT64_FORMAT ")",
						 clari_command_time(row->exported_at), row->error == NULL ? now : "NULL", counts->inserted,
						 counts->updated, counts->unchanged, counts->deleted, counts->skipped);
	else
		appendStringInfoString(&text, ", NULL, NULL, NULL, NULL, NULL, NULL, NULL)");
	appendStringInfoString(&text,
						   " ON CONFLICT (target, forecast_name, time_period) DO UPDATE SET error = excluded.error, "
						   "failed_at = excluded.failed_at, source = ");
	/* A source that failed does not replace the source of rows that were merged. */
	if (row->job_id == NULL)
		appendStringInfoString(&text, "CASE WHEN c.exported_at IS NULL THEN excluded.source ELSE c.source END");
	else
		appendStringInfoString(
			&text, "excluded.source, job_id = excluded.job_id, exported_at = excluded.exported_at, "
				   "confirmed_at = coalesce(excluded.confirmed_at, c.confirmed_at), "
				   "inserted = excluded.inserted, updated = excluded.updated, "
				   "unchanged = excluded.unchanged, deleted = excluded.deleted, skipped = excluded.skipped");
	/* The quarter's own row may be of another source, which has not failed. */
	if (row->stands_in)
		appendStringInfoString(&text, " WHERE c.exported_at IS NULL");
	command.text = text.data;
	command.only_check = row->part->time_period == NULL;
	(void) clari_command_run(&command);
}

void
clari_syncs_clear(Oid syncs, Oid target, const ClariPart *stand_in)
{
	ClariCommand command = {
		.text =
			psprintf("UPDATE %s SET error = NULL, failed_at = NULL WHERE target = %u AND forecast_name = %s "
					 "AND time_period = %s AND exported_at IS NULL AND error IS NOT NULL",
					 clari_table_name(syncs), target, literal(stand_in->forecast_name), literal(stand_in->time_period)),
		.tables = {syncs},
		.few = true};

	(void) clari_command_run(&command);
}

/* ------- clari_create_tables() ------- */

#define TEN_COLUMNS                                                                                                    \
	"owner_name pg_catalog.text, owner_email pg_catalog.text, forecast_amount pg_catalog.numeric, "                    \
	"quota_amount pg_catalog.numeric, crm_total pg_catalog.numeric, crm_closed pg_catalog.numeric, "                   \
	"adjustment_amount pg_catalog.numeric, time_period pg_catalog.text, exported_at pg_catalog.timestamptz, "          \
	"forecast_name pg_catalog.text"

/* Distributes both tables by the owner, colocated.  Citus has its functions in pg_catalog. */
static void
distribute(const char *schema, const char *key)
{
	Oid target = get_relname_relid("clari_forecasts", get_namespace_oid(schema, false));
	Oid staging = get_relname_relid("staging_clari", get_namespace_oid(schema, false));

	if (SPI_execute(
			psprintf("SELECT pg_catalog.create_distributed_table(c.oid::pg_catalog.regclass, %s::pg_catalog.text, "
					 "colocate_with => CASE WHEN c.oid OPERATOR(pg_catalog.=) %u::pg_catalog.oid "
					 "THEN 'default'::pg_catalog.text ELSE %s::pg_catalog.text END) "
					 "FROM pg_catalog.unnest(ARRAY[%u, %u]::pg_catalog.oid[]) AS c (oid) WHERE NOT EXISTS "
					 "(SELECT FROM pg_catalog.pg_dist_partition AS d WHERE d.logicalrelid::pg_catalog.oid "
					 "OPERATOR(pg_catalog.=) c.oid)",
					 quote_literal_cstr(key), target,
					 quote_literal_cstr(quote_qualified_identifier(schema, "clari_forecasts")), target, staging),
			false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not distribute the tables");
	clari_merge_check_colocated(target, staging, key);
}

/* SQL clari_create_tables(distributed, key): see doc/clari_fdw.md. */
Datum
clari_create_tables(PG_FUNCTION_ARGS)
{
	bool distributed = !PG_ARGISNULL(0) && PG_GETARG_BOOL(0);
	char *key = PG_ARGISNULL(1) ? "owner_email" : text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool by_user = strcmp(key, "user_id") == 0;
	List *path = fetch_search_path(false);
	const char *columns = by_user ? TEN_COLUMNS ", user_id pg_catalog.text" : TEN_COLUMNS;
	char *schema;

	clari_version_check_call(fcinfo, 2);
	PreventCommandIfReadOnly("clari_create_tables()");
	PreventCommandDuringRecovery("clari_create_tables()");
	if (!by_user && strcmp(key, "owner_email") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"key\" must be \"owner_email\" or \"user_id\"")));
	if (path == NIL || (schema = get_namespace_name(linitial_oid(path))) == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_SCHEMA), errmsg("no schema has been selected to create in"),
						errhint("Set search_path to the schema in which to create the tables.")));
	if (distributed && !OidIsValid(get_extension_oid("citus", true)))
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot distribute tables: extension \"citus\" is not installed"),
						errhint("Create extension \"citus\", or omit argument \"distributed\".")));
	SPI_connect();
	lock_schema(schema);
	create_table("", schema, "clari_forecasts",
				 psprintf("%s, PRIMARY KEY (time_period, forecast_name, %s)", columns, key));
	/*
	 * Staged rows can be exported again and need no WAL. But Citus does not move
	 * shards of tables that have no key or no WAL.
	 */
	if (distributed)
		create_table(
			"", schema, "staging_clari",
			psprintf("%s, id pg_catalog.int8 GENERATED ALWAYS AS IDENTITY, PRIMARY KEY (%s, id)", columns, key));
	else
		create_table("UNLOGGED ", schema, "staging_clari", columns);
	create_syncs(schema);
	if (distributed)
		distribute(schema, key);
	SPI_finish();
	PG_RETURN_VOID();
}
