"""A stand-in for an HTTP API, for tests that run the real thing: `python -m tests.support.api_origin`.

Listens on 127.0.0.1, with TLS if there is `--cert` (a PEM file of key and certificate), on `--port` (0, the default:
any that is free). The first line it prints is JSON: `{"port": 12345}`. It ends when its standard input is closed, so
that none is left behind.

| request | answer |
|---|---|
| `GET /v1/models` | a list of models; `?cache_control=max-age%3D60` becomes its `Cache-Control` |
| `POST /v1/chat/completions` | a chat completion, in events where `"stream": true` says so; cut short by `max_tokens` |
| `GET /slow?seconds=2` | `begun`, and `finished` after that time or after `POST /finish`; else only after that |
| `GET /gzip` | JSON, in gzip whoever asks |
| `GET /set-cookie` | a cookie that is different each time |
| `GET /redirect` | 302, to `/echo` |
| any method `/echo` | JSON: the method, the exact request-target, the fields as received, the content |
| `GET /count` | JSON: how many requests each path has had |
| `GET /requests` | JSON: every request, as `/echo` would have it |
"""

import argparse
import gzip
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint, wrapServerTLS
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.stdio import StandardIO
from twisted.internet.task import react
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.support.certificates import Certificate

PACE = 0.01
"""Seconds between the events of a stream."""


class _Asked(Request):
    """A request that remembers its fields as they came."""

    def __init__(self, channel: HTTPChannel, queued: bool = False) -> None:
        super().__init__(channel, queued)
        self.fields: list[tuple[str, str]] = []

    def described(self) -> dict[str, Any]:
        return {
            "method": self.method.decode("latin-1"),
            "target": self.uri.decode("latin-1"),
            "headers": self.fields,
            "body": self.content.read().decode("latin-1") if self.content else "",
        }


class _Channel(HTTPChannel):
    def headerReceived(self, line: bytes) -> bool:
        name, _, value = line.partition(b":")
        self.requests[-1].fields.append((name.decode("latin-1"), value.strip().decode("latin-1")))
        return super().headerReceived(line)


