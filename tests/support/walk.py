"""Walks of requests through the whole proxy, in memory: origins' answers, and a test case with a proxy to ask."""

from collections.abc import Mapping

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request as ServerRequest

from buddyproxy.storage.memory import MemoryStorage
from tests.support.memory import Answerer, Fields, MemoryProxy, Origin, Reply


def answering(body: bytes = b"hello", status: int = 200, **fields: str) -> Answerer:
    """Return an origin's answer that is always the same; `fields` with underscores for hyphens."""

    def answer(request: ServerRequest) -> bytes:
        request.setResponseCode(status)
        for name, value in fields.items():
            request.setHeader(name.replace("_", "-").encode(), value.encode())
        return body

    return answer


def validating(etag: str, body: bytes = b"hello", **fields: str) -> Answerer:
    """Return an answer that is conditional on an entity tag, as origins give it."""

    def answer(request: ServerRequest) -> bytes:
        for name, value in {"etag": etag, **fields}.items():
            request.setHeader(name.replace("_", "-").encode(), value.encode())
        if request.getHeader(b"if-none-match") == etag.encode():
            request.setResponseCode(304)
            return b""
        return body

    return answer


class WalkTests(SynchronousTestCase):
    """A proxy with one mapping, and an origin whose answer each test gives."""

    def start(
        self,
        answer: Answerer,
        storage: MemoryStorage | None = None,
        others: Mapping[str, Origin] | None = None,
        **settings: object,
    ) -> None:
        """Start a proxy; `settings` are sections of the configuration, `api` those of the mapping.

        `others` are origins beside the one that answers, by host.
        """
        self.origin = Origin(answer)
        mapping = {"upstream": "http://origin.example/base", **settings.pop("api", {})}  # type: ignore[dict-item]
        self.proxy = MemoryProxy(self.origin, {"domain_mappings": {"api": mapping}, **settings}, storage, others)

    def ask(self, target: str = "/api/a", method: str = "GET", fields: Fields = (), body: bytes = b"") -> Reply:
        """Ask the proxy."""
        return self.proxy.ask(target, method=method, fields=fields, body=body)

    def words(self, *requests: Reply) -> list[str]:
        """Return how the cache handled each request."""
        return [reply.word for reply in requests]
