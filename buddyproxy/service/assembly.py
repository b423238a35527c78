"""From a configuration to the objects that do the work: the only place where concrete classes are chosen."""

from collections.abc import Callable, Iterable
from functools import partial
from math import inf
from pathlib import Path
from random import random

from attrs import field, frozen
from twisted.internet.interfaces import IReactorCore, IReactorFromThreads, IReactorTime
from twisted.internet.task import deferLater
from twisted.web.resource import IResource, Resource

from buddyproxy.breaker import Terms
from buddyproxy.cache.policy import Policies
from buddyproxy.config import (
    ORIGIN,
    BreakerSettings,
    CacheSettings,
    Config,
    DomainMapping,
    HeaderChanges,
    SecuritySettings,
    read_key,
)
from buddyproxy.exchange import Exchange
from buddyproxy.filters import FieldChanges, Outward
from buddyproxy.forwarding import Destinations, Forwarder
from buddyproxy.gate import KEY_POSITIONS, Gate, Key
from buddyproxy.message import Origin
from buddyproxy.metrics import Metrics
from buddyproxy.routing import Base, RoutingTable
from buddyproxy.storage import Storage
from buddyproxy.storage.clearing import clear_file
from buddyproxy.storage.memory import MemoryStorage
from buddyproxy.storage.sqlite import SqliteStorage
from buddyproxy.storage.tiered import TieredStorage
from buddyproxy.upstream import Timeouts, Upstream
from buddyproxy.web.admin import admin_resource
from buddyproxy.web.proxied import Passage, Proxied
from buddyproxy.web.tree import landing_page, tree
from buddyproxy.web.upgrading import TunnelLimits

MB = 2**20


class Reactor(IReactorCore, IReactorFromThreads, IReactorTime):
    """What the service needs of a reactor."""


def open_storage(settings: CacheSettings, reactor: IReactorTime) -> Storage:
    """Return the store that `settings` asks for, open. Raises `CacheError` where its file cannot be used."""
    memory = MemoryStorage(int(settings.memory_size_mb * MB), settings.max_entries, partial(_a_turn, reactor))
    if settings.database_path in (None, ":memory:"):
        return memory
    disk = SqliteStorage.open(
        Path(settings.database_path or ""),
        reactor,
        max_entries=settings.max_entries,
        max_bytes=int(settings.max_size_mb * MB),
        each=settings.durability == "each",
        compress=settings.enable_compression,
    )
    return TieredStorage(memory, disk)


async def _a_turn(reactor: IReactorTime) -> None:
    """Let `reactor` do what else there is to do."""
    await deferLater(reactor, 0)


def disk_of(storage: Storage) -> SqliteStorage | None:
    """Return the part of `storage` that has a file to be backed up, if there is one."""
    if isinstance(storage, TieredStorage) and isinstance(storage.disk, SqliteStorage):
        return storage.disk
    return None


