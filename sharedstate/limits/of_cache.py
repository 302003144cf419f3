"""The rate limits of a :class:`~sharedstate.Cache`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from flask import Response, after_this_request, current_app, request
from werkzeug.exceptions import TooManyRequests

from ..backend import fit_key
from .gcra import Allowance, Rate

if TYPE_CHECKING:
    from ..state import State

View = TypeVar("View", bound=Callable[..., Any])


class Limits:
    """Rate limits in the store of the current application."""

    if TYPE_CHECKING:

        @property
        def state(self) -> State: ...

    @overload
    def limit(
        self, name: str, limit: int, /, *, per: float | timedelta, cost: int = 1
    ) -> Allowance: ...

    @overload
    def limit(
        self,
        limit: int,
        /,
        *,
        per: float | timedelta,
        key: Callable[[], str | None] | None = None,
        cost: int = 1,
    ) -> Callable[[View], View]: ...

    def limit(
        self,
        name: str | int,
        limit: int | None = None,
        /,
        *,
        per: float | timedelta,
        key: Callable[[], str | None] | None = None,
        cost: int = 1,
    ) -> Any:
        """Let a hit through if a rate limit allows it, in one step among all that share the store.

        ::

            if not cache.limit(f"login:{request.remote_addr}", 5, per=60):
                abort(429)

            @app.get("/search")
            @cache.limit(5, per=60)
            def search(): ...

        ``limit`` hits may come at once; each is given back after ``per / limit`` seconds. One that
        is refused counts for nothing.

        As a decorator of a view, without a name, it responds with 429 and ``Retry-After`` beyond
        the limit, and adds ``RateLimit`` headers in any case.

        :param name: who or what is limited; hits with the same name count together.
        :param limit: how many hits are allowed, from 1.
        :param per: in how many seconds; at most a million hits a second.
        :param key: of the decorator: returns whose hit the request is, or ``None`` for a request
            that is not limited. Without it, each address is limited by itself.
        :param cost: as how many hits it counts, from 1 to ``limit``.
        :returns: with a name the :class:`Allowance`, without one the decorator.
        :raises InvalidKey: if the name is not one that a key may have.
        :raises ValueError: if ``limit``, ``per`` or ``cost`` is out of its bounds.
        """
        if isinstance(name, int):
            return _Decorator(self, Rate(name, per), cost, key or _address)
        if limit is None or key is not None:
            raise TypeError("limit() takes a name and a limit, or a limit and perhaps a key")
        return Rate(limit, per).hit(self.state, name, cost)


class _Decorator:
    """Limits a view for each of its clients."""

    def __init__(self, cache: Limits, rate: Rate, cost: int, key: Callable[[], str | None]) -> None:
        self._cache = cache
        self._rate = rate
        self._cost = rate.checked_cost(cost)
        self._key = key

    def __call__(self, view: View) -> View:
        name = f"{view.__module__}.{view.__qualname__}"

        @wraps(view)
        def limited(*args: Any, **kwargs: Any) -> Any:
            key = self._key()
            if key is not None:
                self._hit(fit_key(f"{name} {key}"))
            return current_app.ensure_sync(view)(*args, **kwargs)

        return cast(View, limited)

    def _hit(self, name: str) -> None:
        allowance = self._rate.hit(self._cache.state, name, self._cost)

        @after_this_request
        def tell(response: Response) -> Response:
            # Also those of an application that responds to 429 in its own way.
            response.headers.update(allowance.headers())
            return response

        if not allowance:
            raise TooManyRequests(
                f"At most {allowance.limit} requests are allowed in {allowance.per:g} seconds; try "
                f"again in {allowance.retry_after:.1f} seconds."
            )


def _address() -> str:
    return request.remote_addr or ""
