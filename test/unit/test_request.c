/*
 * test_request.c
 *		What request.h and digest.h promise: digests as published, and an identity
 *		that is exactly the export's parameters.
 */
#include "unit.h"

#include <stdlib.h>

#include "clari/request.h"

static const char *
hex(const uint8_t *bytes, char *text)
{
	for (int i = 0; i < CLARI_DIGEST_SIZE; i++)
		sprintf(text + 2 * i, "%02x", bytes[i]);
	return text;
}

/* FIPS 180-4's examples, as NIST publishes them. */
static void
test_digest(void)
{
	uint8_t digest[CLARI_DIGEST_SIZE];
	char text[2 * CLARI_DIGEST_SIZE + 1];
	char *million = malloc(1000000);

	ok(clari_digest("abc", 3, digest), "a digest can be computed");
	is(hex(digest, text), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", "SHA-256 of \"abc\"");
	clari_digest("", 0, digest);
	is(hex(digest, text), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "SHA-256 of nothing");
	clari_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, digest);
	is(hex(digest, text), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1", "SHA-256 of two blocks");
	if (million != NULL)
	{
		memset(million, 'a', 1000000);
		clari_digest(million, 1000000, digest);
		is(hex(digest, text), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
		   "SHA-256 of a million letters");
	}
	free(million);
}

