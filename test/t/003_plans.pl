# A query has one answer under every plan: the one that a heap of the same rows gives.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use Test::More;

start_sim(job_seconds => 0, owners => 60, monthly_quota => 100_000, forecasts => [qw(net_arr bookings)]);
my $node = start_node('plans');
create_server($node, max_concurrent_exports => 8);

# Two schemas of the same tables: foreign ones, and the heap that they are to be like.
import_tables($node, periods => '2026_Q1..2026_Q4', schema => 'remote');
sql(q{CREATE SCHEMA heap});
sql("CREATE TABLE heap.$_ AS SELECT * FROM remote.$_") for qw(forecasts entries users fields time_periods time_frames);
sql(q{CREATE TABLE quarters (q text, n int);
	INSERT INTO quarters VALUES ('2026_Q2', 1), ('2026_Q3', 2), ('2026_Q2', 3), (NULL, 4), ('2026_Q5', 5), ('no', 6);
	CREATE TABLE big (n int, q text);
	INSERT INTO big SELECT i, '2026_Q' || (i % 5 + 1) FROM generate_series(1, 20000) i;
	ANALYZE quarters, big});

# Runs the statements with the tables of a schema; messages about the extent are not the point here.
sub rows_in
{
	my ($schema, $query) = @_;
	return sql("SET search_path = $schema, public; SET client_min_messages = warning; $query");
}

# The query has the heap's rows, whatever settings; order among equals is no promise, so the query orders itself.
sub same_rows
{
	my ($query, @settings) = @_;
	my $expected = rows_in('heap', $query);
	my $name = $query =~ s/\s+/ /gr;
	isnt($expected, '', "there are rows to compare: $name");
	for my $setting ('', @settings)
	{
		same_csv(rows_in('remote', "$setting; $query"), $expected, ($setting || 'default') . ": $name");
	}
	return;
}

# The kinds of joins, by forbidding the others; the plan must obey.
my %joins = (
	'Nested Loop' => 'SET enable_hashjoin = off; SET enable_mergejoin = off',
	'Hash Join' => 'SET enable_nestloop = off; SET enable_mergejoin = off',
	'Merge Join' => 'SET enable_nestloop = off; SET enable_hashjoin = off');
my @settings = (sort(values %joins),
	'SET enable_nestloop = off; SET enable_mergejoin = off; SET enable_hashagg = off; SET work_mem = 64',
	'SET enable_nestloop = off; SET enable_hashjoin = off; SET enable_sort = off',
	'SET enable_material = off; SET enable_memoize = off; SET enable_hashjoin = off; SET enable_mergejoin = off',
	'SET jit = on; SET jit_above_cost = 0; SET from_collapse_limit = 1; SET join_collapse_limit = 1');
for my $kind (sort keys %joins)
{
	like(rows_in('remote', qq{$joins{$kind}; EXPLAIN SELECT * FROM forecasts f JOIN users u ON u.email = f.owner_email}),
		qr/$kind/, "$kind is a plan that there is");
}

my $total = 'count(*), sum(forecast_amount), sum(quota_amount), sum(crm_closed), count(owner_email), min(owner_name COLLATE "C")';
same_rows($_, @settings) for (
	# joins
	qq{SELECT f.time_period, $total FROM forecasts f JOIN users u ON u.email = owner_email AND u.time_period = f.time_period
		GROUP BY 1 ORDER BY 1},
	qq{SELECT $total FROM forecasts f JOIN quarters ON q = time_period},
	qq{SELECT n, $total FROM quarters LEFT JOIN forecasts f ON q = time_period GROUP BY 1 ORDER BY 1},
	qq{SELECT q, $total FROM quarters FULL JOIN forecasts f ON q = time_period GROUP BY 1 ORDER BY 1},
	qq{SELECT count(*) FROM forecasts a JOIN forecasts b USING (owner_email) WHERE a.time_period = '2026_Q1' AND b.time_period = '2026_Q2'},
	qq{SELECT $total FROM forecasts f WHERE time_period IN (SELECT q FROM quarters)},
	qq{SELECT $total FROM forecasts f WHERE NOT EXISTS (SELECT FROM quarters WHERE q = time_period)},
	qq{SELECT count(*), sum(forecast_value) FROM entries JOIN fields USING (time_period, field_id) JOIN time_frames USING
		(time_period, time_frame_id) JOIN users USING (time_period, user_id) JOIN time_periods p USING (time_period)
		WHERE week_start = time_frames.start_date AND p.year = '2026'});
