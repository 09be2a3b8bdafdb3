/*
 * job.h
 *		One export at Clari as a pure state machine: list, POST, poll,
 *		download; or, for a request that creates no job, only a download.
 *
 * (state, event, now) → (state, action).  It uses no clock, HTTP or JSON: the
 * worker performs the actions, and reports what came of them as events.
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
	CLARI_JOB_BLOCKED,   /* a limit refused the POST: ask for the limits (again) at next_at */
	CLARI_JOB_ASKING,    /* asked for the limits, at the latest until next_at */
	CLARI_JOB_LISTING,   /* reading the list before the POST, at the latest until next_at */
	CLARI_JOB_POSTING,   /* the POST was sent */
	CLARI_JOB_UNSURE,    /* the POST may have made a job: read the list at next_at */
	CLARI_JOB_LOOKING,   /* reading the list after the POST */
	CLARI_JOB_REPLACING, /* the PATCH that cancels replaced_id was sent; waits until next_at at the latest */
	CLARI_JOB_WAITING,   /* accepted: the next poll is at next_at */
	CLARI_JOB_POLLING,   /* a poll was sent */
	CLARI_JOB_READY,     /* done at Clari: the download starts (again) at next_at */
	CLARI_JOB_DOWNLOADING,
	CLARI_JOB_CANCELING, /* the PATCH that cancels the job was sent; waits until next_at at the latest */
	CLARI_JOB_DONE,      /* downloaded and decoded */
	CLARI_JOB_FAILED     /* error says why */
} ClariJobState;

typedef enum ClariJobAction
{
	CLARI_ACTION_NONE, /* wait until next_at, or for the call in progress */
	CLARI_ACTION_LIST, /* GET /export/jobs: in LISTING note the jobs, in LOOKING find a verdict (adopt.h) */
	CLARI_ACTION_POST,
	CLARI_ACTION_LIMITS, /* GET /admin/limits */
	CLARI_ACTION_POLL,
	CLARI_ACTION_DOWNLOAD,
	CLARI_ACTION_CANCEL,  /* PATCH /export/jobs/{job_id} */
	CLARI_ACTION_REPLACE, /* PATCH /export/jobs/{replaced_id} */
	CLARI_ACTION_PUBLISH, /* the download is complete: publish the rowset */
	CLARI_ACTION_FAIL
} ClariJobAction;

/* The limit that a refusal of Clari's is about. */
typedef enum ClariLimit
{
	CLARI_LIMIT_NONE,       /* nothing */
	CLARI_LIMIT_VAGUE,      /* some limit */
	CLARI_LIMIT_CONCURRENT, /* concurrent exports: there will be room soon */
	CLARI_LIMIT_QUOTA,      /* exports of the last 30 days: there will not be room soon */
	CLARI_LIMIT_EITHER      /* one of the two: so says the code in Clari's OpenAPI document */
} ClariLimit;

typedef enum ClariJobEventKind
{
	CLARI_EVENT_TICK,    /* time has passed (also the first event) */
	CLARI_EVENT_REPLY,   /* the call was answered, as status and reply say; for a list, only if not 2xx */
	CLARI_EVENT_BROKEN,  /* the call was not answered, or by an unreadable list: error says why */
	CLARI_EVENT_LISTED,  /* the list was read: verdict, with job_id for CLARI_VERDICT_OURS */
	CLARI_EVENT_DECODED, /* the download is complete, and the file good */
	CLARI_EVENT_REFUSED, /* the download has ended, and the file is bad or incomplete: error */
	CLARI_EVENT_CANCEL   /* the export is to be canceled: error says who does so */
} ClariJobEventKind;

typedef struct ClariJobEvent
{
	ClariJobEventKind kind;
	int status;              /* REPLY: the HTTP status; BROKEN: that of an incomplete answer, or 0 */
	bool elsewhere;          /* REPLY or BROKEN: it was the host of a file, not Clari's own */
	const ClariReply *reply; /* REPLY; valid during the call */
	int64_t retry_after;     /* ms from now; -1: there is no such header */
	bool never_sent;         /* BROKEN, or a TICK during the call: the request has certainly not reached the service */
	bool may_pass;           /* BROKEN: trying again may help (TLS failures remain) */
	const ClariError *error; /* BROKEN, REFUSED, CANCEL */
	ClariVerdict verdict;    /* LISTED; ignored for the list before the POST */
	const char *job_id;      /* LISTED, CLARI_VERDICT_OURS */
} ClariJobEvent;

/* Whose POST made the job, if its id is known. */
typedef enum ClariJobOrigin
{
	CLARI_ORIGIN_OWN,     /* of this flight: an answer contained its id */
	CLARI_ORIGIN_RESUMED, /* of an earlier flight: its record contained the id */
	CLARI_ORIGIN_ADOPTED  /* found in Clari's list; may be older than the last POST */
} ClariJobOrigin;

/* May a POST have made a job whose id is not known? */
typedef enum ClariDoubt
{
	CLARI_DOUBT_NONE,
	CLARI_DOUBT_OPEN, /* a POST may have made one */
	CLARI_DOUBT_SPENT /* a POST was answered with 2xx, so it has made one: look for it, do not repeat the POST */
} ClariDoubt;

/* The list before the POST.  Without it, a list after the POST proves nothing. */
typedef enum ClariListBefore
{
	CLARI_LIST_BEFORE_UNASKED,
	CLARI_LIST_BEFORE_ASKED,
	CLARI_LIST_BEFORE_KNOWN /* it was read, now or by an earlier flight */
} ClariListBefore;

