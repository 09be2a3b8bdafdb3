/*
 * test_origin.c
 *		What must hold of origins: who sees the key, and what of a URL is shown.
 */
#include "http/origin.h"

#include <stdlib.h>

#include "unit.h"

static ClariHop
hop(const char *base, const char *from, const char *target, bool keyed, bool foreign)
{
	ClariOrigin base_origin;
	ClariOrigin from_origin;
	ClariOrigin target_origin;

	if (!clari_origin_parse(base, &base_origin) || !clari_origin_parse(target, &target_origin) ||
		(from != NULL && !clari_origin_parse(from, &from_origin)))
		return CLARI_HOP_REFUSED;
	return clari_origin_hop(&base_origin, from != NULL ? &from_origin : NULL, &target_origin, keyed, foreign);
}

static void
test_parsing(void)
{
	static const char *const bad[] = {"",
									  "api.clari.com/v4",
									  "ftp://api.clari.com/",
									  "file:///etc/passwd",
									  "https://",
									  "https://user@api.clari.com/",
									  "https://user:secret@api.clari.com/",
									  "https://api.clari.com@evil.org/",
									  "https://[fe80::1%25eth0]/",
									  "https://api.clari.com:0/",
									  "https://api.clari.com:99999/",
									  "https://[bad"};
	ClariOrigin origin;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		ok(!clari_origin_parse(bad[i], &origin), "\"%s\" has no origin", bad[i]);
	ok(clari_origin_parse("https://API.clari.com/v4", &origin) && origin.port == 443, "https is at 443");
	ok(clari_origin_parse("http://[::1]:8080/x", &origin) && origin.port == 8080, "a port is read");
	is(origin.host, "[::1]", "an IPv6 host keeps its brackets");
}

static void
test_hops(void)
{
	const char *base = "https://api.clari.com/v4";

	ok(hop(base, NULL, "https://API.CLARI.com:443/v4/x", true, false) == CLARI_HOP_KEYED,
	   "the base's origin gets the key, whatever case and spelt-out port");
	ok(hop(base, NULL, "https://api.clari.com.evil.org/v4", true, false) == CLARI_HOP_REFUSED,
	   "a host that begins like the base's is another");
	ok(hop(base, NULL, "https://api.clari.com:8443/v4", true, false) == CLARI_HOP_REFUSED, "another port is another");
	ok(hop(base, base, "http://api.clari.com/v4", true, true) == CLARI_HOP_REFUSED, "https never becomes http");
	ok(hop(base, base, "https://files.example/x", true, false) == CLARI_HOP_REFUSED,
	   "another host is refused where only the base will do");
	ok(hop(base, base, "https://files.example/x", true, true) == CLARI_HOP_KEYLESS,
	   "another https host is reached without the key");
	ok(hop(base, base, "http://files.example/x", true, true) == CLARI_HOP_REFUSED, "another http host is refused");
	ok(hop(base, "https://files.example/x", "https://api.clari.com/v4/x", false, true) == CLARI_HOP_KEYLESS,
	   "a transfer that has left the base does not get the key back");
	ok(hop(base, "https://files.example/x", "https://files.example/y", false, false) == CLARI_HOP_KEYLESS,
	   "a foreign host may redirect within itself");
	ok(hop(base, "https://files.example/x", "https://other.example/y", false, false) == CLARI_HOP_REFUSED,
	   "but not to a third");
	ok(hop("http://127.0.0.1:80/v4", NULL, "http://127.0.0.1/v4/x", true, false) == CLARI_HOP_KEYED,
	   "an http base may see its key");
	ok(hop("http://127.0.0.1/v4", "https://files.example/", "http://127.0.0.1/v4/x", false, true) == CLARI_HOP_REFUSED,
	   "a foreign https host does not lead back to an http base");
}

static void
test_texts(void)
{
	char text[64];
	ClariOrigin origin;

	clari_origin_redact("https://files.example/a/b.json?X-Signature=secret#frag", text, sizeof(text));
	is(text, "https://files.example/a/b.json", "a query is not shown");
	clari_origin_redact("https://user:secret@files.example/a", text, sizeof(text));
	is(text, "(unreadable URL)", "nor is a password");
	clari_origin_redact("http://h:81/0123456789012345678901234567890123456789012345678901234567890123456789", text,
						sizeof(text));
	ok(strlen(text) == sizeof(text) - 1, "a long URL is cut");
	clari_origin_redact("http://h/a\xC3\xBC", text, sizeof(text));
	is(text, "http://h/a??", "only printable ASCII is shown");
	clari_origin_proxy_text("ftp.example:3128", text, sizeof(text));
	is(text, "http://ftp.example:3128", "a proxy without scheme is an http proxy");
	clari_origin_proxy_text("socks5h://us@er:sec/ret@[::1]:1080/", text, sizeof(text));
	ok(strstr(text, "sec") == NULL, "a proxy's credentials are not shown");
	clari_origin_proxy_text("https://user:s@cret@[::1]:1080/x?y", text, sizeof(text));
	is(text, "https://[::1]:1080", "but where it is");
	clari_origin_parse("https://h:8443/x", &origin);
	clari_origin_text(&origin, text, sizeof(text));
	is(text, "https://h:8443", "a port that is not the scheme's own is shown");
}

static void
test_redirects(void)
{
	static const char *const redirects[][2] = {
		{"?again", "https://h/v4/a?again"},
		{"b/c", "https://h/v4/b/c"},
		{"/c?d", "https://h/c?d"},
		{"http://g:81/", "http://g:81/"},
		{"https://me:pw@h/c", "https://me:pw@h/c"},
		{"//me@h/c", "https://me@h/c"},
		{"/c d?e f", "https://h/c%20d?e+f"},
		{"https://g/c d?e f", "https://g/c%20d?e+f"},
		{"https://g/%20?a=%2F+b", "https://g/%20?a=%2F+b"},
		{"gopher://h/", "gopher://h/"},
		{"https://", "https://"},
	};

	for (size_t i = 0; i < sizeof(redirects) / sizeof(redirects[0]); i++)
	{
		char *url = clari_origin_resolve("https://h/v4/a?b", redirects[i][0]);

		is(url, redirects[i][1], redirects[i][0]);
		free(url);
	}
}

int
main(void)
{
	test_parsing();
	test_hops();
	test_texts();
	test_redirects();
	return done_testing();
}
