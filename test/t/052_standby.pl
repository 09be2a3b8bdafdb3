# On a hot standby: queries work, from a cache of its own and with exports; what writes is refused before it costs
# anything; a promotion in mid-export loses nothing.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_sim(job_seconds => 0, owners => 50, null_emails => 0, concurrent_limit => 100, monthly_quota => 100_000);
my $primary = start_node('primary', 'max_wal_senders = 5', "wal_level = 'replica'", 'hot_standby = on',
	"max_standby_streaming_delay = '1s'");
create_server($primary, max_concurrent_exports => 4);
import_tables($primary, closed_period_ttl => '1d');
$primary->safe_psql('postgres', q{
	SELECT clari_create_tables();
	CREATE TABLE of_primary AS SELECT 1;
	SELECT count(*) FROM clari.forecasts;
	CALL clari_sync('clari.forecasts', max_age => '1d');});
is(sim_posts(), 4, 'the primary has exported four quarters');

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

sub on_standby { return $standby->safe_psql('postgres', $_[0]); }
is(on_standby('SELECT pg_is_in_recovery()'), 't', 'the other server is a standby');

subtest 'cache files are each server\'s own' => sub {
	my @copied = cache_files($standby, qr/./);
	is(scalar cache_files($primary, qr/\.rowset$/), 4, 'four rowsets on the primary');
	is("@copied", '', 'none came with the base backup');
	is(on_standby('SELECT count(*) FROM clari_cache'), 0, 'and the standby knows of none');
};

subtest 'queries' => sub {
	sim_reset();
	is_as_generated($standby, 'clari.forecasts', 'forecasts', "2026_Q$_") for 1 .. 4;
	is(sim_posts(), 4, 'are answered by exports of its own');
	cmp_ok(scalar children($standby, qr/clari_fdw worker/), '>=', 1, 'that its own worker makes');
	is_as_generated($standby, 'clari.entries', 'entries', '2026_Q1');
	is(sim_posts(), 4, 'and then from its cache');
	is(scalar cache_files($standby, qr/\.rowset$/), 4, 'which has files');
	$standby->restart;
	is_as_generated($standby, 'clari.forecasts', 'forecasts', '2026_Q1');
	is(sim_posts(), 4, 'and outlives a restart');
	is(on_standby("SELECT count(*) FROM clari.forecasts f JOIN clari_forecasts t USING (owner_email, time_period)"), 200,
		'they join what is replicated');
	like(on_standby('EXPLAIN SELECT * FROM clari.forecasts'), qr/Foreign Scan/, 'EXPLAIN works');
};

subtest 'the functions that write nothing' => sub {
	sim_reset();
	is(on_standby(q{SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')}), 1, 'clari_invalidate');
	is(on_standby(q{SELECT clari_prefetch('clari.forecasts', '{2026_Q1}')}), 1, 'clari_prefetch');
	is(on_standby(q{SELECT clari_refresh('clari.forecasts', '{2026_Q2}')}), 1, 'clari_refresh');
	wait_until('both are there', sub { on_standby("SELECT count(*) FROM clari_cache WHERE state = 'ready'") eq '4' });
	is(sim_posts(), 2, 'each by one POST');
	is(on_standby('SELECT exports FROM clari_stats'), 2, 'clari_stats counts');
};

# Where the cache is empty, so that a query would export; each once on the standby and once in a read-only transaction.
my @writers = (
	q{INSERT INTO staging_clari SELECT * FROM clari.forecasts},
	q{CALL clari_sync('clari.forecasts')},
	q{CALL clari_sync('clari.forecasts', '{2026_Q1}', 'clari_forecasts', true)},
	q{SELECT clari_merge()},
	q{SELECT clari_merge('clari_forecasts', 'clari.forecasts')},
	q{SELECT clari_merge('clari_forecasts', 'clari.forecasts', true)},
	q{SELECT clari_create_tables()},
	q{SET search_path = clari, public; SELECT clari_create_tables()});
for my $where ([ 'standby', $standby, '' ], [ 'read-only transaction', $primary, "SET default_transaction_read_only = on;\n" ])
{
	my ($name, $node, $before) = @$where;
	subtest "what writes is refused: $name" => sub {
		$node->safe_psql('postgres', 'SELECT clari_invalidate()');
		sim_reset();
		for my $statement (@writers)
		{
			my ($sqlstate, $error) = query_error($node, $before . $statement);
			is($sqlstate, '25006', "$statement");
			like($error, qr/cannot execute .* (in a read-only transaction|during recovery)/, 'in PostgreSQL\'s words');
		}
		is(sim_requests(), 0, 'before Clari is asked for anything');
	};
}

subtest 'a query that replay cancels' => sub {
	sim_reset();
	sim_set({ job_seconds => 'hold' });
	my $session = ClariSession->new($standby)->start(digest_of('clari.forecasts', "time_period = '2026_Q3'"));
	wait_until('a job runs', sub { on_standby("SELECT count(*) FROM clari_exports WHERE job_id <> ''") eq '1' });
	$primary->safe_psql('postgres', "ALTER FOREIGN TABLE clari.forecasts OPTIONS (SET closed_period_ttl '2d')");
	like($session->finish, qr/ERROR:  40001: .*conflict with recovery/, 'ends with PostgreSQL\'s error');
	sim_set({ job_seconds => 0 });
	sim_release();
	is_as_generated($standby, 'clari.forecasts', 'forecasts', '2026_Q3');
	is(sim_posts(), 1, 'but its export is not wasted');
};

subtest 'promotion in mid-export' => sub {
	sim_reset();
	sim_set({ job_seconds => 'hold' });
	my $query = digest_of('clari.forecasts', "time_period IN ('2026_Q1', '2026_Q2')");
	my @sessions = map { ClariSession->new($standby)->start($query) } 1 .. 2;
	wait_until('two jobs run, for both', sub {
		on_standby("SELECT count(*), min(waiters) FROM clari_exports WHERE job_id <> ''") eq '2|2' });
	my ($worker) = children($standby, qr/clari_fdw worker/);
	$standby->promote;
	is(on_standby('SELECT pg_is_in_recovery()'), 'f', 'the standby is a primary now');
	ok(!$_->is_finished, 'a query waits on') for @sessions;
	sim_set({ job_seconds => 0 });
	sim_release();
	like($_->finish, qr/^100 \w+$/, 'and gets its rows') for @sessions;
	is_as_generated($standby, 'clari.forecasts', 'forecasts', $_) for qw(2026_Q1 2026_Q2);
	is(sim_posts(), 2, 'of one POST for each period');
	ok((grep { $_ == $worker } children($standby, qr/clari_fdw worker/)), 'by the same worker');
	on_standby(q{TRUNCATE clari_forecasts, staging_clari; CALL clari_sync('clari.forecasts', '{2026_Q1,2026_Q2}', max_age => '1d')});
	is_as_generated($standby, 'clari_forecasts', 'forecasts', '2026_Q1', name => 'what waited can be synced');
	is(sim_posts(), 2, 'from the cache');
	ok(-s $_, 'a file of the cache') for cache_files($standby, qr/\.rowset$/);
};

done_testing();
