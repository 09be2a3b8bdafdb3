#!/bin/bash
# check.sh
#		All tests, from a clean clone: bash test/check.sh [SUITE…]
#
# The suites are spelling, includes, simulator, unit, regress, isolation, tap and fuzz;
# without any, all of them.  It is built in any case, and the logs of all servers are looked through for
# crashes and leaks, which no test need have noticed.
#
# Where CLARI_OPENAPI is Clari's document, a suite conform follows tap, which holds
# what that has sent and received against it: see conform.sh.
#
# Takes from the environment FUZZ_SECONDS (60, for each fuzzer), PG_CONFIG (the newest
# PostgreSQL) and PG_TEST_TIMEOUT_DEFAULT (180, seconds after which a test takes what
# it waits for to hang; more for a machine that is very slow).  No suite has a limit of
# time: one is ended when it writes nothing for three times as long.  Ends with
# "N passed, M failed".  See common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

find_clang()
{
	find /usr/bin -name clang -o -name 'clang-[0-9]*' 2>/dev/null | sort -V | tail -n 1
}

can_fuzz()
{
	local clang
	clang=$(find_clang)
	[ -n "$clang" ] && echo 'int LLVMFuzzerTestOneInput(void); int LLVMFuzzerTestOneInput(void) { return 0; }' |
		"$clang" -fsanitize=fuzzer,address,undefined -x c -o /dev/null - 2>/dev/null
}

