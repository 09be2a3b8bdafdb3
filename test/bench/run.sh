#!/bin/bash
# run.sh
#		The figures that the documents quote, against the simulator: bash test/bench/run.sh [PART…]
#
# Parts: cold, warm, restart, scan, memory, quota; without any, all of them, in about ten
# minutes.  Takes PG_CONFIG (the newest PostgreSQL) from the environment.  Times
# are worth something on a quiet machine alone: the load is printed with them.
# See ../common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

if [ -z "$work" ]; then
	install_packages
	run_inside "$@"
fi

cd "$tree"
{ make -s -j2 all && make -s install; } >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
start_server
start_simulator --concurrent-limit 100 --monthly-quota 1000000
echo "$("$PG_CONFIG" --version), $(nproc) cores, load $(cut -d ' ' -f 1-3 /proc/loadavg)"
perl -I test/t -I test/bench test/bench/figures.pl "$simulator_port" "$@"
echo "load at the end $(cut -d ' ' -f 1-3 /proc/loadavg)"
