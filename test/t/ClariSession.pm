# A psql that stays open, for sessions that wait while the test does something else.
package ClariSession;

use strict;
use warnings FATAL => 'all';

use IO::Select;
use IPC::Open3;
use Time::HiRes qw(time);

# Seconds after which what is waited for is taken to hang, in all tests: PostgreSQL's own setting for that.
our $patience = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 180;

# A session on the node; its backend's process id is {pid}.
sub new
{
	my ($class, $node, %options) = @_;
	my $database = $options{database} // 'postgres';
	my $user = defined $options{user} ? " user=$options{user}" : '';
	my $self = bless { output => '', marks => 0, ended => 0 }, $class;
	my $connection = 'host=' . $node->host . ' port=' . $node->port . " dbname=$database$user";
	$self->{psql} = open3($self->{in}, $self->{out}, undef, 'psql', '-XAtq', '-v', 'VERBOSITY=verbose', '-d', $connection);
	$self->{select} = IO::Select->new($self->{out});
	$self->{pid} = $self->query('SELECT pg_backend_pid()');
	die "no session: $self->{pid}" unless $self->{pid} =~ /^\d+$/;
	return $self;
}

# Sends statements and returns at once; finish() waits for them.
sub start
{
	my ($self, $sql) = @_;
	my $mark = ++$self->{marks};
	local $SIG{PIPE} = 'IGNORE';
	print { $self->{in} } "$sql\n;\\echo <<$mark>>\n";
	$self->{in}->flush;
	return $self;
}

# Whether the statements that were started are through, within so many seconds.
sub is_finished
{
	my ($self, $seconds) = @_;
	my $deadline = time + ($seconds // 0);
	until ($self->{ended} || $self->{output} =~ /^<<$self->{marks}>>$/m)
	{
		my $left = $deadline - time;
		if ($self->{select}->can_read($left > 0 ? $left : 0))
		{
			$self->{ended} = 1 unless sysread($self->{out}, $self->{output}, 65536, length $self->{output});
		}
		elsif ($left <= 0) # or else a child's signal has ended the wait, which is handled from 17 on
		{
			last;
		}
	}
	return $self->{ended} || $self->{output} =~ /^<<$self->{marks}>>$/m;
}

# What they have printed until now.
sub so_far
{
	my ($self) = @_;
	$self->is_finished(0);
	return $self->{output};
}

# What they printed, messages included; dies if they hang.
sub finish
{
	my ($self) = @_;
	die "timed out; so far: $self->{output}" unless $self->is_finished($patience);
	my $output = $self->{output};
	$self->{output} = '';
	$output =~ s/^<<\d+>>\n?//mg;
	chomp $output;
	return $output;
}

sub query
{
	my ($self, $sql) = @_;
	return $self->start($sql)->finish;
}

# Cancels what was started, by way of another session; returns what it printed.
sub cancel
{
	my ($self, $by) = @_;
	# What comes before the statement does is not heard.
	1 until $self->is_finished(0) || $by->query("SELECT state FROM pg_stat_activity WHERE pid = $self->{pid}") eq 'active';
	$by->query("SELECT pg_cancel_backend($self->{pid})");
	return $self->finish;
}

# Ends the session by hanging up.
sub quit
{
	my ($self) = @_;
	return unless $self->{psql};
	close $self->{in};
	close $self->{out};
	waitpid($self->{psql}, 0);
	delete $self->{psql};
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $!, $@);
	if ($self->{psql})
	{
		kill 'TERM', $self->{psql};
		$self->quit;
	}
	return;
}

1;
