# One export per period: however many sessions, scans and tables want it, and for as long as it is fresh.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use Test::More;

my $keys = { 'test-key' => {}, 'other-key' => { user => 'other', tenant => 'org-2', seed => 2 } };
start_sim(job_seconds => 'hold', concurrent_limit => 100, keys => $keys);
my $node = start_node('flights');
create_server($node, max_concurrent_exports => 4);
import_tables($node);
$node->safe_psql('postgres', "IMPORT FOREIGN SCHEMA bookings FROM SERVER clari INTO clari
	OPTIONS (periods '2026_Q1..2026_Q4', table_prefix 'bookings_')");

# Everything forgotten on both sides; nothing is under way any more.

sub flights_in
{
	my ($phases) = @_;
	return sql("SELECT count(*) FROM clari_exports WHERE phase IN ($phases)");
}

my $digest = 'SELECT count(*), md5(string_agg(t::text, E\'\n\' ORDER BY t::text COLLATE "C")) FROM clari.forecasts t';

subtest 'twenty sessions on four cold periods make four exports' => sub {
	my @sessions = map { ClariSession->new($node)->start($digest) } 1 .. 20;
	wait_until('all wait for all', sub { sql('SELECT count(*), sum(waiters) FROM clari_exports') eq '4|80' });
	wait_until('all are posted', sub { sim_posts() == 4 });
	sim_release();
	my %answers = map { $_->finish => 1 } @sessions;
	is(scalar keys %answers, 1, 'all get the same rows');
	like((keys %answers)[0], qr/^2000\|/, 'of four periods');
	is(sim_posts(), 4, 'four POSTs');
	is(sim_seen("periods.2026_Q$_.post"), 1, "one of them for 2026_Q$_") for 1 .. 4;
	is(sql('SELECT count(*) FROM clari_exports'), 0, 'nothing is left in flight');
};

subtest 'max_concurrent_exports holds for the cluster' => sub {
	start_over($node);
	sql('ALTER SERVER clari OPTIONS (SET max_concurrent_exports \'2\')');
	my @sessions = map { ClariSession->new($node)->start("$digest WHERE $_") }
		"time_period <= '2026_Q2'", "time_period >= '2026_Q3'", 'true';
	wait_until('two are under way', sub { sim_posts() == 2 });
	wait_until('two are queued', sub { flights_in("'queued'") == 2 });
	for my $left (3, 4)
	{
		my ($running) = split /\n/, sql("SELECT time_period FROM clari_exports WHERE phase <> 'queued'");
		sim_release(period => $running);
		wait_until('the next one goes', sub { sim_posts() == $left });
	}
	sim_release();
	$_->finish for @sessions;
	is(sim_posts(), 4, 'all are made in turn');
	is(sim_seen('most_jobs_at_once'), 2, 'never more than two at once');
	is($sessions[0]->query('SELECT count(*) FROM clari.forecasts'), 2000, 'and all are there');
};

subtest 'two servers of one account obey their own numbers' => sub {
	start_over($node);
	my $base_url = sql(q{SELECT substring(o from 'base_url=(.*)') FROM pg_foreign_server, unnest(srvoptions) o
		WHERE srvname = 'clari' AND o LIKE 'base_url=%'});
	sql("CREATE SERVER wide FOREIGN DATA WRAPPER clari_fdw
			OPTIONS (base_url '$base_url', poll_interval '20ms', max_concurrent_exports '3');
		CREATE USER MAPPING FOR CURRENT_USER SERVER wide OPTIONS (api_key 'test-key');
		IMPORT FOREIGN SCHEMA bookings FROM SERVER wide INTO clari
			OPTIONS (periods '2026_Q1..2026_Q2', table_prefix 'wide_')");
	my $narrow = ClariSession->new($node)->start('SELECT count(*) FROM clari.forecasts');
	wait_until('two of the narrow server are under way', sub { sim_posts() == 2 });
	my $wide = ClariSession->new($node)->start('SELECT count(*) FROM clari.wide_forecasts');
	wait_until('one more of the wide server', sub { sim_posts() == 3 });
	wait_until('the others are queued', sub { flights_in("'queued'") == 3 });
	is(sim_seen('forecasts.bookings.post'), 1, 'the wide server passes the narrow one by, up to its own number');
	sim_release(forecast => 'net_arr');
	wait_until('a place for the wide server and one for the narrow', sub { flights_in("'queued'") <= 2 });
	wait_until('all are through', sub { sim_release(); $narrow->is_finished && $wide->is_finished });
	is($narrow->finish, 2000, 'rows of the narrow server');
	is($wide->finish, 1000, 'rows of the wide server');
	cmp_ok(sim_seen('most_jobs_at_once'), '<=', 3, 'never more than the larger number');
	sql('DROP SERVER wide CASCADE');
};

subtest 'what fetches nothing asks for nothing' => sub {
	start_over($node);
	my $session = ClariSession->new($node);
	$session->query($_) for
		'EXPLAIN SELECT * FROM clari.forecasts',
		'EXPLAIN VERBOSE SELECT * FROM clari.forecasts a JOIN clari.entries b USING (owner_email)',
		'SELECT * FROM clari.forecasts LIMIT 0',
		"PREPARE p(text) AS SELECT * FROM clari.forecasts WHERE time_period = \$1",
		"EXPLAIN EXECUTE p('2026_Q1')",
		'BEGIN; DECLARE c CURSOR FOR SELECT * FROM clari.forecasts; CLOSE c; COMMIT',
		'CREATE TEMP VIEW v AS SELECT * FROM clari.forecasts',
		'ANALYZE clari.forecasts',
		'SELECT * FROM clari.forecasts WHERE false',
		"SELECT * FROM clari.forecasts WHERE time_period = '2019_Q1'",
		'SELECT count(*) FROM clari_cache';
	my $outside = $session->query("SELECT count(*) FROM clari.forecasts WHERE time_period = '2019_Q1'");
	like($outside, qr/NOTICE: .*2019_Q1.*^0$/ms, 'a constant outside of the extent: a notice and no rows');
	is(sim_posts(), 0, 'no POST');
	is(sql('SELECT count(*) FROM clari_exports'), 0, 'nothing queued');
	# DECLARE that is open but never fetched, at the time of the check
	$session->query('BEGIN; DECLARE c CURSOR FOR SELECT * FROM clari.forecasts');
	is(sim_posts(), 0, 'nor for an unfetched cursor');
	$session->query('COMMIT');
};

my %overlapping = (
	'UNION ALL' => [ join(' UNION ALL ', map { "SELECT * FROM clari.forecasts WHERE time_period = '2026_Q$_'" } 1 .. 4), 2000 ],
	'a join' => [ 'SELECT 1 FROM (SELECT DISTINCT time_period FROM clari.forecasts WHERE time_period = \'2026_Q1\') a, '
		. join(', ', map { "(SELECT DISTINCT time_period FROM clari.forecasts WHERE time_period = '2026_Q$_') t$_" } 2 .. 4), 1 ],
	'IN' => [ "SELECT * FROM clari.forecasts WHERE time_period IN ('2026_Q1', '2026_Q2', '2026_Q3', '2026_Q4')", 2000 ],
	'partitions' => [ 'SELECT * FROM clari.parted', 2000 ],
	'a subquery and a CTE' => [ "WITH c AS MATERIALIZED (SELECT * FROM clari.forecasts WHERE time_period = '2026_Q1')
		SELECT * FROM c UNION ALL SELECT * FROM clari.forecasts WHERE time_period >= '2026_Q2'
			AND (SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q2') = 500", 2000 ]);
sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
sql('CREATE TABLE clari.parted (owner_email text, forecast_amount numeric, time_period text) PARTITION BY LIST (time_period)');
sql("CREATE FOREIGN TABLE clari.parted_q$_ PARTITION OF clari.parted FOR VALUES IN ('2026_Q$_')
	SERVER clari OPTIONS (object 'forecasts', forecast 'net_arr', periods '2026_Q$_')") for 1 .. 4;
for my $what (sort keys %overlapping)
{
	my ($query, $count) = @{ $overlapping{$what} };
	for my $settings ('', 'SET enable_hashjoin = off; SET enable_mergejoin = off;', 'SET plan_cache_mode = force_generic_plan;')
	{
		start_over($node);
		my $session = ClariSession->new($node);
		$session->query($settings);
		$session->start("SELECT count(*) FROM ($query) q");
		wait_until("all four periods of $what are posted before the first is there", sub { sim_posts() == 4 });
		ok(!$session->is_finished, "$what overlaps its exports ($settings)");
		sim_release();
		is($session->finish, $count, "rows of $what");
		is(sim_posts(), 4, 'one export per period');
	}
}

subtest 'the first row comes with the fastest period' => sub {
	start_over($node);
	my $session = ClariSession->new($node);
	$session->query('BEGIN; DECLARE c CURSOR FOR SELECT time_period FROM clari.forecasts');
	$session->start('FETCH 1 FROM c');
	wait_until('all are posted', sub { sim_posts() == 4 });
	sim_release(period => '2026_Q3');
	is($session->finish, '2026_Q3', 'FETCH 1 returns while the others run');
	is(flights_in("'waiting', 'polling'"), 3, 'which they do');
	is($session->query('MOVE 499 IN c; SELECT 1'), 1, 'and so do the rest of its rows');
	$session->start('FETCH 1 FROM c');
	sim_release(period => '2026_Q1');
	is($session->finish, '2026_Q1', 'then the next');
	sim_release();
	is($session->query("MOVE FORWARD ALL IN c; COMMIT; SELECT count(*) FROM clari.forecasts"), 2000, 'and all');
};

subtest 'time to live' => sub {
	start_over($node, job_seconds => 0, current_quarter => '2099_Q4', known_periods => [ '2020_Q1', '2099_Q1' ]);
	my $session = ClariSession->new($node);
	my $table = sub {
		my ($name, $options) = @_;
		$session->query("DROP FOREIGN TABLE IF EXISTS clari.$name; CREATE FOREIGN TABLE clari.$name (time_period text)
			SERVER clari OPTIONS (object 'forecasts', forecast 'net_arr', periods '2020_Q1,2099_Q1' $options)");
	};
	my $new_posts = sub {
		my ($query) = @_;
		my $before = sim_posts();
		$session->query($query);
		return sim_posts() - $before;
	};
	my $open = "SELECT count(*) FROM clari.ttl WHERE time_period = '2099_Q1'";
	my $closed = "SELECT count(*) FROM clari.ttl WHERE time_period = '2020_Q1'";

	$table->('ttl', ", cache_ttl '0'");
	is($new_posts->("$open;$open;$open"), 3, "cache_ttl '0': an export per statement");
	is($new_posts->("$closed;$closed;$closed"), 1, 'but a closed quarter lives for closed_period_ttl');
	is($new_posts->('SELECT count(*) FROM clari.ttl a JOIN clari.ttl b USING (time_period)'), 1, 'one version per statement');
	$table->('ttl', ", closed_period_ttl '0'");
	is($new_posts->("$closed;$closed;$closed"), 3, "closed_period_ttl '0' the other way round");
	is($new_posts->("$open;$open"), 0, 'while what is there serves who takes it older');

	$session->query("ALTER SERVER clari OPTIONS (ADD cache_ttl '0')");
	$table->('ttl', '');
	is($new_posts->("$open;$open"), 2, "the server's cache_ttl");
	$table->('ttl', ", cache_ttl '1h'");
	is($new_posts->("$open;$open"), 0, "the table's wins");
	$session->query('ALTER SERVER clari OPTIONS (DROP cache_ttl)');

	$table->('ttl', ", cache_ttl '400ms'");
	$session->query($open);
	wait_until('400 ms are over and it is exported again', sub { $new_posts->($open) == 1 });
	my $expires = $session->query("SELECT expires_at - exported_at < '1 s' AND expires_at > exported_at
		FROM clari_cache WHERE time_period = '2099_Q1'");
	is($expires, 't', 'clari_cache shows when it expires');

	sim_set({ job_seconds => 'hold' });
	$table->('ttl', ", cache_ttl '0'");
	my $before = sim_posts();
	my @sessions = map { ClariSession->new($node)->start($open) } 1 .. 3;
	wait_until('three wait together', sub { sql('SELECT sum(waiters) FROM clari_exports') eq '3' });
	wait_until('for one that is posted', sub { sim_posts() == $before + 1 });
	sim_release();
	is($_->finish, 500, 'rows for each') for @sessions;
	is(sim_posts(), $before + 1, "cache_ttl '0': those who wait together share an export");
	sim_set({ current_quarter => '2026_Q4', known_periods => undef });
};

subtest 'prefetch, refresh, invalidate' => sub {
	start_over($node);
	my $session = ClariSession->new($node);
	is($session->query("SELECT clari_prefetch('clari.forecasts')"), 4, 'clari_prefetch queues and returns');
	is($session->query("SELECT clari_prefetch('clari.forecasts', '{2026_Q1..2026_Q2}')"), 2, 'and counts what is under way');
	wait_until('the exports are posted', sub { sim_posts() == 4 });
	sim_release();
	is($session->query('SELECT count(*) FROM clari.forecasts'), 2000, 'a query waits for them');
	is($session->query("SELECT clari_prefetch('clari.forecasts')"), 0, 'nothing to do for what is fresh');
	is(sim_posts(), 4, 'no POST more');

	$session->start("SELECT clari_refresh('clari.forecasts', '{2026_Q4}')");
	wait_until('clari_refresh exports anew', sub { sim_seen('periods.2026_Q4.post') == 2 });
	is(sql('SELECT count(*) FROM clari.forecasts'), 2000, 'others read the old rows meanwhile');
	ok(!$session->is_finished, 'it waits');
	sim_set({ version => 1 });
	sim_release();
	is($session->finish, 1, 'and returns how many');
	is(sim_posts(), 5, 'one POST');

	is($session->query("SELECT clari_invalidate('clari.forecasts', '{2026_Q1,2026_Q2}')"), 2, 'clari_invalidate counts');
	is($session->query("SELECT count(*) FROM clari.forecasts WHERE time_period > '2026_Q2'"), 1000, 'the others stay');
	is(sim_posts(), 5, 'without a POST');
	sim_set({ job_seconds => 0 });
	is($session->query('SELECT count(*) FROM clari.forecasts'), 2000, 'what was invalidated');
	is(sim_posts(), 7, 'is exported again');
	like($session->query("SELECT clari_refresh('clari.forecasts', '{2019_Q1}')"),
		qr/ERROR:  22023: .*2019_Q1/, 'a period outside of the extent is refused');
	is(sim_posts(), 7, 'before it is exported');
};

subtest 'the current quarter by function, before it is known' => sub {
	my $session = ClariSession->new($node);
	import_tables($node, schema => 'moving', periods => 'current-1..current');
	my %answers = (
		"clari_refresh('clari.forecasts', '{current}')" => qr/^1$/,
		"clari_refresh('clari.forecasts', '{2026_Q3,current}')" => qr/^2$/,
		"clari_refresh('clari.forecasts', '{current+1}')" => qr/ERROR:  22023: .*2027_Q1/,
		"clari_prefetch('clari.forecasts', '{2026_Q3,current}')" => qr/^1$/,
		"clari_refresh('moving.forecasts', '{2026_Q3}')" => qr/^1$/,
		"clari_refresh('moving.forecasts', '{2031_Q1}')" => qr/ERROR:  22023: .*2031_Q1/);
	for my $call (sort keys %answers)
	{
		start_over($node, job_seconds => 0);
		like($session->query("SELECT $call"), $answers{$call}, $call);
		ok(!sim_seen('periods.2027_Q1.post') && !sim_seen('periods.2031_Q1.post'), '… exports nothing that is not shown');
	}
	start_over($node, job_seconds => 0);
	is($session->query("SELECT clari_prefetch('moving.forecasts', '{2031_Q1}')"), 1, 'clari_prefetch asks which it is');
	is($session->query('SELECT count(*) > 0 FROM moving.users'), 't', 'and a query');
	is(sim_seen('periods.2031_Q1.post') // 0, 0, 'but not for one that may not be shown');
};

subtest 'clari_refresh asks again at once after a failure' => sub {
	my $session = ClariSession->new($node);
	for my $call ("clari_refresh('moving.forecasts')", "clari_refresh('moving.forecasts', '{current}')",
		"clari_refresh('moving.forecasts', '{2026_Q3}')", "clari_refresh('clari.forecasts', '{2026_Q4}')")
	{
		start_over($node, job_seconds => 0);
		sim_fault({ status => 401 }, step => 'post', times => 1);
		like($session->query("SELECT $call"), qr/ERROR:  28000: /, "$call fails");
		my $posts = sim_posts();
		# Of one quarter: the others of the table might be exported before the error ends the query.
		my $query = 'SELECT count(*) FROM ' . ($call =~ /'(\S+)'/)[0] . ($call =~ /2026_Q4/ ? " WHERE time_period = '2026_Q4'" : '');
		like($session->query($query), qr/ERROR:  28000: /, 'a query is given the remembered failure');
		is(sim_posts(), $posts, 'at no POST');
		like($session->query("SELECT $call"), qr/^[12]$/, 'the next call succeeds');
		cmp_ok(sim_posts(), '>', $posts, 'by an export of its own');
	}
	# Nor does a stale row stand for the new one.
	start_over($node, job_seconds => 0);
	sql(q{ALTER FOREIGN TABLE moving.forecasts OPTIONS (ADD stale_if_error '1h', ADD cache_ttl '0', ADD closed_period_ttl '0')});
	$session->query('SELECT count(*) FROM moving.forecasts');
	sim_fault({ status => 500 }, step => 'post', times => 100);
	sql(q{ALTER SERVER clari OPTIONS (ADD max_retries '0')});
	like($session->query("SELECT clari_refresh('moving.forecasts', '{current}')"), qr/ERROR: /, 'a refresh that fails is an error, whatever is stale')
		for 1 .. 2;
	sql(q{ALTER SERVER clari OPTIONS (DROP max_retries);
		ALTER FOREIGN TABLE moving.forecasts OPTIONS (DROP stale_if_error, DROP cache_ttl, DROP closed_period_ttl)});
};

subtest 'rights' => sub {
	start_over($node, job_seconds => 0);
	sql(q{CREATE ROLE reader LOGIN; CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA clari TO reader, other;
		GRANT SELECT ON clari.forecasts TO other});
	my $as = sub {
		my ($role, $query) = @_;
		my ($code, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$query", extra_params => [ '-U', $role ]);
		return "$out$err";
	};
	for my $function (qw(prefetch refresh invalidate))
	{
		my $call = "SELECT clari_$function('clari.forecasts')";
		like($as->('reader', $call), qr/ERROR:  42501: permission denied for function/, "clari_$function is not for PUBLIC");
		sql("GRANT EXECUTE ON FUNCTION clari_$function TO reader, other");
		like($as->('reader', $call), qr/ERROR:  42501: permission denied for foreign table forecasts/, 'it asks for SELECT');
		like($as->('other', $call), qr/ERROR:  42704: .*HINT:  .*CREATE USER MAPPING/s, 'and for a user mapping');
	}
	like($as->('other', 'SELECT count(*) FROM clari.forecasts'), qr/ERROR:  42704: .*HINT:  .*CREATE USER MAPPING/s,
		'as a query does');
	like($as->('reader', 'SELECT clari_invalidate()'), qr/ERROR:  42501: /, 'the whole cache is for superusers');
	like($as->('reader', "SELECT * FROM $_"), qr/ERROR:  42501: /, "$_ is for members of pg_monitor")
		for qw(clari_cache clari_exports);
	is(sim_posts(), 0, 'no POST for any of these');

	sql(q{CREATE USER MAPPING FOR other SERVER clari OPTIONS (api_key 'other-key')});
	my $digest_of = "SELECT md5(string_agg(forecast_amount::text, ',')) FROM clari.forecasts WHERE time_period = '2026_Q1'";
	my $mine = sql("/* mine */ $digest_of");
	is(sim_posts(), 1, 'one POST with the one key');
	my $others = $as->('other', $digest_of);
	is(sim_posts(), 2, 'one with the other');
	is(sim_seen('periods.2026_Q1.post'), 2, 'for the same period');
	$others =~ s/\s+$//;
	isnt($others, $mine, 'a rowset never serves another key');
	is(sql($digest_of), $mine, 'nor then the first');
	is($as->('other', "SELECT clari_invalidate('clari.forecasts', '{2026_Q1}')"), 1, 'invalidating concerns the own key');
	sql($digest_of);
	is(sim_posts(), 2, 'alone');
};

subtest 'shared_cache_size holds, and the least recently used goes first' => sub {
	start_over($node, job_seconds => 0, owners => 200);
	$node->append_conf('postgresql.conf', "clari_fdw.shared_cache_size = '1MB'");
	$node->restart;
	sql("CREATE SCHEMA many");
	sql("IMPORT FOREIGN SCHEMA $_ FROM SERVER clari INTO many
		OPTIONS (periods '2024_Q1..2026_Q4', table_prefix '${_}_')") for qw(net_arr bookings renewals);
	my $session = ClariSession->new($node);
	my $read = sub {
		my ($forecast, $period) = @_;
		return $session->query("SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text))
			FROM many.${forecast}_forecasts t WHERE time_period = '$period'");
	};
	my @all;
	for my $forecast (qw(net_arr bookings renewals))
	{
		push @all, map { [ $forecast, $_ ] } map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2024 .. 2026;
	}
	my (%rows, $most);
	$most = 0;
	for my $what (@all)
	{
		$rows{"@$what"} = $read->(@$what);
		$read->('net_arr', '2024_Q1');
		my $bytes = $session->query("SELECT coalesce(sum(bytes), 0) FROM clari_cache WHERE tier = 'memory'");
		$most = $bytes if $bytes > $most;
	}
	note("at most $most bytes in memory");
	cmp_ok($most, '<=', 1024 * 1024, 'the bound holds');
	cmp_ok($most, '>=', 768 * 1024, 'and is made use of');
	is($session->query("SELECT count(DISTINCT tier) FROM clari_cache"), 2, 'some are in memory, some on disk');
	is($session->query("SELECT tier FROM clari_cache WHERE forecast = 'net_arr' AND time_period = '2024_Q1'"), 'memory',
		'what was used all the time stays in memory');
	is($session->query("SELECT tier FROM clari_cache WHERE forecast = 'net_arr' AND time_period = '2024_Q2'"), 'disk',
		'what was used longest ago went');
	is($session->query("SELECT tier FROM clari_cache WHERE forecast = 'renewals' AND time_period = '2026_Q4'"), 'memory',
		'what came last is there');
	is($read->(@$_), $rows{"@$_"}, "@$_ reads the same again") for @all;
	is(sim_posts(), 36, 'without a second export');
};

subtest 'the next export goes to the worker that has the least left to decode' => sub {
	start_over($node, job_seconds => 0, owners => 5);
	sql("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
	sim_set({ owners => 3000 }, period => '2026_Q1');
	is(sql('SELECT count(*) > 3000 FROM clari.entries'), 't', 'how large each is has been seen');
	sim_set({ job_seconds => 'hold' });
	my $exporting = sub { sql("SELECT query FROM pg_stat_activity WHERE backend_type = 'clari_fdw worker' AND query ~ '$_[0]'") };
	for my $period (map { "2026_Q$_" } 1 .. 4)
	{
		sql("SELECT clari_invalidate('clari.entries', '{$period}'), clari_prefetch('clari.entries', '{$period}')");
		wait_until("a worker has $period", sub { $exporting->("exporting.*$period") ne '' });
	}
	is($exporting->('2026_Q1'), 'exporting net_arr 2026_Q1', 'one worker has the large one alone');
	is($exporting->('2026_Q2'), 'exporting net_arr 2026_Q2, net_arr 2026_Q3, net_arr 2026_Q4', 'the other all that are small');
};

subtest 'a query that waits says so once' => sub {
	start_over($node, job_seconds => 'hold');
	my $said = sub {
		my ($setting, $until) = @_;
		my $session = ClariSession->new($node);
		$session->query("LOAD 'clari_fdw'; $setting");
		$session->start($digest);
		wait_until('it waits for all', sub { sql('SELECT count(*), sum(waiters) FROM clari_exports') eq '4|4' });
		wait_until('it has said so', sub { $session->so_far =~ $until });
		sim_release();
		my $output = $session->finish;
		$session->quit;
		start_over($node, job_seconds => 'hold');
		return $output;
	};
	my $output = $said->("SET clari_fdw.wait_notice_delay = '100ms'", qr/HINT/);
	like($output, qr/NOTICE:.*waiting for exports of "net_arr"/, 'what for');
	like($output, qr/DETAIL:  The query began to wait at \d{4}-.*, and is now waiting for 2026_Q1, 2026_Q2, 2026_Q3, 2026_Q4\./, '… for which quarters, since when');
	is(scalar(() = $output =~ /NOTICE/g), 1, '… and once');
	unlike($said->('SET clari_fdw.wait_notice_delay = -1', qr//), qr/NOTICE/, 'a setting turns it off');
	# Each alone is there in less.
	start_over($node, job_seconds => 0.4);
	sql(q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '1')});
	my $session = ClariSession->new($node);
	$output = $session->query("LOAD 'clari_fdw'; SET clari_fdw.wait_notice_delay = '1s'; $digest");
	like($output, qr/NOTICE:.*waiting for exports.*now waiting for [\d_Q, ]+\./s, 'what it waits for one after the other is counted together');
	is(scalar(() = $output =~ /NOTICE/g), 1, '… and said once');
	sql(q{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')});
};

done_testing();
