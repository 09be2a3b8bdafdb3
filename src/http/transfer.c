/*
 * transfer.c
 *		A single transfer: what it sends and receives, and how it ended.
 *
 * Runs in the worker only, half of it inside callbacks of libcurl, so it uses
 * malloc and plain error values.  It takes no lock, raises nothing, and logs
 * nothing.  It never shows a header, a body, the query of a URL, or the
 * credentials of a proxy.
 */
#include "http/internal.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clari/digest.h"
#include "clari/reply.h"

#define SINK_BUFFER (32 * 1024L)
#define RETRY_AFTER_MAX (24 * 60 * 60 * INT64_C(1000))
#define SHOWN_URL_SIZE 256

/* The HTTP status of the current hop; 0 if none was received. */
static int
status_of(const ClariTransfer *transfer)
{
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	return (int) status;
}

const char *
clari_transfer_method(const ClariTransfer *transfer)
{
	static const char *const names[] = {
		[CLARI_HTTP_GET] = "GET", [CLARI_HTTP_POST] = "POST", [CLARI_HTTP_PATCH] = "PATCH"};

	return names[transfer->method];
}

int64_t
clari_transfer_deadline(const ClariTransfer *transfer)
{
	if (transfer->transport->request_timeout <= 0)
		return INT64_MAX;
	return transfer->progress_at + transfer->transport->request_timeout;
}

bool
clari_transfer_was_sent(const ClariTransfer *transfer)
{
	long sent = 0;
	long connects = 0;
	curl_off_t handshake = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &sent);
	curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
	curl_easy_getinfo(transfer->easy, CURLINFO_APPCONNECT_TIME_T, &handshake);
	if (sent == 0)
		return false;
	/*
	 * REQUEST_SIZE includes a CONNECT sent to a proxy, but nothing else goes
	 * through the tunnel before the TLS handshake.
	 */
	return connects == 0 || handshake > 0 || !curl_strequal(transfer->here.scheme, "https");
}

/* ------- signals ------- */

static sigset_t outside; /* the signal mask outside of libcurl */

/*
 * A thread that libcurl starts to resolve a name inherits the signal mask.  If
 * a signal were delivered to it, PostgreSQL's handler would run in that
 * thread.
 */
void
clari_libcurl_enter(void)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &outside);
}

void
clari_libcurl_leave(void)
{
	sigprocmask(SIG_SETMASK, &outside, NULL);
}

/*
 * Calls the sink with the signal mask that holds outside of libcurl.  libcurl
 * calls sinks as long as it has bytes, and a shutdown must be noticed
 * meanwhile.
 */
static bool
call_sink(ClariTransfer *transfer, const char *bytes, size_t length)
{
	sigset_t blocked;
	bool taken;

	sigprocmask(SIG_SETMASK, &outside, &blocked);
	taken = transfer->sink(transfer->arg, bytes, length, &transfer->broken);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
	return taken;
}

/* ------- callbacks of libcurl ------- */

/* Makes room for length more bytes of the reply and a NUL. */
static bool
grow_reply(ClariTransfer *transfer, size_t length)
{
	size_t wanted = transfer->reply_length + length + 1;
	size_t size = transfer->reply_size > 0 ? transfer->reply_size : 1024;
	char *bytes;

	if (wanted <= transfer->reply_size)
		return true;
	while (size < wanted)
		size *= 2;
	bytes = realloc(transfer->reply, size);
	if (bytes == NULL)
		return clari_error_out_of_memory(&transfer->broken);
	transfer->reply = bytes;
	transfer->reply_size = size;
	return true;
}

/* Appends bytes to the reply, and drops those beyond max_body. */
static bool
collect(ClariTransfer *transfer, const char *bytes, size_t length)
{
	size_t room = transfer->max_body - transfer->reply_length;

	if (length > room)
	{
		transfer->reply_cut = true;
		length = room;
	}
	if (!grow_reply(transfer, length))
		return false;
	memcpy(transfer->reply + transfer->reply_length, bytes, length);
	transfer->reply_length += length;
	transfer->reply[transfer->reply_length] = '\0';
	return true;
}

