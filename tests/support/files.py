"""The directory for temporary files, and what is in it: files without a name, too."""

import os
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


class TemporaryFiles:
    """The temporary files that the code under test makes, in a directory of the test's own."""

    def __init__(self, case: SynchronousTestCase) -> None:
        made = tempfile.TemporaryDirectory()
        case.addCleanup(made.cleanup)
        case.patch(tempfile, "tempdir", made.name)
        self._directory = made.name

    def left(self) -> list[str]:
        """Return the files that are there: those with a name, and those without that this process has open."""
        nameless = [path for each in os.listdir("/proc/self/fd") if (path := _opened(each)).startswith(self._directory)]
        return os.listdir(self._directory) + nameless


def _opened(descriptor: str) -> str:
    link = Path("/proc/self/fd", descriptor)
    return os.readlink(link) if link.is_symlink() else ""
