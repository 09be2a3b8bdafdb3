# What goes wrong is an error that says what, where and what to do; it is remembered, hangs nothing and costs no quota.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my %defaults = (job_seconds => 0.05, concurrent_limit => 8, monthly_quota => 1000, forecasts => ['net_arr'],
	not_found => 400, limit_codes => 'one', keys => { 'test-key' => {} }, known_periods => undef, rows_truncated => JSON::PP::false, cells_truncated => JSON::PP::false);
start_sim(%defaults);
my $node = start_node('failures', 'log_statement = none', 'log_min_messages = debug2');
create_server($node, max_retries => 1);
import_tables($node);
my $session = ClariSession->new($node);

sub query { return $session->query($_[0]); }

sub logged_warnings { return scalar(() = slurp_file($node->logfile) =~ /WARNING:  /g); }

my $one = "SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'";
my %reply = (code => 'some_code', message => 'Some message.', errorId => 'error-42', namespace => 'exports', orgId => 101);
my $said = qr/code "some_code", message "Some message\.", errorId "error-42"/;

# Each: what, how, SQLSTATE, what the error must tell (besides the period), POSTs.
my @failures = (
	[ 'a key that Clari refuses', sub { sim_set({ keys => {} }) }, '28000',
		[ qr/status 401/, qr/message "Invalid authentication credentials"/, qr/HINT:.*api_key/ ], 1 ],
	[ 'a user without access to the forecast', sub { sim_set({ keys => { 'test-key' => { no_optin => ['net_arr'] } } }) },
		'28000', [ qr/status 401/, qr/"no_optin", message ".*", errorId "[\w-]+"/, qr/HINT:.*may not see/ ], 1 ],
	[ 'a forecast that is not there', sub { sim_set({ forecasts => ['other'] }) }, 'HV00R',
		[ qr/status 400/, qr/"net_arr"/, qr/"no_such_forecast_config", message ".*", errorId "[\w-]+"/, qr/HINT:.*"forecast"/ ], 1 ],
	[ 'a forecast that is not there, by 404', sub { sim_set({ forecasts => ['other'], not_found => 404 }) }, 'HV00R',
		[ qr/status 404/, qr/"net_arr"/, qr/"forecast_not_found", message ".*", errorId "[\w-]+"/, qr/HINT:.*"forecast"/ ], 1 ],
	[ 'a request that is refused', sub { sim_fault({ status => 400, json => \%reply }, step => 'post') }, 'HV000',
		[ qr/status 400/, $said ], 1 ],
	[ 'the other shape of an error', sub { sim_fault({ status => 422, json => { errors => [ \%reply ] } }, step => 'post') },
		'HV000', [ qr/status 422/, qr/code "some_code", message "Some message\."/ ], 1 ],
	[ 'a quota that is spent', sub { sim_set({ monthly_quota => 0 }) }, '53400',
		[ qr/status 400/, qr/"export_monthly_quota_reached"/, qr/HINT:.*cache_ttl/ ], 1 ],
	[ 'a quota that is spent, by a code of its own', sub { sim_set({ monthly_quota => 0, limit_codes => 'two' }) }, '53400',
		[ qr/status 400/, qr/"export_monthly_quota_reached"/, qr/HINT:.*cache_ttl/ ], 1 ],
	[ 'a server error at the POST', sub { sim_fault({ status => 500, json => \%reply }, step => 'post') }, 'HV000',
		[ qr/status 500/, $said, qr/may have started an export/, qr/tried 2 times/ ], 2 ],
	[ 'a POST that never comes through', sub { sim_fault({ reset => JSON::PP::true }, step => 'post') },
		'HV00N', [ qr/may have started an export/ ], 2 ],
	[ 'a POST that is answered with nonsense', sub { sim_fault({ status => 200, body => '<html>hello' }, step => 'post') },
		'HV00M', [ qr/names no job/, qr/may have started an export/ ], 1 ],
	[ 'a proxy instead of Clari', sub { sim_fault({ status => 502, body => '<html>bad gateway' }, step => 'poll') }, 'HV000',
		[ qr/status 502/, qr/bad gateway/, qr/tried 2 times/ ], 1 ],
	[ 'polls that are refused', sub { sim_fault({ status => 403, json => \%reply }, step => 'poll') }, '28000',
		[ qr/status 403/, $said ], 1 ],
	[ 'a job that Clari forgets', sub { sim_fault({ job => { lost => JSON::PP::true } }, step => 'post') }, 'HV00L',
		[ qr/status 400/, qr/no longer knows the job/, qr/"SWW"/ ], 2 ],
	[ 'a job that Clari forgets, by 404', sub { sim_set({ not_found => 404 }); sim_fault({ job => { lost => JSON::PP::true } }, step => 'post') },
		'HV00L', [ qr/status 404/, qr/no longer knows the job/, qr/"export_job_not_found"/ ], 2 ],
	(map { my $state = $_; [ "a job that ends $state", sub { sim_fault({ job => { end_state => $state } }, step => 'post') },
		'HV00L', [ qr/ended in state $state/, qr/job [0-9a-f]+/ ], 1 ] } qw(FAILED ABORTED CANCELLED)),
	[ 'a truncated export', sub { sim_set({ rows_truncated => JSON::PP::true }) }, '54000',
		[ qr/rowsTruncated/, qr/HINT:.*allow_truncated/ ], 1 ],
	[ 'results that are refused', sub { sim_fault({ status => 403, json => \%reply }, step => 'results') }, '28000',
		[ qr/status 403/, $said ], 1 ],
	[ 'results that break off', sub { sim_fault({ cut => 20000 }, step => 'results') }, '22000', [], 1 ],
	[ 'broken JSON', sub { sim_fault({ replace => [ '"userId"', '"userId' ] }, step => 'results') }, '22000', [], 1 ],
	[ 'something behind the document', sub { sim_fault({ append => '{}' }, step => 'results') }, '22000', [], 1 ],
	[ 'NaN', sub { sim_fault({ replace => [ '"forecastValue":', '"forecastValue":NaN,"x":' ] }, step => 'results') }, '22000',
		[], 1 ],
	[ 'a duplicate key', sub { sim_fault({ replace => [ '"userId":', '"userId":"1","userId":' ] }, step => 'results') }, '22000',
		[], 1 ],
	[ 'a NUL', sub { sim_fault({ replace => [ '"userId":"', '"userId":"\\u0000' ] }, step => 'results') }, '22000', [], 1 ],
	[ 'an amount that is no number', sub { sim_fault({ replace => [ '"forecastValue":', '"forecastValue":"many","x":' ] },
		step => 'results') }, '22000', [], 1 ],
	[ 'a damaged gzip stream', sub { sim_fault({ gzip => 'broken' }, step => 'results') }, undef, [], 1 ]);

