-- What people do with pgsql-http: one call after the other, and the file as jsonb.  Takes :url.
CREATE EXTENSION http;

CREATE FUNCTION http_export(forecast text, period text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	url text := current_setting('bench.url');
	job text;
BEGIN
	PERFORM http_set_curlopt('CURLOPT_TIMEOUT_MS', '600000');
	SELECT content::jsonb ->> 'jobId' INTO job FROM http(('POST', url || '/export/forecast/' || forecast,
		ARRAY[http_header('apikey', 'test-key')], 'application/json', jsonb_build_object('timePeriod', period, 'typesToExport',
			'["forecast", "quota", "forecast_updated", "adjustment", "crm_total", "crm_closed"]'::jsonb)::text)::http_request);
	url := url || '/export/jobs/' || job;
	WHILE (SELECT content::jsonb ->> 'status' <> 'DONE'
		FROM http(('GET', url, ARRAY[http_header('apikey', 'test-key')], NULL, NULL)::http_request))
	LOOP
		PERFORM pg_sleep(0.25);
	END LOOP;
	RETURN (SELECT content::jsonb FROM http(('GET', url || '/results', ARRAY[http_header('apikey', 'test-key')], NULL, NULL)::http_request));
END $$;
