"""A proxy on real sockets in front of an origin that a test gives, and callers of it; time by a test's clock."""

from collections.abc import Callable
from typing import Any

from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    connectProtocol,
    wrapClientTLS,
    wrapServerTLS,
)
from twisted.internet.ssl import CertificateOptions

from buddyproxy.config import Config
from buddyproxy.metrics import Outcome
from buddyproxy.service.assembly import Assembly, gate_of
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.web.site import ProxySite
from tests.support.certificates import Authority, Certificate
from tests.support.memory import CountedMetrics
from tests.support.origin import Script, Talk
from tests.support.upstreams import UpstreamTestCase


class ProxyTestCase(UpstreamTestCase):
    """A proxy with one mapping, `api`."""

    secure = False
    """Whether `start` and `call` use TLS, on both sides."""

    async def serve(
        self,
        upstream: str,
        certificate: Certificate | None = None,
        security: dict[str, Any] | None = None,
        **mapping: Any,
    ) -> int:
        """Return the port of a proxy in front of `upstream`, with TLS if there is a `certificate`."""
        settings = {"domain_mappings": {"api": {"upstream": upstream, **mapping}}, "security": security or {}}
        config = Config.from_mapping(settings)
        self.metrics, self.storage = CountedMetrics(), MemoryStorage(2**20, 1000)
        gate = gate_of(config.security)
        assembly = Assembly(config, gate, self.storage, self.upstream, self.metrics, self.clock, lambda: 0.0)
        self.site = ProxySite(assembly.resource(), self.clock, config.server.max_request_body)
        endpoint: Any = TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1")
        if certificate is not None:
            endpoint = wrapServerTLS(certificate.shown(), endpoint, self.reactor)
        listening: Any = await endpoint.listen(self.site)
        self.addCleanup(self.site.drain)
        self.addCleanup(self.site.abort)
        self.addCleanup(listening.stopListening)
        port: int = listening.getHost().port
        return port

    async def start(self, script: Script, **settings: Any) -> None:
        """Start an origin that runs `script`, and a proxy in front of it."""
        if not self.secure:
            self.origin = await self.listen(script)
            self.port = await self.serve(f"http://{self.origin.host}:{self.origin.port}", **settings)
            return
        authority = Authority(self.directory())
        certificate = authority.issue("127.0.0.1")
        self.origin = await self.listen(script, certificate)
        upstream = f"https://{self.origin.host}:{self.origin.port}"
        self.port = await self.serve(upstream, certificate, ca_file=authority.ca_file, **settings)

    async def call(self) -> Talk:
        """Return a new connection to the proxy; who it is, is not looked at."""
        to: Any = TCP4ClientEndpoint(self.reactor, "127.0.0.1", self.port)
        if self.secure:
            to = wrapClientTLS(CertificateOptions(), to, self.reactor)
        talk: Talk = await connectProtocol(to, Talk())
        self.addCleanup(talk.gone)
        self.addCleanup(lambda: None if talk.lost else talk.reset())
        return talk

    async def comes_true(self, condition: Callable[[], object]) -> None:
        """Let the reactor do what it has to until `condition` holds."""
        while not condition():
            await self.turns(1)

    async def outcome(self) -> Outcome:
        """Wait for the one outcome there is and return it."""
        await self.comes_true(lambda: self.metrics.seen)
        [outcome] = self.metrics.seen
        return outcome
