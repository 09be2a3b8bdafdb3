#!/usr/bin/env python3
"""Whether the words that people read are spelled as in American English.

Read are the documents, the comments of all sources, and the texts of the extension:
the string literals of its C, and the strings of COMMENT ON.  hunspell knows the
words, and words.txt those of this project.  Prose only: code, paths, addresses and
names with an underscore, a digit or a bracket behind them are left out.

python3 test/spelling.py [TREE] prints file:line: word for each unknown word of the
tree, by default the one that this file is in, for each word that is there twice in
a row, for each "%d rows" of a message that has no other form for one, and for each
line of words.txt that is out of order or that nothing needs; and fails if there is
any.  It first shows itself, on texts with one fault each, that it would find them.
"""

import functools
import io
import os
import re
import subprocess
import sys
import tokenize

WORDS = "test/words.txt"

# What is no prose becomes this character, letter by letter, so that each word stays on its line.  What only joins, such as
# the quotes between two literals, becomes the other.
CODE, GLUE = "\1", "\2"

NO_WORD = re.compile(
    r"""\w+://[^\s)>"']+ | [\w.]+@[\w.]+ | <[^<>\s]+>                                          # addresses, placeholders
    | [\w.~*-]*/[\w./*-]*\.\w+ | (?:[\w.~*-]*/){2,}[\w.*-]* | (?<!\w)[/~][\w.-]+ | \w+/(?!\w)  # paths
    | [\w*-]*(?:\w|(?<!\w))(?:[.:]{1,2}\w[\w*-]*)+                                             # files, hosts, members
    | \w*_\w* | (?:\w+-)*\w*\d\w*(?:-\w+)* | \b[a-z]+[A-Z]\w* | \w+\(                          # names
    | \w+-th\b | U\+\w+ | (?:\w+-)+dev\b(?:-all)?                                              # ordinals, characters, packages
    | (?<!\w)--?[A-Za-z][\w-]* | [$@%&\\`]+[\w/.-]+ | \w*\{\w+\}\w*                            # options, variables""",
    re.X,
)
# In comments also types and classes.
TYPE = re.compile(r"\b[A-Z]+[a-z]+[A-Z]\w*")
WORD = re.compile(rf"[^\W\d_](?:{GLUE}*['’]?{GLUE}*[^\W\d_])*")
TWICE = re.compile(rf"(?<![\w'’.-])(\w+)(?:[ \t{GLUE}]+\n?|\n)[ \t{GLUE}]*(\1)(?![\w'’-])", re.I)
DIRECTIVE = re.compile(r"%[-+ #0]*[\d*]*(?:\.[\d*]+)?(?:hh?|ll?|z|j)?[a-zA-Z%]|\\x[0-9A-F]+|\\.")


def blank(text):
    """The text without its letters, each line as long as before."""
    return re.sub(r"\S", CODE, text)


def blank_all(pattern, text):
    return pattern.sub(lambda found: blank(found[0]), text)


def keep(text, spans):
    """The text of which all but the spans is code."""
    result, last = [], 0
    for start, end, prose in spans:
        result += [blank(text[last:start]), prose]
        last = end
    return "".join(result) + blank(text[last:])


# ------- prose of each kind of file: as long as the file, line by line -------

MARKUP = re.compile(
    r"""^[ ]*(```+)[^\n]*\n.*?^[ ]*\1[ ]*$ | (`+)(?!`)(?:(?!\n\n).)+?(?<!`)\2(?!`)                # code
    | <!--.*?--> | </?\w+[^<>]*> | &\w+; | (?<=\])\([^)\s]*\) | ^\[[^\]]+\]:[^\n]* | ^\|[-:| ]+\|$  # HTML, targets, rules""",
    re.X | re.M | re.S,
)


def of_document(text):
    return blank_all(MARKUP, text)


ELEMENT = re.compile(r"<style.*?</style>|<desc>.*?</desc>|<!--.*?-->|<[^>]*>|&\w+;", re.S)


def of_drawing(text):
    return blank_all(ELEMENT, text)


C_TOKEN = re.compile(r"""(/\*.*?\*/|//[^\n]*)|((?:"(?:[^"\\\n]|\\.)*"\s*)+)|'(?:[^'\\\n]|\\.)*'|\#\s*include[^\n]*""", re.S)
C_FRAME = re.compile(r"^/\*|\*/$|^//|^[ \t]*\*(?!/)", re.M)
QUOTE = re.compile(r'(?<!\\)"')
JOINT = re.compile(r'(?<!\\)"(\s*)"')


def of_comment(text):
    return blank_all(TYPE, C_FRAME.sub(lambda found: " " * len(found[0]), text))


def of_literals(text):
    """Adjacent literals are one: what is between them only joins.  One of a single word, such as a key of JSON, is no prose."""
    text = blank_all(DIRECTIVE, JOINT.sub(lambda found: GLUE * len(found[0]), text))
    return blank_all(QUOTE, text) if re.search(r"[^\W\d_]{2}\W* \W*[^\W\d_]{2}", text) else blank(text)


