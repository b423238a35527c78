"""Random dialogues of callers, a cache and an origin, for `test_agreement.py`: what they say, and when."""

import re
from email.utils import formatdate
from time import gmtime, strftime
from typing import TypeVar

from attrs import frozen
from hypothesis import strategies as st

T = TypeVar("T")

ORIGIN = "https://origin.example"

SINGLE = (
    "Authorization",
    "Content-Location",
    "Date",
    "ETag",
    "If-Modified-Since",
    "If-Range",
    "Last-Modified",
    "Range",
)


@frozen
class Says:
    """What the origin answers, if it does: `confirms` what it is asked about, or sends a `part` of what it has.

    In field values, `@+60` stands for the date a minute from then, `@850+60` and `@asc+60` for its obsolete forms.
    """

    status: int = 200
    lines: tuple[str, ...] = ()
    delay: int = 0
    confirms: str = ""
    part: tuple[int, int] | None = None
    fails: bool = False


@frozen
class Step:
    """A request, `wait` seconds after the one before it, and what the origin says if it is asked, and asked again."""

    wait: int
    method: str
    path: str
    lines: tuple[str, ...]
    says: Says
    again: Says


def step(*lines: str, wait: int = 0, says: Says | None = None) -> Step:
    """Return a GET with the header fields `lines`."""
    return Step(wait, "GET", "/a", lines, says or Says(), Says())


def gives(*lines: str, status: int = 200, confirms: str = "", part: tuple[int, int] | None = None) -> Says:
    """Return an answer with the header fields `lines`."""
    return Says(status, lines, confirms=confirms, part=part)


MINUTE, TAG, ASK_FIRST = "Cache-Control: max-age=60", 'ETag: "a"', "Cache-Control: no-cache"

TELLING = {
    "stale from the first moment": [step(says=gives(TAG)), step()],
    "stale from the first moment, and a failure": [step(says=gives(TAG)), step(says=gives(status=500))],
    "never to be stored, RFC 6585": [step(says=gives(MINUTE, status=429)), step()],
    "must-understand with a fault": [step(says=gives("Cache-Control: must-understand; x, no-store", MINUTE, TAG))],
    "a strong tag for a weak one": [
        step(says=gives('ETag: W/"a"', ASK_FIRST)),
        step(says=gives(MINUTE, confirms="strong")),
        step(says=gives(confirms="same")),
    ],
    "a 304 of another date": [
        step(says=gives("Last-Modified: @-100", ASK_FIRST)),
        step(says=gives("Last-Modified: @-10", confirms="dated")),
    ],
    "a 304 for the caller's own copy": [
        step(says=gives(MINUTE)),
        step(ASK_FIRST, 'If-None-Match: "z"', says=gives(confirms="same")),
        step(),
    ],
    "of use only when stale": [step(says=gives("Cache-Control: max-age=0, stale-while-revalidate=30")), step(wait=5)],
    "expired long before it was made": [
        step(says=gives("Expires: @-1000", "Cache-Control: stale-while-revalidate=30", TAG)),
        step(wait=5),
    ],
    "parts that vary by different fields": [
        step("Range: bytes=0-2", "X-A: 1", says=gives(MINUTE, TAG, "Vary: X-A", part=(0, 2))),
        step("Range: bytes=3-5", "X-A: 1", says=gives(MINUTE, TAG, part=(3, 5))),
        step("Range: bytes=1-4", "X-A: 2"),
    ],
    "parts that make a whole": [
        step("Range: bytes=0-2", says=gives(MINUTE, TAG, part=(0, 2))),
        step("Range: bytes=3-5", says=gives(MINUTE, TAG, part=(3, 5))),
        step(),
    ],
    "a caller's copy that still holds": [step(says=gives(MINUTE, TAG)), step('If-None-Match: "a"')],
}
"""Dialogues that once came out wrong, and some that chance seldom brings."""


def weighted(*pairs: tuple[int, str]) -> st.SearchStrategy[str]:
    """Return one of the texts, each as often as the number before it says."""
    return st.sampled_from([text for count, text in pairs for _ in range(count)])


def mixed(*pairs: tuple[int, st.SearchStrategy[T]]) -> st.SearchStrategy[T]:
    """Return what one of the strategies gives, each as often as the number before it says."""
    return st.sampled_from([strategy for count, strategy in pairs for _ in range(count)]).flatmap(lambda each: each)


def several(lines: st.SearchStrategy[str], most: int) -> st.SearchStrategy[tuple[str, ...]]:
    """Return up to so many field lines; what a repeated one of `SINGLE` means is not defined."""
    return st.lists(lines, max_size=most).map(_without_repeats)


def _without_repeats(lines: list[str]) -> tuple[str, ...]:
    names = [line.partition(":")[0] for line in lines]
    return tuple(
        line
        for at, (name, line) in enumerate(zip(names, lines, strict=True))
        if name not in names[:at] or name not in SINGLE
    )


