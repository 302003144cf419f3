"""Which hosts an address names, and what about a server endangers its records."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from sharedstate import ConfigurationError
from sharedstate.stores.database.dialects.mysql import MySQL
from sharedstate.stores.database.dialects.postgresql import PostgreSQL
from sharedstate.stores.database.store import DatabaseStore
from sharedstate.stores.registry import open_store


@pytest.mark.parametrize(
    "url, location",
    [
        ("postgresql+psycopg://u:s@/d?host=a:1,b:2&target_session_attrs=read-write", "a:1,b:2/d"),
        ("postgresql://u:s@/d?host=a:1&host=b:2", "a:1,b:2/d"),
        ("postgresql://u:s@/d?host=a,b&port=1,2", "a:1,b:2/d"),
        ("postgresql://u:s@a,[::1]:2/d?application_name=s", "a:5432,[::1]:2/d"),
        ("postgresql://u:s@/d?host=/run/postgresql", "/run/postgresql/d"),
        ("postgresql://u:1,2?s@a/d", "a/d"),
        ("postgresql://u:s?host=1,2@a/d", "a/d"),
    ],
)
def test_urls(url: str, location: str) -> None:
    """A URL names the servers as SQLAlchemy or libpq write it, and the password is not shown."""
    shown = open_store({"CACHE_URL": url}).describe()["location"]
    assert shown == f"postgresql+psycopg://{location}"


@pytest.mark.parametrize(
    "url, problem",
    [
        ("postgresql://a,b/d?target_session_attrs=prefer-standby", "target_session_attrs.*standby"),
        ("postgresql://u:s@a:b:c,d/d", "entry 1"),
        ("mariadb://u:s@a,b/d", "only one of PostgreSQL"),
    ],
)
def test_bad_urls(url: str, problem: str) -> None:
    """A standby is no store, and a host that is none is refused when the application is made."""
    with pytest.raises(ConfigurationError, match=problem):
        open_store({"CACHE_URL": url})


RISKS: dict[str, tuple[dict[str, str], str]] = {
    "no standby": ({"synchronous_standby_names": ""}, "no write waits for a standby"),
    "local": ({"synchronous_commit": "local"}, "no write waits for a standby"),
    "off": ({"synchronous_commit": "off"}, "a power cut loses"),
    "none": ({}, ""),
}


@pytest.mark.parametrize("name", RISKS)
def test_risks(name: str) -> None:
    """Settings of the server that lose what it has acknowledged are named, and no others."""
    changes, expected = RISKS[name]
    settings = {"fsync": "on", "synchronous_commit": "on", "synchronous_standby_names": "ANY 1 (b)"}
    found = PostgreSQL("sharedstate", 2, "normal").risks(settings | changes, has_standbys=True)
    assert len(found) == bool(expected)
    assert expected in "".join(found)


def test_risks_of_a_server(empty_postgresql: str) -> None:
    """The server is asked; one without standbys need not wait for any."""
    with closing(DatabaseStore(empty_postgresql)) as store:
        (risk,) = store.risks()  # It is one for tests.
    assert "fsync is off" in risk


# MariaDB and MySQL.


class Told:
    """A connection of PyMySQL's to a server with these variables."""

    def __init__(self, **variables: str) -> None:
        self.variables = {"max_allowed_packet": "1048576", **variables}

    def cursor(self) -> Any:
        return closing(self)

    def get_server_info(self) -> str:
        return "10.11.19-MariaDB"

    def execute(self, statement: str) -> None:
        pass

    def fetchall(self) -> Any:
        return tuple(self.variables.items())

    def close(self) -> None:
        pass


def test_mysql() -> None:
    """A node of a Galera cluster is refused by name; what could be one and is none is not. A
    server that does not sync is a risk."""
    dialect = MySQL("sharedstate", 2, "normal")
    for variables in ({}, {"wsrep_on": "OFF"}, {"wsrep_on": "ON", "wsrep_provider": "none"}):
        dialect.prepare(Told(**variables))
    node = Told(wsrep_on="ON", wsrep_provider="/usr/lib/galera/libgalera_smm.so")
    with pytest.raises(ConfigurationError, match="Galera.*jepsen"):
        dialect.prepare(node)
    assert not dialect.risks({"innodb_flush_log_at_trx_commit": "1"}, has_standbys=False)
    assert dialect.risks({"innodb_flush_log_at_trx_commit": "2"}, has_standbys=False)
