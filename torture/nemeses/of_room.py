"""What happens to the room that a store has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from sharedstate import State, StoreFull, StoreUnavailable

from ..servers.deployment import Deployment
from .nemesis import Nemesis, Targets

SIZES = (1 << 18, 1 << 14, 1 << 10, 1 << 6)


def _has_a_bound(deployment: Deployment) -> str:
    return (
        ""
        if deployment.is_shared and "CACHE_MAX_BYTES" in deployment.settings
        else "it has no bound here"
    )


@contextmanager
def _full(targets: Targets) -> Iterator[str]:
    settings = {**targets.deployment.settings, "CACHE_KEY_PREFIX": "ballast:"}
    with closing(State.from_settings(settings)) as one:
        written: list[str] = []
        for size in SIZES:
            _fill(one, written, "x" * size)
        try:
            yield f"{len(written)} values"
        finally:
            _empty(one, written)


def _fill(state: State, written: list[str], value: str) -> None:
    while True:
        try:
            state.set(str(len(written)), value)
        except StoreFull:
            return
        except StoreUnavailable:
            continue
        written.append(str(len(written)))


def _empty(state: State, written: list[str]) -> None:
    while True:
        try:
            state.delete_many(*written)
            return
        except StoreUnavailable:
            continue


FULL = Nemesis("full", "the store is full, up to `CACHE_MAX_BYTES`", _has_a_bound, _full)
