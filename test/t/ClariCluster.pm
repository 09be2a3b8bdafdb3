# A cluster with the extension, its tables on the simulator, and what they show.
package ClariCluster;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use ClariProcesses;
use ClariSession;
use ClariSimulator;
use PostgreSQL::Test::Cluster;
use Test::More;

our @EXPORT = qw(start_node sql query_error last_line debug_parallel create_server import_tables start_over occupy_places
  table_csv same_csv is_as_generated digest_of cache_files);

my $newest;

# A running cluster with the extension in database postgres; extra lines of postgresql.conf.
sub start_node
{
	my ($name, @config) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	# Not the caller's locale: what a test expects of characters must not depend on it.
	$node->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8' ]);
	# A statement that hangs is a failure, not a hung suite.
	$node->append_conf('postgresql.conf',
		join("\n", 'max_worker_processes = 16', "statement_timeout = '${ClariSession::patience}s'", @config, ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION clari_fdw');
	$newest = $node;
	return $node;
}

# What statements print on the cluster that was started last; they must not raise an error.
sub sql { my ($statements, $database) = @_; return $newest->safe_psql($database // 'postgres', $statements); }

# The name of the setting that asks for parallel plans everywhere.
sub debug_parallel { my ($node) = @_; return $node->pg_version->major < 16 ? 'force_parallel_mode' : 'debug_parallel_query'; }

# Server clari on the simulator, and the current user's mapping.
sub create_server
{
	my ($node, %options) = @_;
	my $database = delete $options{database} // 'postgres';
	my %all = (base_url => sim_url(), poll_interval => '20ms', %options);
	my $list = join(', ', map { "$_ '$all{$_}'" } sort keys %all);
	$node->safe_psql($database, qq{
		CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw OPTIONS ($list);
		CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key 'test-key');});
	return;
}

# The six tables of forecast net_arr in schema clari.
sub import_tables
{
	my ($node, %options) = @_;
	my $database = delete $options{database} // 'postgres';
	my $schema = delete $options{schema} // 'clari';
	my %all = (periods => '2026_Q1..2026_Q4', %options);
	my $list = join(', ', map { "$_ '$all{$_}'" } sort keys %all);
	$node->safe_psql($database, qq{
		CREATE SCHEMA IF NOT EXISTS $schema;
		IMPORT FOREIGN SCHEMA net_arr FROM SERVER clari INTO $schema OPTIONS ($list);});
	return;
}

# The columns of each object that the simulator's `expected` shows: all but exported_at.
our %columns = (
	forecasts => 'owner_name owner_email forecast_amount quota_amount crm_total crm_closed adjustment_amount '
	  . 'time_period forecast_name',
	entries => 'time_period forecast_name user_id owner_name owner_email crm_user_id role parent_role field_id '
	  . 'field_name field_type time_frame_id week_start week_end forecast_value quota_value adjustment_value '
	  . 'crm_total crm_closed is_updated updated_by updated_on adjusted_by adjusted_on currency time_period_id',
	users => 'user_id name email scope_id crm_id hierarchy_id hierarchy_name parent_hierarchy_id '
	  . 'parent_hierarchy_name time_period forecast_name',
	fields => 'field_id field_name field_type time_period forecast_name',
	time_periods => 'time_period_id type label year start_date end_date crm_id time_period forecast_name',
	time_frames => 'time_frame_id start_date end_date time_period forecast_name');

# Rows of a table as CSV in UTF-8, in a total order: by every column, as bytes.
sub table_csv
{
	my ($node, $table, $columns, $where, $database) = @_;
	my @columns = split ' ', $columns;
	my $order = join(', ', map { qq{($_)::text COLLATE "C"} } @columns);
	my $list = join(', ', @columns);
	return $node->safe_psql($database // 'postgres', qq{SET client_encoding = 'UTF8'; SET TimeZone = 'UTC';
		COPY (SELECT $list FROM $table WHERE $where ORDER BY $order) TO STDOUT (FORMAT csv)});
}

# Passes when both texts are the same; shows the first lines that are not.
sub same_csv
{
	my ($got, $expected, $name) = @_;
	chomp($got, $expected);
	return pass($name) if $got eq $expected;
	fail($name);
	my @got = split /\n/, $got;
	my @expected = split /\n/, $expected;
	my $at = 0;
	$at++ while $at < @got && $at < @expected && $got[$at] eq $expected[$at];
	diag(sprintf("%d lines, expected %d; line %d:\n     got: %s\nexpected: %s",
			scalar @got, scalar @expected, $at + 1, $got[$at] // '(none)', $expected[$at] // '(none)'));
	return 0;
}

# Passes when the period's rows in the table are the simulator's, to the last digit; expected: more of its query.
sub is_as_generated
{
	my ($node, $table, $object, $period, %how) = @_;
	my $order = join(',', split(' ', $columns{$object}));
	my $expected = sim_expected("object=$object&period=$period&order_by=$order&" . ($how{expected} // ''));
	my $got = table_csv($node, $table, $columns{$object}, "time_period = '$period'", $how{database});
	return same_csv($got, $expected, $how{name} // "$table shows $period as generated");
}

# Everything forgotten on both sides, and nothing in flight; and the simulator as it was started, but for the settings.
sub start_over
{
	my ($node, %settings) = @_;
	wait_until('nothing is in flight', sub {
		sim_release();
		$node->safe_psql('postgres', 'SELECT count(*) FROM clari_exports') eq '0';
	});
	$node->safe_psql('postgres', 'SELECT clari_invalidate()');
	sim_reset();
	sim_set({ sim_started(), %settings });
	return;
}

# So many exports of another forecast are under way, and no more may be: what is queued next stays queued until they are
# released.  Which is before the POST, so that two calls of clari_sync can share it.
sub occupy_places
{
	my ($node, $places) = @_;
	my @quarters = map { '2026_Q' . (5 - $_) } 1 .. $places;
	my $quarters = join(',', @quarters);
	sim_set({ job_seconds => 'hold' }, forecast => 'bookings', period => $_) for @quarters;
	$node->safe_psql('postgres', qq{ALTER SERVER clari OPTIONS (SET max_concurrent_exports '$places');
		CREATE SCHEMA IF NOT EXISTS occupied;
		DROP FOREIGN TABLE IF EXISTS occupied.forecasts;
		IMPORT FOREIGN SCHEMA bookings LIMIT TO (forecasts) FROM SERVER clari INTO occupied OPTIONS (periods '2026_Q1..2026_Q4');
		SELECT clari_prefetch('occupied.forecasts', '{$quarters}')});
	wait_until('the places are occupied', sub { sim_seen('forecasts.bookings.post') == $places });
	return;
}

# A query of one line that tells any two versions of the rows apart.
sub digest_of
{
	my ($table, $where) = @_;
	return qq{SELECT count(*) || ' ' || coalesce(md5(string_agg(t::text, ';' ORDER BY t::text COLLATE "C")), '')
		FROM $table t WHERE } . ($where // 'true');
}

# Of what psql printed: the answer behind the messages.
sub last_line { return $_[0] =~ /([^\n]*)\z/ ? $1 : ''; }

# The files in a node's cache directory whose names match.
sub cache_files
{
	my ($node, $pattern, $directory) = @_;
	$directory //= $node->data_dir . '/pgsql_tmp_clari_fdw';
	opendir(my $handle, $directory) or return;
	return map { "$directory/$_" } sort grep { !/^\.\.?$/ && $_ =~ $pattern } readdir $handle;
}

# Runs a query that must fail; returns (SQLSTATE, all that psql printed).
sub query_error
{
	my ($node, $query, $database) = @_;
	my ($code, $out, $err) = $node->psql($database // 'postgres', "\\set VERBOSITY verbose\n$query");
	my ($sqlstate) = $err =~ /ERROR:  ([0-9A-Z]{5}):/;
	return ($sqlstate // '', $err);
}

1;
