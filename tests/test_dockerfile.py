"""The Dockerfile names files that exist, and a command that twistd understands.

Building the image takes a container engine, which a test cannot count on; this is what can be known without one.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.scripts.twistd import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
CALLER = ["--allow-open", "--map", "openai=https://api.openai.com/v1"]


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield each instruction of a Dockerfile and its arguments, comments left out and continued lines joined."""
    lines = "".join(line for line in text.splitlines(keepends=True) if not line.lstrip().startswith("#"))
    for line in lines.replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, arguments = line.strip().partition(" ")
            yield name, arguments.strip()


class DockerfileTests(SynchronousTestCase):
    """What stands in the Dockerfile, held against the tree and the command line."""

    def setUp(self) -> None:
        """Read the Dockerfile."""
        self.instructions = list(instructions((ROOT / "Dockerfile").read_text()))

    def test_sources_exist(self) -> None:
        """Everything copied from the tree is there, and the package's own parts are among it."""
        copied = [
            source
            for name, arguments in self.instructions
            if name == "COPY" and "--from" not in arguments
            for source in arguments.split()[:-1]
        ]
        self.assertEqual([source for source in copied if not (ROOT / source).exists()], [])
        self.assertEqual({"buddyproxy", "twisted", "setup.cfg", "pyproject.toml"} - set(copied), set())

    def test_command_parses(self) -> None:
        """The entry point is in exec form, and with a caller's options twistd takes it for buddyproxy."""
        ((_, entry),) = [pair for pair in self.instructions if pair[0] == "ENTRYPOINT"]
        program, *options = json.loads(entry)
        self.assertEqual(program, "twistd")
        parsed = ServerOptions()
        parsed.parseOptions([*options, *CALLER])
        self.assertEqual(parsed.subCommand, "buddyproxy")
        self.assertTrue(parsed["nodaemon"])
        self.assertEqual(parsed["pidfile"], "")

    def test_health_check_asks_the_port_listened_on(self) -> None:
        """The health check asks the port that is listened on and exposed, in code that compiles."""
        found = dict(self.instructions)
        port = re.search(r"tcp:(\d+)", found["ENTRYPOINT"])[1]
        self.assertEqual(found["EXPOSE"], port)
        interpreter, flag, code = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
        self.assertEqual((interpreter, flag), ("python", "-c"))
        self.assertIn(f"http://127.0.0.1:{port}/.buddyproxy/health", code)
        compile(code, "HEALTHCHECK", "exec")

    def test_runs_as_a_user_of_its_own(self) -> None:
        """Nothing runs as root, and no default lets everybody in."""
        found = dict(self.instructions)
        self.assertNotIn(found["USER"], {"root", "0"})
        self.assertNotIn("--allow-open", found["ENTRYPOINT"] + found.get("CMD", ""))
