/*
 * value.c
 *		Converts the text of an option to its value: see internal.h.
 *
 * Runs in sessions: in the validator, and again whenever a table's options are
 * merged, so both see the same value.  Allocates in the current context; takes
 * no locks; uses no catalog, file or network.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>

#include "common/string.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#include "options/internal.h"
#include "options/options.h"

void
clari_option_refuse(const ClariOption *option, const char *text, const char *takes, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
			 text != NULL && !option->secret ? errmsg("invalid value for option \"%s\": \"%s\"", option->name, text)
											 : errmsg("invalid value for option \"%s\"", option->name),
			 errdetail("The option takes %s.", takes), hint != NULL ? errhint("%s", hint) : 0));
}

/* ---- Scalars ----------------------------------------------------------- */

void
clari_option_set_bool(const ClariOption *option, const char *text, void *target)
{
	bool value;

	if (!parse_bool(text, &value))
		clari_option_refuse(option, text, "true or false", NULL);
	if (target != NULL)
		*(bool *) target = value;
}

static const char *
range_text(const ClariOption *option)
{
	if (option->unit == GUC_UNIT_MS)
		return psprintf("a duration from %dms to %dms; a bare number counts milliseconds", option->min, option->max);
	if (option->unit == GUC_UNIT_S)
		return psprintf("a duration from %ds to %ds; a bare number counts seconds", option->min, option->max);
	if (option->unit == GUC_UNIT_KB)
		return psprintf("a size from %dkB to %dkB; a bare number counts kilobytes", option->min, option->max);
	return psprintf("a whole number from %d to %d", option->min, option->max);
}

void
clari_option_set_int(const ClariOption *option, const char *text, void *target)
{
	int value;
	const char *hint = NULL;

	if (!parse_int(text, &value, option->unit, &hint) || value < option->min || value > option->max)
		clari_option_refuse(option, text, range_text(option), hint);
	if (target != NULL)
		*(int32 *) target = value;
}

/* parse_int() is not used because it would round 400ms to 0 s. */
void
clari_option_set_duration(const ClariOption *option, const char *text, void *target)
{
	double value;
	const char *hint = NULL;

	if (!parse_real(text, &value, option->unit, &hint) || value < option->min || value > option->max)
		clari_option_refuse(option, text, range_text(option), hint);
	if (target != NULL)
		*(int64 *) target = (int64) rint(value * USECS_PER_SEC);
}

/* ---- Texts ------------------------------------------------------------- */

static bool
has_control_character(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char) *text < ' ' || *text == 0x7F)
			return true;
	return false;
}

/*
 * Checks the text and returns it in UTF-8, whatever the database's encoding,
 * because it is sent to Clari or compared with Clari's files.  "." and ".."
 * are refused, because they would vanish from a URL's path.
 */
static const char *
checked_text(const ClariOption *option, const char *text)
{
	const char *utf8 = pg_server_to_any(text, strlen(text), PG_UTF8);

	if (*utf8 == '\0' || strlen(utf8) >= (size_t) option->max || has_control_character(utf8) ||
		strcmp(utf8, ".") == 0 || strcmp(utf8, "..") == 0)
		clari_option_refuse(
			option, text,
			psprintf("a text of 1 to %d bytes in UTF-8, without control characters, other than . and ..",
					 option->max - 1),
			NULL);
	return utf8;
}

/* Stores the text in a buffer. */
void
clari_option_set_text(const ClariOption *option, const char *text, void *target)
{
	const char *utf8 = checked_text(option, text);

	if (target != NULL)
		strlcpy(target, utf8, option->max);
}

/* Stores a copy of the text in a pointer. */
void
clari_option_set_string(const ClariOption *option, const char *text, void *target)
{
	const char *utf8 = checked_text(option, text);

	if (target != NULL)
		*(char **) target = pstrdup(utf8);
}

void
clari_option_set_path(const ClariOption *option, const char *text, void *target)
{
	if (!is_absolute_path(text) || strlen(text) >= (size_t) option->max || has_control_character(text))
		clari_option_refuse(option, text, psprintf("an absolute path of at most %d bytes", option->max - 1), NULL);
	if (target != NULL)
		strlcpy(target, text, option->max);
}

void
clari_option_set_prefix(const ClariOption *option, const char *text, void *target pg_attribute_unused())
{
	if (strlen(text) >= (size_t) option->max)
		clari_option_refuse(option, text, psprintf("a text of at most %d bytes", option->max - 1), NULL);
}

/* A key becomes a header's value: it has no space, no line end, nothing beyond ASCII. */
bool
clari_is_api_key(const char *text)
{
	size_t length = strlen(text);

	for (size_t i = 0; i < length; i++)
		if (text[i] <= ' ' || text[i] > '~')
			return false;
	return length > 0 && length < CLARI_API_KEY_SIZE;
}

void
clari_option_set_secret(const ClariOption *option, const char *text, void *target)
{
	if (!clari_is_api_key(text))
		clari_option_refuse(option, NULL,
							psprintf("1 to %d printable ASCII characters without spaces", option->max - 1), NULL);
	if (target != NULL)
		strlcpy(target, text, option->max);
}