/* CURLOPT_WRITEFUNCTION: takes decompressed bytes of the body. */
static size_t
on_body(char *bytes, size_t size, size_t count, void *arg)
{
	ClariTransfer *transfer = arg;
	size_t length = size * count;
	int32_t limit = transfer->transport->max_export_size;

	transfer->progress_at = clari_clock_now();
	transfer->decoded += length;
	if (limit > 0 && transfer->decoded > (uint64_t) limit * 1024)
	{
		clari_error_set(&transfer->broken, CLARI_ERROR_LIMIT,
						"the answer is larger than option \"max_export_size\" allows");
		clari_error_detail(&transfer->broken, "The limit is %d kB of decoded bytes.", (int) limit);
		clari_error_hint(&transfer->broken, "Raise option \"max_export_size\" of the server, or export less at once.");
		return CURL_WRITEFUNC_ERROR;
	}
	if (transfer->sink == NULL || !clari_is_success(status_of(transfer)))
		return collect(transfer, bytes, length) ? length : CURL_WRITEFUNC_ERROR;
	if (call_sink(transfer, bytes, length))
		return length;
	transfer->sink_refused = true;
	return CURL_WRITEFUNC_ERROR;
}

/* CURLOPT_HEADERFUNCTION: a header only shows that the transfer makes progress. */
static size_t
on_header(char *bytes, size_t size, size_t count, void *arg)
{
	ClariTransfer *transfer = arg;

	(void) bytes;
	transfer->progress_at = clari_clock_now();
	return size * count;
}

/* CURLOPT_XFERINFOFUNCTION: bytes that a decoder has not passed on yet are progress too. */
static int
on_progress(void *arg, curl_off_t to_load, curl_off_t loaded, curl_off_t to_send, curl_off_t sent)
{
	ClariTransfer *transfer = arg;

	(void) to_load;
	(void) to_send;
	if (loaded + sent != transfer->moved)
	{
		transfer->moved = loaded + sent;
		transfer->progress_at = clari_clock_now();
	}
	return 0;
}

/* ------- the CA file ------- */

/* Can the CA file be read? libcurl would not tell why it cannot, and would wait for the writer of a pipe. */
static bool
check_ca_file(const char *path, ClariError *error)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	struct stat about;
	int cause = 0;

	if (fd < 0 || fstat(fd, &about) != 0)
		cause = errno;
	else if (S_ISDIR(about.st_mode))
		cause = EISDIR;
	if (fd >= 0)
		close(fd);
	if (cause != 0)
		clari_error_set(error, CLARI_ERROR_CONNECTION, "could not read CA file \"%s\": %s", path, strerror(cause));
	else if (!S_ISREG(about.st_mode))
		clari_error_set(error, CLARI_ERROR_CONNECTION, "CA file \"%s\" is not a regular file", path);
	else
		return true;
	clari_error_hint(error,
					 "Check option \"ca_file\" of the server; the database server's user must be able to read it.");
	return false;
}

/* ------- setting up ------- */

static void
free_headers(ClariTransfer *transfer)
{
	for (struct curl_slist *header = transfer->headers; header != NULL; header = header->next)
		clari_wipe(header->data, strlen(header->data));
	curl_slist_free_all(transfer->headers);
	transfer->headers = NULL;
}

static bool
add_header(ClariTransfer *transfer, const char *header)
{
	struct curl_slist *headers = curl_slist_append(transfer->headers, header);

	if (headers == NULL)
		return false;
	transfer->headers = headers;
	return true;
}

/* Can the value be sent in a header?  A key with a line end, for example, would begin another header. */
static bool
is_header_value(const char *value)
{
	for (; *value != '\0'; value++)
	{
		if ((unsigned char) *value < 0x20 || *value == 0x7F)
			return false;
	}
	return true;
}

