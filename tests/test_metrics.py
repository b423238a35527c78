"""Tests of `buddyproxy.metrics`."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.metrics import Metrics, Outcome, printable
from tests.support.values import properties

HIT = Outcome(method=b"GET", mapping="openai", path=b"/v1/models", status=200, word="hit", seconds=0.00025)


class MetricsTests(SynchronousTestCase):
    """Where outcomes are counted and logged."""

    def test_counts(self) -> None:
        """Each outcome counts once, by its mapping and its word."""
        metrics = Metrics()
        self.assertEqual(metrics.outcomes["openai", "hit"], 0)
        for outcome in (HIT, evolve(HIT, status=304), evolve(HIT, word="stale"), evolve(HIT, mapping="-"), HIT):
            metrics.observe(outcome)
        self.assertEqual(metrics.outcomes, {("openai", "hit"): 3, ("openai", "stale"): 1, ("-", "hit"): 1})

    def test_one_line_a_request(self) -> None:
        """The line tells method, mapping, path, status, outcome and time."""
        for outcome, expected in (
            (HIT, "GET openai /v1/models 200 hit 0.2 ms"),
            (evolve(HIT, seconds=1.25, word="uri-miss"), "GET openai /v1/models 200 uri-miss 1250.0 ms"),
            (evolve(HIT, complete=False), "GET openai /v1/models 200 hit 0.2 ms (the caller left)"),
            (
                evolve(HIT, status=101, word="upgrade", tunnelled=(12, 3)),
                "GET openai /v1/models 101 upgrade 0.2 ms (12 bytes up, 3 down)",
            ),
            (
                evolve(HIT, status=101, word="upgrade", tunnelled=(0, 0), reason="no byte for 9 s"),
                "GET openai /v1/models 101 upgrade 0.2 ms (0 bytes up, 0 down; no byte for 9 s)",
            ),
            (
                evolve(HIT, mapping="-", path=b"-", status=404, word="unknown-mapping"),
                "GET - - 404 unknown-mapping 0.2 ms",
            ),
            (evolve(HIT, path=b"/{status}/\n\x1b[2J\xff"), "GET openai /{status}/\\n\\x1b[2J\\\\xff 200 hit 0.2 ms"),
            (evolve(HIT, method=b"GE\rT"), "GE\\rT openai /v1/models 200 hit 0.2 ms"),
        ):
            with capturedLogs() as events:
                Metrics().observe(outcome)
            self.assertEqual([formatEvent(event) for event in events], [expected])

    def test_fields(self) -> None:
        """The same stands in fields, for those who read logs by machine."""
        with capturedLogs() as events:
            Metrics().observe(evolve(HIT, complete=False))
        (event,) = events
        expected = {
            "method": "GET",
            "mapping": "openai",
            "path": "/v1/models",
            "status": 200,
            "outcome": "hit",
            "milliseconds": 0.25,
            "complete": False,
        }
        self.assertEqual({name: event[name] for name in expected}, expected)
        self.assertEqual(event["log_namespace"], "buddyproxy")

    def test_levels(self) -> None:
        """Failures of the server's side are warnings, all else is information."""
        for status, level in (
            (200, LogLevel.info),
            (404, LogLevel.info),
            (499, LogLevel.info),
            (500, LogLevel.warn),
            (504, LogLevel.warn),
        ):
            with capturedLogs() as events:
                Metrics().observe(evolve(HIT, status=status))
            self.assertEqual([event["log_level"] for event in events], [level], status)

    def test_silence(self) -> None:
        """Who wants to hear of failures only hears of those; the counters count all the same."""
        failed = evolve(HIT, status=502, word="upstream-failed")
        for least, heard in ((LogLevel.info, 2), (LogLevel.warn, 1), (LogLevel.error, 0)):
            metrics = Metrics(least)
            with capturedLogs() as events:
                metrics.observe(HIT)
                metrics.observe(failed)
            self.assertEqual(len(events), heard, least)
            self.assertEqual(metrics.outcomes, {("openai", "hit"): 1, ("openai", "upstream-failed"): 1})


class PrintableTests(SynchronousTestCase):
    """Bytes off the wire, in a log."""

    def test_printable(self) -> None:
        """Text stays as it is; what breaks lines or drives terminals is written out."""
        for wire, expected in (
            (b"", ""),
            (b"/v1/a b?c", "/v1/a b?c"),
            (b"/caf\xc3\xa9", "/caf\\xc3\\xa9"),
            (b"a\nb", "a\\nb"),
            (b"a\r\nb", "a\\r\\nb"),
            (b"\x1b[31m", "\\x1b[31m"),
            (b"\x00\x7f", "\\x00\\x7f"),
            (b"\t", "\\t"),
            (b"\\n", "\\n"),
        ):
            self.assertEqual(printable(wire), expected, wire)

    @properties
    @given(st.binary())
    def test_always_one_printable_line(self, wire: bytes) -> None:
        """Whatever the bytes, the text is printable ASCII."""
        text = printable(wire)
        self.assertTrue(text.isascii())
        self.assertTrue(text.isprintable())
