#!/bin/bash
# assert.sh
#		The tests on a PostgreSQL that checks itself: bash test/assert.sh [SUITE…]
#
# Builds PostgreSQL from Debian's source package, of the version that check.sh would
# take, with assertions, with checks of what is written beyond allocated memory, and
# with catalog caches that forget an entry as soon as nobody holds it any more: who
# uses one without holding it fails at the first test, and not once in a year.  Then
# check.sh runs its suites regress, isolation and tap on it, or those that are named.
#
# The build takes some minutes and 100 MB, and stays until it is removed, in the
# directory that roots.sh tells, as assert-VERSION.  Where the newest version's source
# is not served, an older one's is taken.  The tests take some times as long as
# elsewhere.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$tree/test/roots.sh"

# apt-get or apt-cache with package lists of our own: few machines list sources.  Signatures are checked.
apt_source()
{
	"$1" -qq -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" -o APT::Sandbox::User=root \
		-o Acquire::Check-Valid-Until=false "${@:2}"
}

# Unpacks the newest source of the major version that is served: $work/source.  Without Debian's patches, by which it
# would look for its libraries in /usr.
get_source()
{
	local package=postgresql-$1 suite mirror versions version
	suite=$(source /etc/os-release && echo "${VERSION_CODENAME:-}")
	mirror=$(find_mirror)
	mkdir -p "$work"/apt/{lists,cache/archives}/partial "$work/source"
	printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s main\n' \
		"$mirror $suite" "$mirror-security $suite-security" >"$work/apt/sources.list"
	apt_source apt-get update || :
	versions=$(apt_source apt-cache showsrc "$package" | sed -n 's/^Version: //p' | sort -rVu)
	for version in $versions; do
		if (cd "$work/apt" && apt_source apt-get source --download-only --tar-only "$package=$version") 2>"$work/log"; then
			tar -xf "$work/apt/$package"_*.orig.tar.* --strip-components=1 -C "$work/source"
			return
		fi
		echo "The source of PostgreSQL $version cannot be had: $(grep -m 1 '^E: ' "$work/log")"
	done
	die "no source of $package in Debian $suite at $mirror"
}

# Builds the source in $work, as assert-VERSION in the cache directory.
build_postgres()
{
	local prefix
	cd "$work/source"
	prefix=$roots/assert-$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" configure)
	echo "Building PostgreSQL with assertions: $prefix"
	rm -rf "$prefix.new"
	{
		./configure --prefix="$prefix" --enable-cassert --enable-debug --enable-tap-tests --with-icu --without-readline \
			CFLAGS=-O1 CPPFLAGS='-DRELCACHE_FORCE_RELEASE -DCATCACHE_FORCE_RELEASE' &&
			make -s -j2 world-bin && make -s install-world-bin DESTDIR="$prefix.new"
	} >"$work/log" 2>&1 || die "$(tail -n 20 "$work/log")"
	mv "$prefix.new$prefix" "$prefix"
	rm -rf "$prefix.new"
}

# The newest build of the major version; nothing if there is none.
find_build()
{
	find "$roots" -maxdepth 1 -name "assert-$1[.a-z]*" ! -name '*.new' 2>/dev/null | sort -V | tail -n 1
}

version=$(package_version)
[ -n "$(find_build "$version")" ] || (
	get_packages gcc libc6-dev make pkg-config perl libipc-run-perl bison flex libicu-dev zlib1g-dev bzip2 debian-archive-keyring
	mkdir -p "$roots"
	exec {lock}>"$roots/assert.lock"
	flock -n $lock || die "another one builds in $roots"
	make_work
	get_source "$version"
	build_postgres
)
[ $# -gt 0 ] || set -- regress isolation tap
PG_CONFIG=$(find_build "$version")/bin/pg_config PG_TEST_TIMEOUT_DEFAULT=${PG_TEST_TIMEOUT_DEFAULT:-600} \
	exec bash "$tree/test/check.sh" "$@"
