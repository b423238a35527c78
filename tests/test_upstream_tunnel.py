"""An origin's side of a tunnel, on a transport in memory."""

from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.upstream import Switched
from buddyproxy.upstream.connection import Connection
from buddyproxy.upstream.wire import UpgradeRequest, WireHeaders

AGREED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


class Ear:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[bytes | None] = []
        self.switched: Switched | None = None
        """Is asked to wait by each chunk."""

    def received(self, chunk: bytes) -> None:
        self.heard.append(chunk)
        if self.switched is not None:
            self.switched.pause()

    def lost(self) -> None:
        self.heard.append(None)


class SwitchedTests(SynchronousTestCase):
    """After the 101."""

    def setUp(self) -> None:
        self.transport: Any = StringTransport()
        self.connection = Connection(Clock(), lambda _: None, lambda _: None)
        self.connection.makeConnection(self.transport)
        self.gone: list[Switched] = []

    def switched(self, behind: bytes = b"") -> Switched:
        """Return a connection that has changed to another protocol, with what came `behind` the head."""
        fields = WireHeaders.of([(b"Host", b"a"), (b"Connection", b"upgrade"), (b"Upgrade", b"echo")])
        answered = self.connection.request(UpgradeRequest(b"GET", b"/", fields, None, self))
        self.connection.dataReceived(AGREED + behind)
        return Switched(self.successResultOf(answered), self.gone.append)

    def sent(self) -> None:
        """Know that the request is handed over (`wire.Progress`)."""

    def interim(self, response: object) -> None:
        """Take what comes before (`wire.Progress`)."""

    def lose(self) -> None:
        self.connection.connectionLost(Failure(ConnectionDone()))

    def test_waits_until_started(self) -> None:
        """Nothing more is read before somebody listens."""
        switched, ear = self.switched(b"first"), Ear()
        self.assertEqual(self.transport.producerState, "paused")
        switched.start(ear)
        self.assertEqual(self.transport.producerState, "producing")
        self.connection.dataReceived(b"second")
        self.lose()
        self.assertEqual(ear.heard, [b"first", b"second", None])
        self.assertEqual(self.gone, [switched])

    def test_paused_by_what_came_behind(self) -> None:
        """A listener that has enough of what came behind the head gets no more until it says so."""
        switched, ear = self.switched(b"first"), Ear()
        ear.switched = switched
        switched.start(ear)
        self.assertEqual(self.transport.producerState, "paused")
        switched.resume()
        self.assertEqual(self.transport.producerState, "producing")

    def test_lost_before_started(self) -> None:
        """What came before the end is heard, then the end; and whatever is asked of the connection now is in vain."""
        switched, ear = self.switched(b"first"), Ear()
        self.transport.clear()
        self.lose()
        switched.start(ear)
        self.assertEqual(ear.heard, [b"first", None])
        self.assertEqual(self.gone, [switched])
        switched.write(b"x")
        switched.feed_by(self.transport)
        for deed in (switched.pause, switched.resume, switched.end, switched.abort):
            deed()
        self.assertEqual(self.transport.value(), b"")
