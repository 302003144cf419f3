"""``flask.session`` on the application's store, exact for parallel requests of one client."""

from .interface import Session
from .stored import StoredSession
from .users import Entry

__all__ = ["Entry", "Session", "StoredSession"]
