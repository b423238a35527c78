"""The walk of a request through the whole proxy, in memory: what callers see, and what origins are asked."""

import json

from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.logger import capturedLogs
from twisted.web.http_headers import Headers as WireHeaders
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest

from buddyproxy.cache.dates import parse_date
from buddyproxy.errors import CacheError
from buddyproxy.exchange import COMPLAIN_EVERY
from buddyproxy.message import Response
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.selection import Selection
from buddyproxy.web.delivery import STALLED, deliver_interim
from tests.support.memory import Answerer, Connection, Fields, MemoryProxy, Origin, parse, spell
from tests.support.walk import WalkTests, answering, validating

HOUR = 3600


class ReuseTests(WalkTests):
    """What is answered from the store, and what is not."""

    def test_second_request_hits(self) -> None:
        """The second identical request is answered without the origin, with its age."""
        self.start(answering(cache_control="max-age=60"))
        first = self.ask()
        self.proxy.clock.advance(5)
        second = self.ask()
        self.assertEqual((first.body, first["X-Cache"], first["Age"]), (b"hello", "MISS", None))
        self.assertEqual((second.body, second["X-Cache"]), (b"hello", "HIT"))
        self.assertEqual(second["Cache-Status"], "buddyproxy; hit; ttl=55")
        self.assertEqual(second["Age"], "5")
        self.assertEqual(self.origin.asked, [(b"GET", b"/base/a")])

    def test_revalidates_when_stale(self) -> None:
        """A stale response with a validator costs the origin only a 304, and is fresh again after it."""
        self.start(validating('"1"', cache_control="max-age=60"))
        words = self.words(self.ask())
        self.proxy.clock.advance(61)
        again = self.ask()
        words += self.words(again, self.ask())
        self.assertEqual(words, ["fwd=uri-miss", "fwd=stale", "hit"])
        self.assertEqual((again.status, again.body), (200, b"hello"))
        self.assertEqual(self.origin.statuses, [200, 304])
        self.assertIn("fwd-status=304", again["Cache-Status"] or "")

    def test_purged_softly(self) -> None:
        """What was purged softly costs the origin only a 304, and is then reused as before."""
        self.start(validating('"1"', cache_control="max-age=60"))
        first = self.ask()
        purged = self.proxy.storage.purge(Selection(prefix=b"http://origin.example/base/"), soft=True)
        self.assertEqual(self.successResultOf(purged), 1)
        again, last = self.ask(), self.ask()
        self.assertEqual(self.words(first, again, last), ["fwd=uri-miss", "fwd=stale", "hit"])
        self.assertEqual([reply.body for reply in (first, again, last)], [b"hello"] * 3)
        self.assertEqual(self.origin.statuses, [200, 304])

    def test_purged(self) -> None:
        """What was purged is asked for again, by a tag that the origin gave it."""
        self.start(answering(cache_control="max-age=60", surrogate_key="things thing-1"))
        self.ask()
        self.assertEqual(self.successResultOf(self.proxy.storage.purge(Selection(tag=b"things"))), 1)
        self.assertEqual(self.words(self.ask(), self.ask()), ["fwd=uri-miss", "hit"])

    def test_purged_while_asked(self) -> None:
        """What was asked for before a purge, hard or soft, is handed on, and not stored."""
        for soft in (False, True):
            self.start(lambda request: NOT_DONE_YET)
            connection = self.proxy.connect()
            connection.send(spell("GET", "/api/a"))
            self.proxy.endpoint.flush()
            self.successResultOf(self.proxy.storage.purge(Selection(mapping="api"), soft=soft))
            request = self.origin.requests[0]
            request.setHeader(b"content-length", b"5")
            request.setHeader(b"cache-control", b"max-age=60")
            request.write(b"hello")
            request.finish()
            self.proxy.endpoint.flush()
            self.assertEqual(parse(connection.received).body, b"hello")
            self.origin.answer = answering(b"after", cache_control="max-age=60")
            self.assertEqual([self.ask().body, self.ask().word], [b"after", "hit"])

    def test_purged_while_validated(self) -> None:
        """A stored response purged while it is validated serves those who waited, and does not come back."""
        self.start(validating('"1"', cache_control="max-age=60"))
        self.ask()
        self.proxy.clock.advance(61)
        self.origin.answer = lambda request: NOT_DONE_YET
        connection = self.proxy.connect()
        connection.send(spell("GET", "/api/a"))
        self.proxy.endpoint.flush()
        self.assertEqual(self.successResultOf(self.proxy.storage.purge(Selection(mapping="api"))), 1)
        request = self.origin.requests[-1]
        request.setResponseCode(304)
        request.finish()
        self.proxy.endpoint.flush()
        self.assertEqual(parse(connection.received).body, b"hello")
        self.origin.answer = answering(b"after")
        self.assertEqual(self.ask().body, b"after")

    def test_refetches_what_has_no_validator(self) -> None:
        """A stale response without a validator is fetched anew."""
        self.start(answering(cache_control="max-age=60"))
        self.ask()
        self.proxy.clock.advance(61)
        self.assertEqual(self.ask().word, "fwd=stale")
        self.assertEqual(self.origin.statuses, [200, 200])

    def test_validation_replaces_the_callers_conditions(self) -> None:
        """A caller's own validator does not turn our validation into one of something else."""
        self.start(validating('"1"', cache_control="max-age=60"))
        self.ask()
        self.proxy.clock.advance(61)
        reply = self.ask(fields=[("If-None-Match", '"other"')])
        self.assertEqual((reply.status, reply.body), (200, b"hello"))
        self.assertEqual(self.origin.requests[-1].getHeader(b"if-none-match"), b'"1"')

    def test_304_about_another_response_is_asked_again(self) -> None:
        """A 304 that names another entity tag than we hold says nothing of what we hold (RFC 9111, 4.3.4)."""
        etags = iter(['"1"', '"2"', '"3"'])

        def answer(request: ServerRequest) -> bytes:
            request.setHeader(b"etag", next(etags).encode())
            request.setHeader(b"cache-control", b"max-age=60")
            if request.getHeader(b"if-none-match"):
                request.setResponseCode(304)
                return b""
            return b"hello"

        self.start(answer)
        self.ask()
        self.proxy.clock.advance(61)
        reply = self.ask()
        self.assertEqual((reply.status, reply.body, reply["ETag"]), (200, b"hello", '"3"'))
        self.assertEqual(self.origin.statuses, [200, 304, 200])

    def test_what_is_not_stored(self) -> None:
        """Each of these is asked for every time, and says why."""
        cases = [
            ("no-store", answering(cache_control="no-store"), "detail=no-store"),
            ("private", answering(cache_control="private, max-age=60"), "detail=private"),
            ("no-cache without validator", answering(cache_control="no-cache"), "detail=stale"),
            ("expired", answering(expires="Thu, 01 Jan 1970 00:00:00 GMT"), "detail=stale"),
            ("an error", answering(status=500), "detail=error"),
            ("not found", answering(status=404), "detail=error"),
            ("Vary: *", answering(vary="*"), "detail=vary-star"),
        ]
        for case, answer, detail in cases:
            self.start(answer)
            first, second = self.ask(), self.ask()
            self.assertEqual(len(self.origin.asked), 2, case)
            self.assertIn(detail, first["Cache-Status"] or "", case)
            self.assertEqual((first.word, second.word), ("fwd=uri-miss", "fwd=uri-miss"), case)

    def test_vary(self) -> None:
        """A request selects the response that was made for its selecting fields (RFC 9111, 4.1)."""

        def answer(request: ServerRequest) -> bytes:
            request.setHeader(b"vary", b"accept-language")
            return request.getHeader(b"accept-language") or b"none"

        self.start(answer)
        replies = [self.ask(fields=[("Accept-Language", language)]) for language in ("de", "fr", "de", "fr")]
        self.assertEqual(self.words(*replies), ["fwd=uri-miss", "fwd=vary-miss", "hit", "hit"])
        self.assertEqual([reply.body for reply in replies], [b"de", b"fr", b"de", b"fr"])

    def test_an_encoded_response_serves_only_those_who_asked_alike(self) -> None:
        """A compressed response that does not say it varies never reaches a caller who offered no coding."""

        def answer(request: ServerRequest) -> bytes:
            if request.getHeader(b"accept-encoding") == b"gzip":
                request.setHeader(b"content-encoding", b"gzip")
                return b"\x1f\x8bzipped"
            return b"plain"

        self.start(answer)
        gzip = [("Accept-Encoding", "gzip")]
        replies = [self.ask(fields=gzip), self.ask(), self.ask(fields=gzip)]
        self.assertEqual([reply.body for reply in replies[:2]], [b"\x1f\x8bzipped", b"plain"])
        # What is not encoded suits everybody.
        self.assertEqual((replies[2].word, replies[2].body), ("hit", b"plain"))

    def test_head_is_answered_from_get(self) -> None:
        """HEAD is answered from a stored GET: same fields, no content."""
        self.start(answering())
        self.ask()
        reply = self.ask(method="HEAD")
        self.assertEqual((reply.word, reply.body, reply["Content-Length"]), ("hit", b"", "5"))
        self.assertEqual(len(self.origin.asked), 1)

    def test_head_that_misses_stays_head(self) -> None:
        """HEAD for what is not stored is forwarded as HEAD, and stores nothing."""
        self.start(answering())
        self.assertEqual(self.words(self.ask(method="HEAD"), self.ask()), ["fwd=uri-miss", "fwd=uri-miss"])
        self.assertEqual([method for method, _ in self.origin.asked], [b"HEAD", b"GET"])

    def test_caller_asks_for_the_origin(self) -> None:
        """`no-cache` in a request validates what is stored; `Pragma: no-cache` means the same (RFC 9111, 5.4)."""
        self.start(validating('"1"'))
        self.ask()
        for field in (("Cache-Control", "no-cache"), ("Pragma", "no-cache"), ("Cache-Control", "max-age=0")):
            self.proxy.clock.advance(1)
            reply = self.ask(fields=[field])
            self.assertEqual((reply.word, reply.body), ("fwd=request", b"hello"), field)
        self.assertEqual(self.origin.statuses, [200, 304, 304, 304])

    def test_only_if_cached(self) -> None:
        """`only-if-cached` never reaches the origin: a stored response or 504 (RFC 9111, 5.2.1.7)."""
        self.start(answering())
        field = [("Cache-Control", "only-if-cached")]
        refused = self.ask(fields=field)
        self.assertEqual((refused.status, refused.word), (504, "detail=not-cached"))
        self.assertEqual(json.loads(refused.body)["error"]["code"], "not-cached")
        self.assertEqual(self.origin.asked, [])
        self.ask()
        self.assertEqual(self.ask(fields=field).word, "hit")

    def test_age_counts_the_age_it_came_with(self) -> None:
        """A response that was old when it arrived expires that much sooner (RFC 9111, 4.2.3)."""
        self.start(answering(cache_control="max-age=60", age="50"))
        self.assertEqual(self.ask()["Age"], "50")
        self.proxy.clock.advance(5)
        self.assertEqual(self.ask()["Age"], "55")
        self.proxy.clock.advance(6)
        self.assertEqual(self.ask().word, "fwd=stale")

    def test_rfc9111_mode_wants_freshness_information(self) -> None:
        """In rfc9111 mode a response without freshness information is not reused."""
        self.start(answering(), cache={"mode": "rfc9111"})
        self.assertEqual(self.words(self.ask(), self.ask()), ["fwd=uri-miss", "fwd=uri-miss"])

    def test_default_ttl(self) -> None:
        """In buddy mode it is reused for the configured time."""
        self.start(answering(), cache={"default_ttl": "1h"})
        self.ask()
        self.proxy.clock.advance(HOUR - 1)
        self.assertEqual(self.ask().word, "hit")
        self.proxy.clock.advance(2)
        self.assertEqual(self.ask().word, "fwd=stale")

    def test_fields_that_decide_though_nobody_says_so(self) -> None:
        """In buddy mode, fields that common APIs go by without naming them in Vary keep answers apart."""
        self.start(lambda request: request.getHeader(b"anthropic-version") or b"none")
        replies = [self.ask(fields=[("Anthropic-Version", version)]) for version in ("1", "2", "1")]
        self.assertEqual([reply.body for reply in replies], [b"1", b"2", b"1"])
        self.assertEqual(self.words(*replies), ["fwd=uri-miss", "fwd=vary-miss", "hit"])

    def test_shared_answers_end_with_sharing(self) -> None:
        """What was stored for all is not found by a caller without credentials once callers are kept apart."""
        self.start(lambda request: request.getHeader(b"authorization") or b"nobody", api={"share": True})
        self.ask(fields=[("Authorization", "one")])
        kept_apart = MemoryProxy(self.origin, storage=self.proxy.storage)
        self.assertEqual(kept_apart.ask("/api/a").body, b"nobody")

    def test_date_is_when_it_arrived(self) -> None:
        """A stored response without Date has the time it arrived, not the time it is served (RFC 9110, 6.6.1)."""

        def answer(request: ServerRequest) -> bytes:
            request.responseHeaders.removeHeader(b"date")
            return b"hello"

        self.start(answer)
        dates = [self.ask()["Date"]]
        self.proxy.clock.advance(100)
        dates.append(self.ask()["Date"])
        self.assertEqual(dates, ["Tue, 14 Nov 2023 22:13:20 GMT"] * 2)

    def test_cookies_that_come_with_a_confirmation(self) -> None:
        """A cookie set by a 304 is the caller's, and stored no more than any other."""
        self.start(validating('"1"', cache_control="max-age=60", set_cookie="session=1"))
        self.ask()
        self.proxy.clock.advance(61)
        self.assertEqual([self.ask()["Set-Cookie"], self.ask()["Set-Cookie"]], ["session=1", None])

    def test_override_origin(self) -> None:
        """A mapping may overrule what the origin says of caching."""
        self.start(answering(cache_control="no-store, max-age=0"), api={"override_origin": True})
        self.assertEqual(self.words(self.ask(), self.ask()), ["fwd=uri-miss", "hit"])

    def test_too_large_is_relayed(self) -> None:
        """A response above the limit reaches the caller whole, and is not stored."""
        self.start(answering(b"x" * 2000), cache={"max_cache_response_size": 1000})
        self.assertEqual([len(self.ask().body), len(self.ask().body)], [2000, 2000])
        self.assertEqual(len(self.origin.asked), 2)

    def test_unsafe_method_invalidates(self) -> None:
        """A successful PUT forgets what was stored of its target, whoever stored it (RFC 9111, 4.4)."""
        self.start(answering())
        self.ask(fields=[("Authorization", "Bearer one")])
        self.ask()
        self.assertEqual(self.ask(method="PUT", body=b"new").word, "fwd=method")
        replies = [self.ask(), self.ask(fields=[("Authorization", "Bearer one")])]
        self.assertEqual(self.words(*replies), ["fwd=uri-miss", "fwd=uri-miss"])

    def test_failed_unsafe_method_does_not(self) -> None:
        """A PUT that failed changed nothing."""

        def answer(request: ServerRequest) -> bytes:
            request.setResponseCode(500 if request.method == b"PUT" else 200)
            return b"hello"

        self.start(answer)
        self.ask()
        self.ask(method="PUT")
        self.assertEqual(self.ask().word, "hit")

    def test_broken_store_is_a_miss(self) -> None:
        """A store that fails to look up costs a request to the origin, not an error."""

        class Broken(MemoryStorage):
            async def lookup(self, key: bytes) -> list[object]:  # type: ignore[override]
                raise CacheError("the disk is on fire")

        self.start(answering(), Broken(1000, 10))
        with capturedLogs() as events:
            self.assertEqual((self.ask().status, self.ask().word), (200, "fwd=uri-miss"))
            self.proxy.clock.advance(COMPLAIN_EVERY)
            self.assertEqual(self.ask().status, 200)
        said = [event["error"] for event in events if "failed to look up" in event.get("log_format", "")]
        self.assertEqual(len(said), 2, "one line a minute says so")


