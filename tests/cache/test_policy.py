"""Tests of `buddyproxy.cache.policy`: the two modes, as one value each."""

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.policy import BUDDY_TTL, CREDENTIALS, IMPLIED, Policy, policy_of
from buddyproxy.config import Config
from tests.support.values import BUDDY, RFC9111

_UPSTREAM = "https://origin.example"


def _policy(cache: Mapping[str, Any], mapping: Mapping[str, Any]) -> Policy:
    """Return the policy of the mapping `m`, as somebody would write it and `cache`."""
    config = Config.from_mapping({"cache": cache, "domain_mappings": {"m": {"upstream": _UPSTREAM, **mapping}}})
    return policy_of("m", config.mappings["m"], config.cache)


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
            ("credentials", CREDENTIALS, CREDENTIALS),
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
            {"override_origin": True, "credentials": ["X-Tenant"]},
        )
        self.assertTrue(policy.store_errors)
        self.assertEqual(policy.error_ttl, {404: 60, 500: 0})
        self.assertEqual(policy.targeted, (b"ours-cache-control", b"cdn-cache-control"))
        self.assertEqual((policy.min_size, policy.max_size), (10, 1024))
        self.assertTrue(policy.override_origin)
        self.assertEqual(policy.credentials, CREDENTIALS | {b"x-tenant"})
        self.assertEqual(policy.mapping, "m")

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
