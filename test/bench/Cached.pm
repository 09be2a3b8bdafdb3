# Parts of figures.pl about queries: warm, cold, restart, scan.
package Cached;

use strict;
use warnings FATAL => 'all';

use Bench;
use Figures;
use Record;

our %parts = (warm => \&warm, cold => \&cold, restart => \&restart, scan => \&scan);

# ------- what is cached -------

sub warm
{
	my $rows = "SELECT * FROM clari.forecasts WHERE time_period = '2026_Q1'";
	query('SELECT count(*) FROM clari.forecasts');
	my $before = posts();
	planning_and_execution($rows);
	my @times = map { planning_and_execution($rows) } 1 .. full_or_quick(200, 50);
	my (@first, @loaded);
	for (1 .. full_or_quick(20, 5))
	{
		push @first, planning_and_execution($rows, new_session());
		my $new = new_session();
		$new->query("LOAD 'clari_fdw'");
		push @loaded, planning_and_execution($rows, $new);
	}
	record('one cached period of 500 owners, ten columns: p50', undef, median(@times), 'ms', '< 1');
	record('the same: 95th percentile', undef, percentile(0.95, @times), 'ms');
	record('the same, first in a new session, not preloaded: p50', undef, median(@first), 'ms');
	record('the same, first in a new session, library loaded: p50', undef, median(@loaded), 'ms');
	record('exports made meanwhile', undef, posts() - $before, '', '= 0');
	return;
}

# ------- four cold periods in the time of one -------

sub cold
{
	my $scan = sub { return "SELECT * FROM clari.forecasts WHERE time_period = '2026_Q$_[0]'" };
	my %queries = (
		one => 'SELECT count(*) FROM (' . $scan->(1) . ') q',
		four => 'SELECT count(*) FROM clari.forecasts',
		union => 'SELECT count(*) FROM (' . join(' UNION ALL ', map { $scan->($_) } 1 .. 4) . ') q',
		array => 'SELECT count(*) FROM clari.forecasts WHERE time_period = ANY (ARRAY(SELECT p FROM calendar))',
		join => 'SELECT count(*) FROM ' . join(' JOIN ', map { '(' . $scan->($_) . ") q$_" . ($_ > 1 ? ' USING (owner_email)' : '') }
			1 .. 4),
		# Always expired, so that the quarter before tells which is likely the current one.
		relative => 'SELECT count(*) FROM relative.forecasts');
	query("CREATE SCHEMA relative; IMPORT FOREIGN SCHEMA net_arr LIMIT TO (forecasts) FROM SERVER clari INTO relative
		OPTIONS (periods 'current-3..current', cache_ttl '0', closed_period_ttl '0')");
	query(q{CREATE TABLE calendar AS SELECT '2026_Q' || n AS p FROM generate_series(1, 4) n; ANALYZE calendar});
	for my $case ([ 4, $queries{array} ], [ 1, q{SELECT count(*) FROM calendar JOIN clari.forecasts ON p = time_period WHERE p = '2026_Q2'} ])
	{
		my ($exports, $query) = @$case;
		query('SELECT clari_invalidate()');
		my $before = posts();
		query($query);
		record("exports of $exports quarters that another table names", undef, posts() - $before, '', "= $exports");
	}
	control('set', { settings => { job_seconds => 2 } });
	for my $most (4, 2)
	{
		query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '$most')");
		my %times = interleaved(session(), full_or_quick(5, 1),
			map { $_ => [ $_ eq 'relative' ? $queries{$_} : 'SELECT clari_invalidate()', $queries{$_} ] } keys %queries);
		my $one = median(@{ $times{one} });
		record("one period, jobs of 2 s, max_concurrent_exports $most", undef, $one, 's');
		record("four periods against it, $_->[1], max_concurrent_exports $most", undef, median(@{ $times{ $_->[0] } }) / $one, 'x',
			$most == 4 ? '<= 1.15' : '<= 2.20') for [ four => 'one scan' ], [ union => 'UNION ALL' ], [ join => 'join' ],
		  [ relative => 'current-3..current, expired' ], [ array => '= ANY (ARRAY(SELECT ...))' ];
	}
	query('DROP TABLE calendar');
	query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
	return;
}

# ------- the first query after a restart -------

sub restart
{
	control('set', { forecast => 'net_arr', period => '2025_Q4', settings => { owners => full_or_quick(513_000, 20_000) } });
	query('SELECT count(*) FROM clari.forecasts; SELECT count(*) FROM clari.large');
	my $entries = query("SELECT rows FROM clari_cache WHERE time_period = '2025_Q4' AND forecast = 'net_arr'");
	my $before = posts();
	my (@small, @large);
	for (1 .. full_or_quick(9, 2))
	{
		restart_server();
		push @small, planning_and_execution("SELECT * FROM clari.forecasts WHERE time_period = '2026_Q1'");
		restart_server();
		push @large, planning_and_execution('SELECT * FROM clari.large LIMIT 1');
	}
	record('first query after a restart, 500 owners: p50', undef, median(@small), 'ms', '< 5');
	record("first row of $entries entries after a restart: p50", undef, median(@large), 'ms', '< 20');
	record('exports made meanwhile', undef, posts() - $before, '', '= 0');
	return;
}

# ------- a large scan against a heap's -------

sub scan
{
	my $owners = full_or_quick(200_000, 20_000);
	control('set', { forecast => 'net_arr', period => '2025_Q4', settings => { owners => $owners } });
	query('SELECT clari_invalidate(); CREATE TABLE heap AS SELECT * FROM clari.large');
	query('VACUUM ANALYZE heap');
	for my $case ([ 'count(*), sum(forecast_amount)', 'SELECT count(*), sum(forecast_amount) FROM %s' ],
		[ 'a filter without a match, one column', "SELECT count(*) FROM %s WHERE owner_name = 'nobody'" ],
		[ 'a filter without a match, all columns', "SELECT * FROM %s WHERE owner_name = 'nobody'" ],
		[ 'COPY of all columns', "COPY (SELECT * FROM %s) TO '/dev/null'" ])
	{
		my ($what, $query) = @$case;
		my %times = interleaved(session(), full_or_quick(11, 3), map { $_ => [ '', sprintf($query, $_) ] } qw(clari.large heap));
		my ($cached, $heap) = map { median(@{ $times{$_} }) } qw(clari.large heap);
		record("$owners owners: $what, from the cache's file", undef, 1000 * $cached, 'ms');
		record("$owners owners: $what, from a heap table", undef, 1000 * $heap, 'ms');
		record("$owners owners: $what, of the heap's time", undef, $cached / $heap, 'x', '<= 1');
	}
	query('DROP TABLE heap');
	return;
}

1;
