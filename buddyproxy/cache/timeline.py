"""When which part of a content arrived: what a stream needs to be sent again as it came."""

from collections.abc import Iterator, Sequence
from itertools import islice
from struct import Struct
from typing import Final

from attrs import field, frozen

MOST: Final = 20_000
"""Chunks that are told apart at most; where there are more, neighbours count as one."""

_CHUNK = Struct("<II")
_LATEST = 2**32 - 1


@frozen
class Timeline:
    """The chunks of a content, each with its length and when it came; as bytes, for there may be thousands."""

    packed: bytes = field(default=b"", repr=lambda packed: f"<{len(packed) // _CHUNK.size} chunks>")

    @classmethod
    def of(cls, chunks: Sequence[bytes], times: Sequence[float]) -> "Timeline":
        """Return the timeline of `chunks`, which came at `times`, in seconds since whenever."""
        together = max(1, -(-len(chunks) // MOST))
        packed, latest = bytearray(), 0
        for first in range(0, len(chunks), together):
            # A clock may be set back.
            latest = max(latest, min(_LATEST, round((times[first] - times[0]) * 1000)))
            packed += _CHUNK.pack(latest, sum(map(len, islice(chunks, first, first + together))))
        return cls(bytes(packed))

    def __bool__(self) -> bool:
        return bool(self.packed)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Yield of each chunk how many milliseconds after the first one it came, and how many bytes it has."""
        return _CHUNK.iter_unpack(self.packed)