class RangeTests(WalkTests):
    """Parts of a content."""

    def ranging(self, request: ServerRequest) -> bytes:
        """Answer with `content`, or the part of it that is asked for, as origins do (RFC 9110, 13.2.2)."""
        etag = b'"%d"' % len(self.content)
        request.setHeader(b"etag", etag)
        request.setHeader(b"cache-control", b"max-age=60")
        if request.getHeader(b"if-none-match") == etag:
            request.setResponseCode(304)
            return b""
        asked = request.getHeader(b"range")
        if asked is None or request.getHeader(b"if-range") not in (None, etag):
            return self.content
        first, last = map(int, asked.removeprefix(b"bytes=").split(b"-"))
        request.setResponseCode(206)
        request.setHeader(b"content-range", b"bytes %d-%d/%d" % (first, last, len(self.content)))
        return self.content[first : last + 1]

    def part(self, first: int, last: int, *fields: tuple[str, str]) -> tuple[int, bytes, str]:
        """Ask for a range; return the status, the content and how the cache handled it."""
        reply = self.ask(fields=[("Range", f"bytes={first}-{last}"), *fields])
        return reply.status, reply.body, reply.word

    def test_parts_become_the_whole(self) -> None:
        """What was asked for in parts is there as a whole, and any part of it, without the origin."""
        self.content = b"0123456789"
        self.start(self.ranging)
        self.assertEqual(self.part(4, 9), (206, b"456789", "fwd=uri-miss"))
        self.assertEqual(self.part(5, 6), (206, b"56", "hit"))
        self.assertEqual(self.part(0, 4, ("If-Range", '"10"')), (206, b"01234", "fwd=partial"))
        self.assertEqual(self.part(2, 7), (206, b"234567", "hit"))
        whole = self.ask()
        self.assertEqual((whole.status, whole.body, whole.word), (200, b"0123456789", "hit"))
        self.assertEqual(self.origin.statuses, [206, 206])

    def test_stale_part(self) -> None:
        """A stale part that still holds costs the origin only a 304."""
        self.content = b"0123456789"
        self.start(self.ranging)
        self.part(0, 4)
        self.proxy.clock.advance(61)
        self.assertEqual(self.part(1, 2, ("If-Range", '"10"')), (206, b"12", "fwd=stale"))
        self.assertEqual(self.part(1, 2), (206, b"12", "hit"))
        self.assertEqual(self.origin.statuses, [206, 304])

    def test_changed_under_a_caller_who_resumes(self) -> None:
        """Who holds parts of the old content never gets parts of the new one, but all of it (RFC 9110, 13.1.5)."""
        for held in ((0, 4), (0, 9)):
            self.content = b"0123456789"
            self.start(self.ranging)
            self.part(*held)
            self.proxy.clock.advance(61)
            self.content = b"abcdefghijk"
            self.assertEqual(self.part(1, 2, ("If-Range", '"10"')), (200, self.content, "fwd=stale"))


