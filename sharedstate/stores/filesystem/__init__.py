"""``filesystem``: one SQLite file."""

from .store import FilesystemStore

__all__ = ["FilesystemStore"]
