# The documents say what is: their examples run, in order, with the results that they show; and the reference names all there is.
#
# README.md and doc/*.md are taken apart at their fences.  Each document has a server of its own.
#
#	```sql		is run by psql, and must raise no error and no warning.
#	```			behind it, with nothing between but empty lines, is what psql prints of it (psql -X -q, messages included): the block may
#				then raise the errors and warnings that this shows.
#	```conf		lines of postgresql.conf: a server is started with them, and has them.
#	```sh		is not run; but the scripts of ours that it names are there.
#	```text		is not run.
#
# Anything else fails.  So that examples can run, each CREATE SERVER gets the simulator's base_url, and the API key '…' is the
# simulator's; it knows the forecasts net_arr, bookings and renewals, and the current quarter is 2026_Q4.  What differs from run to run
# is masked on both sides before they are compared: see masked().  What cannot run here is skipped with its reason: see why_not().
#
# With CLARI_DOCUMENTS=directory in the environment the documents are written there with the results as they came.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $config = $ENV{PG_CONFIG} // 'pg_config';
chomp(my $libraries = qx{$config --pkglibdir});
my $has_cron = -e "$libraries/pg_cron.so";
my @documents = ("$top/README.md", sort glob "$top/doc/*.md");
# Nothing in these runs; but what they lead to is there.
my @others = map { "$top/$_" } qw(CONTRIBUTING.md SECURITY.md test/t/README.md);
my %known = map { $_ => 1 } ('', qw(sql conf sh text));

# The current quarter's last export was on this day, whatever the clock says: that quarter is open, the others are closed.
my $end_time = 1794906000000;    # 2026-11-17 09:00 UTC
my $port = start_sim(job_seconds => 0, concurrent_limit => 100, monthly_quota => 100_000, owners => 500, fiscal_month => 1,
	current_quarter => '2026_Q4', amounts => 'plain', charset => 'ascii', end_time => $end_time);

# ------- taking a document apart -------

# Its fenced blocks, in order: {language, line, text, shown, shown_line}; shown is what the next block says of the result.
sub blocks_of
{
	my ($document) = @_;
	my (@blocks, $open, $adjacent);
	my $line = 0;
	for my $text (split /^/, slurp_file($document))
	{
		$line++;
		if ($text =~ /^\s*```(.*)$/)
		{
			if ($open)
			{
				($adjacent, $open) = ($open, undef);
				next;
			}
			my $after = $adjacent && $adjacent->{language} eq 'sql' && !defined $adjacent->{shown} ? $adjacent : undef;
			$open = { language => $1 =~ s/\s+$//r, line => $line, text => '', after => $after };
			push @blocks, $open;
			next;
		}
		if ($open) { $open->{text} .= $text; }
		elsif ($text =~ /\S/) { undef $adjacent; }
	}
	die "$document: the last fence is not closed" if $open;
	for my $block (@blocks)
	{
		@{ $block->{after} }{qw(shown shown_line)} = ($block->{text}, $block->{line}) if $block->{language} eq '' && $block->{after};
	}
	return @blocks;
}

# Paragraphs and list items as one line each.
sub flowing { my ($text) = @_; return $text =~ s/(?<=\S)[ \t]*\n(?![ \t]*(?:\n|[-|#`]))[ \t]*/ /gr; }

