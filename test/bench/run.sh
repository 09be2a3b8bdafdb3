#!/bin/bash
# run.sh
#		The figures of doc/benchmarks.md, which the other documents quote, against the simulator: bash test/bench/run.sh [PART…]
#
# Parts: warm, cold, ways, decode, busy, restart, scan, rows, periods, sessions,
# memory, interrupts, queue, faults, quota; without any, all of them, in less than half an hour.  Writes the
# parts' rows in doc/benchmarks.csv, their tables in doc/benchmarks.md and the plots
# in doc/benchmarks/; those of other parts stay.  Fails if a promise was missed.
# Times are worth something on a quiet machine alone: the load is printed with them.
#
# Takes from the environment: PG_CONFIG (the newest PostgreSQL); BENCH_QUICK=1,
# to try the scripts in three minutes, and write nothing; BENCH_OUT, a directory
# to write to in any case; BENCH_HTTP, a directory with the source of pgsql-http,
# where there is no package of it.  See ../common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

# Of what the parts do without: for the guide's way, for pgsql-http's, for plots.
install_rivals()
{
	local http
	/usr/bin/python3 -c 'import psycopg2, requests' 2>/dev/null || install_optional python3-psycopg2 python3-requests
	[ -x "$(command -v gnuplot)" ] || install_optional gnuplot-nox
	http=postgresql-$(major_version "$(find_pg_config)")-http
	if apt-cache show "$http" >/dev/null 2>&1; then install_optional "$http"; fi
}

BENCH_QUICK=${BENCH_QUICK:-}
if [ -z "$work" ]; then
	install_packages missing_to_test
	install_rivals
	out=${BENCH_OUT:-}
	[ -n "$out$BENCH_QUICK" ] || out=$tree
	# The results come through a pipe: inside, nothing can be written out here.
	exec 3> >([ -z "$out" ] || tar -x --no-same-owner -C "$out" 2>/dev/null)
	run_inside "BENCH_COMMIT=$(git -C "$tree" describe --always --dirty 2>/dev/null || echo unknown)" \
		"BENCH_QUICK=$BENCH_QUICK" "BENCH_HTTP=${BENCH_HTTP:-}" "$@"
fi

while [[ ${1:-} == *=* ]]; do
	export "$1"
	shift
done

build_http()
{
	cp -r "$BENCH_HTTP" "$work/http"
	make -s -C "$work/http" clean all install PG_CONFIG="$PG_CONFIG" OPTFLAGS= with_llvm=no
}

# What the results are of, as rows of the CSV.
describe_machine()
{
	local http python
	python=$(/usr/bin/python3 -c 'import platform as p, psycopg2 as d, requests as r
print(f"Python {p.python_version()}, psycopg2 {d.__version__.split()[0]}, requests {r.__version__}, ")' 2>/dev/null || :)
	http=$(sed -n "s/^default_version *= *'\(.*\)'/\1/p" "$("$PG_CONFIG" --sharedir)/extension/http.control" 2>/dev/null || echo none)
	cat <<-END
		server,"$("$PG_CONFIG" --version), fsync = off, max_worker_processes = 16, clari_fdw.disk_cache_size = 16GB, the rest as initdb leaves it"
		libraries,"libcurl $(pkg-config --modversion libcurl), json-c $(pkg-config --modversion json-c), OpenSSL $(pkg-config --modversion libcrypto)"
		others,"${python}pgsql-http $http"
		machine,"$(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(awk '/MemTotal/ { printf "%.0f GB", $2 / 1048576 }' /proc/meminfo), Linux $(uname -r)"
	END
}

cd "$tree"
{
	make -s -j2 all && make -s install
	[ -z "$BENCH_HTTP" ] || build_http
	cc -O2 -Wall -Isrc $(pkg-config --cflags json-c) -o "$work/json_decode" test/bench/json_decode.c src/json/*.c \
		src/clari/*.c src/base/error.c $(pkg-config --libs json-c libcrypto)
} >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
start_server
start_simulator --concurrent-limit 100 --monthly-quota 1000000
mkdir -p doc/benchmarks
perl -I test/t -I test/bench test/bench/figures.pl "$simulator_port" doc/benchmarks.csv "$@" || status=$?
[ "${status:-0}" -le 1 ] || die "no results"
describe_machine | tee "$work/machine.csv"
sed 's/^\([^,]*\),/machine,\1,,/; s/$/,,,/' "$work/machine.csv" >>doc/benchmarks.csv
perl -CSD test/bench/report.pl doc || status=$?
tar -c doc/benchmarks.csv doc/benchmarks.md doc/benchmarks >&3 2>/dev/null || :
exit "${status:-0}"
