/*
 * attribute.h
 *		The catalog: the lists of an export file and of the account, the attributes
 *		of their items, and the columns that each kind of foreign table can have.
 *
 * Everything that knows an attribute by name asks here: json for the keys,
 * rowset for the types and joins, plan, scan and import for the columns.  Pure
 * tables; the keys are those of Clari's file ("v4") and of the published
 * guide's ("flat").
 */
#ifndef CLARI_ATTRIBUTE_H
#define CLARI_ATTRIBUTE_H

#include <stdbool.h>
#include <stdint.h>

/* How a value is stored: as the Datum of the PostgreSQL type named here. */
typedef enum ClariType
{
	CLARI_TEXT,      /* text, UTF-8 */
	CLARI_NUMERIC,   /* numeric, every digit kept */
	CLARI_BOOL,      /* boolean */
	CLARI_DATE,      /* date, from "YYYY-MM-DD" */
	CLARI_TIMESTAMP, /* timestamptz, from epoch milliseconds */
	CLARI_INTEGER,   /* bigint, from an integer; or of an array: how many elements it has */
	CLARI_BITS       /* none: bits 1 << ClariPeriodType, which the writer makes and no column shows */
} ClariType;

/* The five lists of a file, and what the account has. */
typedef enum ClariList
{
	CLARI_ENTRIES,
	CLARI_USERS,
	CLARI_FIELDS,
	CLARI_TIME_PERIODS,
	CLARI_TIME_FRAMES,
	CLARI_LIMITS, /* of one item */
	CLARI_JOBS,
	CLARI_LINES /* none of them: entries of a file that is a table, positions CLARI_LINE_… */
} ClariList;

#define CLARI_FILE_LISTS 5 /* the first of them */
#define CLARI_LIST_COUNT 7
#define CLARI_NO_LIST (-1)

/* Positions in each list's attribute array. */
enum
{
	CLARI_ENTRY_USER_ID,
	CLARI_ENTRY_TIME_FRAME_ID,
	CLARI_ENTRY_TIME_PERIOD_ID, /* of a file without ids: what it calls the period */
	CLARI_ENTRY_FIELD_ID,
	CLARI_ENTRY_OWNER_NAME,
	CLARI_ENTRY_OWNER_EMAIL,
	CLARI_ENTRY_CRM_USER_ID,
	CLARI_ENTRY_ROLE,
	CLARI_ENTRY_PARENT_ROLE,
	CLARI_ENTRY_FIELD_NAME,
	CLARI_ENTRY_FIELD_TYPE,
	CLARI_ENTRY_WEEK_START,
	CLARI_ENTRY_WEEK_END,
	CLARI_ENTRY_FORECAST_VALUE,
	CLARI_ENTRY_QUOTA_VALUE,
	CLARI_ENTRY_ADJUSTMENT_VALUE,
	CLARI_ENTRY_CRM_TOTAL,
	CLARI_ENTRY_CRM_CLOSED,
	CLARI_ENTRY_IS_UPDATED,
	CLARI_ENTRY_UPDATED_BY,
	CLARI_ENTRY_UPDATED_ON,
	CLARI_ENTRY_ADJUSTED_BY,
	CLARI_ENTRY_ADJUSTED_ON,
	CLARI_ENTRY_CURRENCY,
	CLARI_ENTRY_CURRENCY_SYMBOL,
	CLARI_ENTRY_PERIOD_TYPE, /* made by the writer: one of clari_period_type_names */
	CLARI_ENTRY_COUNT
};

enum
{
	CLARI_USER_USER_ID,
	CLARI_USER_NAME,
	CLARI_USER_EMAIL,
	CLARI_USER_SCOPE_ID,
	CLARI_USER_CRM_ID,
	CLARI_USER_HIERARCHY_ID,
	CLARI_USER_HIERARCHY_NAME,
	CLARI_USER_PARENT_HIERARCHY_ID,
	CLARI_USER_PARENT_HIERARCHY_NAME,
	CLARI_USER_COUNT
};

