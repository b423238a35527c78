"""What a cache does beyond repeating itself, through the whole proxy in memory.

The rules are tested in `tests/cache`; here is shown that each decision is carried out.
"""

from collections.abc import Iterable

from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest

from buddyproxy.cache.conclude import Arrival
from buddyproxy.cache.dates import format_date
from buddyproxy.errors import CacheError
from buddyproxy.exchange import BACKGROUND
from buddyproxy.exchange.searches import PATHS, Searches
from buddyproxy.message import Request, Response
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.selection import Selection
from tests.support.memory import Answerer, parse, spell
from tests.support.values import fields
from tests.support.walk import WalkTests, answering, validating

DIGITS = b"0123456789"


def in_turn(answers: Iterable[Answerer]) -> Answerer:
    """Return an origin's answer that is each of `answers` once."""
    turns = iter(answers)

    def answer(request: ServerRequest) -> bytes | int:
        return next(turns)(request)

    return answer


def ranging(body: bytes = DIGITS, etag: str = '"1"', **fields: str) -> Answerer:
    """Return an answer with the one range that is asked for, as origins give it."""

    def answer(request: ServerRequest) -> bytes:
        for name, value in {"etag": etag, "cache_control": "max-age=60", **fields}.items():
            request.setHeader(name.replace("_", "-").encode(), value.encode())
        asked = request.getHeader(b"range")
        if not asked:
            return body
        first, _, last = asked.removeprefix(b"bytes=").partition(b"-")
        request.setResponseCode(206)
        request.setHeader(b"content-range", b"bytes %b-%b/%d" % (first, last, len(body)))
        return body[int(first) : int(last) + 1]

    return answer


class ConditionTests(WalkTests):
    """Callers with a copy of their own, and callers who want a part (RFC 9110, 13 and 14)."""

    def test_not_modified(self) -> None:
        """A caller whose copy is still good is told so from the store, without the content."""
        self.start(answering(cache_control="max-age=60", etag='"1"', content_type="text/plain", x_other="kept"))
        self.ask()
        self.proxy.clock.advance(5)
        for method in ("GET", "HEAD"):
            reply = self.ask(method=method, fields=[("If-None-Match", 'W/"0", W/"1"')])
            self.assertEqual((reply.status, reply.body, reply.word), (304, b"", "hit"), method)
            self.assertEqual((reply["ETag"], reply["Age"], reply["X-Other"]), ('"1"', "5", "kept"))
            self.assertEqual((reply["Content-Type"], reply["Content-Length"]), (None, None))
        self.assertEqual(len(self.origin.asked), 1)

    def test_not_modified_after_validation(self) -> None:
        """A caller's own condition is answered by what our validation brought."""
        self.start(validating('"1"', cache_control="max-age=60"))
        self.ask()
        self.proxy.clock.advance(61)
        reply = self.ask(fields=[("If-None-Match", '"1"')])
        self.assertEqual((reply.status, reply.body, reply.word), (304, b"", "fwd=stale"))
        self.assertEqual(self.origin.statuses, [200, 304])

    def test_unmodified_since(self) -> None:
        """A date serves as a validator too."""
        self.start(answering(cache_control="max-age=60", last_modified="Sun, 06 Nov 1994 08:49:37 GMT"))
        self.ask()
        for since, status in (("Sun, 06 Nov 1994 08:49:37 GMT", 304), ("Sun, 06 Nov 1994 08:49:36 GMT", 200)):
            self.assertEqual(self.ask(fields=[("If-Modified-Since", since)]).status, status, since)

    def test_ranges_of_a_stored_response(self) -> None:
        """Parts of what is stored are cut out of it; what is not there is refused."""
        self.start(answering(DIGITS, cache_control="max-age=60", content_type="text/plain"))
        self.ask()
        for asked, status, content_range, body in (
            ("bytes=2-4", 206, "bytes 2-4/10", b"234"),
            ("bytes=-3", 206, "bytes 7-9/10", b"789"),
            ("bytes=10-", 416, "bytes */10", b""),
            ("lines=1-2", 200, None, DIGITS),
        ):
            reply = self.ask(fields=[("Range", asked)])
            self.assertEqual((reply.status, reply["Content-Range"], reply.body), (status, content_range, body), asked)
            self.assertEqual((reply.word, reply["Content-Length"]), ("hit", str(len(body))), asked)
        several = self.ask(fields=[("Range", "bytes=0-1,8-9")])
        self.assertEqual(several.status, 206)
        self.assertRegex(several["Content-Type"] or "", "^multipart/byteranges; boundary=")
        for part in (b"Content-Range: bytes 0-1/10\r\n\r\n01\r\n", b"Content-Range: bytes 8-9/10\r\n\r\n89\r\n"):
            self.assertIn(b"Content-Type: text/plain\r\n" + part, several.body)
        self.assertEqual(len(self.origin.asked), 1)

    def test_range_of_a_stale_response(self) -> None:
        """The whole of what is stored is validated, and the part cut out of it."""
        self.start(validating('"1"', DIGITS, cache_control="max-age=60"))
        self.ask()
        self.proxy.clock.advance(61)
        reply = self.ask(fields=[("Range", "bytes=2-4"), ("If-Range", '"1"')])
        self.assertEqual((reply.status, reply.body, reply.word), (206, b"234", "fwd=stale"))
        self.assertIsNone(self.origin.requests[-1].getHeader(b"range"))
        self.assertIsNone(self.origin.requests[-1].getHeader(b"if-range"))

    def test_parts_come_together(self) -> None:
        """Parts are stored, reused, and put together until the whole is there (RFC 9111, 3.4)."""
        self.start(ranging())
        steps = (
            ("bytes=0-3", 206, b"0123", "fwd=uri-miss"),
            ("bytes=1-2", 206, b"12", "hit"),
            ("bytes=2-6", 206, b"23456", "fwd=partial"),
            ("bytes=0-6", 206, b"0123456", "hit"),
            ("bytes=7-9", 206, b"789", "fwd=partial"),
            ("", 200, DIGITS, "hit"),
        )
        for asked, status, body, word in steps:
            reply = self.ask(fields=[("Range", asked)] if asked else [])
            self.assertEqual((reply.status, reply.body, reply.word), (status, body, word), asked)
        self.assertEqual(len(self.origin.asked), 3)

    def test_part_that_is_not_what_its_head_says(self) -> None:
        """A part whose content is of another length than its Content-Range is handed on and not stored."""
        self.start(answering(b"01", status=206, cache_control="max-age=60", content_range="bytes 0-3/10"))
        for _ in range(2):
            reply = self.ask(fields=[("Range", "bytes=0-3")])
            self.assertEqual((reply.status, reply.body, reply.word), (206, b"01", "fwd=uri-miss"))


