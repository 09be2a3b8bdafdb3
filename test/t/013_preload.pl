# The library in the server: preloaded or not, several databases, the worker's life, a hot standby.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_sim(job_seconds => 0.05, concurrent_limit => 100);

my $one = "SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'";
my $worker = "SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'";


sub set_up
{
	my ($node, $database) = @_;
	create_server($node, database => $database);
	import_tables($node, database => $database);
	return;
}

# What must hold with the library preloaded and without.
sub check_server
{
	my ($node) = @_;
	sim_reset();
	is($node->safe_psql('postgres', $one), 500, 'a query works');
	is(sim_posts(), 1, 'by an export');
	$node->safe_psql('postgres', 'CREATE DATABASE second');
	$node->safe_psql('second', 'CREATE EXTENSION clari_fdw');
	set_up($node, 'second');
	is($node->safe_psql('second', $one), 500, 'another database has the same rows');
	is(sim_posts(), 1, 'from the same cache');
	is($node->safe_psql('second', 'SELECT hits > 0 FROM clari_cache'), 't', 'and sees it');

	my $pids = $node->safe_psql('postgres', $worker);
	like($pids, qr/^\d+$/, 'one worker, visible in pg_stat_activity');
	is($node->safe_psql('postgres', "SELECT datname IS NULL FROM pg_stat_activity WHERE pid = $pids"), 't',
		'connected to no database');
	sim_set({ job_seconds => 'hold' });
	$node->safe_psql('second', "SELECT clari_prefetch('clari.forecasts')");
	wait_until('exports are under way', sub { sim_posts() == 4 });
	my $session = ClariSession->new($node);
	$session->query("SET statement_timeout = '20s'");
	unlike($session->query('DROP DATABASE second'), qr/ERROR/, 'DROP DATABASE is not blocked');
	unlike($session->query('DROP EXTENSION clari_fdw CASCADE'), qr/ERROR/, 'nor is DROP EXTENSION');
	sim_release();
	sim_set({ job_seconds => 0.05 });
	unlike($session->query('CREATE EXTENSION clari_fdw'), qr/ERROR/, 'and it can be created again');
	set_up($node, 'postgres');
	is($session->query('SELECT count(*) FROM clari.forecasts'), 2000, 'what was under way');
	is(sim_posts(), 4, 'has come into the cache');
	return;
}

sub check_worker
{
	my ($node) = @_;
	my $pids = $node->safe_psql('postgres', $worker);
	sim_set({ owners => 3000 });
	$node->safe_psql('postgres', "SELECT clari_refresh('clari.forecasts', '{2026_Q1}')");
	is($node->safe_psql('postgres', "SELECT tier FROM clari_cache WHERE time_period = '2026_Q1'"), 'memory',
		'a rowset in memory');
	$node->append_conf('postgresql.conf', "clari_fdw.shared_cache_size = '1MB'\nclari_fdw.max_workers = 3\n");
	$node->reload;
	wait_until('the worker has the new settings', sub {
		$node->safe_psql('postgres', "SELECT clari_refresh('clari.forecasts', '{2026_Q1}')");
		$node->safe_psql('postgres', "SELECT tier FROM clari_cache WHERE time_period = '2026_Q1'") eq 'disk' });
	is($node->safe_psql('postgres', $one), 3000, 'and serves on');
	my $after = $node->safe_psql('postgres', $worker);
	like($after, qr/\b$_\b/, "worker $_ survived the reload") for split /,/, $pids;
	$node->append_conf('postgresql.conf', "clari_fdw.worker_idle_timeout = '100ms'\n");
	$node->reload;
	wait_until('idle workers are gone', sub { $node->safe_psql('postgres', $worker) eq '' });
	is($node->safe_psql('postgres', $one), 3000, 'the cache stays');
	$node->safe_psql('postgres', "SELECT clari_refresh('clari.forecasts', '{2026_Q1}')");
	pass('and a new worker comes when it is needed');
	sim_set({ owners => 500 });
	return;
}

