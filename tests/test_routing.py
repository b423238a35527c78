"""Tests of `buddyproxy.routing`."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.config import Config, DomainMapping
from buddyproxy.errors import BadRequest, UnknownMapping
from buddyproxy.message import Origin
from buddyproxy.routing import Base, Route, RoutingTable
from tests.support.values import properties

UPSTREAMS = {
    "openai": "https://api.openai.example/v1",
    "files": "https://api.openai.example/v1/files",
    "plain": "http://plain.example",
    "port": "http://plain.example:8081/",
    "six": "https://[2001:db8::1]:8443/a/b/",
}


def _base(upstream: str) -> Base:
    return Base.of(DomainMapping(upstream=upstream))


TABLE = RoutingTable({name: _base(upstream) for name, upstream in UPSTREAMS.items()})
ROOTED = RoutingTable({"origin": _base("https://api.example/v1")}, at_root="origin")
BARE = RoutingTable({"origin": _base("https://api.example")}, at_root="origin")

# What may stand behind a path in origin-form, and what may not but is sent all the same.
_RESTS = st.binary(max_size=30) | st.text("/?#%2F.:@&=+|{}\\~ a", max_size=30).map(str.encode)

_REFERENCES = st.binary(max_size=40) | st.lists(
    st.sampled_from(
        (
            *("https:", "HTTP:", "http:", "ftp:", "//", "/", "/", ":", "@", "?", "#", "[", "]", "%2F", "..", " ", "é"),
            *("api.openai.example", "API.OpenAI.example", "plain.example", "2001:db8::1", "evil.example", "443", "80"),
            *("8443", "/v1", "/v1/files", "/a/b", "openai", "x"),
        )
    ),
    max_size=8,
).map(lambda parts: "".join(parts).encode())


class BaseTests(SynchronousTestCase):
    """Where a mapping leads."""

    def test_of_a_mapping(self) -> None:
        """Origin and path are read off the upstream's URL; what names the same is written the same."""
        for upstream, expected in (
            ("https://a.example", Base(Origin("https", "a.example", 443), b"")),
            ("https://a.example/", Base(Origin("https", "a.example", 443), b"")),
            ("http://a.example", Base(Origin("http", "a.example", 80), b"")),
            ("https://a.example:443/v1", Base(Origin("https", "a.example", 443), b"/v1")),
            ("http://a.example:443/v1/", Base(Origin("http", "a.example", 443), b"/v1")),
            ("HTTPS://A.Example/V1", Base(Origin("https", "a.example", 443), b"/V1")),
            ("http://127.0.0.1:8081/a//b/%2F", Base(Origin("http", "127.0.0.1", 8081), b"/a//b/%2F")),
            ("https://[2001:DB8::1]:8443", Base(Origin("https", "2001:db8::1", 8443), b"")),
        ):
            self.assertEqual(_base(upstream), expected, upstream)

    def test_a_private_authority_belongs_to_the_origin(self) -> None:
        """Whom a mapping believes goes along with its origin, and is no part of any address."""
        base = Base.of(DomainMapping(upstream="https://a.example", ca_file="/ca.pem"))
        self.assertEqual(base, Base(Origin("https", "a.example", 443, "/ca.pem"), b""))
        table = RoutingTable({"a": base})
        self.assertEqual(table.localise(b"/x", table.route(b"/a/")), b"/a/x")


