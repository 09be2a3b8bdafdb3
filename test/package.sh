#!/bin/bash
# package.sh
#		The Debian package, made, tested and removed on fresh machines: bash test/package.sh [--build-only] [ROOT…]
#
# ROOT is bare (Debian 12) or trixie (Debian 13), a root of fresh.sh; both, if none is
# named.  In a throwaway copy of it, a user makes the package by dpkg-buildpackage,
# which runs the regress and isolation tests; then it is installed, and
# debian/tests/installcheck runs all tests on it, or, with --build-only, none.  In
# another copy, which has a PostgreSQL server and nothing to build with, it is
# installed, used and purged, and must leave no file behind.
#
# Ends with "N passed, M failed"; with 77 if this machine can make no roots.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$tree/test/roots.sh"

declare -A release=([bare]=bookworm [trixie]=trixie)

arguments=("$@")
tests=yes
if [ "${1:-}" = --build-only ]; then
	tests=
	shift
fi
[ $# -gt 0 ] || set -- bare trixie
for name; do
	[ -n "${release[$name]:-}" ] || die "there is no root $name"
done
reason=$(why_no_roots)
if [ -n "$reason" ]; then
	echo "package: NOT RUN, 0 of $# machines: $reason"
	exit 77
fi
become_root "${arguments[@]}"

# What runs in a root begins with this: apt-get, quietly, without what is only recommended, and without a cluster that starts.
in_root='
	set -euo pipefail
	export DEBIAN_FRONTEND=noninteractive
	get() { apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends "$@" </dev/null; }
	mkdir -p /etc/postgresql-common/createcluster.d
	echo "create_main_cluster = false" >/etc/postgresql-common/createcluster.d/test.conf
	get update
'

# Builds in /home/builder/tree, and leaves the package in /tmp/packages.
build_package=$in_root'
	useradd -m builder
	cp -r /tmp/tree /home/builder/tree
	chown -R builder: /home/builder
	cd /home/builder/tree
	get install build-essential fakeroot
	get build-dep .
	runuser -u builder -- env DEB_BUILD_OPTIONS=parallel=2 dpkg-buildpackage -us -uc
	mkdir /tmp/packages
	cp ../postgresql-[0-9]*-clari-fdw_*.deb /tmp/packages
	[ -n "$1" ] || exit 0
	get install /tmp/packages/*.deb libipc-run-perl openssl python3 ca-certificates
	debian/tests/installcheck
'

# What a new user does with the package, in a root with a server only.
use_package=$in_root'
	list_files() { find / -xdev \( -path /proc -o -path /tmp -o -path /var/lib/apt -o -path /var/cache -o -path /var/lib/dpkg -o -path /var/log \) -prune -o -print | sort; }
	package=$(dpkg-deb -f /tmp/packages/*.deb Package)
	version=$(tr -dc 0-9 <<<"$package")
	get install "postgresql-$version"
	# What it depends on stays: it may be of use to others.
	get install $(dpkg-deb -f /tmp/packages/*.deb Depends | sed "s/ *([^)]*)//g; s/|[^,]*//g; s/,/ /g")
	list_files >/tmp/before
	get install /tmp/packages/*.deb
	dpkg -L "$package" >/tmp/contents
	cd /
	runuser -u postgres -- pg_virtualenv -v "$version" psql -X -v ON_ERROR_STOP=1 <<-"SQL" >/tmp/shown
		CREATE EXTENSION clari_fdw;
		CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw;
		CREATE SCHEMA clari;
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari OPTIONS (periods $$2026_Q1$$);
		EXPLAIN (COSTS OFF) SELECT * FROM clari.forecasts;
		SELECT library || $$ = $$ || extension FROM clari_version();
	SQL
	grep -q "Periods: 2026_Q1" /tmp/shown && grep -Eq "^ ([0-9.]+) = \1" /tmp/shown || { cat /tmp/shown; exit 1; }
	grep -qx "/usr/share/doc/$package/doc/clari_fdw.md.*" /tmp/contents || { cat /tmp/contents; exit 1; }
	get purge "$package"
	list_files >/tmp/after
	diff /tmp/before /tmp/after || { echo "It left files behind."; exit 1; }
'

for name; do
	make_root "$name" "${release[$name]}" || { failed=$((failed + 1)); continue; }
	rm -rf "$work/tmp" "$work/tree"
	mkdir -m 1777 "$work/tmp"
	copy_tree
	mv "$work/tree" "$work/tmp"
	chmod -R a+rX "$work/tmp/tree"
	try "$name: dpkg-buildpackage${tests:+, and all tests on what is installed}" \
		run_in --copy "$roots/$name" bash -c "$build_package" bash "$tests"
	[ -d "$work/tmp/packages" ] || continue
	(cd "$work/tmp/packages" && printf '    %s\n' *)
	try "$name: install, use, purge" run_in --copy "$roots/$name" bash -c "$use_package"
done
finish_tries
