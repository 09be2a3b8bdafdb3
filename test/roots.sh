# roots.sh
#		What matrix.sh, fresh.sh, package.sh and assert.sh share: Debian roots made by
#		debootstrap, and commands that run in them.
#
# A root stays until it is removed, in $MATRIX_DIR, or else in clari_fdw/matrix in
# the user's cache directory.  This needs root or sudo.  Processes and mounts live in
# namespaces that go with their first process, so nothing of them stays, however the
# script ends.  To be sourced behind common.sh.

cache=${XDG_CACHE_HOME:-~/.cache} # also where HOME is not set
roots=$(realpath -m "${MATRIX_DIR:-$cache/clari_fdw/matrix}")

# The Debian mirror that the host uses itself, or else the public one.
find_mirror()
{
	local mirrors
	mirrors=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null |
		sed -nE 's#^(deb|URIs:) (.* )?(https?://[^/ ]+/debian)/?( .*)?$#\3#p') || :
	head -n 1 <<<"${mirrors:-http://deb.debian.org/debian}"
}

# Why no root can be made or entered here; nothing if one can.
why_no_roots()
{
	if ! can_be_root; then
		echo "neither root nor sudo"
	elif ! as_root unshare --mount --ipc --pid --fork mount -t tmpfs tmpfs /mnt 2>/dev/null; then
		echo "namespaces or mounts are not allowed here"
	elif ! [ -x /usr/sbin/debootstrap ] && ! output=$({ apt update || :
		apt install --no-install-recommends debootstrap debian-archive-keyring gpgv; } 2>&1); then
		echo "debootstrap cannot be installed: $output"
	fi
}

# Goes on as root, with the script's arguments; $work is a directory that goes when the script ends.
become_root()
{
	mkdir -p "$roots"
	if [ "$EUID" != 0 ]; then
		exec sudo env MATRIX_DIR="$roots" bash "$0" "$@"
	fi
	umask 022
	PATH=$PATH:/usr/sbin:/sbin
	child=
	work=$(mktemp -d /tmp/clari.XXXXXX)
	trap leave_roots EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

leave_roots()
{
	trap '' INT TERM HUP
	[ -z "$child" ] || kill -KILL "$child" 2>/dev/null || :
	# The last processes may still be on their way out.
	rm -rf "$work" 2>/dev/null || { sleep 1 && rm -rf "$work"; }
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

# Runs a command in a root: run_in ROOT COMMAND…, or run_in --copy ROOT COMMAND… where what it writes is thrown away.  It has
# the host's devices and network, and $work/tmp as /tmp.  Not by chroot, which forbids user namespaces: some tests want one.
run_in()
{
	local layer=
	if [ "$1" = --copy ]; then
		layer=$work/layer
		rm -rf "$layer"
		mkdir -p "$layer"/{upper,work,root}
		shift
	fi
	mkdir -p -m 1777 "$work/tmp"
	run bash -euc '
		work=$1 layer=$2 root=$3
		shift 3
		if [ -z "$layer" ]; then
			mount --bind "$root" "$root"
		elif mount -t overlay overlay -o "lowerdir=$root,upperdir=$layer/upper,workdir=$layer/work" "$layer/root" 2>/dev/null; then
			root=$layer/root
		else
			cp -a --reflink=auto "$root/." "$layer/root"
			root=$layer/root
			mount --bind "$root" "$root"
		fi
		mount -t proc proc "$root/proc"
		mount --rbind /dev "$root/dev"
		mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
		mount --bind "$work/tmp" "$root/tmp"
		cd "$root"
		pivot_root . mnt
		umount --lazy mnt
		exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 HOME=/root "$@"
	' bash "$work" "$layer" "$@"
}

passed=0
failed=0

# try NAME COMMAND…: shows how it went, and the end of what it printed, which is in $work/log, if it failed.
try()
{
	local name=$1 start=$SECONDS
	shift
	if "$@" >"$work/log" 2>&1; then
		passed=$((passed + 1))
		echo "$name: passed in $((SECONDS - start)) s"
	else
		failed=$((failed + 1))
		echo "$name: FAILED after $((SECONDS - start)) s"
		tail -n 100 "$work/log"
	fi
}

# The last line of what was tried; fails if any of it did.
finish_tries()
{
	echo "$passed passed, $failed failed"
	[ $failed = 0 ]
}

# Makes a root that is not there yet, a small Debian in which no service will start, and keeps others from using it until the
# script ends: make_root NAME SUITE [PACKAGE…].  Experimental is no system of its own: it is sid with another PostgreSQL.
make_root()
{
	local root=$roots/$1.new suite=${2/#experimental/sid} script mirror lock
	exec {lock}>"$roots/$1.lock"
	flock -n $lock || die "another one works in $roots/$1"
	[ ! -d "$roots/$1" ] || return 0
	script=/usr/share/debootstrap/scripts/$suite
	# A debootstrap older than the release treats it like the unstable one.
	[ -e "$script" ] || script=${script%/*}/sid
	mirror=$(find_mirror)
	echo "Making a Debian root: $roots/$1"
	rm -rf "$root"
	run debootstrap --variant=minbase --force-check-gpg \
		--include="sudo$([[ $mirror != https:* ]] || echo ,ca-certificates)" "$suite" "$root" "$mirror" "$script" \
		>"$work/log" 2>&1 || { tail "$work/log"; return 1; }
	printf '#!/bin/sh\nexit 101\n' | install -m 755 /dev/stdin "$root/usr/sbin/policy-rc.d" || return 1
	# A mirror may be old; its signatures are checked nevertheless.
	echo 'Acquire::Check-Valid-Until "false";' >"$root/etc/apt/apt.conf.d/matrix" || return 1
	if [ "$2" = experimental ]; then
		echo "deb $mirror experimental main" >"$root/etc/apt/sources.list.d/experimental.list" &&
			printf '%s\n' 'Package: src:postgresql-*' 'Pin: release a=experimental' 'Pin-Priority: 500' \
				>"$root/etc/apt/preferences.d/experimental" || return 1
	fi
	[ $# -eq 2 ] || run_in "$root" bash -c 'export DEBIAN_FRONTEND=noninteractive
		apt-get -qq update && apt-get -qq -y install --no-install-recommends "$@"' bash "${@:3}" \
		>"$work/log" 2>&1 || { tail "$work/log"; return 1; }
	# What is installed is then older than what can be installed, as on most machines; sid has no such source.
	[ "$suite" = sid ] ||
		echo "deb $mirror-security $suite-security main" >"$root/etc/apt/sources.list.d/security.list" || return 1
	mv "$root" "$roots/$1"
}
