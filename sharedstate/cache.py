"""The drop-in :class:`Cache`: Flask-Caching's, with its backend exact."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar

from flask import Flask, request, request_started
from flask_caching import backends
from flask_caching.jinja2ext import JINJA_CACHE_ATTR_NAME

from .backend import Backend, fit_key
from .backend.application import current_application
from .backend.decorators import Decorators
from .cli import state_group
from .errors import NotSupported
from .jobs import Jobs
from .limits import Limits
from .objects import Objects
from .settings import checked, own_settings
from .state import State
from .stores.registry import type_name, unknown_type

P = ParamSpec("P")
R = TypeVar("R")

# The library limits knows a storage's scheme once its class is defined: also for those who give it
# to Flask-Limiter as an argument, before or after there is a Cache.
with suppress(ImportError):  # It is not installed, or older than 4.1.
    from .limits import asynchronous, storage  # noqa: F401

logger = logging.getLogger(__name__)


_NONE: dict[Any, Any] = {}


class _Delegated(Generic[P, R]):
    """A method of the current application's state, or of its backend, with the types of it.

    Flask-Caching's own proxies have no types, and pass each argument on twice.
    """

    def __init__(self, method: Callable[Concatenate[Any, P], R], owner: str = "state") -> None:
        self.__doc__ = method.__doc__
        self._method = method
        self._name = method.__name__
        self._owner = owner

    def __get__(self, cache: Cache | None, owner: type[Cache]) -> Callable[P, R]:
        if cache is None:
            return self._method  # type: ignore[return-value]  # as documentation shows it
        operation: Callable[P, R] = getattr(getattr(cache, self._owner), self._name)
        return operation


class Cache(Objects, Jobs, Limits, Decorators):
    """Flask-Caching's ``Cache`` on a store that is exact.

    ::

        cache = Cache()
        cache.init_app(app, config={"CACHE_TYPE": "filesystem", "CACHE_DIR": "/var/lib/app"})
        cache.inc("hits")

    Everything of Flask-Caching's works as before; :meth:`inc` and the other operations of
    :class:`State` are beside it. ``CACHE_TYPE`` is ``filesystem`` where none is set, and
    ``CACHE_DEFAULT_TIMEOUT`` 0: what is stored stays.

    Inside a request or an application context the operations are those of that application;
    outside, of the only one that was initialized.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._apps: weakref.WeakSet[Flask] = weakref.WeakSet()
        self._last_app: Callable[[], Flask | None] = lambda: None
        super().__init__(*args, **kwargs)

    def init_app(self, app: Flask, config: dict[str, Any] | None = None) -> None:
        """Give the application its store, not opened before it is used.

        :param app: may be one of several that this object serves.
        :param config: settings that go before those of ``app.config``, which stays as it is.
        :raises ConfigurationError: naming the setting that is wrong.
        """
        if config is None or isinstance(config, dict):  # What it else is, Flask-Caching says.
            given = {**app.config, **(self.config or {}), **(config or {})}
            if type_name(given) is not None:
                config = {**(config or {}), **own_settings(given)}
        super().init_app(app, config)
        self._apps.add(app)
        self._last_app = weakref.ref(app)
        if self.with_jinja2_ext:
            setattr(app.jinja_env, JINJA_CACHE_ATTR_NAME, _Fragments(self))

    def _set_cache(self, app: Flask, config: dict[str, Any]) -> None:
        name = type_name(config)
        if name is None:
            self._set_foreign_cache(app, config)
            return
        if not config["CACHE_DIR"]:
            config["CACHE_DIR"] = Path(app.instance_path) / "sharedstate"
        config["CACHE_SERIALIZER"] = self.serializer
        settings = checked(config)
        backend = Backend.from_settings(settings, app.config)
        state = backend.state
        app.extensions.setdefault("cache", {})[self] = backend
        # For the commands; of several caches of an application, that of the first.
        app.extensions.setdefault("sharedstate", Extension(state, settings))
        app.cli.add_command(state_group)
        self.app = app
        if state.store.scope == "process":
            _watch_for_processes(app)

    def _set_foreign_cache(self, app: Flask, config: dict[str, Any]) -> None:
        """A backend that is not ours works as under Flask-Caching, without our operations."""
        asked = config["CACHE_TYPE"]
        if not isinstance(asked, str) or ("." not in asked and not hasattr(backends, asked)):
            raise unknown_type(asked)
        super()._set_cache(app, config)

    @property
    def cache(self) -> Any:
        """The current application's backend: a :class:`Backend`, or one of Flask-Caching's."""
        app = current_application() or self._only_app()
        try:
            return app.extensions["cache"][self]
        except KeyError:
            raise RuntimeError(
                f"this cache was not initialized for {app!r}: call cache.init_app(app) first"
            ) from None

    @property
    def state(self) -> State:
        """The current application's :class:`State`.

        :raises NotSupported: if its ``CACHE_TYPE`` is a backend of Flask-Caching's, whose
            operations are not exact.
        """
        # As `cache` finds it: one call more is a hundredth of an increment.
        app = current_application() or self._only_app()
        backend = app.extensions.get("cache", _NONE).get(self)
        return backend.state if type(backend) is Backend else self._backend.state

    @property
    def _backend(self) -> Backend:
        backend = self.cache
        if isinstance(backend, Backend):
            return backend
        raise NotSupported(
            f"CACHE_TYPE selects {type(backend).__name__}, which cannot do this exactly; "
            "choose one of sharedstate's stores"
        )

    def delete_prefix(self, prefix: str) -> int:
        """Remove the keys that start with ``prefix``, of cached results too, key by key.

        One that comes meanwhile may stay.

        :param prefix: as for :meth:`State.keys`.
        :returns: how many were removed.
        :raises NotSupported: if the store cannot list its keys.
        """
        return self._backend.delete_prefix(prefix)

    def _only_app(self) -> Flask:
        last = self._last_app()
        if last is not None and len(self._apps) == 1:
            return last  # To go through a set of weak references is slower.
        apps = list(self._apps)
        if len(apps) == 1:
            return apps[0]
        if not apps:
            raise RuntimeError("this cache has no application yet: call cache.init_app(app) first")
        raise RuntimeError(
            f"this cache serves {len(apps)} applications; say which one is meant: "
            "with app.app_context(): …"
        )

    get = _Delegated(Backend.get, "cache")
    has = _Delegated(Backend.has, "cache")
    get_many = _Delegated(Backend.get_many, "cache")
    get_dict = _Delegated(Backend.get_dict, "cache")
    set = _Delegated(Backend.set, "cache")
    add = _Delegated(Backend.add, "cache")
    set_many = _Delegated(Backend.set_many, "cache")
    delete = _Delegated(Backend.delete, "cache")
    delete_many = _Delegated(Backend.delete_many, "cache")
    clear = _Delegated(Backend.clear, "cache")

    put = _Delegated(State.put)
    exchange = _Delegated(State.exchange)
    touch = _Delegated(State.touch)
    ttl = _Delegated(State.ttl)
    inc = _Delegated(State.inc)
    dec = _Delegated(State.dec)
    inc_saturated = _Delegated(State.inc_saturated)
    inc_once = _Delegated(State.inc_once)
    inc_many = _Delegated(State.inc_many)
    batch = _Delegated(State.batch)
    update = _Delegated(State.update)
    revise = _Delegated(State.revise)
    compare_and_set = _Delegated(State.compare_and_set)
    get_or_set = _Delegated(State.get_or_set)
    append = _Delegated(State.append)
    extend = _Delegated(State.extend)
    keys = _Delegated(State.keys)
    items = _Delegated(State.items)
    item = _Delegated(State.item)
    wait = _Delegated(State.wait)
    lock = _Delegated(State.lock)


