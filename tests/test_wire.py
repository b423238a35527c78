"""The proxy between two sockets: what an origin sends, to the byte, and what the caller gets of it."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol

from buddyproxy.config import Config
from buddyproxy.metrics import Metrics
from buddyproxy.service.assembly import Assembly, gate_of
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.web.site import ProxySite
from tests.support.memory import spell
from tests.support.origin import Script, Talk
from tests.support.upstreams import OK, UpstreamTestCase

HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\n"
KEPT = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 2\r\n\r\nhi"


class WireTestCase(UpstreamTestCase):
    """A proxy with one mapping, `api`, in front of an origin that runs a script."""

    async def caller(self, script: Script, **mapping: Any) -> Talk:
        """Return a connection to a proxy in front of an origin; `mapping` are settings of the mapping."""
        self.origin = await self.listen(script)
        upstream = f"http://{self.origin.host}:{self.origin.port}"
        config = Config.from_mapping({"domain_mappings": {"api": {"upstream": upstream, **mapping}}})
        metrics, storage = Metrics(log_requests=False), MemoryStorage(2**20, 1000)
        assembly = Assembly(config, gate_of(config.security), storage, self.upstream, metrics, self.clock)
        site = ProxySite(assembly.resource(), metrics, self.clock, config.server.max_request_body)
        listening: Any = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(site)
        self.addCleanup(site.drain)
        self.addCleanup(listening.stopListening)
        to = TCP4ClientEndpoint(self.reactor, "127.0.0.1", listening.getHost().port)
        talk: Talk = await connectProtocol(to, Talk())
        self.addCleanup(talk.gone)
        self.addCleanup(talk.reset)
        return talk


class InterimTests(WireTestCase):
    """Responses before the response (RFC 9110, 15.2)."""

    async def test_as_they_come(self) -> None:
        """Each reaches the caller before the next is there, with its end-to-end fields; none is stored."""

        async def script(talk: Talk) -> None:
            await talk.request()
            talk.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nConnection: X-Private\r\n")
            talk.send(b"Link: </a>\r\nX-Private: 1\r\nLink: </b>\r\nKeep-Alive: 5\r\nContent-Length: 3\r\n\r\n")
            await hinted
            talk.send(b"HTTP/1.1 199 \xe9\r\n\r\n")
            await hinted_again
            talk.send(KEPT)

        hinted: Deferred[None] = Deferred()
        hinted_again: Deferred[None] = Deferred()
        caller = await self.caller(script)
        caller.send(spell("GET", "/api/a"))
        self.assertEqual(await caller.until(b"\r\n\r\n"), HINTS)
        hinted.callback(None)
        self.assertEqual(await caller.until(b"\r\n\r\n"), b"HTTP/1.1 199 \xe9\r\n\r\n")
        hinted_again.callback(None)
        self.assertRegex(await caller.until(b"\r\n\r\nhi"), rb"^HTTP/1.1 200 OK\r\n(?s:.)*fwd=uri-miss")
        caller.send(spell("GET", "/api/a"))
        head = await caller.until(b"\r\n\r\nhi")
        self.assertRegex(head, rb"^HTTP/1.1 200 OK\r\n(?s:.)*buddyproxy; hit")
        self.assertNotIn(b"Link", head)

    async def test_old_caller(self) -> None:
        """A caller that speaks HTTP/1.0 knows of none, and gets none."""
        caller = await self.caller(HINTS + OK)
        caller.send(b"GET /api/a HTTP/1.0\r\nHost: x\r\n\r\n")
        self.assertRegex(await caller.until(b"\r\n\r\nhi"), rb"^HTTP/1.0 200 OK\r\n")

    async def test_fields_changed(self) -> None:
        """What a mapping keeps from callers stays back here too, and references lead through the proxy."""
        hints = b"HTTP/1.1 103 Early Hints\r\nX-Inner: 1\r\nLocation: /a\r\n\r\n"
        caller = await self.caller(hints + OK, response_headers={"remove": ["X-Inner"]})
        caller.send(spell("GET", "/api/a"))
        self.assertEqual(await caller.until(b"\r\n\r\n"), b"HTTP/1.1 103 Early Hints\r\nLocation: /api/a\r\n\r\n")

    async def test_no_end(self) -> None:
        """An origin that sends nothing else has failed."""
        caller = await self.caller(HINTS * 33)
        caller.send(spell("GET", "/api/a"))
        for _ in range(32):
            self.assertEqual(await caller.until(b"\r\n\r\n"), HINTS)
        self.assertRegex(await caller.until(b"\r\n\r\n"), rb"^HTTP/1.1 502 Bad Gateway\r\n")
        self.assertIn(b"more than 32 interim responses", await caller.until(b"\n"))
