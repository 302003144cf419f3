"""PostgreSQL and MariaDB."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from race.servers.processes import HOST, reserved_port

from .deployment import Deployment, Start
from .node import Missing, Node, listens, program
from .proxy import Proxy

NOBODY = "nobody"


@contextmanager
def _postgresql(directory: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        data = directory / "data"
        initialize_postgresql(data)
        command = [
            *as_nobody(),
            *(program("postgres"), "-D", str(data), "-p", str(port), "-k", ""),
            *("-c", f"listen_addresses={HOST}", "-c", "shared_buffers=16MB"),
        ]
        node = Node("postgresql", command, directory / "log", lambda: _has_postgresql(port))
        stack.enter_context(closing(node))
        node.start()
        proxy = stack.enter_context(closing(Proxy(port)))
        settings = {"CACHE_URL": f"postgresql://postgres@{HOST}:{proxy.port}/postgres"}
        yield Deployment("database-postgresql", settings, nodes=[node], proxies=[proxy])


@contextmanager
def _mariadb(directory: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        data = directory / "data"
        data.mkdir()
        user = ("--user=root",) if os.geteuid() == 0 else ()
        places = (f"--datadir={data}", f"--tmpdir={data}", *user)
        call(
            *(program("mariadb-install-db"), "--no-defaults", *places, "--skip-test-db"),
            "--auth-root-authentication-method=normal",
        )
        command = [
            *(program("mariadbd"), "--no-defaults", *places),
            *(f"--socket={data}/socket", f"--pid-file={data}/pid", f"--port={port}"),
            *(f"--bind-address={HOST}", "--skip-name-resolve"),
        ]
        node = Node("mariadb", command, directory / "log", lambda: listens(port))
        stack.enter_context(closing(node))
        node.start()
        call(
            *(program("mariadb"), "--no-defaults", f"--socket={data}/socket", "-u", "root"),
            *("-e", "CREATE DATABASE torture"),
        )
        proxy = stack.enter_context(closing(Proxy(port)))
        url = f"mariadb://root@{HOST}:{proxy.port}/torture?ssl_disabled=true"
        yield Deployment("database-mariadb", {"CACHE_URL": url}, nodes=[node], proxies=[proxy])


def make_postgresql_directory(data: Path) -> None:
    """An empty directory for a server's data."""
    data.mkdir(mode=0o700)
    if os.geteuid() == 0:  # It refuses to run as root.
        data.parent.chmod(0o711)
        shutil.chown(data, NOBODY)


def initialize_postgresql(data: Path) -> None:
    """A directory with the data of a new server."""
    make_postgresql_directory(data)
    options = ["-D", str(data), "-A", "trust", "-U", "postgres", "--no-sync"]
    call(*as_nobody(), program("initdb"), *options)


def as_nobody() -> list[str]:
    """What has to stand before a command that refuses to run as root."""
    if os.geteuid():
        return []
    return [program("setpriv"), f"--reuid={NOBODY}", "--clear-groups", "--pdeathsig=TERM"]


def _has_postgresql(port: int) -> bool:
    """Whether a server has recovered."""
    return ask_postgresql(port, "SELECT true") is True


def ask_postgresql(port: int, question: str) -> Any:
    """The first value of a server's reply; ``None`` if there is none."""
    try:
        import psycopg
    except ModuleNotFoundError:
        raise Missing("psycopg is not installed") from None
    try:
        with psycopg.connect(
            host=HOST, port=port, user="postgres", connect_timeout=2, autocommit=True
        ) as client:
            found = client.execute(question).fetchone()
    except psycopg.OperationalError:
        return None
    return found[0] if found else None


def call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


DATABASES: dict[str, Start] = {
    "database-postgresql": _postgresql,
    "database-mariadb": _mariadb,
}