/* Sets the headers of the current hop, with the key if it may have it. */
static bool
set_headers(ClariTransfer *transfer, ClariError *error)
{
	char header[CLARI_API_KEY_SIZE + 16];
	bool added = true;

	free_headers(transfer);
	if (transfer->keyed)
	{
		if (!is_header_value(transfer->transport->api_key))
			return clari_error_set(error, CLARI_ERROR_OPTION, "option \"api_key\" contains a control character");
		snprintf(header, sizeof(header), "apikey: %s", transfer->transport->api_key);
		added = add_header(transfer, header);
		clari_wipe(header, sizeof(header));
	}
	/* The format is recognized from the file itself, so CSV is accepted even if JSON was requested. */
	added = added && add_header(transfer, transfer->sink == NULL ? "Accept: application/json" : "Accept: */*");
	/* A header without a value makes libcurl omit the one that it would add by itself: "Expect: 100-continue". */
	added = added && add_header(transfer, "Expect:");
	if (transfer->method != CLARI_HTTP_GET)
		added = added && add_header(transfer, "Content-Type: application/json");
	if (!added || curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers) != CURLE_OK)
		return clari_error_out_of_memory(error);
	return true;
}

/*
 * libcurl sends a request again by itself if it was sent over a reused
 * connection that then turns out to be dead (Curl_retry_request() requires
 * conn->bits.reuse and no byte of an answer), although the service may have
 * received the first one.  For a GET that is welcome, and canceling twice does
 * no harm, but a POST could make two exports.  It therefore uses a new
 * connection.
 */
static bool
set_method(ClariTransfer *transfer)
{
	CURL *easy = transfer->easy;
	const char *body = transfer->request_body != NULL ? transfer->request_body : "";
	CURLcode code = CURLE_OK;

	if (transfer->method == CLARI_HTTP_GET)
		return curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L) == CURLE_OK;
	code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) strlen(body));
	code |= curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body); /* not copied by libcurl; our copy outlives the handle */
	if (transfer->method == CLARI_HTTP_PATCH)
		code |= curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, "PATCH");
	else
		code |= curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	return code == CURLE_OK;
}

/*
 * Sets where to connect to, and which certificates to trust.  The proxy
 * variables of the environment are ignored, because the key must not go
 * through a proxy that nobody has chosen.
 */
static bool
set_connection(ClariTransfer *transfer)
{
	CURL *easy = transfer->easy;
	const ClariTransport *transport = transfer->transport;
	CURLcode code = CURLE_OK;

	code |= curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR,
							 curl_strequal(transfer->base.scheme, "http") ? "http,https" : "https");
	code |= curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	code |= curl_easy_setopt(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_PROXY, transport->proxy);
	code |= curl_easy_setopt(easy, CURLOPT_NOPROXY, "");
	code |= curl_easy_setopt(easy, CURLOPT_HEADEROPT, (long) CURLHEADER_SEPARATE);
	code |= curl_easy_setopt(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	/*
	 * HTTP/1.1 instead of HTTP/2, because libcurl continues to use an HTTP/2
	 * connection that has fallen silent for all requests to that host, retries
	 * included, and libcurl 7.88 has no call to retire it.  An HTTP/1.1
	 * connection is closed with the transfer that has stalled on it.  An
	 * export makes its requests one after the other, so multiplexing would be
	 * no gain.
	 */
	code |= curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
	code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	code |= curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	code |= curl_easy_setopt(easy, CURLOPT_PROXY_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	if (transport->ca_file[0] != '\0')
	{
		code |= curl_easy_setopt(easy, CURLOPT_CAINFO, transport->ca_file);
		code |= curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, transport->ca_file);
	}
	if (transport->connect_timeout > 0)
		code |= curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) transport->connect_timeout);
	code |= curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	code |= curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	return code == CURLE_OK;
}

static bool
set_callbacks(ClariTransfer *transfer, const char *user_agent)
{
	CURL *easy = transfer->easy;
	CURLcode code = CURLE_OK;

	code |= curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
	code |= curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->cause);
	code |= curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	code |= curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
	code |= curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	code |= curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
	code |= curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
	code |= curl_easy_setopt(easy, CURLOPT_XFERINFODATA, transfer);
	code |= curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
	code |= curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, transfer->plain ? "identity" : "");
	code |= curl_easy_setopt(easy, CURLOPT_USERAGENT, user_agent);
	if (transfer->sink != NULL)
		code |= curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, SINK_BUFFER);
	return code == CURLE_OK;
}

