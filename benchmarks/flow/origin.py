"""The origin, in a process of its own: `python -m benchmarks.flow.origin` prints its port, and ends with its input.

It reads as much of HTTP/1.1 as it must, so that it has time left where the proxy has none. What it sends is said by the
request-target, whose query has the numbers:

    GET /stream/NAME?chunks=N&rate=R   N events at R a second, each in a chunk and with the time it was sent
    GET /slow/NAME?seconds=S           1 KB after S seconds
    GET /small/NAME                    1 KB at once
    GET /large/NAME?bytes=N            N bytes, as fast as they are taken
    PUT or POST /upload/NAME           1 KB once all of the content is here
    GET /seen/PATH                     what this origin knows of the requests for /PATH: `Seen`, as JSON
"""

import asyncio
import json
import sys
from asyncio import StreamReader, StreamWriter
from collections import defaultdict
from hashlib import sha256
from time import monotonic, monotonic_ns
from urllib.parse import parse_qsl, urlsplit

from attrs import asdict, define

BACKLOG = 4096
BLOCK = bytes(256 * 1024)
SMALL = json.dumps({"text": "x" * 1000}).encode()
PADDING = b"x" * 64
"""With the time before it, an event is about as long as those that bring a completion word by word."""


@define
class Seen:
    """What came of the requests for one path."""

    requests: int = 0
    being_answered: int = 0
    sent: int = 0
    """Bytes of content that the operating system has taken."""
    digest: str = ""
    """SHA-256 of the content of the last stream that was sent to its end."""


async def converse(reader: StreamReader, writer: StreamWriter, all_seen: dict[str, Seen]) -> None:
    """Answer what is asked on one connection, until the other end closes it."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            target = urlsplit(head.split(b" ", 2)[1].decode())
            if target.path.startswith("/seen/"):
                seen = all_seen[target.path.removeprefix("/seen")]
                send_whole(writer, json.dumps(asdict(seen)).encode())
                continue
            seen = all_seen[target.path]
            seen.requests += 1
            seen.being_answered += 1
            try:
                await skip_content(reader, head)
                await answer(writer, target.path, dict(parse_qsl(target.query)), seen)
            finally:
                seen.being_answered -= 1
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.transport.abort()


async def skip_content(reader: StreamReader, head: bytes) -> None:
    """Read the content of the request with that head."""
    fields = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    left = next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)
    while left:
        block = await reader.read(min(left, len(BLOCK)))
        if not block:
            raise ConnectionError
        left -= len(block)


async def answer(writer: StreamWriter, path: str, query: dict[str, str], seen: Seen) -> None:
    """Send what is to be had under `path`."""
    match path.split("/")[1]:
        case "stream":
            await send_stream(writer, int(query["chunks"]), float(query["rate"]), seen)
        case "slow":
            await asyncio.sleep(float(query["seconds"]))
            send_whole(writer, SMALL)
        case "large":
            await send_large(writer, int(query["bytes"]), seen)
        case _:
            send_whole(writer, SMALL)


def send_whole(writer: StreamWriter, content: bytes) -> None:
    """Send a response with that content."""
    writer.write(head_of(b"Content-Type: application/json\r\nContent-Length: %d" % len(content)) + content)


async def send_stream(writer: StreamWriter, chunks: int, rate: float, seen: Seen) -> None:
    """Send `chunks` events at `rate` a second, the first at once and with the head."""
    digest = sha256()
    before = head_of(b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked")
    began = monotonic()
    for number in range(chunks):
        await asyncio.sleep(began + number / rate - monotonic())
        event = b"data: %d %b\n\n" % (monotonic_ns(), PADDING)
        writer.write(b"%b%x\r\n%b\r\n" % (before, len(event), event))
        before = b""
        digest.update(event)
        seen.sent += len(event)
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    seen.digest = digest.hexdigest()


async def send_large(writer: StreamWriter, count: int, seen: Seen) -> None:
    """Send `count` bytes."""
    writer.write(head_of(b"Content-Type: application/octet-stream\r\nContent-Length: %d" % count))
    handed = 0
    while handed < count:
        block = BLOCK[: count - handed]
        handed += len(block)
        writer.write(block)
        seen.sent = handed - writer.transport.get_write_buffer_size()
        await writer.drain()
    seen.sent = count


def head_of(fields: bytes) -> bytes:
    """Return the head of a response with those fields."""
    return b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n"


async def serve() -> None:
    """Serve until the standard input ends: with whoever started this process."""
    all_seen: dict[str, Seen] = defaultdict(Seen)

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        await converse(reader, writer, all_seen)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
