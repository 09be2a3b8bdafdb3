# What clari_sync merges and what it leaves out, who may call it from where, what it tells meanwhile, and what it refuses.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use Test::More;
use Time::HiRes qw(sleep time);

my %defaults = (job_seconds => 0, owners => 50, null_emails => 0, version => 0, rows_truncated => 0, weeks => undef,
	known_periods => [ map { "2026_Q$_" } 1 .. 4 ], current_quarter => '2026_Q4');
start_sim(%defaults, concurrent_limit => 100, monthly_quota => 100_000);
my $node = start_node('sync_periods');
create_server($node, max_concurrent_exports => 8);
import_tables($node, closed_period_ttl => '0');
import_tables($node, schema => 'lenient', closed_period_ttl => '0', allow_truncated => 'true');
import_tables($node, schema => 'historical', closed_period_ttl => '0', include_historical => 'true');
$node->safe_psql('postgres', 'SELECT clari_create_tables()');
my $boss = ClariSession->new($node);
my $session = ClariSession->new($node);

# What a session answers; it must not be an error.
sub done
{
	my ($in, $statements) = @_;
	my $answer = $in->query($statements);
	die "$statements\n$answer" if $answer =~ /^ERROR/m;
	return $answer;
}

sub start_over
{
	my (%settings) = @_;
	$session->query('ROLLBACK');
	forget_all($node, %defaults, %settings);
	sim_set({ %defaults, %settings }, period => "2026_Q$_") for 1 .. 4;
	done($boss, 'TRUNCATE clari_forecasts, staging_clari');
	return;
}

sub row_counts
{
	return $boss->query(q{SELECT string_agg(n, ' ' ORDER BY n) FROM (
		SELECT right(time_period, 2) || ':' || count(*) AS n FROM clari_forecasts GROUP BY time_period) AS c});
}

sub staged { return $boss->query('SELECT count(*) FROM staging_clari'); }

# ------- what is left out -------

my $call = q{CALL clari_sync('clari.forecasts', delete_missing => true)};

# All four quarters with 50 owners are merged; then Clari has 40.
sub ten_are_missing
{
	start_over();
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
	is(staged(), 0, 'nothing is left staged');
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
		start_over(shape => $shape, entry_order => 'shuffled');
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

subtest 'two owners of one e-mail' => sub {
	start_over(duplicate_emails => 10);
	my $said = $session->query(q{CALL clari_sync('clari.forecasts', '{2026_Q1}')});
	like($said, qr/ 45 inserted, 0 updated, 0 unchanged/, 'make one row');
	like($said, qr/^NOTICE: [^\n]*\b5 rows\b[^\n]*(duplicate|same key|key of another)/mi, 'which a notice tells of');
	like($session->query(q{CALL clari_sync('clari.forecasts', '{2026_Q1}', delete_missing => true)}),
		qr/ 0 inserted, 0 updated, 45 unchanged, 0 deleted/, 'and the same one each time');
	sim_set({ duplicate_emails => 0 });
	sim_set({ duplicate_emails => 0 }, period => "2026_Q$_") for 1 .. 4;
};

# ------- the staging table -------

subtest 'the staging table' => sub {
	start_over(null_emails => 10);
	is($boss->query(q{SELECT relpersistence FROM pg_class WHERE oid = 'staging_clari'::regclass}), 'u', 'is not logged');
	is($boss->query(q{SELECT relpersistence FROM pg_class WHERE oid = 'clari_forecasts'::regclass}), 'p', 'its target is');
	my %others = (logged => 'CREATE TABLE %s.staging_clari (LIKE staging_clari)',
		reordered => 'CREATE TABLE %s.staging_clari (note text, forecast_name text, exported_at timestamptz, time_period text,
			owner_email text, owner_name text, crm_closed numeric, crm_total numeric, adjustment_amount numeric,
			quota_amount numeric, forecast_amount numeric, line bigint GENERATED ALWAYS AS IDENTITY)',
		referenced => 'CREATE TABLE %1$s.staging_clari (LIKE clari_forecasts INCLUDING ALL); CREATE TABLE %1$s.refers (a text, b text,
			c text, FOREIGN KEY (a, b, c) REFERENCES %1$s.staging_clari)',
		partitioned => 'CREATE TABLE %1$s.staging_clari (LIKE staging_clari) PARTITION BY LIST (time_period);
			CREATE TABLE %1$s.staged PARTITION OF %1$s.staging_clari DEFAULT');
	for my $name (sort keys %others)
	{
		done($boss, "CREATE SCHEMA $name; " . sprintf($others{$name}, $name)
			  . "; CREATE TABLE $name.clari_forecasts (LIKE clari_forecasts INCLUDING ALL); SET search_path = $name, public");
		like($boss->query(q{CALL clari_sync('clari.forecasts')}), qr/ 180 inserted, 0 updated, 0 unchanged, 0 deleted, 20 skipped/, "a $name one works");
		is($boss->query("SELECT count(*) FROM $name.staging_clari"), 0, 'and is emptied');
		done($boss, 'SET search_path = public');
	}
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
	start_over(job_seconds => 'hold');
	# Another is being downloaded, and is large enough that some of it has been read.
	sim_set({ owners => 3000, job_seconds => 0 }, period => '2026_Q1');
	sim_fault({ stall_after => 100_000 }, step => 'results', period => '2026_Q1', times => 1);
	occupy_places($node, 2);
	my %sessions = map { $_ => ClariSession->new($node) } keys %commits, 'a transaction block';
	my $begin = time;
	$sessions{$_}->start($commits{$_} // $blocks{$_}) for keys %sessions;
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
			$sessions{$name}->query('COMMIT') if $name eq 'a transaction block';
			delete $open{$name};
		}
		return !%open;
	});
	for my $name (sort keys %said)
	{
		like($said{$name}, qr/^NOTICE:  00000: period 2026_Q2: (waiting|polling), 0 entries after [5-9] s$/m, "progress in $name");
		like($said{$name}, qr/ periods? synced: /, 'and then success');
	}
	like($said{psql}, qr/^NOTICE:  00000: period 2026_Q1: downloading, [1-9]\d* entries after [5-9] s$/m, 'of each quarter, with its entries');
	is(row_counts(), 'Q1:3000 Q2:50', 'all is there');
	is(sim_seen('forecasts.net_arr.post'), 2, 'by one export of each');
	$boss->query(q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '8')});
};

