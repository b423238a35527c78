"""A shared cache as RFC 9111 words it: slow, literal, and written without regard to `buddyproxy.cache`.

Theory of operation
-------------------
`Literal` holds what a cache has stored of one origin. For each request it tells what may be done with it (`choices`),
and for each answer of the origin what may become of that (`conclusions`). Both are sets of outcomes: a cache that does
anything else is wrong, because the texts forbid it, or because it asks the origin where it need not. Where the texts
leave a choice and the house documents one, that one is in the set alone; otherwise all are. What the cache then did is
reported back (`keep`, `freshen`, `relayed` and others), so that both hold the same.

The house's choices are: the conservative age of 4.2.3; a heuristic of a tenth, at most a day (4.2.2); the least of
several lifetimes (4.2.1); request directives are obeyed (5.2.1); only what answers a GET is stored, if it can be reused
or validated some time; stale responses are served wherever that is permitted, unless the request asks for fresh ones.
"""

from collections.abc import Sequence

from attrs import define, field, frozen

from tests.cache.messages import (
    Asked,
    Kept,
    Told,
    allowed_fields,
    as_get,
    binding,
    byte_range,
    content_range,
    current_age,
    date_value,
    end_to_end,
    explicit_lifetime,
    heuristics_apply,
    if_range_holds,
    lifetime,
    request_directives,
)
from tests.cache.reading import (
    Directives,
    Fields,
    demanded,
    lines,
    members,
    present,
    seconds,
    sound,
    spelled,
    tolerance,
    unqualified,
)

NEVER_STORED = (428, 429, 431, 511)
"""RFC 6585, 3 to 6: responses with these statuses must not be stored by a cache."""

OF_THE_REQUEST = (412, 416, 417)
"""What only says that this request cannot be fulfilled: RFC 9110 leaves it open whether to store it."""

UNKNOWN = (299, 418, 499, 599)
"""Statuses that no cache knows the requirements of (RFC 9111, 5.2.2.3)."""

FAILURES = (500, 502, 503, 504)
"""RFC 5861, 4."""

UNSAFE = ("POST", "PUT", "DELETE", "M-SEARCH")
"""Methods that are not safe (RFC 9110, 9.2.1), or of which nothing is known."""


@frozen
class Outcome:
    """What a cache does: `reuse`, `ask`, `timeout`; or `store`, `freshen`, `confirm`, `stale`, `again`, `relay`."""

    word: str
    kept: Kept | None = None


ASK, TIMEOUT, STORE, AGAIN, RELAY = (Outcome(word) for word in ("ask", "timeout", "store", "again", "relay"))


