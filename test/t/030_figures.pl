# The figures that the product promises, with bounds that hold on a busy machine too; test/bench/run.sh measures them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use IPC::Run;
use Test::More;
use Time::HiRes qw(time);

start_sim(job_seconds => 1, concurrent_limit => 100, monthly_quota => 100000);
my $node = start_node('figures');
create_server($node, max_concurrent_exports => 4, max_export_size => '4GB');
import_tables($node);

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ @sorted / 2 ]; }

# Seconds that a query takes with a cold cache.
sub cold_seconds
{
	my ($query) = @_;
	$node->safe_psql('postgres', 'SELECT clari_invalidate()');
	my $start = time;
	$node->safe_psql('postgres', $query);
	return time - $start;
}

# One period and four, in turns; medians.
sub cold_ratio
{
	my ($query) = @_;
	my (@one, @four);
	for (1 .. 5)
	{
		push @one, cold_seconds(q{SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'});
		push @four, cold_seconds($query);
	}
	note(sprintf('%.2f s for one, %.2f s for four', median(@one), median(@four)));
	return median(@four) / median(@one);
}

my $scan = 'SELECT count(*) FROM clari.forecasts';
my $union = join(' UNION ALL ', map { "SELECT * FROM clari.forecasts WHERE time_period = '2026_Q$_'" } 1 .. 4);
cmp_ok(cold_ratio($scan), '<=', 1.3, 'four cold periods take as long as one');
cmp_ok(cold_ratio("SELECT count(*) FROM ($union) AS u"), '<=', 1.3, 'also when a UNION ALL spreads them');
$node->safe_psql('postgres', q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '2')});
cmp_ok(cold_ratio($scan), '<=', 2.4, 'and twice as long two at a time');

my $times = $node->safe_psql('postgres', join("\n", ('EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON)
	SELECT * FROM clari.forecasts WHERE time_period = \'2026_Q1\';') x 200));
my (@planning, @execution);
push @planning, $1 while $times =~ /"Planning Time": ([0-9.]+)/g;
push @execution, $1 while $times =~ /"Execution Time": ([0-9.]+)/g;
is(scalar @execution, 200, '200 runs');
cmp_ok(median(map { $planning[$_] + $execution[$_] } 0 .. 199), '<', 1, 'a cached period of 500 owners answers within 1 ms');

# The worker's private memory in kB, at its highest while the period is exported.
sub worker_memory
{
	my ($shape, $owners) = @_;
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'});
	sim_set({ shape => $shape, owners => $owners, job_seconds => 0, missing_quota => 0 }, period => '2026_Q4');
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
		q{SELECT clari_refresh('clari.forecasts', '{2026_Q4}')} ], '<', \undef, '&>', \my $out);
	my $highest = 0;
	while ($psql->pumpable)
	{
		$psql->pump_nb;
		my $pid = $node->safe_psql('postgres', q{SELECT max(pid) FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'});
		next unless $pid && open(my $status, '<', "/proc/$pid/status");
		my ($rss) = join('', <$status>) =~ /RssAnon:\s+(\d+)/;
		$highest = $rss if defined $rss && $rss > $highest;
	}
	$psql->finish;
	is($out, "1\n", "$shape: exported $owners owners");
	return $highest;
}

for my $shape ([ 'v4', 5_000, 500_000 ], [ 'flat', 10_000, 1_000_000 ])
{
	my ($name, $few, $many) = @$shape;
	my $growth = worker_memory($name, $many) - worker_memory($name, $few);
	note("$name: $growth kB");
	is($node->safe_psql('postgres', q{SELECT rows > 0 FROM clari_cache WHERE time_period = '2026_Q4'}), 't', "$name: there are entries");
	cmp_ok($growth, '<', 64 * 1024, "$name: the worker grows by less than 64 MB for a million entries");
}

done_testing();
