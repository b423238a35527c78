"""One request: look up, choose, reuse or validate or forward, conclude.

The driver that turns each decision of `cache/` into what it asks for. It decides nothing itself, and knows neither the
caller's connection nor the origin's.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol, assert_never

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from buddyproxy.cache.answering import answered
from buddyproxy.cache.choose import (
    Forward,
    GatewayTimeout,
    Question,
    Reuse,
    choose,
    revalidation,
    shareable,
    wants_whole,
)
from buddyproxy.cache.conclude import Arrival, Freshen, Refetch, Relay, Store, conclude
from buddyproxy.cache.dates import format_date
from buddyproxy.cache.invalidation import as_get, invalidated, invalidated_groups
from buddyproxy.cache.key import primary_key
from buddyproxy.cache.policy import Policies, Policy
from buddyproxy.cache.ranges import assembled, suffices
from buddyproxy.cache.staleness import ERRORS, Stale, instead_of_failure
from buddyproxy.cache.status import CacheStatus
from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.cache.streams import Replay, is_timed, timeline
from buddyproxy.cache.vary import selecting_values, selects
from buddyproxy.cache.worth import is_judged, is_worth_keeping
from buddyproxy.errors import CacheError, NotCached, ProxyError, UpstreamError
from buddyproxy.exchange.claims import Claim, Claims
from buddyproxy.exchange.fetches import Fetch, Fetches
from buddyproxy.exchange.searches import Searches
from buddyproxy.flight import Flight
from buddyproxy.message import Request, Response, held
from buddyproxy.storage import Storage
from buddyproxy.storage.selection import Selection
from buddyproxy.upstream import Incoming, Interim

_log = Logger(namespace="buddyproxy")

Over = Callable[[], None]

Send = Callable[[Request, Interim], Awaitable[Incoming]]
"""Asks the mapping's origin, and hands on the interim responses it gives; raises `UpstreamError`."""


class Clock(Protocol):
    """Tells the time."""

    def seconds(self) -> float:
        """Return the seconds since the epoch."""


@frozen
class Answer:
    """What to send the caller: a head, its content (whole, or still on its way), and how it came about."""

    response: Response
    content: bytes | Flight
    status: CacheStatus
    age: int | None = None
    """Current age in seconds where a stored response is reused without asking (RFC 9111, 5.1)."""
    replay: Replay | None = None
    """How to send the content where it is a stored stream's."""


@frozen
class Failed:
    """The request found no answer: the error to report, and how the cache came to it."""

    error: ProxyError
    status: CacheStatus


DEBUG: Final = b"x-cache-debug"
"""The request field by which a caller asks for more in `Cache-Status`: `key` is all it may say."""

BACKGROUND: Final = 100
"""How many stored responses of one mapping are validated in the background at once; others wait for another request."""

COMPLAIN_EVERY: Final = 60.0
"""Seconds at least between two log lines about a store that fails to look up."""


_MISS: Final = Forward("uri-miss")


def _nothing(*_: object) -> None:
    """Do nothing: nobody wants to know."""


@frozen
class _Visit:
    """A request being answered, with what that depends on."""

    request: Request
    """As the origin is to see it, unless it is made conditional."""
    uri: bytes = field(repr=False)
    key: bytes
    policy: Policy
    interim: Interim = field(repr=False)
    over: Over = field(default=_nothing, repr=False)
    """Called when nothing more of the answer will come."""


