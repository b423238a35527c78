"""The configuration as frozen classes: every section, every setting, its default and how it is read.

Attributes are named like the keys. Durations are seconds as float, sizes bytes as int; a name that ends in a unit holds
a plain number of that unit. Text stays as it was written: what goes on the wire is encoded by whoever puts it there.
None means that nothing was given; where the default then depends on something else, the docstring says on what, and
whoever uses the setting decides.
"""

from collections.abc import Iterator, Mapping, Set
from logging import Logger
from types import MappingProxyType
from typing import Any, ClassVar, Final

from attrs import frozen

from buddyproxy.config import addresses, values
from buddyproxy.config.addresses import Network
from buddyproxy.config.quantities import HOUR, MB, parse_duration, parse_size
from buddyproxy.config.reading import (
    Draft,
    Entries,
    Findings,
    Section,
    Several,
    Shorthand,
    Table,
    at,
    quoted,
    required,
    setting,
)
from buddyproxy.config.values import Callback, above_zero, boolean, number, one_of, text, whole
from buddyproxy.errors import Problem

ORIGIN: Final = "origin"
"""The name of the mapping at the root, which `Config.origin` holds."""

_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

_mode = one_of("buddy", "rfc9111")
_timeout = above_zero(parse_duration)
_error_ttl = Entries(values.error_status, parse_duration)


@frozen(kw_only=True)
class ServerSettings(Section):
    """Where the proxy listens, and what it bears."""

    host: str = setting(addresses.host, "127.0.0.1")
    port: int = setting(addresses.port, 8080)
    """0: any free one."""
    endpoints: tuple[str, ...] = setting(Several(addresses.endpoint), ())
    """Endpoint strings to listen on instead of `host` and `port`."""
    allow_open: bool = setting(boolean, False)
    workers: int = setting(whole(1), 1)
    max_connections: int = setting(whole(1), 10000)
    max_request_body: int = setting(parse_size, 100 * MB)
    request_timeout: float = setting(_timeout, 30.0)
    start_timeout: float = setting(_timeout, 5.0)
    shutdown_timeout: float = setting(parse_duration, 30.0)


@frozen(kw_only=True)
class NamedKey(Section):
    """A key of one caller's own."""

    key: str = required(values.secret_key, secret=True)
    mappings: tuple[str, ...] | None = setting(Several(text), None)
    """The mappings it opens; None: all of them."""
    requests_per_minute: float | None = setting(number, None)
    """None or 0: no limit."""


@frozen(kw_only=True)
class SecuritySettings(Section):
    """Who may come in."""

    ALTERNATIVES: ClassVar[frozenset[str]] = frozenset({"secure_key", "secure_key_file"})

    require_secure_key: bool | None = setting(boolean, None)
    """None: only when listening beyond loopback."""
    secure_key: str | None = setting(values.secret_key, None, secret=True)
    secure_key_file: str | None = setting(values.path, None)
    keys: Mapping[str, NamedKey] = setting(Entries(values.name, Table(NamedKey)), _NOTHING)
    key_position: str | None = setting(one_of("header", "path_prefix", "query_param"), None)
    """None: any of the three."""
    key_header_name: str = setting(values.field_name, "X-Proxy-Key")
    key_param_name: str = setting(values.parameter, "proxy_key")
    failed_auth_attempts: int = setting(whole(1), 5)
    failed_auth_lockout_minutes: float = setting(number, 5.0)
    """0: never locked out."""
    admin_rate_limit_per_minute: int = setting(whole(), 10)
    log_security_events: bool = setting(boolean, True)
    allowed_hosts: tuple[str, ...] | None = setting(Several(addresses.host), None)
    """Host names and addresses a request may be for; None: not given, the gate decides."""
    trusted_proxies: tuple[Network, ...] = setting(Several(addresses.network), ())

    @classmethod
    def conflicts(cls, draft: Draft) -> Iterator[Problem]:
        """Yield a problem for each name whose key another one has: whose it is would be chance."""
        keys = draft.get("keys", _NOTHING)
        if not isinstance(keys, Mapping):
            return
        owners = {draft.get("secure_key"): "secure_key"}
        for name, named in keys.items():
            if named.key in owners:
                yield Problem(f"keys.{quoted(name)}.key", f"is the same as {owners[named.key]}")
            owners.setdefault(named.key, f"that of {quoted(name)}")


