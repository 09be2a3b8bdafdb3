# Option endpoint 'forecast': the Forecast API's one request in place of a job, for the same tables.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

start_sim(job_seconds => 0.05, null_emails => 0, duplicate_emails => 0, current_quarter => '2026_Q4', owners => 50, crm_exports => JSON::PP::true, forecast_api => JSON::PP::true,
	monthly_quota => 1000, monthly_used => 0, known_periods => undef, weeks => undef);
my $node = start_node('forecast_api');
create_server($node, max_concurrent_exports => 2, max_retries => 1);
import_tables($node);
import_tables($node, schema => 'api', endpoint => 'forecast');
import_tables($node, schema => 'relative', endpoint => 'forecast', periods => 'current-1..current');
sql('SELECT clari_create_tables()');

sub begin { my (%settings) = @_; start_over($node, %settings); sql('TRUNCATE clari_forecasts, clari_syncs'); return; }

sub reads { return sim_seen('total.read'); }

sub talk
{
	my ($sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql);
	return "$out\n$err";
}

subtest 'every table shows what an export would, without one' => sub {
	begin();
	is_as_generated($node, "api.$_", $_, '2026_Q1') for qw(forecasts entries users fields time_periods time_frames);
	is(reads(), 1, 'one request for all of them');
	is(sim_posts(), 0, 'no export');
	is(sql('SELECT count(*) FROM api.forecasts'), '200', 'four quarters');
	is(reads(), 4, 'a request for each');
	is(sql('SELECT count(*) FROM clari.forecasts'), '200', 'an export of the same is another');
	is(sim_posts(), 4, 'and is not taken from it');
	is(sql('SELECT count(*) FROM api.forecasts'), '200', 'nor the other way round');
	is(reads(), 4, 'which is cached');
	is(sql(q{SELECT count(*), count(job_id), count(DISTINCT identity) FROM clari_cache WHERE forecast = 'net_arr'}), '8|4|8', 'with an identity of its own');
	my ($read) = grep { $_->{kind} eq 'read' } sim_last();
	is($read->{path}, '/v4/forecast/net_arr?timePeriod=2026_Q1&typesToExport=forecast&typesToExport=quota&typesToExport=forecast_updated'
		. '&typesToExport=adjustment&typesToExport=crm_total&typesToExport=crm_closed', 'what is asked for is in the query');
};

subtest 'currency, scope and types' => sub {
	begin(scopes => { '1905::MGR' => 7 });
	sql(q{IMPORT FOREIGN SCHEMA net_arr LIMIT TO (narrow_forecasts) FROM SERVER clari INTO api OPTIONS (table_prefix 'narrow_',
		endpoint 'forecast', periods '2026_Q1', currency 'EUR', scope_id '1905::MGR', types 'crm_total,crm_closed')});
	is(sql('SELECT count(*), count(forecast_amount), count(crm_total) > 0 FROM api.narrow_forecasts'), '7|0|t', 'as the options say');
	my ($read) = grep { $_->{kind} eq 'read' } sim_last();
	is($read->{path}, '/v4/forecast/net_arr?timePeriod=2026_Q1&typesToExport=crm_total&typesToExport=crm_closed&currency=EUR&scopeId=1905%3A%3AMGR', 'escaped');
};

subtest 'the current quarter' => sub {
	begin();
	is(sql('SELECT string_agg(DISTINCT time_period, $$ $$) FROM relative.forecasts'), '2026_Q3 2026_Q4', 'is learned by a request without a period');
	is(reads(), 2, 'one, and one for the other');
	is(sim_posts(), 0, 'no export');
};

subtest 'another quarter in the answer' => sub {
	begin(known_periods => [ '2026_Q4' ]);
	like(talk('SELECT count(*) FROM api.forecasts WHERE time_period = $$2026_Q2$$'), qr/^0\n.*WARNING:  Clari answered period 2026_Q2 with period 2026_Q4: no rows/s, 'is no rows');
};

subtest 'a tenant without it' => sub {
	begin(forecast_api => JSON::PP::false);
	my ($state, $message) = query_error($node, q{SELECT count(*) FROM api.forecasts WHERE time_period = '2026_Q1'});
	is($state, 'HV000', 'an error');
	like($message, qr/Clari refused the read of period 2026_Q1 with HTTP status 404\n.*HINT:  This account does not seem to have the Forecast API: set option "endpoint"/s, 'that says so');
	is(sim_requests(), 1, 'after one request');
	is(sql('SELECT count(*) FROM clari.forecasts'), '200', 'exports go on');
};