enum
{
	CLARI_FIELD_FIELD_ID,
	CLARI_FIELD_FIELD_NAME,
	CLARI_FIELD_FIELD_TYPE,
	/* These are made by the writer: by bits 1 << ClariPeriodType, some entry of this field … */
	CLARI_FIELD_CARRIES_FORECAST, /* … has an amount */
	CLARI_FIELD_CARRIES_QUOTA,    /* … has a quota */
	CLARI_FIELD_COUNT
};

enum
{
	CLARI_TIME_PERIOD_ID,
	CLARI_TIME_PERIOD_TYPE,
	CLARI_TIME_PERIOD_LABEL,
	CLARI_TIME_PERIOD_YEAR,
	CLARI_TIME_PERIOD_START_DATE,
	CLARI_TIME_PERIOD_END_DATE,
	CLARI_TIME_PERIOD_CRM_ID,
	CLARI_TIME_PERIOD_COUNT
};

enum
{
	CLARI_TIME_FRAME_ID,
	CLARI_TIME_FRAME_START_DATE,
	CLARI_TIME_FRAME_END_DATE,
	CLARI_TIME_FRAME_COUNT
};

enum
{
	CLARI_LIMITS_CONCURRENT_LIMIT,
	CLARI_LIMITS_MONTHLY_QUOTA,
	CLARI_LIMITS_RUNNING,
	CLARI_LIMITS_SUBMITTED,
	CLARI_LIMITS_AVAILABLE_CONCURRENT,
	CLARI_LIMITS_AVAILABLE_MONTHLY,
	CLARI_LIMITS_COUNT
};

enum
{
	CLARI_JOBS_ID,
	CLARI_JOBS_USER_ID,
	CLARI_JOBS_ORG_ID,
	CLARI_JOBS_TITLE,
	CLARI_JOBS_MODULE,
	CLARI_JOBS_STATUS,
	CLARI_JOBS_START_TIME,
	CLARI_JOBS_END_TIME,
	CLARI_JOBS_EXPIRED_TIME,
	CLARI_JOBS_VERSION,
	CLARI_JOBS_FILE_NAME,
	CLARI_JOBS_FILE_TYPE,
	CLARI_JOBS_VIEWED,
	CLARI_JOBS_DOWNLOADS,
	CLARI_JOBS_ROWS_TRUNCATED,
	CLARI_JOBS_CELLS_TRUNCATED,
	CLARI_JOBS_DELIVERY_STATUS_MAP,
	CLARI_JOBS_CURRENCY,
	CLARI_JOBS_COUNT
};

#define CLARI_MAX_ATTRIBUTES CLARI_ENTRY_COUNT /* of any list */

/*
 * Positions of an entry of a CSV file, or of one whose rows are such lines as
 * objects: its columns as texts, but for Data Type and Data Value, which are its
 * values.  There are no ids: all that is not a value is its key.
 */
enum
{
	CLARI_LINE_USER,
	CLARI_LINE_EMAIL,
	CLARI_LINE_CRM_USER_ID,
	CLARI_LINE_ROLE,
	CLARI_LINE_PARENT_ROLE,
	CLARI_LINE_START_DAY, /* "YYYY-MM-DD" */
	CLARI_LINE_END_DAY,   /* the same */
	CLARI_LINE_WEEK,
	CLARI_LINE_TIMEFRAME,
	CLARI_LINE_OTHERS, /* columns that nobody knows, each with its length before it */
	CLARI_LINE_FIELD,
	CLARI_LINE_KEYS,
	CLARI_LINE_FORECAST_VALUE = CLARI_LINE_KEYS, /* a number, as those up to CRM_CLOSED */
	CLARI_LINE_QUOTA_VALUE,
	CLARI_LINE_ADJUSTMENT_VALUE,
	CLARI_LINE_CRM_TOTAL,
	CLARI_LINE_CRM_CLOSED,
	CLARI_LINE_IS_UPDATED, /* a boolean */
	CLARI_LINE_COUNT
};

#define CLARI_LINE_VALUES (CLARI_LINE_COUNT - CLARI_LINE_KEYS)

