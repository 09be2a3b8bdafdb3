# At DEBUG1 the server's log tells what becomes of each export, and what the cache loads and lets go; it never has a key.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $key = 'a-key-that-nobody-may-see';
start_sim(job_seconds => 0.05, owners => 200, monthly_quota => 100_000, concurrent_limit => 100, keys => { $key => {} },
	known_periods => [ map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2024 .. 2026 ]);
my $node = start_node('debug', 'log_min_messages = debug1', 'log_statement = none', "clari_fdw.shared_cache_size = '1MB'");
create_server($node, max_retries => 1);
sql("ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key '$key')");
import_tables($node, periods => '2024_Q2..2026_Q4');

# What the log has had since the last call.
my $read = 0;
sub logged
{
	my $log = slurp_file($node->logfile, $read);
	$read += length $log;
	return $log;
}

sub count_of { return "SELECT count(*) FROM clari.forecasts WHERE time_period = '$_[0]'"; }

my @log;

subtest 'an export' => sub {
	logged();
	sql(count_of('2026_Q1'));
	push @log, logged();
	like($log[-1], qr/DEBUG:  export net_arr 2026_Q1: from new to \w+ \(it is time\)$/m, 'begins');
	like($log[-1], qr/DEBUG:  export net_arr 2026_Q1: from posting to waiting \(answered with HTTP status 200\)$/m, 'is accepted');
	like($log[-1], qr/DEBUG:  export net_arr 2026_Q1: from polling to downloading \(answered with HTTP status 200\)$/m, 'is ready');
	like($log[-1], qr/DEBUG:  export net_arr 2026_Q1: from downloading to done \(the file is good\)$/m, 'is there');
};

subtest 'one that fails' => sub {
	sim_fault({ reset => JSON::PP::true }, step => 'poll', period => '2026_Q2');
	query_error($node, count_of('2026_Q2'));
	push @log, logged();
	like($log[-1], qr/DEBUG:  export net_arr 2026_Q2: from polling to waiting \(.{20,}\)$/m, 'tells why it is asked again');
	like($log[-1], qr/DEBUG:  export net_arr 2026_Q2: from polling to failed \(.{20,}\)$/m, 'and why it is given up');
};

subtest 'the cache' => sub {
	start_over($node);
	# Ten of 105 kB each.
	sql(count_of($_)) for map { my $year = $_; map { "${year}_Q$_" } 2 .. 4 } 2024 .. 2025;
	sql(count_of("2026_Q$_")) for 1 .. 4;
	push @log, logged();
	like($log[-1], qr/DEBUG:  rowset cache: net_arr 202\d_Q\d, \d+ bytes, had to leave shared memory$/m, 'makes room in memory');
	$node->restart;
	logged();
	sql(count_of('2026_Q1'));
	push @log, logged();
	like($log[-1], qr/DEBUG:  rowset cache: loaded the file of net_arr 2026_Q1, \d+ bytes$/m, 'has its files again after a restart');
	sql(count_of('2026_Q1')) for 1 .. 3;
	push @log, logged();
	like($log[-1], qr/DEBUG:  rowset cache: net_arr 2026_Q1, \d+ bytes, is in shared memory again$/m, 'has what is popular in memory again');
	sql('SELECT clari_invalidate()');
	push @log, logged();
	like($log[-1], qr/DEBUG:  rowset cache: let a file go\n.*DETAIL:  .*\.rowset/m, 'forgets files');
	like($log[-1], qr/DEBUG:  rowset cache: let a segment of \d+ bytes go$/m, 'and segments');
};

unlike(join('', @log), qr/\Q$key\E/, 'no key is in the log');

done_testing();