class PostTests(WalkTests):
    """POST in buddy mode: kept, and told apart by its content."""

    JSON = (("Content-Type", "application/json"),)

    def test_same_question_in_another_layout(self) -> None:
        """JSON that differs in layout and member order only is the same question."""
        self.start(answering())
        replies = [
            self.ask(method="POST", fields=self.JSON, body=body)
            for body in (b'{"a": 1, "b": [1, 2]}', b'{"b":[1,2],"a":1}', b'{"b":[2,1],"a":1}', b'{"a":1.0,"b":[1,2]}')
        ]
        self.assertEqual(self.words(*replies), ["fwd=uri-miss", "hit", "fwd=uri-miss", "fwd=uri-miss"])

    def test_stale_post_is_never_conditional(self) -> None:
        """A stale response to POST is fetched anew: a condition on POST would not be a validation."""
        self.start(validating('"1"', cache_control="max-age=60"))
        self.ask(method="POST", fields=self.JSON, body=b"{}")
        self.proxy.clock.advance(61)
        self.assertEqual(self.ask(method="POST", fields=self.JSON, body=b"{}").word, "fwd=stale")
        self.assertEqual(self.origin.statuses, [200, 200])

    def test_not_in_rfc9111_mode(self) -> None:
        """In rfc9111 mode POST goes to the origin each time."""
        self.start(answering(cache_control="max-age=60"), cache={"mode": "rfc9111"})
        self.assertEqual([self.ask(method="POST", body=b"x").word for _ in range(2)], ["fwd=method"] * 2)

    def test_query_is_kept_in_both_modes(self) -> None:
        """QUERY asks with its content, and is safe: each content has an answer of its own (RFC 10008)."""
        for mode in ("buddy", "rfc9111"):
            self.start(answering(cache_control="max-age=60"), cache={"mode": mode})
            replies = [self.ask(method="QUERY", fields=self.JSON, body=body) for body in (b'{"a":1}', b'{"a":2}') * 2]
            self.assertEqual(self.words(*replies), ["fwd=uri-miss", "fwd=uri-miss", "hit", "hit"], mode)

    def test_content_reaches_the_origin(self) -> None:
        """The origin gets the content byte for byte."""
        received: list[bytes] = []

        def answer(request: ServerRequest) -> bytes:
            received.append(request.content.read())
            return b""

        self.start(answer)
        self.ask(method="POST", fields=self.JSON, body=b'{ "b" : 1 }')
        self.assertEqual(received, [b'{ "b" : 1 }'])


