"""A few megabytes of the disk that are ours already: given up when it is full, so that what is to go can go.

Removing needs room too: the log takes each changed page before the file does. It knows files, and nothing of what is
in the store's.
"""

import os
from pathlib import Path
from typing import BinaryIO

from attrs import define

SIZE = 8 * 1024 * 1024
"""Bytes kept: as many as the file may have to grow by to take in what is in the log."""


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
        """Take the room; return whether there was so much."""
        try:
            file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            with open(file, "r+b") as opened:
                self._take(opened)
        except OSError:
            # What there was is not for us to use up.
            self.release()
        else:
            self.held = True
        return self.held

    def _take(self, file: BinaryIO) -> None:
        # Not every system has it.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, self.size)
        else:
            file.write(bytes(self.size))

    def release(self) -> bool:
        """Give the room up; return whether there was any to give."""
        self.held = False
        try:
            self.path.unlink()
        except OSError:
            return False
        return True
