# Dumps and pg_upgrade bring everything over: servers, mappings, tables, their options, grants, and what was synced.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use ClariTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

start_sim(job_seconds => 0, owners => 50, null_emails => 0, concurrent_limit => 100, monthly_quota => 100_000);
my $node = start_node('dumps', 'jit = off');

sub dump_of
{
	my ($server, $database) = @_;
	my ($out, $err) = run_command([ 'pg_dump', '-d', $server->connstr($database) ]);
	is($err, '', "$database is dumped without a warning");
	return $out =~ s/^\\(un)?restrict .*\n//mgr;
}

# One of each, with every option; the extension in a schema of a name that must be quoted.
sub fill
{
	my ($server, $database) = @_;
	$server->safe_psql($database, q{DROP EXTENSION IF EXISTS clari_fdw; CREATE SCHEMA "The Odd"; CREATE EXTENSION clari_fdw SCHEMA "The Odd"});
	create_server($server, database => $database);
	import_tables($server, database => $database);
	$server->safe_psql($database, q{
		CREATE ROLE keeper;
		GRANT USAGE ON FOREIGN SERVER clari TO keeper;
		GRANT USAGE ON SCHEMA "The Odd", clari TO keeper;
		GRANT SELECT ON clari.forecasts, "The Odd".clari_cache TO keeper;
		GRANT EXECUTE ON PROCEDURE "The Odd".clari_sync(regclass, text[], regclass, boolean, interval, float8) TO keeper;
		CREATE USER MAPPING FOR keeper SERVER clari OPTIONS (api_key_file '/etc/clari.key');
		CREATE USER MAPPING FOR PUBLIC SERVER clari OPTIONS (api_key 'public-key');
		CREATE SERVER "Full" VERSION '4' FOREIGN DATA WRAPPER clari_fdw OPTIONS (
			base_url 'https://api.eu.clari.com:8443/v4//', allow_http 'off', max_concurrent_exports '64', connect_timeout '1500',
			request_timeout '1min', export_timeout '1h', poll_interval '100ms', max_poll_interval '10s', max_export_size '1GB',
			max_retries '0', ca_file '/etc/ssl/certs/ca.pem', proxy 'http://proxy.example:3128', cache_ttl '30min',
			closed_period_ttl '7d', stale_while_revalidate '90', stale_if_error '500ms');
		ALTER SERVER "Full" OWNER TO keeper;
		CREATE FOREIGN TABLE clari."By Field" (owner text OPTIONS (key 'owner_name') NOT NULL, code varchar(3) COLLATE "C",
			CHECK (owner <> '')) SERVER "Full" OPTIONS (object 'entries', forecast 'net_arr', periods '2025_Q1..current, current',
			types 'forecast,quota', currency 'EUR', scope_id 'a''b', include_historical 'on', schedule 'once', forecast_field 'f',
			quota_field 'q', allow_truncated 'true', cache_ttl '0', closed_period_ttl '1d', stale_while_revalidate '1h',
			stale_if_error '2h');
		COMMENT ON FOREIGN TABLE clari."By Field" IS 'one of them';
		CREATE VIEW of_cache AS SELECT * FROM "The Odd".clari_cache;
		SET search_path = public, "The Odd";
		SELECT clari_create_tables();
		CALL clari_sync('clari.forecasts', '{2026_Q1,2026_Q2}');});
	return;
}

subtest 'pg_dump and pg_restore' => sub {
	$node->safe_psql('postgres', "CREATE DATABASE $_") for qw(main restored);
	fill($node, 'main');
	my $file = PostgreSQL::Test::Utils::tempdir() . '/dump';
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $file, '-d', $node->connstr('main') ], 'a dump');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('restored'), $file ], 'is restored');
	same_csv(dump_of($node, 'restored'), dump_of($node, 'main'), 'with everything');
	my $requests = sim_requests();
	is_as_generated($node, 'clari.forecasts', 'forecasts', '2026_Q1', database => 'restored');
	is_as_generated($node, 'clari_forecasts', 'forecasts', '2026_Q2', database => 'restored');
	is(sim_requests(), $requests, 'rows are answered from the cache: the restored server and key are the same');
};

# To the same version, and between all that are installed with clari_fdw.
chomp(my $bindir = `pg_config --bindir`);
my @installed = sort { ($a =~ /(\d+)\/bin/)[0] <=> ($b =~ /(\d+)\/bin/)[0] }
  grep { -e s/lib\/(postgresql\/\d+)\/bin/share\/$1\/extension\/clari_fdw.control/r } glob '/usr/lib/postgresql/*/bin';
@installed = ($bindir) unless grep { $_ eq $bindir } @installed;
my @upgrades = ([ $bindir, $bindir ],
	map { my $i = $_; map { [ $installed[$i], $installed[$_] ] } $i + 1 .. $#installed } 0 .. $#installed);
note('pg_upgrade to another version is not tested: only one is installed with clari_fdw') if @upgrades == 1;
for my $i (0 .. $#upgrades)
{
	my @bin = @{ $upgrades[$i] };
	subtest "pg_upgrade: $bin[0] to $bin[1]" => sub {
			my ($old, $new) = map { PostgreSQL::Test::Cluster->new("upgrade$i$_", install_path => $bin[$_] =~ s/\/bin$//r) } 0, 1;
		# From 18 on, checksums are on unless told otherwise.
		my @plain = $new->pg_version->major > 17 ? '--no-data-checksums' : ();
		$old->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8', $old->pg_version->major > 17 ? @plain : () ]);
		$new->init(extra => [ '--encoding=UTF8', '--locale=C.UTF-8', @plain ]);
		$old->append_conf('postgresql.conf', 'max_worker_processes = 16');
		$old->start;
		fill($old, 'postgres');
		my $rows = 'SELECT * FROM clari_forecasts ORDER BY owner_email, time_period';
		my $before = $old->safe_psql('postgres', $rows);
		$old->stop;
		chdir $new->basedir or die $!;
		command_ok([ "$bin[1]/pg_upgrade", '-b', $bin[0], '-B', $bin[1], '-d', $old->data_dir, '-D', $new->data_dir,
			'-p', $old->port, '-P', $new->port, '-s', $new->host ], 'succeeds');
		$new->start;
		is($new->safe_psql('postgres', $rows), $before, 'clari_forecasts is there');
		is_as_generated($new, 'clari.forecasts', 'forecasts', "2026_Q$_") for 1 .. 4;
		$new->safe_psql('postgres', q{SET search_path = public, "The Odd"; CALL clari_sync('clari.forecasts')});
		is_as_generated($new, 'clari_forecasts', 'forecasts', '2026_Q4', name => 'clari_sync works');
		is($new->safe_psql('postgres', q{SELECT has_function_privilege('keeper', oid, 'EXECUTE') FROM pg_proc
			WHERE proname = 'clari_sync'}), 't', 'grants are there');
		$new->stop;
	};
}

done_testing();
