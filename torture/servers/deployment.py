"""A store under test: its settings, its servers, and what it does not promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .node import Node
from .proxy import Proxy

COMMON: Mapping[str, Any] = {
    "CACHE_CODEC": "json",
    "CACHE_KEY_PREFIX": "torture:",
    "CACHE_TIMEOUT": 1.0,
}
"""The settings of all stores."""


@dataclass
class Deployment:
    """A store that runs, with its servers and the proxies before them.

    :param settings: of a Flask configuration, for the clients, besides `COMMON`.
    :param is_shared: whether several processes share it.
    :param nodes: its servers.
    :param proxies: between the clients and the servers.
    :param leader: which server a fail-over is away from.
    :param losses: what it may lose under which nemesis, as the documentation says: name → reason.
    """

    name: str
    settings: Mapping[str, Any]
    is_shared: bool = True
    nodes: list[Node] = field(default_factory=list)
    proxies: list[Proxy] = field(default_factory=list)
    leader: Callable[[], Node] | None = None
    losses: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = {**COMMON, **self.settings}


Start = Callable[[Path], AbstractContextManager[Deployment]]
"""Starts a store in an empty directory, for as long as the context lasts."""