class StaleTests(WalkTests):
    """Stale responses that are served all the same (RFC 9111, 4.2.4; RFC 5861)."""

    def test_while_revalidating(self) -> None:
        """Within the window the stale response serves at once, the origin is asked once, and its answer serves next."""
        control = "max-age=60, stale-while-revalidate=30"
        self.start(in_turn(answering(body, cache_control=control) for body in (b"one", b"two")))
        self.ask()
        self.proxy.clock.advance(70)
        waiting = [self.proxy.connect() for _ in range(3)]
        for caller in waiting:
            caller.send(spell("GET", "/api/a", [("If-None-Match", '"x"'), ("Range", "bytes=0-0")]))
        for caller in waiting:
            reply = parse(caller.received)
            self.assertEqual((reply.status, reply.body), (206, b"o"))
            self.assertEqual(reply["Cache-Status"], "buddyproxy; hit; ttl=-10; detail=stale-while-revalidate")
            self.assertEqual((reply["X-Cache"], reply["Age"]), ("HIT", "70"))
        self.proxy.endpoint.flush()
        self.assertEqual(len(self.origin.asked), 2)
        asked = self.origin.requests[-1]
        self.assertEqual((asked.getHeader(b"range"), asked.getHeader(b"if-none-match")), (None, None))
        self.assertEqual((self.ask().body, self.ask().word), (b"two", "hit"))

    def test_after_the_window(self) -> None:
        """After the window, and where the caller wants it fresh, the caller waits for the origin."""
        self.start(validating('"1"', cache_control="max-age=60, stale-while-revalidate=30"))
        for later, asking in ((91, []), (70, [("Cache-Control", "max-age=3600")])):
            self.ask()
            self.proxy.clock.advance(later)
            self.assertEqual(self.ask(fields=asking).word, "fwd=stale", later)

    def test_validated_by_what_it_holds(self) -> None:
        """What is validated in the background costs the origin a 304."""
        self.start(validating('"1"', cache_control="max-age=60, stale-while-revalidate=30"))
        self.ask()
        self.proxy.clock.advance(70)
        self.assertEqual(self.words(self.ask(method="HEAD"), self.ask()), ["hit", "hit"])
        self.assertEqual(self.origin.statuses, [200, 304])
        self.assertEqual(self.origin.asked[-1][0], b"GET")

    def test_background_failure(self) -> None:
        """That the origin fails in the background hurts nobody, and the next request tries again."""
        self.start(answering(cache_control="max-age=60, stale-while-revalidate=300"))
        self.ask()
        self.proxy.clock.advance(70)
        self.proxy.endpoint.failure = Refused()
        self.assertEqual(self.words(self.ask(), self.ask()), ["hit", "hit"])
        self.proxy.endpoint.failure = None
        last = [self.ask() for _ in range(2)]
        self.assertEqual([reply["Cache-Status"] for reply in last][1], "buddyproxy; hit; ttl=60")

    def test_background_content_that_breaks_off(self) -> None:
        """Content that breaks off in the background is not stored, and the question may be asked again."""

        def broken(request: ServerRequest) -> int:
            request.setHeader(b"content-length", b"100")
            request.write(b"x")
            request.loseConnection()
            return NOT_DONE_YET

        whole = answering(cache_control="max-age=60, stale-while-revalidate=300")
        self.start(in_turn([whole, broken, whole]))
        self.ask()
        self.proxy.clock.advance(70)
        stale = [self.ask(), self.ask()]
        self.assertEqual([reply.body for reply in stale], [b"hello", b"hello"])
        self.assertEqual(self.ask()["Cache-Status"], "buddyproxy; hit; ttl=60")

    def test_background_work_has_a_bound(self) -> None:
        """No more than so many questions are asked in the background at once."""
        self.start(answering(cache_control="max-age=60, stale-while-revalidate=300"))
        for number in range(BACKGROUND + 5):
            self.ask(f"/api/{number}")
        self.proxy.clock.advance(70)
        asked = len(self.origin.asked)
        for number in range(BACKGROUND + 5):
            self.proxy.connect().send(spell("GET", f"/api/{number}"))
        self.proxy.endpoint.flush()
        self.assertEqual(len(self.origin.asked) - asked, BACKGROUND)

    def test_background_defect(self) -> None:
        """A defect met in the background is logged, and the caller is served."""

        class Defective(MemoryStorage):
            def store(self, stored: object) -> None:
                if self.stats.entries:
                    raise ZeroDivisionError("a defect")
                super().store(stored)  # type: ignore[arg-type]

        self.start(validating('"1"', cache_control="max-age=60, stale-while-revalidate=30"), Defective(2**20))
        self.ask()
        self.proxy.clock.advance(70)
        self.assertEqual(self.ask().word, "hit")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_origin_that_says_it_failed(self) -> None:
        """An error is kept from the caller for as long as the origin, or the caller, allows it."""
        fine = answering(cache_control="max-age=60, stale-if-error=30")
        for later, status, asking in (
            (80, 200, []),
            (91, 503, []),
            (200, 200, [("Cache-Control", "stale-if-error=1000")]),
            (80, 503, [("Cache-Control", "no-cache")]),
        ):
            self.start(in_turn([fine, answering(b"sorry", status=503)]))
            self.ask()
            self.proxy.clock.advance(later)
            reply = self.ask(fields=asking)
            self.assertEqual(reply.status, status, later)
            if status == 200:
                self.assertEqual(reply["Age"], str(later))
                expected = f"buddyproxy; fwd=stale; fwd-status=503; ttl={60 - later}; detail=stale-if-error"
                self.assertEqual((reply.body, reply["Cache-Status"]), (b"hello", expected))

    def test_origin_out_of_reach(self) -> None:
        """Where the origin cannot be reached, a stale response is better than none, unless that was forbidden."""
        for directives, status in (("max-age=60", 200), ("max-age=60, must-revalidate", 502)):
            self.start(answering(cache_control=directives))
            self.ask()
            self.proxy.clock.advance(100)
            self.proxy.endpoint.failure = Refused()
            reply = self.ask()
            self.assertEqual(reply.status, status, directives)
            self.assertRegex(reply["Cache-Status"] or "", r"^buddyproxy; fwd=stale; (ttl=-40; )?detail=upstream")

    def test_the_operators_grace(self) -> None:
        """The configuration grants what the origin says nothing of, for a mapping or for some of its paths."""
        rule = {"path": "/b*", "stale_while_revalidate": 30, "stale_if_error": 0}
        self.start(answering(cache_control="max-age=60"), api={"stale_if_error": 30, "rules": [rule]})
        for path in "ab":
            self.ask(f"/api/{path}")
        self.proxy.clock.advance(80)
        self.origin.answer = answering(status=500)
        details = [(self.ask(f"/api/{path}")["Cache-Status"] or "").rpartition("detail=")[2] for path in "ab"]
        self.assertEqual(details, ["stale-if-error", "stale-while-revalidate"])

    def test_what_the_origin_withdrew(self) -> None:
        """A response that was replaced by one not to be stored is not served again, however lenient everybody is."""
        before = answering(b"old", cache_control="max-age=60, stale-while-revalidate=600", etag='"1"')
        self.start(in_turn([before, answering(b"new", cache_control="no-store"), answering(b"newer")]))
        self.ask()
        replies = [self.ask(fields=[("Cache-Control", "no-cache")]), self.ask()]
        self.assertEqual([reply.body for reply in replies], [b"new", b"newer"])


