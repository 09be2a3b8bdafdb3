--
-- WHERE: of each kind of clause, which quarters are read, and that the rows are those of a heap.
--
-- A simulator of Clari of its own, that goes when this psql does.
\set port `f=$(mktemp); python3 "$PG_ABS_SRCDIR/test/clari_sim.py" serve --port-file "$f" --exit-with $PPID --owners 30 --charset ascii --null-emails 10 --job-seconds 0 >/dev/null 2>&1 & for i in $(seq 300); do [ -s "$f" ] && break; sleep 0.1; done; cat "$f"`
\set url 'http://127.0.0.1:' :port '/v4'
\set SHOW_CONTEXT never
\pset format unaligned
SET client_min_messages = warning;
CREATE EXTENSION clari_fdw;
CREATE SERVER clari FOREIGN DATA WRAPPER clari_fdw OPTIONS (base_url :'url', poll_interval '20ms', max_concurrent_exports '8');
CREATE USER MAPPING FOR CURRENT_USER SERVER clari OPTIONS (api_key 'test-key');
CREATE SCHEMA regress_where;
CREATE SCHEMA regress_where_foreign;
CREATE SCHEMA regress_where_heap;
SET search_path = regress_where;

-- Eight quarters, in a column of each type that may show them.
CREATE DOMAIN quarter AS text CHECK (VALUE LIKE '20%');
DO $$
BEGIN
	CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
	PERFORM 'a' = 'A' COLLATE nocase;
	CREATE DOMAIN text_nocase AS text COLLATE nocase;
EXCEPTION WHEN feature_not_supported OR invalid_parameter_value OR undefined_object THEN
	CREATE DOMAIN text_nocase AS name;	-- no ICU here; of this, too, no quarter can be told to be the wrong one
END $$;
DO $$
DECLARE
	name text;
	type text;
BEGIN
	FOR name, type IN VALUES ('f', 'text'), ('f_c', 'text COLLATE "C"'), ('f_varchar', 'varchar(7)'), ('f_domain', 'quarter'),
			('f_char', 'char(7)'), ('f_name', 'name'), ('f_nocase', 'text_nocase') LOOP
		EXECUTE format($f$CREATE FOREIGN TABLE regress_where_foreign.%1$I (owner_name text, owner_email text, forecast_amount numeric,
				time_period %2$s, again text OPTIONS (key 'time_period'))
			SERVER clari OPTIONS (forecast 'net_arr', periods '2025_Q1..2026_Q4');
			CREATE TABLE regress_where_heap.%1$I AS SELECT * FROM regress_where_foreign.%1$I$f$, name, type);
	END LOOP;
