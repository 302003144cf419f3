"""A process that is stopped in the middle of a write."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lifecycle import (
    Settings,
    of,
    opened,
)

from sharedstate import State, StoreUnavailable


class TestStoppedWriter:
    @of("filesystem")
    @pytest.mark.slow
    def test_others(self, cache_settings: Settings) -> None:
        """Beside one that is stopped in its turn writers give up in time and readers read on."""
        timeout = 0.2
        with opened(cache_settings, CACHE_TIMEOUT=timeout) as state:
            assert state.inc("n") == 1
            with stopped_in_its_turn(cache_settings) as pid:
                for _ in range(2):
                    began = time.monotonic()
                    with pytest.raises(StoreUnavailable, match="CACHE_TIMEOUT"):
                        state.inc("n")
                    assert time.monotonic() - began >= timeout
                    assert state.get("n") == 1
                    assert state.keys() == ["n"]
                with opened(cache_settings, CACHE_TIMEOUT=timeout) as another:
                    with pytest.raises(StoreUnavailable):
                        another.set("n", 0)
                os.kill(pid, signal.SIGCONT)
                # The stopped one was about to write, and does.
                assert os.waitpid(pid, 0)[1] == 0
            assert state.get("n") == 100
            assert state.inc("n") == 101

    @of("filesystem")
    @pytest.mark.slow
    def test_opened_beside_it(self, cache_settings: Settings) -> None:
        """A reader that opens the file while its writer is stopped reads all the same."""
        with opened(cache_settings) as state:
            assert state.inc("n") == 1
        with stopped_in_its_turn(cache_settings) as pid:
            with opened(cache_settings) as state:
                assert state.get("n") == 1
            os.kill(pid, signal.SIGCONT)
            os.waitpid(pid, 0)


@contextmanager
def stopped_in_its_turn(settings: Settings) -> Iterator[int]:
    """A process that is stopped in the middle of writing 100 to `n`."""
    pid = os.fork()
    if pid == 0:
        try:
            state = State.from_settings(settings)
            key = state.keyspace.key("n")
            state.store.transact((key,), _Stopping())  # type: ignore[arg-type]
            os._exit(0)
        finally:
            os._exit(1)
    assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # It has gone on to its end.


class _Stopping:
    """An operation in the middle of which its process stops."""

    def __call__(self, records: Any, now: float) -> Any:
        os.kill(os.getpid(), signal.SIGSTOP)
        return ((b"100", float("inf")),), None
