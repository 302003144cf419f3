"""Flask-Caching's decorators, with keys that every store can hold."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar, cast

import flask_caching

from .results import ResultKey, fit_key

F = TypeVar("F", bound=Callable[..., Any])

_OF_CACHED = inspect.signature(flask_caching.Cache.cached)


def _typed_like(original: F) -> Callable[[Callable[..., Any]], F]:
    """Gives a method the types and the documentation of another one that it stands for."""

    def decorate(method: Callable[..., Any]) -> F:
        return cast(F, functools.wraps(original)(method))

    return decorate


class Decorators(flask_caching.Cache):
    """Makes keys out of paths and arguments, of any length and with any character."""

    @_typed_like(flask_caching.Cache.cached)
    def cached(self, *args: Any, **kwargs: Any) -> Any:
        bound = _OF_CACHED.bind(self, *args, **kwargs)
        given = bound.arguments.get("make_cache_key")
        as_flask_caching_does = super().cached

        def decorator(view: Callable[..., Any]) -> Any:
            def make_cache_key(*args: Any, **kwargs: Any) -> ResultKey:
                if callable(given):
                    return fit_key(given(*args, **kwargs))
                return fit_key(cached_view.make_cache_key(*args, use_request=True, **kwargs))

            bound.arguments["make_cache_key"] = make_cache_key
            cached_view = as_flask_caching_does(*bound.args[1:], **bound.kwargs)(view)
            cached_view.make_cache_key = _fitting(cached_view.make_cache_key)
            return cached_view

        return decorator

    def _memoize_make_cache_key(self, *args: Any, **kwargs: Any) -> Callable[..., str]:
        return _fitting(super()._memoize_make_cache_key(*args, **kwargs))

    def _memvname(self, funcname: str) -> str:
        return fit_key(super()._memvname(funcname))


def _fitting(make: Callable[..., Any]) -> Callable[..., ResultKey]:
    def make_cache_key(*args: Any, **kwargs: Any) -> ResultKey:
        return fit_key(make(*args, **kwargs))

    return make_cache_key
