"""The core against a literal reading of RFC 9111 (`literal.py`), over random dialogues of callers, cache and origin.

Some hundreds of dialogues are part of every run. As many more as wanted, each time other ones, by

    AGREEMENT_EXAMPLES=20000 python -m pytest tests/cache/test_agreement.py
"""

import os
from collections import Counter
from email.utils import formatdate

from attrs import define, evolve, field
from hypothesis import HealthCheck, example, given, settings
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.answering import answered
from buddyproxy.cache.choose import Forward, GatewayTimeout, Question, Reuse, choose
from buddyproxy.cache.conclude import (
    Arrival,
    Freshen,
    Refetch,
    Relay,
    Store,
    conclude,
)
from buddyproxy.cache.invalidation import as_get, invalidated
from buddyproxy.cache.key import primary_key
from buddyproxy.cache.ranges import assembled
from buddyproxy.cache.staleness import Stale, instead_of_failure
from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers, Request, Response
from tests.cache.dialogues import DIALOGUES, ORIGIN, TELLING, Says, Step, rendered
from tests.cache.literal import AGAIN, ASK, RELAY, STORE, TIMEOUT, Literal, Outcome
from tests.cache.messages import (
    Asked,
    Kept,
    Told,
    byte_range,
    content_range,
    current_age,
    if_range_holds,
    not_modified,
)
from tests.support.values import NOW, RFC9111, properties

