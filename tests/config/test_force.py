"""Tests of `buddyproxy.config.force`."""

from collections.abc import Iterator
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.config import NOT_YET_IN_FORCE, Config, DomainMapping, NamedKey, never_met, not_in_force

URL = "https://api.example/v1"

IN_FORCE = {
    "server": "host port endpoints allow_open max_request_body request_timeout shutdown_timeout",
    "security": "secure_key secure_key_file key_position key_header_name key_param_name require_secure_key "
    "trusted_proxies",
    "security.keys.*": "key mappings",
    "cache": "mode database_path default_ttl memory_size_mb max_entries max_size_mb min_cache_response_size "
    "max_cache_response_size cleanup_interval_hours cacheable_methods cache_error_responses error_ttl "
    "enable_compression backup_interval_hours durability targeted_fields stale_while_revalidate "
    "stale_if_error no_vary_search",
    "logging": "level enable_file file_path max_file_size backup_count format",
    "admin": "enabled path",
    "domain_mappings.*": "upstream fallback max_connections ca_file mode ttl "
    "methods cache_error_responses error_ttl override_origin share "
    "credentials rules forwarded retries stale_while_revalidate stale_if_error no_vary_search "
    "replay store_unless",
    "domain_mappings.*.key": "headers ignore_query sort_query ignore_body",
    "domain_mappings.*.breaker": "enabled failure_ratio window minimum_requests open_for",
    "domain_mappings.*.timeouts": "connect tls first_byte idle total tunnel_idle tunnel_total",
    "domain_mappings.*.request_headers": "set remove",
    "domain_mappings.*.response_headers": "set remove",
}


def patterns(section: Any, where: str = "") -> Iterator[str]:
    """Yield every setting there is."""
    for field in attrs.fields(type(section)):
        value = getattr(section, field.name)
        if field.name in ("keys", "domain_mappings"):
            yield from patterns(value["x"], f"{where}{field.name}.*.")
        elif attrs.has(type(value)):
            yield from patterns(value, f"{where}{field.name}.")
        elif where or field.name != "origin":
            yield where + field.name


class ForceTests(SynchronousTestCase):
    """`not_in_force` names what was set in vain."""

    def test_complete(self) -> None:
        """Every setting is either acted on or said not to be, and none is both."""
        security = attrs.evolve(Config().security, keys={"x": NamedKey(key="0123456789abcdef")})
        config = Config(security=security, domain_mappings={"x": DomainMapping(upstream=URL)})
        in_force = {f"{where}.{name}" for where, names in IN_FORCE.items() for name in names.split()}
        self.assertEqual(set(patterns(config)), in_force | NOT_YET_IN_FORCE)
        self.assertEqual(in_force & NOT_YET_IN_FORCE, set())

    def test_defaults(self) -> None:
        """What is at its default, given or not, is not named."""
        self.assertEqual(not_in_force(Config()), [])
        same = {"server": {"workers": 1}, "domain_mappings": {"api": {"upstream": URL, "retries": 2, "cors": False}}}
        self.assertEqual(not_in_force(Config.from_mapping(same)), [])

    def test_changed(self) -> None:
        """What is set and not acted on is named by its path; what is acted on is not."""
        config = Config.from_mapping(
            {
                "server": {"workers": 2, "port": 0},
                "security": {"keys": {"ann": {"key": "0123456789abcdef", "requests_per_minute": 5}}},
                "throttling": {"domain_limits": {"a": 1}},
                "domain_mappings": {
                    "a.b": {"upstream": URL, "ttl": 5, "timeouts": {"tls": 1, "idle": 1}, "budget": 1},
                    "c": {"upstream": URL, "rules": [{"path": "/"}], "stale_if_error": 0},
                },
                "callbacks": {"on_error": print},
            }
        )
        self.assertEqual(
            not_in_force(config),
            [
                "server.workers",
                "security.keys.ann.requests_per_minute",
                "throttling.domain_limits",
                'domain_mappings."a.b".budget',
                "callbacks.on_error",
            ],
        )

    def test_origin(self) -> None:
        """What holds for a mapping holds for the one at the root."""
        config = Config.from_mapping({"origin": {"upstream": URL, "ttl": 5, "cors": True}})
        self.assertEqual(not_in_force(config), ["origin.cors"])


class NeverMetTests(SynchronousTestCase):
    """`never_met` names the rules that another one keeps from ever holding."""

    def test_patterns(self) -> None:
        """A rule is in vain behind its own pattern or one for every path; a glob is no regular expression."""
        for patterns, expected in (
            ([{"path": "/a"}, {"path": "/b"}, {"path": "/a*"}, {"path_regex": "/a"}], []),
            ([{"path": "/a"}, {"path": "/b"}, {"path": "/a"}, {"path": "/a"}], [(2, 0), (3, 0)]),
            ([{"path_regex": "/a"}, {"path_regex": "/b"}, {"path_regex": "/a"}], [(2, 0)]),
            ([{"path": "/a"}, {"path": "/*"}, {"path": "/a"}, {"path_regex": "/b"}], [(2, 0), (3, 1)]),
            ([{"path": "*"}, {"path": "/b?"}], [(1, 0)]),
            ([{"path_regex": ".*"}, {"path": "/b"}], []),
        ):
            for where, written in (
                ("origin", {"origin": {"upstream": URL, "rules": patterns}}),
                ('domain_mappings."a.b"', {"domain_mappings": {"a.b": {"upstream": URL, "rules": patterns}}}),
            ):
                named = [(f"{where}.rules[{late}]", f"{where}.rules[{early}]") for late, early in expected]
                self.assertEqual(never_met(Config.from_mapping(written)), named, patterns)
