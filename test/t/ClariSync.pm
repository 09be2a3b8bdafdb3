# What the tests of clari_sync share: a cluster that is synced from the simulator, and how they begin anew.
package ClariSync;

use strict;
use warnings FATAL => 'all';

use ClariTest;
use Exporter 'import';
use JSON::PP;

our @EXPORT = qw(start_sync_node start_over_with_quarters start_over_with_empty_tables done row_counts);

our @quarters = map { "2026_Q$_" } 1 .. 4;
my %exported = (job_seconds => 0, owners => 50, null_emails => 0, version => 0, rows_truncated => 0, weeks => undef,
	known_periods => \@quarters, current_quarter => '2026_Q4');

# The simulator with 50 owners in each of four quarters, and a cluster whose tables in schema clari are always stale;
# extra lines of postgresql.conf.
sub start_sync_node
{
	my ($name, @config) = @_;
	start_sim(%exported, crm_exports => JSON::PP::true, concurrent_limit => 100, monthly_quota => 100_000);
	my $node = start_node($name, @config);
	create_server($node, max_concurrent_exports => 8);
	import_tables($node, closed_period_ttl => '0');
	return $node;
}

# As start_over, where quarters may have had settings of their own.
sub start_over_with_quarters
{
	my ($node, %settings) = @_;
	start_over($node, %settings);
	sim_set({ %exported, %settings }, period => $_) for @quarters;
	return;
}

# The same, and nothing is merged.
sub start_over_with_empty_tables
{
	my ($node, %settings) = @_;
	start_over_with_quarters($node, %settings);
	sql('TRUNCATE clari_forecasts, staging_clari');
	return;
}

# What a session answers; it must not be an error.
sub done
{
	my ($session, $statements) = @_;
	my $answer = $session->query($statements);
	die "$statements\n$answer" if $answer =~ /^ERROR/m;
	return $answer;
}

# The rows of each quarter in clari_forecasts: "Q1:50 Q2:50".
sub row_counts
{
	return sql(q{SELECT string_agg(n, ' ' ORDER BY n) FROM (
		SELECT right(time_period, 2) || ':' || count(*) AS n FROM clari_forecasts GROUP BY time_period) AS c});
}

1;
