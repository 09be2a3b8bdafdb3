# The worker's memory does not grow with the export.  "run.sh memory" measures larger ones.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use List::Util qw(max);
use Test::More;

start_sim(job_seconds => 0, monthly_quota => 100000);
my $node = start_node('memory');
create_server($node, max_export_size => '4GB');
import_tables($node);
my $session = ClariSession->new($node);
my $refresh = q{SELECT clari_refresh('clari.forecasts', '{2026_Q4}')};

# A new worker's private memory in kB, at its highest while the period is exported.
sub worker_memory
{
	my ($shape, $owners) = @_;
	sim_set({ shape => $shape, owners => $owners, missing_quota => 0 }, period => '2026_Q4');
	# The simulator keeps the file that it renders here, which takes it longer than the worker takes to read it.
	is($session->query($refresh), 1, "$shape: exported $owners owners");
	terminate_workers($node);
	my $highest = 0;
	$session->start($refresh);
	$highest = max($highest, private_memory(children($node, qr/clari_fdw worker/))) until $session->is_finished(0.01);
	is($session->finish, 1, '… again');
	return $highest;
}

# An owner of CSV has six lines, whose quarter this tells.
$session->query(q{SELECT count(*) FROM clari.time_periods WHERE time_period = '2026_Q1'});
for my $case ([ 'v4', 5_000, 200_000 ], [ 'flat', 10_000, 400_000 ], [ 'csv', 2_000, 70_000 ])
{
	my ($shape, $few, $many) = @$case;
	my $growth = worker_memory($shape, $many) - worker_memory($shape, $few);
	note("$shape: $growth kB");
	is($node->safe_psql('postgres', q{SELECT rows > 0 FROM clari_cache WHERE time_period = '2026_Q4'}), 't', "$shape: there are entries");
	cmp_ok($growth, '<', 24 * 1024, "$shape: the worker grows by less than 24 MB for 400,000 entries or lines");
}
$session->quit;

done_testing();
