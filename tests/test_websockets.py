"""WebSockets through the proxy, with a real client and a real server at its two ends."""

import re
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.threads import deferToThread
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from tests.support.certificates import Authority, Certificate
from tests.support.processes import twistd
from tests.support.proxies import ProxyTestCase

KEY = "correct-horse-battery-staple"
MB = 2**20
OFFERED, UNDERSTOOD = [Subprotocol("a"), Subprotocol("c")], [Subprotocol("b"), Subprotocol("c")]


def echo(connection: ServerConnection) -> None:
    """Send back what comes, until told to go."""
    for message in connection:
        if message == "go":
            connection.close(4001, "as you say")
        elif message == "die":
            connection.socket.close()
        else:
            connection.send(message)


def conversation(client: ClientConnection) -> None:
    """Say something of every kind, and hear it again."""
    for message in ("hello", "", "caf\xe9", b"", b"\x00\xff" * 512 * 1024):
        client.send(message)
        assert client.recv() == message
    for _ in range(5):
        client.send(b"x" * MB)
    assert [len(client.recv()) for _ in range(5)] == [MB] * 5
    client.send(["in ", "three ", "frames"])
    assert client.recv() == "in three frames"
    assert client.ping(b"are you there?").wait(10)


class WebSocketTestCase(ProxyTestCase):
    """A proxy between `websockets` and `websockets`."""

    secure_server = secure_proxy = False

    async def between(self, **settings: Any) -> str:
        """Return the address of a proxy in front of a WebSocket server."""
        self.authority = Authority(self.directory())
        certificate = self.authority.issue("localhost", "127.0.0.1")
        upstream = self.listening(certificate)
        trust = {"ca_file": self.authority.ca_file} if self.secure_server else {}
        port = await self.serve(upstream, certificate if self.secure_proxy else None, **trust, **settings)
        return f"{'wss' if self.secure_proxy else 'ws'}://localhost:{port}/api"

    def listening(self, certificate: Certificate) -> str:
        """Return the address of a WebSocket server, as a mapping's upstream."""
        server = serve(
            echo,
            "127.0.0.1",
            0,
            ssl=_context(certificate) if self.secure_server else None,
            subprotocols=UNDERSTOOD,
            process_request=self.look,
            max_size=4 * MB,
        )
        self.requests: list[Any] = []
        serving = deferToThread(server.serve_forever)
        self.addCleanup(lambda: serving)
        self.addCleanup(self.shut, server)
        port = server.socket.getsockname()[1]
        return f"https://localhost:{port}" if self.secure_server else f"http://127.0.0.1:{port}"

    def look(self, connection: ServerConnection, request: Any) -> Any:
        """Keep a handshake's request; refuse those for /forbidden."""
        self.requests.append(request)
        return connection.respond(403, "not here\n") if request.path == "/forbidden" else None

    def shut(self, server: Server) -> Any:
        """Stop the server from another thread: its own wait for it."""
        return deferToThread(server.shutdown)

    async def talk(self, url: str, what: Callable[[ClientConnection], Any], **settings: Any) -> Any:
        """Do `what` with a connection to `url`, in a thread, and return what comes of it."""

        def talking() -> Any:
            with connect(url, proxy=None, max_size=4 * MB, subprotocols=OFFERED, **self.trust(), **settings) as client:
                return what(client)

        return await deferToThread(talking)

    def trust(self) -> dict[str, Any]:
        """Return what the client needs in order to trust the proxy."""
        if not self.secure_proxy:
            return {}
        return {"ssl": ssl.create_default_context(cafile=self.authority.ca_file)}

    async def assert_tunnelled(self) -> None:
        outcome = await self.outcome()
        self.assertEqual((outcome.status, outcome.word, outcome.reason), (101, "upgrade", ""))
        assert outcome.tunnelled is not None
        for size in outcome.tunnelled:
            self.assertGreater(size, 6 * MB)


def _context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.pem_file)
    return context


class EchoTests(WebSocketTestCase):
    """Without TLS on either side."""

    async def test_conversation(self) -> None:
        """Text, large frames, fragments and pings go there and back."""
        await self.talk(await self.between(), conversation, compression=None)
        await self.assert_tunnelled()


class SecureEchoTests(EchoTests):
    """With TLS on both sides."""

    secure_server = secure_proxy = True


class SecureServerEchoTests(EchoTests):
    """With TLS to the origin."""

    secure_server = True


class SecureProxyEchoTests(EchoTests):
    """With TLS to the proxy."""

    secure_proxy = True


