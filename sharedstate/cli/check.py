"""Tries every operation on a store, and says what is wrong and how to fix it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

from ..errors import ConfigurationError, NotSupported, SharedStateError, StoreFull, StoreUnavailable
from ..keyspace.arguments import ABSENT
from ..locks.lock import ALL_LOCKS, FENCES
from ..state import State

REMEDIES: dict[type[SharedStateError], str] = {
    StoreUnavailable: "start the store, or correct its address (CACHE_URL, CACHE_DIR, …)",
    StoreFull: "make room: delete keys, raise CACHE_MAX_BYTES or the server's limit",
    ConfigurationError: "correct the setting that the message names",
}


def check_state(state: State, workers: int = 1) -> Iterator[tuple[str, str | None]]:
    """The name of each operation with what is wrong with it, ``None`` if it works.

    Works in a namespace of its own with a random key, and removes what it stored. Last comes what
    endangers the state although every operation works.
    """
    scratch = state.namespace("check")
    key = f"check-{secrets.token_hex(8)}"
    for name, operation in _OPERATIONS.items():
        problem = _try(operation, scratch, f"{key}-{name}")
        yield name, problem
        if problem and problem.startswith("StoreUnavailable"):
            return
    risks = state.store.risks()
    if state.store.scope == "process" and workers > 1:
        risks.append(
            f"WORKERS is {workers}, and each worker has a memory of its own: choose filesystem"
        )
    yield "risks", "; ".join(risks) or None


def _try(operation: Callable[[State, str], bool], state: State, key: str) -> str | None:
    try:
        if operation(state, key):
            return None
        return "returned something else than it should; is another program writing to this store?"
    except NotSupported:
        return None
    except SharedStateError as error:
        remedy = next((text for kind, text in REMEDIES.items() if isinstance(error, kind)), None)
        if getattr(error, "remedy", None):
            remedy = None  # The message says it.
        return f"{type(error).__name__}: {error}" + (f" — {remedy}" if remedy else "")
    finally:
        _forget(state, key)


def _forget(state: State, key: str) -> None:
    try:
        state.delete(key)
        state.namespace("once").delete(key)
        state.namespace("lock").namespace(FENCES).delete(ALL_LOCKS)
    except SharedStateError:
        pass  # What is wrong has been said.


def _lock(state: State, name: str) -> bool:
    with state.lock(name, lease=5, wait=1) as lock:
        lock.renew()
        return lock.fence > 0


_OPERATIONS: dict[str, Callable[[State, str], bool]] = {
    "ping": lambda state, key: state.store.ping() is None,
    "set, get": lambda state, key: state.set(key, "x", 60) and state.get(key) == "x",
    "ttl": lambda state, key: state.set(key, 1, 60) and 0 < (state.ttl(key) or 0) <= 60,
    "add": lambda state, key: state.add(key, 1, 60) and not state.add(key, 2, 60),
    "inc": lambda state, key: (state.inc(key, timeout=60), state.inc(key, -3)) == (1, -2),
    "once": lambda state, key: [state.inc(key, once=key, timeout=60) for _ in "12"] == [1, 1],
    "update": lambda state, key: state.update(key, lambda x: [*x, 1], default=[]) == [1],
    "compare_and_set": lambda state, key: (
        state.compare_and_set(key, ABSENT, 1, timeout=60) and not state.compare_and_set(key, 2, 3)
    ),
    "set_many, get_many": lambda state, key: (
        bool(state.set_many({key: 1}, 60)) and state.get_many(key) == [1]
    ),
    "inc_many": lambda state, key: state.inc_many({key: 2}, timeout=60) == {key: 2},
    "keys": lambda state, key: state.set(key, 1, 60) and state.keys(key) == [key],
    "lock": _lock,
    "delete": lambda state, key: state.set(key, 1, 60) and state.delete(key),
}
