# Steering and watching: clari_cancel, clari_stats, what the worker shows, and that it goes when it is idle.
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
start_sim(job_seconds => 0, owners => 200, concurrent_limit => 100, monthly_quota => 100_000,
	known_periods => [ map { ("2025_Q$_", "2026_Q$_") } 1 .. 4 ],
	keys => { 'test-key' => {}, 'other-key' => { user => 'other', tenant => 'org-2', seed => 2 } });
my $node = start_node('steering', "clari_fdw.shared_cache_size = '1MB'");
create_server($node, max_concurrent_exports => 4, max_retries => 1);
import_tables($node, periods => '2025_Q1..2026_Q4');
my $boss = ClariSession->new($node);
my $query = "SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'";
my $cancel = "SELECT clari_cancel('clari.forecasts', '{2026_Q1}')";
# Who cancels: a role of its own, with the same key and no more rights than it takes.
sql(q{CREATE ROLE canceler LOGIN; CREATE ROLE nobody LOGIN; CREATE ROLE other LOGIN;
	GRANT USAGE ON SCHEMA clari TO PUBLIC; GRANT SELECT ON clari.forecasts TO canceler, other;
	CREATE USER MAPPING FOR canceler SERVER clari OPTIONS (api_key 'test-key');
	GRANT EXECUTE ON FUNCTION clari_cancel(regclass, text[]) TO canceler});
my $canceler = ClariSession->new($node, user => 'canceler');

# So many sessions that wait for 2026_Q1, and the phases that it may be in.
sub waiting_sessions
{
	my ($count, $phases) = @_;
	my @sessions = map { ClariSession->new($node)->start($query) } 1 .. $count;
	wait_until('they wait', sub {
		my ($phase, $waiters) = split /\|/, $boss->query("SELECT phase, waiters FROM clari_exports WHERE time_period = '2026_Q1'");
		return defined $waiters && $waiters == $count && $phase =~ /^($phases)$/;
	});
	return @sessions;
}

# All of them are told the same.
sub are_canceled
{
	my (@sessions) = @_;
	for my $session (@sessions)
	{
		my $error = $session->finish;
		like($error, qr/^ERROR:  HV00L: .*cancel/im, 'a session that waits gets an error');
		like($error, qr/canceler/, 'which says who it was');
		like($error, qr/2026_Q1/, 'and of which period');
	}
	is($boss->query("SELECT count(*) FROM clari_exports WHERE time_period = '2026_Q1'"), 0, 'it is not in flight any more');
	return;
}

# The query works again, at so many POSTs in all.
sub works_again
{
	my ($posts) = @_;
	is(sql($query), 200, 'the next query has its rows at once');
	is(sim_seen('periods.2026_Q1.post'), $posts, $posts == 1 ? 'from the same job' : 'by a new export');
	return;
}

subtest 'canceling a job that runs' => sub {
	start_over($node, job_seconds => 'hold');
	my @sessions = waiting_sessions(2, 'waiting|polling');
	is($canceler->query($cancel), 1, 'concerns one export');
	are_canceled(@sessions);
	wait_until('Clari is told', sub { sim_seen('total.patch') == 1 });
	wait_until('the job is canceled', sub { decode_json(sim_seen('jobs'))->[0]{status} =~ /^(CANCELLED|ABORTED)$/ });
	my ($body) = map { $_->{body} } grep { $_->{kind} eq 'patch' } @{ decode_json(sim_seen('last')) };
	is_deeply(decode_json($body), { type => 'CANCEL' }, 'in its words');
	sim_set({ job_seconds => 0 });
	works_again(2);
};

subtest 'canceling what is queued' => sub {
	start_over($node, job_seconds => 'hold');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '1')");
	sql("SELECT clari_prefetch('clari.forecasts', '{2026_Q4}')");
	wait_until('another export runs', sub { sim_posts() == 1 });
	my @sessions = waiting_sessions(2, 'queued');
	my $requests = sim_seen('total.list') + sim_posts();
	is($canceler->query($cancel), 1, 'concerns one export');
	are_canceled(@sessions);
	is(sim_seen('total.patch'), 0, 'Clari is not told');
	is(sim_seen('periods.2026_Q1.post'), 0, 'nor asked to export');
	is($boss->query("SELECT count(*) FROM clari_exports WHERE time_period = '2026_Q4'"), 1, 'the other export goes on');
	sim_set({ job_seconds => 0 });
	sim_release();
	works_again(1);
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
};

