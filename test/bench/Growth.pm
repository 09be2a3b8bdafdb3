# Parts of figures.pl that are curves: rows, periods, sessions.
package Growth;

use strict;
use warnings FATAL => 'all';

use Bench;
use Figures;
use List::Util qw(max);
use Record;
use Rivals qw(guide);
use Time::HiRes qw(time);
use Worker qw(watched);

our %parts = (rows => \&rows, periods => \&periods, sessions => \&sessions);

my $promise = '<= 1.1';    # of the exponent: a straight line, or better

# ------- rows -------

# Median seconds of a query, few times where it takes long.
sub repeated
{
	my ($sql) = @_;
	my @times = timed(session(), $sql);
	push @times, timed(session(), $sql) while @times < 9 && @times * $times[0] < 1;
	return median(@times);
}

sub rows
{
	my @sizes = map { 1000 * 4**$_ } 0 .. full_or_quick(6, 3);
	my $largest = full_or_quick(1_024_000, 64_000);    # that is synced
	my $patience = full_or_quick(5, 1);                # seconds of the guide's way, after which no more is asked of it
	my %curve;
	import_forecast('growth', '2023_Q1..2026_Q4', shape => 'flat');
	set_workers(1);
	query("SELECT clari_refresh('growth.forecasts', '{2023_Q1}')");    # starts the worker
	for my $i (0 .. $#sizes)
	{
		my ($size, $period) = ($sizes[$i], $Bench::quarters[ -1 - $i ]);
		my $point = sub { push @{ $curve{ $_[0] } }, [ $size, $_[1] ]; return; };
		control('set', { forecast => 'growth', period => $period, settings => { owners => $size } });
		my $refresh = "SELECT clari_refresh('growth.forecasts', '{$period}')";
		query($refresh);    # the simulator renders it
		my @exports = map { watched($refresh) } 1 .. ($size > 500_000 ? 2 : 5);
		$point->('export', median(map { $_->{seconds} } @exports));
		$point->('memory', max(map { $_->{most} } @exports) / 1024);
		my $sum = "SELECT count(*), sum(forecast_amount) FROM %s WHERE time_period = '$period'";
		$point->('scan', 1000 * repeated(sprintf($sum, 'growth.forecasts')));
		query("CREATE UNLOGGED TABLE growth_heap AS SELECT * FROM growth.forecasts WHERE time_period = '$period'");
		query('VACUUM ANALYZE growth_heap');
		$point->('heap', 1000 * repeated(sprintf($sum, 'growth_heap')));
		query('DROP TABLE growth_heap');
		if ($size <= $largest)
		{
			empty_heap();
			$point->('sync', timed(session(), "CALL clari_sync('growth.forecasts', '{$period}')"));
			die 'rows' if query('SELECT count(*) FROM clari_forecasts') != $size;
		}
		if ($curve{guide} ? $curve{guide}[-1][1] < $patience : Rivals::has_guide())
		{
			empty_heap();
			$point->('guide', guide('load', 'growth', 3, '-', $period));
		}
		empty_heap();
		query("SELECT clari_invalidate('growth.forecasts', '{$period}')");
	}
	curve('clari_fdw: a cold export, instant job', 's', $promise, @{ $curve{export} });
	curve('clari_fdw: sum over the cached rows', 'ms', $promise, @{ $curve{scan} });
	curve('heap: sum over the rows', 'ms', undef, @{ $curve{heap} });
	curve('clari_fdw: clari_sync of a cold period into an empty table', 's', $promise, @{ $curve{sync} });
	curve("the guide's way into an empty table, cold", 's', undef, @{ $curve{guide} }) if $curve{guide};
	record('guide: times as long as clari_sync, at most rows', $curve{guide}[-1][0], $curve{guide}[-1][1] / $curve{sync}[ $#{ $curve{guide} } ][1],
		'x') if $curve{guide};
	curve("clari_fdw: the worker's RssAnon at its highest", 'MB', undef, @{ $curve{memory} });
	my @memory = map { $_->[1] } @{ $curve{memory} };
	record("the worker's RssAnon at its highest, more than for the fewest rows", undef, max(@memory) - $memory[0], 'MB', '< 64');
	set_workers(2);
	return;
}

# ------- periods -------

sub periods
{
	my @counts = map { 2**$_ } 0 .. full_or_quick(6, 4);
	import_forecast('quarters', '2011_Q1..2026_Q4', shape => 'flat');
	query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '64')");
	my $sum = sub { "SELECT count(*), sum(forecast_amount) FROM quarters.forecasts WHERE time_period <= '$Bench::quarters[$_[0] - 1]'" };
	my (@cold, @instant, @warm);
	for my $count (@counts)
	{
		for my $case ([ 1, \@cold ], [ 0, \@instant ])
		{
			my ($seconds, $points) = @$case;
			control('set', { settings => { job_seconds => $seconds } });
			my %times = interleaved(session(), full_or_quick(5, 1), it => [ 'SELECT clari_invalidate()', $sum->($count) ]);
			push @$points, [ $count, median(@{ $times{it} }) ];
		}
		my $owners = query($sum->($count)) =~ s/\|.*//r;
		die "$owners rows" if $owners != 500 * $count;
		push @warm, [ $count, median(map { planning_and_execution($sum->($count)) } 1 .. 30) ];
	}
	curve('cold, jobs of 1 s, all at once', 's', $promise, @cold);
	record('the largest number of periods, against one', $counts[-1], $cold[-1][1] / $cold[0][1], 'x');
	curve('cold, instant jobs', 's', $promise, @instant);
	curve('cached: sum', 'ms', $promise, @warm);
	query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
	return;
}

# ------- sessions -------

# Seconds until all of the sessions have the answer to the query, and their answers.
sub together
{
	my ($sql, @sessions) = @_;
	my $begin = time;
	$_->start($sql) for @sessions;
	my %answers = map { patiently_finish($_) => 1 } @sessions;
	return (time - $begin, keys %answers);
}

sub patiently_finish { my ($session) = @_; $session->is_finished(300); return $session->finish; }

# The queries a second of so many clients, each with a connection.
sub pgbench
{
	my ($clients, $seconds, $sql) = @_;
	my $name = "$ENV{HOME}/query.sql";
	open(my $file, '>', $name) or die "$name: $!";
	print $file "$sql;\n";
	close $file;
	my $output = qx{pgbench -n -M prepared -c $clients -j 2 -T $seconds -f $name 2>&1};
	my ($rate) = $output =~ /^tps = ([\d.]+)/m or die $output;
	die $output if $? || $output !~ /failed transactions: 0 /;
	return $rate;
}

sub sessions
{
	my @counts = map { 2**$_ } 0 .. full_or_quick(6, 4);
	my $sum = "SELECT count(*), sum(forecast_amount) FROM sessions.forecasts WHERE time_period = '2026_Q1'";
	import_forecast('sessions', '2026_Q1..2026_Q4', shape => 'flat');
	my @sessions = map { new_session() } 1 .. $counts[-1];
	$_->query("LOAD 'clari_fdw'; SET client_min_messages = warning") for @sessions;
	my (@cold, @latency, @heap);
	my $before = posts();
	control('set', { settings => { job_seconds => 1 } });
	my $rounds = full_or_quick(5, 1);
	for my $count (@counts)
	{
		my @times;
		for (1 .. $rounds)
		{
			query('SELECT clari_invalidate()');
			my ($seconds, @answers) = together($sum, @sessions[ 0 .. $count - 1 ]);
			die "@answers" if @answers != 1 || $answers[0] !~ /^500\|/;
			push @times, $seconds;
		}
		push @cold, [ $count, median(@times) ];
	}
	my $exports = posts() - $before;
	$_->quit for @sessions;
	query('CREATE TABLE sessions_heap AS SELECT * FROM sessions.forecasts');
	query('CREATE INDEX ON sessions_heap (time_period)');
	query('VACUUM ANALYZE sessions_heap');
	for my $count (@counts)
	{
		my (@cached_rates, @heap_rates);
		for (1 .. full_or_quick(3, 1))
		{
			push @cached_rates, pgbench($count, full_or_quick(2, 1), $sum);
			push @heap_rates, pgbench($count, full_or_quick(2, 1), $sum =~ s/sessions.forecasts/sessions_heap/r);
		}
		push @latency, [ $count, 1000 * $count / median(@cached_rates) ];
		push @heap, [ $count, 1000 * $count / median(@heap_rates) ];
	}
	curve('one cold period, a job of 1 s, asked for by all: until all have it', 's', $promise, @cold);
	record('exports per cold period, however many sessions', undef, $exports / ($rounds * @counts), '', '= 1');
	curve('cached: time per query, all asking all the time', 'ms', $promise, @latency);
	curve('heap: the same', 'ms', undef, @heap);
	record('queries a second', $_->[0], 1000 * $_->[0] / $_->[1], '') for @latency;
	query('DROP TABLE sessions_heap');
	return;
}

1;
