# CSV, and its lines as JSON objects: the same rows to the last digit in every encoding, whatever was asked for; the quarter by its
# days; and an error, with the text, for whatever is not sure.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use JSON::PP;
use Test::More;

start_sim(job_seconds => 0.05, owners => 330, charset => 'latin1', concurrent_limit => 100, monthly_quota => 100_000);
my $node = start_node('csv', "clari_fdw.worker_idle_timeout = '10min'", 'clari_fdw.max_workers = 1');
for my $database (qw(utf8 latin1))
{
	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$database' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION clari_fdw');
	create_server($node, database => $database, max_retries => 1);
	$node->safe_psql($database, q{CREATE SCHEMA clari; CREATE SCHEMA csv; CREATE SCHEMA weeks; CREATE SCHEMA calendar;
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari OPTIONS (periods '2022_Q1..2026_Q4');
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO csv OPTIONS (periods '2022_Q1..2026_Q4', format 'csv');
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO weeks OPTIONS (periods '2026_Q1', format 'csv', include_historical 'true');
		IMPORT FOREIGN SCHEMA bookings FROM SERVER clari INTO calendar OPTIONS (periods '2025_Q3')});
}

sub shown { my ($query) = @_; return $node->safe_psql('utf8', $query); }
sub error { my ($query) = @_; return query_error($node, $query, 'utf8'); }

# The forecast's settings, which differ from the others'.
my %csv = (shape => 'csv', lines => 'gathered', line_end => "\r\n", columns => undef, amount_format => 'minus', amounts => 'wild',
	fields => undef, export_formats => [ 'JSON', 'CSV' ], null_emails => 40, transfer => 'chunked', rows_truncated => JSON::PP::false);

# Nothing is cached but an export as JSON of another forecast and quarter, which tells the calendar.
sub begin
{
	my (%settings) = @_;
	start_over($node);
	shown('SELECT count(*) FROM calendar.time_periods');
	sim_set({ %csv, %settings }, forecast => 'net_arr');
	return;
}

my $q1 = "time_period = '2026_Q1'";

# ---- the calendar ----

subtest 'without a calendar nothing is asked for' => sub {
	start_over($node);
	my ($state, $message) = error("SELECT * FROM csv.forecasts WHERE $q1");
	is($state, '22000', 'an error');
	like($message, qr/the fiscal calendar that gives the quarter of a CSV export is not known/, 'it says what is missing');
	like($message, qr/period 2026_Q1/, '… for which quarter');
	like($message, qr/HINT:.*"format" 'json' once/, '… and how it becomes known');
	is(sim_seen('total.post'), 0, 'and costs no export');
};

subtest 'CSV that was not asked for, without a calendar' => sub {
	start_over($node);
	sim_set({ shape => 'csv' }, forecast => 'net_arr');
	my ($state, $message) = error("SELECT * FROM clari.forecasts WHERE $q1");
	like($message, qr/calendar .* is not known/, 'is the same error');
	is(sim_seen('total.post'), 1, 'of one export');
	is((error("SELECT * FROM csv.forecasts WHERE $q1"))[0], '22000', 'and so is what is asked for as CSV');
	shown('SELECT count(*) FROM calendar.time_periods');
	is(shown("SELECT count(*) > 0 FROM csv.forecasts WHERE $q1"), 't', '… where who does what the hint says need not wait');
	wait_until('the failure is forgotten', sub { query_error($node, "SELECT 1 FROM clari.forecasts WHERE $q1 LIMIT 1", 'utf8') eq '' });
	is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1', database => 'utf8', name => 'once it is known, the rows are there');
	is(sim_seen('forecasts.net_arr.post'), 2, 'of the same export');
};

# ---- each shape, to the last digit ----

my $reversed = [ reverse('User', 'Email', 'CRM User ID', 'Role', 'Parent Role', 'Timeframe', 'Field', 'Week', 'Start Day', 'End Day',
	'Data Type', 'Data Value') ];