/* The key must be one that some object has.  Whether the table's own object has it is checked at first use. */
void
clari_option_set_key(const ClariOption *option, const char *text, void *target pg_attribute_unused())
{
	ClariColumn column;

	for (int object = 0; object < CLARI_OBJECT_COUNT; object++)
		if (clari_object_find_key(object, text, &column) || clari_object_find_column(object, text, &column))
			return;
	clari_option_refuse(option, text,
						"the key of an attribute in Clari's export file, such as \"ownerEmail\" or \"currency.code\"",
						NULL);
}

/* ---- Words ------------------------------------------------------------- */

void
clari_option_set_object(const ClariOption *option, const char *text, void *target)
{
	for (int object = 0; object < CLARI_OBJECT_COUNT; object++)
		if (strcmp(text, clari_object_names[object]) == 0)
		{
			if (target != NULL)
				*(ClariObject *) target = object;
			return;
		}
	clari_option_refuse(option, text,
						"one of forecasts, entries, users, fields, time_periods, time_frames, limits, jobs", NULL);
}

void
clari_option_set_endpoint(const ClariOption *option, const char *text, void *target)
{
	bool is_forecast = strcmp(text, "forecast") == 0;

	if (!is_forecast && strcmp(text, "export") != 0)
		clari_option_refuse(option, text, "one of export, forecast", NULL);
	if (target != NULL)
		*(ClariEndpoint *) target = is_forecast ? CLARI_ENDPOINT_FORECAST : CLARI_ENDPOINT_EXPORT;
}

void
clari_option_set_format(const ClariOption *option, const char *text, void *target)
{
	for (int format = 0; format < CLARI_FORMAT_COUNT; format++)
		if (pg_strcasecmp(text, clari_format_names[format]) == 0)
		{
			if (target != NULL)
				*(ClariFormat *) target = format;
			return;
		}
	clari_option_refuse(option, text, "json or csv", NULL);
}

void
clari_option_set_period_type(const ClariOption *option, const char *text, void *target)
{
	ClariPeriodType type = clari_period_type_read(text, strlen(text));

	if (type == CLARI_OTHER_PERIODS)
		clari_option_refuse(option, text, "quarter, month or year", NULL);
	if (target != NULL)
		*(ClariPeriodType *) target = type;
}

void
clari_option_set_schedule(const ClariOption *option, const char *text, void *target)
{
	static const char *const names[] = {
		[CLARI_SCHEDULE_NONE] = "NONE", [CLARI_SCHEDULE_ONCE] = "ONCE", [CLARI_SCHEDULE_MAX] = "MAX"};

	for (int schedule = 0; schedule < (int) lengthof(names); schedule++)
		if (pg_strcasecmp(text, names[schedule]) == 0)
		{
			if (target != NULL)
				*(ClariSchedule *) target = schedule;
			return;
		}
	clari_option_refuse(option, text, "one of NONE, ONCE, MAX", NULL);
}

void
clari_option_set_currency(const ClariOption *option, const char *text, void *target)
{
	if (strlen(text) != 3 || strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
		clari_option_refuse(option, text, "three capital letters as ISO 4217 has them, such as USD", NULL);
	if (target != NULL)
		strcpy(target, text);
}

/* Returns the bit of the type whose name is name[0..length), or 0. */
static uint32
type_bit(const char *name, size_t length)
{
	for (int i = 0; i < CLARI_TYPES_COUNT; i++)
		if (strlen(clari_type_names[i]) == length && memcmp(clari_type_names[i], name, length) == 0)
			return (uint32) 1 << i;
	return 0;
}

void
clari_option_set_types(const ClariOption *option, const char *text, void *target)
{
	static const char *const space = " \t\r\n";
	const char *name = text;
	uint32 types = 0;

	for (;;)
	{
		size_t length;
		uint32 bit;

		name += strspn(name, space);
		length = strcspn(name, ", \t\r\n");
		bit = type_bit(name, length);
		name += length + strspn(name + length, space);
		if (bit == 0 || (*name != ',' && *name != '\0'))
			clari_option_refuse(
				option, text,
				"a comma-separated list of forecast, quota, forecast_updated, adjustment, crm_total, crm_closed", NULL);
		types |= bit;
		if (*name++ == '\0')
			break;
	}
	if (target != NULL)
		*(uint32_t *) target = types;
}

void
clari_option_set_periods(const ClariOption *option, const char *text, void *target)
{
	ClariExtent extent;
	ClariError error;

	if (!clari_extent_parse(text, &extent, &error))
	{
		/*
		 * The detail says which part is wrong, and why.  It is omitted if the
		 * message may have been cut within a character.
		 */
		error.message[0] = pg_toupper((unsigned char) error.message[0]);
		ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
						errmsg("invalid value for option \"%s\": \"%s\"", option->name, text),
						pg_is_ascii(error.message) ? errdetail("%s.", error.message) : 0, errhint("%s", error.hint)));
	}
	if (target != NULL)
		*(ClariExtent *) target = extent;
}

