"""MySQL and MariaDB, through PyMySQL."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pymysql

from ....errors import ConfigurationError, ValueTooLarge
from ..deadline import left
from .base import LIVE, Dialect, Row, Trouble

_SERVERS_SHARE = 0.8  # As with PostgreSQL.
_SHORTEST = 0.001
_UNSIGNED = 2**64

_TROUBLES = {
    1213: Trouble.CONFLICT,  # ER_LOCK_DEADLOCK
    1020: Trouble.CONFLICT,  # ER_CHECKREAD
    1062: Trouble.CONFLICT,  # ER_DUP_ENTRY: of those who insert a row, another one was first
    1146: Trouble.NO_TABLE,  # ER_NO_SUCH_TABLE
    1050: Trouble.CONFLICT,  # ER_TABLE_EXISTS_ERROR
    1054: Trouble.WRONG_TABLE,  # ER_BAD_FIELD_ERROR
    1044: Trouble.DENIED,  # ER_DBACCESS_DENIED_ERROR
    1142: Trouble.DENIED,  # ER_TABLEACCESS_DENIED_ERROR
    1021: Trouble.FULL,  # ER_DISK_FULL
    1026: Trouble.FULL,  # ER_ERROR_ON_WRITE
    1114: Trouble.FULL,  # ER_RECORD_FILE_FULL
    1406: Trouble.FULL,  # ER_DATA_TOO_LONG
    1205: Trouble.LATE,  # ER_LOCK_WAIT_TIMEOUT
    1969: Trouble.LATE,  # ER_STATEMENT_TIMEOUT
    1290: Trouble.READ_ONLY,  # ER_OPTION_PREVENTS_STATEMENT
    1792: Trouble.READ_ONLY,  # ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION
    1836: Trouble.READ_ONLY,  # ER_READ_ONLY_MODE
    1053: Trouble.LOST,  # ER_SERVER_SHUTDOWN
    1927: Trouble.LOST,  # ER_CONNECTION_KILLED
}
_CLIENTS_OWN = range(2000, 3000)

_ASKED = ("max_allowed_packet", "wsrep_on", "wsrep_provider")
_NO_GALERA = (None, "", "none")
_GALERA = (
    "CACHE_DATABASE_URL leads to a node of a Galera cluster, which loses updates and shows old "
    "values without any fault (jepsen.io/blog/2026-03-16-mariadb-galera-cluster-12.1.2): use one "
    "MariaDB or MySQL server, PostgreSQL with a standby, or etcd"
)


class MySQL(Dialect):
    """Rows are locked by SELECT … FOR UPDATE under READ COMMITTED, which locks no gaps.

    An increment of a counter that exists is one UPDATE: LAST_INSERT_ID() brings the number along,
    as neither server has UPDATE … RETURNING.
    """

    quote = "`"
    schema = (
        "CREATE TABLE {table} (name VARBINARY(512) NOT NULL PRIMARY KEY, value LONGBLOB, "
        "number BIGINT, expires DOUBLE, INDEX {index} (expires)) ENGINE = InnoDB",
    )
    put = (
        Dialect.insert + " ON DUPLICATE KEY UPDATE "
        "value = VALUES(value), number = VALUES(number), expires = VALUES(expires)"
    )
    add = None
    settings = "SHOW VARIABLES WHERE variable_name = 'innodb_flush_log_at_trx_commit'"
    increment = (
        "UPDATE {table} SET number = CAST(LAST_INSERT_ID(number + ?) AS SIGNED) "
        f"WHERE name = ? AND number BETWEEN ? AND ? AND {LIVE}"
    )

    @property
    def connect_args(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "connect_timeout": self.timeout,
            "read_timeout": self.timeout,
            "write_timeout": self.timeout,
        }

    def connect(self, *arguments: Any, **options: Any) -> Any:
        """A connection that sends nothing which the server would hang up on."""
        seconds = min(options["connect_timeout"], left(self.timeout))
        return _Connection(*arguments, **{**options, "connect_timeout": max(seconds, _SHORTEST)})

    def prepare(self, connection: Any) -> None:
        seconds = self.timeout * _SERVERS_SHARE
        settings = {
            # Nothing is ever cut to fit, and a backslash escapes, as PyMySQL expects.
            "sql_mode": "'STRICT_ALL_TABLES'",
            "innodb_lock_wait_timeout": max(math.floor(seconds), 1),
        }
        if "MariaDB" in connection.get_server_info():
            settings |= {
                "tx_isolation": "'READ-COMMITTED'",
                "max_statement_time": seconds,
                # The locks of a worker that is stopped come free.
                "idle_transaction_timeout": math.ceil(self.timeout),
            }
        else:
            settings["transaction_isolation"] = "'READ-COMMITTED'"
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW VARIABLES WHERE variable_name IN {_ASKED}")
            found = dict(cursor.fetchall())
            if found.get("wsrep_on") == "ON" and found.get("wsrep_provider") not in _NO_GALERA:
                raise ConfigurationError(_GALERA)
            connection.most_bytes = int(found["max_allowed_packet"])
            cursor.execute("SET " + ", ".join(f"{name} = {v}" for name, v in settings.items()))

    def increment_arguments(
        self, name: bytes, first: int, expires: float | None, delta: int, low: int, high: int
    ) -> tuple[Any, ...]:
        return delta, name, low, high

    def incremented(self, cursor: Any) -> int | None:
        if not cursor.rowcount:
            return None
        number: int = cursor.lastrowid
        return number if number < _UNSIGNED // 2 else number - _UNSIGNED

    def rewrite(self, rows: Sequence[Row]) -> tuple[str, Sequence[Sequence[Any]]]:
        # PyMySQL makes one statement of many INSERTs, and sends many UPDATEs one by one.
        return super().rewrite(rows) if len(rows) == 1 else (self.put, rows)

    def trouble(self, error: Exception) -> Trouble:
        code = error.args[0] if error.args else None
        if not isinstance(code, int) or not code or code in _CLIENTS_OWN:
            return Trouble.LOST
        return _TROUBLES.get(code, Trouble.OTHER)

    def risks(self, settings: Mapping[str, str], has_standbys: bool) -> list[str]:
        flush = settings["innodb_flush_log_at_trx_commit"]
        if flush == "1":
            return []
        return [
            f"innodb_flush_log_at_trx_commit is {flush}, so that a power cut loses the last writes"
        ]

    def descriptor(self, connection: Any) -> int | None:
        return connection._sock.fileno() if connection.open else None


class _Connection(pymysql.Connection):  # type: ignore[misc]  # PyMySQL ships no types
    """A statement that is too large makes the server hang up; this does not even send it."""

    most_bytes = 1 << 20

    def query(self, sql: str | bytes, unbuffered: bool = False) -> Any:
        if len(sql) >= self.most_bytes:
            raise ValueTooLarge(len(sql), self.most_bytes, "the server's max_allowed_packet")
        return super().query(sql, unbuffered)
