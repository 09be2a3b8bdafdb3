# What the account has: its limits and its jobs as foreign tables, and a clari_sync that looks at the limits first.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

start_sim(job_seconds => 0.05, null_emails => 0, current_quarter => '2026_Q4', concurrent_limit => 8, monthly_quota => 1000,
	monthly_used => 0, other_jobs => 0, owners => 50);
my $node = start_node('account');
create_server($node, max_concurrent_exports => 2, cache_ttl => '4h', stale_while_revalidate => '1h', max_retries => 0);
import_tables($node, closed_period_ttl => '0');
sql('CREATE SCHEMA account; IMPORT FOREIGN SCHEMA clari_account FROM SERVER clari INTO account; SELECT clari_create_tables()');

# Everything is forgotten; settings that differ from those above.
sub begin { my (%settings) = @_; start_over($node, %settings); return; }

sub asked { return sim_seen('total.limits'); }

# Runs statements of which some may fail; returns all that psql printed, notices included.
sub talk
{
	my ($sql) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql);
	return "$out\n$err";
}

# ------- the tables -------

subtest 'the limits are one row' => sub {
	begin(monthly_used => 7);
	is(sql('TABLE account.limits'), '8|1000|0|7|8|993', 'no job is running, and Clari leaves their list out');
	sim_set({ job_seconds => 'hold' });
	foreign_post('test-key', '2026_Q1') for 1 .. 3;
	is(sql('TABLE account.limits'), '8|1000|0|7|8|993', 'fresh for ten seconds');
	is(asked(), 1, 'one request for both');
	sql(q{SELECT clari_refresh('account.limits')});
	is(sql('SELECT available_concurrent, available_monthly, submitted FROM account.limits'), '5|990|10', 'anew on request');
	sim_release();
	is(sim_posts(), 3, 'it costs no export');
	is(sql(q{SELECT string_agg(format_type(atttypid, atttypmod), ' ') FROM pg_attribute
		WHERE attrelid = 'account.limits'::regclass AND attnum > 0}), join(' ', ('bigint') x 6), 'numbers of exports are integers');
};

subtest 'the jobs are the list as Clari has it' => sub {
	begin(other_jobs => 4);
	sql('SELECT count(*) FROM clari.forecasts');
	is(sql('SELECT module, count(*) FROM account.jobs GROUP BY 1 ORDER BY 1'), "FORECAST|4\nOPPORTUNITY|4", 'of all modules');
	my ($job) = grep { $_->{path} =~ m{/results$} } sim_last();
	my ($id) = $job->{path} =~ m{jobs/(\w+)/results};
	is(sql(qq{SELECT status, title, version, downloads, viewed, file_type, currency, rows_truncated, end_time > start_time,
		expired_time - end_time, user_id ~ '^[0-9]+\$', org_id ~ '^[0-9]+\$', delivery_status_map FROM account.jobs WHERE job_id = '$id'}),
		'DONE|Forecast Export|1|1|t|JSON|USD|f|t|30 days|t|t|{}', 'attributes as they are; integers among them');
	is(sql(q{SELECT count(*), count(end_time), count(file_name), min(title), max(delivery_status_map) FROM account.jobs WHERE module = 'OPPORTUNITY'}),
		'4|2|2|Opportunités 0|{"email":{"status":"SENT"}}', 'what Clari leaves out is null');
	is(sql(q{SELECT j.status FROM account.jobs j JOIN clari_cache c USING (job_id) WHERE c.time_period = '2026_Q1'}), 'DONE',
		'it joins with the cache');
};

subtest 'a database of another encoding' => sub {
	begin(other_jobs => 2);
	sql(q{CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0});
	sql('CREATE EXTENSION clari_fdw', 'latin');
	create_server($node, database => 'latin');
	sql('CREATE SCHEMA account; IMPORT FOREIGN SCHEMA clari_account FROM SERVER clari INTO account', 'latin');
	is(sql(q{SET client_encoding = 'UTF8'; SELECT max(title), max(octet_length(title)) FROM account.jobs}, 'latin'), 'Opportunités 1|14', 'its texts are converted');
	is(sql('SELECT available_monthly FROM account.limits', 'latin'), '1000', 'and numbers are what they are');
};

