# Conditions hold as they do on a heap: on texts, whichever way they are tested; on rows that change under a statement and
# are checked again; under every plan.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariHeap;
use ClariSession;
use ClariTest;
use Test::More;

my $node = start_heap_node('conditions');

sub in_remote { my ($query) = @_; return rows_in($node, 'remote', $query); }
sub as_heap { my ($query, @settings) = @_; return same_rows($node, 'remote', 'heap', $query, '', @settings); }

subtest 'conditions on texts' => sub {
	my $icu = sql(q{SELECT count(*) > 0 FROM pg_collation WHERE collprovider = 'i'}) eq 't';
	sql(q{CREATE COLLATION public.ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)}) if $icu;
	my $loose = $icu ? 'text COLLATE public.ci' : 'text';
	sql(qq{CREATE DOMAIN public.mail AS varchar CHECK (VALUE LIKE '%\@%');
		CREATE FOREIGN TABLE remote.typed (owner_name char(40), owner_email mail, team varchar(30)
			OPTIONS (key 'role'), field_id name, field_type $loose,
			user_id text COLLATE "C", forecast_value text, currency text, time_period text) SERVER clari
			OPTIONS (object 'entries', forecast 'net_arr', periods '2026_Q1..2026_Q2', currency 'EUR');
		CREATE TABLE heap.typed AS TABLE remote.typed});
	my %clauses = (
		'entries forecasts typed' => [
			q{owner_email = 'ada.lovelace.0@example.com'}, q{owner_email = NULL}, q{owner_email IS NULL}, q{owner_email IS NOT NULL}, q{owner_email <> 'x'},
			q{owner_email IN ('ada.lovelace.0@example.com', 'nobody', NULL)}, q{owner_email NOT IN ('ada.lovelace.0@example.com', 'nobody')},
			q{owner_email NOT IN ('a', NULL)}, q{owner_email IS DISTINCT FROM 'ada.lovelace.0@example.com'}, q{owner_email = ANY ('{}')},
			q{owner_email LIKE 'z%'}, q{owner_email NOT LIKE '%a%'}, q{owner_email ILIKE '%ADA%'}, q{owner_email ~ '^[a-f].*[0-4]@'}, q{owner_email !~ '[a-m]'},
			q{owner_name = ''}, q{owner_name LIKE ''}, q{owner_name < 'M'}, q{owner_name COLLATE "C" >= 'N'}, q{owner_name BETWEEN 'B'
				AND 'K'},
			q{lower(owner_name) LIKE '%ö%'}, q{length(owner_name) = 12}, q{owner_name LIKE E'%\n%'}, q{owner_name = E'Back\\\\slash'}, q{owner_name = '\N'},
			q{(owner_name, owner_email) < ('M', 'm')}, q{owner_name > owner_email}, q{owner_email || owner_name LIKE '%example.comI%'},
			q{owner_email = 'a' OR owner_name LIKE 'A%'}, q{owner_email < 'c' AND owner_name > 'B'
				AND time_period = '2026_Q1'}, q{owner_email < 'c' OR time_period = '2026_Q1'},
			q{NOT (owner_email < 'c' AND time_period = '2026_Q1')}, q{coalesce(owner_email, 'none') = 'none'}, q{(owner_email < 'c') IS NOT TRUE},
			q{CASE WHEN owner_email < 'c' THEN owner_name > 'B' ELSE owner_name < 'B'
				END}, q{starts_with(owner_email, 's')}, q{md5(owner_email) < '4'},
			q{owner_email > (SELECT min(email) FROM users)}, q{owner_email IN (SELECT email FROM users WHERE hierarchy_id = 'h2')},
			q{owner_email = current_setting('application_name')}, q{owner_name SIMILAR TO '(Ada|Ola)%'}, q{owner_email::text COLLATE "C" < 'c'}, q{owner_email < 'c' AND random() >= 0}],
		'entries typed' => [
			q{field_type = 'QUOTA'}, q{field_type = 'quota'}, q{field_id LIKE '%quota%'
				AND owner_email < 'd'}, q{field_id IN ('quota', 'none')}, q{user_id > 'c'}, q{user_id <= 'c'},
			q{user_id LIKE '%7'}, q{currency IS NULL}, q{currency = 'EUR'}, q{currency <> 'EUR'}, q{field_id = field_type COLLATE "C"}, q{field_type > 'FORECAST' COLLATE "C"}],
		typed => [
			q{owner_name = 'Ada Lovelace'}, q{owner_name = 'Ada Lovelace   '}, q{owner_name = 'Ada Lovelace'::text}, q{team = 'West'}, q{team = 'Commercial'}, q{team LIKE 'Com%'},
			q{length(team) = 4}, q{forecast_value = '0.10'}, q{forecast_value < '5'}, q{forecast_value::numeric < 5}, q{field_type LIKE 'Q%' COLLATE "C"}],
		users => [ q{crm_id > '0055e0'}, q{parent_hierarchy_name IS NULL}, q{parent_hierarchy_name = 'World'
			AND hierarchy_name <> 'APAC'}, q{email < name}, q{scope_id LIKE '%::REP'}],
		entries => [ q{role = 'West' AND is_updated}, q{role = 'West' OR is_updated IS NULL}, q{updated_by = user_id}, q{updated_by IS NULL AND field_type = 'FORECAST'},
			q{week_start > '2026-01-01' AND role <> 'West'}, q{forecast_value > 0
				AND field_name = 'Quota'}, q{field_name IN (role, 'Quota')}]);
	for my $tables (sort keys %clauses)
	{
		for my $table (split ' ', $tables)
		{
			my $queries = join('; ', map { digest_of($table, $_) } @{ $clauses{$tables} });
			my @expected = split /\n/, rows_in($node, 'heap', $queries);
			my @got = split /\n/, in_remote($queries);
			is($got[$_], $expected[$_], "$table: $clauses{$tables}[$_]") for 0 .. $#expected;
		}
	}
	# Given by an execution: constants, parameters, outer rows.
	as_heap($_, @joins, $rescanning) for (
		map({ my $mode = $_; qq{SET plan_cache_mode = $mode; PREPARE p(text, text[]) AS SELECT count(*), min(owner_email) FROM entries
			WHERE owner_email >= \$1 AND
			field_id = ANY (\$2) AND role <> \$1; EXECUTE p('m', '{quota,x}'); EXECUTE p(NULL, '{quota}'); EXECUTE p('', NULL);
				EXECUTE p('', '{NULL,quota}')} }
			qw(force_generic_plan force_custom_plan)),
		q{SELECT u.email, (SELECT count(*) FROM entries e WHERE e.owner_email = u.email AND e.field_type <> u.crm_id) FROM users u
			WHERE time_period = '2026_Q1' ORDER BY 1, 2},
		q{SELECT i, count(*) FROM generate_series(1, 4) i JOIN entries ON owner_name LIKE chr(64 + i) || '%'
			AND time_period = '2026_Q' || i GROUP BY 1 ORDER BY 1},
		q{SELECT count(*) FROM entries a JOIN entries b ON (a.user_id, a.time_period) = (b.user_id, b.time_period)
			AND a.field_type < b.field_type WHERE a.role = b.role});
	# A text that no row left over has is asked nothing: its error would be none of the heap's.
	as_heap($_) for (
		q{SELECT count(*) FROM entries WHERE field_type = 'QUOTA' AND 1 / (length(field_id) - 16) > -1},
		q{SELECT count(*) FROM entries WHERE time_period = '2026_Q1' AND forecast_value IS NULL AND quota_value IS NULL
			AND field_type = 'QUOTA' AND 1 / (length(field_id) - 16) > -1},
		q{SELECT count(*) FROM entries WHERE field_type IN ('QUOTA', 'NONE') AND CASE
			WHEN field_type = 'QUOTA' THEN true ELSE 1 / length(left(field_type, 0)) > 0 END});
	# What has side effects has as many as the heap's: a row each.
	as_heap(q{CREATE TEMP SEQUENCE s; SELECT count(*) FROM entries WHERE nextval('s') > 0; SELECT last_value FROM s});
};

