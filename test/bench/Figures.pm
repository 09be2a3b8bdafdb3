# What figures.pl and scan.pl share: server and simulator, times of queries, lines of figures.
package Figures;

use strict;
use warnings FATAL => 'all';

use ClariSession;
use Exporter 'import';
use HTTP::Tiny;
use JSON::PP;
use Time::HiRes qw(time);

our @EXPORT = qw(set_up new_session make_forecast control requests posts median percentile patiently timed interleaved line run_parts);

$| = 1;    # lines are seen as they come
my $http = HTTP::Tiny->new(timeout => 600);
my $port;

# What ClariSession asks of a node.
package Server { sub host { return $ENV{PGHOST} } sub port { return $ENV{PGPORT} } }

sub new_session { return ClariSession->new('Server'); }

# A session on the server, in which there is a server clari on the simulator, and a mapping.
sub set_up
{
	($port) = @_;
	my $session = new_session();
	$session->query("CREATE EXTENSION IF NOT EXISTS clari_fdw;
		CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw
			OPTIONS (base_url 'http://127.0.0.1:$port/v4', max_concurrent_exports '4');
		CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key 'test-key')");
	return $session;
}

# A forecast of its own: what its exports hold; and on the sessions' servers its tables, in a schema of that name, and how they
# are imported.
sub make_forecast
{
	my ($sessions, $name, $settings, $options) = @_;
	my $list = join(', ', map { "$_ '$options->{$_}'" } sort keys %$options);
	control('set', { forecast => $name, settings => $settings });
	patiently($_, "CREATE SCHEMA $name; IMPORT FOREIGN SCHEMA $name FROM SERVER clari INTO $name OPTIONS ($list)") for @$sessions;
	return;
}

sub control
{
	my ($verb, $body) = @_;
	my $response = $http->post("http://127.0.0.1:$port/_control/$verb", { content => encode_json($body) });
	die "$verb: $response->{content}" unless $response->{success};
	return decode_json($response->{content});
}

# How often the service was asked, by step.
sub requests { return decode_json($http->get("http://127.0.0.1:$port/_control/seen?last=0")->{content})->{total}; }

sub posts { return requests()->{post}; }

sub median { my @sorted = sort { $a <=> $b } @_; return $sorted[ $#sorted / 2 ]; }

sub percentile { my ($share, @values) = @_; @values = sort { $a <=> $b } @values; return $values[ $share * $#values + 0.5 ]; }

# What a statement printed that may take minutes.
sub patiently
{
	my ($session, $sql) = @_;
	$session->start($sql)->is_finished(900);
	my $output = $session->finish;
	die "$sql: $output" if $output =~ /ERROR/;
	return $output;
}

# The seconds that a query takes.
sub timed
{
	my ($session, $sql) = @_;
	my $begin = time;
	my $output = $session->query($sql);
	my $taken = time - $begin;
	die "$sql: $output" if $output =~ /ERROR/;
	return $taken;
}

# Seconds of each named query, run in turns, so that all see the same noise; [what to do before it, query].
sub interleaved
{
	my ($session, $rounds, %queries) = @_;
	my %times;
	for (1 .. $rounds)
	{
		for my $name (sort keys %queries)
		{
			my ($prepare, $sql) = @{ $queries{$name} };
			$session->query($prepare) if $prepare;
			push @{ $times{$name} }, timed($session, $sql);
		}
	}
	return %times;
}

sub line { my ($what, $figure, $promise) = @_; printf "%-64s %14s   %s\n", $what, $figure, $promise // ''; return; }

# Runs the parts that were asked for: run_parts([all names in order], {name => sub}, names…).
sub run_parts
{
	my ($order, $parts, @asked) = @_;
	my ($unknown) = grep { !$parts->{$_} } @asked;
	die "no part \"$unknown\"; there are @$order\n" if defined $unknown;
	$parts->{$_}->() for @asked ? @asked : @$order;
	return;
}

1;
