# Part ways of figures.pl: what people do today, beside clari_fdw, on the same data in one run.
#
#   guide     the published guide's: a thread pool, a file of JSON, executemany, MERGE (guide.py)
#   http      pgsql-http with jsonb, where it is installed (http.sql)
#   file_fdw  file_fdw with a program that exports and prints CSV (guide.py csv)
#   heap      a table that somebody has filled: the limit
package Rivals;

use strict;
use warnings FATAL => 'all';

use Bench;
use Exporter 'import';
use Figures;
use FindBin;
use Record;

our %parts = (ways => \&ways);
our @EXPORT_OK = qw(guide);

my @periods = @Bench::quarters[ -16 .. -1 ];
my $python = '/usr/bin/python3';
my $columns = columns();
my $types = '"ownerName" text, "ownerEmail" text, "forecastAmount" numeric, "quotaAmount" numeric, "crmTotal" numeric,
	"crmClosed" numeric, "adjustmentAmount" numeric, "timePeriod" text';
my $cache;    # the guide's directory

sub has_guide { return system("$python -c 'import psycopg2, requests' 2>/dev/null") == 0; }

# What guide.py says.
sub guide
{
	my ($mode, $forecast, $number, $directory, @of) = @_;
	my $output = qx{$python $FindBin::RealBin/guide.py $mode @{[base_url()]} $forecast $number $directory @of};
	die "guide.py: $output" if $? || $output !~ /^[\d.e-]+$/;
	return $output;
}

# ------- set-up: the other ways' tables -------

my %there;    # guide, http, file_fdw

sub set_up_http
{
	my ($available) = query(q{SELECT count(*) FROM pg_available_extensions WHERE name = 'http'});
	return skipped('pgsql-http', 'the extension http is not installed, and BENCH_HTTP names no source of it') unless $available;
	open(my $file, '<', "$FindBin::RealBin/http.sql") or die $!;
	query(do { local $/ = undef; <$file> });
	query("SET bench.url = '@{[base_url()]}'");
	query('CREATE UNLOGGED TABLE documents (forecast text, period text, exported_at timestamptz, document jsonb)');
	$there{http} = 1;
	return;
}

