"""Tests of `buddyproxy.config.schema`: the names, the defaults, and what holds between settings."""

from collections.abc import Mapping
from ipaddress import ip_network
from logging import getLogger
from types import MappingProxyType
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.config import (
    BreakerSettings,
    Config,
    DomainMapping,
    HeaderChanges,
    KeyParts,
    NamedKey,
    Rule,
    Timeouts,
)
from buddyproxy.errors import ConfigurationError

KEY = "0123456789abcdef"
MB = 2**20
URL = "https://api.example/v1"


def nested(path: str, value: object) -> dict[str, Any]:
    """Return the mapping in which `value` stands at `path`."""
    first, _, rest = path.partition(".")
    return {first: nested(rest, value) if rest else value}


def reach(config: Any, path: str) -> Any:
    """Return what stands at `path` in a configuration."""
    for part in path.split("."):
        config = config[part] if isinstance(config, Mapping) else getattr(config, part)
    return config


# Each documented key with its documented default, a value as somebody may write it, and what is read of it.
DOCUMENTED: dict[str, list[tuple[str, object, object, object]]] = {
    "server": [
        ("host", "127.0.0.1", "::1", "::1"),
        ("port", 8080, 0, 0),
        ("endpoints", (), ["tcp:80", "443", 8443], ("tcp:80", "tcp:443", "tcp:8443")),
        ("allow_open", False, True, True),
        ("workers", 1, 4, 4),
        ("max_connections", 10000, 5, 5),
        ("max_request_body", 100 * MB, "1MB", MB),
        ("request_timeout", 30.0, "1m", 60.0),
        ("start_timeout", 5.0, 1, 1.0),
        ("shutdown_timeout", 30.0, 0, 0.0),
    ],
    "security": [
        ("require_secure_key", None, False, False),
        ("secure_key", None, KEY, KEY),
        ("secure_key_file", None, "/run/key", "/run/key"),
        ("keys", {}, {"ann": {"key": KEY}}, {"ann": NamedKey(key=KEY)}),
        ("key_position", None, "path_prefix", "path_prefix"),
        ("key_header_name", "X-Proxy-Key", "X-Key", "X-Key"),
        ("key_param_name", "proxy_key", "k", "k"),
        ("failed_auth_attempts", 5, 1, 1),
        ("failed_auth_lockout_minutes", 5.0, 0, 0.0),
        ("admin_rate_limit_per_minute", 10, 0, 0),
        ("log_security_events", True, False, False),
        ("allowed_hosts", None, ["proxy.example", "127.0.0.1"], ("proxy.example", "127.0.0.1")),
        ("trusted_proxies", (), ["10.0.0.0/8", "::1"], (ip_network("10.0.0.0/8"), ip_network("::1"))),
    ],
    "cache": [
        ("mode", "buddy", "rfc9111", "rfc9111"),
        ("database_path", None, ":memory:", ":memory:"),
        ("url", None, "redis://:word@[::1]:6379/0", "redis://:word@[::1]:6379/0"),
        ("default_ttl", None, "7d", 604800.0),
        ("max_entries", 10000, 1, 1),
        ("max_size_mb", 500.0, 0.5, 0.5),
        ("memory_size_mb", 64.0, 0, 0.0),
        ("min_cache_response_size", 0, "1KB", 1024),
        ("max_cache_response_size", 10 * MB, 1, 1),
        ("enable_compression", True, False, False),
        ("cleanup_interval_hours", 1.0, 0.5, 0.5),
        ("cacheable_methods", None, ["GET", "QUERY"], ("GET", "QUERY")),
        ("cache_error_responses", False, True, True),
        ("error_ttl", {}, {"404": "1m", 500: 1}, {404: 60.0, 500: 1.0}),
        ("durability", "group", "each", "each"),
        ("backup_interval_hours", 0.0, 24, 24.0),
        ("stale_while_revalidate", 0.0, "1m", 60.0),
        ("stale_if_error", 0.0, "1d", 86400.0),
        ("no_vary_search", False, True, True),
        ("targeted_fields", ("CDN-Cache-Control",), [], ()),
    ],
    "throttling": [
        ("default_requests_per_hour", None, 0, 0.0),
        ("domain_limits", {}, {"api.example": 60}, {"api.example": 60.0}),
        ("progressive_enabled", True, False, False),
        ("progressive_max_delay", 300.0, "1m", 60.0),
        ("max_wait", 5.0, 0, 0.0),
        ("learn_from_upstream", True, False, False),
        ("headers", True, False, False),
    ],
    "logging": [
        ("level", "INFO", "debug", "DEBUG"),
        ("format", "text", "json", "json"),
        ("enable_console", True, False, False),
        ("enable_file", False, False, False),
        ("file_path", None, "/var/log/buddy.log", "/var/log/buddy.log"),
        ("max_file_size", 10 * MB, "1KB", 1024),
        ("backup_count", 5, 0, 0),
        ("parent_logger", None, "app", "app"),
    ],
    "admin": [
        ("enabled", True, False, False),
        ("path", None, "/_admin/v1/", "/_admin/v1"),
        ("endpoint", None, 9090, "tcp:9090"),
        ("rate_limit_per_minute", 10, 1, 1),
        ("log_access", True, False, False),
    ],
    "domain_mappings.api": [
        ("upstream", attrs.NOTHING, URL, URL),
        ("fallback", (), ["http://[::1]:81"], ("http://[::1]:81",)),
        ("ca_file", None, "/etc/ca.pem", "/etc/ca.pem"),
        ("mode", None, "rfc9111", "rfc9111"),
        ("ttl", None, "1h", 3600.0),
        ("methods", None, ["GET"], ("GET",)),
        ("cache_error_responses", None, False, False),
        ("error_ttl", None, {"404": "1m"}, {404: 60.0}),
        ("stale_while_revalidate", None, 0, 0.0),
        ("stale_if_error", None, "1h", 3600.0),
        ("no_vary_search", None, True, True),
        ("requests_per_second", None, 0.5, 0.5),
        ("requests_per_minute", None, 1, 1.0),
        ("requests_per_hour", None, 1, 1.0),
        ("requests_per_day", None, 1, 1.0),
        ("max_wait", None, 1, 1.0),
        ("max_connections", 1000, 4, 4),
        ("breaker", BreakerSettings(), {}, BreakerSettings()),
        ("breaker.enabled", True, False, False),
        ("breaker.failure_ratio", 0.5, 1, 1.0),
        ("breaker.window", 30.0, "1m", 60.0),
        ("breaker.minimum_requests", 20, 5, 5),
        ("breaker.open_for", 10.0, "500ms", 0.5),
        ("timeouts", Timeouts(), {}, Timeouts()),
        ("timeouts.connect", 10.0, 1, 1.0),
        ("timeouts.tls", 10.0, 1, 1.0),
        ("timeouts.first_byte", None, "1m", 60.0),
        ("timeouts.idle", 120.0, 1, 1.0),
        ("timeouts.total", 0.0, 1, 1.0),
        ("timeouts.tunnel_idle", 3600.0, "5m", 300.0),
        ("timeouts.tunnel_total", 0.0, "1d", 86400.0),
        ("retries", 2, 0, 0),
        ("override_origin", None, True, True),
        ("share", None, True, True),
        ("credentials", (), ["X-Account"], ("X-Account",)),
        (
            "rules",
            (),
            [{"path": "/v1/*", "ttl": "1h", "methods": [], "error_ttl": {"404": 1}}, {"path_regex": "/v[0-9]+.*"}],
            (Rule(path="/v1/*", ttl=3600.0, methods=(), error_ttl={404: 1.0}), Rule(path_regex="/v[0-9]+.*")),
        ),
        (
            "rules",
            (),
            [{"path": "*", "override_origin": True, "share": False, "mode": "buddy", "key": {"sort_query": True}}],
            (Rule(path="*", override_origin=True, share=False, mode="buddy", key=KeyParts(sort_query=True)),),
        ),
        (
            "rules",
            (),
            [{"path": "/a", "stale_while_revalidate": "1m", "stale_if_error": "1h", "no_vary_search": False}],
            (Rule(path="/a", stale_while_revalidate=60.0, stale_if_error=3600.0, no_vary_search=False),),
        ),
        ("key", KeyParts(), {}, KeyParts()),
        ("key.headers", None, ["Accept"], ("Accept",)),
        ("key.ignore_query", None, ["t", "utm_*", "*", "filter[x]"], ("t", "utm_*", "*", "filter[x]")),
        ("key.sort_query", None, True, True),
        ("key.ignore_body", None, ["user", "messages.*.id"], ("user", "messages.*.id")),
        ("forwarded", False, True, True),
        ("request_headers", HeaderChanges(), {}, HeaderChanges()),
        ("request_headers.set", {}, {"X-A": " b\tc "}, {"X-A": "b\tc"}),
        ("request_headers.remove", (), ["Cookie"], ("Cookie",)),
        ("response_headers", HeaderChanges(), {}, HeaderChanges()),
        ("response_headers.set", {}, {"X-A": ""}, {"X-A": ""}),
        ("response_headers.remove", (), ["Server"], ("Server",)),
        ("filters", (), ["redact", {"name": "my.module:redact"}], ("redact", "my.module:redact")),
        ("replay", None, "20.5/s", "20.5/s"),
        ("replay", None, "recorded", "recorded"),
        ("store_unless", None, ["error"], ("error",)),
        ("cors", (), ["https://app.example", "*"], ("https://app.example", "*")),
        ("cors", (), True, ("*",)),
        ("cors", (), False, ()),
        ("cost_per_request", 0.0, 0.002, 0.002),
        ("budget", None, 5, 5.0),
    ],
    "callbacks": [
        ("on_request", None, "app.hooks:seen", "app.hooks:seen"),
        ("on_cache_hit", None, "app:Hooks.hit", "app:Hooks.hit"),
        ("on_cache_miss", None, print, print),
        ("on_throttle_applied", None, None, None),
        ("on_error", None, "a:b", "a:b"),
        ("on_security_event", None, "a:b", "a:b"),
    ],
}

