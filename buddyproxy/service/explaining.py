"""Where a URL leads and what holds for it there, in words: what `--check-url` says.

It asks the same table and the same policies that answer requests, so it cannot say anything else than what happens.
"""

import re
from collections.abc import Iterator
from typing import Final

from buddyproxy.cache.policy import Policies, Policy
from buddyproxy.config import ORIGIN, Config, Rule, format_duration
from buddyproxy.errors import UnknownMapping
from buddyproxy.routing import Route, RoutingTable
from buddyproxy.service.assembly import admin_paths

# What stands before the target: scheme and authority, or nothing where the URL is a path.
_ROOT: Final = re.compile(r"https?://[^/?#]+|(?=/)", re.IGNORECASE)


def explain(config: Config, url: str) -> list[str]:
    """Return lines that say where `url` leads and what the cache does there.

    `url` is a path at this proxy, an address of it, or one of an origin, which is told of for all its mappings. Raises
    `ValueError` where it leads nowhere.
    """
    return [f"{label}: {text}" for route in _routes(config, url) for label, text in _explained(config, route)]


def _routes(config: Config, url: str) -> list[Route]:
    """Return the routes that `url` stands for. Raises `ValueError` where there is none."""
    root = _ROOT.match(url)
    if root is None or not re.fullmatch("[!-~]+", url):
        raise ValueError("expected an http(s) URL, or a path such as /NAME/models, percent-encoded where it has to be")
    table = RoutingTable.build(config.mappings, ORIGIN if config.origin else None)
    uri = url.partition("#")[0]
    if routes := table.leading_to(uri.encode("ascii")):
        return routes
    target = uri[root.end() :]
    path = target.partition("?")[0]
    if any(path == page or path.startswith(f"{page}/") for page in admin_paths(config)):
        raise ValueError("this is one of the proxy's own pages")
    try:
        return [table.route((target if path else f"/{target}").encode("ascii"))]
    except UnknownMapping:
        known = ", ".join(config.mappings) or "none"
        raise ValueError(
            f"no mapping has this upstream, or the name this path begins with; known are: {known}"
        ) from None


def _explained(config: Config, route: Route) -> Iterator[tuple[str, str]]:
    mapping = config.mappings[route.name]
    policies = Policies.build(route.name, mapping, config.cache, route.base.path)
    number = policies.matching(route.target)
    yield "mapping", route.name
    yield "origin", route.uri.decode("ascii")
    if mapping.fallback:
        yield "fallback", ", ".join(mapping.fallback)
    yield "rule", "no rule" if number is None else f"rules[{number}], {_pattern(mapping.rules[number])}"
    policy = policies.of(route.target)
    if not policy.methods:
        yield "methods", "none: nothing is stored, and every request goes to the origin"
        return
    yield "methods", _methods(policy)
    yield "lifetime", _lifetime(policy)
    yield "errors", _errors(policy)
    yield "grace", _grace(policy)
    yield "callers", _callers(policy)
    yield "key", "; ".join(("method, URI and content", *_key(policy)))
    yield "streams", _streams(policy)
    if policy.store_unless:
        yield "not stored", " or ".join(condition.text for condition in policy.store_unless)


def _pattern(rule: Rule) -> str:
    return f'path = "{rule.path}"' if rule.path is not None else f'path_regex = "{rule.path_regex}"'


def _methods(policy: Policy) -> str:
    head = {b"HEAD"} if policy.caches(b"HEAD") else set()
    return ", ".join(sorted(method.decode("ascii") for method in policy.methods | head))


def _lifetime(policy: Policy) -> str:
    unsaid = (
        "a tenth of the time since Last-Modified" if policy.default_ttl is None else format_duration(policy.default_ttl)
    )
    if not policy.override_origin:
        return f"as the origin says; where it does not, {unsaid}"
    if policy.default_ttl is not None:
        return f"{unsaid}, whatever the origin says"
    return f"as the origin says, its no-store, private and no-cache left aside; where it does not, {unsaid}"


def _errors(policy: Policy) -> str:
    named = [f"{status} for {format_duration(seconds)}" for status, seconds in sorted(policy.error_ttl.items())]
    if policy.error_lifetime is not None:
        others = f"others for {format_duration(policy.error_lifetime)}, where the origin does not say"
    elif policy.store_errors:
        others = "others as the origin says"
    else:
        others = "others not stored"
    return ", ".join((*named, others if named else others.removeprefix("others ")))


def _grace(policy: Policy) -> str:
    validating, failing = format_duration(policy.stale_while_revalidate), format_duration(policy.stale_if_error)
    return f"where the response does not say, {validating} while it is validated, {failing} where the origin fails"


def _callers(policy: Policy) -> str:
    if policy.partition:
        named = ", ".join(sorted(name.decode("ascii") for name in policy.credentials.names))
        return f"kept apart by {named}, and by all else whose name says who is asking"
    if policy.shared:
        return "share, but for answers to requests with Authorization that do not allow it (RFC 9111, 3.5)"
    return "share"


def _streams(policy: Policy) -> str:
    if isinstance(policy.replay, float):
        return f"sent again at {policy.replay:g} events a second"
    return "sent again at once" if policy.replay == "instant" else "sent again as they came"


def _key(policy: Policy) -> Iterator[str]:
    """Yield what is special about the key."""
    if policy.key_headers:
        yield "also header " + ", ".join(name.decode("ascii") for name in policy.key_headers)
    if policy.ignore_query:
        yield "without query parameter " + ", ".join(name.decode() for name in policy.ignore_query)
    if policy.sort_query:
        yield "query sorted"
    if policy.ignore_body:
        yield "without member " + ", ".join(".".join(path) for path in policy.ignore_body)
    if policy.no_vary_search:
        yield "query as No-Vary-Search says"
