/*
 * test_json.c
 *		What json promises: the file's items exactly as sent, whatever the cuts;
 *		every defect refused, with its place; replies in all their shapes.
 */
#include "json/json.h"

#include <stdlib.h>

#include "unit.h"

/* What a document gave: one line per item, "list|attribute=value|…". */
typedef struct Seen
{
	char text[8192];
	size_t used;
	int items;
	int fail_at;      /* the item at which the sink fails, or 0 */
	bool with_detail; /* … saying where itself */
	bool passed;
	uint64_t entries;
	ClariError error;
} Seen;

#define SIXTY_FOUR "1234567890123456789012345678901234567890123456789012345678901234"

static bool
note(void *arg, ClariList list, const ClariValue *values, ClariError *error)
{
	Seen *seen = arg;
	const ClariListInfo *info = &clari_lists[list];

	if (++seen->items == seen->fail_at)
	{
		clari_error_set(error, CLARI_ERROR_IO, "the sink is full");
		if (seen->with_detail)
			clari_error_detail(error, "It says where.");
		return false;
	}
	seen->used += (size_t) snprintf(seen->text + seen->used, sizeof(seen->text) - seen->used, "%s", info->key);
	for (int i = 0; i < info->nattributes; i++)
	{
		const ClariValue *value = &values[i];
		static const char marks[] = {'?', '=', '#', '!', '~'};

		if (value->kind == CLARI_VALUE_NULL)
			continue;
		seen->used += (size_t) snprintf(seen->text + seen->used, sizeof(seen->text) - seen->used, "|%s%c%.*s",
										info->attributes[i].name, marks[value->kind],
										value->kind == CLARI_VALUE_BOOL ? 1 : (int) value->length,
										value->kind == CLARI_VALUE_BOOL ? (value->boolean ? "t" : "f") : value->data);
	}
	seen->used += (size_t) snprintf(seen->text + seen->used, sizeof(seen->text) - seen->used, "\n");
	return true;
}

/* Reads a document whose pieces are pushed from copies, so that sanitizers see every read too far. */
static void
read_pieces_of(ClariEndpoint endpoint, Seen *seen, const char *file, size_t length, size_t first, size_t piece)
{
	ClariDocument *document = clari_document_open(endpoint, note, seen);
	size_t size = first;

	seen->passed = true;
	for (size_t at = 0; at < length && seen->passed; at += size, size = piece)
	{
		char *copy;

		if (size > length - at)
			size = length - at;
		copy = malloc(size > 0 ? size : 1);
		memcpy(copy, file + at, size);
		seen->passed = clari_document_push(document, copy, size, &seen->error);
		free(copy);
	}
	seen->passed = seen->passed && clari_document_finish(document, &seen->error);
	seen->entries = clari_document_entries(document);
	clari_document_close(document);
}

static void
read_pieces(Seen *seen, const char *file, size_t length, size_t first, size_t piece)
{
	read_pieces_of(CLARI_ENDPOINT_EXPORT, seen, file, length, first, piece);
}

static void
read_file(Seen *seen, const char *file)
{
	memset(seen, 0, sizeof(*seen));
	read_pieces(seen, file, strlen(file), strlen(file), 1);
}

static void
gives(const char *file, const char *expected, const char *name)
{
	Seen seen;

	read_file(&seen, file);
	if (!ok(seen.passed, "%s: accepted", name))
		printf("# %s: %s\n", seen.error.message, seen.error.detail);
	is(seen.text, expected, name);
}

/* An item of entries with the given members gives the line, less "entries|". */
static void
entry_gives(const char *members, const char *expected, const char *name)
{
	char file[2048];
	char line[2048];

	snprintf(file, sizeof(file), "{\"entries\":[{%s}]}", members);
	snprintf(line, sizeof(line), "entries%s%s\n", *expected == '\0' ? "" : "|", expected);
	gives(file, line, name);
}

/* The file is refused whole and byte by byte, with the same error, whose detail holds the fact. */
static void
refused_bytes(const char *file, size_t length, ClariErrorCode code, const char *fact, const char *name)
{
	Seen seen;
	Seen bytewise;

	memset(&seen, 0, sizeof(seen));
	memset(&bytewise, 0, sizeof(bytewise));
	read_pieces(&seen, file, length, length, 1);
	read_pieces(&bytewise, file, length, 1, 1);
	if (!ok(!seen.passed && seen.error.code == code && strstr(seen.error.detail, fact) != NULL, "refused: %s", name))
		printf("# code %d, %s: %s\n", seen.error.code, seen.error.message, seen.error.detail);
	ok(!bytewise.passed && memcmp(&seen.error, &bytewise.error, sizeof(ClariError)) == 0,
	   "the same error byte by byte: %s", name);
}

static void
refused(const char *file, const char *fact, const char *name)
{
	refused_bytes(file, strlen(file), CLARI_ERROR_DATA, fact, name);
}

/* A value is refused in an item, known attribute or not, and in a member that is skipped. */
static void
value_refused(const char *value, const char *fact, const char *name)
{
	static const char *const files[] = {"{\"entries\":[{\"forecastValue\":%s}]}", "{\"entries\":[{\"extra\":[%s]}]}",
										"{\"entries\":[],\"other\":{\"x\":%s}}"};

	for (int i = 0; i < 3; i++)
	{
		char file[512];

		snprintf(file, sizeof(file), files[i], value);
		refused(file, fact, name);
	}
}

static const char sample[] =
	"\xEF\xBB\xBF {\"note\":[1,-2.5e+3,{\"a\":[true,false,null]},\"\\ud83d\\ude00\"],\r\n"
	"\"entries\" : [ {\"fieldId\":\"f\\\"1\\\\\",\"userId\":\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\","
	"\"timePeriodId\":\"2026_Q1\",\"timeFrameId\":\"TF:1\",\"forecastValue\":-123456789012345678901234567890,"
	"\"crmTotal\":1e3,\"quotaValue\":0.10,\"isUpdated\":true,\"updatedOn\":1767225600000,\"currency\":"
	"{\"code\":\"USD\",\"symbol\":\"$\",\"more\":[{}]},\"extra\":{\"b\":[1,{\"c\":12345678901234567890}]}},\t"
	"{\"user\\u0049d\":\"\\u00e9\\ud83d\\ude00\",\"currency\":\"EUR\"},{}],"
	"\"users\":[{\"userId\":\"u\",\"name\":\"A \\/ B\\n\",\"email\":null}],\"fields\":null,"
	"\"timePeriods\":[{\"timePeriodId\":\"2026_Q1\",\"year\":2026,\"startDate\":\"2026-01-01\"}],"
	"\"timeFrames\":[] } \n";

static const char sample_text[] =
	"entries|user_id=\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80|time_frame_id=TF:1|time_period_id=2026_Q1|field_id=f\"1\\"
	"|forecast_value#-123456789012345678901234567890|quota_value#0.10|crm_total#1e3|is_updated!t"
	"|updated_on#1767225600000|currency=USD|currency_symbol=$\n"
	"entries|user_id=\xC3\xA9\xF0\x9F\x98\x80|currency=EUR\n"
	"entries\n"
	"users|user_id=u|name=A / B\n\n"
	"timePeriods|time_period_id=2026_Q1|year=2026|start_date=2026-01-01\n";

static void
test_cuts(void)
{
	size_t length = strlen(sample);
	size_t differing = 0;
	Seen seen;

	gives(sample, sample_text, "a file with everything in it");
	for (size_t cut = 0; cut <= length; cut++)
	{
		memset(&seen, 0, sizeof(seen));
		read_pieces(&seen, sample, length, cut, length);
		differing += !seen.passed || strcmp(seen.text, sample_text) != 0 || seen.entries != 3;
	}
	ok(differing == 0, "a cut at any byte makes no difference");
	for (size_t piece = 1; piece <= 64; piece++)
	{
		memset(&seen, 0, sizeof(seen));
		read_pieces(&seen, sample, length, piece, piece);
		differing += !seen.passed || strcmp(seen.text, sample_text) != 0;
	}
	ok(differing == 0, "nor does the size of the pieces");
	for (size_t end = 1; end < length - 3; end++)
	{
		memset(&seen, 0, sizeof(seen));
		read_pieces(&seen, sample, end, end, 1);
		differing += seen.passed || strcmp(seen.error.message, "the export file ends too early") != 0;
	}
	ok(differing == 0, "a file that ends at any byte too early is refused as that");
}

