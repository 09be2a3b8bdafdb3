#!/bin/bash
# before.sh
#		What is measured elsewhere against PostgreSQL itself, measured here against another
#		commit: bash test/bench/before.sh COMMIT
#
# Two servers with the same settings, one with the library of COMMIT and one with that of
# this tree, ask the same simulator the same things in turns, so that both see the same
# noise.  Prints for each query how long the second takes against the first; fails if one
# takes more than a tenth longer.  Takes SCAN_ROWS (200000, of a table).  See ../common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# The tree of the commit, as $work/before.
prepare_inside()
{
	mkdir "$work/before"
	git -c safe.directory='*' -C "$tree" archive "$1" | tar -x -C "$work/before"
}

if [ -z "$work" ]; then
	git -c safe.directory='*' -C "$tree" rev-parse -q --verify "${1:-}^{commit}" >/dev/null ||
		die "the argument is no commit of a git clone that has this script: ${1:-none}"
	install_packages missing_to_test
	run_inside "$1"
fi

# build_and_install DIRECTORY
build_and_install()
{
	{ make -s -C "$1" -j2 all && make -s -C "$1" install; } >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
}

settings="
	shared_preload_libraries = 'clari_fdw'
	shared_buffers = 256MB
	jit = off
	max_parallel_workers_per_gather = 0
	autovacuum = off
	clari_fdw.disk_cache_size = 16GB
"
cd "$tree"
# A server that has preloaded its library keeps it when the next one is installed.
build_and_install "$work/before"
start_server before_data 5433
echo "$settings" >>"$work/before_data/postgresql.conf"
pg_ctl -D "$work/before_data" -o '-p 5433' -l "$work/server.log" -w restart >/dev/null || die "$(cat "$work/server.log")"
psql -X -q -c 'CREATE EXTENSION clari_fdw'
build_and_install "$tree"
start_server
run_figures test/bench/before.pl "${SCAN_ROWS:-200000}" <<<"$settings"
