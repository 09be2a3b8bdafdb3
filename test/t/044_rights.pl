# Nothing that another role made runs with the rights of who calls clari_merge or clari_sync.  sql/merge.sql has more of it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariSync;
use ClariTest;
use Test::More;

start_sim(job_seconds => 0, owners => 20, null_emails => 0, concurrent_limit => 100, monthly_quota => 100_000);
my $node = start_node('rights');
create_server($node);
import_tables($node, periods => '2026_Q1..2026_Q2', closed_period_ttl => '0');

# The attacker's traps count, past any rollback, how often they were sprung with the victim's rights.
sql(q{
	CREATE ROLE victim LOGIN;
	CREATE ROLE attacker LOGIN;
	CREATE USER MAPPING FOR victim SERVER clari OPTIONS (api_key 'test-key');
	GRANT USAGE ON SCHEMA clari TO victim;
	GRANT USAGE ON FOREIGN SERVER clari TO victim;
	GRANT SELECT ON clari.forecasts TO victim;
	GRANT EXECUTE ON FUNCTION clari_merge(regclass, regclass, boolean) TO victim;
	GRANT EXECUTE ON PROCEDURE clari_sync(regclass, text[], regclass, boolean, interval, float8) TO victim;
	CREATE SCHEMA mine AUTHORIZATION victim;
	CREATE SCHEMA trap AUTHORIZATION attacker;
	CREATE SCHEMA operators AUTHORIZATION attacker;
	CREATE SCHEMA casts AUTHORIZATION attacker;
	CREATE SCHEMA shared AUTHORIZATION attacker;
	GRANT USAGE ON SCHEMA trap, operators, casts TO PUBLIC;
	GRANT USAGE, CREATE ON SCHEMA shared TO victim;});
my $attacker = ClariSession->new($node, user => 'attacker');
my $victim = ClariSession->new($node, user => 'victim');
my $boss = ClariSession->new($node);

done($attacker, q{
	CREATE SEQUENCE trap.sprung;
	GRANT USAGE ON SEQUENCE trap.sprung TO PUBLIC;
	CREATE FUNCTION trap.spring() RETURNS integer LANGUAGE plpgsql AS $$
		BEGIN
			IF current_user OPERATOR(pg_catalog.<>) 'attacker'::pg_catalog.name THEN
				PERFORM pg_catalog.nextval('trap.sprung'::pg_catalog.regclass);
			END IF;
			RETURN 1;
		END $$;
	CREATE FUNCTION trap.spring_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN PERFORM trap.spring(); RETURN coalesce(NEW, OLD); END $$;});
$_->query('SET TimeZone = UTC; SET client_min_messages = notice') for $victim, $boss;

my $sprung = '1|f';

# Whether a trap was sprung since it was asked last.
sub is_sprung
{
	my $before = $sprung;
	$sprung = $boss->query('SELECT last_value, is_called FROM trap.sprung');
	return $sprung ne $before;
}

# The attacker's triggers, on each event of a table.
sub triggers_on
{
	my ($table) = @_;
	return "CREATE TRIGGER a BEFORE INSERT OR UPDATE OR DELETE ON $table FOR EACH ROW EXECUTE FUNCTION trap.spring_trigger();
		CREATE TRIGGER b BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON $table EXECUTE FUNCTION trap.spring_trigger();
		CREATE TRIGGER c AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON $table EXECUTE FUNCTION trap.spring_trigger();";
}

my $ten = 'owner_name text, owner_email text, forecast_amount numeric, quota_amount numeric, crm_total numeric,
	crm_closed numeric, adjustment_amount numeric, time_period text, exported_at timestamptz, forecast_name text';
my $primary = 'PRIMARY KEY (owner_email, time_period, forecast_name)';

done($victim, q{SET client_min_messages = warning; SET search_path = mine, public; SELECT clari_create_tables();
	SET client_min_messages = notice});

