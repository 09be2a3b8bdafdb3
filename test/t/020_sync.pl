# clari_sync: refreshes, waits and merges; and what a refresh may cost.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

start_sim(job_seconds => 0.05, null_emails => 0, current_quarter => '2026_Q4');
my $node = start_node('sync');
create_server($node, max_concurrent_exports => 8);
import_tables($node);

# Runs statements of which some may fail; returns all that psql printed, notices included.
sub talk
{
	my ($sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql);
	return "$out\n$err";
}

# Runs a query in the background; finish with ->finish.
sub start_query
{
	my ($sql, $out) = @_;
	return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ], '<', \undef, '&>', $out,
		IPC::Run::timeout($ClariSession::patience));
}

subtest 'a sync merges all periods' => sub {
	my $said = talk(q{SELECT clari_create_tables(); CALL clari_sync('clari.forecasts');});
	like($said, qr/4 periods synced: 2000 inserted, 0 updated, 0 unchanged, 0 deleted, 0 skipped/, 'counts');
	my $differ = $node->safe_psql('postgres', q{
		SELECT count(*) FROM ((TABLE clari.forecasts EXCEPT TABLE clari_forecasts)
			UNION ALL (TABLE clari_forecasts EXCEPT TABLE clari.forecasts)) AS d});
	is($differ, '0', 'the table holds what the foreign table shows');
};

subtest 'a second sync writes nothing, a changed export only what changed' => sub {
	$node->safe_psql('postgres', 'ALTER SERVER clari OPTIONS (ADD closed_period_ttl \'0\')');
	like(talk(q{CALL clari_sync('clari.forecasts')}), qr/0 inserted, 0 updated, 2000 unchanged/, 'unchanged');
	sim_set({ version => 1 });
	my $said = talk(q{CALL clari_sync('clari.forecasts')});
	my ($updated) = $said =~ /0 inserted, (\d+) updated, \d+ unchanged, 0 deleted/;
	is($updated, 20, 'one percent changed');
	sim_set({ version => 0 });
};

subtest 'max_age spares what is young enough' => sub {
	sim_reset();
	talk(q{CALL clari_sync('clari.forecasts', max_age => '1 hour')});
	is(sim_seen('total.post'), 4, 'closed quarters go by closed_period_ttl, which is 0 here');
	$node->safe_psql('postgres', 'ALTER SERVER clari OPTIONS (SET closed_period_ttl \'1d\')');
	talk(q{CALL clari_sync('clari.forecasts')});
	is(sim_seen('total.post'), 4, 'and are not exported again within it');
};

subtest 'a bad period does not stop the others, outside of a transaction block' => sub {
	$node->safe_psql('postgres', q{TRUNCATE clari_forecasts; SELECT clari_invalidate();});
	sim_fault({ status => 500, body => 'x' }, step => 'post', period => '2026_Q2');
	my $said = talk(q{CALL clari_sync('clari.forecasts')});
	like($said, qr/3 periods synced: 1500 inserted/, 'three are merged');
	like($said, qr/ERROR:  could not sync 1 of 4 periods of forecast "net_arr"/, 'and the error follows');
	like($said, qr/Period 2026_Q2: .*HTTP status 500/, 'and names the period and why');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM clari_forecasts'), '1500', 'committed');

	$node->safe_psql('postgres', q{TRUNCATE clari_forecasts; SELECT clari_invalidate();});
	$said = talk(q{BEGIN; CALL clari_sync('clari.forecasts'); COMMIT;});
	like($said, qr/could not sync 1 of 4/, 'inside of one the error comes');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM clari_forecasts'), '0', 'and nothing is merged');
	sim_reset();
};

subtest 'another quarter in the answer is a failed period' => sub {
	$node->safe_psql('postgres', 'SELECT clari_invalidate()');
	sim_set({ known_periods => [ '2026_Q2', '2026_Q3', '2026_Q4' ] });
	my $said = talk(q{CALL clari_sync('clari.forecasts')});
	like($said, qr/Period 2026_Q1: Clari answered with period 2026_Q4/, 'it says so');
	like($said, qr/3 periods synced/, 'the others are merged');
	sim_set({ known_periods => undef });
};

