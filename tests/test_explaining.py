"""Tests of `buddyproxy.service.explaining`: where a URL leads, and what is said to hold there."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.config import Config
from buddyproxy.service.explaining import explain

UPSTREAM = "https://api.example/v1"


def _config(mapping: dict[str, Any] | None = None, **sections: Any) -> Config:
    """Return a configuration with the mapping `api`, and `sections` beside it."""
    return Config.from_mapping({"domain_mappings": {"api": {"upstream": UPSTREAM, **(mapping or {})}}, **sections})


def _said(config: Config, url: str = "/api/models") -> dict[str, str]:
    """Return what is said of `url` by its label."""
    return dict(line.split(": ", 1) for line in explain(config, url))


class WhereTests(SynchronousTestCase):
    """Which mapping and rule a URL meets."""

    def test_ways_to_say_it(self) -> None:
        """A path, an address of the proxy and one of the origin are all understood; what is no target is left out."""
        config = _config()
        for url, origin in (
            ("/api", "/v1"),
            ("/api/models?x=1", "/v1/models?x=1"),
            ("/api/models#top", "/v1/models"),
            ("http://127.0.0.1:8080/api/models?x=/y", "/v1/models?x=/y"),
            ("HTTPS://proxy.example/api", "/v1"),
            ("http://localhost:8080//../api", None),
            ("https://api.example/v1/models?x=1#top", "/v1/models?x=1"),
            ("https://API.example:443/v1", "/v1"),
            ("https://api.example/v1?x", "/v1?x"),
        ):
            if origin is None:
                self.assertRaises(ValueError, explain, config, url)
            else:
                said = _said(config, url)
                self.assertEqual((said["mapping"], said["origin"]), ("api", f"https://api.example{origin}"), url)

    def test_origin_at_the_root(self) -> None:
        """Where one mapping is at the root, every path is its own, but for the proxy's pages."""
        config = Config.from_mapping({"origin": UPSTREAM})
        for url in ("/models", "http://127.0.0.1:8080/models", "https://api.example/v1/models"):
            self.assertEqual(_said(config, url)["origin"], "https://api.example/v1/models", url)
        for url in ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"):
            self.assertEqual(_said(config, url)["origin"], "https://api.example/v1/", url)
        self.assertEqual(_said(config, "http://127.0.0.1:8080?a")["origin"], "https://api.example/v1/?a")
        error = self.assertRaises(ValueError, explain, config, "/.buddyproxy/health")
        self.assertEqual(str(error), "this is one of the proxy's own pages")

    def test_fallback(self) -> None:
        """Where else the origin is asked for in its place is told, and an address there leads to the mapping too."""
        config = _config({"fallback": ["http://spare.example/x", "http://last.example"]})
        for url in ("/api/a", "http://spare.example/x/a"):
            said = _said(config, url)
            self.assertEqual(said["origin"], "https://api.example/v1/a")
            self.assertEqual(said["fallback"], "http://spare.example/x, http://last.example")
        self.assertNotIn("fallback", _said(_config()))

    def test_several_mappings(self) -> None:
        """Every mapping that leads to an origin's address is told of, in the order of the configuration."""
        mappings = {"two": "https://api.example", "one": UPSTREAM, "other": "https://api.example/v2"}
        lines = explain(Config.from_mapping({"domain_mappings": mappings}), "https://api.example/v1/a")
        self.assertEqual([line for line in lines if "mapping:" in line], ["mapping: two", "mapping: one"])

    def test_nowhere(self) -> None:
        """What leads nowhere is told with what would have."""
        unknown = "no mapping has this upstream, or the name this path begins with; known are: api"
        wanted = "expected an http(s) URL, or a path such as /NAME/models, percent-encoded where it has to be"
        for url, expected in (
            ("/other", unknown),
            ("/", unknown),
            ("https://api.example/v2/models", unknown),
            ("http://api.example/v1", unknown),
            ("https://me@api.example/v1", unknown),
            ("http://127.0.0.1:8080", unknown),
            ("/admin", "this is one of the proxy's own pages"),
            ("http://127.0.0.1:8080/admin/health?x", "this is one of the proxy's own pages"),
            ("/administration", unknown),
            ("", wanted),
            ("api/models", wanted),
            ("ftp://api.example/v1", wanted),
            ("https://", wanted),
            ("/api/a b", wanted),
            ("/api/é", wanted),
        ):
            error = self.assertRaises(ValueError, explain, _config(), url)
            self.assertEqual(str(error), expected, url)
        error = self.assertRaises(ValueError, explain, Config(), "/api")
        self.assertTrue(str(error).endswith("known are: none"), error)

    def test_rules(self) -> None:
        """The rule is told by its place and its pattern, as it will be met."""
        rules = [{"path": "/models*"}, {"path_regex": "/[a-m]+"}]
        config = _config({"rules": rules})
        for url, expected in (
            ("/api/models/a?b", 'rules[0], path = "/models*"'),
            ("/api/%6Dodels", 'rules[0], path = "/models*"'),
            ("/api/files", "no rule"),
            ("https://api.example/v1/chat", "no rule"),
            ("https://api.example/v1/image", 'rules[1], path_regex = "/[a-m]+"'),
        ):
            self.assertEqual(_said(config, url)["rule"], expected, url)
        self.assertEqual(_said(_config())["rule"], "no rule")


