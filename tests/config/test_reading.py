"""Tests of what is said of a configuration that cannot be used."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.config import Config
from buddyproxy.errors import ConfigurationError

KEY = "0123456789abcdef"
URL = "https://api.example/v1"

NUMBER = "expected a number, not "
DURATION = (
    'expected a duration from 0 to 68 years: seconds, or a text such as "90", "500ms", "15m", "1h30m", "7d" '
    "(units w, d, h, m, s, ms)"
)
ERROR_STATUS = "expected the status of an error, from 400 to 599"
SIZE = 'expected a size: a whole number of bytes, or a text such as "512", "64KB", "10MB", "1GB" (powers of 1024)'
UPSTREAM = "not an absolute http(s) URL"
HOST = "not a host name or IP address"
NETWORK = 'not an IP address or network such as "10.0.0.0/8" (no bits set behind the prefix)'
CREDENTIALS = "put credentials in request_headers.set, not in the URL"
FIELD = "expected the name of a header field: letters, digits and hyphens"
NAME = 'expected a name of 1 to 64 letters, digits and any of "._-", with a letter or a digit first'
DOTTED = 'expected "package.module:function"'
REDIS = 'not a URL such as "redis://127.0.0.1:6379/0"'
WEB_ORIGIN = 'expected an origin such as "https://app.example" (scheme, host and port, nothing behind), or "*"'
CONDITION = (
    'expected a condition on JSON such as "error", "status != 0" or "choices[*].finish_reason = \\"length\\"": '
    "where to look, and a string, a number, true, false or null to compare with"
)
SECTIONS = "server, security, cache, throttling, logging, admin, domain_mappings, callbacks, origin"


def problems(mapping: object) -> list[str]:
    """Return what is wrong with `mapping`, in lines."""
    try:
        Config.from_mapping(mapping)
    except ConfigurationError as error:
        return [str(problem) for problem in error.problems]
    return []


def section(name: str, **settings: object) -> dict[str, Any]:
    """Return a mapping of one section."""
    return {name: settings}


def api(**settings: object) -> dict[str, Any]:
    """Return a mapping of one mapping, which is complete."""
    return {"domain_mappings": {"api": {"upstream": URL, **settings}}}


class ProblemsTestCase(SynchronousTestCase):
    """Tables of mappings and what is wrong with them."""

    def check(self, cases: list[tuple[object, list[str]]]) -> None:
        """Assert that each mapping has exactly its problems."""
        for mapping, expected in cases:
            with self.subTest(mapping=mapping):
                self.assertEqual(problems(mapping), expected)


class ShapeTests(ProblemsTestCase):
    """Problems with the shape of what was written."""

    def test_not_a_table(self) -> None:
        """Where a table is wanted nothing else will do, and where another thing is, no table."""
        self.check(
            [
                (None, ["expected a table, not nothing"]),
                ([], ["expected a table, not a list"]),
                ("x", ["expected a table, not a string"]),
                ({"cache": [1]}, ["cache: expected a table, not a list"]),
                ({"cache": True}, ["cache: expected a table, not true or false"]),
                ({"cache": object()}, ["cache: expected a table, not a value of type object"]),
                ({"domain_mappings": "x"}, ["domain_mappings: expected a table, not a string"]),
                ({"security": {"keys": [1]}}, ["security.keys: expected a table, not a list"]),
                ({"origin": 5}, ['origin: expected a table, or a string for its "upstream", not a number']),
                (section("server", host={}), ["server.host: expected a string, not a table"]),
                (api(rules={}), ["domain_mappings.api.rules: expected a list, not a table"]),
                (api(rules=[5]), ["domain_mappings.api.rules[0]: expected a table, not a number"]),
            ]
        )

    def test_unknown_keys(self) -> None:
        """An unknown key comes with the nearest known one, or with all that are known."""
        self.check(
            [
                (section("cache", default_tll=1), ['cache.default_tll: unknown key; did you mean "default_ttl"?']),
                (section("cache", MODE=1), ['cache.MODE: unknown key; did you mean "mode"?']),
                (section("cache", ttl_days=1), ['cache.ttl_days: unknown key; did you mean "default_ttl_days"?']),
                ({"zzz": None}, [f"zzz: unknown key; known here are {SECTIONS}"]),
                (api(upsteam=1), ['domain_mappings.api.upsteam: unknown key; did you mean "upstream"?']),
                (
                    api(request_headers={"Authorization": "x"}),
                    ["domain_mappings.api.request_headers.Authorization: unknown key; known here are set, remove"],
                ),
                (
                    section("logging", include_secure_key=False),
                    ["logging.include_secure_key: keys are never logged, and no setting changes that; remove this one"],
                ),
            ]
        )

    def test_strange_keys(self) -> None:
        """Keys that are no strings, or hold dots, control characters or too much, make legible paths."""
        self.check(
            [
                ({7: 1}, ["has a name that is no string but a number"]),
                ({"cache": {None: 1}}, ["cache: has a name that is no string but nothing"]),
                ({"a.b\n\x7f": 1}, [f'"a.b\\n\\u007f": unknown key; known here are {SECTIONS}']),
                ({"": 1}, [f'"": unknown key; known here are {SECTIONS}']),
                ({"x" * 10**6: 1}, [f'"{"x" * 61}...": unknown key; known here are {SECTIONS}']),
                ({"domain_mappings": {"": URL}}, [f'domain_mappings."": {NAME}']),
                ({"domain_mappings": {"a/b": URL}}, [f'domain_mappings."a/b": {NAME}']),
                (
                    {"domain_mappings": {".a": URL, "x" * 65: URL}},
                    [f'domain_mappings.".a": {NAME}', f'domain_mappings."{"x" * 61}...": {NAME}'],
                ),
                ({"domain_mappings": {5: URL}}, [f"domain_mappings.5: {NAME}, not a number"]),
                ({"domain_mappings": {10**5000: URL}}, [f'domain_mappings."a number": {NAME}, not a number']),
                ({"domain_mappings": {"a.b": {}}}, ['domain_mappings."a.b".upstream: is missing']),
            ]
        )

    def test_given_twice(self) -> None:
        """A setting is given once, under one of its names."""
        self.check(
            [
                (
                    section("cache", default_ttl=1, default_ttl_days=1),
                    ['cache.default_ttl_days: sets the same as "default_ttl", which is given too'],
                ),
                (
                    section("cache", default_ttl_seconds=1, default_ttl_days=1),
                    ['cache.default_ttl_days: sets the same as "default_ttl_seconds", which is given too'],
                ),
                (section("cache", default_ttl=None, default_ttl_days=1), []),
                (section("cache", error_ttl={404: 1, "404": 2}), ["cache.error_ttl.404: is given twice"]),
            ]
        )

    def test_every_problem(self) -> None:
        """All problems are told at once, those between sections too, however deep each is."""
        mapping = {
            "server": {"port": "8080", "workers": 0},
            "security": {"keys": {"ann": {"key": "short", "mappings": ["api", "nope"]}, "b!": {}}, "typo": 1},
            "logging": {"enable_file": True},
            "domain_mappings": {"api": {"upstream": "x", "ttl": "x"}, "admin": URL},
        }
        self.assertEqual(
            [line.partition(": ")[0] for line in problems(mapping)],
            [
                "server.port",
                "server.workers",
                "security.keys.ann.key",
                'security.keys."b!"',
                'security.keys."b!".key',
                "security.typo",
                "logging.file_path",
                "domain_mappings.api.upstream",
                "domain_mappings.api.ttl",
                "domain_mappings.admin",
                "security.keys.ann.mappings[1]",
            ],
        )


class ValueTests(ProblemsTestCase):
    """Problems with single values."""

    def test_booleans(self) -> None:
        """Only true and false are true or false, and they are no numbers."""
        self.check(
            [
                (section("server", allow_open=1), ["server.allow_open: expected true or false, not a number"]),
                (section("server", allow_open="yes"), ["server.allow_open: expected true or false, not a string"]),
                (section("server", port=True), ["server.port: expected a whole number, not true or false"]),
                (section("cache", max_size_mb=True), [f"cache.max_size_mb: {NUMBER}true or false"]),
                (section("cache", default_ttl=True), [f"cache.default_ttl: {DURATION}"]),
                (section("cache", error_ttl={True: 1}), [f"cache.error_ttl.True: {ERROR_STATUS}"]),
            ]
        )

    def test_numbers(self) -> None:
        """Numbers are in their range, and are numbers."""
        nan, inf = float("nan"), float("inf")
        huge = 10**5000
        self.check(
            [
                (section("server", port=-1), ["server.port: must be from 0 to 65535"]),
                (section("server", port=65536), ["server.port: must be from 0 to 65535"]),
                (section("server", port=huge), ["server.port: must be from 0 to 65535"]),
                (section("server", port=80.0), ["server.port: expected a whole number, not a fraction"]),
                (section("server", port="80"), ["server.port: expected a whole number, not a string"]),
                (section("server", max_connections=0), ["server.max_connections: must be from 1 to 2147483647"]),
                *(
                    (
                        section("throttling", default_requests_per_hour=value),
                        ["throttling.default_requests_per_hour: must be from 0 to 2147483647"],
                    )
                    for value in (nan, inf, -inf, -1, huge)
                ),
                (section("throttling", domain_limits={"a": "x"}), [f"throttling.domain_limits.a: {NUMBER}a string"]),
                (section("cache", max_size_mb=0), ["cache.max_size_mb: must be more than 0"]),
                (section("cache", default_ttl_days="7"), [f"cache.default_ttl_days: {NUMBER}a string"]),
                (section("cache", default_ttl_days=30000), ["cache.default_ttl_days: must be from 0 to 24855"]),
                (section("cache", default_ttl=nan), [f"cache.default_ttl: {DURATION}"]),
                (section("server", request_timeout=0), ["server.request_timeout: must be more than 0"]),
                (section("server", max_request_body="1 zettabyte"), [f"server.max_request_body: {SIZE}"]),
                (
                    section("cache", error_ttl={"4xx": 1, 600: 1, 399: 1, "200": 1, "404": "x"}),
                    [
                        f"cache.error_ttl.4xx: {ERROR_STATUS}",
                        f"cache.error_ttl.600: {ERROR_STATUS}",
                        f"cache.error_ttl.399: {ERROR_STATUS}",
                        f"cache.error_ttl.200: {ERROR_STATUS}",
                        f"cache.error_ttl.404: {DURATION}",
                    ],
                ),
            ]
        )

    def test_choices(self) -> None:
        """A choice is one of those there are, exactly."""
        self.check(
            [
                (section("cache", mode="BUDDY"), ['cache.mode: expected one of "buddy", "rfc9111"']),
                (section("cache", mode=[]), ['cache.mode: expected one of "buddy", "rfc9111"']),
                (section("cache", durability=1), ['cache.durability: expected one of "group", "each"']),
                (section("logging", format="xml"), ['logging.format: expected one of "text", "json"']),
                *(
                    (
                        section("logging", level=level),
                        ['logging.level: expected one of "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"'],
                    )
                    for level in ("loud", 10)
                ),
                (
                    section("security", key_position="body"),
                    ['security.key_position: expected one of "header", "path_prefix", "query_param"'],
                ),
            ]
        )

    def test_text(self) -> None:
        """Text is not empty, and has nothing in it that would break a line or a file name."""
        self.check(
            [
                (section("logging", file_path=""), ["logging.file_path: must not be empty"]),
                (section("logging", file_path=" "), ["logging.file_path: must not be empty"]),
                (section("logging", file_path="a\0"), ["logging.file_path: must not contain control characters"]),
                (section("logging", file_path="\ud800"), ["logging.file_path: must not contain control characters"]),
                (section("logging", parent_logger=5), ["logging.parent_logger: expected a string, not a number"]),
                (
                    section("security", secure_key_file="~no.such.user/key"),
                    ["security.secure_key_file: begins with the home directory of a user who is not known here"],
                ),
                (section("callbacks", on_error="nowhere"), [f"callbacks.on_error: {DOTTED}"]),
                (section("callbacks", on_error="a b:c"), [f"callbacks.on_error: {DOTTED}"]),
                (section("callbacks", on_error=5), [f"callbacks.on_error: {DOTTED}, not a number"]),
            ]
        )

    def test_keys(self) -> None:
        """A key is long, can be sent anywhere, and belongs to one caller."""
        unsendable = "must consist of ASCII letters, digits and punctuation, without spaces"
        ann, bob = {"key": KEY}, {"key": KEY}
        self.check(
            [
                (section("security", secure_key=KEY[:15]), ["security.secure_key: must have at least 16 characters"]),
                (section("security", secure_key=16), ["security.secure_key: expected a string, not a number"]),
                (section("security", secure_key=KEY + " "), [f"security.secure_key: {unsendable}"]),
                (section("security", secure_key=KEY + "é"), [f"security.secure_key: {unsendable}"]),
                (section("security", secure_key=KEY + "\n"), [f"security.secure_key: {unsendable}"]),
                (
                    section("security", secure_key=KEY, secure_key_file="/k"),
                    ["security.secure_key_file: only one may be given of secure_key, secure_key_file"],
                ),
                (
                    section("security", keys={"ann": ann, "bob": bob}),
                    ["security.keys.bob.key: is the same as that of ann"],
                ),
                (
                    section("security", keys={"ann": ann}, secure_key=KEY),
                    ["security.keys.ann.key: is the same as secure_key"],
                ),
                (section("security", keys={"ann": None}), []),
                (section("security", keys={"ann": {}}), ["security.keys.ann.key: is missing"]),
                (
                    section("security", key_param_name="a=b"),
                    [
                        "security.key_param_name: expected the name of a query parameter: letters, digits and any of "
                        '"._~-"'
                    ],
                ),
            ]
        )

    def test_header_fields(self) -> None:
        """Names of fields are tokens, values are one line, and what belongs to the connection is not touched."""
        where = "domain_mappings.api.request_headers"
        self.check(
            [
                (section("security", key_header_name="X Key"), [f"security.key_header_name: {FIELD}"]),
                (section("cache", targeted_fields=["a:"]), [f"cache.targeted_fields[0]: {FIELD}"]),
                (api(credentials=["a", ""]), [f"domain_mappings.api.credentials[1]: {FIELD}"]),
                (api(request_headers={"set": {"a b": "c"}}), [f'{where}.set."a b": {FIELD}']),
                *(
                    (
                        api(request_headers={"set": {name: "x"}}),
                        [f"{where}.set.{name}: belongs to the connection and cannot be set"],
                    )
                    for name in ("Content-Length", "transfer-encoding", "Connection")
                ),
                *(
                    (
                        api(request_headers={"set": {"A": value}}),
                        [f"{where}.set.A: must not contain line breaks or other control characters"],
                    )
                    for value in ("a\r", "a\nB: c", "\0", "\x7f", "\ud800")
                ),
                (api(request_headers={"set": {"A": 5}}), [f"{where}.set.A: expected a string, not a number"]),
                (api(request_headers={"remove": [5]}), [f"{where}.remove[0]: {FIELD}, not a number"]),
                (api(methods=["GET "]), ['domain_mappings.api.methods[0]: expected a request method such as "GET"']),
            ]
        )

    def test_mapping_details(self) -> None:
        """The finer settings of a mapping have shapes of their own."""
        where = "domain_mappings.api"
        ratio = "must be more than 0 and at most 1"
        rate = f'{where}.replay: expected "instant", "recorded" or a rate such as "20/s"'
        self.check(
            [
                (api(replay="fast"), [rate]),
                (api(replay=5), [f"{rate}, not a number"]),
                (api(replay="0/s"), [f"{where}.replay: must be more than 0"]),
                (api(store_unless=["error", 5]), [f"{where}.store_unless[1]: expected a string, not a number"]),
                (api(store_unless=["a = b"]), [f"{where}.store_unless[0]: {CONDITION}"]),
                (
                    api(rules=[{"path": "/", "store_unless": ["[x]"], "replay": "now"}]),
                    [
                        f"{where}.rules[0].store_unless[0]: {CONDITION}",
                        rate.replace("api.", "api.rules[0]."),
                    ],
                ),
                (api(cors="*"), [f"{where}.cors: expected true, false or a list of origins, not a string"]),
                *(
                    (api(cors=[url]), [f"{where}.cors[0]: {WEB_ORIGIN}"])
                    for url in (
                        "https://a.example/",
                        "https://a.example?",
                        "https://a.example#",
                        "https://u@a",
                        "http://:1",
                    )
                ),
                (api(cors=["null"]), [f"{where}.cors[0]: not {WEB_ORIGIN.removeprefix('expected ')}"]),
                (api(cors=[5]), [f"{where}.cors[0]: {WEB_ORIGIN}, not a number"]),
                (
                    api(filters=["a b"]),
                    [f'{where}.filters[0].name: expected the name of a filter, or "package.module:function"'],
                ),
                (api(filters=[{}]), [f"{where}.filters[0].name: is missing"]),
                (
                    api(rules=[{}]),
                    [f"{where}.rules[0].path: is missing, and so is path_regex: one of them says what the rule is for"],
                ),
                (
                    api(rules=[{"path": "/", "path_regex": "/"}]),
                    [f"{where}.rules[0].path_regex: only one may be given of path, path_regex"],
                ),
                *(
                    (
                        api(rules=[{"path": pattern}]),
                        [
                            f'{where}.rules[0].path: expected a pattern for paths such as "/models*", with "/" or "*" '
                            "first"
                        ],
                    )
                    for pattern in ("models", "~/models", "https://api.example/models")
                ),
                *(
                    (
                        api(rules=[{"path_regex": pattern}]),
                        [f"{where}.rules[0].path_regex: not a regular expression that can be used: {fault}"],
                    )
                    for pattern, fault in (
                        ("/a(", "missing ), unterminated subpattern (at character 3)"),
                        ("a{99999999999999999999}", "a number in it is too large"),
                        ("a{" + "9" * 5000 + "}", "a number in it is too large"),
                        ("(" * 5000 + ")" * 5000, "it is nested too deeply"),
                        ("(?u)a", "bad inline flags: cannot use 'u' flag with a bytes pattern (at character 4)"),
                        ("(?P<a>.)(?P<a>.)", "redefinition of group name (at character 13)"),
                        ("(?<=a+)b", "look-behind requires fixed-width pattern"),
                    )
                ),
                (
                    api(rules=[{"path_regex": "/é"}]),
                    [f"{where}.rules[0].path_regex: must be ASCII: paths are matched percent-encoded"],
                ),
                (
                    api(key={"ignore_query": ["a*b", "**"]}),
                    [
                        f"{where}.key.ignore_query[{number}]: expected the name of a query parameter, or how names "
                        'begin with "*" at the end'
                        for number in (0, 1)
                    ],
                ),
                (
                    api(key={"ignore_body": ["a..b", ".", "a."]}),
                    [
                        f"{where}.key.ignore_body[{number}]: expected names with dots between them, such as "
                        '"metadata.user"'
                        for number in (0, 1, 2)
                    ],
                ),
                (
                    api(rules=[{"path": "/", "key": {"header": []}}]),
                    [f'{where}.rules[0].key.header: unknown key; did you mean "headers"?'],
                ),
                (api(breaker={"failure_ratio": 0}), [f"{where}.breaker.failure_ratio: {ratio}"]),
                (api(breaker={"failure_ratio": 1.5}), [f"{where}.breaker.failure_ratio: {ratio}"]),
                (api(timeouts={"connect": 0}), [f"{where}.timeouts.connect: must be more than 0"]),
                (api(budget=-1), [f"{where}.budget: must be from 0 to 2147483647"]),
                (section("admin", path="admin"), ['admin.path: expected a path such as "/admin"']),
                (section("admin", path="/"), ['admin.path: expected a path such as "/admin"']),
                (section("admin", path="/../x"), ['admin.path: expected a path such as "/admin"']),
            ]
        )


class AddressTests(ProblemsTestCase):
    """Problems with addresses."""

    def test_upstreams(self) -> None:
        """An upstream is an absolute http(s) URL; what is wrong is said without repeating it."""
        where = "domain_mappings.api.upstream"
        authority = f"{UPSTREAM}: host or port is not valid"
        query = "must have neither a query nor a fragment"
        for url, message in [
            (5, "expected an absolute http(s) URL, not a number"),
            ("", UPSTREAM),
            ("api.example", UPSTREAM),
            ("//api.example", UPSTREAM),
            ("ftp://api.example", UPSTREAM),
            ("http:", UPSTREAM),
            ("http:///path", UPSTREAM),
            ("http://a b", UPSTREAM),
            ("http://a\n.example", UPSTREAM),
            (" http://a", UPSTREAM),
            ("http://bücher.example", UPSTREAM),
            ("http://a\\b", UPSTREAM),
            ("http://a/%zz", UPSTREAM),
            ("http://[::1", UPSTREAM),
            ("http://[::g]", UPSTREAM),
            ("http://[1.2.3.4]", UPSTREAM),
            ("http://[1:2]", UPSTREAM),
            ("http://:80", authority),
            ("http://a:", authority),
            ("http://a:0", authority),
            ("http://a:65536", authority),
            ("http://a:x", authority),
            ("http://a..b", authority),
            ("http://-a", authority),
            ("http://1.2.3.256", authority),
            ("http://%61", authority),
            ("http://" + ".".join(["a" * 63] * 4), authority),
            ("http://me@a", CREDENTIALS),
            ("http://me:word@a:x", CREDENTIALS),
            ("http://@a", CREDENTIALS),
            ("http://a?", query),
            ("http://a/b?c", query),
            ("http://a#", query),
        ]:
            with self.subTest(url=url):
                self.assertEqual(problems({"domain_mappings": {"api": {"upstream": url}}}), [f"{where}: {message}"])
                self.assertEqual(problems(api(fallback=[url])), [f"domain_mappings.api.fallback[0]: {message}"])

    def test_others(self) -> None:
        """Hosts, networks, endpoints and the store's URL are what they should be."""
        self.check(
            [
                *(
                    (section("server", host=host), [f"server.host: {HOST}"])
                    for host in ("http://a", "a b", "1.2.3", "::g", "*", "a" * 64)
                ),
                (section("security", allowed_hosts=["a:80"]), [f"security.allowed_hosts[0]: {HOST}"]),
                *(
                    (section("security", trusted_proxies=[network]), [f"security.trusted_proxies[0]: {NETWORK}"])
                    for network in ("10.0.0.1/8", "localhost", "1.2.3.4/33")
                ),
                (
                    section("security", trusted_proxies=[1]),
                    ["security.trusted_proxies[0]: expected a string, not a number"],
                ),
                (section("server", endpoints="tcp:80"), ["server.endpoints: expected a list, not a string"]),
                (section("server", endpoints=[""]), ["server.endpoints[0]: must not be empty"]),
                (section("server", endpoints=["70000"]), ["server.endpoints[0]: must be from 0 to 65535"]),
                (section("server", endpoints=[70000]), ["server.endpoints[0]: must be from 0 to 65535"]),
                (
                    section("admin", endpoint=True),
                    ["admin.endpoint: expected a whole number, not true or false"],
                ),
                (section("cache", url="http://a"), [f"cache.url: {REDIS}"]),
                (section("cache", url="redis://:word@"), [f"cache.url: {REDIS}: host or port is not valid"]),
            ]
        )


