# One cache, many databases: each shows the same rows in its own encoding, or PostgreSQL's own error.
use strict;
use warnings FATAL => 'all';

use Encode qw(decode_utf8);
use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use Test::More;

my $forecast = 'Prévisions';
my $field = 'Prévu à terme';
start_sim(job_seconds => 0, owners => 620, forecasts => [ 'net_arr', decode_utf8($forecast) ]);
sim_set({ charset => 'latin1' }, period => $_) for qw(2026_Q1 2026_Q2);
sim_set({ charset => 'latin1', shape => 'flat' }, period => '2026_Q3');
my $node = start_node('encoding');
my %encodings = (utf8 => 'UTF8', latin1 => 'LATIN1', ascii => 'SQL_ASCII');
for my $database (sort keys %encodings)
{
	$node->safe_psql('postgres',
		"CREATE DATABASE $database ENCODING $encodings{$database} LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION clari_fdw');
	create_server($node, database => $database);
	import_tables($node, database => $database);
}

# Reads and writes UTF-8 whatever the database's encoding; SQL_ASCII passes bytes through.
sub sql_in
{
	my ($database, $query) = @_;
	return $node->safe_psql($database, "SET client_encoding = 'UTF8'; $query");
}

sub error
{
	my ($database, $query) = @_;
	return query_error($node, "SET client_encoding = 'UTF8'; $query", $database);
}

#
# The same rows everywhere, of the same exports.
#
for my $database (qw(latin1 utf8 ascii))
{
	for my $object (qw(forecasts entries users fields time_periods time_frames))
	{
		is_as_generated($node, "clari.$object", $object, '2026_Q1', database => $database,
			name => "$object in $encodings{$database} are as generated");
	}
	is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q3', database => $database,
		name => "a flat file in $encodings{$database} is as generated");
}
is(sim_seen('total.post'), 2, 'three databases share each export');

my %lengths = map { $_ => [ split /\|/, sql_in($_, q{SELECT sum(length(name)), sum(octet_length(name)) FROM clari.users
	WHERE time_period = '2026_Q1' AND name LIKE 'Zoë %'}) ] } keys %encodings;
is($lengths{latin1}[0], $lengths{utf8}[0], 'LATIN1 counts the characters that UTF8 counts');
is($lengths{latin1}[1], $lengths{latin1}[0], 'each a byte');
cmp_ok($lengths{utf8}[1], '>', $lengths{utf8}[0], 'or more in UTF8');
is($lengths{ascii}[0], $lengths{utf8}[1], 'which SQL_ASCII counts as so many');
is(sql_in($_, q{SELECT count(*) FROM clari.users a JOIN clari.users b USING (user_id)
	WHERE a.time_period = '2026_Q1' AND b.time_period = '2026_Q2' AND a.name = b.name}), 621, "and can be compared in $encodings{$_}")
  for sort keys %encodings;
sql_in($_, q{SELECT clari_create_tables(); INSERT INTO staging_clari SELECT * FROM clari.forecasts WHERE time_period = '2026_Q1'})
  for sort keys %encodings;
is(sql_in('latin1', 'SELECT count(*), count(DISTINCT owner_name COLLATE "C") FROM staging_clari'),
	sql_in('utf8', 'SELECT count(*), count(DISTINCT owner_name COLLATE "C") FROM staging_clari'), 'stored rows are the same number');

#
# Declared with other types: the input function sees the database's encoding.
#
for my $database (sort keys %encodings)
{
	sql_in($database, q{CREATE FOREIGN TABLE typed (name char(40), user_id name, time_period varchar) SERVER clari
		OPTIONS (object 'users', forecast 'net_arr', periods '2026_Q1')});
	is(sql_in($database, q{SELECT count(*) FROM typed t JOIN clari.users u USING (time_period, user_id)
		WHERE u.time_period = '2026_Q1' AND t.name IS DISTINCT FROM u.name::char(40)}), 0, "converted columns in $encodings{$database} too");
}

#
# Names in options: forecast and field are told to Clari, and compared with its file, in UTF-8.
#
sim_set({ charset => 'latin1', amounts => 'plain', fields => [
	{ id => 'commit', name => decode_utf8($field), type => 'FORECAST' },
	{ id => 'other', name => decode_utf8('Prévu'), type => 'FORECAST' } ] }, forecast => decode_utf8($forecast));
