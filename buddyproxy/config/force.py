"""Which settings do nothing: those that this version does not act on yet, and rules that another one comes before."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from buddyproxy.config.reading import join, quoted
from buddyproxy.config.schema import Config, Rule

NOT_YET_IN_FORCE: Final = frozenset(
    {
        "server.workers",
        "server.max_connections",
        "server.start_timeout",
        "security.keys.*.requests_per_minute",
        "security.failed_auth_attempts",
        "security.failed_auth_lockout_minutes",
        "security.admin_rate_limit_per_minute",
        "security.log_security_events",
        "security.allowed_hosts",
        "cache.url",
        "throttling.default_requests_per_hour",
        "throttling.domain_limits",
        "throttling.progressive_enabled",
        "throttling.progressive_max_delay",
        "throttling.max_wait",
        "throttling.learn_from_upstream",
        "throttling.headers",
        "logging.enable_console",
        "logging.parent_logger",
        "admin.endpoint",
        "admin.rate_limit_per_minute",
        "admin.log_access",
        "domain_mappings.*.requests_per_second",
        "domain_mappings.*.requests_per_minute",
        "domain_mappings.*.requests_per_hour",
        "domain_mappings.*.requests_per_day",
        "domain_mappings.*.max_wait",
        "domain_mappings.*.filters",
        "domain_mappings.*.cors",
        "domain_mappings.*.cost_per_request",
        "domain_mappings.*.budget",
        "callbacks.on_request",
        "callbacks.on_cache_hit",
        "callbacks.on_cache_miss",
        "callbacks.on_throttle_applied",
        "callbacks.on_error",
        "callbacks.on_security_event",
    }
)
"""Settings by path, "*" in place of the user's own names; what holds for a mapping holds for the one at the root."""

_EVERY_PATH: Final = frozenset({"*", "/*"})


def not_in_force(config: Config) -> list[str]:
    """Return the paths of settings that are not at their default and that nothing acts on yet."""
    return [path for pattern, path in _changed(config) if pattern in NOT_YET_IN_FORCE]


def never_met(config: Config) -> list[tuple[str, str]]:
    """Return the path of each rule that never holds, and that of the earlier one which holds wherever it would.

    Told are those behind a rule with the same pattern, or behind one for every path; patterns that merely overlap are
    not compared.
    """
    tables = (
        {"origin": config.origin}
        if config.origin
        else {join("domain_mappings", quoted(name)): mapping for name, mapping in config.domain_mappings.items()}
    )
    return [
        (f"{where}.rules[{number}]", f"{where}.rules[{earlier}]")
        for where, mapping in tables.items()
        for number, rule in enumerate(mapping.rules)
        if (earlier := _in_front_of(rule, mapping.rules[:number])) is not None
    ]


def _in_front_of(rule: Rule, others: Sequence[Rule]) -> int | None:
    """Return the number of the first of `others` that holds wherever `rule` would."""
    pattern = (rule.path, rule.path_regex)
    return next(
        (
            number
            for number, other in enumerate(others)
            if other.path in _EVERY_PATH or (other.path, other.path_regex) == pattern
        ),
        None,
    )


def _changed(section: Any, pattern: str = "", path: str = "") -> Iterator[tuple[str, str]]:
    """Yield pattern and path of each setting below `section` that is not at its default."""
    for field in attrs.fields(type(section)):
        value = getattr(section, field.name)
        inner_pattern, inner_path = join(pattern, field.name), join(path, field.name)
        if inner_pattern == "origin":
            inner_pattern = "domain_mappings.*"
        if attrs.has(type(value)):
            yield from _changed(value, inner_pattern, inner_path)
        elif isinstance(value, Mapping) and any(attrs.has(type(item)) for item in value.values()):
            for name, item in value.items():
                yield from _changed(item, f"{inner_pattern}.*", join(inner_path, quoted(name)))
        elif value != field.default:
            yield inner_pattern, inner_path
