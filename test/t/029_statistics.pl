# What the planner is told comes from the cache by the reader's own key: ANALYZE keeps no value that others could read.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use List::Util qw(max);
use Test::More;

start_sim(job_seconds => 0, owners => 500, monthly_quota => 100_000);
my $node = start_node('statistics');
create_server($node, max_concurrent_exports => 8);
import_tables($node);
sub rows { return sql("SELECT count(*) FROM $_[0]"); }

sql(q{CREATE SCHEMA heap; SET search_path = clari;
	CREATE TABLE parted (time_period text, owner_email text, forecast_amount numeric) PARTITION BY LIST (time_period);
	CREATE TABLE parent (owner_email text, time_period text);
	CREATE FOREIGN TABLE child () INHERITS (parent) SERVER clari OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q2');
	CREATE STATISTICS clari.together ON owner_email, forecast_amount FROM forecasts});
sql(qq{CREATE FOREIGN TABLE clari.parted_$_ PARTITION OF clari.parted FOR VALUES IN ('2026_Q$_') SERVER clari
	OPTIONS (forecast 'net_arr', periods '2026_Q$_')}) for 1 .. 4;
# A partitioned partition, and what is not exported.
sql(q{CREATE TABLE clari.nested (time_period text, owner_email text) PARTITION BY LIST (time_period);
	CREATE TABLE clari.nested_1 PARTITION OF clari.nested FOR VALUES IN ('2026_Q1', '2026_Q2') PARTITION BY LIST (time_period);
	CREATE FOREIGN TABLE clari.nested_2 PARTITION OF clari.nested FOR VALUES IN ('2026_Q3') SERVER clari OPTIONS (forecast 'net_arr', periods '2026_Q3');
	CREATE FOREIGN TABLE clari.lacking (owner_email text, crm_total numeric, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', types 'forecast', periods '2026_Q1..2026_Q2')});
sql(qq{CREATE FOREIGN TABLE clari.nested_1_$_ PARTITION OF clari.nested_1 FOR VALUES IN ('2026_Q$_') SERVER clari
	OPTIONS (forecast 'net_arr', periods '2026_Q$_')}) for 1 .. 2;
# Partitions of two kinds: the heap's rows are sampled, the others are not.
sql(q{CREATE TABLE clari.mixed (time_period text, owner_email text) PARTITION BY LIST (time_period);
	CREATE FOREIGN TABLE clari.mixed_1 PARTITION OF clari.mixed FOR VALUES IN ('2026_Q1') SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1');
	CREATE TABLE clari.mixed_2 PARTITION OF clari.mixed FOR VALUES IN ('2026_Q2');
	INSERT INTO clari.mixed SELECT '2026_Q2', 'somebody@else.example' FROM generate_series(1, 200)});
my @tables = qw(forecasts entries users fields time_periods time_frames parted parent child nested lacking mixed);
sql("CREATE TABLE heap.$_ AS SELECT * FROM clari.$_") for @tables;

subtest 'ANALYZE keeps the number of rows and nothing else' => sub {
	my $stats = q{SELECT string_agg(DISTINCT tablename, ' ') FROM pg_stats WHERE schemaname = 'clari' AND tablename !~ '^mixed'};
	for my $statement ('ANALYZE clari.forecasts', 'ANALYZE clari.forecasts (owner_email)', (map { "ANALYZE clari.$_" } @tables), 'ANALYZE')
	{
		sql($statement);
		is(sql($stats), '', "$statement: pg_stats shows nothing");
	}
	is(sql(q{SELECT count(*) FROM pg_stats_ext WHERE schemaname = 'clari' AND most_common_vals IS NOT NULL}) +
		sql(q{SELECT count(*) FROM pg_statistic_ext_data}), 0, 'nor do extended statistics');
	is(sql(q{SELECT string_agg(DISTINCT most_common_vals::text, ' ' ORDER BY most_common_vals::text) FROM pg_stats
		WHERE schemaname = 'clari' AND tablename = 'mixed'}), '{2026_Q2} {somebody@else.example}', "a parent's are of its heaps");
	is(sql("SELECT reltuples FROM pg_class WHERE oid = 'clari.$_'::regclass"), rows("clari.$_"), "$_: the number of rows")
		for grep { !/parent/ } @tables;
};

# The planner's rows for the query, and how many there are.
sub estimated
{
	my ($query) = @_;
	my ($rows) = sql("EXPLAIN (FORMAT JSON) $query") =~ /"Plan Rows": (\d+)/;
	return ($rows, sql("SELECT count(*) FROM ($query) q"));
}

# After ANALYZE, which is not needed for it.
subtest 'estimates come from the cache' => sub {
	sql('ANALYZE heap.entries');
	my @nulls = split /\n/, sql(q{SELECT attname FROM pg_stats WHERE schemaname = 'heap' AND tablename = 'entries' AND null_frac BETWEEN 0.02 AND 0.98});
	cmp_ok(scalar @nulls, '>', 2, 'there are columns with nulls');
	for my $query ((map { ("SELECT 1 FROM clari.entries WHERE $_ IS NULL", "SELECT 1 FROM clari.entries WHERE $_ IS NOT NULL") } @nulls),
		(map { "SELECT 1 FROM clari.forecasts WHERE $_ IS NOT NULL" } qw(forecast_amount quota_amount owner_email adjustment_amount crm_total)),
		'SELECT 1 FROM clari.forecasts WHERE owner_email IS NULL',
		(map { ("SELECT owner_email FROM clari.$_ GROUP BY 1", "SELECT time_period FROM clari.$_ GROUP BY 1") } qw(forecasts entries)),
		'SELECT field_id FROM clari.entries GROUP BY 1', 'SELECT 1 FROM clari.lacking WHERE crm_total IS NULL',
		# of the parent
		(map { ("SELECT owner_email FROM clari.$_ GROUP BY 1", "SELECT time_period FROM clari.$_ GROUP BY 1") } qw(parted parent nested)),
		q{SELECT owner_email FROM clari.parted WHERE time_period IN ('2026_Q1', '2026_Q2') GROUP BY 1})
	{
		my ($estimate, $rows) = estimated($query);
		cmp_ok(max($estimate, 1) / max($rows, 1), '<', 2, "$query: $estimate rows are not too many");
		cmp_ok(max($rows, 1) / max($estimate, 1), '<', 2, "$query: nor too few for $rows");
	}
	my ($width) = sql('EXPLAIN SELECT owner_email FROM clari.forecasts') =~ /width=(\d+)/;
	cmp_ok(abs($width - sql('SELECT avg(length(owner_email)) FROM clari.forecasts')), '<=', 6, 'widths too');
};

subtest 'of what the reader may see' => sub {
	sql(q{CREATE ROLE stranger; GRANT USAGE ON SCHEMA clari TO stranger; GRANT SELECT ON ALL TABLES IN SCHEMA clari TO stranger});
	my $plan = 'EXPLAIN SELECT owner_email FROM clari.entries GROUP BY 1';
	my ($mine) = sql($plan) =~ /rows=(\d+)/;
	my ($strange) = sql("SET ROLE stranger; $plan") =~ /rows=(\d+)/;
	isnt($strange, $mine, "another's estimates do not tell what is cached for this key");
	is(sql('SET ROLE stranger; SELECT count(*) FROM pg_stats WHERE schemaname = $$clari$$ AND tablename !~ $$^mixed$$'), 0, 'nor does pg_stats');
};

done_testing();