@frozen(kw_only=True)
class CacheSettings(Section):
    """What is stored, where, and for how long."""

    mode: str = setting(_mode, "buddy")
    database_path: str | None = setting(values.database_path, None)
    """None: ":memory:" embedded, `default_cache_path` under twistd."""
    url: str | None = setting(addresses.redis_url, None, secret=True)
    default_ttl: float | None = setting(
        parse_duration, None, aliases={"default_ttl_days": values.days, "default_ttl_seconds": values.seconds}
    )
    """None: 7 days in buddy mode, none in rfc9111 mode."""
    max_entries: int = setting(whole(1), 10000, aliases={"max_cache_entries": whole(1)})
    max_size_mb: float = setting(above_zero(number), 500.0)
    memory_size_mb: float = setting(number, 64.0)
    """0: nothing is kept in memory."""
    min_cache_response_size: int = setting(parse_size, 0)
    max_cache_response_size: int = setting(parse_size, 10 * MB)
    enable_compression: bool = setting(boolean, True)
    cleanup_interval_hours: float = setting(above_zero(number), 1.0)
    cacheable_methods: tuple[str, ...] | None = setting(Several(values.method), None)
    """None: GET, POST and QUERY in buddy mode, GET and QUERY in rfc9111 mode."""
    cache_error_responses: bool = setting(boolean, False)
    error_ttl: Mapping[int, float] = setting(_error_ttl, _NOTHING)
    """Freshness lifetime by status, from 400 on."""
    stale_while_revalidate: float = setting(parse_duration, 0.0)
    """Grace where the response names none (RFC 5861, 3)."""
    stale_if_error: float = setting(parse_duration, 0.0)
    """Grace where the response names none (RFC 5861, 4)."""
    no_vary_search: bool = setting(boolean, False)
    durability: str = setting(one_of("group", "each"), "group")
    backup_interval_hours: float = setting(number, 0.0)
    """0: never."""
    targeted_fields: tuple[str, ...] = setting(Several(values.field_name), ("CDN-Cache-Control",))

    @classmethod
    def conflicts(cls, draft: Draft) -> Iterator[Problem]:
        """Yield a problem where no response can be of a size that is stored."""
        smallest = draft.get("min_cache_response_size", 0)
        largest = draft.get("max_cache_response_size", 10 * MB)
        if isinstance(smallest, int) and isinstance(largest, int) and smallest > largest:
            yield Problem("min_cache_response_size", "is more than max_cache_response_size: nothing would be stored")


@frozen(kw_only=True)
class ThrottlingSettings(Section):
    """How fast origins are asked."""

    default_requests_per_hour: float | None = setting(number, None)
    """None: 1000 in buddy mode; 0: no limit."""
    domain_limits: Mapping[str, float] = setting(Entries(text, number), _NOTHING)
    """Requests per hour by domain, as the published module has them."""
    progressive_enabled: bool = setting(boolean, True)
    progressive_max_delay: float = setting(parse_duration, 300.0)
    max_wait: float = setting(parse_duration, 5.0)
    learn_from_upstream: bool = setting(boolean, True)
    headers: bool = setting(boolean, True)


@frozen(kw_only=True)
class LoggingSettings(Section):
    """What is told of the proxy's work, and where."""

    REFUSED: ClassVar[Mapping[str, str]] = {
        "include_secure_key": "keys are never logged, and no setting changes that; remove this one"
    }

    level: str = setting(values.level, "INFO")
    format: str = setting(one_of("text", "json"), "text")
    enable_console: bool = setting(boolean, True)
    enable_file: bool = setting(boolean, False)
    file_path: str | None = setting(values.path, None)
    max_file_size: int = setting(parse_size, 10 * MB)
    backup_count: int = setting(whole(), 5)
    parent_logger: str | Logger | None = setting(values.parent_logger, None)

    @classmethod
    def conflicts(cls, draft: Draft) -> Iterator[Problem]:
        """Yield a problem where there is to be a log file and nobody said which."""
        if draft.get("enable_file") is True and "file_path" not in draft:
            yield Problem("file_path", "is missing, and enable_file needs it")


@frozen(kw_only=True)
class AdminSettings(Section):
    """The pages and calls for whoever runs the proxy."""

    enabled: bool = setting(boolean, True)
    path: str | None = setting(values.admin_path, None)
    """Absolute, without a slash at its end. None: "/admin"; "/.buddyproxy" where a mapping is at the root."""
    endpoint: str | None = setting(addresses.endpoint, None)
    rate_limit_per_minute: int = setting(whole(), 10)
    log_access: bool = setting(boolean, True)