class WhatTests(SynchronousTestCase):
    """What is said of the policy."""

    def _check(self, label: str, *cases: tuple[dict[str, Any], str]) -> None:
        for mapping, expected in cases:
            self.assertEqual(_said(_config(mapping))[label], expected, mapping)
            # A rule says it in the same words.
            self.assertEqual(_said(_config({"rules": [{"path": "/models", **mapping}]}))[label], expected, mapping)

    def test_methods(self) -> None:
        """HEAD goes with GET."""
        self._check(
            "methods",
            ({}, "GET, HEAD, POST, QUERY"),
            ({"mode": "rfc9111"}, "GET, HEAD, QUERY"),
            ({"methods": ["POST"]}, "POST"),
            ({"methods": []}, "none: nothing is stored, and every request goes to the origin"),
        )
        self.assertEqual(list(_said(_config({"methods": []}))), ["mapping", "origin", "rule", "methods"])

    def test_lifetime(self) -> None:
        """Whose word counts, and what holds without it."""
        heuristic = "a tenth of the time since Last-Modified"
        self._check(
            "lifetime",
            ({}, "as the origin says; where it does not, 7d"),
            ({"ttl": "90m"}, "as the origin says; where it does not, 1h30m"),
            ({"mode": "rfc9111"}, f"as the origin says; where it does not, {heuristic}"),
            ({"override_origin": True}, "7d, whatever the origin says"),
            (
                {"override_origin": True, "mode": "rfc9111"},
                f"as the origin says, its no-store, private and no-cache left aside; where it does not, {heuristic}",
            ),
        )

    def test_errors(self) -> None:
        """Named statuses first, and then what becomes of the others."""
        self._check(
            "errors",
            ({}, "not stored"),
            ({"error_ttl": {500: 5, 404: "1m"}}, "404 for 1m, 500 for 5s, others not stored"),
            ({"mode": "rfc9111"}, "as the origin says"),
            ({"mode": "rfc9111", "error_ttl": {404: 0}}, "404 for 0s, others as the origin says"),
            ({"cache_error_responses": True}, "for 1m, where the origin does not say"),
        )

    def test_grace(self) -> None:
        """Both periods."""
        self._check(
            "grace",
            (
                {"stale_while_revalidate": 60, "stale_if_error": "1d"},
                "where the response does not say, 1m while it is validated, 1d where the origin fails",
            ),
        )

    def test_callers(self) -> None:
        """Who may be given what others have asked for, and by which fields callers are told apart."""
        usual = (
            "api-key, apikey, authorization, cookie, ocp-apim-subscription-key, openai-organization, openai-project, "
            "proxy-authorization, x-access-token, x-amz-security-token, x-api-key, x-auth-token, x-functions-key, "
            "x-goog-api-key, x-rapidapi-key, x-subscription-token"
        )
        others = "and by all else whose name says who is asking"
        strict = "share, but for answers to requests with Authorization that do not allow it (RFC 9111, 3.5)"
        self._check(
            "callers",
            ({}, f"kept apart by {usual}, {others}"),
            ({"share": True}, "share"),
            ({"mode": "rfc9111"}, strict),
            ({"mode": "rfc9111", "share": True}, strict),
        )
        self.assertEqual(
            _said(_config({"credentials": ["X-Zone"]}))["callers"], f"kept apart by {usual}, x-zone, {others}"
        )

    def test_key(self) -> None:
        """What the key has besides the usual, and what it has not."""
        key = {
            "headers": ["X-Tenant", "Accept"],
            "ignore_query": ["utm_*", "t"],
            "sort_query": True,
            "ignore_body": ["metadata.user"],
        }
        self._check(
            "key",
            ({}, "method, URI and content"),
            (
                {"key": key, "no_vary_search": True},
                "method, URI and content; also header accept, x-tenant; without query parameter t, utm_*; "
                "query sorted; without member metadata.user; query as No-Vary-Search says",
            ),
        )

    def test_streams(self) -> None:
        """How fast stored streams are sent again."""
        self._check(
            "streams",
            ({}, "sent again at once"),
            ({"replay": "recorded"}, "sent again as they came"),
            ({"replay": "20/s"}, "sent again at 20 events a second"),
        )

    def test_not_stored(self) -> None:
        """What makes an answer not worth keeping, as it was written; no word where nothing does."""
        conditions = [" error", 'choices[*].finish_reason = "length"']
        self._check("not stored", ({"store_unless": conditions}, 'error or choices[*].finish_reason = "length"'))
        self.assertNotIn("not stored", _said(_config()))