# Each name of the published module, the setting it stands for, and how its value is read.
ALIASES: list[tuple[str, str, object, object]] = [
    ("cache.default_ttl_days", "cache.default_ttl", 7, 604800.0),
    ("cache.default_ttl_seconds", "cache.default_ttl", 60, 60.0),
    ("cache.max_cache_entries", "cache.max_entries", 5, 5),
    ("domain_mappings.api.ttl_seconds", "domain_mappings.api.ttl", 60, 60.0),
    *(
        (f"domain_mappings.api.max_requests_per_{unit}", f"domain_mappings.api.requests_per_{unit}", 3, 3.0)
        for unit in ("second", "minute", "hour", "day")
    ),
]


def written(path: str, value: object) -> dict[str, Any]:
    """Return a mapping in which `value` stands at `path`, and which is complete otherwise."""
    mapping = nested(path, value)
    if "domain_mappings" in mapping:
        mapping["domain_mappings"]["api"].setdefault("upstream", URL)
    return mapping


class SchemaTests(SynchronousTestCase):
    """The names and the defaults are those of the design."""

    def test_documented_defaults(self) -> None:
        """What is not given has the documented default."""
        config = attrs.evolve(Config(), domain_mappings={"api": DomainMapping(upstream=URL)})
        self.assertEqual(Config.from_mapping({"domain_mappings": {"api": URL}}), config)
        for section, keys in DOCUMENTED.items():
            for key, default, _, _ in keys:
                if default is not attrs.NOTHING:
                    with self.subTest(key=f"{section}.{key}"):
                        self.assertEqual(reach(config, f"{section}.{key}"), default)

    def test_documented_keys(self) -> None:
        """Every documented key is read into the attribute of the same name."""
        for section, keys in DOCUMENTED.items():
            for key, _, value, read in keys:
                with self.subTest(key=f"{section}.{key}"):
                    config = Config.from_mapping(written(f"{section}.{key}", value))
                    self.assertEqual(reach(config, f"{section}.{key}"), read)

    def test_undocumented_keys(self) -> None:
        """There are no attributes but the documented ones."""
        config = Config.from_mapping({"domain_mappings": {"api": URL}})
        for section, keys in DOCUMENTED.items():
            documented = {key.partition(".")[0] for key, *_ in keys}
            found = {field.name for field in attrs.fields(type(reach(config, section)))}
            self.assertEqual(found, documented, section)

    def test_aliases(self) -> None:
        """The names of the published module are read into ours."""
        for alias, name, value, read in ALIASES:
            with self.subTest(alias=alias):
                self.assertEqual(reach(Config.from_mapping(written(alias, value)), name), read)

    def test_none_is_not_given(self) -> None:
        """None leaves a setting, a section or an entry as if it were not there."""
        nothing = {"cache": {"default_ttl": None}, "server": None, "domain_mappings": {"api": None}, "origin": None}
        self.assertEqual(Config.from_mapping(nothing), Config())

    def test_in_process_values(self) -> None:
        """A mapping made in the program may hold callables and loggers."""
        logger = getLogger("app")
        config = Config.from_mapping({"callbacks": {"on_error": print}, "logging": {"parent_logger": logger}})
        self.assertIs(config.callbacks.on_error, print)
        self.assertIs(config.logging.parent_logger, logger)

    def test_home(self) -> None:
        """`~` in a path is the home directory."""
        path = Config.from_mapping({"cache": {"database_path": "~/c.sqlite"}}).cache.database_path
        self.assertTrue(path and path.startswith("/") and path.endswith("/c.sqlite"), path)

    def test_immutable(self) -> None:
        """Nothing in a configuration can be changed, and what it was made of can be without effect."""
        source = {"domain_mappings": {"api": {"upstream": URL, "request_headers": {"set": {"X-A": "b"}}}}}
        config = Config.from_mapping(source)
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, config.server, "port", 1)
        self.assertIsInstance(config.domain_mappings, MappingProxyType)
        source["domain_mappings"]["api"]["request_headers"] = {}
        self.assertEqual(config.domain_mappings["api"].request_headers.set, {"X-A": "b"})


