"""The documents name every setting and every request field that counts by itself, and show what works."""

import re
import tomllib
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Final

import attrs
from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.policy import CREDENTIALS, IMPLIED, Credentials
from buddyproxy.config import (
    NOT_YET_IN_FORCE,
    AdminSettings,
    BreakerSettings,
    CacheSettings,
    Caching,
    Callbacks,
    Config,
    DomainMapping,
    HeaderChanges,
    KeyParts,
    LoggingSettings,
    NamedKey,
    Rule,
    SecuritySettings,
    ServerSettings,
    ThrottlingSettings,
    Timeouts,
)

DOCS: Final = Path(__file__).parents[2] / "docs"

SPAN: Final = re.compile("`([^`]+)`")

CACHING: Final = "Caching, in a mapping and in its rules"
SECTIONS: Final[dict[str, type]] = {
    "server": ServerSettings,
    "security": SecuritySettings,
    "security.keys.NAME": NamedKey,
    "cache": CacheSettings,
    "throttling": ThrottlingSettings,
    "logging": LoggingSettings,
    "admin": AdminSettings,
    "domain_mappings.NAME": DomainMapping,
    CACHING: Caching,
    "domain_mappings.NAME.rules": Rule,
    "domain_mappings.NAME.key": KeyParts,
    "domain_mappings.NAME.timeouts": Timeouts,
    "domain_mappings.NAME.breaker": BreakerSettings,
    "domain_mappings.NAME.request_headers": HeaderChanges,
    "callbacks": Callbacks,
}


def section(document: str, title: str) -> str:
    """Return what stands under the heading `title` of `document`, up to the next one."""
    text = (DOCS / document).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{document} has no section {title!r}"
    return found[1]


def fields_in(text: str) -> Set[bytes]:
    """Return the names of header fields in the paragraph of `text` that begins with one, in lower case."""
    paragraph = next(part for part in text.split("\n\n") if part.startswith("`"))
    return {name.lower().encode("ascii") for name in SPAN.findall(paragraph)}


def own_fields(schema: type) -> Iterator["attrs.Attribute[object]"]:
    """Yield the settings of `schema`, without those for caching where it only shares them."""
    inherits = issubclass(schema, Caching) and schema is not Caching
    shared = {field.name for field in attrs.fields(Caching)} if inherits else set()
    return (field for field in attrs.fields(schema) if field.name not in shared)


def rows(title: str) -> list[list[str]]:
    """Return the cells of each setting's row below the heading `title`."""
    lines = [line for line in section("configuration.md", title).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


class FieldTests(SynchronousTestCase):
    """`docs/rules.md` on request fields that count by themselves."""

    def test_credentials(self) -> None:
        """Every field that tells callers apart is named, and no other."""
        self.assertEqual(fields_in(section("rules.md", "Callers")), CREDENTIALS)

    def test_likely_credentials(self) -> None:
        """What is said to make others credentials does, and those said to be none are none."""
        lines = section("rules.md", "Callers").lower().splitlines()
        likely = [part for line in lines if line.startswith("|") for part in SPAN.findall(line)]
        unlikely = [name for line in lines if line.startswith("but not ") for name in SPAN.findall(line)]
        self.assertEqual(
            [part for part in likely if f"x-{part}".encode("ascii") not in Credentials()],
            [],
        )
        self.assertEqual(unlikely, ["idempotency-key", "x-idempotency-key", "sec-"])
        for name in ("idempotency-key", "x-idempotency-key", "sec-token"):
            self.assertNotIn(name.encode("ascii"), Credentials())

    def test_implied(self) -> None:
        """Every field that has to match although nobody named it in Vary is named, and no other."""
        self.assertEqual(fields_in(section("rules.md", "Variants")), IMPLIED)


class SettingTests(SynchronousTestCase):
    """`docs/configuration.md` on the settings."""

    def test_names(self) -> None:
        """Each section has its settings, in the order of the schema, each with its other names."""
        for title, schema in SECTIONS.items():
            expected = [[field.name, *field.metadata["aliases"]] for field in own_fields(schema)]
            self.assertEqual([SPAN.findall(row[0]) for row in rows(title)], expected, title)

    def test_complete(self) -> None:
        """Every row says of which type a setting is and what it does."""
        for title in SECTIONS:
            for row in rows(title):
                self.assertEqual(len(row), 4, row)
                self.assertTrue(all(row), row)

    def test_defaults(self) -> None:
        """A default in code is a value in TOML that is read as the setting's own; words are for what has none."""
        for title, schema in SECTIONS.items():
            for field, row in zip(own_fields(schema), rows(title), strict=True):
                written = re.fullmatch("`([^`]+)`", row[2])
                if field.default is attrs.NOTHING:
                    self.assertEqual(row[2], "required", row)
                elif written and field.default is not None:
                    value = tomllib.loads(f"value = {written[1]}")["value"]
                    self.assertEqual(field.metadata["read"](value), field.default, row)
                else:
                    self.assertEqual((field.default, written), (None, None), row)

    def test_not_in_force(self) -> None:
        """What has no effect yet is marked, and nothing else is."""
        marked = set()
        for title in SECTIONS:
            where = "domain_mappings.*" if title == CACHING else title.replace("NAME", "*")
            marked |= {f"{where}.{row[0].split('`')[1]}" for row in rows(title) if row[3].startswith("*not yet*")}
        self.assertEqual(marked, NOT_YET_IN_FORCE)


class ExampleTests(SynchronousTestCase):
    """The examples in the README and in `docs/`."""

    def test_examples(self) -> None:
        """Every example of a configuration is a good one."""
        documents = [DOCS.parent / "README.md", *sorted(DOCS.glob("*.md"))]
        examples = [
            example
            for document in documents
            for example in re.findall(
                r"^```toml\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
            )
        ]
        self.assertGreater(len(examples), 3)
        for example in examples:
            self.assertTrue(Config.from_mapping(tomllib.loads(example)).mappings, example)