class Exchange:
    """Answers the requests of one mapping, from the store or by asking its origin."""

    def __init__(self, policies: Policies, storage: Storage, send: Send, clock: Clock) -> None:
        self._policies = policies
        self._storage = storage
        self._send = send
        self._clock = clock
        self._claims = Claims(storage)
        self._searches = Searches()
        self._fetches: Fetches[_Outcome] = Fetches()
        self._in_background = 0
        self._complain_after = float("-inf")

    async def respond(self, request: Request, uri: bytes, interim: Interim) -> Answer | Failed:
        """Answer `request`, which is as the origin is to see it, for the target URI `uri`.

        `interim` is called with each interim response that the origin gives before (RFC 9110, 15.2); none is stored.
        """
        policy = self._policies.of(request.target)
        if DEBUG not in request.headers:
            return await self._respond(request, uri, policy, interim)
        plain = evolve(request, headers=request.headers.without({DEBUG}))
        reply = await self._respond(plain, uri, policy, interim)
        if b"key" not in request.headers.members(DEBUG) or not policy.caches(request.method):
            return reply
        return evolve(reply, status=evolve(reply.status, key=self._key(plain, uri, policy)))

    def relay(self, request: Request, uri: bytes, incoming: Incoming, detail: str) -> Answer:
        """Hand on what the origin answers to `request`, about which the cache was not asked; `detail` says why not.

        Nothing of it is stored, but it invalidates what any answer would (RFC 9111, 4.4).
        """
        visit = _Visit(request, uri, b"", self._policies.of(request.target), lambda _: None)
        arrival = self._arrival(visit, self._clock.seconds(), incoming.response)
        self._invalidate(arrival, visit.policy)
        status = CacheStatus(fwd="bypass", fwd_status=arrival.response.status, detail=detail)
        return Answer(arrival.response, Flight(incoming), status)

    async def _respond(self, request: Request, uri: bytes, policy: Policy, interim: Interim) -> Answer | Failed:
        key = b""
        stored: tuple[StoredResponse, ...] = ()
        if policy.caches(request.method):
            key = self._key(request, uri, policy)
            if self._fetches.find((key, None), self._storage.purges) and shareable(request, _MISS):
                # Nothing was stored of it a moment ago, nor will there be before that fetch is over.
                return await self._ask_together(_Visit(request, uri, key, policy, interim), _MISS, None)
            stored = await self._lookup(key)
        visit = _Visit(request, uri, key, policy, interim)
        choice = choose(request, stored, policy, self._clock.seconds())
        match choice:
            case Reuse(selected, age, ttl, revalidate):
                if revalidate:
                    self._revalidate(visit, selected)
                detail = "stale-while-revalidate" if revalidate else None
                return _reused(visit, selected, CacheStatus(hit=True, ttl=ttl, detail=detail), age)
            case GatewayTimeout():
                error = NotCached("nothing stored answers this request, and it asked for a stored response only")
                return Failed(error, CacheStatus(detail=error.code))
            case question if shareable(request, question) and not self._fetches.is_alone(key, self._clock.seconds()):
                like = selecting_values(request, stored[0], policy) if stored else None
                return await self._ask_together(visit, question, like)
            case question:
                return (await self._ask(visit, question)).reply

    async def _ask_together(self, visit: _Visit, question: Question, like: Selecting | None) -> Answer | Failed:
        """Ask, or wait for the answer to one who has asked the same.

        `like` is what is known to tell variants apart; None where nothing is stored.
        """
        fetch = self._fetches.find((visit.key, like), self._storage.purges)
        if fetch is None:
            return (await self._start(visit, question, like).wait()).reply
        outcome = await fetch.wait()
        reply = outcome.shared(visit)
        if reply is not None:
            return reply
        if outcome.draft is not None:
            # Now it is known what tells variants apart: others may have asked for this one.
            now_like = selecting_values(visit.request, outcome.draft, visit.policy)
            if now_like not in (like, outcome.draft.selecting):
                return await self._ask_together(visit, question, now_like)
        return (await self._ask(visit, question)).reply

    def _start(self, visit: _Visit, question: Question, like: Selecting | None) -> "Fetch[_Outcome]":
        """Ask, so that others may join until all of the answer is there."""
        fetch: Fetch[_Outcome] = Fetch(visit.uri, self._storage.purges, _give_up_unread)
        name = (visit.key, like)
        self._fetches.add(name, fetch)
        over = partial(self._fetches.remove, name, fetch)
        fetch.begin(self._ask_for_all(evolve(visit, over=over), question))
        return fetch

    async def _ask_for_all(self, visit: _Visit, question: Question) -> "_Outcome":
        """Ask for whoever waits, and so hold the content: the caller whose it is may leave."""
        with held(visit.request.body):
            return await self._ask(visit, question)

    def _key(self, request: Request, uri: bytes, policy: Policy) -> bytes:
        search = self._searches.of(uri) if policy.no_vary_search else None
        return primary_key(request, uri, policy, self._storage.secret, search)

    async def _lookup(self, key: bytes) -> tuple[StoredResponse, ...]:
        try:
            return tuple(await self._storage.lookup(key))
        except CacheError as error:
            self._complain(error)
            return ()

    def _complain(self, error: CacheError) -> None:
        """Say that a lookup failed, though not at each request."""
        now = self._clock.seconds()
        if now >= self._complain_after:
            self._complain_after = now + COMPLAIN_EVERY
            _log.warn("the store failed to look up a response, which counts as a miss: {error}", error=error)

    async def _ask(self, visit: _Visit, question: Question) -> "_Outcome":
        """Ask the origin."""
        outcome = None
        try:
            outcome = await self._ask_once(visit, question)
        finally:
            if outcome is None or outcome.draft is None:
                visit.over()
        return outcome

    async def _ask_once(self, visit: _Visit, question: Question) -> "_Outcome":
        sent = self._clock.seconds()
        claim = self._claims.put(visit.uri, visit.key)
        try:
            incoming = await self._send(question.outgoing(visit.request), visit.interim)
        except ProxyError as error:
            return self._failed(visit, question, error)
        try:
            arrival = self._arrival(visit, sent, incoming.response)
            self._invalidate(arrival, visit.policy)
            if (get := as_get(arrival, visit.policy)) is not None:
                arrival = evolve(arrival, request=get)
            learned = visit.policy.no_vary_search and self._searches.learn(arrival)
            if get is not None or learned:
                arrival = evolve(arrival, key=self._key(arrival.request, visit.uri, visit.policy))
                claim = self._claims.put(arrival.uri, arrival.key)
            return await self._conclude(visit, question, arrival, incoming, claim)
        except BaseException:
            incoming.abort()
            raise

    def _failed(self, visit: _Visit, question: Question, error: ProxyError) -> "_Outcome":
        status = CacheStatus(fwd=question.reason, detail=error.code)
        stale = None
        if isinstance(error, UpstreamError):
            now = self._clock.seconds()
            stale = instead_of_failure(visit.request, question.stale, visit.policy, now, answered=False)
        return _Outcome(Failed(error, status)) if stale is None else _stale_outcome(visit, stale, status)

    def _invalidate(self, arrival: Arrival, policy: Policy) -> None:
        for uri in invalidated(arrival, policy):
            self._claims.void(uri)
            self._fetches.void(uri)
            self._storage.invalidate(policy.mapping, uri)
        for group in invalidated_groups(arrival, policy):
            purging = Deferred.fromCoroutine(self._storage.purge(Selection(mapping=policy.mapping, tag=group)))
            purging.addErrback(
                lambda failure: _log.warn("the store failed to purge a group: {error}", error=failure.value)
            )

    def _arrival(self, visit: _Visit, sent: float, response: Response) -> Arrival:
        now = self._clock.seconds()
        headers = response.headers.end_to_end()
        if b"date" not in headers:
            # RFC 9110, 6.6.1: a recipient with a clock adds it.
            headers = headers.adding((b"Date", format_date(now)))
        return Arrival(
            request=visit.request,
            uri=visit.uri,
            key=visit.key,
            response=evolve(response, headers=headers),
            request_time=sent,
            response_time=now,
            framed=_framed(response),
            connection=response.headers.members(b"connection"),
        )

    async def _conclude(
        self, visit: _Visit, question: Question, arrival: Arrival, incoming: Incoming, claim: Claim
    ) -> "_Outcome":
        status = CacheStatus(fwd=question.reason, fwd_status=arrival.response.status)
        match conclude(arrival, question, visit.policy):
            case Freshen(stored):
                incoming.abort()
                if self._claims.fulfil(claim):
                    self._storage.store(stored)
                status = evolve(status, ttl=int(stored.expires - arrival.response_time), stored=claim.valid)
                return _Outcome(_reused(visit, _with_cookies(stored, arrival), status), stored=stored)
            case Refetch():
                incoming.abort()
                return await self._ask_once(visit, Forward(question.reason, question.stored))
            case Stale() as stale:
                incoming.abort()
                return _stale_outcome(visit, stale, evolve(status, detail="stale-if-error"))
            case Store(draft) as arriving:
                self._fetches.come_together(visit.key)
                landed = partial(self._keep, visit, claim, arriving)
                clock = self._clock.seconds if is_timed(draft) else None
                flight = Flight(incoming, landed, visit.policy.max_size, visit.over, clock)
                status = evolve(status, ttl=int(draft.expires - arrival.response_time))
                if is_judged(draft.headers, visit.policy):
                    status = evolve(status, detail="judged-at-end")
                else:
                    status = evolve(status, stored=True)
                return _Outcome(Answer(arrival.response, flight, status), draft=draft)
            case Relay(reason, outdated):
                if arrival.response.status not in ERRORS:
                    self._fetches.stay_alone(visit.key, arrival.response_time)
                if outdated is not None and self._claims.fulfil(claim):
                    self._storage.store(outdated)
                return _Outcome(Answer(arrival.response, Flight(incoming), evolve(status, detail=reason)))
            case unreachable:
                assert_never(unreachable)

    def _keep(
        self, visit: _Visit, claim: Claim, arriving: Store, chunks: Sequence[bytes], times: Sequence[float]
    ) -> None:
        policy, body = visit.policy, b"".join(chunks)
        draft = evolve(arriving.draft, timeline=timeline(arriving.draft, chunks, times))
        stored = assembled(draft, arriving.onto, body, policy.max_size)
        if stored is None or len(body) < policy.min_size or not is_worth_keeping(stored, policy):
            return
        if self._claims.fulfil(claim):
            self._storage.store(stored)

    def _revalidate(self, visit: _Visit, stored: StoredResponse) -> None:
        """Ask the origin about `stored` in the background, unless that is under way (RFC 5861, 3)."""
        like = stored.selecting
        if self._fetches.find((stored.key, like), self._storage.purges) or self._in_background >= BACKGROUND:
            return
        self._in_background += 1
        request, question = revalidation(visit.request, stored)
        background = _Visit(request, visit.uri, visit.key, visit.policy, _nothing)
        asking = self._start(background, question, like).wait()
        asking.addCallback(_read)
        asking.addErrback(lambda failure: _log.failure("a stored response could not be validated", failure))
        asking.addBoth(self._validated)

    def _validated(self, _: object) -> None:
        self._in_background -= 1


