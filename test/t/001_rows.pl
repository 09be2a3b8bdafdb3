# Exact or an error: every row is what the simulator's generator says, to the last digit, whatever the file looks
# like, and whatever columns and types the table declares.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use Encode qw(decode_utf8);
use JSON::PP;
use Test::More;

# Enough owners for every name and every amount that the generator knows.
start_sim(job_seconds => 0, owners => 620, forecasts => [qw(net_arr bookings handmade large)]);
my $node = start_node('rows');
# A file that is bad stays so: it need not be fetched again and again.
create_server($node, max_concurrent_exports => 8, max_retries => 0);

# Runs a statement that must succeed; returns what psql wrote to stderr (notices, warnings).
sub messages
{
	my ($code, $out, $err) = $node->psql('postgres', shift);
	is($code, 0, 'the statement runs') or diag($err);
	return $err;
}

#
# Whatever the file looks like.  A quarter for each look: all pairs of shape and list order and entry order, and each
# way of sending a file.
#
my %looks = (
	'2024_Q1' => { shape => 'v4', list_order => 'entries_first', entry_order => 'by_user' },
	'2024_Q2' => { shape => 'v4', list_order => 'entries_last', entry_order => 'by_field', gzip => JSON::PP::false },
	'2024_Q3' => { shape => 'v4', list_order => 'shuffled', entry_order => 'shuffled', transfer => 'length' },
	'2024_Q4' => { shape => 'v4', list_order => 'entries_first', entry_order => 'shuffled', crm_names => 'aggregation' },
	'2025_Q1' => { shape => 'v4', list_order => 'entries_last', entry_order => 'by_user', transfer => 'close',
		gzip => JSON::PP::false },
	'2025_Q2' => { shape => 'v4', list_order => [qw(users entries timeFrames fields timePeriods)],
		entry_order => 'by_field', transfer => 'close', keepalive => JSON::PP::false },
	'2025_Q3' => { shape => 'v4', entry_order => 'by_user', duplicate_emails => 10, null_emails => 8, missing_quota => 2 },
	'2025_Q4' => { shape => 'flat', entry_order => 'by_field', transfer => 'length', gzip => JSON::PP::false },
	'2026_Q1' => { shape => 'flat', post_shape => 'job', post_status => 201, wrapped => JSON::PP::true },
	'2026_Q2' => { shape => 'v4', post_status => 202, wrapped => JSON::PP::true, missing_quota => 0, null_emails => 0 },
	'2026_Q3' => { shape => 'v4', post_shape => 'job', amounts => 'plain', idle_users => 50 },
	'2026_Q4' => { shape => 'v4', version => 3, charset => 'ascii', fiscal_month => 7, owners => 3 });
sim_set($looks{$_}, period => $_) for keys %looks;
import_tables($node, periods => '2024_Q1..2026_Q4');
is(sql('SELECT count(*) FROM clari.entries WHERE forecast_value IS NULL'),
	sql(q{SELECT count(*) - count(forecast_value) FROM clari.entries}), 'NULL amounts are NULL');
is(sim_seen('total.post'), 12, 'one export for each period');

for my $period (sort keys %looks)
{
	my $look = join(', ', map { "$_ " . (ref $looks{$period}{$_} eq 'ARRAY' ? 'fixed' : $looks{$period}{$_}) }
		  sort keys %{ $looks{$period} });
	is_as_generated($node, "clari.$_", $_, $period, name => "$_ of $period are as generated: $look")
	  for qw(forecasts entries users fields time_periods time_frames);
}
is(sql(q{SELECT DISTINCT tier FROM clari_cache}), 'memory', 'small exports are in memory');
is(sim_seen('total.post'), 12, 'six objects share the export of a period');

#
# Historical weeks, types, currency.
#
sim_set({ weeks => 4 }, period => '2025_Q3');
import_tables($node, schema => 'hist', periods => '2025_Q3', include_historical => 'true');
is_as_generated($node, "hist.$_", $_, '2025_Q3', expected => 'historical=1', name => "$_ with every week")
  for qw(forecasts entries time_frames);
is(sql('SELECT count(*) FROM hist.time_frames'), 4, 'there were four weeks');

