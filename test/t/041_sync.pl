# clari_sync among others: two at once, against what changes the cache, canceled at any point, however it is called.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariSync;
use ClariTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = start_sync_node('sync', "deadlock_timeout = '200ms'");
import_tables($node, schema => 'relative', periods => 'current-1..current', closed_period_ttl => '0');
$node->safe_psql('postgres', 'SELECT clari_create_tables()');
my $boss = ClariSession->new($node);
my @sessions = map { ClariSession->new($node) } 1 .. 2;

sub call { return "CALL clari_sync('clari.forecasts', '{" . join(',', map { "2026_Q$_" } @_) . "}')"; }

# What a session waits for: "Lock relation", "Timeout PgSleep"; nothing when it runs or is done.
sub waits_for
{
	my ($session) = @_;
	return $boss->query("SELECT wait_event_type || ' ' || wait_event FROM pg_stat_activity
		WHERE pid = $session->{pid} AND state = 'active'");
}

sub waits_for_lock { return waits_for($_[0]) =~ /^Lock /; }

# So many sessions wait for the export of a quarter.
sub waiters { return $boss->query("SELECT sum(waiters) FROM clari_exports WHERE time_period = '2026_Q$_[0]'"); }

# The numbers after "inserted" and so on that were told in all; dies where there was an error.
sub told
{
	my ($what, @outputs) = @_;
	my $sum = 0;
	for my $output (@outputs)
	{
		die "no success: $output" if $output =~ /^ERROR/m || $output !~ /period[s]? synced: /;
		$sum += $_ for $output =~ / (\d+) $what/g;
	}
	return $sum;
}

sub is_synced
{
	is_as_generated($node, 'clari_forecasts', 'forecasts', "2026_Q$_", name => "2026_Q$_ is there as generated") for @_;
	return;
}

# ------- two at once -------

# Lets all exports end; collects what the sessions say, in the order in which they finish, and ends their transactions.
sub finish_all
{
	my ($end, @running) = @_;
	my @outputs;
	wait_until('all are through', sub {
		sim_release();
		my @through = grep { $_->is_finished(0.01) } @running;
		for my $session (@through)
		{
			push @outputs, $session->finish;
			push @outputs, $session->query($end->{$session}) if $end->{$session};
			@running = grep { $_ != $session } @running;
		}
		return !@running;
	});
	return @outputs;
}

my %blocks = ('both outside of a transaction block' => [ '', '' ], 'both inside of one' => [ 'COMMIT', 'COMMIT' ],
	'one inside' => [ 'COMMIT', '' ]);
for my $which (sort keys %blocks)
{
	for my $periods ([ [ 1, 2 ], [ 1, 2 ] ], [ [ 1, 2 ], [ 3, 4 ] ], [ [ 1, 2 ], [ 2, 3 ] ])
	{
		my $name = join(' and ', map { join(',', @$_) } @$periods);
		subtest "two syncs of quarters $name at once, $which" => sub {
			start_over_with_empty_tables($node, job_seconds => 'hold');
			occupy_places($node, 1);
			my %end;
			for my $i (0, 1)
			{
				$end{ $sessions[$i] } = $blocks{$which}[$i];
				$sessions[$i]->query('BEGIN') if $end{ $sessions[$i] };
				$sessions[$i]->start(call(@{ $periods->[$i] }));
			}
			my %wanted;
			$wanted{$_}++ for map { @$_ } @$periods;
			# A block locks the target first, so that the other waits for that, and exports for itself what was asked for before.
			my $inside = grep { $_ } @{ $blocks{$which} };
			wait_until('both wait', sub {
				return $inside ? 2 == grep { waits_for($_) =~ /^(Lock|Extension)/ } @sessions
				  : !grep { (waiters($_) || 0) != $wanted{$_} } keys %wanted;
			});
			my @outputs = finish_all(\%end, @sessions);
			done($boss, q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '8')});
			unlike(join("\n", @outputs), qr/^(ERROR|WARNING)/m, 'no error');
			my $inserted = 0;
			$inserted += $_ for map { / (\d+) inserted/ } @outputs;
			is($inserted, 50 * keys %wanted, 'each row is inserted once');
			my $posts = sim_seen('forecasts.net_arr.post');
			is($posts, scalar keys %wanted, 'and each quarter exported once') unless $inside;
			cmp_ok($posts, '<=', 4, 'and each quarter exported once for each, at most') if $inside;
			is_synced(sort keys %wanted);
			$_->query('ROLLBACK') for @sessions;
		};
	}
}

