# What the TAP tests share: the simulator, a cluster with the extension, and waiting for conditions.
package ClariTest;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use ClariSession;
use FindBin;
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(start_sim sim_set sim_fault sim_release sim_reset sim_seen sim_expected
  start_node create_server import_tables table_csv same_csv is_as_generated wait_until query_error
  sim_other_ports sim_storm sim_last private_memory debug_parallel
  sim_posts sim_requests foreign_post forget_all digest_of last_line clock_environment set_clock
  occupy_places children process_is_gone terminate_workers kill_postmaster kill_machine kill_child cache_files);

my $simulator = "$FindBin::RealBin/../clari_sim.py";
my ($sim, $sim_dir, $sim_port, @other_ports, $clock);
my $http = HTTP::Tiny->new(timeout => $ClariSession::patience);

# Starts the simulator with settings (see clari_sim.py); it goes when the test does.  also => [[host, certificate, key],
# …]: it listens there, too, on sim_other_ports.
sub start_sim
{
	my (%settings) = @_;
	my @also = map { ('--also', @$_) } @{ delete $settings{also} // [] };
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
	my $response = $http->post("http://127.0.0.1:$sim_port/v4/export/forecast/$forecast",
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

# A running cluster with the extension in database postgres; extra lines of postgresql.conf.
sub start_node
{
	my ($name, @config) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	# Not the caller's locale: what a test expects of characters must not depend on it.
	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
	# A statement that hangs is a failure, not a hung suite.
	$node->append_conf('postgresql.conf',
		join("\n", 'max_worker_processes = 16', "statement_timeout = '${ClariSession::patience}s'", @config, ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION clari_fdw');
	return $node;
}

# The name of the setting that asks for parallel plans everywhere.
sub debug_parallel { my ($node) = @_; return $node->pg_version->major < 16 ? 'force_parallel_mode' : 'debug_parallel_query'; }

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

# The columns of each object that the simulator's `expected` shows: all but exported_at.
our %columns = (
	forecasts => 'owner_name owner_email forecast_amount quota_amount crm_total crm_closed adjustment_amount '
	  . 'time_period forecast_name',
	entries => 'time_period forecast_name user_id owner_name owner_email crm_user_id role parent_role field_id '
	  . 'field_name field_type time_frame_id week_start week_end forecast_value quota_value adjustment_value '
	  . 'crm_total crm_closed is_updated updated_by updated_on adjusted_by adjusted_on currency',
	users => 'user_id name email scope_id crm_id hierarchy_id hierarchy_name parent_hierarchy_id '
	  . 'parent_hierarchy_name time_period forecast_name',
	fields => 'field_id field_name field_type time_period forecast_name',
	time_periods => 'time_period_id type label year start_date end_date crm_id time_period forecast_name',
	time_frames => 'time_frame_id start_date end_date time_period forecast_name');

# Rows of a table as CSV in UTF-8, in a total order: by every column, as bytes.
sub table_csv
{
	my ($node, $table, $columns, $where, $database) = @_;
	my @columns = split ' ', $columns;
	my $order = join(', ', map { qq{($_)::text COLLATE "C"} } @columns);
	my $list = join(', ', @columns);
	return $node->safe_psql($database // 'postgres', qq{SET client_encoding = 'UTF8'; SET TimeZone = 'UTC';
		COPY (SELECT $list FROM $table WHERE $where ORDER BY $order) TO STDOUT (FORMAT csv)});
}

# Passes when both texts are the same; shows the first lines that are not.
sub same_csv
{
	my ($got, $expected, $name) = @_;
	chomp($got, $expected);
	return pass($name) if $got eq $expected;
	fail($name);
	my @got = split /\n/, $got;
	my @expected = split /\n/, $expected;
	my $at = 0;
	$at++ while $at < @got && $at < @expected && $got[$at] eq $expected[$at];
	diag(sprintf("%d lines, expected %d; line %d:\n     got: %s\nexpected: %s",
			scalar @got, scalar @expected, $at + 1, $got[$at] // '(none)', $expected[$at] // '(none)'));
	return 0;
}

# Passes when the period's rows in the table are the simulator's, to the last digit; expected: more of its query.
sub is_as_generated
{
	my ($node, $table, $object, $period, %how) = @_;
	my $order = join(',', split(' ', $columns{$object}));
	my $expected = sim_expected("object=$object&period=$period&order_by=$order&" . ($how{expected} // ''));
	my $got = table_csv($node, $table, $columns{$object}, "time_period = '$period'", $how{database});
	return same_csv($got, $expected, $how{name} // "$table shows $period as generated");
}

# Waits until the condition holds; dies if that hangs.
sub wait_until
{
	my ($what, $condition) = @_;
	my $deadline = time + $ClariSession::patience;
	until ($condition->())
	{
		die "timed out waiting until $what" if time > $deadline;
		sleep 0.02;
	}
	return;
}

# What a server has to be started with for its time of day to be off as set_clock() says; nothing without a C compiler.
sub clock_environment
{
	my $dir = PostgreSQL::Test::Utils::tempdir();
	return unless system("cc -shared -fPIC -o $dir/clock.so $FindBin::RealBin/clock.c -ldl") == 0;
	$clock = "$dir/clock";
	append_to_file($clock, pack('q', 0));
	return (LD_PRELOAD => "$dir/clock.so", CLARI_CLOCK => $clock);
}

# By so many seconds, at once; in place, since the file is mapped.
sub set_clock
{
	my ($seconds) = @_;
	open(my $file, '+<', $clock) or die $!;
	syswrite($file, pack('q', $seconds)) == 8 or die $!;
	close $file;
	return;
}

# Everything forgotten on both sides, and nothing in flight; then the settings.
sub forget_all
{
	my ($node, %settings) = @_;
	wait_until('nothing is in flight', sub {
		sim_release();
		$node->safe_psql('postgres', 'SELECT count(*) FROM clari_exports') eq '0';
	});
	$node->safe_psql('postgres', 'SELECT clari_invalidate()');
	sim_reset();
	sim_set(\%settings);
	return;
}

# So many exports of another forecast are under way, and no more may be: what is queued next stays queued until they are
# released.  Which is before the POST, so that two calls of clari_sync can share it.
sub occupy_places
{
	my ($node, $places) = @_;
	my @quarters = map { '2026_Q' . (5 - $_) } 1 .. $places;
	my $quarters = join(',', @quarters);
	sim_set({ job_seconds => 'hold' }, forecast => 'bookings', period => $_) for @quarters;
	$node->safe_psql('postgres', qq{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '$places');
		CREATE SCHEMA IF NOT EXISTS occupied;
		DROP FOREIGN TABLE IF EXISTS occupied.forecasts;
		IMPORT FOREIGN SCHEMA bookings LIMIT TO (forecasts) FROM SERVER clari INTO occupied OPTIONS (periods '2026_Q1..2026_Q4');
		SELECT clari_prefetch('occupied.forecasts', '{$quarters}')});
	wait_until('the places are occupied', sub { sim_seen('forecasts.bookings.post') == $places });
	return;
}

# A query of one line that tells any two versions of the rows apart.
sub digest_of
{
	my ($table, $where) = @_;
	return qq{SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, ';' ORDER BY t::text COLLATE "C")), '')
		FROM $table t WHERE } . ($where // 'true');
}

# Of what psql printed: the answer behind the messages.
sub last_line { return $_[0] =~ /([^\n]*)\z/ ? $1 : ''; }

# The server's processes by title.
sub children
{
	my ($node, $title) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @children;
	for my $dir (glob '/proc/[0-9]*')
	{
		open(my $stat, '<', "$dir/stat") or next;
		next unless (<$stat> // '') =~ /\) \S $postmaster /;
		open(my $line, '<', "$dir/cmdline") or next;
		push @children, $dir =~ s/.*\///r if (<$line> // '') =~ $title;
	}
	return @children;
}

# A zombie is gone, too.
sub process_is_gone
{
	my ($pid) = @_;
	open(my $stat, '<', "/proc/$pid/stat") or return 1;
	my $line = <$stat> // '';
	return $line eq '' || $line =~ /\) Z /;
}

# The private memory of processes in kB.
sub private_memory
{
	my $sum = 0;
	for my $pid (@_)
	{
		open(my $status, '<', "/proc/$pid/status") or next;
		my ($private) = join('', <$status>) =~ /^RssAnon:\s+(\d+)/m;
		$sum += $private // 0;
	}
	return $sum;
}

# Workers are told to stop, and have.
sub terminate_workers
{
	my ($node) = @_;
	my @workers = children($node, qr/clari_fdw worker/);
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($_)") for @workers;
	wait_until('the workers are gone', sub { !grep { !process_is_gone($_) } @workers });
	return;
}

# kill -9 of the postmaster, or of all processes at once as when the machine fails; then the server is started.
sub kill_postmaster { return kill_server($_[0]); }
sub kill_machine { return kill_server($_[0], 'all'); }

sub kill_server
{
	my ($node, $all_at_once) = @_;
	my $pid_file = $node->data_dir . '/postmaster.pid';
	my ($postmaster, undef, undef, $port, $directory) = split /\n/, slurp_file($pid_file);
	my @all = ($postmaster, children($node, qr/./));
	kill 'STOP', @all if $all_at_once;    # so that none sees another go
	kill 'KILL', $all_at_once ? @all : $postmaster;
	wait_until('all of its processes are gone', sub { !grep { !process_is_gone($_) } @all });
	# A zombie that nobody has waited for yet would keep the next from starting.
	unlink $pid_file, "$directory/.s.PGSQL.$port.lock" if kill 0, $postmaster;
	$node->_update_pid(-1);
	$node->start;
	return;
}

# kill -9 of one of its processes; then the server has restarted itself.
sub kill_child
{
	my ($node, $pid) = @_;
	my @all = ($pid, children($node, qr/checkpointer|clari_fdw worker/));
	kill 'KILL', $pid;
	wait_until('the others are gone', sub { !grep { !process_is_gone($_) } @all });
	# Not by psql's standard input, which is a broken pipe where there is no connection yet.
	wait_until('the server is up again', sub { system('pg_isready', '-q', '-h', $node->host, '-p', $node->port) == 0 });
	return;
}

# The files in a node's cache directory whose names match.
sub cache_files
{
	my ($node, $pattern, $directory) = @_;
	$directory //= $node->data_dir . '/pgsql_tmp_clari_fdw';
	opendir(my $handle, $directory) or return;
	return map { "$directory/$_" } sort grep { !/^\.\.?$/ && $_ =~ $pattern } readdir $handle;
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