import_tables($node, schema => 'eur', periods => '2026_Q2', currency => 'EUR', types => 'forecast,quota,adjustment');
is_as_generated($node, "eur.$_", $_, '2026_Q2', expected => 'currency=EUR&types=forecast,quota,adjustment',
	name => "$_ with a currency and three types")
  for qw(forecasts entries fields);
is(sql('SELECT DISTINCT currency, crm_total FROM eur.entries'), 'EUR|', 'the currency is the one asked for');

#
# Several fields of a kind.
#
my $best = 'Best "Case" 😀';
sim_set({ fields => [
	{ id => 'commit', name => 'Commit Call', type => 'FORECAST' },
	{ id => 'best', name => decode_utf8($best), type => 'FORECAST' },
	{ id => 'q1', name => 'Quota', type => 'QUOTA' },
	{ id => 'q2', name => 'Stretch', type => 'QUOTA' } ] }, forecast => 'bookings');

sub forecasts_table
{
	my ($name, %options) = @_;
	my $columns = delete $options{columns} // q{owner_name text, owner_email text, forecast_amount numeric,
		quota_amount numeric, crm_total numeric, crm_closed numeric, adjustment_amount numeric, time_period text,
		exported_at timestamptz, forecast_name text};
	my $list = join(', ', map { "$_ '$options{$_}'" } sort keys %options);
	sql("CREATE FOREIGN TABLE $name ($columns) SERVER clari OPTIONS ($list)");
	return;
}

my %bookings = (forecast => 'bookings', periods => '2026_Q3');
forecasts_table('no_fields', %bookings);
forecasts_table('by_id', %bookings, forecast_field => 'best', quota_field => 'q2');
forecasts_table('by_name', %bookings, forecast_field => $best, quota_field => 'Stretch');
forecasts_table('half', %bookings, forecast_field => 'commit');
forecasts_table('no_such_field', %bookings, forecast_field => 'worst');
is_as_generated($node, $_, 'forecasts', '2026_Q3',
	expected => 'forecast=bookings&forecast_field=best&quota_field=q2', name => "$_: the fields that the options name")
  for qw(by_id by_name);
my ($state, $message) = query_error($node, 'SELECT * FROM no_fields');
is($state, 'HV021', 'which field the amounts come from must be said where there are several');
like($message, qr/"commit" \(Commit Call\), "best" \(\Q$best\E\).*option "forecast_field"/s, 'they are listed');
($state, $message) = query_error($node, 'SELECT * FROM half');
like($message, qr/"q1" \(Quota\), "q2" \(Stretch\).*option "quota_field"/s, 'and so are the fields of quotas');
is(sql('SELECT count(owner_name) FROM no_fields'), 620, 'a query that needs no amounts needs no field');
is(sql('SELECT sum(crm_closed) FROM half'),
	sql(q{SELECT sum(crm_closed) FROM half WHERE forecast_name = 'bookings'}), 'nor the other field');
($state, $message) = query_error($node, 'SELECT * FROM no_such_field');
like($message, qr/no field "worst"/, 'a field that is not there is an error, not a column of NULLs');

#
# Files written by hand: numbers at the edge, texts at the edge.
#
my $handmade = 0;

# A quarter of forecast handmade whose file is the text given; makes table hand_N and returns its name.
sub handmade
{
	my ($body, %options) = @_;
	my $period = sprintf('%d_Q%d', 2030 + int($handmade / 4), $handmade % 4 + 1);
	my $table = 'hand_' . ++$handmade;
	$body =~ s/PERIOD/$period/g;
	sim_fault({ body => decode_utf8($body) }, step => 'results', forecast => 'handmade', period => $period);
	forecasts_table($table, forecast => 'handmade', periods => $period, %options);
	return $table;
}

# The same with one owner; members: JSON text.
sub owner_with
{
	my ($members, %options) = @_;
	return handmade(qq({"entries":[{"ownerName":"n","ownerEmail":"e",$members,"timePeriod":"PERIOD"}]}), %options);
}

my @numbers = ('0', '-0', '0.00', '-0.000', '1e3', '1E+3', '1.50e-3', '-1e-20', '0e10', '1e131071', '1e-16383',
	'9007199254740993', '18446744073709551617', '123456789012345678901234567890.123456789012345678901234567890',
	'99999999999999999999999999999999999999', '0.1', '0.10', '-79228162514264337593543950335', '9999.9999', '1' . '0' x 300,
	'0.' . '0' x 300 . '1', '1' . '2' x 5000 . '.' . '3' x 5000);
