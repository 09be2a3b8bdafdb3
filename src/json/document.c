/*
 * document.c
 *		The export file, as JSON or CSV: see json.h. (Replies are in
 *		reply.c.)
 *
 * Runs in the worker, in unit tests and in fuzzers.  Raises nothing, takes no
 * lock.  The bytes themselves show the shape of the document: an object of
 * lists, a list of lines, or CSV (csv.c).  Lines are collected by line.c.  For
 * JSON, framing.c checks the bytes and splits them into elements.  plain.c
 * reads elements in the usual notation.  json-c reads the others here, one at a
 * time, and their members become values according to the attributes of their
 * list.  Values point into json-c's object; only the text of integers, and
 * values that are written as JSON again, are copied.
 */
#include "json/json.h"

#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json/internal.h"

#define MAX_MEMBERS 256 /* of the document's object */
#define REMEMBERED 64   /* for this many members of an item, the matching attribute is remembered */
#define PLACE_SIZE 128  /* bytes of a text that says where in the file an error is */
#define WHAT_SIZE 384   /* bytes of a text that says what the error is */

/*
 * Not JSON_TOKENER_STRICT: the framing is strict already, and in json-c 0.18
 * that flag refuses all bytes from 0x80 on (its issue 892).
 */
#define TOKENER_FLAGS JSON_TOKENER_VALIDATE_UTF8

#define HEAD_SIZE 128 /* this many bytes are awaited before an error says what the file is instead */

/* The attribute that an item's member matches. */
typedef struct Match
{
	const char *key; /* the attribute's key or alias; NULL if not known yet */
	size_t length;   /* of its first part: "currency" of "currency.code" */
	int attribute;
	bool descends; /* the key has more parts, so the value is an object of attributes */
} Match;

struct ClariDocument
{
	ClariEndpoint endpoint;
	ClariItemSink sink;
	void *arg;
	ClariFraming framing;
	ClariCsv csv;
	bool is_csv;
	bool is_open;                       /* the last line does not end with a line end */
	bool may_be_cut;                    /* clari_document_may_be_cut() was called … */
	bool line_end_is_enough;            /* … with this argument */
	int columns[CLARI_CSV_COLUMNS];     /* of CSV, by place: CLARI_LINE_… or CLARI_COLUMN_… */
	ClariText names[CLARI_CSV_COLUMNS]; /* names of unknown columns, malloc'd; others are NULL */
	int ncolumns;                       /* 0: the header was not read yet */
	ClariLines *lines;                  /* of CSV, or of a list of lines */
	bool is_of_cells;                   /* the list of lines contains their cells, one after the other */
	uint64_t bytes;
	json_tokener *tokener;
	json_object *keys;             /* set of the keys of the document's object so far */
	int list;                      /* the list that is being read, or CLARI_NO_LIST */
	bool has_needed;               /* the list that the document must have was found */
	uint64_t entries;              /* number of items of that list */
	unsigned char head[HEAD_SIZE]; /* the first bytes of the file */
	size_t head_length;            /* how many of them were received */
	bool is_foreign;               /* the file begins wrongly, and will fail once head is complete, unless it is CSV */
	ClariValue values[CLARI_MAX_ATTRIBUTES];
	char integers[CLARI_MAX_ATTRIBUTES][CLARI_INTEGER_SIZE];
	char *texts; /* the current item's values that are written as JSON again, one after the other; malloc'd, reused */
	size_t texts_used;
	size_t texts_size; /* if any is needed, at least the item's length, which suffices for all of them */
	Match matches[CLARI_LIST_COUNT][REMEMBERED]; /* of the n-th member of the last item */
	ClariPlain plain;
	bool failed;
	ClariError error;
};

/* Returns the list that a document of the endpoint must have. */
static ClariList
needed_list(ClariEndpoint endpoint)
{
	switch (endpoint)
	{
		case CLARI_ENDPOINT_LIMITS:
			return CLARI_LIMITS;
		case CLARI_ENDPOINT_JOBS:
			return CLARI_JOBS;
		default:
			return CLARI_ENTRIES;
	}
}

/* ------- errors of the document ------- */

/* Returns the error to the caller who pushes bytes.  If the document is not an export file, replaces these words. */
static void
give_error(const ClariDocument *document, ClariError *error)
{
	static const char file[] = "the export file";

	*error = document->error;
	if (document->endpoint != CLARI_ENDPOINT_EXPORT && strncmp(error->message, file, sizeof(file) - 1) == 0)
		snprintf(error->message, sizeof(error->message), "Clari's answer%s",
				 document->error.message + sizeof(file) - 1);
}

