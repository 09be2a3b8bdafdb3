/*
 * test_csv.c
 *		What json promises of lines: entries exactly as CSV, or a list of lines as
 *		objects, shows them, whatever the cuts; or an error with the text and its
 *		place.
 */
#include "json/json.h"

#include <stdlib.h>

#include "unit.h"

#define HEADER "User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week,Start Day,End Day,Data Type,Data Value\r\n"
#define KEY "Ada,ada@x,005A,Rep,CEO,Q1 FY 2026,Commit,3,02/15/2025,02/21/2025,"
#define ENTRY "Ada|ada@x|005A|Rep|CEO|2025-02-15|2025-02-21|3|Q1 FY 2026||Commit|"

/* What a document gave: one line per entry, its keys, and then its values as "name=value|". */
typedef struct Seen
{
	char text[16384];
	size_t used;
	bool passed;
	uint64_t entries;
	ClariError error;
} Seen;

static void
put(Seen *seen, const char *text, size_t length)
{
	if (length > sizeof(seen->text) - 1 - seen->used)
		length = sizeof(seen->text) - 1 - seen->used;
	if (length > 0)
		memcpy(seen->text + seen->used, text, length);
	seen->used += length;
}

static bool
note(void *arg, ClariList list, const ClariValue *values, ClariError *error)
{
	static const char *const names[] = {"forecast=", "quota=", "adjustment=", "total=", "closed=", "updated="};
	Seen *seen = arg;

	if (list != CLARI_LINES)
		return clari_error_set(error, CLARI_ERROR_DATA, "not a line");
	for (int i = 0; i < CLARI_LINE_KEYS; i++)
	{
		put(seen, values[i].data, values[i].kind == CLARI_VALUE_NULL ? 0 : values[i].length);
		put(seen, "|", 1);
	}
	for (int i = CLARI_LINE_KEYS; i < CLARI_LINE_COUNT; i++)
	{
		const ClariValue *value = &values[i];

		if (value->kind == CLARI_VALUE_NULL)
			continue;
		put(seen, names[i - CLARI_LINE_KEYS], strlen(names[i - CLARI_LINE_KEYS]));
		if (value->kind == CLARI_VALUE_BOOL)
			put(seen, value->boolean ? "t" : "f", 1);
		else
			put(seen, value->data, value->length);
		put(seen, "|", 1);
	}
	put(seen, "\n", 1);
	return true;
}