my $entries = join(',', map { qq({"ownerName":"n$_","ownerEmail":null,"forecastAmount":$numbers[$_],"timePeriod":"PERIOD"}) }
	  0 .. $#numbers);
my $numbers = handmade(qq({"entries":[$entries]}));
my $values = join(', ', map { "('n$_', '$numbers[$_]'::numeric)" } 0 .. $#numbers);
is(sql(qq{SELECT string_agg(owner_name, ',') FROM $numbers FULL JOIN (VALUES $values) v(n, number) ON n = owner_name
	WHERE forecast_amount::text IS DISTINCT FROM number::text}), '', 'every number that numeric can hold is kept as written');
is(sql("SELECT count(*) FROM $numbers"), scalar @numbers, 'all of them');

my %bad = map { $_ => owner_with(qq("forecastAmount":$_)) } ('1e131073', '1e-16384', '1' . '0' x 140000, 'NaN', '-', '01', '1.', '.5', '+1', '0x10', 'Infinity', '1e',
	'1e99999999999', '{}', '[]', 'true');
sql(join(';', map { "SELECT clari_prefetch('$_')" } values %bad));
for my $number (sort keys %bad)
{
	($state, $message) = query_error($node, "SELECT * FROM $bad{$number}");
	is($state, '22000', 'a number that cannot be kept is an error: ' . substr($number, 0, 12));
	like($message, qr/Forecast "handmade", period 203\d_Q\d, job /, '… that tells whose file it stands in') or diag(substr($message, 0, 500));
}

my $nothing = handmade('{"entries":[]}');
is(sql("SELECT count(*) FROM $nothing"), 0, 'a file without entries has no rows');
my $lists = q("users":[{"userId":"u1","name":"A","email":"a@x","unknown":{"deep":[1,{"x":null}]}},{"userId":"u2"}],"unknown":[{"a":[]},7],
	"fields":[{"fieldId":"f","fieldName":"F","fieldType":"FORECAST"}],"timePeriods":[{"timePeriodId":"PERIOD"}],
	"timeFrames":[{"timeFrameId":"W1"}]);
my $entry = '"fieldId":"f","timePeriodId":"PERIOD","timeFrameId":"W1"';
my $v4 = handmade(qq({$lists,"entries":[{"userId":"u2",$entry,"forecastValue":2},
	{"forecastValue":1 , "extra":[[]],"userId":"u1",$entry}]}));
is(sql("SELECT owner_name, owner_email, forecast_amount, quota_amount FROM $v4 ORDER BY 3"), "A|a\@x|1|\n||2|",
	'what is not said is NULL, and what we do not know is passed over');
# Owner u7 has two entries of the field.
my $users = join(',', map { qq({"userId":"u$_","email":"$_"}) } 1 .. 20);
my $amounts = join(',', map { qq({"userId":"u$_",$entry,"forecastValue":$_}) } 1 .. 20, 7);
my $twice = handmade(qq({"entries":[$amounts],) . $lists =~ s/"users":\[.*?\],/"users":[$users],/r . '}');
for my $where ('', "WHERE owner_email IN ('3', '7')", 'WHERE owner_email IS NOT NULL')
{
	($state, $message) = query_error($node, "SELECT forecast_amount FROM $twice $where");
	is($state, '21000', "several entries of one field do not make a row: $where");
	like($message, qr/several are of the forecast field/, '… which is said');
}
is(sql("SELECT sum(forecast_amount) FROM $twice WHERE owner_email IN ('3', '8')"), 11, 'other rows are not concerned');
is(sql("SELECT count(*), count(DISTINCT owner_email) FROM $twice"), '20|20', 'nor is who does not ask for the amount');
my $dangling = handmade(qq({"entries":[{"userId":"u3",$entry,"forecastValue":2}],$lists}));
($state, $message) = query_error($node, "SELECT * FROM $dangling");
is($state, '22000', 'an entry of a user whom the file does not list is an error');
like($message, qr/"userId" is "u3"/, '… that names him');
for my $text ('\u0000', 'x\ud800', '\udc00x', '\ud83d\ud83d', "\t", '\x')
{
	my $table = handmade(qq({"entries":[{"ownerName":"$text","timePeriod":"PERIOD"}]}));
	($state, $message) = query_error($node, "SELECT * FROM $table");
	is($state, '22000', "a text that cannot be kept is an error: $text");
}
my $text = handmade('{"entries":[{"ownerName":"\ud83d\ude00\u00e9\/\\\\\"\u0001\n\u2028","timePeriod":"PERIOD"}]}');
is(sql("SELECT owner_name = U&'\\+01F600\\00E9/\\\\\"\\0001\\000A\\2028' FROM $text"), 't', 'any other is kept');

#
# Other columns, other types.
#
sql(q{CREATE DOMAIN euros AS numeric CHECK (VALUE > -1e12);
	CREATE DOMAIN small AS numeric CHECK (VALUE < 2000000);
	CREATE DOMAIN present AS text NOT NULL;
	CREATE DOMAIN address AS text CHECK (VALUE LIKE '%@%')});
sim_set({ amounts => 'plain' }, period => '2026_Q3', forecast => 'net_arr');
my %plain = (forecast => 'net_arr', periods => '2026_Q3', currency => 'USD');
forecasts_table('plain', %plain);
forecasts_table('typed', %plain, columns => q{
	forecast_name varchar(20), amount numeric(12,2) OPTIONS (key 'forecastValue'), quota text OPTIONS (key 'quotaAmount'),
	mail varchar OPTIONS (key 'ownerEmail'), exported_at timestamp, crm_total euros, closed float8 OPTIONS (key 'crmClosed'),
	money text OPTIONS (key 'currency.code'), sign text OPTIONS (key 'currency.symbol'), time_period char(8),
	owner_name address OPTIONS (key 'owner_email'), "Adjusted" numeric(9,-2) OPTIONS (key 'adjustment_amount')});
is(sql(q{SELECT count(*) FROM typed t FULL JOIN plain p ON t.mail = p.owner_email AND t.owner_name = p.owner_email
	WHERE p.owner_email IS NOT NULL AND ROW(t.forecast_name, amount::text, quota, t.exported_at, t.crm_total, closed, money,
		sign, t.time_period::text, "Adjusted")
	IS DISTINCT FROM ROW(p.forecast_name, forecast_amount::text, quota_amount::text, p.exported_at::timestamp, p.crm_total,
		crm_closed::float8, 'USD', '$', p.time_period, adjustment_amount::numeric(9,-2))}),
	0, 'columns of other names, types and order hold the same');
is(sql('SELECT count(*) FROM typed WHERE mail IS NULL'), sql('SELECT count(*) FROM plain WHERE owner_email IS NULL'),
	'NULL stays NULL');
is(sql(q{SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Tokyo'; SELECT count(*) FROM typed JOIN plain p ON mail = p.owner_email
	WHERE typed.exported_at IS DISTINCT FROM p.exported_at::timestamp}), 0, 'in another time zone and date style too');
is(sql(q{SELECT count(DISTINCT time_period), min(time_period)::text FROM typed WHERE time_period = '2026_Q3'}),
	'1|2026_Q3', 'a padded period is found by its value');

forecasts_table('cut', %plain, columns => 'forecast_name varchar(3)');
forecasts_table('narrow', %plain, columns => 'forecast_amount numeric(5,2), owner_email text');
forecasts_table('whole', %plain, columns => q{amount bigint OPTIONS (key 'forecast_amount')});
forecasts_table('checked', %plain, columns => q{forecast_amount small});
forecasts_table('complete', %plain, columns => q{owner_email present});
for (
	[ 'cut', '22001', 'forecast_name', 'a value too long for its column' ],
	[ 'narrow', '22003', 'forecast_amount', 'a number too large for its column' ],
	[ 'whole', '22P02', 'amount', 'cents in a bigint column' ],
	[ 'checked', '23514', 'forecast_amount', q{a domain's CHECK} ],
	[ 'complete', '23502', 'owner_email', q{a domain's NOT NULL} ])
{
	my ($table, $code, $column, $what) = @$_;
	($state, $message) = query_error($node, "SELECT * FROM $table");
	is($state, $code, "$what is an error");
	like($message, qr/column "\Q$column\E"/, '… that names the column') or diag($message);
}
is(sql('SELECT count(*), count(owner_email) > 0 FROM narrow'), '620|t', 'a column that a query does not use is not converted');
my $whole = owner_with('"forecastAmount":9007199254740993,"quotaAmount":-12', columns => q{
	forecast_amount bigint, quota_amount int, owner_name "char", owner_email name});
is(sql("SELECT forecast_amount, quota_amount, owner_name, owner_email FROM $whole"), '9007199254740993|-12|n|e',
	'whole amounts fit a bigint');

#
# Columns of entries in forecasts.
#
import_tables($node, schema => 'usd', periods => '2026_Q3', currency => 'USD');
forecasts_table('extra', %plain, columns => q{user_id text, owner_email text, role text, parent_role text, week_start date,
	week_end date, crm_user_id text, time_frame_id text, forecast_amount numeric, currency text});
is(sql(q{SELECT count(*) FROM (
	(SELECT user_id, owner_email, role, parent_role, week_start, week_end, crm_user_id, time_frame_id, forecast_amount, currency
		FROM extra EXCEPT ALL
	SELECT user_id, owner_email, role, parent_role, week_start, week_end, crm_user_id, time_frame_id, forecast_value, currency
		FROM usd.entries WHERE field_type = 'FORECAST') UNION ALL
	(SELECT user_id, owner_email, role, parent_role, week_start, week_end, crm_user_id, time_frame_id, forecast_value, currency
		FROM usd.entries WHERE field_type = 'FORECAST' EXCEPT ALL
	SELECT user_id, owner_email, role, parent_role, week_start, week_end, crm_user_id, time_frame_id, forecast_amount, currency
		FROM extra)) d}), 0, q{columns that all of an owner's entries agree on can stand in forecasts});
is(sql('SELECT count(*), count(DISTINCT user_id) FROM extra'), '620|620', 'one row per owner');
for my $column (qw(field_id field_name updated_on))
{
	forecasts_table("differs_$column", %plain, columns => "owner_email text, $column text");
	($state, $message) = query_error($node, "SELECT * FROM differs_$column");
	is($state, '21000', 'a column on which they do not agree is an error');
	like($message, qr/column "$column" differs.*object 'entries'/s, '… that names it, and where to see them');
	is(sql("SELECT count(owner_email) > 0 FROM differs_$column"), 't', '… when it is asked for');
}
sql(qq{CREATE FOREIGN TABLE weekly (owner_email text, week_start date, forecast_amount numeric, time_period text) SERVER clari
	OPTIONS (forecast 'net_arr', periods '2025_Q3', include_historical 'true')});
is(sql(q{SELECT count(*) FROM ((SELECT owner_email, week_start, forecast_amount FROM weekly EXCEPT ALL
	SELECT owner_email, week_start, forecast_value FROM hist.entries WHERE field_type = 'FORECAST') UNION ALL
	(SELECT owner_email, week_start, forecast_value FROM hist.entries WHERE field_type = 'FORECAST' EXCEPT ALL
	SELECT owner_email, week_start, forecast_amount FROM weekly)) d}), 0, 'a row per owner and week tells its week');

#
# Columns that there are not.
#
my $posts = sim_seen('total.post');
forecasts_table('unknown', %plain, periods => '2023_Q1', columns => 'owner_email text, owner_mail text');
($state, $message) = query_error($node, 'SELECT owner_email FROM unknown');
is($state, 'HV005', 'a column that Clari does not have is an error at first use');
like($message, qr/"owner_mail".*owner_name, owner_email, forecast_amount.*exported_at.*week_start/s, '… that lists the columns');
for my $object (qw(users fields time_periods time_frames entries))
{
	sql(qq{CREATE FOREIGN TABLE unknown_$object (amount text) SERVER clari OPTIONS (forecast 'net_arr', object '$object')});
	($state, $message) = query_error($node, "SELECT count(*) FROM unknown_$object");
	is($state, 'HV005', "so it is in $object");
	unlike($message, qr/, ,|\(null\)|, \./, 'the list has no holes');
}
is(sim_seen('total.post'), $posts, 'and nothing was exported for it');

#
# Rows as a whole, and what is not a column.
#
my $names = 'owner_name, owner_email, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount, time_period, '
  . 'exported_at, forecast_name';
is(sql(qq{SELECT count(*) FROM clari.forecasts f WHERE f::text <> ROW($names)::text OR f IS DISTINCT FROM
	ROW($names)::clari.forecasts}), 0, 'a whole row holds all columns');
is(sql('SELECT count(*) FROM (SELECT DISTINCT f FROM clari.forecasts f) d') > 5000, 1, 'whole rows can be told apart');
is(sql(q{SELECT (f).owner_name IS NOT DISTINCT FROM owner_name FROM (SELECT f, f.owner_name FROM clari.forecasts f
	ORDER BY random() LIMIT 1) s}), 't', 'and taken apart');
is(sql('SELECT DISTINCT tableoid::regclass FROM clari.users'), 'clari.users', 'tableoid is the table');
is(sql(q{SELECT count(*), (SELECT count(*) FROM (SELECT FROM clari.forecasts) n) FROM clari.forecasts}), '6823|6823',
	'rows without columns are counted');
is(sql(q{SELECT count(*) FROM (SELECT 1 FROM clari.entries WHERE time_period = '2026_Q2') n}), 1240, 'and so are constants');
($state, $message) = query_error($node, 'SELECT xmin FROM clari.users');
isnt($state, '', 'what only a heap has is an error');
($state, $message) = query_error($node, 'DELETE FROM clari.users');
is($state, '0A000', 'a foreign table of ours is not for writing') or diag($message);
sql('ALTER FOREIGN TABLE clari.users DROP COLUMN email; ALTER FOREIGN TABLE clari.users ADD COLUMN email text');
is(sql(q{SELECT count(*) FROM clari.users a JOIN clari.entries USING (time_period, user_id)
	WHERE owner_email IS DISTINCT FROM email}), 0, 'a column that was dropped and added again is found');

#
# Exports of many row groups, too large for the memory that there is.
#
$node->append_conf('postgresql.conf', 'clari_fdw.shared_cache_size = 1MB');
$node->restart;
my %large = (owners => 20_000, charset => 'utf8', null_emails => 40, duplicate_emails => 0, missing_quota => 20,
	amounts => 'wild', crm_names => 'crm', fiscal_month => 2, version => 0);
sim_set({ %large, shape => 'v4', entry_order => 'shuffled', list_order => 'entries_first' }, forecast => 'large', period => '2026_Q3');
sim_set({ %large, shape => 'v4', entry_order => 'by_user', list_order => 'entries_last' }, forecast => 'large', period => '2026_Q4');
sim_set({ %large, shape => 'flat' }, forecast => 'large', period => '2026_Q1');
sql(q{CREATE SCHEMA large; IMPORT FOREIGN SCHEMA large FROM SERVER clari INTO large OPTIONS (periods '2026_Q1..2026_Q4')});
is_as_generated($node, "large.$$_[0]", $$_[0], $$_[1], expected => 'forecast=large', name => "20,000 owners of $$_[1]: $$_[0]")
  for ([ 'forecasts', '2026_Q3' ], [ 'entries', '2026_Q3' ], [ 'users', '2026_Q3' ], [ 'forecasts', '2026_Q4' ], [ 'forecasts', '2026_Q1' ]);
is(sql(q{SELECT DISTINCT tier FROM clari_cache WHERE forecast = 'large'}), 'disk', 'were read from disk');
is(sql(q{SELECT count(*), count(DISTINCT u.user_id) FROM large.forecasts f JOIN large.users u USING (time_period)
	WHERE u.email = f.owner_email AND time_period = '2026_Q3'}), '19500|19500', 'joined');
is(sql(q{SELECT sum(n) FROM (SELECT (SELECT count(*) FROM large.forecasts WHERE time_period = '2026_Q4' AND i > 0) AS n FROM generate_series(1, 3) i) s}),
	60_000, 'read again and again');
is(sql(q{BEGIN; DECLARE c SCROLL CURSOR FOR SELECT forecast_amount FROM large.forecasts WHERE time_period = '2026_Q1'; MOVE 19990 FROM c;
	MOVE BACKWARD 19989 FROM c; FETCH 1 FROM c}),
	sql(q{SELECT forecast_amount FROM large.forecasts WHERE time_period = '2026_Q1' OFFSET 1 LIMIT 1}), 'and to and fro');

done_testing();
