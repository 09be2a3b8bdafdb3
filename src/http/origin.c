/*
 * origin.c
 *		Origins of URLs: see origin.h.
 *
 * Runs in the worker and in unit tests.  Takes no lock, raises nothing, opens
 * no connection.
 */
#include "http/origin.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/internal.h"

/* Copies one part of the URL.  Returns false if the URL has no such part or it is too long. */
static bool
copy_part(CURLU *url, CURLUPart part, unsigned int flags, char *text, size_t size)
{
	char *value = NULL;
	bool fits;

	if (curl_url_get(url, part, &value, flags) != CURLUE_OK || value == NULL)
		return false;
	fits = strlen(value) < size;
	if (fits)
		strcpy(text, value);
	curl_free(value);
	return fits;
}

static bool
has_part(CURLU *url, CURLUPart part)
{
	char *value = NULL;
	bool found = curl_url_get(url, part, &value, 0) == CURLUE_OK;

	curl_free(value);
	return found;
}

/* Parses the URL.  The result must be freed with curl_url_cleanup(); NULL if it is no valid URL. */
static CURLU *
parse_url(const char *text)
{
	CURLU *url = curl_url();

	if (url != NULL && curl_url_set(url, CURLUPART_URL, text, CURLU_PATH_AS_IS) != CURLUE_OK)
	{
		curl_url_cleanup(url);
		url = NULL;
	}
	return url;
}

static bool
read_origin(CURLU *url, ClariOrigin *origin)
{
	char port[8];

	memset(origin, 0, sizeof(*origin));
	if (has_part(url, CURLUPART_USER) || has_part(url, CURLUPART_PASSWORD) || has_part(url, CURLUPART_ZONEID))
		return false;
	if (!copy_part(url, CURLUPART_SCHEME, 0, origin->scheme, sizeof(origin->scheme)) ||
		!copy_part(url, CURLUPART_HOST, 0, origin->host, sizeof(origin->host)) ||
		!copy_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port)))
		return false;
	origin->port = atoi(port);
	return origin->host[0] != '\0' && origin->port > 0 &&
		   (curl_strequal(origin->scheme, "http") || curl_strequal(origin->scheme, "https"));
}

bool
clari_origin_parse(const char *url, ClariOrigin *origin)
{
	CURLU *parsed = parse_url(url);
	bool read;

	if (parsed == NULL)
		return false;
	read = read_origin(parsed, origin);
	curl_url_cleanup(parsed);
	return read;
}

char *
clari_origin_resolve(const char *url, const char *location)
{
	CURLU *parsed = parse_url(url);
	char *absolute = NULL;
	char *result;

	/* A relative one is encoded in any case, where it has spaces or more than ASCII. */
	if (parsed != NULL &&
		curl_url_set(parsed, CURLUPART_URL, location,
					 CURLU_PATH_AS_IS | CURLU_NON_SUPPORT_SCHEME | CURLU_ALLOW_SPACE | CURLU_URLENCODE) == CURLUE_OK)
		curl_url_get(parsed, CURLUPART_URL, &absolute, 0);
	result = strdup(absolute != NULL ? absolute : location);
	curl_free(absolute);
	curl_url_cleanup(parsed);
	return result;
}

static bool
is_same(const ClariOrigin *a, const ClariOrigin *b)
{
	return a->port == b->port && curl_strequal(a->scheme, b->scheme) && curl_strequal(a->host, b->host);
}

ClariHop
clari_origin_hop(const ClariOrigin *base, const ClariOrigin *from, const ClariOrigin *target, bool keyed, bool foreign)
{
	if (keyed && is_same(target, base))
		return CLARI_HOP_KEYED;
	if (!keyed && from != NULL && is_same(target, from))
		return CLARI_HOP_KEYLESS;
	if (foreign && curl_strequal(target->scheme, "https"))
		return CLARI_HOP_KEYLESS;
	return CLARI_HOP_REFUSED;
}

void
clari_origin_text(const ClariOrigin *origin, char *text, size_t size)
{
	int own = curl_strequal(origin->scheme, "https") ? 443 : 80;

	if (origin->port == own)
		snprintf(text, size, "%s://%s", origin->scheme, origin->host);
	else
		snprintf(text, size, "%s://%s:%d", origin->scheme, origin->host, origin->port);
	clari_origin_clean(text);
}

void
clari_origin_redact(const char *url, char *text, size_t size)
{
	ClariOrigin origin;
	CURLU *parsed = parse_url(url);
	char *path = NULL;
	size_t used;

	if (parsed == NULL || !read_origin(parsed, &origin))
		snprintf(text, size, "(unreadable URL)");
	else
	{
		clari_origin_text(&origin, text, size);
		used = strlen(text);
		if (curl_url_get(parsed, CURLUPART_PATH, &path, 0) == CURLUE_OK)
			snprintf(text + used, size - used, "%s", path);
		curl_free(path);
		clari_origin_clean(text);
	}
	curl_url_cleanup(parsed);
}

/* Not done by libcurl's parser, which would guess the scheme of a text such as "ftp.example:3128". */
void
clari_origin_proxy_text(const char *proxy, char *text, size_t size)
{
	const char *end = strstr(proxy, "://");
	const char *authority = end != NULL ? end + 3 : proxy;
	int scheme = (int) (authority - proxy);

	if (strrchr(authority, '@') != NULL)
		authority = strrchr(authority, '@') + 1;
	snprintf(text, size, "%.*s%.*s", scheme > 0 ? scheme : 7, scheme > 0 ? proxy : "http://",
			 (int) strcspn(authority, "/?#"), authority);
	clari_origin_clean(text);
}

void
clari_origin_clean(char *text)
{
	for (; *text != '\0'; text++)
	{
		if (*text < 0x20 || *text > 0x7E)
			*text = '?';
	}
}