my @shapes = (
	[ 'CSV, asked for', 'csv', shape => 'v4' ],
	[ 'CSV, not asked for', 'clari', {} ],
	[ 'lines apart', 'csv', lines => 'by_type' ],
	[ 'LF, and columns the other way round', 'csv', line_end => "\n", columns => $reversed ],
	[ 'parentheses', 'csv', amount_format => 'parentheses' ],
	[ 'lines as objects', 'clari', shape => 'rows' ],
	[ 'nothing but cells', 'clari', shape => 'cells' ],
	[ 'lines as objects, asked for as CSV', 'csv', shape => 'rows', lines => 'by_type', columns => $reversed ]);
for my $case (@shapes)
{
	my ($what, $schema, @settings) = @$case;
	subtest $what => sub {
		begin(ref $settings[0] ? () : @settings);
		for my $database (qw(utf8 latin1))
		{
			is_as_generated($node, "$schema.$_", $_, '2026_Q1', database => $database, name => "$_ in $database",
				expected => "format=$schema") for qw(forecasts entries users fields time_periods time_frames);
		}
		is(sim_seen('periods.2026_Q1.post'), 1, 'one export');
	};
}

subtest 'a byte order mark' => sub {
	begin();
	sim_fault({ replace => [ 'User,', "\x{feff}User," ] }, step => 'results', forecast => 'net_arr');
	is_as_generated($node, 'csv.entries', 'entries', '2026_Q1', database => 'utf8');
};

# ---- files of our own ----

my $header = 'User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week,Start Day,End Day,Data Type,Data Value';
my $keys = 'Ada,ada@example.com,005A,Rep,CEO,Q1 FY 2026,Commit,2,02/10/2025,02/16/2025';

# The file that is next.
sub file
{
	my ($text, %fault) = @_;
	begin();
	sim_fault({ status => 200, body => $text, carry_out => JSON::PP::true, %fault }, step => 'results', forecast => 'net_arr');
	return;
}

subtest 'a header and nothing else' => sub {
	file("$header\r\n");
	is(shown("SELECT count(*) FROM csv.forecasts WHERE $q1"), '0', 'has no rows');
	is(shown("SELECT state, rows FROM clari_cache WHERE $q1"), 'ready|0', 'and is no error');
};

subtest 'quotes, and names of another case' => sub {
	file(join "\n", "\x{feff}TEAM," . lc($header), qq{"T","Ada ""The\r\nCount"" L\x{f6}velace, jr.",,,,,"Q1 FY 2026",Commit,2,02/10/2025,02/16/2025,"quota value","(1,234.50)"});
	is($node->safe_psql($_, qq{SELECT owner_name = U&'Ada "The\\000D\\000ACount" L\\00F6velace, jr.', owner_email IS NULL, quota_value
		FROM csv.entries WHERE $q1}), 't|t|-1234.50', "in $_") for qw(utf8 latin1);
};

