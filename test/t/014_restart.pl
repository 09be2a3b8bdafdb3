# Nothing that was paid for is lost: rowsets and running jobs outlive restarts, crashes and the worker's death.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $kill_points = $ENV{CLARI_KILL_POINTS} // 50;
my @quarters = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2010 .. 2026;

start_sim(concurrent_limit => 100, known_periods => \@quarters,
	keys => { 'test-key' => {}, 'other-key' => { user => 'other', tenant => 'org-2', seed => 2 } });
sim_set({ owners => 3000 }, period => '2026_Q2');    # 1.4 MB: not in memory, below
sim_set({ owners => 100 }, period => '2026_Q4');    # 55 kB: in memory
my $node = start_node('restarts', 'restart_after_crash = on', "clari_fdw.shared_cache_size = '1MB'");
create_server($node, max_concurrent_exports => 4);
import_tables($node);

my @periods = map { "2026_Q$_" } 1 .. 4;
my $query = digest_of('clari.forecasts', "time_period = '2026_Q1'");

# The ways in which a server may end; each leaves it running again.
my %ends = (
	'a fast restart' => sub { $node->restart },
	'an immediate shutdown' => sub { $node->stop('immediate'); $node->start },
	'kill -9 of the postmaster' => sub { kill_postmaster($node) },
	'a failure of the machine' => sub { kill_machine($node) },
	'kill -9 of the worker' => sub { kill_child($node, (children($node, qr/clari_fdw worker/))[0]) },
	'kill -9 of a session' => sub { kill_child($node, $_[0]{pid}) });

# Arranges that the export of 2026_Q1 stays in a phase; returns the phases that clari_exports may then show.
my %phases = (
	running => sub {
		sim_set({ job_seconds => 'hold' });
		return qr/^(waiting|polling)$/;
	},
	'being downloaded' => sub {
		sim_fault({ stall_after => 20000 }, step => 'results', period => '2026_Q1', times => 1);
		return qr/^downloading$/;
	});

# A session that waits for 2026_Q1, in the phase.
sub waiting_session
{
	my ($name) = @_;
	my $phase = $phases{$name}->();
	my $downloads = sim_seen('total.results');
	my $session = ClariSession->new($node)->start($query);
	wait_until("the export is $name", sub {
		sql("SELECT phase FROM clari_exports WHERE time_period = '2026_Q1' AND job_id <> ''") =~ $phase });
	# The worker says so before it asks for the file.
	wait_until('the file is on its way', sub { sim_seen('total.results') > $downloads }) if $name eq 'being downloaded';
	return $session;
}

# The held job ends.
sub let_go { sim_set({ job_seconds => 0 }); return sim_release(); }

for my $end (sort keys %ends)
{
	subtest "rowsets outlive $end" => sub {
		start_over($node, job_seconds => 0);
		is_as_generated($node, 'clari.forecasts', 'forecasts', $_) for @periods;
		my $cached = 'SELECT time_period, state, rows, exported_at, job_id FROM clari_cache ORDER BY time_period';
		my $before = sql($cached);
		like(sql("SELECT string_agg(DISTINCT tier, ',' ORDER BY tier) FROM clari_cache"), qr/^disk,memory$/, 'both tiers');
		my $requests = sim_requests();
		$ends{$end}->(ClariSession->new($node));
		is_as_generated($node, 'clari.forecasts', 'forecasts', $_) for @periods;
		is(sim_requests(), $requests, 'without asking Clari for anything');
		is(sql($cached), $before, 'clari_cache shows the same');
	};
	for my $phase (sort keys %phases)
	{
		subtest "a job that is $phase outlives $end" => sub {
			start_over($node, job_seconds => 0);
			my $session = waiting_session($phase);
			$ends{$end}->($session);
			my $next = ClariSession->new($node)->start($query);
			wait_until('the next request takes it up', sub {
				$next->is_finished || sql("SELECT job_id FROM clari_exports") ne '' });
			let_go();
			like($next->finish, qr/^500 \w+$/, 'and gets the rows');
			is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1');
			is(sim_posts(), 1, 'of one POST');
		};
	}
}

for my $phase (sort keys %phases)
{
	subtest "a worker that is terminated while a job is $phase" => sub {
		start_over($node, job_seconds => 0);
		my @sessions = waiting_session($phase);
		push @sessions, map { ClariSession->new($node)->start($query) } 1 .. 2;
		wait_until('all wait', sub { sql('SELECT sum(waiters) FROM clari_exports') eq '3' });
		my ($worker) = children($node, qr/clari_fdw worker/);
		terminate_workers($node);
		let_go();
		like($_->finish, qr/^500 \w+$/, 'a waiting session gets its rows') for @sessions;
		is(sim_posts(), 1, 'of one POST');
		isnt((children($node, qr/clari_fdw worker/))[0], $worker, 'by another worker');
		is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1');
	};
}