@define
class Literal:
    """What is stored, the last stored first."""

    kept: list[Kept] = field(factory=list)

    def choices(self, asked: Asked, now: float) -> set[Outcome]:
        """Return what may be done with a request (RFC 9111, 4 and 5.2.1)."""
        given = request_directives(asked.fields)
        selected = self.selected(asked)
        allowed = {ASK} if selected is None else {_with(asked, given, selected, now)}
        if _aside(asked):
            # 5.2.1.5 does not forbid to reuse what is stored, nor does 4.3.2; the house leaves both to the origin.
            allowed.add(ASK)
        if present(given, "only-if-cached"):
            return {TIMEOUT if outcome == ASK else outcome for outcome in allowed}
        return allowed

    def selected(self, asked: Asked) -> Kept | None:
        """Return what the request selects: the most recent by Date, of several the last stored (4 and 4.1)."""
        if asked.method not in ("GET", "HEAD"):
            return None
        matching = [kept for kept in self.kept if kept.asked.uri == asked.uri and _matches(asked, kept)]
        return max(matching, key=lambda kept: date_value(kept.told), default=None)

    def complaint(self, asked: Asked, outgoing: Fields, nominated: Sequence[Kept]) -> str | None:
        """Return what is wrong with how the origin is asked (4.3.1); None where nothing is."""
        selected = None if _aside(asked) else self.selected(asked)
        if not nominated:
            if [pair for pair in asked.fields if pair not in outgoing]:
                return "a forwarded request lacks some of its fields"
            if selected is not None and _covers(asked, selected) and (selected.etag or selected.modified):
                return "what could be validated is fetched whole"
            return None
        if selected is not None and list(nominated) != [selected]:
            return "another response than the selected one is validated"
        tags = [kept.etag for kept in nominated if kept.etag]
        if members(outgoing, "if-none-match") != [tag.lower() for tag in dict.fromkeys(tags)]:
            return "not all entity tags are sent"
        # A SHOULD. Of what the request does not select, a date would let an origin confirm the wrong one.
        since = [selected.modified] if selected is not None and selected.modified else []
        if lines(outgoing, "if-modified-since") != since:
            return "Last-Modified is not sent, or not to be"
        # 4.3.2: a part is named only where it would satisfy the request.
        unfit = [kept for kept in nominated if kept.asked.uri != asked.uri or not _covers(asked, kept)]
        return "what cannot be the answer is nominated" if unfit else None

    def conclusions(self, asked: Asked, told: Told, nominated: Sequence[Kept], *, again: bool = False) -> set[Outcome]:
        """Return what may become of an answer, of which `nominated` were to be validated (3, 4.3.3 to 4.3.5).

        Where it was asked for `again`, what is stored is out of the question.
        """
        if nominated and told.status == 304:
            return _confirmed(asked, told, nominated)
        selected = None if again or _aside(asked) else self.selected(asked)
        if selected is not None and told.status in FAILURES and stale_if_error(asked, selected, told):
            return {Outcome("stale", selected)}
        if selected is not None and asked.method == "HEAD" and told.status == 200:
            # 4.3.5, a SHOULD for all that could have been chosen.
            if not _head_agrees(told, selected):
                return {RELAY}
            updated = freshened(told, selected)
            unfit = _forbidden(updated) or "*" in members(updated, "vary")
            unfit = unfit or _leave_taken_back(selected.fields, updated)
            return {RELAY if unfit else Outcome("freshen", selected)}
        return storing(as_get(asked, told), told)

    def when_unreachable(self, asked: Asked, *, again: bool = False) -> set[Outcome]:
        """Return what may be done where the origin gave no answer (4.2.4: disconnected)."""
        selected = None if again or _aside(asked) else self.selected(asked)
        if selected is None or not _covers(asked, selected) or _wants_fresh(asked):
            return {RELAY}
        return {RELAY} if _never_stale(selected) else {Outcome("stale", selected)}

    def keep(self, asked: Asked, told: Told) -> list[Kept]:
        """Store a response; return it, and what it replaces after it."""
        return self._put(Kept(as_get(asked, told), _storable(told)))

    def freshen(self, asked: Asked, told: Told, confirmed: Kept) -> list[Kept]:
        """Bring a stored response up to date (4.3.4); return it, and what it replaces after it.

        Where it was stored for a request unlike this one, it is now stored for both.
        """
        fields = freshened(told, confirmed)
        whole = Told(confirmed.told.status, fields, told.sent, told.received, confirmed.told.body)
        return self._put(Kept(Asked("GET", asked.uri, asked.fields), whole))

    def confirm(self, confirmed: Kept) -> list[Kept]:
        """Keep a stored response as it is; return it as `keep` does."""
        return self._put(confirmed)

    def combine(self, asked: Asked, told: Told, held: Kept) -> list[Kept]:
        """Store a part together with another one of the same content (3.4); return it as `keep` does.

        Where they need not be of one content, or vary by different fields, it is stored as it is. A part may come
        without Vary and other fields (RFC 9110, 15.3.7): it has those of the other, also where the two do not meet.
        """
        one, other = content_range(told), held.part
        alike = not lines(told.fields, "vary") or _secondary(Kept(asked, told)) == _secondary(held)
        strong = held.etag is not None and held.etag.startswith('"') and held.etag in lines(told.fields, "etag")
        if one is None or other is None or not (strong and alike):
            return self.keep(asked, told)
        apart = one[2] != other[2] or one[0] > other[1] + 1 or other[0] > one[1] + 1
        pieces = [(one, told.body)] if apart else [(other, held.told.body), (one, told.body)]
        first, last, total = min(part[0] for part, _ in pieces), max(part[1] for part, _ in pieces), one[2]
        body = bytearray(last - first + 1)
        for part, piece in pieces:
            body[part[0] - first : part[1] - first + 1] = piece
        # Age spoke of the earlier answer (4.2.3).
        fields = _updated([pair for pair in held.fields if pair[0] != "age"], end_to_end(told.fields))
        whole = len(body) == total
        own = [("content-length", str(len(body)))] + [("content-range", f"bytes {first}-{last}/{total}")] * (not whole)
        fields = [pair for pair in fields if pair[0] not in ("content-length", "content-range")] + own
        return self._put(
            Kept(asked, Told(200 if whole else 206, allowed_fields(fields), told.sent, told.received, bytes(body)))
        )

    def relayed(self, asked: Asked, told: Told, *, again: bool = False) -> None:
        """Know that an answer was not stored: where it is about what is, that holds no longer (4.3.3 and 4.3.5).

        What answers the caller's own conditions, or says that something went wrong, tells nothing.
        """
        selected = None if again or _aside(asked) else self.selected(asked)
        telling = told.status in (404, 410) or (told.status < 400 and told.status != 304)
        by_head = asked.method == "HEAD" and told.status == 200
        if by_head and selected is not None and _head_agrees(told, selected, total=True):
            # A part that is not shown to be out of date.
            return
        if selected is not None and telling and (by_head or _covers(asked, selected)):
            selected.outdated = True

    def invalidated(self, asked: Asked, told: Told) -> list[Kept]:
        """Drop what an unsafe request may have changed, and return it (4.4)."""
        if asked.method not in UNSAFE or not 200 <= told.status < 400:
            return []
        named = [value for name in ("location", "content-location") for value in lines(told.fields, name)]
        origin = asked.uri[: asked.uri.index("/", 8)]
        uris = {asked.uri} | {origin + value.removeprefix(origin) for value in named if _of_origin(value, origin)}
        gone = [kept for kept in self.kept if kept.asked.uri in uris]
        self.kept = [kept for kept in self.kept if kept not in gone]
        return gone

    def _put(self, new: Kept) -> list[Kept]:
        """Store a response in place of those that the same requests select."""
        gone = [kept for kept in self.kept if kept.asked.uri == new.asked.uri and _secondary(kept) == _secondary(new)]
        self.kept = [new] + [kept for kept in self.kept if kept not in gone]
        return [new, *gone]


