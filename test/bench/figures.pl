# Measures and prints: see run.sh.  Usage: figures.pl SIMULATOR_PORT [PART…], with PGHOST and PGPORT of a server.
use strict;
use warnings FATAL => 'all';

use ClariSession;
use Figures;
use Time::HiRes qw(sleep time);
use Time::Local qw(timegm);

my ($port, @parts) = @ARGV;
my $session = set_up($port);

# ------- four cold periods in the time of one -------

sub cold
{
	my $scan = sub { return "SELECT * FROM clari.forecasts WHERE time_period = '2026_Q$_[0]'" };
	my %queries = (
		one => 'SELECT count(*) FROM (' . $scan->(1) . ') q',
		four => 'SELECT count(*) FROM clari.forecasts',
		union => 'SELECT count(*) FROM (' . join(' UNION ALL ', map { $scan->($_) } 1 .. 4) . ') q',
		join => 'SELECT count(*) FROM ' . join(' JOIN ', map { '(' . $scan->($_) . ") q$_" . ($_ > 1 ? ' USING (owner_email)' : '') }
			1 .. 4));
	control('set', { settings => { job_seconds => 2 } });
	for my $most (4, 2)
	{
		$session->query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '$most')");
		my %times = interleaved($session, 9, map { $_ => [ 'SELECT clari_invalidate()', $queries{$_} ] } keys %queries);
		my $one = median(@{ $times{one} });
		my $promise = $most == 4 ? '<= 1.15' : '<= 2.20';
		line("cold, jobs of 2 s, max_concurrent_exports $most: one period", sprintf('%.2f s', $one));
		line("  four periods ($_->[1])", sprintf('%.2f s, %.2f x', median(@{ $times{ $_->[0] } }),
			median(@{ $times{ $_->[0] } }) / $one), $promise) for [ four => 'one scan' ], [ union => 'UNION ALL' ], [ join => 'join' ];
	}
	return;
}

# ------- what is cached -------

my $warm_query = "EXPLAIN (ANALYZE, TIMING OFF) SELECT * FROM clari.forecasts WHERE time_period = '2026_Q1'";

sub planning_and_execution
{
	my ($in) = @_;
	my $plan = $in->query($warm_query);
	my ($planning) = $plan =~ /Planning Time: ([\d.]+)/ or die $plan;
	my ($execution) = $plan =~ /Execution Time: ([\d.]+)/ or die $plan;
	die $plan unless $plan =~ /rows=500 loops/;
	return $planning + $execution;
}

sub warm
{
	control('set', { settings => { job_seconds => 0 } });
	$session->query('SELECT count(*) FROM clari.forecasts');
	my $before = posts();
	planning_and_execution($session);
	my @times = map { planning_and_execution($session) } 1 .. 200;
	my (@first, @loaded);
	for (1 .. 20)
	{
		push @first, planning_and_execution(new_session());
		my $new = new_session();
		$new->query("LOAD 'clari_fdw'");
		push @loaded, planning_and_execution($new);
	}
	line('warm, one period of 500 owners, ten columns: p50 of 200', sprintf('%.3f ms', median(@times)), '< 1, aim 0.4');
	line('  95th percentile', sprintf('%.3f ms', percentile(0.95, @times)));
	line('  first in a new session, library not preloaded: p50 of 20', sprintf('%.3f ms', median(@first)));
	line('  first in a new session, library loaded: p50 of 20', sprintf('%.3f ms', median(@loaded)));
	line('  exports made meanwhile', posts() - $before, '0');
	return;
}

# ------- the first query after a restart -------

sub restart_server
{
	my $data = $session->query('SHOW data_directory');
	$session->quit;
	system('pg_ctl', '-D', $data, '-m', 'fast', '-w', '-s', '-l', "$data/../server.log", 'restart') == 0 or die 'pg_ctl restart';
	$session = new_session();
	return;
}

# Milliseconds of planning and execution of a session's first query after a restart.
sub after_restart
{
	my ($query) = @_;
	restart_server();
	my $plan = $session->query("EXPLAIN (ANALYZE, TIMING OFF) $query");
	my ($planning) = $plan =~ /Planning Time: ([\d.]+)/ or die $plan;
	my ($execution) = $plan =~ /Execution Time: ([\d.]+)/ or die $plan;
	return $planning + $execution;
}

