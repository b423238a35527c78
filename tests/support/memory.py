"""The whole proxy in memory: a real resource tree between a caller's bytes and an origin, by a test's clock."""

from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPResponse
from io import BytesIO
from typing import Any

from attrs import frozen
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.web.resource import Resource
from twisted.web.server import Request as ServerRequest
from twisted.web.server import Site
from zope.interface import implementer

from buddyproxy.config import Config
from buddyproxy.metrics import Metrics, Outcome
from buddyproxy.service.assembly import Assembly, gate_of
from buddyproxy.storage import Storage
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.upstream import Upstream
from buddyproxy.web.site import ProxySite

CALLER = IPv4Address("TCP", "127.0.0.1", 40000)

Fields = Sequence[tuple[str, str]]
Answerer = Callable[[ServerRequest], bytes | int]


@frozen
class Reply:
    """What a caller got."""

    status: int
    fields: tuple[tuple[str, str], ...]
    body: bytes

    def __getitem__(self, name: str) -> str | None:
        """Return the value of the field `name`, several joined by commas; None where there is none."""
        values = [value for given, value in self.fields if given.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def word(self) -> str:
        """How the cache handled the request: the first parameter of our Cache-Status member."""
        member = (self["Cache-Status"] or "").rpartition("buddyproxy; ")[2]
        return member.partition(";")[0]


class Origin(Resource):
    """An origin whose answers a test gives as a function of the request; it keeps what it was asked."""

    isLeaf = True

    def __init__(self, answer: Answerer) -> None:
        super().__init__()
        self.answer = answer
        self.asked: list[tuple[bytes, bytes]] = []
        self.statuses: list[int] = []
        self.requests: list[ServerRequest] = []

    def render(self, request: ServerRequest) -> bytes | int:
        """Answer, and keep what was asked."""
        request.defaultContentType = None
        request.responseHeaders.removeHeader(b"server")
        self.asked.append((request.method, request.uri))
        self.requests.append(request)
        result = self.answer(request)
        self.statuses.append(request.code)
        if isinstance(result, bytes):
            request.responseHeaders.setRawHeaders(b"content-length", [b"%d" % len(result)])
        return result


class _Transport(FakeTransport):
    """A transport in memory, as our own connections use one."""

    def __init__(self, protocol: Any, isServer: bool) -> None:
        super().__init__(protocol, isServer, CALLER, CALLER)

    def getHandle(self) -> Any:
        """Return a socket that has nothing to say."""
        return self

    def recv(self, size: int, flags: int) -> bytes:
        """Say that there is nothing to read."""
        raise BlockingIOError


@implementer(IStreamClientEndpoint)
class MemoryEndpoint:
    """Leads to an origin's resource, in memory; whatever is sent waits for `flush`."""

    def __init__(self, origin: Resource, clock: Clock) -> None:
        self._site = Site(origin, reactor=clock, parsePOSTFormSubmission=False)
        self._pumps: list[IOPump] = []
        self.failure: Exception | None = None
        """What connecting fails with, if it is to."""

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect."""
        if self.failure is not None:
            return fail(self.failure)
        client, server = protocolFactory.buildProtocol(CALLER), self._site.buildProtocol(CALLER)
        self._pumps.append(connect(server, _Transport(server, True), client, _Transport(client, False)))
        return succeed(client)

    def flush(self) -> None:
        """Deliver what was sent, in both directions, until nobody has anything more to say."""
        for pump in self._pumps:
            pump.flush()


class CountedMetrics(Metrics):
    """Metrics that also keep every outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Outcome] = []

    def observe(self, outcome: Outcome) -> None:
        """Keep the outcome too."""
        self.seen.append(outcome)
        super().observe(outcome)


class _Caller(StringTransportWithDisconnection):
    """A caller's transport, which knows how it was closed."""

    aborted = False

    def abortConnection(self) -> None:
        """Cut the connection."""
        self.aborted = True
        self.loseConnection()


class Connection:
    """A caller's connection to the proxy."""

    def __init__(self, site: ProxySite) -> None:
        self.transport = _Caller(peerAddress=CALLER)
        self.protocol: Any = site.buildProtocol(CALLER)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        """Let the proxy receive `data`."""
        self.protocol.dataReceived(data)

    def leave(self) -> None:
        """Close the connection from the caller's side."""
        self.transport.loseConnection()

    @property
    def received(self) -> bytes:
        """Everything the proxy sent so far."""
        return self.transport.value()


class MemoryProxy:
    """A proxy with one mapping, `api`, to an origin in memory at `http://origin.example/base`.

    `others` are origins at other hosts.
    """

    def __init__(
        self,
        origin: Resource,
        settings: Mapping[str, Any] | None = None,
        storage: Storage | None = None,
        others: Mapping[str, Resource] | None = None,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.endpoint = MemoryEndpoint(origin, self.clock)
        self.others = {host: MemoryEndpoint(other, self.clock) for host, other in (others or {}).items()}
        mapping = {"upstream": "http://origin.example/base"}
        given: dict[str, Any] = {"domain_mappings": {"api": mapping}, **(settings or {})}
        self.config = Config.from_mapping(given)
        self.storage = storage or MemoryStorage(2**20, 1000)
        self.metrics = CountedMetrics()
        upstream = Upstream(self.clock, endpoint_for=lambda origin: self.others.get(origin.host, self.endpoint))
        gate = gate_of(self.config.security)
        assembly = Assembly(self.config, gate, self.storage, upstream, self.metrics, self.clock, lambda: 0.0)
        limit = self.config.server.max_request_body
        self.site = ProxySite(assembly.resource(), self.clock, limit)

    def connect(self) -> Connection:
        """Return a new connection of a caller."""
        return Connection(self.site)

    def ask(self, target: str, *, method: str = "GET", fields: Fields = (), body: bytes = b"") -> Reply:
        """Send a request on a connection of its own, and return the reply."""
        connection = self.connect()
        connection.send(spell(method, target, fields, body))
        for endpoint in (self.endpoint, *self.others.values()):
            endpoint.flush()
        return parse(connection.received, method)


def spell(method: str, target: str, fields: Fields = (), body: bytes = b"") -> bytes:
    """Return a request as it stands on the wire."""
    lines = [f"{method} {target} HTTP/1.1", "Host: proxy.example", *(f"{name}: {value}" for name, value in fields)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def parse(data: bytes, method: str = "GET") -> Reply:
    """Return the response that `data` holds."""
    response = HTTPResponse(_Socket(data), method=method)  # type: ignore[arg-type]
    response.begin()
    body = response.read()
    return Reply(response.status, tuple(response.getheaders()), body)


class _Socket:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> BytesIO:
        """Return the data as a file, as `http.client` wants it."""
        return BytesIO(self._data)
