"""Where imports may point, and what the pure rooms may not touch.

The map below is the one in the README: what stands higher may import what stands lower, and nothing else. The checker
works on source text alone, so that it can be shown to fail.
"""

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

import buddyproxy

LEVELS = (
    {"__init__"},
    {"tap", "embed"},
    {"service"},
    {"web"},
    {"exchange"},
    {"flight", "forwarding"},
    {"gate", "routing", "filters", "throttle", "breaker", "retries", "metrics"},
    {"upstream"},
    {"storage"},
    {"cache"},
    {"config"},
    {"message", "window"},
    {"errors"},
)
"""Rooms from top to bottom. Rooms of one level do not import each other."""

PURE = {"cache", "message", "routing", "throttle", "breaker", "retries", "window", "errors"}
"""Rooms that know no Twisted, read no clock and touch no disk."""

LOADERS = {"config"}
"""Rooms that may read files, being pure otherwise."""

TWISTED = {"twisted", "treq", "zope", "OpenSSL", "service_identity"}
CLOCKS = {"time"}
DISKS = {"os", "pathlib", "shutil", "sqlite3", "tempfile"}
CLOCK_CALLS = {".now", ".utcnow", ".today"}

VERSION = "buddyproxy.__version__"
"""The one name any room may take from the top: a constant that depends on nothing."""


@frozen
class Module:
    """A module's name and what its source says."""

    name: str
    is_package: bool
    tree: ast.Module

    @property
    def room(self) -> str:
        """The level's member it belongs to: its name's second part."""
        return [*self.name.split("."), "__init__"][1]

    def imports(self) -> Iterator[str]:
        """Yield the full name of everything imported, wherever in the module that stands."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names):
                    yield from (alias.name for alias in names)
                case ast.ImportFrom(module, names, level):
                    base = ".".join([*self._above(level), *([module] if module else [])])
                    yield from (f"{base}.{alias.name}" for alias in names)

    def _above(self, level: int | None) -> list[str]:
        """Return the parts of the package that `level` dots stand for; none for an absolute import."""
        if not level:
            return []
        parts = self.name.split(".")
        return parts[: len(parts) - level + self.is_package]

    def calls(self) -> Iterator[str]:
        """Yield the name of every function called, and the last part of every method's, a dot before it."""
        for node in ast.walk(self.tree):
            match node:
                case ast.Call(func=ast.Name(name)):
                    yield name
                case ast.Call(func=ast.Attribute(attr=name)):
                    yield f".{name}"


def read(sources: Mapping[str, str]) -> dict[str, Module]:
    """Return the modules in `sources`: text by path, relative to the directory that holds the package."""
    modules = {}
    for path, text in sources.items():
        name = path.removesuffix(".py").replace("/", ".")
        is_package = name.endswith(".__init__")
        name = name.removesuffix(".__init__")
        modules[name] = Module(name, is_package, ast.parse(text, path))
    return modules


def imported(module: Module, modules: Mapping[str, Module]) -> Iterator[Module]:
    """Yield the modules of ours that `module` imports: a name out of a module counts as that module."""
    for full in module.imports():
        if full == VERSION:
            continue
        name = full
        while name and name not in modules:
            name = name.rpartition(".")[0]
        if name:
            yield modules[name]


