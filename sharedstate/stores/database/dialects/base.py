"""What differs between the servers of the ``database`` store: its SQL, its errors, its time-outs.

Every dialect has the same table, one row a record::

    name      the key
    value     the bytes, or NULL where the record is a counter
    number    the counter, or NULL
    expires   seconds since the epoch, or NULL for ever

In the statements ``?`` stands for an argument, whatever the driver writes for it.
"""

from __future__ import annotations

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from select import POLLIN, poll
from typing import Any, ClassVar, Literal

from ....errors import ConfigurationError
from ...support.addresses import malformed
from ...support.drivers import import_driver
from .hosts import has_several, in_query, shown, spelled_out

_TABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]{0,40})(\.[A-Za-z_][A-Za-z0-9_]{0,40})?")

_INSERT = "INSERT INTO {table} (name, value, number, expires) VALUES (?, ?, ?, ?)"
_PUT = (
    "INSERT INTO {table} AS r (name, value, number, expires) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET "
    "value = excluded.value, number = excluded.number, expires = excluded.expires"
)
_UPDATE = "UPDATE {table} SET value = ?, number = ?, expires = ? WHERE name = ?"
LIVE = "(expires IS NULL OR expires > ?)"


Row = tuple[bytes, bytes | None, int | None, float | None]
"""A name, a value, a number and when it expires."""


class Trouble(Enum):
    """What an error of the database means for us."""

    CONFLICT = auto()  # another client was in the way; nothing was applied, it can be tried again
    NO_TABLE = auto()
    WRONG_TABLE = auto()
    DENIED = auto()
    FULL = auto()
    LATE = auto()  # the server gave up in time, and nothing was applied
    READ_ONLY = auto()  # as a primary that became a replica
    LOST = auto()  # no reply, or one from which the outcome cannot be told
    DAMAGED = auto()  # the file, where the database is one
    OTHER = auto()


class Dialect(ABC):
    """One kind of server and its driver.

    :param table: its name, with its schema or without.
    :param timeout: seconds that a statement may take.
    """

    engine_options: ClassVar[dict[str, Any]] = {}
    """What SQLAlchemy is told about its own dialect."""
    errors: ClassVar[tuple[type[Exception], ...]] = ()
    """What the driver raises beside its own errors."""
    marker: ClassVar[str] = "%s"
    quote: ClassVar[str] = '"'
    scope: ClassVar[Literal["host", "network"]] = "network"
    most_names: ClassVar[int] = sys.maxsize
    """How many arguments one statement may have."""
    begin: ClassVar[str] = "BEGIN"
    lock: ClassVar[str] = " ORDER BY name FOR UPDATE"
    schema: ClassVar[tuple[str, ...]]
    """The statements that make the table."""
    skip_locked: ClassVar[str] = " FOR UPDATE SKIP LOCKED"
    insert: ClassVar[str] = _INSERT
    """Stores a record where there is no row, else it counts no row or is a conflict."""
    put: ClassVar[str] = _PUT
    """Stores a record, whatever was there."""
    add: ClassVar[str | None] = _PUT + " WHERE r.expires <= ?"
    """Stores a record unless there is a live one; the row count says whether it did."""
    increment: ClassVar[str] = (
        "INSERT INTO {table} AS r (name, number, expires) VALUES (?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET number = r.number + ? "
        "WHERE r.number BETWEEN ? AND ? AND (r.expires IS NULL OR r.expires > ?) "
        "RETURNING number"
    )
    """Adds to a live counter within its bounds, or does nothing; makes one if it can."""

    settings: ClassVar[str | None] = None
    """Asks the server for those of its settings that :meth:`risks` judges."""

    def __init__(self, table: str, timeout: float, durability: str) -> None:
        if not _TABLE.fullmatch(table):
            raise ConfigurationError(
                f"CACHE_DATABASE_TABLE {table!r} is no plain name; letters, digits and _ are"
            )
        self.table = ".".join(f"{self.quote}{name}{self.quote}" for name in table.split("."))
        self._index = f"{self.quote}{table.rpartition('.')[2]}_expires{self.quote}"
        self.timeout = timeout
        self.durability = durability
        self.sql = lru_cache(maxsize=512)(self._sql)
        """Returns a statement as the driver takes it."""

    @property
    def kept(self) -> str:
        """What is on disk when a write returns, in words."""
        return "as the server is configured"

    def _sql(self, statement: str) -> str:
        text = statement.format(table=self.table, index=self._index)
        return text.replace("?", self.marker)

    def among(self, names: Sequence[bytes]) -> tuple[str, Sequence[Any]]:
        """A condition that holds for these names, and its arguments."""
        return f"name IN ({','.join('?' * len(names))})", names

    def rewrite(self, rows: Sequence[Row]) -> tuple[str, Sequence[Sequence[Any]]]:
        """What writes rows that exist and are locked: a statement, and its arguments each time."""
        return _UPDATE, [(*columns, name) for name, *columns in rows]

    @property
    def ddl(self) -> str:
        """The statements that make the table, for those who run them themselves."""
        return "".join(f"{self.sql(statement)};\n" for statement in self.schema)

    @property
    @abstractmethod
    def connect_args(self) -> dict[str, Any]:
        """What the driver is told when it connects, beside what the URL says."""

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """A connection of the driver's, or ``None`` to have SQLAlchemy make it."""
        return None

    @abstractmethod
    def prepare(self, connection: Any) -> None:
        """Set up a new connection of the driver's."""

    def lock_file(self, url: Any) -> Path | None:
        """The lock file of those who write, if only one can at a time."""
        return None

    def increment_arguments(
        self, name: bytes, first: int, expires: float | None, delta: int, low: int, high: int
    ) -> tuple[Any, ...]:
        """The arguments of ``increment`` but for the last one, the present time."""
        return name, first, expires, delta, low, high

    def incremented(self, cursor: Any) -> int | None:
        """The number that ``increment`` returned, or ``None`` where it did nothing."""
        rows = cursor.fetchall()
        return rows[0][0] if rows else None

    @abstractmethod
    def trouble(self, error: Exception) -> Trouble:
        """What an error of the driver means."""

    def risks(self, settings: Mapping[str, str], has_standbys: bool) -> list[str]:
        """What about the settings of a server endangers what it holds, a sentence each."""
        return []

    @abstractmethod
    def descriptor(self, connection: Any) -> int | None:
        """The file descriptor of a connection's socket."""

    def is_stale(self, connection: Any) -> bool:
        """Whether something came while nothing was asked: mostly the end of the connection."""
        descriptor = self.descriptor(connection)
        if descriptor is None:
            return False
        look = poll()
        look.register(descriptor, POLLIN)
        return bool(look.poll(0))


