"""Configuration files: where they are, what is in them, and what they name on disk.

The only part of the configuration that opens files. The environment is an argument.
"""

import json
import os
import os.path
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, cast

from buddyproxy.config import values
from buddyproxy.config.reading import Table, inside, join, kind, merged, quoted
from buddyproxy.config.schema import ORIGIN, Config
from buddyproxy.errors import ConfigurationError, Problem

FILE_NAME: Final = "buddyproxy.toml"

_PROGRAM: Final = "buddyproxy"
_ROOT: Final = Table(Config)


def load(path: str | os.PathLike[str]) -> Mapping[str, object]:
    """Return what the file at `path` says: JSON where its name ends in .json, TOML otherwise.

    Relative paths in it, which are relative to the file's directory, come back absolute. Raises `ConfigurationError`
    with the file's name in place of a path where it cannot be read or is not well-formed.
    """
    file = Path(path)
    try:
        parsed = _parse(file.read_bytes(), is_json=file.suffix.lower() == ".json")
    except OSError as error:
        raise _refused(file, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line, column = _position(error.object, error.start)
        raise _refused(file, f"is not UTF-8 text (at line {line}, column {column})") from error
    except json.JSONDecodeError as error:
        raise _refused(file, f"{error.msg} (at line {error.lineno}, column {error.colno})") from error
    except RecursionError as error:
        raise _refused(file, "is nested too deeply") from error
    except ValueError as error:  # tomllib's own, which knows the line and the column, and what we refuse in JSON
        raise _refused(file, str(error)) from error
    if not isinstance(parsed, dict):
        raise _refused(file, f"expected a table of settings, not {kind(parsed)}")
    return {name: _anchored(inside(_ROOT, name), value, file.absolute().parent) for name, value in parsed.items()}


def merge(base: Mapping[str, object], override: Mapping[str, object]) -> Mapping[str, object]:
    """Return `base` with `override` laid over it: tables are joined, everything else is replaced.

    A setting in `override` also takes the place of its other spellings and alternatives in `base`, and a mapping given
    as a URL is a table with that `upstream`. None in `override` means "not given".
    """
    return cast(Mapping[str, object], merged(_ROOT, base, override))


def discover(cwd: Path, environ: Mapping[str, str]) -> Path | None:
    """Return the configuration file to use where none is named: in `cwd`, or else in the user's configuration."""
    directories = [cwd]
    if home := _xdg(environ, "XDG_CONFIG_HOME", ".config"):
        directories.append(home / _PROGRAM)
    files = (directory / FILE_NAME for directory in directories)
    return next((file for file in files if os.path.isfile(file)), None)


def default_cache_path(environ: Mapping[str, str]) -> Path:
    """Return where the cache is kept when the configuration does not say.

    Raises `ConfigurationError` where the environment names no directory for it.
    """
    home = _xdg(environ, "XDG_CACHE_HOME", ".cache")
    if home is None:
        raise ConfigurationError([Problem("cache.database_path", "is needed, since HOME is not set")])
    return home / _PROGRAM / "cache.sqlite"


def check_files(config: Config) -> list[Problem]:
    """Return a problem for each file that `config` names and that is not there to be read."""
    return [
        Problem(where, f"cannot be read: {reason}")
        for where, file in _files(config)
        if file is not None and (reason := _unreadable(file))
    ]


def read_key(file: str) -> str:
    """Return the secure key in `file`, white space around it left out.

    Raises OSError where it cannot be read, ValueError where it holds none that will do.
    """
    return values.secret_key(Path(file).read_text(encoding="utf-8").strip())


def _files(config: Config) -> Iterator[tuple[str, str | None]]:
    yield "security.secure_key_file", config.security.secure_key_file
    if config.origin is not None:
        yield f"{ORIGIN}.ca_file", config.origin.ca_file
    for name, mapping in config.domain_mappings.items():
        yield join("domain_mappings", f"{quoted(name)}.ca_file"), mapping.ca_file


def _unreadable(file: str) -> str | None:
    try:
        mode = os.stat(file).st_mode
    except OSError as error:
        return error.strerror
    if stat.S_ISDIR(mode):
        return "Is a directory"
    return None if os.access(file, os.R_OK) else "Permission denied"


def _xdg(environ: Mapping[str, str], variable: str, below_home: str) -> Path | None:
    """Return a base directory; None where neither `variable` nor HOME is an absolute path, as the others do not count.

    XDG Base Directory Specification, "Environment variables".
    """
    candidates = [environ.get(variable, "")]
    if home := environ.get("HOME"):
        candidates.append(os.path.join(home, below_home))
    return next((Path(directory) for directory in candidates if os.path.isabs(directory)), None)


def _parse(content: bytes, *, is_json: bool) -> object:
    text = content.decode("utf-8-sig")
    if is_json:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    return tomllib.loads(text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table: dict[str, object] = {}
    for name, value in pairs:
        if name in table:
            raise ValueError(f"{quoted(name)} is given twice in one table")
        table[name] = value
    return table


def _no_constant(constant: str) -> object:
    raise ValueError(f"{constant} is no number in JSON")


def _anchored(read: object, value: object, directory: Path) -> object:
    """Return `value`, written for `read`, with the paths in it made absolute."""
    if isinstance(value, Mapping):
        return {name: _anchored(inside(read, name), part, directory) for name, part in value.items()}
    if read not in (values.path, values.database_path) or not isinstance(value, str):
        return value
    # An empty string is a problem, which anchoring would hide; what begins with "~" is absolute already.
    stays = not value.strip() or value == values.MEMORY or value.startswith("~")
    return value if stays else str(directory / value)


def _position(content: bytes, offset: int) -> tuple[int, int]:
    before = content[:offset]
    return before.count(b"\n") + 1, offset - before.rfind(b"\n")


def _refused(file: Path, message: str) -> ConfigurationError:
    return ConfigurationError([Problem(str(file), message)])
