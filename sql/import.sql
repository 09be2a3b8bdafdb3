--
-- IMPORT FOREIGN SCHEMA: the remote schema is a forecast's id.
--
CREATE EXTENSION clari_fdw;
CREATE SERVER "Clari's" FOREIGN DATA WRAPPER clari_fdw;
CREATE SCHEMA clari;

CREATE FUNCTION clari.imported() RETURNS TABLE (name text, options text[]) LANGUAGE sql AS
$$SELECT ftrelid::regclass::text, ftoptions FROM pg_foreign_table ORDER BY ftrelid::regclass::text COLLATE "C"$$;

-- Without options: all six tables.
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO clari;
SELECT * FROM clari.imported();
\d clari.forecasts
\d clari.entries
\d clari.users
\d clari.fields
\d clari.time_periods
\d clari.time_frames

-- They are there already.
IMPORT FOREIGN SCHEMA net_arr LIMIT TO (forecasts) FROM SERVER "Clari's" INTO clari;

-- LIMIT TO, EXCEPT and table_prefix, which counts as part of the name.
CREATE SCHEMA other;
IMPORT FOREIGN SCHEMA "It's ""it""" LIMIT TO (forecasts, "Q1 users") FROM SERVER "Clari's" INTO other;
IMPORT FOREIGN SCHEMA net_arr LIMIT TO ("Q1 users", users) FROM SERVER "Clari's" INTO other
	OPTIONS (table_prefix 'Q1 ');
IMPORT FOREIGN SCHEMA net_arr EXCEPT (x_users, x_fields, forecasts) FROM SERVER "Clari's" INTO other
	OPTIONS (table_prefix 'x_');
SELECT * FROM clari.imported() WHERE name LIKE 'other.%';
DROP SCHEMA other CASCADE;

-- Every table option is handed on, quoted.
CREATE SCHEMA other;
IMPORT FOREIGN SCHEMA net_arr LIMIT TO (forecasts) FROM SERVER "Clari's" INTO other OPTIONS (
	periods 'current-3..current', types 'forecast,quota', currency 'EUR', scope_id E'1905''\\::MGR',
	include_historical 'true', endpoint 'export', schedule 'MAX', forecast_field 'Sales'' forecast', quota_field 'q',
	allow_truncated 'false', cache_ttl '1h', closed_period_ttl '2d', stale_while_revalidate '3',
	stale_if_error '4', table_prefix '');
SELECT * FROM clari.imported() WHERE name LIKE 'other.%';

-- Types are PostgreSQL's, whatever the search_path begins with.
CREATE SCHEMA evil;
CREATE DOMAIN evil.text AS pg_catalog.text;
CREATE DOMAIN evil.date AS pg_catalog.date;
CREATE DOMAIN evil.numeric AS pg_catalog.numeric;
CREATE DOMAIN evil.bool AS pg_catalog.bool;
CREATE DOMAIN evil.timestamptz AS pg_catalog.timestamptz;
SET search_path = evil, pg_catalog, public;
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO evil;
RESET search_path;
SELECT t.typnamespace::regnamespace, t.typname, count(*) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
	JOIN pg_foreign_table f ON f.ftrelid = a.attrelid JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'evil'::regnamespace AND attnum > 0 GROUP BY 1, 2 ORDER BY 1, 2;
SET client_min_messages = warning;
DROP SCHEMA evil CASCADE;
RESET client_min_messages;

-- Refused before anything is made.
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO other OPTIONS (object 'users');
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO other OPTIONS (forecast 'gross_arr');
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO other OPTIONS (prefix 'x_');
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO other OPTIONS (base_url 'https://api.clari.com');
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO other OPTIONS (periods 'now');
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO other OPTIONS (periods 'current', periods 'current-1');
IMPORT FOREIGN SCHEMA net_arr FROM SERVER "Clari's" INTO other
	OPTIONS (table_prefix 'a_prefix_that_leaves_no_room_for_the_name_of_the_table_x');
IMPORT FOREIGN SCHEMA ".." LIMIT TO (users) FROM SERVER "Clari's" INTO other;
SELECT count(*) FROM clari.imported() WHERE name LIKE 'other.%';

-- The account: no forecast, no periods, and the options that go with that.
CREATE SCHEMA account;
IMPORT FOREIGN SCHEMA clari_account FROM SERVER "Clari's" INTO account;
SELECT * FROM clari.imported() WHERE name LIKE 'account.%';
\d account.limits
\d account.jobs
IMPORT FOREIGN SCHEMA clari_account LIMIT TO (my_jobs) FROM SERVER "Clari's" INTO account
	OPTIONS (table_prefix 'my_', cache_ttl '1min', stale_while_revalidate '1h', stale_if_error '1d');
SELECT * FROM clari.imported() WHERE name LIKE 'account.my%';
IMPORT FOREIGN SCHEMA clari_account LIMIT TO (forecasts) FROM SERVER "Clari's" INTO account;
IMPORT FOREIGN SCHEMA net_arr LIMIT TO (limits) FROM SERVER "Clari's" INTO account;
SELECT count(*) FROM clari.imported() WHERE name LIKE 'account.%';
IMPORT FOREIGN SCHEMA clari_account FROM SERVER "Clari's" INTO other OPTIONS (periods 'current');
IMPORT FOREIGN SCHEMA clari_account FROM SERVER "Clari's" INTO other OPTIONS (forecast 'net_arr');
IMPORT FOREIGN SCHEMA clari_account FROM SERVER "Clari's" INTO other OPTIONS (object 'limits');

SET client_min_messages = warning;
DROP SCHEMA clari, other, account CASCADE;
DROP EXTENSION clari_fdw CASCADE;
