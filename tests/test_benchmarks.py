"""The benchmarks: small ones, to see that they measure at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks.report import Figure, as_json, as_table

ROOT = Path(__file__).parent.parent


class ReportTests(SynchronousTestCase):
    figures = (
        Figure.at_most("quick", 0.5, 1, "ms"),
        Figure.at_least("many", 4000, 5000, "/s"),
        Figure("so it is", 0, ""),
    )

    def test_table(self) -> None:
        """A table says what was measured, what was to be reached, and whether it was."""
        expected = [
            "| quick | 0.5 ms | <= 1 | yes |",
            "| many | 4,000 /s | >= 5000 | NO |",
            "| so it is | 0 |  |  |",
        ]
        self.assertEqual(as_table(self.figures).splitlines()[-3:], expected)

    def test_json(self) -> None:
        """Programs are told the same."""
        figures = json.loads(as_json(self.figures))["figures"]
        self.assertEqual([figure["reached"] for figure in figures], [True, False, None])


class CommandTests(SynchronousTestCase):
    def run_benchmarks(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "benchmarks", *arguments]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    def test_store(self) -> None:
        """The store's benchmark measures every figure, says how far it is, and leaves nothing behind."""
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        sizes = ["--entries", "100,200", "--stores", "100", "--rounds", "1", "--kills", "1"]
        result = self.run_benchmarks("store", "--json", "--directory", str(directory.absolute()), *sizes)
        self.assertEqual(result.returncode, 0, result.stderr)
        figures = {figure["name"]: figure for figure in json.loads(result.stdout)["figures"]}
        self.assertEqual(len(figures), 19)
        for name in ("1 kills: committed responses lost", "1 kills: corrupt responses or files"):
            self.assertEqual(figures[name]["value"], 0, name)
        self.assertIn("... killing a writer", result.stderr)
        self.assertEqual(list(directory.iterdir()), [])

    def test_cache(self) -> None:
        """The core's benchmark measures both decisions, and what they come to together."""
        result = self.run_benchmarks("cache", "--json", "--count", "10", "--rounds", "1")
        self.assertEqual(result.returncode, 0, result.stderr)
        choosing, concluding, together = (figure["value"] for figure in json.loads(result.stdout)["figures"])
        self.assertAlmostEqual(together, choosing + concluding)
        self.assertGreater(min(choosing, concluding), 0)

    def test_flow(self) -> None:
        """The flow's benchmark measures every figure, gets the contents right, and leaves nothing behind."""
        directory = Path(self.mktemp())
        directory.mkdir(parents=True)
        result = self.run_benchmarks("flow", "--quick", "--json", "--directory", str(directory.absolute()))
        self.assertEqual(result.returncode, 0, result.stderr)
        figures = {figure["name"]: figure for figure in json.loads(result.stdout)["figures"]}
        self.assertEqual(len(figures), 45)
        # What does not hang on how fast this machine is.
        for name in (
            "20 identical misses at once: requests to the origin",
            "20 identical misses at once: different answers",
            "20 callers joining a stream of 0.5 s: requests to the origin",
            "20 callers joining a stream of 0.5 s: contents that are not the origin's, byte by byte",
            "a reader that stalls after 1 MB: memory",
        ):
            self.assertTrue(figures[name]["reached"], name)
        self.assertIn("... uploading 16 MB by PUT", result.stderr)
        self.assertEqual(list(directory.iterdir()), [])

    def test_flow_parts(self) -> None:
        """A part of the flow's benchmark that does not exist is refused, and told from those that do."""
        result = self.run_benchmarks("flow", "--quick", "--parts", "streams,rivers")
        self.assertEqual(result.returncode, 2)
        self.assertIn("rivers: there are streams, together, large, dripping", result.stderr)

    def test_help(self) -> None:
        """The command line explains itself."""
        result = self.run_benchmarks("store", "--help")
        self.assertIn("--entries", result.stdout)
