/*
 * reply.h
 *		The contents of Clari's small replies, as plain values.
 *
 * Room json fills these structs and room job reads them; neither depends on
 * the other.  Fields and states are named as in Clari's job object (OpenAPI
 * document 5.0.0, path v4).
 */
#ifndef CLARI_REPLY_H
#define CLARI_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "clari/request.h"

#define CLARI_LINK_SIZE 4096  /* pre-signed links contain session tokens */
#define CLARI_CURRENCY_SIZE 8 /* as in a job object: "USD" */
#define CLARI_STATUS_SIZE 32  /* such as "SCHEDULED" */

typedef enum ClariJobStatus
{
	CLARI_STATUS_ABSENT, /* the reply has no status */
	CLARI_STATUS_SCHEDULED,
	CLARI_STATUS_STARTED,
	CLARI_STATUS_DONE, /* or "COMPLETED", as in some guides */
	CLARI_STATUS_FAILED,
	CLARI_STATUS_CANCELED,
	CLARI_STATUS_ABORTED,
	CLARI_STATUS_UNKNOWN /* an unknown state: continue polling */
} ClariJobStatus;

/* The value of a member that should be a boolean. */
typedef enum ClariFlag
{
	CLARI_FLAG_ABSENT,
	CLARI_FLAG_NO,
	CLARI_FLAG_YES
} ClariFlag;

typedef struct ClariReply
{
	bool is_json;                /* the body was a JSON object, or a list of errors */
	char job_id[CLARI_ID_SIZE];  /* or empty */
	char user_id[CLARI_ID_SIZE]; /* whose job it is, or empty */
	char organization[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE]; /* the currency of the job's amounts, or empty */
	ClariJobStatus status;
	char status_text[CLARI_STATUS_SIZE]; /* the status as it was sent */
	int64_t end_time;                    /* epoch ms, 0 when absent */
	bool rows_truncated;
	bool cells_truncated;
	ClariFlag successful;               /* of a PATCH: whether it was successful */
	char download_url[CLARI_LINK_SIZE]; /* or empty */
	/* Of errors, in any of their forms. */
	char code[64];
	char error_id[64];
	char message[256];
	char first_line[128]; /* the first line of the body, of any kind, or empty */
	/* Of GET /admin/limits; -1 if absent. */
	int64_t concurrent_limit;
	int64_t available_concurrent;
	int64_t monthly_quota;
	int64_t available_monthly;
} ClariReply;

/* Is the HTTP status 2xx? */
static inline bool
clari_is_success(int status)
{
	return status >= 200 && status <= 299;
}

/* A job of GET /export/jobs.  Texts are as they were sent, or empty if absent. */
typedef struct ClariListedJob
{
	char job_id[CLARI_ID_SIZE]; /* never empty */
	char user_id[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE];
	char file_name[256]; /* also empty if too long; our jobs have no such names */
	ClariJobStatus status;
} ClariListedJob;

#endif /* CLARI_REPLY_H */