subtest 'what would fail later fails before anything is exported' => sub {
	$node->safe_psql('postgres', q{
		SELECT clari_invalidate();
		CREATE FOREIGN TABLE part (owner_email text, time_period text) SERVER clari
			OPTIONS (forecast 'net_arr', periods '2026_Q1');
		CREATE TABLE no_key (LIKE clari_forecasts);
		CREATE ROLE analyst LOGIN;
		GRANT USAGE ON SCHEMA clari TO analyst;
		GRANT SELECT ON clari.forecasts TO analyst;
		GRANT EXECUTE ON PROCEDURE clari_sync(regclass, text[], regclass, boolean, interval, float8) TO analyst;
		CREATE USER MAPPING FOR analyst SERVER clari OPTIONS (api_key 'test-key');
		CREATE SCHEMA AUTHORIZATION analyst;});
	sim_reset();
	like(talk(q{CALL clari_sync('part')}), qr/table public.part lacks columns: forecast_name, owner_name, /, 'a column that is missing');
	like(talk(q{CALL clari_sync('clari.forecasts', target => 'no_key')}), qr/has no unique index/, 'a target without its key');
	like(talk(q{CALL clari_sync('clari.users')}), qr/does not show forecasts/, 'another object');
	like(talk(q{CALL clari_sync('clari.forecasts', '{2019_Q1}')}), qr/period "2019_Q1" is outside option/, 'a period outside of the extent');
	like(talk(q{BEGIN READ ONLY; CALL clari_sync('clari.forecasts'); COMMIT;}), qr/read-only transaction/, 'a read-only transaction');
	is(sim_seen('total.post'), 0, 'no export');
};

subtest 'another session exports a period anew while a sync waits for the others' => sub {
	$node->safe_psql('postgres', q{SELECT clari_invalidate(); TRUNCATE clari_forecasts;
		ALTER SERVER clari OPTIONS (SET closed_period_ttl '0');});
	sim_reset();
	sim_set({ job_seconds => 'hold' }, period => '2026_Q2');
	my $out = '';
	my $sync = start_query(q{CALL clari_sync('clari.forecasts', '{2026_Q1,2026_Q2}')}, \$out);
	wait_until('2026_Q2 is being exported', sub { sim_seen('periods.2026_Q2.poll') > 0
		&& $node->safe_psql('postgres', q{SELECT count(*) FROM clari_cache WHERE time_period = '2026_Q1' AND state = 'ready'}) });
	$node->safe_psql('postgres', q{SELECT clari_refresh('clari.forecasts', '{2026_Q1}')});
	my $holding = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity
		WHERE query LIKE 'CALL clari_sync%' AND (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)});
	is($holding, '0', 'the waiting sync holds no snapshot and no transaction ID');
	sim_release();
	$sync->finish;
	like($out, qr/2 periods synced: 1000 inserted/, 'the sync succeeds');
	sim_set({ job_seconds => 0.05 }, period => '2026_Q2');
};

subtest 'the current quarter is exported only when it is wanted' => sub {
	$node->safe_psql('postgres', q{SELECT clari_invalidate(); ALTER SERVER clari OPTIONS (SET closed_period_ttl '1d');});
	import_tables($node, schema => 'relative', periods => 'current-3..current');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM relative.forecasts'), '2000', 'four quarters');
	sim_reset();
	$node->safe_psql('postgres', q{SELECT clari_refresh('relative.forecasts', '{2026_Q1}')});
	is(sim_seen('total.post'), 1, 'a refresh of one quarter is one export');
	is($node->safe_psql('postgres', q{SELECT clari_invalidate('relative.forecasts', '{2026_Q4}')}), '1',
		'the current quarter is forgotten by its name');
	is($node->safe_psql('postgres', q{SELECT clari_invalidate('relative.forecasts', '{2026_Q1}')}), '1',
		'and another while nobody knows which one is current');
};

