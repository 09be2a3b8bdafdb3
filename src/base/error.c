/*
 * error.c
 *		A plain error value: see error.h.  Raises nothing, allocates nothing.
 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* If the text fills its buffer, removes a character at its end that was cut. */
static void
cut_at_character(char *text, size_t size)
{
	size_t end = size - 1;

	while (end > 0 && ((unsigned char) text[end - 1] & 0xC0) == 0x80)
		end--;
	if (end > 0 && (unsigned char) text[end - 1] >= 0xC0)
		end--;
	text[end] = '\0';
}

static void CLARI_PRINTF(3, 0) format_field(char *field, size_t size, const char *format, va_list args)
{
	int length = vsnprintf(field, size, format, args);

	if (length >= (int) size)
		cut_at_character(field, size);
}

bool
clari_error_set(ClariError *error, ClariErrorCode code, const char *format, ...)
{
	va_list args;

	if (error == NULL)
		return false;
	memset(error, 0, sizeof(*error));
	error->code = code;
	va_start(args, format);
	format_field(error->message, sizeof(error->message), format, args);
	va_end(args);
	return false;
}

void
clari_error_detail(ClariError *error, const char *format, ...)
{
	va_list args;

	if (error == NULL)
		return;
	va_start(args, format);
	format_field(error->detail, sizeof(error->detail), format, args);
	va_end(args);
}

void
clari_error_hint(ClariError *error, const char *format, ...)
{
	va_list args;

	if (error == NULL)
		return;
	va_start(args, format);
	format_field(error->hint, sizeof(error->hint), format, args);
	va_end(args);
}

void
clari_error_add_detail(ClariError *error, const char *format, ...)
{
	char before[sizeof(error->detail)];
	char sentence[sizeof(error->detail)];
	va_list args;

	memcpy(before, error->detail, sizeof(before));
	va_start(args, format);
	format_field(sentence, sizeof(sentence), format, args);
	va_end(args);
	clari_error_detail(error, "%s%s%s", before, before[0] != '\0' && sentence[0] != '\0' ? " " : "", sentence);
}

bool
clari_error_out_of_memory(ClariError *error)
{
	return clari_error_set(error, CLARI_ERROR_OUT_OF_MEMORY, "out of memory");
}
