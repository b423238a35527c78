"""From a mapping somebody wrote to the classes that describe it, with every problem found on the way.

Theory of operation. A reader is a callable that takes what was written and returns a value. It raises `ValueError` for
one thing wrong with the value itself, or `ConfigurationError` for things wrong inside it, their paths relative to it.
`Table`, `Entries`, `Several` and `Shorthand` are readers made of readers: they try every part, put the part's name
before the paths of what it raised, and raise all of it together. Each field of a `Section` carries its reader, so the
classes are the schema, and nothing here knows one setting from another.

None means "not given" wherever a table may hold it. No message repeats a value: it may be a secret in the wrong place.
"""

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

import attrs
from attrs import define, frozen

from buddyproxy.errors import ConfigurationError, Problem

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
S = TypeVar("S", bound="Section")

Read = Callable[[object], T]
Draft = Mapping[str, object]
"""What a table gave, by the names of its fields; `UNREADABLE` where the value was no good."""

UNREADABLE: Final = object()

_LONGEST_NAME: Final = 64
_LONGEST_NUMBER: Final = 10**6
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


@frozen
class Section:
    """A table of settings: fields made by `setting` or `required`, and what holds between them."""

    ALTERNATIVES: ClassVar[frozenset[str]] = frozenset()
    """Fields of which one at most may be given."""
    REFUSED: ClassVar[Mapping[str, str]] = {}
    """Names that are no settings for a reason worth telling, and the reason."""

    @classmethod
    def conflicts(cls, draft: Draft) -> Iterator[Problem]:
        """Yield what is wrong between the fields, each of which was read on its own before."""
        return iter(())


def setting(read: Read[T], default: T, *, aliases: Mapping[str, Read[T]] | None = None, secret: bool = False) -> T:
    """Return an attrs field read by `read`, or by the reader of the alias it was given under.

    A `secret` field stays out of the repr.
    """
    return attrs.field(default=default, repr=not secret, metadata={"read": read, "aliases": aliases or {}})


def required(read: Read[T], *, secret: bool = False) -> T:
    """Return an attrs field that has to be given."""
    return cast(T, attrs.field(repr=not secret, metadata={"read": read, "aliases": {}}))


def kind(value: object) -> str:
    """Return what sort of thing `value` is, in the words of somebody who writes configurations."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return f"a value of type {type(value).__name__}"


def quoted(name: str) -> str:
    """Return `name` as a part of a path: in quotes where it has characters that would make the path ambiguous."""
    if len(name) > _LONGEST_NAME:
        name = name[: _LONGEST_NAME - 3] + "..."
    return name if _BARE.fullmatch(name) else json.dumps(name).replace("\x7f", "\\u007f")


def join(where: str, path: str) -> str:
    """Return `path` as seen from outside of `where`."""
    return f"{where}.{path}" if where and path and not path.startswith("[") else where + path


@define
class Findings:
    """The problems found so far."""

    problems: list[Problem] = attrs.Factory(list)

    def add(self, where: str, message: str) -> None:
        """Note that something is wrong at `where`."""
        self.problems.append(Problem(where, message))

    def read(self, where: str, read: Read[Any], value: object) -> Any:
        """Return what `read` makes of `value`; `UNREADABLE`, with its problems noted, where it makes nothing of it."""
        try:
            return read(value)
        except ConfigurationError as error:
            self.problems += [Problem(join(where, problem.path), problem.message) for problem in error.problems]
        except ValueError as error:
            self.add(where, str(error))
        return UNREADABLE

    def settle(self) -> None:
        """Raise `ConfigurationError` with everything found, if anything was."""
        if self.problems:
            raise ConfigurationError(self.problems)


@frozen
class _Spelling(Generic[T]):
    """A name under which a field may be given, and how it is read then."""

    field: str
    read: Read[T]


@frozen
class Table(Generic[S]):
    """Reads a table of settings into the class that describes it."""

    schema: type[S]

    def __call__(self, value: object) -> S:
        findings = Findings()
        draft = self._read(_mapping(value), findings)
        for field in attrs.fields(self.schema):
            if field.default is attrs.NOTHING and field.name not in draft:
                findings.add(field.name, "is missing")
        for name in sorted(self.schema.ALTERNATIVES.intersection(draft))[1:]:
            findings.add(name, f"only one may be given of {_listed(sorted(self.schema.ALTERNATIVES))}")
        findings.problems += self.schema.conflicts(draft)
        findings.settle()
        return cast(Callable[..., S], self.schema)(**draft)

    def _read(self, table: Mapping[object, object], findings: Findings) -> Draft:
        spellings = self.spellings()
        written: dict[str, str] = {}
        draft: dict[str, object] = {}
        for name, value in table.items():
            if not isinstance(name, str):
                findings.add("", f"has a name that is no string but {kind(name)}")
            elif name not in spellings:
                findings.add(quoted(name), self.schema.REFUSED.get(name) or _unknown(name, list(spellings)))
            elif value is not None:
                field = spellings[name].field
                if written.setdefault(field, name) != name:
                    findings.add(name, f'sets the same as "{written[field]}", which is given too')
                draft[field] = findings.read(name, spellings[name].read, value)
        return draft

    def spellings(self) -> dict[str, _Spelling[Any]]:
        """Return every name a setting may be given under."""
        names: dict[str, _Spelling[Any]] = {}
        for field in attrs.fields(self.schema):
            for name, read in {field.name: field.metadata["read"], **field.metadata["aliases"]}.items():
                names[name] = _Spelling(field.name, read)
        return names

    def rivals(self, name: object) -> set[object]:
        """Return the names that must not be given beside `name`: its other spellings and its alternatives."""
        fields = {spelling.field for other, spelling in self.spellings().items() if other == name}
        if fields & self.schema.ALTERNATIVES:
            fields.update(self.schema.ALTERNATIVES)
        return {other for other, spelling in self.spellings().items() if spelling.field in fields and other != name}


@frozen
class Entries(Generic[K, V]):
    """Reads a table whose names are the user's own."""

    name: Read[K]
    item: Read[V]

    def __call__(self, value: object) -> Mapping[K, V]:
        findings = Findings()
        entries: dict[K, V] = {}
        for key, given in _mapping(value).items():
            if given is None:
                continue
            where = quoted(key if isinstance(key, str) else _text(key))
            name = findings.read(where, self.name, key)
            if name in entries and name is not UNREADABLE:
                findings.add(where, "is given twice")
            entries[name] = findings.read(where, self.item, given)
        findings.settle()
        return MappingProxyType(entries)


