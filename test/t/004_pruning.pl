# Quals only prune the extent: a query has the rows that a heap would have given, and no quarter is exported that
# cannot hold one of them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use JSON::PP;
use Test::More;

start_sim(job_seconds => 0, owners => 7, monthly_quota => 100_000, forecasts => [qw(net_arr fresh)]);
my $node = start_node('pruning');
create_server($node, max_concurrent_exports => 8);

# Tables of the same eight quarters that declare time_period in different ways, and what they hold as a heap.
my %types = (
	f => 'text',
	f_varchar => 'varchar',
	f_limited => 'varchar(7)',
	f_char => 'char(7)',
	f_c => 'text COLLATE "C"',
	f_domain => 'quarter',
	f_ci => 'text COLLATE ci',
	f_name => 'name');
my $icu = sql(q{SELECT count(*) > 0 FROM pg_collation WHERE collprovider = 'i'}) eq 't';
sql(q{CREATE COLLATION ci (provider = icu, locale = 'und-u-ks-level2', deterministic = false)}) if $icu;
delete $types{f_ci} unless $icu;
sql(q{CREATE DOMAIN quarter AS text CHECK (VALUE LIKE '20%');
	CREATE SCHEMA heap;
	CREATE FUNCTION own(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
	CREATE FUNCTION inlined(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$ SELECT $1 >= '2026' $$});
for my $table (sort keys %types)
{
	sql(qq{CREATE FOREIGN TABLE $table (owner_name text, owner_email text, forecast_amount numeric,
			time_period $types{$table}, again text OPTIONS (key 'time_period'), forecast_name text)
		SERVER clari OPTIONS (forecast 'net_arr', periods '2025_Q1..2026_Q4');
		CREATE TABLE heap.$table AS SELECT * FROM $table});
}
my @all = split /\n/, sql('SELECT DISTINCT time_period FROM heap.f ORDER BY 1');
is(scalar @all, 8, 'eight quarters');

# The quarters that were exported since the last reset.
sub exported
{
	my $seen = decode_json(sim_seen('periods'));
	return join(', ', grep { $seen->{$_}{post} } sort keys %$seen);
}

# The Periods line of EXPLAIN, which must not have asked for anything.
sub explained
{
	my ($query) = @_;
	my $plan = sql("EXPLAIN $query");
	return 'none' if $plan =~ /One-Time Filter: false/;
	return $plan =~ /Periods: (.*)/ ? $1 : $plan;
}

# A WHERE clause; rows as in the heap, and of the foreign table no quarters but those that hold the rows of `pruned`
# ('all': of every quarter; default: the clause itself), neither explained nor, cold, exported.
sub prunes
{
	my ($table, $clause, $pruned) = @_;
	my $what = "$types{$table}: $clause";
	my $rows = 'SELECT owner_name, owner_email, forecast_amount, time_period, forecast_name';
	my $order = 'ORDER BY owner_email COLLATE "C", owner_name COLLATE "C", forecast_amount, time_period COLLATE "C"';
	$pruned //= $clause;
	$pruned = 'true' if $pruned eq 'all';
	my $periods = sql("SELECT string_agg(DISTINCT time_period::text, ', ' ORDER BY time_period::text) FROM heap.$table WHERE $pruned");

	sql("SELECT clari_invalidate('$table')");
	sim_reset();
	my $plan = explained("$rows FROM $table WHERE $clause $order");
	is($plan, $periods || 'none', "EXPLAIN knows the quarters ($what)");
	is(sim_seen('total.post'), 0, '… without asking') or return;
	is(sql("$rows FROM $table WHERE $clause $order"), sql("$rows FROM heap.$table WHERE $clause $order"), '… the rows are a heap\'s');
	is(exported(), $periods, '… and no other quarter was exported');
	return;
}

#
# What prunes exactly.
#
prunes('f', $_) for (
	q{time_period = '2026_Q1'},
	q{'2026_Q1' = time_period},
	q{time_period IN ('2025_Q2', '2026_Q3')},
	q{time_period = ANY ('{2025_Q1,2026_Q4,2026_Q4}')},
	q{time_period = ANY (ARRAY['2025_Q1', NULL])},
	q{time_period = ANY ('{}')},
	q{time_period <> ALL ('{2025_Q1,2025_Q2}')},
	q{time_period NOT IN ('2025_Q1', '2025_Q4', '2026_Q4')},
	q{time_period = ALL ('{2025_Q1,2025_Q1}')},
	q{time_period > ANY ('{2026_Q2,2026_Q3}')},
	q{time_period BETWEEN '2025_Q3' AND '2026_Q1'},
	q{time_period BETWEEN SYMMETRIC '2026_Q1' AND '2025_Q3'},
	q{time_period NOT BETWEEN '2025_Q3' AND '2026_Q1'},
	q{time_period < '2025_Q3'},
	q{time_period <= '2025_Q3'},
	q{time_period > '2026_Q3'},
	q{time_period >= '2026_Q3'},
	q{'2026_Q3' < time_period},
	q{time_period <> '2026_Q3'},
	q{time_period LIKE '2026%'},
	q{time_period LIKE '2025\_Q_'},
	q{time_period LIKE '%Q4'},
	q{time_period NOT LIKE '2026%'},
	q{time_period ILIKE '2026_q%'},
	q{time_period ~ '^2026'},
	q{time_period ~* 'q[12]$'},
	q{time_period SIMILAR TO '2026_Q[12]'},
	q{starts_with(time_period, '2025')},
	q{time_period ^@ '2025'},
	q{time_period = '2025_Q1' OR time_period = '2026_Q4'},
	q{time_period = '2025_Q1' OR time_period > '2026_Q1' AND time_period LIKE '%Q3'},
	q{time_period >= '2025_Q2' AND time_period < '2026_Q3' AND time_period LIKE '%Q2'},
	q{NOT (time_period = '2025_Q1' OR time_period LIKE '2026%')},
	q{time_period IS NOT NULL},
	q{time_period IS NULL},
	q{(time_period = '2025_Q1') IS NOT TRUE},
	q{lower(time_period) = '2026_q1'},
	q{substr(time_period, 6) = 'Q1'},
	q{right(time_period, 1) IN ('2', '3')},
	q{length(time_period) = 7},
	q{time_period || 'x' = '2025_Q2x'},
	q{time_period COLLATE "C" = '2026_Q1'},
	q{time_period COLLATE "C" < '2025_Q3'},
	q{time_period = '2026_Q1'::varchar},
	q{time_period::varchar(4) = '2026'},
	q{time_period = '2026_' || 'Q2'},
	q{inlined(time_period)},
	q{time_period = again AND again = '2026_Q2'},
	q{again = '2026_Q2'},
	q{time_period = '2026_Q1' AND again = '2026_Q2'},
	q{time_period = '2025_Q2' AND time_period = '2025_Q3'},
	q{time_period = NULL},
	q{false},
	q{true});
prunes('f', q{time_period COLLATE ci = '2026_q1'}) if $icu;

# Values that no row has a part in, whatever computes them; stable functions are evaluated when the scan begins.
my $may = q{to_char(timestamptz '2026-05-01 12:00' + (now() - now()), 'YYYY"_Q"Q')};
my $day = q{(date '2026-05-01' + (current_date - current_date))};
prunes('f', $_) for (
	qq{time_period = $may},
	qq{$may = time_period},
	qq{time_period IN ($may, '2025_Q1')},
	qq{time_period = ANY (ARRAY[$may, NULL])},
	qq{time_period BETWEEN '2025_Q4' AND $may},
	qq{time_period > $may},
	qq{time_period <> $may},
	qq{time_period LIKE extract(year FROM $day) || '%'},
	qq{time_period = extract(year FROM $day) || '_Q' || extract(quarter FROM $day)},
	qq{time_period = '2026_Q' || date_part('quarter', $day)::int},
	qq{time_period = concat('2026_Q', extract(quarter FROM $day))},
	q{time_period = to_char(current_date, 'YYYY"_Q"Q')},
	q{time_period < to_char(now(), 'YYYY"_Q"Q')},
	q{time_period = CASE current_user WHEN 'nobody' THEN '2026_Q1' ELSE '2026_Q2' END},
	q{(string_to_array(time_period, '_'))[2] = 'Q3'});
sql(q{ALTER DATABASE postgres SET clari_test.quarter = '2025_Q4'});
prunes('f', q{time_period = current_setting('clari_test.quarter')});

#
# Together with other columns, and what does not tell about the quarter alone.
#
prunes('f', @$_) for (
	[ q{time_period = '2026_Q1' AND forecast_amount > 0}, q{time_period = '2026_Q1'} ],
	[ q{time_period LIKE '2026%' AND (owner_email < 'd' OR forecast_amount IS NULL)}, q{time_period LIKE '2026%'} ],
	[ q{(time_period = '2026_Q1' OR time_period = '2025_Q1') AND owner_email IS NULL}, q{time_period LIKE '%Q1'} ],
	[ q{time_period = '2025_Q1' OR owner_email < 'd'}, 'all' ],
	[ q{(time_period = '2025_Q1' AND owner_email < 'd') OR (time_period = '2025_Q2' AND owner_email > 'd')}, q{time_period IN ('2025_Q1', '2025_Q2')} ],
	[ q{time_period > owner_name}, 'all' ],
	[ q{time_period = forecast_name}, q{false} ],
	[ q{forecast_name = 'net_arr' AND time_period = '2026_Q1'}, q{time_period = '2026_Q1'} ],
	[ q{forecast_name = 'another'}, q{false} ],
	[ q{time_period IS DISTINCT FROM '2026_Q1'}, q{time_period <> '2026_Q1'} ],
	[ q{coalesce(time_period, '') = '2026_Q1'}, q{time_period = '2026_Q1'} ],
	[ q{CASE time_period WHEN '2026_Q1' THEN 1 ELSE 0 END = 1}, q{time_period = '2026_Q1'} ],
	[ q{CASE WHEN time_period LIKE '2026%' THEN true ELSE owner_email < 'd' END}, 'all' ],
	[ q{left(time_period, 4)::int = 2026}, 'all' ],
	[ q{own(time_period) = '2026_Q1'}, 'all' ],
	[ q{time_period = '2026_Q1' || left(random()::text, 0)}, 'all' ],
	[ q{EXISTS (SELECT FROM heap.f h WHERE h.time_period = '2026_Q1')}, 'all' ]);

#
# What a statement's parameters, and rows of other tables, make of it: exported, cold, is what they ask for.
#
sub exports
{
	my ($periods, $query, $name) = @_;
	sql(q{SELECT clari_invalidate('f')});
	sim_reset();
	is(sql($query), sql($query =~ s/\b(FROM|JOIN) f\b/$1 heap.f/gr), 'the rows are a heap\'s: ' . ($name // $query));
	is(exported(), $periods, '… and these quarters were exported');
	return;
}

sql(q{CREATE TABLE numbers (n int, year int, day date); INSERT INTO numbers VALUES (2, 2026, '2026-05-01'), (3, 2026, '2026-08-01'); ANALYZE numbers;
	CREATE FUNCTION stable() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN '2026_Q' || (SELECT max(n) FROM numbers); END $$});
my $rows = 'SELECT time_period, count(*), sum(forecast_amount)';
for my $case (
	[ 'text, text', q{$1 || '_Q' || $2}, q{'2026', '2'} ],
	[ 'int, int', q{$1 || '_Q' || $2}, '2026, 2' ],
	[ 'int', q{'2026_Q' || $1}, '2' ],
	[ 'int', q{'2026_Q' || ($1 - 1)}, '3' ],
	[ 'text', q{'2026_Q' || $1::int}, q{'2'} ],
	[ 'date', q{to_char($1, 'YYYY"_Q"Q')}, q{'2026-05-01'} ],
	[ 'text', q{upper($1)}, q{'2026_q2'} ],
	[ 'text', q{own($1)}, q{'2026_Q2'} ],
	[ 'varchar', q{$1}, q{'2026_Q2'} ],
	[ 'quarter', q{$1}, q{'2026_Q2'} ],
	[ 'varchar[]', q{ANY ($1)}, q{'{2026_Q2}'} ],
	[ 'varchar[]', q{$1[1]}, q{'{2026_Q2}'} ],
	[ 'text[]', q{ANY ($1[1:1])}, q{'{2026_Q2,2026_Q3}'} ],
	[ 'quarter[]', q{ANY ($1)}, q{'{2026_Q2}'} ],
	[ 'jsonb', q{$1 ->> 'q'}, q{'{"q": "2026_Q2"}'} ])
{
	my ($types, $value, $args) = @$case;
	exports('2026_Q2', "SET plan_cache_mode = force_generic_plan; PREPARE p($types) AS $rows FROM f WHERE time_period = $value GROUP BY 1;
		EXECUTE p($args)", "time_period = $value of ($types)");
}
exports($_->[0], "$rows $_->[1] GROUP BY 1 ORDER BY 1") for (
	[ '2026_Q3', 'FROM f WHERE time_period = stable()' ],
	[ '2026_Q2, 2026_Q3', q{FROM numbers JOIN f ON time_period = '2026_Q' || n} ],
	[ '2026_Q2, 2026_Q3', q{FROM numbers JOIN f ON time_period = year || '_Q' || n} ],
	[ '2026_Q2', q{FROM numbers JOIN f ON time_period = to_char(day, 'YYYY"_Q"Q') WHERE n = 2} ],
	[ '2026_Q3', q{FROM numbers LEFT JOIN f ON time_period = '2026_Q' || n AND forecast_amount > n WHERE n = 3} ],
	[ '2026_Q2, 2026_Q3', q{FROM numbers JOIN f ON lower(time_period) = '2026_q' || n} ],
	[ '2025_Q2, 2025_Q3, 2026_Q2, 2026_Q3', q{FROM numbers JOIN f ON right(time_period, 1) = n::text} ],
	[ '2026_Q2, 2026_Q3', q{FROM numbers a LEFT JOIN (SELECT n, coalesce('2026_Q' || n, 'none') AS q FROM numbers) b USING (n) JOIN f ON time_period = q} ],
	[ '2026_Q4', q{FROM numbers LEFT JOIN (SELECT coalesce(time_period, '') AS q, time_period, forecast_amount FROM f) s ON q > '2026_Q3' AND n < 3} ],
	[ '2026_Q2, 2026_Q3', q{FROM numbers, LATERAL (SELECT * FROM f WHERE time_period = concat('2026_Q', n) OFFSET 0) s} ]);

# A branch that is not executed neither exports nor fails, as long as it may; where nothing can fail, all is exported at once.
exports('2025_Q1', q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS
	SELECT count(*) FROM f WHERE time_period = '2025_Q1' UNION ALL SELECT count(*) FROM f WHERE $1 ~ '^\d$' AND time_period = '2026_Q' || $1::int;
	EXECUTE p('last')});
exports('2025_Q1', q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS
	SELECT CASE WHEN $1 ~ '^\d$' THEN (SELECT count(*) FROM f WHERE time_period = '2026_Q' || $1::int) ELSE
	(SELECT count(*) FROM f WHERE time_period = '2025_Q1') END; EXECUTE p('last')});
exports('', q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT count(*) FROM f WHERE $1 IS NOT NULL AND time_period = '2026_Q' || $1::int;
	EXECUTE p(NULL)});

# Nor does a parallel plan ask for it before the branch is reached.
sql('SELECT count(*) FROM f');
my $parallel = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; SET max_parallel_workers_per_gather = 2;
	SET plan_cache_mode = force_generic_plan;';
my $gated = q{SELECT count(*) FROM f WHERE $1 ~ '^\d$' AND length(owner_name) > 0 AND time_period =};
is(sql("$parallel PREPARE p(text) AS $gated '2026_Q' || \$1::int; EXECUTE p('last'); EXECUTE p('2')"), "0\n" .
	sql(q{SELECT count(*) FROM heap.f WHERE time_period = '2026_Q2' AND length(owner_name) > 0}), 'a parallel plan with a branch that is not executed');
like(sql("$parallel PREPARE p(text) AS $gated '2026_Q' || \$1; EXPLAIN EXECUTE p('2')"), qr/Parallel Foreign Scan/, '… which is parallel where nothing can fail');

# A function of one's own may read such tables itself, while its scan waits to learn which quarter is the current one.
sql(q{CREATE FOREIGN TABLE relative (owner_name text, time_period text) SERVER clari OPTIONS (forecast 'net_arr', periods 'current-2..current');
	CREATE FOREIGN TABLE asked (owner_name text, time_period text) SERVER clari OPTIONS (forecast 'fresh', periods 'current-1..current');
	CREATE FUNCTION latest() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT max(time_period) FROM asked); END $$;
	SELECT clari_invalidate()});
is(sql(q{SET statement_timeout = '1min'; SELECT count(*) > 0, min(time_period) = max(time_period) FROM (SELECT * FROM relative WHERE time_period = latest()
	UNION ALL SELECT * FROM relative WHERE time_period IN (latest(), latest())) s}), 't|t', 'a function that exports');

#
# However the column is declared.
#
for my $table (qw(f_varchar f_limited f_c f_domain))
{
	prunes($table, $_) for (
		q{time_period = '2026_Q1'},
		q{time_period IN ('2025_Q2', '2026_Q3')},
		q{time_period BETWEEN '2025_Q3' AND '2026_Q1'},
		q{time_period LIKE '2026%'},
		q{time_period = '2025_Q1' OR time_period >= '2026_Q4'});
}
for my $table (qw(f_char f_name))
{
	prunes($table, $_, 'all') for (q{time_period = '2026_Q1'}, q{time_period IN ('2025_Q2', '2026_Q3')}, q{time_period < '2025_Q3'});
}
SKIP:
{
	skip 'PostgreSQL without ICU', 1 unless $icu;
	prunes('f_ci', $_, 'all')
	  for (q{time_period = '2026_q1'}, q{time_period IN ('2025_q2', '2026_Q3')}, q{time_period < '2025_q3'});
	is(sql(q{SELECT DISTINCT time_period FROM f_ci WHERE time_period = '2026_q1'}), '2026_Q1', 'case is ignored where the collation says so');
	prunes('f_ci', q{again = '2026_Q1'});
}

#
# Outside of the extent: no rows, no call, a notice.
#
sub notices
{
	my ($query) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $query);
	is($code, 0, $query) or diag($err);
	return $err;
}

