"""Requests as Granian hands them over by RSGI, without Granian."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any


class Client:
    """Takes the answer, and has a body in pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    async def __call__(self) -> bytes:
        return b"".join(self.pieces)

    def __aiter__(self) -> Client:
        return self

    async def __anext__(self) -> bytes:
        if not self.pieces:
            raise StopAsyncIteration
        return self.pieces.pop(0)

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.body = status, dict(headers), body
        self.lines = headers


def scope_of(method: str, path: str, **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return SimpleNamespace(
        method=method,
        path=path,
        query_string="",
        scheme="http",
        server="127.0.0.1:5000",
        client="[::1]:4000",
        headers=named,
    )


class Headers:
    """As Granian has them: a name is there once, and a line that is not ASCII is left out."""

    def __init__(self, *lines: tuple[str, str]) -> None:
        self._lines = lines

    def keys(self) -> list[str]:
        return list(dict(self._lines))

    def items(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self._lines if value.isascii()]

    def get(self, name: str, default: Any = None) -> Any:
        return dict(reversed(self.items())).get(name, default)

    def __len__(self) -> int:
        return len(self.keys())

    def __contains__(self, name: str) -> bool:
        return name in self.keys()


class Waiter(Client):
    """A client that waits until it goes away."""

    def __init__(self) -> None:
        super().__init__()
        self.gone = asyncio.Event()

    async def client_disconnect(self) -> None:
        await self.gone.wait()
