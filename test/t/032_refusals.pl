# What Clari refuses, loses, or leaves open: decided by its code; one answer leads to one more POST at most, and a job that
# Clari has lost is given up for one new export.  Each case: the rows to the last digit, or an error that says what to do.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my @periods = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2016 .. 2026;

# Over TLS, since a link to another host must be.
my $dir = PostgreSQL::Test::Utils::tempdir();
system('openssl', qw(req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=clari_fdw), '-addext',
	'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', "$dir/tls.key", '-out', "$dir/tls.crt") == 0 or die 'openssl';
start_sim(job_seconds => 0.05, owners => 60, concurrent_limit => 100, monthly_quota => 100_000, known_periods => \@periods,
	also => [ [ '127.0.0.1', "$dir/tls.crt", "$dir/tls.key" ] ]);
my ($port) = sim_other_ports();
my $node = start_node('refusals', 'clari_fdw.max_workers = 1', 'max_connections = 60');
my %usual = (max_retries => 2, max_concurrent_exports => 40, export_timeout => '20s');
create_server($node, %usual, base_url => "https://127.0.0.1:$port/v4", ca_file => "$dir/tls.crt");
import_tables($node, periods => "$periods[0]..$periods[-1]");
my $boss = ClariSession->new($node);
my ($last, $clean) = @periods[ -1, -2 ];

sub rows_of { my ($period) = @_; return digest_of('clari.entries', "time_period = '$period'") =~ s/\bt::text/(t.user_id, t.forecast_value, t.crm_total, t.currency)::text/gr; }

# The right digests; and whose the key is, is known from now on.
$boss->query("SELECT clari_refresh('clari.entries')");
my %digest = map { $_ => $boss->query(rows_of($_)) } @periods;
is_as_generated($node, 'clari.entries', 'entries', $_) for $last, $clean;

# [name, faults ([fault, step, times]), POSTs, the error (SQLSTATE and what it tells; none: the rows come), what it must not tell]
my @cases;
sub check { push @cases, [@_]; return; }
sub refusal { my ($status, %reply) = @_; return { status => $status, json => {%reply} }; }

