"""Speaks HTTP to origin servers, through treq on pooled connections, and changes nothing on the way.

The one place that knows how requests travel. `Upstream.send` takes a request that is ready to go and returns an
`Incoming`: the head of the answer, and the means to have its content delivered, paused or given up. `Upstream.switch`
does so with a request to go on in another protocol; where the origin agrees, it returns a `Switched`, the connection
itself. Neither knows of mappings, caching or callers.

Inside, from the wire up: `wire` and `connection` (Twisted's client, held to the bytes), `pool` (the connections to one
origin), `trust` (TLS), `agent` (from a request to a connection), `transparent` (treq's client, less its conveniences),
`sending`, `incoming` and `tunnel` (the interface), with `patience` (every limit in time) and `failures` (every error in
words) beside them.
"""

from buddyproxy.upstream.connection import end_in_order
from buddyproxy.upstream.incoming import Incoming, Interim, Sink
from buddyproxy.upstream.patience import Timeouts
from buddyproxy.upstream.sending import Upstream
from buddyproxy.upstream.tunnel import Listener, Switched

__all__ = ["Incoming", "Interim", "Listener", "Sink", "Switched", "Timeouts", "Upstream", "end_in_order"]
