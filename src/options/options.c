/*
 * options.c
 *		The options of servers, user mappings, tables and columns: see
 *		options.h.
 *
 * One table says of each option where it may be set, how its text becomes a
 * value, what its default is, and where the value is stored in ClariOptions.
 * The validator and the merge both read that table.
 *
 * Runs in sessions.  Reads catalogs through the syscache, and
 * pg_foreign_server by a scan (check_host()); never uses a file, the network
 * or a plan.
 */
#include "postgres.h"

#include <limits.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/reloptions.h"
#include "access/table.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "options/options.h"
#include "options/internal.h"

#define FIELD(field) offsetof(ClariOptions, field)
#define ALL_TYPES "forecast,quota,forecast_updated,adjustment,crm_total,crm_closed"
#define AT_SERVER_OR_TABLE (CLARI_AT_SERVER | CLARI_AT_TABLE | CLARI_AT_IMPORT)
#define AT_TABLES (CLARI_AT_TABLE | CLARI_AT_IMPORT)
#define AT_ACCOUNTS (CLARI_AT_ACCOUNT | CLARI_AT_ACCOUNT_IMPORT)

/* The default of "cache_ttl" for tables of the account. */
#define ACCOUNT_TTL "10s"

/* clang-format off */
static const ClariOption option_table[] = {
	{"base_url", CLARI_AT_SERVER, clari_option_set_base_url, .offset = FIELD(request.base_url), .preset = "https://api.clari.com/v4", .max = CLARI_URL_SIZE},
	{"allow_http", CLARI_AT_SERVER, clari_option_set_bool, .privilege = CLARI_FOR_SUPERUSERS},
	{"max_concurrent_exports", CLARI_AT_SERVER, clari_option_set_int, .offset = FIELD(transport.max_concurrent_exports), .preset = "3", .min = 1, .max = 64},
	{"connect_timeout", CLARI_AT_SERVER, clari_option_set_int, .offset = FIELD(transport.connect_timeout), .preset = "10s", .unit = GUC_UNIT_MS, .min = 1, .max = INT_MAX},
	{"request_timeout", CLARI_AT_SERVER, clari_option_set_int, .offset = FIELD(transport.request_timeout), .preset = "2min", .unit = GUC_UNIT_MS, .min = 1, .max = INT_MAX},
	{"export_timeout", CLARI_AT_SERVER, clari_option_set_int, .offset = FIELD(transport.export_timeout), .preset = "15min", .unit = GUC_UNIT_MS, .min = 1, .max = INT_MAX},
	{"poll_interval", CLARI_AT_SERVER, clari_option_set_int, .offset = FIELD(transport.poll_interval), .preset = "250ms", .unit = GUC_UNIT_MS, .min = 1, .max = INT_MAX},
	{"max_poll_interval", CLARI_AT_SERVER, clari_option_set_int, .offset = FIELD(transport.max_poll_interval), .preset = "5s", .unit = GUC_UNIT_MS, .min = 1, .max = INT_MAX},
	{"max_export_size", CLARI_AT_SERVER, clari_option_set_int, .offset = FIELD(transport.max_export_size), .preset = "2GB", .unit = GUC_UNIT_KB, .min = 1, .max = INT_MAX},
	{"max_retries", CLARI_AT_SERVER, clari_option_set_int, .offset = FIELD(transport.max_retries), .preset = "5", .min = 0, .max = 100},
	{"ca_file", CLARI_AT_SERVER, clari_option_set_path, .offset = FIELD(transport.ca_file), .max = CLARI_PATH_SIZE, .privilege = CLARI_FOR_FILE_READERS},
	{"proxy", CLARI_AT_SERVER, clari_option_set_proxy, .offset = FIELD(transport.proxy), .max = CLARI_URL_SIZE, .privilege = CLARI_FOR_SUPERUSERS},

	{"cache_ttl", AT_SERVER_OR_TABLE | AT_ACCOUNTS, clari_option_set_duration, .offset = FIELD(cache_ttl), .preset = "4h", .unit = GUC_UNIT_S, .min = 0, .max = INT_MAX},
	{"closed_period_ttl", AT_SERVER_OR_TABLE, clari_option_set_duration, .offset = FIELD(closed_period_ttl), .preset = "1d", .unit = GUC_UNIT_S, .min = 0, .max = INT_MAX},
	{"stale_while_revalidate", AT_SERVER_OR_TABLE | AT_ACCOUNTS, clari_option_set_duration, .offset = FIELD(stale_while_revalidate), .preset = "0", .unit = GUC_UNIT_S, .min = 0, .max = INT_MAX},
	{"stale_if_error", AT_SERVER_OR_TABLE | AT_ACCOUNTS, clari_option_set_duration, .offset = FIELD(stale_if_error), .preset = "0", .unit = GUC_UNIT_S, .min = 0, .max = INT_MAX},

	{"object", CLARI_AT_TABLE | CLARI_AT_ACCOUNT, clari_option_set_object, .offset = FIELD(object), .preset = "forecasts"},
	{"forecast", CLARI_AT_TABLE, clari_option_set_text, .offset = FIELD(request.forecast), .max = CLARI_NAME_SIZE},
	{"periods", AT_TABLES, clari_option_set_periods, .offset = FIELD(extent), .preset = "current"},
	{"types", AT_TABLES, clari_option_set_types, .offset = FIELD(request.types), .preset = ALL_TYPES},
	{"currency", AT_TABLES, clari_option_set_currency, .offset = FIELD(request.currency)},
	{"scope_id", AT_TABLES, clari_option_set_text, .offset = FIELD(request.scope_id), .max = CLARI_NAME_SIZE},
	{"include_historical", AT_TABLES, clari_option_set_bool, .offset = FIELD(request.include_historical), .preset = "false"},
	{"format", AT_TABLES, clari_option_set_format, .offset = FIELD(request.format), .preset = "json"},
	{"endpoint", AT_TABLES, clari_option_set_endpoint, .offset = FIELD(request.endpoint), .preset = "export"},
	{"period_type", AT_TABLES, clari_option_set_period_type, .offset = FIELD(period_type), .preset = "quarter"},
	{"schedule", AT_TABLES, clari_option_set_schedule, .offset = FIELD(transport.schedule), .preset = "NONE"},
	{"forecast_name", AT_TABLES, clari_option_set_string, .offset = FIELD(forecast_name), .max = CLARI_NAME_SIZE},
	{"forecast_field", AT_TABLES, clari_option_set_string, .offset = FIELD(forecast_field), .max = CLARI_NAME_SIZE},
	{"quota_field", AT_TABLES, clari_option_set_string, .offset = FIELD(quota_field), .max = CLARI_NAME_SIZE},
	{"allow_truncated", AT_TABLES, clari_option_set_bool, .offset = FIELD(transport.allow_truncated), .preset = "false"},

	/* Leaves room for the longest of clari_object_names. */
	{"table_prefix", CLARI_AT_IMPORT | CLARI_AT_ACCOUNT_IMPORT, clari_option_set_prefix, .max = NAMEDATALEN - 12},
	{"key", CLARI_AT_COLUMN, clari_option_set_key, .offset = 0},
	{"api_key", CLARI_AT_MAPPING, clari_option_set_secret, .offset = FIELD(transport.api_key), .max = CLARI_API_KEY_SIZE, .secret = true},
	{"api_key_file", CLARI_AT_MAPPING, clari_option_set_path, .max = CLARI_PATH_SIZE, .privilege = CLARI_FOR_FILE_READERS},
};
/* clang-format on */