END $$;
SELECT count(DISTINCT time_period), count(*), count(owner_email), count(forecast_amount) FROM regress_where_heap.f;
CREATE TABLE quarters (q text, n int);
INSERT INTO quarters VALUES ('2026_Q2', 1), ('2026_Q3', 2), ('2026_Q2', 3), (NULL, 4), ('2026_Q5', 5), ('none', 6);
CREATE FUNCTION own(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END';
CREATE FUNCTION inlined(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$ SELECT $1 >= '2026' $$;
CREATE FUNCTION this_quarter() RETURNS text STABLE LANGUAGE plpgsql AS $$ BEGIN RETURN (SELECT min(q) FROM regress_where.quarters); END $$;
CREATE DOMAIN text_c AS text COLLATE "C";
CREATE DOMAIN text_posix AS text COLLATE "POSIX";
SET regress_where.quarter = '2025_Q4';
SET regress_where.quarters = '2025_Q4,2026_Q1,2026_Q1';

-- Quarters of lists of them, in order.
CREATE FUNCTION distinct_quarters(lists text[]) RETURNS text STABLE LANGUAGE sql AS $$
	SELECT replace(string_agg(DISTINCT q, ', ' ORDER BY q), '2025_Q1, 2025_Q2, 2025_Q3, 2025_Q4, 2026_Q1, 2026_Q2, 2026_Q3, 2026_Q4', 'all')
		FROM unnest(lists) AS l, string_to_table(l, ', ') AS q
$$;

-- A query of a schema's tables: what EXPLAIN says is read of foreign ones, what then is, and its rows.
CREATE FUNCTION query(schema text, source text, clause text, args text, OUT periods text, OUT reads text, OUT rows text) LANGUAGE plpgsql AS $$
DECLARE
	line text;
	found text[];
	sources text[];
BEGIN
	PERFORM set_config('search_path', schema || ', regress_where', true), set_config('plan_cache_mode', 'force_generic_plan', true);
	EXECUTE format('PREPARE q AS SELECT count(*) || '' '' || coalesce(md5(string_agg(f::text, '';'' ORDER BY f::text COLLATE "C")), '''')
		FROM %s WHERE %s', source, clause);
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) EXECUTE q' || args LOOP
		found := found || substring(line, ' Periods: (.*)');
		IF line LIKE '%One-Time Filter: false%' THEN
			found := '{none}';
			EXIT;
		END IF;
	END LOOP;
	SELECT string_agg(DISTINCT replace(f, '2025_Q1, 2025_Q2, 2025_Q3, 2025_Q4, 2026_Q1, 2026_Q2, 2026_Q3, 2026_Q4', 'all'), ' and ')
		INTO periods FROM unnest(found) AS f;
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) EXECUTE q' || args LOOP
		sources := sources || regexp_replace(substring(line, ' Sources: (.*)'), ' \(\w+\)', '', 'g');
	END LOOP;
	SELECT coalesce(distinct_quarters(array_remove(sources, 'none')), 'none') INTO reads;
	EXECUTE 'EXECUTE q' || args INTO rows;
	DEALLOCATE q;
END $$;

-- The same of the heaps and of the foreign tables, with and without pruning.
CREATE FUNCTION compare(source text, clause text, args text, OUT periods text, OUT reads text, OUT unpruned text,
	OUT rows text, OUT same boolean)
LANGUAGE plpgsql AS $$
DECLARE
	heap record := query('regress_where_heap', source, clause, args);
	pruned record := query('regress_where_foreign', source, clause, args);
	slow record;
BEGIN
	SET LOCAL clari_fdw.enable_pruning = off;
	slow := query('regress_where_foreign', source, clause, args);
	SET LOCAL clari_fdw.enable_pruning = on;
	periods := pruned.periods;
	reads := pruned.reads;
	unpruned := slow.periods;
	rows := split_part(heap.rows, ' ', 1);
	same := (pruned.rows, slow.rows) = (heap.rows, heap.rows);
END $$;

CREATE TABLE kinds (n int GENERATED ALWAYS AS IDENTITY, clause text, args text DEFAULT '', source text DEFAULT 'f');

-- Comparisons.
INSERT INTO kinds (clause) VALUES
	($$time_period = '2026_Q1'$$),
	($$'2026_Q1' = time_period$$),
	($$time_period <> '2026_Q1'$$),
	($$time_period < '2025_Q3'$$),
	($$time_period <= '2025_Q3'$$),
	($$time_period > '2026_Q2'$$),
	($$time_period >= '2026_Q2'$$),
	($$'2026_Q2' < time_period$$),
	($$time_period BETWEEN '2025_Q3' AND '2026_Q1'$$),
	($$time_period BETWEEN '2026_Q1' AND '2025_Q3'$$),
	($$time_period BETWEEN SYMMETRIC '2026_Q1' AND '2025_Q3'$$),
	($$time_period NOT BETWEEN '2025_Q3' AND '2026_Q1'$$),
	($$time_period IN ('2025_Q2', '2026_Q3')$$),
	($$time_period NOT IN ('2025_Q2', '2026_Q3')$$),
	($$time_period IN ('2025_Q2', NULL)$$),
	($$time_period NOT IN ('2025_Q2', NULL)$$),
	($$time_period = ANY ('{2025_Q1,2026_Q4,2026_Q4}')$$),
	($$time_period = ANY (ARRAY['2025_Q1', NULL, '2031_Q1'])$$),
	($$time_period = ANY ('{}')$$),
	($$time_period = ANY (NULL)$$),
	($$time_period <> ALL ('{2025_Q1,2025_Q2}')$$),
	($$time_period = ALL ('{2025_Q1,2025_Q1}')$$),
	($$time_period > ANY ('{2026_Q2,2026_Q3}')$$),
	($$time_period LIKE ANY ('{2025%,%Q4}')$$),
	($$time_period IS DISTINCT FROM '2026_Q1'$$),
	($$time_period IS NOT DISTINCT FROM '2026_Q1'$$),
	($$time_period IS NULL$$),
	($$time_period IS NOT NULL$$),
	($$time_period = NULL$$),
	($$time_period = NULL::text OR time_period = '2025_Q3'$$),
	($$(time_period = '2025_Q1') IS NOT TRUE$$),
	($$(time_period < '2025_Q3') IS FALSE$$),
	($$(time_period = '2026_Q1') = (time_period > '2026')$$),
	($$(time_period, again) = ('2026_Q1', '2026_Q1')$$),
	($$(time_period, again) < ('2025_Q2', '2025_Q3')$$),
	($$(time_period, owner_email) >= ('2026_Q3', 'd')$$),
	($$time_period = '2030_Q1'$$),
	($$time_period IN ('2024_Q4', '2026_Q4', 'Q4', '')$$);

-- Patterns and functions.
INSERT INTO kinds (clause) VALUES
	($$time_period LIKE '2026%'$$),
	($$time_period LIKE '%Q4'$$),
	($$time_period LIKE '2026_Q1'$$),
	($$time_period LIKE '2025__2'$$),
	($$time_period LIKE '2025\_Q_'$$),
	($$time_period LIKE '2025!_Q%' ESCAPE '!'$$),
	($$time_period NOT LIKE '2026%'$$),
	($$time_period ~~ '%Q1'$$),
	($$time_period ILIKE '2026_q%'$$),
	($$time_period ~ '^2026'$$),
	($$time_period ~* 'q[12]$'$$),
	($$time_period !~ 'Q[123]'$$),
	($$time_period SIMILAR TO '2026_Q[12]'$$),
	($$time_period ^@ '2025'$$),
	($$starts_with(time_period, '2025')$$),
	($$left(time_period, 4) = '2026'$$),
	($$right(time_period, 1) IN ('2', '3')$$),
	($$substr(time_period, 6) = 'Q1'$$),
	($$substring(time_period FROM 1 FOR 4) < '2026'$$),
	($$split_part(time_period, '_', 2) = 'Q3'$$),
	($$lower(time_period) = '2026_q1'$$),
	($$upper(time_period) IN ('2026_Q1', '2026_q2')$$),
	($$length(time_period) = 7$$),
	($$position('Q2' IN time_period) > 0$$),
	($$time_period || 'x' = '2025_Q2x'$$),
	($$concat(time_period, '!') = '2025_Q2!'$$),
	($$left(time_period, 4)::int = 2026$$),
	($$100 / length(time_period) = 14$$),
	($$time_period = '2026_' || 'Q2'$$),
	($$time_period = format('%s_Q%s', 2026, 3)$$),
	($$time_period::varchar(4) = '2026'$$),
	($$time_period = '2026_Q1'::varchar$$),
	($$time_period::bpchar = '2026_Q1  '$$),
	($$time_period = '2026_Q1'::char(7)$$),
	($$time_period::name = '2026_Q1'$$),
	($$time_period COLLATE "C" < '2025_Q3'$$),
	($$inlined(time_period)$$);

-- AND, OR, NOT and CASE; other columns.
INSERT INTO kinds (clause) VALUES
	($$true$$),
	($$false$$),
	($$time_period >= '2025_Q2' AND time_period < '2026_Q3' AND time_period LIKE '%Q2'$$),
	($$time_period = '2025_Q2' AND time_period = '2025_Q3'$$),
	($$time_period < '2025_Q2' AND time_period > '2025_Q3'$$),
	($$time_period = '2025_Q1' OR time_period = '2026_Q4'$$),
	($$time_period < '2025_Q2' OR time_period > '2026_Q3'$$),
	($$time_period = '2025_Q1' OR time_period > '2026_Q1' AND time_period LIKE '%Q3'$$),
	($$NOT (time_period = '2025_Q1' OR time_period LIKE '2026%')$$),
	($$again = '2026_Q2'$$),
	($$time_period = again AND again = '2026_Q2'$$),
	($$time_period = '2026_Q1' AND again = '2026_Q2'$$),
	($$time_period = '2026_Q1' AND forecast_amount > 0$$),
	($$time_period LIKE '2026%' AND (owner_email < 'd' OR forecast_amount IS NULL)$$),
	($$(time_period = '2026_Q1' OR time_period = '2025_Q1') AND owner_email IS NULL$$),
	($$(time_period = '2025_Q1' AND owner_email < 'd') OR (time_period = '2025_Q2' AND owner_email >= 'd')$$),
	($$(time_period < '2025_Q2' AND owner_email < 'd') OR (forecast_amount IS NULL AND time_period IN ('2026_Q3', '2026_Q4'))$$),
	($$(time_period = '2025_Q1' AND time_period = '2025_Q2') OR (time_period = '2026_Q3' AND owner_email < 'd')$$),
	($$time_period = '2025_Q1' AND (owner_email < 'd' OR time_period = '2025_Q1')$$),
	($$time_period LIKE '%Q1' AND (time_period < '2026' AND owner_email < 'd' OR time_period > '2026' AND (owner_name < 'd' OR again < '2026'))$$),
	($$NOT (time_period <> '2025_Q1' OR owner_email < 'd')$$),
	($$NOT (time_period = '2025_Q1' AND owner_email < 'd')$$),
	($$time_period = '2025_Q1' OR owner_email < 'd'$$),
	($$time_period > owner_name$$),
	($$CASE WHEN time_period < '2026' THEN time_period LIKE '%Q1' ELSE time_period LIKE '%Q2' END$$),
	($$CASE time_period WHEN '2026_Q1' THEN true WHEN '2026_Q3' THEN true END$$),
	($$CASE WHEN time_period LIKE '2026%' THEN owner_email < 'd' ELSE false END$$),
	($$coalesce(time_period, 'none') = '2026_Q1'$$),
	($$nullif(time_period, '2026_Q1') IS NULL$$),
	($$greatest(time_period, '2026_Q2') = '2026_Q2'$$),
	($$own(time_period) = '2026_Q1'$$),
	($$f::text LIKE '%2026_Q1%'$$),
	($$f.tableoid IS NOT NULL$$);

-- Values that are not known before: settings, parameters, other queries, joins.
INSERT INTO kinds (clause, args) VALUES
	($$time_period = current_setting('regress_where.quarter')$$, ''),
	($$time_period = ANY (string_to_array(current_setting('regress_where.quarters'), ','))$$, ''),
	($$time_period = '2026_Q1' || left(random()::text, 0)$$, ''),
	($$time_period < '2025_Q3' AND clock_timestamp() IS NOT NULL$$, ''),
	($$time_period = $1$$, $$('2026_Q2')$$),
	($$time_period = $1$$, $$(NULL)$$),
	($$time_period = $1$$, $$('2031_Q1')$$),
	($$time_period IN ($1, $2)$$, $$('2026_Q2', '2025_Q2')$$),
	($$time_period = ANY ($1)$$, $$('{2025_Q3,NULL,2026_Q3}')$$),
	($$time_period BETWEEN $1 AND $2$$, $$('2025_Q4', '2026_Q1')$$),
	($$time_period LIKE $1 || '%'$$, $$('2025')$$),
	($$time_period = $1 AND owner_email < $2 OR time_period > $3 AND owner_email IS NULL$$, $$('2025_Q1', 'd', '2026_Q3')$$),
	($$time_period = (SELECT q FROM quarters WHERE n = 1)$$, ''),
	($$time_period = ANY (ARRAY(SELECT q FROM quarters))$$, ''),
	($$time_period IN (SELECT q FROM quarters)$$, ''),
	($$time_period NOT IN (SELECT q FROM quarters WHERE q IS NOT NULL)$$, ''),
	($$time_period LIKE '2026%' AND EXISTS (SELECT FROM quarters WHERE q = time_period)$$, ''),
	($$NOT EXISTS (SELECT FROM quarters WHERE q = time_period)$$, ''),
	($$time_period = (SELECT max(q) FROM quarters WHERE n < 3 AND n < length(owner_name))$$, '');
INSERT INTO kinds (source, clause) VALUES
	('f JOIN f AS g USING (owner_name)', $$f.time_period = g.time_period AND g.time_period = '2026_Q2'$$),
	('f LEFT JOIN f AS g ON g.time_period = f.time_period AND g.owner_name = f.owner_name', $$f.time_period = '2026_Q2'$$),
	('f LEFT JOIN f AS g ON g.time_period = ''2025_Q3'' AND g.owner_name = f.owner_name', $$f.time_period = '2026_Q2'$$),
	('quarters JOIN f ON q = time_period', $$q = '2026_Q3'$$),
	('(SELECT * FROM f UNION ALL SELECT * FROM f_c) AS f', $$time_period = '2026_Q2'$$),
	('(SELECT time_period, count(*) FROM f GROUP BY 1) AS f', $$time_period = '2026_Q2'$$),
	('(SELECT * FROM f OFFSET 0) AS f', $$time_period = '2026_Q2'$$);

-- Values that no row has a part in, however they are computed.  What may fail, or is somebody's own, EXPLAIN does not evaluate.
INSERT INTO kinds (clause, args) VALUES
	($$time_period = to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q')$$, ''),
	($$time_period = to_char(date '2026-05-01' + (current_date - current_date), 'YYYY"_Q"Q')$$, ''),
	($$time_period = to_char(timestamp '2026-05-01' + (localtimestamp - localtimestamp), 'YYYY"_Q"Q')$$, ''),
	($$time_period = to_char(date_trunc('quarter', timestamptz '2026-05-11' + (current_timestamp - now())), 'YYYY"_Q"Q')$$, ''),
	($$time_period = to_char(timestamptz '2026-05-01' + age(statement_timestamp(), statement_timestamp()), 'FMYYYY_"Q"Q')$$, ''),
	($$to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q') = time_period$$, ''),
	($$time_period = extract(year FROM date '2026-05-01' + (current_date - current_date)) || '_Q' || extract(quarter FROM date '2026-05-01' + (current_date - current_date))$$, ''),
	($$time_period = '2026_Q' || date_part('quarter', timestamptz '2026-05-01' + (now() - now()))::int$$, ''),
	($$time_period = '2026_Q' || (extract(month FROM date '2026-05-01' + (current_date - current_date))::int + 2) / 3$$, ''),
	($$time_period = concat('2026_Q', 2 + (current_date - current_date))$$, ''),
	($$time_period = format('%s_Q%s', 2026, 2 + (current_date - current_date))$$, ''),
	($$time_period = (2026 + (current_date - current_date))::text || '_Q2'$$, ''),
	($$time_period = concat_ws('_Q', date_part('year', timestamptz '2026-05-01' + (now() - now())), '2')$$, ''),
	($$time_period = replace('2026-Q2', '-', left('_' || now(), 1))$$, ''),
	($$time_period IN (to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q'), '2025_Q1')$$, ''),
	($$time_period NOT IN (to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q'), '2025_Q1')$$, ''),
	($$time_period = ANY (ARRAY[to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q'), NULL])$$, ''),
	($$time_period = ANY (string_to_array(replace(current_setting('regress_where.quarters'), '_', left('_' || now(), 1)), ','))$$, ''),
	($$time_period BETWEEN to_char(timestamptz '2026-05-01' + (now() - now()) - interval '6 months', 'YYYY"_Q"Q')
		AND to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q')$$, ''),
	($$time_period >= to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q')$$, ''),
	($$time_period <> to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q')$$, ''),
	($$time_period IS NOT DISTINCT FROM to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q')$$, ''),
	($$NOT (time_period <> to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q'))$$, ''),
	($$time_period LIKE extract(year FROM date '2026-05-01' + (current_date - current_date)) || '%'$$, ''),
	($$left(time_period, 4) = extract(year FROM timestamptz '2026-05-01' + (now() - now()))::text$$, ''),
	($$right(time_period, 2 + (current_date - current_date)) = 'Q2'$$, ''),
	($$length(time_period) > 6 + (current_date - current_date)$$, ''),
	($$(string_to_array(time_period, '_'))[2] = 'Q2'$$, ''),
	($$(string_to_array(time_period, '_'))[2 + (current_date - current_date)] = 'Q3'$$, ''),
	($$CASE WHEN now() > '2000-01-01' THEN time_period = '2026_Q1' ELSE time_period = '2026_Q2' END$$, ''),
	($$CASE extract(year FROM now()) WHEN 1999 THEN time_period = '2026_Q1' ELSE time_period = '2026_Q2' END$$, ''),
	($$time_period = CASE current_user WHEN 'nobody' THEN '2026_Q1' ELSE '2026_Q2' END$$, ''),
	($$time_period = coalesce(nullif(current_setting('regress_where.none', true), ''), to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q'))$$, ''),
	($$time_period = greatest('2026_Q2', to_char(timestamptz '2025-05-01' + (now() - now()), 'YYYY"_Q"Q'))$$, ''),
	($$time_period = (jsonb_build_object('at', now()) || '{"q": "2026_Q2"}') ->> 'q'$$, ''),
	($$time_period = to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q') AND owner_email < 'd'$$, ''),
	($$time_period = to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q') AND owner_email < 'd' OR time_period = '2025_Q1'$$, ''),
	($$time_period = '2026_Q2' AND owner_email < 'd' OR now() < '2000-01-01'$$, ''),
	($$time_period = to_char(timestamptz '2026-05-01' + (clock_timestamp() - clock_timestamp()), 'YYYY"_Q"Q')$$, ''),
	($$time_period = '2026_Q' || 2 + (random() * 0)::int$$, ''),
	($$time_period = current_setting('regress_where.quarter')::quarter$$, ''),
	($$time_period = '2026_Q' || length(current_setting('regress_where.quarter'))::text::int / 3$$, ''),
	($$time_period = own(to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q'))$$, ''),
	($$time_period = this_quarter()$$, ''),
	($$time_period IN (this_quarter(), '2025_Q1')$$, ''),
	($$time_period = $1 || '_Q' || $2$$, $$('2026', '2')$$),
	($$time_period = $1::int || '_Q' || $2::int$$, $$(2026, 2)$$),
	($$time_period = '2026_Q' || $1::int$$, $$(2)$$),
	($$time_period = '2026_Q' || $1::numeric$$, $$(2)$$),
	($$time_period = '2026_Q' || ($1::int + 1)$$, $$(1)$$),
	($$time_period = '2026_Q' || ceil($1::numeric / 3)$$, $$(5)$$),
	($$time_period = '2026_Q' || $1::text::int$$, $$('02')$$),
	($$time_period = '2026_Q' || greatest($1::int, 2)$$, $$(1)$$),
	($$time_period = to_char(timestamptz '2026-05-01' AT TIME ZONE $1, 'YYYY"_Q"Q')$$, $$('UTC')$$),
	($$extract(quarter FROM $1::date)::text = right(time_period, 1)$$, $$('2026-05-01')$$),
	($$time_period = to_char($1::date, 'YYYY"_Q"Q')$$, $$('2026-05-01')$$),
	($$time_period = to_char($1::timestamptz + interval '3 months', 'YYYY"_Q"Q')$$, $$('2026-02-01')$$),
	($$time_period = extract(year FROM $1::date) || '_Q' || extract(quarter FROM $1::date)$$, $$('2026-05-01')$$),
	($$time_period = upper($1)$$, $$('2026_q2')$$),
	($$time_period = own($1)$$, $$('2026_Q2')$$),
	($$time_period = $1::varchar$$, $$('2026_Q2')$$),
	($$time_period = $1::varchar(7)$$, $$('2026_Q2')$$),
	($$time_period = $1::bpchar::text$$, $$('2026_Q2')$$),
	($$time_period = $1::name::text$$, $$('2026_Q2')$$),
	($$time_period = $1::quarter$$, $$('2026_Q2')$$),
	($$time_period = $1::text_c$$, $$('2026_Q2')$$),
	($$time_period = ANY ($1::varchar[])$$, $$('{2025_Q3,NULL,2026_Q3}')$$),
	($$time_period = ANY ($1::bpchar[]::text[])$$, $$('{2025_Q3,NULL,2026_Q3}')$$),
	($$time_period = ANY ($1::name[]::text[])$$, $$('{2025_Q3,NULL,2026_Q3}')$$),
	($$time_period <> ALL ($1::varchar[])$$, $$('{2025_Q3,2026_Q3}')$$),
	($$time_period LIKE ANY ($1::varchar[])$$, $$('{2025%,%Q3}')$$),
	($$time_period = ANY (string_to_array($1, ','))$$, $$('2025_Q3,2026_Q3')$$),
	($$time_period = ($1::text[])[1]$$, $$('{2026_Q2,2026_Q3}')$$),
	($$time_period = ($1::varchar[])[2]$$, $$('{2026_Q2,2026_Q3}')$$),
	($$time_period = ($1::text[])[$2::int]$$, $$('{2026_Q2,2026_Q3}', 2)$$),
	($$time_period = ($1::text[])[3]$$, $$('{2026_Q2,2026_Q3}')$$),
	($$time_period = ANY (($1::text[])[1:2])$$, $$('{2026_Q2,2026_Q3,2026_Q4}')$$),
	($$time_period = (ARRAY['2026_Q1', '2026_Q2'])[$1::int]$$, $$(2)$$),
	($$time_period = $1::jsonb ->> 'q'$$, $$('{"q": "2026_Q2"}')$$),
	($$time_period = $1 OR $1 IS NULL$$, $$('2026_Q2')$$),
	($$time_period = $1 OR $1 IS NULL$$, $$(NULL)$$),
	($$time_period = $1 AND owner_email < 'd' OR $2::boolean$$, $$('2026_Q2', false)$$),
	($$CASE WHEN $1::int > 0 THEN time_period = '2026_Q' || $1::int ELSE time_period = '2025_Q1' END$$, $$(2)$$),
	($$CASE $1::text WHEN 'last' THEN '2025_Q4' WHEN 'this' THEN '2026_Q1' END = time_period$$, $$('this')$$),
	($$time_period = '2026_Q' || (SELECT n + 1 FROM quarters WHERE n = 1)$$, ''),
	($$time_period = ANY ((ARRAY(SELECT q FROM quarters WHERE n < 4 ORDER BY n))[1:2])$$, ''),
	($$time_period = to_char((SELECT date '2026-05-01' FROM quarters WHERE n = 1), 'YYYY"_Q"Q')$$, '');
INSERT INTO kinds (source, clause, args) VALUES
	('quarters AS o, LATERAL (SELECT * FROM f WHERE time_period = ''2026_Q'' || n OFFSET 0) AS f', $$n IN (1, 3)$$, ''),
	('quarters AS o, LATERAL (SELECT * FROM f WHERE time_period = to_char(date ''2026-02-01'' + n * 90, ''YYYY"_Q"Q'') OFFSET 0) AS f', $$n = 1$$, ''),
	('quarters AS o, LATERAL (SELECT * FROM f WHERE time_period = (string_to_array(q || '',2025_Q1'', '',''))[n] OFFSET 0) AS f', $$n < 3$$, ''),
	('quarters AS o LEFT JOIN (SELECT n, coalesce(q, ''2025_Q1'') AS q2 FROM quarters) AS p USING (n),
		LATERAL (SELECT * FROM f WHERE time_period = p.q2 OFFSET 0) AS f', $$n IN (1, 4)$$, ''),
	('quarters AS o LEFT JOIN (SELECT upper(time_period) AS t, * FROM f) AS f ON t = ''2026_Q2'' AND n = 1', $$n < 3$$, ''),
	('quarters AS o LEFT JOIN (SELECT coalesce(time_period, '''') AS t, * FROM f) AS f ON left(t, 4) = ''2026'' AND t LIKE ''%Q3''', $$n = 2$$, ''),
	('quarters AS o LEFT JOIN (SELECT coalesce(time_period, ''none'') AS t, * FROM f) AS f ON n = length(t)', $$coalesce(t, '2026_Q2') = '2026_Q2'$$, ''),
	('(SELECT * FROM f WHERE time_period = ''2025_Q1'' UNION ALL SELECT * FROM f_c WHERE $1 ~ ''^[1-4]$'' AND time_period = ''2026_Q'' || $1::text::int) AS f',
		$$true$$, $$('last')$$),
	('(SELECT * FROM f WHERE time_period = ''2025_Q1'' UNION ALL SELECT * FROM f_c WHERE $1 ~ ''^[1-4]$'' AND time_period = ''2026_Q'' || $1::text::int) AS f',
		$$true$$, $$('2')$$);
INSERT INTO kinds (source, clause, args) SELECT source || ' AS f', clause, args
	FROM unnest('{f_c,f_varchar,f_domain,f_char,f_name,f_nocase}'::text[]) WITH ORDINALITY AS s(source, n), (VALUES
		(1, $$time_period = to_char(timestamptz '2026-05-01' + (now() - now()), 'YYYY"_Q"Q')$$, ''),
		(2, $$time_period = '2026_Q' || $1::int$$, $$(2)$$),
		(3, $$time_period = ANY ($1::varchar[])$$, $$('{2025_Q3,NULL,2026_Q3}')$$)) AS c(m, clause, args)
	ORDER BY s.n, m;

-- A column of another type.
INSERT INTO kinds (source, clause) SELECT source || ' AS f', clause
	FROM unnest('{f_c,f_varchar,f_domain,f_char,f_name,f_nocase}'::text[]) WITH ORDINALITY AS s(source, n), unnest(ARRAY[
		$$time_period = '2026_Q1'$$, $$time_period IN ('2025_Q2', '2026_Q3')$$, $$time_period >= '2026_Q3'$$,
		$$time_period::text COLLATE "C" LIKE '2026%'$$, $$again = '2026_Q1'$$]) WITH ORDINALITY AS c(clause, m)
	ORDER BY s.n, m;
INSERT INTO kinds (source, clause) VALUES ('f_nocase AS f', $$time_period IN ('2026_q1', '2026_q2')$$);

SELECT source, clause, args, periods, reads, same
	FROM kinds, compare(source, clause, args) ORDER BY kinds.n;

-- Most kinds find rows; and without pruning, whatever is read is read whole.
SELECT count(*) AS kinds, count(DISTINCT clause) AS clauses, count(*) FILTER (WHERE rows <> '0' OR source LIKE 'f_nocase%') AS found,
	bool_and(same) AS same, bool_and(unpruned = 'all' OR unpruned = 'none' AND rows = '0') AS unpruned
	FROM kinds, compare(source, clause, args);

-- What EXPLAIN names is read, or less than that.
SELECT clause, periods, reads FROM kinds, compare(source, clause, args)
	WHERE periods NOT IN ('all', 'none') AND reads <> 'none' AND periods <> reads AND periods NOT LIKE '% and %';

-- Collations that contradict each other: a plan, and PostgreSQL's own error where there is a row to compare.
CREATE FUNCTION named(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line ~ 'Periods:' THEN
			RETURN NEXT trim(line);
		END IF;
	END LOOP;
END $$;
\set VERBOSITY sqlstate
SET plan_cache_mode = force_generic_plan;
SET search_path = regress_where_foreign, regress_where;
PREPARE conflict(text_posix) AS SELECT count(*) FROM f_c WHERE time_period = $1;
SELECT named($$EXECUTE conflict('2026_Q1')$$);
EXECUTE conflict('2026_Q1');
PREPARE conflicts(text_posix[]) AS SELECT count(*) FROM f_c WHERE owner_name <> '' AND time_period = ANY ($1);
SELECT named($$EXECUTE conflicts('{2026_Q1}')$$);
EXECUTE conflicts('{2026_Q1}');
CREATE FOREIGN TABLE collations (owner_name text COLLATE "C", owner_email text COLLATE "POSIX", time_period text COLLATE "C", again text OPTIONS (key 'time_period') COLLATE "POSIX")
	SERVER clari OPTIONS (forecast 'net_arr', periods '2025_Q1..2026_Q4');
SELECT named('SELECT count(*) FROM collations WHERE owner_name = owner_email');
SELECT count(*) FROM collations WHERE owner_name = owner_email;
SELECT count(*) FROM collations WHERE time_period = again;
SELECT count(*) FROM collations WHERE (time_period, owner_name) < (again, owner_email);
SELECT count(*) FROM collations WHERE owner_name = ANY (ARRAY[owner_email]);
SELECT count(*) FROM collations WHERE time_period = again AND owner_name IS NULL AND owner_name IS NOT NULL;
SELECT count(*) FROM collations WHERE time_period = '2026_Q1' AND time_period || again = '2026_Q12026_Q1' COLLATE "C";
\set VERBOSITY default
RESET plan_cache_mode;
SET search_path = regress_where;

DROP SCHEMA regress_where, regress_where_foreign, regress_where_heap CASCADE;
DROP EXTENSION clari_fdw CASCADE;