same_rows($_, (values %joins)[0]) for (
	# values that execution sets
	qq{SELECT $total FROM forecasts WHERE time_period = (SELECT q FROM quarters WHERE n = 1)},
	qq{SELECT $total FROM forecasts WHERE time_period = (SELECT q FROM quarters WHERE n = 4)},
	qq{SELECT $total FROM forecasts WHERE time_period = ANY (ARRAY(SELECT q FROM quarters))},
	qq{SELECT $total FROM forecasts WHERE time_period BETWEEN (SELECT min(q) FROM quarters) AND (SELECT q FROM quarters WHERE n = 2)},
	qq{SELECT n, q, (SELECT sum(forecast_amount) FROM forecasts WHERE time_period = q) FROM quarters ORDER BY n},
	qq{SELECT n, s.* FROM quarters, LATERAL (SELECT time_period, $total FROM forecasts WHERE time_period = q GROUP BY 1) s ORDER BY n},
	qq{SELECT n, s.* FROM quarters LEFT JOIN LATERAL (SELECT owner_email, forecast_amount FROM forecasts WHERE time_period >= q
		ORDER BY 1, 2, owner_name COLLATE "C" LIMIT 3) s ON n > 1 ORDER BY 1, 2, 3},
	qq{SELECT n FROM quarters WHERE EXISTS (SELECT FROM forecasts WHERE time_period = q AND forecast_amount > n OFFSET 0) ORDER BY n},
	qq{SELECT n, (SELECT count(*) FROM forecasts f WHERE time_period = q AND (SELECT max(time_period) FROM forecasts
		WHERE time_period <= q AND owner_email = f.owner_email) = q) FROM quarters ORDER BY n},
	qq{SELECT $total FROM forecasts WHERE time_period = to_char(date '2026-05-01' + (current_date - current_date), 'YYYY"_Q"Q')},
	qq{SELECT n, count(*) FROM quarters JOIN forecasts ON time_period = '2026_Q' || n GROUP BY 1 ORDER BY 1},
	qq{SELECT n, count(*) FROM quarters JOIN forecasts ON lower(time_period) = '2026_q' || n GROUP BY 1 ORDER BY 1},
	qq{SELECT n, count(*), count(time_period) FROM quarters LEFT JOIN forecasts ON time_period = to_char(date '2026-02-01' + 90 * n, 'YYYY"_Q"Q')
		AND forecast_amount > 10 * n GROUP BY 1 ORDER BY 1},
	qq{SELECT n, count(*), count(other) FROM quarters LEFT JOIN (SELECT coalesce(time_period, '') AS other FROM forecasts) f ON other = '2026_Q' || n
		GROUP BY 1 ORDER BY 1},
	qq{SELECT n, count(*), min(other) FROM quarters a LEFT JOIN (SELECT n, coalesce(q, '2026_Q4') AS other FROM quarters) b USING (n)
		LEFT JOIN forecasts ON time_period = other GROUP BY 1 ORDER BY 1},
	# one query in another
	qq{SELECT $total FROM (SELECT * FROM forecasts WHERE time_period = '2026_Q1' UNION ALL SELECT * FROM forecasts
		WHERE time_period >= '2026_Q2') f},
	qq{SELECT $total FROM (SELECT * FROM forecasts UNION ALL SELECT * FROM forecasts) f WHERE time_period LIKE '%Q3'},
	qq{SELECT owner_email, time_period FROM forecasts WHERE owner_email < 'c' EXCEPT SELECT owner_email, '2026_Q2' FROM forecasts ORDER BY 1, 2},
	qq{WITH f AS MATERIALIZED (SELECT * FROM forecasts) SELECT a.time_period, count(*) FROM f a JOIN f b USING (owner_email, time_period)
		GROUP BY 1 ORDER BY 1},
	qq{WITH f AS NOT MATERIALIZED (SELECT * FROM forecasts) SELECT $total FROM f WHERE time_period = '2026_Q4'},
	qq{WITH RECURSIVE r(n, q, s) AS (SELECT 1, '2026_Q1', 0::numeric UNION ALL SELECT n + 1, '2026_Q' || (n + 1), (SELECT sum(forecast_amount)
		FROM forecasts WHERE time_period = r.q) FROM r WHERE n < 5) SELECT * FROM r ORDER BY n},
	qq{SELECT DISTINCT ON (time_period) time_period, owner_email, rank() OVER (PARTITION BY time_period ORDER BY owner_email, owner_name COLLATE "C")
		FROM forecasts WHERE owner_email IS NOT NULL ORDER BY 1, 2, 3},
	qq{SELECT time_period, count(*) FROM forecasts GROUP BY GROUPING SETS ((time_period), ()) ORDER BY 1},
	qq{SELECT owner_email FROM forecasts WHERE time_period = '2026_Q1' ORDER BY owner_email, owner_name COLLATE "C" OFFSET 3 LIMIT 5},
	qq{SELECT (f).owner_email, n FROM (SELECT f, n FROM forecasts f JOIN quarters ON q = time_period) s WHERE (f).owner_email < 'c' ORDER BY 1, 2},
	# cursors
	qq{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT time_period, owner_email FROM forecasts ORDER BY 1, 2, owner_name COLLATE "C";
		FETCH 3 FROM c; FETCH BACKWARD 2 FROM c; FETCH LAST FROM c; FETCH ABSOLUTE 61 FROM c; FETCH PRIOR FROM c; MOVE FIRST FROM c;
		FETCH NEXT FROM c; COMMIT},
	qq{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT count(*) OVER () FROM forecasts WHERE time_period = '2026_Q1'; FETCH 2 FROM c;
		FETCH BACKWARD ALL FROM c; FETCH LAST FROM c; COMMIT},
	qq{BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT $total FROM forecasts; COMMIT; FETCH ALL FROM c; CLOSE c},
	# prepared
	map { my $mode = $_; (
		qq{SET plan_cache_mode = $mode; PREPARE p(text) AS SELECT $total FROM forecasts WHERE time_period = \$1;
			EXECUTE p('2026_Q2'); EXECUTE p('2026_Q3'); EXECUTE p(NULL); EXECUTE p('no'); EXECUTE p('2026_Q2')},
		qq{SET plan_cache_mode = $mode; PREPARE p(text[]) AS SELECT $total FROM forecasts WHERE time_period = ANY (\$1);
			EXECUTE p('{2026_Q2,2026_Q1}'); EXECUTE p('{}'); EXECUTE p(NULL); EXECUTE p('{NULL,2026_Q4}')},
		qq{SET plan_cache_mode = $mode; PREPARE p(text, text) AS SELECT $total FROM forecasts WHERE time_period BETWEEN \$1 AND \$2
			AND time_period LIKE '%Q' || \$3; EXECUTE p('2026_Q2', '2026_Q4', '3'); EXECUTE p('2026_Q4', '2026_Q2', '3')},
		qq{SET plan_cache_mode = $mode; PREPARE p(int, varchar[]) AS SELECT $total FROM forecasts WHERE time_period = '2026_Q' || \$1
			OR time_period = ANY (\$2) OR time_period = \$2[\$1]; EXECUTE p(2, '{2026_Q1,no}'); EXECUTE p(NULL, '{2026_Q3}'); EXECUTE p(1, NULL)},
		qq{SET plan_cache_mode = $mode; PREPARE p(text) AS SELECT $total FROM forecasts f JOIN quarters ON q = time_period WHERE time_period > \$1;
			EXECUTE p('2026_Q2'); EXECUTE p('')}) } qw(force_generic_plan force_custom_plan));

