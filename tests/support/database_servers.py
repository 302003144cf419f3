"""Real databases: a PostgreSQL and a MariaDB server, and an SQLite file."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from glob import glob
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from backends import give_up
from sqlalchemy import make_url

from race.servers.processes import reserved_port

TABLE = "sharedstate"


@contextmanager
def postgresql(port: int, directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running PostgreSQL server, its data made when the directory is empty."""
    if not any(directory.iterdir()):
        call("initdb", "-D", directory, "-A", "trust", "-U", "postgres", "--no-sync")
    command = ["-p", str(port), "-k", "", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with _running("postgres", "-D", directory, *command, *options, end=signal.SIGQUIT) as server:
        yield server


@contextmanager
def mariadb(port: int, directory: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A running MariaDB server, its data made when the directory is empty."""
    data = [f"--datadir={directory}", f"--tmpdir={directory}"]
    if not any(directory.iterdir()):
        call(
            "mariadb-install-db",
            "--no-defaults",
            *data,
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        )
    command = [
        *("--no-defaults", *data, f"--socket={directory}/socket", f"--pid-file={directory}/pid"),
        *(f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve"),
        *("--innodb-flush-log-at-trx-commit=2", "--innodb-doublewrite=0"),
    ]
    with _running("mariadbd", *command, *options) as server:
        yield server


@contextmanager
def server_directory() -> Iterator[Path]:
    """A directory for a server's data: pytest's own is closed to other users than this one."""
    directory = Path(tempfile.mkdtemp(prefix="database-"))
    if user := _other_user():
        os.chown(directory, *user)
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """A PostgreSQL server of the test session's own."""
    with reserved_port() as port, server_directory() as directory, postgresql(port, directory):
        yield f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """A MariaDB server of the test session's own."""
    with reserved_port() as port, server_directory() as directory, mariadb(port, directory):
        # For TLS, PyMySQL reads all certificates of the system: 40 ms a connection.
        url = f"mariadb+pymysql://root@127.0.0.1:{port}/shared?ssl_disabled=true"
        with mariadb_client(url, database=None) as client:
            client.cursor().execute("CREATE DATABASE shared")
        yield url


@pytest.fixture
def empty_postgresql(postgresql_url: str) -> Iterator[str]:
    """The URL of a database without records."""
    yield postgresql_url
    with postgresql_client(postgresql_url) as client:
        if client.execute("SELECT to_regclass(%s)", (TABLE,)).fetchone() != (None,):
            client.execute(f"DELETE FROM {TABLE}")


@pytest.fixture
def empty_mariadb(mariadb_url: str) -> Iterator[str]:
    """The URL of a database without records."""
    yield mariadb_url
    with mariadb_client(mariadb_url) as client, client.cursor() as cursor:
        if cursor.execute("SHOW TABLES LIKE %s", (TABLE,)):
            cursor.execute(f"DELETE FROM {TABLE}")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a file that is yet to be made."""
    return f"sqlite:///{tmp_path}/state.db"


def postgresql_client(url: str) -> Any:
    """psycopg's connection, closed at the end of its ``with``."""
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def mariadb_client(url: str, **options: Any) -> Any:
    """PyMySQL's connection, closed at the end of its ``with``."""
    address = make_url(url)
    options = {**address.query, "database": address.database, "autocommit": True} | options
    return closing(
        pymysql.connect(
            host=address.host,
            port=address.port,
            user=address.username,
            password=address.password or "",
            **options,
        )
    )


def call(program: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [_path(program), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **_as_other_user(),
    )
    assert done.returncode == 0, done.stdout


@contextmanager
def _running(
    program: str, *arguments: str | Path, end: signal.Signals = signal.SIGKILL
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [_path(program), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # A server may be several processes, which are stopped together.
        **_as_other_user(),
    )
    try:
        _wait_until_ready(process)
        yield process
    finally:
        process.send_signal(end)
        process.wait()
        reader = process.__dict__.pop("reader", None)
        if reader:
            reader.join()
        assert process.stderr
        process.stderr.close()


def _wait_until_ready(server: subprocess.Popen[str]) -> None:
    assert server.stderr
    log = ""
    for line in server.stderr:
        log += line
        if "ready to accept" in line or "ready for connections" in line:
            # Nobody reads on: a pipe that is full would stop the server.
            server.__dict__["reader"] = threading.Thread(target=server.stderr.read, daemon=True)
            server.__dict__["reader"].start()
            return
    raise RuntimeError(f"the server ended at once:\n{log}")


def _path(program: str) -> str:
    places = [os.environ.get("PATH", ""), "/usr/sbin", *sorted(glob("/usr/lib/postgresql/*/bin"))]
    return shutil.which(program, path=os.pathsep.join(places)) or give_up(f"{program} is missing")


def _other_user() -> tuple[int, int] | None:
    """Whom the servers run as, where this is root: they refuse to run as root."""
    if os.geteuid():
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _as_other_user() -> dict[str, Any]:
    user = _other_user()
    return {"cwd": "/", **({"user": user[0], "group": user[1], "extra_groups": []} if user else {})}