for my $failure (@failures)
{
	my ($what, $arrange, $sqlstate, $patterns, $posts) = @$failure;
	subtest $what => sub {
		start_over($node);
		$arrange->();
		my $error = query($one);
		like($error, qr/^ERROR:  /m, 'an error');
		like($error, qr/^ERROR:  \Q$sqlstate\E: /m, "SQLSTATE $sqlstate") if defined $sqlstate;
		like($error, qr/2026_Q1/, 'which names the period');
		like($error, $_, "and tells $_") for @$patterns;
		is(sim_posts(), $posts, "POSTs");
		my $requests = sim_requests();
		is(query($one), $error, 'the same again');
		is(sim_requests(), $requests, 'without asking Clari');
		is(query("SELECT state, error IS NOT NULL FROM clari_cache"), 'failed|t', 'clari_cache shows it');
		is(query('SELECT count(*) FROM clari_exports'), 0, 'nothing is left in flight');
		sim_reset();
		sim_set(\%defaults);
		is(query("SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')"), 1, 'it can be forgotten');
		is(query($one), 500, 'then the export is made');
	};
}

# Each: what, how, requests that it takes.
my @recovered = (
	[ 'a busy service that says when to come back', { status => 503, headers => { 'Retry-After' => '1' } }, 'post', 2 ],
	[ 'too many requests', { status => 429, headers => { 'Retry-After' => '@+1' } }, 'post', 2 ],
	[ 'a POST whose answer is lost', { reset => JSON::PP::true, carry_out => JSON::PP::true }, 'post', 1 ],
	[ 'a busy service while polling', { status => 503 }, 'poll', 2 ],
	[ 'a proxy while polling', { status => 200, body => '<html>hello' }, 'poll', 2 ],
	[ 'a connection that is reset while polling', { reset => JSON::PP::true }, 'poll', 2 ],
	[ 'a server error at the download', { status => 500 }, 'results', 2 ],
	[ 'a download that is reset', { reset_after => 20000 }, 'results', 2 ],
	[ 'a download that is closed', { close_after => 20000 }, 'results', 2 ],
	[ 'a download that is damaged', { replace => [ '"userId"', '"userId' ] }, 'results', 2 ]);
