"""Programs run by a test: started, listened to, ended; never waited for without a deadline.

program = await twistd("buddyproxy", "--port", "tcp:0")
self.addCleanup(program.end)
await program.wait_for("listening")
program.signal("TERM")
self.assertEqual(await program.exit_code(), 0)
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 20.0
"""Seconds a test waits for a program, unless it says otherwise."""


class Program(ProcessProtocol):
    """A program that is running, or was."""

    transport: Any

    def __init__(self, reactor: Any) -> None:
        self.stdout = ""
        """What it has said so far."""
        self.stderr = ""
        self.code: int | None = None
        """What it returned, once it has ended; minus the signal's number where a signal ended it."""
        self._reactor = reactor
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []

    @property
    def said(self) -> str:
        """Both outputs, the standard one first."""
        return self.stdout + self.stderr

    async def wait_for(self, text: str, deadline: float = DEADLINE) -> None:
        """Wait until the program has said `text`, on either output."""
        await self._wait(lambda: text in self.said, f"{text!r} was not said", deadline)

    async def first_line(self, deadline: float = DEADLINE) -> str:
        """Wait for the first line of the standard output and return it."""
        await self._wait(lambda: "\n" in self.stdout, "no line was printed", deadline)
        return self.stdout.partition("\n")[0]

    async def exit_code(self, deadline: float = DEADLINE) -> int:
        """Wait until the program has ended and return its code."""
        await self._wait(lambda: self.code is not None, "it did not end", deadline)
        assert self.code is not None
        return self.code

    def signal(self, name: str) -> None:
        """Send the signal `name`, such as "TERM"; one to a program that has ended is lost."""
        if self.code is None:
            try:
                self.transport.signalProcess(name)
            except ProcessExitedAlready:
                return

    def close_stdin(self) -> None:
        """Close the program's standard input."""
        self.transport.closeStdin()

    async def end(self) -> None:
        """End the program, if it still runs, by its process id; for `addCleanup`."""
        self.signal("KILL")
        await self.exit_code()

    def outReceived(self, data: bytes) -> None:
        self.stdout += data.decode("utf-8", "replace")
        self._look()

    def errReceived(self, data: bytes) -> None:
        self.stderr += data.decode("utf-8", "replace")
        self._look()

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self.code = -value.signal if getattr(value, "signal", None) else value.exitCode
        self._look()
        waiting, self._waiting = self._waiting, []
        for _, deferred in waiting:
            deferred.errback(AssertionError(f"the program ended with {self.code}:\n{self.said}"))

    def _look(self) -> None:
        ready = [each for each in self._waiting if each[0]()]
        self._waiting = [each for each in self._waiting if each not in ready]
        for _, deferred in ready:
            deferred.callback(None)

    async def _wait(self, condition: Callable[[], bool], complaint: str, deadline: float) -> None:
        if condition():
            return
        if self.code is not None:
            raise AssertionError(f"the program ended with {self.code}:\n{self.said}")
        deferred: Deferred[None] = Deferred()
        waiting = (condition, deferred)
        self._waiting.append(waiting)

        def too_late() -> None:
            self._waiting.remove(waiting)
            deferred.errback(AssertionError(f"{complaint} within {deadline} s:\n{self.said}"))

        limit = self._reactor.callLater(deadline, too_late)
        try:
            await deferred
        finally:
            if limit.active():
                limit.cancel()


def start(
    *arguments: str, directory: str | Path | None = None, environment: Mapping[str, str] | None = None
) -> Program:
    """Start a program; `arguments` begin with its path. It finds this checkout's modules, whatever its directory."""
    from twisted.internet import reactor

    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    variables = {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(environment or {})}
    program = Program(reactor)
    reactor.spawnProcess(program, arguments[0], arguments, env=variables, path=str(directory or ROOT))
    return program


def python(*arguments: str, **where: Any) -> Program:
    """Start this Python; `where` as for `start`."""
    return start(sys.executable, *arguments, **where)


def twistd(*arguments: str, **where: Any) -> Program:
    """Start `twistd` in the foreground, without a pid file; `where` as for `start`."""
    script = Path(sys.executable).with_name("twistd")
    return start(sys.executable, str(script), "--nodaemon", "--pidfile=", *arguments, **where)


class ApiProcess:
    """A running `tests.support.api_origin`."""

    def __init__(self, program: Program, port: int) -> None:
        self.program = program
        self.port = port
        self.end = program.end


async def api_origin(pem_file: str | None = None) -> ApiProcess:
    """Start the stand-in API, with TLS if there is a certificate, and wait until it listens."""
    program = python("-m", "tests.support.api_origin", *(["--cert", pem_file] if pem_file else []))
    return ApiProcess(program, json.loads(await program.first_line())["port"])
