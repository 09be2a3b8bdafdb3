# A POST of unknown outcome looks for its job first, and takes one up only if nothing else could have made it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use Test::More;
use Time::HiRes qw(sleep time);

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my %same = (typesToExport => [qw(forecast quota forecast_updated adjustment crm_total crm_closed)]);
my $cases = 70;

# Each case has a tenant of its own: its key, one of the same user in another program, and one of another user, whose jobs
# Clari's list does not show by its document; should it, they are still not ours.
my %keys = ('test-key' => { tenant => 'org', user => 'me' });
for my $n (1 .. $cases)
{
	$keys{"key-$n"} = { tenant => "org-$n", user => 'me' };
	$keys{"same-$n"} = { tenant => "org-$n", user => 'me', seed => 2 };
	$keys{"other-$n"} = { tenant => "org-$n", user => 'you', seed => 3 };
}
start_sim(job_seconds => 0, concurrent_limit => 100, keys => \%keys, owners => 100, listed_jobs => 'tenant',
	forecasts => [qw(net_arr big_net_arr net_arr_2026_Q1)], scopes => { '1905::MGR' => 30 });
my $node = start_node('unknown', 'restart_after_crash = on');
create_server($node, max_retries => 3, max_concurrent_exports => 4);
import_tables($node);
my %tables = (
	narrow_ => [ q{types 'forecast,quota'}, 'types=forecast,quota' ],
	scoped_ => [ q{scope_id '1905::MGR'}, 'scope=1905::MGR' ],
	weekly_ => [ q{include_historical 'true'}, 'historical=1' ],
	euro_ => [ q{currency 'EUR'}, 'currency=EUR' ]);
