# A storm of faults, at random but the same each time: nothing crashes, hangs, leaks or shows a row that is not so.
# CLARI_FAULTS (1000): how many; CLARI_SEED: which.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use List::Util qw(max shuffle sum);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $wanted = $ENV{CLARI_FAULTS} // 1000;
my $seed = $ENV{CLARI_SEED} // 20261123;
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my @periods = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2023 .. 2026;
srand($seed);

start_sim(job_seconds => 0.02, owners => 60, concurrent_limit => 12, keep_jobs => 200, monthly_quota => 10_000_000, known_periods => \@periods);
my $node = start_node('storm', 'log_statement = none', 'log_min_error_statement = panic',
	'max_connections = 40', 'clari_fdw.max_workers = 1', 'clari_fdw.worker_idle_timeout = 1h', "clari_fdw.shared_cache_size = '1MB'");
create_server($node, max_retries => 2, max_concurrent_exports => 16, export_timeout => '3s', request_timeout => '300ms',
	poll_interval => '10ms', max_export_size => '8MB');
import_tables($node, periods => "$periods[0]..$periods[-1]");
my $boss = ClariSession->new($node);

# What a query of some periods must answer.
my $columns = join(', ', split ' ', $ClariCluster::columns{entries});
sub digest_query
{
	my $list = join(', ', map { "'$_'" } @_);
	return "SELECT time_period || ' ' || count(*) || ' ' || md5(string_agg(t::text, ';' ORDER BY t::text COLLATE \"C\"))
		FROM (SELECT $columns FROM clari.entries WHERE time_period IN ($list)) t GROUP BY time_period ORDER BY time_period";
}
is_as_generated($node, 'clari.entries', 'entries', $_) for @periods;
my %digest = map { /^(\S+)/ => $_ } split /\n/, $boss->query(digest_query(@periods));
is(scalar keys %digest, 16, 'sixteen periods');

# ---- the faults of each step ----

my %json = (json => { code => 'some_code', message => 'Some message.', errorId => 'error-42' });
my @anywhere = (
	(map { { status => $_, body => '<html>no' } } 400, 401, 403, 404, 409, 429, 500, 502, 503, 504),
	(map { { status => $_, %json } } 400, 404, 429, 500, 503),
	{ status => 429, headers => { 'Retry-After' => '1' } }, { status => 503, headers => { 'Retry-After' => '@+1' } },
	{ status => 503, headers => { 'Retry-After' => '100' } }, { status => 200, body => '<html>hello' }, { status => 200, body => '' },
	{ status => 200, body => '{}' }, { status => 200, body => '[]' }, { status => 200, body => '{"jobs":' }, { status => 204, body => '' },
	{ reset => $true }, { close => $true }, { reset => $true, carry_out => $true }, { close => $true, carry_out => $true },
	{ delay => 0.5 }, { delay_before => 0.5 }, { delay => 0.05 },
	{ redirect => '?again', status => 307 }, { redirect => '?again', status => 302 }, { redirect => 'http://localhost:1/', status => 307 },
	{ redirect => 'file:///etc/passwd', status => 302 });
my @limited = map { { status => 400, json => { code => "export_${_}_reached", message => 'No.' } } } qw(concurrent_limit monthly_quota);
my @jobs = map { { job => $_ } } { end_state => 'FAILED' }, { end_state => 'ABORTED' }, { end_state => 'CANCELLED' },
  { end_state => 'PURPLE' }, { job_seconds => 5 }, { lost => $true }, { download_url => $true }, { job_seconds => 0.5 };
my @states = map { { merge => $_ } } { status => 'PURPLE' }, { status => undef }, { status => 'FAILED' }, { rowsTruncated => $true },
  { cellsTruncated => $true }, { downloadUrl => 'https://127.0.0.1:1/file' }, { endTime => 'soon' };
