#!/usr/bin/python3
"""What the simulator promises: that it serves what it says it serves, that a
fault strikes when and where it was ordered, and that it comes and goes cleanly."""
import csv
import gzip
import http.client
import io
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from decimal import Decimal

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import clari_sim  # noqa: E402

SIM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "clari_sim.py")
KEY = {"apikey": "test-key"}
ALL = list(clari_sim.ALL_TYPES)
# The codes that Clari's document names, which itself would let anything pass.
CODES = {
    ("post", 400): {"export_monthly_quota_reached", "no_such_forecast_config", "missing_forecast_id", "type_not_supported",
                    "bad_request"},
    ("post", 401): {"no_optin"}, ("poll", 400): {"SWW"}, ("poll", 403): {"SWW"}, ("results", 400): {"invalid_jobId"},
    ("patch", 400): {"export_failed_to_cancel"}}


class Sim:
    """A running simulator and a small client for it."""

    def __init__(self, *flags, environment=None):
        self.process = subprocess.Popen([sys.executable, SIM, "--exit-with-parent", *flags], stdout=subprocess.PIPE,
                                        env={**os.environ, **(environment or {})})
        self.port = int(self.process.stdout.readline().decode().rstrip().rpartition(":")[2])

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.stdout.close()
        return self.process.wait(5)

    def raw(self, method, path, body=None, headers=None, timeout=10):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            body = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, body, KEY if headers is None else headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def json(self, method, path, body=None, headers=None):
        status, _, text = self.raw(method, path, body, headers)
        return status, json.loads(text)

    def control(self, verb, body=None):
        status, answer = self.json("GET" if body is None else "POST", "/_control/" + verb, body, {})
        assert status == 200, answer
        return answer

    def post(self, period, forecast="net_arr", **body):
        if period:
            body["timePeriod"] = period
        return self.json("POST", "/v4/export/forecast/" + forecast, {"typesToExport": ALL, **body})

    def wait(self, job, deadline=5):
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            status, answer = self.json("GET", "/v4/export/jobs/" + job)
            answer = answer.get("job", answer)
            if status != 200 or answer["status"] not in ("SCHEDULED", "STARTED"):
                return answer
            time.sleep(0.01)
        raise AssertionError("the job did not finish")

    def export(self, period, **body):
        """The file of an export, numbers as their text."""
        _, answer = self.post(period, **body)
        self.wait(answer["jobId"])
        status, headers, text = self.raw("GET", f"/v4/export/jobs/{answer['jobId']}/results")
        assert status == 200, text
        return json.loads(text, parse_int=clari_sim.Amount, parse_float=clari_sim.Amount)


