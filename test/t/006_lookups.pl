# Rows that a join asks for by value are looked up in the dictionaries where that is cheaper, with the rows of any other plan;
# and quarters that a subquery computes are exported in one round.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariHeap;
use ClariSession;
use ClariTest;
use Test::More;

srand($ENV{CLARI_SEED} // 1);
my $count = $ENV{CLARI_QUERIES} // 200;
# Of several row groups; 2026_Q2 is of the flat shape.
start_sim(job_seconds => 0, owners => 9000, null_emails => 20, duplicate_emails => 25, end_time => 1_767_225_600_123, monthly_quota => 100_000);
sim_set({ shape => 'flat' }, period => '2026_Q2');
# The rowsets of entries are too large for the shared memory, and are read from their files chunk by chunk.
my $node = start_node('lookups', q{clari_fdw.shared_cache_size = '1MB'}, 'jit = off', q{timezone = 'UTC'});
create_server($node, max_concurrent_exports => 8);
import_tables($node, schema => 'remote', periods => '2026_Q1..2026_Q3');
sql('CREATE SCHEMA heap');
sql("CREATE TABLE heap.$_ AS SELECT * FROM remote.$_") for qw(forecasts entries users);
sql('ANALYZE');
cmp_ok(sql(q{SELECT bytes FROM clari_cache WHERE time_period = '2026_Q1'}), '>', 1024 * 1024, 'a file that is read chunk by chunk');
my $icu = sql(q{SELECT count(*) > 0 FROM pg_collation WHERE collprovider = 'i'}) eq 't';
my $citext = sql(q{SELECT count(*) > 0 FROM pg_available_extensions WHERE name = 'citext'}) eq 't';
sql(q{CREATE COLLATION public.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)}) if $icu;
sql('CREATE EXTENSION citext') if $citext;
sql(q{CREATE DOMAIN mail AS text; CREATE TABLE quarters (q text, n int); INSERT INTO quarters VALUES ('2026_Q2', 1), ('2026_Q3', 2); ANALYZE quarters});

sub plan_of { my ($query, $setting) = @_; return rows_in($node, 'remote', "EXPLAIN (COSTS OFF) $query", $setting); }

# team: so many rows of values that the column has, of others, and of NULLs, some of them twice; as columns of several types.
sub make_team
{
	my ($rows, $table, $column) = @_;
	sql(qq{DROP TABLE IF EXISTS team; CREATE TABLE team AS SELECT n, v, v::varchar AS v_varchar, v::mail AS v_mail, v::char(60) AS v_char, v::name AS v_name,
			} . ($citext ? 'v::citext' : 'v') . ' AS v_citext, ' . ($icu ? 'v COLLATE ci' : 'v') . qq{ AS v_ci, v COLLATE "C" AS v_c, q, ARRAY[v, upper(v), NULL, '2026_Q1'] AS v_array
		FROM (SELECT n, CASE WHEN n % 7 = 5 THEN NULL WHEN n % 7 = 6 THEN upper(v) WHEN n % 11 = 9 THEN v || ' ' ELSE v END AS v, '2026_Q' || 1 + n % 4 AS q
			FROM (SELECT row_number() OVER ()::int AS n, v FROM (SELECT $column AS v FROM heap.$table ORDER BY md5($column || '$rows'), time_period LIMIT $rows) s) s) s;
		INSERT INTO team (n, v, q) VALUES (0, 'nobody\@example.com', '2026_Q1'), (-1, NULL, NULL); ANALYZE team});
	return;
}

my @settings = ('', @joins, $rescanning, "$joins{'Nested Loop'}; SET work_mem = 64", "$joins{'Nested Loop'}; SET enable_material = off",
	q{LOAD 'clari_fdw'; SET clari_fdw.enable_pruning = off}, "LOAD 'clari_fdw'; SET clari_fdw.enable_pruning = off; $rescanning", 'SET plan_cache_mode = force_generic_plan');
sub pick { return $_[ int(rand(@_)) ]; }

