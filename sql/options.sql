--
-- Options: each is checked when it is set, and the message says what would do.
--
CREATE EXTENSION clari_fdw;
CREATE ROLE regress_clari_owner;
GRANT USAGE ON FOREIGN DATA WRAPPER clari_fdw TO regress_clari_owner;

-- The wrapper has no options; each catalog hints at its own.
ALTER FOREIGN DATA WRAPPER clari_fdw OPTIONS (ADD base_url 'https://api.clari.com/v4');
CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw OPTIONS (host 'api.clari.com');
CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw OPTIONS (api_key 'must not be shown');
CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw;
CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (apikey 'must not be shown');
CREATE FOREIGN TABLE t (owner_name text) SERVER clari OPTIONS (forecast_id 'net_arr');
CREATE FOREIGN TABLE t (owner_name text OPTIONS (column_name 'ownerName')) SERVER clari OPTIONS (forecast 'net_arr');
CREATE FOREIGN TABLE t (owner_name text) SERVER clari OPTIONS (table_prefix 'x_');

-- Server: every option, good.
ALTER SERVER clari OPTIONS (
	base_url 'https://api.eu.clari.com:8443/v4//', allow_http 'off', max_concurrent_exports '64',
	connect_timeout '1500', request_timeout '1min', export_timeout '1h', poll_interval '100ms',
	max_poll_interval '10s', max_export_size '1GB', max_retries '0', ca_file '/etc/ssl/certs/ca.pem',
	proxy 'http://proxy.example:3128', cache_ttl '30min', closed_period_ttl '7d',
	stale_while_revalidate '90', stale_if_error '500ms');
DROP SERVER clari;

-- base_url: https, or plain http on the loopback.
CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url 'HTTPS://API.clari.com/');
ALTER SERVER clari OPTIONS (SET base_url 'http://localhost:8080/v4');
ALTER SERVER clari OPTIONS (SET base_url 'http://127.0.0.1:8080');
ALTER SERVER clari OPTIONS (SET base_url 'http://127.255.0.3');
ALTER SERVER clari OPTIONS (SET base_url 'http://[::1]:8080/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://[2001:db8::1]/v4');
ALTER SERVER clari OPTIONS (SET base_url '');
ALTER SERVER clari OPTIONS (SET base_url 'api.clari.com/v4');
ALTER SERVER clari OPTIONS (SET base_url 'ftp://api.clari.com/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://');
ALTER SERVER clari OPTIONS (SET base_url 'https:///v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://api.clari.com:0/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://api.clari.com:65536/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://api.clari.com:/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://api.clari.com!');
ALTER SERVER clari OPTIONS (SET base_url 'https://api clari.com/v4');
ALTER SERVER clari OPTIONS (SET base_url E'https://api.clari.com/v4\r\nX-Evil: 1');
ALTER SERVER clari OPTIONS (SET base_url 'https://api.clari.com\@evil.example/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://[::g]/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://[::1/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://user:must_not_be_shown@api.clari.com/v4');
ALTER SERVER clari OPTIONS (SET base_url 'https://api.clari.com/v4?key=must_not_be_shown');
ALTER SERVER clari OPTIONS (SET base_url 'https://api.clari.com/v4#top');
DO $$BEGIN EXECUTE format('ALTER SERVER clari OPTIONS (SET base_url %L)', 'https://api.clari.com/' || repeat('v', 489)); END$$;
\set VERBOSITY sqlstate
DO $$BEGIN EXECUTE format('ALTER SERVER clari OPTIONS (SET base_url %L)', 'https://api.clari.com/' || repeat('v', 490)); END$$;
\set VERBOSITY default
ALTER SERVER clari OPTIONS (SET base_url 'http://api.clari.com/v4');
ALTER SERVER clari OPTIONS (SET base_url 'http://127.0.0.1.evil.example/v4');
ALTER SERVER clari OPTIONS (SET base_url 'http://localhost.evil.example/v4');
ALTER SERVER clari OPTIONS (SET base_url 'http://128.0.0.1/v4');
ALTER SERVER clari OPTIONS (SET base_url 'http://[::2]/v4');
ALTER SERVER clari OPTIONS (SET base_url 'http://clari.internal/v4', ADD allow_http 'true');
ALTER SERVER clari OPTIONS (SET allow_http 'false');
ALTER SERVER clari OPTIONS (DROP allow_http);
ALTER SERVER clari OPTIONS (SET allow_http 'perhaps');
ALTER SERVER clari OPTIONS (SET base_url 'https://api.clari.com/v4', DROP allow_http);

