"""A store that is tortured: its settings, its servers, and what it does not promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .node import Node
from .wire import Wire


@dataclass
class Site:
    """A store that runs.

    :param settings: of a Flask configuration, for the clients.
    :param is_shared: whether several processes share it.
    :param nodes: its servers.
    :param wires: what lies between the clients and the servers.
    :param fail_over: lets another server take over, and returns what starts the old one again.
    :param losses: what it may lose under which nemesis, as the documentation says: name → reason.
    """

    name: str
    settings: Mapping[str, Any]
    is_shared: bool = True
    nodes: list[Node] = field(default_factory=list)
    wires: list[Wire] = field(default_factory=list)
    fail_over: Callable[[], Callable[[], None]] | None = None
    losses: Mapping[str, str] = field(default_factory=dict)
    has_bound: bool = False