/* Makes url the next hop if the transfer may go there. */
static bool
set_target(ClariTransfer *transfer, char *url, const ClariOrigin *from, bool foreign, ClariError *error)
{
	ClariOrigin target;
	ClariHop hop = CLARI_HOP_REFUSED;
	const char *ca_file = transfer->transport->ca_file;
	char shown[SHOWN_URL_SIZE] = "an unusable URL";

	if (clari_origin_parse(url, &target))
	{
		hop = clari_origin_hop(&transfer->base, from, &target, transfer->keyed, foreign);
		clari_origin_text(&target, shown, sizeof(shown));
	}
	if (hop == CLARI_HOP_REFUSED)
	{
		free(url);
		clari_error_set(error, CLARI_ERROR_CONNECTION, "refused to follow Clari to %s", shown);
		clari_origin_text(&transfer->base, shown, sizeof(shown));
		clari_error_detail(error, "The API key is sent only to %s, and only files may be on another host, over https.",
						   shown);
		return false;
	}
	if (ca_file[0] != '\0' && curl_strequal(target.scheme, "https") && !check_ca_file(ca_file, error))
	{
		free(url);
		return false;
	}
	free(transfer->url);
	transfer->url = url;
	transfer->here = target;
	transfer->keyed = hop == CLARI_HOP_KEYED;
	if (curl_easy_setopt(transfer->easy, CURLOPT_URL, url) != CURLE_OK)
		return clari_error_out_of_memory(error);
	return set_headers(transfer, error);
}

/* Sets up the whole handle.  If this fails, clari_transfer_close() copes with what is missing. */
static bool
set_up(ClariTransfer *transfer, const ClariHttpRequest *request, const char *user_agent, ClariError *error)
{
	char *url;

	if (!clari_origin_parse(request->base_url, &transfer->base))
		return clari_error_set(error, CLARI_ERROR_OPTION, "option base_url is not an http or https URL");
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
		return clari_error_out_of_memory(error);
	if (request->body != NULL && (transfer->request_body = strdup(request->body)) == NULL)
		return clari_error_out_of_memory(error);
	url = strdup(request->url);
	if (url == NULL || !set_callbacks(transfer, user_agent) || !set_connection(transfer) || !set_method(transfer))
	{
		free(url);
		return clari_error_out_of_memory(error);
	}
	return set_target(transfer, url, NULL, request->foreign && request->method == CLARI_HTTP_GET, error);
}

ClariTransfer *
clari_transfer_open(const ClariHttpRequest *request, ClariHttpSink sink, void *arg, const char *user_agent,
					ClariError *error)
{
	ClariTransfer *transfer = calloc(1, sizeof(*transfer));

	if (transfer == NULL)
	{
		clari_error_out_of_memory(error);
		return NULL;
	}
	transfer->method = request->method;
	transfer->transport = request->transport;
	transfer->foreign_redirects = request->foreign_redirects && request->method == CLARI_HTTP_GET;
	transfer->max_body = request->max_body > 0 ? request->max_body : CLARI_HTTP_MAX_BODY;
	transfer->plain = request->plain;
	transfer->sink = sink;
	transfer->arg = arg;
	transfer->keyed = true;
	transfer->begun_at = transfer->progress_at = clari_clock_now();
	if (!set_up(transfer, request, user_agent, error))
	{
		clari_transfer_close(transfer);
		return NULL;
	}
	return transfer;
}

void
clari_transfer_close(ClariTransfer *transfer)
{
	curl_easy_cleanup(transfer->easy);
	free_headers(transfer);
	free(transfer->url);
	free(transfer->request_body);
	free(transfer->reply);
	free(transfer);
}

/* ------- redirects ------- */

/*
 * Redirects are followed here and not by libcurl, because libcurl would send
 * our own headers, including the key, to the new host.  The header is parsed
 * here too: in newer versions CURLINFO_REDIRECT_URL lacks the user name and
 * password, for which a redirect is refused.  A POST is repeated only for 307
 * and 308.  The others ask for a GET in its place, which would not be what was
 * requested.
 */
