#!/bin/bash
# demo.sh
#		The README's tour in less than a minute, against the simulator: bash test/demo.sh [--psql]
#
# With --psql, it then leaves you in psql on the same server, in an empty database where
# the tour can be followed by hand, until you leave.  Takes PG_CONFIG (the newest
# PostgreSQL) from the environment.  See common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Outside, where the terminal is: psql in the database that the inside has made.
open_psql()
{
	local status=0 stop=0
	until [ -e "$work/tmp/ready" ]; do
		kill -0 $child 2>/dev/null || { wait $child || status=$?; exit $status; }
		sleep 0.1
	done
	[ -t 0 ] || stop=1 # a script ends with its first error
	trap : INT # Ctrl-C is for psql
	"${pg_config%/*}/psql" -v ON_ERROR_STOP=$stop "host=$work/tmp port=5432 user=postgres dbname=tour" || status=$?
	exit $status
}

case ${1:-} in '' | --psql) ;; *) die "unknown argument: $1; there is --psql" ;; esac
if [ -z "$work" ]; then
	install_packages missing_to_build
	[ "${1:-}" = --psql ] || run_inside
	start_inside --psql
	open_psql
fi

cd "$tree"
quarter=$(date +%Y_Q%q)
before=$(date -d "$(date +%Y-%m-15) 3 months ago" +%Y_Q%q)
echo "Building clari_fdw, starting a PostgreSQL server, and a simulator of Clari whose exports take 2 s each."
{ make -s -j2 all && make -s install; } >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
start_server
# The simulator's quarters are those of the calendar.
start_simulator --job-seconds 2 --fiscal-month 1 --current-quarter "$quarter" --amounts plain --charset latin1 \
	--keys '{"*": {}}'

psql -X -q -e -v ON_ERROR_STOP=1 -v base_url="http://127.0.0.1:$simulator_port/v4" \
	-v quarter="$quarter" -v before="$before" -P pager=off -P null=- <<'SQL' 2>&1
\echo
\echo '*** Set-up. Nothing is asked of Clari yet.'
CREATE EXTENSION clari_fdw;
CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url :'base_url');
CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key 'test-key');
CREATE SCHEMA clari;
IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari OPTIONS (periods 'current-3..current');
EXPLAIN (COSTS OFF) SELECT * FROM clari.forecasts;

\echo '*** The first query: one export tells the current quarter, then the three before it are exported at once.'
\timing on
SELECT time_period, count(*) AS owners, sum(forecast_amount) AS forecast, sum(quota_amount) AS quota
FROM clari.forecasts GROUP BY time_period ORDER BY time_period;

\echo
\echo '*** The second one reads shared memory.'
SELECT time_period, count(*) AS owners, sum(forecast_amount) AS forecast, sum(quota_amount) AS quota
FROM clari.forecasts GROUP BY time_period ORDER BY time_period;
SELECT owner_name, owner_email, forecast_amount, quota_amount, crm_closed, time_period
FROM clari.forecasts WHERE time_period IN (:'before', :'quarter') ORDER BY forecast_amount DESC LIMIT 5;
\timing off
EXPLAIN (COSTS OFF) SELECT * FROM clari.forecasts WHERE time_period IN (:'before', :'quarter');

\echo '*** Export the quarter that is not over anew, and merge all four. Owners without an e-mail are skipped.'
SELECT clari_create_tables();
\timing on
CALL clari_sync('clari.forecasts');
\echo
\echo '*** Again: the new export holds the same amounts, so no row is written.'
CALL clari_sync('clari.forecasts');
\timing off
SELECT time_period, count(*), max(exported_at) AS exported_at
FROM clari_forecasts GROUP BY time_period ORDER BY time_period;

\echo '*** What is cached.'
SELECT forecast, time_period, state, tier, rows, bytes, expires_at, hits FROM clari_cache ORDER BY time_period;

\echo '*** From now on, each change is kept.'
SELECT clari_track_history();
SQL
pass_weeks 1 1
psql -X -q -e -v ON_ERROR_STOP=1 -v quarter="$quarter" -P pager=off -P null=- <<'SQL' 2>&1
\echo '*** A week passes (as the history is dated back), some amounts change at Clari, and the quarter is synced. What moved?'
SELECT owner_name, kind, old_forecast_amount, new_forecast_amount, forecast_difference
FROM clari_forecasts_changes WHERE changed_at > now() - interval '7 days'
ORDER BY abs(forecast_difference) DESC LIMIT 5;

\echo '*** The quarter as it stood yesterday, and as it is.'
SELECT 'yesterday' AS day, count(*) AS owners, sum(forecast_amount) AS forecast
FROM clari_forecasts_as_of(now() - interval '1 day') WHERE time_period = :'quarter'
UNION ALL SELECT 'today', count(*), sum(forecast_amount) FROM clari_forecasts WHERE time_period = :'quarter';
SELECT count(*) AS versions, count(*) FILTER (WHERE valid_to < 'infinity') AS of_the_past FROM clari_forecasts_history;
SQL
if [ "${1:-}" != --psql ]; then
	stop_server
	echo "Shown: four quarters exported, read again from shared memory, merged into clari_forecasts, merged again"
	echo "without a write, and what has changed in a week. Server, simulator and all files of this demonstration are removed now."
	exit
fi

createdb tour
psql -X -q -v ON_ERROR_STOP=1 -d tour <<SQL
CREATE FUNCTION use_simulator() RETURNS event_trigger LANGUAGE plpgsql AS \$\$
DECLARE
	server text;
BEGIN
	FOR server IN SELECT s.srvname FROM pg_foreign_server s JOIN pg_foreign_data_wrapper w ON w.oid = s.srvfdw
		WHERE w.fdwname = 'clari_fdw' AND NOT coalesce(s.srvoptions::text ~ 'base_url=', false)
	LOOP
		EXECUTE format('ALTER SERVER %I OPTIONS (ADD base_url %L)', server, 'http://127.0.0.1:$simulator_port/v4');
	END LOOP;
END\$\$;
CREATE EVENT TRIGGER use_simulator ON ddl_command_end WHEN TAG IN ('CREATE SERVER') EXECUTE FUNCTION use_simulator();
SQL
echo "
Now it is your turn. This is psql, in an empty database of the same server, where the statements of README.md can be
run, with any text without spaces as the API key: a server of clari_fdw that is created here gets the base_url of
the simulator. Its forecasts are net_arr, bookings and renewals; an export takes 2 s. pg_cron is not there. With \\q
you leave, and server, simulator and all files are removed."
touch "$work/tmp/ready"
sleep infinity
