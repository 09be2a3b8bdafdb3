#!/usr/bin/python3
"""Stages rows as the guide does, by executemany, and prints the seconds that it took.

Usage: executemany.py ROWS, with PGHOST, PGPORT and so on; the rows are those of table base.
"""
import sys
import time

import psycopg2

COLUMNS = ("owner_name", "owner_email", "forecast_amount", "quota_amount", "crm_total", "crm_closed",
           "adjustment_amount", "time_period", "exported_at", "forecast_name")


def main():
    connection = psycopg2.connect("")
    cursor = connection.cursor()
    cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM base LIMIT %s", (int(sys.argv[1]),))
    rows = cursor.fetchall()
    cursor.execute("TRUNCATE staging_clari")
    connection.commit()
    statement = f"INSERT INTO staging_clari ({', '.join(COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})"
    begin = time.monotonic()
    cursor.executemany(statement, rows)
    connection.commit()
    print(time.monotonic() - begin)


main()
