/*
 * internal.h
 *		What the files of room options share: a line of the option table, and from
 *		the text of an option to its value.
 */
#ifndef CLARI_OPTIONS_INTERNAL_H
#define CLARI_OPTIONS_INTERNAL_H

#include "postgres.h"

#include "access/attnum.h"
#include "nodes/pg_list.h"

/* Where an option may stand. */
#define CLARI_AT_SERVER (1 << 0)
#define CLARI_AT_MAPPING (1 << 1)
#define CLARI_AT_TABLE (1 << 2)
#define CLARI_AT_COLUMN (1 << 3)
#define CLARI_AT_IMPORT (1 << 4)         /* OPTIONS of IMPORT FOREIGN SCHEMA */
#define CLARI_AT_ACCOUNT (1 << 5)        /* a foreign table of what the account has, instead of CLARI_AT_TABLE */
#define CLARI_AT_ACCOUNT_IMPORT (1 << 6) /* IMPORT of these, instead of CLARI_AT_IMPORT */

/* Who may set an option. */
typedef enum ClariPrivilege
{
	CLARI_FOR_ALL,
	CLARI_FOR_FILE_READERS, /* superusers and members of pg_read_server_files */
	CLARI_FOR_SUPERUSERS
} ClariPrivilege;

typedef struct ClariOption ClariOption;

/* Checks the text, raising a refusal, and unless target is NULL stores its value there. */
typedef void ClariSetOption(const ClariOption *option, const char *text, void *target);

/* One line of the option table. */
struct ClariOption
{
	const char *name;
	int places; /* where it may stand: CLARI_AT_... */
	ClariSetOption *set;
	size_t offset;      /* of the value in ClariOptions; 0 (relid's) means nowhere */
	const char *preset; /* the text that stands for a missing option, or NULL */
	int unit;           /* GUC_UNIT_... of a bare number, or 0 */
	int min;            /* of numbers, in that unit */
	int max;            /* of numbers; of texts, the bytes with their NUL */
	ClariPrivilege privilege;
	bool secret; /* its text appears in no message */
};

/* ------- values (value.c) ------- */

/*
 * Raises ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE: option, text, what it takes, and
 * the hint if it is not NULL.  text is NULL where it might show a secret.
 */
extern void clari_option_refuse(const ClariOption *option, const char *text, const char *takes, const char *hint)
	__attribute__((noreturn));

/* There is a function for each kind of option; beside it stands the type of its target. */
extern ClariSetOption clari_option_set_base_url;    /* char[option->max] */
extern ClariSetOption clari_option_set_bool;        /* bool */
extern ClariSetOption clari_option_set_currency;    /* char[4] */
extern ClariSetOption clari_option_set_duration;    /* int64, microseconds */
extern ClariSetOption clari_option_set_endpoint;    /* ClariEndpoint */
extern ClariSetOption clari_option_set_format;      /* ClariFormat */
extern ClariSetOption clari_option_set_int;         /* int32, in option->unit */
extern ClariSetOption clari_option_set_key;         /* nothing, only checks */
extern ClariSetOption clari_option_set_object;      /* ClariObject */
extern ClariSetOption clari_option_set_path;        /* char[option->max] */
extern ClariSetOption clari_option_set_period_type; /* ClariPeriodType */
extern ClariSetOption clari_option_set_periods;     /* ClariExtent */
extern ClariSetOption clari_option_set_prefix;      /* nothing, only checks */
extern ClariSetOption clari_option_set_proxy;       /* char[option->max] */
extern ClariSetOption clari_option_set_schedule;    /* ClariSchedule */
extern ClariSetOption clari_option_set_secret;      /* char[option->max] */
extern ClariSetOption clari_option_set_string;      /* char *, palloc'd, UTF-8 */
extern ClariSetOption clari_option_set_text;        /* char[option->max], UTF-8 */
extern ClariSetOption clari_option_set_types;       /* uint32_t */

/* Does the text do for the value of an HTTP header, as an API key must? */
extern bool clari_is_api_key(const char *text);

/* For a valid base_url: is its host one of Clari's, a name below clari.com? */
extern bool clari_url_is_of_clari(const char *url);

/* For a valid base_url: is it https, or of a loopback host? */
extern bool clari_url_is_safe(const char *url);

/* ------- the table (options.c) ------- */

/*
 * The text of one option in a catalog's list, palloc'd; NULL where not given.
 * Raises ERRCODE_FDW_INVALID_OPTION_NAME for a list with an option that may not
 * stand at that place.
 */
extern char *clari_options_text(List *options, int place, const char *name);

/* Stores the text's value at target, as the option of that name does; raises a refusal. */
extern void clari_options_store(const char *name, const char *text, void *target);

/* A column's option "key", palloc'd, or NULL. */
extern char *clari_options_column_key(Oid relid, AttrNumber attnum);

#endif /* CLARI_OPTIONS_INTERNAL_H */
