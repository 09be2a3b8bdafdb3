# What clari_sync merges and what it leaves out, who may call it from where, what it tells meanwhile, and what it refuses.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariSync;
use ClariTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = start_sync_node('sync_periods');
import_tables($node, schema => 'lenient', closed_period_ttl => '0', allow_truncated => 'true');
import_tables($node, schema => 'historical', closed_period_ttl => '0', include_historical => 'true');
$node->safe_psql('postgres', 'SELECT clari_create_tables()');
my $boss = ClariSession->new($node);
my $session = ClariSession->new($node);

sub begin_with_empty_tables
{
	$session->query('ROLLBACK');
	return start_over_with_empty_tables($node, @_);
}

# ------- what is left out -------

my $call = q{CALL clari_sync('clari.forecasts', delete_missing => true)};

# All four quarters with 50 owners are merged; then Clari has 40.
sub ten_are_missing
{
	begin_with_empty_tables();
	done($boss, $call);
	is(row_counts(), 'Q1:50 Q2:50 Q3:50 Q4:50', 'there are four quarters');
	sim_set({ owners => 40 }, period => "2026_Q$_") for 1 .. 4;
	return;
}

subtest 'what is not merged is no reason to delete' => sub {
	ten_are_missing();
	sim_set({ owners => 0 }, period => '2026_Q1');
	sim_set({ rows_truncated => 1 }, period => '2026_Q2');
	sim_set({ known_periods => [ map { "2026_Q$_" } 1, 2, 4 ] }, period => '2026_Q3');
	my $said = $session->query($call);
	is(row_counts(), 'Q1:50 Q2:50 Q3:50 Q4:40', 'rows are deleted from the quarter that was exported well, and from no other');
	like($said, qr/^NOTICE: [^\n]*2026_Q1[^\n]*(empty|no rows|no entries|nothing)/mi, 'a notice tells of the empty export');
	like($said, qr/ 0 inserted, 0 updated, 40 unchanged, 10 deleted, 0 skipped/, 'the counts are those of the good one');
	like($said, qr/^ERROR: [^\n]*could not sync 2 of 4 periods/m, 'the error tells of two');
	like($said, qr/2026_Q2[^\n]*truncated/, 'one truncated');
	like($said, qr/2026_Q3[^\n]*2026_Q4/, 'one answered with another quarter');
};

subtest 'a failed export, and none that is good' => sub {
	ten_are_missing();
	sim_fault({ status => 400, body => 'x' }, step => 'post', period => "2026_Q$_") for 1, 3;
	like($session->query($call), qr/^ERROR: [^\n]*could not sync 2 of 4 periods/m, 'two failed');
	is(row_counts(), 'Q1:50 Q2:40 Q3:50 Q4:40', 'and are as they were');
	ten_are_missing();
	sim_set({ rows_truncated => 1 }, period => "2026_Q$_") for 1 .. 4;
	like($session->query($call), qr/^ERROR: [^\n]*could not sync 4 of 4 periods/m, 'all failed');
	is(row_counts(), 'Q1:50 Q2:50 Q3:50 Q4:50', 'and are as they were');
};

subtest 'inside of a transaction block it is all or nothing' => sub {
	ten_are_missing();
	sim_set({ rows_truncated => 1 }, period => '2026_Q2');
	$session->query('BEGIN');
	like($session->query($call), qr/^ERROR: [^\n]*could not sync 1 of 4 periods/m, 'one is bad');
	$session->query('COMMIT');
	is(row_counts(), 'Q1:50 Q2:50 Q3:50 Q4:50', 'nothing is merged');
	ten_are_missing();
	sim_set({ owners => 0 }, period => '2026_Q1');
	$session->query('BEGIN');
	like($session->query($call), qr/ 120 unchanged, 30 deleted/, 'an empty export is not bad');
	is(row_counts(), 'Q1:50 Q2:50 Q3:50 Q4:50', 'nobody else sees it before the commit');
	$session->query('COMMIT');
	is(row_counts(), 'Q1:50 Q2:40 Q3:40 Q4:40', 'but then');
};

subtest 'empty exports alone' => sub {
	ten_are_missing();
	sim_set({ owners => 0 }, period => "2026_Q$_") for 1 .. 4;
	my $said = $session->query($call);
	unlike($said, qr/^ERROR/m, 'are no error');
	is(row_counts(), 'Q1:50 Q2:50 Q3:50 Q4:50', 'and nothing is deleted');
	like($said, qr/^NOTICE: [^\n]*2026_Q$_[^\n]*(empty|no rows|no entries|nothing)/mi, "2026_Q$_ is told of") for 1 .. 4;
};

