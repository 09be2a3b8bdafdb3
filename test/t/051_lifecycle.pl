# From one version to the next: what an update makes is what a new installation makes; library and objects of different
# versions work together, or say clearly what to do.
#
# For a new version, add sql/clari_fdw--OLD--NEW.sql (and, if you like, sql/clari_fdw--NEW.sql), beginning with
#     SELECT @extschema@.clari_check_library('NEW');
# and set default_version in the control file: this test and the Makefile find them.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariSession;
use ClariTest;
use File::Path;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_sim(job_seconds => 0, owners => 50, null_emails => 0, concurrent_limit => 100, monthly_quota => 100_000);

# A copy of the installation, of links mostly, in which scripts can be added and the library can be replaced.
my $root = PostgreSQL::Test::Utils::tempdir();
my %original = map { my $dir = `pg_config --$_`; chomp $dir; ($_ => $dir) } qw(bindir sharedir pkglibdir);
my %copy = map { ($_ => "$root$original{$_}") } keys %original;
my ($library) = glob "$original{pkglibdir}/clari_fdw.{so,dylib}";
sub link_all { my ($from, $to) = @_; mkpath($to); symlink $_, "$to/" . s/.*\///r for glob "$from/*"; return; }
link_all($original{$_}, $copy{$_}) for keys %original;
unlink "$copy{sharedir}/extension", $library = "$root$library";
link_all("$original{sharedir}/extension", "$copy{sharedir}/extension");
# PostgreSQL looks for its files beside its programs, wherever links lead to.
for my $file ($library, map { "$copy{bindir}/$_" } qw(postgres initdb pg_ctl))
{
	unlink $file;
	system('cp', $file =~ s/^\Q$root\E//r, $file) == 0 or die "cannot copy $file";
}
$ENV{PATH} = "$copy{bindir}:$ENV{PATH}";
my $node = start_node('life', 'jit = off');
plan skip_all => 'this PostgreSQL does not find its files when it is moved'
  unless $node->safe_psql('postgres', "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'") eq $copy{sharedir};

sub write_script { my ($name, $text) = @_; my $path = "$copy{sharedir}/extension/clari_fdw--$name.sql";
	unlink $path; append_to_file($path, $text); return; }

create_server($node);
import_tables($node);
my $default = sql("SELECT default_version FROM pg_available_extensions WHERE name = 'clari_fdw'");

# ------- updates -------

# All that the extension consists of in a database, by definition.
sub members
{
	my ($database) = @_;
	my $grants = sub { return qq{(SELECT string_agg(concat_ws(' ', coalesce(nullif(grantee, 0)::regrole::text, 'public'), privilege_type,
		is_grantable), ', ' ORDER BY grantee, privilege_type) FROM aclexplode($_[0]))} };
	my $granted = sub { return $grants->("coalesce(o.$_[0]acl, acldefault('$_[1]', o.$_[0]owner))") };
	my @defined = (
		q{SELECT 'pg_proc'::regclass AS class, o.oid, pg_get_functiondef(o.oid) AS is, } . $granted->('pro', 'f')
		  . q{ AS granted FROM pg_proc o WHERE prokind <> 'a' AND oid IN (SELECT objid FROM mine)},
		q{SELECT 'pg_class'::regclass, o.oid, concat_ws(' ', relkind, reloptions::text, pg_get_viewdef(o.oid),
			(SELECT string_agg(concat_ws(' ', attname, format_type(atttypid, atttypmod), col_description(o.oid, attnum)), ', ' ORDER BY attnum)
			FROM pg_attribute WHERE attrelid = o.oid AND attnum > 0)), } . $granted->('rel', 'r')
		  . q{ FROM pg_class o WHERE relkind = 'v' AND oid IN (SELECT objid FROM mine)},
		q{SELECT 'pg_foreign_data_wrapper'::regclass, o.oid, concat_ws(' ', fdwhandler::regproc, fdwvalidator::regproc,
			fdwoptions::text), } . $granted->('fdw', 'F') . q{ FROM pg_foreign_data_wrapper o});
	return sql(q{WITH mine AS MATERIALIZED (SELECT d.* FROM pg_extension e JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass
			AND d.refobjid = e.oid AND d.deptype = 'e' WHERE e.extname = 'clari_fdw')
		SELECT concat_ws(E'\n', pg_describe_object(d.classid, d.objid, 0), coalesce(o.is, 'unknown kind of object'),
			'granted: ' || o.granted, 'initially: ' || } . $grants->('i.initprivs') . q{,
			'comment: ' || obj_description(d.objid, d.classid::regclass::name), pg_get_userbyid(e.extowner))
		FROM mine d JOIN pg_extension e ON e.oid = d.refobjid LEFT JOIN (} . join(' UNION ALL ', @defined) . q{) o ON (o.class, o.oid) = (d.classid, d.objid)
		LEFT JOIN pg_init_privs i ON (i.classoid, i.objoid, i.objsubid) = (d.classid, d.objid, 0)
		UNION ALL SELECT concat_ws(' ', 'extension', extversion, extrelocatable, extconfig::text, extcondition::text,
			obj_description(oid, 'pg_extension')) FROM pg_extension WHERE extname = 'clari_fdw'
		ORDER BY 1}, $database);
}

# A database with the version, in a schema of a name that must be quoted.
sub install
{
	my ($database, $version) = @_;
	sql("CREATE DATABASE $database");
	sql(qq{CREATE SCHEMA "The Odd"; CREATE EXTENSION clari_fdw SCHEMA "The Odd" VERSION '$version'}, $database);
	return;
}

# What a new installation of the target consists of, and an updated one; uses the latter before and after.
sub both
{
	my ($source, $target) = @_;
	install('fresh', $target);
	install('updated', $source);
	create_server($node, database => 'updated');
	import_tables($node, database => 'updated');
	is_as_generated($node, 'clari.entries', 'entries', '2026_Q1', database => 'updated', name => "$source works");
	ok(sql(qq{SELECT (SELECT count(*) FROM "The Odd".$_) >= 0}, 'updated'), "its $_") for qw(clari_cache clari_exports clari_stats);
	sql("ALTER EXTENSION clari_fdw UPDATE TO '$target'", 'updated');
	is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1', database => 'updated', name => "$target works");
	my @both = map { members($_) } qw(fresh updated);
	sql("DROP DATABASE $_") for qw(fresh updated);
	return @both;
}

my @paths = map { [ split /\|/ ] } split /\n/,
  sql("SELECT source, target FROM pg_extension_update_paths('clari_fdw') WHERE path IS NOT NULL ORDER BY 1, 2");
subtest 'every update makes what a new installation makes' => sub {
	my $stuck = "SELECT string_agg(version, ', ') FROM pg_available_extension_versions a WHERE name = 'clari_fdw' AND version <> '$default'
		AND NOT EXISTS (SELECT FROM pg_extension_update_paths('clari_fdw') WHERE source = version AND target = '$default' AND path <> '')";
	is(sql($stuck), '', "every version can be updated to $default");
	for my $path (@paths)
	{
		my ($fresh, $updated) = both(@$path);
		unlike($fresh, qr/unknown kind of object/, 'this test can compare all of it');
		same_csv($updated, $fresh, "from $path->[0] to $path->[1]");
	}
};

# A version before the first, which lacks a function, made of the newest script.
my ($newest) = (sort { sql("SELECT '{" . ($a =~ tr/./,/r) . "}'::int[] < '{" . ($b =~ tr/./,/r) . "}'") eq 't' ? 1 : -1 }
	map { /--([0-9.]+)\.sql$/ ? $1 : () } glob "$copy{sharedir}/extension/clari_fdw--*.sql");
my $script = slurp_file("$copy{sharedir}/extension/clari_fdw--$newest.sql");
my @statements = $script =~ /^(?:CREATE|COMMENT ON|REVOKE ALL ON) FUNCTION clari_cancel\(.*?;\n/gms;
write_script('0.0', join('', map { s/clari_check_library\('[0-9.]+'/clari_check_library('0.0'/r }
	grep { !/FUNCTION clari_cancel\(/ } split /(?<=;\n)/, $script));
subtest 'an update script that forgets something is noticed' => sub {
	is(scalar @statements, 3, 'it has to make a function, comment on it, and take it from PUBLIC');
	my $path = sub { write_script("0.0--$newest", join('', @_)); return both('0.0', $newest); };
	my ($fresh, $updated) = $path->(@statements);
	same_csv($updated, $fresh, 'all three');
	for my $i (1, 2)
	{
		($fresh, $updated) = $path->(@statements[ grep { $_ != $i } 0 .. 2 ]);
		isnt($updated, $fresh, 'without ' . $statements[$i] =~ s/ ON.*//sr);
	}
	($fresh, $updated) = $path->(@statements, "COMMENT ON EXTENSION clari_fdw IS 'x';");
	isnt($updated, $fresh, 'with something that the script does not make');
};

# ------- versions that do not fit -------

# A session that began before the update, with a library whose shared memory is another.
my $old;
subtest 'a library that is replaced under a session' => sub {
	my $new = slurp_file($library);
	$old = ClariSession->new($node);
	is($old->query('SELECT count(*) FROM clari.forecasts'), 200, 'a session exports all');
	is($new =~ s/clari_fdw cache \d/clari_fdw cache X/g, 2, 'another layout');
	append_to_file("$library.new", $new);
	rename "$library.new", $library or die $!;
	sim_reset();
	is(sql('SELECT count(*) FROM clari.forecasts'), 200, 'a new session reads what is cached');
	is($old->query('SELECT count(*) FROM clari.forecasts'), 200, 'and the older one, too');
	is(sim_requests(), 0, 'without asking Clari');
	$old->query("SELECT clari_invalidate('clari.forecasts', '{2026_Q3}')");
	terminate_workers($node);
	$old->start("SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q3'");
	is(sql("SELECT clari_refresh('clari.forecasts', '{2026_Q2}')"), 1, 'a new session exports by a new worker');
};

sub is_refused
{
	my ($statement, $message, $hint, $name) = @_;
	my ($sqlstate, $error) = query_error($node, $statement);
	is($sqlstate, '55000', $name);
	like($error, $message, 'in a clear sentence');
	like($error, qr/DETAIL:  The library that this session runs is version \Q$default\E[,.]/, 'with the version');
	$hint ? like($error, qr/HINT:  $hint/, 'and what to do') : unlike($error, qr/HINT/, 'and no wrong advice');
	return;
}

my $renew = qr/Install version 99\.1, and then start a new session or, .*restart the server/;
subtest 'objects newer than the library' => sub {
	my $needs = "SELECT \@extschema\@.clari_check_library('99.1'::pg_catalog.text);\n";
	write_script("$default--99.1", "$needs CREATE FUNCTION clari_new() RETURNS int AS 'MODULE_PATHNAME', 'clari_new' LANGUAGE C;");
	write_script('99.1', $script =~ s/^SELECT \@extschema\@\.clari_check_library\(.*?;\n/$needs/mr);
	my $message = qr/version 99\.1 of extension clari_fdw needs a newer library/;
	is_refused("ALTER EXTENSION clari_fdw UPDATE TO '99.1'", $message, $renew, 'an update');
	is_refused("BEGIN; DROP EXTENSION clari_fdw CASCADE; CREATE EXTENSION clari_fdw VERSION '99.1'", $message, $renew, 'a new installation');
};

# As an update would leave them for whoever still runs the other library.
my %changed = (
	'a column more' => [ "SELECT changed()", "changed() RETURNS TABLE (a text, b text, c text, d text, e text, f bigint, g bigint,
		h timestamptz, i timestamptz, j bigint, k text, l text, m text) AS 'clari_fdw', 'clari_cache_entries'" ],
	'a column less' => [ "SELECT * FROM changed()", "changed() RETURNS TABLE (a text, b text) AS 'clari_fdw', 'clari_export_flights'" ],
	'another type' => [ "SELECT * FROM changed()", 'changed(' . join(', ', map { "OUT c$_ text" } 1 .. 15)
		. ") AS 'clari_fdw', 'clari_stats_counters'" ],
	map { my ($name, $count) = split / /; ("other parameters of $name" => [ "SELECT changed(1)",
		"changed(" . join(', ', ('int') x $count) . ") RETURNS bigint AS 'clari_fdw', '$name'" ]) }
	('clari_prefetch 1', 'clari_refresh 1', 'clari_cancel 1', 'clari_invalidate 1', 'clari_sync 1'));
subtest 'a function that has changed' => sub {
	for my $what (sort keys %changed)
	{
		my ($call, $function) = @{ $changed{$what} };
		for my $version ([ '0.0', 'ALTER EXTENSION clari_fdw UPDATE;' ], [ '99.1', $renew ], [ $default, undef ])
		{
			is_refused("BEGIN; CREATE FUNCTION $function LANGUAGE C; UPDATE pg_extension SET extversion = '$version->[0]'
				WHERE extname = 'clari_fdw'; $call", qr/function changed\(\) is not compatible with the library of clari_fdw/, $version->[1],
				"$what, with objects of version $version->[0]");
		}
	}
};

subtest 'a session whose library was replaced, without a worker' => sub {
	like($old->finish, qr/ERROR: .*do not start\nHINT:  .*If clari_fdw has just been updated, start a new session\./,
		'the older one gets no worker any more, and says what to do');
	like(slurp_file($node->logfile), qr/a session that runs another version of clari_fdw asked for a background worker/,
		'as does the log');
	$old->quit;
	is(ClariSession->new($node)->query("SELECT count(*) FROM clari.forecasts WHERE time_period = '2026_Q3'"), 50, 'which helps');
};

done_testing();
