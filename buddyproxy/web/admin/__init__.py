"""The operator's doors; so far the one that tells whether it is up."""

from twisted.web.resource import Resource

from buddyproxy import __version__
from buddyproxy.web.pages import Branch, Missing, json_page


def admin_resource() -> Resource:
    """Return the resource tree that stands under `admin.path`."""
    return Branch({b"health": json_page(lambda: {"status": "ok", "version": __version__})}, Missing())