/* The texts of one object's options, in option_table's order; NULL if not set. */
typedef struct OptionTexts
{
	const char *text[lengthof(option_table)];
} OptionTexts;

static int
find_option(const char *name)
{
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (strcmp(option_table[i].name, name) == 0)
			return i;
	return -1;
}

static const char *
text_of(const OptionTexts *texts, const char *name)
{
	return texts->text[find_option(name)];
}

/* Returns the text of the named option in a catalog's list, palloc'd, or NULL if it is not set. */
static char *
find_text(List *options, const char *name)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *given = lfirst_node(DefElem, cell);

		if (strcmp(given->defname, name) == 0)
			return pstrdup(defGetString(given));
	}
	return NULL;
}

/* Is a table with these options one of the account?  An invalid object is refused elsewhere. */
static bool
is_of_account(List *options)
{
	const char *text = find_text(options, "object");

	for (int object = 0; text != NULL && object < CLARI_OBJECT_COUNT; object++)
		if (strcmp(text, clari_object_names[object]) == 0)
			return clari_object_is_of_account(object);
	return false;
}

/*
 * Is this our foreign-data wrapper, whatever its name?  Decided by the symbol
 * of the handler, because calling the handler would load its library.
 */
static bool
is_clari_wrapper(Oid fdwid)
{
	Oid handler = GetForeignDataWrapper(fdwid)->fdwhandler;
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(handler));
	bool result = false;
	bool isnull;
	Datum symbol;

	if (!HeapTupleIsValid(tuple))
		return false;
	symbol = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == ClanguageId && !isnull)
		result = strcmp(TextDatumGetCString(symbol), "clari_fdw_handler") == 0;
	ReleaseSysCache(tuple);
	return result;
}

