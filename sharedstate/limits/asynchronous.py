"""The storage of :mod:`.storage` for the asynchronous strategies of the ``limits`` library.

::

    limiter = limits.aio.strategies.MovingWindowRateLimiter(
        limits.storage.storage_from_string("async+sharedstate://")
    )

A thread asks the store, so that the event loop does not wait for it.
"""

from __future__ import annotations

from asyncio import to_thread

from limits.aio.storage import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from ..errors import SharedStateError
from .storage import SharedStateStorage

_storage = SharedStateStorage()


class AsyncSharedStateStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """Exact among all that share the store of the current application, for each strategy.

    Its methods are those of :class:`SharedStateStorage`, and its hits are the same.
    """

    STORAGE_SCHEME = ["async+sharedstate"]

    @property
    def base_exceptions(self) -> type[Exception]:
        return SharedStateError

    @property
    def storage(self) -> str:
        return _storage.storage

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return await to_thread(_storage.incr, key, expiry, amount)

    async def get(self, key: str) -> int:
        return await to_thread(_storage.get, key)

    async def get_expiry(self, key: str) -> float:
        return await to_thread(_storage.get_expiry, key)

    async def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return await to_thread(_storage.acquire_entry, key, limit, expiry, amount)

    async def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        return await to_thread(_storage.get_moving_window, key, limit, expiry)

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        return await to_thread(_storage.acquire_sliding_window_entry, key, limit, expiry, amount)

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        return await to_thread(_storage.get_sliding_window, key, expiry)

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        await to_thread(_storage.clear_sliding_window, key, expiry)

    async def check(self) -> bool:
        return await to_thread(_storage.check)

    async def reset(self) -> int | None:
        return await to_thread(_storage.reset)

    async def clear(self, key: str) -> None:
        await to_thread(_storage.clear, key)
