"""Tests of `buddyproxy.config.files`."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.config import Config, check_files, default_cache_path, discover, load, merge
from buddyproxy.errors import ConfigurationError

URL = "https://api.example/v1"
OTHER = "https://other.example"


class FilesTestCase(SynchronousTestCase):
    """A directory to write files in."""

    def setUp(self) -> None:
        """Make the directory."""
        temporary = TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.directory = Path(temporary.name)

    def write(self, name: str, content: str | bytes = "") -> Path:
        """Write a file and return its path."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path


class LoadTests(FilesTestCase):
    """`load` returns what a file says."""

    def test_toml(self) -> None:
        """A file is TOML unless its name says otherwise, and a byte order mark before it does no harm."""
        for name in ("a.toml", "a.conf", "a"):
            path = self.write(name, b'\xef\xbb\xbf[domain_mappings]\r\napi = "' + URL.encode() + b'"\r\n')
            self.assertEqual(load(path), {"domain_mappings": {"api": URL}})
            self.assertEqual(load(str(path)), {"domain_mappings": {"api": URL}})

    def test_json(self) -> None:
        """A file whose name ends in .json is JSON."""
        path = self.write("a.JSON", '{"server": {"port": 0}, "cache": null}')
        self.assertEqual(load(path), {"server": {"port": 0}, "cache": None})

    def test_malformed(self) -> None:
        """A file that is not well-formed is a problem with the file's name, and the place where it is known."""
        cases: list[tuple[str, str | bytes, str]] = [
            ("a.toml", "a = 1\nb = = 2\n", "Invalid value (at line 2, column 5)"),
            ("b.toml", "[a]\n[a]\n", "Cannot declare ('a',) twice (at line 2, column 3)"),
            ("c.toml", b"a = 1\nb = '\xff'", "is not UTF-8 text (at line 2, column 6)"),
            ("d.toml", "a = " + "[" * 20000, "is nested too deeply"),
            ("a.json", '{"a": 1,\n "b"}', "Expecting ':' delimiter (at line 2, column 5)"),
            ("b.json", '{"a": 1, "a": 2}', "a is given twice in one table"),
            ("c.json", '{"a": NaN}', "NaN is no number in JSON"),
            ("d.json", '{"a": -Infinity}', "-Infinity is no number in JSON"),
            ("e.json", "[]", "expected a table of settings, not a list"),
            ("f.json", "", "Expecting value (at line 1, column 1)"),
            ("g.json", b'{"\xff"}', "is not UTF-8 text (at line 1, column 3)"),
            ("h.json", "[" * 200000, "is nested too deeply"),
        ]
        for name, content, message in cases:
            with self.subTest(name=name):
                path = self.write(name, content)
                error = self.assertRaises(ConfigurationError, load, path)
                self.assertEqual([str(problem) for problem in error.problems], [f"{path}: {message}"])

    def test_unreadable(self) -> None:
        """A file that is not there, or is none, is a problem with the file's name."""
        for path, message in [
            (self.directory / "none.toml", "cannot be read: No such file or directory"),
            (self.directory, "cannot be read: Is a directory"),
            (self.write("file") / "below.toml", "cannot be read: Not a directory"),
            ("a\0b", "embedded null byte"),
        ]:
            with self.subTest(path=path):
                error = self.assertRaises(ConfigurationError, load, path)
                self.assertEqual([str(problem) for problem in error.problems], [f"{path}: {message}"])

    def test_secrets(self) -> None:
        """What is said of a malformed file repeats nothing of it."""
        for name, content in [
            ("a.toml", "[security]\nsecure_key = s3cret"),
            ("b.toml", 'secure_key = "s3cret\n'),
            ("a.json", '{"secure_key": s3cret}'),
            ("b.json", '{"secure_key": "s3cret\n"}'),
        ]:
            self.assertNotIn("s3cret", str(self.assertRaises(ConfigurationError, load, self.write(name, content))))

    def test_relative_paths(self) -> None:
        """Relative paths are relative to the file, wherever they stand and whatever the working directory is."""
        path = self.write(
            "conf/a.toml",
            f"""
            domain_mappings.api = {{upstream = "{URL}", ca_file = "ca.pem", rules = [{{path = "*relative"}}]}}
            domain_mappings.ca_file = "{URL}"
            security.secure_key_file = "../key"
            logging.file_path = "/var/log/x"
            cache.database_path = "cache.sqlite"
            throttling.domain_limits.file_path = 5
            """,
        )
        config = Config.from_mapping(load(os.path.relpath(path)))
        below = Path(os.path.relpath(self.directory)).absolute() / "conf"
        self.assertEqual(config.domain_mappings["api"].ca_file, str(below / "ca.pem"))
        self.assertEqual(config.domain_mappings["api"].rules[0].path, "*relative")
        self.assertEqual(config.security.secure_key_file, str(below / "../key"))
        self.assertEqual(config.logging.file_path, "/var/log/x")
        self.assertEqual(config.cache.database_path, str(below / "cache.sqlite"))

    def test_paths_that_stay(self) -> None:
        """The home directory, the store in memory and what is no path at all are not relative to anything."""
        path = self.write("a.json", '{"origin": {"ca_file": "~/ca"}, "cache": {"database_path": ":memory:"}}')
        self.assertEqual(load(path), {"origin": {"ca_file": "~/ca"}, "cache": {"database_path": ":memory:"}})
        path = self.write("b.json", '{"origin": {"ca_file": ""}, "logging": {"file_path": 5}, "unknown": {"x": "y"}}')
        self.assertEqual(load(path), {"origin": {"ca_file": ""}, "logging": {"file_path": 5}, "unknown": {"x": "y"}})


