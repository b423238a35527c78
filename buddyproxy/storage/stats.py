"""What a store can say of itself: counters since it was opened, and what it holds now."""

from collections.abc import Mapping

from attrs import field, frozen


@frozen
class Held:
    """How much is held of one mapping."""

    entries: int = 0
    size: int = 0
    """Bytes, by `StoredResponse.size`."""


NOTHING = Held()


@frozen
class Flushes:
    """How often changes were written to the medium, and how long that took, in seconds."""

    count: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def and_one_of(self, seconds: float) -> "Flushes":
        """Return these and one more."""
        return Flushes(self.count + 1, self.seconds + seconds, max(self.longest, seconds))


@frozen
class Bodies:
    """Bytes of bodies that were written to the medium."""

    received: int = 0
    """As they were received."""
    written: int = 0
    """As they stand there."""

    def and_also(self, other: "Bodies") -> "Bodies":
        """Return these and `other` together."""
        return Bodies(self.received + other.received, self.written + other.written)


@frozen
class StorageStats:
    """A store's figures at one moment; the counters count from when it was opened."""

    entries: int = 0
    """Stored responses it holds, as last counted; what is still queued is not among them."""
    size: int = 0
    """Their size in bytes, by `StoredResponse.size`."""
    mappings: Mapping[str, Held] = field(factory=dict)
    """What of it belongs to each mapping, as of the last write; those of which there is nothing are left out."""
    hits: int = 0
    """Lookups that found something under their key; whether it was reused, the store does not know."""
    misses: int = 0
    """Lookups that found nothing, or failed."""
    stored: int = 0
    """Stored responses it took."""
    dropped: int = 0
    """Stored responses it did not keep: too large, no room in the queue, or the medium refused them."""
    evicted: int = 0
    """Stored responses it gave up, least recently used first, to stay within its limits."""
    expired: int = 0
    """Stored responses it removed because they were of no more use."""
    damaged: int = 0
    """Stored responses that no longer matched their checksum."""
    quarantined: int = 0
    """Times a damaged file was moved aside."""
    failed: int = 0
    """Times that writing to the medium failed."""
    queued: int = 0
    """Bytes waiting to be written."""
    waiting: int = 0
    """Changes waiting to be written."""
    flushes: Flushes = Flushes()
    bodies: Bodies = Bodies()
    """What it wrote of them; nothing where there is no medium."""
    tiers: Mapping[str, "StorageStats"] = field(factory=dict)
    """The figures of each of its tiers, the quickest first; none where it is only one."""

    @property
    def hit_ratio(self) -> float | None:
        """Return which part of the lookups found something; None before the first."""
        lookups = self.hits + self.misses
        return self.hits / lookups if lookups else None

    @property
    def compression_ratio(self) -> float | None:
        """Return how many bytes of bodies were received for each that was written; None before the first.

        It is that of what was written since the store was opened, whether it is still there or not.
        """
        return self.bodies.received / self.bodies.written if self.bodies.written else None
