"""What users of a manager see when it ends, hangs, or is run by a supervisor."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import crowd
import pytest
from backends import innermost
from manager_states import opened, settle
from managers import SECONDS, end, foreground, process_of, wait_for_end

from sharedstate import ConfigurationError, StoreUnavailable
from sharedstate.stores.manager.client import Connection
from sharedstate.stores.manager.local import beside
from sharedstate.stores.manager.server import Server, run_foreground
from sharedstate.stores.manager.store import run_manager

ENDS = 3


class TestEnding:
    def test_killed(self, path: Path) -> None:
        """Its state is gone, and a client that had seen it is told before it counts anew."""
        with opened(path.parent) as state, opened(path.parent) as newcomer:
            assert state.inc("n", 5) == 5
            end(path)
            with pytest.raises(StoreUnavailable) as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown  # It did not get there.
            with pytest.raises(StoreUnavailable, match="another one.*empty"):
                state.inc("n")
            assert state.inc("n") == 1
            assert newcomer.inc("n") == 2

    def test_killed_with_many_connections(self, path: Path) -> None:
        """No connection to the dead one is used a second time."""
        with opened(path.parent) as state:
            store = state.store._store  # type: ignore[attr-defined]
            store._idle += [store._connection() for _ in range(5)]
            state.inc("n")
            end(path)
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    state.get("n")
            assert state.get("n") is None

    @pytest.mark.slow
    def test_told_after_a_fork(self, path: Path) -> None:
        """A child is told of what its parent had seen."""
        with opened(path.parent) as state:
            state.inc("n")
            state.close()
            end(path)
            kind, text = crowd.in_child(state.inc, "n")
            assert kind == "StoreUnavailable" and "another one" in text

    @pytest.mark.parametrize(("name", "unknown"), [("inc", True), ("clear", True), ("get", False)])
    def test_killed_before_it_replies(
        self, path: Path, name: str, unknown: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A write that was sent may have been made; a read has changed nothing."""
        with opened(path.parent) as state:
            state.inc("n")
            process, receive = process_of(path), Connection._receive
            assert process is not None

            def killed(connection: Connection, *arguments: Any) -> bytes:
                os.kill(process, signal.SIGKILL)
                return receive(connection, *arguments)

            os.kill(process, signal.SIGSTOP)
            monkeypatch.setattr(Connection, "_receive", killed)
            with pytest.raises(StoreUnavailable) as caught:
                getattr(state, name)(*() if name == "clear" else ("n",))
            assert caught.value.outcome_unknown is unknown
            wait_for_end(path)

    def test_stopped(self, path: Path) -> None:
        """One that hangs is an error in time, and no later request takes its late reply."""
        with opened(path.parent) as state:
            state.set_many({"a": "a", "b": "b", "n": 0})
            store = innermost(state.store)
            store.timeout = store._idle[0]._timeout = 0.2
            os.kill(process_of(path), signal.SIGSTOP)
            with pytest.raises(StoreUnavailable, match="0.2 seconds") as sent:
                state.inc("n")
            with pytest.raises(StoreUnavailable, match="0.2 seconds") as unsent:
                state.inc("n")  # On a new connection, which is not even greeted.
            assert (sent.value.outcome_unknown, unsent.value.outcome_unknown) == (True, False)
            os.kill(process_of(path), signal.SIGCONT)
            store.timeout = SECONDS
            assert state.get_many("a", "b", "n") == ["a", "b", 1]

    @pytest.mark.slow
    def test_deleted(self, path: Path) -> None:
        """One whose socket is deleted ends, so that there are never two that count."""
        with opened(path.parent) as state:
            state.inc("n")
            for file in path.parent.iterdir():
                file.rename(file.with_name(f"old-{file.name}"))
            wait_for_end(path.with_name(f"old-{path.name}"))
            with pytest.raises(StoreUnavailable):
                state.inc("n")

    def test_lost_authkey(self, path: Path) -> None:
        """Without the authkey's file nobody gets in, and no second one is started."""
        with opened(path.parent) as state:
            state.inc("n")
            state.close()
            beside(path, "key").unlink()
            with pytest.raises(StoreUnavailable, match=str(beside(path, "key"))):
                state.inc("n")

    @pytest.mark.slow
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
    def test_ended_under_load(self, path: Path, number: signal.Signals) -> None:
        """Whenever it ends, those who use it get `StoreUnavailable`, and then go on with a new one.

        No number is given twice without that error between: each worker's numbers grow until it.
        """
        ended = threading.Event()
        results: list[list[int | None]] = [[] for _ in range(4)]

        def count(numbers: list[int | None]) -> None:
            with opened(path.parent) as state:
                while not ended.is_set():
                    try:
                        numbers.append(state.inc("n"))
                    except StoreUnavailable:
                        numbers.append(None)

        threads = [threading.Thread(target=count, args=(numbers,)) for numbers in results]
        for thread in threads:
            thread.start()

        def all_count() -> None:
            goals = [len(numbers) for numbers in results]
            for numbers, goal in zip(results, goals, strict=True):
                while sum(number is not None for number in numbers[goal:]) < 3:
                    time.sleep(0.01)

        all_count()
        for _ in range(ENDS):
            process = process_of(path)
            assert process is not None
            os.kill(process, number)
            while process_of(path) in (process, None):
                time.sleep(0.01)
            all_count()
        ended.set()
        for thread in threads:
            thread.join()
        assert beside(path, "log").read_text() == ""
        for numbers in results:
            assert numbers.count(None) >= ENDS
            for before, after in pairwise(numbers):
                assert before is None or after is None or after > before

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_signals(self, path: Path, number: signal.Signals) -> None:
        """A signal ends it cleanly: its socket is gone, and its log empty."""
        with opened(path.parent) as state:
            state.inc("n")
            end(path, number)
            assert not path.exists()
            assert beside(path, "log").read_text() == beside(path, "pid").read_text() == ""