sim_reset();
sql(q{SELECT clari_invalidate('f')});
for my $asked ('2030_Q1', '2024_Q4', '2026_Q5', 'Q1', '2026_q1', '', '2026_Q1 ')
{
	like(notices("SELECT * FROM f WHERE time_period = '$asked'"),
		qr/NOTICE:  period "\Q$asked\E" is outside option "periods" of foreign table "f"\nDETAIL:.*2025_Q1\.\.2026_Q4/,
		'a constant outside of the extent draws a notice that names the option');
}
is(sim_seen('total.post'), 0, 'and no export');
my $notices = notices(q{SELECT * FROM f WHERE time_period IN ('2026_Q1', '2031_Q1', '2032_Q1')});
is(join(' ', $notices =~ /NOTICE:  period "(.*?)"/g), '2031_Q1 2032_Q1', 'each of a list is told');
$notices = notices(q{SELECT * FROM f WHERE '2034_Q1' = time_period OR time_period = '2026_Q1' OR time_period = '2035_Q1'});
is(join(' ', $notices =~ /NOTICE:  period "(.*?)"/g), '2034_Q1 2035_Q1', 'and of an OR');
$notices = notices(q{PREPARE p(text) AS SELECT * FROM f WHERE time_period = $1; EXECUTE p('2033_Q1')});
is(join(' ', $notices =~ /NOTICE:  period "(.*?)"/g), '2033_Q1', 'so is a parameter');
$notices = notices(q{PREPARE p(text[]) AS SELECT * FROM f WHERE time_period = ANY ($1); SET plan_cache_mode = force_generic_plan;
	EXECUTE p('{2033_Q1,2026_Q1,NULL}')});
