# Several databases, one cache: who has the same key shares, who has not does not; and whatever is dropped in mid-export,
# nobody crashes, nobody blocks, and what was paid for is there for the others.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use Test::More;

start_sim(job_seconds => 0, owners => 50, null_emails => 0, concurrent_limit => 100, monthly_quota => 100_000,
	keys => { 'test-key' => {}, 'other-key' => { user => 'other', tenant => 'org-2', seed => 2 } });
my $node = start_node('databases');
create_server($node);
import_tables($node);

my $count = "SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'";
my $digest = digest_of('clari.forecasts', "time_period = '2026_Q1'");

# A database with the extension, server, mapping and tables.
sub make
{
	my ($database) = @_;
	sql("CREATE DATABASE $database");
	equip($database);
	return;
}

sub equip
{
	my ($database) = @_;
	sql('CREATE EXTENSION clari_fdw', $database);
	create_server($node, database => $database);
	import_tables($node, database => $database);
	return;
}

# A session in the database that waits for a held export.
sub waiting
{
	my ($database, $statement) = @_;
	start_over($node, job_seconds => 'hold');
	my $session = ClariSession->new($node, database => $database)->start($statement // $count);
	wait_until('a job runs', sub { sql("SELECT count(*) FROM clari_exports WHERE job_id <> '' AND waiters = 1") eq '1' });
	return $session;
}

sub let_go { sim_set({ job_seconds => 0 }); return sim_release(); }

sub waits_for_lock
{
	my ($session) = @_;
	wait_until('it waits for a lock', sub {
		sql("SELECT count(*) FROM pg_locks WHERE pid = $session->{pid} AND NOT granted") eq '1' });
	return;
}

# ------- one cache -------

make('second');
subtest 'the same key in another database' => sub {
	start_over($node, job_seconds => 0);
	my $rows = sql($digest);
	is(sql($digest, 'second'), $rows, 'gets the same rows');
	is(sim_posts(), 1, 'of one export');
	sim_set({ job_seconds => 'hold' });
	my @sessions = map { ClariSession->new($node, database => $_)->start($count =~ s/Q1/Q2/r) } qw(postgres second);
	wait_until('both wait', sub { sql('SELECT sum(waiters) FROM clari_exports') eq '2' });
	let_go();
	is($_->finish, 50, 'waits for the same export') for @sessions;
	is(sim_posts(), 2, 'which is one');
	is(sql("SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')", 'second'), 1, 'and forgets');
	is(sql('SELECT string_agg(time_period, \',\') FROM clari_cache'), '2026_Q2', 'for both');
};

subtest 'another key in another database' => sub {
	start_over($node, job_seconds => 0);
	my $rows = sql($digest);
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key 'other-key')", 'second');
	isnt(sql($digest, 'second'), $rows, 'gets rows of its own');
	is(sim_posts(), 2, 'by an export of its own');
	is(sql("SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')", 'second'), 1, 'and forgets its own');
	is(sql($digest), $rows, 'the first one still has its rows');
	is(sim_posts(), 2, 'without an export');
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key 'test-key')", 'second');
};

subtest 'rights are each database\'s own' => sub {
	start_over($node, job_seconds => 0);
	sql($count);
	sql('CREATE ROLE guest LOGIN; GRANT USAGE ON SCHEMA clari TO guest; GRANT SELECT ON clari.forecasts TO guest', 'second');
	my $guest = ClariSession->new($node, database => 'second', user => 'guest');
	like($guest->query($count), qr/^ERROR:  42704: user mapping not found/m, 'without a user mapping, what is cached is not shown');
	like($guest->query("SELECT * FROM $_"), qr/^ERROR:  42501: permission denied for view $_/m, "nor is $_")
	  for qw(clari_cache clari_exports clari_stats);
	like($guest->query('SELECT clari_invalidate()'), qr/^ERROR:  42501/m, 'nor forgotten');
	sql("CREATE USER MAPPING FOR guest SERVER clari OPTIONS (api_key 'guessed')", 'second');
	like($guest->query($count), qr/^ERROR:  28000: /m, 'nor does a guessed key help');
	sql("ALTER USER MAPPING FOR guest SERVER clari OPTIONS (SET api_key 'test-key')", 'second');
	my $posts = sim_posts();
	is($guest->query($count), 50, 'who has the key has the rows');
	is(sim_posts(), $posts, 'that are there');
	like(ClariSession->new($node, user => 'guest')->query($count), qr/^ERROR:  42501/m, 'but not in the first database');
};

# ------- any schema -------

