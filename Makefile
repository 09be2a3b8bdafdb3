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

# The pure rooms compile as they are into unit tests and fuzzers: no server needed.
PURE = $(addprefix src/,error.c attribute.c period.c digest.c request.c json.c json_framing.c json_reply.c rowset.c \
	rowset_writer.c rowset_column.c rowset_item.c rowset_small.c rowset_sort.c job.c http_origin.c)
PURE_CFLAGS = -std=gnu11 -g -O1 -Wall -Wextra -Werror -fsanitize=address,undefined -fno-sanitize-recover=undefined \
	-Isrc -Itest/unit -isystem $(shell $(PG_CONFIG) --includedir-server) $(shell pkg-config --cflags json-c libcrypto libcurl)
PURE_LIBS = -L$(shell $(PG_CONFIG) --pkglibdir) -L$(shell $(PG_CONFIG) --libdir) -lpgcommon -lpgport $(shell pkg-config --libs json-c libcrypto libcurl)
UNIT = $(patsubst test/unit/%.c,build/unit/%,$(sort $(wildcard test/unit/test_*.c)))

build/unit/%: test/unit/%.c $(PURE) $(wildcard src/*.h test/unit/*.h)
	mkdir -p build/unit
	$(CC) $(PURE_CFLAGS) -o $@ $< $(PURE) $(PURE_LIBS)

unit: $(UNIT)
	prove --exec '' $(UNIT)

.PHONY: unit