# Whatever the attacker did: the victim's calls work and spring nothing.
sub works_and_springs_nothing
{
	my ($path) = @_;
	is_sprung();
	$boss->query('SELECT clari_invalidate(); TRUNCATE mine.clari_forecasts');
	$victim->query("SET search_path = $path");
	like($victim->query(q{CALL public.clari_sync('clari.forecasts')}), qr/2 periods synced: 40 inserted, 0 updated/, 'a sync');
	like($victim->query(q{CALL public.clari_sync('clari.forecasts', '{2026_Q1}', 'mine.clari_forecasts', true)}),
		qr/1 period synced: 0 inserted, 0 updated, 20 unchanged/, 'a sync with all arguments');
	done($victim, q{INSERT INTO mine.staging_clari (owner_email, time_period, forecast_name, exported_at) VALUES ('new@x', '2026_Q2', 'net_arr', 'infinity')});
	is($victim->query('SELECT * FROM public.clari_merge(delete_missing => true)'), '1|0|0|20|0', 'a merge');
	is($victim->query(q{SELECT * FROM public.clari_merge('mine.clari_forecasts', 'mine.staging_clari', true)}), '0|0|1|0|0',
		'a merge with all arguments');
	done($victim, 'TRUNCATE mine.staging_clari');
	ok(!is_sprung(), 'no trap was sprung');
	return;
}