subtest 'any schema' => sub {
	start_over($node, job_seconds => 0);
	sql('CREATE DATABASE odd');
	sql(q{CREATE SCHEMA "Odd, Ünd (so)"; CREATE EXTENSION clari_fdw SCHEMA "Odd, Ünd (so)"}, 'odd');
	create_server($node, database => 'odd');
	import_tables($node, database => 'odd');
	sql(q{SELECT "Odd, Ünd (so)".clari_create_tables(); CALL "Odd, Ünd (so)".clari_sync('clari.forecasts')}, 'odd');
	is_as_generated($node, 'clari_forecasts', 'forecasts', "2026_Q$_", database => 'odd') for 1 .. 4;
	is(sql(q{SELECT count(*) FROM "Odd, Ünd (so)".clari_cache WHERE forecast = $$net_arr$$}, 'odd'), 4, 'its views work');
	is(sql(q{SELECT inserted FROM "Odd, Ünd (so)".clari_merge()}, 'odd'), 0, 'and clari_merge');
	my ($sqlstate, $error) = query_error($node, 'ALTER EXTENSION clari_fdw SET SCHEMA public', 'odd');
	is($sqlstate, '0A000', 'it stays there');
	like($error, qr/extension "clari_fdw" does not support SET SCHEMA/, 'and PostgreSQL says so');
	sql('DROP DATABASE odd');
	($sqlstate, $error) = query_error($node, q{CREATE SCHEMA "it's"; BEGIN; DROP EXTENSION clari_fdw CASCADE;
		CREATE EXTENSION clari_fdw SCHEMA "it's"; ROLLBACK});
	like($error, qr/ERROR: .*invalid character in extension "clari_fdw" schema/, 'PostgreSQL takes no quotes in its name');
};

# ------- what is dropped in mid-export -------

# Each: the statement; whether it waits for the query, and with what error it ends; what the query answers.
make('doomed');
my @drops = (
	[ 'DROP EXTENSION clari_fdw', 1, qr/^ERROR:  2BP01: /m ],
	[ 'DROP FOREIGN TABLE clari.forecasts', 1 ],
	[ 'DROP SERVER clari CASCADE', 1 ],
	[ 'DROP EXTENSION clari_fdw CASCADE', 1 ],
	[ 'DROP SCHEMA clari CASCADE', 1 ],
	[ 'DROP USER MAPPING FOR CURRENT_USER SERVER clari', 0 ],
	[ "ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key 'other-key')", 0 ],
	[ "ALTER SERVER clari OPTIONS (SET base_url 'https://127.0.0.1:1')", 0 ]);
for my $drop (@drops)
{
	my ($statement, $waits, $error) = @$drop;
	subtest "$statement while a query waits" => sub {
		my $session = waiting('doomed');
		my $other = ClariSession->new($node, database => 'doomed')->start("SET client_min_messages = warning; $statement");
		$waits ? waits_for_lock($other) : is($other->finish, '', 'succeeds at once');
		ok(!$session->is_finished, 'the query waits on');
		let_go();
		is($session->finish, 50, 'and gets its rows');
		like($other->finish, $error // qr/^$/, 'then it is done') if $waits;
		is(sql($count), 50, 'the other database has the rows');
		is(sim_posts(), 1, 'of that export');
		sql('SET client_min_messages = warning; DROP EXTENSION IF EXISTS clari_fdw CASCADE; DROP SCHEMA IF EXISTS clari CASCADE', 'doomed');
		equip('doomed');
		is(sql($count, 'doomed'), 50, 'and so has this one, once all is made again');
		is(sim_posts(), 1, 'without another export');
	};
}

# clari_sync waits without a lock and without a snapshot.
for my $statement ('DROP FOREIGN TABLE clari.forecasts', 'DROP SERVER clari CASCADE', 'DROP EXTENSION clari_fdw CASCADE',
	'DROP TABLE clari_forecasts', 'DROP USER MAPPING FOR CURRENT_USER SERVER clari')
{
	subtest "$statement while clari_sync waits" => sub {
		sql('SET client_min_messages = warning; SELECT clari_create_tables(); TRUNCATE clari_forecasts', 'doomed');
		my $session = waiting('doomed', "CALL clari_sync('clari.forecasts', '{2026_Q1}')");
		sql("SET client_min_messages = warning; SET lock_timeout = '${ClariSession::patience}s'; $statement", 'doomed');
		let_go();
		like($session->finish, qr/^ERROR:  (?!XX)\w{5}: /m, 'clari_sync ends with an error, and no internal one');
		is(sql($count), 50, 'the other database has the rows');
		is(sim_posts(), 1, 'of that export');
		sql('SET client_min_messages = warning; DROP EXTENSION IF EXISTS clari_fdw CASCADE; DROP SCHEMA IF EXISTS clari CASCADE;
			DROP TABLE IF EXISTS clari_forecasts, staging_clari', 'doomed');
		equip('doomed');
	};
}

subtest 'DROP DATABASE in mid-export' => sub {
	my $session = waiting('doomed');
	like((query_error($node, 'DROP DATABASE doomed'))[0], qr/^55006$/, 'is refused while a session is in it');
	sql('DROP DATABASE doomed WITH (FORCE)');
	like($session->finish, qr/FATAL:  57P01|server closed the connection/, 'but not with FORCE');
	let_go();
	is(sql($count), 50, 'another database gets the rows');
	is(sim_posts(), 1, 'of that export');

	make('doomed');
	start_over($node, job_seconds => 'hold');
	sql("SELECT clari_prefetch('clari.forecasts', '{2026_Q1}')", 'doomed');
	wait_until('a job runs', sub { sql("SELECT count(*) FROM clari_exports WHERE job_id <> ''") eq '1' });
	sql("DROP DATABASE doomed");
	let_go();
	is(sql($count), 50, 'a worker that exports is in no database');
	is(sim_posts(), 1, 'and goes on');
};

done_testing();
