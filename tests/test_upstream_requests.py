"""What goes out to an origin is what was asked for, byte for byte."""

from twisted.internet.defer import Deferred
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import BadRequest
from buddyproxy.message import Origin, Request
from tests.support.origin import ScriptedOrigin, Talk
from tests.support.upstreams import OK, UpstreamTestCase, request
from tests.support.values import Large


class OriginTests(SynchronousTestCase):
    """Where an origin is."""

    def test_authority(self) -> None:
        """The port is part of it where it is not the scheme's own; an IPv6 address has brackets."""
        for origin, authority in (
            (Origin("http", "a.example", 80), b"a.example"),
            (Origin("https", "a.example", 443), b"a.example"),
            (Origin("https", "a.example", 80), b"a.example:80"),
            (Origin("http", "a.example", 8080), b"a.example:8080"),
            (Origin("http", "127.0.0.1", 443), b"127.0.0.1:443"),
            (Origin("https", "::1", 443), b"[::1]"),
            (Origin("http", "::1", 8080), b"[::1]:8080"),
        ):
            self.assertEqual(origin.authority, authority)
            self.assertEqual(origin.root, origin.scheme.encode() + b"://" + authority)


class TransparencyTests(UpstreamTestCase):
    """Nothing is added to a request, taken from it or changed in it."""

    async def sent(self, *requests: Request) -> list[bytes]:
        """Send `requests` one after the other; return what the origin received for each."""
        received: list[bytes] = []

        async def script(talk: Talk) -> None:
            while True:
                received.append(await talk.request())
                talk.send(OK)

        origin = await self.listen(script)
        for each in requests:
            await self.fetch(origin, each)
        self.host = b"127.0.0.1:%d" % origin.port
        return received

    async def test_nothing_added(self) -> None:
        """A request without fields goes out with `Host` and nothing else."""
        (sent,) = await self.sent(request(b"/x"))
        self.assertEqual(sent, b"GET /x HTTP/1.1\r\nHost: " + self.host + b"\r\n\r\n")

    async def test_targets(self) -> None:
        """The request-target is sent as it is: not normalised, not encoded, not decoded."""
        targets = (
            b"/",
            b"//",
            b"//two//slashes/",
            b"/a%2Fb%2f%41",
            b"/a/../b/./c/..",
            b"/empty-query?",
            b"/?",
            b"/??a?b",
            b"/a?b=/../c&&d=%zz&e=%",
            b"/;params;x=1?y;z",
            b"/|{}[]~`",
            b"/'\"<>\\^",
            b"/http://other.example/x",
            b"/a#b",
            b"/a@b:c",
            b"/%00%0d%0a",
            b"/" + b"l" * 10_000,
        )
        received = await self.sent(*map(request, targets))
        self.assertEqual([each.split(b" ")[1] for each in received], list(targets))

    async def test_methods(self) -> None:
        """Any token is a method, and goes out in its own case; methods differ by it, so `trace` is none we know."""
        methods = (b"GET", b"get", b"Post", b"PROPFIND", b"!#$%&'*+-.^_`|~09", b"OPTIONS", b"trace")
        received = await self.sent(*(request(method=method) for method in methods))
        self.assertEqual([each.split(b" ")[0] for each in received], list(methods))

    async def test_fields(self) -> None:
        """Fields keep their names, their values, their order, and stay as many as they were."""
        fields = (
            (b"x-b", b"1"),
            (b"ACCEPT-ENCODING", b"br;q=1, identity;q=0"),
            (b"X-A", b""),
            (b"x-b", b"2, 3"),
            (b"Cookie", b"a=1"),
            (b"X-B", b"4"),
            (b"cookie", b"b=2"),
            (b"x-latin", b"\xe9\t\xff"),
        )
        (sent,) = await self.sent(request(headers=fields))
        lines = b"".join(b"%b: %b\r\n" % pair for pair in fields)
        self.assertEqual(sent, b"GET / HTTP/1.1\r\nHost: " + self.host + b"\r\n" + lines + b"\r\n")

    async def test_host(self) -> None:
        """A `Host` that is there already stays, where it is and as it is."""
        fields = ((b"A", b"1"), (b"hOST", b"other.example"))
        (sent,) = await self.sent(request(headers=fields))
        self.assertEqual(sent, b"GET / HTTP/1.1\r\nA: 1\r\nhOST: other.example\r\n\r\n")

    async def test_length(self) -> None:
        """The length of the content is said where there is content, where the method has us expect some, or where it
        was said before; it is always the true one."""
        given = ((b"Content-Length", b"0"),)
        wrong = ((b"content-length", b"77"), (b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"78"))
        cases = (
            (request(), None),
            (request(method=b"HEAD"), None),
            (request(method=b"DELETE"), None),
            (request(method=b"OPTIONS"), None),
            (request(method=b"post"), None),
            (request(method=b"POST"), b"0"),
            (request(method=b"PUT"), b"0"),
            (request(method=b"PATCH"), b"0"),
            (request(method=b"DELETE", headers=given), b"0"),
            (request(headers=given), b"0"),
            (request(body=b"abc"), b"3"),
            (request(method=b"DELETE", body=b"abc"), b"3"),
            (request(method=b"POST", body=b"abc", headers=wrong), b"3"),
            (request(method=b"POST", headers=wrong), b"0"),
        )
        received = await self.sent(*(each for each, _ in cases))
        for (sent, length), got in zip(cases, received, strict=True):
            head = sent.method + b" / HTTP/1.1\r\nHost: " + self.host + b"\r\n"
            said = b"" if length is None else b"Content-Length: " + length + b"\r\n"
            self.assertEqual(got, head + said + b"\r\n" + sent.body)

    async def test_content(self) -> None:
        """Content of any bytes and any size arrives as it is."""
        some = bytes(range(256)) * 5000
        received = await self.sent(
            request(method=b"POST", body=b"\r\n\r\n\0"),
            *(request(method=b"POST", body=some[:size]) for size in (2**16 - 1, 2**16, 2**16 + 1, len(some))),
        )
        contents = [each.partition(b"\r\n\r\n")[2] for each in received]
        self.assertEqual(contents, [b"\r\n\r\n\0", *(some[:size] for size in (2**16 - 1, 2**16, 2**16 + 1, len(some)))])

    async def test_large_content(self) -> None:
        """Content that is not in memory arrives as it is, with its length, and is let go of then."""
        some = bytes(range(256)) * 5000
        sizes = (1, 2**16, 2**16 + 1, len(some))
        contents = [Large(some[:size]) for size in sizes]
        received = await self.sent(*(request(method=b"PUT", body=content) for content in contents))
        for each, size in zip(received, sizes, strict=True):
            self.assertTrue(each.endswith(b"Content-Length: %d\r\n\r\n" % size + some[:size]))
        self.assertEqual([content.holders for content in contents], [-1] * 4)

    async def test_memory(self) -> None:
        """An origin that reads slowly is given no more than it takes: the rest waits with us, not in the transport."""
        body = bytes(20_000_000)

        async def script(talk: Talk) -> None:
            await talk.until(b"\r\n\r\n")
            talk.stop_reading()
            stopped.callback(None)
            await resumed
            talk.resume_reading()
            await talk.exactly(len(body))
            talk.send(OK)

        stopped: Deferred[None] = Deferred()
        resumed: Deferred[None] = Deferred()
        origin = await self.listen(script)
        sink = Deferred.fromCoroutine(self.fetch(origin, request(method=b"POST", body=body)))
        await stopped
        talk = await origin.connected()
        self.assertLess(len(talk.received), 10_000_000)
        resumed.callback(None)
        self.assertEqual((await sink).content, b"hi")
        self.assertEqual(len(talk.received.partition(b"\r\n\r\n")[2]), len(body))

    async def test_quiet(self) -> None:
        """Nothing is logged for a request that goes well, interim responses or not."""
        logged: list[object] = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        origin = await self.listen(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK)
        del logged[:]
        await self.fetch(origin)
        self.assertEqual(logged, [])


