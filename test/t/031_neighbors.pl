# One session never harms another: what raises while others wait, queries that are given up, wishes that are wide, memory
# that is read, and exports that are older than who asks for them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $keys = { 'test-key' => {}, 'other-key' => { user => 'other', tenant => 'org-2', seed => 2 } };
my @quarters = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 1927 .. 2026;    # 400
my %usual = (job_seconds => 0, owners => 200, concurrent_limit => 100, monthly_quota => 1_000_000, known_periods => \@quarters);
start_sim(%usual, keys => $keys);

# The directory's name is one that a LATIN1 client cannot be told, so that each report with it raises there; and whoever is
# in the directory can be canceled at that moment.
my $temporary = PostgreSQL::Test::Utils::tempdir();
my $directory = "$temporary/clari_cache_кеш";
my $flag = "$temporary/interrupt";
plan skip_all => 'no C compiler' if system("cc -shared -fPIC -o $temporary/interrupt.so $FindBin::RealBin/interrupt.c -ldl") != 0;
@ENV{qw(LD_PRELOAD CLARI_INTERRUPT)} = ("$temporary/interrupt.so", $flag);
# Segments as files, which can be counted.
my $node = start_node('neighbors', "clari_fdw.cache_directory = '$directory'", 'dynamic_shared_memory_type = mmap',
	"clari_fdw.shared_cache_size = '2MB'", 'clari_fdw.max_workers = 1', 'clari_fdw.worker_idle_timeout = 1h', 'max_connections = 50');
mkdir $directory, 0700 or die $!;
create_server($node, max_retries => 0, max_concurrent_exports => 4);
import_tables($node, periods => '1927_Q1..2026_Q4');
$node->safe_psql('postgres', q{IMPORT FOREIGN SCHEMA bookings LIMIT TO (bookings_forecasts) FROM SERVER clari INTO clari
	OPTIONS (periods '1927_Q1..2026_Q4', table_prefix 'bookings_')});

