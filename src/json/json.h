/*
 * json.h
 *		JSON and CSV: the export file, and other bodies that become rows, pushed in as
 *		bytes; Clari's small replies; the bodies we send.  The only room that knows json-c.
 *
 * Pure: malloc only, no clock, no HTTP, no PostgreSQL.  json-c is lenient where
 * money must not be, so the framing refuses what it lets through: NaN and
 * Infinity, duplicate keys, NUL, lone surrogates, invalid UTF-8, integers it
 * would clamp.  One array element is in memory at a time.
 */
#ifndef CLARI_JSON_H
#define CLARI_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "clari/attribute.h"
#include "clari/reply.h"
#include "clari/request.h"

/*
 * Takes one item of a list: values has clari_lists[list].nattributes elements,
 * by attribute position, each NULL or of the kind that the attribute's type
 * asks for: TEXT and DATE a STRING, NUMERIC a NUMBER, BOOL a BOOL, TIMESTAMP a
 * NUMBER that is an integer of at most 18 digits, and so INTEGER, which an array
 * is as well: by how many elements it has.  What came as another type
 * than that is an error for ids and NUMERICs, which the rows are made of; a TEXT
 * is then the value's JSON: compact, nothing escaped that need not be, numbers
 * as they were written; and a BOOL, DATE, TIMESTAMP or INTEGER is UNEXPECTED.  An id may
 * be an integer too.  An attribute that comes under its key and its alias has
 * the same value under both, or one is null.  An entry of a file of lines is of
 * list CLARI_LINES, and values has CLARI_LINE_COUNT elements: keys STRINGs, days
 * as "YYYY-MM-DD", the field never NULL; then NUMBERs and a BOOL.  It may come in
 * several pieces, of which each has some of its values.  False with the error filled stops
 * the document; where its detail is empty, the item's place becomes the detail.
 */
typedef bool (*ClariItemSink)(void *arg, ClariList list, const ClariValue *values, ClariError *error);

typedef struct ClariDocument ClariDocument;

#define CLARI_MAX_ELEMENT_SIZE (1024 * 1024)

/*
 * A document that is about to arrive, from the endpoint: an export file; the
 * limits, whose member "jobs" is the one item of CLARI_LIMITS; or the jobs, a list
 * of CLARI_JOBS, as the document itself or its member "jobs", each flat or under
 * "job".  NULL when memory is out.  Belongs to the caller until
 * clari_document_close().
 */
extern ClariDocument *clari_document_open(ClariEndpoint endpoint, ClariItemSink sink, void *arg);

/*
 * Pushes the next bytes, cut anywhere; calls the sink for each item that they
 * complete.  False with the error filled (CLARI_ERROR_DATA and what is wrong,
 * whose detail names list, item number and byte position; CLARI_ERROR_LIMIT for
 * an element over CLARI_MAX_ELEMENT_SIZE; or the sink's own error).  The error
 * does not depend on the cuts: of a file that is something else than JSON the
 * first bytes are waited for, for the detail to show them and name what they are
 * of.  After a false every further call is false with the same error.
 */
extern bool clari_document_push(ClariDocument *document, const char *bytes, size_t length, ClariError *error);

/*
 * Says that bytes may be missing at the end.  JSON shows its own, but CSV could end
 * behind any line: it will not be complete.  If a line's end is_enough, which a cut
 * would hardly leave as the last byte, it will be with one.
 */
extern void clari_document_may_be_cut(ClariDocument *document, bool is_enough);

/*
 * Says that all bytes were pushed.  False if the document is not complete, or had no
 * list "entries" (or "jobs") where it is an object.  A document is what it begins as: an
 * object, a list of lines (or jobs), or CSV.
 */
extern bool clari_document_finish(ClariDocument *document, ClariError *error);

/* How many items have come of its entries, or of the one list that it has. */
extern uint64_t clari_document_entries(const ClariDocument *document);
extern uint64_t clari_document_bytes(const ClariDocument *document);
extern void clari_document_close(ClariDocument *document);

/*
 * Reads a small reply of whichever kind: the job accepted ({"jobId"},
 * {"job":{"id"}}), a job's state (flat or under "job"), limits, and errors in
 * the shapes that Clari's OpenAPI document shows, the first of a list of them.  A
 * body that is neither a JSON object nor a list of errors gives is_json = false.
 * A byte order mark before it is passed over, as before a list of jobs and an
 * export file.  first_line has tags and control characters removed.  Never
 * fails.  The secret, which the sender may repeat in escapes, becomes asterisks.
 * Texts are valid UTF-8 on one line, cut at a character where they do
 * not fit; an id or a link that does not fit, or holds a NUL, is left empty: cut
 * it would be another one.
 */
extern void clari_json_read_reply(const char *body, size_t length, const char *secret, ClariReply *reply);

/* Takes one job of a list; false: no more of them. */
typedef bool (*ClariListedJobSink)(void *arg, const ClariListedJob *job);

/*
 * Reads the answer to GET /export/jobs: an array of job objects, flat or each
 * under "job", or an object with such an array as "jobs" and nothing else (a
 * further member may say that there are more pages).  False, and the sink is
 * not called, for anything else, also where one element alone is no object, has
 * no usable id, or has a user or currency that cannot be kept as it is: a list
 * that is not understood completely proves nothing.  True when the sink has been
 * given all jobs, in the list's order, or stopped.
 */
extern bool clari_json_read_jobs(const char *body, size_t length, ClariListedJobSink sink, void *arg);

/*
 * The body of POST /export/forecast/{id}.  malloc'd, NUL-terminated, the
 * caller's; NULL when memory is out.
 */
extern char *clari_json_export_body(const ClariRequest *request, ClariSchedule schedule);

#endif /* CLARI_JSON_H */
