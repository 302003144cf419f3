"""What a call waits for at most: rows, connections, and servers that hang."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any

import pytest
from database_servers import (
    TABLE,
)
from databases import (
    SECONDS,
    client_of,
    impatient,
    limit,
    patiently,
    several,
    silent,
    state_at,
    until_one_waits,
)
from sqlalchemy import make_url

from sharedstate import State, StoreUnavailable
from sharedstate.errors import SharedStateError
from sharedstate.stores.database import engine as database_engine
from sharedstate.stores.database.dialects import postgresql as postgresql_dialect
from sharedstate.stores.support.semaphore import FairSemaphore

WRITES: dict[str, Callable[[State], Any]] = {
    "set": lambda s: s.set("n", 2),
    "inc": lambda s: s.inc("n"),
    "once": lambda s: s.inc("n", once="token"),
    "batch": lambda s: s.inc_many({"n": 1, "m": 1}),
}


class TestTime:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", WRITES)
    def test_a_row_that_others_hold(self, server_url: str, name: str) -> None:
        """A write of a row that is locked gives up in time, has done nothing, and says so."""
        state = state_at(server_url)
        state.set("n", 1)
        limit(state, 0.1)
        with client_of(server_url) as execute:
            execute("BEGIN")
            execute(f"SELECT * FROM {TABLE} FOR UPDATE")
            with pytest.raises(StoreUnavailable) as caught:
                WRITES[name](state)
            assert not caught.value.outcome_unknown
            assert state.get("n") == 1  # Readers do not wait.
            execute("ROLLBACK")
        assert state.get("n") == 1
        WRITES[name](state)
        assert state.get("n") == 2
        state.close()

    def test_sqlite_that_others_hold(self, sqlite_url: str) -> None:
        """A file in which somebody else writes is an error in time, and can still be read."""
        state = state_at(sqlite_url)
        state.set("n", 1)
        limit(state, 0.1)
        with client_of(sqlite_url) as execute:
            execute("BEGIN IMMEDIATE")
            for write in WRITES.values():
                with pytest.raises(StoreUnavailable) as caught:
                    write(state)
                assert not caught.value.outcome_unknown
            assert state.get("n") == 1
            execute("ROLLBACK")
        assert state.inc("n") == 2
        state.close()

    def test_a_server_that_accepts_and_hangs(self, server_url: str) -> None:
        """A server that never says a word is an error in bounded time, with a known outcome."""
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            port = listener.getsockname()[1]
            silent = make_url(server_url).set(port=port).render_as_string(hide_password=False)
            state = state_at(silent, CACHE_TIMEOUT=0.2)
            with pytest.raises(StoreUnavailable) as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            state.close()

    @pytest.mark.slow
    def test_one_deadline_for_several_hosts(
        self, empty_postgresql: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Hosts that hang take a share of the call's time, and what comes after has the rest."""
        real = make_url(empty_postgresql)
        with ExitStack() as stack:
            hosts = [
                f"127.0.0.1:{stack.enter_context(silent()).getsockname()[1]}" for _ in range(3)
            ]
            state = state_at(several(real, hosts), CACHE_TIMEOUT=0.3)
            with pytest.raises(StoreUnavailable, match=hosts[2]) as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            state.close()
            limits: list[float] = []
            limited = postgresql_dialect._limited

            def recorded(waits: Any, seconds: float) -> Any:
                limits.append(seconds)
                return limited(waits, seconds)

            monkeypatch.setattr(postgresql_dialect, "_limited", recorded)
            state = state_at(several(real, [*hosts[:1], f"{real.host}:{real.port}"]))
            with impatient(state, 2):
                patiently(lambda: state.get("n"))
            # The first host had half of the time, and what is sent afterwards has what is left.
            assert limits[0] <= 1
            del limits[:]
            state.get("n")
            assert limits[0] > 1
            state.close()

    def test_late_before_the_commit(self, server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where the time is over before the commit, nothing is applied, and the error says so."""
        state = state_at(server_url)
        state.set("n", 1)
        monkeypatch.setattr(database_engine, "left", lambda seconds: 0.0)
        with pytest.raises(StoreUnavailable, match="before the commit") as caught:
            state.inc("n", once="token")
        assert not caught.value.outcome_unknown
        monkeypatch.undo()
        assert state.inc("n", once="token") == 2
        state.close()


class TestFairSemaphore:
    def test_in_order(self) -> None:
        """Whoever waits is served before whoever comes later, also before the one that leaves."""
        semaphore, order = FairSemaphore(1), []
        assert semaphore.acquire(0)

        def visit(me: int) -> None:
            assert semaphore.acquire(SECONDS)
            order.append(me)
            semaphore.release()

        threads = [threading.Thread(target=visit, args=(me,)) for me in range(5)]
        for waiting, thread in enumerate(threads):
            thread.start()
            while len(semaphore._waiters) <= waiting:
                time.sleep(0)
        semaphore.release()
        visit(5)
        for thread in threads:
            thread.join()
        assert order == list(range(6))

    def test_too_late(self) -> None:
        """Whoever waited in vain does not hold it afterwards."""
        semaphore = FairSemaphore(1)
        assert semaphore.acquire(0)
        assert not semaphore.acquire(0.01)
        semaphore.release()
        assert semaphore.acquire(0)

    def test_more_threads_than_connections(self, url: str) -> None:
        """Threads that find all connections in use wait their turn, and give up in time."""
        state = state_at(url, CACHE_OPTIONS={"pool_size": 1})
        assert state.inc("n") == 1
        database = state.store._opened.value  # type: ignore[attr-defined]
        with database.connection():
            with impatient(state, 0.1), pytest.raises(StoreUnavailable, match="in use"):
                state.inc("n")
        assert state.inc("n") == 2
        state.close()


def test_an_interrupted_statement_costs_its_connection(empty_postgresql: str) -> None:
    """What a caller's own exception breaks off is hung up on; the next one gets its own result."""

    class Interruption(BaseException):
        pass

    def interrupt(number: int, frame: Any) -> None:
        raise Interruption

    def send() -> None:
        until_one_waits(empty_postgresql)
        signal.pthread_kill(main, signal.SIGALRM)

    main = threading.main_thread().ident
    assert main is not None and threading.get_ident() == main
    state = state_at(empty_postgresql)
    state.inc("n")
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with client_of(empty_postgresql) as execute:
            execute("BEGIN")
            execute(f"SELECT * FROM {TABLE} FOR UPDATE")
            sender = threading.Thread(target=send)
            sender.start()
            with pytest.raises((Interruption, SharedStateError)):
                state.inc("n")
            sender.join(SECONDS)
            assert state.inc("other") == 1
            execute("ROLLBACK")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert state.get("n") in (1, 2)
    state.close()