# Debian's is for Debian's PostgreSQL.
has_cron()
{
	local library
	library=$("$(find_pg_config)" --pkglibdir)
	[ -e "$library/pg_cron.so" ] || [[ $library != /usr/lib/postgresql/* ]]
}

for suite; do
	case $suite in spelling | includes | simulator | unit | regress | isolation | tap | fuzz) ;; *) die "there is no suite $suite" ;; esac
done
wanted=" ${*:-spelling includes simulator unit regress isolation tap fuzz} build logs "

is_wanted()
{
	[[ $wanted = *" $1 "* ]]
}

if [ -z "$work" ]; then
	install_packages missing_to_test
	# For the fuzzers and for 042_cron.pl: whoever may not install packages runs the rest.
	! is_wanted fuzz || can_fuzz || install_optional clang libclang-rt-dev
	! is_wanted tap || has_cron || install_optional postgresql-@-cron
	if [ -n "${CLARI_OPENAPI:-}" ]; then
		reason=$(why_no_validation)
		[ -z "$reason" ] || { echo "conform: not run, since $reason" && unset CLARI_OPENAPI; }
	fi
	run_inside "$@"
fi

passed=0
failed=0

# Shows what went wrong, from the files that the suite left behind.
show_failure()
{
	local file name
	tail -n 60 "$1"
	for file in regression.diffs output_iso/regression.diffs test/isolation/output_iso/regression.diffs; do
		if [ -s "$file" ]; then
			echo "--- $file"
			head -n 200 "$file"
			rm "$file"
		fi
	done
	[ "$1" = "$work/tap.log" ] || return 0
	for file in tmp_check/log/regress_log_*; do
		name=${file##*/regress_log_}
		if [ -f "$file" ] && ! grep -Eq "^test/t/$name.pl \.+ (ok|skipped)" "$1"; then
			echo "--- from the log of test/t/$name.pl"
			grep -A 20 'not ok ' "$file" | head -n 100 || :
			tail -n 20 "$file"
		fi
	done
}

# How much the suites have written.
written()
{
	cat "$work"/*.log tmp_check/log/regress_log_* results/* output_iso/results/* 2>/dev/null | wc -c
}

# Ends a process group that writes nothing for so many seconds.
watch_progress()
{
	local group=$1 seconds=$2 before=-1 now since=0
	while sleep 1; do
		now=$(written)
		[ "$now" = "$before" ] || since=$SECONDS
		before=$now
		if [ $((SECONDS - since)) -ge "$seconds" ]; then
			echo "It was ended, since it had written nothing for $seconds s."
			kill -TERM "-$group"
			sleep 10
			kill -KILL "-$group"
		fi
	done
}

# run_watched LOG COMMAND…: as the command, which is ended if it hangs.
run_watched()
{
	local log=$1 child watcher status=0
	shift
	set -m # a process group of its own, in the same session
	"$@" >>"$log" 2>&1 </dev/null &
	child=$!
	set +m
	watch_progress $child $((3 * ${PG_TEST_TIMEOUT_DEFAULT:-180})) >>"$log" 2>&1 &
	watcher=$!
	wait $child || status=$?
	kill $watcher 2>/dev/null
	wait $watcher 2>/dev/null || :
	return $status
}

# suite NAME COUNT PATTERN COMMAND…: if it is wanted.  COUNT tests, of which as many passed as lines match; all of them, if
# there is no pattern and the command succeeds.
suite()
{
	local name=$1 count=$2 pattern=$3 log="$work/$1.log" status=0 good start=$SECONDS
	shift 3
	is_wanted "$name" || return 0
	if [ "$count" = 0 ]; then
		echo "$name: none"
		return
	fi
	run_watched "$log" "$@" || status=$?
	if [ -n "$pattern" ]; then
		good=$(grep -Ec "$pattern" "$log" || :)
	else
		good=$count
	fi
	# What fails without a test that did has failed too.
	[ $status = 0 ] || [ "$good" -lt "$count" ] || good=$((count - 1))
	passed=$((passed + good))
	failed=$((failed + count - good))
	echo "$name: $good of $count passed in $((SECONDS - start)) s"
	[ "$good" = "$count" ] || show_failure "$log"
}

count_files()
{
	find "$@" 2>/dev/null | wc -l
}

finish()
{
	echo "$passed passed, $failed failed"
	[ $failed = 0 ]
	exit
}

cd "$tree"
suite build 1 '' make -s -j2 all install COPT="-Wall -Wextra -Werror"
[ $failed = 0 ] || finish
suite spelling 1 '' python3 test/spelling.py
suite includes 1 '' python3 test/includes.py
suite simulator 1 '' python3 test/clari_sim_test.py
suite unit "$(count_files test/unit -name 'test_*.c')" '^build/unit/[^ ]+ \.+ ok' make -s -j2 unit
start_server
regress_ok='^(test +|  +)[^ ]+ +\.\.\. ok|^ok [0-9]+ +[-+] '
suite regress "$(count_files sql -name '*.sql' ! -name 'clari_fdw--*')" "$regress_ok" \
	make -s installcheck ISOLATION= TAP_TESTS=
suite isolation "$(count_files test/isolation/specs -name '*.spec')" "$regress_ok" \
	make -s installcheck REGRESS= TAP_TESTS=
stop_server
[ ! -d "$work/record" ] || export CLARI_SIM_RECORD="$work/record"
# Four at once, whatever the machine has: they wait most of their time.
suite tap "$(count_files test/t -name '*.pl')" '^test/t/[^ ]+ \.+ (ok|skipped)' \
	make -s installcheck REGRESS= ISOLATION= PROVE_FLAGS=-j4
! is_wanted tap || sed -n 's/^test\/t\/\([^ ]*\) \.* \(skipped: .*\)/tap: \1 \2/p' "$work/tap.log"
[ ! -d "$work/record" ] || ! is_wanted tap || wanted+='conform '
suite conform 1 '' validate_record
suite logs 1 '' no_trouble_in "$work/server.log" $(find tmp_check/log -name '*.log' 2>/dev/null)
if can_fuzz; then
	suite fuzz "$(count_files test/fuzz/corpus -mindepth 1 -maxdepth 1 -type d)" '^Done [0-9]+ runs' \
		make -s -k -O -j2 fuzz FUZZ_CC="$(find_clang)" FUZZ_SECONDS="${FUZZ_SECONDS:-60}"
elif is_wanted fuzz; then
	echo "fuzz: not run, since there is no clang with libFuzzer"
fi
finish