my $value = '"forecastValue":';
sub replaced { return map { { replace => $_ } } @_; }
my @files = (
	{ reset_after => 3000 }, { close_after => 3000 }, { stall_after => 3000, stall_seconds => 0.6 }, { reset_after => 0 },
	{ content_length => '+10' }, { gzip => 'broken' }, { gzip => 'truncated' }, { trickle => [ 2000, 0.002 ] }, { cut => 9000 }, { cut => 0 },
	{ cut => -1 }, { append => '{}' }, { append => 'x' }, { gzip => 'plain' },
	replaced([ $value, "${value}NaN,\"x\":" ], [ $value, "${value}1,$value" ], [ $value, "${value}1e200000,\"x\":" ],
		[ $value, "${value}\"many\",\"x\":" ], [ '"name":"', '"name":"\\u0000' ], [ '"name":"', '"name":"\\ud800' ],
		[ '"name":"', "\"name\":\"\x{DCFF}" ], [ '"fields":[', '"fields":[],"fields":[' ], [ '"entries":', '"entrees":' ],
		[ '"timeFrameId":"TF', '"timeFrameId":"XTF' ], [ '{"fieldId":"net_arr_forecast","userId":"', '{"userId":"' ]),
	{ flood => [ '{"entries":[{"userId":"', 'x', 3_000_000, '"}]}' ] }, { flood => [ '{"entries":[{"x":', '[', 100_000, '' ] },
	{ flood => [ '{"x":"', 'x', 50_000_000, '","entries":[]}' ] });
my @faults = (
	(map { my $step = $_; map { { step => $step, fault => $_ } } @anywhere } qw(post poll results list limits patch)),
	(map { { step => 'post', fault => $_ } } @limited, @jobs), (map { { step => 'poll', fault => $_ } } @states),
	(map { { step => 'results', fault => $_ } } @files, @files));

# What a large file takes is taken before memory is measured.
sim_fault({ flood => [ '{"x":"', 'x', 50_000_000, '","entries":[]}' ] }, step => 'results', times => 4);
sim_fault({ flood => [ '{"entries":[{"userId":"', 'x', 3_000_000, '"}]}' ] }, step => 'results', times => 4);
$boss->query("SELECT clari_refresh('clari.entries')");
wait_until('it is over', sub { $boss->query('SELECT count(*) FROM clari_exports') eq '0' });
sim_reset();

# ---- the storm ----

my @sessions = map { ClariSession->new($node) } 1 .. 8;
$_->query('SET client_min_messages = error') for @sessions;
my (@asked, %answers, %errors, @wrong, @hung);

# Some of the periods, which mostly are forgotten first; now and then it is canceled, cancels, or looks at the views.
sub ask
{
	my ($i) = @_;
	my @some = (shuffle @periods)[ 0 .. int(rand 4) ];
	my $list = join(',', @some);
	my $before = rand() < 0.9 ? "DO \$\$BEGIN PERFORM clari_invalidate('clari.entries', '{$list}'); END\$\$;" : '';
	$before .= 'DO $$BEGIN PERFORM * FROM clari_cache; PERFORM * FROM clari_exports; PERFORM * FROM clari_stats; END$$;' if rand() < 0.05;
	$before .= "DO \$\$BEGIN PERFORM clari_cancel('clari.entries', '{$list}'); END\$\$;" if rand() < 0.05;
	$before .= "SET statement_timeout = '" . int(rand 300) . "ms';" if rand() < 0.05;
	$asked[$i] = { periods => \@some, at => time };
	$sessions[$i]->start("$before " . digest_query(@some) . '; RESET statement_timeout');
	return;
}

# What came of it: the right rows of all periods, or an error.
sub judge
{
	my ($i) = @_;
	my $answer = $sessions[$i]->finish;
	my $right = join("\n", map { $digest{$_} } sort @{ $asked[$i]{periods} });
	if ($answer =~ /^ERROR:  (\w{5}): /m)
	{
		$errors{$1}++;
		push @wrong, $answer unless $1 =~ /^(HV...|22000|28000|53400|54000|57014)$/ && $answer !~ /^\d{4}_Q\d /m;
	}
	else
	{
		$answers{right}++;
		push @wrong, "[@{ $asked[$i]{periods} }] $answer" unless $answer eq $right;
	}
	return;
}