class RefusalTests(UpstreamTestCase):
    """What cannot stand in a request never reaches an origin."""

    async def assert_refused(self, *refused: Request) -> None:
        origin = await self.listen(OK)
        for each in refused:
            with self.assertRaises(BadRequest, msg=repr(each)):
                await self.send(origin, each)
        self.assertEqual(origin.talks, [])

    async def test_targets(self) -> None:
        """White space, control characters and bytes beyond ASCII; and what is not in origin-form."""
        bad = (b"\0", b"\r", b"\n", b"\r\nX: y", b" ", b"\t", b"\x7f", b"\x80", b"\xff", b"\x0b", b"\x85")
        await self.assert_refused(
            *(request(b"/a" + each) for each in bad), *(request(b"/" + each + b"b") for each in bad)
        )
        await self.assert_refused(*map(request, (b"", b"*", b"x", b"http://a.example/", b"?a", b"/\n", b"\n/")))

    async def test_methods(self) -> None:
        """Anything but a token."""
        await self.assert_refused(
            *(request(method=each) for each in (b"", b"G T", b"GET\n", b"GE\rT", b"G\0", b"GET/", b"G\xe9T", b"(x)"))
        )

    async def test_methods_about_connections(self) -> None:
        """What is not about a resource has no business at an origin."""
        await self.assert_refused(*(request(method=each) for each in (b"CONNECT", b"TRACE")))

    async def test_values(self) -> None:
        """A value that would end its line."""
        await self.assert_refused(
            *(request(headers=((b"a", each),)) for each in (b"x\r\ny: z", b"x\n", b"\rx", b"x\0y", b"x\r\n y"))
        )

    async def test_names(self) -> None:
        """A name that is no token."""
        await self.assert_refused(
            *(request(headers=((each, b"x"),)) for each in (b"", b"a b", b"a:", b"a\r\nb", b"a\n", b"\xe9"))
        )

    async def test_two_hosts(self) -> None:
        """More than one `Host`."""
        await self.assert_refused(request(headers=((b"Host", b"a"), (b"host", b"a"))))


