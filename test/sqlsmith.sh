#!/bin/bash
# sqlsmith.sh
#		Random queries that harm nobody: bash test/sqlsmith.sh
#
# Two processes of sqlsmith (Debian's package) run random statements as an ordinary
# role that may use all of clari_fdw's functions, on the six tables of a forecast, on
# a partitioned table of such, and on the tables that clari_create_tables() makes; all
# is cached at first, and what they invalidate or refresh comes from the simulator,
# whose quota lasts.  Fails if
#
#	- a process crashes, panics, hangs, or leaks what it should have given back;
#	- an internal error (XX000) comes from this extension's code;
#	- any other internal error comes that the same statement does not raise on heap
#	  tables of the same names and rows, in another database: PostgreSQL has some of
#	  its own that such statements find;
#	- the rows are no longer those that were there at first, or none were read.
#
# Takes from the environment SQLSMITH_SECONDS (1200), SQLSMITH_SEED (1; the second
# process has the next one) and PG_CONFIG (the newest PostgreSQL; see assert.sh for
# one that checks itself).  See common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

if [ -z "$work" ]; then
	install_packages missing_to_test
	[ -x /usr/bin/sqlsmith ] || get_packages sqlsmith
	run_inside
fi

seconds=${SQLSMITH_SECONDS:-1200}
seed=${SQLSMITH_SEED:-1}

# in_database NAME [OPTION…]: the SQL of standard input, whose errors are ours.
in_database()
{
	psql -X -q -A -t -v ON_ERROR_STOP=1 -d "$@"
}

# Database clari with the foreign tables in schema clari, and heap with the same rows in tables of the same names.
make_databases()
{
	createdb clari
	in_database clari -v base_url="http://127.0.0.1:$simulator_port/v4" <<-'SQL'
		CREATE EXTENSION clari_fdw;
		CREATE ROLE smith LOGIN IN ROLE pg_monitor;
		CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw
			OPTIONS (base_url :'base_url', poll_interval '10ms', cache_ttl '1d', closed_period_ttl '1d');
		CREATE USER MAPPING FOR smith SERVER clari OPTIONS (api_key 'test-key');
		GRANT USAGE ON FOREIGN SERVER clari TO smith;
		GRANT EXECUTE ON ALL ROUTINES IN SCHEMA public TO smith;
		CREATE SCHEMA clari AUTHORIZATION smith;
		CREATE SCHEMA heap AUTHORIZATION smith;
		ALTER ROLE smith SET search_path = clari, public;
		SET ROLE smith;
		SET search_path = clari, public;
		SET client_min_messages = warning;
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari OPTIONS (periods '2026_Q1..2026_Q4');
		CREATE TABLE quarters (LIKE forecasts) PARTITION BY LIST (time_period);
		CREATE FOREIGN TABLE first PARTITION OF quarters FOR VALUES IN ('2026_Q1')
			SERVER clari OPTIONS (object 'forecasts', forecast 'net_arr', periods '2026_Q1');
		CREATE FOREIGN TABLE second PARTITION OF quarters FOR VALUES IN ('2026_Q2')
			SERVER clari OPTIONS (object 'forecasts', forecast 'net_arr', periods '2026_Q2');
		SELECT clari_create_tables() \g /dev/null
		CALL clari_sync('forecasts');
		INSERT INTO staging_clari SELECT * FROM forecasts WHERE owner_email IS NOT NULL;
		SELECT format('CREATE TABLE heap.%1$I AS TABLE clari.%1$I', relname) FROM pg_class
		WHERE relkind = 'f' AND relnamespace = 'clari'::regnamespace \gexec
		RESET ROLE;
		-- What the functions take: sqlsmith takes a value that it cannot write from a column of its type.
		CREATE TABLE argument AS SELECT oid::regclass AS relation, '{2026_Q3}'::text[] AS periods
		FROM pg_class WHERE relkind IN ('f', 'r', 'p') AND relnamespace = 'clari'::regnamespace;
		GRANT SELECT ON argument TO smith;
	SQL
	createdb -T clari heap
	in_database clari <<<'SET client_min_messages = warning; DROP SCHEMA heap CASCADE'
	in_database heap <<-'SQL'
		SELECT format('DROP FOREIGN TABLE clari.%1$I; ALTER TABLE heap.%1$I SET SCHEMA clari', relname) FROM pg_class
		WHERE relkind = 'f' AND relnamespace = 'clari'::regnamespace \gexec
		ALTER TABLE clari.quarters ATTACH PARTITION clari.first FOR VALUES IN ('2026_Q1');
		ALTER TABLE clari.quarters ATTACH PARTITION clari.second FOR VALUES IN ('2026_Q2');
	SQL
}

# The rows of the foreign tables, or of the heap's, without the time of the export, which a refresh changes.
digest_of_rows()
{
	in_database "$1" <<-'SQL'
		SET ROLE smith;
		SELECT format($$SELECT '%1$s', count(*), md5(string_agg(r, ';' ORDER BY r COLLATE "C"))
			FROM (SELECT (to_jsonb(t) - 'exported_at')::text FROM clari.%1$I t) x (r)$$, name)
		FROM unnest('{forecasts,entries,users,fields,time_periods,time_frames,quarters}'::text[]) name \gexec
	SQL
}

