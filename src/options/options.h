/*
 * options.h
 *		The options of servers, user mappings, tables and columns: one table of
 *		them, the validator, and the merged result.
 *
 * Runs in sessions.  Reads catalogs; never the network, never a plan.
 */
#ifndef CLARI_OPTIONS_H
#define CLARI_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "clari/attribute.h"
#include "clari/period.h"
#include "clari/period_type.h"
#include "clari/request.h"

/* A foreign table's options, the server's included, defaults filled in. */
typedef struct ClariOptions
{
	Oid relid;
	Oid serverid;
	ClariObject object;
	ClariExtent extent;   /* without ranges: the object has no periods */
	char *periods;        /* the extent's text */
	bool has_periods;     /* the table has that option; else the text is the default */
	char *forecast_name;  /* what the column of that name shows, UTF-8: the forecast's id, if nothing else */
	char *forecast_field; /* id or name, or NULL */
	char *quota_field;
	ClariPeriodType period_type;  /* of what "forecasts" shows */
	int64 cache_ttl;              /* µs */
	int64 closed_period_ttl;      /* µs */
	int64 stale_while_revalidate; /* µs */
	int64 stale_if_error;         /* µs */
	ClariRequest request;         /* without the period and the HMAC of the key */
	ClariTransport transport;     /* without key */
} ClariOptions;

/*
 * Checks the options as given to CREATE or ALTER of an object of the catalog
 * (ForeignServerRelationId …).  Raises ERRCODE_FDW_INVALID_OPTION_NAME with
 * the valid names in the hint, ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE with option,
 * what would do, and the value unless it is a secret; or
 * ERRCODE_INSUFFICIENT_PRIVILEGE.
 */
extern void clari_options_validate(List *options, Oid catalog);

/*
 * The merged options of a foreign table, palloc'd in the current context.
 * Raises ERRCODE_FDW_OPTION_NAME_NOT_FOUND where "forecast" is missing, and
 * ERRCODE_WRONG_OBJECT_TYPE if the table is not one of clari_fdw's.
 */
extern ClariOptions *clari_options_get(Oid relid);

/* The options of another table, without column, that shows an object of the account; palloc'd in the current context. */
extern ClariOptions *clari_options_of_account(const ClariOptions *options, ClariObject object);

/*
 * Checks the options that IMPORT would give a table of this server, of a forecast or
 * of the account.  Raises what clari_options_get() raises.
 */
extern void clari_options_check_import(Oid serverid, bool of_account, List *table_options);

/*
 * Fills in the API key of userid's mapping (transport.api_key and
 * request.api_key_hmac).  With missing_ok, false when there is no mapping or no
 * key; otherwise that raises ERRCODE_UNDEFINED_OBJECT or
 * ERRCODE_FDW_OPTION_NAME_NOT_FOUND with a hint that shows the statement.
 */
extern bool clari_options_authenticate(ClariOptions *options, Oid userid, bool missing_ok);

#endif /* CLARI_OPTIONS_H */
