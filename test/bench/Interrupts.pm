# Part of figures.pl about sessions that wait: how soon they are gone, beside one that sleeps.
package Interrupts;

use strict;
use warnings FATAL => 'all';

use Bench;
use Figures;
use Record;
use Time::HiRes qw(sleep time);

our %parts = (interrupts => \&interrupts);

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

1;
