/*
 * error.h
 *		A plain error value.
 *
 * The pure rooms run inside callbacks of libcurl and json-c, in unit tests and
 * in fuzzers, where ereport() must not be called.  They fill a ClariError and
 * return false.  Their callers raise it, where that is allowed, by
 * clari_error_report() (report.h).  The struct has no pointers, so it can be
 * copied to shared memory.
 */
#ifndef CLARI_ERROR_H
#define CLARI_ERROR_H

#include <stdbool.h>
#include <stddef.h>

/* The kind of error.  report.c has the SQLSTATE of each. */
typedef enum ClariErrorCode
{
	CLARI_ERROR_NONE = 0,
	CLARI_ERROR_OUT_OF_MEMORY,
	CLARI_ERROR_OPTION,     /* an option's value is not valid */
	CLARI_ERROR_CONNECTION, /* there is no connection, TLS failed, or it broke */
	CLARI_ERROR_TIMEOUT,    /* export_timeout has passed */
	CLARI_ERROR_AUTH,       /* 401, 403 */
	CLARI_ERROR_NOT_FOUND,  /* 404: no such forecast */
	CLARI_ERROR_QUOTA,      /* the monthly quota is used up */
	CLARI_ERROR_REQUEST,    /* any other refusal of the request */
	CLARI_ERROR_JOB,        /* the job failed at Clari */
	CLARI_ERROR_REPLY,      /* an answer that was not understood */
	CLARI_ERROR_DATA,       /* the file is damaged, or contains something that cannot be stored */
	CLARI_ERROR_CALENDAR,   /* no request was sent, because its quarter could not be determined */
	CLARI_ERROR_LIMIT,      /* truncated, or larger than a limit */
	CLARI_ERROR_CANCELED,   /* somebody has canceled the export */
	CLARI_ERROR_UNCANCELED, /* somebody has canceled the export, but Clari has not canceled its job */
	CLARI_ERROR_RESOURCES,  /* no worker, no room in a cache */
	CLARI_ERROR_IO,         /* a file could not be written or read */
	CLARI_ERROR_GONE,       /* a rowset's file does not exist any more, because it was evicted */
	CLARI_ERROR_CORRUPT     /* a rowset's bytes are not those that were written */
} ClariErrorCode;

typedef struct ClariError
{
	ClariErrorCode code;
	char message[256]; /* one sentence in lower case, without full stop */
	char detail[768];  /* facts as whole sentences, or empty */
	char hint[384];    /* what the reader can do, or empty */
} ClariError;

#define CLARI_PRINTF(f, a) __attribute__((format(printf, f, a)))

/*
 * Each of these formats a text into its field, and truncates it at a character
 * if it is too long.  clari_error_set() also clears the other fields, and
 * returns false, so that a function can fail by "return clari_error_set(…)".
 * Does nothing if error is NULL.  Allocates no memory.
 */
extern bool clari_error_set(ClariError *error, ClariErrorCode code, const char *format, ...) CLARI_PRINTF(3, 4);
extern void clari_error_detail(ClariError *error, const char *format, ...) CLARI_PRINTF(2, 3);
extern void clari_error_hint(ClariError *error, const char *format, ...) CLARI_PRINTF(2, 3);

/* Appends a sentence to the detail.  An empty sentence is ignored. */
extern void clari_error_add_detail(ClariError *error, const char *format, ...) CLARI_PRINTF(2, 3);

static inline bool
clari_error_is_cancel(ClariErrorCode code)
{
	return code == CLARI_ERROR_CANCELED || code == CLARI_ERROR_UNCANCELED;
}

/* Sets the error "out of memory".  Returns false. */
extern bool clari_error_out_of_memory(ClariError *error);

#endif /* CLARI_ERROR_H */