def of_c(text, literals=False):
    spans = []
    for token in C_TOKEN.finditer(text):
        if token[1]:
            prose = of_comment(token[1])
        elif token[2] and literals:
            prose = of_literals(token[2])
        else:
            continue
        spans.append((token.start(), token.end(), prose))
    return keep(text, spans)


SQL_TOKEN = re.compile(r"(/\*.*?\*/)|((?:^|(?<=\s))--[ \t][^\n]*)|(?<=\bIS )('(?:[^']|'')*')|'(?:[^']|'')*'", re.S | re.M)


def of_sql(text):
    spans = []
    for token in SQL_TOKEN.finditer(text):
        if token[1]:
            prose = of_comment(token[1])
        elif token[2] or token[3]:
            prose = re.sub("^--|''|^'|'$", lambda found: GLUE * (len(found[0]) - 1) + ("'" if found[0] == "''" else " "), token[0])
        else:
            continue
        spans.append((token.start(), token.end(), prose))
    return keep(text, spans)


HASH = re.compile(r"(?:^|(?<=\s))#[ \t]([^\n]*)", re.M)


def of_script(text):
    return keep(text, [(found.start(), found.end(), "  " + blank_all(TYPE, found[1])) for found in HASH.finditer(text)])


def of_python(text):
    """Comments, and the strings that are statements."""
    starts, spans, before = [0], [], tokenize.NEWLINE
    for line in io.StringIO(text):
        starts.append(starts[-1] + len(line))
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        start = starts[token.start[0] - 1] + token.start[1]
        end = starts[token.end[0] - 1] + token.end[1]
        if token.type == tokenize.COMMENT:
            spans.append((start, end, " " + blank_all(TYPE, text[start + 1 : end])))
        elif token.type == tokenize.STRING and before in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            spans.append((start, end, blank_all(TYPE, text[start:end].replace('"', CODE))))
        if token.type not in (tokenize.NL, tokenize.COMMENT):
            before = token.type
    return keep(text, spans)


def reader_of(path):
    """What finds the prose of a file; None: it has none."""
    name = os.path.basename(path)
    if name.endswith((".md", ".control")):
        return of_document
    if name.endswith(".svg"):
        return of_drawing
    if name.endswith((".c", ".h", ".js", ".json")):
        return functools.partial(of_c, literals=path.startswith("src/") or "/" not in path)
    if name.endswith(".sql"):
        return of_sql
    if name.endswith(".py"):
        return of_python
    if name.endswith((".sh", ".pl", ".pm", ".spec", ".yml")) or name == "Makefile":
        return of_script
    return None


# ------- words -------


def words_of(prose):
    """Offset and word of all that are longer than a letter; without a genitive's or an acronym's s."""
    for found in WORD.finditer(blank_all(NO_WORD, prose)):
        word = re.sub("'s$|(?<=[A-Z]{2})s$", "", found[0].replace(GLUE, "").replace("’", "'"))
        if len(word) > 1:
            yield found.start(), word


def pairs_of(prose):
    """Offset and word of each that follows itself, but for a key word, as in "an AND and an OR or two"."""
    for found in TWICE.finditer(blank_all(NO_WORD, prose)):
        if found[1].isupper() == found[2].isupper():
            yield found.start(), found[1]


# A count in a message, and a plural behind it.  After these words the count is of all, or a limit: never one.  Nor is a unit.
COUNT = re.compile(r'(?:(\w+) (?:"\s*)?)?(?:%(?:\.0)?l{0,2}[df]|\bU?INT64_FORMAT\s*") ([a-z]+s)\b')
LIMITS = {"cover", "have", "its", "most", "than", "to"}
UNITS = {"bytes", "hours", "minutes", "ms", "times"}


def counts_of(text):
    """Offset and text of each count that would be wrong if it were one."""
    for found in COUNT.finditer(text):
        call = text.rfind("errmsg_plural(", 0, found.start())
        if found[1] not in LIMITS and found[2] not in UNITS and call <= text.rfind(";", 0, found.start()):
            yield found.start(2), f"(1) {found[2]}"


def unknown_to_hunspell(words):
    run = subprocess.run(
        ["hunspell", "-d", "en_US", "-i", "UTF-8", "-l"],
        input="\n".join(sorted(words)),
        capture_output=True,
        check=True,
        encoding="utf-8",
        env={"PATH": "/usr/bin:/bin:/usr/local/bin", "LC_ALL": "C.UTF-8"},
    )
    return set(run.stdout.split())


def forms_of(word):
    """What may be listed for the word: also its singular, and in lower case if it begins a sentence or is a key word."""
    forms = [word] + ([word[:-1]] if word.endswith("s") else [])
    return forms + [form.lower() if form.isupper() else form[0].lower() + form[1:] for form in forms]


def check_list(listed, used):
    """The faults of the list itself."""
    for number, word in enumerate(listed, 1):
        if word not in used:
            yield WORDS, number, f"{word} (nothing needs it)"
        if number > 1 and (listed[number - 2].lower(), listed[number - 2]) >= (word.lower(), word):
            yield WORDS, number, f"{word} (not in order)"