class RouteTests(SynchronousTestCase):
    """From a request's target to the origin's."""

    def test_routes(self) -> None:
        """The name is cut off, the base's path put in its place, and the rest is as it came."""
        for target, name, expected in (
            (b"/openai/chat", "openai", b"/v1/chat"),
            (b"/openai/chat?a=b&c", "openai", b"/v1/chat?a=b&c"),
            (b"/openai", "openai", b"/v1"),
            (b"/openai/", "openai", b"/v1/"),
            (b"/openai?a", "openai", b"/v1?a"),
            (b"/openai?", "openai", b"/v1?"),
            (b"/openai?/a", "openai", b"/v1?/a"),
            (b"/openai//", "openai", b"/v1//"),
            (b"/openai/files", "openai", b"/v1/files"),
            (b"/openai/a%2Fb/../%2e%2E//c|{}\\?", "openai", b"/v1/a%2Fb/../%2e%2E//c|{}\\?"),
            (b"/openai/\xff\x80", "openai", b"/v1/\xff\x80"),
            (b"/openai/x#y", "openai", b"/v1/x#y"),
            (b"/plain", "plain", b"/"),
            (b"/plain/", "plain", b"/"),
            (b"/plain?a=/", "plain", b"/?a=/"),
            (b"/plain//a", "plain", b"//a"),
            (b"/six/c", "six", b"/a/b/c"),
        ):
            route = TABLE.route(target)
            self.assertEqual((route.name, route.target), (name, expected), target)
            self.assertEqual(route, Route(name, TABLE.bases[name], expected), target)
            self.assertEqual(route.uri, route.base.origin.root + expected, target)

    def test_unknown(self) -> None:
        """A path that begins with no mapping's name leads nowhere; names are compared as they are."""
        for target in (
            b"/",
            b"//openai",
            b"/?openai",
            b"/openaix",
            b"/open",
            b"/OpenAI/chat",
            b"/%6fpenai/chat",
            b"/openai;a/chat",
            b"/openai#a",
            b"/./openai/chat",
            b"/\xff/chat",
        ):
            with self.assertRaises(UnknownMapping, msg=repr(target)) as raised:
                TABLE.route(target)
            self.assertEqual(str(raised.exception), "no mapping has the name this path begins with")

    def test_other_forms(self) -> None:
        """A target that is no path is refused: it is for a proxy of another kind, or for none (RFC 9112, 3.2)."""
        for target in (b"", b"*", b"openai/chat", b"?a", b"http://plain.example/openai/chat", b"plain.example:80"):
            for table in (TABLE, ROOTED):
                with self.assertRaises(BadRequest, msg=repr(target)):
                    table.route(target)

    def test_at_the_root(self) -> None:
        """A mapping at the root takes every path as its own."""
        for target, expected in (
            (b"/", b"/v1/"),
            (b"/chat?a", b"/v1/chat?a"),
            (b"/origin/chat", b"/v1/origin/chat"),
            (b"//a", b"/v1//a"),
            (b"/?a", b"/v1/?a"),
        ):
            self.assertEqual(ROOTED.route(target), Route("origin", ROOTED.bases["origin"], expected), target)

    def test_built_from_a_configuration(self) -> None:
        """The table has every mapping of the configuration, or the one at the root."""
        config = Config.from_mapping({"domain_mappings": UPSTREAMS})
        self.assertEqual(RoutingTable.build(config.mappings), TABLE)
        rooted = Config.from_mapping({"origin": "https://api.example/v1"})
        self.assertEqual(RoutingTable.build(rooted.mappings, at_root="origin"), ROOTED)

    @properties
    @given(_RESTS, st.sampled_from(sorted(UPSTREAMS)))
    def test_the_rest_is_kept_byte_for_byte(self, rest: bytes, name: str) -> None:
        """Whatever stands behind the mapping's name goes out as it came in."""
        base = TABLE.bases[name]
        for mark in (b"/", b"?"):
            route = TABLE.route(b"/" + name.encode() + mark + rest)
            self.assertEqual((route.name, route.base), (name, base))
            self.assertEqual(route.target, (base.path or (b"/" if mark == b"?" else b"")) + mark + rest)
        self.assertEqual(ROOTED.route(b"/" + rest).target, b"/v1/" + rest)

    @properties
    @given(_RESTS)
    def test_never_fails_otherwise(self, target: bytes) -> None:
        """A target leads somewhere, or is refused for one of two reasons."""
        for table in (TABLE, ROOTED):
            try:
                self.assertTrue(table.route(target).target.startswith(b"/"))
            except (BadRequest, UnknownMapping):
                self.assertFalse(target.startswith(b"/openai/"))


class LeadingToTests(SynchronousTestCase):
    """From an origin's address to the mappings that lead there."""

    def test_table(self) -> None:
        """Every mapping whose origin and base an absolute URI has is found, with the target it would ask for."""
        table = RoutingTable.build(
            {
                "root": DomainMapping(upstream="https://a.example"),
                "base": DomainMapping(upstream="https://a.example/v1/"),
                "port": DomainMapping(upstream="https://a.example:8443/v1"),
                "spared": DomainMapping(
                    upstream="https://b.example/v1", fallback=("http://c.example/x", "http://d.example")
                ),
            }
        )
        for uri, names, target in (
            (b"https://a.example/v1/x?y", ["root", "base"], b"/v1/x?y"),
            (b"https://A.EXAMPLE:443/v1", ["root", "base"], b"/v1"),
            (b"https://a.example/v1x", ["root"], b"/v1x"),
            (b"https://a.example", ["root"], b"/"),
            (b"https://a.example?y", ["root"], b"/?y"),
            (b"https://a.example:8443/v1/x", ["port"], b"/v1/x"),
            (b"https://a.example:8443/x", [], b""),
            (b"http://a.example/v1", [], b""),
            (b"https://b.example/v1/x", ["spared"], b"/v1/x"),
            (b"http://c.example/x?y", ["spared"], b"/v1?y"),
            (b"http://c.example/y", [], b""),
            (b"http://d.example/x", ["spared"], b"/v1/x"),
            (b"/v1", [], b""),
        ):
            expected = [Route(name, table.bases[name], target) for name in names]
            self.assertEqual(table.leading_to(uri), expected, uri)


