/*
 * request.c
 *		The identity of an export: see request.h.
 *
 * Runs in sessions, in the worker and in unit tests.  What is hashed is a
 * canonical encoding instead of the bytes of the structs, which contain
 * padding, and bytes after the NUL of texts.  Keys are used as names of files,
 * which exist longer than the server runs.  Numbers are therefore always
 * encoded in the same byte order, and a change of the encoding makes all
 * cached exports unknown.
 */
#include "clari/request.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const char *const clari_type_names[CLARI_TYPES_COUNT] = {"forecast",   "quota",     "forecast_updated",
														 "adjustment", "crm_total", "crm_closed"};

const char *const clari_format_names[CLARI_FORMAT_COUNT] = {
	[CLARI_FORMAT_JSON] = "json",
	[CLARI_FORMAT_CSV] = "csv",
};

/* The text whose HMAC is computed, with the API key as the key. */
static const char api_key_text[] = "clari_fdw api key 1";

/* Room for all fields with their lengths. */
#define ENCODING_SIZE (sizeof(ClariRequest) + 9 * sizeof(uint32_t))

typedef struct Encoding
{
	size_t length;
	uint8_t bytes[ENCODING_SIZE];
} Encoding;

static void
put_number(Encoding *encoding, uint32_t number)
{
	assert(encoding->length + 4 <= sizeof(encoding->bytes));
	for (int shift = 24; shift >= 0; shift -= 8)
		encoding->bytes[encoding->length++] = (uint8_t) (number >> shift);
}

static void
put_bytes(Encoding *encoding, const void *bytes, size_t length)
{
	put_number(encoding, (uint32_t) length);
	assert(encoding->length + length <= sizeof(encoding->bytes));
	memcpy(encoding->bytes + encoding->length, bytes, length);
	encoding->length += length;
}

/* Adds a text from a field of the given size, which need not contain a NUL. */
static void
put_string(Encoding *encoding, const char *text, size_t size)
{
	put_bytes(encoding, text, strnlen(text, size));
}

static bool
digest_encoding(const Encoding *encoding, ClariKey *key, ClariError *error)
{
	if (!clari_digest(encoding->bytes, encoding->length, key->bytes))
		return clari_error_set(error, CLARI_ERROR_RESOURCES, "could not compute a SHA-256 digest");
	return true;
}

bool
clari_request_key(const ClariRequest *request, ClariKey *key, ClariError *error)
{
	Encoding encoding = {0};

	put_string(&encoding, request->base_url, sizeof(request->base_url));
	put_bytes(&encoding, request->api_key_hmac, sizeof(request->api_key_hmac));
	put_string(&encoding, request->forecast, sizeof(request->forecast));
	put_string(&encoding, request->period, sizeof(request->period));
	put_number(&encoding, request->types);
	put_string(&encoding, request->currency, sizeof(request->currency));
	put_string(&encoding, request->scope_id, sizeof(request->scope_id));
	put_number(&encoding, request->include_historical ? 1 : 0);
	put_number(&encoding, (uint32_t) request->format);
	put_number(&encoding, (uint32_t) request->endpoint);
	return digest_encoding(&encoding, key, error);
}

void
clari_request_subject(const ClariRequest *request, char subject[CLARI_SUBJECT_SIZE])
{
	if (request->endpoint == CLARI_ENDPOINT_LIMITS)
		snprintf(subject, CLARI_SUBJECT_SIZE, "the request for the limits");
	else if (request->endpoint == CLARI_ENDPOINT_JOBS)
		snprintf(subject, CLARI_SUBJECT_SIZE, "the request for the list of jobs");
	else
		snprintf(subject, CLARI_SUBJECT_SIZE, "the %s of %s%s",
				 request->endpoint == CLARI_ENDPOINT_FORECAST ? "read" : "export", CLARI_PERIOD_WORDS(request->period));
}

void
clari_key_identity(const ClariKey *key, char identity[CLARI_IDENTITY_SIZE])
{
	snprintf(identity, CLARI_IDENTITY_SIZE, "%02x%02x%02x%02x", key->bytes[0], key->bytes[1], key->bytes[2],
			 key->bytes[3]);
}

bool
clari_request_account(const ClariRequest *request, ClariKey *account, ClariError *error)
{
	Encoding encoding = {0};

	put_string(&encoding, request->base_url, sizeof(request->base_url));
	put_bytes(&encoding, request->api_key_hmac, sizeof(request->api_key_hmac));
	return digest_encoding(&encoding, account, error);
}

bool
clari_request_hmac(const char *api_key, uint8_t hmac[CLARI_DIGEST_SIZE], ClariError *error)
{
	if (!clari_hmac(api_key, strlen(api_key), api_key_text, sizeof(api_key_text) - 1, hmac))
		return clari_error_set(error, CLARI_ERROR_RESOURCES, "could not compute an HMAC of the API key");
	return true;
}