def check(files, listed):
    """All faults, one text each, of files: text by path; listed: the lines of the list."""
    faults, places, used = [], {}, set()
    for path, text in files.items():
        prose = reader_of(path)(text)
        assert len(prose) == len(text), path
        twice = [(offset, f"{word} {word}") for offset, word in pairs_of(prose)]
        for offset, word in twice + (list(counts_of(text)) if path.startswith("src/") else []):
            faults.append((path, text.count("\n", 0, offset) + 1, word))
        for offset, word in words_of(prose):
            places.setdefault(word, []).append((path, text.count("\n", 0, offset) + 1))
    for word in unknown_to_hunspell(places):
        form = next((form for form in forms_of(word) if form in listed), None)
        if form:
            used.add(form)
        else:
            faults += [(*place, word) for place in places[word]]
    faults += check_list(listed, used)
    return [f"{path}:{line}: {what}" for path, line, what in sorted(faults)]


def read(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def read_tree(tree):
    """The texts of all files that have prose, by path relative to the tree."""
    files = {}
    for folder, folders, names in os.walk(tree):
        folders[:] = sorted(set(folders) - {".git", "build", "results", "tmp_check", "output_iso", "corpus"})
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), tree)
            if reader_of(path):
                files[path] = read(os.path.join(tree, path))
    return files


# ------- does it find what it is to find? -------

GOOD = {
    "README.md": "The rowset's words, `speling` and [a link](doc/speling.md).\n\n```sql\nSELECT speling\n```\n<!-- speling -->\n",
    "src/a.c": '#include "speling.h"\n/*\n * Of palloc and speling_of(),\n * ClariSpeling, a.speling.\n */\nint a = sizeof("speling");\n'
    'errmsg_plural("%d row", "%d rows", n, n);\nerrmsg("at most %d rows", n);\n',
    "sql/a.sql": "-- Text.\nCREATE TABLE speling (a text DEFAULT 'speling');\nCOMMENT ON TABLE speling IS 'a table''s text';\n",
    "test/a.py": '"""A text."""\nspeling = "speling"  # of speling_of\n',
    "test/a.pl": "# A text.\nmy $speling = 'speling'; # of $speling\n",
    "doc/a.svg": "<svg><style>speling</style><text class='speling'>A text</text></svg>\n",
    "Makefile": "speling: # of make -s speling.c\n",
}
LIST = ["palloc", "rowset"]

FAULTS = [
    ("README.md", "A speling.\n", "README.md:7: speling"),
    ("README.md", "| A |\n|---|\n| speling |\n", "README.md:9: speling"),
    ("README.md", "The `the` word, and and again.\n", "README.md:7: and and"),
    ("README.md", "The the line.\n", "README.md:7: The The"),
    ("README.md", "At the end the\nthe line.\n", "README.md:7: the the"),
    ("README.md", "It was cancelled.\n", "README.md:7: cancelled"),
    ("src/a.c", "/* A speling. */\n", "src/a.c:9: speling"),
    ("src/a.c", "/*\n * Of the\n * the line.\n */\n", "src/a.c:10: the the"),
    ("src/a.c", 'errmsg("could not %s the speling of \\"%s\\"", a, b);\n', "src/a.c:9: speling"),
    ("src/a.c", 'errmsg("a word spel"\n "ing of two");\n', "src/a.c:9: speling"),
    ("src/a.c", 'errhint("at the "\n "the line");\n', "src/a.c:9: the the"),
    ("src/a.c", 'errmsg("could not read %d rows", n);\n', "src/a.c:9: (1) rows"),
    ("src/a.c", 'errmsg(INT64_FORMAT " of " INT64_FORMAT " rows are left", n, m);\n', "src/a.c:9: (1) rows"),
    ("sql/a.sql", "COMMENT ON VIEW a IS 'a view''s speling';\n", "sql/a.sql:4: speling"),
    ("sql/a.sql", "-- A speling.\n", "sql/a.sql:4: speling"),
    ("test/a.py", 'def a():\n    """A speling."""\n', "test/a.py:4: speling"),
    ("test/a.py", "# A speling.\n", "test/a.py:3: speling"),
    ("test/a.pl", "# A speling.\n", "test/a.pl:3: speling"),
    ("doc/a.svg", "<text>speling</text>", "doc/a.svg:2: speling"),
    ("Makefile", "# A speling.\n", "Makefile:2: speling"),
]


def test_itself():
    found = check(GOOD, LIST)
    assert not found, f"in texts without fault it finds {found}"
    for path, text, expected in FAULTS:
        found = check({**GOOD, path: GOOD[path] + text}, LIST)
        assert found == [expected], f"{path} with {text!r}: it finds {found}, not {expected!r}"
    for listed, expected in ((LIST + ["word"], "3: word (nothing needs it)"), (LIST[::-1], "2: palloc (not in order)")):
        found = check(GOOD, listed)
        assert found == [f"{WORDS}:{expected}"], f"with the list {listed} it finds {found}, not {expected!r}"


def main():
    test_itself()
    tree = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    files = read_tree(tree)
    faults = check(files, read(os.path.join(tree, WORDS)).splitlines())
    print("\n".join(faults) if faults else f"{len(files)} files: no unknown word, none twice in a row")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
