/*
 * report.c
 *		Reports plain errors, and converts texts from the service: see
 *		report.h.
 *
 * Runs in backends and in workers, which have no database.  Takes no lock,
 * needs no memory to report that there is none, and raises no other error than
 * the given one.
 */
#include "postgres.h"

#include "base/report.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"

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
		case CLARI_ERROR_CALENDAR:
			/*
			 * The file is damaged, or contains a value that PostgreSQL cannot
			 * store.  Class 22 has no narrower code for both.
			 */
			return ERRCODE_DATA_EXCEPTION;
		case CLARI_ERROR_LIMIT:
			return ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		case CLARI_ERROR_CANCELED:
		case CLARI_ERROR_UNCANCELED:
			return ERRCODE_FDW_UNABLE_TO_CREATE_EXECUTION;
		case CLARI_ERROR_RESOURCES:
			return ERRCODE_INSUFFICIENT_RESOURCES;
		case CLARI_ERROR_IO:
			return ERRCODE_IO_ERROR;
		case CLARI_ERROR_GONE:
			return ERRCODE_UNDEFINED_FILE;
		case CLARI_ERROR_CORRUPT:
			return ERRCODE_DATA_CORRUPTED;
		case CLARI_ERROR_NONE:
			break;
	}
	return ERRCODE_INTERNAL_ERROR;
}

/*
 * Returns the default conversion from UTF-8 to the database's encoding, or
 * InvalidOid outside of a transaction, where it cannot be looked up.
 */
static Oid
find_conversion(void)
{
	int encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || !IsTransactionState())
		return InvalidOid;
	return FindDefaultConversionProc(PG_UTF8, encoding);
}

/*
 * Converts a character of length bytes to the database's encoding, or to '?'
 * if it does not exist there or would be longer.  Writes it to "to", which may
 * be the same as from or lie before it, and returns the end of what was
 * written.
 */
static char *
put_character(char *to, Oid conversion, const char *from, int length)
{
	unsigned char converted[MAX_MULTIBYTE_CHAR_LEN * MAX_CONVERSION_GROWTH + 1];
	int size;

	if (OidIsValid(conversion) && length <= MAX_MULTIBYTE_CHAR_LEN && pg_verify_mbstr(PG_UTF8, from, length, true) &&
		pg_do_encoding_conversion_buf(conversion, PG_UTF8, GetDatabaseEncoding(), (unsigned char *) from, length,
									  converted, sizeof(converted), true) == length &&
		(size = (int) strlen((char *) converted)) <= length)
	{
		memcpy(to, converted, size);
		return to + size;
	}
	*to++ = '?';
	return to;
}

/*
 * Converts a UTF-8 text from the service in place, for the server's log and
 * the client.  Characters that the database's encoding lacks become '?'
 * (pg_any_to_server() would raise an error instead), and control characters
 * other than line feeds become spaces.
 */
static void
make_printable(char *text, Oid conversion)
{
	int encoding = GetDatabaseEncoding();
	bool keep =
		encoding == PG_SQL_ASCII || (encoding == PG_UTF8 && pg_verify_mbstr(PG_UTF8, text, (int) strlen(text), true));
	char *to = text;

	for (const char *from = text; *from != '\0';)
	{
		unsigned char first = (unsigned char) *from;
		int length = 1;

		if ((first < 0x20 && first != '\n') || first == 0x7F)
			*to++ = ' ';
		else if (first < 0x80 || keep)
			*to++ = (char) first;
		else
		{
			while (((unsigned char) from[length] & 0xC0) == 0x80)
				length++;
			to = put_character(to, conversion, from, length);
		}
		from += length;
	}
	*to = '\0';
}

char *
clari_report_text(const char *utf8)
{
	char *text = pstrdup(utf8);

	make_printable(text, find_conversion());
	return text;
}

void
clari_error_report(int elevel, const ClariError *error)
{
	ClariError text = *error;
	/* Looking up the conversion may need memory. */
	Oid conversion = error->code == CLARI_ERROR_OUT_OF_MEMORY ? InvalidOid : find_conversion();

	make_printable(text.message, conversion);
	make_printable(text.detail, conversion);
	make_printable(text.hint, conversion);
	ereport(elevel, (errcode(sqlstate(text.code)), errmsg_internal("%s", text.message),
					 text.detail[0] != '\0' ? errdetail_internal("%s", text.detail) : 0,
					 text.hint[0] != '\0' ? errhint("%s", text.hint) : 0));
}