my %wrong;
my ($compared, $looked_up) = (0, 0);
subtest 'random joins have the rows of the heap' => sub {
	for my $number (1 .. $count)
	{
		my $table = pick(qw(entries entries forecasts users));
		my $key = pick($table eq 'entries' ? qw(owner_email owner_email user_id owner_name crm_user_id field_id role) :
			$table eq 'users' ? qw(email user_id name crm_id) : qw(owner_email owner_name));
		make_team(pick(2, 3, 30, 300), $table, $key) if $number % 5 == 1 || $number == 1;
		my $left = pick("e.$key", "e.$key", "e.$key", "e.$key", "e.$key\::varchar", "e.$key COLLATE \"C\"", "lower(e.$key)", "e.$key\::char(60)", $citext ? "e.$key\::citext" : "e.$key");
		my $right = 't.' . pick(qw(v v v v v_varchar v_mail v_char v_name v_citext v_ci v_c));
		my $on = pick("$left = $right", "$left = $right", "$right = $left", "$left = lower($right\::text)", "e.$key = ANY (t.v_array)", "$left = $right AND e.time_period = t.q",
			"$left = $right AND e.time_period = t.q", "($left, e.time_period) = ($right, '2026_Q' || abs(t.n) % 4)", "$left = $right AND t.n % 2 = 0", "$left IS NOT DISTINCT FROM $right");
		my $other = pick('true', 'true', q{e.time_period <> '2026_Q2'}, "e.$key > 'c'", 'e.forecast_name IS NOT NULL', q{e.time_period IN (SELECT q FROM quarters)});
		my $digest = q{SELECT count(*) || ' ' || coalesce(md5(string_agg(s::text, ';' ORDER BY s::text COLLATE "C")), '') FROM};
		my $query = pick(
			"$digest (SELECT t.n, e.* FROM team t JOIN $table e ON $on WHERE $other) s",
			"$digest (SELECT t.n, e.* FROM team t LEFT JOIN $table e ON $on AND $other) s",
			"$digest (SELECT t.n, e.* FROM team t LEFT JOIN $table e ON $on WHERE $other) s",
			"$digest (SELECT t.n, u.* FROM team t JOIN $table e ON $on JOIN $table u ON u.$key = e.$key AND u.time_period = e.time_period WHERE $other) s",
			"$digest (SELECT e.* FROM $table e WHERE EXISTS (SELECT FROM team t WHERE $on) AND $other) s",
			"$digest (SELECT e.* FROM $table e WHERE e.$key IN (SELECT t.v FROM team t WHERE n > 0) AND $other) s",
			"$digest (SELECT e.* FROM $table e WHERE NOT EXISTS (SELECT FROM team t WHERE $on) AND $other) s",
			"$digest (SELECT t.n FROM team t WHERE EXISTS (SELECT FROM $table e WHERE $on AND $other)) s",
			"$digest (SELECT t.n FROM team t WHERE NOT EXISTS (SELECT FROM $table e WHERE $on AND $other)) s",
			"$digest (SELECT t.n, (SELECT count(*) || min(e::text COLLATE \"C\") FROM $table e WHERE $on AND $other) FROM team t WHERE t.n < 40) s",
			"$digest (SELECT t.n, l.* FROM team t, LATERAL (SELECT e.* FROM $table e WHERE $on AND $other OFFSET 0) l WHERE t.n < 40) s",
			"$digest (SELECT t.n, e.* FROM team t RIGHT JOIN $table e ON $on WHERE $other AND e.$key < 'd') s");
		# What a heap refuses (two collations that contradict each other), or takes long for, is left out.
		my ($refused, $explained) = $node->psql('postgres', "SET search_path = heap, public; EXPLAIN $query");
		next if $refused || $explained =~ /cost=\d+\.\d+\.\.(\d+)/ && $1 > 20_000;
		$compared++;
		my $setting = pick(@settings);
		my $expected = rows_in($node, 'heap', $query);
		my $got = rows_in($node, 'remote', $query, $setting);
		$looked_up++ if $expected !~ /^0 / && plan_of($query, $setting) =~ /Nested Loop.*Dictionary Cond: [^\n]*(\$\d|\b(t|team)(_\d+)?\.)/s;
		next if $got eq $expected;
		$wrong{$number} = 1;
		diag("$number: $setting; $query\ngot $got\nexpected $expected\n" . plan_of($query, $setting));
	}
	is(join(' ', sort { $a <=> $b } keys %wrong), '', "$compared queries");
	cmp_ok($looked_up, '>', $count / 10, "… of which $looked_up look values up") if $count >= 200;
};

