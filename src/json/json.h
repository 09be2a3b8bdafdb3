/*
 * json.h
 *		JSON and CSV: export files and other bodies that become rows, pushed
 *		in as bytes; Clari's small replies; the bodies that we send. The
 *		only room that knows json-c.
 *
 * Pure: malloc only, no clock, no HTTP, no PostgreSQL.  json-c is more lenient
 * than is safe for amounts of money.  The framing therefore refuses what
 * json-c would accept: NaN and Infinity, duplicate keys, NUL, lone surrogates,
 * invalid UTF-8, and integers that json-c would clamp.  Of a list, only one
 * element is in memory at a time.
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
 * Takes one item of a list.  values has clari_lists[list].nattributes elements,
 * by position of the attribute.  Each is NULL or of the kind for the
 * attribute's type: STRING for TEXT and DATE, NUMBER for NUMERIC, BOOL for
 * BOOL, a NUMBER that is an integer of at most 18 digits for TIMESTAMP and
 * INTEGER.  For an INTEGER, an array in the file becomes the number of its
 * elements.  An id may be an integer in the file.
 *
 * A value of another type in the file is an error for ids and NUMERICs, which
 * are essential.  For a TEXT, the value is then its compact JSON, with no
 * unneeded escapes and with numbers as written; for a BOOL, DATE, TIMESTAMP or
 * INTEGER it is UNEXPECTED.  If an attribute occurs under both its key and its
 * alias, the values are equal or one is null.
 *
 * An entry of a file of lines is of list CLARI_LINES, with CLARI_LINE_COUNT
 * elements: its keys are STRINGs, days as "YYYY-MM-DD", and the field is never
 * NULL; the values are NUMBERs and a BOOL.  Such an entry may be passed in
 * several pieces, each with some of the values.
 *
 * Returning false with *error set ends the document.  If the error has no
 * detail, the place of the item becomes its detail.
 */
typedef bool (*ClariItemSink)(void *arg, ClariList list, const ClariValue *values, ClariError *error);

typedef struct ClariDocument ClariDocument;

#define CLARI_MAX_ELEMENT_SIZE (1024 * 1024)

/*
 * Prepares to read a document from the endpoint: an export file; or the
 * limits, whose member "jobs" is the only item of CLARI_LIMITS; or the jobs,
 * which are the list CLARI_JOBS, either as the document itself or as its
 * member "jobs", each directly or in a member "job".  Returns NULL if out of
 * memory.  The caller must call clari_document_close().
 */
extern ClariDocument *clari_document_open(ClariEndpoint endpoint, ClariItemSink sink, void *arg);

/*
 * Pushes the next bytes, in pieces of any size, and calls the sink for each
 * item that they complete.  Returns false with CLARI_ERROR_DATA, whose detail
 * names list, item number and byte position; with CLARI_ERROR_LIMIT for an
 * element over CLARI_MAX_ELEMENT_SIZE; or with the sink's error.  The error
 * does not depend on how the bytes are divided: for a file that is not JSON,
 * it is returned once there are enough bytes to show its beginning.  After a
 * failure every further call returns the same error.
 */
extern bool clari_document_push(ClariDocument *document, const char *bytes, size_t length, ClariError *error);

/*
 * Says that bytes may be missing at the end.  JSON shows its end, but CSV may
 * have been cut after any line, so clari_document_finish() will return an
 * error for it.  With is_enough, CSV counts as complete if it ends with a line
 * end, because bytes lost from the end of compressed data hardly leave one
 * there.
 */
extern void clari_document_may_be_cut(ClariDocument *document, bool is_enough);

/*
 * Says that all bytes were pushed.  Returns false with *error set if the
 * document is incomplete, or is an object without the list that it must have,
 * such as "entries".  The first bytes decide whether a document is an object,
 * a list of lines (or jobs), or CSV.
 */
extern bool clari_document_finish(ClariDocument *document, ClariError *error);

/* The number of items so far of the list that the document must have. */
extern uint64_t clari_document_entries(const ClariDocument *document);
extern uint64_t clari_document_bytes(const ClariDocument *document);
extern void clari_document_close(ClariDocument *document);

/*
 * Parses a small reply: an accepted job ({"jobId"} or {"job":{"id"}}), the
 * state of a job (directly or in "job"), limits, or errors in the forms of
 * Clari's OpenAPI document, of which the first is used.  For a body that is
 * neither a JSON object nor a list of errors, is_json is false.  A byte order
 * mark is skipped, as in all documents.  first_line is without tags and control
 * characters.  Never fails.  The secret, which the sender may repeat even in
 * escapes, is replaced by asterisks.  Texts are valid UTF-8 on one line,
 * truncated at a character if they are too long.  An id or a link that is too
 * long, or contains a NUL, is left empty, because if truncated it would be
 * another one.
 */
extern void clari_json_read_reply(const char *body, size_t length, const char *secret, ClariReply *reply);

/* Takes one job of a list.  Returns false if it wants no more of them. */
typedef bool (*ClariListedJobSink)(void *arg, const ClariListedJob *job);

/*
 * Parses the answer to GET /export/jobs: an array of job objects, directly or
 * each in a member "job"; or an object whose only member "jobs" is such an
 * array (any other member could mean that there are more pages).  For anything
 * else returns false without calling the sink, even if only one element is not
 * an object, has no valid id, or has a user or currency that cannot be stored
 * unchanged, because only a list that is understood completely can prove
 * anything.  Returns true after the sink was given all jobs in the order of
 * the list, or has stopped.
 */
extern bool clari_json_read_jobs(const char *body, size_t length, ClariListedJobSink sink, void *arg);

/*
 * Returns the body of POST /export/forecast/{id}, malloc'd and NUL-terminated,
 * which belongs to the caller; or NULL if out of memory.
 */
extern char *clari_json_export_body(const ClariRequest *request, ClariSchedule schedule);

#endif /* CLARI_JSON_H */
