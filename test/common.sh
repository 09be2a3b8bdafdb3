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
umask 022 # for what is installed, and for the copies, which another user reads

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

[ -z "${PG_CONFIG:-}" ] || command -v "$PG_CONFIG" >/dev/null || die "PG_CONFIG=$PG_CONFIG is not there"

# ------- packages -------

# Where the inside looks for programs: Debian's come before what somebody put into /usr/local, which may lack their modules.
tools=/usr/bin:/bin:/usr/local/bin

as_root()
{
	if [ "$EUID" = 0 ]; then
		"$@"
	else
		sudo "$@"
	fi
}

# Whether as_root will work; sudo may ask for a password now.
can_be_root()
{
	[ "$EUID" = 0 ] || sudo true 2>/dev/null
}

# in_tools COMMAND…: quietly, with the environment that it has inside.
in_tools()
{
	env -i PATH="$tools" LC_ALL=C.UTF-8 "$@" >/dev/null 2>&1
}

# compiles SOURCE FLAGS…: whether it can be compiled and, without -fsyntax-only, linked.
compiles()
{
	in_tools gcc -x c -o /dev/null - "${@:2}" <<<"$1"
}

has_library()
{
	in_tools pkg-config --exists "$1" &&
		compiles "#include <$2>
		int main(void) { return 0; }" $(PATH=$tools pkg-config --cflags --libs "${1%% *}")
}

major_version()
{
	"$1" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/'
}

has_server()
{
	[ "$(major_version "$1")" -ge 15 ] && in_tools "$("$1" --bindir)/postgres" --version && in_tools "$("$1" --bindir)/initdb" --version
}

# Whether extensions can be built: pgxs.mk, which may come with psql, says nothing of the headers.
has_headers()
{
	[ -f "$("$1" --pgxs)" ] && compiles '#include "postgres.h"' -fsyntax-only -isystem "$("$1" --includedir-server)"
}

# Without the file that it was built to read, libcurl refuses each https server before it has asked it anything.
has_authorities()
{
	local file
	file=$(PATH=$tools curl-config --ca) && { [ -z "$file" ] || [ -s "$file" ]; }
}

has_american()
{
	[ "$(env -i PATH="$tools" LC_ALL=C.UTF-8 hunspell -d en_US -l <<<'color colour')" = colour ]
}