class RuleTests(WalkTests):
    """What holds for some paths of a mapping, and what of a request counts."""

    def test_the_first_match_wins(self) -> None:
        """Each path is kept for as long as the first rule that matches it says, or not at all."""
        rules = [{"path": "/live*", "methods": []}, {"path": "/models*", "ttl": "10s"}, {"path_regex": "/.+", "ttl": 1}]
        self.start(answering(), api={"ttl": "1h", "rules": rules})
        targets = ["/api/live/a", "/api/models?x", "/api/%6Dodels", "/api/other", "/api"]
        for seconds, words in (
            (0, ["fwd=bypass"] + ["fwd=uri-miss"] * 4),
            (0.5, ["fwd=bypass", "hit", "hit", "hit", "hit"]),
            (5, ["fwd=bypass", "hit", "hit", "fwd=stale", "hit"]),
            (10, ["fwd=bypass", "fwd=stale", "fwd=stale", "fwd=stale", "hit"]),
        ):
            self.proxy.clock.advance(seconds)
            self.assertEqual(self.words(*map(self.ask, targets)), words, seconds)
        self.assertIn((b"GET", b"/base/%6Dodels"), self.origin.asked)

    def test_errors_of_a_path(self) -> None:
        """An error is kept where the rule says for how long, and nowhere else."""
        self.start(answering(status=404), api={"rules": [{"path": "/users/*", "error_ttl": {"404": "1m"}}]})
        words = [self.ask(f"/api/{path}").word for path in ("users/1", "users/1", "a", "a")]
        self.assertEqual(words, ["fwd=uri-miss", "hit", "fwd=uri-miss", "fwd=uri-miss"])

    def test_sharing_of_a_path(self) -> None:
        """Where a rule says so callers share, and by no other spelling is its path another one's."""
        self.start(answering(), api={"rules": [{"path": "/public/*", "share": True}]})
        for target, words in (
            ("/api/public/a", ["fwd=uri-miss", "hit"]),
            ("/api/private/a", ["fwd=uri-miss"] * 2),
            ("/api/public/%2e%2E/private/a", ["fwd=uri-miss"] * 2),
        ):
            replies = [self.ask(target, fields=[("Authorization", caller)]) for caller in ("ann", "bob")]
            self.assertEqual(self.words(*replies), words, target)

    def test_the_key_only(self) -> None:
        """What does not count goes to the origin all the same, exactly as it was sent."""

        def echo(request: ServerRequest) -> bytes:
            return request.uri + (request.content.read() if request.content is not None else b"")

        key = {"ignore_query": ["utm_*"], "sort_query": True, "ignore_body": ["user"], "headers": ["X-Tenant"]}
        self.start(echo, api={"key": key})
        json_type = ("Content-Type", "application/json")
        replies = [
            self.ask("/api/a?b=1&utm_source=x&a=1"),
            self.ask("/api/a?a=1&b=1"),
            self.ask("/api/a?a=1&b=1", fields=[("X-Tenant", "t")]),
            self.ask("/api/p", "POST", [json_type], b'{"user": "ann", "n": 1}'),
            self.ask("/api/p", "POST", [json_type], b'{"user": "bob", "n": 1}'),
            self.ask("/api/p", "POST", [json_type], b'{"user": "bob", "n": 2}'),
        ]
        self.assertEqual(self.words(*replies), ["fwd=uri-miss", "hit", "fwd=uri-miss"] * 2)
        self.assertEqual(
            [reply.body for reply in replies],
            [
                *[b"/base/a?b=1&utm_source=x&a=1"] * 2,
                b"/base/a?a=1&b=1",
                *[b'/base/p{"user": "ann", "n": 1}'] * 2,
                b'/base/p{"user": "bob", "n": 2}',
            ],
        )

    def test_change_of_a_path(self) -> None:
        """A change is one where the rule keeps no answers to its method, and a question where it does."""
        rules = [{"path": "/things", "methods": ["GET"]}]
        self.start(answering(), api={"rules": rules})
        for target, words in (
            ("/api/things", ["fwd=uri-miss", "fwd=method", "fwd=uri-miss"]),
            ("/api/questions", ["fwd=uri-miss", "fwd=uri-miss", "hit"]),
        ):
            replies = [self.ask(target, method) for method in ("GET", "POST", "GET")]
            self.assertEqual(self.words(*replies), words, target)


