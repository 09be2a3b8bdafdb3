/*
 * text.h
 *		What many rooms do with texts.
 */
#ifndef CLARI_TEXT_H
#define CLARI_TEXT_H

#include <stdbool.h>
#include <string.h>

/* Copies a text into a field of so many bytes that are all zero, and stay so behind its end. */
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