@frozen
class _Outcome:
    """What became of a question, and what of it may be given to others who asked the same."""

    reply: Answer | Failed
    draft: StoredResponse | None = None
    """What is being stored, without its content: that arrives by the flight in `reply`."""
    stored: StoredResponse | None = None
    """What was confirmed, or serves in place of an answer."""

    def shared(self, visit: _Visit) -> Answer | Failed | None:
        """Return the reply to another request for the same; None where it has to be asked by itself."""
        status = evolve(self.reply.status, collapsed=True)
        request, policy = visit.request, visit.policy
        match self.reply:
            case Failed(error):
                return Failed(error, status) if isinstance(error, UpstreamError) else None
            case Answer(_, Flight() as flight) if self.draft is not None:
                whole = not self.draft.partial and wants_whole(request)
                if whole and flight.joinable and selects(request, self.draft, policy):
                    return Answer(self.draft.response, flight, status)
            case Answer(age=age) if self.stored is not None:
                if selects(request, self.stored, policy) and suffices(request, self.stored):
                    return _reused(visit, self.stored, status, age)
            case _:
                pass
        return None


def _give_up_unread(outcome: _Outcome) -> None:
    """Let go of an answer that nobody was there to read: who asked has left, and for others it is not."""
    content = outcome.reply.content if isinstance(outcome.reply, Answer) else b""
    if isinstance(content, Flight) and not content.started:
        content.abandon()