/* Reads a document whose pieces are pushed from copies, so that sanitizers see every read too far. */
static void
read_pieces(Seen *seen, const char *file, size_t length, size_t first, size_t piece)
{
	ClariDocument *document = clari_document_open(CLARI_ENDPOINT_EXPORT, note, seen);
	size_t size = first;

	memset(seen, 0, sizeof(*seen));
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

/* The same under every cut in two, and byte by byte. */
static void
same_under_cuts(const char *file, size_t length, const char *name)
{
	static Seen whole;
	static Seen cut;
	bool same = true;

	read_pieces(&whole, file, length, length, 1);
	for (size_t first = 0; first <= length && same; first++)
	{
		read_pieces(&cut, file, length, first, first == 0 ? 1 : length);
		same = memcmp(&whole, &cut, sizeof(cut)) == 0;
	}
	ok(same, "%s: whatever the cuts", name);
}

static void
bytes_give(const char *file, size_t length, const char *expected, const char *name)
{
	static Seen seen;

	read_pieces(&seen, file, length, length, 1);
	if (!ok(seen.passed, "%s: accepted", name))
		printf("# %s: %s\n", seen.error.message, seen.error.detail);
	is(seen.text, expected, name);
	same_under_cuts(file, length, name);
}

static void
gives(const char *file, const char *expected, const char *name)
{
	bytes_give(file, strlen(file), expected, name);
}

static void
bytes_are_refused(const char *file, size_t length, ClariErrorCode code, const char *message, const char *detail)
{
	static Seen seen;

	read_pieces(&seen, file, length, length, 1);
	ok(!seen.passed && seen.error.code == code, "%s: refused", detail);
	is(seen.error.message, message, "… and the message");
	is(seen.error.detail, detail, "… and the detail");
	same_under_cuts(file, length, detail);
}

static void
is_refused(const char *file, const char *message, const char *detail)
{
	bytes_are_refused(file, strlen(file), CLARI_ERROR_DATA, message, detail);
}

/* ------- lines ------- */

static void
test_lines(void)
{
	gives(HEADER KEY "Forecast Value,5\r\n", ENTRY "forecast=5|\n", "a line");
	gives(HEADER KEY "Forecast Value,\"$3,000,190.00\"\r\n" KEY "Forecast Updated,No\r\n" KEY
					 "Adjustment Value,-$5\r\n" KEY "CRM Total,0\r\n" KEY "CRM Closed,\r\n",
		  ENTRY "forecast=3000190.00|adjustment=-5|total=0|updated=f|\n", "an entry's lines are gathered");
	gives(HEADER KEY "Quota Value,1\n" KEY "Forecast Updated,Yes\n", ENTRY "quota=1|updated=t|\n",
		  "lines that end with LF, in a file whose header does not");
	gives("\xEF\xBB\xBF" HEADER KEY "Quota Value,1", ENTRY "quota=1|\n",
		  "a byte order mark, and no end of the last line");
	gives(HEADER "\r\n" KEY "Quota Value,1\r\n\r\n\n", ENTRY "quota=1|\n", "empty lines");
	gives(HEADER, "", "no line");
	gives("User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week,Start Day,End Day,Data Type,Data Value", "",
		  "not even the end of the header");
	gives(HEADER KEY "Quota Value,\"\"", ENTRY "\n", "an empty value in quotes, at the end of the file");
	gives(HEADER KEY "Quota Value,", ENTRY "\n", "none at all, at the end of the file");
	gives(HEADER KEY "Quota Value,1\r\n" KEY "Quota Value,1\r\n", ENTRY "quota=1|\n", "the same line twice");
	gives(HEADER KEY "Quota Value,1\r\nBob,,,,,,Commit,,,,Quota,2\r\n" KEY "Forecast,3\r\n",
		  ENTRY "quota=1|\nBob||||||||||Commit|quota=2|\n" ENTRY "forecast=3|\n", "an entry in two pieces");
	gives("data_value,DATA TYPE, end day,StartDay,Week,Field,Timeframe,Parent Role,Role,crm_user_id,Email,User\n"
		  "7,forecast value,02/21/2025,02/15/2025,3,Commit,Q1 FY 2026,CEO,Rep,005A,ada@x,Ada\n",
		  ENTRY "forecast=7|\n", "columns by their names, in any order");
	gives("Team,User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week,Start Day,End Day,Data Type,Data Value,\n"
		  "A," KEY "Quota Value,1,\nB," KEY "Quota Value,1,x\n",
		  "Ada|ada@x|005A|Rep|CEO|2025-02-15|2025-02-21|3|Q1 FY 2026|4:Team1:A0:0:|Commit|quota=1|\n"
		  "Ada|ada@x|005A|Rep|CEO|2025-02-15|2025-02-21|3|Q1 FY 2026|4:Team1:B0:1:x|Commit|quota=1|\n",
		  "columns that nobody knows tell entries apart");
}

static void
test_cells(void)
{
	gives(HEADER "\"Line\nBreak, \"\"Q\"\"\",\"CR\r\nLF\",\"\"\"\"\"\", x ,Zoë 😀,,Commit,,,,Quota Value,1\n",
		  "Line\nBreak, \"Q\"|CR\r\nLF|\"\"| x |Zoë 😀||||||Commit|quota=1|\n",
		  "quotes, line ends and commas in quotes");
	gives(HEADER "\x01\x7F\t,,,,,,Commit,,,,Quota Value,1\n", "\x01\x7F\t||||||||||Commit|quota=1|\n",
		  "control characters");
	is_refused(HEADER "A\"da,,,,,,Commit,,,,Quota,1\n", "the export file is not valid CSV",
			   "A quote inside a cell that does not begin with one, in line 2 of the file.");
	is_refused(HEADER KEY "Quota,1\n\"Ada\"x,,,,,,Commit,,,,Quota,1\n", "the export file is not valid CSV",
			   "Something behind a cell's closing quote, in line 3 of the file.");
	is_refused(HEADER "\"A\nd\na\",,,,,,Commit,,,,Quota,1\n\"Ada,,,,,,Commit,,,,Quota,1\n",
			   "the export file is not valid CSV", "A cell whose quotes do not end, in line 5 of the file.");
	is_refused(HEADER "Ada\rx,,,,,,Commit,,,,Quota,1\n", "the export file is not valid CSV",
			   "A carriage return without a line feed, in line 2 of the file.");
	is_refused(HEADER "Ada\r", "the export file is not valid CSV",
			   "A carriage return without a line feed, in line 2 of the file.");
	is_refused(HEADER "Ad\xC3,,,,,,Commit,,,,Quota,1\n", "the export file is not valid CSV",
			   "A byte that is not valid UTF-8, in line 2 of the file.");
	is_refused(HEADER "Ad\xED\xA0\x80,,,,,,Commit,,,,Quota,1\n", "the export file is not valid CSV",
			   "A byte that is not valid UTF-8, in line 2 of the file.");
	bytes_are_refused(HEADER "A\0a,,,,,,Commit,,,,Quota,1\n", sizeof(HEADER "A\0a,,,,,,Commit,,,,Quota,1\n") - 1,
					  CLARI_ERROR_DATA, "the export file is not valid CSV", "A NUL character, in line 2 of the file.");
	is_refused(HEADER "Ada,1\n", "the export file is not valid CSV",
			   "A line has 2 cells instead of 12, in line 2 of the file.");
	is_refused(HEADER KEY "Quota,1,\n", "the export file is not valid CSV",
			   "A line has 13 cells instead of 12, in line 2 of the file.");
}

static void
test_header(void)
{
	is_refused("User,Email,CRM User ID,Role\r\nAda,a@x,1,2\r\n",
			   "the export file is CSV without column \"Parent Role\"",
			   "It begins with \"User,Email,CRM User ID,Role…\", as CSV does.");
	is_refused("User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week,Start Day,End Day,Data Type,user\r\n",
			   "the export file gives a column twice", "Its header has \"User\" twice, in line 1 of the file.");
}

/* What may have been cut, and what of it is whole if a line's end is enough. */
static void
test_cut(void)
{
	static const struct
	{
		const char *file;
		bool is_whole;
		bool has_line_end;
	} cases[] = {
		{HEADER KEY "Quota Value,$500", false, false},
		{HEADER KEY "Quota Value,$500\r\n", false, true},
		{HEADER KEY "Quota Value,$500\n\n", false, true},
		{HEADER, false, true},
		{"[{\"Data Type\":\"Quota\",\"Data Value\":\"1\",\"Field\":\"F\"}]", true, true},
	};

	for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++)
	{
		const char *file = cases[i / 2].file;
		bool is_enough = i % 2 == 1;
		Seen seen = {0};
		ClariDocument *document = clari_document_open(CLARI_ENDPOINT_EXPORT, note, &seen);

		ok(clari_document_push(document, file, strlen(file), &seen.error), "bytes that may be cut are pushed");
		clari_document_may_be_cut(document, is_enough);
		seen.passed = clari_document_finish(document, &seen.error);
		if (is_enough ? cases[i / 2].has_line_end : cases[i / 2].is_whole)
			ok(seen.passed, "… and are whole");
		else
			is(seen.error.message, "the export file may end too early", "… and are not known to be whole");
		clari_document_close(document);
	}
}