static void
test_shapes(void)
{
	char file[8192] = "{\"entries\":[{";
	int found = 0;
	Seen seen;

	gives("{\"entries\":[{\"ownerName\":\"A\",\"ownerEmail\":\"a@x\",\"forecastAmount\":1.50,\"quotaAmount\":2,"
		  "\"crmTotal\":3,\"crmClosed\":4,\"adjustmentAmount\":-5,\"timePeriod\":\"2026_Q1\"}]}",
		  "entries|time_period_id=2026_Q1|owner_name=A|owner_email=a@x|forecast_value#1.50|quota_value#2"
		  "|adjustment_value#-5|crm_total#3|crm_closed#4\n",
		  "the flat shape");
	gives("{\"users\":[{\"userId\":\"u\"}],\"timeFrames\":[{\"timeFrameId\":\"t\",\"endDate\":\"d\"}],"
		  "\"fields\":[{\"fieldId\":\"f\",\"fieldType\":\"x\"}],\"entries\":[{\"userId\":\"u\"}]}",
		  "users|user_id=u\ntimeFrames|time_frame_id=t|end_date=d\nfields|field_id=f|field_type=x\nentries|user_id=u\n",
		  "entries last");
	gives("{\"entries\":[]}", "", "no items at all");
	gives("{\"entries\":[],\"users\":null}", "", "a null list is an empty one");
	gives("{\"\\u0065ntries\":[{\"userId\":\"u\"}]}", "entries|user_id=u\n", "an escaped key is the same key");
	gives(
		"{\"entries\":[{\"b\":\"x\",\"userId\":\"1\"},{\"userId\":\"2\",\"b\":1},{\"b\":1,\"userId\":\"3\",\"c\":2}]}",
		"entries|user_id=1\nentries|user_id=2\nentries|user_id=3\n", "keys in another order, unknown ones between");
	for (int i = 0; i < 200; i++)
		sprintf(file + strlen(file), "\"x%d\":%d,", i, i);
	strcat(file, "\"userId\":\"u\"}]}");
	gives(file, "entries|user_id=u\n", "a key behind two hundred others");

	read_file(&seen, "{\"users\":[{\"userId\":\"u\"}]}");
	is(seen.error.message, "the export file has no list \"entries\"", "a file without entries is refused");
	for (int i = 0; i < CLARI_FILE_LISTS; i++)
		for (int j = 0; j < clari_lists[i].nattributes; j++)
			found += clari_lists[i].attributes[j].key != NULL && strchr(clari_lists[i].attributes[j].key, '.') != NULL;
	ok(found == 2, "the only dotted keys are those of the currency");
}

static void
test_values(void)
{
	entry_gives("\"forecastValue\":-0.005", "forecast_value#-0.005", "a small fraction");
	entry_gives("\"forecastValue\":1E-2", "forecast_value#1E-2", "an exponent");
	entry_gives("\"forecastValue\":0.30000000000000000000000000000001",
				"forecast_value#0.30000000000000000000000000000001", "more digits than a double has");
	entry_gives("\"forecastValue\":1e999", "forecast_value#1e999", "more than a double can hold");
	entry_gives("\"forecastValue\":9223372036854775807", "forecast_value#9223372036854775807", "the largest int64");
	entry_gives("\"forecastValue\":9223372036854775808", "forecast_value#9223372036854775808", "one more");
	entry_gives("\"forecastValue\":-9223372036854775809", "forecast_value#-9223372036854775809", "one below the least");
	entry_gives("\"forecastValue\":-999999999999999999", "forecast_value#-999999999999999999", "eighteen digits");
	entry_gives("\"forecastValue\":18446744073709551616,\"crmTotal\":18446744073709551617",
				"forecast_value#18446744073709551616|crm_total#18446744073709551617", "two beyond 64 bits");
	entry_gives("\"forecastValue\":-0", "forecast_value#0", "minus zero");
	entry_gives("\"userId\":17", "user_id=17", "an id as an integer");
	entry_gives("\"userId\":-12345678901234567890", "user_id=-12345678901234567890", "a long id as an integer");
	entry_gives("\"userId\":\"\"", "user_id=", "an empty string is not null");
	entry_gives("\"userId\":null,\"forecastValue\":null,\"isUpdated\":null,\"updatedOn\":null,\"currency\":null", "",
				"nulls");
	entry_gives("\"isUpdated\":false", "is_updated!f", "false is not null");
	entry_gives("\"currency\":{}", "", "a currency without members");
	entry_gives("\"currency\":{\"symbol\":\"$\"}", "currency_symbol=$", "a symbol alone");
	entry_gives("\"currency\":{\"code\":null,\"symbol\":null}", "", "a currency of nulls");
	entry_gives("\"currency.code\":\"USD\"", "", "a key with a dot in it is not a path");
	entry_gives("\"forecastValue\":null,\"forecastAmount\":5", "forecast_value#5", "a null beside the other spelling");
	entry_gives("\"userId\":\"\x7F\"", "user_id=\x7F", "DEL, which JSON allows");
	entry_gives("\"extra\":{\"userId\":\"no\"},\"userId\":\"yes\"", "user_id=yes",
				"keys of nested objects are not ours");
}

