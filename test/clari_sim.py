#!/usr/bin/python3
"""A simulator of Clari's export API, for tests, benchmarks and the demonstration.

It behaves as the real service does, not as our client would like it to: where
the two differ, the client is wrong.  Its answers have the shapes of Clari's
OpenAPI document; those that only public clients have met are settings.  It serves
the export jobs and /admin/limits under /v4, and is steered under /_control; any
step of an export can be made to fail.

With CLARI_SIM_RECORD in the environment, a directory, it writes down each request
and its answer there, for test/conform.sh to hold against the document, and with
an answer what in it leaves the document on purpose.

The data are a pure function of the settings, the forecast, the period and the
request, so `clari_sim.py expected` (or expected_rows()) can say what a
foreign table must hold.  `clari_sim.py file` writes the file of an export.

One process, one thread per connection; State.lock guards everything that is
shared.  It listens on loopback unless told otherwise, and keeps nothing on
disk but unnamed temporary files.
"""
import argparse
import collections
import datetime as dt
import email.utils
import functools
import gzip
import hashlib
import http.client
import json
import os
import random
import re
import select
import signal
import socket
import ssl
import struct
import sys
import tempfile
import threading
import time
import traceback
import unicodedata
import urllib.parse
import uuid
import zlib
from decimal import Decimal

# ---------------------------------------------------------------- settings

# Every setting, with its default.  Each can be set for all exports, for a
# forecast, for a period, or for both; the narrowest scope wins.
DEFAULTS = {
    # the data
    "seed": 1, "version": 0, "owners": 500, "idle_users": 1,
    "drift": 0,                 # by how much a version moves amounts that are no quota: down by a third of it at most, up by all of it
    "fields": None,             # ids, or {"id","name","type","periods"}; None: <forecast>_forecast, quota
    "period_types": ["quarter"],  # of quarter, month, year: which periods the Forecast Tab is by
    "month_numbers": "fiscal",  # fiscal | calendar: whether the fiscal year's first month is M01, or January is
    "period_dates": True,       # list timePeriods has the days of its periods
    "shape": "v4",              # v4 | flat | csv | rows: the CSV's lines as objects | cells: a list of their cells, as in the document
    "lines": "gathered",        # of csv and rows: gathered | by_type: all of one data type, then of the next
    "line_end": "\r\n",
    "columns": None,            # of csv and rows, in their order; None: Clari's own
    "amount_format": "minus",   # of csv and rows: minus | parentheses | continental: 1.234,50, which cannot be read
    "weeks": None,              # weeks since the quarter began; None: all, 6 in the current quarter
    "amounts": "wild",          # wild | plain (two decimals, never null)
    "charset": "utf8",          # utf8 | latin1 | ascii: which characters names are made of
    "null_emails": 40,          # each n-th owner has none; 0: never; a divisor of 1000
    "duplicate_emails": 0,      # each n-th owner has the e-mail of the one before
    "missing_quota": 20,        # each n-th owner has no entry in quota fields
    "crm_names": "crm",         # or aggregation: crmTotal or aggregationTotal
    "scopes": {},               # scopeId -> how many of the owners are below it
    "list_order": "shuffled",   # shuffled | entries_first | entries_last | [five names]
    "entry_order": "by_field",  # by_field | by_user | shuffled
    # the calendar
    "current_quarter": "2026_Q4", "fiscal_month": 2,
    "known_periods": None,      # None: the twelve quarters up to the current one
    # the service
    "forecasts": ["net_arr", "bookings", "renewals"],
    # key, or "*" for any -> {"user","tenant","seed","no_optin":[forecasts or "*"]}; user and tenant are shown as integers
    "keys": {"test-key": {}},
    "concurrent_limit": 8, "monthly_quota": 1000, "monthly_used": 0,
    "account_currency": "USD",  # of jobs that asked for none; null: it does not say
    "tenants": {},              # tenant -> the four above
    "rate_limit": None,         # requests of a key per second
    "export_formats": ["JSON", "CSV"],  # that are to be had
    "crm_exports": True,        # or the tenant has no exports of crm_total and crm_closed
    "forecast_api": True,       # or the tenant has no synchronous read
    "job_seconds": 0.2,         # or "hold": until released
    "queue_seconds": None,      # of these SCHEDULED, or "hold"; None: a moment
    "file_name": "always",      # always | finished: unknown while the job runs | plain: without forecast and period
    "rows_truncated": False, "cells_truncated": False,
    "end_time": "auto",         # or epoch ms, or null
    "clock_skew": 0,            # seconds the service's clock is ahead
    "keep_jobs": None,          # it forgets finished jobs when there are more
    "gzip": True, "transfer": "chunked",  # chunked | length | close
    "keepalive": True,
    # the service, as only others than Clari's document show it
    "post_status": 200,
    "post_shape": "jobId",      # jobId | job: {"job":{"id":...}}
    "wrapped": False,           # job objects as {"job":{...}}
    "unknown": "absent",        # absent | null: what is not known of a job yet
    "not_found": 400,           # 400 | 404: unknown jobs and forecasts
    "limit_codes": "one",       # one | two: which limit was reached is told by the code
    "listed_jobs": "user",      # user | tenant: whose jobs a user sees
    "other_jobs": 0,            # so many jobs of other modules are in the list, before those of forecasts
}
ALL_TYPES = ("forecast", "quota", "forecast_updated", "adjustment", "crm_total", "crm_closed")
LISTS = ("entries", "users", "fields", "timePeriods", "timeFrames")
CLARI_TYPES = ("forecast", "forecast_updated")      # what Clari sends when not asked for types
JOB_STATES = ("SCHEDULED", "STARTED", "DONE", "FAILED", "CANCELLED", "ABORTED")
# What the POST of an export takes.  All but schedule may stand in the query, too.
PARAMETERS = {"timePeriod": str, "typesToExport": list, "scopeId": str, "currency": str, "includeHistorical": bool,
              "exportFormat": str, "schedule": str}


def check_settings(settings):
    unknown = sorted(set(settings) - set(DEFAULTS))
    if unknown:
        raise ValueError(f"unknown settings {unknown}; there are {sorted(DEFAULTS)}")
    for name in ("null_emails", "duplicate_emails", "missing_quota"):
        if settings.get(name) and 1000 % settings[name]:
            raise ValueError(f"{name} must divide 1000")
    return settings


def mix(*parts):
    """A large number that is always the same for the same parts."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


# ---------------------------------------------------------------- calendar

def quarter_start(period, first_month):
    """First day of a fiscal quarter; the year is named for the one it ends in."""
    year, quarter = int(period[:4]), int(period[6])
    month = first_month - 1 + 3 * (quarter - 1)
    return dt.date(year - (first_month > 1) + month // 12, month % 12 + 1, 1)


def shift_quarter(period, by):
    index = int(period[:4]) * 4 + int(period[6]) - 1 + by
    return f"{index // 4}_Q{index % 4 + 1}"


def quarter_dates(period, first_month):
    """First and last day of the quarter."""
    return (quarter_start(period, first_month),
            quarter_start(shift_quarter(period, 1), first_month) - dt.timedelta(1))


def add_months(day, months):
    month = day.month - 1 + months
    return dt.date(day.year + month // 12, month % 12 + 1, 1)


def periods_of(period, settings):
    """What list timePeriods has of the quarter, as dicts, by the tab's types."""
    first, last = quarter_dates(period, settings["fiscal_month"])
    year, quarter = period[:4], int(period[6])
    for kind in settings["period_types"]:
        if kind == "quarter":
            found = [(period, f"{period[5:]} FY{year}", f"{period[5:]} FY {year}", first, last)]
        elif kind == "month":
            starts = [add_months(first, i) for i in range(3)]
            fiscal = settings["month_numbers"] == "fiscal"
            ids = [f"{year}_M{3 * quarter - 2 + i:02d}" if fiscal else f"{start.year}_M{start.month:02d}"
                   for i, start in enumerate(starts)]
            found = [(name, f"{start:%B} FY{year}", f"{start:%B} FY {year}", start, add_months(start, 1) - dt.timedelta(1))
                     for name, start in zip(ids, starts)]
        else:
            start = quarter_start(f"{year}_Q1", settings["fiscal_month"])
            found = [(year, f"FY{year}", f"FY {year}", start, add_months(start, 12) - dt.timedelta(1))]
        for name, label, frame, start, end in found:
            yield {"id": name, "type": kind, "label": label, "frame": frame, "year": year, "start": start, "end": end}


def known_periods(settings):
    return settings["known_periods"] or [
        shift_quarter(settings["current_quarter"], -back) for back in range(12)]


def epoch_ms(day):
    return int(dt.datetime.combine(day, dt.time(), dt.timezone.utc).timestamp()) * 1000


# ---------------------------------------------------------------- people

FIRST = ["Ada", "Zoë", "José", "Søren", "Amélie", "Łukasz", "李", "Grace", "Björk", "Ümit", "Nadia", "Müge",
         "François", "Noor", "Chloé", "Σοφία", "Ivan", "Иван", "Mary Ann", "Jürgen", "Aïcha", "דוד", "Ola",
         "Ian", "Núria"]
LAST = ["Lovelace", "Müller", "O'Brien", "García", "Ångström", "Nguyễn", "小龍", "Smith", "van der Berg", "Şahin",
        "de la Cruz", "Ørsted", "Dvořák", "Núñez", "McDonald", "Kowalska", "Ferreira", "Petrov", "Lindqvist",
        "Haddad", "Okonkwo", "D'Arcy", "Béchamel", "Brontë", "Fröhlich", "Gödel", "Hopper", "Ito", "Jensen",
        "Krüger", "Lamport", "Meißner", "Naur", "Ostrom", "Peña", "Quine", "Rådström", "Sato", "Turing", "Wirth"]
SPECIAL = ['Quote "Q" Person', "Line\nBreak", "Back\\slash", "Tab\there", "100%% %%s {x} %%(u)s", "", " padded ",
           "\\.", "comma, semicolon; pipe|", "'; DROP TABLE clari_forecasts; --", "CR\r\nLF", "\\N", "NULL",
           "Emoji 😀 👩‍👩‍👧", "e\u0301 combining", "line\u2028separator", "\u0001 control", "</script>",
           "Ünïcödé «quotes»", "{curly},\"array\"", "\x7f delete", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "\ufeffBOM", "end\\"]
TEAMS = ["West", "Région Est", "Süd", "APAC", "日本", 'The "Big" Deals', "Commercial", "São Paulo"]
BLOCK = 1000                    # people repeat, with a number added, after so many
CURRENCIES = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}