/* A line of more than 1 MB is an error at the same place, whatever the cuts. */
static void
test_limit(void)
{
	size_t header = strlen(HEADER);
	size_t size = header + CLARI_MAX_ELEMENT_SIZE + 100;
	char *file = malloc(size + 1);
	static Seen whole;
	static Seen cut;

	memset(file, 'x', size);
	memcpy(file, HEADER, header);
	file[size] = '\0';
	file[size - 1] = '"';
	read_pieces(&whole, file, size, size, 1);
	ok(!whole.passed && whole.error.code == CLARI_ERROR_LIMIT, "a line of more than 1 MB");
	is(whole.error.detail, "More than 1 MB, in line 2 of the file.", "… and its place");
	read_pieces(&cut, file, size, 1000, 4096);
	ok(memcmp(&whole, &cut, sizeof(cut)) == 0, "… in pieces too");
	free(file);
}

/* ------- values ------- */

static void
amount(const char *text, const char *number)
{
	char file[1024];
	char expected[1024];
	static Seen seen;

	snprintf(file, sizeof(file), HEADER KEY "Forecast Value,\"%s\"\n", text);
	read_pieces(&seen, file, strlen(file), strlen(file), 1);
	if (number != NULL)
	{
		snprintf(expected, sizeof(expected), ENTRY "forecast=%s|\n", number);
		ok(seen.passed && strcmp(seen.text, expected) == 0, "\"%s\" is %s", text, number);
		return;
	}
	snprintf(
		expected, sizeof(expected),
		"The \"Forecast Value\" of a line is \"%s\", which is not an amount such as $3,000,190.00. It is in line 2 "
		"of the file.",
		text);
	ok(!seen.passed && seen.error.code == CLARI_ERROR_DATA, "\"%s\" is no amount", text);
	is(seen.error.message, "the export file holds a value that cannot be read exactly", "… says the message");
	is(seen.error.detail, expected, "… and the detail shows it");
}

