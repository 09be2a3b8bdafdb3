# Part quota of figures.pl: the exports of a month of clari_sync, by a clock that is set.
package Quota;

use strict;
use warnings FATAL => 'all';

use Bench;
use Figures;
use Record;
use Time::Local qw(timegm);

our %parts = (quota => \&quota);

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
	query('SELECT clari_invalidate()');
	my $before = posts();
	for (my $hour = 0; $hour < 24 * full_or_quick(30, 2); $hour += $hours)
	{
		set_clock(3600 * $hour);
		query("CALL clari_sync('$table')");
	}
	return posts() - $before;
}

# Leaves a server with that clock: the last part.
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
	control('set', { forecast => 'monthly', settings => { owners => 20 } });
	query('CREATE SCHEMA monthly');
	query("ALTER SERVER clari OPTIONS (poll_interval '20ms')");
	for my $recipe ([ 4, '1d' ], [ 2, '7d' ], [ 1, '7d' ])
	{
		my ($hours, $closed) = @$recipe;
		next if full_or_quick(0, 1) && $hours < 4;
		for my $periods (8, 20)
		{
			my $prefix = "every_${hours}_${closed}_${periods}_";
			my $extent = 'current-' . ($periods - 1) . '..current';
			query("IMPORT FOREIGN SCHEMA monthly LIMIT TO (${prefix}forecasts) FROM SERVER clari INTO monthly
				OPTIONS (table_prefix '$prefix', periods '$extent', closed_period_ttl '$closed')");
			my $exports = month($hours, "monthly.${prefix}forecasts");
			record("exports a month of 1,000: sync every $hours h, closed_period_ttl $closed, $periods periods", undef, $exports, '');
		}
	}
	return;
}

1;
