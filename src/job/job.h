/*
 * job.h
 *		One export at Clari as a pure state machine: list, POST, poll, download; or
 *		what takes no job: a download alone.
 *
 * (state, event, now) → (state, action).  No clock, no HTTP, no JSON: the
 * worker carries the actions out and tells what came of them.
 */
#ifndef CLARI_JOB_H
#define CLARI_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/reply.h"
#include "clari/request.h"
#include "job/adopt.h"

typedef enum ClariJobState
{
	CLARI_JOB_NEW,       /* nothing sent yet, or the POST is to be sent (again) at next_at */
	CLARI_JOB_BLOCKED,   /* a limit refused the POST: the limits are asked for (again) at next_at */
	CLARI_JOB_ASKING,    /* the limits are being asked for, and waited for until next_at */
	CLARI_JOB_LISTING,   /* the list before the POST is under way, and waited for until next_at */
	CLARI_JOB_POSTING,   /* the POST is under way */
	CLARI_JOB_UNSURE,    /* the POST may have made a job: the list is asked for at next_at */
	CLARI_JOB_LOOKING,   /* the list after the POST is under way */
	CLARI_JOB_REPLACING, /* the PATCH that cancels replaced_id is under way, and waited for until next_at */
	CLARI_JOB_WAITING,   /* accepted: the next poll is at next_at */
	CLARI_JOB_POLLING,   /* a poll is under way */
	CLARI_JOB_READY,     /* done at Clari: the download starts (again) at next_at */
	CLARI_JOB_DOWNLOADING,
	CLARI_JOB_CANCELING, /* the PATCH that cancels it is under way, and waited for until next_at */
	CLARI_JOB_DONE,      /* downloaded and decoded */
	CLARI_JOB_FAILED     /* error says why */
} ClariJobState;

typedef enum ClariJobAction
{
	CLARI_ACTION_NONE, /* wait: until next_at, or for what is under way */
	CLARI_ACTION_LIST, /* GET /export/jobs: LISTING wants what is known, LOOKING a verdict (adopt.h) */
	CLARI_ACTION_POST,
	CLARI_ACTION_LIMITS, /* GET /admin/limits */
	CLARI_ACTION_POLL,
	CLARI_ACTION_DOWNLOAD,
	CLARI_ACTION_CANCEL,  /* PATCH /export/jobs/{job_id} */
	CLARI_ACTION_REPLACE, /* PATCH /export/jobs/{replaced_id} */
	CLARI_ACTION_PUBLISH, /* the job is done */
	CLARI_ACTION_FAIL
} ClariJobAction;

/* What a refusal says of Clari's limits. */
typedef enum ClariLimit
{
	CLARI_LIMIT_NONE,       /* nothing */
	CLARI_LIMIT_VAGUE,      /* there is one */
	CLARI_LIMIT_CONCURRENT, /* exports at a time, which passes */
	CLARI_LIMIT_QUOTA,      /* exports of the last 30 days, which does not */
	CLARI_LIMIT_EITHER      /* one of the two: so says the refusal that Clari's OpenAPI document has */
} ClariLimit;

typedef enum ClariJobEventKind
{
	CLARI_EVENT_TICK,    /* time has passed (also the first event) */
	CLARI_EVENT_REPLY,   /* the call under way was answered: status and reply; of a list only what is not 2xx */
	CLARI_EVENT_BROKEN,  /* the call under way was not answered, or with a list that cannot be read: error says why */
	CLARI_EVENT_LISTED,  /* the list came and was read: verdict, with job_id for OURS */
	CLARI_EVENT_DECODED, /* the download is complete, and the file good */
	CLARI_EVENT_REFUSED, /* the download is complete or broken off, and the file bad: error */
	CLARI_EVENT_CANCEL   /* somebody cancels the export: error says who */
} ClariJobEventKind;

typedef struct ClariJobEvent
{
	ClariJobEventKind kind;
	int status;              /* reply: the HTTP status; broken: that of what had come of the answer, or 0 */
	bool elsewhere;          /* reply or broken: it was not Clari's own host, but that of a file */
	const ClariReply *reply; /* what it said; valid during the call */
	int64_t retry_after;     /* ms from now, -1 without the header */
	bool never_sent; /* broken, or a tick while it is under way: the request has certainly not reached the service */
	bool may_pass;   /* broken: trying again can help (TLS failures cannot) */
	const ClariError *error; /* broken, refused, cancel */
	ClariVerdict verdict;    /* listed; before the POST it does not matter */
	const char *job_id;      /* listed, OURS */
} ClariJobEvent;

/* Whose POST made the job that has its id. */
typedef enum ClariJobOrigin
{
	CLARI_ORIGIN_OWN,     /* this life's: an answer named it */
	CLARI_ORIGIN_RESUMED, /* an earlier life's: its record named it */
	CLARI_ORIGIN_ADOPTED  /* it was found in Clari's list, and may be older than the last POST */
} ClariJobOrigin;

/* Whether a POST has made a job that has no id here. */
typedef enum ClariDoubt
{
	CLARI_DOUBT_NONE,
	CLARI_DOUBT_OPEN, /* a POST may have made one */
	CLARI_DOUBT_SPENT /* a POST has: it was answered 2xx, so its job is looked for, and it is not repeated */
} ClariDoubt;

/* The list before the POST, without which a list after it proves nothing. */
typedef enum ClariListBefore
{
	CLARI_LIST_BEFORE_UNASKED,
	CLARI_LIST_BEFORE_ASKED,
	CLARI_LIST_BEFORE_KNOWN /* the list came, or an earlier life had it */
} ClariListBefore;

