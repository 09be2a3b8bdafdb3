/*
 * json.c
 *		JSON, the export file: see json.h (the replies are in json_reply.c).
 *
 * Runs in the worker, in unit tests and in fuzzers; raises nothing, takes no
 * lock.  json_framing.c checks the file's bytes and cuts them into elements;
 * here json-c reads one element at a time, and its members become values by
 * the attributes of their list.  Values point into json-c's object: nothing is
 * copied but the text of integers.
 */
#include "json.h"

#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_framing.h"

#define MAX_MEMBERS 256 /* of the document's object */
#define REMEMBERED 64   /* members of an item whose attribute is remembered */
#define INTEGER_SIZE 24 /* an int64 as text */
#define PLACE_SIZE 128  /* where in the file, as text */
#define WHAT_SIZE 384   /* what is wrong there, as text */

/* Not JSON_TOKENER_STRICT: the framing is, and json-c 0.18's refuses every byte from 0x80 on (its issue 892). */
#define TOKENER_FLAGS JSON_TOKENER_VALIDATE_UTF8

#define NOT_VALID "the export file is not valid JSON"

/* Which attribute an item's member is. */
typedef struct Match
{
	const char *key; /* the attribute's key or alias, or NULL: not known yet */
	size_t length;   /* of its first part: "currency" of "currency.code" */
	int attribute;
	bool descends; /* there are more parts: the value is an object of attributes */
} Match;

struct ClariDocument
{
	ClariItemSink sink;
	void *arg;
	ClariFraming framing;
	json_tokener *tokener;
	json_object *keys; /* of the document's object so far: a set */
	int list;          /* being read, or CLARI_NO_LIST */
	bool has_entries;
	uint64_t entries;
	ClariValue values[CLARI_MAX_ATTRIBUTES];
	char integers[CLARI_MAX_ATTRIBUTES][INTEGER_SIZE];
	Match matches[CLARI_LIST_COUNT][REMEMBERED]; /* of the n-th member of the item before */
	bool failed;
	ClariError error;
};

/* ------- errors of the document ------- */

/* "item 3 of list …, byte 17", as far as it is known, for a detail's end. */
static void
describe_place(const ClariDocument *document, uint64_t offset, bool in_item, char *place)
{
	const ClariFraming *framing = &document->framing;
	unsigned long long byte = (unsigned long long) offset;
	unsigned long long items = (unsigned long long) framing->elements;

	if (!framing->is_list || framing->depth < 2)
		snprintf(place, PLACE_SIZE, "at byte %llu of the file", byte);
	else if (in_item || framing->gathering)
		snprintf(place, PLACE_SIZE, "in item %llu of list \"%s\", at byte %llu of the file", items + !in_item,
				 clari_lists[document->list].key, byte);
	else
		snprintf(place, PLACE_SIZE, "after item %llu of list \"%s\", at byte %llu of the file", items,
				 clari_lists[document->list].key, byte);
}

/* Fails at the byte where the framing stands; what is a noun phrase. */
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

/* Fails because of the key or item just read, and names where it begins. */
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

/* ------- an item's members ------- */

/* json-c's own loop declares variables in mid-block, which PGXS warns of. */
static inline struct lh_entry *
first_member(json_object *object)
{
	return json_object_get_object(object)->head;
}

static bool
matches(const Match *match, const char *key)
{
	return match->key != NULL && strncmp(match->key, key, match->length) == 0 && key[match->length] == '\0';
}

/* Is key the attribute's key or alias text, or the first of its parts? */
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
			return "a number that is no integer";
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

static const char *
name_of_expected(ClariType type)
{
	switch (type)
	{
		case CLARI_NUMERIC:
			return "a number";
		case CLARI_BOOL:
			return "true or false";
		case CLARI_DATE:
			return "a string with a date";
		case CLARI_TIMESTAMP:
			return "milliseconds since 1970 as an integer";
		default:
			return "a string";
	}
}

static bool
fail_type(ClariDocument *document, const char *key, ClariType type, json_object *object)
{
	return fail_item(document, "the export file holds a value of the wrong type",
					 "Attribute \"%s\" is %s instead of %s", key, name_of_type(json_object_get_type(object)),
					 name_of_expected(type));
}

/* snprintf takes longer than json-c needs for the member. */
static void
set_integer(ClariValue *value, char *space, int64_t number)
{
	uint64_t rest = number < 0 ? -(uint64_t) number : (uint64_t) number;
	char *digit = space + INTEGER_SIZE;

	do
		*--digit = (char) ('0' + rest % 10);
	while ((rest /= 10) != 0);
	if (number < 0)
		*--digit = '-';
	value->kind = CLARI_VALUE_NUMBER;
	value->data = digit;
	value->length = (uint32_t) (space + INTEGER_SIZE - digit);
}