for my $case (@recovered)
{
	my ($what, $fault, $step, $times) = @$case;
	start_over($node);
	sim_fault($fault, step => $step, times => 1);
	my $begin = time;
	is(query($one), 500, "$what passes");
	cmp_ok(time - $begin, '>=', 0.9, 'not before the time that Clari asked for') if $fault->{headers};
	cmp_ok(sim_seen("total.$step"), '>=', $times, "$step is repeated");
	is(sim_posts(), $step eq 'post' ? $times : 1, 'the export is made once');
}

subtest 'too many exports at once pass by waiting' => sub {
	start_over($node, concurrent_limit => 0);
	$session->start($one);
	wait_until('Clari has refused', sub { sim_posts() >= 1 });
	wait_until('it will be tried again', sub {
		$node->safe_psql('postgres', "SELECT phase FROM clari_exports WHERE next_try_at IS NOT NULL") eq 'waiting for a slot' });
	sim_set({ concurrent_limit => 8 });
	is($session->finish, 500, 'the export is made when there is room');
};

subtest 'a job that never ends' => sub {
	start_over($node);
	query("ALTER SERVER clari OPTIONS (ADD export_timeout '300ms')");
	sim_fault({ job => { never => JSON::PP::true } }, step => 'post');
	my $error = query($one);
	like($error, qr/ERROR:  HV00L: .*2026_Q1.* did not finish in time/, 'times out');
	like($error, qr/STARTED.*job [0-9a-f]+\..*HINT:.*export_timeout/si, 'and tells how it stood');
	sim_reset();
	sim_fault({ delay_before => 'hold' }, step => 'post');
	query('SELECT clari_invalidate()');
	like(query($one), qr/ERROR:  HV00L: .*may have started an export/s, 'as does a POST that is not answered');
	is(sim_posts(), 1, 'which is not repeated');
	sim_release();
	query("ALTER SERVER clari OPTIONS (DROP export_timeout)");
};

subtest 'a download that stalls' => sub {
	start_over($node);
	query("ALTER SERVER clari OPTIONS (ADD request_timeout '300ms')");
	sim_fault({ stall_after => 20000 }, step => 'results', times => 1);
	is(query($one), 500, 'is made again');
	is(sim_posts(), 1, 'without a second export');
	query("ALTER SERVER clari OPTIONS (DROP request_timeout)");
	sim_release();
};

subtest 'nobody listens' => sub {
	start_over($node);
	query("CREATE SERVER nobody FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url 'http://127.0.0.1:1', max_retries '1')");
	query("CREATE USER MAPPING FOR CURRENT_USER SERVER nobody OPTIONS (api_key 'test-key')");
	query("CREATE FOREIGN TABLE nobody (owner_name text) SERVER nobody OPTIONS (forecast 'f', periods '2026_Q1')");
	like(query('SELECT * FROM nobody'), qr/ERROR:  HV00N: .*DETAIL:.*2026_Q1/s, 'an error');
};

