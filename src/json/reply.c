/*
 * reply.c
 *		JSON in small bodies: Clari's answers, its list of jobs, and the
 *		body of an export's POST: see json.h.
 *
 * Runs in the worker, in unit tests and in fuzzers.  Raises nothing, takes no
 * lock.  Replies are parsed leniently, because a reply may be an error page of
 * a server between us and Clari.  Their texts get into logs and messages, so
 * they are converted to valid UTF-8 on one line.
 */
#include "json/json.h"

#include "base/text.h"
#include "clari/digest.h"

#include <json-c/json.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------- texts ------- */

/* A field of a reply into which a text is being written.  Sequences of white space become one space. */
typedef struct Line
{
	char *field;
	size_t size;
	size_t used;
	bool space; /* a space must be written before the next character */
	bool full;
} Line;

/* Returns the length of the UTF-8 character at bytes (Unicode, table 3-7), or 0 if it is not valid. */
static size_t
character_length(const unsigned char *bytes, size_t left)
{
	unsigned char lead = bytes[0];
	unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
	unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
	size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

	if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || length > left)
		return 0;
	for (size_t i = 1; i < length; i++)
	{
		if (bytes[i] < low || bytes[i] > high)
			return 0;
		low = 0x80;
		high = 0xBF;
	}
	return length;
}

/* Appends the character at bytes.  Returns its length in bytes. */
static size_t
put_character(Line *line, const unsigned char *bytes, size_t left)
{
	size_t length = character_length(bytes, left);
	size_t space = line->space && line->used > 0 ? 1 : 0;
	const char *character = length == 0 ? "?" : (const char *) bytes;
	size_t put = length == 0 ? 1 : length;

	if (clari_is_space(*bytes))
	{
		line->space = true;
		return 1;
	}
	/* Control characters are dropped, including those of C1. */
	if (*bytes < ' ' || *bytes == 0x7F || (length == 2 && bytes[0] == 0xC2 && bytes[1] < 0xA0))
		return put;
	if (line->full || line->used + space + put >= line->size)
	{
		line->full = true;
		return put;
	}
	if (space == 1)
		line->field[line->used++] = ' ';
	memcpy(line->field + line->used, character, put);
	line->used += put;
	line->field[line->used] = '\0';
	line->space = false;
	return put;
}

static bool
begins_tag(const char *bytes, size_t left)
{
	char next = left < 2 ? ' ' : bytes[1];

	return next == '/' || next == '!' || next == '?' || ((next | 0x20) >= 'a' && (next | 0x20) <= 'z');
}

/*
 * Returns the length of the tag that begins with the '<' at bytes, or 0 if it
 * is not a tag.  Includes the contents of a script or style.
 */
static size_t
tag_length(const char *bytes, size_t left)
{
	static const char *const hidden[] = {"<script", "<style"};
	const char *end;

	if (!begins_tag(bytes, left))
		return 0;
	end = memchr(bytes, '>', left);
	for (size_t i = 0; end != NULL && i < 2; i++)
	{
		size_t length = strlen(hidden[i]);

		if (left <= length || strncasecmp(bytes, hidden[i], length) != 0)
			continue;
		do
			end = memchr(end + 1, '<', left - (size_t) (end + 1 - bytes));
		while (end != NULL && (left - (size_t) (end - bytes) < 2 || end[1] != '/'));
		if (end != NULL)
			end = memchr(end, '>', left - (size_t) (end - bytes));
	}
	return end == NULL ? left : (size_t) (end - bytes) + 1;
}

/* Reads the first line that contains any text. */
static void
read_first_line(const char *body, size_t length, char *field, size_t size)
{
	Line line = {field, size, 0, false, false};
	size_t at = 0;

	while (at < length && !line.full)
	{
		size_t tag = body[at] == '<' ? tag_length(body + at, length - at) : 0;

		if ((body[at] == '\n' || body[at] == '\r') && line.used > 0)
			break;
		line.space |= tag > 0;
		at += tag > 0 ? tag : put_character(&line, (const unsigned char *) body + at, length - at);
	}
}

/* ------- members ------- */

/*
 * Returns the first of the object's members that have one of the keys and the
 * type.  The list of keys ends with NULL.
 */
static json_object *
get_member(json_object *object, json_type type, const char *const *keys)
{
	json_object *member;

	for (; *keys != NULL; keys++)
		if (json_object_object_get_ex(object, *keys, &member) && json_object_is_type(member, type))
			return member;
	return NULL;
}

#define GET(object, type, ...) get_member(object, type, (const char *const[]){__VA_ARGS__, NULL})

