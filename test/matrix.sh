#!/bin/bash
# matrix.sh
#		All tests on other versions of PostgreSQL: bash test/matrix.sh [--cached] [17] [18] [19]
#
# Each version has a Debian root of its own (see roots.sh), about 2 GB, where check.sh
# runs as user postgres on a copy of the tree, without fuzzers.  Ends with "VERSION: N
# passed, M failed" for each.  With --cached, which is for .ci/run, a version is left
# out, with a word, if its root is not there yet.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$tree/test/roots.sh"

declare -A release=([15]=bookworm [17]=trixie [18]=forky [19]=experimental)

cached=
if [ "${1:-}" = --cached ]; then
	cached=yes
	shift
fi
[ $# -gt 0 ] || set -- 17 18 19
for version; do
	shift
	[ -n "${release[$version]:-}" ] || die "no Debian release is known to have PostgreSQL $version"
	if [ -n "$cached" ] && [ ! -d "$roots/$version" ]; then
		echo "$version: not run, there is no root in $roots; bash test/matrix.sh $version makes one"
	else
		set -- "$@" "$version"
	fi
done
[ $# -gt 0 ] || exit 0
reason=$(why_no_roots)
[ -z "$reason" ] || die "cannot make a Debian root: $reason"
become_root "$@"
status=0 results=
for version; do
	rm -rf "$work/tmp" "$work/tree"
	copy_tree
	mkdir -m 1777 "$work/tmp"
	mv "$work/tree" "$work/tmp"
	chmod -R a+rX "$work/tmp/tree"
	make_root "$version" "${release[$version]}" "postgresql-$version" && run_in "$roots/$version" bash -c '
		dpkg --configure -a
		source /tmp/tree/test/common.sh
		install_packages missing_to_test
		runuser -u postgres -- env PG_CONFIG="/usr/lib/postgresql/$0/bin/pg_config" bash "$tree/test/check.sh" 2>&1 |
			tee /tmp/log
	' "$version" || status=1
	result=$(grep -Ex '[0-9]+ passed, [0-9]+ failed' "$work/tmp/log" 2>/dev/null) || result="failed, see above"
	results+="$version: $result"$'\n'
done
printf '%s' "$results"
exit $status