# What clari_fdw's functions are: lines of file and name, as an error's location tells them.
own_functions()
{
	local file
	for file in clari_fdw.c src/*/*.c; do
		sed -n "s/^\([A-Za-z_0-9]*\)(.*/${file##*/}\t\1/p" "$file"
	done
}

# Internal errors of the server's log so far, as view internal_error in database heap.
load_log()
{
	in_database heap <<-SQL
		SET client_min_messages = warning;
		DROP TABLE IF EXISTS log CASCADE;
		CREATE TABLE log (line jsonb);
		COPY log FROM '$work/data/log/server.json' (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02');
		CREATE VIEW internal_error AS
		SELECT line->>'dbname' AS database, line->>'statement' AS statement, line->>'message' AS message,
			format('%s, %s:%s', line->>'func_name', line->>'file_name', line->>'file_line_num') AS location,
			(line->>'file_name', line->>'func_name') IN (TABLE own) AS is_own
		FROM log WHERE line->>'state_code' LIKE 'XX%';
		GRANT SELECT ON internal_error TO smith;
	SQL
}

# Fails, and shows them, if there are statements that sqlsmith's time-out of a second has not ended.
no_hanging()
{
	local left
	for _ in {1..60}; do
		left=$(in_database clari <<<"SELECT pid, wait_event, query FROM pg_stat_activity WHERE usename = 'smith'")
		[ -n "$left" ] || return 0
		sleep 0.5
	done
	printf 'These hang:\n%s\n' "$left"
	return 1
}

# Fails if there were internal errors that count, and shows them.
check_internal_errors()
{
	local errors
	in_database heap <<<'CREATE TABLE own (file text, function text)'
	own_functions | in_database heap -c 'COPY own FROM STDIN'
	load_log
	psql -X -q -d 'user=smith dbname=heap' >/dev/null 2>&1 <<-'SQL'
		SET statement_timeout = '5s';
		SELECT DISTINCT statement FROM public.internal_error WHERE database = 'clari' AND NOT is_own \gexec
	SQL
	load_log
	in_database heap <<-'SQL'
		SELECT format('On heap tables, too, %s times: %s (%s)', count(*), min(message), location)
		FROM internal_error WHERE database = 'heap' AND NOT is_own GROUP BY location ORDER BY count(*) DESC;
	SQL
	errors=$(in_database heap <<-'SQL'
		SELECT DISTINCT ON (location) format(E'%s (%s)\n%s;\n', message, location, coalesce(statement, '(no statement)'))
		FROM internal_error e
		WHERE is_own OR database IS DISTINCT FROM 'heap' AND NOT EXISTS
			(SELECT FROM internal_error h WHERE h.database = 'heap' AND h.statement = e.statement)
		ORDER BY location, length(statement);
	SQL
	)
	[ -z "$errors" ] || { printf 'Internal errors:\n%s\n' "$errors"; return 1; }
}

cd "$tree"
{ make -s -j2 all && make -s install; } >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
start_server
# Errors with where they come from, in a form that can be queried; plans of all kinds, though the tables are small.
cat >>"$work/data/postgresql.conf" <<-EOF
	logging_collector = on
	log_destination = 'stderr,jsonlog'
	log_filename = 'server.log'
	log_rotation_age = 0
	log_rotation_size = 0
	log_error_verbosity = verbose
	parallel_setup_cost = 0
	parallel_tuple_cost = 0
	min_parallel_table_scan_size = 0
	enable_partitionwise_join = on
	enable_partitionwise_aggregate = on
EOF
pg_ctl -D "$work/data" -l "$work/server.log" -w restart >/dev/null || die "$(cat "$work/server.log")"
start_simulator --owners 40 --job-seconds 0 --concurrent-limit 100 --monthly-quota 1000000000
make_databases
[ "$(digest_of_rows clari)" = "$(digest_of_rows heap)" ] || die "the tables do not hold the same rows at the start"

in_database clari <<<'SELECT clari_stats_reset() \g /dev/null'
echo "sqlsmith for $seconds s, seeds $seed and $((seed + 1)), $("$PG_CONFIG" --version)"
smiths=()
for process in 0 1; do
	timeout "$seconds" sqlsmith --target="host=$PGHOST port=$PGPORT dbname=clari user=smith" --exclude-catalog \
		--seed=$((seed + process)) --verbose >"$work/sqlsmith.$process.log" 2>&1 &
	smiths+=($!)
done
status=0
for process in 0 1; do
	ended=0
	wait "${smiths[process]}" || ended=$?
	grep -a '^queries: ' "$work/sqlsmith.$process.log" | tail -n 1 || :
	[ $ended = 124 ] || { tail -n 5 "$work/sqlsmith.$process.log"; echo "sqlsmith ended by itself, with $ended"; status=1; }
done
# It resets these now and then.
hits=$(in_database clari <<<'SELECT hits FROM clari_stats')
echo "$hits rowsets or more were read from the cache"
[ "$hits" -gt 0 ] || status=1
no_hanging || status=1
no_trouble_in "$work/server.log" "$work/data/log/server.log" || status=1
[ "$(digest_of_rows clari)" = "$(digest_of_rows heap)" ] || { echo "The tables no longer hold the rows of the start."; status=1; }
check_internal_errors || status=1
[ $status = 0 ] && echo passed || echo FAILED
exit $status