# The section below a heading, of that heading's own level.
sub section
{
	my ($text, $heading) = @_;
	my ($hashes) = $text =~ /^(#+) \Q$heading\E$/m or return '';
	my ($section) = $text =~ /^\Q$hashes\E \Q$heading\E\n(.*?)(?=^#{1,${\length $hashes}} |\z)/ms;
	return $section;
}

# ------- running -------

# As a server of the simulator can take it.
sub adapted
{
	my ($sql) = @_;
	my $options = "base_url 'http://127.0.0.1:$port/v4', poll_interval '20ms'";
	$sql =~ s/(CREATE SERVER \w+ FOREIGN DATA WRAPPER clari_fdw)( OPTIONS \()?/$1 . ($2 ? "$2$options, " : " OPTIONS ($options)")/ge;
	$sql =~ s/\bapi_key '…'/api_key 'test-key'/g;
	return $sql;
}

# Why a block cannot run here; undef: it can.
sub why_not
{
	my ($sql) = @_;
	return "pg_cron is not installed: there is no $libraries/pg_cron.so" if $sql =~ /\bcron\./ && !$has_cron;
	return;
}

# A result without what differs: times of day, durations, numbers of bytes, job ids, identities, the widths of columns, how far a sync is after
# 5 s, and decimals that PostgreSQL 18 shows of rows.
sub masked
{
	my ($text) = @_;
	$text =~ s/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00/<time>/g;
	$text =~ s/(actual time=)[\d.]+ rows=(\d+)[.0]*/$1<duration> rows=$2/g;
	$text =~ s/^NOTICE:  period \S+: .* entries after \d+ s\n//mg;
	$text =~ s/\b\d+\.\d+ ms/<duration>/g;
	$text =~ s/(Bytes Read: )\d+/$1<bytes>/g;
	$text =~ s/\b[0-9a-f]{24}\b/<id>/g;
	$text =~ s/\b[0-9a-f]{8}\b/<identity>/g;
	$text =~ s/-{2,}/--/g;
	$text =~ s/[ \t]+/ /g;
	$text =~ s/^ | $//mg;
	$text =~ s/\n{2,}/\n/g;
	return $text =~ s/^\n|\n\z//gr;
}

# What psql prints of each block, in one session.
sub run_blocks
{
	my ($node, @blocks) = @_;
	my $script = "\\set SHOW_CONTEXT never\n";
	for my $i (0 .. $#blocks)
	{
		$script .= "\\timing off\n\\echo <<$i>>\n" . adapted($blocks[$i]{text}) . "\\echo <<>>\n";
		# none of them runs by itself
		$script .= "SELECT cron.unschedule(jobid) FROM cron.job \\g /dev/null\n" if $blocks[$i]{text} =~ /\bcron\./;
	}
	my $printed;
	local %ENV = (%ENV, PGTZ => 'UTC', PGCLIENTENCODING => 'UTF8', PSQL_PAGER => '');
	IPC::Run::run([ 'psql', '-Xq', '-d', $node->connstr('postgres') ], '<', \$script, '>&', \$printed);
	my %results = $printed =~ /^<<(\d+)>>\n(.*?)^<<>>$/msg;
	return map { $results{$_} } 0 .. $#blocks;
}

# A server as a reader has it who has installed the library, and nothing else; with pg_cron, where there is one.
sub reader_node
{
	my ($name) = @_;
	my $node = start_node($name, $has_cron ? ("shared_preload_libraries = 'pg_cron'", "cron.database_name = 'postgres'") : ());
	$node->safe_psql('postgres', 'DROP EXTENSION clari_fdw' . ($has_cron ? '; CREATE EXTENSION pg_cron' : ''));
	return $node;
}

sub check_sql
{
	my ($name, @blocks) = @_;
	my @run = grep { !why_not($_->{text}) } @blocks;
	my $node = reader_node($name =~ s/\W/_/gr);
	sim_reset();
	my @results = run_blocks($node, @run);
	$node->stop('fast');
	for my $block (@blocks)
	{
		my $test = "$name:$block->{line}: " . ($block->{text} =~ /(.{0,60})/)[0];
		if (my $reason = why_not($block->{text}))
		{
		  SKIP: { skip("$test: $reason", 1); }
			next;
		}
		my $result = shift @results;
		if ($block->{text} !~ /;(\s*--.*)?\s*\z/) { fail("$test: its last statement ends"); }
		elsif (!defined $result) { fail("$test: it runs"); }
		elsif (defined $block->{shown})
		{
			$block->{result} = $result;
			is(masked($result), masked($block->{shown}), "$test: as in line $block->{shown_line}");
		}
		else { unlike($result, qr/^(psql: )?(ERROR|FATAL|PANIC|WARNING|error|invalid command)\b/m, $test) or diag($result); }
	}
	return;
}

sub check_conf
{
	my ($name, @blocks) = @_;
	my %settings = map { /^(\S+)\s*=\s*'?([^'#]*?)'?\s*(?:#.*)?$/ ? ($1 => $2) : () } map { split /\n/, $_->{text} } @blocks;
	my $node = start_node(($name =~ s/\W/_/gr) . '_settings', map { "$_ = '$settings{$_}'" } sort keys %settings);
	is($node->safe_psql('postgres', "LOAD 'clari_fdw'; SHOW $_"), $settings{$_}, "$name: a server has $_") for sort keys %settings;
	$node->stop('fast');
	return;
}

# The document with the results that came.
sub rewrite
{
	my ($document, @blocks) = @_;
	my @lines = split /^/, slurp_file($document);
	for my $block (reverse grep { defined $_->{result} } @blocks)
	{
		my $result = $block->{result} =~ s/[ \t]+$//mgr;
		$result =~ s/\n*\z/\n/;
		splice(@lines, $block->{shown_line}, scalar(split /^/, $block->{shown}), $result);
	}
	my $file = "$ENV{CLARI_DOCUMENTS}/" . basename($document);
	unlink $file;
	append_to_file($file, join('', @lines));
	return;
}

for my $document (@documents)
{
	my $name = basename($document);
	my @blocks = blocks_of($document);
	my @sql = grep { $_->{language} eq 'sql' } @blocks;
	my @conf = grep { $_->{language} eq 'conf' } @blocks;
	next unless @blocks;
	subtest $name => sub {
		for my $block (@blocks)
		{
			ok($known{ $block->{language} } && ($block->{language} ne '' || $block->{after}),
				"$name:$block->{line}: a fence of a kind that this test knows");
			next unless $block->{language} eq 'sh';
			ok(-f "$top/$_", "$name:$block->{line}: there is $_") for $block->{text} =~ /\bbash (\S+)/g;
		}
		check_sql($name, @sql) if @sql;
		check_conf($name, @conf) if @conf;
	};
	rewrite($document, @sql) if $ENV{CLARI_DOCUMENTS};
}

# ------- what they lead to -------

# The anchors that GitHub makes of a document's headings.
sub anchors_of
{
	my ($document) = @_;
	my $text = slurp_file($document) =~ s/^\s*```.*?^\s*```//msgr;
	return map { s/[^\w\- ]//gr =~ s/ /-/gr } map { lc } $text =~ /^#+ (.*)$/mg;
}

subtest 'links' => sub {
	for my $document (@documents, @others)
	{
		for my $link (grep { !/^https?:/ } slurp_file($document) =~ /\]\(([^)\s]+)\)/g)
		{
			my ($path, $anchor) = split /#/, $link, 2;
			my $file = $path eq '' ? $document : dirname($document) . "/$path";
			ok(-f $file && (!defined $anchor || grep { $_ eq $anchor } anchors_of($file)), basename($document) . " leads to $link");
		}
	}
};

subtest 'scripts and tests that are named' => sub {
	for my $document (@others)
	{
		my $text = slurp_file($document);
		ok(-f "$top/$_", basename($document) . " names $_") for $text =~ /\b((?:test|src|doc|sql)\/[\w\/.]+\.(?:sh|py|pl|md))\b/g;
	}
	my @listed = slurp_file("$top/test/t/README.md") =~ /^\| .* \| `(\w+\.pl)` \|$/mg;
	is(join(' ', sort @listed), join(' ', map { basename($_) } sort glob "$top/test/t/*.pl"), 'test/t/README.md lists every test');
	my @linked = section(slurp_file("$top/README.md"), 'The documents') =~ /^- \[(doc\/\w+\.md)\]\(\1\)/mg;
	is(join(' ', sort @linked), join(' ', map { 'doc/' . basename($_) } sort glob "$top/doc/*.md"), 'README.md lists every document');
};

# ------- what the reference has to name -------

my $reference = flowing(slurp_file("$top/doc/clari_fdw.md"));
my $source = join("\n", map { slurp_file($_) } sort(glob("$top/src/*/*.c")), "$top/clari_fdw.c");
my $script = slurp_file("$top/sql/clari_fdw--1.0.sql");
my $node = start_node('reference');
create_server($node);
import_tables($node);
$node->safe_psql('postgres', 'IMPORT FOREIGN SCHEMA clari_account FROM SERVER clari INTO clari');

# Names that a hint lists.
sub hinted
{
	my ($statement) = @_;
	my (undef, $message) = query_error($node, $statement);
	my ($list) = $message =~ /HINT:  Valid options in this context are: (.*)/ or die $message;
	return split /, /, $list;
}

# The rows of a table of options or settings, by the name in their first cell: {default, unit, who, meaning}.
sub listed
{
	my ($heading) = @_;
	my %rows;
	for my $row (section($reference, $heading) =~ /^(\| `[\w.]+` \|.*)$/mg)
	{
		my ($name, @cells) = map { s/^\s+|\s+$//gr } (split /\|/, $row)[1 .. 5];
		$name =~ s/`//g;
		ok(!$rows{$name}, "$name has one row");
		@{ $rows{$name} }{qw(default unit who meaning)} = @cells;
		ok($rows{$name}{$_} ne '', "$name has a text for $_") for qw(default who meaning);
	}
	return %rows;
}

subtest 'options' => sub {
	my %of = map { $_ => { listed("$_ options") } } 'Server', 'Server or table', 'Table', 'Column', 'User mapping', 'Import';
	my @places = (
		[ q{ALTER SERVER clari OPTIONS (ADD no_such_option '')}, 'Server', 'Server or table' ],
		[ q{ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (ADD no_such_option '')}, 'User mapping' ],
		[ q{ALTER FOREIGN TABLE clari.forecasts OPTIONS (ADD no_such_option '')}, 'Server or table', 'Table' ],
		[ q{ALTER FOREIGN TABLE clari.forecasts ALTER COLUMN owner_name OPTIONS (ADD no_such_option '')}, 'Column' ],
		[ q{IMPORT FOREIGN SCHEMA x FROM SERVER clari INTO public OPTIONS (no_such_option '')}, 'Import', 'Server or table', 'Table' ]);
	for (@places)
	{
		my ($statement, @headings) = @$_;
		my @named = map { keys %{ $of{$_} } } @headings;
		@named = grep { !/^(?:object|forecast)$/ } @named if $statement =~ /^IMPORT/;    # it sets these itself
		is(join(' ', sort @named), join(' ', sort { $a cmp $b } hinted($statement)), "the options of $headings[0]");
	}
	my %rows = map { %$_ } values %of;
	my %in_code = $source =~ /^\t\{"(\w+)", ((?:CLARI_)?AT_.*)\},$/mg;
	is(join(' ', sort keys %rows), join(' ', sort keys %in_code), 'the options of the source');
	my %units = (MS => 'ms', S => 's', KB => 'kB');
	my $presets = 0;
	for my $name (sort keys %in_code)
	{
		my ($code, $row) = ($in_code{$name}, $rows{$name} // {});
		if ($code =~ /\.preset = "([^"]*)"/)
		{
			is($row->{default}, "`$1`", "the default of $name");
			$presets++;
		}
		is($row->{unit}, $code =~ /\.unit = GUC_UNIT_(\w+)/ ? $units{$1} : '', "the unit of $name");
		my $who = $code =~ /CLARI_FOR_SUPERUSERS/ ? qr/^superusers$/
			: $code =~ /CLARI_FOR_FILE_READERS/ ? qr/^superusers and members of `pg_read_server_files`$/
			: qr/^(?:(?:server |table )?owner\b|role that imports$)/;
		like($row->{who}, $who, "who may set $name");
		next unless $code =~ /\.min = (\d+), \.max = (\d+)\b/;
		like($row->{meaning}, qr/\b$1 to $2\b/, "the range of $name");
	}
	cmp_ok($presets, '>', 15, 'defaults are found in the source');
};

subtest 'settings' => sub {
	my @settings = split /\n/, sql(q{LOAD 'clari_fdw';
		SELECT concat_ws('|', name, current_setting(name), coalesce(unit, ''), context) FROM pg_settings WHERE name ~ '^clari_fdw\.'
			ORDER BY name});
	cmp_ok(scalar @settings, '>=', 6, 'there are settings');
	my %rows = listed('Settings');
	my %who = (sighup => 'superusers, for the cluster', user => 'anyone, for a session');
	is(join(' ', sort keys %rows), join(' ', sort map { /^([^|]+)/ } @settings), 'every setting');
	for (@settings)
	{
		my ($name, $value, $unit, $context) = split /\|/;
		my $row = $rows{$name} // {};
		is($row->{default}, "`$value`", "the default of $name");
		is($row->{unit}, $unit, "the unit of $name");
		is($row->{who}, $who{$context}, "who may set $name");
	}
};

subtest 'wait events' => sub {
	my @names = (slurp_file("$top/src/compat.h") =~ /^CLARI_DEFINE_WAIT_EVENT\(\w+, "(\w+)"\)/mg,
		$source =~ /^#define CLARI_TRANCHE "(\w+)"/mg, $source =~ /strlcpy\(worker\.bgw_type, "([^"]+)"/g);
	cmp_ok(scalar @names, '>=', 4, 'there are names');
	ok(section($reference, 'Wait events') =~ /`\Q$_\E`/, "the name $_") for @names;
};

subtest 'functions and views' => sub {
	# Public ones have a comment.
	my @functions = split /\n/, sql(q{
		SELECT p.proname || '|' || pg_get_function_arguments(p.oid) || '|' || coalesce(pg_get_function_result(p.oid), 'record') || '|' ||
			(obj_description(p.oid, 'pg_proc') IS NOT NULL)
		FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
			JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'clari_fdw' ORDER BY 1});
	cmp_ok(scalar @functions, '>=', 12, 'there are functions');
	for (@functions)
	{
		my ($name, $arguments, $result, $public) = split /\|/;
		ok($reference =~ /`$name`|^### $name$/m, "function $name");
		next unless $public eq 'true';
		$arguments =~ s/::\w+(\[\])?|(?:, |^)OUT \w+ \w+|\bIN //g;
		my $signature = "$name(" . ($arguments =~ s/'00:00:00'/'0'/r) . ')' . ($result eq 'record' ? '' : " returns $result");
		my ($written) = section(slurp_file("$top/doc/clari_fdw.md"), $name) =~ /```text\n(.*?)\n```/s;
		is(($written // '') =~ s/\s+/ /gr, $signature, "the signature of $name");
	}
	my @columns = split /\n/, sql(q{
		SELECT c.relname || '|' || string_agg(format('| `%s` | `%s` |', a.attname, format_type(a.atttypid, a.atttypmod)), E'\t' ORDER BY attnum)
		FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_depend d ON d.objid = c.oid AND d.classid = 'pg_class'::regclass
			AND d.deptype = 'e' JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'clari_fdw'
		WHERE c.relkind = 'v' GROUP BY c.relname ORDER BY 1});
	is(scalar @columns, 3, 'there are views');
	for (@columns)
	{
		my ($view, $columns) = split /\|/, $_, 2;
		is(join("\n", section($reference, $view) =~ /^(\| `\w+` \| `[^`]+` \|)/mg), $columns =~ s/\t/\n/gr, "the columns of $view");
		my @described = section($reference, $view) =~ /^\| `\w+` \| `[^`]+` \| (.*?) \|$/mg;
		is(sql("SELECT string_agg(col_description(attrelid, attnum), E'\\n' ORDER BY attnum) FROM pg_attribute
			WHERE attrelid = '$view'::regclass AND attnum > 0"), join("\n", @described) =~ s/`//gr, '… and their comments');
	}
};

subtest 'objects' => sub {
	my $objects = section($reference, 'Foreign tables');
	for my $object (qw(forecasts entries users fields time_periods time_frames limits jobs))
	{
		my $columns = sql(qq{SELECT string_agg(attname, ', ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'clari.$object'::regclass
			AND attnum > 0});
		ok($objects =~ /^- `$object`, .*: \Q$columns\E$/m, "the columns of $object");
	}
};

subtest 'errors' => sub {
	chomp(my $shared = qx{$config --sharedir});
	my %states;
	for (split /\n/, slurp_file("$shared/errcodes.txt"))
	{
		next unless /^([0-9A-Z]{5})\s+[A-Z]\s+(ERRCODE_\w+)(?:\s+(\w+))?/;
		$states{$2} //= $1;
		$states{$3} //= $1 if defined $3;
	}
	my %raised = map { $_ => 1 } $source =~ /\b(ERRCODE_\w+)/g, $script =~ /ERRCODE = '(\w+)'/g;
	my @unknown = grep { !$states{$_} } keys %raised;
	is("@unknown", '', 'PostgreSQL knows their names');
	my %codes = map { $states{$_} => 1 } keys %raised;
	# Raised for us by PostgreSQL's own functions.
	$codes{$_} = 1 for qw(25006 53100);
	is(join(' ', section($reference, 'Errors') =~ /^\| ([0-9A-Z]{5}) /mg), join(' ', sort keys %codes), 'every SQLSTATE');
};

subtest 'EXPLAIN and phases' => sub {
	my @labels = slurp_file("$top/src/scan/explain.c") =~ /\b(?:ExplainProperty\w+|show_list|show_condition)\(\s*"([^"]+)"/g;
	cmp_ok(scalar @labels, '>=', 12, 'there are properties');
	ok(section($reference, 'Plans and EXPLAIN') =~ /^- [^:]*`$_`/m, "property $_") for @labels;
	my ($names) = slurp_file("$top/src/job/error.c") =~ /state_names\[\] = \{(.*?)\};/s;
	my %phases = map { $_ => 1 } 'queued', $names =~ /"([^"]+)"/g;
	delete @phases{qw(done failed)};    # which no flight in the view has
	ok(section($reference, 'clari_exports') =~ /`$_`/, "phase $_") for sort keys %phases;
};

