"""``manager``: a process that holds the records."""

from .store import ManagerStore

__all__ = ["ManagerStore"]