typedef struct ClariAttribute
{
	const char *name;  /* the column's name */
	const char *key;   /* the file's key, dots descend; NULL: not in the item itself */
	const char *alias; /* another spelling of the key, or NULL */
	ClariType type;
	int from_list;      /* the list it is joined from when the item lacks it, or CLARI_NO_LIST */
	int from_attribute; /* the attribute's position in that list */
	bool is_id;         /* items are joined and told apart by it: a text or an integer, and nothing else */
} ClariAttribute;

typedef struct ClariListInfo
{
	const char *key; /* "entries", "timePeriods" …: of the member that has it */
	const ClariAttribute *attributes;
	int nattributes;
} ClariListInfo;

extern const ClariListInfo clari_lists[CLARI_LIST_COUNT];

/* An attribute of one item, as json hands it to rowset. */
typedef enum ClariValueKind
{
	CLARI_VALUE_NULL,   /* null or absent */
	CLARI_VALUE_STRING, /* data: valid UTF-8 without NUL */
	CLARI_VALUE_NUMBER, /* data: the number's text, exactly as numeric_in must see it */
	CLARI_VALUE_BOOL,
	CLARI_VALUE_UNEXPECTED /* data: as JSON, what came that a column of the attribute's type cannot hold */
} ClariValueKind;

typedef struct ClariValue
{
	ClariValueKind kind;
	bool boolean;
	uint32_t length;  /* of data, in bytes */
	const char *data; /* not NUL-terminated; valid during the sink's call */
} ClariValue;

/* What a foreign table shows: its option "object". */
typedef enum ClariObject
{
	CLARI_OBJECT_FORECASTS,
	CLARI_OBJECT_ENTRIES,
	CLARI_OBJECT_USERS,
	CLARI_OBJECT_FIELDS,
	CLARI_OBJECT_TIME_PERIODS,
	CLARI_OBJECT_TIME_FRAMES,
	CLARI_OBJECT_LIMITS,
	CLARI_OBJECT_JOBS
} ClariObject;

#define CLARI_OBJECT_COUNT 8

/* What IMPORT FOREIGN SCHEMA calls the account, where others name a forecast. */
#define CLARI_ACCOUNT_SCHEMA "clari_account"

/* Where a column's values come from. */
typedef enum ClariColumnSource
{
	CLARI_FROM_ATTRIBUTE,      /* an attribute of the item */
	CLARI_FROM_FORECAST_FIELD, /* of the owner's entry of the forecast field */
	CLARI_FROM_QUOTA_FIELD,    /* of the owner's entry of the quota field */
	CLARI_FROM_TIME_PERIOD,    /* of the rowset: the same for all of its rows */
	CLARI_FROM_FORECAST_NAME,  /* of the rowset */
	CLARI_FROM_EXPORTED_AT     /* of the rowset */
} ClariColumnSource;

typedef struct ClariColumn
{
	const char *name;
	ClariColumnSource source;
	int attribute; /* the attribute's position in the object's list; -1 for a column of the rowset itself */
	ClariType type;
} ClariColumn;

/* The object's name as option and import know it ("forecasts" …). */
extern const char *const clari_object_names[CLARI_OBJECT_COUNT];

/* Is the object of the account, and so of no forecast and no period? */
static inline bool
clari_object_is_of_account(ClariObject object)
{
	return object >= CLARI_OBJECT_LIMITS;
}

/* The list that the object's rows come from. */
extern ClariList clari_object_list(ClariObject object);

/*
 * The index-th (from 0) of the columns that IMPORT FOREIGN SCHEMA makes for the
 * object, in the contract's order; false past the last.
 */
extern bool clari_object_column(ClariObject object, int index, ClariColumn *column);

/*
 * The column called name, or of the key or alias key (a file's key): what a
 * declared column of a foreign table means.  Also finds what IMPORT leaves out:
 * currency_symbol, and for forecasts the columns of entries.  False when there
 * is none.
 */
extern bool clari_object_find_column(ClariObject object, const char *name, ClariColumn *column);
extern bool clari_object_find_key(ClariObject object, const char *key, ClariColumn *column);

#endif /* CLARI_ATTRIBUTE_H */