/* ---- Refusals ---------------------------------------------------------- */

static const char *
places_text(int places)
{
	if (places & CLARI_AT_SERVER)
		return places & CLARI_AT_TABLE ? "servers and foreign tables" : "servers";
	if (places & CLARI_AT_MAPPING)
		return "user mappings";
	if (places & CLARI_AT_TABLE)
		return "foreign tables";
	return places & CLARI_AT_COLUMN ? "foreign tables' columns" : "IMPORT FOREIGN SCHEMA";
}

__attribute__((noreturn)) static void
refuse_name(const char *name, int place)
{
	int known = find_option(name);
	bool of_forecasts = known >= 0 && (place & AT_ACCOUNTS) != 0 && (option_table[known].places & CLARI_AT_TABLE) != 0;
	StringInfoData valid;

	initStringInfo(&valid);
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (option_table[i].places & place)
			appendStringInfo(&valid, "%s%s", valid.len > 0 ? ", " : "", option_table[i].name);
	ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME), errmsg("invalid option \"%s\"", name),
					of_forecasts ? errdetail("It is an option of foreign tables that show a forecast.")
					: known >= 0 ? errdetail("It is an option of %s.", places_text(option_table[known].places))
								 : 0,
					valid.len > 0 ? errhint("Valid options in this context are: %s", valid.data)
								  : errhint("There are no valid options in this context.")));
}

/*
 * The validator gets the object's complete new list, so it cannot tell an
 * option that is being set from one that was set before.  Therefore, as with
 * postgres_fdw's password_required, a user who may not set the option may not
 * alter an object that has it either; only drop it.  This is needed anyway:
 * otherwise the owner of a server could change base_url while keeping an
 * allow_http that a superuser has set for another address.
 */
static void
check_privilege(const ClariOption *option)
{
	bool allowed = superuser();

	if (option->privilege == CLARI_FOR_FILE_READERS)
		allowed = allowed || has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
	if (option->privilege == CLARI_FOR_ALL || allowed)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to set option \"%s\"", option->name),
			 option->privilege == CLARI_FOR_SUPERUSERS
				 ? errdetail("Only superusers may set it, or alter an object on which it is set.")
				 : errdetail("Only superusers and members of pg_read_server_files may set it, or alter an "
							 "object on which it is set.")));
}

/* ---- The validator ----------------------------------------------------- */

/*
 * Stores the list's options in texts, replacing those that are set there.
 * Raises an error for an option that may not be set at this place.
 */
static void
collect(OptionTexts *texts, List *options, int place)
{
	ListCell *cell;

	foreach (cell, options)
	{
		DefElem *given = lfirst_node(DefElem, cell);
		int i = find_option(given->defname);

		if (i < 0 || (option_table[i].places & place) == 0)
			refuse_name(given->defname, place);
		texts->text[i] = defGetString(given);
	}
}

