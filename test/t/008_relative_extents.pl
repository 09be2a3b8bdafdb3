# A relative extent is exported in one round: beside the current quarter those that the calendar makes likely.  Clari's answer
# alone decides, whatever the clock and the calendar say; and what they say costs one export at most.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use Test::More;
use Time::HiRes qw(sleep time);

my @periods = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2025 .. 2028;
my %clock = clock_environment();
start_sim(job_seconds => 0, known_periods => \@periods, concurrent_limit => 100, monthly_quota => 100_000, owners => 20, null_emails => 0);
@ENV{ keys %clock } = values %clock;
my $node = start_node('relative', 'clari_fdw.worker_idle_timeout = 10min');
delete @ENV{ keys %clock };
create_server($node, max_concurrent_exports => 16);
my @aged = (cache_ttl => '0', closed_period_ttl => '0');
import_tables($node, periods => 'current-3..current', @aged);
import_tables($node, schema => 'named', periods => '2026_Q1..2026_Q3', @aged);
my $session = ClariSession->new($node);
my $boss = ClariSession->new($node);
my $which = q{SELECT string_agg(DISTINCT time_period, ' ' ORDER BY time_period) FROM clari.forecasts};
my $four = '2026_Q1 2026_Q2 2026_Q3 2026_Q4';

sub posts { return $boss->query("SELECT count(*) FROM clari_exports WHERE job_id <> ''"); }

# The statement begins with so many jobs at once; its answer; and how many POSTs it took.
sub begins_with
{
	my ($jobs, $name, $statement) = @_;
	my $before = sim_posts();
	my $deadline = time + $ClariSession::patience / 2;
	sim_set({ job_seconds => 'hold' });
	$session->start($statement);
	sleep 0.02 until posts() == $jobs || $session->is_finished || time > $deadline;
	is(posts(), $jobs, "$name: the exports that are made at once");
	sim_set({ job_seconds => 0 });
	sim_release();
	return ($session->finish, sim_posts() - $before);
}

sub is_one_round
{
	my ($name, $statement, $answer, $posts) = @_;
	my ($said, $posted) = begins_with($posts // 4, $name, $statement // $which);
	like($said, $answer // qr/^\Q$four\E$/m, "$name: the answer");
	is($posted, $posts // 4, "$name: POSTs");
	return;
}

# Waits for nothing but the answer.
sub is_right
{
	my ($name, $periods, $least, $most) = @_;
	my $before = sim_posts();
	is($session->query($which), $periods, "$name: the rows");
	my $posts = sim_posts() - $before;
	cmp_ok($posts, '>=', $least, "$name: the exports that it takes");
	cmp_ok($posts, '<=', $most, "$name: and no more");
	return;
}

subtest 'nothing is known' => sub {
	my ($said, $posts) = begins_with(1, 'a query', $which);
	is($said, $four, 'the rows');
	is($posts, 4, 'POSTs');
};

subtest 'Clari has named the current quarter before' => sub {
	is_one_round('a query');
	is_one_round('a join', 'SELECT count(*) > 0 FROM clari.forecasts AS a JOIN clari.forecasts AS b USING (time_period, owner_email)', qr/^t$/m);
	is_one_round('a condition', "$which WHERE time_period >= '2026_Q3'", qr/^2026_Q3 2026_Q4$/m, 2);
	is_one_round('one that only the current quarter meets', "$which WHERE time_period > '2026_Q3'", qr/^2026_Q4$/m, 1);
	is_one_round('clari_refresh()', q{SELECT clari_refresh('clari.forecasts')}, qr/^4$/m);
	$boss->query('SELECT clari_create_tables()');
	is_one_round('clari_sync()', q{CALL clari_sync('clari.forecasts')}, qr/4 periods synced/);
	is_one_round('EXPLAIN ANALYZE', "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) $which", qr/Jobs Created: 4\b/);
};

subtest 'after a restart' => sub {
	$_->quit for $session, $boss;
	@ENV{ keys %clock } = values %clock;
	$node->restart;
	delete @ENV{ keys %clock };
	($session, $boss) = map { ClariSession->new($node) } 1 .. 2;
	is_one_round('a query');
};

subtest 'a notice of what is outside of the extent comes once' => sub {
	my $said = $session->query("$which WHERE time_period IN ('2026_Q1', '2020_Q1')");
	is(scalar(() = $said =~ /NOTICE/g), 1, 'one notice');
};

subtest 'the quarter has ended for Clari, and not yet by the calendar' => sub {
	sim_set({ current_quarter => '2027_Q1' });
	is_right('the new quarter', '2026_Q2 2026_Q3 2026_Q4 2027_Q1', 4, 5);
	is_one_round('and then', undef, qr/^2026_Q2 2026_Q3 2026_Q4 2027_Q1$/m);
	sim_set({ current_quarter => '2026_Q4' });
	is_right('back again', $four, 4, 5);
};

subtest 'what is not needed and still queued is dropped' => sub {
	# None of the three that are likely is needed.  The worker may have POSTed one before the session knows.
	$boss->query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '1')");
	sim_set({ current_quarter => '2025_Q4' });
	is_right('a year before', '2025_Q1 2025_Q2 2025_Q3 2025_Q4', 4, 5);
	sim_set({ current_quarter => '2026_Q4' });
	is_right('back again', $four, 4, 5);
	$boss->query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '16')");
};

subtest 'the calendar is wrong' => sub {
	sim_set({ fiscal_month => 7 });
	is_right("moved under way, time $_", $four, 4, 5) for 1 .. 3;
	sim_set({ fiscal_month => 2 });
	is_right("and back, time $_", $four, 4, 5) for 1 .. 2;
};

SKIP: {
	skip 'the clock cannot be set without a C compiler', 1 unless %clock;
	my $day = 24 * 60 * 60;
	for my $days (1 / 24, -1 / 24, 1, 91, 92, 93, -91, -92, 366, -366, 3660, 0)
	{
		subtest sprintf('the clock is %.2f days off', $days) => sub {
			set_clock($days * $day);
			is_right("time $_", $four, 4, 5) for 1 .. 2;
		};
	}
}

subtest 'where Clari has named no current quarter' => sub {
	start_over($node);
	is($session->query(q{SELECT string_agg(DISTINCT time_period, ' ' ORDER BY time_period) FROM named.forecasts}), '2026_Q1 2026_Q2 2026_Q3', 'quarters long ago');
	is_right('they tell too little', $four, 4, 4);
};

SKIP: {
	skip 'the clock cannot be set without a C compiler', 1 unless %clock;
	subtest 'where exports have told of the quarter that today is in, or of the one before' => sub {
		start_over($node);
		# Of the fiscal year that begins in February, 2026_Q4 ends with January 2026.
		set_clock(1_768_000_000 - time);
		$session->query('SELECT count(*) FROM named.forecasts');
		is_one_round('a query');
		set_clock(0);
	};
}
$_->quit for $session, $boss;

done_testing();
