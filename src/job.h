/*
 * job.h
 *		One export at Clari as a pure state machine: POST, poll, download.
 *
 * (state, event, now) → (state, action).  No clock, no HTTP, no JSON: the
 * worker carries the actions out and tells what came of them.
 */
#ifndef CLARI_JOB_H
#define CLARI_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "reply.h"
#include "request.h"

typedef enum ClariJobState
{
	CLARI_JOB_NEW,     /* nothing sent yet, or the POST is to be sent again at next_at */
	CLARI_JOB_POSTING, /* the POST is under way */
	CLARI_JOB_WAITING, /* accepted: the next poll is at next_at */
	CLARI_JOB_POLLING, /* a poll is under way */
	CLARI_JOB_READY,   /* done at Clari: the download starts (again) at next_at */
	CLARI_JOB_DOWNLOADING,
	CLARI_JOB_DONE,  /* downloaded and decoded */
	CLARI_JOB_FAILED /* error says why */
} ClariJobState;

typedef enum ClariJobAction
{
	CLARI_ACTION_NONE, /* wait: until next_at, or for what is under way */
	CLARI_ACTION_POST,
	CLARI_ACTION_POLL,
	CLARI_ACTION_DOWNLOAD,
	CLARI_ACTION_PUBLISH, /* the job is done */
	CLARI_ACTION_FAIL
} ClariJobAction;

typedef enum ClariJobEventKind
{
	CLARI_EVENT_TICK,    /* time has passed (also the first event) */
	CLARI_EVENT_REPLY,   /* the call under way was answered: status and reply */
	CLARI_EVENT_BROKEN,  /* it was not: error says why */
	CLARI_EVENT_DECODED, /* the download is complete, and the file good */
	CLARI_EVENT_REFUSED  /* the download is complete or broken off, and the file bad: error */
} ClariJobEventKind;

typedef struct ClariJobEvent
{
	ClariJobEventKind kind;
	int status;              /* HTTP, for a reply */
	const ClariReply *reply; /* what it said; valid during the call */
	int64_t retry_after;     /* ms from now, -1 without the header */
	bool never_sent;         /* broken: the request certainly did not reach the service */
	bool may_pass;           /* broken: trying again can help (TLS failures cannot) */
	const ClariError *error; /* broken, refused */
} ClariJobEvent;

typedef struct ClariJob
{
	ClariJobState state;
	char period[CLARI_PERIOD_TEXT_SIZE]; /* for messages; empty: the current quarter */
	char forecast[CLARI_NAME_SIZE];
	char job_id[64];
	char status_text[32];    /* Clari's last word on the job's state, or empty */
	char download_url[1024]; /* empty: the job's own results */
	bool allow_truncated;
	bool truncated;
	int32_t max_retries;
	int32_t export_timeout; /* these three in ms */
	int32_t poll_interval;
	int32_t max_poll_interval;
	int64_t started_at;  /* these four in ms of the caller's clock */
	int64_t accepted_at; /* 0 before that */
	int64_t next_at;     /* when a TICK is wanted, INT64_MAX: none */
	int64_t end_time;    /* the job's endTime, epoch ms, 0 if it did not say */
	int32_t polls;
	int32_t retries; /* of the step under way */
	int32_t total_retries;
	int32_t refusals;  /* POSTs refused because too many exports were running */
	int32_t bad_files; /* downloads that were no good document */
	uint32_t jitter;   /* seed of the back-off's jitter, advanced by use */
	ClariError error;  /* FAILED: why; before that, why the last call is to be repeated, if it is */
} ClariJob;

/* A job for the request, not begun.  now in ms of the caller's clock, as everywhere here. */
extern void clari_job_begin(ClariJob *job, const ClariRequest *request, const ClariTransport *transport,
							uint32_t jitter, int64_t now);

/*
 * Takes what happened, returns what to do now.  A download that is answered
 * 2xx tells DECODED or REFUSED, not REPLY.  A TICK at next_at can FAIL a job
 * (export_timeout) while a POST or a poll is under way: the caller abandons
 * that call.  Nothing is under way after FAIL or PUBLISH.
 */
extern ClariJobAction clari_job_step(ClariJob *job, const ClariJobEvent *event, int64_t now);

/* "posting", "waiting" …, for views and messages. */
extern const char *clari_job_state_name(ClariJobState state);

#endif /* CLARI_JOB_H */
