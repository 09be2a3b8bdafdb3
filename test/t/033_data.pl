# The file in shapes that clients have met: what can be kept is kept exactly, what a column cannot hold is an error for those
# who select it and for nobody else, and what is no export file says what it begins with.
use strict;
use warnings FATAL => 'all';

use Encode;
use FindBin;
use IO::Compress::Gzip qw(gzip $GzipError);
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

start_sim(job_seconds => 0.05, owners => 30, concurrent_limit => 100, monthly_quota => 100_000, transfer => 'chunked');
my $node = start_node('data', "clari_fdw.worker_idle_timeout = '10min'", 'clari_fdw.max_workers = 1');
create_server($node, max_retries => 1, export_timeout => '20s');
import_tables($node);
my $session = ClariSession->new($node);

# The quarter's file, with the first of one text replaced by another.
sub with_file
{
	my ($from, $to) = @_;
	start_over($node);
	sim_fault({ replace => [ $from, $to ] }, step => 'results', period => '2026_Q1');
	return;
}

# Another file in its place, of any bytes.
sub with_body
{
	my ($body) = @_;
	start_over($node);
	sim_fault({ status => 200, body => $body, carry_out => JSON::PP::true }, step => 'results', period => '2026_Q1');
	return;
}

# A small file: an entry of one user, and of each list what it needs, but for what is given.
sub small_file
{
	my %lists = (entries => [ {} ], users => '{"userId":"u","name":"Ann","email":"ann@x"}', fields => '{"fieldId":"f","fieldName":"F"}',
		timePeriods => '{"timePeriodId":"2026_Q1","type":"quarter","endDate":"2025-04-30"}',
		timeFrames => '{"timeFrameId":"w","startDate":"2025-02-01","endDate":"2025-02-07"}', @_);
	my @entries = map { my $e = { timePeriodId => '"2026_Q1"', %$_ };
		'{"userId":"u","fieldId":"f","timeFrameId":"w",' . join(',', map { qq("$_":$e->{$_}) } sort keys %$e) . '}' } @{ $lists{entries} };
	return '{' . join(',', map { qq("$_":[) . ($_ eq 'entries' ? join(',', @entries) : $lists{$_}) . ']' } sort keys %lists) . '}';
}

sub answer { my ($query) = @_; return $session->query($query); }

# One export, however often it was asked for; nothing of it is cached when that failed.
sub is_one_export
{
	my ($name) = @_;
	is(sim_seen('periods.2026_Q1.post'), 1, $name // 'one export');
	return;
}

sub is_refused
{
	my ($query, @tells) = @_;
	my $error = answer($query);
	like($error, qr/^ERROR:  22000: /m, 'an error with SQLSTATE 22000');
	like($error, $_, "it tells $_") for @tells;
	return;
}

# Whether the file failed, and nothing of it is cached.
sub is_failed
{
	is(answer("SELECT state, rows FROM clari_cache WHERE time_period = '2026_Q1'"), 'failed|', 'nothing is cached');
	is_one_export();
	return;
}

# ---- before the file, and before any answer ----

my $bom = "\x{feff}";
subtest 'a byte order mark before every answer' => sub {
	start_over($node);
	sim_fault({ replace => [ '{', "$bom\{" ] }, step => $_) for qw(post poll results limits);
	sim_fault({ replace => [ '[', "$bom\[" ] }, step => 'list');
	is_as_generated($node, "clari.$_", $_, '2026_Q1') for qw(entries forecasts users fields time_periods time_frames);
	is_one_export();
};
subtest 'a byte order mark before a refusal' => sub {
	start_over($node);
	sim_fault({ status => 400, body => "$bom" . '{"code":"no_such_thing","message":"No such thing."}' }, step => 'post');
	like(answer("SELECT * FROM clari.entries WHERE time_period = '2026_Q1'"), qr/code "no_such_thing", message "No such thing\."/,
		'what it says is read');
};
subtest 'a byte order mark elsewhere is an error' => sub {
	with_file('"users":[', "${bom}\"users\":[");
	is_refused("SELECT * FROM clari.entries WHERE time_period = '2026_Q1'", qr/not valid JSON/);
	is_failed();
};

# ---- texts that came as something else ----


my $q1 = "time_period = '2026_Q1'";

# [JSON of a scope, the text that it becomes]
my @scopes = (
	[ '{"type": "USER", "userId": "19/05", "userType": null}', '{"type":"USER","userId":"19/05","userType":null}' ],
	[ '"{\"type\": \"USER\"}"', '{"type": "USER"}' ],
	[ '{ }', '{}' ],
	[ '[1.50, 123456789012345678901234567890, -1E+2, [ true, false, null ]]',
		'[1.50,123456789012345678901234567890,-1E+2,[true,false,null]]' ],
	[ '{"n":"\u00e9\/\n\"\u0001"}', qq({"n":"\x{c3}\x{a9}/\\n\\"\\u0001"}) ],
	[ 'true', 'true' ], [ '17', '17' ], [ '0.10', '0.10' ], [ '-1e-400', '-1e-400' ], [ '"u"', 'u' ]);
for my $case (@scopes)
{
	my ($json, $text) = @$case;
	subtest "a scope that is $json" => sub {
		with_file('"users":[', qq("users":[{"userId":"x","name":"X","scopeId":$json},));
		is(answer("SET client_encoding = 'UTF8'; SELECT scope_id FROM clari.users WHERE $q1 AND user_id = 'x'"), $text, 'is that text');
		is(answer("SELECT count(*) FROM clari.users WHERE $q1"), 32, 'beside all others');
		is_one_export();
	};
}

subtest 'a scope can be taken apart' => sub {
	with_file('"users":[', '"users":[{"userId":"x","scopeId":{"type":"USER","userId":"280627:00E4"}},');
	is(answer("SELECT scope_id::jsonb ->> 'userId' FROM clari.users WHERE $q1 AND scope_id LIKE '{%'"), '280627:00E4', 'by jsonb');
};

subtest 'a NUL in it is an error' => sub {
	with_file('"users":[', '"users":[{"userId":"x","scopeId":{"a":"b\u0000"}},');
	is_refused("SELECT count(*) FROM clari.users WHERE $q1", qr/An escaped NUL character/);
	is_failed();
};

subtest 'names, e-mails, labels and currencies of other types are texts' => sub {
	with_body(small_file(
		users => '{"userId":"u","name":{"first":"Ann"},"email":17,"crmId":true,"hierarchyName":[],"parentHierarchyName":1.50}',
		fields => '{"fieldId":"f","fieldName":false,"fieldType":{}}',
		timePeriods => '{"timePeriodId":"2026_Q1","type":1,"label":[1],"year":2026,"crmId":{"a":{}}}',
		entries => [ { forecastValue => '1.50', updatedBy => '{"id":1}', currency => '["USD"]' } ]));
	is(answer("SELECT owner_name, owner_email, crm_user_id, role, parent_role, field_name, field_type, forecast_value, updated_by, currency
		FROM clari.entries WHERE $q1"), '{"first":"Ann"}|17|true|[]|1.50|false|{}|1.50|{"id":1}|["USD"]', 'of entries');
	is(answer("SELECT owner_name, owner_email, forecast_amount FROM clari.forecasts WHERE $q1"), '{"first":"Ann"}|17|1.50', 'of forecasts');
	is(answer("SELECT type, label, year, crm_id FROM clari.time_periods WHERE $q1"), '1|[1]|2026|{"a":{}}', 'of quarters');
	is_one_export();
};

for my $case (
	[ 'a user', users => '{"userId":{"id":"u"}}' ],
	[ 'a field', fields => '{"fieldId":["f"]}' ],
	[ 'a quarter', timePeriods => '{"timePeriodId":{"id":"2026_Q1"}}' ],
	[ 'a week', timeFrames => '{"timeFrameId":1.5}' ],
	[ 'an entry\'s quarter', entries => [ { timePeriodId => 'true' } ] ])
{
	my ($what, @list) = @$case;
	subtest "an id of $what that is no text" => sub {
		with_body(small_file(@list));
		is_refused("SELECT count(*) FROM clari.entries WHERE $q1", qr/wrong type/, qr/instead of a string/);
		is_failed();
	};
}

# ---- what a column cannot hold ----

# [what, object, column, the text that is replaced, by what, what the error tells]
my $in_entry = qr/, in an item of list "entries" with userId "[0-9a-f]{24}", timeFrameId "TF:2025-04-26", fieldId "net_arr_forecast"\./;
my @unexpected = (
	[ 'a boolean that is a text', 'entries', 'is_updated', '"isUpdated":true', '"isUpdated":"yes"',
		qr/DETAIL:  It is the string "yes" instead of true or false$in_entry/ ],
	[ 'a boolean that is a number', 'entries', 'is_updated', '"isUpdated":true', '"isUpdated":1.0', qr/the number 1\.0 instead of true or false$in_entry/ ],
	[ 'a time that is a text', 'entries', 'updated_on', '"updatedOn":', '"updatedOn":"2026-01-01","x":',
		qr/the string "2026-01-01" instead of milliseconds since 1970 as an integer$in_entry/ ],
	[ 'a time that is an object', 'entries', 'adjusted_on', '"adjustedOn":', '"adjustedOn":{"ms": 1},"x":', qr/the object \{"ms":1\} instead of/ ],
	[ 'a day that is an integer', 'time_frames', 'start_date', '"startDate":"2025-04-26"', '"startDate":20250426',
		qr/the number 20250426 instead of a text with a date, in an item of list "timeFrames" with timeFrameId "TF:2025-04-26"\./ ],
	[ 'a day that is an integer, joined', 'entries', 'week_start', '"startDate":"2025-04-26"', '"startDate":20250426',
		qr/the number 20250426 instead of a text with a date$in_entry/ ],
	[ 'an end that is an array', 'time_periods', 'end_date', '"endDate":"2025-04-30","crmId"', '"endDate":[],"crmId"',
		qr/the array \[\] instead of a text with a date, in an item of list "timePeriods" with timePeriodId "2026_Q1"\./ ]);

# The rows of all columns of all objects but those.
sub all_but
{
	my (%but) = @_;
	my @digests;
	for my $object (sort keys %ClariCluster::columns)
	{
		my $columns = join(', ', grep { !$but{"$object.$_"} } split ' ', $ClariCluster::columns{$object});
		push @digests, answer(qq{SELECT count(*) || ' ' || md5(string_agg(t::text, ';' ORDER BY t::text COLLATE "C"))
			FROM (SELECT $columns FROM clari.$object WHERE $q1) t});
	}
	return join("\n", @digests);
}

for my $case (@unexpected)
{
	my ($what, $object, $column, $from, $to, $tells) = @$case;
	subtest $what => sub {
		# A day is joined into entries, too.
		my %but = ("$object.$column" => 1, $to =~ /2025/ ? ('time_frames.start_date' => 1, 'entries.week_start' => 1) : ());
		start_over($node);
		my $right = all_but(%but);
		with_file($from, $to);
		is(all_but(%but), $right, 'all others come');
		my @all = ($tells, qr/the export of period 2026_Q1 of forecast "net_arr" holds a value of the wrong type for column "$column"/,
			qr/HINT:  Queries that do not use the column/);
		is_refused("SELECT $column FROM clari.$object WHERE $q1", @all);
		is_refused("SELECT * FROM clari.$object WHERE $q1", @all) unless $column eq 'week_start';
		is_refused("SELECT count(*) FROM clari.$object WHERE $q1 AND $column IS NULL", @all);
		is_refused("SELECT count($column) FROM clari.$object WHERE $q1", @all);
		like(answer("EXPLAIN SELECT * FROM clari.$object WHERE $q1 AND $column IS NOT NULL"), qr/^Foreign Scan/, 'it can be planned');
		is(answer("SELECT state FROM clari_cache WHERE $q1"), 'ready', 'it is cached');
		is(answer("SELECT count($column) > 0 FROM clari.$object WHERE time_period = '2026_Q2'"), 't', 'in another quarter the column comes');
		is_one_export();
		is(sim_seen('total.results'), 2, 'one download of each quarter');
	};
}

subtest 'also from a file, in parallel workers, in forecasts, and for clari_sync' => sub {
	with_file('"updatedOn":', '"updatedOn":{},"x":');
	$session->query('CREATE FOREIGN TABLE clari.touched (owner_name text, updated_on timestamptz, forecast_amount numeric)
		SERVER clari OPTIONS (object \'forecasts\', forecast \'net_arr\', periods \'2026_Q1\')');
	is(answer('SELECT count(*) FROM clari.touched WHERE forecast_amount IS NOT NULL'),
		answer("SELECT count(*) FROM clari.forecasts WHERE $q1 AND forecast_amount IS NOT NULL"), 'owners come');
	is_refused('SELECT owner_name, updated_on FROM clari.touched', qr/column "updated_on"/, qr/the object \{\} instead/);
	my $parallel = debug_parallel($node);
	is_refused("SET $parallel = on; SELECT max(updated_on) FROM clari.entries WHERE $q1", qr/column "updated_on"/);
	$session->query("RESET $parallel; SELECT clari_create_tables()");
	unlike(answer("CALL clari_sync('clari.forecasts', '{2026_Q1}')"), qr/ERROR|WARNING/, 'a sync takes it');
	is(answer("SELECT count(*) FROM clari_forecasts WHERE $q1"),
		answer("SELECT count(DISTINCT owner_email) FROM clari.forecasts WHERE $q1"), 'every owner with an e-mail');
	unlike(answer('ANALYZE clari.entries'), qr/ERROR/, 'it can be analyzed');
	$node->restart;
	$session = ClariSession->new($node);
	is_refused("SELECT updated_on FROM clari.entries WHERE $q1", qr/column "updated_on"/, qr/the object \{\} instead/);
	$session->query('DROP FOREIGN TABLE clari.touched');
};

for my $value ('"5"', '{}', '[1]', 'true')
{
	subtest "an amount that is $value is an error for all" => sub {
		with_body(small_file(entries => [ { crmTotal => $value } ]));
		is_refused("SELECT owner_name FROM clari.entries WHERE $q1", qr/wrong type/, qr/Attribute "crmTotal" is an? \w+ instead of a number/);
		is_failed();
	};
}

# ---- an attribute under both of its names ----

my %columns_of = (crmTotal => 'crm_total', crmClosed => 'crm_closed', forecastValue => 'forecast_value', quotaValue => 'quota_value',
	adjustmentValue => 'adjustment_value');
my @pairs = ([ 'crmTotal', 'aggregationTotal' ], [ 'crmClosed', 'aggregationClosed' ], [ 'forecastValue', 'forecastAmount' ],
	[ 'quotaValue', 'quotaAmount' ], [ 'adjustmentValue', 'adjustmentAmount' ]);
for my $pair (@pairs)
{
	my ($one, $other) = @$pair;
	subtest "$other beside $one" => sub {
		for my $value ('5', '5.0', '5e0', '50E-1')
		{
			with_body(small_file(entries => [ { $one => '5', $other => $value } ]));
			is(answer("SELECT $columns_of{$one} = 5 FROM clari.entries WHERE $q1"), 't', "5 and $value are one amount");
			is_one_export();
		}
		for my $value ('-5', '5.0000000000000000000000000001', '50')
		{
			with_body(small_file(entries => [ { $one => '5', $other => $value } ]));
			is_refused("SELECT count(*) FROM clari.entries WHERE $q1", qr/an attribute twice/, qr/has another value under its other name/);
			is_failed();
		}
	};
}
subtest 'timePeriod beside timePeriodId' => sub {
	with_body(small_file(entries => [ { timePeriod => '"2026_Q1"', forecastValue => 7 } ]));
	is(answer("SELECT forecast_value FROM clari.entries WHERE $q1"), '7', 'the same');
	with_body(small_file(entries => [ { timePeriod => '"2026_Q2"', forecastValue => 7 } ]));
	is_refused("SELECT forecast_value FROM clari.entries WHERE $q1", qr/has another value under its other name/);
};

# ---- more quarters in the file ----

my ($listed, $further) = map { qq({"timePeriodId":"2026_Q$_","type":"quarter","startDate":"2025-0$_-01","endDate":"2025-0$_-28"}) } 1, 2;
my $month = '{"timePeriodId":"2026_M01","type":"month"}';
my $wrong = qr/^WARNING:  02000: .*Clari answered period 2026_Q1 with period 2026_Q2/m;
for my $periods ("$listed,$further", "$further,$listed", "$month,$listed")
{
	subtest "entries of the quarter, and in the list $periods" => sub {
		with_body(small_file(entries => [ { forecastValue => 7 } ], timePeriods => $periods));
		is(answer("SELECT time_period, forecast_value FROM clari.entries WHERE $q1"), '2026_Q1|7', 'it is that quarter\'s file');
		is(answer("SELECT count(*) FROM clari.time_periods WHERE $q1"), 2, 'which shows its list');
		is_one_export();
	};
	next if $periods =~ /M01/;
	subtest "entries of another quarter, and in the list $periods" => sub {
		with_body(small_file(entries => [ { timePeriodId => '"2026_Q2"' } ], timePeriods => $periods));
		my $answer = answer("SELECT count(*) FROM clari.entries WHERE $q1");
		like($answer, $wrong, 'a warning, which names both');
		is(last_line($answer), 0, 'and no rows');
	};
	subtest "no entries, and in the list $periods" => sub {
		with_body(small_file(entries => [], timePeriods => $periods));
		is(answer("SELECT count(*) FROM clari.entries WHERE $q1"), 0, 'no rows, and no warning');
	};
}
subtest 'the current quarter' => sub {
	start_over($node);
	answer("ALTER FOREIGN TABLE clari.entries OPTIONS (SET periods 'current')");
	my @current = (step => 'results', period => 'current');
	my %file = (status => 200, carry_out => JSON::PP::true);
	sim_fault({ %file, body => small_file(entries => [ { forecastValue => 7 } ], timePeriods => "$further,$listed") }, @current);
	is(answer('SELECT time_period, forecast_value FROM clari.entries'), '2026_Q1|7', 'is that of the entries');
	start_over($node);
	sim_fault({ %file, body => small_file(entries => [], timePeriods => "$further,$listed") }, @current);
	is_refused('SELECT count(*) FROM clari.entries', qr/does not show which fiscal quarter it is for/,
		qr/no entries, and both "2026_Q2" and "2026_Q1" in list "timePeriods"/);
	answer("ALTER FOREIGN TABLE clari.entries OPTIONS (SET periods '2026_Q1..2026_Q4')");
};
subtest 'no entries, and in the list another quarter' => sub {
	with_body(small_file(entries => [], timePeriods => $further));
	like(answer("SELECT count(*) FROM clari.entries WHERE $q1"), $wrong, 'a warning, which names both');
};
subtest 'entries of two quarters' => sub {
	for my $first ('2026_Q1', '2026_Q2')
	{
		my $second = $first eq '2026_Q1' ? '2026_Q2' : '2026_Q1';
		with_body(small_file(entries => [ map { { timePeriodId => qq("$_") } } $first, $second ], timePeriods => "$listed,$further"));
		is_refused("SELECT count(*) FROM clari.entries WHERE $q1", qr/entries of several periods/);
		is_failed();
	}
};
subtest 'entries of a quarter that is not in the list' => sub {
	with_body(small_file(timePeriods => $further));
	is_refused("SELECT count(*) FROM clari.entries WHERE $q1", qr/not in list "timePeriods"/, qr/2026_Q1/);
	is_failed();
};

# ---- what is no export file ----

# Any bytes, as the simulator takes them.
sub as_bytes { my ($bytes) = @_; return $bytes =~ s/([\x80-\xff])/chr(0xDC00 | ord $1)/ger; }

my $file = small_file();
gzip(\$file => \my $zipped) or die $GzipError;
my @foreign = (
	[ 'CSV', "User,Email,CRM User ID,Role\r\nAda,a\@x,1,2\r\n", qr/It begins with "User,Email,CRM User ID,Role…", as CSV does\./ ],
	[ 'a page', '<html><body>hello', qr/It begins with "<html><body>hello", as a web page does\./ ],
	[ 'gzip in gzip', as_bytes($zipped), qr/It begins with the bytes 1F 8B 08 00, as gzip does: it is compressed once more than its headers say\./ ],
	[ 'a zip archive', "PK\x03\x04\x14\0\0", qr/the bytes 50 4B 03 04, as a zip archive does\./ ],
	[ 'UTF-16 with a mark', as_bytes("\xff\xfe" . encode('UTF-16LE', $file)), qr/the bytes FF FE 7B 00, as UTF-16 does\./ ],
	[ 'UTF-16', as_bytes(encode('UTF-16BE', $file)), qr/the bytes 00 7B 00 22, as UTF-16 does\./ ],
	[ 'UTF-16, the other way round', as_bytes(encode('UTF-16LE', $file)), qr/the bytes 7B 00 22 00, as UTF-16 does\./ ],
	[ 'UTF-32', as_bytes(encode('UTF-32LE', $file)), qr/the bytes 7B 00 00 00, as UTF-32 does\./ ],
	[ 'text', 'Out of order', qr/It begins with "Out of order", not with a brace\./ ],
	[ 'an empty list', '[]', qr/is not a JSON object.*It begins with "\[\]", as a list does\./s ],
	[ 'a list of something', '[{"User":"Ada"}]', qr/holds a data type that is not known.*A line lacks its "Data Type"\. It is in item 1/s ],
	[ 'nothing', '', qr/the export file is empty/ ]);
for my $case (@foreign)
{
	my ($what, $body, $tells) = @$case;
	subtest "a file that is $what" => sub {
		with_body($body);
		is_refused("SELECT count(*) FROM clari.entries WHERE $q1", $tells, qr/2026_Q1/);
		is_failed();
		is(sim_seen('total.results'), 2, 'downloaded once more');
		is(answer("SELECT count(*) > 0 FROM clari.entries WHERE time_period = '2026_Q2'"), 't', 'another quarter comes');
	};
}

$session->quit;
done_testing();
