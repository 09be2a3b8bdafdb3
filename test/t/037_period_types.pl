# A Forecast Tab by month or year, beside the quarter or instead of it: entries of all of them, forecasts of the table's type alone,
# to the last digit in every encoding; read from no more quarters than can have them; and synced by the periods that a file has.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use JSON::PP;
use Test::More;

start_sim(job_seconds => 0.05, owners => 120, charset => 'latin1', concurrent_limit => 100, monthly_quota => 100_000);
my $node = start_node('period_types', "clari_fdw.worker_idle_timeout = '10min'", 'clari_fdw.max_workers = 1');
for my $database (qw(utf8 latin1))
{
	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$database' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION clari_fdw');
	create_server($node, database => $database, max_retries => 1);
	import_tables($node, database => $database, schema => "${_}s", period_type => $_, periods => '2026_Q1') for qw(quarter month year);
	import_tables($node, database => $database, schema => 'csv_months', period_type => 'month', periods => '2026_Q1', format => 'csv');
	import_tables($node, database => $database, schema => 'weeks', period_type => 'month', periods => '2026_Q1', include_historical => 'true');
	$node->safe_psql($database, q{CREATE SCHEMA calendar;
		IMPORT FOREIGN SCHEMA bookings FROM SERVER clari INTO calendar OPTIONS (periods '2025_Q3');
		CREATE FOREIGN TABLE months (owner_email text, forecast_amount numeric, time_period text, forecast_name text)
			SERVER clari OPTIONS (forecast 'net_arr', periods '2025_Q1..2026_Q4', period_type 'month');
		CREATE FOREIGN TABLE learning (time_period_id text) SERVER clari OPTIONS (object 'time_periods', forecast 'net_arr', periods '2024_Q4');
		CREATE FOREIGN TABLE years (owner_email text, forecast_amount numeric, time_period text)
			SERVER clari OPTIONS (forecast 'net_arr', periods '2025_Q1..2026_Q4', period_type 'year')});
}

sub shown { my ($query) = @_; return $node->safe_psql('utf8', $query); }
sub error { my ($query) = @_; return query_error($node, $query, 'utf8'); }

my %tab = (shape => 'v4', period_types => ['quarter'], month_numbers => 'fiscal', period_dates => JSON::PP::true, fields => undef,
	null_emails => 40, owners => 120, version => 0);

# Nothing is cached, but with calendar an export of another forecast that has quarters.
sub begin
{
	my (%settings) = @_;
	my $calendar = delete $settings{calendar};
	start_over($node);
	shown('SELECT count(*) FROM calendar.time_periods') if $calendar;
	sim_set({ %tab, %settings }, forecast => 'net_arr');
	return;
}