static void
test_types(void)
{
	static const struct
	{
		const char *member;
		const char *fact;
	} wrong[] = {
		{"\"userId\":true", "Attribute \"userId\" is a boolean instead of a string"},
		{"\"userId\":1.5", "\"userId\" is a number that is not an integer instead of a string"},
		{"\"userId\":1e3", "\"userId\" is a number that is not an integer"},
		{"\"userId\":[]", "\"userId\" is an array"},
		{"\"userId\":{}", "\"userId\" is an object"},
		{"\"fieldId\":[\"f\"]", "\"fieldId\" is an array"},
		{"\"timeFrameId\":false", "\"timeFrameId\" is a boolean"},
		{"\"timePeriodId\":{}", "\"timePeriodId\" is an object"},
		{"\"timePeriod\":[]", "\"timePeriod\" is an array"},
		{"\"forecastValue\":\"5\"", "\"forecastValue\" is a string instead of a number"},
		{"\"forecastValue\":false", "\"forecastValue\" is a boolean instead of a number"},
		{"\"forecastAmount\":{}", "\"forecastAmount\" is an object instead of a number"},
		{"\"quotaValue\":[]", "\"quotaValue\" is an array"},
		{"\"adjustmentValue\":{}", "\"adjustmentValue\" is an object"},
		{"\"aggregationTotal\":\"\"", "\"aggregationTotal\" is a string"},
		{"\"crmClosed\":true", "\"crmClosed\" is a boolean"},
		{"\"updatedOn\":1234567890123456789", "\"updatedOn\" is an integer of more than 18 digits"},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
	{
		char file[256];

		snprintf(file, sizeof(file), "{\"entries\":[{},{%s}]}", wrong[i].member);
		refused(file, wrong[i].fact, wrong[i].member);
		refused(file, ", in item 2 of list \"entries\", at byte 15 of the file.", "… and its place");
	}
	for (int i = CLARI_USERS; i < CLARI_FILE_LISTS; i++)
	{
		char file[256];

		snprintf(file, sizeof(file), "{\"entries\":[],\"%s\":[{\"%s\":{}}]}", clari_lists[i].key,
				 clari_lists[i].attributes[0].key);
		refused(file, "is an object instead of a string, in item 1 of list", "an id that is an object");
	}
}

/* A user's attribute that is the value becomes the text. */
static void
user_gives(const char *value, const char *text)
{
	char file[2048];
	char line[2048];

	snprintf(file, sizeof(file), "{\"entries\":[],\"users\":[{\"scopeId\" : %s ,\"userId\":\"u\"}]}", value);
	snprintf(line, sizeof(line), "users|user_id=u|scope_id=%s\n", text);
	gives(file, line, value);
}

/* What came where a text was expected is its JSON. */
static void
test_json_texts(void)
{
	static const char all[] = "[\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\\\u001f\x7F\xE2\x82\xAC\"]";

	user_gives("{\"type\":\"MGR\",\"userId\":\"19/05\",\"userType\":null}",
			   "{\"type\":\"MGR\",\"userId\":\"19/05\",\"userType\":null}");
	user_gives("\"{\\\"type\\\": 1}\"", "{\"type\": 1}");
	user_gives("{ }", "{}");
	user_gives("[\r\n]", "[]");
	user_gives(" [ 1 , { \"a b\" : [ true , false , null ] , \"\" : { } } , \"x\" ]",
			   "[1,{\"a b\":[true,false,null],\"\":{}},\"x\"]");
	user_gives("true", "true");
	user_gives("false", "false");
	user_gives("17", "17");
	user_gives("1.50", "1.50");
	user_gives("-1E+2", "-1E+2");
	user_gives("[0.1,1e999,-2.50e-3,123456789012345678,-123456789012345678]",
			   "[0.1,1e999,-2.50e-3,123456789012345678,-123456789012345678]");
	user_gives("[9223372036854775808,{\"n\":-123456789012345678901234567890},1234567890123456789]",
			   "[9223372036854775808,{\"n\":-123456789012345678901234567890},1234567890123456789]");
	user_gives("{\"n\":123456789012345678901234567890.5,\"m\":\"123456789012345678901e0\"}",
			   "{\"n\":123456789012345678901234567890.5,\"m\":\"123456789012345678901e0\"}");
	user_gives("[\"\\/\\u002f\\u00e9\\ud83d\\ude00\"]", "[\"//\xC3\xA9\xF0\x9F\x98\x80\"]");
	user_gives(all, all);
	user_gives("{\"\\\"\\/\\u20ac\":1}", "{\"\\\"/\xE2\x82\xAC\":1}");
	refused("{\"entries\":[],\"users\":[{\"userId\":\"u\",\"scopeId\":[\"a\\u0000b\"]}]}", "An escaped NUL character",
			"a NUL in a text that is written as JSON again");
	refused("{\"entries\":[],\"users\":[{\"userId\":\"u\",\"scopeId\":{\"a\":1,\"a\":1}}]}", "A duplicate key",
			"nor a key twice");
	gives("{\"entries\":[],\"users\":[{\"userId\":\"u\",\"name\":1.5,\"email\":{},\"scopeId\":[{}],\"crmId\":true,"
		  "\"hierarchyId\":7,\"hierarchyName\":[1]},{\"userId\":\"v\",\"name\":[2]}]}",
		  "users|user_id=u|name=1.5|email={}|scope_id=[{}]|crm_id=true|hierarchy_id=7|hierarchy_name=[1]\n"
		  "users|user_id=v|name=[2]\n",
		  "several in one item");
	gives("{\"entries\":[],\"fields\":[{\"fieldId\":\"f\",\"fieldName\":{\"a\":1},\"fieldType\":false}],"
		  "\"timePeriods\":[{\"timePeriodId\":\"p\",\"type\":[],\"label\":4.5,\"year\":{}}]}",
		  "fields|field_id=f|field_name={\"a\":1}|field_type=false\n"
		  "timePeriods|time_period_id=p|type=[]|label=4.5|year={}\n",
		  "in other lists");
	entry_gives("\"ownerName\":true,\"ownerEmail\":{},\"updatedBy\":[1],\"adjustedBy\":0.5",
				"owner_name=true|owner_email={}|updated_by=[1]|adjusted_by=0.5", "of an entry");
	entry_gives("\"currency\":5", "currency=5", "a currency that is an integer");
	entry_gives("\"currency\":[\"USD\"]", "currency=[\"USD\"]", "… an array");
	entry_gives("\"currency\":{\"code\":1.5,\"symbol\":{}}", "currency=1.5|currency_symbol={}", "… or of such parts");
}

/* What a column of the attribute's type cannot hold is told as that. */
static void
test_unexpected(void)
{
	entry_gives("\"isUpdated\":1", "is_updated~1", "a boolean that is an integer");
	entry_gives("\"isUpdated\":\"true\"", "is_updated~\"true\"", "… a string");
	entry_gives("\"isUpdated\":[ 1.50 ],\"updatedOn\":{\"at\":\"\\u00e9\"}",
				"is_updated~[1.50]|updated_on~{\"at\":\"\xC3\xA9\"}", "… an array, and a time that is an object");
	entry_gives("\"updatedOn\":\"2026-01-01\"", "updated_on~\"2026-01-01\"", "a time that is a string");
	entry_gives("\"updatedOn\":1.7e12,\"adjustedOn\":true", "updated_on~1.7e12|adjusted_on~true",
				"a time that is no integer, or a boolean");
	gives(
		"{\"entries\":[],\"timePeriods\":[{\"startDate\":20260101,\"endDate\":[]}],\"timeFrames\":[{\"startDate\":1.5,"
		"\"endDate\":12345678901234567890}]}",
		"timePeriods|start_date~20260101|end_date~[]\ntimeFrames|start_date~1.5|end_date~12345678901234567890\n",
		"dates");
}

/* An attribute under both of its names is one if the value is the same. */
static void
test_two_names(void)
{
	static const char *const same[] = {
		"5",     "5.0",     "5e0",        "0.5e1",  "50E-1",
		"5.000", "500e-02", "0.00005e+5", "5e0000", "0.000000000000000000000000000005e30"};
	static const char *const zeros[] = {"0", "0.0", "-0", "0e5", "-0.00E-9"};
	static const char *const others[] = {"-5",
										 "50",
										 "5.1",
										 "0.5",
										 "5e1",
										 "5.0000000000000000000000000000000001",
										 "0",
										 "4.9999999999999999999999999999999999",
										 "5e99999999999999999999",
										 "55e-99999999999999999999",
										 "500000000000000000000"};
	char members[256];
	char line[256];

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		for (size_t j = 0; j < sizeof(same) / sizeof(same[0]); j++)
		{
			snprintf(members, sizeof(members), "\"crmTotal\":%s,\"aggregationTotal\":%s", same[i], same[j]);
			snprintf(line, sizeof(line), "crm_total#%s", same[i]);
			entry_gives(members, line, "the same total under both names");
		}
	for (size_t i = 0; i < sizeof(zeros) / sizeof(zeros[0]); i++)
	{
		snprintf(members, sizeof(members), "\"aggregationClosed\":0.00,\"crmClosed\":%s", zeros[i]);
		entry_gives(members, "crm_closed#0.00", "nothing, however it is written");
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
	{
		snprintf(members, sizeof(members), "{\"entries\":[{\"aggregationTotal\":5,\"crmTotal\":%s}]}", others[i]);
		refused(members, "Attribute \"crmTotal\" has another value under its other name, in item 1", members);
	}
	entry_gives("\"crmTotal\":123456789012345678901234567890,\"aggregationTotal\":123456789012345678901234567890.0",
				"crm_total#123456789012345678901234567890", "a total beyond 64 bits");
	refused(
		"{\"entries\":[{\"crmTotal\":123456789012345678901234567890,\"aggregationTotal\":123456789012345678901234567891}]}",
		"has another value", "… to the last digit");
	entry_gives("\"crmTotal\":1e99999999999999999999,\"aggregationTotal\":1e99999999999999999999",
				"crm_total#1e99999999999999999999", "the very same");
	entry_gives("\"forecastValue\":1,\"forecastAmount\":1.0,\"quotaAmount\":2,\"quotaValue\":2,\"adjustmentValue\":-3,"
				"\"adjustmentAmount\":-3.0",
				"forecast_value#1|quota_value#2|adjustment_value#-3", "the other amounts");
	entry_gives("\"timePeriod\":\"a\",\"timePeriodId\":\"a\"", "time_period_id=a", "the period");
	refused("{\"entries\":[{\"timePeriod\":\"a\",\"timePeriodId\":\"b\"}]}",
			"Attribute \"timePeriodId\" has another value under its other name", "two periods");
	refused("{\"entries\":[{\"timePeriod\":\"a\",\"timePeriodId\":\"ab\"}]}", "has another value",
			"… of other lengths");
	refused("{\"entries\":[{\"forecastValue\":1,\"forecastAmount\":\"1\"}]}",
			"Attribute \"forecastAmount\" is a string instead of a number", "one that is no number");
}

/* The members give the same, or the same error, in an item that json-c reads, as there is a list in it. */
static void
same_by_both_readers(const char *members)
{
	char file[4096];
	Seen seen[2];

	for (int i = 0; i < 2; i++)
	{
		snprintf(file, sizeof(file), "{\"entries\":[{\"fieldId\":\"f\"},{%s%s},{\"fieldId\":\"f\",%s%s}]}", members,
				 i == 0 ? "" : ",\"list\":[]", members, i == 0 ? "" : ",\"list\":[]");
		read_file(&seen[i], file);
	}
	ok(seen[0].passed == seen[1].passed, "accepted or refused by both readers: %s", members);
	is(seen[0].text, seen[1].text, "the same values");
	is(seen[0].error.message, seen[1].error.message, "the same error");
}

/* An item that is written plainly is read as json-c reads it. */
static void
test_plain(void)
{
	static const char *const members[] = {
		"\"userId\":\"u\"",
		" \"userId\" :\t\"u\" ,\r\n\"isUpdated\" : true ",
		"\"userId\":\"\\u0041\\u00E9\\u20ac\\uD83D\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"ownerName\":\"no \\\" more\"",
		"\"user\\u0049d\":\"u\"",
		"\"forecastValue\":-0,\"quotaValue\":-0.0,\"crmTotal\":-0e0,\"crmClosed\":0",
		"\"forecastValue\":1e3,\"quotaValue\":2.50E-3,\"crmTotal\":1e999,\"crmClosed\":-1E+05",
		"\"forecastValue\":1234567890123456789,\"quotaValue\":-123456789012345678901234567890",
		"\"forecastValue\":1234567890123456789e0,\"quotaValue\":123456789012345678e0,\"crmTotal\":1234567890123456789.0e0",
		"\"updatedOn\":1767225600000,\"adjustedOn\":-1",
		"\"updatedOn\":1234567890123456789",
		"\"updatedOn\":1.5",
		"\"updatedOn\":1e3",
		"\"updatedOn\":\"soon\"",
		"\"isUpdated\":\"true\"",
		"\"isUpdated\":1",
		"\"userId\":17,\"updatedBy\":1.50",
		"\"userId\":true",
		"\"forecastValue\":\"1\"",
		"\"forecastValue\":false",
		"\"ownerName\":true",
		"\"userId\":null,\"forecastValue\":null,\"isUpdated\":null,\"updatedOn\":null,\"currency\":null",
		"\"currency\":\"EUR\"",
		"\"currency.code\":\"EUR\"",
		"\"forecastValue\":5,\"forecastAmount\":5.0",
		"\"forecastValue\":5,\"forecastAmount\":6",
		"\"forecastValue\":5,\"forecastValue\":5",
		"\"extra\":1,\"extra\":1",
		"\"extra\":null,\"more\":\"\",\"most\":false",
		"\"\":1,\"userId \":\"u\",\"userI\":\"u\",\"userIds\":\"u\"",
		"\"a key that is longer than any that is remembered of those that came\":1,\"userId\":\"u\"",
	};
	char many[4096] = "";
	size_t used = 0;

	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		same_by_both_readers(members[i]);
	for (int i = 0; i < 70; i++)
		used += (size_t) snprintf(many + used, sizeof(many) - used, "\"k%d\":%d,", i, i);
	snprintf(many + used, sizeof(many) - used, "\"userId\":\"u\"");
	same_by_both_readers(many);
	gives("{\"entries\":[{\"a\":1,\"userId\":\"x\"},{\"userId\":\"y\",\"a\":2}],"
		  "\"users\":[{\"a\":1,\"userId\":\"x\"},{\"name\":\"n\",\"userId\":\"y\"}]}",
		  "entries|user_id=x\nentries|user_id=y\nusers|user_id=x\nusers|user_id=y|name=n\n",
		  "keys in another order, and those of another list");
	refused("{\"entries\":[{\"a\":1,\"b\":1},{\"b\":1,\"a\":1},{\"a\":1,\"a\":1}]}", "A duplicate key, in item 3",
			"a key twice that was once at either place");
}

static void
test_tokens(void)
{
	static const char *const numbers[] = {"01",  "-01",   "00",    "1.",        "1.e5", "1e",  "1e+", "-",
										  "- 1", "1.5.5", "1e5.5", "-Infinity", "--1",  "1-1", "1+1"};
	static const char *const others[] = {"NaN",       "Infinity", "+1",      ".5", "'a'",
										 "undefined", "/* */ 1",  "// x\n1", "\v1"};
	static const char *const words[] = {"nul1", "True", "trueish", "nan", "null0", "fals", "NULL"};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		value_refused(numbers[i], "A number that JSON does not allow", numbers[i]);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		value_refused(others[i], "A missing value, or one that JSON does not know", others[i]);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		value_refused(words[i], "", words[i]);
	value_refused("0x1F", "A missing comma or closing bracket", "hexadecimal");
	value_refused("1 2", "A missing comma or closing bracket", "two values");
	value_refused("[1,]", "A missing value", "a comma before a bracket");
	value_refused("{\"a\":1,}", "A missing key", "a comma before a brace");
	value_refused("[,1]", "A missing value", "a comma first");
	value_refused("{,}", "A missing key", "a comma alone");
	value_refused("[1}", "A missing comma or closing bracket", "the wrong bracket");
	value_refused("{\"a\" 1}", "A missing colon", "no colon");
	value_refused("{\"a\"}", "A missing colon", "no value");
	value_refused("{a:1}", "A missing key, or one without double quotes", "a key without quotes");
	value_refused("{'a':1}", "A missing key, or one without double quotes", "a key in single quotes");
	value_refused("{\"a\":1 /* x */}", "A missing comma", "a comment");
}

static void
test_strings(void)
{
	static const char *const invalid[] = {"\x80",
										  "\xBF",
										  "\xC0\xAF",
										  "\xC1\xBF",
										  "\xC3",
										  "\xC3(",
										  "\xE0\x80\xAF",
										  "\xE0\x9F\xBF",
										  "\xE2\x82",
										  "\xED\xA0\x80",
										  "\xED\xBF\xBF",
										  "\xF0\x80\x80\xAF",
										  "\xF0\x8F\xBF\xBF",
										  "\xF4\x90\x80\x80",
										  "\xF5\x80\x80\x80",
										  "\xFE",
										  "\xFF",
										  "long enough \xC3 for words"};
	static const char *const halves[] = {"\\ud83d", "\\ud83d x",      "\\ud83d\\n",    "\\ud83d\\u0041",
										 "\\ude00", "\\ud83d\\ud83d", "\\uDBFF\\uE000"};
	static const char *const escapes[] = {"\\x41", "\\'", "\\u12g4", "\\u 123", "\\", "\\U0041", "\\0"};
	char value[64];

	for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
	{
		snprintf(value, sizeof(value), "\"%s\"", invalid[i]);
		value_refused(value, "A byte that is not valid UTF-8", "invalid UTF-8");
	}
	for (size_t i = 0; i < sizeof(halves) / sizeof(halves[0]); i++)
	{
		snprintf(value, sizeof(value), "\"%s\"", halves[i]);
		value_refused(value, "Half of a surrogate pair", halves[i]);
	}
	for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++)
	{
		snprintf(value, sizeof(value), "\"a%s\"", escapes[i]);
		value_refused(value, i == 4 ? "" : "An escape that JSON does not know", escapes[i]);
	}
	value_refused("\"a\\u0000b\"", "An escaped NUL character", "an escaped NUL");
	for (char control = 1; control < 0x20; control++)
	{
		snprintf(value, sizeof(value), "\"%c\"", control);
		value_refused(value, "A control character inside a string", "a control character");
	}
	refused_bytes("{\"entries\":[{\"a\":\"x\0y\"}]}", 26, CLARI_ERROR_DATA, "A control character inside a string",
				  "a NUL in a string");
	refused_bytes("{\"entries\":[{\"a\":1\0}]}", 22, CLARI_ERROR_DATA, "A missing comma", "a NUL between tokens");
	refused("{\"entries\":[{\"a\xFF\":1}]}", "A byte that is not valid UTF-8", "a key of invalid UTF-8");
	refused("{\"entries\":[{\"\\u0000\":1}]}", "An escaped NUL character", "a NUL in a key");
	entry_gives("\"userId\":\"\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xE0\xA0\x80\xC2\x80\"",
				"user_id=\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80\xF0\x90\x80\x80\xE0\xA0\x80\xC2\x80",
				"the edges of valid UTF-8");
	entry_gives("\"userId\":\"\\uDBFF\\uDFFF\\uD800\\uDC00\\uFFFF\\u0001\"",
				"user_id=\xF4\x8F\xBF\xBF\xF0\x90\x80\x80\xEF\xBF\xBF\x01", "the edges of escapes");
}

/* A file that is no JSON object: the message, and the detail. */
static void
foreign(const char *file, size_t length, const char *message, const char *detail)
{
	Seen seen;

	refused_bytes(file, length, CLARI_ERROR_DATA, detail, detail);
	memset(&seen, 0, sizeof(seen));
	read_pieces(&seen, file, length, length, 1);
	is(seen.error.message, message, "… and the message");
	is(seen.error.detail, detail, "… and the detail");
}

#define FOREIGN(file, message, detail) foreign(file, sizeof(file) - 1, message, detail)

/* What is no export file says what it begins with. */
static void
test_foreign(void)
{
	static const char invalid[] = "the export file is not valid JSON";
	char file[4096];
	char detail[256];

	FOREIGN("", "the export file is empty", "It has no bytes.");
	FOREIGN("User,Email,CRM User ID\r\nAda,a@x,1\r\n", "the export file is CSV without column \"Role\"",
			"It begins with \"User,Email,CRM User ID…\", as CSV does.");
	FOREIGN("\xEF\xBB\xBF\"User\",\"E-Mail\",\"Währung\"", "the export file is CSV without column \"Email\"",
			"It begins with \"\"User\",\"E-Mail\",\"W??hrung\"\", as CSV does.");
	FOREIGN(
		"User;Email;Role;Field\n", invalid,
		"It begins with \"User;Email;Role;Field…\", which is neither a brace nor what a CSV export of Clari begins with.");
	FOREIGN("Sorry, try again", invalid, "It begins with \"Sorry, try again\", not with a brace.");
	FOREIGN("<html>\n<body>", invalid, "It begins with \"<html>…\", as a web page does.");
	FOREIGN("\r\n <!DOCTYPE html>", invalid, "It begins with \"<!DOCTYPE html>\", as a web page does.");
	FOREIGN("[]", "the export file is not a JSON object", "It begins with \"[]\", as a list does.");
	FOREIGN("[{\"User\":\"\x01\x7F\"}]", invalid,
			"A control character inside a string, in item 1, at byte 10 of the file.");
	FOREIGN("null", invalid, "It begins with \"null\", not with a brace.");
	FOREIGN("\x1F\x8B\x08\0\0\0\0\0\0", invalid,
			"It begins with the bytes 1F 8B 08 00, as gzip does: it is compressed once more than its headers say.");
	FOREIGN("PK\x03\x04\x14", invalid, "It begins with the bytes 50 4B 03 04, as a zip archive does.");
	FOREIGN("\xFF\xFE{\0\"\0", invalid, "It begins with the bytes FF FE 7B 00, as UTF-16 does.");
	FOREIGN("\xFE\xFF\0{\0\"", invalid, "It begins with the bytes FE FF 00 7B, as UTF-16 does.");
	FOREIGN("{\0\"\0e\0", invalid, "It begins with the bytes 7B 00 22 00, as UTF-16 does.");
	FOREIGN("\0{\0\"\0e", invalid, "It begins with the bytes 00 7B 00 22, as UTF-16 does.");
	FOREIGN("U\0s\0e\0", invalid, "It begins with the bytes 55 00 73 00, as UTF-16 does.");
	FOREIGN("\xFF\xFE\0\0{\0\0\0", invalid, "It begins with the bytes FF FE 00 00, as UTF-32 does.");
	FOREIGN("\0\0\xFE\xFF\0\0\0{", invalid, "It begins with the bytes 00 00 FE FF, as UTF-32 does.");
	FOREIGN("{\0\0\0\"\0\0\0", invalid, "It begins with the bytes 7B 00 00 00, as UTF-32 does.");
	FOREIGN("\0\0\0{\0\0\0\"", invalid, "It begins with the bytes 00 00 00 7B, as UTF-32 does.");
	FOREIGN("\x89PNG\r\n", invalid, "It begins with the bytes 89 50 4E 47, not with a brace.");
	FOREIGN("\0\0\0\0\0", invalid, "It begins with the bytes 00 00 00 00, not with a brace.");
	FOREIGN("\xEF\xBB{}", invalid, "It begins with the bytes EF BB 7B 7D, not with a brace.");
	FOREIGN(" \xEF\xBB\xBF{}", invalid, "It begins with the bytes 20 EF BB BF, not with a brace.");
	FOREIGN("\xFF", invalid, "It begins with the bytes FF, not with a brace.");
	for (size_t length = 59; length < sizeof(file); length = length < 300 ? length + 1 : length * 3)
	{
		memset(file, 'x', length);
		snprintf(detail, sizeof(detail), "It begins with \"%.*s%s\", not with a brace.",
				 length > 60 ? 60 : (int) length, file, length > 60 ? "…" : "");
		foreign(file, length, invalid, detail);
	}
}

static void
test_structure(void)
{
	refused("  ", "It ends at byte 2 of the file.", "white space");
	refused("\xEF\xBB\xBF", "It ends at byte 3 of the file.", "a byte order mark alone");
	refused("{\"entries\":[]}x", "Something after the end of the document, at byte 14 of the file.",
			"something behind");
	refused("{\"entries\":[]}{}", "Something after the end", "two documents");
	refused("{\"entries\":{}}", "A list that is not an array, at byte 11 of the file.", "an object for a list");
	refused("{\"users\":\"\"}", "A list that is not an array", "a string for a list");
	refused("{\"users\":[],\"entries\":null}", "A list that is not an array, at byte 22 of the file.",
			"null for the entries, without which there is no file");
	refused("{\"entries\":[[]]}", "An item that is not an object, after item 0 of list \"entries\", at byte 12",
			"an array for an item");
	refused("{\"entries\":[{},null]}", "An item that is not an object, after item 1 of list \"entries\", at byte 15",
			"null for an item");
	refused("{\"entries\":[{},]}", "An item that is not an object, after item 1", "a comma behind the last item");
	refused("{\"entries\":[{} {}]}", "A missing comma or closing bracket, after item 1", "no comma between items");
	refused("{\"users\":[{},{\"name\":\"a", "It ends in item 2 of list \"users\", at byte 23 of the file.",
			"half an item");
	refused("{\"entries\":[],\"entries\":[]}", "A duplicate key, at byte 14 of the file.", "a list given twice");
	refused("{\"entries\":[],\"\\u0065ntries\":null}", "A duplicate key, at byte 14", "… the second time in escapes");
	refused("{\"a\":1,\"entries\":[],\"a\":1}", "A duplicate key, at byte 20", "a member given twice");
	refused("{\"entries\":[{},{\"x\":1,\"x\":1}]}", "A duplicate key, in item 2 of list \"entries\", at byte 15",
			"a duplicate key in an item");
	refused("{\"entries\":[{\"x\":1,\"\\u0078\":1}]}", "A duplicate key, in item 1", "… the second time in escapes");
	refused("{\"entries\":[{\"x\":[1,{\"y\":{\"z\":1,\"z\":2}}]}]}", "A duplicate key, in item 1", "… deep inside");
	refused("{\"entries\":[{\"currency\":{\"code\":\"a\",\"code\":\"b\"}}]}", "A duplicate key", "… in the currency");
	entry_gives("\"userId\":\"a:b\",\"x:y\":{\":\":\"::\"}", "user_id=a:b", "colons in strings are no members");
}

/* count opening brackets, a value, as many closing ones. */
static void
nest(char *file, const char *before, int count, const char *after)
{
	strcpy(file, before);
	for (int i = 0; i < count; i++)
		strcat(file, i % 2 ? "{\"a\":" : "[");
	strcat(file, "0");
	for (int i = count; i-- > 0;)
		strcat(file, i % 2 ? "}" : "]");
	strcat(file, after);
}

static void
test_limits(void)
{
	size_t size = CLARI_MAX_ELEMENT_SIZE + 64;
	char *file = malloc(size);
	size_t filled;
	Seen seen;

	nest(file, "{\"entries\":[{\"x\":", 15, "}]}");
	gives(file, "entries\n", "sixteen levels in an item");
	nest(file, "{\"entries\":[{\"x\":", 16, "}]}");
	refused(file, "Objects or arrays nested too deeply, in item 1 of list \"entries\"", "seventeen levels");
	nest(file, "{\"entries\":[],\"x\":", 64, "}");
	gives(file, "", "sixty-four levels in another member");
	nest(file, "{\"entries\":[],\"x\":", 65, "}");
	refused(file, "Objects or arrays nested too deeply, at byte", "sixty-five levels");

	/* {"entries":[{"x":"…"}]} */
	filled = (size_t) sprintf(file, "{\"entries\":[{\"x\":\"");
	memset(file + filled, 'y', size - filled);
	strcpy(file + 12 + CLARI_MAX_ELEMENT_SIZE - 2, "\"}]}");
	memset(&seen, 0, sizeof(seen));
	read_pieces(&seen, file, strlen(file), 100000, 100000);
	ok(seen.passed && seen.entries == 1, "an item of exactly 1 MB");
	strcpy(file + 12 + CLARI_MAX_ELEMENT_SIZE - 2, "y\"}]}");
	refused_bytes(file, strlen(file), CLARI_ERROR_LIMIT,
				  "More than 1 MB, in item 1 of list \"entries\", at byte 1048588 of the file.",
				  "an item of one byte more");
	memset(file, 'k', 4096);
	memcpy(file, "{\"", 2);
	strcpy(file + 1024, "\":0,\"entries\":[]}");
	gives(file, "", "a key of 1 kB");
	file[1024] = 'k';
	strcpy(file + 1025, "\":0,\"entries\":[]}");
	refused_bytes(file, strlen(file), CLARI_ERROR_LIMIT, "A key of more than 1 kB, at byte 1025", "a longer key");
	strcpy(file, "{\"entries\":[]");
	for (int i = 1; i < 256; i++)
		sprintf(file + strlen(file), ",\"%d\":0", i);
	filled = strlen(file);
	strcpy(file + filled, "}");
	gives(file, "", "256 members");
	strcpy(file + filled, ",\"x\":0}");
	refused_bytes(file, strlen(file), CLARI_ERROR_LIMIT, "More than 256 keys", "257 members");
	free(file);
}

static void
test_failures(void)
{
	Seen seen = {.fail_at = 2};
	ClariDocument *document = clari_document_open(CLARI_ENDPOINT_EXPORT, note, &seen);
	ClariError error;
	ClariError again;
	const char *file = "{\"entries\":[{},{},{}]}";

	ok(!clari_document_push(document, file, strlen(file), &error), "a failing sink fails the push");
	ok(error.code == CLARI_ERROR_IO, "… with its code");
	is(error.message, "the sink is full", "… and its message");
	is(error.detail, "It is in item 2 of list \"entries\", at byte 15 of the file.", "… and the place in the detail");
	ok(!clari_document_push(document, " ", 1, &again) && memcmp(&error, &again, sizeof(error)) == 0,
	   "after that every push fails with the same error");
	ok(!clari_document_finish(document, &again) && memcmp(&error, &again, sizeof(error)) == 0, "… and the end, too");
	ok(!clari_document_finish(document, NULL), "… also without an error to fill");
	ok(seen.items == 2 && clari_document_entries(document) == 1, "nothing more is handed to it");
	clari_document_close(document);

	memset(&seen, 0, sizeof(seen));
	seen.fail_at = 1;
	seen.with_detail = true;
	read_pieces(&seen, file, strlen(file), 3, 3);
	is(seen.error.detail, "It says where.", "a sink's own detail is kept");

	memset(&seen, 0, sizeof(seen));
	document = clari_document_open(CLARI_ENDPOINT_EXPORT, note, &seen);
	ok(clari_document_push(document, NULL, 0, &error) && clari_document_push(document, file, 22, &error) &&
		   clari_document_push(document, " ", 1, &error) && clari_document_finish(document, &error),
	   "pushing nothing does nothing");
	ok(clari_document_bytes(document) == 23 && clari_document_entries(document) == 3, "bytes and entries are counted");
	clari_document_close(document);
	clari_document_close(NULL);
}

static ClariReply
read_reply(const char *body)
{
	ClariReply reply;
	size_t length = strlen(body);
	char *copy = malloc(length + 1);

	memcpy(copy, body, length);
	clari_json_read_reply(copy, length, "sEcret", &reply);
	free(copy);
	return reply;
}

static void
test_jobs(void)
{
	static const struct
	{
		const char *name;
		ClariJobStatus status;
	} states[] = {{"SCHEDULED", CLARI_STATUS_SCHEDULED}, {"STARTED", CLARI_STATUS_STARTED},
				  {"DONE", CLARI_STATUS_DONE},           {"COMPLETED", CLARI_STATUS_DONE},
				  {"FAILED", CLARI_STATUS_FAILED},       {"CANCELLED", CLARI_STATUS_CANCELED},
				  {"ABORTED", CLARI_STATUS_ABORTED},     {"PAUSED", CLARI_STATUS_UNKNOWN}};
	char body[CLARI_LINK_SIZE + 100];
	ClariReply reply = read_reply("{\"jobId\": \"6073683781a6da229df71e00\"}\n");

	ok(reply.is_json && reply.status == CLARI_STATUS_ABSENT, "a job accepted");
	is(reply.job_id, "6073683781a6da229df71e00", "… has its id");
	is(read_reply("{\"job\":{\"id\":\"a1\"}}").job_id, "a1", "also under \"job\", as \"id\"");
	is(read_reply("{\"job\":{\"jobId\":\"a1\",\"id\":\"b\"}}").job_id, "a1", "or as \"jobId\"");
	is(read_reply("{\"id\":\"a1\"}").job_id, "", "a bare \"id\" is not a job's");
	is(read_reply("{\"jobId\":17}").job_id, "17", "an id as an integer");
	is(read_reply("{\"jobId\":\"a b/\\n\\u00e9\\\\?#%\"}").job_id, "a b/\n\xC3\xA9\\?#%", "an id is taken as it is");
	is(read_reply("{\"jobId\":\"a\\u0000b\"}").job_id, "", "but for a NUL, which cannot be kept");
	is(read_reply("{\"jobId\":\"\xC0\xAF\"}").job_id, "", "or what is no character");
	is(read_reply("{\"jobId\":\"a\\u0000b\"}").job_id, "", "nor one with a NUL");
	is(read_reply("{\"jobId\":\"" SIXTY_FOUR SIXTY_FOUR "\"}").job_id, "",
	   "an id that does not fit is not cut into another one");
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		for (int wrapped = 0; wrapped < 2; wrapped++)
		{
			snprintf(body, sizeof(body), wrapped ? "{\"job\":{\"status\":\"%s\"}}" : "{\"status\":\"%s\"}",
					 states[i].name);
			reply = read_reply(body);
			ok(reply.status == states[i].status && strcmp(reply.status_text, states[i].name) == 0, "status %s",
			   states[i].name);
		}
	ok(read_reply("{\"status\":404}").status == CLARI_STATUS_ABSENT, "a number is no job's status");
	is(read_reply("{\"userId\":\"5d1f\"}").user_id, "5d1f", "whose it is");
	is(read_reply("{\"job\":{\"jobId\":\"a\",\"userId\":17}}").user_id, "17", "wrapped, or as an integer");
	is(read_reply("{\"userId\":\"a b\"}").user_id, "a b", "so is a user's");
	is(read_reply("{\"jobId\":\"a\",\"currency\":\"USD\"}").currency, "USD", "the currency is read");
	ok(read_reply("{\"status\":\"CANCELLED\",\"successful\":false}").successful == CLARI_FLAG_NO &&
		   read_reply("{\"successful\":null}").successful == CLARI_FLAG_NO &&
		   read_reply("{\"successful\":\"true\"}").successful == CLARI_FLAG_NO &&
		   read_reply("{\"successful\":true}").successful == CLARI_FLAG_YES &&
		   read_reply("{\"status\":\"CANCELLED\"}").successful == CLARI_FLAG_ABSENT,
	   "what was not successful says so");
	is(read_reply("{\"status\":\"a s\\u0045cret b\"}").status_text, "a ****** b",
	   "a secret in escapes is not repeated");
	ok(read_reply("{\"jobs\":{\"availableMonthlyQuota\":-3,\"availableConcurrentLimit\":-1}}").available_monthly == 0 &&
		   read_reply("{\"jobs\":{\"availableConcurrentLimit\":-1}}").available_concurrent == 0 &&
		   read_reply("{\"jobs\":{\"availableConcurrentLimit\":2}}").available_monthly == -1,
	   "less than nothing left is nothing left");
	ok(!read_reply("{\"rowsTruncated\":\"false,\"}").rows_truncated &&
		   read_reply("{\"rowsTruncated\":\"true\"}").rows_truncated,
	   "a flag may be a text");
	is(read_reply("[{\"code\":\"c\",\"message\":\"m\",\"status\":400}]").message, "m", "a list of errors is one");
	ok(read_reply("[{\"code\":\"c\",\"message\":\"m\"}]").is_json && !read_reply("[{\"jobId\":\"a\"}]").is_json,
	   "which another list is not");
	is(read_reply("{\"statusCode\":400,\"reasonPhrase\":\"Bad Request\",\"description\":\"oppId\"}").message, "oppId",
	   "a description is a message");
	is(read_reply("{\"statusCode\":400,\"reasonPhrase\":\"Bad Request\"}").message, "Bad Request",
	   "and so is a reason, if need be");
	reply = read_reply("{\"job\":{\"startTime\":1767225600000,\"endTime\":1767225601000,\"rowsTruncated\":true,"
					   "\"cellsTruncated\":false,\"downloadUrl\":\"https://x.example/a?b=c&d\"}}");
	ok(reply.end_time == 1767225601000, "when it ended");
	ok(reply.rows_truncated && !reply.cells_truncated, "what was truncated");
	is(reply.download_url, "https://x.example/a?b=c&d", "its link");
	ok(read_reply("{\"cellsTruncated\":12}").cells_truncated, "a count of what was truncated counts as true");
	ok(!read_reply("{\"cellsTruncated\":null}").cells_truncated, "null does not");
	memset(body, 'u', sizeof(body));
	memcpy(body, "{\"downloadUrl\":\"", 16);
	strcpy(body + 16 + CLARI_LINK_SIZE - 1, "\"}");
	ok(strlen(read_reply(body).download_url) == CLARI_LINK_SIZE - 1, "the longest link");
	strcpy(body + 16 + CLARI_LINK_SIZE - 1, "u\"}");
	is(read_reply(body).download_url, "", "a longer one is left out");
	reply = read_reply("{\"jobs\":{\"concurrentLimit\":3,\"monthlyQuota\":1000,\"runningJobIds\":[],"
					   "\"availableConcurrentLimit\":0}}");
	ok(reply.concurrent_limit == 3 && reply.available_concurrent == 0 && reply.monthly_quota == 1000, "limits");
	ok(reply.available_monthly == -1 && read_reply("{}").concurrent_limit == -1, "absent limits");
}

static void
test_errors(void)
{
	char body[1024];
	ClariReply reply =
		read_reply("{\"code\":\"no_optin\",\"namespace\":\"x\",\"errorId\":\"e-1\",\"message\":\"No\\n  way\"}");

	is(reply.code, "no_optin", "an error's code");
	is(reply.error_id, "e-1", "its id");
	is(reply.message, "No way", "its message on one line");
	reply = read_reply("{\"errors\":[{\"code\":400,\"message\":\"first\"},{\"code\":\"b\",\"message\":\"second\"}]}");
	ok(strcmp(reply.code, "400") == 0 && strcmp(reply.message, "first") == 0, "the first of a list of errors");
	ok(read_reply("{\"errors\":[]}").is_json && read_reply("{\"errors\":[1]}").is_json, "lists with none");
	reply = read_reply("{\"message\":\"Invalid authentication credentials\",\"request_id\":\"r1\"}");
	ok(strcmp(reply.error_id, "r1") == 0 && reply.message[0] == 'I', "the gateway's shape");
	is(read_reply("{\"message\":\"a\\u0000b\\u001bc\\u0085d\\ud800e\"}").message,
	   "abcd\xEF\xBF\xBD"
	   "e",
	   "control characters are removed from messages");
	strcpy(body, "{\"message\":\"");
	for (int i = 0; i < 200; i++)
		strcat(body, "\xC3\xA9");
	strcat(body, "\"}");
	ok(strlen(read_reply(body).message) == 254, "a long message is cut at a character");

	reply = read_reply("\r\n <!DOCTYPE html><html>\n<head><style>b > a {}\n</style><script>1 < 2</script>\n"
					   "<title>502 Bad\tGateway &amp; more</title></head>\n<body>x</body>");
	ok(!reply.is_json, "a page is not JSON");
	is(reply.first_line, "502 Bad Gateway &amp; more", "its first line of text is the message");
	is(read_reply("a < b\x01\x02 <b>c</b>\xFF\xC3\nsecond").first_line, "a < b c ??", "tags go, stray bytes become ?");
	reply = read_reply("\xEF\xBB\xBF{\"jobId\":\"a1\"}\n");
	ok(reply.is_json && strcmp(reply.job_id, "a1") == 0, "a byte order mark before an answer is passed over");
	is(reply.first_line, "{\"jobId\":\"a1\"}", "… also in what is shown of it");
	ok(!read_reply(" \xEF\xBB\xBF{\"jobId\":\"a\"}").is_json && !read_reply("{\xEF\xBB\xBF\"jobId\":\"a\"}").is_json &&
		   !read_reply("\xEF\xBB\xBF\xEF\xBB\xBF{\"jobId\":\"a\"}").is_json &&
		   !read_reply("\xEF\xBB{\"jobId\":\"a\"}").is_json && !read_reply("\xEF\xBB\xBF").is_json,
	   "elsewhere, twice, in part or alone it is none of ours");
	is(read_reply("<unclosed tag").first_line, "", "a tag without end");
	is(read_reply("<script>for ever").first_line, "", "a script without end");
	is(read_reply("<").first_line, "<", "a bare <");
	is(read_reply("").first_line, "", "an empty body");
	ok(!read_reply("[{\"jobId\":\"a\"}]").is_json, "an array is not an object");
	ok(!read_reply("{\"jobId\":\"a\"").is_json && !read_reply("{\"jobId\":\"a\"}}").is_json, "nor is broken JSON");
	ok(!read_reply("{\"jobId\":\"a\"").job_id[0], "… and nothing is taken from it");
	ok(!read_reply("null").is_json && !read_reply("17").is_json, "nor is a scalar");
}

/* The jobs of a list, as they were given; gives up after the number that it wants. */
typedef struct Listed
{
	ClariListedJob jobs[4];
	int count;
	int wanted;
} Listed;

static bool
note_job(void *arg, const ClariListedJob *job)
{
	Listed *listed = arg;

	if (listed->count < 4)
		listed->jobs[listed->count] = *job;
	return ++listed->count != listed->wanted;
}

/* How many jobs the sink is given, -1 for what is no list. */
static int
read_jobs(const char *body, Listed *listed)
{
	size_t length = strlen(body);
	char *copy = malloc(length + 1);
	bool understood;

	memset(listed, 0, sizeof(*listed));
	memcpy(copy, body, length);
	understood = clari_json_read_jobs(copy, length, note_job, listed);
	free(copy);
	return understood ? listed->count : listed->count == 0 ? -1 : -2;
}

static void
test_job_lists(void)
{
	static const char *const lists[] = {
		"[{\"jobId\":\"a\",\"userId\":\"u\",\"currency\":\"USD\",\"fileName\":\"x y.json\",\"status\":\"DONE\"},"
		"{\"jobId\":17}]",
		" [{\"job\":{\"jobId\":\"a\",\"userId\":\"u\",\"currency\":{\"code\":\"USD\"},\"fileName\":\"x y.json\","
		"\"status\":\"COMPLETED\"}},{\"job\":{\"id\":17,\"userId\":null,\"currency\":null,\"status\":null}}]\n",
		"{\"jobs\":[{\"jobId\":\"a\",\"userId\":\"u\",\"currency\":\"USD\",\"fileName\":\"x y.json\","
		"\"status\":\"DONE\"},{\"job\":{\"jobId\":\"17\",\"id\":\"b\",\"userId\":\"\",\"currency\":\"\","
		"\"fileName\":\"\"}}]}"};
	static const char *const none[] = {
		"",
		"[",
		"[{\"jobId\":\"a\"}",
		"[{\"jobId\":\"a\"}]]",
		"[{\"jobId\":\"a\"}] x",
		"null",
		"17",
		"\"jobs\"",
		"{}",
		"{\"jobs\":{}}",
		"{\"jobs\":null}",
		"{\"jobs\":{\"concurrentLimit\":3}}",
		"{\"jobs\":[{\"jobId\":\"a\"}],\"nextLink\":\"/export/jobs?page=2\"}",
		"{\"message\":\"no\"}",
		"<html>",
		"[null]",
		"[17]",
		"[[]]",
		"[{}]",
		"[{\"jobId\":\"a\"},{\"jobId\":\"\"}]",
		"[{\"jobId\":\"a\"},{\"jobId\":\"a\\u0000b\"}]",
		"[{\"jobId\":\"a\"},{\"jobId\":null}]",
		"[{\"jobId\":\"a\"},{\"jobId\":1.5}]",
		"[{\"jobId\":\"a\"},{\"id\":\"b\"}]",
		"[{\"jobId\":\"a\"},{\"job\":{}}]",
		"[{\"jobId\":\"" SIXTY_FOUR SIXTY_FOUR "\"}]",
		"[{\"jobId\":\"a\",\"userId\":[]}]",
		"[{\"jobId\":\"a\",\"userId\":1.5}]",
		"[{\"jobId\":\"a\",\"currency\":\"US DOLLAR\"}]",
		"[{\"jobId\":\"a\",\"currency\":123456789}]",
		"[{\"jobId\":\"a\",\"currency\":{}}]",
		"[{\"jobId\":\"a\",\"currency\":true}]",
	};
	char body[1024] = "[{\"jobId\":\"a\",\"fileName\":\"";
	size_t start = strlen(body);
	Listed listed;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
	{
		ok(read_jobs(lists[i], &listed) == 2, "a list in its shape %d has its jobs", (int) i + 1);
		is(listed.jobs[0].job_id, "a", "… with their ids");
		is(listed.jobs[0].user_id, "u", "… their users");
		is(listed.jobs[0].currency, "USD", "… their currencies");
		is(listed.jobs[0].file_name, "x y.json", "… their files' names, as they are");
		ok(listed.jobs[0].status == CLARI_STATUS_DONE, "… their states");
		is(listed.jobs[1].job_id, "17", "… also an id that is an integer");
		ok(listed.jobs[1].user_id[0] == '\0' && listed.jobs[1].currency[0] == '\0' &&
			   listed.jobs[1].file_name[0] == '\0' && listed.jobs[1].status == CLARI_STATUS_ABSENT,
		   "… what is absent, null or empty is empty");
	}
	ok(read_jobs("\xEF\xBB\xBF[{\"jobId\":\"a\"}]", &listed) == 1, "a list may have a byte order mark before it");
	ok(read_jobs("[\xEF\xBB\xBF{\"jobId\":\"a\"}]", &listed) == -1, "… not in it");
	ok(read_jobs("[]", &listed) == 0 && read_jobs("{\"jobs\":[]}", &listed) == 0, "a list may be empty");
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		ok(read_jobs(none[i], &listed) == -1, "no list, so no jobs: %s", none[i]);
	ok(read_jobs("[{\"jobId\":\"a\",\"status\":\"PAUSED\"}]", &listed) == 1 &&
		   listed.jobs[0].status == CLARI_STATUS_UNKNOWN,
	   "a state not heard of");
	ok(read_jobs("[{\"jobId\":\"a\",\"fileName\":\"a\\u0000b\"}]", &listed) == 1 && listed.jobs[0].file_name[0] == '\0',
	   "a file's name with a NUL is none");
	memset(body + start, 'f', 255);
	strcpy(body + start + 255, "\"}]");
	ok(read_jobs(body, &listed) == 1 && strlen(listed.jobs[0].file_name) == 255, "the longest file name");
	strcpy(body + start + 255, "f\"}]");
	ok(read_jobs(body, &listed) == 1 && listed.jobs[0].file_name[0] == '\0', "a longer one is left out, not cut");

	memset(&listed, 0, sizeof(listed));
	listed.wanted = 1;
	ok(clari_json_read_jobs(lists[0], strlen(lists[0]), note_job, &listed) && listed.count == 1,
	   "a sink that has enough is given no more");
}

static void
test_body(void)
{
	ClariRequest request = {.forecast = "f", .types = CLARI_TYPE_FORECAST | CLARI_TYPE_CRM_CLOSED | CLARI_TYPE_QUOTA};
	char *body = clari_json_export_body(&request, CLARI_SCHEDULE_NONE);

	is(body,
	   "{\"typesToExport\":[\"forecast\",\"quota\",\"crm_closed\"],\"schedule\":\"NONE\","
	   "\"includeHistorical\":false,\"exportFormat\":\"JSON\"}",
	   "a body without the optional parts");
	free(body);
	strcpy(request.period, "2026_Q1");
	strcpy(request.currency, "USD");
	strcpy(request.scope_id, "19/05::\"M\"");
	request.include_historical = true;
	request.types = CLARI_TYPES_ALL;
	body = clari_json_export_body(&request, CLARI_SCHEDULE_MAX);
	is(body,
	   "{\"timePeriod\":\"2026_Q1\",\"typesToExport\":[\"forecast\",\"quota\",\"forecast_updated\",\"adjustment\","
	   "\"crm_total\",\"crm_closed\"],\"scopeId\":\"19/05::\\\"M\\\"\",\"currency\":\"USD\",\"schedule\":\"MAX\","
	   "\"includeHistorical\":true,\"exportFormat\":\"JSON\"}",
	   "a body with everything");
	free(body);
	request.format = CLARI_FORMAT_CSV;
	body = clari_json_export_body(&request, CLARI_SCHEDULE_MAX);
	ok(strstr(body, ",\"exportFormat\":\"CSV\"}") != NULL, "a body of an export as CSV");
	free(body);
}

/* ---- what the account has ---- */

/* The answer of the endpoint gives these lines, wherever it is cut. */
static void
account_gives(ClariEndpoint endpoint, const char *answer, const char *expected, const char *name)
{
	size_t length = strlen(answer);
	int same = 0;
	Seen seen;

	for (size_t first = 0; first <= length; first++)
	{
		memset(&seen, 0, sizeof(seen));
		read_pieces_of(endpoint, &seen, answer, length, first, length);
		same += seen.passed && strcmp(seen.text, expected) == 0;
	}
	memset(&seen, 0, sizeof(seen));
	read_pieces_of(endpoint, &seen, answer, length, 1, 1);
	if (!ok(same == (int) length + 1 && seen.passed, "%s: cut anywhere", name))
		printf("# %s: %s\n", seen.error.message, seen.error.detail);
	is(seen.text, expected, name);
}

static void
account_refuses(ClariEndpoint endpoint, const char *answer, const char *message, const char *detail)
{
	Seen seen = {.used = 0};

	read_pieces_of(endpoint, &seen, answer, strlen(answer), strlen(answer), 1);
	ok(!seen.passed && strcmp(seen.error.message, message) == 0 && strstr(seen.error.detail, detail) != NULL,
	   "%s: refused", answer);
	if (strcmp(seen.error.message, message) != 0 || strstr(seen.error.detail, detail) == NULL)
		printf("# %s: %s\n", seen.error.message, seen.error.detail);
}

static void
test_account(void)
{
	account_gives(CLARI_ENDPOINT_LIMITS,
				  "{\"jobs\":{\"concurrentLimit\":3,\"monthlyQuota\":1000,\"runningJobIds\":[\"a\",\"b\"],"
				  "\"submittedJobIds\":[\"a\",\"b\",\"c\"],\"availableConcurrentLimit\":1,"
				  "\"availableMonthlyQuota\":995}}",
				  "jobs|concurrent_limit#3|monthly_quota#1000|running#2|submitted#3|available_concurrent#1|"
				  "available_monthly#995\n",
				  "the limits");
	account_gives(CLARI_ENDPOINT_LIMITS,
				  " {\"other\":[{}],\"jobs\" : {\"monthlyQuota\":null,\"availableMonthlyQuota\":-2,"
				  "\"submittedJobIds\":[]},\"more\":{\"monthlyQuota\":1}} ",
				  "jobs|submitted#0|available_monthly#-2\n", "among other members, with what is absent");
	account_gives(CLARI_ENDPOINT_LIMITS,
				  "{\"jobs\":{\"monthlyQuota\":\"1000\",\"concurrentLimit\":2.5,\"availableMonthlyQuota\":{},"
				  "\"availableConcurrentLimit\":1234567890123456789}}",
				  "jobs|concurrent_limit~2.5|monthly_quota~\"1000\"|available_concurrent~1234567890123456789|"
				  "available_monthly~{}\n",
				  "what is no integer is shown to whoever asks");
	account_refuses(CLARI_ENDPOINT_LIMITS, "{}", "Clari's answer has no list \"jobs\"", "2 bytes");
	account_refuses(CLARI_ENDPOINT_LIMITS, "{\"jobs\":[]}", "Clari's answer is not valid JSON", "is not an object");
	account_refuses(CLARI_ENDPOINT_LIMITS, "{\"jobs\":null}", "Clari's answer is not valid JSON", "is not an object");
	account_refuses(CLARI_ENDPOINT_LIMITS, "[]", "Clari's answer is not a JSON object", "as a list does");
	account_refuses(CLARI_ENDPOINT_LIMITS, "{\"jobs\":{\"monthlyQuota\":1}", "Clari's answer ends too early",
					"byte 26");
	account_refuses(CLARI_ENDPOINT_LIMITS, "{\"jobs\":{\"monthlyQuota\":1,\"monthlyQuota\":2}}",
					"Clari's answer gives a key twice", "A duplicate key");

	account_gives(
		CLARI_ENDPOINT_JOBS,
		"[{\"jobId\":\"6073\",\"userId\":17,\"orgId\":4,\"startTime\":1618451575216,\"viewed\":false,"
		"\"downloads\":2,\"deliveryStatusMap\":{\"a\":1},\"currency\":\"USD\"},{\"jobId\":9,\"status\":\"DONE\"}]",
		"jobs|job_id=6073|user_id=17|org_id=4|start_time#1618451575216|viewed!f|downloads#2|"
		"delivery_status_map={\"a\":1}|currency=USD\njobs|job_id=9|status=DONE\n",
		"the jobs");
	account_gives(CLARI_ENDPOINT_JOBS, "{\"jobs\":[{\"jobId\":\"1\"}],\"more\":false}", "jobs|job_id=1\n",
				  "as a member");
	account_gives(CLARI_ENDPOINT_JOBS, "[{\"job\":{\"id\":\"1\",\"currency\":{\"code\":\"EUR\"}}}]",
				  "jobs|job_id=1|currency=EUR\n", "each under a key");
	account_gives(CLARI_ENDPOINT_JOBS, "\xEF\xBB\xBF [ ] ", "", "none");
	account_gives(CLARI_ENDPOINT_JOBS, "[{\"startTime\":\"123456789,\",\"viewed\":\"true,\"}]",
				  "jobs|start_time~\"123456789,\"|viewed~\"true,\"\n", "texts where Clari's document shows such");
	account_refuses(CLARI_ENDPOINT_JOBS, "[1]", "Clari's answer is not valid JSON", "An item that is not an object");
	account_refuses(CLARI_ENDPOINT_JOBS, "[{}", "Clari's answer ends too early", "byte 3");
	account_refuses(CLARI_ENDPOINT_JOBS, "[{}]]", "Clari's answer is not valid JSON", "after the end of the document");
	account_refuses(CLARI_ENDPOINT_JOBS, "[{}}", "Clari's answer is not valid JSON", "closing bracket");
	account_refuses(CLARI_ENDPOINT_JOBS, "{\"jobs\":{}}", "Clari's answer is not valid JSON", "not an array");
	account_refuses(CLARI_ENDPOINT_JOBS, "{}", "Clari's answer has no list \"jobs\"", "2 bytes");
	account_refuses(CLARI_ENDPOINT_JOBS, "<html>", "Clari's answer is not valid JSON", "a web page");
	account_refuses(CLARI_ENDPOINT_JOBS, "[{\"jobId\":{}}]", "Clari's answer holds a value of the wrong type",
					"in item 1 of list \"jobs\"");
}

int
main(void)
{
	test_cuts();
	test_shapes();
	test_values();
	test_types();
	test_json_texts();
	test_unexpected();
	test_two_names();
	test_plain();
	test_tokens();
	test_strings();
	test_foreign();
	test_structure();
	test_limits();
	test_failures();
	test_jobs();
	test_errors();
	test_job_lists();
	test_account();
	test_body();
	return done_testing();
}
