# Foreign tables and heaps of the same rows: a query has one answer in both.
package ClariHeap;

use strict;
use warnings FATAL => 'all';

use ClariTest;
use Exporter 'import';
use Test::More;

our @EXPORT = qw(rows_in same_rows short @joins %joins $rescanning $jit);

# The kinds of joins, by forbidding the others; one that runs its inner side again for each outer row; and JIT, the cheap way.
our %joins = (
	'Nested Loop' => 'SET enable_hashjoin = off; SET enable_mergejoin = off',
	'Hash Join' => 'SET enable_nestloop = off; SET enable_mergejoin = off',
	'Merge Join' => 'SET enable_nestloop = off; SET enable_hashjoin = off');
our @joins = map { $joins{$_} } sort keys %joins;
our $rescanning = "$joins{'Nested Loop'}; SET enable_material = off; SET enable_memoize = off";
our $jit = 'SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = -1; SET jit_optimize_above_cost = -1';

# Runs the statements with the tables of a schema; messages about the extent are not the point here.  An error is an
# answer too, but none that a heap may give.
sub rows_in
{
	my ($node, $schema, $query, $setting) = @_;
	my $set = "SET search_path = $schema, public; SET client_min_messages = warning; " . ($setting // '');
	my ($code, $rows, $message) = $node->psql('postgres', "$set; $query");
	return $rows if $code == 0;
	die "$query: $message" if $schema =~ /^heap/;
	return "$rows\n$message";
}

# On one line, for the names of tests.
sub short
{
	my ($query) = @_;
	my $line = $query =~ s/\s+/ /gr;
	return length($line) > 150 ? substr($line, 0, 150) . ' …' : $line;
}

# The query has the heap's rows, whatever settings, one after the other in a session; order among equals is no promise, so
# the query orders itself.
sub same_rows
{
	my ($node, $schema, $heap, $query, @settings) = @_;
	my $expected = rows_in($node, $heap, $query);
	my $begin = "DISCARD ALL; SET search_path = $schema, public; SET client_min_messages = warning";
	my (undef, $rows, $message) = $node->psql('postgres', join('', map { "$begin; $_;\n$query;\nROLLBACK;\n\\echo <<>>\n" } @settings),
		on_error_stop => 0);
	my @answers = split /\n*<<>>\n?/, $rows, -1;    # without empty lines at the end, which are NULLs
	$expected =~ s/\n+\z//;
	isnt($expected, '', "there are rows in $heap to compare: " . short($query));
	same_csv($answers[$_] // '', $expected, ($settings[$_] || 'default') . ': ' . short($query)) or diag($message) for 0 .. $#settings;
	return;
}

1;
