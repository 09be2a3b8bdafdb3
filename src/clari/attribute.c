/*
 * attribute.c
 *		The tables of lists, attributes and columns: see attribute.h.
 *
 * Pure tables, and searches of a few dozen names.
 */
#include "clari/attribute.h"

#include <stddef.h>
#include <string.h>

#define OWN(name, key, alias, type)                                                                                    \
	{                                                                                                                  \
		name, key, alias, type, CLARI_NO_LIST, -1, false                                                               \
	}
#define ID(name, key, alias)                                                                                           \
	{                                                                                                                  \
		name, key, alias, CLARI_TEXT, CLARI_NO_LIST, -1, true                                                          \
	}
#define JOINED(name, key, type, list, attribute)                                                                       \
	{                                                                                                                  \
		name, key, NULL, type, list, attribute, false                                                                  \
	}

static const ClariAttribute entry_attributes[] = {
	[CLARI_ENTRY_USER_ID] = ID("user_id", "userId", NULL),
	[CLARI_ENTRY_TIME_FRAME_ID] = ID("time_frame_id", "timeFrameId", NULL),
	[CLARI_ENTRY_TIME_PERIOD_ID] = ID("time_period_id", "timePeriodId", "timePeriod"),
	[CLARI_ENTRY_FIELD_ID] = ID("field_id", "fieldId", NULL),
	[CLARI_ENTRY_OWNER_NAME] = JOINED("owner_name", "ownerName", CLARI_TEXT, CLARI_USERS, CLARI_USER_NAME),
	[CLARI_ENTRY_OWNER_EMAIL] = JOINED("owner_email", "ownerEmail", CLARI_TEXT, CLARI_USERS, CLARI_USER_EMAIL),
	[CLARI_ENTRY_CRM_USER_ID] = JOINED("crm_user_id", NULL, CLARI_TEXT, CLARI_USERS, CLARI_USER_CRM_ID),
	[CLARI_ENTRY_ROLE] = JOINED("role", NULL, CLARI_TEXT, CLARI_USERS, CLARI_USER_HIERARCHY_NAME),
	[CLARI_ENTRY_PARENT_ROLE] = JOINED("parent_role", NULL, CLARI_TEXT, CLARI_USERS, CLARI_USER_PARENT_HIERARCHY_NAME),
	[CLARI_ENTRY_FIELD_NAME] = JOINED("field_name", NULL, CLARI_TEXT, CLARI_FIELDS, CLARI_FIELD_FIELD_NAME),
	[CLARI_ENTRY_FIELD_TYPE] = JOINED("field_type", NULL, CLARI_TEXT, CLARI_FIELDS, CLARI_FIELD_FIELD_TYPE),
	[CLARI_ENTRY_WEEK_START] = JOINED("week_start", NULL, CLARI_DATE, CLARI_TIME_FRAMES, CLARI_TIME_FRAME_START_DATE),
	[CLARI_ENTRY_WEEK_END] = JOINED("week_end", NULL, CLARI_DATE, CLARI_TIME_FRAMES, CLARI_TIME_FRAME_END_DATE),
	[CLARI_ENTRY_FORECAST_VALUE] = OWN("forecast_value", "forecastValue", "forecastAmount", CLARI_NUMERIC),
	[CLARI_ENTRY_QUOTA_VALUE] = OWN("quota_value", "quotaValue", "quotaAmount", CLARI_NUMERIC),
	[CLARI_ENTRY_ADJUSTMENT_VALUE] = OWN("adjustment_value", "adjustmentValue", "adjustmentAmount", CLARI_NUMERIC),
	[CLARI_ENTRY_CRM_TOTAL] = OWN("crm_total", "crmTotal", "aggregationTotal", CLARI_NUMERIC),
	[CLARI_ENTRY_CRM_CLOSED] = OWN("crm_closed", "crmClosed", "aggregationClosed", CLARI_NUMERIC),
	[CLARI_ENTRY_IS_UPDATED] = OWN("is_updated", "isUpdated", NULL, CLARI_BOOL),
	[CLARI_ENTRY_UPDATED_BY] = OWN("updated_by", "updatedBy", NULL, CLARI_TEXT),
	[CLARI_ENTRY_UPDATED_ON] = OWN("updated_on", "updatedOn", NULL, CLARI_TIMESTAMP),
	[CLARI_ENTRY_ADJUSTED_BY] = OWN("adjusted_by", "adjustedBy", NULL, CLARI_TEXT),
	[CLARI_ENTRY_ADJUSTED_ON] = OWN("adjusted_on", "adjustedOn", NULL, CLARI_TIMESTAMP),
	[CLARI_ENTRY_CURRENCY] = OWN("currency", "currency.code", "currency", CLARI_TEXT),
	[CLARI_ENTRY_CURRENCY_SYMBOL] = OWN("currency_symbol", "currency.symbol", NULL, CLARI_TEXT),
	[CLARI_ENTRY_PERIOD_TYPE] = OWN("period_type", NULL, NULL, CLARI_TEXT),
};

