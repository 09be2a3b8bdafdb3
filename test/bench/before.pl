# Measures and prints: see before.sh.  Usage: before.pl SIMULATOR_PORT ROWS, with PGHOST, and PGPORT of this tree's server.
use strict;
use warnings FATAL => 'all';

use Figures;

my ($port, $rows) = @ARGV;
my $few = int($rows / 20);    # owners, where there are not as many as rows
my $rounds = 9;
my %session;
for my $which ([ before => 5433 ], [ after => $ENV{PGPORT} ])
{
	local $ENV{PGPORT} = $which->[1];
	$session{ $which->[0] } = set_up($port);
}
my $missed = 0;

sub both { my ($sql) = @_; patiently($session{$_}, $sql) for qw(before after); return; }

sub import_forecast { make_forecast([ values %session ], @_); return; }

# The query on both servers in turns, each time after what prepares it: prints how long it takes after against before.
sub compare
{
	my ($what, $sql, $prepare, $times) = @_;
	my %seconds;
	for my $round (0 .. $rounds)
	{
		for my $which ($round % 2 ? qw(before after) : qw(after before))
		{
			patiently($session{$which}, $prepare) if $prepare;
			my @taken = map { timed($session{$which}, $sql) } 1 .. $times // 1;
			push(@{ $seconds{$which} }, median(@taken)) if $round > 0;    # the first fills caches
		}
	}
	my ($before, $after) = map { 1000 * median(@{ $seconds{$_} }) } qw(before after);
	my $kept = $after <= 1.1 * $before;
	$missed++ unless $kept;
	line($what, sprintf('%.2f x', $after / $before), sprintf('%-8s %.2f ms, before %.2f', $kept ? 'ok' : 'MISSED', $after, $before));
	return;
}

# What a scan promises, of one table.
sub compare_scans
{
	my ($table, $amount) = @_;
	both("SELECT count(owner_email) FROM $table; CREATE TABLE one_email AS SELECT min(owner_email) AS email FROM $table");
	my $email = patiently($session{after}, 'SELECT email FROM one_email');
	compare("$table: count(*), sum", "SELECT count(*), sum($amount) FROM $table");
	compare("$table: COPY", "COPY (SELECT * FROM $table) TO '/dev/null'");
	compare("$table: one e-mail", "SELECT * FROM $table WHERE owner_email = '$email'", undef, 20);
	compare("$table: GROUP BY e-mail", "SELECT count(*), max(s) FROM (SELECT owner_email, sum($amount) AS s FROM $table GROUP BY 1) q");
	both('DROP TABLE one_email');
	return;
}

control('set', { settings => { job_seconds => 0, known_periods => [ map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2022 .. 2026 ] } });
import_forecast('warm', { owners => 500 }, { periods => '2026_Q3' });
# Not as rows for psql, as one session's psql may be a tenth slower than the other's all along.
compare('a cached period of 500 owners', q{COPY (SELECT * FROM warm.forecasts) TO '/dev/null'}, undef, 100);
import_forecast('v4', { owners => $few, weeks => 10, missing_quota => 0 }, { periods => '2026_Q3', include_historical => 'true' });
compare_scans('v4.entries', 'forecast_value');
import_forecast('v4_quarters', { owners => $few }, { periods => '2022_Q1..2026_Q4' });
compare_scans('v4_quarters.forecasts', 'forecast_amount');
import_forecast('v4_owners', { owners => $rows }, { periods => '2026_Q3' });
compare_scans('v4_owners.forecasts', 'forecast_amount');
import_forecast('flat', { shape => 'flat', owners => $few }, { periods => '2022_Q1..2026_Q4' });
compare_scans('flat.entries', 'forecast_value');
compare_scans('flat.forecasts', 'forecast_amount');

import_forecast('cold', { owners => $few, job_seconds => 0.3 }, { periods => '2026_Q1..2026_Q4' });
my $forget = q{SELECT clari_invalidate('cold.forecasts')};
compare('four cold periods', 'SELECT count(*) FROM cold.forecasts', $forget);
compare('one cold period', q{SELECT count(*) FROM cold.forecasts WHERE time_period = '2026_Q1'}, $forget);

both(q{SELECT clari_create_tables(); CALL clari_sync('v4_quarters.forecasts', '{2026_Q1}')});
compare('an unchanged sync of a quarter', q{CALL clari_sync('v4_quarters.forecasts', '{2026_Q1}', max_age => '1 hour')});
both(q{INSERT INTO staging_clari SELECT * FROM v4_quarters.forecasts WHERE time_period = '2026_Q1'});
compare('an unchanged merge of a quarter', 'SELECT * FROM clari_merge()');
print "$missed MISSED\n" if $missed;
exit($missed > 0);
