"""``database``: a table, through SQLAlchemy."""

from .store import DatabaseStore

__all__ = ["DatabaseStore"]
