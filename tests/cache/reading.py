"""How a literal reader understands the fields that caching depends on; nothing here comes from `buddyproxy.cache`.

Slow and plain on purpose: text instead of bytes, `strptime` instead of a pattern, one character after the other. Where
the texts leave it open what a malformed value means, the house's rule holds: it counts against reuse, never for it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import frozen

Fields = Sequence[tuple[str, str]]
"""Header fields, their names in lower case."""

OVERFLOW = 2**31
"""RFC 9111, 1.2.2: what larger numbers of seconds count as."""

TOKEN = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@frozen
class Directive:
    """A cache directive: its name in lower case and its argument; `faulty` where its member breaks the grammar."""

    name: str
    argument: str | None = None
    faulty: bool = False


Directives = Sequence[Directive]


def lines(fields: Fields, name: str) -> list[str]:
    """Return the values of the field lines called `name`."""
    return [value for given, value in fields if given == name]


def combined(fields: Fields, name: str) -> str | None:
    """Return them as one value (RFC 9110, 5.3)."""
    return ", ".join(lines(fields, name)) if lines(fields, name) else None


def members(fields: Fields, name: str) -> list[str]:
    """Return the members of a list without quoted strings, in lower case (RFC 9110, 5.6.1)."""
    return [member.strip(" \t").lower() for member in (combined(fields, name) or "").split(",") if member.strip(" \t")]


def directives(values: Sequence[str]) -> list[Directive]:
    """Return the directives in the lines of one Cache-Control field (RFC 9111, 5.2)."""
    return [directive for value in values for directive in _line(value)]


def present(given: Directives, name: str) -> bool:
    """Return whether `name` is there in whatever form."""
    return any(directive.name == name for directive in given)


def sound(given: Directives, name: str) -> bool:
    """Return whether `name` is there, and nowhere in a form that the grammar does not know."""
    return present(given, name) and not any(directive.name == name and directive.faulty for directive in given)


def seconds(given: Directives, name: str) -> int | None:
    """Return the least delta-seconds of `name` (RFC 9111, 1.2.2 and 4.2.1); 0 for what is no number."""
    return min((_number(directive) for directive in given if directive.name == name), default=None)


def demanded(given: Directives, name: str) -> int | None:
    """Return the most delta-seconds of `name`; more than any response has, for what is no number: the stricter way."""
    found = [directive for directive in given if directive.name == name]
    numbers = [None if directive.faulty else _digits(directive.argument or "") for directive in found]
    return max((OVERFLOW if number is None else number for number in numbers), default=None)


def tolerance(given: Directives, name: str) -> float | None:
    """Return the same of a directive that, said once and without an argument, means any number (RFC 9111, 5.2.1.2)."""
    found = [directive for directive in given if directive.name == name]
    any_number = len(found) == 1 and found[0].argument is None and not found[0].faulty
    return float("inf") if any_number else seconds(given, name)


def unqualified(given: Directives, name: str) -> bool:
    """Return whether `name` is there without a list of fields (RFC 9111, 5.2.2.4 and 5.2.2.7)."""
    return any(directive.name == name and (directive.faulty or not directive.argument) for directive in given)


def qualified(given: Directives, name: str) -> set[str]:
    """Return the names of the fields that `name` is limited to."""
    if unqualified(given, name):
        return set()
    arguments = [directive.argument or "" for directive in given if directive.name == name]
    return {field.strip(" \t").lower() for argument in arguments for field in argument.split(",")}


def dictionary(values: Sequence[str]) -> list[Directive] | None:
    """Return the directives of a targeted field; None where it is empty or no Dictionary (RFC 9213, 2.1).

    Inner lists, byte sequences, dates and display strings, which no directive has, count as no Dictionary here.
    """
    key, bare = r"[a-z*][a-z0-9_.*-]*", r'-?\d{1,15}(?:\.\d{1,3})?|"(?:[ !#-\[\]-~]|\\["\\])*"|[A-Za-z*][\w.*-]*|\?[01]'
    parameters = rf"(?:;\ *{key}(?:=(?:{bare}))?)*"
    member = re.compile(rf"({key})(?:=({bare}))?{parameters}[ \t]*(,[ \t]*|$)")
    text, place, found = ", ".join(values).strip(" "), 0, {}
    comma = ""
    while place < len(text):
        if (match := member.match(text, place)) is None:
            return None
        name, value, comma = match.groups()
        found[name] = _of_dictionary(name, value)
        place = match.end()
    return list(found.values()) if found and not comma else None


def http_date(value: str | None, now: float) -> float | None:
    """Return the seconds since the epoch of an HTTP-date, in any of its three forms (RFC 9110, 5.6.7)."""
    for form in ("%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"):
        try:
            moment = datetime.strptime(value or "", form).replace(tzinfo=UTC)
        except ValueError:
            continue
        this_year = datetime.fromtimestamp(now, UTC).year
        if "%y" in form:
            # A two-digit year more than 50 years ahead is one of the past.
            year = this_year - this_year % 100 + moment.year % 100
            moment = moment.replace(year=year if year <= this_year + 50 else year - 100)
        return moment.timestamp()
    return None


def age_value(fields: Fields) -> int:
    """Return the first member of Age; 0 where it is not a number (RFC 9111, 5.1)."""
    first = (combined(fields, "age") or "").split(",")[0].strip(" \t")
    return _digits(first) or 0


def spelled(fields: Fields, name: str) -> object:
    """Return something equal for all values of a request field that match each other (RFC 9111, 4.1)."""
    value = combined(fields, name)
    if name in ("accept", "accept-charset", "accept-encoding", "accept-language"):
        # RFC 9110, 12.5.1: without Accept, any media type is acceptable.
        value = "*/*" if value is None and name == "accept" else value
        return value if value is None else sorted(_preference(member) for member in value.split(","))
    return None if value is None else [member.strip(" \t") for member in value.split(",")]


def _preference(member: str) -> list[str]:
    """Return a preference in lower case and without a weight of 1, the default (RFC 9110, 12.4.2)."""
    parts = [part.strip(" \t").lower() for part in member.split(";")]
    return [part for part in parts if part not in ("q=1", "q=1.0", "q=1.00", "q=1.000")]


def _line(value: str) -> list[Directive]:
    found, place = [], 0
    while place < len(value):
        if value[place] in " \t,":
            place += 1
            continue
        directive, end = _member(value, place)
        if directive is None:
            end = value.find(",", place) if "," in value[place:] else len(value)
            if '"' in value[place:end]:
                end = len(value)
            found += [Directive(name.lower(), None, faulty=True) for name in re.findall(r"[\w-]+", value[place:end])]
        else:
            found.append(directive)
        place = end
    return found


def _member(value: str, start: int) -> tuple[Directive | None, int]:
    """Return the member at `start` and where it ends; None where it breaks the grammar."""
    name, place = _token(value, start)
    argument: str | None = None
    if value[place : place + 2] == '="':
        argument, place = _quoted(value, place + 2)
    elif value[place : place + 1] == "=":
        argument, place = _token(value, place + 1)
        argument = argument or None
        if argument is None:
            return None, place
    while value[place : place + 1] in (" ", "\t"):
        place += 1
    if not name or place > len(value) or value[place : place + 1] not in ("", ","):
        return None, place
    return Directive(name.lower(), argument), place


def _token(value: str, place: int) -> tuple[str, int]:
    end = place
    while end < len(value) and value[end] in TOKEN:
        end += 1
    return value[place:end], end


def _quoted(value: str, place: int) -> tuple[str, int]:
    """Return what a quoted-string says (RFC 9110, 5.6.4) and the place after it: beyond the line if it has no end."""
    said = ""
    while place < len(value) and value[place] != '"':
        place += value[place] == "\\"
        said += value[place : place + 1]
        place += 1
    return said, place + 1


def _of_dictionary(name: str, value: str | None) -> Directive:
    if value is None or value == "?1":
        return Directive(name)
    if value.startswith('"'):
        # RFC 9213, 2.1: a number is an Integer, so a String is none.
        said = re.sub(r"\\(.)", r"\1", value[1:-1])
        return Directive(name, "no number" if said.isdigit() else said)
    return Directive(name, value)


def _number(directive: Directive) -> int:
    return 0 if directive.faulty else _digits(directive.argument or "") or 0


def _digits(text: str) -> int | None:
    return min(int(text), OVERFLOW) if re.fullmatch("[0-9]+", text) else None
