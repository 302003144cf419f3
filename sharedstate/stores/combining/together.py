"""Does the operations of several callers in one step of the store."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ...errors import SharedStateError, StoreUnavailable
from ..base import Store
from ..operations import Each
from .waiting import Waiting, copied, outcome_unknown, too_late


def do_together(store: Store, taken: Sequence[Waiting]) -> None:
    """Bring all operations to an end: each with its own result or its own error.

    Nothing is begun when the store's time-out is over, and so it returns within two of them.

    A ``BaseException`` is raised; then some have not ended.
    """
    deadline = time.monotonic() + store.timeout
    writes = [waiting for waiting in taken if waiting.operation.writes]
    reads = [waiting for waiting in taken if not waiting.operation.writes]
    if writes:
        _do(store, writes, _write, deadline)
    if reads and writes and time.monotonic() >= deadline:
        for waiting in reads:
            waiting.end(None, too_late(store.timeout))
    elif reads:
        _do(store, reads, _read, deadline)


def _do(store: Store, some: Sequence[Waiting], step: Any, deadline: float) -> None:
    if len(some) == 1:
        _do_alone(store, some[0])
        return
    try:
        results = step(store, some)
    except Exception as error:  # noqa: BLE001  # each caller gets it
        if _may_be_applied(store, error):
            for waiting in some:
                waiting.end(None, _unknown(error))
        else:
            _do_each_alone(store, some, error, deadline)
    else:
        for waiting, result in zip(some, results, strict=True):
            if isinstance(result, SharedStateError):
                waiting.end(None, result)
            else:
                waiting.end(result)


def _write(store: Store, some: Sequence[Waiting]) -> list[Any]:
    places: dict[bytes, int] = {}
    steps = [
        (tuple([places.setdefault(key, len(places)) for key in waiting.keys]), waiting.operation)
        for waiting in some
    ]
    results: list[Any] = store.transact(list(places), Each(steps))
    return results


def _read(store: Store, some: Sequence[Waiting]) -> list[Any]:
    keys = list(dict.fromkeys(key for waiting in some for key in waiting.keys))
    found = dict(zip(keys, store.read(keys), strict=True))
    now = store.clock()
    return [waiting.operation([found[key] for key in waiting.keys], now)[1] for waiting in some]


def _may_be_applied(store: Store, error: Exception) -> bool:
    if isinstance(error, SharedStateError):
        return isinstance(error, StoreUnavailable) and error.outcome_unknown
    return store.has_server  # The other stores undo what fails.


def _unknown(error: Exception) -> Exception:
    if isinstance(error, StoreUnavailable):
        return copied(error)
    unknown = outcome_unknown(f"an operation that was done together with others failed: {error!r}")
    unknown.__cause__ = error
    return unknown


def _do_each_alone(
    store: Store, some: Sequence[Waiting], error: Exception, deadline: float
) -> None:
    """After a step that was refused as a whole: for want of room, or because of one record.

    A store that does not respond is not asked for all of them in turn.
    """
    for waiting in some:
        if time.monotonic() < deadline:
            _do_alone(store, waiting)
        else:
            waiting.end(None, copied(error))


def _do_alone(store: Store, waiting: Waiting) -> None:
    try:
        result = store.transact(waiting.keys, waiting.operation)
    except Exception as error:  # noqa: BLE001  # the caller gets it
        waiting.end(None, error)
    else:
        waiting.end(result)
