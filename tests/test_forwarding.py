"""Tests of `buddyproxy.forwarding`: origins that fail, by a script and a test's clock."""

import json
from collections.abc import Sequence
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import NOT_DONE_YET

from buddyproxy.breaker import Terms
from buddyproxy.config import DomainMapping
from buddyproxy.errors import (
    BadRequest,
    CircuitOpen,
    StaleConnection,
    Unanswered,
    UpstreamBusy,
    UpstreamError,
    UpstreamTimeout,
)
from buddyproxy.forwarding import Destinations, Forwarder
from buddyproxy.message import Headers, Origin, Request, Response
from buddyproxy.routing import Base
from buddyproxy.upstream import Incoming, Interim, Timeouts, Upstream
from tests.support import memory
from tests.support.memory import spell
from tests.support.walk import WalkTests, answering

REFUSED = UpstreamError("refused", unsent=True)
RESET = Unanswered("reset")
STALE = StaleConnection("closed")
TOO_SLOW = UpstreamTimeout("no answer")
NO_CONNECTION = UpstreamTimeout("no connection", unsent=True)
GARBLED = UpstreamError("garbled")

OWN, SECOND, THIRD = "own.example", "second.example", "third.example"

NO_LIMITS = Timeouts(connect=0, tls=0, first_byte=0, idle=0, total=0)
NEVER_OPEN = Terms(failure_ratio=2, window=30, minimum_requests=1, open_for=10)
TERMS = Terms(failure_ratio=0.5, window=30, minimum_requests=4, open_for=10)

GET = Request(b"GET", b"/base/a?b", Headers(((b"Host", b"own.example"), (b"Authorization", b"Bearer x"))))
POST = evolve(GET, method=b"POST", body=b"x")

Result = int | Response | BaseException | Deferred[Any]


@frozen
class _Sent:
    """A request as an origin got it."""

    host: str
    request: Request
    at: float
    began: float | None


class _Answered:
    """The head of an answer, as far as forwarding looks at it."""

    def __init__(self, response: Response) -> None:
        self.response = response


class Script(Upstream):
    """Does with each request what is next for its origin: a status, a response, an error, or what comes to it later."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.clock = clock
        self.results: dict[str, list[Result]] = {}
        self.sent: list[_Sent] = []

    async def send(
        self,
        request: Request,
        origin: Origin,
        timeouts: Timeouts,
        interim: Interim = lambda _: None,
        began: float | None = None,
    ) -> Incoming:
        """Do what is next; the last thing over and over."""
        self.sent.append(_Sent(origin.host, request, self.clock.seconds(), began))
        results = self.results[origin.host]
        result = results.pop(0) if len(results) > 1 else results[0]
        if isinstance(result, Deferred):
            result = await result
        if isinstance(result, BaseException):
            raise result
        answered: Any = _Answered(Response(result) if isinstance(result, int) else result)
        return answered  # type: ignore[no-any-return]

    switch = send


class ForwardingTestCase(SynchronousTestCase):
    """A mapping with an origin of its own and, where a test wants them, two to fall back on."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.upstream = Script(self.clock)
        self.destinations = Destinations()

    def forwarder(
        self, *fallback: str, terms: Terms = NEVER_OPEN, retries: int = 2, chance: float = 0.0, total: float = 0.0
    ) -> Forwarder:
        mapping = DomainMapping(upstream=f"http://{OWN}/base", fallback=fallback)
        bases = (Base.of(mapping), *Base.fallbacks(mapping))
        destinations = [self.destinations.at(base, terms) for base in bases]
        timeouts = evolve(NO_LIMITS, total=total)
        return Forwarder(self.upstream, self.clock, destinations, timeouts, retries, lambda: chance)

    def script(self, *results: Result, host: str = OWN) -> None:
        """Say what happens to the next requests."""
        self.upstream.results[host] = list(results)
        self.upstream.sent.clear()

    def begin(self, forwarder: Forwarder, request: Request = GET) -> Deferred[Incoming]:
        return Deferred.fromCoroutine(forwarder.send(request, lambda _: None))

    def outcome(self, forwarder: Forwarder, request: Request = GET) -> int | UpstreamError:
        """Return the status of the answer, or the error."""
        sending = self.begin(forwarder, request)
        result = self.successResultOf(sending.addErrback(lambda failure: failure.value))
        return result if isinstance(result, Exception) else result.response.status

    def hosts(self) -> list[str]:
        """Return who was asked, in order."""
        return [sent.host for sent in self.upstream.sent]