@frozen(kw_only=True)
class Timeouts(Section):
    """How long an origin may take."""

    connect: float = setting(_timeout, 10.0)
    tls: float = setting(_timeout, 10.0)
    first_byte: float | None = setting(_timeout, None)
    """None: `server.request_timeout`."""
    idle: float = setting(_timeout, 120.0)
    total: float = setting(parse_duration, 0.0)
    """0: no limit."""
    tunnel_idle: float = setting(_timeout, HOUR)
    """After a 101, without a byte in either direction."""
    tunnel_total: float = setting(parse_duration, 0.0)
    """After a 101, altogether; 0: no limit."""


@frozen(kw_only=True)
class BreakerSettings(Section):
    """When an origin that fails is given a rest, and for how long."""

    enabled: bool = setting(boolean, True)
    failure_ratio: float = setting(values.ratio, 0.5)
    window: float = setting(_timeout, 30.0)
    minimum_requests: int = setting(whole(1), 20)
    """How many requests there must be in the window for the ratio to count."""
    open_for: float = setting(_timeout, 10.0)


@frozen(kw_only=True)
class KeyParts(Section):
    """What of a request belongs to the cache key beyond the usual, and what does not; None: not said."""

    headers: tuple[str, ...] | None = setting(Several(values.field_name), None)
    ignore_query: tuple[str, ...] | None = setting(Several(values.parameter_pattern), None)
    sort_query: bool | None = setting(boolean, None)
    ignore_body: tuple[str, ...] | None = setting(Several(values.member_path), None)


@frozen(kw_only=True)
class Caching(Section):
    """What a mapping may say of caching, and a rule of the paths it is for; None: not said.

    What a rule does not say, the mapping says for it, and what that does not say, `CacheSettings`.
    """

    mode: str | None = setting(_mode, None)
    ttl: float | None = setting(parse_duration, None, aliases={"ttl_seconds": values.seconds})
    """`cache.default_ttl`, for a mapping or its rule."""
    methods: tuple[str, ...] | None = setting(Several(values.method), None)
    """`cache.cacheable_methods`, for a mapping or its rule; nothing is stored where there are none."""
    cache_error_responses: bool | None = setting(boolean, None)
    error_ttl: Mapping[int, float] | None = setting(_error_ttl, None)
    override_origin: bool | None = setting(boolean, None)
    """None: false."""
    share: bool | None = setting(boolean, None)
    """None: false."""
    stale_while_revalidate: float | None = setting(parse_duration, None)
    stale_if_error: float | None = setting(parse_duration, None)
    no_vary_search: bool | None = setting(boolean, None)
    replay: str | None = setting(values.replay, None)
    """One of "instant" and "recorded", or a rate such as "20/s". None: "instant"."""
    store_unless: tuple[str, ...] | None = setting(Several(values.condition), None)
    """None: none."""
    key: KeyParts = setting(Table(KeyParts), KeyParts())


@frozen(kw_only=True)
class HeaderChanges(Section):
    """Header fields set and removed on the way through. Values may be credentials and stay out of the repr."""

    set: Mapping[str, str] = setting(Entries(values.settable_field, values.field_value), _NOTHING, secret=True)
    remove: tuple[str, ...] = setting(Several(values.field_name), ())


@frozen(kw_only=True)
class Rule(Caching):
    """What is different for the paths that match its pattern."""

    ALTERNATIVES: ClassVar[frozenset[str]] = frozenset({"path", "path_regex"})

    path: str | None = setting(values.path_glob, None)
    path_regex: str | None = setting(values.path_regex, None)

    @classmethod
    def conflicts(cls, draft: Draft) -> Iterator[Problem]:
        """Yield a problem for a rule that says of no path what it is for."""
        if not cls.ALTERNATIVES.intersection(draft):
            yield Problem("path", "is missing, and so is path_regex: one of them says what the rule is for")


@frozen(kw_only=True)
class _Filter(Section):
    name: str = required(values.filter_name)


def _filter(value: object) -> str:
    return Shorthand("name", Table(_Filter))(value).name


