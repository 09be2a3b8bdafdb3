# Whatever the service answers has one right answer here: exact rows, or an error that says what, where and what to do;
# no export is paid for twice, nothing bad is cached, other periods come all the same, and the key stays put.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use List::Util qw(max);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my @periods = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2018 .. 2026;
my %defaults = (job_seconds => 0.05, owners => 200, concurrent_limit => 100, monthly_quota => 100_000, monthly_used => 0,
	transfer => 'chunked', known_periods => \@periods);
start_sim(%defaults);
my $node = start_node('service', 'log_min_messages = debug2', 'log_statement = none', 'clari_fdw.worker_idle_timeout = 10min', 'clari_fdw.max_workers = 1',
	'max_connections = 120');
my %usual = (max_retries => 1, max_concurrent_exports => 64, export_timeout => '8s');
create_server($node, %usual);
import_tables($node, periods => "$periods[0]..$periods[-1]");
my ($asking, $other, $boss) = map { ClariSession->new($node) } 1 .. 3;

my $columns = join(', ', split ' ', $ClariCluster::columns{entries});
sub rows_of { return "SELECT $columns FROM clari.entries WHERE time_period = '$_[0]'"; }

sub digest_query
{
	my ($period) = @_;
	return "SELECT count(*) || ' ' || md5(string_agg(t::text, ';' ORDER BY t::text COLLATE \"C\")) FROM ("
	  . rows_of($period) . ') t';
}

# The right digests; some of the rows are compared with the simulator's one by one.
$boss->query("SELECT clari_refresh('clari.entries')");
my %digest = map { $_ => $boss->query(digest_query($_)) } @periods;
is_as_generated($node, 'clari.entries', 'entries', $_) for map { "2026_Q$_" } 1 .. 3;

my %reply = (code => 'some_code', message => 'Some message.', errorId => 'error-42', namespace => 'export', orgId => 'org-1');
my $said = qr/code "some_code", message "Some message\.", errorId "error-42"/;
my $place = qr/at byte \d+/;
my (%hints, @rows);
my $seen = '';

# As start_over, where exports may be held in a way that releasing does not end.
sub cancel_and_start_over
{
	wait_until('all is canceled', sub {
		sim_release();
		$boss->query("SELECT clari_cancel('clari.entries')") if $boss->query('SELECT count(*) FROM clari_exports') ne '0';
		$boss->query('SELECT count(*) FROM clari_exports') eq '0';
	});
	start_over($node, @_);
	return;
}

# Sets options of the server, and puts them back.
sub with_options
{
	my ($options, $code) = @_;
	my @names = sort keys %$options;
	my $list = join(', ', map { ($usual{$_} ? 'SET' : 'ADD') . " $_ '$options->{$_}'" } @names);
	my $back = join(', ', map { $usual{$_} ? "SET $_ '$usual{$_}'" : "DROP $_" } @names);
	$boss->query("ALTER SERVER clari OPTIONS ($list)") if @names;
	$code->();
	$boss->query("ALTER SERVER clari OPTIONS ($back)") if @names;
	return;
}

# Whether it becomes true.
sub comes
{
	my ($name, $condition) = @_;
	my $deadline = time + $ClariSession::patience;
	sleep 0.02 until $condition->() || time > $deadline;
	return ok($condition->(), $name);
}

# What both sides know of the exports so far.
sub look
{
	my %posts = %{ decode_json(sim_seen('periods')) };
	my %jobs = map { $_->{period} => $_->{jobId} } @{ decode_json(sim_seen('jobs')) };
	my %cache = map { split /=/, $_, 2 } split /\n/,
	  $boss->query("SELECT time_period || '=' || concat_ws('|', state, rows, tier) FROM clari_cache");
	$seen .= $boss->query('SELECT * FROM clari_cache; SELECT * FROM clari_exports; SELECT * FROM clari_stats');
	return (requests => \%posts, jobs => \%jobs, cache => \%cache);
}