sub one { my ($period, $table) = @_; return 'SELECT count(*) FROM clari.' . ($table // 'forecasts') . " WHERE time_period = '$period'"; }

sub in_memory { return sql("SELECT count(*) FROM clari_cache WHERE tier = 'memory'"); }

sub segments { return scalar(() = glob $node->data_dir . '/pg_dynshmem/mmap.*'); }

sub flying { return sql('SELECT count(*) FROM clari_exports'); }

sub accepted { return scalar @{ decode_json(sim_seen('jobs')) }; }

sub restart { $node->restart; return; }

# ---- what raises while others wait ----

# A session to which no report about the directory can be made, and one that is canceled where it touches it.
my %raising = (
	'cannot be told of it' => sub {
		my ($statement) = @_;
		my $session = ClariSession->new($node);
		return $session->query("SET client_encoding = LATIN1; SET client_min_messages = log; $statement");
	},
	'is canceled just then' => sub {
		my ($statement) = @_;
		my $session = ClariSession->new($node);
		append_to_file($flag, 'x');
		my $answer = $session->query("SET client_min_messages = log; $statement");
		unlink $flag;
		return $answer;
	});

# A rowset whose file is damaged, from which a session after a restart learns nothing but that.
sub damage { append_to_file($directory . '/' . ('a' x 64) . '_' . ('0' x 15) . '1.rowset', 'x'); return; }

sql(one('2026_Q1'));
my $others = segments() - in_memory();    # PostgreSQL's own, and the table of exports
my %reports = (
	'a directory that cannot be read' => [ sub { restart(); chmod 0, $directory }, sub { chmod 0700, $directory }, one('2026_Q1') ],
	'a damaged file' => [ sub { restart(); damage() }, sub { }, one('2026_Q1') ],
	'a file that cannot be removed' => [ sub { sql(one('2026_Q1')); chmod 0500, $directory }, sub { chmod 0700, $directory },
		"SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')" ],
	'files that are removed' => [ sub { sql("SELECT count(*) FROM clari.forecasts WHERE time_period > '2025'") }, sub { }, 'SELECT clari_invalidate()' ],
	'a rowset that is damaged when it is read' => [ sub {
		sql(one('2026_Q1'));
		restart();
		for my $file (cache_files($node, qr/\.rowset$/, $directory)) { open(my $bytes, '+<', $file) or die; print $bytes 'x' x 500; close $bytes }
	}, sub { }, one('2026_Q1') ]);
for my $report (sort keys %reports)
{
	my ($arrange, $undo, $statement) = @{ $reports{$report} };
	for my $how (sort keys %raising)
	{
		subtest "$report, in a session that $how" => sub {
			start_over($node);
			$arrange->();
			my $answer = $raising{$how}->($statement);
			note($answer);
			is(sql(one('2026_Q2')), 200, 'a fresh session queries');
			is(segments() - in_memory(), $others, 'no segment is left behind');
			$undo->();
			is(sql(one('2026_Q1')), 200, 'and so it does afterwards');
			unlike($answer, qr/FATAL|PANIC|server closed/, 'the session lives');
			like($answer, qr/ERROR:  (22P05|57014)/, 'what was to raise has') if $report =~ /cannot be read|damaged file/;
		};
	}
}

# ---- what nobody wants any more ----

subtest 'a wide query that is canceled' => sub {
	start_over($node, job_seconds => 'hold');
	my ($wide, $boss) = map { ClariSession->new($node) } 1 .. 2;
	$wide->start("SELECT count(*) FROM clari.forecasts WHERE time_period > '2017'");
	wait_until('four are POSTed, the others queued', sub { sim_posts() == 4 && flying() == 40 });
	my ($queued) = split /\n/, sql("SELECT time_period FROM clari_exports WHERE phase = 'queued' ORDER BY started_at DESC, time_period DESC");
	my $other = ClariSession->new($node)->start(one($queued));
	my ($prefetched) = split /\n/, sql("SELECT time_period FROM clari_exports WHERE phase = 'queued' AND time_period <> '$queued' LIMIT 1");
	sql("SELECT clari_prefetch('clari.forecasts', '{$prefetched}')");
	wait_until('another waits for one of them', sub { sql("SELECT waiters FROM clari_exports WHERE time_period = '$queued'") eq '2' });
	like($wide->cancel($boss), qr/57014/, 'it is gone');
	is(flying(), 6, 'with it what nobody else wants, waits for, or has prefetched');
	wait_until('all are through', sub { sim_release(); flying() eq '0' });
	is($other->finish, 200, 'the other one has its rows');
	is(sim_posts(), 6, 'by one POST each');
	is(sql("SELECT count(*) FROM clari_cache WHERE state = 'ready'"), 6, 'and what was POSTed is cached');
	my $posts = sim_posts();
	is(sql(one($prefetched)), 200, 'as is what was prefetched');
	is(sim_posts(), $posts, '… without a POST');
};

subtest 'a query that ends without some of its periods' => sub {
	start_over($node, job_seconds => 'hold');
	sim_set({ %usual }, period => '2020_Q1');
	my $session = ClariSession->new($node);
	is($session->query("SELECT count(*) FROM (SELECT * FROM clari.forecasts WHERE time_period BETWEEN '2020' AND '2025' LIMIT 10) AS few"), 10,
		'it ends');
	is(sql("SELECT count(*) FROM clari_exports WHERE phase = 'queued'"), 0, 'nothing stays queued for it');
};

subtest 'a POST that Clari has refused for now is not sent again for nobody' => sub {
	start_over($node, job_seconds => 'hold', concurrent_limit => 2);
	my ($session, $boss) = map { ClariSession->new($node) } 1 .. 2;
	$session->start("SELECT count(*) FROM clari.forecasts WHERE time_period > '2026'");
	wait_until('two are accepted, two refused', sub {
		accepted() == 2 && sql("SELECT count(*) FROM clari_exports WHERE phase = 'waiting for a slot'") eq '2' });
	like($session->cancel($boss), qr/57014/, 'canceled');
	wait_until('all are through', sub { sim_release(); flying() eq '0' });
	is(accepted(), 2, 'no further export');
};

subtest 'a look-up that raises wants nothing afterwards' => sub {
	start_over($node);
	is(sql("SELECT count(*) FROM clari.forecasts WHERE time_period BETWEEN '2000' AND '2003_Q4'"), 3200, 'more than a megabyte is cached');
	sim_set({ job_seconds => 'hold' });
	my ($wide, $boss) = map { ClariSession->new($node) } 1 .. 2;
	$wide->start("SELECT count(*) FROM clari.forecasts WHERE time_period BETWEEN '1940' AND '1941_Q4'");
	wait_until('four of eight run', sub { sim_posts() == 20 && flying() == 8 });
	my ($queued) = split /\n/, sql("SELECT time_period FROM clari_exports WHERE phase = 'queued'");
	# What is cached has to go, cannot, and the session cannot be told.
	my $set_size = sub {
		my ($size) = @_;
		$node->append_conf('postgresql.conf', "clari_fdw.disk_cache_size = '$size'\n");
		$node->reload;
		wait_until('the size is set', sub { sql('SHOW clari_fdw.disk_cache_size') eq $size });
	};
	$set_size->('1MB');
	chmod 0500, $directory;
	my $raising = ClariSession->new($node);
	like($raising->query('SET client_encoding = LATIN1; SET client_min_messages = log;' . one($queued)), qr/22P05/, 'the look-up raises');
	is(sql("SELECT waiters FROM clari_exports WHERE time_period = '$queued'"), 1, 'it does not wait for the export any more');
	chmod 0700, $directory;
	$set_size->('1GB');
	like($wide->cancel($boss), qr/57014/, 'the other one is canceled');
	is(flying(), 4, 'what was POSTed goes on');
};

# ---- places in the queue ----

sql(q{CREATE ROLE greedy LOGIN; CREATE ROLE modest LOGIN; GRANT USAGE ON SCHEMA clari TO greedy, modest;
	GRANT SELECT ON ALL TABLES IN SCHEMA clari TO greedy, modest;
	CREATE USER MAPPING FOR greedy SERVER clari OPTIONS (api_key 'test-key');
	CREATE USER MAPPING FOR modest SERVER clari OPTIONS (api_key 'other-key')});

subtest 'four hundred quarters of one role, and one of another' => sub {
	start_over($node);
	is(sql(one('2026_Q1', 'bookings_forecasts')), 200, 'something is cached');
	sim_set({ job_seconds => 'hold' });
	sim_set({ job_seconds => 0 }, forecast => 'bookings');
	my $greedy = ClariSession->new($node, user => 'greedy')->start('SELECT count(*) FROM clari.forecasts');
	wait_until('the queue is full', sub { flying() == 256 });
	my $modest = ClariSession->new($node, user => 'modest')->start(one('2026_Q2', 'bookings_forecasts'));
	is($modest->finish, 200, 'the one has its rows meanwhile');
	is(sql("SELECT count(*) FROM clari_cache WHERE state = 'ready' AND forecast = 'bookings'"), 2, 'and nothing cached had to go');
	my $boss = ClariSession->new($node);
	like($greedy->cancel($boss), qr/57014/, 'the other one gives up');
	wait_until('all are through', sub { sim_release(); flying() eq '0' });
	is(sim_seen('forecasts.net_arr.post'), 4, 'at the cost of what was POSTed');
};

subtest 'roles take turns' => sub {
	start_over($node, job_seconds => 'hold');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '1'); DROP USER MAPPING FOR modest SERVER clari;
		CREATE USER MAPPING FOR modest SERVER clari OPTIONS (api_key 'test-key')");
	my $greedy = ClariSession->new($node, user => 'greedy')->start("SELECT count(*) FROM clari.forecasts WHERE time_period > '2025'");
	wait_until('one of eight runs', sub { sim_posts() == 1 && flying() == 8 });
	my $modest = ClariSession->new($node, user => 'modest')->start(one('1999_Q1'));
	wait_until('the ninth is queued', sub { flying() == 9 });
	wait_until('all are through', sub { sim_release(); flying() eq '0' });
	my @order = map { decode_json($_->{body})->{timePeriod} } grep { $_->{kind} eq 'post' } sim_last();
	is($order[1], '1999_Q1', 'the other role\'s one comes next');
	is($greedy->finish, 1600, 'and all have their rows');
	is($modest->finish, 200, '… both');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
};

subtest 'many exports of another key do not put a role behind' => sub {
	start_over($node, job_seconds => 'hold');
	sim_set({ job_seconds => 0 }, forecast => 'bookings');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '1'); DROP USER MAPPING FOR modest SERVER clari;
		CREATE USER MAPPING FOR modest SERVER clari OPTIONS (api_key 'other-key')");
	my $greedy = ClariSession->new($node, user => 'greedy')
	  ->start("SELECT count(*) FROM clari.forecasts WHERE time_period BETWEEN '1950' AND '1954_Q4'");
	wait_until('one of twenty runs', sub { sim_posts() == 1 && flying() == 20 });
	ClariSession->new($node, user => 'modest')->query("SELECT count(*) FROM clari.bookings_forecasts WHERE time_period BETWEEN '2010' AND '2019_Q4'");
	is(sim_posts(), 41, 'forty of another key have been made');
	my $other = ClariSession->new($node)->start(one('1999_Q1'));
	wait_until('it is queued', sub { flying() == 21 });
	wait_until('all are through', sub { sim_release(); flying() eq '0' });
	my @order = map { decode_json($_->{body})->{timePeriod} } grep { $_->{kind} eq 'post' && $_->{path} =~ /net_arr/ } sim_last();
	my ($place) = grep { $order[$_] eq '1999_Q1' } 0 .. $#order;
	cmp_ok($place, '<=', 2, "it is exported next, or after one of the other role's");
	is($greedy->finish, 4000, 'and all have their rows');
	is($other->finish, 200, '… both');
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4'); DROP USER MAPPING FOR modest SERVER clari;
		CREATE USER MAPPING FOR modest SERVER clari OPTIONS (api_key 'test-key')");
};

