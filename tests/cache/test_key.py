"""Tests of `buddyproxy.cache.key`: what makes two requests the same question."""

import json
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.key import RESPELLED, canonical_json, credential_partition, primary_key
from buddyproxy.cache.policy import CREDENTIALS, Credentials, Policy
from buddyproxy.message import Headers, Request
from tests.support.values import BUDDY, RFC9111, Large, fields, get, post, properties

URI = b"https://origin.example/thing"
SECRET = b"s" * 32
SHARED = evolve(BUDDY, partition=False)
JSON = "Content-Type: application/json"

# JSON values, numbers among them that are equal in value but not as written.
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)

# Short, and of few letters, so that bytes moved from one part of a request to another come up.
_PARTS = st.binary(max_size=3) | st.text(":12ab", max_size=4).map(str.encode)


def _key(request: Request, policy: Policy = BUDDY, uri: bytes = URI, secret: bytes = SECRET) -> bytes:
    return primary_key(request, uri, policy, secret)


def _shuffled(value: Any) -> Any:
    """Return the same JSON value with the members of its objects in another order."""
    match value:
        case dict():
            return {name: _shuffled(value[name]) for name in reversed(value)}
        case list():
            return [_shuffled(element) for element in value]
        case _:
            return value


class PrimaryKeyTests(SynchronousTestCase):
    """The key of a request (RFC 9111, 2)."""

    def test_what_makes_another_question(self) -> None:
        """Mapping, method, target URI, content and what tells how to read it: each makes another key."""
        text, octets = "Content-Type: text/plain", b'{"a":1}'
        keys = {
            "plain": _key(get()),
            "another mapping": _key(get(), evolve(BUDDY, mapping="n")),
            "another mapping, in another script": _key(get(), evolve(BUDDY, mapping="ñ")),
            "another method": _key(post(b"")),
            "another path": _key(get(), uri=URI + b"/"),
            "a query": _key(get(), uri=URI + b"?"),
            "another case of the path": _key(get(), uri=URI.upper()),
            "an encoded path": _key(get(), uri=b"https://origin.example/thin%67"),
            "content": _key(post(octets)),
            "content of GET": _key(evolve(get(), body=octets)),
            "other content": _key(post(octets + b" ")),
            "content of another type": _key(post(octets, text)),
            "content of another type, another charset": _key(post(octets, text + "; charset=latin-1")),
            "content of two types": _key(post(octets, JSON, text)),
            "content of the type JSON": _key(post(octets, JSON)),
            "content of a type of JSON": _key(post(octets, "Content-Type: application/ld+json")),
            "the same, with a parameter": _key(post(octets, "Content-Type: application/ld+json; profile=a")),
            "the same, another parameter": _key(post(octets, "Content-Type: application/ld+json; profile=A")),
            "large content": _key(post(Large(octets))),
            "other large content": _key(post(Large(octets + b" "))),
            "large content of another type": _key(post(Large(octets), JSON)),
            "large content, encoded": _key(post(Large(octets), JSON, "Content-Encoding: gzip")),
            "its digest as content": _key(post(Large(octets).digest)),
            "encoded content": _key(post(octets, JSON, "Content-Encoding: gzip")),
            "content encoded otherwise": _key(post(octets, JSON, "Content-Encoding: br")),
            "content encoded twice": _key(post(octets, JSON, "Content-Encoding: br", "Content-Encoding: gzip")),
        }
        self.assertEqual(len(set(keys.values())), len(keys), keys)
        self.assertEqual({len(key) for key in keys.values()}, {32})

    def test_what_does_not(self) -> None:
        """HEAD asks what GET asks; other header fields, and how a caller came, make no difference here."""
        plain = get("Accept: a")
        for case, request in (
            ("HEAD", evolve(plain, method=b"HEAD")),
            ("other fields", get("Accept: b", "User-Agent: c")),
            ("the target as the caller wrote it", evolve(plain, target=b"/m/thing")),
            ("another caller", evolve(plain, client="192.0.2.1", secure=True)),
            ("a type of no content", get(JSON)),
        ):
            self.assertEqual(_key(request), _key(plain), case)
        self.assertEqual(_key(plain, evolve(BUDDY, default_ttl=1.0, max_size=1)), _key(plain), "another policy")

    def test_json_is_read(self) -> None:
        """JSON of any type counts as what it says, however it is laid out."""
        plain = post(b'{"a":1,"b":[true,null]}', JSON)
        for case, body, content_type in (
            ("order", b'{"b":[true,null],"a":1}', "application/json"),
            ("white space", b' {\r\n\t"a" : 1, "b": [ true,null ] } ', "application/json"),
            ("escapes", b'{"\\u0061":1,"b":[true,null]}', "application/json"),
            ("case of the type", plain.body, "Application/JSON"),
            ("charset", plain.body, "application/json; charset=UTF-8"),
            ("charset, no white space", plain.body, "application/json;Charset=utf-8"),
        ):
            self.assertEqual(_key(post(body, f"Content-Type: {content_type}")), _key(plain), case)
        for content_type in ("application/vnd.api+json", "application/LD+json"):
            self.assertEqual(
                _key(post(b'{"a":1, "b":2}', f"Content-Type: {content_type}")),
                _key(post(b'{"b":2, "a":1}', f"Content-Type: {content_type}")),
                content_type,
            )

    def test_what_is_not_clean_json_counts_byte_for_byte(self) -> None:
        """Where the content is no JSON, or is encoded, or says it is something else, every byte counts."""
        for case, lines, one, other in (
            ("no type", [], b'{"a":1}', b'{"a": 1}'),
            ("another type", ["Content-Type: text/json"], b'{"a":1}', b'{"a": 1}'),
            ("a type that begins alike", ["Content-Type: application/jsonl"], b"1", b"1 "),
            ("a type that ends alike", ["Content-Type: application/xjson"], b"1", b"1 "),
            ("encoded", [JSON, "Content-Encoding: x"], b'{"a":1}', b'{"a": 1}'),
            ("no JSON", [JSON], b"{a:1}", b"{a: 1}"),
            ("a member twice", [JSON], b'{"a":1,"a":2}', b'{"a":1, "a":2}'),
            ("not UTF-8", [JSON], b'["\xff"]', b'[ "\xff"]'),
        ):
            self.assertNotEqual(_key(post(one, *lines)), _key(post(other, *lines)), case)
            self.assertEqual(_key(post(one, *lines)), _key(post(one, *lines)), case)

    def test_large_content(self) -> None:
        """Content too large for memory counts whole, wherever it is kept."""
        plain, copy = Large(b"x" * 1000), Large(b"x" * 1000)
        self.assertEqual(_key(post(plain, JSON)), _key(post(copy, JSON)))
        self.assertNotEqual(_key(post(plain, JSON)), _key(post(Large(b"x" * 999 + b"y"), JSON)))

    def test_media_type_without_json_counts_as_written(self) -> None:
        """A type may tell how to read the content, and so does each of its parameters."""
        self.assertNotEqual(
            _key(post(b"a", "Content-Type: text/plain; charset=utf-8")),
            _key(post(b"a", "Content-Type: text/plain; charset=latin-1")),
        )

    @properties
    @given(st.tuples(_PARTS, _PARTS, _PARTS, _PARTS), st.tuples(_PARTS, _PARTS, _PARTS, _PARTS))
    def test_no_byte_moves_between_fields(self, one: tuple[bytes, ...], other: tuple[bytes, ...]) -> None:
        """Two requests have one key exactly when method, URI, type and content are the same, each for itself."""

        def key(method: bytes, uri: bytes, media_type: bytes, body: bytes) -> bytes:
            headers = Headers(((b"Content-Type", media_type),))
            return _key(Request(b"POST" + method, b"/", headers, b"+" + body), uri=uri)

        self.assertEqual(key(*one) == key(*other), one == other)

    @properties
    @given(_PARTS, _PARTS.filter(bool))
    def test_no_byte_moves_to_the_next_field(self, text: bytes, moved: bytes) -> None:
        """Bytes taken from one field's end and put before the next make another key."""
        self.assertNotEqual(
            _key(Request(b"POST", b"/", body=b"." + text), uri=URI + moved),
            _key(Request(b"POST", b"/", body=moved + b"." + text), uri=URI),
        )
        self.assertNotEqual(
            _key(Request(b"POST" + moved, b"/"), uri=text), _key(Request(b"POST", b"/"), uri=moved + text)
        )


