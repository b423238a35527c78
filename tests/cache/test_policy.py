"""Tests of `buddyproxy.cache.policy`: the two modes, as one value each."""

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.paths import LONGEST_PATH
from buddyproxy.cache.policy import (
    BUDDY_TTL,
    CREDENTIALS,
    ERROR_LIFETIME,
    IMPLIED,
    Credentials,
    Policies,
    Policy,
    policy_of,
)
from buddyproxy.config import Condition, Config
from tests.support.values import BUDDY, RFC9111

_UPSTREAM = "https://origin.example"


def _config(cache: Mapping[str, Any], mapping: Mapping[str, Any]) -> Config:
    """Return a configuration with the mapping `m`, as somebody would write it and `cache`."""
    return Config.from_mapping({"cache": cache, "domain_mappings": {"m": {"upstream": _UPSTREAM, **mapping}}})


def _policy(cache: Mapping[str, Any], mapping: Mapping[str, Any]) -> Policy:
    """Return the policy of the mapping `m`."""
    config = _config(cache, mapping)
    return policy_of("m", config.mappings["m"], config.cache)


def _policies(mapping: Mapping[str, Any], cache: Mapping[str, Any] | None = None, base: bytes = b"") -> Policies:
    """Return the policies of the mapping `m`, rules and all."""
    config = _config(cache or {}, mapping)
    return Policies.build("m", config.mappings["m"], config.cache, base)


class CredentialsTests(SynchronousTestCase):
    """Which request fields say who is asking."""

    def test_by_name(self) -> None:
        """Those that are known, and those whose name says that they are such."""
        for name in (
            *CREDENTIALS,
            *b"private-token x-gitlab-token job-token xi-api-key x-vault-token x-shopify-access-token token".split(),
            *b"x-auth-key x-auth-email x-session-token dpop remote-user x-forwarded-user x-user-id x-oauth".split(),
            *b"x-client-secret x-tenant x-account x-authorization x-authentication apikey x_api_key user".split(),
            *b"x-hub-signature-256 x-jwt-assertion x-password x-subscription-key".split(),
        ):
            self.assertIn(name, Credentials(), name)

    def test_by_no_name(self) -> None:
        """Not those that are new with each request, that a browser adds, or that only sound like it."""
        for name in (
            *b"idempotency-key x-idempotency-key sec-websocket-key sec-fetch-user user-agent x-user-agent".split(),
            *b"accept x-author authority origin x-stainless-lang x-request-id host via monkey x-forwarded-for".split(),
            b"x-token-" + b"x" * 100,
        ):
            self.assertNotIn(name, Credentials(), name)
        self.assertNotIn("authorization", Credentials())

    def test_named(self) -> None:
        """Those that a mapping names count beside them."""
        self.assertIn(b"x-team", Credentials(frozenset({b"x-team"})))


