/*
 * internal.h
 *		What the files of room options share: the line of the option table,
 *		and the functions that convert an option's text to its value.
 */
#ifndef CLARI_OPTIONS_INTERNAL_H
#define CLARI_OPTIONS_INTERNAL_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/pg_list.h"

/* Where an option may be set. */
#define CLARI_AT_SERVER (1 << 0)
#define CLARI_AT_MAPPING (1 << 1)
#define CLARI_AT_TABLE (1 << 2)
#define CLARI_AT_COLUMN (1 << 3)
#define CLARI_AT_IMPORT (1 << 4)         /* OPTIONS of IMPORT FOREIGN SCHEMA */
#define CLARI_AT_ACCOUNT (1 << 5)        /* a foreign table of the account; excludes CLARI_AT_TABLE */
#define CLARI_AT_ACCOUNT_IMPORT (1 << 6) /* IMPORT of the account's tables; excludes CLARI_AT_IMPORT */

/* Who may set an option. */
typedef enum ClariPrivilege
{
	CLARI_FOR_ALL,
	CLARI_FOR_FILE_READERS, /* superusers and members of pg_read_server_files */
	CLARI_FOR_SUPERUSERS
} ClariPrivilege;

typedef struct ClariOption ClariOption;

/* Checks the text, raises an error if it is invalid, and stores its value in target unless that is NULL. */
typedef void ClariSetOption(const ClariOption *option, const char *text, void *target);

/* One line of the option table. */
struct ClariOption
{
	const char *name;
	int places; /* where it may be set: CLARI_AT_... */
	ClariSetOption *set;
	size_t offset;      /* of the value in ClariOptions; 0 (the offset of relid) if it is not stored there */
	const char *preset; /* value if the option is not set, or NULL */
	int unit;           /* GUC_UNIT_... of a number without unit, or 0 */
	int min;            /* of numbers, in that unit */
	int max;            /* of numbers; for texts, the maximum size in bytes, including the NUL */
	ClariPrivilege privilege;
	bool secret; /* no message shows its text */
};

/* ------- values (value.c) ------- */

/*
 * Raises ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE, with the option, its text, which
 * values it takes, and the hint unless that is NULL.  text must be NULL if it
 * might contain a secret.
 */
extern void clari_option_refuse(const ClariOption *option, const char *text, const char *takes, const char *hint)
	__attribute__((noreturn));

/* One function for each kind of option, with the type of its target. */
extern ClariSetOption clari_option_set_base_url;    /* char[option->max] */
extern ClariSetOption clari_option_set_bool;        /* bool */
extern ClariSetOption clari_option_set_currency;    /* char[4] */
extern ClariSetOption clari_option_set_duration;    /* int64, microseconds */
extern ClariSetOption clari_option_set_endpoint;    /* ClariEndpoint */
extern ClariSetOption clari_option_set_format;      /* ClariFormat */
extern ClariSetOption clari_option_set_int;         /* int32, in option->unit */
extern ClariSetOption clari_option_set_key;         /* none: only checks */
extern ClariSetOption clari_option_set_object;      /* ClariObject */
extern ClariSetOption clari_option_set_path;        /* char[option->max] */
extern ClariSetOption clari_option_set_period_type; /* ClariPeriodType */
extern ClariSetOption clari_option_set_periods;     /* ClariExtent */
extern ClariSetOption clari_option_set_prefix;      /* none: only checks */
extern ClariSetOption clari_option_set_proxy;       /* char[option->max] */
extern ClariSetOption clari_option_set_schedule;    /* ClariSchedule */
extern ClariSetOption clari_option_set_secret;      /* char[option->max] */
extern ClariSetOption clari_option_set_string;      /* char *, palloc'd, UTF-8 */
extern ClariSetOption clari_option_set_text;        /* char[option->max], UTF-8 */
extern ClariSetOption clari_option_set_types;       /* uint32_t */

/* Can the text be the value of an HTTP header, as an API key must? */
extern bool clari_is_api_key(const char *text);

/* For a valid base_url: is the host one of Clari's, with a name below clari.com? */
extern bool clari_url_is_of_clari(const char *url);

/* For a valid base_url: is it an https URL, or of a loopback host? */
extern bool clari_url_is_safe(const char *url);

/* ------- the table (options.c) ------- */

/*
 * Returns the text of the named option in a catalog's list, palloc'd, or NULL
 * if it is not set.  Raises ERRCODE_FDW_INVALID_OPTION_NAME if the list has an
 * option that may not be set at this place.
 */
extern char *clari_options_text(List *options, int place, const char *name);

/*
 * Converts the text as for the option of that name, and stores the value in
 * target.  Raises an error if it is invalid.
 */
extern void clari_options_store(const char *name, const char *text, void *target);

/* Returns the column's option "key", palloc'd, or NULL. */
extern char *clari_options_column_key(Oid relid, AttrNumber attnum);

#endif /* CLARI_OPTIONS_INTERNAL_H */
