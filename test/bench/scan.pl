# Measures and prints: see scan.sh.  Usage: scan.pl SIMULATOR_PORT ROWS [PART…], with PGHOST and PGPORT of a server.
use strict;
use warnings FATAL => 'all';

use Figures;
use HTTP::Tiny;
use JSON::PP;
use List::Util qw(max min);
use POSIX ();
use Time::HiRes qw(sleep time);

my ($port, $rows, @parts) = @ARGV;
my $rounds = 9;
my $few = int($rows / 20) || 1;    # owners, where there are not as many as rows
my $twenty = '2022_Q1..2026_Q4';
my $missed = 0;
my $session = set_up($port);

sub query { my ($sql) = @_; return patiently($session, $sql); }

# ------- lines -------

# A figure with its promise, '>= 2.0' or '<= 1.2', and more to say about it.
sub promised
{
	my ($what, $figure, $format, $promise, $more) = @_;
	my ($relation, $bound) = split ' ', $promise;
	my $kept = $relation eq '>=' ? $figure >= $bound : $figure <= $bound;
	$missed++ unless $kept;
	$promise = sprintf('%-8s %s', $promise, $kept ? 'ok' : 'MISSED');
	line($what, sprintf($format, $figure), $more ? sprintf('%-17s %s', $promise, $more) : $promise);
	return;
}

sub counted { my ($number) = @_; 1 while $number =~ s/^(\d+)(\d{3})/$1,$2/; return $number; }

# ------- tables -------

sub import_forecast { make_forecast([$session], @_); return; }