my $posts = sim_seen('total.post');
for my $database (sort keys %encodings)
{
	sql_in($database, qq{
		CREATE FOREIGN TABLE named (owner_email text, forecast_amount numeric, forecast_name text, time_period text) SERVER clari
			OPTIONS (forecast '$forecast', periods '2026_Q2', forecast_field '$field');
		CREATE FOREIGN TABLE unnamed (forecast_amount numeric) SERVER clari
			OPTIONS (forecast '$forecast', periods '2026_Q2');
		CREATE FOREIGN TABLE misnamed (forecast_amount numeric) SERVER clari
			OPTIONS (forecast '$forecast', periods '2026_Q2', forecast_field 'Prévoyance')});
	is(sql_in($database, q{SELECT count(forecast_amount), min(forecast_name) FROM named}), "620|$forecast",
		"forecast and field with accents in $encodings{$database}");
	my ($state, $message) = error($database, 'SELECT * FROM unnamed');
	is($state, 'HV021', "several fields in $encodings{$database}");
	like($message, qr/forecast "\Q$forecast\E".*"commit" \(\Q$field\E\), "other" \(Prévu\)/s, '… are listed legibly');
	($state, $message) = error($database, 'SELECT * FROM misnamed');
	like($message, qr/forecast "\Q$forecast\E" has no field "Prévoyance"/, '… as is one that is not there');
	like(sql_in($database, 'EXPLAIN SELECT * FROM named'), qr/Forecast: \Q$forecast\E$/m, '… and the forecast in EXPLAIN');
}
is(sim_seen('total.post'), $posts + 1, 'one export for all three databases');
is(sql_in('postgres', q{SELECT DISTINCT forecast FROM clari_cache WHERE forecast <> 'net_arr'}), $forecast, 'and one entry of the cache');
is(sql_in('latin1', q{SELECT DISTINCT forecast FROM clari_cache WHERE forecast <> 'net_arr'}), $forecast, 'shown in LATIN1 too');
is(sql_in('latin1', "CREATE DOMAIN address AS text CHECK (VALUE LIKE '%\@%'); SELECT count(*) FROM named WHERE forecast_name = '$forecast'"),
	620, 'its name can be compared');

#
# What LATIN1 lacks.
#
is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q4', database => 'utf8', name => 'UTF8 has every character');
is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q4', database => 'ascii', name => 'SQL_ASCII takes their bytes');
for my $object (qw(forecasts entries users))
{
	my ($state, $message) = error('latin1', "SELECT * FROM clari.$object WHERE time_period = '2026_Q4'");
	is($state, '22P05', "a character that LATIN1 lacks is PostgreSQL's own error in $object");
	like($message, qr/has no equivalent in encoding "LATIN1"/, '… in its own words');
}
is(sql_in('latin1', q{SELECT count(forecast_amount), sum(quota_amount) FROM clari.forecasts WHERE time_period = '2026_Q4'}),
	sql_in('utf8', q{SELECT count(forecast_amount), sum(quota_amount) FROM clari.forecasts WHERE time_period = '2026_Q4'}),
	'a query that does not use the names gets its rows');
is_as_generated($node, 'clari.users', 'users', '2026_Q1', database => 'latin1', name => 'and the session goes on');

#
# What Clari says when it refuses.
#
my $refusal = decode_utf8('Accès refusé à l’équipe 😀');
sim_fault({ status => 400, json => { code => 'invalid_request', message => $refusal } }, step => 'post', forecast => 'net_arr',
	period => '2026_Q4');
for my $database (sort keys %encodings)
{
	sql_in($database, q{CREATE FOREIGN TABLE refused (owner_email text) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q4', currency 'EUR')});
	my ($state, $message) = error($database, 'SELECT * FROM refused');
	isnt($state, '', "a refusal in $encodings{$database} is an error");
	like($message, $database eq 'latin1' ? qr/Accès refusé à l\?équipe \?/ : qr/Accès refusé à l’équipe 😀/, '… that can be read');
}

is(sql_in($_, 'SELECT 1'), 1, "$encodings{$_} is well") for sort keys %encodings;

done_testing();