sub restart
{
	control('set', { settings => { job_seconds => 0 } });
	control('set', { period => '2025_Q4', settings => { owners => 513000 } });
	$session->query('SELECT count(*) FROM clari.forecasts; SELECT count(*) FROM clari.large');
	my $entries = $session->query("SELECT rows FROM clari_cache WHERE time_period = '2025_Q4'");
	my $before = posts();
	my (@small, @large);
	for (1 .. 9)
	{
		push @small, after_restart("SELECT * FROM clari.forecasts WHERE time_period = '2026_Q1'");
		push @large, after_restart('SELECT * FROM clari.large LIMIT 1');
	}
	line('after a restart, first query, 500 owners: p50 of 9', sprintf('%.1f ms', median(@small)), '< 5');
	line("  first row of $entries entries", sprintf('%.1f ms', median(@large)), '< 20');
	line('  exports made meanwhile', posts() - $before, '0');
	return;
}

# ------- a large scan against a heap's -------

sub scan
{
	control('set', { settings => { job_seconds => 0 } });
	control('set', { period => '2025_Q4', settings => { owners => 200000 } });
	$session->query("CREATE TABLE heap AS SELECT * FROM clari.large; VACUUM ANALYZE heap; SET max_parallel_workers_per_gather = 0");
	for my $case ([ 'count(*), sum(forecast_amount)', 'SELECT count(*), sum(forecast_amount) FROM %s' ],
		[ 'a filter without a match, one column', "SELECT count(*) FROM %s WHERE owner_name = 'nobody'" ],
		[ 'a filter without a match, all columns', "SELECT * FROM %s WHERE owner_name = 'nobody'" ],
		[ 'COPY of all columns', "COPY (SELECT * FROM %s) TO '/dev/null'" ])
	{
		my ($what, $query) = @$case;
		my %times = interleaved($session, 11, map { $_ => [ '', sprintf($query, $_) ] } qw(clari.large heap));
		my ($cached, $heap) = map { 1000 * median(@{ $times{$_} }) } qw(clari.large heap);
		line("200,000 owners, from the cache's file: $what", sprintf('%.0f ms', $cached));
		line('  the same from a heap table', sprintf('%.0f ms, %.2f x', $heap, $cached / $heap), '<= 1');
	}
	return;
}

# ------- the worker's memory -------

sub private_memory
{
	my ($pid) = @_;
	open(my $status, '<', "/proc/$pid/status") or return 0;
	my ($kilobytes) = join('', <$status>) =~ /^RssAnon:\s+(\d+)/m;
	return $kilobytes // 0;
}

# Exports the period anew; seconds, and the worker's highest RssAnon meanwhile and RssAnon after, in kB.
sub export
{
	my ($pid, $period) = @_;
	my $begin = time;
	my $most = 0;
	$session->start("SELECT clari_refresh('clari.entries', '{$period}')");
	until ($session->is_finished(0.02))
	{
		my $now = private_memory($pid);
		$most = $now if $now > $most;
	}
	my $taken = time - $begin;
	my $output = $session->finish;
	die $output unless $output eq '1';
	return ($taken, $most, private_memory($pid));
}