def problems(sources: Mapping[str, str]) -> list[str]:
    """Return all that is wrong with the imports in `sources`, as sentences."""
    modules = read(sources)
    level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
    found = [f"{module.name}: which room is it?" for module in modules.values() if module.room not in level]
    for module in modules.values():
        for target in imported(module, modules):
            ours, theirs = level.get(module.room), level.get(target.room)
            if module.room == target.room or ours is None or theirs is None or ours < theirs:
                continue
            found.append(f"{module.name} imports {target.name}, which is {'beside' if ours == theirs else 'above'} it")
        found.extend(impurities(module))
    graph = {module.name: {target.name for target in imported(module, modules)} for module in modules.values()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as ring:
        found.append(f"a ring: {' -> '.join(ring.args[1])}")
    return found


def impurities(module: Module) -> Iterator[str]:
    """Yield what a pure room's module does that it must not."""
    if module.room not in PURE | LOADERS:
        return
    on_disk = set() if module.room in LOADERS else DISKS
    for full in module.imports():
        if full.partition(".")[0] in TWISTED | CLOCKS | on_disk:
            yield f"{module.name} is pure and imports {full}"
    for call in module.calls():
        if call in CLOCK_CALLS:
            yield f"{module.name} is pure and calls {call}()"
        if call == "open" and on_disk:
            yield f"{module.name} is pure and opens a file"


SMALL = {
    "buddyproxy/__init__.py": "__version__ = '1'",
    "buddyproxy/errors.py": "",
    "buddyproxy/message.py": "",
    "buddyproxy/cache/__init__.py": "",
    "buddyproxy/cache/key.py": "",
    "buddyproxy/gate.py": "",
    "buddyproxy/service.py": "",
}
"""A package too small to have faults; the cases below add one."""


class LayersTests(SynchronousTestCase):
    """The package as it is."""

    def test_imports_point_down(self) -> None:
        """Every module is on the map, imports only what is below it, and the pure ones stay pure."""
        package = Path(buddyproxy.__file__).parent
        sources = {str(path.relative_to(package.parent)): path.read_text() for path in package.rglob("*.py")}
        self.assertIn("buddyproxy/message.py", sources)
        self.assertEqual(problems(sources), [])


class CheckerTests(SynchronousTestCase):
    """What the checker lets pass and what it does not."""

    allowed = (
        ("down", "buddyproxy/cache/key.py", "from buddyproxy.message import Request"),
        ("down, a module by name", "buddyproxy/gate.py", "from buddyproxy import message"),
        ("inside a room", "buddyproxy/cache/vary.py", "from buddyproxy.cache.key import primary_key"),
        ("the version, from the top", "buddyproxy/service.py", "from buddyproxy import __version__"),
        ("a clock outside the core", "buddyproxy/service.py", "import time; time.time(); datetime.now()"),
        ("a file, to load a configuration", "buddyproxy/config.py", "from pathlib import Path; open('x')"),
        ("a date, given as a number", "buddyproxy/cache/key.py", "from datetime import datetime, UTC"),
        ("a value named like a clock", "buddyproxy/cache/key.py", "def f(now): return now + self.now"),
    )

    planted = (
        ("up", "buddyproxy/message.py", "import buddyproxy.gate", "buddyproxy.gate, which is above"),
        ("up, deferred", "buddyproxy/gate.py", "def f():\n import buddyproxy.service", "service, which is above"),
        ("up, relative", "buddyproxy/cache/key.py", "from .. import gate", "buddyproxy.gate, which is above"),
        ("up, relative, by a package", "buddyproxy/cache/__init__.py", "from ..gate import x", "gate, which is above"),
        ("up, to the top", "buddyproxy/gate.py", "from buddyproxy import CachingProxy", "buddyproxy, which is above"),
        ("up, for types only", "buddyproxy/message.py", "if TYPE_CHECKING:\n from buddyproxy import gate", "above"),
        ("sideways", "buddyproxy/metrics.py", "from buddyproxy.gate import Gate", "buddyproxy.gate, which is beside"),
        ("a ring", "buddyproxy/cache/__init__.py", "from buddyproxy.cache import vary", "a ring: "),
        ("no room", "buddyproxy/utils.py", "", "buddyproxy.utils: which room is it?"),
        ("Twisted", "buddyproxy/routing.py", "from twisted.internet import defer", "imports twisted.internet.defer"),
        ("Twisted, in config", "buddyproxy/config.py", "import twisted.logger", "imports twisted.logger"),
        ("treq", "buddyproxy/cache/key.py", "import treq as t", "imports treq"),
        ("a clock", "buddyproxy/throttle.py", "from time import monotonic", "imports time.monotonic"),
        ("a clock, by date", "buddyproxy/cache/key.py", "datetime.now(UTC)", "calls .now()"),
        ("a disk", "buddyproxy/cache/key.py", "import os.path", "imports os.path"),
        ("a file", "buddyproxy/message.py", "with open('x') as f: pass", "opens a file"),
    )

    def test_allows(self) -> None:
        """Imports that point down, and impure deeds outside the core, are no problem."""
        for case, path, text in self.allowed:
            self.assertEqual(problems(SMALL | {path: text}), [], case)

    def test_catches(self) -> None:
        """Each planted fault is found, and named."""
        vary = {"buddyproxy/cache/vary.py": "import buddyproxy.cache"}
        for case, path, text, expected in self.planted:
            found = problems(SMALL | vary | {path: text})
            self.assertEqual(len(found), 1, f"{case}: {found}")
            self.assertIn(expected, found[0], case)
