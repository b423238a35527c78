"""However buddyproxy is installed, `twistd` finds it.

Each test installs a copy of the tree into a virtual environment of its own, to which the running environment lends its
other packages, and looks *where* package and plugin were found.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("LICENSE", "README.md", "buddyproxy", "pyproject.toml", "setup.cfg", "tests", "twisted")
DESCRIPTION = "A caching reverse proxy for the HTTP APIs a program pays for"

FIND = """
# What is found, what was loaded in finding it, and what stands where once its options are asked for.
import json, sys
from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins

found = [plugin for plugin in getPlugins(IServiceMaker) if plugin.tapname == "buddyproxy"]
loaded = sorted(name for name in sys.modules if name.startswith(("buddyproxy", "treq")))
options = [plugin.options() for plugin in found]
modules = "buddyproxy", "buddyproxy.tap", "twisted.plugins.buddyproxy_plugin"
print(json.dumps({
    "found": [[plugin.module, plugin.description] for plugin in found],
    "loaded": loaded,
    "files": [sys.modules[name].__file__ for name in modules],
}))
"""

TWISTD = "from twisted.scripts.twistd import run; run()"
TWIST = "import sys; from twisted.application.twist._twist import Twist; Twist.main(sys.argv)"


def run(*command: str | Path, cwd: Path) -> str:
    """Return what `command` printed; raise with all of it where the command failed or took longer than two minutes."""
    # Without PYTHONPATH, which could lend the command a buddyproxy that was not installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"{done.args} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def copy_sources(to: Path) -> Path:
    """Return a new copy of what a build needs, without anything an earlier build left."""
    to.mkdir()
    leftovers = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=leftovers)
        else:
            shutil.copy(source, to / name)
    return to


def link(source: Path, to: Path) -> None:
    """Link into `to` the packages of `source`, which may hold a buddyproxy, without it, its plugin and path files."""
    to.mkdir(exist_ok=True)
    for entry in source.iterdir():
        if entry.name in {"twisted", "plugins"}:
            link(entry, to / entry.name)
        elif not entry.name.startswith("buddyproxy") and entry.name != "dropin.cache" and entry.suffix != ".pth":
            (to / entry.name).symlink_to(entry)


@frozen
class Environment:
    """A virtual environment with nothing in it but what is installed here."""

    directory: Path

    @classmethod
    def create(cls, directory: Path) -> "Environment":
        """Return a new environment in `directory`."""
        venv.create(directory, with_pip=False, symlinks=True)
        return cls(directory)

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.directory / "bin" / "python"

    @property
    def packages(self) -> Path:
        """Where the environment's packages are."""
        return self.directory / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"

    def install(self, *what: str | Path, cwd: Path) -> None:
        """Install `what`; its dependencies, and what it is built with, are lent by the running environment."""
        lent = self.directory / "lent"
        for directory in dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib")):
            link(Path(directory), lent)
        (self.packages / "lent.pth").write_text(f"{lent}\n")
        flags = ("--no-deps", "--no-build-isolation", "--disable-pip-version-check")
        run(sys.executable, "-m", "pip", "--python", self.python, "install", *flags, *what, cwd=cwd)

    def python_says(self, program: str, *arguments: str, cwd: Path) -> str:
        """Return what `program` prints; it sees neither the working directory nor the caller's path."""
        return run(self.python, "-I", "-c", program, *arguments, cwd=cwd)


class InstalledTests(SynchronousTestCase):
    """The plugin, found from each kind of install."""

    def setUp(self) -> None:
        """Prepare an empty environment, and a copy of the sources to install from."""
        directory = TemporaryDirectory(prefix="buddyproxy-test-")
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name).resolve()
        self.sources = copy_sources(self.directory / "sources")
        self.environment = Environment.create(self.directory / "environment")
        self.elsewhere = self.directory / "elsewhere"
        self.elsewhere.mkdir()

    def assert_found_in(self, place: Path) -> None:
        """Assert that `twistd` and `twist` list the buddyproxy in `place`, and that its options load."""
        for program in (TWISTD, TWIST):
            says = " ".join(self.environment.python_says(program, "--help", cwd=self.elsewhere).split())
            self.assertIn(f"buddyproxy {DESCRIPTION}", says)
        known = json.loads(self.environment.python_says(FIND, cwd=self.elsewhere))
        self.assertEqual(known["found"], [["buddyproxy.tap", DESCRIPTION]])
        files = ("buddyproxy/__init__.py", "buddyproxy/tap.py", "twisted/plugins/buddyproxy_plugin.py")
        self.assertEqual([Path(file) for file in known["files"]], [place / file for file in files])
        self.assertEqual(known["loaded"], [], "finding the plugin loads no more than the plugin")

    def test_wheel(self) -> None:
        """A wheel brings the plugin, and only what belongs to buddyproxy."""
        wheels = self.directory / "wheels"
        flags = ("--no-deps", "--no-build-isolation", "--wheel-dir", wheels)
        run(sys.executable, "-m", "pip", "wheel", *flags, self.sources, cwd=self.elsewhere)
        self.environment.install(*wheels.glob("buddyproxy-*.whl"), cwd=self.elsewhere)
        self.assert_found_in(self.environment.packages)
        installed = {path.name for path in self.environment.packages.iterdir() if path.is_dir()}
        self.assertEqual({name for name in installed if not name.endswith(".dist-info")}, {"buddyproxy", "twisted"})

    def test_directory(self) -> None:
        """`pip install .` brings the plugin."""
        self.environment.install(".", cwd=self.sources)
        self.assert_found_in(self.environment.packages)

    def test_editable(self) -> None:
        """`pip install -e .` lets twistd find the plugin where it is being edited."""
        self.environment.install("-e", ".", cwd=self.sources)
        self.assert_found_in(self.sources)
