"""A response on its way: what its readers get, what is gathered, who waits for whom, and what is made of the end."""

from collections.abc import Sequence

from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import UpstreamError
from buddyproxy.flight import BEHIND, Flight, Reading
from buddyproxy.upstream import Sink
from tests.support.values import properties


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
    """A reader that keeps what it was told, in order, in a list it may share with who else is told."""

    told: list[object] = field(factory=list)
    appetite: int = 1_000_000
    """How many chunks it takes before it wants no more for now."""
    reading: Reading | None = None

    def write(self, chunk: bytes) -> None:
        """Keep a chunk."""
        self.told.append(chunk)
        self.appetite -= 1
        if self.appetite <= 0 and self.reading is not None:
            self.reading.pause()

    def finish(self) -> None:
        """Keep the end."""
        self.told.append("finish")

    def fail(self, error: UpstreamError) -> None:
        """Keep the failure."""
        self.told.append(error)

    def hurry(self) -> None:
        """Keep that others wait."""
        self.told.append("hurry")

    def begin(self, flight: Flight) -> "Listener":
        """Read `flight`."""
        self.reading = flight.join(self)
        self.reading.resume()
        return self

    def go_on(self, appetite: int = 1_000_000) -> None:
        """Take more."""
        self.appetite = appetite
        assert self.reading is not None
        self.reading.resume()


