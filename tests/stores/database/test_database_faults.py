"""Databases that are down, full, read-only, or end in the middle."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest
from database_servers import (
    mariadb,
    postgresql,
    server_directory,
)
from databases import (
    SECONDS,
    client_of,
    impatient,
    inc_each,
    state_at,
    until,
)
from sqlalchemy import make_url

from race.servers.processes import reserved_port
from sharedstate import State, StoreFull, StoreUnavailable, ValueTooLarge
from sharedstate.stores.database.store import DatabaseStore


@contextmanager
def proxy(url: str, word: bytes) -> Iterator[tuple[str, threading.Event, list[bytes]]]:
    """The URL of a way to the server that ends when ``word`` has passed to it, without a response.

    It does so once the event is set; the list is of what it ended with.
    """
    address = make_url(url)
    armed, seen = threading.Event(), []

    def pass_on(source: socket.socket, sink: socket.socket, is_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if is_client and word in data and armed.is_set():
                    seen.append(data)
                    sink.sendall(data)
                    sink.shutdown(socket.SHUT_WR)
                    source.shutdown(socket.SHUT_RDWR)
                    return
                if not seen:
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve(client: socket.socket) -> None:
        with client, socket.create_connection((address.host, address.port)) as server:
            back = threading.Thread(target=pass_on, args=(server, client, False))
            back.start()
            pass_on(client, server, True)
            back.join(SECONDS)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threads = []

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=serve, args=(client,)))
                threads[-1].start()

        accepting = threading.Thread(target=accept)
        accepting.start()
        port = listener.getsockname()[1]
        try:
            yield address.set(port=port).render_as_string(hide_password=False), armed, seen
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(SECONDS)
            for thread in threads:
                thread.join(SECONDS)


LOST = {
    "single": (b"+ ", lambda s: s.inc("n"), True),
    "commit": (b"COMMIT", lambda s: s.inc("n", once="token"), True),
    "before": (b"FOR UPDATE", lambda s: s.inc("n", once="token"), False),
    "commit of each": (b"COMMIT", lambda s: inc_each(s, ["m", "n"]), True),
    "before each": (b"FOR UPDATE", lambda s: inc_each(s, ["m", "n"]), False),
}


@pytest.mark.parametrize("name", LOST)
def test_a_lost_response(server_url: str, name: str) -> None:
    """A write whose response is lost is sent once; its outcome is unknown from the commit on."""
    word, write, unknown = LOST[name]
    direct = state_at(server_url)
    direct.set("n", 1)
    with proxy(server_url, word) as (url, armed, seen):
        state = state_at(url)
        state.get("n")
        armed.set()
        with pytest.raises(StoreUnavailable) as caught:
            write(state)
        assert caught.value.outcome_unknown is unknown
        assert len(seen) == 1
        state.close()
    deadline = time.monotonic() + SECONDS
    while direct.get("n") != 1 + unknown and time.monotonic() < deadline:
        time.sleep(0.01)
    assert direct.get("n") == 1 + unknown
    direct.close()


@pytest.mark.slow
@pytest.mark.parametrize("run", [postgresql, mariadb])
def test_stopped_killed_and_restarted(run: Any) -> None:
    """A server's death is noticed before something is sent; one that hangs is an error in time."""
    with reserved_port() as port, server_directory() as directory:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        if run is mariadb:
            url = f"mysql://root@127.0.0.1:{port}/mysql"
        state = state_at(url)
        with run(port, directory) as server:
            assert state.inc("n") == 1
            with _stopped(server.pid), impatient(state, 0.3), _sooner(state, 0.3):
                with pytest.raises(StoreUnavailable) as caught:
                    state.inc("n")
                assert caught.value.outcome_unknown
            number = state.inc("n")
            assert number in (2, 3)  # The one that hung may have been applied.
            threads = [threading.Thread(target=state.get, args=("n",)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        with run(port, directory):
            # All connections are stale, and no write finds out by being lost.
            assert state.get("n") == number
            assert state.inc("n") == number + 1
        with pytest.raises(StoreUnavailable) as caught:
            state.inc("n")
        assert not caught.value.outcome_unknown
        state.close()


@contextmanager
def _sooner(state: State, seconds: float) -> Iterator[None]:
    """PyMySQL waits so long for a reply on the connection that the store has."""
    with state.store._opened.value.connection() as connection:  # type: ignore[attr-defined]
        driver = connection._connection.dbapi_connection
    before = getattr(driver, "_read_timeout", None)
    if before:
        driver._read_timeout = seconds
    try:
        yield
    finally:
        if before:
            driver._read_timeout = before


@contextmanager
def _stopped(leader: int) -> Iterator[None]:
    """A server stands still with all its processes, as one whose machine swaps or is overloaded."""
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    processes = [leader, *map(int, children)]
    try:
        for process in processes:
            with suppress(FileNotFoundError, ProcessLookupError):
                os.kill(process, signal.SIGSTOP)
                while not _has_stopped(process):
                    time.sleep(0.001)
        yield
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)


def _has_stopped(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(") T " in thread.read_text() for thread in threads)


def test_a_connection_that_was_ended(server_url: str) -> None:
    """A connection that the server has ended is noticed before something is sent on it."""
    state = state_at(server_url)
    state.set("n", 1)
    ours = "FROM pg_stat_activity WHERE application_name = 'sharedstate'"
    end = f"SELECT pg_terminate_backend(pid) {ours}"
    if server_url.startswith("maria"):
        ours = "FROM information_schema.processlist WHERE id != CONNECTION_ID() AND user = 'root'"
    with client_of(server_url) as execute:
        if server_url.startswith("maria"):
            for (number,) in execute(f"SELECT id {ours}"):
                with suppress(pymysql.Error):  # One of a test before may just be ending.
                    execute(f"KILL {number}")
        else:
            execute(end)
        until(lambda: execute(f"SELECT COUNT(*) {ours}") == [(0,)])
    assert state.inc("n") == 2
    state.close()


def test_read_only(empty_postgresql: str) -> None:
    """A server that became a replica refuses writes, and is connected to anew each time."""
    state = state_at(empty_postgresql)
    state.inc("n")
    state.close()
    with client_of(empty_postgresql) as execute:
        execute("ALTER DATABASE postgres SET default_transaction_read_only = on")
        try:
            with pytest.raises(StoreUnavailable, match="read-only") as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
        finally:
            execute("SET default_transaction_read_only = off")
            execute("ALTER DATABASE postgres RESET default_transaction_read_only")
    assert state.inc("n") == 2
    state.close()


def test_a_value_that_is_too_large_for_the_server(empty_mariadb: str) -> None:
    """What MariaDB would hang up on is not sent, and the store goes on."""
    state = state_at(empty_mariadb, CACHE_MAX_VALUE_BYTES=1 << 30)
    with pytest.raises(ValueTooLarge, match="max_allowed_packet"):
        state.set("a", "x" * (20 << 20))
    assert state.inc("n") == 1
    state.close()


def test_a_full_file(sqlite_url: str) -> None:
    """An SQLite file that cannot grow refuses the write, and keeps what it has."""
    store = DatabaseStore(sqlite_url)
    prepare = store._dialect.prepare

    def confine(connection: Any) -> None:
        prepare(connection)
        connection.execute("PRAGMA max_page_count = 20").close()

    store._dialect.prepare = confine  # type: ignore[method-assign]
    state = State(store)
    state.inc("n")
    with pytest.raises(StoreFull):
        state.set("big", "x" * 200_000)
    assert state.inc("n") == 2
    state.close()