ClariFollow
clari_transfer_follow(ClariTransfer *transfer, ClariError *error)
{
	int status = status_of(transfer);
	struct curl_header *location;
	char *url;
	char shown[SHOWN_URL_SIZE];

	if ((status < 301 || status > 303) && status != 307 && status != 308)
		return CLARI_FOLLOW_NONE;
	if (curl_easy_header(transfer->easy, "Location", 0, CURLH_HEADER, -1, &location) != CURLHE_OK ||
		location->value[0] == '\0')
		return CLARI_FOLLOW_NONE;
	clari_origin_redact(transfer->url, shown, sizeof(shown));
	if (transfer->method != CLARI_HTTP_GET && status < 307)
	{
		clari_error_set(error, CLARI_ERROR_CONNECTION, "refused to follow the redirect of a request other than GET");
		clari_error_detail(error, "%s was answered with status %d.", shown, status);
		return CLARI_FOLLOW_ERROR;
	}
	if (transfer->hops >= CLARI_HTTP_MAX_HOPS)
	{
		clari_error_set(error, CLARI_ERROR_CONNECTION, "more than %d redirects", CLARI_HTTP_MAX_HOPS);
		clari_error_detail(error, "The last one came from %s.", shown);
		return CLARI_FOLLOW_ERROR;
	}
	url = clari_origin_resolve(transfer->url, location->value);
	if (url == NULL)
	{
		clari_error_out_of_memory(error);
		return CLARI_FOLLOW_ERROR;
	}
	if (!set_target(transfer, url, &transfer->here, transfer->foreign_redirects, error))
		return CLARI_FOLLOW_ERROR;
	transfer->hops++;
	transfer->decoded = 0;
	transfer->moved = 0;
	transfer->reply_length = 0;
	transfer->reply_cut = false;
	transfer->cause[0] = '\0';
	transfer->progress_at = clari_clock_now();
	return CLARI_FOLLOW_NEXT;
}

/* ------- errors of transfers ------- */

/* Sets the error for an unusable CA file, whether it is that of option "ca_file" or libcurl's default. */
static void
describe_ca_file(const ClariTransfer *transfer, ClariError *error)
{
	const char *path = transfer->transport->ca_file;

	if (path[0] == '\0')
		curl_easy_getinfo(transfer->easy, CURLINFO_CAINFO, &path);
	if (path == NULL || path[0] == '\0')
		clari_error_set(error, CLARI_ERROR_CONNECTION, "the system has no CA file");
	else if (check_ca_file(path, error))
		clari_error_set(error, CLARI_ERROR_CONNECTION, "CA file \"%s\" contains no usable certificate", path);
	clari_error_hint(error, "Check option \"ca_file\" of the server.");
}

/* Returns the proxy's status for CONNECT, or 0 if it has not answered or was not used. */
static int
tunnel_status(const ClariTransfer *transfer)
{
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_HTTP_CONNECTCODE, &status);
	return (int) status;
}

static bool
is_tunnelled(const ClariTransfer *transfer)
{
	return tunnel_status(transfer) / 100 == 2;
}

/* Sets the error for a host that could not be reached, so that no byte of the request was sent. */
static void
describe_unreached(const ClariTransfer *transfer, const char *whom, ClariError *error)
{
	char proxy[SHOWN_URL_SIZE];
	int status = tunnel_status(transfer);
	long connects = 0;

	if (transfer->transport->proxy[0] == '\0' || is_tunnelled(transfer))
	{
		clari_error_set(error, CLARI_ERROR_CONNECTION, "could not reach %s", whom);
		return;
	}
	clari_origin_proxy_text(transfer->transport->proxy, proxy, sizeof(proxy));
	curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
	if (status != 0)
		clari_error_set(error, CLARI_ERROR_CONNECTION,
						"the proxy at %s refused the connection to %s with HTTP status %d", proxy, whom, status);
	else if (connects == 0)
		clari_error_set(error, CLARI_ERROR_CONNECTION, "could not reach the proxy at %s", proxy);
	else
		clari_error_set(error, CLARI_ERROR_CONNECTION, "could not reach %s through the proxy at %s", whom, proxy);
	if (status == 407)
		clari_error_hint(error, "Option \"proxy\" accepts no credentials. Specify a proxy that does not require any.");
	else
		clari_error_hint(error, "Check option \"proxy\" of the server.");
}