subtest 'a worker that is terminated with exports queued' => sub {
	start_over($node, job_seconds => 'hold');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '2')");
	my $session = ClariSession->new($node)->start('SELECT count(*) FROM clari.forecasts');
	wait_until('two run', sub { sql("SELECT count(*) FROM clari_exports WHERE job_id <> ''") eq '2' });
	terminate_workers($node);
	let_go();
	is($session->finish, 4100, 'the session gets all rows');
	is(sim_posts(), 4, 'one POST for each period');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
};

# Thrice, so that it is not taken for a file that kills who decodes it.
subtest 'a worker that is terminated while it decodes a large export' => sub {
	start_over($node, job_seconds => 0);
	terminate_workers($node);    # or an idle one would begin, too, before it is its turn to be told
	sim_set({ owners => 100_000 }, period => '2026_Q3');
	sim_fault({ stall_after => 1_000_000 }, step => 'results', period => '2026_Q3', times => 3);    # or it might be through
	my $session = ClariSession->new($node)->start($query =~ s/2026_Q1/2026_Q3/r);
	for my $time (1 .. 3)
	{
		wait_until('entries come', sub { sql('SELECT coalesce(max(entries), 0) FROM clari_exports') > 0 });
		terminate_workers($node);
		ok(!$session->is_finished, 'the session waits on');
	}
	like($session->finish, qr/^100000 \w+$/, 'and gets its rows');
	is(sim_posts(), 1, 'of one POST');
	is(sim_seen('total.results'), 4, 'downloaded as often as it was begun');
	sim_set({ owners => 500 }, period => '2026_Q3');
};

# Whatever happens between.
my %between = ('without a restart' => sub { }, 'before a restart' => $ends{'a fast restart'});
for my $phase (sort keys %phases)
{
	for my $when (sort keys %between)
	{
		subtest "an export that is invalidated while it is $phase, $when" => sub {
			start_over($node, job_seconds => 0, version => 0);
			my $session = waiting_session($phase);
			sql("SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')");
			sim_set({ version => 1 });
			let_go();
			my $rows = $session->finish;
			like($rows, qr/^500 \w+$/, 'who waits for it gets its rows');
			$between{$when}->();
			isnt(sql($query), $rows, 'the next query does not');
			is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1', name => 'but the new ones');
			is(sim_posts(), 2, 'of a POST of its own');
			sim_set({ version => 0 });
		};
	}
}

sql('SELECT clari_create_tables()');
for my $call ("CALL clari_sync('clari.forecasts', '{2026_Q1}')", "SELECT clari_refresh('clari.forecasts', '{2026_Q1}')")
{
	subtest "a download that fails for good under $call" => sub {
		start_over($node, job_seconds => 0);
		sql("ALTER SERVER clari OPTIONS (ADD max_retries '0')");
		sim_fault({ reset_after => 5000 }, step => 'results', times => 1);
		my $session = ClariSession->new($node);
		like($session->query($call), qr/ERROR: .*2026_Q1/s, 'is an error');
		# clari_sync minds the ten seconds for which that is remembered.
		wait_until('it is none any more', sub { $session->query($call) !~ /ERROR/ });
		is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1');
		# clari_refresh takes no job that was POSTed before it was called; clari_sync does, of a quarter that is over.
		is(sim_posts(), $call =~ /refresh/ ? 2 : 1, 'POSTs');
		is(sim_seen('total.results'), 2, 'downloads');
		sql('ALTER SERVER clari OPTIONS (DROP max_retries)');
	};
}

# Each: what becomes of the job while nobody looks, what it needs at the POST.
my %gone = (
	'Clari has lost' => [ sub { sim_reset() } ],
	'Clari answers 404 for' => [ sub { sim_reset(); sim_set({ not_found => 404 }) } ],
	'has failed' => [ sub { let_go() }, { job => { end_state => 'FAILED' } } ]);
for my $what (sort keys %gone)
{
	subtest "a job that $what meanwhile" => sub {
		my ($happen, $fault) = @{ $gone{$what} };
		start_over($node, job_seconds => 'hold');
		sim_fault($fault, step => 'post', times => 1) if $fault;
		my $session = waiting_session('running');
		kill_postmaster($node);
		sim_set({ job_seconds => 0 });
		$happen->();
		my $posts = sim_posts();
		is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1');
		is(sim_posts(), $posts + 1, 'is exported anew, once');
		sim_set({ not_found => 400 });
	};
}