class PolicyOfTests(SynchronousTestCase):
    """What a configuration asks of the cache."""

    def test_modes(self) -> None:
        """With nothing else said, each mode is what the design has in its column, and buddy is the default."""
        for case, cache, mapping, expected in (
            ("nothing said", {}, {}, BUDDY),
            ("buddy", {"mode": "buddy"}, {}, BUDDY),
            ("rfc9111", {"mode": "rfc9111"}, {}, RFC9111),
            ("rfc9111 for the mapping", {}, {"mode": "rfc9111"}, RFC9111),
            ("buddy for the mapping", {"mode": "rfc9111"}, {"mode": "buddy"}, BUDDY),
        ):
            self.assertEqual(_policy(cache, mapping), expected, case)

    def test_the_columns(self) -> None:
        """The design's table, row by row."""
        for row, buddy, strict in (
            ("default_ttl", BUDDY_TTL, None),
            ("override_origin", False, False),
            ("methods", {b"GET", b"POST", b"QUERY"}, {b"GET", b"QUERY"}),
            ("partition", True, False),
            ("shared", False, True),
            ("keep_set_cookie", False, True),
            ("store_errors", False, True),
            ("error_ttl", {}, {}),
            ("error_lifetime", None, None),
            ("implied", IMPLIED, set()),
            ("credentials", Credentials(), Credentials()),
            ("stale_while_revalidate", 0, 0),
            ("stale_if_error", 0, 0),
            ("no_vary_search", False, False),
            ("targeted", (b"cdn-cache-control",), (b"cdn-cache-control",)),
            ("min_size", 0, 0),
            ("max_size", 10 * 2**20, 10 * 2**20),
        ):
            self.assertEqual(getattr(_policy({"mode": "buddy"}, {}), row), buddy, row)
            self.assertEqual(getattr(_policy({"mode": "rfc9111"}, {}), row), strict, row)
        self.assertEqual(BUDDY_TTL, 7 * 24 * 3600)
        self.assertEqual(_policy({"cache_error_responses": True}, {}).error_lifetime, 60)

    def test_times(self) -> None:
        """The mapping's time goes before the section's, and that before the mode's; 0 is a time."""
        for case, cache, mapping, expected in (
            ("the mode's", {}, {}, BUDDY_TTL),
            ("the section's", {"default_ttl": "1h"}, {}, 3600),
            ("the mapping's", {"default_ttl": "1h"}, {"ttl": "1m"}, 60),
            ("the mapping's alone", {}, {"ttl": 90}, 90),
            ("the section's, nothing", {"default_ttl": 0}, {}, 0),
            ("the mapping's, nothing", {"default_ttl": "1h"}, {"ttl": 0}, 0),
            ("the section's, in the strict mode", {"mode": "rfc9111", "default_ttl": "1h"}, {}, 3600),
            ("the mapping's, in the strict mode", {"mode": "rfc9111"}, {"ttl": "1m"}, 60),
        ):
            self.assertEqual(_policy(cache, mapping).default_ttl, expected, case)

    def test_methods(self) -> None:
        """The mapping's methods go before the section's; none means none, and HEAD never has a key of its own."""
        for case, cache, mapping, expected in (
            ("the section's", {"cacheable_methods": ["GET"]}, {}, {b"GET"}),
            ("the mapping's", {"cacheable_methods": ["GET"]}, {"methods": ["POST", "QUERY"]}, {b"POST", b"QUERY"}),
            ("none for the mapping", {"cacheable_methods": ["GET"]}, {"methods": []}, set()),
            ("none for all", {"cacheable_methods": []}, {}, set()),
            ("none for all but the mapping", {"cacheable_methods": []}, {"methods": ["GET"]}, {b"GET"}),
            ("HEAD", {}, {"methods": ["GET", "HEAD"]}, {b"GET"}),
            ("POST in the strict mode", {"mode": "rfc9111"}, {"methods": ["GET", "POST"]}, {b"GET", b"POST"}),
        ):
            self.assertEqual(_policy(cache, mapping).methods, expected, case)

    def test_sharing(self) -> None:
        """`share` gives the partition up, and brings no other rule with it; the strict mode has none to give up."""
        for mode, share, expected in (
            ("buddy", False, (True, False)),
            ("buddy", True, (False, False)),
            ("rfc9111", False, (False, True)),
            ("rfc9111", True, (False, True)),
        ):
            policy = _policy({"mode": mode}, {"share": share})
            self.assertEqual((policy.partition, policy.shared), expected, f"{mode}, share {share}")

    def test_what_is_said_counts(self) -> None:
        """Every other setting that stands for something in the policy arrives there."""
        policy = _policy(
            {
                "cache_error_responses": True,
                "error_ttl": {"404": "1m", "500": 0},
                "min_cache_response_size": 10,
                "max_cache_response_size": "1KB",
                "targeted_fields": ["Ours-Cache-Control", "CDN-Cache-Control"],
            },
            {"override_origin": True, "credentials": ["X-Team"]},
        )
        self.assertTrue(policy.store_errors)
        self.assertEqual(policy.error_ttl, {404: 60, 500: 0})
        self.assertEqual(policy.targeted, (b"ours-cache-control", b"cdn-cache-control"))
        self.assertEqual((policy.min_size, policy.max_size), (10, 1024))
        self.assertTrue(policy.override_origin)
        self.assertEqual(policy.credentials, Credentials(CREDENTIALS | {b"x-team"}))
        self.assertEqual(policy.mapping, "m")

    def test_the_mapping_goes_before_the_section(self) -> None:
        """What the mapping says of errors, grace and No-Vary-Search stands in for what the section says, 0 included."""
        cache = {
            "cache_error_responses": True,
            "error_ttl": {"404": 60, "410": 60},
            "stale_while_revalidate": "1m",
            "stale_if_error": "1h",
            "no_vary_search": True,
        }
        for mapping, expected in (
            ({}, (True, ERROR_LIFETIME, {404: 60, 410: 60}, 60, 3600, True)),
            (
                {
                    "cache_error_responses": False,
                    "error_ttl": {"404": 5},
                    "stale_while_revalidate": 0,
                    "stale_if_error": "1d",
                    "no_vary_search": False,
                },
                (False, None, {404: 5}, 0, 86400, False),
            ),
        ):
            policy = _policy(cache, mapping)
            errors = (policy.store_errors, policy.error_lifetime, policy.error_ttl)
            grace = (policy.stale_while_revalidate, policy.stale_if_error)
            self.assertEqual((*errors, *grace, policy.no_vary_search), expected)

    def test_the_key(self) -> None:
        """What the mapping says of the key arrives in one form, whatever order and case it was written in."""
        key = {
            "headers": ["X-Team", "accept", "Accept"],
            "ignore_query": ["utm_*", "é", "utm_*"],
            "sort_query": True,
            "ignore_body": ["metadata.user", "messages.*.id"],
        }
        policy = _policy({}, {"key": key})
        self.assertEqual(policy.key_headers, (b"accept", b"x-team"))
        self.assertEqual(policy.ignore_query, (b"utm_*", "é".encode()))
        self.assertTrue(policy.sort_query)
        self.assertEqual(policy.ignore_body, (("messages", "*", "id"), ("metadata", "user")))

    def test_replay(self) -> None:
        """A stored stream is sent again at once, unless the mapping says otherwise."""
        for said, expected in ((None, "instant"), ("instant", "instant"), ("recorded", "recorded"), ("2.5/s", 2.5)):
            self.assertEqual(_policy({}, {"replay": said}).replay, expected)

    def test_store_unless(self) -> None:
        """Conditions arrive parsed; there are none unless the mapping has some."""
        self.assertEqual(_policy({}, {}).store_unless, ())
        policy = _policy({}, {"store_unless": ["error", "a[0] != 1"]})
        self.assertEqual(policy.store_unless, (Condition(("error",)), Condition(("a", 0), "!=", 1)))

    def test_credentials(self) -> None:
        """The fields that people authenticate with are known, in the case in which fields are compared."""
        for name in (b"authorization", b"cookie", b"x-api-key", b"api-key", b"x-goog-api-key", b"x-auth-token"):
            self.assertIn(name, CREDENTIALS)
        self.assertEqual({name.lower() for name in CREDENTIALS}, CREDENTIALS)


