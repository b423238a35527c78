"""`twistd buddyproxy` and `twist buddyproxy`: the command line, and what only a process of its own needs."""

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from time import time
from types import FrameType
from typing import Any, NoReturn, cast

from attrs import evolve
from twisted.application.service import IService
from twisted.python import usage

from buddyproxy import __version__
from buddyproxy.config import Config, default_cache_path, discover, load, merge, never_met, not_in_force
from buddyproxy.errors import CacheError, ConfigurationError, Problem
from buddyproxy.metrics import counted
from buddyproxy.service import ProxyService
from buddyproxy.service.assembly import Reactor, clear_storage
from buddyproxy.service.checks import check
from buddyproxy.service.explaining import explain


class Options(usage.Options):
    """The command line. What it says comes before what the configuration file says.

    After parsing, `config` is the configuration. Every mistake ends the process with all problems on standard error
    and status 1.
    """

    synopsis = "[options]"
    longdesc = """\
A caching reverse proxy for HTTP APIs: name an API with --map, and use this proxy's address and that name in place of
the API's own address. For example, --map openai=https://api.openai.com/v1 makes http://127.0.0.1:8080/openai the
address to give to a program. Answers are kept across restarts."""

    config: Config

    def __init__(self) -> None:
        super().__init__()
        # The help texts are docstrings, whose line breaks and indentation usage.Options would show.
        self.docs = {name: " ".join(text.split()) for name, text in self.docs.items() if text}
        self._file: Path | None = None
        self._settings: dict[str, Any] = {}
        self._options: dict[str, str] = {}
        self._problems: list[Problem] = []
        self._clear_cache = self._check_config = False
        self._url: str | None = None

    def opt_port(self, endpoint: str) -> None:
        """Listen here: a Twisted endpoint string, or a port number alone. May be given several times. Without
        "interface=" only this machine is served. (default: tcp:8080)"""
        self._lay("--port", [*self._settings.get("server", {}).get("endpoints", []), endpoint], "server", "endpoints")

    def opt_config(self, file: str) -> None:
        """Read this configuration file, TOML or JSON. (default: ./buddyproxy.toml, or else buddyproxy/buddyproxy.toml
        in the user's configuration directory)"""
        self._file = Path(file)

    def opt_map(self, mapping: str) -> None:
        """NAME=URL: requests for /NAME go to the API at URL. May be given several times."""
        name, equals, url = mapping.partition("=")
        if equals and name:
            self._lay(f"--map {name}", url, "domain_mappings", name)
        else:
            self._problems.append(Problem("--map", "expected NAME=URL, as in openai=https://api.openai.com/v1"))

    def opt_origin(self, url: str) -> None:
        """Stand in for the one API at URL: every path goes there, without a name in front."""
        self._lay("--origin", url, "origin")

    def opt_cache(self, path: str) -> None:
        """Keep responses in this SQLite file, or with :memory: until the end only. (default: buddyproxy/cache.sqlite
        in the user's cache directory)"""
        self._lay("--cache", path if path == ":memory:" else os.path.abspath(path), "cache", "database_path")

    def opt_ttl(self, duration: str) -> None:
        """Reuse responses for this long where the API does not say: seconds, or as in 15m, 12h, 7d. (default: 7d)"""
        self._lay("--ttl", duration, "cache", "default_ttl")

    def opt_mode(self, mode: str) -> None:
        """What is kept: "buddy" suits development (POST too, and what says nothing of caching), "rfc9111" is a shared
        cache to the letter. (default: buddy)"""
        self._lay("--mode", mode, "cache", "mode")

    def opt_allow_open(self) -> None:
        """Let other machines in without a key, where --port opens a wider interface."""
        self._lay("--allow-open", True, "server", "allow_open")

    def opt_clear_cache(self) -> None:
        """Remove all stored responses, say how many, and exit. A proxy that uses the file lets go of them within a
        second or two."""
        self._clear_cache = True

    def opt_check_config(self) -> None:
        """Say all that is wrong with the configuration and exit, with status 1 if anything is."""
        self._check_config = True

    def opt_check_url(self, url: str) -> None:
        """Say which mapping and which of its rules URL meets and what holds there, and exit. URL is an address of this
        proxy or of an API, or a path such as /openai/models."""
        self._url = url

    def opt_version(self) -> NoReturn:
        """Say the version and exit."""
        _say(f"buddyproxy {__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the command line."""
        try:
            super().parseOptions(options)
        except usage.UsageError as error:
            _fail([self._explained(str(error)) + "; --help lists the options"])

    def parseArgs(self, *arguments: str) -> None:
        """Take no arguments."""
        if arguments:
            raise usage.UsageError(f"unexpected argument {arguments[0]!r}")

    def postOptions(self) -> None:
        """Make the configuration of all that was said; do what is to be done before serving."""
        try:
            self.config = self._configuration()
            problems = check(self.config)
        except ConfigurationError as error:
            problems = list(error.problems)
        problems = [*self._problems, *problems]
        if problems:
            _fail([str(self._attributed(problem)) for problem in problems])
        if self._check_config:
            self._report()
        if self._url is not None:
            self._explain(self._url)
        if self._check_config or self._url is not None:
            raise SystemExit(0)
        if self._clear_cache:
            self._clear()
            raise SystemExit(0)

    def _lay(self, option: str, value: object, *path: str) -> None:
        """Note that `option` gives the setting at `path` the value `value`."""
        table = self._settings
        for name in path[:-1]:
            table = table.setdefault(name, {})
        table[path[-1]] = value
        self._options[".".join(path)] = option

    def _configuration(self) -> Config:
        file = self._file or discover(Path.cwd(), os.environ)
        self._file = file
        written: Mapping[str, object] = load(file) if file else {}
        config = Config.from_mapping(merge(written, self._settings))
        if config.cache.database_path is None:
            cache = evolve(config.cache, database_path=str(default_cache_path(os.environ)))
            config = evolve(config, cache=cache)
        return config

    def _attributed(self, problem: Problem) -> Problem:
        """Return `problem` under the option it came by, if it came by one."""
        for path, option in self._options.items():
            if problem.path == path or problem.path.startswith((f"{path}.", f"{path}[")):
                return evolve(problem, path=option)
        return problem

    def _explained(self, error: str) -> str:
        """Return a parsing error with the option that was perhaps meant."""
        given = error.removeprefix("option --").partition(" ")[0]
        near = get_close_matches(given, [name.rstrip("=") for name in self.longOpt], n=1)
        return f"{error}; did you mean --{near[0]}?" if near and "not recognized" in error else error

    def _report(self) -> None:
        count = len(self.config.mappings)
        source = self._file or "no configuration file"
        _say(f"the configuration is good: {counted(count, 'mapping')}, {source}")
        for name, mapping in self.config.mappings.items():
            _say(f"  {name}: {mapping.upstream}")
        for path in not_in_force(self.config):
            _say(f"note: {path} is read and checked, but without effect in this version")
        for rule, earlier in never_met(self.config):
            _say(f"note: {rule} never holds: {earlier} comes first and matches all it would")

    def _explain(self, url: str) -> None:
        try:
            lines = explain(self.config, url)
        except ValueError as error:
            _fail([str(Problem("--check-url", str(error)))])
        for line in lines:
            _say(line)

    def _clear(self) -> None:
        path = self.config.cache.database_path or ":memory:"
        try:
            count = clear_storage(self.config.cache, time())
        except CacheError as error:
            _fail([str(error)])
        if count is None:
            _say(f"there is no file {path}: nothing to remove")
        else:
            _say(f"removed {counted(count, 'stored response')} from {path}")


def makeService(options: Options) -> IService:
    """Return the service that `options` describes, in a process that is to end well when told to."""
    # The one that twistd or twist has installed by now.
    from twisted.internet import reactor as installed

    reactor = cast(Reactor, installed)
    service = ProxyService(options.config, reactor)
    # By then the reactor has installed its own handlers; and nothing says that we are ready before ours are there.
    reactor.callWhenRunning(_end_well, service, reactor)
    reactor.callWhenRunning(_settle)
    return service


def _settle() -> None:
    """Keep the garbage collector from what stays for good: to look through all of it holds everybody up."""
    gc.collect()
    gc.freeze()


def _end_well(service: ProxyService, reactor: Reactor) -> None:
    """Let SIGTERM end the process in good order and with status 0, and a second signal end the waiting.

    Left alone, Twisted ends such a process by the signal itself, which looks like a crash to whoever watches it.
    """

    def stop() -> None:
        if service.running:
            reactor.stop()
        else:
            service.hurry()

    def terminated(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(stop)

    signal.signal(signal.SIGTERM, terminated)
    interrupted = signal.getsignal(signal.SIGINT)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if service.running and callable(interrupted):
            interrupted(number, frame)
        else:
            reactor.callFromThread(service.hurry)

    signal.signal(signal.SIGINT, interrupt)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _fail(lines: Sequence[str]) -> NoReturn:
    for line in lines:
        sys.stderr.write(f"buddyproxy: {line}\n")
    raise SystemExit(1)
