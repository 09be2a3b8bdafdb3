# common.sh
#		What check.sh and demo.sh share.  Outside: installs what is missing, and
#		runs the script again on a copy of the tree and a copy of PostgreSQL below
#		one temporary directory.  Inside, in those copies: a throwaway server.
#
# The copies are why nothing is written to /usr, and why root can run it:
# PostgreSQL refuses to run as root, so there the inside is user postgres's.
# However a script ends, its processes and its directory go.

set -euo pipefail

work=${CLARI_WORK:-} # the temporary directory; empty outside, until it is made
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$(realpath --relative-to="$tree" "$0") # the one that sources this

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# ------- packages -------

as_root()
{
	if [ "$EUID" = 0 ]; then
		"$@"
	elif [ -x "$(command -v sudo)" ]; then
		sudo "$@"
	else
		die "cannot install packages: neither root nor sudo"
	fi
}

# Of PG_CONFIG, or else of the newest PostgreSQL; nothing if there is none.
find_pg_config()
{
	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG" || die "PG_CONFIG=$PG_CONFIG is not there"
	else
		find /usr/lib/postgresql -path '*/bin/pg_config' 2>/dev/null | sort -V | tail -n 1
	fi
}

postgres_is_complete()
{
	local config
	config=$(find_pg_config)
	[ -n "$config" ] && [ -x "$("$config" --bindir)/initdb" ] && [ -f "$("$config" --pgxs)" ]
}

