"""Tests of `buddyproxy.retries`."""

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import (
    CircuitOpen,
    StaleConnection,
    Unanswered,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
)
from buddyproxy.retries import Budget, backoff, is_idempotent, is_movable, is_repeatable


class RepeatTests(SynchronousTestCase):
    """What may be sent twice."""

    def test_idempotent(self) -> None:
        """Methods are idempotent as RFC 9110 has it; one that nobody knows is not, and neither is one in lower case."""
        for method in (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"QUERY"):
            self.assertTrue(is_idempotent(method), method)
        for method in (b"POST", b"PATCH", b"MERGE", b"get", b""):
            self.assertFalse(is_idempotent(method), method)

    def test_when(self) -> None:
        """To the same origin, and to another, by what is known of the request that failed."""
        for error, repeatable, movable in (
            # (a GET, a POST), each
            (UpstreamError("refused", unsent=True), (True, True), (True, True)),
            (Unanswered("reset"), (True, False), (True, False)),
            (StaleConnection("closed"), (True, False), (True, False)),
            (UpstreamError("in the middle of its head"), (False, False), (True, False)),
            (UpstreamTimeout("no connection", unsent=True), (False, False), (True, True)),
            (UpstreamTimeout("no answer"), (False, False), (True, False)),
            (CircuitOpen("open", 5), (False, False), (True, True)),
            (UpstreamBusy("busy", 1), (False, False), (True, True)),
        ):
            methods = (b"GET", b"POST")
            self.assertEqual(tuple(is_repeatable(method, error) for method in methods), repeatable, error)
            self.assertEqual(tuple(is_movable(method, error) for method in methods), movable, error)


class BudgetTests(SynchronousTestCase):
    """How often an origin is sent a request again."""

    def test_few(self) -> None:
        """Where requests are few, one of them may be sent again, and that twice."""
        budget = Budget()
        budget.requested(0)
        self.assertEqual([budget.spend(0) for _ in range(3)], [True, True, False])

    def test_share(self) -> None:
        """However many requests fail, a tenth more are sent at most."""
        for requests in (10, 100, 1000):
            budget = Budget()
            retries = 0
            for number in range(requests):
                budget.requested(number * 0.001)
                retries += budget.spend(number * 0.001) + budget.spend(number * 0.001)
            self.assertEqual(retries, max(requests // 10, 2))

    def test_lately(self) -> None:
        """Retries of long ago count no more, and requests of long ago allow no more."""
        budget = Budget()
        for _ in range(100):
            budget.requested(0)
        self.assertEqual([budget.spend(40) for _ in range(3)], [True, True, False])
        self.assertTrue(budget.spend(80))


class BackoffTests(SynchronousTestCase):
    """How long is waited before a retry."""

    def test_grows(self) -> None:
        """The longest wait doubles from a tenth of a second to two; any part of it is as likely."""
        self.assertEqual([backoff(number, 1.0) for number in range(7)], [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0])
        self.assertEqual([backoff(1, chance) for chance in (0.0, 0.25, 0.5)], [0.0, 0.05, 0.1])
        self.assertEqual(backoff(1000, 1.0), 2.0)