class RetryTests(ForwardingTestCase):
    """When a request is sent again."""

    def test_when(self) -> None:
        """Only what is safe to repeat is repeated, and an answer is an answer, whatever its status."""
        for first, gets, posts in (
            (200, 1, 1),
            (429, 1, 1),
            (500, 1, 1),
            (503, 1, 1),
            (REFUSED, 2, 2),
            (RESET, 2, 1),
            (STALE, 2, 1),
            (TOO_SLOW, 1, 1),
            (NO_CONNECTION, 1, 1),
            (GARBLED, 1, 1),
            (UpstreamBusy("busy", 1), 1, 1),
        ):
            for request, expected in ((GET, gets), (POST, posts)):
                self.destinations = Destinations()
                self.script(first, 200)
                outcome = self.outcome(self.forwarder(), request)
                self.assertEqual(len(self.upstream.sent), expected, (first, request))
                self.assertEqual(outcome, 200 if expected == 2 else first, (first, request))
                self.assertTrue(all(sent.request is request for sent in self.upstream.sent))

    def test_how_often(self) -> None:
        """It is sent again as often as the mapping says."""
        for retries in (0, 1, 2):
            self.destinations = Destinations()
            self.script(REFUSED)
            self.assertIs(self.outcome(self.forwarder(retries=retries)), REFUSED)
            self.assertEqual(len(self.upstream.sent), 1 + retries)

    def test_budget(self) -> None:
        """Of a hundred requests that fail, ten are sent again; mappings of one origin have one budget."""
        self.script(REFUSED)
        for forwarder in (self.forwarder(), self.forwarder(retries=5)):
            for _ in range(50):
                self.outcome(forwarder)
        self.assertEqual(len(self.upstream.sent), 110)

    def test_waits(self) -> None:
        """Before a retry some time passes, more from one to the next."""
        self.script(REFUSED)
        sending = self.begin(self.forwarder(chance=0.5))
        for wait, count in ((0.0625, 2), (0.125, 3)):
            self.clock.advance(wait / 2)
            self.assertEqual(len(self.upstream.sent), count - 1)
            self.assertNoResult(sending)
            self.clock.advance(wait / 2)
            self.assertEqual(len(self.upstream.sent), count)
        self.failureResultOf(sending, UpstreamError)

    def test_stale_at_once(self) -> None:
        """After a kept connection that was closed there is nothing to wait for."""
        self.script(STALE, 200)
        self.assertEqual(self.outcome(self.forwarder(chance=1)), 200)

    def test_caller_leaves(self) -> None:
        """A caller who leaves while a retry is waited for ends it."""
        self.script(REFUSED, 200)
        sending = self.begin(self.forwarder(chance=1))
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.assertEqual((len(self.upstream.sent), self.clock.getDelayedCalls()), (1, []))

    def test_total(self) -> None:
        """The limit on the whole counts from the first attempt on, and there is no retry that it would cut short."""
        self.script(REFUSED, 200)
        sending = self.begin(self.forwarder(chance=1, total=5))
        self.clock.advance(0.1)
        self.successResultOf(sending)
        self.assertEqual([sent.began for sent in self.upstream.sent], [1_000_000, 1_000_000])
        self.script(REFUSED, 200)
        self.assertIs(self.outcome(self.forwarder(chance=1, total=0.1)), REFUSED)

    def test_not_a_request(self) -> None:
        """What cannot be sent is not sent again."""
        self.script(BadRequest("no"))
        self.assertIsInstance(self.outcome(self.forwarder()), BadRequest)
        self.assertEqual(len(self.upstream.sent), 1)


