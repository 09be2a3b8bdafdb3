# Parts of figures.pl about sessions that wait: how soon they are gone, beside one that sleeps; and how long one waits while
# another role has queued four hundred quarters.
package Interrupts;

use strict;
use warnings FATAL => 'all';

use Bench;
use Figures;
use Record;
use Time::HiRes qw(sleep time);

our %parts = (interrupts => \&interrupts, queue => \&queue);

my $query = "SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'";

# Arranges that the export of 2026_Q1 stays in a phase.
my %phases = (
	queued => sub {
		query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '1'); SELECT clari_prefetch('clari.forecasts', '{2026_Q4}')");
		sleep 0.01 until query("SELECT count(*) FROM clari_exports WHERE phase <> 'queued'") eq '1';
	},
	posting => sub { fault({ delay => 'hold' }, step => 'post'); },
	polling => sub { },
	'polling without an answer' => sub { fault({ delay => 'hold' }, step => 'poll'); },
	downloading => sub {
		control('set', { settings => { job_seconds => 0 } });
		fault({ stall_after => 20_000 }, step => 'results');
	});

sub fault { my ($fault, %where) = @_; control('fault', { fault => $fault, period => '2026_Q1', times => 1, %where }); return; }

# Everything forgotten, and nothing in flight.
sub start_over
{
	do { control('release', {}); sleep 0.02 } until query('SELECT count(*) FROM clari_exports') eq '0';
	query("SELECT clari_invalidate(); ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
	control('reset', {});
	return;
}

# Milliseconds from the call of a function that interrupts a session until that has answered; is_there: whether it waits.
sub interrupted
{
	my ($function, $session, $sql, $is_there) = @_;
	$session->start($sql);
	sleep 0.005 until $is_there->();
	my $begin = time;
	query("SELECT $function($session->{pid})");
	my $answer = $session->finish;
	my $taken = 1000 * (time - $begin);
	die "$function: $answer" unless $answer =~ /57014|57P01/;
	return $taken;
}

sub interrupts
{
	my $times = full_or_quick(40, 5);
	for my $function (qw(pg_cancel_backend pg_terminate_backend))
	{
		my %taken;
		for my $phase (sort keys %phases)
		{
			start_over();
			control('set', { settings => { job_seconds => 'hold' } });
			$phases{$phase}->();
			# In turns, so that both see the same noise.
			for (1 .. $times)
			{
				my ($waiting, $sleeping) = map { new_session() } 1 .. 2;
				push @{ $taken{$phase} }, interrupted($function, $waiting, $query,
					sub { query("SELECT waiters FROM clari_exports WHERE time_period = '2026_Q1'") eq '1' });
				push @{ $taken{asleep} }, interrupted($function, $sleeping, 'SELECT pg_sleep(60)',
					sub { query("SELECT wait_event FROM pg_stat_activity WHERE pid = $sleeping->{pid}") eq 'PgSleep' });
			}
		}
		my $asleep = percentile(0.95, @{ delete $taken{asleep} });
		record("$function of pg_sleep(): 95th percentile", undef, $asleep, 'ms');
		for my $phase (sort keys %taken)
		{
			my $high = percentile(0.95, @{ $taken{$phase} });
			record("$function while $phase: 95th percentile", undef, $high, 'ms', '<= 100');
			record("$function while $phase: against pg_sleep()", undef, $high / $asleep, 'x');
		}
	}
	start_over();
	return;
}

sub queue
{
	my @quarters = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 1927 .. 2026;
	control('set', { settings => { job_seconds => 1, keys => { 'test-key' => {}, 'other-key' => { user => 'other', tenant => 'org-2' } } } });
	control('set', { forecast => 'queue', settings => { known_periods => \@quarters } });
	query(q{CREATE ROLE modest LOGIN; CREATE SCHEMA queue; GRANT USAGE ON SCHEMA queue TO modest;
		IMPORT FOREIGN SCHEMA queue FROM SERVER clari INTO queue OPTIONS (periods '1927_Q1..2026_Q4');
		GRANT SELECT ON ALL TABLES IN SCHEMA queue TO modest;
		CREATE USER MAPPING FOR modest SERVER clari OPTIONS (api_key 'other-key')});
	my ($greedy, $modest) = map { new_session() } 1 .. 2;
	$modest->query('SET ROLE modest');
	my $one = "SELECT count(*) FROM queue.forecasts WHERE time_period = '%s'";
	my @alone = map { timed($modest, sprintf($one, "1950_Q$_")) } 1 .. 3;
	my $before = posts();
	$greedy->start('SELECT count(*) FROM queue.forecasts');
	sleep 0.02 until query('SELECT count(*) FROM clari_exports') >= 256;
	my @beside = map { timed($modest, sprintf($one, "1951_Q$_")) } 1 .. 3;
	query("SELECT pg_cancel_backend($greedy->{pid})");
	$greedy->finish;
	my $left = query('SELECT count(*) FROM clari_exports');
	sleep 0.02 until query('SELECT count(*) FROM clari_exports') eq '0';
	record('one quarter, a job of 1 s', undef, median(@alone), 's');
	record('the same, while another role has queued 400', undef, median(@beside), 's');
	record('so much longer', undef, median(@beside) - median(@alone), 's', '<= 2');
	record('exports that the 400 have cost when they were canceled', undef, posts() - $before - 3, '');
	record('of these still under way at that moment, with 4 at a time', undef, $left, '', '<= 4');
	return;
}

1;
