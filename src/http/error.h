/*
 * http_error.h
 *		What is said of a transfer that failed: who is to blame, and what helps.
 *
 * Inside of room http.
 */
#ifndef CLARI_HTTP_ERROR_H
#define CLARI_HTTP_ERROR_H

#include "http/transfer.h"

#define SHOWN_URL_SIZE 256

/*
 * Whether a server's option ca_file names a file that can be read; false with
 * the error filled.
 */
extern bool clari_http_check_ca_file(const char *path, ClariError *error);

/* False for what another attempt will meet again: certificates, set-up, a proxy's rules. */
extern bool clari_http_may_pass(const ClariTransfer *transfer, CURLcode code);

/* Fills the error for a transfer that libcurl ended with the code. */
extern void clari_http_describe(ClariTransfer *transfer, CURLcode code, ClariError *error);

#endif /* CLARI_HTTP_ERROR_H */
