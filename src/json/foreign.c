/*
 * foreign.c
 *		Recognizes, by its first bytes, a file that is not one of Clari's:
 *		see internal.h.
 *
 * Runs in the worker, in unit tests and in fuzzers.  Raises nothing, takes no
 * lock, allocates nothing.
 */
#include "json/internal.h"

#include <stdio.h>

#define SHOWN 60 /* bytes of the file that a message shows */

/* Says what kind of file begins with these bytes, or returns NULL if it may be UTF-8 text or is unknown. */
static const char *
name_of_bytes(const unsigned char *head, size_t length)
{
	static const struct
	{
		const char *bytes;
		size_t length;
		const char *name;
	} known[] = {
		{"\x1F\x8B", 2, "gzip does: it is compressed once more than its headers say"},
		{"PK\x03\x04", 4, "a zip archive does"},
		{"\xFF\xFE\0\0", 4, "UTF-32 does"},
		{"\0\0\xFE\xFF", 4, "UTF-32 does"},
		{"\xFF\xFE", 2, "UTF-16 does"},
		{"\xFE\xFF", 2, "UTF-16 does"},
	};
	size_t nuls = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (length >= known[i].length && memcmp(head, known[i].bytes, known[i].length) == 0)
			return known[i].name;
	if (length < 4)
		return NULL;
	/* It may be ASCII in UTF-16 or UTF-32, without a byte order mark. */
	for (size_t i = 0; i < 4; i++)
		nuls += head[i] == '\0';
	if (nuls == 3 && (head[0] != '\0' || head[3] != '\0'))
		return "UTF-32 does";
	return nuls == 2 && (head[0] == '\0') == (head[2] == '\0') ? "UTF-16 does" : NULL;
}

/* Has the text two commas, like a line of CSV? */
static bool
is_line_of_csv(const char *text)
{
	const char *comma = strchr(text, ',');

	return comma != NULL && strchr(comma + 1, ',') != NULL;
}

/* Says what a UTF-8 file is that begins with this text; NULL if unknown. */
static const char *
name_of_text(const char *text)
{
	if (*text == '<')
		return "a web page does";
	if (*text == '[')
		return "a list does";
	return is_line_of_csv(text) ? "CSV does" : NULL;
}

/* Copies the part of the first line that a message shows.  Returns false if the head does not begin with ASCII text. */
static bool
read_text(const unsigned char *head, size_t length, char text[SHOWN + sizeof("…")])
{
	size_t at = length >= 3 && memcmp(head, "\xEF\xBB\xBF", 3) == 0 ? 3 : 0;
	size_t used = 0;

	while (at < length && strchr(" \t\r\n", head[at]) != NULL && head[at] != '\0')
		at++;
	if (at == length || head[at] < ' ' || head[at] >= 0x7F)
		return false;
	for (; at < length && used < SHOWN && head[at] != '\r' && head[at] != '\n'; at++)
		text[used++] = head[at] < ' ' || head[at] >= 0x7F ? '?' : (char) head[at];
	strcpy(text + used, at < length ? "…" : "");
	return true;
}

/* Is the text the header of another CSV file than Clari's, or one with other separators? */
static bool
is_other_csv(const char *text)
{
	int divided = 0;

	for (; *text != '\0'; text++)
		divided += *text == ',' || *text == ';';
	return divided >= 3;
}

bool
clari_foreign_describe(const unsigned char *head, size_t length, ClariError *error)
{
	const char *name = name_of_bytes(head, length);
	char bytes[4 * sizeof(" 00")] = "";
	char text[SHOWN + sizeof("…")] = "";

	clari_error_set(error, CLARI_ERROR_DATA, CLARI_NOT_VALID_JSON);
	if (name == NULL && read_text(head, length, text))
	{
		name = name_of_text(text);
		if (*text == '[')
			clari_error_set(error, CLARI_ERROR_DATA, "the export file is not a JSON object");
		clari_error_detail(error, "It begins with \"%s\", %s%s.", text, name == NULL ? "" : "as ",
						   name != NULL         ? name
						   : is_other_csv(text) ? "which is neither a brace nor what a CSV export of Clari begins with"
												: "not with a brace");
		return false;
	}
	for (size_t i = 0; i < 4 && i < length; i++)
		snprintf(bytes + 3 * i, sizeof(" 00"), " %02X", head[i]);
	clari_error_detail(error, "It begins with the bytes%s, %s%s.", bytes, name == NULL ? "" : "as ",
					   name == NULL ? "not with a brace" : name);
	return false;
}

bool
clari_foreign_is_csv(const unsigned char *head, size_t length)
{
	char text[SHOWN + sizeof("…")] = "";

	return name_of_bytes(head, length) == NULL && read_text(head, length, text) && *text != '<' && *text != '[' &&
		   *text != '{' && is_line_of_csv(text);
}