subtest 'other refusals' => sub {
	my @faults = ([ { status => 401, json => { code => 'no_optin', message => 'No optins' } }, '28000', qr/its user may not see forecast "net_arr"/ ],
		[ { status => 400, json => { code => 'no_such_forecast_config' } }, 'HV00R', qr/Clari knows no forecast "net_arr"/ ],
		[ { status => 400, json => { code => 'bad_request', message => 'monthly quota' } }, 'HV000', qr/refused the read of period 2026_Q1 with HTTP status 400/ ],
		[ { status => 503 }, 'HV000', qr/answered the read of period 2026_Q1 with HTTP status 503\nDETAIL:  .*It was tried 2 times/ ],
		[ { body => '[]' }, '22000', qr/Clari's answer is not a JSON object/ ],
		[ { cut => 50 }, '22000', qr/Clari's answer ends too early|HV00N/ ]);
	for (@faults[ 0 .. 4 ])
	{
		my ($fault, $sqlstate, $expected) = @$_;
		begin();
		sim_fault($fault, step => 'read');
		my ($state, $message) = query_error($node, q{SELECT count(*) FROM api.forecasts WHERE time_period = '2026_Q1'});
		is($state, $sqlstate, encode_json($fault));
		like($message, $expected, 'with its message');
		is(sim_posts() + sim_seen('total.poll') + sim_seen('total.limits'), 0, 'and nothing else is asked');
	}
	begin();
	sim_fault({ status => 503 }, step => 'read', times => 1);
	is(sql(q{SELECT count(*) FROM api.forecasts WHERE time_period = '2026_Q1'}), '50', 'what passes is tried again');
};

subtest 'as many at a time as exports' => sub {
	begin();
	sim_fault({ delay => 'hold' }, step => 'read');
	my $session = ClariSession->new($node);
	$session->start('SELECT count(*) FROM api.forecasts');
	wait_until('two are asked for', sub { reads() == 2 });
	is(sql(q{SELECT string_agg(phase, ' ' ORDER BY phase) FROM clari_exports}), 'downloading downloading queued queued', 'and the others wait');
	sim_reset();
	sim_release();
	is($session->finish, '200', 'for them');
};

subtest 'clari_sync' => sub {
	begin(monthly_used => 1000);
	my $said = talk(q{CALL clari_sync('api.forecasts')});
	like($said, qr/NOTICE:  4 periods synced: 200 inserted/, 'merges it');
	unlike($said, qr/WARNING|ERROR/, 'though no quota is left');
	is(sim_seen('total.limits') . sim_posts(), '00', 'for which nobody asks');
	is(sql(q{SELECT count(*), count(job_id), count(confirmed_at), count(*) FILTER (WHERE source LIKE '%endpoint forecast%') FROM clari_syncs}), '4|0|4|4', 'clari_syncs tells its source');
	like(talk(q{CALL clari_sync('api.forecasts')}), qr/0 inserted, 0 updated, 200 unchanged/, 'again');
	like(talk(q{CALL clari_sync('clari.forecasts')}), qr/come from another source/, 'an export is another source');
};

subtest 'all ten columns where exports lack two' => sub {
	begin(crm_exports => JSON::PP::false);
	sql(q{IMPORT FOREIGN SCHEMA net_arr LIMIT TO (crm_forecasts) FROM SERVER clari INTO clari OPTIONS (table_prefix 'crm_', endpoint 'forecast',
			periods '2026_Q1..2026_Q4', types 'crm_total,crm_closed');
		ALTER FOREIGN TABLE clari.forecasts OPTIONS (ADD types 'forecast,quota,adjustment');
		CREATE VIEW whole AS
		SELECT owner_name, owner_email, f.forecast_amount, f.quota_amount, c.crm_total, c.crm_closed, f.adjustment_amount, time_period, f.exported_at, forecast_name
		FROM clari.forecasts f LEFT JOIN clari.crm_forecasts c USING (time_period, forecast_name, owner_name, owner_email)});
	is_as_generated($node, 'whole', 'forecasts', '2026_Q2');
	is(sim_posts() . reads(), '11', 'one export, and one request');
	like(sql('INSERT INTO staging_clari TABLE whole; SELECT inserted FROM clari_merge()'), qr/^200$/, 'and merged by way of staging_clari');
};

subtest 'options that do not go together' => sub {
	for my $statement (q{ALTER FOREIGN TABLE api.entries OPTIONS (ADD include_historical 'true')},
		q{IMPORT FOREIGN SCHEMA net_arr LIMIT TO (x_users) FROM SERVER clari INTO api OPTIONS (table_prefix 'x_', endpoint 'forecast', include_historical 'on')})
	{
		my ($state, $message) = query_error($node, $statement);
		is($state, 'HV024', $statement);
		like($message, qr/option "endpoint" 'forecast' and "include_historical" are mutually exclusive\nDETAIL:  Clari's Forecast API has only the latest week/, 'says why');
	}
	my ($state, $message) = query_error($node, q{ALTER FOREIGN TABLE api.entries OPTIONS (ADD format 'csv')});
	is($state, 'HV024', 'nor is there CSV');
	like($message, qr/option "endpoint" 'forecast' and "format" 'csv' are mutually exclusive\nDETAIL:  Clari's Forecast API answers only in JSON/, '… which it says');
	($state, $message) = query_error($node, q{ALTER FOREIGN TABLE api.entries OPTIONS (SET endpoint 'limits')});
	like($message, qr/The option takes one of export, forecast/, 'and what there is');
};

done_testing();