static const ClariAttribute user_attributes[] = {
	[CLARI_USER_USER_ID] = ID("user_id", "userId", NULL),
	[CLARI_USER_NAME] = OWN("name", "name", NULL, CLARI_TEXT),
	[CLARI_USER_EMAIL] = OWN("email", "email", NULL, CLARI_TEXT),
	[CLARI_USER_SCOPE_ID] = OWN("scope_id", "scopeId", NULL, CLARI_TEXT),
	[CLARI_USER_CRM_ID] = OWN("crm_id", "crmId", NULL, CLARI_TEXT),
	[CLARI_USER_HIERARCHY_ID] = OWN("hierarchy_id", "hierarchyId", NULL, CLARI_TEXT),
	[CLARI_USER_HIERARCHY_NAME] = OWN("hierarchy_name", "hierarchyName", NULL, CLARI_TEXT),
	[CLARI_USER_PARENT_HIERARCHY_ID] = OWN("parent_hierarchy_id", "parentHierarchyId", NULL, CLARI_TEXT),
	[CLARI_USER_PARENT_HIERARCHY_NAME] = OWN("parent_hierarchy_name", "parentHierarchyName", NULL, CLARI_TEXT),
};

static const ClariAttribute field_attributes[] = {
	[CLARI_FIELD_FIELD_ID] = ID("field_id", "fieldId", NULL),
	[CLARI_FIELD_FIELD_NAME] = OWN("field_name", "fieldName", NULL, CLARI_TEXT),
	[CLARI_FIELD_FIELD_TYPE] = OWN("field_type", "fieldType", NULL, CLARI_TEXT),
	[CLARI_FIELD_CARRIES_FORECAST] = OWN(NULL, NULL, NULL, CLARI_BITS),
	[CLARI_FIELD_CARRIES_QUOTA] = OWN(NULL, NULL, NULL, CLARI_BITS),
};

static const ClariAttribute time_period_attributes[] = {
	[CLARI_TIME_PERIOD_ID] = ID("time_period_id", "timePeriodId", NULL),
	[CLARI_TIME_PERIOD_TYPE] = OWN("type", "type", NULL, CLARI_TEXT),
	[CLARI_TIME_PERIOD_LABEL] = OWN("label", "label", NULL, CLARI_TEXT),
	[CLARI_TIME_PERIOD_YEAR] = OWN("year", "year", NULL, CLARI_TEXT),
	[CLARI_TIME_PERIOD_START_DATE] = OWN("start_date", "startDate", NULL, CLARI_DATE),
	[CLARI_TIME_PERIOD_END_DATE] = OWN("end_date", "endDate", NULL, CLARI_DATE),
	[CLARI_TIME_PERIOD_CRM_ID] = OWN("crm_id", "crmId", NULL, CLARI_TEXT),
};

static const ClariAttribute time_frame_attributes[] = {
	[CLARI_TIME_FRAME_ID] = ID("time_frame_id", "timeFrameId", NULL),
	[CLARI_TIME_FRAME_START_DATE] = OWN("start_date", "startDate", NULL, CLARI_DATE),
	[CLARI_TIME_FRAME_END_DATE] = OWN("end_date", "endDate", NULL, CLARI_DATE),
};