# The rows of forecasts by such periods are the simulator's.
sub forecasts_as_generated
{
	my ($table, $type, $database, %how) = @_;
	my $columns = $ClariCluster::columns{forecasts} . ($how{weeks} // '');
	my $order = join(',', split(' ', $ClariCluster::columns{forecasts}));
	my $expected = sim_expected("object=forecasts&period=2026_Q1&period_type=$type&order_by=$order&" . ($how{expected} // ''));
	cmp_ok(length $expected, '>', 1000, "there are rows by $type");
	return same_csv(table_csv($node, $table, $ClariCluster::columns{forecasts}, 'true', $database), $expected,
		"forecasts by $type in $database, to the last digit");
}

# ---- without a fiscal calendar, which every export of a quarter makes known for good ----

shown(q{CREATE FOREIGN TABLE latest (time_period text, forecast_amount numeric) SERVER clari
	OPTIONS (object 'forecasts', forecast 'net_arr', periods 'current-1..current', period_type 'month')});

subtest 'without a fiscal calendar' => sub {
	begin(period_types => ['month'], month_numbers => 'calendar');
	my ($state, $message) = error('SELECT count(*) FROM months.forecasts');
	is($state, '22000', 'months that are numbered by the calendar year are an error');
	like($message, qr/does not show which fiscal quarter it is for\n.*"2025_M\d\d" \(month\).*HINT:.*by quarters/s, 'that lists them, and says what makes it known');
	begin(period_types => ['month'], known_periods => ['2026_Q4']);
	($state, $message) = error('SELECT count(*) FROM months.forecasts');
	like($message, qr/"2026_M1\d" \(month\), "2026_M1\d" \(month\)/, 'so are those of another quarter');
	begin(period_types => ['year'], known_periods => undef);
	($state, $message) = error('SELECT DISTINCT time_period FROM latest');
	like($message, qr/does not show which fiscal quarter.*"2026" \(year\).*name quarters in option "periods"/s, 'and a year, of the current quarter');
	forecasts_as_generated('years.forecasts', 'year', 'utf8');
	begin(period_types => ['month']);
	forecasts_as_generated('months.forecasts', 'month', 'utf8');
	is(shown('SELECT DISTINCT time_period FROM months.entries'), '2026_Q1', 'but months are of the quarter that is numbered alike');
	is(sim_seen('total.post'), 1, 'at one export');
};

# ---- each combination, to the last digit ----

my @tabs = (
	[ 'quarter' ], [ 'month' ], [ 'year' ], [ 'quarter', 'month' ], [ 'month', 'quarter' ], [ 'quarter', 'month', 'year' ], [ 'month', 'year' ]);
for my $shape (qw(v4 flat csv rows))
{
	for my $types (@tabs)
	{
		subtest "a tab by @$types, $shape" => sub {
			my $lines = $shape eq 'csv' || $shape eq 'rows';
			begin(shape => $shape, period_types => $types, calendar => $lines);
			for my $database (qw(utf8 latin1))
			{
				is_as_generated($node, "quarters.$_", $_, '2026_Q1', database => $database, name => "$_ in $database")
				  for qw(entries users fields time_periods time_frames);
				forecasts_as_generated("${_}s.forecasts", $_, $database) for @$types;
			}
			for my $other (grep { my $type = $_; !grep { $_ eq $type } @$types } qw(quarter month year))
			{
				my ($state, $message) = error("SELECT * FROM ${other}s.forecasts");
				is($state, 'HV021', "none by $other is an error");
				like($message, qr/has no entries of type $other\n.*DETAIL:  It has entries of type \Q${\ join(', ', grep { my $t = $_; grep { $_ eq $t } @$types } qw(quarter month year))}\E: "/s,
					'that lists which there are');
			}
			is(sim_seen('periods.2026_Q1.post'), 1, 'one export');
		};
	}
}

subtest 'CSV, asked for' => sub {
	begin(period_types => [ 'quarter', 'month' ], calendar => 1);
	forecasts_as_generated('csv_months.forecasts', 'month', $_, expected => 'format=csv') for qw(utf8 latin1);
	is(shown('SELECT DISTINCT time_period FROM csv_months.forecasts ORDER BY 1'), "April FY 2026\nFebruary FY 2026\nMarch FY 2026",
		'a month has the name that it has there');
	is(shown(q{SELECT count(*) > 0 FROM csv_months.forecasts WHERE time_period = 'March FY 2026'}), 't', '… and is found by it');
};

subtest 'week by week' => sub {
	begin(period_types => [ 'month', 'quarter' ]);
	forecasts_as_generated('weeks.forecasts', 'month', $_, expected => 'historical=1') for qw(utf8 latin1);
	is_as_generated($node, 'weeks.entries', 'entries', '2026_Q1', database => 'utf8', expected => 'historical=1');
};

# ---- what else a table shows ----

subtest 'never a sum' => sub {
	begin(period_types => [ 'quarter', 'month' ]);
	is(shown('SELECT count(DISTINCT owner_name || coalesce(owner_email, $$$$)) = count(*) FROM quarters.forecasts'), 't', 'an owner has one row of the quarter');
	is(shown('SELECT sum(forecast_amount) FROM quarters.forecasts'),
		shown(q{SELECT sum(forecast_value) FROM quarters.entries WHERE time_period_id = '2026_Q1'}), '… with the amounts of its own');
	is(shown('SELECT time_period, sum(forecast_amount) FROM months.forecasts GROUP BY 1 ORDER BY 1'),
		shown(q{SELECT time_period_id, sum(forecast_value) FROM quarters.entries WHERE time_period_id ~ 'M' GROUP BY 1 ORDER BY 1}), 'a month, too');
	is(shown(q{SELECT count(*) FROM months.forecasts WHERE owner_email = (SELECT max(owner_email) FROM months.forecasts)}), '3', 'three rows with a filter');
	is(shown('SELECT DISTINCT time_period FROM quarters.entries'), '2026_Q1', 'time_period of entries is the quarter');
	shown(q{DROP FOREIGN TABLE IF EXISTS typed; CREATE FOREIGN TABLE typed (owner_email text, month text OPTIONS (key 'time_period_id'), period_type text,
		quarter text OPTIONS (key 'time_period')) SERVER clari OPTIONS (object 'entries', forecast 'net_arr', periods '2026_Q1')});
	is(shown('SELECT DISTINCT month, period_type, quarter FROM typed ORDER BY 1'),
		"2026_M01|month|2026_Q1\n2026_M02|month|2026_Q1\n2026_M03|month|2026_Q1\n2026_Q1|quarter|2026_Q1", 'the type can be had');
};

subtest 'fields of their own' => sub {
	begin(period_types => [ 'quarter', 'month' ], fields => [ { id => 'commit', name => 'Commit', periods => ['quarter'] },
			{ id => 'monthly', name => 'Monthly Commit', periods => ['month'] }, 'quota' ]);
	forecasts_as_generated("${_}s.forecasts", $_, 'utf8') for qw(quarter month);
};

subtest 'a parallel scan' => sub {
	begin(period_types => [ 'quarter', 'month' ], owners => 3000);
	my $sum = 'SELECT count(*), sum(forecast_amount), count(DISTINCT time_period) FROM months.forecasts';
	my $plain = shown($sum);
	is(shown("SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; $sum"), $plain, 'has the same rows');
	like($plain, qr/^9000\|.*\|3$/, '… all of them');
};

# ---- which quarter it is ----

subtest 'another quarter' => sub {
	begin(period_types => ['month'], calendar => 1, known_periods => ['2026_Q4'], period_dates => JSON::PP::true);
	my ($out, $notices) = ('', '');
	$node->psql('utf8', 'SELECT count(*) FROM months.forecasts', stdout => \$out, stderr => \$notices);
	is($out, '0', 'has no rows');
	like($notices, qr/WARNING:  Clari answered period 2026_Q1 with period 2026_Q4: no rows/, 'and a warning that names both');
	begin(period_types => [ 'quarter', 'month' ], known_periods => ['2026_Q4']);
	$node->psql('utf8', 'SELECT count(*) FROM months.forecasts', stdout => \$out, stderr => \$notices);
	is($out, '0', 'nor has it where the file has the quarter, too');
	like($notices, qr/WARNING:  Clari answered period 2026_Q1 with period 2026_Q4/, '… without a calendar');
	sim_set({ known_periods => undef }, forecast => 'net_arr');
};

subtest 'months that are numbered by the calendar year' => sub {
	begin(period_types => ['month'], month_numbers => 'calendar', calendar => 1);
	forecasts_as_generated('months.forecasts', 'month', 'utf8');
	is(shown('SELECT DISTINCT time_period FROM months.entries'), '2026_Q1', 'with one they are of the quarter that was asked for');
};

subtest 'the current quarter' => sub {
	begin(period_types => ['month']);
	is(shown('SELECT DISTINCT time_period FROM latest ORDER BY 1'), "2026_M07\n2026_M08\n2026_M09\n2026_M10\n2026_M11", 'follows from its months');
};

# ---- which quarters are read ----

# The quarters that the query exports, once a first export has told how months are numbered, or (unknown) before.
sub exports
{
	my ($expected, $query, $name, %how) = @_;
	shown('SELECT clari_invalidate()');
	shown('SELECT count(*) FROM learning') unless $how{unknown};
	sim_reset();
	my $rows = shown($query);
	my @posted = grep { sim_seen("periods.$_.post") } map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2025, 2026;
	is("@posted", $expected, $name // $query);
	is($rows, shown("SET clari_fdw.enable_pruning = off; $query"), '… and the rows are the same');
	return;
}

my $all = join(' ', map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2025, 2026);
subtest 'conditions on a month' => sub {
	begin(period_types => ['month'], owners => 20);
	exports($all, q{SELECT count(*) FROM months WHERE time_period = '2026_M05'}, 'before it is known, everything is read', unknown => 1);
	exports('2026_Q2', q{SELECT time_period, count(*) FROM months WHERE time_period = '2026_M05' GROUP BY 1});
	exports('2025_Q4 2026_Q2', q{SELECT time_period, count(*) FROM months WHERE time_period IN ('2026_M05', '2025_M12') GROUP BY 1 ORDER BY 1});
	exports('2025_Q4 2026_Q2 2026_Q3', q{SELECT time_period, count(*) FROM months WHERE time_period BETWEEN '2025_M12' AND '2025_M12' OR
		time_period BETWEEN '2026_M06' AND '2026_M07' GROUP BY 1 ORDER BY 1});
	exports('2025_Q1 2026_Q1', q{SELECT time_period, count(*) FROM months WHERE time_period LIKE '%\_M02' GROUP BY 1 ORDER BY 1});
	exports('2026_Q4', q{SELECT count(*) FROM months WHERE time_period > '2026_M09'});
	exports('2026_Q3', q{SELECT count(*) FROM months m JOIN (VALUES ('2026_M08')) v (x) ON m.time_period = v.x});
	exports('2026_Q3', q{SET plan_cache_mode = force_generic_plan; PREPARE p(text) AS SELECT count(*) FROM months WHERE time_period = $1; EXECUTE p('2026_M08')});
	exports('', q{SELECT count(*) FROM months WHERE time_period = '2024_M01'}, 'outside of the extent');
	exports('', q{SELECT count(*) FROM months WHERE time_period = '2026_Q1'}, 'a quarter is no month');
	exports($all, q{SELECT count(*) FROM months WHERE time_period <> '2026_M05'});
	my $explain = q{EXPLAIN SELECT count(*) FROM months WHERE time_period = '2026_M05'};
	like(shown($explain), qr/Periods: 2026_Q2\n/, 'EXPLAIN knows it, too');
	sim_set({ shape => 'csv' }, forecast => 'net_arr', period => '2026_Q1');
	like(shown("SELECT count(*) FROM csv_months.entries; $explain"), qr/^[1-9]\d*\n.*Periods: 2026_Q2\n/s, '… which a CSV export of the same forecast does not change');
	sim_set({ shape => 'v4' }, forecast => 'net_arr', period => '2026_Q1');
	is(shown(q{SELECT count(*) FROM months WHERE time_period = '2026_M05' AND forecast_name = 'net_arr'}), '20', 'with a condition on the name');
	is(shown(q{SELECT count(*) FROM months WHERE time_period = '2026_M05' AND forecast_name = 'other'}), '0', '… which does not hold');
};

subtest 'where months are numbered by the calendar year' => sub {
	begin(period_types => [ 'month', 'quarter' ], owners => 20, month_numbers => 'calendar');
	exports('2026_Q1', q{SELECT time_period, count(*) FROM months WHERE time_period = '2025_M03' GROUP BY 1});
	exports('2025_Q4 2026_Q4', q{SELECT time_period, count(*) FROM months WHERE time_period IN ('2026_M01', '2025_M01') GROUP BY 1 ORDER BY 1});
};

subtest 'conditions on a year' => sub {
	begin(period_types => [ 'year', 'month' ], owners => 20, calendar => 1);
	shown('SELECT clari_invalidate()');
	exports('2025_Q1 2025_Q2 2025_Q3 2025_Q4', q{SELECT count(*) FROM years WHERE time_period = '2025'});
};

subtest 'files that do not tell' => sub {
	begin(period_types => ['month'], owners => 20, period_dates => JSON::PP::false);
	exports($all, q{SELECT count(*) FROM months WHERE time_period = '2026_M05'}, 'the days of their months');
	begin(period_types => ['month'], owners => 20, shape => 'csv', calendar => 1);
	exports($all, q{SELECT count(*) FROM months WHERE time_period = 'June FY 2026'}, 'ids');
};

subtest 'notices' => sub {
	begin(period_types => ['month'], owners => 20);
	my $notices = sub { my ($out, $err) = ('', ''); $node->psql('utf8', $_[0], stdout => \$out, stderr => \$err); return $err; };
	shown('SELECT clari_invalidate()');
	is($notices->(q{SELECT * FROM months WHERE time_period = '2024_M01'}), '', 'none before it is known what there is');
	like($notices->(q{SELECT * FROM months WHERE time_period = '2024_M01'}), qr/period "2024_M01" is outside option "periods".*HINT:  Use ALTER/s, 'then there is');
	like($notices->(q{SELECT * FROM months WHERE time_period = '2026_Q1'}), qr/period "2026_Q1" is outside.*HINT:  Rows have a month such as 2026_M01/s,
		'one that says what a period looks like');
	is($notices->(q{SELECT * FROM months WHERE time_period = '2026_M01'}), '', 'none about what there is');
};

# ---- sync ----

my $columns = 'owner_name text, owner_email text, forecast_amount numeric, quota_amount numeric, crm_total numeric, crm_closed numeric, '
  . 'adjustment_amount numeric, time_period text, exported_at timestamptz, forecast_name text';
shown(qq{SELECT clari_create_tables();
	CREATE FOREIGN TABLE by_quarter ($columns) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q3', closed_period_ttl '0');
	CREATE FOREIGN TABLE by_month ($columns) SERVER clari OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q3', period_type 'month', closed_period_ttl '0');
	CREATE FOREIGN TABLE by_year ($columns) SERVER clari OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q3', period_type 'year', closed_period_ttl '0');
	CREATE FOREIGN TABLE by_week ($columns, week_start date, week_end date) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q3', period_type 'month', closed_period_ttl '0', include_historical 'true')});

sub sync { my ($table, $more) = @_; my ($out, $err) = ('', ''); $node->psql('utf8', "CALL clari_sync('$table'" . ($more // '') . ')', stdout => \$out, stderr => \$err); return $err; }
sub merged { return shown(q{SELECT string_agg(p || ':' || n, ' ' ORDER BY p) FROM (SELECT time_period AS p, count(*) AS n FROM clari_forecasts GROUP BY 1) AS c}); }
sub begin_sync { begin(null_emails => 0, owners => 50, @_); shown('TRUNCATE clari_forecasts, clari_syncs'); return; }
sub same_as
{
	my ($table, $name) = @_;
	my $columns = 'time_period, owner_email, owner_name, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount';
	is(shown("SELECT count(*) FROM (SELECT $columns FROM clari_forecasts EXCEPT ALL SELECT $columns FROM $table) AS d"), '0', $name);
	return;
}
my $months = join(' ', map { sprintf '2026_M%02d:50', $_ } 1 .. 9);

subtest 'a sync of months' => sub {
	begin_sync(period_types => [ 'quarter', 'month' ]);
	like(sync('by_month'), qr/NOTICE:  9 periods synced: 450 inserted, 0 updated, 0 unchanged, 0 deleted, 0 skipped/, 'merges all months');
	is(merged(), $months, 'by their ids');
	same_as('by_month', 'with the right amounts');
	is(shown('SELECT count(*), min(time_period), max(time_period), sum(inserted), count(DISTINCT job_id) FROM clari_syncs WHERE confirmed_at IS NOT NULL'),
		'9|2026_M01|2026_M09|450|3', 'and notes each of them');
	like(shown('SELECT DISTINCT source FROM clari_syncs'), qr/forecast net_arr, period type month/, '… with its source');
	like(sync('by_month'), qr/ 0 inserted, 0 updated, 450 unchanged, 0 deleted/, 'another one changes nothing');
	sim_set({ version => 1 }, forecast => 'net_arr');
	like(sync('by_month'), qr/ 0 inserted, [1-9]\d* updated, 4\d\d unchanged, 0 deleted/, 'and one of a new version what changed');
	same_as('by_month', '… to the right amounts');
};

subtest 'what is missing' => sub {
	begin_sync(period_types => ['month']);
	sync('by_month');
	shown(q{INSERT INTO clari_forecasts (time_period, forecast_name, owner_email) VALUES ('2026_Q1', 'net_arr', 'q'), ('2026_M04', 'other', 'o'), ('2026_M12', 'net_arr', 'm')});
	sim_set({ owners => 40 }, forecast => 'net_arr', period => '2026_Q2');
	like(sync('by_month', ', delete_missing => true'), qr/420 unchanged, 30 deleted, 0 skipped/, 'is deleted by month');
	is(merged(), '2026_M01:50 2026_M02:50 2026_M03:50 2026_M04:41 2026_M05:40 2026_M06:40 2026_M07:50 2026_M08:50 2026_M09:50 2026_M12:1 2026_Q1:1',
		'and nothing else');
	sim_set({ owners => 10 }, forecast => 'net_arr', period => '2026_Q2');
	my $said = sync('by_month', ', delete_missing => true');
	like($said, qr/could not sync 1 of 3 periods.*Period 2026_Q2: In 2026_M06: 30 of its 40 rows are no longer at Clari/s, 'but not too much');
	is(shown('SELECT count(*) FROM clari_syncs WHERE error IS NOT NULL'), '3', 'which is noted of each month');
	sim_set({ owners => 0 }, forecast => 'net_arr', period => '2026_Q2');
	like(sync('by_month', ', delete_missing => true'), qr/period 2026_Q2: the export is empty; nothing is deleted for it/, 'and an empty export deletes nothing');
	sim_set({ owners => 50 }, forecast => 'net_arr', period => '2026_Q2');
};

subtest 'what fails' => sub {
	begin_sync(period_types => ['month']);
	sim_fault({ status => 400, body => 'x' }, step => 'post', forecast => 'net_arr', period => '2026_Q2', times => 1);
	like(sync('by_month'), qr/6 periods synced.*could not sync 1 of 3 periods/s, 'costs no other quarter');
	is(shown('SELECT time_period FROM clari_syncs WHERE error IS NOT NULL'), '2026_Q2', 'and is noted as the quarter, whose months nobody knows');
	shown(q{SELECT clari_invalidate('by_month')});
	like(sync('by_month'), qr/9 periods synced/, 'until it is good');
	is(shown('SELECT count(*) FROM clari_syncs WHERE error IS NOT NULL'), '0', '… and nothing is bad any more');
	sync('by_quarter');
	sim_set({ period_types => ['quarter'] }, forecast => 'net_arr');
	like(sync('by_month'), qr/could not sync 3 of 3 periods.*Period 2026_Q1: The export has no entries of type month\./s, 'a tab that has no months is bad');
	is(shown(q{SELECT count(*) FROM clari_syncs WHERE time_period LIKE '%Q%' AND exported_at IS NOT NULL AND error IS NOT NULL}), '0',
		'and does not make the quarters of another source bad');
};

subtest 'quarters and months in one table' => sub {
	begin_sync(period_types => [ 'month', 'quarter' ]);
	sync('by_quarter');
	sync('by_month', ', delete_missing => true');
	sync('by_quarter', ', delete_missing => true');
	is(merged(), "$months 2026_Q1:50 2026_Q2:50 2026_Q3:50", 'stand side by side');
	is(sim_seen('periods.2026_Q1.post'), 3, 'of one export each');
	like(shown(q{SELECT string_agg(DISTINCT source, ';' ORDER BY source) FROM clari_syncs}), qr/^[^;]*;[^;]*period type month/, 'from two sources');
};

subtest 'a year' => sub {
	begin_sync(period_types => [ 'year', 'month' ], calendar => 1);
	my $said = sync('by_year', ', delete_missing => true');
	like($said, qr/1 period synced: 50 inserted, 0 updated, 0 unchanged, 0 deleted, 0 skipped/, 'that three exports have is merged once');
	like($said, qr/NOTICE:  period 2026_Q\d: the export of 2026_Q\d has the same periods, and is merged instead/, '… and it is said from which');
	is(merged(), '2026:50', 'and stands there once');
	is(shown('SELECT time_period FROM clari_syncs'), '2026', 'also in clari_syncs');
};

subtest 'with weeks' => sub {
	begin_sync(period_types => [ 'month', 'quarter' ]);
	like(sync('by_week'), qr/9 periods synced: 450 inserted/, 'the latest week of each month is merged');
	same_as('by_month', 'which is what an export without weeks has');
};

subtest 'from CSV, and in LATIN1' => sub {
	begin_sync(period_types => [ 'month', 'quarter' ], calendar => 1);
	like(sync('csv_months.forecasts'), qr/3 periods synced: 150 inserted/, 'months are synced by their names');
	is(merged(), 'April FY 2026:50 February FY 2026:50 March FY 2026:50', '… which are their periods');
	$node->safe_psql('latin1', q{SELECT clari_create_tables(); CALL clari_sync('months.forecasts', delete_missing => true)});
	is($node->safe_psql('latin1', 'SELECT count(*), count(DISTINCT time_period), sum(forecast_amount) FROM clari_forecasts'),
		shown('SELECT count(*), count(DISTINCT time_period), sum(forecast_amount) FROM months.forecasts'), 'and by their ids in another encoding');
};

subtest 'inside of a transaction block' => sub {
	begin_sync(period_types => [ 'month' ]);
	shown(q{BEGIN; CALL clari_sync('by_month', '{2026_Q1}'); COMMIT});
	is(merged(), '2026_M01:50 2026_M02:50 2026_M03:50', 'it is the same');
};

done_testing();
