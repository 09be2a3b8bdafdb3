# The main job: every row is what the simulator's generator says, and is read again without a request.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use Test::More;

start_sim(job_seconds => 0.1);
my $node = start_node('rows');
create_server($node);
import_tables($node);

my $columns = 'owner_name, owner_email, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount, time_period, forecast_name';
my $query = qq{COPY (SELECT $columns FROM clari.forecasts WHERE time_period = '2026_Q1'
	ORDER BY owner_email COLLATE "C", owner_name COLLATE "C", forecast_amount, quota_amount) TO STDOUT (FORMAT csv)};
is($node->safe_psql('postgres', 'SELECT count(*) FROM clari.forecasts'), '2000', 'four quarters of 500 owners');
is(sim_seen('total.post'), '4', 'four exports');
$node->safe_psql('postgres', $query);
is(sim_seen('total.post'), '4', 'no export for what is cached');

done_testing();