class LocaliseTests(SynchronousTestCase):
    """What an origin says of its own addresses."""

    def _check(self, table: RoutingTable, route: Route, cases: tuple[tuple[str, str, str], ...]) -> None:
        for case, reference, expected in cases:
            self.assertEqual(table.localise(reference.encode(), route).decode(), expected, case)

    def test_into_a_mapping(self) -> None:
        """A reference to where a mapping leads is made one through the proxy, however it is written."""
        self._check(
            TABLE,
            TABLE.route(b"/openai/chat"),
            (
                ("absolute", "https://api.openai.example/v1/x", "/openai/x"),
                ("with a query", "https://api.openai.example/v1/x?a=/b#c", "/openai/x?a=/b#c"),
                ("its own port", "https://api.openai.example:443/v1/x", "/openai/x"),
                ("a port left empty", "https://api.openai.example:/v1/x", "/openai/x"),
                ("in upper case", "HTTPS://API.OPENAI.EXAMPLE/v1/x", "/openai/x"),
                ("without a scheme", "//api.openai.example/v1/x", "/openai/x"),
                ("a path", "/v1/x", "/openai/x"),
                ("the base", "/v1", "/openai"),
                ("the base and a slash", "https://api.openai.example/v1/", "/openai/"),
                ("the base and a query", "/v1?a", "/openai?a"),
                ("the base and a fragment", "/v1#a", "/openai#a"),
                ("bytes as they are", "/v1/a%2Fb//../|é", "/openai/a%2Fb//../|é"),
                ("what is no address any more", "/v1//evil.example", "/openai//evil.example"),
                ("another mapping", "http://plain.example/a", "/plain/a"),
                ("another mapping's root", "http://plain.example", "/plain"),
                ("another mapping, with a query", "http://plain.example?a", "/plain?a"),
                ("another mapping, by its port", "http://plain.example:8081/a", "/port/a"),
                ("another mapping, with brackets", "https://[2001:DB8::1]:8443/a/b/c", "/six/c"),
                ("where two lead: the one the request came by", "/v1/files/1", "/openai/files/1"),
            ),
        )

    def test_where_several_lead(self) -> None:
        """The mapping the request came by comes first, then the one that says most about the path."""
        for target, reference, expected in (
            (b"/openai/x", b"https://api.openai.example/v1/files/1", b"/openai/files/1"),
            (b"/files/x", b"https://api.openai.example/v1/files/1", b"/files/1"),
            (b"/plain/x", b"https://api.openai.example/v1/files/1", b"/files/1"),
            (b"/plain/x", b"https://api.openai.example/v1/filesystem", b"/openai/filesystem"),
            (b"/files/x", b"https://api.openai.example/v1/other", b"/openai/other"),
        ):
            self.assertEqual(TABLE.localise(reference, TABLE.route(target)), expected, (target, reference))

    def test_fallbacks(self) -> None:
        """A reference into what a mapping falls back on is one into the mapping."""
        mapping = DomainMapping(upstream="https://a.example/v1", fallback=("http://b.example/x", "http://c.example"))
        table = RoutingTable.build({"api": mapping})
        self._check(
            table,
            table.route(b"/api/y"),
            (
                ("the first", "http://b.example/x/z?q", "/api/z?q"),
                ("the second", "http://c.example/z", "/api/z"),
                ("beside it", "http://b.example/z", "http://b.example/z"),
            ),
        )

    def test_to_elsewhere(self) -> None:
        """A reference to where no mapping leads stays, but for what would be read wrongly on our side."""
        self._check(
            TABLE,
            TABLE.route(b"/openai/chat"),
            (
                ("another host", "https://evil.example/v1/x", "https://evil.example/v1/x"),
                (
                    "a host that begins alike",
                    "https://api.openai.example.evil/v1",
                    "https://api.openai.example.evil/v1",
                ),
                ("a host that ends alike", "https://xapi.openai.example/v1", "https://xapi.openai.example/v1"),
                ("another scheme", "http://api.openai.example/v1/x", "http://api.openai.example/v1/x"),
                ("another port", "https://api.openai.example:444/v1/x", "https://api.openai.example:444/v1/x"),
                ("no port", "https://api.openai.example:0/v1/x", "https://api.openai.example:0/v1/x"),
                ("a port out of range", "https://api.openai.example:65979/v1", "https://api.openai.example:65979/v1"),
                ("no such port", "https://api.openai.example:a/v1/x", "https://api.openai.example:a/v1/x"),
                ("somebody's", "https://a@api.openai.example/v1", "https://a@api.openai.example/v1"),
                ("a path that begins alike", "https://api.openai.example/v1x", "https://api.openai.example/v1x"),
                ("a path in another case", "https://api.openai.example/V1", "https://api.openai.example/V1"),
                ("the origin's root", "https://api.openai.example", "https://api.openai.example"),
                ("a path of the origin's", "/v2/x", "https://api.openai.example/v2/x"),
                ("the origin's root, as a path", "/", "https://api.openai.example/"),
                ("a host without a scheme", "//evil.example/x", "https://evil.example/x"),
                ("another kind of address", "mailto:a@b.example", "mailto:a@b.example"),
                (
                    "a host without a path, and more",
                    "http://plain.example@evil.example/",
                    "http://plain.example@evil.example/",
                ),
                ("a host without a path, and a port", "http://plain.example:80a", "http://plain.example:80a"),
                ("a backslash", "https://api.openai.example\\v1/x", "https://api.openai.example\\v1/x"),
                ("brackets left open", "https://[2001:db8::1/v1", "https://[2001:db8::1/v1"),
                ("relative", "x", "x"),
                ("relative, upwards", "../x", "../x"),
                ("relative, with a colon behind", "x/https://api.openai.example/v1", "x/https://api.openai.example/v1"),
                ("a query", "?a", "?a"),
                ("nothing", "", ""),
            ),
        )

    def test_at_the_root(self) -> None:
        """A mapping at the root has no name to put before, and what is left is a path still."""
        self._check(
            ROOTED,
            ROOTED.route(b"/chat"),
            (
                ("a path", "/v1/x", "/x"),
                ("absolute", "https://api.example/v1/x?a", "/x?a"),
                ("the base", "https://api.example/v1", "/"),
                ("the base and a query", "https://api.example/v1?a", "/?a"),
                ("what would name a host", "/v1//evil.example/x", "/.//evil.example/x"),
                ("elsewhere", "/v2", "https://api.example/v2"),
            ),
        )
        self._check(
            BARE,
            BARE.route(b"/chat"),
            (
                ("a path", "/x", "/x"),
                ("nothing", "https://api.example", "/"),
                ("a fragment", "https://api.example#a", "/#a"),
                ("what would name a host", "https://api.example//evil.example", "/.//evil.example"),
            ),
        )

    def test_prefix(self) -> None:
        """Where the caller's key is part of the path, references lead back by way of it."""
        self.assertEqual(TABLE.localise(b"/v1/x", TABLE.route(b"/openai"), b"/key"), b"/key/openai/x")
        self.assertEqual(ROOTED.localise(b"/v1/x", ROOTED.route(b"/"), b"/key"), b"/key/x")
        self.assertEqual(ROOTED.localise(b"/v1", ROOTED.route(b"/"), b"/key"), b"/key")
        self.assertEqual(ROOTED.localise(b"/v1//x", ROOTED.route(b"/"), b"/key"), b"/key//x")
        self.assertEqual(TABLE.localise(b"/v2/x", TABLE.route(b"/openai"), b"/key"), b"https://api.openai.example/v2/x")

    @properties
    @given(_REFERENCES, st.sampled_from((b"/openai/a", b"/files/a", b"/plain/a", b"/six/a")))
    def test_changes_nothing_that_leads_elsewhere(self, reference: bytes, target: bytes) -> None:
        """A reference is as it was, or made absolute, or leads by a mapping to the very address it named."""
        route = TABLE.route(target)
        found = TABLE.localise(reference, route)
        scheme, root = route.base.origin.scheme.encode() + b":", route.base.origin.root
        absolute = scheme + reference if reference.startswith(b"//") else root + reference
        if found != reference and not (reference.startswith(b"/") and found == absolute):
            reached = TABLE.route(found.partition(b"#")[0])
            named = reference if not reference.startswith(b"/") else absolute
            path = named.partition(b"//")[2].partition(b"#")[0]
            # Apart from how the authority is written, and the slash of an empty path, that is what it named.
            self.assertTrue(path.endswith(reached.target.removeprefix(b"/")), (reference, found))
            self.assertTrue(
                path.lower().startswith(reached.base.origin.host.encode()) or b"[" in path, (reference, found)
            )

    @properties
    @given(_RESTS.filter(lambda rest: b"#" not in rest), st.sampled_from(sorted(UPSTREAMS)))
    def test_leads_back(self, rest: bytes, name: str) -> None:
        """What an origin says of an address that was asked for leads to it again."""
        for table, target in ((TABLE, b"/" + name.encode() + b"/" + rest), (ROOTED, b"/x" + rest)):
            route = table.route(target)
            for reference in (route.uri, route.target):
                if not reference.startswith(b"//"):
                    self.assertEqual(table.localise(reference, route), target)
