# Measures and prints: see merge.sh.  Usage: merge.pl SIMULATOR_PORT ROWS [PART…], with PGHOST and PGPORT of a server.
use strict;
use warnings FATAL => 'all';

use Figures;
use FindBin;
use List::Util qw(max);
use Time::HiRes qw(time);

my ($port, $rows, @parts) = @ARGV;
my $rounds = 5;
my $few = int($rows / 50) || 1;
my $singly = int($rows / 20) || 1;    # of the guide's loader, which takes too long for all
my $missed = 0;
my $columns = 'owner_name, owner_email, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount, time_period, '
  . 'exported_at, forecast_name';
my $session = set_up($port);
my $told = new_session();    # its plans and how long they took are among what it says

sub query { my ($sql) = @_; return patiently($session, $sql); }

# ------- lines -------

# A figure with its promise: '<= 0.2', '>= 20', '= 7'.
sub promised
{
	my ($what, $figure, $format, $promise) = @_;
	my ($relation, $bound) = split ' ', $promise;
	my %kept = ('<=' => $figure <= $bound, '>=' => $figure >= $bound, '<' => $figure < $bound, '=' => $figure == $bound);
	$missed++ unless $kept{$relation};
	line($what, sprintf($format, $figure), sprintf('%-10s %s', $promise, $kept{$relation} ? 'ok' : 'MISSED'));
	return;
}

sub megabytes { return sprintf('%.2f MB', $_[0] / 1048576); }

# ------- rows -------

