# clari_track_history keeps every version of every row, whoever writes and however, and costs only the changes.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariSync;
use ClariTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $sequences = $ENV{CLARI_SEQUENCES} // 200;
my $node = start_sync_node('history', 'autovacuum = off', 'max_prepared_transactions = 2');
my $session = ClariSession->new($node);
my $ten = 'owner_name text, owner_email text, forecast_amount numeric, quota_amount numeric, crm_total numeric,
	crm_closed numeric, adjustment_amount numeric, time_period text, exported_at timestamptz, forecast_name text';
my $key = 'PRIMARY KEY (time_period, forecast_name, owner_email)';
sim_set({ owners => 20 }, period => $_) for @ClariSync::quarters;
$session->query('SET client_min_messages = warning; SET TimeZone = UTC');

sub run { my ($sql) = @_; return done($session, $sql); }

# What each row of a history says: its key's owner, amount, and whether it is open, in the order of time.
sub versions
{
	my ($history, $where) = @_;
	return run("SELECT string_agg(owner_email || ':' || coalesce(forecast_amount::text, 'null') ||
		CASE WHEN valid_to = 'infinity' THEN '' ELSE '!' END, ' ' ORDER BY valid_from, owner_email COLLATE \"C\") FROM $history WHERE " . ($where // 'true'));
}

sub row { my ($owner, $amount, $period) = @_; $period //= '2026_Q1';
	return "('$owner', '$owner', $amount, 1, 1, 1, 1, '$period', '2026-01-01 00:00+00', 'net_arr')"; }

# Versions of one row that overlap, that end before they begin, or of which several are open.
sub overlaps
{
	my ($history, $owner) = @_;
	return run("SELECT count(*) FROM (SELECT valid_from, valid_to, lead(valid_from) OVER (PARTITION BY $owner, time_period, forecast_name
		ORDER BY valid_from) AS next FROM $history) AS v WHERE valid_from >= valid_to OR next < valid_to");
}

# ------- what it makes -------

subtest 'what it makes' => sub {
	run('CREATE ROLE keeper LOGIN; CREATE SCHEMA kept AUTHORIZATION keeper; ALTER ROLE keeper SET search_path = kept, public');
	my $keeper = ClariSession->new($node, user => 'keeper');
	$keeper->query("SET client_min_messages = warning; SELECT clari_create_tables(); INSERT INTO clari_forecasts VALUES " . row('a', 1) . ', ' . row('b', 2));
	is($keeper->query('SELECT clari_track_history()'), 'clari_forecasts_history', 'anybody may call it, for his own table');
	is($keeper->query(q{SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
		WHERE attrelid = 'clari_forecasts_history'::regclass AND attnum > 0}), join(', ', map { s/\s+/ /gr }
		$ten =~ s/timestamptz/timestamp with time zone/r, 'valid_from timestamp with time zone', 'valid_to timestamp with time zone'), 'the ten columns, and from when to when');
	is($keeper->query(q{SELECT string_agg(DISTINCT r::text, ' ') FROM (SELECT relowner::regrole AS r FROM pg_class WHERE relname ~ '^clari_forecasts_'
		UNION ALL SELECT proowner::regrole FROM pg_proc WHERE proname = 'clari_forecasts_as_of') AS o}), 'keeper', 'all of it is the caller\'s');
	is($keeper->query(q{SELECT count(*) FROM pg_depend WHERE deptype = 'e' AND objid IN ('clari_forecasts_history'::regclass,
		'clari_forecasts_changes'::regclass, 'clari_forecasts_as_of(timestamptz)'::regprocedure)}), 0, 'and no member of the extension');
	is($keeper->query(q{SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'clari_forecasts_history'::regclass AND contype = 'p'}),
		'PRIMARY KEY (owner_email, time_period, forecast_name, valid_from)', 'its key');
	is($keeper->query('SELECT count(*), count(DISTINCT valid_from), min(valid_to) FROM clari_forecasts_history'), '2|1|infinity', 'what is there becomes the first version');
	is($keeper->query('TABLE clari_forecasts EXCEPT SELECT * FROM clari_forecasts_as_of(clock_timestamp())'), '', 'which as_of shows, in the order of the columns');
	is($keeper->query(q{SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'clari_forecasts_changes'::regclass}),
		'changed_at kind owner_name owner_email time_period forecast_name ' . join(' ', map { ("old_$_", "new_$_", $_ eq 'forecast_amount' ? 'forecast_difference' : ()) }
		qw(forecast_amount quota_amount crm_total crm_closed adjustment_amount)) . ' exported_at', 'the columns of the changes');
	like($keeper->query(q{SELECT clari_prune_history(NULL, '1 day')}), qr/^ERROR:  42501: permission denied for function/m, 'what deletes is not for everybody');

	# As the superuser: it becomes the owner's, whose writes would fail otherwise.
	$keeper->query('CREATE TABLE other (LIKE clari_forecasts INCLUDING ALL)');
	is(run(q{SELECT clari_track_history('kept.other')}), 'kept.other_history', 'made by another role');
	is($keeper->query('INSERT INTO other VALUES ' . row('a', 1) . '; SELECT count(*) FROM other_history'), 1, 'it is the owner\'s all the same');
};

# ------- each kind of statement -------

run("CREATE SCHEMA one; SET search_path = one, public; SELECT clari_create_tables(); SELECT clari_track_history();
	CREATE FUNCTION one.times() RETURNS bigint LANGUAGE sql AS
		'SELECT count(DISTINCT valid_from) FROM one.clari_forecasts_history'");

subtest 'each kind of statement' => sub {
	run('INSERT INTO clari_forecasts VALUES ' . join(', ', map { row($_, 1) } 'a' .. 'd'));
	is(versions('clari_forecasts_history'), 'a:1 b:1 c:1 d:1', 'INSERT');
	run('UPDATE clari_forecasts SET forecast_amount = forecast_amount, exported_at = now()');
	is(versions('clari_forecasts_history'), 'a:1! b:1! c:1! d:1! a:1 b:1 c:1 d:1', 'an UPDATE of exported_at alone');
	run('SELECT clari_prune_history(NULL, interval $$0$$)');
	run(q{UPDATE clari_forecasts SET forecast_amount = 1.00 WHERE owner_email = 'a'; UPDATE clari_forecasts SET forecast_amount = 9 WHERE false});
	is(versions('clari_forecasts_history'), 'a:1 b:1 c:1 d:1', 'nor is one of the scale, or of no row');
	run(q{UPDATE clari_forecasts SET forecast_amount = 2 WHERE owner_email IN ('a', 'b')});
	is(versions('clari_forecasts_history'), 'a:1! b:1! c:1 d:1 a:2 b:2', 'UPDATE');
	run(q{UPDATE clari_forecasts SET owner_name = NULL WHERE owner_email = 'c'; DELETE FROM clari_forecasts WHERE owner_email = 'b'});
	is(versions('clari_forecasts_history'), 'a:1! b:1! c:1! d:1 a:2 b:2! c:1', 'a name; and DELETE');
	run(q{UPDATE clari_forecasts SET owner_email = 'e' WHERE owner_email = 'd'});
	is(versions('clari_forecasts_history', "owner_email IN ('d', 'e')"), 'd:1! e:1', 'an UPDATE of the key');
	run(q{UPDATE clari_forecasts SET owner_email = CASE owner_email WHEN 'a' THEN 'z' ELSE 'y' END WHERE owner_email IN ('a', 'e')});
	run('TRUNCATE clari_forecasts');
	is(run('SELECT count(*) FROM clari_forecasts_history WHERE valid_to = \'infinity\''), 0, 'TRUNCATE');
	my $file = PostgreSQL::Test::Utils::tempdir() . '/rows.csv';
	append_to_file($file, "k,k,1,1,1,1,1,2026_Q1,2026-01-01 00:00+00,net_arr\n");
	run("COPY clari_forecasts FROM '$file' (FORMAT csv)");
	is(versions('clari_forecasts_history', "valid_to = 'infinity'"), 'k:1', 'COPY');
	my $times = run('SELECT one.times()');
	run('INSERT INTO clari_forecasts VALUES ' . row('k', 5) . ', ' . row('l', 5) . ' ON CONFLICT (time_period, forecast_name, owner_email)
		DO UPDATE SET forecast_amount = excluded.forecast_amount');
	is(versions('clari_forecasts_history', "owner_email IN ('k', 'l')"), 'k:1! k:5 l:5', 'INSERT … ON CONFLICT');
	run("MERGE INTO clari_forecasts AS t USING (VALUES ('k', 6), ('l', NULL), ('m', 6)) AS s (owner, amount) ON t.owner_email = s.owner
		WHEN MATCHED AND amount IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET forecast_amount = amount
		WHEN NOT MATCHED THEN INSERT VALUES (owner, owner, amount, 1, 1, 1, 1, '2026_Q1', '2026-01-01 00:00+00', 'net_arr')");
	is(versions('clari_forecasts_history', "owner_email IN ('k', 'l', 'm')"), 'k:1! k:5! l:5! k:6 m:6', 'MERGE');
	is(run('SELECT one.times()'), $times + 2, 'each at one time, whatever it does');
	run("BEGIN; UPDATE clari_forecasts SET forecast_amount = 7 WHERE owner_email = 'k'; UPDATE clari_forecasts SET forecast_amount = 8 WHERE owner_email = 'k';
		SAVEPOINT s; DELETE FROM clari_forecasts; ROLLBACK TO s; UPDATE clari_forecasts SET forecast_amount = 9 WHERE owner_email = 'k'; COMMIT");
	is(versions('clari_forecasts_history', "owner_email = 'k'"), 'k:1! k:5! k:6! k:7! k:8! k:9', 'several in one transaction, and what is rolled back');
	run("WITH a AS (UPDATE clari_forecasts SET forecast_amount = 10 WHERE owner_email = 'k' RETURNING 1), b AS (DELETE FROM clari_forecasts WHERE owner_email = 'm')
		INSERT INTO clari_forecasts VALUES " . row('n', 1));
	is(versions('clari_forecasts_history', "valid_to = 'infinity'"), 'k:10 n:1', 'WITH');
	is(run(q{SELECT string_agg(concat_ws(' ', kind, owner_email, old_forecast_amount, '->', new_forecast_amount, forecast_difference), ', ' ORDER BY changed_at, owner_email)
		FROM clari_forecasts_changes WHERE owner_email IN ('k', 'l', 'd', 'e')}),
		'added d -> 1 1, removed d 1 -> -1, added e -> 1 1, removed e 1 -> -1, added k -> 1 1, changed k 1 -> 5 4, added l -> 5 5, changed k 5 -> 6 1, ' .
		'removed l 5 -> -5, changed k 6 -> 7 1, changed k 7 -> 8 1, changed k 8 -> 9 1, changed k 9 -> 10 1', 'the changes');
	is(overlaps('clari_forecasts_history', 'owner_email'), 0, 'no version overlaps another');
};

subtest 'triggers that write to the target' => sub {
	run(q{CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN
			IF pg_trigger_depth() = 1 THEN
				UPDATE one.clari_forecasts SET forecast_amount = forecast_amount + 100 WHERE owner_email IN ('k', 'n');
				DELETE FROM one.clari_forecasts WHERE owner_email = 'n';
				INSERT INTO one.clari_forecasts SELECT 'n', 'n', 77, 1, 1, 1, 1, '2026_Q1', '2026-01-01 00:00+00', 'net_arr';
			END IF;
			RETURN NULL;
		END $$});
	my $n = 0;
	for my $when ('more AFTER UPDATE ON clari_forecasts FOR EACH ROW', 'more AFTER UPDATE ON clari_forecasts', 'aaa AFTER UPDATE ON clari_forecasts')
	{
		my ($name) = split ' ', $when;
		run("CREATE TRIGGER $when EXECUTE FUNCTION more(); UPDATE clari_forecasts SET forecast_amount = " . ++$n . " WHERE owner_email = 'k'; DROP TRIGGER $name ON clari_forecasts");
		is(run('SELECT count(*) FROM (TABLE clari_forecasts EXCEPT SELECT * FROM clari_forecasts_as_of(clock_timestamp())) AS d'), 0, "$when: the history has what is there");
		is(run('SELECT count(*) FROM (SELECT * FROM clari_forecasts_as_of(clock_timestamp()) EXCEPT TABLE clari_forecasts) AS d'), 0, 'and nothing else');
		is(overlaps('clari_forecasts_history', 'owner_email'), 0, 'in order');
	}
};

subtest 'time' => sub {
	run(q{UPDATE clari_forecasts_history SET valid_from = now() + interval '1 hour' WHERE valid_to = 'infinity' AND owner_email = 'k';
		UPDATE clari_forecasts SET forecast_amount = -1; UPDATE clari_forecasts SET forecast_amount = -2});
	is(run('SELECT count(*) FROM clari_forecasts_history WHERE valid_from > now() + interval \'1 hour\' - interval \'1 minute\''), 5,
		'a clock that was put back does not change the order');
	run(q{SET TimeZone = 'Asia/Kolkata'; SET DateStyle = 'SQL, DMY'; UPDATE clari_forecasts SET forecast_amount = -3; SET TimeZone = UTC; SET DateStyle = ISO});
	is(run('SELECT count(*) FROM clari_forecasts_history WHERE valid_from > now() + interval \'1 hour\' + interval \'1 minute\''), 0, 'nor do settings');
	is(overlaps('clari_forecasts_history', 'owner_email'), 0, 'no version is empty or overlaps');
	# So that now() is later than all there is.
	run(q{UPDATE clari_forecasts_history SET valid_from = valid_from - interval '2 hours', valid_to = valid_to - interval '2 hours'});
};

subtest 'foreign keys that cascade' => sub {
	run("CREATE SCHEMA cascading; SET search_path = cascading, public; CREATE TABLE people (email text PRIMARY KEY); INSERT INTO people VALUES ('a'), ('b'), ('c');
		SELECT clari_create_tables(); ALTER TABLE clari_forecasts ADD FOREIGN KEY (owner_email) REFERENCES people ON UPDATE CASCADE ON DELETE CASCADE;
		INSERT INTO clari_forecasts VALUES " . join(', ', map { row($_, 1) } 'a' .. 'c') . '; SELECT clari_track_history()');
	run(q{UPDATE people SET email = email || email WHERE email <> 'c'; DELETE FROM people WHERE email IN ('aa', 'c')});
	is(versions('clari_forecasts_history'), 'a:1! b:1! c:1! aa:1! bb:1', 'are seen');
	run('SET search_path = one, public');
};

subtest 'a statement that fails between its triggers' => sub {
	run("SET search_path = one, public; TRUNCATE clari_forecasts; INSERT INTO clari_forecasts VALUES " . row('a', 1) . ', ' . row('b', 1));
	run(q{CREATE FUNCTION one.fail() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION $$failed$$; END'});
	my $merge = "MERGE INTO clari_forecasts AS t USING (VALUES ('a', 2), ('n', 2)) AS s (owner, amount) ON t.owner_email = s.owner
		WHEN MATCHED THEN UPDATE SET forecast_amount = amount WHEN NOT MATCHED THEN INSERT VALUES (owner, owner, amount, 1, 1, 1, 1, '2026_Q1', '2026-01-01 00:00+00', 'net_arr')";
	for my $event ('INSERT', 'UPDATE')
	{
		# Its name is behind those of the history.
		run("CREATE TRIGGER fails AFTER $event ON clari_forecasts EXECUTE FUNCTION one.fail(); BEGIN; SAVEPOINT s");
		like($session->query($merge), qr/^ERROR:  P0001: failed/m, "$event: it fails");
		run(q{ROLLBACK TO s; DELETE FROM clari_forecasts WHERE owner_email = 'b'; COMMIT; DROP TRIGGER fails ON clari_forecasts});
		is(run(q{SELECT count(*) FROM clari_forecasts_changes WHERE kind = 'removed' AND changed_at = (SELECT max(changed_at) FROM clari_forecasts_changes)
			AND changed_at > now() - interval '1 minute' AND owner_email = 'b'}), 1, 'and the next one has a time of its own');
		is(overlaps('clari_forecasts_history', 'owner_email'), 0, 'in order');
		run('INSERT INTO clari_forecasts VALUES ' . row('b', 1));
	}
	run("$merge; DELETE FROM clari_forecasts WHERE owner_email = 'n'");
	is(run('SELECT count(*) FROM (TABLE clari_forecasts EXCEPT SELECT * FROM clari_forecasts_as_of(clock_timestamp())) AS d'), 0, 'the history has what is there');
};

subtest 'a prepared transaction' => sub {
	my $other = ClariSession->new($node);
	run(q{SET search_path = one, public; BEGIN; UPDATE clari_forecasts SET forecast_amount = 40 WHERE owner_email = 'a'; PREPARE TRANSACTION 'first'});
	$other->start(q{UPDATE one.clari_forecasts SET forecast_amount = 41 WHERE owner_email = 'b'});
	wait_until('it waits', sub { sql("SELECT count(*) FROM pg_locks WHERE pid = $other->{pid} AND NOT granted") });
	run(q{COMMIT PREPARED 'first'});
	is($other->finish, '', 'who writes waits for it');
	is(run(q{SELECT string_agg(owner_email || new_forecast_amount, ' ' ORDER BY changed_at) FROM clari_forecasts_changes WHERE new_forecast_amount IN (40, 41)}), 'a40 b41',
		'and is later');
};

subtest 'other isolation levels' => sub {
	my $other = ClariSession->new($node);
	for my $level ('REPEATABLE READ', 'SERIALIZABLE')
	{
		run("TRUNCATE clari_forecasts; INSERT INTO clari_forecasts VALUES " . row('a', 1) . ', ' . row('b', 1) . ', ' . row('c', 1));
		run("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM clari_forecasts");
		done($other, q{DELETE FROM one.clari_forecasts WHERE owner_email = 'c'; UPDATE one.clari_forecasts SET forecast_amount = 2 WHERE owner_email = 'a'});
		run("UPDATE clari_forecasts SET forecast_amount = 3 WHERE owner_email = 'b'; COMMIT");
		run("BEGIN ISOLATION LEVEL $level; SELECT count(*) FROM clari_forecasts");
		done($other, q{DELETE FROM one.clari_forecasts WHERE owner_email = 'b'});
		# Of its snapshot the version of b is still open.
		my $said = $session->query('INSERT INTO clari_forecasts VALUES ' . row('b', 3));
		$session->query($said =~ /ERROR/ ? 'ROLLBACK' : 'COMMIT');
		unlike($said, qr/ERROR:  (?!40001)/, "$level: no other error");
		is(run('SELECT count(*) FROM (TABLE clari_forecasts EXCEPT SELECT * FROM clari_forecasts_as_of(clock_timestamp())) AS d'), 0, "$level: it is right");
		is(overlaps('clari_forecasts_history', 'owner_email'), 0, 'in order');
	}
};

# ------- random sequences -------

srand(18);
run('CREATE SCHEMA random; SET search_path = random, public; CREATE TABLE moments (n serial PRIMARY KEY, at timestamptz);
	SELECT clari_create_tables(); ALTER TABLE clari_forecasts RENAME TO plain; DROP TABLE staging_clari;
	SELECT clari_create_tables(key => \'user_id\'); ALTER TABLE clari_forecasts RENAME TO by_user; DROP TABLE staging_clari;');
run("CREATE TABLE parts ($ten, $key) PARTITION BY LIST (time_period); CREATE TABLE parts_q1 PARTITION OF parts FOR VALUES IN ('2026_Q1');
	CREATE TABLE parts_else PARTITION OF parts DEFAULT PARTITION BY HASH (owner_email);
	CREATE TABLE parts_0 PARTITION OF parts_else FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE parts_1 PARTITION OF parts_else FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE TABLE copies (n int, " . $ten . ', user_id text); CREATE INDEX ON copies (n);
	ALTER FOREIGN TABLE clari.forecasts ADD COLUMN user_id text');
run("SELECT clari_track_history('$_')") for qw(plain by_user parts);
my @compared = qw(owner_name owner_email forecast_amount quota_amount crm_total crm_closed adjustment_amount time_period exported_at forecast_name);
my $compared = join(', ', @compared);
my %seen;

sub one_of { return $_[ int rand @_ ]; }

# Some rows, others each time.
sub some { my $of = one_of(2, 3, 5, 20); return "abs(hashtext(owner_email || time_period || '" . int(rand 1000) . "')) % $of = 0"; }

# A row that may be there already.
sub any_row
{
	my ($target) = @_;
	my $owner = 'new.' . int rand 12;
	my $row = row($owner, one_of('NULL', 1, 2, 3.5), one_of(@ClariSync::quarters));
	$row =~ s/\)\z/, '$owner')/ if $target eq 'by_user';
	return $row;
}

sub any_rows { my ($target) = @_; my %rows = map { /'(new\.\d+)'.*'(2026_Q\d)'/ ? ("$1 $2" => $_) : () } map { any_row($target) } 1 .. 1 + int rand 4;
	return join(', ', values %rows); }

my $version = 0;
my %steps = (
	update => sub { "UPDATE $_[0] SET " . one_of('forecast_amount = coalesce(forecast_amount, 0) + 1', 'forecast_amount = NULL, quota_amount = 3',
		'crm_closed = crm_closed * 2', "owner_name = owner_name || '.'", 'exported_at = exported_at') . ' WHERE ' . some() },
	exported => sub { "UPDATE $_[0] SET exported_at = exported_at - interval '1 hour' WHERE " . some() },
	delete => sub { "DELETE FROM $_[0] WHERE " . some() },
	insert => sub { my $owner = $_[0] eq 'by_user' ? 'user_id' : 'owner_email'; "INSERT INTO $_[0] VALUES " . any_rows($_[0]) . " ON CONFLICT (time_period, forecast_name, $owner) " .
		one_of('DO NOTHING', 'DO UPDATE SET forecast_amount = excluded.forecast_amount') },
	key => sub { my $owner = $_[0] eq 'by_user' ? 'user_id' : 'owner_email'; "UPDATE $_[0] SET $owner = $owner || '.' || " . int(rand 1000) . one_of('', ', forecast_amount = 5') . ' WHERE ' . some() },
	period => sub { "DELETE FROM $_[0] WHERE time_period = '2026_Q3'; UPDATE $_[0] SET time_period = '2026_Q3' WHERE time_period = '2026_Q1' AND " . some() },
	merge => sub { my $where = some(); my $owner = $_[0] eq 'by_user' ? 'user_id' : 'owner_email'; "MERGE INTO $_[0] AS t USING (SELECT *, $where AS gone FROM $_[0] WHERE " . some() . ") AS s ON (t.$owner, t.time_period) = (s.$owner, s.time_period)
		WHEN MATCHED AND gone THEN DELETE WHEN MATCHED THEN UPDATE SET crm_total = coalesce(t.crm_total, 0) + " . int(rand 2) },
	clari_merge => sub { "CREATE TEMP TABLE s AS SELECT * FROM $_[0] WHERE NOT " . some() . '; UPDATE s SET adjustment_amount = 7 WHERE ' . some() . '; UPDATE s SET exported_at = now();'
		. "SELECT clari_merge('$_[0]', 's', " . one_of('true', 'false') . '); DROP TABLE s' },
	clari_sync => sub { sim_set({ version => $version = int rand 40 }, period => $_) for @ClariSync::quarters;
		"CALL clari_sync('clari.forecasts', '{" . one_of('2026_Q1', '2026_Q2', '2026_Q1,2026_Q4') . "}', '$_[0]', " . one_of('true', 'false') . ', max_deleted => 1)' },
	truncate => sub { rand() < 0.3 ? "TRUNCATE $_[0]" : '' },
	error => sub { "INSERT INTO $_[0] SELECT * FROM $_[0] ORDER BY random()" },
	nothing => sub { "UPDATE $_[0] SET forecast_amount = forecast_amount" });
my @steps = sort keys %steps;

# The target as it is now.
sub copy
{
	my ($target) = @_;
	my $owner = $target eq 'by_user' ? 'user_id' : 'owner_email';
	return "INSERT INTO moments (at) VALUES (clock_timestamp()); INSERT INTO copies ($compared, user_id, n) SELECT $compared, $owner, currval('moments_n_seq') FROM $target;";
}

# Runs a sequence of steps, some of them in transactions and savepoints that may be rolled back, with them what was copied there.
sub run_sequence
{
	my ($target) = @_;
	my $open = 0;
	for (1 .. 4 + int rand 6)
	{
		my $kind = one_of(@steps);
		my $step = $steps{$kind}->($target) or next;
		if (!$open && rand() < 0.3) { run('BEGIN'); $open = 1; }
		my $fate = $open ? one_of('RELEASE s', 'RELEASE s', 'ROLLBACK TO s') : '';
		run('SAVEPOINT s') if $open;
		my $said = $session->query($step);
		die "$step: $said" if $said =~ /ERROR:  (?!23505)/;
		$seen{$kind}++ unless $said =~ /ERROR/;
		$session->query('ROLLBACK TO s') if $said =~ /ERROR/ && $open;
		run($said =~ /ERROR/ ? '' : copy($target));
		run($fate) if $open && $said !~ /ERROR/;
		if ($open && rand() < 0.3) { run(one_of('COMMIT', 'COMMIT', 'ROLLBACK')); $open = 0; }
	}
	run(one_of('COMMIT', 'ROLLBACK')) if $open;
	run(copy($target));
	return;
}

# At how many moments as_of shows other rows than were copied; and how many changes between two moments are not told, or wrong.
sub wrong
{
	my ($target, $from) = @_;
	my $owner = $target eq 'by_user' ? 'user_id' : 'owner_email';
	my $columns = "$compared, $owner";
	my $copied = "SELECT " . ($columns =~ s/, (\w+)\z/', ' . ($1 eq 'user_id' ? 'user_id' : 'owner_email')/er) . ' FROM copies AS c WHERE c.n = m.n';
	my $shown = "SELECT $columns FROM ${target}_as_of(m.at)";
	my $moments = run("SELECT count(*) FROM moments AS m WHERE n > $from AND EXISTS (($copied EXCEPT ALL $shown) UNION ALL ($shown EXCEPT ALL $copied))");
	my $of = sub { my ($c) = @_; return 'ROW(' . join(', ', map { "$c$_" } qw(forecast_amount quota_amount crm_total crm_closed adjustment_amount)) . ')' };
	run("CREATE TEMP TABLE told ON COMMIT PRESERVE ROWS AS SELECT * FROM ${target}_changes WHERE changed_at > (SELECT min(at) FROM moments WHERE n > $from);
		CREATE INDEX ON told (time_period, forecast_name, $owner); ANALYZE told");
	my $told = "FROM told AS c WHERE c.changed_at > p.at0 AND c.changed_at <= p.at";
	my $same = "AND c.$owner = d.user_id AND c.time_period = d.time_period AND c.forecast_name = d.forecast_name";
	my $changes = run("SELECT count(*) FROM (SELECT n, at, lag(n) OVER o AS n0, lag(at) OVER o AS at0 FROM moments WHERE n > $from WINDOW o AS (ORDER BY n)) AS p CROSS JOIN LATERAL
		(SELECT user_id, time_period, forecast_name, ${\$of->('a.')} AS old, ${\$of->('b.')} AS new
			FROM (SELECT * FROM copies WHERE n = p.n0) AS a FULL JOIN (SELECT * FROM copies WHERE n = p.n) AS b USING (user_id, time_period, forecast_name)
			WHERE (a.n IS NULL) <> (b.n IS NULL) OR ${\$of->('a.')} IS DISTINCT FROM ${\$of->('b.')}) AS d
		WHERE n0 IS NOT NULL AND ((SELECT ${\$of->('c.old_')} $told $same ORDER BY changed_at LIMIT 1) IS DISTINCT FROM d.old
			OR (SELECT ${\$of->('c.new_')} $told $same ORDER BY changed_at DESC LIMIT 1) IS DISTINCT FROM d.new)");
	my $sums = run("SELECT count(*) FROM (SELECT n, at, lag(n) OVER o AS n0, lag(at) OVER o AS at0 FROM moments WHERE n > $from WINDOW o AS (ORDER BY n)) AS p
		WHERE n0 IS NOT NULL AND (SELECT coalesce(sum(forecast_difference), 0) $told) <>
			(SELECT coalesce(sum(forecast_amount), 0) FROM copies WHERE n = p.n) - (SELECT coalesce(sum(forecast_amount), 0) FROM copies WHERE n = p.n0)");
	run('DROP TABLE told');
	return "$moments $changes $sums " . overlaps("${target}_history", $owner);
}

subtest "$sequences random sequences" => sub {
	my %wrong;
	for my $i (1 .. $sequences)
	{
		my $target = (qw(plain by_user parts))[ $i % 3 ];
		my $from = run('SELECT coalesce(max(n), 0) FROM moments');
		run_sequence($target);
		my $found = wrong($target, $from);
		next if $found eq '0 0 0 0';
		$wrong{$i} = "$target: $found";
		last if keys %wrong > 2;
	}
	is(join('; ', map { "sequence $_, $wrong{$_}" } sort keys %wrong), '', 'as_of is what was there at each moment, and the changes explain each difference');
	note(join(', ', map { "$_: $seen{$_}" } sort keys %seen) . '; moments: ' . run('SELECT count(*) FROM moments'));
	cmp_ok($seen{$_} // 0, '>', 0, "there were steps of kind $_") for grep { $_ ne 'error' } $sequences < 100 ? () : @steps;
	cmp_ok(run('SELECT count(*) FROM plain_history'), '>', 100, 'there is a history') if $sequences >= 100;
};

subtest 'two sessions at once' => sub {
	run('CREATE SCHEMA pair; SET search_path = pair, public; SELECT clari_create_tables(); SELECT clari_track_history();
		CREATE TABLE moments (n serial PRIMARY KEY, at timestamptz); CREATE TABLE copies (n int, LIKE clari_forecasts);');
	my @writers = map { ClariSession->new($node) } 1 .. 3;
	for my $i (0, 1)
	{
		$writers[$i]->query("SET search_path = pair, public; SELECT setseed(0.$i)");
		$writers[$i]->start(q{DO $$ BEGIN
			FOR i IN 1 .. 150 LOOP
				BEGIN
					INSERT INTO clari_forecasts SELECT 'o' || n, 'o' || n, i, 1, 1, 1, 1, '2026_Q' || (random() * 3 + 1)::int, now(), 'net_arr'
						FROM generate_series((random() * 20)::int, 20) AS n ON CONFLICT (time_period, forecast_name, owner_email) DO UPDATE SET forecast_amount = excluded.forecast_amount;
					UPDATE clari_forecasts SET crm_total = i WHERE owner_email = 'o' || (random() * 20)::int;
					DELETE FROM clari_forecasts WHERE owner_email = 'o' || (random() * 20)::int;
					IF random() < 0.2 THEN RAISE EXCEPTION 'undone'; END IF;
				EXCEPTION WHEN raise_exception THEN NULL;
				END;
				COMMIT;
			END LOOP; END $$});
	}
	$writers[2]->query('SET search_path = pair, public; SET client_min_messages = warning');
	my $between = 0;
	until ($writers[0]->is_finished(0) && $writers[1]->is_finished(0))
	{
		# When no writer is under way.
		run("BEGIN; LOCK TABLE clari_forecasts IN SHARE MODE; INSERT INTO moments (at) VALUES (clock_timestamp());
			INSERT INTO copies SELECT currval('moments_n_seq'), * FROM clari_forecasts; COMMIT");
		done($writers[2], "CALL clari_sync('clari.forecasts', '{2026_Q2}', 'pair.clari_forecasts', true, '1 day', 1)") if $between++ % 5 == 0;
	}
	is($_->finish, '', 'a writer has no error, nor a deadlock') for @writers[ 0, 1 ];
	cmp_ok($between, '>', 5, 'copies in between');
	is(run('SELECT count(*) FROM moments AS m WHERE EXISTS ((SELECT owner_email, time_period, forecast_amount, crm_total FROM copies AS c WHERE c.n = m.n
		EXCEPT ALL SELECT owner_email, time_period, forecast_amount, crm_total FROM clari_forecasts_as_of(m.at)) UNION ALL
		(SELECT owner_email, time_period, forecast_amount, crm_total FROM clari_forecasts_as_of(m.at)
		EXCEPT ALL SELECT owner_email, time_period, forecast_amount, crm_total FROM copies AS c WHERE c.n = m.n))'), 0, 'as_of is what was there');
	is(overlaps('clari_forecasts_history', 'owner_email'), 0, 'no version overlaps another');
	cmp_ok(run('SELECT count(*) FROM clari_forecasts_history'), '>', 1000, 'there is a history');
};

# ------- plans -------

subtest 'as_of is inlined' => sub {
	run('CREATE SCHEMA planned; SET search_path = planned, public; SELECT clari_create_tables(); SELECT clari_track_history();
		INSERT INTO clari_forecasts SELECT n, n || \'@x\', n, 1, 1, 1, 1, \'2026_Q1\', now(), \'net_arr\' FROM generate_series(1, 20000) AS n;
		UPDATE clari_forecasts SET forecast_amount = 0 WHERE forecast_amount % 10 = 0; ANALYZE clari_forecasts_history');
	run(q{UPDATE clari_forecasts_history SET valid_from = valid_from - interval '1 day', valid_to = valid_to - interval '1 day';
		UPDATE clari_forecasts SET forecast_amount = -1 WHERE quota_amount = 1 AND forecast_amount IN (11, 12); ANALYZE clari_forecasts_history});
	like(run(q{EXPLAIN (COSTS OFF) SELECT * FROM clari_forecasts_as_of(now() - interval '7 hours') WHERE owner_email = '17@x'}),
		qr/Index Scan using clari_forecasts_history_pkey.*Index Cond: \(\(owner_email = '17\@x'::text\)/s, 'one owner is found by index');
	unlike(run(q{EXPLAIN (COSTS OFF) SELECT count(*) FROM clari_forecasts_as_of('2026-01-01') AS a JOIN clari_forecasts AS b USING (owner_email)}),
		qr/Function Scan/, 'and it joins as a table does');
	my $plan = run(q{EXPLAIN (COSTS OFF) SELECT * FROM clari_forecasts_changes WHERE changed_at > now() - interval '1 hour'});
	like($plan, qr/valid_from_idx.*valid_to_idx/s, 'changes of a time are found by index');
	unlike($plan, qr/Seq Scan/, 'and by nothing else');
	is(run('SELECT count(*) FROM clari_forecasts_as_of(NULL)'), 0, 'as of null there is nothing');
};

subtest 'the merge counts as fast' => sub {
	my %statements;
	for my $target (qw(plain kept))
	{
		run("DROP SCHEMA planned CASCADE; CREATE SCHEMA planned; SELECT clari_create_tables();
			INSERT INTO clari_forecasts SELECT n, n || '\@x', n, 1, 1, 1, 1, '2026_Q' || n % 4 + 1, '2026-01-01', 'net_arr' FROM generate_series(1, 20000) AS n");
		run('SELECT clari_track_history()') if $target eq 'kept';
		run(q{INSERT INTO staging_clari SELECT owner_name, owner_email, forecast_amount + (forecast_amount % 100 = 0)::int, 1, 1, 1, 1, time_period, '2026-01-02', 'net_arr' FROM clari_forecasts});
		run(q{LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on; SET auto_explain.log_level = notice; SET client_min_messages = notice});
		my $said = run('SELECT * FROM clari_merge()');
		run('SET auto_explain.log_min_duration = -1; SET client_min_messages = warning');
		is(last_line($said), '0|200|19800|0|0', "$target: the counts");
		my @texts = $said =~ /^(Query Text: [^\n]*)/mg;
		$statements{$target} = [ map { s/xmin = '\d+'/xmin/r } grep { !/clari_forecasts_history|valid_from/ } @texts ];
	}
	is(join("\n", @{ $statements{kept} }), join("\n", @{ $statements{plain} }), 'by the same statements as without a history');
	is(run('SELECT count(*) FROM clari_forecasts_history'), 20200, 'which has the changes');
	is(run('SELECT updated FROM clari_merge()') . ' ' . run('SELECT count(*) FROM clari_forecasts_history'), '0 20200', 'what is unchanged costs no row');
};

# ------- tables of other shapes -------

subtest 'odd tables' => sub {
	run('CREATE SCHEMA "Odd ""one"; SET search_path = "Odd ""one", public; CREATE EXTENSION citext SCHEMA public;
		CREATE COLLATION no_case (PROVIDER = icu, LOCALE = \'und-u-ks-level2\', DETERMINISTIC = false)');
	my $long = 'é' x 31 . 'x';    # 63 bytes
	my %shapes = (
		'"The 100%s ""Forecasts"' => $ten,
		qq{"$long"} => $ten,
		extra => "note text DEFAULT 'kept', gone int, id int GENERATED ALWAYS AS IDENTITY, $ten",
		narrow => 'forecast_name varchar(10), exported_at timestamptz, time_period varchar, crm_closed numeric(14,2), owner_email varchar(60),
			crm_total double precision, adjustment_amount int, quota_amount money, forecast_amount numeric(14,1), owner_name varchar(20)',
		insensitive => $ten =~ s/owner_email text/owner_email public.citext/r,
		collated => $ten =~ s/owner_email text/owner_email text COLLATE no_case/r);
	for my $name (sort keys %shapes)
	{
		run("CREATE TABLE $name ($shapes{$name}, $key)");
		run("ALTER TABLE $name DROP COLUMN gone") if $name eq 'extra';
		my $list = join(', ', @compared);
		my $insert = sub { "INSERT INTO $name (owner_name, owner_email, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount, time_period, exported_at, forecast_name) VALUES " . join(', ', @_) };
		run($insert->(row('A@x', 1)));
		my $history = run("SELECT clari_track_history('" . ($name =~ s/'/''/gr) . "')");
		my ($as_of, $changes) = map { my $suffix = $_; $history =~ s/_history("?)\z/$suffix$1/r } '_as_of', '_changes';
		run($insert->(row('B@x', 2)) . "; UPDATE $name SET forecast_amount = 3; UPDATE $name SET quota_amount = NULL WHERE owner_email = 'B\@x'; DELETE FROM $name WHERE owner_email = 'A\@x'");
		is(run("SELECT count(*) FROM (SELECT $list FROM $as_of(clock_timestamp()) EXCEPT SELECT $list FROM $name) AS d"), 0, "$name: as_of");
		is(run("SELECT string_agg(kind || ' ' || owner_email || ' ' || forecast_difference::int, ', ' ORDER BY changed_at, owner_email) FROM $changes"),
			'added A@x 1, added B@x 2, changed A@x 2, changed B@x 1, changed B@x 0, removed A@x -3', 'its changes');
		run("SELECT clari_track_history('$name')");
		is(run("SELECT count(*) FROM $history"), 5, 'to track it twice changes nothing');
	}
	is(run('SELECT count(*) FROM pg_class WHERE relnamespace = \'"Odd ""one"\'::regnamespace AND relname ~ \'_(history|changes)$\' AND octet_length(relname) = 62'), 2,
		'a long name is cut, between characters');
	run(q{UPDATE insensitive SET owner_email = 'b@X', forecast_amount = 9});
	is(run(q{SELECT count(*) FROM insensitive_history WHERE valid_to = 'infinity'}), 1, 'the key is compared as the target does');
	run('ALTER TABLE extra RENAME TO renamed; UPDATE renamed SET forecast_amount = 11');
	is(run(q{SELECT forecast_amount FROM extra_history WHERE valid_to = 'infinity'}), 11, 'a target that is renamed keeps its history');
	run(q{ALTER SCHEMA "Odd ""one" RENAME TO even; SET search_path = even, public; UPDATE renamed SET forecast_amount = 12});
	is(run(q{SELECT forecast_amount FROM extra_history WHERE valid_to = 'infinity'}), 12, 'and so does one whose schema is');
};

subtest 'what is refused' => sub {
	run("CREATE TABLE loose ($ten); CREATE UNIQUE INDEX ON loose (time_period, forecast_name, owner_email); CREATE TABLE keyless ($ten); CREATE VIEW seen AS TABLE loose;
		CREATE TEMP TABLE passing ($ten, $key); CREATE UNLOGGED TABLE unsafe ($ten, $key); CREATE TABLE taken ($ten, $key); CREATE TABLE taken_history (n int);
		CREATE TABLE lacking (owner_email text)");
	my %refused = (loose => '42P16: cannot keep the history of even.loose: its column "time_period" may be null', keyless => '42P16: table even.keyless has no unique index',
		seen => '42809: cannot keep the history of even.seen: it is not a table', passing => '42809: cannot keep the history of \S+passing: its rows do not outlive',
		unsafe => '42809: cannot keep the history of even.unsafe: its rows', 'random.parts_q1' => '42809: cannot keep the history of random.parts_q1: it is a partition',
		taken => '42809: table even.taken_history already exists, but is not a history', lacking => '42703: table even.lacking lacks columns');
	like($session->query("SELECT clari_track_history('$_')"), qr/^ERROR:  $refused{$_}/m, $_) for sort keys %refused;
	like($session->query(q{SELECT clari_untrack_history('taken')}), qr/^ERROR:  42P01: no history of even.taken is kept/m, 'a table without history');
	like($session->query('SELECT clari_track_history()'), qr/^ERROR:  42P01: table "clari_forecasts" is not in the search_path/m, 'no table');
};

# ------- to stop, to prune -------

subtest 'to stop, and to go on' => sub {
	run('SET search_path = one, public; TRUNCATE clari_forecasts; INSERT INTO clari_forecasts VALUES ' . join(', ', map { row($_, 1) } 'a' .. 'c'));
	run("SELECT clari_untrack_history(); UPDATE clari_forecasts SET forecast_amount = 2 WHERE owner_email = 'a'; DELETE FROM clari_forecasts WHERE owner_email = 'b'");
	is(versions('clari_forecasts_history', "valid_to = 'infinity'"), 'a:1 b:1 c:1', 'nothing is recorded, and the table is kept');
	is(run(q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'clari_forecasts'::regclass}), 0, 'no trigger is left');
	run('SELECT clari_track_history()');
	is(versions('clari_forecasts_history', "valid_to = 'infinity'"), 'c:1 a:2', 'what has changed meanwhile is a change of now');
	run(q{SET session_replication_role = replica; INSERT INTO clari_forecasts VALUES } . row('r', 1) . q{; SET session_replication_role = origin; SELECT clari_track_history()});
	is(versions('clari_forecasts_history', "valid_to = 'infinity'"), 'c:1 a:2 r:1', 'and so is what the triggers have not seen');
	run('DROP TABLE clari_forecasts_history CASCADE');
	like($session->query('DELETE FROM clari_forecasts'), qr/^ERROR:  42P01: the history of one.clari_forecasts is missing: there is no table "clari_forecasts_history" in its schema.*HINT:  Use clari_track_history\(/ms,
		'a history that is dropped is missed');
	run('SELECT clari_track_history()');
	is(versions('clari_forecasts_history'), 'a:2 c:1 r:1', 'and made anew');
};

subtest 'clari_prune_history' => sub {
	run(q{TRUNCATE clari_forecasts; INSERT INTO clari_forecasts VALUES } . row('a', 1) . ', ' . row('b', 1) . ', ' . row('c', 1));
	# Dated back: a changes every day, b once 20 days ago, c goes 5 days ago.
	run(q{UPDATE clari_forecasts_history SET valid_from = valid_from - interval '31 days', valid_to = valid_to - interval '31 days'});
	for my $day (reverse 1 .. 30)
	{
		run(q{UPDATE clari_forecasts SET forecast_amount = forecast_amount + 1 WHERE owner_email = 'a'});
		run(q{UPDATE clari_forecasts SET forecast_amount = 2 WHERE owner_email = 'b'}) if $day == 20;
		run(q{DELETE FROM clari_forecasts WHERE owner_email = 'c'}) if $day == 5;
		my $dated = sub { "CASE WHEN $_[0] > now() - interval '1 hour' AND $_[0] < 'infinity' THEN $_[0] - interval '$day days' ELSE $_[0] END" };
		run("UPDATE clari_forecasts_history SET valid_from = ${\$dated->('valid_from')}, valid_to = ${\$dated->('valid_to')}");
	}
	my $all = 'SELECT md5(string_agg(h::text, \';\' ORDER BY at, h::text COLLATE "C")) FROM generate_series(now() - interval \'10 days\', now(), interval \'6 hours\') AS at, LATERAL clari_forecasts_as_of(at) AS h';
	my $told = "SELECT md5(string_agg(c::text, ';' ORDER BY c::text COLLATE \"C\")) FROM clari_forecasts_changes AS c WHERE changed_at > now() - interval '10 days'";
	my @before = run("BEGIN; $all; $told");
	my $rows = run('SELECT count(*) FROM clari_forecasts_history');
	my $pruned = run(q{SELECT clari_prune_history('clari_forecasts', '10 days')});
	is(run('SELECT count(*) FROM clari_forecasts_history') + $pruned, $rows, 'it tells how many it deleted');
	cmp_ok($pruned, '>', 20, 'which are many');
	is(run("$all; $told; COMMIT"), $before[0], 'what the kept span shows and tells is as it was');
	is(run(q{SELECT count(*) FROM clari_forecasts_history WHERE valid_to <= now() - interval '10 days'}), 0, 'older versions are gone');
	is(run(q{SELECT clari_prune_history(NULL, '10 days')}), 0, 'and there is no more to do');
	like($session->query("SELECT clari_prune_history(NULL, $_->[0])"), qr/^ERROR:  $_->[1]/m, "older than $_->[0]") for [ 'NULL', '22004' ], [ "'-1 day'", '22023' ];
};

# ------- rights, and others -------

subtest 'rights' => sub {
	run(q{CREATE ROLE writer LOGIN; GRANT USAGE ON SCHEMA one, clari TO writer; GRANT SELECT ON clari.forecasts TO writer; GRANT USAGE ON FOREIGN SERVER clari TO writer;
		CREATE USER MAPPING FOR writer SERVER clari OPTIONS (api_key 'test-key'); GRANT ALL ON one.clari_forecasts, one.clari_syncs TO writer;
		GRANT EXECUTE ON PROCEDURE clari_sync(regclass, text[], regclass, boolean, interval, float8) TO writer});
	my $writer = ClariSession->new($node, user => 'writer');
	my $sync = q{CALL clari_sync('clari.forecasts', '{2026_Q2}', 'one.clari_forecasts')};
	run('SELECT clari_invalidate()');
	sim_reset();
	like($writer->query($sync), qr/^ERROR:  42501: permission denied for table clari_forecasts_history/m, 'who writes needs rights on the history');
	is(sim_posts(), 0, 'which a sync tells before anything is exported');
	like($writer->query('INSERT INTO one.clari_forecasts VALUES ' . row('w', 1)), qr/^ERROR:  42501: permission denied for table clari_forecasts_history/m, 'and so does any statement');
	run('GRANT SELECT, INSERT, UPDATE ON one.clari_forecasts_history TO writer');
	is($writer->query('INSERT INTO one.clari_forecasts VALUES ' . row('w', 1)), '', 'SELECT, INSERT and UPDATE are enough');
	like($writer->query($sync), qr/1 period synced/, 'for a sync, too');
	like($writer->query(q{SELECT clari_track_history('one.clari_forecasts')}), qr/^ERROR:  42501: /m, 'but not to track');
	run('REVOKE TRIGGER ON one.clari_forecasts FROM writer');
	like($writer->query(q{SELECT clari_track_history('one.clari_forecasts')}), qr/^ERROR:  42501: permission denied for table clari_forecasts/m, 'without a right to its triggers not even to lock it');
	like($writer->query(q{SELECT clari_untrack_history('one.clari_forecasts')}), qr/^ERROR:  42501: must be owner/m, 'nor to untrack');
	run('GRANT EXECUTE ON FUNCTION clari_prune_history(regclass, interval) TO writer');
	like($writer->query(q{SELECT clari_prune_history('one.clari_forecasts', '1 day')}), qr/^ERROR:  42501: permission denied for table clari_forecasts_history/m, 'nor to prune');

	run('ALTER TABLE one.clari_forecasts ENABLE ROW LEVEL SECURITY; CREATE POLICY shown ON one.clari_forecasts USING (forecast_amount < 10) WITH CHECK (true)');
	like($writer->query('INSERT INTO one.clari_forecasts VALUES ' . row('v', 100)), qr/^ERROR:  0A000: cannot keep the history of one.clari_forecasts: row security hides rows/m, 'whom row security hides rows from cannot write');
	run('INSERT INTO one.clari_forecasts VALUES ' . row('v', 100));
	is(versions('one.clari_forecasts_history', "owner_email = 'v'"), 'v:100', 'others can');
	run('ALTER TABLE one.clari_forecasts DISABLE ROW LEVEL SECURITY');
};

subtest 'a hostile search_path, and a stranger\'s table' => sub {
	run(q{CREATE ROLE stranger LOGIN; CREATE SCHEMA trap AUTHORIZATION stranger; GRANT USAGE ON SCHEMA trap TO PUBLIC; GRANT CREATE ON SCHEMA trap TO keeper});
	my $stranger = ClariSession->new($node, user => 'stranger');
	my $keeper = ClariSession->new($node, user => 'keeper');
	done($stranger, q{SET search_path = trap, pg_catalog;
		CREATE FUNCTION spring() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sprung'; END $$;
		CREATE FUNCTION spring_trigger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'sprung'; END $$;
		DO $do$ DECLARE type text; op text; BEGIN
			FOREACH type IN ARRAY '{text,varchar,numeric,timestamptz,int4,int8,name}'::text[] LOOP
				EXECUTE format('CREATE FUNCTION trap.compare(%1$s, %1$s) RETURNS boolean LANGUAGE sql AS ''SELECT trap.spring()''', type);
				EXECUTE format('CREATE FUNCTION trap.minus(%1$s, %1$s) RETURNS %1$s LANGUAGE sql AS ''SELECT NULL::%1$s WHERE trap.spring()''', type);
				FOREACH op IN ARRAY '{=,<>,<,<=,>,>=}'::text[] LOOP
					EXECUTE format('CREATE OPERATOR trap.%1$s (FUNCTION = trap.compare, LEFTARG = %2$s, RIGHTARG = %2$s)', op, type);
				END LOOP;
				EXECUTE format('CREATE OPERATOR trap.- (FUNCTION = trap.minus, LEFTARG = %1$s, RIGHTARG = %1$s)', type);
				EXECUTE format('CREATE OPERATOR trap.+ (FUNCTION = trap.minus, LEFTARG = %1$s, RIGHTARG = %1$s)', type);
			END LOOP; END $do$;
		CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz WHERE trap.spring()';
		CREATE FUNCTION trap.max(timestamptz) RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz WHERE trap.spring()';
		CREATE DOMAIN trap.timestamptz AS pg_catalog.timestamptz CHECK (trap.spring()); CREATE DOMAIN trap.numeric AS pg_catalog.numeric CHECK (trap.spring());
		CREATE TABLE trap.clari_new_rows (n int); CREATE TABLE trap.clari_old_rows (n int)});
	done($keeper, "CREATE TABLE kept.bait ($ten, $key)");
	$keeper->query('SET search_path = trap, pg_catalog, kept');
	like($keeper->query("SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text"), qr/sprung/, 'the traps work');
	is(last_line($keeper->query(q{SELECT public.clari_track_history('kept.bait'::pg_catalog.regclass)})), 'bait_history', 'it is tracked');
	is($keeper->query('INSERT INTO kept.bait VALUES ' . row('a', 1) . "; UPDATE kept.bait SET forecast_amount = 2; DELETE FROM kept.bait; TRUNCATE kept.bait; INSERT INTO kept.bait VALUES " . row('a', 3)), '', 'written to');
	is(run(q{SELECT count(*) FROM kept.bait_history}), 3, 'recorded');
	unlike($keeper->query(q{SELECT * FROM kept.bait_as_of(pg_catalog.now()); TABLE kept.bait_changes}), qr/sprung|ERROR/, 'and read');
	run('GRANT EXECUTE ON FUNCTION public.clari_prune_history(regclass, interval) TO keeper');
	is(last_line($keeper->query(q{SELECT public.clari_prune_history('kept.bait'::pg_catalog.regclass, '0 s'::pg_catalog.interval)})), 2, 'and pruned');
	is($keeper->query(q{SELECT public.clari_untrack_history('kept.bait'::pg_catalog.regclass)}), '', 'and untracked');

	# Who owns a schema may put something of his own in the history's place.
	$keeper->query('SET search_path = kept, public');
	done($keeper, "CREATE TABLE trap.target ($ten, $key)");
	is($keeper->query(q{SELECT clari_track_history('trap.target')}), 'trap.target_history', 'in the schema of a stranger');
	done($stranger, q{DROP TABLE trap.target_history CASCADE; CREATE TABLE trap.target_history (LIKE kept.bait); GRANT ALL ON trap.target_history TO PUBLIC})
	  if $stranger->query('SELECT 1') && $keeper->query('GRANT USAGE ON SCHEMA kept TO stranger; GRANT SELECT ON kept.bait TO stranger') eq '';
	done($stranger, 'CREATE TRIGGER t BEFORE INSERT OR UPDATE ON trap.target_history FOR EACH STATEMENT EXECUTE FUNCTION trap.spring_trigger()');
	like($keeper->query('INSERT INTO trap.target VALUES ' . row('a', 1)), qr/^ERROR:  42501: table trap.target_history is not owned by "keeper", nor by the owner of trap.target/m,
		'a stranger\'s table is not written to');
};

# ------- what is brought over -------

subtest 'pg_dump and pg_restore' => sub {
	$node->safe_psql('postgres', 'CREATE DATABASE source');
	$node->safe_psql('postgres', 'CREATE DATABASE restored');
	$node->safe_psql('source', q{CREATE SCHEMA "The Odd"; CREATE EXTENSION clari_fdw SCHEMA "The Odd"; SET search_path = public, "The Odd"; SELECT clari_create_tables();
		SELECT clari_track_history(); INSERT INTO clari_forecasts VALUES } . row('a', 1) . ', ' . row('b', 1) . q{; UPDATE clari_forecasts SET forecast_amount = 2 WHERE owner_email = 'a'});
	my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('source') ], 'a dump');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'is restored');
	my $rows = 'SELECT * FROM clari_forecasts_history ORDER BY owner_email, valid_from';
	is($node->safe_psql('restored', $rows), $node->safe_psql('source', $rows), 'with the history as it was, and not recorded again');
	$node->safe_psql('restored', q{UPDATE clari_forecasts SET forecast_amount = 3 WHERE owner_email = 'a'; DELETE FROM clari_forecasts WHERE owner_email = 'b'});
	is($node->safe_psql('restored', q{SELECT string_agg(kind || new_forecast_amount, ' ' ORDER BY changed_at) FROM (SELECT kind, coalesce(new_forecast_amount, 0)::text AS new_forecast_amount,
		changed_at FROM clari_forecasts_changes ORDER BY changed_at DESC LIMIT 2) AS c}), 'changed3 removed0', 'which goes on');
	is($node->safe_psql('restored', q{SELECT count(*) FROM clari_forecasts_as_of(clock_timestamp())}), 1, 'and can be asked');

	my ($state, $said) = query_error($node, 'DROP EXTENSION clari_fdw', 'restored');
	like($said, qr/trigger clari_history_\w+ on table clari_forecasts depends on function "The Odd".clari_record_history\(\)/, 'DROP EXTENSION says what depends on it');
	is($state, '2BP01', 'and drops nothing');
	$node->safe_psql('restored', 'DROP EXTENSION clari_fdw CASCADE; DELETE FROM clari_forecasts');
	is($node->safe_psql('restored', q{SELECT count(*) || ' ' || (SELECT count(*) FROM clari_forecasts_changes) FROM clari_forecasts_as_of(clock_timestamp())}), '1 5', 'with CASCADE what was kept can still be read');
};

done_testing();