is(rows_in('remote', q{SET plan_cache_mode = force_generic_plan; PREPARE p(text[]) AS SELECT * FROM forecasts WHERE time_period = ANY ($1);
	EXPLAIN (FORMAT JSON) EXECUTE p('{2026_Q2,2026_Q3}')}) =~ /"Periods": \[(.*?)\]/ && $1, '"2026_Q2", "2026_Q3"',
	'EXPLAIN of a generic plan knows its parameters');
is(sql(q{SET search_path = remote, public; SET client_min_messages = warning; CREATE FUNCTION total(quarter text) RETURNS numeric LANGUAGE plpgsql AS
	'BEGIN RETURN (SELECT sum(forecast_amount) FROM remote.forecasts WHERE time_period = quarter); END';
	SELECT string_agg(total(q)::text, ' ' ORDER BY i) FROM generate_series(1, 10) i, LATERAL (SELECT '2026_Q' || (i % 4 + 1)) s(q)}),
	sql(q{SELECT string_agg(s::text, ' ' ORDER BY i) FROM generate_series(1, 10) i, LATERAL (SELECT sum(forecast_amount) AS s FROM heap.forecasts
	WHERE time_period = '2026_Q' || (i % 4 + 1)) s}), 'a function that becomes generic on the way');

# Quarters that only execution knows are the only ones exported.
sub exports_only
{
	my ($periods, $query) = @_;
	sql(q{SELECT clari_invalidate('remote.forecasts')});
	sim_reset();
	rows_in('remote', $query);
	my $seen = decode_json(sim_seen('periods'));
	is(join(' ', grep { $seen->{$_}{post} } sort keys %$seen), $periods, "only $periods: " . ($query =~ s/\s+/ /gr));
	return;
}
exports_only('2026_Q2', q{SELECT * FROM forecasts WHERE time_period = (SELECT q FROM quarters WHERE n = 1)});
exports_only('2026_Q2 2026_Q3', q{SELECT * FROM forecasts WHERE time_period = ANY (ARRAY(SELECT q FROM quarters))});
exports_only('2026_Q2 2026_Q3', q{SELECT (SELECT count(*) FROM forecasts WHERE time_period = q) FROM quarters});
exports_only('2026_Q2', q{SELECT * FROM quarters, LATERAL (SELECT * FROM forecasts WHERE time_period = q OFFSET 0) s WHERE n IN (1, 3, 4)});
exports_only('2026_Q3', q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT * FROM forecasts WHERE time_period = $1; EXECUTE p('2026_Q3')});
exports_only('2026_Q2 2026_Q3', q{SELECT * FROM quarters JOIN forecasts ON time_period = '2026_Q' || n WHERE n IN (2, 3)});
exports_only('2026_Q2 2026_Q3', q{SELECT * FROM quarters JOIN forecasts ON time_period = to_char(date '2026-05-01' + 92 * (n - 1), 'YYYY"_Q"Q') WHERE n < 3});
exports_only('2026_Q2 2026_Q4', q{SELECT * FROM quarters a LEFT JOIN (SELECT n, coalesce(q, '2026_Q4') AS other FROM quarters) b USING (n)
	JOIN forecasts ON time_period = other WHERE n IN (1, 4)});
