#!/usr/bin/env python3
"""Whether the rooms of src/ keep to the rules of doc/architecture.md.

A folder includes only folders below it in that document's table; the files of a
folder neither include nor call each other in a circle; nobody includes another
folder's internal.h, and somebody includes each of its other headers; each foreign
library is included by one folder alone; what is marked pure neither raises nor asks
for the time nor allocates in PostgreSQL's way.

python3 test/includes.py [TREE] prints each breach of the tree, by default the one that
this file is in, and fails if there is any.  It first shows itself, on small trees with
one breach each, that it would find them.
"""

import os
import re
import sys
import tempfile

LIBRARIES = {"curl/": "http", "json": "json", "openssl/": "clari"}
TABLE = "doc/architecture.md"
ROOF = "clari_fdw.c"
LOOSE = "src/compat.h"  # what every folder may include
IMPURE = re.compile(r"\b(ereport|elog|palloc\w*|MemoryContext\w*|LWLock\w*|GetCurrentTimestamp|clock_gettime|time)\(")

INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:[^"\\\n]|\\.)*"', re.S)
# clang-format puts the name of a function that is defined at the beginning of a line, below its type.
DEFINITION = re.compile(r"^((?:\w[^\n;{}()]*\n)?)^(\w+)\((?=[^;{}]*\)\s*\n\{)", re.M)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def find_circle(graph):
    """The names of one circle, its first twice; or None."""
    done, path = set(), []

    def visit(name):
        if name in path:
            return path[path.index(name) :] + [name]
        if name in done:
            return None
        path.append(name)
        for other in sorted(graph.get(name, ())):
            circle = visit(other)
            if circle:
                return circle
        path.pop()
        done.add(name)
        return None

    for name in sorted(graph):
        circle = visit(name)
        if circle:
            return circle
    return None


def list_sources(tree):
    """Paths of all sources, relative to the tree, the roof's included."""
    paths = [ROOF]
    for folder, _, files in os.walk(os.path.join(tree, "src")):
        paths += [os.path.relpath(os.path.join(folder, name), tree) for name in files if name.endswith((".c", ".h"))]
    return sorted(paths)


def room_of(path):
    parts = path.split("/")
    return parts[1] if len(parts) == 3 else None


def check_include(path, quote, name, order):
    """What is wrong with one #include, or None."""
    room = room_of(path)
    if quote == "<":
        for prefix, owner in LIBRARIES.items():
            if name.startswith(prefix) and room != owner:
                return f"<{name}> is for room {owner} alone"
        return None
    other, slash, file = name.partition("/")
    if not slash or other not in order:
        return None
    if file == "internal.h" and other != room:
        return f"{name} is for room {other} alone"
    if room and order.index(other) < order.index(room):
        return f"{name} is above room {room}"
    return None


def check_purity(path, text):
    found = IMPURE.search(NOISE.sub(" ", text))
    return [f"{path}: a pure room calls {found[1]}()"] if found else []


def own_includes(room, text):
    return {name.split("/")[1] for quote, name in INCLUDE.findall(text) if quote == '"' and name.startswith(room + "/")}


def functions_of(code):
    """The functions that a source defines for others too."""
    return {name for kind, name in DEFINITION.findall(code) if "static" not in kind.split()}


def check_circles(room, texts):
    """texts: of the room's files, by name."""
    breaches = []
    circle = find_circle({name: own_includes(room, text) for name, text in texts.items() if name.endswith(".h")})
    if circle:
        breaches.append(f"src/{room}: a circle of headers: " + " → ".join(circle))
    codes = {name: NOISE.sub(" ", text) for name, text in texts.items() if name.endswith(".c")}
    owner = {function: name for name, code in codes.items() for function in functions_of(code)}
    calls = {}
    for name, code in codes.items():
        calls[name] = {owner[word] for word in set(re.findall(r"\w+", code)) if owner.get(word, name) != name}
    circle = find_circle(calls)
    if circle:
        steps = []
        for caller, called in zip(circle, circle[1:]):
            words = set(re.findall(r"\w+", codes[caller]))
            steps.append(f"{caller} calls " + ", ".join(sorted(w for w in words if owner.get(w) == called)) + f" of {called}")
        breaches.append(f"src/{room}: a circle of calls: " + "; ".join(steps))
    return breaches


def list_tests(tree):
    """Paths of the C sources of tests, they come in by the doors, too."""
    folders = os.walk(os.path.join(tree, "test"))
    return [os.path.join(folder, name) for folder, _, files in folders for name in files if name.endswith(".c")]


def check_doors(texts, tests):
    """texts: of all sources, by path; tests: of those that use them."""
    users = {}
    for room, text in [(room_of(path), text) for path, text in texts.items()] + [("test", text) for text in tests]:
        for _, name in INCLUDE.findall(text):
            users.setdefault(f"src/{name}", set()).add(room)
    headers = [path for path in sorted(texts) if path.endswith(".h") and path != LOOSE]
    return [
        f"{path} is no door: what only its own room includes belongs into internal.h"
        for path in headers
        if not path.endswith("/internal.h") and not users.get(path, set()) - {room_of(path)}
    ]


def check(tree):
    """All breaches, one text each."""
    table = read(os.path.join(tree, TABLE))
    order = re.findall(r"^\| `(\w+)/`", table, re.M)
    pure = re.findall(r"^\| `(\w+)/` \*pure\*", table, re.M)
    breaches, rooms, texts = [], {}, {}
    for path in list_sources(tree):
        room = room_of(path)
        if room not in order and path not in (ROOF, LOOSE):
            breaches.append(f"{path} is in no room of {TABLE}")
            continue
        text = read(os.path.join(tree, path))
        for quote, name in INCLUDE.findall(text):
            breach = check_include(path, quote, name, order)
            if breach:
                breaches.append(f"{path}: {breach}")
        if room in pure:
            breaches += check_purity(path, text)
        rooms.setdefault(room, {})[os.path.basename(path)] = text
        texts[path] = text
    breaches += check_doors(texts, [read(path) for path in list_tests(tree)])
    for room in order:
        breaches += check_circles(room, rooms.get(room, {}))
    return breaches, len(order), sum(len(files) for files in rooms.values())


# ------- does it find what it is to find? -------

GOOD = {
    TABLE: "| `attic/` | `a` |\n| `http/` | `h` |\n| `cellar/` *pure* | `c`, `d` |\n",
    ROOF: '#include "attic/attic.h"\n',
    LOOSE: "",
    "src/attic/attic.h": '#include "cellar/cellar.h"\n',
    "src/attic/a.c": '#include "attic/attic.h"\n#include "attic/internal.h"\nint\na_up(void)\n{\n\treturn c_one();\n}\n',
    "src/attic/internal.h": "",
    "src/http/h.c": "#include <curl/curl.h>\n",
    "src/cellar/cellar.h": "/* unlike attic/internal.h */\n",
    "src/cellar/c.c": "int\nc_one(void)\n{\n\treturn d_one(1);\n}\n",
    "src/cellar/internal.h": "",
    "src/cellar/d.c": "static int\nc_two(void)\n{\n\treturn 0; /* as c_one(), \"c_one\" */\n}\n\nint\nd_one(int x)\n{\n\treturn c_two() + x;\n}\n",
}

FAULTS = [
    ("above room cellar", "src/cellar/d.c", '#include "attic/attic.h"\n'),
    ("is for room attic alone", ROOF, '#include "attic/internal.h"\n'),
    ("is for room cellar alone", "src/attic/a.c", '#include "cellar/internal.h"\n'),
    ("is for room http alone", "src/attic/attic.h", "# include <curl/multi.h>\n"),
    ("is for room json alone", "src/http/h.c", "#include <json.h>\n"),
    ("is for room clari alone", ROOF, "#include <openssl/evp.h>\n"),
    ("circle of headers", "src/attic/internal.h", '#include "attic/attic.h"\n#include "attic/internal.h"\n'),
    ("circle of calls", "src/cellar/d.c", "int\nd_two(void)\n{\n\treturn c_one();\n}\n"),
    ("pure room calls palloc()", "src/cellar/d.c", "void *\nd_two(void)\n{\n\treturn palloc(1); /* unlike elog() */\n}\n"),
    ("pure room calls time()", "src/cellar/cellar.h", "#define NOW time(NULL)\n"),
    ("no door", "src/cellar/private.h", ""),
    ("in no room", "src/stray.c", ""),
    ("in no room", "src/shed/s.c", ""),
]


def breaches_of(files):
    with tempfile.TemporaryDirectory() as tree:
        for path, text in files.items():
            os.makedirs(os.path.dirname(os.path.join(tree, path)) or tree, exist_ok=True)
            with open(os.path.join(tree, path), "w", encoding="utf-8") as file:
                file.write(text)
        return check(tree)[0]


def test_itself():
    found = breaches_of(GOOD)
    assert not found, f"in a tree without breach it finds {found}"
    for expected, path, text in FAULTS:
        found = breaches_of({**GOOD, path: GOOD.get(path, "") + text})
        assert len(found) == 1 and expected in found[0], f"{path} with {text!r}: it finds {found}, not {expected!r}"


def main():
    test_itself()
    tree = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    breaches, rooms, files = check(tree)
    print("\n".join(breaches) if breaches else f"{files} files in {rooms} rooms: no include upwards, no circle, no back door")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
