"""What is to be purged, as a value."""

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.storage.selection import GLOB_LIMIT, Purge, Selection
from tests.storage.samples import NOW, language, stored


def plainly_matches(glob: bytes, uri: bytes) -> bool:
    """Return what a glob comes to, the slow way."""
    if not glob:
        return not uri
    if glob[:1] == b"*":
        return any(plainly_matches(glob[1:], uri[start:]) for start in range(len(uri) + 1))
    return bool(uri) and glob[:1] in (b"?", uri[:1]) and plainly_matches(glob[1:], uri[1:])


class SelectionTests(SynchronousTestCase):
    """The criteria themselves are tested with the stores, all of which must agree on them."""

    def test_refused(self) -> None:
        """What selects nothing in particular, or cannot be a criterion, is refused before anything is purged."""
        refused: tuple[dict[str, object], ...] = (
            {},
            {"everything": False},
            {"everything": True, "mapping": "a"},
            {"mapping": "\ud800"},
            {"mapping": b"a"},
            {"uri": "a"},
            {"glob": b"a\0b"},
            {"glob": b"x" * (GLOB_LIMIT + 1)},
            {"tag": "a"},
            {"before": "yesterday"},
        )
        for criteria in refused:
            with self.assertRaises((ValueError, TypeError), msg=criteria):
                Selection(**criteria)

    def test_empty_criterion(self) -> None:
        """A criterion that is there and empty is one all the same."""
        self.assertFalse(Selection(mapping="").matches(stored()))
        self.assertTrue(Selection(mapping="").matches(stored(mapping="")))
        self.assertFalse(Selection(glob=b"").matches(stored()))

    @settings(derandomize=True, database=None, max_examples=500, deadline=None)
    @given(st.text("ab*?[]\\-^!\n", max_size=8), st.text("ab[]\\-^!\n", max_size=8))
    def test_globs(self, glob: str, uri: str) -> None:
        """Nothing but a star and a question mark has a meaning."""
        found = Selection(glob=glob.encode()).matches(stored(uri=uri.encode()))
        self.assertEqual(found, plainly_matches(glob.encode(), uri.encode()))

    def test_many_stars(self) -> None:
        """A glob with many stars comes to an end."""
        self.assertFalse(Selection(glob=b"*a" * 2000 + b"b").matches(stored(uri=b"a" * 2000)))

    def test_purge(self) -> None:
        """A soft purge leaves everything there and changes only what was not marked; a hard one takes that too."""
        fresh, marked = stored(tags="t"), stored(tags="t", selecting=language(b"de")).marked_outdated()
        other = stored(selecting=language(b"fr"))
        soft, hard = Purge(Selection(tag=b"t"), soft=True), Purge(Selection(tag=b"t"))
        held = (fresh, marked, other)
        self.assertEqual(soft.over(held), (evolve(fresh, expires=float("-inf")), marked, other))
        self.assertEqual(hard.over(held), (other,))
        self.assertEqual([soft.affects(one) for one in held], [True, False, False])
        self.assertEqual([hard.affects(one) for one in held], [True, True, False])

    def test_age(self) -> None:
        """What arrived just then is as old as it has to be."""
        self.assertTrue(Selection(before=NOW).matches(stored()))
        self.assertFalse(Selection(before=int(NOW) - 1).matches(stored()))
