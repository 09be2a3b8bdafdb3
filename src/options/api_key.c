/*
 * api_key.c
 *		Finds the API key of a user mapping: see
 *		clari_options_authenticate() in options.h.
 *
 * Runs in sessions, whenever a scan or a function needs the key, which no plan
 * contains.  Reads the catalog through the syscache and, for api_key_file, one
 * file.  No message shows the key.
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_user_mapping.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "options/options.h"

#include "base/report.h"
#include "clari/digest.h"
#include "options/internal.h"

/*
 * Reads the options of the user's mapping or, if there is none, of that of
 * PUBLIC, and sets *userid to InvalidOid.  Returns false if there is neither.
 */
static bool
read_mapping(Oid *userid, Oid serverid, List **options)
{
	HeapTuple tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(*userid), ObjectIdGetDatum(serverid));
	bool isnull;
	Datum datum;

	if (!HeapTupleIsValid(tuple))
	{
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid), ObjectIdGetDatum(serverid));
		if (!HeapTupleIsValid(tuple))
			return false;
		*userid = InvalidOid;
	}
	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple, Anum_pg_user_mapping_umoptions, &isnull);
	if (!isnull)
		*options = untransformRelOptions(datum);
	ReleaseSysCache(tuple);
	return true;
}

/* For ereport(): the hint of each error about the file. */
static int
hint_at_option(void)
{
	return errhint("Check option \"api_key_file\" of the user mapping.");
}

/*
 * Reads the key from the first line of the file, without trailing white space.
 * Only a privileged user can have set or changed option "api_key_file" (see
 * check_privilege() in options.c), so it is not checked again whether the
 * mapping may name this file.
 */
static bool
read_key_file(const char *path, char *key, int elevel)
{
	char buffer[CLARI_API_KEY_SIZE + 2] = ""; /* with room for CRLF, or for one byte too many */
	size_t length = 0;
	ssize_t count = -1;
	struct stat status;
	/* A FIFO must not make the session wait. */
	int fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);

	if (fd < 0)
	{
		ereport(elevel,
				(errcode_for_file_access(), errmsg("could not open API key file \"%s\": %m", path), hint_at_option()));
		return false;
	}
	if (fstat(fd, &status) == 0 && !S_ISREG(status.st_mode))
	{
		CloseTransientFile(fd);
		ereport(elevel, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("API key file \"%s\" is not a regular file", path),
						 hint_at_option()));
		return false;
	}
	while (length < sizeof(buffer) - 1 && (count = read(fd, buffer + length, sizeof(buffer) - 1 - length)) > 0)
		length += count;
	if (count < 0)
		ereport(elevel,
				(errcode_for_file_access(), errmsg("could not read API key file \"%s\": %m", path), hint_at_option()));
	CloseTransientFile(fd);
	if (count < 0)
		return false;

	/* A NUL would end the string, and hide the rest of the line.  It becomes a space, which no API key may contain. */
	for (size_t i = 0; i < length && buffer[i] != '\n'; i++)
		if (buffer[i] == '\0')
			buffer[i] = ' ';
	buffer[strcspn(buffer, "\n")] = '\0';
	length = strlen(buffer);
	while (length > 0 && isspace((unsigned char) buffer[length - 1]))
		buffer[--length] = '\0';
	if (clari_is_api_key(buffer))
		strlcpy(key, buffer, CLARI_API_KEY_SIZE);
	clari_wipe(buffer, sizeof(buffer));
	if (*key == '\0')
		ereport(elevel,
				(errcode(ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE),
				 errmsg("the first line of API key file \"%s\" is not an API key", path),
				 errdetail("An API key has 1 to %d printable ASCII characters, and no spaces.", CLARI_API_KEY_SIZE - 1),
				 hint_at_option()));
	return *key != '\0';
}

__attribute__((noreturn)) static void
refuse_user(const ClariOptions *options, Oid userid, bool mapped)
{
	char *user = OidIsValid(userid) ? GetUserNameFromId(userid, true) : NULL;
	char *server = GetForeignServer(options->serverid)->servername;
	const char *quoted = user != NULL ? quote_identifier(user) : "PUBLIC";

	if (mapped)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("user mapping of \"%s\" for server \"%s\" has no API key", user ? user : "public", server),
				 errhint("ALTER USER MAPPING FOR %s SERVER %s OPTIONS (ADD api_key '...');", quoted,
						 quote_identifier(server))));
	ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
					errmsg("user mapping not found for user \"%s\", server \"%s\"", user ? user : "public", server),
					errhint("CREATE USER MAPPING FOR %s SERVER %s OPTIONS (api_key '...');", quoted,
							quote_identifier(server))));
}

bool
clari_options_authenticate(ClariOptions *options, Oid userid, bool missing_ok)
{
	List *given = NIL;
	bool mapped = read_mapping(&userid, options->serverid, &given);
	const char *key = clari_options_text(given, CLARI_AT_MAPPING, "api_key");
	const char *path = clari_options_text(given, CLARI_AT_MAPPING, "api_key_file");
	char *target = options->transport.api_key;
	ClariError error;

	target[0] = '\0';
	if (key == NULL && path == NULL)
	{
		if (missing_ok)
			return false;
		refuse_user(options, userid, mapped);
	}
	if (key != NULL)
		clari_options_store("api_key", key, target);
	else if (!read_key_file(path, target, missing_ok ? DEBUG1 : ERROR))
		return false;
	if (!clari_request_hmac(target, options->request.api_key_hmac, &error))
		clari_error_report(ERROR, &error);
	return true;
}