def _chars(words, charset):
    codec = {"utf8": "utf-8", "latin1": "latin-1", "ascii": "ascii"}[charset]
    return [w for w in words if w.encode(codec, "ignore").decode(codec) == w]


def _name(k, charset):
    if k % 25 == 7:
        pool = _chars(SPECIAL, charset)
        return pool[k // 25 % len(pool)]
    first, last = _chars(FIRST, charset), _chars(LAST, charset)
    return f"{first[k % len(first)]} {last[k // 25 % len(last)]}%(b)s"


def _email(k, charset):
    name = _name(k, charset).replace("%(b)s", "")
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    local = re.sub("[^a-z]+", ".", plain).strip(".") or "owner"
    return f"{local}.{k}%(d)s@example.com"


@functools.lru_cache(maxsize=8)
def user_templates(prefix, charset, null_emails, duplicate_emails):
    """A thousand users as %-formats (u, p: the number of this and of the previous
    one; b, d: the block), and the same as JSON text, escaped in either way."""
    users = []
    for k in range(BLOCK):
        team = _chars(TEAMS, charset)
        mail = k - 1 if duplicate_emails and k % duplicate_emails == duplicate_emails - 1 else k
        nobody = null_emails and mail % null_emails == null_emails - 1
        users.append({
            "userId": prefix + "%(u)s", "name": _name(k, charset),
            "email": None if nobody else _email(mail, charset), "scopeId": "%(u)s::REP",
            "crmId": "0055e" + ("%(p)s" if k % 50 == 49 else "%(u)s") + "AAAAA",
            "hierarchyId": f"h{k % 8}", "hierarchyName": team[k % 8 % len(team)],
            "parentHierarchyId": "root" if k % 8 else None, "parentHierarchyName": "World" if k % 8 else None})
    texts = [json.dumps(user, ensure_ascii=k % 2 == 1, separators=(",", ":")) for k, user in enumerate(users)]
    return users, texts


def user_holes(u):
    block = u // BLOCK
    return {"u": f"{u:08d}", "p": f"{u - 1:08d}", "b": f" {block + 1}" if block else "",
            "d": f".{block + 1}" if block else ""}


# ---------------------------------------------------------------- amounts

class Amount(str):
    """A JSON number, as it is written in the file; # stands for the entry's number."""


ABSENT = object()
PLAIN = ["#.45", "#.10", "1#.00", "#.99", "2#.05"]
WILD = PLAIN + [
    "1234567890123.45", "0.10", "1e3", "-0.005", "0", "9007199254740993", None, ABSENT, "-#.50", "#", "3#.5",
    "18446744073709551617", "#.123456789", "0.00", "-0", "2.50E-3", "#e2", "4#.07", "5#.31", "-1#.25", "6#.08",
    "123456789012345678901234567890.12", "#.4", "7#.62", "8#.11", "9#.01", None, "#0.20"]
TEMPLATES = 251                 # entries repeat, but for their number, after so many


def numeric_out(literal):
    """What numeric_out prints for a JSON number."""
    if literal is None:
        return None
    value = Decimal(literal)
    return format(abs(value) if value == 0 else value, "f")


def for_people(literal, style, currency):
    """An amount as Clari's CSV has it, with all of its digits."""
    sign, digits = ("-", numeric_out(literal)[1:]) if numeric_out(literal)[0] == "-" else ("", numeric_out(literal))
    whole, point, fraction = digits.partition(".")
    text = CURRENCIES.get(currency, "$") + f"{int(whole):,}" + point + fraction
    if style == "continental":
        return sign + text.translate(str.maketrans(",.", ".,"))
    return f"({text})" if sign and style == "parentheses" else sign + text


def timestamp_out(ms):
    """What timestamptz_out prints in UTC."""
    if ms is None:
        return None
    when = dt.datetime.fromtimestamp(ms // 1000, dt.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
    fraction = f".{ms % 1000:03d}".rstrip("0") if ms % 1000 else ""
    return f"{when}{fraction}+00"


def to_json(value):
    if isinstance(value, Amount):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join([f'"{k}":{to_json(v)}' for k, v in value.items()]) + "}"
    return json.dumps(value, ensure_ascii=False)


class Series:
    """The entries of one field in one week: one per owner, each either as a dict
    (record) or quickly, very many at a time, as JSON text (texts)."""

    def __init__(self, data, field, period, week):
        self.data, self.field, self.period, self.week = data, field, period, week
        self.base = mix(data.seed, data.forecast, period, field["fieldId"], week)
        self.start_ms = epoch_ms(data.frames[week]["startDate"])
        self.head = '{"fieldId":%s,"userId":"%s' % (json.dumps(field["fieldId"]), data.prefix)
        self.tails = {}
        self.template = functools.lru_cache(maxsize=None)(self._template)

    def owners(self, users):
        every = self.data.settings["missing_quota"]
        if self.field["fieldType"] != "QUOTA" or not every:
            return users
        return [u for u in users if u % every != every - 1]

    def _amount(self, k, attribute, plain):
        pool = PLAIN if plain else WILD
        text = pool[(k * 7 + attribute * 13) % len(pool)]
        return Amount(text) if isinstance(text, str) else text

    def _touched(self, k, by, on, done):
        """Who changed a value and when; nobody: null, or absent."""
        if done:
            user = k % self.data.owners
            return {by: f"{self.data.prefix}{user:08d}", on: self.start_ms + k * 2_000_003}
        return {by: None, on: None} if k % 2 else {}

    def _template(self, k, plain):
        """What an entry says after fieldId and userId, # standing for its number."""
        data, types = self.data, self.data.types
        entry = {"timePeriodId": self.period, "timeFrameId": data.frames[self.week]["timeFrameId"]}
        if self.field["fieldType"] == "QUOTA":
            entry["quotaValue"] = self._amount(k, 1, plain)
        else:
            if "forecast" in types:
                entry["forecastValue"] = self._amount(k, 0, plain)
            if "forecast_updated" in types:
                updated = None if k % 17 == 5 else k % 3 != 0
                entry["isUpdated"] = updated
                entry.update(self._touched(k, "updatedBy", "updatedOn", updated))
            if "adjustment" in types:
                value = entry["adjustmentValue"] = self._amount(k, 2, plain)
                entry.update(self._touched(k + 1, "adjustedBy", "adjustedOn", isinstance(value, str)))
            crm = data.settings["crm_names"]
            if "crm_total" in types:
                entry[crm + "Total"] = self._amount(k, 3, plain)
            if "crm_closed" in types:
                entry[crm + "Closed"] = self._amount(k, 4, plain)
        if data.currency:
            entry["currency"] = {"code": data.currency, "symbol": CURRENCIES.get(data.currency, data.currency)}
        return {name: value for name, value in entry.items() if value is not ABSENT}

    def _place(self, u):
        """Template, whether plain, and number of an owner's entry."""
        revision = self.data.revision(u)
        number = (u * 2654435761 + self.base) % 8_999_993 + 1_000_000 + revision
        drift = self.data.settings["drift"]
        if drift and revision and self.field["fieldType"] != "QUOTA":
            number = max(1, number - drift // 3 + mix(u, revision) % (drift + drift // 3))
        return (u * 7 + self.base) % TEMPLATES, self.data.plain or revision > 0, number

    def record(self, u):
        k, plain, number = self._place(u)
        entry = {"fieldId": self.field["fieldId"], "userId": f"{self.data.prefix}{u:08d}"}
        for name, value in self.template(k, plain).items():
            entry[name] = Amount(value.replace("#", str(number))) if isinstance(value, Amount) else value
        return entry

    def _tail(self, k, plain):
        """The JSON after the user's id, cut where the number goes."""
        if (k, plain) not in self.tails:
            self.tails[k, plain] = ('",' + to_json(self.template(k, plain))[1:]).split("#")
        return self.tails[k, plain]

    def text(self, u):
        k, plain, number = self._place(u)
        return f"{self.head}{u:08d}{str(number).join(self._tail(k, plain))}"

    def texts(self, users):
        """As [self.text(u) for u in users], but some times faster."""
        if self.data.settings["version"]:
            return [self.text(u) for u in users]
        head, base, plain = self.head, self.base, self.data.plain
        tails = [self._tail(k, plain) for k in range(TEMPLATES)] if len(users) > TEMPLATES else None
        if tails is None:
            return [self.text(u) for u in users]
        return [f"{head}{u:08d}"
                f"{str((u * 2654435761 + base) % 8_999_993 + 1_000_000).join(tails[(u * 7 + base) % TEMPLATES])}"
                for u in users]


# ---------------------------------------------------------------- the file of an export

LINE_COLUMNS = ["User", "Email", "CRM User ID", "Role", "Parent Role", "Timeframe", "Field", "Week", "Start Day", "End Day",
                "Data Type", "Data Value"]
# Clari's document shows the first two names; the others are made like them.
DATA_TYPES = {"forecastValue": "Forecast Value", "isUpdated": "Forecast Updated", "quotaValue": "Quota Value",
              "adjustmentValue": "Adjustment Value", "crmTotal": "CRM Total", "aggregationTotal": "CRM Total",
              "crmClosed": "CRM Closed", "aggregationClosed": "CRM Closed"}

class Data:
    """What one export holds.  `period` is the one answered with, which need not
    be the one asked for.  Pure: the same arguments give the same file."""

    def __init__(self, forecast, period, settings=None, types=ALL_TYPES, currency=None, historical=False, scope=None):
        self.settings = s = {**DEFAULTS, **check_settings(settings or {})}
        self.forecast, self.period, self.currency, self.historical = forecast, period, currency, historical
        self.types = tuple(t for t in ALL_TYPES if t in types)
        self.seed, self.plain = s["seed"], s["amounts"] == "plain"
        self.owners = min(s["owners"], s["scopes"].get(scope, s["owners"]))
        self.prefix = f"{mix(self.seed, 'users'):016x}"
        self.cycle = max(1, min(100, self.owners))
        self.frames = self._frames()
        self.periods = list(periods_of(period, s))
        self.places = [(p["id"], week) for p in self.periods for week in self._weeks(p)]
        self.weeks = sorted({week for _, week in self.places})
        self.fields = self._fields()
        self.key = json.dumps([forecast, period, self.types, currency, historical, scope, s], sort_keys=True)

    def _frames(self):
        first, last = quarter_dates(self.period, self.settings["fiscal_month"])
        weeks = (last - first).days // 7 + 1
        limit = self.settings["weeks"] or (6 if self.period == self.settings["current_quarter"] else weeks)
        starts = [first + dt.timedelta(7 * w) for w in range(min(weeks, limit))]
        return [{"timeFrameId": f"TF:{start}", "startDate": start, "endDate": min(last, start + dt.timedelta(6))}
                for start in starts]

    def _weeks(self, period):
        """The weeks that begin in the period: all, or the latest, if it has come."""
        weeks = [w for w, frame in enumerate(self.frames) if period["start"] <= frame["startDate"] <= period["end"]]
        return weeks if self.historical else weeks[-1:]

    def by_type(self, kind):
        """Places of periods of the type."""
        ids = {p["id"] for p in self.periods if p["type"] == kind}
        return [place for place in self.places if place[0] in ids]

    def shown_period(self, name):
        """What a file of this shape calls the period."""
        frames = {p["id"]: p["frame"] for p in self.periods}
        return frames[name] if self.has_lines() else name

    def _fields(self):
        """The fields that have a value of a type asked for."""
        fields = []
        for field in self.settings["fields"] or [self.forecast + "_forecast", "quota"]:
            field = {"id": field} if isinstance(field, str) else field
            kind = field.get("type", "QUOTA" if "quota" in field["id"] else "FORECAST")
            if "quota" in self.types if kind == "QUOTA" else set(self.types) - {"quota"}:
                fields.append({"fieldId": field["id"], "fieldType": kind,
                               "fieldName": field.get("name", field["id"].replace("_", " ").title())})
        return [{"fieldId": f["fieldId"], "fieldName": f["fieldName"], "fieldType": f["fieldType"]} for f in fields]

    def revision(self, u):
        """The last version that changed the owner's amounts.  Version v changes the
        owners u with u % cycle == v % cycle: 1 % of them, but at least one."""
        version = self.settings["version"]
        return max(0, version - (version - u) % self.cycle)

    @functools.cached_property
    def series(self):
        kinds = {p["id"]: p["type"] for p in self.periods}
        within = {f["id"]: f["periods"] for f in self.settings["fields"] or [] if isinstance(f, dict) and "periods" in f}
        return {(f["fieldId"], *place): Series(self, f, *place) for f in self.fields for place in self.places
                if kinds[place[0]] in within.get(f["fieldId"], kinds.values())}

    # -- the lists, as Python objects

    def user(self, u):
        holes = user_holes(u)
        return {name: value and value % holes for name, value in self._users()[0][u % BLOCK].items()}

    def _users(self):
        s = self.settings
        return user_templates(self.prefix, s["charset"], s["null_emails"], s["duplicate_emails"])

    def users(self):
        return (self.user(u) for u in range(self.owners + self.settings["idle_users"]))

    def time_periods(self):
        dates = self.settings["period_dates"]
        return [{"timePeriodId": p["id"], "type": p["type"], "label": p["label"], "year": p["year"],
                 "startDate": str(p["start"]) if dates else None, "endDate": str(p["end"]) if dates else None,
                 "crmId": f"026{mix(p['id']) % 10 ** 12:012d}"} for p in self.periods]

    def time_frames(self):
        return [{name: str(value) for name, value in self.frames[w].items()} for w in self.weeks]

    def entries(self):
        """By owner, then field, then week: not the order of the file."""
        if self.settings["shape"] == "flat":
            yield from (self.flat(u, place) for place in self.flat_places() for u in range(self.owners)
                        if self.has_entry(u, place))
            return
        for u in range(self.owners):
            for series in self.series.values():
                if series.owners([u]):
                    yield series.record(u)

    def flat_places(self):
        """The latest week of each period, as the flat shape has no weeks."""
        return list({place[0]: place for place in self.places}.values())

    def has_entry(self, u, place):
        return any(key[1:] == place and series.owners([u]) for key, series in self.series.items())

    def owner_entries(self, u, place):
        found = {f["fieldId"]: self.series.get((f["fieldId"], *place)) for f in self.fields}
        entries = {name: series.record(u) for name, series in found.items() if series and series.owners([u])}
        return {name: e for name, e in entries.items() if not self.has_lines() or self.values(e)}

    # -- lines

    def has_lines(self):
        return self.settings["shape"] in ("csv", "rows", "cells")

    def values(self, entry):
        """Data type and value of each of the entry's lines."""
        return [(DATA_TYPES[name], name) for name in entry if name in DATA_TYPES]

    def line_value(self, value):
        if isinstance(value, Amount):
            return for_people(value, self.settings["amount_format"], self.currency)
        return {True: "Yes", False: "No", None: ""}[value]

    def lines(self):
        """As dicts, in the order of the file."""
        fields, frames = {f["fieldId"]: f["fieldName"] for f in self.fields}, list(self.frames)
        numbers = {frame["timeFrameId"]: w + 1 for w, frame in enumerate(frames)}
        begins = {p["id"]: min(w for w, frame in enumerate(frames) if frame["startDate"] >= p["start"] or not w)
                  for p in self.periods if p["start"] <= frames[-1]["startDate"]}
        us = lambda day: day.strftime("%m/%d/%Y")

        def lines_of(u, entry, kinds):
            user, frame = self.user(u), frames[numbers[entry["timeFrameId"]] - 1]
            head = {"User": user["name"], "Email": user["email"] or "", "CRM User ID": user["crmId"],
                    "Role": user["hierarchyName"], "Parent Role": user["parentHierarchyName"] or "",
                    "Timeframe": self.shown_period(entry["timePeriodId"]), "Field": fields[entry["fieldId"]],
                    "Week": str(numbers[entry["timeFrameId"]] - begins[entry["timePeriodId"]]), "Start Day": us(frame["startDate"]),
                    "End Day": us(frame["endDate"])}
            for kind, name in self.values(entry):
                if kind in kinds:
                    yield {**head, "Data Type": kind, "Data Value": self.line_value(entry[name])}

        every = list(dict.fromkeys(DATA_TYPES.values()))
        for kinds in [every] if self.settings["lines"] == "gathered" else [[kind] for kind in every]:
            for series in self.series.values():
                for u in series.owners(range(self.owners)):
                    yield from lines_of(u, series.record(u), kinds)

    def line_texts(self):
        columns = self.settings["columns"] or LINE_COLUMNS
        if self.settings["shape"] == "rows":
            yield "["
            yield from commas([to_json({name: line.get(name, "") for name in columns})] for line in self.lines())
            yield "]"
            return
        if self.settings["shape"] == "cells":
            yield "["
            yield from commas(self._cell_texts(columns))
            yield "]"
            return
        end = self.settings["line_end"]
        yield csv_line(columns).rstrip("\n") + end
        for line in self.lines():
            yield csv_line([line.get(name, "") or None for name in columns])[:-1] + end

    def _cell_texts(self, columns):
        """As in the document's example a value that is not there may have no cell, but it is last and a name follows."""
        yield [to_json(name) for name in columns]
        before = None
        for line in [*self.lines(), {name: "" for name in columns}]:
            if before:
                short = columns == LINE_COLUMNS and before["Data Value"] == "" and line["User"]
                yield [to_json(before[name]) for name in (columns[:-1] if short else columns)]
            before = line

    def pivot(self, u, place, forecast_field=None, quota_field=None):
        """The five amounts of an owner in a period and week, or None if there is no entry."""
        entries = self.owner_entries(u, place)
        if not entries:
            return None
        first = {f["fieldType"]: f["fieldId"] for f in reversed(self.fields) if (f["fieldId"], *place) in self.series}
        main = entries.get(forecast_field or first.get("FORECAST"), {})
        quota = entries.get(quota_field or first.get("QUOTA"), {})
        crm = self.settings["crm_names"]
        return {"forecastAmount": main.get("forecastValue"), "quotaAmount": quota.get("quotaValue"),
                "crmTotal": main.get(crm + "Total"), "crmClosed": main.get(crm + "Closed"),
                "adjustmentAmount": main.get("adjustmentValue")}

    def flat(self, u, place):
        """An entry in the flat shape; a missing amount is null, or absent."""
        user = self.user(u)
        amounts = self.pivot(u, place)
        return {"ownerName": user["name"], "ownerEmail": user["email"],
                **{k: v for k, v in amounts.items() if v is not None or u % 2}, "timePeriod": place[0]}

    # -- the file, as text

    def count(self):
        owners = range(self.owners)
        if self.settings["shape"] == "flat":
            return sum(self.has_entry(u, place) for place in self.flat_places() for u in owners)
        return sum(len(series.owners(owners)) for series in self.series.values())

    def encoded(self):
        """The file in pieces of at least 64 kB or so."""
        batch, size = [], 0
        for text in self.texts():
            batch.append(text)
            size += len(text)
            if size > 65536:
                yield "".join(batch).encode()
                batch, size = [], 0
        yield "".join(batch).encode()

    def texts(self):
        if self.has_lines():
            yield from self.line_texts()
            return
        if self.settings["shape"] == "flat":
            yield '{"entries":['
            yield from commas([to_json(entry)] for entry in self.entries())
            yield "]}"
            return
        for i, name in enumerate(self._list_order()):
            yield f'{"," if i else "{"}"{name}":['
            if name == "entries":
                yield from commas(self._entry_texts())
            elif name == "users":
                yield from commas(self._user_texts())
            else:
                items = {"fields": self.fields, "timePeriods": self.time_periods(), "timeFrames": self.time_frames()}
                yield ",".join(to_json(item) for item in items[name])
            yield "]"
        yield "}"

    def _list_order(self):
        order = self.settings["list_order"]
        if isinstance(order, list):
            return order
        others = [name for name in LISTS if name != "entries"]
        if order == "entries_first":
            return ["entries"] + others
        if order == "entries_last":
            return others + ["entries"]
        return sorted(LISTS, key=lambda name: mix(self.seed, self.forecast, self.period, name))

    def _user_texts(self):
        templates = self._users()[1]
        last = self.owners + self.settings["idle_users"]
        for start in range(0, last, BLOCK):
            yield [templates[u % BLOCK] % user_holes(u) for u in range(start, min(last, start + BLOCK))]

    def _entry_texts(self):
        """Lists of entries, in the order of the file; weeks come in no order at all."""
        order = self.settings["entry_order"]
        every = sorted(self.series.values(), key=lambda s: (self.fields.index(s.field), s.base))
        if order == "by_field":
            for series in every:
                for start in range(0, self.owners, BLOCK):
                    yield series.texts(series.owners(range(start, min(self.owners, start + BLOCK))))
        elif order == "by_user":
            for start in range(self.owners):
                yield [series.text(u) for series in every for u in series.owners([start])]
        else:
            total = self.owners * len(every)
            step = next(p for p in (1_000_003, 999_983, 611_953) if total % p or not total)   # coprime: all come once
            for start in range(0, total, BLOCK):
                places = (divmod((i * step + self.seed) % total, self.owners)
                          for i in range(start, min(total, start + BLOCK)))
                yield [text for s, u in places for text in map(every[s].text, every[s].owners([u]))]


def commas(lists):
    """Joins the items of many lists by commas, without holding them."""
    started = False
    for items in lists:
        if items:
            yield "," + ",".join(items) if started else ",".join(items)
            started = True


# ---------------------------------------------------------------- what a foreign table must hold

COLUMNS = {
    "forecasts": "owner_name owner_email forecast_amount quota_amount crm_total crm_closed adjustment_amount "
                 "time_period forecast_name",
    "entries": "time_period forecast_name user_id owner_name owner_email crm_user_id role parent_role field_id "
               "field_name field_type time_frame_id week_start week_end forecast_value quota_value adjustment_value "
               "crm_total crm_closed is_updated updated_by updated_on adjusted_by adjusted_on currency time_period_id",
    "users": "user_id name email scope_id crm_id hierarchy_id hierarchy_name parent_hierarchy_id "
             "parent_hierarchy_name time_period forecast_name",
    "fields": "field_id field_name field_type time_period forecast_name",
    "time_periods": "time_period_id type label year start_date end_date crm_id time_period forecast_name",
    "time_frames": "time_frame_id start_date end_date time_period forecast_name",
}
COLUMNS = {name: columns.split() for name, columns in COLUMNS.items()}
AMOUNTS = ("forecastAmount", "quotaAmount", "crmTotal", "crmClosed", "adjustmentAmount")


def expected_rows(kind, data, forecast_field=None, quota_field=None, period_type="quarter"):
    """The rows of a foreign table with object `kind`: lists of text or None, in
    the order of COLUMNS[kind].  In the flat shape only amounts and owner exist."""
    if kind == "forecasts":
        yield from _forecast_rows(data, forecast_field, quota_field, period_type)
    elif kind == "entries":
        yield from _flat_entry_rows(data) if data.settings["shape"] == "flat" else _entry_rows(data)
    elif data.has_lines():
        yield from _line_items(kind, data)
    elif data.settings["shape"] != "flat":
        items = {"users": data.users, "fields": lambda: data.fields, "time_periods": data.time_periods,
                 "time_frames": data.time_frames}[kind]()
        for item in items:
            yield [*item.values(), data.period, data.forecast]


def _forecast_rows(data, forecast_field, quota_field, period_type):
    places = data.by_type(period_type)
    if data.settings["shape"] == "flat":
        places = [place for place in places if place in data.flat_places()]
    for u in range(data.owners):
        user = data.user(u)
        for place in places:
            amounts = data.pivot(u, place, forecast_field, quota_field)
            if amounts:
                period = data.period if period_type == "quarter" else data.shown_period(place[0])
                name = user["name"] or None if data.has_lines() else user["name"]
                yield [name, user["email"], *(numeric_out(amounts[a]) for a in AMOUNTS),
                       period, data.forecast]


def _line_items(kind, data):
    """The lists of a file that has none: users and fields of its lines, without ids."""
    if kind == "users":
        for u in range(data.owners):
            if any(data.owner_entries(u, place) for place in data.places):
                user = data.user(u)
                yield [None, user["name"] or None, user["email"], None, user["crmId"], None, user["hierarchyName"], None,
                       user["parentHierarchyName"], data.period, data.forecast]
    elif kind == "fields":
        for field in data.fields:
            yield [field["fieldName"], field["fieldName"], None, data.period, data.forecast]


def _flat_entry_rows(data):
    for entry in data.entries():
        row = dict.fromkeys(COLUMNS["entries"])
        row.update(time_period=data.period, forecast_name=data.forecast,
                   owner_name=entry["ownerName"], owner_email=entry["ownerEmail"], time_period_id=entry["timePeriod"])
        for column, name in zip(("forecast_value", "quota_value", "crm_total", "crm_closed", "adjustment_value"),
                                AMOUNTS):
            row[column] = numeric_out(entry.get(name))
        yield list(row.values())


def _entry_rows(data):
    users = {user["userId"]: user for user in data.users()}
    fields = {field["fieldId"]: field for field in data.fields}
    frames = {frame["timeFrameId"]: frame for frame in data.time_frames()}
    boolean = {True: "t", False: "f", None: None}
    crm = data.settings["crm_names"]
    for e in data.entries():
        user, field, frame = users[e["userId"]], fields[e["fieldId"]], frames[e["timeFrameId"]]
        if data.has_lines():
            if not data.values(e):
                continue
            # No ids, and of who did what and when nothing.
            user = {**user, "userId": None, "name": user["name"] or None}
            field = {"fieldId": field["fieldName"], "fieldName": field["fieldName"], "fieldType": None}
            frame = {**frame, "timeFrameId": None}
            e = {name: value for name, value in e.items() if name in DATA_TYPES or name == "timePeriodId"}
        yield [data.period, data.forecast, user["userId"], user["name"], user["email"], user["crmId"],
               user["hierarchyName"], user["parentHierarchyName"], *field.values(), *frame.values(),
               *(numeric_out(e.get(a)) for a in ("forecastValue", "quotaValue", "adjustmentValue",
                                                 crm + "Total", crm + "Closed")),
               boolean[e.get("isUpdated")], e.get("updatedBy"), timestamp_out(e.get("updatedOn")),
               e.get("adjustedBy"), timestamp_out(e.get("adjustedOn")), e.get("currency", {}).get("code"),
               data.shown_period(e["timePeriodId"])]


def changed_owners(data):
    """The numbers of the owners whose amounts the data's version changed."""
    version = data.settings["version"]
    return [u for u in range(data.owners) if version and data.revision(u) == version]


def csv_line(row):
    """As COPY ... (FORMAT csv) writes it."""
    def cell(value):
        if value is None:
            return ""
        if value == "" or re.search('[",\r\n]', value):
            return '"' + value.replace('"', '""') + '"'
        return value
    return ",".join(map(cell, row)) + "\n"


def expected_csv(kind, data, header=True, order_by=(), **fields):
    """The table as CSV; order_by: columns, compared as bytes, nulls last."""
    columns = COLUMNS[kind]
    rows = expected_rows(kind, data, **fields)
    if order_by:
        places = [columns.index(name) for name in order_by]
        rows = sorted(rows, key=lambda row: [(row[i] is None, (row[i] or "").encode()) for i in places])
    if header:
        yield csv_line(columns)
    yield from map(csv_line, rows)


# ---------------------------------------------------------------- jobs, settings, faults, counters

STEPS = ("post", "poll", "results", "list", "patch", "limits", "read", "download")
FAULT_NAMES = {"status", "headers", "body", "json", "redirect", "carry_out", "delay", "delay_before", "stall_after",
               "stall_seconds", "reset", "reset_after", "close", "close_after", "content_length", "gzip", "trickle",
               "cut", "replace", "append", "flood", "merge", "job"}
JOB_NAMES = {"end_state", "never", "lost", "download_url", "job_seconds", "id"}
HARMLESS = {"carry_out", "delay", "delay_before", "headers", "job", "trickle"}      # they leave the answer's body as it is


def number_of(name):
    """Clari's users and organizations are integers; settings may call them by texts."""
    return name if isinstance(name, int) else 1 + mix("number", name) % 2_000_000_000


def other_job(i, key):
    """A job of another module: every other one is under way, and has not all that is known of one that is done."""
    start = 1_700_000_000_000 + i * 1000
    job = {"jobId": f"{mix('other', i):016x}{i:08x}", "userId": number_of(key["user"]), "orgId": number_of(key["tenant"]),
           "title": f"Opportunités {i}", "module": "OPPORTUNITY", "startTime": start, "version": i % 3,
           "fileType": "CSV", "status": "STARTED", "viewed": False, "cellsTruncated": False, "rowsTruncated": False,
           "downloads": 0, "deliveryStatusMap": {"email": {"status": "SENT"}}}
    if i % 2:
        job |= {"endTime": start + 500, "expiredTime": start + 30 * 86400 * 1000, "status": "DONE", "viewed": True,
                "downloads": i, "fileName": f"clari_export_default-view_20231114_{i:06d}.csv", "currency": "USD"}
    return job


class Job:
    def __init__(self, serial, data, asked, key, settings, faults):
        self.id = faults.get("id", f"{mix('job', serial, time.time_ns()):016x}{serial:08x}")
        self.data, self.asked, self.key, self.settings, self.faults = data, asked, key, settings, faults
        self.serial, self.forecast, self.created, self.downloads = serial, data.forecast, time.time(), 0
        seconds, queued = faults.get("job_seconds", settings["job_seconds"]), settings["queue_seconds"]
        self.ends = None if seconds == "hold" or faults.get("never") else self.created + seconds
        moment = min(0.05, (self.ends - self.created) / 4 if self.ends else 0.05)
        self.starts = None if queued == "hold" else self.created + (moment if queued is None else queued)
        self.end_state = faults.get("end_state", "COMPLETED" if faults.get("download_url") else "DONE")
        self.canceled = None           # or the state that it was left in

    def names(self):
        """What settings and faults may call its period."""
        return {self.asked or "current", self.asked or self.settings["current_quarter"]}

    def finished(self):
        return bool(self.canceled) or (self.ends is not None and time.time() >= self.ends)

    def state(self):
        if self.canceled:
            return self.canceled
        if self.finished():
            return self.end_state
        return "SCHEDULED" if self.starts is None or time.time() < self.starts else "STARTED"

    def finish(self):
        self.ends = time.time()

    def cancel(self):
        self.canceled = "ABORTED" if self.state() == "STARTED" else "CANCELLED"
        self.ends = time.time()

    def counts(self):
        """Whether it uses up some of the quota."""
        return self.state() not in ("CANCELLED", "ABORTED")

    def file_name(self, started):
        if self.settings["file_name"] == "finished" and not self.finished():
            return None
        plain = self.settings["file_name"] == "plain"
        # The digits behind the period are always the same: no number of the export.
        about = "default-view" if plain else f"{self.forecast}_{self.data.period}2915"
        return f"clari_export_{about}_{started}.{self.file_type().lower()}"

    def file_type(self):
        return "CSV" if self.data.settings["shape"] == "csv" else "JSON"

    def as_json(self, request):
        """The job as Clari shows it.  What it does not know yet it leaves out."""
        s, skew, state = self.settings, self.settings["clock_skew"], self.state()
        ms = lambda seconds: int((seconds + skew) * 1000)
        end = None
        if self.finished():
            end = ms(self.ends) if s["end_time"] == "auto" else s["end_time"]
        job = {"jobId": self.id, "userId": number_of(self.key["user"]), "orgId": number_of(self.key["tenant"]),
               "title": "Forecast Export", "module": "FORECAST",
               "startTime": None if state == "SCHEDULED" else ms(self.created), "endTime": end,
               "expiredTime": end and end + 30 * 86400 * 1000, "version": 1,
               "fileName": self.file_name(time.strftime("%Y%m%d_%H%M%S", time.gmtime(self.created + skew))),
               "fileType": self.file_type(), "status": state, "viewed": self.downloads > 0,
               "cellsTruncated": bool(s["cells_truncated"]), "rowsTruncated": bool(s["rows_truncated"]),
               "downloads": self.downloads, "deliveryStatusMap": {},
               "currency": self.data.currency or s["account_currency"]}
        if s["unknown"] == "absent":
            job = {name: value for name, value in job.items() if value is not None}
        elif None in job.values():
            request.liberties.add("unknown")
        if state not in JOB_STATES:
            request.liberties.add("state")
        url = self.faults.get("download_url")
        if url and self.finished():
            url = url if isinstance(url, str) else request.elsewhere
            job["downloadUrl"] = url.replace("{port}", request.port).replace("{job}", self.id)
            request.liberties.add("download_url")
        return job

    def wrapped_json(self, request):
        """The same in the wrapping that the settings ask for."""
        value = self.as_json(request)
        if self.settings["wrapped"]:
            request.liberties.add("wrapped")
            value = {"job": value}
        return value


class State:
    """Everything that requests share; `lock` guards all of it."""

    def __init__(self):
        self.lock = threading.Condition(threading.RLock())
        self.scopes = {}                # (forecast or None, period or None) -> settings
        self.connections = set()
        self.serial = 0
        self.faults, self.storm_used = [], []
        self.holds = []                 # (forecast, period's names, eventfd) of answers that wait
        self.storm = None               # faults at random, see set_storm
        self.calls = collections.defaultdict(collections.deque)     # key -> when its last ones came
        self.recorder = Recorder(os.environ.get("CLARI_SIM_RECORD"))
        self.reset({})

    def reset(self, what):
        """Forgets counters and jobs; settings and faults too, if asked."""
        with self.lock:
            self.jobs, self.most_jobs, self.crashes = {}, 0, 0
            self.most_connections = len(self.connections)
            self.total = collections.Counter()
            self.by_period = collections.defaultdict(collections.Counter)
            self.by_forecast = collections.defaultdict(collections.Counter)
            self.last = collections.deque(maxlen=2000)
            self.calls.clear()
            if what.get("faults", True):
                self.faults.clear()
                self.storm = None
            if what.get("settings"):
                self.scopes.clear()
            self.release({})
        return {}

    def settings(self, forecast=None, *periods):
        with self.lock:
            merged = dict(DEFAULTS)
            for scope in [(None, None), (forecast, None), *((None, p) for p in periods),
                          *((forecast, p) for p in periods)]:
                merged.update(self.scopes.get(scope, {}))
            return merged

    def set(self, what):
        """{"forecast","period","settings":{...}}; without forecast and period, for all."""
        if set(what) - {"forecast", "period", "settings"} or "settings" not in what:
            raise ValueError('say {"settings":{...}} and, if not for all, "forecast", "period"')
        check_settings(what["settings"])
        with self.lock:
            self.scopes.setdefault((what.get("forecast"), what.get("period")), {}).update(what["settings"])
        return {}

    def check_fault(self, what):
        fault = what.get("fault", {})
        wrong = (set(what) - {"step", "forecast", "period", "times", "skip", "key", "fault"} | set(fault) - FAULT_NAMES
                 | set(fault.get("job", {})) - JOB_NAMES)
        if wrong or what.get("step") not in STEPS or not fault:
            raise ValueError(f"bad fault {sorted(wrong)}: a step of {STEPS} and a fault of {sorted(FAULT_NAMES)}")

    def add_fault(self, what):
        self.check_fault(what)
        with self.lock:
            self.faults.append({"times": None, "skip": 0, "used": 0, **what})
        return {}

    def set_storm(self, what):
        """{"seed","share","faults":[{"step","fault"},...]}: so many of the requests, each with one of its step's
        faults; the same ones for the same order of requests.  {}: no more."""
        for fault in what.get("faults", []):
            self.check_fault(fault)
        with self.lock:
            self.storm = {**what, "random": random.Random(what["seed"])} if what else None
            self.storm_used = [0] * len(what.get("faults", [])) if what else self.storm_used
        return {}

    def take_storm(self, step):
        """A fault of the storm, or {}."""
        some = [i for i, fault in enumerate(self.storm["faults"]) if fault["step"] == step]
        if not some or self.storm["random"].random() >= self.storm["share"]:
            return {}
        chosen = self.storm["random"].choice(some)
        self.storm_used[chosen] += 1
        return self.storm["faults"][chosen]["fault"]

    def take_fault(self, step, forecast, names, key):
        """The first fault that is for this request, or {}."""
        with self.lock:
            if self.storm:
                return self.take_storm(step)
            for fault in self.faults:
                here = (fault["step"] == step and fault.get("forecast") in (None, forecast)
                        and (fault.get("period") is None or fault["period"] in names)
                        and fault.get("key") in (None, key) and fault["times"] != 0)
                if here and fault["skip"] > 0:
                    fault["skip"] -= 1
                elif here:
                    fault["used"] += 1
                    if fault["times"] is not None:
                        fault["times"] -= 1
                    return fault["fault"]
        return {}

    def release(self, what):
        """Ends held jobs and held answers, of a forecast and period if given."""
        def meant(forecast, names):
            return what.get("forecast") in (None, forecast) and (not what.get("period") or what["period"] in names)
        with self.lock:
            jobs = [j for j in self.jobs.values() if j.ends is None and meant(j.forecast, j.names())]
            for job in jobs:
                job.finish()
            held = [hold for hold in self.holds if meant(*hold[:2])]
            for hold in held:
                os.eventfd_write(hold[2], 1)
        return {"jobs": len(jobs), "answers": len(held)}

    def record(self, step, forecast, period, request):
        with self.lock:
            self.total[step] += 1
            if period:
                self.by_period[period][step] += 1
            if forecast:
                self.by_forecast[forecast][step] += 1
            self.last.append({"kind": step, "method": request.method, "path": request.target, "time": request.time,
                              "forecast": forecast, "period": period, "headers": request.headers,
                              "body": request.body.decode("utf-8", "replace"), "connection": request.connection,
                              "port": request.at, "resumed": request.resumed})
            self.lock.notify_all()

    def running(self, tenant=None):
        return [j for j in self.jobs.values() if not j.finished() and tenant in (None, j.key["tenant"])]

    def seen(self, last=100):
        counts = lambda counter: {step: counter[step] for step in (*STEPS, "other")}
        with self.lock:
            return {"total": counts(self.total),
                    "periods": {p: counts(c) for p, c in sorted(self.by_period.items())},
                    "forecasts": {f: counts(c) for f, c in sorted(self.by_forecast.items())},
                    "held_answers": sum(hold[3] for hold in self.holds),
                    "running_jobs": len(self.running()), "most_jobs_at_once": self.most_jobs,
                    "open_connections": sum(not c.control for c in self.connections),
                    "most_connections_at_once": self.most_connections,
                    "jobs": [{"jobId": j.id, "forecast": j.forecast, "period": j.asked or "current",
                              "status": j.state(), "downloads": j.downloads} for j in self.jobs.values()],
                    "faults": [dict(f) for f in self.faults], "storm": list(self.storm_used), "crashes": self.crashes,
                    "last": list(self.last)[-last:] if last else []}

    def of_tenant(self, key, settings):
        """The settings, with what the key's tenant has of its own."""
        return {**settings, **settings["tenants"].get(str(key["tenant"]), {})}

    def limits(self, key):
        """/admin/limits of the key's tenant.  A canceled job gives its quota back."""
        s = self.of_tenant(key, self.settings())
        running = self.running(key["tenant"])
        spent = [j.id for j in self.jobs.values() if j.key["tenant"] == key["tenant"] and j.counts()]
        earlier = [f"{mix('earlier', i):016x}{i:08x}" for i in range(s["monthly_used"])]
        limits = {"concurrentLimit": s["concurrent_limit"], "monthlyQuota": s["monthly_quota"],
                  "runningJobIds": [j.id for j in running if j.state() == "STARTED"], "submittedJobIds": earlier + spent,
                  "availableConcurrentLimit": max(0, s["concurrent_limit"] - len(running)),
                  "availableMonthlyQuota": max(0, s["monthly_quota"] - len(earlier) - len(spent))}
        if not limits["runningJobIds"]:
            del limits["runningJobIds"]
        return limits

    def is_too_fast(self, name, limit):
        """Whether a key has called more often within this second than it may."""
        with self.lock:
            calls, now = self.calls[name], time.monotonic()
            while calls and calls[0] <= now - 1:
                calls.popleft()
            calls.append(now)
            return len(calls) > limit


class Recorder:
    """Writes down exchanges, a line of JSON each, in a file of this process's own."""

    def __init__(self, directory):
        path = directory and os.path.join(directory, f"{os.getpid()}-{time.time_ns()}.jsonl")
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if path else None

    def write(self, step, request, answer):
        """answer: None if there is none."""
        if self.file is None:
            return
        line = {"step": step, "method": request.method, "target": request.target, "headers": request.headers,
                "body": request.body.decode("utf-8", "replace"), "answer": answer and {
                    "status": answer.status, "headers": {name.lower(): str(value) for name, value in answer.headers.items()},
                    # a file has no schema, and is long
                    "body": None if answer.data else answer.body.decode("utf-8", "replace"),
                    "liberties": sorted(request.liberties)}}
        os.write(self.file, (json.dumps(line) + "\n").encode())


# ---------------------------------------------------------------- the service

class Failure(Exception):
    """An answer in Clari's error shape."""

    def __init__(self, status, code, message, key, namespace="exports", **more):
        super().__init__(message)
        self.answer = Answer(status, {"code": code, "namespace": namespace, "errorId": str(uuid.uuid4()), "message": message,
                                      "orgId": number_of(key["tenant"]), **more})


class Turned(Exception):
    """The gateway turns it away, before it is known whose it is."""

    def __init__(self, status, message, **headers):
        super().__init__(message)
        self.answer = Answer(status, {"message": message}, headers)


class Answer:
    """Status, headers, and either a body of bytes or the data of an export."""

    def __init__(self, status, value=None, headers=None, body=None, data=None):
        self.status, self.data = status, data
        self.headers = {"Content-Type": "application/json", **(headers or {})}
        self.body = json.dumps(value).encode() if body is None else body


class Service:
    """The endpoints.  Each takes a request and gives an Answer, or raises Failure or Turned."""

    def __init__(self, state, base_path):
        self.state = state
        self.routes = [(step, method, re.compile(base_path + pattern + "$")) for step, method, pattern in (
            ("post", "POST", "/export/forecast/(?P<forecast>[^/]*)"),
            ("poll", "GET", "/export/jobs/(?P<job>[^/]+)"),
            ("results", "GET", "/export/jobs/(?P<job>[^/]+)/results"),
            ("list", "GET", "/export/jobs/?"),
            ("patch", "PATCH", "/export/jobs/(?P<job>[^/]+)"),
            ("limits", "GET", "/admin/limits"),
            ("read", "GET", "/forecast/(?P<forecast>[^/]+)"))]
        self.routes.append(("download", "GET", re.compile("/download/(?P<job>[^/]+)$")))

    def route(self, request):
        """Names the request's step, and the forecast, job and period it is about."""
        for step, method, pattern in self.routes:
            match = method == request.method and pattern.match(request.path)
            if match:
                found = match.groupdict()
                job = self.state.jobs.get(urllib.parse.unquote(found.get("job") or ""))
                if job:
                    return step, job.forecast, job, job.names(), job.asked or "current"
                forecast = found.get("forecast") and urllib.parse.unquote(found["forecast"])
                if step in ("post", "read"):
                    asked = asked_for(request, lenient=True).get("timePeriod", "")
                    names = {asked or "current", asked or self.state.settings()["current_quarter"]}
                    return step, forecast, None, names, asked or "current"
                return step, forecast, None, set(), None
        return "other", None, None, set(), None

    def carry_out(self, step, forecast, job, request, job_faults):
        if step == "other":
            raise Turned(404, "no Route matched with those values")
        if step == "download":
            return self.download(job)
        key = self.authenticate(request)
        with self.state.lock:
            if step == "post":
                return self.post(key, forecast, request, job_faults)
            if step == "read":
                return self.read(key, forecast, request)
            if step == "list":
                seen = [j for j in self.state.jobs.values() if self.shows(key, j)]
                others = [other_job(i, key) for i in range(self.state.settings()["other_jobs"])]
                return Answer(200, others + [j.as_json(request) for j in seen])
            if step == "limits":
                return Answer(200, {"jobs": self.state.limits(key)})
            if job and (job.key["tenant"] != key["tenant"] or job.faults.get("lost")):
                job = None
            if step == "results":
                return self.results(key, job, request)
            if step == "patch":
                return self.patch(key, job, request)
            return self.poll(key, job, request)

    def authenticate(self, request):
        name, settings = request.headers.get("apikey"), self.state.settings()
        key = settings["keys"].get(name, settings["keys"].get("*"))
        if not name or key is None:
            raise Turned(401, "Invalid authentication credentials")
        if settings["rate_limit"] and self.state.is_too_fast(name, settings["rate_limit"]):
            raise Turned(429, "API rate limit exceeded", **{"Retry-After": "1"})
        return {"user": "user-of-" + name[:4], "tenant": "org-1", "seed": None, "no_optin": [], **key}

    def shows(self, key, job):
        """Whether the list of the key's jobs holds this one: each of them under the settings that it was made under."""
        whose = ("tenant", "user") if job.settings["listed_jobs"] == "user" else ("tenant",)
        return all(job.key[name] == key[name] for name in whose) and not job.faults.get("lost")

    def not_found(self, key, request, code, message, old_code, namespace="exports"):
        if self.state.settings()["not_found"] == 404:
            request.liberties.add("not_found")
            return Failure(404, old_code, message, key, namespace)
        return Failure(400, code, message, key, namespace)

    def post(self, key, forecast, request, job_faults):
        state, refuse = self.state, functools.partial(Failure, 400, key=key, namespace="fcw")
        try:
            asked = asked_for(request)
        except ValueError:
            body = request.body.decode("utf-8", "replace")
            raise refuse("bad_request", f"The request body was malformed: {body}") from None
        self.check_forecast(key, forecast, asked, request)
        about = state.settings(forecast)
        types = asked.get("typesToExport", CLARI_TYPES)
        wrong = [name for name in types if name not in ALL_TYPES]
        if wrong or not types:
            raise refuse("bad_request", f"The following typesToExport values are invalid: {json.dumps(wrong)}")
        if not about["crm_exports"] and {"crm_total", "crm_closed"} & set(types):
            raise refuse("type_not_supported", "CRM Totals and CRM Closed are not supported typeToExport values for Export API.")
        if not re.fullmatch("[A-Z]{3}", asked.get("currency", "USD")):
            raise refuse("bad_request", "The currency parameter is invalid.")
        if asked.get("exportFormat", "JSON") not in about["export_formats"]:
            raise refuse("bad_request", f"This export is offered as {' and '.join(about['export_formats'])} only.")
        self.check_limits(key, request)
        job = self.new_job(key, forecast, asked, types, about["current_quarter"], job_faults)
        if job.settings["post_status"] != 200:
            request.liberties.add("post_status")
        if job.settings["post_shape"] == "job":
            request.liberties.add("post_shape")
            return Answer(job.settings["post_status"], {"job": {"id": job.id}})
        return Answer(job.settings["post_status"], {"jobId": job.id})

    def read(self, key, forecast, request):
        """The older synchronous read, which Clari's document does not list any more: what an export of the latest week
        has, CRM totals too, without a job or quota."""
        request.liberties.add("read")
        refuse = functools.partial(Failure, 400, key=key, namespace="fcw")
        about = self.state.settings(forecast)
        if not about["forecast_api"]:
            raise Turned(404, "no Route matched with those values")
        asked = asked_for(request, lenient=True)
        self.check_forecast(key, forecast, asked, request)
        types = asked.get("typesToExport", CLARI_TYPES)
        if set(types) - set(ALL_TYPES):
            raise refuse("bad_request", f"The following typesToExport values are invalid: {json.dumps(types)}")
        if not re.fullmatch("[A-Z]{3}", asked.get("currency", "USD")):
            raise refuse("bad_request", "The currency parameter is invalid.")
        asked.pop("includeHistorical", None)
        return Answer(200, data=self.data_of(key, forecast, asked, types, about["current_quarter"])[0])

    def check_forecast(self, key, forecast, asked, request):
        """Whether there is such a one, which the key's user may see."""
        if not forecast:
            raise Failure(400, "missing_forecast_id", "The forecastId query parameter is required.", key, "fcw")
        if forecast in key["no_optin"] or "*" in key["no_optin"]:
            scope = asked.get("scopeId", "1::MGR")
            raise Failure(401, "no_optin", f"No optins for scope {scope} for forecast '{forecast}'.", key, "fcw")
        known = self.state.settings(forecast)["forecasts"] + [scope[0] for scope in self.state.scopes]
        if forecast not in known:
            raise self.not_found(key, request, "no_such_forecast_config",
                                 f"Forecast {forecast} does not exist in the ForecastTemplate.", "forecast_not_found", "fcw")

    def data_of(self, key, forecast, asked, types, current):
        """What is exported, and the settings of its period."""
        state, wanted = self.state, asked.get("timePeriod")
        settings = state.settings(forecast, *sorted({wanted or current, wanted or "current"}))
        # The trap of the real service: no error for a period that it does not know.
        period = wanted if wanted in known_periods(settings) else current
        about = state.settings(forecast, period)
        if key["seed"] is not None:
            about["seed"] = key["seed"]
        if asked.get("exportFormat") == "CSV" and about["shape"] == "v4":
            about["shape"] = "csv"
        data = Data(forecast, period, about, types, asked.get("currency"), asked.get("includeHistorical", False),
                    asked.get("scopeId"))
        return data, settings

    def new_job(self, key, forecast, asked, types, current, job_faults):
        state = self.state
        data, settings = self.data_of(key, forecast, asked, types, current)
        state.serial += 1
        job = Job(state.serial, data, asked.get("timePeriod"), key, state.of_tenant(key, settings), job_faults)
        state.jobs[job.id] = job
        while settings["keep_jobs"] and len(state.jobs) > settings["keep_jobs"]:
            oldest = next(iter(state.jobs.values()))
            if not oldest.finished():
                break
            del state.jobs[oldest.id]
        state.most_jobs = max(state.most_jobs, len(state.running()))
        return job

    def check_limits(self, key, request):
        limits, settings = self.state.limits(key), self.state.settings()
        concurrent, monthly = limits["concurrentLimit"], limits["monthlyQuota"]
        if limits["availableConcurrentLimit"] and limits["availableMonthlyQuota"]:
            return
        if settings["limit_codes"] == "two":
            request.liberties.add("limit_codes")
            if not limits["availableConcurrentLimit"]:
                raise Failure(400, "export_concurrent_limit_reached", "Too many export jobs are running.", key)
            raise Failure(400, "export_monthly_quota_reached", "The quota of exports is spent.", key)
        # One code and one message for both, which only /admin/limits tells apart.
        raise Failure(400, "export_monthly_quota_reached",
                      f"The monthly quota limit of {monthly} or concurrent limit of {concurrent} has been reached.", key,
                      source="Export")

    def poll(self, key, job, request):
        if job is None:
            raise self.not_found(key, request, "SWW", "Something went wrong", "export_job_not_found")
        if not self.shows(key, job):
            raise Failure(403, "SWW", "Something went wrong", key)
        return Answer(200, job.wrapped_json(request))

    def patch(self, key, job, request):
        if job is None:
            raise self.not_found(key, request, "export_failed_to_cancel", "Unable to complete request.", "export_job_not_found")
        body = request.json_or_none()
        if not self.shows(key, job) or not isinstance(body, dict) or body.get("type") != "CANCEL":
            raise Failure(400, "export_failed_to_cancel", "Unable to complete request.", key)
        if job.finished():
            raise Failure(400, "export_failed_to_cancel", "Cannot cancel the job because it already finished executing.", key)
        job.cancel()
        return Answer(200, {"status": job.state(), "successful": True})

    def results(self, key, job, request):
        unfinished = "Cannot retrieve data for job because it has not finished executing."
        if job is None:
            raise self.not_found(key, request, "invalid_jobId", unfinished, "export_job_not_found")
        if not self.shows(key, job) or job.state() not in ("DONE", "COMPLETED"):
            raise Failure(400, "invalid_jobId", unfinished, key)
        if job.file_type() == "CSV":
            request.liberties.add("media_type")
            if not re.search(r"text/csv|\*/\*", request.headers.get("accept", "*/*")):
                raise Failure(406, "not_acceptable", "The file is text/csv.", key)
        return self.download(job)

    def download(self, job):
        if job is None or job.state() not in ("DONE", "COMPLETED"):
            raise Turned(404, "There is no such file.")
        with self.state.lock:
            job.downloads += 1
        return Answer(200, data=job.data, headers={"Content-Type": "text/csv"} if job.file_type() == "CSV" else None)

    # -- /_control

    def control(self, request):
        query = dict(urllib.parse.parse_qsl(request.query))
        verb = request.path[len("/_control/"):]
        state = self.state
        try:
            acts = {"reset": state.reset, "set": state.set, "fault": state.add_fault, "storm": state.set_storm,
                    "release": state.release}
            if request.method == "POST" and verb in acts:
                body, act = request.json(), acts[verb]
                for item in body if isinstance(body, list) else [body]:
                    result = act(item)
                return Answer(200, result)
            if verb == "seen":
                return self.control_seen(query)
            if verb == "settings":
                return Answer(200, state.settings(query.get("forecast"), query.get("period")))
            if verb == "expected":
                return self.control_expected(query)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            return Answer(400, {"error": f"{type(error).__name__}: {error}"})
        return Answer(404, {"error": "seen, settings, expected; POST reset, set, fault, storm, release"})

    def control_seen(self, query):
        """The counters; with step and at_least, waits for them; with get, one value as text."""
        if "at_least" in query:
            state, step = self.state, query.get("step", "post")
            counter = lambda: (state.by_period[query["period"]] if "period" in query else state.total)[step]
            enough = lambda: counter() >= int(query["at_least"])
            with state.lock:
                if not state.lock.wait_for(enough, float(query.get("timeout", 10))):
                    return Answer(408, {"error": f"{step} is {counter()}"})
        value = self.state.seen(int(query.get("last", 100)))
        for name in query["get"].split(".") if "get" in query else ():
            value = value[name] if isinstance(value, dict) and name in value else 0
        if "get" in query:
            return Answer(200, headers={"Content-Type": "text/plain"}, body=f"{json.dumps(value)}\n".encode())
        return Answer(200, value)

    def control_expected(self, query):
        """`clari_sim.py expected` with the settings as they are now."""
        forecast, period = query.get("forecast", "net_arr"), query["period"]
        settings = self.state.settings(forecast, period)
        if query.get("format") == "csv" and settings["shape"] == "v4":
            settings["shape"] = "csv"
        data = Data(forecast, period, settings,
                    query.get("types", ",".join(ALL_TYPES)).split(","), query.get("currency"),
                    query.get("historical", "") not in ("", "0", "false"), query.get("scope"))
        order = [name for name in query.get("order_by", "").split(",") if name]
        fields = {name: query[name] for name in ("forecast_field", "quota_field", "period_type") if name in query}
        text = expected_csv(query.get("object", "forecasts"), data, "no_header" not in query, order, **fields)
        return Answer(200, headers={"Content-Type": "text/csv; charset=utf-8"}, body="".join(text).encode())


# ---------------------------------------------------------------- HTTP

class BodyCache:
    """The last few large files, rendered, in unnamed temporary files."""
    SMALLEST, MOST = 20_000, 8      # entries; files

    def __init__(self):
        self.lock, self.files = threading.Lock(), collections.OrderedDict()

    def get(self, key):
        with self.lock:
            if key in self.files:
                self.files.move_to_end(key)
            return self.files.get(key)

    def fill(self, key, pieces):
        """Passes the pieces on, and keeps them when they have all come."""
        file = tempfile.TemporaryFile(buffering=0)
        for piece in pieces:
            file.write(piece)
            yield piece
        with self.lock:
            self.files[key] = file
            while len(self.files) > self.MOST:
                self.files.popitem(last=False)


def zipped(pieces):
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    for piece in pieces:
        yield packer.compress(piece)
    yield packer.flush()


class Request:
    def __init__(self, method, target, headers, body, connection, server, resumed=None):
        scheme, self.at, self.resumed = server.url.partition(":")[0], server.port, resumed
        self.method, self.target, self.headers, self.body = method, target, headers, body
        self.path, _, self.query = target.partition("?")
        self.liberties = set()          # what in its answer is not as Clari's document has it, on purpose
        self.time, self.connection = time.time(), connection
        self.port = headers.get("host", "").rpartition(":")[2]
        self.elsewhere = f"{scheme}://localhost:{self.port}/download/{{job}}"

    def json(self):
        """The value of the body, {} if it is empty; ValueError if there is none."""
        def refuse(constant):
            raise ValueError(f"{constant} is not JSON")
        try:
            return json.loads(self.body or b"{}", parse_constant=refuse)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def json_or_none(self):
        try:
            return self.json()
        except ValueError:
            return None


def of_query(name, texts):
    """A parameter's value, of the texts that the query has for it."""
    if PARAMETERS[name] is bool:
        return {"true": True, "false": False}.get(texts[-1], texts[-1])
    return texts if PARAMETERS[name] is list else texts[-1]


def asked_for(request, lenient=False):
    """What an export is to hold: from the query, and from the body, which wins.  ValueError, unless lenient, if there is
    something in them that cannot be."""
    query = urllib.parse.parse_qs(request.query)
    asked = {name: of_query(name, query[name]) for name in PARAMETERS if name in query and name != "schedule"}
    body = request.json_or_none()
    if isinstance(body, dict):
        asked.update({name: body[name] for name in PARAMETERS if body.get(name) is not None})
    wrong = [name for name, value in asked.items() if not isinstance(value, PARAMETERS[name])
             or (name == "typesToExport" and not all(isinstance(item, str) for item in value))
             or (name == "exportFormat" and value not in ("JSON", "CSV"))
             or (name == "schedule" and value not in ("NONE", "ONCE", "MAX"))]
    if not lenient and (wrong or not isinstance(body, dict)):
        raise ValueError(f"malformed: {wrong}")
    return {name: value for name, value in asked.items() if name not in wrong}


class HangUp(Exception):
    """Ends the connection; with reset, by RST."""

    def __init__(self, reset=False):
        super().__init__()
        self.reset = reset


class Connection:
    """One client, in a thread of its own."""

    def __init__(self, sock, server):
        self.sock, self.server, self.state = sock, server, server.state
        self.control, self.number = False, 0
        self.names = (None, set())      # what the present request is about, for release

    def run(self):
        reset = False
        with self.state.lock:
            self.state.connections.add(self)
            self.server.accepted += 1
            self.number = self.server.accepted
            self.state.most_connections = max(self.state.most_connections, len(self.state.connections))
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.server.tls:
                self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
            self.file = self.sock.makefile("rb")
            while self.serve():
                pass
            if self.server.tls:
                self.sock.settimeout(1)
                self.sock.unwrap()
        except HangUp as end:
            reset = end.reset
        except OSError:
            pass
        finally:
            self.finish(reset)

    def finish(self, reset):
        with self.state.lock:
            self.state.connections.discard(self)
            self.state.lock.notify_all()
        try:
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if hasattr(self, "file"):
                self.file.close()
            self.sock.close()
        except OSError:
            pass

    def read(self):
        """The next request, or None at the end."""
        line = self.file.readline(65536).decode("latin-1").split()
        if len(line) != 3:
            return None
        headers = {}
        while True:
            header = self.file.readline(65536).decode("latin-1").rstrip("\r\n")
            if not header:
                break
            name, _, value = header.partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = headers.get("content-length", "0")
        # A client that sends the body by itself waits 40 ms for the headers' ACK.
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        body = self.file.read(int(length) if length.isdigit() else 0)
        resumed = self.sock.session_reused if self.server.tls else None
        return Request(line[0], line[1], headers, body, self.number, self.server, resumed)

    def serve(self):
        """Answers one request; false when the connection is to end."""
        request = self.read()
        if request is None:
            return False
        if request.path.startswith("/_control/"):
            self.control = True
            return self.send(request, self.server.service.control(request), {}, DEFAULTS)
        with self.state.lock:
            step, forecast, job, names, period = self.server.service.route(request)
            self.names = forecast, names
            fault = self.state.take_fault(step, forecast, names, request.headers.get("apikey"))
            self.state.record(step, forecast, period, request)
        request.liberties.update(set(fault) - HARMLESS)
        answered = None
        try:
            self.wait(fault.get("delay_before"))
            answer = self.answer(step, forecast, job, request, fault)
            self.wait(fault.get("delay"))
            if fault.get("reset") or fault.get("close"):
                raise HangUp(bool(fault.get("reset")))
            answered = answer
        finally:
            # Before the client can go on, and before the process can be told to end.
            self.state.recorder.write(step, request, answered)
        settings = job.settings if job else self.state.settings(forecast, *sorted(names))
        return self.send(request, answer, fault, settings)

    def answer(self, step, forecast, job, request, fault):
        """The service's answer, the fault's in its place, or both one after the other."""
        replaced = {"status", "body", "json", "redirect"} & set(fault)
        try:
            if fault.get("carry_out", not replaced and not fault.get("reset") and not fault.get("close")):
                answer = self.server.service.carry_out(step, forecast, job, request, fault.get("job", {}))
            else:
                answer = Answer(200, {})
        except (Failure, Turned) as failure:
            answer = failure.answer
        except Exception:               # a fault of the simulator's own, which no test overlooks
            traceback.print_exc()
            with self.state.lock:
                self.state.crashes += 1
            request.liberties.add("crash")
            answer = Failure(500, "internal_server_error", "An unexpected error occurred.", {"tenant": "org-1"}).answer
        if replaced:
            headers = {"Location": fault["redirect"].replace("{job}", job.id if job else "")} if "redirect" in fault else {}
            body = raw(fault["body"]) if "body" in fault else None
            answer = Answer(fault.get("status", 302 if headers else 200), fault.get("json", {}), headers, body)
        if "merge" in fault:                # into the answer's object
            value = json.loads(answer.body)
            value.get("job", value).update(fault["merge"])
            answer.body = json.dumps(value).encode()
        for name, value in fault.get("headers", {}).items():
            if value.startswith("@+"):      # a date, so many seconds from now
                value = email.utils.formatdate(time.time() + float(value[2:]), usegmt=True)
            answer.headers[name] = value
        return answer

    def wait(self, seconds):
        """Waits, or with "hold" until released; ends early if the client goes."""
        if not seconds:
            return
        hold = (*self.names, os.eventfd(0), seconds == "hold")
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        poll.register(hold[2], select.POLLIN)
        with self.state.lock:
            self.state.holds.append(hold)
        try:
            for fd, _ in poll.poll(None if seconds == "hold" else seconds * 1000):
                if fd != hold[2]:
                    raise HangUp()
        finally:
            with self.state.lock:
                self.state.holds.remove(hold)
                os.close(hold[2])

    # -- sending

    def send(self, request, answer, fault, settings):
        packed = settings["gzip"] and "gzip" in request.headers.get("accept-encoding", "") or fault.get("gzip")
        transfer = settings["transfer"] if answer.data else "length"
        if "flood" in fault:
            body, transfer = flood(*fault["flood"]), "chunked"
            body = zipped(body) if packed else body
        else:
            body = self.body(answer, packed and fault.get("gzip") != "plain", transfer == "length")
        if set(fault) & {"cut", "replace", "append", "gzip", "content_length"}:
            body, transfer = self.spoil(body, fault), "length" if "content_length" in fault else transfer
        headers = {"Date": email.utils.formatdate(time.time() + settings["clock_skew"], usegmt=True), **answer.headers}
        if packed:
            headers["Content-Encoding"] = "gzip"
        keep = (settings["keepalive"] and transfer != "close" and "content_length" not in fault
                and request.headers.get("connection", "").lower() != "close")
        if not keep:
            headers["Connection"] = "close"
        if transfer == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif transfer == "length":
            size = len(body) if isinstance(body, bytes) else os.fstat(body.fileno()).st_size
            wrong = fault.get("content_length", "+0")
            headers.setdefault("Content-Length", size + int(wrong) if isinstance(wrong, str) else wrong)
        status = f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Unknown')}\r\n"
        head = (status + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n").encode("utf-8")
        self.send_body(head, body, transfer == "chunked", fault)
        return keep

    def body(self, answer, packed, whole):
        """Bytes, a file of the cache, or (unless wanted whole) an iterator that fills it."""
        if not answer.data:
            return gzip.compress(answer.body, 1) if packed else answer.body
        large = answer.data.owners * len(answer.data.series) >= BodyCache.SMALLEST
        key = (answer.data.key, bool(packed))
        file = large and self.server.cache.get(key)
        if file:
            return file
        pieces = answer.data.encoded()
        pieces = zipped(pieces) if packed else pieces
        if not large:
            return b"".join(pieces)
        pieces = self.server.cache.fill(key, pieces)
        if not whole:
            return pieces
        collections.deque(pieces, maxlen=0)
        return self.server.cache.get(key)

    def spoil(self, body, fault):
        """Changes the body's bytes; takes it all into memory."""
        body = body if isinstance(body, bytes) else b"".join(self.pieces(body))
        packed = body[:2] == b"\x1f\x8b"
        body = gzip.decompress(body) if packed else body
        if "replace" in fault:
            body = body.replace(*map(raw, fault["replace"]), 1)
        body = body[:fault.get("cut")] + raw(fault.get("append", ""))
        body = gzip.compress(body, 1) if packed else body
        middle = len(body) // 2
        if fault.get("gzip") == "broken":
            body = body[:middle] + bytes(b ^ 0x5A for b in body[middle:middle + 16]) + body[middle + 16:]
        return body[:middle] if fault.get("gzip") == "truncated" else body

    def pieces(self, body):
        if isinstance(body, bytes):
            return iter([body] if body else [])
        if hasattr(body, "fileno"):
            size = os.fstat(body.fileno()).st_size
            return (os.pread(body.fileno(), 1 << 20, at) for at in range(0, size, 1 << 20))
        return body

    def send_body(self, head, body, chunked, fault):
        wire = {"stall_after", "reset_after", "close_after", "trickle"} & set(fault)
        if isinstance(body, bytes) and not chunked and not wire:
            self.sock.sendall(head + body)
            return
        self.sock.sendall(head)
        if hasattr(body, "fileno") and not wire and not self.server.tls:
            self.send_file(body, chunked)
        else:
            for piece in self.faulty(self.pieces(body), fault) if wire else self.pieces(body):
                if piece:
                    self.sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.sock.sendall(b"0\r\n\r\n")

    def send_file(self, file, chunked):
        size = os.fstat(file.fileno()).st_size
        for at in range(0, size, 1 << 20):
            end = min(size, at + (1 << 20))
            if chunked:
                self.sock.sendall(b"%x\r\n" % (end - at), socket.MSG_MORE)
            while at < end:
                at += os.sendfile(self.sock.fileno(), file.fileno(), at, end - at)
            if chunked:
                self.sock.sendall(b"\r\n", socket.MSG_MORE)

    def faulty(self, pieces, fault):
        """The pieces, cut up, until the fault strikes."""
        strikes = {fault[name]: name for name in ("stall_after", "reset_after", "close_after") if name in fault}
        step, pause = fault.get("trickle", (1 << 16, 0))
        sent = 0
        for piece in pieces:
            while piece or sent in strikes:
                if sent in strikes:
                    self.strike(strikes.pop(sent), fault)
                    continue
                length = min([step] + [at - sent for at in strikes if at > sent])
                yield piece[:length]
                sent += len(piece[:length])
                piece = piece[length:]
                self.wait(pause)

    def strike(self, name, fault):
        if name == "stall_after":
            self.wait(fault.get("stall_seconds", "hold"))
        else:
            raise HangUp(name == "reset_after")


def raw(text):
    """As bytes; U+DC80 to U+DCFF stand for the bytes that no UTF-8 has."""
    return text.encode("utf-8", "surrogateescape")


def flood(head, unit, size, tail):
    """So many bytes of the unit, and what is around them, without holding them."""
    piece = raw(unit) * (65536 // len(raw(unit)) or 1)
    yield raw(head)
    for _ in range(size // len(piece)):
        yield piece
    yield raw(unit) * (size % len(piece) // len(raw(unit))) + raw(tail)


class Server:
    def __init__(self, state, host="127.0.0.1", port=0, base_path="/v4", tls=None):
        self.state, self.service, self.cache = state, Service(state, base_path), BodyCache()
        self.accepted, self.tls = 0, None
        if tls:
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(*tls)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.create_server((host, port), family=family, backlog=1024)
        self.host, self.port = self.listener.getsockname()[:2]
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else self.host}:{self.port}"

    def serve_forever(self):
        threading.stack_size(16 * 1024 * 1024)   # a deep JSON body takes as much from Python 3.12 on
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError as error:
                print(f"clari_sim: accept: {error}", file=sys.stderr)
                time.sleep(0.05)
                continue
            threading.Thread(target=Connection(sock, self).run, daemon=True).start()


# ---------------------------------------------------------------- command line

def parse_value(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def parse_command(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve until SIGTERM (the default)")
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, default=0)
    serve.add_argument("--port-file")
    serve.add_argument("--base-path", default="/v4")
    serve.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    serve.add_argument("--also", nargs="+", action="append", default=[], metavar=("HOST", "CERT KEY"),
                       help="listen there, too, on a port of its own, the next line of the port file")
    serve.add_argument("--exit-with-parent", action="store_true")
    serve.add_argument("--exit-with", type=int, metavar="PID", help="go when that process does")
    expected = commands.add_parser("expected", help="print what a foreign table must hold, as CSV")
    expected.add_argument("--object", choices=list(COLUMNS), default="forecasts")
    expected.add_argument("--no-header", action="store_true")
    expected.add_argument("--order-by", default="", help="columns, compared as bytes, nulls last")
    expected.add_argument("--forecast-field")
    expected.add_argument("--quota-field")
    expected.add_argument("--period-type", choices=["quarter", "month", "year"], default="quarter")
    file = commands.add_parser("file", help="print the file of an export")
    for command in (expected, file):
        command.add_argument("--forecast", default="net_arr")
        command.add_argument("--period", required=True)
        command.add_argument("--types", default=",".join(ALL_TYPES))
        command.add_argument("--currency")
        command.add_argument("--scope")
        command.add_argument("--historical", action="store_true")
    for command in (serve, expected, file):
        command.add_argument("--config", metavar="FILE", help='JSON: {"settings":{}, '
                             '"scopes":[{"forecast","period","settings"}], "faults":[]}')
        for name, default in DEFAULTS.items():
            command.add_argument("--" + name.replace("_", "-"), type=parse_value, dest="set_" + name, metavar="VALUE",
                                 help=f"default {json.dumps(default)}".replace("%", "%%"))
    if not argv or argv[0] not in ("serve", "expected", "file", "-h", "--help"):
        argv = ["serve", *argv]
    return parser.parse_args(argv)


def configured_state(args):
    state = State()
    if args.config:
        with open(args.config, encoding="utf-8") as file:
            config = json.load(file)
        for scope in [{"settings": config.get("settings", {})}, *config.get("scopes", [])]:
            state.set(scope)
        for fault in config.get("faults", []):
            state.add_fault(fault)
    flags = {name: getattr(args, "set_" + name) for name in DEFAULTS if getattr(args, "set_" + name) is not None}
    state.set({"settings": flags})
    return state


def watch_parent(parent):
    while os.getppid() == parent:
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


def watch_process(pid):
    try:
        poll = select.poll()
        poll.register(os.pidfd_open(pid), select.POLLIN)
        poll.poll()
    except ProcessLookupError:      # gone already
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def serve_command(args):
    parent = os.getppid()
    server = Server(configured_state(args), args.host, args.port, args.base_path, args.tls)
    others = [Server(server.state, host, 0, args.base_path, tls) for host, *tls in args.also]
    for other in others:
        threading.Thread(target=other.serve_forever, daemon=True).start()

    def leave(*_):
        if args.port_file and os.path.exists(args.port_file):
            os.unlink(args.port_file)
        os._exit(0)                 # threads of open connections are not waited for
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    if args.exit_with_parent:
        threading.Thread(target=watch_parent, args=(parent,), daemon=True).start()
    if args.exit_with:
        threading.Thread(target=watch_process, args=(args.exit_with,), daemon=True).start()
    if args.port_file:
        with open(args.port_file + ".new", "w", encoding="ascii") as file:
            file.write("".join(f"{each.port}\n" for each in [server, *others]))
        os.rename(args.port_file + ".new", args.port_file)
    print(f"listening on {server.url}", flush=True)
    server.serve_forever()


def print_command(args):
    settings = configured_state(args).settings(args.forecast, args.period)
    data = Data(args.forecast, args.period, settings, args.types.split(","), args.currency, args.historical, args.scope)
    if args.command == "file":
        pieces = data.encoded()
    else:
        order = [name for name in args.order_by.split(",") if name]
        pieces = (line.encode() for line in expected_csv(
            args.object, data, not args.no_header, order,
            forecast_field=args.forecast_field, quota_field=args.quota_field,
            period_type=args.period_type))
    try:
        for piece in pieces:
            sys.stdout.buffer.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(1)


def main(argv=None):
    args = parse_command(sys.argv[1:] if argv is None else argv)
    (serve_command if args.command == "serve" else print_command)(args)


if __name__ == "__main__":
    main()