def texts(spelled: str) -> st.SearchStrategy[str]:
    """Return one of the texts that stand between bars."""
    return st.sampled_from([text.strip() for text in spelled.split("|")])


TAGS = texts(""" "a" | "b" | W/"a" | W/"b" """)
PREFERENCES = texts("de | en | de, en | en,de | EN ;q=1, de | de;q=0.5, en | * | | de;q=1.0 | en;q=0.5,de;q=1 | *;q=1")
REQUEST_DIRECTIVES = texts(
    r"""
    no-cache | no-store | max-age=0 | max-age=30 | max-age=60 | max-stale | max-stale=10 | max-stale=1000 | min-fresh=30
    | only-if-cached | only-if-cached, max-stale | stale-if-error=30 | stale-if-error=1000 | Max-Age=30 | no-transform
    | max-age=90, max-age=10 | max-age=10, max-age=90 | max-stale=5, max-stale=60 | max-age=30, max-stale=30
    | min-fresh=5, max-stale | max-age=bad | max-age | max-age="30" | max-stale=bad | max-stale= | min-fresh=x | , ,
    | max-age =30 | max-stale; x
    """
)
RESPONSE_DIRECTIVES = texts(
    r"""
    max-age=60 | max-age=60 | max-age=60 | max-age=60 | max-age=60 | max-age=60 | max-age=10 | max-age=0 | max-age=1000
    | s-maxage=30 | s-maxage=0 | no-cache | no-store | private | public | must-revalidate | proxy-revalidate
    | must-understand | must-understand, no-store, max-age=60 | private="x-a" | no-cache="x-a, set-cookie"
    | no-cache="x-a", max-age=60 | private="X-A" , max-age=60 | private=x-a, max-age=60 | stale-while-revalidate=30
    | stale-if-error=30 | stale-while-revalidate=30, stale-if-error=1000, max-age=10 | immutable, max-age=60
    | max-age=60, max-age=20 | max-age=20, max-age=60 | MAX-AGE=60 | max-age="60" | max-age=bad | max-age=-1 | max-age=
    | max-age | max-age=1.5 | max-age =60 | max-age= 60 | max-age=99999999999 | max-age=60; public | no-store; x
    | x="no-store", max-age=60 | x="a, no-store | x="\", private", max-age=60 | max-age=60,, | no-storex, max-age=60
    | must-understand; x, no-store | max-age=60, stale-while-revalidate=bad | stale-while-revalidate; x
    | max-age=60, public; x | max-age="60
    """
)
TARGETED = texts(
    r"""
    max-age=60 | max-age=10 | no-store | private | no-cache | | max-age=60, no-store | max-age=bad | max-age="60"
    | max-age=1.5 | MAX-AGE=60 | max-age=60;x=1, public | max-age=60, | max-age=5, max-age=60 | must-revalidate
    | s-maxage=30 | no-cache="x-a", max-age=60 | max-age =60 | stale-while-revalidate=30
    """
)
OFFSETS = st.sampled_from((-100000, -1000, -100, -60, -31, -30, -10, -1, 0, 1, 10, 30, 60, 100, 1000))
DATES = st.builds("@{}{:+}".format, weighted((4, ""), (1, "850"), (1, "asc"), (1, "low")), OFFSETS) | st.sampled_from(
    ("0", "-1", "tomorrow", "Thu, 01 Dec 1994 16:00:00 EST", "Thu, 01-Dec-94 16:00:00 GMT")
)
AGES = st.sampled_from(("0", "5", "30", "59", "60", "61", "5, 90", "bad", "-5", "1.5", "99999"))
VARYING = weighted((3, "Accept-Language"), (1, "accept, X-A"), (2, "X-A"), (1, "Authorization"), (1, "*"), (1, ""))
RANGES = st.sampled_from(("bytes=0-2", "bytes=3-5", "bytes=3-", "bytes=-2", "bytes=1-1", "bytes=9-", "lines=1-2", "x"))
RESOURCES = st.sampled_from(("/a", "/b", f"{ORIGIN}/a", f"{ORIGIN}/b", "https://other.example/b", "//other.example/b"))

