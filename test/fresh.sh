#!/bin/bash
# fresh.sh
#		Both commands on machines that have never seen this project: bash test/fresh.sh [--demo] [ROOT…]
#
# Each machine is a throwaway copy of a Debian root (see roots.sh) with a clone of the
# last commit, and has nothing else of ours:
#
#	bare	Debian 12, the smallest
#	server	Debian 12 with PostgreSQL's server and libpq-dev, git and python3: with pg_config, but no server headers
#	library	Debian 12 with the development packages of libcurl and json-c, but no server
#	trixie	Debian 13, the smallest
#
# In each, demo.sh runs twice as root, and twice as a user with sudo, whose umask is
# 077; then once more with --psql, where the tour of README.md is followed.  check.sh
# runs in server, as the user, and in trixie, as root; with --demo, it does not run.
# A command that leaves a process or a file behind has failed, and so has one that
# upgrades a server.  Without names, all four roots.
#
# Ends with "N passed, M failed"; with 77 if this machine can make no roots.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
source "$tree/test/roots.sh"

declare -A packages=(
	[bare]=bookworm
	[server]='bookworm postgresql postgresql-contrib libpq-dev git python3'
	[library]='bookworm libcurl4-openssl-dev libjson-c-dev'
	[trixie]=trixie)

demo_only=
names=()
for argument; do
	case $argument in
		--demo) demo_only=yes ;;
		*) [ -n "${packages[$argument]:-}" ] && names+=("$argument") || die "there is no root $argument" ;;
	esac
done
[ ${#names[@]} -gt 0 ] || names=(bare server library trixie)

reason=$(why_no_roots)
if [ -n "$reason" ]; then
	echo "fresh: NOT RUN, 0 of ${#names[@]} machines: $reason"
	exit 77
fi
become_root "$@"

# on_machine ROOT USER COMMAND…: as root or developer, in a new copy of the root, on whose disk the clone is in the home directory.
on_machine()
{
	local root=$1 user=$2
	shift 2
	rm -rf "$work/tmp"
	mkdir -m 1777 "$work/tmp"
	cp -a "$work/clone" "$work/tmp/clone"
	run_in --copy "$roots/$root" bash -euc '
		user=$1
		shift
		if [ $user != root ]; then
			useradd -m -s /bin/bash $user
			echo "$user ALL=(ALL) NOPASSWD: ALL" >/etc/sudoers.d/$user
			echo "umask 077" >>/home/$user/.profile
		fi
		home=$(eval echo ~$user)
		cp -r --preserve=mode /tmp/clone $home/clari_fdw
		chown -R $user: $home/clari_fdw
		mv /tmp/clone /srv
		versions=$(dpkg-query -W "postgresql*" 2>/dev/null || :)
		status=0
		for command; do
			runuser -l $user -c "cd clari_fdw && $command" </dev/null || { echo "It failed: $command"; status=1; }
			# The last process of a command may still be on its way out.
			for _ in 1 2 3 4 5 6 7 8 9 10; do
				left=(/proc/[0-9]*)
				[ ${#left[@]} -gt 1 ] || break
				sleep 0.2
			done
			[ ${#left[@]} = 1 ] || { echo "It left processes behind:" $(readlink "${left[@]/%//exe}"); status=1; }
			[ -z "$(ls -A /tmp /var/tmp | grep clari)" ] || { echo "It left files behind: $(ls /tmp /var/tmp)"; status=1; }
			diff -r /srv/clone $home/clari_fdw || { echo "It changed the tree."; status=1; }
		done
		while read -r package version; do
			[ -z "$version" ] || [ "$(dpkg-query -W -f "\${Version}" "$package")" = "$version" ] ||
				{ echo "It upgraded $package."; status=1; }
		done <<<"$versions"
		exit $status
	' bash "$user" "$@"
}

# try_commands NAME ROOT USER COMMAND…: shows how a machine fared.
try_commands()
{
	try "$1" on_machine "${@:2}"
	grep -hE '^(Installing|The server is|[0-9]+ passed,|[a-z]+: [0-9]+ of)' "$work/log" | sed 's/^/    /' || :
}

# Whoever owns the tree; the second git that clone starts does not see options of the first.
printf '[safe]\n\tdirectory = *\n' >"$work/gitconfig"
export GIT_CONFIG_GLOBAL=$work/gitconfig
[ -z "$(git -C "$tree" status --porcelain)" ] || echo "What is not committed is not in the clone."
git clone -q --no-hardlinks "$tree" "$work/clone" || die "cannot clone $tree"
# The tour with a key in place of the dots, and without its last statement, which wants pg_cron.
tour="sed -n '/^\`\`\`sql$/,/^\`\`\`$/ { /^\`/d; /cron[.]schedule/d; s/…/any-key/; p }' README.md | bash test/demo.sh --psql"
for name in "${names[@]}"; do
	make_root "$name" ${packages[$name]} || { failed=$((failed + 1)); continue; }
	for user in root developer; do
		try_commands "$name: demo.sh as $user, twice, and --psql" "$name" $user 'bash test/demo.sh' 'bash test/demo.sh' "$tour"
	done
	[ -n "$demo_only" ] || case $name in
		server) try_commands "$name: check.sh as developer" "$name" developer 'bash test/check.sh' ;;
		trixie) try_commands "$name: check.sh as root" "$name" root 'bash test/check.sh' ;;
	esac
done
finish_tries