/* ---- Addresses --------------------------------------------------------- */

#define HOST_SIZE 256
#define DIGITS "0123456789"
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

/* Is text[0..length) a host or host:port?  Copies the host, without brackets, to host. */
static bool
parse_authority(const char *text, size_t length, char host[HOST_SIZE])
{
	bool bracketed = length > 0 && text[0] == '[';
	const char *begin = bracketed ? text + 1 : text;
	size_t host_length = strspn(begin, bracketed ? DIGITS "abcdefABCDEF:." : DIGITS LETTERS "-._");
	const char *end = begin + host_length;
	struct in6_addr address;

	if (host_length == 0 || host_length >= HOST_SIZE || end > text + length)
		return false;
	memcpy(host, begin, host_length);
	host[host_length] = '\0';
	if (bracketed && (inet_pton(AF_INET6, host, &address) != 1 || *end++ != ']'))
		return false;
	if (end < text + length && *end == ':')
	{
		size_t digits = strspn(++end, DIGITS);

		if (digits < 1 || digits > 5 || atoi(end) < 1 || atoi(end) > 65535)
			return false;
		end += digits;
	}
	return end == text + length;
}

/*
 * Decided by the spelling only, because a name that resolves to a loopback
 * address now may resolve to another one later.
 */
static bool
is_loopback(const char *host)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, host, &v4) == 1)
		return (ntohl(v4.s_addr) >> 24) == 127;
	if (inet_pton(AF_INET6, host, &v6) == 1)
		return IN6_IS_ADDR_LOOPBACK(&v6);
	return pg_strcasecmp(host, "localhost") == 0;
}

/* Returns the part after "://", or NULL if the scheme is neither http nor https. */
static const char *
skip_scheme(const char *text, bool *plain)
{
	*plain = pg_strncasecmp(text, "http://", 7) == 0;
	if (*plain)
		return text + 7;
	return pg_strncasecmp(text, "https://", 8) == 0 ? text + 8 : NULL;
}

void
clari_option_set_base_url(const ClariOption *option, const char *text, void *target)
{
	bool plain;
	char host[HOST_SIZE];
	const char *authority = skip_scheme(text, &plain);
	size_t authority_length = authority != NULL ? strcspn(authority, "/?#") : 0;
	const char *path = authority + authority_length;
	size_t length = strlen(text);

	while (length > 0 && text[length - 1] == '/')
		length--;
	if (authority == NULL || !parse_authority(authority, authority_length, host) || length >= (size_t) option->max ||
		path[strspn(path, DIGITS LETTERS "/-._~%!$&'()*+,;=:@")] != '\0')
		/* With a user name there may be a password, and a query may contain a key; then the value is not shown. */
		clari_option_refuse(
			option, strpbrk(text, "@?") == NULL ? text : NULL,
			psprintf("an address such as https://api.clari.com/v4, of at most %d bytes, without user name, query and "
					 "fragment",
					 option->max - 1),
			NULL);
	if (target != NULL)
	{
		char *url = target;

		strlcpy(url, text, length + 1);
		/* The scheme and the host are parts of the identity, and are the same in upper and lower case. */
		for (char *c = url; c < url + Min(length, (size_t) (path - text)); c++)
			*c = pg_ascii_tolower((unsigned char) *c);
	}
}

void
clari_option_set_proxy(const ClariOption *option, const char *text, void *target)
{
	static const char *const schemes[] = {"http://", "https://", "socks4://", "socks4a://", "socks5://", "socks5h://"};
	const char *authority = text;
	char host[HOST_SIZE];

	for (int i = 0; i < (int) lengthof(schemes) && authority == text; i++)
		if (pg_strncasecmp(text, schemes[i], strlen(schemes[i])) == 0)
			authority = text + strlen(schemes[i]);
	/* A user name and a password are refused, because pg_foreign_server can be read by everybody. */
	if (!parse_authority(authority, strcspn(authority, "/"), host) || strlen(text) >= (size_t) option->max ||
		authority[strcspn(authority, "/") + strspn(authority + strcspn(authority, "/"), "/")] != '\0')
		clari_option_refuse(
			option, strchr(text, '@') == NULL ? text : NULL,
			"host:port, which http://, https://, socks4://, socks4a://, socks5:// or socks5h:// may precede, without "
			"user name",
			NULL);
	if (target != NULL)
		strlcpy(target, text, option->max);
}

bool
clari_url_is_of_clari(const char *url)
{
	static const char domain[] = ".clari.com";
	bool plain;
	const char *authority = skip_scheme(url, &plain);
	char host[HOST_SIZE];
	size_t length;

	if (!parse_authority(authority, strcspn(authority, "/"), host))
		return false;
	length = strlen(host);
	return length >= sizeof(domain) && pg_strcasecmp(host + length - (sizeof(domain) - 1), domain) == 0;
}

bool
clari_url_is_safe(const char *url)
{
	bool plain;
	const char *authority = skip_scheme(url, &plain);
	char host[HOST_SIZE];

	return !plain || (parse_authority(authority, strcspn(authority, "/"), host) && is_loopback(host));
}
