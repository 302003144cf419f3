"""The stores that can be tortured, each with how it is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from race.servers.processes import HOST, reserved_port

from .node import Node, listens, program
from .site import Site
from .wire import Wire

TIMEOUT = 1.0
COMMON: dict[str, Any] = {
    "CACHE_CODEC": "json",
    "CACHE_KEY_PREFIX": "torture:",
    "CACHE_TIMEOUT": TIMEOUT,
}
EMBEDDED_BYTES = 64 << 20

Start = Callable[[Path], AbstractContextManager[Site]]


def _embedded(name: str, *, is_shared: bool = True) -> Start:
    @contextmanager
    def start(directory: Path) -> Iterator[Site]:
        settings = {"CACHE_TYPE": name, "CACHE_MAX_BYTES": EMBEDDED_BYTES}
        if is_shared:
            settings["CACHE_DIR"] = str(directory)
        yield Site(name, COMMON | settings, is_shared)

    return start


@contextmanager
def _redis(directory: Path) -> Iterator[Site]:
    """One that has on its disk what it has acknowledged."""
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        command = [
            program("redis-server", "valkey-server"),
            *("--bind", HOST, "--port", str(port), "--dir", str(directory), "--save", ""),
            *("--appendonly", "yes", "--appendfsync", "always"),
        ]
        node = Node("redis", command, directory / "log", lambda: _answers(port))
        stack.enter_context(closing(node))
        node.start()
        wire = stack.enter_context(closing(Wire(port)))
        settings = {"CACHE_URL": f"redis://{HOST}:{wire.port}"}
        yield Site("redis", COMMON | settings, nodes=[node], wires=[wire])


def _answers(port: int) -> bool:
    """Whether a server has loaded its data."""
    import redis

    if not listens(port):
        return False
    with redis.Redis(host=HOST, port=port, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


SITES: dict[str, Start] = {
    "simple": _embedded("simple", is_shared=False),
    "filesystem": _embedded("filesystem"),
    "lmdb": _embedded("lmdb"),
    "redis": _redis,
}
