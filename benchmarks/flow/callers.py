"""The callers, in a process of their own: `python -m benchmarks.flow.callers NAME URL NUMBERS...` prints JSON.

They read as much of HTTP/1.1 as they must, and take the time of a chunk as soon as its bytes are in this process.
"""

import asyncio
import json
import random
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from hashlib import sha256
from statistics import median, quantiles
from time import monotonic, monotonic_ns, process_time
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen

BLOCK = 256 * 1024
SETTLE = 0.3
"""Seconds after which open connections are accepted, too."""

Take = Callable[[bytes], None]


def _ignore(content: bytes) -> None:
    """Take content that is of no interest."""


@frozen
class Place:
    """Where to ask."""

    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> "Place":
        """Return the place of `url`, a prefix of paths."""
        parts = urlsplit(url)
        return cls(parts.hostname or "", parts.port or 80, parts.path)

    def head(self, target: str, method: str = "GET", *fields: str) -> bytes:
        """Return the head of a request for `target`."""
        lines = [f"{method} {self.path}{target} HTTP/1.1", f"Host: {self.host}:{self.port}", *fields, "", ""]
        return "\r\n".join(lines).encode()


class Caller(asyncio.Protocol):
    """A connection to ask on, one request after the other."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._buffer = bytearray()
        self._left: int | None = None
        """How much of the content is to come; None where it comes in chunks."""
        self._in_head = True
        self._take: Take = _ignore
        self._done: asyncio.Future[None] | None = None
        """None while nothing is under way."""

    @classmethod
    async def connect(cls, place: Place) -> "Caller":
        """Return a new connection to `place`."""
        _, caller = await asyncio.get_running_loop().create_connection(lambda: cls(place), place.host, place.port)
        return caller

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def ask(self, target: str, take: Take) -> "asyncio.Future[None]":
        """Ask for `target`, hand the content to `take` as it comes; the future is done when it was all."""
        self._take = take
        self._done = done = asyncio.get_running_loop().create_future()
        self._in_head = True
        self._transport.write(self._place.head(target))
        return done

    def close(self) -> None:
        """Leave, whatever is under way."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._in_head:
            self._read_head()
        if not self._in_head:
            if self._left is None:
                self._read_chunks()
            else:
                self._read_content()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None:
            self._done.set_exception(ConnectionError("closed before the end of the answer"))

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        status, *lines = bytes(self._buffer[:end]).lower().split(b"\r\n")
        if status.split()[1] != b"200":
            raise ValueError(status)
        fields = dict(line.split(b": ", 1) for line in lines)
        self._left = int(fields[b"content-length"]) if b"content-length" in fields else None
        self._in_head = False
        del self._buffer[: end + 4]

    def _read_content(self) -> None:
        assert self._left is not None
        self._left -= len(self._buffer)
        self._take(bytes(self._buffer))
        self._buffer.clear()
        if not self._left:
            self._finish()

    def _read_chunks(self) -> None:
        while (end := self._buffer.find(b"\r\n")) >= 0:
            size = int(self._buffer[:end], 16)
            if len(self._buffer) < end + size + 4:
                return
            content = bytes(self._buffer[end + 2 : end + 2 + size])
            del self._buffer[: end + size + 4]
            if not size:
                self._finish()
                return
            self._take(content)

    def _finish(self) -> None:
        done, self._done = self._done, None
        assert done is not None, "more came than was asked for"
        done.set_result(None)


@define
class Delays:
    """How long each event of a stream was on its way."""

    first: list[float] = field(factory=list)
    later: list[float] = field(factory=list)

    def of_stream(self) -> Take:
        """Return what takes the content of one stream."""
        rest, seen = b"", self.first

        def take(content: bytes) -> None:
            nonlocal rest, seen
            arrived = monotonic_ns()
            *events, rest = (rest + content).split(b"\n\n")
            for event in events:
                seen.append((arrived - int(event.split(b" ", 2)[1])) / 1e6)
                seen = self.later

        return take


def summary(milliseconds: list[float]) -> dict[str, float]:
    """Return the middle and the end of many measurements."""
    return {"median": median(milliseconds), "p99": quantiles(milliseconds, n=100)[98], "count": len(milliseconds)}