subtest 'canceling several' => sub {
	start_over($node, job_seconds => 'hold');
	is($canceler->query("SELECT clari_cancel('clari.forecasts')"), 0, 'nothing is in flight');
	my $session = ClariSession->new($node)->start("SELECT count(*) FROM clari.forecasts WHERE time_period >= '2026_Q1'");
	wait_until('four run', sub { $boss->query("SELECT count(*) FROM clari_exports WHERE job_id <> ''") eq '4' });
	is($canceler->query("SELECT clari_cancel('clari.forecasts', '{2026_Q2,2026_Q3}')"), 2, 'two of four');
	like($session->finish, qr/ERROR:  HV00L: /, 'the query that wants all fails');
	is($canceler->query("SELECT clari_cancel('clari.forecasts')"), 2, 'the rest');
	wait_until('Clari is told of all', sub { sim_seen('total.patch') == 4 });
	is(sim_seen('running_jobs'), 0, 'no job runs any more');
	is(sim_posts(), 4, 'and none was made besides');
};

# Each: how the export comes to stay in a phase; the phases; POSTs in the end, when what Clari made is taken up.
my %late = (
	'a job that is finished at Clari' => [
		sub { sim_fault({ delay => 'hold' }, step => 'poll', period => '2026_Q1', times => 1) }, 'polling', 1 ],
	'a download' => [
		sub { sim_fault({ stall_after => 5000 }, step => 'results', period => '2026_Q1', times => 1) }, 'downloading', 1 ],
	'a POST that is carried out and not answered' => [
		sub { sim_fault({ delay => 'hold' }, step => 'post', period => '2026_Q1', times => 1) }, 'posting', 2 ]);
