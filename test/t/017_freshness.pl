# How old rows may be: TTLs, the two windows of RFC 5861, what is remembered, and that restarts change no age.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use Test::More;

# Every quarter that is known is closed by its date; the tables give both TTLs, so it makes no difference.
start_sim(job_seconds => 0, keys => { 'test-key' => {} }, known_periods => [ map { "2026_Q$_" } 1, 2, 4 ],
	concurrent_limit => 100, monthly_quota => 100_000, owners => 100, null_emails => 0);
my $node = start_node('freshness');
create_server($node, max_retries => 0);
import_tables($node, cache_ttl => '1h', closed_period_ttl => '1h');
my $session = ClariSession->new($node);
my $only = "time_period = '2026_Q1'";

# A session's answer, messages included.
sub query { return $session->query($_[0]); }

sub restart
{
	$session->quit;
	$node->restart;
	$session = ClariSession->new($node);
	return;
}

# A table of forecasts with TTLs of so many milliseconds, and more options.
sub table
{
	my ($name, $ttl, @options) = @_;
	my $options = join('', map { ", $_" } ($ttl eq '' ? () : ("cache_ttl '$ttl'", "closed_period_ttl '$ttl'")), @options);
	sql("CREATE FOREIGN TABLE clari.$name (owner_name text, owner_email text, forecast_amount numeric, quota_amount numeric,
			crm_total numeric, crm_closed numeric, adjustment_amount numeric, time_period text, exported_at timestamptz,
			forecast_name text)
		SERVER clari OPTIONS (object 'forecasts', forecast 'net_arr', periods '2026_Q1..2026_Q4' $options)");
	return;
}

table('short', '300ms');
table('revalidating', '300ms', "stale_while_revalidate '1h'");
table('too_late_to_revalidate', '300ms', "stale_while_revalidate '100ms'");
table('forgiving', '300ms', "stale_if_error '1h'");
table('too_late_to_forgive', '300ms', "stale_if_error '100ms'");
table('lenient', '300ms', "stale_while_revalidate '1h'", "stale_if_error '1h'");
table('zero', '0');
query('SET client_min_messages = warning; SELECT clari_create_tables(); RESET client_min_messages');

# Which version of the data a table shows; in the answer to a query.
my %version;

sub rows_query
{
	my ($table) = @_;
	return qq{SELECT md5(string_agg(owner_email || coalesce(forecast_amount::text, ''), ',' ORDER BY owner_email COLLATE "C"))
		FROM $table WHERE $only};
}