def _reused(visit: _Visit, stored: StoredResponse, status: CacheStatus, age: int | None = None) -> Answer:
    """Return the answer that `stored`, which may be reused now, gives."""
    response, content = answered(visit.request, stored)
    whole = stored.timeline and response is stored.response
    return Answer(response, content, status, age, Replay(stored, visit.policy.replay) if whole else None)


def _stale_outcome(visit: _Visit, stale: Stale, status: CacheStatus) -> _Outcome:
    answer = _reused(visit, stale.stored, evolve(status, ttl=stale.ttl), stale.age)
    return _Outcome(answer, stored=stale.stored)


class _Nobody:
    """Reads a response for no caller, so that it is stored."""

    def __init__(self) -> None:
        self.over: Deferred[None] = Deferred()

    def write(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def finish(self) -> None:
        """Know that the content is complete."""
        self.over.callback(None)

    def fail(self, error: UpstreamError) -> None:
        """Know that the content broke off: what was stored stays, and the next request asks again."""
        self.over.callback(None)

    def hurry(self) -> None:
        """Know that others wait, which they do not: nobody takes all there is at once."""


def _read(outcome: _Outcome) -> Deferred[None] | None:
    """Read the content of an answer to its end."""
    reply = outcome.reply
    if isinstance(reply, Failed) or isinstance(reply.content, bytes):
        return None
    nobody = _Nobody()
    reply.content.join(nobody).resume()
    return nobody.over


def _with_cookies(stored: StoredResponse, arrival: Arrival) -> StoredResponse:
    """Return a confirmed response, with the cookies that came with the confirmation."""
    cookies = tuple((b"Set-Cookie", value) for value in arrival.response.headers.get_all(b"set-cookie"))
    if not cookies:
        return stored
    return evolve(stored, response=evolve(stored.response, headers=stored.headers.replacing(*cookies)))


def _framed(response: Response) -> bool:
    """Return whether the response says where its content ends, or can have none (RFC 9112, 6.3)."""
    fields = (b"content-length", b"transfer-encoding")
    return response.status in (204, 304) or any(name in response.headers for name in fields)
