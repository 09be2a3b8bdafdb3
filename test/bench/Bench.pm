# What the parts of figures.pl share: the one session and its server, tables over the simulator, the worker's process.
package Bench;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use Figures;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(begin base_url session query restart_server import_forecast planning_and_execution worker set_workers
	columns empty_heap);

my ($session, $url);

# The 64 quarters that the simulator knows.
our @quarters = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2011 .. 2026;

sub begin
{
	my ($port) = @_;
	$session = set_up($port);
	$url = "http://127.0.0.1:$port/v4";
	control('set', { settings => { known_periods => \@quarters,
		forecasts => [qw(net_arr ways large busy growth quarters sessions monthly queue)] } });
	query("LOAD 'clari_fdw'; ALTER SYSTEM SET clari_fdw.disk_cache_size = '16GB'");
	query("ALTER SYSTEM SET clari_fdw.worker_idle_timeout = '1h'");
	query("SELECT pg_reload_conf(); SET jit = off; SET max_parallel_workers_per_gather = 0; SET client_min_messages = warning;
		SELECT clari_create_tables(); CREATE SCHEMA clari;
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari OPTIONS (periods '2026_Q1..2026_Q4');
		IMPORT FOREIGN SCHEMA net_arr LIMIT TO (large_forecasts) FROM SERVER clari INTO clari
			OPTIONS (table_prefix 'large_', periods '2025_Q4');
		ALTER FOREIGN TABLE clari.large_forecasts RENAME TO large");
	return;
}

sub session { return $session; }

sub base_url { return $url; }

# What a statement printed, that may take minutes.
sub query { my ($sql) = @_; return patiently($session, $sql); }

sub columns
{
	return 'owner_name, owner_email, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount, time_period, '
	  . 'exported_at, forecast_name';
}

sub restart_server
{
	my $data = query('SHOW data_directory');
	$session->quit;
	system('pg_ctl', '-D', $data, '-m', 'fast', '-w', '-s', '-l', "$data/../server.log", 'restart') == 0 or die 'pg_ctl restart';
	$session = new_session();
	query('SET jit = off; SET max_parallel_workers_per_gather = 0; SET client_min_messages = warning');
	return;
}

# The tables of a forecast of its own, in a schema of that name.  Amounts have two decimals, as a double can tell them: for the
# sake of those ways that use one; and every owner has an e-mail, as it is part of the key.
sub import_forecast
{
	my ($name, $periods, %settings) = @_;
	control('set', { forecast => $name, settings => { amounts => 'plain', null_emails => 0, missing_quota => 0, idle_users => 0, %settings } });
	query("CREATE SCHEMA $name; IMPORT FOREIGN SCHEMA $name FROM SERVER clari INTO $name OPTIONS (periods '$periods')");
	return;
}

# Milliseconds of a query by EXPLAIN ANALYZE, in the session given or the one.
sub planning_and_execution
{
	my ($query, $in) = @_;
	my $plan = patiently($in // $session, "EXPLAIN (ANALYZE, TIMING OFF) $query");
	my ($planning) = $plan =~ /Planning Time: ([\d.]+)/ or die $plan;
	my ($execution) = $plan =~ /Execution Time: ([\d.]+)/ or die $plan;
	return $planning + $execution;
}

sub empty_heap { query('TRUNCATE clari_forecasts; TRUNCATE staging_clari'); return; }

# The only worker's process id; there is none before something was exported.
sub worker { return query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'"); }

# Ends those that are there; the next ones are so many at most.
sub set_workers
{
	my ($most) = @_;
	query("ALTER SYSTEM SET clari_fdw.max_workers = $most");
	query("SELECT pg_reload_conf(); SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'");
	sleep 0.05 while worker() ne '';
	return;
}

1;