class HandshakeTests(WebSocketTestCase):
    """What goes on before the first frame."""

    async def test_target_and_fields(self) -> None:
        """The target behind the mapping's name, the subprotocol and the caller's fields reach the origin as sent."""
        url = await self.between()
        target = "/socket.io/?EIO=4&transport=websocket&sid=a%2Fb;c=%20"
        chosen = await self.talk(
            url + target,
            lambda client: client.subprotocol,
            additional_headers={"Authorization": "Bearer x", "X-Any": "1"},
            origin="http://page.example",
        )
        self.assertEqual(chosen, "c")
        [request] = self.requests
        self.assertEqual(request.path, target)
        told = {name: request.headers[name] for name in ("Authorization", "X-Any", "Origin", "Via")}
        expected = {"Authorization": "Bearer x", "X-Any": "1", "Origin": "http://page.example"}
        self.assertEqual(told, {**expected, "Via": "1.1 buddyproxy"})

    async def test_compressed(self) -> None:
        """Extensions are between the two ends."""

        def compressed(client: ClientConnection) -> list[str]:
            client.send("x" * 1000)
            assert client.recv() == "x" * 1000
            return [type(extension).__name__ for extension in client.protocol.extensions]

        self.assertEqual(await self.talk(await self.between(), compressed), ["PerMessageDeflate"])
        self.assertLess((await self.outcome()).tunnelled or (), (200, 200))

    async def test_refused_by_the_origin(self) -> None:
        """A refusal reaches the client with its status and its content."""
        url = await self.between()
        refusal = await self.refusal(url + "/forbidden")
        self.assertEqual((refusal.status_code, refusal.body), (403, b"not here\n"))
        self.assertIn("fwd=bypass; fwd-status=403; detail=upgrade", refusal.headers["Cache-Status"])

    async def test_gate(self) -> None:
        """Who shows no key is refused before the origin hears of it; who shows it gets in, and the key stays here."""
        url = await self.between(security={"secure_key": KEY})
        self.assertEqual((await self.refusal(url)).status_code, 403)
        self.assertEqual(self.requests, [])
        ways: list[tuple[str, dict[str, str]]] = [
            (url + "/?a=1", {"X-Proxy-Key": KEY}),
            (f"{url}/?proxy_key={KEY}&a=1", {}),
            (url.replace("/api", f"/{KEY}/api") + "/?a=1", {}),
        ]
        for way, fields in ways:
            await self.talk(way, lambda client: client.ping(), additional_headers=fields)
            self.assertEqual(self.requests[-1].path, "/?a=1")
            self.assertNotIn(KEY, str(self.requests[-1]))

    async def refusal(self, url: str) -> Any:
        """Return the response by which a handshake at `url` is refused."""
        waiting = self.talk(url, lambda client: None)
        try:
            await waiting
        except InvalidStatus as refusal:
            return refusal.response
        raise AssertionError("the handshake succeeded")


class EndTests(WebSocketTestCase):
    """How a conversation ends."""

    async def close_code(self, say: Callable[[ClientConnection], None]) -> tuple[int, str, bool]:
        """Return the code and the reason of the close after `say`, and whether it was in order."""

        def ending(client: ClientConnection) -> tuple[int, str, bool]:
            say(client)
            try:
                client.recv()
            except ConnectionClosed as closed:
                frame = closed.rcvd
                return (frame.code, frame.reason, True) if frame else (1006, "", False)
            raise AssertionError("it goes on")

        result: tuple[int, str, bool] = await self.talk(await self.between(), ending)
        return result

    async def test_by_the_origin(self) -> None:
        """The origin's close code and reason reach the client."""
        self.assertEqual(await self.close_code(lambda client: client.send("go")), (4001, "as you say", True))
        await self.outcome()

    async def test_by_the_client(self) -> None:
        """The client's close code reaches the origin, which answers it, and both connections are closed."""
        self.assertEqual(await self.close_code(partial(_close, code=4002)), (4002, "enough", True))
        await self.comes_true(lambda: not self.site.in_progress)

    async def test_origin_dies(self) -> None:
        """An origin that is gone without a close frame leaves the client with an abnormal closure."""
        self.assertEqual(await self.close_code(lambda client: client.send("die")), (1006, "", False))
        self.assertEqual((await self.outcome()).reason, "")

    async def test_cut_by_the_proxy(self) -> None:
        """A client that is cut off learns so."""
        url = await self.between(timeouts={"tunnel_total": "5s"})

        def waiting(client: ClientConnection) -> bool:
            self.reactor.callFromThread(self.clock.advance, 5)
            try:
                client.recv()
            except ConnectionClosedError:
                return True
            return False

        self.assertTrue(await self.talk(url, waiting))
        self.assertIn("tunnel_total", (await self.outcome()).reason)


def _close(client: ClientConnection, code: int) -> None:
    client.close(code, "enough")


class ProcessTests(WebSocketTestCase):
    """The proxy as a process."""

    async def test_terminated(self) -> None:
        """SIGTERM ends an open WebSocket once it is quiet, and then the proxy, with status 0; the log has no query."""
        directory = self.directory()
        upstream = self.listening(Authority(directory).issue("localhost"))
        options = ("--port", "tcp:0", "--cache", ":memory:", "--map", f"api={upstream}")
        program = twistd("buddyproxy", *options, directory=directory)
        self.addCleanup(program.end)
        await program.wait_for("listens on ")
        listens = re.search(r"http(://127\.0\.0\.1:\d+)", program.said)
        assert listens is not None

        def until_the_end(client: ClientConnection) -> bool:
            client.send("hello")
            assert client.recv() == "hello"
            self.reactor.callFromThread(program.signal, "TERM")
            try:
                client.recv()
            except ConnectionClosedError:
                return True
            return False

        self.assertTrue(await self.talk(f"ws{listens[1]}/api/a?token=secret", until_the_end))
        self.assertEqual(await program.exit_code(), 0, program.said)
        line = r"GET api /a 101 upgrade \d+\.\d ms \(\d+ bytes up, \d+ down; buddyproxy stops\)"
        self.assertRegex(program.said, line)
        self.assertNotIn("secret", program.said)
