/*
 * options.h
 *		The options of servers, user mappings, tables and columns: the
 *		option table, the validator, and the merged result.
 *
 * Runs in sessions.  Reads catalogs, and clari_options_authenticate() the file
 * of api_key_file; never uses the network or a plan.
 */
#ifndef CLARI_OPTIONS_H
#define CLARI_OPTIONS_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "clari/attribute.h"
#include "clari/period.h"
#include "clari/period_type.h"
#include "clari/request.h"

/* The options of a foreign table, including those of its server, and defaults. */
typedef struct ClariOptions
{
	Oid relid;
	Oid serverid;
	ClariObject object;
	ClariExtent extent;   /* without ranges if the object has no periods */
	char *periods;        /* the extent's text */
	bool has_periods;     /* the table has the option; otherwise extent is the default */
	char *forecast_name;  /* value of the column of that name, UTF-8; by default the forecast's id */
	char *forecast_field; /* id or name, or NULL */
	char *quota_field;
	ClariPeriodType period_type;  /* the type of the periods that "forecasts" shows */
	int64 cache_ttl;              /* µs */
	int64 closed_period_ttl;      /* µs */
	int64 stale_while_revalidate; /* µs */
	int64 stale_if_error;         /* µs */
	ClariRequest request;         /* without the period and the HMAC of the API key */
	ClariTransport transport;     /* without the API key */
} ClariOptions;

/*
 * Checks the options given to CREATE or ALTER of an object of the catalog
 * (ForeignServerRelationId …).  Raises ERRCODE_FDW_INVALID_OPTION_NAME with
 * the valid names in the hint; ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE with the
 * option, the values it takes, and the given value unless that is a secret; or
 * ERRCODE_INSUFFICIENT_PRIVILEGE.
 */
extern void clari_options_validate(List *options, Oid catalog);

/*
 * Returns the merged options of a foreign table, palloc'd.  Raises
 * ERRCODE_FDW_OPTION_NAME_NOT_FOUND if "forecast" is missing,
 * ERRCODE_WRONG_OBJECT_TYPE if the table is not one of clari_fdw,
 * ERRCODE_UNDEFINED_TABLE if there is none, and the errors of the validator.
 */
extern ClariOptions *clari_options_get(Oid relid);

/* Returns the options, palloc'd, of an imagined table of the same server that shows an object of the account. */
extern ClariOptions *clari_options_of_account(const ClariOptions *options, ClariObject object);

/*
 * Checks the options that IMPORT FOREIGN SCHEMA would give to a table of this
 * server, which shows a forecast or, with of_account, the account.  Raises the
 * errors of the validator and of clari_options_get().
 */
extern void clari_options_check_import(Oid serverid, bool of_account, List *table_options);

/*
 * Fills in the API key of userid's mapping (transport.api_key and
 * request.api_key_hmac).  If there is no mapping or no key, returns false with
 * missing_ok; otherwise raises ERRCODE_UNDEFINED_OBJECT or
 * ERRCODE_FDW_OPTION_NAME_NOT_FOUND, with a hint that shows the statement to
 * set one.
 */
extern bool clari_options_authenticate(ClariOptions *options, Oid userid, bool missing_ok);

#endif /* CLARI_OPTIONS_H */