-- Numbers, durations, sizes.
ALTER SERVER clari OPTIONS (max_concurrent_exports '0');
ALTER SERVER clari OPTIONS (max_concurrent_exports '65');
ALTER SERVER clari OPTIONS (max_concurrent_exports 'three');
ALTER SERVER clari OPTIONS (max_concurrent_exports '');
ALTER SERVER clari OPTIONS (max_retries '-1');
ALTER SERVER clari OPTIONS (max_retries '101');
ALTER SERVER clari OPTIONS (connect_timeout '0');
ALTER SERVER clari OPTIONS (request_timeout '-1s');
ALTER SERVER clari OPTIONS (export_timeout '30d');
ALTER SERVER clari OPTIONS (export_timeout '15 minutes');
ALTER SERVER clari OPTIONS (max_export_size '0');
ALTER SERVER clari OPTIONS (max_export_size '2 gigabytes');
ALTER SERVER clari OPTIONS (cache_ttl '-1');
ALTER SERVER clari OPTIONS (cache_ttl 'NaN');
ALTER SERVER clari OPTIONS (cache_ttl '30000d');
ALTER SERVER clari OPTIONS (stale_if_error '1kB');
ALTER SERVER clari OPTIONS (poll_interval '2s', max_poll_interval '1s');
ALTER SERVER clari OPTIONS (poll_interval '1min');

-- Files and proxies.
ALTER SERVER clari OPTIONS (ca_file 'certs/ca.pem');
ALTER SERVER clari OPTIONS (ca_file '');
ALTER SERVER clari OPTIONS (proxy '');
ALTER SERVER clari OPTIONS (proxy 'gopher://proxy:70');
ALTER SERVER clari OPTIONS (proxy 'http://proxy:3128/path');
ALTER SERVER clari OPTIONS (proxy 'http://user:must_not_be_shown@proxy:3128');
ALTER SERVER clari OPTIONS (proxy 'socks5h://proxy:1080/');
ALTER SERVER clari OPTIONS (SET proxy '[::1]:3128');

-- User mapping: a key is never shown.
CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key '');
CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key 'must not be shown');
CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key E'must_not_be_shown\r\nX-Evil:1');
CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key U&'must_not_be_shown_\00E9');
\set VERBOSITY sqlstate
DO $$BEGIN EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key %L)', repeat('k', 512)); END$$;
DO $$BEGIN EXECUTE format('CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key %L)', repeat('k', 511)); END$$;
\set VERBOSITY default
ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (SET api_key 'good-Key_~!');
ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (ADD api_key_file '/run/secrets/clari');
ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (DROP api_key, ADD api_key_file 'secrets/clari');
ALTER USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (DROP api_key, ADD api_key_file '/run/secrets/clari');

-- Table: every option, good.
CREATE FOREIGN TABLE t (
	owner_name text OPTIONS (key 'ownerName'),
	currency text OPTIONS (key 'currency.code'),
	amount numeric OPTIONS (key 'forecast_amount'))
SERVER clari OPTIONS (
	object 'time_frames', forecast 'net_arr', periods '2025_Q1..2025_Q4, current-1..current', types ' forecast ,quota',
	currency 'USD', scope_id '1905::MGR', include_historical 'yes', schedule 'once', forecast_field 'Commit',
	quota_field 'quota:1', allow_truncated '1', cache_ttl '0', closed_period_ttl '30d',
	stale_while_revalidate '1min', stale_if_error '1h');

