#!/bin/bash
# weeks.sh
#		The picture of the README, forecast by week as a history tells it, from the
#		demonstration's data: bash test/bench/weeks.sh >doc/forecast_by_week.svg
#
# Twelve weeks pass as one passes in demo.sh, in a few seconds.  Installs gnuplot if
# it is missing.  Takes PG_CONFIG (the newest PostgreSQL) from the environment.  See
# ../common.sh.

source "$(dirname "${BASH_SOURCE[0]}")/../common.sh"

if [ -z "$work" ]; then
	[ -x "$(command -v gnuplot)" ] || get_packages gnuplot-nox >&2
	install_packages missing_to_build >&2
	run_inside
fi

cd "$tree"
{ make -s -j2 all && make -s install; } >"$work/build.log" 2>&1 || die "$(cat "$work/build.log")"
start_server
start_simulator --job-seconds 0 --fiscal-month 1 --amounts plain --charset latin1 --keys '{"*": {}}'
psql -X -q -v ON_ERROR_STOP=1 -v base_url="http://127.0.0.1:$simulator_port/v4" >"$work/psql.log" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION clari_fdw;
CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url :'base_url');
CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key 'test-key');
CREATE SCHEMA clari;
IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari;
SELECT clari_create_tables();
CALL clari_sync('clari.forecasts');
SELECT clari_track_history();
SQL
pass_weeks 1 12
psql -X -q -A -t -F ' ' >"$work/weeks" <<'SQL'
SELECT 12 - ago, round(sum(f.forecast_amount) / 1e9, 3), round(sum(f.quota_amount) / 1e9, 3)
FROM generate_series(0, 12) AS ago CROSS JOIN LATERAL clari_forecasts_as_of(now() - ago * interval '7 days') AS f
GROUP BY ago ORDER BY ago DESC;
SQL
# Colors that show on white and on black alike; no background.
gnuplot <<END | sed 's/ *$//'
set terminal svg size 760,300 dynamic enhanced font 'sans-serif,13' linewidth 1.2
set encoding utf8
set border 3 linecolor rgb '#808080'
set grid linecolor rgb '#808080' linewidth 0.3
set tics textcolor rgb '#808080' nomirror
set key top left Left reverse textcolor rgb '#808080'
set title 'The quarter by week, as clari\\_forecasts\\_as\\_of() shows it (simulated account)' textcolor rgb '#808080'
set xlabel 'week' textcolor rgb '#808080'
set ylabel 'billion' textcolor rgb '#808080'
set xtics 1
set ytics 0.5
set offsets 0, 0, 0.05, 0.05
plot '$work/weeks' using 1:2 with linespoints linewidth 2 pointtype 7 pointsize 0.6 linecolor rgb '#2f81d6' title 'forecast', \
	'' using 1:3 with linespoints linewidth 2 pointtype 7 pointsize 0.6 linecolor rgb '#e0782a' title 'quota'
END
