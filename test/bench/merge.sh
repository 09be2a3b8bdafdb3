#!/bin/bash
# merge.sh
#		What clari_merge and clari_sync promise against a full reload, the guide's
#		unconditional MERGE, its row-by-row loader, and the bare join that compares
#		the two sides: bash test/bench/merge.sh [PART…]
#
# Parts: merge, sync, stage, history (what a history costs), large; without any, all of them, in about twenty minutes.
# Takes MERGE_ROWS (1000000, of the target; four times as many for sync, ten times for large; the
# fewer, the sooner) and PG_CONFIG (the newest PostgreSQL) from the environment.
# One line per figure: what, the figure, what was promised, ok or MISSED; fails
# if one was missed.  Times are worth something on a quiet machine alone: the load
# is printed with them.
#
# WAL is what pg_walinspect finds between two positions; a checkpoint comes before
# each measurement, so that full-page images, which are told apart, are as many as
# they can be.  Autovacuum is off, so that dead rows can be counted and nothing is
# analyzed; fsync is off, so that the disk is not what is measured; and no query has
# parallel workers, as none that writes can have them.  See ../common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

if [ -z "$work" ]; then
	install_packages missing_to_test
	/usr/bin/python3 -c 'import psycopg2' 2>/dev/null || install_optional python3-psycopg2
	run_inside "$@"
fi

rows=${MERGE_ROWS:-1000000}
cd "$tree"
{ make -s -j2 all && make -s install; } >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
start_server
run_figures test/bench/merge.pl "$rows" "$@" <<-EOF
	shared_buffers = 1GB
	jit = off
	max_parallel_workers_per_gather = 0
	autovacuum = off
	max_wal_size = 16GB
	checkpoint_timeout = 1h
	clari_fdw.disk_cache_size = 16GB
EOF