subtest 'the plan that is cheaper' => sub {
	my $lookup = qr/Nested Loop.*Foreign Scan on entries.*Dictionary Cond/s;
	make_team(3, 'entries', 'owner_email');
	like(plan_of($_), $lookup, 'looked up: ' . short($_)) for
		'SELECT * FROM entries e JOIN team t ON t.v = e.owner_email', 'SELECT * FROM team t LEFT JOIN entries e ON t.v_varchar = e.owner_email',
		'SELECT * FROM entries WHERE owner_email IN (SELECT v FROM team)', 'SELECT * FROM entries e WHERE EXISTS (SELECT FROM team WHERE v = e.owner_email)',
		(map { "SELECT * FROM entries e JOIN team t ON t.v = e.$_" } qw(user_id owner_name crm_user_id)),
		'SELECT * FROM team t JOIN entries e ON (e.owner_email, e.time_period) = (t.v, t.q)', 'SELECT * FROM entries e JOIN team t ON e.owner_email = ANY (t.v_array)';
	unlike(plan_of($_, $joins{'Nested Loop'}), qr/Dictionary Cond/, 'compared otherwise than byte by byte, and not looked up: ' . short($_)) for
		'SELECT * FROM team t JOIN entries e ON e.owner_email::char(60) = t.v_char', ($icu ? 'SELECT * FROM team t JOIN entries e ON t.v_ci = e.owner_email' : ()),
		($citext ? 'SELECT * FROM team t JOIN entries e ON t.v_citext = e.owner_email::citext' : ());
	like(plan_of('SELECT * FROM team a, team b JOIN entries e ON b.v = e.owner_email WHERE a.n > 0', 'SET enable_hashjoin = off; SET enable_mergejoin = off'),
		qr/Foreign Scan on entries/, 'a join of three');
	sql(q{CREATE TABLE many AS SELECT v, n FROM team, generate_series(1, 400) WHERE v IS NOT NULL; ANALYZE many});
	like(plan_of('SELECT * FROM many m JOIN entries e ON m.v = e.owner_email', $joins{'Nested Loop'}), qr/Memoize.*Cache Key: m\.v.*Foreign Scan on entries/s, 'Memoize keeps what was looked up');
	# Memoize would take texts for one that are so by their own collation, and not by that of the comparison.
	if ($icu)
	{
		sql(q{DROP TABLE many; CREATE TABLE many AS SELECT CASE k % 2 WHEN 0 THEN v ELSE upper(v) END COLLATE ci AS v,
			CASE k % 2 WHEN 0 THEN '2026_Q1' ELSE '2026_q1' END COLLATE ci AS q FROM team, generate_series(1, 20) k WHERE v <> upper(v); ANALYZE many});
		same_rows($node, 'remote', 'heap', "SELECT count(*), count(e.user_id) FROM many LEFT JOIN entries e ON $_", '', $joins{'Nested Loop'}, $rescanning) for
			'e.owner_email COLLATE "C" = v', 'v = e.owner_email COLLATE "C" AND e.time_period = upper(q) COLLATE "C"',
			'e.time_period COLLATE "C" = q AND e.user_id = (SELECT min(user_id) FROM heap.users)', 'e.owner_email = v COLLATE "C"', 'e.owner_email = v';
	}
	sql(q{DROP TABLE many; CREATE TABLE many AS SELECT owner_email AS v FROM heap.entries; ANALYZE many});
	like(plan_of('SELECT * FROM many m JOIN entries e ON m.v = e.owner_email'), qr/Hash Join/, 'many rows are joined by a hash table');

	# Values that no row has, nor by chance the hash of one: only hashes are read for them.
	my $read = sub {
		my $values = join(', ', map { "('$_')" } @_);
		my $plan = rows_in($node, 'remote', "EXPLAIN (ANALYZE, COSTS OFF) SELECT field_id FROM (VALUES $values) v(v) JOIN entries ON v = user_id
			WHERE time_period = '2026_Q1'", "$joins{'Nested Loop'}; SET enable_memoize = off; SET enable_material = off");
		my ($bytes) = $plan =~ /Foreign Scan on entries \([^)]* loops=${\ scalar @_}\).*Bytes Read: (\d+)/s or die $plan;
		return $bytes;
	};
	my %bytes = map { $_ => $read->($_) } map { substr(rand(), 2, 9) } 1 .. 20;
	my ($least) = sort { $a <=> $b } values %bytes;
	my @unknown = grep { $bytes{$_} == $least } keys %bytes;
	cmp_ok($least, '>', 4000, 'the hashes of 9000 owners are read');
	is($read->(@unknown), $least, '… once, for ' . @unknown . ' look-ups');
};