class LargeContentTests(SynchronousTestCase):
    """Content that is too large to be respelled."""

    def test_counts_byte_for_byte(self) -> None:
        """Above the limit, JSON counts as it was sent: no caller waits for another's to be respelled."""
        json_text = ["Content-Type: application/json"]
        for filling, same in ((b"x" * (RESPELLED - 20), True), (b"x" * RESPELLED, False)):
            tight, loose = b'{"a":"' + filling + b'"}', b'{ "a":"' + filling + b'"}'
            keys = {_key(post(body, *json_text)) for body in (tight, loose)}
            self.assertEqual(len(keys) == 1, same)
            self.assertEqual(_key(post(tight, *json_text)), _key(post(tight, *json_text)))


class PartitionTests(SynchronousTestCase):
    """Who asks is part of the key where callers are kept apart."""

    callers = (
        (),
        ("Authorization: Bearer a",),
        ("Authorization: Bearer b",),
        ("Authorization: bearer a",),
        ("Cookie: Bearer a",),
        ("Authorization: Bearer a", "Cookie: c"),
        ("Authorization:",),
        ("Cookie: a", "Cookie: b"),
        ("Cookie: b", "Cookie: a"),
        ("Cookie: a, b",),
        ("X-Api-Key: a",),
    )

    def test_callers_never_share(self) -> None:
        """Any difference in the credential fields makes another key; so does another store's secret."""
        keys = {_key(get(*lines)) for lines in self.callers}
        self.assertEqual(len(keys), len(self.callers))
        for lines in self.callers[1:]:
            self.assertNotEqual(_key(get(*lines)), _key(get(*lines), secret=b"t" * 32), lines)

    def test_the_same_caller_is_known_again(self) -> None:
        """Order among different fields, and the case of their names, say nothing of who asks."""
        known = _key(get("Authorization: a", "X-Api-Key: b", "Accept: c"))
        self.assertEqual(_key(get("x-api-key: b", "Accept: d", "AUTHORIZATION: a")), known)

    def test_every_credential_counts(self) -> None:
        """Each field that is known to say who asks keeps callers apart, and so do those a mapping adds."""
        for name in CREDENTIALS:
            one, other = (get(f"{name.decode()}: {value}") for value in "ab")
            self.assertNotEqual(_key(one), _key(other), name)
            self.assertEqual(_key(one, SHARED), _key(other, SHARED), name)
        named = evolve(BUDDY, credentials=Credentials(CREDENTIALS | {b"x-team"}))
        self.assertNotEqual(_key(get("X-Team: a"), named), _key(get("X-Team: b"), named))
        self.assertEqual(_key(get("X-Team: a")), _key(get("X-Team: b")))

    def test_sharing(self) -> None:
        """Where callers share, and under RFC 9111, credentials and the secret are no part of the key."""
        for policy in (SHARED, RFC9111):
            keys = {_key(get(*lines), policy, secret=secret) for lines in self.callers for secret in (b"s", b"t")}
            self.assertEqual(len(keys), 1)

    def test_without_credentials_everybody_shares(self) -> None:
        """Callers who show nothing are one partition, whatever the secret."""
        self.assertEqual(credential_partition(fields("Accept: a"), CREDENTIALS, SECRET), b"")
        self.assertEqual(_key(get("Accept: a")), _key(get("Accept: b"), secret=b"t" * 32))

    @properties
    @given(st.text("abcdefghijklmnop", min_size=6, max_size=30), st.sampled_from(sorted(CREDENTIALS)))
    def test_no_credential_is_in_the_key(self, secret: str, name: bytes) -> None:
        """Neither key nor partition holds a credential, in clear or in hexadecimal."""
        headers = fields(f"{name.decode()}: {secret}")
        for made in (_key(get(f"{name.decode()}: {secret}")), credential_partition(headers, CREDENTIALS, SECRET)):
            self.assertEqual(len(made), 32)
            for spelling in (secret.encode(), secret.encode().hex().encode()):
                self.assertNotIn(spelling, made)
                self.assertNotIn(spelling, made.hex().encode())

    @properties
    @given(
        st.lists(st.tuples(st.sampled_from((b"cookie", b"apikey")), _PARTS), max_size=3),
        st.lists(st.tuples(st.sampled_from((b"cookie", b"apikey")), _PARTS), max_size=3),
    )
    def test_partitions_differ_as_credentials_do(
        self, one: list[tuple[bytes, bytes]], other: list[tuple[bytes, bytes]]
    ) -> None:
        """Two callers share exactly when each field has the same lines for both."""
        partitions = [credential_partition(Headers(tuple(pairs)), CREDENTIALS, SECRET) for pairs in (one, other)]
        alike = all(Headers(tuple(one)).get_all(n) == Headers(tuple(other)).get_all(n) for n in (b"cookie", b"apikey"))
        self.assertEqual(partitions[0] == partitions[1], alike)


