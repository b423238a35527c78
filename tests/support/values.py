"""Short ways to write down what tests speak of: header fields, messages, stored responses, policies, moments."""

from email.utils import formatdate
from hashlib import sha256

from attrs import define
from hypothesis import settings
from hypothesis import strategies as st

from buddyproxy.cache.conclude import Arrival
from buddyproxy.cache.policy import BUDDY_TTL, IMPLIED, Policy
from buddyproxy.cache.stored import Selecting, StoredResponse
from buddyproxy.message import Headers, Request, Response

NOW = 1_800_000_000.0
"""The moment at which things happen: Fri, 15 Jan 2027 08:00:00 GMT."""

URI = b"https://origin.example/thing"

RFC9111 = Policy("m", targeted=(b"cdn-cache-control",))
BUDDY = Policy(
    "m",
    default_ttl=BUDDY_TTL,
    methods=frozenset({b"GET", b"POST", b"QUERY"}),
    partition=True,
    shared=False,
    keep_set_cookie=False,
    store_errors=False,
    implied=IMPLIED,
    any_coding=True,
    targeted=(b"cdn-cache-control",),
)

properties = settings(derandomize=True, database=None, max_examples=200, deadline=None)
"""How properties are checked: alike on every run, with nothing left on the disk."""

tokens = st.text("abcdefghijklmnopqrstuvwxyzABCXYZ0123456789-_.!~", min_size=1, max_size=12).map(str.encode)
"""Names of fields and directives (RFC 9110, 5.6.2)."""

field_values = st.binary(max_size=30)


def at(offset: float = 0) -> str:
    """Return the HTTP date `offset` seconds from `NOW`."""
    return formatdate(NOW + offset, usegmt=True)


def fields(*lines: str) -> Headers:
    """Return the header fields that `lines`, each `name: value`, write down."""
    return Headers(tuple(_pair(line) for line in lines))


def _pair(line: str) -> tuple[bytes, bytes]:
    name, _, value = line.partition(":")
    return name.encode("latin-1"), value.strip().encode("latin-1")


@define
class Large:
    """Content that is taken to be too large for memory (`message.LargeContent`)."""

    octets: bytes
    holders: int = 0
    """How many hold it now; -1 after the last has let go of it."""

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the whole."""
        return sha256(self.octets).digest()

    def __len__(self) -> int:
        return len(self.octets)

    def __getitem__(self, part: slice) -> bytes:
        assert self.holders >= 0, "it is gone"
        return self.octets[part]

    def hold(self) -> None:
        """Count one more."""
        assert self.holders >= 0, "it is gone"
        self.holders += 1

    def release(self) -> None:
        """Count one less; after the last, it is gone."""
        self.holders = self.holders - 1 or -1


def get(*lines: str) -> Request:
    """Return a GET request with the header fields `lines`."""
    return Request(b"GET", b"/thing", fields(*lines))


def post(body: bytes | Large, *lines: str) -> Request:
    """Return a POST request with the content `body` and the header fields `lines`."""
    return Request(b"POST", b"/thing", fields(*lines), body)


def answer(*lines: str, status: int = 200) -> Response:
    """Return the head of a response with the header fields `lines`."""
    return Response(status, fields(*lines))


def arriving(request: Request, response: Response, took: float = 0.0) -> Arrival:
    """Return the arrival, at `NOW`, of `response` to a request that was sent `took` seconds before."""
    return Arrival(
        request=request, uri=URI, key=b"k" * 32, response=response, request_time=NOW - took, response_time=NOW
    )


def kept(*lines: str, age: float = 0.0, selecting: Selecting = (), status: int = 200) -> StoredResponse:
    """Return a stored response with the header fields `lines`, which arrived `age` seconds before `NOW`."""
    return StoredResponse(
        key=b"k" * 32,
        selecting=selecting,
        mapping="m",
        method=b"GET",
        uri=URI,
        response=answer(*lines, status=status),
        body=b"hello",
        request_time=NOW - age,
        response_time=NOW - age,
        expires=0.0,
        remove_after=0.0,
    )