/* Writes where the error is as far as known, as in "in item 3 of list …, at byte 17 of the file". */
static void
describe_place(const ClariDocument *document, uint64_t offset, bool in_item, char *place)
{
	const ClariFraming *framing = &document->framing;
	unsigned long long byte = (unsigned long long) offset;
	unsigned long long items = (unsigned long long) framing->elements;
	char list[64] = "";

	if (framing->is_list && document->list != CLARI_NO_LIST)
		snprintf(list, sizeof(list), " of list \"%s\"", clari_lists[document->list].key);
	if (document->is_csv)
		snprintf(place, PLACE_SIZE, "in line %llu of the file", (unsigned long long) document->csv.line);
	else if (!framing->is_list || framing->depth < 2)
		snprintf(place, PLACE_SIZE, "at byte %llu of the file", byte);
	else if (in_item || framing->gathering)
		snprintf(place, PLACE_SIZE, "in item %llu%s, at byte %llu of the file", items + !in_item, list, byte);
	else
		snprintf(place, PLACE_SIZE, "after item %llu%s, at byte %llu of the file", items, list, byte);
}

/* Fails with an error at the next byte of the framing.  what is a noun phrase. */
static bool
fail_here(ClariDocument *document, ClariErrorCode code, const char *message, const char *what)
{
	char place[PLACE_SIZE];

	describe_place(document, clari_framing_offset(&document->framing), false, place);
	document->failed = true;
	clari_error_set(&document->error, code, "%s", message);
	clari_error_detail(&document->error, "%s, %s.", what, place);
	return false;
}

/* Fails with an error about the key or item just read, at its beginning. */
static bool fail_item(ClariDocument *document, const char *message, const char *format, ...) CLARI_PRINTF(3, 4);