/* Reads a text for people, which is truncated if it is too long.  If the member is absent, the field is not changed. */
static void
read_text(json_object *member, char *field, size_t size)
{
	Line line = {field, size, 0, false, false};
	const char *text;
	size_t length;
	size_t at = 0;

	if (member == NULL || (text = json_object_get_string(member)) == NULL)
		return;
	length = (size_t) json_object_get_string_len(member);
	if (!json_object_is_type(member, json_type_string))
		length = strlen(text);
	field[0] = '\0';
	while (at < length && !line.full)
		at += put_character(&line, (const unsigned char *) text + at, length - at);
}

/* json-c accepts overlong forms, which PostgreSQL does not. */
static bool
is_utf8(const char *text, size_t length)
{
	size_t at = 0;
	size_t step = 1;

	for (; at < length && step > 0; at += step)
		step = character_length((const unsigned char *) text + at, length - at);
	return step > 0;
}

/* Reads a text for machines, such as an id or a link, which must not be truncated or altered. */
static void
read_word(json_object *member, char *field, size_t size)
{
	const char *text;
	size_t length;

	if (member == NULL || (text = json_object_get_string(member)) == NULL)
		return;
	length = strlen(text);
	if (length < size && is_utf8(text, length) &&
		(!json_object_is_type(member, json_type_string) || length == (size_t) json_object_get_string_len(member)))
		memcpy(field, text, length + 1);
}

static int64_t
read_integer(json_object *object, const char *key, int64_t absent)
{
	json_object *member = GET(object, json_type_int, key);

	return member == NULL ? absent : json_object_get_int64(member);
}

/*
 * Reads one of the limits, or -1 if it is absent.  The remaining number may be
 * negative after a limit was lowered; it becomes 0.
 */
static int64_t
read_count(json_object *object, const char *key)
{
	json_object *member = GET(object, json_type_int, key);
	int64_t count = member == NULL ? -1 : json_object_get_int64(member);

	return member != NULL && count < 0 ? 0 : count;
}

/*
 * Reads a flag of truncation.  Anything but false counts as true, because an
 * unneeded error is better than unnoticed loss.
 */
static bool
read_flag(json_object *object, const char *key)
{
	json_object *member;

	if (!json_object_object_get_ex(object, key, &member) || !json_object_get_boolean(member))
		return false;
	return !json_object_is_type(member, json_type_string) ||
		   strncasecmp(json_object_get_string(member), "false", strlen("false")) != 0;
}

/* Returns the member if it is a string or an integer.  Some ids and codes are integers. */
static json_object *
get_string_or_integer(json_object *object, const char *key)
{
	json_object *member = GET(object, json_type_string, key);

	return member != NULL ? member : GET(object, json_type_int, key);
}

/* ------- replies ------- */

static ClariJobStatus
status_of(json_object *member)
{
	static const struct
	{
		const char *name;
		ClariJobStatus status;
	} states[] = {
		{"SCHEDULED", CLARI_STATUS_SCHEDULED}, {"STARTED", CLARI_STATUS_STARTED}, {"DONE", CLARI_STATUS_DONE},
		{"COMPLETED", CLARI_STATUS_DONE},      {"FAILED", CLARI_STATUS_FAILED},   {"CANCELLED", CLARI_STATUS_CANCELED},
		{"ABORTED", CLARI_STATUS_ABORTED},
	};

	if (member == NULL)
		return CLARI_STATUS_ABSENT;
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(json_object_get_string(member), states[i].name) == 0)
			return states[i].status;
	return CLARI_STATUS_UNKNOWN;
}

static void
read_status(json_object *object, ClariReply *reply)
{
	json_object *member = GET(object, json_type_string, "status");

	if (member == NULL)
		return;
	read_text(member, reply->status_text, sizeof(reply->status_text));
	reply->status = status_of(member);
}

static void
read_job(json_object *object, bool wrapped, ClariReply *reply)
{
	json_object *id = get_string_or_integer(object, "jobId");

	if (id == NULL && wrapped)
		id = get_string_or_integer(object, "id");
	read_word(id, reply->job_id, sizeof(reply->job_id));
	read_word(get_string_or_integer(object, "userId"), reply->user_id, sizeof(reply->user_id));
	read_word(get_string_or_integer(object, "orgId"), reply->organization, sizeof(reply->organization));
	read_status(object, reply);
	reply->end_time = read_integer(object, "endTime", reply->end_time);
	reply->rows_truncated |= read_flag(object, "rowsTruncated");
	reply->cells_truncated |= read_flag(object, "cellsTruncated");
	read_word(GET(object, json_type_string, "currency"), reply->currency, sizeof(reply->currency));
	read_word(GET(object, json_type_string, "downloadUrl"), reply->download_url, sizeof(reply->download_url));
}

static void
read_error(json_object *object, ClariReply *reply)
{
	read_text(get_string_or_integer(object, "code"), reply->code, sizeof(reply->code));
	read_text(GET(object, json_type_string, "errorId", "request_id"), reply->error_id, sizeof(reply->error_id));
	read_text(GET(object, json_type_string, "message", "description", "reasonPhrase"), reply->message,
			  sizeof(reply->message));
}

