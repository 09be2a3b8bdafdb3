# A waiting session can be interrupted at any point, its export is not wasted, and nothing leaks.  How soon it is gone:
# "run.sh interrupts".
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $times = 5;    # that each is done

start_sim(job_seconds => 'hold', concurrent_limit => 100);
my $node = start_node('interrupts', 'restart_after_crash = on', "clari_fdw.shared_cache_size = '1MB'");
create_server($node);
import_tables($node);
my $boss = ClariSession->new($node);

my $query = "SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'";

# Arranges that the export of 2026_Q1 stays in a phase; each returns the phases that clari_exports may then show.
my %phases = (
	queued => sub {
		$boss->query("ALTER SERVER clari OPTIONS (ADD max_concurrent_exports '1')");
		$boss->query("SELECT clari_prefetch('clari.forecasts', '{2026_Q4}')");
		wait_until('another export is under way', sub { sim_seen('total.post') == 1 });
		return qr/^queued$/;
	},
	posting => sub {
		sim_fault({ delay => 'hold' }, step => 'post', period => '2026_Q1', times => 1);
		return qr/^posting$/;
	},
	polling => sub { return qr/^(waiting|polling)$/; },
	'polling without an answer' => sub {
		sim_fault({ delay => 'hold' }, step => 'poll', period => '2026_Q1', times => 1);
		return qr/^polling$/;
	},
	downloading => sub {
		sim_set({ job_seconds => 0 });
		sim_fault({ stall_after => 20000 }, step => 'results', period => '2026_Q1', times => 1);
		return qr/^downloading$/;
	});

sub start_over_unlimited
{
	start_over($node);
	$boss->query('ALTER SERVER clari OPTIONS (DROP max_concurrent_exports)');
	return;
}

sub is_waiting
{
	my ($phase) = @_;
	my ($now, $waiters) = split /\|/, $boss->query(
		"SELECT phase, waiters FROM clari_exports WHERE time_period = '2026_Q1'");
	return defined $waiters && $waiters == 1 && $now =~ $phase;
}

