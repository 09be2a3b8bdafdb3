/*
 * http_error.c
 *		What is said of a transfer that failed: see http_error.h.
 *
 * Runs in the worker alone, outside of libcurl's frames.  It takes no lock,
 * raises nothing, and shows neither a header nor a body nor the query of a URL
 * nor a proxy's credentials to anybody.
 */
#include "http/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------- the file of authorities ------- */

/*
 * libcurl says of such a file only that it could not use it, and a pipe it would
 * wait for.
 */
bool
clari_http_check_ca_file(const char *path, ClariError *error)
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

/* That file, or what libcurl takes in its place, is of no use. */
static void
describe_ca_file(const ClariTransfer *transfer, ClariError *error)
{
	const char *path = transfer->transport->ca_file;

	if (path[0] == '\0')
		curl_easy_getinfo(transfer->easy, CURLINFO_CAINFO, &path);
	if (path == NULL || path[0] == '\0')
		clari_error_set(error, CLARI_ERROR_CONNECTION, "the system has no CA file");
	else if (clari_http_check_ca_file(path, error))
		clari_error_set(error, CLARI_ERROR_CONNECTION, "CA file \"%s\" holds no certificate that can be used", path);
	clari_error_hint(error, "Check option \"ca_file\" of the server.");
}

/* ------- who could not be reached ------- */

/* What the proxy answered to CONNECT; 0: nothing, or it was not asked. */
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

/* Not a byte of the request has gone out. */
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
		clari_error_set(error, CLARI_ERROR_CONNECTION, "the proxy at %s refused the way to %s with HTTP status %d",
						proxy, whom, status);
	else if (connects == 0)
		clari_error_set(error, CLARI_ERROR_CONNECTION, "could not reach the proxy at %s", proxy);
	else
		clari_error_set(error, CLARI_ERROR_CONNECTION, "could not reach %s through the proxy at %s", whom, proxy);
	if (status == 407)
		clari_error_hint(error, "Option \"proxy\" takes no credentials: name a proxy that lets this server through "
								"without.");
	else
		clari_error_hint(error, "Check option \"proxy\" of the server.");
}

/* ------- libcurl's end of a transfer ------- */

bool
clari_http_may_pass(const ClariTransfer *transfer, CURLcode code)
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
 * libcurl's own words about the cause, unless they quote something secret: a
 * proxy's credentials ("unsupported proxy syntax in …"), a query, the key.
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

void
clari_http_describe(ClariTransfer *transfer, CURLcode code, ClariError *error)
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
	else if (clari_transfer_status(transfer) != 0)
		clari_error_set(error, CLARI_ERROR_CONNECTION, "the answer from %s broke off", whom);
	else if (clari_transfer_was_sent(transfer))
		clari_error_set(error, CLARI_ERROR_CONNECTION, "no answer from %s", whom);
	else
		describe_unreached(transfer, whom, error);
	clari_error_detail(error, "%s %s: %s.", clari_transfer_method(transfer), url, cause_text(transfer, code));
	if (code == CURLE_PEER_FAILED_VERIFICATION)
		clari_error_hint(error, "Where a private authority signs certificates, the server's option ca_file names it.");
}
