/*
 * report.c
 *		The one place where a plain ClariError becomes an ereport: see report.h.
 *
 * Runs in backends and workers, also in those without a database.  Takes no
 * lock, allocates nothing (the error may be that memory is out), and never
 * raises another error than the one that it was given.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "report.h"

static int
sqlstate(ClariErrorCode code)
{
	switch (code)
	{
		case CLARI_ERROR_OUT_OF_MEMORY:
			return ERRCODE_OUT_OF_MEMORY;
		case CLARI_ERROR_OPTION:
			return ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE;
		case CLARI_ERROR_CONNECTION:
			return ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION;
		case CLARI_ERROR_AUTH:
			return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		case CLARI_ERROR_NOT_FOUND:
			return ERRCODE_FDW_TABLE_NOT_FOUND;
		case CLARI_ERROR_QUOTA:
			return ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
		case CLARI_ERROR_REQUEST:
			return ERRCODE_FDW_ERROR;
		case CLARI_ERROR_TIMEOUT:
		case CLARI_ERROR_JOB:
			return ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION;
		case CLARI_ERROR_REPLY:
			return ERRCODE_FDW_UNABLE_TO_CREATE_REPLY;
		case CLARI_ERROR_DATA:
			/* JSON or CSV, broken or merely not storable: no narrower code of class 22 fits them all */
			return ERRCODE_DATA_EXCEPTION;
		case CLARI_ERROR_LIMIT:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case CLARI_ERROR_CANCELLED:
			return ERRCODE_QUERY_CANCELED;
		case CLARI_ERROR_RESOURCES:
			return ERRCODE_INSUFFICIENT_RESOURCES;
		case CLARI_ERROR_IO:
			return ERRCODE_IO_ERROR;
		case CLARI_ERROR_CORRUPT:
			return ERRCODE_DATA_CORRUPTED;
		case CLARI_ERROR_NONE:
			break;
	}
	return ERRCODE_INTERNAL_ERROR;
}

/*
 * Makes the text, UTF-8 from the service, fit for the server's log and the
 * client, in place: '?' for each character that the database's encoding might
 * not hold (conversion proper can raise), a space for control characters
 * but line ends.
 */
static void
make_printable(char *text)
{
	int encoding = GetDatabaseEncoding();
	bool keep =
		encoding == PG_SQL_ASCII || (encoding == PG_UTF8 && pg_verify_mbstr(PG_UTF8, text, (int) strlen(text), true));
	char *to = text;

	for (const unsigned char *from = (const unsigned char *) text; *from != '\0'; from++)
	{
		if ((*from < 0x20 && *from != '\n') || *from == 0x7F)
			*to++ = ' ';
		else if (*from < 0x80 || keep)
			*to++ = (char) *from;
		else if ((*from & 0xC0) != 0x80)
			*to++ = '?';
	}
	*to = '\0';
}

void
clari_error_report(int elevel, const ClariError *error)
{
	ClariError text = *error;

	make_printable(text.message);
	make_printable(text.detail);
	make_printable(text.hint);
	ereport(elevel, (errcode(sqlstate(text.code)), errmsg_internal("%s", text.message),
					 text.detail[0] != '\0' ? errdetail_internal("%s", text.detail) : 0,
					 text.hint[0] != '\0' ? errhint("%s", text.hint) : 0));
}
