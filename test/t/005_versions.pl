# A statement uses one version of each export throughout; and what "current" means is learned once.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use Test::More;

# Versions of the data differ in one owner of a hundred, at least one.
start_sim(job_seconds => 0, owners => 50, amounts => 'plain', monthly_quota => 100_000,
	forecasts => [ 'net_arr', 'bookings', map { "cold_$_" } 1 .. 20 ]);
my $node = start_node('versions');
create_server($node, max_concurrent_exports => 8);
import_tables($node, periods => '2026_Q1..2026_Q2');

my $sum = q{SELECT sum(forecast_amount) FROM clari.forecasts WHERE time_period = '2026_Q1'};
my $version = 0;

# Clari's data change, and the cache is refreshed: returns what the sum was and is.
sub refresh
{
	my $before = sql($sum);
	sim_set({ version => ++$version });
	is(sql(q{SELECT clari_refresh('clari.forecasts', '{2026_Q1}')}), 1, 'an export is refreshed');
	my $after = sql($sum);
	isnt($after, $before, '… and its data have changed');
	return ($before, $after);
}

#
# Within one statement.  It stops at an advisory lock between its two scans.
#
my $holder = ClariSession->new($node);
my $reader = ClariSession->new($node);
my $between = '(SELECT count(*) FROM (SELECT pg_advisory_xact_lock_shared(1)) l)';

# Starts the statement, refreshes while it is at the lock, and returns its answer and the sums before and after.
sub across_refresh
{
	my ($statement) = @_;
	$holder->query('SELECT pg_advisory_lock(1)');
	$reader->start($statement);
	wait_until('the statement is between its scans',
		sub { sql("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $reader->{pid}") eq 't' });
	my ($before, $after) = refresh();
	$holder->query('SELECT pg_advisory_unlock(1)');
	return ($reader->finish, $before, $after);
}

my ($answer, $before, $after) = across_refresh(qq{
	WITH a AS MATERIALIZED ($sum), l AS MATERIALIZED (SELECT $between AS n FROM a), b AS MATERIALIZED ($sum AND (SELECT n FROM l) = 1)
	SELECT a.sum, b.sum FROM a, l, b});
is($answer, "$before|$before", 'both sides of a self-join show the version that the statement began with');
is($reader->query($sum), $after, 'the next statement shows the new one');

($answer, $before, $after) = across_refresh(qq{SELECT string_agg(s::text, ' ' ORDER BY i) FROM (SELECT i, ($sum AND i > 0) AS s,
	CASE WHEN i = 1 THEN $between END FROM generate_series(1, 3) i) r});
is($answer, "$before $before $before", 'rescans too');

($answer, $before, $after) = across_refresh(qq{
	WITH a AS MATERIALIZED ($sum), l AS MATERIALIZED (SELECT $between AS n FROM a), b AS MATERIALIZED (SELECT sum(forecast_value)
		FROM clari.entries WHERE time_period = '2026_Q1' AND (SELECT n FROM l) = 1)
	SELECT a.sum, b.sum FROM a, l, b});
is($answer, "$before|$before", 'and another table of the same export');

# The snapshot does not matter: each statement takes what is cached then, also in REPEATABLE READ.
$reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; $sum");
($before, $after) = refresh();
is($reader->query("$sum; COMMIT"), $after, 'a transaction sees a refresh between its statements');

# A statement that waits at its first scan has no version yet.
$holder->query('SELECT pg_advisory_lock(1)');
$reader->start(qq{SELECT (SELECT $between), ($sum)});
wait_until('the statement is at the lock',
	sub { sql("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $reader->{pid}") eq 't' });
($before, $after) = refresh();
$holder->query('SELECT pg_advisory_unlock(1)');
like($reader->finish, qr/\|\Q$after\E$/, 'a statement takes its version when it first fetches');

#
# Cursors.
#
my $cursor = q{FOR SELECT forecast_amount FROM clari.forecasts WHERE time_period = '2026_Q1'};
my $amounts = 'SELECT string_agg(forecast_amount::text, $$,$$ ORDER BY forecast_amount) FROM clari.forecasts WHERE time_period = $$2026_Q1$$';
sub sorted { return join(',', sort { $a <=> $b } split /\n/, shift); }

