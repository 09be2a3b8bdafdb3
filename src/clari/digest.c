/*
 * digest.c
 *		SHA-256 and HMAC-SHA-256 by OpenSSL: see digest.h.
 *
 * Runs in backends, the worker and unit tests; never in the postmaster,
 * because its children would share OpenSSL's state.  Stores nothing between
 * calls.
 */
#include "clari/digest.h"

#include <string.h>

#include <limits.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

bool
clari_digest(const void *data, size_t length, uint8_t digest[CLARI_DIGEST_SIZE])
{
	return EVP_Digest(data, length, digest, NULL, EVP_sha256(), NULL) == 1;
}

bool
clari_hmac(const void *key, size_t key_length, const void *data, size_t length, uint8_t digest[CLARI_DIGEST_SIZE])
{
	if (key_length > INT_MAX)
		return false;
	return HMAC(EVP_sha256(), key, (int) key_length, data, length, digest, NULL) != NULL;
}

void
clari_wipe(void *data, size_t length)
{
	OPENSSL_cleanse(data, length);
}

void
clari_wipe_text(char *text, size_t length, const char *secret)
{
	size_t size = strlen(secret);

	for (size_t at = 0; size > 0 && at + size <= length; at++)
		if (memcmp(text + at, secret, size) == 0)
			memset(text + at, '*', size);
}
