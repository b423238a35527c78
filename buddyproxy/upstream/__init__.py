"""Speaks HTTP to origin servers, through treq on pooled connections, and changes nothing on the way.

The one place that knows how requests travel. `Upstream.send` takes a request that is ready to go and returns an
`Incoming`: the head of the answer, and the means to have its content delivered, paused or given up. It knows nothing of
mappings, caching or callers.

Inside, from the wire up: `wire` and `connection` (Twisted's client, held to the bytes), `pool` (the connections to one
origin), `trust` (TLS), `agent` (from a request to a connection), `transparent` (treq's client, less its conveniences),
`sending` and `incoming` (the interface), with `patience` (every limit in time) and `failures` (every error in words)
beside them.
"""

from buddyproxy.upstream.incoming import Incoming, Interim, Sink
from buddyproxy.upstream.patience import Timeouts
from buddyproxy.upstream.sending import Upstream

__all__ = ["Incoming", "Interim", "Sink", "Timeouts", "Upstream"]