class PolicyTests(SynchronousTestCase):
    """The value itself."""

    def test_caches(self) -> None:
        """A method is answered from the cache where its responses are stored, and HEAD where those to GET are."""
        for methods, method, expected in (
            ({b"GET"}, b"GET", True),
            ({b"GET"}, b"HEAD", True),
            ({b"GET"}, b"POST", False),
            ({b"GET"}, b"get", False),
            ({b"POST"}, b"POST", True),
            ({b"POST"}, b"GET", False),
            ({b"POST"}, b"HEAD", False),
            (set(), b"GET", False),
        ):
            self.assertEqual(Policy("m", methods=frozenset(methods)).caches(method), expected, (methods, method))


class PoliciesTests(SynchronousTestCase):
    """Which policy a path meets."""

    def test_no_rules(self) -> None:
        """Where there are no rules, every path has the mapping's policy."""
        policies = _policies({"ttl": 5})
        for target in (b"/", b"/a?b", b"/v1"):
            self.assertIs(policies.of(target), policies.default)
            self.assertIsNone(policies.matching(target))
        self.assertEqual(policies.default, _policy({}, {"ttl": 5}))

    def test_the_first_match_wins(self) -> None:
        """Rules are tried in their order, against the whole path, without the query."""
        rules = [{"path": "/a/b", "ttl": 1}, {"path_regex": "/(a|b)/[0-9]+", "ttl": 2}, {"path": "/a*", "ttl": 3}]
        policies = _policies({"ttl": 9, "rules": rules})
        for target, number in (
            (b"/a/b", 0),
            (b"/a/b?c", 0),
            (b"/a/b/", 2),
            (b"/a/1", 1),
            (b"/b/22?a", 1),
            (b"/b/22/", None),
            (b"/x/a/1", None),
            (b"/a/x", 2),
            (b"/A/b", None),
            (b"/b?/a", None),
            (b"/%61/%62", 0),
            (b"/c/../a/./b", 0),
            (b"/a%2Fb", 2),
            (b"/", None),
        ):
            self.assertEqual(policies.matching(target), number, target)
            self.assertEqual(policies.of(target).default_ttl, 9 if number is None else number + 1, target)

    def test_paths_are_the_mappings(self) -> None:
        """A rule speaks of the path behind the mapping's name; the base of its origin is no part of that."""
        policies = _policies({"rules": [{"path": "/"}, {"path": "/v1"}, {"path": "/models"}]}, base=b"/v1")
        for target, number in (
            (b"/v1", 0),
            (b"/v1/", 0),
            (b"/v1?a", 0),
            (b"/v1/v1", 1),
            (b"/v1/models", 2),
            (b"/v1/v1/models", None),
        ):
            self.assertEqual(policies.matching(target), number, target)

    def test_what_a_rule_does_not_say(self) -> None:
        """What a rule does not say it has from the mapping, and that from the section; no other rule adds to it."""
        mapping = {
            "methods": ["GET"],
            "override_origin": True,
            "error_ttl": {"404": 5},
            "credentials": ["X-Team"],
            "key": {"headers": ["X-A"], "ignore_query": ["t"]},
        }
        cache = {"default_ttl": "1h", "stale_if_error": 60}
        for case, rule in (
            ("nothing", {}),
            ("time", {"ttl": 0}),
            ("time, by its other name", {"ttl_seconds": 7}),
            ("methods", {"methods": ["POST"]}),
            ("no methods", {"methods": []}),
            ("errors", {"error_ttl": {}, "cache_error_responses": True}),
            ("the origin's word", {"override_origin": False}),
            ("sharing", {"share": True}),
            ("mode", {"mode": "rfc9111"}),
            ("grace", {"stale_while_revalidate": "1m", "stale_if_error": 0}),
            ("No-Vary-Search", {"no_vary_search": True}),
        ):
            policies = _policies({**mapping, "rules": [{"path": "/a", **rule}, {"path": "*", "ttl": 99}]}, cache)
            self.assertEqual(policies.of(b"/a"), _policy(cache, {**mapping, **rule}), case)
            self.assertEqual(policies.default, _policy(cache, mapping), case)

    def test_what_a_rule_does_not_say_of_the_key(self) -> None:
        """Of the key, too, a rule changes what it names, be it to nothing, and no more."""
        rules = [
            {"path": "/a", "key": {"ignore_query": [], "sort_query": False}},
            {"path": "/b", "key": {"headers": ["X-B"], "ignore_body": ["user"]}},
        ]
        policies = _policies({"key": {"headers": ["X-A"], "ignore_query": ["t"], "sort_query": True}, "rules": rules})
        for target, expected in (
            (b"/a", ((b"x-a",), (), False, ())),
            (b"/b", ((b"x-b",), (b"t",), True, (("user",),))),
            (b"/c", ((b"x-a",), (b"t",), True, ())),
        ):
            policy = policies.of(target)
            made = (policy.key_headers, policy.ignore_query, policy.sort_query, policy.ignore_body)
            self.assertEqual(made, expected, target)

    def test_long_paths(self) -> None:
        """Of a long path the beginning is looked at, and no expression has more to read."""
        policies = _policies({"rules": [{"path_regex": "/a+"}, {"path": "/b*"}, {"path": "*c"}]})
        for target, number in (
            (b"/" + b"a" * LONGEST_PATH + b"!", 0),
            (b"/b" + b"a" * 10 * LONGEST_PATH, 1),
            (b"/" + b"%61" * LONGEST_PATH, 0),
            (b"/" + b"d" * LONGEST_PATH + b"c", None),
        ):
            self.assertEqual(policies.matching(target), number, target[:5])