subtest 'all switches of the planner' => sub {
	my @queries = (
		qq{SELECT f.time_period, count(*), sum(forecast_value) FROM forecasts f JOIN entries e USING (time_period, owner_email)
			JOIN users u ON
			u.email = f.owner_email AND u.time_period = f.time_period JOIN quarters ON q = f.time_period WHERE forecast_amount > 0
				GROUP BY 1 ORDER BY 1},
		q{SELECT DISTINCT time_period, field_id FROM entries WHERE owner_email < 'f' AND field_type = 'QUOTA' OR owner_email > 's'
			ORDER BY 1, 2},
		q{SELECT time_period, field_id, count(*), sum(forecast_value) FROM entries GROUP BY ROLLUP (1, 2) ORDER BY 1, 2},
		q{SELECT owner_email, sum(forecast_amount) OVER (PARTITION BY time_period
			ORDER BY owner_email, owner_name COLLATE "C" ROWS 2 PRECEDING) FROM forecasts
			WHERE time_period <> '2026_Q2' AND owner_name <> '' AND owner_email IS NOT NULL ORDER BY 1, 2 LIMIT 40});
	my @switches = grep { $_ ne 'enable_seqscan' } split /\n/, sql(q{SELECT name FROM pg_settings WHERE name LIKE 'enable\_%' ORDER BY 1});
	my @settings = map { my $switch = $_; 'SET ' . join('; SET ', map { "$_ = " . (/partitionwise/ ? 'on' : 'off') } @$switch) }
		[qw(enable_hashjoin enable_mergejoin enable_material)], [qw(enable_hashjoin enable_nestloop enable_sort)],
		[qw(enable_hashagg enable_incremental_sort enable_memoize)], [@switches],
		[grep { /join|agg|sort/ } @switches], [grep { !/join|agg/ } @switches];
	as_heap($_, @settings, $jit =~ s/-1/0/gr, "$jit; SET work_mem = 64; SET enable_hashjoin = off", 'SET clari_fdw.enable_pruning = off',
		"SET clari_fdw.enable_pruning = off; $rescanning", 'SET geqo_threshold = 2', 'SET from_collapse_limit = 1;
			SET join_collapse_limit = 1',
		'SET cursor_tuple_fraction = 0.001', 'SET default_statistics_target = 1; SET plan_cache_mode = force_generic_plan') for @queries;
};

