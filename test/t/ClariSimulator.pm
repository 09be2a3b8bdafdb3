# The simulator of Clari, test/clari_sim.py: its settings and faults, and what it has seen.
package ClariSimulator;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use ClariProcesses;
use ClariSession;
use FindBin;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(start_sim sim_started sim_url sim_other_ports sim_set sim_fault sim_storm sim_last sim_release sim_reset sim_seen
  sim_posts sim_requests sim_expected foreign_post);

my $simulator = "$FindBin::RealBin/../clari_sim.py";
my ($sim, $sim_dir, $sim_port, @other_ports, %started);
my $http = HTTP::Tiny->new(timeout => $ClariSession::patience);

# Starts the simulator with settings (see clari_sim.py); it goes when the test does.  also => [[host, certificate, key],
# …]: it listens there, too, on sim_other_ports.
sub start_sim
{
	my (%settings) = @_;
	my @also = map { ('--also', @$_) } @{ delete $settings{also} // [] };
	%started = %settings;
	my $dir = $sim_dir = PostgreSQL::Test::Utils::tempdir();
	# Who runs installcheck where nothing but a server and a compiler are need not have it.
	plan skip_all => 'python3, in which the simulator is written, is not there' unless grep { -x "$_/python3" } split /:/, $ENV{PATH};
	open(my $config, '>', "$dir/sim.json") or die $!;
	print $config encode_json({ settings => \%settings });
	close $config;
	$sim = IPC::Run::start(
		[ 'python3', $simulator, '--config', "$dir/sim.json", '--port-file', "$dir/port", '--exit-with-parent', @also ],
		'<', \undef, '>', "$dir/sim.out", '2>', "$dir/sim.err");
	wait_until('the simulator listens', sub { -s "$dir/port" });
	($sim_port, @other_ports) = split /\n/, slurp_file("$dir/port");
	return $sim_port;
}

# The settings that it was started with.
sub sim_started { return %started; }

# What it is as a server's base_url.
sub sim_url { return "http://127.0.0.1:$sim_port/v4"; }

sub sim_other_ports { return @other_ports; }

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
# Faults at random from now on: sim_storm(seed => 1, share => 0.3, faults => [{step => …, fault => …}, …]).
sub sim_storm { my (%storm) = @_; return control('storm', \%storm); }
# The last requests, as it noted them.
sub sim_last { return @{ decode_json(sim_seen('last&last=2000')) }; }
# Finishes held jobs, and lets answers go that are held by now: sim_seen('held_answers').
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

# How often it was asked to export, and for anything.
sub sim_posts { return sim_seen('total.post'); }
sub sim_requests { my $sum = 0; $sum += $_ for values %{ decode_json(sim_seen('total')) }; return $sum; }

# A job that is not ours: a POST past the server.
sub foreign_post
{
	my ($key, $period, %body) = @_;
	my $forecast = delete $body{forecast} // 'net_arr';
	my $response = $http->post(sim_url() . "/export/forecast/$forecast",
		{ content => encode_json({ timePeriod => $period, %body }), headers => { apikey => $key, 'content-type' => 'application/json' } });
	die "foreign POST: $response->{content}" unless $response->{success};
	return;
}

# The rows that a table must show, as CSV without header: sim_expected('period=2026_Q1&object=entries&order_by=…').
sub sim_expected
{
	my ($query) = @_;
	my $response = $http->get("http://127.0.0.1:$sim_port/_control/expected?no_header=1&$query");
	die "expected $query: $response->{content}" unless $response->{success};
	return $response->{content};
}

# A test whose simulator has fallen over a request has shown nothing.
END
{
	my $status = $?;
	if (defined $sim)
	{
		$sim->kill_kill;
		my $errors = slurp_file("$sim_dir/sim.err");
		diag("the simulator has an error:\n$errors") if $errors =~ /Traceback/;
		$status ||= 1 if $errors =~ /Traceback/;
	}
	$? = $status;
}

1;
