"""A log file of our own, rotated by size, beside whatever the process logs to."""

from pathlib import Path
from typing import IO, Any, Final, cast

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from buddyproxy.config import LoggingSettings

_LEVELS: Final = {
    "DEBUG": LogLevel.debug,
    "INFO": LogLevel.info,
    "WARNING": LogLevel.warn,
    "ERROR": LogLevel.error,
    "CRITICAL": LogLevel.critical,
}


def least_level(settings: LoggingSettings) -> Any:
    """Return the level below which nothing is wanted."""
    return _LEVELS[settings.level]


@implementer(ILogObserver)
class RotatedLog:
    """Writes the events of the configured level and above to a file that is rotated by size.

    As text, or as JSON with one event a line. Raises OSError where the file cannot be opened.
    """

    def __init__(self, settings: LoggingSettings) -> None:
        path = Path(settings.file_path or "")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = LogFile(
            path.name,
            str(path.parent),
            rotateLength=settings.max_file_size,
            maxRotatedFiles=settings.backup_count or None,
            defaultMode=0o600,
        )
        file = cast(IO[Any], self._file)
        as_json = settings.format == "json"
        write = jsonFileLogObserver(file, recordSeparator="") if as_json else textFileLogObserver(file)
        self._observe = FilteringLogObserver(write, [LogLevelFilterPredicate(_LEVELS[settings.level])])

    def __call__(self, event: LogEvent) -> None:
        """Write `event`, if it is of enough weight."""
        self._observe(event)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