EXAMPLES = int(os.environ.get("AGREEMENT_EXAMPLES", "0"))
many = settings(
    properties,
    max_examples=EXAMPLES or 250,
    derandomize=not EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


# What a dialogue may come to: that none of it is missing shows that the dialogues are worth something.
KINDS = frozenset(
    {"reuse", "ask", "timeout", "store", "relay", "freshen", "confirm", "again", "stale"}
    | {"invalidate", "combine", "not modified", "part"}
)


def as_bytes(pairs: tuple[tuple[str, str], ...]) -> Headers:
    """Return header fields as the core takes them."""
    return Headers(tuple((name.encode(), value.encode()) for name, value in pairs))


def as_text(headers: Headers) -> tuple[tuple[str, str], ...]:
    """Return header fields as the literal reading takes them."""
    return tuple((name.decode().lower(), value.decode()) for name, value in headers)


@define
class Dialogue:
    """The core, driven as the exchange drives it; whatever it does is held against the literal reading."""

    now: float = NOW
    serial: int = 0
    shelf: list[tuple[StoredResponse, Kept]] = field(factory=list)
    """What is stored, the last first: as the core knows it, and as the literal reading does."""
    literal: Literal = field(factory=Literal)
    seen: Counter[str] = field(factory=Counter)

    def take(self, step: Step) -> None:
        """Let a caller ask, and the cache answer."""
        self.now += step.wait
        fields = rendered(step.lines, self.now)
        request = Request(step.method.encode(), step.path.encode(), as_bytes(fields))
        asked = Asked(step.method, ORIGIN + step.path, as_text(request.headers))
        key = primary_key(request, asked.uri.encode(), RFC9111, b"")
        stored = tuple(each for each, _ in self.shelf if each.key == key) if step.method in ("GET", "HEAD") else ()
        choice = choose(request, stored, RFC9111, self.now)
        allowed = self.literal.choices(asked, self.now)
        match choice:
            case Reuse(selected, age, _, _):
                self.agree(Outcome("reuse", self.twin(selected)), allowed)
                self.check_reply(request, asked, selected, age)
            case GatewayTimeout():
                self.agree(TIMEOUT, allowed)
            case question:
                self.agree(ASK, allowed)
                complaint = self.literal.complaint(
                    asked, as_text(question.outgoing(request).headers), self.nominated(question)
                )
                assert complaint is None, complaint
                self.ask(request, asked, question, step)

    def ask(self, request: Request, asked: Asked, question: Question, step: Step, again: bool = False) -> None:
        """Ask the origin, and see what becomes of its answer."""
        says = step.again if again else step.says
        outgoing = question.outgoing(request)
        nominated = self.nominated(question)
        sent = self.now
        self.now += says.delay
        if says.fails:
            self.fail(request, asked, question, again)
            return
        told = self.answer(outgoing, asked, says, sent)
        headers = as_bytes(told.fields).end_to_end()
        arrival = Arrival(
            request,
            asked.uri.encode(),
            primary_key(request, asked.uri.encode(), RFC9111, b""),
            Response(told.status, headers),
            sent,
            self.now,
        )
        self.invalidate(arrival, asked, told)
        get = as_get(arrival, RFC9111)
        if get is not None:
            arrival = evolve(arrival, request=get, key=primary_key(get, arrival.uri, RFC9111, b""))
        allowed = self.literal.conclusions(asked, told, nominated, again=again)
        held = question.nominated or (question.stored,)
        match conclude(arrival, question, RFC9111):
            case Store(draft, onto):
                self.agree(STORE, allowed)
                self.store(asked, told, assembled(draft, onto, told.body, RFC9111.max_size), onto)
            case Freshen(stored):
                kept = next(kept for each, kept in self.shelf if each.body == stored.body and each in held)
                unchanged = any(stored is each for each in held)
                self.agree(Outcome("confirm" if unchanged else "freshen", kept), allowed)
                changed = self.literal.confirm(kept) if unchanged else self.literal.freshen(asked, told, kept)
                self.put(stored, changed)
                self.check_reply(request, asked, stored, None)
            case Stale(stored, age, _):
                self.agree(Outcome("stale", self.twin(stored)), allowed)
                self.check_reply(request, asked, stored, age)
            case Refetch():
                self.agree(AGAIN, allowed)
                self.ask(request, asked, Forward(question.reason), step, again=True)
            case Relay(_, outdated):
                self.agree(RELAY, allowed)
                self.literal.relayed(asked, told, again=again)
                if outdated is not None:
                    self.shelf = [(outdated if each is question.stored else each, kept) for each, kept in self.shelf]

    def fail(self, request: Request, asked: Asked, question: Question, again: bool) -> None:
        """See what is done where the origin cannot be reached."""
        allowed = self.literal.when_unreachable(asked, again=again)
        stale = instead_of_failure(request, question.stale, RFC9111, self.now, answered=False)
        if stale is None:
            self.agree(RELAY, allowed)
        else:
            self.agree(Outcome("stale", self.twin(stale.stored)), allowed)
            self.check_reply(request, asked, stale.stored, stale.age)

    def answer(self, outgoing: Request, asked: Asked, says: Says, sent: float) -> Told:
        """Return what the origin answers, made to fit what it is asked."""
        self.serial += 1
        content = b"%06d" % self.serial
        fields = rendered(says.lines, self.now)
        status, body = says.status, b"" if asked.method == "HEAD" or says.status in (204, 304) else content
        tags = outgoing.headers.get(b"if-none-match")
        span = byte_range(Asked(asked.method, asked.uri, as_text(outgoing.headers)), len(content))
        if says.confirms and (tags or b"if-modified-since" in outgoing.headers):
            first = (tags or b'"a"').split(b",")[0].decode()
            opaque = first.removeprefix("W/")
            named = {"same": first, "other": '"z"', "weak": "W/" + opaque, "strong": opaque}
            tag = named.get(says.confirms)
            fields = tuple(
                pair
                for pair in fields
                if pair[0] != "ETag" and (says.confirms == "dated" or pair[0] != "Last-Modified")
            )
            status, body, fields = 304, b"", fields + ((("ETag", tag),) if tag else ())
        elif says.part is not None and span is not None and status == 200:
            first_byte, last = says.part
            status, body = 206, content[first_byte : last + 1]
            fields += (("Content-Range", f"bytes {first_byte}-{last}/{len(content)}"),)
        if status not in (204, 304):
            length = len(body) if status == 206 else len(content)
            fields += (("Content-Length", str(length)),)
        if not any(name == "Date" for name, _ in fields):
            # RFC 9110, 6.6.1: a recipient with a clock adds it.
            fields += (("Date", formatdate(self.now, usegmt=True)),)
        return Told(status, tuple((name.lower(), value) for name, value in fields), sent, self.now, body)

    def invalidate(self, arrival: Arrival, asked: Asked, told: Told) -> None:
        """See what an unsafe request invalidates."""
        uris = {uri.decode() for uri in invalidated(arrival, RFC9111)}
        gone = [kept for _, kept in self.shelf if kept.asked.uri in uris]
        self.seen["invalidate"] += bool(gone)
        assert set(self.literal.invalidated(asked, told)) == set(gone), (uris, asked, told)
        self.shelf = [pair for pair in self.shelf if pair[1] not in gone]

    def store(self, asked: Asked, told: Told, stored: StoredResponse | None, onto: StoredResponse | None) -> None:
        """Keep what was gathered."""
        assert stored is not None, "what the origin sent is not what it said"
        self.seen["combine"] += onto is not None
        held = None if onto is None else self.twin(onto)
        self.put(stored, self.literal.keep(asked, told) if held is None else self.literal.combine(asked, told, held))

    def put(self, stored: StoredResponse, changed: list[Kept]) -> None:
        """Store a response in place of those of its variant, which the literal reading replaces too."""
        new, *replaced = changed
        gone = [kept for each, kept in self.shelf if (each.key, each.variant) == (stored.key, stored.variant)]
        assert set(gone) == set(replaced), (gone, replaced)
        self.shelf = [(stored, new)] + [pair for pair in self.shelf if pair[1] not in gone]
        assert (stored.response.status, stored.body) == (new.told.status, new.told.body), (stored, new)
        assert sorted(as_text(stored.headers)) == sorted(new.fields), (as_text(stored.headers), new.fields)

    def nominated(self, question: Question) -> list[Kept]:
        """Return what the origin is to confirm."""
        return [self.twin(stored) for stored in question.nominated]

    def twin(self, stored: StoredResponse) -> Kept:
        """Return what the literal reading knows of a stored response."""
        return next(kept for each, kept in self.shelf if each is stored)

    def agree(self, outcome: Outcome, allowed: set[Outcome]) -> None:
        """Hold what the core does against what it may do."""
        self.seen[outcome.word] += 1
        assert outcome in allowed, f"{outcome} is not among {allowed} at {self.now - NOW:+}"

    def check_reply(self, request: Request, asked: Asked, stored: StoredResponse, age: int | None) -> None:
        """Hold what the caller gets of a stored response against what it may get (4, 4.3.2; RFC 9110, 14)."""
        kept = self.twin(stored)
        response, body = answered(request, stored)
        if age is not None:
            assert age == int(current_age(kept.told, self.now)), "Age"
        if not_modified(asked, kept):
            self.seen["not modified"] += 1
            assert (response.status, body) == (304, b""), response
            assert set(as_text(response.headers)) <= set(kept.fields)
            return
        told = kept.told
        first, _, total = content_range(told) if told.status == 206 else (0, len(told.body) - 1, len(told.body))
        wanted = byte_range(asked, total) if if_range_holds(asked, kept) and told.status in (200, 206) else None
        if wanted is None:
            assert (response.status, body) == (told.status, told.body), response
            assert sorted(as_text(response.headers)) == sorted(kept.fields)
        elif wanted[0] > wanted[1]:
            assert response.status == 416, response
        else:
            self.seen["part"] += 1
            assert (response.status, body) == (206, told.body[wanted[0] - first : wanted[1] - first + 1]), response
            parts = Told(206, as_text(response.headers), 0, 0)
            assert content_range(parts) == (*wanted, total), response


class AgreementTests(SynchronousTestCase):
    """The core and the literal reading."""

    def test_agreement(self) -> None:
        """Whatever callers ask, origins answer and clocks show, the core does what RFC 9111 allows, and no less."""
        seen: Counter[str] = Counter()

        @many
        @given(DIALOGUES)
        def agree(steps: list[Step]) -> None:
            dialogue = Dialogue()
            for step in steps:
                dialogue.take(step)
            seen.update(dialogue.seen)

        for steps in TELLING.values():
            agree = example(steps)(agree)
        agree()
        self.assertEqual(KINDS - {kind for kind, count in seen.items() if count}, set(), "these never came up")