subtest 'rows that change under a statement' => sub {
	sql(q{CREATE TABLE template (id int PRIMARY KEY, email text, quarter text, amount numeric, note text DEFAULT '');
		INSERT INTO template SELECT row_number() OVER (ORDER BY time_period, owner_email), owner_email, time_period, -1e40
			FROM heap.forecasts
			WHERE owner_email IS NOT NULL AND forecast_amount IS NOT NULL AND time_period < '2026_Q3' AND owner_email < 'b'});
	my $mail = sql('SELECT email FROM template WHERE id = 1');
	sql(q{CREATE TABLE heap.parted AS SELECT owner_email, time_period FROM heap.forecasts;
		CREATE TABLE remote.parted (owner_email text, time_period text) PARTITION BY LIST (time_period);
		CREATE TABLE remote.parted_4 PARTITION OF remote.parted DEFAULT});
	sql(qq{CREATE FOREIGN TABLE remote.parted_$_ PARTITION OF remote.parted FOR VALUES IN ('2026_Q$_')
		SERVER clari OPTIONS (forecast 'net_arr', periods '2026_Q$_')}) for 1 .. 3;
	sql(q{INSERT INTO remote.parted SELECT * FROM heap.parted WHERE time_period = '2026_Q4'});
	cmp_ok(sql('SELECT count(*) FROM template'), '>', 8, 'there are rows to change');
	# Each row in its own way.
	my $changes = q{UPDATE target SET note = 'unrelated' WHERE id = 1;
		UPDATE target SET quarter = '2026_Q2' WHERE id = 2; UPDATE target SET quarter = '2026_Q4' WHERE id = 3; UPDATE target
			SET quarter = NULL WHERE id = 4;
		UPDATE target SET quarter = '2030_Q1' WHERE id = 5; UPDATE target SET email = 'nobody' WHERE id = 6; UPDATE target
			SET amount = 1e60 WHERE id = 7;
		DELETE FROM target WHERE id = 8; UPDATE target SET quarter = quarter, email = email WHERE id = 9};
	my $matches = 'f.time_period = t.quarter AND f.owner_email = t.email';
	my %statements = (
		'UPDATE' => qq{UPDATE target t SET amount = f.forecast_amount, note = note || '!' FROM forecasts f WHERE $matches
			AND f.forecast_amount > t.amount
			RETURNING t.id, t.quarter, f.time_period, f.owner_email, f.forecast_amount, t.note},
		'UPDATE by constants' => qq{UPDATE target t SET note = note || '!' FROM forecasts f WHERE f.time_period = '2026_Q1'
			AND f.owner_email = '$mail'
			AND $matches RETURNING t.id, f.time_period, t.note},
		'UPDATE by ranges' => q{UPDATE target t SET note = note || '!' FROM forecasts f WHERE f.time_period <= t.quarter
			AND f.time_period >= t.quarter AND
			f.owner_email LIKE t.email || '%' RETURNING t.id, f.time_period, t.note},
		'DELETE' => qq{DELETE FROM target t USING forecasts f WHERE $matches RETURNING t.id, f.owner_email},
		'FOR UPDATE of an outer join' => qq{SELECT t.id, t.quarter, f.time_period, f.owner_email, t.note FROM target t LEFT
			JOIN forecasts f ON $matches FOR UPDATE OF t},
		'FOR UPDATE of both' => qq{SELECT t.id, t.quarter, f.time_period, f.owner_email, t.note FROM target t JOIN forecasts f ON $matches
			FOR UPDATE},
		'FOR SHARE with three tables' => qq{SELECT t.id, f.time_period, u.name FROM target t JOIN forecasts f ON $matches JOIN users u
			ON u.email = f.owner_email
			AND u.time_period = t.quarter FOR SHARE OF t},
		'FOR UPDATE with LATERAL' => q{SELECT t.id, t.quarter, s.* FROM target t, LATERAL (SELECT time_period, owner_email
			FROM forecasts f WHERE f.time_period = t.quarter
			AND f.owner_email = t.email OFFSET 0) s FOR UPDATE OF t},
		'a correlated subquery' => qq{UPDATE target t SET amount = (SELECT sum(forecast_amount) FROM forecasts f
			WHERE f.time_period = t.quarter), note = note || '!'
			RETURNING t.id, t.quarter, t.amount, t.note},
		'EXISTS' => qq{UPDATE target t SET note = note || '!' WHERE EXISTS (SELECT FROM forecasts f WHERE $matches)
			RETURNING t.id, t.quarter, t.note},
		'NOT EXISTS' => qq{UPDATE target t SET note = note || '!' WHERE NOT EXISTS (SELECT FROM forecasts f WHERE $matches) OR id < 3
			RETURNING t.id, t.quarter, t.note},
		'IN' => q{UPDATE target t SET note = note || '!' WHERE quarter IN (SELECT time_period FROM forecasts f
			WHERE f.owner_email = t.email OFFSET 0)
			RETURNING t.id, t.quarter, t.note},
		'a partitioned table' => qq{UPDATE target t SET note = note || '!' FROM parted f WHERE $matches
			RETURNING t.id, f.time_period, f.owner_email, t.note},
		'MERGE' => qq{MERGE INTO target t USING (SELECT * FROM forecasts WHERE owner_email < 'b' AND time_period < '2026_Q3') f ON $matches
			WHEN MATCHED AND f.forecast_amount > t.amount THEN UPDATE SET note = note || '!', amount = f.forecast_amount
			WHEN MATCHED THEN UPDATE SET note = 'more' WHEN NOT MATCHED AND f.owner_email = '$mail' THEN
			INSERT VALUES (100 + right(f.time_period, 1)::int, f.owner_email, f.time_period, 0, 'new')});
	my $first = ClariSession->new($node);
	my $second = ClariSession->new($node);
	my $changed_under = sub {
		my ($schema, $setting, $statement) = @_;
		sql('DROP TABLE IF EXISTS target; CREATE TABLE target AS TABLE template');
		$first->query("BEGIN; $changes");
		$second->query("RESET ALL; SET search_path = $schema, public; SET client_min_messages = warning; $setting");
		$second->start($statement);
		wait_until('the second waits', sub {
			return 1 if $second->is_finished(0);
			return sql("SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $second->{pid}") eq 't' });
		diag("not locked: $setting; $statement") if $second->is_finished(0);
		$first->query('COMMIT');
		return join("\n", sort(split /\n/, $second->finish), sql('SELECT * FROM target ORDER BY id, note'));
	};
	for my $name (sort keys %statements)
	{
		my $expected = $changed_under->('heap', '', $statements{$name});
		same_csv($changed_under->('remote', $_, $statements{$name}), $expected, "$name; $_") for @joins, $rescanning;
	}

	# A row that is checked again is computed from the version that the statement began with.
	my $two = q{SET search_path = remote, public; UPDATE target t SET amount = (SELECT sum(forecast_amount) FROM forecasts f
		WHERE f.time_period = t.quarter)
		WHERE id < 3 AND quarter = '2026_Q1' RETURNING id, amount};
	my $version = 0;
	for my $change (q{SELECT clari_refresh('remote.forecasts', '{2026_Q1}')}, q{SELECT clari_invalidate('remote.forecasts')})
	{
		my $before = sql(q{SELECT sum(forecast_amount) FROM remote.forecasts WHERE time_period = '2026_Q1'});
		sql('DROP TABLE target; CREATE TABLE target AS TABLE template');
		$first->query(q{BEGIN; UPDATE target SET note = 'x' WHERE id = 2});
		$second->query('RESET ALL');
		my $posts = sim_posts();
		$second->start($two);
		wait_until('the second waits', sub { sql("SELECT wait_event_type = 'Lock' FROM pg_stat_activity
			WHERE pid = $second->{pid}") eq 't' });
		sim_set({ version => ++$version });
		sql($change);
		$posts = sim_posts();
		$first->query('COMMIT');
		is($second->finish, "1|$before\n2|$before", "one version also for rows that are checked again: $change");
		is(sim_posts(), $posts, '… and no export for them');
		isnt(sql(q{SELECT sum(forecast_amount) FROM remote.forecasts
			WHERE time_period = '2026_Q1'}), $before, 'the next statement has another');
	}
	sim_set({ version => 0 });
	sql('SELECT clari_invalidate()');
};

done_testing();
