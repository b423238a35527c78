"""Several callers who ask the same at once, through the whole proxy in memory."""

from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.exchange.fetches import ALONE, REMEMBERED, Fetches
from buddyproxy.flight import BEHIND
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.selection import Selection
from buddyproxy.web.delivery import HELD_UP
from tests.support.memory import Connection, Fields, parse, spell
from tests.support.walk import WalkTests


class HeldTests(WalkTests):
    """An origin that answers when a test says so."""

    def start_held(self, **settings: object) -> None:
        """Start an origin that answers when `answer` is called."""

        def hold(request: ServerRequest) -> int:
            self.held.append(request)
            return NOT_DONE_YET

        self.held: list[ServerRequest] = []
        self.start(hold, **settings)  # type: ignore[arg-type]

    def begin(self, target: str = "/api/a", fields: Fields = (), method: str = "GET", body: bytes = b"") -> Connection:
        """Ask, without waiting for the answer."""
        connection = self.proxy.connect()
        connection.send(spell(method, target, fields, body))
        self.proxy.endpoint.flush()
        return connection

    def answer(self, number: int, body: bytes = b"hello", status: int = 200, **fields: str) -> None:
        """Let the origin answer one of the requests it has, all at once."""
        request = self.held[number]
        request.setResponseCode(status)
        for name, value in {"cache_control": "max-age=60", **fields}.items():
            request.setHeader(name.replace("_", "-").encode(), value.encode())
        if status != 304:
            request.setHeader(b"content-length", b"%d" % len(body))
            request.write(body)
        request.finish()
        self.proxy.endpoint.flush()