/* Reads the first of a list of errors. */
static void
read_errors(json_object *list, ClariReply *reply)
{
	json_object *first = list == NULL ? NULL : json_object_array_get_idx(list, 0);

	if (json_object_is_type(first, json_type_object))
		read_error(first, reply);
}

static void
read_limits(json_object *object, ClariReply *reply)
{
	reply->concurrent_limit = read_count(object, "concurrentLimit");
	reply->available_concurrent = read_count(object, "availableConcurrentLimit");
	reply->monthly_quota = read_count(object, "monthlyQuota");
	reply->available_monthly = read_count(object, "availableMonthlyQuota");
}

/* Returns the length of a byte order mark at the beginning of the body.  RFC 8259 allows parsers to ignore it. */
static size_t
mark_length(const char *body, size_t length)
{
	return length >= 3 && memcmp(body, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
}

/* Parses the body as one JSON value, which belongs to the caller.  Returns NULL if it is not valid, or null. */
static json_object *
parse_body(const char *body, size_t length)
{
	json_tokener *tokener = json_tokener_new();
	json_object *value = NULL;
	size_t mark = mark_length(body, length);

	if (tokener == NULL)
		return NULL;
	body += mark;
	length -= mark;
	while (length > 0 && clari_is_space((unsigned char) body[length - 1]))
		length--;
	/* Not JSON_TOKENER_STRICT: in json-c 0.18 that flag refuses all bytes from 0x80 on (its issue 892). */
	json_tokener_set_flags(tokener, JSON_TOKENER_VALIDATE_UTF8);
	if (length > 0 && length < INT_MAX)
		value = json_tokener_parse_ex(tokener, body, (int) length);
	if (value != NULL && json_tokener_get_parse_end(tokener) != length)
	{
		json_object_put(value);
		value = NULL;
	}
	json_tokener_free(tokener);
	return value;
}

static void
read_object(json_object *object, ClariReply *reply)
{
	json_object *member;

	read_error(object, reply);
	read_job(object, false, reply);
	if (json_object_object_get_ex(object, "successful", &member))
		reply->successful = json_object_is_type(member, json_type_boolean) && json_object_get_boolean(member)
								? CLARI_FLAG_YES
								: CLARI_FLAG_NO;
	if ((member = GET(object, json_type_object, "job")) != NULL)
	{
		read_error(member, reply);
		read_job(member, true, reply);
	}
	if ((member = GET(object, json_type_object, "jobs")) != NULL)
		read_limits(member, reply);
	read_errors(GET(object, json_type_array, "errors"), reply);
}

/*
 * Overwrites the secret in all texts of the value.  This must come before they
 * are truncated, which could leave a part of it.
 */
static void
wipe_secret(json_object *value, const char *secret)
{
	if (json_object_is_type(value, json_type_string))
		/* this memory belongs to the object only */
		clari_wipe_text((char *) json_object_get_string(value), (size_t) json_object_get_string_len(value), secret);
	else if (json_object_is_type(value, json_type_array))
		for (size_t i = 0; i < json_object_array_length(value); i++)
			wipe_secret(json_object_array_get_idx(value, i), secret);
	else if (json_object_is_type(value, json_type_object))
		for (struct lh_entry *member = json_object_get_object(value)->head; member != NULL; member = member->next)
			wipe_secret(lh_entry_v(member), secret);
}

void
clari_json_read_reply(const char *body, size_t length, const char *secret, ClariReply *reply)
{
	json_object *object = parse_body(body, length);
	size_t mark = mark_length(body, length);

	memset(reply, 0, sizeof(*reply));
	reply->concurrent_limit = reply->available_concurrent = -1;
	reply->monthly_quota = reply->available_monthly = -1;
	read_first_line(body + mark, length - mark, reply->first_line, sizeof(reply->first_line));
	wipe_secret(object, secret);
	if (json_object_is_type(object, json_type_array))
		read_errors(object, reply);
	else if (json_object_is_type(object, json_type_object))
		read_object(object, reply);
	reply->is_json = json_object_is_type(object, json_type_object) || reply->message[0] != '\0';
	json_object_put(object);
}

/* ------- the list of jobs ------- */

/*
 * Reads a word that decides how a job is recognized.  Absent, null and empty
 * count as the same.  Returns false if there is anything else that cannot be
 * stored unchanged.
 */
static bool
read_listed_word(json_object *object, const char *key, char *field, size_t size)
{
	json_object *member;

	field[0] = '\0';
	if (!json_object_object_get_ex(object, key, &member) || member == NULL)
		return true;
	/* An export's entries have their currency as {"code", "symbol"}, so jobs may have it too. */
	if (json_object_is_type(member, json_type_object))
		member = GET(member, json_type_string, "code");
	if (!json_object_is_type(member, json_type_string) && !json_object_is_type(member, json_type_int))
		return false;
	read_word(member, field, size);
	return field[0] != '\0' ||
		   (json_object_is_type(member, json_type_string) && json_object_get_string_len(member) == 0);
}

/* Reads the name of a file, which is compared but never shown: unchanged, including spaces, or not at all. */
static void
read_file_name(json_object *object, char *field, size_t size)
{
	json_object *member = GET(object, json_type_string, "fileName");
	size_t length = member == NULL ? 0 : (size_t) json_object_get_string_len(member);

	field[0] = '\0';
	if (length > 0 && length < size && memchr(json_object_get_string(member), '\0', length) == NULL)
		memcpy(field, json_object_get_string(member), length + 1);
}

static bool
read_listed_job(json_object *element, ClariListedJob *job)
{
	json_object *object = element;
	json_object *member;
	json_object *id;

	memset(job, 0, sizeof(*job));
	if (!json_object_is_type(element, json_type_object))
		return false;
	if ((member = GET(element, json_type_object, "job")) != NULL)
		object = member;
	id = get_string_or_integer(object, "jobId");
	if (id == NULL && object != element)
		id = get_string_or_integer(object, "id");
	read_word(id, job->job_id, sizeof(job->job_id));
	job->status = status_of(GET(object, json_type_string, "status"));
	read_file_name(object, job->file_name, sizeof(job->file_name));
	return job->job_id[0] != '\0' && read_listed_word(object, "userId", job->user_id, sizeof(job->user_id)) &&
		   read_listed_word(object, "currency", job->currency, sizeof(job->currency));
}

/* Returns the array of jobs in the value, or NULL if it is not a list of jobs. */
static json_object *
get_list(json_object *value)
{
	if (json_object_is_type(value, json_type_object) && json_object_object_length(value) == 1)
		value = GET(value, json_type_array, "jobs");
	return json_object_is_type(value, json_type_array) ? value : NULL;
}

bool
clari_json_read_jobs(const char *body, size_t length, ClariListedJobSink sink, void *arg)
{
	json_object *value = parse_body(body, length);
	json_object *list = get_list(value);
	size_t count = list == NULL ? 0 : json_object_array_length(list);
	bool understood = list != NULL;
	ClariListedJob job;

	for (size_t i = 0; i < count && understood; i++)
		understood = read_listed_job(json_object_array_get_idx(list, i), &job);
	for (size_t i = 0; i < count && understood; i++)
	{
		read_listed_job(json_object_array_get_idx(list, i), &job);
		if (!sink(arg, &job))
			break;
	}
	json_object_put(value);
	return understood;
}

/* ------- the body of an export's POST ------- */

/* Adds the value to the object, which then owns it.  Returns false if out of memory. */
static bool
add(json_object *object, const char *key, json_object *value)
{
	if (value != NULL && json_object_object_add(object, key, value) == 0)
		return true;
	json_object_put(value);
	return false;
}

static bool
add_text(json_object *object, const char *key, const char *text)
{
	return text[0] == '\0' || add(object, key, json_object_new_string(text));
}

static json_object *
new_types(uint32_t types)
{
	json_object *array = json_object_new_array();

	for (int i = 0; array != NULL && i < CLARI_TYPES_COUNT; i++)
	{
		json_object *name;

		if ((types & (UINT32_C(1) << i)) == 0)
			continue;
		name = json_object_new_string(clari_type_names[i]);
		if (name == NULL || json_object_array_add(array, name) != 0)
		{
			json_object_put(name);
			json_object_put(array);
			return NULL;
		}
	}
	return array;
}

char *
clari_json_export_body(const ClariRequest *request, ClariSchedule schedule)
{
	static const char *const schedules[] = {
		[CLARI_SCHEDULE_NONE] = "NONE", [CLARI_SCHEDULE_ONCE] = "ONCE", [CLARI_SCHEDULE_MAX] = "MAX"};
	static const char *const formats[] = {[CLARI_FORMAT_JSON] = "JSON", [CLARI_FORMAT_CSV] = "CSV"};
	json_object *body = json_object_new_object();
	const char *text;
	char *copy = NULL;

	if (body == NULL)
		return NULL;
	if (add_text(body, "timePeriod", request->period) && add(body, "typesToExport", new_types(request->types)) &&
		add_text(body, "scopeId", request->scope_id) && add_text(body, "currency", request->currency) &&
		add_text(body, "schedule", schedules[schedule]) &&
		add(body, "includeHistorical", json_object_new_boolean(request->include_historical)) &&
		add_text(body, "exportFormat", formats[request->format]))
	{
		text = json_object_to_json_string_ext(body, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
		copy = text == NULL ? NULL : strdup(text);
	}
	json_object_put(body);
	return copy;
}
