"""``redis-cluster``: the records on the nodes of a Redis Cluster, by the hash of their keys."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Hashable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from ...errors import ConfigurationError, NotSupported, SharedStateError, StoreUnavailable
from ...settings import Settings
from ..base import Page
from ..operations import Batch, Once, Operation, Record
from ..support.drivers import import_driver
from .commands import pattern
from .connections import Connection, cluster
from .pipeline import Step
from .store import RedisStore, cursor_number

_SCAN_COUNT = 1000


class RedisClusterStore(RedisStore):
    """Strings on many nodes. Each operation on one key is as exact as on one server.

    What changes several keys in one step needs all of them on one node: name them with the same
    hash tag, as in ``{cart7}items`` and ``{cart7}total``; :exc:`NotSupported` is raised where they
    are not. ``set_many`` and ``delete_many`` then go key by key, and ``get_many`` node by node. A
    ``once`` token is kept beside its counter, so one that comes again for a counter on another
    node is not recognized.

    Operations that wait together are not combined: a node that does not respond would delay those
    on the other nodes.
    """

    name = "redis-cluster"
    combines = False

    def __init__(self, connection: Connection, **options: Any) -> None:
        super().__init__(connection, **options)
        errors = import_driver("redis").exceptions
        self._moved = errors.AskError
        self._down = errors.ConnectionError, errors.TimeoutError, errors.ClusterDownError

    @classmethod
    def from_settings(cls, settings: Settings) -> RedisClusterStore:
        if settings["CACHE_REDIS_WAIT"]:
            raise ConfigurationError(
                "CACHE_REDIS_WAIT is not for a Redis Cluster, which replies before its replicas "
                "have a write: leave it out, or use redis+sentinel://, where it holds"
            )
        return cls(cluster(settings))

    def transact(self, keys: Sequence[bytes], operation: Operation) -> Any:
        return self._do(self._beside(keys, operation), operation)

    def _do(self, keys: Sequence[bytes], operation: Operation) -> Any:
        if isinstance(operation, Batch) and len(self._by_slot(keys)) > 1:
            return self._key_by_key(keys, operation)
        return super().transact(keys, operation)

    def read(self, keys: Sequence[bytes]) -> list[Record | None]:
        client = self._opened.value or self._open()
        found: dict[bytes, Record | None] = {}
        with self._errors():
            for group in self._by_slot(keys):
                found.update(zip(group, self._commands.read(client, group), strict=True))
        return [found[key] for key in keys]

    def values(self, keys: Sequence[bytes]) -> list[bytes | None]:
        found: dict[bytes, bytes | None] = {}
        for group in self._by_slot(keys):
            found.update(zip(group, super().values(group), strict=True))
        return [found[key] for key in keys]

    def servers_of(self, keys: Sequence[bytes]) -> Iterable[Hashable]:
        client: Any = self._opened.value
        try:
            return {client.get_node_from_key(key).name for key in keys}
        except (AttributeError, *self._failures):
            return ("",)  # Not connected yet, or no node has the slot.

    def page(self, prefix: bytes, cursor: str | None, limit: int) -> Page:
        """See :meth:`RedisStore.page`; one node after the other."""
        number, _, position = (cursor or "0:").partition(":")
        nodes = self._nodes()
        keys: list[bytes] = []
        node = cursor_number(number, len(nodes))
        deadline = self._page_deadline()
        while node < len(nodes) and len(keys) < limit:
            found, following = self._page_of(
                nodes[node], prefix, position or None, limit - len(keys), deadline
            )
            keys += found
            node, position = (node, following) if following else (node + 1, "")
            if time.monotonic() > deadline:
                break
        return keys, f"{node}:{position}" if node < len(nodes) else None

    def clear(self, prefix: bytes) -> None:
        client = self._opened.value or self._open()
        with self._errors():
            for key in client.scan_iter(match=pattern(prefix), count=_SCAN_COUNT):
                client.unlink(key)

    def _each(self, client: Any, steps: Sequence[Step], node: Hashable = None) -> list[Any]:
        """A pipeline a node; what a node has refused because the key has moved goes by itself.

        redis-py's own pipeline for a cluster sends again what it has lost the reply to.
        """
        steps = [(self._beside(keys, operation), operation) for keys, operation in steps]
        nodes: dict[Any, list[int]] = {}
        alone = []
        for number, (keys, _) in enumerate(steps):
            if len(keys) == 1 or len(self._by_slot(keys)) == 1:
                nodes.setdefault(client.get_node_from_key(keys[0]), []).append(number)
            else:
                alone.append(number)
        results: list[Any] = [None] * len(steps)
        for its_node, numbers in nodes.items():
            found = self._each_of(client, its_node, [steps[number] for number in numbers])
            for number, result in zip(numbers, found, strict=True):
                results[number] = result
                if isinstance(result, Exception) and isinstance(result.__cause__, self._moved):
                    alone.append(number)
        for number in alone:
            results[number] = self._alone(*steps[number])
        return results

    def _each_of(self, client: Any, node: Any, steps: Sequence[Step]) -> list[Any]:
        try:
            found = super()._each(client.get_redis_connection(node), steps, node.name)
        except self._failures as error:
            found = [self._explained(error, operation) for _, operation in steps]
            for result in found:
                result.__cause__ = error
        lost = (result.__cause__ for result in found if isinstance(result, StoreUnavailable))
        if any(isinstance(cause, self._down) for cause in lost):
            # What redis-py does itself it sees fail, after which it asks who has the slots now.
            with suppress(*self._failures):
                client.exists(steps[0][0][0])
        return found

    def _alone(self, keys: Sequence[bytes], operation: Operation) -> Any:
        try:
            return self._do(keys, operation)
        except SharedStateError as error:
            return error

    def _beside(self, keys: Sequence[bytes], operation: Operation) -> Sequence[bytes]:
        """The keys, that of a token on the node of its counter."""
        if not isinstance(operation, Once):
            return keys
        token, counter = keys
        return b"\0{%b}%b" % (self._tag(counter), token), counter

    def _tag(self, key: bytes) -> bytes:
        """A hash tag that leads to the slot of a key: its own tag, itself, or a number."""
        tag = re.search(rb"^[^{]*\{([^}]+)\}", key)
        if tag or b"}" not in key:
            return tag[1] if tag else key
        slot_of = (self._opened.value or self._open()).keyslot
        numbers = map(b"%d".__mod__, itertools.count())
        return next(number for number in numbers if slot_of(number) == slot_of(key))

    def _nodes(self) -> list[Any]:
        client = self._opened.value or self._open()
        return sorted(client.get_primaries(), key=lambda node: str(node.name))

    def _by_slot(self, keys: Sequence[bytes]) -> list[list[bytes]]:
        client = self._opened.value or self._open()
        groups: dict[int, list[bytes]] = {}
        for key in keys:
            groups.setdefault(client.keyslot(key), []).append(key)
        return list(groups.values())

    def _key_by_key(self, keys: Sequence[bytes], batch: Batch) -> list[Any]:
        if not batch.divisible:
            raise NotSupported(
                "these keys are on different nodes of the Redis Cluster, which cannot be "
                "changed in one step; give them the same hash tag, as in {tag}name"
            )
        return [
            super(RedisClusterStore, self).transact((keys[position],), operation)
            for position, operation in batch.steps
        ]