my $old = sql($amounts);
$reader->query("BEGIN; DECLARE c SCROLL CURSOR $cursor; DECLARE later CURSOR $cursor");
my $one = $reader->query('FETCH 1 FROM c');
refresh();
my $new = sql($amounts);
isnt($new, $old, 'the amounts are others');
is(sorted("$one\n" . $reader->query('FETCH ALL FROM c')), $old, 'a cursor that was opened before a refresh keeps its version');
is($reader->query($amounts), $new, 'while other statements of its transaction do not');
is(sorted($reader->query('FETCH ALL FROM later')), $new, 'a cursor that had not fetched yet takes the new one');
refresh();
is(sql(q{SELECT clari_invalidate('clari.forecasts')}) > 0, 1, 'the export is forgotten');
is(sorted($reader->query('MOVE ABSOLUTE 0 FROM c; FETCH ALL FROM c')), $old, 'it keeps it also when read again, and when the cache has dropped it');
$reader->query('COMMIT');

$old = sql($amounts);
$reader->query("BEGIN; DECLARE h CURSOR WITH HOLD $cursor; COMMIT");
refresh();
is(sorted($reader->query('FETCH ALL FROM h')), $old, 'a held cursor holds its rows');
$reader->query("CLOSE h");

$old = sql($amounts);
my $loop = $reader->start(qq{DO \$\$DECLARE r record; amounts numeric[]; BEGIN
	FOR r IN SELECT forecast_amount FROM clari.forecasts WHERE time_period = '2026_Q1' LOOP
		amounts := amounts || r.forecast_amount; PERFORM pg_sleep(0.005);
	END LOOP;
	RAISE NOTICE 'read %', (SELECT string_agg(a::text, ',' ORDER BY a) FROM unnest(amounts) a); END\$\$});
wait_until('the loop runs', sub { sql("SELECT wait_event = 'PgSleep' FROM pg_stat_activity WHERE pid = $reader->{pid}") eq 't' });
refresh();
like($loop->finish, qr/read \Q$old\E$/m, 'so does a loop over a query');

#
# Relative extents.
#
my $colds = 0;

# A forecast that nobody has asked for yet, and a table of it with the extent.
sub cold { return 'cold_' . ++$colds; }

sub extent_table
{
	my ($name, $forecast, $periods) = @_;
	sql(qq{CREATE FOREIGN TABLE $name (owner_email text, forecast_amount numeric, time_period text) SERVER clari
		OPTIONS (forecast '$forecast', periods '$periods')});
	return;
}

# The exports of a forecast so far, as Clari was asked for them.
sub asked
{
	my ($forecast) = @_;
	return join(' ', sort map { $_->{period} } grep { $_->{forecast} eq $forecast } @{ decode_json(sim_seen('jobs')) });
}

my %extents = (
	current => [ '2026_Q4', 'current' ],
	'current-1' => [ '2026_Q3', '2026_Q3 current' ],
	'current-3..current' => [ '2026_Q1 2026_Q2 2026_Q3 2026_Q4', '2026_Q1 2026_Q2 2026_Q3 current' ],
	'2026_Q3..current' => [ '2026_Q3 2026_Q4', '2026_Q3 current' ],
	'current-1..current,2025_Q1' => [ '2025_Q1 2026_Q3 2026_Q4', '2025_Q1 2026_Q3 current' ],
	'2026_Q4,current' => [ '2026_Q4', 'current' ],
	'2029_Q1..current' => [ '', 'current' ]);
for my $periods (sort keys %extents)
{
	my ($shown, $exports) = @{ $extents{$periods} };
	my $forecast = cold();
	my $query = "SELECT coalesce(string_agg(DISTINCT time_period, ' ' ORDER BY time_period), '') FROM $forecast";
	extent_table($forecast, $forecast, $periods);
	like(sql("EXPLAIN SELECT * FROM $forecast"), qr/Periods: \Q$periods\E \(the current quarter is not known yet\)/,
		"cold, EXPLAIN does not know what $periods is");
	is(asked($forecast), '', '… and does not ask');
	is(sql($query), $shown, "$periods when the current quarter is 2026_Q4");
	is(asked($forecast), $exports, '… is learned from the export without a period');
	my $listed = $shown =~ s/ /, /gr || 'none';
	like(sql("EXPLAIN SELECT * FROM $forecast"), qr/Periods: \Q$listed\E$/m, '… and EXPLAIN knows it');
	is(sql($query), $shown, '… as is a new session');
	is(asked($forecast), $exports, '… without asking again');
	is(sql("SELECT count(*) FROM $forecast f JOIN $forecast g USING (time_period, owner_email) WHERE f.time_period = '2026_Q4'") > 0,
		$shown =~ /2026_Q4/ ? 1 : '', '… in a join too');
}

