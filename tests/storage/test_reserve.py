"""The reserve: room on the disk, taken and given up."""

import stat
from pathlib import Path

from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.storage.reserve import LEAST, SIZE, Reserve


@define(eq=False)
class Small(Reserve):
    """A reserve on a disk where so many bytes are `free`."""

    free: int = field(kw_only=True)

    def _free(self) -> int:
        return self.free


class ReserveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def test_takes_room(self) -> None:
        """It has as many bytes as were asked for, on the disk, and nobody else may read it."""
        reserve = Reserve(self.path, 100_000)
        for _ in range(2):
            self.assertTrue(reserve.establish())
        found = self.path.stat()
        self.assertEqual((found.st_size, stat.S_IMODE(found.st_mode)), (100_000, 0o600))
        self.assertGreaterEqual(found.st_blocks * 512, 100_000)

    def test_gives_it_up(self) -> None:
        """It can be given up once; another process's is given up too."""
        Reserve(self.path, 100).establish()
        reserve = Reserve(self.path, 100)
        self.assertEqual((reserve.release(), self.path.exists(), reserve.release()), (True, False, False))

    def test_little_room(self) -> None:
        """Where there is not so much, it takes a part of what there is; where that is of no use, nothing."""
        cases = ((SIZE * 3, SIZE), (SIZE, SIZE // 2), (2 * LEAST, LEAST), (2 * LEAST - 1, None), (0, None))
        for free, taken in cases:
            reserve = Small(self.path, free=free)
            self.assertEqual((reserve.keep(), reserve.held), (taken is not None, taken is not None), free)
            self.assertEqual(self.path.stat().st_size if self.path.exists() else None, taken, free)
            reserve.release()

    def test_keeps_what_it_has(self) -> None:
        """What it has counts as room that there is."""
        Small(self.path, free=SIZE).establish()
        self.assertTrue(Small(self.path, free=0).establish())
        self.assertEqual(self.path.stat().st_size, SIZE // 2)

    def test_cannot_be_taken(self) -> None:
        """Where room cannot be taken though there is some, nothing is left behind, and what is stored may use it."""
        self.path.mkdir()
        for free, more in ((SIZE, True), (LEAST, False)):
            reserve = Small(self.path, free=free)
            self.assertEqual((reserve.keep(), reserve.held), (more, False))