char *
clari_options_text(List *options, int place, const char *name)
{
	OptionTexts texts = {0};
	const char *text;

	collect(&texts, options, place);
	text = text_of(&texts, name);
	return text == NULL ? NULL : pstrdup(text);
}

void
clari_options_store(const char *name, const char *text, void *target)
{
	const ClariOption *option = &option_table[find_option(name)];

	option->set(option, text, target);
}

__attribute__((noreturn)) static void
refuse_of_forecast_api(const char *other, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 errmsg("option \"endpoint\" 'forecast' and %s are mutually exclusive", other), errdetail("%s", why)));
}

/* Clari's Forecast API has only the latest week, and only JSON. */
static void
check_forecast_api(const OptionTexts *texts)
{
	ClariEndpoint endpoint = CLARI_ENDPOINT_EXPORT;
	ClariFormat format = CLARI_FORMAT_JSON;
	bool historical = false;

	if (text_of(texts, "endpoint") != NULL)
		clari_options_store("endpoint", text_of(texts, "endpoint"), &endpoint);
	if (text_of(texts, "include_historical") != NULL)
		clari_options_store("include_historical", text_of(texts, "include_historical"), &historical);
	if (text_of(texts, "format") != NULL)
		clari_options_store("format", text_of(texts, "format"), &format);
	if (endpoint != CLARI_ENDPOINT_FORECAST)
		return;
	if (historical)
		refuse_of_forecast_api("\"include_historical\"", "Clari's Forecast API has only the latest week.");
	if (format == CLARI_FORMAT_CSV)
		refuse_of_forecast_api("\"format\" 'csv'", "Clari's Forecast API answers only in JSON.");
}

/* Checks options of the same object that depend on each other. */
static void
check_together(const OptionTexts *texts)
{
	const char *url = text_of(texts, "base_url");
	const char *allow_http = text_of(texts, "allow_http");
	bool allowed = false;

	if (url != NULL && !clari_url_is_safe(url) && (allow_http == NULL || !parse_bool(allow_http, &allowed) || !allowed))
		clari_option_refuse(&option_table[find_option("base_url")], url, "plain http for loopback hosts only",
							"Use https, or have a superuser set the option \"allow_http\".");
	check_forecast_api(texts);
	if (text_of(texts, "api_key") != NULL && text_of(texts, "api_key_file") != NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("options \"api_key\" and \"api_key_file\" are mutually exclusive"),
						errhint("To replace one with the other, drop it and add the other in one statement.")));
}

/* Does the user own a server with this base_url already? */
static bool
owns_server_of(const char *url)
{
	Relation catalog = table_open(ForeignServerRelationId, AccessShareLock);
	SysScanDesc scan = systable_beginscan(catalog, InvalidOid, false, NULL, 0, NULL);
	bool result = false;
	HeapTuple tuple;

	while (!result && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Form_pg_foreign_server form = (Form_pg_foreign_server) GETSTRUCT(tuple);
		const char *other;

		if (!has_privs_of_role(GetUserId(), form->srvowner) || !is_clari_wrapper(form->srvfdw))
			continue;
		other = find_text(GetForeignServer(form->oid)->options, "base_url");
		result = other != NULL && strcmp(other, url) == 0;
	}
	systable_endscan(scan);
	table_close(catalog, AccessShareLock);
	return result;
}

/*
 * Checks that the user may set base_url to this host.  A user who can set it
 * to any host can make the worker send requests from the database's network,
 * and see the answers in error messages.  If a superuser has set base_url, the
 * server's owner may still alter its other options.  The validator is not told
 * which server it is called for; it suffices that the user owns one with the
 * same base_url.
 */