-- And bad.
ALTER FOREIGN TABLE t OPTIONS (SET object 'opportunities');
ALTER FOREIGN TABLE t OPTIONS (SET object 'Forecasts');
ALTER FOREIGN TABLE t OPTIONS (SET forecast '');
ALTER FOREIGN TABLE t OPTIONS (SET forecast '..');
ALTER FOREIGN TABLE t OPTIONS (SET forecast E'net\narr');
\set VERBOSITY sqlstate
DO $$BEGIN EXECUTE format('ALTER FOREIGN TABLE t OPTIONS (SET forecast %L)', repeat('f', 128)); END$$;
DO $$BEGIN EXECUTE format('ALTER FOREIGN TABLE t OPTIONS (SET forecast %L)', repeat('f', 127)); END$$;
\set VERBOSITY default
ALTER FOREIGN TABLE t OPTIONS (SET periods '');
ALTER FOREIGN TABLE t OPTIONS (SET periods '2025_Q5');
ALTER FOREIGN TABLE t OPTIONS (SET periods '2025_Q1, next');
ALTER FOREIGN TABLE t OPTIONS (SET periods '2025_Q4..2025_Q1');
ALTER FOREIGN TABLE t OPTIONS (SET types '');
ALTER FOREIGN TABLE t OPTIONS (SET types 'forecast,');
ALTER FOREIGN TABLE t OPTIONS (SET types 'forecast quota');
ALTER FOREIGN TABLE t OPTIONS (SET types 'forecast,quotas');
ALTER FOREIGN TABLE t OPTIONS (SET currency 'usd');
ALTER FOREIGN TABLE t OPTIONS (SET currency 'DOLLAR');
ALTER FOREIGN TABLE t OPTIONS (SET scope_id '');
ALTER FOREIGN TABLE t OPTIONS (SET include_historical '2');
ALTER FOREIGN TABLE t OPTIONS (SET schedule 'TWICE');
ALTER FOREIGN TABLE t OPTIONS (SET forecast_field '');
ALTER FOREIGN TABLE t OPTIONS (SET quota_field '');
ALTER FOREIGN TABLE t OPTIONS (SET allow_truncated 'maybe');
ALTER FOREIGN TABLE t OPTIONS (SET cache_ttl 'forever');
ALTER FOREIGN TABLE t OPTIONS (ADD base_url 'https://elsewhere.example');
ALTER FOREIGN TABLE t ALTER COLUMN owner_name OPTIONS (SET key 'owner.name');
ALTER FOREIGN TABLE t ALTER COLUMN owner_name OPTIONS (SET key '');

-- SQLSTATEs: unknown name, bad value.
\set VERBOSITY sqlstate
ALTER FOREIGN TABLE t OPTIONS (ADD nonsense '1');
ALTER FOREIGN TABLE t OPTIONS (SET cache_ttl 'forever');
\set VERBOSITY default

-- Who is no superuser: the options of his own server, but not the privileged
-- ones, nor anything else of a server that has one.
SET ROLE regress_clari_owner;
CREATE SERVER mine FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url 'https://api.clari.com/v4', cache_ttl '1h');
CREATE USER MAPPING FOR CURRENT_USER SERVER mine OPTIONS (api_key 'k');
ALTER SERVER mine OPTIONS (ADD allow_http 'false');
ALTER SERVER mine OPTIONS (ADD proxy 'http://proxy:3128');
ALTER SERVER mine OPTIONS (ADD ca_file '/etc/ssl/ca.pem');
ALTER USER MAPPING FOR CURRENT_USER SERVER mine OPTIONS (DROP api_key, ADD api_key_file '/etc/passwd');
RESET ROLE;
ALTER SERVER mine OPTIONS (SET base_url 'http://clari.internal/v4', ADD allow_http 'true');
SET ROLE regress_clari_owner;
ALTER SERVER mine OPTIONS (SET base_url 'http://evil.example/v4');
ALTER SERVER mine OPTIONS (SET cache_ttl '2h');
ALTER SERVER mine OPTIONS (DROP allow_http);
ALTER SERVER mine OPTIONS (DROP allow_http, SET base_url 'https://api.clari.com/v4');
RESET ROLE;