class FlightTests(SynchronousTestCase):
    """One fetch and one reader."""

    def fly(self, keep: int = 100, gather: bool = True) -> Flight:
        """Begin a flight that is read, and gathered up to `keep` bytes."""
        self.told: list[object] = []
        flight = self.prepare(keep, gather)
        self.listener = Listener(self.told).begin(flight)
        return flight

    def prepare(self, keep: int = 100, gather: bool = True) -> Flight:
        """Return a flight that nobody reads yet."""
        self.arriving = Arriving()
        self.landed: list[bytes] = []
        self.ends = 0

        def over() -> None:
            self.ends += 1

        return Flight(self.arriving, self.keep if gather else None, keep, over)  # type: ignore[arg-type]

    def keep(self, chunks: Sequence[bytes], times: Sequence[float]) -> None:
        """Keep what has landed."""
        self.landed.append(b"".join(chunks))
        self.times = list(times)
        if hasattr(self, "told"):
            self.told.append("landed")

    def test_lands_before_the_reader_knows_the_end(self) -> None:
        """What came whole is stored before its reader can ask again."""
        flight = self.fly()
        for chunk in (b"one", b"two"):
            flight.received(chunk)
        flight.ended(framed=True)
        self.assertEqual(self.told, [b"one", b"two", "landed", "finish"])
        self.assertEqual((self.landed, self.ends), ([b"onetwo"], 1))

    def test_times(self) -> None:
        """When each chunk came is told where it was asked for."""
        for clock, expected in ((None, []), (iter((5.0, 7.5)).__next__, [5.0, 7.5])):
            self.prepare()
            flight = Flight(self.arriving, self.keep, 100, clock=clock)  # type: ignore[arg-type]
            flight.join(Listener()).resume()
            for chunk in (b"one", b"two"):
                flight.received(chunk)
            flight.ended(framed=True)
            self.assertEqual(self.times, expected)

    def test_no_content_lands_too(self) -> None:
        """A response without content is complete as it is."""
        self.fly().ended(framed=True)
        self.assertEqual((self.told, self.landed), (["landed", "finish"], [b""]))

    def test_too_much_is_only_handed_on(self) -> None:
        """Content beyond the limit reaches its reader, and is not gathered."""
        flight = self.fly(keep=5)
        for chunk in (b"one", b"two", b"3"):
            flight.received(chunk)
        flight.ended(framed=True)
        self.assertEqual((self.told, self.landed), ([b"one", b"two", b"3", "finish"], []))

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
        self.assertEqual((self.told, self.landed), ([b"one", "finish"], []))

    def test_broken_content_does_not_land(self) -> None:
        """Content that broke off is nobody's."""
        flight = self.fly()
        flight.received(b"one")
        error = UpstreamError("it broke")
        flight.failed(error)
        self.assertEqual((self.told, self.landed, self.ends), ([b"one", error], [], 1))

    def test_store_that_fails(self) -> None:
        """A store that raises keeps no reader from its end, and is reported."""

        def landed(chunks: Sequence[bytes], times: Sequence[float]) -> None:
            raise ZeroDivisionError

        flight = Flight(Arriving(), landed, 100)  # type: ignore[arg-type]
        listener = Listener().begin(flight)
        flight.ended(framed=True)
        self.assertEqual(listener.told, ["finish"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_leaving(self) -> None:
        """A reader that leaves gives the fetch up, and hears no more of it."""
        flight = self.fly()
        flight.received(b"one")
        assert self.listener.reading is not None
        self.listener.reading.leave()
        self.assertEqual((self.arriving.calls, self.ends), (["abort"], 1))
        flight.received(b"two")
        flight.failed(UpstreamError("aborted"))
        self.assertEqual((self.told, self.ends), ([b"one"], 1))

    def test_leaving_after_the_end(self) -> None:
        """Who leaves when all is there gives nothing up."""
        flight = self.fly()
        flight.ended(framed=True)
        assert self.listener.reading is not None
        self.listener.reading.leave()
        self.assertEqual(self.arriving.calls, [])

    def test_back_pressure(self) -> None:
        """Where nothing is gathered, the origin waits while the reader does."""
        flight = self.fly(gather=False)
        self.listener.appetite = 1
        flight.received(b"one")
        flight.received(b"two")
        self.assertEqual((self.told, self.arriving.calls), ([b"one"], ["pause"]))
        self.listener.go_on()
        self.assertEqual((self.told, self.arriving.calls), ([b"one", b"two"], ["pause", "resume"]))

    def test_back_pressure_once_it_is_too_much(self) -> None:
        """What may be stored is gathered without waiting; from where it cannot be, the origin waits for the reader."""
        flight = self.fly(keep=5)
        self.listener.appetite = 1
        flight.received(b"one")
        self.assertEqual(self.arriving.calls, [])
        flight.received(b"two")
        self.assertEqual((self.told, self.arriving.calls), ([b"one"], ["pause"]))
        self.listener.go_on()
        flight.ended(framed=True)
        self.assertEqual((self.told, self.landed), ([b"one", b"two", "finish"], []))

    def test_end_while_the_reader_waits(self) -> None:
        """The end comes after all that was waiting; nobody tells a finished origin to go on."""
        for gather in (True, False):
            flight = self.fly(gather=gather)
            self.listener.appetite = 1
            for chunk in (b"one", b"two"):
                flight.received(chunk)
            calls = list(self.arriving.calls)
            flight.ended(framed=True)
            self.assertNotIn("finish", self.told)
            self.listener.go_on()
            self.assertEqual([item for item in self.told if item != "landed"], [b"one", b"two", "finish"])
            self.assertEqual(self.arriving.calls, calls)

    def test_given_up_unread(self) -> None:
        """A fetch that nobody reads can be given up, once."""
        flight = self.prepare()
        self.assertFalse(flight.started)
        flight.abandon()
        flight.abandon()
        self.assertEqual((self.arriving.calls, self.ends), (["abort"], 1))


class ManyReadersTests(FlightTests):
    """One fetch and several readers."""

    def test_joining(self) -> None:
        """Who joins gets what was there, and then each chunk as the others do."""
        flight = self.fly()
        flight.received(b"one")
        late = Listener().begin(flight)
        flight.received(b"two")
        self.assertTrue(flight.joinable)
        later = Listener().begin(flight)
        flight.ended(framed=True)
        for listener in (late, later):
            self.assertEqual(listener.told, [b"one", b"two", "finish"])

    def test_joining_after_the_end(self) -> None:
        """Who joins what has landed gets all of it at once; what broke off cannot be joined."""
        flight = self.fly()
        flight.received(b"one")
        flight.ended(framed=True)
        self.assertTrue(flight.joinable)
        self.assertEqual(Listener().begin(flight).told, [b"one", "finish"])
        broken = self.fly()
        broken.received(b"one")
        broken.failed(UpstreamError("it broke"))
        self.assertFalse(broken.joinable)

    def test_not_to_be_joined(self) -> None:
        """What is not gathered, or not any more, can be joined only before it starts."""
        flight = self.prepare(gather=False)
        self.assertTrue(flight.joinable)
        Listener().begin(flight)
        self.assertFalse(flight.joinable)
        flight = self.fly(keep=5)
        flight.received(b"123456")
        self.assertFalse(flight.joinable)

    def test_one_leaves(self) -> None:
        """The fetch goes on until the last one has left."""
        flight = self.fly()
        other = Listener().begin(flight)
        assert self.listener.reading is not None
        assert other.reading is not None
        self.listener.reading.leave()
        self.listener.reading.leave()
        flight.received(b"one")
        self.assertEqual((self.told, other.told, self.arriving.calls), ([], [b"one"], []))
        other.reading.leave()
        self.assertEqual(self.arriving.calls, ["abort"])

    def test_the_slow_one_is_waited_for(self) -> None:
        """The origin waits when one reader is too far behind the others, which is told, and loses nothing."""
        flight = self.prepare(keep=10)
        slow, fast = Listener(appetite=1), Listener()
        for listener in (slow, fast):
            listener.begin(flight)
        chunk = b"x" * (BEHIND // 4)
        for _ in range(5):
            flight.received(chunk)
        self.assertEqual((len(slow.told), len(fast.told), self.arriving.calls), (1, 5, []))
        flight.received(chunk)
        self.assertEqual((slow.told, self.arriving.calls), ([chunk, "hurry"], ["pause"]))
        slow.go_on()
        self.assertEqual(self.arriving.calls, ["pause", "resume"])
        flight.ended(framed=True)
        self.assertEqual([each for each in slow.told if each != "hurry"], fast.told)

    def test_the_slow_one_catches_up(self) -> None:
        """Who was behind gets all of it, and what everybody has is not kept."""
        flight = self.prepare(keep=1)
        slow, fast = Listener(appetite=1), Listener()
        for listener in (slow, fast):
            listener.begin(flight)
        for chunk in (b"one", b"two", b"three"):
            flight.received(chunk)
        slow.go_on(1)
        slow.go_on()
        flight.ended(framed=True)
        self.assertEqual(slow.told, [b"one", b"two", b"three", "finish"])
        self.assertEqual(fast.told, slow.told)

    def test_a_waiting_reader_leaves(self) -> None:
        """When the only one who takes more leaves, the origin waits for those who are left."""
        flight = self.prepare(gather=False)
        slow, fast = Listener(appetite=1), Listener()
        for listener in (slow, fast):
            listener.begin(flight)
        flight.received(b"one")
        assert fast.reading is not None
        fast.reading.leave()
        self.assertEqual(self.arriving.calls, ["pause"])
        slow.go_on()
        self.assertEqual(self.arriving.calls, ["pause", "resume"])

    @properties
    @given(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=40),
        st.sampled_from((0, 4, 1000)),
        st.booleans(),
    )
    def test_everybody_gets_every_byte_once(self, steps: list[tuple[int, int]], keep: int, gather: bool) -> None:
        """However readers join, pause and go on, each gets the content from its first byte on, in order, once."""
        flight = self.prepare(keep, gather)
        readers = [Listener().begin(flight)]
        sent: list[bytes] = []
        for step, which in steps:
            reader = readers[which % len(readers)]
            if step == 0:
                sent.append(b"%d" % len(sent))
                flight.received(sent[-1])
            elif step == 1 and flight.joinable:
                readers.append(Listener(appetite=which).begin(flight))
            elif step == 2:
                reader.appetite = 1
            else:
                reader.go_on(which + 1)
        flight.ended(framed=True)
        for reader in readers:
            reader.go_on()
            self.assertEqual(reader.told, [*sent, "finish"])
        whole = b"".join(sent)
        self.assertEqual(self.landed, [whole] if gather and len(whole) <= keep else [])
