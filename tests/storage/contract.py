"""What every store promises, whatever it is made of."""

from struct import pack

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from buddyproxy.cache.stored import StoredResponse
from buddyproxy.cache.timeline import Timeline
from buddyproxy.message import Headers, Response
from buddyproxy.storage import Storage
from buddyproxy.storage.selection import Selection
from buddyproxy.storage.shelf import VARIANTS
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
    timeline=st.lists(st.integers(0, 2**32 - 1)).map(
        lambda lengths: Timeline(pack(f"<{2 * len(lengths)}I", *lengths * 2))
    ),
)
"""Stored responses of every kind, made of whatever bytes there are."""


_API = b"https://api.example.com"
PURGES = (
    (Selection(everything=True), ""),
    (Selection(mapping="openai"), "bb"),
    (Selection(mapping="nobody's"), "abbcd"),
    (Selection(uri=_API + b"/v1/b"), "ad"),
    (Selection(uri=_API + b"/v1/b", mapping="openai"), "abbd"),
    (Selection(uri=_API + b"/v1"), "abbcd"),
    (Selection(prefix=_API + b"/v1/"), "d"),
    (Selection(prefix=_API + b"/v1/", mapping="other"), "acd"),
    (Selection(prefix=b"", mapping="other"), "acd"),
    (Selection(prefix=_API + b"/V1/"), "abbcd"),
    (Selection(prefix=_API + "/v2/é".encode("latin-1")), "abbc"),
    (Selection(prefix=b"\xff"), "abbcd"),
    (Selection(glob=b"*/b"), "ad"),
    (Selection(glob=b"*/B"), "abbcd"),
    (Selection(glob=b"https://*/v?/?"), "a"),
    (Selection(glob=b"*x=[1]"), "bbcd"),
    (Selection(glob=b"*[1]*"), "bbcd"),
    (Selection(glob=b"*[ab]"), "abbcd"),
    (Selection(glob=b"*/\\b"), "abbcd"),
    (Selection(glob=_API + b"/v1/b"), "ad"),
    (Selection(glob=_API + b"/v1/b*", mapping="other"), "acd"),
    (Selection(glob=_API + b"/v1/*", uri=_API + b"/v1/b", prefix=b"http"), "ad"),
    (Selection(key=key("b")), "acd"),
    (Selection(key=key("b"), tag=b"two"), "abcd"),
    (Selection(key=key("b"), mapping="openai"), "abbcd"),
    (Selection(key=key("nobody's")), "abbcd"),
    (Selection(tag=b"both"), "bcd"),
    (Selection(tag=b"both", mapping="other"), "abcd"),
    (Selection(tag=b"both", prefix=_API + b"/v1/a"), "bbcd"),
    (Selection(tag=b"one, both"), "abbcd"),
    (Selection(tag="bøth".encode("latin-1")), "abbcd"),
    (Selection(method=b"POST"), "abbd"),
    (Selection(method=b"post"), "abbcd"),
    (Selection(method=b"GET", uri=_API + b"/v1/b"), "acd"),
    (Selection(before=NOW - 50), "bcd"),
    (Selection(before=NOW - 10, method=b"GET", glob=b"*v1*"), "bcd"),
    (Selection(before=float("-inf")), "abbcd"),
    (Selection(before=NOW, tag=b"Both"), "abbc"),
)
"""What is purged of `store_for_purge`, and the names of the responses left."""


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

    async def test_many_variants(self) -> None:
        """Of one key the last responses are kept, so many and no more; one that is stored again counts as new."""
        names = [b"%d" % number for number in range(VARIANTS + 5)]
        for settle_at in (VARIANTS // 2, VARIANTS + 5, 0):
            for number, name in enumerate(names):
                self.storage.store(stored(body=name, selecting=language(name)))
                if number == settle_at:
                    await self.settle()
                    await self.bodies()
            self.storage.store(stored(body=b"again", selecting=language(names[10])))
            self.storage.store(stored("b"))
            kept = [b"again", *(name for name in reversed(names[5:]) if name != names[10])]
            for _ in range(2):
                self.assertEqual(await self.bodies(), kept)
                await self.settle()
            self.assertEqual(await self.bodies("b"), [b"hello"])
            self.storage.store(stored(body=b"plain"))
            await self.settle()
            self.assertEqual(await self.bodies(), [b"plain", *kept[:-1]])
            self.assertEqual(await self.storage.clear(), VARIANTS + 1)

    async def test_replaced(self) -> None:
        """A response takes the place of the one of its variant, and comes first."""
        for body in (b"old", b"new", b"newest"):
            self.storage.store(stored(body=body))
            self.storage.store(stored(body=b"other", selecting=language(b"de")))
            await self.settle()
        self.storage.store(stored(body=b"unwritten"))
        self.assertEqual(await self.bodies(), [b"unwritten", b"other"])

    async def test_invalidate(self) -> None:
        """An invalidation forgets the responses of one URI and mapping, whoever asked, but for those to POST."""
        uri = b"https://api.example.com/things"
        names = ("ann", "bob", "head", "query", "search", "post", "mapping", "uri")
        left = [[], [], [], [], [], [b"asked"], [b"elsewhere"], [b"below"]]
        for settle in (True, False):
            self.storage.store(stored("ann", b"ann's", uri=uri))
            self.storage.store(stored("bob", b"bob's", uri=uri))
            self.storage.store(stored("bob", b"bob's, in German", uri=uri, selecting=language(b"de")))
            self.storage.store(stored("head", b"", uri=uri, method=b"HEAD"))
            self.storage.store(stored("query", b"found", uri=uri, method=b"QUERY"))
            self.storage.store(stored("search", b"found", uri=uri, method=b"SEARCH"))
            self.storage.store(stored("post", b"asked", uri=uri, method=b"POST"))
            self.storage.store(stored("mapping", b"elsewhere", uri=uri, mapping="other"))
            self.storage.store(stored("uri", b"below", uri=uri + b"/1"))
            if settle:
                await self.settle()
            self.storage.invalidate("openai", uri)
            found = [await self.bodies(name) for name in names]
            self.assertEqual(found, left)
            await self.settle()
            found = [await self.bodies(name) for name in names]
            self.assertEqual(found, left)

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

    def store_for_purge(self) -> None:
        """Store responses that differ in all that people purge by."""
        self.storage.store(stored("a", uri=_API + b"/v1/a?x=[1]", tags="one, both", response_time=NOW - 100))
        self.storage.store(stored("b", uri=_API + b"/v1/b", tags="both", mapping="other", response_time=NOW - 50))
        self.storage.store(stored("b", uri=_API + b"/v1/b", tags="two", mapping="other", selecting=language(b"de")))
        self.storage.store(stored("c", uri=_API + b"/v1/b", method=b"POST", response_time=NOW - 10))
        self.storage.store(stored("d", uri=_API + "/v2/é".encode("latin-1"), tags="Both"))

    async def found(self) -> str:
        """Return the names under which there is something that may be reused, once for each response."""
        found = [(name, await self.storage.lookup(key(name))) for name in "abcd"]
        return "".join(name for name, responses in found for response in responses if not response.outdated)

    async def purge_cases(self, *, soft: bool, settled: bool) -> None:
        for selection, left in PURGES:
            self.storage.store(stored("z", mapping="untouched"))
            self.store_for_purge()
            if settled:
                await self.settle()
                for name in "abcd":
                    await self.storage.lookup(key(name))
            purging = Deferred.fromCoroutine(self.storage.purge(selection, soft=soft))
            self.assertEqual(await self.found(), left, (selection, "at once"))
            # Everything selects the one that nothing else does, too.
            self.assertEqual(await purging, 5 - len(left) + selection.everything, selection)
            await self.settle()
            self.assertEqual(await self.found(), left, (selection, "later"))
            self.assertEqual(await self.storage.purge(selection, soft=soft), 0, (selection, "again"))
            await self.storage.clear()

    async def test_purge(self) -> None:
        """A purge removes what meets all its criteria, at once, and nothing else, and counts it."""
        await self.purge_cases(soft=False, settled=True)

    async def test_purge_unwritten(self) -> None:
        """So it does with what is not yet written."""
        await self.purge_cases(soft=False, settled=False)

    async def test_soft_purge(self) -> None:
        """A soft purge marks as stale what a hard one would remove, and counts what was not marked already."""
        await self.purge_cases(soft=True, settled=True)

    async def test_soft_purge_unwritten(self) -> None:
        """So it does with what is not yet written."""
        await self.purge_cases(soft=True, settled=False)

    async def test_soft_purge_keeps(self) -> None:
        """What a soft purge marked is there, whole, to be validated; stored again it is as good as new."""
        for settled in (True, False):
            self.storage.store(stored("a", tags="one"))
            self.storage.store(stored("b"))
            if settled:
                await self.settle()
            self.assertEqual(await self.storage.purge(Selection(tag=b"one"), soft=True), 1)
            await self.settle()
            marked = evolve(stored("a", tags="one"), expires=float("-inf"))
            self.assertEqual(list(await self.storage.lookup(key("a"))), [marked])
            self.assertEqual(list(await self.storage.lookup(key("b"))), [stored("b")])
            self.storage.store(stored("a", tags="one"))
            await self.settle()
            self.assertEqual(list(await self.storage.lookup(key("a"))), [stored("a", tags="one")])
            self.assertEqual(await self.storage.purge(Selection(key=key("a"))), 1)

    async def test_stored_after_purge(self) -> None:
        """What is stored after a purge began stays, under whatever tag."""
        for soft in (True, False):
            self.storage.store(stored(body=b"old", tags="t"))
            await self.settle()
            purging = Deferred.fromCoroutine(self.storage.purge(Selection(tag=b"t"), soft=soft))
            self.storage.store(stored(body=b"new", tags="t"))
            self.assertEqual(list(await self.storage.lookup(key("a"))), [stored(body=b"new", tags="t")])
            self.assertEqual(await purging, 1)
            await self.settle()
            self.assertEqual(list(await self.storage.lookup(key("a"))), [stored(body=b"new", tags="t")])
            self.assertEqual(await self.storage.clear(), 1)

    async def test_purges(self) -> None:
        """Who asked before a purge can tell at once that there was one, whatever it changed; nothing else is one."""
        known = [self.storage.purges]
        purging = []
        for soft in (True, False):
            purging.append(Deferred.fromCoroutine(self.storage.purge(Selection(mapping="openai"), soft=soft)))
            known.append(self.storage.purges)
        purging.append(Deferred.fromCoroutine(self.storage.clear()))
        known.append(self.storage.purges)
        self.assertEqual(len(set(known)), 4)
        for each in purging:
            await each
        self.storage.store(stored())
        self.storage.invalidate("openai", stored().uri)
        await self.storage.remove_expired(NOW)
        self.assertEqual(self.storage.purges, known[-1])

    async def test_tags_go_with_their_response(self) -> None:
        """A response replaced, invalidated or cleared is not found by its tags any more."""
        self.storage.store(stored("a", tags="t"))
        self.storage.store(stored("b", tags="t"))
        await self.settle()
        self.storage.store(stored("a", tags="u"))
        self.storage.invalidate("openai", stored("b").uri)
        self.assertEqual(await self.storage.purge(Selection(tag=b"t")), 0)
        await self.storage.clear()
        self.assertEqual(await self.storage.purge(Selection(tag=b"u")), 0)
        self.storage.store(stored("a"))
        self.assertEqual(await self.storage.purge(Selection(tag=b"u")), 0)

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