subtest 'rooms' => sub {
	my $rooms = section(slurp_file("$top/doc/architecture.md"), 'The rooms');
	my %named = $rooms =~ /^\| `(\w+)\/`[^|]* \| ([^|]*) \|/mg;
	my %files;
	push(@{ $files{ basename(dirname($_)) } }, basename($_, '.c')) for sort glob "$top/src/*/*.c";
	is(join(' ', sort keys %named), join(' ', sort keys %files), 'every folder of src is a room');
	is(join(' ', sort $named{$_} =~ /`(\w+)`/g), "@{ $files{$_} }", "the files of room $_") for sort keys %files;
};

# ------- what is said to be a message -------

subtest 'messages' => sub {
	my $literal = qr/"(?:[^"\\\n]|\\.)*"/;
	my @formats = map { join('', map { s/\\(.)/$1/gr } /"((?:[^"\\]|\\.)*)"/g) } $source =~ s/\bU?INT64_FORMAT\b/"%d"/gr =~ /($literal(?:\s*$literal)*)/g;
	my @raised = $script =~ /RAISE (?:EXCEPTION|NOTICE) '([^']+)'/g;
	my @patterns;
	for my $format (@formats, @raised)
	{
		my @parts = split /%(?:[-.*\d]*(?:ll|l|z)?[a-zA-Z])?/, $format, -1;
		push @patterns, join('.*', map { quotemeta } @parts) if length join('', @parts) >= 12;
	}
	my $operations = flowing(slurp_file("$top/doc/operations.md"));
	my $count = 0;
	for my $item (section($operations, 'Troubleshooting') =~ /^- (.*)$/mg)
	{
		my ($messages) = $item =~ /^(`[^`]+`(?:, `[^`]+`)*)/ or next;
		for my $message ($messages =~ /`([^`]+)`/g)
		{
			my @found = grep { $message =~ /^$_$/ } @patterns;
			ok(scalar @found, "there is a message '$message'");
			$count++;
		}
	}
	cmp_ok($count, '>', 40, 'there are messages');
};

done_testing();