def storing(asked: Asked, told: Told) -> set[Outcome]:
    """Return whether a response may be stored, and is (3)."""
    given, _ = binding(told.fields)
    if asked.method != "GET" or told.status in (304, *NEVER_STORED) or _forbidden(told.fields, told.status):
        return {RELAY}
    if present(request_directives(asked.fields), "no-store"):
        return {RELAY}
    if told.status == 206 and (not lines(asked.fields, "range") or content_range(told) is None):
        # RFC 9110, 15.3.7: it is no answer to such a request, or none of which we know what it is.
        return {RELAY}
    shareable = _shareable(given)
    if lines(asked.fields, "authorization") and not shareable:
        # 3.5.
        return {RELAY}
    explicit = explicit_lifetime(told) is not None
    if not explicit and not heuristics_apply(told):
        return {RELAY}
    validator = bool(lines(told.fields, "etag") or lines(told.fields, "last-modified"))
    # RFC 5861, 3: once it is stale it may be of use for a while.
    useful_for = lifetime(told) + (seconds(given, "stale-while-revalidate") or 0) * explicit
    fresh = useful_for > current_age(told, told.received) and not unqualified(given, "no-cache")
    unsure = told.status in OF_THE_REQUEST or (told.status == 206 and lines(asked.fields, "if-range"))
    if unsure or "*" in members(told.fields, "vary"):
        return {RELAY, STORE}
    return {STORE} if fresh or validator else {RELAY, STORE}


