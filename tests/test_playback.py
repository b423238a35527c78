"""A stored stream being sent again, to a reader who does as it likes meanwhile."""

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.errors import UpstreamError
from buddyproxy.web.playback import Playback


class Listener:
    """A reader that keeps what it was told, and does `reacting` at each chunk."""

    def __init__(self, reacting: Callable[[], None] = lambda: None) -> None:
        self.told: list[object] = []
        self.reacting = reacting

    def write(self, chunk: bytes) -> None:
        """Keep a chunk."""
        self.told.append(chunk)
        self.reacting()

    def finish(self) -> None:
        """Keep the end."""
        self.told.append("finish")

    def fail(self, error: UpstreamError) -> None:
        """Keep the failure."""
        self.told.append(error)


class PlaybackTests(SynchronousTestCase):
    """Who gets what, and when."""

    def play(self, listener: Listener, *pieces: tuple[float, bytes]) -> Playback:
        """Return a playback of `pieces` for `listener`."""
        self.clock = Clock()
        return Playback(iter(pieces), self.clock, listener)

    def test_nothing_before_it_is_asked_for(self) -> None:
        """Time begins with the first `resume`."""
        listener = Listener()
        playback = self.play(listener, (0.0, b"one"), (1.0, b"two"))
        self.clock.advance(5)
        self.assertEqual(listener.told, [])
        playback.resume()
        self.assertEqual(listener.told, [b"one"])
        self.clock.advance(1)
        self.assertEqual(listener.told, [b"one", b"two", "finish"])

    def test_no_pieces(self) -> None:
        """Of nothing there is the end."""
        listener = Listener()
        self.play(listener).resume()
        self.assertEqual(listener.told, ["finish"])

    def test_reader_that_asks_while_it_is_given(self) -> None:
        """A reader may pause and go on, or ask for more, in the middle of a chunk: each comes once, in order."""

        def again() -> None:
            playback.pause()
            playback.resume()
            playback.resume()

        listener = Listener(again)
        playback = self.play(listener, (0.0, b"one"), (0.0, b"two"), (1.0, b"three"))
        playback.resume()
        self.assertEqual(listener.told, [b"one", b"two"])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(1)
        self.assertEqual(listener.told, [b"one", b"two", b"three", "finish"])

    def test_leaving_while_it_is_given(self) -> None:
        """Who leaves in the middle of a chunk is told nothing more, even of the end; nobody waits any more."""
        for pieces in ([(0.0, b"one")], [(0.0, b"one"), (0.0, b"two")], [(0.0, b"one"), (1.0, b"two")]):
            listener = Listener()
            playback = self.play(listener, *pieces)
            listener.reacting = playback.leave
            playback.resume()
            self.assertEqual((listener.told, self.clock.getDelayedCalls()), ([b"one"], []))
