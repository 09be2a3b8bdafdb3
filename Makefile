# clari_fdw: a PostgreSQL foreign data wrapper for Clari's forecast exports
PG_CONFIG ?= pg_config
EXTENSION = clari_fdw
MODULE_big = clari_fdw
DATA = sql/clari_fdw--1.0.sql
OBJS = clari_fdw.o $(patsubst %.c,%.o,$(sort $(wildcard src/*.c)))
PGFILEDESC = "clari_fdw - Clari's forecast exports as foreign tables"

REGRESS = $(patsubst sql/%.sql,%,$(filter-out $(DATA),$(sort $(wildcard sql/*.sql))))
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test/isolation
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

# The server's headers count as system headers: their own -Wextra warnings are not ours.
PG_CPPFLAGS = -I$(srcdir)/src -isystem $(shell $(PG_CONFIG) --includedir-server) $(shell pkg-config --cflags libcurl json-c libcrypto)
SHLIB_LINK = $(shell pkg-config --libs libcurl json-c libcrypto)

PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS) $(OBJS:.o=.bc): $(wildcard src/*.h)

# The pure rooms compile as they are into unit tests and fuzzers: no server needed.
PURE = error attribute period digest request json json_framing json_reply rowset rowset_writer rowset_column \
	rowset_item rowset_small rowset_sort record job http_origin adopt job_error job_limits job_turn
PURE_CFLAGS = -std=gnu11 -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-Isrc -Itest/unit -isystem $(shell $(PG_CONFIG) --includedir-server) $(shell pkg-config --cflags json-c libcrypto libcurl)
PURE_LIBS = -L$(shell $(PG_CONFIG) --pkglibdir) -L$(shell $(PG_CONFIG) --libdir) -lpgcommon -lpgport $(shell pkg-config --libs json-c libcrypto libcurl)
PURE_HEADERS = $(wildcard src/*.h test/unit/*.h)
UNIT = $(patsubst test/unit/%.c,build/unit/%,$(sort $(wildcard test/unit/test_*.c)))

build/unit/%.o: src/%.c $(PURE_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(PURE_CFLAGS) -c -o $@ $<

build/unit/%: test/unit/%.c $(PURE:%=build/unit/%.o)
	$(CC) $(PURE_CFLAGS) -o $@ $^ $(PURE_LIBS)

unit: $(UNIT)
	prove --exec '' $(UNIT)

# Each fuzzer for some seconds, on a copy of its corpus; fuzz_json.c makes two.  Needs clang with libFuzzer.
FUZZ_CC = $(CLANG)
FUZZ_SECONDS = 10
FUZZ = $(patsubst test/fuzz/fuzz_%.c,%,$(sort $(wildcard test/fuzz/fuzz_*.c))) reply

build/fuzz/%.o: src/%.c $(PURE_HEADERS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(PURE_CFLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

build/fuzz/%: test/fuzz/fuzz_%.c $(PURE:%=build/fuzz/%.o)
	$(FUZZ_CC) $(PURE_CFLAGS) -fsanitize=fuzzer -o $@ $^ $(PURE_LIBS)

build/fuzz/reply: test/fuzz/fuzz_json.c $(PURE:%=build/fuzz/%.o)
	$(FUZZ_CC) $(PURE_CFLAGS) -DCLARI_FUZZ_REPLY -fsanitize=fuzzer -o $@ $^ $(PURE_LIBS)

$(FUZZ:%=fuzz-%): fuzz-%: build/fuzz/%
	rm -rf build/corpus/$* && mkdir -p build/corpus && cp -r test/fuzz/corpus/$* build/corpus/$*
	$< -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/crash-$*- \
		$(addprefix -dict=,$(wildcard test/fuzz/$*.dict)) build/corpus/$*

fuzz: $(FUZZ:%=fuzz-%)

EXTRA_CLEAN = build

.PHONY: unit fuzz $(FUZZ:%=fuzz-%)