/* RFC 4231, section 4: test cases 1 to 4, 6 and 7 (5 is of a truncated MAC). */
static void
test_hmac(void)
{
	static const char data6[] = "Test Using Larger Than Block-Size Key - Hash Key First";
	static const char data7[] = "This is a test using a larger than block-size key and a larger than block-size data. "
								"The key needs to be hashed before being used by the HMAC algorithm.";
	uint8_t key[131];
	uint8_t data[50];
	uint8_t digest[CLARI_DIGEST_SIZE];
	char text[2 * CLARI_DIGEST_SIZE + 1];

	memset(key, 0x0b, 20);
	ok(clari_hmac(key, 20, "Hi There", 8, digest), "an HMAC can be computed");
	is(hex(digest, text), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7", "RFC 4231 case 1");
	clari_hmac("Jefe", 4, "what do ya want for nothing?", 28, digest);
	is(hex(digest, text), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843", "RFC 4231 case 2");
	memset(key, 0xaa, 20);
	memset(data, 0xdd, sizeof(data));
	clari_hmac(key, 20, data, sizeof(data), digest);
	is(hex(digest, text), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe", "RFC 4231 case 3");
	for (int i = 0; i < 25; i++)
		key[i] = (uint8_t) (i + 1);
	memset(data, 0xcd, sizeof(data));
	clari_hmac(key, 25, data, sizeof(data), digest);
	is(hex(digest, text), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b", "RFC 4231 case 4");
	memset(key, 0xaa, sizeof(key));
	clari_hmac(key, sizeof(key), data6, sizeof(data6) - 1, digest);
	is(hex(digest, text), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54", "RFC 4231 case 6");
	clari_hmac(key, sizeof(key), data7, sizeof(data7) - 1, digest);
	is(hex(digest, text), "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2", "RFC 4231 case 7");
}

static void
test_wipe(void)
{
	char secret[] = "a secret that is long";
	static const char zeros[sizeof(secret)];
	char text[] = "the key key is no key";

	clari_wipe(secret, sizeof(secret));
	ok(memcmp(secret, zeros, sizeof(secret)) == 0, "a wiped secret is gone");
	clari_wipe_text(text, strlen(text), "key");
	is(text, "the *** *** is no ***", "a secret in a text is overwritten wherever it stands");
	clari_wipe_text(text, strlen(text), "");
	clari_wipe_text(text, 2, "the");
	is(text, "the *** *** is no ***", "an empty one, or one that does not fit, is nowhere");
}

static void
fill_request(ClariRequest *request)
{
	memset(request, 0, sizeof(*request));
	strcpy(request->base_url, "https://api.clari.com/v4");
	clari_request_hmac("key-one", request->api_key_hmac, NULL);
	strcpy(request->forecast, "net_arr");
	strcpy(request->period, "2026_Q1");
	request->types = CLARI_TYPES_ALL;
	strcpy(request->currency, "USD");
	strcpy(request->scope_id, "1905::MGR");
}

static bool
same_key(const ClariRequest *a, const ClariRequest *b)
{
	ClariKey key_a;
	ClariKey key_b;

	return clari_request_key(a, &key_a, NULL) && clari_request_key(b, &key_b, NULL) &&
		   memcmp(&key_a, &key_b, sizeof(ClariKey)) == 0;
}

static bool
same_account(const ClariRequest *a, const ClariRequest *b)
{
	ClariKey account_a;
	ClariKey account_b;

	return clari_request_account(a, &account_a, NULL) && clari_request_account(b, &account_b, NULL) &&
		   memcmp(&account_a, &account_b, sizeof(ClariKey)) == 0;
}

/* Fills the request anew, changes one field, and says that the key changed. */
#define CHANGES_KEY(change, name)                                                                                      \
	do                                                                                                                 \
	{                                                                                                                  \
		fill_request(&other);                                                                                          \
		change;                                                                                                        \
		ok(!same_key(&request, &other), name);                                                                         \
	} while (0)

static void
test_identity(void)
{
	ClariRequest request;
	ClariRequest other;
	ClariKey key;
	char text[2 * CLARI_DIGEST_SIZE + 1];

	fill_request(&request);
	fill_request(&other);
	ok(same_key(&request, &other), "the same request has the same key");
	CHANGES_KEY(strcpy(other.base_url, "https://api.clari.com/v5"), "another base_url is another export");
	CHANGES_KEY(clari_request_hmac("key-two", other.api_key_hmac, NULL), "another API key too");
	CHANGES_KEY(strcpy(other.forecast, "net_ar"), "another forecast");
	CHANGES_KEY(strcpy(other.period, "2026_Q2"), "another period");
	CHANGES_KEY(other.period[0] = '\0', "the current quarter, whichever it is");
	CHANGES_KEY(other.types = CLARI_TYPE_FORECAST, "other types");
	CHANGES_KEY(strcpy(other.currency, "EUR"), "another currency");
	CHANGES_KEY(other.currency[0] = '\0', "no currency");
	CHANGES_KEY(strcpy(other.scope_id, "1906::MGR"), "another scope");
	CHANGES_KEY(other.include_historical = true, "all weeks instead of one");
	CHANGES_KEY(other.format = CLARI_FORMAT_CSV, "another format");
	CHANGES_KEY(other.endpoint = CLARI_ENDPOINT_LIMITS, "another endpoint");

	/* Lengths keep neighbors apart. */
	fill_request(&request);
	strcpy(request.currency, "USD");
	request.scope_id[0] = '\0';
	CHANGES_KEY((other.currency[0] = '\0', strcpy(other.scope_id, "USD")),
				"a scope named like a currency is no currency");

	/* What lies behind a NUL, and padding, is not part of it. */
	fill_request(&request);
	memset(&other, 0xA5, sizeof(other));
	strcpy(other.base_url, request.base_url);
	memcpy(other.api_key_hmac, request.api_key_hmac, sizeof(other.api_key_hmac));
	strcpy(other.forecast, request.forecast);
	strcpy(other.period, request.period);
	other.types = request.types;
	strcpy(other.currency, request.currency);
	strcpy(other.scope_id, request.scope_id);
	other.include_historical = false;
	other.format = CLARI_FORMAT_JSON;
	other.endpoint = CLARI_ENDPOINT_EXPORT;
	ok(same_key(&request, &other), "what lies behind a string's end does not count");

	/* Keys name files that outlive the server: this value must not change by accident. */
	clari_request_key(&request, &key, NULL);
	is(hex(key.bytes, text), "fffcc35141a258f785d3bfb75e5fb8030dd57b9cdc23f525bf2d310995f9317e",
	   "the encoding is the one that it has always been");
}

static void
says(ClariEndpoint endpoint, const char *period, const char *expected)
{
	ClariRequest request;
	char subject[CLARI_SUBJECT_SIZE];

	fill_request(&request);
	strcpy(request.period, period);
	request.endpoint = endpoint;
	clari_request_subject(&request, subject);
	is(subject, expected, "a message says what was asked for");
}

static void
test_subject(void)
{
	says(CLARI_ENDPOINT_EXPORT, "2026_Q1", "the export of period 2026_Q1");
	says(CLARI_ENDPOINT_EXPORT, "", "the export of the current quarter");
	says(CLARI_ENDPOINT_FORECAST, "2026_Q1", "the read of period 2026_Q1");
	says(CLARI_ENDPOINT_FORECAST, "", "the read of the current quarter");
	says(CLARI_ENDPOINT_LIMITS, "", "the request for the limits");
	says(CLARI_ENDPOINT_JOBS, "", "the request for the list of jobs");
}

static void
test_longest(void)
{
	ClariRequest request;
	ClariRequest other;

	fill_request(&request);
	memset(request.base_url, 'u', sizeof(request.base_url) - 1);
	memset(request.forecast, 'f', sizeof(request.forecast) - 1);
	memset(request.scope_id, 's', sizeof(request.scope_id) - 1);
	other = request;
	ok(same_key(&request, &other), "the longest request has a key");
	memset(&other, 'x', sizeof(other));
	other.include_historical = true;
	ok(same_key(&other, &other), "strings without an end are taken whole");
}

static void
test_account(void)
{
	ClariRequest request;
	ClariRequest other;
	ClariKey key;
	ClariKey account;
	uint8_t hmac[CLARI_DIGEST_SIZE];
	char text[2 * CLARI_DIGEST_SIZE + 1];

	fill_request(&request);
	fill_request(&other);
	strcpy(other.forecast, "other");
	strcpy(other.period, "2025_Q1");
	other.types = CLARI_TYPE_QUOTA;
	ok(same_account(&request, &other), "what is asked for does not change who asks");
	clari_request_hmac("key-two", other.api_key_hmac, NULL);
	ok(!same_account(&request, &other), "another API key is another account");
	fill_request(&other);
	strcpy(other.base_url, "https://api.example.com/v4");
	ok(!same_account(&request, &other), "and so is another service");
	clari_request_key(&request, &key, NULL);
	clari_request_account(&request, &account, NULL);
	ok(memcmp(&key, &account, sizeof(key)) != 0, "an account is no key");

	ok(clari_request_hmac("key-one", hmac, NULL), "an API key has an HMAC");
	clari_hmac("key-one", 7, "clari_fdw api key 1", 19, account.bytes);
	is(hex(hmac, text), hex(account.bytes, (char[2 * CLARI_DIGEST_SIZE + 1]){0}), "of the constant text, keyed by it");
	ok(clari_request_hmac("", hmac, NULL), "even an empty one");
}

static void
test_types(void)
{
	int all = 0;

	for (int i = 0; i < CLARI_TYPES_COUNT; i++)
		all |= 1 << i;
	ok(all == CLARI_TYPES_ALL, "every type has its bit");
	is(clari_type_names[0], "forecast", "bit 0 is forecast");
	is(clari_type_names[1], "quota", "bit 1 is quota");
	is(clari_type_names[2], "forecast_updated", "bit 2 is forecast_updated");
	is(clari_type_names[3], "adjustment", "bit 3 is adjustment");
	is(clari_type_names[4], "crm_total", "bit 4 is crm_total");
	is(clari_type_names[5], "crm_closed", "bit 5 is crm_closed");
}

int
main(void)
{
	test_digest();
	test_hmac();
	test_wipe();
	test_identity();
	test_subject();
	test_longest();
	test_account();
	test_types();
	return done_testing();
}