subtest 'a sync that is rolled back after another has begun to wait for it' => sub {
	start_over_with_empty_tables($node);
	my ($first, $second) = @sessions;
	$first->query('BEGIN');
	is(told('inserted', $first->query(call(1))), 50, 'the first has inserted');
	$second->start(call(1));
	wait_until('the second waits', sub { waits_for_lock($second) });
	$first->query('ROLLBACK');
	is(told('inserted', $second->finish), 50, 'then the second inserts');
	is_synced(1);
};

subtest 'many at once, and others who invalidate and refresh' => sub {
	start_over_with_empty_tables($node);
	my @crowd = (@sessions, map { ClariSession->new($node) } 1 .. 4);
	my @does = (call(1, 2), call(2, 3), "BEGIN; @{[ call(1, 3) ]}; COMMIT", "BEGIN; @{[ call(3, 1) ]}; COMMIT",
		q{SELECT clari_invalidate('clari.forecasts')}, q{SELECT clari_refresh('clari.forecasts', '{2026_Q2}')});
	my @errors;
	for my $round (1 .. 8)
	{
		sim_set({ version => $round }, period => "2026_Q$_") for 1 .. 3;
		$crowd[$_]->start($does[$_]) for 0 .. $#crowd;
		push @errors, grep { /^(ERROR|WARNING)/m } map { $_->finish } @crowd;
		$_->query('ROLLBACK') for @crowd;
	}
	is(join("\n", @errors), '', 'no error in eight rounds');
	done($boss, call(1, 2, 3));
	is_synced(1, 2, 3);
};

subtest 'transactions that see one snapshot throughout' => sub {
	start_over_with_empty_tables($node);
	for my $level ('repeatable read', 'serializable')
	{
		my $session = ClariSession->new($node);
		$session->query("SET default_transaction_isolation = '$level'");
		is(told('inserted', $session->query(call(1))), 50, "$level, outside of a transaction block");
		like($session->query('BEGIN; ' . call(2) . '; COMMIT'), qr/ 50 inserted/, 'and inside of one');
		is_synced(1, 2);
		done($boss, 'TRUNCATE clari_forecasts');
	}
};

subtest 'an older export never undoes a newer one' => sub {
	start_over_with_empty_tables($node);
	sim_set({ job_seconds => 'hold' }, period => '2026_Q2');
	my ($slow, $quick) = @sessions;
	$slow->start(call(1, 2));
	wait_until('it waits for the second quarter alone', sub { (waiters(2) || 0) == 1
		&& $boss->query("SELECT state FROM clari_cache WHERE time_period = '2026_Q1'") eq 'ready' });
	sim_set({ version => 1 }, period => '2026_Q1');
	like($quick->query(call(1)), qr/ 50 inserted/, 'another exports and merges the first meanwhile');
	sim_release();
	is(told('updated', $slow->finish), 0, 'which stays');
	is_synced(1, 2);
};

# ------- against others who stage and merge -------