subtest 'an export of which all e-mails are hidden' => sub {
	ten_are_missing();
	sim_set({ null_emails => 1 }, period => '2026_Q1');
	like($session->query($call), qr/ 120 unchanged, 30 deleted, 40 skipped/, 'is skipped');
	is(row_counts(), 'Q1:50 Q2:40 Q3:40 Q4:40', 'and deletes nothing');
};

subtest 'a truncated export that the table allows' => sub {
	ten_are_missing();
	sim_set({ rows_truncated => 1, version => 1 }, period => '2026_Q2');
	my $said = $session->query($call =~ s/clari\./lenient./r);
	unlike($said, qr/^ERROR/m, 'is no error');
	is(scalar(() = $said =~ /^WARNING: [^\n]*truncated/mg), 1, 'but draws a warning');
	like($said, qr/ 0 inserted, [1-9]\d* updated/, 'it is merged');
	is(row_counts(), 'Q1:40 Q2:50 Q3:40 Q4:40', 'and is no reason to delete');
};

subtest 'with include_historical the latest week is merged' => sub {
	for my $shape ('v4', 'flat')
	{
		begin_with_empty_tables(shape => $shape, entry_order => 'shuffled');
		sim_set({ weeks => 3 }, period => '2026_Q2');
		sim_set({ weeks => 1 }, period => '2026_Q3');
		my $shown = $boss->query('SELECT count(*) FROM historical.forecasts');
		cmp_ok($shown, '>', 1000, 'the foreign table has a row for each week') if $shape eq 'v4';
		sim_reset();
		my $said = $session->query(q{CALL clari_sync('historical.forecasts')});
		like($said, qr/4 periods synced: 200 inserted, 0 updated, 0 unchanged, 0 deleted, 0 skipped/, "$shape: one row for each owner");
		unlike($said, qr/duplicate|same key|key of another/i, 'the other weeks are not told of as duplicates');
		is_as_generated($node, 'clari_forecasts', 'forecasts', "2026_Q$_", name => "2026_Q$_: the latest week's") for 1 .. 4;
		like($session->query(q{CALL clari_sync('historical.forecasts', delete_missing => true)}), qr/ 200 unchanged, 0 deleted/, 'again');
		sim_set({ shape => 'v4', entry_order => 'by_field' });
	}
};

