# How many rows there are is told without reading them, wherever that is exact; and as reading them would tell it: the same
# number of the same versions, with the same warnings and errors.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariHeap;
use ClariSession;
use ClariTest;
use Test::More;

my $node = start_heap_node('counts');
my @tables = qw(entries users fields time_periods time_frames);
sql(qq{CREATE TABLE IF NOT EXISTS heap.$_ AS SELECT * FROM remote.$_}) for @tables;

sub plan_of { my ($query, $setting) = @_; return rows_in($node, 'remote', "EXPLAIN (COSTS OFF) $query", $setting); }
sub as_heap { my ($query, @settings) = @_; return same_rows($node, 'remote', 'heap', $query, '', @settings); }

sub counted
{
	my ($query, @settings) = @_;
	like(plan_of($query), qr/Count Of: /, 'counted: ' . short($query));
	return as_heap($query, @settings);
}

sub scanned
{
	my ($query) = @_;
	unlike(plan_of($query), qr/Count Of: /, 'read: ' . short($query));
	return as_heap($query);
}

subtest 'what is counted, and what is not' => sub {
	my $debug_parallel = debug_parallel($node);
	for my $table (@tables)
	{
		counted("SELECT count(*) FROM $table WHERE $_", "SET $debug_parallel = on", 'SET enable_hashagg = off; SET enable_sort = off')
			for 'true', q{time_period = '2026_Q2'}, q{time_period IN ('2026_Q1', '2026_Q3', '2030_Q1')}, q{time_period > '2026_Q2' OR time_period = '2026_Q1'},
			q{forecast_name = 'net_arr' AND time_period LIKE '%Q4'}, q{time_period = (SELECT max(q) FROM quarters WHERE n < 3)};
	}
	counted($_) for
		'SELECT count(1), count(*), count(time_period), count(*) + 1, $$x$$ FROM entries',
		'SELECT count(*) FROM entries HAVING count(*) > 3', 'SELECT count(*) / 2 FROM users HAVING count(*) > (SELECT min(n) FROM quarters)',
		'SELECT count(*) OVER (), count(*) FROM users', 'SELECT DISTINCT count(*) FROM entries ORDER BY 1 LIMIT 3',
		'SELECT count(*), generate_series(1, 3) FROM fields', 'SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM users)',
		'SELECT count(*) FROM entries UNION ALL SELECT count(*) FROM users WHERE time_period <> $$2026_Q1$$ ORDER BY 1',
		'SELECT n, (SELECT count(*) FROM entries WHERE time_period = q) FROM quarters ORDER BY n',
		'SELECT n, c FROM quarters, LATERAL (SELECT count(*) AS c FROM users WHERE time_period >= q) s ORDER BY n',
		'SELECT n FROM quarters WHERE n < (SELECT count(*) FROM fields WHERE time_period = q) ORDER BY n',
		'WITH c AS MATERIALIZED (SELECT count(*) AS c FROM entries) SELECT a.c + b.c FROM c a, c b',
		'SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT count(*) FROM entries WHERE time_period = $1;
			EXECUTE p($$2026_Q2$$); EXECUTE p(NULL); EXECUTE p($$2026_Q3$$)' =~ s/\A(?=SET)/SELECT count(*) FROM users; /r,
		'SELECT count(*) FROM users; BEGIN; DECLARE c SCROLL CURSOR FOR SELECT count(*) FROM entries; FETCH 2 FROM c; FETCH BACKWARD ALL FROM c; COMMIT';
	is(rows_in($node, 'remote', 'SELECT count(*) FROM entries HAVING count(*) < 0'), '', 'HAVING that is false has no row');
	is(plan_of('SELECT count(*) FROM entries HAVING count(*) < 0') =~ /Filter: (.*)/ && $1, '((count(*)) < 0)', '… and shows in the plan');
	scanned($_) for
		'SELECT count(*) FROM entries GROUP BY ()', 'SELECT count(*) FROM entries WHERE time_period = NULL',
		'SELECT count(*) FROM forecasts', 'SELECT count(*) FROM entries WHERE owner_email IS NULL', q{SELECT count(*) FROM entries WHERE field_type = 'QUOTA'},
		q{SELECT count(*) FROM entries WHERE time_period = '2026_Q1' AND forecast_value > 0}, q{SELECT count(*) FROM entries WHERE time_period = '2026_Q1' OR role = 'West'},
		'SELECT count(owner_email) FROM entries', 'SELECT count(DISTINCT time_period) FROM entries', 'SELECT count(*) FILTER (WHERE is_updated) FROM entries',
		'SELECT count(*), sum(forecast_value) FROM entries', 'SELECT count(NULL) FROM users', 'SELECT time_period, count(*) FROM entries GROUP BY 1 ORDER BY 1',
		'SELECT count(*) FROM entries GROUP BY GROUPING SETS ((), ())', 'SELECT count(*) FROM users JOIN quarters ON q = time_period',
		'SELECT count(*) FROM (SELECT * FROM users LIMIT 7) s', 'SELECT count(*) FROM (SELECT * FROM users UNION ALL SELECT * FROM users) s',
		'SELECT 1 FROM entries HAVING true', 'SELECT count(*) FROM entries WHERE random() >= 0', 'SELECT count(*) FROM entries WHERE 1 = (SELECT min(n) FROM quarters)',
		'SELECT count(*) FROM entries HAVING max(owner_email) IS NOT NULL', 'SELECT count(*) FROM entries, users WHERE false',
		'SET plan_cache_mode = force_generic_plan; PREPARE p(int) AS SELECT count(*) FROM entries WHERE $1 = 1; EXECUTE p(1); EXECUTE p(2)'
			=~ s/\A(?=SET)/SELECT count(*) FROM forecasts; /r;
	like(plan_of('SELECT count(*) FROM entries', 'SET clari_fdw.enable_pruning = off'), qr/Count Of/, 'without pruning the whole table can be counted');
	unlike(plan_of(q{SELECT count(*) FROM entries WHERE time_period = '2026_Q1'}, q{LOAD 'clari_fdw'; SET clari_fdw.enable_pruning = off}), qr/Count Of/, '… but no part of it');
};

