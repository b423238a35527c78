"""HTTP caching as pure functions (RFC 9111 and its family): values in, decisions out; no clock, no Twisted, no disk."""