for my $what (sort keys %late)
{
	subtest "canceling $what" => sub {
		my ($arrange, $phase, $posts) = @{ $late{$what} };
		start_over($node);
		$arrange->();
		my @sessions = waiting_sessions(2, $phase);
		$canceler->start($cancel);
		wait_until('it is canceled', sub { $canceler->is_finished
			  || $boss->query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $canceler->{pid}") eq 'Extension' });
		wait_until('all are told', sub { sim_release() if $phase eq 'posting'; !grep { !$_->is_finished } @sessions, $canceler });
		is(last_line($canceler->finish), 1, 'concerns one export');
		are_canceled(@sessions);
		is(sql($query), 200, 'the next query has its rows at once');
		cmp_ok(sim_seen('periods.2026_Q1.post'), '<=', $posts, 'POSTs');
	};
}

subtest 'canceling when Clari does not answer well' => sub {
	for my $fault ({ status => 500 }, { reset => $true },
		{ status => 400, json => { code => 'export_failed_to_cancel' } }, { status => 404 })
	{
		start_over($node, job_seconds => 'hold');
		sim_fault($fault, step => 'patch');
		my @sessions = waiting_sessions(1, 'waiting|polling');
		my $answer = $canceler->query($cancel);
		is(last_line($answer), 1, 'concerns one export');
		($fault->{status} // 0) == 404
		  ? unlike($answer, qr/WARNING/, 'and does not warn of a job that is not there')
		  : like($answer, qr/WARNING: .*2026_Q1.*Clari did not cancel/s, 'and warns that Clari did not cancel it');
		are_canceled(@sessions);
		sim_set({ job_seconds => 0 });
		sim_release();
		is(sql($query), 200, 'the next query has its rows');
	}
};

subtest 'canceling, and the worker is terminated before Clari answers' => sub {
	start_over($node, job_seconds => 'hold');
	sim_fault({ delay_before => 'hold' }, step => 'patch', times => 1);
	my @sessions = waiting_sessions(2, 'waiting|polling');
	$canceler->start($cancel);
	wait_until('Clari is told', sub { sim_seen('total.patch') == 1 });
	terminate_workers($node);
	are_canceled(@sessions);
	is(last_line($canceler->finish), 1, 'concerns one export');
	is(sim_posts(), 1, 'which is not made again');
	sim_set({ job_seconds => 0 });
	sim_release();
	works_again(1);
};

subtest 'a superuser cancels what others have queued' => sub {
	start_over($node, job_seconds => 'hold');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '1')");
	my $others = ClariSession->new($node, user => 'canceler')->start($query);
	wait_until('one runs', sub { $boss->query("SELECT count(*) FROM clari_exports WHERE job_id <> ''") eq '1' });
	sql(q{SET ROLE canceler; SELECT count(*) FROM clari.forecasts LIMIT 0});
	my $queued = ClariSession->new($node, user => 'canceler')->start($query =~ s/Q1/Q2/r);
	wait_until('another is queued', sub { $boss->query("SELECT count(*) FROM clari_exports WHERE phase = 'queued' AND waiters = 1") eq '1' });
	my ($first, $second) = map { $boss->query("SELECT flight FROM clari_exports WHERE time_period = '2026_Q$_'") } 1, 2;
	isnt($first, $second, 'each has a number');
	is($boss->query("SELECT clari_cancel_export($second)"), 1, 'the queued one');
	like($queued->finish, qr/^ERROR:  HV00L: .*2026_Q2.*canceled by role/m, 'whose session is told');
	is(sim_seen('total.patch'), 0, '… and Clari is not');
	is($boss->query("SELECT clari_cancel_export($first)"), 1, 'the one that runs');
	is($boss->query('SELECT count(*) FROM clari_exports'), 0, 'has ended when it returns');
	like($others->finish, qr/^ERROR:  HV00L: .*2026_Q1.*canceled by role/m, 'its session is told');
	wait_until('so is Clari', sub { sim_seen('total.patch') == 1 });
	is($boss->query("SELECT clari_cancel_export($_)"), 0, "nothing is in flight as $_") for $first, 0, -1;
	is($boss->query('SELECT clari_cancel_export(NULL) IS NULL'), 't', 'nor as NULL');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
	sim_set({ job_seconds => 0 });
};

subtest 'who may cancel' => sub {
	start_over($node, job_seconds => 'hold');
	my ($session) = waiting_sessions(1, 'waiting|polling');
	my $as = sub { my ($role) = @_; my $one = ClariSession->new($node, user => $role); return $one->query($cancel) };
	like($as->('nobody'), qr/ERROR:  42501: permission denied for function/, 'not PUBLIC');
	sql('GRANT EXECUTE ON FUNCTION clari_cancel TO nobody, other');
	like($as->('nobody'), qr/ERROR:  42501: permission denied for foreign table/, 'it takes SELECT');
	like($as->('other'), qr/ERROR:  42704: .*HINT:  .*CREATE USER MAPPING/s, 'and a user mapping');
	sql("CREATE USER MAPPING FOR other SERVER clari OPTIONS (api_key 'other-key')");
	is($as->('other'), 0, "another key's exports are not concerned");
	is(sim_seen('total.patch'), 0, 'Clari was told nothing');
	like($boss->query("SELECT clari_cancel('clari.forecasts', '{2031_Q1}')"), qr/ERROR:  22023: .*2031_Q1/,
		'a period outside of the extent is refused');
	like($boss->query("SELECT clari_cancel('pg_class')"), qr/ERROR:  \w{5}: .*pg_class/, 'as is another relation');
	ok(!$session->is_finished, 'the session waits on');
	# By its flight, whoever's it is.
	my $flight = sql('SELECT flight FROM clari_exports');
	my $by_flight = sub { my ($role) = @_; return ClariSession->new($node, user => $role)->query("SELECT clari_cancel_export($flight)") };
	like($by_flight->('nobody'), qr/ERROR:  42501: permission denied for function/, 'clari_cancel_export is not for PUBLIC');
	sql('GRANT EXECUTE ON FUNCTION clari_cancel_export TO nobody, canceler');
	like($by_flight->($_), qr/ERROR:  42501: must be superuser.*HINT:  .*clari_cancel\(\)/s, "it is for superusers, not for $_") for qw(nobody canceler);
	ok(!$session->is_finished, 'the session waits on');
	sim_set({ job_seconds => 0 });
	sim_release();
	is($session->finish, 200, 'and gets its rows');
};

sub stats { return decode_json($boss->query('SELECT row_to_json(s) FROM clari_stats s')); }

# What changes in clari_stats; all that is not named may not.  hits: not compared, unless named.
sub counts
{
	my ($what, $do, %expected) = @_;
	my $before = stats();
	$do->();
	my $after = stats();
	my %changes = map { $_ => $after->{$_} - $before->{$_} } grep { $_ ne 'stats_since' } keys %$after;
	for my $name (qw(bytes entries))
	{
		my $is_counted = $changes{$name} > 0;
		delete $changes{$name};
		is($is_counted, !!$expected{downloaded}, "$what: $name") if defined $expected{downloaded};
	}
	delete $expected{downloaded};
	delete @changes{ grep { !exists $expected{$_} } qw(hits retries) };
	delete @changes{ grep { !$changes{$_} && !exists $expected{$_} } keys %changes };
	is_deeply(\%changes, \%expected, $what);
	return;
}

subtest 'clari_stats' => sub {
	start_over($node);
	my @columns = split /\n/, sql("SELECT attname FROM pg_attribute WHERE attrelid = 'clari_stats'::regclass AND attnum > 0");
	my %columns = map { $_ => 1 } @columns;
	ok($columns{$_}, "column $_") for qw(hits stale_hits misses exports taken_up downloads retries failures cancellations
		bytes entries memory_evictions disk_evictions stats_since);
	my $other = q{SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q2'};
	my %made = (misses => 1, exports => 1, downloads => 1, downloaded => 1);
	counts('a cold period', sub { sql($query) }, %made);
	counts('a cached period', sub { sql($query) }, hits => 1, downloaded => 0);
	counts('a self-join of a cached period', sub { sql("$query AND EXISTS ($query)") }, downloaded => 0);
	counts('EXPLAIN', sub { sql("EXPLAIN $query") }, hits => 0, downloaded => 0);
	counts('clari_refresh', sub { sql("SELECT clari_refresh('clari.forecasts', '{2026_Q1}')") }, %made);
	sql("CREATE FOREIGN TABLE clari.now (owner_name text, time_period text) SERVER clari OPTIONS (forecast 'net_arr', periods 'current')");
	counts('the current period', sub { sql('SELECT count(*) FROM clari.now') }, %made);
	counts('another period than the current one', sub { sql($query =~ s/2026_Q1/2025_Q1/r) }, %made, hits => 0);
	my $current = sql('SELECT min(time_period) FROM clari.now');
	counts('the current one by its name', sub { sql($query =~ s/2026_Q1/$current/r) }, hits => 1, downloaded => 0);
	sql("CREATE FOREIGN TABLE clari.stale (owner_name text, time_period text) SERVER clari OPTIONS (forecast 'net_arr',
		periods '2026_Q1', cache_ttl '0', closed_period_ttl '0', stale_while_revalidate '1h')");
	counts('stale_while_revalidate', sub {
		sql('SELECT count(*) FROM clari.stale');
		wait_until('it is exported again', sub { sql('SELECT count(*) FROM clari_exports') eq '0' });
	}, %made, hits => 0, stale_hits => 1);
	counts('a download that is damaged once', sub {
		sim_fault({ cut => 5000 }, step => 'results', times => 1);
		sql($other);
	}, %made, downloads => 2, retries => 1);
	counts('a job that is taken up', sub {
		sql("SELECT clari_invalidate('clari.forecasts', '{2026_Q2}')");
		sim_fault({ reset => $true, carry_out => $true }, step => 'post', times => 1);
		sql($other);
	}, misses => 1, taken_up => 1, downloads => 1, downloaded => 1);
	counts('a failure', sub {
		sim_fault({ status => 400 }, step => 'post', times => 1);
		$node->psql('postgres', q{SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q3'});
	}, misses => 1, failures => 1, downloaded => 0);
	counts('a cancellation', sub {
		start_over($node, job_seconds => 'hold');
		my ($session) = waiting_sessions(1, 'waiting|polling');
		$canceler->query($cancel);
		$session->finish;
		sim_set({ job_seconds => 0 });
		wait_until('it is through', sub { sim_seen('running_jobs') == 0 });
	}, misses => 1, exports => 1, cancellations => 1, downloaded => 0);

	start_over($node, owners => 240);    # 120 kB each, of 1 MB
	my $evictions = stats()->{memory_evictions};
	sql('SELECT count(*) FROM clari.forecasts');
	is(stats()->{memory_evictions}, $evictions, 'eight fit into memory');
	sql("IMPORT FOREIGN SCHEMA bookings LIMIT TO (more_forecasts) FROM SERVER clari INTO clari
		OPTIONS (periods '2026_Q1..2026_Q2', table_prefix 'more_')");
	sql('SELECT count(*) FROM clari.more_forecasts');
	cmp_ok(stats()->{memory_evictions} - $evictions, '>=', 1, 'two more push some out');
	$evictions = stats()->{disk_evictions};
	$node->append_conf('postgresql.conf', "clari_fdw.disk_cache_size = '1MB'\n");
	$node->reload;
	wait_until('a smaller disk pushes some out', sub {
		sql('SELECT count(*) FROM clari.more_forecasts');
		stats()->{disk_evictions} > $evictions });

	my $since = stats()->{stats_since};
	$boss->query('SELECT clari_stats_reset()');
	my $stats = stats();
	is($stats->{$_}, 0, "clari_stats_reset: $_") for grep { $_ ne 'stats_since' } sort keys %$stats;
	is($boss->query("SELECT stats_since > '$since' AND stats_since <= now() FROM clari_stats"), 't', 'and since when');

	my $as = sub { my ($role, $sql) = @_; my $one = ClariSession->new($node, user => $role); return $one->query($sql) };
	like($as->('nobody', $_), qr/ERROR:  42501: /, "$_ is not for everybody")
		for 'SELECT * FROM clari_stats', 'SELECT clari_stats_reset()';
	sql('GRANT pg_monitor TO nobody');
	like($as->('nobody', 'SELECT hits FROM clari_stats'), qr/^\d+$/, 'members of pg_monitor see it');
	like($as->('nobody', 'SELECT clari_stats_reset()'), qr/ERROR:  42501: /, 'but do not reset it');
	sql('GRANT EXECUTE ON FUNCTION clari_stats_reset() TO nobody');
	is($as->('nobody', 'SELECT clari_stats_reset()'), '', 'unless they are granted that');
	$node->append_conf('postgresql.conf', "clari_fdw.disk_cache_size = '1GB'\n");
	$node->reload;
};

subtest 'pg_stat_activity shows what the worker does' => sub {
	start_over($node, job_seconds => 'hold');
	my $activity = "SELECT string_agg(query, E'\\n') FROM pg_stat_activity
		WHERE backend_type = 'clari_fdw worker' AND state = 'active'";
	sql("SELECT clari_prefetch('clari.forecasts', '{2026_Q1}')");
	wait_until('one export is shown', sub { sql($activity) =~ /exporting net_arr 2026_Q1/ });
	sql("SELECT clari_prefetch('clari.forecasts')");
	wait_until('more are shown', sub { (() = sql($activity) =~ /\d{4}_Q\d/g) >= 2 });
	unlike(sql('SELECT string_agg(a::text, E\'\n\') FROM pg_stat_activity a'), qr/test-key/, 'without the key');
	sim_set({ job_seconds => 0 });
	wait_until('the exports are through', sub { sim_release(); sql('SELECT count(*) FROM clari_exports') eq '0' });
	wait_until('nothing is shown any more', sub { sql($activity) !~ /exporting/ });
};

subtest 'an idle worker goes, a busy one does not' => sub {
	start_over($node);
	sim_set({ job_seconds => 'hold' }, period => '2026_Q1');
	$node->append_conf('postgresql.conf', "clari_fdw.worker_idle_timeout = '100ms'\nclari_fdw.max_workers = 1\n");
	$node->reload;
	my ($session) = waiting_sessions(1, 'waiting|polling');
	wait_until('the other exports are through', sub {
		sql("SELECT count(*) FROM clari.forecasts WHERE time_period > '2026_Q1'") eq '600' });
	my @workers = children($node, qr/clari_fdw worker/);
	ok(!$session->is_finished(0.5), 'a job runs for much longer than the timeout');
	is(join(',', children($node, qr/clari_fdw worker/)), join(',', @workers), 'and its worker stays');
	sim_release();
	is($session->finish, 200, 'to the end');
	wait_until('then it goes', sub { !children($node, qr/clari_fdw worker/) });
	sim_set({ job_seconds => 0 }, period => '2026_Q1');
	sql("SELECT clari_refresh('clari.forecasts', '{2026_Q1}')");
	pass('and another comes when it is needed');
};

done_testing();
