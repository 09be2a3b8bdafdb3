# clari_sync canceled or timed out at 60 random moments, while another session locks the target and staging_clari: every
# statement that follows works, nothing is lost, and nothing is half done.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariSync;
use ClariTest;
use Test::More;
use Time::HiRes qw(sleep time);

start_sim(job_seconds => 0.02, owners => 2000, null_emails => 0, current_quarter => '2026_Q4',
	known_periods => [ map { "2026_Q$_" } 1 .. 4 ], concurrent_limit => 100, monthly_quota => 1_000_000);
my $node = start_node('interrupts', "deadlock_timeout = '200ms'");
create_server($node, max_concurrent_exports => 8);
import_tables($node, closed_period_ttl => '0');
$node->safe_psql('postgres', 'SELECT clari_create_tables(); CREATE TABLE kept (n int PRIMARY KEY)');
my ($boss, $session, $locker) = map { ClariSession->new($node) } 1 .. 3;
my $seed = $ENV{CLARI_SEED} // 16;
srand($seed);

sub one_of { return $_[ int rand @_ ]; }

# Each quarter is wholly of one version, or as it was: the sum of the changes that a version makes says which.
my $by_quarter = q{SELECT string_agg(time_period || ' ' || n || ' ' || exports, ', ' ORDER BY time_period) FROM
	(SELECT time_period, count(*) AS n, count(DISTINCT exported_at) AS exports FROM clari_forecasts GROUP BY time_period) AS q};

my ($interrupted, @wrong) = (0);
for my $round (1 .. 60)
{
	my $delete = one_of('false', 'true');
	done($boss, one_of('TRUNCATE clari_forecasts, clari_syncs', q{DELETE FROM clari_forecasts WHERE owner_email ~ '7@'},
		q{UPDATE clari_forecasts SET crm_total = -1 WHERE owner_email ~ '3@'}));
	my $before = $boss->query($by_quarter);
	my $lock = one_of('clari_forecasts IN ROW EXCLUSIVE MODE', 'clari_forecasts IN SHARE MODE', 'staging_clari', 'clari_syncs IN SHARE MODE', '');
	done($locker, $lock ? "BEGIN; LOCK TABLE $lock" : 'BEGIN');
	my $call = "CALL clari_sync('clari.forecasts', delete_missing => $delete, max_deleted => 1)";
	my $form = one_of($call, "BEGIN; $call; COMMIT", "DO \$\$BEGIN $call; END\$\$", "DO \$\$BEGIN BEGIN $call; EXCEPTION WHEN OTHERS THEN NULL; END; END\$\$");
	my $time = 1 + int rand 250;
	my $way = one_of('cancel', 'statement_timeout', 'lock_timeout');
	done($session, 'SET statement_timeout = 0; SET lock_timeout = 0; SET application_name = \'sync\'');
	done($session, "SET $way = $time") if $way ne 'cancel';
	$session->start($form);
	my $begin = time;
	my $is_over = sub { return $session->is_finished(0) };
	sleep 0.005 until $is_over->() || time - $begin > $time / 1000;
	$boss->query("SELECT pg_cancel_backend($session->{pid})") if $way eq 'cancel';
	sleep 0.005 until $is_over->() || time - $begin > 0.4;
	done($locker, 'COMMIT');
	my $said = $session->finish;
	$interrupted++ if $said =~ /^ERROR:  (57014|55P03)/m;
	my $after = $session->query('ROLLBACK; SET statement_timeout = 0; SET lock_timeout = 0; ' . "INSERT INTO kept VALUES ($round)");
	push @wrong, "$round: $form: $after" if $after =~ /ERROR/;
	push @wrong, "$round: $form: $said" if $said =~ /^(FATAL|PANIC|ERROR:  (XX|25|2D|40P01))/m;
	# What is there of a quarter is all of it, whichever quarters they are; of rows that are unchanged it is of two exports.
	my $now = $boss->query($by_quarter);
	push @wrong, "$round, $form, $way: before $before, now $now, $said" if $now ne $before && $now =~ /2026_Q\d (?!2000 )\d+/;
	push @wrong, "$round: a quarter is noted that is not there: " . $boss->query('TABLE clari_syncs') if $boss->query(q{
		SELECT count(*) FROM clari_syncs AS y WHERE error IS NULL AND NOT EXISTS (SELECT FROM clari_forecasts AS f
			WHERE f.time_period = y.time_period)}) ne '0' && $before eq '' && $now eq '';
	sim_set({ version => $round });
}
is(join("\n", @wrong[ 0 .. (@wrong > 3 ? 2 : $#wrong) ]), '', "all is well after each of them (CLARI_SEED=$seed)");
cmp_ok($interrupted, '>=', 15, "$interrupted were interrupted");
is($boss->query('SELECT count(*) FROM kept'), 60, 'what was written after each of them is there');
$session->quit;
is($boss->query('SELECT count(*) FROM kept'), 60, 'also when the session has ended');
like($boss->query(q{CALL clari_sync('clari.forecasts')}), qr/4 periods synced/, 'and the next sync works');
is_as_generated($node, 'clari_forecasts', 'forecasts', "2026_Q$_") for 1 .. 4;

done_testing();
