# pg_cron runs clari_sync: what is unchanged is not written again, what is bad is told of, and nothing is held while it waits.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

chomp(my $library = qx{@{[ $ENV{PG_CONFIG} // 'pg_config' ]} --pkglibdir});
plan skip_all => "pg_cron is not installed: there is no $library/pg_cron.so" unless -e "$library/pg_cron.so";

# pg_cron's finest schedule is the minute, on 15.  The server's clock is put forward to the next one; where it cannot be,
# or CLARI_REAL_MINUTES is set, two minutes are waited for.
my %clock = $ENV{CLARI_REAL_MINUTES} ? () : clock_environment();
my $offset = 0;

# The server's clock shows so many seconds of its minute, or 60 for the next one.
sub set_second
{
	my ($second) = @_;
	set_clock($offset += $second - (time + $offset) % 60) if %clock;
	return;
}

start_sim(job_seconds => 0, owners => 50, null_emails => 0, concurrent_limit => 100, monthly_quota => 100_000);

# A server with pg_cron, and what an analyst needs to have it run clari_sync.
sub start_cron
{
	my ($name, $workers) = @_;
	my $node = start_node($name);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pg_cron'\nmax_worker_processes = 20\nlog_min_messages = notice
		cron.database_name = 'postgres'\ncron.use_background_workers = $workers\ncron.host = '" . $node->host . "'\n");
	set_second(3);    # no minute begins before it is to
	{
		local %ENV = (%ENV, %clock);
		$node->restart;
	}
	create_server($node, max_concurrent_exports => 8);
	import_tables($node, closed_period_ttl => '0');
	$node->safe_psql('postgres', q{
		CREATE EXTENSION pg_cron;
		CREATE ROLE analyst LOGIN;
		CREATE SCHEMA analyst AUTHORIZATION analyst;
		CREATE USER MAPPING FOR analyst SERVER clari OPTIONS (api_key 'test-key');
		GRANT USAGE ON SCHEMA clari, cron TO analyst;
		GRANT SELECT ON clari.forecasts TO analyst;
		GRANT EXECUTE ON PROCEDURE clari_sync TO analyst;});
	return $node;
}

# What the runs have come to: "200|3|0|3" is rows inserted, updated, deleted, dead.
my $writes = q{SELECT n_tup_ins, n_tup_upd, n_tup_del, n_dead_tup FROM pg_stat_user_tables
	WHERE relid = 'analyst.clari_forecasts'::regclass};
my $versions = q{SELECT md5(string_agg(ROW(t.ctid, t.xmin, t.xmax, t)::text, ';' ORDER BY t.ctid)) FROM analyst.clari_forecasts AS t};
my $holding = q{SELECT count(*), count(backend_xmin), count(backend_xid) FROM pg_stat_activity
	WHERE query LIKE 'CALL clari_sync%' AND pid <> pg_backend_pid()};

# How pg_cron runs a command: in a background worker, or in a session by libpq.
my %ways = ('in a background worker' => [ 'workers', 'on' ], 'in a session of its own' => [ 'sessions', 'off' ]);
for my $way (%clock ? sort keys %ways : 'in a background worker')
{
	subtest $way => sub {
		my $node = start_cron(@{ $ways{$way} });
		sim_reset();
		sim_set({ version => 0, job_seconds => 'hold' });
		my $boss = ClariSession->new($node);
		my $analyst = ClariSession->new($node, user => 'analyst');
		$analyst->query('SELECT clari_create_tables()');
		like($analyst->query(q{SELECT cron.schedule('clari', '* * * * *', $$CALL clari_sync('clari.forecasts', delete_missing => true)$$)}),
			qr/^\d+$/, 'it is scheduled');
		my ($runs, $logged) = (0, 0);

		# Waits for the next run to end; returns its status, its message, and what it left in the log.
		my $run_ends = sub {
			my @run;
			wait_until('pg_cron has run it', sub {
				@run = split /\|/, $boss->query("SELECT status, return_message FROM cron.job_run_details ORDER BY runid OFFSET $runs LIMIT 1"), 2;
				return @run && $run[0] =~ /succeeded|failed/;
			}, 90);
			$runs++;
			my $log = slurp_file($node->logfile, $logged);
			$logged += length $log;
			return (@run, $log);
		};

		set_second(60);
		wait_until('pg_cron has begun', sub { sim_posts() == 4 && $boss->query('SELECT min(waiters) FROM clari_exports') eq '1' });
		my %seen;
		for (1 .. 20) { $seen{ $boss->query($holding) }++; sleep 0.02; }
		is(join(' ', keys %seen), '1|0|0', 'while it waits it holds no snapshot and no transaction ID');
		sim_set({ job_seconds => 0 });
		sim_release();
		my ($status, $message, $log) = $run_ends->();
		is($status, 'succeeded', 'the first run succeeded') or diag($message);
		like($log, qr/ 200 inserted, 0 updated, 0 unchanged, 0 deleted/, 'it has filled the table');
		is_as_generated($node, 'analyst.clari_forecasts', 'forecasts', "2026_Q$_") for 1 .. 4;

		my $before = $boss->query($versions);
		wait_until('its writes are counted', sub { $boss->query($writes) eq '200|0|0|0' });
		set_second(60);
		($status, $message, $log) = $run_ends->();
		is($status, 'succeeded', 'the second run succeeded') or diag($message);
		is(sim_posts(), 8, 'it has exported all anew');
		like($log, qr/ 0 inserted, 0 updated, 200 unchanged, 0 deleted/, 'merged nothing');
		is($boss->query($versions), $before, 'and written and locked no row');
		return unless %clock;

		sim_set({ version => 1 });
		sim_fault({ status => 400, body => 'x' }, step => 'post', period => '2026_Q2');
		set_second(60);
		($status, $message, $log) = $run_ends->();
		is($status, 'failed', 'a run with a bad quarter failed');
		like($message, qr/could not sync 1 of 4 periods/, 'and says so');
		like($log, qr/3 periods synced: 0 inserted, 3 updated, 147 unchanged/, 'the others are merged');
		wait_until('all writes are counted', sub { $boss->query($writes) eq '200|3|0|3' });
		pass('by one row each: what has changed');
		$analyst->query(q{SELECT cron.unschedule('clari')});
		$_->quit for $boss, $analyst;
		$node->stop('fast');
	};
}

done_testing();