subtest 'two scans of one export are as fresh as the stricter asks' => sub {
	$node->safe_psql('postgres', q{
		CREATE FOREIGN TABLE lax (time_period text, exported_at timestamptz) SERVER clari
			OPTIONS (forecast 'net_arr', periods '2026_Q1', closed_period_ttl '1d');
		CREATE FOREIGN TABLE strict (time_period text, exported_at timestamptz) SERVER clari
			OPTIONS (forecast 'net_arr', periods '2026_Q1', cache_ttl '0', closed_period_ttl '0');
		SELECT count(*) FROM lax;});
	for my $query ('TABLE lax UNION TABLE strict', 'TABLE strict UNION TABLE lax')
	{
		sim_reset();
		is($node->safe_psql('postgres', "SELECT count(*) FROM ($query) AS both_of_them"), '1', "$query: one version");
		is(sim_seen('total.post'), 1, "$query: one export");
	}
	is($node->safe_psql('postgres', q{SELECT expires_at > now() FROM clari_cache WHERE time_period = '2026_Q1'}), 'f',
		'clari_cache tells when the last look-up takes it for stale');
	$node->safe_psql('postgres', q{SELECT clari_invalidate(); SELECT count(*) FROM lax;});
	is($node->safe_psql('postgres', q{SELECT expires_at > now() FROM clari_cache WHERE time_period = '2026_Q1'}), 't',
		'also after the export itself');
};

subtest 'a quarter that ends between two syncs' => sub {
	$node->safe_psql('postgres', 'SELECT clari_invalidate(); TRUNCATE clari_forecasts;');
	sim_set({ current_quarter => '2090_Q1' });
	$node->safe_psql('postgres', 'SELECT count(*) FROM relative.forecasts');
	talk(q{CALL clari_sync('relative.forecasts')});
	is($node->safe_psql('postgres', q{SELECT expires_at - exported_at > '3 hours' FROM clari_cache WHERE time_period = 'current'}), 't',
		"clari_cache tells the table's TTL, not the sync's max_age");
	$node->safe_psql('postgres', 'TRUNCATE clari_forecasts');
	sim_set({ current_quarter => '2090_Q2' });
	like(talk(q{CALL clari_sync('relative.forecasts', '{2090_Q1}')}), qr/1 period synced: 500 inserted/, 'by name');
	is($node->safe_psql('postgres', 'SELECT DISTINCT time_period FROM clari_forecasts'), '2090_Q1',
		'it is the quarter that was asked for');
	sim_set({ current_quarter => '2090_Q3' });
	like(talk(q{CALL clari_sync('relative.forecasts')}), qr/4 periods synced/, 'the whole extent');
	is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT time_period, ' ') FROM clari_forecasts}),
		'2089_Q4 2090_Q1 2090_Q2 2090_Q3', 'moves on with the quarter');
	sim_set({ current_quarter => '2026_Q4' });
};

subtest 'delete_missing removes what Clari has no more, from the periods that were synced' => sub {
	$node->safe_psql('postgres', 'SELECT clari_invalidate(); TRUNCATE clari_forecasts;');
	talk(q{CALL clari_sync('clari.forecasts', '{2026_Q1,2026_Q2}')});
	sim_set({ owners => 400 }, period => '2026_Q1');
	$node->safe_psql('postgres', 'SELECT clari_invalidate()');
	like(talk(q{CALL clari_sync('clari.forecasts', '{2026_Q1}', delete_missing => true)}), qr/ 100 deleted/, 'counted');
	is($node->safe_psql('postgres', q{SELECT string_agg(n, ' ' ORDER BY n) FROM (
		SELECT time_period || ':' || count(*) AS n FROM clari_forecasts GROUP BY time_period) AS c}),
		'2026_Q1:400 2026_Q2:500', 'and nowhere else');
	sim_set({ owners => 500 }, period => '2026_Q1');
};

subtest 'a long wait is told of' => sub {
	$node->safe_psql('postgres', 'SELECT clari_invalidate()');
	sim_reset();
	sim_set({ job_seconds => 'hold' }, period => '2026_Q2');
	my $out = '';
	my $sync = start_query(q{CALL clari_sync('clari.forecasts', '{2026_Q2}')}, \$out);
	wait_until('a notice comes', sub { $sync->pump_nb; $out =~ /NOTICE/ });
	like($out, qr/NOTICE:  waiting for exports after \d+ s: 2026_Q2 (waiting|polling) \(0 entries\)/, 'period, phase and seconds');
	sim_release();
	$sync->finish;
	like($out, qr/1 period synced/, 'and then it succeeds');
};

done_testing();
