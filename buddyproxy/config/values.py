"""Readers of single settings that are no addresses: numbers, names, header fields, secrets, paths.

Each takes what was written and returns its value, or raises `ValueError` saying what is wanted; never what was written,
which may be a secret in the wrong place.
"""

import os.path
import re
import warnings
from collections.abc import Callable
from logging import Logger
from typing import Any, Final

from buddyproxy.config.conditions import parse_condition
from buddyproxy.config.quantities import DAY, LONGEST, parse_duration
from buddyproxy.config.reading import Read, kind
from buddyproxy.message import HOP_BY_HOP

Callback = str | Callable[..., Any]
"""What is called when something happened: the callable, or where to import it from, `"package.module:function"`."""

MEMORY: Final = ":memory:"
SHORTEST_KEY: Final = 16

_MOST: Final = 2**31 - 1
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # surrogates too: no encoding has them
_TCHARS: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # RFC 9110, 5.6.2
_IDENTIFIERS: Final = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*"
_PATH_SEGMENT: Final = r"/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+"


def boolean(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, not {kind(value)}")
    return value


def text(value: object) -> str:
    """Read a string with something in it, and no control characters."""
    if not isinstance(value, str):
        raise ValueError(f"expected a string, not {kind(value)}")
    if not value.strip():
        raise ValueError("must not be empty")
    if _CONTROL.search(value):
        raise ValueError("must not contain control characters")
    return value


def whole(at_least: int = 0, at_most: int = _MOST) -> Read[int]:
    """Return a reader of whole numbers from `at_least` to `at_most`."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(
                f"expected a whole number, not {'a fraction' if isinstance(value, float) else kind(value)}"
            )
        if not at_least <= value <= at_most:
            raise ValueError(f"must be from {at_least} to {at_most}")
        return value

    return read


def number(value: object) -> float:
    """Read a number from 0 on."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"expected a number, not {kind(value)}")
    if not 0 <= value <= _MOST:
        raise ValueError(f"must be from 0 to {_MOST}")
    return float(value)


def above_zero(read: Read[float]) -> Read[float]:
    """Return a reader like `read` that does not take 0."""

    def read_above_zero(value: object) -> float:
        if (found := read(value)) == 0:
            raise ValueError("must be more than 0")
        return found

    return read_above_zero


def ratio(value: object) -> float:
    """Read a number above 0, up to 1."""
    if not 0 < (found := number(value)) <= 1:
        raise ValueError("must be more than 0 and at most 1")
    return found


def days(value: object) -> float:
    """Read a plain number of days; return seconds."""
    if (seconds := number(value) * DAY) > LONGEST:
        raise ValueError(f"must be from 0 to {LONGEST / DAY:.0f}")
    return seconds


def seconds(value: object) -> float:
    """Read a plain number of seconds."""
    return parse_duration(number(value))


def one_of(*choices: str) -> Read[str]:
    """Return a reader of `choices`."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError("expected one of " + ", ".join(f'"{choice}"' for choice in choices))
        return value

    return read


def matching(pattern: str, wanted: str) -> Read[str]:
    """Return a reader of strings which `pattern` matches as a whole; `wanted` describes them to others."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise ValueError(f"expected {wanted}, not {kind(value)}")
        if not compiled.fullmatch(value):
            raise ValueError(f"expected {wanted}")
        return value

    return read


method = matching(_TCHARS, 'a request method such as "GET"')
field_name = matching(_TCHARS, "the name of a header field: letters, digits and hyphens")
parameter = matching(r"[A-Za-z0-9._~-]+", 'the name of a query parameter: letters, digits and any of "._~-"')
name = matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}",
    'a name of 1 to 64 letters, digits and any of "._-", with a letter or a digit first',
)
filter_name = matching(rf"{_IDENTIFIERS}(?::{_IDENTIFIERS})?", 'the name of a filter, or "package.module:function"')
_dotted = matching(rf"{_IDENTIFIERS}:{_IDENTIFIERS}", '"package.module:function"')
_rate = matching(r"[0-9]{1,9}(?:\.[0-9]{1,9})?/s", '"instant", "recorded" or a rate such as "20/s"')
_admin_path = matching(rf"(?:{_PATH_SEGMENT})+/?", 'a path such as "/admin"')


def settable_field(value: object) -> str:
    """Read the name of a header field that may be set: none that describes the connection or the content's length."""
    found = field_name(value)
    if found.lower().encode("ascii") in HOP_BY_HOP | {b"content-length"}:
        raise ValueError("belongs to the connection and cannot be set")
    return found