class MappingsTests(SynchronousTestCase):
    """A mapping is a URL or a table, has a name or is at the root."""

    def test_url(self) -> None:
        """A URL stands for a table with that upstream."""
        for given in (URL, {"upstream": URL}):
            config = Config.from_mapping({"domain_mappings": {"api": given}})
            self.assertEqual(config.mappings, {"api": DomainMapping(upstream=URL)})

    def test_origin(self) -> None:
        """The mapping at the root is the only one, and is called "origin"; keys may name it."""
        for given in (URL, {"upstream": URL}):
            keys = {"ann": {"key": KEY, "mappings": ["origin"]}}
            config = Config.from_mapping({"origin": given, "domain_mappings": {}, "security": {"keys": keys}})
            self.assertEqual(config.origin, DomainMapping(upstream=URL))
            self.assertEqual(config.mappings, {"origin": DomainMapping(upstream=URL)})

    def test_names(self) -> None:
        """A name is letters, digits and a few marks, and case counts."""
        names = {"a": URL, "A": URL, "9-api_v1.2": URL, "x" * 64: URL}
        self.assertEqual(set(Config.from_mapping({"domain_mappings": names}).mappings), set(names))

    def test_admin_elsewhere(self) -> None:
        """A mapping may be called "admin" where the admin pages are elsewhere, or where there are none."""
        for admin in ({"enabled": False}, {"path": "/.buddyproxy/admin"}):
            config = Config.from_mapping({"domain_mappings": {"admin": URL}, "admin": admin})
            self.assertEqual(list(config.mappings), ["admin"])

    def test_upstreams(self) -> None:
        """Any absolute http(s) URL without query, fragment and credentials is an upstream, kept as it was written."""
        for url in [
            "http://localhost",
            "HTTPS://API.example:65535/",
            "http://127.0.0.1:1/a%20b/@c;d=e",
            "http://[2001:db8::1]/",
            "http://my_service.local.:8000//",
        ]:
            with self.subTest(url=url):
                self.assertEqual(Config.from_mapping({"origin": url}).mappings["origin"].upstream, url)


