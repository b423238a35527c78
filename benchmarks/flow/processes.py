"""The processes that take part, and what the system knows of them: how much they work, and how much memory they have.

Linux tells that under /proc. Whatever is started here ends with the `with` statement that it was started by.
"""

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from attrs import frozen

from benchmarks.flow.origin import Seen

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0
"""Seconds a process may take to start, or to end."""
LONGEST = 120.0
"""Seconds a caller may take."""

_LISTENS = re.compile(r"listens on (http://\S+)")


@frozen
class Process:
    """One that is running."""

    number: int
    url: str
    """What to put before a path to ask it."""

    def cpu_seconds(self) -> float:
        """Return the processor time it has had."""
        # Fields 14 and 15 of proc_pid_stat(5), of which those from the third on stand behind the name.
        fields = self._told("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Return how much memory it has."""
        return self._megabytes("VmRSS")

    def peak_mb(self) -> float:
        """Return how much memory it had when it had the most."""
        return self._megabytes("VmHWM")

    def _megabytes(self, name: str) -> float:
        (line,) = [line for line in self._told("status").splitlines() if line.startswith(name)]
        return int(line.split()[1]) / 1024

    def _told(self, file: str) -> str:
        return Path(f"/proc/{self.number}/{file}").read_text()


def idle_seconds() -> float:
    """Return the time that the processors of this machine have had nothing to do, all together."""
    idle, waiting = Path("/proc/stat").read_text().split(maxsplit=6)[4:6]
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")


def seen(origin: Process, path: str) -> Seen:
    """Return what the origin knows of the requests for `path`."""
    with urlopen(f"{origin.url}/seen{path}", timeout=DEADLINE) as response:
        return Seen(**json.load(response))


def allow_many_files() -> None:
    """Have the system allow this process, and those it starts, as many open files as it may: often it is 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def running_origin() -> Iterator[Process]:
    """Run the origin."""
    with _running([sys.executable, "-m", "benchmarks.flow.origin"], stdout=subprocess.PIPE) as process:
        yield Process(process.pid, f"http://127.0.0.1:{_first_line(process)}")


@contextmanager
def running_proxy(directory: Path, origin: Process) -> Iterator[Process]:
    """Run buddyproxy as anybody would, with an empty store in `directory`."""
    settings = directory / "settings.toml"
    settings.write_text('[server]\nmax_request_body = "2GB"\n')
    script = Path(sys.executable).with_name("twistd")
    command = [sys.executable, str(script), "--nodaemon", "--pidfile=", "buddyproxy", "--config", str(settings)]
    command += ["--port", "tcp:0", "--cache", str(directory / "cache.sqlite"), "--map", f"origin={origin.url}"]
    log = directory / "log"
    with log.open("w") as file, _running(command, directory, stdout=file, stderr=file) as process:
        yield Process(process.pid, f"{_said(process, log)}/origin")
    for path in directory.glob("cache.sqlite*"):
        path.unlink()


@contextmanager
def running_caller(*arguments: object) -> Iterator[None]:
    """Run a caller that goes on until it is ended; goes in once it says that all is under way."""
    with _running(_caller(arguments), stdout=subprocess.PIPE) as process:
        _first_line(process)
        yield


def call(*arguments: object) -> Any:
    """Run a caller to its end, and return what it found out."""
    done = subprocess.run(_caller(arguments), check=True, cwd=ROOT, stdout=subprocess.PIPE, timeout=LONGEST)
    return json.loads(done.stdout)


def _caller(arguments: Sequence[object]) -> list[str]:
    return [sys.executable, "-m", "benchmarks.flow.callers", *map(str, arguments)]


@contextmanager
def _running(command: list[str], directory: Path = ROOT, **outputs: Any) -> Iterator["subprocess.Popen[str]"]:
    """Run a program in `directory`, which is where its temporary files go, too."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(directory)}
    with subprocess.Popen(
        command, cwd=directory, env=environment, stdin=subprocess.PIPE, text=True, **outputs
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()


def _first_line(process: "subprocess.Popen[str]") -> str:
    """Return the first line that a process prints, which says that it is ready."""
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError("a process ended before it was ready")
    return line


def _said(process: "subprocess.Popen[str]", log: Path) -> str:
    """Return the address that a proxy says it listens on."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until and process.poll() is None:
        if found := _LISTENS.search(log.read_text()):
            return found[1]
        time.sleep(0.02)
    raise RuntimeError(f"the proxy did not start:\n{log.read_text()}")