static const ClariAttribute limit_attributes[] = {
	[CLARI_LIMITS_CONCURRENT_LIMIT] = OWN("concurrent_limit", "concurrentLimit", NULL, CLARI_INTEGER),
	[CLARI_LIMITS_MONTHLY_QUOTA] = OWN("monthly_quota", "monthlyQuota", NULL, CLARI_INTEGER),
	[CLARI_LIMITS_RUNNING] = OWN("running", "runningJobIds", NULL, CLARI_INTEGER),
	[CLARI_LIMITS_SUBMITTED] = OWN("submitted", "submittedJobIds", NULL, CLARI_INTEGER),
	[CLARI_LIMITS_AVAILABLE_CONCURRENT] = OWN("available_concurrent", "availableConcurrentLimit", NULL, CLARI_INTEGER),
	[CLARI_LIMITS_AVAILABLE_MONTHLY] = OWN("available_monthly", "availableMonthlyQuota", NULL, CLARI_INTEGER),
};

/* downloadUrl is omitted, because anyone who has it can download the file. */
static const ClariAttribute job_attributes[] = {
	[CLARI_JOBS_ID] = ID("job_id", "jobId", "id"),
	[CLARI_JOBS_USER_ID] = OWN("user_id", "userId", NULL, CLARI_TEXT),
	[CLARI_JOBS_ORG_ID] = OWN("org_id", "orgId", NULL, CLARI_TEXT),
	[CLARI_JOBS_TITLE] = OWN("title", "title", NULL, CLARI_TEXT),
	[CLARI_JOBS_MODULE] = OWN("module", "module", NULL, CLARI_TEXT),
	[CLARI_JOBS_STATUS] = OWN("status", "status", NULL, CLARI_TEXT),
	[CLARI_JOBS_START_TIME] = OWN("start_time", "startTime", NULL, CLARI_TIMESTAMP),
	[CLARI_JOBS_END_TIME] = OWN("end_time", "endTime", NULL, CLARI_TIMESTAMP),
	[CLARI_JOBS_EXPIRED_TIME] = OWN("expired_time", "expiredTime", NULL, CLARI_TIMESTAMP),
	[CLARI_JOBS_VERSION] = OWN("version", "version", NULL, CLARI_INTEGER),
	[CLARI_JOBS_FILE_NAME] = OWN("file_name", "fileName", NULL, CLARI_TEXT),
	[CLARI_JOBS_FILE_TYPE] = OWN("file_type", "fileType", NULL, CLARI_TEXT),
	[CLARI_JOBS_VIEWED] = OWN("viewed", "viewed", NULL, CLARI_BOOL),
	[CLARI_JOBS_DOWNLOADS] = OWN("downloads", "downloads", NULL, CLARI_INTEGER),
	[CLARI_JOBS_ROWS_TRUNCATED] = OWN("rows_truncated", "rowsTruncated", NULL, CLARI_BOOL),
	[CLARI_JOBS_CELLS_TRUNCATED] = OWN("cells_truncated", "cellsTruncated", NULL, CLARI_BOOL),
	[CLARI_JOBS_DELIVERY_STATUS_MAP] = OWN("delivery_status_map", "deliveryStatusMap", NULL, CLARI_TEXT),
	[CLARI_JOBS_CURRENCY] = OWN("currency", "currency.code", "currency", CLARI_TEXT),
};

const ClariListInfo clari_lists[CLARI_LIST_COUNT] = {
	[CLARI_ENTRIES] = {"entries", entry_attributes, CLARI_ENTRY_COUNT},
	[CLARI_USERS] = {"users", user_attributes, CLARI_USER_COUNT},
	[CLARI_FIELDS] = {"fields", field_attributes, CLARI_FIELD_COUNT},
	[CLARI_TIME_PERIODS] = {"timePeriods", time_period_attributes, CLARI_TIME_PERIOD_COUNT},
	[CLARI_TIME_FRAMES] = {"timeFrames", time_frame_attributes, CLARI_TIME_FRAME_COUNT},
	[CLARI_LIMITS] = {"jobs", limit_attributes, CLARI_LIMITS_COUNT},
	[CLARI_JOBS] = {"jobs", job_attributes, CLARI_JOBS_COUNT},
};