class ChangeTests(WalkTests):
    """What other requests show about what is stored (RFC 9111, 4.3.5 and 4.4; RFC 9875)."""

    def test_head_freshens(self) -> None:
        """A HEAD that finds the same representation makes the stored response fresh, with its fields."""
        self.start(
            in_turn(
                [
                    answering(cache_control="max-age=60", x_a="1", x_b="1"),
                    answering(cache_control="max-age=60", x_a="2"),
                ]
            )
        )
        self.ask()
        self.proxy.clock.advance(70)
        head, reply = self.ask(method="HEAD"), self.ask()
        self.assertEqual((head["X-A"], head["X-B"], head.word), ("2", "1", "fwd=stale"))
        self.assertEqual((reply["X-A"], reply["X-B"], reply.body, reply.word), ("2", "1", b"hello", "hit"))

    def test_head_outdates(self) -> None:
        """A HEAD that finds another representation makes the stored response stale."""
        self.start(
            in_turn(
                [
                    answering(cache_control="max-age=60", etag='"1"'),
                    answering(cache_control="max-age=60", etag='"2"'),
                    validating('"2"', b"other"),
                ]
            )
        )
        self.ask()
        self.ask(method="HEAD", fields=[("Cache-Control", "no-cache")])
        reply = self.ask()
        self.assertEqual((reply.body, reply.word), (b"other", "fwd=stale"))

    def test_locations_of_a_change(self) -> None:
        """A change invalidates what its answer names, as far as it is the same origin's."""
        location, same = "http://origin.example/base/b?x", "/base/c"
        self.start(answering(cache_control="max-age=60"))
        for path in ("a", "b?x", "c", "d"):
            self.ask(f"/api/{path}")
        self.origin.answer = answering(status=201, location=location, content_location=same)
        self.ask(method="PUT")
        self.origin.answer = answering(status=201, location="http://other.example/base/d")
        self.ask(method="DELETE")
        self.origin.answer = answering(cache_control="max-age=60")
        words = self.words(*(self.ask(f"/api/{path}") for path in ("a", "b?x", "c", "d")))
        self.assertEqual(words, ["fwd=uri-miss", "fwd=uri-miss", "fwd=uri-miss", "hit"])

    def test_groups_of_a_change(self) -> None:
        """A change invalidates the groups that its answer names."""
        self.start(in_turn([answering(cache_control="max-age=60", cache_groups='"g"') for _ in range(2)]))
        self.ask()
        self.origin.answer = answering(cache_group_invalidation='"other", "g"')
        self.assertEqual(self.words(self.ask("/api/b"), self.ask()), ["fwd=uri-miss", "hit"])
        self.ask("/api/b", method="DELETE")
        self.assertEqual(self.ask().word, "fwd=uri-miss")

    def test_group_that_cannot_be_purged(self) -> None:
        """A store that fails to purge a group is spoken of in the log, and the caller served."""

        class Refusing(MemoryStorage):
            async def purge(self, selection: Selection, *, soft: bool = False) -> int:
                raise CacheError("not now")

        self.start(answering(cache_group_invalidation='"g"'), Refusing(2**20))
        self.assertEqual(self.ask(method="DELETE").status, 200)

    def test_post_that_is_a_get(self) -> None:
        """In rfc9111 mode, a POST whose answer is what a GET would give is stored as such (RFC 9110, 9.3.3)."""
        answer = answering(cache_control="max-age=60", content_location="/base/a")
        self.start(answer, cache={"mode": "rfc9111"})
        words = self.words(self.ask(method="POST", body=b"1"), self.ask(), self.ask(method="POST", body=b"1"))
        self.assertEqual(words, ["fwd=method", "hit", "fwd=method"])

    def test_variants_are_told_apart_by_their_tags(self) -> None:
        """A request like none before is answered by a stored response whose entity tag the origin confirms."""

        def answer(request: ServerRequest) -> bytes:
            language = (request.getHeader(b"accept-language") or b"")[:2]
            tag, body = (b'"d"', b"hallo") if language == b"de" else (b'"e"', b"hello")
            for name, value in ((b"etag", tag), (b"vary", b"Accept-Language"), (b"cache-control", b"max-age=60")):
                request.setHeader(name, value)
            if tag in (request.getHeader(b"if-none-match") or b""):
                request.setResponseCode(304)
                return b""
            return body

        self.start(answer)
        languages = ("de", "en", "de-AT", "de-AT", "fr")
        replies = [self.ask(fields=[("Accept-Language", language)]) for language in languages]
        self.assertEqual(
            self.words(*replies), ["fwd=uri-miss", "fwd=vary-miss", "fwd=vary-miss", "hit", "fwd=vary-miss"]
        )
        self.assertEqual([reply.body for reply in replies], [b"hallo", b"hello", b"hallo", b"hallo", b"hello"])
        self.assertEqual(self.origin.statuses, [200, 200, 304, 304])

    def test_304_that_does_not_say_which(self) -> None:
        """Where the origin does not say which of several it confirms, it is asked again without conditions."""

        def answer(request: ServerRequest) -> bytes:
            if b"," in (request.getHeader(b"if-none-match") or b""):
                request.setResponseCode(304)
                return b""
            language = request.getHeader(b"accept-language") or b""
            for name, value in ((b"vary", b"Accept-Language"), (b"etag", b'"%b"' % language)):
                request.setHeader(name, value)
            return language

        self.start(answer)
        replies = [self.ask(fields=[("Accept-Language", language)]) for language in ("de", "en", "fr")]
        self.assertEqual([reply.body for reply in replies], [b"de", b"en", b"fr"])
        self.assertEqual(self.origin.statuses, [200, 200, 304, 200])