# Prints the packages that are missing; PostgreSQL is one word, its version is not known yet.
missing_packages()
{
	local library module tool
	for tool in gcc make pkg-config python3 perl; do
		command -v $tool >/dev/null || echo $tool
	done
	[ -f /usr/include/stdio.h ] || echo libc6-dev
	[ -f /etc/ssl/certs/ca-certificates.crt ] || [ ! -x /usr/bin/apt-get ] || echo ca-certificates
	for library in libcurl:libcurl4-openssl-dev json-c:libjson-c-dev libcrypto:libssl-dev; do
		pkg-config --exists ${library%:*} 2>/dev/null || echo ${library#*:}
	done
	for module in JSON::PP HTTP::Tiny Test::More; do
		perl -M$module -e 1 2>/dev/null || { echo perl; break; }
	done
	perl -MIPC::Run -e 1 2>/dev/null || echo libipc-run-perl
	postgres_is_complete || echo postgresql
}

# The packages by name: a server of the version that is there already, or of the release's.
with_postgres_version()
{
	local config version
	config=$(find_pg_config)
	version=$("${config:-false}" --version 2>/dev/null | sed 's/^[^0-9]*\([0-9]*\).*/\1/') ||
		version=$(apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
	sed "s/^postgresql\$/postgresql-$version postgresql-server-dev-$version/; s/^postgresql-cron\$/postgresql-$version-cron/"
}

apt()
{
	as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -y -o Dpkg::Use-Pty=0 \
		-o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# Installs the given packages and what is missing, if anything; starts no service.
install_packages()
{
	local packages output status=0 dir=/etc/postgresql-common/createcluster.d
	packages="$(missing_packages) $*"
	packages=$(echo $packages)
	[ -n "$packages" ] || return 0
	[ -x "$(command -v apt-get)" ] || die "please install: $packages"
	echo "Installing Debian packages: $packages"
	output=$(apt update 2>&1) || die "$output"
	packages=$(tr ' ' '\n' <<<"$packages" | with_postgres_version)
	# A server that is installed makes a cluster and starts it, unless told not to.
	as_root mkdir -p $dir
	echo 'create_main_cluster = false' | as_root tee $dir/clari_fdw_test.conf >/dev/null
	output=$(apt install --no-install-recommends --no-upgrade $packages 2>&1) || status=$?
	as_root rm -f $dir/clari_fdw_test.conf
	as_root rmdir --ignore-fail-on-non-empty $dir
	[ $status = 0 ] || die "$output"
}

# Installs packages that the rest does without, where that can be done.
install_optional()
{
	{ [ "$EUID" = 0 ] || sudo -n true 2>/dev/null; } && (install_packages "$@") || echo "Going on without $*."
}

# ------- outside: the copies -------

# Tracked files and those that nobody told git to ignore, as they are now.
copy_tree()
{
	mkdir "$work/tree"
	cd "$tree"
	if [ -e .git ] && [ -x "$(command -v git)" ]; then
		git -c safe.directory='*' ls-files -co --exclude-standard -z
	else
		find . -path ./.git -prune -o -path ./build -prune -o -type f ! -name '*.o' -print0
	fi | while IFS= read -r -d '' file; do
		if [ -e "$file" ]; then printf '%s\0' "$file"; fi
	done | tar -c --null -T - | tar -x -C "$work/tree"
}

# PostgreSQL finds its files relative to its programs, so below $work they lie as they did below /.
copy_postgres()
{
	local config dir
	config=$(find_pg_config)
	for dir in "$("$config" --bindir)" "$("$config" --pkglibdir)" "$("$config" --sharedir)"; do
		mkdir -p "$work$dir"
		cp -a "$dir/." "$work$dir"
	done
	pg_config=$work$("$config" --bindir)/pg_config
	for dir in "$("$config" --includedir-server)" "$("$config" --libdir)"; do
		mkdir -p "$work${dir%/*}"
		[ -e "$work$dir" ] || ln -s "$dir" "$work$dir"
	done
	[ "$("$pg_config" --pkglibdir)" = "$work$("$config" --pkglibdir)" ] &&
		[ "$("$pg_config" --sharedir)" = "$work$("$config" --sharedir)" ] ||
		die "this PostgreSQL does not find its files when it is moved: $config"
}

# Processes of the inside: of its session, or of a program below $work (servers have sessions of their own).
list_processes()
{
	local dir stat exe
	for dir in /proc/[0-9]*; do
		{ read -r stat <"$dir/stat"; } 2>/dev/null || continue
		set -- ${stat##*) } # state, parent, group, session
		[ "${1:-Z}" != Z ] || continue
		exe=
		[ "${4:-}" = "$child" ] || exe=$(readlink "$dir/exe") || continue
		case $exe in '' | "$work"/*) echo "${dir#/proc/}" ;; esac
	done
}

# Servers get SIGQUIT, which ends them at once and leaves no shared memory behind.
clean_up()
{
	local tries=0 file
	trap '' INT TERM HUP
	if [ -n "$child" ]; then
		while [ -n "$(list_processes)" ] && [ $tries -lt 100 ]; do
			[ $tries -gt 0 ] || kill -TERM $(list_processes) 2>/dev/null || :
			for file in $(find "$work" -name postmaster.pid 2>/dev/null); do
				kill -QUIT "$(head -n 1 "$file" 2>/dev/null)" 2>/dev/null || :
			done
			tries=$((tries + 1))
			sleep 0.1
		done
		kill -KILL $(list_processes) 2>/dev/null || :
	fi
	cd /
	rm -rf "$work"
}

# Runs this script again, inside, with the arguments given; does not return.
run_inside()
{
	local account=() status=0 pg_config
	child=
	work=$(mktemp -d /tmp/clari.XXXXXX)
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	mkdir "$work/home" "$work/tmp"
	copy_tree
	copy_postgres
	if [ "$EUID" = 0 ]; then
		account=(setpriv --reuid=postgres --regid=postgres --init-groups)
		chown -Rh postgres: "$work"
	fi
	# A session of its own, to be ended as one.  TMPDIR is where tests put their sockets.
	setsid env -i --default-signal=INT,QUIT PATH="${pg_config%/*}:/usr/local/bin:/usr/bin:/bin" LC_ALL=C.UTF-8 \
		HOME="$work/home" TMPDIR="$work/tmp" PG_CONFIG="$pg_config" CLARI_WORK="$work" \
		${FUZZ_SECONDS:+FUZZ_SECONDS="$FUZZ_SECONDS"} ${SCAN_ROWS:+SCAN_ROWS="$SCAN_ROWS"} \
		${MERGE_ROWS:+MERGE_ROWS="$MERGE_ROWS"} \
		"${account[@]}" bash "$work/tree/$script" "$@" </dev/null &
	child=$!
	wait $child || status=$?
	exit $status
}

# ------- inside -------

# A throwaway server, by socket only; psql and pg_regress find it.  clean_up stops it.
start_server()
{
	export PGHOST=$work/tmp PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
	initdb -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$work/initdb.log" ||
		die "$(cat "$work/initdb.log")"
	cat >>"$work/data/postgresql.conf" <<-EOF
		listen_addresses = ''
		unix_socket_directories = '$work/tmp'
		max_worker_processes = 16
		fsync = off
	EOF
	pg_ctl -D "$work/data" -l "$work/server.log" -w start >/dev/null || die "$(cat "$work/server.log")"
}

# run_figures SCRIPT ROWS [PART…]: with the server's settings of standard input, and the simulator; ends as the script does.
run_figures()
{
	local status=0
	cat >>"$work/data/postgresql.conf"
	pg_ctl -D "$work/data" -l "$work/server.log" -w restart >/dev/null || die "$(cat "$work/server.log")"
	start_simulator --concurrent-limit 100 --monthly-quota 1000000
	echo "$("$PG_CONFIG" --version), $(nproc) cores, $2 rows, load $(cut -d ' ' -f 1-3 /proc/loadavg)"
	perl -I test/t -I test/bench "$1" "$simulator_port" "${@:2}" || status=$?
	echo "load at the end $(cut -d ' ' -f 1-3 /proc/loadavg)"
	exit $status
}

stop_server()
{
	pg_ctl -D "$work/data" -m fast -w stop >/dev/null
}

# The simulator with the given settings, at $simulator_port; clean_up stops it.
start_simulator()
{
	python3 "$tree/test/clari_sim.py" serve --port-file "$work/port" --exit-with-parent "$@" >"$work/simulator.log" 2>&1 &
	for _ in {1..100}; do
		if [ -s "$work/port" ]; then
			simulator_port=$(cat "$work/port")
			return
		fi
		sleep 0.1
	done
	die "$(cat "$work/simulator.log")"
}
