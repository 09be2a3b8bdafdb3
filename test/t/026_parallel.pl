# Parallel scans: the participants of a plan share the row groups of what is cached.  Each row comes once, of one version,
# or there is an error; nobody skips his share.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariHeap;
use ClariSession;
use ClariTest;
use JSON::PP;
use Test::More;

# Forecast net_arr: 8,580 entries a quarter, in two row groups in memory.  large: 39,000 in five, in a file.
start_sim(job_seconds => 0, owners => 4400, monthly_quota => 100_000, concurrent_limit => 100, forecasts => [qw(net_arr large odd)]);
sim_set({ owners => 20_000 }, forecast => 'large');
sim_set({ owners => 3 }, forecast => 'odd');
my $node = start_node('parallel');
create_server($node, max_concurrent_exports => 8);

my %extents = (net_arr => '2026_Q1..2026_Q4', large => '2026_Q1..2026_Q2', odd => '2026_Q1..2026_Q2');
for my $forecast (sort keys %extents)
{
	sql(qq{CREATE SCHEMA $forecast; CREATE SCHEMA heap_$forecast;
		IMPORT FOREIGN SCHEMA $forecast FROM SERVER clari INTO $forecast OPTIONS (periods '$extents{$forecast}')});
	sql("ALTER FOREIGN TABLE $forecast.$_ DROP COLUMN exported_at; CREATE TABLE heap_$forecast.$_
		AS TABLE $forecast.$_") for qw(forecasts entries users);
}
sql(q{CREATE TABLE quarters (q text, n int); INSERT INTO quarters
	VALUES ('2026_Q2', 1), ('2026_Q3', 2), ('2026_Q2', 3), (NULL, 4), ('2026_Q5', 5);
	CREATE TABLE big (n int, q text); INSERT INTO big SELECT i, '2026_Q' || (i % 5 + 1) FROM generate_series(1, 4000) i; ANALYZE;
	-- A gate that the test holds shut: whoever wants through has its lock.
	CREATE FUNCTION gate(anyelement DEFAULT NULL::text) RETURNS boolean VOLATILE PARALLEL SAFE COST 10000 LANGUAGE plpgsql AS
		'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END'});
is(sql('SELECT string_agg(DISTINCT tier, $$ $$) FROM clari_cache WHERE forecast = $$net_arr$$'), 'memory', 'one forecast in memory');
is(sql('SELECT string_agg(DISTINCT tier, $$ $$) FROM clari_cache WHERE forecast = $$large$$'), 'disk', 'one in files');

my $cheap = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
	SET min_parallel_index_scan_size = 0;'
  . ' SET client_min_messages = warning';
my $parallel = "$cheap; SET max_parallel_workers_per_gather = 2";
my $workers_only = "$parallel; SET parallel_leader_participation = off";
my $generic = 'SET plan_cache_mode = force_generic_plan';
my $total = 'count(*), sum(forecast_amount), sum(quota_amount), count(owner_email), min(owner_name COLLATE "C"), max(time_period)';

sub parallel_rows { my ($schema, $query, $setting) = @_; return rows_in($node, $schema, $query, $setting // $parallel); }
sub as_heap { my ($forecast, $query, @settings) = @_; return same_rows($node, $forecast, "heap_$forecast", $query, @settings); }

sub plan_of { my ($query, $setting, $schema) = @_; return parallel_rows($schema // 'net_arr', "EXPLAIN (COSTS OFF) $query", $setting); }

sub is_parallel
{
	my ($query, $setting, $schema) = @_;
	my $plan = plan_of($query, $setting, $schema);
	return like($plan, qr/Gather(?s:.*)Parallel Foreign Scan on /, 'a parallel foreign scan: ' . short($query)) || diag($plan);
}

sub is_serial
{
	my ($query, $setting) = @_;
	my $plan = plan_of($query, $setting);
	return unlike($plan, qr/Parallel Foreign Scan/, 'no parallel foreign scan: ' . short($query)) || diag($plan);
}

# A plan's nodes of a kind, with those below them.
sub nodes
{
	my ($node_type, $plan) = @_;
	return (($plan->{'Node Type'} eq $node_type ? $plan : ()), map { nodes($node_type, $_) } @{ $plan->{Plans} // [] });
}

# The plan as it was executed.
sub analyzed
{
	my ($query, $setting, $schema) = @_;
	my $text = parallel_rows($schema // 'net_arr', "EXPLAIN (ANALYZE, VERBOSE, COSTS OFF, TIMING OFF, FORMAT JSON) $query", $setting);
	return decode_json($text)->[0]{Plan};
}

# Sessions that stand at the gate: the session's own and its parallel workers.
sub at_the_gate
{
	my ($session) = @_;
	return sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory'
		AND (pid = $session->{pid} OR leader_pid = $session->{pid})");
}

sub workers_of { my ($session) = @_; return split /\n/, sql("SELECT pid FROM pg_stat_activity WHERE leader_pid = $session->{pid}"); }

my $holder = ClariSession->new($node);
sub shut { $holder->query('SELECT pg_advisory_lock(1)'); return; }
sub open_gate { $holder->query('SELECT pg_advisory_unlock(1)'); return; }

# A session with the tables of a forecast.
sub session
{
	my ($forecast, $setting) = @_;
	my $session = ClariSession->new($node);
	$session->query("SET search_path = $forecast, public; $setting");
	return $session;
}

# Runs the query up to the gate, with as many there; then what happens meanwhile; returns its answer.
sub across_gate
{
	my ($session, $query, $participants, $meanwhile) = @_;
	shut();
	$session->start($query);
	wait_until("$participants are at the gate", sub { $session->is_finished(0) || at_the_gate($session) >= $participants });
	diag('it did not wait at the gate: ' . $session->finish) if $session->is_finished(0);
	$meanwhile->();
	open_gate();
	return $session->finish;
}

my $version = 0;
sub new_version { sim_set({ version => ++$version }); return; }

sub old_version
{
	sim_set({ version => 0 });
	$version = 0;
	sql('SELECT clari_invalidate()');
	sql("SELECT count(*) FROM $_.forecasts") for sort keys %extents;
	return;
}

subtest 'when a plan is parallel' => sub {
	is_parallel("SELECT $total FROM forecasts");
	is_parallel('SELECT count(user_id) FROM entries');
	is_parallel(q{SELECT owner_email FROM entries WHERE time_period = '2026_Q1' AND owner_email < 'b' ORDER BY 1});
	is_parallel("SELECT $total FROM forecasts", $parallel, 'large');
	is_parallel(q{CREATE TABLE x AS SELECT * FROM forecasts});
	is_serial("SELECT $total FROM forecasts", 'SET max_parallel_workers_per_gather = 0');
	is_serial('SELECT count(*) FROM forecasts WHERE clari_stats_reset() IS NULL OR owner_email < $$b$$');
	is_serial('SELECT owner_email FROM forecasts FOR UPDATE');
	is_serial('INSERT INTO quarters SELECT owner_email FROM forecasts');
	like(plan_of('SELECT count(user_id) FROM entries', $parallel, 'large'), qr/Workers Planned: 2/, 'a large table is for two workers');

	# With a quarter missing, only what is cached is scanned in parallel; and nobody asks while planning.
	sim_reset();
	sql(q{SELECT clari_invalidate('net_arr.forecasts', '{2026_Q3}')});
	is_serial('SELECT count(user_id) FROM entries');
	is_serial(q{SELECT count(user_id) FROM entries WHERE time_period = '2026_Q3'});
	is_parallel(q{SELECT count(user_id) FROM entries WHERE time_period <> '2026_Q3'});
	is_parallel(q{SELECT count(user_id) FROM entries WHERE time_period = '2026_Q1'});
	is(sim_requests(), 0, 'nothing was asked');
	as_heap('net_arr', 'SELECT time_period, count(*), sum(forecast_value) FROM entries GROUP BY 1 ORDER BY 1', $parallel);
	is(sim_posts(), 1, 'the missing quarter is exported once');
	is_parallel('SELECT count(user_id) FROM entries');

	# What the table does not take for fresh is not cached for it.
	sql(q{CREATE FOREIGN TABLE strict (owner_email text, forecast_amount numeric, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q4', cache_ttl '0', closed_period_ttl '0')});
	is_serial('SELECT count(*) FROM strict');
	is(parallel_rows('public', 'SELECT count(*) FROM strict'), 17600, 'it has its rows');
	is(sim_posts(), 5, '… from four exports');
};

subtest 'workers return rows' => sub {
	for my $schema (qw(net_arr large))
	{
		for my $table (qw(forecasts entries users))
		{
			my $rows = sql("SELECT count(*) FROM heap_$schema.$table");
			for my $setting ($workers_only, $parallel)
			{
				my $plan = analyzed("SELECT max(time_period) FROM $table", $setting, $schema);
				my ($gather) = nodes('Gather', $plan);
				my ($scan) = nodes('Foreign Scan', $plan);
				ok($gather && $gather->{'Workers Launched'} > 0 && $scan->{'Parallel Aware'}, "$schema.$table: workers are launched");
				my $by_workers = 0;
				$by_workers += $_->{'Actual Rows'} * $_->{'Actual Loops'} for @{ $scan->{Workers} };
				is($by_workers, $rows, '… and read all rows') if $setting eq $workers_only;
				my $loops = $scan->{'Actual Loops'};    # an average of the participants
				cmp_ok(abs($scan->{'Actual Rows'} * $loops - $rows), '<=', $loops, '… with the leader, too');
			}
		}
	}
	# Two workers at work at the same time, each with rows.
	my $session = session('large', $workers_only);
	my $answer = across_gate($session, 'SELECT count(user_id) FROM users WHERE gate(user_id)', 2, sub {
		is(scalar(workers_of($session)), 2, 'two workers have rows at the same time') });
	is($answer, sql('SELECT count(*) FROM heap_large.users'), '… and between them each row once');
	$session = session('large', $parallel);
	$answer = across_gate($session, 'SELECT count(*), count(DISTINCT (time_period, user_id)) FROM users WHERE gate(user_id)', 3, sub {});
	is($answer, sql('SELECT count(*), count(*) FROM heap_large.users'), 'with the leader, too');
};

my @settings = ($parallel, $workers_only, (map { "$cheap; SET max_parallel_workers_per_gather = $_" } 1, 4), "$parallel;
	SET max_parallel_workers = 0",
	"$workers_only; SET max_parallel_workers = 1");
my $debug_parallel = debug_parallel($node);
my @switches = ((map { "$parallel; SET $_ = off" } qw(enable_parallel_append enable_parallel_hash enable_hashagg enable_hashjoin enable_sort enable_gathermerge)),
	"$workers_only; SET max_parallel_workers = 0", "$cheap; SET max_parallel_workers_per_gather = 3",
	"$parallel; SET enable_partitionwise_join = on; SET enable_partitionwise_aggregate = on",
	"$parallel; SET enable_nestloop = off; SET enable_hashjoin = off", "$parallel; SET clari_fdw.enable_pruning = off",
	"$parallel; SET work_mem = 64; SET hash_mem_multiplier = 1", "SET $debug_parallel = on", "SET $debug_parallel = regress");

subtest 'the same rows' => sub {
	sql(q{CREATE TABLE heap_net_arr.parted AS SELECT owner_name, owner_email, forecast_amount, time_period FROM heap_net_arr.forecasts;
		CREATE TABLE net_arr.parted (owner_name text, owner_email text, forecast_amount numeric, time_period text) PARTITION BY LIST (time_period)});
	sql(qq{CREATE FOREIGN TABLE net_arr.parted_$_ PARTITION OF net_arr.parted FOR VALUES IN ('2026_Q$_') SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q$_')})
	  for 1 .. 3;
	sql(q{CREATE TABLE net_arr.parted_4 PARTITION OF net_arr.parted DEFAULT; INSERT INTO net_arr.parted SELECT * FROM heap_net_arr.parted
		WHERE time_period = '2026_Q4'});

	for my $query (
		"SELECT $total FROM forecasts",
		"SELECT time_period, $total FROM forecasts GROUP BY 1 ORDER BY 1",
		'SELECT time_period, field_id, count(*), sum(forecast_value), min(crm_closed) FROM entries GROUP BY 1, 2 ORDER BY 1, 2',
		'SELECT count(*), sum(a.forecast_amount) FROM forecasts a JOIN forecasts b USING (time_period, owner_name, owner_email)',
		q{SELECT count(*), sum(forecast_value) FROM forecasts f JOIN entries e USING (time_period, owner_name, owner_email)
			WHERE f.forecast_amount > 0},
		q{SELECT count(*) FROM entries e LEFT JOIN users u ON (u.user_id, u.time_period) = (e.user_id, e.time_period)
			AND u.hierarchy_id = 'h3'},
		q{SELECT count(*) FROM users u WHERE NOT EXISTS (SELECT FROM entries e WHERE e.user_id = u.user_id
			AND e.time_period = u.time_period AND field_type = 'QUOTA')},
		q{SELECT owner_email, time_period FROM forecasts ORDER BY 1, 2, owner_name COLLATE "C" LIMIT 20 OFFSET 100},
		q{SELECT DISTINCT time_period, field_id, role FROM entries ORDER BY 1, 2, 3},
		q{SELECT time_period, count(*) FROM entries WHERE owner_email IN (SELECT owner_email FROM forecasts WHERE time_period = '2026_Q2'
			AND owner_email < 'd')
			GROUP BY 1 ORDER BY 1},
		q{SELECT s, count(*), max(e) FROM (SELECT 1 AS s, owner_email AS e FROM forecasts UNION ALL SELECT 2, email FROM users UNION ALL
			SELECT 3, q FROM big) x GROUP BY 1 ORDER BY 1},
		'SELECT time_period, count(*), sum(forecast_amount), min(owner_name COLLATE "C") FROM parted GROUP BY 1 ORDER BY 1',
		q{SELECT count(*) FROM parted a JOIN parted b USING (time_period, owner_email) WHERE a.time_period >= '2026_Q2'},
		"SELECT i, s.* FROM generate_series(1, 3) i LEFT JOIN (SELECT $total FROM forecasts) s ON i > 0 ORDER BY 1")
	{
		is_parallel($query);
		as_heap('net_arr', $query, @settings, $query =~ /field_id|JOIN parted|generate_series|LIMIT/ ? @switches : ());
	}
	as_heap('net_arr', q{SELECT n, count(*) FROM quarters JOIN forecasts ON time_period = q GROUP BY 1 ORDER BY 1},
		"$parallel; SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_memoize = off");
	as_heap('net_arr', digest_of('forecasts'), $parallel, $workers_only);
	as_heap('net_arr', $_, $parallel, $workers_only) for (
		# Foreign scans that are not parallel themselves, within workers; joins with a heap.
		'SELECT q, count(*), sum(n), sum(quota_amount) FROM big JOIN (SELECT * FROM forecasts WHERE owner_email < $$b$$) f
			ON q = time_period AND n % 10 = length(owner_name) % 10 GROUP BY 1 ORDER BY 1',
		'SELECT count(*) FROM big WHERE q IN (SELECT time_period FROM forecasts)',
		'SELECT n, count(*) FROM quarters JOIN forecasts ON time_period = q GROUP BY 1 ORDER BY 1',
		# Values that come with execution.
		"SELECT $total FROM forecasts WHERE time_period = (SELECT q FROM quarters WHERE n = 1)",
		'SELECT count(user_id) FROM entries WHERE time_period > (SELECT min(q) FROM quarters) AND owner_email > (SELECT min(owner_email)
			FROM forecasts)',
		"SELECT $total FROM forecasts WHERE time_period = ANY (ARRAY(SELECT q FROM quarters))",
		'SELECT n, (SELECT count(user_id) FROM entries WHERE time_period = q) FROM quarters ORDER BY 1',
		map({ my $mode = $_; (qq{SET plan_cache_mode = $mode; PREPARE p(text) AS SELECT $total FROM forecasts WHERE time_period = \$1;
			EXECUTE p('2026_Q2');
				EXECUTE p('2026_Q3'); EXECUTE p(NULL); EXECUTE p('2030_Q1'); EXECUTE p('2026_Q2')},
			qq{SET plan_cache_mode = $mode; PREPARE p(text[], text) AS SELECT time_period, count(*), sum(forecast_value) FROM entries
				WHERE time_period = ANY (\$1)
				AND owner_email < \$2 GROUP BY 1 ORDER BY 1; EXECUTE p('{2026_Q1,2026_Q4}', 'm'); EXECUTE p('{}', '');
					EXECUTE p('{2026_Q3,NULL}', 'z')}) }
			qw(force_generic_plan force_custom_plan)),
		# Statements around it.
		"CREATE TEMP TABLE t AS SELECT * FROM forecasts; SELECT $total FROM t",
		"CREATE TEMP TABLE t (LIKE forecasts); INSERT INTO t SELECT * FROM forecasts; SELECT $total FROM t",
		qq{BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT time_period, $total FROM forecasts GROUP BY 1 ORDER BY 1; FETCH 1 FROM c; COMMIT;
			FETCH ALL FROM c; CLOSE c},
		q{CREATE FUNCTION pg_temp.f(text) RETURNS bigint LANGUAGE plpgsql AS 'DECLARE n bigint; BEGIN SELECT count(user_id) INTO n FROM entries
			WHERE time_period = $1;
			PERFORM 1 / (n - 8580) FROM entries; RETURN n; EXCEPTION WHEN division_by_zero THEN RETURN -n; END';
				SELECT pg_temp.f('2026_Q1'), pg_temp.f('2026_Q9'), pg_temp.f('2026_Q2')},
		q{CREATE FUNCTION pg_temp.g() RETURNS SETOF record LANGUAGE plpgsql AS 'BEGIN RETURN QUERY SELECT time_period, count(*)
			FROM entries GROUP BY 1; END';
			SELECT * FROM pg_temp.g() AS g(t text, n bigint) ORDER BY 1},
		'BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT count(user_id) FROM entries; SAVEPOINT s; SELECT count(user_id) FROM entries; ROLLBACK TO s;
			SELECT count(user_id) FROM users; COMMIT');
	as_heap('large', $_, $parallel, $workers_only) for (
		'SELECT time_period, field_id, count(*), sum(forecast_value), min(user_id), max(owner_email) FROM entries GROUP BY 1, 2
			ORDER BY 1, 2',
		'SELECT count(*), sum(a.forecast_amount) FROM forecasts a JOIN forecasts b USING (time_period, owner_name, owner_email)',
		q{SELECT count(*), sum(quota_value) FROM entries WHERE owner_email LIKE 'ada%' AND time_period = '2026_Q2'},
		"SELECT i, s.* FROM generate_series(1, 2) i LEFT JOIN (SELECT $total FROM forecasts) s ON i > 0 ORDER BY 1");
	# Fewer groups than participants, or none.
	as_heap('odd', $_, $parallel, $workers_only, "$cheap; SET max_parallel_workers_per_gather = 4") for ('SELECT * FROM forecasts
		ORDER BY time_period, owner_email',
		'SELECT count(user_id) FROM users', q{SELECT count(user_id) FROM entries WHERE time_period = '2026_Q2'});
	# As many rows as are asked for, whichever they are; the others are not waited for.
	is(parallel_rows('net_arr', "SELECT count(*) FROM (SELECT * FROM entries LIMIT $_) s"), $_, "LIMIT $_") for 0, 1, 5000, 34000;
	is(scalar(() = parallel_rows('net_arr', 'SELECT time_period FROM entries LIMIT 10', $workers_only) =~ /2026/g), 10, 'and a bare LIMIT');
	# Inner plans that are rescanned with new parameters, next to a Gather that is run again.
	my $rescans = "$parallel; SET enable_material = off; SET enable_memoize = off; SET enable_hashjoin = off; SET enable_mergejoin = off";
	my $query = 'SELECT i, n FROM generate_series(1, 5) i LEFT JOIN (SELECT count(user_id) AS n FROM entries) s ON i < n';
	like(plan_of($query, $rescans), qr/Nested Loop(?s:.*)Gather/, 'a Gather that is run again');
	is(parallel_rows('net_arr', $query, $_), join("\n", map { "$_|34320" } 1 .. 5), "… reads the same each time: $_") for $rescans, "$rescans; SET parallel_leader_participation = off";
};

subtest 'few workers' => sub {
	for my $limit (0, 1, 8)
	{
		my $plan = analyzed('SELECT count(user_id) FROM entries', "$parallel; SET max_parallel_workers = $limit", 'large');
		my ($gather) = nodes('Gather', $plan);
		is($gather->{'Workers Launched'}, $limit < 2 ? $limit : 2, "max_parallel_workers = $limit: as many are launched");
	}
	# Others have taken them all.
	my $others = session('large', "$cheap; SET max_parallel_workers_per_gather = 4; SET max_parallel_workers = 8");
	shut();
	$others->start('SELECT count(user_id) FROM users WHERE gate(user_id)');
	wait_until('another has workers', sub { $others->is_finished(0) || workers_of($others) > 0 });
	my $rows = sql('SELECT count(*) FROM heap_large.entries');
	is(parallel_rows('large', 'SELECT count(user_id) FROM entries', "$parallel;
		SET max_parallel_workers = 2"), $rows, 'with those that there are left');
	open_gate();
	is($others->finish, sql('SELECT count(*) FROM heap_large.users'), 'and for the other');
};

subtest 'nothing is cached any more when it is executed' => sub {
	my $prepare = "$generic; PREPARE p AS SELECT time_period, count(*), sum(forecast_value) FROM entries GROUP BY 1 ORDER BY 1;
		PREPARE q(text[]) AS SELECT time_period, count(*), sum(forecast_value) FROM entries WHERE time_period = ANY (\$1) GROUP BY 1
			ORDER BY 1;
		PREPARE i AS SELECT time_period, count(*) FROM entries WHERE time_period = (SELECT q FROM quarters WHERE n = 2) GROUP BY 1";
	for my $setting ($parallel, $workers_only)
	{
		parallel_rows('net_arr', 'SELECT count(user_id) FROM entries');
		my $session = session('net_arr', "$setting; $prepare");
		my $expected = sub { return parallel_rows('heap_net_arr', "SELECT time_period, count(*), sum(forecast_value) FROM entries
			WHERE $_[0] GROUP BY 1 ORDER BY 1") };
		is($session->query('EXECUTE p'), $expected->('true'), 'warm');
		is($session->query(q{EXECUTE q('{2026_Q1}'); EXECUTE i}), $expected->(q{time_period = '2026_Q1'}) . "\n2026_Q3|8580", 'warm, with a parameter');
		like($session->query('EXPLAIN EXECUTE p'), qr/Parallel Foreign Scan/, 'the plan is parallel');
		sql('SELECT clari_invalidate()');
		sim_reset();
		is($session->query('EXECUTE p'), $expected->('true'), 'cold');
		is(sim_posts(), 4, '… each quarter is exported once');
		sql('SELECT clari_invalidate()');
		is($session->query(q{EXECUTE q('{2026_Q2,2026_Q4}')}), $expected->(q{time_period IN ('2026_Q2', '2026_Q4')}), 'cold, two quarters');
		is(sim_posts(), 6, '… which are exported');
		is($session->query('EXECUTE i'), '2026_Q3|8580', 'cold, a quarter that execution finds');
		is(sim_posts(), 7, '… which is exported');
		is($session->query('EXECUTE q(NULL); EXECUTE q($${2030_Q1}$$)') =~ s/^(NOTICE|DETAIL|HINT|LOCATION).*\n?//mgr, '', 'no quarter');
		is(sim_posts(), 7, '… no export');
	}

	# It waits like any other, and can be canceled; nobody is left behind.
	my $session = session('net_arr', "$parallel; $prepare");
	parallel_rows('net_arr', 'SELECT count(user_id) FROM entries');
	like($session->query('EXPLAIN EXECUTE p'), qr/Parallel Foreign Scan/, 'a parallel plan');
	sql('SELECT clari_invalidate()');
	sim_reset();
	sim_set({ job_seconds => 'hold' });
	$session->start('EXECUTE p');
	wait_until('it waits', sub { sim_posts() == 4 });
	my ($answer) = $session->cancel($holder);
	like($answer, qr/ERROR:  57014/, 'waiting, it is canceled');
	wait_until('no worker is left', sub { !workers_of($session) });
	$session->start('EXECUTE p');
	wait_until('it waits again', sub { sql('SELECT coalesce(max(waiters), 0) FROM clari_exports') > 0 });
	sim_set({ job_seconds => 0 });
	sim_release();
	is($session->finish, parallel_rows('heap_net_arr', 'SELECT time_period, count(*), sum(forecast_value) FROM entries GROUP BY 1
		ORDER BY 1'), 'waited for, it has all rows');
	is(sim_posts(), 4, 'from the same exports');

	# An export that fails is the statement's error.
	sql(q{SELECT clari_invalidate('net_arr.forecasts', '{2026_Q2}')});
	sim_fault({ status => 400 }, step => 'post', period => '2026_Q2', times => 1);
	like($session->query('EXECUTE p'), qr/ERROR:  \w{5}: .*2026_Q2/, 'an export that fails is an error');
	sql('SELECT clari_invalidate()');
	is($session->query(q{EXECUTE q('{2026_Q2}')}) =~ /^2026_Q2\|8580/, 1, 'and then not');
};

subtest 'stale rows' => sub {
	for my $table (qw(short revalidated))
	{
		my $more = $table eq 'revalidated' ? ", stale_while_revalidate '1h'" : '';
		sql(qq{CREATE FOREIGN TABLE net_arr.$table (owner_name text, owner_email text, forecast_amount numeric, time_period text)
			SERVER clari
			OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q4', cache_ttl '1s', closed_period_ttl '1s' $more)});
	}
	my $sum = 'SELECT sum(forecast_amount) FROM';
	my $session = session('net_arr', "$workers_only; $generic; PREPARE short AS $sum short; PREPARE revalidated AS $sum revalidated");
	for my $table (qw(short revalidated))
	{
		wait_until('it is planned in time', sub {
			sql(q{SELECT clari_refresh('net_arr.forecasts')});
			$session->query("DEALLOCATE $table; PREPARE $table AS $sum $table; EXPLAIN EXECUTE $table") =~ /Parallel Foreign Scan/;
		});
		my $before = sql("$sum net_arr.forecasts");
		new_version();
		sim_reset();
		wait_until('they are old', sub { sql(q{SELECT max(exported_at) < now() - interval '1.1 s' FROM clari_cache WHERE forecast = 'net_arr'}) eq 't' });
		is_serial("$sum $table") if $table eq 'short';
		like($session->query("EXPLAIN EXECUTE $table"), qr/Parallel Foreign Scan/, "$table: a parallel plan, made when they were fresh");
		my $answer = $session->query("EXECUTE $table");
		wait_until('nothing is in flight', sub { sql('SELECT count(*) FROM clari_exports') == 0 });
		is(sim_posts(), 4, 'stale, each quarter is exported once');
		my $after = sql("$sum net_arr.forecasts");
		isnt($after, $before, '… with other rows');
		is($answer, $table eq 'short' ? $after : $before, '… which the statement shows, unless it need not wait');
	}
};

subtest 'one version' => sub {
	my %changes = (
		refresh => sub { sql("SELECT clari_refresh('$_[0].forecasts')") },
		invalidate => sub { sql("SELECT clari_invalidate('$_[0].forecasts')") },
		'refresh twice' => sub { sql("SELECT clari_refresh('$_[0].forecasts'); SELECT clari_refresh('$_[0].forecasts')") });
	my $sum = 'SELECT count(*), sum(forecast_amount) FROM forecasts';
	my $both = 'SELECT count(*), sum(a.forecast_amount), sum(b.forecast_amount) FROM forecasts a JOIN forecasts b
		USING (time_period, owner_name, owner_email)';
	for my $forecast (qw(net_arr large))
	{
		for my $what ($forecast eq 'large' ? qw(invalidate refresh) : sort keys %changes)
		{
			# All have attached; in the join, one of them at least.
			my ($query, $setting, $participants) =
				$what eq 'refresh' ? ("$sum WHERE gate(owner_email)", $parallel, 3)
			  : $what eq 'invalidate' ? ("$sum WHERE gate(owner_email)", $workers_only, 2)
			  : ("$both WHERE gate(a.owner_email)", $parallel, 1);
			my $session = session($forecast, $setting);
			my $before = $session->query($query);
			new_version();
			is(across_gate($session, $query, $participants, sub { $changes{$what}->($forecast) }), $before,
				"$forecast, $what: the version that it began with: $query");
			isnt($session->query($query), $before, 'the next statement has another');
		}

		# The leader has it, and the workers are still to come: they have it too, or say that they cannot.
		my $late = "$sum WHERE forecast_amount > (SELECT -1e60 FROM (SELECT count(*) AS n FROM forecasts OFFSET 0) s WHERE n > 0
			AND gate())";
		is_parallel($late, $workers_only);
		for my $what ($forecast eq 'large' ? 'refresh' : qw(refresh invalidate))
		{
			my $session = session($forecast, $workers_only);
			my $before = $session->query($late);
			new_version();
			my $answer = across_gate($session, $late, 1, sub { $changes{$what}->($forecast) });
			if ($forecast eq 'net_arr')
			{
				is($answer, $before, "$what: workers that come later attach what the leader has");
			}
			else
			{
				ok($answer eq $before || $answer =~ /ERROR:  \w{5}: /, "$what: workers that come later read the leader's version, or raise an error")
				  or diag("$answer, not $before");
				note($answer);
			}
			isnt($session->query($late), $before, 'the next statement has another');
		}
	}

	# Rescans of a Gather, and workers that come anew with each.
	my $rescans = "$workers_only; SET enable_material = off; SET enable_memoize = off; SET enable_hashjoin = off;
		SET enable_mergejoin = off";
	my $query = 'SELECT i, s FROM (SELECT i, CASE WHEN i = 3 THEN gate() END AS g FROM generate_series(1, 4) i OFFSET 0) o LEFT JOIN
		(SELECT sum(forecast_amount) AS s FROM forecasts) s ON i > 0';
	like(plan_of($query, $rescans), qr/Nested Loop(?s:.*)Gather/, 'a Gather that is run again');
	my $session = session('net_arr', $rescans);
	my $before = $session->query($query);
	new_version();
	is(across_gate($session, $query, 1, sub { sql(q{SELECT clari_refresh('net_arr.forecasts')}) }), $before, '… has one version throughout');

	# Of two tables of one export, and in scans that are not parallel themselves.
	for my $setting ("$parallel; SET enable_parallel_hash = off", "$workers_only; SET enable_hashjoin = off; SET enable_mergejoin = off")
	{
		my $query = q{SELECT count(*), sum(forecast_amount), sum(forecast_value) FROM big JOIN entries e ON n = length(e.owner_name)
			AND gate(e.owner_name) JOIN
			forecasts f USING (time_period, owner_email) WHERE field_type = 'FORECAST' AND owner_email < 'b' AND time_period = '2026_Q1'};
		my $session = session('net_arr', $setting);
		my $before = $session->query($query);
		new_version();
		is(across_gate($session, $query, 1, sub { sql(q{SELECT clari_refresh('net_arr.forecasts')}) }), $before, 'one version in all scans of all workers');
	}
	old_version();
};

subtest 'canceled and terminated in the midst' => sub {
	for my $forecast (qw(net_arr large))
	{
		my $rows = sql("SELECT count(*) FROM heap_$forecast.users");
		my $query = 'SELECT count(user_id) FROM users WHERE gate(user_id)';
		my $session = session($forecast, $parallel);
		is($session->query($query), $rows, 'undisturbed');
		my $handles = handles($session->{pid});
		for my $by (qw(pg_cancel_backend pg_terminate_backend))
		{
			my $victim;
			my $answer = across_gate($session, $query, 3, sub { ($victim) = workers_of($session); $holder->query("SELECT $by($victim)"); $session->is_finished(10) });
			like($answer, $by =~ /cancel/ ? qr/ERROR:  57014/ : qr/ERROR:  57P01|FATAL:  57P01/, "$forecast: $by of a worker is the statement's error");
			wait_until('no worker is left', sub { !workers_of($session) });
			is($session->query($query), $rows, '… and the next statement has all rows');
		}
		shut();
		$session->start($query);
		wait_until('all are at the gate', sub { at_the_gate($session) == 3 });
		my ($answer) = $session->cancel($holder);
		like($answer, qr/ERROR:  57014/, "$forecast: the leader canceled");
		wait_until('no worker is left', sub { !workers_of($session) });
		open_gate();
		$session->query("SET statement_timeout = '300ms'");
		shut();
		like($session->query($query), qr/ERROR:  57014: .*statement timeout/, "$forecast: statement_timeout");
		open_gate();
		is($session->query("RESET statement_timeout; $query"), $rows, '… and the next statement has all rows');
		is(handles($session->{pid}), $handles, 'nothing is left open or mapped');

		my $victim = session($forecast, $parallel);
		shut();
		$victim->start($query);
		wait_until('all are at the gate', sub { at_the_gate($victim) == 3 });
		my @workers = workers_of($victim);
		$holder->query("SELECT pg_terminate_backend($victim->{pid})");
		like($victim->finish, qr/FATAL:  57P01/, "$forecast: the leader terminated");
		wait_until('its workers are gone', sub { !grep { !process_is_gone($_) } @workers });
		open_gate();
		is(parallel_rows($forecast, 'SELECT count(user_id) FROM users'), $rows, 'and others have all rows');
	}
	is(sql('SELECT count(*) FROM pg_stat_activity WHERE backend_type = $$parallel worker$$'), 0, 'no worker is left');
};

sub handles { return scalar(() = glob("/proc/$_[0]/fd/*")) . ' and ' . scalar(grep { /dsm|PostgreSQL\./ } split /\n/, PostgreSQL::Test::Utils::slurp_file("/proc/$_[0]/maps")); }

subtest 'errors in a worker' => sub {
	my $session = session('net_arr', $workers_only);
	$session->query(q{SET search_path = net_arr, large, public});
	my $zero = q{SELECT count(user_id) FROM entries WHERE 1 / (length(owner_email) - 30) > -1};
	my $once = $session->query('SELECT count(user_id) FROM entries');
	my $handles;
	for (1 .. 10)
	{
		my $answer = $session->query($zero);
		like($answer, qr/ERROR:  22012: division by zero\n(?s:.*)CONTEXT:  parallel worker/, 'a division by zero') if $_ == 1;
		die $answer unless $answer =~ /22012/;
		$session->query('SELECT count(user_id) FROM large.entries WHERE 1 / (length(owner_email) - 30) > -1');
		is($session->query('SELECT count(user_id) FROM entries'), $once, 'and then all rows') if $_ == 10;
		$handles //= handles($session->{pid});
	}
	is(handles($session->{pid}), $handles, 'errors again and again leave nothing open or mapped');
	sql(q{CREATE DOMAIN late AS text CHECK (VALUE NOT LIKE 'm%');
		CREATE FOREIGN TABLE net_arr.failing (owner_email late, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q4')});
	like($session->query('SELECT max(owner_email) FROM failing'), qr/ERROR:  23514: /, "a value that the column's type does not take");
	sim_set({ fields => [ qw(first second quota) ] }, forecast => 'odd');
	sql(q{SELECT clari_refresh('odd.forecasts')});
	like(parallel_rows('odd', 'SELECT sum(forecast_amount) FROM forecasts', $workers_only), qr/ERROR: .*field/, 'a pivot without a choice');
	is(parallel_rows('odd', 'SELECT count(*), count(forecast_value)
		FROM entries', $workers_only), sql('SELECT count(*), count(forecast_value) FROM odd.entries'), '… which not all need');
	sim_set({ fields => undef }, forecast => 'odd');
	sql(q{SELECT clari_refresh('odd.forecasts')});
};

subtest 'warnings and notices come once' => sub {
	my $session = session('odd', "$parallel; SET client_min_messages = notice");
	my $said = sub { my ($query, $what) = @_; return scalar(() = $session->query($query) =~ /$what/g); };
	is($said->(q{SELECT count(user_id) FROM net_arr.entries WHERE time_period IN ('2026_Q1', '2026_Q2', '2030_Q1')}, 'NOTICE:  .*2030_Q1'), 1, 'a quarter outside of the extent');
	sim_set({ known_periods => [ '2026_Q2', '2026_Q4' ] }, forecast => 'odd');
	sql(q{SET client_min_messages = error; SELECT clari_refresh('odd.forecasts')});
	my $count = 'SELECT count(user_id) FROM entries';
	is($said->($count, 'WARNING:  .*2026_Q1'), 1, 'a quarter that Clari does not know');
	$session->query('SET parallel_leader_participation = off');
	is($said->($count, '(?:WARNING|NOTICE):  .*2026_Q1'), 1, '… without the leader, too');
	is(last_line($session->query($count)), sql(q{SELECT count(*) FROM heap_odd.entries
		WHERE time_period = '2026_Q2'}), '… and has no rows');
	sim_set({ known_periods => undef }, forecast => 'odd');
	sim_set({ rows_truncated => JSON::PP::true }, forecast => 'large', period => '2026_Q1');
	sql(q{ALTER FOREIGN TABLE large.entries OPTIONS (ADD allow_truncated 'true'); SET client_min_messages = error;
		SELECT clari_refresh('large.entries')});
	$session->query('SET search_path = large, public; SET parallel_leader_participation = on');
	is($said->($count, 'WARNING:  .*truncated'), 1, 'an export that was cut');
	sim_set({ rows_truncated => JSON::PP::false }, forecast => 'large', period => '2026_Q1');
	sql(q{ALTER FOREIGN TABLE large.entries OPTIONS (DROP allow_truncated)});
	old_version();
};

subtest 'whose rights' => sub {
	sql(q{CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA net_arr TO reader; CREATE VIEW net_arr.v AS SELECT * FROM net_arr.entries; GRANT
		SELECT ON net_arr.v, net_arr.entries TO reader});
	my $reader = ClariSession->new($node, user => 'reader');
	$reader->query("SET search_path = net_arr; $workers_only");
	is($reader->query('SELECT count(user_id) FROM v'), 34320, q{a view's owner's mapping in a worker});
	like($reader->query('EXPLAIN SELECT count(user_id) FROM v'), qr/Parallel Foreign Scan/, '… in parallel');
	like($reader->query('SELECT count(user_id) FROM entries'), qr/ERROR:  \w{5}: .*user mapping/, 'and none of his own');
};

subtest 'who cannot read his share says so' => sub {
	# The leader has the file open; then it is gone, and the workers come.
	my $count = 'SELECT count(*), sum(forecast_value) FROM entries';
	my $expected = sql("SELECT count(*), sum(forecast_value) FROM heap_large.entries");
	my $late = "$count WHERE owner_email IS NOT NULL = (SELECT n > 0 AND gate() FROM (SELECT count(*) AS n
		FROM entries) s) OR owner_email IS NULL";
	my $large = sub { return grep { -s $_ > 8_000_000 } cache_files($node, qr/./) };
	for my $setting ($workers_only, $parallel)
	{
		my $session = session('large', $setting);
		is($session->query($late), $expected, 'undisturbed');
		is(scalar($large->()), 2, 'there are files');
		sim_reset();
		my $answer = across_gate($session, $late, 1, sub { unlink $large->() });
		# The leader may have been through before they were there.
		ok($answer =~ /ERROR:  \w{5}: / || ($answer eq $expected && $setting eq $parallel), 'a file that is gone before the workers come is an error') or diag($answer);
		note($answer);
		is(parallel_rows('large', $count) =~ /\Q$expected\E\z/, 1, '… and then the rows are there');
		cmp_ok(sim_posts(), '<=', 2, '… at the cost of an export each at most');
	}

	# Gone between planning and execution, nobody has it: it is had again.
	my $session = session('large', "$parallel; $generic; PREPARE p AS $count");
	is($session->query('EXECUTE p'), $expected, 'prepared');
	unlink $large->();
	is(last_line($session->query('EXECUTE p')), $expected, 'files that are gone before the execution are had again');

	# While all are reading, a file that goes is no loss; one that is damaged is an error.
	$session = session('large', $parallel);
	my $all = "$count WHERE gate(owner_email)";
	is(across_gate($session, $all, 3, sub { unlink $large->() }), $expected, 'a file that goes while all read it is no loss');
	parallel_rows('large', $count);
	my $answer = across_gate($session, $all, 3, sub {
		for my $file ($large->()) { truncate($file, 4_000_000) or die $! }
	});
	like($answer, qr/ERROR:  XX001: /, 'a file that is cut while all read it is an error') or diag($answer);
	is(last_line($session->query($count)), $expected, '… and then the rows are there');
};

done_testing();