class TogetherTests(HeldTests):
    """Identical questions are asked once (RFC 9211, 2.6)."""

    def test_one_question(self) -> None:
        """All get the answer to the first one's question, and learn that they were collapsed."""
        self.start_held()
        callers = [self.begin() for _ in range(5)]
        self.assertEqual(len(self.held), 1)
        self.answer(0, set_cookie="mine=1")
        replies = [parse(caller.received) for caller in callers]
        self.assertEqual([reply.body for reply in replies], [b"hello"] * 5)
        self.assertEqual([reply["Set-Cookie"] for reply in replies], ["mine=1", None, None, None, None])
        own = "buddyproxy; fwd=uri-miss; fwd-status=200; ttl=60; stored"
        self.assertEqual([reply["Cache-Status"] for reply in replies], [own, *[f"{own}; collapsed"] * 4])
        self.assertEqual(self.ask().word, "hit")
        self.assertEqual([outcome.word for outcome in self.proxy.metrics.seen], ["uri-miss", *["collapsed"] * 4, "hit"])

    def test_without_looking(self) -> None:
        """Who asks what is being fetched for want of a stored response does not have the store searched again."""

        class Counting(MemoryStorage):
            lookups = 0

            async def lookup(self, key: bytes) -> tuple[StoredResponse, ...]:
                self.lookups += 1
                return await super().lookup(key)

        storage = Counting(2**20)
        self.start_held(storage=storage)
        for _ in range(3):
            self.begin()
        self.assertEqual((storage.lookups, len(self.held)), (1, 1))
        self.begin(fields=[("Cache-Control", "no-cache")])
        self.assertEqual((storage.lookups, len(self.held)), (2, 2))

    def test_joining_in_the_middle(self) -> None:
        """Who comes while the content arrives gets what is there at once, and the rest as it comes."""
        self.start_held()
        first = self.begin()
        self.held[0].write(b"one")
        self.proxy.endpoint.flush()
        second = self.begin()
        self.assertTrue(second.received.endswith(b"3\r\none\r\n"), second.received)
        self.held[0].write(b"two")
        self.proxy.endpoint.flush()
        for caller in (first, second):
            self.assertTrue(caller.received.endswith(b"3\r\ntwo\r\n"))
        self.held[0].finish()
        self.proxy.endpoint.flush()
        self.assertEqual([parse(caller.received).body for caller in (first, second)], [b"onetwo"] * 2)
        self.assertEqual(len(self.held), 1)

    def test_questions_with_content(self) -> None:
        """A POST that the mapping caches is collapsed with its like only."""
        self.start_held()
        for body in (b"1", b"1", b"2"):
            self.begin(method="POST", body=body)
        self.assertEqual(len(self.held), 2)

    def test_who_is_not_held_up(self) -> None:
        """Whoever wants the origin's own word, a part or only news asks by itself; so does another caller."""
        self.start_held()
        self.begin()
        for method, fields in (
            ("GET", [("Cache-Control", "no-cache")]),
            ("GET", [("Cache-Control", "no-store")]),
            ("GET", [("Cache-Control", "max-age=0")]),
            ("GET", [("Range", "bytes=0-1")]),
            ("GET", [("If-None-Match", '"1"')]),
            ("GET", [("If-Match", '"1"')]),
            ("GET", [("Authorization", "Bearer other")]),
            ("HEAD", []),
            ("PUT", []),
        ):
            asked = len(self.held)
            self.begin(fields=fields, method=method)
            self.assertEqual(len(self.held), asked + 1, (method, fields))

    def test_who_wants_nothing_from_the_origin(self) -> None:
        """Who asks for a stored response only does not wait for one that is being fetched (RFC 9111, 5.2.1.7)."""
        self.start_held()
        self.begin()
        reply = self.ask(fields=[("Cache-Control", "only-if-cached")])
        self.assertEqual((reply.status, len(self.held)), (504, 1))

    def test_what_cannot_be_shared(self) -> None:
        """When the answer turns out to be one caller's own, the others ask at once, side by side, now and next time."""
        self.start_held()
        callers = [self.begin() for _ in range(3)]
        self.assertEqual(len(self.held), 1)
        self.answer(0, b"0", cache_control="private")
        self.assertEqual(len(self.held), 3)
        for number in (2, 1):
            self.answer(number, b"%d" % number, cache_control="private")
        self.assertEqual([parse(caller.received).body for caller in callers], [b"0", b"1", b"2"])
        for _ in range(2):
            self.begin()
        self.assertEqual(len(self.held), 5)
        self.proxy.clock.advance(ALONE + 1)
        for _ in range(2):
            self.begin()
        self.assertEqual(len(self.held), 6)

    def test_shared_again(self) -> None:
        """Once an answer can be shared, the next question is waited for again."""
        self.start_held()
        self.begin()
        self.answer(0, cache_control="private")
        self.begin()
        self.answer(1, cache_control="max-age=1")
        self.proxy.clock.advance(2)
        for _ in range(2):
            self.begin()
        self.assertEqual(len(self.held), 3)

    def test_variants(self) -> None:
        """Who wants another variant asks for that, together with those who want the same."""
        self.start_held()
        languages = ("de", "de", "en", "en", "fr", "en")
        callers = [self.begin(fields=[("Accept-Language", language)]) for language in languages]
        self.answer(0, b"de", vary="Accept-Language")
        asked = [request.getHeader(b"accept-language") for request in self.held]
        self.assertEqual(asked, [b"de", b"en", b"fr"])
        for number in (1, 2):
            self.answer(number, asked[number] or b"", vary="Accept-Language")
        bodies = [parse(caller.received).body.decode() for caller in callers]
        self.assertEqual(tuple(bodies), languages)

    def test_variants_that_vary_by_more(self) -> None:
        """A variant that is told apart by yet another field is asked for alone."""
        self.start_held()
        alike = ("Accept-Language", "en")
        callers = [self.begin(fields=[alike, ("X-A", value)]) for value in "123"]
        self.answer(0, b"1", vary="X-A")
        self.assertEqual(len(self.held), 3)
        self.answer(1, b"2", vary="X-A")
        self.answer(2, b"3", vary="X-A")
        self.assertEqual([parse(caller.received).body for caller in callers], [b"1", b"2", b"3"])

    def test_validation(self) -> None:
        """A stale response is validated once for all who wait, each of whom gets what it asked for."""
        self.start_held()
        self.begin()
        self.answer(0, etag='"1"')
        self.proxy.clock.advance(61)
        asking: list[Fields] = [(), [("If-None-Match", '"1"')], [("Range", "bytes=0-1")]]
        callers = [self.begin(fields=fields) for fields in asking]
        self.assertEqual(len(self.held), 2)
        self.answer(1, status=304, etag='"1"')
        replies = [parse(caller.received) for caller in callers]
        self.assertEqual([(reply.status, reply.body) for reply in replies], [(200, b"hello"), (304, b""), (206, b"he")])
        self.assertTrue((replies[1]["Cache-Status"] or "").endswith("; collapsed"))

    def test_validation_that_brings_another(self) -> None:
        """Where the validation brings a new response, who wanted a part of it asks by itself."""
        self.start_held()
        self.begin()
        self.answer(0, etag='"1"')
        self.proxy.clock.advance(61)
        callers = [self.begin(), self.begin(fields=[("Range", "bytes=0-1")])]
        self.answer(1, b"other", etag='"2"')
        self.assertEqual(parse(callers[0].received).body, b"other")
        self.assertEqual(len(self.held), 3)
        self.assertEqual(self.held[2].getHeader(b"if-none-match"), b'"1"')

    def test_too_large_after_all(self) -> None:
        """Content that grows beyond what is stored reaches those who read it; who comes later asks anew."""
        self.start_held(cache={"max_cache_response_size": 5})
        callers = [self.begin(), self.begin()]
        self.held[0].write(b"123456")
        self.proxy.endpoint.flush()
        self.begin()
        self.assertEqual(len(self.held), 2)
        self.held[0].finish()
        self.proxy.endpoint.flush()
        self.assertEqual([parse(caller.received).body for caller in callers], [b"123456"] * 2)

    def test_failure(self) -> None:
        """An origin that cannot be reached is not asked by everybody in turn."""
        self.start_held()
        callers = [self.begin(), self.begin()]
        self.held[0].transport.loseConnection()
        self.proxy.endpoint.failure = Refused()
        self.proxy.endpoint.flush()
        replies = [parse(caller.received) for caller in callers]
        self.assertEqual([reply.status for reply in replies], [502, 502])
        self.assertTrue((replies[1]["Cache-Status"] or "").endswith("; collapsed; detail=upstream-failed"), replies[1])

    def test_failure_of_one(self) -> None:
        """What is wrong with one caller's request is not the others' fault."""
        self.start_held()
        self.begin()
        self.held[0].setHeader(b"cache-control", b"max-age=60")
        callers = [self.begin(), self.begin()]
        self.answer(0, b"sorry", status=503, cache_control="no-store")
        self.assertEqual(len(self.held), 3)
        for number in (1, 2):
            self.answer(number)
        self.assertEqual([parse(caller.received).status for caller in callers], [200, 200])

    def test_leaving(self) -> None:
        """The question goes on for those who stay, and is given up when the last one leaves."""
        self.start_held()
        first, second = self.begin(), self.begin()
        gone: list[Failure] = []
        self.held[0].notifyFinish().addErrback(gone.append)
        first.leave()
        self.proxy.endpoint.flush()
        self.assertEqual(gone, [])
        self.answer(0)
        self.assertEqual(parse(second.received).body, b"hello")
        third = self.begin("/api/b")
        self.held[1].notifyFinish().addErrback(gone.append)
        third.leave()
        self.proxy.endpoint.flush()
        self.assertEqual(len(gone), 1)
        self.begin("/api/b")
        self.assertEqual(len(self.held), 3)

    def test_left_with_what_nobody_wants(self) -> None:
        """An answer that is for none of those who are left is given up."""
        self.start_held()
        first = self.begin(fields=[("Accept-Language", "de")])
        self.begin(fields=[("Accept-Language", "en")])
        first.leave()
        gone: list[Failure] = []
        self.held[0].notifyFinish().addErrback(gone.append)
        self.held[0].setHeader(b"vary", b"accept-language")
        self.held[0].write(b"hallo")
        self.proxy.endpoint.flush()
        self.assertEqual((len(gone), len(self.held)), (1, 2))

    def test_what_changed_meanwhile(self) -> None:
        """Who asks after a change, or after a purge, does not join a question from before it."""
        self.start_held()
        self.begin()
        self.begin(method="PUT")
        self.answer(1)
        self.begin()
        self.assertEqual(len(self.held), 3)
        purging = self.proxy.storage.purge(Selection(tag=b"x"))
        self.assertEqual(self.successResultOf(purging), 0)
        self.begin()
        self.assertEqual(len(self.held), 4)

    def test_background_and_foreground(self) -> None:
        """Who may not have it stale any more waits for the validation that is under way in the background."""
        self.start_held()
        self.begin()
        self.answer(0, cache_control="max-age=60, stale-while-revalidate=30", etag='"1"')
        self.proxy.clock.advance(80)
        self.assertEqual(parse(self.begin().received).word, "hit")
        self.proxy.clock.advance(20)
        waiting = self.begin()
        self.assertEqual((len(self.held), waiting.received), (2, b""))
        self.answer(1, status=304)
        self.assertEqual(parse(waiting.received).body, b"hello")

    def test_what_is_remembered_has_a_bound(self) -> None:
        """Of more keys than that, the one learned of longest ago is forgotten."""
        fetches: Fetches[object] = Fetches()
        for number in [*range(REMEMBERED), 0, REMEMBERED]:
            fetches.stay_alone(b"%d" % number, 0.0)
        alone = [fetches.is_alone(b"%d" % number, 1.0) for number in (0, 1, 2, REMEMBERED)]
        self.assertEqual(alone, [True, False, True, True])


