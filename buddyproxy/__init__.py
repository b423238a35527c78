"""A caching reverse proxy for the HTTP APIs a program pays for."""

__version__ = "0.1.0"