def field_value(value: object) -> str:
    """Read the value of a header field, without the white space around it (RFC 9110, 5.5); it is sent as UTF-8."""
    if not isinstance(value, str):
        raise ValueError(f"expected a string, not {kind(value)}")
    if _CONTROL.search(value.replace("\t", " ")):
        raise ValueError("must not contain line breaks or other control characters")
    return value.strip(" \t")


def secret_key(value: object) -> str:
    """Read a key that callers show: long enough not to be guessed, and fit for a header, a path and a query."""
    if not isinstance(value, str):
        raise ValueError(f"expected a string, not {kind(value)}")
    if len(value) < SHORTEST_KEY:
        raise ValueError(f"must have at least {SHORTEST_KEY} characters")
    if not re.fullmatch(r"[!-~]+", value):
        raise ValueError("must consist of ASCII letters, digits and punctuation, without spaces")
    return value


def path(value: object) -> str:
    """Read the path of a file, `~` replaced by the home directory."""
    expanded = os.path.expanduser(text(value))
    if expanded.startswith("~"):
        raise ValueError("begins with the home directory of a user who is not known here")
    return expanded


def database_path(value: object) -> str:
    """Read the path of a database, or ":memory:"."""
    return MEMORY if value == MEMORY else path(value)


def admin_path(value: object) -> str:
    """Read an absolute path of one or more plain segments; a slash at its end is left out."""
    return _admin_path(value).rstrip("/")


def error_status(value: object) -> int:
    """Read the status of an error used as a key: a number, or its three digits (RFC 9110, 15.5 and 15.6)."""
    if isinstance(value, str) and re.fullmatch("[0-9]{3}", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 400 <= value <= 599:
        raise ValueError("expected the status of an error, from 400 to 599")
    return value


def level(value: object) -> str:
    """Read the name of a standard log level; return it in upper case."""
    return one_of(*_LEVELS)(value.upper() if isinstance(value, str) else value)


def parent_logger(value: object) -> str | Logger:
    """Read the name of a logger, or the logger itself."""
    return value if isinstance(value, Logger) else text(value)


def callback(value: object) -> Callback:
    """Read a callable, or where to import it from."""
    return value if callable(value) else _dotted(value)


def replay(value: object) -> str:
    """Read how fast a stored stream is sent again."""
    if value in ("instant", "recorded"):
        return str(value)
    if float(_rate(value).removesuffix("/s")) == 0:
        raise ValueError("must be more than 0")
    return str(value)


def condition(value: object) -> str:
    """Read a condition on JSON content."""
    written = text(value)
    parse_condition(written)
    return written


def path_glob(value: object) -> str:
    """Read a pattern for paths in which `*` stands for any characters and `?` for any one byte."""
    pattern = text(value)
    if not pattern.startswith(("/", "*")):
        raise ValueError('expected a pattern for paths such as "/models*", with "/" or "*" first')
    return pattern


def path_regex(value: object) -> str:
    """Read a regular expression for paths, which are matched percent-encoded, as bytes."""
    pattern = text(value)
    if not pattern.isascii():
        raise ValueError("must be ASCII: paths are matched percent-encoded")
    try:
        with warnings.catch_warnings(action="ignore"):  # what only may change its meaning one day is no problem
            re.compile(pattern.encode("ascii"))
    except (re.error, OverflowError, RecursionError, ValueError) as error:
        raise ValueError(f"not a regular expression that can be used: {_fault(error)}") from error
    return pattern


def _fault(error: Exception) -> str:
    """Return what is wrong with a regular expression, and where, counted from 1."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if not isinstance(error, re.error):
        return "a number in it is too large"
    # What the group was called may be anything.
    message = re.sub("(?<=group name) .*", "", error.msg)
    return message if error.pos is None else f"{message} (at character {error.pos + 1})"


def parameter_pattern(value: object) -> str:
    """Read the name of a query parameter, or how names begin, with `*` behind."""
    pattern = text(value)
    if "*" in pattern[:-1]:
        raise ValueError('expected the name of a query parameter, or how names begin with "*" at the end')
    return pattern


def member_path(value: object) -> str:
    """Read where a member of JSON content stands: the names that lead to it from the top, with dots between them."""
    names = text(value)
    if "" in names.split("."):
        raise ValueError('expected names with dots between them, such as "metadata.user"')
    return names