sub shown { my ($answer) = @_; return $version{ last_line($answer) } // "no version: $answer"; }

sub version_in { return shown(query(rows_query("clari.$_[0]"))); }

my ($posts_before, $requests_before);

sub wait_until_old
{
	wait_until('it is old', sub {
		query("SELECT exported_at < now() - interval '500 ms' FROM clari_cache WHERE $only") eq 't' });
	return;
}

# The cache holds this version, from half a second ago and longer; the service would give the next.
sub make_old
{
	my ($held) = @_;
	start_over($node, version => $held);
	query("SELECT count(*) FROM clari.forecasts WHERE $only");
	sim_set({ version => $held + 1 });
	wait_until_old();
	($posts_before, $requests_before) = (sim_posts(), sim_requests());
	return;
}

# Since then.
sub posts { return sim_posts() - $posts_before; }
sub requests { return sim_requests() - $requests_before; }

sub exports { return sql('SELECT count(*) FROM clari_exports'); }

subtest 'versions' => sub {
	for my $number (0 .. 3)
	{
		sim_set({ version => $number });
		query("SELECT clari_refresh('clari.forecasts', '{2026_Q1}')");
		is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1', name => "version $number");
		$version{ query(rows_query('clari.forecasts')) } = $number;
	}
	is(join(',', sort values %version), '0,1,2,3', 'can be told apart');
};

# Whatever happens between.
my %between = ('without a restart' => sub { }, 'after a restart' => \&restart);
for my $when (sort keys %between)
{
	subtest "TTL $when" => sub {
		make_old(0);
		$between{$when}->();
		is(version_in('forecasts'), 0, 'what is fresh serves');
		is(requests(), 0, 'without asking Clari for anything');
		is(version_in('short'), 1, 'to who wants it fresher it does not');
		is(posts(), 1, 'one POST');
		is(version_in('forecasts'), 1, 'all see what that brought');
	};

	subtest "stale_while_revalidate $when" => sub {
		make_old(0);
		$between{$when}->();
		sim_set({ job_seconds => 'hold' });
		my $answer = query(rows_query('clari.revalidating'));
		is(shown($answer), 0, 'the old rows come while the export runs');
		unlike($answer, qr/WARNING/, 'without a warning');
		wait_until('an export runs behind', sub { posts() == 1 });
		is(version_in('revalidating'), 0, 'the next statement does not wait either');
		is(exports(), 1, 'for the one export');
		sim_set({ job_seconds => 0 });
		sim_release();
		wait_until('it is through', sub { exports() eq '0' });
		is(posts(), 1, 'there was one POST');
		is(version_in('revalidating'), 1, 'the next statement has the new rows');
	};

	subtest "stale_while_revalidate when it is too late $when" => sub {
		make_old(0);
		$between{$when}->();
		is(version_in('too_late_to_revalidate'), 1, 'the query waits for the new rows');
		is(posts(), 1, 'one POST');
	};

	subtest "stale_if_error $when" => sub {
		make_old(0);
		$between{$when}->();
		sim_fault({ status => 500, json => { code => 'broken', message => 'Sorry.' } }, step => 'post');
		for my $time ('the first query', 'the second')
		{
			my $answer = query(rows_query('clari.forgiving'));
			is(shown($answer), 0, "$time gets the old rows");
			like($answer, $time =~ /first/ ? qr/WARNING: .*2026_Q1/s : qr/^NOTICE: .*2026_Q1/s, 'with a warning, and then a notice');
			like($answer, qr/stale|old/, 'which says so');
			like($answer, qr/500/, 'and why');
			is(posts(), 1, 'one POST');
		}
		like(query(rows_query('clari.short')), qr/ERROR: .*2026_Q1/s, 'who does not forgive gets the error');
		like(query(rows_query('clari.too_late_to_forgive')), qr/ERROR: .*2026_Q1/s, 'so does who comes too late');
		is(version_in('forecasts'), 0, 'and to whom it is fresh it serves');
		is(posts(), 1, 'all of one POST, since the error is remembered');
	};
}

subtest 'a revalidation that fails' => sub {
	make_old(0);
	sim_fault({ status => 400 }, step => 'post');
	is(version_in('revalidating'), 0, 'the old rows come');
	wait_until('the export has failed', sub { posts() == 1 && exports() eq '0' });
	is(version_in('revalidating'), 0, 'and come again');
	is(exports(), 0, 'without another export');
	is(posts(), 1, 'for ten seconds');
};

# Each: what fails, how.
my %unmasked = (
	'a key that Clari refuses' => [ '28000', sub { sim_set({ keys => {} }) } ],
	'a user without access' => [ '28000', sub { sim_set({ keys => { 'test-key' => { no_optin => ['*'] } } }) } ]);
for my $what (sort keys %unmasked)
{
	subtest "stale_if_error does not hide $what" => sub {
		make_old(0);
		$unmasked{$what}[1]->();
		my $answer = query(rows_query('clari.forgiving'));
		like($answer, qr/^ERROR:  $unmasked{$what}[0]: /m, 'an error');
		is(shown($answer) =~ /^\d$/ ? 'rows' : 'no rows', 'no rows', 'and no rows');
	};
}

subtest 'a TTL of 0' => sub {
	make_old(0);
	version_in('zero') for 1 .. 3;
	is(posts(), 3, 'an export for each statement');
	sim_set({ job_seconds => 'hold' });
	my @sessions = map { ClariSession->new($node)->start(rows_query('clari.zero')) } 1 .. 3;
	wait_until('three wait', sub { sql('SELECT sum(waiters) FROM clari_exports') eq '3' });
	wait_until('an export runs', sub { posts() == 4 });
	sim_release();
	is(shown($_->finish), 1, 'rows for each that waits') for @sessions;
	is(posts(), 4, 'of one export');
};

# Each: period, how it is, what a query prints.
my %nothing = (
	'an export without entries' => [ '2026_Q2', qr/^0$/ ],
	'the wrong quarter' => [ '2026_Q3', qr/(WARNING|NOTICE):  02000: .*2026_Q3.*2026_Q4.*^0$/ms ]);
for my $what (sort keys %nothing)
{
	subtest "$what is remembered" => sub {
		my ($period, $expected) = @{ $nothing{$what} };
		start_over($node, version => 0);
		sim_set({ owners => 0 }, period => '2026_Q2');
		my $count = "SELECT count(*) FROM clari.forecasts WHERE time_period = '$period'";
		like(query($count), $expected, 'there are no rows');
		is(sim_posts(), 1, 'one POST');
		my $requests = sim_requests();
		like(query($count), $expected, 'nor then');
		restart();
		like(query($count), $expected, 'nor after a restart');
		is(sim_requests(), $requests, 'without asking Clari for anything');
		wait_until('300 ms are over and who wants it fresher asks again', sub {
			query($count =~ s/forecasts/short/r);
			sim_posts() == 2 });
	};
}

# Each: how an export fails.
my %failures = (
	'a refused request' => sub { sim_fault({ status => 400 }, step => 'post') },
	'a refused key' => sub { sim_set({ keys => {} }) },
	'a failed job' => sub { sim_fault({ job => { end_state => 'FAILED' } }, step => 'post') },
	'a damaged file' => sub { sim_fault({ cut => 1000 }, step => 'results') });
for my $what (sort keys %failures)
{
	subtest "$what is remembered for ten seconds" => sub {
		start_over($node, version => 0);
		$failures{$what}->();
		my $error = query(rows_query('clari.forecasts'));
		like($error, qr/^ERROR: /m, 'an error');
		my $requests = sim_requests();
		is(query(rows_query('clari.forecasts')), $error, 'the same again');
		is(query(rows_query('clari.short')), $error, 'also to who wants it fresher');
		is(sim_requests(), $requests, 'without asking Clari for anything');
	};
}

# Each: options of the server, of the table; then whether the table shows the old version, at how many POSTs.
my @precedence = (
	[ "the server's TTL", "cache_ttl '0', closed_period_ttl '0'", '', 1, 1 ],
	[ "the table's TTL", "cache_ttl '0', closed_period_ttl '0'", "cache_ttl '1h', closed_period_ttl '1h'", 0, 0 ],
	[ "the table's TTL of 0", "cache_ttl '1h', closed_period_ttl '1h'", "cache_ttl '0', closed_period_ttl '0'", 1, 1 ],
	[ "the server's stale_while_revalidate", "stale_while_revalidate '1h'", "cache_ttl '0', closed_period_ttl '0'", 0, 1 ],
	[ "the table's stale_while_revalidate of 0", "stale_while_revalidate '1h'",
		"cache_ttl '0', closed_period_ttl '0', stale_while_revalidate '0'", 1, 1 ],
	[ "the server's stale_if_error", "stale_if_error '1h'", "cache_ttl '0', closed_period_ttl '0'", 0, 1, 'failing' ],
	[ "the table's stale_if_error of 0", "stale_if_error '1h'",
		"cache_ttl '0', closed_period_ttl '0', stale_if_error '0'", 'error', 1, 'failing' ]);
for my $case (@precedence)
{
	my ($what, $server, $table, $expected, $posts, $failing) = @$case;
	subtest "$what counts" => sub {
		make_old(0);
		table('chosen', '', $table || ());
		sql('ALTER SERVER clari OPTIONS (' . $server =~ s/(^|, )/$1ADD /gr . ')');
		sim_fault({ status => 500 }, step => 'post') if $failing;
		my $answer = query(rows_query('clari.chosen'));
		$expected eq 'error' ? like($answer, qr/^ERROR: /m, 'an error') : is(shown($answer), $expected, 'the version');
		wait_until('all is through', sub { exports() eq '0' });
		is(posts(), $posts, 'POSTs');
		sql('ALTER SERVER clari OPTIONS (' . $server =~ s/(\w+) '\w+'/DROP $1/gr . '); DROP FOREIGN TABLE clari.chosen');
	};
}

# The file is lost, and its job is downloaded again for who takes old rows: that is not for who joins him.
my %strict = ('a query with a shorter TTL' => rows_query('clari.short'),
	'clari_refresh' => "SELECT clari_refresh('clari.forecasts', '{2026_Q1}')",
	'clari_sync' => "CALL clari_sync('clari.short', '{2026_Q1}')");
subtest 'who joins a download that serves another' => sub {
	make_old(0);
	unlink cache_files($node, qr/\.rowset$/);
	restart(); # nor is it in memory
	sim_fault({ delay => 'hold' }, step => 'results', times => 1);
	my $downloads = sim_seen('total.results');
	my $first = ClariSession->new($node)->start(rows_query('clari.forecasts'));
	wait_until('the job is downloaded again', sub { sim_seen('total.results') == $downloads + 1 && sim_seen('held_answers') == 1 });
	my %sessions = map { $_ => ClariSession->new($node)->start($strict{$_}) } keys %strict;
	# Who must have what is POSTed after the call waits for this to be over, and then for his own.
	my $pids = join(',', map { $_->{pid} } $first, values %sessions);
	wait_until('all wait', sub { sql('SELECT sum(waiters) FROM clari_exports') eq '2'
		  && sql("SELECT count(*) FROM pg_stat_activity WHERE pid IN ($pids) AND wait_event_type = 'Extension'") eq '4' });
	is(posts(), 0, 'without a POST');
	sim_release();
	is(shown($first->finish), 0, 'who asked for it gets the old rows');
	my %answers = map { $_ => $sessions{$_}->finish } sort keys %sessions;
	is(shown($answers{'a query with a shorter TTL'}), 1, 'a query with a shorter TTL has the new ones');
	unlike($answers{$_}, qr/ERROR|WARNING/, "$_ ends well") for sort keys %answers;
	is(version_in('forecasts'), 1, 'all have by now');
	is(shown(query(rows_query('clari_forecasts'))), 1, 'as what was synced has');
	is(posts(), 1, 'of one POST');
};

subtest 'who asks for new rows never gets old ones' => sub {
	for my $call ("SELECT clari_refresh('clari.lenient', '{2026_Q1}')", "CALL clari_sync('clari.lenient', '{2026_Q1}')")
	{
		make_old(0);
		sim_set({ job_seconds => 'hold' });
		my $caller = ClariSession->new($node)->start($call);
		wait_until('the export runs', sub { posts() == 1 });
		ok(!$caller->is_finished(0.2), "$call waits");
		is(version_in('lenient'), 0, 'while a query does not');
		sim_set({ job_seconds => 0 });
		sim_release();
		unlike($caller->finish, qr/ERROR|WARNING/, 'it ends well');
		is(version_in('forecasts'), 1, 'with the new rows');
		is(posts(), 1, 'of one POST');
		is(shown(query(rows_query('clari_forecasts'))), 1, 'which are merged') if $call =~ /sync/;

		wait_until_old(); # for clari_sync a closed quarter is fresh until its TTL is over
		sim_set({ version => 2 });
		sim_fault({ status => 500 }, step => 'post');
		like(query($call), qr/^ERROR: .*/m, 'one that fails is an error');
		is(version_in('forecasts'), 1, 'and leaves what was there');
		is(shown(query(rows_query('clari_forecasts'))), 1, 'in the table, too') if $call =~ /sync/;
	}
};

done_testing();