exports_only('2026_Q4', q{SELECT * FROM quarters LEFT JOIN (SELECT coalesce(time_period, '') AS other, * FROM forecasts) f ON other LIKE '%4' AND n = 1});
exports_only('2026_Q3', q{SET plan_cache_mode = force_generic_plan; PREPARE p(int) AS SELECT * FROM forecasts WHERE time_period = '2026_Q' || $1; EXECUTE p(3)});
exports_only('2026_Q2 2026_Q3', q{SET plan_cache_mode = force_generic_plan; PREPARE p(varchar[]) AS SELECT * FROM forecasts WHERE time_period = ANY ($1);
	EXECUTE p('{2026_Q2,2026_Q3}')});
exports_only('2026_Q1 2026_Q4', q{SELECT * FROM forecasts a JOIN forecasts b USING (owner_email)
	WHERE a.time_period = '2026_Q1' AND b.time_period = '2026_Q4'});

#
# Partitions and inheritance.
#
sub foreign_table
{
	my ($name, $clauses, %options) = @_;
	my $list = join(', ', map { "$_ '$options{$_}'" } sort keys %options);
	sql("CREATE FOREIGN TABLE $name $clauses SERVER clari OPTIONS (forecast 'net_arr', $list)");
	return;
}
my $some = 'owner_name text, owner_email text, forecast_amount numeric, time_period text';
sql(qq{CREATE TABLE heap.parted AS SELECT owner_name, owner_email, forecast_amount, time_period FROM heap.forecasts;
	CREATE TABLE remote.parted ($some) PARTITION BY LIST (time_period)});
foreign_table('remote.parted_1', q{PARTITION OF remote.parted FOR VALUES IN ('2026_Q1')}, periods => '2026_Q1');
foreign_table('remote.parted_2', q{(forecast_amount numeric, time_period text, owner_email text, owner_name text)}, periods => '2026_Q2..2026_Q3');
sql(q{ALTER TABLE remote.parted ATTACH PARTITION remote.parted_2 FOR VALUES IN ('2026_Q2', '2026_Q3');
	CREATE TABLE remote.parted_rest PARTITION OF remote.parted DEFAULT;
	INSERT INTO remote.parted_rest SELECT owner_name, owner_email, forecast_amount, time_period FROM heap.forecasts WHERE time_period = '2026_Q4';
	CREATE TABLE heap.parent AS SELECT owner_email, time_period FROM heap.forecasts WHERE time_period <= '2026_Q2';
	CREATE TABLE remote.parent (owner_email text, time_period text)});