# One export of as many owners as there are to be rows; the tables; and base, which holds the rows.
sub fill
{
	control('set', { period => '2025_Q4', settings => { shape => 'flat', owners => $rows, null_emails => 0, job_seconds => 0,
		idle_users => 0, missing_quota => 0 } });
	query("CREATE EXTENSION pg_walinspect; CREATE SCHEMA clari; SELECT clari_create_tables();
		IMPORT FOREIGN SCHEMA net_arr LIMIT TO (forecasts) FROM SERVER clari INTO clari OPTIONS (periods '2025_Q4');
		CREATE UNLOGGED TABLE base AS SELECT * FROM clari.forecasts");
	my $count = query('SELECT count(*) FROM base');
	die "$count rows in place of $rows" if $count != $rows;
	return;
}

# A staging table of its own with newer rows of base, numbered n, of which some changed; never analyzed, as one that
# has just been filled.  How many changed.
sub stage_as
{
	my ($name, $changed, $where) = @_;
	my $amount = "CASE WHEN $changed THEN coalesce(forecast_amount, 0) + 1 ELSE forecast_amount END";
	my $list = $columns =~ s/forecast_amount/$amount/r =~ s/exported_at/exported_at + interval '4 hours'/r;
	query("CREATE UNLOGGED TABLE $name (LIKE staging_clari); INSERT INTO $name ($columns)
		SELECT $list FROM (SELECT *, row_number() OVER () AS n FROM base) AS b WHERE $where");
	return query("SELECT count(*) FROM $name AS s JOIN base AS b USING (owner_email, time_period, forecast_name)
		WHERE s.forecast_amount IS DISTINCT FROM b.forecast_amount");
}

# ------- one measurement -------

# The target as it was: no dead row, all pages written.
sub restore
{
	query("TRUNCATE clari_forecasts; INSERT INTO clari_forecasts ($columns) SELECT $columns FROM base");
	query($_) for 'VACUUM ANALYZE clari_forecasts', 'CHECKPOINT';
	return;
}

# What statements take: seconds, bytes of WAL without full-page images, bytes of these, dead rows; and what they said.
sub measure
{
	my ($statements, $by) = @_;
	restore();
	my $from = query('SELECT pg_current_wal_insert_lsn()');
	my $begin = time;
	my $said = patiently($by // $session, $statements);
	my $seconds = time - $begin;
	my $to = query('SELECT pg_current_wal_insert_lsn()');
	# A commit flushes what is to be inspected.
	query(q{SELECT pg_logical_emit_message(true, 'merge.pl', ''), pg_stat_force_next_flush()});
	my ($wal, $images) = (0, 0);
	($wal, $images) = split /\|/, query("SELECT coalesce(sum(record_size), 0)::bigint, coalesce(sum(fpi_size), 0)::bigint
		FROM pg_get_wal_stats('$from', '$to')") if $from ne $to;
	my $dead = query(q{SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'clari_forecasts'::regclass});
	return { seconds => $seconds, wal => $wal, images => $images, dead => $dead, said => $said };
}

# The median of each figure.
sub medians
{
	my (@measured) = @_;
	return { map { my $figure = $_; $figure => median(map { $_->{$figure} } @measured) } qw(seconds wal images dead) };
}

sub total { my ($of) = @_; return $of->{wal} + $of->{images}; }

# ------- merging -------

my $set = join(', ', map { "$_ = s.$_" } qw(owner_name forecast_amount quota_amount crm_total crm_closed adjustment_amount exported_at));
my $values = $columns =~ s/(\w+)/s.$1/gr;
my %statements = (
	reload => "BEGIN; TRUNCATE clari_forecasts; INSERT INTO clari_forecasts ($columns) SELECT $columns FROM staged_one_percent; COMMIT",
	guide => "MERGE INTO clari_forecasts AS t USING staged_one_percent AS s ON t.owner_email = s.owner_email
		AND t.time_period = s.time_period AND t.forecast_name = s.forecast_name
		WHEN MATCHED THEN UPDATE SET $set WHEN NOT MATCHED THEN INSERT ($columns) VALUES ($values)",
	map { $_ => "SELECT * FROM clari_merge('clari_forecasts', 'staged_$_')" } qw(unchanged one_percent few));

# Medians of each, taken in turns; %changed: how many rows those of clari_merge must update.
sub measure_all
{
	my (%changed) = @_;
	my %measured;
	for (1 .. $rounds)
	{
		for my $name (sort keys %statements)
		{
			my $got = measure($statements{$name});
			push @{ $measured{$name} }, $got;
			next unless defined $changed{$name};
			my ($inserted, $updated) = split /\|/, $got->{said} =~ s/.*\n//sr;
			die "$name: $got->{said}" if $inserted != 0 || $updated != $changed{$name};
		}
	}
	return map { $_ => medians(@{ $measured{$_} }) } keys %measured;
}

sub merge
{
	my %changed = (unchanged => stage_as('staged_unchanged', 'false', 'true'),
		one_percent => stage_as('staged_one_percent', 'n % 100 = 0', 'true'), few => stage_as('staged_few', 'true', "n <= $few"));
	my %of = measure_all(%changed);
	my $lines = sub {
		my ($name, $title, $against, $promise) = @_;
		line("$title: time", sprintf('%.3f s', $of{$name}{seconds}));
		promised("  against the $against", $of{$name}{seconds} / $of{$against}{seconds}, '%.3f x', $promise) if $against;
		line('  WAL', megabytes(total($of{$name})), 'of it full-page images: ' . megabytes($of{$name}{images}));
		promised("  of the reload's WAL", 100 * total($of{$name}) / total($of{reload}), '%.3f %%', '< 1') if $name eq 'unchanged';
		promised("  of the reload's WAL, without full-page images", 100 * $of{$name}{wal} / $of{reload}{wal}, '%.3f %%', '<= 2')
		  if $name eq 'one_percent';
		defined $changed{$name} ? promised('  dead rows', $of{$name}{dead}, '%d', "= $changed{$name}")
		  : line('  dead rows', $of{$name}{dead});
	};
	$lines->('reload', 'full reload: TRUNCATE and INSERT');
	$lines->('guide', "the guide's unconditional MERGE");
	$lines->('unchanged', 'clari_merge, unchanged', 'guide', '<= 0.33');
	$lines->('one_percent', 'clari_merge, 1 % changed', 'guide', '<= 0.40');
	$lines->('few', "clari_merge, $few changed rows staged alone", 'reload', '<= 0.20');
	return;
}

# ------- staging -------

sub stage
{
	my (@staged, @singly);
	for (1 .. $rounds)
	{
		my $seconds = qx{/usr/bin/python3 $FindBin::RealBin/executemany.py $singly};
		die "there is no psycopg2: apt install python3-psycopg2\n" unless $seconds =~ /^[\d.]+$/;
		push @singly, $seconds;
		query('TRUNCATE staging_clari');
		push @staged, timed($session, "INSERT INTO staging_clari ($columns) SELECT $columns FROM clari.forecasts");
	}
	my $staged = median(@staged);
	my $extrapolated = median(@singly) * $rows / $singly;
	line("staging $singly rows by psycopg2's executemany", sprintf('%.2f s', median(@singly)));
	line("  $rows rows, extrapolated from that", sprintf('%.1f s', $extrapolated));
	line("staging $rows rows by INSERT and SELECT from the foreign table", sprintf('%.3f s', $staged));
	promised('  times as fast', $extrapolated / $staged, '%.1f x', '>= 20');
	query('TRUNCATE staging_clari');
	return;
}

# ------- syncing -------

# Tables over so many quarters up to 2025_Q4 of so many owners each, cached: what is measured exports nothing.
sub import_quarters
{
	my ($name, $count, $owners) = @_;
	my @quarters = (map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2021 .. 2025)[ -$count .. -1 ];
	control('set', { settings => { known_periods => \@quarters } });
	control('set', { forecast => $name, settings => { shape => 'v4', owners => $owners, null_emails => 0, job_seconds => 0, weeks => 1,
		idle_users => 0, missing_quota => 0, amounts => 'plain' } });
	query("CREATE SCHEMA $name; IMPORT FOREIGN SCHEMA $name LIMIT TO (forecasts) FROM SERVER clari INTO $name
		OPTIONS (periods '$quarters[0]..$quarters[-1]', closed_period_ttl '365d'); SET search_path = $name, public; SELECT clari_create_tables();
		SELECT count(*) FROM $name.forecasts; RESET search_path");
	return @quarters;
}

# One call of clari_sync into the schema's table: its counts, as "inserted updated unchanged", and the seconds.
sub sync_once
{
	my ($name, $quarters) = @_;
	my $begin = time;
	my $said = query("CALL clari_sync('$name.forecasts', $quarters, '$name.clari_forecasts', max_age => '1 year')");
	my $seconds = time - $begin;
	die $said unless $said =~ / (\d+) inserted, (\d+) updated, (\d+) unchanged, 0 deleted, 0 skipped/;
	return ("$1 $2 $3", $seconds);
}

# The WAL of one call, and its dead rows, after a checkpoint.
sub sync_measured
{
	my ($name, $counts) = @_;
	query($_) for 'SELECT pg_stat_force_next_flush()', "VACUUM $name.clari_forecasts", 'SELECT pg_stat_force_next_flush()', 'CHECKPOINT';
	my $from = query('SELECT pg_current_wal_insert_lsn()');
	my ($got, $seconds) = sync_once($name, 'NULL');
	die "$got, expected $counts" if $got ne $counts;
	my $to = query('SELECT pg_current_wal_insert_lsn()');
	query(q{SELECT pg_logical_emit_message(true, 'merge.pl', ''), pg_stat_force_next_flush()});
	my $wal = query("SELECT coalesce(sum(record_size), 0)::bigint FROM pg_get_wal_stats('$from', '$to')");
	my $dead = query("SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = '$name.clari_forecasts'::regclass");
	return { seconds => $seconds, wal => $wal, dead => $dead };
}

sub first_sync
{
	my ($total) = @_;
	my (@synced, @inserted);
	query('CREATE TABLE heap (LIKE bookings.clari_forecasts INCLUDING ALL)');
	for (1 .. $rounds)
	{
		query("TRUNCATE bookings.clari_forecasts, bookings.clari_syncs, heap; CHECKPOINT");
		push @inserted, timed($session, "INSERT INTO heap ($columns) SELECT $columns FROM bookings.forecasts WHERE owner_email IS NOT NULL");
		my ($counts, $seconds) = sync_once('bookings', 'NULL');
		die $counts if $counts ne "$total 0 0";
		push @synced, $seconds;
	}
	line("first sync of $total rows", sprintf('%.3f s', median(@synced)));
	promised('  against INSERT and SELECT', median(@synced) / median(@inserted), '%.2f x', '<= 1.3');
	query('DROP TABLE heap');
	return;
}

# The most private memory that the session held during a sync, in kB.
sub memory_of_sync
{
	my ($begin, $most) = (time, 0);
	$told->start("CALL clari_sync('bookings.forecasts', NULL, 'bookings.clari_forecasts', max_age => '1 year')");
	do
	{
		open(my $status, '<', "/proc/$told->{pid}/status") or die $!;
		$most = max($most, join('', <$status>) =~ /^RssAnon:\s+(\d+)/m);
		die 'it takes too long' if time > $begin + 900;
	} until $told->is_finished(0.02);
	my $said = $told->finish;
	die $said if $said =~ /^ERROR/m;
	return $most;
}

sub sync
{
	my $total = 4 * $rows;
	import_quarters('bookings', 4, $rows);
	first_sync($total);
	query('VACUUM ANALYZE bookings.clari_forecasts');
	my $differ = join(' OR ', map { "t.$_ <> s.$_ OR (t.$_ IS NULL) <> (s.$_ IS NULL)" }
		qw(owner_name forecast_amount quota_amount crm_total crm_closed adjustment_amount));
	my (@synced, @joined);
	for (1 .. $rounds)
	{
		push @joined, timed($session, "SELECT count(*) FROM bookings.forecasts AS s LEFT JOIN bookings.clari_forecasts AS t
			USING (time_period, forecast_name, owner_email) WHERE $differ");
		my ($counts, $seconds) = sync_once('bookings', 'NULL');
		die $counts if $counts ne "0 0 $total";
		push @synced, $seconds;
	}
	line("unchanged sync of $total rows in four quarters", sprintf('%.3f s', median(@synced)));
	promised('  against the join that compares them', median(@synced) / median(@joined), '%.2f x', '<= 1.4');
	my $unchanged = sync_measured('bookings', "0 0 $total");
	promised('  WAL without full-page images', $unchanged->{wal} / 1024, '%.1f kB', '<= 8');
	promised('  dead rows', $unchanged->{dead}, '%d', '= 0');
	promised('  private memory', memory_of_sync() / 1024, '%.1f MB', '<= 64');
	my @one;
	for (1 .. $rounds)
	{
		query("UPDATE bookings.clari_forecasts SET crm_total = -1 WHERE ctid = (SELECT ctid FROM bookings.clari_forecasts LIMIT 1)");
		push @one, sync_measured('bookings', '0 1 ' . ($total - 1));
	}
	promised('one row changed: time against none', median(map { $_->{seconds} } @one) / median(@synced), '%.2f x', '<= 1.3');
	promised('  WAL without full-page images', median(map { $_->{wal} } @one) / 1024, '%.1f kB', '<= 8');
	promised('  dead rows', median(map { $_->{dead} } @one), '%d', '= 1');
	my $changed = query("WITH u AS (UPDATE bookings.clari_forecasts SET crm_total = -1 WHERE hashtext(owner_email || time_period) % 100 = 0 RETURNING 1)
		SELECT count(*) FROM u");
	my $percent = sync_measured('bookings', "0 $changed " . ($total - $changed));
	promised("1 % changed: dead rows, of $changed changed", $percent->{dead}, '%d', "= $changed");
	query('DROP TABLE bookings.clari_forecasts; DROP FOREIGN TABLE bookings.forecasts');
	return one_of_many();
}

# One of twenty quarters, in a table of that one, and in a table of all.
sub one_of_many
{
	my $owners = int($rows / 10);
	my @quarters = import_quarters('renewals', 20, $owners);
	my %seconds;
	my $last = "'{$quarters[-2]}'";    # fill() has its own owners in 2025_Q4
	sync_once('renewals', $last);
	for my $which ('alone', 'among twenty')
	{
		sync_once('renewals', 'NULL') if $which ne 'alone';
		query('VACUUM ANALYZE renewals.clari_forecasts');
		push @{ $seconds{$which} }, (sync_once('renewals', $last))[1] for 1 .. 2 * $rounds;
	}
	line("unchanged sync of a quarter of $owners rows", sprintf('%.3f s', median(@{ $seconds{alone} })));
	promised('  among twenty of them, against alone', median(@{ $seconds{'among twenty'} }) / median(@{ $seconds{alone} }), '%.2f x', '<= 1.5');
	return;
}

# ------- a large target -------

# Ten times as many rows, in twenty quarters.
sub fill_large
{
	my ($partitioned) = @_;
	my @quarters = map { my $year = $_; map { "${year}_Q$_" } 1 .. 4 } 2021 .. 2025;
	query('DROP TABLE IF EXISTS large; CREATE TABLE large (LIKE clari_forecasts INCLUDING ALL)'
		  . ($partitioned ? ' PARTITION BY LIST (time_period)' : ''));
	query("CREATE TABLE large_$_ PARTITION OF large FOR VALUES IN ('$_')") for $partitioned ? @quarters : ();
	query("INSERT INTO large SELECT 'Owner ' || i, 'owner.' || i || '\@example.com', i, i, i, i, i,
		('{" . join(',', @quarters) . "}'::text[])[i % 20 + 1], '2026-01-01', 'net_arr' FROM generate_series(1, 10 * $rows) AS i");
	return;
}

# Rows of the large target, of which one in a hundred changed.
sub stage_large
{
	my ($where) = @_;
	query("DROP TABLE IF EXISTS large_staged; CREATE UNLOGGED TABLE large_staged (LIKE staging_clari);
		INSERT INTO large_staged ($columns) SELECT owner_name, owner_email, forecast_amount + (quota_amount % 2000 < 20)::int,
			quota_amount, crm_total, crm_closed, adjustment_amount, time_period, '2026-01-02', forecast_name FROM large WHERE $where");
	return;
}

# Merges, and takes it back; what was said, the seconds, and the most private memory that the session held, in kB.  (Its
# VmHWM would be the buffers that it has read.)
sub merge_large
{
	my ($arguments) = @_;
	my ($begin, $most) = (time, 0);
	$told->start("BEGIN; SELECT * FROM clari_merge('large', 'large_staged'$arguments)");
	do
	{
		open(my $status, '<', "/proc/$told->{pid}/status") or die $!;
		$most = max($most, join('', <$status>) =~ /^RssAnon:\s+(\d+)/m);
		die 'it takes too long' if time > $begin + 900;
	} until $told->is_finished(0.05);
	my $seconds = time - $begin;
	my $said = $told->finish;
	patiently($told, 'ROLLBACK');
	die $said if $said =~ /ERROR/;
	return ($said, $seconds, $most);
}

sub large
{
	my %staged = ('all rows staged' => 'true', 'two quarters staged' => "time_period IN ('2024_Q4', '2025_Q1')",
		'20 rows staged' => "quota_amount % ($rows / 2) = 0");
	for my $kind ('', 'partitioned, ')
	{
		fill_large($kind);
		for my $when ('never analyzed', 'analyzed')
		{
			query('ANALYZE large') if $when eq 'analyzed';
			# All of them once: it takes minutes.
			for my $what (grep { $when eq 'never analyzed' || !/^all/ } sort keys %staged)
			{
				stage_large($staged{$what});
				query('ANALYZE large_staged') if $when eq 'analyzed';
				my $few = $what =~ /^20/;
				# Whatever is staged: what is missing can be found by reading all only.
				my ($said, $seconds, $most) = merge_large($few ? '' : ', true');
				my @plans = grep { / on large/ } split /duration: [\d.]+ ms  plan:/, $said;
				line(10 * $rows . " rows, $kind$when, $what", sprintf('%.2f s', $seconds), $said =~ s/.*\n//sr);
				$few ? promised('  statements that read all of it', scalar(grep { /Seq Scan on large(?!_staged)/ } @plans), '%d', '= 0')
				  : promised('  statements with a nested loop', scalar(grep { /Nested Loop(?!.*Tid Scan on)/s } @plans), '%d', '= 0');
				promised('  private memory', $most / 1024, '%.1f MB', '<= 128');
			}
		}
	}
	return;
}

# ------- a history -------

# A sync of the one quarter into the table, of which so many rows have been changed; the seconds.
sub sync_into
{
	my ($target, $changed) = @_;
	query($_) for "VACUUM $target", $target eq 'kept' ? 'VACUUM kept_history' : (), 'CHECKPOINT';
	my $begin = time;
	my $said = query("CALL clari_sync('clari.forecasts', NULL, '$target', max_age => '1 year')");
	my $seconds = time - $begin;
	die $said unless $said =~ / 0 inserted, $changed updated, @{[ $rows - $changed ]} unchanged/;
	return $seconds;
}

# What a sync takes with a history and without, in turns, nothing changed and one row in a hundred.
sub sync_with_history
{
	my (%unchanged, %changed);
	my $versions = query('SELECT count(*) FROM kept_history');
	for (1 .. $rounds)
	{
		push @{ $unchanged{$_} }, sync_into($_, 0) for qw(plain kept);
		for my $target (qw(plain kept))
		{
			my $count = query("WITH u AS (UPDATE $target SET crm_total = -1 WHERE hashtext(owner_email) % 100 = 0 RETURNING 1)
				SELECT count(*) FROM u");
			push @{ $changed{$target} }, sync_into($target, $count);
			$versions += 2 * $count if $target eq 'kept';
		}
	}
	for my $of ([ 'unchanged', \%unchanged, '<= 1.1' ], [ '1 % changed', \%changed, '<= 1.35' ])
	{
		my ($what, $seconds, $promise) = @$of;
		line("a sync of $rows rows with a history, $what", sprintf('%.3f s', median(@{ $seconds->{kept} })));
		promised('  against one without', median(@{ $seconds->{kept} }) / median(@{ $seconds->{plain} }), '%.2f x', $promise);
	}
	promised('  versions: a row per change', query('SELECT count(*) FROM kept_history'), '%d', "= $versions");
	return;
}

# A hundred times one row in a hundred changed, each row once; moments of it.
sub fill_history
{
	query(q{SELECT clari_untrack_history('kept'); DROP TABLE kept_history CASCADE; SELECT clari_track_history('kept')});
	my @moments = query('SELECT clock_timestamp()');
	for my $i (0 .. 99)
	{
		query("UPDATE kept SET forecast_amount = coalesce(forecast_amount, 0) + 1 WHERE abs(hashtext(owner_email)::bigint) % 100 = $i");
		push @moments, query('SELECT clock_timestamp()') if $i % 33 == 32;
		query('VACUUM kept_history') if $i % 10 == 9;
	}
	query($_) for 'VACUUM ANALYZE kept', 'VACUUM ANALYZE kept_history';
	promised('100 times 1 % changed: versions', query('SELECT count(*) FROM kept_history'), '%d', '= ' . 2 * $rows);
	line("  size of the history, against the table's",
		query(q{SELECT round(pg_total_relation_size('kept_history')::numeric / pg_total_relation_size('kept'), 2) || ' x'}));
	return @moments;
}

sub history
{
	query("CREATE TABLE $_ (LIKE clari_forecasts INCLUDING ALL); CALL clari_sync('clari.forecasts', NULL, '$_', max_age => '1 year')")
	  for qw(plain kept);
	query($_) for 'VACUUM ANALYZE plain', 'VACUUM ANALYZE kept';
	line("clari_track_history of $rows rows", sprintf('%.2f s', timed($session, "SELECT clari_track_history('kept')")));
	sync_with_history();
	my @moments = fill_history();
	my $sums = 'SELECT count(*), sum(forecast_amount), sum(crm_total), max(owner_name) FROM';
	my %read = interleaved($session, $rounds, kept => [ undef, "$sums kept" ],
		map { $moments[$_] => [ undef, "$sums kept_as_of('$moments[$_]')" ] } 0 .. $#moments);
	line('reading the table', sprintf('%.3f s', median(@{ $read{kept} })));
	promised("  as of moment $_ of $#moments, against that", median(@{ $read{ $moments[$_] } }) / median(@{ $read{kept} }), '%.2f x', '<= 3.5')
	  for 0 .. $#moments;
	my $owner = query('SELECT owner_email FROM kept OFFSET 777 LIMIT 1');
	my @one = map { timed($session, "SELECT * FROM kept_as_of('$moments[1]') WHERE owner_email = '$owner'") } 1 .. 100;
	promised('  one owner as of a moment', 1000 * median(@one), '%.2f ms', '<= 1');
	line('  the changes since a moment, summed', sprintf('%.3f s',
			timed($session, "SELECT kind, sum(forecast_difference) FROM kept_changes WHERE changed_at > '$moments[-2]' GROUP BY kind")));
	query('DROP TABLE plain, kept; DROP TABLE kept_history CASCADE');
	return;
}

patiently($told, "LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
	SET auto_explain.log_level = notice");
fill();
run_parts([qw(merge sync stage history large)],
	{ merge => \&merge, sync => \&sync, stage => \&stage, history => \&history, large => \&large }, @parts);
print $missed ? "$missed MISSED\n" : "all ok\n";
exit($missed ? 1 : 0);
