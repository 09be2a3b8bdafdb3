# A table like any other: whatever PostgreSQL builds around a table gives the rows that it gives around a heap, and costs
# no export more than the quarters that it reads.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariHeap;
use ClariSession;
use ClariTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = start_heap_node('around', 'max_prepared_transactions = 2', "clari_fdw.shared_cache_size = '1MB'");

sub in_remote { my ($query) = @_; return rows_in($node, 'remote', $query); }
sub as_heap { my ($query, @settings) = @_; return same_rows($node, 'remote', 'heap', $query, '', @settings); }

# The quarters that the query exports when nothing is cached, each of them once, whatever settings.
sub exports
{
	my ($periods, $query, @settings) = @_;
	for my $setting (@settings ? @settings : '')
	{
		sql('SELECT clari_invalidate()');
		sim_reset();
		in_remote("$setting; $query");
		is(join(' ', sort map { $_->{period} } @{ decode_json(sim_seen('jobs')) }), $periods,
			"exports '$periods': " . short("$setting $query"));
	}
	return;
}

# An error with this SQLSTATE, and no request to Clari.
sub refused
{
	my ($state, $query, $pattern) = @_;
	my $before = sim_requests();
	my ($got, $message) = query_error($node, "SET search_path = remote, public; $query");
	is($got, $state, 'refused: ' . short($query)) or diag($message);
	like($message, $pattern, '… as PostgreSQL says it') if $pattern;
	is(sim_requests(), $before, '… without asking');
	return;
}

my $total = 'count(*), sum(forecast_amount), count(owner_email), min(owner_name COLLATE "C")';

subtest 'views' => sub {
	for my $schema (qw(heap remote))
	{
		rows_in($node, $schema, qq{
			CREATE VIEW $schema.v AS SELECT * FROM $schema.forecasts WHERE owner_email < 'n';
			CREATE VIEW $schema.renamed AS SELECT time_period AS quarter, owner_email AS mail, forecast_amount AS amount FROM $schema.v;
			CREATE VIEW $schema.twice AS SELECT time_period, owner_email FROM $schema.v UNION ALL SELECT time_period, owner_email
				FROM $schema.entries WHERE field_type = 'QUOTA';
			CREATE VIEW $schema.summed AS SELECT time_period, sum(forecast_amount) AS amount FROM $schema.forecasts GROUP BY 1;
			CREATE VIEW $schema.barrier WITH (security_barrier) AS SELECT * FROM $schema.forecasts WHERE time_period <> '2026_Q3';
			CREATE VIEW $schema.ranked AS SELECT *, rank() OVER (PARTITION BY time_period ORDER BY owner_email, owner_name COLLATE "C")
				FROM $schema.forecasts;
			CREATE TEMP VIEW gone AS SELECT * FROM $schema.forecasts});
	}
	as_heap($_, @joins, $jit) for (
		q{SELECT quarter, count(*), sum(amount) FROM renamed WHERE quarter >= '2026_Q2' GROUP BY 1 ORDER BY 1},
		q{SELECT time_period, count(*), min(owner_email) FROM twice JOIN quarters ON q = time_period GROUP BY 1 ORDER BY 1},
		q{SELECT * FROM summed JOIN summed s USING (time_period) WHERE time_period IN ('2026_Q1', '2026_Q4') ORDER BY 1},
		q{SELECT time_period, count(*) FROM barrier WHERE time_period ~ 'Q[23]' GROUP BY 1},
		q{SELECT owner_email, rank FROM ranked WHERE time_period = '2026_Q2' AND rank < 10 ORDER BY 2});
	exports('2026_Q2', q{SELECT * FROM renamed WHERE quarter = '2026_Q2'});
	exports('2026_Q2', q{SELECT * FROM twice WHERE time_period = '2026_Q2'});
	exports('2026_Q2', q{SELECT * FROM summed WHERE time_period = '2026_Q2'});
	exports('2026_Q2', q{SELECT * FROM ranked WHERE time_period = '2026_Q2'});
	exports('2026_Q2', q{SELECT * FROM barrier WHERE time_period IN ('2026_Q2', '2026_Q3')});
	# What stands before a barrier is asked of no quarter behind it: an error would tell.
	as_heap(q{SELECT time_period, count(*) FROM barrier WHERE 1 / (to_number(right(time_period, 1), '9') - 3) < 0.9 GROUP BY 1
		ORDER BY 1}, $jit);
	# Nor does an error come from a quarter's name where the heap would give none.
	as_heap(q{SELECT count(*) FROM forecasts WHERE time_period <> '2026_Q3' AND 1 / (to_number(right(time_period, 1), '9') - 3) < 0.9});
	as_heap(q{SELECT count(*) FROM forecasts WHERE owner_email = 'nobody' AND 1 / (to_number(right(time_period, 1), '9') - 3) < 0.9});
};

subtest 'common table expressions' => sub {
	as_heap($_, @joins, $jit) for (
		qq{WITH f AS MATERIALIZED (SELECT * FROM forecasts WHERE forecast_amount > 0) SELECT time_period, $total FROM f JOIN f g USING
			(time_period, owner_email, owner_name, forecast_amount) GROUP BY 1 ORDER BY 1},
		qq{WITH f AS NOT MATERIALIZED (SELECT * FROM forecasts) SELECT $total FROM f WHERE time_period = '2026_Q1' AND forecast_amount >
			(SELECT avg(forecast_amount) FROM f WHERE time_period = '2026_Q2')},
		q{WITH RECURSIVE up AS (SELECT user_id, hierarchy_id, 1 AS depth FROM users WHERE time_period = '2026_Q1' UNION
			SELECT u.user_id, u.hierarchy_id,
			depth + 1 FROM users u JOIN up ON u.hierarchy_id = up.hierarchy_id AND time_period = '2026_Q2' AND depth < 3)
			SELECT depth, count(*), min(user_id) FROM up GROUP BY 1 ORDER BY 1},
		q{WITH a AS (SELECT time_period, count(*) FROM forecasts GROUP BY 1), b AS (SELECT time_period, count(*) FROM entries GROUP BY 1)
			SELECT * FROM a JOIN b USING (time_period) ORDER BY 1});
	as_heap(qq{CREATE TEMP TABLE t (LIKE forecasts); WITH put AS (INSERT INTO t SELECT * FROM forecasts WHERE time_period >= '2026_Q3'
		RETURNING *),
		gone AS (DELETE FROM quarters WHERE q IN (SELECT time_period FROM put) AND false RETURNING q) SELECT $total FROM put;
			SELECT $total FROM t});
	exports('2026_Q1', q{WITH f AS MATERIALIZED (SELECT * FROM forecasts WHERE time_period = '2026_Q1') SELECT * FROM f a, f b LIMIT 1});
	exports('2026_Q3', q{WITH f AS NOT MATERIALIZED (SELECT * FROM forecasts) SELECT * FROM f WHERE time_period = '2026_Q3'});
	exports('', q{WITH f AS (SELECT * FROM forecasts) SELECT 1});
	exports('', q{WITH f AS MATERIALIZED (SELECT * FROM forecasts) SELECT (SELECT count(*) FROM f) WHERE false});
};

