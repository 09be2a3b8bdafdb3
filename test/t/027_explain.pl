# EXPLAIN tells what a scan reads and how, in every format the same; without ANALYZE it asks nobody, and never shows a key.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use JSON::PP;
use Test::More;

my @keys = qw(test-key-4711 other-key-0815);
start_sim(job_seconds => 0, owners => 60, monthly_quota => 100_000, concurrent_limit => 100,
	forecasts => [qw(net_arr large fresh)], keys => { $keys[0] => {}, $keys[1] => { user => 'other', tenant => 'org-2', seed => 2 } });
sim_set({ owners => 4400 }, forecast => 'large');
my $node = start_node('explain', "clari_fdw.shared_cache_size = '1MB'");
create_server($node, max_concurrent_exports => 8);

sql("ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key '$keys[0]')");
import_tables($node);
sql(q{CREATE SCHEMA large; IMPORT FOREIGN SCHEMA large FROM SERVER clari INTO large OPTIONS (periods '2026_Q1..2026_Q2')});
# Windows of half a second: what is old serves, and is exported anew behind.
sql(q{CREATE FOREIGN TABLE clari.swr (owner_email text, time_period text) SERVER clari
	OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q2',
	cache_ttl '500ms', closed_period_ttl '500ms', stale_while_revalidate '1h');
	CREATE FOREIGN TABLE clari.short (owner_email text, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q2',
	cache_ttl '500ms', closed_period_ttl '500ms');
	CREATE TABLE quarters (q text, n int); INSERT INTO quarters VALUES ('2026_Q2', 1), ('2026_Q3', 2), ('2026_Q2', 3); ANALYZE quarters});

my @ours = ('Forecast', 'Period Cond', 'Dictionary Cond', 'Periods', 'Identities', 'Cached', 'Stale', 'Not Cached', 'Sources', 'Jobs Created', 'Time Waiting',
	'Bytes Read', 'Rows Skipped', 'Count Of', 'Exports');
my %is_ours = map { $_ => 1 } @ours;
# In all formats but text these have a list of texts as their value.
my %is_list = map { $_ => 1 } 'Periods', 'Identities', 'Cached', 'Stale', 'Not Cached', 'Sources';
my $everything = '';    # that was ever shown

# A list, as the text format has it.
sub listed { my (@texts) = @_; return @texts ? join(', ', @texts) : 'none'; }

# Text: "    Periods: 2026_Q1, 2026_Q2"
sub read_text
{
	my ($text) = @_;
	my @scans;
	for my $line (split /\n/, $text)
	{
		push @scans, {} if $line =~ /Foreign Scan/;
		next unless @scans && $line =~ /^\s+([A-Z][A-Za-z ]+): (.*)$/ && $is_ours{$1};
		my ($name, $value) = ($1, $2);
		die "$name twice" if exists $scans[-1]{$name};
		$value =~ s/ (ms|B)$// if $name =~ /Time|Bytes/;
		$scans[-1]{$name} = $value;
	}
	return @scans;
}

sub read_yaml
{
	my ($text) = @_;
	my (@scans, $items);
	for my $line (split /\n/, $text)
	{
		push @scans, {} if $line =~ /Node Type: "Foreign Scan"/;
		push(@$items, decode_json("[$1]")->[0]) if $items && $line =~ /^\s*- (".*")$/;
		$items = undef if $line =~ /^[\s-]+[A-Z][A-Za-z ]+: /;
		next unless @scans && $line =~ /^[\s-]+([A-Z][A-Za-z ]+): (.*)$/ && $is_ours{$1};
		my ($name, $value) = ($1, $2);
		if ($is_list{$name}) { $value eq '' or die $line; $items = $scans[-1]{$name} = []; next; }
		$scans[-1]{$name} = decode_json("[$value]")->[0];
	}
	for my $scan (@scans) { $scan->{$_} = listed(@{ $scan->{$_} }) for grep { $is_list{$_} } keys %$scan; }
	return @scans;
}