class BreakerTests(ForwardingTestCase):
    """When an origin is not asked."""

    def open(self, forwarder: Forwarder) -> None:
        """Have an origin fail until its circuit opens."""
        self.script(TOO_SLOW)
        for _ in range(4):
            self.assertIs(self.outcome(forwarder), TOO_SLOW)

    def test_opens(self) -> None:
        """An origin that fails too often is not asked for a while; callers are told when to come again."""
        forwarder = self.forwarder(terms=TERMS)
        self.open(forwarder)
        self.clock.advance(3)
        self.script(200)
        error = self.outcome(forwarder)
        assert isinstance(error, CircuitOpen)
        self.assertEqual((error.retry_after, self.upstream.sent), (7, []))
        self.assertTrue(str(error).startswith("http://own.example: it failed too often"), error)

    def test_what_counts(self) -> None:
        """Failures are what ends before the head of an answer, and what says that the origin failed; 429 is none."""
        for result, counts in (
            (REFUSED, True),
            (RESET, True),
            (TOO_SLOW, True),
            (NO_CONNECTION, True),
            (GARBLED, True),
            (500, True),
            (502, True),
            (503, True),
            (504, True),
            (200, False),
            (404, False),
            (429, False),
            (501, False),
            (STALE, False),
            (UpstreamBusy("busy", 1), False),
            (BadRequest("no"), False),
        ):
            self.destinations = Destinations()
            forwarder = self.forwarder(terms=TERMS, retries=0)
            self.script(result)
            for _ in range(4):
                self.outcome(forwarder)
            self.assertEqual(isinstance(self.outcome(forwarder), CircuitOpen), counts, result)

    def test_left(self) -> None:
        """A caller who leaves says nothing of the origin."""
        forwarder = self.forwarder(terms=TERMS)
        for _ in range(10):
            self.script(Deferred(), 200)
            sending = self.begin(forwarder)
            sending.cancel()
            self.failureResultOf(sending, CancelledError)
        self.assertEqual(self.outcome(forwarder), 200)

    def test_one_probe(self) -> None:
        """When the time is over, one request is sent, and others are refused until it is answered."""
        forwarder = self.forwarder(terms=TERMS)
        self.open(forwarder)
        self.clock.advance(10)
        answered: Deferred[int] = Deferred()
        self.script(answered, 200)
        probe = self.begin(forwarder)
        self.assertIsInstance(self.outcome(forwarder), CircuitOpen)
        self.assertEqual(len(self.upstream.sent), 1)
        answered.callback(200)
        self.successResultOf(probe)
        self.assertEqual(self.outcome(forwarder), 200)

    def test_probe_fails(self) -> None:
        """Where it fails, the origin is left alone for another while; it is not sent again at once."""
        forwarder = self.forwarder(terms=TERMS)
        self.open(forwarder)
        self.clock.advance(10)
        self.script(REFUSED)
        self.assertIsInstance(self.outcome(forwarder), CircuitOpen)
        self.assertEqual(len(self.upstream.sent), 1)

    def test_probe_left(self) -> None:
        """A probe whose caller leaves gives its place to the next request."""
        forwarder = self.forwarder(terms=TERMS)
        self.open(forwarder)
        self.clock.advance(10)
        self.script(Deferred(), 200)
        probe = self.begin(forwarder)
        probe.cancel()
        self.failureResultOf(probe, CancelledError)
        self.assertEqual(self.outcome(forwarder), 200)

    def test_shared(self) -> None:
        """Mappings of one origin share its circuit, unless they have different terms for it."""
        first, second, third = (self.forwarder(terms=terms) for terms in (TERMS, TERMS, evolve(TERMS, window=60)))
        self.open(first)
        self.assertIsInstance(self.outcome(second), CircuitOpen)
        self.assertIs(self.outcome(third), TOO_SLOW)

    def test_told(self) -> None:
        """The log tells when an origin is given a rest, and when it answers again; not what lies between."""
        forwarder = self.forwarder(terms=TERMS)
        with capturedLogs() as events:
            self.open(forwarder)
            self.outcome(forwarder)
            self.clock.advance(10)
            self.outcome(forwarder)
            self.clock.advance(10)
            self.script(200)
            self.outcome(forwarder)
        self.assertEqual(
            [event["log_format"].format(**event) for event in events],
            ["http://own.example failed too often: it is given a rest", "http://own.example answers again"],
        )