class BetweenTests(ProblemsTestCase):
    """Problems between settings each of which is right on its own."""

    def test_between(self) -> None:
        """Settings that contradict or hide each other are problems."""
        hidden = "is where the admin pages are; rename it or set admin.path"
        unknown = "is not the name of a mapping"
        keys = {"ann": {"key": KEY, "mappings": ["origin", "api"]}}
        self.check(
            [
                (section("logging", enable_file=True), ["logging.file_path: is missing, and enable_file needs it"]),
                (section("logging", enable_file=True, file_path="/x"), []),
                (
                    section("logging", enable_file=True, file_path=5),
                    ["logging.file_path: expected a string, not a number"],
                ),
                (
                    section("cache", min_cache_response_size="11MB"),
                    ["cache.min_cache_response_size: is more than max_cache_response_size: nothing would be stored"],
                ),
                (section("cache", min_cache_response_size="11MB", max_cache_response_size="11MB"), []),
                (
                    section("cache", min_cache_response_size="11MB", max_cache_response_size="x"),
                    [f"cache.max_cache_response_size: {SIZE}"],
                ),
                (
                    {"origin": URL, "domain_mappings": {"api": URL}},
                    ["domain_mappings: must be empty where origin is set, which takes every path"],
                ),
                ({"domain_mappings": {"admin": URL}}, [f"domain_mappings.admin: {hidden}"]),
                (
                    {"domain_mappings": {"a.b": URL}, "admin": {"path": "/a.b/c", "enabled": True}},
                    [f'domain_mappings."a.b": {hidden}'],
                ),
                (
                    {"domain_mappings": {"api": URL}, "security": {"keys": keys}},
                    [f"security.keys.ann.mappings[0]: {unknown}"],
                ),
                ({"origin": URL, "security": {"keys": keys}}, [f"security.keys.ann.mappings[1]: {unknown}"]),
                (
                    {"domain_mappings": {"api": None}, "security": {"keys": keys}},
                    [f"security.keys.ann.mappings[0]: {unknown}", f"security.keys.ann.mappings[1]: {unknown}"],
                ),
                (
                    {"domain_mappings": 5, "security": {"keys": {"ann": {"key": KEY, "mappings": [5, ""]}}}},
                    [
                        "domain_mappings: expected a table, not a number",
                        "security.keys.ann.mappings[0]: expected a string, not a number",
                        "security.keys.ann.mappings[1]: must not be empty",
                    ],
                ),
            ]
        )


