"""A response on its way: what its reader gets, what is gathered, and what is made of the end."""

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import UpstreamError
from buddyproxy.flight import Flight
from buddyproxy.upstream import Sink


@define
class Arriving:
    """An upstream response whose content a test delivers by hand."""

    sink: Sink | None = None
    calls: list[str] = field(factory=list)

    def start(self, sink: Sink) -> None:
        """Begin delivery."""
        self.sink = sink

    def pause(self) -> None:
        """Wait."""
        self.calls.append("pause")

    def resume(self) -> None:
        """Go on."""
        self.calls.append("resume")

    def abort(self) -> None:
        """Give up."""
        self.calls.append("abort")


@define
class Listener:
    """A reader that keeps what it was told, in order, in a list it shares with who else is told."""

    told: list[object]

    def write(self, chunk: bytes) -> None:
        """Keep a chunk."""
        self.told.append(chunk)

    def finish(self) -> None:
        """Keep the end."""
        self.told.append("finish")

    def fail(self, error: UpstreamError) -> None:
        """Keep the failure."""
        self.told.append(error)


class FlightTests(SynchronousTestCase):
    """One fetch and its reader."""

    def fly(self, keep: int = 100, gather: bool = True) -> Flight:
        """Begin a flight that is read, and gathered up to `keep` bytes."""
        self.told: list[object] = []
        self.arriving = Arriving()
        landed = (lambda body: self.told.append(("landed", body))) if gather else None
        flight = Flight(self.arriving, landed, keep)  # type: ignore[arg-type]
        flight.read(Listener(self.told))
        return flight

    def test_lands_before_the_reader_knows_the_end(self) -> None:
        """What came whole is stored before its reader can ask again."""
        flight = self.fly()
        for chunk in (b"one", b"two"):
            flight.received(chunk)
        flight.ended(framed=True)
        self.assertEqual(self.told, [b"one", b"two", ("landed", b"onetwo"), "finish"])

    def test_no_content_lands_too(self) -> None:
        """A response without content is complete as it is."""
        self.fly().ended(framed=True)
        self.assertEqual(self.told, [("landed", b""), "finish"])

    def test_too_much_is_only_handed_on(self) -> None:
        """Content beyond the limit reaches its reader, and is not gathered."""
        flight = self.fly(keep=5)
        for chunk in (b"one", b"two", b"3"):
            flight.received(chunk)
        flight.ended(framed=True)
        self.assertEqual(self.told, [b"one", b"two", b"3", "finish"])

    def test_nothing_is_gathered_unasked(self) -> None:
        """Without anybody to land it for, content is only handed on."""
        flight = self.fly(gather=False)
        flight.received(b"one")
        flight.ended(framed=True)
        self.assertEqual(self.told, [b"one", "finish"])

    def test_unframed_end_is_not_known_to_be_whole(self) -> None:
        """Content that only the connection's close ended is handed on, not stored (RFC 9112, 8)."""
        flight = self.fly()
        flight.received(b"one")
        flight.ended(framed=False)
        self.assertEqual(self.told, [b"one", "finish"])

    def test_broken_content_does_not_land(self) -> None:
        """Content that broke off is nobody's."""
        flight = self.fly()
        flight.received(b"one")
        error = UpstreamError("it broke")
        flight.failed(error)
        self.assertEqual(self.told, [b"one", error])

    def test_store_that_fails(self) -> None:
        """A store that raises keeps no reader from its end, and is reported."""
        told: list[object] = []

        def landed(body: bytes) -> None:
            raise ZeroDivisionError

        flight = Flight(Arriving(), landed, 100)  # type: ignore[arg-type]
        flight.read(Listener(told))
        flight.ended(framed=True)
        self.assertEqual(told, ["finish"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_reader_sets_the_pace(self) -> None:
        """What the reader cannot take, the origin waits with."""
        flight = self.fly()
        flight.pause()
        flight.resume()
        self.assertEqual(self.arriving.calls, ["pause", "resume"])

    def test_reader_leaves(self) -> None:
        """The last reader's leaving ends the fetch; what still comes is for nobody."""
        flight = self.fly()
        flight.received(b"one")
        flight.leave()
        flight.received(b"two")
        flight.ended(framed=True)
        flight.failed(UpstreamError("late"))
        self.assertEqual(self.told, [b"one"])
        self.assertEqual(self.arriving.calls, ["abort"])
