# What the TAP tests share: the simulator, a cluster with the extension, and waiting for conditions.
package ClariTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use FindBin;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(start_sim sim_set sim_fault sim_release sim_reset sim_seen sim_expected
  start_node create_server import_tables wait_until query_error);

my $simulator = "$FindBin::RealBin/../clari_sim.py";
my ($sim, $sim_port);
my $http = HTTP::Tiny->new(timeout => 120);

# Starts the simulator with settings (see clari_sim.py); it goes when the test does.
sub start_sim
{
	my (%settings) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	open(my $config, '>', "$dir/sim.json") or die $!;
	print $config encode_json({ settings => \%settings });
	close $config;
	$sim = IPC::Run::start(
		[ '/usr/bin/python3', $simulator, '--config', "$dir/sim.json", '--port-file', "$dir/port", '--exit-with-parent' ],
		'<', \undef, '>', "$dir/sim.out", '2>', "$dir/sim.err");
	wait_until('the simulator listens', sub { -s "$dir/port" });
	$sim_port = slurp_file("$dir/port");
	chomp $sim_port;
	return $sim_port;
}

sub control
{
	my ($path, $body) = @_;
	my $response = $http->post("http://127.0.0.1:$sim_port/_control/$path",
		{ content => encode_json($body), headers => { 'content-type' => 'application/json' } });
	die "_control/$path: $response->{content}" unless $response->{success};
	return decode_json($response->{content});
}

# Settings for everything, or for a forecast or period: sim_set({owners => 7}, period => '2026_Q1').
sub sim_set { my ($settings, %scope) = @_; return control('set', { %scope, settings => $settings }); }
# One fault: sim_fault({status => 503}, step => 'results', times => 1).
sub sim_fault { my ($fault, %where) = @_; return control('fault', { %where, fault => $fault }); }
# Finishes held jobs.
sub sim_release { my (%scope) = @_; return control('release', \%scope); }
# Forgets counters, jobs and faults.
sub sim_reset { return control('reset', {}); }

# One value of what the simulator saw: sim_seen('total.post'), sim_seen('periods.2026_Q1.post').
sub sim_seen
{
	my ($value) = @_;
	my $response = $http->get("http://127.0.0.1:$sim_port/_control/seen?get=$value");
	die "seen $value: $response->{content}" unless $response->{success};
	my $text = $response->{content};
	chomp $text;
	return $text;
}

# The rows that a table must show, as CSV without header: sim_expected('period=2026_Q1&object=entries&order_by=…').
sub sim_expected
{
	my ($query) = @_;
	my $response = $http->get("http://127.0.0.1:$sim_port/_control/expected?no_header=1&$query");
	die "expected $query: $response->{content}" unless $response->{success};
	return $response->{content};
}

END { local $?; $sim->kill_kill if defined $sim; }

# A running cluster with the extension in database postgres; extra lines of postgresql.conf.
sub start_node
{
	my ($name, @config) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', join("\n", 'max_worker_processes = 16', @config, ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION clari_fdw');
	return $node;
}

# Server clari on the simulator, and the current user's mapping.
sub create_server
{
	my ($node, %options) = @_;
	my $database = delete $options{database} // 'postgres';
	my %all = (base_url => "http://127.0.0.1:$sim_port/v4", poll_interval => '20ms', %options);
	my $list = join(', ', map { "$_ '$all{$_}'" } sort keys %all);
	$node->safe_psql($database, qq{
		CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw OPTIONS ($list);
		CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key 'test-key');});
	return;
}

# The six tables of forecast net_arr in schema clari.
sub import_tables
{
	my ($node, %options) = @_;
	my $database = delete $options{database} // 'postgres';
	my $schema = delete $options{schema} // 'clari';
	my %all = (periods => '2026_Q1..2026_Q4', %options);
	my $list = join(', ', map { "$_ '$all{$_}'" } sort keys %all);
	$node->safe_psql($database, qq{
		CREATE SCHEMA IF NOT EXISTS $schema;
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO $schema OPTIONS ($list);});
	return;
}

# Waits until the condition holds, at most a minute.
sub wait_until
{
	my ($what, $condition) = @_;
	my $deadline = time + 60;
	until ($condition->())
	{
		die "timed out waiting until $what" if time > $deadline;
		sleep 0.02;
	}
	return;
}

# Runs a query that must fail; returns (SQLSTATE, all that psql printed).
sub query_error
{
	my ($node, $query, $database) = @_;
	my ($code, $out, $err) = $node->psql($database // 'postgres', "\\set VERBOSITY verbose\n$query");
	my ($sqlstate) = $err =~ /ERROR:  ([0-9A-Z]{5}):/;
	return ($sqlstate // '', $err);
}

1;
