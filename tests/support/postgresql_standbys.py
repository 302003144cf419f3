"""A PostgreSQL server and its standbys, the primary of which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from database_servers import call, postgresql, postgresql_client, server_directory

from race.servers.processes import reserved_port

DEADLINE = 60  # Guards against a hang, and nothing else.

_SMALL = ("-c", "shared_buffers=16MB", "-c", "max_connections=60", "-c", "wal_keep_size=256MB")


@dataclass
class Server:
    """One of the servers, primary or standby."""

    name: str
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def ask(self, question: str) -> Any:
        """The first column of the first row of the answer."""
        with postgresql_client(self.url) as client:
            cursor = client.execute(question)
            return cursor.fetchone()[0] if cursor.description else None

    def received(self) -> int:
        """How many bytes of the log a standby has."""
        places = "pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()"
        return int(self.ask(f"SELECT pg_wal_lsn_diff(GREATEST({places}), '0/0')"))

    def is_cut_off(self) -> bool:
        """Whether a standby receives nothing more."""
        return not self.ask("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'")

    def kill(self) -> None:
        """End all of its processes as a power cut does, none of them after another."""
        os.kill(self.process.pid, signal.SIGSTOP)  # It starts no more.
        processes = [*_children(self.process.pid), self.process.pid]
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()
        until(lambda: not any(map(_lives, processes)))


class Servers(list[Server]):
    """The primary, and then its standbys."""

    @property
    def url(self) -> str:
        """The address of them all."""
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self)
        return f"postgresql://postgres@/postgres?host={hosts}"

    def set_synchronous(self, names: str) -> None:
        """Have the primary wait for these standbys from now on, as soon as they are there."""
        self[0].ask(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self[0].ask("SELECT pg_reload_conf()")
        standbys = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = "
        state = "'quorum'" if names else "'async'"
        until(lambda: self[0].ask(standbys + state) == len(self) - 1)

    def fail_over(self) -> Server:
        """Kill the primary, and promote the standby that has most of its log."""
        self.pop(0).kill()
        for server in self:
            until(server.is_cut_off)
        self.sort(key=Server.received, reverse=True)
        assert self[0].ask(f"SELECT pg_promote(true, {DEADLINE})")
        return self[0]


@contextmanager
def replicated(names: str, *options: str) -> Iterator[Servers]:
    """A primary with the first of the names, and standbys with the others."""
    with ExitStack() as stack:
        ports = {name: stack.enter_context(reserved_port()) for name in names}
        servers = Servers()
        for name, port in ports.items():
            directory = stack.enter_context(server_directory())
            if servers:
                _copy(servers[0], directory)
            command = _options(name, ports.values(), options)
            process = stack.enter_context(postgresql(port, directory, *command))
            servers.append(Server(name, port, process))
        yield servers


def until(condition: Any) -> None:
    """Return when the condition holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _copy(primary: Server, directory: Path) -> None:
    fast = ("--checkpoint=fast", "--no-sync")
    call("pg_basebackup", "-D", directory, "-d", primary.url, *fast)
    call("touch", directory / "standby.signal")


def _options(name: str, ports: Collection[int], options: tuple[str, ...]) -> Iterator[str]:
    """What every server is told: each can be the primary, and a standby of whichever is."""
    yield from _SMALL
    yield from ("-c", f"cluster_name={name}")
    hosts = f"{','.join('127.0.0.1' for _ in ports)} port={','.join(map(str, ports))}"
    primary = f"host={hosts} user=postgres target_session_attrs=read-write"
    yield from ("-c", f"primary_conninfo={primary}")
    yield from ("-c", "wal_retrieve_retry_interval=100ms")
    for option in options:
        yield from ("-c", option)


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lives(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