static bool
may_pass(const ClariTransfer *transfer, CURLcode code)
{
	int status = tunnel_status(transfer);

	if (status != 0 && !is_tunnelled(transfer))
		return status >= 500 || status == 408 || status == 429;
	switch (code)
	{
		case CURLE_PEER_FAILED_VERIFICATION:
		case CURLE_SSL_ISSUER_ERROR:
		case CURLE_SSL_CACERT_BADFILE:
		case CURLE_SSL_CERTPROBLEM:
		case CURLE_SSL_CIPHER:
		case CURLE_SSL_INVALIDCERTSTATUS:
		case CURLE_UNSUPPORTED_PROTOCOL:
		case CURLE_URL_MALFORMAT:
		case CURLE_NOT_BUILT_IN:
		case CURLE_BAD_FUNCTION_ARGUMENT:
			return false;
		default:
			return true;
	}
}

/*
 * Returns libcurl's own description of the cause, unless it may quote a
 * secret: a proxy's credentials ("unsupported proxy syntax in …"), a query, or
 * the key.
 */
static const char *
cause_text(ClariTransfer *transfer, CURLcode code)
{
	const char *key = transfer->transport->api_key;
	char *cause = transfer->cause;

	if (cause[0] == '\0' || strpbrk(cause, "@?") != NULL || (key[0] != '\0' && strstr(cause, key) != NULL))
		return curl_easy_strerror(code);
	clari_origin_clean(cause);
	return cause;
}

/* Sets the error for a transfer that libcurl ended with the code. */
static void
describe(ClariTransfer *transfer, CURLcode code, ClariError *error)
{
	char origin[SHOWN_URL_SIZE];
	char url[SHOWN_URL_SIZE];
	char whom[SHOWN_URL_SIZE + 32];

	if (code == CURLE_OUT_OF_MEMORY)
	{
		clari_error_out_of_memory(error);
		return;
	}
	clari_origin_text(&transfer->here, origin, sizeof(origin));
	clari_origin_redact(transfer->url, url, sizeof(url));
	snprintf(whom, sizeof(whom), "%s at %s", transfer->keyed ? "Clari" : "the file's host", origin);
	if (code == CURLE_SSL_CACERT_BADFILE)
		describe_ca_file(transfer, error);
	else if (status_of(transfer) != 0)
		clari_error_set(error, CLARI_ERROR_CONNECTION, "the answer from %s was cut off", whom);
	else if (clari_transfer_was_sent(transfer))
		clari_error_set(error, CLARI_ERROR_CONNECTION, "no answer from %s", whom);
	else
		describe_unreached(transfer, whom, error);
	clari_error_detail(error, "%s %s: %s.", clari_transfer_method(transfer), url, cause_text(transfer, code));
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		clari_error_hint(error,
						 "If a private authority signs the certificates, set option \"ca_file\" of the server to "
						 "its file.");
}

/* ------- results ------- */