sql("IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO clari
	OPTIONS (periods '2026_Q1..2026_Q4', table_prefix '$_', $tables{$_}[0])") for keys %tables;

my $number = 0;

# A case begins: a key that was never used before.
sub new_tenant
{
	my (%settings) = @_;
	die 'too few keys' if ++$number > $cases;
	start_over($node, job_seconds => 0, %settings);
	sql("ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key 'key-$number')");
	return;
}

# The same, but one of its exports is through: it is known which user's the key is.
sub known_tenant
{
	my (%settings) = @_;
	new_tenant(%settings);
	sql("SELECT count(*) FROM clari.entries WHERE time_period = '2026_Q4'");
	return;
}

# Jobs of the period, whoever made them.
sub jobs { return scalar grep { $_->{period} eq '2026_Q1' } @{ decode_json(sim_seen('jobs')) }; }

# POSTs of the period that were ours.
sub our_posts
{
	my ($foreign) = @_;
	return sim_seen('periods.2026_Q1.post') - ($foreign // 0);
}

sub is_right
{
	my ($prefix, $name) = @_;
	return is_as_generated($node, "clari.${prefix}entries", 'entries', '2026_Q1',
		expected => $prefix ? $tables{$prefix}[1] : '', name => $name);
}

# Each: what happens to the POST, the fault, POSTs in the end, jobs in the end.
my @outcomes = (
	[ 'that is reset behind the door', { reset => $true, carry_out => $true }, 1, 1 ],
	[ 'whose answer ends early', { close => $true, carry_out => $true }, 1, 1 ],
	[ 'that is not answered', { delay => 'hold' }, 1, 1, '500ms' ],
	(map { [ "that a proxy answers with $_", { status => $_, carry_out => $true, body => '<html>sorry' }, 1, 1 ] } 500, 502, 503, 504),
	[ 'that is reset at the door', { reset => $true }, 2, 1 ],
	[ 'that times out at the door', { delay_before => 'hold' }, 2, 1, '500ms' ],
	[ 'that is answered with 500 at the door', { status => 500 }, 2, 1 ]);
for my $outcome (@outcomes)
{
	my ($what, $fault, $posts, $jobs, $timeout) = @$outcome;
	subtest "a POST $what" => sub {
		known_tenant();
		sql("ALTER SERVER clari OPTIONS (ADD request_timeout '$timeout')") if $timeout;
		sim_fault($fault, step => 'post', times => 1);
		is_right('', 'the rows are right');
		is(our_posts(), $posts, 'POSTs');
		is(jobs(), $jobs, 'jobs');
		sql('ALTER SERVER clari OPTIONS (DROP request_timeout)') if $timeout;
	};
}

subtest 'a POST that is never answered' => sub {
	known_tenant();
	sql("ALTER SERVER clari OPTIONS (SET max_retries '1')");
	sim_fault({ reset => $true }, step => 'post');
	my ($sqlstate, $error) = query_error($node, "SELECT * FROM clari.forecasts WHERE time_period = '2026_Q1'");
	is($sqlstate, 'HV00N', 'is an error');
	like($error, qr/2026_Q1/, 'which names the period');
	is(our_posts(), 2, 'after max_retries');
	sql("ALTER SERVER clari OPTIONS (SET max_retries '3')");
};

subtest 'four POSTs at once that are reset behind the door' => sub {
	new_tenant(job_seconds => 0.2);
	sql("SELECT count(*) FROM clari.narrow_entries WHERE time_period = '2026_Q4'");    # whose key it is, is known
	sim_fault({ reset => $true, carry_out => $true }, step => 'post', times => 4);
	is(sql('SELECT count(*) FROM clari.forecasts'), 400, 'all rows come');
	is_as_generated($node, 'clari.entries', 'entries', "2026_Q$_") for 1 .. 4;
	is(sim_posts(), 5, 'of four POSTs and the one before');
};

# What comes before our POST and, while its answer is held back, after it; then the connection is reset, or what else
# fault says.  carry_out: ours has made a job.  unknown: the key has not exported before, so that nobody knows whose it
# is.  foreign: POSTs of 2026_Q1 by others.
my @others = (
	{ name => 'a job that was there before', before => sub { foreign_post("same-$number", '2026_Q1', %same) },
		carry_out => $false, foreign => 1, posts => 2 },
	{ name => 'a job of another period', during => sub { foreign_post("same-$number", '2026_Q2', %same) },
		carry_out => $true, posts => 1 },
	{ name => 'a job of another period alone', during => sub { foreign_post("same-$number", '2026_Q2', %same) },
		carry_out => $false, posts => 2 },
	{ name => 'a job of forecast big_net_arr',
		during => sub { foreign_post("same-$number", '2026_Q1', forecast => 'big_net_arr', %same) },
		carry_out => $false, foreign => 1, posts => 2 },
	{ name => 'a job of forecast net_arr_2026_Q1',
		during => sub { foreign_post("same-$number", '2026_Q2', forecast => 'net_arr_2026_Q1', %same) },
		carry_out => $false, posts => 2 },
	{ name => 'a second new job of the same user', during => sub { foreign_post("same-$number", '2026_Q1', %same) },
		carry_out => $true, foreign => 1, posts => 2 },
	{ name => 'a new job of the same user in another currency',
		during => sub { foreign_post("same-$number", '2026_Q1', currency => 'EUR', %same) },
		carry_out => $false, foreign => 1, posts => 2 },
	{ name => 'our own new job, ours unknown', unknown => 1, carry_out => $true, posts => 2 },
	{ name => 'a new job of another user, ours unknown', unknown => 1,
		during => sub { foreign_post("other-$number", '2026_Q1', %same) },
		carry_out => $true, foreign => 1, posts => 2 },
	{ name => 'a new job of another user alone, ours unknown', unknown => 1,
		during => sub { foreign_post("other-$number", '2026_Q1', %same) },
		fault => { status => 503 }, carry_out => $false, foreign => 1, posts => 2 },
	{ name => 'a new job of another user alone, ours known',
		during => sub { foreign_post("other-$number", '2026_Q1', %same) },
		carry_out => $false, foreign => 1, posts => 2 },
	{ name => 'new jobs of both, ours known',
		during => sub { foreign_post("other-$number", '2026_Q1', %same) },
		carry_out => $true, foreign => 1, posts => 1 },
	{ name => 'an old job of another user, ours unknown', unknown => 1, before => sub { foreign_post("other-$number", '2025_Q1', %same) },
		carry_out => $true, posts => 2 },
	{ name => 'an old job of another user, ours known',
		before => sub { foreign_post("other-$number", '2025_Q1', %same) },
		carry_out => $true, posts => 1 },
	{ name => 'three hundred old jobs', before => sub { foreign_post("same-$number", '2025_Q1', %same) for 1 .. 300 },
		carry_out => $true, posts => 1 },
	{ name => 'a job of our own table with other types',
		during => sub { is_right('narrow_', 'the other table has its rows') },
		carry_out => $false, foreign => 1, posts => 2 });
for my $case (@others)
{
	subtest "in the list: $case->{name}" => sub {
		$case->{unknown} ? new_tenant() : known_tenant();
		$case->{before}->() if $case->{before};
		my $foreign_before = sim_seen('periods.2026_Q1.post');
		sim_fault({ delay => 'hold', carry_out => $case->{carry_out}, %{ $case->{fault} // { reset => $true } } },
			step => 'post', period => '2026_Q1', times => 1);
		my $session = ClariSession->new($node)->start("SELECT count(*) FROM clari.entries WHERE time_period = '2026_Q1'");
		wait_until('our POST is there', sub { sim_seen('periods.2026_Q1.post') == $foreign_before + 1 });
		wait_until('it is carried out', sub { jobs() == $foreign_before + 1 }) if $case->{carry_out};
		$case->{during}->() if $case->{during};
		wait_until('its answer is let go', sub { sim_release()->{answers} });
		$session->finish;
		is_right('', 'the rows are right');
		is(our_posts($case->{foreign}), $case->{posts}, 'POSTs of ours');
	};
}

subtest 'what the list cannot tell apart is not looked for' => sub {
	for my $prefix ('', sort keys %tables)
	{
		my $recognizable = $prefix =~ /^(euro_)?$/;
		known_tenant();
		my $lists = sim_seen('total.list');
		is_right($prefix, "${prefix}entries are right");
		is(sim_seen('total.list') - $lists, $recognizable ? 1 : 0, 'requests for the list');
		sql('SELECT clari_invalidate()');    # which does not forget whose key it is
		sim_fault({ reset => $true, carry_out => $true }, step => 'post', times => 1);
		is_right($prefix, "${prefix}entries are right after a reset");
		is(our_posts(), $recognizable ? 2 : 3, 'POSTs');
	}
};

# Each: what fails, which requests for the list, POSTs at most when the answer is lost.
my @lists = (
	[ 'is refused', { status => 403, json => { message => 'no' } }, 0, undef, 2 ],
	[ 'is not there', { status => 404 }, 0, undef, 2 ],
	[ 'is nonsense', { status => 200, body => '<html>hello' }, 0, undef, 2 ],
	[ 'fails once before the POST', { status => 500 }, 0, 1, 2 ],
	[ 'fails once after the POST', { status => 500 }, 1, 1, 2 ],
	[ 'is reset once after the POST', { reset => $true }, 1, 1, 2 ]);
for my $case (@lists)
{
	my ($what, $fault, $skip, $times, $posts) = @$case;
	subtest "a list that $what" => sub {
		for my $lost ($false, $true)
		{
			known_tenant();
			sim_fault($fault, step => 'list', skip => $skip, times => $times);
			sim_fault({ reset => $true, carry_out => $true }, step => 'post', times => 1) if $lost;
			is_right('', $lost ? 'with the answer lost the rows come all the same' : 'the rows come');
			cmp_ok(our_posts(), '<=', $lost ? $posts : 1, 'POSTs');
		}
	};
}

subtest 'a list without names of files for jobs that run' => sub {
	known_tenant(job_seconds => 0.3, file_name => 'finished');
	sim_fault({ reset => $true, carry_out => $true }, step => 'post', times => 1);
	is_right('', 'the rows are right');
	cmp_ok(our_posts(), '<=', 2, 'after two POSTs at most');
	sim_set({ file_name => 'always' });
};

# Each leaves the server running; the session that waits survives the last one only.
my %ends = (
	'kill -9 of the worker' => sub { kill_child($node, (children($node, qr/clari_fdw worker/))[0]) },
	'kill -9 of the postmaster' => sub { kill_postmaster($node) },
	'a fast restart' => sub { $node->restart },
	'pg_terminate_backend of the worker' => sub { terminate_workers($node) });
for my $end (sort keys %ends)
{
	for my $carried_out ($true, $false)
	{
		subtest "$end between a POST and its answer" . ($carried_out ? '' : ', at the door') => sub {
			known_tenant();
			sim_fault({ ($carried_out ? 'delay' : 'delay_before') => 'hold' }, step => 'post', times => 1);
			my $session = ClariSession->new($node)->start("SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'");
			wait_until('the POST is there', sub { our_posts() == 1 && (!$carried_out || jobs() == 1) });
			$ends{$end}->();
			is($session->finish, 100, 'the waiting session gets its rows') if $end =~ /^pg_/;
			is_right('', 'the rows are right');
			is(our_posts(), $carried_out ? 1 : 2, 'POSTs');
			is(jobs(), 1, 'one job');
		};
	}
}

done_testing();
