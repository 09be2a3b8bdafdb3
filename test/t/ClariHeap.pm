# Foreign tables and heaps of the same rows: a query has one answer in both.
package ClariHeap;

use strict;
use warnings FATAL => 'all';

use ClariTest;
use Exporter 'import';
use Test::More;

our @EXPORT = qw(start_heap_node rows_in same_rows short @joins %joins $rescanning $jit);

# The kinds of joins, by forbidding the others; one that runs its inner side again for each outer row; and JIT, the cheap way.
our %joins = (
	'Nested Loop' => 'SET enable_hashjoin = off; SET enable_mergejoin = off',
	'Hash Join' => 'SET enable_nestloop = off; SET enable_mergejoin = off',
	'Merge Join' => 'SET enable_nestloop = off; SET enable_hashjoin = off');
our @joins = map { $joins{$_} } sort keys %joins;
our $rescanning = "$joins{'Nested Loop'}; SET enable_material = off; SET enable_memoize = off";
our $jit = 'SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = -1; SET jit_optimize_above_cost = -1';

# The simulator with 60 owners and two users' keys, and a cluster with two schemas of the same tables: foreign ones in remote, and
# in heap what they are to be like.  What is exported again has another exported_at, so the tables do without: a dropped column
# among the others.  Extra lines of postgresql.conf.
sub start_heap_node
{
	my ($name, @config) = @_;
	start_sim(job_seconds => 0, owners => 60, monthly_quota => 100_000, concurrent_limit => 100,
		keys => { 'test-key' => {}, 'other-key' => { user => 'other', tenant => 'org-2', seed => 2 } });
	my $node = start_node($name, @config);
	create_server($node, max_concurrent_exports => 8);
	import_tables($node, schema => 'remote');
	sql('CREATE SCHEMA heap');
	for my $table (qw(forecasts entries users))
	{
		sql("ALTER FOREIGN TABLE remote.$table DROP COLUMN exported_at; CREATE TABLE heap.$table AS SELECT * FROM remote.$table");
		is_as_generated($node, "heap.$table", $table, "2026_Q$_") for 1, 4;
	}
	sql(q{CREATE TABLE quarters (q text, n int);
		INSERT INTO quarters VALUES ('2026_Q2', 1), ('2026_Q3', 2), ('2026_Q2', 3), (NULL, 4), ('2026_Q5', 5), ('no', 6); ANALYZE quarters});
	return $node;
}

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