my $row = "(owner_email, time_period, forecast_name) VALUES ('by\@hand', '2026_Q3', 'net_arr')";
my %flows = (
	'merges, then empties the staging table' => [ 'SELECT * FROM clari_merge()', 'TRUNCATE staging_clari' ],
	'merges, then deletes from the staging table' => [ 'SELECT * FROM clari_merge()', 'DELETE FROM staging_clari' ],
	'stages, then merges' => [ "INSERT INTO staging_clari $row", 'SELECT * FROM clari_merge(); TRUNCATE staging_clari' ],
	'reads the staging table, then stages' => [ 'SELECT count(*) FROM staging_clari', "INSERT INTO staging_clari $row;
		SELECT * FROM clari_merge(); TRUNCATE staging_clari" ],
	'writes to the target, then merges' => [ "INSERT INTO clari_forecasts $row", 'SELECT * FROM clari_merge()' ]);
for my $flow (sort keys %flows)
{
	subtest "a sync and a transaction that $flow" => sub {
		start_over_with_empty_tables($node);
		my ($sync, $other) = @sessions;
		done($other, "INSERT INTO staging_clari $row") if $flow =~ /^merges/;
		done($other, "BEGIN; $flows{$flow}[0]");
		$sync->start(call(1));
		wait_until('the sync waits for it', sub { $sync->is_finished || waits_for_lock($sync) });
		unlike($other->query($flows{$flow}[1]), qr/^ERROR/m, 'the transaction goes on');
		unlike($other->query('COMMIT'), qr/^ERROR/m, 'to its end');
		like($sync->finish, qr/1 period synced: 50 inserted/, 'and then the sync');
		is($boss->query("SELECT count(*) FROM clari_forecasts WHERE owner_email = 'by\@hand'"), 1,
			'its own row is there');
		is_synced(1);
		$_->query('ROLLBACK') for @sessions;
	};
}

# ------- against what changes the cache -------

# Each: a statement that another session runs at the time; and whether Clari has newer rows by then.
my %changes = (
	'clari_invalidate' => [ q{SELECT clari_invalidate('clari.forecasts')}, 0 ],
	'clari_invalidate of everything' => [ 'SELECT clari_invalidate()', 0 ],
	'clari_refresh' => [ q{SELECT clari_refresh('clari.forecasts', '{2026_Q1}')}, 1 ]);
for my $what (sort keys %changes)
{
	my ($statement, $version) = @{ $changes{$what} };
	subtest "$what while a sync waits for another quarter" => sub {
		start_over_with_empty_tables($node);
		sim_set({ job_seconds => 'hold' }, period => '2026_Q2');
		$sessions[0]->start(call(1, 2));
		wait_until('it waits', sub { (waiters(2) || 0) == 1
			&& $boss->query("SELECT state FROM clari_cache WHERE time_period = '2026_Q1'") eq 'ready' });
		sim_set({ version => $version }, period => '2026_Q1');
		done($boss, $statement);
		sim_set({ job_seconds => 0 }, period => '2026_Q2');
		my ($output) = finish_all({}, $sessions[0]);
		is(told('inserted', $output), 100, 'both are inserted');
		cmp_ok(sim_seen('periods.2026_Q2.post'), '<=', 2, 'the export that it waits for is not made often');
		is_one_version(1);
		is_synced(2);
	};

	subtest "$what between the exports and the merge" => sub {
		start_over_with_empty_tables($node);
		sim_set({ job_seconds => 'hold' }, period => '2026_Q1');
		$sessions[0]->start(call(1));
		wait_until('it waits for the export', sub { (waiters(1) || 0) == 1 });
		done($sessions[1], 'BEGIN; LOCK TABLE clari_forecasts IN SHARE UPDATE EXCLUSIVE MODE');
		sim_set({ job_seconds => 0 }, period => '2026_Q1');
		wait_until('the sync waits for the target', sub { sim_release(); waits_for_lock($sessions[0]) });
		sim_set({ version => $version }, period => '2026_Q1');
		done($boss, $statement);
		$sessions[1]->query('COMMIT');
		is(told('inserted', $sessions[0]->finish), 50, 'the rows are inserted');
		is_one_version(1, 0);
		is(sim_posts(), $version + 1, 'and nothing is exported for it once more');
	};
}

# All rows of the quarter are of one of these versions: 0 or 1, if none is given.
sub is_one_version
{
	my ($quarter, @versions) = @_;
	my $got = table_csv($node, 'clari_forecasts', $ClariCluster::columns{forecasts}, "time_period = '2026_Q$quarter'");
	my $query = "object=forecasts&period=2026_Q$quarter&order_by=" . join(',', split(' ', $ClariCluster::columns{forecasts}));
	my $is_one = 0;
	for my $version (@versions ? @versions : (0, 1))
	{
		sim_set({ version => $version }, period => "2026_Q$quarter");
		my $expected = sim_expected($query);
		chomp $expected;
		$is_one ||= $got eq $expected;
	}
	ok($is_one, "2026_Q$quarter is of one version");
	return;
}

# ------- canceled -------

# How an owner's trigger on his own table keeps a statement busy.
sub slow
{
	my ($table, $events) = @_;
	done($boss, "CREATE OR REPLACE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NULL; END';
		CREATE TRIGGER slow AFTER $events ON $table EXECUTE FUNCTION wait()");
	return sub { return waits_for($sessions[0]) eq 'Timeout PgSleep' };
}

sub lock_by_another
{
	my ($table, $mode) = @_;
	done($sessions[1], "BEGIN; LOCK TABLE $table IN $mode MODE");
	return sub { return waits_for_lock($sessions[0]) };
}

# The first quarter's export is in one of these phases, and the sync waits for it.  The worker tells the phase before it asks.
sub in_phase
{
	my ($phases, $period) = @_;
	$period //= '2026_Q1';
	return sub {
		return $boss->query("SELECT waiters = 1 AND phase ~ '^($phases)\$' FROM clari_exports WHERE time_period = '$period'") eq 't';
	};
}

# The same, and the answer is held.
sub held_in
{
	my $is_there = in_phase(@_);
	return sub { return sim_seen('held_answers') == 1 && $is_there->() };
}

# Arranges that the sync stays in a phase; each returns what tells that it is there.
my %phases = (
	'while the export is queued' => sub {
		sim_set({ job_seconds => 'hold' }, period => '2026_Q4');
		done($boss, q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '1'); SELECT clari_prefetch('clari.forecasts', '{2026_Q4}')});
		wait_until('another is under way', sub { sim_posts() == 1 });
		return in_phase('queued');
	},
	'during the POST' => sub { sim_fault({ delay => 'hold' }, step => 'post', times => 1); return held_in('posting') },
	'while the job runs' => sub { sim_set({ job_seconds => 'hold' }, period => '2026_Q1'); return in_phase('waiting|polling') },
	'during the download' => sub { sim_fault({ stall_after => 2000 }, step => 'results', times => 1); return held_in('downloading') },
	'while it asks for the current quarter' => sub {
		sim_set({ job_seconds => 'hold' }, period => '2026_Q4');
		return in_phase('waiting|polling', 'current');
	},
	'while others use the target' => sub { return lock_by_another('clari_forecasts', 'SHARE ROW EXCLUSIVE') },
	'while it merges' => sub { return slow('clari_forecasts', 'UPDATE') },
	'while it deletes' => sub { return slow('clari_forecasts', 'DELETE') });

