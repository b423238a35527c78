"""What every store promises, whatever it is made of."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.message import Headers, Response
from buddyproxy.storage import Storage
from tests.storage.samples import NOW, key, language, stored

_times = st.floats(allow_nan=False)
_fields = st.tuples(st.binary(), st.binary())
_selecting = st.lists(st.tuples(st.binary(), st.none() | st.binary())).map(tuple)
_responses = st.builds(
    Response,
    status=st.integers(100, 999),
    headers=st.lists(_fields).map(lambda pairs: Headers(tuple(pairs))),
    reason=st.binary(),
)
anything = st.builds(
    StoredResponse,
    key=st.binary(min_size=32, max_size=32),
    selecting=_selecting,
    mapping=st.text(st.characters(exclude_categories=["Cs"])),
    method=st.binary(),
    uri=st.binary(),
    response=_responses,
    body=st.binary(),
    request_time=_times,
    response_time=_times,
    expires=_times,
    remove_after=_times,
)
"""Stored responses of every kind, made of whatever bytes there are."""


class StorageContract:
    """Mixed into a TestCase that has `make_storage` return a new, empty store."""

    def setUp(self: TestCase) -> None:
        self.storage: Storage = self.make_storage()
        self.addCleanup(lambda: Deferred.fromCoroutine(self.storage.close()))

    async def bodies(self, name: str = "a") -> list[bytes]:
        """Return the bodies stored under `key(name)`."""
        return [stored.body for stored in await self.storage.lookup(key(name))]

    async def settle(self) -> None:
        """Bring what was stored to where it ends up; a store without a medium has nothing to do."""

    def test_secret(self) -> None:
        """The secret has 32 bytes, and stays as it is."""
        self.assertEqual(len(self.storage.secret), 32)
        self.assertEqual(self.storage.secret, self.storage.secret)

    async def test_unknown_key(self) -> None:
        """Of a key it never saw a store has nothing."""
        self.assertEqual(await self.bodies(), [])

    async def test_stored_at_once(self) -> None:
        """What was stored is there for the next lookup, and whole."""
        self.storage.store(stored())
        self.assertEqual(list(await self.storage.lookup(key("a"))), [stored()])

    async def test_settled(self) -> None:
        """What was stored is still there, and whole, when it has been written."""
        self.storage.store(stored())
        await self.settle()
        self.assertEqual(list(await self.storage.lookup(key("a"))), [stored()])

    async def test_other_keys(self) -> None:
        """A lookup finds its own key's responses only."""
        self.storage.store(stored("a", b"1"))
        self.storage.store(stored("b", b"2"))
        await self.settle()
        self.assertEqual((await self.bodies("a"), await self.bodies("b")), ([b"1"], [b"2"]))

    async def test_variants(self) -> None:
        """Variants stand side by side, the one last stored first, written or not."""
        for value in (None, b"", b"de"):
            self.storage.store(stored(body=repr(value).encode(), selecting=language(value)))
            await self.settle()
        self.storage.store(stored(body=b"fr", selecting=language(b"fr")))
        self.assertEqual(await self.bodies(), [b"fr", b"b'de'", b"b''", b"None"])

    async def test_replaced(self) -> None:
        """A response takes the place of the one of its variant, and comes first."""
        for body in (b"old", b"new", b"newest"):
            self.storage.store(stored(body=body))
            self.storage.store(stored(body=b"other", selecting=language(b"de")))
            await self.settle()
        self.storage.store(stored(body=b"unwritten"))
        self.assertEqual(await self.bodies(), [b"unwritten", b"other"])

    async def test_invalidate(self) -> None:
        """An invalidation forgets the responses to GET and HEAD of one URI and mapping, whoever asked for them."""
        uri = b"https://api.example.com/things"
        for settle in (True, False):
            self.storage.store(stored("ann", b"ann's", uri=uri))
            self.storage.store(stored("bob", b"bob's", uri=uri))
            self.storage.store(stored("bob", b"bob's, in German", uri=uri, selecting=language(b"de")))
            self.storage.store(stored("head", b"", uri=uri, method=b"HEAD"))
            self.storage.store(stored("post", b"asked", uri=uri, method=b"POST"))
            self.storage.store(stored("mapping", b"elsewhere", uri=uri, mapping="other"))
            self.storage.store(stored("uri", b"below", uri=uri + b"/1"))
            if settle:
                await self.settle()
            self.storage.invalidate("openai", uri)
            found = [await self.bodies(name) for name in ("ann", "bob", "head", "post", "mapping", "uri")]
            self.assertEqual(found, [[], [], [], [b"asked"], [b"elsewhere"], [b"below"]])
            await self.settle()
            found = [await self.bodies(name) for name in ("ann", "bob", "head", "post", "mapping", "uri")]
            self.assertEqual(found, [[], [], [], [b"asked"], [b"elsewhere"], [b"below"]])

    async def test_invalidate_one_variant(self) -> None:
        """Where two URIs share a key, an invalidation leaves the other one's response."""
        self.storage.store(stored(body=b"1", uri=b"https://one.example/"))
        self.storage.store(stored(body=b"2", uri=b"https://two.example/", selecting=language(b"de")))
        self.storage.invalidate("openai", b"https://one.example/")
        self.assertEqual(await self.bodies(), [b"2"])

    async def test_stored_after_invalidation(self) -> None:
        """What is stored after an invalidation stays."""
        self.storage.store(stored(body=b"old"))
        await self.settle()
        self.storage.invalidate("openai", stored().uri)
        self.storage.store(stored(body=b"new"))
        self.assertEqual(await self.bodies(), [b"new"])
        await self.settle()
        self.assertEqual(await self.bodies(), [b"new"])

    async def test_remove_expired(self) -> None:
        """What is of no more use is removed, what is of use stays, and the count is true."""
        for number in range(5):
            self.storage.store(stored(str(number), remove_after=NOW + number))
        await self.settle()
        self.storage.store(stored("unwritten", remove_after=NOW - 1))
        self.storage.store(stored("3", selecting=language(b"de"), remove_after=NOW))
        self.assertEqual(await self.storage.remove_expired(NOW + 2), 5)
        self.assertEqual([len(await self.bodies(str(number))) for number in range(5)], [0, 0, 0, 1, 1])
        self.assertEqual(await self.storage.remove_expired(NOW + 2), 0)

    async def test_clear(self) -> None:
        """Clearing removes everything, written or not, and tells how much that was."""
        for name in ("a", "b"):
            self.storage.store(stored(name))
        await self.settle()
        self.storage.store(stored("a"))
        self.storage.store(stored("c"))
        self.assertEqual(await self.storage.clear(), 3)
        self.assertEqual([await self.bodies(name) for name in "abc"], [[], [], []])
        self.assertEqual(await self.storage.clear(), 0)

    async def test_stored_after_clear(self) -> None:
        """A cleared store takes new responses."""
        self.storage.store(stored(body=b"old"))
        await self.storage.clear()
        self.storage.store(stored(body=b"new"))
        await self.settle()
        self.assertEqual(await self.bodies(), [b"new"])

    async def test_any_bytes(self) -> None:
        """Whatever bytes and times a response is made of, they come back exactly."""
        samples: list[StoredResponse] = []

        @settings(derandomize=True, database=None, max_examples=200, deadline=None)
        @given(anything)
        def collect(sample: StoredResponse) -> None:
            samples.append(sample)

        collect()
        for sample in samples:
            self.storage.store(sample)
        await self.settle()
        last = {(sample.key, sample.variant): sample for sample in samples}
        for sample in last.values():
            self.assertIn(sample, list(await self.storage.lookup(sample.key)))
