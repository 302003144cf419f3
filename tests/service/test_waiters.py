"""Those that wait for another value: told of it together, by one look at the store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from rsgi_requests import Waiter
from served import SECONDS
from werkzeug.http import parse_etags

from service.server import waiting
from service.server.waiting import Awaited, Waiters
from sharedstate import StoreUnavailable


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        *(("wait=20", 20), ("WAIT = 5", 5), ('wait="7"', 7), ("wait=9;a=b", 9), ("wait=999", 60)),
        *(("respond-async, wait=10", 10), ("wait=3, wait=4", 3), ("wait=x, wait=4", 4)),
        *((text, None) for text in ("", "wait", "wait=", "wait=0", "wait=-1", "wait=1.5")),
        *((text, None) for text in ("await=5", "a;wait=5", "wait=" + "9" * 10, "wait=²")),
    ],
)
def test_preferences(prefer: str, seconds: int | None) -> None:
    """What RFC 7240 allows is understood, anything else ignored, and nobody waits for too long."""
    awaited = Awaited.of(b"key", prefer, '"1"')
    assert (awaited and awaited.seconds) == seconds


class Versions:
    """The versions in a store, and what was asked for."""

    def __init__(self) -> None:
        self.present: dict[bytes, str | None] = {b"a": "1", b"b": "1"}
        self.looks: list[list[bytes]] = []
        self.error: Exception | None = None

    def __call__(self, keys: Sequence[bytes]) -> list[str | None]:
        self.looks.append(list(keys))
        if self.error:
            raise self.error
        return [self.present[key] for key in keys]


@pytest.fixture
def versions(monkeypatch: pytest.MonkeyPatch) -> Versions:
    monkeypatch.setattr(waiting, "TICK_SECONDS", 0.001)
    return Versions()


def awaited(key: bytes = b"a", known: str = '"1"', seconds: int = SECONDS) -> Awaited:
    return Awaited(key, parse_etags(known), seconds)


def play(versions: Versions, scene: Callable[[Waiters], Awaitable[None]]) -> None:
    """Run a scene to its end; nothing of it is left then."""

    async def run() -> None:
        waiters = Waiters(versions)
        async with asyncio.timeout(SECONDS):
            await scene(waiters)
            while waiters._watcher is not None:
                await asyncio.sleep(0)
        assert not waiters._waiting
        assert not waiters._new
        waiters._reader.shutdown()

    asyncio.run(run())


async def looked(versions: Versions, times: int = 3) -> None:
    """The watcher has looked a few times more."""
    enough = len(versions.looks) + times
    while len(versions.looks) < enough:
        await asyncio.sleep(0.001)


class TestWaiters:
    @pytest.mark.parametrize("present", ["2", None])
    def test_change(self, versions: Versions, present: str | None) -> None:
        """All that wait for the key are told, and the others wait on."""

        async def scene(waiters: Waiters) -> None:
            of_a = [asyncio.create_task(waiters.wait(awaited(), Waiter())) for _ in range(50)]
            of_b = asyncio.create_task(waiters.wait(awaited(b"b"), Waiter()))
            await looked(versions)
            assert not any(task.done() for task in (*of_a, of_b))
            versions.present[b"a"] = present
            assert await asyncio.gather(*of_a) == [True] * 50
            await looked(versions)
            assert not of_b.done()
            waiters.close()
            assert await of_b

        play(versions, scene)
        assert max(map(len, versions.looks)) == 2  # However many wait.

    @pytest.mark.parametrize("known", ['"2"', "", '"2", W/"3"'])
    def test_at_once(self, versions: Versions, known: str) -> None:
        """Who does not know the present value need not wait for the next look at all keys."""
        waiting.TICK_SECONDS = 10 * SECONDS  # The fixture puts it back.

        async def scene(waiters: Waiters) -> None:
            other = asyncio.create_task(waiters.wait(awaited(b"b"), Waiter()))
            await looked(versions, 1)
            assert await waiters.wait(awaited(known=known), Waiter())
            assert versions.looks == [[b"b"], [b"a"]]
            waiters.close()
            assert await other
            assert waiters._watcher is not None
            waiters._watcher.cancel()  # It would sleep until the next look.

        play(versions, scene)

    @pytest.mark.parametrize("known", ['"1"', "*", 'W/"1", "2"'])
    def test_time_is_over(self, versions: Versions, known: str) -> None:
        """Without a change it ends when its time is over."""

        async def scene(waiters: Waiters) -> None:
            assert await waiters.wait(awaited(known=known, seconds=0), Waiter())
            over = asyncio.create_task(waiters.wait(awaited(known=known), Waiter()))
            await looked(versions)
            assert not over.done()
            waiters.close()
            assert await over

        play(versions, scene)

    def test_gone(self, versions: Versions) -> None:
        """A client that went away waits no longer."""

        async def scene(waiters: Waiters) -> None:
            client = Waiter()
            task = asyncio.create_task(waiters.wait(awaited(), client))
            await looked(versions)
            client.gone.set()
            assert not await task

        play(versions, scene)

    def test_error(self, versions: Versions) -> None:
        """If the store cannot be read nobody waits: Flask says what is wrong."""
        versions.error = StoreUnavailable("down")

        async def scene(waiters: Waiters) -> None:
            assert await waiters.wait(awaited(), Waiter())
            versions.error = None
            versions.present[b"a"] = "2"
            assert await waiters.wait(awaited(), Waiter())

        play(versions, scene)

    def test_room(self, versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
        """A bounded number may wait, and none after the end."""
        monkeypatch.setattr(waiting, "WAITERS", 1)

        async def scene(waiters: Waiters) -> None:
            assert waiters.has_room()
            task = asyncio.create_task(waiters.wait(awaited(), Waiter()))
            await looked(versions)
            assert not waiters.has_room()
            waiters.close()
            assert await task
            assert not waiters.has_room()

        play(versions, scene)