class FallbackTests(ForwardingTestCase):
    """Which origin is asked instead."""

    def fall_back(self, *bases: str, **settings: Any) -> Forwarder:
        bases = bases or (f"http://{SECOND}/spare", f"https://{THIRD}:444")
        return self.forwarder(*bases, **{"retries": 0, **settings})

    def test_when(self) -> None:
        """The next is asked where that is safe; an answer is an answer, whatever its status."""
        for first, gets, posts in (
            (200, 1, 1),
            (503, 1, 1),
            (REFUSED, 2, 2),
            (NO_CONNECTION, 2, 2),
            (UpstreamBusy("busy", 1), 2, 2),
            (RESET, 2, 1),
            (STALE, 2, 1),
            (TOO_SLOW, 2, 1),
            (GARBLED, 2, 1),
        ):
            for request, expected in ((GET, gets), (POST, posts)):
                self.script(200, host=SECOND)
                self.script(first)
                outcome = self.outcome(self.fall_back(), request)
                self.assertEqual(self.hosts(), [OWN, SECOND][:expected], (first, request))
                self.assertEqual(outcome, 200 if expected == 2 else first, (first, request))

    def test_in_order(self) -> None:
        """Each is asked in turn; where all fail, the error is that of the last."""
        self.script(REFUSED, host=SECOND)
        self.script(TOO_SLOW, host=THIRD)
        self.script(REFUSED)
        self.assertIs(self.outcome(self.fall_back()), TOO_SLOW)
        self.assertEqual(self.hosts(), [OWN, SECOND, THIRD])

    def test_request(self) -> None:
        """Another origin is asked on its own path, by its own name, and for all else as the first was."""
        self.script(REFUSED, host=SECOND)
        self.script(200, host=THIRD)
        self.script(REFUSED)
        self.outcome(self.fall_back(), POST)
        second, third = (sent.request for sent in self.upstream.sent[1:])
        self.assertEqual((second.target, third.target), (b"/spare/a?b", b"/a?b"))
        for request, host in ((second, b"second.example"), (third, b"third.example:444")):
            self.assertEqual(request.headers.pairs, ((b"Host", host), (b"Authorization", b"Bearer x")))
            self.assertEqual((request.method, request.body), (b"POST", b"x"))

    def test_targets(self) -> None:
        """What is behind the base stays as it is."""
        for own, base, expected in (
            (b"/base", f"http://{SECOND}", b"/"),
            (b"/base?q", f"http://{SECOND}", b"/?q"),
            (b"/base/", f"http://{SECOND}/x/y/", b"/x/y/"),
            (b"/base//a%2F", f"http://{SECOND}/x", b"/x//a%2F"),
        ):
            self.script(200, host=SECOND)
            self.script(REFUSED)
            self.outcome(self.fall_back(base), evolve(GET, target=own))
            self.assertEqual(self.upstream.sent[1].request.target, expected)

    def test_host_of_the_mapping(self) -> None:
        """A Host that the mapping sets is for every origin."""
        self.script(200, host=SECOND)
        self.script(REFUSED)
        self.outcome(self.fall_back(), evolve(GET, headers=Headers(((b"Host", b"virtual.example"),))))
        self.assertEqual(self.upstream.sent[1].request.headers.get(b"host"), b"virtual.example")

    def test_circuit_open(self) -> None:
        """Where the circuit of the first is open, the next is asked at once, also for what must not be sent twice."""
        forwarder = self.fall_back(terms=TERMS)
        self.script(200, host=SECOND)
        self.script(TOO_SLOW)
        for _ in range(4):
            self.outcome(forwarder, POST)
        self.script(200)
        self.assertEqual(self.outcome(forwarder, POST), 200)
        self.assertEqual(self.hosts(), [SECOND])

    def test_retries_first(self) -> None:
        """An origin that may be asked again is, before another is."""
        self.script(200, host=SECOND)
        self.script(REFUSED)
        self.outcome(self.fall_back(retries=1))
        self.assertEqual(self.hosts(), [OWN, OWN, SECOND])

    def test_total(self) -> None:
        """When the time for the whole is over, no other is asked."""
        answered: Deferred[int] = Deferred()
        self.script(200, host=SECOND)
        self.script(answered)
        sending = self.begin(self.fall_back(total=5))
        self.clock.advance(5)
        answered.errback(TOO_SLOW)
        self.failureResultOf(sending, UpstreamTimeout)
        self.assertEqual(self.hosts(), [OWN])

    def test_location(self) -> None:
        """A path in Location is one of the origin that sent it, and is made to say so."""
        for sent, expected in (
            (b"/x", b"http://second.example/x"),
            (b"//h/x", b"//h/x"),
            (b"x", b"x"),
            (b"https://h/x", b"https://h/x"),
        ):
            self.script(Response(302, Headers(((b"A", b"1"), (b"location", sent)))), host=SECOND)
            self.script(REFUSED)
            incoming = self.successResultOf(self.begin(self.fall_back()))
            self.assertEqual(incoming.response.headers.pairs, ((b"A", b"1"), (b"location", expected)))


class SwitchTests(ForwardingTestCase):
    """Requests for another protocol."""

    def test_as_others(self) -> None:
        """They are sent again, refused and sent elsewhere like others."""
        forwarder = self.forwarder(f"http://{SECOND}", terms=TERMS)
        self.script(101, host=SECOND)
        self.script(REFUSED, 101)
        for expected in ([OWN, OWN], [OWN]):
            answer = self.successResultOf(Deferred.fromCoroutine(forwarder.switch(GET, interim=lambda _: None)))
            self.assertEqual((answer.response.status, self.hosts()), (101, expected))
            self.upstream.sent.clear()
        self.script(503)
        for expected in ([OWN], [SECOND]):
            self.upstream.sent.clear()
            self.successResultOf(Deferred.fromCoroutine(forwarder.switch(GET, interim=lambda _: None)))
            self.assertEqual(self.hosts(), expected)


