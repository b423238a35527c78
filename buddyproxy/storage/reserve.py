"""A few megabytes of the disk that are ours already: given up when it is full, so that what is to go can go.

Removing needs room too: the log takes each changed page before the file does. So nothing is stored while there is room
for no reserve: it would use up what removing needs. The reserve knows files, and nothing of what is in the store's.
"""

import os
from pathlib import Path
from typing import BinaryIO

from attrs import define

SIZE = 8 * 1024 * 1024
"""Bytes kept, where there is room: as many as the file may have to grow by to take in what is in the log."""
LEAST = 512 * 1024
"""Bytes that are of use."""
SHARE = 2
"""No more is kept than one part in this many of what is free."""


def reserve_path(path: Path) -> Path:
    """Return where the reserve for the store's file at `path` is."""
    return Path(f"{path}.reserve")


@define(eq=False)
class Reserve:
    """A file at `path` that only takes room."""

    path: Path
    size: int = SIZE
    held: bool = False
    """Whether it was there when last seen to."""

    def establish(self) -> bool:
        """Take the room, or less where there is little; return whether it is enough to be of use."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with open(file, "r+b") as opened:
                self.held = self._take(opened)
        except OSError:
            self.held = False
        if not self.held:
            # What there was is not for us to use up.
            self.release()
        return self.held

    def _take(self, file: BinaryIO) -> bool:
        size = min(self.size, self._free() // SHARE + os.fstat(file.fileno()).st_size)
        if size < min(self.size, LEAST):
            return False
        # Not every system has it.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.write(bytes(size))
        return True

    def _free(self) -> int:
        """Return how many bytes of the disk anybody may take."""
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize

    def keep(self) -> bool:
        """Take the room if it is not taken; return whether there is more, for what is stored.

        That may be so though it cannot be taken, where files may not be so large.
        """
        return self.held or self.establish() or self._free() >= LEAST * SHARE

    def release(self) -> bool:
        """Give the room up; return whether there was any to give."""
        self.held = False
        try:
            self.path.unlink()
        except OSError:
            return False
        return True