static void
test_amounts(void)
{
	static const char *const amounts[][2] = {
		{"$3,000,190.00", "3000190.00"},
		{"(1,234.00)", "-1234.00"},
		{"($1,234.00)", "-1234.00"},
		{"-$5", "-5"},
		{"$-5", "-5"},
		{"-5", "-5"},
		{"0", "0"},
		{"0.00", "0.00"},
		{"€1,234.00", "1234.00"},
		{"£12", "12"},
		{"¥1,234,567", "1234567"},
		{"₹1.5", "1.5"},
		{"1,234.567", "1234.567"},
		{"1234.567", "1234.567"},
		{"0.005", "0.005"},
		{"1.2345", "1.2345"},
		{"123456789012345678901234567890.12", "123456789012345678901234567890.12"},
		{"$123,456,789,012,345,678,901,234,567,890.123456789", "123456789012345678901234567890.123456789"},
		{"007", "007"},
	};
	static const char *const none[] = {
		"€1.234",
		"1.234",
		"-1.234",
		"1.234,50",
		"1,23",
		"12,34.00",
		"1234,567",
		"1,2345",
		",123",
		"1,",
		"1,234,",
		"1,,234",
		".5",
		"5.",
		"1.2.3",
		"1e3",
		"+5",
		"--5",
		"-",
		"$",
		"()",
		"(-5)",
		"-(5)",
		"($)",
		"(5",
		"5)",
		" 5",
		"5 ",
		"$ 5",
		"5%",
		"NaN",
		"USD 5",
		"5 USD",
		"5$",
		"Yes",
		"$$5",
		"-$-5",
		"(€1.234)",
		"1.234.567",
		"١",
		"1 234",
		"1'234",
		"0x10",
		"\xC2\xA0"
		"5",
		"1,234.",
		"Infinity",
		"($-5)",
	};

	for (size_t i = 0; i < sizeof(amounts) / sizeof(amounts[0]); i++)
		amount(amounts[i][0], amounts[i][1]);
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
		amount(none[i], NULL);
}