/* The columns that have the same value in all rows of a rowset. */
#define PERIOD_COLUMN                                                                                                  \
	{                                                                                                                  \
		"time_period", CLARI_FROM_TIME_PERIOD, -1, CLARI_TEXT                                                          \
	}
#define NAME_COLUMN                                                                                                    \
	{                                                                                                                  \
		"forecast_name", CLARI_FROM_FORECAST_NAME, -1, CLARI_TEXT                                                      \
	}
#define EXPORTED_COLUMN                                                                                                \
	{                                                                                                                  \
		"exported_at", CLARI_FROM_EXPORTED_AT, -1, CLARI_TIMESTAMP                                                     \
	}

static const ClariColumn forecast_columns[] = {
	{"owner_name", CLARI_FROM_ATTRIBUTE, CLARI_ENTRY_OWNER_NAME, CLARI_TEXT},
	{"owner_email", CLARI_FROM_ATTRIBUTE, CLARI_ENTRY_OWNER_EMAIL, CLARI_TEXT},
	{"forecast_amount", CLARI_FROM_FORECAST_FIELD, CLARI_ENTRY_FORECAST_VALUE, CLARI_NUMERIC},
	{"quota_amount", CLARI_FROM_QUOTA_FIELD, CLARI_ENTRY_QUOTA_VALUE, CLARI_NUMERIC},
	{"crm_total", CLARI_FROM_FORECAST_FIELD, CLARI_ENTRY_CRM_TOTAL, CLARI_NUMERIC},
	{"crm_closed", CLARI_FROM_FORECAST_FIELD, CLARI_ENTRY_CRM_CLOSED, CLARI_NUMERIC},
	{"adjustment_amount", CLARI_FROM_FORECAST_FIELD, CLARI_ENTRY_ADJUSTMENT_VALUE, CLARI_NUMERIC},
	PERIOD_COLUMN,
	EXPORTED_COLUMN,
	NAME_COLUMN,
};

/* The order of the attributes of entries in IMPORT FOREIGN SCHEMA. */
static const int entry_order[] = {
	CLARI_ENTRY_USER_ID,        CLARI_ENTRY_OWNER_NAME,    CLARI_ENTRY_OWNER_EMAIL,      CLARI_ENTRY_CRM_USER_ID,
	CLARI_ENTRY_ROLE,           CLARI_ENTRY_PARENT_ROLE,   CLARI_ENTRY_FIELD_ID,         CLARI_ENTRY_FIELD_NAME,
	CLARI_ENTRY_FIELD_TYPE,     CLARI_ENTRY_TIME_FRAME_ID, CLARI_ENTRY_WEEK_START,       CLARI_ENTRY_WEEK_END,
	CLARI_ENTRY_FORECAST_VALUE, CLARI_ENTRY_QUOTA_VALUE,   CLARI_ENTRY_ADJUSTMENT_VALUE, CLARI_ENTRY_CRM_TOTAL,
	CLARI_ENTRY_CRM_CLOSED,     CLARI_ENTRY_IS_UPDATED,    CLARI_ENTRY_UPDATED_BY,       CLARI_ENTRY_UPDATED_ON,
	CLARI_ENTRY_ADJUSTED_BY,    CLARI_ENTRY_ADJUSTED_ON,   CLARI_ENTRY_CURRENCY,
};

static const ClariColumn period_column = PERIOD_COLUMN;
static const ClariColumn name_column = NAME_COLUMN;
static const ClariColumn exported_column = EXPORTED_COLUMN;

const char *const clari_object_names[CLARI_OBJECT_COUNT] = {
	[CLARI_OBJECT_FORECASTS] = "forecasts",
	[CLARI_OBJECT_ENTRIES] = "entries",
	[CLARI_OBJECT_USERS] = "users",
	[CLARI_OBJECT_FIELDS] = "fields",
	[CLARI_OBJECT_TIME_PERIODS] = "time_periods",
	[CLARI_OBJECT_TIME_FRAMES] = "time_frames",
	[CLARI_OBJECT_LIMITS] = "limits",
	[CLARI_OBJECT_JOBS] = "jobs",
};

#define LENGTH(array) ((int) (sizeof(array) / sizeof((array)[0])))

