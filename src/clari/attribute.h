/*
 * attribute.h
 *		The lists of an export file and of the account, the attributes of
 *		their items, and the columns that foreign tables can have.
 *
 * Attributes are known by name only here: room json gets their keys, rowset
 * their types and joins, and plan, scan and import the columns.  Pure tables.
 * The keys are those of Clari's files ("v4") and of the published guide
 * ("flat").
 */
#ifndef CLARI_ATTRIBUTE_H
#define CLARI_ATTRIBUTE_H

#include <stdbool.h>
#include <stdint.h>

/* How a value is stored: as a Datum of the PostgreSQL type named here. */
typedef enum ClariType
{
	CLARI_TEXT,      /* text, UTF-8 */
	CLARI_NUMERIC,   /* numeric, with all digits */
	CLARI_BOOL,      /* boolean */
	CLARI_DATE,      /* date, from "YYYY-MM-DD" */
	CLARI_TIMESTAMP, /* timestamptz, from epoch milliseconds */
	CLARI_INTEGER,   /* bigint, from an integer or, for an array, the number of its elements */
	CLARI_BITS /* no PostgreSQL type: bits 1 << ClariPeriodType, which the rowset writer sets and no column shows */
} ClariType;

/* The five lists of an export file, and those of the account. */
typedef enum ClariList
{
	CLARI_ENTRIES,
	CLARI_USERS,
	CLARI_FIELDS,
	CLARI_TIME_PERIODS,
	CLARI_TIME_FRAMES,
	CLARI_LIMITS, /* has a single item */
	CLARI_JOBS,
	CLARI_LINES /* not a list of its own: the entries of a file of lines; positions CLARI_LINE_… */
} ClariList;

#define CLARI_FILE_LISTS 5 /* the first this many */
#define CLARI_LIST_COUNT 7
#define CLARI_NO_LIST (-1)

/* The positions of attributes in each list. */
enum
{
	CLARI_ENTRY_USER_ID,
	CLARI_ENTRY_TIME_FRAME_ID,
	CLARI_ENTRY_TIME_PERIOD_ID, /* in a file without ids: what it calls the period */
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
	CLARI_ENTRY_PERIOD_TYPE, /* set by the rowset writer: one of clari_period_type_names */
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
	/* Set by the rowset writer.  Bits 1 << ClariPeriodType: some entry of this field and type of period … */
	CLARI_FIELD_CARRIES_FORECAST, /* … has an amount of the forecast */
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

#define CLARI_MAX_ATTRIBUTES CLARI_ENTRY_COUNT /* the most of any list */

/*
 * Positions in an entry of a CSV file, or of a JSON file of such lines.  The
 * keys are all columns as texts, but Data Type and Data Value, which make the
 * values.  There are no ids; all keys together identify an entry.
 */
enum
{
	CLARI_LINE_USER,
	CLARI_LINE_EMAIL,
	CLARI_LINE_CRM_USER_ID,
	CLARI_LINE_ROLE,
	CLARI_LINE_PARENT_ROLE,
	CLARI_LINE_START_DAY, /* "YYYY-MM-DD" */
	CLARI_LINE_END_DAY,   /* "YYYY-MM-DD" */
	CLARI_LINE_WEEK,
	CLARI_LINE_TIMEFRAME,
	CLARI_LINE_OTHERS, /* unknown columns, each preceded by its length */
	CLARI_LINE_FIELD,
	CLARI_LINE_KEYS,
	CLARI_LINE_FORECAST_VALUE = CLARI_LINE_KEYS, /* a number, like the following ones */
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
	const char *name;  /* the column's name; NULL: no column shows it */
	const char *key;   /* the key in the file, in which dots separate levels; NULL: not in the item itself */
	const char *alias; /* another key in the file, or NULL */
	ClariType type;
	int from_list;      /* the list from which it is joined if the item lacks it, or CLARI_NO_LIST */
	int from_attribute; /* its position in that list */
	bool is_id;         /* identifies items and joins them: must be a text or an integer */
} ClariAttribute;

typedef struct ClariListInfo
{
	const char *key; /* key of the member that contains the list: "entries", "timePeriods" … */
	const ClariAttribute *attributes;
	int nattributes;
} ClariListInfo;

extern const ClariListInfo clari_lists[CLARI_LIST_COUNT];

/* An attribute's value in an item, as room json passes it to rowset. */
typedef enum ClariValueKind
{
	CLARI_VALUE_NULL,   /* null or absent */
	CLARI_VALUE_STRING, /* data: valid UTF-8 without NUL */
	CLARI_VALUE_NUMBER, /* data: the text of the number, as numeric_in() must see it */
	CLARI_VALUE_BOOL,
	CLARI_VALUE_UNEXPECTED /* data: the JSON of a value that a column of the attribute's type cannot hold */
} ClariValueKind;

typedef struct ClariValue
{
	ClariValueKind kind;
	bool boolean;
	uint32_t length;  /* of data, in bytes */
	const char *data; /* not NUL-terminated; valid during the sink's call */
} ClariValue;

/* What a foreign table shows: the value of its option "object". */
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

/* The remote schema that means the account in IMPORT FOREIGN SCHEMA; others are forecasts. */
#define CLARI_ACCOUNT_SCHEMA "clari_account"

/* Where the values of a column come from. */
typedef enum ClariColumnSource
{
	CLARI_FROM_ATTRIBUTE,      /* an attribute of the item */
	CLARI_FROM_FORECAST_FIELD, /* the owner's entry of the forecast field */
	CLARI_FROM_QUOTA_FIELD,    /* the owner's entry of the quota field */
	CLARI_FROM_TIME_PERIOD,    /* the rowset: the same for all of its rows */
	CLARI_FROM_FORECAST_NAME,  /* the rowset */
	CLARI_FROM_EXPORTED_AT     /* the rowset */
} ClariColumnSource;

typedef struct ClariColumn
{
	const char *name;
	ClariColumnSource source;
	int attribute; /* position in the object's list; -1 for a column of the rowset itself */
	ClariType type;
} ClariColumn;

/* The names of objects, as in option "object": "forecasts" … */
extern const char *const clari_object_names[CLARI_OBJECT_COUNT];

/* Is this an object of the account, which has no forecast and no period? */
static inline bool
clari_object_is_of_account(ClariObject object)
{
	return object >= CLARI_OBJECT_LIMITS;
}

/* Returns the list from which the object's rows come. */
extern ClariList clari_object_list(ClariObject object);

/*
 * Returns the index-th column (from 0) that IMPORT FOREIGN SCHEMA makes for
 * the object, in the documented order.  Returns false after the last.
 */
extern bool clari_object_column(ClariObject object, int index, ClariColumn *column);

/*
 * Two functions that return what a declared column of a foreign table means:
 * by its name, or by a key of the file.  They also find columns that IMPORT
 * FOREIGN SCHEMA omits: currency_symbol and, for forecasts, the columns of
 * entries.  Return false if there is no such column.
 */
extern bool clari_object_find_column(ClariObject object, const char *name, ClariColumn *column);
extern bool clari_object_find_key(ClariObject object, const char *key, ClariColumn *column);

#endif /* CLARI_ATTRIBUTE_H */