# Cold and pruned: only what is needed to know, and what is asked for.
my $forecast = cold();
extent_table('pruned', $forecast, 'current-3..current');
is(sql(q{SELECT DISTINCT time_period FROM pruned WHERE time_period = '2026_Q2'}), '2026_Q2', 'one quarter of a relative extent');
is(asked($forecast), '2026_Q2 current', '… costs two exports, cold');
is(sql(q{SELECT count(DISTINCT time_period) FROM pruned WHERE time_period IN ('2026_Q4', '2026_Q3')}), 2, 'more quarters of it');
is(asked($forecast), '2026_Q2 2026_Q3 current', '… cost what is not there yet');

# The current quarter by its name is the export without a period.
$forecast = cold();
extent_table('relative', $forecast, 'current');
extent_table('absolute', $forecast, '2026_Q3..2026_Q4');
is(sql('SELECT count(*) FROM relative'), 50, 'the current quarter');
is(sql(q{SELECT count(*) FROM absolute WHERE time_period = '2026_Q4'}), 50, '… by its name');
is(asked($forecast), 'current', '… is not exported again');
like(sql(q{EXPLAIN SELECT * FROM absolute}), qr/Cached: 2026_Q4.*\n.*Not Cached: 2026_Q3/, '… and EXPLAIN knows');
same_csv(sql('SELECT * FROM relative ORDER BY 1, 2'), sql(q{SELECT * FROM absolute WHERE time_period = '2026_Q4' ORDER BY 1, 2}),
	'… with the same rows');
is(sql(q{SELECT count(*) FROM relative JOIN absolute USING (time_period, owner_email)}),
	sql(q{SELECT count(*) FROM relative a JOIN relative b USING (time_period, owner_email)}), '… and joins with itself');
is(asked($forecast), '2026_Q3 current', '… for the other quarter alone');

# One version of it too, by either name.  What execution sets keeps the second scan's quarter unknown until it fetches.
$forecast = cold();
extent_table('one_name', $forecast, 'current');
extent_table('other_name', $forecast, '2026_Q4');
my $total = 'SELECT sum(forecast_amount) FROM';
$old = sql("$total one_name");
$holder->query('SELECT pg_advisory_lock(1)');
$reader->start(qq{WITH a AS MATERIALIZED ($total one_name), l AS MATERIALIZED (SELECT $between AS n FROM a),
	b AS MATERIALIZED ($total other_name WHERE time_period = (SELECT '2026_Q' || (3 + n) FROM l)) SELECT a.sum, b.sum FROM a, l, b});
wait_until('the statement is between its scans',
	sub { sql("SELECT wait_event = 'advisory' FROM pg_stat_activity WHERE pid = $reader->{pid}") eq 't' });
sim_set({ version => ++$version });
is(sql(q{SELECT clari_refresh('one_name')}), 1, 'the current quarter is refreshed');
$holder->query('SELECT pg_advisory_unlock(1)');
is($reader->finish, "$old|$old", 'a statement has one version of the current quarter, whatever it calls it');
isnt(sql("$total one_name"), $old, 'the next has another');
is(asked($forecast), 'current current', 'and nobody has asked by name');

# A new quarter begins.
$forecast = cold();
extent_table('turning', $forecast, 'current-1..current');
my $turning = q{SELECT string_agg(DISTINCT time_period, ' ' ORDER BY time_period) FROM turning};
is(sql($turning), '2026_Q3 2026_Q4', 'before the quarter ends');
sim_set({ current_quarter => '2027_Q1' });
is(sql($turning), '2026_Q3 2026_Q4', 'what the current quarter is is remembered as long as its export is fresh');
is(sql(q{SELECT clari_invalidate('turning')}) > 0, 1, 'but no longer');
is(sql($turning), '2026_Q4 2027_Q1', 'then the extent moves on');
is(asked($forecast), '2026_Q3 2026_Q4 current current', 'and the quarter that ended is exported by its name');

done_testing();