class SecrecyTests(WalkTests):
    """What one caller may not learn of another."""

    def test_credentials_partition(self) -> None:
        """Callers with different credentials never share a response; with the same, they do."""

        def answer(request: ServerRequest) -> bytes:
            return request.getHeader(b"authorization") or request.getHeader(b"cookie") or b"nobody"

        self.start(answer)
        one, two, cookie = [("Authorization", "one")], [("Authorization", "two")], [("Cookie", "one")]
        callers: list[Fields] = [one, two, cookie, (), one, two, cookie, ()]
        replies = [self.ask(fields=fields) for fields in callers]
        self.assertEqual(self.words(*replies), ["fwd=uri-miss"] * 4 + ["hit"] * 4)
        self.assertEqual([reply.body for reply in replies], [b"one", b"two", b"one", b"nobody"] * 2)

    def test_named_credentials_partition(self) -> None:
        """A mapping may name further fields that tell callers apart."""
        self.start(answering(), api={"credentials": ["X-Tenant"]})
        replies = [self.ask(fields=[("X-Tenant", tenant)]) for tenant in "aba"]
        self.assertEqual(self.words(*replies), ["fwd=uri-miss", "fwd=uri-miss", "hit"])

    def test_share(self) -> None:
        """A mapping may let callers share what it serves."""
        self.start(answering(), api={"share": True})
        replies = [self.ask(fields=[("Authorization", name)]) for name in ("one", "two")]
        self.assertEqual(self.words(*replies), ["fwd=uri-miss", "hit"])

    def test_rfc9111_keeps_authorized_responses_apart(self) -> None:
        """In rfc9111 mode, a response to an authorized request is stored only where the origin allows it (3.5)."""
        for directives, words in (("max-age=60", "fwd=uri-miss"), ("max-age=60, public", "hit")):
            self.start(answering(cache_control=directives), cache={"mode": "rfc9111"})
            field = [("Authorization", "one")]
            self.ask(fields=field)
            self.assertEqual(self.ask(fields=field).word, words, directives)

    def test_set_cookie_is_for_the_one_who_asked(self) -> None:
        """The caller who asked gets the cookie; the stored response has none."""
        self.start(answering(set_cookie="session=1"))
        self.assertEqual([self.ask()["Set-Cookie"], self.ask()["Set-Cookie"]], ["session=1", None])

    def test_set_cookie_in_rfc9111_mode(self) -> None:
        """In rfc9111 mode it is stored as received."""
        self.start(answering(set_cookie="session=1", cache_control="max-age=60"), cache={"mode": "rfc9111"})
        self.assertEqual([self.ask()["Set-Cookie"], self.ask()["Set-Cookie"]], ["session=1", "session=1"])

    def test_key(self) -> None:
        """With a key configured, a request without it gets 403, and no origin ever sees it."""
        key = "correct-horse-battery-staple"
        self.start(answering(), security={"secure_key": key})
        refused = self.ask()
        self.assertEqual((refused.status, json.loads(refused.body)["error"]["code"]), (403, "forbidden"))
        for target, fields in [
            ("/api/a", [("X-Proxy-Key", key), ("Referer", f"http://proxy.example/{key}/api/")]),
            (f"/{key}/api/b", []),
            (f"/api/c?proxy_key={key}&x=1", []),
        ]:
            self.assertEqual(self.ask(target, fields=fields).status, 200, target)
        self.assertEqual([target for _, target in self.origin.asked], [b"/base/a", b"/base/b", b"/base/c?x=1"])
        for request in self.origin.requests:
            self.assertNotIn(key.encode(), request.uri + repr(list(request.requestHeaders.getAllRawHeaders())).encode())
        self.assertNotIn(key, repr(self.proxy.metrics.seen))
        self.assertNotIn(b"origin.example", self.ask("/").body)

    def test_key_for_some_mappings(self) -> None:
        """A named key opens the mappings it is for; of others it tells nothing."""
        key = "correct-horse-battery-staple"
        self.start(answering(), security={"keys": {"ci": {"key": key, "mappings": []}}})
        known, unknown = (self.ask(target, fields=[("X-Proxy-Key", key)]) for target in ("/api/a", "/nope/a"))
        self.assertEqual((known.status, known.body), (404, unknown.body))