# A view over foreign tables, one per period; a cache's directory, or none.
sub set_up_file
{
	my ($name, $forecast, $directory, @of) = @_;
	my $definitions = query("SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
		FROM pg_attribute WHERE attrelid = 'clari_forecasts'::regclass AND attnum > 0");
	for my $period (@of)
	{
		my $program = "$python $FindBin::RealBin/guide.py csv @{[base_url()]} $forecast 1 $directory $period";
		query("CREATE FOREIGN TABLE \"${name}_$period\" ($definitions) SERVER files OPTIONS (program '$program', format 'csv')");
	}
	query("CREATE VIEW $name AS " . join(' UNION ALL ', map { qq{SELECT * FROM "${name}_$_"} } @of));
	return;
}

sub set_up_ways
{
	$cache = "$ENV{HOME}/cache";
	mkdir $cache;
	import_forecast('ways', "$periods[0]..$periods[-1]", shape => 'flat');
	import_forecast('large', $periods[-1], shape => 'flat', owners => full_or_quick(100_000, 5_000));
	set_up_http();
	$there{guide} = has_guide() or return skipped("the guide's way and file_fdw's", 'there is no psycopg2 or requests');
	query('CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw');
	set_up_file('file_cold', 'ways', '-', @periods);
	set_up_file('file_cached', 'ways', $cache, @periods);
	set_up_file('file_large', 'large', $cache, $periods[-1]);
	return;
}

# The rows of a query on documents.
sub from_jsonb
{
	my ($forecast, $where) = @_;
	my $list = join(', ', map { "r.$_" } $types =~ /("\w+")/g);
	return "SELECT $list, d.exported_at, d.forecast FROM documents AS d, jsonb_to_recordset(d.document -> 'entries') AS r ($types)
		WHERE d.forecast = '$forecast' AND $where";
}

# Runs them in turns; records the median of each, as [what, unit's factor, code]; all must give the same answer.
sub side_by_side
{
	my ($x, $unit, $factor, $rounds, @ways) = @_;
	my %times;
	for (1 .. $rounds) { push @{ $times{ $_->[0] } }, $_->[1]->() for @ways; }
	record($_->[0], $x, $factor * median(@{ $times{ $_->[0] } }), $unit) for @ways;
	return map { $_ => median(@{ $times{$_} }) } keys %times;
}

# What is there of these.
sub those_there { return grep { !$_->[2] || $there{ $_->[2] } } @_; }

# ------- cold periods -------

my $merge = "MERGE INTO clari_forecasts AS t USING staging_clari AS s
	ON t.owner_email = s.owner_email AND t.time_period = s.time_period AND t.forecast_name = s.forecast_name
	WHEN MATCHED THEN UPDATE SET " . join(', ', map { "$_ = s.$_" } grep { !/owner_email|time_period|forecast_name/ } split /, /, $columns) . "
	WHEN NOT MATCHED THEN INSERT ($columns) VALUES (" . $columns =~ s/(\w+)/s.$1/gr . ')';

sub check_rows
{
	my ($rows) = @_;
	my $count = query('SELECT count(*) FROM clari_forecasts');
	die "$count rows in place of $rows" if $count != $rows;
	return;
}

# A way into clari_forecasts from nothing: empties it, runs the code, looks at what came.
sub loading
{
	my ($rows, $code) = @_;
	return sub {
		empty_heap();
		my $seconds = $code->();
		check_rows($rows);
		return $seconds;
	};
}

sub cold_ways
{
	my ($count) = @_;
	my @of = @periods[ 0 .. $count - 1 ];
	my $where = "time_period <= '$of[-1]'";
	my $names = join(',', @of);
	my $rounds = full_or_quick(3, 1);
	control('set', { settings => { job_seconds => 1 } });
	for my $most (1, 4, 16)
	{
		next if full_or_quick(0, 1) && $most == 1;
		query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '$most')");
		my $select = sub {
			query('SELECT clari_invalidate()');
			my $seconds = timed(session(), "SELECT count(*) FROM ways.forecasts WHERE $where");
			die 'rows' if query("SELECT count(*) FROM ways.forecasts WHERE $where") != 500 * $count;
			return $seconds;
		};
		my $sync = loading(500 * $count, sub { timed(session(), "CALL clari_sync('ways.forecasts', '{$names}')") });
		my $guide = loading(500 * $count, sub { guide('load', 'ways', $most, '-', @of) });
		side_by_side($count, 's', 1, $most == 1 ? 1 : $rounds, those_there(
			[ "clari_fdw: SELECT, $most at a time", $select ],
			$most == 4 ? [ "clari_fdw: clari_sync, $most at a time", $sync ] : (),
			[ "guide: load, $most threads", $guide, 'guide' ]));
	}
	query("ALTER SERVER clari OPTIONS (SET max_concurrent_exports '4')");
	my $http = sub {
		my $seconds = timed(session(), "TRUNCATE documents; INSERT INTO documents
			SELECT 'ways', p, now(), http_export('ways', p) FROM unnest('{$names}'::text[]) AS p");
		die 'rows' if query('SELECT count(*) FROM (' . from_jsonb('ways', 'true') . ') q') != 500 * $count;
		return $seconds;
	};
	my $file = sub { timed(session(), join(' UNION ALL ', map { qq{SELECT count(*) FROM "file_cold_$_"} } @of)) };
	side_by_side($count, 's', 1, 1, those_there([ 'pgsql-http: into jsonb, one after the other', $http, 'http' ],
		[ 'file_fdw: SELECT by programs, all at once', $file, 'guide' ]));
	control('set', { settings => { job_seconds => 0 } });
	return;
}

# ------- what is cached -------

sub fill_caches
{
	query("SELECT count(*) FROM ways.forecasts; SELECT count(*) FROM large.forecasts");
	query("CREATE TABLE heap_ways AS SELECT * FROM ways.forecasts; CREATE TABLE heap_large AS SELECT * FROM large.forecasts;
		CREATE INDEX ON heap_ways (time_period)");
	query("VACUUM ANALYZE $_") for 'heap_ways', 'heap_large';
	if ($there{http})
	{
		my $names = join(',', @periods);
		query("TRUNCATE documents; INSERT INTO documents SELECT 'ways', p, now(), http_export('ways', p) FROM unnest('{$names}'::text[]) AS p;
			INSERT INTO documents VALUES ('large', '$periods[-1]', now(), http_export('large', '$periods[-1]'));
			CREATE INDEX ON documents (forecast, period)");
		query('VACUUM ANALYZE documents');
	}
	return unless $there{guide};
	guide('scan', 'ways', 1, $cache, @periods);
	guide('scan', 'large', 1, $cache, $periods[-1]);
	return;
}

sub hit
{
	my $explained = sub { my ($sql) = @_; return sub { planning_and_execution($sql) } };
	my $where = "time_period = '$periods[-1]'";
	$_->() for my @ways = map { $explained->("SELECT * FROM $_ WHERE $where") } qw(ways.forecasts heap_ways);
	my %median = side_by_side(undef, 'ms', 1, full_or_quick(100, 10), those_there(
		[ 'a cached period of 500 rows: clari_fdw', $ways[0] ],
		[ 'a cached period of 500 rows: heap with an index', $ways[1] ],
		[ 'a cached period of 500 rows: jsonb', $explained->(from_jsonb('ways', "d.period = '$periods[-1]'")), 'http' ]));
	side_by_side(undef, 'ms', 1, full_or_quick(5, 1), those_there(
		[ 'a cached period of 500 rows: file_fdw, by a program', $explained->(qq{SELECT * FROM "file_cached_$periods[-1]"}), 'guide' ],
		[ 'a cached period of 500 rows: guide, a file of JSON, in Python', sub { 1000 * guide('scan', 'ways', 50, $cache, $periods[-1]) },
			'guide' ]));
	my ($ours, $heap) = map { $median{"a cached period of 500 rows: $_"} } 'clari_fdw', 'heap with an index';
	record('a cached period of 500 rows: of the heap\'s time', undef, $ours / $heap, 'x');
	return;
}

sub scan_rates
{
	my $rows = query('SELECT count(*) FROM heap_large');
	my %answers;
	my $sum = sub {
		my ($from) = @_;
		my $sql = "SELECT count(*), sum(forecast_amount) FROM $from";
		return sub { $answers{ query($sql) } = 1; return timed(session(), $sql) };
	};
	my $jsonb = 'SELECT q."forecastAmount" AS forecast_amount FROM (' . from_jsonb('large', 'true') . ') AS q';
	my $rate = sub {
		my ($rounds, @ways) = @_;
		my %times;
		for my $way (those_there(@ways))
		{
			my ($what, $code) = @$way;
			$times{$what} = median(map { $code->() } 1 .. $rounds);
			record("sum over $rows cached rows: $what", undef, $rows / $times{$what} / 1e6, 'M rows/s');
		}
		return %times;
	};
	my %fast = $rate->(full_or_quick(9, 2), [ 'clari_fdw', $sum->('large.forecasts') ], [ 'heap', $sum->('heap_large') ]);
	$rate->(full_or_quick(3, 1), [ 'jsonb', $sum->("($jsonb) AS j"), 'http' ],
		[ 'file_fdw, by a program', $sum->('file_large'), 'guide' ],
		[ 'guide, a file of JSON, in Python', sub { guide('scan', 'large', 1, $cache, $periods[-1]) }, 'guide' ]);
	die 'different answers: ' . join(' and ', keys %answers) if keys %answers != 1;
	record("sum over $rows cached rows: clari_fdw, of the heap's time", undef, $fast{clari_fdw} / $fast{heap}, 'x', '<= 1');
	return;
}

# ------- into the table -------

# Loads what is cached, into an empty table and then again; seconds, and the WAL of the second time.
sub load
{
	my $rows = query('SELECT count(*) FROM heap_large');
	my $staged = sub { my ($from) = @_; return sub { timed(session(), "BEGIN; TRUNCATE staging_clari; INSERT INTO staging_clari $from; $merge; COMMIT") } };
	my %seconds;
	for my $way (those_there(
		[ 'clari_sync', sub { timed(session(), "CALL clari_sync('large.forecasts', max_age => '1 day')") } ],
		[ 'jsonb, INSERT SELECT and MERGE', $staged->(from_jsonb('large', 'true')), 'http' ],
		[ 'file_fdw, INSERT SELECT and MERGE', $staged->('SELECT * FROM file_large'), 'guide' ],
		[ 'guide, executemany and MERGE', sub { guide('load', 'large', 3, $cache, $periods[-1]) }, 'guide' ]))
	{
		my ($what, $code) = @$way;
		query('SELECT count(*) FROM large.forecasts');
		$seconds{$what}[0] = loading($rows, $code)->();
		query('VACUUM ANALYZE clari_forecasts');
		query('CHECKPOINT');
		my $from = query('SELECT pg_current_wal_insert_lsn()');
		$seconds{$what}[1] = $code->();
		my $wal = query("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$from')");
		check_rows($rows);
		record("$rows cached rows into the table: $what", undef, $seconds{$what}[0], 's');
		record("$rows cached rows again, unchanged: $what", undef, $seconds{$what}[1], 's');
		record("$rows cached rows again, unchanged, WAL: $what", undef, $wal / 1048576, 'MB');
	}
	empty_heap();
	return;
}

sub ways
{
	set_up_ways();
	cold_ways($_) for full_or_quick(1, 0) ? (1, 2, 4, 8, 16) : (1, 4);
	fill_caches();
	hit();
	scan_rates();
	load();
	query('SELECT clari_invalidate()');
	return;
}

1;
