"""What a database's troubles are to the callers of the store."""

from __future__ import annotations

from typing import Any

from ...errors import ConfigurationError, StoreFull, StoreUnavailable
from ..support.sqlite_damage import REMEDY
from .dialects import hosts
from .dialects.base import Trouble


class Conflict(Exception):
    """Another client was in the way; nothing was applied, and it can be tried again."""


class NoTable(Conflict):
    """The table has yet to be made; nothing was applied."""


def explained(trouble: Trouble, text: str, where: str, table: str, unknown: bool) -> Exception:
    """The library's error for a trouble.

    :param text: what the server says.
    :param unknown: whether a write may have been applied.
    """
    match trouble:
        case Trouble.CONFLICT:
            return Conflict(text)
        case Trouble.NO_TABLE:
            return NoTable(text)
        case Trouble.DENIED:
            return ConfigurationError(
                f"the user of {where} may not make, read or write {table}: {text}"
            )
        case Trouble.WRONG_TABLE:
            return ConfigurationError(
                f"{table} in {where} is a table of another kind, and was left as it is: "
                f"choose another CACHE_DATABASE_TABLE ({text})"
            )
        case Trouble.DAMAGED:
            return StoreUnavailable(f"the file of {where} is damaged ({text}); {REMEDY}")
        case Trouble.FULL:
            return StoreFull(f"{where} has no room for the write: {text}")
    return unavailable(where, text, unknown)


def unavailable(where: str, text: str, unknown: bool = False) -> StoreUnavailable:
    """The error that names the database."""
    return StoreUnavailable(
        f"the database {where} is not available: {text}", outcome_unknown=unknown
    )


def location(url: Any) -> str:
    """Where a database is, without what is secret."""
    shown = url.create(url.drivername, host=url.host, port=url.port, database=url.database)
    text: str = shown.render_as_string()
    return text if url.host else text.replace("://", f"://{hosts.shown(url)}", 1)