subtest 'a list as others show it' => sub {
	my @jobs = map { { jobId => "job-$_", status => 'DONE' } } 1 .. 3;
	my %shapes = ('{"jobs": [...]}' => { jobs => \@jobs }, '[{"job": ...}]' => [ map { { job => $_ } } @jobs ],
		'{"jobs": [{"job": ...}], ...}' => { total => 3, jobs => [ map { { job => $_ } } @jobs ] });
	for my $name (sort keys %shapes)
	{
		begin();
		sim_fault({ json => $shapes{$name} }, step => 'list');
		is(sql('SELECT string_agg(job_id, $$ $$ ORDER BY job_id) FROM account.jobs WHERE status IS NOT NULL'), 'job-1 job-2 job-3', $name);
	}
	begin();
	sim_fault({ json => [] }, step => 'list');
	is(sql('SELECT count(*) FROM account.jobs'), '0', 'an empty list');
};

subtest 'a long list streams' => sub {
	begin(other_jobs => 30000);
	is(sql('SELECT count(*), count(DISTINCT job_id), sum(version) FROM account.jobs'), '30000|30000|30000', 'every job is a row');
	is(sql(q{SELECT rows, tier FROM clari_cache WHERE forecast = 'clari_account.jobs'}), '30000|disk', 'cached like any other');
};

subtest 'they are asked for beside exports' => sub {
	begin(job_seconds => 'hold');
	my $export = ClariSession->new($node);
	$export->start('SELECT count(*) FROM clari.forecasts');
	wait_until('two exports take all places', sub { sim_posts() == 2 });
	is(sql('SELECT available_concurrent FROM account.limits'), '6', 'the limits do not wait for a place');
	is(sql('SELECT count(*) FROM account.jobs'), '2', 'nor does the list');
	wait_until('the exports end', sub { sim_release(); sim_seen('total.results') == 4 });
	is($export->finish, '200', 'and the exports go on');
};

subtest 'one request, however many ask' => sub {
	begin();
	sim_fault({ delay => 'hold' }, step => 'limits', times => 1);
	my @sessions = map { ClariSession->new($node) } 1 .. 4;
	$_->start('SELECT monthly_quota FROM account.limits') for @sessions;
	wait_until('all of them wait', sub { sql(q{SELECT waiters FROM clari_exports WHERE forecast = 'clari_account.limits'}) eq '4' });
	is(sql(q{SELECT time_period IS NULL, phase, job_id IS NULL FROM clari_exports}), 't|downloading|t', 'the view shows it');
	sim_release();
	is($_->finish, '1000', 'each has the row') for @sessions;
	is(asked(), 1, 'one request');
};

subtest 'a query that waits says what for, and names no quarter' => sub {
	begin();
	sim_fault({ delay => 'hold' }, step => 'limits', times => 1);
	my $session = ClariSession->new($node);
	$session->query(q{LOAD 'clari_fdw'; SET clari_fdw.wait_notice_delay = '50ms'});
	$session->start('SELECT monthly_quota FROM account.limits');
	wait_until('it has said so', sub { $session->so_far =~ /HINT/ });
	sim_release();
	my $said = $session->finish;
	like($said, qr/waiting for "clari_account\.limits"\nDETAIL:  The query began to wait at \d{4}-/, 'what for, since when');
	like($said, qr/^1000$/m, 'and then has the row');
	$session->quit;
};

subtest 'self-joins, views, subqueries, parallel plans, prepared statements' => sub {
	begin(other_jobs => 5000);
	is(sql('SELECT count(*) FROM account.jobs a JOIN account.jobs b USING (job_id), account.limits'), '5000', 'a join');
	is(sim_seen('total.list'), 1, 'one version in a statement');
	is(sql('SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; ' .
		"SELECT count(*) FROM account.jobs WHERE status = 'DONE'"), '2500', 'in parallel');
	like(sql('SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0; ' .
		q{EXPLAIN (COSTS OFF) SELECT count(*) FROM account.jobs WHERE status = 'DONE'}), qr/Parallel Foreign Scan.*Account: jobs/s, 'indeed');
	sql('CREATE VIEW quota AS SELECT available_monthly, monthly_quota FROM account.limits');
	is(sql('TABLE quota'), '1000|1000', 'a view');
	is(sql('PREPARE p(bigint) AS SELECT monthly_quota FROM account.limits WHERE monthly_quota > $1; EXECUTE p(5); EXECUTE p(5000)'), '1000', 'prepared');
	is(sql('SELECT (SELECT available_monthly FROM account.limits) - n FROM generate_series(1, 2) AS n'), "999\n998", 'a subquery');
	is(sql(q{CREATE FOREIGN TABLE by_hand (left_over integer OPTIONS (key 'availableMonthlyQuota'), monthly_quota text)
		SERVER clari OPTIONS (object 'limits'); TABLE by_hand}), '1000|1000', 'a table by hand');
};

