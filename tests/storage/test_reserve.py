"""The reserve: room on the disk, taken and given up."""

import stat
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.storage.reserve import Reserve


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

    def test_no_room(self) -> None:
        """Where there is not so much, nothing is taken."""
        reserve = Reserve(self.path, 2**60)
        self.assertEqual((reserve.establish(), reserve.held, self.path.exists()), (False, False, False))
