#!/bin/bash
# matrix.sh
#		All tests on other versions of PostgreSQL: bash test/matrix.sh [--cached] [17] [18]
#
# Each version has a Debian root of its own, made by debootstrap, where check.sh runs
# as user postgres on a copy of the tree, without fuzzers.  A root stays until it is
# removed, about 2 GB, in $MATRIX_DIR, or else in clari_fdw/matrix in the user's
# cache directory.  Ends with "VERSION: N passed, M failed" for each.  With --cached,
# which is for .ci/run, a version is left out, with a word, if its root is not there yet.
#
# Needs root or sudo.  Processes and mounts live in namespaces that go with their
# first process, so nothing of them stays, however the script ends.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

declare -A release=([15]=bookworm [17]=trixie [18]=forky)

# The mirror that the host uses itself, if it is a Debian.
find_mirror()
{
	local mirrors
	mirrors=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
		sed -nE 's#^(deb|URIs:) (.* )?(https?://[^/ ]+/debian)/?( .*)?$#\3#p') || :
	head -n 1 <<<"${mirrors:-http://deb.debian.org/debian}"
}

# Runs the command in namespaces of its own, which end with it, with $child, or with this script.
run()
{
	local status=0
	setpriv --pdeathsig KILL unshare --mount --ipc --pid --fork --kill-child "$@" </dev/null &
	child=$!
	wait $child || status=$?
	child=
	return $status
}

# run_in ROOT COMMAND…: with the host's devices and network, and $work/tmp as /tmp.  Not by chroot, which forbids
# user namespaces: there are tests that want one.
run_in()
{
	run bash -euc '
		mount --bind "$1" "$1"
		mount -t proc proc "$1/proc"
		mount --rbind /dev "$1/dev"
		mount -t tmpfs -o mode=1777 tmpfs "$1/dev/shm"
		mount --bind "$0" "$1/tmp"
		cd "$1"
		pivot_root . mnt
		umount --lazy mnt
		exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root "${@:2}"
	' "$work/tmp" "$@"
}

# make_root ROOT SUITE: a small Debian, in which no service will start.
make_root()
{
	local root=$1.new script=/usr/share/debootstrap/scripts/$2
	# A debootstrap older than the release treats it like the unstable one.
	[ -e "$script" ] || script=${script%/*}/sid
	echo "Making a Debian root: $1"
	rm -rf "$root"
	run debootstrap --variant=minbase --include=ca-certificates --force-check-gpg "$2" "$root" "$(find_mirror)" \
		"$script" >"$work/log" 2>&1 || { tail "$work/log"; return 1; }
	printf '#!/bin/sh\nexit 101\n' | install -m 755 /dev/stdin "$root/usr/sbin/policy-rc.d" &&
		# A mirror may be old; its signatures are checked nevertheless.
		echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/matrix" &&
		mv "$root" "$1"
}

clean_up()
{
	trap '' INT TERM HUP
	[ -z "$child" ] || kill -KILL "$child" 2>/dev/null || :
	# The last processes may still be on their way out.
	rm -rf "$work" 2>/dev/null || { sleep 1 && rm -rf "$work"; }
}

cache=${XDG_CACHE_HOME:-~/.cache} # also where HOME is not set
dir=$(realpath -m "${MATRIX_DIR:-$cache/clari_fdw/matrix}")
cached=
if [ "${1:-}" = --cached ]; then
	cached=yes
	shift
fi
[ $# -gt 0 ] || set -- 17 18
for version; do
	shift
	[ -n "${release[$version]:-}" ] || die "no Debian release is known to have PostgreSQL $version"
	if [ -n "$cached" ] && [ ! -d "$dir/$version" ]; then
		echo "$version: not run, there is no root in $dir; bash test/matrix.sh $version makes one"
	else
		set -- "$@" "$version"
	fi
done
[ $# -gt 0 ] || exit 0
mkdir -p "$dir"
if [ "$EUID" != 0 ]; then
	[ -x "$(command -v sudo)" ] || die "cannot make a Debian root: neither root nor sudo"
	exec sudo env MATRIX_DIR="$dir" bash "$0" "$@"
fi
umask 022
PATH=$PATH:/usr/sbin:/sbin
unshare --mount --ipc --pid --fork mount -t tmpfs tmpfs /mnt 2>/dev/null ||
	die "cannot make a Debian root: namespaces or mounts are not allowed here"
[ -x "$(command -v debootstrap)" ] || output=$({ apt update &&
	apt install --no-install-recommends debootstrap debian-archive-keyring gpgv; } 2>&1) ||
	die "cannot make a Debian root: debootstrap is missing: $output"
child=
work=$(mktemp -d /tmp/clari.XXXXXX)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
exec 9>"$dir/lock"
flock -n 9 || die "another one works in $dir"
copy_tree
mkdir -m 1777 "$work/tmp"
mv "$work/tree" "$work/tmp"
chmod -R a+rX "$work/tmp/tree"
status=0 results=
for version; do
	rm -f "$work/tmp/log"
	{ [ -d "$dir/$version" ] || make_root "$dir/$version" "${release[$version]}"; } && run_in "$dir/$version" bash -c '
		dpkg --configure -a
		source /tmp/tree/test/common.sh
		install_packages
		runuser -u postgres -- env PG_CONFIG="/usr/lib/postgresql/$0/bin/pg_config" bash "$tree/test/check.sh" 2>&1 |
			tee /tmp/log
	' "$version" || status=1
	result=$(grep -Ex '[0-9]+ passed, [0-9]+ failed' "$work/tmp/log" 2>/dev/null) || result="failed, see above"
	results+="$version: $result"$'\n'
done
printf '%s' "$results"
exit $status
