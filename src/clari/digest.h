/*
 * digest.h
 *		SHA-256 and HMAC-SHA-256, by OpenSSL; the only room that knows OpenSSL.
 *
 * Pure otherwise.  Never call it in the postmaster: OpenSSL's state would be
 * inherited by every backend.
 */
#ifndef CLARI_DIGEST_H
#define CLARI_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLARI_DIGEST_SIZE 32

/* Both return false only when OpenSSL fails (out of memory, FIPS policy). */
extern bool clari_digest(const void *data, size_t length, uint8_t digest[CLARI_DIGEST_SIZE]);
extern bool
clari_hmac(const void *key, size_t key_length, const void *data, size_t length, uint8_t digest[CLARI_DIGEST_SIZE]);

/* Overwrites memory that held a secret, in a way no compiler removes. */
extern void clari_wipe(void *data, size_t length);

/* Overwrites each occurrence of the secret in the text with asterisks; an empty secret is nowhere. */
extern void clari_wipe_text(char *text, size_t length, const char *secret);

#endif /* CLARI_DIGEST_H */
