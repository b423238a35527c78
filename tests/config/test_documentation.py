"""The documents name what there is: every field that counts without being configured, every setting."""

import re
from collections.abc import Set
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from buddyproxy.cache.policy import CREDENTIALS, IMPLIED

DOCS = Path(__file__).parents[2] / "docs"


def section(document: str, title: str) -> str:
    """Return what stands under the heading `title` of `document`, up to the next one."""
    text = (DOCS / document).read_text(encoding="utf-8")
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", text, re.DOTALL | re.MULTILINE)
    assert found is not None, f"{document} has no section {title!r}"
    return found[1]


def fields_in(text: str) -> Set[bytes]:
    """Return the names of header fields in the paragraph of `text` that begins with one, in lower case."""
    paragraph = next(part for part in text.split("\n\n") if part.startswith("`"))
    return {name.lower().encode("ascii") for name in re.findall("`([^`]+)`", paragraph)}


class FieldTests(SynchronousTestCase):
    """`docs/rules.md` on request fields that count by themselves."""

    def test_credentials(self) -> None:
        """Every field that tells callers apart is named, and no other."""
        self.assertEqual(fields_in(section("rules.md", "Callers")), CREDENTIALS)

    def test_implied(self) -> None:
        """Every field that has to match although nobody named it in Vary is named, and no other."""
        self.assertEqual(fields_in(section("rules.md", "Variants")), IMPLIED)
