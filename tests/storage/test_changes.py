"""Changes not yet written, and how things look through them."""

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.storage import changes as module
from buddyproxy.storage.changes import Changes
from buddyproxy.storage.purging import Purging
from buddyproxy.storage.selection import Purge, Selection
from tests.storage.samples import key, language, stored

OLD = stored(body=b"old")
NEW = stored(body=b"new")
GERMAN = stored(body=b"de", selecting=language(b"de"))
POST = stored(body=b"post", method=b"POST", selecting=language(b"fr"))


def purge(soft: bool = False, **criteria: object) -> Changes:
    """Return a batch that begins with a purge."""
    return Changes(purges=[Purging(Purge(Selection(**criteria), soft))])


class ChangesTests(SynchronousTestCase):
    def after(self, first: Changes, *later: Changes) -> Changes:
        """Return `first`, with `later` after it."""
        batch = first
        for batch.next in later:
            batch = batch.next
        return first

    def made(self, *steps: tuple[str, object]) -> Changes:
        """Return a batch of `steps`."""
        batch = Changes()
        for name, argument in steps:
            getattr(batch, name)(*argument if isinstance(argument, tuple) else (argument,))
        return batch

    def test_over(self) -> None:
        """Changes laid over what was found give what is found once they are made."""
        forget = ("forget", ("openai", OLD.uri))
        get, post = {"uri": OLD.uri, "method": b"GET"}, {"method": b"POST"}
        marked_german, marked_post = GERMAN.marked_outdated(), POST.marked_outdated()
        cases = (
            ("nothing", [Changes()], [OLD, GERMAN]),
            ("another key", [self.made(("store", stored("b")))], [OLD, GERMAN]),
            ("replaced", [self.made(("store", NEW))], [NEW, GERMAN]),
            ("one more", [self.made(("store", POST))], [POST, OLD, GERMAN]),
            ("forgotten", [self.made(forget)], []),
            ("forgotten elsewhere", [self.made(("forget", ("other", OLD.uri)))], [OLD, GERMAN]),
            ("forgotten, then stored", [self.made(forget, ("store", NEW))], [NEW]),
            ("stored, then forgotten", [self.made(("store", NEW), ("store", POST), forget)], [POST]),
            ("cleared", [Changes(cleared=True)], []),
            ("stored in order", [self.made(("store", GERMAN), ("store", NEW))], [NEW, GERMAN]),
            ("two batches", [self.made(("store", NEW)), self.made(("store", OLD))], [OLD, GERMAN]),
            ("stored, later forgotten", [self.made(("store", NEW)), self.made(forget)], []),
            ("forgotten, later stored", [self.made(forget), self.made(("store", NEW))], [NEW]),
            ("stored, later cleared", [self.made(("store", NEW)), Changes(cleared=True)], []),
            ("purged", [purge(**get)], []),
            ("another purged", [purge(**post)], [OLD, GERMAN]),
            ("marked", [purge(soft=True, **get)], [OLD.marked_outdated(), marked_german]),
            ("marked, later purged", [purge(soft=True, **get), purge(**get)], []),
            ("stored, later purged", [self.made(("store", POST)), purge(**get)], [POST]),
            ("stored, later marked", [self.made(("store", POST)), purge(True, **post)], [marked_post, OLD, GERMAN]),
            ("marked, later stored", [purge(True, everything=True), self.made(("store", NEW))], [NEW, marked_german]),
        )
        for case, batches, expected in cases:
            found = self.after(*batches).over(key("a"), (OLD, GERMAN))
            self.assertEqual(list(found), expected, case)
            again = self.after(*batches).over(key("a"), found)
            self.assertEqual(list(again), expected, f"{case}, found when they were already made")

    def test_promises(self) -> None:
        """What a lost batch was to remove, the next one removes; what it was to store is lost."""
        lost = self.made(("store", NEW), ("forget", ("openai", b"/")), ("discard", (1, b"")))
        batch = self.made(("store", GERMAN))
        batch.keep_promises_of(lost)
        self.assertEqual(batch.forgotten, {("openai", b"/")})
        self.assertEqual(list(batch.stored), [GERMAN])
        self.assertFalse(batch.cleared)
        batch.keep_promises_of(Changes(cleared=True))
        self.assertTrue(batch.cleared)

    def test_promised_purges(self) -> None:
        """What a lost batch was to purge, the next one purges, before it stores, and lookups see it so."""
        lost = purge(soft=True, method=b"GET")
        batch = purge(method=b"POST")
        batch.store(NEW)
        batch.keep_promises_of(lost)
        self.assertEqual(batch.over(key("a"), (POST, OLD, GERMAN)), (NEW, GERMAN.marked_outdated()))
        self.assertEqual([purging.purge.soft for purging in batch.purges], [True, False])
        following = Changes()
        following.keep_promises_of(batch)
        self.assertFalse(following.empty)
        self.assertEqual(following.over(key("a"), (POST, OLD)), (OLD.marked_outdated(),))
        self.assertEqual(following.asked, 2)

    def test_too_many_purges_to_remember(self) -> None:
        """Where more is to be purged than can be remembered, everything is."""
        batch = self.made(("store", NEW))
        for number in range(module.PURGE_LIMIT + 1):
            batch.keep_promises_of(purge(mapping=str(number)))
        self.assertTrue(batch.cleared)
        self.assertEqual(batch.purges, [])
        self.assertEqual(batch.over(key("a"), (POST, OLD)), (NEW,))

    def test_empty(self) -> None:
        """A batch that only passes on a promise is not empty."""
        batch = Changes()
        self.assertTrue(batch.empty)
        batch.keep_promises_of(self.made(("forget", ("openai", b"/"))))
        self.assertFalse(batch.empty)
        self.assertFalse(Changes(cleared=True).empty)
        self.assertFalse(purge(mapping="openai").empty)

    def test_too_many_to_remember(self) -> None:
        """Where more is to be forgotten than can be remembered, everything is."""
        batch = self.made(("store", stored("b")))
        for number in range(module.FORGOTTEN_LIMIT + 1):
            batch.forget("openai", b"/%d" % number)
        self.assertTrue(batch.cleared)
        self.assertEqual(batch.forgotten, set())
        self.assertEqual(list(batch.over(key("b"), ())), [stored("b")])

    def test_parts(self) -> None:
        """To be written in parts, what is forgotten comes first, then the stores in their order, then what was used."""
        forget, discard, touch = ("forget", ("openai", b"/")), ("discard", (1, b"")), ("touch", {b"a": 1})
        batch = self.made(touch, ("store", NEW), forget, ("store", GERMAN), discard, ("store", POST))
        first, others = ({forget[1]}, {1: b""}), ((), {})
        for most, expected in (
            (1, [((NEW,), first, {}), ((GERMAN,), others, {}), ((POST,), others, {b"a": 1})]),
            (2, [((NEW, GERMAN), first, {}), ((POST,), others, {b"a": 1})]),
            (3, [((NEW, GERMAN, POST), first, {b"a": 1})]),
        ):
            for committed in range(0, 4, most):
                batch.committed = committed
                found = [(part.stored, (part.forgotten, part.damaged), part.touched) for part in batch.parts(most)]
                left = expected[committed // most :]
                self.assertEqual(found, left or [((), others, {b"a": 1})], (most, committed))
        self.assertEqual([part.stored for part in Changes().parts(1)], [()])

    def test_touch(self) -> None:
        """Uses of one key add up."""
        batch = self.made(("touch", {b"a": 1}), ("touch", {b"a": 2, b"b": 1}))
        self.assertEqual(batch.touched, {b"a": 3, b"b": 1})