# The workers' and one session's memory, in kB.
sub memory
{
	return map { private_memory(@$_) } [ children($node, qr/clari_fdw worker/) ], [ $sessions[0]{pid} ];
}

sim_storm(seed => $seed, share => 0.35, faults => \@faults);
ask($_) for 0 .. $#sessions;
my (@memory, $used);
my $next_look = 0;
while (($used = sum(@{ decode_json(sim_seen('storm&last=0')) })) < $wanted && !@hung && @wrong < 5)
{
	for my $i (0 .. $#sessions)
	{
		if ($sessions[$i]->is_finished($i == 0 ? 0.02 : 0))
		{
			judge($i);
			ask($i);
		}
		elsif (time > $asked[$i]{at} + $ClariSession::patience)
		{
			push @hung, "session $i since " . int(time - $asked[$i]{at}) . " s: @{ $asked[$i]{periods} }";
		}
	}
	push @memory, [ $used, memory() ] if $used >= $next_look;
	$next_look = $used + $wanted / 200 if $used >= $next_look;
}
my @counts = @{ decode_json(sim_seen('storm')) };
sim_storm();
for my $i (0 .. $#sessions)
{
	$sessions[$i]->is_finished($ClariSession::patience) ? judge($i) : push @hung, "session $i to the end";
}
note("$used faults, " . scalar(grep { $_ } @counts) . ' of ' . scalar(@faults) . " kinds; $answers{right} right answers; errors: "
	  . join(', ', map { "$_ $errors{$_}" } sort keys %errors));

cmp_ok($used, '>=', $wanted, "$wanted faults struck");
is(scalar(grep { !$_ } @counts[ grep { $faults[$_]{step} =~ /post|poll|results|list/ } 0 .. $#counts ]), 0, 'each kind among them')
  if $wanted >= 10_000;
cmp_ok($answers{right}, '>', $wanted / 50, 'many queries had their rows');
cmp_ok(sum(values %errors), '>', $wanted / 50, 'and many an error');
is(join("\n", @wrong), '', 'no wrong row, and no strange error');
is(join("\n", @hung), '', 'no statement hung');

# The first tenth but for its beginning, in which caches fill, and the last one.
my @first = grep { $_->[0] >= $wanted / 20 && $_->[0] < $wanted / 10 } @memory;
my @last = grep { $_->[0] >= $wanted * 0.9 } @memory;
for my $which ([ 1, 'the worker' ], [ 2, 'a session' ])
{
	my ($place, $who) = @$which;
	my ($before, $after) = map { max(map { $_->[$place] } @$_) } \@first, \@last;
	note("the private memory of $who: $before kB, then $after kB");
	cmp_ok($after - $before, '<', 5 * 1024, "the memory of $who is flat");
}

# ---- after it ----

wait_until('nothing is in flight', sub { sim_release(); $boss->query('SELECT count(*) FROM clari_exports') eq '0' });
sim_reset();
sim_set({ concurrent_limit => 100 });
$boss->query('SELECT clari_invalidate()');
is($sessions[0]->query(digest_query(@periods)), join("\n", map { $digest{$_} } @periods), 'when it is over, all rows come');
is(sim_posts(), 16, 'of sixteen exports');
is($boss->query('SELECT count(*) FROM clari_exports'), 0, 'nothing is in flight');
is(join(' ', cache_files($node, qr/^pgsql_tmp|\.tmp$/)), '', 'no temporary file is left');
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|terminated by signal|exited with exit code/, 'nothing crashed');
unlike($log, qr/test-key/, 'the key is not in the log');
$_->quit for @sessions, $boss;

done_testing();