@frozen
class Assembly:
    """What the configuration in force is made into."""

    config: Config
    gate: Gate
    storage: Storage
    upstream: Upstream
    metrics: Metrics
    reactor: Reactor
    chance: Callable[[], float] = random
    """Says how much of the longest wait before a retry is waited, from 0 to 1."""
    destinations: Destinations = field(factory=Destinations, init=False)

    def resource(self) -> Resource:
        """Return the resource tree, and have the upstream side keep to what is said of connections."""
        mappings = self.config.mappings
        for origin, connections in _limits(mappings.values()).items():
            self.upstream.limit(origin, connections)
        at_root = ORIGIN if self.config.origin else None
        proxied = Proxied(
            self.gate,
            RoutingTable.build(mappings, at_root),
            {name: self._passage(name, mapping) for name, mapping in mappings.items()},
            self.metrics,
            self.reactor,
        )
        pages: dict[str, IResource] = {path: admin_resource() for path in admin_paths(self.config)}
        if not at_root:
            # Where a key is needed, the page at / tells a stranger nothing.
            shown = {} if self.gate.keys else {name: mapping.upstream for name, mapping in mappings.items()}
            pages["/"] = landing_page(shown, locked=bool(self.gate.keys))
        return tree(proxied, pages)

    def _passage(self, name: str, mapping: DomainMapping) -> Passage:
        forwarder = self._forwarder(mapping)
        base = forwarder.destinations[0].base
        policies = Policies.build(name, mapping, self.config.cache, base.path)
        return Passage(
            Exchange(policies, self.storage, forwarder.send, self.reactor),
            forwarder.switch,
            Outward(changes(mapping.request_headers), mapping.forwarded, self.config.security.trusted_proxies),
            changes(mapping.response_headers),
            TunnelLimits(mapping.timeouts.tunnel_idle, mapping.timeouts.tunnel_total),
        )

    def _forwarder(self, mapping: DomainMapping) -> Forwarder:
        terms = _terms(mapping.breaker)
        destinations = [self.destinations.at(base, terms) for base in _bases(mapping)]
        return Forwarder(
            self.upstream, self.reactor, destinations, self._timeouts(mapping), mapping.retries, self.chance
        )

    def _timeouts(self, mapping: DomainMapping) -> Timeouts:
        given = mapping.timeouts
        first_byte = self.config.server.request_timeout if given.first_byte is None else given.first_byte
        return Timeouts(given.connect, given.tls, first_byte, given.idle, given.total)


def _bases(mapping: DomainMapping) -> tuple[Base, ...]:
    """Return the bases of `mapping`, its own first."""
    return Base.of(mapping), *Base.fallbacks(mapping)


def _limits(mappings: Iterable[DomainMapping]) -> dict[Origin, int]:
    """Return how many connections there may be to each origin: where mappings share one, the smallest number holds."""
    limits: dict[Origin, int] = {}
    for mapping in mappings:
        for base in _bases(mapping):
            limits[base.origin] = min(mapping.max_connections, limits.get(base.origin, mapping.max_connections))
    return limits


def _terms(settings: BreakerSettings) -> Terms:
    ratio = settings.failure_ratio if settings.enabled else inf
    return Terms(ratio, settings.window, settings.minimum_requests, settings.open_for)


def admin_paths(config: Config) -> list[str]:
    """Return where the operator's doors stand: `/.buddyproxy` is nobody else's, and known whatever is at the root."""
    if not config.admin.enabled:
        return []
    if config.admin.path:
        return [config.admin.path]
    return ["/.buddyproxy"] if config.origin else ["/.buddyproxy", "/admin"]


def gate_of(settings: SecuritySettings) -> Gate:
    """Return the gate. Raises OSError or ValueError where the key's file has changed since it was checked."""
    secrets = [settings.secure_key] if settings.secure_key else []
    if settings.secure_key_file:
        secrets.append(read_key(settings.secure_key_file))
    keys = [Key.of(secret) for secret in secrets]
    keys += [Key.of(named.key, named.mappings) for named in settings.keys.values()]
    return Gate(
        tuple(keys),
        positions=KEY_POSITIONS if settings.key_position is None else frozenset({settings.key_position}),
        header=settings.key_header_name.encode("ascii"),
        parameter=settings.key_param_name.encode("ascii"),
    )


def changes(settings: HeaderChanges) -> FieldChanges:
    """Return the changes to header fields that `settings` names."""
    return FieldChanges(
        tuple((name.encode("ascii"), value.encode("utf-8")) for name, value in settings.set.items()),
        frozenset(name.lower().encode("ascii") for name in settings.remove),
    )


def clear_storage(settings: CacheSettings, now: float) -> int | None:
    """Remove every stored response from the file that `settings` names; return how many, or None where there is none.

    Processes that use it let go of what they have in memory, as it was removed at `now`.

    Blocks meanwhile. Raises `CacheError` where the file cannot be used.
    """
    path = Path(settings.database_path or ":memory:")
    return clear_file(path, now) if path.exists() else None