subtest 'subqueries and LATERAL' => sub {
	as_heap($_, @joins, $rescanning, $jit) for (
		qq{SELECT $total FROM forecasts f WHERE (time_period, owner_email) IN (SELECT time_period, owner_email FROM entries
			WHERE field_type = 'QUOTA')},
		q{SELECT q FROM quarters WHERE q NOT IN (SELECT time_period FROM forecasts) ORDER BY 1},
		q{SELECT q FROM quarters WHERE q >= ALL (SELECT time_period FROM forecasts WHERE owner_email > 'x') ORDER BY 1},
		q{SELECT q, n FROM quarters WHERE (q, n) = ANY (SELECT time_period, count(*)::int / 30 FROM forecasts GROUP BY 1) ORDER BY 2},
		q{SELECT n, q = ANY (SELECT time_period FROM forecasts WHERE owner_email IS NULL) FROM quarters ORDER BY 1},
		q{SELECT n, ARRAY(SELECT owner_email FROM forecasts WHERE time_period = q ORDER BY 1 LIMIT n) FROM quarters ORDER BY 1},
		q{SELECT n, s.* FROM quarters LEFT JOIN LATERAL (SELECT count(*), max(owner_email) FROM forecasts f
			WHERE f.time_period = q HAVING count(*) > 0) s
			ON true ORDER BY 1},
		q{SELECT n, s.* FROM quarters CROSS JOIN LATERAL (SELECT u.email, (SELECT sum(forecast_amount) FROM forecasts f
			WHERE f.owner_email = u.email AND
			f.time_period = q) FROM users u WHERE u.time_period = q ORDER BY 1 LIMIT 3) s ORDER BY 1, 2},
		q{SELECT a.owner_email, b.n FROM forecasts a, LATERAL (SELECT count(*) AS n FROM forecasts b WHERE b.time_period = a.time_period AND
			b.forecast_amount > a.forecast_amount) b WHERE a.time_period IN ('2026_Q1', '2026_Q2') ORDER BY 1, 2 LIMIT 50},
		q{SELECT q, (SELECT (SELECT count(*) FROM entries e WHERE e.time_period = f.time_period AND e.owner_email = f.owner_email)
			FROM forecasts f
			WHERE time_period = q ORDER BY owner_email LIMIT 1) FROM quarters ORDER BY n},
		q{SELECT i, time_period, count(*) FROM generate_series(1, 3) i LEFT JOIN forecasts ON time_period = '2026_Q' || i
			AND length(owner_name) > i
			GROUP BY 1, 2 ORDER BY 1});
	sql('SELECT clari_invalidate()');
	like(in_remote('EXPLAIN SELECT * FROM quarters JOIN forecasts ON time_period = q
		WHERE n = 1'), qr/Period Cond: \(.*(quarters\.q|\$\d).*\)/,
		'when an export is due, a join with one row asks for one quarter');
	exports('2026_Q2', 'SELECT * FROM quarters JOIN forecasts ON time_period = q WHERE n = 1', '', $rescanning);
	exports('2026_Q3', 'SELECT * FROM quarters LEFT JOIN forecasts ON time_period = q WHERE n = 2', '', $rescanning);
	exports('2026_Q2 2026_Q3', 'SELECT * FROM quarters, LATERAL (SELECT * FROM forecasts
		WHERE time_period = q OFFSET 0) s', '', $rescanning);
	exports('2026_Q2 2026_Q3', 'SELECT q, (SELECT sum(forecast_amount) FROM forecasts WHERE time_period = q)
		FROM quarters', '', $rescanning);
	exports('2026_Q1 2026_Q2 2026_Q3 2026_Q4', 'SELECT * FROM generate_series(1, 5) i JOIN forecasts
		ON length(owner_name) > i', $rescanning);
};

subtest 'cursors' => sub {
	my $cursor = q{CURSOR FOR SELECT time_period, owner_email, forecast_amount FROM forecasts ORDER BY 1, 2, 3, owner_name COLLATE "C"};
	as_heap("BEGIN; DECLARE c SCROLL $cursor; $_; COMMIT", $jit) for (
		'FETCH 3 FROM c; FETCH BACKWARD 2 FROM c; FETCH LAST FROM c; FETCH ABSOLUTE 61 FROM c; FETCH PRIOR FROM c; MOVE FIRST FROM c;
			FETCH NEXT FROM c',
		'MOVE ABSOLUTE -1 FROM c; FETCH BACKWARD ALL FROM c; FETCH 1 FROM c; FETCH RELATIVE 5 FROM c; FETCH RELATIVE -3 FROM c;
			FETCH RELATIVE 0 FROM c',
		'MOVE FORWARD ALL FROM c; FETCH FORWARD 1 FROM c; FETCH BACKWARD 1 FROM c; MOVE 0 FROM c; FETCH 0 FROM c');
	# In the scan's own order: backwards comes what came forwards.
	is(in_remote(q{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT owner_email, time_period FROM forecasts; FETCH ALL FROM c; COMMIT}),
		join("\n", reverse split /\n/, in_remote(q{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT owner_email, time_period FROM forecasts;
		MOVE ALL FROM c; FETCH BACKWARD ALL FROM c; COMMIT})), 'FETCH BACKWARD ALL');
	my ($state) = query_error($node, 'BEGIN; DECLARE c NO SCROLL CURSOR FOR SELECT * FROM remote.forecasts; FETCH 1 FROM c; FETCH PRIOR
		FROM c');
	is($state, '55000', 'NO SCROLL does not');
	as_heap("BEGIN; DECLARE c $_ WITH HOLD FOR SELECT time_period, owner_email FROM forecasts ORDER BY 1, 2; FETCH 2 FROM c; COMMIT;
		FETCH 2 FROM c;
		MOVE 50 FROM c; FETCH 3 FROM c; BEGIN; FETCH 2 FROM c; ROLLBACK; FETCH ALL FROM c; CLOSE c") for ('CURSOR', 'SCROLL CURSOR');
	# The rows that a held cursor has left are read when its transaction ends.
	as_heap(qq{BEGIN; DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT $total FROM forecasts; SAVEPOINT s; FETCH ALL FROM c; ROLLBACK TO s;
		COMMIT;
		MOVE BACKWARD ALL FROM c; FETCH ALL FROM c});
	# Opened before the savepoint, first read behind it, read on when it is undone.
	as_heap(q{BEGIN; DECLARE c CURSOR FOR SELECT owner_email FROM forecasts ORDER BY 1; SAVEPOINT s; FETCH 2 FROM c; ROLLBACK TO s;
		FETCH 2 FROM c;
		SAVEPOINT t; FETCH 2 FROM c; RELEASE t; FETCH ALL FROM c; COMMIT}, 'SET enable_sort = off');
	as_heap(q{BEGIN; SAVEPOINT s; DECLARE c CURSOR FOR SELECT owner_email FROM forecasts ORDER BY 1; FETCH 2 FROM c; RELEASE s; FETCH 2
		FROM c; COMMIT});
	as_heap(qq{CREATE FUNCTION pg_temp.opened(refcursor) RETURNS refcursor LANGUAGE plpgsql AS 'BEGIN OPEN \$1 FOR SELECT $total
		FROM forecasts; RETURN \$1; END';
		BEGIN; SELECT pg_temp.opened('r'); FETCH ALL FROM r; COMMIT});
	exports('', qq{BEGIN; DECLARE c $cursor; CLOSE c; DECLARE d $cursor; MOVE 0 FROM d; COMMIT});
	exports('2026_Q1 2026_Q2 2026_Q3 2026_Q4', q{BEGIN; DECLARE c CURSOR FOR SELECT * FROM forecasts; FETCH 1 FROM c; COMMIT});
	exports('2026_Q2', q{BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT * FROM forecasts WHERE time_period = '2026_Q2'; COMMIT; FETCH ALL
		FROM c});
};

subtest 'UNION ALL, inheritance' => sub {
	sql(q{CREATE TABLE heap.parent AS SELECT owner_email, time_period FROM heap.forecasts; INSERT INTO heap.parent VALUES ('own', 'own');
		CREATE TABLE remote.parent (owner_email text, time_period text); INSERT INTO remote.parent VALUES ('own', 'own');
		CREATE FOREIGN TABLE remote.child_1 (week date OPTIONS (key 'week_start')) INHERITS (remote.parent)
			SERVER clari OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q2');
		CREATE FOREIGN TABLE remote.child_2 (time_period text, owner_email text) SERVER clari
			OPTIONS (forecast 'net_arr', periods '2026_Q3..2026_Q4');
		ALTER FOREIGN TABLE remote.child_2 INHERIT remote.parent});
	as_heap($_, @joins, $rescanning, $jit) for (
		'SELECT time_period, count(*), min(owner_email) FROM parent GROUP BY 1 ORDER BY 1',
		'SELECT n, count(*) FROM parent p JOIN quarters ON q = time_period GROUP BY 1 ORDER BY 1',
		'SELECT q, (SELECT count(*) FROM parent WHERE time_period = q) FROM quarters ORDER BY n',
		q{SELECT count(*) FROM parent WHERE time_period IN ('2026_Q2', '2026_Q3', 'own')},
		q{SELECT s, count(*), sum(forecast_amount) FROM (SELECT 1 AS s, * FROM forecasts WHERE time_period = '2026_Q1' UNION ALL SELECT 2, *
			FROM forecasts UNION ALL SELECT 3, * FROM forecasts WHERE time_period > '2026_Q4') f GROUP BY 1 ORDER BY 1},
		q{SELECT time_period, owner_email FROM forecasts UNION SELECT time_period, owner_email FROM entries ORDER BY 1, 2 LIMIT 20},
		q{SELECT time_period FROM forecasts INTERSECT SELECT q FROM quarters ORDER BY 1});
	is(in_remote(q{SELECT string_agg(DISTINCT tableoid::regclass::text, ' ')
		FROM parent}), 'child_1 child_2 parent', 'tableoid tells the table');
	refused('0A000', $_, qr/cannot (update|delete from) foreign table "child_[12]"/) for 'UPDATE parent SET owner_email = $$x$$', 'DELETE
		FROM parent';
	is(in_remote(q{UPDATE ONLY parent SET owner_email = 'owned'; SELECT owner_email
		FROM ONLY parent}), 'owned', 'ONLY the parent can be written');
	exports('2026_Q1 2026_Q4', q{SELECT 1 FROM forecasts WHERE time_period = '2026_Q1' UNION ALL SELECT 1 FROM forecasts
		WHERE time_period = '2026_Q4'});
	exports('2026_Q1 2026_Q2 2026_Q3 2026_Q4', 'SELECT * FROM parent LIMIT 2');
	exports('2026_Q3', q{SELECT * FROM parent WHERE time_period = '2026_Q3'});
};

sub foreign_partition
{
	my ($parent, $name, $periods) = @_;
	my $list = join(', ', map { "'$_'" } @$periods);
	sql(qq{CREATE FOREIGN TABLE $name PARTITION OF $parent FOR VALUES IN ($list)
		SERVER clari OPTIONS (forecast 'net_arr', periods '} . join(',', @$periods) . q{')});
	return;
}

subtest 'partitions by quarter' => sub {
	my $columns = 'owner_name text, owner_email text, forecast_amount numeric, time_period text';
	for my $parent (qw(parted other))
	{
		sql(qq{CREATE TABLE heap.$parent AS SELECT owner_name, owner_email, forecast_amount, time_period FROM heap.forecasts;
			CREATE TABLE remote.$parent ($columns) PARTITION BY LIST (time_period)});
		foreign_partition("remote.$parent", "remote.${parent}_$_", ["2026_Q$_"]) for 1 .. 3;
		sql(qq{CREATE TABLE remote.${parent}_4 PARTITION OF remote.$parent FOR VALUES IN ('2026_Q4');
			INSERT INTO remote.$parent SELECT * FROM heap.$parent WHERE time_period = '2026_Q4'});
	}
	my $sums = "time_period, $total";
	my $partitionwise = 'SET enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on';
	my @settings = (@joins, $rescanning, 'SET enable_partition_pruning = off', $partitionwise, "$partitionwise; $joins{'Nested Loop'}",
		"$partitionwise; $joins{'Merge Join'}; $jit", 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
			SET min_parallel_table_scan_size = 0');
	as_heap($_, @settings) for (
		qq{SELECT $sums FROM parted GROUP BY 1 ORDER BY 1},
		qq{SELECT $sums FROM parted WHERE time_period >= '2026_Q3' GROUP BY 1 ORDER BY 1},
		q{SELECT time_period, count(*), sum(a.forecast_amount - b.forecast_amount) FROM parted a JOIN other b
			USING (time_period, owner_email)
			GROUP BY 1 ORDER BY 1},
		q{SELECT count(*), count(b.owner_email) FROM parted a LEFT JOIN other b
			ON (a.time_period, a.owner_email) = (b.time_period, b.owner_email)
			AND b.forecast_amount > 0},
		q{SELECT n, (SELECT count(*) FROM parted WHERE time_period = q) FROM quarters ORDER BY n},
		q{SELECT n, count(owner_email) FROM quarters LEFT JOIN parted ON q = time_period GROUP BY 1 ORDER BY 1},
		qq{SELECT $total FROM parted WHERE time_period = (SELECT q FROM quarters WHERE n = 1)},
		q{SELECT owner_email, time_period FROM parted WHERE owner_email < 'd' ORDER BY 1, 2, owner_name COLLATE "C" LIMIT 20},
		qq{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT $sums FROM parted WHERE time_period = \$1 GROUP BY 1;
			EXECUTE p('2026_Q1'); EXECUTE p('2026_Q3'); EXECUTE p('2026_Q4'); EXECUTE p('2026_Q9')});
	my $plan = in_remote("$partitionwise; $rescanning; EXPLAIN SELECT count(*) FROM parted a JOIN other b USING (time_period, owner_email)
		GROUP BY time_period");
	is(scalar(() = $plan =~ /(?:Join|Nested Loop)  \(/g), 4, 'partitionwise there is a join for each partition') or diag($plan);

	my $all = '2026_Q1 2026_Q2 2026_Q3';
	exports($all, 'SELECT * FROM parted', '', $partitionwise);
	exports($all, 'SELECT count(*) FROM parted a JOIN other b USING (time_period, owner_email)', '', $partitionwise);
	exports('2026_Q2', q{SELECT * FROM parted WHERE time_period = '2026_Q2'}, '', 'SET enable_partition_pruning = off');
	exports('2026_Q2', q{SELECT * FROM parted WHERE time_period = (SELECT q FROM quarters
		WHERE n = 1)}, '', 'SET enable_partition_pruning = off');
	exports('2026_Q1', q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT * FROM parted WHERE time_period = $1;
		EXECUTE p('2026_Q1')},
		'', 'SET enable_partition_pruning = off');
	exports('2026_Q2 2026_Q3', 'SELECT * FROM quarters, LATERAL (SELECT * FROM parted WHERE time_period = q OFFSET 0) s', '', $rescanning);
	exports('', q{SELECT * FROM parted WHERE time_period = '2026_Q4'});

	# All are exported at once, not one after the other.
	sql('SELECT clari_invalidate()');
	sim_reset();
	sim_set({ job_seconds => 'hold' });
	my $session = ClariSession->new($node)->start('SELECT count(*) FROM remote.parted');
	wait_until('three exports at once', sub { sim_seen('total.post') == 3 });
	sim_set({ job_seconds => 0 });
	sim_release();
	is($session->finish, 240, 'and all rows');

	refused('0A000', $_->[0], $_->[1]) for (
		[ q{INSERT INTO parted VALUES ('a', 'b', 1, '2026_Q1')}, qr/cannot insert into foreign table "parted_1"/ ],
		[ q{INSERT INTO parted SELECT 'a', 'b', 1, '2026_Q' || i FROM generate_series(4, 2, -1) i}, qr/cannot insert into foreign table "parted_3"/ ],
		[ "COPY parted FROM STDIN;\na\tb\t1\t2026_Q2\n\\.\n", qr/cannot insert into foreign table "parted_2"/ ],
		[ q{UPDATE parted SET time_period = '2026_Q1' WHERE time_period = '2026_Q4'}, qr/cannot insert into foreign table "parted_1"/ ],
		[ q{UPDATE parted SET forecast_amount = 0}, qr/cannot update foreign table "parted_1"/ ],
		[ q{DELETE FROM parted WHERE time_period = '2026_Q3'}, qr/cannot delete from foreign table "parted_3"/ ],
		[ 'TRUNCATE parted', qr/cannot truncate foreign table "parted_1"/ ]);
	is(in_remote('SELECT count(*) FROM parted_4'), 60, 'nothing was written');
	is(in_remote(q{INSERT INTO parted VALUES ('a', 'b', 1, '2026_Q4'); UPDATE parted SET forecast_amount = 2 WHERE time_period = '2026_Q4'
		AND owner_name = 'a';
		DELETE FROM parted WHERE time_period = '2026_Q4' AND owner_name = 'a'
			RETURNING forecast_amount}), 2, 'a local partition can be written');
	is(in_remote(q{SET plan_cache_mode = force_generic_plan; PREPARE p AS SELECT count(*) FROM parted; EXECUTE p;
		ALTER TABLE parted DETACH PARTITION parted_2; EXECUTE p; ALTER TABLE parted ATTACH PARTITION parted_2 FOR VALUES IN ('2026_Q2');
			EXECUTE p}),
		"240\n180\n240", 'a prepared statement follows ATTACH and DETACH');
};

subtest 'what copies rows' => sub {
	as_heap($_) for (
		"CREATE TEMP TABLE t AS SELECT * FROM forecasts; SELECT time_period, $total FROM t GROUP BY 1 ORDER BY 1",
		"CREATE TEMP TABLE t AS SELECT * FROM forecasts WITH NO DATA; INSERT INTO t TABLE forecasts; SELECT $total FROM t",
		"SELECT * INTO TEMP t FROM entries WHERE time_period = '2026_Q2'; SELECT count(*), sum(forecast_value), min(user_id) FROM t",
		"CREATE TEMP TABLE t (LIKE forecasts INCLUDING ALL); INSERT INTO t SELECT f.* FROM forecasts f ON CONFLICT DO NOTHING;
			SELECT $total FROM t",
		"BEGIN; CREATE TEMP TABLE t ON COMMIT DROP AS SELECT * FROM forecasts; SELECT $total FROM t JOIN forecasts
			USING (owner_name, owner_email,
			time_period, forecast_amount); COMMIT",
		q{COPY (SELECT * FROM forecasts ORDER BY time_period, owner_email, owner_name COLLATE "C") TO STDOUT (FORMAT csv, HEADER)},
		q{SELECT row_to_json(f) FROM forecasts f WHERE time_period = '2026_Q2' ORDER BY owner_email, owner_name COLLATE "C"},
		q{SELECT count(f), count(DISTINCT f), bool_or(f IS NULL), max((f).owner_email) FROM forecasts f},
		q{CREATE FUNCTION pg_temp.mail(forecasts) RETURNS text LANGUAGE sql AS 'SELECT $1.owner_email'; SELECT pg_temp.mail(f)
			FROM forecasts f ORDER BY 1});
	refused('42809', 'COPY forecasts TO STDOUT', qr/cannot copy from foreign table.*HINT:  Try the COPY \(SELECT/s);
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
	for my $how ([], ['--include-foreign-data=clari'])
	{
		my $before = sim_posts();
		sql('SELECT clari_invalidate()');
		$node->command_ok([ 'pg_dump', '-t', 'remote.forecasts', '-f', $dump, @$how, 'postgres' ], "pg_dump @$how");
		is(sim_posts() - $before, @$how ? 4 : 0, '… and what it exports');
	}
	sql(q{CREATE SCHEMA dumped});
	my ($data) = slurp_file($dump) =~ /^(COPY remote\.forecasts \(.*?^\\\.\n)/ms;
	is($data =~ tr/\n//, 242, '… and dumps');
	sql('CREATE TABLE dumped.forecasts (LIKE remote.forecasts);' . $data =~ s/remote\./dumped./r);
	is(sql(digest_of('dumped.forecasts')), sql(digest_of('heap.forecasts')), '… whose rows come back');
	exports('', 'CREATE TABLE nothing AS SELECT * FROM forecasts WITH NO DATA; DROP TABLE nothing');
	exports('2026_Q1', q{COPY (SELECT * FROM forecasts WHERE time_period = '2026_Q1') TO '/dev/null'});
};

subtest 'what only a heap can do' => sub {
	refused('0A000', $_) for (
		q{INSERT INTO forecasts (owner_email) VALUES ('a')},
		q{INSERT INTO forecasts SELECT * FROM heap.forecasts},
		q{UPDATE forecasts SET owner_email = 'a'},
		q{UPDATE forecasts f SET owner_email = 'a' FROM quarters WHERE q = time_period},
		q{DELETE FROM forecasts WHERE time_period = '2026_Q1'},
		q{MERGE INTO forecasts f USING heap.forecasts h ON f.owner_email = h.owner_email WHEN MATCHED THEN DELETE},
		'TRUNCATE forecasts',
		"COPY forecasts FROM STDIN;\n\\.\n",
		'WITH x AS (DELETE FROM forecasts RETURNING *) SELECT * FROM x',
		'INSERT INTO v (owner_email) VALUES (1)',
		'SELECT * FROM forecasts TABLESAMPLE system (10)',
		'ALTER FOREIGN TABLE forecasts ADD PRIMARY KEY (owner_email)');
	refused('42809', $_) for ('CREATE INDEX ON forecasts (owner_email)', 'CREATE UNIQUE INDEX ON parted (time_period, owner_email)',
		'ALTER TABLE forecasts ENABLE ROW LEVEL SECURITY',
		'ALTER TABLE forecasts FORCE ROW LEVEL SECURITY', 'CREATE POLICY p ON forecasts USING (true)', 'CLUSTER forecasts');
	my $none = 'SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND transactionid IS NOT NULL';
	for my $strength ('UPDATE', 'NO KEY UPDATE', 'SHARE', 'KEY SHARE', 'UPDATE NOWAIT', 'UPDATE SKIP LOCKED', 'UPDATE OF f')
	{
		as_heap(qq{SELECT owner_email, time_period FROM forecasts f WHERE time_period > '2026_Q2' ORDER BY 1, 2, owner_name COLLATE "C"
			FOR $strength});
		is((split /\n/, in_remote("BEGIN; SELECT 1 FROM forecasts f WHERE time_period = '2026_Q1' LIMIT 1 FOR $strength; $none;
			COMMIT"))[-1], 0,
			'… and locks nothing');
	}
	as_heap(q{SELECT n, owner_email FROM quarters JOIN forecasts ON time_period = q ORDER BY 1, 2, owner_name COLLATE "C"
		FOR UPDATE}, @joins);
	as_heap(qq{SELECT $total FROM (SELECT * FROM forecasts WHERE time_period = '2026_Q1' FOR SHARE) f});
	is(sql("BEGIN; SELECT count(*) FROM remote.forecasts; PREPARE TRANSACTION 'two';
		COMMIT PREPARED 'two'"), 240, 'a transaction that has read it can be prepared');
	as_heap(qq{BEGIN $_; SELECT $total FROM forecasts; COMMIT}) for 'ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE', 'ISOLATION LEVEL REPEATABLE READ';
	# A check that the table declares is believed, as any other's.
	sql(q{ALTER FOREIGN TABLE remote.entries ADD CHECK (time_period < '2027')});
	exports('', q{SET constraint_exclusion = on; SELECT * FROM entries WHERE time_period = '2027_Q1'});
	exports('2026_Q1', q{SET constraint_exclusion = on; SELECT * FROM entries WHERE time_period = '2026_Q1'});
};

subtest 'a prepared statement follows ALTER' => sub {
	my $prepare = 'SET search_path = remote, public; SET client_min_messages = warning; SET plan_cache_mode = force_generic_plan; PREPARE';
	sql(q{CREATE FOREIGN TABLE remote.changing (owner_email text, forecast_amount numeric, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q2')});
	my $session = ClariSession->new($node);
	$session->query("$prepare p AS SELECT time_period::text, count(*), sum(forecast_amount)::text FROM changing GROUP BY 1 ORDER BY 1;
		PREPARE q(text) AS SELECT count(owner_email) FROM changing WHERE time_period = \$1; PREPARE all_of AS SELECT * FROM changing");
	my $expected = sub {
		my ($where, $amount) = @_;
		return sql('SELECT time_period, count(*), sum(' . ($amount // 'forecast_amount') . ")::text FROM heap.forecasts WHERE $where
			GROUP BY 1 ORDER BY 1");
	};
	is($session->query('EXECUTE p'), $expected->(q{time_period < '2026_Q3'}), 'as declared');
	my $changed = sub {
		my ($change, $where, $amount) = @_;
		for my $by ('itself', 'another session')
		{
			$by eq 'itself' ? is($session->query($change), '', $change) : sql($change);
			is($session->query('EXECUTE p'), $expected->($where, $amount), "$change, by $by");
			$change = '' if $by eq 'itself' && $change =~ /ADD|DROP|RENAME/;
		}
		return;
	};
	my $alter = 'ALTER FOREIGN TABLE remote.changing';
	$changed->("$alter OPTIONS (SET periods '2026_Q2..2026_Q4')", q{time_period > '2026_Q1'});
	is($session->query("EXECUTE q('2026_Q1'); EXECUTE q('2026_Q4')"), "0\n" . sql(q{SELECT count(owner_email) FROM heap.forecasts
		WHERE time_period = '2026_Q4'}),
		'a parameter is held against the extent as it is');
	$changed->("$alter ADD COLUMN owner_name text", q{time_period > '2026_Q1'});
	$changed->("$alter ALTER COLUMN forecast_amount TYPE double precision", q{time_period > '2026_Q1'}, 'forecast_amount::float8');
	$changed->("$alter ALTER COLUMN forecast_amount TYPE numeric(60, 1)", q{time_period > '2026_Q1'}, 'forecast_amount::numeric(60, 1)');
	$changed->("$alter ALTER COLUMN forecast_amount TYPE numeric", q{time_period > '2026_Q1'});
	$changed->("$alter ALTER COLUMN time_period TYPE varchar(10)", q{time_period > '2026_Q1'});
	$changed->("$alter DROP COLUMN owner_email", q{time_period > '2026_Q1'});
	like($session->query("EXECUTE q('2026_Q2')"), qr/ERROR:  42703: .*owner_email/, 'what needs a dropped column is an error');
	like($session->query('EXECUTE all_of'), qr/ERROR:  0A000: cached plan must not change result type/, 'and so are other columns');
	$changed->("$alter ADD COLUMN owner_email text", q{time_period > '2026_Q1'});
	is($session->query("EXECUTE q('2026_Q4')"), sql(q{SELECT count(owner_email) FROM heap.forecasts
		WHERE time_period = '2026_Q4'}), 'unless it comes back');
	sql("$alter RENAME COLUMN owner_email TO mail");
	like($session->query('SELECT count(mail) FROM changing'), qr/ERROR:  .*mail/, 'a column of an unknown name is an error');
	sql("$alter ALTER COLUMN mail OPTIONS (ADD key 'owner_email')");
	is($session->query("SELECT count(mail) FROM changing WHERE time_period = '2026_Q4'"), sql(q{SELECT count(owner_email)
		FROM heap.forecasts WHERE time_period = '2026_Q4'}),
		'unless it says what it shows');
	sql("$alter OPTIONS (SET periods '2026_Q3', ADD object 'entries')");
	like($session->query('EXECUTE p'), qr/ERROR:  .*forecast_amount/, 'another object has other columns');
	sql("$alter OPTIONS (SET object 'forecasts')");
	is($session->query('EXECUTE p'), $expected->(q{time_period = '2026_Q3'}), 'and back');
	# Another key is another export, for the plan that there is, too.
	my $posts = sim_posts();
	sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key 'other-key')});
	isnt($session->query('EXECUTE p'), $expected->(q{time_period = '2026_Q3'}), q{another key's rows are others});
	is(sim_posts() - $posts, 1, '… exported with it');
	sql(q{ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key 'test-key')});
	is($session->query('EXECUTE p'), $expected->(q{time_period = '2026_Q3'}), '… and never served to the first');
	is(sim_posts() - $posts, 1, '… whose rows are still there');
	sql(q{DROP FOREIGN TABLE remote.changing});
	like($session->query('EXECUTE p'), qr/ERROR:  42P01: /, 'a dropped table is an error');
};

subtest 'what an open cursor holds' => sub {
	my $session = ClariSession->new($node);
	sql(q{CREATE FOREIGN TABLE remote.held (owner_email text, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q4');
		CREATE SERVER second FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url 'http://127.0.0.1:1/v4')});
	for my $change ('DROP FOREIGN TABLE remote.held', 'DROP SERVER clari CASCADE', 'DROP EXTENSION clari_fdw CASCADE', 'DROP SCHEMA remote CASCADE',
		"ALTER FOREIGN TABLE remote.held OPTIONS (SET periods '2026_Q1')", 'ALTER FOREIGN TABLE remote.held ADD COLUMN owner_name text')
	{
		$session->query('BEGIN; DECLARE c CURSOR FOR SELECT owner_email FROM remote.held');
		$session->query('FETCH 1 FROM c');
		like($session->query("SET client_min_messages = warning; SAVEPOINT s; $change"), qr/ERROR:  55006: .*being used by active queries in this session/, "$change: not now");
		is($session->query('ROLLBACK TO s; MOVE ALL FROM c; COMMIT'), '', 'and the cursor reads on');
	}
	# Another session waits for its end.
	$session->query('BEGIN; DECLARE c CURSOR FOR SELECT owner_email FROM remote.held; FETCH 1 FROM c');
	my $other = ClariSession->new($node)->start('DROP FOREIGN TABLE remote.held');
	wait_until('another session waits', sub { sql("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $other->{pid}") eq 'Lock' });
	is($session->query('MOVE ALL FROM c; SELECT count(*) FROM remote.held; COMMIT'), 240, 'another session waits until it is through');
	is($other->finish, '', '… and drops the table');
	# What is not locked can go: the cursor has its rows.
	is($session->query(q{BEGIN; DECLARE c CURSOR FOR SELECT 1 FROM remote.forecasts WHERE time_period = '2026_Q1'; MOVE 1 FROM c;
		DROP USER MAPPING FOR CURRENT_USER SERVER clari; SELECT clari_invalidate(); MOVE ALL FROM c; ROLLBACK;
			SELECT 'done'}) =~ /done\z/, 1,
		'a user mapping is not held, and not needed any more');
};

subtest 'whose rights' => sub {
	my $rows = sql(q{SELECT count(*), sum(forecast_amount) FROM heap.forecasts WHERE time_period <> '2026_Q3'});
	sql(q{CREATE ROLE reader LOGIN; CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA remote TO reader, other;
		GRANT SELECT ON remote.barrier, remote.forecasts, quarters TO reader, other; GRANT USAGE ON FOREIGN SERVER clari TO other;
		CREATE USER MAPPING FOR other SERVER clari OPTIONS (api_key 'other-key');
		CREATE VIEW remote.invoked WITH (security_invoker) AS SELECT * FROM remote.forecasts; GRANT SELECT
			ON remote.invoked TO reader, other;
		CREATE FUNCTION public.leaks(text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''sees %'', $1;
			RETURN true; END'});
	my $reader = ClariSession->new($node, user => 'reader');
	my $other = ClariSession->new($node, user => 'other');
	my $query = 'SELECT count(*), sum(forecast_amount) FROM remote';
	sql('SELECT clari_invalidate()');
	sim_reset();
	like($reader->query("$query.forecasts"), qr/ERROR:  \w{5}: .*user mapping/, 'who has no user mapping reads nothing');
	like($reader->query("$query.invoked"), qr/ERROR:  \w{5}: .*user mapping/, '… nor through a view that asks as he does');
	is(sim_posts(), 0, '… and exports nothing');
	is($reader->query("$query.barrier"), $rows, q{through a view its owner's mapping is used});
	is(sim_posts(), 3, '… for the quarters that the view shows');
	is($reader->query(q{SELECT count(*) FROM remote.barrier JOIN quarters ON q = time_period}), 120, '… in a join');
	is($reader->query("SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS $query.barrier WHERE time_period = \$1;
		EXECUTE p('2026_Q1')"),
		sql(q{SELECT count(*), sum(forecast_amount) FROM heap.forecasts WHERE time_period = '2026_Q1'}), '… in a prepared statement');
	is($reader->query("BEGIN; DECLARE c CURSOR FOR $query.barrier; FETCH ALL FROM c; COMMIT"), $rows, '… and by a cursor');
	is($reader->query("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
		SET min_parallel_table_scan_size = 0; $query.barrier"), $rows, '… in parallel');
	my $seen = $reader->query(q{SELECT count(*) FROM remote.barrier WHERE leaks(time_period)});
	is(join(' ', sort keys %{{ map { $_ => 1 } $seen =~ /sees (\S+)/g }}), '2026_Q1 2026_Q2 2026_Q4', 'a leaky function sees nothing behind the barrier');
	is(sim_posts(), 3, 'all that with three exports');
	my $own = $other->query("$query.forecasts");
	isnt($own, sql("$query.forecasts"), 'who has a mapping of his own sees his own rows');
	is($other->query("$query.invoked"), $own, '… also through a view that asks as he does');
	is($other->query("$query.barrier"), $rows, q{… but not through the owner's view});
	is($other->query(q{SELECT (SELECT sum(forecast_amount) FROM remote.barrier) || ' ' || (SELECT sum(forecast_amount)
		FROM remote.forecasts)}),
		(split /\|/, $rows)[1] . ' ' . (split /\|/, $own)[1], 'both in one statement');
	is(sim_posts(), 8, '… which are four exports of his and four of the owner');
	is(sql("SET ROLE other; $query.forecasts; RESET ROLE; $query.barrier;
		SET ROLE reader; $query.barrier"), "$own\n$rows\n$rows", 'SET ROLE in one session');
};

subtest 'functions that loop, fail and go on' => sub {
	as_heap($_, 'SET enable_sort = off') for (
		# An error in each turn, with the loop's scan open.
		q{CREATE FUNCTION pg_temp.loops() RETURNS text LANGUAGE plpgsql
			AS $$DECLARE r record; n int := 0; failed int := 0; s numeric := 0; BEGIN
			FOR r IN SELECT time_period, forecast_amount, length(owner_name) AS l FROM forecasts LOOP
				BEGIN n := n + 1; s := s + 1 / (r.l % 3); PERFORM 1 FROM forecasts WHERE time_period = r.time_period LIMIT 1;
				EXCEPTION WHEN division_by_zero THEN failed := failed + 1; END;
			END LOOP; RETURN n || ' ' || failed || ' ' || s; END$$; SELECT pg_temp.loops()},
		# An error in the scan itself, again and again.
		q{CREATE FUNCTION pg_temp.fails(int) RETURNS text LANGUAGE plpgsql AS $$DECLARE n int; BEGIN
			SELECT count(*) INTO n FROM forecasts WHERE 1 / (length(owner_name) - $1) < 2; RETURN n;
			EXCEPTION WHEN division_by_zero THEN RETURN 'zero'; END$$; SELECT i, pg_temp.fails(i) FROM generate_series(0, 40) i},
		# Loops left early, cursors left open.
		q{CREATE FUNCTION pg_temp.leaves() RETURNS text LANGUAGE plpgsql AS $$DECLARE r record; n int := 0; c CURSOR FOR SELECT *
			FROM forecasts; BEGIN
			FOR i IN 1..50 LOOP FOR r IN SELECT * FROM forecasts LOOP n := n + 1; EXIT WHEN n % 7 = 0; END LOOP; END LOOP;
			OPEN c; FETCH c INTO r; MOVE FORWARD ALL IN c; RETURN n; END$$; SELECT pg_temp.leaves()},
		q{CREATE FUNCTION pg_temp.returns(text) RETURNS SETOF forecasts LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT * FROM forecasts
			WHERE time_period = $1;
			RETURN QUERY EXECUTE ''SELECT * FROM forecasts WHERE time_period > $1'' USING $1; END';
			SELECT time_period, count(*), sum(forecast_amount) FROM quarters, pg_temp.returns(q) GROUP BY 1 ORDER BY 1},
		q{CREATE FUNCTION pg_temp.inlined(text) RETURNS SETOF forecasts STABLE LANGUAGE sql AS 'SELECT * FROM forecasts
			WHERE time_period = $1';
			SELECT n, count(*) FROM quarters, pg_temp.inlined(q) GROUP BY 1 ORDER BY 1; SELECT count(*) FROM pg_temp.inlined('2026_Q2')});
	exports('2026_Q2', q{CREATE FUNCTION pg_temp.inlined(text) RETURNS SETOF forecasts STABLE LANGUAGE sql AS 'SELECT * FROM forecasts
		WHERE time_period = $1';
		SELECT count(*) FROM pg_temp.inlined('2026_Q2')});
	# A loop over COMMIT and ROLLBACK: what it has not read yet is held.
	for my $end ('COMMIT', 'ROLLBACK')
	{
		next if $end eq 'ROLLBACK' && sql('SHOW server_version_num') < 110000;
		is(in_remote(qq{CREATE TEMP TABLE read (t text); CREATE PROCEDURE pg_temp.commits(OUT n int, OUT s numeric) LANGUAGE plpgsql
			AS \$\$DECLARE r record; BEGIN
			n := 0; s := 0; FOR r IN SELECT * FROM forecasts LOOP n := n + 1; s := s + coalesce(r.forecast_amount, 0); INSERT INTO read
				VALUES (r.owner_email);
			IF n % 50 = 0 THEN $end; END IF; END LOOP; END\$\$; CALL pg_temp.commits(NULL, NULL)}),
			sql('SELECT count(*), sum(forecast_amount) FROM heap.forecasts'), "a loop over $end reads all rows");
	}
	# The same with rowsets that are read from files: nothing that an aborted subtransaction closes.
	sim_set({ owners => 6000 }, period => '2025_Q4');
	sql(q{CREATE FOREIGN TABLE remote.large (owner_email text, forecast_amount numeric, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2025_Q4');
		CREATE TABLE heap.large AS TABLE remote.large});
	is(sql(q{SELECT tier FROM clari_cache WHERE time_period = '2025_Q4'}), 'disk', 'a rowset in a file');
	as_heap(q{BEGIN; DECLARE c CURSOR FOR SELECT owner_email FROM large; SAVEPOINT s; MOVE 1 FROM c; ROLLBACK TO s; SAVEPOINT s; MOVE 100
		FROM c;
		ROLLBACK TO s; MOVE 5000 FROM c; FETCH 1 FROM c; COMMIT});
	as_heap(q{CREATE FUNCTION pg_temp.loops() RETURNS text LANGUAGE plpgsql AS $$DECLARE r record; n int := 0; failed int := 0; BEGIN
			FOR r IN SELECT owner_email FROM large LOOP
				n := n + 1; CONTINUE WHEN n % 200 <> 0;
				BEGIN PERFORM 1 / (n % 400) FROM large LIMIT 1; EXCEPTION WHEN division_by_zero THEN failed := failed + 1; END;
			END LOOP; RETURN n || ' ' || failed; END$$; SELECT pg_temp.loops()});
};

subtest 'triggers, and what else runs behind a statement' => sub {
	for my $schema (qw(heap remote))
	{
		rows_in($node, $schema, qq{
			CREATE TABLE $schema.written (owner_email text, time_period text, amount numeric, peers bigint, CHECK (peers IS NOT NULL));
			CREATE TABLE $schema.noted (what text, n bigint, s numeric);
			CREATE FUNCTION $schema.fill() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN
				NEW.peers := (SELECT count(*) FROM $schema.forecasts WHERE time_period = NEW.time_period);
				NEW.amount := (SELECT sum(forecast_amount) FROM $schema.forecasts f WHERE f.time_period = NEW.time_period
					AND f.owner_email = NEW.owner_email);
				RETURN NEW; END\$\$;
			CREATE FUNCTION $schema.note() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN
				INSERT INTO $schema.noted SELECT TG_OP, count(*), sum(f.forecast_amount) FROM new_rows n JOIN $schema.forecasts f
					USING (owner_email, time_period);
				RETURN NULL; END\$\$;
			CREATE FUNCTION $schema.check_late() RETURNS trigger LANGUAGE plpgsql AS \$\$BEGIN
				IF NOT EXISTS (SELECT FROM $schema.forecasts f WHERE f.owner_email = NEW.owner_email) THEN RAISE EXCEPTION 'no owner %', NEW.owner_email; END IF;
				RETURN NULL; END\$\$;
			CREATE TRIGGER fill BEFORE INSERT OR UPDATE ON $schema.written FOR EACH ROW EXECUTE FUNCTION $schema.fill();
			CREATE TRIGGER note AFTER INSERT ON $schema.written REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
				EXECUTE FUNCTION $schema.note();
			CREATE CONSTRAINT TRIGGER late AFTER INSERT OR UPDATE ON $schema.written DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
				EXECUTE FUNCTION $schema.check_late();
			CREATE FUNCTION $schema.counted(text) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT count(*) FROM $schema.forecasts
				WHERE time_period = \$1';
			CREATE TABLE $schema.derived (q text, n bigint GENERATED ALWAYS
				AS ($schema.counted(q)) STORED, CHECK ($schema.counted(q) >= 0));
			CREATE RULE also AS ON INSERT TO $schema.derived DO ALSO INSERT INTO $schema.noted SELECT 'rule', count(*), sum(forecast_amount)
				FROM $schema.forecasts WHERE time_period = NEW.q});
	}
	as_heap(q{TRUNCATE written, noted, derived;
		INSERT INTO written SELECT owner_email, time_period FROM forecasts WHERE owner_email < 'b' AND time_period >= '2026_Q3';
		UPDATE written SET time_period = '2026_Q1' WHERE time_period = '2026_Q4';
		INSERT INTO derived SELECT DISTINCT time_period FROM forecasts WHERE time_period < '2026_Q3'; INSERT INTO derived
			VALUES ('2026_Q4');
		SELECT * FROM written ORDER BY time_period, owner_email; SELECT * FROM noted ORDER BY 1, 2, 3; SELECT * FROM derived
			ORDER BY 1}, @joins, $jit);
	my ($state, $message) = query_error($node, q{BEGIN; INSERT INTO remote.written VALUES ('nobody', '2026_Q1'); SELECT 'in time'; COMMIT});
	like($message, qr/ERROR:  P0001: no owner nobody/, 'a trigger that reads at COMMIT');
	exports('2026_Q1 2026_Q3', q{ALTER TABLE written DISABLE TRIGGER late;
		ALTER TABLE written DISABLE TRIGGER note; TRUNCATE written, noted;
		INSERT INTO written SELECT owner_email, '2026_Q1' FROM forecasts WHERE time_period = '2026_Q3' AND owner_email < 'b'});
};

subtest 'materialized views' => sub {
	for my $schema (qw(heap remote))
	{
		rows_in($node, $schema, qq{CREATE MATERIALIZED VIEW $schema.m AS SELECT time_period, coalesce(owner_email, owner_name)
			AS owner, max(forecast_amount) AS amount
			FROM $schema.forecasts GROUP BY 1, 2 WITH NO DATA; CREATE UNIQUE INDEX ON $schema.m (time_period, owner)});
	}
	my $rows = q{SELECT * FROM m ORDER BY time_period, owner COLLATE "C"};
	exports('', 'SELECT * FROM pg_matviews');
	my ($state) = query_error($node, 'SELECT * FROM remote.m');
	is($state, '55000', 'not populated');
	exports('2026_Q1 2026_Q2 2026_Q3 2026_Q4', 'REFRESH MATERIALIZED VIEW m');
	as_heap("REFRESH MATERIALIZED VIEW $_ m; $rows", $jit) for '', 'CONCURRENTLY';
	my $before = in_remote($rows);
	sim_set({ version => 3 });
	is(in_remote("REFRESH MATERIALIZED VIEW CONCURRENTLY m; $rows"), $before, 'a refresh of the view reads what is cached');
	sql(q{SELECT clari_refresh('remote.forecasts', '{2026_Q2}')});
	my $after = in_remote("REFRESH MATERIALIZED VIEW CONCURRENTLY m; $rows");
	isnt($after, $before, 'and after clari_refresh the new rows');
	is($after, in_remote(q{SELECT * FROM (SELECT time_period, coalesce(owner_email, owner_name) AS owner, max(forecast_amount)
		FROM forecasts
		GROUP BY 1, 2) f ORDER BY time_period, owner COLLATE "C"}), '… all of them');
	sim_set({ version => 0 });
	sql('SELECT clari_invalidate()');
};

done_testing();
