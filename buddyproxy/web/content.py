"""The content of a request on its way in: in memory while it is small, in a temporary file once it is not.

The file has no name, so that nothing is left behind whatever happens, and is closed when nobody holds the content any
more: beside the caller's connection that may be a request to the origin that goes on without a caller. Where the file
is, the system decides (`TMPDIR`).

The reactor writes and reads it itself, a chunk at a time, which goes to the system's cache and seldom waits for a disk.
"""

import os
from collections.abc import Callable
from hashlib import sha256
from io import BytesIO, FileIO
from tempfile import TemporaryFile
from typing import Final

from buddyproxy.message import LargeContent

IN_MEMORY: Final = 2**20
"""The largest content in bytes that is held in memory."""

FREED: Final = 8 * 2**20
"""Bytes of a file that are given back at once: the system takes some 3 ms to free that many."""

Later = Callable[..., object]
"""Calls a function after some seconds (`IReactorTime.callLater`)."""


class FileContent:
    """Content in a file (`message.LargeContent`), which may be read in several places at once."""

    def __init__(self, file: FileIO, size: int, digest: bytes, later: Later) -> None:
        self.digest = digest
        self._file: FileIO | None = file
        self._size = size
        self._later = later
        self._holders = 0

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        if self._file is None:
            raise ValueError("this content is gone: nobody held it")
        first, end, _ = part.indices(self._size)
        return os.pread(self._file.fileno(), end - first, first)

    def hold(self) -> None:
        """Keep the file for one more."""
        self._holders += 1

    def release(self) -> None:
        """Give the file up, unless others hold it."""
        self._holders -= 1
        if self._holders == 0:
            assert self._file is not None
            _discard(self._file, self._size, self._later)
            self._file = None


class Spool:
    """Takes content as it comes, in the place of the file that twisted.web would make."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._size = 0
        self._memory = BytesIO()
        self._file: FileIO | None = None
        self._digest = sha256()

    def write(self, data: bytes) -> None:
        """Take the next bytes. Raises OSError where there is no room for them."""
        self._size += len(data)
        if self._file is None and self._size <= IN_MEMORY:
            self._memory.write(data)
            return
        if self._file is None:
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115 - closed by who holds it last
            self._append(self._file, self._memory.getvalue())
            self._memory = BytesIO()
        self._append(self._file, data)

    def tell(self) -> int:
        """Return how many bytes there are."""
        return self._size

    def seek(self, offset: int, whence: int = 0) -> None:
        """Stay: twisted.web rewinds what it is about to read, and nobody reads from here."""

    def taken(self) -> bytes | LargeContent:
        """Return all that came; called once."""
        if self._file is None:
            return self._memory.getvalue()
        file, self._file = self._file, None
        return FileContent(file, self._size, self._digest.digest(), self._later)

    def close(self) -> None:
        """Forget what came and was not taken."""
        if self._file is not None:
            _discard(self._file, self._size, self._later)
            self._file = None

    def _append(self, file: FileIO, data: bytes) -> None:
        self._digest.update(data)
        rest = memoryview(data)
        # A file takes less than it is given where the room runs out.
        while rest:
            rest = rest[file.write(rest) :]


def _discard(file: FileIO, size: int, later: Later) -> None:
    """Close `file`, which has `size` bytes, but give much room back in slices: everybody waits for each."""
    if size <= FREED:
        file.close()
    else:
        os.ftruncate(file.fileno(), size - FREED)
        later(0, _discard, file, size - FREED, later)