is(join(' ', $notices =~ /NOTICE:  period "(.*?)"/g), '2033_Q1', 'and an element of one');
is(notices($_), '', 'nothing to tell') for (
	q{SELECT * FROM f WHERE time_period = '2026_Q1'},
	q{SELECT * FROM f WHERE time_period > '2030_Q1'},
	q{SELECT * FROM f WHERE time_period <> '2030_Q1'},
	q{SELECT * FROM f WHERE time_period LIKE '2030%'},
	q{EXPLAIN SELECT * FROM f WHERE time_period = '2030_Q1'});
is(notices(q{SELECT * FROM f WHERE time_period COLLATE ci = '2026_q1'}), '', 'nor about a quarter that another collation finds')
  if $icu;

# Other relations have the rows: children of whatever kind, also where only the execution tells which of them are read.
sql(q{CREATE FOREIGN TABLE old_f (owner_name text, owner_email text, forecast_amount numeric, time_period text, again text OPTIONS (key 'time_period'),
		forecast_name text) SERVER clari OPTIONS (forecast 'net_arr', periods '2024_Q4');
	CREATE VIEW both_f AS SELECT * FROM f UNION ALL SELECT * FROM old_f;
	CREATE VIEW both_grouped AS SELECT time_period, count(*) FROM f GROUP BY 1 UNION ALL SELECT time_period, count(*) FROM old_f GROUP BY 1;
	CREATE VIEW both_distinct AS SELECT time_period, owner_email FROM f UNION SELECT time_period, owner_email FROM old_f;
	CREATE TABLE parent_f (LIKE f);
	INSERT INTO parent_f SELECT owner_name, owner_email, forecast_amount, '2023_Q1' FROM heap.f LIMIT 3;
	ALTER FOREIGN TABLE old_f INHERIT parent_f;
	CREATE TABLE parted_f (owner_name text, time_period text) PARTITION BY LIST (left(time_period, 4));
	CREATE FOREIGN TABLE parted_2025 PARTITION OF parted_f FOR VALUES IN ('2025') SERVER clari OPTIONS (forecast 'net_arr', periods '2025_Q1..2025_Q4');
	CREATE FOREIGN TABLE parted_2026 PARTITION OF parted_f FOR VALUES IN ('2026') SERVER clari OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q4')});
is(notices($_), '', '… which are no matter for a notice') for (
	(map { my $quarter = $_; map { "SELECT * FROM $_ WHERE time_period = '$quarter'" } qw(both_f both_grouped both_distinct) } qw(2024_Q4 2026_Q1)),
	q{SELECT * FROM f WHERE time_period = '2026_Q1' UNION ALL SELECT * FROM old_f WHERE time_period = '2024_Q4'},
	q{SELECT * FROM parent_f WHERE time_period IN ('2023_Q1', '2024_Q4')},
	q{SELECT * FROM parted_f WHERE time_period IN ('2025_Q1', '2026_Q1')},
	q{SELECT * FROM (SELECT * FROM both_grouped OFFSET 0) s JOIN parted_f USING (time_period) WHERE time_period = '2025_Q1'},
	(map { "SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT * FROM $_ WHERE time_period = \$1; EXECUTE p('2024_Q4'); EXECUTE p('2026_Q1')" }
		qw(both_f both_grouped both_distinct)),
	q{SET plan_cache_mode = force_generic_plan; PREPARE p(text[]) AS SELECT * FROM parted_f WHERE time_period = ANY ($1); EXECUTE p('{2025_Q1,2026_Q2}')},
	q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT * FROM parted_f WHERE time_period = $1; EXECUTE p('2026_Q2')});
like(notices(q{SELECT * FROM old_f WHERE time_period = '2026_Q1'}), qr/NOTICE:  period "2026_Q1"/, 'asked for by itself, a child tells');
like(notices(q{SELECT * FROM (SELECT time_period, count(*) FROM old_f GROUP BY 1) s, both_f b WHERE s.time_period = '2026_Q1' AND b.time_period = '2026_Q1'}),
	qr/NOTICE:  period "2026_Q1" .* "old_f"/, '… as does what only stands beside them');

# The hint is of a statement that works.
sql(q{CREATE FOREIGN TABLE no_extent (owner_name text, time_period text) SERVER clari OPTIONS (forecast 'net_arr')});
for my $case ([ 'no_extent', 'ADD' ], [ 'no_extent', 'SET' ], [ 'f', 'SET' ])
{
	my ($table, $verb) = @$case;
	my ($hint) = notices("SELECT * FROM $table WHERE time_period = '2019_Q1'") =~ /HINT:  Use (.*) to extend it/;
	is($hint, "ALTER FOREIGN TABLE ... OPTIONS ($verb periods '...')", "$table: a hint to $verb");
	sql(($hint =~ s/\.\.\./$table/r =~ s/\.\.\./2025_Q1..2026_Q4/r) . '');
}

$notices = notices(q{SELECT q, (SELECT count(*) FROM f WHERE time_period = q) FROM unnest('{2026_Q1,2030_Q1,2030_Q1}'::text[]) q});
unlike($notices, qr/NOTICE.*NOTICE/s, 'at most one notice, however often the scan is run again');

#
# No network while planning, and none for a statement that fetches nothing.
#
sim_reset();
sql(q{SELECT clari_invalidate('f')});
sql($_) for (
	'EXPLAIN SELECT * FROM f',
	'EXPLAIN (VERBOSE, FORMAT JSON) SELECT count(*) FROM f',
	'ANALYZE f',
	'SELECT * FROM f LIMIT 0',
	'SELECT * FROM f WHERE false',
	'SELECT * FROM heap.f h LEFT JOIN f ON h.time_period = f.time_period WHERE h.time_period = $$no$$',
	q{PREPARE p AS SELECT * FROM f; PREPARE q(text) AS SELECT * FROM f WHERE time_period = $1; EXECUTE q(NULL)},
	q{BEGIN; DECLARE c CURSOR FOR SELECT * FROM f; CLOSE c; COMMIT},
	q{SELECT CASE WHEN 1 = 2 THEN (SELECT count(*) FROM f) END},
	q{CREATE TABLE nothing AS SELECT * FROM f WITH NO DATA});
is(sim_seen('total.other') + sim_seen('total.post') + sim_seen('total.poll') + sim_seen('total.limits'), 0,
	'statements that fetch nothing ask for nothing');

done_testing();