class Extension(NamedTuple):
    """What ``app.extensions["sharedstate"]`` holds."""

    state: State
    settings: Mapping[str, Any]


class _Fragments:
    """What the template tag ``{% cache %}`` sees of a cache."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    @property
    def app(self) -> Flask:
        return self._cache.app

    def get(self, key: str) -> Any:
        return self._cache.get(fit_key(key))

    def set(self, key: str, value: Any, timeout: float | None) -> Any:
        return self._cache.set(fit_key(key), value, timeout=timeout)

    def delete(self, key: str) -> Any:
        return self._cache.delete(fit_key(key))


def _watch_for_processes(app: Flask) -> None:
    """Warn at the application's first request if several processes serve it."""

    def look(sender: Flask, **arguments: Any) -> None:
        request_started.disconnect(look, app)
        if request.environ.get("wsgi.multiprocess"):
            warn_of_processes()

    request_started.connect(look, app, weak=False)


def warn_of_processes() -> None:
    """Say loudly that processes which should share state do not."""
    logger.error(PROCESSES_DO_NOT_SHARE)


PROCESSES_DO_NOT_SHARE = (
    "CACHE_TYPE 'simple' keeps the state in the memory of one process, and this application is "
    "served by several: each counts for itself. Choose 'filesystem', or any other store"
)
