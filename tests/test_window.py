"""Tests of `buddyproxy.window`."""

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.window import Window


class WindowTests(SynchronousTestCase):
    """What happened lately, and nothing else, is counted."""

    def test_empty(self) -> None:
        """Where nothing happened, nothing is counted."""
        self.assertEqual(Window(10).counts(0), (0, 0))

    def test_counts(self) -> None:
        """Events count until they are as old as the window is long, a tenth more or less."""
        window = Window(10)
        for now in (100.0, 100.5, 104.0):
            window.add(now, marked=now == 104)
        window.add(104.9, marked=True)
        for now, expected in ((104.9, (4, 2)), (109.9, (4, 2)), (110.0, (2, 2)), (113.9, (2, 2)), (114.0, (0, 0))):
            self.assertEqual(window.counts(now), expected, now)

    def test_silence(self) -> None:
        """After a long silence the counting begins anew."""
        window = Window(10)
        window.add(100)
        window.add(1000)
        self.assertEqual(window.counts(1000), (1, 0))

    def test_clock_set_back(self) -> None:
        """What was counted before the clock was set back is forgotten, not kept until it comes round again."""
        window = Window(10)
        window.add(100, marked=True)
        window.add(40)
        self.assertEqual(window.counts(41), (1, 0))
