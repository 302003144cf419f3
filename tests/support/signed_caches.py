"""Caches with keys to sign by, and values that are forged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from backends import BACKENDS, Backend
from flask import Flask

from sharedstate import Cache
from sharedstate.codec import PickleCodec
from sharedstate.stores.operations import Put

IN_THE_NETWORK = pytest.mark.on(*(each.id for each in BACKENDS if each.scope == "network"))
ON_A_SERVER = pytest.mark.on("redis")
OLD, NEW = "the old key", "the new key"


class Bomb:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.fixture
def bomb(tmp_path: Path) -> Iterator[bytes]:
    """The bytes of a bomb, which has not gone off when the test ends."""
    yield PickleCodec().encode(Bomb(tmp_path / "exploded"))
    assert not (tmp_path / "exploded").exists()


@pytest.fixture
def opened(cache_settings: Mapping[str, Any], backend: Backend) -> Iterator[Any]:
    """Opens the store of the test for an application with the settings that are given."""
    states = []

    def open_cache(**settings: Any) -> Cache:
        app = Flask(__name__)
        app.config.update(cache_settings, CACHE_KEY_PREFIX=backend.prefix)
        app.config.update(settings)
        cache = Cache(app)
        states.append(cache.state)
        return cache

    yield open_cache
    for state in states:
        state.close()


def put(cache: Cache, key: str, raw: bytes, timeout: float = 0) -> None:
    """Write bytes to the store, as anybody can who reaches it."""
    state = cache.state
    state.store.transact((state.keyspace.key(key),), Put(raw, timeout))


def raw(cache: Cache, key: str) -> bytes | None:
    state = cache.state
    return state.store.values((state.keyspace.key(key),))[0]


def run(cache: Cache, *arguments: str, stdin: str | None = None) -> Any:
    return cache.app.test_cli_runner().invoke(args=["state", *arguments], input=stdin)