class MergeTests(SynchronousTestCase):
    """`merge` lays one mapping over another."""

    def test_merge(self) -> None:
        """Tables are joined; the rest is replaced, whatever name or spelling it had; None replaces nothing."""
        cases: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
            ({}, {}, {}),
            ({"server": {"port": 1}}, {"server": {"host": "::1"}}, {"server": {"port": 1, "host": "::1"}}),
            ({"server": {"port": 1}}, {"server": {"port": 2}}, {"server": {"port": 2}}),
            ({"server": {"port": 1}}, {"server": {"port": None}}, {"server": {"port": 1}}),
            ({"server": {"port": 1}}, {"server": None, "cache": {}}, {"server": {"port": 1}, "cache": {}}),
            ({"server": {"endpoints": [1]}}, {"server": {"endpoints": [2]}}, {"server": {"endpoints": [2]}}),
            ({"server": 5}, {"server": {"port": 2}}, {"server": {"port": 2}}),
            ({"server": {"port": 2}}, {"server": 5}, {"server": 5}),
            ({"typo": {"a": 1}}, {"typo": {"b": 2}}, {"typo": {"a": 1, "b": 2}}),
            ({"cache": {"default_ttl_days": 1}}, {"cache": {"default_ttl": "1h"}}, {"cache": {"default_ttl": "1h"}}),
            ({"cache": {"default_ttl": 1}}, {"cache": {"default_ttl_days": 2}}, {"cache": {"default_ttl_days": 2}}),
            ({"cache": {"default_ttl": 1}}, {"cache": {"default_ttl_days": None}}, {"cache": {"default_ttl": 1}}),
            (
                {"security": {"secure_key_file": "f"}},
                {"security": {"secure_key": "k"}},
                {"security": {"secure_key": "k"}},
            ),
            (
                {"domain_mappings": {"ttl": URL}},
                {"domain_mappings": {"ttl_seconds": OTHER}},
                {"domain_mappings": {"ttl": URL, "ttl_seconds": {"upstream": OTHER}}},
            ),
            (
                {"domain_mappings": {"api": URL}},
                {"domain_mappings": {"api": {"ttl": 5}}},
                {"domain_mappings": {"api": {"upstream": URL, "ttl": 5}}},
            ),
            (
                {"domain_mappings": {"api": {"upstream": URL, "ttl_seconds": 5}}},
                {"domain_mappings": {"api": OTHER}},
                {"domain_mappings": {"api": {"upstream": OTHER, "ttl_seconds": 5}}},
            ),
            ({"origin": {"ttl_seconds": 1}}, {"origin": {"ttl": 2}}, {"origin": {"ttl": 2}}),
        ]
        for base, override, expected in cases:
            with self.subTest(base=base, override=override):
                before = repr((base, override))
                self.assertEqual(merge(base, override), expected)
                self.assertEqual(repr((base, override)), before)