# ---- memory ----

sub fill { my ($first, $last) = @_; sql(one($_)) for @quarters[ $first .. $last ]; return; }

subtest 'memory that is read is not dropped for nothing' => sub {
	start_over($node);
	my $session = ClariSession->new($node);
	fill(0, 25);
	my $held = in_memory();
	cmp_ok($held, '>', 10, 'memory is in use');
	my $all = join(', ', map { "'$_'" } split /\n/, sql("SELECT time_period FROM clari_cache WHERE tier = 'memory'"));
	$session->query("BEGIN; DECLARE c CURSOR FOR SELECT * FROM clari.forecasts WHERE time_period IN ($all) ORDER BY owner_email; FETCH 1 FROM c");
	fill(30, 32);
	is(in_memory(), $held, 'while all of it is read, nothing goes');
	is(sql("SELECT tier FROM clari_cache WHERE time_period = '$quarters[31]'"), 'disk', 'and what is new is read from its file');
	my ($oldest) = $all =~ /'(\w+)'/;
	$session->query("COMMIT; BEGIN; DECLARE c CURSOR FOR SELECT * FROM clari.forecasts WHERE time_period = '$oldest'; FETCH 1 FROM c");
	wait_until('what was read is known not to be any more', sub {
		sql("SELECT clari_refresh('clari.forecasts', '{$quarters[33]}')");
		sql("SELECT tier FROM clari_cache WHERE time_period = '$quarters[33]'") eq 'memory' });
	is(in_memory(), $held, 'one goes for one that comes');
	is(sql("SELECT tier FROM clari_cache WHERE time_period = '$oldest'"), 'memory', 'and not the one that is read');
	$session->query('COMMIT');
};

