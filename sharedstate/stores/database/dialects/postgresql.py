"""PostgreSQL, through psycopg."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg import OperationalError
from psycopg.conninfo import make_conninfo

from ..deadline import left
from .base import Dialect, Row, Trouble
from .libpq import Hosts

R = TypeVar("R")

# The server gives up a little before its client does: its reply says that nothing was applied.
_SERVERS_SHARE = 0.8
# Of psycopg.connect()'s arguments, those that are no parameters of libpq's.
_ATTRIBUTES = ("autocommit", "prepare_threshold", "row_factory", "cursor_factory")

_TROUBLES = {
    "40P01": Trouble.CONFLICT,  # deadlock_detected
    "40001": Trouble.CONFLICT,  # serialization_failure
    "23505": Trouble.CONFLICT,  # unique_violation: in the catalogue, when many make the table
    "42P07": Trouble.CONFLICT,  # duplicate_table
    "42710": Trouble.CONFLICT,  # duplicate_object, its row type
    "42P01": Trouble.NO_TABLE,  # undefined_table
    "42703": Trouble.WRONG_TABLE,  # undefined_column
    "42804": Trouble.WRONG_TABLE,  # datatype_mismatch
    "42P10": Trouble.WRONG_TABLE,  # no unique constraint on the name
    "42501": Trouble.DENIED,  # insufficient_privilege
    "55P03": Trouble.LATE,  # lock_not_available
    "57014": Trouble.LATE,  # query_canceled, as by statement_timeout
    "25P03": Trouble.LATE,  # idle_in_transaction_session_timeout
    "25006": Trouble.READ_ONLY,  # read_only_sql_transaction
}
_TROUBLES_OF_CLASS = {
    "53": Trouble.FULL,  # insufficient_resources
    "54": Trouble.FULL,  # program_limit_exceeded
    "08": Trouble.LOST,  # connection_exception
    "57": Trouble.LOST,  # operator_intervention: it may have come after the commit
}
_CONNECTIONS = "53300"  # too_many_connections, of class 53 too


_REWRITE = (
    "UPDATE {table} AS r SET value = n.value, number = n.number, expires = n.expires "
    "FROM unnest(?::bytea[], ?::bytea[], ?::bigint[], ?::double precision[]) "
    "AS n (name, value, number, expires) WHERE r.name = n.name"
)


class PostgreSQL(Dialect):
    """Rows are locked by SELECT … FOR UPDATE in the order of their names."""

    engine_options: ClassVar[dict[str, Any]] = {"use_native_hstore": False}  # Asks the server.
    schema = (
        # Room on each page keeps the new versions of a counter's row on it, out of the index.
        "CREATE TABLE {table} (name bytea PRIMARY KEY, value bytea, number bigint, "
        "expires double precision) WITH (fillfactor = 80)",
        "CREATE INDEX {index} ON {table} (expires) WHERE expires IS NOT NULL",
    )
    insert = Dialect.insert + " ON CONFLICT DO NOTHING"
    settings = (
        "SELECT name, setting FROM pg_settings "
        "WHERE name IN ('fsync', 'synchronous_commit', 'synchronous_standby_names')"
    )

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._hosts = Hosts()

    def among(self, names: Sequence[bytes]) -> tuple[str, Sequence[Any]]:
        return "name = ANY(?)", (list(names),)

    def rewrite(self, rows: Sequence[Row]) -> tuple[str, Sequence[Sequence[Any]]]:
        if len(rows) <= 1:
            return super().rewrite(rows)
        return _REWRITE, [[list(column) for column in zip(*rows, strict=True)]]

    @property
    def connect_args(self) -> dict[str, Any]:
        milliseconds = math.ceil(self.timeout * _SERVERS_SHARE * 1000)
        server = {
            "lock_timeout": milliseconds,
            "statement_timeout": milliseconds,
            # The locks of a worker that is stopped come free.
            "idle_in_transaction_session_timeout": math.ceil(self.timeout * 1000),
            "default_transaction_isolation": r"read\ committed",
        }
        return {
            "autocommit": True,
            "tcp_user_timeout": math.ceil(self.timeout * 1000),
            "application_name": "sharedstate",
            "options": " ".join(f"-c {name}={value}" for name, value in server.items()),
        }

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """A connection on which nothing waits for longer than the call may take.

        It leads to a server that can be written to: a standby would show what was.
        """
        options.pop("context", None)  # How SQLAlchemy wants types that are not ours.
        attributes = {name: options.pop(name) for name in _ATTRIBUTES if name in options}
        options.setdefault("target_session_attrs", "read-write")
        parameters = make_conninfo(*arguments, **options)
        connection = _Connection(self._hosts.connect(parameters, left(self.timeout)))
        connection.seconds = self.timeout
        # Not a method of its own, through which the connection would hold itself.
        connection.add_notice_handler(partial(_note, connection.doubts))
        for name, value in attributes.items():
            setattr(connection, name, value)
        return connection

    def prepare(self, connection: Any) -> None:
        """Nothing: all is said when connecting."""

    def trouble(self, error: Exception) -> Trouble:
        code = getattr(error, "sqlstate", None)
        if code is None:
            return Trouble.LOST if isinstance(error, OperationalError) else Trouble.OTHER
        if code == _CONNECTIONS:
            return Trouble.OTHER
        return _TROUBLES.get(code) or _TROUBLES_OF_CLASS.get(code[:2], Trouble.OTHER)

    def risks(self, settings: Mapping[str, str], has_standbys: bool) -> list[str]:
        commit = settings["synchronous_commit"]
        found = []
        if settings["fsync"] == "off":
            found.append("fsync is off, so that a power cut may damage what the server holds")
        if commit == "off":
            found.append("synchronous_commit is off, so that a power cut loses the last writes")
        if has_standbys and (commit == "local" or not settings["synchronous_standby_names"]):
            found.append(
                "no write waits for a standby, so that a fail-over loses the last ones: set "
                "synchronous_standby_names to 'ANY 1 (…)', and synchronous_commit to on"
            )
        return found

    def descriptor(self, connection: Any) -> int | None:
        return None if connection.closed else connection.pgconn.socket


def _note(doubts: list[str], notice: psycopg.errors.Diagnostic) -> None:
    """Keep what the server says where it gives up to wait for a standby.

    Its text is in the server's language; the function's name is in none.
    """
    if notice.source_function == "SyncRepWaitForLSN":
        doubts.append(f"{notice.message_primary}; {notice.message_detail}")


class _Connection(psycopg.Connection[Any]):
    """psycopg waits for ever for a server that is stopped; this gives up, and hangs up.

    A commit whose wait for a standby is cancelled is reported as done, with a warning, though it
    is lost if the primary dies. Here it is an error, from which the outcome cannot be told.
    """

    seconds = 0.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.doubts: list[str] = []

    def wait(self, gen: Generator[Any, Any, R], *arguments: Any, **options: Any) -> R:
        try:
            result = super().wait(_limited(gen, left(self.seconds)), *arguments, **options)
        except _TooLate:
            self.pgconn.finish()
            raise
        if self.doubts:
            raise OperationalError("; ".join(self.doubts))
        return result


class _TooLate(OperationalError):
    pass


def _limited(gen: Generator[Any, Any, R], seconds: float) -> Generator[Any, Any, R]:
    """The same generator of waits, until the time is up; it is sent 0 where nothing has come."""
    deadline = time.monotonic() + seconds
    try:
        state = next(gen)
        while True:
            ready = yield state
            if not ready and time.monotonic() > deadline:
                raise _TooLate(f"the server did not respond within {seconds:.2g} seconds")
            state = gen.send(ready)
    except StopIteration as done:
        result: R = done.value
        return result