def stale_if_error(asked: Asked, selected: Kept, told: Told) -> bool:
    """Return whether a stale response may stand in for a failure (RFC 5861, 4, within RFC 9111, 4.2.4)."""
    own, _ = binding(selected.fields)
    granted = [seconds(each, "stale-if-error") or 0 for each in (own, request_directives(asked.fields))]
    stale = current_age(selected.told, told.received) - lifetime(selected.told)
    permitted = max(granted) > 0 and stale <= max(granted)
    return permitted and _covers(asked, selected) and not (_never_stale(selected) or _wants_fresh(asked))


def freshened(told: Told, kept: Kept) -> Fields:
    """Return the fields of a stored response, updated by those of an answer that confirms it (3.2).

    What speaks of the content as it was transferred stays; Age and Date spoke of an earlier answer (4.2.3).
    """
    stays = ("content-length", "content-encoding", "content-range")
    brought = [pair for pair in end_to_end(told.fields) if pair[0] not in stays]
    held = [pair for pair in kept.fields if pair[0] not in ("age", "date")]
    return allowed_fields(_updated(held, brought))


def _with(asked: Asked, given: Directives, selected: Kept, now: float) -> Outcome:
    """Return what is done with a request that selects a stored response (4, 4.2.4 and 5.2.1)."""
    reuse = Outcome("reuse", selected)
    age, fresh_for = current_age(selected.told, now), lifetime(selected.told)
    max_age, min_fresh = seconds(given, "max-age"), demanded(given, "min-fresh")
    own, _ = binding(selected.fields)
    if not _covers(asked, selected) or selected.outdated:
        return ASK
    if present(given, "no-cache") or unqualified(own, "no-cache"):
        return ASK
    if max_age is not None and age > max_age:
        return ASK
    if min_fresh is not None and fresh_for < age + min_fresh:
        return ASK
    if fresh_for > age:
        return reuse
    if _never_stale(selected):
        return ASK
    max_stale, window = tolerance(given, "max-stale"), seconds(own, "stale-while-revalidate") or 0
    if max_stale and age - fresh_for <= max_stale:
        # No seconds, which is also what a fault means, are no leave.
        return reuse
    if window > 0 and age - fresh_for <= window and not _wants_fresh(asked):
        # RFC 5861, 3.
        return reuse
    return ASK


def _aside(asked: Asked) -> bool:
    """Return whether a request is left to the origin whatever is stored."""
    alone = ("if-match", "if-unmodified-since")
    no_store = present(request_directives(asked.fields), "no-store")
    return no_store or any(lines(asked.fields, name) for name in alone)


def _matches(asked: Asked, kept: Kept) -> bool:
    """Return whether the fields that Vary names are as they were (4.1)."""
    names = members(kept.fields, "vary")
    return "*" not in names and all(spelled(asked.fields, name) == spelled(kept.asked.fields, name) for name in names)


def _secondary(kept: Kept) -> list[tuple[str, object]]:
    """Return what tells a stored response from others of its URI (4.1)."""
    return [(name, spelled(kept.asked.fields, name)) for name in sorted(set(members(kept.fields, "vary")))]


def _covers(asked: Asked, kept: Kept) -> bool:
    """Return whether a part holds all that a request is for (3.3)."""
    part = kept.part
    if part is None:
        return True
    wanted = byte_range(asked, part[2])
    return wanted is not None and if_range_holds(asked, kept) and part[0] <= wanted[0] <= wanted[1] <= part[1]


def _never_stale(kept: Kept) -> bool:
    """Return whether a response must not be used once it is stale (4.2.4)."""
    own, _ = binding(kept.fields)
    prohibited = any(present(own, name) for name in ("must-revalidate", "proxy-revalidate", "s-maxage"))
    return kept.outdated or prohibited or unqualified(own, "no-cache")