/*
 * The text that json-c kept of a number it made a double of.  Where that is an
 * integer of the framing's (too long for json-c, with "e0" behind it), takes
 * "e0" off again and says so in *is_integer.
 */
static bool
set_double(ClariValue *value, json_object *object, bool *is_integer)
{
	const char *text = json_object_get_userdata(object);
	size_t digits;

	if (text == NULL) /* a json-c that keeps it elsewhere */
		text = json_object_to_json_string(object);
	if (text == NULL)
		return false;
	value->kind = CLARI_VALUE_NUMBER;
	value->data = text;
	value->length = (uint32_t) strlen(text);
	digits = strspn(text + (*text == '-'), "0123456789") + (*text == '-');
	*is_integer = digits > CLARI_SAFE_DIGITS + (size_t) (*text == '-') && strcmp(text + digits, "e0") == 0;
	if (*is_integer)
		value->length = (uint32_t) digits;
	return true;
}

static void
set_string(ClariValue *value, json_object *object)
{
	value->kind = CLARI_VALUE_STRING;
	value->data = json_object_get_string(object);
	value->length = (uint32_t) json_object_get_string_len(object);
}

/* A number fits where its kind says so; an id may have come as an integer. */
static bool
set_number(ClariDocument *document, int position, const char *key, json_object *object)
{
	ClariValue *value = &document->values[position];
	ClariType type = clari_lists[document->list].attributes[position].type;
	bool is_integer = true;
	bool is_long = json_object_is_type(object, json_type_double);

	if (type != CLARI_NUMERIC && type != CLARI_TEXT && type != CLARI_TIMESTAMP)
		return fail_type(document, key, type, object);
	if (!is_long)
		set_integer(value, document->integers[position], json_object_get_int64(object));
	else if (!set_double(value, object, &is_integer))
		return fail_memory(document);
	if (type != CLARI_NUMERIC && !is_integer)
		return fail_type(document, key, type, object);
	if (type == CLARI_TIMESTAMP && is_long)
		return fail_item(document, "the export file holds a time that is out of range",
						 "Attribute \"%s\" is an integer of more than 18 digits", key);
	if (type == CLARI_TEXT)
		value->kind = CLARI_VALUE_STRING;
	return true;
}

/* The value of an attribute that came as key; null is as good as absent. */
static bool
set_value(ClariDocument *document, int position, const char *key, json_object *object)
{
	ClariValue *value = &document->values[position];
	ClariType type = clari_lists[document->list].attributes[position].type;

	if (object == NULL)
		return true;
	if (value->kind != CLARI_VALUE_NULL)
		return fail_item(document, "the export file gives an attribute twice",
						 "Attribute \"%s\" is also there under its other name", key);
	switch (json_object_get_type(object))
	{
		case json_type_string:
			if (type != CLARI_TEXT && type != CLARI_DATE)
				return fail_type(document, key, type, object);
			set_string(value, object);
			return true;
		case json_type_boolean:
			if (type != CLARI_BOOL)
				return fail_type(document, key, type, object);
			value->kind = CLARI_VALUE_BOOL;
			value->boolean = json_object_get_boolean(object);
			return true;
		case json_type_int:
		case json_type_double:
			return set_number(document, position, key, object);
		default:
			return fail_type(document, key, type, object);
	}
}

/* The member with the first part of dotted keys: an object, or a string for an alias without dots. */
static bool
set_parts(ClariDocument *document, const Match *match, json_object *object)
{
	const ClariListInfo *list = &clari_lists[document->list];
	json_object *part;

	if (object == NULL)
		return true;
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
		else if (json_object_is_type(object, json_type_string) && alias != NULL && strlen(alias) == match->length &&
				 strncmp(alias, match->key, match->length) == 0)
			return set_value(document, i, alias, object);
	}
	return json_object_is_type(object, json_type_object) || fail_type(document, match->key, CLARI_TEXT, object);
}

static bool
set_values(ClariDocument *document, json_object *item)
{
	const ClariListInfo *list = &clari_lists[document->list];
	int position = 0;

	memset(document->values, 0, sizeof(ClariValue) * (size_t) list->nattributes);
	for (struct lh_entry *member = first_member(item); member != NULL; member = member->next)
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

/* How many members all its objects have; json-c has dropped the duplicates. */
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
		for (struct lh_entry *member = first_member(object); member != NULL; member = member->next)
			count += count_members(lh_entry_v(member));
	}
	return count;
}

