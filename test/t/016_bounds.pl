# Caches are bounded: by bytes in memory and on disk, at all times, and in the number of segments.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use Test::More;

use constant MB => 1024 * 1024;

my @quarters = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 1994 .. 2026;
start_sim(job_seconds => 0, concurrent_limit => 1000, monthly_quota => 100_000, known_periods => \@quarters);
my $node = start_node('bounds', "clari_fdw.shared_cache_size = '8MB'");
create_server($node, max_concurrent_exports => 8);
my %tables = (wide => '2014_Q1..2023_Q4', many => '1994_Q1..2026_Q2', late => '2016_Q1..2026_Q4');
sql("IMPORT FOREIGN SCHEMA $_->[1] FROM SERVER clari INTO public
	OPTIONS (periods '$tables{$_->[0]}', table_prefix '$_->[0]_', cache_ttl '1d', closed_period_ttl '1d')")
	for [ 'wide', 'net_arr' ], [ 'many', 'bookings' ], [ 'late', 'renewals' ];
my $boss = ClariSession->new($node);

# Settings of the server.
sub configure
{
	my (%settings) = @_;
	$node->append_conf('postgresql.conf', "clari_fdw.$_ = '$settings{$_}'") for sort keys %settings;
	$node->reload;
	for my $name (keys %settings)
	{
		wait_until("$name is set", sub { sql("SHOW clari_fdw.$name") eq $settings{$name} });
	}
	return;
}

sub in_memory { return $boss->query("SELECT coalesce(sum(bytes), 0) FROM clari_cache WHERE tier = 'memory'"); }

sub segments { return $boss->query("SELECT count(*) FROM clari_cache WHERE tier = 'memory'"); }

# All of the directory: rowsets, records, and what is being written.  What changes meanwhile is looked at again.
sub on_disk
{
	my ($sum, $before) = (0, '');
	for (1 .. 100)
	{
		my @sizes = map { [ $_, -s $_ // 0 ] } cache_files($node, qr/./);
		$sum = 0;
		$sum += $_->[1] for @sizes;
		my $now = join(' ', map { @$_ } @sizes);
		last if $now eq $before;
		$before = $now;
	}
	return $sum;
}

# Runs the query in a session; its answer, and the most that was in use meanwhile.
sub most_during
{
	my ($query, @measures) = @_;
	my $session = ClariSession->new($node)->start($query);
	my @most = map { 0 } @measures;
	my $finished;
	until ($finished)
	{
		$finished = $session->is_finished;
		for my $i (0 .. $#measures)
		{
			my $now = $measures[$i]->();
			$most[$i] = $now if $now > $most[$i];
		}
	}
	return ($session->finish, @most);
}

my $wide = q{SELECT time_period, count(*), md5(string_agg(t::text, ';' ORDER BY t::text COLLATE "C"))
	FROM wide_forecasts t GROUP BY time_period ORDER BY time_period COLLATE "C"};
my $one_by_one = join("\n;", map { digest_of('wide_forecasts', "time_period = '$_'") } @quarters[ 80 .. 119 ]);
sim_set({ owners => 1900 }, forecast => 'net_arr');    # 0.9 MB a period

# Reads 36 MB of rowsets through caches of the given sizes.
sub check_bound
{
	my ($what, $measure, $bound, $settings) = @_;
	subtest "$what holds" => sub {
		start_over($node, job_seconds => 0);
		configure(%$settings);
		my ($first, $most) = most_during($wide, $measure);
		is(scalar(my @lines = $first =~ /^\d{4}_Q\d\|1900\|\w{32}$/mg), 40, 'every period has its rows');
		unlike($first, qr/WARNING|ERROR/, 'without a complaint');
		cmp_ok($most, '<=', $bound, 'the bound holds while they come');
		cmp_ok($most, '>=', $bound * 0.75, 'and is made use of');
		is(sim_posts(), 40, 'forty POSTs');
		my ($again, $most_again) = most_during($wide, $measure);
		is($again, $first, 'the second time they are the same');
		my ($singly, $most_singly) = most_during($one_by_one, $measure);
		is(join("\n", map { /^\d+_Q\d\|(\d+)\|(\w+)$/ ? "$1 $2" : $_ } split /\n/, $first), $singly, 'one by one, too');
		cmp_ok($_, '<=', $bound, 'the bound holds') for $most_again, $most_singly;
		is_as_generated($node, 'wide_forecasts', 'forecasts', $_) for @quarters[ 80, 99, 119 ];
		is(sim_posts(), 40, 'no second export');
		note(sprintf('at most %d, then %d and %d bytes; %d downloads', $most, $most_again, $most_singly, sim_seen('total.results')));
	};
	return;
}

check_bound('shared_cache_size', \&in_memory, 8 * MB, { shared_cache_size => '8MB', disk_cache_size => '1GB' });

subtest 'a smaller shared_cache_size takes effect at the next use' => sub {
	cmp_ok(in_memory(), '>', 4 * MB, 'memory is in use');
	configure(shared_cache_size => '4MB');
	my $posts = sim_posts();
	wait_until('it is not any more', sub {
		sql("SELECT count(*) FROM wide_forecasts WHERE time_period = '2014_Q1'");
		in_memory() <= 4 * MB });
	is(sql('SELECT count(*) FROM wide_forecasts'), 40 * 1900, 'all rows are there');
	is(sim_posts(), $posts, 'without an export');
};

check_bound('disk_cache_size', \&on_disk, 8 * MB, { shared_cache_size => '1MB', disk_cache_size => '8MB' });

subtest 'a smaller disk_cache_size takes effect at the next use' => sub {
	cmp_ok(on_disk(), '>', 4 * MB, 'disk is in use');
	configure(disk_cache_size => '4MB');
	my $posts = sim_posts();
	wait_until('it is not any more', sub {
		sql("SELECT count(*) FROM wide_forecasts WHERE time_period = '2014_Q1'");
		on_disk() <= 4 * MB });
	is(sql('SELECT count(*) FROM wide_forecasts'), 40 * 1900, 'all rows are there');
	is(sim_posts(), $posts, 'without an export');
	cmp_ok(on_disk(), '<=', 4 * MB, 'within the bound');
};

subtest 'the bounds hold after a restart that found more' => sub {
	start_over($node, job_seconds => 0);
	configure(disk_cache_size => '1GB');
	sql("SELECT count(*) FROM wide_forecasts WHERE time_period < '2017_Q1'");
	cmp_ok(on_disk(), '>', 8 * MB, 'more is there');
	$node->append_conf('postgresql.conf', "clari_fdw.disk_cache_size = '4MB'\n");
	$node->restart;
	$boss = ClariSession->new($node);
	is(sql("SELECT count(*) FROM wide_forecasts WHERE time_period < '2017_Q1'"), 12 * 1900, 'all rows are there');
	cmp_ok(on_disk(), '<=', 4 * MB, 'disk_cache_size');
	is(sim_posts(), 12, 'without a second export');
};

subtest 'at most 128 segments' => sub {
	start_over($node, job_seconds => 0, owners => 3);
	configure(shared_cache_size => '8MB', disk_cache_size => '1GB');
	my $count = 'SELECT count(*), count(DISTINCT time_period) FROM many_forecasts';
	my ($answer, $most) = most_during($count, \&segments);
	is($answer, '390|130', 'all rows of 130 periods');
	cmp_ok($most, '<=', 128, 'at most 128 segments');
	cmp_ok(segments(), '>=', 120, 'of which use is made');
	is(sql('SELECT count(*) FROM clari_cache'), 130, 'all are cached');
	is(sql($count), '390|130', 'and readable');
	is(sql("SELECT count(*) FROM many_forecasts WHERE time_period = '$_'"), 3, $_) for @quarters[ 0, 64, 129 ];
	is(sim_posts(), 130, 'without a second export');
};

subtest 'what has expired goes before what is fresh' => sub {
	start_over($node, job_seconds => 0, owners => 180);    # 95 kB: eleven fit into 1 MB
	sim_set({ owners => 180 }, forecast => 'net_arr');
	configure(shared_cache_size => '1MB');
	sql("ALTER FOREIGN TABLE many_forecasts OPTIONS (SET cache_ttl '300ms', SET closed_period_ttl '300ms')");
	is(sql("SELECT count(*) FROM wide_forecasts WHERE time_period < '2015_Q1'"), 720, 'four that stay fresh');
	is(sql("SELECT count(*) FROM many_forecasts WHERE time_period < '1995_Q1'"), 720, 'four that do not, used later');
	is(segments(), 8, 'all are in memory');
	wait_until('they have expired', sub {
		sql("SELECT count(*) FROM clari_cache WHERE forecast = 'bookings' AND expires_at < now()") eq '4' });
	is(sql("SELECT count(*) FROM late_forecasts WHERE time_period < '2017_Q3'"), 1080, 'six more');
	is(sql("SELECT forecast, count(*) FROM clari_cache WHERE tier = 'memory' AND expires_at > now()
		GROUP BY forecast ORDER BY forecast"), "net_arr|4\nrenewals|6", 'what is fresh is in memory');
	cmp_ok(sql("SELECT count(*) FROM clari_cache WHERE tier = 'memory' AND expires_at < now()"), '<=', 1,
		'what has expired went');
	is(sim_posts(), 14, 'one POST each');
	sql("ALTER FOREIGN TABLE many_forecasts OPTIONS (SET cache_ttl '1d', SET closed_period_ttl '1d')");
};

# From memory and, too large for that, from disk.
for my $owners (200, 1900)
{
	subtest "a cursor on $owners owners reads on what is evicted" => sub {
		start_over($node, job_seconds => 0, owners => 200);
		sim_set({ owners => 1900 }, forecast => 'net_arr');
		sim_set({ owners => $owners }, forecast => 'renewals');
		configure(shared_cache_size => '1MB', disk_cache_size => '2MB');
		my $rows = "SELECT md5(t::text) FROM late_forecasts t WHERE time_period = '2026_Q4'";
		my $session = ClariSession->new($node);
		my @expected = split /\n/, $session->query($rows);
		is(scalar @expected, $owners, 'rows');
		my ($file) = cache_files($node, qr/\.rowset$/);
		my $tier = "SELECT coalesce(tier, 'none') FROM clari_cache WHERE forecast = 'renewals'";
		is(sql($tier), $owners == 200 ? 'memory' : 'disk', 'where they are');
		my @got = split /\n/, $session->query("BEGIN; DECLARE c CURSOR FOR $rows; FETCH 10 FROM c");
		sql("SELECT count(*) FROM wide_forecasts WHERE time_period < '2015_Q1'");
		sql("SELECT count(*) FROM many_forecasts WHERE time_period < '1998_Q1'");
		ok(!-e $file, 'the file is gone');
		if ($owners == 200)
		{
			is(sql($tier), 'memory', 'what is read stays in memory: to drop it would make no room');
			sql("SELECT clari_invalidate('late_forecasts')");
		}
		unlike(sql($tier), qr/memory|disk/, 'the rowset is evicted');
		push @got, split /\n/, $session->query('FETCH ALL FROM c; COMMIT');
		is_deeply(\@got, \@expected, 'the cursor reads on');
		my $posts = sim_posts();
		my @again = split /\n/, $session->query($rows);
		$owners == 200 ? is(scalar @again, 200, 'a new query has new rows') : is_deeply(\@again, \@expected, 'a new query has the rows too');
		is(sim_posts() - $posts, $owners == 200 ? 1 : 0, 'POSTs');
	};
}

subtest 'an export larger than disk_cache_size' => sub {
	start_over($node, job_seconds => 0);
	sim_set({ owners => 5000 }, forecast => 'net_arr');    # 2.4 MB
	sim_set({ owners => 1000 }, forecast => 'renewals');    # 0.5 MB
	configure(shared_cache_size => '8MB', disk_cache_size => '1MB');
	my $answer = ClariSession->new($node)->query("SELECT count(*) FROM wide_forecasts WHERE time_period = '2014_Q1'");
	like($answer, qr/WARNING: .*disk_cache_size.*^5000$/ms, 'is read from memory, with a warning that names the setting');
	configure(shared_cache_size => '1MB');
	$answer = ClariSession->new($node)->query("SELECT count(*) FROM wide_forecasts WHERE time_period = '2014_Q2'");
	like($answer, qr/ERROR: .*2014_Q2/s, 'if it does not fit there either, it is an error');
	like($answer, qr/$_/, "that names $_") for qw(disk_cache_size shared_cache_size);
	like($answer, qr/HINT: .*disk_cache_size/, 'of which the hint says which to set');
	cmp_ok(on_disk(), '<=', MB, 'the bound holds');
	is(join(' ', cache_files($node, qr/^pgsql_tmp|\.tmp$/)), '', 'and no temporary file is left');
	is(sql("SELECT count(*) FROM late_forecasts WHERE time_period = '2026_Q1'"), 1000, 'others are served');
};

done_testing();