class Served(unittest.TestCase):
    """One simulator for all tests of a class; each begins with it forgetful."""
    flags = ("--owners", "40", "--job-seconds", "0.02")

    @classmethod
    def setUpClass(cls):
        cls.sim = Sim(*cls.flags)

    @classmethod
    def tearDownClass(cls):
        cls.sim.stop()

    def setUp(self):
        self.sim.control("reset", {"settings": True})
        self.set(owners=40, job_seconds=0.02)

    def tearDown(self):
        self.assertEqual(self.sim.control("seen")["crashes"], 0)

    def set(self, forecast=None, period=None, **settings):
        self.sim.control("set", {"forecast": forecast, "period": period, "settings": settings})

    def refused(self, step, answer, code, namespace, **more):
        """Status and body are the document's refusal of the step, with that code."""
        status, body = answer
        self.assertIn(code, CODES[step, status])
        self.assertEqual((body.pop("code"), body.pop("namespace")), (code, namespace))
        self.assertRegex(body.pop("errorId"), r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertIsInstance(body.pop("orgId"), int)
        message = body.pop("message")
        self.assertEqual(body, more)
        return message

    def fault(self, step, times=1, period=None, **fault):
        self.sim.control("fault", {"step": step, "times": times, "period": period, "fault": fault})


class TheData(unittest.TestCase):
    def test_numbers_print_as_numeric_out_prints_them(self):
        for literal, text in (("1e3", "1000"), ("0.10", "0.10"), ("-0.005", "-0.005"), ("-0", "0"), ("0.00", "0.00"),
                              ("2.50E-3", "0.00250"), ("12.340e1", "123.40"), ("9007199254740993", "9007199254740993")):
            self.assertEqual(clari_sim.numeric_out(literal), text)

    def test_fiscal_quarters_begin_in_the_month_set(self):
        dates = lambda *a: tuple(map(str, clari_sim.quarter_dates(*a)))
        self.assertEqual(dates("2026_Q1", 2), ("2025-02-01", "2025-04-30"))
        self.assertEqual(dates("2026_Q4", 2), ("2025-11-01", "2026-01-31"))
        self.assertEqual(dates("2026_Q1", 1), ("2026-01-01", "2026-03-31"))
        self.assertEqual(dates("2026_Q3", 7), ("2026-01-01", "2026-03-31"))
        self.assertEqual(clari_sim.shift_quarter("2026_Q1", -1), "2025_Q4")

    def test_a_version_changes_the_owners_it_says_and_no_others(self):
        rows = [list(clari_sim.expected_rows("forecasts", clari_sim.Data(
            "net_arr", "2026_Q1", {"owners": 300, "version": v}))) for v in range(3)]
        for v in (1, 2):
            differ = [u for u in range(300) if rows[v][u] != rows[v - 1][u]]
            data = clari_sim.Data("net_arr", "2026_Q1", {"owners": 300, "version": v})
            self.assertEqual(differ, clari_sim.changed_owners(data))
            self.assertEqual(len(differ), 3)

    def test_awkward_values_occur(self):
        data = clari_sim.Data("net_arr", "2026_Q1", {"owners": 1000})
        rows = list(clari_sim.expected_rows("forecasts", data))
        amounts = {row[2] for row in rows}
        self.assertLessEqual({None, "1000", "0.10", "-0.005", "0", "1234567890123.45", "9007199254740993"}, amounts)
        names = "".join(row[0] for row in rows)
        for character in '"\n\\é😀%':
            self.assertIn(character, names)
        self.assertIn("", {row[0] for row in rows})
        self.assertIn(None, {row[1] for row in rows})
        self.assertEqual(len({row[1] for row in rows if row[1]}), 1000 - 25)

    def test_latin1_names_are_latin1(self):
        data = clari_sim.Data("net_arr", "2026_Q1", {"owners": 1000, "charset": "latin1"})
        for user in data.users():
            "".join(filter(None, user.values())).encode("latin-1")

    def test_an_export_as_csv_has_the_same_values(self):
        amount = lambda text: Decimal(text.replace("$", "").replace(",", "").replace("(", "-").replace(")", "")) if text else None
        for shape, lines in (("csv", "gathered"), ("csv", "by_type"), ("rows", "gathered")):
            data = clari_sim.Data("net_arr", "2026_Q1", {"owners": 60, "shape": shape, "lines": lines, "amount_format": "parentheses"})
            text = b"".join(data.encoded()).decode()
            rows = json.loads(text) if shape == "rows" else list(csv.DictReader(io.StringIO(text, newline="")))
            self.assertEqual(list(rows[0]), clari_sim.LINE_COLUMNS)
            values = {(r["CRM User ID"], r["User"], r["Field"], r["Data Type"]): r["Data Value"] for r in rows}
            self.assertEqual(len(values), len(rows))
            count = 0
            for entry in data.entries():
                user = data.user(int(entry["userId"][-8:]))
                field = next(f["fieldName"] for f in data.fields if f["fieldId"] == entry["fieldId"])
                for kind, name in data.values(entry):
                    value, shown = entry[name], values[user["crmId"], user["name"], field, kind]
                    count += 1
                    if name == "isUpdated":
                        self.assertEqual(shown, {True: "Yes", False: "No", None: ""}[value])
                    else:
                        self.assertEqual(amount(shown), value and Decimal(value))
            self.assertEqual(count, len(rows))
        self.assertEqual(clari_sim.for_people("-1234.5", "continental", "EUR"), "-€1.234,5")

    def test_a_tab_may_be_by_month_or_year(self):
        settings = {"owners": 40, "period_types": ["month", "quarter", "year"]}
        ids = ["2026_M01", "2026_M02", "2026_M03", "2026_Q1", "2026"]
        for historical in (False, True):
            data = clari_sim.Data("net_arr", "2026_Q1", settings, historical=historical)
            file = json.loads(b"".join(data.encoded()).decode())
            self.assertEqual([p["timePeriodId"] for p in file["timePeriods"]], ids)
            self.assertEqual([p["startDate"] for p in file["timePeriods"]],
                             ["2025-02-01", "2025-03-01", "2025-04-01", "2025-02-01", "2025-02-01"])
            self.assertEqual({e["timePeriodId"] for e in file["entries"]}, set(ids))
            keys = {(e["userId"], e["timePeriodId"], e["timeFrameId"], e["fieldId"]) for e in file["entries"]}
            self.assertEqual(len(keys), len(file["entries"]))
            weeks = {f["timeFrameId"]: f["startDate"] for f in file["timeFrames"]}
            for entry in file["entries"]:
                period = file["timePeriods"][ids.index(entry["timePeriodId"])]
                self.assertTrue(period["startDate"] <= weeks[entry["timeFrameId"]] <= period["endDate"])
        # A quarter's amounts are the same whatever stands beside it, and a month's are none of its own.
        alone = clari_sim.Data("net_arr", "2026_Q1", {"owners": 40})
        beside = clari_sim.Data("net_arr", "2026_Q1", settings)
        rows = lambda data, kind: list(clari_sim.expected_rows("forecasts", data, period_type=kind))
        self.assertEqual(rows(alone, "quarter"), rows(beside, "quarter"))
        self.assertEqual({row[7] for row in rows(beside, "month")}, set(ids[:3]))
        self.assertEqual(len(rows(beside, "month")), 120)
        self.assertEqual({row[7] for row in rows(beside, "year")}, {"2026"})
        self.assertEqual(rows(alone, "month"), [])
        flat = clari_sim.Data("net_arr", "2026_Q1", {**settings, "shape": "flat"})
        self.assertEqual(rows(flat, "month"), rows(beside, "month"))
        calendar = clari_sim.Data("net_arr", "2026_Q4", {**settings, "month_numbers": "calendar"})
        self.assertEqual([p["timePeriodId"] for p in calendar.time_periods()][:3], ["2025_M11", "2025_M12", "2026_M01"])
        lines = clari_sim.Data("net_arr", "2026_Q1", {**settings, "shape": "csv"})
        self.assertEqual({line["Timeframe"] for line in lines.lines()},
                         {"February FY 2026", "March FY 2026", "April FY 2026", "Q1 FY 2026", "FY 2026"})
        # What is still to come of the current quarter is listed, and has no entries.
        current = clari_sim.Data("net_arr", "2026_Q4", settings)
        self.assertEqual({e["timePeriodId"] for e in current.entries()}, {"2026_M10", "2026_M11", "2026_Q4", "2026"})

    def test_the_csv_reads_back(self):
        data = clari_sim.Data("net_arr", "2026_Q1", {"owners": 200})
        for kind, columns in clari_sim.COLUMNS.items():
            text = "".join(clari_sim.expected_csv(kind, data, order_by=columns[:1]))
            rows = list(csv.reader(io.StringIO(text, newline="")))
            self.assertEqual(rows[0], columns)
            want = [[value or "" for value in row] for row in clari_sim.expected_rows(kind, data)]
            self.assertEqual(sorted(rows[1:]), sorted(want))
        self.assertEqual(clari_sim.csv_line([None, "", 'a"b', "x\ny", "z"]), ',"","a""b","x\ny",z\n')

    def test_the_file_is_what_is_expected_in_every_order(self):
        seen = set()
        for settings in ({}, {"entry_order": "by_user"}, {"entry_order": "shuffled"}, {"version": 3}, {"owners": 2400},
                         {"owners": 0}, {"amounts": "plain"}, {"list_order": "entries_first"},
                         {"list_order": "entries_last"}, {"crm_names": "aggregation"}, {"duplicate_emails": 10},
                         {"fields": ["a", "b", {"id": "c", "type": "QUOTA"}]}, {"owners": 0, "entry_order": "shuffled"}):
            for historical in (False, True):
                data = clari_sim.Data("net_arr", "2026_Q1", {"owners": 60, **settings}, currency="EUR",
                                      historical=historical)
                text = b"".join(data.encoded()).decode()
                file = json.loads(text, parse_int=clari_sim.Amount, parse_float=clari_sim.Amount)
                seen.add(tuple(file))
                self.assertEqual(file["users"], list(data.users()))
                order = lambda e: (e["userId"], e["fieldId"], e["timeFrameId"])
                want = [{k: str(v) if isinstance(v, int) and not isinstance(v, bool) else v for k, v in e.items()}
                        for e in data.entries()]
                self.assertEqual(sorted(file["entries"], key=order), sorted(want, key=order))
                self.assertEqual(len(want), data.count())
                self.assertEqual(file["timeFrames"], data.time_frames())
        self.assertTrue(any(order[0] == "entries" for order in seen))
        self.assertTrue(any(order[-1] == "entries" for order in seen))

    def test_only_the_types_asked_for_are_there(self):
        data = clari_sim.Data("net_arr", "2026_Q1", {"owners": 50}, ["forecast"])
        names = set().union(*data.entries())
        self.assertEqual(names, {"fieldId", "userId", "timePeriodId", "timeFrameId", "forecastValue"})
        self.assertEqual([f["fieldType"] for f in data.fields], ["FORECAST"])
        self.assertEqual([f["fieldType"] for f in clari_sim.Data("x", "2026_Q1", {}, ["quota"]).fields], ["QUOTA"])

    def test_both_shapes_pivot_to_the_same_rows(self):
        rows = [list(clari_sim.expected_rows("forecasts", clari_sim.Data(
            "net_arr", "2026_Q1", {"owners": 50, "shape": shape}))) for shape in ("v4", "flat")]
        self.assertEqual(*rows)
        flat = clari_sim.Data("net_arr", "2026_Q1", {"owners": 50, "shape": "flat"})
        entries = json.loads(b"".join(flat.encoded()), parse_int=Decimal, parse_float=Decimal)["entries"]
        self.assertEqual([e["ownerName"] for e in entries], [row[0] for row in rows[0]])


class TheService(Served):
    def test_an_export_gives_the_data_and_the_job_its_fields(self):
        status, answer = self.sim.post("2026_Q1")
        self.assertEqual((status, list(answer)), (200, ["jobId"]))
        self.sim.wait(answer["jobId"])
        job = self.sim.json("GET", "/v4/export/jobs/" + answer["jobId"])[1]
        kinds = {int: "userId orgId startTime endTime expiredTime version downloads", bool: "viewed cellsTruncated rowsTruncated",
                 str: "jobId title module fileName fileType status currency", dict: "deliveryStatusMap"}
        self.assertEqual({name: type(value) for name, value in job.items()},
                         {name: kind for kind, names in kinds.items() for name in names.split()})
        self.assertRegex(job["fileName"], r"^clari_export_net_arr_2026_Q12915_\d{8}_\d{6}\.json$")
        self.assertEqual((job["currency"], job["expiredTime"] - job["endTime"]), ("USD", 30 * 86_400_000))
        file = self.sim.export("2026_Q1")
        self.assertEqual(file["timePeriods"][0]["timePeriodId"], "2026_Q1")
        self.assertEqual({frame["timeFrameId"] for frame in file["timeFrames"]}, {"TF:2025-04-26"})
        self.assertEqual(file["users"], list(clari_sim.Data("net_arr", "2026_Q1", {"owners": 40}).users()))
        self.assertEqual(self.sim.control("seen")["periods"]["2026_Q1"]["post"], 2)

    def test_what_is_not_known_yet_is_absent(self):
        self.set(job_seconds="hold", queue_seconds="hold")
        poll = lambda: self.sim.json("GET", "/v4/export/jobs/" + job)[1]
        job = self.sim.post("2026_Q1")[1]["jobId"]
        self.assertEqual(poll()["status"], "SCHEDULED")
        self.assertEqual({"startTime", "endTime", "expiredTime"} & set(poll()), set())
        self.set(queue_seconds=0, file_name="finished")
        job = self.sim.post("2026_Q1")[1]["jobId"]
        self.assertEqual(poll()["status"], "STARTED")
        self.assertEqual({"startTime", "endTime", "expiredTime", "fileName"} & set(poll()), {"startTime"})
        self.set(unknown="null", account_currency=None)
        job = self.sim.post("2026_Q1")[1]["jobId"]
        self.assertEqual([poll()[name] for name in ("endTime", "expiredTime", "fileName", "currency")], [None] * 4)

    def test_a_flag_is_a_boolean_however_it_was_set(self):
        self.set(rows_truncated=0, cells_truncated=1)
        job = self.sim.wait(self.sim.post("2026_Q1")[1]["jobId"])
        self.assertEqual((job["rowsTruncated"], job["cellsTruncated"]), (False, True))
        self.assertEqual({type(job[name]) for name in ("rowsTruncated", "cellsTruncated")}, {bool})

    def test_users_and_organizations_have_numbers(self):
        self.set(keys={"test-key": {"user": "me", "tenant": "us"}, "again": {"user": "me", "tenant": "us"},
                       "other": {"user": 7, "tenant": "them"}})
        whose = {}
        for key in ("test-key", "again", "other"):
            status, answer = self.sim.json("POST", "/v4/export/forecast/net_arr", {}, {"apikey": key})
            job = self.sim.json("GET", "/v4/export/jobs/" + answer["jobId"], None, {"apikey": key})[1]
            whose[key] = job["userId"], job["orgId"]
        self.assertEqual(whose["test-key"], whose["again"])
        self.assertEqual(whose["other"][0], 7)
        self.assertNotEqual(whose["other"][1], whose["again"][1])
        self.assertTrue(all(0 < number < 2 ** 31 for pair in whose.values() for number in pair))

    def test_expected_says_the_same_over_http_and_on_the_command_line(self):
        self.set(period="2026_Q1", owners=7, version=1)
        _, _, text = self.sim.raw("GET", "/_control/expected?period=2026_Q1&object=entries")
        printed = subprocess.run([sys.executable, SIM, "expected", "--period", "2026_Q1", "--owners", "7",
                                  "--version", "1", "--object", "entries"], capture_output=True, check=True).stdout
        self.assertEqual(text, printed)

    def test_an_unknown_period_is_answered_with_the_current_one(self):
        for asked in ("2031_Q1", None):
            self.assertEqual(self.sim.export(asked)["timePeriods"][0]["timePeriodId"], "2026_Q4")
        self.assertEqual(sorted(self.sim.control("seen")["periods"]), ["2031_Q1", "current"])

    def test_the_gateway_turns_away_whom_it_does_not_know_and_who_calls_too_often(self):
        self.assertEqual(self.sim.json("GET", "/elsewhere")[0], 404)
        for headers in ({}, {"apikey": "no"}):
            self.assertEqual(self.sim.json("POST", "/v4/export/forecast/net_arr", {}, headers),
                             (401, {"message": "Invalid authentication credentials"}))
        get = lambda: self.sim.raw("GET", "/v4/admin/limits", None, {"apikey": "any"})
        self.set(keys={"*": {}}, rate_limit=1000)
        self.assertEqual(get()[0], 200)
        self.set(rate_limit=0.5)        # so that one within a second is too many
        status, headers, body = get()
        self.assertEqual((status, json.loads(body), headers["Retry-After"]), (429, {"message": "API rate limit exceeded"}, "1"))

    def test_a_forecast_that_is_not_there_or_not_for_this_user_is_refused(self):
        self.set(keys={"test-key": {}, "shy": {"no_optin": ["net_arr"]}})
        post = lambda forecast, key: self.sim.json("POST", "/v4/export/forecast/" + forecast, {}, {"apikey": key})
        self.assertIn("net_arr", self.refused("post", post("net_arr", "shy"), "no_optin", "fcw"))
        self.assertIn("monthly_forecast", self.refused("post", post("monthly_forecast", "test-key"), "no_such_forecast_config",
                                                       "fcw"))
        self.refused("post", post("", "test-key"), "missing_forecast_id", "fcw")
        self.set(not_found=404)
        self.assertEqual(post("nothing", "test-key")[0], 404)

    def test_a_malformed_request_is_repeated_in_the_refusal(self):
        post = lambda body: self.sim.json("POST", "/v4/export/forecast/net_arr", body)
        for body in (b"quota", b"[]", b"{", b'{"timePeriod":5}', b'{"scopeId":{"type":"MGR"}}', b'{"includeHistorical":"yes"}',
                     b'{"typesToExport":"quota"}', b'{"typesToExport":[5]}', b'{"schedule":"DAILY"}', b'{"exportFormat":"XML"}',
                     b'{"currency":["USD"]}', b'{"x":NaN}'):
            self.assertIn(body.decode(), self.refused("post", post(body), "bad_request", "fcw"))
        self.assertIn('["quotas"]', self.refused("post", post({"typesToExport": ["quota", "quotas"]}), "bad_request", "fcw"))
        self.assertIn("currency", self.refused("post", post({"currency": "dollar"}), "bad_request", "fcw"))
        self.set(export_formats=["JSON"])
        self.assertIn("JSON", self.refused("post", post({"exportFormat": "CSV"}), "bad_request", "fcw"))
        self.assertEqual(self.sim.control("seen")["jobs"], [])
        self.assertEqual(post({"currency": None, "scopeId": None, "timePeriod": None})[0], 200)

    def test_nothing_that_is_sent_makes_it_fall(self):
        values = [None, True, False, 0, -1, 0.5, 10 ** 40, "", "x", "\ud800", "\0", "2026_Q9", [], [[]], [None], [5], [{}], ["x"],
                  {}, {"a": {}}, {"type": "CANCEL"}, ["\udfff"]]
        bodies = [json.dumps(value).encode() for value in values]
        bodies += [json.dumps({name: value}).encode() for name in [*clari_sim.PARAMETERS, "type", "x"] for value in values]
        bodies += [b"", b" ", b"\xff\xfe", b"\x00", b"[" * 100_000, b'{"timePeriod":' * 50_000, b'"', b"1" * 10_000, b"\xef\xbb\xbf{}"]
        job = self.sim.post("2026_Q1")[1]["jobId"]
        self.set(monthly_quota=100_000, concurrent_limit=10_000, job_seconds=0)
        for body in bodies:
            self.assertIn(self.sim.raw("POST", "/v4/export/forecast/net_arr", body)[0], (200, 400), body)
            self.assertIn(self.sim.raw("PATCH", "/v4/export/jobs/" + job, body)[0], (200, 400), body)
        for name in [*clari_sim.PARAMETERS, "x"]:
            for value in ("", "x", "%00", "%ff", "true", "%F0%9F%98%80", "{}", "[]", "&", "=", f"a&{name}=b"):
                self.assertIn(self.sim.raw("POST", f"/v4/export/forecast/net_arr?{name}={value}")[0], (200, 400), (name, value))
        for name in ("%00", "%ff", "..", "%2F", "a%20b", "%F0%9F%98%80", "x" * 5000, "*", "(", "%"):
            self.refused("poll", self.sim.json("GET", "/v4/export/jobs/" + name), "SWW", "exports")
            self.refused("post", self.sim.json("POST", "/v4/export/forecast/" + name), "no_such_forecast_config", "fcw")

    def test_the_query_says_the_same_as_the_body_which_wins(self):
        def file(query, body=None):
            status, answer = self.sim.json("POST", "/v4/export/forecast/net_arr?" + query, body)
            self.assertEqual(status, 200, answer)
            self.sim.wait(answer["jobId"])
            return json.loads(self.sim.raw("GET", f"/v4/export/jobs/{answer['jobId']}/results")[2])
        self.set(scopes={"1905::MGR": 3})
        got = file("timePeriod=2026_Q2&typesToExport=quota&typesToExport=adjustment&scopeId=1905%3A%3AMGR&currency=EUR"
                   "&includeHistorical=true&exportFormat=JSON")
        self.assertEqual(got["timePeriods"][0]["timePeriodId"], "2026_Q2")
        self.assertEqual({e["currency"]["code"] for e in got["entries"]}, {"EUR"})
        self.assertGreater(len(got["timeFrames"]), 1)
        names = set().union(*got["entries"])
        self.assertTrue({"quotaValue", "adjustmentValue"} <= names and "forecastValue" not in names)
        self.assertEqual(len(got["users"]), 3 + 1)
        self.assertEqual(file("timePeriod=2026_Q2", {"timePeriod": "2026_Q3"})["timePeriods"][0]["timePeriodId"], "2026_Q3")
        self.assertIn("2026_Q2", self.sim.control("seen")["periods"])

    def test_a_tenant_may_have_no_exports_of_crm_amounts(self):
        self.set(crm_exports=False)
        for types in (ALL, ["crm_total"], ["forecast", "crm_closed"]):
            self.refused("post", self.sim.post("2026_Q1", typesToExport=types), "type_not_supported", "fcw")
        self.assertEqual(self.sim.post("2026_Q1", typesToExport=ALL[:4])[0], 200)

    def test_results_are_refused_until_done_and_a_held_job_is_done_when_released(self):
        self.set(period="2026_Q1", job_seconds="hold")
        job = self.sim.post("2026_Q1")[1]["jobId"]
        for name in (job, "none"):
            self.refused("results", self.sim.json("GET", f"/v4/export/jobs/{name}/results"), "invalid_jobId", "exports")
        self.assertEqual(self.sim.control("release", {"period": "2026_Q2"})["jobs"], 0)
        self.assertEqual(self.sim.control("release", {"period": "2026_Q1"})["jobs"], 1)
        self.assertEqual(self.sim.wait(job)["status"], "DONE")

    def test_limits_are_refused_by_one_code_and_admin_limits_tells_which(self):
        self.set(concurrent_limit=2, monthly_quota=4, monthly_used=1, job_seconds="hold", queue_seconds=0)
        jobs = [self.sim.post("2026_Q1")[1]["jobId"] for _ in range(2)]
        message = self.refused("post", self.sim.post("2026_Q1"), "export_monthly_quota_reached", "exports", source="Export")
        self.assertRegex(message, "monthly .* 4 .* concurrent .* 2 ")
        limits = self.sim.json("GET", "/v4/admin/limits")[1]["jobs"]
        self.assertEqual((limits["availableConcurrentLimit"], limits["availableMonthlyQuota"]), (0, 1))
        self.assertEqual((limits["runningJobIds"], limits["submittedJobIds"][1:]), (jobs, jobs))
        self.sim.control("release", {})
        limits = self.sim.json("GET", "/v4/admin/limits")[1]["jobs"]
        self.assertEqual((len(limits["submittedJobIds"]), "runningJobIds" in limits), (3, False))
        self.sim.post("2026_Q1")
        self.refused("post", self.sim.post("2026_Q1"), "export_monthly_quota_reached", "exports", source="Export")
        self.assertEqual(self.sim.control("seen")["most_jobs_at_once"], 2)
        self.set(limit_codes="two", concurrent_limit=1)
        self.assertEqual(self.sim.post("2026_Q1")[1]["code"], "export_concurrent_limit_reached")

    def test_canceling_frees_the_job_once(self):
        cancel = lambda: self.sim.json("PATCH", "/v4/export/jobs/" + job, {"type": "CANCEL"})
        for queued, state in (("hold", "CANCELLED"), (0, "ABORTED")):
            self.set(job_seconds="hold", queue_seconds=queued, monthly_quota=1)
            job = self.sim.post("2026_Q1")[1]["jobId"]
            self.assertEqual(cancel(), (200, {"status": state, "successful": True}))
            self.refused("patch", cancel(), "export_failed_to_cancel", "exports")
            self.assertEqual(self.sim.json("GET", "/v4/export/jobs")[1][-1]["status"], state)
        job = self.sim.post("2026_Q1")[1]["jobId"]
        self.refused("patch", self.sim.json("PATCH", "/v4/export/jobs/" + job, {}), "export_failed_to_cancel", "exports")
        job = "none"
        self.refused("patch", cancel(), "export_failed_to_cancel", "exports")

    def test_nobody_sees_the_jobs_of_others(self):
        self.set(keys={"test-key": {}, "other": {"tenant": "org-2", "seed": 2}, "same": {"user": "colleague"}})
        job = self.sim.post("2026_Q1")[1]["jobId"]
        poll = lambda key: self.sim.json("GET", "/v4/export/jobs/" + job, None, {"apikey": key})
        for key, status in (("other", 400), ("same", 403)):
            self.assertEqual(self.sim.json("GET", "/v4/export/jobs", None, {"apikey": key}), (200, []))
            self.assertEqual(poll(key)[0], status)
            self.refused("poll", poll(key), "SWW", "exports")
            self.refused("results", self.sim.json("GET", f"/v4/export/jobs/{job}/results", None, {"apikey": key}),
                         "invalid_jobId", "exports")
        self.set(listed_jobs="tenant")
        self.sim.post("2026_Q1")
        self.assertEqual(len(self.sim.json("GET", "/v4/export/jobs", None, {"apikey": "same"})[1]), 1)

    def test_a_job_that_is_not_there_is_something_that_went_wrong(self):
        poll = lambda name: self.sim.json("GET", "/v4/export/jobs/" + name)
        self.assertEqual(self.refused("poll", poll("none"), "SWW", "exports"), "Something went wrong")
        self.fault("post", job={"lost": True})
        self.refused("poll", poll(self.sim.post("2026_Q1")[1]["jobId"]), "SWW", "exports")
        self.set(not_found=404)
        for answer in (poll("none"), self.sim.json("GET", "/v4/export/jobs/none/results")):
            self.assertEqual((answer[0], answer[1]["code"]), (404, "export_job_not_found"))

    def test_the_list_tells_whose_job_it_is_and_what_of(self):
        self.set(keys={"test-key": {"user": 1}, "other": {"user": 2}}, job_seconds="hold", file_name="finished",
                 listed_jobs="tenant", tenants={"org-1": {"account_currency": "GBP"}})
        mine = self.sim.post("2026_Q1", currency="EUR")[1]["jobId"]
        body = {"timePeriod": "2026_Q2", "typesToExport": ["quota"]}
        self.sim.raw("POST", "/v4/export/forecast/bookings", body, {"apikey": "other"})
        jobs = self.sim.json("GET", "/v4/export/jobs")[1]
        self.assertEqual([(j["userId"], j["currency"], "fileName" in j) for j in jobs], [(1, "EUR", False), (2, "GBP", False)])
        self.sim.control("release", {})
        jobs = self.sim.json("GET", "/v4/export/jobs", None, {"apikey": "other"})[1]
        self.assertRegex(jobs[0]["fileName"], "^clari_export_net_arr_2026_Q1")
        self.assertRegex(jobs[1]["fileName"], "^clari_export_bookings_2026_Q2")
        self.assertEqual(self.sim.control("seen")["total"]["list"], 2)
        for setting, pattern in (("always", "2026_Q3"), ("plain", r"^clari_export_default-view_\d{8}_\d{6}\.json$")):
            self.set(file_name=setting)
            self.sim.post("2026_Q3")
            self.assertRegex(self.sim.json("GET", "/v4/export/jobs")[1][-1]["fileName"], pattern)
        self.fault("list", status=503)
        self.assertEqual(self.sim.raw("GET", "/v4/export/jobs")[0], 503)
        self.assertEqual(mine, jobs[0]["jobId"])

    def test_the_list_has_jobs_of_other_modules(self):
        self.set(other_jobs=2)
        self.sim.post("2026_Q1")
        jobs = self.sim.json("GET", "/v4/export/jobs")[1]
        self.assertEqual([j["module"] for j in jobs], ["OPPORTUNITY", "OPPORTUNITY", "FORECAST"])
        self.assertEqual(["endTime" in j for j in jobs[:2]], [False, True])

    def test_the_synchronous_read_gives_what_an_export_would_and_makes_no_job(self):
        self.set(crm_exports=False)
        types = "&".join("typesToExport=" + name for name in ALL)
        status, read = self.sim.json("GET", "/v4/forecast/net_arr?timePeriod=2026_Q1&includeHistorical=true&" + types)
        self.assertEqual((status, sorted(read)), (200, sorted(clari_sim.LISTS)))
        self.assertEqual((len(read["timeFrames"]), self.sim.control("seen")["jobs"]), (1, []))
        self.assertTrue(any(e.get("crmTotal") is not None for e in read["entries"]))
        self.assertEqual(self.sim.control("seen")["periods"]["2026_Q1"]["read"], 1)
        self.assertEqual(self.sim.json("GET", "/v4/forecast/none")[1]["code"], "no_such_forecast_config")
        self.set(forecast_api=False)
        self.assertEqual(self.sim.json("GET", "/v4/forecast/net_arr")[0], 404)

    def test_exchanges_are_written_down_with_the_liberties_taken(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        sim = Sim("--job-seconds", "0", environment={"CLARI_SIM_RECORD": directory.name})
        job = sim.post("2026_Q1")[1]["jobId"]
        sim.control("fault", {"step": "poll", "times": 1, "fault": {"merge": {"status": "PURPLE"}, "delay": 0.01}})
        for _ in range(2):
            sim.json("GET", "/v4/export/jobs/" + job)
        sim.control("set", {"settings": {"wrapped": True, "unknown": "null", "not_found": 404, "account_currency": None}})
        job = sim.post("2026_Q1")[1]["jobId"]
        sim.json("GET", "/v4/export/jobs/" + job)
        sim.json("GET", "/v4/export/jobs/none")
        sim.raw("GET", f"/v4/export/jobs/{job}/results")
        sim.control("fault", {"step": "limits", "fault": {"close": True}})
        with self.assertRaises(http.client.HTTPException):
            sim.raw("GET", "/v4/admin/limits")
        sim.stop()
        [name] = os.listdir(directory.name)
        with open(os.path.join(directory.name, name), encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        self.assertEqual([(line["step"], line["answer"] and line["answer"]["liberties"]) for line in lines],
                         [("post", []), ("poll", ["merge"]), ("poll", []), ("post", []), ("poll", ["unknown", "wrapped"]),
                          ("poll", ["not_found"]), ("results", []), ("limits", None)])
        self.assertEqual((lines[0]["method"], lines[0]["target"], json.loads(lines[0]["body"])["timePeriod"]),
                         ("POST", "/v4/export/forecast/net_arr", "2026_Q1"))
        self.assertEqual((lines[0]["answer"]["status"], list(json.loads(lines[0]["answer"]["body"]))), (200, ["jobId"]))
        self.assertEqual((lines[0]["headers"]["apikey"], lines[6]["answer"]["body"]), ("test-key", None))

    def test_old_jobs_are_forgotten_when_there_are_many(self):
        self.set(keep_jobs=3, job_seconds=0)
        jobs = [self.sim.post("2026_Q1")[1]["jobId"] for _ in range(5)]
        self.assertEqual([job["jobId"] for job in self.sim.json("GET", "/v4/export/jobs")[1]], jobs[2:])

    def test_a_held_job_can_end_as_ordered(self):
        self.set(job_seconds="hold")
        self.fault("post", job={"end_state": "FAILED"})
        job = self.sim.post("2026_Q1")[1]["jobId"]
        self.assertIn(self.sim.json("GET", "/v4/export/jobs/" + job)[1]["status"], ("SCHEDULED", "STARTED"))
        self.sim.control("release", {})
        self.assertEqual(self.sim.wait(job)["status"], "FAILED")

    def test_every_way_of_sending_gives_the_same_bytes(self):
        self.set(owners=12000, wrapped=True, post_status=202)
        status, answer = self.sim.post("2026_Q1")
        self.assertEqual(status, 202)
        job = answer["jobId"]
        self.sim.wait(job)
        want = b"".join(clari_sim.Data("net_arr", "2026_Q1", {"owners": 12000}).encoded())
        for transfer in ("chunked", "length", "close"):
            for encoding in ("identity", "gzip"):
                for _ in ("cold", "cached"):
                    self.sim.control("set", {"settings": {"transfer": transfer}})
                    job = self.sim.post("2026_Q1")[1]["jobId"]
                    self.sim.wait(job)
                    _, headers, body = self.sim.raw("GET", f"/v4/export/jobs/{job}/results", None,
                                                    {**KEY, "Accept-Encoding": encoding})
                    body = gzip.decompress(body) if encoding == "gzip" else body
                    self.assertEqual(len(body), len(want))
                    self.assertTrue(body == want)

    def test_many_connections_at_once_and_they_are_counted(self):
        self.fault("limits", None, delay="hold")
        results = []
        get = lambda: results.append(self.sim.raw("GET", "/v4/admin/limits")[0])
        threads = [threading.Thread(target=get) for _ in range(200)]
        for thread in threads:
            thread.start()
        seen = self.sim.control("seen?step=limits&at_least=200")
        self.assertEqual(seen["open_connections"], 200)
        while any(thread.is_alive() for thread in threads):
            self.sim.control("release", {})
        self.assertEqual(results, [200] * 200)

    def test_wrong_settings_and_faults_are_refused(self):
        for verb, body in (("set", {"settings": {"ownrs": 1}}), ("set", {"owners": 1}),
                           ("fault", {"step": "results", "fault": {"statuss": 1}}), ("fault", {"step": "x", "fault": {}})):
            self.assertEqual(self.sim.json("POST", "/_control/" + verb, body)[0], 400)


class TheFaults(Served):
    def job(self):
        job = self.sim.post("2026_Q1")[1]["jobId"]
        self.sim.wait(job)
        return job

    def results(self, job=None, **keywords):
        return self.sim.raw("GET", f"/v4/export/jobs/{job or self.job()}/results", **keywords)

    def test_a_fault_strikes_its_period_so_many_times(self):
        self.fault("results", 2, "2026_Q1", status=429, headers={"Retry-After": "@+3"}, body="<html>slow down</html>")
        for _ in range(2):
            status, headers, body = self.results()
            self.assertEqual((status, body), (429, b"<html>slow down</html>"))
            self.assertRegex(headers["Retry-After"], r"^\w{3}, \d\d \w{3} \d{4} .* GMT$")
        self.assertEqual(self.results()[0], 200)
        self.assertEqual(self.sim.control("seen")["faults"][0]["used"], 2)

    def test_a_post_may_queue_its_job_and_yet_fail(self):
        self.fault("post", 1, status=503, body="")
        self.fault("post", 1, status=503, body="", carry_out=True)
        self.sim.raw("POST", "/v4/export/forecast/net_arr", {})
        self.assertEqual(self.sim.control("seen")["jobs"], [])
        self.sim.raw("POST", "/v4/export/forecast/net_arr", {})
        self.assertEqual(len(self.sim.control("seen")["jobs"]), 1)

    def test_jobs_end_as_ordered(self):
        for job, want in (({"end_state": "FAILED"}, "FAILED"), ({"end_state": "PURPLE"}, "PURPLE"),
                          ({"lost": True}, None), ({"download_url": True}, "COMPLETED")):
            self.fault("post", 1, job=job)
            number = self.sim.post("2026_Q1")[1]["jobId"]
            answer = self.sim.wait(number)
            self.assertEqual(answer.get("status"), want)
        self.assertEqual(answer["downloadUrl"], f"http://localhost:{self.sim.port}/download/{number}")
        self.assertEqual(self.sim.raw("GET", "/download/" + number, None, {})[0], 200)

    def test_connections_break_as_ordered(self):
        job = self.job()
        for fault in ({"reset": True}, {"reset_after": 1000}):
            self.fault("results", **fault)
            with self.assertRaises(ConnectionResetError):
                self.results(job)
        for fault in ({"close": True}, {"close_after": 1000}, {"content_length": "+10"}):
            self.fault("results", **fault)
            with self.assertRaises(http.client.HTTPException):
                self.results(job)
        self.fault("results", stall_after=1000)
        with self.assertRaises(socket.timeout):
            self.results(job, timeout=0.2)
        self.assertEqual(self.results(job)[0], 200)

    def test_bodies_are_spoilt_as_ordered(self):
        job = self.job()
        right = self.results(job)[2]
        self.fault("results", cut=100)
        self.fault("results", replace=['"entries"', '"entrees"'])
        self.fault("results", append="}")
        self.fault("results", gzip="broken")
        self.fault("results", trickle=[4000, 0.001])
        self.fault("results", content_length="-10")
        self.assertEqual(self.results(job)[2], right[:100])
        self.assertEqual(self.results(job)[2], right.replace(b'"entries"', b'"entrees"'))
        self.assertEqual(self.results(job)[2], right + b"}")
        _, headers, body = self.results(job)
        self.assertEqual(headers["Content-Encoding"], "gzip")
        with self.assertRaises(Exception):
            gzip.decompress(body)
        self.assertEqual(self.results(job)[2], right)
        self.assertEqual(self.results(job)[2], right[:-10])

    def test_bytes_that_no_utf8_has_can_be_ordered(self):
        self.fault("results", replace=['"entries"', '"\udcff\udc80"'])
        self.assertIn(b'"\xff\x80"', self.results()[2])

    def test_an_answer_can_be_changed_and_a_flood_made_on_the_way(self):
        for wrapped in (False, True):
            self.set(wrapped=wrapped)
            job = self.job()
            self.fault("poll", merge={"status": "PURPLE"})
            answer = self.sim.json("GET", "/v4/export/jobs/" + job)[1]
            answer = answer.get("job", answer)
            self.assertEqual((answer["status"], answer["jobId"]), ("PURPLE", job))
        for encoding in ("identity", "gzip"):
            self.fault("results", flood=['{"x":"', "ab", 10_000_000, '"}'])
            _, _, body = self.results(job, headers={**KEY, "Accept-Encoding": encoding})
            body = gzip.decompress(body) if encoding == "gzip" else body
            self.assertEqual((len(body), json.loads(body)["x"]), (10_000_008, "ab" * 5_000_000))

    def test_a_storm_is_the_same_each_time_until_a_reset(self):
        get = lambda: self.sim.raw("GET", "/v4/admin/limits")[0]
        storm = {"seed": 7, "share": 0.5, "faults": [{"step": "limits", "fault": {"status": status}}
                                                     for status in (429, 503)]}
        runs = []
        for _ in range(2):
            self.sim.control("storm", storm)
            runs.append([get() for _ in range(40)])
        self.assertEqual(runs[0], runs[1])
        self.assertEqual(set(runs[0]), {200, 429, 503})
        self.assertEqual(self.sim.control("seen")["storm"], [runs[0].count(429), runs[0].count(503)])
        self.sim.control("reset", {})
        self.assertEqual([get() for _ in range(20)], [200] * 20)

    def test_redirects_and_delays(self):
        self.fault("poll", redirect="http://elsewhere.example/x")
        status, headers, _ = self.sim.raw("GET", "/v4/export/jobs/any")
        self.assertEqual((status, headers["Location"]), (302, "http://elsewhere.example/x"))
        self.fault("limits", delay=0.2)
        start = time.monotonic()
        self.sim.raw("GET", "/v4/admin/limits")
        self.assertGreaterEqual(time.monotonic() - start, 0.2)


class ComingAndGoing(unittest.TestCase):
    def test_it_goes_at_once_when_told_to(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        port_file = os.path.join(directory.name, "port")
        sim = Sim("--port-file", port_file)
        with open(port_file, encoding="ascii") as file:
            self.assertEqual(int(file.read()), sim.port)
        with socket.create_connection(("127.0.0.1", sim.port)):
            self.assertEqual(sim.stop(), 0)
        self.assertFalse(os.path.exists(port_file))

    def test_it_listens_where_else_it_is_told(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        port_file, cert, key = (os.path.join(directory.name, name) for name in ("port", "cert", "key"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key,
                        "-out", cert], check=True, capture_output=True)
        sim = Sim("--port-file", port_file, "--also", "127.0.0.1", cert, key, "--also", "127.0.0.1")
        with open(port_file, encoding="ascii") as file:
            ports = [int(line) for line in file]
        self.assertEqual(ports[0], sim.port)
        for connection in (http.client.HTTPSConnection("localhost", ports[1], timeout=10,
                                                       context=ssl.create_default_context(cafile=cert)),
                           http.client.HTTPConnection("127.0.0.1", ports[2], timeout=10)):
            connection.request("GET", "/v4/admin/limits", headers=KEY)
            self.assertEqual(connection.getresponse().status, 200)
            connection.close()
        seen = sim.control("seen")
        self.assertEqual([(each["port"], each["resumed"]) for each in seen["last"]],
                         [(ports[1], False), (ports[2], None)])
        sim.stop()

    def test_it_goes_with_its_parent(self):
        script = f"{sys.executable} {SIM} --exit-with-parent & read line"
        shell = subprocess.Popen(["/bin/sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        shell.stdout.readline()
        shell.stdin.close()
        self.assertEqual(shell.stdout.read(), b"")      # ends when the last holder of the pipe does
        shell.stdout.close()
        shell.wait()


if __name__ == "__main__":
    unittest.main()