typedef struct ClariJob
{
	ClariJobState state;

	/* the request */
	char subject[CLARI_SUBJECT_SIZE]; /* for messages, such as "the export of period 2026_Q1" */
	ClariEndpoint endpoint;
	char forecast[CLARI_NAME_SIZE];
	uint32_t types; /* bits of ClariExportType */
	bool allow_truncated;
	int32_t max_retries;
	int32_t export_timeout;          /* ms */
	int32_t poll_interval;           /* ms */
	int32_t max_poll_interval;       /* ms */
	char replaced_id[CLARI_ID_SIZE]; /* set after begin, or empty: a job to cancel once there is a newer one */
	int32_t replace_tries;
	bool adoptable;   /* set by the caller after begin: can a job of this request be recognized in a list? */
	bool without_crm; /* do not request crm_total and crm_closed: set after begin, or when Clari refuses them */

	/* the POST */
	bool posted;        /* this flight has sent one */
	int64_t started_at; /* in ms of the caller's clock, like all times that end in _at */
	int64_t post_at;    /* Clari wants no other POST before this time; 0: it did not say */
	ClariListBefore list_before;
	ClariDoubt doubt;
	int32_t looks;    /* how often the list was read after the last POST */
	ClariLimit limit; /* the limit that the last refusal was about */
	bool blocked;     /* since that refusal, Clari has said that there is no room */
	int32_t refusals; /* how often there was no room for the POST */

	/* the job at Clari */
	char job_id[CLARI_ID_SIZE]; /* empty: there is none, or it is not known */
	ClariJobOrigin origin;
	int64_t accepted_at;                 /* when Clari accepted it; 0 before that */
	char status_text[CLARI_STATUS_SIZE]; /* its last state as sent by Clari, or empty */
	bool done;                           /* Clari has said that the job is done */
	bool truncated;
	int64_t end_time; /* its endTime in epoch ms, or 0 if unknown */
	int32_t polls;
	int32_t losses; /* how often Clari has not known it, or its file, since it last did */
	bool renewed;   /* it replaces a job that was of no use, which happens only once in a flight */
	bool useless;   /* the next request cannot take it up from a record */
	/* the user that Clari takes us for, and the currency of the amounts, from job objects; empty: not known yet */
	char user_id[CLARI_ID_SIZE];
	char organization[CLARI_ID_SIZE];
	char currency[CLARI_CURRENCY_SIZE];

	/* the file */
	char download_url[CLARI_LINK_SIZE]; /* empty: use the job's own results */
	bool linkless;                      /* the link to the file has failed: use the job's own results from now on */
	int32_t link_losses;                /* how often a link to the file was refused */
	bool io_failed; /* a download failed because of the disk: the caller must do without it from now on */

	/* the current step */
	int64_t next_at; /* when a TICK is wanted; INT64_MAX: never */
	int32_t retries;
	int32_t total_retries; /* of all steps */
	uint32_t jitter;       /* state of the generator for the back-off's jitter */
	ClariError error;      /* FAILED: the reason; before: why the last call must be repeated, if so */
	ClariError canceled;   /* the error to fail with when the POST has been answered; of code NONE: not canceled */
} ClariJob;

/* Does the request create no job?  Then it is a single GET, which begins in READY. */
static inline bool
clari_job_is_read(const ClariJob *job)
{
	return job->endpoint != CLARI_ENDPOINT_EXPORT;
}

/*
 * Prepares a job for the request.  now is in ms of the caller's clock, as
 * everywhere here.  Before the first event the caller may set the members that
 * are "set after begin", and call one of the two functions below.  It must do
 * neither if the request creates no job (clari_job_is_read()).
 */
extern void clari_job_begin(ClariJob *job, const ClariRequest *request, const ClariTransport *transport,
							uint32_t jitter, int64_t now);

/*
 * Takes up a job that an earlier flight has POSTed, and that Clari accepted as
 * job_id.  It is polled, and export_timeout is counted from now.  If it turns
 * out to be of no use (Clari does not know it, or it ended badly), a new job
 * is started.
 */
extern void clari_job_resume(ClariJob *job, const char *job_id, int64_t now);

/*
 * Says that an earlier flight may have sent a POST whose outcome is unknown.
 * If adoptable is set, the list is searched for its job before this flight's
 * first POST.
 */
extern void clari_job_begin_unsure(ClariJob *job, int64_t now);

/*
 * Takes an event and returns what to do next.  A download that is answered
 * with 2xx is reported as DECODED or REFUSED, not as REPLY.
 *
 * If an action other than NONE is returned, the caller must first abandon the
 * call in progress, since an event can precede its answer.  A TICK at next_at
 * returns FAIL at the end of export_timeout, also while a POST, a poll or a
 * list is in progress; and it makes the POST go ahead if the list before it
 * takes too long.  CANCEL ends everything but a POST, whose answer contains
 * the id of the job that must be canceled.  Only a download has no deadline.
 * After FAIL or PUBLISH no call is in progress.
 *
 * If a download fails with CLARI_ERROR_IO, io_failed is set, and the download
 * is repeated once; the caller must then do without the disk.  After FAIL,
 * useless says that the next request cannot take up the job from a record.
 *
 * An answer leads to at most one more POST, and an answer of 2xx to none.  If
 * Clari does not know the job any more (400, 403, 404, 410), or does not have
 * its file, it is asked several times more; then a new job is started, once.
 */
extern ClariJobAction clari_job_step(ClariJob *job, const ClariJobEvent *event, int64_t now);

/* The state's name for views and messages, such as "posting" or "waiting". */
extern const char *clari_job_state_name(ClariJobState state);

#endif /* CLARI_JOB_H */