ClariList
clari_object_list(ClariObject object)
{
	static const ClariList lists[CLARI_OBJECT_COUNT] = {
		[CLARI_OBJECT_FORECASTS] = CLARI_ENTRIES,
		[CLARI_OBJECT_ENTRIES] = CLARI_ENTRIES,
		[CLARI_OBJECT_USERS] = CLARI_USERS,
		[CLARI_OBJECT_FIELDS] = CLARI_FIELDS,
		[CLARI_OBJECT_TIME_PERIODS] = CLARI_TIME_PERIODS,
		[CLARI_OBJECT_TIME_FRAMES] = CLARI_TIME_FRAMES,
		[CLARI_OBJECT_LIMITS] = CLARI_LIMITS,
		[CLARI_OBJECT_JOBS] = CLARI_JOBS,
	};

	return lists[object];
}

static ClariColumn
column_of_attribute(ClariList list, int attribute)
{
	const ClariAttribute *info = &clari_lists[list].attributes[attribute];

	return (ClariColumn){info->name, CLARI_FROM_ATTRIBUTE, attribute, info->type};
}

/* The columns of entries: first the period and the forecast, finally the time of the export and Clari's own period. */
static bool
entries_column(int index, ClariColumn *column)
{
	if (index == 0)
		*column = period_column;
	else if (index == 1)
		*column = name_column;
	else if (index < LENGTH(entry_order) + 2)
		*column = column_of_attribute(CLARI_ENTRIES, entry_order[index - 2]);
	else if (index == LENGTH(entry_order) + 2)
		*column = exported_column;
	else if (index == LENGTH(entry_order) + 3)
		*column = column_of_attribute(CLARI_ENTRIES, CLARI_ENTRY_TIME_PERIOD_ID);
	else
		return false;
	return true;
}

/* The columns of other lists: their attributes and then, except for lists of the account, the rowset's own columns. */
static bool
list_column(ClariList list, int index, ClariColumn *column)
{
	int shown = clari_lists[list].nattributes;

	while (clari_lists[list].attributes[shown - 1].name == NULL)
		shown--;
	if (index < shown)
		*column = column_of_attribute(list, index);
	else if (list >= CLARI_FILE_LISTS)
		return false;
	else if (index == shown)
		*column = period_column;
	else if (index == shown + 1)
		*column = name_column;
	else if (index == shown + 2)
		*column = exported_column;
	else
		return false;
	return true;
}

bool
clari_object_column(ClariObject object, int index, ClariColumn *column)
{
	if (object == CLARI_OBJECT_ENTRIES)
		return entries_column(index, column);
	if (object != CLARI_OBJECT_FORECASTS)
		return list_column(clari_object_list(object), index, column);
	if (index >= LENGTH(forecast_columns))
		return false;
	*column = forecast_columns[index];
	return true;
}

bool
clari_object_find_column(ClariObject object, const char *name, ClariColumn *column)
{
	const ClariListInfo *list = &clari_lists[clari_object_list(object)];

	for (int i = 0; clari_object_column(object, i, column); i++)
		if (strcmp(column->name, name) == 0)
			return true;
	for (int i = 0; i < list->nattributes; i++)
		if (list->attributes[i].name != NULL && strcmp(list->attributes[i].name, name) == 0)
		{
			*column = column_of_attribute(clari_object_list(object), i);
			return true;
		}
	return false;
}

static bool
has_key(const ClariAttribute *attribute, const char *key)
{
	return (attribute->key != NULL && strcmp(attribute->key, key) == 0) ||
		   (attribute->alias != NULL && strcmp(attribute->alias, key) == 0);
}

bool
clari_object_find_key(ClariObject object, const char *key, ClariColumn *column)
{
	ClariList list = clari_object_list(object);

	for (int i = 0; clari_object_column(object, i, column); i++)
		if (column->attribute >= 0 && has_key(&clari_lists[list].attributes[column->attribute], key))
			return true;
	for (int i = 0; i < clari_lists[list].nattributes; i++)
		if (has_key(&clari_lists[list].attributes[i], key))
		{
			*column = column_of_attribute(list, i);
			return true;
		}
	return false;
}
