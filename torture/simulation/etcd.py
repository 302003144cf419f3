"""A cluster of etcd behind a network that loses and delays what is sent to its members.

The cluster itself is one that keeps what it promises: whatever arrives at any member is done in one
order. What is simulated is what this library makes of replies that do not come.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import inf
from typing import Any

from sharedstate.stores.etcd.errors import Again, NotReached
from sharedstate.stores.etcd.messages import Message, raw, text
from sharedstate.stores.etcd.store import EtcdStore

from .disturbances import RATES
from .network import LATENCY, TIMEOUT, Server
from .scheduler import current

MEMBERS = 3

_SLOW_SECONDS = 1.0
_DOWN_SECONDS = 2.0
_NO_LEADER = {"code": 14, "message": "etcdserver: no leader"}
_TIMED_OUT = {"code": 14, "message": "etcdserver: request timed out"}

Entry = tuple[bytes, int, int]
"""A value, the revision at which it was written, and its lease."""


class Cluster:
    """What the members agree on."""

    def __init__(self) -> None:
        self.revision = 1
        self.leases = 0
        self.keys: dict[bytes, Entry] = {}

    def do(self, path: str, message: Message) -> Message:
        """The reply to a request."""
        if path == "/v3/lease/grant":
            self.leases += 1
            return {"ID": str(self.leases), "TTL": message["TTL"]}
        if path == "/v3/kv/range":
            return {**self._range(message), "header": {"revision": str(self.revision)}}
        assert path == "/v3/kv/txn"
        changes: list[None] = []
        reply = self._transaction(message, changes)
        self.revision += bool(changes)
        return {**reply, "header": {"revision": str(self.revision)}}

    def _transaction(self, message: Message, changes: list[None]) -> Message:
        succeeded = all(map(self._holds, message.get("compare", ())))
        steps = message.get("success" if succeeded else "failure", ())
        responses = [self._step(step, changes) for step in steps]
        return {"succeeded": succeeded, "responses": responses}

    def _holds(self, compare: Message) -> bool:
        revisions = [self.keys[key][1] for key in self._span(compare)]
        expected = int(compare["mod_revision"])
        if compare.get("result") == "LESS":
            return all(revision < expected for revision in revisions)
        return (revisions or [0]) == [expected]

    def _step(self, step: Message, changes: list[None]) -> Message:
        ((kind, message),) = step.items()
        if kind == "request_range":
            return {"response_range": self._range(message)}
        if kind == "request_txn":
            return {"response_txn": self._transaction(message, changes)}
        changes.append(None)
        if kind == "request_put":
            entry = raw(message["value"]), self.revision + 1, int(message.get("lease", 0))
            self.keys[raw(message["key"])] = entry
            return {"response_put": {}}
        for key in self._span(message):
            del self.keys[key]
        return {"response_delete_range": {}}

    def _range(self, message: Message) -> Message:
        return {"kvs": [self._entry(key) for key in self._span(message)]}

    def _entry(self, key: bytes) -> Message:
        value, revision, lease = self.keys[key]
        entry = {"key": text(key), "value": text(value), "mod_revision": str(revision)}
        return {**entry, "lease": str(lease)} if lease else entry

    def _span(self, message: Message) -> Iterable[bytes]:
        first = raw(message["key"])
        if "range_end" not in message:
            return [first] if first in self.keys else []
        end = raw(message["range_end"])
        return sorted(key for key in self.keys if first <= key < end)


class Member:
    """One process's connections to a member; see :class:`~sharedstate.stores.etcd.connections`."""

    def __init__(self, server: Server, cluster: Cluster, number: int, back: list[float]) -> None:
        self._server = server
        self._cluster = cluster
        self._number = number
        self._back = back

    def post(
        self, path: str, body: bytes, headers: dict[str, str], seconds: float
    ) -> tuple[int, bytes]:
        """The status and the body of a response, if one comes in time."""
        task, scheduler = current(), self._server.scheduler
        assert task is not None
        task.step()
        kind, size = task.trouble()
        if kind == "down":
            self._back[self._number] = scheduler.now + size * _DOWN_SECONDS
        is_down = self._back[self._number] > scheduler.now
        scheduler.note(f"asks member {self._number} {path}: {kind or 'down' * is_down}")
        if kind == "refused":
            task.sleep(LATENCY)
            raise NotReached("the member refused the connection")
        if kind == "full":
            task.sleep(LATENCY)
            return 503, json.dumps(_NO_LEADER).encode()
        replies: list[Message] = []
        to = from_ = LATENCY
        if kind in ("request slow", "cut"):
            to += size * _SLOW_SECONDS
        if kind == "response slow":
            from_ += size * _SLOW_SECONDS
        is_waiting = [True]

        def come(reply: Message) -> None:
            if is_waiting:
                replies.append(reply)
                scheduler.wake(task)

        def arrive(is_replied: bool = True) -> None:
            reply = self._cluster.do(path, json.loads(body))
            scheduler.note(f"member {self._number} replies {reply.get('succeeded', '')}")
            if is_replied and from_ < inf:
                scheduler.call(from_, lambda: come(reply))

        if not is_down and kind != "request lost":
            scheduler.call(to, lambda: arrive(kind not in ("response lost", "cut")))
        task.wait(LATENCY if kind == "cut" else seconds)
        is_waiting.clear()
        task.step()
        if replies:
            return 200, json.dumps(replies[0]).encode()
        if kind == "cut" and size < 0.5:
            return 503, json.dumps(_TIMED_OUT).encode()
        raise Again("the member does not respond", may_be_applied=True)

    def close(self) -> None:
        """Nothing is open."""


class OnEtcd:
    """For a subject: the store of each process is that for etcd, on one cluster for all.

    Nothing is sent twice but by the store itself: neither TCP nor the standard library's HTTP does.
    """

    kinds = tuple(kind for kind in RATES if kind != "duplicated")

    def __init__(self) -> None:
        self._cluster = Cluster()
        self._back = [0.0] * MEMBERS

    def driver(self, server: Server) -> EtcdStore:
        store = EtcdStore([(f"member{n}", 2379) for n in range(MEMBERS)], timeout=TIMEOUT)
        members: Any = store._members
        members._all = [Member(server, self._cluster, n, self._back) for n in range(MEMBERS)]
        host_lock: Any = store._host_lock  # Each process is on a host of its own.
        host_lock._lock_for = lambda keys: None
        return store