class WalkedTests(WalkTests):
    """What callers see of it."""

    def test_circuit_open(self) -> None:
        """While an origin is given a rest, callers get 503 and when to come again; its own 503 they get as it is."""
        self.start(
            answering(b"later", 503, retry_after="77"),
            api={"breaker": {"minimum_requests": 3, "open_for": "12500ms"}},
        )
        replies = [self.ask(f"/api/{number}") for number in range(4)]
        self.assertEqual([reply["Retry-After"] for reply in replies], ["77", "77", "77", "13"])
        self.assertEqual([reply.status for reply in replies], [503] * 4)
        self.assertEqual([reply.body for reply in replies[:3]], [b"later"] * 3)
        self.assertEqual(json.loads(replies[3].body)["error"]["code"], "circuit-open")
        self.assertIn("detail=circuit-open", replies[3]["Cache-Status"] or "")
        self.proxy.clock.advance(12.5)
        self.origin.answer = lambda request: NOT_DONE_YET
        self.proxy.connect().send(spell("GET", "/api/probe"))
        self.assertEqual(self.ask("/api/other")["Retry-After"], "1")

    def test_turned_off(self) -> None:
        """A mapping may do without."""
        self.start(answering(status=503), api={"breaker": {"enabled": False, "minimum_requests": 1}})
        for number in range(30):
            self.ask(f"/api/{number}")
        self.assertEqual(len(self.origin.asked), 30)

    def test_stale_meanwhile(self) -> None:
        """What is stored serves while the origin is given a rest, stale as it is."""
        self.start(answering(cache_control="max-age=60"), api={"breaker": {"minimum_requests": 1}})
        self.ask()
        self.proxy.clock.advance(100)
        self.origin.answer = answering(status=503)
        self.ask("/api/b")
        reply = self.ask()
        self.assertEqual((reply.status, reply.body), (200, b"hello"))
        self.assertIn("detail=circuit-open", reply["Cache-Status"] or "")
        self.assertEqual([path for _, path in self.origin.asked], [b"/base/a", b"/base/b"])

    def test_429(self) -> None:
        """A 429 reaches the caller unchanged, however many there are."""
        self.start(answering(b"slow down", 429, retry_after="5"))
        for number in range(40):
            reply = self.ask(f"/api/{number}")
            self.assertEqual((reply.status, reply["Retry-After"], reply.body), (429, "5", b"slow down"))

    def test_fallback(self) -> None:
        """What another origin answers is stored as the mapping's; its Location leads back through the proxy."""
        spare = memory.Origin(answering(cache_control="max-age=60", location="/spare/there"))
        self.start(answering(b"own"), others={"spare.example": spare}, api={"fallback": ["http://spare.example/spare"]})
        self.proxy.endpoint.failure = Refused()
        first = self.ask("/api/a?b")
        self.assertEqual((first.status, first.body, first["Location"]), (200, b"hello", "/api/there"))
        self.assertEqual(spare.asked, [(b"GET", b"/spare/a?b")])
        self.assertEqual(spare.requests[0].getHeader(b"host"), b"spare.example")
        self.proxy.endpoint.failure = None
        self.assertEqual(self.words(self.ask("/api/a?b")), ["hit"])
        self.assertEqual(self.ask("/api/c").body, b"own")

    def test_busy(self) -> None:
        """Where all connections to an origin are in use for too long, callers get 503; the smaller limit holds."""
        origins: Sequence[str] = ("http://origin.example/base", "http://origin.example/other")
        mappings = {
            "api": {"upstream": origins[0], "max_connections": 1, "timeouts": {"connect": 5}},
            "other": {"upstream": origins[1]},
        }
        self.start(lambda request: NOT_DONE_YET, domain_mappings=mappings)
        connections = [self.proxy.connect() for _ in range(2)]
        for connection, target in zip(connections, ("/other/a", "/api/a"), strict=True):
            connection.send(spell("GET", target))
        self.proxy.endpoint.flush()
        self.proxy.clock.advance(5)
        reply = memory.parse(connections[1].received)
        self.assertEqual((reply.status, reply["Retry-After"]), (503, "1"))
        self.assertEqual(json.loads(reply.body)["error"]["code"], "upstream-busy")
        self.assertEqual(len(self.origin.asked), 1)