static void
check_host(const char *url)
{
	if (url == NULL || clari_url_is_of_clari(url) || superuser() || owns_server_of(url))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE), errmsg("permission denied to set option \"base_url\""),
			 errdetail("Only superusers may set it to a host other than Clari's, whose names end in .clari.com."),
			 errhint("Once a superuser has set it, the server's owner may alter the other options.")));
}

static void
check_poll_intervals(const OptionTexts *texts)
{
	const ClariOption *poll = &option_table[find_option("poll_interval")];
	const ClariOption *max_poll = &option_table[find_option("max_poll_interval")];
	int32 shortest;
	int32 longest;

	if (text_of(texts, "poll_interval") == NULL || text_of(texts, "max_poll_interval") == NULL)
		return;
	clari_option_set_int(poll, text_of(texts, "poll_interval"), &shortest);
	clari_option_set_int(max_poll, text_of(texts, "max_poll_interval"), &longest);
	if (shortest > longest)
		clari_option_refuse(max_poll, text_of(texts, "max_poll_interval"),
							"a duration no shorter than the option \"poll_interval\"", NULL);
}

/* Validates the options of one object, without those that it inherits from others. */
static void
validate(List *options, int place)
{
	OptionTexts texts = {0};

	collect(&texts, options, place);
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (texts.text[i] != NULL)
		{
			check_privilege(&option_table[i]);
			option_table[i].set(&option_table[i], texts.text[i], NULL);
		}
	check_together(&texts);
	check_host(text_of(&texts, "base_url"));
	check_poll_intervals(&texts);
}

void
clari_options_validate(List *options, Oid catalog)
{
	int place = 0; /* a foreign-data wrapper has no options */

	if (catalog == ForeignServerRelationId)
		place = CLARI_AT_SERVER;
	else if (catalog == UserMappingRelationId)
		place = CLARI_AT_MAPPING;
	else if (catalog == ForeignTableRelationId)
		place = is_of_account(options) ? CLARI_AT_ACCOUNT : CLARI_AT_TABLE;
	else if (catalog == AttributeRelationId)
		place = CLARI_AT_COLUMN;
	validate(options, place);
}

/* ---- The merge --------------------------------------------------------- */

/* Changes the options to those of an object of the account, for which no other member of the request matters. */
static void
describe_account(ClariOptions *options, ClariObject object)
{
	ClariRequest *request = &options->request;
	ClariRequest asked = {.endpoint = object == CLARI_OBJECT_LIMITS ? CLARI_ENDPOINT_LIMITS : CLARI_ENDPOINT_JOBS};

	memcpy(asked.base_url, request->base_url, sizeof(asked.base_url));
	memcpy(asked.api_key_hmac, request->api_key_hmac, sizeof(asked.api_key_hmac));
	snprintf(asked.forecast, sizeof(asked.forecast), "%s.%s", CLARI_ACCOUNT_SCHEMA, clari_object_names[object]);
	*request = asked;
	options->object = object;
	options->extent.nranges = 0;
}

ClariOptions *
clari_options_of_account(const ClariOptions *options, ClariObject object)
{
	ClariOptions *result = palloc(sizeof(ClariOptions));

	*result = *options;
	describe_account(result, object);
	clari_options_store("cache_ttl", ACCOUNT_TTL, &result->cache_ttl);
	result->stale_while_revalidate = result->stale_if_error = 0;
	return result;
}

/* Fills in all members but relid and serverid.  Stores the defaults in texts. */
static void
merge(ClariOptions *result, OptionTexts *texts)
{
	bool max_poll_given = text_of(texts, "max_poll_interval") != NULL;
	ClariTransport *transport = &result->transport;

	for (int i = 0; i < (int) lengthof(option_table); i++)
	{
		const ClariOption *option = &option_table[i];

		if (texts->text[i] == NULL)
			texts->text[i] = option->preset;
		if (texts->text[i] != NULL && option->offset != 0)
			option->set(option, texts->text[i], (char *) result + option->offset);
	}
	/*
	 * Checked again, because the validator may have been removed (ALTER … NO
	 * VALIDATOR), and the API key could be sent in clear text.
	 */
	check_together(texts);
	result->periods = pstrdup(text_of(texts, "periods"));
	if (clari_object_is_of_account(result->object))
		describe_account(result, result->object);
	if (result->forecast_name == NULL)
		result->forecast_name = pstrdup(result->request.forecast);

	/* If only one of the two is set, the default of the other gives way. */
	if (transport->poll_interval > transport->max_poll_interval)
	{
		if (max_poll_given)
			transport->poll_interval = transport->max_poll_interval;
		else
			transport->max_poll_interval = transport->poll_interval;
	}
}

