"""``memcached``: one or several memcached servers."""

from .store import MemcachedStore

__all__ = ["MemcachedStore"]