static void
test_values(void)
{
	static const char unread[] = "the export file holds a value that cannot be read exactly";
	static const char no_day[] = "the export file holds a day that is not written MM/DD/YYYY";
	char file[2048];
	char detail[512];

	gives(HEADER KEY "Forecast Updated,YES\n", ENTRY "updated=t|\n", "Yes, whatever its case");
	gives(HEADER KEY "Is Updated,false\n", ENTRY "updated=f|\n", "false");
	is_refused(HEADER KEY "Forecast Updated,Ja\n", unread,
			   "The \"Forecast Updated\" of a line is \"Ja\", which is not Yes or No. It is in line 2 of the file.");
	is_refused(
		HEADER KEY "Forecast Updated,No\n" KEY "Forecast Updated,Yes\n", unread,
		"The \"Forecast Updated\" of a line is \"Yes\", which is not what an earlier line of the same entry says. "
		"It is in line 3 of the file.");
	is_refused(
		HEADER KEY "Quota,1\n" KEY "Quota,2\n", unread,
		"The \"Quota\" of a line is \"2\", which is not what an earlier line of the same entry says. It is in line 3 "
		"of the file.");
	is_refused(HEADER KEY "Win Rate,1\n", "the export file holds a data type that is not known",
			   "The \"Data Type\" of a line is \"Win Rate\". It is in line 2 of the file.");
	is_refused(HEADER KEY ",1\n", "the export file holds a data type that is not known",
			   "A line lacks its \"Data Type\". It is in line 2 of the file.");
	is_refused(HEADER "Ada,,,,,,,,,,Quota,1\n", "a line of the export file has no field",
			   "A line lacks its \"Field\". It is in line 2 of the file.");
	is_refused(HEADER "Ada,,,,,,Commit,0,30/06/2023,,Quota,1\n", no_day,
			   "The \"Start Day\" of a line is \"30/06/2023\". It is in line 2 of the file.");
	is_refused(HEADER "Ada,,,,,,Commit,0,,02/29/2023,Quota,1\n", no_day,
			   "The \"End Day\" of a line is \"02/29/2023\". It is in line 2 of the file.");
	is_refused(HEADER "Ada,,,,,,Commit,0,6/30/2023,,Quota,1\n", no_day,
			   "The \"Start Day\" of a line is \"6/30/2023\". It is in line 2 of the file.");
	gives(HEADER "Ada,,,,,,Commit,0,2023-06-30,02/29/2024,Quota,1\n",
		  "Ada|||||2023-06-30|2024-02-29|0|||Commit|quota=1|\n", "a day as ISO 8601 has it");
	/* 99 bytes, and a character of two of which the text is not cut in half */
	snprintf(file, sizeof(file), HEADER KEY "Quota,%099dé and more\n", 0);
	snprintf(
		detail, sizeof(detail),
		"The \"Quota\" of a line is \"%099d\" and so on, which is not an amount such as $3,000,190.00. It is in line 2 "
		"of the file.",
		0);
	is_refused(file, unread, detail);
}

/* ------- the same as objects ------- */

#define ROW(type, value)                                                                                               \
	"{\"User\":\"Ada\",\"Email\":\"ada@x\",\"CRM User ID\":\"005A\",\"Role\":\"Rep\",\"Parent Role\":\"CEO\","         \
	"\"Timeframe\":\"Q1 FY 2026\",\"Field\":\"Commit\",\"Week\":\"3\",\"Start Day\":\"02/15/2025\",\"End "             \
	"Day\":\"02/21/2025\",\"Data Type\":\"" type "\",\"Data Value\":" value "}"

static void
test_rows(void)
{
	gives("[" ROW("Forecast Value", "\"$3,000,190.00\"") "," ROW("Forecast Updated", "\"No\"") "]",
		  ENTRY "forecast=3000190.00|updated=f|\n", "lines as objects");
	gives("\xEF\xBB\xBF [ " ROW("Forecast Value", "1.234") " , " ROW("Forecast Updated", "true") "," ROW(
			  "Quota", "12345678901234567890") "," ROW("Adjustment", "-1e3") "," ROW("CRM Total",
																					 "null") "," ROW("CRM Closed",
																									 "17") "]\n",
		  ENTRY "forecast=1.234|quota=12345678901234567890|adjustment=-1e3|closed=17|updated=t|\n",
		  "values that are JSON's own");
	gives("[{\"Data Type\":\"Quota\",\"Data Value\":\"1\",\"Field\":\"Commit\",\"Week\":3,\"User\":null,\"Email\":17}]",
		  "|17||||||3|||Commit|quota=1|\n", "members in another order, not all, and integers");
	gives("[{\"A\":\"x\",\"Data Type\":\"Quota\",\"Data Value\":\"1\",\"Field\":\"F\"},{\"B\":\"x\",\"Data "
		  "Type\":\"Quota\",\"Data Value\":\"1\",\"Field\":\"F\"}]",
		  "|||||||||1:A1:x|F|quota=1|\n|||||||||1:B1:x|F|quota=1|\n", "members that nobody knows");
	is_refused(
		"[" ROW("Forecast Value", "\"1.234\"") "]", "the export file holds a value that cannot be read exactly",
		"The \"Forecast Value\" of a line is \"1.234\", which is not an amount such as $3,000,190.00. It is in item 1, "
		"at byte 1 of the file.");
	is_refused("[" ROW("Quota", "1") "," ROW("Quota", "[1]") "]", "the export file holds a value of the wrong type",
			   "Attribute \"Data Value\" is an array instead of a string, in item 2, at byte 222 of the file.");
	is_refused("[" ROW("Quota", "1") "," ROW("Quota", "1, \"User\":2") "]", "the export file gives a key twice",
			   "A duplicate key, in item 2, at byte 222 of the file.");
	is_refused("[" ROW("Quota", "1, \"user\":2") "]", "the export file gives a column twice",
			   "An item has \"user\" twice, in item 1, at byte 1 of the file.");
	is_refused("[" ROW("Quota", "1") ",1]", "the export file is not valid JSON",
			   "An item that is not an object, after item 1, at byte 222 of the file.");
	is_refused("[" ROW("Quota", "1"), "the export file ends too early",
			   "It ends after item 1, at byte 221 of the file.");
	is_refused("[" ROW("Quota", "1") "]]", "the export file is not valid JSON",
			   "Something after the end of the document, at byte 222 of the file.");
	is_refused("[]", "the export file is not a JSON object", "It begins with \"[]\", as a list does.");
	is_refused("[{\"User\":\"Ada\"}]", "the export file holds a data type that is not known",
			   "A line lacks its \"Data Type\". It is in item 1, at byte 1 of the file.");
}