subtest 'tables of all kinds' => sub {
	sql(q{CREATE DOMAIN never AS text CHECK (VALUE IS NULL);
		CREATE FOREIGN TABLE remote.odd (gone int, exported date OPTIONS (key 'exported_at'), email never OPTIONS (key 'owner_email'), gone_too text, quarter text
			OPTIONS (key 'time_period'), seen timestamptz OPTIONS (key 'exported_at')) SERVER clari OPTIONS (object 'entries', forecast 'net_arr', periods '2026_Q2..2026_Q3');
		ALTER FOREIGN TABLE remote.odd DROP COLUMN gone, DROP COLUMN gone_too;
		CREATE TABLE heap.odd AS SELECT time_period AS quarter, now() AS seen, current_date AS exported FROM heap.entries WHERE time_period IN ('2026_Q2', '2026_Q3');
		CREATE VIEW heap.barrier AS SELECT * FROM heap.entries WHERE time_period <> '2026_Q1';
		CREATE VIEW remote.barrier WITH (security_barrier) AS SELECT * FROM remote.entries WHERE time_period <> '2026_Q1';
		CREATE TABLE heap.parent AS SELECT time_period FROM heap.users;
		CREATE FOREIGN TABLE remote.parent (time_period text) SERVER clari OPTIONS (object 'users', forecast 'net_arr', periods '2026_Q1..2026_Q3');
		CREATE FOREIGN TABLE remote.child () INHERITS (remote.parent) SERVER clari OPTIONS (object 'users', forecast 'net_arr', periods '2026_Q4');
		CREATE TABLE heap.parted AS SELECT time_period, user_id FROM heap.users;
		CREATE TABLE remote.parted (time_period text, user_id text) PARTITION BY LIST (time_period)});
	sql(qq{CREATE FOREIGN TABLE remote.parted_$_ PARTITION OF remote.parted FOR VALUES IN ('2026_Q$_') SERVER clari
		OPTIONS (object 'users', forecast 'net_arr', periods '2026_Q$_')}) for 1 .. 4;
	counted($_) for 'SELECT count(*), count(seen), count(quarter) FROM odd', q{SELECT count(*) FROM odd WHERE quarter = '2026_Q3'};
	scanned($_) for 'SELECT count(exported) FROM odd', 'SELECT count(*) FROM parent';
	my $partitionwise = 'SET enable_partitionwise_aggregate = on; SET enable_partitionwise_join = on';
	as_heap($_, $partitionwise) for 'SELECT count(*) FROM barrier', q{SELECT count(*) FROM barrier WHERE time_period > '2026_Q2'},
		q{SELECT count(*) FROM barrier WHERE md5(owner_email) < '8'}, 'SELECT count(*) FROM parted', q{SELECT count(*) FROM parted WHERE time_period > '2026_Q2'};
	as_heap(q{SELECT count(*) FROM parted WHERE time_period = '2026_Q2'}, $partitionwise);

	sql(q{CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA remote TO reader; CREATE VIEW remote.mine AS SELECT * FROM remote.entries;
		GRANT SELECT ON remote.mine, remote.entries TO reader});
	my ($state, $message) = query_error($node, 'SET ROLE reader; SELECT count(*) FROM remote.entries');
	like($message, qr/user mapping/, 'who has no user mapping counts nothing');
	is(sql('SET ROLE reader; SELECT count(*) FROM remote.mine'), sql('SELECT count(*) FROM heap.entries'), q{through a view the owner's mapping is used});
	($state, $message) = query_error($node, 'SET ROLE reader; SELECT count(*) FROM remote.users');
	is($state, '42501', 'without the right to read there is no count');
};

# What a count says and exports is what a scan of the same rows says and exports, beginning with the same cache.
sub messages
{
	my ($query, $prepare) = @_;
	$prepare->();
	my (undef, $rows, $messages) = $node->psql('postgres', "SET search_path = remote, public; \\set VERBOSITY verbose\n$query");
	return join("\n", $rows, sim_posts(), grep { !/^LOCATION/ } map { s/psql:<stdin>:\d+: |job \w+|\w+\.rowset//gr } split /\n/, $messages);
}

sub same_messages
{
	my ($name, $where, $prepare) = @_;
	my $counting = messages("SELECT count(*) FROM entries WHERE $where", $prepare);
	# one more aggregate, and all is read
	my $reading = messages("SELECT count FROM (SELECT count(*), max(owner_email) FROM entries WHERE $where OFFSET 0) s", $prepare);
	is($counting, $reading, $name);
	return $counting;
}

subtest 'the same versions, warnings and errors' => sub {
	my $forget = sub { sql('SELECT clari_invalidate()'); sim_reset(); return; };
	like(same_messages('cold', q{time_period >= '2026_Q3'}, $forget), qr/\A\d+\n2\z/, 'exported, two quarters');
	like(same_messages('cached', q{time_period >= '2026_Q3'}, sub { sim_reset() }), qr/\A\d+\n0\z/, 'from the cache');
	like(same_messages('outside of the extent', q{time_period IN ('2026_Q3', '2031_Q1')}, sub { sim_reset() }), qr/2031_Q1.*outside/, 'a notice');
	sim_set({ known_periods => [qw(2026_Q2 2026_Q3 2026_Q4)] });
	like(same_messages('another quarter', q{time_period = '2026_Q1'}, $forget), qr/WARNING:  02000: Clari answered period 2026_Q1/, 'a warning');
	sim_set({ known_periods => undef });
	sim_set({ rows_truncated => \1 }, period => '2026_Q2');
	like(same_messages('a truncated export', q{time_period < '2026_Q3'}, $forget), qr/ERROR:  54000: Clari truncated/, 'an error');
	sim_set({ rows_truncated => \0 }, period => '2026_Q2');
	like(same_messages('a failure', q{time_period = '2026_Q1'}, sub { $forget->(); sim_fault({ status => 401 }, step => 'post', times => 1); }), qr/ERROR:  28000/, 'an error');
	# One version of each in a statement.
	$forget->();
	is(rows_in($node, 'remote', q{SELECT count(*) = (SELECT count(*) FROM entries) FROM entries WHERE owner_email IS NOT DISTINCT FROM owner_email}), 't', 'beside a scan');
	is(sim_posts(), 4, '… with one export a quarter');
	my $open = ClariSession->new($node);
	$open->query('BEGIN; DECLARE c CURSOR FOR SELECT (SELECT count(*) FROM remote.entries WHERE time_period = q) FROM (VALUES (1, $$2026_Q1$$), (2, $$2026_Q1$$)) v(n, q) ORDER BY n');
	my $before = $open->query('FETCH 1 FROM c');
	sim_set({ owners => 71 });
	sql(q{SELECT clari_refresh('remote.entries', '{2026_Q1}')});
	is($open->query('FETCH 1 FROM c'), $before, 'a statement keeps the version that it began with');
	isnt(sql(q{SELECT count(*) FROM remote.entries WHERE time_period = '2026_Q1'}), $before, 'the next one has another');
	$open->query('COMMIT');
	sim_set({ owners => 60 });
	# Damage is found, and mended, as a scan does.
	my $damage = sub {
		$node->stop;
		for my $file (cache_files($node, qr/\.rowset$/))
		{
			open(my $handle, '+<', $file) or die "$file: $!";
			seek($handle, 4096, 0);
			print $handle 'damage';
			close $handle;
		}
		$node->start;
		sim_reset();
	};
	same_messages('damaged files', q{time_period = '2026_Q3'}, $damage);
	$forget->();
};

subtest 'rows that change under a statement' => sub {
	my $first = ClariSession->new($node);
	my $second = ClariSession->new($node);
	my %answers;
	for my $schema (qw(heap remote))
	{
		sql(q{DROP TABLE IF EXISTS target; CREATE TABLE target AS SELECT n AS id, '2026_Q' || n AS quarter, 0::bigint AS c FROM generate_series(1, 4) n});
		$first->query(q{BEGIN; UPDATE target SET quarter = '2026_Q3' WHERE id = 2; UPDATE target SET quarter = '2033_Q1' WHERE id = 3;
			UPDATE target SET quarter = quarter WHERE id = 4});
		$second->query("SET search_path = $schema, public; SET client_min_messages = warning");
		$second->start('UPDATE target t SET c = 1 + (SELECT count(*) FROM entries WHERE time_period = t.quarter) RETURNING id, quarter, c');
		wait_until('the second waits', sub { sql("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $second->{pid}") eq 't' });
		$first->query('COMMIT');
		$answers{$schema} = join("\n", sort split /\n/, $second->finish);
	}
	is($answers{remote}, $answers{heap}, 'a row that is checked again has the count of its new quarter');
};

done_testing();