for my $name (sort keys %blocks)
{
	subtest "from $name" => sub {
		start_over();
		like($session->query($blocks{$name}), qr/1 period synced: 50 inserted/, 'it merges');
		$session->query('COMMIT');
		is(row_counts(), 'Q2:50', 'and that stays');
		is(staged(), 0, 'nothing is left staged');

		start_over();
		sim_fault({ status => 400, body => 'x' }, step => 'post', period => '2026_Q2');
		my $said = $session->query($blocks{$name});
		like($said, qr/could not sync 1 of 1 periods?/, 'when it fails, it says so');
		unlike($said, qr/2D000|cannot commit/, 'and nothing else');
		$session->query('COMMIT');
		is(row_counts(), '', 'and nothing is there');
	};
}

subtest 'rolled back' => sub {
	start_over();
	done($session, "BEGIN; $held; ROLLBACK");
	is(row_counts(), '', 'nothing is there');
	done($session, "BEGIN; SAVEPOINT s; $held; ROLLBACK TO s; COMMIT");
	is(row_counts(), '', 'nor to a savepoint');
	done($session, "BEGIN; SAVEPOINT s; $held; RELEASE s; $held; COMMIT");
	is(row_counts(), 'Q2:50', 'but when it is released');
};

# ------- refused before anything is exported -------

subtest 'refused before anything is exported' => sub {
	start_over();
	done($boss, q{
		CREATE SCHEMA viewed; CREATE TABLE viewed.behind (LIKE staging_clari);
		CREATE VIEW viewed.staging_clari AS TABLE viewed.behind; CREATE TABLE viewed.clari_forecasts (LIKE clari_forecasts INCLUDING ALL);
		CREATE SCHEMA keyed; CREATE TABLE keyed.staging_clari (LIKE clari_forecasts INCLUDING ALL);
		CREATE SCHEMA generated; CREATE TABLE generated.staging_clari (owner_name text, owner_email text, forecast_amount numeric,
			quota_amount numeric, crm_total numeric, crm_closed numeric, adjustment_amount numeric, time_period text,
			exported_at timestamptz, forecast_name text GENERATED ALWAYS AS ('net_arr') STORED);
		CREATE VIEW shown AS TABLE clari_forecasts;
		CREATE ROLE reader LOGIN; CREATE SCHEMA reader AUTHORIZATION reader;
		CREATE USER MAPPING FOR reader SERVER clari OPTIONS (api_key 'test-key');
		GRANT USAGE ON SCHEMA clari TO reader; GRANT SELECT ON clari.forecasts TO reader; GRANT SELECT ON clari_forecasts TO reader;
		GRANT EXECUTE ON PROCEDURE clari_sync TO reader; GRANT EXECUTE ON FUNCTION clari_merge TO reader;});
	my $reader = ClariSession->new($node, user => 'reader');
	done($reader, 'SELECT clari_create_tables()');
	my $sync = q{CALL clari_sync('clari.forecasts')};
	my $into = sub { return "CALL clari_sync('clari.forecasts', target => '$_[0]')" };
	my @refused = (
		[ 'a session that only reads', "SET default_transaction_read_only = on; $sync", '25006' ],
		[ 'DO in a transaction that only reads', "BEGIN READ ONLY; DO \$\$BEGIN $sync; END\$\$", '25006' ],
		[ 'a view for staging', "SET search_path = viewed, public; $sync", '\w+' ],
		[ 'the staging table as the target', 'SET search_path = keyed, public; ' . $into->('keyed.staging_clari'), '\w+' ],
		[ 'a staging table with a generated column', 'SET search_path = generated, public; ' . $into->('clari_forecasts'), '\w+' ],
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
	like($reader->query($into->('public.clari_forecasts') =~ s/\)$/, delete_missing => true)/r), qr/^ERROR:  42501: /m,
		'nor one from which one may not delete, to delete from it');
	is(sim_posts(), 0, 'is exported for');
	like($reader->query($into->('public.clari_forecasts')), qr/ 200 inserted/, 'but one need not own the target');
};

done_testing();