-- A host that is not Clari's is for superusers to set, loopback ones too; the rest of such a server is its owner's to alter.
SET ROLE regress_clari_owner;
CREATE SERVER other FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url 'https://example.com/v4');
ALTER SERVER mine OPTIONS (SET base_url 'http://127.0.0.1:5432');
ALTER SERVER mine OPTIONS (SET base_url 'https://[::1]:5432');
ALTER SERVER mine OPTIONS (SET base_url 'https://clari.com/v4');
ALTER SERVER mine OPTIONS (SET base_url 'https://evilclari.com/v4');
ALTER SERVER mine OPTIONS (SET base_url 'https://api.clari.com.evil.example/v4');
ALTER SERVER mine OPTIONS (SET base_url 'https://evil.example/.clari.com');
ALTER SERVER mine OPTIONS (SET base_url 'https://evil.example:443/api.clari.com');
ALTER SERVER mine OPTIONS (SET base_url 'https://API.EU.Clari.COM:8443/v4');
ALTER SERVER mine OPTIONS (DROP base_url);
ALTER SERVER mine OPTIONS (ADD base_url 'http://localhost:1');
RESET ROLE;
CREATE SERVER anothers FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url 'https://another.example');
ALTER SERVER mine OPTIONS (ADD base_url 'https://gateway.example/clari');
SET ROLE regress_clari_owner;
ALTER SERVER mine OPTIONS (SET cache_ttl '3h');
ALTER SERVER mine OPTIONS (SET base_url 'https://gateway.example/clari');
ALTER SERVER mine OPTIONS (SET base_url 'https://gateway.example/else');
ALTER SERVER mine OPTIONS (SET base_url 'https://another.example');
ALTER SERVER mine OPTIONS (SET base_url 'https://api.clari.com/v4');
ALTER SERVER mine OPTIONS (SET base_url 'https://gateway.example/clari');
SELECT srvname, srvoptions FROM pg_foreign_server WHERE srvname IN ('mine', 'other');
RESET ROLE;
DROP SERVER anothers;

-- Files are for members of pg_read_server_files too.
GRANT pg_read_server_files TO regress_clari_owner;
SET ROLE regress_clari_owner;
ALTER SERVER mine OPTIONS (ADD ca_file '/etc/ssl/ca.pem');
ALTER SERVER mine OPTIONS (ADD proxy 'http://proxy:3128');
ALTER USER MAPPING FOR CURRENT_USER SERVER mine OPTIONS (DROP api_key, ADD api_key_file '/run/secrets/clari');
RESET ROLE;

-- The Forecast API has the latest week alone.
CREATE FOREIGN TABLE api (owner_name text) SERVER mine OPTIONS (forecast 'net_arr', endpoint 'forecast');
ALTER FOREIGN TABLE api OPTIONS (ADD include_historical 'true');
ALTER FOREIGN TABLE api OPTIONS (ADD include_historical 'false', SET endpoint 'export');
ALTER FOREIGN TABLE api OPTIONS (SET include_historical 'true');
ALTER FOREIGN TABLE api OPTIONS (SET endpoint 'forecast');
ALTER FOREIGN TABLE api OPTIONS (SET endpoint 'jobs');
DROP FOREIGN TABLE api;

-- What the account has is of no forecast.
CREATE FOREIGN TABLE limits (monthly_quota bigint) SERVER mine OPTIONS (object 'limits', cache_ttl '1min', stale_if_error '1d');
ALTER FOREIGN TABLE limits OPTIONS (ADD forecast 'net_arr');
ALTER FOREIGN TABLE limits OPTIONS (ADD periods 'current');
ALTER FOREIGN TABLE limits OPTIONS (ADD closed_period_ttl '1d');
ALTER FOREIGN TABLE limits OPTIONS (ADD base_url 'https://api.clari.com');
EXPLAIN (COSTS OFF) TABLE limits;
ALTER FOREIGN TABLE limits OPTIONS (SET object 'jobs');
EXPLAIN (COSTS OFF) TABLE limits;
ALTER FOREIGN TABLE limits OPTIONS (SET object 'forecasts');
TABLE limits;
DROP FOREIGN TABLE limits;

-- Nothing that reads, spends quota or deletes is granted to PUBLIC.
SELECT p.oid::regprocedure, has_function_privilege('regress_clari_owner', p.oid, 'EXECUTE') AS public,
	has_function_privilege('pg_monitor', p.oid, 'EXECUTE') AS monitor
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND e.extname = 'clari_fdw'
ORDER BY p.proname COLLATE "C";
SELECT v, has_table_privilege('regress_clari_owner', v, 'SELECT') AS public,
	has_table_privilege('pg_monitor', v, 'SELECT') AS monitor
FROM unnest('{clari_cache,clari_exports,clari_stats}'::text[]) AS v;

SET client_min_messages = warning;
DROP EXTENSION clari_fdw CASCADE;
DROP OWNED BY regress_clari_owner;
DROP ROLE regress_clari_owner;