my $node = start_node('preload');
set_up($node, 'postgres');
subtest 'not preloaded' => sub { check_server($node); };
subtest 'the worker' => sub { check_worker($node); };

subtest 'settings' => sub {
	my $session = ClariSession->new($node);
	$session->query($one);
	like($session->query("SET clari_fdw.nonsense = '1'"), qr/ERROR: .*clari_fdw\.nonsense/, 'the prefix is reserved');
	like($session->query("SET clari_fdw.max_workers = 3"), qr/ERROR:  55P02/, 'no session changes a setting');
	my $early = ClariSession->new($node);
	$early->query("SET clari_fdw.nonsense = '1'");
	like($early->query($one), qr/WARNING: .*clari_fdw\.nonsense.*^\d+$/ms, 'nor does a placeholder survive');
};

subtest 'preloaded' => sub {
	$node->append_conf('postgresql.conf',
		"shared_preload_libraries = 'clari_fdw'\nclari_fdw.shared_cache_size = '32MB'\nclari_fdw.worker_idle_timeout = '1min'\n");
	$node->restart;
	is($node->safe_psql('postgres', 'SHOW clari_fdw.shared_cache_size'), '32MB', 'settings are there without a query');
	my $fresh = ClariSession->new($node);
	is($fresh->query("ALTER SYSTEM SET clari_fdw.max_workers = 2"), '', 'ALTER SYSTEM takes them');
	like($fresh->query("ALTER SYSTEM SET clari_fdw.max_workers = 0"), qr/ERROR:  22023/, 'if they are good');
	$fresh->query('SELECT clari_invalidate()');
	check_server($node);
	check_worker($node);
};
$node->stop;

subtest 'hot standby' => sub {
	sim_reset();
	my $primary = PostgreSQL::Test::Cluster->new('primary');
	$primary->init(allows_streaming => 1, extra => [ "--encoding=UTF8", "--locale=C.UTF-8" ]);
	$primary->append_conf('postgresql.conf', 'max_worker_processes = 16');
	$primary->start;
	$primary->safe_psql('postgres', 'CREATE EXTENSION clari_fdw');
	set_up($primary, 'postgres');
	$primary->safe_psql('postgres', 'SELECT clari_create_tables()');
	is($primary->safe_psql('postgres', $one), 500, 'the primary exports');
	my @files = glob($primary->data_dir . '/pgsql_tmp_clari_fdw/*.rowset');
	is(scalar @files, 1, 'into a file');
	$primary->backup('backup');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($primary, 'backup', has_streaming => 1);
	ok(!-d $standby->data_dir . '/pgsql_tmp_clari_fdw', 'which the backup skips');
	$standby->start;
	$primary->wait_for_catchup($standby, 'replay', $primary->lsn('write'));

	is(sim_posts(), 1, 'one POST so far');
	my ($sqlstate, $error) = query_error($standby, "CALL clari_sync('clari.forecasts')");
	is($sqlstate, '25006', 'clari_sync is refused on a standby');
	is(sim_posts(), 1, 'before it has exported anything');
	is($standby->safe_psql('postgres', $one), 500, 'but a query works there');
	is(sim_posts(), 2, 'by an export of its own');
	is($standby->safe_psql('postgres', 'SELECT count(*) FROM clari.forecasts'), 2000, 'and so do more');
	is(sim_posts(), 5, 'as many as are missing');
	is($standby->safe_psql('postgres', "SELECT clari_refresh('clari.forecasts', '{2026_Q1}')"), 1, 'clari_refresh too');
	like($standby->safe_psql('postgres', $worker), qr/^\d+/, 'by its own worker');
	$standby->promote;
	is($standby->safe_psql('postgres', 'SELECT count(*) FROM clari.forecasts'), 2000, 'promoted, it keeps its cache');
	is(sim_posts(), 6, 'without a POST');
	is($standby->safe_psql('postgres', "CALL clari_sync('clari.forecasts', max_age => '1 day');
		SELECT count(*) > 1900 FROM clari_forecasts"), 't', 'and clari_sync works');
	is(sim_posts(), 6, 'with what is cached');
};

done_testing();
