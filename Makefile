# clari_fdw: a PostgreSQL foreign data wrapper for Clari's forecast exports
PG_CONFIG ?= pg_config
# Where the sources are; PGXS has it as srcdir, further down.  What is built goes to the current directory: make -f …/Makefile
top = $(patsubst %/,%,$(if $(VPATH),$(VPATH),$(dir $(firstword $(MAKEFILE_LIST)))))
sources = $(patsubst $(top)/%,%,$(sort $(wildcard $(addprefix $(top)/,$(1)))))
EXTENSION = clari_fdw
MODULE_big = clari_fdw
# default_version is the one place of the version; META.json has a third number behind it.
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(top)/clari_fdw.control)
DATA = $(call sources,sql/clari_fdw--*.sql)
DOCS = README.md CHANGELOG.md $(call sources,doc/*.md)
OBJS = clari_fdw.o $(patsubst %.c,%.o,$(call sources,src/*/*.c))
EXTRA_CLEAN = build $(EXTENSION)-*.zip
PGFILEDESC = "clari_fdw - Clari's forecast exports as foreign tables"

REGRESS = $(patsubst sql/%.sql,%,$(filter-out $(DATA),$(call sources,sql/*.sql)))
# Whatever the server's databases are like.
REGRESS_OPTS = --encoding=UTF8 --no-locale
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(call sources,test/isolation/specs/*.spec))
ISOLATION_OPTS = --encoding=UTF8 --no-locale --inputdir=$(top)/test/isolation
PROVE_TESTS = test/t/*.pl
# With TAP_TESTS= these are left out, and on a machine without the programs that they need.
TAP_TESTS ?= 1
ifneq ($(and $(filter installcheck,$(MAKECMDGOALS)),$(TAP_TESTS)),)
tap_lacks := $(shell perl -MIPC::Run -e 1 2>/dev/null || echo "perl's IPC::Run (Debian: libipc-run-perl)"; \
	python3 -c '' 2>/dev/null || echo 'python3'; prove --version >/dev/null 2>&1 || echo 'prove (Debian: perl)')
ifneq ($(tap_lacks),)
$(info installcheck: the TAP tests are skipped, for lack of $(tap_lacks))
override TAP_TESTS =
endif
endif

# The server's headers count as system headers: their own -Wextra warnings are not ours.
PG_CPPFLAGS = -I$(top)/src -DCLARI_VERSION='"$(EXTVERSION)"' -isystem $(shell $(PG_CONFIG) --includedir-server) $(shell pkg-config --cflags libcurl json-c libcrypto)
PG_CFLAGS = -fvisibility=hidden
SHLIB_LINK = $(shell pkg-config --libs libcurl json-c libcrypto)

PGXS := $(shell $(PG_CONFIG) --pgxs)
# Without PGXS (a wrong PG_CONFIG, or no postgresql-server-dev package), no rule makes this goal, and make fails.
.DEFAULT_GOAL = all
include $(PGXS)

# PGXS installs documents by their names alone, into a folder that all extensions share, and would remove them by their paths.
docmoduledir := $(EXTENSION)
ifneq ($(docdir),)
uninstall: uninstall-documents
uninstall-documents:
	rm -rf '$(DESTDIR)$(docdir)/$(docmoduledir)'
.PHONY: uninstall-documents
endif

$(OBJS) $(OBJS:.o=.bc): $(call sources,src/*.h src/*/*.h) clari_fdw.control
# Folders for the objects; as prerequisites, those of the sources would do for make.
ifneq ($(top),.)
$(shell mkdir -p $(dir $(OBJS)))
endif

# The pure rooms compile as they are into unit tests and fuzzers: no server needed.
PURE = base/error http/origin $(patsubst src/%.c,%,$(call sources,$(addsuffix /*.c,$(addprefix src/,clari rowset json job))))
PURE_CFLAGS = -std=gnu11 -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-I$(top)/src -I$(top)/test/unit -isystem $(shell $(PG_CONFIG) --includedir-server) $(shell pkg-config --cflags json-c libcrypto libcurl)
PURE_LIBS = -L$(shell $(PG_CONFIG) --pkglibdir) -L$(shell $(PG_CONFIG) --libdir) -lpgcommon -lpgport $(shell pkg-config --libs json-c libcrypto libcurl)
PURE_HEADERS = $(call sources,src/*.h src/*/*.h test/unit/*.h)
UNIT = $(patsubst test/unit/%.c,build/unit/%,$(call sources,test/unit/test_*.c))

build/unit/%.o: src/%.c $(PURE_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(PURE_CFLAGS) -c -o $@ $<

build/unit/%: test/unit/%.c $(PURE:%=build/unit/%.o)
	$(CC) $(PURE_CFLAGS) -o $@ $^ $(PURE_LIBS)

unit: $(UNIT) ## unit tests of the pure rooms, with sanitizers
	prove --exec '' $(UNIT)

# Each fuzzer for some seconds, on a copy of its corpus; fuzz_json.c makes three.  Needs clang with libFuzzer.
FUZZ_CC = $(CLANG)
FUZZ_SECONDS = 10
FUZZ = $(patsubst test/fuzz/fuzz_%.c,%,$(call sources,test/fuzz/fuzz_*.c)) reply csv

build/fuzz/src/%.o: src/%.c $(PURE_HEADERS)
	@mkdir -p $(@D)
	$(FUZZ_CC) $(PURE_CFLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<

build/fuzz/%: test/fuzz/fuzz_%.c $(PURE:%=build/fuzz/src/%.o)
	$(FUZZ_CC) $(PURE_CFLAGS) -fsanitize=fuzzer -o $@ $^ $(PURE_LIBS)

build/fuzz/reply build/fuzz/csv: build/fuzz/%: test/fuzz/fuzz_json.c $(PURE:%=build/fuzz/src/%.o)
	$(FUZZ_CC) $(PURE_CFLAGS) -DCLARI_FUZZ_$(if $(filter csv,$*),CSV,REPLY) -fsanitize=fuzzer -o $@ $^ $(PURE_LIBS)

$(FUZZ:%=fuzz-%): fuzz-%: build/fuzz/%
	rm -rf build/corpus/$* && mkdir -p build/corpus && cp -r $(top)/test/fuzz/corpus/$* build/corpus/$*
	$< -max_total_time=$(FUZZ_SECONDS) -artifact_prefix=build/fuzz/crash-$*- \
		$(addprefix -dict=,$(wildcard $(top)/test/fuzz/$*.dict)) build/corpus/$*

fuzz: $(FUZZ:%=fuzz-%) ## all fuzzers, each for FUZZ_SECONDS; one is fuzz-NAME

# What PGXN wants: the last commit, as a zip file whose name has the version of META.json.
DISTVERSION = $(shell sed -n 's/^   "version": "\(.*\)",$$/\1/p' $(top)/META.json)

dist: ## the archive for PGXN, of the last commit
	@case '$(DISTVERSION)' in '$(EXTVERSION)'.*) ;; *) echo 'META.json is of $(DISTVERSION), clari_fdw.control of $(EXTVERSION)' >&2; exit 1;; esac
	git -C $(top) archive --format zip --prefix $(EXTENSION)-$(DISTVERSION)/ HEAD >$(EXTENSION)-$(DISTVERSION).zip

# Which lines of the pure rooms the unit tests run: a line for each file, and the files themselves in build/coverage/*.gcov.
build/coverage/%.o: src/%.c $(PURE_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(PURE_CFLAGS) --coverage -c -o $@ $<

build/coverage/%: test/unit/%.c $(PURE:%=build/coverage/%.o)
	$(CC) $(PURE_CFLAGS) --coverage -o $@ $^ $(PURE_LIBS)

coverage: $(UNIT:build/unit/%=build/coverage/%) ## lines of the pure rooms that the unit tests run
	@find build/coverage -name '*.gcda' -delete
	@for test in $^; do $$test >build/coverage/log || { cat build/coverage/log; exit 1; }; done
	@gcov -r -p -s $(abspath $(top)) $(PURE:%=build/coverage/%.gcda) | sed -n "/^File 'src.*c'$$/ { s/File '\(.*\)'/\1/; h; n; s/Lines executed:\(.*\)/\1/; G; s/\n/  /p; }"
	@mv *.gcov build/coverage

FORMATTED = clari_fdw.c $(wildcard src/*.h src/*/*.[ch] test/unit/*.[ch] test/fuzz/*.c)

format: ## clang-format on all of the C code
	clang-format -i $(FORMATTED)

lint: ## clang-tidy by .clang-tidy
	printf '%s\n' clari_fdw.c $(wildcard src/*/*.c) | xargs -P 2 -I{} clang-tidy --quiet {} -- -std=gnu11 $(PG_CPPFLAGS)

help: ## this list
	@echo 'all              the extension, for the PostgreSQL of PG_CONFIG (pg_config)'
	@echo 'install          installs the extension for that PostgreSQL, below DESTDIR; uninstall removes it'
	@echo 'installcheck     tests on what is installed; TAP_TESTS= leaves out those that start servers'
	@echo 'clean            removes what was built'
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/\1 \2/p' $(firstword $(MAKEFILE_LIST)) | while read -r target what; do printf '%-16s %s\n' $$target "$$what"; done

.PHONY: unit fuzz $(FUZZ:%=fuzz-%) coverage format lint help dist
