/* clari_fdw--1.0.sql: the objects of extension clari_fdw; see doc/clari_fdw.md for what they do */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION clari_fdw" to load this file. \quit

/*
 * Every script begins with this question, with its own version: an older library
 * than the objects need shall say so, and not fail at the first that it lacks.
 */
CREATE FUNCTION clari_check_library(version text) RETURNS void
AS 'MODULE_PATHNAME', 'clari_check_library' LANGUAGE C STRICT;
SELECT @extschema@.clari_check_library('1.0'::pg_catalog.text);

CREATE FUNCTION clari_fdw_handler() RETURNS fdw_handler
AS 'MODULE_PATHNAME', 'clari_fdw_handler' LANGUAGE C STRICT;

CREATE FUNCTION clari_fdw_validator(text[], oid) RETURNS void
AS 'MODULE_PATHNAME', 'clari_fdw_validator' LANGUAGE C STRICT;

CREATE FOREIGN DATA WRAPPER clari_fdw HANDLER clari_fdw_handler VALIDATOR clari_fdw_validator;

/*
 * What spends quota, reads or deletes.  Each checks SELECT on the relation and
 * the caller's user mapping for itself.
 */
CREATE FUNCTION clari_prefetch(relation regclass, periods text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_prefetch' LANGUAGE C;
COMMENT ON FUNCTION clari_prefetch(regclass, text[]) IS 'queues exports of what is not cached, and returns';

CREATE FUNCTION clari_refresh(relation regclass, periods text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_refresh' LANGUAGE C;
COMMENT ON FUNCTION clari_refresh(regclass, text[]) IS 'exports anew, and waits';

CREATE FUNCTION clari_invalidate(relation regclass DEFAULT NULL, periods text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_invalidate' LANGUAGE C;
COMMENT ON FUNCTION clari_invalidate(regclass, text[]) IS 'makes the cache forget';

CREATE FUNCTION clari_cancel(relation regclass, periods text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_cancel' LANGUAGE C;
COMMENT ON FUNCTION clari_cancel(regclass, text[]) IS 'cancels exports that are under way, at Clari too';

CREATE FUNCTION clari_cancel_export(flight bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_cancel_export' LANGUAGE C STRICT;
COMMENT ON FUNCTION clari_cancel_export(bigint) IS 'cancels an export that anybody has queued; for superusers';

-- No SET clause: it would make the call atomic, and the procedure could not commit.
CREATE PROCEDURE clari_sync(
	relation regclass,
	periods text[] DEFAULT NULL,
	target regclass DEFAULT NULL,
	delete_missing boolean DEFAULT false,
	max_age interval DEFAULT '0')
AS 'MODULE_PATHNAME', 'clari_sync' LANGUAGE C;
COMMENT ON PROCEDURE clari_sync(regclass, text[], regclass, boolean, interval)
	IS 'exports, stages and merges what is older than max_age';

/*
 * What is cached and what is in flight.  A view's functions run with the rights
 * of who asks, hence the grants on both.
 */
CREATE FUNCTION clari_cache_entries()
RETURNS TABLE (identity text, base_url text, forecast text, time_period text, state text, tier text, rows bigint,
	bytes bigint, exported_at timestamptz, expires_at timestamptz, hits bigint, job_id text, error text)
AS 'MODULE_PATHNAME', 'clari_cache_entries' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

CREATE FUNCTION clari_export_flights()
RETURNS TABLE (flight bigint, identity text, base_url text, forecast text, time_period text, phase text, job_id text,
	started_at timestamptz, bytes bigint, entries bigint, polls integer, retries integer, waiters integer, next_try_at timestamptz)
AS 'MODULE_PATHNAME', 'clari_export_flights' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

CREATE FUNCTION clari_stats_counters(
	OUT hits bigint, OUT stale_hits bigint, OUT misses bigint, OUT exports bigint, OUT taken_up bigint,
	OUT downloads bigint, OUT retries bigint, OUT failures bigint, OUT cancellations bigint, OUT bytes bigint,
	OUT entries bigint, OUT memory_evictions bigint, OUT disk_evictions bigint, OUT damaged_files bigint,
	OUT stats_since timestamptz)
AS 'MODULE_PATHNAME', 'clari_stats_counters' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;

CREATE FUNCTION clari_stats_reset() RETURNS void
AS 'MODULE_PATHNAME', 'clari_stats_reset' LANGUAGE C STRICT VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION clari_stats_reset() IS 'begins the counters of clari_stats anew';

CREATE VIEW clari_cache AS SELECT * FROM @extschema@.clari_cache_entries();
CREATE VIEW clari_exports AS SELECT * FROM @extschema@.clari_export_flights();
CREATE VIEW clari_stats AS SELECT * FROM @extschema@.clari_stats_counters();

/*
 * The functions in SQL below run with the caller's rights under the caller's
 * search_path: they look tables up there, so a SET clause cannot protect them.
 * Instead every name in them is qualified, operators and types too, and every
 * argument of our own functions has their parameter's very type: others may put
 * functions of the same names beside them.  IS DISTINCT
 * FROM, IN, BETWEEN, NULLIF and USING look for "=" in the search_path and are
 * avoided; DISTINCT and ORDER BY take the type's operator class and are safe.
 */
CREATE FUNCTION clari_create_tables(distributed boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
	schema_name pg_catalog.name := pg_catalog.current_schema();
	columns CONSTANT pg_catalog.text :=
		'owner_name pg_catalog.text, owner_email pg_catalog.text, forecast_amount pg_catalog.numeric,'
		' quota_amount pg_catalog.numeric, crm_total pg_catalog.numeric, crm_closed pg_catalog.numeric,'
		' adjustment_amount pg_catalog.numeric, time_period pg_catalog.text,'
		' exported_at pg_catalog.timestamptz, forecast_name pg_catalog.text';
	made pg_catalog.regclass;
	neighbour pg_catalog.text := 'default';
	table_name pg_catalog.text;
BEGIN
	IF schema_name IS NULL THEN
		RAISE EXCEPTION 'no schema has been selected to create in'
			USING ERRCODE = 'invalid_schema_name', HINT = 'SET search_path TO the schema that shall hold the tables.';
	END IF;
	IF distributed AND NOT EXISTS (
		SELECT FROM pg_catalog.pg_extension AS e WHERE e.extname OPERATOR(pg_catalog.=) 'citus'::pg_catalog.name)
	THEN
		RAISE EXCEPTION 'cannot distribute tables: extension "citus" is not installed'
			USING ERRCODE = 'feature_not_supported', HINT = 'CREATE EXTENSION citus, or leave out "distributed".';
	END IF;
	EXECUTE pg_catalog.format(
		'CREATE TABLE IF NOT EXISTS %I.clari_forecasts (%s, PRIMARY KEY (owner_email, time_period, forecast_name))',
		schema_name, columns);
	-- What is staged can be exported again: it needs no WAL.
	EXECUTE pg_catalog.format('CREATE UNLOGGED TABLE IF NOT EXISTS %I.staging_clari (%s)', schema_name, columns);
	IF distributed THEN
		-- As clari_merge() finds them.  Citus has its functions and its catalog in pg_catalog.
		FOREACH table_name IN ARRAY '{clari_forecasts,staging_clari}'::pg_catalog.text[] LOOP
			made := @extschema@.clari_merge_table(NULL::pg_catalog.regclass, table_name);
			IF NOT EXISTS (SELECT FROM pg_catalog.pg_dist_partition AS d
				WHERE d.logicalrelid::pg_catalog.oid OPERATOR(pg_catalog.=) made::pg_catalog.oid)
			THEN
				PERFORM pg_catalog.create_distributed_table(made, 'owner_email'::pg_catalog.text, colocate_with => neighbour);
			END IF;
			neighbour := pg_catalog.format('%I.%I', schema_name, table_name);
		END LOOP;
	END IF;
END
$$;
COMMENT ON FUNCTION clari_create_tables(boolean) IS 'makes clari_forecasts and staging_clari in the current schema';

/*
 * A table that clari_merge is to use: the one given or, for NULL, the one of
 * that name in the search_path, if the caller owns it.  Ownership in so many
 * words: pg_has_role() holds for every role when a superuser asks, and he would
 * run the triggers of whoever put a table of that name into his path.
 */
CREATE FUNCTION clari_merge_table(given regclass, default_name text) RETURNS regclass
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	candidate pg_catalog.regclass := pg_catalog.to_regclass(pg_catalog.quote_ident(default_name));
	owner pg_catalog.name;
BEGIN
	IF given IS NOT NULL THEN
		RETURN given;
	END IF;
	IF candidate IS NULL THEN
		RAISE EXCEPTION 'table "%" is not in the search_path', default_name
			USING ERRCODE = 'undefined_table', HINT = 'SELECT clari_create_tables();';
	END IF;
	SELECT pg_catalog.pg_get_userbyid(c.relowner) INTO owner
		FROM pg_catalog.pg_class AS c WHERE c.oid OPERATOR(pg_catalog.=) candidate::pg_catalog.oid;
	IF owner OPERATOR(pg_catalog.<>) CURRENT_USER THEN
		RAISE EXCEPTION 'table "%" is not owned by "%"', candidate, CURRENT_USER
			USING ERRCODE = 'insufficient_privilege',
				DETAIL = pg_catalog.format('It is owned by "%s".', owner),
				HINT = 'Name the table in the call where it takes one, or put a schema of your own first in search_path'
					' and SELECT clari_create_tables().';
	END IF;
	RETURN candidate;
END
$$;

/* Raises the error for a table that lacks one of the ten columns; shows what adds them. */
CREATE FUNCTION clari_merge_check_columns(checked regclass, qualified text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
DECLARE
	missing pg_catalog.text;
	additions pg_catalog.text;
BEGIN
	SELECT pg_catalog.string_agg(c.name, ', ' ORDER BY c.position),
		pg_catalog.string_agg(pg_catalog.format('ADD COLUMN %s %s', c.name, c.type), ', ' ORDER BY c.position)
		INTO missing, additions
		FROM (VALUES
			(1, 'owner_name', 'text'), (2, 'owner_email', 'text'), (3, 'forecast_amount', 'numeric'),
			(4, 'quota_amount', 'numeric'), (5, 'crm_total', 'numeric'), (6, 'crm_closed', 'numeric'),
			(7, 'adjustment_amount', 'numeric'), (8, 'time_period', 'text'), (9, 'exported_at', 'timestamptz'),
			(10, 'forecast_name', 'text')) AS c(position, name, type)
		WHERE NOT EXISTS (
			SELECT FROM pg_catalog.pg_attribute AS a
			WHERE a.attrelid OPERATOR(pg_catalog.=) checked::pg_catalog.oid AND NOT a.attisdropped
				AND a.attname OPERATOR(pg_catalog.=) c.name::pg_catalog.name);
	IF missing IS NOT NULL THEN
		RAISE EXCEPTION 'table % lacks columns: %', qualified, missing
			USING ERRCODE = 'undefined_column', HINT = pg_catalog.format('ALTER TABLE %s %s;', qualified, additions);
	END IF;
END
$$;

/*
 * Raises the error for a table without a unique index over exactly the three key
 * columns.  Without one a key could stand in the target twice, and "updated"
 * would count it twice.
 */
CREATE FUNCTION clari_merge_check_key(checked regclass, qualified text) RETURNS void
LANGUAGE plpgsql STABLE
AS $$
BEGIN
	IF NOT EXISTS (
		SELECT FROM pg_catalog.pg_index AS i
		WHERE i.indrelid OPERATOR(pg_catalog.=) checked::pg_catalog.oid
			AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
			AND i.indnkeyatts::pg_catalog.int4 OPERATOR(pg_catalog.=) 3
			AND 3 OPERATOR(pg_catalog.=) (
				SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute AS a
				WHERE a.attrelid OPERATOR(pg_catalog.=) i.indrelid
					AND a.attname OPERATOR(pg_catalog.=) ANY
						('{owner_email,time_period,forecast_name}'::pg_catalog.name[])
					-- one by one, since behind them come the columns of INCLUDE
					AND (a.attnum OPERATOR(pg_catalog.=) i.indkey[0] OR a.attnum OPERATOR(pg_catalog.=) i.indkey[1]
						OR a.attnum OPERATOR(pg_catalog.=) i.indkey[2])))
	THEN
		RAISE EXCEPTION 'table % has no unique index on (owner_email, time_period, forecast_name)', qualified
			USING ERRCODE = 'invalid_table_definition',
				HINT = pg_catalog.format('CREATE UNIQUE INDEX ON %s (owner_email, time_period, forecast_name);', qualified);
	END IF;
END
$$;

/* How many pages a table has, with its partitions. */
CREATE FUNCTION clari_merge_pages(measured regclass) RETURNS bigint
LANGUAGE sql STABLE
AS $$
	SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_table_size(p.relid))::pg_catalog.int8, pg_catalog.pg_table_size(measured))
		OPERATOR(pg_catalog./) 8192::pg_catalog.int8
	FROM pg_catalog.pg_partition_tree(measured) AS p
$$;

/*
 * Counts are exact because the target is locked against every other writer,
 * merges included: between the count of what is new and the MERGE nothing can
 * change, and of two merges at once the second sees what the first has done.
 * The source is locked only where that takes no waiting (two sessions that stage
 * and merge in one transaction each would deadlock); elsewhere rows that others
 * commit to it meanwhile may be merged and not counted.
 *
 * Statements stay within what Citus runs on colocated tables: plain equalities
 * in ON, nothing volatile, no distribution column updated.
 */
CREATE FUNCTION clari_merge(
	target regclass DEFAULT NULL,
	source regclass DEFAULT NULL,
	delete_missing boolean DEFAULT false,
	OUT inserted bigint,
	OUT updated bigint,
	OUT unchanged bigint,
	OUT deleted bigint,
	OUT skipped bigint)
LANGUAGE plpgsql
AS $$
DECLARE
	target_id CONSTANT pg_catalog.regclass := @extschema@.clari_merge_table(target, 'clari_forecasts'::pg_catalog.text);
	source_id CONSTANT pg_catalog.regclass := @extschema@.clari_merge_table(source, 'staging_clari'::pg_catalog.text);
	target_name pg_catalog.text;
	source_name pg_catalog.text;
	source_kind pg_catalog.text;
	target_kind pg_catalog.text;
	is_temporary boolean;
	written pg_catalog.int8;
	staged pg_catalog.int8;
	keys pg_catalog.int8;
	present pg_catalog.int8;
	is_still boolean := false;
	is_distinct boolean;
	is_counted boolean := false;
	is_sorted boolean := true;
	nestloop CONSTANT pg_catalog.text := pg_catalog.current_setting('enable_nestloop');
	memory CONSTANT pg_catalog.text := pg_catalog.current_setting('work_mem');
	usable CONSTANT pg_catalog.text :=
		's.owner_email IS NOT NULL AND s.time_period IS NOT NULL AND s.forecast_name IS NOT NULL';
	same_key CONSTANT pg_catalog.text :=
		't.owner_email OPERATOR(pg_catalog.=) s.owner_email AND t.time_period OPERATOR(pg_catalog.=) s.time_period'
		' AND t.forecast_name OPERATOR(pg_catalog.=) s.forecast_name';
BEGIN
	SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind, c.relpersistence OPERATOR(pg_catalog.=) 't'::pg_catalog."char"
		INTO target_name, target_kind, is_temporary
		FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
		WHERE c.oid OPERATOR(pg_catalog.=) target_id::pg_catalog.oid;
	SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind INTO source_name, source_kind
		FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
		WHERE c.oid OPERATOR(pg_catalog.=) source_id::pg_catalog.oid;
	IF target_name IS NULL OR source_name IS NULL THEN
		RAISE EXCEPTION 'relation with OID % does not exist',
				CASE WHEN target_name IS NULL THEN target_id::pg_catalog.oid ELSE source_id::pg_catalog.oid END
			USING ERRCODE = 'undefined_table';
	END IF;
	-- Not only at the first write: until then a source that is a foreign table would have been exported.
	IF pg_catalog.current_setting('transaction_read_only'::pg_catalog.text)::pg_catalog.bool
		AND NOT is_temporary
	THEN
		RAISE EXCEPTION 'cannot execute clari_merge() in a read-only transaction' USING ERRCODE = 'read_only_sql_transaction';
	END IF;
	IF NOT target_kind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.text[]) THEN
		RAISE EXCEPTION 'cannot merge into %: it is not a table', target_name USING ERRCODE = 'wrong_object_type';
	END IF;
	IF source IS NULL AND NOT source_kind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.text[]) THEN
		RAISE EXCEPTION 'cannot merge from %: it is not a table', source_name
			USING ERRCODE = 'wrong_object_type', HINT = 'Name it in the call if you mean it.';
	END IF;

	EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', target_name);
	IF source_kind OPERATOR(pg_catalog.=) ANY ('{r,p}'::pg_catalog.text[]) THEN
		EXECUTE pg_catalog.format('LOCK TABLE %s IN ACCESS SHARE MODE', source_name);
	END IF;
	-- The owner of the schema may have put other tables in the names' places before they were locked.
	IF (pg_catalog.to_regclass(target_name)::pg_catalog.oid OPERATOR(pg_catalog.=) target_id::pg_catalog.oid
		AND pg_catalog.to_regclass(source_name)::pg_catalog.oid OPERATOR(pg_catalog.=) source_id::pg_catalog.oid) IS NOT TRUE
	THEN
		RAISE EXCEPTION 'table % or % was replaced during the call', target_name, source_name
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	PERFORM @extschema@.clari_merge_check_columns(target_id, target_name);
	PERFORM @extschema@.clari_merge_check_columns(source_id, source_name);
	PERFORM @extschema@.clari_merge_check_key(target_id, target_name);

	/*
	 * Where nobody writes to the source, and none shall until the end of the
	 * transaction.  Without waiting for who does, and not with another merge, which
	 * could both end in a deadlock; what it inherits from could change all the same.
	 */
	IF source_kind OPERATOR(pg_catalog.=) 'r'::pg_catalog.text AND NOT EXISTS (
		SELECT FROM pg_catalog.pg_inherits AS i WHERE i.inhparent OPERATOR(pg_catalog.=) source_id::pg_catalog.oid)
	THEN
		BEGIN
			EXECUTE pg_catalog.format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE NOWAIT', source_name);
			is_still := true;
		EXCEPTION WHEN lock_not_available OR insufficient_privilege THEN
			NULL;
		END;
	END IF;
	-- As many hashes as rows: no key is there twice, and the rows need not be sorted.  OFFSET keeps Citus from counting them roughly.
	EXECUTE pg_catalog.format(
		'SELECT pg_catalog.count(*), pg_catalog.count(*) OPERATOR(pg_catalog.-) pg_catalog.count(s.hash),
			pg_catalog.count(DISTINCT s.hash)
		FROM (
			SELECT CASE WHEN %s THEN pg_catalog.hash_record_extended(
				ROW(s.owner_email, s.time_period, s.forecast_name), 0::pg_catalog.int8) END AS hash
			FROM %s AS s OFFSET 0) AS s', usable, source_name) INTO staged, skipped, keys;
	is_distinct := is_still AND keys OPERATOR(pg_catalog.=) (staged OPERATOR(pg_catalog.-) skipped);
	/*
	 * What was staged a moment ago has no statistics, and the planner takes its keys
	 * for few.  An index lookup for each row pays only where the rows are fewer than
	 * the target's pages, by and large.  Otherwise all of the target is joined, in
	 * as few batches as may be, and counting its rows twice is cheaper than joining
	 * them twice; but policies could hide some.
	 */
	IF staged OPERATOR(pg_catalog.*) 4::pg_catalog.int8 OPERATOR(pg_catalog.>)
		@extschema@.clari_merge_pages(target_id)
	THEN
		PERFORM pg_catalog.set_config('enable_nestloop', 'off', true);
		IF pg_catalog.pg_size_bytes(memory) OPERATOR(pg_catalog.<) pg_catalog.pg_size_bytes('32MB') THEN
			PERFORM pg_catalog.set_config('work_mem', '32MB', true);
		END IF;
		is_counted := is_distinct AND NOT pg_catalog.row_security_active(target_id::pg_catalog.oid)
			AND NOT EXISTS (
				SELECT FROM pg_catalog.pg_trigger AS g
				WHERE NOT g.tgisinternal AND (g.tgrelid OPERATOR(pg_catalog.=) target_id::pg_catalog.oid
					OR g.tgrelid OPERATOR(pg_catalog.=) ANY (
						SELECT p.relid::pg_catalog.oid FROM pg_catalog.pg_partition_tree(target_id) AS p)));
	END IF;
	IF is_counted THEN
		EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %s', target_name) INTO present;
		-- If they are fewer by far, sort them for all that: the planner then sees that they differ, and hashes them, not the target.
		is_sorted := staged OPERATOR(pg_catalog.*) 4::pg_catalog.int8 OPERATOR(pg_catalog.<) present;
	ELSE
		-- The key is unique in the target, so this join adds no rows.
		EXECUTE pg_catalog.format(
			'SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE t.owner_email IS NULL)
			FROM (SELECT DISTINCT s.owner_email, s.time_period, s.forecast_name FROM %s AS s WHERE %s) AS s
			LEFT JOIN %s AS t ON %s', source_name, usable, target_name, same_key)
			INTO keys, inserted;
	END IF;
	IF staged OPERATOR(pg_catalog.-) skipped OPERATOR(pg_catalog.>) keys THEN
		RAISE NOTICE '% rows of % are left out for newer ones with the same key',
			staged OPERATOR(pg_catalog.-) skipped OPERATOR(pg_catalog.-) keys, source_name;
	END IF;

	/*
	 * Of rows with one key the newest counts; the rest of the order only makes the
	 * choice the same each time.  "a <> b OR (a IS NULL) <> (b IS NULL)" is a IS
	 * DISTINCT FROM b by a qualified operator: 1.0 and 1.00 are the same amount,
	 * and not written.  What is of unknown age never replaces what is of known age.
	 */
	EXECUTE pg_catalog.format(
		'MERGE INTO %1$s AS t
		USING (
			SELECT %6$s s.owner_name, s.owner_email, s.forecast_amount, s.quota_amount, s.crm_total, s.crm_closed,
				s.adjustment_amount, s.time_period, s.exported_at, s.forecast_name
			FROM %2$s AS s
			WHERE %3$s
			%7$s) AS s
		ON %4$s
		WHEN MATCHED AND (t.exported_at IS NULL OR s.exported_at OPERATOR(pg_catalog.>=) t.exported_at) AND (%5$s) THEN
			UPDATE SET owner_name = s.owner_name, forecast_amount = s.forecast_amount, quota_amount = s.quota_amount,
				crm_total = s.crm_total, crm_closed = s.crm_closed, adjustment_amount = s.adjustment_amount,
				exported_at = s.exported_at
		WHEN NOT MATCHED THEN
			INSERT (owner_name, owner_email, forecast_amount, quota_amount, crm_total, crm_closed, adjustment_amount,
				time_period, exported_at, forecast_name)
			VALUES (s.owner_name, s.owner_email, s.forecast_amount, s.quota_amount, s.crm_total, s.crm_closed,
				s.adjustment_amount, s.time_period, s.exported_at, s.forecast_name)',
		target_name, source_name, usable, same_key,
		(SELECT pg_catalog.string_agg(pg_catalog.format(
				't.%1$s OPERATOR(pg_catalog.<>) s.%1$s%2$s OR (t.%1$s IS NULL) OPERATOR(pg_catalog.<>) (s.%1$s IS NULL)',
				a.attname,
				-- An amount as the target can keep it; a cast would cut a name.
				CASE WHEN a.attname OPERATOR(pg_catalog.<>) 'owner_name'::pg_catalog.name
					THEN pg_catalog.format('::%s', pg_catalog.format_type(a.atttypid, a.atttypmod)) END), ' OR ')
			FROM pg_catalog.pg_attribute AS a
			WHERE a.attrelid OPERATOR(pg_catalog.=) target_id::pg_catalog.oid AND NOT a.attisdropped
				AND a.attname OPERATOR(pg_catalog.=) ANY
					('{owner_name,forecast_amount,quota_amount,crm_total,crm_closed,adjustment_amount}'::pg_catalog.name[])),
		CASE WHEN is_sorted THEN 'DISTINCT ON (s.owner_email, s.time_period, s.forecast_name)' END,
		CASE WHEN is_sorted THEN
			'ORDER BY s.owner_email, s.time_period, s.forecast_name, s.exported_at DESC NULLS LAST, s.owner_name,
				s.forecast_amount, s.quota_amount, s.crm_total, s.crm_closed, s.adjustment_amount' END);
	GET DIAGNOSTICS written = ROW_COUNT;
	IF is_counted THEN
		EXECUTE pg_catalog.format('SELECT pg_catalog.count(*) FROM %s', target_name) INTO inserted;
		inserted := inserted OPERATOR(pg_catalog.-) present;
	END IF;
	updated := written OPERATOR(pg_catalog.-) inserted;
	unchanged := keys OPERATOR(pg_catalog.-) written;

	deleted := 0;
	IF delete_missing THEN
		-- Of a period newer than the target's statistics the planner expects a row or none, and would compare all with all.
		PERFORM pg_catalog.set_config('enable_nestloop', 'off', true);
		-- Skipped rows hold no pair: a period whose e-mails are all hidden does not empty the target.
		EXECUTE pg_catalog.format(
			'DELETE FROM %1$s AS t
			WHERE ROW(t.forecast_name, t.time_period) OPERATOR(pg_catalog.=) ANY (
					SELECT s.forecast_name, s.time_period FROM %2$s AS s WHERE %3$s)
				AND NOT EXISTS (SELECT FROM %2$s AS s WHERE %4$s)',
			target_name, source_name, usable, same_key);
		GET DIAGNOSTICS deleted = ROW_COUNT;
	END IF;
	PERFORM pg_catalog.set_config('enable_nestloop', nestloop, true);
	PERFORM pg_catalog.set_config('work_mem', memory, true);
END
$$;
COMMENT ON FUNCTION clari_merge(regclass, regclass, boolean)
	IS 'merges staged rows into a table of forecasts, and counts what became of them';

/* Whom the administrator trusts with quota and deletion is granted these by name. */
REVOKE ALL ON FUNCTION clari_prefetch(regclass, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_refresh(regclass, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_invalidate(regclass, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_cancel(regclass, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_cancel_export(bigint) FROM PUBLIC;
REVOKE ALL ON PROCEDURE clari_sync(regclass, text[], regclass, boolean, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_merge(regclass, regclass, boolean) FROM PUBLIC;

REVOKE ALL ON FUNCTION clari_cache_entries(), clari_export_flights(), clari_stats_counters(), clari_stats_reset()
	FROM PUBLIC;
REVOKE ALL ON clari_cache, clari_exports, clari_stats FROM PUBLIC;
GRANT EXECUTE ON FUNCTION clari_cache_entries(), clari_export_flights(), clari_stats_counters() TO pg_monitor;
GRANT SELECT ON clari_cache, clari_exports, clari_stats TO pg_monitor;
