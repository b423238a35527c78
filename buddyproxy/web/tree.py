"""The resource tree: the proxy's own pages by name, and everything else for the mappings."""

from collections.abc import Mapping

from twisted.web.resource import IResource, Resource

from buddyproxy import __version__
from buddyproxy.web.pages import Branch, Missing, text_page

_EXAMPLE = """\
No mapping leads anywhere yet. Name one when you start buddyproxy,

    twistd -n buddyproxy --port tcp:8080 --map openai=https://api.openai.com/v1

or in buddyproxy.toml,

    [domain_mappings.openai]
    upstream = "https://api.openai.com/v1"

and use the path /openai of this proxy in place of https://api.openai.com/v1.
"""


_LOCKED = "This proxy needs its key.\n"


def tree(proxied: IResource, pages: Mapping[str, IResource]) -> Resource:
    """Return the root resource: `pages` by their paths, and `proxied` for everything else."""
    children: dict[bytes, IResource] = {}
    for path, page in pages.items():
        first, *rest = (segment.encode("ascii") for segment in path.removeprefix("/").split("/"))
        for segment in reversed(rest):
            page = Branch({segment: page}, Missing())
        children[first] = page
    return Branch(children, proxied)


def landing_page(upstreams: Mapping[str, str], *, locked: bool = False) -> Resource:
    """Return the page at `/`: where the mappings lead, or how to add one. `upstreams` are URLs by mapping name.

    Where the proxy is `locked` behind a key, the page tells a stranger no more than that.
    """
    return text_page(_title() + (_LOCKED if locked else landing_text(upstreams)))


def _title() -> str:
    return f"buddyproxy {__version__}, a caching proxy for HTTP APIs\n\n"


def landing_text(upstreams: Mapping[str, str]) -> str:
    """Return what a newcomer needs to know."""
    if not upstreams:
        return _EXAMPLE
    width = max(len(name) for name in upstreams) + 2
    lines = [f"    {'/' + name:{width}} {upstream}" for name, upstream in sorted(upstreams.items())]
    return "Use these paths of this proxy in place of the addresses behind them:\n\n" + "\n".join(lines) + "\n"
