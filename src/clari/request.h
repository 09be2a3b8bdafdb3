/*
 * request.h
 *		An export's parameters, its identity, and what carrying it out needs.
 *
 * Plain structs without pointers: they are copied as they are into a plan, a
 * statement, and shared memory.  Pure.
 */
#ifndef CLARI_REQUEST_H
#define CLARI_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/digest.h"
#include "clari/period.h"

/* Sizes of texts, their NUL included. */
#define CLARI_URL_SIZE 512
#define CLARI_NAME_SIZE 128
#define CLARI_ID_SIZE 128 /* of a job, a user, an organization: as Clari gives it */
#define CLARI_API_KEY_SIZE 512
#define CLARI_PATH_SIZE 1024

/* typesToExport, in the fixed order in which they are sent. */
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

/* "forecast", "quota", …: Clari's name of the type with bit 1 << index. */
extern const char *const clari_type_names[CLARI_TYPES_COUNT];

typedef enum ClariSchedule
{
	CLARI_SCHEDULE_NONE,
	CLARI_SCHEDULE_ONCE,
	CLARI_SCHEDULE_MAX
} ClariSchedule;

/* exportFormat: what is asked for.  What comes tells by itself which it is. */
typedef enum ClariFormat
{
	CLARI_FORMAT_JSON,
	CLARI_FORMAT_CSV
} ClariFormat;

#define CLARI_FORMAT_COUNT 2

/* "json", "csv": the option's words. */
extern const char *const clari_format_names[CLARI_FORMAT_COUNT];

/* What of Clari's API is asked for. */
typedef enum ClariEndpoint
{
	CLARI_ENDPOINT_EXPORT,   /* a job, POSTed and polled, and its file */
	CLARI_ENDPOINT_FORECAST, /* from here on one GET each, which costs no quota: /forecast/{id}, as a file has it */
	CLARI_ENDPOINT_LIMITS,   /* /admin/limits */
	CLARI_ENDPOINT_JOBS      /* /export/jobs */
} ClariEndpoint;

/* Is it of the account, and so of no forecast and no period? */
static inline bool
clari_endpoint_is_of_account(ClariEndpoint endpoint)
{
	return endpoint == CLARI_ENDPOINT_LIMITS || endpoint == CLARI_ENDPOINT_JOBS;
}

/* What makes an export what it is: everything here is in its key. */
typedef struct ClariRequest
{
	char base_url[CLARI_URL_SIZE]; /* no trailing slash */
	uint8_t api_key_hmac[CLARI_DIGEST_SIZE];
	char forecast[CLARI_NAME_SIZE];      /* of the account: what views call it */
	char period[CLARI_PERIOD_TEXT_SIZE]; /* empty: the current quarter, asked without a period; or of the account */
	uint32_t types;                      /* bits of ClariExportType */
	char currency[4];                    /* ISO 4217, or empty */
	char scope_id[CLARI_NAME_SIZE];      /* or empty */
	bool include_historical;
	ClariFormat format;
	ClariEndpoint endpoint;
} ClariRequest;

/* What it is called in a message: "the export of period 2026_Q1", "the request for the limits". */
#define CLARI_SUBJECT_SIZE 48
extern void clari_request_subject(const ClariRequest *request, char subject[CLARI_SUBJECT_SIZE]);

/* How to carry it out: not part of the identity.  Holds the secret. */
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
	int32_t max_export_size;   /* kB, decoded */
} ClariTransport;

/* An export's identity: the cache key. */
typedef struct ClariKey
{
	uint8_t bytes[CLARI_DIGEST_SIZE];
} ClariKey;

/* What people are shown of it, which tells exports of one forecast and period apart: its first digits. */
#define CLARI_IDENTITY_SIZE 9
extern void clari_key_identity(const ClariKey *key, char identity[CLARI_IDENTITY_SIZE]);

/*
 * SHA-256 over the request's fields, each with its length, in the order of the
 * struct.  False (CLARI_ERROR_RESOURCES) only when OpenSSL fails.
 */
extern bool clari_request_key(const ClariRequest *request, ClariKey *key, ClariError *error);

/*
 * The account that the service takes us for: SHA-256 over base_url and
 * api_key_hmac.  It is by account that max_concurrent_exports is counted.
 */
extern bool clari_request_account(const ClariRequest *request, ClariKey *account, ClariError *error);

/* The HMAC of an API key that stands in the identity for it. */
extern bool clari_request_hmac(const char *api_key, uint8_t hmac[CLARI_DIGEST_SIZE], ClariError *error);

#endif /* CLARI_REQUEST_H */
