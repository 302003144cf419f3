"""What counts on a database with standbys while one fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from postgresql_standbys import DEADLINE, until

from sharedstate import State, StoreUnavailable


@contextmanager
def state_at(url: str) -> Iterator[State]:
    """A state as an application has it."""
    settings = {"CACHE_URL": url, "CACHE_TIMEOUT": 5, "CACHE_KEY_PREFIX": "test:"}
    with closing(State.from_settings(settings)) as state:
        yield state


class Load:
    """Threads that count until they are told to stop, some with tokens, each through its own store.

    One with a token is repeated until it has an answer.
    """

    def __init__(self, url: str) -> None:
        self.plain: list[int] = []
        self.tokens: list[int] = []
        self.unknown = 0
        self._url = url
        self._lock = threading.Lock()
        self._stop = threading.Event()
        works = (self._count, self._count, self._count_once, self._count_once)
        self._threads = [
            threading.Thread(target=self._work, args=(work, f"{number}"))
            for number, work in enumerate(works)
        ]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def wait_for(self, more: int) -> None:
        """Wait until so many more were counted of each kind."""
        goals = [(kind, len(kind) + more) for kind in (self.plain, self.tokens)]
        until(lambda: all(len(kind) >= goal for kind, goal in goals))

    def check(self, plain: int, tokens: int) -> None:
        """Every number was given once, none is lost, and no more is counted than may be."""
        assert sorted(self.tokens) == list(range(1, tokens + 1))
        assert len(set(self.plain)) == len(self.plain)
        assert max(self.plain) <= plain
        assert len(self.plain) <= plain <= len(self.plain) + self.unknown

    def _work(self, work: Any, name: str) -> None:
        with state_at(self._url) as state:
            work(state, name)

    def _count(self, state: State, name: str) -> None:
        while not self._stop.is_set():
            try:
                self.plain.append(state.inc("plain"))
            except StoreUnavailable as error:
                with self._lock:
                    self.unknown += error.outcome_unknown
                self._stop.wait(0.02)

    def _count_once(self, state: State, name: str) -> None:
        done = 0
        while not self._stop.is_set():
            self.tokens.append(
                patiently(lambda: state.inc("tokens", once=f"{name} {done}"))  # noqa: B023
            )
            done += 1


def patiently(operation: Any) -> Any:
    """What the operation returns once its store is there."""
    found: list[Any] = []

    def succeeds() -> bool:
        try:
            found.append(operation())
        except StoreUnavailable:
            return False
        return True

    until(succeeds)
    return found[0]