class SettledTests(SynchronousTestCase):
    """What a mapping's own settings make of the key."""

    def test_keys_stay(self) -> None:
        """Without such settings keys are what they always were: nobody's store is lost by an upgrade."""
        for request, key in (
            (get(), "3721e17715df2373fdb886f5a8c5df54c46f6b5319c3ca7a33829010838db1a5"),
            (
                post(b'{"b": 1, "a": [2]}', JSON + "; profile=a", "Authorization: a"),
                "6bd74f5897a6538fdcc26867337b58bc4aa2116d80cf2863e291248ff0b250b0",
            ),
            (
                post(b"x", "Content-Type: text/plain", "Content-Encoding: gzip"),
                "f8fccb8d71cbf9f8606f36b3471ac2e4292e424e0bba9b8ad2e6ac917787ba01",
            ),
        ):
            self.assertEqual(_key(request, uri=URI + b"?b&a").hex(), key)

    def test_named_fields(self) -> None:
        """A field that is named counts: its value, whether it is there, and not the white space in it."""
        policy = evolve(BUDDY, key_headers=(b"x-empty", b"x-team"))
        keys = {
            "none": _key(get(), policy),
            "none, not named": _key(get()),
            "one": _key(get("X-Team: a"), policy),
            "one, not named": _key(get("X-Team: a"), evolve(policy, key_headers=(b"x-empty",))),
            "another value": _key(get("X-Team: b"), policy),
            "another case": _key(get("X-Team: A"), policy),
            "empty": _key(get("X-Team:"), policy),
            "the other, empty": _key(get("X-Empty:"), policy),
            "the other": _key(get("X-Empty: a"), policy),
            "two values": _key(get("X-Team: a, b"), policy),
            "two values, in the other order": _key(get("X-Team: b, a"), policy),
            "quoted": _key(get('X-Team: "a, b"'), policy),
            "quoted, without white space": _key(get('X-Team: "a,b"'), policy),
            "under another secret": _key(get("X-Team: a"), policy, secret=b"t" * 32),
        }
        self.assertEqual(len(set(keys.values())), len(keys), keys)
        for lines in (["x-team:a,b"], ["X-Team: a", "X-Team: b"], ["X-Team: a ,\tb", "X-Other: c"]):
            self.assertEqual(_key(get(*lines), policy), keys["two values"], lines)

    def test_query(self) -> None:
        """What is ignored of a query does not count; another setting, or another path, is another question."""
        policy = evolve(BUDDY, ignore_query=(b"t", b"utm_*"))
        plain = _key(get(), policy, URI + b"?a=1")
        for query in (b"?a=1&t=2", b"?utm_source=x&a=1"):
            self.assertEqual(_key(get(), policy, URI + query), plain, query)
        others = {
            "nothing ignored": _key(get(), uri=URI + b"?a=1"),
            "less ignored": _key(get(), evolve(policy, ignore_query=(b"t",)), URI + b"?a=1"),
            "sorted": _key(get(), evolve(policy, sort_query=True), URI + b"?a=1"),
            "only sorted": _key(get(), evolve(BUDDY, sort_query=True), URI + b"?a=1"),
            "nothing left": _key(get(), policy, URI + b"?t=1"),
            "another path": _key(get(), policy, URI + b"/?a=1"),
            "another value": _key(get(), policy, URI + b"?a=2"),
        }
        self.assertEqual(len({plain, *others.values()}), len(others) + 1, others)
        self.assertEqual(others["nothing left"], _key(get(), policy, URI))
        ordered = evolve(BUDDY, sort_query=True)
        self.assertEqual(_key(get(), ordered, URI + b"?b&a"), _key(get(), ordered, URI + b"?a&b"))

    def test_content(self) -> None:
        """Members that are ignored do not count where the content is JSON that is read; elsewhere every byte does."""
        policy = evolve(BUDDY, ignore_body=(("metadata", "user"), ("stream",)))
        plain = _key(post(b'{"model":"m","metadata":{}}', JSON), policy)
        for body in (b'{"metadata":{"user":5},"model":"m"}', b'{"stream":true,"model":"m","metadata":{"user":null}}'):
            self.assertEqual(_key(post(body, JSON), policy), plain, body)
        for case, body, lines in (
            ("not ignored", b'{"model":"m","metadata":{"user":5},"user":5}', [JSON]),
            ("not JSON by its type", b'{"model":"m","metadata":{}}', ["Content-Type: text/plain"]),
        ):
            self.assertNotEqual(_key(post(body, *lines), policy), plain, case)
        for case, less, more in (
            ("no JSON", b'{"stream":1', b'{"stream":2'),
            ("a member twice", b'{"a":1,"a":1,"stream":1}', b'{"a":1,"a":1,"stream":2}'),
            ("large", b'{"stream":1}' + b" " * RESPELLED, b'{"stream":2}' + b" " * RESPELLED),
        ):
            self.assertNotEqual(_key(post(less, JSON), policy), _key(post(more, JSON), policy), case)
        for case, other in (
            ("nothing ignored", BUDDY),
            ("less ignored", evolve(policy, ignore_body=(("stream",),))),
            ("more ignored", evolve(policy, ignore_body=(("metadata", "user"), ("stream",), ("seed",)))),
        ):
            self.assertNotEqual(_key(post(b'{"model":"m","metadata":{}}', JSON), other), plain, case)
        self.assertEqual(_key(get(), policy), _key(get()), "no content")

    @properties
    @given(st.dictionaries(st.sampled_from("abc"), _JSON, max_size=3), _JSON, _JSON)
    def test_only_what_is_ignored_is_ignored(self, rest: dict[str, Any], one: Any, other: Any) -> None:
        """Contents that differ in the ignored member only are one question, and others are not."""
        policy = evolve(BUDDY, ignore_body=(("id",),))
        keys = [
            _key(post(json.dumps(value).encode(), JSON), policy)
            for value in (rest, {**rest, "id": one}, {"id": other, **rest}, {**rest, "d": 1}, {"rest": rest})
        ]
        self.assertEqual(keys[0], keys[1])
        self.assertEqual(keys[0], keys[2])
        self.assertEqual(len(set(keys)), 3)

    @properties
    @given(
        st.tuples(_PARTS, _PARTS, st.sampled_from([JSON, "Content-Type: text/plain"])),
        st.tuples(_PARTS, _PARTS, st.sampled_from([JSON, "Content-Type: text/plain"])),
    )
    def test_no_two_questions_meet(self, one: tuple[bytes, bytes, str], other: tuple[bytes, bytes, str]) -> None:
        """Without settings to the contrary, requests whose query or content differ never have one key."""
        keys = [_key(post(body, line), uri=URI + b"?" + query) for query, body, line in (one, other)]
        same = one[0] == other[0] and _content(one) == _content(other)
        self.assertEqual(keys[0] == keys[1], same)

    @properties
    @given(_PARTS, _PARTS, _PARTS)
    def test_callers_cannot_write_settings(self, query: bytes, tenant: bytes, body: bytes) -> None:
        """No content, query or type makes the key of a mapping with other settings."""
        settled = evolve(BUDDY, key_headers=(b"x-team",), ignore_query=(b"t",), ignore_body=(("a",),))
        request = Request(b"POST", b"/", Headers(((b"X-Team", tenant), (b"Content-Type", b"application/json"))), body)
        uri = URI + b"?" + query
        for policy in (BUDDY, evolve(settled, key_headers=()), evolve(settled, ignore_query=())):
            self.assertNotEqual(_key(request, settled, uri), _key(request, policy, uri))