# The session waits in the phase; then it is interrupted.
sub is_interrupted
{
	my ($session, $phase, $function, $expected, $statement) = @_;
	$session->start($statement // $query);
	# A function that takes nothing POSTed before it was called waits for that to be over, and does not want it.
	wait_until('the session waits', sub { $statement
		? $boss->query("SELECT wait_event_type FROM pg_stat_activity WHERE pid = $session->{pid}") eq 'Extension'
		  && $boss->query("SELECT phase FROM clari_exports WHERE time_period = '2026_Q1'") =~ $phase
		: is_waiting($phase) });
	$boss->query("SELECT $function($session->{pid})");
	return like($session->finish, $expected, $function);
}

for my $name (sort keys %phases)
{
	subtest "while $name" => sub {
		start_over_unlimited();
		my $phase = $phases{$name}->();
		my $session = ClariSession->new($node);
		is_interrupted($session, $phase, 'pg_cancel_backend', qr/57014/) for 1 .. $times;
		$session->query("SET statement_timeout = '50ms'");
		like($session->query($query), qr/57014.*statement timeout/, 'statement_timeout') for 1 .. $times;
		for (1 .. $times)
		{
			my $victim = ClariSession->new($node);
			is_interrupted($victim, $phase, 'pg_terminate_backend', qr/57P01/);
		}
		my $left = $boss->query("SELECT waiters FROM clari_exports WHERE time_period = '2026_Q1'");
		is($left, $name eq 'queued' ? '' : 0, 'nobody is counted as waiting, and what nobody waits for is not queued');
		cmp_ok(sim_seen('periods.2026_Q1.post'), '<=', 1, 'one POST for all of them');

		# With nobody waiting any more, the export that was POSTed still comes to its end.
		$session->start("RESET statement_timeout; $query") if $name eq 'queued';
		wait_until('the export is through', sub {
			sim_release();
			$boss->query("SELECT state FROM clari_cache WHERE time_period = '2026_Q1'") eq 'ready' });
		$session->finish if $name eq 'queued';
		my $posts = sim_seen('total.post');
		$session->query('RESET statement_timeout');
		is($session->query($query), 500, 'the next query has its rows');
		is(sim_seen('total.post'), $posts, 'without a POST');
		is(sim_seen('periods.2026_Q1.post'), 1, 'it was exported once');
	};
}

for my $statement ("SELECT clari_refresh('clari.forecasts', '{2026_Q1}')", "CALL clari_sync('clari.forecasts', '{2026_Q1}')",
	"BEGIN; CALL clari_sync('clari.forecasts', '{2026_Q1}'); ROLLBACK")
{
	start_over_unlimited();
	$boss->query('SET client_min_messages = warning; SELECT clari_create_tables()');
	my $session = ClariSession->new($node);
	is_interrupted($session, qr/^(waiting|polling)$/, 'pg_cancel_backend', qr/57014/, $statement) for 1 .. $times;
	is(sim_seen('total.post'), 1, "one POST for all of them: $statement");
}

# Shuts the server down while the session waits: both it and the worker are gone, and the server is down.
sub shuts_down
{
	my ($session, $name) = @_;
	my @workers = split /\n/, $boss->query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'");
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	kill 'INT', $postmaster;
	wait_until("$name: session and workers are gone", sub { !grep { !process_is_gone($_) } $session->{pid}, @workers });
	wait_until("$name: the server is down", sub { process_is_gone($postmaster) });
	pass($name);
	$node->_update_pid(0);
	$_->quit for $session, $boss;
	sim_release();
	$node->start;
	$boss = ClariSession->new($node);
	return;
}

subtest 'fast shutdown' => sub {
	for my $name (sort keys %phases)
	{
		start_over_unlimited();
		my $phase = $phases{$name}->();
		my $session = ClariSession->new($node)->start($query);
		wait_until('the session waits', sub { is_waiting($phase) });
		shuts_down($session, "while $name");
	}
};

subtest 'fast shutdown while decoding' => sub {
	my $owners = 100_000;
	# 0: before the worker has told of any, as it is deep in the first bytes; they come faster than it decodes.
	for my $share (0, 0.01, 0.4, 0.8, 0.95, 1)
	{
		start_over_unlimited();
		sim_set({ job_seconds => 0 });
		sim_set({ owners => $owners }, period => '2026_Q1');
		my $session = ClariSession->new($node)->start($query);
		wait_until('so much is decoded', sub {
			my $entries = $boss->query("SELECT entries FROM clari_exports
				WHERE time_period = '2026_Q1' AND phase IN ('downloading', 'ready')");
			return $entries ne '' ? $entries >= $share * 1.95 * $owners : $session->is_finished;
		});
		shuts_down($session, "when $share is decoded");
	}
	sim_set({ owners => 500 }, period => '2026_Q1');
};

subtest 'nothing leaks' => sub {
	start_over_unlimited();
	sim_set({ job_seconds => 0 });
	sim_set({ owners => 100 }, period => '2026_Q1');     # in memory
	sim_set({ owners => 3000 }, period => '2026_Q2');    # on disk
	sim_fault({ status => 400 }, step => 'post', period => '2026_Q3');
	sim_set({ job_seconds => 'hold' }, period => '2026_Q4');
	my $session = ClariSession->new($node);
	my $count = sub {
		my @descriptors = glob("/proc/$session->{pid}/fd/*");
		my $maps = () = slurp_file("/proc/$session->{pid}/maps") =~ m{/dev/shm}g;
		my ($private) = slurp_file("/proc/$session->{pid}/status") =~ /^RssAnon:\s+(\d+)/m;
		return (scalar @descriptors, $maps, $private);
	};
	my $round = sub {
		my ($times) = @_;
		my $block = join(";\n", map { "SELECT count(*), sum(forecast_amount) $_" }
			"FROM clari.forecasts WHERE time_period = '2026_Q1'",
			"FROM clari.forecasts WHERE time_period = '2026_Q2'",
			"FROM clari.forecasts WHERE time_period <= '2026_Q2' AND 1 / (crm_total - crm_total) > 0",    # division by zero
			"FROM clari.forecasts a JOIN clari.forecasts b USING (owner_email) WHERE a.time_period = '2026_Q2'
				AND b.time_period = '2026_Q2' AND 1 / (a.crm_total - b.crm_total) > 0",
			"FROM clari.forecasts WHERE time_period <= '2026_Q3'",                                           # fails
			"FROM clari.forecasts");                                                                         # fails
		my $cursor = "BEGIN; DECLARE c CURSOR FOR SELECT * FROM clari.forecasts WHERE time_period <= '2026_Q2';
			FETCH 1 FROM c; SELECT 1 / 0; COMMIT";
		my $canceled = "SET statement_timeout = 2; SELECT count(*) FROM clari.forecasts WHERE time_period <> '2026_Q3';
			RESET statement_timeout";
		for (1 .. $times)
		{
			$session->query("$block;\n$cursor;\n$canceled");
			$boss->query("SELECT clari_prefetch('clari.forecasts', '{2026_Q4}')");
		}
	};
	$session->query("SELECT count(*) FROM clari.forecasts WHERE time_period <= '2026_Q2'");
	is($boss->query("SELECT string_agg(tier, ',' ORDER BY time_period) FROM clari_cache"), 'memory,disk', 'both tiers');
	$round->(10);
	my ($descriptors, $maps, $private) = $count->();
	$round->(250);    # of eight queries
	my ($descriptors_after, $maps_after, $private_after) = $count->();
	note("descriptors $descriptors, $descriptors_after; mappings $maps, $maps_after; private $private, $private_after kB");
	is($descriptors_after, $descriptors, 'file descriptors');
	is($maps_after, $maps, 'mappings of shared memory');
	cmp_ok($private_after - $private, '<', 1024, 'memory (kB)');
	is($boss->query('SELECT sum(waiters) FROM clari_exports'), 0, 'nobody is counted as waiting');
	sim_release();
};

done_testing();