foreign_table('remote.child', '(extra date OPTIONS (key \'week_start\')) INHERITS (remote.parent)', periods => '2026_Q1..2026_Q2');
my $sums = 'time_period, count(*), sum(forecast_amount), min(owner_name COLLATE "C")';
same_rows($_, values %joins, 'SET enable_partition_pruning = off', 'SET enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on',
	'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0') for (
	qq{SELECT $sums FROM parted GROUP BY 1 ORDER BY 1},
	qq{SELECT $sums FROM parted WHERE time_period >= '2026_Q3' GROUP BY 1 ORDER BY 1},
	qq{SELECT count(*), count(a.owner_email) FROM parted a JOIN parted b USING (time_period, owner_email)},
	qq{SELECT n, (SELECT count(*) FROM parted WHERE time_period = q) FROM quarters ORDER BY n},
	qq{SELECT owner_email, time_period FROM parted WHERE owner_email < 'd' ORDER BY 1, 2 LIMIT 20},
	qq{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT $sums FROM parted WHERE time_period = \$1 GROUP BY 1;
		EXECUTE p('2026_Q1'); EXECUTE p('2026_Q3'); EXECUTE p('2026_Q4')},
	q{SELECT time_period, count(*), min(owner_email) FROM parent GROUP BY 1 ORDER BY 1},
	q{SELECT count(*) FROM parent p JOIN quarters ON q = time_period});
is(sql(q{SELECT string_agg(DISTINCT tableoid::regclass::text, ' ') FROM remote.parted WHERE time_period <= '2026_Q2'}),
	'remote.parted_1 remote.parted_2', 'each row tells its partition');
sql(q{CREATE VIEW heap.v AS SELECT * FROM heap.forecasts WHERE forecast_amount > 0; CREATE VIEW remote.v AS SELECT * FROM remote.forecasts
	WHERE forecast_amount > 0});
same_rows(qq{SELECT $sums FROM v WHERE time_period IN ('2026_Q1', '2026_Q3') GROUP BY 1 ORDER BY 1}, values %joins);

#
# Whose user mapping: a view's owner's.
#
sql(q{CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA remote TO reader; GRANT SELECT ON remote.v, remote.forecasts, quarters TO reader;
	CREATE FUNCTION secured() RETURNS bigint SECURITY DEFINER LANGUAGE sql AS 'SELECT count(*) FROM remote.forecasts'});