typedef struct ClariJob
{
	ClariJobState state;

	/* what is asked for */
	char subject[CLARI_SUBJECT_SIZE]; /* for messages: "the export of period 2026_Q1" */
	ClariEndpoint endpoint;
	char forecast[CLARI_NAME_SIZE];
	uint32_t types; /* bits of ClariExportType */
	bool allow_truncated;
	int32_t max_retries;
	int32_t export_timeout;          /* ms */
	int32_t poll_interval;           /* ms */
	int32_t max_poll_interval;       /* ms */
	char replaced_id[CLARI_ID_SIZE]; /* set after begin, or empty: to be canceled once there is a newer job */
	int32_t replace_tries;
	bool adoptable;   /* set by the caller after begin: a job of this request can be told in a list */
	bool without_crm; /* crm_total and crm_closed are left out: set after begin, or when Clari refuses them */

	/* the POST */
	bool posted;        /* one was sent in this life */
	int64_t started_at; /* ms of the caller's clock, as the other times that end in _at */
	int64_t post_at;    /* Clari does not want another POST before; 0: it did not say */
	ClariListBefore list_before;
	ClariDoubt doubt;
	int32_t looks;    /* lists after the last POST */
	ClariLimit limit; /* which limit the last refusal spoke of */
	bool blocked;     /* Clari has had no room for it since then */
	int32_t refusals; /* how often Clari had no room for the POST */

	/* the job at Clari */
	char job_id[CLARI_ID_SIZE]; /* empty: there is none, or it is not known */
	ClariJobOrigin origin;
	int64_t accepted_at;                 /* when Clari accepted it; 0 before that */
	char status_text[CLARI_STATUS_SIZE]; /* Clari's last word on its state, or empty */
	bool done;                           /* Clari has said that it is done */
	bool truncated;
	int64_t end_time; /* its endTime, epoch ms, 0 if it did not say */
	int32_t polls;
	int32_t losses; /* how often Clari did not know it, or its file, since it last did */
	bool renewed;   /* a job that was of no use was given up for a new one, which happens once */
	bool useless;   /* a record of it does not serve the next request */
	/* whom Clari takes us for, and in which currency the amounts are, as job objects tell; empty: not known yet */
	char user_id[CLARI_ID_SIZE];
	char organization[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE];

	/* its file */
	char download_url[CLARI_LINK_SIZE]; /* empty: the job's own results */
	bool linkless;                      /* the link to the file has failed: it is the job's own results from now on */
	int32_t link_losses;                /* how often a link to the file was refused */
	bool io_failed; /* a download failed because of the disk: the caller does without it from now on */

	/* the step under way */
	int64_t next_at; /* when a TICK is wanted, INT64_MAX: none */
	int32_t retries;
	int32_t total_retries; /* of all steps */
	uint32_t jitter;       /* seed of the back-off's jitter, advanced by use */
	ClariError error;      /* FAILED: why it has; before that: why the last call is to be repeated, if it is */
	ClariError canceled;   /* what error becomes, once the POST under way is answered; NONE: not canceled */
} ClariJob;

/* Is it one GET, which begins in READY, so that there is no job at Clari? */
static inline bool
clari_job_is_read(const ClariJob *job)
{
	return job->endpoint != CLARI_ENDPOINT_EXPORT;
}

/*
 * A job for the request, not begun.  now in ms of the caller's clock, as
 * everywhere here.  Then, before the first event, the caller may set adoptable,
 * and may call one of the two below; unless the request's endpoint makes no job
 * (clari_job_is_read()), which is downloaded at once.
 */
extern void clari_job_begin(ClariJob *job, const ClariRequest *request, const ClariTransport *transport,
							uint32_t jitter, int64_t now);

/*
 * Takes up the job that an earlier life of the server has POSTed, and that
 * Clari accepted as job_id: it is polled, and export_timeout counts from now.
 * Where it is of no use after all (Clari does not know it, or it ended badly),
 * a new job is begun.
 */
extern void clari_job_resume(ClariJob *job, const char *job_id, int64_t now);

/*
 * An earlier life of the server has sent the POST, and what came of it is not
 * known: the list is looked through at once (if adoptable), before this life's
 * first POST.
 */
extern void clari_job_begin_unsure(ClariJob *job, int64_t now);

/*
 * Takes what happened, returns what to do now.  A download that is answered
 * 2xx tells DECODED or REFUSED, not REPLY.
 *
 * Whatever call is still under way when an action other than NONE is returned,
 * the caller abandons first: an event can overtake a call.  A TICK at next_at
 * FAILs a job at the end of export_timeout, also while a POST, a poll or a list is
 * under way, and lets the POST go ahead of a list that does not come; CANCEL stops
 * everything but a POST, which is waited for because its answer names the job that
 * is to be canceled.  Only a download has no deadline.  Nothing is under way after
 * FAIL or PUBLISH.
 *
 * After CLARI_ERROR_IO of a download io_failed is set, once, and the download comes
 * again: the caller does without the disk then.  After FAIL, useless says that a
 * record of the job does not serve the next request for it.
 *
 * One answer leads to one more POST at most, and none after one that says 2xx.  A
 * job that Clari does not know any more (400, 404, 410, 403), or whose file it does
 * not have, is asked for some times more; then, once, there is a new POST.
 */
extern ClariJobAction clari_job_step(ClariJob *job, const ClariJobEvent *event, int64_t now);

/* "posting", "waiting" …, for views and messages. */
extern const char *clari_job_state_name(ClariJobState state);

#endif /* CLARI_JOB_H */
