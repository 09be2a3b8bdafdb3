# The files of the cache: nobody else's, never wrong; what the disk or /dev/shm does not take costs a warning.
use strict;
use warnings FATAL => 'all';

# The test runs in a namespace that has small file systems of its own at /dev/shm and below it, where the system lets an
# ordinary user make one.  A server that is started in it sees them too.
BEGIN
{
	my $mounts = 'mount -t tmpfs -o size=48M tmpfs /dev/shm && mkdir /dev/shm/disk && mount -t tmpfs -o size=4M tmpfs /dev/shm/disk';
	if (!$^C && !$ENV{CLARI_SMALL_DISKS} && system("unshare -Urm sh -c '$mounts' 2>/dev/null") == 0)
	{
		$ENV{CLARI_SMALL_DISKS} = 1;
		my $me = "unshare -U --map-user=$< --map-group=" . ($( + 0);
		exec('unshare', '-Urm', 'sh', '-c', "$mounts && exec $me \"\$@\"", 'sh', $^X, (map { "-I$_" } @INC), $0);
	}
}

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use File::Path qw(rmtree);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $places = $ENV{CLARI_PLACES} // 960;
my $small_disks = $ENV{CLARI_SMALL_DISKS};
my $no_small_disks = 'no small file system: "unshare -Urm mount -t tmpfs" is not allowed here';
my $small = '/dev/shm/disk';

start_sim(job_seconds => 0, concurrent_limit => 100, monthly_quota => 100_000, owners => 200);    # 105 kB: in memory, of 1 MB
sim_set({ owners => 3000 }, period => '2026_Q2');    # 1.4 MB: not

# A server with tables of twelve quarters.
sub new_node
{
	my ($name, @config) = @_;
	my $new = start_node($name, "clari_fdw.shared_cache_size = '1MB'", @config);
	create_server($new, max_retries => 1);
	import_tables($new, periods => '2024_Q1..2026_Q4');
	return $new;
}

my $node = new_node('files');
my $directory = $node->data_dir . '/pgsql_tmp_clari_fdw';

sub count_of { return "SELECT count(*) FROM clari.forecasts WHERE time_period = '$_[0]'"; }

sub mode_of { return sprintf('%04o', (stat $_[0])[2] & 07777); }

sub is_tidy
{
	my ($node, $where) = @_;
	return is(join(' ', cache_files($node, qr/^pgsql_tmp|\.tmp$/, $where)), '', 'no temporary file is left');
}

subtest 'who may read the files' => sub {
	$node->safe_psql('postgres', count_of('2026_Q1'));
	is(mode_of($directory), '0700', 'the directory is the server\'s alone');
	is(mode_of($_), '0600', 'as is a file') for cache_files($node, qr/./);

	my $shared = PostgreSQL::Test::Cluster->new('shared');
	$shared->init(allows_streaming => 1, extra => [ '--allow-group-access', '--encoding=UTF8', '--locale=C.UTF-8' ]);
	$shared->start;
	$shared->safe_psql('postgres', 'CREATE EXTENSION clari_fdw');
	create_server($shared);
	import_tables($shared);
	$shared->safe_psql('postgres', count_of('2026_Q1'));
	is(mode_of($shared->data_dir . '/pgsql_tmp_clari_fdw'), '0750', 'where the group may read the cluster, it may read the directory');
	my @files = cache_files($shared, qr/./);
	cmp_ok(scalar @files, '>=', 2, 'there are files');
	is(mode_of($_), '0640', 'and a file') for @files;
	$shared->backup('backup');
	ok(!-e $shared->backup_dir . '/backup/pgsql_tmp_clari_fdw', 'a base backup does not carry them');
	ok(-d $shared->backup_dir . '/backup/base', 'which carries the rest');
	$shared->stop;
};

# Fills a file system up to so many bytes; returns the file that does it.
sub fill
{
	my ($where, $left) = @_;
	my $file = "$where/ballast";
	open(my $ballast, '>', $file) or die "$file: $!";
	my $block = "\0" x 16384;
	1 while syswrite($ballast, $block);
	truncate($ballast, (-s $ballast) - $left) or die $!;
	close $ballast;
	return $file;
}

# What must hold while the directory takes no files, and when it does again.
sub check_unwritable
{
	my ($server, $where, $cause, $break, $repair) = @_;
	start_over($server, job_seconds => 0);
	$break->();
	my $session = ClariSession->new($server);
	my $answer = $session->query(count_of('2026_Q1'));
	like($answer, qr/WARNING:  \w{5}: /, 'a query warns');
	like($answer, $cause, 'of the cause');
	is(last_line($answer), 200, 'and has its rows');
	is($session->query("SELECT tier FROM clari_cache"), 'memory', 'which are in memory');
	is_as_generated($server, 'clari.entries', 'entries', '2026_Q1');
	is(sim_posts(), 1, 'one POST');
	is_tidy($server, $where);

	$answer = $session->query("SELECT count(*) FROM clari.forecasts WHERE time_period BETWEEN '2025_Q1' AND '2025_Q4'");
	is(last_line($answer), 800, 'a query over four periods has its rows, too');
	is(scalar(() = $answer =~ /WARNING:/g), 1, 'and warns once');
	like($answer, $cause, 'of the cause');

	my $error = $session->query(count_of('2026_Q2'));
	like($error, qr/ERROR:  \w{5}: .*2026_Q2/s, 'a rowset that is too large for memory is an error');
	like($error, qr/shared_cache_size/, 'that says so');
	like($error, $cause, 'and names the cause');
	is_tidy($server, $where);

	$repair->();
	wait_until('it has its rows soon after the repair', sub { last_line($session->query(count_of('2026_Q2'))) eq '3000' });
	cmp_ok(sim_seen('periods.2026_Q2.post'), '<=', 2, 'it has cost an export more at most');
	unlike($session->query(count_of('2026_Q3')), qr/WARNING/, 'nobody is warned any more');
	is($session->query(count_of('2026_Q1')), 200, 'what was in memory is still there');
	is($session->query("SELECT tier FROM clari_cache WHERE time_period = '2026_Q2'"), 'disk', 'and files are written');
	is_tidy($server, $where);
	return;
}

subtest 'a directory that is read-only' => sub {
	check_unwritable($node, $directory, qr/Permission denied/, sub { chmod 0500, $directory or die $! },
		sub { chmod 0700, $directory or die $! });
};

subtest 'a file where the directory should be' => sub {
	check_unwritable($node, $directory, qr/Not a directory|File exists/,
		sub { rename($directory, "$directory.away"); append_to_file($directory, 'in the way') },
		sub { unlink $directory or die $!; rename("$directory.away", $directory) or die $! });
};

subtest 'invalidating what cannot be removed' => sub {
	start_over($node, job_seconds => 0, version => 0);
	my $session = ClariSession->new($node);
	$session->query(count_of('2026_Q1'));
	chmod 0500, $directory or die $!;
	like($session->query("SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')"),
		qr/WARNING: .*could not remove 2 files.*pgsql_tmp_clari_fdw.*HINT: .*^1$/ms, 'warns that the files are left, and where');
	sim_set({ version => 1 });
	is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1', name => 'a query has new rows all the same');
	is(sim_posts(), 2, 'by an export');
	chmod 0700, $directory or die $!;
	cmp_ok(scalar cache_files($node, qr/./), '>', 0, 'files are left');
	unlike($session->query('SELECT clari_invalidate()'), qr/WARNING/, 'which go with all others');
	is(join(' ', cache_files($node, qr/./)), '', 'once they can be removed');
	sim_set({ version => 0 });
};

# Stops the server, which starts again to find a mode; what its first session is told, and the session.
sub start_with
{
	my ($mode, @files) = @_;
	$node->stop;
	chmod($mode, @files) == @files or die $!;
	$node->start;
	my $session = ClariSession->new($node);
	return ($session->query('SELECT count(*) FROM clari_cache'), $session);
}

# Once the directory can be read again: in time, and at once.
my %readable = (
	'is loaded soon' => sub {
		my ($session) = @_;
		my $requests = sim_requests();
		wait_until('its rowset is known', sub { $session->query('SELECT count(*) FROM clari_cache') eq '1' });
		is($session->query(count_of('2026_Q2')), 3000, 'what was there serves');
		is(sim_requests(), $requests, 'without asking Clari for anything');
	},
	'can be emptied' => sub { });
for my $what (sort keys %readable)
{
	subtest "a directory that cannot be read when the server starts $what when it can" => sub {
		start_over($node, job_seconds => 0);
		$node->safe_psql('postgres', count_of('2026_Q2'));
		my ($answer, $session) = start_with(0000, $directory);
		like($answer, qr/WARNING: .*Permission denied.*^0$/ms, 'its first session warns');
		chmod 0700, $directory or die $!;
		is(scalar cache_files($node, qr/\.(rowset|job)$/), 2, 'no file is removed');
		$readable{$what}->($session);
		unlike($session->query('SELECT clari_invalidate()'), qr/WARNING/, 'all can be invalidated');
		is(join(' ', cache_files($node, qr/./)), '', 'and no file is left');
	};
}

subtest 'files that cannot be read when the server starts' => sub {
	start_over($node, job_seconds => 0);
	$node->safe_psql('postgres', count_of('2026_Q2'));
	my @files = cache_files($node, qr/\.(rowset|job)$/);
	my ($answer, $session) = start_with(0000, @files);
	is(scalar(() = $answer =~ /WARNING: .*?Permission denied/gs), 2, 'its first session warns of a rowset and a record');
	is(join(' ', cache_files($node, qr/./)), join(' ', @files), 'which are not removed');
	$session->quit;
	my $requests = sim_requests();
	(undef, $session) = start_with(0600, @files);
	is($session->query(count_of('2026_Q2')), 3000, 'once they can be read, the rowset serves');
	is(sim_requests(), $requests, 'without asking Clari for anything');
	unlink grep { /rowset$/ } @files;
	is(last_line($session->query(count_of('2026_Q2'))), 3000, 'and, when that is lost, the record');
	is(sim_posts(), 1, 'without an export');
};

SKIP:
{
	skip $no_small_disks, 3 unless $small_disks;
	my $server = new_node('small', "clari_fdw.cache_directory = '$small/cache'");
	subtest 'a disk that is full' => sub {
		check_unwritable($server, "$small/cache", qr/No space left on device/, sub { fill($small, 49152) },
			sub { unlink "$small/ballast" });
	};
	subtest 'a disk that is full to the last byte' => sub {
		check_unwritable($server, "$small/cache", qr/No space left on device/, sub { fill($small, 0) }, sub { unlink "$small/ballast" });
	};
	subtest '/dev/shm that is full' => sub {
		start_over($server, job_seconds => 0);
		my $session = ClariSession->new($server);
		$session->query('SELECT * FROM clari_cache');
		my $ballast = fill('/dev/shm', 0);
		my $answer = $session->query(count_of('2026_Q1'));
		like($answer, qr/WARNING: .*(memory|\/dev\/shm|space)/si, 'a query warns');
		is(last_line($answer), 200, 'and has its rows');
		is($session->query("SELECT tier FROM clari_cache"), 'disk', 'which are on disk');
		is_as_generated($server, 'clari.entries', 'entries', '2026_Q1');
		is($session->query(count_of('2026_Q2')), 3000, 'what is too large for memory anyway goes without a warning');
		is(sim_posts(), 2, 'one POST each');
		fill($small, 0);
		like($session->query(count_of('2026_Q3')), qr/ERROR: .*2026_Q3/s, 'with the disk full, too, a query fails');
		is($session->query(count_of('2026_Q1')), 200, 'but what is there serves');
		unlink "$small/ballast", $ballast;
		$session->query("SELECT clari_refresh('clari.forecasts', '{2026_Q1}')");
		is($session->query("SELECT tier FROM clari_cache WHERE time_period = '2026_Q1'"), 'memory', 'with room, it is in memory again');
		is_tidy($server, "$small/cache");
	};
	$server->stop;
}

subtest 'a directory that is deleted' => sub {
	start_over($node, job_seconds => 0);
	my $session = ClariSession->new($node);
	is($session->query(count_of('2026_Q1')), 200, 'a rowset in memory');
	is($session->query(count_of('2026_Q2')), 3000, 'and one on disk');
	rmtree($directory);
	is(last_line($session->query(count_of('2026_Q1'))), 200, 'the one is read from memory');
	is(last_line($session->query(count_of('2026_Q2'))), 3000, 'the other is downloaded again');
	is(sim_posts(), 2, 'without an export');
	is(scalar cache_files($node, qr/\.rowset$/), 1, 'into a directory that is made anew');
	is(mode_of($directory), '0700', 'as the first one');
};

subtest 'leftovers and strangers' => sub {
	start_over($node, job_seconds => 0);
	$node->safe_psql('postgres', count_of('2026_Q1'));
	my ($rowset) = cache_files($node, qr/\.rowset$/);
	my $odd = '0' x 64;
	$node->stop;
	append_to_file("$directory/$_", 'something') for "pgsql_tmp_${$}_1.tmp", 'notes.txt', "${odd}_0123456789abcdef.rowset",
		"$odd.job";
	mkdir "$directory/subdirectory";
	$node->start;
	is($node->safe_psql('postgres', count_of('2026_Q1')), 200, 'what is good serves');
	is(sim_posts(), 1, 'without an export');
	ok(-e $rowset, 'from its file');
	wait_until('temporary files are swept', sub { !-e "$directory/pgsql_tmp_${$}_1.tmp" });
	ok(!-e "$directory/${odd}_0123456789abcdef.rowset", 'a rowset that is none goes');
	ok(-e "$directory/notes.txt" && -d "$directory/subdirectory", 'what is not ours stays');
	unlink "$directory/notes.txt";
	rmdir "$directory/subdirectory";
};

# All that a period's rowset holds, in one line.
sub all_of
{
	my ($period) = @_;
	return 'SELECT ' . join(', ', map { '(' . digest_of("clari.$_", "time_period = '$period'") . ')' }
		  qw(entries forecasts users fields time_periods time_frames));
}

sub write_at
{
	my ($file, $at, $bytes) = @_;
	open(my $handle, '+<:raw', $file) or die "$file: $!";
	seek($handle, $at, 0);
	print $handle $bytes;
	close $handle;
	return;
}

sub replace
{
	my ($file, $bytes) = @_;
	open(my $handle, '>:raw', $file) or die "$file: $!";
	print $handle $bytes;
	close $handle;
	return;
}

# Each: what happens to the rowset (r) and to the record (j) of a period while the server is down; POSTs at most afterwards.
my $other;    # the files of a period that is left alone: {r}, {j}
my @damages = (
	[ 'a rowset cut in half', sub { truncate $_[0]{r}, (-s $_[0]{r}) / 2 }, 0 ],
	[ 'a rowset without its last byte', sub { truncate $_[0]{r}, (-s $_[0]{r}) - 1 }, 0 ],
	[ 'an empty rowset', sub { truncate $_[0]{r}, 0 }, 0 ],
	[ 'a rowset with a byte too many', sub { append_to_file($_[0]{r}, 'x') }, 0 ],
	[ 'a rowset full of zeros', sub { replace($_[0]{r}, "\0" x -s $_[0]{r}) }, 0 ],
	[ "another period's rowset under this name", sub { replace($_[0]{r}, slurp_file($other->{r})) }, 0 ],
	[ 'an empty record', sub { truncate $_[0]{j}, 0 }, 0 ],
	[ 'no rowset, and an empty record', sub { unlink $_[0]{r}; truncate $_[0]{j}, 0 }, 1 ],
	[ 'no rowset, and a record cut in half', sub { unlink $_[0]{r}; truncate $_[0]{j}, (-s $_[0]{j}) / 2 }, 1 ],
	[ "no rowset, and another period's record", sub { unlink $_[0]{r}; replace($_[0]{j}, slurp_file($other->{j})) }, 1 ],
	[ 'no rowset, and a record with a flipped bit', sub {
		unlink $_[0]{r};
		my $bytes = slurp_file($_[0]{j});
		my $at = length($bytes) / 2;
		write_at($_[0]{j}, $at, substr($bytes, $at, 1) ^ "\x01") }, 1 ]);

subtest 'damage that a restart finds' => sub {
	start_over($node, job_seconds => 0);
	my @periods = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2024 .. 2026;
	my (%files, %before, %known);
	for my $period (@periods)
	{
		$before{$period} = $node->safe_psql('postgres', all_of($period));
		my ($r) = grep { !$known{$_}++ } cache_files($node, qr/\.rowset$/);
		my ($j) = grep { !$known{$_}++ } cache_files($node, qr/\.job$/);
		$files{$period} = { r => $r, j => $j };
	}
	is(scalar(grep { $_->{r} && $_->{j} } values %files), 12, 'every period has its rowset and its record');
	$other = $files{ $periods[11] };
	$node->stop;
	$damages[$_][1]->($files{ $periods[$_] }) for 0 .. $#damages;
	$node->start;
	for my $i (0 .. $#damages)
	{
		my ($what, undef, $posts) = @{ $damages[$i] };
		my $period = $periods[$i];
		my ($code, $out, $err) = $node->psql('postgres', all_of($period));
		is($code, 0, "$what is no error");
		unlike($err, qr/ERROR|FATAL/, 'at most a warning');
		is_as_generated($node, 'clari.entries', 'entries', $period);
		is($out, $before{$period}, 'the rows are those of before') unless $posts;
		cmp_ok(sim_seen("periods.$period.post") - 1, '<=', $posts, $posts ? 'one POST at most' : 'no POST');
	}
	is($node->safe_psql('postgres', all_of($periods[11])), $before{ $periods[11] }, 'who was left alone is as before');
	is(scalar cache_files($node, qr/\.rowset$/), 12, 'every rowset has a file again');
};

# Flips one bit or more of a byte at random places of a rowset that is read from disk.  The last of two rowsets has several groups.
srand(7);
for my $case ([ 600, $places ], [ 6000, int($places / 24) ])
{
	my ($owners, $times) = @$case;
	subtest "$times damaged places in the rowset of $owners owners" => sub {
		start_over($node, job_seconds => 0);
		sim_set({ owners => $owners }, period => '2025_Q4');
		my $session = ClariSession->new($node);
		my $query = all_of('2025_Q4');
		my $expected = $session->query($query);
		is_as_generated($node, 'clari.entries', 'entries', '2025_Q4');
		is($session->query('SELECT tier FROM clari_cache'), 'disk', 'it is read from disk');
		my ($file) = cache_files($node, qr/\.rowset$/);
		my $bytes = slurp_file($file);
		my ($bad, %kinds) = ('');
		for (1 .. $times)
		{
			my $at = int(rand(length $bytes));
			my $byte = substr($bytes, $at, 1);
			write_at($file, $at, $byte ^ chr(1 + int(rand(255))));
			my $answer = $session->query($query);
			my ($now) = cache_files($node, qr/\.rowset$/);
			$kinds{ $answer =~ /WARNING/ ? 'with a warning' : $now ne $file ? 'without a warning' : 'not noticed' }++;
			if (last_line($answer) ne $expected || $answer =~ /ERROR/)
			{
				$bad = "byte $at of " . length($bytes) . ": $answer";
				last;
			}
			if ($now eq $file)
			{
				write_at($file, $at, $byte);
			}
			else
			{
				($file, $bytes) = ($now, slurp_file($now));
			}
		}
		is($bad, '', 'never a wrong row, and never an error');
		note(join(', ', map { "$_: $kinds{$_}" } sort keys %kinds));
		is(sim_posts(), 1, 'one POST');
		cmp_ok(sim_seen('total.results'), '>', 0.8 * $times, 'downloaded again as often as it was damaged');
		is(scalar cache_files($node, qr/\.rowset$/), 1, 'one file is left');
		is($session->query('SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()'), 1, 'and the session');
		is_tidy($node);
	};
}
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC|TRAP/, 'nothing has crashed');

done_testing();