/* ------- nothing but cells ------- */

#define COLUMNS                                                                                                         \
	"\"User\",\"Email\",\"CRM User ID\",\"Role\",\"Parent Role\",\"Timeframe\",\"Field\",\"Week\",\"Start Day\",\"End " \
	"Day\",\"Data Type\",\"Data Value\""
#define CELLS(type)                                                                                                     \
	",\"Ada\",\"ada@x\",\"005A\",\"Rep\",\"CEO\",\"Q1 FY 2026\",\"Commit\",\"3\",\"02/15/2025\",\"02/21/2025\",\"" type \
	"\""

static void
test_cells_in_a_list(void)
{
	gives("[" COLUMNS CELLS("Forecast Value") ",\"$3,000,190.00\"" CELLS("Forecast Updated") ",\"No\"]",
		  ENTRY "forecast=3000190.00|updated=f|\n", "a list of cells");
	gives("[" COLUMNS CELLS("Forecast Value")
			  CELLS("Forecast Updated") ",\"No\"" CELLS("Quota") ",\"\"" CELLS("CRM Total") "]",
		  ENTRY "updated=f|\n", "of which values are missing, as in Clari's example");
	gives("[" COLUMNS "]", "", "the header alone");
	gives("[\"Data Value\",\"Data Type\",\"User\",\"Email\",\"CRM User ID\",\"Role\",\"Parent "
		  "Role\",\"Timeframe\",\"Field\",\"Week\",\"Start Day\",\"End Day\","
		  "\"5\",\"Quota\",\"Ada\",\"ada@x\",\"005A\",\"Rep\",\"CEO\",\"Q1 FY "
		  "2026\",\"Commit\",\"3\",\"02/15/2025\",\"02/21/2025\"]",
		  ENTRY "quota=5|\n", "another order");
	is_refused("[" COLUMNS CELLS("Forecast Value") ",\"€1.234\"" CELLS("Forecast Updated") ",\"No\"]",
			   "the export file holds a data type that is not known",
			   "The \"Data Type\" of a line is \"02/21/2025\". It is in item 35, at byte 323 of the file.");
	is_refused("[" COLUMNS ",\"Ada\"]", "the export file ends too early",
			   "Its last line has 1 cell instead of 12. It is at byte 131 of the file.");
	is_refused("[\"User\",\"Email\"]", "the export file ends too early",
			   "Its last line has 2 cells instead of 12. It is at byte 16 of the file.");
	is_refused("[\"User\",\"Email\",\"user\"]",
			   "the export file is a list of texts that does not begin with Clari's columns",
			   "It has \"user\" among the first 12. It is in item 3, at byte 16 of the file.");
	is_refused("[\"sorry\"]", "the export file is a list of texts that does not begin with Clari's columns",
			   "It has \"sorry\" among the first 12. It is in item 1, at byte 1 of the file.");
	is_refused("[\"User\",{}]", "the export file is not valid JSON",
			   "A list of both objects and strings, in item 2, at byte 8 of the file.");
	is_refused("[" COLUMNS ",5]", "the export file is not valid JSON",
			   "An item that is not an object, after item 12, at byte 125 of the file.");
}

int
main(void)
{
	test_lines();
	test_cells();
	test_header();
	test_limit();
	test_cut();
	test_amounts();
	test_values();
	test_rows();
	test_cells_in_a_list();
	return done_testing();
}
