"""Tests of `buddyproxy.cache.dates`: RFC 9110, 5.6.7, as RFC 9111, 4.2 has caches read it."""

from calendar import timegm
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.dates import format_date, parse_date
from tests.support.values import NOW, properties

# The moment RFC 9110 has for its example.
_EXAMPLE = 784111777.0


def _moment(*parts: int) -> float:
    return timegm((*parts, 0, 0, 0))


class ParseTests(SynchronousTestCase):
    """`parse_date` returns seconds since the epoch."""

    def test_reads_every_form(self) -> None:
        """All three forms of HTTP-date are read, and without regard to case."""
        for case, value, expected in (
            ("IMF-fixdate", b"Sun, 06 Nov 1994 08:49:37 GMT", _EXAMPLE),
            ("the form of RFC 850", b"Sunday, 06-Nov-94 08:49:37 GMT", _EXAMPLE),
            ("the form of asctime", b"Sun Nov  6 08:49:37 1994", _EXAMPLE),
            ("the form of asctime, two digits", b"Wed Nov 16 08:49:37 1994", _EXAMPLE + 864000),
            ("lower case", b"sun, 06 nov 1994 08:49:37 gmt", _EXAMPLE),
            ("upper case", b"SUNDAY, 06-NOV-94 08:49:37 GMT", _EXAMPLE),
            ("mixed case", b"sUN nOV  6 08:49:37 1994", _EXAMPLE),
            ("white space around", b" \tSun, 06 Nov 1994 08:49:37 GMT\t ", _EXAMPLE),
            ("the epoch", b"Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
            ("before the epoch", b"Wed, 31 Dec 1969 23:59:59 GMT", -1.0),
            ("the last second of a day", b"Sun, 06 Nov 1994 23:59:59 GMT", _moment(1994, 11, 6, 23, 59, 59)),
            ("a leap second", b"Sat, 31 Dec 2016 23:59:60 GMT", _moment(2017, 1, 1, 0, 0, 0)),
            ("a leap day", b"Thu, 29 Feb 2024 00:00:00 GMT", _moment(2024, 2, 29, 0, 0, 0)),
            ("far ahead", b"Fri, 31 Dec 9999 23:59:59 GMT", _moment(9999, 12, 31, 23, 59, 59)),
        ):
            self.assertEqual(parse_date(value, NOW), expected, case)

    def test_reads_every_day_and_month(self) -> None:
        """Each name of a day and of a month is known, in its short and its long form."""
        long = ("Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday")
        months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
        for number, month in enumerate(months):
            for day, name in enumerate(long, 1):
                expected = _moment(1970, number + 1, day, 1, 2, 3)
                for value in (
                    f"{name[:3]}, {day:02} {month} 1970 01:02:03 GMT",
                    f"{name}, {day:02}-{month}-70 01:02:03 GMT",
                    f"{name[:3]} {month} {day:2} 01:02:03 1970",
                ):
                    # Read at a time when 70 was the year of the moment.
                    self.assertEqual(parse_date(value.encode(), 0.0), expected, value)

    def test_anything_else_is_no_date(self) -> None:
        """What no form allows is no date: nothing is guessed."""
        for case, value in (
            ("nothing", b""),
            ("zero", b"0"),
            ("minus one", b"-1"),
            ("seconds", b"784111777"),
            ("another zone", b"Sun, 06 Nov 1994 08:49:37 EST"),
            ("the zone's other name", b"Sun, 06 Nov 1994 08:49:37 UTC"),
            ("a zone in numbers", b"Sun, 06 Nov 1994 08:49:37 +0000"),
            ("no zone", b"Sun, 06 Nov 1994 08:49:37"),
            ("a zone where none belongs", b"Sun Nov  6 08:49:37 1994 GMT"),
            ("no day's name", b"06 Nov 1994 08:49:37 GMT"),
            ("no such day's name", b"Son, 06 Nov 1994 08:49:37 GMT"),
            ("a long name in the short form", b"Sunday, 06 Nov 1994 08:49:37 GMT"),
            ("a short name in the long form", b"Sun, 06-Nov-94 08:49:37 GMT"),
            ("no comma", b"Sun 06 Nov 1994 08:49:37 GMT"),
            ("no such month", b"Sun, 06 Nob 1994 08:49:37 GMT"),
            ("a month in full", b"Sun, 06 November 1994 08:49:37 GMT"),
            ("one digit for the day", b"Sun, 6 Nov 1994 08:49:37 GMT"),
            ("no zero before the day of asctime", b"Sun Nov 6 08:49:37 1994"),
            ("two digits for the year", b"Sun, 06 Nov 94 08:49:37 GMT"),
            ("four digits in the form of RFC 850", b"Sunday, 06-Nov-1994 08:49:37 GMT"),
            ("five digits for the year", b"Sun, 06 Nov 10994 08:49:37 GMT"),
            ("one digit for the hour", b"Sun, 06 Nov 1994 8:49:37 GMT"),
            ("no seconds", b"Sun, 06 Nov 1994 08:49 GMT"),
            ("fractions", b"Sun, 06 Nov 1994 08:49:37.5 GMT"),
            ("day 0", b"Sun, 00 Nov 1994 08:49:37 GMT"),
            ("day 31 of 30", b"Sun, 31 Nov 1994 08:49:37 GMT"),
            ("a leap day in another year", b"Wed, 29 Feb 2023 00:00:00 GMT"),
            ("hour 24", b"Sun, 06 Nov 1994 24:00:00 GMT"),
            ("minute 60", b"Sun, 06 Nov 1994 08:60:00 GMT"),
            ("second 61", b"Sun, 06 Nov 1994 08:49:61 GMT"),
            ("second 99", b"Sun, 06 Nov 1994 08:49:99 GMT"),
            ("year 0", b"Sun, 06 Nov 0000 08:49:37 GMT"),
            ("something before", b"x Sun, 06 Nov 1994 08:49:37 GMT"),
            ("something behind", b"Sun, 06 Nov 1994 08:49:37 GMT x"),
            ("two of them", b"Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT"),
            ("two spaces", b"Sun,  06 Nov 1994 08:49:37 GMT"),
            ("a line break", b"Sun, 06 Nov 1994 08:49:37 GMT\n"),
            ("quotes", b'"Sun, 06 Nov 1994 08:49:37 GMT"'),
            ("ISO 8601", b"1994-11-06T08:49:37Z"),
            ("digits of another script", "Sun, ٠٦ Nov 1994 08:49:37 GMT".encode()),
        ):
            self.assertIsNone(parse_date(value, NOW), case)

    def test_an_absent_date_is_no_date(self) -> None:
        """Where there is no field, there is no date."""
        self.assertIsNone(parse_date(None, NOW))

    def test_a_year_of_two_digits_is_at_most_fifty_years_ahead(self) -> None:
        """A moment that looks more than 50 years ahead lies in the past, in the last year that ends alike."""
        # Read at noon of 15 June 2026.
        now = _moment(2026, 6, 15, 12, 0, 0)
        for case, value, year in (
            ("this year", b"Monday, 15-Jun-26 12:00:00 GMT", 2026),
            ("the first of the century", b"Monday, 15-Jun-00 12:00:00 GMT", 2000),
            ("next year", b"Monday, 15-Jun-27 12:00:00 GMT", 2027),
            ("50 years ahead to the second", b"Monday, 15-Jun-76 12:00:00 GMT", 2076),
            ("a day less than 50 years ahead", b"Monday, 14-Jun-76 12:00:00 GMT", 2076),
            ("a month less, on a later day", b"Monday, 30-May-76 12:00:00 GMT", 2076),
            ("50 years ahead and a second", b"Monday, 15-Jun-76 12:00:01 GMT", 1976),
            ("50 years ahead and a month", b"Monday, 01-Jul-76 12:00:00 GMT", 1976),
            ("51 years ahead", b"Monday, 15-Jun-77 12:00:00 GMT", 1977),
            ("the last of the century", b"Monday, 15-Jun-99 12:00:00 GMT", 1999),
        ):
            found = parse_date(value, now)
            assert found is not None, case
            self.assertEqual(datetime.fromtimestamp(found, UTC).year, year, case)

    @properties
    @given(st.binary(max_size=60), st.floats(0, 2**33))
    def test_never_raises(self, value: bytes, now: float) -> None:
        """Whatever is sent as a date, reading it is no failure."""
        parse_date(value, now)

    @properties
    @given(
        st.sampled_from((b"Sun, %02d Nov %04d %02d:%02d:%02d GMT", b"Sun Nov %2d %02d:%02d:%02d %04d")),
        st.lists(st.integers(0, 99), min_size=5, max_size=5),
    )
    def test_never_raises_on_what_looks_like_a_date(self, form: bytes, numbers: list[int]) -> None:
        """Numbers out of their range make no date and no failure."""
        found = parse_date(form % tuple(numbers), NOW)
        self.assertTrue(found is None or isinstance(found, int))


class RoundTripTests(SynchronousTestCase):
    """What others write."""

    @properties
    @given(st.integers(0, 2**35))
    def test_what_is_written_is_read_again(self, seconds: int) -> None:
        """The one form that senders use (RFC 9110, 5.6.7) is read as the moment it was written for."""
        self.assertEqual(parse_date(format_date(seconds), NOW), seconds)
