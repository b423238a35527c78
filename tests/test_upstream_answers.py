"""What an origin answers is what the caller gets, or a clear word about why not."""

from twisted.internet.defer import Deferred

from buddyproxy.errors import Unanswered, UpstreamError
from buddyproxy.message import Headers, Origin, Response
from tests.support.origin import ScriptedOrigin, Talk, closed_port
from tests.support.upstreams import OK, Gathered, UpstreamTestCase, request


class _Told(list[Response]):
    """A list that fires a Deferred when something is put into it."""

    def __init__(self, deferred: Deferred[None]) -> None:
        super().__init__()
        self._deferred = deferred

    def append(self, response: Response) -> None:
        super().append(response)
        self._deferred.callback(None)


class HeadTests(UpstreamTestCase):
    """The head of an answer."""

    async def test_fields(self) -> None:
        """Every field arrives, in the order, with the name and as often as it was sent."""
        fields = (
            (b"x-B", b"1"),
            (b"Connection", b"keep-alive, X-Private"),
            (b"ETAG", b'W/"x"'),
            (b"Content-Length", b"2"),
            (b"X-b", b"2"),
            (b"x-private", b"secret"),
            (b"Keep-Alive", b"timeout=5"),
            (b"empty", b""),
            (b"X-Latin", b"\xe9\xff"),
        )
        origin = await self.listen(
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in fields) + b"\r\nhi"
        )
        incoming = await self.send(origin)
        self.assertEqual(incoming.response.headers.pairs, fields)

    async def test_status(self) -> None:
        """The status and the reason phrase are as sent; the phrase may be empty or missing."""
        for line, status, reason in (
            (b"200 OK", 200, b"OK"),
            (b"299 Fine \xe9 so far", 299, b"Fine \xe9 so far"),
            (b"404 ", 404, b""),
            (b"503", 503, b""),
            (b"999 Odd", 999, b"Odd"),
        ):
            origin = await self.listen(b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\n\r\n")
            response = (await self.send(origin)).response
            self.assertEqual((response.status, response.reason), (status, reason))

    async def test_no_content(self) -> None:
        """An answer to HEAD, a 204 and a 304 have no content, and keep the length they speak of.

        A 204 that speaks of content may go on with it: its connection is used no more.
        """
        for method, status, connections in (
            (b"HEAD", b"200", 1),
            (b"GET", b"304", 1),
            (b"GET", b"204", 2),
            (b"HEAD", b"500", 1),
        ):
            for field in (b"Content-Length: 1234", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked"):
                origin = await self.listen(b"HTTP/1.1 " + status + b" X\r\n" + field + b"\r\nETag: x\r\n\r\n")
                for _ in range(2):
                    incoming = await self.send(origin, request(method=method))
                    pairs = [b"%b: %b" % pair for pair in incoming.response.headers]
                    self.assertEqual(pairs, [field, b"ETag: x"])
                    sink = await self.read(incoming)
                    self.assertEqual((sink.chunks, sink.ends), ([], [True]))
                self.assertEqual(len(origin.talks), connections)

    async def test_interim(self) -> None:
        """Interim responses are handed on, each with its own fields and none of the final one's; a 100 is ours."""
        origin = await self.listen(
            b"HTTP/1.1 100 Continue\r\nX-No: 1\r\n\r\n"
            b"HTTP/1.1 103 Early\rHints\r\nLink: </x>\r\nlink: </y>\0\r\nConnection: X\r\n\r\n"
            b"HTTP/1.1 199\r\nContent-Length: secret\r\n\r\n" + OK
        )
        incoming = await self.send(origin)
        links = ((b"Link", b"</x>"), (b"link", b"</y> "), (b"Connection", b"X"))
        hints = Response(103, Headers(links), b"Early Hints")
        self.assertEqual(self.interims, [hints, Response(199, Headers(((b"Content-Length", b"secret"),)), b"")])
        self.assertEqual(incoming.response.headers.pairs, ((b"Content-Length", b"2"),))
        self.assertEqual((await self.read(incoming)).content, b"hi")

    async def test_interim_at_once(self) -> None:
        """An interim response is handed on when it comes, also while the request is still being sent."""

        async def script(talk: Talk) -> None:
            talk.stop_reading()
            talk.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await hinted
            talk.resume_reading()
            await talk.request()
            talk.send(OK)

        hinted: Deferred[None] = Deferred()
        self.interims = _Told(hinted)
        upload = request(method=b"PUT", body=b"x" * 10_000_000)
        self.assertEqual((await self.fetch(await self.listen(script), upload)).content, b"hi")

    async def test_many_interim(self) -> None:
        """There may be as many as anybody has use for, and no more."""
        hint = b"HTTP/1.1 103 Early Hints\r\n\r\n"
        await self.fetch(await self.listen(hint * 32 + OK))
        self.assertEqual(len(self.interims), 32)

    async def test_cleaned(self) -> None:
        """What others could read in another way is made unambiguous: folded lines, stray CR and NUL, white space."""
        origin = await self.listen(
            b"HTTP/1.1 200 O\0K\nA: one\r\n  two\r\n\tthree\r\nB : x\rSet-Cookie: y\r\n"
            b"C: a\0b\r\nContent-Length: 0\r\n\r\n"
        )
        response = (await self.send(origin)).response
        self.assertEqual(response.reason, b"O K")
        self.assertEqual(
            response.headers.pairs,
            ((b"A", b"one  two\tthree"), (b"B", b"x Set-Cookie: y"), (b"C", b"a b"), (b"Content-Length", b"0")),
        )

    async def test_slowly(self) -> None:
        """An answer may come byte by byte."""

        async def script(talk: Talk) -> None:
            await talk.request()
            for each in OK:
                talk.send(bytes([each]))
                await self.turns(1)

        self.assertEqual((await self.fetch(await self.listen(script))).content, b"hi")

    async def test_unusable(self) -> None:
        """What is not HTTP/1.1, or could be read in two ways, is refused; the message says why and quotes nothing."""
        first = "it does not begin with a status line of HTTP/1"
        invalid = "it is not valid HTTP/1.1"
        length = "its Content-Length is not one number"
        coding = "its Transfer-Encoding is not chunked"
        ok = b"HTTP/1.1 200 OK\r\n"
        for answer, reason in (
            (b"\r\n\r\n", first),
            (b"secret secret secret\r\n\r\n", first),
            (b"HTTP/2 200 OK\r\n\r\n", first),
            (b"HTTP/1.1 20 OK\r\n\r\n", first),
            (b"HTTP/1.1 +20 OK\r\n\r\n", first),
            (b"HTTP/1.1 2_0 OK\r\n\r\n", first),
            (b"HTTP/1.1 099 OK\r\n\r\n", first),
            (b"HTTP/1.1 2000 OK\r\n\r\n", first),
            (b"ICY 200 OK\r\n\r\n", first),
            (ok + b"no colon secret\r\n\r\n", invalid),
            (ok + b"a b: secret\r\n\r\n", invalid),
            (ok + b": secret\r\n\r\n", invalid),
            (ok + b"Content-Length: secret\r\n\r\n", length),
            (ok + b"Content-Length: -1\r\n\r\n", length),
            (ok + b"Content-Length: +1\r\n\r\n", length),
            (ok + b"Content-Length: " + b"1" * 5000 + b"\r\n\r\n", length),
            (ok + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nhi!", length),
            (ok + b"Content-Length: 2, 3\r\n\r\nhi!", length),
            (ok + b"Content-Length:\r\n\r\n", length),
            (ok + b"Transfer-Encoding: secret\r\n\r\n", coding),
            (ok + b"Transfer-Encoding: gzip, chunked\r\n\r\n", coding),
            (ok + b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n", coding),
            (ok + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", coding),
            (ok + b"Transfer-Encoding: identity\r\n\r\n", coding),
            (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: secret\r\n\r\n", "it changes to another protocol"),
            (ok + b"A: " + b"x" * 20_000, "a line of its head has more than 16384 bytes"),
            (ok + b"A: " + b"x" * 20_000 + b"\r\n\r\n", "a line of its head has more than 16384 bytes"),
            (ok + b"A: b\r\n" * 50_000, "its head has more than 262144 bytes"),
            (b"HTTP/1.1 100 Go on\r\n\r\n" * 33, "it comes after more than 32 interim responses"),
            ((b"HTTP/1.1 103 Hints\r\n" + b"A: b\r\n" * 2_000 + b"\r\n") * 25, "its head has more than 262144 bytes"),
        ):
            origin = await self.listen(answer)
            error = await self.error_of(self.send(origin))
            self.assertIn(f"http://127.0.0.1:{origin.port}: its answer cannot be used: {reason}", str(error))
            self.assertNotIn("secret", str(error))
            await origin.talks[0].gone()


class ContentTests(UpstreamTestCase):
    """The content of an answer, and the truth about its end."""

    async def test_framed(self) -> None:
        """Content with a length, or in chunks, is complete when it is."""
        ok = b"HTTP/1.1 200 OK\r\n"
        for answer, content in (
            (ok + b"Content-Length: 2\r\n\r\nhi", b"hi"),
            (ok + b"Content-Length: 0\r\n\r\n", b""),
            (ok + b"Content-Length: 2, 2\r\nContent-length: 02\r\n\r\nhi", b"hi"),
            (ok + b"Transfer-Encoding: Chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\nTrailer: x\r\n\r\n", b"hi"),
            (ok + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
            (ok + b"Transfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"hi"),
        ):
            sink = await self.fetch(await self.listen(answer))
            self.assertEqual((sink.content, sink.ends), (content, [True]))

    async def test_one_length(self) -> None:
        """A length that was said several times reaches the caller once; beside a transfer coding, not at all."""
        for fields, expected in (
            (b"Content-Length: 2, 2\r\nA: b\r\ncontent-length: 2\r\n", ((b"A", b"b"), (b"Content-Length", b"2"))),
            (
                b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\nA: b\r\n",
                ((b"Transfer-Encoding", b"chunked"), (b"A", b"b")),
            ),
        ):
            origin = await self.listen(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
            for method in (b"GET", b"HEAD"):
                incoming = await self.send(origin, request(method=method))
                self.assertEqual(incoming.response.headers.pairs, expected)

    async def test_unframed(self) -> None:
        """Where only the close of the connection marks the end, the caller is told so."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
            talk.close()

        sink = await self.fetch(await self.listen(script))
        self.assertEqual((sink.content, sink.ends), (b"hello", [False]))

    async def test_chunks_as_they_come(self) -> None:
        """Each piece is delivered when it comes, not when there is more."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in (b"data: 1\n\n", b"data: 2\n\n"):
                talk.send(b"9\r\n" + piece + b"\r\n")
                await talk.until(b"|")

        origin = await self.listen(script)
        sink = Gathered()
        (await self.send(origin)).start(sink)
        await sink.has(b"data: 1\n\n")
        # A client of HTTP/1.1 would not do this; it is how the test tells the script to go on.
        self.assertEqual(len(sink.chunks), 1)
        origin.talks[0].dataReceived(b"|")
        await sink.has(b"data: 1\n\ndata: 2\n\n")
        self.assertEqual((len(sink.chunks), sink.ends), (2, []))

    async def test_cut_short(self) -> None:
        """Content that is not there in full never looks complete, however its end came about."""
        ok = b"HTTP/1.1 200 OK\r\n"
        closed = "it closed the connection before its answer was complete"
        broke = "it broke the connection before its answer was complete"
        invalid = "its answer cannot be used: it is not valid HTTP/1.1"
        for answer, end, reason in (
            (ok + b"Content-Length: 6\r\n\r\nhello", Talk.close, closed),
            (ok + b"Content-Length: 6\r\n\r\nhello", Talk.reset, broke),
            (ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", Talk.close, closed),
            (ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Talk.close, closed),
            (ok + b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello", Talk.reset, broke),
            (ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nsecret\r\n", Talk.stop_reading, invalid),
            (ok + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX", Talk.stop_reading, invalid),
            (ok + b"\r\nhello", Talk.reset, broke),
        ):
            ready: Deferred[None] = Deferred()

            async def script(talk: Talk, answer: bytes = answer, end=end, ready: Deferred[None] = ready) -> None:
                await talk.request()
                talk.send(answer)
                await ready
                end(talk)

            origin = await self.listen(script)
            sink = Gathered()
            (await self.send(origin)).start(sink)
            await sink.has(b"hello")
            ready.callback(None)
            error = await sink.end()
            assert isinstance(error, UpstreamError)
            self.assertEqual(str(error), f"http://127.0.0.1:{origin.port}: {reason}")
            self.assertIsNotNone(error.__cause__)
            self.assertEqual(len(sink.ends), 1)

    async def test_reader_fails(self) -> None:
        """A reader that raises ends the transfer, is told so, and is not taken for the origin's fault."""

        def broken(chunk: bytes) -> None:
            raise ZeroDivisionError

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi")

        origin = await self.listen(script)
        sink = Gathered()
        sink.reacting = broken
        (await self.send(origin)).start(sink)
        self.assertIn("could not be passed on", str(await sink.end()))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        await origin.talks[0].gone()

    async def test_pause(self) -> None:
        """A paused reader gets no more than what was read already, and the origin is held up; then all the rest."""
        size = 20_000_000
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
        origin = await self.listen(answer)
        incoming = await self.send(origin)
        sink = Gathered()
        sink.reacting = lambda chunk: incoming.pause()
        incoming.start(sink)
        await origin.connected()
        while not sink.chunks:
            await self.turns(1)
        await self.turns(50)
        self.assertLessEqual(len(sink.content), 2**17)
        self.assertEqual(sink.ends, [])
        incoming.pause()  # again, and nothing happens
        sink.reacting = lambda chunk: None
        incoming.resume()
        incoming.resume()
        self.assertIs(await sink.end(), True)
        self.assertEqual(len(sink.content), size)
        incoming.pause()  # too late, and nothing happens
        incoming.resume()
        self.assertEqual((await self.fetch(origin)).ends, [True])
        self.assertEqual(len(origin.talks), 1)

    async def test_pause_between(self) -> None:
        """What was read before a pause arrives during it."""
        origin = await self.listen(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n2\r\nho\r\n0\r\n\r\n"
        )
        incoming = await self.send(origin, idle=1)
        sink = Gathered()
        sink.reacting = lambda chunk: incoming.pause()
        incoming.start(sink)
        await sink.end()
        self.assertEqual((sink.chunks, sink.ends), ([b"hi", b"ho"], [True]))
        self.assertEqual((await self.fetch(origin)).content, b"hiho")

    async def test_pause_before_start(self) -> None:
        """A reader may come late and ask for a pause first, or think better of it."""
        for patient in (False, True):
            origin = await self.listen(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + bytes(300000))
            incoming = await self.send(origin, idle=10)
            incoming.pause()
            if not patient:
                incoming.resume()
            sink = Gathered()
            incoming.start(sink)
            await self.turns()
            if patient:
                self.assertLessEqual(len(sink.content), 2**17)
                self.clock.advance(11)
                self.assertEqual(sink.ends, [])
                incoming.resume()
            self.assertIs(await sink.end(), True)

    async def test_pause_at_once(self) -> None:
        """A pause caused by what was there before the start is not lost."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nhi")
            await told
            talk.send(b"there")

        told: Deferred[None] = Deferred()
        origin = await self.listen(script)
        incoming = await self.send(origin)
        await self.turns()
        sink = Gathered()
        sink.reacting = lambda chunk: incoming.pause()
        incoming.start(sink)
        self.assertEqual(sink.chunks, [b"hi"])
        told.callback(None)
        await self.turns()
        self.assertEqual(sink.chunks, [b"hi"])
        sink.reacting = lambda chunk: None
        incoming.resume()
        await sink.end()
        self.assertEqual(sink.content, b"hithere")


class AbortTests(UpstreamTestCase):
    """Giving up."""

    async def half(self) -> ScriptedOrigin:
        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi")

        return await self.listen(script)

    async def test_in_content(self) -> None:
        """The connection is closed, and the reader hears nothing more."""
        origin = await self.half()
        incoming = await self.send(origin)
        sink = Gathered()
        incoming.start(sink)
        await sink.has(b"hi")
        incoming.abort()
        incoming.abort()
        await origin.talks[0].gone()
        self.assertEqual(sink.ends, [])

    async def test_while_reading(self) -> None:
        """A reader may give up while it is given something."""
        origin = await self.half()
        incoming = await self.send(origin)
        sink = Gathered()
        sink.reacting = lambda chunk: incoming.abort()
        incoming.start(sink)
        await sink.has(b"hi")
        await origin.talks[0].gone()
        self.assertEqual(sink.ends, [])

    async def test_before_start(self) -> None:
        """The connection is closed too where nobody has begun to read."""
        origin = await self.half()
        (await self.send(origin)).abort()
        await origin.talks[0].gone()

    async def test_then_start(self) -> None:
        """After that, there is nothing to begin with."""
        for answer in (OK, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi"):
            incoming = await self.send(await self.listen(answer))
            await self.turns()
            incoming.abort()
            sink = Gathered()
            incoming.start(sink)
            await self.turns()
            self.assertEqual((sink.chunks, sink.ends), ([], []))

    async def test_complete(self) -> None:
        """Where the content was there in full, the connection is kept."""
        for answer in (b"HTTP/1.1 304 Not Modified\r\n\r\n", OK):
            origin = await self.listen(answer)
            incoming = await self.send(origin)
            await self.turns()
            incoming.abort()
            await self.fetch(origin)
            self.assertEqual(len(origin.talks), 1)


class FaultTests(UpstreamTestCase):
    """Origins that do not answer."""

    async def test_refused(self) -> None:
        """Nobody listens."""
        port = await closed_port(self.reactor)
        error = await self.error_of(self.upstream.send(request(), Origin("http", "127.0.0.1", port), self.NO_LIMITS))
        self.assertEqual(str(error), f"http://127.0.0.1:{port}: it refused the connection")
        self.assertTrue(error.unsent)

    async def test_refused_by_name(self) -> None:
        """Nobody listens where the name leads."""
        port = await closed_port(self.reactor)
        error = await self.error_of(self.upstream.send(request(), Origin("http", "localhost", port), self.NO_LIMITS))
        self.assertEqual(str(error), f"http://localhost:{port}: it refused the connection")

    async def test_no_answer(self) -> None:
        """The connection ends where an answer should be; in what state, the message says, and no query is in it."""
        closed, broke = "it closed the connection", "it broke the connection"
        for answer, end, reason in (
            (b"", Talk.close, f"{closed} without an answer"),
            (b"", Talk.reset, f"{broke} without an answer"),
            (b"HTTP/1.1 200 OK\r\nContent-Le", Talk.close, f"{closed} in the middle of its answer's head"),
            (b"H", Talk.reset, f"{broke} in the middle of its answer's head"),
            (b"HTTP/1.1 100 Continue\r\n\r\n", Talk.close, f"{closed} in the middle of its answer's head"),
        ):

            async def script(talk: Talk, answer: bytes = answer, end=end) -> None:
                await talk.request()
                talk.send(answer)
                await self.turns()  # what was sent is lost where a reset comes on its heels
                end(talk)

            origin = await self.listen(script)
            kind = UpstreamError if answer else Unanswered
            error = await self.error_of(self.send(origin, request(b"/?key=secret")), kind)
            self.assertEqual(str(error), f"http://127.0.0.1:{origin.port}: {reason}")
            self.assertFalse(error.unsent)

    async def test_closed_while_sending(self) -> None:
        """The origin is gone before the whole request was."""

        async def script(talk: Talk) -> None:
            await talk.until(b"\r\n\r\n")
            talk.stop_reading()
            talk.reset()

        origin = await self.listen(script)
        error = await self.error_of(self.send(origin, request(method=b"POST", body=bytes(20_000_000))), Unanswered)
        self.assertIn("the connection while the request was being sent", str(error))
        self.assertFalse(error.unsent)

    async def test_early_answer(self) -> None:
        """An answer that comes before the whole request was sent is an answer, though the origin reads no further."""

        async def script(talk: Talk) -> None:
            await talk.until(b"\r\n\r\n")
            talk.stop_reading()
            talk.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")

        origin = await self.listen(script)
        sent = request(method=b"POST", body=bytes(20_000_000))
        incoming = await self.send(origin, sent)
        self.assertEqual(incoming.response.status, 413)
        sink = await self.read(incoming)
        self.assertEqual((sink.content, sink.ends), (b"large", [True]))
        origin.talks[0].resume_reading()
        await origin.talks[0].gone()  # it holds half a request: of no use to another
        self.assertLess(len(origin.talks[0].received), 20_000_000)

    async def test_early_answer_then_all(self) -> None:
        """After an early answer the rest of the request goes on; where both come to an end, the connection is kept."""
        size = 20_000_000

        async def script(talk: Talk) -> None:
            await talk.until(b"\r\n\r\n")
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel")
            await talk.exactly(size)
            talk.send(b"lo")
            await talk.request()
            talk.send(OK)

        origin = await self.listen(script)
        sink = await self.fetch(origin, request(method=b"POST", body=bytes(size)))
        self.assertEqual((sink.content, sink.ends), (b"hello", [True]))
        await self.fetch(origin)
        self.assertEqual(len(origin.talks), 1)

    async def test_early_garbage(self) -> None:
        """What is not HTTP is not, also where it comes early."""

        async def script(talk: Talk) -> None:
            await talk.until(b"\r\n\r\n")
            talk.stop_reading()
            talk.send(b"go away\r\n")

        origin = await self.listen(script)
        error = await self.error_of(self.send(origin, request(method=b"POST", body=bytes(20_000_000))))
        self.assertIn("it does not begin with a status line", str(error))
