# Parts of figures.pl about the worker: decode, busy, memory.
package Worker;

use strict;
use warnings FATAL => 'all';

use Bench;
use Exporter 'import';
use Figures;
use List::Util qw(max);
use POSIX ();
use Record;
use Time::HiRes qw(time);

our %parts = (decode => \&decode, busy => \&busy, memory => \&memory);
our @EXPORT_OK = qw(watched);

my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());

sub slurp
{
	my ($name) = @_;
	open(my $file, '<', $name) or return '';
	local $/ = undef;
	return <$file> // '';
}

# Seconds of CPU that the process has used.
sub cpu_seconds
{
	my ($pid) = @_;
	my @fields = split ' ', slurp("/proc/$pid/stat") =~ s/.*\) //sr;    # from the third on: utime and stime are 14 and 15
	return ($fields[11] + $fields[12]) / $ticks;
}

# Seconds that it was ready to run and had to wait for a CPU, as others used it.
sub queued_seconds { my ($pid) = @_; return (split ' ', slurp("/proc/$pid/schedstat"))[1] / 1e9; }

sub private_memory
{
	my ($pid) = @_;
	return slurp("/proc/$pid/status") =~ /^RssAnon:\s+(\d+)/m ? $1 : 0;
}

# Runs a statement: its seconds, the worker's seconds of CPU and of waiting for one, and its RssAnon in kB, at the highest and
# after.
sub watched
{
	my ($sql) = @_;
	my $pid = worker();
	my ($begin, $cpu, $queued, $most) = (time, cpu_seconds($pid), queued_seconds($pid), 0);
	session()->start($sql);
	$most = max($most, private_memory($pid)) until session()->is_finished(0.02);
	my $seconds = time - $begin;
	($cpu, $queued) = (cpu_seconds($pid) - $cpu, queued_seconds($pid) - $queued);
	my $output = session()->finish;
	die "$sql: $output" if $output =~ /ERROR/;
	return { seconds => $seconds, cpu => $cpu, queued => $queued, most => $most, after => private_memory($pid) };
}

# ------- decoding -------

sub decode
{
	for my $shape (qw(v4 flat))
	{
		my $owners = full_or_quick(60_000, 15_000) / ($shape eq 'v4' ? 2 : 1);
		my $file = "$ENV{HOME}/$shape.json";
		system("python3 test/clari_sim.py file --period 2026_Q1 --owners $owners --shape $shape >$file") == 0 or die 'clari_sim.py';
		my $output = qx{$ENV{CLARI_WORK}/json_decode $file};
		my ($size, @rates) = $output =~ /([\d.]+) MB/g or die 'json_decode';
		my ($ratio) = $output =~ /, ([\d.]+) x/;
		record("$shape, a file of $size MB: bare json-c, each item given whole", undef, $rates[0], 'MB/s');
		record("$shape: bare json-c, each item read out", undef, $rates[1], 'MB/s');
		record("$shape: clari_fdw's decoder, with framing and checks", undef, $rates[2], 'MB/s');
		record("$shape: against bare json-c, read out", undef, $ratio, 'x', '>= 2');
		unlink $file;
	}
	return;
}

# ------- nothing waits -------

# Eight exports that the simulator has at hand (it keeps eight files), by one worker.  They are large, since the quarter of a
# second until a job is polled first is part of the time.
sub busy
{
	my $entries = full_or_quick(250_000, 20_000);
	import_forecast('busy', '2025_Q1..2026_Q4', owners => $entries / 2);
	set_workers(1);
	query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '8')");
	query('SELECT count(*) FROM busy.entries');
	my (@busy, @cpu, @seconds, @rates);
	for (1 .. full_or_quick(7, 2))
	{
		query('SELECT clari_invalidate(); SELECT clari_stats_reset()');
		my $took = watched('SELECT count(*) FROM busy.entries');
		push @seconds, $took->{seconds};
		push @cpu, 100 * $took->{cpu} / $took->{seconds};
		push @busy, 100 * ($took->{cpu} + $took->{queued}) / $took->{seconds};
		push @rates, query('SELECT bytes FROM clari_stats') / 1e6 / $took->{seconds};
	}
	my $rows = query('SELECT count(*) FROM busy.entries');
	die "$rows rows" if $rows != 8 * $entries;
	record("8 cold periods of $entries entries, instant jobs, one worker", undef, median(@seconds), 's');
	record('the same: entries a second', undef, 8 * $entries / median(@seconds), '');
	record('the same: of JSON, from the request to the rows', undef, median(@rates), 'MB/s');
	record('the worker meanwhile: on a CPU', undef, median(@cpu), '%');
	record('the worker meanwhile: on a CPU, or ready and waiting for one', undef, median(@busy), '%', '>= 90');
	set_workers(2);
	query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
	return;
}

# ------- memory -------

sub memory
{
	my $large = full_or_quick(1_000_000, 100_000);
	my %rates;
	query(q{SELECT count(*) FROM clari.time_periods WHERE time_period = '2026_Q1'});    # the calendar, which CSV needs
	for my $shape (qw(v4 flat csv))
	{
		set_workers(1);
		# v4: an owner has an entry in each of two fields, but one of twenty has no quota; CSV: five lines and one.
		my $entries_each = { v4 => 1.95, flat => 1, csv => 5.95 }->{$shape};
		my %owners = ('2026_Q2' => int(10_000 / $entries_each), '2026_Q3' => int($large / $entries_each) + 10);
		control('set', { settings => { shape => $shape } });
		control('set', { forecast => 'net_arr', period => $_, settings => { owners => $owners{$_} } }) for keys %owners;
		my $export = sub { return watched("SELECT clari_refresh('clari.entries', '{$_[0]}')") };
		query("SELECT clari_refresh('clari.entries', '{2026_Q2}')");
		my $small = $export->('2026_Q2')->{after};
		my $first = $export->('2026_Q3');
		my $second = $export->('2026_Q3');
		my $most = max($first->{most}, $second->{most});
		my ($entries, $bytes) = split /\|/, query("SELECT rows, bytes FROM clari_cache WHERE time_period = '2026_Q3' AND forecast = 'net_arr'");
		$rates{$shape} = $large / $second->{cpu};
		$entries = "$large lines, which are $entries" if $shape eq 'csv';
		record("$shape: the worker's RssAnon during an export of $entries entries", undef, $most / 1024, 'MB');
		record("$shape: more than after one of 10,000", undef, ($most - $small) / 1024, 'MB', '< 64');
		record("$shape: still held afterwards", undef, ($second->{after} - $small) / 1024, 'MB');
		record("$shape: that export, the simulator rendering the file", undef, $first->{seconds}, 's');
		record("$shape: that export, the simulator sending a file", undef, $second->{seconds}, 's');
		record("$shape: its cached rowset", undef, $bytes / 1048576, 'MB');
	}
	record("csv: lines per second of the worker's CPU, against flat's entries", undef, $rates{csv} / $rates{flat}, 'x', '>= 0.8');
	set_workers(2);
	return;
}

1;