_EXAMPLE = "postgresql+psycopg://user:password@host/database"
_DIALECTS = {
    "postgresql": ("psycopg", "postgresql:PostgreSQL"),
    "mysql": ("pymysql", "mysql:MySQL"),
    "mariadb": ("pymysql", "mysql:MySQL"),
    "sqlite": ("pysqlite", "sqlite:SQLite"),
}
"""The name of a database in a URL → its driver, and the module and class of its dialect."""


def parsed(url: str) -> Any:
    """SQLAlchemy's object for a URL, the driver's name in it."""
    sqlalchemy = import_driver("sqlalchemy", "database")
    try:
        parts = sqlalchemy.make_url(in_query(url))
    except (sqlalchemy.exc.ArgumentError, ValueError):
        # Without what is wrong with it, which may show a password.
        raise malformed("CACHE_DATABASE_URL", _EXAMPLE) from None
    name, _, asked = parts.drivername.partition("+")
    driver, _ = _DIALECTS.get(name, ("", ""))
    if not driver or asked not in ("", driver):
        known = ", ".join(f"{name}+{driver}" for name, (driver, _) in _DIALECTS.items())
        raise ConfigurationError(
            f"CACHE_DATABASE_URL begins with {parts.drivername!r}; it can begin with {known}"
        )
    if name != "sqlite" and "@" in f"{parts.host}{parts.database}{shown(parts)}":
        raise malformed("CACHE_DATABASE_URL", _EXAMPLE)
    if name == "postgresql":
        parts = spelled_out(parts)
    elif has_several(parts):
        raise ConfigurationError(
            "CACHE_DATABASE_URL names several hosts, which only one of PostgreSQL can"
        )
    if name == "sqlite" and parts.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "CACHE_DATABASE_URL names no file, and a database in memory is not shared: "
            "sqlite:////var/lib/app/state.db, or CACHE_TYPE simple"
        )
    return parts.set(drivername=f"{name}+{driver}")


def dialect_of(url: Any, table: str, timeout: float, durability: str) -> Dialect:
    """The dialect of a database, its driver imported."""
    driver, place = _DIALECTS[url.get_backend_name()]
    if driver != "pysqlite":
        import_driver(driver, "database")
    module, _, name = place.partition(":")
    cls = getattr(import_module(f"{__package__}.{module}"), name)
    # SQLAlchemy imports its own part when it is first used, which threads must not race for.
    url.get_dialect().import_dbapi()
    dialect: Dialect = cls(table, timeout, durability)
    return dialect