def _wants_fresh(asked: Asked) -> bool:
    """Return whether a request asks for a fresh response (5.2.1.1, 5.2.1.3 and 5.2.1.4)."""
    given = request_directives(asked.fields)
    return any(present(given, name) for name in ("no-cache", "max-age", "min-fresh"))


def _forbidden(fields: Fields, status: int = 200) -> bool:
    """Return whether a response forbids to be stored by a shared cache (3, 5.2.2.3, 5.2.2.5 and 5.2.2.7)."""
    given, _ = binding(fields)
    if present(given, "must-understand") and status in UNKNOWN:
        return True
    no_store = present(given, "no-store") and not sound(given, "must-understand")
    return no_store or unqualified(given, "private")


def _confirmed(asked: Asked, told: Told, nominated: Sequence[Kept]) -> set[Outcome]:
    """Return which stored response a 304 is about (4.3.4); where it is about none that we hold, it is asked again."""
    etag = (lines(told.fields, "etag") or [None])[0]
    modified = lines(told.fields, "last-modified")
    if etag is not None:
        identified = [kept for kept in nominated if _identifies(etag, kept)]
    else:
        # 4.3.4 speaks of what lacks validators too, but RFC 9110, 15.4.5, lets a 304 come without Last-Modified.
        fitting = len(nominated) == 1 and (not modified or nominated[0].modified in modified)
        identified = list(nominated) if fitting else []
    if not identified:
        return {AGAIN}
    updated = freshened(told, identified[0])
    gone = _forbidden(updated, identified[0].told.status) or _leave_taken_back(identified[0].fields, updated)
    if gone or "*" in members(updated, "vary"):
        return {AGAIN}
    if etag is not None and etag != identified[0].etag and etag.startswith('"'):
        # What has no such strong validator must not be updated; that a weak one matched confirms it (4.3.2).
        return {AGAIN, Outcome("confirm", identified[0])}
    return {Outcome("freshen", kept) for kept in identified}


def _leave_taken_back(held: Fields, updated: Fields) -> bool:
    """Return whether nothing allows any more to share an answer that may have been to a request with Authorization.

    3.5; whose it was is not kept with it.
    """
    return _shareable(binding(held)[0]) and not _shareable(binding(updated)[0])


def _shareable(given: Directives) -> bool:
    return any(sound(given, name) for name in ("public", "must-revalidate", "s-maxage"))


def _identifies(etag: str | None, kept: Kept) -> bool:
    """Return whether an answer's entity tag is that of a stored response, by weak comparison (RFC 9110, 8.8.3.2)."""
    return None not in (etag, kept.etag) and (etag or "").removeprefix("W/") == (kept.etag or "").removeprefix("W/")


def _head_agrees(told: Told, kept: Kept, *, total: bool = False) -> bool:
    """Return whether the answer to a HEAD is about the stored content (4.3.5), or about the `total` it is a part of."""
    part = content_range(kept.told) if total else None
    size = len(kept.told.body) if part is None else part[2]
    whole = kept.told.status == 200 if not total else part is not None
    length = lines(told.fields, "content-length")
    same = all(
        not lines(told.fields, name) or lines(told.fields, name)[0] == (lines(kept.fields, name) or [None])[0]
        for name in ("etag", "last-modified")
    )
    return whole and same and (not length or int(length[0]) == size)


def _storable(told: Told) -> Told:
    fields = allowed_fields(end_to_end(told.fields))
    return Told(told.status, fields, told.sent, told.received, told.body)


def _updated(held: Fields, brought: Fields) -> Fields:
    names = {name for name, _ in brought}
    return [pair for pair in held if pair[0] not in names] + list(brought)


def _of_origin(reference: str, origin: str) -> bool:
    return reference.startswith(("/", origin + "/")) and not reference.startswith("//")