@frozen
class Several(Generic[V]):
    """Reads a list."""

    item: Read[V]

    def __call__(self, value: object) -> tuple[V, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected a list, not {kind(value)}")
        findings = Findings()
        items = [findings.read(f"[{index}]", self.item, given) for index, given in enumerate(value)]
        findings.settle()
        return tuple(items)


@frozen
class Shorthand(Generic[S]):
    """Reads a table, or a string that stands for the table with nothing but `name` in it."""

    name: str
    table: Table[S]

    def __call__(self, value: object) -> S:
        if not isinstance(value, str | Mapping):
            raise ValueError(f'expected a table, or a string for its "{self.name}", not {kind(value)}')
        return self.table(self.spelt_out(value))

    def spelt_out(self, value: object) -> object:
        """Return the table a string stands for; anything else as it is."""
        return {self.name: value} if isinstance(value, str) else value


def inside(read: object, name: object) -> object:
    """Return the reader that `read`, made of readers, uses for `name`; None where there is none."""
    match read:
        case Table() if isinstance(name, str) and name in (spellings := read.spellings()):
            return spellings[name].read
        case Entries():
            return read.item
        case Shorthand():
            return inside(read.table, name)
        case _:
            return None


def merged(read: object, base: object, over: object) -> object:
    """Return `base` with `over` laid upon it, both written for `read`: tables are joined, the rest is replaced."""
    if isinstance(read, Shorthand):
        base, over = read.spelt_out(base), read.spelt_out(over)
        read = read.table
    if not isinstance(base, Mapping) or not isinstance(over, Mapping):
        return over
    given = {name: value for name, value in over.items() if value is not None}
    replaced = {rival for name in given if isinstance(read, Table) for rival in read.rivals(name)}
    joined = {name: value for name, value in base.items() if name not in replaced}
    for name, value in given.items():
        joined[name] = merged(inside(read, name), joined.get(name), value)
    return joined


def at(value: object, *steps: str) -> Iterator[tuple[str, object]]:
    """Yield what stands at `steps` inside of `value`, with its path; "*" is every entry or every member.

    What has another shape than the steps assume is passed over: its own reader tells.
    """
    if not steps:
        yield "", value
        return
    for name, part, inner in _parts(value):
        if steps[0] in ("*", name):
            yield from ((join(part, path), leaf) for path, leaf in at(inner, *steps[1:]))


def _parts(value: object) -> Iterator[tuple[object, str, object]]:
    if isinstance(value, Mapping):
        yield from ((name, quoted(name), inner) for name, inner in value.items() if isinstance(name, str))
    elif isinstance(value, list | tuple):
        yield from ((index, f"[{index}]", inner) for index, inner in enumerate(value))


def _mapping(value: object) -> Mapping[object, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a table, not {kind(value)}")
    return value


def _text(key: object) -> str:
    """Return what to call a key that is no string; a number of any length must not fill the path."""
    return str(key) if isinstance(key, int) and abs(key) < _LONGEST_NUMBER else kind(key)


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name[:_LONGEST_NAME].lower(), known, n=1)
    return f'unknown key; did you mean "{near[0]}"?' if near else f"unknown key; known here are {_listed(known)}"


def _listed(names: list[str]) -> str:
    return ", ".join(names)