class NoHelpTests(UpstreamTestCase):
    """Nothing of what makes treq convenient happens."""

    async def test_no_cookies(self) -> None:
        """What an origin sets as a cookie is never sent by us: the next request may be somebody else's."""
        answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        origin = await self.listen(answer)
        first = await self.send(origin)
        await self.read(first)
        await self.fetch(origin)
        self.assertEqual(first.response.headers.get_all(b"set-cookie"), [b"a=1; Path=/", b"b=2"])
        self.assertNotIn(b"ookie", b"".join(origin.received))

    async def test_no_redirects(self) -> None:
        """A redirect is an answer like another."""
        for status in (b"301", b"302", b"303", b"307", b"308"):
            origin = await self.listen(
                b"HTTP/1.1 " + status + b" X\r\nLocation: /there\r\nContent-Length: 4\r\n\r\nmove"
            )
            incoming = await self.send(origin)
            self.assertEqual(incoming.response.status, int(status))
            self.assertEqual(incoming.response.headers.get(b"location"), b"/there")
            self.assertEqual((await self.read(incoming)).content, b"move")
            self.assertEqual(b"".join(origin.received).count(b"GET "), 1)

    async def test_no_decoding(self) -> None:
        """Content stays in the coding it came in, and the fields that speak of it stay too."""
        fields = b"Content-Encoding: gzip\r\nContent-Length: 9\r\n"
        origin = await self.listen(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\x1f\x8bnotgzip")
        incoming = await self.send(origin)
        expected = ((b"Content-Encoding", b"gzip"), (b"Content-Length", b"9"))
        self.assertEqual(incoming.response.headers.pairs, expected)

    async def test_no_referral(self) -> None:
        """A 401 is an answer too, and credentials are what the caller gave."""
        origin: ScriptedOrigin = await self.listen(
            b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
        )
        sent = request(headers=((b"Authorization", b"Bearer x"),))
        self.assertEqual((await self.send(origin, sent)).response.status, 401)
        self.assertEqual(origin.received[0].count(b"Authorization"), 1)
