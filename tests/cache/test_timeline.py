"""Tests of `buddyproxy.cache.timeline`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.timeline import MOST, Timeline
from tests.support.values import properties

_MOMENTS = st.floats(0, 1e6)


class TimelineTests(SynchronousTestCase):
    """When which part of a content arrived."""

    def test_nothing(self) -> None:
        """Of no chunks there is no timeline."""
        self.assertFalse(Timeline.of((), ()))
        self.assertEqual(list(Timeline()), [])

    def test_chunks(self) -> None:
        """Times are milliseconds after the first chunk; a clock that is set back loses none of the order."""
        timeline = Timeline.of((b"one", b"three", b"", b"4"), (1e9, 1e9 + 0.25, 1e9 - 5, 1e9 + 1))
        self.assertEqual(list(timeline), [(0, 3), (250, 5), (250, 0), (1000, 1)])
        self.assertTrue(timeline)

    def test_more_than_can_be_told_of(self) -> None:
        """What came later than can be written down counts as having come then."""
        self.assertEqual(list(Timeline.of((b"a", b"b"), (0, 1e10))), [(0, 1), (2**32 - 1, 1)])

    def test_bound(self) -> None:
        """Of very many chunks, neighbours count as one, which came when the first of them did."""
        for count, together in ((MOST, 1), (MOST + 1, 2), (3 * MOST, 3)):
            marks = list(Timeline.of([b"ab"] * count, [float(number) for number in range(count)]))
            self.assertLessEqual(len(marks), MOST)
            self.assertEqual(marks[:2], [(0, 2 * together), (1000 * together, 2 * together)])
            self.assertEqual(sum(length for _, length in marks), 2 * count)

    @properties
    @given(st.lists(st.tuples(st.binary(max_size=5), _MOMENTS), min_size=1))
    def test_order_and_length(self, came: list[tuple[bytes, float]]) -> None:
        """Whatever the clock says, it begins at 0, never goes back, and leaves no byte out."""
        chunks, times = zip(*came, strict=True)
        marks = list(Timeline.of(chunks, times))
        offsets = [offset for offset, _ in marks]
        self.assertEqual(offsets[0], 0)
        self.assertEqual(offsets, sorted(offsets))
        self.assertEqual([length for _, length in marks], list(map(len, chunks)))

    def test_repr(self) -> None:
        """In a log it is one word."""
        self.assertEqual(repr(Timeline.of((b"a", b"b"), (0, 1))), "Timeline(packed=<2 chunks>)")
