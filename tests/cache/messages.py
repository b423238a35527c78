"""Messages as the literal reading sees them, and what RFC 9110 and 9111 let one message say by itself."""

from attrs import define, frozen

from tests.cache.reading import (
    Directives,
    Fields,
    age_value,
    combined,
    dictionary,
    directives,
    http_date,
    lines,
    members,
    present,
    qualified,
    seconds,
    sound,
)

HEURISTICALLY_CACHEABLE = (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501)
"""RFC 9110, 15.1."""


@frozen
class Asked:
    """A request."""

    method: str
    uri: str
    fields: Fields


@frozen
class Told:
    """The origin's answer: when it was asked for, when it came, and the content it came with."""

    status: int
    fields: Fields
    sent: float
    received: float
    body: bytes = b""


@define(eq=False)
class Kept:
    """A stored response, and the request that it was stored for."""

    asked: Asked
    told: Told
    outdated: bool = False
    """Whether something showed that it holds no longer: it may be validated, but not reused as it is."""

    @property
    def fields(self) -> Fields:
        """The stored fields."""
        return self.told.fields

    @property
    def part(self) -> tuple[int, int, int] | None:
        """First and last byte and the length of the whole, where it is a part (RFC 9110, 14.4)."""
        return content_range(self.told) if self.told.status == 206 else None

    @property
    def etag(self) -> str | None:
        """The entity tag."""
        return (lines(self.fields, "etag") or [None])[0]

    @property
    def modified(self) -> str | None:
        """The time of the last modification."""
        return (lines(self.fields, "last-modified") or [None])[0]


def request_directives(fields: Fields) -> Directives:
    """Return a request's directives; Pragma stands in where there are none (5.4, and RFC 7234, 5.4)."""
    if not lines(fields, "cache-control") and "no-cache" in members(fields, "pragma"):
        return directives(["no-cache"])
    return directives(lines(fields, "cache-control"))


def binding(fields: Fields) -> tuple[Directives, bool]:
    """Return the directives that bind us, and whether they stand in a targeted field (RFC 9213, 2.2)."""
    targeted = dictionary(lines(fields, "cdn-cache-control"))
    return (directives(lines(fields, "cache-control")), False) if targeted is None else (targeted, True)


def date_value(told: Told) -> float:
    """Return when a response was made (4.2.3); when it came, where it does not say (RFC 9110, 6.6.1)."""
    date = http_date((lines(told.fields, "date") or [None])[0], told.received)
    return told.received if date is None else date


def current_age(told: Told, now: float) -> float:
    """Return the age of a response (4.2.3)."""
    apparent_age = max(0, told.received - date_value(told))
    response_delay = told.received - told.sent
    corrected_age_value = age_value(told.fields) + response_delay
    corrected_initial_age = max(apparent_age, corrected_age_value)
    resident_time = now - told.received
    return corrected_initial_age + resident_time


def explicit_lifetime(told: Told) -> float | None:
    """Return the lifetime that the origin gives (4.2.1); of several, the least."""
    given, targeted = binding(told.fields)
    for name in ("s-maxage", "max-age"):
        if present(given, name):
            return seconds(given, name)
    if targeted or not lines(told.fields, "expires"):
        return None
    dates = [http_date(value, told.received) for value in lines(told.fields, "expires")]
    # 5.3: an invalid date is one in the past.
    return min(0 if date is None else date - date_value(told) for date in dates)


def lifetime(told: Told) -> float:
    """Return the freshness lifetime (4.2.1 and 4.2.2)."""
    explicit = explicit_lifetime(told)
    if explicit is not None:
        return explicit
    modified = http_date((lines(told.fields, "last-modified") or [None])[0], told.received)
    if modified is None or not heuristics_apply(told):
        return 0
    return min(86400, max(0, (date_value(told) - modified) / 10))


def heuristics_apply(told: Told) -> bool:
    """Return whether a response may be stored without a lifetime of its own (3 and 4.2.2)."""
    given, _ = binding(told.fields)
    return told.status in HEURISTICALLY_CACHEABLE or sound(given, "public")


def as_get(asked: Asked, told: Told) -> Asked:
    """Return the GET that the answer to a POST answers as well (RFC 9110, 9.3.3); the request itself otherwise."""
    location = (lines(told.fields, "content-location") or [None])[0]
    origin = asked.uri[: asked.uri.index("/", 8)]
    same = location is not None and asked.uri in (location, origin + location)
    if asked.method != "POST" or told.status != 200 or not same or explicit_lifetime(told) is None:
        return asked
    return Asked("GET", asked.uri, asked.fields)


def content_range(told: Told) -> tuple[int, int, int] | None:
    """Return first and last byte and the length of the whole (RFC 9110, 14.4), as the tests' origins spell them."""
    unit, _, rest = (combined(told.fields, "content-range") or "").partition(" ")
    span, _, total = rest.partition("/")
    first, _, last = span.partition("-")
    return (int(first), int(last), int(total)) if unit == "bytes" and total.isdigit() else None


def byte_range(asked: Asked, total: int) -> tuple[int, int] | None:
    """Return the single range of bytes that a request is for (RFC 9110, 14.2); None where it is for the whole."""
    unit, _, spec = (combined(asked.fields, "range") or "").partition("=")
    first, _, last = spec.partition("-")
    if asked.method != "GET" or unit != "bytes" or not (first + last).isdigit():
        return None
    if not first:
        return max(0, total - int(last)), total - 1
    return int(first), min(int(last or total - 1), total - 1)


def if_range_holds(asked: Asked, kept: Kept) -> bool:
    """Return whether If-Range, if there is one, names exactly this content (RFC 9110, 13.1.5)."""
    value = combined(asked.fields, "if-range")
    if value is None:
        return True
    if value.startswith(('"', "W/")):
        return value == kept.etag and not value.startswith("W/")
    modified = http_date(kept.modified, kept.told.received)
    # RFC 9110, 8.8.2.2: strong only where the response was made a second or more after it.
    return modified is not None and value == kept.modified and date_value(kept.told) >= modified + 1


def not_modified(asked: Asked, kept: Kept) -> bool:
    """Return whether a request's own conditions are answered by 304 (4.3.2; RFC 9110, 13.2.2)."""
    if kept.told.status not in (200, 206):
        return False
    if lines(asked.fields, "if-none-match"):
        listed = [tag.strip(" \t") for tag in (combined(asked.fields, "if-none-match") or "").split(",")]
        weakly = [tag.removeprefix("W/") for tag in listed]
        return listed == ["*"] or (kept.etag is not None and kept.etag.removeprefix("W/") in weakly)
    since = http_date((lines(asked.fields, "if-modified-since") or [None])[0], kept.told.received)
    if since is None:
        return False
    modified = http_date(kept.modified, kept.told.received)
    return (date_value(kept.told) if modified is None else modified) <= since


def end_to_end(fields: Fields) -> Fields:
    """Return the fields that are not for one connection only (RFC 9110, 7.6.1)."""
    named = {"connection", *members(fields, "connection")}
    return [pair for pair in fields if pair[0] not in named]


def allowed_fields(fields: Fields) -> Fields:
    """Return the fields that may be stored by a shared cache, and reused unasked (3.1, 5.2.2.4 and 5.2.2.7)."""
    given, _ = binding(fields)
    left_out = qualified(given, "private") | qualified(given, "no-cache")
    return [pair for pair in fields if pair[0] not in left_out]
