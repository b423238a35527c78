"""What a mapping asks of the cache, as one value: for all its paths, or for those that one of its rules matches.

Both modes are the same rules with different policies; nothing else in `cache/` knows of modes or of configuration.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, TypeVar

from attrs import asdict, evolve, field, fields, frozen

from buddyproxy.cache.paths import LONGEST_PATH, glob, normal_path
from buddyproxy.config import CacheSettings, Caching, Condition, DomainMapping, Rule, parse_condition

T = TypeVar("T")

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

# What else is called so that it is likely to say who is asking. To keep callers apart for nothing costs a hit; to give
# one the answer of another must not happen. Not what is made anew for each request, or says how a browser came here.
_LIKELY: Final = re.compile(
    rb"(?!sec-|(?:x-)?idempotency-key\Z).*"
    rb"(?:auth(?:\Z|[-_]|enti|ori[sz])|credential|dpop|jwt|passw|secret|session|signature|token"
    rb"|[-_]key\Z|apikey|(?:[-_]|\A)(?:user|user[-_]?id|user[-_]?name|email|tenant|account)\Z)"
)


@frozen
class Credentials:
    """The request fields that say who is asking: those named, and those whose names say so."""

    names: frozenset[bytes] = CREDENTIALS
    """In lower case."""

    def __contains__(self, name: object) -> bool:
        return name in self.names or (isinstance(name, bytes) and _is_likely(name))


@lru_cache(maxsize=4096)
def _is_likely(name: bytes) -> bool:
    return len(name) <= 100 and _LIKELY.match(name) is not None


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

_CACHING: Final = tuple(field.name for field in fields(Caching))
"""The settings that a rule may have in place of its mapping's."""

Pace = Literal["instant", "recorded"] | float
"""How a stored stream is sent again: at once, as it came, or so many events a second."""

MemberPath = tuple[str, ...]
"""The names that lead to a member of a JSON text from the top; `*` for every member of an object or of a list."""


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
    credentials: Credentials = Credentials()
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
    any_coding: bool = False
    """Whether what was stored for one caller serves another who takes other content codings, undone if need be."""
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
    ignore_body: tuple[MemberPath, ...] = ()
    """What is left out of the key where the content is JSON."""
    replay: Pace = "instant"
    store_unless: tuple[Condition, ...] = ()
    """What makes an answer not worth keeping (see `worth.py`)."""
    min_size: int = 0
    max_size: int = 10 * 2**20

    def caches(self, method: bytes) -> bool:
        """Return whether requests with `method` may be answered from the cache."""
        return method in self.methods or (method == b"HEAD" and b"GET" in self.methods)


@frozen
class Policies:
    """The policies of one mapping: one for each of its rules, and the one where none of them matches."""

    default: Policy
    rules: tuple[tuple[re.Pattern[bytes], Policy], ...] = ()
    """Patterns for paths at the mapping, in normal form, each with the policy for what it matches as a whole."""
    base: bytes = b""
    """The path that all the mapping's targets begin with, which no pattern speaks of."""

    @classmethod
    def build(cls, name: str, mapping: DomainMapping, cache: CacheSettings, base: bytes = b"") -> "Policies":
        """Return the policies of the mapping `name`: what a rule does not say, it has from the mapping."""
        rules = ((_pattern(rule), policy_of(name, _under(rule, mapping), cache)) for rule in mapping.rules)
        return cls(policy_of(name, mapping, cache), tuple(rules), base)

    def of(self, target: bytes) -> Policy:
        """Return the policy for the request-target `target`, which is the origin's."""
        if not self.rules:
            return self.default
        number = self.matching(target)
        return self.default if number is None else self.rules[number][1]

    def matching(self, target: bytes) -> int | None:
        """Return the number, from 0 on, of the first rule that matches the path of `target`; None where none does."""
        path = normal_path(target.partition(b"?")[0].removeprefix(self.base) or b"/")[:LONGEST_PATH]
        return next((number for number, (pattern, _) in enumerate(self.rules) if pattern.fullmatch(path)), None)


def policy_of(name: str, mapping: DomainMapping, cache: CacheSettings) -> Policy:
    """Return the policy of the mapping `name`: the mode's defaults, under what the configuration says."""
    buddy = (mapping.mode or cache.mode) == "buddy"
    ttl = _said(mapping.ttl, cache.default_ttl)
    methods = _said(mapping.methods, cache.cacheable_methods)
    if methods is None:
        methods = ("GET", "POST", "QUERY") if buddy else ("GET", "QUERY")
    errors = _said(mapping.cache_error_responses, cache.cache_error_responses)
    key = mapping.key
    return Policy(
        mapping=name,
        default_ttl=BUDDY_TTL if ttl is None and buddy else ttl,
        methods=frozenset(method.encode("ascii") for method in methods) - {b"HEAD"},
        partition=buddy and not mapping.share,
        shared=not buddy,
        credentials=Credentials(CREDENTIALS.union(field.lower().encode("ascii") for field in mapping.credentials)),
        keep_set_cookie=not buddy,
        store_errors=errors or not buddy,
        error_ttl=_said(mapping.error_ttl, cache.error_ttl),
        error_lifetime=ERROR_LIFETIME if errors else None,
        implied=IMPLIED if buddy else frozenset(),
        any_coding=buddy,
        override_origin=bool(mapping.override_origin),
        stale_while_revalidate=_said(mapping.stale_while_revalidate, cache.stale_while_revalidate),
        stale_if_error=_said(mapping.stale_if_error, cache.stale_if_error),
        targeted=tuple(name.lower().encode("ascii") for name in cache.targeted_fields),
        no_vary_search=_said(mapping.no_vary_search, cache.no_vary_search),
        key_headers=tuple(sorted({name.lower().encode("ascii") for name in key.headers or ()})),
        ignore_query=tuple(sorted({name.encode() for name in key.ignore_query or ()})),
        sort_query=bool(key.sort_query),
        ignore_body=tuple(sorted({tuple(names.split(".")) for names in key.ignore_body or ()})),
        replay=_pace(mapping.replay or "instant"),
        store_unless=tuple(map(parse_condition, mapping.store_unless or ())),
        min_size=cache.min_cache_response_size,
        max_size=cache.max_cache_response_size,
    )


def _said(mapping: T | None, cache: T) -> T:
    """Return what the mapping says, where it says anything, and otherwise what holds for all."""
    return cache if mapping is None else mapping


def _pace(replay: str) -> Pace:
    if replay == "instant":
        return "instant"
    return "recorded" if replay == "recorded" else float(replay.removesuffix("/s"))


def _pattern(rule: Rule) -> re.Pattern[bytes]:
    return glob(rule.path) if rule.path is not None else re.compile((rule.path_regex or "").encode("ascii"))


def _under(rule: Rule, mapping: DomainMapping) -> DomainMapping:
    """Return `mapping` as it is where `rule` holds."""
    said = {name: value for name in _CACHING if (value := getattr(rule, name)) is not None}
    key = {name: value for name, value in asdict(rule.key).items() if value is not None}
    return evolve(mapping, **{**said, "key": evolve(mapping.key, **key)})