static bool
fail_item(ClariDocument *document, const char *message, const char *format, ...)
{
	char place[PLACE_SIZE];
	char what[WHAT_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	describe_place(document, document->framing.begun, true, place);
	document->failed = true;
	clari_error_set(&document->error, CLARI_ERROR_DATA, "%s", message);
	clari_error_detail(&document->error, "%s, %s.", what, place);
	return false;
}

static bool
fail_memory(ClariDocument *document)
{
	document->failed = true;
	return clari_error_out_of_memory(&document->error);
}

/* ------- files that are not Clari's ------- */

/* Did the framing fail at the very beginning, or at a NUL after the first brace? */
static bool
begins_wrong(const ClariDocument *document)
{
	const ClariFraming *framing = &document->framing;

	return (framing->depth == 0 && !clari_framing_complete(framing)) ||
		   (clari_framing_offset(framing) == 1 && document->head[1] == '\0');
}

/* Fails with an error that shows how the file begins. */
static bool
fail_foreign(ClariDocument *document)
{
	document->failed = true;
	return clari_foreign_describe(document->head, document->head_length, &document->error);
}

/* ------- an item's members ------- */

static bool
matches(const Match *match, const char *key)
{
	return match->key != NULL && strncmp(match->key, key, match->length) == 0 && key[match->length] == '\0';
}

/* Does key begin with the attribute's key or alias text, or with its first part?  Then sets *match. */
static bool
try_match(Match *match, const char *text, int attribute, const char *key)
{
	if (text == NULL)
		return false;
	match->key = text;
	match->length = strcspn(text, ".");
	match->attribute = attribute;
	match->descends = text[match->length] == '.';
	return matches(match, key);
}

static bool
search_match(const ClariListInfo *list, const char *key, Match *match)
{
	for (int i = 0; i < list->nattributes; i++)
		if (try_match(match, list->attributes[i].key, i, key))
			return true;
	for (int i = 0; i < list->nattributes; i++)
		if (try_match(match, list->attributes[i].alias, i, key))
			return true;
	return false;
}

static const char *
name_of_type(json_type type)
{
	switch (type)
	{
		case json_type_boolean:
			return "a boolean";
		case json_type_double:
			return "a number that is not an integer";
		case json_type_int:
			return "an integer";
		case json_type_object:
			return "an object";
		case json_type_array:
			return "an array";
		case json_type_string:
			return "a string";
		default:
			return "null";
	}
}

static bool
fail_type(ClariDocument *document, const char *key, ClariType type, json_object *object)
{
	return fail_item(document, "the export file holds a value of the wrong type",
					 "Attribute \"%s\" is %s instead of %s", key, name_of_type(json_object_get_type(object)),
					 type == CLARI_NUMERIC ? "a number" : "a string");
}

/* Reserves enough room for all texts of the item before the first is written, because values point to them. */
static bool
reserve_texts(ClariDocument *document)
{
	size_t length = document->framing.length;

	if (document->texts_used == 0 && document->texts_size < length)
	{
		free(document->texts);
		document->texts = malloc(length);
		document->texts_size = document->texts == NULL ? 0 : length;
	}
	return document->texts != NULL;
}

static bool
set_json(ClariDocument *document, ClariValue *value, ClariValueKind kind, json_object *object)
{
	char *text;
	char *end;

	if (!reserve_texts(document))
		return fail_memory(document);
	text = document->texts + document->texts_used;
	end = clari_value_write(text, object);
	if (end == NULL)
		return fail_memory(document);
	value->kind = kind;
	value->data = text;
	value->length = (uint32_t) (end - text);
	document->texts_used += value->length;
	return true;
}

/* ------- attributes ------- */

static void
set_string(ClariValue *value, json_object *object)
{
	value->kind = CLARI_VALUE_STRING;
	value->data = json_object_get_string(object);
	value->length = (uint32_t) json_object_get_string_len(object);
}

/* Sets a value whose JSON type is not that of the attribute. */
static bool
set_other(ClariDocument *document, const ClariAttribute *attribute, const char *key, json_object *object,
		  ClariValue *value)
{
	if (attribute->is_id || attribute->type == CLARI_NUMERIC)
		return fail_type(document, key, attribute->type, object);
	return set_json(document, value, attribute->type == CLARI_TEXT ? CLARI_VALUE_STRING : CLARI_VALUE_UNEXPECTED,
					object);
}

static bool
set_double(ClariDocument *document, const ClariAttribute *attribute, const char *key, json_object *object,
		   ClariValue *value)
{
	bool is_integer;
	size_t length;
	const char *text = clari_value_text_of_double(object, &length, &is_integer);

	if (text == NULL)
		return fail_memory(document);
	if (attribute->type == CLARI_TIMESTAMP && is_integer)
		return fail_item(document, "the export file holds a time that is out of range",
						 "Attribute \"%s\" is an integer of more than 18 digits", key);
	if (attribute->type == CLARI_INTEGER || (attribute->type != CLARI_NUMERIC && !is_integer))
		return set_other(document, attribute, key, object, value);
	value->kind = attribute->type == CLARI_TEXT ? CLARI_VALUE_STRING : CLARI_VALUE_NUMBER;
	value->data = text;
	value->length = (uint32_t) length;
	return true;
}

/* Sets a number, for an attribute that may be one.  space is of CLARI_INTEGER_SIZE. */
static bool
set_number(ClariDocument *document, const ClariAttribute *attribute, const char *key, json_object *object,
		   ClariValue *value, char *space)
{
	if (json_object_is_type(object, json_type_double))
		return set_double(document, attribute, key, object, value);
	clari_value_set_integer(value, space, json_object_get_int64(object));
	if (attribute->type == CLARI_TEXT)
		value->kind = CLARI_VALUE_STRING;
	return true;
}

/*
 * Sets the value of an attribute from the member key, which is not null.  space
 * is of CLARI_INTEGER_SIZE, and the value may point there.
 */
static bool
read_value(ClariDocument *document, const ClariAttribute *attribute, const char *key, json_object *object,
		   ClariValue *value, char *space)
{
	ClariType type = attribute->type;

	switch (json_object_get_type(object))
	{
		case json_type_string:
			if (type != CLARI_TEXT && type != CLARI_DATE)
				break;
			set_string(value, object);
			return true;
		case json_type_boolean:
			if (type != CLARI_BOOL)
				break;
			value->kind = CLARI_VALUE_BOOL;
			value->boolean = json_object_get_boolean(object);
			return true;
		case json_type_array:
			if (type != CLARI_INTEGER)
				break;
			clari_value_set_integer(value, space, (int64_t) json_object_array_length(object));
			return true;
		case json_type_int:
		case json_type_double:
			if (type == CLARI_BOOL || type == CLARI_DATE)
				break;
			return set_number(document, attribute, key, object, value, space);
		default:
			break;
	}
	return set_other(document, attribute, key, object, value);
}

/*
 * Sets the value of the attribute from the member key.  null means absent; the
 * same value may come twice, under key and alias.
 */
static bool
set_value(ClariDocument *document, int position, const char *key, json_object *object)
{
	const ClariAttribute *attribute = &clari_lists[document->list].attributes[position];
	ClariValue *value = &document->values[position];
	ClariValue again = {.kind = CLARI_VALUE_NULL};
	char space[CLARI_INTEGER_SIZE];

	if (object == NULL)
		return true;
	if (value->kind == CLARI_VALUE_NULL)
		return read_value(document, attribute, key, object, value, document->integers[position]);
	return read_value(document, attribute, key, object, &again, space) &&
		   (clari_value_is_same(value, &again) ||
			fail_item(document, "the export file gives an attribute twice",
					  "Attribute \"%s\" has another value under its other name", key));
}

/*
 * Sets attributes whose keys have dots.  object is the member of their first
 * part: an object of the other parts, or the value of an alias without dots.
 */
static bool
set_parts(ClariDocument *document, const Match *match, json_object *object)
{
	const ClariListInfo *list = &clari_lists[document->list];
	json_object *part;

	for (int i = 0; i < list->nattributes; i++)
	{
		const char *key = list->attributes[i].key;
		const char *alias = list->attributes[i].alias;

		if (json_object_is_type(object, json_type_object))
		{
			if (key != NULL && *key == *match->key && strncmp(key, match->key, match->length + 1) == 0 &&
				json_object_object_get_ex(object, key + match->length + 1, &part) && !set_value(document, i, key, part))
				return false;
		}
		else if (alias != NULL && strlen(alias) == match->length && strncmp(alias, match->key, match->length) == 0)
			return set_value(document, i, alias, object);
	}
	return true;
}

static bool
set_values(ClariDocument *document, json_object *item)
{
	const ClariListInfo *list = &clari_lists[document->list];
	int position = 0;

	memset(document->values, 0, sizeof(ClariValue) * (size_t) list->nattributes);
	document->texts_used = 0;
	for (struct lh_entry *member = clari_first_member(item); member != NULL; member = member->next)
	{
		const char *key = lh_entry_k(member);
		json_object *object = lh_entry_v(member);
		Match searched;
		Match *match = position < REMEMBERED ? &document->matches[document->list][position] : &searched;

		position++;
		if ((match == &searched || !matches(match, key)) && !search_match(list, key, match))
		{
			match->key = NULL;
			continue;
		}
		if (match->descends)
		{
			if (!set_parts(document, match, object))
				return false;
		}
		else if (!set_value(document, match->attribute, match->key, object))
			return false;
	}
	return true;
}

/* ------- the document ------- */

/*
 * Counts the members of all objects in the value.  json-c has removed
 * duplicates, so that this shows whether there were any.
 */
static uint64_t
count_members(json_object *object)
{
	uint64_t count = 0;

	if (json_object_is_type(object, json_type_array))
		for (size_t i = 0; i < json_object_array_length(object); i++)
			count += count_members(json_object_array_get_idx(object, i));
	else if (json_object_is_type(object, json_type_object))
	{
		count = (uint64_t) json_object_object_length(object);
		for (struct lh_entry *member = clari_first_member(object); member != NULL; member = member->next)
			count += count_members(lh_entry_v(member));
	}
	return count;
}

/* Has json-c parse the text of the framing's last key or element.  Returns NULL after failing. */
static json_object *
parse_text(ClariDocument *document)
{
	const ClariFraming *framing = &document->framing;
	json_object *object;
	enum json_tokener_error result;

	json_tokener_reset(document->tokener);
	object = json_tokener_parse_ex(document->tokener, framing->text, (int) framing->length);
	result = json_tokener_get_error(document->tokener);
	if (object != NULL && result == json_tokener_success &&
		json_tokener_get_parse_end(document->tokener) == framing->length)
		return object;
	if (object != NULL)
		json_object_put(object);

	/* The framing has accepted it, so either json-c has no memory, or it is stricter than the framing. */
	fail_item(document, CLARI_NOT_VALID_JSON, "A value that json-c refuses (%s)", json_tokener_error_desc(result));
	return NULL;
}

/* Fails with the error of line.c or the sink, to which the place of the line is added. */
static bool
fail_line(ClariDocument *document, uint64_t offset)
{
	char place[PLACE_SIZE];

	describe_place(document, offset, true, place);
	document->failed = true;
	clari_error_add_detail(&document->error, "It is %s.", place);
	return false;
}

/* Adds a member to the current line.  An integer's text is stored in document->integers. */
static bool
put_member(ClariDocument *document, int column, const ClariText *name, json_object *object)
{
	bool is_value = column == CLARI_COLUMN_DATA_VALUE;
	ClariText cell = {"", 0};
	ClariValue number;
	bool is_integer;
	size_t length;

	switch (json_object_get_type(object))
	{
		case json_type_null:
			break;
		case json_type_string:
			cell = (ClariText){json_object_get_string(object), (uint32_t) json_object_get_string_len(object)};
			break;
		case json_type_boolean:
			cell = json_object_get_boolean(object) ? (ClariText){"true", 4} : (ClariText){"false", 5};
			break;
		case json_type_int:
			clari_value_set_integer(&number, document->integers[column], json_object_get_int64(object));
			cell = (ClariText){number.data, number.length};
			break;
		case json_type_double:
			cell.data = clari_value_text_of_double(object, &length, &is_integer);
			if (cell.data == NULL)
				return fail_memory(document);
			cell.length = (uint32_t) length;
			break;
		default:
			return fail_item(document, "the export file holds a value of the wrong type",
							 "Attribute \"%s\" is %s instead of a string", name->data,
							 name_of_type(json_object_get_type(object)));
	}
	if (is_value && (json_object_is_type(object, json_type_int) || json_object_is_type(object, json_type_double)))
		clari_lines_is_number(document->lines);
	return clari_lines_put(document->lines, column, name, &cell) || fail_memory(document);
}

/* Takes an element of a document that is a list: an object, which is a line, or a string, which is a cell. */
static bool
take_row(ClariDocument *document, json_object *item)
{
	bool seen[CLARI_COLUMN_COUNT] = {false};
	bool is_cell = json_object_is_type(item, json_type_string);

	if (document->lines == NULL && (document->lines = clari_lines_open(document->sink, document->arg)) == NULL)
		return fail_memory(document);
	if (document->framing.elements > 1 && is_cell != document->is_of_cells)
		return fail_item(document, "the export file is not valid JSON", "A list of both objects and strings");
	document->is_of_cells = is_cell;
	if (is_cell)
	{
		ClariText cell = {json_object_get_string(item), (uint32_t) json_object_get_string_len(item)};

		return clari_lines_take_cell(document->lines, &cell, &document->error) ||
			   fail_line(document, document->framing.begun);
	}
	clari_lines_begin(document->lines);
	for (struct lh_entry *member = clari_first_member(item); member != NULL; member = member->next)
	{
		ClariText name = {lh_entry_k(member), (uint32_t) strlen(lh_entry_k(member))};
		int column = clari_lines_find_column(&name);

		if (column != CLARI_LINE_OTHERS && seen[column])
			return fail_item(document, "the export file gives a column twice", "An item has \"%s\" twice", name.data);
		seen[column] = true;
		if (!put_member(document, column, &name, lh_entry_v(member)))
			return false;
	}
	return clari_lines_take(document->lines, &document->error) || fail_line(document, document->framing.begun);
}

/* A job may be wrapped as {"job": {…}}. */
static json_object *
unwrapped(const ClariDocument *document, json_object *item)
{
	json_object *job;

	if (document->list == CLARI_JOBS && json_object_object_get_ex(item, "job", &job) &&
		json_object_is_type(job, json_type_object))
		return job;
	return item;
}

/* Passes the item's values to the sink. */
static bool
give_item(ClariDocument *document)
{
	if (!document->sink(document->arg, (ClariList) document->list, document->values, &document->error))
	{
		char place[PLACE_SIZE];

		describe_place(document, document->framing.begun, true, place);
		document->failed = true;
		if (document->error.detail[0] == '\0')
			clari_error_detail(&document->error, "It is %s.", place);
		return false;
	}
	document->entries += document->list == (int) needed_list(document->endpoint);
	return true;
}

static bool
take_item(ClariDocument *document, json_object *item)
{
	const ClariFraming *framing = &document->framing;
	uint64_t members = framing->inner == 0 && json_object_is_type(item, json_type_object)
						   ? (uint64_t) json_object_object_length(item)
						   : count_members(item);

	if (members != framing->members)
		return fail_item(document, "the export file gives a key twice", "A duplicate key");
	if (framing->is_array && document->list != CLARI_JOBS)
		return take_row(document, item);
	if (!json_object_is_type(item, json_type_object))
		return fail_item(document, "the export file is not valid JSON", "An item that is not an object");
	return set_values(document, unwrapped(document, item)) && give_item(document);
}

/* Has plain.c read the element, if it is an item of a file in the usual notation. */
static bool
is_plain(ClariDocument *document)
{
	const ClariFraming *framing = &document->framing;
	bool has_escapes = memchr(framing->text, '\\', framing->length) != NULL;

	document->texts_used = 0;
	return !framing->is_array && !clari_endpoint_is_of_account(document->endpoint) &&
		   (!has_escapes || reserve_texts(document)) &&
		   clari_plain_read(&document->plain, (ClariList) document->list, framing, has_escapes ? document->texts : NULL,
							document->values);
}

static bool
take_element(ClariDocument *document)
{
	json_object *item;
	bool taken;

	if (is_plain(document))
		return give_item(document);
	item = parse_text(document);
	taken = item != NULL && take_item(document, item);
	if (item != NULL)
		json_object_put(item);
	return taken;
}

/* Returns the list that the top-level member of this key is, or CLARI_NO_LIST. */
static int
list_of_key(const ClariDocument *document, const char *key)
{
	int needed = (int) needed_list(document->endpoint);
	bool of_file = needed < CLARI_FILE_LISTS;
	int first = of_file ? 0 : needed;
	int end = of_file ? CLARI_FILE_LISTS : needed + 1;

	for (int list = first; list < end; list++)
		if (strcmp(clari_lists[list].key, key) == 0)
			return list;
	return CLARI_NO_LIST;
}

/* Remembers the top-level key, and tells the framing what must follow. */
static bool
take_key(ClariDocument *document)
{
	int needed = (int) needed_list(document->endpoint);
	json_object *object = parse_text(document);
	const char *key;
	bool known;

	if (object == NULL)
		return false;
	key = json_object_get_string(object);
	document->list = list_of_key(document, key);
	document->has_needed |= document->list == needed;
	/* If entries are null, this must be an error: it could mean that all of them are missing. */
	if (document->list == CLARI_LIMITS)
		clari_framing_expect_item(&document->framing);
	else
		clari_framing_expect(&document->framing, document->list != CLARI_NO_LIST, document->list == needed);

	known = json_object_object_get_ex(document->keys, key, NULL);
	if (known)
		fail_item(document, "the export file gives a key twice", "A duplicate key");
	else if (json_object_object_length(document->keys) >= MAX_MEMBERS)
		fail_here(document, CLARI_ERROR_LIMIT, "the export file has too many members", "More than 256 keys");
	else if (json_object_object_add(document->keys, key, NULL) != 0)
		fail_memory(document);
	json_object_put(object);
	return !document->failed;
}

ClariDocument *
clari_document_open(ClariEndpoint endpoint, ClariItemSink sink, void *arg)
{
	ClariDocument *document = calloc(1, sizeof(*document));

	if (document == NULL)
		return NULL;
	document->endpoint = endpoint;
	document->sink = sink;
	document->arg = arg;
	clari_framing_open(&document->framing);
	clari_csv_open(&document->csv);
	/* A file may be a list of lines, and the list of jobs may be the document.  The limits are always in an object. */
	document->framing.may_be_array = endpoint != CLARI_ENDPOINT_LIMITS;
	document->list = endpoint == CLARI_ENDPOINT_JOBS ? (int) CLARI_JOBS : CLARI_NO_LIST;
	document->tokener = json_tokener_new_ex(CLARI_ELEMENT_DEPTH + 2);
	document->keys = json_object_new_object();
	if (document->tokener == NULL || document->keys == NULL)
	{
		clari_document_close(document);
		return NULL;
	}
	json_tokener_set_flags(document->tokener, TOKENER_FLAGS);
	return document;
}

/* Handles the bytes that were fed to the framing.  Returns false once the document has failed. */
static bool
take_frames(ClariDocument *document)
{
	for (;;)
	{
		switch (clari_framing_next(&document->framing))
		{
			case CLARI_FRAME_MORE:
				return true;
			case CLARI_FRAME_KEY:
				if (!take_key(document))
					return false;
				break;
			case CLARI_FRAME_ELEMENT:
				if (!take_element(document))
					return false;
				break;
			case CLARI_FRAME_BROKEN:
				document->is_foreign = begins_wrong(document);
				return document->is_foreign ||
					   fail_here(document, CLARI_ERROR_DATA, CLARI_NOT_VALID_JSON, document->framing.problem);
			case CLARI_FRAME_TOO_LARGE:
				return fail_here(document, CLARI_ERROR_LIMIT, "the export file has an item that is too large",
								 document->framing.depth == 1 ? "A key of more than 1 kB" : "More than 1 MB");
			case CLARI_FRAME_NO_MEMORY:
				return fail_memory(document);
		}
	}
}

/* ------- CSV ------- */

/*
 * Finds out which column is where.  All columns must exist: without one of
 * them, entries that differ only in it would seem to be the same.
 */
static bool
take_header(ClariDocument *document)
{
	const ClariCsv *csv = &document->csv;
	bool seen[CLARI_COLUMN_COUNT] = {false};

	for (int i = 0; i < csv->ncells; i++)
	{
		int column = clari_lines_find_column(&csv->cells[i]);
		char *name;

		document->columns[i] = column;
		if (column != CLARI_LINE_OTHERS && seen[column])
			return fail_item(document, "the export file gives a column twice", "Its header has \"%s\" twice",
							 clari_lines_column_name(column));
		seen[column] = true;
		if (column != CLARI_LINE_OTHERS)
			continue;
		name = malloc(csv->cells[i].length + 1);
		if (name == NULL)
			return fail_memory(document);
		memcpy(name, csv->cells[i].data, csv->cells[i].length);
		document->names[i] = (ClariText){name, csv->cells[i].length};
	}
	for (int column = 0; column < CLARI_COLUMN_COUNT; column++)
		if (!seen[column] && column != CLARI_LINE_OTHERS)
		{
			fail_foreign(document);
			snprintf(document->error.message, sizeof(document->error.message),
					 "the export file is CSV without column \"%s\"", clari_lines_column_name(column));
			return false;
		}
	document->ncolumns = csv->ncells;
	return true;
}

static bool
take_line(ClariDocument *document)
{
	const ClariCsv *csv = &document->csv;

	if (document->ncolumns == 0)
		return take_header(document);
	if (csv->ncells != document->ncolumns)
		return fail_item(document, "the export file is not valid CSV", "A line has %d %s instead of %d", csv->ncells,
						 csv->ncells == 1 ? "cell" : "cells", document->ncolumns);
	clari_lines_begin(document->lines);
	for (int i = 0; i < csv->ncells; i++)
		if (!clari_lines_put(document->lines, document->columns[i], &document->names[i], &csv->cells[i]))
			return fail_memory(document);
	return clari_lines_take(document->lines, &document->error) || fail_line(document, 0);
}

/*
 * Handles the bytes that were fed, and with at_end also an unfinished last
 * line.  Returns false once the document has failed.
 */
static bool
take_lines(ClariDocument *document, bool at_end)
{
	ClariCsv *csv = &document->csv;

	for (;;)
	{
		switch (at_end ? clari_csv_end(csv) : clari_csv_next(csv))
		{
			case CLARI_FRAME_MORE:
				return true;
			case CLARI_FRAME_BROKEN:
				return fail_item(document, "the export file is not valid CSV", "%s", csv->problem);
			case CLARI_FRAME_TOO_LARGE:
				fail_item(document, "the export file has a line that is too large", "More than 1 MB");
				document->error.code = CLARI_ERROR_LIMIT;
				return false;
			case CLARI_FRAME_NO_MEMORY:
				return fail_memory(document);
			default:
				document->is_open = at_end;
				if (!take_line(document))
					return false;
		}
	}
}

/*
 * Handles a file that is not JSON, once its head is complete.  If it is CSV,
 * reads it from its beginning; rest follows the head.
 */
static void
take_foreign(ClariDocument *document, const char *rest, size_t length)
{
	if (!clari_foreign_is_csv(document->head, document->head_length))
	{
		fail_foreign(document);
		return;
	}
	document->is_csv = true;
	document->lines = clari_lines_open(document->sink, document->arg);
	if (document->lines == NULL)
	{
		fail_memory(document);
		return;
	}
	clari_csv_feed(&document->csv, (const char *) document->head, document->head_length);
	if (!take_lines(document, false) || length == 0)
		return;
	clari_csv_feed(&document->csv, rest, length);
	take_lines(document, false);
}

/*
 * Fails because CSV may have been cut.  If it was cut after a line, lines are
 * missing; if in its last amount, digits are.
 */
static void
fail_cut(ClariDocument *document)
{
	document->failed = true;
	clari_error_set(&document->error, CLARI_ERROR_DATA, "the export file may end too early");
	if (document->line_end_is_enough)
	{
		clari_error_detail(&document->error, "It is CSV whose last line does not end, and came compressed.");
		clari_error_hint(&document->error, "With option \"format\" 'csv' it is requested without compression.");
		return;
	}
	clari_error_detail(&document->error,
					   "It is CSV, which shows no end of its own, and came with neither a length nor chunks.");
	clari_error_hint(&document->error, "Whatever answers in Clari's place, such as a proxy, must send one of them.");
}

/* Handles what is unfinished when the bytes end, for a document of lines. */
static void
finish_lines(ClariDocument *document)
{
	if (document->is_csv && !take_lines(document, true))
		return;
	if (document->is_csv && document->ncolumns == 0)
		fail_foreign(document);
	else if (document->lines != NULL && !clari_lines_finish(document->lines, &document->error))
		fail_line(document, document->bytes);
	else if (document->is_csv && document->may_be_cut && (document->is_open || !document->line_end_is_enough))
		fail_cut(document);
}

bool
clari_document_push(ClariDocument *document, const char *bytes, size_t length, ClariError *error)
{
	if (!document->failed && length > 0)
	{
		size_t more = HEAD_SIZE - document->head_length < length ? HEAD_SIZE - document->head_length : length;

		memcpy(document->head + document->head_length, bytes, more);
		document->head_length += more;
		document->bytes += length;
		if (document->is_csv)
		{
			clari_csv_feed(&document->csv, bytes, length);
			take_lines(document, false);
		}
		else if (!document->is_foreign)
		{
			clari_framing_feed(&document->framing, bytes, length);
			take_frames(document);
		}
		/* Waits until the head is complete, so that the error does not depend on how the bytes were divided. */
		if (document->is_foreign && !document->is_csv && document->head_length == HEAD_SIZE)
			take_foreign(document, bytes + more, length - more);
	}
	if (document->failed && error != NULL)
		give_error(document, error);
	return !document->failed;
}

void
clari_document_may_be_cut(ClariDocument *document, bool is_enough)
{
	document->may_be_cut = true;
	document->line_end_is_enough = is_enough;
}

bool
clari_document_finish(ClariDocument *document, ClariError *error)
{
	if (!document->failed && document->is_foreign && !document->is_csv)
		take_foreign(document, NULL, 0);
	if (!document->failed &&
		(document->is_csv || (document->lines != NULL && clari_framing_complete(&document->framing))))
		finish_lines(document);
	else if (!document->failed && document->head_length == 0)
	{
		document->failed = true;
		clari_error_set(&document->error, CLARI_ERROR_DATA, "the export file is empty");
		clari_error_detail(&document->error, "It has no bytes.");
	}
	else if (!document->failed && !clari_framing_complete(&document->framing))
	{
		char place[PLACE_SIZE];

		describe_place(document, clari_document_bytes(document), false, place);
		document->failed = true;
		clari_error_set(&document->error, CLARI_ERROR_DATA, "the export file ends too early");
		clari_error_detail(&document->error, "It ends %s.", place);
	}
	else if (!document->failed && document->framing.is_array && document->endpoint != CLARI_ENDPOINT_JOBS)
		fail_foreign(document); /* an empty list does not show what it is a list of */
	else if (!document->failed && !document->has_needed && !document->framing.is_array)
	{
		document->failed = true;
		clari_error_set(&document->error, CLARI_ERROR_DATA, "the export file has no list \"%s\"",
						clari_lists[needed_list(document->endpoint)].key);
		clari_error_detail(&document->error, "It is a JSON object of %llu bytes.",
						   (unsigned long long) clari_document_bytes(document));
	}
	if (document->failed && error != NULL)
		give_error(document, error);
	return !document->failed;
}

uint64_t
clari_document_entries(const ClariDocument *document)
{
	return document->lines != NULL ? clari_lines_entries(document->lines) : document->entries;
}

uint64_t
clari_document_bytes(const ClariDocument *document)
{
	return document->bytes;
}

void
clari_document_close(ClariDocument *document)
{
	if (document == NULL)
		return;
	clari_framing_close(&document->framing);
	clari_csv_close(&document->csv);
	clari_lines_close(document->lines);
	for (int i = 0; i < CLARI_CSV_COLUMNS; i++)
		free((void *) document->names[i].data);
	if (document->tokener != NULL)
		json_tokener_free(document->tokener);
	json_object_put(document->keys);
	free(document->texts);
	free(document);
}
