# The server's processes, their clock, and waiting for conditions.
package ClariProcesses;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use ClariSession;
use FindBin;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(sleep time);

our @EXPORT = qw(wait_until children process_is_gone private_memory terminate_workers
  kill_postmaster kill_machine kill_child clock_environment set_clock);

my $clock;

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

1;