class PaceTests(HeldTests):
    """Callers who read one answer, too large to be kept, at different paces."""

    def start_large(self) -> list[Connection]:
        """Let two callers ask for a large answer, of whom the first takes nothing after the beginning."""
        self.start_held(cache={"max_cache_response_size": 5})
        callers = [self.begin(), self.begin()]
        self.held[0].write(b"begin")
        self.proxy.endpoint.flush()
        callers[0].protocol.pauseProducing()
        for _ in range(2):
            self.held[0].write(b"x" * BEHIND)
            self.proxy.endpoint.flush()
        return callers

    def test_the_slow_one_gets_all(self) -> None:
        """Who is slower than another is waited for."""
        callers = self.start_large()
        callers[0].protocol.resumeProducing()
        self.held[0].finish()
        self.proxy.endpoint.flush()
        for caller in callers:
            self.assertEqual(len(parse(caller.received).body), 5 + 2 * BEHIND)

    def test_who_takes_nothing_is_cut(self) -> None:
        """Who takes nothing at all holds the others up for a while only."""
        callers = self.start_large()
        self.proxy.clock.advance(HELD_UP - 1)
        self.assertTrue(callers[0].transport.connected)
        self.proxy.clock.advance(1)
        self.assertTrue(callers[0].transport.aborted)
        self.proxy.endpoint.flush()
        self.held[0].finish()
        self.proxy.endpoint.flush()
        self.assertEqual(len(parse(callers[1].received).body), 5 + 2 * BEHIND)
