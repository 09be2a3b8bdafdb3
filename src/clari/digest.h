/*
 * digest.h
 *		SHA-256 and HMAC-SHA-256 by OpenSSL, which is used nowhere else.
 *
 * Otherwise pure.  Must not be called in the postmaster, because every backend
 * would inherit OpenSSL's state.
 */
#ifndef CLARI_DIGEST_H
#define CLARI_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLARI_DIGEST_SIZE 32

/* Both return false only if OpenSSL fails (no memory, FIPS policy). */
extern bool clari_digest(const void *data, size_t length, uint8_t digest[CLARI_DIGEST_SIZE]);
extern bool
clari_hmac(const void *key, size_t key_length, const void *data, size_t length, uint8_t digest[CLARI_DIGEST_SIZE]);

/* Overwrites memory that contained a secret.  The compiler cannot remove this. */
extern void clari_wipe(void *data, size_t length);

/* Overwrites each occurrence of the secret in the text with asterisks.  An empty secret does not occur. */
extern void clari_wipe_text(char *text, size_t length, const char *secret);

#endif /* CLARI_DIGEST_H */
