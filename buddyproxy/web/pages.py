"""Pages of the proxy's own, and how they hang together in a resource tree."""

from collections.abc import Callable, Mapping

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as ServerRequest

from buddyproxy.web.delivery import deliver_json, deliver_text


class Page(Resource):
    """One page: GET and HEAD are answered by `send`, other methods with 405 (RFC 9110, 15.5.6)."""

    isLeaf = True

    def __init__(self, send: Callable[[ServerRequest], None]) -> None:
        super().__init__()
        self._send = send

    def render(self, request: ServerRequest) -> int:
        """Answer the request."""
        if request.postpath:
            return _missing(request)
        if request.method in (b"GET", b"HEAD"):
            self._send(request)
        else:
            error = {"code": "method-not-allowed", "message": "this page answers GET and HEAD"}
            deliver_json(request, 405, {"error": error}, (b"Allow", b"GET, HEAD"))
        return NOT_DONE_YET


class Missing(Resource):
    """What stands where there is no page."""

    isLeaf = True

    def render(self, request: ServerRequest) -> int:
        """Answer 404."""
        return _missing(request)


class Branch(Resource):
    """Named children, and one for every other name."""

    def __init__(self, children: Mapping[bytes, IResource], rest: IResource) -> None:
        super().__init__()
        for name, child in children.items():
            self.putChild(name, child)
        self._rest = rest

    def getChild(self, path: bytes, request: ServerRequest) -> IResource:
        """Return what answers for a name that has no child of its own."""
        return self._rest

    def render(self, request: ServerRequest) -> int:
        """Answer for this very path, which is a page's only with a slash behind it."""
        result: int = self._rest.render(request)
        return result


def json_page(document: Callable[[], object]) -> Page:
    """Return a page that shows a JSON document, made anew for each request."""
    return Page(lambda request: deliver_json(request, 200, document()))


def text_page(text: str) -> Page:
    """Return a page that shows plain text."""
    return Page(lambda request: deliver_text(request, 200, text))


def _missing(request: ServerRequest) -> int:
    deliver_json(request, 404, {"error": {"code": "unknown-page", "message": "there is no such page"}})
    return NOT_DONE_YET
