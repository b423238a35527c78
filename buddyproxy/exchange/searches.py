"""What the resources at each path last said of their queries: by that, requests are looked up."""

from typing import Final

from attrs import define, field

from buddyproxy.cache.conclude import Arrival
from buddyproxy.cache.search import Search, search_of

PATHS: Final = 1000
"""For how many paths that is known; the one last heard of longest ago goes first. What is forgotten costs a miss."""


@define(eq=False)
class Searches:
    """Remembers No-Vary-Search by path."""

    _by_path: dict[bytes, Search] = field(factory=dict)

    def of(self, uri: bytes) -> Search | None:
        """Return what the resource at the path of `uri` last said."""
        return self._by_path.get(uri.partition(b"?")[0])

    def learn(self, arrival: Arrival) -> bool:
        """Take in what a response says, if it is one to learn from; return whether that is news."""
        if arrival.response.status != 200 or arrival.request.method == b"HEAD":
            return False
        path, search = arrival.uri.partition(b"?")[0], search_of(arrival.response.headers)
        known = self._by_path.pop(path, None)
        if search is not None:
            self._by_path[path] = search
            if len(self._by_path) > PATHS:
                del self._by_path[next(iter(self._by_path))]
        return search != known