# A heap table with the rows of the foreign table, in shared_buffers; its name.
sub fill_heap
{
	my ($table) = @_;
	my $heap = "heap_" . ($table =~ s/.*\.//r);
	query("DROP TABLE IF EXISTS $heap; CREATE TABLE $heap AS SELECT * FROM $table");
	query("VACUUM ANALYZE $heap");
	query("SELECT pg_prewarm('$heap')");
	my $plan = query("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) SELECT count(*) FROM $heap");
	die "$heap is not cached: $plan" if $plan =~ s/Planning:.*//sr =~ / read=/;
	return $heap;
}

# Heads the lines of a table.
sub describe
{
	my ($heap, $table) = @_;
	my ($rows, $owners) = map { counted(query("SELECT count($_) FROM $heap")) } '*', 'DISTINCT owner_email';
	line("$table: $rows rows, $owners e-mails", query("SELECT pg_size_pretty(pg_table_size('$heap'))"), 'as a heap');
	return;
}

# Sets it, and what does not fit into it leaves the shared memory for its file.
sub set_shared_cache
{
	my ($size) = @_;
	query("ALTER SYSTEM SET clari_fdw.shared_cache_size = '$size'");
	query('SELECT pg_reload_conf()');
	sleep 0.02 until query('SHOW clari_fdw.shared_cache_size') eq $size;
	query('SELECT count(*) FROM clari_cache');
	return;
}

# Whether every rowset of the forecast is in shared memory.
sub in_memory
{
	my ($forecast) = @_;
	return query("SELECT bool_and(tier LIKE '%memory%') FROM clari_cache WHERE forecast = '$forecast'") eq 't';
}

# ------- a scan against a heap's -------

sub amount { my ($table) = @_; return $table =~ /entries/ ? 'forecast_value' : 'forecast_amount'; }

# Queries of the promises: [what, how many times as fast as the heap, SQL for sprintf with the table].
sub queries
{
	my ($heap, $faster) = @_;
	my $amount = amount($heap);
	my $email = query("SELECT owner_email FROM (SELECT owner_email, row_number() OVER () AS n FROM $heap) q
		WHERE owner_email IS NOT NULL AND n > (SELECT count(*) / 2 FROM $heap) LIMIT 1");
	my $group = "SELECT count(*), max(sum) FROM (SELECT owner_email, sum($amount) FROM %s GROUP BY owner_email) q";
	return (
		[ "count(*), sum($amount)", 2.0, "SELECT count(*), sum($amount) FROM %s" ],
		[ 'COPY (SELECT *)', 1.05, "COPY (SELECT * FROM %s) TO '/dev/null'" ],
		[ 'WHERE owner_email =', $faster, "SELECT * FROM %s WHERE owner_email = '$email'" ],
		[ 'GROUP BY owner_email', 1.2, $group ],
		[ 'GROUP BY owner_email, after ANALYZE', 1.2, $group, 'ANALYZE %s' ]);
}

# Heap and foreign table in so many turns: how many times as fast as the heap the latter is, and both medians in ms.
sub compared
{
	my ($turns, $heap, $table, $query) = @_;
	my ($expected, $got) = map { join "\n", sort split /\n/, query(sprintf($query, $_)) } $heap, $table;
	die "$query: $table gives $got, the heap $expected" if $got ne $expected;
	my %times = interleaved($session, $turns, map { $_ => [ '', sprintf($query, $_) ] } $heap, $table);
	my ($slow, $fast) = map { 1000 * median(@{ $times{$_} }) } $heap, $table;
	return ($slow / $fast, $slow, $fast);
}

# How much of a COPY is the scan, and what one that took no time would reach: the rest is PostgreSQL's output of the values,
# which a heap's rows take as well.
sub bound_copy
{
	my ($table, $faster) = @_;
	my %times = interleaved($session, $rounds, copy => [ '', "COPY (SELECT * FROM $table) TO '/dev/null'" ],
		scan => [ '', "EXPLAIN (ANALYZE, TIMING OFF) SELECT * FROM $table" ]);
	my ($copy, $scan) = map { 1000 * median(@{ $times{$_} }) } qw(copy scan);
	promised('    of which the scan is', 100 * $scan / $copy, '%.0f %%', '<= 20',
		sprintf('%.1f ms of %.1f; one that took no time: %.2f x', $scan, $copy, $faster / (1 - $scan / $copy)));
	return;
}

# The queries from the files, as promised, beside what they took from shared memory.
sub compare_table
{
	my ($heap, $table, $queries, @from_memory) = @_;
	describe($heap, $table);
	for my $query (@$queries)
	{
		my ($what, $promise, $sql, $before) = @$query;
		next if $before && query(sprintf($before, $table)) =~ /WARNING/;    # it could not be done
		my ($faster, $slow, $fast) = compared($rounds, $heap, $table, $sql);
		my $more = sprintf('%.1f ms, the heap %.1f', $fast, $slow);
		my $in_memory = shift @from_memory;
		$more .= sprintf('; from shared memory %.2f x', $in_memory) if $in_memory;
		promised("  $what", $faster, '%.2f x', ">= $promise", $more);
		bound_copy($table, $faster) if $what =~ /^COPY/;
	}
	return;
}

# Tables of one forecast, with the promise of a filter by owner: while its rowsets are in shared memory, and without that.
sub compare
{
	my ($forecast, $faster, @objects) = @_;
	my @compared;
	set_shared_cache('64GB');    # so that an eighth of it holds each
	for my $table (map { "$forecast.$_" } @objects)
	{
		query("SELECT count(*) FROM $table");
		my $heap = fill_heap($table);
		my @queries = queries($heap, $faster);
		my @from_memory = in_memory($forecast) ? map { (compared(5, $heap, $table, $_->[2]))[0] } @queries[ 0 .. 2 ] : ();
		push @compared, [ $heap, $table, \@queries, @from_memory ];
	}
	set_shared_cache('1MB');
	set_shared_cache('32MB');    # the default
	die "$forecast is not read from its files" if in_memory($forecast);
	compare_table(@$_) for @compared;
	query('DROP TABLE ' . join(', ', map { $_->[0] } @compared) . '; SELECT clari_invalidate()');
	return;
}

sub v4
{
	# Twenty entries of an owner: two fields in ten weeks.
	import_forecast('v4_few_entries', { owners => $few, weeks => 10, missing_quota => 0 },
		{ periods => '2026_Q3', include_historical => 'true' });
	compare('v4_few_entries', 10, 'entries');
	import_forecast('v4_few', { owners => $few }, { periods => $twenty });
	compare('v4_few', 10, 'forecasts');
	import_forecast('v4_many_entries', { owners => $rows, fields => ['amount'] }, { periods => '2026_Q3' });
	compare('v4_many_entries', 3, 'entries');
	import_forecast('v4_many', { owners => $rows }, { periods => '2026_Q3' });
	compare('v4_many', 3, 'forecasts');
	return;
}

sub flat
{
	import_forecast('flat_few', { shape => 'flat', owners => $few }, { periods => $twenty });
	compare('flat_few', 10, 'entries', 'forecasts');
	import_forecast('flat_many', { shape => 'flat', owners => $rows }, { periods => '2026_Q3' });
	compare('flat_many', 3, 'entries', 'forecasts');
	return;
}

# ------- a warm period by a prepared statement -------

# Runs pgbench, each transaction one of the statements.  Returns what it prints, and whether it succeeded.
sub pgbench
{
	my ($tables, @options) = @_;
	my @files;
	for my $table (@$tables)
	{
		push @files, '-f', "$ENV{HOME}/$table.sql";
		open(my $file, '>', $files[-1]) or die "$files[-1]: $!";
		print $file "SELECT * FROM $table WHERE time_period = :period;\n";
		close $file;
	}
	my $output = do
	{
		open(my $pipe, '-|', 'sh', '-c', 'exec "$@" 2>&1', 'sh', 'pgbench', '-n', '-M', 'prepared', '-D', 'period=2026_Q1',
			@options, @files) or die "pgbench: $!";
		local $/ = undef;
		my $all = <$pipe>;
		close $pipe;
		$all;
	};
	return ($output, $? == 0);
}

# The statement on both tables in turns, in one session: p50 of each in ms, as the client sees it.
sub latencies
{
	my (@tables) = @_;
	my $log = "$ENV{HOME}/latency";
	my ($output, $good) = pgbench(\@tables, '-t', 4000, '-l', "--log-prefix=$log");
	die $output unless $good;
	my @times;
	for my $name (glob "$log.*")
	{
		open(my $file, '<', $name) or die "$name: $!";
		# client, transaction, µs, which of the statements
		while (<$file>) { my (undef, undef, $microseconds, $table) = split; push @{ $times[$table] }, $microseconds / 1000; }
		close $file;
		unlink $name;
	}
	return map { median(@$_) } @times;
}

sub prepared
{
	import_forecast('warm', { owners => 500 }, { periods => '2026_Q1..2026_Q4' });
	query("IMPORT FOREIGN SCHEMA warm FROM SERVER clari INTO warm OPTIONS (periods '2026_Q1', table_prefix 'one_')");
	my $heap;
	for my $table ('warm.one_forecasts', 'warm.forecasts')
	{
		$heap = fill_heap($table);
		describe($heap, $table);
		my ($slow, $fast) = latencies($heap, $table);
		promised('  500 rows by a prepared statement: p50, of the heap\'s', $fast / $slow, '%.2f x', '<= 1.2',
			sprintf('%.3f ms, the heap %.3f', $fast, $slow));
	}
	# In three turns, so that both see the same noise.
	my $seconds = max(1, int(20 * $rows / 1_000_000));
	my $errors = 0;
	my %throughput;
	for my $table (($heap, 'warm.forecasts') x 3)
	{
		my ($output, $good) = pgbench([$table], '-c', 8, '-j', 2, '-T', $seconds);
		my ($speed) = $output =~ /^tps = ([\d.]+)/m or die $output;
		my ($failed) = $output =~ /number of failed transactions: (\d+)/;
		$errors += $failed || !$good;
		print $output if $failed || !$good;
		push @{ $throughput{$table} }, $speed;
	}
	my ($slow, $fast) = map { median(@{ $throughput{$_} }) } $heap, 'warm.forecasts';
	promised('  pgbench, 8 clients, ' . 3 * $seconds . ' s: throughput, of the heap\'s', 100 * $fast / $slow, '%.0f %%', '>= 80',
		sprintf('%.0f a second, the heap %.0f', $fast, $slow));
	promised('  its errors', $errors, '%d', '<= 0');
	query('DROP TABLE heap_forecasts, heap_one_forecasts; SELECT clari_invalidate()');
	return;
}

# ------- parallel workers -------

# How many times as fast two workers make the query, on each table: all four in turns.
sub speed_ups
{
	my ($query, @tables) = @_;
	my %queries;
	for my $workers (0, 2)
	{
		$queries{"$_ $workers"} = [ "SET max_parallel_workers_per_gather = $workers", sprintf($query, $_) ] for @tables;
	}
	my %answers = map { query("$_->[0]; $_->[1]") => 1 } values %queries;
	die "$query: " . join(' or ', keys %answers) if keys %answers > 1;
	my %times = interleaved($session, $rounds, %queries);
	my %median = map { $_ => 1000 * median(@{ $times{$_} }) } keys %times;
	return map { { ratio => $median{"$_ 0"} / $median{"$_ 2"}, serial => $median{"$_ 0"}, parallel => $median{"$_ 2"} } } @tables;
}

sub parallel
{
	import_forecast('parallel', { owners => $rows, fields => ['amount'] }, { periods => '2026_Q1..2026_Q4' });
	for my $table ('parallel.entries', 'parallel.forecasts')
	{
		query("SELECT count(*) FROM $table");
		my $heap = fill_heap($table);
		describe($heap, $table);
		my $query = 'SELECT count(*), sum(' . amount($table) . ') FROM %s';
		my ($slow, $fast) = speed_ups($query, $heap, $table);
		query('SET max_parallel_workers_per_gather = 2');
		my ($workers) = query('EXPLAIN ' . sprintf($query, $table)) =~ /Workers Planned: (\d+)/;
		promised('  speed-up of a sum by 2 workers, of the heap\'s', $fast->{ratio} / $slow->{ratio}, '%.2f x', '>= 0.9',
			sprintf('%.2f x (%.0f to %.0f ms, %s workers planned), the heap %.2f x (%.0f to %.0f)', @$fast{qw(ratio serial parallel)},
				$workers // 'no', @$slow{qw(ratio serial parallel)}));
		query("RESET max_parallel_workers_per_gather; DROP TABLE $heap");
	}
	query('SELECT clari_invalidate()');
	return;
}

# ------- joins with a table of few rows, or of many -------

# How long the planner's choice takes, beside what it could have chosen, and what an array does; each a median in ms.
sub joined
{
	my ($table, $outer) = @_;
	my $join = "SELECT count(*), min(owner_email) FROM team JOIN $table USING (owner_email)";
	my $array = "SELECT count(*), min(owner_email) FROM $table WHERE owner_email = ANY (ARRAY(SELECT owner_email FROM team))";
	my $free = 'RESET enable_nestloop; RESET enable_hashjoin; RESET enable_mergejoin';
	my %ways = (
		chosen => [ $free, $join ],
		hash => [ "$free; SET enable_nestloop = off", $join ],
		lookup => [ "$free; SET enable_hashjoin = off; SET enable_mergejoin = off", $join ],
		array => [ $free, $array ]);
	delete $ways{lookup} if $outer > 1000;    # it would take seconds
	my %answers = map { query("$_->[0]; $_->[1]") => 1 } values %ways;
	die join(' or ', keys %answers) if keys %answers > 1;
	my %times = interleaved($session, $rounds, %ways);
	query($free);
	return map { $_ => 1000 * median(@{ $times{$_} }) } keys %times;
}

sub join_with
{
	my ($table, $outer) = @_;
	query("CREATE TABLE team AS SELECT owner_email FROM (SELECT DISTINCT owner_email FROM $table WHERE owner_email IS NOT NULL) s
		ORDER BY md5(owner_email) LIMIT $outer");
	query('ANALYZE team');
	my %ms = joined($table, $outer);
	my ($best) = sort { $a <=> $b } grep { defined } @ms{qw(hash lookup)};
	my $all = join(', ', map { $ms{$_} ? sprintf('%s %.1f', $_, $ms{$_}) : () } qw(hash lookup array));
	promised("  joined with $outer e-mails: of the best", $ms{chosen} / $best, '%.2f x', '<= 1.1', sprintf('%.1f ms; %s', $ms{chosen}, $all));
	promised('  of = ANY (ARRAY())', $ms{chosen} / $ms{array}, '%.2f x', '<= 2') if $outer == 3;
	query('DROP TABLE team');
	return;
}

sub joins
{
	for my $case ([ 'joins', int($rows / 3), '32MB' ], [ 'joins_memory', int($rows / 30), '64GB' ])
	{
		my ($forecast, $owners, $shared) = @$case;
		set_shared_cache($shared);
		import_forecast($forecast, { owners => $owners }, { periods => '2026_Q3' });
		for my $table ("$forecast.entries", "$forecast.forecasts")
		{
			query("SELECT count(owner_email) FROM $table");
			line("$table: " . counted($owners) . ' owners', in_memory($forecast) ? 'memory' : 'file', '');
			join_with($table, $_) for 3, 30, 300, 30_000;
		}
	}
	query('SELECT clari_invalidate()');
	set_shared_cache('32MB');
	return;
}

# ------- how many rows there are -------

sub counts
{
	import_forecast('counts', { owners => $rows, fields => ['amount'] }, { periods => '2026_Q1..2026_Q4' });
	query('SELECT count(*) FROM counts.entries');
	for my $query ('SELECT count(*) FROM counts.entries', q{SELECT count(*) FROM counts.users WHERE time_period > '2026_Q2'})
	{
		# the same, by reading a row group's column
		my %times = interleaved($session, $rounds, told => [ '', $query ], read => [ '', $query =~ s/count\(\*\)/count(user_id)/r ]);
		my ($told, $read) = map { 1000 * median(@{ $times{$_} }) } qw(told read);
		promised($query, $read / $told, '%.0f x', '>= 10', sprintf('%.2f ms; count(user_id), which reads, %.1f', $told, $read));
	}
	query('SELECT clari_invalidate()');
	return;
}

# ------- cold and large -------

# Seconds that the service takes to hand out the files of the forecast's jobs, one after the other, compressed as the workers get them.
sub served_alone
{
	my ($forecast) = @_;
	my $http = HTTP::Tiny->new(timeout => 600, default_headers => { apikey => 'test-key', 'accept-encoding' => 'gzip' });
	my @jobs = split /\n/, query("SELECT job_id FROM clari_cache WHERE forecast = '$forecast'");
	my $begin = time;
	for my $job (@jobs)
	{
		my $file = $http->get("http://127.0.0.1:$port/v4/export/jobs/$job/results", { data_callback => sub { return } });
		die "$job: $file->{status}" unless $file->{success};
	}
	return time - $begin;
}

# Seconds of CPU that the workers have used.
sub workers_cpu
{
	my $sum = 0;
	for my $pid (split /\n/, query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker'"))
	{
		open(my $file, '<', "/proc/$pid/stat") or die "$pid: $!";
		my @fields = split ' ', <$file> =~ s/.*\) //r;    # from the third on: utime and stime are 14 and 15
		$sum += ($fields[11] + $fields[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
	}
	return $sum;
}

# Four exports of so many entries, which the simulator has at hand, by two workers.  With others on the machine, what the
# workers use of a CPU tells how long they would take alone.
sub cold
{
	my $most = 0.5 + 4 * $rows / 1_000_000;    # half a second is for the calls
	for my $shape (qw(v4 flat))
	{
		my $forecast = "cold_$shape";
		import_forecast($forecast, { shape => $shape, owners => int($rows / ($shape eq 'v4' ? 1.925 : 0.975)) },
			{ periods => '2026_Q1..2026_Q4' });
		my $query = "SELECT count(owner_email) FROM $forecast.entries";
		query($query);
		my $entries = query("SELECT sum(rows) FROM clari_cache WHERE forecast = '$forecast'");
		my $cpu = workers_cpu();
		my %times = interleaved($session, 5, cold => [ 'SELECT clari_invalidate()', $query ]);
		$cpu = (workers_cpu() - $cpu) / 5;
		promised("cold, $shape: 4 exports of " . counted(int($entries / 4)) . ' entries, 2 workers', median(@{ $times{cold} }),
			'%.2f s', "<= $most", sprintf('the workers on a CPU %.2f s; the service alone %.2f', $cpu, served_alone($forecast)));
	}
	query('SELECT clari_invalidate()');
	return;
}

# ------- row estimates -------

sub estimated
{
	my ($query) = @_;
	my ($estimate) = query("EXPLAIN $query") =~ /rows=(\d+)/ or die $query;
	my $truth = query("SELECT count(*) FROM ($query) q");
	return (max($estimate, $truth) / max(1, min($estimate, $truth)), $estimate, $truth);
}

# The worst of the table's estimates by period; and, which nothing is promised of, those that statistics alone can tell.
sub estimate_table
{
	my ($table, $when, $more) = @_;
	my @quals = ('', map { "WHERE time_period $_" } (map { "= '2026_Q$_'" } 1 .. 4), "IN ('2026_Q1', '2026_Q2')",
		"= ANY ('{2026_Q3,2026_Q4}')", ">= '2026_Q3'", "BETWEEN '2026_Q1' AND '2026_Q3'", "LIKE '2026%'",
		"= '2026_Q2' AND owner_email IS NOT NULL");
	my @worst = (0);
	for my $qual (@quals)
	{
		my @estimate = estimated("SELECT * FROM $table $qual");
		@worst = (@estimate, $qual || 'all') if $estimate[0] > $worst[0];
	}
	promised("$table $when: worst of " . @quals . ' row estimates', $worst[0], '%.2f x', '<= 2',
		sprintf('%s for %s: %s%s', counted($worst[1]), counted($worst[2]), $worst[3], $more));
	my $email = query("SELECT max(owner_email) FROM $table WHERE time_period = '2026_Q4'");
	for my $query ("SELECT * FROM $table WHERE owner_email = '$email'", "SELECT owner_email FROM $table GROUP BY owner_email")
	{
		my ($factor, $estimate, $truth) = estimated($query);
		line('  ' . $query =~ s/.*$table //r =~ s/'.*'/…/r, sprintf('%.2f x', $factor), "$estimate for $truth");
	}
	return;
}

sub estimates
{
	for my $shape (qw(v4 flat))
	{
		my $name = "estimates_$shape";
		my %owners = ('2026_Q1' => 500, '2026_Q2' => $few, '2026_Q3' => int($few / 10), '2026_Q4' => 20);
		import_forecast($name, { shape => $shape }, { periods => '2026_Q1..2026_Q4' });
		control('set', { forecast => $name, period => $_, settings => { owners => $owners{$_} } }) for sort keys %owners;
		for my $table ("$name.entries", "$name.forecasts")
		{
			query("SELECT count(*) FROM $table");
			estimate_table($table, 'before ANALYZE', '');
			my $output = query("ANALYZE $table");
			estimate_table($table, 'after ANALYZE', $output =~ /WARNING/ ? '; ANALYZE skipped it' : '');
		}
	}
	query('SELECT clari_invalidate()');
	return;
}

query("LOAD 'clari_fdw'; CREATE EXTENSION pg_prewarm");
control('set', { settings => { job_seconds => 0,
	forecasts => [qw(v4_few_entries v4_many_entries v4_few v4_many flat_few flat_many warm parallel joins joins_memory counts
		cold_v4 cold_flat estimates_v4 estimates_flat)],
	known_periods => [ map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2022 .. 2026 ] } });
run_parts([qw(v4 flat prepared parallel joins counts cold estimates)],
	{ v4 => \&v4, flat => \&flat, prepared => \&prepared, parallel => \&parallel, joins => \&joins, counts => \&counts,
		cold => \&cold, estimates => \&estimates }, @parts);
print $missed ? "$missed MISSED\n" : "all ok\n";
exit($missed ? 1 : 0);
