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

sub sql { return $node->safe_psql('postgres', shift); }

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
		qr/NOTICE:  period "\Q$asked\E" is outside of option "periods" of foreign table "f"\nDETAIL:.*2025_Q1\.\.2026_Q4/,
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
