# Measures and prints: see run.sh.  Usage: figures.pl SIMULATOR_PORT CSV [PART…], with PGHOST and PGPORT of a server.
use strict;
use warnings FATAL => 'all';

use Bench;
use Figures qw(run_parts control);
use Record;

use Cached;
use Faults;
use Growth;
use Interrupts;
use Quota;
use Rivals;
use Worker;

my ($port, $csv, @asked) = @ARGV;
my @order = qw(warm cold ways decode busy restart scan rows periods sessions memory interrupts queue faults quota);
my %parts = (%Cached::parts, %Rivals::parts, %Worker::parts, %Growth::parts, %Interrupts::parts, %Faults::parts, %Quota::parts);
my %begun = map
{
	my $name = $_;
	$name => sub {
		begin_part($name);
		control('set', { settings => { job_seconds => 0, shape => 'v4' } });
		eval { $parts{$name}->(); 1 } or failed($@);
		end_part();
	}
} @order;

open_results($csv, @asked ? @asked : @order);
begin($port);
run_parts(\@order, \%begun, @asked);
exit(close_results() ? 1 : 0);