# Both tables, row versions included.
sub tables
{
	return join(' ', map { $boss->query("SELECT md5(coalesce(string_agg(ROW(t.ctid, t.xmin, t)::text, ';' ORDER BY t.ctid), ''))
		FROM $_ AS t") } qw(clari_forecasts staging_clari));
}

# Undoes what a phase arranged.
sub clear
{
	$sessions[1]->query('ROLLBACK');
	done($boss, q{SET client_min_messages = warning; DROP TRIGGER IF EXISTS slow ON clari_forecasts; RESET client_min_messages;
		ALTER SERVER clari OPTIONS (SET max_concurrent_exports '8')});
	sim_set({ job_seconds => 0 }, period => "2026_Q$_") for 1 .. 4;
	sim_release();
	return;
}

my $canceled_call = q{CALL clari_sync('clari.forecasts', '{2026_Q1}', delete_missing => true)};
for my $when (sort keys %phases)
{
	for my $begin ('', 'BEGIN; ')
	{
		subtest 'a sync ' . ($begin ? 'in a transaction block ' : '') . "that is canceled $when" => sub {
			start_over_with_empty_tables($node);
			done($boss, call(1) . '; SELECT clari_invalidate()');
			sim_reset();
			done($boss, "INSERT INTO clari_forecasts (owner_email, time_period, forecast_name) VALUES ('gone\@x', '2026_Q1', 'net_arr');
				INSERT INTO staging_clari (owner_email, time_period, forecast_name) VALUES ('mine\@x', '2026_Q1', 'net_arr');");
			my $call = $when =~ /current/ ? $canceled_call =~ s/clari\.forecasts', '\{2026_Q1\}'/relative.forecasts'/r : $canceled_call;
			sim_set({ version => 1 }, period => '2026_Q1');
			my $is_there = $phases{$when}->();
			my $before = tables();
			$sessions[0]->start("$begin$call");
			wait_until('it is there', sub { $sessions[0]->is_finished || $is_there->() });
			like($sessions[0]->cancel($boss), qr/^ERROR:  57014: canceling statement due to user request/m, 'it says that it was');
			$sessions[0]->query('ROLLBACK');
			is(tables(), $before, 'both tables are as they were');
			# What is still on its way serves the next one.
			my $is_flying = $when =~ /job|download/;
			clear() unless $is_flying;
			done($boss, 'TRUNCATE staging_clari');
			$sessions[0]->start("$begin$call");
			# For what the first has POSTed to be over: that is older than its call.
			wait_until('the next one waits too', sub { waits_for($sessions[0]) =~ /^Extension/ }) if $is_flying;
			clear();
			unlike($sessions[0]->finish, qr/^ERROR/m, 'the next one works');
			$sessions[0]->query('COMMIT');
			is(sim_seen('periods.2026_Q1.post'), 2, 'with an export of its own') if $is_flying;
			is_synced($when =~ /current quarter/ ? (3, 4) : 1);
		};
	}
}

done_testing();