my ($state, $message) = query_error($node, 'SET ROLE reader; SELECT count(*) FROM remote.forecasts');
like($message, qr/user mapping/, 'who has no user mapping reads nothing');
($state, $message) = query_error($node, 'SET ROLE reader; EXPLAIN SELECT count(*) FROM remote.forecasts');
is($state, '', 'but may see the plan') or diag($message);
is(sql('SET ROLE reader; SELECT count(*) FROM remote.v'), sql('SELECT count(*) FROM heap.v'), q{through a view the owner's mapping is used});
is(sql('SET ROLE reader; SELECT secured()'), 240, 'and through a function that runs as its owner');
is(sql(q{SET ROLE reader; SELECT count(*) FROM remote.v JOIN quarters ON q = time_period}),
	sql('SELECT count(*) FROM heap.v JOIN quarters ON q = time_period'), 'in a join too');
($state, $message) = query_error($node, 'SET ROLE reader; SELECT count(*) FROM remote.v JOIN remote.forecasts USING (owner_email)');
like($message, qr/user mapping/, '… but not for what he reads himself');

#
# In the leader of a parallel plan.
#
my $debug_parallel = debug_parallel($node);
my $parallel = 'SET max_parallel_workers_per_gather = 2; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0';
my $join = 'SELECT time_period, count(*), sum(n), sum(forecast_amount) FROM big JOIN forecasts ON q = time_period AND n % 60 = length(owner_name)
	GROUP BY 1 ORDER BY 1';
like(rows_in('remote', "$parallel; EXPLAIN $join"), qr/Gather/, 'a parallel plan');
same_rows($join, $parallel, "$parallel; SET enable_hashjoin = off", "$parallel; SET enable_hashjoin = off; SET enable_mergejoin = off",
	"$parallel; SET parallel_leader_participation = off", "SET $debug_parallel = on", "SET $debug_parallel = regress");
same_rows($_, $parallel, "$parallel; SET $debug_parallel = on") for (
	qq{SELECT time_period, count(*) FROM forecasts WHERE time_period = (SELECT max(q) FROM big WHERE n < 4) GROUP BY 1},
	qq{SELECT count(*) FROM big WHERE q = ANY (ARRAY(SELECT time_period FROM forecasts))},
	qq{SELECT q, count(*) FROM (SELECT q FROM big UNION ALL SELECT time_period FROM forecasts) s GROUP BY 1 ORDER BY 1});

#
# Rows locked or written meanwhile: a row that changed under the statement is checked again, with the foreign row as it was.
#
sql(q{CREATE TABLE target AS SELECT owner_email, time_period, 0::numeric AS amount FROM heap.forecasts WHERE owner_email IS NOT NULL});
same_rows(q{UPDATE target t SET amount = forecast_amount FROM forecasts f WHERE (f.owner_email, f.time_period) = (t.owner_email, t.time_period);
	SELECT time_period, sum(amount) FROM target GROUP BY 1 ORDER BY 1; UPDATE target SET amount = 0});
same_rows(q{SELECT count(*) FROM (SELECT * FROM target t JOIN forecasts f USING (owner_email, time_period) FOR UPDATE) s});
my $first = ClariSession->new($node);
my $second = ClariSession->new($node);
$first->query(q{BEGIN; UPDATE target SET amount = amount + 1 WHERE time_period = '2026_Q1'});
$second->start(q{UPDATE target t SET amount = t.amount + 1000 FROM remote.forecasts f WHERE f.owner_email = t.owner_email
	AND f.time_period = t.time_period AND t.time_period = '2026_Q1' AND t.amount < 5});
wait_until('the second waits', sub { sql("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $second->{pid}") eq 't' });
$first->query('COMMIT');
is($second->finish, '', 'a row that another transaction has changed is joined again');
is(sql(q{SELECT DISTINCT amount FROM target WHERE time_period = '2026_Q1'}), '1001', '… with the row of the foreign table');

#
# What a cached plan does not remember, and what an error leaves behind.
#
is(sql(q{SET plan_cache_mode = force_generic_plan; SET client_min_messages = warning; PREPARE p(text) AS SELECT count(*) FROM remote.forecasts WHERE time_period = $1;
	EXECUTE p('2025_Q4'); ALTER FOREIGN TABLE remote.forecasts OPTIONS (SET periods '2025_Q4..2026_Q1'); EXECUTE p('2025_Q4'); EXECUTE p('2026_Q2');
	ALTER FOREIGN TABLE remote.forecasts OPTIONS (SET periods '2026_Q1..2026_Q4'); EXECUTE p('2025_Q4'); EXECUTE p('2026_Q2')}),
	"0\n60\n0\n0\n60", 'a prepared statement follows the option');
sql(q{CREATE DOMAIN late AS text CHECK (VALUE NOT LIKE 'm%')});
foreign_table('failing', '(owner_email late, time_period text)', periods => '2026_Q1..2026_Q4');
sub handles { return scalar(() = glob("/proc/$_[0]/fd/*")) . ' and ' . scalar(grep { /dsm|PostgreSQL\./ } split /\n/, slurp("/proc/$_[0]/maps")); }
sub slurp { my ($file) = @_; open(my $in, '<', $file) or die "$file: $!"; local $/; return <$in>; }
my $fail = q{DO $$BEGIN FOR i IN 1..200 LOOP
	BEGIN PERFORM * FROM failing a JOIN remote.forecasts b USING (time_period); RAISE 'no error'; EXCEPTION WHEN check_violation THEN NULL; END;
	PERFORM * FROM remote.forecasts LIMIT 3; END LOOP; END$$};
is($first->query($fail), '', 'errors in the middle of scans, again and again');
my $handles = handles($first->{pid});
is($first->query($fail), '', '… and again');
is(handles($first->{pid}), $handles, 'leave nothing open or mapped');

done_testing();
