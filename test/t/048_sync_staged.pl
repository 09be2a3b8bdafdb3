# clari_sync by way of staging_clari, as it is where Citus distributes the target: here on a server that has but Citus'
# catalog, and none of its ways.  043_citus.pl is for the real one.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use Test::More;

start_sim(job_seconds => 0, owners => 100, null_emails => 20, concurrent_limit => 100, monthly_quota => 100_000, weeks => 3);
my $node = start_node('staged');
# Not from a control file, which tests that run beside this one would find.
$node->safe_psql('postgres', q{
	SET allow_system_table_mods = on;
	INSERT INTO pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
		SELECT max(oid::bigint) + 1, 'citus', 10, 'pg_catalog'::regnamespace, false, '0' FROM pg_catalog.pg_extension;
	CREATE TABLE pg_catalog.pg_dist_partition (logicalrelid regclass, partmethod "char", partkey text, colocationid int);
	GRANT SELECT, INSERT ON pg_catalog.pg_dist_partition TO PUBLIC;
	CREATE FUNCTION pg_catalog.create_distributed_table(t regclass, c text, colocate_with text DEFAULT 'default') RETURNS void LANGUAGE sql AS
		$$INSERT INTO pg_catalog.pg_dist_partition VALUES (t, 'h', c, 1)$$;
	CREATE FUNCTION pg_catalog.column_to_column_name(t regclass, c text) RETURNS text LANGUAGE sql AS 'SELECT c';
});
create_server($node, max_concurrent_exports => 8);
import_tables($node, closed_period_ttl => '0');
import_tables($node, schema => 'weekly', closed_period_ttl => '0', include_historical => 'true');
my $session = ClariSession->new($node);

sub query { return $session->query($_[0]); }

subtest 'clari_create_tables(distributed => true)' => sub {
	unlike(query('SELECT clari_create_tables(distributed => true)'), qr/^ERROR/m, 'makes the tables') for 1, 2;
	is(query(q{SELECT string_agg(logicalrelid || ' ' || partkey, ', ' ORDER BY logicalrelid::text) FROM pg_dist_partition AS d}),
		'clari_forecasts owner_email, staging_clari owner_email', 'and distributes both, once');
	is(query(q{SELECT relpersistence::text || ' ' || (SELECT indisprimary FROM pg_index WHERE indrelid = c.oid) FROM pg_class AS c WHERE relname = 'staging_clari'}),
		'p true', 'staging_clari is logged, and has a key');
};

subtest 'a sync' => sub {
	like(query(q{CALL clari_sync('clari.forecasts')}), qr/4 periods synced: 380 inserted, 0 updated, 0 unchanged, 0 deleted, 20 skipped/, 'inserts');
	like(query(q{CALL clari_sync('clari.forecasts')}), qr/ 0 inserted, 0 updated, 380 unchanged, 0 deleted, 20 skipped/, 'again');
	is(query('SELECT count(*) FROM staging_clari'), 0, 'nothing is left staged');
	sim_set({ version => 1, owners => 90 });
	my $said = query(q{BEGIN; CALL clari_sync('clari.forecasts', '{2026_Q1,2026_Q2}', delete_missing => true); COMMIT});
	like($said, qr/2 periods synced: 0 inserted, \d+ updated, \d+ unchanged, 18 deleted, 8 skipped/, 'changed, and deleted');
	is(query(q{SELECT sum(updated) > 0 AND sum(updated + unchanged) = 172 FROM clari_syncs WHERE time_period < '2026_Q3'}), 't', 'as clari_syncs has it');
	my ($merged, $shown) = map { table_csv($node, $_, $ClariCluster::columns{forecasts}, q{owner_email IS NOT NULL AND time_period < '2026_Q3'}) }
	  qw(clari_forecasts clari.forecasts);
	same_csv($merged, $shown, 'what the foreign table shows');
	query('TRUNCATE clari_forecasts, clari_syncs');
	like(query(q{CALL clari_sync('weekly.forecasts', '{2026_Q1}')}), qr/ 86 inserted, 0 updated, 0 unchanged, 0 deleted, 4 skipped/, 'the latest week');
};

subtest 'what is refused before anything is exported' => sub {
	sim_reset();
	query(q{INSERT INTO staging_clari (owner_email, time_period, forecast_name) VALUES ('a', '2026_Q1', 'net_arr')});
	like(query(q{CALL clari_sync('clari.forecasts')}), qr/^ERROR:  55000: staging table public.staging_clari is not empty/m, 'what others have staged');
	is(query('SELECT count(*) FROM staging_clari'), 1, 'which stays');
	query('TRUNCATE staging_clari; UPDATE pg_dist_partition SET colocationid = 2 WHERE logicalrelid = $$staging_clari$$::regclass');
	like(query(q{CALL clari_sync('clari.forecasts')}), qr/^ERROR:  55000: tables [^\n]* are not distributed by owner_email and colocated/m, 'tables that are apart');
	like(query('SELECT clari_create_tables(distributed => true)'), qr/^ERROR:  55000: tables /m, 'by clari_create_tables, too');
	is(sim_posts(), 0, 'nothing was exported');
};

done_testing();