sub read_xml
{
	my ($text) = @_;
	my @scans;
	# <Periods><Item>2026_Q1</Item></Periods>, each on lines of its own: as one line, without the tags within
	$text =~ s{<(Periods|Identities|Cached|Stale|Not-Cached|Sources)>\s*((?:<Item>.*</Item>\s*)*)</\1>}{my ($name, $items) = ($1, $2); "<$name>" . listed($items =~ /<Item>(.*)<\/Item>/g) . "</$name>"}ge;
	for my $line (split /\n/, $text)
	{
		push @scans, {} if $line =~ /<Node-Type>Foreign Scan</;
		next unless @scans && $line =~ /<([A-Z][A-Za-z-]+)>(.*)<\/\1>/;
		my ($name, $value) = ($1, $2);
		$name =~ tr/-/ /;
		next unless $is_ours{$name};
		$value =~ s/&lt;/</g;
		$value =~ s/&gt;/>/g;
		$value =~ s/&quot;/"/g;
		$value =~ s/&amp;/&/g;
		$scans[-1]{$name} = $value;
	}
	return @scans;
}

sub scans_below
{
	my ($plan) = @_;
	my @scans = map { scans_below($_) } @{ $plan->{Plans} // [] };
	unshift @scans, { map { $_ => $is_list{$_} ? listed(@{ $plan->{$_} }) : $plan->{$_} } grep { $is_ours{$_} } keys %$plan }
		if $plan->{'Node Type'} eq 'Foreign Scan';
	return @scans;
}

sub read_json { my ($text) = @_; return map { scans_below($_->{Plan}) } @{ decode_json($text) }; }

my %parse = (TEXT => \&read_text, YAML => \&read_yaml, XML => \&read_xml, JSON => \&read_json);

# What EXPLAIN with the options shows of each foreign scan of a query.
sub explained
{
	my ($query, $options, $setting) = @_;
	my ($format) = $options =~ /FORMAT (\w+)/;
	my ($code, $text, $message) =
		$node->psql('postgres', 'SET search_path = clari, public; SET client_min_messages = warning; ' . ($setting // '') . "; EXPLAIN ($options) $query");
	die "EXPLAIN ($options) $query: $message" unless $code == 0;
	$everything .= "$text\n$message\n";
	return $parse{ $format // 'TEXT' }->($text);
}

sub names { my ($scan) = @_; return join(', ', grep { exists $scan->{$_} } @ours); }

# The same properties with the same values in all formats; returns those of JSON.
sub same_in_all_formats
{
	my ($query, $options, $setting) = @_;
	my @expected = explained($query, "$options, FORMAT JSON", $setting);
	$_->{'Time Waiting'} = 'so long' for grep { exists $_->{'Time Waiting'} } @expected;
	for my $format (qw(TEXT YAML XML))
	{
		my @got = explained($query, "$options, FORMAT $format", $setting);
		for my $scan (grep { exists $_->{'Time Waiting'} } @got)
		{
			like($scan->{'Time Waiting'}, qr/^\d+(\.\d+)?$/, "$format: milliseconds");
			$scan->{'Time Waiting'} = 'so long';
		}
		is_deeply(\@got, \@expected, "$format as JSON: EXPLAIN ($options) $query") or diag(Test::More::explain([\@got, \@expected]));
	}
	return @expected;
}

# 2026_Q1 memory, however it is punctuated.
sub sources { my ($scan) = @_; return join(', ', map { s/\W+/ /r } ($scan->{Sources} // '') =~ /(\d{4}_Q\d\W+\w+)/g); }

sub forget { sql('SELECT clari_invalidate()'); sim_reset(); return; }

my $both = q{SELECT owner_email FROM forecasts WHERE time_period IN ('2026_Q1', '2026_Q2')};
my $worker = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'clari_fdw%'};

subtest 'without ANALYZE' => sub {
	for my $format (qw(TEXT JSON YAML XML))
	{
		for my $options ('COSTS OFF', 'VERBOSE', 'SUMMARY', 'SETTINGS, VERBOSE')
		{
			my ($scan) = explained($both, "$options, FORMAT $format");
			is(names($scan), 'Forecast, Period Cond, Periods' . ($options =~ /VERBOSE/ ? ', Identities' : '') . ', Not Cached', "$format, $options: nothing is cached");
		}
	}
	is(sim_requests(), 0, 'nobody was asked');
	is(sql($worker), 0, '… nor was a worker started');

	sql($_) for q{SELECT count(*) FROM clari.forecasts WHERE time_period <> '2026_Q2'}, q{SELECT count(*) FROM large.users
		WHERE time_period = '2026_Q1'};
	my $requests = sim_requests();
	my ($scan) = same_in_all_formats($both, 'VERBOSE');
	is(names($scan), 'Forecast, Period Cond, Periods, Identities, Cached, Not Cached', 'a part is cached');
	is($scan->{Forecast}, 'net_arr', 'the forecast');
	is($scan->{Periods}, '2026_Q1, 2026_Q2', 'the periods');
	like($scan->{'Period Cond'}, qr/^\(.*time_period = ANY \('\{2026_Q1,2026_Q2\}'::text\[\]\)\)$/, 'what has chosen them');
	is($scan->{'Not Cached'}, '2026_Q2', 'which are not cached');
	like($scan->{Cached}, qr/^2026_Q1 \(memory, 117 entries\)$/, 'and which are, where and how large');
	($scan) = same_in_all_formats(q{SELECT count(*) FROM large.entries}, 'COSTS OFF');
	is(names($scan), 'Forecast, Periods, Cached, Not Cached, Count Of', 'no condition');
	is($scan->{'Count Of'}, 'entries', '… the table whose rows are counted');
	like($scan->{Cached}, qr/^2026_Q1 \(disk, 8580 entries\)$/, 'on disk');
	($scan) = same_in_all_formats('SELECT * FROM entries WHERE field_type = $$QUOTA$$ AND role IS NOT NULL
		AND length(field_id) > 1', 'COSTS OFF');
	is(names($scan), 'Forecast, Dictionary Cond, Periods, Cached, Not Cached', 'a condition on texts');
	like($scan->{'Dictionary Cond'}, $_, '… which it is') for qr/field_type = 'QUOTA'::text/, qr/role IS NOT NULL/;
	($scan) = same_in_all_formats(q{SELECT * FROM forecasts WHERE owner_email = '<a> & "b"' AND time_period = '2026_Q1'}, 'COSTS OFF');
	is($scan->{Periods}, '2026_Q1', 'what a format must escape');

	# Where values come with execution, what it will ask is shown, not what it will find.
	($scan) = same_in_all_formats('SELECT * FROM forecasts WHERE time_period = (SELECT q FROM quarters WHERE n = 1)', 'COSTS OFF');
	is($scan->{Periods}, '2026_Q1, 2026_Q2, 2026_Q3, 2026_Q4', 'of an initplan, the extent');
	like($scan->{'Period Cond'}, qr/time_period = (\$\d|\(InitPlan \w+\)\.col1)/, '… and its condition');
	my @scans = same_in_all_formats('SELECT * FROM quarters, LATERAL (SELECT * FROM forecasts WHERE time_period = q
		AND forecast_amount > n OFFSET 0) s', 'COSTS OFF');
	like($scans[0]{'Period Cond'}, qr/time_period = quarters\.q/, 'of an outer row, by its name');
	for my $query ('SELECT n, (SELECT count(*) FROM entries WHERE time_period = q) FROM quarters',
		'SELECT n FROM quarters WHERE NOT EXISTS (SELECT FROM forecasts WHERE time_period = q AND forecast_amount > n OFFSET 0)',
		'SELECT b.n FROM quarters LEFT JOIN quarters b ON b.n < (SELECT count(*) FROM entries WHERE time_period = quarters.q || left(b.q, 0))',
		'SELECT 1 FROM quarters WHERE n > (SELECT (SELECT count(*) FROM entries WHERE time_period = q) FROM (VALUES (n)) v OFFSET 0)',
		'WITH w AS MATERIALIZED (SELECT n, (SELECT count(*) FROM entries WHERE time_period = q) FROM quarters) SELECT * FROM w',
		'SELECT (SELECT count(*) FROM entries WHERE time_period = q) FROM (SELECT q FROM quarters UNION ALL SELECT q FROM quarters) u',
		'UPDATE quarters SET n = (SELECT count(*) FROM entries WHERE time_period = q)')
	{
		($scan) = same_in_all_formats($query, 'COSTS OFF');
		like($scan->{'Period Cond'}, qr/time_period = \(?(quarters|quarters_\d)\.q/, 'of a row outside of the subquery, by its name');
	}
	($scan) = same_in_all_formats(q{EXECUTE p('{2026_Q1,2026_Q2}', 'QUOTA')}, 'COSTS OFF', 'SET plan_cache_mode = force_generic_plan;
		PREPARE p(text[], text) AS SELECT * FROM entries WHERE time_period = ANY ($1) AND field_type = $2');
	is(names($scan), 'Forecast, Period Cond, Dictionary Cond, Periods, Cached, Not Cached', 'of a generic plan');
	is($scan->{Periods}, '2026_Q1, 2026_Q2', '… what its parameters ask for');
	($scan) = same_in_all_formats($both, 'COSTS OFF', 'SET clari_fdw.enable_pruning = off');
	is(names($scan), 'Forecast, Periods, Cached, Not Cached', 'without pruning no condition prunes');
	is($scan->{Periods}, '2026_Q1, 2026_Q2, 2026_Q3, 2026_Q4', '… and all are read');
	like(sql("LOAD 'clari_fdw'; SET clari_fdw.enable_pruning = off; EXPLAIN (SETTINGS, COSTS OFF) SELECT *
		FROM clari.users"), qr/Settings:.*clari_fdw\.enable_pruning = 'off'/,
		'… and the plan tells that');
	($scan) = same_in_all_formats(q{SELECT * FROM forecasts WHERE time_period > '2030'}, 'COSTS OFF');
	is(names($scan), 'Forecast, Period Cond, Periods', 'no period');
	is($scan->{Periods}, 'none', '… is said');
	sql(q{CREATE FOREIGN TABLE clari.relative (owner_email text, time_period text) SERVER clari
		OPTIONS (forecast 'fresh', periods 'current-1..current')});
	($scan) = same_in_all_formats('SELECT * FROM relative', 'VERBOSE');
	is(names($scan), 'Forecast, Periods', 'quarters that only Clari knows');
	like($scan->{Periods}, qr/^current-1\.\.current \(the current quarter is not known yet\)$/, '… are named as the option does');

	# What is too old for the table, and is to be exported anew.
	wait_until('it is old', sub { sql(q{SELECT exported_at < now() - interval '600 ms' FROM clari_cache WHERE forecast = 'net_arr'
		AND time_period = '2026_Q1'}) eq 't' });
	($scan) = same_in_all_formats('SELECT * FROM short', 'COSTS OFF');
	is(names($scan), 'Forecast, Periods, Stale, Not Cached', 'stale, and missing');
	like($scan->{Stale}, qr/^2026_Q1 \(memory, 117 entries\)$/, '… which is which');
	is(sim_requests(), $requests, 'nobody was asked');

	# Whoever has no user mapping may see the plan, and nothing of the cache.
	sql('CREATE ROLE nobody LOGIN; GRANT USAGE ON SCHEMA clari TO nobody; GRANT SELECT ON clari.forecasts TO nobody');
	($scan) = explained($both, 'VERBOSE', 'SET ROLE nobody');
	is(names($scan), 'Forecast, Period Cond, Periods, Not Cached', 'who has no user mapping sees no identity and no cache');
	is(sim_requests(), $requests, 'nobody was asked');
};

subtest 'what EXPLAIN evaluates, and what it does not' => sub {
	forget();
	my $generic = 'SET plan_cache_mode = force_generic_plan;';
	sql(q{CREATE FUNCTION newest() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT max(time_period) FROM clari.users
		WHERE time_period < '2026_Q4'); END $$;
		CREATE FUNCTION failing(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN RAISE 'called with %', $1; END $$});
	my $all = '2026_Q1, 2026_Q2, 2026_Q3, 2026_Q4';
	for my $case (
		[ q{SELECT * FROM forecasts WHERE time_period = to_char(date '2026-05-01' + (current_date - current_date), 'YYYY"_Q"Q')}, '2026_Q2' ],
		[ q{SELECT * FROM forecasts WHERE time_period = '2026_Q' || extract(quarter FROM date '2026-05-01' + (current_date - current_date))}, '2026_Q2' ],
		[ q{EXECUTE p(2)}, '2026_Q2', q{PREPARE p(int) AS SELECT * FROM forecasts WHERE time_period = '2026_Q' || $1} ],
		[ q{EXECUTE p('{2026_Q2,2026_Q3}')}, '2026_Q2, 2026_Q3', q{PREPARE p(varchar[]) AS SELECT * FROM forecasts WHERE time_period = ANY ($1)} ],
		[ q{EXECUTE p('2026-05-01')}, '2026_Q2', q{PREPARE p(date) AS SELECT * FROM forecasts WHERE time_period = to_char($1, 'YYYY"_Q"Q')} ],
		# What may fail for one value and not for another, and what is somebody's own, is for the execution.
		[ q{EXECUTE p('2')}, $all, q{PREPARE p(text) AS SELECT * FROM forecasts WHERE time_period = '2026_Q' || $1::int} ],
		[ q{EXECUTE p('last')}, $all, q{PREPARE p(text) AS SELECT * FROM forecasts WHERE time_period = '2026_Q' || $1::int} ],
		[ q{EXECUTE p('2026_Q2')}, $all, q{PREPARE p(text) AS SELECT * FROM forecasts WHERE time_period = failing($1)} ],
		[ q{SELECT * FROM forecasts WHERE time_period = newest()}, $all ],
		[ q{SELECT * FROM quarters, LATERAL (SELECT * FROM forecasts WHERE time_period = '2026_Q' || n OFFSET 0) s}, $all ])
	{
		my ($query, $periods, $prepare) = @$case;
		my ($scan) = same_in_all_formats($query, 'COSTS OFF', $generic . ($prepare // ''));
		is($scan->{Periods}, $periods, $prepare // $query);
		ok($scan->{'Period Cond'}, '… with what chooses them');
	}
	is(sim_requests(), 0, 'nobody was asked, not by a function either');

	my ($scan) = explained('SELECT * FROM forecasts WHERE time_period = newest()', 'ANALYZE, FORMAT JSON');
	is("$scan->{Periods}: " . sources($scan), '2026_Q3: 2026_Q3 memory', 'after the execution it knows them');
	is(sim_posts(), 3, '… and no more was exported than the function needs');

	# Scans that do not take place are not evaluated at the end either, nor where another module explains the query.
	my $prepare = q{PREPARE p(text) AS SELECT CASE WHEN $1 ~ '^\d$' THEN (SELECT count(*) FROM forecasts WHERE time_period = '2026_Q' || $1::int)
		ELSE (SELECT count(*) FROM forecasts WHERE time_period = '2026_Q1') END};
	my @scans = same_in_all_formats(q{EXECUTE p('last')}, 'ANALYZE', $generic . $prepare);
	is(join('; ', map { "$_->{Periods}: " . sources($_) } @scans), "$all: ; 2026_Q1: 2026_Q1 memory", 'one that took place, and one that did not');
	for my $analyze (qw(on off))
	{
		next if $node->psql('postgres', q{LOAD 'auto_explain'});    # not installed
		my ($code, $rows, $message) = $node->psql('postgres', qq{LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0;
			SET auto_explain.log_analyze = $analyze; SET search_path = clari, public; SET client_min_messages = log; $generic $prepare; EXECUTE p('last')});
		is($code, 0, "auto_explain, log_analyze $analyze") or diag($message);
		like($message, qr/Periods: \Q$all\E/, '… tells the same');
	}
};

subtest 'identities' => sub {
	my $identity = sub { my ($scan) = explained($_[0], 'VERBOSE', $_[1]); return $scan->{Identities} // 'none' };
	my $mine = $identity->($both);
	like($mine, qr/^2026_Q1 \([0-9a-f]{6,16}\), 2026_Q2 \([0-9a-f]{6,16}\)$/, 'a short hash for each period');
	is($identity->($both =~ s/forecasts/entries/r), $mine, 'two tables of one export');
	is($identity->($both, 'SET clari_fdw.enable_pruning = on'), $mine, 'always the same');
	my $shown = sub { return sql(qq{SELECT string_agg(format('%s (%s)', time_period, identity), ', ' ORDER BY time_period, identity) FROM $_[0]}) };
	forget();
	sql("SET search_path = clari; $both");
	is($shown->('clari_cache'), $mine, 'which the view clari_cache shows');
	sql(q{CREATE FOREIGN TABLE clari.euro (owner_email text, time_period text) SERVER clari
		OPTIONS (forecast 'net_arr', periods '2026_Q1..2026_Q2', currency 'EUR')});
	my $euro = $identity->($both =~ s/forecasts/euro/r);
	isnt($euro, $mine, 'another currency is another export');
	sql('SELECT count(*) FROM clari.euro');
	is($shown->('clari_cache'), join(', ', sort(split(/, /, $mine), split(/, /, $euro))), 'two lines of the view');
	sql(q{SELECT clari_invalidate('clari.forecasts'); SELECT clari_invalidate('clari.euro')});
	sim_set({ job_seconds => 'hold' });
	sql(q{SELECT clari_prefetch('clari.euro')});
	is($shown->('clari_exports'), $euro, 'so does clari_exports');
	sim_set({ job_seconds => 0 });
	wait_until('they are there', sub { sim_release(); sql('SELECT count(*) FROM clari_exports') == 0 });
	is(sql('SELECT count(*) - count(DISTINCT (identity, base_url, forecast, time_period)) FROM clari_cache'), 0, 'a key of its rows');
	# The current quarter, exported without its name, has the identity of that export.
	sql(q{CREATE FOREIGN TABLE clari.now (owner_email text, time_period text) SERVER clari OPTIONS (forecast 'net_arr', currency 'GBP')});
	sql('SELECT count(*) FROM clari.now');
	my $now = $identity->('SELECT * FROM clari.now');
	is(sql(q{SELECT format('%s (%s)', '2026_Q4', identity) FROM clari_cache WHERE time_period = 'current'}), $now, 'of the current quarter, too');
	sql(qq{CREATE ROLE other; GRANT USAGE ON FOREIGN SERVER clari TO other; GRANT USAGE ON SCHEMA clari TO other; GRANT SELECT
		ON clari.forecasts TO other;
		CREATE USER MAPPING FOR other SERVER clari OPTIONS (api_key '$keys[1]')});
	my $other = $identity->($both, 'SET ROLE other');
	like($other, qr/^2026_Q1 \([0-9a-f]{6,16}\), /, 'another key');
	isnt($other, $mine, '… is another export');
};

subtest 'with ANALYZE' => sub {
	my $timed = 'Forecast, Period Cond, Periods, Sources, Jobs Created, Time Waiting, Bytes Read, Rows Skipped';
	forget();
	sim_set({ job_seconds => 0.3 });
	my ($scan) = explained($both, 'ANALYZE, FORMAT JSON');
	is(names($scan), $timed, 'cold');
	is(sources($scan), '2026_Q1 export, 2026_Q2 export', '… both are exported');
	is($scan->{'Jobs Created'}, 2, '… by as many jobs');
	is(sim_posts(), 2, '… and POSTs');
	my $waited = $scan->{'Time Waiting'};
	cmp_ok($waited, '>=', 250, '… for which it waited');
	cmp_ok($scan->{'Bytes Read'}, '>', 0, '… and read something');
	sim_set({ job_seconds => 0 });
	($scan) = same_in_all_formats($both, 'ANALYZE');
	is(names($scan), $timed, 'warm');
	is(sources($scan), '2026_Q1 memory, 2026_Q2 memory', '… both are in memory');
	is($scan->{'Jobs Created'}, 0, '… no job');
	($scan) = explained($both, 'ANALYZE, FORMAT JSON');
	cmp_ok($scan->{'Time Waiting'}, '<', $waited, '… no waiting');
	($scan) = same_in_all_formats($both, 'ANALYZE, VERBOSE, TIMING OFF, COSTS OFF, BUFFERS, SUMMARY OFF');
	is(names($scan), 'Forecast, Period Cond, Periods, Identities, Sources, Jobs Created, Bytes Read, Rows Skipped', 'verbose, and without times');
	is(sim_posts(), 2, 'no POST more');

	sql(q{SELECT clari_invalidate('clari.forecasts', '{2026_Q2}')});
	($scan) = explained('SELECT * FROM forecasts', 'ANALYZE, FORMAT YAML');
	is(sources($scan), '2026_Q1 memory, 2026_Q2 export, 2026_Q3 export, 2026_Q4 export', 'one is in memory, three are exported');
	is($scan->{'Jobs Created'}, 3, '… by three jobs');
	is(sim_posts(), 5, '… and POSTs');

	sql('SELECT count(*) FROM large.entries');
	for my $format (qw(TEXT JSON YAML XML))
	{
		($scan) = explained(q{SELECT count(user_id) FROM large.entries WHERE time_period = '2026_Q2'}, "ANALYZE, FORMAT $format");
		is(sources($scan), '2026_Q2 disk', "$format: on disk");
		cmp_ok($scan->{'Bytes Read'}, '>', 10_000, '… bytes are read');
		is($scan->{'Jobs Created'}, 0, '… no job');
	}
	my ($narrow) = explained('SELECT count(user_id) FROM large.entries', 'ANALYZE, FORMAT JSON');
	my ($wide) = explained('SELECT * FROM large.entries', 'ANALYZE, FORMAT JSON');
	cmp_ok($narrow->{'Bytes Read'}, '<', $wide->{'Bytes Read'}, 'fewer columns, fewer bytes');

	# Stale rows serve at once, while they are exported anew.
	wait_until('it is old', sub { sql(q{SELECT bool_and(exported_at < now() - interval '600 ms') FROM clari_cache
		WHERE forecast = 'net_arr'}) eq 't' });
	sim_set({ job_seconds => 'hold' });
	sim_reset();
	($scan) = explained('SELECT * FROM swr', 'ANALYZE, FORMAT JSON');
	is(sources($scan), '2026_Q1 stale, 2026_Q2 stale', 'stale');
	($scan) = explained('SELECT * FROM swr', 'ANALYZE, FORMAT XML');
	is(sources($scan), '2026_Q1 stale, 2026_Q2 stale', 'still stale');
	is($scan->{'Jobs Created'}, 0, '… and the export that is under way is not this one\'s');
	wait_until('both are exported anew', sub { sim_posts() == 2 });
	sim_set({ job_seconds => 0 });
	sim_release();
	wait_until('they are there', sub { sql('SELECT count(*) FROM clari_exports') == 0 });
	is(sim_posts(), 2, 'once each');
};

subtest 'jobs are counted for those who make them' => sub {
	forget();
	sim_set({ job_seconds => 'hold' });
	my $analyze = "EXPLAIN (ANALYZE, COSTS OFF) $both";
	my @sessions = map { ClariSession->new($node) } 1 .. 3;
	$_->query('SET search_path = clari') for @sessions;
	$sessions[0]->start($analyze);
	wait_until('the first exports', sub { sim_posts() == 2 });
	$_->start($analyze) for @sessions[ 1, 2 ];
	wait_until('all wait', sub { sql('SELECT sum(waiters) FROM clari_exports') == 6 });
	sim_release();
	my @jobs;
	for my $session (@sessions)
	{
		my ($scan) = read_text($session->finish);
		is(sources($scan), '2026_Q1 export, 2026_Q2 export', 'both came from an export');
		push @jobs, $scan->{'Jobs Created'};
	}
	is("@jobs", '2 0 0', 'the first has made the jobs, the others have joined');

	# What was prefetched was not made by the statement.
	forget();
	sim_set({ job_seconds => 'hold' });
	sql(q{SELECT clari_prefetch('clari.forecasts', '{2026_Q1,2026_Q2}')});
	wait_until('they are under way', sub { sim_posts() == 2 });
	$sessions[0]->start($analyze);
	wait_until('it waits', sub { sql('SELECT sum(waiters) FROM clari_exports') == 2 });
	sim_release();
	my ($scan) = read_text($sessions[0]->finish);
	is($scan->{'Jobs Created'}, 0, 'jobs that were prefetched are not the statement\'s');
	sim_set({ job_seconds => 0 });

	# Several scans: each job once.
	for my $case (
		[ 'a self-join', 'SELECT count(*) FROM forecasts a JOIN forecasts b USING (time_period, owner_email)', 4 ],
		[ 'two tables of one export', 'SELECT count(*) FROM forecasts a JOIN entries b USING (time_period, owner_email)', 4 ],
		[ 'UNION ALL', q{SELECT 1 FROM forecasts WHERE time_period = '2026_Q1' UNION ALL SELECT 1 FROM entries
			WHERE time_period = '2026_Q3'}, 2 ],
		[ 'overlap', q{SELECT 1 FROM forecasts WHERE time_period <= '2026_Q2' UNION ALL SELECT 1 FROM forecasts
			WHERE time_period >= '2026_Q2'}, 4 ],
		[ 'rescans', 'SELECT q, (SELECT count(*) FROM forecasts WHERE time_period = q) FROM quarters', 2 ],
		[ 'a LIMIT', 'SELECT * FROM forecasts LIMIT 1', 4 ])
	{
		my ($name, $query, $jobs) = @$case;
		forget();
		my @scans = explained($query, 'ANALYZE, FORMAT JSON');
		wait_until('nothing is in flight', sub { sql('SELECT count(*) FROM clari_exports') == 0 });
		my $sum = 0;
		$sum += $_->{'Jobs Created'} for @scans;
		is($sum, $jobs, "$name: $jobs jobs in all");
		is(sim_posts(), $jobs, '… as many as were made');
		($sum, @scans) = (0, explained($query, 'ANALYZE, FORMAT JSON'));
		$sum += $_->{'Jobs Created'} for @scans;
		is($sum, 0, '… and none when it is cached');
	}

	# What is never executed.
	forget();
	for my $query ('SELECT * FROM forecasts LIMIT 0', 'SELECT * FROM quarters LEFT JOIN forecasts ON time_period = q
		WHERE n = 99', 'SELECT CASE WHEN 1 = 2 THEN (SELECT count(*) FROM forecasts) END')
	{
		for my $format (qw(TEXT JSON YAML XML))
		{
			my @scans = explained($query, "ANALYZE, FORMAT $format");
			is(scalar(grep { sources($_) ne '' || $_->{'Jobs Created'} != 0 || $_->{'Bytes Read'} != 0 } @scans), 0, "$format: nothing is read by $query");
		}
	}
	is(sim_requests(), 0, 'nobody was asked');
};

subtest 'rows skipped' => sub {
	my $entries = sql('SELECT count(*) FROM clari.entries');
	my $kept = sql(q{SELECT count(*) FROM clari.entries WHERE field_type = 'QUOTA'});
	cmp_ok($kept, '<', $entries, 'there is something to skip');
	my ($scan) = same_in_all_formats(q{SELECT owner_email FROM entries WHERE field_type = 'QUOTA'}, 'ANALYZE');
	is($scan->{'Rows Skipped'}, $entries - $kept, 'those that a dictionary tells apart');
	($scan) = same_in_all_formats('SELECT owner_email FROM entries', 'ANALYZE');
	is($scan->{'Rows Skipped'}, 0, 'none without a condition');
	my $text = sql(q{EXPLAIN (ANALYZE, COSTS OFF) SELECT owner_email FROM clari.entries WHERE field_type = 'QUOTA'
		AND length(owner_name) < 12});
	my ($skipped) = $text =~ /Rows Skipped: (\d+)/;
	my ($removed) = $text =~ /Rows Removed by Filter: (\d+)/;
	my ($returned) = $text =~ /Foreign Scan.*rows=(\d+)/;
	is($skipped + $removed + $returned, $entries, 'skipped, removed and returned are all rows');
	is($returned, sql(q{SELECT count(*) FROM clari.entries WHERE field_type = 'QUOTA'
		AND length(owner_name) < 12}), '… of which the right ones are returned');
};

subtest 'of a parallel scan' => sub {
	my $parallel = 'SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
		SET max_parallel_workers_per_gather = 2';
	my $query = q{SELECT count(*), max(user_id) FROM large.entries WHERE field_type = 'QUOTA'};
	sql('SELECT count(*) FROM large.entries');
	my ($serial) = explained($query, 'ANALYZE, FORMAT JSON', 'SET max_parallel_workers_per_gather = 0');
	for my $setting ($parallel, "$parallel; SET parallel_leader_participation = off", "$parallel; SET max_parallel_workers = 0")
	{
		like(sql("$setting; EXPLAIN $query"), qr/Parallel Foreign Scan/, 'a parallel plan');
		my ($scan) = same_in_all_formats($query, 'ANALYZE, VERBOSE', $setting);
		is(sources($scan), '2026_Q1 disk, 2026_Q2 disk', 'all sources');
		is($scan->{$_}, $serial->{$_}, "$_ of all participants: $setting") for 'Jobs Created', 'Rows Skipped', 'Bytes Read';
	}
	# Planned warm, executed cold.
	my $session = ClariSession->new($node);
	$session->query("SET search_path = large; $parallel; SET plan_cache_mode = force_generic_plan; PREPARE p AS $query; EXPLAIN EXECUTE p");
	forget();
	my $text = $session->query('EXPLAIN (ANALYZE) EXECUTE p');
	my ($scan) = read_text($text);
	like($text, qr/Parallel Foreign Scan/, 'planned warm, executed cold');
	is(sources($scan), '2026_Q1 export, 2026_Q2 export', '… all are exported');
	is($scan->{'Jobs Created'}, 2, '… by a job each');
	is(sim_posts(), 2, '… and a POST');
};

subtest 'never a key' => sub {
	sql("SELECT clari_invalidate(); ALTER SYSTEM SET log_statement = 'none'");
	sim_fault({ status => 401 }, step => 'post');
	for my $format (qw(TEXT JSON YAML XML))
	{
		my ($code, $text, $message) = $node->psql('postgres', "EXPLAIN (ANALYZE, VERBOSE, FORMAT $format) SELECT * FROM clari.forecasts");
		isnt($code, 0, "$format: a refused key is an error");
		$everything .= "$text\n$message\n";
	}
	sim_reset();
	# The plan tree itself, too.
	my ($code, $text, $message) = $node->psql('postgres', q{SET client_min_messages = log; SET debug_print_plan = on;
		SET debug_print_rewritten = on;
		SET debug_print_parse = on; EXPLAIN (VERBOSE) SELECT * FROM clari.forecasts WHERE time_period = '2026_Q1'});
	like($message, qr/FOREIGNSCAN/, 'the plan tree');
	cmp_ok(length $everything, '>', 50_000, 'much was shown');
	unlike("$everything$text$message", qr/\Q$_\E/, "but not $_") for @keys;
};

done_testing();