/* What the framing has just handed out, as an object of json-c's; NULL when it fails. */
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

	/* The framing let it through, so json-c is short of memory, or stricter than we know. */
	fail_item(document, NOT_VALID, "Something json-c refuses (%s)", json_tokener_error_desc(result));
	return NULL;
}

static bool
take_item(ClariDocument *document, json_object *item)
{
	const ClariFraming *framing = &document->framing;
	uint64_t members = framing->inner == 0 ? (uint64_t) json_object_object_length(item) : count_members(item);

	if (members != framing->members)
		return fail_item(document, "the export file gives a key twice", "A duplicate key");
	if (!set_values(document, item))
		return false;
	if (!document->sink(document->arg, (ClariList) document->list, document->values, &document->error))
	{
		char place[PLACE_SIZE];

		describe_place(document, framing->begun, true, place);
		document->failed = true;
		if (document->error.detail[0] == '\0')
			clari_error_detail(&document->error, "It is %s.", place);
		return false;
	}
	document->entries += document->list == CLARI_ENTRIES;
	return true;
}

static bool
take_element(ClariDocument *document)
{
	json_object *item = parse_text(document);
	bool taken = item != NULL && take_item(document, item);

	if (item != NULL)
		json_object_put(item);
	return taken;
}

/* Remembers the top-level key and tells the framing whether a list follows. */
static bool
take_key(ClariDocument *document)
{
	json_object *object = parse_text(document);
	const char *key;
	bool known;

	if (object == NULL)
		return false;
	key = json_object_get_string(object);
	document->list = CLARI_NO_LIST;
	for (int i = 0; i < CLARI_LIST_COUNT; i++)
		if (strcmp(clari_lists[i].key, key) == 0)
			document->list = i;
	document->has_entries |= document->list == CLARI_ENTRIES;
	/* A file whose entries are null is no file without entries: money must not vanish by that. */
	clari_framing_expect(&document->framing, document->list != CLARI_NO_LIST, document->list == CLARI_ENTRIES);

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
clari_document_open(ClariItemSink sink, void *arg)
{
	ClariDocument *document = calloc(1, sizeof(*document));

	if (document == NULL)
		return NULL;
	document->sink = sink;
	document->arg = arg;
	document->list = CLARI_NO_LIST;
	clari_framing_open(&document->framing);
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

/* Handles what was fed; false once the document has failed. */
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
				return fail_here(document, CLARI_ERROR_DATA, NOT_VALID, document->framing.problem);
			case CLARI_FRAME_TOO_LARGE:
				return fail_here(document, CLARI_ERROR_LIMIT, "the export file has an item that is too large",
								 document->framing.depth == 1 ? "A key of more than 1 kB" : "More than 1 MB");
			case CLARI_FRAME_NO_MEMORY:
				return fail_memory(document);
		}
	}
}

bool
clari_document_push(ClariDocument *document, const char *bytes, size_t length, ClariError *error)
{
	if (!document->failed && length > 0)
	{
		clari_framing_feed(&document->framing, bytes, length);
		take_frames(document);
	}
	if (document->failed && error != NULL)
		*error = document->error;
	return !document->failed;
}

bool
clari_document_finish(ClariDocument *document, ClariError *error)
{
	if (!document->failed && !clari_framing_complete(&document->framing))
	{
		char place[PLACE_SIZE];

		describe_place(document, clari_document_bytes(document), false, place);
		document->failed = true;
		clari_error_set(&document->error, CLARI_ERROR_DATA, "the export file ends too early");
		clari_error_detail(&document->error, "It ends %s.", place);
	}
	else if (!document->failed && !document->has_entries)
	{
		document->failed = true;
		clari_error_set(&document->error, CLARI_ERROR_DATA, "the export file has no list \"%s\"",
						clari_lists[CLARI_ENTRIES].key);
		clari_error_detail(&document->error, "It is a JSON object of %llu bytes.",
						   (unsigned long long) clari_document_bytes(document));
	}
	if (document->failed && error != NULL)
		*error = document->error;
	return !document->failed;
}

uint64_t
clari_document_entries(const ClariDocument *document)
{
	return document->entries;
}

uint64_t
clari_document_bytes(const ClariDocument *document)
{
	const ClariFraming *framing = &document->framing;

	return framing->base + (uint64_t) (framing->end - framing->chunk);
}

void
clari_document_close(ClariDocument *document)
{
	if (document == NULL)
		return;
	clari_framing_close(&document->framing);
	if (document->tokener != NULL)
		json_tokener_free(document->tokener);
	json_object_put(document->keys);
	free(document);
}