# Each: what happens to the files, whether the server is restarted too, POSTs in the end.
my @losses = (
	[ 'whose file is deleted', qr/\.rowset$/, 0, 1 ],
	[ 'whose file is deleted before a restart', qr/\.rowset$/, 1, 1 ],
	[ 'whose file and record are deleted', qr/./, 0, 1 ],
	[ 'whose file and record are deleted before a restart', qr/./, 1, 2 ]);
for my $loss (@losses)
{
	my ($what, $files, $restart, $posts) = @$loss;
	subtest "a rowset $what" => sub {
		start_over($node, job_seconds => 0);
		is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q2');
		my $deleted = unlink cache_files($node, $files);
		is($deleted > 0, 1, "$deleted deleted");
		$node->restart if $restart;
		is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q2');
		is(sim_posts(), $posts, $posts == 1 ? 'is downloaded again, not exported again' : 'is exported again');
		is(sim_seen('total.results'), 2, 'by one download');
		is(scalar cache_files($node, qr/\.rowset$/), 1, 'into one file');
	};
}

# Each strikes the first two downloads of a period; four periods at a time.
my @spoilt = ({ status => 500 }, { reset => JSON::PP::true }, { reset_after => 5000 }, { close_after => 5000 }, { cut => 5000 },
	{ replace => [ '"userId"', '"userId' ] }, { gzip => 'broken' }, { gzip => 'truncated' });
for my $faults ([ @spoilt[ 0 .. 3 ] ], [ @spoilt[ 4 .. 7 ] ])
{
	subtest 'downloads that go wrong twice: ' . join(', ', map { keys %$_ } @$faults) => sub {
		start_over($node, job_seconds => 0);
		sim_fault($faults->[$_], step => 'results', period => $periods[$_], times => 2) for 0 .. 3;
		my $start = time;
		is(sql('SELECT count(*) FROM clari.forecasts'), 4100, 'all rows come');
		cmp_ok(time - $start, '>=', 0.9, 'after waiting between the trials');
		is_as_generated($node, 'clari.entries', 'entries', $_) for @periods;
		is(sim_posts(), 4, 'of one POST for each period');
		is(sim_seen("periods.$_.results"), 3, "three downloads of $_") for @periods;
	};
}

my %killers = ('the worker' => $ends{'kill -9 of the worker'}, 'the machine' => $ends{'a failure of the machine'});
for my $case (map { my $victim = $_; map { [ $victim, $_ ] } qw(clari_invalidate clari_refresh) } sort keys %killers)
{
	my ($victim, $remedy) = @$case;
	subtest "a file that kills $victim, until $remedy" => sub {
		start_over($node, job_seconds => 0);
		for my $time (1, 2)
		{
			my $session = waiting_session('being downloaded');
			$killers{$victim}->($session);
		}
		my $session = ClariSession->new($node);
		my $error = $session->query($query);
		like($error, qr/ERROR:  (HV00L|22000): /, 'is an error');
		like($error, qr/gave up on the file/, 'that says why');
		like($error, qr/2026_Q1/, 'and names the period');
		is(sim_seen('total.results'), 2, 'without a third download');
		is(sim_posts(), 1, 'or a second export');
		like($session->query($query), qr/ERROR: .*gave up on the file/, 'and stays one');
		is($session->query("SELECT $remedy('clari.forecasts', '{2026_Q1}')"), 1, "until $remedy");
		is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1');
		is(sim_posts(), 2, 'which makes a new export');
	};
}

subtest 'a key has its own rows, after a restart too' => sub {
	start_over($node, job_seconds => 0);
	my $digest = 'SELECT md5(string_agg(forecast_amount::text, \',\')) FROM clari.forecasts WHERE time_period = \'2026_Q1\'';
	my $mine = sql($digest);
	my $use_key = sub { sql("ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key '$_[0]')") };
	for my $end ('no restart', 'a fast restart', 'kill -9 of the postmaster')
	{
		my $posts = sim_posts();
		$use_key->('other-key');
		$ends{$end}->() if $ends{$end};
		isnt(sql($digest), $mine, "another key gets other rows ($end)");
		is(sim_posts(), $posts + 1, 'by an export of its own');
		sql("SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')");
		$use_key->('test-key');
		$ends{$end}->() if $ends{$end};
		is(sql($digest), $mine, 'the first key has its rows');
		is(sim_posts(), $posts + 1, 'without an export');
	}

	# Nor does a key take up another's running job.
	sim_set({ job_seconds => 'hold' });
	sql("SELECT clari_prefetch('clari.forecasts', '{2026_Q3}')");
	wait_until('a job runs', sub { sql("SELECT count(*) FROM clari_exports WHERE job_id <> ''") eq '1' });
	my $jobs = decode_json(sim_seen('jobs'));
	kill_postmaster($node);
	$use_key->('other-key');
	let_go();
	sql($query =~ s/2026_Q1/2026_Q3/r);
	is(sim_seen('periods.2026_Q3.post'), 2, "nor takes a key up another's job");
	is((grep { $_->{jobId} eq $jobs->[-1]{jobId} } @{ decode_json(sim_seen('jobs')) })[0]{downloads}, 0,
		'which is not downloaded');
	sql('SELECT clari_invalidate()');
	$use_key->('test-key');
};