subtest 'the wrong quarter has no rows' => sub {
	start_over($node, known_periods => [ '2026_Q2', '2026_Q3', '2026_Q4' ]);
	my $both = qr/02000: .*2026_Q1.*2026_Q4/;
	my $warnings = logged_warnings();
	like(query($one), qr/WARNING:  $both.*^0$/ms, 'a warning that names both quarters');
	like(query($one), qr/NOTICE:  $both.*^0$/ms, 'a notice each time after that');
	is(sim_posts(), 1, 'but remembered');
	like(query('SELECT count(*) FROM clari.forecasts'), qr/NOTICE:  $both.*^1500$/ms, 'the other periods have theirs');
	is(logged_warnings() - $warnings, 1, 'one warning for the log, whatever a session asks');
	like(ClariSession->new($node)->query($one), qr/WARNING:  $both.*^0$/ms, 'another session is warned once, too');
	query("SELECT clari_refresh('clari.forecasts', '{2026_Q1}')");
	like(query($one), qr/WARNING:  $both.*^0$/ms, 'as a session is of another export');
	start_over($node, known_periods => [ '2026_Q2', '2026_Q3', '2026_Q4' ]);
	query('SELECT count(*) FROM clari.forecasts');
	is(sim_posts(), 4, 'one POST each');
	is(query("SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')"), 1, 'it can be forgotten');
	query($one);
	is(sim_posts(), 5, 'then it is asked for again');
	query('SELECT clari_create_tables()');
	like(query("CALL clari_sync('clari.forecasts')"), qr/ERROR: .*1 of 4 periods.*2026_Q1.*2026_Q4/s,
		'clari_sync counts it as failed');
	is(query('SELECT count(DISTINCT time_period) FROM clari_forecasts'), 3, 'and merges the others');
};

subtest 'a truncated export, if allowed' => sub {
	start_over($node, cells_truncated => JSON::PP::true);
	query("ALTER FOREIGN TABLE clari.forecasts OPTIONS (ADD allow_truncated 'true')");
	my $warnings = logged_warnings();
	like(query($one), qr/WARNING:  54000: .*truncated.*2026_Q1.*^500$/ms, 'a warning and rows');
	like(query($one), qr/NOTICE:  54000: .*truncated.*2026_Q1.*^500$/ms, 'a notice, the next time');
	is(logged_warnings() - $warnings, 1, 'one warning for the log');
	query('ALTER FOREIGN TABLE clari.forecasts OPTIONS (DROP allow_truncated)');
	like(query($one), qr/ERROR:  54000: .*truncated/, 'who does not allow it never gets them');
};

subtest 'one bad period of four' => sub {
	start_over($node);
	sim_fault({ job => { end_state => 'FAILED' } }, step => 'post', period => '2026_Q3');
	like(query('SELECT count(*) FROM clari.forecasts'), qr/ERROR: .*2026_Q3/, 'fails the query');
	wait_until('the others are through', sub { query('SELECT count(*) FROM clari_exports') eq '0' });
	is(query("SELECT count(*) FROM clari.forecasts WHERE time_period <> '2026_Q3'"), 1500, 'the others are cached');
	is(sim_posts(), 4, 'each exported once');
};

subtest 'a failure is remembered for ten seconds' => sub {
	start_over($node);
	sim_fault({ status => 400 }, step => 'post', times => 1);
	like(query($one), qr/ERROR/, 'a failure');
	my $begin = time;
	wait_until('it is forgotten', sub { query($one) eq '500' });
	cmp_ok(time - $begin, '>=', 9, 'not much earlier');
	is(sim_posts(), 2, 'and then exported again');
};