subtest 'EXPLAIN and ANALYZE' => sub {
	begin();
	is(sql('EXPLAIN (COSTS OFF) TABLE account.limits'), "Foreign Scan on limits\n  Account: limits\n  Not Cached: limits", 'nothing is asked');
	is(sim_requests(), 0, 'indeed');
	like(sql('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) TABLE account.limits'), qr/Account: limits\s+Sources: limits \(export\)\s+Jobs Created: 0/, 'what was read');
	is(sql('EXPLAIN (COSTS OFF) TABLE account.limits'), "Foreign Scan on limits\n  Account: limits\n  Cached: limits (memory, 1 entry)", 'from the cache');
	sql('ANALYZE account.limits');
	is(sql(q{SELECT reltuples FROM pg_class WHERE oid = 'account.limits'::regclass}), '1', 'ANALYZE counts');
};

subtest 'functions' => sub {
	begin();
	is(sql(q{SELECT clari_prefetch('account.limits')}), '1', 'prefetch');
	wait_until('it is there', sub { sql(q{SELECT state FROM clari_cache}) eq 'ready' });
	is(sql(q{SELECT forecast, time_period IS NULL, rows, job_id IS NULL FROM clari_cache}), 'clari_account.limits|t|1|t', 'the view has it');
	is(sql(q{SELECT clari_invalidate('account.limits')}), '1', 'invalidate');
	my ($state, $message) = query_error($node, q{SELECT clari_refresh('account.limits', '{current}')});
	is($state, '22023', 'it has no periods');
	like($message, qr/foreign table "limits" has no periods/, 'says the message');
	sim_fault({ delay => 'hold' }, step => 'limits', times => 1);
	my $waiting = ClariSession->new($node);
	$waiting->start('TABLE account.limits');
	wait_until('it is under way', sub { asked() == 2 });
	is(sql(q{SELECT clari_cancel('account.limits')}), '1', 'cancel');
	like($waiting->finish, qr/ERROR: .* the request for the limits was canceled by role/, 'whoever waits is told');
};

subtest 'who may read it' => sub {
	begin();
	sql('CREATE ROLE stranger; GRANT USAGE ON SCHEMA account TO stranger; GRANT SELECT ON account.limits TO stranger');
	my ($state, $message) = query_error($node, 'SET ROLE stranger; TABLE account.limits');
	is($state, '42704', 'without a mapping nobody');
	sql(q{CREATE USER MAPPING FOR stranger SERVER clari OPTIONS (api_key 'test-key')});
	is(sql('SET ROLE stranger; SELECT monthly_quota FROM account.limits'), '1000', 'with one whoever may select');
};