subtest 'no file tells a key' => sub {
	start_over($node, job_seconds => 'hold');
	sim_set({ job_seconds => 0 }, period => '2026_Q2');
	my $session = ClariSession->new($node)->start('SELECT count(*) FROM clari.forecasts');
	wait_until('three jobs run and one is done', sub {
		sql("SELECT count(*) FROM clari_exports WHERE job_id <> ''") eq '3' && cache_files($node, qr/\.rowset$/) });
	my @files = cache_files($node, qr/./);
	is(scalar(grep { /\/[0-9a-f]{64}\.job$/ } @files), 4, 'four records');
	is(scalar(grep { /\/[0-9a-f]{64}_[0-9a-f]{16}\.rowset$/ } @files), 1, 'and a rowset');
	unlike(slurp_file($_), qr/test-key/, 'without the key') for @files;
	let_go();
	$session->finish;
};

# 50 times, the server or its worker is killed at any moment of an export that nothing has touched before.
subtest 'kill points' => sub {
	my @fresh = @quarters[ 0 .. $kill_points - 1 ];
	sql("IMPORT FOREIGN SCHEMA bookings LIMIT TO (kills_forecasts) FROM SERVER clari INTO clari
		OPTIONS (periods '2010_Q1..2025_Q4', table_prefix 'kills_')");
	start_over($node, job_seconds => 0);
	sim_set({ owners => 200, job_seconds => 0.2 }, forecast => 'bookings');
	srand(42);
	my (%posts, @phases);
	for my $point (0 .. $#fresh)
	{
		my $period = $fresh[$point];
		my $one = "time_period = '$period'";
		my $session = ClariSession->new($node)->start(digest_of('clari.kills_forecasts', $one));
		sleep rand(0.35);
		my $answered = $session->is_finished;
		my $before = sim_seen("periods.$period.post");
		if ($point % 2)
		{
			kill_child($node, (children($node, qr/clari_fdw worker/), $session->{pid})[0]);
		}
		else
		{
			kill_postmaster($node);
		}
		is_as_generated($node, 'clari.kills_forecasts', 'forecasts', $period, expected => 'forecast=bookings',
			name => 'kill point ' . ($point + 1) . ($answered ? ', after the answer' : $before ? ', after the POST' : ''));
		push @{ $posts{ sim_seen("periods.$period.post") } }, $period;
		push @phases, $answered ? 'answered' : $before ? 'posted' : 'before the POST';
	}
	my %count;
	$count{$_}++ for @phases;
	note(join(', ', map { "$_: $count{$_}" } sort keys %count));
	note('two POSTs: ' . join(', ', @{ $posts{2} // ['none'] }));
	is(join(',', grep { $_ > 2 } keys %posts), '', 'never more than two POSTs');
	# A POST that was sent, but whose answer did not come, is found in the list of jobs.
	cmp_ok(scalar @{ $posts{1} // [] }, '>=', 0.9 * @fresh, 'mostly one');

	my $requests = sim_requests();
	is(sql("SELECT count(*), count(DISTINCT time_period) FROM clari.kills_forecasts WHERE time_period <= '$fresh[-1]'"),
		200 * @fresh . '|' . @fresh, 'after all of them every period is still there');
	is(sim_requests(), $requests, 'without asking Clari');
};

subtest 'no leftovers' => sub {
	is(join(' ', cache_files($node, qr/^pgsql_tmp|\.tmp$/)), '', 'no temporary file is left');
	is(scalar cache_files($node, qr/\.rowset$/), sql("SELECT count(*) FROM clari_cache WHERE state = 'ready'"),
		'one file for each rowset');
	is(join(' ', cache_files($node, qr/^(?![0-9a-f]{64}(_[0-9a-f]{16}\.rowset|\.job)$)/)), '', 'and nothing else');
	sql('SELECT clari_invalidate()');
	wait_until('all are gone', sub { !cache_files($node, qr/./) });
	pass('what is invalidated leaves no file');
};

done_testing();
