--
-- clari_create_tables and clari_merge: exact counts, whatever is staged.
--
\set SHOW_CONTEXT never
CREATE EXTENSION clari_fdw;
CREATE SCHEMA regress_clari;
SET search_path = regress_clari, public;
CREATE ROLE regress_clari_user;
CREATE ROLE regress_clari_other;
GRANT CREATE, USAGE ON SCHEMA regress_clari TO regress_clari_user, regress_clari_other;

-- Nothing that deletes is granted to PUBLIC.
SET ROLE regress_clari_user;
SELECT * FROM clari_merge();
RESET ROLE;
GRANT EXECUTE ON FUNCTION clari_merge TO regress_clari_user;

-- The tables are the caller's, and no part of the extension.
SET ROLE regress_clari_user;
SELECT * FROM clari_merge();
SELECT clari_create_tables();
SELECT clari_create_tables();
\d clari_forecasts
\d staging_clari
SELECT relname, relowner::regrole, (SELECT count(*) FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') AS member
	FROM pg_class c WHERE relname IN ('clari_forecasts', 'staging_clari') ORDER BY 1;
SET search_path = nowhere;
SELECT public.clari_create_tables();
SET search_path = regress_clari, public;
SELECT clari_create_tables(distributed => true); -- tested in test/t/043_citus.pl

-- A first load, then the same again.
INSERT INTO staging_clari VALUES
	('Ann', 'ann@x', 100, 200, 300, 50, 1, '2026_Q1', '2026-01-01 00:00+00', 'net_arr'),
	('Bob', 'bob@x', 10.5, NULL, NULL, NULL, NULL, '2026_Q1', '2026-01-01 00:00+00', 'net_arr'),
	('Ann', 'ann@x', 7, 8, 9, 10, 11, '2026_Q2', '2026-01-01 00:00+00', 'net_arr'),
	('Ann', 'ann@x', 7, 8, 9, 10, 11, '2026_Q1', '2026-01-01 00:00+00', 'gross');
SELECT * FROM clari_merge();
SELECT * FROM clari_merge();
TABLE clari_forecasts ORDER BY owner_email, time_period, forecast_name;

-- A newer export of the same amounts is not written, whatever their scale.
UPDATE staging_clari SET exported_at = '2026-01-02 00:00+00', forecast_amount = forecast_amount + 0.00;
SELECT * FROM clari_merge();
SELECT DISTINCT exported_at AT TIME ZONE 'UTC' FROM clari_forecasts;

-- Each column that is no key counts, and then all are written.
CREATE FUNCTION try_change(change text) RETURNS TABLE (changed text, updated bigint, unchanged bigint, same bigint)
LANGUAGE plpgsql AS $$
BEGIN
	changed := change;
	EXECUTE 'UPDATE staging_clari SET exported_at = exported_at + interval ''1h'', '
		|| change || ' WHERE owner_email = ''ann@x'' AND time_period = ''2026_Q1'' AND forecast_name = ''net_arr''';
	SELECT m.updated, m.unchanged INTO try_change.updated, try_change.unchanged FROM clari_merge() AS m;
	SELECT count(*) INTO same FROM (TABLE staging_clari INTERSECT TABLE clari_forecasts) AS s
		WHERE owner_email = 'ann@x' AND time_period = '2026_Q1' AND forecast_name = 'net_arr';
	RETURN NEXT;
END $$;
SELECT t.* FROM unnest(ARRAY['owner_name = ''Anne''', 'forecast_amount = 101', 'quota_amount = NULL', 'quota_amount = 5',
	'crm_total = 301', 'crm_closed = 51', 'adjustment_amount = 2', 'adjustment_amount = NULL', 'owner_name = NULL',
	'crm_total = crm_total']) AS c(change), LATERAL try_change(c.change) AS t;

-- An older export never wins, nor one of unknown age over one of known age.
UPDATE staging_clari SET forecast_amount = 1, exported_at = '2025-12-31 00:00+00';
SELECT * FROM clari_merge();
UPDATE staging_clari SET exported_at = NULL;
SELECT * FROM clari_merge();
UPDATE clari_forecasts SET exported_at = NULL WHERE owner_email = 'bob@x';
SELECT * FROM clari_merge();
SELECT owner_email, forecast_amount FROM clari_forecasts ORDER BY owner_email, time_period, forecast_name;

-- Of duplicates the newest counts, in any order; of equally new ones always the same.
TRUNCATE clari_forecasts, staging_clari;
INSERT INTO staging_clari (owner_email, time_period, forecast_name, exported_at, forecast_amount) VALUES
	('ann@x', '2026_Q1', 'net_arr', '2026-01-01', 1), ('ann@x', '2026_Q1', 'net_arr', '2026-01-03', 3),
	('ann@x', '2026_Q1', 'net_arr', '2026-01-02', 2), ('ann@x', '2026_Q1', 'net_arr', NULL, 4),
	('bob@x', '2026_Q1', 'net_arr', '2026-01-01', 6), ('bob@x', '2026_Q1', 'net_arr', '2026-01-01', 5);
SELECT * FROM clari_merge();
SELECT owner_email, forecast_amount FROM clari_forecasts ORDER BY 1;
DELETE FROM staging_clari WHERE forecast_amount = 6;
INSERT INTO staging_clari (owner_email, time_period, forecast_name, exported_at, forecast_amount)
	VALUES ('bob@x', '2026_Q1', 'net_arr', '2026-01-01', 6);
SELECT * FROM clari_merge();

-- A row without its key is skipped and counted.
INSERT INTO staging_clari (owner_email, time_period, forecast_name) VALUES
	(NULL, '2026_Q1', 'net_arr'), ('cyd@x', NULL, 'net_arr'), ('cyd@x', '2026_Q1', NULL), (NULL, NULL, NULL),
	('cyd@x', '2026_Q1', 'net_arr');
SELECT * FROM clari_merge();

-- delete_missing: what is gone from the very periods and forecasts that are staged.
INSERT INTO clari_forecasts (owner_email, time_period, forecast_name) VALUES
	('gone@x', '2026_Q1', 'net_arr'), ('gone@x', '2026_Q2', 'net_arr'), ('gone@x', '2026_Q1', 'gross'),
	('gone@x', '2026_Q2', 'gross');
INSERT INTO staging_clari (owner_email, time_period, forecast_name) VALUES
	('new@x', '2026_Q2', 'gross'), (NULL, '2026_Q2', 'net_arr');
SELECT * FROM clari_merge();
SELECT * FROM clari_merge(delete_missing => true);
SELECT * FROM clari_merge(delete_missing => NULL);
SELECT owner_email, time_period, forecast_name FROM clari_forecasts ORDER BY 1, 2, 3;
TRUNCATE staging_clari;
SELECT * FROM clari_merge(delete_missing => true);

-- Columns in another order, more of them, another index; a view as the source.
CREATE TABLE "My ""Forecasts" (id bigint GENERATED ALWAYS AS IDENTITY, forecast_name varchar(40), time_period varchar(7),
	owner_email varchar, note text DEFAULT 'kept', exported_at timestamptz, adjustment_amount numeric, crm_closed numeric,
	crm_total numeric, quota_amount numeric, forecast_amount numeric(12, 2), owner_name text);
CREATE UNIQUE INDEX ON "My ""Forecasts" (forecast_name, owner_email, time_period) INCLUDE (note);
INSERT INTO staging_clari VALUES ('Ann', 'ann@x', 1, 2, 3, 4, 5, '2026_Q1', '2026-01-01 00:00+00', 'net_arr');
CREATE VIEW staged AS SELECT forecast_name, s.* FROM (SELECT owner_name, owner_email, forecast_amount, quota_amount, crm_total,
	crm_closed, adjustment_amount, time_period, exported_at FROM staging_clari) AS s, (VALUES ('net_arr')) AS f(forecast_name);
SELECT * FROM clari_merge('"My ""Forecasts"', 'staged');
UPDATE staging_clari SET adjustment_amount = 6;
SELECT * FROM clari_merge('"My ""Forecasts"', 'staged');
SELECT note, owner_name, owner_email, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount, time_period,
	forecast_name FROM "My ""Forecasts";

-- A partitioned target.
CREATE TABLE parted (LIKE clari_forecasts) PARTITION BY LIST (time_period);
CREATE TABLE parted_q1 PARTITION OF parted FOR VALUES IN ('2026_Q1');
ALTER TABLE parted ADD PRIMARY KEY (owner_email, time_period, forecast_name);
SELECT * FROM clari_merge('parted');
SELECT * FROM clari_merge('parted');

-- What cannot work says what would.
CREATE TABLE bare (LIKE staging_clari);
SELECT * FROM clari_merge('bare');
CREATE INDEX ON bare (owner_email, time_period, forecast_name);
CREATE UNIQUE INDEX ON bare (owner_email, time_period, forecast_name) WHERE owner_name IS NOT NULL;
CREATE UNIQUE INDEX ON bare (owner_email, time_period) INCLUDE (forecast_name);
CREATE UNIQUE INDEX ON bare (owner_email, time_period, forecast_name, exported_at);
CREATE UNIQUE INDEX ON bare (owner_email, time_period, lower(forecast_name));
SELECT * FROM clari_merge('bare');
CREATE UNIQUE INDEX ON regress_clari.bare (owner_email, time_period, forecast_name);
SELECT * FROM clari_merge('bare');
ALTER TABLE bare DROP COLUMN adjustment_amount, DROP COLUMN owner_email;
SELECT * FROM clari_merge('bare');
SELECT * FROM clari_merge('clari_forecasts', 'bare');
SELECT * FROM clari_merge('staged');
SELECT * FROM clari_merge(0::regclass);

-- Unnamed tables must be the caller's own: others', with their triggers, may lie in the path.
RESET ROLE;
ALTER TABLE clari_forecasts OWNER TO regress_clari_other;
GRANT ALL ON clari_forecasts TO regress_clari_user;
\set VERBOSITY sqlstate
SELECT * FROM clari_merge(source => 'staging_clari'); -- not for a superuser either
\set VERBOSITY default
SET ROLE regress_clari_user;
SELECT * FROM clari_merge();
SELECT * FROM clari_merge('clari_forecasts');
RESET ROLE;
ALTER TABLE clari_forecasts OWNER TO regress_clari_user;
REVOKE ALL ON clari_forecasts FROM regress_clari_other;
ALTER TABLE staging_clari OWNER TO regress_clari_other;
SET ROLE regress_clari_user;
SELECT * FROM clari_merge();
-- A caller without rights gets no further than he would by hand.
RESET ROLE;
GRANT EXECUTE ON FUNCTION clari_merge TO regress_clari_other;
SET ROLE regress_clari_other;
SELECT * FROM clari_merge('clari_forecasts');
RESET ROLE;
ALTER TABLE staging_clari OWNER TO regress_clari_user;

-- A hostile search_path: operators, functions and types of the same names.
CREATE SCHEMA regress_clari_evil;
GRANT USAGE ON SCHEMA regress_clari_evil TO regress_clari_user;
SET search_path = regress_clari_evil, pg_catalog;
DO $$
DECLARE
	type text;
	op text;
BEGIN
	FOREACH type IN ARRAY '{anyelement,text,varchar,oid,name,bool,int4,int8,numeric,timestamptz,"\"char\""}'::text[] LOOP
		EXECUTE format('CREATE FUNCTION trap(pg_catalog.%1$s, pg_catalog.%1$s) RETURNS boolean LANGUAGE plpgsql AS '
			'''BEGIN RAISE EXCEPTION $x$trapped by an operator$x$; END''', type);
		FOREACH op IN ARRAY '{=,<>,<,<=,>,>=}'::text[] LOOP
			EXECUTE format('CREATE OPERATOR %1$s (FUNCTION = trap, LEFTARG = pg_catalog.%2$s, RIGHTARG = pg_catalog.%2$s)',
				op, type);
		END LOOP;
	END LOOP;
END $$;
CREATE FUNCTION trap_number(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS
	$$BEGIN RAISE EXCEPTION 'trapped by an operator'; END$$;
CREATE OPERATOR regress_clari_evil.- (FUNCTION = trap_number, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION format(text, VARIADIC "any") RETURNS text LANGUAGE internal AS 'text_format';
CREATE FUNCTION count() RETURNS bigint LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped by a function'; END$$;
CREATE DOMAIN text AS pg_catalog.text CHECK (false);
CREATE DOMAIN name AS pg_catalog.name CHECK (false);
CREATE DOMAIN regclass AS pg_catalog.regclass CHECK (false);
CREATE DOMAIN "numeric" AS pg_catalog.numeric CHECK (false);
CREATE DOMAIN timestamptz AS pg_catalog.timestamptz CHECK (false);
SET ROLE regress_clari_user;
SET search_path = regress_clari_evil, regress_clari, pg_catalog;
SELECT 1 = 1;
SELECT * FROM public.clari_merge(delete_missing => true);
SELECT * FROM public.clari_merge('regress_clari.parted', 'regress_clari.staging_clari', true);
SELECT * FROM public.clari_merge('regress_clari.bare');
RESET ROLE;
GRANT CREATE ON SCHEMA regress_clari_evil TO regress_clari_user;
SET ROLE regress_clari_user;
SELECT public.clari_create_tables();
SELECT a.attname, t.typnamespace::pg_catalog.regnamespace FROM pg_attribute a JOIN pg_type t
	ON a.atttypid OPERATOR(pg_catalog.=) t.oid
	WHERE a.attrelid OPERATOR(pg_catalog.=) 'regress_clari_evil.clari_forecasts'::pg_catalog.regclass::oid
		AND a.attnum OPERATOR(pg_catalog.>) 0::int2 ORDER BY a.attnum;
RESET ROLE;
RESET search_path;

SET client_min_messages = warning;
DROP SCHEMA regress_clari, regress_clari_evil CASCADE;
DROP EXTENSION clari_fdw CASCADE;
DROP OWNED BY regress_clari_user, regress_clari_other;
DROP ROLE regress_clari_user, regress_clari_other;