subtest 'how old it may be' => sub {
	begin();
	is(sql('SELECT available_monthly FROM account.limits'), '1000', 'read');
	is(sql(q{SELECT round(extract(epoch FROM expires_at - exported_at)) FROM clari_cache}), '10', q{ten seconds, whatever the server's cache_ttl});
	sql(q{ALTER FOREIGN TABLE account.limits OPTIONS (ADD cache_ttl '0')});
	foreign_post('test-key', '2026_Q1');
	is(sql('SELECT available_monthly FROM account.limits'), '999', q{the table's own cache_ttl counts, and the server's stale_while_revalidate does not});
	sql(q{ALTER FOREIGN TABLE account.limits OPTIONS (ADD stale_if_error '1h')});
	sim_fault({ status => 503 }, step => 'limits');
	like(talk('SELECT available_monthly FROM account.limits'), qr/^999\n.*WARNING:  what "clari_account.limits" shows is stale: it was read (?:1 second|(?!1 )\d+ seconds) ago\nDETAIL:  The request failed: Clari answered the request for the limits with HTTP status 503/s,
		'stale rows, with a warning');
	sql(q{ALTER FOREIGN TABLE account.limits OPTIONS (DROP cache_ttl, DROP stale_if_error)});
};

subtest 'what goes wrong' => sub {
	my @faults = (
		[ { status => 401, json => { message => 'Invalid authentication credentials' } }, '28000',
			qr/Clari refused the request for the limits with HTTP status 401\nDETAIL:  .*Invalid authentication/ ],
		[ { status => 403 }, '28000', qr/HTTP status 403/ ],
		[ { status => 404 }, 'HV000', qr/HTTP status 404.*HINT:  This account's API does not seem to have it/s ],
		[ { status => 503 }, 'HV000', qr/Clari answered the request for the limits with HTTP status 503/ ],
		[ { body => '<html>Sign in</html>' }, '22000', qr/Clari's answer is not valid JSON\nDETAIL:  It begins with "<html>Sign in<\/html>", as a web page does/ ],
		[ { body => '' }, '22000', qr/Clari's answer is empty/ ],
		[ { json => {} }, '22000', qr/Clari's answer has no list "jobs"/ ],
		[ { json => { jobs => [] } }, '22000', qr/A value that is not an object/ ],
		[ { body => '{"jobs":{"monthlyQuota":1000' }, '22000', qr/Clari's answer ends too early/ ],
		[ { redirect => 'https://elsewhere.example/limits' }, 'HV00N', qr/refused to follow Clari to https:\/\/elsewhere.example/ ],
		[ { json => { jobs => { monthlyQuota => 'many' } } }, '22000',
			qr/Clari's answer holds a value of the wrong type for column "monthly_quota"\nDETAIL:  It is the string "many" instead of an integer/ ]);
	for (@faults)
	{
		my ($fault, $sqlstate, $expected) = @$_;
		begin();
		sim_fault($fault, step => 'limits');
		my ($state, $message) = query_error($node, 'SELECT monthly_quota FROM account.limits');
		is($state, $sqlstate, encode_json($fault));
		like($message, $expected, 'with its message');
	}
	begin();
	sim_fault({ json => { jobs => { monthlyQuota => 'many', availableMonthlyQuota => 5 } } }, step => 'limits');
	is(sql('SELECT available_monthly, submitted, concurrent_limit IS NULL FROM account.limits'), '5|0|t', 'what is good can be read');
	begin();
	sim_fault({ status => 503 }, step => 'limits', times => 1);
	sql('ALTER SERVER clari OPTIONS (SET max_retries $$1$$)');
	is(sql('SELECT available_monthly FROM account.limits'), '1000', 'what passes is tried again');
	sql('ALTER SERVER clari OPTIONS (SET max_retries $$0$$)');
};

subtest 'a restart' => sub {
	begin();
	sql('TABLE account.limits');
	$node->restart;
	my $requests = sim_requests();
	is(sql(q{SELECT forecast, time_period IS NULL FROM clari_cache}), 'clari_account.limits|t', 'it is in the cache');
	is(sql('SELECT available_monthly FROM account.limits'), '1000', 'and read');
	cmp_ok(sim_requests() - $requests, '<=', 1, 'from there, or anew');
};

# ------- clari_sync -------

# Nothing is merged or cached, and so much of the quota is left.
sub begin_sync
{
	my ($left, %settings) = @_;
	begin(monthly_used => 1000 - $left, %settings);
	sql('TRUNCATE clari_forecasts, clari_syncs');
	return;
}

sub merged { return sql(q{SELECT string_agg(DISTINCT time_period, ' ') FROM clari_forecasts}); }

subtest 'inside of a block: nothing, if not all' => sub {
	begin_sync(2);
	my ($state, $message) = query_error($node, q{BEGIN; CALL clari_sync('clari.forecasts'); COMMIT});
	is($state, '53400', 'an error');
	like($message, qr/Clari's quota covers 2 of the 4 exports needed\nDETAIL:  2 of 1,000 exports remain in the 30-day quota. Nothing was exported.\nHINT:  Clari counts/,
		'that has the figures');
	is(sim_posts(), 0, 'before anything was exported');
	is(merged(), '', 'or merged');
	is(sql(q{BEGIN; CALL clari_sync('clari.forecasts', '{2026_Q1,2026_Q4}'); COMMIT; SELECT count(*) FROM clari_forecasts}), '100',
		'what the quota allows is synced');
	is(asked(), 2, 'the limits are read each time');
	($state, $message) = query_error($node, q{BEGIN; CALL clari_sync('clari.forecasts', '{2026_Q2}'); COMMIT});
	like($message, qr/Clari's quota covers 0 of the 1 export needed/, '… so that what was exported a moment ago counts');
	is(sim_posts(), 2, 'no POST that would have been refused');
};

subtest 'outside: the newest quarters, as far as it goes' => sub {
	begin_sync(2);
	my $said = talk(q{CALL clari_sync('clari.forecasts')});
	like($said, qr/WARNING:  Clari's quota does not cover all of the exports needed\nDETAIL:  2 of 1,000 exports remain in the 30-day quota. Not exported: 2026_Q2, 2026_Q1.\nHINT:  Clari counts.*NOTICE:  2 periods synced/s,
		'told beforehand');
	like($said, qr/ERROR:  could not sync 2 of 4 periods of forecast "net_arr"\nDETAIL:  Period 2026_Q1: Clari's quota does not cover this export. 2 of 1,000 exports remain in the 30-day quota.\nPeriod 2026_Q2: Clari's quota/,
		'and bad quarters at the end');
	is(merged(), '2026_Q3 2026_Q4', 'the newest are merged');
	is(sim_posts(), 2, 'no POST that would have been refused');
	is(sql(q{SELECT string_agg(time_period, ' ') FROM clari_syncs WHERE error LIKE 'Clari''s quota does not cover this export%'}), '2026_Q1 2026_Q2', 'clari_syncs has it');
	sql('SELECT clari_invalidate()');
	is(merged(), '2026_Q3 2026_Q4', 'and nothing is lost');

	begin_sync(0);
	$said = talk(q{CALL clari_sync('clari.forecasts')});
	like($said, qr/WARNING:.*0 of 1,000 exports remain in the 30-day quota. Not exported: 2026_Q4, 2026_Q3, 2026_Q2, 2026_Q1.*could not sync 4 of 4/s, 'none at all');
	is(sim_posts(), 0, 'no POST');
};

subtest 'what is there needs none' => sub {
	begin_sync(3);
	sql('SELECT count(*) FROM clari.forecasts WHERE time_period IN ($$2026_Q1$$, $$2026_Q3$$)');
	sql('ALTER FOREIGN TABLE clari.forecasts OPTIONS (SET closed_period_ttl $$1d$$)');
	sim_set({ monthly_used => 996 });
	sql(q{SELECT clari_stats_reset(); SELECT clari_invalidate('account.limits')});
	unlike(talk(q{CALL clari_sync('clari.forecasts', max_age => '1h')}), qr/WARNING|ERROR/, 'two are left, and two are needed');
	is(merged(), '2026_Q1 2026_Q2 2026_Q3 2026_Q4', 'all are merged');
	my $requests = asked();
	unlike(talk(q{SELECT clari_invalidate('account.limits'); CALL clari_sync('clari.forecasts', max_age => '1h')}), qr/WARNING|ERROR/, 'none is left, and none is needed');
	is(asked(), $requests, 'then nobody asks');
	sql('ALTER FOREIGN TABLE clari.forecasts OPTIONS (SET closed_period_ttl $$0$$)');
};

subtest 'while it is not known which quarter is the current one' => sub {
	import_tables($node, schema => 'relative', periods => 'current-3..current', closed_period_ttl => '0');
	begin_sync(2);
	my $said = talk(q{CALL clari_sync('relative.forecasts')});
	like($said, qr/Not exported: 2026_Q2, 2026_Q1\..*2 periods synced/s, 'the current one first');
	is(merged(), '2026_Q3 2026_Q4', 'and then the newest');
	is(sim_posts(), 2, 'as many exports as there were');

	begin_sync(0);
	my ($state, $message) = query_error($node, q{CALL clari_sync('relative.forecasts')});
	is($state, '53400', 'with none left it cannot be learned');
	like($message, qr/Clari's quota covers 0 of the 4 exports needed/, 'says the error');
	is(sim_posts(), 0, 'before anything');

	begin_sync(3);
	($state, $message) = query_error($node, q{BEGIN; CALL clari_sync('relative.forecasts'); COMMIT});
	is($state, '53400', 'inside of a block too few are too few');
	like($message, qr/covers 3 of the 4/, 'with figures');
	is(sim_posts(), 0, 'before anything');
	begin_sync(4);
	unlike(talk(q{BEGIN; CALL clari_sync('relative.forecasts'); COMMIT}), qr/WARNING|ERROR/, 'and enough are enough');
	is(sql('SELECT count(*) FROM clari_forecasts'), '200', 'for all');
};

subtest 'where the limits cannot be read it goes on as without' => sub {
	my @faults = ({ status => 401 }, { status => 403 }, { status => 404 }, { status => 500 }, { body => '<html>' }, { json => {} },
		{ json => { jobs => {} } }, { json => { jobs => { availableMonthlyQuota => 'none' } } },
		{ json => { jobs => { availableMonthlyQuota => 4 } } });
	for my $fault (@faults)
	{
		begin_sync(4);
		sim_fault($fault, step => 'limits');
		unlike(talk(q{CALL clari_sync('clari.forecasts')}), qr/WARNING|ERROR/, encode_json($fault));
		is(sql('SELECT count(*) FROM clari_forecasts'), '200', 'all is merged');
	}
	begin_sync(2);
	sim_fault({ json => { jobs => { availableMonthlyQuota => -1 } } }, step => 'limits');
	like(talk(q{CALL clari_sync('clari.forecasts')}), qr/DETAIL:  0 exports remain in the 30-day quota. Not exported/, 'below 0 is none, and the quota need not be told');
};

done_testing();
