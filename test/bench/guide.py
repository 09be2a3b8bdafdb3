#!/usr/bin/python3
"""The published guide's way: a thread pool, a file of JSON as the cache, executemany, MERGE.

Usage: guide.py load URL FORECAST THREADS DIRECTORY PERIOD…   export what is not cached, stage, merge; prints seconds
       guide.py scan URL FORECAST TIMES DIRECTORY PERIOD…     read the cache and sum; prints the median's seconds
       guide.py csv  URL FORECAST THREADS DIRECTORY PERIOD…   prints the rows as CSV: a program for file_fdw

Of PGHOST, PGPORT and so on; into clari_forecasts by way of staging_clari.  With DIRECTORY "-" nothing is cached.
It asks every 250 ms whether an export is done, as clari_fdw does at most.  The interpreter's start is not measured.
"""
import csv
import datetime
import json
import os
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import requests

TTL = 4 * 3600
TYPES = ["forecast", "quota", "forecast_updated", "adjustment", "crm_total", "crm_closed"]
KEYS = ("ownerName", "ownerEmail", "forecastAmount", "quotaAmount", "crmTotal", "crmClosed", "adjustmentAmount",
        "timePeriod")
COLUMNS = ("owner_name", "owner_email", "forecast_amount", "quota_amount", "crm_total", "crm_closed",
           "adjustment_amount", "time_period", "exported_at", "forecast_name")
VALUES = [name for name in COLUMNS if name not in ("owner_email", "time_period", "forecast_name")]
MERGE = f"""MERGE INTO clari_forecasts AS t USING staging_clari AS s
    ON t.owner_email = s.owner_email AND t.time_period = s.time_period AND t.forecast_name = s.forecast_name
    WHEN MATCHED THEN UPDATE SET {', '.join(f'{name} = s.{name}' for name in VALUES)}
    WHEN NOT MATCHED THEN INSERT ({', '.join(COLUMNS)}) VALUES ({', '.join('s.' + name for name in COLUMNS)})"""


def export(url, forecast, period):
    """The file of an export, made anew."""
    with requests.Session() as session:
        session.headers["apikey"] = "test-key"
        answer = session.post(f"{url}/export/forecast/{forecast}", json={"timePeriod": period, "typesToExport": TYPES})
        answer.raise_for_status()
        job = f"{url}/export/jobs/{answer.json()['jobId']}"
        while session.get(job).json()["status"] != "DONE":
            time.sleep(0.25)
        answer = session.get(f"{job}/results")
        answer.raise_for_status()
        return answer.json()


def cached(url, forecast, period, directory):
    """The same, from the file that the last call left, if it is not too old."""
    path = f"{directory}/{forecast}_{period}.json"
    if directory != "-" and os.path.exists(path) and time.time() - os.path.getmtime(path) < TTL:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    data = export(url, forecast, period)
    if directory != "-":
        with open(path, "w", encoding="utf-8") as file:
            json.dump(data, file)
    return data


def rows_of(data, forecast):
    now = datetime.datetime.now(datetime.timezone.utc)
    return [(*(entry.get(key) for key in KEYS), now, forecast) for entry in data["entries"]]


def load(url, forecast, threads, directory, periods):
    import psycopg2     # the others need no server
    connection = psycopg2.connect("")
    begin = time.monotonic()
    with ThreadPoolExecutor(max_workers=int(threads)) as pool:
        files = list(pool.map(lambda period: cached(url, forecast, period, directory), periods))
    with connection, connection.cursor() as cursor:
        cursor.execute("TRUNCATE staging_clari")
        cursor.executemany(f"INSERT INTO staging_clari ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})",
                           [row for data in files for row in rows_of(data, forecast)])
        cursor.execute(MERGE)
    print(time.monotonic() - begin)


def scan(url, forecast, times, directory, periods):
    taken = []
    for _ in range(int(times)):
        begin = time.monotonic()
        rows = [row for period in periods for row in rows_of(cached(url, forecast, period, directory), forecast)]
        sum(row[2] for row in rows)
        taken.append(time.monotonic() - begin)
    print(statistics.median(taken))


def print_csv(url, forecast, _, directory, periods):
    writer = csv.writer(sys.stdout)
    for period in periods:
        writer.writerows(rows_of(cached(url, forecast, period, directory), forecast))


def main():
    mode, url, forecast, number, directory, *periods = sys.argv[1:]
    {"load": load, "scan": scan, "csv": print_csv}[mode](url, forecast, number, directory, periods)


main()
