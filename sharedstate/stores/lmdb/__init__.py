"""``lmdb``: an LMDB environment."""

from .store import LmdbStore

__all__ = ["LmdbStore"]
