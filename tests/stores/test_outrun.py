"""Who is too slow for the others at a key waits in vain; the store is there for all other keys."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sharedstate import Overloaded
from sharedstate.stores.database.errors import Conflict
from sharedstate.stores.database.store import DatabaseStore
from sharedstate.stores.etcd.store import EtcdStore
from sharedstate.stores.memcached.entry import _outrun


def test_etcd() -> None:
    """A caller that others were faster than again and again opens no breaker."""
    store = EtcdStore([("127.0.0.1", 1)])
    with pytest.raises(Overloaded, match="nothing was applied"):
        store._go_on(7, time.monotonic() - 1)


def test_database(tmp_path: Path) -> None:
    """A caller that others were in the way of all the time opens no breaker."""

    def conflict(database: object) -> None:
        raise Conflict("a deadlock")

    store = DatabaseStore(f"sqlite:///{tmp_path}/a.db", timeout=0.01)
    with pytest.raises(Overloaded, match="nothing was applied"):
        store._until_done(conflict)
    store.close()


def test_memcached() -> None:
    """So does a caller of memcached's."""
    assert isinstance(_outrun(), Overloaded)
