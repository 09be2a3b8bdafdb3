# Where Citus is installed: both tables distributed by owner_email and colocated, and merge and sync run on them as they are.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use Test::More;

# Debian has no Citus: this runs on machines that got it elsewhere.
chomp(my $share = qx{@{[ $ENV{PG_CONFIG} // 'pg_config' ]} --sharedir});
plan skip_all => "Citus is not installed: there is no $share/extension/citus.control" unless -e "$share/extension/citus.control";

start_sim(job_seconds => 0, owners => 200, null_emails => 40, concurrent_limit => 100, monthly_quota => 100_000);

# A coordinator and two workers, which reach one another by TCP.
my @config = ("shared_preload_libraries = 'citus'", "listen_addresses = '127.0.0.1'", 'max_prepared_transactions = 50',
	"citus.local_hostname = '127.0.0.1'", "citus.node_conninfo = 'sslmode=prefer'", 'citus.shard_count = 4');
my ($node, @workers) = map { start_node($_, @config) } 'coordinator', 'worker_1', 'worker_2';
$_->safe_psql('postgres', 'CREATE EXTENSION citus') for $node, @workers;
$node->safe_psql('postgres', "SELECT citus_set_coordinator_host('127.0.0.1', " . $node->port . ')');
$node->safe_psql('postgres', "SELECT citus_add_node('127.0.0.1', " . $_->port . ')') for @workers;
create_server($node, max_concurrent_exports => 8);
import_tables($node, closed_period_ttl => '0');
my $session = ClariSession->new($node);

sub query { return $session->query($_[0]); }

sub staged_row
{
	my ($owner, $amount, $exported) = @_;
	return "('$owner', '$owner\@x', $amount, 1, 1, 1, 1, '2026_Q1', '$exported', 'net_arr')";
}

subtest 'clari_create_tables(distributed => true)' => sub {
	unlike(query('SELECT clari_create_tables(distributed => true)'), qr/^ERROR/m, 'makes the tables') for 1, 2;
	is(query(q{SELECT string_agg(table_name::text || ' ' || distribution_column, ', ' ORDER BY table_name::text)
		FROM citus_tables WHERE citus_table_type = 'distributed'}), 'clari_forecasts owner_email, staging_clari owner_email',
		'both distributed by owner_email');
	is(query('SELECT count(DISTINCT colocation_id) FROM citus_tables'), 1, 'colocated');
	is(query('SELECT count(DISTINCT nodeport) FROM citus_shards'), 2, 'on two workers');
	is(query(q{SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension
		WHERE extname = 'clari_fdw') AND objid IN ('clari_forecasts'::regclass, 'staging_clari'::regclass)}), 0,
		'and no members of the extension');
	like(query('SELECT clari_track_history()'), qr/^ERROR:  0A000: cannot keep the history of public.clari_forecasts: Citus distributes it/m,
		'whose history cannot be kept');
};

subtest 'clari_merge' => sub {
	my @first = map { staged_row("o$_", $_, '2026-01-01') } 1 .. 20;
	query('INSERT INTO staging_clari VALUES ' . join(', ', @first));
	is(query('SELECT * FROM clari_merge()'), '20|0|0|0|0', 'inserts');
	is(query('SELECT * FROM clari_merge()'), '0|0|20|0|0', 'and does nothing the second time');
	query('TRUNCATE staging_clari; INSERT INTO staging_clari VALUES '
		  . join(', ', staged_row('o1', 9, '2026-01-02'), staged_row('o2', 9, '2025-01-02'), staged_row('o3', 3, '2026-01-02'),
			staged_row('o4', 7, '2026-01-02'), staged_row('o4', 8, '2026-01-03'), staged_row('new', 1, '2026-01-02')));
	my $said = query('SELECT * FROM clari_merge(delete_missing => true)');
	is(last_line($said), '1|2|1|16|2', 'inserts, updates, leaves and deletes');
	like($said, qr/^NOTICE: [^\n]*\b1 rows?\b[^\n]*(duplicate|same key|key of another)/mi, 'and tells of the duplicate');
	is(query(q{SELECT string_agg(owner_name || ':' || forecast_amount, ' ' ORDER BY owner_name) FROM clari_forecasts}),
		'new:1 o1:9 o2:2 o3:3 o4:8', 'what is there');
	query('BEGIN; SELECT clari_merge(); ROLLBACK; TRUNCATE staging_clari, clari_forecasts');
};

subtest 'what a sync refuses before it exports' => sub {
	sim_reset();
	query('INSERT INTO staging_clari VALUES ' . staged_row('left', 1, '2099-01-01'));
	like(query(q{CALL clari_sync('clari.forecasts')}), qr/^ERROR:  55000: staging table public.staging_clari is not empty/m, 'rows that others have staged');
	query('TRUNCATE staging_clari; CREATE SCHEMA apart; SET search_path = apart, public; SELECT clari_create_tables();
		SELECT create_distributed_table($$apart.clari_forecasts$$, $$owner_email$$, colocate_with => $$none$$);
		SELECT create_distributed_table($$apart.staging_clari$$, $$owner_email$$, colocate_with => $$none$$)');
	like(query(q{CALL clari_sync('clari.forecasts')}), qr/^ERROR:  55000: tables [^\n]* are not distributed by owner_email and colocated/m, 'tables that are apart');
	query('RESET search_path');
	is(sim_posts(), 0, 'nothing is exported');
};

subtest 'syncs from two nodes, and shards that move' => sub {
	is(query(q{SELECT count(*) FROM pg_class WHERE relname = 'staging_clari' AND relpersistence = 'p'}), 2, 'staging_clari is logged')
	  ;    # which, with its primary key, lets shards move online
	my @sessions = map { ClariSession->new($node) } 1, 2;
	$_->start(q{CALL clari_sync('clari.forecasts')}) for @sessions;
	unlike($_->finish, qr/^ERROR:  40P01/m, 'no deadlock') for @sessions;
	query('TRUNCATE clari_forecasts');
};

subtest 'clari_sync' => sub {
	my $said = query(q{CALL clari_sync('clari.forecasts')});
	like($said, qr/4 periods synced: 780 inserted, 0 updated, 0 unchanged, 0 deleted, 20 skipped/,
		'merges, without the owners that have no e-mail');
	# One table at a time: plain queries are all that this takes of Citus.
	my ($merged, $shown) = map { table_csv($node, $_, $ClariCluster::columns{forecasts}, 'owner_email IS NOT NULL') }
	  qw(clari_forecasts clari.forecasts);
	same_csv($merged, $shown, 'what the foreign table shows');
	is(query('SELECT count(*) FROM staging_clari'), 0, 'nothing is left staged');
	like(query(q{CALL clari_sync('clari.forecasts')}), qr/ 0 inserted, 0 updated, 780 unchanged, 0 deleted/, 'unchanged');
	sim_set({ version => 1, owners => 160 });
	like(query(q{BEGIN; CALL clari_sync('clari.forecasts', delete_missing => true); COMMIT}),
		qr/ 0 inserted, [1-9]\d* updated, \d+ unchanged, 156 deleted/, 'changed, in a transaction block');
	is(query('SELECT count(*) FROM clari_forecasts'), 624, 'what is gone is deleted');
	like(query(q{CALL clari_sync('clari.forecasts', '{2026_Q1}', delete_missing => true)}),
		qr/1 period synced: 0 inserted, 0 updated, 156 unchanged, 0 deleted/, 'and again for one quarter');
};

done_testing();