sub run_case
{
	my ($session, $period, $case) = @_;
	my ($name, $faults, $posts, $error, $unlike) = @$case;
	subtest $name => sub {
		my $answer = $session->finish;
		if ($error)
		{
			my ($sqlstate, @tells) = @$error;
			like($answer, qr/^ERROR:  $sqlstate: /m, "an error with SQLSTATE $sqlstate");
			like($answer, qr/\Q$period\E/, 'it names the period');
			like($answer, $_, "it tells $_") for @tells;
			is($boss->query("SELECT state, rows FROM clari_cache WHERE time_period = '$period'"), 'failed|', 'nothing is cached');
			cmp_ok(scalar(() = $answer =~ /job [0-9a-f]{24}/g), '<=', 1, 'it names the job once');
		}
		else
		{
			is(last_line($answer), $digest{$period}, 'the rows come');
		}
		unlike($answer, $_, "it does not tell $_") for @{ $unlike // [] };
		is(sim_seen("periods.$period.post"), $posts, 'POSTs');
	};
	return;
}

# All that have been added, at once, each in a period of its own; beside them one that nothing happens to.
sub run_cases
{
	my (%settings) = @_;
	while (my @now = splice @cases, 0, 30)
	{
		start_over($node, %settings);
		my $other = ClariSession->new($node);
		my @sessions;
		for my $i (0 .. $#now)
		{
			sim_fault($_->[0], step => $_->[1], period => $periods[$i], times => $_->[2]) for @{ $now[$i][1] };
			push @sessions, ClariSession->new($node)->start(rows_of($periods[$i]));
		}
		is($other->query(rows_of($clean)), $digest{$clean}, 'another period comes all the same');
		run_case($sessions[$_], $periods[$_], $now[$_]) for 0 .. $#now;
		$_->quit for @sessions, $other;
	}
	return;
}

# ---- decided by code ----

my @limit_words = qw(quota limit monthly concurrent);
for my $code (qw(bad_request missing_forecast_id something_new))
{
	check("400 $code with the words of a limit", [ [ refusal(400, code => $code, message => "too many: @limit_words"), 'post' ] ],
		1, [ 'HV000', qr/"$code"/, qr/too many/ ], [ qr/used up|left/ ]);
}
check('400 no_such_forecast_config of a forecast called monthly',
	[ [ refusal(400, code => 'no_such_forecast_config', message => 'Forecast monthly_quota_limit does not exist.'), 'post' ] ],
	1, [ 'HV00R', qr/HINT:  .*"forecast"/ ]);
check('400 without a code, whose words are those of a limit that passes',
	[ [ refusal(400, message => 'Too many concurrent exports.'), 'post', 1 ] ], 2);
check('400 with a number for a code, and such words',
	[ [ refusal(400, code => '400', message => 'Too many concurrent exports.'), 'post', 1 ] ], 2);
check('400 with a code for the one limit only', [ [ refusal(400, code => 'export_concurrent_limit_reached'), 'post', 2 ] ], 3);
check("an error in the form of $_->[0]", [ [ { status => 400, json => $_->[1] }, 'post' ] ], 1, [ 'HV000', qr/The sky is grey/ ])
  for [ 'a list', [ { code => 'grey', message => 'The sky is grey.' } ] ],
  [ 'errors', { errors => [ { code => 'grey', message => 'The sky is grey.' } ] } ],
  [ 'reasons', { statusCode => 400, reasonPhrase => 'Bad Request', description => 'The sky is grey.' } ];

# ---- a POST that was answered by 2xx ----

my %unreadable = (
	'an empty body' => { body => '' }, '{}' => { body => '{}' }, 'a page' => { body => '<html>hello' }, 'a list' => { body => '[]' },
	'an empty id' => { body => '{"jobId":""}' }, 'no id' => { body => '{"jobId":null}' }, 'a NUL' => { body => '{"jobId":"a\\u0000"}' },
	'half an answer' => { body => '{"jobId":"6073', content_length => '+20' }, 'broken gzip' => { body => '{"jobId":"6073"}', gzip => 'broken' },
	'an id of a thousand characters' => { body => '{"jobId":"' . 'x' x 1000 . '"}' });
for my $what (sort keys %unreadable)
{
	my %fault = (status => 200, %{ $unreadable{$what} });
	check("2xx with $what, and the job is there", [ [ { %fault, carry_out => $true }, 'post' ] ], 1);
	check("2xx with $what, and it is not", [ [ { %fault, carry_out => $false }, 'post' ] ], 1,
		[ qr/HV00[MN]/, qr/may have started an export/ ]);
}
check('2xx with 300 kB, and the job is there', [ [ { status => 200, json => { message => 'x' x 300_000 }, carry_out => $true }, 'post' ] ], 1);
check('an answer without content', [ [ { status => 204, body => '', carry_out => $false }, 'post' ] ], 1, [ 'HV00M', qr/status 204/ ]);
check("a job called \"$_\"", [ [ { job => { id => $_ } }, 'post', 1 ] ], 1)
  for 'a b', 'ü/é?#%25', '"quoted"\\', "tab\tand\nline", '../../admin/limits', 'x' x 127;

run_cases();

# ---- a job that Clari lost ----

for my $status ([ 400, 'SWW' ], [ 404, 'not_found' ], [ 410, 'gone' ])
{
	my ($number, $code) = @$status;
	my $fault = refusal($number, code => $code, message => 'Something went wrong');
	check("$number $code at the first two polls", [ [ $fault, 'poll', 2 ] ], 1);
	check("$number $code at the results, once", [ [ $fault, 'results', 1 ] ], 1);
	check("$number $code at each poll of one job", [ [ $fault, 'poll', 4 ] ], 2);
	check("$number $code at each poll", [ [ $fault, 'poll' ] ], 2, [ 'HV00L', qr/no longer knows/, qr/"$code"/ ]);
	check("$number $code at the results of one job", [ [ $fault, 'results', 4 ] ], 2);
	check("$number $code at all results", [ [ $fault, 'results' ] ], 2, [ 'HV00L', qr/no longer knows/, qr/"$code"/ ]);
}
check('403 at the first poll', [ [ refusal(403, message => 'No.'), 'poll', 1 ] ], 1);
check('403 at each poll', [ [ refusal(403, message => 'No.'), 'poll' ] ], 1, [ '28000', qr/status 403/ ]);
check('a state that repeats the key in escapes', [ [ { status => 200, body => '{"status":"\u0074est-key"}' }, 'poll', 3 ] ], 1);
check('a job that the service has never heard of', [ [ { job => { lost => $true } }, 'post', 1 ] ], 2);
check('a poll that tells of another job, once', [ [ { merge => { jobId => 'another', status => 'DONE' } }, 'poll', 1 ] ], 1);
check('polls that tell of another job', [ [ { merge => { jobId => 'another', status => 'DONE' } }, 'poll' ] ], 1,
	[ 'HV00M', qr/cannot be understood/ ]);

# ---- what passes ----

for my $status (408, 421, 425, 429)
{
	check("$status at the $_, once", [ [ refusal($status, message => 'Later.'), $_, 1 ] ], $_ eq 'post' ? 2 : 1) for qw(post poll results);
	check("$status at the post, always", [ [ refusal($status, message => 'Later.'), 'post' ] ], 3,
		[ 'HV000', qr/status $status/, qr/tried 3 times/ ], [ qr/may have started/ ]);
}
run_cases();

# ---- links ----

my $link = [ { job => { download_url => $true } }, 'post' ];
for my $status (403, 404)
{
	my $refused = [ { status => $status, body => '<Error>expired' }, 'download' ];
	check("a link that expired with $status", [ $link, [ @$refused, 1 ] ], 1);
	check("links that expire with $status", [ $link, $refused ], 1);
	my $redirect = [ { redirect => "https://localhost:$port/download/{job}", status => 302 }, 'results' ];
	check("a redirect that expired with $status", [ $redirect, [ @$refused, 1 ] ], 1);
	check("redirects that expire with $status", [ $redirect, $refused ], 1,
		[ 'HV000', qr/the host of the file refused/, qr/status $status/ ], [ qr/Clari refused/ ]);
}
check('a link to a host that cannot be reached', [ [ { job => { download_url => 'https://localhost:1/{job}' } }, 'post' ] ], 1);
check('links whose host is out of order', [ $link, [ refusal(503), 'download' ] ], 1);
check('a link that breaks off', [ $link, [ { reset_after => 3000 }, 'download', 1 ] ], 1);
run_cases();
cmp_ok(sim_seen('total.download'), '>=', 16, 'the links were followed');

# ---- the limits ----

my $either = refusal(400, code => 'export_monthly_quota_reached', source => 'Export',
	message => 'The monthly quota limit of 30 or concurrent limit of 1 has been reached.');
subtest 'one code for both limits, and they cannot be read' => sub {
	start_over($node);
	sim_fault({ status => 403 }, step => 'limits');
	sim_fault($either, step => 'post', times => 2);
	is($boss->query(rows_of($last)), $digest{$last}, 'it is waited for as for the one that passes');
	is(sim_posts(), 3, 'POSTs');
	start_over($node);
	$boss->query("ALTER SERVER clari OPTIONS (SET export_timeout '1500ms')");
	sim_fault({ status => 403 }, step => 'limits');
	sim_fault($either, step => 'post');
	my $error = $boss->query(rows_of($last));
	like($error, qr/^ERROR:  HV00L: /m, 'until export_timeout is over');
	like($error, qr/concurrent.*quota/, 'and the error tells of both');
	like($error, qr/"export_monthly_quota_reached"/, 'with Clari\'s code');
	$boss->query("ALTER SERVER clari OPTIONS (SET export_timeout '$usual{export_timeout}')");
};
subtest 'one code for both limits, and there is no quota left' => sub {
	start_over($node, monthly_quota => 5, monthly_used => 5);
	my $error = $boss->query(rows_of($last));
	like($error, qr/^ERROR:  53400: /m, 'an error');
	is(sim_posts(), 1, 'at once');
};

# ---- canceling ----

# The states of the period's jobs, the first one first.
sub states { return join(' ', map { $_->{status} } grep { $_->{period} eq $last } @{ decode_json(sim_seen('jobs')) }); }

my $held = sub { start_over($node, job_seconds => 'hold'); $boss->query("ALTER SERVER clari OPTIONS (SET export_timeout '700ms')"); };
my $free = sub { $boss->query("ALTER SERVER clari OPTIONS (SET export_timeout '$usual{export_timeout}')"); };

subtest 'a time-out cancels nothing, and the next request takes the job up' => sub {
	$held->();
	like($boss->query(rows_of($last)), qr/^ERROR:  HV00L: .*in time/m, 'export_timeout');
	$free->();
	is(sim_seen('total.patch'), 0, 'cancels nothing');
	$boss->query("SET statement_timeout = '300ms'");
	like($boss->query("SELECT clari_prefetch('clari.entries', '{$clean}'); " . rows_of($clean)), qr/57014/, 'nor does statement_timeout');
	$boss->query('RESET statement_timeout');
	wait_until('the failure is forgotten', sub {
		sim_release();
		$boss->query(rows_of($last)) eq $digest{$last};
	});
	is(sim_seen("periods.$last.post"), 1, 'one POST');
	is(states(), 'DONE', 'one job');
	is(sim_seen('total.patch'), 0, 'nothing was canceled');
};
for my $how ('refresh', 'invalidate')
{
	subtest "a job that a newer one replaces is canceled: clari_$how" => sub {
		$held->();
		like($boss->query(rows_of($last)), qr/^ERROR:  HV00L: /m, 'one is given up');
		$free->();
		sim_set({ job_seconds => 0.05 });
		my $answer = $how eq 'refresh' ? $boss->query("SELECT clari_refresh('clari.entries', '{$last}')")
		  : $boss->query("SELECT clari_invalidate('clari.entries', '{$last}'); " . rows_of($last));
		like($answer, $how eq 'refresh' ? qr/^1$/ : qr/\Q$digest{$last}\E/, 'another one comes');
		is(states(), 'ABORTED DONE', 'the older one is canceled at Clari');
		is(sim_seen('total.patch'), 1, 'by one request');
	};
}
subtest 'a refresh that Clari refuses leaves the older job to be taken up' => sub {
	$held->();
	like($boss->query(rows_of($last)), qr/^ERROR:  HV00L: /m, 'one is given up');
	$free->();
	sim_fault(refusal(401, message => 'Invalid authentication credentials'), step => 'post', times => 1);
	like($boss->query("SELECT clari_refresh('clari.entries', '{$last}')"), qr/^ERROR:  28000: /m, 'the newer one is refused');
	unlike(states(), qr/CANCELLED|ABORTED/, 'the older one runs on');
	wait_until('the failure is forgotten', sub {
		sim_release();
		$boss->query(rows_of($last)) eq $digest{$last};
	});
	is(sim_seen("periods.$last.post"), 2, 'and comes, without a third POST');
};
subtest 'a newer job that only the older one leaves no place for' => sub {
	$held->();
	like($boss->query(rows_of($last)), qr/^ERROR:  HV00L: /m, 'one is given up');
	$free->();
	sim_set({ concurrent_limit => 1, job_seconds => 0.05 });
	is($boss->query("SELECT clari_refresh('clari.entries', '{$last}')"), 1, 'the newer one comes');
	like(states(), qr/^(?:ABORTED|CANCELLED) DONE$/, 'in the place of the older one');
};
for my $answer ({ json => { status => 'CANCELLED', successful => $false } }, { json => { status => 'CANCELLED', successful => 'false' } },
	{ json => { status => 'STARTED' } }, { body => '<html>hello' })
{
subtest 'no cancellation: ' . encode_json($answer) => sub {
	start_over($node, job_seconds => 'hold');
	sim_fault({ %$answer, status => 200 }, step => 'patch', times => 1);
	my $session = ClariSession->new($node)->start(rows_of($last));
	wait_until('the job runs', sub { sim_seen("periods.$last.poll") > 0 });
	$boss->query("SELECT clari_cancel('clari.entries', '{$last}')");
	like($session->finish, qr/^ERROR:  HV00L: .*\n?.*did not cancel.*\n?HINT:  The job continues/m, 'the error says so');
	unlike(states(), qr/CANCELLED|ABORTED/, 'the job runs on');
	sim_release();
	wait_until('the failure is forgotten', sub { $boss->query(rows_of($last)) eq $digest{$last} });
	is(sim_seen("periods.$last.post"), 1, 'and is taken up by the next request');
	$session->quit;
};
}
subtest 'a time-out while the older job is being canceled' => sub {
	$held->();
	like($boss->query(rows_of($last)), qr/^ERROR:  HV00L: /m, 'one is given up');
	$free->();
	sim_fault({ delay => 'hold' }, step => 'patch');
	sim_fault({ status => 503 }, step => 'post', times => 1);
	$boss->query("SET statement_timeout = '400ms'");
	like($boss->query("SELECT clari_refresh('clari.entries', '{$last}')"), qr/57014/, 'statement_timeout');
	$boss->query('RESET statement_timeout');
	unlike((split ' ', states())[-1], qr/CANCELLED|ABORTED/, 'cancels nothing that can be taken up');
};
subtest 'what Clari had said stays in the error that ends the wait' => sub {
	start_over($node);
	sim_fault({ status => 503, json => { code => 'grey', message => 'The sky is grey.' }, headers => { 'Retry-After' => '15' } }, step => 'poll');
	my $session = ClariSession->new($node)->start(rows_of($last));
	wait_until('Clari asks to wait', sub { sim_seen("periods.$last.poll") > 0 });
	wait_until('it waits', sub { $boss->query("SELECT retries FROM clari_exports WHERE time_period = '$last'") eq '1' });
	$boss->query("SELECT clari_cancel('clari.entries', '{$last}')");
	like($session->finish, qr/^ERROR:  HV00L: .*canceled.*\nDETAIL:  .*"grey", message "The sky is grey\."/m, 'code and message');
	$session->quit;
};

# ---- whose it is ----

subtest 'a poll about another job tells nothing of our account' => sub {
	start_over($node);
	sim_fault({ merge => { jobId => 'another', userId => 777, currency => 'XXX' } }, step => 'poll', times => 1);
	is($boss->query(rows_of($last)), $digest{$last}, 'the rows come');
	foreign_post('test-key', $periods[0], currency => 'EUR', typesToExport => [qw(forecast)]);
	sim_fault({ reset => $true, carry_out => $true }, step => 'post', times => 1);
	is($boss->query(rows_of($clean)), $digest{$clean}, 'a lost answer\'s job is still known by our user');
	is(sim_seen("periods.$clean.post"), 1, 'POSTs');
};
subtest '403 to every poll' => sub {
	start_over($node);
	sim_fault(refusal(403, message => 'No.'), step => 'poll', period => $last);
	for (1 .. 3)
	{
		like($boss->query(rows_of($last)), qr/^ERROR:  28000: /m, 'is an error');
		my $posts = sim_seen("periods.$last.poll");
		wait_until('the failure is forgotten', sub {
			$boss->query(rows_of($last));
			sim_seen("periods.$last.poll") > $posts;
		}) if $_ < 3;
	}
	is(sim_seen("periods.$last.post"), 2, 'and costs one export more, once');
};

# ---- an earlier life ----

for my $lost ('the job', 'the file')
{
	subtest "a job from before a restart, and Clari has lost $lost" => sub {
		start_over($node, job_seconds => 'hold');
		my $session = ClariSession->new($node)->start(rows_of($last));
		wait_until('the job runs', sub { sim_seen("periods.$last.poll") > 0 });
		$session->quit;
		$boss->quit;
		$node->restart;
		$boss = ClariSession->new($node);
		sim_set({ job_seconds => 0.05 });
		sim_release();
		$lost eq 'the job' ? sim_fault(refusal(400, code => 'SWW', message => 'Something went wrong'), step => 'poll', period => $last, times => 4)
		  : sim_fault(refusal(400, code => 'invalid_jobId'), step => 'results', period => $last, times => 4);
		is($boss->query(rows_of($last)), $digest{$last}, 'the rows come');
		is(sim_seen("periods.$last.post"), 2, 'of one new export');
	};
}
subtest 'a rowset that is gone, and Clari has no file of it any more' => sub {
	start_over($node);
	is($boss->query(rows_of($last)), $digest{$last}, 'the rows come');
	$boss->quit;
	$node->stop;
	unlink cache_files($node, qr/\.rows/);
	$node->start;
	$boss = ClariSession->new($node);
	sim_fault(refusal(400, code => 'invalid_jobId', message => 'Cannot retrieve data for job.'), step => 'results', times => 4);
	is($boss->query(rows_of($last)), $digest{$last}, 'they come again');
	cmp_ok(sim_seen("periods.$last.post"), '==', 2, 'of one new export');
};

# ---- a POST whose answer is lost ----

for my $restart (0, 1)
{
	subtest 'the job of a lost answer is found by the currency that Clari lists' . ($restart ? ', after a restart' : '') => sub {
		start_over($node);
		if ($restart)
		{
			$boss->query(rows_of($periods[1]));    # whose record tells of the account
			$boss->quit;
			$node->restart;
			$boss = ClariSession->new($node);
		}
		sim_fault({ reset => $true, carry_out => $true }, step => 'post', times => 1);
		is($boss->query(rows_of($last)), $digest{$last}, 'the rows come');
		is(sim_seen("periods.$last.post"), 1, 'of one POST');
		foreign_post('test-key', $periods[0], currency => 'EUR', typesToExport => [qw(forecast)]);
		sim_fault({ reset => $true, carry_out => $false, delay => 'hold' }, step => 'post', times => 1);
		my $session = ClariSession->new($node)->start(rows_of($clean));
		wait_until('the POST is there', sub { sim_seen("periods.$clean.post") == 1 });
		foreign_post('test-key', $clean, currency => 'EUR');
		wait_until('its answer is let go', sub { sim_release()->{answers} });
		is($session->finish, $digest{$clean}, 'somebody else\'s, in another currency, is not taken for it');
		is(sim_seen("periods.$clean.post"), 3, 'POSTs');
		$session->quit;
	};
}

# ---- types that Clari does not export: remembered, so this comes last ----

subtest 'crm_total and crm_closed are not exported' => sub {
	start_over($node, crm_exports => $false);
	my $session = ClariSession->new($node);
	my $expected = sim_expected("period=$last&object=entries&types=forecast,quota,forecast_updated,adjustment&order_by=user_id,field_id");
	my $answer = $session->query("SELECT count(*), count(crm_total), count(forecast_value) > 0 FROM clari.entries WHERE time_period = '$last'");
	is(last_line($answer), (() = $expected =~ /\Q$last\E,/g) . '|0|t', 'the other amounts come');
	like($answer, qr/^WARNING:  01000: .*crm_total and crm_closed.*\nDETAIL:  .*null.*\nHINT:  .*"types"/m, 'with a warning');
	is(sim_posts(), 2, 'of one POST that was refused, and one that was not');
	unlike($session->query("SELECT count(*) FROM clari.entries WHERE time_period = '$last'"), qr/WARNING/, 'which is not repeated');
	like($session->query("SELECT count(*) FROM clari.entries WHERE time_period = '$clean'"), qr/WARNING/, 'another period');
	is(sim_posts(), 3, 'costs no refusal');
	terminate_workers($node);
	$session->query("SELECT count(*) FROM clari.entries WHERE time_period = '$periods[0]'");
	is(sim_posts(), 4, 'nor does it in another worker');
	sim_set({ job_seconds => 'hold' });
	$session->start("SELECT count(*) FROM clari.entries WHERE time_period = '$periods[1]'");
	wait_until('a job runs', sub { sim_seen("periods.$periods[1].poll") > 0 });
	$session->quit;
	$boss->quit;
	$node->restart;
	($session, $boss) = map { ClariSession->new($node) } 1 .. 2;
	sim_set({ job_seconds => 0.05 });
	sim_release();
	like($session->query("SELECT count(*) FROM clari.entries WHERE time_period = '$periods[1]'"), qr/WARNING/, 'a job that is taken up after a restart');
	is(sim_seen("periods.$periods[1].post"), 1, 'has the warning, too');
	$boss->query("IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari
		OPTIONS (periods '$last', types 'crm_total', table_prefix 'crm_');
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari
		OPTIONS (periods '$last', types 'forecast', table_prefix 'plain_')");
	like($session->query('SELECT count(*) FROM clari.crm_entries'), qr/^ERROR:  HV000: .*\n.*type_not_supported.*\nHINT:  .*"types"/m,
		'where nothing else is asked for it is an error');
	unlike($session->query('SELECT count(*) FROM clari.plain_entries'), qr/WARNING|ERROR/, 'and no word where they are not asked for');
	$session->quit;
};

$boss->quit;
done_testing();
