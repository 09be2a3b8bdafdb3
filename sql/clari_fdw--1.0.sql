/* clari_fdw--1.0.sql: the objects of extension clari_fdw; see doc/clari_fdw.md for what they do */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION clari_fdw" to load this file. \quit

/*
 * Every script begins with this call, with its own version, so that a library that
 * is too old for the objects says so, instead of failing at the first function that
 * it lacks.
 */
CREATE FUNCTION clari_check_library(version text) RETURNS void
AS 'MODULE_PATHNAME', 'clari_check_library' LANGUAGE C STRICT;
SELECT @extschema@.clari_check_library('1.0'::pg_catalog.text);

/*
 * Everybody may call this.  After an upgrade the two versions differ until the
 * objects are updated, or the session no longer has the older library loaded.
 */
CREATE FUNCTION clari_version(OUT library text, OUT extension text)
AS 'MODULE_PATHNAME', 'clari_version' LANGUAGE C STRICT STABLE PARALLEL RESTRICTED;
COMMENT ON FUNCTION clari_version() IS 'versions of the library and of the SQL objects';

CREATE FUNCTION clari_fdw_handler() RETURNS fdw_handler
AS 'MODULE_PATHNAME', 'clari_fdw_handler' LANGUAGE C STRICT;

CREATE FUNCTION clari_fdw_validator(text[], oid) RETURNS void
AS 'MODULE_PATHNAME', 'clari_fdw_validator' LANGUAGE C STRICT;

CREATE FOREIGN DATA WRAPPER clari_fdw HANDLER clari_fdw_handler VALIDATOR clari_fdw_validator;

/*
 * Functions that use quota, or cancel or remove exports.  Those that take a relation
 * check the caller's SELECT privilege on it, and the caller's user mapping.
 */