subtest 'operators, functions and types in the search_path' => sub {
	done($attacker, q{
		SET search_path = operators, pg_catalog;
		DO $$
		DECLARE
			type text;
			op text;
		BEGIN
			FOREACH type IN ARRAY '{text,varchar,oid,name,bool,int4,int8,numeric,timestamptz,interval,regclass,anyelement,anyarray}'::text[] LOOP
				EXECUTE format('CREATE FUNCTION compare(pg_catalog.%1$s, pg_catalog.%1$s) RETURNS boolean LANGUAGE sql AS '
					'''SELECT trap.spring() OPERATOR(pg_catalog.=) 1''', type);
				FOREACH op IN ARRAY '{=,<>,<,<=,>,>=,~~}'::text[] LOOP
					EXECUTE format('CREATE OPERATOR %1$s (FUNCTION = compare, LEFTARG = pg_catalog.%2$s,
						RIGHTARG = pg_catalog.%2$s)', op, type);
				END LOOP;
			END LOOP;
		END $$;
		CREATE FUNCTION concat(pg_catalog.text, pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS
			'SELECT CASE WHEN trap.spring() OPERATOR(pg_catalog.=) 1 THEN $1 END';
		CREATE OPERATOR || (FUNCTION = concat, LEFTARG = pg_catalog.text, RIGHTARG = pg_catalog.text);
		CREATE FUNCTION minus(pg_catalog.int8, pg_catalog.int8) RETURNS pg_catalog.int8 LANGUAGE sql AS
			'SELECT trap.spring()::pg_catalog.int8';
		CREATE OPERATOR - (FUNCTION = minus, LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int8);
		CREATE OPERATOR + (FUNCTION = minus, LEFTARG = pg_catalog.int8, RIGHTARG = pg_catalog.int8);
		CREATE FUNCTION count() RETURNS bigint LANGUAGE sql AS 'SELECT trap.spring()::pg_catalog.int8';
		CREATE FUNCTION now() RETURNS pg_catalog.timestamptz LANGUAGE sql AS
			'SELECT pg_catalog.to_timestamp(trap.spring()::pg_catalog.float8)';
		CREATE FUNCTION format(pg_catalog.text, VARIADIC pg_catalog.text[]) RETURNS pg_catalog.text LANGUAGE sql AS
			'SELECT CASE WHEN trap.spring() OPERATOR(pg_catalog.=) 1 THEN $1 END';
		CREATE FUNCTION quote_ident(pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS
			'SELECT CASE WHEN trap.spring() OPERATOR(pg_catalog.=) 1 THEN $1 END';
		CREATE DOMAIN text AS pg_catalog.text CHECK (trap.spring() OPERATOR(pg_catalog.=) 1);
		CREATE DOMAIN name AS pg_catalog.name CHECK (trap.spring() OPERATOR(pg_catalog.=) 1);
		CREATE DOMAIN regclass AS pg_catalog.regclass CHECK (trap.spring() OPERATOR(pg_catalog.=) 1);
		CREATE DOMAIN timestamptz AS pg_catalog.timestamptz CHECK (trap.spring() OPERATOR(pg_catalog.=) 1);
		CREATE DOMAIN "interval" AS pg_catalog.interval CHECK (trap.spring() OPERATOR(pg_catalog.=) 1);});
	done($victim, q{SET search_path = operators, pg_catalog; SELECT 'a'::pg_catalog.text = 'b'::pg_catalog.text});
	ok(is_sprung(), 'the traps work');
	works_and_springs_nothing('operators, mine, public, pg_catalog');
};

subtest 'casts' => sub {
	# Who owns one of the two types may make a cast, and it needs no search_path; functions and operators that take
	# what it makes are in the path.
	done($attacker, q{
		SET search_path = casts;
		CREATE TYPE lure AS (bait integer);
		CREATE FUNCTION take(lure) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
		CREATE FUNCTION compare(lure, lure) RETURNS boolean LANGUAGE sql AS 'SELECT trap.spring() = 1';
		CREATE FUNCTION minus(lure, lure) RETURNS bigint LANGUAGE sql AS 'SELECT trap.spring()::bigint';
		CREATE FUNCTION count(lure) RETURNS bigint LANGUAGE sql AS 'SELECT trap.spring()::bigint';
		CREATE FUNCTION format(lure, lure) RETURNS text LANGUAGE sql AS 'SELECT trap.spring()::text';
		CREATE FUNCTION quote_ident(lure) RETURNS text LANGUAGE sql AS 'SELECT trap.spring()::text';
		CREATE FUNCTION to_regclass(lure) RETURNS regclass LANGUAGE sql AS 'SELECT trap.spring()::regclass';
		DO $$
		DECLARE
			type text;
			op text;
		BEGIN
			FOREACH op IN ARRAY '{=,<>,<,<=,>,>=}'::text[] LOOP
				EXECUTE format('CREATE OPERATOR %s (FUNCTION = compare, LEFTARG = lure, RIGHTARG = lure)', op);
			END LOOP;
			CREATE OPERATOR - (FUNCTION = minus, LEFTARG = lure, RIGHTARG = lure);
			FOREACH type IN ARRAY '{text,varchar,name,oid,regclass,bool,int2,int4,int8,numeric,timestamptz,interval,text[],"\"char\""}'::text[] LOOP
				EXECUTE format('CREATE FUNCTION cast_to(%s) RETURNS lure LANGUAGE sql AS ''SELECT ROW(trap.spring())::casts.lure''', type);
				EXECUTE format('CREATE CAST (%1$s AS lure) WITH FUNCTION cast_to(%1$s) AS IMPLICIT', type);
				EXECUTE format('CREATE FUNCTION cast_from_%s(lure) RETURNS %s LANGUAGE sql AS ''SELECT NULLIF(trap.spring(), 1)::text::%2$s''',
					md5(type), type);
				EXECUTE format('CREATE CAST (lure AS %s) WITH FUNCTION cast_from_%s(lure) AS IMPLICIT', type, md5(type));
			END LOOP;
		END $$;});
	done($victim, q{SET search_path = casts; SELECT take('a'::text)});
	ok(is_sprung(), 'the traps work');
	works_and_springs_nothing('casts, mine, public, pg_catalog');
};

subtest 'tables of another role with the default names in the search_path' => sub {
	done($attacker, "
		CREATE TABLE trap.clari_forecasts ($ten, $primary);
		CREATE TABLE trap.staging_clari ($ten);
		INSERT INTO trap.staging_clari (owner_email, time_period, forecast_name) VALUES ('bait\@x', '2026_Q1', 'net_arr');
		INSERT INTO trap.clari_forecasts (owner_email, time_period, forecast_name) VALUES ('bait\@x', '2026_Q1', 'net_arr');
		GRANT ALL ON trap.clari_forecasts, trap.staging_clari TO PUBLIC;"
		  . triggers_on('trap.clari_forecasts') . triggers_on('trap.staging_clari'));
	$victim->query('SET search_path = trap, mine, public');
	$boss->query('SET search_path = trap, public');
	$boss->query("SELECT clari_invalidate()");
	sim_reset();
	for my $session ($victim, $boss)
	{
		my $who = $session->query('SELECT current_user');
		like($session->query($_), qr/^ERROR:  42501: table "\w+" is not owned by "$who"/m, "$who: $_")
		  for q{CALL clari_sync('clari.forecasts')}, q{SELECT clari_merge()}, q{SELECT clari_merge(delete_missing => true)}, q{SELECT clari_merge(target => 'mine.clari_forecasts')},
		  q{SELECT clari_merge(source => 'mine.staging_clari')};
	}
	is(sim_posts(), 0, 'before anything is exported');
	like($victim->query('SELECT clari_create_tables()'), qr/^ERROR:  42501: permission denied for schema trap/m,
		'clari_create_tables does not take them over');
	ok(!is_sprung(), 'no trap was sprung');
	done($victim, "SELECT clari_merge('trap.clari_forecasts', 'trap.staging_clari', true)");
	ok(is_sprung(), 'who names them means them: the traps work');
	$boss->query('SET search_path = public');
	$attacker->query('DROP TABLE trap.clari_forecasts, trap.staging_clari');
};

subtest 'views and foreign tables in their place' => sub {
	done($attacker, "CREATE VIEW trap.staging_clari AS SELECT NULL::text AS owner_name, 'a'::text AS owner_email, trap.spring()::numeric
			AS forecast_amount, NULL::numeric AS quota_amount, NULL::numeric AS crm_total, NULL::numeric AS crm_closed,
			NULL::numeric AS adjustment_amount, '2026_Q1'::text AS time_period, now() AS exported_at, 'net_arr'::text AS forecast_name;
		CREATE TRIGGER a INSTEAD OF INSERT ON trap.staging_clari FOR EACH ROW EXECUTE FUNCTION trap.spring_trigger();
		GRANT ALL ON trap.staging_clari TO PUBLIC");
	$victim->query('SET search_path = trap, mine, public');
	like($victim->query($_), qr/^ERROR:  42501: table "staging_clari" is not owned by/m, $_)
	  for q{SELECT clari_merge()};
	like($victim->query(q{CALL clari_sync('clari.forecasts')}), qr/ synced: /, 'a sync does not care');
	ok(!is_sprung(), 'no trap was sprung');
	$attacker->query('DROP VIEW trap.staging_clari');
};

subtest 'what another role has put beside a history' => sub {
	$boss->query('SET search_path = public');
	done($boss, "CREATE TABLE shared.told ($ten, $primary)");
	my %traps = (
		'function shared.told_as_of' => "CREATE FUNCTION shared.told_as_of(at timestamptz) RETURNS TABLE ($ten) LANGUAGE sql AS 'SELECT * FROM shared.told'",
		'view shared.told_changes' => 'CREATE VIEW shared.told_changes AS SELECT changed_at, kind, owner_name, owner_email, time_period, forecast_name,
			old_forecast_amount, new_forecast_amount, forecast_difference, old_quota_amount, new_quota_amount, old_crm_total, new_crm_total,
			old_crm_closed, new_crm_closed, old_adjustment_amount, new_adjustment_amount, exported_at FROM shared.model_changes');
	done($boss, "GRANT SELECT ON shared.told TO attacker; CREATE TABLE shared.model ($ten, $primary); SELECT clari_track_history('shared.model');
		GRANT SELECT ON shared.model_changes TO attacker");
	for my $trap (sort keys %traps)
	{
		my ($kind, $name) = split / /, $trap;
		my $signature = $kind eq 'view' ? $name : "$name(timestamptz)";
		done($attacker, $traps{$trap});
		like($boss->query(q{SELECT clari_track_history('shared.told')}),
			qr/^ERROR:  42501: \Q$trap\E is not owned by "\w+", nor by the owner of shared.told\nDETAIL:  It is owned by "attacker"/m,
			"not even a superuser makes the $kind of his own, which stays the other's");
		is($boss->query(q{SELECT to_regclass('shared.told_history') IS NULL}), 't', '… and nothing is made');
		done($attacker, "DROP $kind $signature");
	}
	done($boss, q{SELECT clari_track_history('shared.told'); SELECT clari_track_history('shared.told')});
	done($boss, 'DROP TABLE shared.told, shared.model, shared.told_history, shared.model_history CASCADE');
};

# Whoever owns a schema may drop what is in it, whosever it is, and put something of his own in its place: each of these
# is done while a sync waits.
my $trapped = "CREATE TABLE %1\$s ($ten, $primary); GRANT ALL ON %1\$s TO PUBLIC;" . triggers_on('%1$s');
my %swaps = (
	'the target' => sprintf("DROP TABLE shared.clari_forecasts; $trapped", 'shared.clari_forecasts'),
	'clari_syncs' => 'DROP TABLE shared.clari_syncs; CREATE TABLE shared.clari_syncs (LIKE mine.clari_syncs INCLUDING ALL);
		GRANT ALL ON shared.clari_syncs TO PUBLIC;' . triggers_on('shared.clari_syncs'),
	'the foreign table' => 'DROP FOREIGN TABLE shared.forecasts; CREATE VIEW shared.forecasts AS SELECT NULL::text AS owner_name,
		n::text AS owner_email, trap.spring()::numeric AS forecast_amount, NULL::numeric AS quota_amount,
		NULL::numeric AS crm_total, NULL::numeric AS crm_closed, NULL::numeric AS adjustment_amount,
		q::text AS time_period, now() AS exported_at, \'net_arr\'::text AS forecast_name
		FROM generate_series(1, 20) AS n, unnest(\'{2026_Q1,2026_Q2}\'::text[]) AS q; GRANT ALL ON shared.forecasts TO PUBLIC');
for my $what (sort keys %swaps)
{
	subtest "$what is replaced while a sync waits" => sub {
		start_over($node, job_seconds => 'hold');
		$victim->query('SET client_min_messages = warning; SET search_path = shared, public; DROP TABLE IF EXISTS clari_forecasts, staging_clari,
			clari_syncs; DROP FOREIGN TABLE IF EXISTS forecasts');
		done($victim, "SELECT clari_create_tables(); IMPORT FOREIGN SCHEMA net_arr LIMIT TO (forecasts) FROM SERVER clari INTO shared
			OPTIONS (periods '2026_Q1..2026_Q2'); SET client_min_messages = notice");
		done($victim, 'GRANT SELECT ON mine.clari_syncs TO attacker; GRANT USAGE ON SCHEMA mine TO attacker');
		like($victim->query(q{CALL clari_sync('shared.forecasts')}), qr/^ERROR:  42501: the schema of table "clari_forecasts" is not owned by/m,
			"a stranger's schema is refused, unless it is named");
		$victim->start(q{CALL clari_sync('shared.forecasts', target => 'shared.clari_forecasts')});
		wait_until('it waits', sub { $boss->query('SELECT min(waiters) FROM clari_exports') eq '1' });
		done($attacker, $swaps{$what});
		wait_until('it goes on', sub { sim_release(); $victim->is_finished });
		like($victim->finish, qr/^ERROR:  (?!XX)/m, 'the sync fails');
		ok(!is_sprung(), 'no trap was sprung');
		done($attacker, 'DROP TABLE IF EXISTS shared.clari_forecasts, shared.staging_clari, shared.clari_syncs; DROP ' .
			($what =~ /foreign/ ? 'VIEW' : 'FOREIGN TABLE') . ' shared.forecasts');
		sim_set({ job_seconds => 0 });
	};
}

# Neither locks nor ownership of a table keep its schema's owner from renaming that.
my $swap = 'ALTER SCHEMA shared RENAME TO away; CREATE SCHEMA shared; GRANT USAGE ON SCHEMA shared TO PUBLIC;'
  . sprintf($trapped, 'shared.clari_forecasts');
done($boss, 'GRANT CREATE ON DATABASE postgres TO attacker');

subtest 'a schema is renamed while a sync waits' => sub {
	start_over($node, job_seconds => 'hold');
	done($victim, 'SET search_path = shared, public; SELECT clari_create_tables()');
	$victim->start(q{CALL clari_sync('clari.forecasts', target => 'shared.clari_forecasts')});
	wait_until('it waits', sub { $boss->query('SELECT min(waiters) FROM clari_exports') eq '1' });
	done($attacker, $swap);
	wait_until('it goes on', sub { sim_release(); $victim->is_finished });
	like($victim->finish, qr/^ERROR:  55000: table shared.clari_forecasts was replaced during the call/m, 'the sync fails');
	ok(!is_sprung(), 'no trap was sprung');
	done($attacker, 'DROP TABLE shared.clari_forecasts; DROP SCHEMA shared; ALTER SCHEMA away RENAME TO shared');
	sim_set({ job_seconds => 0 });
};

subtest 'a schema is renamed between two statements of a merge' => sub {
	done($victim, 'INSERT INTO shared.clari_forecasts SELECT * FROM clari.forecasts; CREATE VIEW mine.slow AS SELECT s.* FROM shared.clari_forecasts AS s, (SELECT pg_sleep(2) OFFSET 0) AS p');
	$victim->start(q{SELECT clari_merge('shared.clari_forecasts', 'mine.slow')});
	wait_until('it is busy', sub { $boss->query("SELECT wait_event FROM pg_stat_activity WHERE pid = $victim->{pid}") eq 'PgSleep' });
	done($attacker, $swap);
	like($victim->finish, qr/^ERROR:  55000: table shared.clari_forecasts was replaced during the call/m, 'the merge fails');
	ok(!is_sprung(), 'no trap was sprung');
};

subtest "functions beside the extension's own" => sub {
	$boss->query('GRANT CREATE ON SCHEMA public TO attacker');
	done($attacker, q{
		CREATE FUNCTION public.count(text) RETURNS bigint LANGUAGE sql AS 'SELECT trap.spring()::bigint';
		CREATE FUNCTION public.hash_record_extended(record, integer) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RETURN trap.spring(); END $$;});
	works_and_springs_nothing('mine, public');
};

done_testing();