class SearchTests(WalkTests):
    """Responses that say which query parameters do not matter (No-Vary-Search), where the mapping lets them."""

    def start_search(self, *said: str, **mapping: object) -> None:
        """Start an origin whose answers say one of `said` after another, the last one for ever."""
        answers = [answering(cache_control="max-age=60", no_vary_search=word) for word in said]
        left = iter(answers)

        def answer(request: ServerRequest) -> bytes | int:
            return next(left, answers[-1])(request)

        self.start(answer, api={"no_vary_search": True, **mapping})

    def test_parameters_that_do_not_matter(self) -> None:
        """What a response says of its query holds for the next request at the path."""
        self.start_search('params=("s")')
        targets = ("?q=1&s=1", "?q=1&s=2", "?q=1", "?q=2", "?s=9&q=2")
        words = self.words(*(self.ask("/api/a" + query) for query in targets), self.ask("/api/b?s=1"))
        self.assertEqual(words, ["fwd=uri-miss", "hit", "hit", "fwd=uri-miss", "hit", "fwd=uri-miss"])

    def test_not_unless_asked(self) -> None:
        """It is a draft: without the setting it says nothing."""
        self.start_search("params", no_vary_search=False)
        self.assertEqual(self.words(self.ask("/api/a?1"), self.ask("/api/a?2")), ["fwd=uri-miss"] * 2)

    def test_another_word(self) -> None:
        """The latest word counts, and the responses that went by another are not found."""
        self.start_search("params", "", "params")
        words = self.words(*(self.ask(f"/api/a?{query}") for query in (1, 2)))
        self.assertEqual(words, ["fwd=uri-miss", "hit"])
        self.ask("/api/a?3", fields=[("Cache-Control", "no-cache")])
        words = self.words(*(self.ask(f"/api/a?{query}") for query in (3, 4, 5)))
        self.assertEqual(words, ["hit", "fwd=uri-miss", "hit"])

    def test_a_confirmation_with_another_word(self) -> None:
        """A 304 that says something else of the query is no confirmation of what was found by the first word."""
        words = iter(["params", "key-order", "key-order"])

        def answer(request: ServerRequest) -> bytes | int:
            return validating('"1"', cache_control="max-age=60", no_vary_search=next(words))(request)

        self.start(answer, api={"no_vary_search": True})
        self.ask("/api/a?1")
        self.proxy.clock.advance(61)
        self.assertEqual((self.ask("/api/a?2").status, self.origin.statuses), (200, [200, 304, 200]))

    def test_what_is_remembered_has_a_bound(self) -> None:
        """Of more paths than that, the one heard of longest ago is forgotten."""
        searches = Searches()
        for number in [*range(PATHS), 0, PATHS]:
            response = Response(200, fields("No-Vary-Search: params"))
            request = Request(b"GET", b"/")
            searches.learn(Arrival(request, b"/%d?q" % number, b"", response, 0.0, 0.0))
        known = [searches.of(b"/%d" % number) is not None for number in (0, 1, 2, PATHS)]
        self.assertEqual(known, [True, False, True, True])


