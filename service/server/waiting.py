"""Requests that wait for another value (``Prefer: wait``, RFC 7240), without a thread of their own.

They wait on the event loop. One watcher reads all keys that are waited for at once, ten times a
second, however many wait, and those of new requests as they come::

    client A   GET a, If-None-Match "1" ··········┐
    client B   GET a, If-None-Match "1" ··········┤ a is "2": Flask responds to A and B
    client C   GET b, If-None-Match "7" ··········┴················ the time is over: 304
    watcher           a, b ··· a, b ··· a, b ··· a, b ··· b ··· b
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from werkzeug.datastructures import ETags
from werkzeug.http import parse_etags

if TYPE_CHECKING:
    from granian.rsgi import HTTPProtocol  # type: ignore[attr-defined]  # not re-exported

TICK_SECONDS = 0.1
LONGEST_SECONDS = 60
WAITERS = 500
"""How many requests may wait in a worker; others get their response at once."""
_AT_A_TIME = 100

_wait = re.compile(r"wait\s*=\s*\"?([0-9]{1,9})\"?", re.IGNORECASE).fullmatch


class Awaited(NamedTuple):
    """What a request waits for: that the key has none of these versions."""

    key: bytes
    known: ETags
    seconds: int

    @classmethod
    def of(cls, key: bytes, prefer: str, none_match: str) -> Awaited | None:
        """That of the headers ``Prefer`` and ``If-None-Match``; ``None`` if there is none."""
        for preference in prefer.split(","):
            found = _wait(preference.partition(";")[0].strip())
            if found:
                seconds = min(int(found[1]), LONGEST_SECONDS)
                return cls(key, parse_etags(none_match), seconds) if seconds else None
        return None


class Waiters:
    """The requests of a worker that wait.

    :param versions: reads the versions of keys, ``None`` for one that is not there.
    """

    def __init__(self, versions: Callable[[Sequence[bytes]], Iterable[str | None]]) -> None:
        self._versions = versions
        self._reader = ThreadPoolExecutor(1)
        self._waiting: dict[asyncio.Future[None], Awaited] = {}
        self._new: dict[asyncio.Future[None], Awaited] = {}
        self._has_new = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self._limit = WAITERS

    def has_room(self) -> bool:
        """Whether another one may wait."""
        return len(self._waiting) < self._limit

    async def wait(self, awaited: Awaited, client: HTTPProtocol) -> bool:
        """Wait until the key has another version, the time is over, or nothing may wait any more.

        :returns: whether the client is still there.
        """
        over = asyncio.get_running_loop().create_future()
        gone = asyncio.ensure_future(client.client_disconnect())
        self._waiting[over] = self._new[over] = awaited
        self._has_new.set()
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())
        try:
            await asyncio.wait((over, gone), timeout=awaited.seconds, return_when="FIRST_COMPLETED")
            return over.done() or not gone.done()
        finally:
            del self._waiting[over]
            self._new.pop(over, None)
            over.cancel()
            gone.cancel()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._limit = 0
        _end(self._waiting)

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        try:
            while self._waiting:
                self._has_new.clear()
                looked, self._new = self._new, {}
                if loop.time() >= due:
                    looked, due = dict(self._waiting), loop.time() + TICK_SECONDS
                await self._look(looked)
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(due):
                        await self._has_new.wait()
        finally:
            self._watcher = None

    async def _look(self, waiting: dict[asyncio.Future[None], Awaited]) -> None:
        loop = asyncio.get_running_loop()
        keys = list({awaited.key for awaited in waiting.values()})
        try:
            present = await loop.run_in_executor(self._reader, self._read, keys)
        except Exception:  # noqa: BLE001  # Flask meets it too, and responds
            return _end(waiting)
        _end(
            over
            for over, awaited in waiting.items()
            if not awaited.known.contains_weak(present[awaited.key] or "")
        )

    def _read(self, keys: list[bytes]) -> dict[bytes, str | None]:
        found: dict[bytes, str | None] = {}
        for start in range(0, len(keys), _AT_A_TIME):  # Their values are in memory together.
            some = keys[start : start + _AT_A_TIME]
            found.update(zip(some, self._versions(some), strict=True))
        return found


def _end(waiting: Iterable[asyncio.Future[None]]) -> None:
    for over in waiting:
        if not over.done():
            over.set_result(None)
