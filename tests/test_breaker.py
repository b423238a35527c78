"""Tests of `buddyproxy.breaker`."""

from math import inf

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.breaker import Breaker, Permit, Refused, Terms

TERMS = Terms(failure_ratio=0.5, window=30, minimum_requests=4, open_for=10)


def admitted(breaker: Breaker, now: float) -> Permit:
    """Return the permit that `breaker` gives."""
    permit = breaker.admit(now)
    assert isinstance(permit, Permit), permit
    return permit


def pass_through(breaker: Breaker, now: float, outcomes: str) -> None:
    """Let requests end one after the other, "-" for each that fails and "+" for each that succeeds."""
    for outcome in outcomes:
        (breaker.failed if outcome == "-" else breaker.succeeded)(admitted(breaker, now), now)


def opened(now: float = 100) -> Breaker:
    """Return a breaker whose circuit opened at `now`."""
    breaker = Breaker(TERMS)
    pass_through(breaker, now, "----")
    return breaker


class OpeningTests(SynchronousTestCase):
    """When the circuit opens."""

    def test_ratio(self) -> None:
        """It opens when so many of the last requests failed, by a failure, and when there were enough of them."""
        for outcomes, expected in (
            ("", False),
            ("---", False),
            ("----", True),
            ("++--", True),
            ("--++", False),
            ("--++-", True),
            ("+++---", True),
            ("++++---", False),
        ):
            breaker = Breaker(TERMS)
            pass_through(breaker, 100, outcomes)
            self.assertEqual(breaker.is_open, expected, outcomes)

    def test_window(self) -> None:
        """Failures longer ago than the window count no more."""
        breaker = Breaker(TERMS)
        pass_through(breaker, 100, "---")
        pass_through(breaker, 131, "-")
        self.assertFalse(breaker.is_open)

    def test_never(self) -> None:
        """A ratio that is never reached keeps the circuit closed."""
        breaker = Breaker(evolve(TERMS, failure_ratio=inf))
        pass_through(breaker, 100, "-" * 100)
        self.assertFalse(breaker.is_open)

    def test_withdrawn(self) -> None:
        """What says nothing of the origin is not counted."""
        breaker = Breaker(TERMS)
        for _ in range(100):
            breaker.withdrawn(admitted(breaker, 100))
        pass_through(breaker, 100, "---")
        self.assertFalse(breaker.is_open)


class OpenTests(SynchronousTestCase):
    """What happens while the circuit is not closed."""

    def test_refuses(self) -> None:
        """No request may go for so long, and whoever asks is told how long."""
        breaker = opened()
        for now, remaining in ((100, 10), (104, 6), (109.5, 0.5)):
            self.assertEqual(breaker.admit(now), Refused(remaining))

    def test_one_probe(self) -> None:
        """After that, one request may go, and no other until it has ended."""
        breaker = opened()
        admitted(breaker, 110)
        for now in (110, 111, 1000):
            self.assertEqual(breaker.admit(now), Refused(0))
        self.assertTrue(breaker.is_open)

    def test_probe_succeeds(self) -> None:
        """A probe that is answered closes the circuit, and what failed before is forgotten."""
        breaker = opened()
        breaker.succeeded(admitted(breaker, 110), 111)
        self.assertFalse(breaker.is_open)
        pass_through(breaker, 111, "---")
        self.assertFalse(breaker.is_open)

    def test_probe_fails(self) -> None:
        """A probe that fails opens the circuit for another such time, counted from its end."""
        breaker = opened()
        breaker.failed(admitted(breaker, 110), 115)
        self.assertEqual(breaker.admit(115), Refused(10))
        admitted(breaker, 125)

    def test_probe_withdrawn(self) -> None:
        """A probe that comes to nothing leaves its place to the next request."""
        breaker = opened()
        breaker.withdrawn(admitted(breaker, 110))
        probe = admitted(breaker, 110)
        self.assertEqual(breaker.admit(110), Refused(0))
        breaker.succeeded(probe, 111)
        self.assertFalse(breaker.is_open)

    def test_late(self) -> None:
        """How requests end that were sent before the circuit opened makes no difference, good or bad."""
        breaker = Breaker(TERMS)
        late = [admitted(breaker, 100) for _ in range(3)]
        pass_through(breaker, 100, "----")
        breaker.succeeded(late[0], 105)
        self.assertEqual(breaker.admit(105), Refused(5))
        admitted(breaker, 110)
        breaker.failed(late[1], 111)
        breaker.withdrawn(late[2])
        self.assertEqual(breaker.admit(111), Refused(0))

    def test_clock_set_back(self) -> None:
        """A clock that is set back does not keep the circuit open."""
        admitted(opened(100_000), 100)