@frozen(kw_only=True)
class DomainMapping(Caching):
    """One origin, and how it is dealt with."""

    upstream: str = required(addresses.upstream)
    fallback: tuple[str, ...] = setting(Several(addresses.upstream), ())
    """Where else to ask, in this order, where `upstream` fails."""
    ca_file: str | None = setting(values.path, None)
    requests_per_second: float | None = setting(number, None, aliases={"max_requests_per_second": number})
    requests_per_minute: float | None = setting(number, None, aliases={"max_requests_per_minute": number})
    requests_per_hour: float | None = setting(number, None, aliases={"max_requests_per_hour": number})
    """None: `throttling.default_requests_per_hour`; 0: no limit, here as in its siblings."""
    requests_per_day: float | None = setting(number, None, aliases={"max_requests_per_day": number})
    max_wait: float | None = setting(parse_duration, None)
    """None: `throttling.max_wait`."""
    max_connections: int = setting(whole(1), 1000)
    """To each of its origins at once."""
    timeouts: Timeouts = setting(Table(Timeouts), Timeouts())
    retries: int = setting(whole(), 2)
    breaker: BreakerSettings = setting(Table(BreakerSettings), BreakerSettings())
    credentials: tuple[str, ...] = setting(Several(values.field_name), ())
    """Fields that say who is asking, beyond those everybody knows."""
    rules: tuple[Rule, ...] = setting(Several(Table(Rule)), ())
    """The first that matches a path holds for it."""
    forwarded: bool = setting(boolean, False)
    request_headers: HeaderChanges = setting(Table(HeaderChanges), HeaderChanges())
    response_headers: HeaderChanges = setting(Table(HeaderChanges), HeaderChanges())
    filters: tuple[str, ...] = setting(Several(_filter), ())
    cors: tuple[str, ...] = setting(addresses.cors, ())
    """Web origins whose pages may call; "*" for all of them, which is also what true means."""
    cost_per_request: float = setting(number, 0.0)
    budget: float | None = setting(number, None)
    """None: no limit."""


@frozen(kw_only=True)
class Callbacks(Section):
    """What is called when something happens: a callable, or "package.module:function"."""

    on_request: Callback | None = setting(values.callback, None)
    on_cache_hit: Callback | None = setting(values.callback, None)
    on_cache_miss: Callback | None = setting(values.callback, None)
    on_throttle_applied: Callback | None = setting(values.callback, None)
    on_error: Callback | None = setting(values.callback, None)
    on_security_event: Callback | None = setting(values.callback, None)


_mapping = Shorthand("upstream", Table(DomainMapping))


@frozen(kw_only=True)
class Config(Section):
    """Everything one can set, read and checked."""

    server: ServerSettings = setting(Table(ServerSettings), ServerSettings())
    security: SecuritySettings = setting(Table(SecuritySettings), SecuritySettings())
    cache: CacheSettings = setting(Table(CacheSettings), CacheSettings())
    throttling: ThrottlingSettings = setting(Table(ThrottlingSettings), ThrottlingSettings())
    logging: LoggingSettings = setting(Table(LoggingSettings), LoggingSettings())
    admin: AdminSettings = setting(Table(AdminSettings), AdminSettings())
    domain_mappings: Mapping[str, DomainMapping] = setting(Entries(values.name, _mapping), _NOTHING)
    callbacks: Callbacks = setting(Table(Callbacks), Callbacks())
    origin: DomainMapping | None = setting(_mapping, None)
    """The mapping at the root, the only one there is then."""

    @classmethod
    def from_mapping(cls, mapping: object) -> "Config":
        """Return the configuration that `mapping`, a table of tables, describes.

        Raises `ConfigurationError` with every problem there is.
        """
        findings = Findings()
        config: Config = findings.read("", Table(cls), mapping)
        told = {problem.path for problem in findings.problems}
        findings.problems += [problem for problem in _between_sections(mapping) if problem.path not in told]
        findings.settle()
        return config

    @property
    def mappings(self) -> Mapping[str, DomainMapping]:
        """Return every mapping by its name: the one at the root is called `ORIGIN`."""
        return self.domain_mappings if self.origin is None else MappingProxyType({ORIGIN: self.origin})


def _between_sections(written: object) -> Iterator[Problem]:
    """Yield what is wrong between sections.

    It looks at them as they were written, for it has its part to tell where one of them could not be read, too.
    """
    names = {
        name
        for _, table in at(written, "domain_mappings")
        for name, mapping in (table.items() if isinstance(table, Mapping) else ())
        if mapping is not None
    }
    if any(mapping is not None for _, mapping in at(written, "origin")):
        if names:
            yield Problem("domain_mappings", "must be empty where origin is set, which takes every path")
        names.add(ORIGIN)
    else:
        yield from _behind_admin(written, names)
    for where, mapping in at(written, "security", "keys", "*", "mappings", "*"):
        if isinstance(mapping, str) and mapping not in names:
            yield Problem(where, "is not the name of a mapping")


def _behind_admin(written: object, names: Set[object]) -> Iterator[Problem]:
    """Yield a problem for a mapping that nobody could reach, since its path is the admin pages'."""
    if any(enabled is False for _, enabled in at(written, "admin", "enabled")):
        return
    path = next((path for _, path in at(written, "admin", "path") if isinstance(path, str)), "/admin")
    first = path.strip("/").partition("/")[0]
    if first in names:
        yield Problem(f"domain_mappings.{quoted(first)}", "is where the admin pages are; rename it or set admin.path")