subtest 'the key is nowhere' => sub {
	start_over($node);
	query('SELECT count(*) FROM clari.entries');
	my $log = slurp_file($node->logfile);
	unlike($log, qr/test-key/, 'the server log');
	cmp_ok(length $log, '>', 10_000, 'of which there is some');
	my $seen = query("EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM clari.forecasts; SELECT * FROM clari_cache;
		SELECT * FROM clari_exports; SELECT * FROM pg_stat_activity WHERE query !~ 'pg_stat_activity'");
	unlike($seen, qr/test-key/, 'EXPLAIN and views');
	my $workers = query("SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'");
	like($workers, qr/^\d+/, 'a worker runs');
	unlike(slurp_file("/proc/$_/cmdline") . slurp_file("/proc/$_/environ"), qr/test-key/, 'its title and environment')
		for split /,/, $workers;
	my @files = glob($node->data_dir . '/pgsql_tmp_clari_fdw/*');
	cmp_ok(scalar @files, '>', 0, 'there are files');
	unlike(slurp_file($_), qr/test-key/, 'a file') for @files;
};
$session->quit;

subtest 'no background worker to be had' => sub {
	$node->append_conf('postgresql.conf', "max_worker_processes = 1\n"); # the logical replication launcher's
	$node->restart;
	$node->safe_psql('postgres', 'SELECT clari_invalidate()'); # what was cached is still there
	start_sessions_without_worker();
};

sub start_sessions_without_worker
{
	my $waiting = ClariSession->new($node);
	my $begin = time;
	like($waiting->query($one), qr/ERROR:  53000: .*background worker.*HINT:.*max_worker_processes/s, 'an error with a hint');
	cmp_ok(time - $begin, '>=', 9, 'it was tried for a while');
	$waiting->query("SET statement_timeout = '200ms'");
	like($waiting->query($one), qr/ERROR:  57014: /, 'the wait can be interrupted');
	like($waiting->query("SELECT clari_prefetch('clari.forecasts')"), qr/ERROR:  53000: /, 'clari_prefetch fails at once');
	return;
}

subtest 'a background worker slot that frees in time' => sub {
	$node->append_conf('postgresql.conf', "max_worker_processes = 2\n");
	$node->restart;
	$node->safe_psql('postgres', 'SELECT clari_invalidate()');
	my $occupant = ClariSession->new($node);
	$occupant->query('SET ' . debug_parallel($node) . ' = on');
	$occupant->start('SELECT pg_sleep(300)');
	wait_until('the slot is taken', sub { $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'parallel worker'") eq '1' });
	my $waiting = ClariSession->new($node)->start($one);
	wait_until('the query waits', sub { $node->safe_psql('postgres', 'SELECT sum(waiters) FROM clari_exports') eq '1' });
	ok(!$waiting->is_finished(0.3), 'no error yet');
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($occupant->{pid})");
	like($occupant->finish, qr/57014/, 'the occupant goes');
	is($waiting->finish, 500, 'and the query gets its rows');
};

subtest 'background workers that do not start' => sub {
	my $waiting = ClariSession->new($node);
	$waiting->query("SELECT clari_invalidate(); EXPLAIN $one");
	$node->append_conf('postgresql.conf', "clari_fdw.worker_idle_timeout = 0\n");
	$node->reload;
	wait_until('no worker is left', sub { $node->safe_psql('postgres',
		"SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'") eq '0' });
	# The session has the library already; a new worker does not find it.
	$node->append_conf('postgresql.conf', "dynamic_library_path = '/nonexistent'\n");
	$node->reload;
	wait_until('the settings are there', sub { $waiting->query('SHOW dynamic_library_path') eq '/nonexistent' });
	like($waiting->query($one), qr/ERROR:  53000: .*worker/, 'an error');
	$node->append_conf('postgresql.conf', "dynamic_library_path = '\$libdir'\n");
};

subtest 'single-user mode' => sub {
	$node->stop;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'postgres', '--single', '-D', $node->data_dir, 'postgres' ], '<', \"$one\n", '>', \$out, '2>', \$err,
		IPC::Run::timeout($ClariSession::patience));
	like($err, qr/ERROR: .*single-user mode/, 'an error');
};

done_testing();