REQUEST_LINES = mixed(
    (4, REQUEST_DIRECTIVES.map("Cache-Control: {}".format)),
    (2, PREFERENCES.map("Accept-Language: {}".format)),
    (
        1,
        texts("Accept: */* | Accept: */*;q=1 | Accept: a/b | Accept: A/B, a/c;q=1.0 | Accept: a/c,a/b"),
    ),
    (1, st.sampled_from(("X-A: 1", "X-A: 2", "X-A: 1, 2", "X-A: 1 ,2", "X-A: 2,1"))),
    (1, st.sampled_from(("Authorization: x", "Pragma: no-cache", "Pragma: x", "If-Unmodified-Since: @-10"))),
    (1, st.lists(TAGS, min_size=1, max_size=2).map(", ".join).map("If-None-Match: {}".format)),
    (1, st.sampled_from(("If-None-Match: *", 'If-Match: "a"'))),
    (1, DATES.map("If-Modified-Since: {}".format)),
    (2, RANGES.map("Range: {}".format)),
    (1, st.builds("If-Range: {}".format, TAGS | DATES)),
)
ANSWER_LINES = mixed(
    (6, RESPONSE_DIRECTIVES.map("Cache-Control: {}".format)),
    (1, TARGETED.map("CDN-Cache-Control: {}".format)),
    (3, TAGS.map("ETag: {}".format)),
    (2, DATES.map("Last-Modified: {}".format)),
    (1, DATES.map("Expires: {}".format)),
    (1, DATES.map("Date: {}".format)),
    (1, AGES.map("Age: {}".format)),
    (2, VARYING.map("Vary: {}".format)),
    (1, st.sampled_from(("X-A: 1", "X-A: 2", "Set-Cookie: a=1", "Connection: X-A", "Content-Type: text/plain"))),
    (1, st.builds("{}: {}".format, st.sampled_from(("Location", "Content-Location")), RESOURCES)),
)
STATUSES = st.sampled_from(
    (200,) * 40 + (203, 204, 299, 301, 302, 304, 307, 404, 404, 405, 410, 412, 416, 429, 500, 500, 502, 503, 504, 599)
)
USUAL = st.sampled_from(
    (
        (),
        ("Cache-Control: max-age=60",),
        ("Cache-Control: max-age=60", 'ETag: "a"'),
        ("Cache-Control: max-age=60", 'ETag: "b"', "Vary: Accept-Language"),
        ("Cache-Control: max-age=60", "Vary: Accept-Language, X-A"),
        ("Cache-Control: max-age=10, stale-while-revalidate=30, stale-if-error=60", 'ETag: "a"'),
        ("Cache-Control: max-age=10, stale-if-error=1000", "Last-Modified: @-100"),
        ("Cache-Control: no-cache", 'ETag: W/"a"'),
        ("Last-Modified: @-1000",),
        ("Expires: @+60", "Date: @-1"),
    )
)
ANSWERS = st.builds(
    Says,
    STATUSES,
    st.tuples(USUAL, several(ANSWER_LINES, 3)).map(lambda two: _without_repeats([*two[0], *two[1]])),
    st.sampled_from((0, 0, 0, 1, 10)),
    weighted((6, ""), (5, "same"), (1, "other"), (2, "silent"), (1, "dated"), (1, "weak"), (1, "strong")),
    st.sampled_from((None, None, (0, 2), (3, 5), (1, 1))),
    weighted((9, ""), (1, "fails")).map(bool),
)
STEPS = st.builds(
    Step,
    st.sampled_from((0, 0, 1, 5, 9, 10, 11, 20, 29, 30, 31, 40, 59, 60, 61, 89, 90, 91, 1000)),
    weighted((24, "GET"), (4, "HEAD"), (2, "POST"), (1, "PUT"), (1, "DELETE"), (1, "M-SEARCH")),
    weighted((5, "/a"), (1, "/b")),
    several(REQUEST_LINES, 2),
    ANSWERS,
    ANSWERS,
)
# Parts of one content, which come together by chance alone too seldom.
PARTS = st.builds(
    Step,
    st.sampled_from((0, 1, 10, 60)),
    st.just("GET"),
    st.just("/a"),
    RANGES.map("Range: {}".format).map(lambda line: (line,)),
    st.builds(
        Says,
        st.just(200),
        st.sampled_from(('ETag: "a"', 'ETag: "a"', 'ETag: "b"', 'ETag: W/"a"', "Last-Modified: @-100")).map(
            lambda line: ("Cache-Control: max-age=60", line)
        ),
        part=st.sampled_from(((0, 2), (3, 5), (1, 1), (2, 4))),
    ),
    ANSWERS,
)
DIALOGUES = st.lists(mixed((5, STEPS), (2, PARTS)), min_size=1, max_size=10)


def rendered(lines: tuple[str, ...], now: float) -> tuple[tuple[str, str], ...]:
    """Return header fields, with the dates that are written in short."""
    return tuple((name, _dated(value.strip(), now)) for name, _, value in (line.partition(":") for line in lines))


def _dated(value: str, now: float) -> str:
    match = re.fullmatch(r"@([a-z0-9]*)([+-]\d+)", value)
    if match is None:
        return value
    moment = now + int(match[2])
    obsolete = {"850": "%A, %d-%b-%y %H:%M:%S GMT", "asc": "%a %b %e %H:%M:%S %Y"}
    if match[1] in obsolete:
        return strftime(obsolete[match[1]], gmtime(moment))
    date = formatdate(moment, usegmt=True)
    return date.lower() if match[1] == "low" else date
