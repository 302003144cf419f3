"""Fixtures that open each store of `backends.BACKENDS`, with the servers they need."""

from __future__ import annotations

import os
import signal
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import crowd
import pytest
from backends import BACKENDS, Backend, Clock
from browsers import api, chromium, playwright, site, tabs, visit  # noqa: F401  # fixtures
from database_servers import (  # noqa: F401  # fixtures
    empty_mariadb,
    empty_postgresql,
    mariadb_url,
    postgresql_url,
    sqlite_url,
)
from etcd_servers import empty_etcd, etcd_member  # noqa: F401  # fixtures
from flask.testing import FlaskClient
from hypothesis import HealthCheck, settings
from managers import empty_manager, manager_url  # noqa: F401  # fixtures
from memcached_servers import empty_memcached, memcached_port  # noqa: F401  # fixtures
from redis_servers import (  # noqa: F401  # fixtures
    cluster_url,
    empty_cluster,
    empty_redis,
    empty_sentinel,
    redis_url,
    sentinel_url,
)

import app as service
from common import cache
from sharedstate import State
from sharedstate.codec import JSONCodec, PickleCodec
from sharedstate.stores.base import Store
from sharedstate.stores.registry import open_store

# How long an example takes is a matter of what else the machine does.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_configure(config: pytest.Config) -> None:
    # Ignored in what a script starts with `&`, and servers would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line(
        "markers", "needs(*abilities): runs on the stores that have all of these (`Store.can`)"
    )
    config.addinivalue_line(
        "markers", "on(*ids): runs on these stores only, as the others would do just the same"
    )


@pytest.fixture(scope="session", autouse=True)
def temporary_files() -> Iterator[None]:
    """A directory for the temporary files of servers, which those that are killed leave behind."""
    before = os.environ.get("TMPDIR")
    tempfile.gettempdir()  # This process keeps its own.
    with tempfile.TemporaryDirectory(prefix="servers-", ignore_cleanup_errors=True) as directory:
        os.environ["TMPDIR"] = directory
        yield
    if before is None:
        del os.environ["TMPDIR"]
    else:
        os.environ["TMPDIR"] = before


@pytest.fixture(scope="session", autouse=True)
def greenlets() -> Iterator[None]:
    """The process of the crowds of greenlets ends with the tests."""
    yield
    crowd.end_greenlets()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items[:] = filter(_is_able, items)
    if hasattr(config, "workerinput"):
        _longest_first(items)
    for item in items:
        backend = _backend_of(item)
        if backend is not None and backend.slow:
            item.add_marker(pytest.mark.slow)


def _longest_first(items: list[pytest.Item]) -> None:
    """Order the files so that no worker of xdist begins a long one when the others are done.

    How long a file takes is guessed: a slow test takes as long as some twenty others.
    """
    guesses = Counter[Path]()
    for item in items:
        guesses[item.path] += 20 if item.get_closest_marker("slow") else 1
    items.sort(key=lambda item: guesses[item.path], reverse=True)


def _is_able(item: pytest.Item) -> bool:
    backend = _backend_of(item)
    needed = {ability for mark in item.iter_markers("needs") for ability in mark.args}
    on = item.get_closest_marker("on")
    return backend is None or (needed <= backend.can and (not on or backend.id in on.args))


def _backend_of(item: pytest.Item) -> Backend | None:
    return item.callspec.params.get("backend") if hasattr(item, "callspec") else None


@pytest.fixture(params=BACKENDS, ids=[backend.id for backend in BACKENDS])
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each store of the table that can do what the test's marker `needs` names."""
    return request.param


@pytest.fixture
def cache_settings(
    backend: Backend, request: pytest.FixtureRequest, tmp_path: Path
) -> dict[str, str]:
    """The Flask configuration of an empty store that the test has to itself."""
    server = backend.server
    return backend.settings(request.getfixturevalue(server) if server else str(tmp_path))


@pytest.fixture
def race_settings(cache_settings: dict[str, str], backend: Backend) -> dict[str, str]:
    """The same, with a prefix as that of `state`, for the states that a crowd opens."""
    return cache_settings | {"CACHE_KEY_PREFIX": backend.prefix}


@pytest.fixture
def store(cache_settings: Mapping[str, str]) -> Iterator[Store]:
    """An empty store, closed when the test ends."""
    store = open_store(cache_settings)
    yield store
    store.close()


@pytest.fixture
def clock(backend: Backend, store: Store, cache_settings: Mapping[str, str]) -> Clock:
    """What lets time pass for all records of `store`; on an embedded one, time stands still."""
    return backend.clock(store, cache_settings)


@pytest.fixture
def state(store: Store, backend: Backend) -> State:
    """A state that holds any Python object, on an empty store."""
    return State(store, codec=PickleCodec(), prefix=backend.prefix)


@pytest.fixture
def json_state(store: Store) -> State:
    """A state that holds JSON, on the same store as `state` and beside it."""
    return State(store, codec=JSONCodec(), prefix="json:")


@pytest.fixture
def client(cache_settings: dict[str, str], backend: Backend) -> Iterator[FlaskClient]:
    """A client of the service on an empty store, inside the application's context."""
    prefix = {"CACHE_KEY_PREFIX": backend.prefix}
    app = service.create_app({"TESTING": True, **cache_settings, **prefix})
    with app.app_context():
        yield app.test_client()
        cache.state.close()
