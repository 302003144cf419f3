"""Flask-Caching's decorators, with keys that every store can hold."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Concatenate, ParamSpec, Protocol, TypeAlias, TypeVar, overload

import flask_caching

from ..keyspace.arguments import checked_seconds
from ..state.compute import kept_seconds
from .results import ResultKey, fit_key

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R", covariant=True)
S = TypeVar("S")
Seconds: TypeAlias = float | timedelta

_OF_CACHED = inspect.signature(flask_caching.Cache.cached)
_OF_MEMOIZE = inspect.signature(flask_caching.Cache.memoize)
_STALE = "stale_seconds"


class _Decorator(Protocol[P, R]):
    """The types of a method of Flask-Caching's that makes a decorator, and those with ``stale``."""

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(
        self, timeout: Seconds, *, stale: Seconds, **options: Any
    ) -> Callable[[Callable[Q, S]], Callable[Q, S]]: ...


def _typed_like(
    original: Callable[Concatenate[Any, P], R],
) -> Callable[[Callable[..., Any]], _Decorator[P, R]]:
    """Gives a method the types and the documentation of another one that it stands for."""

    def decorate(method: Callable[..., Any]) -> Any:
        return functools.wraps(original)(method)

    return decorate


class Decorators(flask_caching.Cache):
    """Makes keys out of paths and arguments, of any length and with any character.

    ``cached`` and ``memoize`` take ``stale`` besides, with a ``timeout``: for how many seconds more
    a result is kept. One caller then computes it anew, and the others get the old one meanwhile.
    """

    @_typed_like(flask_caching.Cache.cached)
    def cached(self, *args: Any, stale: Seconds = 0, **kwargs: Any) -> Any:
        bound = _OF_CACHED.bind(self, *args, **kwargs)
        seconds = _keep_longer(bound.arguments, stale)
        given = bound.arguments.get("make_cache_key")
        as_flask_caching_does = super().cached

        def decorator(view: Callable[..., Any]) -> Any:
            def make_cache_key(*args: Any, **kwargs: Any) -> ResultKey:
                if callable(given):
                    return fit_key(given(*args, **kwargs), seconds)
                key = cached_view.make_cache_key(*args, use_request=True, **kwargs)
                return fit_key(key, seconds)

            bound.arguments["make_cache_key"] = make_cache_key
            cached_view = as_flask_caching_does(*bound.args[1:], **bound.kwargs)(view)
            cached_view.make_cache_key = _fitting(cached_view.make_cache_key)
            return cached_view

        return decorator

    @_typed_like(flask_caching.Cache.memoize)
    def memoize(self, *args: Any, stale: Seconds = 0, **kwargs: Any) -> Any:
        bound = _OF_MEMOIZE.bind(self, *args, **kwargs)
        seconds = _keep_longer(bound.arguments, stale)
        decorate = super().memoize(*bound.args[1:], **bound.kwargs)

        def decorator(function: Callable[..., Any]) -> Any:
            if seconds:
                setattr(function, _STALE, seconds)
            return decorate(function)

        return decorator if seconds else decorate

    def _memoize_make_cache_key(self, *args: Any, **kwargs: Any) -> Callable[..., str]:
        make = super()._memoize_make_cache_key(*args, **kwargs)

        def make_cache_key(f: Callable[..., Any], *args: Any, **kwargs: Any) -> ResultKey:
            return fit_key(make(f, *args, **kwargs), getattr(f, _STALE, 0))

        return make_cache_key

    def _memvname(self, funcname: str) -> str:
        return fit_key(super()._memvname(funcname))


def _keep_longer(arguments: dict[str, Any], stale: Seconds) -> float:
    """Add ``stale`` to the timeout of a decorator; returns it in seconds."""
    seconds = checked_seconds(stale)
    if not seconds:
        return 0
    if arguments.get("timeout") is None:
        raise TypeError("stale needs a timeout: it is for how long a result is kept after that")
    if arguments.get("cache_none"):
        raise TypeError("stale and cache_none do not go together: None stands for a result to come")
    arguments["timeout"] = kept_seconds(checked_seconds(arguments["timeout"]), seconds)
    return seconds


def _fitting(make: Callable[..., Any]) -> Callable[..., ResultKey]:
    def make_cache_key(*args: Any, **kwargs: Any) -> ResultKey:
        return fit_key(make(*args, **kwargs))

    return make_cache_key