subtest 'owners who share an e-mail' => sub {
	begin_with_empty_tables(duplicate_emails => 5, shape => 'v4');
	my $said = $session->query(q{CALL clari_sync('clari.forecasts', '{2026_Q1}')});
	like($said, qr/ 40 inserted, 0 updated, 0 unchanged, 0 deleted, 10 skipped/, 'make one row');
	like($said, qr/^WARNING: [^\n]*period 2026_Q1: owners share e-mails, and 10 rows are left out/m, 'which a warning tells of');
	like($said, qr/^DETAIL: [^\n]*(?:"[^"]+" \(2\), ){5}and 5 more\.$/m, 'naming five of them');
	like($session->query(q{CALL clari_sync('clari.forecasts', '{2026_Q1}', delete_missing => true)}),
		qr/ 0 inserted, 0 updated, 40 unchanged, 0 deleted/, 'and the same one each time');

	done($boss, q{SET client_min_messages = warning; CREATE SCHEMA people; SET search_path = people, public;
		SELECT clari_create_tables(key => 'user_id'); SET client_min_messages = notice});
	like($boss->query(q{CALL clari_sync('clari.forecasts', '{2026_Q1}')}),
		qr/^ERROR:  42703: [^\n]*clari.forecasts lacks columns: user_id\n[^\n]*\n?HINT:  ALTER FOREIGN TABLE clari.forecasts ADD COLUMN user_id text;/m,
		'a key of user_id wants that column');
	done($boss, 'ALTER FOREIGN TABLE clari.forecasts ADD COLUMN user_id text');
	$said = $boss->query(q{CALL clari_sync('clari.forecasts', '{2026_Q1}')});
	like($said, qr/ 50 inserted, 0 updated, 0 unchanged, 0 deleted, 0 skipped/, 'and then all of them stand');
	unlike($said, qr/WARNING/, 'without a warning');
	like($boss->query(q{CALL clari_sync('clari.forecasts', '{2026_Q1}', delete_missing => true)}), qr/ 0 inserted, 0 updated, 50 unchanged, 0 deleted/, 'again');
	is_as_generated($node, 'people.clari_forecasts', 'forecasts', '2026_Q1');
	done($boss, 'INSERT INTO staging_clari SELECT * FROM clari.forecasts; SET search_path = people, public');
	like($boss->query('SELECT * FROM clari_merge()'), qr/\|0\|50\|0\|0$/, 'a merge by hand has that key, too');
	done($boss, 'ALTER FOREIGN TABLE clari.forecasts DROP COLUMN user_id; SET search_path = public');
	sim_set({ duplicate_emails => 0 });
	sim_set({ duplicate_emails => 0 }, period => "2026_Q$_") for 1 .. 4;
};

# ------- how it is called, and the wait -------

my $held = q{CALL clari_sync('clari.forecasts', '{2026_Q2}')};
done($boss, "
	CREATE PROCEDURE calls() LANGUAGE plpgsql AS \$\$BEGIN $held; END\$\$;
	CREATE PROCEDURE calls_that() LANGUAGE plpgsql AS \$\$BEGIN CALL calls(); END\$\$;
	CREATE FUNCTION called() RETURNS text LANGUAGE plpgsql AS \$\$BEGIN $held; RETURN 'called'; END\$\$;");

# Where it may commit, and so holds nothing while it waits; and where it may not.
my %commits = (
	psql => q{CALL clari_sync('clari.forecasts', '{2026_Q1,2026_Q2}')},
	DO => "DO \$\$BEGIN $held; END\$\$",
	'a procedure' => 'CALL calls()',
	'a procedure that a procedure calls' => 'CALL calls_that()',
	'a procedure that DO calls' => 'DO $$BEGIN CALL calls_that(); END$$',
	'a loop over rows' => q{DO $$DECLARE r record; BEGIN FOR r IN SELECT relation FROM unnest('{clari.forecasts,clari.forecasts}'::text[])
		AS c(relation) LOOP CALL clari_sync(r.relation, '{2026_Q2}', max_age => '1h'); END LOOP; END$$});
my %blocks = (
	'a transaction block' => "BEGIN; $held",
	'a function' => 'SELECT called()',
	'EXECUTE' => "DO \$\$BEGIN EXECUTE \$x\$$held\$x\$; END\$\$",
	'a block with an exception handler' => "DO \$\$BEGIN BEGIN $held; EXCEPTION WHEN OTHERS THEN
		RAISE NOTICE 'caught: % %', SQLSTATE, SQLERRM; END; END\$\$",
	'one of several statements in a string' => "SELECT 1\\; $held");

subtest 'a sync that waits for more than five seconds' => sub {
	begin_with_empty_tables(job_seconds => 'hold');
	# Another is being downloaded, and is large enough that some of it has been read.
	sim_set({ owners => 3000, job_seconds => 0 }, period => '2026_Q1');
	sim_fault({ stall_after => 100_000 }, step => 'results', period => '2026_Q1', times => 1);
	occupy_places($node, 2);
	my %sessions = map { $_ => ClariSession->new($node) } keys %commits;
	my $begin = time;
	$sessions{$_}->start($commits{$_}) for keys %sessions;
	my $count = keys %sessions;
	wait_until('all wait', sub {
		($boss->query(q{SELECT waiters FROM clari_exports WHERE time_period = '2026_Q2'}) || 0) == $count });
	sim_release(forecast => 'bookings');
	wait_until('it is under way', sub { sim_seen('forecasts.net_arr.post') == 2 });
	my $pids = join(',', map { $sessions{$_}{pid} } keys %commits);
	my ($samples, @holding) = (0);
	while (time < $begin + 6.5)
	{
		my ($active, $holding) = split /\|/, $boss->query("SELECT count(*) FILTER (WHERE state = 'active'),
			string_agg(query, '; ') FILTER (WHERE backend_xmin IS NOT NULL OR backend_xid IS NOT NULL)
			FROM pg_stat_activity WHERE pid IN ($pids)");
		last if $active != keys %commits;
		push @holding, $holding if $holding ne '';
		$samples++;
		sleep 0.01;
	}
	cmp_ok($samples, '>', 20, "$samples looks");
	is($holding[0], undef, 'at none of them a session that may commit had an xmin or an xid');
	my (%said, %open);
	$open{$_} = 1 for keys %sessions;
	wait_until('all are through', sub {
		sim_release();
		for my $name (grep { $sessions{$_}->is_finished(0.01) } sort keys %open)
		{
			$said{$name} = $sessions{$name}->finish;
			delete $open{$name};
		}
		return !%open;
	});
	for my $name (sort keys %said)
	{
		like($said{$name}, qr/^NOTICE:  00000: waiting for exports after [5-9] s: [^\n]*2026_Q2 (waiting|polling) \(0 entries\)/m, "progress in $name");
		like($said{$name}, qr/ periods? synced: /, 'and then success');
	}
	like($said{psql}, qr/^NOTICE:  00000: waiting for exports after [5-9] s: 2026_Q1 downloading \([1-9]\d* entries\), 2026_Q2/m, 'of each quarter, with its entries');
	is(row_counts(), 'Q1:3000 Q2:50', 'all is there');
	is(sim_seen('forecasts.net_arr.post'), 3, 'by one export of each, and one for the second call of the loop');
	$boss->query(q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '8')});
};

for my $name (sort keys %blocks)
{
	subtest "from $name" => sub {
		begin_with_empty_tables();
		like($session->query($blocks{$name}), qr/1 period synced: 50 inserted/, 'it merges');
		$session->query('COMMIT');
		is(row_counts(), 'Q2:50', 'and that stays');
	
		begin_with_empty_tables();
		sim_fault({ status => 400, body => 'x' }, step => 'post', period => '2026_Q2');
		my $said = $session->query($blocks{$name});
		like($said, qr/could not sync 1 of 1 period of/, 'when it fails, it says so');
		unlike($said, qr/2D000|cannot commit/, 'and nothing else');
		$session->query('COMMIT');
		is(row_counts(), '', 'and nothing is there');
	};
}

subtest 'rolled back' => sub {
	begin_with_empty_tables();
	done($session, "BEGIN; $held; ROLLBACK");
	is(row_counts(), '', 'nothing is there');
	done($session, "BEGIN; SAVEPOINT s; $held; ROLLBACK TO s; COMMIT");
	is(row_counts(), '', 'nor to a savepoint');
	done($session, "BEGIN; SAVEPOINT s; $held; RELEASE s; $held; COMMIT");
	is(row_counts(), 'Q2:50', 'but when it is released');
};

# ------- refused before anything is exported -------

subtest 'refused before anything is exported' => sub {
	begin_with_empty_tables();
	done($boss, q{
		CREATE VIEW shown AS TABLE clari_forecasts;
		CREATE ROLE reader LOGIN; CREATE SCHEMA reader AUTHORIZATION reader;
		CREATE USER MAPPING FOR reader SERVER clari OPTIONS (api_key 'test-key');
		GRANT USAGE ON SCHEMA clari TO reader; GRANT SELECT ON clari.forecasts TO reader; GRANT SELECT ON clari_forecasts TO reader;
		GRANT EXECUTE ON PROCEDURE clari_sync TO reader;});
	my $reader = ClariSession->new($node, user => 'reader');
	done($reader, 'SELECT clari_create_tables()');
	my $sync = q{CALL clari_sync('clari.forecasts')};
	my $into = sub { return "CALL clari_sync('clari.forecasts', target => '$_[0]')" };
	my @refused = (
		[ 'a session that only reads', "SET default_transaction_read_only = on; $sync", '25006' ],
		[ 'DO in a transaction that only reads', "BEGIN READ ONLY; DO \$\$BEGIN $sync; END\$\$", '25006' ],
		[ 'a foreign table as the target', $into->('clari.forecasts'), '42809' ],
		[ 'a view as the target', $into->('shown'), '42809' ],
		[ 'no relation', 'CALL clari_sync(NULL)', '22004' ],
		[ 'a null among the periods', q{CALL clari_sync('clari.forecasts', '{2026_Q1,NULL}')}, '22004' ],
		[ 'no period', q{CALL clari_sync('clari.forecasts', '{}')}, '\w+' ],
		[ 'delete_missing as null', q{CALL clari_sync('clari.forecasts', delete_missing => NULL)}, '22004' ],
		[ 'a negative age', q{CALL clari_sync('clari.forecasts', max_age => '-1s')}, '22023' ]);
	for my $refused (@refused)
	{
		my ($what, $statements, $state) = @$refused;
		my $one = ClariSession->new($node);
		like($one->query($statements), qr/^ERROR:  $state: /m, $what);
		is(sim_posts(), 0, 'is not exported for') or sim_reset();
		$boss->query('SELECT clari_invalidate()');
	}
	like($reader->query($into->('public.clari_forecasts')), qr/^ERROR:  42501: permission denied for table clari_forecasts/m,
		'a target that one may only read');
	is(sim_posts(), 0, 'is not exported for') or sim_reset();
	is(row_counts(), '', 'nothing was merged');
	done($boss, 'GRANT INSERT, UPDATE ON clari_forecasts TO reader');
	like($reader->query($into->('public.clari_forecasts')), qr/^ERROR:  42501: permission denied for table clari_syncs/m,
		'nor if one may not note what was synced');
	is(sim_posts(), 0, 'is exported for');
	done($boss, 'GRANT SELECT, INSERT, UPDATE ON clari_syncs TO reader');
	like($reader->query($into->('public.clari_forecasts') =~ s/\)$/, delete_missing => true)/r), qr/^ERROR:  42501: /m,
		'nor one from which one may not delete, to delete from it');
	is(sim_posts(), 0, 'is exported for');
	like($reader->query($into->('public.clari_forecasts')), qr/ 200 inserted/, 'but one need not own the target');
};

done_testing();