async def streams(place: Place, name: str, count: str, chunks: str, rate: str, times: str) -> object:
    """Read `count` streams at any time, each caller `times` one after the other; return how late their events came.

    The streams begin at random moments, so that their events do not keep step with one another.
    """
    delays = Delays()
    length = int(chunks) / float(rate)

    async def read(number: int) -> None:
        await asyncio.sleep(random.uniform(0, length))
        caller = await Caller.connect(place)
        for turn in range(int(times)):
            target = f"/stream/{name}-{number}-{turn}?chunks={chunks}&rate={rate}"
            await caller.ask(target, delays.of_stream())
        caller.close()

    worked, began = process_time(), monotonic()
    await asyncio.gather(*(read(number) for number in range(int(count))))
    work = (process_time() - worked) / (monotonic() - began)
    assert len(delays.first) + len(delays.later) == int(count) * int(chunks) * int(times)
    return {"first": summary(delays.first), "later": summary(delays.later), "work": work}


async def together(place: Place, target: str, count: str) -> object:
    """Ask for one thing `count` times at once; return when the last had it, in seconds, and how many answers differ."""
    callers = [await Caller.connect(place) for _ in range(int(count))]
    await asyncio.sleep(SETTLE)
    contents = [bytearray() for _ in callers]
    began = monotonic()
    await asyncio.gather(
        *(caller.ask(target, content.extend) for caller, content in zip(callers, contents, strict=True))
    )
    return {"seconds": monotonic() - began, "different": len(set(map(bytes, contents)))}


async def joining(place: Place, target: str, count: str, seconds: str) -> object:
    """Ask for one stream `count` times within so many seconds; return the digests of what was received."""

    async def join(caller: Caller, delay: float) -> str:
        digest = sha256()
        await asyncio.sleep(delay)
        await caller.ask(target, digest.update)
        return digest.hexdigest()

    callers = [await Caller.connect(place) for _ in range(int(count))]
    delays = [0.0, *(random.uniform(0, float(seconds)) for _ in callers[1:])]
    digests = await asyncio.gather(*map(join, callers, delays))
    return {"digests": {digest: digests.count(digest) for digest in set(digests)}}


async def hits(place: Place, count: str) -> object:
    """Ask for what is stored `count` times, one after the other; return how long each took."""
    return await _asking(place, ["/small/known"] * (int(count) + 1))


async def misses(place: Place, name: str, count: str) -> object:
    """Ask for `count` things that nobody has asked for, one after the other; return how long each took."""
    return await _asking(place, [f"/small/{name}-{number}" for number in range(int(count) + 1)])


async def _asking(place: Place, targets: Sequence[str]) -> object:
    """Ask for all of `targets`; the first does not count, as it may open connections, or store what is then hit."""
    caller, took = await Caller.connect(place), []
    for target in targets:
        began = monotonic_ns()
        await caller.ask(target, _ignore)
        took.append((monotonic_ns() - began) / 1e6)
    caller.close()
    return summary(took[1:])


async def dripping(place: Place, name: str, count: str) -> object:
    """Read `count` streams of an event a second, until ended; say when all have begun."""
    begun = asyncio.Semaphore(0)
    for number in range(int(count)):
        caller = await Caller.connect(place)
        caller.ask(f"/stream/{name}-{number}?chunks=1000000&rate=1", lambda _: begun.release())
        await asyncio.sleep(1 / int(count))
    for _ in range(int(count)):
        await begun.acquire()
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    return None


async def download(place: Place, target: str, most: str, stall: str) -> object:
    """Read at most so many bytes, wait for so many seconds, and leave; return how long the reading took."""
    with socket.create_connection((place.host, place.port)) as connection:
        connection.sendall(place.head(target))
        began, left = monotonic(), int(most)
        while left > 0 and (block := connection.recv(min(left, BLOCK))):
            left -= len(block)
        took = monotonic() - began
        await asyncio.sleep(float(stall))
    return {"seconds": took}


async def upload(place: Place, method: str, target: str, count: str) -> object:
    """Send `count` bytes; return how many seconds passed until there was an answer, and its status."""
    block, left = bytes(BLOCK), int(count)
    with socket.create_connection((place.host, place.port)) as connection:
        began = monotonic()
        connection.sendall(place.head(target, method, f"Content-Length: {left}", "Content-Type: application/binary"))
        while left > 0:
            connection.sendall(block[:left])
            left -= BLOCK
        status = connection.recv(BLOCK).split()[1]
    return {"seconds": monotonic() - began, "status": int(status)}


CALLERS: dict[str, Callable[..., Coroutine[Any, Any, object]]] = {
    "download": download,
    "dripping": dripping,
    "hits": hits,
    "joining": joining,
    "misses": misses,
    "streams": streams,
    "together": together,
    "upload": upload,
}


def main() -> None:
    """Run the caller that is named, and print what it returns."""
    name, url, *numbers = sys.argv[1:]
    print(json.dumps(asyncio.run(CALLERS[name](Place.of(url), *numbers))))


if __name__ == "__main__":
    main()
