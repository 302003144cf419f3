"""Servers that keep nothing on disk."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from race.servers.processes import HOST, reserved_port

from .deployment import Deployment, Start
from .node import Node, listens, program
from .proxy import Proxy

NOTHING_KEPT = "the server keeps nothing on disk: when it ends, all is gone"
LOSSES = {"server-kill": NOTHING_KEPT}

MANAGER = """
import os, sys
from sharedstate.stores.manager.server import run_foreground
key = os.environ["FLASK_CACHE_MANAGER_AUTHKEY"].encode()
run_foreground((sys.argv[1], int(sys.argv[2])), key)
"""


@contextmanager
def _server(
    directory: Path, name: str, command: Sequence[str], scheme: str, **env: str
) -> Iterator[Deployment]:
    """A server behind a proxy; ``{port}`` in its command is its port."""
    with ExitStack() as stack:
        port = stack.enter_context(reserved_port())
        words = [word.format(port=port) for word in command]
        node = Node(name, words, directory / "log", lambda: listens(port), env)
        stack.enter_context(closing(node))
        node.start()
        proxy = stack.enter_context(closing(Proxy(port)))
        settings = {"CACHE_URL": f"{scheme}{HOST}:{proxy.port}"}
        yield Deployment(name, settings, nodes=[node], proxies=[proxy], losses=LOSSES)


@contextmanager
def _memcached(directory: Path) -> Iterator[Deployment]:
    user = ("-u", "root") if os.geteuid() == 0 else ()
    command = [program("memcached"), *user, "-l", HOST, "-p", "{port}", "-M"]
    with _server(directory, "memcached", command, "memcached://") as deployment:
        yield deployment


@contextmanager
def _manager(directory: Path) -> Iterator[Deployment]:
    key = secrets.token_urlsafe(32)
    command = [sys.executable, "-c", MANAGER, HOST, "{port}"]
    with _server(
        directory, "manager", command, f"manager://:{key}@", FLASK_CACHE_MANAGER_AUTHKEY=key
    ) as deployment:
        yield deployment


IN_MEMORY: dict[str, Start] = {"memcached": _memcached, "manager": _manager}
