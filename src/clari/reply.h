/*
 * reply.h
 *		What Clari's small replies say, as plain values.
 *
 * json fills it, job reads it; neither knows the other.  Field names and
 * states are those of Clari's job object (OpenAPI document 5.0.0, path v4).
 */
#ifndef CLARI_REPLY_H
#define CLARI_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "clari/request.h"

#define CLARI_LINK_SIZE 4096  /* pre-signed links carry whole session tokens */
#define CLARI_CURRENCY_SIZE 8 /* what a job object shows: "USD" */
#define CLARI_STATUS_SIZE 32  /* "SCHEDULED" */

typedef enum ClariJobStatus
{
	CLARI_STATUS_ABSENT, /* the reply has no status */
	CLARI_STATUS_SCHEDULED,
	CLARI_STATUS_STARTED,
	CLARI_STATUS_DONE, /* also "COMPLETED", as some guides show */
	CLARI_STATUS_FAILED,
	CLARI_STATUS_CANCELED,
	CLARI_STATUS_ABORTED,
	CLARI_STATUS_UNKNOWN /* a state we have not heard of: polled on */
} ClariJobStatus;

/* What a member says that should be a boolean: true, anything else, or it is absent. */
typedef enum ClariFlag
{
	CLARI_FLAG_ABSENT,
	CLARI_FLAG_NO,
	CLARI_FLAG_YES
} ClariFlag;

typedef struct ClariReply
{
	bool is_json;                /* the body was one JSON object, or a list of errors */
	char job_id[CLARI_ID_SIZE];  /* or empty */
	char user_id[CLARI_ID_SIZE]; /* whose job it is, or empty */
	char organization[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE]; /* the currency of the job's amounts, or empty */
	ClariJobStatus status;
	char status_text[CLARI_STATUS_SIZE]; /* the status, as it was sent */
	int64_t end_time;                    /* epoch ms, 0 when absent */
	bool rows_truncated;
	bool cells_truncated;
	ClariFlag successful;               /* of a PATCH: whether it says so */
	char download_url[CLARI_LINK_SIZE]; /* or empty */
	/* These are of errors, in whichever of their shapes they came. */
	char code[64];
	char error_id[64];
	char message[256];
	char first_line[128]; /* the first line of the body, whatever that is; empty where there is none */
	/* These are of GET /admin/limits; -1 when absent. */
	int64_t concurrent_limit;
	int64_t available_concurrent;
	int64_t monthly_quota;
	int64_t available_monthly;
} ClariReply;

/* Is the HTTP status one of success? */
static inline bool
clari_is_success(int status)
{
	return status >= 200 && status <= 299;
}

/* One job of GET /export/jobs; each text as it was sent, empty where it is absent. */
typedef struct ClariListedJob
{
	char job_id[CLARI_ID_SIZE]; /* never empty */
	char user_id[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE];
	char file_name[256]; /* empty where it is longer, which no name of a job of ours is */
	ClariJobStatus status;
} ClariListedJob;

#endif /* CLARI_REPLY_H */
