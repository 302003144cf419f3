"""Every operation is exact among threads, processes and greenlets, on every store.

Each race is run on our stores, where nobody may find a fault, and on cachelib's get-then-set,
where somebody must: a judge that never finds one proves nothing.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import crowd
import pytest
from backends import BACKENDS, Backend, meets
from get_then_set import controls
from races import RACES

from sharedstate import State

pytestmark = pytest.mark.slow

# What the other races are made of.
_BASE = ("inc", "update", "lock", "once", "set_many")
# They have more than one way to write, by the operation. The others do each one alike, inside a
# transaction, and greenlets are switched alike in all of them.
_MANY_WAYS = ("simple", "filesystem", "redis", "memcached")


def has_all(backend: Backend, kind: str) -> bool:
    """Whether such a crowd meets every race on the store, and not only those of `_BASE`."""
    return backend.id in _MANY_WAYS and (kind != "greenlets" or backend.id == "redis")


CROWDS = [
    pytest.param(backend, name, kind, id=f"{name}-{kind}-{backend.id}")
    for name, race in RACES.items()
    for kind in race.ways
    for backend in BACKENDS
    if race.needs <= backend.can and meets(backend, kind)
    if name in _BASE or has_all(backend, kind)
]


@pytest.mark.parametrize("backend, name, kind", CROWDS)
def test_exact(backend: Backend, name: str, kind: str, race_settings: dict[str, str]) -> None:
    """Every result and the end are what one worker after the other would have got."""
    race = RACES[name]
    open_state = partial(State.from_settings, race_settings)
    outcome = race.run(kind, open_state, slow=backend.slow)
    assert list(race.judge(outcome)) == []


@pytest.mark.parametrize("name", RACES)
@pytest.mark.parametrize("kind", ["threads", "forked"])
def test_control(name: str, kind: str, tmp_path: Path) -> None:
    """Get-then-set, on memory among threads and on files among processes, fails every race."""
    race = RACES[name]
    assert any(any(race.judge(race.run(kind, each))) for each in controls(kind, tmp_path))


@pytest.mark.parametrize(
    "backend",
    [pytest.param(backend, id=backend.id) for backend in BACKENDS if backend.scope != "process"],
)
def test_lock_of_a_dead_holder(backend: Backend, race_settings: dict[str, str]) -> None:
    """The lock of a process that died comes free when its lease ends, and not before."""
    lease = 0.2
    began = time.monotonic()
    fence = crowd.in_child(_acquire_and_die, race_settings, lease)
    state = State.from_settings(race_settings)
    with state.lock("l", wait=30) as lock:
        waited = time.monotonic() - began
        assert lock.fence > fence
    state.close()
    # A server may round to its own tick, and its clock is not this one.
    assert waited >= lease - 0.01


def _acquire_and_die(settings: dict[str, str], lease: float) -> int:
    return State.from_settings(settings).lock("l", lease=lease).acquire().fence