class StatusTests(WalkTests):
    """What `Cache-Status` tells (RFC 9211)."""

    def test_key_on_request(self) -> None:
        """Who asks for it learns the cache key, the same for the same question; the origin learns nothing of it."""
        self.start(answering(cache_control="max-age=60"))
        asking = [("X-Cache-Debug", "key")]
        replies = [self.ask(fields=asking), self.ask(fields=asking), self.ask("/api/b", fields=asking)]
        keys = [(reply["Cache-Status"] or "").partition('key="')[2].partition('"')[0] for reply in replies]
        self.assertEqual([len(key) for key in keys], [64, 64, 64])
        self.assertEqual((keys[0] == keys[1], keys[0] == keys[2]), (True, False))
        self.assertEqual(replies[1].word, "hit")
        self.assertIsNone(self.origin.requests[0].getHeader(b"x-cache-debug"))
        for reply in (self.ask(), self.ask(fields=[("X-Cache-Debug", "other")]), self.ask(method="PUT", fields=asking)):
            self.assertNotIn("key=", reply["Cache-Status"] or "")

    def test_after_the_members_of_other_caches(self) -> None:
        """Our member comes after those of the caches between us and the origin."""
        self.start(answering(cache_control="max-age=60", cache_status="Edge; hit"))
        self.assertEqual(
            self.ask()["Cache-Status"], "Edge; hit, buddyproxy; fwd=uri-miss; fwd-status=200; ttl=60; stored"
        )


class ClockTests(WalkTests):
    """Dates that the origin and we see differently."""

    def test_slow_answer(self) -> None:
        """The time an answer took counts towards its age (RFC 9111, 4.2.3)."""
        answers: list[ServerRequest] = []

        def slowly(request: ServerRequest) -> int:
            answers.append(request)
            return NOT_DONE_YET

        self.start(slowly)
        caller = self.proxy.connect()
        caller.send(spell("GET", "/api/a"))
        self.proxy.endpoint.flush()
        self.proxy.clock.advance(20)
        for name, value in ((b"cache-control", b"max-age=60"), (b"age", b"5"), (b"content-length", b"2")):
            answers[0].setHeader(name, value)
        answers[0].setHeader(b"date", format_date(self.proxy.clock.seconds()))
        answers[0].write(b"hi")
        answers[0].finish()
        self.proxy.endpoint.flush()
        self.assertEqual(self.ask()["Age"], "25")