/* Collects the options of a table of the account.  The server's options on the age of exports do not apply to it. */
static void
collect_of_account(OptionTexts *texts, List *options, int place)
{
	for (int i = 0; i < (int) lengthof(option_table); i++)
		if (option_table[i].places & AT_ACCOUNTS)
			texts->text[i] = NULL;
	texts->text[find_option("cache_ttl")] = ACCOUNT_TTL;
	collect(texts, options, place);
}

ClariOptions *
clari_options_get(Oid relid)
{
	ClariOptions *result = palloc0(sizeof(ClariOptions));
	OptionTexts texts = {0};
	char *name = get_rel_name(relid);
	ForeignTable *table;
	ForeignServer *server;

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE), errmsg("relation with OID %u does not exist", relid)));
	if (get_rel_relkind(relid) != RELKIND_FOREIGN_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a foreign table", name)));
	table = GetForeignTable(relid);
	server = GetForeignServer(table->serverid);
	if (!is_clari_wrapper(server->fdwid))
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a foreign table of clari_fdw", name),
						errdetail("Its server \"%s\" belongs to another foreign-data wrapper.", server->servername)));

	collect(&texts, server->options, CLARI_AT_SERVER);
	if (is_of_account(table->options))
		collect_of_account(&texts, table->options, CLARI_AT_ACCOUNT);
	else
		collect(&texts, table->options, CLARI_AT_TABLE); /* the table's option overrides the server's */
	if (!is_of_account(table->options) && text_of(&texts, "forecast") == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						errmsg("foreign table \"%s\" lacks the option \"forecast\"", name),
						errhint("ALTER FOREIGN TABLE %s OPTIONS (ADD forecast '...');",
								quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name))));
	result->relid = relid;
	result->serverid = table->serverid;
	result->has_periods = text_of(&texts, "periods") != NULL;
	merge(result, &texts);
	return result;
}

void
clari_options_check_import(Oid serverid, bool of_account, List *table_options)
{
	int place = of_account ? CLARI_AT_ACCOUNT_IMPORT : CLARI_AT_IMPORT;
	OptionTexts texts = {0};
	ClariOptions merged = {0};
	List *seen = NIL;
	ListCell *cell;

	foreach (cell, table_options)
	{
		DefElem *given = lfirst_node(DefElem, cell);

		if (strcmp(given->defname, "object") == 0 || (strcmp(given->defname, "forecast") == 0 && !of_account))
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
					 errmsg("option \"%s\" cannot be given to IMPORT FOREIGN SCHEMA", given->defname),
					 errdetail("IMPORT FOREIGN SCHEMA sets it: the remote schema is the forecast, and each object "
							   "becomes a table.")));
		/* Unlike for CREATE, PostgreSQL has not checked these for duplicates. */
		if (list_member(seen, makeString(given->defname)))
			ereport(ERROR, (errcode(ERRCODE_DUPLICATE_OBJECT),
							errmsg("option \"%s\" provided more than once", given->defname)));
		seen = lappend(seen, makeString(given->defname));
	}
	validate(table_options, place);
	collect(&texts, GetForeignServer(serverid)->options, CLARI_AT_SERVER);
	if (of_account)
		collect_of_account(&texts, table_options, place);
	else
		collect(&texts, table_options, place);
	merge(&merged, &texts);
}

char *
clari_options_column_key(Oid relid, AttrNumber attnum)
{
	return find_text(GetForeignColumnOptions(relid, attnum), "key");
}
