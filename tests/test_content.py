"""Tests of `buddyproxy.web.content`: content on its way in, in memory or in a file."""

import resource
import tempfile
from hashlib import sha256

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.message import LargeContent, held
from buddyproxy.web.content import FREED, IN_MEMORY, Spool
from tests.support.files import TemporaryFiles


class SpoolTests(SynchronousTestCase):
    """What comes in pieces, and is there as a whole."""

    def setUp(self) -> None:
        self.files = TemporaryFiles(self)
        self.clock = Clock()

    def taken(self, *pieces: bytes) -> bytes | LargeContent:
        """Return what a spool makes of `pieces`."""
        spool = Spool(self.clock.callLater)
        for piece in pieces:
            spool.write(piece)
        return spool.taken()

    def test_in_memory(self) -> None:
        """Up to the limit, content is bytes, and there is no file."""
        most = b"x" * IN_MEMORY
        for pieces in ((), (b"",), (b"a", b"", b"bc"), (most,), (most[:-1], b"x"), (most, b"")):
            self.assertEqual(self.taken(*pieces), b"".join(pieces))
            self.assertEqual(self.files.left(), [])

    def test_in_a_file(self) -> None:
        """Above it, content is in a file that has no name, and knows its length and its digest."""
        much = bytes(range(256)) * (IN_MEMORY // 128)
        for pieces in ((much,), (much[:IN_MEMORY], b"y"), (b"a", b"b", much, b"c"), (much, much)):
            whole = b"".join(pieces)
            content = self.taken(*pieces)
            assert not isinstance(content, bytes)
            self.assertEqual((len(content), content.digest), (len(whole), sha256(whole).digest()))
            with held(content):
                self.assertEqual(len(self.files.left()), 1)
                self.assert_reads(content, whole)
            self.assertEqual(self.files.left(), [])

    def assert_reads(self, content: LargeContent, whole: bytes) -> None:
        """Assert that `content`, in whatever parts it is read, is `whole`."""
        last = len(whole) - 1
        for part in (slice(None), slice(0, 1), slice(70_000, 140_000), slice(last, last + 10), slice(last + 1, None)):
            self.assertEqual(content[part], whole[part])

    def test_lasts_as_long_as_somebody_holds_it(self) -> None:
        """The file is closed by who holds the content last, and not before; nothing is read from it then."""
        spool = Spool(self.clock.callLater)
        spool.write(b"x" * (IN_MEMORY + 1))
        content = spool.taken()
        assert not isinstance(content, bytes)
        with held(content):
            with held(content):
                spool.close()
            self.assertEqual(content[:3], b"xxx")
        self.assertEqual(self.files.left(), [])
        self.assertRaises(ValueError, content.__getitem__, slice(3))

    def test_much(self) -> None:
        """The room that much content took is given back little by little, and nothing is read from it meanwhile."""
        for size in (FREED, FREED + 1, 3 * FREED):
            content = self.taken(bytes(size))
            assert not isinstance(content, bytes)
            with held(content):
                pass
            self.assertRaises(ValueError, content.__getitem__, slice(3))
            self.assertEqual(len(self.files.left()), int(size > FREED))
            self.clock.advance(0)
            self.assertEqual((self.files.left(), self.clock.getDelayedCalls()), ([], []))

    def test_given_up(self) -> None:
        """What came and is not wanted leaves nothing behind."""
        spool = Spool(self.clock.callLater)
        spool.write(b"x" * (IN_MEMORY + 1))
        spool.close()
        spool.close()
        self.assertEqual(self.files.left(), [])

    def test_no_room(self) -> None:
        """Where the file cannot be made, or takes no more, whoever writes is told, and nothing is left behind."""
        unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_FSIZE, unlimited)
        spool = Spool(self.clock.callLater)
        spool.write(b"x" * IN_MEMORY)
        resource.setrlimit(resource.RLIMIT_FSIZE, (IN_MEMORY + 1000, unlimited[1]))
        spool.write(b"x" * 999)
        self.assertRaises(OSError, spool.write, b"xyz")
        spool.close()
        self.assertEqual(self.files.left(), [])
        self.patch(tempfile, "tempdir", "/no/such/directory")
        self.assertRaises(OSError, Spool(self.clock.callLater).write, b"x" * (IN_MEMORY + 1))
