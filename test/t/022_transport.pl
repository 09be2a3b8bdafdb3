# How it gets there: addresses, names, TLS, redirects, proxies, connections and clocks, without the key going astray.
use strict;
use warnings FATAL => 'all';

# The test runs in a namespace with a network and a resolver of its own, where the system lets an ordinary user make one.
BEGIN
{
	my $setup = 'PATH=$PATH:/usr/sbin:/sbin; ip link set lo up && echo 53 > /proc/sys/net/ipv4/ip_unprivileged_port_start && '
	  . 'f=$(mktemp) && printf "nameserver 127.0.0.1\nnameserver 127.0.0.1\noptions timeout:30 attempts:5\n" > $f && chmod 644 $f && mount --bind $f /etc/resolv.conf && rm $f';
	if (!$^C && !defined $ENV{CLARI_OWN_NETWORK} && system("unshare -Urmn sh -c '$setup' 2>/dev/null") == 0)
	{
		$ENV{CLARI_OWN_NETWORK} = 1;
		my $me = "unshare -U --map-user=$< --map-group=" . ($( + 0);
		exec('unshare', '-Urmn', 'sh', '-c', "$setup && exec $me \"\$@\"", 'sh', $^X, (map { "-I$_" } @INC), $0);
	}
}

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use IPC::Run;
use JSON::PP;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $own_network = $ENV{CLARI_OWN_NETWORK};
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $dir = PostgreSQL::Test::Utils::tempdir();
my @peers;
END { local $?; $_->kill_kill for @peers; }

# Starts a peer of peers.py; returns its port and its log.
sub start_peer
{
	my ($kind, @more) = @_;
	my ($port, $log) = map { "$dir/$kind." . @peers . $_ } '.port', '.log';
	push @peers, IPC::Run::start([ 'python3', "$FindBin::RealBin/peers.py", $kind, $port, $log, @more ]);
	wait_until("$kind listens", sub { -s $port });
	return (slurp_file($port) + 0, $log);
}

# ---- certificates: of an authority, and one that nobody knows ----

sub openssl { run_log([ 'openssl', @_ ]) or die "openssl @_"; return; }

my @new_key = (qw(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes));
for my $ca ('ca', 'stranger')
{
	openssl('req', '-x509', @new_key, '-subj', "/CN=clari_fdw test $ca", '-keyout', "$dir/$ca.key", '-out', "$dir/$ca.crt");
}

# Files of a certificate and its key.
sub certificate
{
	my ($name, $names, %how) = @_;
	my $ca = $how{ca} // 'ca';
	append_to_file("$dir/$name.ext", "subjectAltName=$names\n");
	openssl('req', @new_key, '-subj', "/CN=$name", '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr");
	openssl('x509', '-req', '-in', "$dir/$name.csr", '-CA', "$dir/$ca.crt", '-CAkey', "$dir/$ca.key", '-CAcreateserial',
		'-days', $how{days} // 2, '-extfile', "$dir/$name.ext", '-out', "$dir/$name.crt");
	return ("$dir/$name.crt", "$dir/$name.key");
}

my @good = certificate('good', 'DNS:localhost,IP:127.0.0.1');
my $plain_port = start_sim(
	job_seconds => 0.05, owners => 50, concurrent_limit => 100, monthly_quota => 100_000,
	also => [
		[ '127.0.0.1', @good ], [ '127.0.0.1', @good ], ['127.0.0.1'], ['::1'],
		[ '127.0.0.1', certificate('elsewhere', 'DNS:elsewhere.example') ],
		[ '127.0.0.1', certificate('expired', 'DNS:localhost', days => 0) ],
		[ '127.0.0.1', certificate('unknown', 'DNS:localhost', ca => 'stranger') ] ]);
my ($tls, $other_tls, $other_plain, $ipv6, $elsewhere, $expired, $unknown) = sim_other_ports();
my ($full) = start_peer('full');
my ($mute) = start_peer('mute');
my ($proxy, $proxy_log) = start_peer('proxy');
my %denial = map { $_ => (start_peer('denial', $_))[0] } 407, 403, 502;
my ($relay, $relay_log) = start_peer('relay', $tls);
my ($both, $both_log) = start_peer('both', $plain_port, @good);
my ($tls_proxy, $tls_proxy_log) = start_peer('both', $proxy, @good);
start_peer('dns') if $own_network;

# What the environment says of proxies does not count.
my $node;
{
	local @ENV{qw(http_proxy https_proxy ALL_PROXY no_proxy)} = (('http://127.0.0.1:1') x 3, '');
	$node = start_node('transport', 'log_min_messages = debug2', 'log_statement = none',
		'log_min_error_statement = panic', 'clari_fdw.max_workers = 1');
}
my ($session, $other, $boss) = map { ClariSession->new($node) } 1 .. 3;

my $columns = join(', ', split ' ', $ClariCluster::columns{entries});
my ($servers, $table) = (0);

# A new server, and its table, which rows() and error() read; nothing of it is cached.
sub new_server
{
	my ($base_url, %options) = @_;
	my %all = (base_url => $base_url, poll_interval => '20ms', max_retries => 1, export_timeout => '10s', %options);
	my $key = delete $all{api_key} // 'test-key';
	my $list = join(', ', map { "$_ '$all{$_}'" } sort keys %all);
	my $name = 's' . ++$servers;
	$table = "$name.entries";
	my $answer = $boss->query("CREATE SERVER $name FOREIGN DATA WRAPPER clari_fdw OPTIONS ($list);
		CREATE USER MAPPING FOR CURRENT_USER SERVER $name OPTIONS (api_key '$key');
		CREATE SCHEMA $name;
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER $name INTO $name OPTIONS (periods '2024_Q1..2026_Q4')");
	die $answer if $answer =~ /ERROR/;
	return $table;
}

sub query { return "SELECT $columns FROM $table WHERE time_period = '" . ($_[0] // '2026_Q1') . q{'}; }

sub rows_come { my ($name) = @_; return is_as_generated($node, $table, 'entries', '2026_Q1', name => $name); }

# The error of a query.  Somebody else asks, too, and is canceled in the midst of it.
sub error
{
	$session->start(query());
	like($other->start(query())->cancel($boss), qr/^ERROR:  (57014|HV00N): /m, 'who is canceled in the midst of it is gone');
	return $session->finish;
}

# ---- not getting there ----

append_to_file("$dir/$_.crt", '') for 'locked', 'empty';
chmod 0, "$dir/locked.crt";
POSIX::mkfifo("$dir/pipe.crt", 0600) or die $!;
my $name_error = qr/resolve/i;
my $no_such_name = ('n' x 64) . '.invalid';    # no label is so long: nobody is asked
# [what, base_url, options, what it tells, whether another attempt is made]
my @unreachable = (
	[ 'a connection that is refused', 'http://127.0.0.1:1/v4', {}, [ qr{http://127\.0\.0\.1:1\b}, qr/connect|refused/i ], 1 ],
	[ 'a name that is none', "https://$no_such_name/v4", {}, [ qr{\Q$no_such_name\E|n{40}}, $name_error ], 1 ],
	[ 'a connection that does not come about', "https://127.0.0.1:$full/v4", { connect_timeout => '300ms' },
		[ qr{https://127\.0\.0\.1:$full\b}, qr/tim(e|ed)[ -]?out/i ], 1 ],
	[ 'a server that is mute', "https://127.0.0.1:$mute/v4", { connect_timeout => '300ms' },
		[ qr{https://127\.0\.0\.1:$mute\b}, qr/tim(e|ed)[ -]?out/i ], 1 ],
	[ 'a server that is mute, without TLS', "http://127.0.0.1:$mute/v4", { request_timeout => '300ms' },
		[ qr{http://127\.0\.0\.1:$mute\b}, qr/nothing for 0\.3 s/ ], 1 ],
	[ 'a certificate of an authority that nobody knows', "https://localhost:$unknown/v4", { ca_file => "$dir/ca.crt" },
		[ qr{https://localhost:$unknown\b}, qr/certificate/, qr/HINT:  .*ca_file/ ], 0 ],
	[ 'an authority that the system does not know', "https://localhost:$tls/v4", {},
		[ qr{https://localhost:$tls\b}, qr/certificate/, qr/HINT:  .*ca_file/ ], 0 ],
	[ 'a certificate of another host', "https://localhost:$elsewhere/v4", { ca_file => "$dir/ca.crt" },
		[ qr{https://localhost:$elsewhere\b}, qr/certificate|subject name/ ], 0 ],
	[ 'a certificate that is expired', "https://localhost:$expired/v4", { ca_file => "$dir/ca.crt" },
		[ qr{https://localhost:$expired\b}, qr/expired/ ], 0 ],
	[ 'a proxy that is not there', "https://localhost:$tls/v4", { ca_file => "$dir/ca.crt", proxy => '127.0.0.1:1' },
		[ qr{ could not reach the proxy at http://127\.0\.0\.1:1\n}, qr/connect|refused/i, qr/HINT:  .*option "proxy"/ ], 1 ],
	[ 'a SOCKS proxy that is not there', "https://localhost:$tls/v4", { ca_file => "$dir/ca.crt", proxy => 'socks5h://127.0.0.1:1' },
		[ qr{ could not reach the proxy at socks5h://127\.0\.0\.1:1\n}, qr/HINT:  .*option "proxy"/ ], 1 ],
	[ 'a proxy that is mute', "https://localhost:$tls/v4",
		{ ca_file => "$dir/ca.crt", proxy => "http://127.0.0.1:$mute", connect_timeout => '300ms' },
		[ qr{ could not reach Clari at https://localhost:$tls through the proxy at http://127\.0\.0\.1:$mute\n} ], 1 ],
	[ 'a proxy that is mute for request_timeout', "https://localhost:$tls/v4",
		{ ca_file => "$dir/ca.crt", proxy => "http://127.0.0.1:$mute", request_timeout => '300ms' },
		[ qr{ could not reach Clari at https://localhost:$tls through the proxy at }, qr/HINT:  .*request_timeout/ ], 1 ],
	[ 'a proxy by TLS whose certificate is of an authority that nobody knows', "https://localhost:$tls/v4",
		{ ca_file => "$dir/ca.crt", proxy => "https://localhost:$unknown" },
		[ qr{ could not reach Clari at https://localhost:$tls through the proxy at https://localhost:$unknown\n}, qr/certificate/ ], 0 ],
	[ 'a certificate of an authority that nobody knows, behind a proxy', "https://localhost:$unknown/v4",
		{ ca_file => "$dir/ca.crt", proxy => "http://127.0.0.1:$proxy" },
		[ qr{ could not reach Clari at https://localhost:$unknown\n}, qr/certificate/, qr/HINT:  .*ca_file/ ], 0 ],
	(map { [ "a proxy that refuses with $_", "https://localhost:$tls/v4",
		{ ca_file => "$dir/ca.crt", proxy => "http://127.0.0.1:$denial{$_}" },
		[ qr{ the proxy at http://127\.0\.0\.1:$denial{$_} refused the connection to Clari at https://localhost:$tls with HTTP status $_\n},
			$_ == 407 ? qr/HINT:  .*no credentials/ : qr/HINT:  .*option "proxy"/ ], $_ == 502 ? 1 : 0 ] } sort keys %denial),
	(map { [ "a ca_file that is $_->[0]", "https://localhost:$tls/v4", { ca_file => $_->[1] },
		[ qr/ $_->[2]\n/, qr/HINT:  .*option "ca_file"/ ], 0 ] }
		[ 'not there', '/nowhere/ca.crt', 'could not read CA file "/nowhere/ca.crt": No such file or directory' ],
		[ 'a directory', $dir, qq{could not read CA file "$dir": Is a directory} ],
		[ 'not ours to read', "$dir/locked.crt", qq{could not read CA file "$dir/locked.crt": Permission denied} ],
		[ 'a pipe', "$dir/pipe.crt", qq{CA file "$dir/pipe.crt" is not a regular file} ],
		[ 'empty', "$dir/empty.crt", qq{CA file "$dir/empty.crt" contains no usable certificate} ],
		[ 'a key', "$dir/ca.key", qq{CA file "$dir/ca.key" contains no usable certificate} ]));
push @unreachable, [ 'a name that is not there', 'https://nothing.invalid/v4', {}, [ qr{https://nothing\.invalid}, $name_error ], 1 ]
  if $own_network;
for my $case (@unreachable)
{
	my ($what, $base_url, $options, $tells, $again) = @$case;
	subtest $what => sub {
		start_over($node);
		new_server($base_url, %$options);
		my $error = error();
		like($error, qr/^ERROR:  HV00N: /m, 'an error with SQLSTATE HV00N');
		like($error, qr/2026_Q1/, 'it names the period');
		like($error, $_, "it tells $_") for @$tells;
		unlike($error, qr/may have started/, 'it leaves no doubt') unless $what =~ /without TLS/;
		unlike($error, qr/sEcret|test-key/, 'it tells no secret');
		$again ? like($error, qr/tried 2 times/, 'there was another attempt') : unlike($error, qr/tried/, 'there was no other attempt');
		is(sim_posts(), 0, 'no POST');
		is($boss->query('SELECT state, rows FROM clari_cache'), 'failed|', 'nothing is cached');
	};
}

# ---- slow names ----

SKIP:
{
	skip 'no resolver of our own: "unshare -Urmn" or "ip link set lo up" in it does not work here', 1 unless $own_network;
	subtest 'a name for which no answer comes' => sub {
		start_over($node);
		# The resolver itself waits for minutes, too: whoever waits for it hangs.
		my $slow = new_server('https://slow.invalid/v4', connect_timeout => '1h', export_timeout => '1h');
		$session->start(query());
		wait_until('it is under way', sub { $boss->query(
			"SELECT count(*) FROM clari_exports WHERE base_url ~ 'slow' AND waiters = 1 AND phase <> 'queued'") eq '1' });
		for (1 .. 3)
		{
			new_server("http://127.0.0.1:$plain_port/v4");
			like($other->query("SELECT count(*) FROM $table WHERE time_period = '2026_Q1'"), qr/^\d+$/, 'another export comes');
		}
		like($session->cancel($boss), qr/57014/, 'the query can be canceled');
		is($boss->query("SELECT clari_cancel('$slow')"), 1, 'and the export');
		$session->start("SELECT count(*) FROM $slow WHERE time_period = '2026_Q1'");
		wait_until('it is under way again', sub { $boss->query(
			"SELECT count(*) FROM clari_exports WHERE base_url ~ 'slow' AND waiters = 1 AND phase <> 'queued'") eq '1' });
		terminate_workers($node);
		pass('the worker ends without the answer');
		$boss->query("SELECT pg_cancel_backend($session->{pid})");
		$session->finish;
		$boss->query("SELECT clari_cancel('$slow')");

		new_server('https://slow2.invalid/v4', connect_timeout => '1s');
		like($session->query(query()), qr/^ERROR:  HV00N: .*\n.*slow2\.invalid.*tim(e|ed)[ -]?out/im, 'connect_timeout acts');
	};
}

# ---- TLS, IPv6, proxies ----

sub headers_at { my ($step) = @_; return map { $_->{headers} } grep { $_->{kind} eq $step } sim_last(); }

subtest 'a private authority that ca_file names' => sub {
	start_over($node);
	new_server("https://localhost:$tls/v4", ca_file => "$dir/ca.crt");
	rows_come('the rows come');
	is(scalar(grep { $_->{port} != $tls } sim_last()), 0, 'from there');
	my ($post) = headers_at('post');
	like($post->{'user-agent'}, qr{^clari_fdw/\d+\.\d+}, 'the User-Agent has the version');
	is($post->{apikey}, 'test-key', 'the key is in its header');
};

subtest 'IPv6' => sub {
	start_over($node);
	new_server("http://[::1]:$ipv6/v4");
	rows_come('the rows come');
	is(scalar(grep { $_->{port} != $ipv6 } sim_last()), 0, 'from there');
};

subtest 'a proxy, to https' => sub {
	start_over($node);
	new_server("https://localhost:$tls/v4", ca_file => "$dir/ca.crt", proxy => "http://127.0.0.1:$proxy");
	rows_come('the rows come');
	my $log = slurp_file($proxy_log);
	like($log, qr/^CONNECT localhost:$tls HTTP/m, 'through a tunnel');
	unlike($log, qr/apikey|test-key|GET|POST/, 'into which the proxy cannot see');
};

subtest 'a proxy, to http' => sub {
	start_over($node);
	new_server("http://127.0.0.1:$plain_port/v4", proxy => "http://127.0.0.1:$proxy");
	rows_come('the rows come');
	like(slurp_file($proxy_log), qr{^POST http://127\.0\.0\.1:$plain_port/v4/export/forecast/net_arr HTTP}m, 'through the proxy');
};

subtest 'many periods, one connection' => sub {
	start_over($node);
	new_server("https://localhost:$tls/v4", ca_file => "$dir/ca.crt", max_concurrent_exports => 1);
	is($session->query("SELECT count(DISTINCT time_period) FROM $table"), 12, 'twelve periods come');
	my @requests = sim_last();
	my %connections = map { $_->{connection} => $_ } @requests;
	my %gets = map { $_->{connection} => 1 } grep { $_->{method} eq 'GET' } @requests;
	my $handshakes = grep { !$_->{resumed} } values %connections;
	note(scalar(@requests) . ' requests over ' . keys(%connections) . " connections, $handshakes full handshakes");
	cmp_ok(scalar keys %gets, '<=', 12 + 1, 'connections are used again');
	is($handshakes, 1, 'and one TLS handshake is enough');
};

subtest 'a server that offers HTTP/2, too' => sub {
	start_over($node);
	new_server("https://localhost:$both/v4", ca_file => "$dir/ca.crt");
	rows_come('the rows come');
	is(sim_posts(), 1, 'of one export');
	my %chosen = map { $_ => 1 } split /\n/, slurp_file($both_log);
	is_deeply(\%chosen, { 'http/1.1' => 1 }, 'by HTTP/1.1');
};

subtest 'a proxy that offers HTTP/2, too' => sub {
	start_over($node);
	new_server("https://localhost:$tls/v4", ca_file => "$dir/ca.crt", proxy => "https://localhost:$tls_proxy");
	rows_come('the rows come');
	is(sim_posts(), 1, 'of one export');
	my %chosen = map { $_ => 1 } split /\n/, slurp_file($tls_proxy_log);
	is_deeply(\%chosen, { 'http/1.1' => 1 }, 'by HTTP/1.1');
};

# ---- connections that die ----

# What becomes of the connections through the relay that there are now; returns how many.
sub strike
{
	my ($fate) = @_;
	append_to_file("$relay_log.new", $fate);
	rename("$relay_log.new", "$relay_log.command") or die $!;
	wait_until('it has struck', sub { !-e "$relay_log.command" });
	return slurp_file("$relay_log.count");
}

# Rows of the four quarters of a year.
sub year_query { return "SELECT count(*), count(DISTINCT time_period) FROM $table WHERE time_period LIKE '$_[0]%'"; }

# Requests that were not answered since the log was so long.
sub broken_off { my ($length) = @_; return scalar(() = substr(slurp_file($node->logfile), $length) =~ /: status \d+, .* broken off$/mg); }

# A worker that keeps connections through the relay, by which it has had the quarters of 2024.
sub keep_connections
{
	my ($request_timeout) = @_;
	terminate_workers($node);
	start_over($node);
	new_server("https://localhost:$relay/v4", ca_file => "$dir/ca.crt", request_timeout => $request_timeout, max_retries => 5,
		max_concurrent_exports => 4);
	like($session->query(year_query('2024')), qr/\|4$/, 'with rows of four quarters');
	start_over($node);
	$boss->query('SELECT clari_stats_reset()');
	return;
}

for my $fate (qw(silent close reset closing resetting))
{
	my ($begin, $length);
	my $begin_with = sub {
		my (%settings) = @_;
		keep_connections('2s');
		sim_set(\%settings) if %settings;
		($begin, $length) = (time, -s $node->logfile);
		return;
	};
	my $is_mended = sub {
		my ($answer) = @_;
		like($answer, qr/\|4$/, 'rows of four other quarters come');
		is(sim_seen("periods.2025_Q$_.post"), 1, "of one POST for quarter $_") for 1 .. 4;
		my ($tries, $broken) = ($boss->query('SELECT retries FROM clari_stats'), broken_off($length));
		cmp_ok($broken, '<=', 4, 'no more than one request of each was not answered');
		note(sprintf('%s: %d broken off, %d tries more, %.1f s', $fate, $broken, $tries, time - $begin));
		return;
	};

	subtest "connections that are kept: $fate" => sub {
		$begin_with->();
		cmp_ok(strike($fate), '>=', 4, 'there are some');
		$is_mended->($session->query(year_query('2025')));
	};
	subtest "connections while jobs run: $fate" => sub {
		$begin_with->(job_seconds => 'hold');
		$session->start(year_query('2025'));
		wait_until('the jobs run', sub { 4 == grep { sim_seen("periods.2025_Q$_.poll") > 0 } 1 .. 4 });
		strike($fate);
		sim_release();
		$is_mended->($session->finish);
		sim_set({ job_seconds => 0.05 });
	};
	subtest "connections with POSTs on them: $fate" => sub {
		$begin_with->();
		sim_fault({ delay => 'hold' }, step => 'post');
		$session->start(year_query('2025'));
		wait_until('the POSTs are there', sub { sim_seen('held_answers') == 4 });
		strike($fate);
		$is_mended->($session->finish);
		sim_release();
	};
}

subtest 'connections that are kept, and a server that may be slow' => sub {
	keep_connections('1h');
	cmp_ok(strike('silent'), '>=', 4, 'there are some');
	like($session->query(year_query('2025_Q1')), qr/\|1$/, 'what is not waited for to its end tells, too');
	sleep 4;    # until libcurl, which counts whole seconds, can tell old connections from new ones
	sim_reset();
	like($session->query(year_query('2026')), qr/\|4$/, 'and the others are not used later, either');
	my @requests = sim_last();
	my %connections = map { $_->{connection} => 1 } @requests;
	cmp_ok(scalar keys %connections, '<', @requests, 'but those that are younger');
};

for my $status (421, 408, 404, 503)
{
	my $blamed = $status == 421 || $status == 408;
	subtest "a connection with an answer of $status" => sub {
		keep_connections('10s');
		sim_fault({ status => $status }, step => 'poll', times => 1);
		$session->query(query('2025_Q1'));
		like($session->query(query('2025_Q2') =~ s/SELECT .* FROM/SELECT count(*) FROM/r), qr/^\d+$/, 'rows of another quarter come');
		my (%seen, $answered, $again);
		for my $request (sim_last())
		{
			$again++ if $answered && $seen{ $request->{connection} };
			$seen{ $request->{connection} } = 1 unless $answered;
			$answered ||= $request->{kind} eq 'poll';
		}
		is($again // 0, 0, 'none that there was is used again') if $blamed;
		cmp_ok($again // 0, '>', 0, 'those that there are are used again') unless $blamed;
		is(sim_seen("periods.$_.post"), 1, "one POST for $_") for '2025_Q1', '2025_Q2';
	};
}

# ---- redirects ----

# Requests that went to anywhere but the origin of base_url, and what of the key was in them.
sub check_recorder
{
	my ($home, $others) = @_;
	my @requests = sim_last();
	my @strangers = grep { lc $_->{headers}{host} ne $home } @requests;
	my @leaks = grep { exists $_->{headers}{apikey} || JSON::PP->new->encode($_) =~ /test-key/ } @strangers;
	is(scalar @leaks, 0, 'nobody else has seen the key');
	is(scalar(grep { lc $_->{headers}{host} eq $home && ($_->{headers}{apikey} // '') ne 'test-key' && $_->{kind} ne 'download' } @requests),
		0, 'Clari has seen it each time');
	$others ? cmp_ok(scalar @strangers, '>=', 1, 'the other origin was asked') : is(scalar @strangers, 0, 'nobody else was asked');
	return;
}

my $home = "localhost:$tls";
# [what, Location at the step (and at the results), its status, answered by rows at post and poll, at the results]
my @redirects = (
	[ 'to the same origin', '?again', '?again', 307, 1, 1 ],
	[ 'to the same origin, in full', "https://localhost:$tls/v4/admin/limits", "https://LOCALHOST:$tls/download/{job}", 307, undef, 1 ],
	[ 'to another host', "https://127.0.0.1:$tls/v4/admin/limits", "https://127.0.0.1:$tls/download/{job}", 307, 0, 2 ],
	[ 'to another port', "https://localhost:$other_tls/v4/admin/limits", "https://localhost:$other_tls/download/{job}", 308, 0, 2 ],
	[ 'to another host without TLS', "http://127.0.0.1:$plain_port/v4/admin/limits", "http://127.0.0.1:$plain_port/download/{job}", 307, 0, 0 ],
	[ 'to itself without TLS', "http://localhost:$plain_port/v4/admin/limits", "http://localhost:$plain_port/download/{job}", 302, 0, 0 ],
	[ 'to a host with a bad certificate', "https://localhost:$unknown/v4/admin/limits", "https://localhost:$unknown/download/{job}", 307, 0, 0 ],
	[ 'with somebody\'s password', "https://me:pw\@localhost:$tls/v4/admin/limits", "https://me:pw\@localhost:$tls/download/{job}", 307, 0, 0 ],
	[ 'to a file', 'file:///etc/passwd', 'file:///etc/passwd', 302, 0, 0 ],
	[ 'to another protocol', "gopher://localhost:$tls/", "ftp://localhost:$tls/", 307, 0, 0 ],
	[ 'to nothing', 'https://', 'https://', 307, 0, 0 ]);
for my $case (@redirects)
{
	my ($what, $location, $file, $status, $at_call, $at_results) = @$case;
	for my $step (qw(post poll results))
	{
		my $rows = $step eq 'results' ? $at_results : $at_call;
		next unless defined $rows;
		subtest "a redirect $what at the $step" => sub {
			start_over($node);
			new_server("https://$home/v4", ca_file => "$dir/ca.crt");
			sim_fault({ redirect => $step eq 'results' ? $file : $location, status => $status }, step => $step, $rows ? (times => 1) : ());
			if ($rows)
			{
				rows_come('is followed');
				is(sim_seen('total.post'), $step eq 'post' ? 2 : 1, 'POSTs');
			}
			else
			{
				my ($error) = error();
				like($error, qr/^ERROR:  HV00N: /m, 'is an error with SQLSTATE HV00N');
				like($error, qr/2026_Q1/, 'it names the period');
				unlike($error, qr/root:|me:pw/, 'it tells no secret');
				is(sim_seen('periods.2026_Q1.post'), 1, 'one POST');
				is($boss->query('SELECT state, rows FROM clari_cache'), 'failed|', 'nothing is cached');
			}
			check_recorder($home, $step eq 'results' && $rows == 2);
		};
	}
}
for my $step (qw(post poll results))
{
	subtest "redirects in a circle at the $step" => sub {
		start_over($node);
		new_server("https://$home/v4", ca_file => "$dir/ca.crt");
		sim_fault({ redirect => '?again', status => 307 }, step => $step);
		my ($error) = error();
		like($error, qr/^ERROR:  HV00N: .*redirects/m, 'are an error');
		cmp_ok(sim_seen("total.$step"), '<=', 20, 'soon');
		check_recorder($home, 0);
	};
}
for my $status (301, 302, 303)
{
	subtest "a POST that is answered with $status" => sub {
		start_over($node);
		new_server("https://$home/v4", ca_file => "$dir/ca.crt");
		sim_fault({ redirect => '?again', status => $status }, step => 'post');
		my ($error) = error();
		like($error, qr/^ERROR:  HV00N: .*redirect/m, 'is an error');
		is(sim_requests() - sim_seen('total.list'), 1, 'it does not become a GET');
	};
}
# [where the file is, whether rows come: 1 from there, 2 of another origin, 3 without it, since it cannot be reached]
for my $case ([ "https://127.0.0.1:$other_tls/download/{job}", 2 ], [ "https://localhost:$tls/download/{job}", 1 ],
	[ "http://127.0.0.1:$plain_port/download/{job}", 0 ], [ 'file:///etc/passwd', 0 ], [ "https://localhost:$unknown/download/{job}", 3 ])
{
	my ($url, $rows) = @$case;
	subtest "a downloadUrl $url" => sub {
		start_over($node);
		new_server("https://$home/v4", ca_file => "$dir/ca.crt");
		sim_fault({ job => { download_url => $url } }, step => 'post');
		if ($rows)
		{
			rows_come($rows == 3 ? 'is done without' : 'is followed');
		}
		else
		{
			my ($error) = error();
			like($error, qr/^ERROR:  HV00N: /m, 'is an error');
			unlike($error, qr/root:/, 'it tells no secret');
		}
		is(sim_posts(), 1, 'one POST');
		check_recorder($home, $rows == 2);
	};
}

# ---- who may set what, and what a file option tells ----

subtest 'options that reach files and other hosts are not for everybody' => sub {
	$boss->query('CREATE ROLE app LOGIN; CREATE ROLE reader LOGIN; GRANT pg_read_server_files TO reader;
		GRANT USAGE ON FOREIGN DATA WRAPPER clari_fdw TO app, reader');
	append_to_file("$dir/secret", "line-one-SeCrEt\nline-two-SeCrEt\n");
	# [option, value, whether a member of pg_read_server_files may]
	for my $case ([ 'allow_http', 'true', 0 ], [ 'proxy', 'http://127.0.0.1:1', 0 ], [ 'base_url', 'https://127.0.0.1:1', 0 ],
		[ 'base_url', 'https://www.example.com/v4', 0 ], [ 'ca_file', "$dir/secret", 1 ])
	{
		my ($option, $value, $for_readers) = @$case;
		for my $role (qw(app reader))
		{
			my $answer = $boss->query("SET ROLE $role; CREATE SERVER of_$role FOREIGN DATA WRAPPER clari_fdw OPTIONS ($option '$value');
				DROP SERVER IF EXISTS of_$role; RESET ROLE");
			my $allowed = $role eq 'reader' && $for_readers;
			$allowed ? unlike($answer, qr/ERROR/, "$role may set $option") : like($answer, qr/ERROR:  42501: .*$option/, "$role may not set $option");
			$boss->query('RESET ROLE');
			unlike($answer, qr/SeCrEt/, 'the file is not shown');
		}
	}
	for my $role (qw(app reader))
	{
		my $answer = $boss->query("SET ROLE $role; CREATE SERVER of_$role FOREIGN DATA WRAPPER clari_fdw;
			CREATE USER MAPPING FOR CURRENT_USER SERVER of_$role OPTIONS (api_key_file '$dir/secret')");
		$role eq 'reader' ? unlike($answer, qr/ERROR/, "$role may set api_key_file") : like($answer, qr/ERROR:  42501: /, "$role may not set api_key_file");
		$boss->query("RESET ROLE; DROP SERVER of_$role CASCADE");
	}
};

subtest 'what is in a file that an option names is never told' => sub {
	my %files = (
		'two lines' => "$dir/secret", 'a long line' => "$dir/long", 'nothing' => "$dir/empty", 'binary' => "$dir/binary",
		'a directory' => $dir, 'no file' => "$dir/nowhere", 'a device' => '/dev/zero');
	append_to_file($files{'a long line'}, 'SeCrEt' x 100_000);
	append_to_file($files{'nothing'}, '');
	append_to_file($files{'binary'}, "SeCrEt\0\xff\x01SeCrEt");
	start_over($node);
	for my $what (sort keys %files)
	{
		my $made = $boss->query("DROP SERVER IF EXISTS filed CASCADE;
			CREATE SERVER filed FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url 'http://127.0.0.1:$plain_port/v4', max_retries '0');
			CREATE USER MAPPING FOR CURRENT_USER SERVER filed OPTIONS (api_key_file '$files{$what}');
			CREATE FOREIGN TABLE filed (owner_name text) SERVER filed OPTIONS (forecast 'net_arr', periods '2026_Q1')");
		my $answer = $boss->query('SELECT * FROM filed');
		like("$made$answer", qr/ERROR:  /, "$what: an error");
		unlike("$made$answer", qr/SeCrEt/, "which does not tell it");
		like($answer, qr/HINT:  Check option "api_key_file" of the user mapping\./, 'but where to look') if $what ne 'two lines';
		like($answer, qr/is not an API key/, 'nor is any of it sent') if $what eq 'binary';
		my $trusted = $boss->query("ALTER SERVER filed OPTIONS (SET base_url 'https://localhost:$tls/v4', ADD ca_file '$files{$what}');
			ALTER USER MAPPING FOR CURRENT_USER SERVER filed OPTIONS (DROP api_key_file, ADD api_key 'test-key'); SELECT * FROM filed");
		like($trusted, qr/ERROR:  /, "$what as ca_file: an error");
		unlike($trusted, qr/SeCrEt/, "which does not tell it");
	}
	$boss->query('DROP SERVER filed CASCADE');
	append_to_file("$dir/key", "test-key\n");
	start_over($node);
	new_server("http://127.0.0.1:$plain_port/v4");
	$boss->query("ALTER USER MAPPING FOR CURRENT_USER SERVER s$servers OPTIONS (DROP api_key, ADD api_key_file '$dir/key')");
	rows_come('the key in a good one is used');
};

subtest 'a proxy\'s password' => sub {
	my $answer = $boss->query("CREATE SERVER p FOREIGN DATA WRAPPER clari_fdw OPTIONS (proxy 'http://me:sEcret\@127.0.0.1:1')");
	like($answer, qr/ERROR:  HV024: .*"proxy"/, 'is refused');
	unlike($answer, qr/sEcret/, 'and not repeated');
};

subtest 'the log tells what was asked, and no header' => sub {
	my $log = slurp_file($node->logfile);
	my @lines = $log =~ /^.*DEBUG:  clari_fdw: .*$/mg;
	cmp_ok(scalar(grep { m{clari_fdw: POST https://localhost:$tls/v4/export/forecast/net_arr: status 200} } @lines), '>', 3,
		'method, URL and status');
	cmp_ok(scalar(grep { m{clari_fdw: GET https?://\S+/export/jobs/[0-9a-f]+/results: status 200} } @lines), '>', 3, 'of each step');
	is(scalar(grep { /apikey|application|user-agent|libcurl/i } @lines), 0, 'no header');
	is(scalar(() = $log =~ /test-key|SeCrEt|sEcret/g), 0, 'no secret');
	unlike($log, qr/PANIC|TRAP|terminated by signal/, 'nothing crashed');
};
$_->quit for $session, $other, $boss;
$node->stop;

# ---- clocks ----

SKIP:
{
	my %clock = clock_environment() or skip 'no C compiler', 1;
	my $off;
	{
		local %ENV = (%ENV, %clock);
		$off = start_node('clock');
	}
	sim_reset();
	create_server($off, max_retries => 1, max_concurrent_exports => 3);
	import_tables($off);
	my $waiting = ClariSession->new($off);
	my $one = "SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q1'";
	my $now = $waiting->query('SELECT extract(epoch FROM clock_timestamp())::bigint');

	# What comes of it when the clock jumps while the session waits, and then something else happens.
	my $afresh = sub {
		my (%settings) = @_;
		set_clock(0);
		start_over($off, job_seconds => 0.05, %settings);
		return;
	};
	for my $jump (86400, -86400)
	{
		my $what = $jump > 0 ? 'a day forward' : 'a day back';
		subtest "the clock jumps $what" => sub {
			$afresh->(job_seconds => 'hold');
			$waiting->start($one);
			wait_until('the job runs', sub { sim_seen('total.poll') >= 1 });
			set_clock($jump);
			cmp_ok(abs($off->safe_psql('postgres', 'SELECT extract(epoch FROM clock_timestamp())::bigint') - $now - $jump), '<', 3600,
				'it has');
			my $polls = sim_seen('total.poll');
			wait_until('it is polled on', sub { sim_seen('total.poll') > $polls + 2 });
			sim_release();
			is($waiting->finish, 50, 'during an export: it comes to its end');
			is(sim_posts(), 1, 'of one POST');

			$afresh->();
			$off->safe_psql('postgres', "ALTER SERVER clari OPTIONS (ADD export_timeout '1500ms')");
			sim_fault({ job => { never => $true } }, step => 'post', times => 1);
			my $begin = time;
			$waiting->start($one);
			wait_until('the job runs', sub { sim_seen('total.poll') >= 1 });
			set_clock($jump);
			like($waiting->finish, qr/ERROR:  HV00L: /, 'during an export that never ends: export_timeout acts');
			cmp_ok(time - $begin, '>=', 1.4, 'not before it should');
			$off->safe_psql('postgres', 'ALTER SERVER clari OPTIONS (DROP export_timeout)');

			$afresh->();
			sim_fault({ status => 503, headers => { 'Retry-After' => '1' } }, step => 'poll', times => 1);
			$begin = time;
			$waiting->start($one);
			wait_until('Clari asks to wait', sub { sim_seen('total.poll') >= 1 });
			set_clock($jump);
			is($waiting->finish, 50, 'while Clari asks to wait: it waits');
			cmp_ok(time - $begin, '>=', 0.9, 'as long as it was told');

			$afresh->();
			is($waiting->query($one), 50, 'with rows in the cache');
			set_clock($jump);
			is($waiting->query($one), 50, 'there are rows');
			is(sim_posts(), 2, 'of a new export');
			is($waiting->query($one), 50, 'and again');
			is(sim_posts(), 2, 'of the same');

			# Before the POST, and after it.
			for my $places (1, 0)
			{
				$afresh->(job_seconds => 'hold');
				occupy_places($off, $places) if $places;
				$waiting->start("SELECT clari_refresh('clari.forecasts', '{2026_Q1}')");
				wait_until('it waits', sub {
					$places ? $off->safe_psql('postgres', 'SELECT count(*) FROM clari_exports') eq '2' : sim_seen('total.poll') > 0 });
				set_clock($jump);
				wait_until('it is through', sub { sim_release(); $waiting->is_finished });
				is($waiting->finish, 1, 'during clari_refresh: it comes to its end');
				cmp_ok(sim_seen('forecasts.net_arr.post'), '<=', 2 - $places, 'and does not POST time and again');
			}

			$afresh->();
			sim_fault({ status => 400 }, step => 'post', times => 1);
			like($waiting->query($one), qr/ERROR/, 'with a failure that is remembered');
			set_clock($jump);
			wait_until('it is forgotten', sub { $waiting->query($one) eq '50' });
		};
	}
	set_clock(0);
	$waiting->quit;
	$off->append_conf('postgresql.conf', "max_worker_processes = 1\n");    # the logical replication launcher's
	{
		local %ENV = (%ENV, %clock);
		$off->restart;
	}
	$off->safe_psql('postgres', 'SELECT clari_invalidate()');
	subtest 'the clock jumps while there is no worker to be had' => sub {
		for my $jump (-86400, 86400)
		{
			set_clock(0);
			$waiting = ClariSession->new($off);
			$waiting->query('SET statement_timeout = 0');    # which heeds the clock
			my $begin = time;
			$waiting->start($one);
			wait_until('it waits', sub { $off->safe_psql('postgres', 'SELECT coalesce(sum(waiters), 0) FROM clari_exports') eq '1' });
			wait_until('a worker has been refused', sub { time > $begin + 1 });
			set_clock($jump);
			my $ended = $waiting->is_finished($ClariSession::patience);
			ok($ended, 'an answer comes in time');
			$off->safe_psql('postgres', "SELECT pg_terminate_backend($waiting->{pid})") unless $ended;
			like($waiting->finish, qr/ERROR:  53000: .*background worker/, 'the error');
			$waiting->quit;
		}
	};
}

done_testing();
