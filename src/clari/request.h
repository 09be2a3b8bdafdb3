/*
 * request.h
 *		The parameters of an export, its identity, and what is needed to
 *		perform it.
 *
 * Plain structs without pointers, which are copied into plans, statements and
 * shared memory.  Pure.
 */
#ifndef CLARI_REQUEST_H
#define CLARI_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/digest.h"
#include "clari/period.h"

/* Sizes of texts, including the NUL. */
#define CLARI_URL_SIZE 512
#define CLARI_NAME_SIZE 128
#define CLARI_ID_SIZE 128 /* of jobs, users and organizations, as given by Clari */
#define CLARI_API_KEY_SIZE 512
#define CLARI_PATH_SIZE 1024

/* The types in typesToExport, in the order in which they are sent. */
typedef enum ClariExportType
{
	CLARI_TYPE_FORECAST = 1 << 0,
	CLARI_TYPE_QUOTA = 1 << 1,
	CLARI_TYPE_FORECAST_UPDATED = 1 << 2,
	CLARI_TYPE_ADJUSTMENT = 1 << 3,
	CLARI_TYPE_CRM_TOTAL = 1 << 4,
	CLARI_TYPE_CRM_CLOSED = 1 << 5
} ClariExportType;

#define CLARI_TYPES_ALL 0x3F
#define CLARI_TYPES_CRM (CLARI_TYPE_CRM_TOTAL | CLARI_TYPE_CRM_CLOSED)
#define CLARI_TYPES_COUNT 6

/* Clari's names of the types: "forecast", "quota", … The type with index i has the bit 1 << i. */
extern const char *const clari_type_names[CLARI_TYPES_COUNT];

typedef enum ClariSchedule
{
	CLARI_SCHEDULE_NONE,
	CLARI_SCHEDULE_ONCE,
	CLARI_SCHEDULE_MAX
} ClariSchedule;

/* The requested exportFormat.  The format of the answer is recognized from the answer itself. */
typedef enum ClariFormat
{
	CLARI_FORMAT_JSON,
	CLARI_FORMAT_CSV
} ClariFormat;

#define CLARI_FORMAT_COUNT 2

/* The words of option "format": "json" and "csv". */
extern const char *const clari_format_names[CLARI_FORMAT_COUNT];

/* The part of Clari's API that a request uses. */
typedef enum ClariEndpoint
{
	CLARI_ENDPOINT_EXPORT,   /* creates a job by POST, polls it, and downloads its file */
	CLARI_ENDPOINT_FORECAST, /* /forecast/{id}, as in a file; this and the following are one GET, without quota */
	CLARI_ENDPOINT_LIMITS,   /* /admin/limits */
	CLARI_ENDPOINT_JOBS      /* /export/jobs */
} ClariEndpoint;

/* Is it a request for the account, which has no forecast and no period? */
static inline bool
clari_endpoint_is_of_account(ClariEndpoint endpoint)
{
	return endpoint == CLARI_ENDPOINT_LIMITS || endpoint == CLARI_ENDPOINT_JOBS;
}

/* The parameters that make up the identity of an export.  All of them are hashed into its key. */
typedef struct ClariRequest
{
	char base_url[CLARI_URL_SIZE]; /* no trailing slash */
	uint8_t api_key_hmac[CLARI_DIGEST_SIZE];
	char forecast[CLARI_NAME_SIZE];      /* for the account: its name in views */
	char period[CLARI_PERIOD_TEXT_SIZE]; /* empty: the current quarter, or the account */
	uint32_t types;                      /* bits of ClariExportType */
	char currency[4];                    /* ISO 4217, or empty */
	char scope_id[CLARI_NAME_SIZE];      /* or empty */
	bool include_historical;
	ClariFormat format;
	ClariEndpoint endpoint;
} ClariRequest;

/* Writes what messages call the request, such as "the export of period 2026_Q1" or "the request for the limits". */
#define CLARI_SUBJECT_SIZE 48
extern void clari_request_subject(const ClariRequest *request, char subject[CLARI_SUBJECT_SIZE]);

/* How the request is performed; not part of the identity.  Contains the API key. */
typedef struct ClariTransport
{
	char api_key[CLARI_API_KEY_SIZE];
	char proxy[CLARI_URL_SIZE];    /* or empty */
	char ca_file[CLARI_PATH_SIZE]; /* or empty */
	ClariSchedule schedule;
	bool allow_truncated;
	int32_t max_concurrent_exports;
	int32_t max_retries;
	int32_t connect_timeout;   /* ms */
	int32_t request_timeout;   /* ms */
	int32_t export_timeout;    /* ms */
	int32_t poll_interval;     /* ms */
	int32_t max_poll_interval; /* ms */
	int32_t max_export_size;   /* kB, decompressed */
} ClariTransport;

/* The identity of an export, which is its key in the cache. */
typedef struct ClariKey
{
	uint8_t bytes[CLARI_DIGEST_SIZE];
} ClariKey;

/* Writes the first digits of the identity, as shown to users to distinguish exports of the same forecast and period. */
#define CLARI_IDENTITY_SIZE 9
extern void clari_key_identity(const ClariKey *key, char identity[CLARI_IDENTITY_SIZE]);

/*
 * Computes SHA-256 of the request's fields, each with its length, in the order
 * of the struct.  Returns false with CLARI_ERROR_RESOURCES only if OpenSSL
 * fails.
 */
extern bool clari_request_key(const ClariRequest *request, ClariKey *key, ClariError *error);

/*
 * Computes the key of the account that the request uses, SHA-256 of base_url
 * and api_key_hmac.  max_concurrent_exports is counted for each account.
 */
extern bool clari_request_account(const ClariRequest *request, ClariKey *account, ClariError *error);

/* Computes the HMAC that represents the API key in the identity. */
extern bool clari_request_hmac(const char *api_key, uint8_t hmac[CLARI_DIGEST_SIZE], ClariError *error);

#endif /* CLARI_REQUEST_H */
