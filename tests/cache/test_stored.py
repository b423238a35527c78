"""Tests of `buddyproxy.cache.stored`."""

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.stored import Selecting
from buddyproxy.cache.timeline import Timeline
from tests.support.values import fields, kept, properties

# Short, and of few letters, so that parts moved from one field to another come up.
_PARTS = st.binary(max_size=3) | st.text(":-+1a", max_size=4).map(str.encode)
_SELECTING = st.lists(st.tuples(_PARTS, st.none() | _PARTS), max_size=3).map(tuple)


class StoredResponseTests(SynchronousTestCase):
    """What is kept of an exchange."""

    def test_variant(self) -> None:
        """The variant is 16 bytes, and another for every difference in what selected the response."""
        differing: list[Selecting] = [
            (),
            ((b"accept", None),),
            ((b"accept", b""),),
            ((b"accept", b"-"),),
            ((b"accept", b"a"),),
            ((b"accept", b"A"),),
            ((b"accep", b"ta"),),
            ((b"accept", b"a"), (b"origin", None)),
            ((b"accept", None), (b"origin", b"a")),
            ((b"origin", b"a"), (b"accept", None)),
            ((b"accept", b"aorigin-"),),
            ((b"accept", b"a+origin-"),),
            ((b"accept+aorigin", None),),
        ]
        variants = {kept(selecting=selecting).variant for selecting in differing}
        self.assertEqual(len(variants), len(differing))
        self.assertEqual({len(variant) for variant in variants}, {16})

    @properties
    @given(_SELECTING, _SELECTING)
    def test_variants_differ_as_what_selected_does(self, one: Selecting, other: Selecting) -> None:
        """Two variants are equal exactly when what selected them is."""
        self.assertEqual(kept(selecting=one).variant == kept(selecting=other).variant, one == other)

    def test_variant_depends_on_nothing_else(self) -> None:
        """A newer response of the same variant takes the older one's place."""
        selecting = ((b"accept", b"a"),)
        self.assertEqual(
            kept("A: 1", age=5, selecting=selecting).variant, kept(selecting=selecting, status=404).variant
        )

    def test_headers(self) -> None:
        """The header fields are those of the response."""
        self.assertEqual(kept("ETag: a").headers, fields("ETag: a"))

    def test_partial(self) -> None:
        """What came as a 206 is a part, and nothing else is, whatever its fields say (RFC 9111, 3.3)."""
        self.assertTrue(kept("Content-Range: bytes 0-4/20", status=206).partial)
        self.assertFalse(kept("Content-Range: bytes 0-4/20").partial)

    def test_marked_outdated(self) -> None:
        """The mark is all that changes, and making it twice changes nothing more."""
        stored = kept("ETag: a")
        marked = stored.marked_outdated()
        self.assertEqual((stored.outdated, marked.outdated), (False, True))
        self.assertEqual(evolve(marked, expires=stored.expires), stored)
        self.assertEqual(marked.marked_outdated(), marked)

    def test_size(self) -> None:
        """All that grows with the response counts: content, timeline, URI, and each field with what a field takes."""
        empty = evolve(kept(), body=b"", uri=b"")
        self.assertEqual(empty.size, 600)
        self.assertEqual(evolve(empty, body=b"x" * 1000).size, 1600)
        self.assertEqual(evolve(empty, uri=b"x" * 50).size, 650)
        self.assertEqual(evolve(empty, timeline=Timeline.of([b""] * 5, [0.0] * 5)).size, 640)
        self.assertEqual(evolve(empty, response=kept("Age: 12", "Via: 1").response).size, 600 + 105 + 104)

    def test_repr_has_no_content(self) -> None:
        """The content stays out of logs, however large; so do the values of fields."""
        shown = repr(kept("Set-Cookie: hush"))
        self.assertIn("body=<5 bytes>", shown)
        self.assertIn("Headers(Set-Cookie)", shown)
        self.assertNotIn("hello", shown)
        self.assertNotIn("hush", shown)