subtest 'amounts of many digits' => sub {
	my $digits = join(',', '12', ('345') x 300) . '.' . '67' x 100;
	file(qq{$header\n$keys,Forecast Value,"\$$digits"\n});
	is(shown("SELECT forecast_value FROM csv.entries WHERE $q1"), $digits =~ s/,//gr, 'come to the last one');
	file("$header\n$keys,Forecast Value," . '9' x 140_000 . "\n");
	my ($state, $message) = error("SELECT * FROM csv.entries WHERE $q1");
	like($message, qr/a number that numeric cannot keep.*It is "999/s, '… or are too many');
};

subtest 'a list of lines with a NUL' => sub {
	file('[{"Data Type":"Quota","Data Value":"1","Field":"F","User":"A\u0000B"}]');
	my ($state, $message) = error("SELECT * FROM csv.entries WHERE $q1");
	is($state, '22000', 'is an error');
	like($message, qr/An escaped NUL character/, 'that says so');
};

subtest 'a file that Clari says it has truncated' => sub {
	begin(rows_truncated => JSON::PP::true);
	like((error("SELECT * FROM csv.entries WHERE $q1"))[1], qr/truncated/, 'is refused as JSON is');
};

subtest 'a file of which nobody knows the end' => sub {
	begin(transfer => 'close');
	my ($state, $message) = error("SELECT count(*) FROM csv.forecasts WHERE $q1");
	is($state, '22000', 'may have been cut behind any line');
	like($message, qr/the export file may end too early.*neither a length nor chunks.*HINT:  Whatever answers in Clari's place/s, '… says the error');
	is(sim_seen('periods.2026_Q1.post'), 1, '… of one export');
	file("$header\n$keys,Forecast Value,\$500", gzip => 'on');
	like((error("SELECT * FROM csv.entries WHERE $q1"))[1], qr/last line does not end, and came compressed/, 'nor is it whole if it may have been cut in an amount');
	file("$header\n$keys,Forecast Value,\$500");
	is(shown("SELECT forecast_value FROM csv.entries WHERE $q1"), '500', 'which not asking for compression avoids');
	for my $end ({ transfer => 'length' }, { transfer => 'close', shape => 'rows' })
	{
		begin(%$end);
		cmp_ok(shown("SELECT count(*) FROM csv.forecasts WHERE $q1"), '>', 300, "but not with $$end{transfer}" . ($$end{shape} ? ', as a list' : ''));
	}
};

subtest 'week by week' => sub {
	begin(shape => 'v4');
	is_as_generated($node, 'weeks.entries', 'entries', '2026_Q1', database => 'utf8', expected => 'format=csv&historical=1');
	my $weeks = shown('SELECT count(DISTINCT (week_start, week_end)) FROM weeks.entries');
	cmp_ok($weeks, '>', 10, 'all of its weeks');
	is(shown('SELECT count(*) FROM weeks.forecasts'), shown('SELECT count(*) FROM (SELECT DISTINCT owner_name, owner_email, crm_user_id,
		week_start FROM weeks.entries) AS runs'), 'a row of forecasts for each owner and week');
	is(shown(q{SELECT count(*) FROM weeks.entries a JOIN weeks.fields b USING (field_id) WHERE a.field_name = b.field_name}),
		shown('SELECT count(*) FROM weeks.entries'), 'a field is found by its name');
};

subtest 'a field is chosen by its name' => sub {
	begin(shape => 'v4', amounts => 'plain', fields => [ { id => 'c', name => 'Commit', type => 'FORECAST' }, 'best_case' ]);
	shown(q{DROP FOREIGN TABLE IF EXISTS chosen; CREATE FOREIGN TABLE chosen (owner_email text, forecast_amount numeric, time_period text)
		SERVER clari OPTIONS (forecast 'net_arr', periods '2026_Q1', format 'csv', forecast_field 'Commit')});
	is(shown('SELECT sum(forecast_amount) FROM chosen'), shown("SELECT sum(forecast_value) FROM csv.entries WHERE $q1 AND field_name = 'Commit'"),
		'its amounts are shown');
	my ($state, $message) = error("SELECT forecast_amount FROM csv.forecasts WHERE $q1");
	like($message, qr/several fields.*"Commit" \(Commit\), "Best Case" \(Best Case\)/s, 'where there are several they are listed');
};

subtest 'two exports' => sub {
	begin(shape => 'v4');
	my $amounts = "SELECT sum(forecast_amount), sum(quota_amount), sum(adjustment_amount), sum(crm_total), sum(crm_closed) FROM %s.forecasts WHERE $q1";
	is(shown(sprintf $amounts, 'csv'), shown(sprintf $amounts, 'clari'), 'as JSON and as CSV have the same amounts');
	is(sim_seen('periods.2026_Q1.post'), 2, 'and are two');
};

# ---- which quarter it is ----

subtest 'another quarter' => sub {
	begin(shape => 'v4');
	my ($out, $notices) = ('', '');
	$node->psql('utf8', q{SELECT count(*) FROM csv.forecasts WHERE time_period = '2022_Q3'}, stdout => \$out, stderr => \$notices);
	is($out, '0', 'has no rows');
	like($notices, qr/WARNING:  Clari answered period 2022_Q3 with period 2026_Q4: no rows/, 'and a warning that names both');
};

subtest 'the current quarter' => sub {
	begin(shape => 'v4');
	shown(q{DROP FOREIGN TABLE IF EXISTS latest; CREATE FOREIGN TABLE latest (forecast_amount numeric, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', periods 'current-1..current', format 'csv')});
	is(shown('SELECT DISTINCT time_period FROM latest ORDER BY 1'), "2026_Q3\n2026_Q4", 'is told by its days');
	is(shown(q{SELECT count(*) FROM csv.forecasts WHERE time_period = '2026_Q4'}), shown(q{SELECT count(*) FROM latest WHERE time_period = '2026_Q4'}),
		'and serves by its name');
};

# ---- what cannot be read ----

# [what, from, to, tells]
my @refused = (
	[ 'a day', 'Start Day,End Day,Data Type,Data Value', 'Start Day,End Day,Data Type,Value',
		qr/CSV without column "Data Value".*It begins with "User,Email,CRM User ID,Role,Parent Role,Timeframe,Field,Week/s ],
	[ 'a data type', 'Forecast Value', 'Win Rate', qr/data type that is not known.*"Win Rate".*in line \d+ of the file/s ],
	[ 'an answer', 'Forecast Updated,Yes', 'Forecast Updated,Ja', qr/cannot be read exactly.*is "Ja", which is not Yes or No/s ],
	[ 'an amount', 'Forecast Value,"$', 'Forecast Value,"$.', qr/cannot be read exactly.*The "Forecast Value" of a line is "\$\.[\d,.]+"/s ],
	[ 'a line', "\r\n", ",\r\n", qr/not valid CSV.*A line has 12 cells instead of 13, in line 2/s ]);
for my $case (@refused)
{
	my ($what, $from, $to, $tells) = @$case;
	subtest "$what that cannot be read" => sub {
		begin(amounts => 'plain');
		sim_fault({ replace => [ $from, $to ] }, step => 'results', forecast => 'net_arr');
		my ($state, $message) = error("SELECT count(*) FROM csv.forecasts WHERE $q1");
		is($state, '22000', 'is an error');
		like($message, $tells, 'that shows it');
		is(shown("SELECT state, rows FROM clari_cache WHERE $q1"), 'failed|', 'and nothing is cached');
	};
}

subtest 'amounts of another locale' => sub {
	begin(amount_format => 'continental', amounts => 'plain');
	my ($state, $message) = error("SELECT count(*) FROM csv.forecasts WHERE $q1");
	is($state, '22000', 'are an error');
	like($message, qr/is "\$[\d.]+,\d\d", which is not an amount such as \$3,000,190\.00/, 'that shows one');
};

subtest 'an account that has no CSV, and one that has nothing else' => sub {
	begin(shape => 'v4', export_formats => [ 'JSON' ]);
	my ($state, $message) = error("SELECT count(*) FROM csv.forecasts WHERE $q1");
	like($message, qr/offered as JSON only/, 'Clari says so');
	begin(shape => 'v4', export_formats => [ 'CSV' ]);
	($state, $message) = error("SELECT count(*) FROM clari.forecasts WHERE $q1");
	like($message, qr/offered as CSV only/, '… of the other');
	cmp_ok(shown("SELECT count(*) FROM csv.forecasts WHERE $q1"), '>', 300, 'whose CSV comes');
};

# ---- what goes on with it ----

subtest 'a sync' => sub {
	begin(shape => 'v4', null_emails => 0);
	shown(q{SELECT clari_create_tables(); CALL clari_sync('csv.forecasts', '{2026_Q1,2026_Q2}')});
	is(shown('SELECT time_period, count(*), sum(forecast_amount), sum(quota_amount), sum(crm_closed) FROM clari_forecasts GROUP BY 1 ORDER BY 1'),
		shown(q{SELECT time_period, count(*), sum(forecast_amount), sum(quota_amount), sum(crm_closed) FROM csv.forecasts
			WHERE time_period IN ('2026_Q1', '2026_Q2') GROUP BY 1 ORDER BY 1}), 'merges it as any other');
};

subtest 'a restart' => sub {
	begin(shape => 'v4');
	shown("SELECT count(*) FROM csv.forecasts WHERE $q1");
	my $posts = sim_seen('total.post');
	$node->restart;
	cmp_ok(shown("SELECT count(*) FROM csv.forecasts WHERE $q1"), '>', 300, 'the rows are still there');
	is(sim_seen('total.post'), $posts, 'without another export');
	cmp_ok(shown("SELECT count(*) FROM csv.forecasts WHERE time_period = '2026_Q3'"), '>', 300, 'and the calendar is still known');
};

done_testing();