class ForwardingTests(WalkTests):
    """What an origin sees of a caller, and a caller of an origin."""

    def fields_seen(self, *fields: tuple[str, str], client: str = "") -> WireHeaders:
        """Return the fields the origin gets when a caller sends `fields`."""
        self.ask(fields=fields)
        headers: WireHeaders = self.origin.requests[-1].requestHeaders
        return headers

    def test_request_fields(self) -> None:
        """Host is the origin's, Via is added; the connection's own and who is asking stay here."""
        self.start(answering())
        seen = self.fields_seen(
            ("Connection", "close, X-Private"),
            ("X-Private", "1"),
            ("Keep-Alive", "5"),
            ("TE", "trailers"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X-Forwarded-Whatever", "1"),
            ("X-Kept", "1"),
            ("X-Kept", "2"),
        )
        self.assertEqual(seen.getRawHeaders(b"host"), [b"origin.example"])
        self.assertEqual(seen.getRawHeaders(b"via"), [b"1.1 buddyproxy"])
        self.assertEqual(seen.getRawHeaders(b"x-kept"), [b"1", b"2"])
        for name in (b"x-private", b"keep-alive", b"te", b"forwarded", b"x-forwarded-for", b"x-forwarded-whatever"):
            self.assertFalse(seen.hasHeader(name), name)

    def test_connection_takes_nothing_away(self) -> None:
        """A caller cannot hide what decides its answer behind Connection, nor an origin what forbids its storing."""
        self.start(answering(cache_control="no-store, max-age=60", connection="close, Cache-Control"))
        first, second = self.ask(), self.ask()
        self.assertEqual(self.words(first, second), ["fwd=uri-miss", "fwd=uri-miss"])
        self.assertEqual((first["Cache-Control"], first["Connection"]), (None, None))
        self.assertIn("detail=connection", first["Cache-Status"] or "")
        self.start(answering(cache_control="max-age=60"))
        self.ask()
        for field in (("Authorization", "Bearer other"), ("Cache-Control", "no-store"), ("Range", "bytes=0-1")):
            reply = self.ask(fields=[("Connection", field[0].lower()), field])
            self.assertEqual((reply.status, json.loads(reply.body)["error"]["code"]), (400, "bad-request"), field)
        self.assertEqual(len(self.origin.requests), 1)

    def test_forwarded_when_asked(self) -> None:
        """Where a mapping says so, the origin is told who is asking, in both spellings."""
        self.start(answering(), api={"forwarded": True})
        seen = self.fields_seen(("X-Forwarded-For", "6.6.6.6"))
        self.assertEqual(seen.getRawHeaders(b"x-forwarded-for"), [b"127.0.0.1"])
        self.assertEqual(seen.getRawHeaders(b"forwarded"), [b'for=127.0.0.1;host="proxy.example";proto=http'])

    def test_trusted_proxy(self) -> None:
        """What a trusted proxy says of its callers is passed on."""
        self.start(answering(), security={"trusted_proxies": ["127.0.0.0/8"]})
        seen = self.fields_seen(("X-Forwarded-For", "10.1.1.1"))
        self.assertEqual(seen.getRawHeaders(b"x-forwarded-for"), [b"10.1.1.1"])

    def test_header_changes(self) -> None:
        """A mapping sets and removes fields, both ways."""
        changes = {"set": {"X-Added": "yes"}, "remove": ["X-Gone"]}
        self.start(answering(x_gone="1"), api={"request_headers": changes, "response_headers": changes})
        reply = self.ask(fields=[("X-Gone", "1")])
        seen = self.origin.requests[-1]
        self.assertEqual((seen.getHeader(b"x-added"), seen.getHeader(b"x-gone")), (b"yes", None))
        self.assertEqual((reply["X-Added"], reply["X-Gone"]), ("yes", None))

    def test_references_lead_back(self) -> None:
        """A redirect into a mapped origin leads through the proxy, no redirect is followed, no other name changed."""
        cases = [
            ("http://origin.example/base/b?x=1", "/api/b?x=1"),
            ("/base/b", "/api/b"),
            ("b", "b"),
            ("/elsewhere", "http://origin.example/elsewhere"),
            ("https://other.example/base/b", "https://other.example/base/b"),
        ]
        for location, expected in cases:
            self.start(answering(status=302, location=location, content_location=location))
            reply = self.ask()
            self.assertEqual((reply.status, reply["Location"]), (302, expected), location)
            self.assertEqual(reply["Content-Location"], location)

    def test_reference_keeps_the_callers_key(self) -> None:
        """A caller whose key is part of the path is redirected with it; others never see it."""
        key = "correct-horse-battery-staple"
        self.start(answering(status=302, location="/base/b"), security={"secure_key": key})
        self.assertEqual(self.ask(f"/{key}/api/a")["Location"], f"/{key}/api/b")
        self.assertEqual(self.ask(fields=[("X-Proxy-Key", key)])["Location"], "/api/b")

    def test_response_fields(self) -> None:
        """The origin's own Date, Server and repeated fields arrive; nothing is made up; the connection's own stay."""

        def answer(request: ServerRequest) -> bytes:
            request.setHeader(b"date", b"Tue, 14 Nov 2023 22:13:20 GMT")
            request.setHeader(b"server", b"origin/1")
            request.responseHeaders.setRawHeaders(b"x-many", [b"1", b"2"])
            request.setHeader(b"x-cache", b"Hit from elsewhere")
            request.setHeader(b"cache-status", b"edge; hit")
            return b"hello"

        self.start(answer)
        reply = self.ask()
        names = sorted({name.lower() for name, _ in reply.fields})
        self.assertEqual(names, ["cache-status", "content-length", "date", "server", "x-cache", "x-many"])
        self.assertEqual((reply["X-Many"], reply["Server"], reply["X-Cache"]), ("1, 2", "origin/1", "MISS"))
        self.assertTrue((reply["Cache-Status"] or "").startswith("edge; hit, buddyproxy; fwd=uri-miss"))

    def test_date_is_added_where_there_is_none(self) -> None:
        """A response without Date gets one, and so do our own (RFC 9110, 6.6.1)."""

        def answer(request: ServerRequest) -> bytes:
            request.responseHeaders.removeHeader(b"date")
            return b"hello"

        self.start(answer)
        for reply in (self.ask(), self.ask("/"), self.ask("/nope")):
            self.assertIsNotNone(parse_date((reply["Date"] or "").encode(), 0))

    def test_statuses_without_content(self) -> None:
        """204 and 304 have no content, and 204 no length, even if the origin says so (RFC 9110, 8.6)."""
        for status in (204, 304):
            self.start(answering(b"", status, cache_control="max-age=60"))
            for _ in range(2):
                reply = self.ask()
                self.assertEqual((reply.status, reply.body), (status, b""))
                self.assertTrue(status == 304 or reply["Content-Length"] is None)

    def test_unknown_status_is_carried(self) -> None:
        """A status nobody registered reaches the caller."""
        self.start(answering(status=599))
        self.assertEqual(self.ask().status, 599)

    def test_ring_of_proxies(self) -> None:
        """A mapping that leads back to the proxy ends in 508, not in a ring."""
        self.start(answering())
        reply = self.ask(fields=[("Via", ", ".join(["1.1 buddyproxy"] * 8))])
        self.assertEqual((reply.status, json.loads(reply.body)["error"]["code"]), (508, "loop-detected"))


class OriginModeTests(WalkTests):
    """One origin at the root."""

    def test_every_path_is_the_origins(self) -> None:
        """With `--origin`, `/` and everything below it are the origin's, but for the proxy's own corner."""
        origin = Origin(answering())
        proxy = MemoryProxy(origin, {"domain_mappings": {}, "origin": "http://origin.example/base"})
        for target in ("/", "/a/b?x", "/admin/health"):
            self.assertEqual(proxy.ask(target).status, 200)
        self.assertEqual([target for _, target in origin.asked], [b"/base/", b"/base/a/b?x", b"/base/admin/health"])
        self.assertEqual(json.loads(proxy.ask("/.buddyproxy/health").body)["status"], "ok")
        self.assertEqual(len(origin.asked), 3)


class OwnPagesTests(WalkTests):
    """What the proxy says itself."""

    def test_unknown_mapping(self) -> None:
        """A path that begins with no mapping's name gets 404 in JSON."""
        self.start(answering())
        for target in ("/nope", "/nope/x", "/API/x", "/%61pi/x", "/ap"):
            reply = self.ask(target)
            self.assertEqual(reply.status, 404, target)
            self.assertEqual(reply["Content-Type"], "application/json")
            self.assertEqual(json.loads(reply.body)["error"]["code"], "unknown-mapping", target)

    def test_landing_page(self) -> None:
        """`/` says where the mappings lead, or how to add one."""
        self.start(answering())
        self.assertIn(b"/api  http://origin.example/base", self.ask("/").body)
        empty = MemoryProxy(self.origin, {"domain_mappings": {}}).ask("/")
        self.assertEqual((empty.status, empty["Content-Type"]), (200, "text/plain; charset=utf-8"))
        self.assertIn(b"--map openai=https://api.openai.com/v1", empty.body)

    def test_pages_answer_get_and_head(self) -> None:
        """Other methods get 405 with what is allowed, and unknown pages 404."""
        self.start(answering())
        for target in ("/", "/admin/health", "/.buddyproxy/health"):
            self.assertEqual(self.ask(target, method="HEAD").status, 200)
            reply = self.ask(target, method="DELETE")
            self.assertEqual((reply.status, reply["Allow"]), (405, "GET, HEAD"))
        for target in ("/admin", "/admin/", "/admin/nope", "/admin/health/x", "//api/x"):
            self.assertEqual(self.ask(target).status, 404, target)
        self.assertEqual(self.origin.asked, [])

    def test_admin_elsewhere_or_nowhere(self) -> None:
        """The operator's doors move with `admin.path`, and close with `admin.enabled`."""
        self.start(answering(), admin={"path": "/ops/proxy"})
        self.assertEqual((self.ask("/ops/proxy/health").status, self.ask("/admin/health").status), (200, 404))
        self.assertEqual((self.ask("/ops").status, self.ask("/ops/other").status), (404, 404))
        self.start(answering(), admin={"enabled": False})
        self.assertEqual(self.ask("/admin/health").status, 404)

    def test_target_that_is_no_path(self) -> None:
        """A request-target in another form than the origin's gets 400."""
        self.start(answering())
        for target in ("http://origin.example/base/a", "api/a"):
            self.assertEqual(self.ask(target).status, 400, target)
        self.assertEqual(self.origin.asked, [])


class TroubleTests(WalkTests):
    """What callers get when something fails."""

    def test_upstream_failure(self) -> None:
        """An origin that fails gives 502 in JSON, and nothing is stored."""
        self.start(answering())

        self.proxy.endpoint.failure = Refused()
        reply = self.ask()
        self.assertEqual((reply.status, json.loads(reply.body)["error"]["code"]), (502, "upstream-failed"))
        self.assertEqual((reply["X-Cache"], reply.word), ("MISS", "fwd=uri-miss"))
        self.assertIn("detail=upstream-failed", reply["Cache-Status"] or "")
        self.assertEqual([outcome.word for outcome in self.proxy.metrics.seen], ["upstream-failed"])

    def test_defect_is_answered_and_logged(self) -> None:
        """A defect of ours gives 500 that says no more than that, and is logged."""

        class Defective(MemoryStorage):
            async def lookup(self, key: bytes) -> list[object]:  # type: ignore[override]
                raise ZeroDivisionError("secret detail")

        self.start(answering(), Defective(1000, 10))
        reply = self.ask()
        self.assertEqual((reply.status, json.loads(reply.body)["error"]["code"]), (500, "internal"))
        self.assertNotIn(b"secret detail", reply.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_length_that_no_content_has(self) -> None:
        """A length of thousands of digits gets 400, and leaves no traceback."""
        self.start(answering())
        connection = self.proxy.connect()
        connection.send(b"POST /api/a HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n")
        self.assertEqual(parse(connection.received).status, 400)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_host(self) -> None:
        """There is one Host, and it is one; only HTTP/1.0 knows requests without (RFC 9112, 3.2)."""
        self.start(answering(cache_control="no-store"))
        for version, hosts, status in (
            ("1.1", ["proxy.example"], 200),
            ("1.1", ["[::1]:8080"], 200),
            ("1.1", ["under_score:"], 200),
            ("1.1", [""], 200),
            ("1.0", [], 200),
            ("1.1", [], 400),
            ("1.1", ["a", "a"], 400),
            ("1.0", ["a", "b"], 400),
            ("1.1", ["a, b"], 400),
            ("1.1", ["a/b"], 400),
            ("1.1", ["user@a"], 400),
            ("1.1", ["a:x"], 400),
            ("1.1", ["[::1"], 400),
        ):
            caller = self.proxy.connect()
            lines = [f"GET /api/a HTTP/{version}", *(f"Host: {host}" for host in hosts)]
            caller.send(("\r\n".join(lines) + "\r\n\r\n").encode())
            self.proxy.endpoint.flush()
            self.assertEqual(parse(caller.received).status, status, (version, hosts))

    def test_codings_of_requests(self) -> None:
        """Of transfer codings only chunked is understood; `identity` means nothing any more, and a length beside it."""
        self.start(answering())
        for coding, status in (("chunked", 200), ("Chunked", 200), ("identity", 400), ("gzip, chunked", 400)):
            caller = self.proxy.connect()
            head = f"POST /api/{coding[0]} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}"
            caller.send(head.encode())
            caller.send(b"\r\n\r\n")
            if status == 200:
                caller.send(b"0\r\n\r\n")
            self.proxy.endpoint.flush()
            self.assertEqual(parse(caller.received).status, status, coding)
            self.assertEqual(caller.transport.connected, status == 200)

    def test_line_that_does_not_end(self) -> None:
        """A target or a field longer than is taken is refused in words, not by silence."""
        self.start(answering())
        for head in (b"GET /api/" + b"a" * 20_000, b"GET /api/a HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20_000):
            caller = self.proxy.connect()
            caller.send(head)
            self.assertEqual(parse(caller.received).status, 400)
            self.assertFalse(caller.transport.connected)
        self.assertEqual(self.origin.asked, [])

    def test_methods_about_connections(self) -> None:
        """CONNECT and TRACE never reach an origin."""
        self.start(answering())
        for method in ("CONNECT", "TRACE"):
            self.assertEqual(self.ask(method=method).status, 400)
        self.assertEqual(self.origin.asked, [])

    def test_close_among_other_options(self) -> None:
        """`Connection: close, X` closes the connection, and says so."""
        self.start(answering())
        connection = self.proxy.connect()
        connection.send(spell("GET", "/api/a", [("Connection", "close, X-Hop")]))
        self.proxy.endpoint.flush()
        self.assertEqual(parse(connection.received)["Connection"], "close")
        self.assertFalse(connection.transport.connected)

    def test_kept_connection_that_was_closed(self) -> None:
        """A kept connection that the origin closes is no failure for what may be sent twice, and one for the rest."""
        for retries, method, expected in ((2, "GET", 200), (2, "POST", 502), (0, "GET", 502)):
            closed: list[ServerRequest] = []

            def answer(request: ServerRequest, closed: list[ServerRequest] = closed) -> bytes | int:
                if len(self.origin.asked) != 2:
                    return b"hello"
                closed.append(request)
                request.channel.loseConnection()
                return NOT_DONE_YET

            self.start(answer, api={"retries": retries})
            self.assertEqual(self.ask("/api/first").status, 200)
            self.assertEqual(self.ask("/api/second", method=method).status, expected, (retries, method))
            self.assertEqual(len(closed), 1)

    def test_caller_leaves_before_the_answer(self) -> None:
        """A caller who leaves gives up its request, and is counted as gone."""
        self.start(lambda request: NOT_DONE_YET)
        connection = self.proxy.connect()
        connection.send(spell("GET", "/api/a"))
        connection.leave()
        [outcome] = self.proxy.metrics.seen
        self.assertEqual((outcome.status, outcome.word, outcome.complete), (499, "left", False))
        self.assertEqual((outcome.mapping, outcome.path), ("api", b"/base/a"))


class OrderTests(WalkTests):
    """Answers that are overtaken on their way."""

    def start_slow(self, answer: Answerer | None = None) -> None:
        """Start an origin that answers a GET when `finish` is called, and others at once."""
        self.held: list[ServerRequest] = []

        def hold(request: ServerRequest) -> bytes | int:
            request.setHeader(b"etag", b'"1"')
            request.setHeader(b"cache-control", b"max-age=60")
            if request.method != b"GET":
                return b"changed"
            self.held.append(request)
            return NOT_DONE_YET

        self.start(hold)

    def begin(self, fields: Fields = ()) -> Connection:
        """Ask, without waiting for the answer."""
        connection = self.proxy.connect()
        connection.send(spell("GET", "/api/a", fields))
        self.proxy.endpoint.flush()
        return connection

    def finish(self, request: ServerRequest, body: bytes, status: int = 200) -> None:
        """Let the origin answer."""
        request.setResponseCode(status)
        if status == 200:
            request.setHeader(b"content-length", b"%d" % len(body))
            request.write(body)
        request.finish()
        self.proxy.endpoint.flush()

    def test_change_while_a_fetch_is_under_way(self) -> None:
        """What was fetched before a change was seen is handed on, and not stored after it."""
        self.start_slow()
        caller = self.begin()
        self.assertEqual(self.ask(method="PUT", body=b"new").status, 200)
        self.finish(self.held[0], b"old")
        self.assertEqual(parse(caller.received).body, b"old")
        self.begin()
        self.assertEqual(len(self.held), 2)

    def test_change_while_a_validation_is_under_way(self) -> None:
        """A confirmation that was under way when a change was seen brings nothing back."""
        self.start_slow()
        self.begin()
        self.finish(self.held[0], b"old")
        self.proxy.clock.advance(61)
        caller = self.begin()
        self.ask(method="DELETE")
        self.finish(self.held[1], b"", 304)
        self.assertEqual(parse(caller.received).body, b"old")
        self.begin()
        self.assertEqual(len(self.held), 3)

    def test_later_question_answered_first(self) -> None:
        """An answer does not replace the one to a later question."""
        self.start_slow()
        self.begin()
        self.begin([("Cache-Control", "no-cache")])
        self.finish(self.held[1], b"new")
        self.finish(self.held[0], b"old")
        self.assertEqual(self.ask().body, b"new")


class StreamTests(WalkTests):
    """Content on its way."""

    def start_stream(self, **mapping: object) -> ServerRequest:
        """Ask for content that the test then writes piece by piece; return the origin's side."""
        self.start(lambda request: NOT_DONE_YET, api=mapping)
        self.caller = self.proxy.connect()
        self.caller.send(spell("GET", "/api/a"))
        self.proxy.endpoint.flush()
        request = self.origin.requests[0]
        request.write(b"one")
        self.proxy.endpoint.flush()
        return request

    def test_chunks_arrive_as_they_come(self) -> None:
        """A chunk reaches the caller while the origin is still at it; the whole is stored at the end."""
        request = self.start_stream()
        self.assertTrue(self.caller.received.endswith(b"3\r\none\r\n"), self.caller.received)
        request.write(b"two")
        self.proxy.endpoint.flush()
        self.assertTrue(self.caller.received.endswith(b"3\r\ntwo\r\n"))
        request.finish()
        self.proxy.endpoint.flush()
        self.assertEqual(parse(self.caller.received).body, b"onetwo")
        hit = self.ask()
        self.assertEqual((hit.word, hit.body), ("hit", b"onetwo"))

    def test_interim_response_that_comes_late(self) -> None:
        """Once the response has begun, or the caller is gone, an interim response is nobody's."""
        self.start_stream()
        request, received = self.caller.protocol.requests[0], self.caller.received
        deliver_interim(request, Response(103))
        self.assertEqual(self.caller.received, received)
        self.start(lambda request: NOT_DONE_YET)
        caller = self.proxy.connect()
        caller.send(spell("GET", "/api/a"))
        request = caller.protocol.requests[0]
        caller.leave()
        deliver_interim(request, Response(103))
        self.assertEqual(caller.received, b"")

    def test_content_of_unknown_length(self) -> None:
        """Content that only the connection's close ends is handed on, and not stored: it may have broken off."""

        def answer(request: ServerRequest) -> int:
            request.channel.transport.write(b"HTTP/1.1 200 OK\r\n\r\nhello")
            request.channel.loseConnection()
            return NOT_DONE_YET

        self.start(answer)
        for reply in (self.ask(), self.ask()):
            self.assertEqual((reply.body, reply.word), (b"hello", "fwd=uri-miss"))
            self.assertIn("detail=unframed", reply["Cache-Status"] or "")

    def test_caller_who_takes_nothing(self) -> None:
        """A caller who takes nothing makes the origin wait, but not for ever; one who goes on in time is served."""
        request = self.start_stream(methods=["POST"])
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        for seconds in (STALLED - 1, STALLED - 1):
            self.caller.protocol.pauseProducing()
            self.proxy.clock.advance(seconds)
            self.caller.protocol.resumeProducing()
        self.assertTrue(self.caller.transport.connected)
        self.caller.protocol.pauseProducing()
        self.proxy.clock.advance(STALLED)
        self.proxy.endpoint.flush()
        self.assertTrue(self.caller.transport.aborted)
        self.assertEqual(len(gone), 1)

    def test_broken_content_for_an_old_caller(self) -> None:
        """A caller that knows no chunks, to whom the close is the end, sees broken content by a reset."""
        self.start(lambda request: NOT_DONE_YET)
        caller = self.proxy.connect()
        caller.send(b"GET /api/a HTTP/1.0\r\nHost: x\r\n\r\n")
        self.proxy.endpoint.flush()
        self.origin.requests[0].write(b"one")
        self.proxy.endpoint.flush()
        self.origin.requests[0].channel.loseConnection()
        self.proxy.endpoint.flush()
        self.assertTrue(caller.received.endswith(b"\r\n\r\none"))
        self.assertTrue(caller.transport.aborted)

    def test_broken_content_is_not_stored(self) -> None:
        """Content that breaks off leaves the caller with an open end, and nothing is stored."""
        request = self.start_stream()
        request.channel.loseConnection()
        self.proxy.endpoint.flush()
        self.assertFalse(self.caller.transport.connected)
        self.assertFalse(self.caller.received.endswith(b"0\r\n\r\n"))
        self.origin.answer = answering(b"whole")
        self.assertEqual(self.ask().body, b"whole")
        broken = self.proxy.metrics.seen[0]
        self.assertEqual((broken.complete, broken.failed), (False, True))
        self.assertIn("http://origin.example: ", broken.reason)

    def test_caller_leaves_in_the_middle(self) -> None:
        """A caller who leaves ends the fetch, and what came so far is not stored."""
        request = self.start_stream()
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        self.caller.leave()
        self.proxy.endpoint.flush()
        self.assertEqual(len(gone), 1)
        self.origin.answer = answering(b"whole")
        self.assertEqual(self.ask().word, "fwd=uri-miss")
        self.assertFalse(self.proxy.metrics.seen[0].complete)
