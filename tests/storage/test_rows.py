"""Stored responses as rows: exactly, or not at all."""

from struct import error as StructError

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.storage.rows import pack_parts, unpack_parts


class PartsTests(SynchronousTestCase):
    @settings(derandomize=True, database=None, deadline=None)
    @given(st.lists(st.binary()))
    def test_round_trip(self, parts: list[bytes]) -> None:
        """Any byte strings come back as they were, in order, empty ones included."""
        self.assertEqual(unpack_parts(pack_parts(parts)), parts)

    @settings(derandomize=True, database=None, deadline=None)
    @given(st.lists(st.binary()), st.data())
    def test_cut(self, parts: list[bytes], data: st.DataObject) -> None:
        """What was cut short, or has something after it, is not taken apart."""
        packed = pack_parts(parts)
        for wrong in (packed + b"\0", packed[: data.draw(st.integers(0, len(packed) - 1))]):
            with self.assertRaises((StructError, ValueError)):
                unpack_parts(wrong)