NAMES = st.sampled_from(
    [
        *["server", "security", "cache", "throttling", "logging", "admin", "domain_mappings", "callbacks", "origin"],
        *["host", "port", "endpoints", "keys", "key", "mappings", "trusted_proxies", "allowed_hosts", "secure_key"],
        *["default_ttl", "default_ttl_days", "error_ttl", "404", "url", "path", "enabled", "upstream", "fallback"],
        *[
            "rules",
            "path_regex",
            "timeouts",
            "connect",
            "request_headers",
            "set",
            "remove",
            "filters",
            "replay",
            "cors",
            "api",
        ],
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.builds(lambda: 10**5000),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from([URL, "http://[", "7d", "10MB", "~x", "(", "10.0.0.0/8", "1/s", KEY, "a:b"]),
    st.binary(max_size=5),
)
KEYS = st.one_of(NAMES, NAMES, st.text(max_size=10), st.integers(), st.none(), st.booleans())
ANYTHING = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner),
        st.dictionaries(KEYS, inner, max_size=6),
    ),
    max_leaves=12,
)
SHAPED = st.dictionaries(NAMES, st.dictionaries(NAMES, ANYTHING, max_size=5), max_size=4)


class AnythingTests(SynchronousTestCase):
    """There is no input that is answered by anything but a configuration or its problems."""

    @settings(derandomize=True, database=None, deadline=None, max_examples=200)
    @given(st.one_of(ANYTHING, SHAPED))
    def test_anything(self, mapping: object) -> None:
        """Whatever is given either is a configuration or has problems, each with a message."""
        try:
            config = Config.from_mapping(mapping)
        except ConfigurationError as error:
            self.assertTrue(error.problems)
            self.assertTrue(all(problem.message for problem in error.problems))
            str(error).encode("utf-8")
        else:
            self.assertIsInstance(config, Config)
