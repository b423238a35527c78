"""What a mapping asks of the cache, as one value.

Both modes are the same rules with different policies; nothing else in `cache/` knows of modes or of configuration.
"""

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from buddyproxy.config import CacheSettings, DomainMapping

CREDENTIALS: Final = frozenset(
    {
        b"api-key",
        b"apikey",
        b"authorization",
        b"cookie",
        b"ocp-apim-subscription-key",
        b"openai-organization",
        b"openai-project",
        b"proxy-authorization",
        b"x-access-token",
        b"x-amz-security-token",
        b"x-api-key",
        b"x-auth-token",
        b"x-functions-key",
        b"x-goog-api-key",
        b"x-rapidapi-key",
        b"x-subscription-token",
    }
)
"""Request fields that say who is asking, in lower case; a mapping's `credentials` adds to them."""


IMPLIED: Final = frozenset(
    {
        b"accept",
        b"anthropic-beta",
        b"anthropic-version",
        b"openai-beta",
        b"x-http-method-override",
        b"x-method-override",
    }
)
"""Request fields that decide what common APIs answer although their answers seldom name them in Vary."""

ERROR_LIFETIME: Final = 60.0
"""What an error gets, in seconds, where errors are stored on purpose and neither it nor `error_ttl` names a time."""

BUDDY_TTL: Final = 7 * 86400.0
"""Freshness lifetime in buddy mode, in seconds, where neither the origin nor the configuration names one."""


@frozen
class Policy:
    """What may be stored of one mapping, for how long, and who may share it. Times in seconds, sizes in bytes."""

    mapping: str
    default_ttl: float | None = None
    """Freshness lifetime of responses that say nothing of it; None: heuristic only (RFC 9111, 4.2.2)."""
    methods: frozenset[bytes] = frozenset({b"GET", b"QUERY"})
    """Request methods whose responses are stored, each under a key of its own; HEAD always goes with GET."""
    partition: bool = False
    """Whether callers with different credentials are kept apart by the key."""
    shared: bool = True
    """Whether RFC 9111's rule for requests with Authorization applies (3.5)."""
    credentials: frozenset[bytes] = CREDENTIALS
    keep_set_cookie: bool = True
    """Whether Set-Cookie is stored with the response."""
    store_errors: bool = True
    """Whether statuses from 400 are stored at all; those in `error_ttl` always are."""
    error_ttl: Mapping[int, float] = field(factory=dict)
    """Freshness lifetime by status, for responses from 400 that say nothing of it."""
    error_lifetime: float | None = None
    """Freshness lifetime of the others from 400 that say nothing of it; None: heuristic only."""
    implied: frozenset[bytes] = frozenset()
    """Request fields that select a response even where it does not say so by Vary, in lower case."""
    override_origin: bool = False
    """Whether `default_ttl` stands in for what the origin says about caching."""
    stale_while_revalidate: float = 0.0
    """Grace for reuse while validating, where the response names none (RFC 5861, 3)."""
    stale_if_error: float = 0.0
    """Grace for reuse where the origin fails and the response names none (RFC 5861, 4)."""
    targeted: tuple[bytes, ...] = ()
    """Targeted cache-control fields that are obeyed, the first to be found before the others (RFC 9213, 2.2), in lower
    case."""
    no_vary_search: bool = False
    """Whether responses may say by No-Vary-Search which query parameters do not matter."""
    key_headers: tuple[bytes, ...] = ()
    """Request fields whose values are part of the key, in lower case and sorted."""
    ignore_query: tuple[bytes, ...] = ()
    """Names of query parameters left out of the key; those that end in `*` stand for every name that begins so."""
    sort_query: bool = False
    """Whether the order in which query parameters with different names come is left out of the key."""
    ignore_body: tuple[tuple[str, ...], ...] = ()
    """Members of JSON content left out of the key: the names that lead to each from the top, `*` for any of a list."""
    min_size: int = 0
    max_size: int = 10 * 2**20

    def caches(self, method: bytes) -> bool:
        """Return whether requests with `method` may be answered from the cache."""
        return method in self.methods or (method == b"HEAD" and b"GET" in self.methods)


def policy_of(name: str, mapping: DomainMapping, cache: CacheSettings) -> Policy:
    """Return the policy of the mapping `name`: the mode's defaults, under what the configuration says."""
    buddy = (mapping.mode or cache.mode) == "buddy"
    ttl = cache.default_ttl if mapping.ttl is None else mapping.ttl
    methods = cache.cacheable_methods if mapping.methods is None else mapping.methods
    if methods is None:
        methods = ("GET", "POST", "QUERY") if buddy else ("GET", "QUERY")
    partition = buddy and not mapping.share
    return Policy(
        mapping=name,
        default_ttl=BUDDY_TTL if ttl is None and buddy else ttl,
        methods=frozenset(method.encode("ascii") for method in methods) - {b"HEAD"},
        partition=partition,
        shared=not buddy,
        credentials=CREDENTIALS.union(field.lower().encode("ascii") for field in mapping.credentials),
        keep_set_cookie=not buddy,
        store_errors=cache.cache_error_responses or not buddy,
        error_ttl=cache.error_ttl,
        error_lifetime=ERROR_LIFETIME if cache.cache_error_responses else None,
        implied=IMPLIED if buddy else frozenset(),
        override_origin=mapping.override_origin,
        targeted=tuple(name.lower().encode("ascii") for name in cache.targeted_fields),
        min_size=cache.min_cache_response_size,
        max_size=cache.max_cache_response_size,
    )