def _content(question: tuple[bytes, bytes, str]) -> tuple[object, ...]:
    """Return what a question's content says: JSON that can be read by its form, all else by its bytes and type."""
    _, body, line = question
    if not body:
        return ()
    canonical = canonical_json(body) if line == JSON else None
    return (body, line) if canonical is None else (canonical,)


class CanonicalJsonTests(SynchronousTestCase):
    """One form for all spellings of a JSON text."""

    def test_alike(self) -> None:
        """Order of members, white space and escapes say nothing."""
        for case, one, other in (
            ("order", b'{"a":1,"b":2}', b'{"b":2,"a":1}'),
            ("order inside", b'[{"a":{"c":1,"b":2}}]', b'[{"a":{"b":2,"c":1}}]'),
            ("white space", b'{"a":[1,2]}', b' { "a" :\t[ 1 ,\r\n2 ] } '),
            ("an escape", b'"/a"', b'"\\/\\u0061"'),
            ("letters beyond ASCII", '"é𝄞"'.encode(), b'"\\u00e9\\ud834\\udd1e"'),
            ("half a pair, in two cases", b'"\\uD834"', b'"\\ud834"'),
        ):
            canonical = canonical_json(one)
            self.assertIsNotNone(canonical, case)
            self.assertEqual(canonical, canonical_json(other), case)

    def test_different(self) -> None:
        """Whatever may mean something else to somebody has another form."""
        texts = (
            *(b"1", b"1.0", b"1e0", b"1E0", b"1e+0", b"10e-1", b"-1", b"0", b"-0", b"0.0", b"1.00"),
            *(b"100000000000000000000000", b"100000000000000000000001", b"0.1", b"0.10000000000000001", b"1e400"),
            *(b"true", b"false", b"null", b'"true"', b'"1"', b'""', b"[]", b"{}", b"[[]]", b"[{}]", b"[1,2]", b"[2,1]"),
            *(b"[12]", b'["1","2"]', b'["1,2"]', b'{"a":1}', b'{"a":"1"}', b'["a",1]', b'["a:1"]', b'{"a":null}'),
            *(b'{"a":{"b":1}}', b'{"a":{},"b":1}', b'{"a":1,"b":2}', b'{"a":2,"b":1}', b'"a"', b'"A"', b'"a "'),
        )
        forms = {canonical_json(text) for text in texts}
        self.assertNotIn(None, forms)
        self.assertEqual(len(forms), len(texts))

    def test_not_respelled(self) -> None:
        """What is no JSON, or means different things to different readers, has no such form."""
        for case, text in (
            ("nothing", b""),
            ("a member twice", b'{"a":1,"a":1}'),
            ("a member twice, inside", b'[{"b":{"a":1,"a":2}}]'),
            ("a member twice, in two spellings", b'{"a":1,"\\u0061":2}'),
            ("NaN", b"[NaN]"),
            ("infinity", b"Infinity"),
            ("negative infinity", b"-Infinity"),
            ("two texts", b"1 2"),
            ("a comma at the end", b"[1,]"),
            ("a comment", b"[1] // one"),
            ("single quotes", b"'a'"),
            ("a control character", b'"a\nb"'),
            ("a byte order mark", b"\xef\xbb\xbf1"),
            ("not UTF-8", b'"\xff"'),
            ("UTF-16", '"a"'.encode("utf-16")),
            ("white space of another kind", b"\x0c1"),
            ("a leading zero", b"01"),
            ("cut short", b'{"a":'),
            ("too deep to read", b"[" * 100_000 + b"]" * 100_000),
        ):
            self.assertIsNone(canonical_json(text), case)

    def test_depth(self) -> None:
        """Nesting of every depth is either respelled or left alone; it is never a failure."""
        for depth in (1, 10, 100, *range(300, 1200, 5), 5000):
            made = canonical_json(b"[ " * depth + b"]" * depth)
            self.assertTrue(made is None or b" " not in made, depth)

    def test_numbers_of_any_length(self) -> None:
        """A number is never computed with: thousands of digits are as good as one."""
        digits = b"9" * 100_000
        self.assertEqual(canonical_json(b" " + digits), digits)

    def test_left_out(self) -> None:
        """A path leads through objects by name, through lists by `*`; what it does not lead to stays."""
        for case, path, text, expected in (
            ("a member", "a", b'{"a":1,"b":2}', b'{"b":2}'),
            ("the only member", "a", b'{"a":1}', b"{}"),
            ("a member that is not there", "c", b'{"a":1}', b'{"a":1}'),
            ("a member inside", "a.b", b'{"a":{"b":1,"c":2},"b":3}', b'{"a":{"c":2},"b":3}'),
            ("a member inside of what is no object", "a.b", b'{"a":"b"}', b'{"a":"b"}'),
            ("a member inside of nothing", "a.b", b'{"a":null}', b'{"a":null}'),
            ("a member of a list's objects, not said", "a.b", b'{"a":[{"b":1}]}', b'{"a":[{"b":1}]}'),
            ("a member of a list's objects", "a.*.b", b'{"a":[{"b":1},{"c":2,"b":3},4]}', b'{"a":[{},{"c":2},4]}'),
            ("a member of all members", "*.b", b'{"a":{"b":1},"b":2,"c":{"c":3}}', b'{"a":{},"b":2,"c":{"c":3}}'),
            ("all members", "a.*", b'{"a":{"b":1,"c":2}}', b'{"a":{}}'),
            ("all elements", "a.*", b'{"a":[1,2]}', b'{"a":[]}'),
            ("everything", "*", b"[1]", b"[]"),
            ("a number in place of an element", "0", b'[{"0":1}]', b'[{"0":1}]'),
            ("no object", "a", b'"a"', b'"a"'),
        ):
            made = canonical_json(text, [tuple(path.split("."))])
            self.assertIsNotNone(made, case)
            self.assertEqual(made, canonical_json(expected), case)
        self.assertEqual(canonical_json(b'{"a":{"b":1},"c":2}', [("a", "b"), ("a",), ("c",)]), canonical_json(b"{}"))

    @properties
    @given(_JSON)
    def test_layout_says_nothing(self, value: Any) -> None:
        """The same value has the same form, whichever way its members are ordered and its text is laid out."""
        plain = canonical_json(json.dumps(value).encode())
        self.assertIsNotNone(plain)
        for text in (
            json.dumps(_shuffled(value)),
            json.dumps(value, indent=3, sort_keys=True),
            json.dumps(value, separators=(",", ":"), ensure_ascii=False),
        ):
            self.assertEqual(canonical_json(text.encode()), plain)

    @properties
    @given(_JSON, _JSON)
    def test_different_values_have_different_forms(self, one: Any, other: Any) -> None:
        """Two texts have one form exactly when they say the same, numbers being the same as written."""
        sorted_texts = [json.dumps(value, sort_keys=True) for value in (one, other)]
        forms = [canonical_json(text.encode()) for text in sorted_texts]
        self.assertEqual(forms[0] == forms[1], sorted_texts[0] == sorted_texts[1])

    @properties
    @given(_JSON, st.text(max_size=3), _JSON)
    def test_a_repeated_member_is_never_hidden(self, value: Any, name: str, first: Any) -> None:
        """An object that repeats a member is respelled nowhere, so its key is that of its very bytes."""
        quoted, inner = json.dumps(name), json.dumps(value)
        text = f'{{"x":[{{{quoted}:{json.dumps(first)},{quoted}:{inner}}}]}}'.encode()
        self.assertIsNone(canonical_json(text))
        single = f'{{"x":[{{{quoted}:{inner}}}]}}'.encode()
        self.assertNotEqual(_key(post(text, JSON)), _key(post(single, JSON)))

    @properties
    @given(st.binary(max_size=40) | st.text('{}[]",:1e.-+ tfn\\u', max_size=30).map(str.encode))
    def test_never_raises(self, text: bytes) -> None:
        """Whatever is sent as JSON, reading it is no failure, and what comes of it says the same again."""
        made = canonical_json(text)
        self.assertEqual(len(_key(post(text, JSON))), 32)
        if made is not None:
            self.assertNotIn(b"\n", made)
            self.assertTrue(made.isascii())
