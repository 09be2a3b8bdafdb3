# What a data engineer wants of clari_sync: nothing lost, nothing of others touched, one bad quarter costs no other, and
# clari_syncs tells how it stands.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariSync;
use ClariTest;
use JSON::PP;
use Test::More;

my $node = start_sync_node('promises', "wal_level = logical\ndeadlock_timeout = '200ms'");
import_tables($node, schema => 'euros', closed_period_ttl => '0', currency => 'EUR');
import_tables($node, schema => 'mine', closed_period_ttl => '0', forecast_name => "Ärger''s %s");
import_tables($node, schema => 'lenient', closed_period_ttl => '0', allow_truncated => 'true');
import_tables($node, schema => 'weekly', closed_period_ttl => '0', include_historical => 'true');
import_tables($node, schema => 'partly', closed_period_ttl => '0', types => 'forecast,crm_total');
my $boss = ClariSession->new($node);
my $session = ClariSession->new($node);
my $ten = 'owner_name text, owner_email text, forecast_amount numeric, quota_amount numeric, crm_total numeric,
	crm_closed numeric, adjustment_amount numeric, time_period text, exported_at timestamptz, forecast_name text';
my $primary = 'PRIMARY KEY (time_period, forecast_name, owner_email)';

# The default tables anew, and all forgotten.
sub begin_with_new_tables
{
	my (%settings) = @_;
	$session->query('ROLLBACK; RESET ALL');
	start_over_with_quarters($node, %settings);
	done($boss, "SET client_min_messages = warning; DROP TABLE IF EXISTS clari_forecasts, staging_clari, clari_syncs CASCADE;
		SELECT clari_create_tables(); SET client_min_messages = notice");
	return;
}

sub sync { my ($quarters, @more) = @_; return "CALL clari_sync('clari.forecasts', '{" . join(',', map { "2026_Q$_" } @$quarters) . "}'" . join('', map { ", $_" } @more) . ')'; }

# ------- 1: an error is an error, and no more -------

# Each: what makes the merge of a quarter fail, once the exports are there; and what undoes it.
my $raise = q{CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.time_period = '2026_Q2' THEN
	RAISE EXCEPTION 'not this quarter' USING ERRCODE = 'check_violation'; END IF; RETURN NEW; END$$};
my %failures = (
	'a trigger' => [ "$raise; CREATE TRIGGER fail BEFORE INSERT ON clari_forecasts FOR EACH ROW EXECUTE FUNCTION fail()", qr/not this quarter/ ],
	'a check' => [ q{ALTER TABLE clari_forecasts ADD CHECK (time_period <> '2026_Q2')}, qr/violates check constraint/ ],
	'a deferred constraint' => [ "$raise; CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON clari_forecasts DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION fail()", qr/not this quarter/ ],
	'a name that is too long' => [ q{ALTER TABLE clari_forecasts ALTER owner_name TYPE varchar(3) USING left(owner_name, 3)}, qr/value too long/, 4 ]);
for my $what (sort keys %failures)
{
	my ($make, $message, $bad) = @{ $failures{$what} };
	subtest "$what fails a quarter" => sub {
		begin_with_new_tables();
		done($boss, $make);
		my $said = $session->query(sync([ 1 .. 4 ]));
		if ($bad)
		{
			like($said, qr/^ERROR:  HV000: could not sync 4 of 4 periods/m, 'or all of them');
		}
		else
		{
			like($said, qr/3 periods synced: 150 inserted, 0 updated/, 'the others are merged');
			like($said, qr/^ERROR:  HV000: could not sync 1 of 4 periods/m, 'the error comes at the end');
			is(row_counts(), 'Q1:50 Q3:50 Q4:50', 'and that is what is there');
			is($boss->query(q{SELECT string_agg(right(time_period, 2) || ':' || (error IS NULL) || (confirmed_at IS NOT NULL), ' ' ORDER BY time_period)
				FROM clari_syncs}), 'Q1:truetrue Q2:falsefalse Q3:truetrue Q4:truetrue', 'as clari_syncs tells');
		}
		like($said, $message, 'which tells why');
		done($session, 'CREATE TABLE kept (n int); INSERT INTO kept VALUES (1); BEGIN; INSERT INTO kept VALUES (2); COMMIT');
		is($boss->query('SELECT count(*) FROM kept'), 2, 'what the session writes next stays');
		$session->query("DO \$\$BEGIN BEGIN @{[ sync([ 2 ]) ]}; EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'caught'; END; INSERT INTO kept VALUES (3); END\$\$");
		$session->query("DO \$\$BEGIN @{[ sync([ 2 ]) ]}; END\$\$");
		done($session, 'INSERT INTO kept VALUES (4)');
		$session->query("BEGIN; SAVEPOINT s; @{[ sync([ 2 ]) ]}; ROLLBACK TO s; INSERT INTO kept VALUES (5); COMMIT");
		is($boss->query('SELECT string_agg(n::text, $$ $$ ORDER BY n) FROM kept'), $what =~ /deferred/ ? '1 2 4 5' : '1 2 3 4 5',
			'with a handler and without');    # in a block, what is deferred is for its commit
		done($session, 'DROP TABLE kept');
		done($boss, 'DROP TABLE clari_forecasts CASCADE; DROP FUNCTION IF EXISTS fail()');
	};
}

subtest 'a commit that fails' => sub {
	begin_with_new_tables();
	done($boss, q{CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN SET CONSTRAINTS ALL DEFERRED; RETURN NULL; END$$;
		CREATE FUNCTION never() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'not to be committed'; END$$;
		CREATE TABLE other (n int);
		CREATE CONSTRAINT TRIGGER never AFTER INSERT ON other DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION never();
		CREATE FUNCTION also() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN SET CONSTRAINTS ALL DEFERRED; INSERT INTO other VALUES (1); RETURN NULL; END$$;
		CREATE CONSTRAINT TRIGGER also AFTER INSERT ON clari_syncs DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION also()});
	my $said = $session->query(sync([ 1 ]));
	like($said, qr/^ERROR: [^\n]*(could not sync 1 of 1 period of|not to be committed)/m, 'is an error');
	unlike($said, qr/synced/, 'and no success is told');
	is(row_counts(), '', 'nothing is there');
	done($session, 'CREATE TABLE kept (n int)');
	done($session, 'DROP TABLE kept');
	done($boss, 'DROP TABLE clari_syncs, other CASCADE; DROP FUNCTION late(), never(), also()');
};

subtest 'lock_timeout and statement_timeout' => sub {
	begin_with_new_tables();
	done($boss, 'BEGIN; LOCK TABLE clari_forecasts');
	like($session->query("SET lock_timeout = '100ms'; " . sync([ 1 ])), qr/^ERROR:  55P03: /m, 'a lock that is not to be had ends the call');
	like($session->query("SET lock_timeout = 0; SET statement_timeout = '100ms'; " . sync([ 1 ])), qr/^ERROR:  57014: /m, 'so does the time');
	done($session, 'SET statement_timeout = 0; CREATE TABLE kept (n int); INSERT INTO kept VALUES (1); DROP TABLE kept');
	done($boss, 'COMMIT');
	like($session->query(sync([ 1 ])), qr/ 50 inserted/, 'and the next one works');
};

# ------- 2: staging_clari is the hands' own -------

subtest 'what others have staged' => sub {
	begin_with_new_tables();
	done($boss, q{CREATE ROLE stager LOGIN; GRANT INSERT ON staging_clari TO stager;
		INSERT INTO clari_forecasts (owner_email, time_period, forecast_name) SELECT 'o' || i, '2026_Q1', 'other' FROM generate_series(1, 99) AS i});
	my $stager = ClariSession->new($node, user => 'stager');
	done($stager, q{INSERT INTO staging_clari (owner_name, owner_email, time_period, exported_at, forecast_name) VALUES
		('planted', 'ada.lovelace.0@example.com', '2026_Q1', '2099-01-01', 'net_arr'), ('planted', 'o1', '2026_Q1', '2099-01-01', 'other')});
	like($session->query(sync([ 1 ], 'delete_missing => true')), qr/ 50 inserted, 0 updated, 0 unchanged, 0 deleted, 0 skipped/, 'is not merged');
	is($boss->query(q{SELECT count(*) FROM clari_forecasts WHERE forecast_name = 'other'}), 99, 'and nothing is deleted by it');
	is($boss->query(q{SELECT count(*) FROM clari_forecasts WHERE owner_name = 'planted'}), 0, 'none of it is there');
	is($boss->query('SELECT count(*) FROM staging_clari'), 2, 'and it stays');
	is_as_generated($node, '(SELECT * FROM clari_forecasts WHERE forecast_name = $$net_arr$$) AS t', 'forecasts', '2026_Q1');
};

# ------- 3: one source for a row -------

subtest 'another currency into the same rows' => sub {
	begin_with_new_tables();
	like($session->query(sync([ 1, 2 ])), qr/ 100 inserted/, 'the first source');
	my $posts = sim_posts();
	my $said = $session->query(q{CALL clari_sync('euros.forecasts', '{2026_Q2,2026_Q3}')});
	like($said, qr/^ERROR:  55000: cannot sync euros.forecasts into public.clari_forecasts/m, 'a second one is refused');
	like($said, qr/^DETAIL: [^\n]*2026_Q2[^\n]*EUR/m, 'which is told apart');
	like($said, qr/^HINT: [^\n]*"forecast_name"/m, 'with what to do');
	is(sim_posts(), $posts, 'before anything is exported');
	done($boss, q{ALTER FOREIGN TABLE euros.forecasts OPTIONS (ADD forecast_name 'net_arr_eur')});
	like($session->query(q{CALL clari_sync('euros.forecasts', '{2026_Q2,2026_Q3}', delete_missing => true)}), qr/ 100 inserted, 0 updated, 0 unchanged, 0 deleted/,
		'under a name of its own it has rows of its own');
	like($session->query(sync([ 1, 2 ], 'delete_missing => true')), qr/ 0 inserted, 0 updated, 100 unchanged, 0 deleted/, 'and leaves the others alone');
	done($boss, q{ALTER FOREIGN TABLE euros.forecasts OPTIONS (DROP forecast_name)});
};

subtest 'the option forecast_name' => sub {
	begin_with_new_tables();
	is($boss->query('SELECT DISTINCT forecast_name FROM mine.forecasts'), "Ärger's %s", 'is what the column shows');
	is($boss->query(q{SELECT count(*) FROM mine.forecasts WHERE forecast_name = 'net_arr'}), 0, 'and what conditions see');
	is($boss->query('SELECT count(*) FROM clari.forecasts'), 200, 'the tables share');
	is($boss->query('SELECT count(*) FROM clari_cache'), 4, 'their exports');
	like($session->query(q{CALL clari_sync('mine.forecasts')}), qr/ 200 inserted/, 'it is synced');
	like($session->query(q{CALL clari_sync('mine.forecasts', delete_missing => true)}), qr/ 200 unchanged, 0 deleted/, 'and synced again');
	is($boss->query('SELECT DISTINCT forecast_name FROM clari_syncs'), "Ärger's %s", 'under its name');
};

# ------- 4, 13: what is read is what was judged -------

subtest "a trigger's own query sees all weeks" => sub {
	begin_with_new_tables(weeks => 3);
	done($boss, q{CREATE TABLE seen (n bigint);
		CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO seen SELECT count(*) FROM weekly.forecasts; RETURN NULL; END$$;
		CREATE TRIGGER see AFTER INSERT ON clari_forecasts EXECUTE FUNCTION see();
		ALTER FOREIGN TABLE weekly.forecasts OPTIONS (SET closed_period_ttl '1d')});
	my $shown = $boss->query('SELECT count(*) FROM weekly.forecasts');
	like($session->query(q{CALL clari_sync('weekly.forecasts', max_age => '1d')}), qr/4 periods synced: 200 inserted, 0 updated, 0 unchanged, 0 deleted, 0 skipped/,
		'the latest week is merged');
	is($boss->query('SELECT * FROM seen'), $shown, 'and the trigger saw all of them');
	is($boss->query('SELECT count(*) FROM weekly.forecasts'), $shown, 'as do others');
	is_as_generated($node, 'clari_forecasts', 'forecasts', "2026_Q$_") for 1 .. 4;
	for my $setting (debug_parallel($node) . ' = on', 'parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0')
	{
		like($session->query("SET $setting; CALL clari_sync('weekly.forecasts', max_age => '1d')"),
			qr/ 0 inserted, 0 updated, 200 unchanged, 0 deleted, 0 skipped/, "with $setting, too");
	}
	done($boss, 'ALTER FOREIGN TABLE weekly.forecasts DROP COLUMN week_end');
	sim_reset();
	like($session->query(q{RESET ALL; CALL clari_sync('weekly.forecasts')}), qr/^ERROR:  42703: [^\n]*week_start.*^HINT:  ALTER FOREIGN TABLE weekly.forecasts ADD COLUMN/ms,
		'without the weeks it cannot be told, and the hint tells what can');
	is(sim_posts(), 0, 'before anything is exported');
	done($boss, 'DROP TABLE clari_forecasts, seen CASCADE; DROP FUNCTION see()');
};

# While the sync waits for the target: another session refreshes what it has judged, and gets something else.
for my $case ([ 'a truncated export', { rows_truncated => 1, owners => 10 } ], [ 'one of another quarter', { known_periods => ['2026_Q4'] } ], [ 'an empty one', { owners => 0 } ])
{
	my ($what, $settings) = @$case;
	subtest "$what comes between judgement and merge" => sub {
		begin_with_new_tables();
		done($session, q{CALL clari_sync('lenient.forecasts', '{2026_Q1}')});
		sim_set({ job_seconds => 'hold' }, period => '2026_Q1');
		$session->start(q{CALL clari_sync('lenient.forecasts', '{2026_Q1}', delete_missing => true)});
		wait_until('it waits for the export', sub { $boss->query('SELECT count(*) FROM clari_exports') eq '1' });
		done($boss, 'BEGIN; LOCK TABLE clari_forecasts IN SHARE MODE');
		sim_set({ job_seconds => 0 }, period => '2026_Q1');
		wait_until('it waits for the target', sub {
			sim_release();
			$boss->query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $session->{pid}") eq 'Lock';
		});
		sim_set($settings, period => '2026_Q1');
		my $other = ClariSession->new($node);
		$other->query(q{SELECT clari_refresh('lenient.forecasts', '{2026_Q1}')});
		my $posts = sim_posts();
		done($boss, 'COMMIT');
		like($session->finish, qr/1 period synced: 0 inserted, 0 updated, 50 unchanged, 0 deleted/, 'what was judged is merged');
		is(sim_posts(), $posts, 'and nothing exported under the lock');
		is(row_counts(), 'Q1:50', 'all rows are there');
	};
}

# ------- 6: what is known to fail fails before anything is exported -------

my %targets = (
	'rules' => [ 'CREATE RULE r AS ON INSERT TO clari_forecasts DO ALSO NOTHING', '0A000' ],
	'a generated column' => [ "ALTER TABLE clari_forecasts DROP crm_total, ADD crm_total numeric GENERATED ALWAYS AS (1) STORED", '428C9' ],
	'a column of a type without cast' => [ 'ALTER TABLE clari_forecasts DROP crm_total, ADD crm_total point', '42\w+' ],
	'another column that must not be null' => [ 'ALTER TABLE clari_forecasts ADD note text NOT NULL', '42P16' ],
	'another column of a domain that must not be null' => [ 'CREATE DOMAIN noted AS text NOT NULL; ALTER TABLE clari_forecasts ADD note noted', '42P16' ],
	'a publication without replica identity' => [ 'ALTER TABLE clari_forecasts DROP CONSTRAINT clari_forecasts_pkey;
		CREATE UNIQUE INDEX ON clari_forecasts (time_period, forecast_name, owner_email); CREATE PUBLICATION p FOR TABLE clari_forecasts', '55000' ],
	'row security' => [ 'ALTER TABLE clari_forecasts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; ALTER TABLE clari_forecasts OWNER TO owner;
		ALTER TABLE clari_syncs OWNER TO owner', '0A000' ]);
done($boss, q{CREATE ROLE owner LOGIN; CREATE USER MAPPING FOR owner SERVER clari OPTIONS (api_key 'test-key'); GRANT USAGE ON SCHEMA clari TO owner;
	GRANT SELECT ON clari.forecasts TO owner; GRANT EXECUTE ON PROCEDURE clari_sync TO owner});
for my $what (sort keys %targets)
{
	subtest "a target with $what" => sub {
		my ($make, $state) = @{ $targets{$what} };
		begin_with_new_tables();
		done($boss, $make);
		my $caller = ClariSession->new($node, user => $what eq 'row security' ? 'owner' : 'postgres');
		like($caller->query(sync([ 1 ], "target => 'clari_forecasts'")), qr/^ERROR:  $state: /m, 'is refused');
		like($caller->query('BEGIN; ' . sync([ 1 ], "target => 'clari_forecasts'") . '; COMMIT'), qr/^ERROR:  $state: /m, 'in a block, too');
		is(sim_posts(), 0, 'before anything is exported');
		done($boss, 'SET client_min_messages = warning; DROP TABLE clari_forecasts CASCADE; DROP PUBLICATION IF EXISTS p; DROP DOMAIN IF EXISTS noted');
	};
}

subtest 'a column that has a default, and collations that differ' => sub {
	begin_with_new_tables();
	done($boss, q{CREATE COLLATION other (PROVIDER = libc, LOCALE = 'C'); ALTER TABLE clari_forecasts ADD note text NOT NULL DEFAULT 'x',
		ADD line bigint GENERATED ALWAYS AS IDENTITY, ALTER owner_name TYPE text COLLATE other, ALTER owner_email TYPE text COLLATE "POSIX"});
	like($session->query(sync([ 1 ])), qr/ 50 inserted, 0 updated, 0 unchanged/, 'are nothing to refuse');
	like($session->query(sync([ 1 ])), qr/ 0 inserted, 0 updated, 50 unchanged/, 'and compare');
	done($boss, 'DROP TABLE clari_forecasts; DROP COLLATION other');
};

# ------- 7: counts -------

subtest 'a trigger that swallows rows' => sub {
	begin_with_new_tables();
	done($boss, q{CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN
		RETURN CASE WHEN NEW.owner_email ~ '[02468]@' THEN NEW END; END$$;
		CREATE TRIGGER swallow BEFORE INSERT ON clari_forecasts FOR EACH ROW EXECUTE FUNCTION swallow()});
	like($session->query(sync([ 1, 2 ])), qr/ 50 inserted, 0 updated, 0 unchanged, 0 deleted, 50 skipped/, 'inserts');
	done($boss, 'DROP TRIGGER swallow ON clari_forecasts');
	like($session->query(sync([ 1, 2 ])), qr/ 50 inserted, 0 updated, 50 unchanged, 0 deleted, 0 skipped/, 'then they come');
	done($boss, 'CREATE TRIGGER swallow BEFORE INSERT OR UPDATE ON clari_forecasts FOR EACH ROW EXECUTE FUNCTION swallow();
		UPDATE clari_forecasts SET crm_total = -1 WHERE owner_email ~ $$[02468]@$$; ALTER TABLE clari_forecasts DISABLE TRIGGER swallow;
		UPDATE clari_forecasts SET crm_total = -1; ALTER TABLE clari_forecasts ENABLE TRIGGER swallow');
	like($session->query(sync([ 1, 2 ])), qr/ 0 inserted, 50 updated, 0 unchanged, 0 deleted, 50 skipped/, 'updates');
	is($boss->query('SELECT string_agg(updated || $$ $$ || skipped, $$ $$) FROM clari_syncs'), '25 25 25 25', 'by quarter');
	done($boss, 'DROP TABLE clari_forecasts CASCADE; DROP FUNCTION swallow()');
};

subtest 'counts by quarter' => sub {
	begin_with_new_tables();
	done($session, sync([ 1, 2, 3 ]));
	done($boss, q{DELETE FROM clari_forecasts WHERE time_period = '2026_Q1' AND owner_email ~ '[0-4]@'; UPDATE clari_forecasts SET crm_total = -1
		WHERE time_period = '2026_Q2' AND owner_email ~ '7@'; DELETE FROM clari_forecasts WHERE time_period = '2026_Q2' AND owner_email ~ '8@'});
	like($session->query(sync([ 1 .. 4 ])), qr/ 80 inserted, 5 updated, 115 unchanged, 0 deleted, 0 skipped/, 'all');
	is($boss->query(q{SELECT string_agg(concat_ws(' ', right(time_period, 2), inserted, updated, unchanged, deleted, skipped), ', ' ORDER BY time_period)
		FROM clari_syncs}), 'Q1 25 0 25 0 0, Q2 5 5 40 0 0, Q3 0 0 50 0 0, Q4 50 0 0 0 0', 'and each');
	is($boss->query(q{SELECT bool_and(confirmed_at > now() - interval '1 minute' AND exported_at <= confirmed_at + interval '1 minute' AND job_id <> ''
		AND error IS NULL AND target = 'clari_forecasts'::regclass AND source LIKE 'server clari, forecast net_arr%') FROM clari_syncs}), 't', 'with the rest');
};

subtest 'an older export than the last' => sub {
	begin_with_new_tables();
	done($session, sync([ 1 ]));
	done($session, sync([ 1 ]));    # confirmed: nothing is written, and yet it is newer
	done($boss, q{UPDATE clari_syncs SET exported_at = now() + interval '1 hour'});
	sim_set({ version => 1 }, period => '2026_Q1');
	my $said = $session->query(sync([ 1 ]));
	like($said, qr/^NOTICE: [^\n]*period 2026_Q1: a newer export has already been merged/m, 'is told of');
	like($said, qr/0 periods synced: 0 inserted, 0 updated/, 'and not merged');
	done($boss, q{UPDATE clari_syncs SET exported_at = 'epoch'; UPDATE clari_forecasts SET exported_at = 'infinity' WHERE owner_email ~ '3@'});
	sim_set({ version => 2, owners => 49 }, period => '2026_Q1');
	like($session->query(sync([ 1 ], 'delete_missing => true')), qr/ 0 inserted, \d+ updated, \d+ unchanged, 1 deleted, \d+ skipped/, 'rows have ages, too');
	done($boss, q{UPDATE clari_forecasts SET exported_at = 'infinity', crm_total = -1});
	like($session->query(sync([ 1 ], 'delete_missing => true')), qr/ 0 inserted, 0 updated, 0 unchanged, 0 deleted, 49 skipped/, 'and what is newer stays');
	sim_set({ owners => 10 }, period => '2026_Q1');
	$session->query(sync([ 1 ], 'delete_missing => true', 'max_deleted => 1'));
	is(row_counts(), 'Q1:49', 'also where Clari has it no more');
};

# ------- the rest -------

subtest 'max_deleted' => sub {
	begin_with_new_tables();
	done($session, sync([ 1, 2 ]));
	sim_set({ owners => 20, version => 1 }, period => '2026_Q1');
	my $said = $session->query(sync([ 1, 2 ], 'delete_missing => true'));
	like($said, qr/2 periods synced: 0 inserted, \d+ updated, \d+ unchanged, 0 deleted/, 'inserts and updates stay');
	like($said, qr/^ERROR:  HV000: could not sync 1 of 2 periods.*^DETAIL:  Period 2026_Q1: 30 of its 50 rows are no longer at Clari/ms, 'nothing is deleted, and the quarter is bad');
	is(row_counts(), 'Q1:50 Q2:50', 'so it is');
	is($boss->query(q{SELECT exported_at > confirmed_at - interval '1 h' AND error ~ 'no longer at Clari' AND failed_at > confirmed_at FROM clari_syncs WHERE time_period = '2026_Q1'}),
		't', 'as clari_syncs tells');
	like($session->query('BEGIN; ' . sync([ 1 ], 'delete_missing => true') . '; COMMIT'), qr/^ERROR:  HV000/m, 'in a block, too');
	like($session->query(sync([ 1 ], 'delete_missing => true', 'max_deleted => 0.6')), qr/ 30 deleted/, 'unless so many are allowed');
	is($boss->query(q{SELECT count(*) FROM clari_syncs WHERE error IS NOT NULL}), 0, 'and then all is well');
	sim_set({ owners => 9 }, period => "2026_Q$_") for 1, 2;
	done($session, sync([ 1 ], 'delete_missing => true', 'max_deleted => 1'));
	sim_set({ owners => 1 }, period => '2026_Q1');
	like($session->query(sync([ 1 ], 'delete_missing => true')), qr/ 8 deleted/, 'nor counts it below ten rows');
	like($session->query(sync([ 1 ], "max_deleted => $_")), qr/^ERROR:  22\w{3}: /m, "a share of $_ is none") for -0.1, 1.1, "'nan'", 'NULL';
};

subtest 'types that are not exported' => sub {
	begin_with_new_tables();
	done($session, sync([ 1 ]));
	my $before = $boss->query(digest_of('clari_forecasts', 'quota_amount IS NOT NULL') =~ s/t::text/(owner_email, quota_amount, crm_closed)::text/gr);
	done($boss, q{DELETE FROM clari_syncs; UPDATE clari_forecasts SET forecast_amount = -1 WHERE owner_email ~ '5@'});
	like($session->query(q{CALL clari_sync('partly.forecasts', '{2026_Q1}')}), qr/ 0 inserted, 5 updated, 45 unchanged/, 'what was exported is merged');
	is($boss->query(digest_of('clari_forecasts', 'quota_amount IS NOT NULL') =~ s/t::text/(owner_email, quota_amount, crm_closed)::text/gr), $before, 'the rest stays as it is');
};

subtest 'max_age beyond all time' => sub {
	begin_with_new_tables();
	done($session, sync([ 1 ]));
	like($session->query("CALL clari_sync('clari.forecasts', '{2026_Q1}', max_age => '$_')"), qr/ 50 unchanged/, $_)
	  for '200000 years', '178000000 years', '2147483647 days', '9223372036854 s';
};

subtest 'tables of a group' => sub {
	begin_with_new_tables();
	done($boss, q{CREATE ROLE team; GRANT team TO owner; CREATE SCHEMA team AUTHORIZATION team; GRANT EXECUTE ON FUNCTION clari_merge TO owner;
		SET ROLE team; SET search_path = team, public; SELECT clari_create_tables(); RESET ROLE; RESET search_path});
	my $member = ClariSession->new($node, user => 'owner');
	done($member, 'SET search_path = team, public');
	like($member->query(sync([ 1 ])), qr/ 50 inserted/, 'are for its members to sync');
	is($member->query('SELECT * FROM clari_merge()'), '0|0|0|0|0', 'and to merge');
	done($boss, 'ALTER TABLE team.clari_syncs OWNER TO stager; GRANT ALL ON team.clari_syncs TO team');
	like($member->query(sync([ 1 ])), qr/^ERROR:  42501: table team.clari_syncs is not owned by/m, "a stranger's clari_syncs is not used");
};

subtest 'a temporary target, and first syncs at once' => sub {
	begin_with_new_tables();
	done($session, "CREATE TEMP TABLE passing ($ten, $primary)");
	like($session->query(sync([ 1 ], "target => 'passing'")), qr/ 50 inserted/, 'is synced');
	like($session->query(sync([ 1 ], "target => 'passing'")), qr/ 50 unchanged/, 'and again');
	is($session->query('SELECT count(*) FROM pg_temp.clari_syncs'), 1, 'beside it is its clari_syncs');
	done($boss, "DROP TABLE clari_syncs; CREATE TABLE one ($ten, $primary); CREATE TABLE two ($ten, $primary)");
	my @both = map { ClariSession->new($node) } 1, 2;
	my @targets = qw(one two);
	$both[$_]->start(sync([ 1 ], "target => '$targets[$_]'")) for 0, 1;
	like($_->finish, qr/ 50 inserted/, 'two that make the table at once') for @both;
	is($boss->query('SELECT count(*) FROM clari_syncs'), 2, 'share it');
	done($boss, 'DROP TABLE one, two');
};

# ------- what others do in the midst of it -------

subtest 'clari_syncs is dropped by a trigger of the target' => sub {
	begin_with_new_tables();
	done($boss, q{CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN DROP TABLE IF EXISTS public.clari_syncs; RETURN NULL; END';
		CREATE TRIGGER drops AFTER INSERT ON clari_forecasts EXECUTE FUNCTION drops()});
	my $said = $session->query(sync([ 1 ]));
	like($said, qr/^ERROR:  (?:HV000|55000|55006): /m, 'is an error');
	is($session->query('SELECT count(*) FROM clari_forecasts'), 0, 'nothing is merged');
	done($boss, 'DROP TRIGGER drops ON clari_forecasts; DROP FUNCTION drops()');
	like($session->query(sync([ 1 ])), qr/ 50 inserted/, 'and the server is well');
};

subtest 'the options of the foreign table are changed while a sync waits' => sub {
	begin_with_new_tables();
	done($session, sync([ 1 ]));
	sim_set({ job_seconds => 'hold' }, period => '2026_Q1');
	$session->start(sync([ 1 ], 'delete_missing => true'));
	wait_until('the job runs', sub { sim_seen('periods.2026_Q1.post') == 2 });
	done($boss, "ALTER FOREIGN TABLE clari.forecasts OPTIONS (ADD forecast_name 'renamed')");
	sim_release();
	like($session->finish, qr/^ERROR:  55000: options of foreign table clari.forecasts were changed/m, 'it is told so');
	is($boss->query("SELECT count(*) || ' ' || min(forecast_name) FROM clari_forecasts"), '50 net_arr', 'nothing is merged or deleted');
	done($boss, 'ALTER FOREIGN TABLE clari.forecasts OPTIONS (DROP forecast_name)');
};

subtest 'children of the foreign table' => sub {
	begin_with_new_tables();
	done($boss, "CREATE TABLE clari.planted () INHERITS (clari.forecasts);
		INSERT INTO clari.planted (owner_email, time_period, forecast_name, exported_at) VALUES ('x', '2026_Q1', 'net_arr', '2099-01-01')");
	like($session->query(sync([ 1 ])), qr/ 50 inserted/, 'are not merged');
	is(sim_posts(), 1, 'nor exported');
	done($boss, 'DROP TABLE clari.planted');
};

subtest 'a first sync that fails claims nothing' => sub {
	begin_with_new_tables();
	sim_fault({ status => 400, json => { code => 'bad_request', message => 'No.' } }, step => 'post', times => 1);
	like($session->query("CALL clari_sync('euros.forecasts', '{2026_Q1}')"), qr/^ERROR:  HV000: /m, 'one fails');
	like($session->query(sync([ 1 ])), qr/ 50 inserted/, 'that of another source does not');
	like($session->query("CALL clari_sync('euros.forecasts', '{2026_Q1}')"), qr/^ERROR:  55000: /m, 'now they are its');
	is($session->query('SELECT error FROM clari_syncs'), '', 'which the other does not spoil');
};

subtest 'rows that are newer than the export do not count as missing' => sub {
	begin_with_new_tables();
	done($session, sync([ 1 ]));
	done($boss, "UPDATE clari_forecasts SET owner_email = 'new ' || owner_email, exported_at = '2099-01-01' WHERE owner_email < (SELECT max(owner_email) FROM clari_forecasts)");
	like($session->query(sync([ 1 ], 'delete_missing => true')), qr/ 49 inserted, 0 updated, 1 unchanged, 0 deleted/, 'and stay');
};

subtest 'amounts that Clari does not export stay as they are' => sub {
	begin_with_new_tables();
	done($session, sync([ 1, 2 ]));
	my $kept = digest_of('(SELECT owner_email, time_period, crm_total, crm_closed FROM clari_forecasts)');
	my $before = $boss->query($kept);
	my %changed = (crm_exports => JSON::PP::false, version => 1);
	sim_set(\%changed);
	sim_set(\%changed, period => "2026_Q$_") for 1 .. 4;
	like($session->query(sync([ 1 ])), qr/WARNING:  01000: .*crm_total and crm_closed/, 'the warning');
	is($boss->query($kept), $before, 'the two columns are as they were');
	cmp_ok($boss->query("SELECT count(*) FROM clari_forecasts WHERE time_period = '2026_Q1' AND exported_at > (SELECT max(exported_at) FROM clari_forecasts WHERE time_period = '2026_Q2')"),
		'>', 0, 'the others are new');
};

subtest 'without a worker' => sub {
	begin_with_new_tables();
	$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
	$node->restart;
	$_ = ClariSession->new($node) for $boss, $session;
	my $begin = time;
	my $said = $session->query("SET statement_timeout = '60s'; " . sync([ 1 ]));
	like($said, qr/^ERROR:  53000: /m, 'a sync fails as a query does');
	cmp_ok(time - $begin, '<', 20, 'after ten seconds');
};

done_testing();
