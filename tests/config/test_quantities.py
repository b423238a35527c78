"""Tests of `buddyproxy.config.quantities`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.config import format_duration, parse_duration, parse_size
from tests.support.values import properties

NOT_NUMBERS: list[object] = [None, True, False, [], {}, (1,), b"10", object(), float("nan"), float("inf"), -1, -0.5]


class DurationTests(SynchronousTestCase):
    """`parse_duration` returns seconds."""

    def test_reads(self) -> None:
        """Numbers are seconds; texts may have units, from the longest to the shortest."""
        for value, seconds in [
            (0, 0.0),
            (90, 90.0),
            (1.5, 1.5),
            ("0", 0.0),
            ("90", 90.0),
            ("2.5", 2.5),
            ("500ms", 0.5),
            ("15m", 900.0),
            ("1h30m", 5400.0),
            ("1h 30m", 5400.0),
            (" 10 s ", 10.0),
            ("1.5h", 5400.0),
            ("7d", 604800.0),
            ("1w2d3h4m5s6ms", 604800 + 2 * 86400 + 3 * 3600 + 4 * 60 + 5.006),
        ]:
            with self.subTest(value=value):
                found = parse_duration(value)
                self.assertEqual(found, seconds)
                self.assertIsInstance(found, float)

    def test_refuses(self) -> None:
        """Anything else raises `ValueError`, and the message says what is accepted."""
        texts = [
            "",
            " ",
            "m",
            "h1",
            "1x",
            "-1",
            "+1",
            "1e3",
            "15M",
            "1h1h",
            "1m1h",
            "1h30",
            "1,5h",
            "1..5",
            "٣s",
            "1\n",
        ]
        for value in [*NOT_NUMBERS, *texts, 10**400, "9" * 400, "100000w", "1w" + " " * 400 + "x"]:
            with self.subTest(value=value):
                self.assertIn('"1h30m"', str(self.assertRaises(ValueError, parse_duration, value)))


class FormatTests(SynchronousTestCase):
    """`format_duration` returns what people would have written."""

    def test_table(self) -> None:
        """Units from the longest to the shortest, those that are 0 left out."""
        for seconds, text in (
            (0, "0s"),
            (0.0004, "0s"),
            (0.5, "500ms"),
            (90, "1m30s"),
            (5400.0, "1h30m"),
            (604800, "7d"),
            (86400 + 3600 + 60 + 1.001, "1d1h1m1s1ms"),
        ):
            self.assertEqual(format_duration(seconds), text)

    @properties
    @given(st.integers(0, 2**31 * 1000))
    def test_read_again(self, milliseconds: int) -> None:
        """What it writes is read as what it was."""
        self.assertAlmostEqual(parse_duration(format_duration(milliseconds / 1000)), milliseconds / 1000, places=3)


class SizeTests(SynchronousTestCase):
    """`parse_size` returns bytes."""

    def test_reads(self) -> None:
        """Numbers are bytes; K, M, G and T are powers of 1024, however they are written."""
        for value, size in [
            (0, 0),
            (2**63 - 1, 2**63 - 1),
            ("512", 512),
            ("512b", 512),
            ("64KB", 65536),
            ("64kb", 65536),
            ("64 KiB", 65536),
            ("64k", 65536),
            ("10MB", 10 * 2**20),
            ("10MiB", 10 * 2**20),
            ("1.5MB", 3 * 2**19),
            ("1GB", 2**30),
            ("2T", 2**41),
            ("9007199254740993", 9007199254740993),
        ]:
            with self.subTest(value=value):
                self.assertEqual(parse_size(value), size)

    def test_refuses(self) -> None:
        """Anything else raises `ValueError`, and the message says what is accepted."""
        for value in [
            *NOT_NUMBERS,
            1.5,
            2**63,
            "",
            " ",
            "MB",
            "-1",
            "1XB",
            "1 000",
            "1e6",
            "9" * 5000,
            "8388608T",
            "٣",
        ]:
            with self.subTest(value=value):
                self.assertIn('"10MB"', str(self.assertRaises(ValueError, parse_size, value)))
