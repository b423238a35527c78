"""Whatever bytes come, in whatever pieces: an answer is read in one way, and the one who waits hears of its end."""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.iweb import IResponse

from buddyproxy.errors import UpstreamError
from buddyproxy.message import Origin, Response
from buddyproxy.upstream import Incoming, Timeouts
from buddyproxy.upstream.connection import Connection
from buddyproxy.upstream.failures import explained
from buddyproxy.upstream.incoming import head
from buddyproxy.upstream.patience import Patience
from buddyproxy.upstream.wire import WireHeaders, WireRequest
from tests.support.upstreams import Gathered

ORIGIN = Origin("http", "a.example", 80)

STATUS_LINES = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.0 404",
    b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 100 Continue",
    b"HTTP/1.1 103 Early Hints",
    b"HTTP/2 200",
    b"",
)
FIELDS = (
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"content-length: 5, 5",
    b"Content-Length: x",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Connection: close",
    b"A: b",
    b" folded",
    b"no field",
    b"Bad Name: x",
)
CONTENTS = (
    b"",
    b"hello",
    b"hello world",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"x\r\n",
    b"0\r\n\r\nmore",
    b"\0\r\n\n\r",
)

answers = st.builds(
    lambda heads, content: b"".join(heads) + content,
    st.lists(
        st.builds(
            lambda line, fields: b"\r\n".join([line, *fields, b"", b""]),
            st.sampled_from(STATUS_LINES),
            st.lists(st.sampled_from(FIELDS), max_size=4),
        ),
        max_size=2,
    ),
    st.sampled_from(CONTENTS) | st.binary(max_size=20),
)


class Outcome:
    """What became of one request."""

    def __init__(self, pieces: Iterable[bytes], reason: Exception) -> None:
        self.heads: list[Response] = []
        self.interims: list[Response] = []
        self.errors: list[str] = []
        self.sink = Gathered()
        self.kept = 0
        connection = Connection(Clock(), self._keep, lambda _: None)
        connection.makeConnection(StringTransport())
        request = WireRequest(b"GET", b"/", WireHeaders.of([(b"Host", b"a")]), None, self)
        connection.request(request).addCallbacks(self._answered, self._failed)
        for piece in pieces:
            if not connection.transport.disconnecting:
                connection.dataReceived(piece)
        connection.connectionLost(Failure(reason))

    def sent(self) -> None:
        pass

    def interim(self, response: IResponse) -> None:
        self.interims.append(head(response))

    def _keep(self, connection: Connection) -> None:
        self.kept += 1

    def _answered(self, arriving: Any) -> None:
        incoming = Incoming(arriving, ORIGIN, Patience(Clock(), Timeouts(0, 0, 0, 0, 0), ORIGIN))
        self.heads.append(incoming.response)
        incoming.start(self.sink)

    def _failed(self, failure: Failure) -> None:
        self.errors.append(str(explained(failure.value, ORIGIN)))

    def summary(self) -> tuple[object, ...]:
        ends = [str(end) if isinstance(end, UpstreamError) else end for end in self.sink.ends]
        return self.interims, self.heads, self.errors, self.sink.content, ends, self.kept


class ParsingTests(SynchronousTestCase):
    """Answers good and bad."""

    @given(answers, st.lists(st.integers(0, 200), max_size=6), st.booleans())
    def test_any_pieces(self, answer: bytes, cuts: list[int], cleanly: bool) -> None:
        """How the bytes were cut makes no difference, and there is one end: an error, or that of the content."""
        reason = ConnectionDone() if cleanly else ConnectionLost()
        at = [0, *sorted(min(cut, len(answer)) for cut in cuts), len(answer)]
        pieces = [answer[start:end] for start, end in pairwise(at) if start < end]
        cut, whole = Outcome(pieces, reason), Outcome([answer] if answer else [], reason)
        self.assertEqual(len(cut.heads) + len(cut.errors), 1)
        self.assertEqual(len(cut.sink.ends), len(cut.heads))
        self.assertEqual(cut.summary()[:5], whole.summary()[:5])
        if cut.kept:
            self.assertEqual(cut.sink.ends, [True])
        if True in cut.sink.ends:
            self.assertFalse(cut.errors)