class PlacesTests(FilesTestCase):
    """Where files are looked for."""

    def test_discover(self) -> None:
        """The working directory's file comes first, then the one in the user's configuration."""
        home, config = self.directory / "home", self.directory / "config"
        environ = {"HOME": str(home), "XDG_CONFIG_HOME": str(config)}
        (self.directory / "buddyproxy.toml").mkdir()
        self.assertIsNone(discover(self.directory, environ))
        in_home = self.write("home/.config/buddyproxy/buddyproxy.toml")
        self.assertIsNone(discover(self.directory, environ))
        self.assertIsNone(discover(self.directory, {}))
        self.assertEqual(discover(self.directory, {"HOME": str(home)}), in_home)
        self.assertEqual(discover(self.directory, {"HOME": str(home), "XDG_CONFIG_HOME": "relative"}), in_home)
        in_config = self.write("config/buddyproxy/buddyproxy.toml")
        self.assertEqual(discover(self.directory, environ), in_config)
        here = self.write("here/buddyproxy.toml")
        self.assertEqual(discover(self.directory / "here", environ), here)

    def test_default_cache_path(self) -> None:
        """The cache is where the XDG specification has it; values that are not absolute do not count."""
        for environ, expected in [
            ({"XDG_CACHE_HOME": "/c", "HOME": "/h"}, "/c/buddyproxy/cache.sqlite"),
            ({"XDG_CACHE_HOME": "", "HOME": "/h"}, "/h/.cache/buddyproxy/cache.sqlite"),
            ({"XDG_CACHE_HOME": "c", "HOME": "/h"}, "/h/.cache/buddyproxy/cache.sqlite"),
        ]:
            self.assertEqual(default_cache_path(environ), Path(expected))

    def test_no_place(self) -> None:
        """Without a home there is no place for the cache, and the problem says which setting is needed."""
        for environ in ({}, {"HOME": ""}, {"HOME": "h"}):
            error = self.assertRaises(ConfigurationError, default_cache_path, environ)
            self.assertEqual(str(error), "cache.database_path: is needed, since HOME is not set")


class CheckTests(FilesTestCase):
    """`check_files` looks for the files a configuration names."""

    def test_check(self) -> None:
        """Files that are there are no problem; each that is missing, or is none, is one."""
        key = str(self.write("key"))
        missing = str(self.directory / "missing")
        good = {
            "security": {"secure_key_file": key},
            "domain_mappings": {"a": {"upstream": URL, "ca_file": key}, "b": URL},
        }
        self.assertEqual(check_files(Config.from_mapping(good)), [])
        bad = {
            "security": {"secure_key_file": missing},
            "domain_mappings": {"a.b": {"upstream": URL, "ca_file": str(self.directory)}},
        }
        self.assertEqual(
            [str(problem) for problem in check_files(Config.from_mapping(bad))],
            [
                "security.secure_key_file: cannot be read: No such file or directory",
                'domain_mappings."a.b".ca_file: cannot be read: Is a directory',
            ],
        )
        origin = Config.from_mapping({"origin": {"upstream": URL, "ca_file": missing}})
        self.assertEqual([problem.path for problem in check_files(origin)], ["origin.ca_file"])

    @skipIf(os.geteuid() == 0, "root may read everything")
    def test_not_permitted(self) -> None:
        """A file nobody may read is a problem."""
        path = self.write("key")
        path.chmod(0)
        (problem,) = check_files(Config.from_mapping({"security": {"secure_key_file": str(path)}}))
        self.assertEqual(problem.message, "cannot be read: Permission denied")
        self.assertIn("Permission denied", str(self.assertRaises(ConfigurationError, load, path)))