class TestSupervised:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_ends_cleanly(self, path: Path, number: signal.Signals) -> None:
        """In the foreground a signal ends it with 0, and its socket is gone."""
        with foreground(path) as process, opened(path.parent) as state:
            assert state.inc("n") == 1
            os.kill(process.pid, number)
            process.join(SECONDS)
            assert process.exitcode == 0
            assert not path.exists()

    def test_ended_before_it_has_handlers(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A signal that comes as soon as there is a socket leaves none behind either."""
        run = Server.run

        def run_late(server: Server) -> None:
            signal.raise_signal(signal.SIGTERM)
            run(server)

        monkeypatch.setattr(Server, "run", run_late)
        process = multiprocessing.get_context("fork").Process(target=run_foreground, args=(path,))
        process.start()
        process.join(SECONDS)
        process.kill()
        process.join()
        assert process.exitcode == 0
        assert not path.exists()

    @pytest.mark.slow
    def test_workers_leave_it_to_the_supervisor(self, path: Path) -> None:
        """Workers wait for the supervisor to start it again, and say how to go on without."""
        with opened(path.parent) as state:
            with foreground(path):
                assert state.inc("n") == 1
            for _ in range(3):
                with pytest.raises(StoreUnavailable):
                    state.inc("n")
            with pytest.raises(StoreUnavailable, match="supervisor.*remove") as caught:
                state.inc("n")
            assert not caught.value.outcome_unknown
            with foreground(path):
                with pytest.raises(StoreUnavailable, match="another one"):
                    state.inc("n")
                assert state.inc("n") == 1
            beside(path, "pid").unlink()
            settle(lambda: state.inc("n"))

    @pytest.mark.slow
    def test_only_one(self, path: Path) -> None:
        """Where one serves, another is refused, with the number of the one that does."""
        with opened(path.parent) as state:
            state.inc("n")
            with pytest.raises(ConfigurationError, match=f"process {process_of(path)}"):
                run_manager({"CACHE_TYPE": "manager", "CACHE_DIR": path.parent})
            assert state.inc("n") == 2
