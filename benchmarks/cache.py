"""The core's figures: what deciding about one request costs, with nothing read, written or sent."""

from collections.abc import Callable, Sequence
from statistics import median
from time import process_time
from typing import TypeVar

from attrs import evolve

from benchmarks.report import Figure, progress
from buddyproxy.cache.choose import Forward, Reuse, choose
from buddyproxy.cache.conclude import Arrival, Store, conclude
from buddyproxy.cache.policy import Policy
from buddyproxy.message import Headers, Request, Response

T = TypeVar("T")

NOW = 1_800_000_000.0

_AT_ONCE = 50
POLICY = Policy("openai", targeted=(b"cdn-cache-control",))
URI = b"https://api.example.com/v1/models"
ASKED = (
    (b"Host", b"api.example.com"),
    (b"User-Agent", b"OpenAI/Python 2.8.0"),
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"gzip, deflate"),
    (b"Accept-Language", b"en"),
    (b"X-Stainless-Lang", b"python"),
    (b"X-Stainless-OS", b"Linux"),
    (b"X-Stainless-Arch", b"x64"),
    (b"X-Stainless-Runtime", b"CPython"),
    (b"X-Stainless-Retry-Count", b"0"),
)
ANSWERED = (
    (b"Date", b"Fri, 15 Jan 2027 08:00:00 GMT"),
    (b"Content-Type", b"application/json"),
    (b"Content-Length", b"1024"),
    (b"Cache-Control", b"public, max-age=3600"),
    (b"ETag", b'"0123456789abcdef"'),
    (b"Last-Modified", b"Thu, 14 Jan 2027 08:00:00 GMT"),
    (b"Vary", b"Accept-Encoding"),
    (b"Server", b"cloudflare"),
    (b"X-Request-Id", b"0123456789abcdef0123456789abcdef"),
    (b"Strict-Transport-Security", b"max-age=31536000"),
)


def measure(rounds: int, count: int) -> list[Figure]:
    """Return the figures: of each the median of `rounds`, in which `count` requests are decided about."""
    progress(f"deciding about {count:,} requests, {rounds} times")
    choosing = [timed(_choosing(), _request, count) for _ in range(rounds)]
    concluding = [timed(_concluding, _arrival, count) for _ in range(rounds)]
    together = [sum(pair) for pair in zip(choosing, concluding, strict=True)]
    return [
        Figure("choosing a fresh stored response", median(choosing), "us"),
        Figure("concluding that a response is to be stored", median(concluding), "us"),
        Figure.at_most("both together, ten header fields each", median(together), 30, "us"),
    ]


def timed(decide: Callable[[T], object], make: Callable[[], T], count: int) -> float:
    """Return what one call of `decide` takes of the processor, in microseconds.

    Each call has an argument that nobody looked at before, and that was made just before, as every request is.
    """
    spent = 0.0
    for _ in range(0, count, _AT_ONCE):
        arguments: Sequence[T] = [make() for _ in range(_AT_ONCE)]
        started = process_time()
        for argument in arguments:
            decide(argument)
        spent += process_time() - started
    return 1e6 * spent / (-(-count // _AT_ONCE) * _AT_ONCE)


def _request() -> Request:
    return Request(b"GET", b"/v1/models", Headers(ASKED))


def _arrival() -> Arrival:
    response = Response(200, Headers(ANSWERED), b"OK")
    return Arrival(_request(), URI, b"k" * 32, response, request_time=NOW, response_time=NOW)


def _concluding(arrival: Arrival) -> None:
    conclusion = conclude(arrival, Forward("uri-miss"), POLICY)
    assert isinstance(conclusion, Store)


def _choosing() -> Callable[[Request], None]:
    """Return what chooses among the responses stored of one key: one that stays in memory."""
    conclusion = conclude(_arrival(), Forward("uri-miss"), POLICY)
    assert isinstance(conclusion, Store)
    stored = (evolve(conclusion.draft, body=b"x" * 1024),)

    def choosing(request: Request) -> None:
        choice = choose(request, stored, POLICY, NOW + 60)
        assert isinstance(choice, Reuse)

    return choosing
