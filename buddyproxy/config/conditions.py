"""Conditions on JSON as people write them: `error`, `choices[*].finish_reason = "length"`, `[0].code != 0`."""

import json
import re
from functools import cached_property
from typing import Final, Literal

from attrs import field, frozen

Step = str | int | None
"""To the member of that name, to the element of that number, or (None) to each of them."""

Scalar = str | int | float | bool | None

# A name stands behind a dot or, whatever is in it, as a string in brackets.
_STEP: Final = re.compile(
    r'\.(?P<name>[^\s.\[\]="!]+)|\[(?:(?P<each>\*)|(?P<index>[0-9]{1,9})|(?P<string>"(?:[^"\\]|\\.)*"))\]'
)
_COMPARISON: Final = re.compile(r"\s*(?P<relation>==?|!=)\s*(?P<value>\S.*?)\s*")

_WANTED: Final = (
    'expected a condition on JSON such as "error", "status != 0" or "choices[*].finish_reason = \\"length\\"": '
    "where to look, and a string, a number, true, false or null to compare with"
)


@frozen
class Condition:
    """Where to look in a JSON text, and what to look for there."""

    path: tuple[Step, ...]
    relation: Literal["exists", "=", "!="] = "exists"
    value: Scalar = None
    text: str = field(default="", eq=False)
    """It, as it was written."""

    @cached_property
    def literals(self) -> tuple[bytes, ...]:
        """Return what a JSON text that meets it holds word for word, unless it has escapes."""
        strings = [step for step in self.path if isinstance(step, str)]
        if self.relation == "=" and isinstance(self.value, str):
            strings.append(self.value)
        return tuple(json.dumps(string, ensure_ascii=False).encode("utf-8", "replace") for string in strings)


def parse_condition(text: str) -> Condition:
    """Return the condition that `text` writes down. Raises `ValueError`, saying what is accepted."""
    written = text.strip()
    # As in JSONPath, `$` may stand for the whole.
    written = written[1:] if written.startswith("$") else written if written.startswith("[") else f".{written}"
    path: list[Step] = []
    position = 0
    while step := _STEP.match(written, position):
        path.append(_step(step))
        position = step.end()
    if not path:
        raise ValueError(_WANTED)
    if position == len(written):
        return Condition(tuple(path), text=text.strip())
    comparison = _COMPARISON.fullmatch(written, position)
    if comparison is None:
        raise ValueError(_WANTED)
    value = _value(comparison["value"])
    return Condition(tuple(path), "!=" if comparison["relation"] == "!=" else "=", value, text.strip())


def _step(match: re.Match[str]) -> Step:
    if match["each"]:
        return None
    if match["index"]:
        return int(match["index"])
    return match["name"] or str(_value(match["string"]))


def _value(text: str) -> Scalar:
    """Return what `text` stands for in JSON, where that has no parts."""

    def refuse(constant: str) -> None:
        raise ValueError(_WANTED)

    try:
        value = json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(_WANTED) from error
    if isinstance(value, list | dict):
        raise ValueError(_WANTED)
    found: Scalar = value
    return found