sub worker { return $session->query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'"); }

sub memory
{
	$session->query("ALTER SYSTEM SET clari_fdw.max_workers = 1");
	$session->query("SELECT pg_reload_conf()");
	for my $shape (qw(v4 flat))
	{
		$session->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'");
		sleep 0.05 while worker() ne '';
		# v4: an owner has an entry in each of two fields, but one of twenty has no quota.
		my $entries_each = $shape eq 'v4' ? 1.95 : 1;
		control('set', { settings => { job_seconds => 0, shape => $shape } });
		control('set', { period => '2026_Q2', settings => { owners => int(10_000 / $entries_each) } });
		control('set', { period => '2026_Q3', settings => { owners => int(1_000_000 / $entries_each) + 10 } });
		$session->query("SELECT clari_refresh('clari.entries', '{2026_Q2}')");
		my ($small_time, undef, $small) = export(worker(), '2026_Q2');
		my ($first, $first_most) = export(worker(), '2026_Q3');
		my ($large_time, $most, $large) = export(worker(), '2026_Q3');
		$most = $first_most if $first_most > $most;
		my $entries = $session->query("SELECT rows FROM clari_cache WHERE time_period = '2026_Q3'");
		my $bytes = $session->query("SELECT bytes FROM clari_cache WHERE time_period = '2026_Q3'");
		line("$shape: worker's RssAnon during an export of $entries entries", sprintf('%.1f MB', $most / 1024));
		line('  more than after one of 10,000', sprintf('%.1f MB', ($most - $small) / 1024), '< 64');
		line('  still held afterwards', sprintf('%.1f MB', ($large - $small) / 1024));
		line('  duration, the simulator rendering the file', sprintf('%.1f s', $first));
		line('  duration, the simulator sending a file', sprintf('%.1f s', $large_time));
		line('  the cached rowset', sprintf('%.1f MB', $bytes / 1048576));
	}
	return;
}

# ------- a month of clari_sync -------

my ($clock, $offset);

# The time of day is so many seconds after the month began, for the server and for the service.
sub set_clock
{
	my ($seconds) = @_;
	control('set', { settings => { clock_skew => $offset + $seconds } });
	open(my $file, '+<', $clock) or die "$clock: $!";
	syswrite($file, pack('q', $offset + $seconds)) == 8 or die "$clock: $!";
	close $file;
	return;
}

# Exports in 30 days of a sync every so many hours.
sub month
{
	my ($hours, $table) = @_;
	set_clock(0);
	$session->query('SELECT clari_invalidate()');
	my $before = posts();
	for (my $hour = 0; $hour < 30 * 24; $hour += $hours)
	{
		set_clock(3600 * $hour);
		my $output = $session->query("CALL clari_sync('$table')");
		die $output if $output =~ /ERROR/;
	}
	return posts() - $before;
}

sub quota
{
	my $begin = timegm(0, 0, 0, 16, 10, 2025);    # in 2026_Q4 of the fiscal year, and more than a month before its end
	$offset = $begin - int time;
	$clock = "$ENV{HOME}/clock";
	system('cc', '-shared', '-fPIC', '-o', "$clock.so", 'test/t/clock.c', '-ldl') == 0 or die 'cc';
	open(my $file, '>', $clock) or die "$clock: $!";
	print $file pack('q', $offset);
	close $file;
	{
		local @ENV{qw(LD_PRELOAD CLARI_CLOCK)} = ("$clock.so", $clock);
		restart_server();
	}
	control('set', { settings => { job_seconds => 0, owners => 20, known_periods => [ map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2021 .. 2026 ] } });
	$session->query("SET client_min_messages = warning; SELECT clari_create_tables(); ALTER SERVER clari OPTIONS (poll_interval '20ms')");
	for my $recipe ([ 4, '1d' ], [ 2, '7d' ], [ 1, '7d' ])
	{
		my ($hours, $closed) = @$recipe;
		for my $periods (8, 20)
		{
			my $prefix = "every_${hours}_${closed}_${periods}_";
			my $extent = 'current-' . ($periods - 1) . '..current';
			$session->query("IMPORT FOREIGN SCHEMA net_arr LIMIT TO (${prefix}forecasts) FROM SERVER clari INTO clari
				OPTIONS (table_prefix '$prefix', periods '$extent', closed_period_ttl '$closed')");
			my $exports = month($hours, "clari.${prefix}forecasts");
			line("exports a month: sync every $hours h, closed_period_ttl $closed, $periods periods", $exports, 'of 1000');
		}
	}
	return;
}

$session->query("CREATE SCHEMA clari;
	IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari OPTIONS (periods '2026_Q1..2026_Q4');
	CREATE FOREIGN TABLE clari.large (owner_name text, owner_email text, forecast_amount numeric, quota_amount numeric,
		crm_total numeric, crm_closed numeric, adjustment_amount numeric, time_period text, exported_at timestamptz,
		forecast_name text) SERVER clari OPTIONS (forecast 'net_arr', periods '2025_Q4')");
run_parts([qw(warm cold restart scan memory quota)],
	{ cold => \&cold, warm => \&warm, restart => \&restart, scan => \&scan, memory => \&memory, quota => \&quota }, @parts);
