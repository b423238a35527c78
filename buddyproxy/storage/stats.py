"""What a store can say of itself: counters since it was opened, and what it holds now."""

from attrs import frozen


@frozen
class StorageStats:
    """A store's figures at one moment; the counters count from when it was opened."""

    entries: int = 0
    """Stored responses it holds, as last counted; what is still queued is not among them."""
    size: int = 0
    """Their size in bytes, by `StoredResponse.size`."""
    stored: int = 0
    """Stored responses it took."""
    dropped: int = 0
    """Stored responses it did not keep: too large, no room in the queue, or the medium refused them."""
    evicted: int = 0
    """Stored responses it gave up, least recently used first, to stay within its limits."""
    damaged: int = 0
    """Stored responses that no longer matched their checksum."""
    quarantined: int = 0
    """Times a damaged file was moved aside."""
    failed: int = 0
    """Times that writing to the medium failed."""
    queued: int = 0
    """Bytes waiting to be written."""