has_test_programs()
{
	local pgxs
	pgxs=$("$1" --pgxs) && pgxs=${pgxs%/makefiles/*} && [ -x "$pgxs/test/regress/pg_regress" ] &&
		[ -x "$pgxs/test/isolation/pg_isolation_regress" ] && [ -f "$pgxs/test/perl/PostgreSQL/Test/Cluster.pm" ] &&
		compiles 'int main(void) { return 0; }' -L"$("$1" --pkglibdir)" -L"$("$1" --libdir)" -lpgcommon -lpgport
}

# Of PG_CONFIG, or else of the newest server that has its headers, or else of the newest; nothing if there is none.
find_pg_config()
{
	local config server=
	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG"
		return
	fi
	for config in $(find /usr/lib/postgresql -path '*/bin/pg_config' 2>/dev/null | sort -Vr); do
		has_server "$config" || continue
		server=${server:-$config}
		if has_headers "$config"; then
			server=$config
			break
		fi
	done
	echo "$server"
}

# need PACKAGES WHAT COMMAND…: prints a line of the packages and what is missing, if the command fails.
need()
{
	"${@:3}" 2>/dev/null || printf '%s\t%s\n' "$1" "$2"
}

# What is missing to build and run, found by trying it: lines of packages, a tab, and what they are for.  @ is PostgreSQL's
# version, which is not known yet.
missing_to_build()
{
	local config
	config=$(find_pg_config)
	need 'gcc libc6-dev' 'a C compiler' compiles '#include <stdio.h>
		int main(void) { return puts("") < 0; }'
	need make make in_tools make --version
	need pkg-config pkg-config in_tools pkg-config --version
	need libcurl4-openssl-dev 'libcurl 7.87 or later' has_library 'libcurl >= 7.87' curl/curl.h
	need libjson-c-dev json-c has_library json-c json.h
	need libssl-dev OpenSSL has_library libcrypto openssl/evp.h
	need python3 'python3 with its standard library' in_tools python3 -B -c \
		'import runpy, sys; runpy.run_path(sys.argv[1])' "$tree/test/clari_sim.py"
	need postgresql-@ 'a PostgreSQL server, 15 or later' [ -n "$config" ]
	need postgresql-server-dev-@ "the PostgreSQL server's headers" has_headers "${config:-false}"
}

# Also what the tests need.
missing_to_test()
{
	local config
	config=$(find_pg_config)
	missing_to_build
	need gcc "gcc's sanitizers" compiles 'int main(void) { return 0; }' -fsanitize=address,undefined
	need perl 'perl with its standard modules' in_tools perl -MJSON::PP -MHTTP::Tiny -MTest::More -MTime::HiRes -e 1
	need perl prove in_tools prove --version
	need libipc-run-perl "perl's IPC::Run" in_tools perl -MIPC::Run -e 1
	need openssl openssl in_tools openssl version
	need 'hunspell hunspell-en-us' 'hunspell with its American dictionary' has_american
	need ca-certificates 'the certificates that libcurl trusts' has_authorities
	need postgresql-server-dev-@ "PostgreSQL's test programs" has_test_programs "${config:-false}"
}

# Which version of PostgreSQL to install packages for: the one that is there, or else the release's.
package_version()
{
	local config
	config=$(find_pg_config)
	if [ -n "$config" ]; then
		major_version "$config"
	else
		apt-cache depends postgresql | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1
	fi
}

apt()
{
	as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -qq -y -o Dpkg::Use-Pty=0 \
		-o DPkg::Lock::Timeout=300 "$@" </dev/null
}

# Installs packages; starts no service, and upgrades nothing that they can do without (apt would upgrade, and so restart, a
# server with the headers that come from the same source).
apt_install()
{
	local status=0 dir=/etc/postgresql-common/createcluster.d
	# A server that is installed makes a cluster and starts it, unless told not to.
	as_root mkdir -p $dir
	echo 'create_main_cluster = false' | as_root tee $dir/clari_fdw_test.conf >/dev/null
	apt install --no-install-recommends --no-upgrade -o APT::Get::Upgrade-By-Source-Package=false "$@" || status=$?
	as_root rm -f $dir/clari_fdw_test.conf
	as_root rmdir --ignore-fail-on-non-empty $dir
	return $status
}

# Of the packages given those that are not installed.
not_installed()
{
	local package
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done | sort -u
}

# The packages, @ in whose names is PostgreSQL's version, unless they are installed.
get_packages()
{
	local packages lists output
	[ -x "$(command -v apt-get)" ] || die "this is not Debian; please install what it has in the packages ${*//@/NN}"
	can_be_root || die "cannot install packages, as neither root nor by sudo: $(not_installed ${*//@/$(package_version)} | xargs)"
	# Of the package sources one may be out of order that is not needed.
	lists=$(apt update 2>&1) || :
	packages=$(not_installed ${*//@/$(package_version)} | xargs)
	[ -n "$packages" ] || return 0
	echo "Installing Debian packages: $packages"
	output=$(apt_install $packages 2>&1) || die "cannot install packages
$(grep -E '^[EW]:' <<<"$lists"$'\n'"$output" | head -n 10)
Please install them by hand, and run this again: apt-get install $packages"
}

# Installs what a list tells that is missing; ends the script if something still is: install_packages missing_to_test.
install_packages()
{
	local lines
	lines=$("$1")
	if [ -n "$lines" ]; then
		get_packages $(cut -f 1 <<<"$lines")
		lines=$("$1")
		[ -z "$lines" ] || die "still missing:
$(sed -E "s/@/$(package_version)/g; s/(.*)\t(.*)/  \2 (Debian's \1)/" <<<"$lines")"
	fi
	tell_versions
}

# One line if the server and its headers are of different minor versions, which does not matter.
tell_versions()
{
	local config server headers
	config=$(find_pg_config)
	server=$("$("$config" --bindir)/postgres" --version | sed 's/^[^0-9]*\([0-9.]*\).*/\1/')
	headers=$(sed -n 's/^#define PG_VERSION "\([0-9.]*\).*/\1/p' "$("$config" --includedir-server)"/pg_config*.h | head -n 1)
	[ "$server" = "$headers" ] || echo "The server is PostgreSQL $server, and its headers are of $headers; this works."
}

# Installs packages that the rest does without, where that can be done.
install_optional()
{
	{ [ "$EUID" = 0 ] || sudo -n true 2>/dev/null; } && (get_packages "$@") || echo "Going on without $*."
}

# ------- validation against Clari's document -------

# Whose validation is that of npm's `prism proxy`.
validator=@stoplight/prism-http@5.12.0
validator_dir=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/clari_fdw/${validator##*/}

# Why the tests' exchanges cannot be held against the document $CLARI_OPENAPI (see conform.sh), or nothing if they can; what
# that takes is installed then.
why_no_validation()
{
	local output
	if ! [ -f "${CLARI_OPENAPI:-}" ]; then
		echo "there is no document${CLARI_OPENAPI:+ $CLARI_OPENAPI}"
	elif ! in_tools node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)'; then
		echo "there is no node, 18 or later"
	elif ! can_validate && ! [ -x "$(PATH=$tools command -v npm)" ]; then
		echo "there is no npm"
	elif ! can_validate && ! output=$(npm install --ignore-scripts --no-audit --no-fund --prefix "$validator_dir" $validator 2>&1); then
		echo "npm cannot install $validator: $(tail -n 1 <<<"$output")"
	elif ! can_validate; then
		echo "$validator does not work"
	fi
}

can_validate()
{
	in_tools node -e 'require(process.argv[1])' "$validator_dir/node_modules/@stoplight/prism-http"
}

# For the inside, as another user, who may read neither.
copy_validator()
{
	mkdir "$work/validator" "$work/record"
	cp -a "$validator_dir/node_modules" "$work/validator"
	cp "$CLARI_OPENAPI" "$work/validator/openapi.yml"
}

# Inside: of what the simulator has recorded since CLARI_SIM_RECORD=$work/record was exported.
validate_record()
{
	NODE_PATH=$work/validator/node_modules node test/conform.js "$work/validator/openapi.yml" "$work/record"
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
		if [[ $dir != /usr/* ]]; then
			# Of somebody's own PostgreSQL, which another user may not be able to read.
			mkdir -p "$work$dir"
			cp -a "$dir/." "$work$dir"
		elif [ ! -e "$work$dir" ]; then
			ln -s "$dir" "$work$dir"
		fi
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

# Makes $work where programs may run and most space is (from Debian 13 on, /tmp is in memory); it goes when the script ends.
make_work()
{
	local dir most=0 space
	child=
	trap clean_up EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	for dir in $(mktemp -d /tmp/clari.XXXXXX) $(mktemp -d /var/tmp/clari.XXXXXX); do
		cp /bin/true "$dir"
		space=$(df --output=avail "$dir" | tail -n 1)
		if "$dir/true" 2>/dev/null && [ $((space * 9 / 10)) -gt $most ]; then
			rm -rf "$work"
			work=$dir
			most=$space
		else
			rm -rf "$dir"
		fi
	done
	[ -n "$work" ] || die "neither in /tmp nor in /var/tmp programs may be run"
	rm "$work/true"
	mkdir "$work/home" "$work/tmp"
}

# Outside, with the arguments of the inside: what else a script puts below $work.  One that does defines it anew.
prepare_inside() { :; }

# Starts this script again, inside, with the arguments given, as $child.
start_inside()
{
	local account=() user=postgres settings=() name
	make_work
	copy_tree
	copy_postgres
	[ -z "${CLARI_OPENAPI:-}" ] || copy_validator
	prepare_inside "$@"
	if [ "$EUID" = 0 ]; then
		id -u $user >/dev/null 2>&1 || user=nobody # as where PostgreSQL is no package
		account=(setpriv --reuid=$user --regid="$(id -g $user)" --init-groups)
		chown -Rh $user: "$work"
	fi
	for name in FUZZ_SECONDS SCAN_ROWS MERGE_ROWS SQLSMITH_SECONDS SQLSMITH_SEED PG_TEST_TIMEOUT_DEFAULT; do
		[ -z "${!name:-}" ] || settings+=("$name=${!name}")
	done
	# A session of its own, to be ended as one.  TMPDIR is where tests put their sockets.
	setsid env -i --default-signal=INT,QUIT PATH="${pg_config%/*}:$tools" LC_ALL=C.UTF-8 HOME="$work/home" \
		TMPDIR="$work/tmp" PG_CONFIG="$pg_config" CLARI_WORK="$work" "${settings[@]}" \
		"${account[@]}" bash "$work/tree/$script" "$@" </dev/null &
	child=$!
}

# The same, and ends as that ends.
run_inside()
{
	local status=0
	start_inside "$@"
	wait $child || status=$?
	exit $status
}

# ------- inside -------

# start_server [DIRECTORY PORT]: a throwaway server, by socket only; psql and pg_regress find it.  clean_up stops it.
start_server()
{
	local data=$work/${1:-data}
	export PGHOST=$work/tmp PGPORT=${2:-5432} PGUSER=postgres PGDATABASE=postgres
	initdb -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$work/initdb.log" ||
		die "$(cat "$work/initdb.log")"
	cat >>"$data/postgresql.conf" <<-EOF
		listen_addresses = ''
		unix_socket_directories = '$work/tmp'
		max_worker_processes = 16
		fsync = off
	EOF
	pg_ctl -D "$data" -o "-p $PGPORT" -l "$work/server.log" -w start >/dev/null || die "$(cat "$work/server.log")"
}

# no_trouble_in LOG…: fails, and shows where, if a server failed an assertion, crashed (tests kill servers, but not by
# these signals), panicked, wrote beyond what it had allocated, or did not give back what it held.
no_trouble_in()
{
	! grep -A 15 -aE '^TRAP:|PANIC:  |was terminated by signal (4|6|7|8|11):|WARNING: .*(leak|still referenced|not closed|problem in )' \
		"$@" /dev/null
}

# control VERB JSON: of the simulator.
control()
{
	python3 -c 'import sys, urllib.request; urllib.request.urlopen(*[sys.argv[1], sys.argv[2].encode()])' \
		"http://127.0.0.1:$simulator_port/_control/$1" "$2"
}

# pass_weeks FIRST LAST: of each it is as if it had passed, since the history is dated back; then a tenth of the owners have
# other amounts at Clari, and the current quarter is synced.
pass_weeks()
{
	local week
	for ((week = $1; week <= $2; week++)); do
		control set "{\"settings\": {\"version\": $((10 * week)), \"drift\": 1000000}}"
		psql -X -q -v ON_ERROR_STOP=1 <<-SQL
			SET client_min_messages = warning;
			UPDATE clari_forecasts_history SET valid_from = valid_from - interval '7 days', valid_to = valid_to - interval '7 days';
			CALL clari_sync('clari.forecasts', '{current}');
		SQL
	done
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