# A look-up sees no more than a scan of all rows would, wherever it stands.
subtest 'partitions, policies, barriers, generic plans and limits' => sub {
	sql(q{CREATE TABLE heap.parted AS SELECT time_period, user_id, owner_email, field_id FROM heap.entries;
		CREATE TABLE remote.parted (time_period text, user_id text, owner_email text, field_id text) PARTITION BY LIST (time_period)});
	sql(qq{CREATE FOREIGN TABLE remote.parted_$_ PARTITION OF remote.parted FOR VALUES IN ('2026_Q$_') SERVER clari
		OPTIONS (object 'entries', forecast 'net_arr', periods '2026_Q$_')}) for 1 .. 3;
	make_team(30, 'entries', 'owner_email');
	my @ways = ('', $rescanning, $joins{'Hash Join'}, 'SET enable_partitionwise_join = on; SET plan_cache_mode = force_generic_plan');
	for my $query (
		'SELECT t.n, e.* FROM team t JOIN parted e ON e.owner_email = t.v ORDER BY e, n',
		'SELECT t.n, e.* FROM team t LEFT JOIN parted e ON (e.owner_email, e.time_period) = (t.v, t.q) ORDER BY e, n',
		q{SELECT s.v, e.* FROM team t LEFT JOIN (SELECT n, coalesce(v, 'nobody') AS v FROM team WHERE n > 3) s ON s.n = t.n LEFT JOIN entries e ON e.owner_email = s.v AND e.time_period = t.q
			ORDER BY t.n, e.user_id, e.field_id},
		'SELECT t.n, (SELECT e.user_id FROM entries e WHERE e.owner_email = t.v AND e.time_period = t.q ORDER BY user_id LIMIT 1) FROM team t ORDER BY n',
		'SELECT t.n, l.user_id FROM team t, LATERAL (SELECT user_id FROM entries e WHERE e.owner_email = t.v ORDER BY user_id, field_id LIMIT 3) l ORDER BY n, 2',
		'SELECT count(*) FROM (SELECT FROM team t JOIN entries e ON e.owner_email = t.v LIMIT 5) s',
		q{SELECT 1; PREPARE p(text, text) AS SELECT t.n, e.user_id, e.field_id FROM team t JOIN entries e ON e.owner_email = t.v AND e.time_period = $1 AND e.field_id = $2 ORDER BY 1, 2;
			EXECUTE p('2026_Q1', 'quota'); EXECUTE p(NULL, 'quota'); EXECUTE p('2026_Q2', NULL); EXECUTE p('2026_Q3', 'quota')})
	{
		same_rows($node, 'remote', 'heap', $query, @ways);
	}

	# Who may see only one partition's rows learns nothing of others by a function of his own.
	sql(q{CREATE ROLE seller; GRANT USAGE ON SCHEMA remote, heap TO seller; GRANT SELECT ON remote.parted, heap.parted, team TO seller;
		ALTER TABLE remote.parted ENABLE ROW LEVEL SECURITY; ALTER TABLE heap.parted ENABLE ROW LEVEL SECURITY;
		CREATE POLICY own ON remote.parted TO seller USING (time_period = '2026_Q1' AND length(user_id) > 3);
		CREATE POLICY own ON heap.parted TO seller USING (time_period = '2026_Q1' AND length(user_id) > 3);
		CREATE USER MAPPING FOR seller SERVER clari OPTIONS (api_key 'test-key');
		CREATE FUNCTION tell(text) RETURNS text LANGUAGE plpgsql COST 0.0001 AS $$BEGIN RAISE NOTICE '%', $1; RETURN $1; END$$;
		CREATE VIEW remote.barrier WITH (security_barrier) AS SELECT * FROM remote.entries WHERE time_period = '2026_Q3';
		CREATE VIEW heap.barrier WITH (security_barrier) AS SELECT * FROM heap.entries WHERE time_period = '2026_Q3'});
	for my $query ('SELECT t.n, e.* FROM team t JOIN parted e ON e.owner_email = t.v ORDER BY e, n', 'SELECT t.n, e.* FROM team t JOIN parted e ON e.owner_email = t.v AND tell(e.time_period) > $$2026$$ ORDER BY e, n')
	{
		my $expected = rows_in($node, 'heap', $query, 'SET ROLE seller');
		like($expected, qr/\A(.*2026_Q1.*\n?)+\z/, 'there are rows: ' . short($query));
		is(rows_in($node, 'remote', $query, "$_; SET ROLE seller"), $expected, "$_: " . short($query)) for @ways;
	}
	for my $query ('SELECT FROM team t JOIN parted e ON e.owner_email = t.v AND tell(e.time_period) IS NOT NULL', 'SELECT FROM team t JOIN barrier e ON e.owner_email = t.v WHERE tell(e.time_period) IS NOT NULL')
	{
		my (undef, undef, $told) = $node->psql('postgres', "SET search_path = remote, public; $rescanning; " . ($query =~ /parted/ ? 'SET ROLE seller; ' : '') . $query);
		my %told = map { $_ => 1 } $told =~ /NOTICE:  (\S+)/g;
		is(join(' ', sort keys %told), $query =~ /parted/ ? '2026_Q1' : '2026_Q3', 'hidden rows stay so: ' . short($query));
	}
};