# An error as it must be; how: sqlstate, what it tells, POSTs (1), requests of the step (any); found: by look.
sub is_error
{
	my ($error, $period, $how, %found) = @_;
	my $requests = $found{requests}{$period};
	like($error, qr/^ERROR:  $how->{sqlstate}: /m, "an error with SQLSTATE $how->{sqlstate}");
	unlike($error, qr/^\Q$period\E\|/m, 'not one row came');
	like($error, qr/\Q$period\E/, 'it names the period');
	like($error, $_, "it tells $_") for @{ $how->{like} // [] };
	like($error, qr/\Q$found{jobs}{$period}\E/, 'it names the job') if $found{jobs}{$period};
	is($requests->{post}, $how->{posts} // 1, 'POSTs');
	is($requests->{ $how->{step} }, $how->{calls}, "requests of the step") if defined $how->{calls};
	is($found{cache}{$period}, 'failed', 'nothing is cached');
	$seen .= $error;
	return;
}

# A fault that a step has each time in one period and, if such a one passes, only once or so often in another; a third
# one has none.  sqlstate, like, posts, calls: what comes of it; settings, options: under which; waits: the seconds that
# Clari asks for.
sub check
{
	my ($name, $step, $fault, %how) = @_;
	push @rows, { name => $name, step => $step, fault => $fault, %how };
	return;
}

my (@asking, @passing, @leaving);
my $left = 0;

# Who asks for what fails and does not wait for it: canceled in the midst of it, unless the answer is there before.
sub leave
{
	my (@rows) = @_;
	$leaving[$_]->start(rows_of($rows[$_]{period})) for 0 .. $#rows;
	for my $i (0 .. $#rows)
	{
		my $error = $leaving[$i]->cancel($boss);
		my $canceled = $error =~ /^ERROR:  57014: /m;
		$left++ if $canceled;
		push @{ $rows[$i]{left} }, $canceled ? 'canceled' : $error;
	}
	return;
}

sub run_together
{
	my (@rows) = @_;
	cancel_and_start_over(%{ $rows[0]{settings} // {} });
	while (@asking < @rows)
	{
		push @asking, ClariSession->new($node);
		$asking[-1]->query('\set FETCH_COUNT 10');    # else psql would keep rows that come before an error to itself
		push @passing, ClariSession->new($node);
		push @leaving, ClariSession->new($node);
	}
	with_options($rows[0]{options} // {}, sub {
		for my $i (0 .. $#rows)
		{
			my $row = $rows[$i];
			@$row{qw(period passing)} = @periods[ 2 * $i, 2 * $i + 1 ];
			sim_fault($row->{fault}, step => $row->{step}, period => $row->{period});
			sim_fault($row->{fault}, step => $row->{step}, period => $row->{passing}, times => $row->{passes}) if $row->{passes};
		}
		my $begin = time;
		for my $i (0 .. $#rows)
		{
			$asking[$i]->start(rows_of($rows[$i]{period}));
			$passing[$i]->start(digest_query($rows[$i]{passing})) if $rows[$i]{passes};
		}
		$other->start(digest_query('2026_Q3'));
		leave(@rows);
		my $clean = $other->finish;
		leave(@rows);
		my @errors = map { $asking[$_]->finish } 0 .. $#rows;
		my $took = time - $begin;
		my @passed = map { $rows[$_]{passes} ? $passing[$_]->finish : '' } 0 .. $#rows;
		my %found = look();
		for my $i (0 .. $#rows)
		{
			my $row = $rows[$i];
			subtest $row->{name} => sub {
				is_error($errors[$i], $row->{period}, $row, %found);
				if ($row->{passes})
				{
					my $posts = $row->{step} eq 'post' ? 1 + $row->{passes} : 1;
					is($passed[$i], $digest{ $row->{passing} }, 'where it passes, the rows come');
					is($found{requests}{ $row->{passing} }{post}, $posts, 'of one export');
				}
				is($clean, $digest{'2026_Q3'}, 'another period comes all the same');
				like($_, qr/^canceled$|^ERROR:  $row->{sqlstate}: /m, 'who is canceled in the midst of it is gone') for @{ $row->{left} };
				cmp_ok($took, '>=', $row->{waits} - 0.1, 'it waited as it was told') if $row->{waits};
				$hints{ $row->{name} } = $1 if $errors[$i] =~ /^HINT:  (.*)$/m;
			};
		}
	});
	return;
}

# Those that are under the same settings run at the same time.
sub run_rows
{
	my (%groups, @order);
	my $json = JSON::PP->new->canonical;
	for my $row (splice @rows)
	{
		my $step = $row->{step};
		# libcurl itself repeats a GET that a kept connection did not answer.
		$row->{calls} = 2
		  if $row->{passes} && $step ne 'post' && !exists $row->{calls} && !$row->{fault}{reset} && !$row->{fault}{close};
		my $key = $row->{waits} ? $row->{name} : $json->encode([ $row->{settings}, $row->{options} ]);
		push @order, $key unless $groups{$key};
		push @{ $groups{$key} }, $row;
	}
	for my $key (@order)
	{
		my @group = @{ $groups{$key} };
		run_together(splice @group, 0, 15) while @group;
	}
	return;
}

# ---- what any step may answer ----

my %passing = (post => 2, poll => 1, results => 1);
for my $step (qw(post poll results))
{
	my %at = (posts => $passing{$step}, passes => 1);
	for my $status (500, 502, 503, 504)
	{
		my $body = { 500 => { json => \%reply }, 503 => { body => '' } }->{$status}
		  // { body => "<html><title>bad gateway</title>\nmore" };
		check("$status at the $step", $step, { status => $status, %$body }, %at, sqlstate => 'HV000',
			like => [ qr/status $status/, $status == 503 ? () : $status == 500 ? $said : qr/bad gateway/, qr/tried 2 times/ ]);
	}
	check("429 at the $step", $step, { status => 429, json => \%reply }, %at, sqlstate => 'HV000',
		like => [ qr/status 429/, $said, qr/tried 2 times/ ]);
	check("a reset at the $step", $step, { reset => $true }, %at, sqlstate => 'HV00N',
		like => [ qr{http://127\.0\.0\.1:\d+}, qr/tried 2 times/ ]);
	check("a connection that is closed at the $step", $step, { close => $true }, %at, sqlstate => 'HV00N',
		like => [ qr{http://127\.0\.0\.1:\d+} ]);
	check("a stall at the $step", $step, { delay => 'hold', ($step eq 'post' ? (carry_out => $false) : ()) }, %at,
		sqlstate => 'HV00N', like => [qr/nothing for 0\.2 s/], options => { request_timeout => '200ms' });
	next if $step eq 'results';    # there it is a file: see below
	for my $body ('<html>hello', '', '{}', '[]', '{"jobId":')
	{
		my $what = $body eq '' ? 'an empty body' : "\"$body\"";
		# A POST that was answered 2xx is not repeated.
		check("$what at the $step", $step, { status => 200, body => $body }, ($step eq 'post' ? () : %at), sqlstate => 'HV00M',
			like => [ qr/status 200/, $body eq '' ? () : $body =~ /</ ? qr/hello/ : qr/\Q$body\E/ ]);
	}
}
check('503 with seconds to wait at the post', 'post', { status => 503, headers => { 'Retry-After' => '1' } },
	sqlstate => 'HV000', posts => 2, passes => 1, waits => 1);
check('429 with a date to wait for at the poll', 'poll', { status => 429, headers => { 'Retry-After' => '@+2' } },
	sqlstate => 'HV000', passes => 1, waits => 1);
check('429 with seconds to wait at the results', 'results', { status => 429, headers => { 'Retry-After' => '1' } },
	sqlstate => 'HV000', passes => 1, waits => 1);
for my $header ('3600', '@+3600', '99999999999999999999')
{
	check("Retry-After: $header is longer than export_timeout", 'poll', { status => 503, headers => { 'Retry-After' => $header } },
		sqlstate => 'HV00L', calls => 1, like => [qr/wait/], options => { export_timeout => '20s' });
}
check("Retry-After: $_->[0] says nothing", 'poll', { status => 503, headers => { 'Retry-After' => $_->[1] } },
	sqlstate => 'HV000', passes => 1) for [ 'soon', 'soon' ], [ '-5', '-5' ], [ 'a date that is over', '@+-3600' ];

# ---- refusals ----

# [status, reply, SQLSTATE and hint at the post, SQLSTATE at the poll, polls until it is believed, POSTs then]
my @refusals = (
	[ 400, {}, 'HV000', undef, 'HV00L', 8, 2 ],
	[ 401, { code => 'unauthorized' }, '28000', qr/api_key/, '28000', 1, 1 ],
	[ 401, { code => 'no_optin' }, '28000', qr/may not see/, '28000', 1, 1 ],
	[ 403, { code => 'forbidden' }, '28000', qr/\w/, '28000', 4, 1 ],
	[ 404, {}, 'HV00R', qr/"forecast"/, 'HV00L', 8, 2 ],
	[ 409, {}, 'HV000', undef, 'HV000', 1, 1 ]);
for my $refusal (@refusals)
{
	my ($status, $reply, $sqlstate, $hint, $at_poll, $calls, $posts) = @$refusal;
	my %answer = (status => $status, json => { %reply, %$reply });
	my $tells = qr/code "\Q$answer{json}{code}\E", message "Some message\.", errorId "error-42"/;
	my $name = "$status $answer{json}{code}";
	check("$name at the post", 'post', \%answer, sqlstate => $sqlstate,
		like => [ qr/status $status/, $tells, $hint ? qr/HINT:  .*$hint/ : () ]);
	check("$name at the $_", $_, \%answer, sqlstate => $at_poll, calls => $calls, posts => $posts,
		like => [ qr/status $status/, $tells ], options => { export_timeout => '20s' }) for qw(poll results);
}
run_rows();
my @told_apart = map { $hints{"$_ at the post"} // '' } '401 unauthorized', '401 no_optin', '403 forbidden', '404 some_code';
is(scalar keys %{ { map { $_ => 1 } @told_apart } }, 4, 'the hints tell the cases apart');

check('400 at the results, for ever', 'results', { status => 400, json => \%reply }, sqlstate => 'HV00L',
	options => { export_timeout => '400ms' });
check('an answer that repeats the key', 'post',
	{ status => 401, json => { %reply, message => 'The key test-key is not good.' } }, sqlstate => '28000');
check('an HTML page that repeats the key', 'poll', { status => 502, body => '<html>apikey: test-key' }, sqlstate => 'HV000');

# ---- limits ----

sub limits_asked { return sim_seen('total.limits'); }

# One job of somebody else's takes the only slot.
sub take_the_slot
{
	cancel_and_start_over(concurrent_limit => 1, job_seconds => 'hold');
	foreign_post('test-key', '2026_Q4');
	sim_set({ job_seconds => 0.05 });
	return;
}

for my $case ([ 'that is answered', undef ], [ 'that is refused', { status => 403 } ], [ 'that fails', { status => 500 } ],
	[ 'that is nonsense', { status => 200, body => '<html>' } ])
{
	my ($what, $fault) = @$case;
	subtest "too many exports at once, and a question for the limits $what" => sub {
		take_the_slot();
		sim_fault($fault, step => 'limits') if $fault;
		$asking->start(digest_query('2026_Q1'));
		comes('the limits are asked for', sub { limits_asked() >= 1 }, 3);
		comes('clari_exports shows it', sub { $boss->query(
			"SELECT phase FROM clari_exports WHERE time_period = '2026_Q1' AND next_try_at > now()") =~ /slot|limit|new/ });
		ok(!$asking->is_finished(0), 'the query waits');
		cmp_ok(sim_seen('periods.2026_Q1.post'), '<=', 3, 'without POSTs that are refused');
		sim_release();
		is($asking->finish, $digest{'2026_Q1'}, 'when there is a slot, the rows come');
	};
}

subtest 'too many exports at once, for longer than export_timeout' => sub {
	take_the_slot();
	with_options({ export_timeout => '1500ms' }, sub {
		my $error = $asking->query(rows_of('2026_Q1'));
		like($error, qr/^ERROR:  HV00L: .*2026_Q1/m, 'an error');
		like($error, qr/concurrent|too many/i, 'which tells why');
		sim_release();
		is($other->query(digest_query('2026_Q3')), $digest{'2026_Q3'}, 'another period comes');
	});
};

for my $case (
	[ 'is answered', undef, qr/\b7\b.*\b0\b|\b0\b.*\b7\b/ ],
	[ 'is refused', { status => 403 }, qr/monthly_quota_exceeded/ ],
	[ 'fails', { status => 500 }, qr/monthly_quota_exceeded/ ],
	[ 'is nonsense', { status => 200, body => '{}' }, qr/monthly_quota_exceeded/ ],
	[ 'is not answered', { delay => 'hold' }, qr/monthly_quota_exceeded/ ])
{
	my ($what, $fault, $tells) = @$case;
	subtest "the quota is spent, and the question for the limits $what" => sub {
		cancel_and_start_over(monthly_quota => 7, monthly_used => 7);
		sim_fault($fault, step => 'limits') if $fault;
		sim_fault({ status => 400, json => { %reply, code => 'monthly_quota_exceeded' } }, step => 'post') if $fault;
		with_options({ request_timeout => '500ms' }, sub {
			my $error = $asking->query(rows_of('2026_Q1'));
			is_error($error, '2026_Q1', { sqlstate => '53400', like => [ qr/DETAIL:  .*$tells/, qr/HINT:  \w/ ] }, look());
			cmp_ok(limits_asked(), '>=', 1, 'the limits are asked for');
		});
	};
}

subtest 'a limit whose name the answer does not tell' => sub {
	cancel_and_start_over(monthly_quota => 7, monthly_used => 7);
	sim_fault({ status => 400, json => { %reply, code => 'export_limit_reached', message => 'A limit is reached.' } }, step => 'post');
	is_error($asking->query(rows_of('2026_Q1')), '2026_Q1', { sqlstate => '53400', like => [qr/\b7\b/] }, look());
};

# ---- jobs ----

check("a job that ends $_", 'post', { job => { end_state => $_ } }, sqlstate => 'HV00L', like => [qr/ended in state $_/])
  for qw(FAILED ABORTED CANCELLED);
check('a job that never ends', 'post', { job => { never => $true } }, sqlstate => 'HV00L',
	like => [ qr/did not finish in time/, qr/STARTED/, qr/HINT:  .*export_timeout/ ], options => { export_timeout => '400ms' });
check('a job in a state that nobody knows', 'poll', { merge => { status => 'PURPLE' } }, sqlstate => 'HV00L',
	like => [ qr/did not finish in time/, qr/PURPLE/ ], passes => 3, calls => undef, options => { export_timeout => '600ms' });
check('a job whose id Clari forgets', 'post', { job => { lost => $true } }, sqlstate => 'HV00L',
	posts => 2,
	like => [ qr/status 400/, qr/"SWW"/, qr/no longer knows the job/ ], options => { export_timeout => '20s' });
for my $limit (qw(rows cells))
{
	check("a file of which Clari has cut $limit", 'poll', { merge => { "${limit}Truncated" => $true } }, sqlstate => '54000',
		like => [ qr/${limit}Truncated/, qr/HINT:  .*scope_id.*types.*allow_truncated/ ], calls => undef);
	subtest "a file of which Clari has cut $limit, and allow_truncated" => sub {
		cancel_and_start_over();
		sim_set({ "${limit}_truncated" => $true }, period => '2026_Q1');
		$boss->query("ALTER FOREIGN TABLE clari.entries OPTIONS (ADD allow_truncated 'true')");
		my $answer = $other->query(digest_query('2026_Q1'));
		like($answer, qr/^WARNING:  54000: .*truncated.*2026_Q1/m, 'a warning');
		is(last_line($answer), $digest{'2026_Q1'}, 'and what there is');
		$boss->query('ALTER FOREIGN TABLE clari.entries OPTIONS (DROP allow_truncated)');
		sim_set({ "${limit}_truncated" => $false }, period => '2026_Q1');
	};
}

run_rows();

# ---- the file on its way ----

my %lost = (sqlstate => 'HV00N', passes => 1);
for my $transfer (qw(chunked length))
{
	my %as = (settings => { transfer => $transfer });
	check("a file that is reset, $transfer", 'results', { reset_after => 5000 }, %lost, %as);
	check("a file that ends early, $transfer", 'results', { close_after => 5000 }, %lost, %as);
	check("a file that stalls, $transfer", 'results', { stall_after => 5000 }, %lost, %as, like => [qr/nothing for 0\.2 s/],
		options => { request_timeout => '200ms' });
}
check('a file that ends early, and only the connection\'s end tells', 'results', { close_after => 5000 },
	sqlstate => '22000', passes => 1, settings => { transfer => 'close' });
check('a file that is shorter than its Content-Length', 'results', { content_length => '+10' }, %lost,
	options => { request_timeout => '300ms' });
# Whether the gzip or the JSON is found to be broken first depends on the bytes.
check("a gzip stream that is $_", 'results', { gzip => $_ }, sqlstate => qr/HV00N|22000/, passes => 1) for qw(broken truncated);

run_rows();
subtest 'a trickle' => sub {
	cancel_and_start_over();
	with_options({ request_timeout => '300ms' }, sub {
		sim_fault({ trickle => [ 200, 0.01 ] }, step => 'results', period => '2026_Q1');
		is($asking->query(digest_query('2026_Q1')), $digest{'2026_Q1'}, 'is waited for as long as bytes come');
		is(sim_seen('total.results'), 1, 'in one download');
	});
};

# ---- the document ----

my $first = '{"fieldId":"net_arr_forecast","userId":"';    # the first entry begins so
my $value = '"forecastValue":';
sub replaced { my ($from, $to) = @_; return { replace => [ $from, $to ] }; }
my @documents = (
	[ 'that is no JSON', { status => 200, body => '<html>hello', carry_out => $true } ],
	[ 'that is empty', { status => 200, body => '', carry_out => $true } ],
	[ 'that is {}', { status => 200, body => '{}', carry_out => $true } ],
	[ 'that is a list', { status => 200, body => '[]', carry_out => $true } ],
	[ 'that is cut off', { cut => 20000 } ],
	[ 'that lacks its last byte', { cut => -1 } ],
	[ 'with something behind it', { append => '{}' } ],
	[ 'that is a file of another list', replaced('"entries":', '"entrees":') ],
	[ 'whose entries are no list', replaced('"entries":[', '"entries":{"x":[]},"entrees":[') ],
	[ 'whose entries are null', replaced('"entries":[', '"entries":null,"entrees":[') ],
	[ 'with an entry that is no object', replaced($first, "7,$first") ],
	[ 'with an amount in quotes that is none', replaced($value, "${value}\"many\",\"x\":") ],
	[ 'with an amount that is an object', replaced($value, "${value}\{},\"x\":") ],
	[ 'with an amount that is a list', replaced($value, "${value}[1],\"x\":") ],
	[ 'with an amount that is true', replaced($value, "${value}true,\"x\":") ],
	[ 'with an id that is a list', replaced($first, '{"fieldId":["net_arr_forecast"],"userId":"') ],
	[ 'with NaN', replaced($value, "${value}NaN,\"x\":") ],
	[ 'with Infinity', replaced($value, "${value}-Infinity,\"x\":") ],
	[ 'with a number of JavaScript', replaced($value, "${value}0x10,\"x\":") ],
	[ 'with a key twice', replaced($value, "${value}1,$value") ],
	[ 'with a key twice, once escaped', replaced($value, "${value}1,\"forecast\\u0056alue\":") ],
	[ 'with a list twice', replaced('"fields":[', '"fields":[],"fields":[') ],
	[ 'with the entries twice', replaced('"entries":[', '"entries":[],"entries":[') ],
	[ 'with a user twice, differently', replaced('"users":[{"userId":"', '"users":[{"userId":"x","name":"1"},{"userId":"x","name":"2"},{"userId":"') ],
	[ 'with an entry without its field', replaced($first, '{"userId":"') ],
	[ 'with an entry without its user', replaced($first, '{"fieldId":"net_arr_forecast","u":"') ],
	[ 'with an entry whose user is null', replaced($first, '{"fieldId":"net_arr_forecast","userId":null,"u":"') ],
	[ 'with a user without id', replaced('"users":[{"userId":', '"users":[{"user":') ],
	[ 'with an entry of a user that is not there', replaced($first, "${first}nobody") ],
	[ 'with an entry of a field that is not there', replaced($first, '{"fieldId":"nothing","userId":"') ],
	[ 'with an entry of a week that is not there', replaced('"timeFrameId":"TF', '"timeFrameId":"XTF') ],
	[ 'with a time beyond 64 bits', replaced('"isUpdated":true', '"isUpdated":true,"adjustedOn":123456789012345678901234567890,"x":1') ],
	[ 'with a time beyond what a timestamp keeps', replaced('"isUpdated":true', '"isUpdated":true,"adjustedOn":9223372036854775807,"x":1') ],
	[ 'with a number beyond numeric\'s range', replaced($value, "${value}1e200000,\"x\":") ],
	[ 'with more decimals than numeric has', replaced($value, "${value}1e-20000,\"x\":") ],
	[ 'with an exponent beyond 64 bits', replaced($value, "${value}1e99999999999999999999,\"x\":") ],
	[ 'with a NUL', replaced('"name":"', '"name":"\\u0000') ],
	[ 'with a control character', replaced('"name":"', "\"name\":\"\x01") ],
	[ 'with a high surrogate alone', replaced('"name":"', '"name":"\\ud800') ],
	[ 'with a low surrogate alone', replaced('"name":"', '"name":"\\udc00') ],
	[ 'with surrogates the wrong way round', replaced('"name":"', '"name":"\\udc00\\ud800') ],
	[ 'with a byte that no UTF-8 has', replaced('"name":"', "\"name\":\"\x{DCFF}") ],
	[ 'with an overlong character', replaced('"name":"', "\"name\":\"\x{DCC0}\x{DC80}") ],
	[ 'with a surrogate in UTF-8', replaced('"name":"', "\"name\":\"\x{DCED}\x{DCA0}\x{DC80}") ],
	[ 'with an escape that there is not', replaced('"name":"', '"name":"\\x41') ],
	[ 'with a depth bomb', { flood => [ '{"entries":[{"x":', '[', 1_000_000, '' ] } ],
	[ 'with a depth bomb aside', { flood => [ '{"x":', '{"y":', 1_000_000, '' ] } ],
	[ 'with a million keys', { flood => [ '{', '"k":1,', 6_000_000, '"entries":[]}' ] } ]);
check("a file $_->[0]", 'results', $_->[1], sqlstate => '22000', calls => 2) for @documents;
for my $document ((grep { $_->[0] =~ /cut off|NaN$|a NUL/ } @documents))
{
	check("a file $document->[0], once", 'results', $document->[1], sqlstate => '22000', passes => 1, like => [$place]);
}
run_rows();

# What can be kept is kept exactly: [what, JSON, what the column shows]
my @kept = (
	[ 'an integer beyond 64 bits', '123456789012345678901234567890', '123456789012345678901234567890' ],
	[ 'a decimal that no double keeps', '-18446744073709551617.0000000000000000001', '-18446744073709551617.0000000000000000001' ],
	[ 'the least of 64 bits', '-9223372036854775808', '-9223372036854775808' ],
	[ 'a large exponent', '1.50e30', '1500000000000000000000000000000' ],
	[ 'thousands of digits', '9' x 5000 . '.5', '9' x 5000 . '.5' ]);
for my $case (@kept)
{
	my ($what, $json, $shown) = @$case;
	subtest "$what is kept exactly" => sub {
		cancel_and_start_over();
		sim_fault(replaced($value, "$value$json,\"x\":"), step => 'results', period => '2026_Q1');
		is($other->query("SELECT count(*) FROM clari.entries WHERE time_period = '2026_Q1' AND forecast_value::text = '$shown'"), 1,
			'to the last digit');
		is(sim_posts(), 1, 'in one export');
	};
}
subtest 'what nobody asks for is not looked at' => sub {
	cancel_and_start_over();
	sim_fault(replaced($value, '"x":{"y":[1,{"z":"\\ud83d\\ude00"}]},"w":1e999,' . $value), step => 'results', period => '2026_Q1');
	is($other->query(digest_query('2026_Q1')), $digest{'2026_Q1'}, 'the rows come');
};

# ---- size ----

# What the workers take at most while the query runs, in kB.
sub most_memory
{
	my ($session) = @_;
	my @workers = children($node, qr/clari_fdw worker/);
	my $most = 0;
	$most = max($most, private_memory(@workers)) until $session->is_finished(0.01);
	return $most;
}

my $bound = 48 * 1024;
# [what, the flood, SQLSTATE (none: it is skipped), what it tells, options, downloads]
my @floods = (
	[ 'a string of 100 MB in an entry', [ '{"entries":[{"userId":"', 'x', 100_000_000, '"}]}' ], '54000', qr/1 MB/ ],
	[ 'a string of 2 MB in a user', [ '{"entries":[],"users":[{"userId":"', 'x', 2_000_000, '"}]}' ], '54000', qr/1 MB/ ],
	[ 'an entry of 100 MB in small pieces', [ '{"entries":[{"x":[', '7,', 100_000_000, '7]}]}' ], '54000', qr/1 MB/ ],
	[ 'a number of 100 MB', [ '{"entries":[{"forecastValue":', '7', 100_000_000, '}]}' ], '54000', qr/1 MB/ ],
	[ 'a key of 100 MB', [ '{"', 'x', 100_000_000, '":1,"entries":[]}' ], qr/22000|54000/, qr/\w/ ],
	[ 'a string of 100 MB that nobody asks for', [ '{"x":"', 'x', 100_000_000, '","entries":[]}' ], undef ],
	[ 'a gzip bomb of 10 GB', [ '{"x":"', 'x', 10_000_000_000, '","entries":[]}' ], '54000', qr/max_export_size/,
		{ max_export_size => '64MB' } ],
	[ 'a gzip bomb of white space', [ '{', ' ', 10_000_000_000, '"entries":[]}' ], '54000', qr/max_export_size/,
		{ max_export_size => '64MB' } ]);
for my $case (@floods)
{
	my ($what, $flood, $sqlstate, $tells, $options) = @$case;
	subtest $what => sub {
		cancel_and_start_over();
		with_options($options // {}, sub {
			sim_fault({ flood => $flood }, step => 'results', period => '2026_Q1');
			$asking->start(rows_of('2026_Q1'));
			my $most = most_memory($asking);
			my $error = $asking->finish;
			note("the worker takes $most kB");
			cmp_ok($most, '<', $bound, 'the worker\'s memory stays bounded');
			if (defined $sqlstate)
			{
				like($error, qr/^ERROR:  $sqlstate: /m, "SQLSTATE $sqlstate");
				like($error, $tells, 'the error tells the bound');
				like($error, qr/2026_Q1.*job [0-9a-f]+/s, 'the period, and the job');
				is(sim_seen('total.results'), 1, 'it is not downloaded again') if $sqlstate eq '54000';
				is($boss->query("SELECT state, rows FROM clari_cache WHERE time_period = '2026_Q1'"), 'failed|', 'nothing is cached');
			}
			else
			{
				unlike($error, qr/ERROR/, 'is skipped');
			}
			is(sim_seen('periods.2026_Q1.post'), 1, 'one POST');
			is($other->query(digest_query('2026_Q3')), $digest{'2026_Q3'}, 'another period comes');
		});
	};
}
subtest 'a file that is larger than max_export_size' => sub {
	cancel_and_start_over(owners => 20);
	sim_set({ owners => 400 }, period => '2026_Q1');
	with_options({ max_export_size => '60kB' }, sub {
		is_error($asking->query(rows_of('2026_Q1')), '2026_Q1', { sqlstate => '54000', step => 'results', calls => 1,
			like => [qr/HINT:  .*max_export_size/] }, look());
		like($other->query(digest_query('2026_Q3')), qr/^\d\d \w+$/, 'a smaller one comes');
	});
};

# ---- canceling in the midst of it ----

cmp_ok($left, '>', 0, "$left were canceled in the midst of the faults above");

my $runs = 3;
# [what, faults of 2026_Q1]
my @midst = (
	[ 'the list of jobs is not answered', [ { delay => 'hold' }, step => 'list' ] ],
	[ 'the POST is not answered', [ { delay => 'hold' }, step => 'post' ] ],
	[ 'the limits are not answered', [ { status => 400, json => { %reply, code => 'export_concurrent_limit_reached' } }, step => 'post' ],
		[ { delay => 'hold' }, step => 'limits' ] ],
	[ 'Clari asks to wait', [ { status => 429, headers => { 'Retry-After' => '100' } }, step => 'post' ] ],
	[ 'the job never ends', [ { job => { never => $true } }, step => 'post' ] ],
	[ 'a poll is not answered', [ { delay => 'hold' }, step => 'poll' ] ],
	[ 'polls fail', [ { status => 503, headers => { 'Retry-After' => '100' } }, step => 'poll' ] ],
	[ 'the file stalls', [ { stall_after => 3000 }, step => 'results' ] ],
	[ 'the file trickles', [ { trickle => [ 1, 0.05 ] }, step => 'results' ] ],
	[ 'the file never ends', [ { flood => [ '{"x":[', '"aaaaaaaaaaaaaaa",', 1_000_000_000_000, '1],"entries":[]}' ] }, step => 'results' ] ]);
my @untouched = @periods;
for my $case (@midst)
{
	my ($what, @faults) = @$case;
	# Each has a period of its own, so that none meets a job which another left running.
	my $period = shift @untouched;
	subtest "cancel acts while $what" => sub {
		cancel_and_start_over();
		with_options({ max_export_size => '1000GB', export_timeout => '10min' }, sub {
			for my $fault (@faults)
			{
				my ($does, %where) = @$fault;
				sim_fault($does, %where, $where{step} =~ /list|limits/ ? () : (period => $period));
			}
			my $step = $faults[-1][2];
			my $begin = time;
			my $asked;
			for (1 .. $runs)
			{
				$asking->start(rows_of($period));
				if (!($asked ||= comes('Clari is asked', sub { sim_seen("total.$step") >= 1 })))
				{
					$boss->query("SELECT pg_cancel_backend($asking->{pid})");
					$asking->finish;
					return;
				}
				wait_until('the session waits', sub { $boss->query(
					"SELECT waiters FROM clari_exports WHERE time_period = '$period'") eq '1' });
				like($asking->cancel($boss), qr/^ERROR:  57014: /m, 'canceled');
			}
			# The limits are waited for five seconds.
			my $most = $step eq 'limits' ? 1 + int((time - $begin) / 5) : 1;
			cmp_ok(sim_seen("periods.$period.post"), '<=', $most, 'no second export');
		});
		cancel_and_start_over();
	};
}

# ---- after all that ----

subtest 'the key is nowhere, and the server is well' => sub {
	cancel_and_start_over();
	is($other->query(digest_query($_)), $digest{$_}, "$_ comes") for @periods[ 0 .. 3 ];
	$seen .= $boss->query("SELECT * FROM clari_cache; SELECT * FROM clari_exports; SELECT * FROM clari_stats;
		SELECT * FROM pg_stat_activity WHERE query !~ 'pg_stat_activity'; EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM clari.entries");
	my $log = slurp_file($node->logfile);
	cmp_ok(length $log, '>', 100_000, 'there is a log');
	cmp_ok(length $seen, '>', 10_000, 'and what errors and views have shown');
	is(scalar(() = $log =~ /test-key/g), 0, 'no key in the log');
	is(scalar(() = $seen =~ /test-key/g), 0, 'nor in them');
	unlike(slurp_file($_), qr/test-key/, 'nor in a file') for cache_files($node, qr/./);
	unlike($log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
	is($boss->query('SELECT count(*) FROM clari_exports'), 0, 'nothing is in flight');
	is(join(' ', cache_files($node, qr/^pgsql_tmp|\.tmp$/)), '', 'no temporary file is left');
};
$_->quit for $asking, $other, $boss, @asking, @passing, @leaving;

done_testing();