CREATE FUNCTION clari_prefetch(relation regclass, periods text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_prefetch' LANGUAGE C;
COMMENT ON FUNCTION clari_prefetch(regclass, text[]) IS 'queues exports of what is not cached, and does not wait for them';

CREATE FUNCTION clari_refresh(relation regclass, periods text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_refresh' LANGUAGE C;
COMMENT ON FUNCTION clari_refresh(regclass, text[]) IS 'starts new exports, and waits for them';

CREATE FUNCTION clari_invalidate(relation regclass DEFAULT NULL, periods text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_invalidate' LANGUAGE C;
COMMENT ON FUNCTION clari_invalidate(regclass, text[]) IS 'removes exports from the cache';

CREATE FUNCTION clari_cancel(relation regclass, periods text[] DEFAULT NULL) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_cancel' LANGUAGE C;
COMMENT ON FUNCTION clari_cancel(regclass, text[]) IS 'cancels exports that are queued or under way, also at Clari';

CREATE FUNCTION clari_cancel_export(flight bigint) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_cancel_export' LANGUAGE C STRICT;
COMMENT ON FUNCTION clari_cancel_export(bigint) IS 'cancels an export by its number, whoever queued it; for superusers';

-- There must be no SET clause: it would make the call atomic, and the procedure could not commit.
CREATE PROCEDURE clari_sync(
	relation regclass,
	periods text[] DEFAULT NULL,
	target regclass DEFAULT NULL,
	delete_missing boolean DEFAULT false,
	max_age interval DEFAULT '0',
	max_deleted double precision DEFAULT 0.5)
AS 'MODULE_PATHNAME', 'clari_sync' LANGUAGE C;
COMMENT ON PROCEDURE clari_sync(regclass, text[], regclass, boolean, interval, float8)
	IS 'exports quarters whose export is older than max_age, and merges them into a table of forecasts';

/*
 * Exports that are cached or under way, and counters.  The functions in a view run
 * with the rights of the user who queries it, so both need a GRANT.
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
COMMENT ON FUNCTION clari_stats_reset() IS 'resets the counters of clari_stats';

CREATE VIEW clari_cache AS SELECT * FROM @extschema@.clari_cache_entries();
CREATE VIEW clari_exports AS SELECT * FROM @extschema@.clari_export_flights();
CREATE VIEW clari_stats AS SELECT * FROM @extschema@.clari_stats_counters();

/* A test compares these comments on columns with the descriptions in the reference. */
COMMENT ON VIEW clari_cache IS 'exports that are cached, failed or under way';
COMMENT ON COLUMN clari_cache.identity IS 'identity of the export, as in EXPLAIN (VERBOSE); distinguishes exports by API key, currency, types and scope';
COMMENT ON COLUMN clari_cache.base_url IS 'base_url of the server';
COMMENT ON COLUMN clari_cache.forecast IS 'the forecast''s id; for the account, clari_account.limits or clari_account.jobs';
COMMENT ON COLUMN clari_cache.time_period IS 'the quarter requested; current if none was named; null for the account';
COMMENT ON COLUMN clari_cache.state IS 'ready, failed, queued, exporting or downloading';
COMMENT ON COLUMN clari_cache.tier IS 'where the rows are: memory or disk; null if there are none yet';
COMMENT ON COLUMN clari_cache.rows IS 'number of entries of the export, or of rows of the account''s table';
COMMENT ON COLUMN clari_cache.bytes IS 'size in that tier';
COMMENT ON COLUMN clari_cache.exported_at IS 'when Clari finished the export';
COMMENT ON COLUMN clari_cache.expires_at IS 'when the export becomes too old for the table that requested it last';
COMMENT ON COLUMN clari_cache.hits IS 'number of look-ups that it has served';
COMMENT ON COLUMN clari_cache.job_id IS 'Clari''s id of the job';
COMMENT ON COLUMN clari_cache.error IS 'error of the last attempt, until an attempt succeeds';
COMMENT ON VIEW clari_exports IS 'exports that are queued or under way';
COMMENT ON COLUMN clari_exports.flight IS 'number of the export, for clari_cancel_export';
COMMENT ON COLUMN clari_exports.identity IS 'identity of the export, as in clari_cache';
COMMENT ON COLUMN clari_exports.base_url IS 'base_url of the server';
COMMENT ON COLUMN clari_exports.forecast IS 'the forecast''s id';
COMMENT ON COLUMN clari_exports.time_period IS 'the quarter requested, as in clari_cache';
COMMENT ON COLUMN clari_exports.phase IS 'step of the export, such as queued, posting, polling or downloading';
COMMENT ON COLUMN clari_exports.job_id IS 'Clari''s id of the job, once it is known';
COMMENT ON COLUMN clari_exports.started_at IS 'when the export was queued';
COMMENT ON COLUMN clari_exports.bytes IS 'number of bytes of the file received so far, decompressed';
COMMENT ON COLUMN clari_exports.entries IS 'number of entries received so far';
COMMENT ON COLUMN clari_exports.polls IS 'number of requests for the state of the job';
COMMENT ON COLUMN clari_exports.retries IS 'number of retries of all steps';
COMMENT ON COLUMN clari_exports.waiters IS 'number of statements that wait for the export';
COMMENT ON COLUMN clari_exports.next_try_at IS 'time of the next step';
COMMENT ON VIEW clari_stats IS 'counters of the whole cluster';
COMMENT ON COLUMN clari_stats.hits IS 'look-ups served by a fresh export';
COMMENT ON COLUMN clari_stats.stale_hits IS 'look-ups served by a stale export';
COMMENT ON COLUMN clari_stats.misses IS 'look-ups that queued an export';
COMMENT ON COLUMN clari_stats.exports IS 'exports that Clari accepted; these use quota';
COMMENT ON COLUMN clari_stats.taken_up IS 'existing jobs that were found and used instead of another export';
COMMENT ON COLUMN clari_stats.downloads IS 'downloads of files';
COMMENT ON COLUMN clari_stats.retries IS 'retries of all steps';
COMMENT ON COLUMN clari_stats.failures IS 'exports that failed';
COMMENT ON COLUMN clari_stats.cancellations IS 'exports that were canceled';
COMMENT ON COLUMN clari_stats.bytes IS 'bytes decoded';
COMMENT ON COLUMN clari_stats.entries IS 'entries decoded';
COMMENT ON COLUMN clari_stats.memory_evictions IS 'exports evicted from shared memory';
COMMENT ON COLUMN clari_stats.disk_evictions IS 'exports evicted from disk';
COMMENT ON COLUMN clari_stats.damaged_files IS 'damaged files that were removed';
COMMENT ON COLUMN clari_stats.stats_since IS 'when counting began';

/*
 * These functions run with the caller's rights.  They look up only the caller's
 * tables by the caller's search_path, and nothing else.
 */
CREATE FUNCTION clari_create_tables(distributed boolean DEFAULT false, key text DEFAULT 'owner_email') RETURNS void
AS 'MODULE_PATHNAME', 'clari_create_tables' LANGUAGE C;
COMMENT ON FUNCTION clari_create_tables(boolean, text)
	IS 'creates clari_forecasts, staging_clari and clari_syncs in the current schema';

CREATE FUNCTION clari_merge(
	target regclass DEFAULT NULL,
	source regclass DEFAULT NULL,
	delete_missing boolean DEFAULT false,
	OUT inserted bigint,
	OUT updated bigint,
	OUT unchanged bigint,
	OUT deleted bigint,
	OUT skipped bigint)
AS 'MODULE_PATHNAME', 'clari_merge' LANGUAGE C;
COMMENT ON FUNCTION clari_merge(regclass, regclass, boolean)
	IS 'merges staged rows into a table of forecasts, and returns the numbers of rows inserted, updated, unchanged, deleted and skipped';

/*
 * History: tables, a function and a view are created next to the target, with the
 * caller's rights.  The function that the triggers call belongs to the extension, so
 * that the extension cannot be dropped while the triggers exist, except by CASCADE.
 */
CREATE FUNCTION clari_record_history() RETURNS trigger
AS 'MODULE_PATHNAME', 'clari_record_history' LANGUAGE C;

CREATE FUNCTION clari_track_history(target regclass DEFAULT NULL) RETURNS regclass
AS 'MODULE_PATHNAME', 'clari_track_history' LANGUAGE C;
COMMENT ON FUNCTION clari_track_history(regclass) IS 'starts to keep the history of a table of forecasts: each version of each row';

CREATE FUNCTION clari_untrack_history(target regclass DEFAULT NULL) RETURNS void
AS 'MODULE_PATHNAME', 'clari_untrack_history' LANGUAGE C;
COMMENT ON FUNCTION clari_untrack_history(regclass) IS 'stops keeping the history of a table of forecasts; the history so far remains';

CREATE FUNCTION clari_prune_history(target regclass, older_than interval) RETURNS bigint
AS 'MODULE_PATHNAME', 'clari_prune_history' LANGUAGE C;
COMMENT ON FUNCTION clari_prune_history(regclass, interval) IS 'deletes versions that ended more than older_than ago';

/* These use quota, change data or are internal.  The administrator grants them to the users who need them. */
REVOKE ALL ON FUNCTION clari_prefetch(regclass, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_refresh(regclass, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_invalidate(regclass, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_cancel(regclass, text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_cancel_export(bigint) FROM PUBLIC;
REVOKE ALL ON PROCEDURE clari_sync(regclass, text[], regclass, boolean, interval, float8) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_merge(regclass, regclass, boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_prune_history(regclass, interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION clari_fdw_handler(), clari_fdw_validator(text[], oid), clari_check_library(text) FROM PUBLIC;

REVOKE ALL ON FUNCTION clari_cache_entries(), clari_export_flights(), clari_stats_counters(), clari_stats_reset()
	FROM PUBLIC;
REVOKE ALL ON clari_cache, clari_exports, clari_stats FROM PUBLIC;
GRANT EXECUTE ON FUNCTION clari_cache_entries(), clari_export_flights(), clari_stats_counters() TO pg_monitor;
GRANT SELECT ON clari_cache, clari_exports, clari_stats TO pg_monitor;