subtest 'memory does not grow with the number of look-ups' => sub {
	sql(q{CREATE TABLE numbers AS SELECT n, 'nobody ' || n AS v FROM generate_series(1, 20000) n; ANALYZE numbers});
	for my $table (qw(entries forecasts))
	{
		my ($few, $many) = map { rows_in($node, 'remote', "SELECT (SELECT count(*) FROM numbers JOIN $table ON owner_email = v WHERE n <= $_ AND time_period > '2026_Q2')
			+ (SELECT sum(total_bytes) FROM pg_backend_memory_contexts)", $rescanning) } 200, 20_000;
		like(plan_of("SELECT FROM numbers JOIN $table ON owner_email = v", $rescanning), qr/Nested Loop.*Seq Scan on numbers.*Dictionary Cond/s, "$table: 20,000 look-ups");
		cmp_ok($many - $few, '<', 256 * 1024, '… take no more memory than 200');
	}
};

# A row of the other table that changes while it waits for a lock is looked up anew.
subtest 'rows that change under a statement' => sub {
	my $first = ClariSession->new($node);
	my $second = ClariSession->new($node);
	my @emails = split /\n/, sql('SELECT DISTINCT owner_email FROM heap.entries WHERE owner_email IS NOT NULL ORDER BY 1 LIMIT 4');
	for my $query ('SELECT t.id, e.user_id, e.field_id, e.time_period FROM target t JOIN entries e ON e.owner_email = t.email FOR UPDATE OF t',
		'UPDATE target t SET note = e.user_id FROM entries e WHERE e.owner_email = t.email RETURNING t.id, t.email, e.owner_email',
		'SELECT t.id, (SELECT count(*) FROM entries e WHERE e.owner_email = t.email) FROM target t FOR UPDATE')
	{
		my %answers;
		for my $schema (qw(heap remote))
		{
			sql(q{DROP TABLE IF EXISTS target; CREATE TABLE target (id int, email text, note text)});
			sql("INSERT INTO target VALUES ($_, '$emails[$_]')") for 0 .. 2;
			sql('ANALYZE target');
			$first->query("BEGIN; UPDATE target SET note = 'same' WHERE id = 0; UPDATE target SET email = '$emails[3]' WHERE id = 1");
			$second->query("SET search_path = $schema, public; $rescanning");
			$second->start($query);
			wait_until('the second waits', sub { sql("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $second->{pid}") eq 't' });
			$first->query('COMMIT');
			$answers{$schema} = join("\n", sort split /\n/, $second->finish);
		}
		is($answers{remote}, $answers{heap}, short($query));
	}
};

subtest 'a database of another encoding' => sub {
	$node->safe_psql('postgres', q{CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
	$node->safe_psql('latin1', 'CREATE EXTENSION clari_fdw');
	create_server($node, database => 'latin1');
	sim_set({ charset => 'latin1', owners => 500 }, forecast => 'net_arr', period => '2026_Q1');
	sql(q{SELECT clari_invalidate()});
	import_tables($node, database => 'latin1', periods => '2026_Q1');
	$node->safe_psql('latin1', q{CREATE TABLE heap AS SELECT * FROM clari.entries; CREATE TABLE team AS SELECT DISTINCT owner_name AS v FROM heap WHERE owner_name ~ '[^ -~]' LIMIT 20;
		INSERT INTO team VALUES (NULL), ('Zo'); ANALYZE team});
	my $query = sub { my ($table) = @_; return qq{SELECT count(*) || md5(string_agg(e::text, ';' ORDER BY e::text)) FROM team JOIN $table e ON v = owner_name}; };
	for my $setting (@settings)
	{
		is($node->safe_psql('latin1', "$setting; " . $query->('clari.entries')), $node->safe_psql('latin1', $query->('heap')), "LATIN1: $setting");
	}
	cmp_ok($node->safe_psql('latin1', 'SELECT count(*) FROM heap JOIN team ON v = owner_name'), '>', 10, '… of names that have no ASCII');
};

#
# Cold: how many exports, and how many at once.
#
subtest 'one round of exports, or one after the other' => sub {
	my $forget = sub { sql('SELECT clari_invalidate()'); sim_reset(); return; };
	sql(q{CREATE FOREIGN TABLE remote.cold (owner_email text, time_period text) SERVER clari OPTIONS (forecast 'net_arr', periods '2025_Q1..2026_Q4');
		CREATE TABLE calendar AS SELECT '2026_Q' || n AS p, 2026 AS year FROM generate_series(1, 4) n; INSERT INTO calendar SELECT '2025_Q1', 2025; ANALYZE calendar});
	sim_set({ job_seconds => 'hold', owners => 5 });
	my $session = ClariSession->new($node);
	my $all = 'SELECT DISTINCT time_period FROM cold WHERE time_period = ANY (ARRAY(SELECT p FROM calendar WHERE year = 2026)) ORDER BY 1';
	$forget->();
	$session->start("SET search_path = remote, public; $all");
	# None of them is done before the last has begun.
	wait_until('four exports are under way', sub { sim_posts() == 4 });
	sim_release();
	is($session->finish, "2026_Q1\n2026_Q2\n2026_Q3\n2026_Q4", 'all of them');
	is(sim_posts(), 4, '… are four, and no other');
	my $slow = 'SELECT DISTINCT time_period FROM cold WHERE time_period IN (SELECT p FROM calendar WHERE year = 2026)';
	my $way = qr/^ +Exports: one at a time/m;
	$forget->();
	like(plan_of($slow), $way, 'EXPLAIN tells of exports that are one after the other: ' . short($slow));
	like(plan_of($_), $way, '… and ' . short($_)) for 'SELECT * FROM calendar JOIN cold ON p = time_period WHERE year = 2026',
		'SELECT (SELECT count(*) FROM cold WHERE time_period = p) FROM calendar', 'SELECT * FROM calendar, LATERAL (SELECT * FROM cold WHERE time_period = p OFFSET 0) s';
	unlike(plan_of($_), $way, 'and of none, where there is none: ' . short($_)) for $all, q{SELECT * FROM cold WHERE time_period > '2026_Q1'},
		q{SELECT * FROM cold WHERE time_period = (SELECT max(p) FROM calendar)}, q{SELECT * FROM (SELECT * FROM cold OFFSET 0) s WHERE time_period = ANY (ARRAY(SELECT p FROM calendar))};
	is(sim_posts(), 0, 'nothing was exported for it');
	sim_set({ job_seconds => 0 });
	$forget->();
	is(rows_in($node, 'remote', 'SELECT count(DISTINCT time_period) FROM calendar JOIN cold ON p = time_period WHERE year = 2025'), 1, 'a join with one row of the calendar');
	is(sim_posts(), 1, '… is one export');
	my $analyzed = rows_in($node, 'remote', "EXPLAIN (ANALYZE, COSTS OFF) $slow");
	like($analyzed, $way, 'EXPLAIN ANALYZE tells it of more than one');
	like($analyzed, qr/Jobs Created: 4/, '… which they were');
	sql('SELECT count(*) FROM remote.cold');
	unlike(plan_of($slow), $way, 'what is cached is not exported');
};

done_testing();
