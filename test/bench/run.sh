#!/bin/bash
# run.sh
#		The figures that the README quotes, against the simulator: bash test/bench/run.sh [PART…]
#
# Parts: cold, warm, scan, memory; without any, all of them, in about ten
# minutes.  Takes PG_CONFIG (the newest PostgreSQL) from the environment.  Times
# are worth something on a quiet machine alone: the load is printed with them.
# See ../common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

if [ -z "$work" ]; then
	install_packages
	run_inside "$@"
fi

start_simulator()
{
	python3 test/clari_sim.py serve --port-file "$work/port" --exit-with-parent --concurrent-limit 100 \
		--monthly-quota 1000000 >"$work/simulator.log" 2>&1 &
	for _ in {1..100}; do
		[ -s "$work/port" ] && return
		sleep 0.1
	done
	die "$(cat "$work/simulator.log")"
}

cd "$tree"
{ make -s -j2 all && make -s install; } >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
start_server
start_simulator
echo "$("$PG_CONFIG" --version), $(nproc) cores, load $(cut -d ' ' -f 1-3 /proc/loadavg)"
perl -I test/t test/bench/figures.pl "$(cat "$work/port")" "$@"
echo "load at the end $(cut -d ' ' -f 1-3 /proc/loadavg)"
