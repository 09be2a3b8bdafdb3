/*
 * text.h
 *		Functions for texts that many rooms use.
 */
#ifndef CLARI_TEXT_H
#define CLARI_TEXT_H

#include <stdbool.h>
#include <string.h>

/*
 * Copies a text into a field of size bytes that is all zero.  It remains zero
 * after the text, which is truncated if needed.
 */
static inline void
clari_text_copy(char *to, const char *from, size_t size)
{
	memcpy(to, from, strnlen(from, size - 1));
}

/* Is it white space, whatever the locale? */
static inline bool
clari_is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

#endif /* CLARI_TEXT_H */
