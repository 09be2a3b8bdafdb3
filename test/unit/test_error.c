/*
 * test_error.c
 *		What error.h promises: plain values, cut between characters.
 */
#include "unit.h"

#include "base/error.h"

/* Fills with ASCII up to at, then puts the character, and formats all of it as a message. */
static ClariError
cut_at(size_t at, const char *character)
{
	char text[400];
	ClariError error;

	memset(text, 'a', sizeof(text));
	memcpy(text + at, character, strlen(character));
	text[sizeof(text) - 1] = '\0';
	clari_error_set(&error, CLARI_ERROR_DATA, "%s", text);
	return error;
}

static void
test_cut(void)
{
	static const char *const characters[] = {"\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
	const size_t last = sizeof(((ClariError *) NULL)->message) - 1;
	ClariError error;

	error = cut_at(0, "");
	ok(strlen(error.message) == last, "ASCII fills the field");
	for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++)
	{
		size_t length = strlen(characters[i]);

		for (size_t inside = 1; inside < length; inside++)
		{
			error = cut_at(last - inside, characters[i]);
			ok(strlen(error.message) == last - inside, "%zu of %zu bytes fit: the character goes", inside, length);
		}
		error = cut_at(last - length - 1, characters[i]);
		ok(strlen(error.message) == last && memcmp(error.message + last - length - 1, characters[i], length) == 0,
		   "a character of %zu bytes before the cut stays", length);
		error = cut_at(last, characters[i]);
		ok(strlen(error.message) == last && error.message[last - 1] == 'a', "one behind the cut costs nothing");
	}
}

static void
test_malformed(void)
{
	char text[400];
	ClariError error;

	memset(text, '\xBF', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	clari_error_set(&error, CLARI_ERROR_DATA, "%s", text);
	ok(strlen(error.message) < sizeof(error.message), "nothing but continuation bytes does not run away");
	memset(text, '\xF0', sizeof(text) - 1);
	clari_error_set(&error, CLARI_ERROR_DATA, "%s", text);
	ok(strlen(error.message) < sizeof(error.message), "neither does nothing but leading bytes");
}

static void
test_fields(void)
{
	char text[1000];
	ClariError error;

	ok(!clari_error_set(&error, CLARI_ERROR_IO, "cannot write %s", "it"), "setting an error returns false");
	clari_error_detail(&error, "Error %d.", 28);
	clari_error_hint(&error, "Make room.");
	is(error.message, "cannot write it", "the message is formatted");
	is(error.detail, "Error 28.", "the detail too");
	is(error.hint, "Make room.", "and the hint");
	clari_error_set(&error, CLARI_ERROR_DATA, "broken");
	ok(error.code == CLARI_ERROR_DATA && error.detail[0] == '\0' && error.hint[0] == '\0',
	   "setting forgets what was before");

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	clari_error_detail(&error, "%s", text);
	clari_error_hint(&error, "%s", text);
	ok(strlen(error.detail) == sizeof(error.detail) - 1 && strlen(error.hint) == sizeof(error.hint) - 1,
	   "detail and hint are cut to their own sizes");

	ok(!clari_error_set(NULL, CLARI_ERROR_IO, "x") && !clari_error_out_of_memory(NULL), "NULL is nobody's error");
	clari_error_detail(NULL, "x");
	clari_error_hint(NULL, "x");
	ok(!clari_error_out_of_memory(&error) && error.code == CLARI_ERROR_OUT_OF_MEMORY,
	   "memory that is out has its code");
	is(error.message, "out of memory", "and its message");
}

int
main(void)
{
	test_cut();
	test_malformed();
	test_fields();
	return done_testing();
}
