"""With TLS, the other end has proved to be the origin, or there is no request."""

import os

from OpenSSL import SSL
from service_identity import CertificateError
from twisted.internet.defer import Deferred

from buddyproxy.errors import UpstreamError
from buddyproxy.message import Origin
from tests.support.certificates import Authority
from tests.support.origin import ScriptedOrigin, Talk
from tests.support.upstreams import OK, Gathered, UpstreamTestCase, request


class TrustTestCase(UpstreamTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority(self.directory())

    async def secure(self, *identities: str, expired: bool = False, script=OK) -> ScriptedOrigin:
        """Return an origin with a certificate of our authority for `identities`."""
        return await self.listen(script, self.authority.issue(*identities, expired=expired))

    async def ask(self, origin: ScriptedOrigin, host: str = "localhost", ca_file: str | None = None) -> Gathered:
        """Ask `origin` as `host`, trusting our authority, or that of `ca_file`."""
        to = Origin("https", host, origin.port, ca_file or self.authority.ca_file)
        return await self.read(await self.upstream.send(request(), to, self.NO_LIMITS))

    async def assert_refused(self, origin: ScriptedOrigin, host: str, ca_file: str | None, said: str) -> None:
        error = await self.error_of(self.ask(origin, host, ca_file))
        self.assertEqual(str(error), f"https://{host}:{origin.port}: {said}")
        self.assertEqual(b"".join(origin.received), b"")


class TrustTests(TrustTestCase):
    """Who is believed."""

    async def test_private(self) -> None:
        """An authority named by `ca_file` is believed."""
        origin = await self.secure("localhost")
        for _ in range(2):
            self.assertEqual((await self.ask(origin)).content, b"hi")
        self.assertEqual(len(origin.talks), 1)
        self.assertIn(b"Host: localhost:%d\r\n" % origin.port, origin.received[0])

    async def test_address(self) -> None:
        """An IP address is verified as one."""
        origin = await self.secure("127.0.0.1")
        self.assertEqual((await self.ask(origin, "127.0.0.1")).content, b"hi")

    async def test_wrong_name(self) -> None:
        """A certificate for another is none."""
        origin = await self.secure("other.example", "*.a.localhost")
        await self.assert_refused(origin, "localhost", None, "the certificate is not for localhost")

    async def test_wrong_address(self) -> None:
        """A certificate for a name is none for its address, nor is one for another address."""
        origin = await self.secure("localhost", "127.0.0.2")
        await self.assert_refused(origin, "127.0.0.1", None, "the certificate is not for 127.0.0.1")

    async def test_unreadable_names(self) -> None:
        """A certificate without names, or with one that is none, is for nobody, though Twisted lets it pass."""
        for identities in ((), ("*.localhost",)):
            origin = await self.listen(OK, self.authority.issue(*identities, common_name="localhost"))
            for host in ("localhost", "127.0.0.1"):
                said = "certificate verify failed: the names in it cannot be verified (it needs a subjectAltName)"
                await self.assert_refused(origin, host, None, said)
        # Should this be 0 one day, Twisted refuses them itself.
        self.assertEqual(len(self.flushLoggedErrors(CertificateError)), 4)

    async def test_expired(self) -> None:
        """A certificate that was good once."""
        origin = await self.secure("localhost", expired=True)
        await self.assert_refused(origin, "localhost", None, "certificate verify failed: it has expired")

    async def test_unknown(self) -> None:
        """A certificate of an authority that is not trusted; with `ca_file`, the system's are not either."""
        origin = await self.secure("localhost")
        other = Authority(self.directory(), "other")
        said = "no authority trusted here has issued it (a private one is named by domain_mappings.NAME.ca_file)"
        await self.assert_refused(origin, "localhost", other.ca_file, f"certificate verify failed: {said}")
        self.trust_as_system(self.authority)
        await self.assert_refused(origin, "localhost", other.ca_file, f"certificate verify failed: {said}")

    async def test_system(self) -> None:
        """Without `ca_file`, who the system trusts is believed, and nobody else."""
        origin = await self.secure("localhost")
        to = Origin("https", "localhost", origin.port)
        error = await self.error_of(self.upstream.send(request(), to, self.NO_LIMITS))
        self.assertIn("certificate verify failed", str(error))
        self.trust_as_system(self.authority)
        trusting = type(self.upstream)(self.reactor, self.clock)
        self.addCleanup(trusting.close)
        incoming = await trusting.send(request(), to, self.NO_LIMITS)
        self.assertEqual((await self.read(incoming)).content, b"hi")

    async def test_several(self) -> None:
        """A `ca_file` may name several authorities, with text between them."""
        other = Authority(self.directory(), "other")
        both = self.directory() / "both.pem"
        both.write_bytes(b"The first:\n" + other.ca_pem + b"# and\n" + self.authority.ca_pem)
        for authority in (self.authority, other):
            origin = await self.listen(OK, authority.issue("localhost"))
            self.assertEqual((await self.ask(origin, ca_file=str(both))).content, b"hi")

    async def test_apart(self) -> None:
        """A connection that was made in one trust is not used in another."""
        origin = await self.secure("localhost")
        await self.ask(origin)
        other = Authority(self.directory(), "other")
        with self.assertRaises(UpstreamError):
            await self.ask(origin, ca_file=other.ca_file)
        with self.assertRaises(UpstreamError):
            await self.ask(origin, "127.0.0.1")

    async def test_unusable_ca_file(self) -> None:
        """A `ca_file` that is none is an error that names it."""
        directory = self.directory()
        missing, empty, broken = directory / "missing.pem", directory / "empty.pem", directory / "broken.pem"
        empty.write_bytes(b"nothing here")
        broken.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        for file, said in (
            (missing, "No such file or directory"),
            (directory, "Is a directory"),
            (empty, "no certificate in it (PEM is expected)"),
            (broken, "a certificate in it cannot be read"),
        ):
            to = Origin("https", "localhost", 1, str(file))
            error = await self.error_of(self.upstream.send(request(), to, self.NO_LIMITS))
            self.assertEqual(str(error), f"https://localhost:1: ca_file {file}: {said}")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def trust_as_system(self, authority: Authority) -> None:
        """Have the system's trust consist of `authority`, for this test."""
        before = os.environ.get("SSL_CERT_FILE")
        os.environ["SSL_CERT_FILE"] = authority.ca_file
        if before is None:
            self.addCleanup(os.environ.pop, "SSL_CERT_FILE")
        else:
            self.addCleanup(os.environ.__setitem__, "SSL_CERT_FILE", before)


class ConversationTests(TrustTestCase):
    """What goes on within TLS, and where it breaks."""

    async def test_server_name(self) -> None:
        """The name goes with the handshake, an address does not (RFC 6066, 3)."""
        names: list[bytes | None] = []

        async def script(talk: Talk) -> None:
            await talk.request()
            names.append(talk.transport.getHandle().get_servername())
            talk.send(OK)

        origin = await self.secure("localhost", "127.0.0.1", script=script)
        await self.ask(origin)
        await self.ask(origin, "127.0.0.1")
        self.assertEqual(names, [b"localhost", None])

    async def test_large(self) -> None:
        """Much content, both ways."""
        body = bytes(range(256)) * 20_000

        async def script(talk: Talk) -> None:
            sent = await talk.request()
            talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + sent.partition(b"\r\n\r\n")[2])

        origin = await self.secure("localhost", script=script)
        to = Origin("https", "localhost", origin.port, self.authority.ca_file)
        incoming = await self.upstream.send(request(b"/", b"POST", body=body), to, self.NO_LIMITS)
        self.assertEqual((await self.read(incoming)).content, body)

    async def test_not_tls(self) -> None:
        """An origin that does not speak TLS."""

        async def script(talk: Talk) -> None:
            await talk.exactly(1)
            talk.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        origin = await self.listen(script)
        error = await self.error_of(self.ask(origin))
        self.assertIn("TLS failed: ", str(error))

    async def test_no_handshake(self) -> None:
        """An origin that goes away instead of shaking hands."""

        async def script(talk: Talk) -> None:
            await talk.exactly(1)
            talk.close()

        error = await self.error_of(self.ask(await self.listen(script)))
        self.assertIn("it broke the connection in the TLS handshake", str(error))

    async def test_nothing_said(self) -> None:
        """An error of OpenSSL's that says nothing is at least said to be one."""
        from buddyproxy.upstream.failures import explained

        for error in (SSL.Error(), SSL.Error([]), SSL.SysCallError(-1, "x")):
            self.assertEqual(str(explained(error, Origin("https", "a", 443))), "https://a: TLS failed")

    async def test_unframed(self) -> None:
        """Content that ends with the connection is complete only if TLS was ended too: anybody can cut a cable."""
        for end, expected in ((Talk.close, False), (Talk.cut, None)):

            async def script(talk: Talk, end=end) -> None:
                await talk.request()
                talk.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
                await self.turns()
                end(talk)

            sink = await self.ask(await self.secure("localhost", script=script))
            self.assertEqual(sink.content, b"hello")
            if expected is None:
                self.assertIn("it broke the connection before its answer was complete", str(sink.ends[0]))
            else:
                self.assertEqual(sink.ends, [expected])

    async def test_close_in_order(self) -> None:
        """An idle connection is ended as TLS has it."""
        origin = await self.secure("localhost")
        await self.ask(origin)
        await self.upstream.close()
        await origin.talks[0].gone()
        self.assertEqual(origin.talks[0].lost.type.__name__, "ConnectionDone")

    async def test_close_alone(self) -> None:
        """An origin that does not join in ending TLS is left after five seconds."""
        origin = await self.secure("localhost")
        await self.ask(origin)
        origin.talks[0].stop_reading()
        closed = Deferred.fromCoroutine(self.upstream.close())
        await self.turns()
        self.assertNoResult(closed)
        self.clock.advance(5)
        await closed
        origin.talks[0].resume_reading()
        await origin.talks[0].gone()