subtest 'what is read often is put into memory again' => sub {
	start_over($node);
	fill(0, 25);
	my ($period) = split /\n/, sql("SELECT time_period FROM clari_cache WHERE tier = 'disk' ORDER BY time_period");
	sql("SELECT clari_invalidate('clari.forecasts', '{$quarters[24],$quarters[25]}')");
	my $posts = sim_posts();
	for (1 .. 6) { is(sql(one($period)), 200, 'read from its file') }
	is(sql("SELECT tier FROM clari_cache WHERE time_period = '$period'"), 'memory', 'it is in memory');
	is_as_generated($node, 'clari.forecasts', 'forecasts', $period);
	is(sim_posts(), $posts, 'without a POST');
};

subtest 'another directory, and the first one again' => sub {
	start_over($node);
	fill(0, 5);
	my $elsewhere = "$temporary/clari_cache_elsewhere";
	for my $name ($elsewhere, $directory, $elsewhere, $directory)
	{
		$node->append_conf('postgresql.conf', "clari_fdw.cache_directory = '$name'\n");
		$node->reload;
		wait_until('it is set', sub { sql('SHOW clari_fdw.cache_directory') eq $name });
		is(sql(one($quarters[$_])), 200, 'rows') for 0 .. 5;
		sql("SELECT clari_refresh('clari.forecasts', '{$quarters[0],$quarters[1]}')");
	}
	is(sql("SELECT tier FROM clari_cache WHERE time_period = '$quarters[0]'"), 'memory', 'what is new is kept in memory');
	fill(6, 8);
	is(sql("SELECT string_agg(DISTINCT tier, ' ') FROM clari_cache WHERE time_period BETWEEN '$quarters[6]' AND '$quarters[8]'"), 'memory', '… still');
	is_as_generated($node, 'clari.forecasts', 'forecasts', $quarters[$_]) for 0, 3;
};

