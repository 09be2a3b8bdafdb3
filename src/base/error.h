/*
 * error.h
 *		A plain error value.
 *
 * The pure rooms run inside libcurl's and json-c's frames, in unit tests and in
 * fuzzers, where ereport() must not be called.  They fill a ClariError and return
 * false; whoever may raise does so by clari_error_report() (report.h).  The struct
 * is plain bytes, so it also travels through shared memory.
 */
#ifndef CLARI_ERROR_H
#define CLARI_ERROR_H

#include <stdbool.h>
#include <stddef.h>

/* What went wrong; report.c maps each to its SQLSTATE. */
typedef enum ClariErrorCode
{
	CLARI_ERROR_NONE = 0,
	CLARI_ERROR_OUT_OF_MEMORY,
	CLARI_ERROR_OPTION,     /* an option's value is not valid */
	CLARI_ERROR_CONNECTION, /* there is no connection, TLS failed, or it broke */
	CLARI_ERROR_TIMEOUT,    /* export_timeout is over */
	CLARI_ERROR_AUTH,       /* 401, 403 */
	CLARI_ERROR_NOT_FOUND,  /* 404: no such forecast */
	CLARI_ERROR_QUOTA,      /* the monthly quota is used up */
	CLARI_ERROR_REQUEST,    /* any other refusal of our request */
	CLARI_ERROR_JOB,        /* the job failed at Clari */
	CLARI_ERROR_REPLY,      /* an answer that cannot be understood */
	CLARI_ERROR_DATA,       /* the file is broken, or holds what cannot be kept */
	CLARI_ERROR_CALENDAR,   /* nothing was asked for: it could not be told which quarter it is of */
	CLARI_ERROR_LIMIT,      /* truncated, or larger than a limit */
	CLARI_ERROR_CANCELED,   /* somebody canceled the export */
	CLARI_ERROR_UNCANCELED, /* somebody canceled the export, but Clari did not cancel the job */
	CLARI_ERROR_RESOURCES,  /* no worker, no room in a cache */
	CLARI_ERROR_IO,         /* a file cannot be written or read */
	CLARI_ERROR_GONE,       /* a rowset's file is not there any more: evicted */
	CLARI_ERROR_CORRUPT     /* a rowset's bytes are not what was written */
} ClariErrorCode;

typedef struct ClariError
{
	ClariErrorCode code;
	char message[256]; /* one plain sentence, lower case, no full stop */
	char detail[768];  /* facts, whole sentences, or empty */
	char hint[384];    /* what the reader can do, or empty */
} ClariError;

#define CLARI_PRINTF(f, a) __attribute__((format(printf, f, a)))

/*
 * Each formats into the error's field, cutting at a UTF-8 boundary when it is
 * too long.  clari_error_set() forgets what the error held before and returns
 * false, so that a failing function can "return clari_error_set(…)".  Where
 * error is NULL nothing happens.  No allocation.
 */
extern bool clari_error_set(ClariError *error, ClariErrorCode code, const char *format, ...) CLARI_PRINTF(3, 4);
extern void clari_error_detail(ClariError *error, const char *format, ...) CLARI_PRINTF(2, 3);
extern void clari_error_hint(ClariError *error, const char *format, ...) CLARI_PRINTF(2, 3);

/* Adds a sentence to the detail, which may be empty.  An empty sentence adds nothing. */
extern void clari_error_add_detail(ClariError *error, const char *format, ...) CLARI_PRINTF(2, 3);

static inline bool
clari_error_is_cancel(ClariErrorCode code)
{
	return code == CLARI_ERROR_CANCELED || code == CLARI_ERROR_UNCANCELED;
}

/* Sets "out of memory", in the same words everywhere; returns false. */
extern bool clari_error_out_of_memory(ClariError *error);

#endif /* CLARI_ERROR_H */