/* Returns the Retry-After header in ms from now, or -1 if there is none or it cannot be parsed. */
static int64_t
retry_after(const ClariTransfer *transfer)
{
	struct curl_header *header;
	int64_t wait;
	time_t date;

	if (curl_easy_header(transfer->easy, "Retry-After", 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
		return -1;
	if (isdigit((unsigned char) header->value[0]) && header->value[strspn(header->value, "0123456789")] == '\0')
		wait = strlen(header->value) > 9 ? RETRY_AFTER_MAX : atoll(header->value) * 1000;
	else
	{
		date = curl_getdate(header->value, NULL);
		if (date == (time_t) -1)
			return -1;
		wait = ((int64_t) date - (int64_t) time(NULL)) * 1000;
	}
	return wait < 0 ? 0 : wait > RETRY_AFTER_MAX ? RETRY_AFTER_MAX : wait;
}

/* 421 means that the connection does not serve that host; 408 usually means that the server is about to close it. */
bool
clari_transfer_blames_connection(const ClariTransfer *transfer, CURLcode code)
{
	if (code == CURLE_OK)
		return status_of(transfer) == 421 || status_of(transfer) == 408;
	return transfer->broken.code == CLARI_ERROR_NONE && !transfer->sink_refused;
}

bool
clari_transfer_was_never_sent(const ClariTransfer *transfer)
{
	return transfer->hops == 0 && !clari_transfer_was_sent(transfer);
}

static bool
has_header(const ClariTransfer *transfer, const char *name)
{
	struct curl_header *header;

	return curl_easy_header(transfer->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK;
}

static void
begin_result(ClariTransfer *transfer, ClariHttpResult *result)
{
	memset(result, 0, sizeof(*result));
	result->body = "";
	result->retry_after = -1;
	result->status = status_of(transfer);
	result->elsewhere = !transfer->keyed;
}

static void
fill_answer(ClariTransfer *transfer, ClariHttpResult *result)
{
	if (transfer->reply_cut && clari_is_success(result->status))
	{
		clari_error_set(&result->error, CLARI_ERROR_REPLY, "the answer is longer than %zu kB",
						transfer->max_body / 1024);
		clari_error_detail(&result->error, "It has HTTP status %d.", result->status);
		result->may_pass = true;
		return;
	}
	result->answered = true;
	/* If there is a length or there are chunks, libcurl has checked that the body is complete. */
	result->may_be_cut = !has_header(transfer, "Content-Length") && !has_header(transfer, "Transfer-Encoding");
	result->was_packed = has_header(transfer, "Content-Encoding");
	result->retry_after = retry_after(transfer);
	result->length = transfer->reply_length;
	if (result->length > 0)
		result->body = transfer->reply;
}

void
clari_transfer_result(ClariTransfer *transfer, CURLcode code, ClariHttpResult *result)
{
	begin_result(transfer, result);
	if (transfer->broken.code != CLARI_ERROR_NONE || transfer->sink_refused)
	{
		result->error = transfer->broken;
		result->sink_refused = transfer->sink_refused;
		result->may_pass = transfer->broken.code == CLARI_ERROR_OUT_OF_MEMORY;
	}
	else if (code == CURLE_OK)
		fill_answer(transfer, result);
	else
	{
		describe(transfer, code, &result->error);
		result->never_sent = clari_transfer_was_never_sent(transfer);
		result->may_pass = may_pass(transfer, code);
	}
}

void
clari_transfer_stalled(ClariTransfer *transfer, ClariHttpResult *result)
{
	char shown[SHOWN_URL_SIZE];
	int timeout = transfer->transport->request_timeout;

	begin_result(transfer, result);
	if (clari_transfer_was_sent(transfer))
	{
		clari_origin_text(&transfer->here, shown, sizeof(shown));
		clari_error_set(&result->error, CLARI_ERROR_CONNECTION, "%s at %s sent nothing for %g s",
						transfer->keyed ? "Clari" : "the file's host", shown, timeout / 1000.0);
		clari_origin_redact(transfer->url, shown, sizeof(shown));
		clari_error_detail(&result->error, "%s %s: %llu bytes had been received.", clari_transfer_method(transfer),
						   shown, (unsigned long long) transfer->decoded);
	}
	else
		describe(transfer, CURLE_OPERATION_TIMEDOUT, &result->error);
	clari_error_hint(&result->error,
					 "Option \"request_timeout\" of the server is the maximum time without receiving data.");
	result->never_sent = clari_transfer_was_never_sent(transfer);
	result->may_pass = true;
}

void
clari_transfer_refused(ClariTransfer *transfer, const ClariError *error, ClariHttpResult *result)
{
	begin_result(transfer, result);
	result->error = *error;
	/* A request that is answered with 307 or 308 was not carried out here. */
	result->never_sent = transfer->hops == 0 && (result->status == 307 || result->status == 308);
	result->may_pass = error->code == CLARI_ERROR_OUT_OF_MEMORY;
}