class SecretTests(SynchronousTestCase):
    """What is secret stays secret."""

    def test_repr(self) -> None:
        """No secret is in the repr of a configuration."""
        config = Config.from_mapping(
            {
                "security": {"secure_key": "s3cret" * 4, "keys": {"ann": {"key": "s3cret" * 3}}},
                "cache": {"url": "redis://:s3cret@localhost"},
                "domain_mappings": {
                    "api": {
                        "upstream": URL,
                        "request_headers": {"set": {"Authorization": "Bearer s3cret"}},
                        "response_headers": {"set": {"X-A": "s3cret"}},
                    }
                },
            }
        )
        self.assertEqual(config.domain_mappings["api"].request_headers.set["Authorization"], "Bearer s3cret")
        self.assertNotIn("s3cret", repr(config))
        self.assertNotIn("s3cret", str(config))

    def test_messages(self) -> None:
        """No message holds what was written, wherever a secret was put by mistake."""
        mapping: dict[str, Any] = {
            section: {key: "s3cret\x00" for key, *_ in keys if "." not in key} for section, keys in DOCUMENTED.items()
        }
        del mapping["domain_mappings.api"]
        mapping["security"]["keys"] = {"ann": {"key": "s3cret", "mappings": ["s3cret"]}, "bob": "s3cret"}
        mapping["domain_mappings"] = {
            "table": {key: "s3cret\x00" for key, *_ in DOCUMENTED["domain_mappings.api"] if "." not in key},
            "header": {"upstream": URL, "request_headers": {"set": {"A": "s3cret\n"}, "remove": ["s3cret\n"]}},
            "url": "https://me:s3cret@api.example?s3cret",
            "lists": {"upstream": "s3cret", "fallback": ["https://s3cret@h"], "cors": ["s3cret"], "rules": ["s3cret"]},
        }
        mapping["cache"]["url"] = "redis://:s3cret@"
        for whole in (mapping, {**mapping, "origin": "https://me:s3cret@api.example"}):
            error = self.assertRaises(ConfigurationError, Config.from_mapping, whole)
            self.assertGreater(len(error.problems), 90)
            self.assertNotIn("s3cret", str(error) + repr(error) + repr(error.problems))
