"""PostgreSQL with two standbys, of which one has each commit and is promoted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from race.servers.processes import HOST, reserved_port

from .databases import (
    as_nobody,
    ask_postgresql,
    call,
    initialize_postgresql,
    make_postgresql_directory,
)
from .deployment import Deployment, Start
from .node import Node, program, wait_until
from .proxy import Proxy

NAMES = ("a", "b", "c")
_PLACE = "GREATEST(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"
_RECEIVED = f"SELECT pg_wal_lsn_diff({_PLACE}, '0/0')::bigint"
_IS_CUT_OFF = "SELECT count(*) = 0 FROM pg_stat_wal_receiver WHERE status = 'streaming'"
_STANDBYS = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"


class Server(Node):
    """One of the servers, any of which can be the primary."""

    def __init__(self, stack: ExitStack, directory: Path, name: str, ports: dict[str, int]) -> None:
        self.port = ports[name]
        self.data = directory / name
        self.follows: Server | None = None
        """Whose copy it becomes when it starts, if it has to be one."""
        hosts = ",".join(HOST for _ in ports)
        primary = f"host={hosts} port={','.join(map(str, ports.values()))} user=postgres"
        options = {
            "listen_addresses": HOST,
            "shared_buffers": "16MB",
            "cluster_name": name,
            "synchronous_standby_names": f"ANY 1 ({', '.join(ports)})",
            "primary_conninfo": f"{primary} target_session_attrs=read-write",
            "wal_retrieve_retry_interval": "100ms",
            "wal_keep_size": "256MB",
        }
        command = [
            *as_nobody(),
            *(program("postgres"), "-D", str(self.data), "-p", str(self.port), "-k", ""),
            *(part for each in options.items() for part in ("-c", "=".join(each))),
        ]
        log = directory / f"{name}.log"
        super().__init__(name, command, log, lambda: self.ask("SELECT true") is True)
        stack.enter_context(closing(self))

    def start(self) -> None:
        """Start it; a former primary as a standby, without what it alone had."""
        if self.follows is not None:
            self.copy(self.follows)
            self.follows = None
        super().start()

    def copy(self, primary: Server) -> None:
        """Make it a standby."""
        shutil.rmtree(self.data, ignore_errors=True)
        make_postgresql_directory(self.data)
        source = f"host={HOST} port={primary.port} user=postgres"
        fast = ("--checkpoint=fast", "--no-sync")
        call(*as_nobody(), program("pg_basebackup"), "-D", str(self.data), "-d", source, *fast)
        (self.data / "standby.signal").touch()

    @property
    def is_dead(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def ask(self, question: str) -> Any:
        """What it replies; ``None`` if it does not."""
        return ask_postgresql(self.port, question)


class Servers:
    """The servers, and which of them is the primary."""

    def __init__(self, servers: list[Server]) -> None:
        self.all = servers
        self.primary = servers[0]

    def start(self) -> None:
        """Start the primary, and then its standbys as copies of it."""
        initialize_postgresql(self.primary.data)
        for server in self.all:
            server.follows = None if server is self.primary else self.primary
            server.start()

    def leader(self) -> Node:
        """The primary with all of its standbys; a new one if it is dead."""
        if self.primary.is_dead:
            self._promote()
        else:
            wait_until(lambda: self.primary.ask(_STANDBYS) == len(self.all) - 1)
        return self.primary

    def _promote(self) -> None:
        """Have the standby lead that has most: the other one may lack what was acknowledged."""
        standbys = [server for server in self.all if server is not self.primary]
        wait_until(lambda: all(server.ask(_IS_CUT_OFF) is True for server in standbys))
        best = max(standbys, key=lambda server: int(server.ask(_RECEIVED)))
        wait_until(lambda: best.ask("SELECT pg_promote()") is True)
        self.primary.follows = best
        self.primary = best


@contextmanager
def _standbys(directory: Path) -> Iterator[Deployment]:
    with ExitStack() as stack:
        ports = {name: stack.enter_context(reserved_port()) for name in NAMES}
        servers = Servers([Server(stack, directory, name, ports) for name in NAMES])
        servers.start()
        proxies = [stack.enter_context(closing(Proxy(port))) for port in ports.values()]
        hosts = ",".join(f"{HOST}:{proxy.port}" for proxy in proxies)
        settings = {
            "CACHE_URL": f"postgresql://postgres@{hosts}/postgres",
            "CACHE_TIMEOUT": 3.0,
        }
        yield Deployment(
            "database-standby",
            settings,
            nodes=[*servers.all],
            proxies=proxies,
            leader=servers.leader,
        )


STANDBYS: dict[str, Start] = {"database-standby": _standbys}