class ApiOrigin(Resource):
    """The API, as one resource: paths are looked at as they were received."""

    isLeaf = True

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self.requests: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        self._slow: list[Callable[[], None]] = []

    def site(self) -> Site:
        site = Site(self, requestFactory=_Asked, parsePOSTFormSubmission=False)
        site.protocol = _Channel
        site.noisy = False
        return site

    def render(self, request: _Asked) -> bytes | int:
        path = request.uri.partition(b"?")[0].decode("latin-1")
        asked = request.described()
        if path not in ("/count", "/requests"):
            self.counts[path] += 1
            self.requests.append(asked)
        answers: dict[str, Callable[[_Asked, dict[str, Any]], bytes | int]] = {
            "/v1/models": self._models,
            "/v1/chat/completions": self._completion,
            "/slow": self._begin,
            "/finish": self._finish,
            "/gzip": self._gzip,
            "/set-cookie": self._set_cookie,
            "/redirect": self._redirect,
            "/echo": _json_of(lambda: asked),
            "/count": _json_of(lambda: self.counts),
            "/requests": _json_of(lambda: self.requests),
        }
        return answers.get(path, self._unknown)(request, asked)

    def _models(self, request: _Asked, asked: dict[str, Any]) -> bytes:
        for value in request.args.get(b"cache_control", ()):
            request.setHeader(b"cache-control", value)
        model = {"id": "model-1", "object": "model", "created": 1700000000, "owned_by": "tests"}
        return _json(request, {"object": "list", "data": [model]})

    def _completion(self, request: _Asked, asked: dict[str, Any]) -> bytes | int:
        question = json.loads(asked["body"])
        number = self.counts["/v1/chat/completions"]
        common = {"id": f"chatcmpl-{number}", "created": int(time.time()), "model": question["model"]}
        words = ["Answer ", f"{number} ", "to: ", str(question["messages"][-1]["content"])]
        if question.get("stream"):
            return self._stream(request, common, words, "length" if "max_tokens" in question else "stop")
        message = {"role": "assistant", "content": "".join(words), "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}
        return _json(request, {**common, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _stream(self, request: _Asked, common: dict[str, Any], words: list[str], reason: str) -> int:
        request.setHeader(b"content-type", b"text/event-stream")
        deltas: list[dict[str, Any]] = [
            {"role": "assistant", "content": ""},
            *({"content": word} for word in words),
            {},
        ]
        events = []
        for delta in deltas:
            choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None if delta else reason}
            events.append(json.dumps({**common, "object": "chat.completion.chunk", "choices": [choice]}))
        gone = _departure(request)
        self._send_events(request, [*events, "[DONE]"], gone)
        return NOT_DONE_YET

    def _send_events(self, request: _Asked, events: list[str], gone: list[Any]) -> None:
        if gone:
            return
        request.write(b"data: " + events[0].encode("ascii") + b"\n\n")
        if len(events) > 1:
            self._reactor.callLater(PACE, self._send_events, request, events[1:], gone)
        else:
            request.finish()

    def _begin(self, request: _Asked, asked: dict[str, Any]) -> int:
        request.setHeader(b"content-type", b"text/plain")
        request.write(b"begun\n")
        gone = _departure(request)

        def finish() -> None:
            if finish in self._slow:
                self._slow.remove(finish)
                if not gone:
                    request.write(b"finished\n")
                    request.finish()

        self._slow.append(finish)
        for seconds in request.args.get(b"seconds", ()):
            self._reactor.callLater(float(seconds), finish)
        return NOT_DONE_YET

    def _finish(self, request: _Asked, asked: dict[str, Any]) -> bytes:
        finished = list(self._slow)
        for finish in finished:
            finish()
        return _json(request, {"finished": len(finished)})

    def _gzip(self, request: _Asked, asked: dict[str, Any]) -> bytes:
        request.setHeader(b"content-encoding", b"gzip")
        return gzip.compress(_json(request, {"compressed": True}), mtime=0)

    def _set_cookie(self, request: _Asked, asked: dict[str, Any]) -> bytes:
        request.setHeader(b"set-cookie", b"session=%d; Path=/" % self.counts["/set-cookie"])
        return _json(request, {"cookie": self.counts["/set-cookie"]})

    def _redirect(self, request: _Asked, asked: dict[str, Any]) -> bytes:
        request.redirect(b"/echo")
        return b""

    def _unknown(self, request: _Asked, asked: dict[str, Any]) -> bytes:
        request.setResponseCode(404)
        return _json(request, {"error": {"message": "there is no such path", "type": "invalid_request_error"}})


def _json(request: Request, value: Any) -> bytes:
    request.setHeader(b"content-type", b"application/json")
    return json.dumps(value).encode("ascii")


def _json_of(value: Callable[[], Any]) -> Callable[[_Asked, dict[str, Any]], bytes]:
    return lambda request, asked: _json(request, value())


def _departure(request: Request) -> list[Any]:
    """Return a list that is empty as long as the one who asked is there."""
    gone: list[Any] = []
    request.notifyFinish().addErrback(gone.append)
    return gone


class _Lifeline(Protocol):
    """Standard input: its end is ours."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(None)


async def main(reactor: Any, *arguments: str) -> None:
    """Listen, say where, and serve until standard input is closed."""
    parser = argparse.ArgumentParser(description="A stand-in for an HTTP API.")
    parser.add_argument("--cert", help="a PEM file of key and certificate; without it, no TLS")
    parser.add_argument("--port", type=int, default=0)
    options = parser.parse_args(arguments)
    endpoint: Any = TCP4ServerEndpoint(reactor, options.port, interface="127.0.0.1", backlog=1024)
    if options.cert:
        endpoint = wrapServerTLS(Certificate(options.cert).shown(), endpoint, reactor)
    listening = await endpoint.listen(ApiOrigin(reactor).site())
    sys.stdout.write(json.dumps({"port": listening.getHost().port}) + "\n")
    sys.stdout.flush()
    lifeline = _Lifeline()
    StandardIO(lifeline)
    await lifeline.ended


if __name__ == "__main__":
    react(main, sys.argv[1:])