subtest 'failures push out no rowset' => sub {
	start_over($node);
	fill(0, 5);
	sim_fault({ status => 400 }, step => 'post', forecast => 'bookings');
	sql(q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '64')});
	for my $currency (qw(EUR GBP JPY))
	{
		sql("DROP FOREIGN TABLE IF EXISTS clari.other_forecasts; IMPORT FOREIGN SCHEMA bookings LIMIT TO (other_forecasts) FROM SERVER clari INTO clari
			OPTIONS (periods '1927_Q1..2026_Q4', table_prefix 'other_', currency '$currency')");
		for my $range ('1927_Q1..1976_Q4', '1977_Q1..2026_Q4')
		{
			sql("SELECT clari_prefetch('clari.other_forecasts', '{$range}')");
			wait_until('they have failed', sub { flying() eq '0' });
		}
	}
	cmp_ok(sim_posts(), '>', 1200, 'more failures than there are entries');
	is(sql("SELECT count(*) FROM clari_cache WHERE state = 'ready'"), 6, 'and six rowsets');
	sql(q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')});
};

subtest 'eviction takes from the role that has most' => sub {
	start_over($node);
	sql(one($_, 'bookings_forecasts')) for @quarters[ 0 .. 2 ];
	my $greedy = ClariSession->new($node, user => 'greedy');
	$greedy->query(one($_)) for @quarters[ 0 .. 40 ];
	is(sql("SELECT count(*) FROM clari_cache WHERE forecast = 'bookings' AND tier = 'memory'"), 3, 'what few others have stays in memory');
};

# ---- stale-while-revalidate ----

subtest 'stale queries leave the worker alone while an export is under way' => sub {
	start_over($node);
	is(sql(one('2026_Q4')), 200, 'cached');
	sim_set({ job_seconds => 'hold' });
	my $session = ClariSession->new($node);
	$session->query(q{ALTER FOREIGN TABLE clari.forecasts OPTIONS (ADD cache_ttl '0', ADD closed_period_ttl '0', ADD stale_while_revalidate '1h')});
	is($session->query(one('2026_Q4')), 200, 'stale');
	wait_until('an export is under way', sub { sim_seen('total.poll') > 0 });
	my ($worker) = children($node, qr/clari_fdw worker/);
	my $switches = sub { return slurp_file("/proc/$worker/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die };
	my ($switched, $polled) = ($switches->(), sim_seen('total.poll'));
	$session->query(join(';', (one('2026_Q4')) x 2000));
	my ($more, $polls) = ($switches->() - $switched, sim_seen('total.poll') - $polled);
	cmp_ok($more, '<', 1000 + 20 * $polls, "2,000 queries, and the worker woke $more times for $polls polls");
	sim_release();
	$session->query(q{ALTER FOREIGN TABLE clari.forecasts OPTIONS (DROP cache_ttl, DROP closed_period_ttl, DROP stale_while_revalidate)});
};

# ---- many accounts ----

subtest 'whom Clari takes a key for is known of more than sixty-four keys' => sub {
	start_over($node);
	sim_set({ keys => { '*' => {} } });
	my $url = sql(q{SELECT substring(o FROM 10) FROM pg_foreign_server, unnest(srvoptions) AS o WHERE srvname = 'clari' AND o ~ '^base_url='});
	sql(join(';', map { "CREATE SERVER s$_ FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url '$url', poll_interval '20ms');
		CREATE USER MAPPING FOR CURRENT_USER SERVER s$_ OPTIONS (api_key '$_-secret');
		CREATE FOREIGN TABLE t$_ (owner_email text, time_period text) SERVER s$_ OPTIONS (forecast 'net_arr', periods '2026_Q1,2026_Q2')" } 10 .. 75));
	sql("SELECT count(*) FROM t$_ WHERE time_period = '2026_Q1'") for 10 .. 75;
	sim_fault({ reset => JSON::PP::true, carry_out => JSON::PP::true }, step => 'post', times => 1);
	my $posts = sim_posts();
	is(sql(q{SELECT count(*) FROM t10 WHERE time_period = '2026_Q2'}), 200, 'a POST whose answer is lost');
	is(sim_posts() - $posts, 1, '… is found among the jobs of its user, and not repeated');
	sim_set({ keys => $keys });
	sql(join(';', map { "DROP SERVER s$_ CASCADE" } 10 .. 75));
};

# ---- older than the call ----

# The quarter is over by the calendar: then closed_period_ttl counts for clari_sync.
sql(q{SELECT clari_create_tables(); ALTER FOREIGN TABLE clari.forecasts OPTIONS (ADD closed_period_ttl '0')});
for my $call ("SELECT clari_refresh('clari.forecasts', '{2026_Q4}')", "CALL clari_sync('clari.forecasts', '{2026_Q4}')")
{
	subtest "$call takes nothing that was POSTed before it" => sub {
		start_over($node, job_seconds => 'hold', version => 0);
		my $plain = ClariSession->new($node)->start(one('2026_Q4'));
		wait_until('its job runs', sub { sim_seen('total.poll') > 0 });
		# What the job holds is settled; then somebody corrects an amount.
		my @strict = map { ClariSession->new($node)->start($call) } 1 .. 2;
		my $pids = join(',', map { $_->{pid} } @strict);
		wait_until('both wait', sub { sql("SELECT count(*) FROM pg_stat_activity WHERE pid IN ($pids) AND wait_event_type = 'Extension'") eq '2' });
		sim_release();
		is($plain->finish, 200, 'the query has its rows');
		wait_until('they are through', sub { sim_release(); !grep { !$_->is_finished } @strict });
		unlike($_->finish, qr/ERROR/, 'no error') for @strict;
		is(sim_posts(), 2, 'one POST for the query, and one for both calls');
	};
}

done_testing();
