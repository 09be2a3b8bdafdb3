#!/bin/bash
# scan.sh
#		What a cached scan promises against a heap table of the same rows, measured
#		against the simulator: bash test/bench/scan.sh [PART…]
#
# Parts: v4, flat, prepared, parallel, joins, counts, cold, estimates; without any,
# all of them, in about a quarter of an hour.  Takes SCAN_ROWS (1000000, of a table; the fewer,
# the sooner) and PG_CONFIG (the newest PostgreSQL) from the environment.  One
# line per figure: what, the figure, what was promised, ok or MISSED; fails if
# one was missed.  Times are worth something on a quiet machine alone: the load
# is printed with them.
#
# Both sides do without JIT, whose compile time is noise, and without autovacuum;
# the heap is in shared_buffers, the rowsets are in files (or shared memory,
# where a line says so) that the kernel has cached.  See ../common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

if [ -z "$work" ]; then
	install_packages missing_to_test
	run_inside "$@"
fi

rows=${SCAN_ROWS:-1000000}
cd "$tree"
{ make -s -j2 all && make -s install; } >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
start_server
# The largest heap is of four times so many rows.  No WAL of a table that is made and filled in one go.
run_figures test/bench/scan.pl "$rows" "$@" <<-EOF
	shared_buffers = $((rows * 2 / 1024 + 256))MB
	jit = off
	max_parallel_workers_per_gather = 0
	autovacuum = off
	wal_level = minimal
	max_wal_senders = 0
	max_wal_size = 8GB
	clari_fdw.disk_cache_size = 16GB
EOF
